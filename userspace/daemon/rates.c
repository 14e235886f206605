/* SPDX-License-Identifier: MIT */
#include "daemon/rates.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "lib/rate.h"

#define COUNT_CHUNK 256

/* Bytes of each of the last seconds, both directions; only tenants that send have one. */
struct history {
	uint32_t bytes[2][PC_RATES_HISTORY]; /* in units of 1024, saturating; newest at `at` */
	uint32_t at;
	uint32_t n;
};

struct rated {
	struct pc_plan plan;
	uint32_t tier; /* index into tiers */
	bool used;
	uint64_t bps[2];
	struct history *history;
};

struct pc_rates {
	struct pc_daemon *d;
	const struct pc_dp_rates *dp;
	struct rated *tenant;		/* by index of their limits */
	struct pc_dp_rate_count *count; /* as of the last tick, by pc_rate_index() */
	uint32_t n;			/* numbers in use are below */
	uint64_t counted_ns;
	uint64_t guaranteed_bps; /* both ways together */
	uint32_t version;
	const struct pc_tier *tiers;
	size_t n_tiers;
};

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
	if (t->limits && r->tenant[t->limits].used)
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

/* What the limiter is to do in both directions. */
static void write_rates(struct pc_rates *r, uint32_t limits)
{
	const struct rated *t = &r->tenant[limits];

	for (unsigned int d = 0; d < 2; d++) {
		struct pc_rate rate;

		pc_plan_rate(&t->plan, &r->tiers[t->tier], d, NULL, &rate);
		rate.version = ++r->version;
		pc_rate_store(&r->dp->rate[pc_rate_index(limits, d)], &rate);
	}
}

void pc_rates_set(struct pc_rates *r, const struct pc_store_tenant *t)
{
	struct rated *to = &r->tenant[t->limits];

	if (to->used)
		r->guaranteed_bps -= 2 * to->plan.guarantee_bps;
	to->plan = plan_of(t);
	r->guaranteed_bps += 2 * to->plan.guarantee_bps;
	/* A tier that the configuration no longer has: the lowest class, rather than none. */
	if (find_tier(r, t->tier, &to->tier) < 0) {
		pc_warning("tenant %s: unknown tier \"%s\", treated as free", t->name, t->tier);
		find_tier(r, "free", &to->tier);
	}
	to->used = true;
	if (r->n <= t->limits)
		r->n = t->limits + 1;
	write_rates(r, t->limits);
}

void pc_rates_unset(struct pc_rates *r, uint32_t limits)
{
	struct rated *t = &r->tenant[limits];

	if (!t->used)
		return;
	r->guaranteed_bps -= 2 * t->plan.guarantee_bps;
	free(t->history);
	*t = (struct rated){ 0 };
	for (unsigned int d = 0; d < 2; d++)
		memset(&r->dp->clock[pc_rate_index(limits, d)], 0, sizeof(*r->dp->clock));
	while (r->n && !r->tenant[r->n - 1].used)
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
	if (!r->tenant || !r->count) {
		pc_rates_free(r);
		return -ENOMEM;
	}
	pc_rates_reconfigure(r);
	/* What was counted by an earlier daemon is no rate of now. */
	if (r->n)
		pc_dp_rate_counts(d->dp, 0, 2 * r->n, r->count);
	r->counted_ns = pc_clock_monotonic();
	*ret_rates = r;
	return 0;
}

void pc_rates_free(struct pc_rates *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; r->tenant && i <= r->d->config.max_tenants; i++)
		free(r->tenant[i].history);
	free(r->tenant);
	free(r->count);
	free(r);
}

/* --- what is used --- */

static uint32_t saturate(uint64_t value)
{
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* A tenant that sends for the first time gets its memory then; without any, it has no history. */
static void remember(struct rated *t, const uint64_t bytes[static 2])
{
	struct history *h = t->history;

	if (!h && !bytes[0] && !bytes[1])
		return;
	if (!h)
		h = t->history = calloc(1, sizeof(*h));
	if (!h)
		return;
	h->at = (h->at + 1) % PC_RATES_HISTORY;
	h->n += h->n < PC_RATES_HISTORY;
	for (unsigned int d = 0; d < 2; d++)
		h->bytes[d][h->at] = saturate((bytes[d] + 512) / 1024);
}

/* Tenants [first, first + n), @fresh by pc_rate_index() from the first on. */
static void take_counts(struct pc_rates *r, uint32_t first, uint32_t n,
			const struct pc_dp_rate_count *fresh, uint64_t ns)
{
	for (uint32_t i = 0; i < n; i++) {
		struct rated *t = &r->tenant[first + i];
		uint64_t bytes[2];

		for (unsigned int d = 0; d < 2; d++) {
			struct pc_dp_rate_count *old = &r->count[pc_rate_index(first + i, d)];

			bytes[d] = fresh[2 * i + d].bytes - old->bytes;
			*old = fresh[2 * i + d];
		}
		if (!t->used)
			continue;
		for (unsigned int d = 0; d < 2; d++)
			t->bps[d] = bytes[d] * 8 * PC_NS_PER_S / ns;
		remember(t, bytes);
	}
}

void pc_rates_tick(struct pc_rates *r, uint64_t now)
{
	struct pc_dp_rate_count fresh[2 * COUNT_CHUNK];
	uint64_t ns = now - r->counted_ns;

	if (ns < PC_NS_PER_S / 2)
		return;
	for (uint32_t first = 0; first < r->n; first += COUNT_CHUNK) {
		uint32_t n = r->n - first < COUNT_CHUNK ? r->n - first : COUNT_CHUNK;

		if (pc_dp_rate_counts(r->d->dp, 2 * first, 2 * n, fresh) < 0)
			return;
		take_counts(r, first, n, fresh, ns);
	}
	r->counted_ns = now;
}

/* --- views --- */

static uint64_t allowed(const struct rated *t, unsigned int d)
{
	return t->plan.bps[d];
}

void pc_rates_get(const struct pc_rates *r, uint32_t limits, uint64_t now,
		  struct pc_rates_view *ret_view)
{
	const struct rated *t = &r->tenant[limits];
	struct pc_rates_view v = { 0 };

	for (unsigned int d = 0; d < 2; d++) {
		uint32_t index = pc_rate_index(limits, d);
		const struct pc_dp_rate_count *c = &r->count[index];
		uint64_t clock =
			__atomic_load_n(&r->dp->clock[index].committed_ns, __ATOMIC_RELAXED);

		v.dir[d] = (struct pc_rates_dir){
			.bps = t->bps[d],
			.allowed_bps = allowed(t, d),
			.backlog_ns = clock > now ? clock - now : 0,
		};
		v.drops_rate += c->drops_rate;
		v.drops_root += c->drops_root;
		v.drops_quota += c->drops_quota;
		v.marks += c->marks;
	}
	*ret_view = v;
}

size_t pc_rates_history(const struct pc_rates *r, uint32_t limits, unsigned int direction,
			uint64_t ret_bps[static PC_RATES_HISTORY])
{
	const struct history *h = r->tenant[limits].history;

	for (uint32_t i = 0; h && i < h->n; i++) {
		uint32_t at = (h->at + PC_RATES_HISTORY - (h->n - 1 - i)) % PC_RATES_HISTORY;

		ret_bps[i] = (uint64_t)h->bytes[direction][at] * 1024 * 8;
	}
	return h ? h->n : 0;
}

size_t pc_rates_tiers(const struct pc_rates *r, const struct pc_tier **ret_tiers)
{
	*ret_tiers = r->tiers;
	return r->n_tiers;
}
