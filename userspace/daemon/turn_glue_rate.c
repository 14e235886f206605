/* SPDX-License-Identifier: MIT */
/*
 * Limits of tenants on what user space relays: the same arithmetic on the same clocks as in the
 * kernel, with a lease of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "daemon/turn_glue_int.h"
#include "lib/rate.h"

#define ECN_MASK 0x03
#define ECN_CE	 0x03

int pc_glue_limits_init(struct pc_glue *g)
{
	g->n_limits = pc_dp_max_sessions(g->d->dp);
	g->limits = calloc(g->n_limits ? g->n_limits : 1, sizeof(*g->limits));
	return g->limits ? 0 : -ENOMEM;
}

void pc_glue_limits_set(struct pc_glue *g, uint32_t slot)
{
	const struct pc_store_tenant *t;
	uint64_t session;
	uint32_t tenant;

	if (slot >= g->n_limits || !pc_usage_slot(g->d->usage, slot, &session, &tenant))
		return;
	t = pc_users_by_id(g->d->users, tenant);
	g->limits[slot] = t ? t->limits : 0;
}

void pc_glue_limits_clear(struct pc_glue *g, uint32_t slot)
{
	if (slot < g->n_limits)
		g->limits[slot] = 0;
}

uint32_t pc_glue_limits(const struct pc_glue *g, uint32_t slot)
{
	return slot < g->n_limits ? g->limits[slot] : 0;
}

/* Usually from the lease alone, for which a clock that lags by a tick will do. */
static enum pc_rate_verdict ask(const struct pc_rate_ref *ref, uint32_t bytes, uint8_t ecn)
{
	if (pc_rate_spend(ref->lease, pc_clock_ns(CLOCK_MONOTONIC_COARSE), bytes))
		return PC_RATE_PASS;
	return pc_rate_refill(ref, pc_clock_monotonic(), bytes, ecn);
}

bool pc_glue_admit(void *ctx, uint32_t slot, bool up, struct pc_dgram *d, uint32_t wire_bytes)
{
	struct pc_glue *g = ctx;
	const struct pc_dp_rates *rates = pc_dp_rates(g->d->dp);
	uint32_t tenant = pc_glue_limits(g, slot), i;
	enum pc_rate_verdict verdict;
	struct pc_rate_ref ref;

	if (!tenant || !rates || tenant > rates->max_tenants)
		return true;
	i = pc_rate_index(tenant, up ? PC_RATE_UP : PC_RATE_DOWN);
	if (!rates->rate[i].version) /* never set */
		return true;
	ref = (struct pc_rate_ref){
		.rate = &rates->rate[i],
		.clock = &rates->clock[i],
		.lease = &rates->lease[i],
		.root = rates->root,
		.quota = &rates->quota[tenant],
	};
	verdict = ask(&ref, wire_bytes, d->tos & ECN_MASK);
	if (verdict > PC_RATE_MARK) {
		pc_dp_count_user(g->d->dp)[slot].drops_rate++;
		return false;
	}
	if (ref.lease->flags & PC_RATE_SET_DSCP)
		d->tos = (uint8_t)(ref.lease->dscp << 2 | (d->tos & ECN_MASK));
	if (verdict == PC_RATE_MARK)
		d->tos |= ECN_CE;
	return true;
}
