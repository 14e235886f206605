/* SPDX-License-Identifier: MIT */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

#include "lib/siphash.h"

static uint64_t load_word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* The @n bytes at @p, at most 7. */
static uint64_t load_tail(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

uint64_t pc_siphash24(const uint8_t key[static 16], const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t left = len;
	struct pc_sip s;

	pc_sip_init(&s, load_word(key), load_word(key + 8));
	for (; left >= 8; left -= 8, p += 8)
		pc_sip_word(&s, load_word(p));
	return pc_sip_end(&s, load_tail(p, left), len);
}
