/* SPDX-License-Identifier: MIT */
/* Fair shares: what must hold for any tenants, and how they settle when tenants come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "abi/rate.h"
#include "qos/meter.h"
#include "qos/share.h"

#define MBIT 1000000ull
#define MS   1000000ull
#define MOST 300

enum { OWNER, PAID, FREE, GOLD, TIERS };

static struct pc_tier tiers[TIERS];
static struct pc_share_tenant tenants[MOST];
static uint32_t scratch[MOST];

static int setup(void **state)
{
	memcpy(tiers, pc_tiers_builtin, sizeof(pc_tiers_builtin));
	tiers[GOLD] = tiers[PAID];
	memset(tenants, 0, sizeof(tenants));
	return 0;
}

static void compute(uint64_t capacity, size_t n)
{
	const struct pc_share_pool pool = { capacity, tiers, TIERS };

	pc_share_compute(&pool, tenants, n, scratch);
	pc_share_fallback(&pool, tenants, n);
}

static void tenant(size_t i, uint32_t tier, uint32_t weight, uint64_t limit, uint64_t guarantee,
		   uint64_t demand)
{
	tenants[i] = (struct pc_share_tenant){ .tier = tier,
					       .weight = weight,
					       .limit_bps = limit,
					       .guarantee_bps = guarantee,
					       .demand_bps = demand };
}

static void assert_near(uint64_t have, double want, double tolerance)
{
	double error = (double)have - want;

	if (error > want * tolerance + 10 || error < -want * tolerance - 10)
		fail_msg("%llu is not %.0f", (unsigned long long)have, want);
}

static void test_weights(void **state)
{
	static const uint32_t weights[] = { 1, 1, 2, 4 };

	for (size_t i = 0; i < 4; i++)
		tenant(i, PAID, weights[i], 0, 0, PC_SHARE_HUNGRY);
	compute(200 * MBIT, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_near(tenants[i].entitled_bps, 25e6 * weights[i], 0.001);
		assert_in_range(tenants[i].ceiling_bps - tenants[i].entitled_bps, 0, 10);
		assert_near(tenants[i].fallback_bps, 25e6 * weights[i], 0.001);
	}
	/* One wants little: the others share the rest; it may grow only when there is some left. */
	tenants[3].demand_bps = 20 * MBIT;
	compute(200 * MBIT, 4);
	assert_near(tenants[3].entitled_bps, 20e6, 0.001);
	assert_near(tenants[2].entitled_bps, 90e6, 0.001);
	assert_near(tenants[0].entitled_bps, 45e6, 0.001);
}

/* One that wants something has nearly all, and the idle a little to begin with. */
static void test_alone(void **state)
{
	for (size_t i = 0; i < 10; i++)
		tenant(i, i < 5 ? PAID : FREE, 1, 0, 0, i == 7 ? PC_SHARE_HUNGRY : 0);
	compute(200 * MBIT, 10);
	assert_near(tenants[7].ceiling_bps, 199.2e6, 0.001);
	for (size_t i = 0; i < 10; i++)
		assert_true(tenants[i].ceiling_bps > 80000);
	/* Nobody wants anything: there is room for anybody. */
	tenants[7].demand_bps = 0;
	compute(200 * MBIT, 10);
	for (size_t i = 0; i < 10; i++) {
		assert_near(tenants[i].ceiling_bps, 20e6, 0.001);
		assert_int_equal(tenants[i].entitled_bps, 0);
	}
}

static void test_tiers(void **state)
{
	tenant(0, PAID, 1, 80 * MBIT, 0, PC_SHARE_HUNGRY);
	for (size_t i = 1; i <= 10; i++)
		tenant(i, FREE, 1, 0, 0, PC_SHARE_HUNGRY);
	compute(100 * MBIT, 11);
	assert_near(tenants[0].ceiling_bps, 80e6, 0.0001);
	for (size_t i = 1; i <= 10; i++)
		assert_near(tenants[i].ceiling_bps, 2e6, 0.001);
	/* Full: the free have their floor. */
	tenants[0].limit_bps = 0;
	compute(100 * MBIT, 11);
	assert_near(tenants[0].ceiling_bps, 99e6, 0.0001);
	for (size_t i = 1; i <= 10; i++)
		assert_near(tenants[i].ceiling_bps, 1e5, 0.001);
	/* A guarantee comes before any tier. */
	tenants[4].guarantee_bps = 30 * MBIT;
	compute(100 * MBIT, 11);
	assert_near(tenants[0].ceiling_bps, 70e6, 0.0001);
	assert_near(tenants[4].ceiling_bps, 30e6, 0.0001);
	/* Who does not want it lends it. */
	tenants[4].demand_bps = 5 * MBIT;
	compute(100 * MBIT, 11);
	assert_near(tenants[4].ceiling_bps, 5e6, 0.0001);
	assert_near(tenants[0].ceiling_bps, 95e6, 0.0001);
}

static void test_tier_ceiling(void **state)
{
	tiers[PAID].ceiling = 60;
	tiers[FREE].ceiling = 10;
	tenant(0, PAID, 1, 0, 0, PC_SHARE_HUNGRY);
	tenant(1, PAID, 3, 0, 0, PC_SHARE_HUNGRY);
	tenant(2, FREE, 1, 0, 0, PC_SHARE_HUNGRY);
	compute(100 * MBIT, 3);
	assert_near(tenants[0].ceiling_bps, 15e6, 0.001);
	assert_near(tenants[1].ceiling_bps, 45e6, 0.001);
	assert_near(tenants[2].ceiling_bps, 10e6, 0.001);
}

/* Two tiers of one priority share by their weights. */
static void test_tier_weights(void **state)
{
	tiers[GOLD].weight = 3;
	tenant(0, PAID, 1, 0, 0, PC_SHARE_HUNGRY);
	tenant(1, GOLD, 1, 0, 0, PC_SHARE_HUNGRY);
	compute(100 * MBIT, 2);
	assert_near(tenants[0].ceiling_bps, 25e6, 0.001);
	assert_near(tenants[1].ceiling_bps, 75e6, 0.001);
}

static unsigned int seed;

static uint64_t upto(uint64_t n)
{
	return ((uint64_t)rand_r(&seed) << 20 ^ (uint64_t)rand_r(&seed)) % n;
}

static void random_tenant(size_t i, uint64_t capacity, size_t n)
{
	uint64_t limit = upto(3) ? upto(capacity) + 8000 : 0;
	uint64_t guarantee = upto(4) ? 0 : upto(capacity / n);

	if (limit && guarantee > limit)
		guarantee = limit;
	tenant(i, (uint32_t)upto(TIERS), (uint32_t)upto(20) + 1, limit, guarantee,
	       upto(3)	 ? PC_SHARE_HUNGRY
	       : upto(2) ? upto(capacity)
			 : 0);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void check_sums(uint64_t capacity, size_t n)
{
	uint64_t ceilings = 0, of_tier[TIERS] = { 0 };
	uint64_t fallback = 0, guarantees = 0;
	bool all_full = true, capped = false;

	for (size_t i = 0; i < n; i++) {
		const struct pc_share_tenant *t = &tenants[i];
		uint64_t limit = least(t->limit_bps ? t->limit_bps : UINT64_MAX, capacity);
		uint64_t want = least(t->demand_bps, limit);

		assert_true(t->ceiling_bps <= limit);
		assert_true(t->entitled_bps <= t->ceiling_bps && t->entitled_bps <= want);
		assert_true(t->entitled_bps >= least(want, t->guarantee_bps) ||
			    tiers[t->tier].ceiling < 100);
		ceilings += t->ceiling_bps;
		fallback += t->fallback_bps;
		guarantees += t->guarantee_bps;
		of_tier[t->tier] += t->ceiling_bps;
		all_full &= t->ceiling_bps == limit;
	}
	for (size_t k = 0; k < TIERS; k++) {
		assert_true(of_tier[k] <= capacity / 100 * tiers[k].ceiling ||
			    tiers[k].ceiling == 100);
		capped |= tiers[k].ceiling < 100;
	}
	assert_true(ceilings <= capacity);
	assert_true(fallback <= (guarantees > capacity ? guarantees : capacity));
	/* Nothing lies idle while somebody could use it. */
	if (!all_full && !capped)
		assert_in_range(ceilings, capacity - capacity / 100000 - 64 * n, capacity);
}

static void test_random(void **state)
{
	seed = 11;
	for (int round = 0; round < 3000; round++) {
		uint64_t capacity = upto(10000) * MBIT + MBIT;
		size_t n = upto(MOST) + 1;

		for (size_t k = 0; k < TIERS; k++)
			tiers[k].ceiling = round % 2 && !upto(3) ? (uint32_t)upto(100) + 1 : 100;
		for (size_t i = 0; i < n; i++)
			random_tenant(i, capacity, n);
		compute(capacity, n);
		check_sums(capacity, n);
	}
}

/* Asking for more never brings less, and takes from no tenant more than half of it... of its tier.
 */
static void test_monotonic(void **state)
{
	seed = 5;
	for (int round = 0; round < 1000; round++) {
		uint64_t capacity = upto(1000) * MBIT + MBIT, before;
		size_t n = upto(20) + 1, k = upto(n);

		for (size_t i = 0; i < n; i++)
			random_tenant(i, capacity, n);
		tenants[k].demand_bps = upto(capacity) + 1;
		compute(capacity, n);
		before = tenants[k].entitled_bps;
		tenants[k].demand_bps = PC_SHARE_HUNGRY;
		compute(capacity, n);
		assert_true(tenants[k].entitled_bps + 2 + capacity / 1000000 >= before);
		before = tenants[k].entitled_bps;
		tenants[k].weight *= 2;
		compute(capacity, n);
		assert_true(tenants[k].entitled_bps + 2 + capacity / 1000000 >= before);
	}
}

/* Within a tier: who has less by weight, and less than it wants, has no less than any other. */
static void test_max_min(void **state)
{
	seed = 23;
	for (int round = 0; round < 300; round++) {
		uint64_t capacity = upto(1000) * MBIT + MBIT;
		size_t n = upto(100) + 1;
		double low = 1e300, high = 0;

		for (size_t i = 0; i < n; i++) {
			random_tenant(i, capacity, n);
			tenants[i].tier = PAID;
			tenants[i].guarantee_bps = 0;
		}
		compute(capacity, n);
		for (size_t i = 0; i < n; i++) {
			const struct pc_share_tenant *t = &tenants[i];
			uint64_t limit = least(t->limit_bps ? t->limit_bps : UINT64_MAX, capacity);
			double even = (double)t->entitled_bps / t->weight;

			if (even > high)
				high = even;
			if (t->entitled_bps < least(t->demand_bps, limit) && even < low)
				low = even;
		}
		assert_true(high <= low * 1.00001 + 100);
	}
}

static void test_differs(void **state)
{
	assert_false(pc_share_differs(1000000, 1000000, true));
	assert_true(pc_share_differs(1000000, 999999, false));
	assert_false(pc_share_differs(1000000, 1020000, false));
	assert_true(pc_share_differs(1000000, 1020001, false));
	assert_false(pc_share_differs(1000000, 1002000, true));
	assert_true(pc_share_differs(1000000, 1002001, true));
	assert_true(pc_share_differs(0, 1, false));
}

/* --- the loop: meters, shares, and senders that take what they are given --- */

struct loop {
	struct pc_meter meter[8];
	uint64_t written[8];
	uint64_t offered[8]; /* bit/s */
	uint64_t passed[8];
	uint64_t now;
	size_t n;
};

static void turn(struct loop *l, uint64_t capacity)
{
	uint64_t sum = 0;

	l->now += 10 * MS;
	for (size_t i = 0; i < l->n; i++) {
		uint64_t bps = least(l->offered[i], l->written[i]);
		struct pc_meter_sample sample = { bps / 800, l->offered[i] > bps, l->written[i],
						  10 * MS };

		l->passed[i] = bps;
		tenants[i].demand_bps = pc_meter_tick(&l->meter[i], &sample, l->now);
	}
	compute(capacity, l->n);
	for (size_t i = 0; i < l->n; i++) {
		if (pc_share_differs(l->written[i], tenants[i].ceiling_bps,
				     tenants[i].demand_bps == PC_SHARE_HUNGRY))
			l->written[i] = tenants[i].ceiling_bps;
		sum += l->written[i];
	}
	assert_true(sum <= capacity);
}

static void test_join_and_leave(void **state)
{
	static const uint32_t weights[] = { 1, 1, 2, 4 };
	struct loop l = { .n = 4 };
	uint64_t sum = 0;

	for (size_t i = 0; i < 4; i++)
		tenant(i, PAID, weights[i], 0, 0, 0);
	turn(&l, 200 * MBIT);
	/* One after the other joins; 200 ms later each has its share. */
	for (size_t i = 0; i < 4; i++) {
		uint64_t all = 0;

		l.offered[i] = 1000 * MBIT;
		for (int n = 0; n < 20; n++)
			turn(&l, 200 * MBIT);
		for (size_t k = 0; k <= i; k++)
			all += weights[k];
		for (size_t k = 0; k <= i; k++)
			assert_near(l.passed[k], 199.2e6 * weights[k] / (double)all, 0.02);
	}
	/* The largest leaves. */
	l.offered[3] = 0;
	for (int n = 0; n < 20; n++)
		turn(&l, 200 * MBIT);
	assert_near(l.passed[0], 49.8e6, 0.02);
	assert_near(l.passed[2], 99.6e6, 0.02);
	/* All but one leave. */
	l.offered[0] = l.offered[1] = 0;
	for (int n = 0; n < 20; n++)
		turn(&l, 200 * MBIT);
	assert_in_range(l.passed[2], 196 * MBIT, 200 * MBIT);
	/* A steady sender takes what it needs, and the other the rest. */
	l.offered[0] = 20 * MBIT;
	for (int n = 0; n < 400; n++) {
		turn(&l, 200 * MBIT);
		sum += n >= 40 && l.passed[0] == 20 * MBIT;
	}
	assert_int_equal(sum, 360);
	assert_in_range(l.passed[2], 165 * MBIT, 180 * MBIT);
}

/* The sawtooth of a TCP sender does not cost it its share. */
static void test_sawtooth(void **state)
{
	struct loop l = { .n = 2 };

	for (size_t i = 0; i < 2; i++)
		tenant(i, PAID, 1, 0, 0, 0);
	turn(&l, 100 * MBIT);
	l.offered[0] = l.offered[1] = 1000 * MBIT;
	for (int n = 0; n < 100; n++)
		turn(&l, 100 * MBIT);
	for (int n = 0; n < 1000; n++) {
		l.offered[0] = 33 * MBIT + (uint64_t)(n % 200) * MBIT / 6;
		turn(&l, 100 * MBIT);
		assert_near(l.written[0], 50e6, 0.01);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_weights, setup),
		cmocka_unit_test_setup(test_alone, setup),
		cmocka_unit_test_setup(test_tiers, setup),
		cmocka_unit_test_setup(test_tier_ceiling, setup),
		cmocka_unit_test_setup(test_tier_weights, setup),
		cmocka_unit_test_setup(test_random, setup),
		cmocka_unit_test_setup(test_monotonic, setup),
		cmocka_unit_test_setup(test_max_min, setup),
		cmocka_unit_test_setup(test_differs, setup),
		cmocka_unit_test_setup(test_join_and_leave, setup),
		cmocka_unit_test_setup(test_sawtooth, setup),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
