/* SPDX-License-Identifier: MIT */
/*
 * Internet checksum by difference (RFC 1071, RFC 1624 equation 3), for the kernel program, for user
 * space and for unit tests. No I/O.
 *
 * Words are taken as they lie in the packet, by plain 16-bit loads: one's complement addition does
 * not mind the byte order as long as every word has the same. A "difference" is the one's
 * complement sum of (new - old). Unfolded sums are 32 bits wide and hold 65 536 terms.
 */
#ifndef PC_LIB_CSUM_H
#define PC_LIB_CSUM_H

#include <linux/types.h>

#include "abi/relay.h"

#define PC_CSUM_INLINE static inline __attribute__((always_inline, unused))

/* A 32-bit sum of 16-bit words, folded to 16 bits. Zero only if the sum is zero. */
PC_CSUM_INLINE __u16 pc_csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* Unfolded difference of one 16-bit word that changes from `from` to `to`. */
PC_CSUM_INLINE __u32 pc_csum_diff16(__u16 from, __u16 to)
{
	return (__u32)(__u16)~from + to;
}

/* Unfolded difference of one 32-bit word, as it lies in the packet. */
PC_CSUM_INLINE __u32 pc_csum_diff32(__u32 from, __u32 to)
{
	__u32 gone = ~from;

	return (gone & 0xffff) + (gone >> 16) + (to & 0xffff) + (to >> 16);
}

/* Unfolded difference of a 16-bit word that is taken out. */
PC_CSUM_INLINE __u32 pc_csum_gone16(__u16 from)
{
	return (__u16)~from;
}

/*
 * The 16-bit word of one byte at offset `at` of the summed data, the other byte zero:
 * an even offset is the first byte of its word in memory.
 */
PC_CSUM_INLINE __u16 pc_csum_byte(__u8 byte, __u32 at)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u16)((at & 1) ? byte << 8 : byte);
#else
	return (__u16)((at & 1) ? byte : byte << 8);
#endif
}

/*
 * A checksum field after a change of `diff` (unfolded, at most 0xfffe0000).
 * A wrong checksum stays wrong by the same amount.
 */
PC_CSUM_INLINE __u16 pc_csum_update(__u16 check, __u32 diff)
{
	return (__u16)~pc_csum_fold((__u32)(__u16)~check + diff);
}

/* The same for UDP over IPv4: zero means "no checksum" and stays, a result of zero is sent as
 * 0xffff. */
PC_CSUM_INLINE __u16 pc_csum_update_udp(__u16 check, __u32 diff)
{
	__u16 updated;

	if (!check)
		return 0;
	updated = pc_csum_update(check, diff);
	return updated ? updated : 0xffff;
}

/* A sum of 32-bit words as one of 16-bit words, at most 0x1ffff. Zero only if the sum is zero. */
PC_CSUM_INLINE __u32 pc_csum_halves(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)((sum & 0xffff) + (sum >> 16));
}

/* Unfolded sum of `n` 32-bit words, as they lie in the packet. */
PC_CSUM_INLINE __u32 pc_csum_words(const __be32 *words, int n)
{
	__u64 sum = 0;

	for (int i = 0; i < n; i++)
		sum += words[i];
	return pc_csum_halves(sum);
}

/* The same words, taken out. */
PC_CSUM_INLINE __u32 pc_csum_words_gone(const __be32 *words, int n)
{
	__u64 sum = n * 0xffffffffull;

	for (int i = 0; i < n; i++)
		sum -= words[i];
	return pc_csum_halves(sum);
}

/* What is sent, as far as the flow knows it: addresses of its family, ports, channel number. */
PC_CSUM_INLINE __u32 pc_csum_flow_out(const struct pc_flow *flow)
{
	int words = flow->flags & PC_FLOW_OUT6 ? 4 : 1;

	return pc_csum_words(flow->saddr, words) + pc_csum_words(flow->daddr, words) + flow->sport +
	       flow->dport + flow->channel;
}

/*
 * Fills l3_diff and l4_diff of a flow from what arrives (`key`) and what is sent (the addresses,
 * ports, channel and flags in `flow`, which the caller has set). Of a ChannelData header the number
 * is in it, not the length. The rest of the pseudo header, length and protocol, adds up to the same
 * in both families.
 */
PC_CSUM_INLINE void pc_csum_flow4(const struct pc_flow4_key *key, struct pc_flow *flow)
{
	__u32 gone = pc_csum_words_gone(&key->saddr, 1) + pc_csum_words_gone(&key->daddr, 1);

	flow->l3_diff = 0;
	if (!(flow->flags & PC_FLOW_OUT6))
		flow->l3_diff = pc_csum_fold(gone + pc_csum_words(flow->saddr, 1) +
					     pc_csum_words(flow->daddr, 1));
	gone += pc_csum_gone16(key->sport) + pc_csum_gone16(key->dport) +
		pc_csum_gone16(key->channel);
	flow->l4_diff = pc_csum_fold(gone + pc_csum_flow_out(flow));
}

PC_CSUM_INLINE void pc_csum_flow6(const struct pc_flow6_key *key, struct pc_flow *flow)
{
	__u32 gone = pc_csum_words_gone(key->saddr, 4) + pc_csum_words_gone(key->daddr, 4);

	gone += pc_csum_gone16(key->sport) + pc_csum_gone16(key->dport) +
		pc_csum_gone16(key->channel);
	flow->l3_diff = 0;
	flow->l4_diff = pc_csum_fold(gone + pc_csum_flow_out(flow));
}

#endif
