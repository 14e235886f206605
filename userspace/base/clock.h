/* SPDX-License-Identifier: MIT */
/* Clocks in nanoseconds. Only the daemon, the tools and tests read clocks; cores get `now`. */
#ifndef PC_BASE_CLOCK_H
#define PC_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define PC_NS_PER_S  1000000000ull
#define PC_NS_PER_MS 1000000ull

static inline uint64_t pc_clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * PC_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* The clock of bpf_ktime_get_ns(). */
static inline uint64_t pc_clock_monotonic(void)
{
	return pc_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t pc_clock_realtime(void)
{
	return pc_clock_ns(CLOCK_REALTIME);
}

#endif
