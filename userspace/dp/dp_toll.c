/* SPDX-License-Identifier: MIT */
/*
 * Limits of tenants on what user space relays: the same arithmetic on the same clocks as in the
 * kernel (lib/toll.h), with a lease of its own.
 */
#include <time.h>

#include "base/clock.h"
#include "dp/dp_int.h"
#include "lib/rate.h"

#define ECN_MASK 0x03
#define ECN_CE	 0x03

static struct pc_rate_ref ref_of(const struct pc_dp_rates *rates, const struct pc_dp_charge *c)
{
	uint32_t i = pc_rate_index(c->tenant, c->up ? PC_RATE_UP : PC_RATE_DOWN);

	return (struct pc_rate_ref){
		.rate = &rates->rate[i],
		.clock = &rates->clock[i],
		.lease = &rates->lease[i],
		.root = rates->root,
		.quota = &rates->quota[c->tenant],
	};
}

/* Whether there are limits at all for it. */
static bool known(const struct pc_dp *dp, const struct pc_dp_charge *c)
{
	return dp->rates.rate && c->slot < dp->max_sessions && c->tenant <= dp->rates.max_tenants;
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

static enum pc_reason refuse(struct pc_dp *dp, uint32_t slot, enum pc_reason reason)
{
	struct pc_count *count = &pc_dp_count_user(dp)[slot];

	pc_dp_reasons_user(dp)[reason]++;
	if (reason == PC_REASON_DROP_CREDIT || reason == PC_REASON_DROP_QUOTA)
		count->drops_credit++;
	else
		count->drops_rate++;
	return reason;
}

enum pc_reason pc_dp_charge(struct pc_dp *dp, const struct pc_dp_charge *charge, uint8_t *tos)
{
	enum pc_rate_verdict verdict = PC_RATE_PASS;
	struct pc_rate_ref ref;
	bool limited;

	if (!known(dp, charge))
		return PC_REASON_TX;
	ref = ref_of(&dp->rates, charge);
	limited = charge->tenant && ref.rate->version; /* else never set */
	if (limited)
		verdict = ask(&ref, charge->wire_bytes, *tos & ECN_MASK);
	if (verdict > PC_RATE_MARK)
		return refuse(dp, charge->slot, reason_of(verdict));
	if (!pc_credit_spend(&dp->rates.credit[charge->slot], charge->payload_bytes)) {
		if (limited)
			pc_rate_undo(ref.lease, charge->wire_bytes);
		return refuse(dp, charge->slot, PC_REASON_DROP_CREDIT);
	}
	if (limited && ref.lease->flags & PC_RATE_SET_DSCP)
		*tos = (uint8_t)(ref.lease->dscp << 2 | (*tos & ECN_MASK));
	if (verdict == PC_RATE_MARK)
		*tos |= ECN_CE;
	return PC_REASON_TX;
}

void pc_dp_charge_undo(struct pc_dp *dp, const struct pc_dp_charge *charge)
{
	struct pc_rate_ref ref;

	if (!known(dp, charge))
		return;
	ref = ref_of(&dp->rates, charge);
	if (charge->tenant && ref.rate->version)
		pc_rate_undo(ref.lease, charge->wire_bytes);
	pc_credit_undo(&dp->rates.credit[charge->slot], charge->payload_bytes);
}
