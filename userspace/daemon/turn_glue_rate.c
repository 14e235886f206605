/* SPDX-License-Identifier: MIT */
/* Limits of tenants on what user space relays: whose they are. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/turn_glue_int.h"

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

bool pc_glue_admit(void *ctx, uint32_t slot, bool up, struct pc_dgram *d, uint32_t payload_bytes,
		   uint32_t wire_bytes)
{
	struct pc_glue *g = ctx;
	const struct pc_dp_charge charge = {
		.slot = slot,
		.tenant = pc_glue_limits(g, slot),
		.up = up,
		.payload_bytes = payload_bytes,
		.wire_bytes = wire_bytes,
	};

	return pc_dp_charge(g->d->dp, &charge, &d->tos) == PC_REASON_TX;
}
