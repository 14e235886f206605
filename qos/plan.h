/* SPDX-License-Identifier: MIT */
/*
 * Plans of tenants, and what the limiter is told of them (abi/rate.h). Pure computations: no I/O,
 * no clock.
 */
#ifndef PC_QOS_PLAN_H
#define PC_QOS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/rate.h"

#define PC_PLAN_MIN_BPS	   8000ull
#define PC_PLAN_MAX_BPS	   400000000000ull
#define PC_PLAN_MAX_WEIGHT 1000
#define PC_TIER_NAME_SIZE  32
#define PC_TIER_NO_DSCP	   0xff

/* A service class. Tiers of the higher class (PC_RATE_CLASS_*) are refused later. */
struct pc_tier {
	char name[PC_TIER_NAME_SIZE];
	uint8_t rate_class;
	uint8_t dscp;	  /* put on what is sent; PC_TIER_NO_DSCP: left alone */
	uint32_t weight;  /* share among tiers of its class */
	uint32_t ceiling; /* per cent of the capacity that it may use at most, 1 to 100 */
};
/* owner, paid, free: there without being configured. */
extern const struct pc_tier pc_tiers_builtin[3];
/* PC_RATE_CLASS_* of "free", "paid", "owner"; PC_ERR_UNKNOWN. And back. */
int pc_tier_class_parse(const char *text, uint8_t *ret_class);
const char *pc_tier_class_name(uint8_t rate_class);

/* What a tenant may use. Rates in bit/s of IP packets; 0: no limit, no guarantee. */
struct pc_plan {
	uint64_t bps[2]; /* by direction: PC_RATE_UP, PC_RATE_DOWN */
	uint64_t guarantee_bps;
	uint32_t packets_per_s; /* each way; 0: no limit */
	uint32_t weight;
	uint64_t quota_day, quota_month; /* bytes of IP packets, both ways; 0: no limit */
};

/* What a plan is judged against. */
struct pc_plan_node {
	uint64_t capacity_bps;	 /* of the uplink; 0: not known */
	uint64_t guaranteed_bps; /* to the other tenants, in all */
};
/*
 * Whether a plan can be kept. Returns 0, or PC_ERR_RANGE and one line in @ret_why: what is wrong
 * and what is allowed.
 */
int pc_plan_check(const struct pc_plan *plan, const struct pc_plan_node *node, char *ret_why,
		  size_t size);

/* What the slow loop gave a tenant in one direction, in bit/s; 0: no limit but the plan's. */
struct pc_plan_share {
	uint64_t allowed_bps;
	uint64_t entitled_bps; /* what goes faster is borrowed, and refused first; 0: nothing is */
	uint64_t fallback_bps; /* from epoch_end_ns on, if nobody renews it */
	uint64_t epoch_end_ns;
};
/*
 * The limiter's configuration for one direction. @share NULL: the plan alone. @ret_rate->version is
 * left 0.
 */
void pc_plan_rate(const struct pc_plan *plan, const struct pc_tier *tier, unsigned int direction,
		  const struct pc_plan_share *share, struct pc_rate *ret_rate);

/*
 * Puts @next in the place of @rate while the data plane runs, and counts the version; nothing where
 * nothing differs. What the clocks are ahead is worth less at a higher rate: a tenant that sent ten
 * packets at 8 kbit/s does not owe 15 s of 100 Mbit/s. What was saved up is worth less, too, where
 * it is a share of the uplink that grew: else savings of all would be more than the uplink has.
 * @now: CLOCK_MONOTONIC, ns.
 */
void pc_plan_apply(struct pc_rate *rate, struct pc_rate_clock *clock, const struct pc_rate *next,
		   uint64_t now);

/*
 * The uplink's clock: 0 bit/s is no limit. Its time stamp is left alone. Tenants may peak above
 * their rates, so this does by as much above the capacity; over more than moments it is the shares
 * that keep the capacity.
 */
void pc_plan_root(uint64_t capacity_bps, struct pc_rate_root *root);

#endif
