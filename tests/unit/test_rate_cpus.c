/* SPDX-License-Identifier: MIT */
/* The limiter and credit with several CPUs: simulated ones taking turns, and real threads. */
#include <pthread.h>
#include <stdlib.h>

#include "rate_bed.h"
#include "lib/credit.h"

#define THREADS 4

/* Whatever CPU a packet meets: together they get the rate, and a lease loses nothing. */
static void test_turns(void **state)
{
	static const uint64_t each[] = { 64000, 2000000, 100000000, 5000000000ull };
	unsigned int seed = 7;

	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		uint64_t sum = 0, left = 0, now = T0, tick = 2 * MS;
		struct bed b;

		bed_init(&b, each[i]);
		used_up(&b, now);
		if (each[i] < 1000000)
			tick = 100 * MS;
		for (int n = 0; n < 2000; n++) {
			unsigned int refused = 0;

			for (now += tick; refused < 40;) {
				uint32_t bytes = 40 + (uint32_t)rand_r(&seed) % 1461;

				if (offer(&b, (unsigned int)rand_r(&seed) % 4, now, bytes, 1) <=
				    PC_RATE_MARK)
					sum += bytes;
				else
					refused++;
			}
		}
		for (int cpu = 0; cpu < 4; cpu++)
			left += b.lease[cpu].left >> PC_RATE_CHARGE_SHIFT;
		assert_in_range(left, 0, 4 * 65536);
		assert_close((double)(sum + left), (double)each[i] / 8e9 * (double)(now - T0),
			     0.001);
	}
}

/* A packet that fits passes, though a lease would not, and though other CPUs hold theirs. */
static void test_lease_never_drops(void **state)
{
	uint64_t room, charged = 0;
	struct bed b;

	bed_init(&b, 1000000000); /* a lease is 31 packets, 250 us */
	room = 100 * US;
	used_up(&b, T0 - room);
	for (unsigned int i = 0; charged + 8 * US <= room; i++, charged += 8 * US)
		assert_true(offer(&b, i % 4, T0, 1000, 1) <= PC_RATE_MARK);
	assert_int_equal(offer(&b, 0, T0, 1000, 1), PC_RATE_DROP_RATE);
}

/* No clock ever goes back. */
static void test_monotonic(void **state)
{
	uint64_t now = T0;
	unsigned int seed = 3;
	struct bed b, before;

	bed_init(&b, 20000000);
	b.rate.entitled = pc_rate_word(5000000);
	b.root.rate = pc_rate_word(15000000);
	b.root.limit_ns[0] = 5 * MS;
	for (int n = 0; n < 200000; n++) {
		now += (uint64_t)rand_r(&seed) % (n % 1000 ? MS : SEC);
		before = b;
		offer(&b, (unsigned int)rand_r(&seed) % 4, now, (uint32_t)rand_r(&seed) % 1500 + 28,
		      rand_r(&seed) & 3);
		assert_true(b.clock.committed_ns >= before.clock.committed_ns);
		assert_true(b.clock.peak_ns >= before.clock.peak_ns);
		assert_true(b.clock.entitled_ns >= before.clock.entitled_ns);
		assert_true(b.clock.signal_next_ns >= before.clock.signal_next_ns);
		assert_true(b.root.clock_ns >= before.root.clock_ns);
		/* And none runs ahead of its limit by more than what passes at once. */
		assert_true(b.clock.committed_ns <= now + SEC + MS);
	}
}

struct job {
	struct bed *bed;
	unsigned int cpu;
	uint64_t *now;
	uint64_t end, passed;
	pthread_barrier_t *start;
};

/* Sends all it may while all threads together push the time on. */
static void *run_limited(void *arg)
{
	struct job *job = arg;
	uint64_t now;

	pthread_barrier_wait(job->start);
	do {
		now = __atomic_add_fetch(job->now, 700, __ATOMIC_RELAXED);
		if (offer(job->bed, job->cpu, now, 1400, 1) <= PC_RATE_MARK)
			job->passed += 1400;
	} while (now < job->end);
	return NULL;
}

/* Spends single packets until no more is granted. */
static void *run_credit(void *arg)
{
	struct job *job = arg;
	unsigned int refused = 0;

	pthread_barrier_wait(job->start);
	while (refused < 1000) {
		if (pc_credit_spend(&job->bed->quota, 1400 + job->cpu))
			job->passed += 1400 + job->cpu;
		else
			refused++;
	}
	return NULL;
}

static uint64_t run_threads(struct bed *b, uint64_t *now, uint64_t end, void *(*run)(void *))
{
	struct job jobs[THREADS];
	pthread_t threads[THREADS];
	pthread_barrier_t start;
	uint64_t sum = 0;

	assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		jobs[i] =
			(struct job){ .bed = b, .cpu = i, .now = now, .end = end, .start = &start };
		assert_int_equal(pthread_create(&threads[i], NULL, run, &jobs[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		sum += jobs[i].passed;
	}
	pthread_barrier_destroy(&start);
	return sum;
}

/* Half of what four threads offer may pass, and half of it does. */
static void test_threads(void **state)
{
	uint64_t now = T0, end = T0 + 2 * SEC, sum, left = 0;
	struct bed b;

	bed_init(&b, 8000000000ull);
	used_up(&b, T0);
	sum = run_threads(&b, &now, end, run_limited);
	for (int cpu = 0; cpu < THREADS; cpu++)
		left += b.lease[cpu].left >> PC_RATE_CHARGE_SHIFT;
	assert_close((double)(sum + left), 2000000000, 0.002);
}

/* What threads spend together is never more than was granted, and what is left is too small. */
static void test_credit_threads(void **state)
{
	struct bed b = { .quota.authorised = 20000000000ull };
	uint64_t sum = run_threads(&b, NULL, 0, run_credit);

	assert_int_equal(sum, b.quota.used);
	assert_in_range(sum, b.quota.authorised - 1400, b.quota.authorised);
}

static void test_credit(void **state)
{
	struct pc_credit credit = { .authorised = 1000 };

	assert_true(pc_credit_spend(&credit, 600));
	assert_false(pc_credit_spend(&credit, 401));
	assert_int_equal(credit.used, 600);
	assert_true(pc_credit_spend(&credit, 400));
	assert_false(pc_credit_spend(&credit, 1));
	assert_true(pc_credit_spend(&credit, 0));
	pc_credit_undo(&credit, 400);
	assert_int_equal(credit.used, 600);
	pc_credit_undo(&credit, 601);
	assert_int_equal(credit.used, 600);
	/* Lowered below what is used: nothing passes, nothing wraps. */
	credit.authorised = 10;
	assert_false(pc_credit_spend(&credit, 1));
	assert_false(pc_credit_spend(&credit, UINT64_MAX - 600));
	credit = (struct pc_credit){ .authorised = PC_CREDIT_UNLIMITED };
	assert_true(pc_credit_spend(&credit, UINT64_MAX / 2));
	assert_int_equal(credit.used, 0);
	credit = (struct pc_credit){ 0 };
	assert_false(pc_credit_spend(&credit, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns),	  cmocka_unit_test(test_lease_never_drops),
		cmocka_unit_test(test_monotonic), cmocka_unit_test(test_threads),
		cmocka_unit_test(test_credit),	  cmocka_unit_test(test_credit_threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
