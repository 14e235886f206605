/* SPDX-License-Identifier: MIT */
/*
 * The time, in nanoseconds of CLOCK_MONOTONIC, as fine as a tick. Asking the kernel costs more than
 * a map lookup, and its coarse clock moves only when jiffies do: it is asked once per tick.
 *
 * All CPUs share the answer, in one cache line that is written a few hundred times a second. The
 * time is stored before the tick it belongs to; who sees them in between is a tick late.
 */
#ifndef PC_LIB_CLOCK_H
#define PC_LIB_CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct pc_clock {
	__u64 jiffies;
	__u64 now;
} __attribute__((aligned(64)));

/* Private to the program: neither pinned nor read by user space. */
static volatile struct pc_clock pc_clock;

static __always_inline __u64 pc_clock_now(void)
{
	__u64 jiffies = bpf_jiffies64();
	__u64 now;

	if (__builtin_expect(pc_clock.jiffies == jiffies, 1))
		return pc_clock.now;
	now = bpf_ktime_get_coarse_ns();
	pc_clock.now = now;
	pc_clock.jiffies = jiffies;
	return now;
}

#endif
