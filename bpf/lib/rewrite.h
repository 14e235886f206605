/* SPDX-License-Identifier: MIT */
/*
 * Turns the packet that came into the packet that goes out. Everything was decided before, in a
 * plan; the first modification (adjust_head) is the last step that can fail without harm.
 */
#ifndef PC_LIB_REWRITE_H
#define PC_LIB_REWRITE_H

#include "lib/csum.h"
#include "lib/parse.h"

/* What is sent, and how. Filled by admission, from the flow, the packet and the next hop. */
struct pc_plan {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__be16 channel;	 /* of the header to write; 0: none */
	__u32 payload;	 /* bytes, without ChannelData headers and padding */
	__u32 header_in; /* bytes of ChannelData header that come and go: 0 or 4 */
	__u32 header_out;
	__u32 l3_sum; /* unfolded differences of the checksums */
	__u32 l4_sum;
	const struct pc_nexthop *nh;
	__u32 l2_len;
	__u32 ifindex;
	__u32 txport;
};

/* Fields of the old headers that are kept: the headers are overwritten where they lie. */
struct pc_kept {
	__u16 version_tos;
	__be16 id;
	__be16 frag_off;
	__be16 check;
	__be16 udp_check;
	__u8 ttl;
	__be16 tot_len;
	__be16 udp_len;
};

static __always_inline __u32 pc_plan_ip_len(const struct pc_plan *plan)
{
	return sizeof(struct iphdr) + sizeof(struct udphdr) + plan->header_out + plan->payload;
}

static __always_inline void pc_rewrite_keep(const struct pc_pkt *pkt, struct pc_kept *ret_kept)
{
	ret_kept->version_tos = *(__u16 *)pkt->ip;
	ret_kept->id = pkt->ip->id;
	ret_kept->frag_off = pkt->ip->frag_off;
	ret_kept->check = pkt->ip->check;
	ret_kept->ttl = pkt->ip->ttl;
	ret_kept->tot_len = pkt->ip->tot_len;
	ret_kept->udp_check = pkt->udp->check;
	ret_kept->udp_len = pkt->udp->len;
}

/* Link header from the next hop: 14 bytes, and 4 more for each tag. */
static __always_inline void pc_rewrite_link(void *data, const struct pc_plan *plan)
{
	const __u16 *from = (const __u16 *)plan->nh->l2;
	__u16 *to = data;

#pragma unroll
	for (int i = 0; i < 7; i++)
		to[i] = from[i];
	if (plan->l2_len > 14) {
		to[7] = from[7];
		to[8] = from[8];
	}
	if (plan->l2_len > 18) {
		to[9] = from[9];
		to[10] = from[10];
	}
}

static __always_inline void pc_rewrite_ip(struct iphdr *ip, const struct pc_plan *plan,
					  const struct pc_kept *kept)
{
	__be16 tot_len = bpf_htons(pc_plan_ip_len(plan));
	__u32 sum = plan->l3_sum + pc_csum_diff16(kept->tot_len, tot_len);

	/* TTL is the first byte of its word; taking 1 off it is adding the complement of that. */
	sum += pc_csum_gone16(bpf_htons(0x0100));
	*(__u16 *)ip = kept->version_tos;
	ip->tot_len = tot_len;
	ip->id = kept->id;
	ip->frag_off = kept->frag_off;
	ip->ttl = kept->ttl - 1;
	ip->protocol = IPPROTO_UDP;
	ip->check = pc_csum_update(kept->check, sum);
	ip->saddr = plan->saddr;
	ip->daddr = plan->daddr;
}

static __always_inline bool pc_rewrite_udp(struct udphdr *udp, const void *end,
					   const struct pc_plan *plan, const struct pc_kept *kept)
{
	struct pc_channel_data *header = (void *)(udp + 1);
	__be16 len = bpf_htons(sizeof(struct udphdr) + plan->header_out + plan->payload);
	/* The length counts twice: in the pseudo header and in the header itself. */
	__u32 sum = plan->l4_sum + 2 * pc_csum_diff16(kept->udp_len, len);

	if (plan->header_out) {
		if ((const void *)(header + 1) > end)
			return false;
		header->channel = plan->channel;
		header->length = bpf_htons(plan->payload);
		sum += header->length;
	}
	udp->source = plan->sport;
	udp->dest = plan->dport;
	udp->len = len;
	udp->check = pc_csum_update_udp(kept->udp_check, sum);
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
	pc_rewrite_link(data, plan);
	pc_rewrite_ip(ip, plan, &kept);
	return pc_rewrite_udp(udp, end, plan, &kept) ? PC_REASON_TX : PC_REASON_DROP_INTERNAL;
}

#endif
