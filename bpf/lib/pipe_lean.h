/* SPDX-License-Identifier: MIT */
/*
 * The lean way of pipes, beside those of lib/lean.h: one family on both sides, no VLAN tag, out of
 * the interface it came in on. The frame keeps its length, so it is written where it lies. What is
 * not so is left to lib/pipe_job.h, untouched, uncounted, and its counter not taken.
 *
 * One payer is charged at once. For two there is no stack left, next to their limits: the frame
 * goes by way of the job, in three steps.
 *
 * Nearly half of what a frame costs is its two tags. The second is worked out before the window is
 * asked: two chains without a barrier between them run side by side.
 */
#ifndef PC_LIB_PIPE_LEAN_H
#define PC_LIB_PIPE_LEAN_H

#include "lib/lean6.h"
#include "lib/pipe_job.h"

/* In place of a reason: the job says what is to be done. */
#define PC_PIPE_LEAN_JOB PC_REASON_COUNT

/* Beside the flow, what becomes of a packet. */
struct pc_pipe_lean {
	__u64 tag;
	__u32 payload;
	__u8 tos;
};

/* Headers of a packet around the payload. */
static __always_inline __u32 pc_pipe_lean_more(bool six)
{
	return pc_ip_header(six) + sizeof(struct udphdr) + PC_PIPE_HEADER;
}

/* --- writing --- */

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

static __always_inline void pc_pipe_lean_write(void *data, const struct pc_flow *flow,
					       const __u8 *l2, const struct pc_pipe_lean *lean,
					       __be32 index, bool six)
{
	void *udp = data + pc_lean_ports_at(six), *head = udp + sizeof(struct udphdr);
	__u64 tag = *pc_u64_at(head, 16);
	__be16 check = *pc_u16_at(udp, 6);

	*pc_u64_at(data, 0) = *pc_u64_at(l2, 0);
	*pc_u32_at(data, 8) = *pc_u32_at(l2, 8);
	if (six)
		pc_pipe_lean_ip6(data, flow, lean->tos);
	else
		pc_pipe_lean_ip4(data, flow, lean->tos);
	*pc_u32_at(udp, 0) = *pc_u32_at(&flow->sport, 0);
	/* As in lib/lean.h: 1 more, and the complement of two, so that zero comes out as 0xffff. */
	if (pc_likely(check))
		*pc_u16_at(udp, 6) = -pc_lean_fold(pc_csum_gone16(check) + flow->l4_diff +
						   pc_csum_diff32(tag, lean->tag) +
						   pc_csum_diff32(tag >> 32, lean->tag >> 32) + 1);
	*pc_u32_at(head, 4) = index;
	*pc_u64_at(head, 16) = lean->tag;
}

/* --- one payer --- */

static __always_inline enum pc_reason pc_pipe_lean_charge(const struct pc_pipe *pipe,
							  struct pc_pipe_lean *lean, bool six)
{
	struct pc_tally *count = pc_count_slot(pipe->flow.slot);
	bool up = pipe->flow.flags & PC_FLOW_UP;
	struct pc_side side = {
		.tenant = pipe->flow.tenant,
		.slot = pipe->flow.slot,
		.tally = count,
		.direction = up ? PC_RATE_UP : PC_RATE_DOWN,
		.payload = lean->payload,
		.wire = lean->payload + pc_pipe_lean_more(six),
	};
	enum pc_reason reason;

	if (pc_unlikely(!count))
		return PC_REASON_DROP_INTERNAL;
	reason = pc_toll_take(&side, pc_clock_now(), &lean->tos);
	if (pc_unlikely(reason != PC_REASON_TX))
		pc_toll_count(side.slot, reason);
	else
		pc_count_packet(up ? &count->up : &count->down, lean->payload, side.wire);
	return reason;
}

/* --- two payers --- */

static __always_inline enum pc_reason pc_pipe_lean_job(const struct pc_pipe *pipe,
						       const struct pc_nexthop *nh,
						       const struct pc_pipe_lean *lean)
{
	struct pc_job *job = pc_job_get();

	if (pc_unlikely(!job))
		return PC_REASON_DROP_INTERNAL;
	*pc_u64_at(job->l2, 0) = *pc_u64_at(nh->l2, 0);
	*pc_u64_at(job->l2, 8) = *pc_u64_at(nh->l2, 8);
	job->head.pipe = pipe->out;
	job->head.tag = lean->tag;
	job->plan.payload = lean->payload;
	job->plan.head_out = PC_PIPE_HEADER;
	job->plan.pad_out = 0;
	pc_pipe_plan(job, pipe, lean->tos);
	return PC_PIPE_LEAN_JOB;
}

/* Charges both; or leaves both as they were. */
__noinline int pc_pipe_lean_pay(void)
{
	struct pc_job *job = pc_job_get();
	enum pc_reason reason = PC_REASON_DROP_INTERNAL;

	if (!job)
		return reason;
	reason = pc_job_charge(job, true);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	reason = pc_job_charge(job, false);
	if (pc_unlikely(reason != PC_REASON_TX))
		pc_job_undo(job, true);
	return reason;
}

static __always_inline bool pc_pipe_lean_out_as(struct xdp_md *ctx, const struct pc_job *job,
						bool six)
{
	void *data = (void *)(long)ctx->data;
	struct pc_pipe_lean lean = { .tag = job->head.tag, .tos = job->plan.tos };

	if (data + pc_lean_ports_at(six) + sizeof(struct udphdr) + PC_PIPE_HEADER >
	    (void *)(long)ctx->data_end)
		return false;
	pc_pipe_lean_write(data, &job->flow, job->l2, &lean, job->head.pipe, six);
	return true;
}

/* Both have paid. PC_REASON_TX: ready to be sent, and counted. */
__noinline int pc_pipe_lean_out(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();
	struct pc_tally *up, *down;
	bool out;

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	out = job->flow.flags & PC_FLOW_OUT6 ? pc_pipe_lean_out_as(ctx, job, true)
					     : pc_pipe_lean_out_as(ctx, job, false);
	up = pc_count_slot(job->up_slot);
	down = pc_count_slot(job->down_slot);
	if (pc_unlikely(!out || !up || !down))
		return PC_REASON_DROP_INTERNAL;
	pc_count_packet(&up->up, job->plan.payload, job->plan.up_wire);
	pc_count_packet(&down->down, job->plan.payload, job->plan.up_wire);
	return PC_REASON_TX;
}

/* --- judging --- */

static __always_inline bool pc_pipe_lean_mine(const struct pc_pipe *pipe, const void *data,
					      bool six)
{
	const struct pc_pkt pkt = pc_lean_pkt(data, six);

	return !(pipe->flags & (PC_PIPE_IN_PLAIN | PC_PIPE_OUT_PLAIN)) &&
	       !(pipe->flow.flags & PC_FLOW_OUT6) == !six && pc_pipe_from(pipe, &pkt, six);
}

/*
 * Where it goes, if by this way. @wire: of the packet, as sent on. pc_lean_admit() has the same
 * written out: with a call of this the program had 63 instructions more.
 */
static __always_inline const struct pc_nexthop *pc_pipe_lean_nexthop(const struct xdp_md *ctx,
								     __u32 index, __u32 wire)
{
	struct pc_nexthop_slot *slot = bpf_map_lookup_elem(&pc4_nexthop, &index);
	const struct pc_nexthop *nh;

	if (pc_unlikely(!slot))
		return NULL;
	nh = (*(volatile __u32 *)&slot->active & 1) ? &slot->copy[1] : &slot->copy[0];
	if (pc_unlikely(nh->ifindex != ctx->ingress_ifindex || nh->l2_len != PC_LEAN_LINK ||
			wire > nh->mtu))
		return NULL;
	return nh;
}

/* Tags and window. */
static __always_inline enum pc_reason pc_pipe_lean_prove(const struct pc_pipe *pipe,
							 struct pc_pipe_head *head,
							 struct pc_pipe_lean *lean)
{
	__u64 tag = head->tag, counter = head->counter;

	if (pc_unlikely(pc_pipe_tag_of(pipe->in_key, head, lean->payload) != tag))
		return PC_REASON_DROP_PIPE_TAG;
	pc_pipe_next_hop(pipe, head, lean->payload);
	lean->tag = head->tag;
	return pc_pipe_take(pipe->window, counter);
}

static __always_inline enum pc_reason pc_pipe_lean_as(struct xdp_md *ctx, bool six)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *udp = data + pc_lean_ports_at(six);
	const struct pc_nexthop *nh;
	struct pc_pipe_lean lean;
	struct pc_pipe_head head;
	enum pc_reason reason;
	struct pc_pipe *pipe;
	__u32 index;

	if (pc_unlikely(udp + sizeof(struct udphdr) + PC_PIPE_HEADER > end))
		return PC_REASON_PASS_UNUSUAL;
	pc_pipe_copy(&head, udp + sizeof(struct udphdr));
	if (pc_unlikely(!pc_pipe_well_formed(&head)))
		return PC_REASON_PASS_UNUSUAL;
	index = head.pipe;
	pipe = bpf_map_lookup_elem(&pc4_pipe, &index);
	if (pc_unlikely(!pipe || !pc_pipe_lean_mine(pipe, data, six) ||
			pc_clock_now() >= pipe->flow.expires_ns))
		return PC_REASON_PASS_UNUSUAL;
	lean.payload = pc_lean_udp_len(data, six) - sizeof(struct udphdr) - PC_PIPE_HEADER;
	nh = pc_pipe_lean_nexthop(ctx, pipe->flow.nexthop, lean.payload + pc_pipe_lean_more(six));
	if (pc_unlikely(!nh))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_pipe_lean_prove(pipe, &head, &lean);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	lean.tos = pc_lean_tos_of(data, six);
	if (pipe->other_slot != PC_PIPE_NOBODY)
		return pc_pipe_lean_job(pipe, nh, &lean);
	reason = pc_pipe_lean_charge(pipe, &lean, six);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	pc_pipe_lean_write(data, &pipe->flow, nh->l2, &lean, pipe->out, six);
	return PC_REASON_TX;
}

/*
 * A frame that lib/lean.h has read. PC_REASON_TX: ready to be sent, and counted.
 * PC_REASON_PASS_UNUSUAL: not for this way. PC_PIPE_LEAN_JOB: two have to pay. DROP_*.
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
