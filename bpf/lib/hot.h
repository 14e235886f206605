/* SPDX-License-Identifier: MIT */
/*
 * Where a flow lies in pc4_hot4 and pc4_hot6, for the kernel program, for user space that fills it,
 * and for tests. No I/O.
 *
 * The kernel's own hash map costs more than all of the rest of a packet: it is called, hashes word
 * by word, and compares by another call. Two multiplications and a compare in line do the same. The
 * top bits of a product depend on all bits of what was multiplied. Who makes sets overflow gains
 * nothing: the flows that find no place are found in pc4_flow4 and pc4_flow6.
 */
#ifndef PC_LIB_HOT_H
#define PC_LIB_HOT_H

#include <linux/types.h>

#include <stdbool.h>

#include "abi/relay.h"
#include "lib/csum.h"

#define PC_HOT_INLINE static inline __attribute__((always_inline, unused))
/* Sets are a power of two, at most 2^24. */
#define PC_HOT_SETS_MIN 16u
#define PC_HOT_SETS_MAX (1u << 24)
/* Second word of a free place, in a set that has a place for each flow that belongs there. */
#define PC_HOT_KNOWN (~0ull)

/*
 * The set of a key that lies in two words, out of 2^(64 - shift). The second product is of what the
 * first one mixed: two products side by side put neighbours' addresses and ports into few sets.
 */
PC_HOT_INLINE __u64 pc_hot_set(__u64 first, __u64 second, __u32 shift)
{
	__u64 mixed = first * 0x9e3779b97f4a7c15ull;

	return ((mixed ^ mixed >> 32 ^ second) * 0xc2b2ae3d27d4eb4full) >> shift;
}

/*
 * The same of five words: source, destination, ports and channel. The destination is an address of
 * this node, of which there are few: it would spread nothing.
 */
PC_HOT_INLINE __u64 pc_hot_set6(const __u64 addrs[4], __u64 tail, __u32 shift)
{
	__u64 host = addrs[1] ^ addrs[1] >> 32;

	return pc_hot_set(addrs[0] ^ host * 0xff51afd7ed558ccdull, tail, shift);
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

/* --- permissions --- */

/*
 * A permission lies there under a key of the packets it is for: in place of the channel, and of
 * the half behind it, is what tells the peer's address. That half is never zero, as it is in keys
 * of flows. From peers: all ones, and no source port, for it may be any.
 */
#define PC_HOT_FROM_PEER 0xffffffffu

union pc_hot_tag {
	__u32 word;
	struct {
		__be16 channel;
		__u16 reserved;
	};
};

/* The upper half of an address, which comes last, is no zero but for addresses that are nobody's.
 */
PC_HOT_INLINE __u32 pc_hot_peer4(__be32 peer)
{
	return peer << 16 | peer >> 16;
}

/* Peers of one client may share it: daddr of the flow tells. */
PC_HOT_INLINE __u32 pc_hot_peer6(__u64 first, __u64 second)
{
	return (__u32)((first ^ second * 0xff51afd7ed558ccdull) * 0x9e3779b97f4a7c15ull >> 32) |
	       0x00010001;
}

/* The permission as a flow, but for the port of the peer, which is not in it. */
PC_HOT_INLINE void pc_hot_flow(const struct pc_perm *perm, struct pc_flow *ret_flow)
{
	*ret_flow = (struct pc_flow){
		.expires_ns = perm->expires_ns,
		.saddr = { perm->saddr[0], perm->saddr[1], perm->saddr[2], perm->saddr[3] },
		.daddr = { perm->daddr[0], perm->daddr[1], perm->daddr[2], perm->daddr[3] },
		.sport = perm->sport,
		.dport = perm->dport,
		.flags = perm->flags | PC_FLOW_PERM,
		.slot = perm->slot,
		.nexthop = perm->nexthop,
		.tenant = perm->tenant,
	};
}

/* An IPv4 address in an entry of pc4_perm6. */
PC_HOT_INLINE bool pc_hot_mapped(const __be32 addr[4])
{
	const __u8 *at = (const __u8 *)&addr[2];

	return !addr[0] && !addr[1] && !at[0] && !at[1] && at[2] == 0xff && at[3] == 0xff;
}

/* Where an entry of pc4_perm4 may lie, and as what; @perm NULL: only where. False: nowhere. */
PC_HOT_INLINE bool pc_hot_perm4(const struct pc_perm4_key *key, const struct pc_perm *perm,
				struct pc_flow4_key *ret_key, struct pc_flow *ret_flow)
{
	union pc_hot_tag tag = { .word = key->sport ? pc_hot_peer4(key->peer) : PC_HOT_FROM_PEER };
	struct pc_flow4_key at = {
		.saddr = key->saddr,
		.daddr = key->daddr,
		.sport = key->sport,
		.dport = key->dport,
	};

	if (!tag.reserved || (perm && perm->flags & PC_FLOW_HAIRPIN))
		return false;
	if (perm) {
		pc_hot_flow(perm, ret_flow);
		pc_csum_flow4(&at, ret_flow);
	}
	at.channel = tag.channel;
	at.reserved = tag.reserved;
	*ret_key = at;
	return true;
}

/* The same of pc4_perm6: none with an IPv4 address in it. */
PC_HOT_INLINE bool pc_hot_perm6(const struct pc_perm6_key *key, const struct pc_perm *perm,
				struct pc_flow6_key *ret_key, struct pc_flow *ret_flow)
{
	union pc_hot_tag tag = { .word = PC_HOT_FROM_PEER };
	struct pc_flow6_key at = { .sport = key->sport, .dport = key->dport };
	__u64 peer[2];

	if (pc_hot_mapped(key->saddr) || pc_hot_mapped(key->daddr) || pc_hot_mapped(key->peer) ||
	    (perm && (perm->flags & (PC_FLOW_HAIRPIN | PC_FLOW_OUT6)) != PC_FLOW_OUT6))
		return false;
	__builtin_memcpy(at.saddr, key->saddr, sizeof(at.saddr));
	__builtin_memcpy(at.daddr, key->daddr, sizeof(at.daddr));
	__builtin_memcpy(peer, key->peer, sizeof(peer));
	if (key->sport)
		tag.word = pc_hot_peer6(peer[0], peer[1]);
	if (perm) {
		pc_hot_flow(perm, ret_flow);
		pc_csum_flow6(&at, ret_flow);
	}
	at.channel = tag.channel;
	at.reserved = tag.reserved;
	*ret_key = at;
	return true;
}

#endif
