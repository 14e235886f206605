/* SPDX-License-Identifier: MIT */
/*
 * The rates of tenants while the daemon runs: what the limiter is told of their plans, what they
 * use, and the user-space path's way through the same limiter.
 */
#ifndef PC_DAEMON_RATES_H
#define PC_DAEMON_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/relay.h"
#include "qos/plan.h"
#include "qos/quota.h"
#include "store/store.h"

struct pc_daemon;
struct pc_rates;

#define PC_RATES_HISTORY 180 /* seconds */

/* Tells the limiter of every tenant there is. 0 or -ENOMEM. */
int pc_rates_new(struct pc_daemon *d, struct pc_rates **ret_rates);
void pc_rates_free(struct pc_rates *r);

/*
 * Whether @t's tier is known and its plan can be kept beside the others. 0, or a negative code and
 * one line in @ret_why.
 */
int pc_rates_check(const struct pc_rates *r, const struct pc_store_tenant *t, char *ret_why,
		   size_t size);
/* After a tenant came or changed: at once, nothing is lost. */
void pc_rates_set(struct pc_rates *r, const struct pc_store_tenant *t);
/* After one went. The next one at this number starts anew. */
void pc_rates_unset(struct pc_rates *r, uint32_t limits);
/* After capacity or tiers changed. */
void pc_rates_reconfigure(struct pc_rates *r);

/* Once a second: what is used, and quotas. */
void pc_rates_tick(struct pc_rates *r, uint64_t now);
/* The slow loop: shares of the uplink. Returns after how many nanoseconds it is to be called again.
 */
uint64_t pc_rates_loop(struct pc_rates *r, uint64_t now);

struct pc_rates_dir {
	uint64_t bps;	      /* in the last second */
	uint64_t allowed_bps; /* 0: no limit */
	uint64_t backlog_ns;  /* how far the committed clock is ahead */
};
struct pc_rates_view {
	struct pc_rates_dir dir[2];
	uint64_t drops_rate, drops_root, drops_quota, marks; /* in all */
	struct pc_quota_report quota;
};
void pc_rates_get(const struct pc_rates *r, uint32_t limits, uint64_t now,
		  struct pc_rates_view *ret_view);
/* Keeps what limits refused in the store. 0 or its error. */
int pc_rates_fold(struct pc_rates *r);
/*
 * Drops of a tenant's own rate, where sessions counted @drops together with those of a full uplink.
 * Never goes back.
 */
uint64_t pc_rates_own_drops(struct pc_rates *r, uint32_t limits, uint64_t drops);
/* Bits per second of the last seconds, oldest first. Returns how many. */
size_t pc_rates_history(const struct pc_rates *r, uint32_t limits, unsigned int direction,
			uint64_t ret_bps[static PC_RATES_HISTORY]);

/* The tiers that can be named: built in, or configured. */
size_t pc_rates_tiers(const struct pc_rates *r, const struct pc_tier **ret_tiers);

#endif
