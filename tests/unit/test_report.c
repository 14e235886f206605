/* SPDX-License-Identifier: MIT */
/* The JSON shapes that scripts depend on, to the character. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/report.h"

static void expect(json_t *object, const char *wanted)
{
	char *text;

	assert_non_null(object);
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	assert_non_null(text);
	assert_string_equal(text, wanted);
	free(text);
}

static void test_tenant(void **state)
{
	const struct pc_report_dir up = { 1, 100, 128 }, down = { 2, 200, 256 };
	struct pc_report_count c = { .drops_rate = 7, .drops_credit = 8, .marks = 9 };

	pc_report_count_add(&c, &up, &down, &c.kernel_packets);
	pc_report_count_add(&c, &up, &up, &c.user_packets);
	expect(pc_report_tenant("alice", "paid", &c, 4),
	       "{\"name\":\"alice\",\"tier\":\"paid\","
	       "\"up\":{\"packets\":2,\"payload_bytes\":200,\"wire_bytes\":256},"
	       "\"down\":{\"packets\":3,\"payload_bytes\":300,\"wire_bytes\":384},"
	       "\"kernel\":{\"packets\":3},\"user\":{\"packets\":2},"
	       "\"drops\":{\"rate\":7,\"credit\":8},\"marks\":9,\"sessions\":4}");
}

static void test_session(void **state)
{
	static const char counts[] =
		"\"up\":{\"packets\":0,\"payload_bytes\":0,\"wire_bytes\":0},"
		"\"down\":{\"packets\":0,\"payload_bytes\":0,\"wire_bytes\":0},"
		"\"kernel\":{\"packets\":0},\"user\":{\"packets\":0},"
		"\"drops\":{\"rate\":0,\"credit\":0},\"marks\":0}";
	const struct pc_report_count c = { 0 };
	struct pc_report_session s = {
		.id = 0xfedcba9876543210,
		.kind = "pipe",
		.tenant = "alice",
		.peer = "bob",
		.username = "17:alice\n\xff",
		.client = "192.0.2.1:5",
		.server = "192.0.2.2:3478",
		.relayed = "192.0.2.2:50000",
		.relayed2 = "[2001:db8::1]:50000",
		.age_seconds = 1,
		.expires_seconds = 2,
		.permissions = 3,
		.channels = 4,
	};
	char wanted[1024];

	snprintf(wanted, sizeof(wanted),
		 "{\"id\":\"fedcba9876543210\",\"kind\":\"pipe\",\"tenant\":\"alice\","
		 "\"username\":\"17:alice\\\\x0a\\\\xff\",\"peer\":\"bob\",\"client\":\"192.0.2.1:"
		 "5\","
		 "\"server\":\"192.0.2.2:3478\",\"relayed\":[\"192.0.2.2:50000\","
		 "\"[2001:db8::1]:50000\"],\"age_seconds\":1,\"expires_seconds\":2,"
		 "\"permissions\":3,\"channels\":4,%s",
		 counts);
	expect(pc_report_session(&s, &c), wanted);
	s.kind = s.peer = s.tenant = s.username = s.client = s.server = s.relayed = s.relayed2 =
		NULL;
	snprintf(wanted, sizeof(wanted),
		 "{\"id\":\"fedcba9876543210\",\"kind\":null,\"tenant\":null,\"username\":null,"
		 "\"peer\":null,\"client\":null,"
		 "\"server\":null,\"relayed\":[],\"age_seconds\":1,\"expires_seconds\":2,"
		 "\"permissions\":3,\"channels\":4,%s",
		 counts);
	expect(pc_report_session(&s, &c), wanted);
}

static void test_reason(void **state)
{
	expect(pc_report_reason("ttl", "drop", "TTL used up", 1, 2),
	       "{\"name\":\"ttl\",\"kind\":\"drop\",\"text\":\"TTL used up\",\"kernel\":1,"
	       "\"user\":2}");
}

static void test_escape(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "plain text 1.2:3", "plain text 1.2:3" },
		{ "a\x1b[2Jb\x7f", "a\\x1b[2Jb\\x7f" },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xc2\x9b", "\\xc2\\x9b" },			/* C1 CSI */
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae" },		/* right-to-left override */
		{ "\xc0\xaf", "\\xc0\\xaf" },			/* overlong */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },		/* surrogate */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, /* beyond Unicode */
		{ "\xff\xfe\x80", "\\xff\\xfe\\x80" },
		{ "cut \xe2\x82", "cut \\xe2\\x82" },
	};
	char buf[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(pc_report_escape(cases[i][0], buf, sizeof(buf)),
				 strlen(cases[i][1]));
		assert_string_equal(buf, cases[i][1]);
	}
	/* Cut between characters, never within one or within an escape. */
	assert_int_equal(pc_report_escape("abc\n", buf, 7), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(pc_report_escape("ab\xe2\x82\xac", buf, 5), 2);
	assert_int_equal(pc_report_escape("ab", buf, 1), 0);
	assert_string_equal(buf, "");
}

/* Whatever bytes come in: what goes out is a JSON string. */
static void test_escape_all_bytes(void **state)
{
	char in[5] = "", out[32];
	json_t *s;

	for (unsigned int a = 1; a < 256; a++) {
		for (unsigned int b = 0; b < 256; b++) {
			in[0] = (char)a;
			in[1] = (char)b;
			in[2] = (char)(b ? 0x80 : 0);
			pc_report_escape(in, out, sizeof(out));
			s = json_string(out);
			assert_non_null(s);
			json_decref(s);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tenant),		 cmocka_unit_test(test_session),
		cmocka_unit_test(test_reason),		 cmocka_unit_test(test_escape),
		cmocka_unit_test(test_escape_all_bytes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
