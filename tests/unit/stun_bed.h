/* SPDX-License-Identifier: MIT */
/* What the tests of the STUN codec, its reader and its writer, begin with. */
#ifndef PC_TEST_STUN_BED_H
#define PC_TEST_STUN_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "relay/auth.h"
#include "relay/stun.h"

static const uint8_t txid[PC_STUN_TXID_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

/* RFC 5769 section 2.4: long-term credentials; the user name is six Katakana. */
#define KATAKANA_USER "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9"
static const char rfc5769_long_term[] =
	"000100602112a44278ad3433c6ad72c029da412e"
	"00060012e3839ee38388e383aae38383e382afe382b90000"
	"0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
	"0014000b6578616d706c652e6f726700"
	"00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
/* RFC 8489 appendix B.1 as corrected by erratum 6268. */
static const char rfc8489_b1[] =
	"000100902112a44278ad3433c6ad72c029da412e"
	"001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
	"001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c394653547679"
	"363473410000000014000b6578616d706c652e6f726700"
	"001d000400020000"
	"001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";

/* A copy of its own on the heap, so that reads beyond it are seen. */
static inline uint8_t *unhex(const char *hex, size_t *ret_len)
{
	size_t n = strlen(hex) / 2;
	uint8_t *b = malloc(n);

	assert_non_null(b);
	assert_int_equal(pc_parse_hex(hex, b, n), 0);
	*ret_len = n;
	return b;
}

static inline void put_text(struct pc_stun_writer *sw, uint16_t type, const char *text)
{
	pc_stun_put(sw, type, text, strlen(text));
}

static inline void begin(struct pc_stun_writer *sw, void *buf, size_t size)
{
	pc_stun_begin(sw, buf, size, PC_STUN_ALLOCATE, PC_STUN_REQUEST, txid);
}

#endif
