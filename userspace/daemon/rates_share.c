/* SPDX-License-Identifier: MIT */
/*
 * The slow loop: what tenants use is read, what they want is estimated, and their shares of the
 * uplink are written. If the daemon dies the last shares stand for PC_RATES_EPOCH_NS, then the
 * fallback does.
 */
#include "daemon/rates_int.h"

#include <string.h>

#include "base/clock.h"

#define RENEW_NS (PC_RATES_EPOCH_NS / 2)
#define MIN_NS	 (10 * PC_NS_PER_MS)
#define MAX_NS	 PC_NS_PER_S
/* The loop may take this part of a CPU, in per mille: with many tenants it runs less often. */
#define BUSY_PER_MILLE 15

/* How much, and whether the limiter had to say something, since the last time. */
static void meter(struct pc_rates *r, uint32_t limits, unsigned int d,
		  const struct pc_dp_rate_count *old, uint64_t now)
{
	struct pc_rated *t = &r->tenant[limits];
	const struct pc_dp_rate_count *c = &r->count[pc_rate_index(limits, d)];
	const struct pc_meter_sample sample = {
		.bytes = c->bytes - old->bytes,
		.limited = c->drops_rate != old->drops_rate || c->drops_root != old->drops_root ||
			   c->marks != old->marks,
		.ceiling_bps = t->ceiling_bps[d],
		.elapsed_ns = now - r->loop_ns,
	};

	r->share[pc_rate_index(limits, d)].demand_bps =
		t->id ? pc_meter_tick(&t->meter[d], &sample, now) : 0;
}

static void describe(struct pc_rates *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		const struct pc_rated *t = &r->tenant[i];

		for (unsigned int d = 0; d < 2; d++) {
			struct pc_share_tenant *s = &r->share[pc_rate_index(i, d)];

			s->tier = t->tier;
			s->weight = t->id ? t->plan.weight : 1;
			s->limit_bps = t->plan.bps[d];
			s->guarantee_bps = t->plan.guarantee_bps;
		}
	}
}

static void write_share(struct pc_rates *r, uint32_t limits, uint64_t now)
{
	struct pc_rated *t = &r->tenant[limits];
	bool differs = now >= t->renew_ns;

	for (unsigned int d = 0; d < 2; d++) {
		const struct pc_share_tenant *s = &r->share[pc_rate_index(limits, d)];

		if (!pc_share_differs(t->ceiling_bps[d], s->ceiling_bps,
				      s->demand_bps == PC_SHARE_HUNGRY))
			continue;
		t->ceiling_bps[d] = s->ceiling_bps;
		differs = true;
	}
	if (!differs)
		return;
	t->renew_ns = now + RENEW_NS;
	pc_rates_write(r, limits, now);
}

static void share(struct pc_rates *r, uint64_t now)
{
	const struct pc_share_pool pool = {
		.capacity_bps = r->d->config.capacity,
		.tiers = r->tiers,
		.n_tiers = r->n_tiers,
	};

	if (r->plans_changed) {
		describe(r);
		pc_share_fallback(&pool, r->share, 2 * r->n);
		r->plans_changed = false;
	}
	pc_share_compute(&pool, r->share, 2 * r->n, r->scratch);
	for (uint32_t i = 1; i < r->n; i++)
		if (r->tenant[i].id)
			write_share(r, i, now);
}

uint64_t pc_rates_loop(struct pc_rates *r, uint64_t now)
{
	uint64_t began = pc_clock_ns(CLOCK_THREAD_CPUTIME_ID), took, wait;

	if (!r->d->config.capacity || r->n < 2)
		return MAX_NS;
	/* What is counted is compared with what was, in place. */
	memcpy(r->before, r->count, 2 * r->n * sizeof(*r->count));
	if (pc_rates_count(r) < 0)
		return MAX_NS;
	if (r->loop_ns && now > r->loop_ns) {
		for (uint32_t i = 1; i < r->n; i++)
			for (unsigned int d = 0; d < 2; d++)
				meter(r, i, d, &r->before[pc_rate_index(i, d)], now);
		share(r, now);
	}
	r->loop_ns = now;
	took = pc_clock_ns(CLOCK_THREAD_CPUTIME_ID) - began;
	wait = took * 1000 / BUSY_PER_MILLE;
	return wait < MIN_NS ? MIN_NS : wait > MAX_NS ? MAX_NS : wait;
}
