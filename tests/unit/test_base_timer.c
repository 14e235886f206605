/* SPDX-License-Identifier: MIT */
/* The wheel beside the obvious implementation: an array of ticks, searched from end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/timer.h"

#define TICK   16000000ull
#define TIMERS 300
#define STEPS  6000

struct model {
	struct pc_timer timer;
	bool armed;
	uint64_t tick;
};

static struct model models[TIMERS];
static struct pc_timers *wheel;
static uint64_t floor_tick, seed;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Mostly near, sometimes far, sometimes past. */
static uint64_t random_distance(void)
{
	return next_random() >> (24 + next_random() % 39);
}

static void arm(struct model *m, uint64_t now)
{
	uint64_t deadline = now + random_distance();

	if (next_random() % 8 == 0)
		deadline = now - random_distance() % (now + 1);
	if (next_random() % 64 == 0)
		deadline = UINT64_MAX - next_random() % TICK;
	m->tick = deadline / TICK + (deadline % TICK != 0);
	if (m->tick <= floor_tick)
		m->tick = floor_tick + 1;
	m->armed = true;
	pc_timer_set(wheel, &m->timer, deadline);
}

static void disarm(struct model *m)
{
	m->armed = false;
	pc_timer_cancel(&m->timer);
}

static void fired(struct pc_timer *timer, uint64_t now)
{
	struct model *m = pc_container_of(timer, struct model, timer);
	struct model *other = &models[next_random() % TIMERS];

	assert_true(m->armed);
	assert_true(m->tick * TICK <= now);
	assert_false(pc_timer_armed(timer));
	m->armed = false;
	switch (next_random() % 4) {
	case 0:
		arm(other, now);
		break;
	case 1:
		disarm(other);
		break;
	}
}

static void check_all(uint64_t now)
{
	uint64_t next = pc_timers_next(wheel), first = UINT64_MAX;

	for (size_t i = 0; i < TIMERS; i++) {
		const struct model *m = &models[i];

		assert_int_equal(pc_timer_armed(&m->timer), m->armed);
		if (!m->armed)
			continue;
		/* Nothing that is due may be left. */
		assert_true(m->tick > now / TICK);
		if (m->tick < first)
			first = m->tick;
	}
	if (first == UINT64_MAX) {
		assert_true(next == UINT64_MAX);
	} else {
		assert_true(next > now);
		assert_true(next / TICK <= first);
		assert_true(next != UINT64_MAX);
	}
}

static void run_seed(uint64_t start_seed, uint64_t now)
{
	uint64_t next;

	seed = start_seed;
	floor_tick = now / TICK;
	assert_int_equal(pc_timers_new(now, &wheel), 0);
	for (size_t i = 0; i < TIMERS; i++)
		models[i] = (struct model){ .timer.fn = fired };
	for (unsigned int step = 0; step < STEPS; step++) {
		for (unsigned int n = next_random() % 6; n > 0; n--) {
			struct model *m = &models[next_random() % TIMERS];

			if (next_random() % 3)
				arm(m, now);
			else
				disarm(m);
		}
		next = pc_timers_next(wheel);
		if (next_random() % 3 == 0)
			now += random_distance() >> 8;
		else if (next < UINT64_MAX / 2)
			now = next;
		if (now / TICK > floor_tick)
			floor_tick = now / TICK;
		pc_timers_run(wheel, now);
		check_all(now);
	}
	pc_timers_free(wheel);
	for (size_t i = 0; i < TIMERS; i++)
		assert_false(pc_timer_armed(&models[i].timer));
}

static void test_against_brute_force(void **state)
{
	run_seed(0x9e3779b97f4a7c15ull, 0);
	run_seed(1, 1);
	run_seed(42, 63 * TICK);
	run_seed(4711, (1ull << 36) * TICK / 4096 - 1);
	run_seed(31337, 1700000000ull * 1000000000ull);
}

static unsigned int calls;

static void count_call(struct pc_timer *timer, uint64_t now)
{
	calls++;
}

static void test_never_early_at_most_a_tick_late(void **state)
{
	struct pc_timer timer = { .fn = count_call };
	struct pc_timers *t;

	assert_int_equal(pc_timers_new(5, &t), 0);
	pc_timer_set(t, &timer, 10 * TICK + 1);
	calls = 0;
	assert_int_equal(pc_timers_run(t, 10 * TICK), 0);
	assert_int_equal(pc_timers_run(t, 10 * TICK + 1), 0);
	assert_true(pc_timers_next(t) == 11 * TICK);
	assert_int_equal(pc_timers_run(t, 11 * TICK - 1), 0);
	assert_int_equal(pc_timers_run(t, 11 * TICK), 1);
	assert_int_equal(calls, 1);
	assert_true(pc_timers_next(t) == UINT64_MAX);
	/* Exactly on a tick: not one later. */
	pc_timer_set(t, &timer, 20 * TICK);
	assert_int_equal(pc_timers_run(t, 20 * TICK), 1);
	pc_timers_free(t);
}

static void test_waiting_for_next_is_enough(void **state)
{
	const uint64_t deadline = 3600ull * 1000000000ull;
	struct pc_timer timer = { .fn = count_call };
	unsigned int wakeups = 0;
	struct pc_timers *t;
	uint64_t now = 0;

	assert_int_equal(pc_timers_new(now, &t), 0);
	pc_timer_set(t, &timer, deadline);
	calls = 0;
	while (calls == 0 && wakeups < 10) {
		now = pc_timers_next(t);
		pc_timers_run(t, now);
		wakeups++;
	}
	assert_int_equal(calls, 1);
	assert_true(now >= deadline && now < deadline + TICK);
	/* One wakeup for each level of the wheel at most. */
	assert_true(wakeups <= 7);
	pc_timers_free(t);
}

static void test_moving_and_cancelling(void **state)
{
	struct pc_timer timer = { .fn = count_call };
	struct pc_timers *t;

	assert_int_equal(pc_timers_new(0, &t), 0);
	pc_timer_cancel(&timer);
	calls = 0;
	pc_timer_set(t, &timer, 5 * TICK);
	pc_timer_set(t, &timer, 500 * TICK);
	assert_int_equal(pc_timers_run(t, 100 * TICK), 0);
	pc_timer_set(t, &timer, 101 * TICK);
	assert_int_equal(pc_timers_run(t, 101 * TICK), 1);
	pc_timer_set(t, &timer, 200 * TICK);
	pc_timer_cancel(&timer);
	assert_false(pc_timer_armed(&timer));
	assert_true(pc_timers_next(t) == UINT64_MAX);
	assert_int_equal(pc_timers_run(t, 300 * TICK), 0);
	/* A clock that stands still or goes back fires nothing. */
	pc_timer_set(t, &timer, 0);
	assert_int_equal(pc_timers_run(t, 300 * TICK), 0);
	assert_int_equal(pc_timers_run(t, 10 * TICK), 0);
	assert_int_equal(pc_timers_run(t, 301 * TICK), 1);
	assert_int_equal(calls, 2);
	pc_timers_free(t);
}

static void rearm_in_the_past(struct pc_timer *timer, uint64_t now)
{
	calls++;
	pc_timer_set(wheel, timer, 0);
}

static void test_rearming_in_the_past_ends(void **state)
{
	struct pc_timer timer = { .fn = rearm_in_the_past };

	assert_int_equal(pc_timers_new(0, &wheel), 0);
	calls = 0;
	pc_timer_set(wheel, &timer, TICK);
	assert_int_equal(pc_timers_run(wheel, 1000 * TICK), 1);
	assert_int_equal(pc_timers_run(wheel, 1001 * TICK), 1);
	assert_int_equal(calls, 2);
	pc_timers_free(wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_brute_force),
		cmocka_unit_test(test_never_early_at_most_a_tick_late),
		cmocka_unit_test(test_waiting_for_next_is_enough),
		cmocka_unit_test(test_moving_and_cancelling),
		cmocka_unit_test(test_rearming_in_the_past_ends),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
