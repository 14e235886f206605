/* SPDX-License-Identifier: MIT */
/* The limit of the kernel program against a count over time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/limit.h"

#define MS 1000000u

static void test_burst_then_rate(void **state)
{
	struct pc_limit limit = { 0 };
	uint64_t now = 1000 * MS;

	for (int i = 0; i < 5; i++)
		assert_true(pc_limit_admit(&limit, now, 10 * MS, 50 * MS));
	assert_false(pc_limit_admit(&limit, now, 10 * MS, 50 * MS));
	now += 10 * MS - 1;
	assert_false(pc_limit_admit(&limit, now, 10 * MS, 50 * MS));
	now += 1;
	assert_true(pc_limit_admit(&limit, now, 10 * MS, 50 * MS));
	assert_false(pc_limit_admit(&limit, now, 10 * MS, 50 * MS));
}

/* What is refused costs nothing: a flood does not lengthen its own wait. */
static void test_refused_is_free(void **state)
{
	struct pc_limit limit = { 0 };
	uint64_t now = 1000 * MS;

	assert_true(pc_limit_admit(&limit, now, 10 * MS, 10 * MS));
	for (int i = 0; i < 1000; i++)
		assert_false(pc_limit_admit(&limit, now + 9 * MS, 10 * MS, 10 * MS));
	assert_true(pc_limit_admit(&limit, now + 10 * MS, 10 * MS, 10 * MS));
}

/* Over a long time: as many as the rate and one burst allow, whatever the offered load. */
static void test_long_run(void **state)
{
	for (uint32_t step = 1; step <= 40; step += 3) {
		struct pc_limit limit = { 0 };
		uint64_t admitted = 0, start = 77 * MS, now;

		for (now = start; now < start + 10000ull * MS; now += step * MS)
			admitted += pc_limit_admit(&limit, now, 20 * MS, 200 * MS);
		if (step <= 20)
			assert_in_range(admitted, 500, 510);
		else
			assert_int_equal(admitted, (10000 + step - 1) / step);
	}
}

/* A burst shorter than the interval still lets one through. */
static void test_at_least_one(void **state)
{
	struct pc_limit limit = { 0 };

	assert_true(pc_limit_admit(&limit, 5, 10 * MS, 0));
	assert_false(pc_limit_admit(&limit, 5, 10 * MS, 0));
	assert_true(pc_limit_admit(&limit, 5 + 10 * MS, 10 * MS, 0));
	limit.tat_ns = 0;
	assert_true(pc_limit_admit(&limit, UINT64_MAX / 2, UINT32_MAX, UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst_then_rate),
		cmocka_unit_test(test_refused_is_free),
		cmocka_unit_test(test_long_run),
		cmocka_unit_test(test_at_least_one),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
