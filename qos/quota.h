/* SPDX-License-Identifier: MIT */
/*
 * Quotas: bytes per day and per month, in UTC.
 *
 * A quota is counted in what was spent (pc_credit.used, and what was spent before that began), not
 * in what was seen to pass, so that leases in flight are not granted twice. The data plane is told
 * an absolute number; it stops by itself, within what leases hold back, when the daemon does not.
 *
 * The clock may jump. Forwards into another day or month begins it. Backwards begins nothing: the
 * window that was begun stands, so no quota is given twice, until the time comes to its end or
 * until the node has been running for a whole window in the earlier time (then that time is the
 * right one).
 */
#ifndef PC_QOS_QUOTA_H
#define PC_QOS_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

enum pc_quota_state {
	PC_QUOTA_NONE, /* no limit */
	PC_QUOTA_OK,
	PC_QUOTA_WARNING, /* 80 % */
	PC_QUOTA_LAST,	  /* 95 % */
	PC_QUOTA_REACHED,
};

/* A day or a month. start_s and base are kept in the store; all zeroes is a new one. */
struct pc_quota_window {
	uint64_t start_s;  /* UTC */
	uint64_t base;	   /* spent in all when it began */
	uint64_t behind_s; /* uptime since which the clock is before start_s, and 1; 0: it is not */
};

struct pc_quota {
	struct pc_quota_window day, month;
};

struct pc_quota_limits {
	uint64_t day, month; /* bytes; 0: none */
};

struct pc_quota_report {
	enum pc_quota_state state; /* the worse of both */
	bool month;		   /* it is the month's */
	uint64_t remaining;	   /* bytes, the smaller of both; UINT64_MAX without limits */
	uint64_t day_used, month_used;
	uint64_t day_end_s, month_end_s; /* when they begin anew, UTC */
};

const char *pc_quota_state_name(enum pc_quota_state state); /* "none", "ok", "warning"... */

/*
 * Moves the windows on. @now_s: UTC. @uptime_s: seconds that never go back. @spent: bytes in all,
 * ever. True: a window began, and is to be stored.
 */
bool pc_quota_roll(struct pc_quota *quota, uint64_t now_s, uint64_t uptime_s, uint64_t spent);
/* Where it stands after pc_quota_roll. */
void pc_quota_report(const struct pc_quota *quota, const struct pc_quota_limits *limits,
		     uint64_t spent, struct pc_quota_report *ret_report);
/* pc_credit.authorised for a credit of which @used is spent. */
uint64_t pc_quota_authorised(const struct pc_quota_report *report, uint64_t used);

/* Beginnings of the day and month of @now_s, and of the next ones. */
uint64_t pc_quota_day(uint64_t now_s);
uint64_t pc_quota_month(uint64_t now_s, uint64_t *ret_next_s);

#endif
