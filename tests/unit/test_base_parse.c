/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"

static void test_u64(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x10", "1.0", "one", "1K" };
	uint64_t v = 77;

	assert_int_equal(pc_parse_u64("0", 0, UINT64_MAX, &v), 0);
	assert_true(v == 0);
	assert_int_equal(pc_parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(pc_parse_u64("10", 10, 10, &v), 0);
	assert_true(v == 10);
	assert_int_equal(pc_parse_u64("18446744073709551616", 0, UINT64_MAX, &v), PC_ERR_RANGE);
	assert_int_equal(pc_parse_u64("99999999999999999999999", 0, UINT64_MAX, &v), PC_ERR_RANGE);
	assert_int_equal(pc_parse_u64("9", 10, 20, &v), PC_ERR_RANGE);
	assert_int_equal(pc_parse_u64("21", 10, 20, &v), PC_ERR_RANGE);
	for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
		assert_int_equal(pc_parse_u64(bad[i], 0, UINT64_MAX, &v), PC_ERR_MALFORMED);
	assert_true(v == 10);
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{ "0", 0 },
		{ "1500", 1500 },
		{ "1K", 1000 },
		{ "1Ki", 1024 },
		{ "20M", 20000000 },
		{ "1.5G", 1500000000 },
		{ "1.5Gi", 1610612736 },
		{ "0.001K", 1 },
		{ "2T", 2000000000000 },
		{ "2Ti", 2199023255552 },
		{ "18446744073709551615", UINT64_MAX },
		{ "0.1000000000000000000K", 100 },
	};
	static const char *const bad[] = { "",	  "K",	    "1k",  "1KB",  "1Kib",
					   "1i",  "1.",	    ".5",  "1.5",  "-1K",
					   "1 K", "1.5.5K", "1e3", "0x1K", "1P" };
	static const char *const big[] = { "18446744073709551616", "18446744073709552K",
					   "99999999T", "1.00000000000000000000K" };
	uint64_t v = 77;

	for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
		assert_int_equal(pc_parse_size(bad[i], &v), PC_ERR_MALFORMED);
	for (size_t i = 0; i < PC_ARRAY_SIZE(big); i++)
		assert_int_equal(pc_parse_size(big[i], &v), PC_ERR_RANGE);
	assert_true(v == 77);
	for (size_t i = 0; i < PC_ARRAY_SIZE(good); i++) {
		assert_int_equal(pc_parse_size(good[i].text, &v), 0);
		assert_true(v == good[i].value);
	}
}

static void test_port_range(void **state)
{
	static const char *const bad[] = {
		"", "5", "-", "5-", "-5", "5-6-7", "a-b", "5 - 6", "5-6 "
	};
	static const char *const range[] = { "0-5", "6-5", "1-65536", "70000-80000" };
	uint16_t low = 1, high = 1;

	for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
		assert_int_equal(pc_parse_port_range(bad[i], &low, &high), PC_ERR_MALFORMED);
	for (size_t i = 0; i < PC_ARRAY_SIZE(range); i++)
		assert_int_equal(pc_parse_port_range(range[i], &low, &high), PC_ERR_RANGE);
	assert_int_equal(low, 1);
	assert_int_equal(high, 1);
	assert_int_equal(pc_parse_port_range("49152-65535", &low, &high), 0);
	assert_int_equal(low, 49152);
	assert_int_equal(high, 65535);
	assert_int_equal(pc_parse_port_range("7-7", &low, &high), 0);
	assert_int_equal(low, high);
}

static void test_bool(void **state)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };
	bool v;

	for (size_t i = 0; i < 4; i++) {
		v = false;
		assert_int_equal(pc_parse_bool(yes[i], &v), 0);
		assert_true(v);
		assert_int_equal(pc_parse_bool(no[i], &v), 0);
		assert_false(v);
	}
	assert_int_equal(pc_parse_bool("", &v), PC_ERR_MALFORMED);
	assert_int_equal(pc_parse_bool("Yes", &v), PC_ERR_MALFORMED);
	assert_int_equal(pc_parse_bool("yes ", &v), PC_ERR_MALFORMED);
}

static void test_names(void **state)
{
	char longest[65];

	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	assert_false(pc_name_valid(longest));
	longest[63] = '\0';
	assert_true(pc_name_valid(longest));
	assert_true(pc_name_valid("a"));
	assert_true(pc_name_valid("0alice.b_c@d-e"));
	assert_false(pc_name_valid(""));
	assert_false(pc_name_valid("-a"));
	assert_false(pc_name_valid(".a"));
	assert_false(pc_name_valid("a b"));
	assert_false(pc_name_valid("a/b"));
	assert_false(pc_name_valid("a\n"));
	assert_false(pc_name_valid("\xc3\xa4"));
	assert_false(pc_name_valid("a:b"));
}

static void test_si(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 0, "0" },	     { 0.5, "0.5" },	  { 7, "7" },	       { 999, "999" },
		{ 999.6, "1 k" },    { 1000, "1 k" },	  { 1234, "1.23 k" },  { 12000, "12 k" },
		{ 9999, "10 k" },    { 12345, "12.3 k" }, { 99960, "100 k" },  { 123456, "123 k" },
		{ 999999, "1 M" },   { 1.5e6, "1.5 M" },  { 2.5e9, "2.5 G" },  { 1e12, "1 T" },
		{ 1e15, "1 P" },     { 1.8e19, "18 E" },  { -2500, "-2.5 k" }, { 1e300, "1e+300" },
		{ INFINITY, "inf" },
	};
	char buf[16];

	for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++)
		assert_string_equal(pc_format_si(cases[i].value, buf), cases[i].text);
	assert_non_null(pc_format_si(NAN, buf));
}

static void test_hex(void **state)
{
	static const uint8_t want[] = { 0x00, 0x9f, 0xaB, 0xff };
	static const char *const bad[] = { "", "009fabf", "009fabff0", "009fabfg", "009fab f" };
	uint8_t out[4] = { 1, 2, 3, 4 };
	char text[9];

	for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
		assert_int_equal(pc_parse_hex(bad[i], out, sizeof(out)), PC_ERR_MALFORMED);
	assert_int_equal(out[0], 1);
	assert_int_equal(pc_parse_hex("009FabFf", out, sizeof(out)), 0);
	assert_memory_equal(out, want, sizeof(want));
	pc_format_hex(want, sizeof(want), text);
	assert_string_equal(text, "009fabff");
	assert_int_equal(pc_parse_hex("", out, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),	   cmocka_unit_test(test_size),
		cmocka_unit_test(test_port_range), cmocka_unit_test(test_bool),
		cmocka_unit_test(test_names),	   cmocka_unit_test(test_si),
		cmocka_unit_test(test_hex),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
