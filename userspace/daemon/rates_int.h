/* SPDX-License-Identifier: MIT */
/*
 * What the files of the rates share; nobody else includes this.
 *
 * rates.c         plans, what is used, views
 * rates_share.c   the slow loop: fair shares of the uplink
 * rates_quota.c   bytes per day and month
 * rates_refused.c what was refused and marked, in totals that survive
 */
#ifndef PC_DAEMON_RATES_INT_H
#define PC_DAEMON_RATES_INT_H

#include "daemon/daemon_int.h"
#include "daemon/rates.h"
#include "lib/rate.h"
#include "qos/meter.h"
#include "qos/quota.h"
#include "qos/share.h"

#define PC_RATES_EPOCH_NS (2 * PC_NS_PER_S) /* that a share stands without being renewed */

/* Bytes of each of the last seconds, both directions; only tenants that send have one. */
struct pc_rates_past {
	uint32_t bytes[2][PC_RATES_HISTORY]; /* in units of 1024, saturating; newest at `at` */
	uint32_t at;
	uint32_t n;
};

struct pc_rated {
	uint32_t id;   /* of the tenant; 0: nobody has this number */
	uint32_t tier; /* index into tiers */
	struct pc_plan plan;
	uint64_t bps[2];
	uint64_t second_bytes[2]; /* counted until the last second */
	struct pc_rates_past *past;
	/* With a capacity: */
	struct pc_meter meter[2];
	uint64_t ceiling_bps[2]; /* as written */
	uint64_t renew_ns;	 /* when the shares are to be written again, changed or not */
	struct pc_store_refused refused; /* as far as it was taken */
	bool refused_fresh;		 /* it differs from the store's */
	uint64_t shown_rate;		 /* drops of the rate, as told last */
	/* With a quota: */
	struct pc_quota quota;
	uint64_t spent_before; /* bytes in all, when the credit had spent none */
	struct pc_quota_report report;
};

struct pc_rates {
	struct pc_daemon *d;
	const struct pc_dp_rates *dp;
	struct pc_rated *tenant;	 /* by number, max_tenants + 1 */
	struct pc_dp_rate_count *count;	 /* as last read, by pc_rate_index() */
	struct pc_dp_rate_count *before; /* by the slow loop, the time before */
	uint32_t n;			 /* numbers in use are below */
	uint64_t second_ns;
	uint64_t guaranteed_bps; /* both ways together */
	const struct pc_tier *tiers;
	size_t n_tiers;
	/* The slow loop's, by pc_rate_index(). */
	struct pc_share_tenant *share;
	uint32_t *scratch;
	uint64_t loop_ns; /* when it ran last; 0: never */
	bool plans_changed;
};

/* A tenant came: its totals, from the store. */
void pc_rates_refused_set(struct pc_rates *r, uint32_t limits);
void pc_rates_refused_get(const struct pc_rates *r, uint32_t limits,
			  uint64_t ret_total[static PC_STORE_REFUSED]);
/* Reads r->count. 0 or a negative code. */
int pc_rates_count(struct pc_rates *r);
/* Tells the limiter of a tenant's plan, and of its share as it was written last. */
void pc_rates_write(struct pc_rates *r, uint32_t limits, uint64_t now);
/* A tenant's quota starts to count, or has other limits. */
void pc_rates_quota_set(struct pc_rates *r, uint32_t limits, const struct pc_store_tenant *t);
void pc_rates_quota_tick(struct pc_rates *r, uint64_t now);

#endif
