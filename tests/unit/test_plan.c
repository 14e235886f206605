/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "lib/rate.h"
#include "qos/plan.h"

static const struct pc_plan none = { .weight = 1 };

static void expect_bad(const struct pc_plan *p, const struct pc_plan_node *node, const char *text)
{
	char why[160] = "";

	assert_int_equal(pc_plan_check(p, node, why, sizeof(why)), PC_ERR_RANGE);
	assert_string_equal(why, text);
}

static void test_check(void **state)
{
	struct pc_plan_node node = { .capacity_bps = 100000000, .guaranteed_bps = 60000000 };
	struct pc_plan p = none;
	char why[160] = "untouched";

	assert_int_equal(pc_plan_check(&p, &node, why, sizeof(why)), 0);
	p.bps[PC_RATE_UP] = 7999;
	expect_bad(&p, &node, "rate up 7999: from 8000 to 400000000000 bit/s, or none");
	p.bps[PC_RATE_UP] = 100000001;
	expect_bad(&p, &node, "rate up 100000001: above the capacity of 100000000 bit/s");
	p.bps[PC_RATE_UP] = 100000000;
	p.bps[PC_RATE_DOWN] = 8000;
	assert_int_equal(pc_plan_check(&p, &node, why, sizeof(why)), 0);
	p.guarantee_bps = 9000;
	expect_bad(&p, &node, "guarantee 9000: above the rate of 8000");
	p.bps[PC_RATE_DOWN] = 0;
	p.guarantee_bps = 20000001;
	expect_bad(&p, &node,
		   "guarantee 20000001: 20000000 bit/s each way are left of the capacity");
	p.guarantee_bps = 20000000;
	assert_int_equal(pc_plan_check(&p, &node, why, sizeof(why)), 0);
	node.capacity_bps = 0;
	expect_bad(&p, &node, "guarantee: the configuration names no capacity");
	p = none;
	p.weight = 0;
	expect_bad(&p, &node, "weight 0: from 1 to 1000");
	p.weight = 1001;
	expect_bad(&p, &node, "weight 1001: from 1 to 1000");
	p = none;
	p.bps[PC_RATE_UP] = 50000000;
	p.packets_per_s = 1;
	assert_int_equal(pc_plan_check(&p, &node, why, sizeof(why)), 0);
	node.capacity_bps = 0;
	p.bps[PC_RATE_UP] = 1000000000;
	expect_bad(&p, &node, "packets/s 1: too few for 1000000000 bit/s");
	p = none;
	p.quota_day = 2;
	assert_int_equal(pc_plan_check(&p, &node, why, sizeof(why)), 0);
	p.quota_month = 1;
	expect_bad(&p, &node, "quota of a day: above that of a month");
	assert_string_equal(why, "untouched");
}

static void test_classes(void **state)
{
	uint8_t c = 77;

	assert_int_equal(pc_tier_class_parse("free", &c), 0);
	assert_int_equal(c, PC_RATE_CLASS_FREE);
	assert_int_equal(pc_tier_class_parse("owner", &c), 0);
	assert_int_equal(c, PC_RATE_CLASS_OWNER);
	assert_int_equal(pc_tier_class_parse("control", &c), PC_ERR_UNKNOWN);
	assert_int_equal(pc_tier_class_parse("", &c), PC_ERR_UNKNOWN);
	assert_int_equal(c, PC_RATE_CLASS_OWNER);
	assert_string_equal(pc_tier_class_name(PC_RATE_CLASS_PAID), "paid");
	assert_string_equal(pc_tier_class_name(200), "?");
}

/* How many packets of @bytes the limiter passes in @seconds to one who sends more than it may. */
static uint64_t passed(const struct pc_rate *rate, unsigned int bytes, unsigned int seconds,
		       uint64_t gap_ns)
{
	struct pc_rate_clock clock = { 0 };
	struct pc_rate_lease lease = { 0 };
	struct pc_rate_root root = { 0 };
	struct pc_credit quota = { .authorised = PC_CREDIT_UNLIMITED };
	const struct pc_rate_ref ref = { rate, &clock, &lease, &root, &quota };
	uint64_t n = 0, start = 1000000000;

	for (uint64_t t = 0; t < seconds * 1000000000ull; t += gap_ns)
		n += pc_rate_admit(&ref, start + t, bytes, 0) <= PC_RATE_MARK;
	return n;
}

/* Within a second's depth of what the plan says. */
static void test_rate(void **state)
{
	struct pc_plan p = { .weight = 1, .bps = { 8000000, 1000000 }, .packets_per_s = 500 };
	struct pc_rate rate;
	uint64_t n;

	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_UP, NULL, &rate);
	assert_int_equal(rate.tier, PC_RATE_CLASS_PAID);
	assert_int_equal(rate.flags, 0);
	/* 8 Mbit/s are 1000 packets of 1000 bytes, but 500 may pass. */
	n = passed(&rate, 1000, 20, 100000);
	assert_in_range(n, 500 * 20 - 5, 500 * 21);
	/* 5000 bytes each: 200 in a second. */
	n = passed(&rate, 5000, 20, 100000);
	assert_in_range(n, 200 * 20 - 5, 200 * 21);
	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_DOWN, NULL, &rate);
	n = passed(&rate, 1250, 20, 100000);
	assert_in_range(n, 100 * 20 - 5, 100 * 21);

	/* Packets alone: their size does not matter. */
	p.bps[0] = 0;
	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_UP, NULL, &rate);
	assert_in_range(passed(&rate, 40, 20, 100000), 500 * 20 - 5, 500 * 21);
	assert_in_range(passed(&rate, 1500, 20, 100000), 500 * 20 - 5, 500 * 21);
	p.packets_per_s = 3000000;
	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_UP, NULL, &rate);
	assert_int_equal(passed(&rate, 1500, 2, 1000), 2000000);

	p = none;
	p.quota_day = 1;
	pc_plan_rate(&p, &pc_tiers_builtin[2], PC_RATE_UP, NULL, &rate);
	assert_int_equal(rate.flags, PC_RATE_UNLIMITED | PC_RATE_QUOTA);
}

/* The slowest rate passes full frames, and the largest burst is bounded by the depth. */
static void test_extremes(void **state)
{
	struct pc_plan p = { .weight = 1, .bps = { PC_PLAN_MIN_BPS, PC_PLAN_MAX_BPS } };
	struct pc_tier tier = { .rate_class = PC_RATE_CLASS_FREE, .dscp = 1 };
	struct pc_rate rate;

	pc_plan_rate(&p, &tier, PC_RATE_UP, NULL, &rate);
	assert_int_equal(rate.flags, PC_RATE_SET_DSCP);
	assert_int_equal(rate.dscp, 1);
	/* 1.5 s for each full frame, and ten in a row when idle. */
	assert_in_range(passed(&rate, 1500, 150, 10000000), 98, 111);
	pc_plan_rate(&p, &tier, PC_RATE_DOWN, NULL, &rate);
	assert_int_equal(passed(&rate, 1500, 1, 1000), 1000000);
}

/* A share below the plan's rate holds, one above does not; after the epoch its fallback does. */
static void test_share(void **state)
{
	struct pc_plan p = { .weight = 1, .bps = { 8000000, 0 } };
	struct pc_plan_share share = {
		.allowed_bps = 4000000,
		.entitled_bps = 2000000,
		.fallback_bps = 800000,
		.epoch_end_ns = 1000000000ull + 10000000000ull,
	};
	struct pc_rate rate;
	uint64_t n;

	pc_plan_rate(&p, &pc_tiers_builtin[2], PC_RATE_UP, &share, &rate);
	assert_int_equal(rate.entitled, pc_rate_word(2000000 / 3 * 4));
	n = passed(&rate, 1000, 10, 100000);
	assert_in_range(n, 500 * 10 - 5, 500 * 11);
	/* Ten more seconds, now at a tenth of the plan. */
	n = passed(&rate, 1000, 20, 100000);
	assert_in_range(n, 500 * 10 + 100 * 10 - 10, 500 * 11 + 100 * 11);
	share.allowed_bps = 80000000;
	share.epoch_end_ns = 0;
	pc_plan_rate(&p, &pc_tiers_builtin[2], PC_RATE_UP, &share, &rate);
	n = passed(&rate, 1000, 10, 100000);
	assert_in_range(n, 1000 * 10 - 5, 1000 * 11);
}

/* Ten packets at the lowest rate are no debt at a high one, and the other way they are no credit.
 */
static void test_apply(void **state)
{
	struct pc_plan p = { .weight = 1, .bps = { PC_PLAN_MIN_BPS, 100000000 } };
	const uint64_t s = 1000000000, now = 50 * s;
	struct pc_rate low, high, middle, rate = { 0 };
	struct pc_rate_clock clock = { 0 };

	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_UP, NULL, &low);
	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_DOWN, NULL, &high);
	p.bps[0] = 60000000;
	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_UP, NULL, &middle);
	pc_plan_apply(&rate, &clock, &low, now);
	assert_int_equal(rate.version, 1);
	assert_int_equal(rate.committed, low.committed);
	pc_plan_apply(&rate, &clock, &low, now);
	assert_int_equal(rate.version, 1);
	clock.committed_ns = clock.peak_ns = now + 15 * s;
	pc_plan_apply(&rate, &clock, &high, now);
	assert_int_equal(rate.version, 2);
	assert_in_range(clock.committed_ns - now, 1199000, 1201000);
	assert_in_range(clock.peak_ns - now, 1199000, 1201000);
	/* Down: it waits as long as before. Never longer than the depth. */
	clock.committed_ns = now + s / 2;
	pc_plan_apply(&rate, &clock, &low, now);
	assert_int_equal(clock.committed_ns, now + s / 2);
	rate = high;
	clock.committed_ns = now + 15 * s;
	pc_plan_apply(&rate, &clock, &middle, now);
	assert_in_range(clock.committed_ns - now, s - 2000, s);
	/* To and fro by less than twice gives nothing. */
	for (int i = 0; i < 10; i++)
		pc_plan_apply(&rate, &clock, i % 2 ? &middle : &high, now);
	assert_in_range(clock.committed_ns - now, s - 2000, s);
	/* A clock that is not ahead, and a new tenant's, stay. */
	clock = (struct pc_rate_clock){ .peak_ns = now - 5 };
	pc_plan_apply(&rate, &clock, &low, now);
	assert_int_equal(clock.committed_ns, 0);
	assert_int_equal(clock.peak_ns, now - 5);
}

/* A share that grows keeps the bytes that were saved, and one that shrinks; within the depth. */
static void test_savings(void **state)
{
	struct pc_plan p = { .weight = 1 };
	const uint64_t ms = 1000000, now = 50000 * ms;
	struct pc_plan_share share = { .allowed_bps = 10000000, .epoch_end_ns = 2 * now };
	struct pc_rate small, large, rate;
	struct pc_rate_clock clock = { 0 };

	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_UP, &share, &small);
	share.allowed_bps = 100000000;
	pc_plan_rate(&p, &pc_tiers_builtin[1], PC_RATE_UP, &share, &large);
	rate = small;
	clock.committed_ns = now + 500 * ms;
	pc_plan_apply(&rate, &clock, &large, now);
	assert_in_range(clock.committed_ns - now, 949 * ms, 950 * ms);
	/* So near its limit without having come near it. */
	assert_int_equal(clock.signal_next_ns, now + 100 * ms);
	pc_plan_apply(&rate, &clock, &small, now);
	assert_in_range(clock.committed_ns - now, 499 * ms, 501 * ms);
	/* A little is left to who has some, and nothing to who has none. */
	clock.committed_ns = now + 900 * ms;
	pc_plan_apply(&rate, &clock, &large, now);
	assert_in_range(clock.committed_ns - now, 979 * ms, 980 * ms);
	rate = small;
	clock.committed_ns = now + 1000 * ms;
	pc_plan_apply(&rate, &clock, &large, now);
	assert_in_range(clock.committed_ns - now, 999 * ms, 1000 * ms);
	/* What was saved at ten times the rate is a depth of this one. */
	clock.committed_ns = now + 500 * ms;
	pc_plan_apply(&rate, &clock, &small, now);
	assert_int_equal(clock.committed_ns, now);
	clock.committed_ns = 5;
	rate = large;
	pc_plan_apply(&rate, &clock, &small, now);
	assert_int_equal(clock.committed_ns, 5);
	/* A new tenant's clock has not begun. */
	clock.committed_ns = 0;
	pc_plan_apply(&rate, &clock, &large, now);
	assert_int_equal(clock.committed_ns, 0);
}

static void test_root(void **state)
{
	struct pc_rate_root root = { .clock_ns = 5 };

	pc_plan_root(1000000000, &root);
	assert_true(root.rate == pc_rate_word(1333333332) && root.clock_ns == 5);
	assert_int_equal(root.limit_ns[PC_RATE_CLASS_FREE], 5000000);
	assert_int_equal(root.limit_ns[PC_RATE_CLASS_PAID], 20000000);
	assert_int_equal(root.limit_ns[PC_RATE_CLASS_OWNER], 50000000);
	pc_plan_root(0, &root);
	assert_true(root.rate == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),	cmocka_unit_test(test_classes),
		cmocka_unit_test(test_rate),	cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_share),	cmocka_unit_test(test_apply),
		cmocka_unit_test(test_savings), cmocka_unit_test(test_root),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
