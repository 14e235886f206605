/* SPDX-License-Identifier: MIT */
#include "abi/rate.h"
#include "qos/quota.h"

#define DAY_S 86400u

static const uint8_t month_days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

const char *pc_quota_state_name(enum pc_quota_state state)
{
	static const char *const names[] = { "none", "ok", "warning", "last", "reached" };

	return names[state];
}

uint64_t pc_quota_day(uint64_t now_s)
{
	return now_s - now_s % DAY_S;
}

static bool leap(uint64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

uint64_t pc_quota_month(uint64_t now_s, uint64_t *ret_next_s)
{
	uint64_t day = now_s / DAY_S, year = 1970, start = 0;
	unsigned int month = 0, length;

	/* 400 years have 146097 days. */
	year += day / 146097 * 400;
	start += day / 146097 * 146097;
	while (day - start >= 365u + leap(year))
		start += 365u + leap(year++);
	while (day - start >= (length = month_days[month] + (month == 1 && leap(year)))) {
		start += length;
		month++;
	}
	*ret_next_s = (start + length) * DAY_S;
	return start * DAY_S;
}

/* @start, @length: the window that @now_s is in. */
static bool roll(struct pc_quota_window *w, uint64_t start, uint64_t length, uint64_t uptime_s,
		 uint64_t spent)
{
	bool begin = start > w->start_s;

	if (start >= w->start_s) {
		w->behind_s = 0;
	} else if (!w->behind_s) {
		w->behind_s = uptime_s + 1;
	} else if (uptime_s + 1 - w->behind_s >= length) {
		begin = true;
		w->behind_s = 0;
	}
	if (begin) {
		w->start_s = start;
		w->base = spent;
	}
	return begin;
}

bool pc_quota_roll(struct pc_quota *quota, uint64_t now_s, uint64_t uptime_s, uint64_t spent)
{
	uint64_t next, month = pc_quota_month(now_s, &next);
	bool day_begins = roll(&quota->day, pc_quota_day(now_s), DAY_S, uptime_s, spent);

	return roll(&quota->month, month, next - month, uptime_s, spent) || day_begins;
}

static uint64_t used_of(const struct pc_quota_window *w, uint64_t spent)
{
	return spent > w->base ? spent - w->base : 0;
}

static enum pc_quota_state state_of(uint64_t limit, uint64_t used)
{
	if (!limit)
		return PC_QUOTA_NONE;
	if (used >= limit)
		return PC_QUOTA_REACHED;
	/* limit / 20 is 5 %; of limits below 20 bytes nothing is left to warn of. */
	if (limit - used <= limit / 20)
		return PC_QUOTA_LAST;
	return limit - used <= limit / 5 ? PC_QUOTA_WARNING : PC_QUOTA_OK;
}

static uint64_t remaining_of(uint64_t limit, uint64_t used)
{
	if (!limit)
		return UINT64_MAX;
	return used < limit ? limit - used : 0;
}

void pc_quota_report(const struct pc_quota *quota, const struct pc_quota_limits *limits,
		     uint64_t spent, struct pc_quota_report *ret_report)
{
	uint64_t day_used = used_of(&quota->day, spent), month_used = used_of(&quota->month, spent);
	uint64_t day_left = remaining_of(limits->day, day_used);
	uint64_t month_left = remaining_of(limits->month, month_used), month_end;
	enum pc_quota_state day = state_of(limits->day, day_used);
	enum pc_quota_state month = state_of(limits->month, month_used);

	pc_quota_month(quota->month.start_s, &month_end);
	*ret_report = (struct pc_quota_report){
		.state = month > day ? month : day,
		.month = month > day,
		.remaining = day_left < month_left ? day_left : month_left,
		.day_used = day_used,
		.month_used = month_used,
		.day_end_s = quota->day.start_s + DAY_S,
		.month_end_s = month_end,
	};
}

uint64_t pc_quota_authorised(const struct pc_quota_report *report, uint64_t used)
{
	if (report->state == PC_QUOTA_NONE || report->remaining >= PC_CREDIT_UNLIMITED - used)
		return PC_CREDIT_UNLIMITED;
	return used + report->remaining;
}
