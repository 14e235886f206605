/* SPDX-License-Identifier: MIT */
#include "daemon/rates_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

/* --- plans --- */

static int find_tier(const struct pc_rates *r, const char *name, uint32_t *ret_tier)
{
	for (size_t i = 0; i < r->n_tiers; i++) {
		if (strcmp(r->tiers[i].name, name) == 0) {
			*ret_tier = (uint32_t)i;
			return 0;
		}
	}
	return PC_ERR_UNKNOWN;
}

static struct pc_plan plan_of(const struct pc_store_tenant *t)
{
	return (struct pc_plan){
		.bps = { [PC_RATE_UP] = t->plan.up_bps, [PC_RATE_DOWN] = t->plan.down_bps },
		.guarantee_bps = t->plan.guarantee_bps,
		.packets_per_s = t->plan.packets_per_s,
		.weight = t->plan.weight,
		.quota_day = t->plan.quota_day,
		.quota_month = t->plan.quota_month,
	};
}

int pc_rates_check(const struct pc_rates *r, const struct pc_store_tenant *t, char *ret_why,
		   size_t size)
{
	const struct pc_plan plan = plan_of(t);
	struct pc_plan_node node = {
		.capacity_bps = r->d->config.capacity,
		.guaranteed_bps = r->guaranteed_bps,
	};
	size_t len;
	uint32_t tier;

	/* One that changes does not compete with itself. */
	if (t->limits && r->tenant[t->limits].id)
		node.guaranteed_bps -= 2 * r->tenant[t->limits].plan.guarantee_bps;
	if (find_tier(r, t->tier, &tier) == 0)
		return pc_plan_check(&plan, &node, ret_why, size);
	snprintf(ret_why, size, "unknown tier \"%s\": ", t->tier);
	for (size_t i = 0; i < r->n_tiers; i++) {
		len = strlen(ret_why);
		snprintf(ret_why + len, size - len, "%s%s", i ? ", " : "", r->tiers[i].name);
	}
	return PC_ERR_UNKNOWN;
}

/* Both directions. A ceiling of 0 is none: there is no capacity, or the loop has not run yet. */
void pc_rates_write(struct pc_rates *r, uint32_t limits, uint64_t now)
{
	const struct pc_rated *t = &r->tenant[limits];

	for (unsigned int d = 0; d < 2; d++) {
		uint32_t index = pc_rate_index(limits, d);
		const struct pc_plan_share share = {
			.allowed_bps = t->ceiling_bps[d],
			.entitled_bps = r->share[index].entitled_bps,
			.fallback_bps = r->share[index].fallback_bps,
			.epoch_end_ns = now + PC_RATES_EPOCH_NS,
		};
		struct pc_rate rate;

		pc_plan_rate(&t->plan, &r->tiers[t->tier], d, t->ceiling_bps[d] ? &share : NULL,
			     &rate);
		pc_plan_apply(&r->dp->rate[index], &r->dp->clock[index], &rate, now);
	}
}

void pc_rates_set(struct pc_rates *r, const struct pc_store_tenant *t)
{
	struct pc_rated *to = &r->tenant[t->limits];
	uint64_t now;

	if (to->id)
		r->guaranteed_bps -= 2 * to->plan.guarantee_bps;
	if (to->id != t->id) {
		to->id = t->id;
		pc_rates_refused_set(r, t->limits);
	}
	to->plan = plan_of(t);
	r->guaranteed_bps += 2 * to->plan.guarantee_bps;
	/* A tier that the configuration no longer has: the lowest class, rather than none. */
	if (find_tier(r, t->tier, &to->tier) < 0) {
		pc_warning("tenant %s: unknown tier \"%s\", treated as free", t->name, t->tier);
		find_tier(r, "free", &to->tier);
	}
	if (r->n <= t->limits)
		r->n = t->limits + 1;
	if (!r->d->config.capacity)
		memset(to->ceiling_bps, 0, sizeof(to->ceiling_bps));
	r->plans_changed = true;
	/* The credit first: the limiter asks it as soon as the plan says so. */
	pc_rates_quota_set(r, t->limits, t);
	/* The share of an earlier daemon's stands until ours is computed. */
	now = pc_clock_monotonic();
	if (!r->d->config.capacity || to->ceiling_bps[0] ||
	    r->dp->rate[pc_rate_index(t->limits, 0)].epoch_end_ns < now)
		pc_rates_write(r, t->limits, now);
}

void pc_rates_unset(struct pc_rates *r, uint32_t limits)
{
	struct pc_rated *t = &r->tenant[limits];

	if (!t->id)
		return;
	r->guaranteed_bps -= 2 * t->plan.guarantee_bps;
	free(t->past);
	*t = (struct pc_rated){ 0 };
	for (unsigned int d = 0; d < 2; d++) {
		uint32_t index = pc_rate_index(limits, d);

		memset(&r->dp->clock[index], 0, sizeof(*r->dp->clock));
		memset(&r->share[index], 0, sizeof(*r->share));
	}
	r->plans_changed = true;
	while (r->n && !r->tenant[r->n - 1].id)
		r->n--;
}

static int set_each(void *arg, const struct pc_store_tenant *t)
{
	pc_rates_set(arg, t);
	return 0;
}

void pc_rates_reconfigure(struct pc_rates *r)
{
	r->tiers = r->d->config.tier;
	r->n_tiers = r->d->config.n_tier;
	pc_plan_root(r->d->config.capacity, r->dp->root);
	pc_users_each(r->d->users, set_each, r);
}

int pc_rates_new(struct pc_daemon *d, struct pc_rates **ret_rates)
{
	struct pc_rates *r = calloc(1, sizeof(*r));
	size_t max = (size_t)d->config.max_tenants + 1;

	if (!r)
		return -ENOMEM;
	r->d = d;
	r->dp = pc_dp_rates(d->dp);
	r->tenant = calloc(max, sizeof(*r->tenant));
	r->count = calloc(2 * max, sizeof(*r->count));
	r->before = calloc(2 * max, sizeof(*r->before));
	r->share = calloc(2 * max, sizeof(*r->share));
	r->scratch = calloc(2 * max, sizeof(*r->scratch));
	if (!r->dp || !r->tenant || !r->count || !r->before || !r->share || !r->scratch) {
		pc_rates_free(r);
		return -ENOMEM;
	}
	pc_rates_reconfigure(r);
	/* What an earlier daemon saw is no rate of now. */
	pc_rates_count(r);
	for (uint32_t i = 0; i < r->n; i++)
		for (unsigned int dir = 0; dir < 2; dir++)
			r->tenant[i].second_bytes[dir] = r->count[pc_rate_index(i, dir)].bytes;
	r->second_ns = pc_clock_monotonic();
	/* Counters that began again are known as such before they count on. */
	pc_daemon_store_result(d, pc_rates_fold(r), "adding up what limits refused");
	*ret_rates = r;
	return 0;
}

void pc_rates_free(struct pc_rates *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; r->tenant && i <= r->d->config.max_tenants; i++)
		free(r->tenant[i].past);
	free(r->tenant);
	free(r->count);
	free(r->before);
	free(r->share);
	free(r->scratch);
	free(r);
}

/* --- what is used --- */

int pc_rates_count(struct pc_rates *r)
{
	return r->n ? pc_dp_rate_counts(r->d->dp, 0, 2 * r->n, r->count) : 0;
}

static uint32_t saturate(uint64_t value)
{
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* A tenant that sends for the first time gets its memory then; without any, it has no history. */
static void remember(struct pc_rated *t, const uint64_t bytes[static 2])
{
	struct pc_rates_past *past = t->past;

	if (!past && !bytes[0] && !bytes[1])
		return;
	if (!past)
		past = t->past = calloc(1, sizeof(*past));
	if (!past)
		return;
	past->at = (past->at + 1) % PC_RATES_HISTORY;
	past->n += past->n < PC_RATES_HISTORY;
	for (unsigned int d = 0; d < 2; d++)
		past->bytes[d][past->at] = saturate((bytes[d] + 512) / 1024);
}

void pc_rates_tick(struct pc_rates *r, uint64_t now)
{
	uint64_t ns = now - r->second_ns;

	if (ns < PC_NS_PER_S / 2)
		return;
	/* The slow loop, where it runs, has read them a moment ago. */
	if (!r->d->config.capacity && pc_rates_count(r) < 0)
		return;
	for (uint32_t i = 1; i < r->n; i++) {
		struct pc_rated *t = &r->tenant[i];
		uint64_t bytes[2];

		for (unsigned int d = 0; d < 2; d++) {
			uint64_t fresh = r->count[pc_rate_index(i, d)].bytes;

			bytes[d] = fresh - t->second_bytes[d];
			t->second_bytes[d] = fresh;
			t->bps[d] = bytes[d] * 8 * PC_NS_PER_S / ns;
		}
		if (t->id)
			remember(t, bytes);
	}
	r->second_ns = now;
	pc_rates_quota_tick(r, now);
}

/* --- views --- */

/* The lower of plan and share; 0 is none. */
static uint64_t allowed(const struct pc_rated *t, unsigned int d)
{
	uint64_t plan = t->plan.bps[d], ceiling = t->ceiling_bps[d];

	return !plan || (ceiling && ceiling < plan) ? ceiling : plan;
}

void pc_rates_get(const struct pc_rates *r, uint32_t limits, uint64_t now,
		  struct pc_rates_view *ret_view)
{
	const struct pc_rated *t = &r->tenant[limits];
	struct pc_rates_view v = { .quota = t->report };
	uint64_t total[PC_STORE_REFUSED];

	for (unsigned int d = 0; d < 2; d++) {
		uint32_t index = pc_rate_index(limits, d);
		uint64_t clock =
			__atomic_load_n(&r->dp->clock[index].committed_ns, __ATOMIC_RELAXED);

		v.dir[d] = (struct pc_rates_dir){
			.bps = t->bps[d],
			.allowed_bps = allowed(t, d),
			.backlog_ns = clock > now ? clock - now : 0,
		};
	}
	pc_rates_refused_get(r, limits, total);
	v.drops_rate = total[PC_DP_REFUSED_RATE];
	v.drops_root = total[PC_DP_REFUSED_ROOT];
	v.drops_quota = total[PC_DP_REFUSED_QUOTA];
	v.marks = total[PC_DP_MARKED];
	*ret_view = v;
}

uint64_t pc_rates_own_drops(struct pc_rates *r, uint32_t limits, uint64_t drops)
{
	struct pc_rated *t = &r->tenant[limits];
	uint64_t total[PC_STORE_REFUSED], own;

	/* The two are read one after the other. */
	pc_rates_refused_get(r, limits, total);
	own = drops > total[PC_DP_REFUSED_ROOT] ? drops - total[PC_DP_REFUSED_ROOT] : 0;
	if (own > t->shown_rate)
		t->shown_rate = own;
	return t->shown_rate;
}

size_t pc_rates_history(const struct pc_rates *r, uint32_t limits, unsigned int direction,
			uint64_t ret_bps[static PC_RATES_HISTORY])
{
	const struct pc_rates_past *past = r->tenant[limits].past;

	for (uint32_t i = 0; past && i < past->n; i++) {
		uint32_t at = (past->at + PC_RATES_HISTORY - (past->n - 1 - i)) % PC_RATES_HISTORY;

		ret_bps[i] = (uint64_t)past->bytes[direction][at] * 1024 * 8;
	}
	return past ? past->n : 0;
}

size_t pc_rates_tiers(const struct pc_rates *r, const struct pc_tier **ret_tiers)
{
	*ret_tiers = r->tiers;
	return r->n_tiers;
}
