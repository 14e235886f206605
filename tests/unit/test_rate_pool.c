/* SPDX-License-Identifier: MIT */
/*
 * Tenants on one uplink through all there is between plan and packet: meters, shares, what the
 * limiter is told, its clocks and the uplink's. The slow loop runs every 10 ms; senders are steady.
 */
#include <stdlib.h>

#include "qos/meter.h"
#include "qos/plan.h"
#include "qos/share.h"
#include "rate_bed.h"

#define POOL	 200000000ull
#define MBIT	 1000000ull
#define PACKET	 1250
#define LOOP_NS	 (10 * MS)
#define TENANTS	 12
#define BINS	 400 /* of 10 ms, kept of each tenant */
#define EPOCH_NS (2 * SEC)

enum { OWNER, PAID, FREE };

struct sender {
	struct pc_plan plan;
	struct bed bed;
	struct pc_meter meter;
	uint64_t offered; /* bit/s */
	uint64_t next;	  /* packet */
	uint64_t ceiling, bytes_before;
	uint64_t lowest; /* ceiling since the mark */
	uint32_t refused, refused_before;
	uint32_t bin[BINS];
};

static struct sender all[TENANTS];
static struct pc_share_tenant shares[TENANTS];
static struct pc_rate_root root;
static uint32_t scratch[TENANTS];
static size_t n;
static uint64_t now, bins_from, looped;

static void add(uint32_t tier, uint32_t weight, uint64_t offered)
{
	struct sender *s = &all[n];

	*s = (struct sender){ .plan.weight = weight, .offered = offered, .next = now + n * US };
	shares[n++] = (struct pc_share_tenant){ .tier = tier, .weight = weight };
}

static int setup(void **state)
{
	n = 0;
	now = bins_from = T0;
	looped = now - LOOP_NS;
	root = (struct pc_rate_root){ 0 };
	pc_plan_root(POOL, &root);
	return 0;
}

static void slow_loop(void)
{
	const struct pc_share_pool pool = { POOL, pc_tiers_builtin, 3 };

	for (size_t i = 0; i < n; i++) {
		struct sender *s = &all[i];
		const struct pc_rate_lease *lease = &s->bed.lease[0];
		const struct pc_meter_sample sample = {
			.bytes = lease->bytes - s->bytes_before,
			.limited = s->refused != s->refused_before,
			.ceiling_bps = s->ceiling,
			.elapsed_ns = now - looped,
		};

		shares[i].demand_bps = pc_meter_tick(&s->meter, &sample, now);
		s->bytes_before = lease->bytes;
		s->refused_before = s->refused;
	}
	looped = now;
	pc_share_compute(&pool, shares, n, scratch);
	for (size_t i = 0; i < n; i++) {
		struct sender *s = &all[i];
		const struct pc_plan_share share = {
			.allowed_bps = shares[i].ceiling_bps,
			.entitled_bps = shares[i].entitled_bps,
			.epoch_end_ns = now + EPOCH_NS,
		};
		struct pc_rate rate;

		if (!pc_share_differs(s->ceiling, shares[i].ceiling_bps,
				      shares[i].demand_bps == PC_SHARE_HUNGRY))
			continue;
		s->ceiling = shares[i].ceiling_bps;
		s->lowest = s->ceiling < s->lowest ? s->ceiling : s->lowest;
		pc_plan_rate(&s->plan, &pc_tiers_builtin[shares[i].tier], PC_RATE_UP, &share,
			     &rate);
		pc_plan_apply(&s->bed.rate, &s->bed.clock, &rate, now);
	}
}

static void send_until(struct sender *s, uint64_t end)
{
	const struct pc_rate_ref ref = { &s->bed.rate, &s->bed.clock, &s->bed.lease[0], &root,
					 &s->bed.quota };

	if (s->next < now)
		s->next = now;
	for (; s->offered && s->next < end; s->next += PACKET * 8 * SEC / s->offered) {
		if (pc_rate_admit(&ref, s->next, PACKET, 0) > PC_RATE_MARK)
			s->refused++;
		else if ((s->next - bins_from) / LOOP_NS < BINS)
			s->bin[(s->next - bins_from) / LOOP_NS] += PACKET;
	}
}

/* Senders take turns of half a millisecond: the uplink's clock sees them nearly in order. */
static void run(uint64_t ns)
{
	for (uint64_t end = now + ns; now < end; now += MS / 2) {
		if (now % LOOP_NS == 0)
			slow_loop();
		for (size_t i = 0; i < n; i++)
			send_until(&all[i], now + MS / 2);
	}
}

static void mark(void)
{
	bins_from = now;
	for (size_t i = 0; i < n; i++) {
		memset(all[i].bin, 0, sizeof(all[i].bin));
		all[i].refused = all[i].refused_before = 0;
		all[i].lowest = all[i].ceiling;
	}
}

/* Bit/s in the 100 ms from bin @k on. */
static double window(size_t i, unsigned int k)
{
	uint64_t sum = 0;

	for (unsigned int j = k; j < k + 10; j++)
		sum += all[i].bin[j];
	return (double)sum * 80;
}

/* From 200 ms after the mark on, for as long as was run, every 100 ms is within a tenth. */
static void assert_settled(size_t i, double want, unsigned int ms)
{
	for (unsigned int k = 20; k + 10 <= ms / 10; k++) {
		double bps = window(i, k);

		if (bps < want * 0.9 || bps > want * 1.1)
			fail_msg("tenant %zu: %.1f and not %.1f Mbit/s, %u ms after", i, bps / 1e6,
				 want / 1e6, k * 10);
	}
}

static const uint32_t weights[] = { 1, 1, 2, 4 };

/* One that saved up a second meanwhile, joins those that fill the uplink, and leaves. */
static void test_join_and_leave(void **state)
{
	for (int fresh = 0; fresh < 2; fresh++) {
		setup(NULL);
		for (size_t i = 0; i < 4; i++)
			add(PAID, weights[i], i < 3 ? weights[i] * 75 * MBIT : 0);
		if (!fresh)
			all[3].bed.clock.committed_ns = 1;
		run(5 * SEC);
		mark();
		all[3].offered = 150 * MBIT;
		run(3 * SEC);
		for (size_t i = 0; i < 4; i++)
			assert_settled(i, 25e6 * weights[i], 3000);
		mark();
		all[3].offered = 0;
		run(3 * SEC);
		for (size_t i = 0; i < 3; i++)
			assert_settled(i, 49.8e6 * weights[i], 3000);
	}
}

/* Nobody saves what others sent: together they never send more than the uplink has. */
static void test_savings_fit(void **state)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < 10; i++)
		add(PAID, 1, i ? 0 : 250 * MBIT);
	run(5 * SEC);
	/* Nine that sent nothing for long come all at once. */
	mark();
	for (size_t i = 1; i < 10; i++)
		all[i].offered = 40 * MBIT;
	run(2 * SEC);
	for (size_t i = 0; i < 10; i++) {
		assert_settled(i, 20e6, 2000);
		for (int k = 0; k < 200; k++)
			sum += all[i].bin[k];
	}
	assert_in_range(sum, POOL / 8 * 2 * 98 / 100, POOL / 8 * 2 * 104 / 100);
}

/* But what was not used is there: alone on the uplink, a burst goes at the peak. */
static void test_savings_serve(void **state)
{
	add(PAID, 1, 20 * MBIT);
	add(PAID, 1, 0);
	all[0].bed.clock.committed_ns = 1;
	run(3 * SEC);
	mark();
	all[0].offered = 240 * MBIT;
	run(SEC);
	assert_true(window(0, 20) > 225e6);
	assert_in_range(all[0].refused, 0, 2);
}

/* Paid comes to one free tenant that has the uplink and a second saved up. */
static void test_paid_joins(void **state)
{
	add(FREE, 1, 150 * MBIT);
	add(PAID, 1, 0);
	all[0].bed.clock.committed_ns = all[1].bed.clock.committed_ns = 1;
	run(2 * SEC);
	mark();
	all[0].offered = 400 * MBIT;
	all[1].offered = 120 * MBIT;
	run(SEC);
	assert_settled(1, 120e6, 1000);
	/* 100 ms of what it sends would be 1200. */
	assert_in_range(all[1].refused, 0, 400);
	/* And none is lost later. */
	mark();
	run(2 * SEC);
	assert_int_equal(all[1].refused, 0);
	/* What it does not use is another's, but for some room. */
	assert_true(window(0, 150) > 45e6);
}

/* What paid no longer uses, free has within half a second; and loses as soon as paid is back. */
static void test_paid_slows(void **state)
{
	add(PAID, 1, 300 * MBIT);
	add(FREE, 1, 300 * MBIT);
	run(3 * SEC);
	mark();
	all[0].offered = 80 * MBIT;
	run(2 * SEC);
	for (unsigned int k = 50; k < 190; k++)
		assert_true(window(1, k) > 90e6);
	assert_settled(0, 80e6, 2000);
	mark();
	all[0].offered = 300 * MBIT;
	run(2 * SEC);
	/* With what was left over meanwhile, at its peak. */
	for (unsigned int k = 5; k < 190; k++)
		assert_true(window(0, k) > 190e6);
	assert_true(window(0, 180) < 205e6);
}

/* Paid at its plan's rate, and ten free ones that take all that is left. */
static void full_load(void)
{
	add(PAID, 1, 148 * MBIT);
	shares[0].limit_bps = all[0].plan.bps[PC_RATE_UP] = 150 * MBIT;
	for (int i = 0; i < 10; i++)
		add(FREE, 1, 30 * MBIT);
	run(3 * SEC);
	mark();
}

/* What waited meanwhile comes at once: a window of 30 ms. */
static void resume(void)
{
	all[0].offered = 30 * 148 * MBIT;
	run(MS);
	all[0].offered = 148 * MBIT;
	run(499 * MS);
}

/* A sender that pauses, and a machine that stands still with all in it, the slow loop too. */
static void test_pauses(void **state)
{
	full_load();
	for (int i = 0; i < 4; i++) {
		all[0].offered = 0;
		run(140 * MS);
		resume();
	}
	assert_int_equal(all[0].lowest, 150 * MBIT);
	for (int i = 0; i < 4; i++) {
		now += 150 * MS;
		resume();
	}
	assert_int_equal(all[0].lowest, 150 * MBIT);
	assert_int_equal(all[0].refused, 0);
	/* But who leaves has left, and what was his is another's. */
	all[0].offered = 0;
	run(200 * MS);
	mark();
	run(SEC);
	assert_true(all[0].ceiling < 2 * MBIT);
	for (size_t i = 1; i < n; i++)
		assert_settled(i, 19.92e6, 1000);
}

/* Little that comes and goes, like acknowledgements, takes nothing from one at full load. */
static void test_small_waves(void **state)
{
	full_load();
	add(PAID, 1, 3 * MBIT);
	run(SEC);
	mark();
	for (int i = 0; i < 20; i++) {
		all[n - 1].offered = (i & 1 ? 6 : 2) * MBIT;
		run(200 * MS);
	}
	assert_int_equal(all[n - 1].refused, 0);
	assert_int_equal(all[0].lowest, 150 * MBIT);
	assert_int_equal(all[0].refused, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_join_and_leave, setup),
		cmocka_unit_test_setup(test_savings_fit, setup),
		cmocka_unit_test_setup(test_savings_serve, setup),
		cmocka_unit_test_setup(test_paid_joins, setup),
		cmocka_unit_test_setup(test_paid_slows, setup),
		cmocka_unit_test_setup(test_pauses, setup),
		cmocka_unit_test_setup(test_small_waves, setup),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
