/* SPDX-License-Identifier: MIT */
/* Which peers may be relayed to: every range at its edges, embedded forms, operators' rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "relay/policy.h"

PC_DEFINE_CLEANUP(policy, struct pc_policy, pc_policy_free)
#define _cleanup_policy_ PC_CLEANUP(pc_cleanup_policy)

static struct pc_policy *new_policy(void)
{
	struct pc_policy *p;

	assert_int_equal(pc_policy_new(&p), 0);
	return p;
}

static struct pc_ip ip_of(const char *text)
{
	struct pc_ip ip;

	if (pc_ip_parse(text, &ip))
		fail_msg("%s is no address", text);
	return ip;
}

static bool allows(const struct pc_policy *p, const char *text)
{
	struct pc_ip ip = ip_of(text);

	return pc_policy_allows_ip(p, &ip);
}

#define assert_allows(p, text)                          \
	do {                                            \
		if (!allows(p, text))                   \
			fail_msg("%s is denied", text); \
	} while (0)
#define assert_denies(p, text)                           \
	do {                                             \
		if (allows(p, text))                     \
			fail_msg("%s is allowed", text); \
	} while (0)

static void add(struct pc_policy *p, const char *text, bool allow)
{
	struct pc_prefix prefix;

	assert_int_equal(pc_prefix_parse(text, &prefix), 0);
	assert_int_equal(pc_policy_add(p, &prefix, allow), 0);
}

static void add_own(struct pc_policy *p, const char *text)
{
	struct pc_ip ip = ip_of(text);

	assert_int_equal(pc_policy_add_own(p, &ip), 0);
}

/* The next or the previous address; false where there is none. */
static bool step(struct pc_ip *ip, int by)
{
	for (size_t i = pc_ip_len(ip); i-- > 0;) {
		ip->b[i] = (uint8_t)(ip->b[i] + by);
		if (ip->b[i] != (by > 0 ? 0 : 0xff))
			return true;
	}
	return false;
}

static struct pc_ip last_of(const struct pc_prefix *prefix)
{
	struct pc_ip ip = prefix->ip;

	for (size_t i = prefix->len; i < pc_ip_len(&ip) * 8; i++)
		ip.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return ip;
}

/*
 * The registries once more, written down apart from the rules of the code: each range, and
 * whether the addresses just before and just after it may be relayed to.
 */
enum { NO, YES, NONE };
static const struct {
	const char *prefix;
	int before, after;
} ranges[] = {
	{ "0.0.0.0/8", NONE, YES },
	{ "10.0.0.0/8", YES, YES },
	{ "100.64.0.0/10", YES, YES },
	{ "127.0.0.0/8", YES, YES },
	{ "169.254.0.0/16", YES, YES },
	{ "172.16.0.0/12", YES, YES },
	{ "192.0.0.0/24", YES, YES },
	{ "192.0.2.0/24", YES, YES },
	{ "192.31.196.0/24", YES, YES },
	{ "192.52.193.0/24", YES, YES },
	{ "192.88.99.0/24", YES, YES },
	{ "192.168.0.0/16", YES, YES },
	{ "192.175.48.0/24", YES, YES },
	{ "198.18.0.0/15", YES, YES },
	{ "198.51.100.0/24", YES, YES },
	{ "203.0.113.0/24", YES, YES },
	{ "224.0.0.0/4", YES, NO },
	{ "240.0.0.0/4", NO, NONE },
	{ "255.255.255.255/32", NO, NONE },
	{ "168.63.129.16/32", YES, YES },
	{ "100.100.100.200/32", NO, NO },
	{ "169.254.169.254/32", NO, NO },
	{ "::/128", NONE, NO },
	{ "::1/128", NO, NO },
	{ "::/96", NONE, NO },
	{ "::ffff:0:0/96", NO, NO },
	{ "::ffff:0:0:0/96", NO, NO },
	{ "64:ff9b::/96", NO, NO },
	{ "64:ff9b:1::/48", NO, NO },
	{ "100::/64", NO, NO },
	{ "100:0:0:1::/64", NO, NO },
	{ "::/3", NONE, YES },
	{ "2001::/23", YES, YES },
	{ "2001::/32", YES, NO },
	{ "2001:1::1/128", NO, NO },
	{ "2001:2::/48", NO, NO },
	{ "2001:3::/32", NO, NO },
	{ "2001:4:112::/48", NO, NO },
	{ "2001:10::/28", NO, NO },
	{ "2001:20::/28", NO, NO },
	{ "2001:30::/28", NO, NO },
	{ "2001:db8::/32", YES, YES },
	{ "2002::/16", YES, YES },
	{ "2620:4f:8000::/48", YES, YES },
	{ "3fff::/20", YES, YES },
	{ "4000::/2", YES, NO },
	{ "5f00::/16", NO, NO },
	{ "8000::/1", NO, NONE },
	{ "fc00::/7", NO, NO },
	{ "fe80::/10", NO, NO },
	{ "fec0::/10", NO, NO },
	{ "ff00::/8", NO, NONE },
	{ "fd00:ec2::254/128", NO, NO },
	{ "fd20:ce::254/128", NO, NO },
};

static void check_edge(const struct pc_policy *p, const struct pc_ip *ip, int by, int want)
{
	struct pc_ip next = *ip;
	char text[PC_IP_STRLEN];

	if (!step(&next, by))
		assert_int_equal(want, NONE);
	else if (pc_policy_allows_ip(p, &next) != (want == YES))
		fail_msg("%s", pc_ip_format(&next, text));
}

static void test_ranges(void **state)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();

	for (size_t i = 0; i < PC_ARRAY_SIZE(ranges); i++) {
		struct pc_prefix prefix;
		struct pc_ip last;

		assert_int_equal(pc_prefix_parse(ranges[i].prefix, &prefix), 0);
		last = last_of(&prefix);
		if (pc_policy_allows_ip(p, &prefix.ip) || pc_policy_allows_ip(p, &last))
			fail_msg("%s", ranges[i].prefix);
		check_edge(p, &prefix.ip, -1, ranges[i].before);
		check_edge(p, &last, 1, ranges[i].after);
	}
}

/* Where the host would be reached if an integer or a family were judged carelessly. */
static void test_ordinary_addresses(void **state)
{
	static const char *const good[] = {
		"8.8.8.8",     "1.0.0.0", "223.255.255.255", "2600::1", "2001:4860:4860::8888",
		"2a00:1450::1"
	};
	struct pc_policy *p _cleanup_policy_ = new_policy();
	struct pc_ip none = { 0 }, odd = { .family = 5, .b = { 8, 8, 8, 8 } };

	for (size_t i = 0; i < PC_ARRAY_SIZE(good); i++)
		assert_allows(p, good[i]);
	assert_false(pc_policy_allows_ip(p, &none));
	assert_false(pc_policy_allows_ip(p, &odd));
}

static void test_longest_match(void **state)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();

	add(p, "0.0.0.0/0", true); /* does not open what the defaults close */
	assert_denies(p, "10.1.2.3");
	assert_denies(p, "127.0.0.1");
	add(p, "10.0.0.0/8", true); /* of the same length: does */
	assert_allows(p, "10.1.2.3");
	add(p, "10.1.0.0/16", false);
	assert_denies(p, "10.1.2.3");
	assert_allows(p, "10.2.0.0");
	add(p, "10.1.2.0/24", true);
	assert_allows(p, "10.1.2.3");
	assert_denies(p, "10.1.3.3");
	add(p, "10.1.2.0/24", false); /* at equal length deny wins, in either order */
	assert_denies(p, "10.1.2.3");
	add(p, "10.1.2.0/24", true);
	assert_denies(p, "10.1.2.3");
	add(p, "8.8.0.0/16", false);
	assert_denies(p, "8.8.8.8");
	assert_allows(p, "8.9.8.8");
}

/* An operator may close everything and open a list. */
static void test_closed_by_operator(void **state)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();

	add(p, "0.0.0.0/0", false);
	add(p, "::/0", false);
	assert_denies(p, "8.8.8.8");
	assert_denies(p, "2600::1");
	assert_denies(p, "2001:4860::1");
	add(p, "8.8.8.0/24", true);
	assert_allows(p, "8.8.8.8");
}

/* Metadata services stay closed when the network around them is opened. */
static void test_metadata(void **state)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();

	add(p, "169.254.0.0/16", true);
	add(p, "169.254.169.0/24", true);
	add(p, "100.64.0.0/10", true);
	add(p, "168.63.0.0/16", true);
	add(p, "fd00::/8", true);
	assert_allows(p, "169.254.1.1");
	assert_allows(p, "100.64.0.1");
	assert_allows(p, "fd00::1");
	assert_denies(p, "169.254.169.254");
	assert_denies(p, "169.254.170.2");
	assert_denies(p, "100.100.100.200");
	assert_denies(p, "168.63.129.16");
	assert_denies(p, "fd00:ec2::254");
	assert_denies(p, "fd20:ce::254");
	add(p, "169.254.169.254/32", true); /* meant, obviously */
	assert_allows(p, "169.254.169.254");
}

static void test_own_addresses(void **state)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();

	add_own(p, "198.41.0.4");
	add_own(p, "2600::5");
	add_own(p, "10.0.0.1");
	add(p, "198.41.0.4/32", true);
	add(p, "2600::5/128", true);
	add(p, "10.0.0.0/8", true);
	add(p, "64:ff9b::/96", true);
	add(p, "::ffff:0:0/96", true);
	assert_denies(p, "198.41.0.4");
	assert_denies(p, "2600::5");
	assert_denies(p, "10.0.0.1");
	assert_denies(p, "64:ff9b::198.41.0.4");
	assert_denies(p, "::ffff:10.0.0.1");
	assert_allows(p, "198.41.0.5");
	assert_allows(p, "10.0.0.2");
	assert_allows(p, "64:ff9b::198.41.0.5");
}

/* An IPv4 address inside an IPv6 one: both have to be allowed. */
static void test_embedded(void **state)
{
	static const struct {
		const char *range, *good, *bad;
	} cases[] = {
		{ "::/96", "::8.8.8.8", "::10.0.0.1" },
		{ "::ffff:0:0/96", "::ffff:8.8.8.8", "::ffff:127.0.0.1" },
		{ "::ffff:0:0/96", "::ffff:8.8.8.8", "::ffff:0.0.0.0" },
		{ "::ffff:0:0/96", "::ffff:8.8.8.8", "::ffff:169.254.169.254" },
		{ "::ffff:0:0:0/96", "::ffff:0:8.8.8.8", "::ffff:0:192.168.0.1" },
		{ "64:ff9b::/96", "64:ff9b::8.8.8.8", "64:ff9b::172.16.0.1" },
		{ "64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", "64:ff9b:1::127.0.0.1" },
		{ "64:ff9b:1::/48", "64:ff9b:1:ffff::8.8.8.8", "64:ff9b:1:2:3:4:10.0.0.1" },
		/* RFC 6052 with /64: 10.0.0.8 behind the zero byte, and 8.0.0.0 at the end. */
		{ "64:ff9b:1::/48", "64:ff9b:1:0:8:808:800:1", "64:ff9b:1:0:a:0:800:0" },
		/* With /48: bytes 6, 7, 9, 10. */
		{ "64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", "64:ff9b:1:a00:0:100::" },
		/* The Teredo server, then the client's address complemented. */
		{ "2001::/32", "2001:0:808:808:0:0:f7f7:f7f7", "2001:0:a00:1:0:0:f7f7:f7f7" },
		{ "2001::/32", "2001:0:808:808:0:0:f7f7:f7f7", "2001:0:808:808:0:0:80ff:fffe" },
		{ "2002::/16", "2002:808:808::1", "2002:7f00:1::1" },
		{ "2002::/16", "2002:808:808::1", "2002:c0a8:101:1:2:3:4:5" },
	};

	for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
		struct pc_policy *p _cleanup_policy_ = new_policy();

		assert_denies(p, cases[i].good);
		assert_denies(p, cases[i].bad);
		add(p, cases[i].range, true);
		assert_allows(p, cases[i].good);
		assert_denies(p, cases[i].bad);
		/* An operator's rule for the IPv4 address decides too. */
		add(p, "0.0.0.0/0", false);
		assert_denies(p, cases[i].good);
	}
}

/* Loopback and unspecified are not IPv4-compatible: an operator who opens them means them. */
static void test_loopback_can_be_opened(void **state)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();

	add(p, "::1/128", true);
	add(p, "127.0.0.0/8", true);
	assert_allows(p, "::1");
	assert_allows(p, "127.0.0.1");
	assert_denies(p, "::2");
	assert_denies(p, "::ffff:127.0.0.1");
}

static bool allows_port(const struct pc_policy *p, uint16_t port)
{
	struct pc_addr peer = { .ip = pc_ip4(8, 8, 8, 8), .port = port };

	return pc_policy_allows(p, &peer);
}

static void test_ports(void **state)
{
	static const uint16_t amplifiers[] = { 53,   123,  161,	 389,	1434,  1900,  3283,
					       3702, 5353, 5683, 11211, 27015, 37810, 10001 };
	static const uint16_t fine[] = { 443, 1024, 1025, 1194, 3478, 4500, 49152, 51820, 65535 };
	struct pc_policy *p _cleanup_policy_ = new_policy();
	struct pc_addr inside = { .ip = pc_ip4(10, 0, 0, 1), .port = 5000 };
	unsigned int n = 0;

	for (size_t i = 0; i < PC_ARRAY_SIZE(amplifiers); i++)
		assert_false(allows_port(p, amplifiers[i]));
	for (size_t i = 0; i < PC_ARRAY_SIZE(fine); i++)
		assert_true(allows_port(p, fine[i]));
	for (uint32_t port = 0; port < 1024; port++)
		assert_int_equal(allows_port(p, (uint16_t)port), port == 443);
	for (uint32_t port = 1024; port < 65536; port++)
		n += !allows_port(p, (uint16_t)port);
	assert_int_equal(n, 25); /* the list, no more */
	assert_false(pc_policy_allows(p, &inside));
	pc_policy_allow_all_ports(p);
	assert_true(allows_port(p, 53));
	assert_true(allows_port(p, 11211));
	assert_false(allows_port(p, 0));
	assert_false(pc_policy_allows(p, &inside)); /* ports, not addresses */
}

static void test_bad_prefix(void **state)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();
	struct pc_prefix too_long = { .ip = { .family = 4 }, .len = 33 }, none = { 0 };

	assert_int_equal(pc_policy_add(p, &too_long, true), PC_ERR_RANGE);
	assert_int_equal(pc_policy_add(p, &none, true), PC_ERR_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),	      cmocka_unit_test(test_ordinary_addresses),
		cmocka_unit_test(test_longest_match), cmocka_unit_test(test_closed_by_operator),
		cmocka_unit_test(test_metadata),      cmocka_unit_test(test_own_addresses),
		cmocka_unit_test(test_embedded),      cmocka_unit_test(test_loopback_can_be_opened),
		cmocka_unit_test(test_ports),	      cmocka_unit_test(test_bad_prefix),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
