/* SPDX-License-Identifier: MIT */
/* The rules about peers, random ones too, against a list that is searched from end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "relay/policy.h"

PC_DEFINE_CLEANUP(policy, struct pc_policy, pc_policy_free)
#define _cleanup_policy_ PC_CLEANUP(pc_cleanup_policy)

static struct pc_policy *new_policy(void)
{
	struct pc_policy *p;

	assert_int_equal(pc_policy_new(&p), 0);
	return p;
}

struct rule {
	struct pc_prefix prefix;
	int strength; /* of rules of one length: default, operator's allow, operator's deny, own */
	bool allow;
};

static const char *const defaults[] = {
#define PC_POLICY_DENY(prefix, source) prefix,
#define PC_POLICY_DENY_PORT(port, service)
#include "relay/policy_rules.def"
#undef PC_POLICY_DENY
#undef PC_POLICY_DENY_PORT
};

static uint64_t rng_state = 88172645463325252u;
static uint32_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)(rng_state >> 16);
}

static bool list_allows(const struct rule *rules, size_t n, const struct pc_ip *ip)
{
	const struct rule *best = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct rule *r = &rules[i];

		if (!pc_prefix_contains(&r->prefix, ip))
			continue;
		if (!best || r->prefix.len > best->prefix.len ||
		    (r->prefix.len == best->prefix.len && r->strength > best->strength))
			best = r;
	}
	return !best || best->allow;
}

/* Few distinct bits, so that rules and addresses meet at all lengths. */
static struct pc_ip random_ip(uint8_t family)
{
	static const uint8_t first4[] = { 8, 10, 127, 169, 172, 192, 198, 224, 100, 9 };
	static const uint8_t first6[] = { 0x20, 0x24, 0x26, 0x2a, 0x30, 0xfd };
	struct pc_ip ip = { .family = family };

	for (size_t i = 0; i < pc_ip_len(&ip); i++)
		ip.b[i] = (uint8_t)(rng() & 1 ? rng() & 0x83 : rng() & 1 ? 254 : 169);
	ip.b[0] = family == 4 ? first4[rng() % sizeof(first4)] : first6[rng() % sizeof(first6)];
	return ip;
}

static struct pc_prefix random_prefix(uint8_t family)
{
	struct pc_prefix prefix = { .ip = random_ip(family) };
	unsigned int bits = family == 4 ? 32 : 128;

	prefix.len = (uint8_t)(rng() % (bits + 1));
	for (unsigned int i = prefix.len; i < bits; i++)
		prefix.ip.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return prefix;
}

static void random_round(uint8_t family)
{
	struct pc_policy *p _cleanup_policy_ = new_policy();
	struct rule rules[200];
	size_t n = 0;

	for (size_t i = 0; i < PC_ARRAY_SIZE(defaults); i++) {
		rules[n] = (struct rule){ .strength = 0 };
		assert_int_equal(pc_prefix_parse(defaults[i], &rules[n].prefix), 0);
		n += rules[n].prefix.ip.family == family;
	}
	for (int i = 0; i < 60; i++) {
		struct rule r = { random_prefix(family), 1, rng() & 1 };

		if (rng() % 16 == 0) {
			r = (struct rule){ { random_ip(family), family == 4 ? 32 : 128 },
					   3,
					   false };
			assert_int_equal(pc_policy_add_own(p, &r.prefix.ip), 0);
		} else {
			r.strength = r.allow ? 1 : 2;
			assert_int_equal(pc_policy_add(p, &r.prefix, r.allow), 0);
		}
		rules[n++] = r;
	}
	for (int i = 0; i < 2000; i++) {
		struct pc_ip ip = random_ip(family);

		if (i & 1) { /* inside a rule, for more than the short ones to be met */
			const struct pc_prefix *in = &rules[rng() % n].prefix;

			for (unsigned int b = 0; b < in->len; b++) {
				uint8_t mask = (uint8_t)(0x80 >> b % 8);

				ip.b[b / 8] =
					(uint8_t)((ip.b[b / 8] & ~mask) | (in->ip.b[b / 8] & mask));
			}
		}
		/* Embedded forms have a test of their own. */
		if (family == 6 && (ip.b[0] == 0 || (ip.b[0] == 0x20 && ip.b[1] <= 2)))
			continue;
		assert_int_equal(pc_policy_allows_ip(p, &ip), list_allows(rules, n, &ip));
	}
}

static void test_random_against_list(void **state)
{
	for (int i = 0; i < 40; i++) {
		random_round(4);
		random_round(6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_against_list),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
