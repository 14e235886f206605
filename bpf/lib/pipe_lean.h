/* SPDX-License-Identifier: MIT */
/*
 * The lean way of pipes, beside those of lib/lean.h: one family on both sides, no VLAN tag, one
 * tenant who pays, out of the interface it came in on. The frame keeps its length, so it is written
 * where it lies. What is not so is left to lib/pipe_job.h, untouched, uncounted, and its counter
 * not taken.
 *
 * Nearly half of what a frame costs is its two tags. The second is worked out before the window is
 * asked: two chains without a barrier between them run side by side.
 */
#ifndef PC_LIB_PIPE_LEAN_H
#define PC_LIB_PIPE_LEAN_H

#include "lib/lean6.h"
#include "lib/pipe_job.h"

/* Whatever is not the plain case. */
#define PC_PIPE_NOT_LEAN (PC_PIPE_IN_PLAIN | PC_PIPE_OUT_PLAIN)

/* Where things lie, and what of the packet is needed. */
struct pc_pipe_lean {
	__u32 udp_len;
	__u32 wire;
	__u32 payload;
	__u8 tos;
};

static __always_inline __u32 pc_pipe_lean_udp(bool six)
{
	return six ? PC_LEAN6_PORTS : PC_LEAN_PORTS;
}

static __always_inline bool pc_pipe_lean_mine(const struct pc_pipe *pipe, const void *data,
					      bool six)
{
	struct pc_pkt pkt = { .ip = (void *)data + PC_LEAN_LINK,
			      .udp = (void *)data + pc_pipe_lean_udp(six) };

	return !(pipe->flags & PC_PIPE_NOT_LEAN) && !(pipe->flow.flags & PC_FLOW_OUT6) == !six &&
	       pipe->other_slot == PC_PIPE_NOBODY && pc_pipe_from(pipe, &pkt, six);
}

/* Where it goes, if by this way. @wire: of the packet, before and after. */
static __always_inline const struct pc_nexthop *pc_pipe_lean_nexthop(const struct xdp_md *ctx,
								     const struct pc_pipe *pipe,
								     __u32 wire)
{
	__u32 index = pipe->flow.nexthop;
	struct pc_nexthop_slot *slot = bpf_map_lookup_elem(&pc3_nexthop, &index);
	const struct pc_nexthop *nh;

	if (pc_unlikely(!slot))
		return NULL;
	nh = (*(volatile __u32 *)&slot->active & 1) ? &slot->copy[1] : &slot->copy[0];
	if (pc_unlikely(nh->ifindex != ctx->ingress_ifindex || nh->l2_len != PC_LEAN_LINK ||
			wire > nh->mtu))
		return NULL;
	return nh;
}

static __always_inline enum pc_reason pc_pipe_lean_charge(const struct pc_pipe *pipe,
							  struct pc_pipe_lean *lean, __u64 now)
{
	struct pc_count *count = pc_count_slot(pipe->flow.slot);
	bool up = pipe->flow.flags & PC_FLOW_UP;
	struct pc_side side = {
		.tenant = pipe->flow.tenant,
		.slot = pipe->flow.slot,
		.direction = up ? PC_RATE_UP : PC_RATE_DOWN,
		.payload = lean->payload,
		.wire = lean->wire,
	};
	enum pc_reason reason;

	if (pc_unlikely(!count))
		return PC_REASON_DROP_INTERNAL;
	reason = pc_toll_take(&side, now, &lean->tos);
	if (pc_unlikely(reason != PC_REASON_TX))
		pc_toll_count(side.slot, reason);
	else
		pc_count_packet(up ? &count->up : &count->down, lean->payload, lean->wire);
	return reason;
}

/* TOS, TTL and addresses over those that came. */
static __always_inline void pc_pipe_lean_ip4(void *data, const struct pc_flow *flow, __u8 tos)
{
	union pc_word type = { .word = *pc_u32_at(data, PC_LEAN_TYPE) };
	union pc_word ttl = { .word = *pc_u32_at(data, PC_LEAN_TTL) };
	__be16 was = type.half[1];

	type.half[1] = bpf_htons(PC_IP_PLAIN << 8 | tos);
	/* TTL and protocol, at least 2 before: nothing is borrowed; then the checksum. */
	ttl.half[0] -= bpf_htons(0x0100);
	ttl.half[1] = ~pc_lean_fold(pc_csum_gone16(ttl.half[1]) + flow->l3_diff +
				    pc_csum_diff16(was, type.half[1]) +
				    pc_csum_gone16(bpf_htons(0x0100)));
	*pc_u32_at(data, PC_LEAN_TYPE) = type.word;
	*pc_u32_at(data, PC_LEAN_TTL) = ttl.word;
	*pc_u64_at(data, PC_LEAN_ADDRS) = pc_pair(flow->saddr[0], flow->daddr[0]);
}

/* No flow label, as on the longer ways. */
static __always_inline void pc_pipe_lean_ip6(void *data, const struct pc_flow *flow, __u8 tos)
{
	*pc_u32_at(data, PC_LEAN6_TYPE) =
		bpf_htonl(ETH_P_IPV6 << 16 | PC_IP6_VERSION << 12 | tos << 4);
	*pc_u16_at(data, PC_LEAN6_LEN - 2) = 0;
	*(__u8 *)(data + PC_LEAN6_LEN + 3) -= 1;
#pragma unroll
	for (int i = 0; i < 4; i++)
		*pc_u64_at(data, PC_LEAN6_ADDRS + 8 * i) = *pc_u64_at(flow->saddr, 8 * i);
}

/* @l4_sum: what the tag makes of the checksum. */
static __always_inline void pc_pipe_lean_write(void *data, const struct pc_flow *flow,
					       const struct pc_nexthop *nh, __u8 tos, __u32 l4_sum,
					       bool six)
{
	void *udp = data + pc_pipe_lean_udp(six);
	__be16 check = *pc_u16_at(udp, 6);

	*pc_u64_at(data, 0) = *pc_u64_at(nh->l2, 0);
	*pc_u32_at(data, 8) = *pc_u32_at(nh->l2, 8);
	if (six)
		pc_pipe_lean_ip6(data, flow, tos);
	else
		pc_pipe_lean_ip4(data, flow, tos);
	*pc_u32_at(udp, 0) = *pc_u32_at(&flow->sport, 0);
	/* As in lib/lean.h: 1 more, and the complement of two, so that zero comes out as 0xffff. */
	if (pc_likely(check))
		*pc_u16_at(udp, 6) =
			-pc_lean_fold(pc_csum_gone16(check) + flow->l4_diff + l4_sum + 1);
}

/* Tags, window, limits, and the frame is another. @at: its header. */
static __always_inline enum pc_reason pc_pipe_lean_go(void *data, struct pc_pipe *pipe,
						      const struct pc_nexthop *nh,
						      struct pc_pipe_lean *lean,
						      struct pc_pipe_head *head, __u64 now,
						      bool six)
{
	void *at = data + pc_pipe_lean_udp(six) + sizeof(struct udphdr);
	__u64 tag = head->tag, counter = head->counter;
	enum pc_reason reason;
	__u32 l4_sum;

	if (pc_unlikely(pc_pipe_tag_of(pipe->in_key, head, lean->payload) != tag))
		return PC_REASON_DROP_PIPE_TAG;
	pc_pipe_next_hop(pipe, head, lean->payload);
	reason = pc_pipe_take(pipe->window, counter);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	reason = pc_pipe_lean_charge(pipe, lean, now);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	l4_sum = pc_csum_diff32((__u32)tag, (__u32)head->tag) +
		 pc_csum_diff32((__u32)(tag >> 32), (__u32)(head->tag >> 32));
	pc_pipe_lean_write(data, &pipe->flow, nh, lean->tos, l4_sum, six);
	*pc_u32_at(at, 4) = pipe->out;
	*pc_u64_at(at, 16) = head->tag;
	return PC_REASON_TX;
}

static __always_inline enum pc_reason pc_pipe_lean_as(struct xdp_md *ctx, bool six)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *udp = data + pc_pipe_lean_udp(six);
	__u64 now = pc_clock_now();
	const struct pc_nexthop *nh;
	struct pc_pipe_lean lean;
	struct pc_pipe_head head;
	struct pc_pipe *pipe;
	__u32 index;

	if (pc_unlikely(udp + sizeof(struct udphdr) + PC_PIPE_HEADER > end))
		return PC_REASON_PASS_UNUSUAL;
	lean.udp_len = bpf_ntohs(*pc_u16_at(udp, 4));
	lean.wire = lean.udp_len + pc_ip_header(six);
	lean.payload = lean.udp_len - sizeof(struct udphdr) - PC_PIPE_HEADER;
	lean.tos = six ? bpf_ntohs(*pc_u16_at(data, PC_LEAN6_TYPE + 2)) >> 4
		       : *(__u8 *)(data + PC_LEAN_TYPE + 3);
	pc_pipe_copy(&head, udp + sizeof(struct udphdr));
	if (pc_unlikely(!pc_pipe_well_formed(&head)))
		return PC_REASON_PASS_UNUSUAL;
	index = head.pipe;
	pipe = bpf_map_lookup_elem(&pc3_pipe, &index);
	if (pc_unlikely(!pipe || !pc_pipe_lean_mine(pipe, data, six) ||
			now >= pipe->flow.expires_ns))
		return PC_REASON_PASS_UNUSUAL;
	nh = pc_pipe_lean_nexthop(ctx, pipe, lean.wire);
	if (pc_unlikely(!nh))
		return PC_REASON_PASS_UNUSUAL;
	return pc_pipe_lean_go(data, pipe, nh, &lean, &head, now, six);
}

/*
 * A frame that lib/lean.h has read. PC_REASON_TX: ready to be sent, and counted for whom it is.
 * PC_REASON_PASS_UNUSUAL: not for this way. DROP_*.
 */
__noinline int pc_pipe_lean4(struct xdp_md *ctx)
{
	return pc_pipe_lean_as(ctx, false);
}

/* The same of lib/lean6.h. */
__noinline int pc_pipe_lean6(struct xdp_md *ctx)
{
	return pc_pipe_lean_as(ctx, true);
}

#endif
