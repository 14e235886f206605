/* SPDX-License-Identifier: MIT */
/* The replay window against a list of everything ever seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "lib/replay.h"

static uint64_t rng_state = 88172645463325252ull;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static void test_edges(void **state)
{
	struct pc_replay r = { 0 };

	assert_true(pc_replay_fresh(&r, 0));
	assert_true(pc_replay_accept(&r, 0));
	assert_false(pc_replay_accept(&r, 0));
	assert_true(pc_replay_accept(&r, 1));
	assert_false(pc_replay_accept(&r, 1));
	/* The window is exactly 8192 wide. */
	assert_true(pc_replay_accept(&r, PC_REPLAY_WINDOW + 1));
	assert_false(pc_replay_accept(&r, 1));
	assert_true(pc_replay_accept(&r, 2));
	assert_false(pc_replay_accept(&r, 2));
	assert_true(pc_replay_accept(&r, PC_REPLAY_WINDOW + 2));
	assert_false(pc_replay_accept(&r, 2));
	/* A leap clears all; what lies behind it is gone. */
	assert_true(pc_replay_accept(&r, 1ull << 40));
	assert_false(pc_replay_accept(&r, PC_REPLAY_WINDOW + 3));
	assert_true(pc_replay_accept(&r, (1ull << 40) - PC_REPLAY_WINDOW + 1));
	assert_false(pc_replay_accept(&r, (1ull << 40) - PC_REPLAY_WINDOW));
	assert_true(pc_replay_accept(&r, UINT64_MAX - 1));
	assert_true(pc_replay_accept(&r, UINT64_MAX - PC_REPLAY_WINDOW));
	assert_false(pc_replay_accept(&r, UINT64_MAX - 1));
}

/* What is only asked about leaves no trace. */
static void test_asking(void **state)
{
	struct pc_replay r = { 0 }, before;

	assert_true(pc_replay_accept(&r, 100));
	before = r;
	assert_true(pc_replay_fresh(&r, 99));
	assert_true(pc_replay_fresh(&r, 5000));
	assert_false(pc_replay_fresh(&r, 100));
	assert_memory_equal(&r, &before, sizeof(r));
}

#define SPAN 400000

static void test_random(void **state)
{
	static bool seen[SPAN];
	struct pc_replay r = { 0 };
	uint64_t highest = 0;
	bool any = false;

	for (int i = 0; i < 1000000; i++) {
		uint64_t roll = rng() % 100, step = 0, counter;
		bool fresh;

		if (roll < 60)
			step = 1;
		else if (roll < 62)
			step = rng() % 300;
		else if (roll == 62 && rng() % 40 == 0)
			step = rng() % 20000;
		counter = highest + step;
		if (roll > 62)
			counter -= counter < 9000 ? rng() % (counter + 1) : rng() % 9000;
		if (counter >= SPAN) {
			memset(&r, 0, sizeof(r));
			memset(seen, 0, sizeof(seen));
			highest = 0;
			any = false;
			continue;
		}
		fresh = !seen[counter] && (!any || counter + PC_REPLAY_WINDOW > highest);
		assert_int_equal(pc_replay_fresh(&r, counter), fresh);
		assert_int_equal(pc_replay_accept(&r, counter), fresh);
		seen[counter] |= fresh;
		if (fresh && counter > highest)
			highest = counter;
		any = true;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_asking),
		cmocka_unit_test(test_random),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
