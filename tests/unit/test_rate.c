/* SPDX-License-Identifier: MIT */
/* The limiter's arithmetic: rates, bursts, ticks, changes of the configuration. */
#include "rate_bed.h"

static const uint64_t rates[] = {
	8000,	       9600,	       64000,		256000,		 999999,
	2000000,       10000000,       33333333,	100000000,	 1000000000,
	9876543210ull, 25000000000ull, 100000000000ull, 400000000000ull,
};

static void test_word(void **state)
{
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t word = pc_rate_word(rates[i]), ns = 0;
		uint16_t carry = 0;

		for (int n = 0; n < 100000; n++)
			ns += pc_rate_cost(word, 1487 << PC_RATE_CHARGE_SHIFT, &carry);
		assert_close((double)ns, (1487.0 * 8e9 * 100000 / (double)rates[i]), 1e-6);
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
	assert_close((double)ns, 560000, 1e-4);
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
			assert_close((double)sum, (double)rates[i] / 8e9 * (double)(now - T0),
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
			double by_peak = rate * 4 / 3 * (peak_depth + (double)at);
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
	assert_close((double)sum, 12500000 * 2.1, 0.005);
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
	assert_close((double)sum, 125000000 * 0.042 * 4 / 3,
		     0.01); /* the depth of the peak clock */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(offer(&b, 0, T0, 1500, 0), PC_RATE_DROP_RATE);
	assert_int_equal(b.lease[0].drops_rate, 1001);
	assert_int_equal(b.lease[0].dropped_bytes, 1001 * 1500);
}

/* A new rate counts at once, and neither time nor bytes are lost or given twice by the change. */
static void test_rate_changes(void **state)
{
	static const uint64_t turns[] = { 10000000, 80000000, 5000000, 1000000000, 64000000 };
	uint64_t now = T0;
	struct bed b;

	bed_init(&b, turns[0]);
	used_up(&b, now);
	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		uint64_t sum = 0;
		struct bed next;

		bed_init(&next, turns[i]);
		pc_rate_store(&b.rate, &next.rate);
		for (int n = 0; n < 1000; n++)
			sum += drain(&b, 0, now += 2 * MS, 500);
		assert_close((double)sum, turns[i] / 8 * 2, 0.001);
	}
}

/* A reader that sees some words of the old and some of the new one passes no more than the larger.
 */
static void test_torn_configuration(void **state)
{
	struct bed old, new;

	bed_init(&old, 2000000);
	bed_init(&new, 50000000);
	new.rate.fallback = pc_rate_word(2000000);
	new.rate.epoch_end_ns = T0 + 1000 * SEC;
	new.rate.version = 2;
	for (unsigned int mask = 0; mask < 256; mask++) {
		uint64_t sum = 0, now = T0;
		struct bed b = old;

		for (unsigned int i = 0; i < 8; i++)
			if (mask >> i & 1)
				memcpy((uint8_t *)&b.rate + 8 * i, (uint8_t *)&new.rate + 8 * i, 8);
		used_up(&b, now);
		for (int n = 0; n < 500; n++)
			sum += drain(&b, 0, now += 4 * MS, 1400);
		assert_in_range(sum, 2000000 / 8 * 2 * 0.98, 50000000 / 8 * 2 * 1.001);
	}
}

/* What is left of a large lease does not outlive the rate by more than 100 ms. */
static void test_lower_rate_takes_leases(void **state)
{
	struct bed b, low;

	bed_init(&b, 10000000000ull);
	assert_int_equal(offer(&b, 0, T0, 1500, 0), PC_RATE_PASS);
	assert_int_equal(b.lease[0].left, (65536 - 1500) << 8);
	bed_init(&low, 64000);
	pc_rate_store(&b.rate, &low.rate);
	used_up(&b, T0 + 99 * MS);
	assert_int_equal(offer(&b, 0, T0 + 99 * MS, 1500, 0), PC_RATE_PASS);
	used_up(&b, T0 + 100 * MS);
	assert_int_equal(offer(&b, 0, T0 + 100 * MS, 1500, 0), PC_RATE_DROP_RATE);
}

/* Small packets are held to packets per second, large ones to bits per second, by one clock. */
static void test_packets(void **state)
{
	static const uint32_t sizes[] = { 28, 60, 200, 312, 313, 700, 1500 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t by_packets = 4000ull * sizes[i] * 10, by_bytes = 10000000 / 8 * 10;
		uint64_t sum = 0, now = T0;
		struct bed b;

		bed_init(&b, 10000000);
		b.rate.charge_min = pc_rate_charge_min(10000000, 4000);
		used_up(&b, now);
		for (int n = 0; n < 5000; n++)
			sum += drain(&b, 0, now += 2 * MS, sizes[i]);
		assert_close((double)sum, by_packets < by_bytes ? by_packets : by_bytes, 0.001);
	}
	assert_int_equal(pc_rate_charge_min(0, 5), 0);
	assert_int_equal(pc_rate_charge_min(5000, 0), 0);
	assert_int_equal(pc_rate_charge_min(400000000000ull, 1), UINT32_MAX);
}

/* The slow loop died: shares fall back to what is guaranteed, and come back with it. */
static void test_fallback(void **state)
{
	uint64_t now = T0, sum = 0;
	struct bed b;

	bed_init(&b, 80000000);
	b.rate.fallback = pc_rate_word(8000000);
	b.rate.epoch_end_ns = T0 + 2 * SEC;
	used_up(&b, now);
	while (now < T0 + 2 * SEC - 4 * MS)
		sum += drain(&b, 0, now += 4 * MS, 1000);
	assert_close((double)sum, 20000000, 0.005);
	for (sum = 0; now < T0 + 12 * SEC;)
		sum += drain(&b, 0, now += 4 * MS, 1000);
	assert_close((double)sum, 10000000, 0.005);
	b.rate.epoch_end_ns = now + 100 * SEC;
	for (sum = 0; now < T0 + 22 * SEC;)
		sum += drain(&b, 0, now += 4 * MS, 1000);
	assert_close((double)sum, 100000000, 0.005);
	/* No end, no fall. */
	b.rate.epoch_end_ns = 0;
	now += 100 * SEC;
	used_up(&b, now);
	for (sum = 0; now < T0 + 132 * SEC;)
		sum += drain(&b, 0, now += 4 * MS, 1000);
	assert_close((double)sum, 100000000, 0.005);
}

static void test_unlimited(void **state)
{
	struct bed b;

	bed_init(&b, 8000);
	b.rate.flags = PC_RATE_UNLIMITED;
	b.rate.lease = 65536 << PC_RATE_CHARGE_SHIFT;
	for (int i = 0; i < 100000; i++)
		assert_int_equal(offer(&b, 0, T0, 1500, 0), PC_RATE_PASS);
	assert_int_equal(b.clock.committed_ns, 0);
	assert_int_equal(b.lease[0].bytes, 150000000);
	/* Words of 0 cost nothing either. */
	memset(&b.rate, 0, sizeof(b.rate));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(offer(&b, 0, T0 + SEC, 1500, 0), PC_RATE_PASS);
}

/* What the fast path needs to know of the configuration is in the lease. */
static void test_copies(void **state)
{
	struct bed b;

	bed_init(&b, 1000000);
	b.rate.flags = PC_RATE_SET_DSCP;
	b.rate.dscp = 10;
	b.rate.tier = PC_RATE_CLASS_OWNER;
	offer(&b, 0, T0, 100, 0);
	assert_int_equal(b.lease[0].flags, PC_RATE_SET_DSCP);
	assert_int_equal(b.lease[0].dscp, 10);
	assert_int_equal(b.lease[0].tier, PC_RATE_CLASS_OWNER);
	assert_int_equal(pc_rate_index(7, PC_RATE_UP), 14);
	assert_int_equal(pc_rate_index(7, PC_RATE_DOWN), 15);
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
		cmocka_unit_test(test_rate_changes),
		cmocka_unit_test(test_torn_configuration),
		cmocka_unit_test(test_lower_rate_takes_leases),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_unlimited),
		cmocka_unit_test(test_copies),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
