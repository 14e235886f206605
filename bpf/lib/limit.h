/* SPDX-License-Identifier: MIT */
/*
 * A rate limit in one time stamp (GCRA, ITU-T I.371), for the kernel program and for unit tests. No
 * I/O, time is passed in.
 */
#ifndef PC_LIB_LIMIT_H
#define PC_LIB_LIMIT_H

#include <linux/types.h>
#include <stdbool.h>

#include "abi/relay.h"

/*
 * Whether one more may pass at @now, all in nanoseconds: on average one per @interval, and a burst
 * of as many as fit @burst, at least one. Two CPUs at the same moment may admit one too many.
 */
static inline __attribute__((always_inline, unused)) bool pc_limit_admit(struct pc_limit *limit,
									 __u64 now, __u32 interval,
									 __u32 burst)
{
	__u64 tat = limit->tat_ns > now ? limit->tat_ns : now;

	tat += interval;
	if (tat - now > (burst > interval ? burst : interval))
		return false;
	limit->tat_ns = tat;
	return true;
}

#endif
