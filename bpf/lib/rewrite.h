/* SPDX-License-Identifier: MIT */
/*
 * Turns the packet that came into the packet that goes out. Everything was decided before, in a
 * plan; the first modification (adjust_head) is the last step that can fail without harm.
 *
 * Headers are read and written in words of four and eight bytes: half the instructions, and the
 * program is nearly all of the cost of a packet.
 */
#ifndef PC_LIB_REWRITE_H
#define PC_LIB_REWRITE_H

#include "lib/csum.h"
#include "lib/parse.h"

#define PC_L2_PLAIN 14
#define PC_L2_TAG   4

/*
 * What is sent, and how. Filled by admission, from the flow, the packet and the next hop. The flow
 * is read where it lies: should its entry be given to another flow in these nanoseconds, the
 * checksum difference does not fit this packet, and the receiver drops it.
 */
struct pc_plan {
	const struct pc_flow *to; /* addresses, ports and channel of what is sent */
	const struct pc_nexthop *nh;
	__u32 payload;	 /* bytes, without ChannelData headers and padding */
	__u32 header_in; /* bytes of ChannelData header that come and go: 0 or 4 */
	__u32 header_out;
	__u32 l3_sum; /* differences of the checksums beyond those in `to`, unfolded */
	__u32 l4_sum;
	__u32 l2_len;
	bool redirect; /* to another interface */
};

/* Words of the old headers that are needed: the new ones may lie over them. */
struct pc_kept {
	union pc_word version_len; /* version, IHL, TOS; total length */
	union pc_word id_frag;
	union pc_word ttl_check; /* TTL, protocol; header checksum */
	union pc_word udp_len_check;
};

static __always_inline __u32 pc_plan_ip_len(const struct pc_plan *plan)
{
	return sizeof(struct iphdr) + sizeof(struct udphdr) + plan->header_out + plan->payload;
}

static __always_inline void pc_rewrite_keep(const struct pc_pkt *pkt, struct pc_kept *ret_kept)
{
	ret_kept->version_len.word = *pc_u32_at(pkt->ip, 0);
	ret_kept->id_frag.word = *pc_u32_at(pkt->ip, 4);
	ret_kept->ttl_check.word = *pc_u32_at(pkt->ip, 8);
	ret_kept->udp_len_check.word = *pc_u32_at(pkt->udp, 4);
}

/* Link header from the next hop: 14 bytes, and 4 more for each tag. */
static __always_inline void pc_rewrite_link(void *data, const struct pc_nexthop *nh, __u32 l2_len)
{
	const void *l2 = nh->l2;

	*pc_u32_at(data, 0) = *pc_u32_at(l2, 0);
	*pc_u32_at(data, 4) = *pc_u32_at(l2, 4);
	*pc_u32_at(data, 8) = *pc_u32_at(l2, 8);
	*pc_u16_at(data, 12) = *pc_u16_at(l2, 12);
	if (l2_len > PC_L2_PLAIN)
		*pc_u32_at(data, 14) = *pc_u32_at(l2, 14);
	if (l2_len > PC_L2_PLAIN + PC_L2_TAG)
		*pc_u32_at(data, 18) = *pc_u32_at(l2, 18);
}

static __always_inline void pc_rewrite_ip(struct iphdr *ip, const struct pc_plan *plan,
					  struct pc_kept kept)
{
	__be16 tot_len = bpf_htons(pc_plan_ip_len(plan));
	__u32 sum = plan->l3_sum + plan->to->l3_diff;

	sum += pc_csum_diff16(kept.version_len.half[1], tot_len);
	kept.version_len.half[1] = tot_len;
	/* TTL is the first byte of its word, at least 2: taking 1 off it borrows nothing. */
	sum += pc_csum_gone16(bpf_htons(0x0100));
	kept.ttl_check.half[0] -= bpf_htons(0x0100);
	kept.ttl_check.half[1] = pc_csum_update(kept.ttl_check.half[1], sum);
	*pc_u32_at(ip, 0) = kept.version_len.word;
	*pc_u32_at(ip, 4) = kept.id_frag.word;
	*pc_u32_at(ip, 8) = kept.ttl_check.word;
	*pc_u32_at(ip, 12) = plan->to->saddr[0];
	*pc_u32_at(ip, 16) = plan->to->daddr[0];
}

static __always_inline bool pc_rewrite_udp(struct udphdr *udp, const void *end,
					   const struct pc_plan *plan, struct pc_kept kept)
{
	union pc_word *old = &kept.udp_len_check;
	__be16 len = bpf_htons(sizeof(struct udphdr) + plan->header_out + plan->payload);
	/* The length counts twice: in the pseudo header and in the header itself. */
	__u32 sum = plan->l4_sum + plan->to->l4_diff + 2 * pc_csum_diff16(old->half[0], len);
	void *header = udp + 1;

	if (plan->header_out) {
		union pc_word channel_len = { .half[0] = plan->to->channel };

		if (header + sizeof(struct pc_channel_data) > end)
			return false;
		channel_len.half[1] = bpf_htons(plan->payload);
		sum += channel_len.half[1];
		*pc_u32_at(header, 0) = channel_len.word;
	}
	old->half[0] = len;
	old->half[1] = pc_csum_update_udp(old->half[1], sum);
	*pc_u32_at(udp, 0) = *pc_u32_at(&plan->to->sport, 0);
	*pc_u32_at(udp, 4) = old->word;
	return true;
}

/* Cuts the frame to what is sent: no Ethernet padding, no padding of ChannelData. */
static __always_inline bool pc_rewrite_trim(struct xdp_md *ctx, const struct pc_plan *plan)
{
	__u32 have = ctx->data_end - ctx->data;
	__u32 want = plan->l2_len + pc_plan_ip_len(plan);

	if (have == want)
		return true;
	return have > want && !bpf_xdp_adjust_tail(ctx, (int)(want - have));
}

/*
 * PC_REASON_TX when the packet is ready to be sent, by whatever way; PASS_HEADROOM when nothing was
 * touched; DROP_INTERNAL when it can go neither back nor on.
 */
static __always_inline enum pc_reason pc_rewrite(struct xdp_md *ctx, const struct pc_pkt *pkt,
						 const struct pc_plan *plan)
{
	__u32 l2_in = (void *)pkt->ip - pkt->data;
	int grow = (int)(plan->l2_len + plan->header_out) - (int)(l2_in + plan->header_in);
	__u32 l2_len = plan->l2_len;
	struct pc_kept kept;
	struct iphdr *ip;
	struct udphdr *udp;
	void *data, *end;

	pc_rewrite_keep(pkt, &kept);
	if (grow && bpf_xdp_adjust_head(ctx, -grow))
		return PC_REASON_PASS_HEADROOM;
	if (!pc_rewrite_trim(ctx, plan))
		return PC_REASON_DROP_INTERNAL;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	/* Admission allows 14, 18 and 22; the compiler forgets what it knew, the verifier asks. */
	asm volatile("%0 &= 31" : "+r"(l2_len));
	ip = data + l2_len;
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) > end || data + PC_L2_MAX > end)
		return PC_REASON_DROP_INTERNAL;
	pc_rewrite_link(data, plan->nh, l2_len);
	pc_rewrite_ip(ip, plan, kept);
	return pc_rewrite_udp(udp, end, plan, kept) ? PC_REASON_TX : PC_REASON_DROP_INTERNAL;
}

#endif
