/* SPDX-License-Identifier: MIT */
/*
 * Hierarchical timer wheel (Varghese, Lauck 1987) with 16 ms ticks: O(1) set and cancel for
 * hundreds of thousands of expiry times. A timer never fires early, and at most one tick late.
 * No clock inside: `now` is CLOCK_MONOTONIC nanoseconds, passed in.
 */
#ifndef PC_BASE_TIMER_H
#define PC_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct pc_timer {
	struct pc_timer *next;
	struct pc_timer **pprev; /* NULL when not armed */
	uint64_t deadline_ns;	 /* of a time already past: the next tick */
	void (*fn)(struct pc_timer *timer, uint64_t now);
};

struct pc_timers;

int pc_timers_new(uint64_t now, struct pc_timers **ret_timers); /* 0 or -ENOMEM */
void pc_timers_free(struct pc_timers *t); /* armed timers are forgotten, not fired */
/* Arms, or moves when armed. */
void pc_timer_set(struct pc_timers *t, struct pc_timer *timer, uint64_t deadline_ns);
void pc_timer_cancel(struct pc_timer *timer); /* no effect when not armed */
static inline bool pc_timer_armed(const struct pc_timer *timer)
{
	return timer->pprev != 0;
}
/* Fires everything due at @now; callbacks may set and cancel any timer. Returns how many fired. */
unsigned int pc_timers_run(struct pc_timers *t, uint64_t now);
/* When to call pc_timers_run again: no later than this is needed; UINT64_MAX when none is armed. */
uint64_t pc_timers_next(const struct pc_timers *t);

#endif
