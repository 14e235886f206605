/* SPDX-License-Identifier: MIT */
/* The limiter's arithmetic: rates, bursts, ticks, changes, the early signal, the uplink, the quota.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/rate.h"

#define US  1000ull
#define MS  1000000ull
#define SEC 1000000000ull
#define T0  (77 * SEC)

static const uint64_t rates[] = {
	8000,	       9600,	       64000,		256000,		 999999,
	2000000,       10000000,       33333333,	100000000,	 1000000000,
	9876543210ull, 25000000000ull, 100000000000ull, 400000000000ull,
};

struct bed {
	struct pc_rate rate;
	struct pc_rate_clock clock;
	struct pc_rate_lease lease[4];
	struct pc_rate_root root;
	struct pc_credit quota;
};

static uint32_t depth_of(uint64_t ns)
{
	return (uint32_t)((ns + 1023) >> PC_RATE_DEPTH_SHIFT);
}

/* Peak 1.25 times the rate and 50 ms, never below ten full frames. */
static void bed_init(struct bed *b, uint64_t bps)
{
	uint64_t frames = 10 * 1500 * 8 * SEC / bps;

	memset(b, 0, sizeof(*b));
	b->rate.committed = pc_rate_word(bps);
	b->rate.peak = pc_rate_word(bps + bps / 4);
	b->rate.depth = depth_of(frames > SEC ? frames : SEC);
	b->rate.peak_depth = depth_of(frames > 50 * MS ? frames : 50 * MS);
	b->rate.lease = pc_rate_lease_charge(bps);
}

static enum pc_rate_verdict offer(struct bed *b, unsigned int cpu, uint64_t now, uint32_t bytes,
				  uint8_t ecn)
{
	const struct pc_rate_ref ref = { &b->rate, &b->clock, &b->lease[cpu], &b->root, &b->quota };

	return pc_rate_admit(&ref, now, bytes, ecn);
}

/* Everything that is allowed at @now. Bytes that passed. */
static uint64_t drain(struct bed *b, unsigned int cpu, uint64_t now, uint32_t bytes)
{
	uint64_t sum = 0;

	while (offer(b, cpu, now, bytes, 1) <= PC_RATE_MARK)
		sum += bytes;
	return sum;
}

static void assert_close(uint64_t have, uint64_t want, double tolerance)
{
	double error = ((double)have - (double)want) / (double)want;

	if (error > tolerance || error < -tolerance)
		fail_msg("%" PRIu64 " is not %" PRIu64 ": off by %.4f %%", have, want, error * 100);
}

static void test_word(void **state)
{
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t word = pc_rate_word(rates[i]), ns = 0;
		uint16_t carry = 0;

		for (int n = 0; n < 100000; n++)
			ns += pc_rate_cost(word, 1487 << PC_RATE_CHARGE_SHIFT, &carry);
		assert_close(ns, (uint64_t)(1487.0 * 8e9 * 100000 / (double)rates[i]), 1e-6);
	}
	assert_int_equal(pc_rate_word(0), 0);
	assert_true(pc_rate_word(1) && pc_rate_word(UINT64_MAX / 2));
}

/* Tiny packets at the highest rate cost less than a nanosecond each, and are not rounded away. */
static void test_fractions(void **state)
{
	uint64_t word = pc_rate_word(400000000000ull), ns = 0;
	uint16_t carry = 0;

	for (int n = 0; n < 1000000; n++)
		ns += pc_rate_cost(word, 28 << PC_RATE_CHARGE_SHIFT, &carry);
	assert_close(ns, 560000, 1e-4);
}

/* As if it had sent all it may: what passes from here on is the rate. */
static void used_up(struct bed *b, uint64_t now)
{
	b->clock.committed_ns = now + ((uint64_t)b->rate.depth << PC_RATE_DEPTH_SHIFT);
}

/* More than the rate is offered, and the time moves in ticks of all kinds: what passes is the rate.
 */
static void test_long_run(void **state)
{
	static const uint64_t ticks[] = { 50 * US, 1 * MS, 4 * MS, 10 * MS };
	const uint32_t bytes = 1500;

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (size_t t = 0; t < sizeof(ticks) / sizeof(ticks[0]); t++) {
			uint64_t length = 5000ull * bytes * 8 * SEC / rates[i];
			uint64_t tick = ticks[t] > length / 50000 ? ticks[t] : length / 50000;
			uint64_t last = T0 + (length > 8 * tick ? length : 8 * tick);
			uint64_t sum = 0, now = T0;
			struct bed b;

			bed_init(&b, rates[i]);
			used_up(&b, now);
			while (now < last)
				sum += drain(&b, 0, now += tick, bytes);
			assert_close(sum, (uint64_t)((double)rates[i] / 8e9 * (double)(now - T0)),
				     0.001);
			assert_int_equal(b.lease[0].bytes, sum);
		}
	}
}

/* In no stretch of time more than the depth and the rate, nor than the peak's. */
static void test_burst_bound(void **state)
{
	static const uint64_t each[] = { 64000, 10000000, 2500000000 };

	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		double rate = (double)each[i] / 8e9; /* bytes per ns */
		uint64_t sum = 0, now = T0 + 5 * SEC;
		double depth, peak_depth;
		struct bed b;

		bed_init(&b, each[i]);
		b.clock.committed_ns = T0; /* long idle */
		depth = (double)((uint64_t)b.rate.depth << PC_RATE_DEPTH_SHIFT);
		peak_depth = (double)((uint64_t)b.rate.peak_depth << PC_RATE_DEPTH_SHIFT);
		for (uint64_t at = 0; at < 8 * SEC; at += 4 * MS) {
			double by_rate = rate * (depth + (double)at);
			double by_peak = rate * 1.25 * (peak_depth + (double)at);
			double most = (by_rate < by_peak ? by_rate : by_peak) * 1.0001 + 1500;

			sum += drain(&b, 0, now + at, 1500);
			if ((double)sum > most)
				fail_msg("%" PRIu64 " passed after %" PRIu64 " ms", sum, at / MS);
			/* And not much less: two frames, a lease. */
			assert_true((double)sum > most * 0.999 - 4500 - rate * 250000);
		}
	}
}

/* A new tenant has a tenth of the depth, not all of it. */
static void test_new_tenant(void **state)
{
	uint64_t sum = 0, now = T0;
	struct bed b;

	bed_init(&b, 100000000);
	for (int i = 0; i < 1000; i++)
		sum += drain(&b, 0, now += 2 * MS, 1500);
	assert_close(sum, 12500000 * 2.1, 0.005);
}

/* A packet larger than all depths passes when the clock is idle, and is paid for. */
static void test_oversized(void **state)
{
	struct bed b;

	bed_init(&b, 8000);
	b.clock.committed_ns = 1;
	assert_int_equal(offer(&b, 0, T0, 65535, 0), PC_RATE_PASS);
	assert_int_equal(offer(&b, 0, T0 + 50 * SEC, 28, 0), PC_RATE_DROP_RATE);
	assert_int_equal(offer(&b, 0, T0 + 66 * SEC, 28, 0), PC_RATE_PASS);
}

static void test_clock_stands_still(void **state)
{
	uint64_t sum;
	struct bed b;

	bed_init(&b, 1000000000);
	b.clock.committed_ns = 1;
	sum = drain(&b, 0, T0, 1500);
	assert_close(sum, 125000000 / 20 * 1.25, 0.01); /* the depth of the peak clock */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(offer(&b, 0, T0, 1500, 0), PC_RATE_DROP_RATE);
	assert_int_equal(b.lease[0].drops_rate, 1001);
	assert_int_equal(b.lease[0].dropped_bytes, 1001 * 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_word),
		cmocka_unit_test(test_fractions),
		cmocka_unit_test(test_long_run),
		cmocka_unit_test(test_burst_bound),
		cmocka_unit_test(test_new_tenant),
		cmocka_unit_test(test_oversized),
		cmocka_unit_test(test_clock_stands_still),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
