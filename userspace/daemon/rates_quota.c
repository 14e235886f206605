/* SPDX-License-Identifier: MIT */
/*
 * Quotas of tenants: what was spent is the limiter's own count (so that leases are not granted
 * twice), continued over restarts of the host by the totals that are kept for billing. After a
 * restart of the daemon alone that count goes on: what leases hold was spent, but is in no total.
 */
#include "daemon/rates_int.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"

static bool has_quota(const struct pc_rated *t)
{
	return t->plan.quota_day || t->plan.quota_month;
}

static uint64_t used(const struct pc_rates *r, uint32_t limits)
{
	return __atomic_load_n(&r->dp->quota[limits].used, __ATOMIC_RELAXED);
}

/* Bytes of IP packets, both ways, by the tenant's totals. */
static uint64_t total(struct pc_rates *r, uint32_t id)
{
	struct pc_store_count counts[PC_STORE_PATHS] = { 0 };
	uint64_t sum = 0;

	/* Should they not be there now, the quota counts from here. */
	if (pc_usage_refresh(r->d->usage) < 0 || pc_usage_tenant(r->d->usage, id, counts) < 0)
		return 0;
	for (int i = 0; i < PC_STORE_PATHS; i++)
		sum += counts[i].up_wire_bytes + counts[i].down_wire_bytes;
	return sum;
}

static void tell(const struct pc_rates *r, const struct pc_rated *t, enum pc_quota_state before)
{
	const struct pc_store_tenant *tenant = pc_users_by_id(r->d->users, t->id);
	const char *window = t->report.month ? "month" : "day";

	if (!tenant || t->report.state == before)
		return;
	if (t->report.state == PC_QUOTA_REACHED)
		pc_warning("tenant %s: quota of the %s reached, its data is dropped", tenant->name,
			   window);
	else if (t->report.state > before && t->report.state >= PC_QUOTA_WARNING)
		pc_warning("tenant %s: %s per cent of the quota of the %s used", tenant->name,
			   t->report.state == PC_QUOTA_LAST ? "95" : "80", window);
	else if (before == PC_QUOTA_REACHED)
		pc_info("tenant %s: data passes again, %" PRIu64 " bytes of its quota are left",
			tenant->name, t->report.remaining);
}

static void keep(struct pc_rates *r, const struct pc_rated *t)
{
	const struct pc_store_quota kept = {
		.day_start_s = t->quota.day.start_s,
		.day_base = t->quota.day.base,
		.month_start_s = t->quota.month.start_s,
		.month_base = t->quota.month.base,
		.spent_before = t->spent_before,
	};

	pc_daemon_store_result(r->d, pc_users_quota(r->d->users, t->id, &kept), "storing a quota");
}

/* @changed: something is to be stored in any case. */
static void roll(struct pc_rates *r, uint32_t limits, uint64_t now, bool changed)
{
	struct pc_rated *t = &r->tenant[limits];
	const struct pc_quota_limits limit = { t->plan.quota_day, t->plan.quota_month };
	uint64_t u = used(r, limits), spent = t->spent_before + u;
	enum pc_quota_state before = t->report.state;

	if (pc_quota_roll(&t->quota, pc_clock_realtime() / PC_NS_PER_S, now / PC_NS_PER_S, spent))
		changed = true;
	if (changed)
		keep(r, t);
	pc_quota_report(&t->quota, &limit, spent, &t->report);
	__atomic_store_n(&r->dp->quota[limits].authorised, pc_quota_authorised(&t->report, u),
			 __ATOMIC_RELAXED);
	tell(r, t, before);
}

void pc_rates_quota_set(struct pc_rates *r, uint32_t limits, const struct pc_store_tenant *t)
{
	struct pc_rated *to = &r->tenant[limits];
	uint64_t u, sum;

	to->report = (struct pc_quota_report){ .remaining = UINT64_MAX };
	if (!has_quota(to))
		return;
	to->quota = (struct pc_quota){
		.day = { .start_s = t->quota.day_start_s, .base = t->quota.day_base },
		.month = { .start_s = t->quota.month_start_s, .base = t->quota.month_base },
	};
	sum = total(r, t->id);
	u = used(r, limits); /* later: all that the total has was used */
	to->spent_before = t->quota.spent_before;
	/* Behind the total: the credit began anew, or was not kept for a while. */
	if (!t->quota.day_start_s || to->spent_before + u < sum)
		to->spent_before = sum - u;
	roll(r, limits, pc_clock_monotonic(), to->spent_before != t->quota.spent_before);
}

void pc_rates_quota_tick(struct pc_rates *r, uint64_t now)
{
	for (uint32_t i = 1; i < r->n; i++)
		if (r->tenant[i].id && has_quota(&r->tenant[i]))
			roll(r, i, now, false);
}
