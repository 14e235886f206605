/* SPDX-License-Identifier: MIT */
/*
 * Where a flow lies in pc3_hot4 and pc3_hot6, for the kernel program, for user space that fills it,
 * and for tests. No I/O.
 *
 * The kernel's own hash map costs more than all of the rest of a packet: it is called, hashes word
 * by word, and compares by another call. Two multiplications and a compare in line do the same. The
 * top bits of a product depend on all bits of what was multiplied. Who makes sets overflow gains
 * nothing: the flows that find no place are found in pc3_flow4 and pc3_flow6.
 */
#ifndef PC_LIB_HOT_H
#define PC_LIB_HOT_H

#include <linux/types.h>

#include "abi/relay.h"

#define PC_HOT_INLINE static inline __attribute__((always_inline, unused))
/* Sets are a power of two, at most 2^24. */
#define PC_HOT_SETS_MIN 16u
#define PC_HOT_SETS_MAX (1u << 24)

/* The set of a key that lies in two words, out of 2^(64 - shift). */
PC_HOT_INLINE __u64 pc_hot_set(__u64 first, __u64 second, __u32 shift)
{
	return (first * 0x9e3779b97f4a7c15ull ^ second * 0xc2b2ae3d27d4eb4full) >> shift;
}

/* The same of five words: both addresses, and ports and channel. */
PC_HOT_INLINE __u64 pc_hot_set6(const __u64 addrs[4], __u64 tail, __u32 shift)
{
	return pc_hot_set(
		addrs[0] ^ addrs[1] * 0xff51afd7ed558ccdull,
		tail ^ addrs[2] * 0xc4ceb9fe1a85ec53ull ^ addrs[3] * 0xd6e8feb86659fd93ull, shift);
}

/* Sets for so many entries, at least half of them. */
PC_HOT_INLINE __u32 pc_hot_sets(__u64 entries)
{
	__u32 sets = PC_HOT_SETS_MIN;

	while (sets < PC_HOT_SETS_MAX && (__u64)sets * PC_HOT_WAYS < entries)
		sets *= 2;
	return sets;
}

/* The shift that goes with a power of two. */
PC_HOT_INLINE __u32 pc_hot_shift_of(__u32 sets)
{
	__u32 shift = 64;

	while (sets >>= 1)
		shift--;
	return shift;
}

#endif
