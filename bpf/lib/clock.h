/* SPDX-License-Identifier: MIT */
/*
 * The time, in nanoseconds of CLOCK_MONOTONIC, as fine as a tick. Asking the kernel costs more than
 * a map lookup, and its coarse clock moves only when jiffies do: each CPU asks once per tick.
 */
#ifndef PC_LIB_CLOCK_H
#define PC_LIB_CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct pc_clock {
	__u64 jiffies;
	__u64 now;
};

/* Private to the program: neither pinned nor read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pc_clock);
} pc_clock SEC(".maps");

static __always_inline __u64 pc_clock_now(void)
{
	__u32 zero = 0;
	struct pc_clock *clock = bpf_map_lookup_elem(&pc_clock, &zero);
	__u64 jiffies = bpf_jiffies64();

	if (!clock)
		return bpf_ktime_get_coarse_ns();
	if (clock->jiffies != jiffies) {
		clock->now = bpf_ktime_get_coarse_ns();
		clock->jiffies = jiffies;
	}
	return clock->now;
}

#endif
