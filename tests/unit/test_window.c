/* SPDX-License-Identifier: MIT */
/* Replay window without a lock: each counter once, none refused too early, whoever takes part. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/window.h"

#define SPAN	20000u
#define THREADS 4

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

/* In any order: a counter that came is refused, one that did not only when it is far behind. */
static void test_random(void **state)
{
	static uint8_t seen[1 << 20];
	struct pc_window w = { 0 };
	uint64_t seed = 1, top = 1;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < 400000; i++) {
		uint64_t back = next_random(&seed) % 9000, counter;

		if (next_random(&seed) % 3 == 0)
			top += next_random(&seed) % (next_random(&seed) % 100 ? 5 : 3000);
		if (top >= sizeof(seen))
			break;
		counter = back < top ? top - back : top;
		if (pc_window_take(&w, counter)) {
			assert_int_equal(seen[counter], 0);
			seen[counter] = 1;
		} else {
			assert_true(seen[counter] ||
				    top - counter > PC_WINDOW_COUNTER - PC_WINDOW_BITS);
		}
	}
}

static void test_ends(void **state)
{
	struct pc_window w = { 0 };

	(void)state;
	assert_true(pc_window_take(&w, 1));
	assert_true(pc_window_take(&w, PC_WINDOW_END - 1));
	assert_false(pc_window_take(&w, PC_WINDOW_END - 1));
	assert_false(pc_window_take(&w, PC_WINDOW_END));
	assert_false(pc_window_take(&w, ~0ull));
	assert_false(pc_window_take(&w, PC_WINDOW_END - 1 - PC_WINDOW_COUNTER));
	assert_false(pc_window_take(&w, 1));
}

/* What is given back may come again; what is of another lap meanwhile is left alone. */
static void test_give_back(void **state)
{
	struct pc_window w = { 0 };

	(void)state;
	assert_true(pc_window_take(&w, 100));
	assert_true(pc_window_take(&w, 101));
	pc_window_give_back(&w, 100);
	assert_true(pc_window_take(&w, 100));
	assert_false(pc_window_take(&w, 101));
	assert_true(pc_window_take(&w, 100 + PC_WINDOW_COUNTER));
	pc_window_give_back(&w, 100);
	assert_false(pc_window_take(&w, 100 + PC_WINDOW_COUNTER));
	assert_false(pc_window_take(&w, 100));
}

static void test_next(void **state)
{
	struct pc_window w = { 0 };

	(void)state;
	for (uint64_t i = 1; i < 5; i++)
		assert_true(pc_window_next(&w) == i);
}

static struct pc_window shared;
static uint32_t taken[SPAN];

/* All of them go through the same counters, each from the other end of every word. */
static void *take_all(void *arg)
{
	uint32_t turn = (uint32_t)(uintptr_t)arg * (PC_WINDOW_BITS / THREADS);

	for (uint32_t i = 0; i < SPAN; i++) {
		uint32_t counter = (i & ~31u) | ((i + turn) & 31);

		if (counter < SPAN && pc_window_take(&shared, counter))
			__atomic_add_fetch(&taken[counter], 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[THREADS];
	uint32_t once = 0;

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_all, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (uint32_t i = 0; i < SPAN; i++) {
		assert_true(taken[i] <= 1);
		once += taken[i];
	}
	/* Whoever lags behind by a window finds it moved; the first has taken all. */
	assert_int_equal(once, SPAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),	  cmocka_unit_test(test_ends),
		cmocka_unit_test(test_give_back), cmocka_unit_test(test_next),
		cmocka_unit_test(test_threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
