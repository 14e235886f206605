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

static enum pc_reason reason_of(enum pc_rate_verdict verdict)
{
	switch (verdict) {
	case PC_RATE_DROP_ROOT:
		return PC_REASON_DROP_UPLINK;
	case PC_RATE_DROP_QUOTA:
		return PC_REASON_DROP_QUOTA;
	default:
		return PC_REASON_DROP_RATE;
	}
}

static bool refuse(struct pc_glue *g, uint32_t slot, enum pc_reason reason)
{
	struct pc_count *count = &pc_dp_count_user(g->d->dp)[slot];

	g->reasons[reason]++;
	if (reason == PC_REASON_DROP_CREDIT || reason == PC_REASON_DROP_QUOTA)
		count->drops_credit++;
	else
		count->drops_rate++;
	return false;
}

/* The order of the kernel program: the tenant's limits, then the session's credit. */
bool pc_glue_admit(void *ctx, uint32_t slot, bool up, struct pc_dgram *d, uint32_t payload_bytes,
		   uint32_t wire_bytes)
{
	struct pc_glue *g = ctx;
	const struct pc_dp_rates *rates = pc_dp_rates(g->d->dp);
	uint32_t tenant = pc_glue_limits(g, slot), i;
	enum pc_rate_verdict verdict = PC_RATE_PASS;
	struct pc_rate_ref ref;

	if (!rates || slot >= g->n_limits || tenant > rates->max_tenants)
		return true;
	i = pc_rate_index(tenant, up ? PC_RATE_UP : PC_RATE_DOWN);
	ref = (struct pc_rate_ref){
		.rate = &rates->rate[i],
		.clock = &rates->clock[i],
		.lease = &rates->lease[i],
		.root = rates->root,
		.quota = &rates->quota[tenant],
	};
	if (tenant && ref.rate->version) /* else never set */
		verdict = ask(&ref, wire_bytes, d->tos & ECN_MASK);
	if (verdict > PC_RATE_MARK)
		return refuse(g, slot, reason_of(verdict));
	if (!pc_credit_spend(&rates->credit[slot], payload_bytes)) {
		if (tenant)
			pc_rate_undo(ref.lease, wire_bytes);
		return refuse(g, slot, PC_REASON_DROP_CREDIT);
	}
	if (tenant && ref.lease->flags & PC_RATE_SET_DSCP)
		d->tos = (uint8_t)(ref.lease->dscp << 2 | (d->tos & ECN_MASK));
	if (verdict == PC_RATE_MARK)
		d->tos |= ECN_CE;
	return true;
}
