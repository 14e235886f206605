/* SPDX-License-Identifier: MIT */
/* The limiter's early signal, the uplink with its classes and colours, the quota, the counters. */
#include "rate_bed.h"

/* Offers one packet of @bytes every @gap from @from to @to, not ECN-capable. Drops go to @ret. */
static unsigned int steady(struct bed *b, uint64_t from, uint64_t to, uint64_t gap, uint32_t bytes,
			   uint64_t *ret, unsigned int max)
{
	unsigned int n = 0;

	for (uint64_t now = from; now < to; now += gap)
		if (offer(b, 0, now, bytes, 0) > PC_RATE_MARK && n < max)
			ret[n++] = now;
	return n;
}

/* Slightly too fast: the first drop comes before the limit, and none is closer than 100 ms while
 * the sender answers each by slowing down. */
static void test_signal_apart(void **state)
{
	uint64_t now = T0, last = 0, gap = 11 * MS / 10, drops = 0;
	struct bed b;

	bed_init(&b, 10000000); /* 1250 bytes a millisecond */
	b.clock.committed_ns = T0;
	for (int n = 0; n < 60000; n++, now += gap) {
		if (offer(&b, 0, now, 1500, 0) <= PC_RATE_MARK) {
			if (gap > MS)
				gap -= 100;
			continue;
		}
		assert_true(b.clock.committed_ns < now + SEC - 10 * MS);
		assert_true(!last || now - last >= PC_RATE_SIGNAL_NS);
		last = now;
		gap = gap * 13 / 10;
		drops++;
	}
	assert_in_range(drops, 2, 100);
}

/* The clock keeps climbing, a bit more than a step in 100 ms: signals come closer. */
static void test_signal_closer(void **state)
{
	static const unsigned int ms[] = { 100, 71, 58, 50, 45, 41 };
	uint64_t drops[64], from = T0 + SEC;
	struct bed b;

	bed_init(&b, 10000000);
	b.rate.peak = 0;
	b.rate.depth *= 8;
	/* At the beginning of the limit's last eighth, and rising by 260 % of the time. */
	b.clock.committed_ns = from + 7 * SEC + 2 * MS;
	assert_int_equal(steady(&b, from, from + 370 * MS, 1200000 * 100 / 360, 1500, drops, 64),
			 7);
	for (unsigned int i = 1; i < 7; i++)
		assert_in_range(drops[i] - drops[i - 1], ms[i - 1] * MS, ms[i - 1] * MS + 2 * MS);
	assert_int_equal(b.clock.signal_count, 7);
}

/* It climbs by less than a step: the sender's answer is awaited, then the next is due. */
static void test_signal_waits(void **state)
{
	uint64_t drops[64], from = T0 + SEC;
	struct bed b;

	bed_init(&b, 10000000);
	b.clock.committed_ns = from + SEC * 7 / 8 + 1;
	assert_in_range(steady(&b, from, from + 350 * MS, 1200000 * 100 / 120, 1500, drops, 64), 2,
			3);
	assert_in_range(drops[1] - drops[0], 199 * MS, 210 * MS);
}

/* Near the limit, but sinking: one signal was enough. */
static void test_signal_once(void **state)
{
	uint64_t drops[64], from = T0 + SEC;
	struct bed b;

	bed_init(&b, 10000000);
	b.clock.committed_ns = from + 990 * MS;
	assert_int_equal(steady(&b, from, from + SEC, 1200000 * 100 / 98, 1500, drops, 64), 1);
	assert_int_equal(drops[0], from);
}

/* A sender that answered goes on just at its rate: away from the limit and back is no new excess.
 */
static void test_signal_again(void **state)
{
	struct bed b;

	bed_init(&b, 10000000);
	b.rate.lease = 0;
	b.clock.committed_ns = T0 + 940 * MS;
	assert_int_equal(offer(&b, 0, T0, 1500, 0), PC_RATE_DROP_RATE);
	b.clock.committed_ns = T0 + 500 * MS + 860 * MS;
	assert_int_equal(offer(&b, 0, T0 + 500 * MS, 1500, 0), PC_RATE_PASS);
	b.clock.committed_ns = T0 + 1000 * MS + 945 * MS;
	assert_int_equal(offer(&b, 0, T0 + 1000 * MS, 1500, 0), PC_RATE_PASS);
	/* Higher by a step is; and the limit is what it was. */
	b.clock.committed_ns = T0 + 1200 * MS + 975 * MS;
	assert_int_equal(offer(&b, 0, T0 + 1200 * MS, 1500, 0), PC_RATE_DROP_RATE);
	b.clock.committed_ns = T0 + 1300 * MS + 1001 * MS;
	assert_int_equal(offer(&b, 0, T0 + 1300 * MS, 1500, 0), PC_RATE_DROP_RATE);
	/* After seconds the last one is forgotten. */
	b.clock.committed_ns = T0 + 6000 * MS + 940 * MS;
	assert_int_equal(offer(&b, 0, T0 + 6000 * MS, 1500, 0), PC_RATE_DROP_RATE);
}

/* Who is new is near his limit, and loses nothing as long as he keeps to his rate. */
static void test_new_tenant(void **state)
{
	static const uint64_t every_us[] = { 1000, 1005, 1010, 1100, 2000 };

	for (size_t i = 0; i < sizeof(every_us) / sizeof(every_us[0]); i++) {
		struct bed b;

		bed_init(&b, 10000000);
		for (uint64_t t = T0; t < T0 + 20 * SEC; t += every_us[i] * US)
			assert_int_equal(offer(&b, 0, t, 1250, 1), PC_RATE_PASS);
	}
}

/* ECN-capable packets are marked and pass; what is marked already is not dropped. */
static void test_mark(void **state)
{
	unsigned int marks = 0;
	struct bed b;

	for (uint8_t ecn = 1; ecn <= 3; ecn++) {
		bed_init(&b, 10000000);
		b.clock.committed_ns = T0 + 990 * MS;
		assert_int_equal(offer(&b, 0, T0, 1000, ecn), PC_RATE_MARK);
		assert_int_equal(offer(&b, 0, T0 + 99 * MS, 1000, ecn), PC_RATE_PASS);
		assert_int_equal(b.lease[0].marks, 1);
		assert_int_equal(b.lease[0].bytes, 2000);
	}
	/* All the while over the rate: refused packets are dropped, not marked. */
	bed_init(&b, 10000000);
	used_up(&b, T0);
	for (int i = 0; i < 1000; i++) {
		enum pc_rate_verdict verdict = offer(&b, 0, T0 + i * MS / 10, 1000, 2);

		marks += verdict == PC_RATE_MARK;
		assert_int_not_equal(verdict, PC_RATE_DROP_ROOT);
	}
	assert_in_range(marks, 0, 3);
	assert_true(b.lease[0].drops_rate > 700);
}

static void root_init(struct bed *b, uint64_t bps)
{
	b->root.rate = pc_rate_word(bps);
	b->root.limit_ns[PC_RATE_CLASS_FREE] = 5 * MS;
	b->root.limit_ns[PC_RATE_CLASS_PAID] = 20 * MS;
	b->root.limit_ns[PC_RATE_CLASS_OWNER] = 50 * MS;
	b->root.limit_ns[PC_RATE_CLASS_CONTROL] = 50 * MS;
}

/* How far a class may fill the uplink, all at one moment. */
static uint64_t fill(uint8_t tier, uint64_t entitled)
{
	struct bed b;

	bed_init(&b, 100000000000ull);
	b.clock.committed_ns = 1;
	b.rate.tier = tier;
	b.rate.entitled = pc_rate_word(entitled);
	root_init(&b, 1000000000);
	drain(&b, 0, T0, 1000);
	assert_int_equal(b.lease[0].drops_root, 1);
	return (b.root.clock_ns - T0) / US;
}

static void test_root_classes(void **state)
{
	/* A packet is 8 us. */
	assert_in_range(fill(PC_RATE_CLASS_FREE, 0), 4990, 5000);
	assert_in_range(fill(PC_RATE_CLASS_PAID, 0), 19990, 20000);
	assert_in_range(fill(PC_RATE_CLASS_OWNER, 0), 49990, 50000);
	assert_in_range(fill(PC_RATE_CLASS_CONTROL, 0), 49990, 50000);
	/* What is borrowed stops at half. */
	assert_in_range(fill(PC_RATE_CLASS_PAID, 8000), 9990, 10000);
	assert_in_range(fill(PC_RATE_CLASS_FREE, 8000), 2490, 2500);
	/* What is not, at the highest limit: the clock of its entitlement is 42 ms deep, too. */
	assert_in_range(fill(PC_RATE_CLASS_PAID, 1000000000), 41980, 42000);
	assert_in_range(fill(PC_RATE_CLASS_FREE, 1000000000), 41980, 42000);
}

/* Two send all they can through one uplink: who is entitled to 3/4 of it gets that. */
static void test_entitlement(void **state)
{
	uint64_t sum[2] = { 0, 0 }, now = T0;
	struct bed b[2];

	for (int i = 0; i < 2; i++) {
		bed_init(&b[i], 1000000000);
		b[i].rate.tier = PC_RATE_CLASS_PAID;
		b[i].rate.entitled = pc_rate_word(i ? 75000000 : 25000000);
	}
	root_init(&b[0], 100000000);
	for (int n = 0; n < 200000; n++, now += 50 * US) {
		for (int i = 0; i < 2; i++) {
			struct pc_rate_ref ref = { &b[i].rate, &b[i].clock, &b[i].lease[0],
						   &b[0].root, &b[i].quota };

			if (pc_rate_admit(&ref, now, 1000, 1) <= PC_RATE_MARK)
				sum[i] += 1000;
		}
	}
	assert_close((double)(sum[0] + sum[1]), 125000000, 0.005);
	assert_close((double)sum[1], 93750000, 0.02);
}

/* Packets that are charged more than their bytes fill the uplink by their bytes. */
static void test_root_real_bytes(void **state)
{
	uint64_t now = T0, packets = 0;
	struct bed b;

	bed_init(&b, 100000000);
	b.rate.charge_min = pc_rate_charge_min(100000000, 10000); /* 1250 bytes */
	b.rate.tier = PC_RATE_CLASS_OWNER;
	root_init(&b, 8000000); /* 10000 packets/s of 100 bytes */
	b.root.clock_ns = T0 + 10 * MS;
	used_up(&b, now);
	for (int n = 0; n < 5000; n++) {
		now += 2 * MS;
		while (offer(&b, 0, now, 100, 1) <= PC_RATE_MARK)
			packets++;
	}
	assert_close((double)packets, 100000, 0.01);
	assert_true(b.lease[0].prepaid - b.lease[0].bytes <= 3125);
}

static void test_quota(void **state)
{
	uint64_t sum;
	struct bed b;

	bed_init(&b, 1000000000);
	b.clock.committed_ns = 1;
	b.rate.flags = PC_RATE_QUOTA;
	b.quota.authorised = 1000000;
	sum = drain(&b, 0, T0, 1234);
	assert_int_equal(sum, 1000000 / 1234 * 1234);
	assert_int_equal(b.lease[0].drops_quota, 1);
	assert_true(b.quota.used <= b.quota.authorised);
	/* Smaller ones still fit; to the byte. */
	assert_int_equal(offer(&b, 0, T0, 1000000 % 1234, 0), PC_RATE_PASS);
	assert_int_equal(offer(&b, 0, T0, 1, 0), PC_RATE_DROP_QUOTA);
	assert_int_equal(b.lease[0].bytes, 1000000);
	/* More is granted; without a limit of its own, too. */
	b.rate.flags = PC_RATE_QUOTA | PC_RATE_UNLIMITED;
	b.quota.authorised += 5000;
	assert_int_equal(drain(&b, 0, T0 + SEC, 100), 5000);
	b.quota.authorised = PC_CREDIT_UNLIMITED;
	assert_int_equal(offer(&b, 0, T0 + SEC, 1500, 0), PC_RATE_PASS);
}

/* Packets charged by the packet take bytes from the quota. */
static void test_quota_counts_bytes(void **state)
{
	uint64_t now = T0, sum = 0;
	struct bed b;

	bed_init(&b, 100000000);
	b.rate.flags = PC_RATE_QUOTA;
	b.rate.charge_min = pc_rate_charge_min(100000000, 10000);
	b.quota.authorised = 1000000;
	while (now < T0 + 5 * SEC)
		sum += drain(&b, 0, now += MS, 100);
	assert_int_equal(sum, 1000000);
}

/* Counters of 32 bits wrap; what is computed with them does not notice. */
static void test_wrap(void **state)
{
	struct bed b;

	bed_init(&b, 1000000);
	used_up(&b, T0);
	b.lease[0].drops_rate = UINT32_MAX;
	b.lease[0].drops_root = UINT32_MAX;
	b.lease[0].drops_quota = UINT32_MAX;
	assert_int_equal(offer(&b, 0, T0, 1500, 0), PC_RATE_DROP_RATE);
	assert_int_equal(b.lease[0].drops_rate, 0);
	assert_int_equal(b.lease[0].drops_root, UINT32_MAX);
	/* Byte counts of 64 bits, and their difference. */
	bed_init(&b, 100000000);
	b.clock.committed_ns = 1;
	b.lease[0].bytes = b.lease[0].prepaid = UINT64_MAX - 5000;
	root_init(&b, 100000000);
	for (int i = 0; i < 10; i++)
		assert_int_equal(offer(&b, 0, T0, 1000, 0), PC_RATE_PASS);
	assert_in_range(b.root.clock_ns - T0, 800 * US, 1050 * US);
	/* The dearest packet there is. */
	bed_init(&b, 100000000);
	b.clock.committed_ns = 1;
	b.rate.charge_min = UINT32_MAX;
	assert_int_equal(offer(&b, 0, T0, 1000, 0), PC_RATE_PASS);
	assert_int_equal(offer(&b, 0, T0, 1000, 0), PC_RATE_DROP_RATE);
	assert_close((double)(b.clock.committed_ns - T0), 16777216 * 80.0, 1e-6);
	/* Years after boot. */
	bed_init(&b, 8000);
	assert_int_equal(offer(&b, 0, 1ull << 62, 100, 0), PC_RATE_PASS);
	assert_true(b.clock.committed_ns > 1ull << 62);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signal_apart),	   cmocka_unit_test(test_signal_closer),
		cmocka_unit_test(test_signal_waits),	   cmocka_unit_test(test_signal_once),
		cmocka_unit_test(test_signal_again),	   cmocka_unit_test(test_mark),
		cmocka_unit_test(test_root_classes),	   cmocka_unit_test(test_entitlement),
		cmocka_unit_test(test_root_real_bytes),	   cmocka_unit_test(test_quota),
		cmocka_unit_test(test_quota_counts_bytes), cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_new_tenant),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
