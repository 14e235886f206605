/* SPDX-License-Identifier: MIT */
/* What routers say about datagrams that were too large: read from the bytes of their messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "daemon/too_big.h"

/* From 192.0.2.9, with one word of options, about 198.51.100.1:50000 to 203.0.113.5:7000. */
static const uint8_t message4[] = {
	0x46, 0,    0,	  60,  0, 1,   0, 0,	64,   1,    0,	  0,	192,  0, 2,
	9,    198,  51,	  100, 1, 1,   1, 1,	1,    3,    4,	  0,	0,    0, 0,
	5,    0x14, 0x45, 0,   5, 144, 0, 1,	0x40, 0,    63,	  17,	0,    0, 198,
	51,   100,  1,	  203, 0, 113, 5, 0xc3, 0x50, 0x1b, 0x58, 0x05, 0x7c, 0, 0,
};
#define ICMP4_AT  24
#define INNER4_AT 32

/* About [2001:db8::1]:50000 to [2001:db8::5]:7000. */
static const uint8_t message6[] = {
	2,    0, 0, 0, 0, 0, 5, 0x14, 0x60, 0, 0,    0,	   5,	 0x7c, 17,   63,   0x20, 0x01, 0x0d,
	0xb8, 0, 0, 0, 0, 0, 0, 0,    0,    0, 0,    0,	   1,	 0x20, 0x01, 0x0d, 0xb8, 0,    0,
	0,    0, 0, 0, 0, 0, 0, 0,    0,    5, 0xc3, 0x50, 0x1b, 0x58, 0x05, 0x7c, 0,	 0,
};
#define INNER6_AT 8

static struct pc_too_big_report parse(uint8_t family, const uint8_t *message, size_t len)
{
	struct pc_too_big_report r = { 0 };

	assert_int_equal(pc_too_big_parse(family, message, len, &r), 0);
	return r;
}

static void refuse(uint8_t family, const uint8_t *message, size_t len)
{
	struct pc_too_big_report r = { .mtu = 77 };

	assert_int_equal(pc_too_big_parse(family, message, len, &r), PC_ERR_MALFORMED);
	assert_int_equal(r.mtu, 77);
}

static void is_about(const struct pc_too_big_report *r, const char *local, const char *remote)
{
	char text[PC_ADDR_STRLEN];

	assert_string_equal(pc_addr_format(&r->local, text), local);
	assert_string_equal(pc_addr_format(&r->remote, text), remote);
	assert_int_equal(r->mtu, 1300);
}

static void test_ipv4(void **state)
{
	struct pc_too_big_report r = parse(4, message4, sizeof(message4));

	is_about(&r, "198.51.100.1:50000", "203.0.113.5:7000");
	assert_int_equal(r.type, 3);
	assert_int_equal(r.code, 4);
}

static void test_ipv6(void **state)
{
	struct pc_too_big_report r = parse(6, message6, sizeof(message6));

	is_about(&r, "[2001:db8::1]:50000", "[2001:db8::5]:7000");
	assert_int_equal(r.type, 2);
	assert_int_equal(r.code, 0);
}

static void test_ipv6_fragments(void **state)
{
	uint8_t m[sizeof(message6) + 8] = { 0 };
	struct pc_too_big_report r;

	memcpy(m, message6, INNER6_AT + 40);
	memcpy(m + INNER6_AT + 48, message6 + INNER6_AT + 40, sizeof(message6) - INNER6_AT - 40);
	m[INNER6_AT + 6] = 44;
	m[INNER6_AT + 40] = 17;
	m[INNER6_AT + 43] = 1; /* more follow */
	r = parse(6, m, sizeof(m));
	is_about(&r, "[2001:db8::1]:50000", "[2001:db8::5]:7000");
	m[INNER6_AT + 43] = 9; /* not the first */
	refuse(6, m, sizeof(m));
	m[INNER6_AT + 43] = 1;
	m[INNER6_AT + 40] = 6;
	refuse(6, m, sizeof(m));
}

static void test_others(void **state)
{
	static const struct {
		uint8_t family;
		size_t at;
		uint8_t value;
	} changes[] = {
		{ 4, 9, 17 },
		{ 4, ICMP4_AT, 11 },
		{ 4, ICMP4_AT + 1, 3 },
		{ 4, INNER4_AT, 0x65 },
		{ 4, INNER4_AT, 0x44 },
		{ 4, INNER4_AT + 9, 6 },
		{ 4, INNER4_AT + 7, 1 },
		{ 4, 7, 1 },
		{ 4, 0, 0x65 },
		{ 6, 0, 1 },
		{ 6, INNER6_AT + 6, 58 },
	};
	uint8_t m[sizeof(message6) + sizeof(message4)];

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool four = changes[i].family == 4;
		size_t len = four ? sizeof(message4) : sizeof(message6);

		memcpy(m, four ? message4 : message6, len);
		m[changes[i].at] = changes[i].value;
		refuse(changes[i].family, m, len);
	}
}

static void test_short(void **state)
{
	/* The last four bytes, length and checksum of UDP, are not needed. */
	for (size_t len = 0; len < sizeof(message4) - 4; len++)
		refuse(4, message4, len);
	for (size_t len = 0; len < sizeof(message6) - 4; len++)
		refuse(6, message6, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4),	       cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_ipv6_fragments), cmocka_unit_test(test_others),
		cmocka_unit_test(test_short),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
