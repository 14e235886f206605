/* SPDX-License-Identifier: MIT */
/* Days and months, what is left of a quota, and a clock that jumps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "abi/rate.h"
#include "qos/quota.h"

#define DAY  86400ull
#define NOON 1760529600ull /* 2025-10-15 12:00:00 UTC */
#define GB   1000000000ull

/* Every day from 1970 to 2200 against the C library. */
static void test_calendar(void **state)
{
	for (uint64_t day = 0; day < 84000; day++) {
		time_t at = (time_t)(day * DAY + 86399);
		uint64_t next, start = pc_quota_month((uint64_t)at, &next);
		struct tm tm;

		gmtime_r(&at, &tm);
		assert_int_equal(start, (day - (uint64_t)(tm.tm_mday - 1)) * DAY);
		at = (time_t)next;
		gmtime_r(&at, &tm);
		assert_int_equal(tm.tm_mday, 1);
		assert_in_range(next - start, 28 * DAY, 31 * DAY);
		assert_int_equal(pc_quota_day(day * DAY + 86399), day * DAY);
	}
}

static uint64_t remaining(const struct pc_quota *q, uint64_t day, uint64_t month, uint64_t spent)
{
	const struct pc_quota_limits limits = { day, month };
	struct pc_quota_report report;

	pc_quota_report(q, &limits, spent, &report);
	return report.remaining;
}

static void test_windows(void **state)
{
	struct pc_quota q = { 0 };
	struct pc_quota_report report;
	const struct pc_quota_limits limits = { 10 * GB, 100 * GB };

	/* What was spent before there was a quota does not count. */
	assert_true(pc_quota_roll(&q, NOON, 0, 7 * GB));
	assert_false(pc_quota_roll(&q, NOON + 10, 10, 9 * GB));
	assert_int_equal(remaining(&q, 10 * GB, 100 * GB, 9 * GB), 8 * GB);
	assert_int_equal(remaining(&q, 0, 100 * GB, 9 * GB), 98 * GB);
	assert_int_equal(remaining(&q, 0, 0, 9 * GB), UINT64_MAX);
	/* Midnight. */
	assert_false(pc_quota_roll(&q, NOON + DAY / 2 - 1, 20, 12 * GB));
	assert_true(pc_quota_roll(&q, NOON + DAY / 2, 21, 12 * GB));
	assert_int_equal(remaining(&q, 10 * GB, 100 * GB, 12 * GB), 10 * GB);
	assert_int_equal(remaining(&q, 0, 100 * GB, 12 * GB), 95 * GB);
	pc_quota_report(&q, &limits, 13 * GB, &report);
	assert_int_equal(report.day_used, 1 * GB);
	assert_int_equal(report.month_used, 6 * GB);
	assert_int_equal(report.day_end_s, NOON + DAY / 2 + DAY);
	/* The first of November, and the same second of it again. */
	assert_true(pc_quota_roll(&q, report.month_end_s, 30, 80 * GB));
	assert_false(pc_quota_roll(&q, report.month_end_s, 31, 80 * GB));
	assert_int_equal(remaining(&q, 0, 100 * GB, 80 * GB), 100 * GB);
}

static enum pc_quota_state state_at(uint64_t day, uint64_t month, uint64_t spent)
{
	const struct pc_quota_limits limits = { day, month };
	const struct pc_quota q = { 0 };
	struct pc_quota_report report;

	pc_quota_report(&q, &limits, spent, &report);
	return report.state;
}

static void test_states(void **state)
{
	assert_int_equal(state_at(0, 0, GB), PC_QUOTA_NONE);
	assert_int_equal(state_at(1000, 0, 799), PC_QUOTA_OK);
	assert_int_equal(state_at(1000, 0, 800), PC_QUOTA_WARNING);
	assert_int_equal(state_at(1000, 0, 949), PC_QUOTA_WARNING);
	assert_int_equal(state_at(1000, 0, 950), PC_QUOTA_LAST);
	assert_int_equal(state_at(1000, 0, 999), PC_QUOTA_LAST);
	assert_int_equal(state_at(1000, 0, 1000), PC_QUOTA_REACHED);
	assert_int_equal(state_at(1000, 5000, 4000), PC_QUOTA_REACHED);
	assert_int_equal(state_at(100000, 5000, 4000), PC_QUOTA_WARNING);
	assert_int_equal(state_at(UINT64_MAX, 0, UINT64_MAX / 100 * 90), PC_QUOTA_WARNING);
	assert_string_equal(pc_quota_state_name(PC_QUOTA_REACHED), "reached");
}

/* Back into yesterday and forward again: the day's quota is given once. */
static void test_back_and_forth(void **state)
{
	struct pc_quota q = { 0 };
	uint64_t spent = 0;

	pc_quota_roll(&q, NOON, 0, spent);
	for (uint64_t i = 1; i < 50; i++) {
		spent = 9 * GB;
		assert_false(pc_quota_roll(&q, NOON - DAY * (i % 7) * (i % 2), i, spent));
		assert_int_equal(remaining(&q, 10 * GB, 0, spent), GB);
	}
	/* A device without a battery starts in 1970 and learns the time minutes later. */
	assert_false(pc_quota_roll(&q, 5, 60, spent));
	assert_false(pc_quota_roll(&q, 305, 360, spent));
	assert_false(pc_quota_roll(&q, NOON + 600, 400, spent));
	assert_int_equal(remaining(&q, 10 * GB, 0, spent), GB);
	/* Tomorrow comes as always. */
	assert_true(pc_quota_roll(&q, NOON + DAY, 100000, spent));
	assert_int_equal(remaining(&q, 10 * GB, 0, spent), 10 * GB);
}

/* The clock was years ahead: a day of running later the earlier time is believed. */
static void test_was_ahead(void **state)
{
	struct pc_quota q = { 0 };

	assert_true(pc_quota_roll(&q, NOON + 5000 * DAY, 0, 0));
	assert_false(pc_quota_roll(&q, NOON, 1000, 9 * GB));
	assert_false(pc_quota_roll(&q, NOON + DAY - 1, 1000 + DAY - 1, 10 * GB));
	assert_int_equal(remaining(&q, 10 * GB, 0, 10 * GB), 0);
	assert_true(pc_quota_roll(&q, NOON + DAY, 1000 + DAY, 10 * GB));
	assert_int_equal(q.day.start_s, pc_quota_day(NOON + DAY));
	assert_int_equal(remaining(&q, 10 * GB, 0, 10 * GB), 10 * GB);
	assert_int_equal(remaining(&q, 0, 100 * GB, 10 * GB), 90 * GB);
	/* The month stands for as long as the present one has days. */
	assert_false(pc_quota_roll(&q, NOON + DAY + 10, 1000 + DAY + 10, 10 * GB));
	for (uint64_t d = 2; d < 30; d++)
		pc_quota_roll(&q, NOON + d * DAY, 1000 + d * DAY, 10 * GB);
	assert_true(q.month.start_s > NOON + 4000 * DAY);
	pc_quota_roll(&q, NOON + 31 * DAY, 1000 + 31 * DAY, 10 * GB);
	assert_true(q.month.start_s < NOON + 31 * DAY);
	/* In time again, the wait is forgotten. */
	pc_quota_roll(&q, NOON + 31 * DAY - 5 * DAY, 5000 + 31 * DAY, 11 * GB);
	assert_int_not_equal(q.day.behind_s, 0);
	pc_quota_roll(&q, NOON + 31 * DAY, 6000 + 31 * DAY, 11 * GB);
	assert_int_equal(q.day.behind_s, 0);
}

/* The number the data plane is told stays the same while it is spent. */
static void test_authorised(void **state)
{
	const struct pc_quota_limits limits = { 10 * GB, 0 }, none = { 0, 0 };
	struct pc_quota q = { 0 };
	struct pc_quota_report report;

	pc_quota_roll(&q, NOON, 0, 42 * GB);
	for (uint64_t used = 0; used <= 12 * GB; used += GB) {
		pc_quota_report(&q, &limits, 42 * GB + used, &report);
		assert_int_equal(pc_quota_authorised(&report, 5 + used),
				 5 + (used > 10 * GB ? used : 10 * GB));
	}
	pc_quota_report(&q, &none, 42 * GB, &report);
	assert_true(pc_quota_authorised(&report, 5) == PC_CREDIT_UNLIMITED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calendar),  cmocka_unit_test(test_windows),
		cmocka_unit_test(test_states),	  cmocka_unit_test(test_back_and_forth),
		cmocka_unit_test(test_was_ahead), cmocka_unit_test(test_authorised),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
