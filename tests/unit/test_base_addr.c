/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/err.h"

static void test_ip_round_trip(void **state)
{
	static const char *const texts[] = {
		"0.0.0.0", "192.0.2.1", "255.255.255.255",	"::", "::1", "2001:db8::ff",
		"fe80::1", "ff02::fb",	"2001:db8:1:2:3:4:5:6",
	};
	char buf[PC_IP_STRLEN];
	struct pc_ip ip;

	for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++) {
		memset(&ip, 0xff, sizeof(ip));
		assert_int_equal(pc_ip_parse(texts[i], &ip), 0);
		assert_string_equal(pc_ip_format(&ip, buf), texts[i]);
		assert_int_equal(ip.family, strchr(texts[i], ':') ? 6 : 4);
		assert_int_equal(pc_ip_len(&ip), ip.family == 4 ? 4 : 16);
	}
}

static void test_unused_bytes_are_zero(void **state)
{
	struct pc_ip a = pc_ip4(192, 0, 2, 1), b;

	memset(&b, 0xff, sizeof(b));
	assert_int_equal(pc_ip_parse("192.0.2.1", &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void test_ip_rejects(void **state)
{
	static const char *const texts[] = {
		"",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		"01.2.3.4",
		"1.2.3.4 ",
		" 1.2.3.4",
		"0x7f.0.0.1",
		"1.2.3.4/8",
		"[::1]",
		"fe80::1%lo",
		":::",
		"1::2::3",
		"12345::",
		"localhost",
		"2001:db8:1:2:3:4:5:6:7",
	};
	struct pc_ip ip = { .family = 77 };

	for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++)
		assert_int_equal(pc_ip_parse(texts[i], &ip), PC_ERR_MALFORMED);
	assert_int_equal(ip.family, 77);
}

static void test_addr_round_trip(void **state)
{
	static const char *const texts[] = { "192.0.2.1:0", "192.0.2.1:3478", "[::1]:65535",
					     "[2001:db8:1111:2222:3333:4444:5555:6666]:65535" };
	char buf[PC_ADDR_STRLEN];
	struct pc_addr addr;

	for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++) {
		assert_int_equal(pc_addr_parse(texts[i], &addr), 0);
		assert_string_equal(pc_addr_format(&addr, buf), texts[i]);
	}
	assert_int_equal(pc_addr_parse("192.0.2.1:3478", &addr), 0);
	assert_int_equal(addr.port, 3478);
}

static void test_addr_rejects(void **state)
{
	static const char *const texts[] = {
		"",	      "1.2.3.4",     "1.2.3.4:",   "1.2.3.4:65536", "1.2.3.4:-1",
		"1.2.3.4:+1", ":53",	     "1.2.3.4:5 ", "1.2.3.4:5:6",   "::1",
		"::1:53",     "[::1]",	     "[::1]:",	   "[::1]53",	    "[::1",
		"[]:53",      "[1.2.3.4]:5", "::1]:53",	   "x[::1]:5",	    "[::1]:99999",
	};
	struct pc_addr addr = { .port = 77 };

	for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++)
		assert_int_equal(pc_addr_parse(texts[i], &addr), PC_ERR_MALFORMED);
	assert_int_equal(addr.port, 77);
}

static void test_prefix_forms(void **state)
{
	static const char *const pairs[][2] = {
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "10.255.3.4/8", "10.0.0.0/8" },
		{ "192.0.2.1", "192.0.2.1/32" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "255.255.255.255/1", "128.0.0.0/1" },
		{ "10.1.2.3/31", "10.1.2.2/31" },
		{ "2001:db8::1", "2001:db8::1/128" },
		{ "2001:db8:ffff::/33", "2001:db8:8000::/33" },
		{ "ffff::/0", "::/0" },
	};
	static const char *const bad[] = { "",	     "/8",	     "10.0.0.0/",   "10.0.0.0/33",
					   "::/129", "10.0.0.0/8/8", "10.0.0.0/-1", "10/8" };
	char buf[PC_PREFIX_STRLEN];
	struct pc_prefix p;

	for (size_t i = 0; i < PC_ARRAY_SIZE(pairs); i++) {
		assert_int_equal(pc_prefix_parse(pairs[i][0], &p), 0);
		assert_string_equal(pc_prefix_format(&p, buf), pairs[i][1]);
	}
	for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
		assert_int_equal(pc_prefix_parse(bad[i], &p), PC_ERR_MALFORMED);
}

static bool contains(const char *prefix, const char *ip_text)
{
	struct pc_prefix p;
	struct pc_ip ip;

	assert_int_equal(pc_prefix_parse(prefix, &p), 0);
	assert_int_equal(pc_ip_parse(ip_text, &ip), 0);
	return pc_prefix_contains(&p, &ip);
}

static void test_prefix_contains(void **state)
{
	assert_true(contains("10.0.0.0/8", "10.255.255.255"));
	assert_false(contains("10.0.0.0/8", "11.0.0.0"));
	assert_true(contains("172.16.0.0/12", "172.31.255.255"));
	assert_false(contains("172.16.0.0/12", "172.32.0.0"));
	assert_true(contains("0.0.0.0/0", "8.8.8.8"));
	assert_false(contains("0.0.0.0/0", "::1"));
	assert_false(contains("::/0", "8.8.8.8"));
	assert_true(contains("192.0.2.1", "192.0.2.1"));
	assert_false(contains("192.0.2.1", "192.0.2.0"));
	assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
	assert_false(pc_prefix_contains(&(struct pc_prefix){ 0 }, &(struct pc_ip){ 0 }));
}

static void test_predicates(void **state)
{
	struct pc_addr a = { .ip = pc_ip4(192, 0, 2, 1), .port = 1 }, b = a;
	struct pc_ip any6 = { .family = 6 }, none = { 0 };
	struct pc_ip any4 = pc_ip4(0, 0, 0, 0), mapped = { .family = 6, .b = { 192, 0, 2, 1 } };

	assert_true(pc_addr_equal(&a, &b));
	b.port = 2;
	assert_false(pc_addr_equal(&a, &b));
	b = a;
	b.ip.b[3] = 2;
	assert_false(pc_addr_equal(&a, &b));
	assert_false(pc_ip_equal(&a.ip, &mapped));
	assert_true(pc_ip_is_any(&any4));
	assert_true(pc_ip_is_any(&any6));
	assert_false(pc_ip_is_any(&none));
	assert_false(pc_ip_is_any(&a.ip));
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = { "192.0.2.1:3478", "[2001:db8::1]:53" };
	struct sockaddr_storage ss;
	struct pc_addr addr, back;
	socklen_t len;

	for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++) {
		assert_int_equal(pc_addr_parse(texts[i], &addr), 0);
		len = pc_addr_to_sockaddr(&addr, &ss);
		assert_int_equal(len, i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		assert_int_equal(pc_addr_from_sockaddr((struct sockaddr *)&ss, len, &back), 0);
		assert_memory_equal(&addr, &back, sizeof(addr));
		assert_int_equal(pc_addr_from_sockaddr((struct sockaddr *)&ss, len - 1, &back),
				 PC_ERR_MALFORMED);
	}
	ss.ss_family = AF_UNIX;
	assert_int_equal(pc_addr_from_sockaddr((struct sockaddr *)&ss, sizeof(ss), &back),
			 PC_ERR_MALFORMED);
	assert_int_equal(pc_addr_from_sockaddr((struct sockaddr *)&ss, 0, &back), PC_ERR_MALFORMED);
}

static void test_mapped_sockaddr_becomes_ipv4(void **state)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(99) };
	char buf[PC_ADDR_STRLEN];
	struct pc_addr addr;

	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6.sin6_addr), 1);
	assert_int_equal(pc_addr_from_sockaddr((struct sockaddr *)&in6, sizeof(in6), &addr), 0);
	assert_string_equal(pc_addr_format(&addr, buf), "192.0.2.7:99");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip_round_trip),
		cmocka_unit_test(test_unused_bytes_are_zero),
		cmocka_unit_test(test_ip_rejects),
		cmocka_unit_test(test_addr_round_trip),
		cmocka_unit_test(test_addr_rejects),
		cmocka_unit_test(test_prefix_forms),
		cmocka_unit_test(test_prefix_contains),
		cmocka_unit_test(test_predicates),
		cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_mapped_sockaddr_becomes_ipv4),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
