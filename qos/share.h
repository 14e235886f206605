/* SPDX-License-Identifier: MIT */
/*
 * Fair shares of one direction's capacity: weighted max-min by demand, guarantees first, then tier
 * by tier, and a small floor for every tier that wants something. A pure function over an array;
 * the daemon calls it every few milliseconds, once per direction.
 *
 * What comes out, per tenant: `entitled`, its share of what there is, and `ceiling`, that and its
 * part of what nobody wants now, to grow into. Ceilings never add up to more than the capacity, nor
 * those of a tier to more than the tier's ceiling or what the tiers before it leave, but for the
 * floor.
 */
#ifndef PC_QOS_SHARE_H
#define PC_QOS_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qos/plan.h"

#define PC_SHARE_TIERS	64
#define PC_SHARE_HUNGRY UINT64_MAX /* a demand: whatever it can get */
#define PC_SHARE_FLOOR	100	   /* a tier that wants something gets capacity / this */
#define PC_SHARE_IDLE	250	   /* and so much is kept for all who want nothing yet */

struct pc_share_tenant {
	uint32_t tier; /* index into the pool's */
	uint32_t weight;
	uint64_t limit_bps; /* of its plan; 0: none */
	uint64_t guarantee_bps;
	uint64_t demand_bps; /* pc_meter_tick() tells; 0: idle */
	/* Results. */
	uint64_t entitled_bps;
	uint64_t ceiling_bps;
	uint64_t fallback_bps;
};

struct pc_share_pool {
	uint64_t capacity_bps; /* not 0 */
	const struct pc_tier *tiers;
	size_t n_tiers; /* at most PC_SHARE_TIERS */
};

/* @scratch: room for @n. */
void pc_share_compute(const struct pc_share_pool *pool, struct pc_share_tenant *tenants, size_t n,
		      uint32_t *scratch);

/*
 * What holds when the slow loop is dead: the guarantee and a part of the rest, as if all wanted all
 * they may have. Changes only with the tenants' plans.
 */
void pc_share_fallback(const struct pc_share_pool *pool, struct pc_share_tenant *tenants, size_t n);

/*
 * Whether a ceiling that changed is worth a write: up by more than 2 %, or, for who is hungry, by
 * more than 0.2 %; and always down, or those of a tier would add up to more than there is.
 */
bool pc_share_differs(uint64_t written_bps, uint64_t ceiling_bps, bool hungry);

#endif
