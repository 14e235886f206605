/* SPDX-License-Identifier: MIT */
/*
 * The lean way of ChannelData between two clients of this node: ChannelData comes and ChannelData
 * goes, one family on both sides and between them, no padding, both flows in pc4_hot4 or pc4_hot6.
 * The frame keeps its length and is written where it lies; two have to pay, so it goes in three
 * steps, as frames of pipes do (lib/pipe_lean.h). What is not so is left to lib/job.h, untouched.
 */
#ifndef PC_LIB_LEAN_HAIRPIN_H
#define PC_LIB_LEAN_HAIRPIN_H

#include "lib/pipe_lean.h"

/* Whether a flow is half of a hairpin of this family: with PC_FLOW_UP the first, else the second.
 */
static __always_inline bool pc_hairpin_half(const struct pc_flow *flow, __u16 up, bool six)
{
	/* The first has to say that it is one; the second may be a channel to anybody. */
	__u16 want = up | (up ? PC_FLOW_HAIRPIN : 0) | (six ? PC_FLOW_OUT6 : 0);
	__u16 mask = PC_FLOW_UP | PC_FLOW_OUT6 | PC_FLOW_PIPE | PC_FLOW_PERM |
		     (up ? PC_FLOW_HAIRPIN : 0);

	return (flow->flags & mask) == want && pc_clock_now() < flow->expires_ns;
}

/* The second flow: of what the first one sends. */
static __always_inline struct pc_flow *pc_hairpin_second(const struct pc_flow *first, bool six)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(&first->sport, 0) };

	return six ? pc_find_hot6(first->saddr, tail.word)
		   : pc_find_hot4(pc_pair(first->saddr[0], first->daddr[0]), tail.word);
}

/* What is to be sent and paid for. */
static __always_inline enum pc_reason pc_hairpin_job(const struct pc_flow *first,
						     const struct pc_flow *second,
						     const struct pc_nexthop *nh, __u32 payload,
						     __u8 tos, bool six)
{
	struct pc_job *job = pc_job_get();

	if (pc_unlikely(!job))
		return PC_REASON_PASS_UNUSUAL;
	*pc_u64_at(job->l2, 0) = *pc_u64_at(nh->l2, 0);
	*pc_u32_at(job->l2, 8) = *pc_u32_at(nh->l2, 8);
	job->flow = *second;
	job->flow.l3_diff = pc_csum_fold((__u32)first->l3_diff + second->l3_diff);
	job->flow.l4_diff = pc_csum_fold((__u32)first->l4_diff + second->l4_diff);
	job->up_slot = first->slot;
	job->up_tenant = first->tenant;
	job->down_slot = second->slot;
	job->plan.payload = payload;
	job->plan.head_out = PC_CHANNEL_HEADER;
	job->plan.pad_out = 0;
	job->plan.up_wire = pc_lean_wire(payload, true, six);
	job->plan.tos = tos;
	return PC_REASON_TX;
}

static __always_inline enum pc_reason pc_hairpin_find_as(struct xdp_md *ctx, bool six)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	union pc_key_tail tail = {};
	struct pc_flow *first, *second;
	const struct pc_nexthop *nh;
	union pc_word head;
	__u32 payload;

	if (pc_unlikely(data + pc_lean_head_at(six) + PC_CHANNEL_HEADER > end))
		return PC_REASON_PASS_UNUSUAL;
	head.word = *pc_u32_at(data, pc_lean_head_at(six));
	payload = bpf_ntohs(head.half[1]);
	if (pc_unlikely(pc_lean_udp_len(data, six) !=
			payload + sizeof(struct udphdr) + PC_CHANNEL_HEADER))
		return PC_REASON_PASS_UNUSUAL;
	tail.ports = *pc_u32_at(data, pc_lean_ports_at(six));
	tail.channel = head.half[0];
	first = six ? pc_find_hot6(data + PC_LEAN6_ADDRS, tail.word)
		    : pc_find_hot4(*pc_u64_at(data, PC_LEAN_ADDRS), tail.word);
	if (pc_unlikely(!first || !pc_hairpin_half(first, PC_FLOW_UP, six)))
		return PC_REASON_PASS_UNUSUAL;
	second = pc_hairpin_second(first, six);
	if (pc_unlikely(!second || !second->channel || !pc_hairpin_half(second, 0, six) ||
			!pc_count_slot(first->slot) || !pc_count_slot(second->slot)))
		return PC_REASON_PASS_UNUSUAL;
	nh = pc_pipe_lean_nexthop(ctx, second->nexthop, pc_lean_wire(payload, false, six));
	if (pc_unlikely(!nh))
		return PC_REASON_PASS_UNUSUAL;
	return pc_hairpin_job(first, second, nh, payload, pc_lean_tos_of(data, six), six);
}

/*
 * The first step, for a frame that lib/lean.h or lib/lean6.h has read: PC_REASON_TX: the job says
 * what is to be done. PC_REASON_PASS_UNUSUAL: not for this way. The second is pc_pipe_lean_pay().
 */
static __noinline int pc_hairpin_find4(struct xdp_md *ctx)
{
	return pc_hairpin_find_as(ctx, false);
}

static __noinline int pc_hairpin_find6(struct xdp_md *ctx)
{
	return pc_hairpin_find_as(ctx, true);
}

static __always_inline bool pc_hairpin_write(struct xdp_md *ctx, const struct pc_job *job, bool six)
{
	void *data = (void *)(long)ctx->data, *udp = data + pc_lean_ports_at(six);
	__be16 check;

	if (data + pc_lean_head_at(six) + PC_CHANNEL_HEADER > (void *)(long)ctx->data_end)
		return false;
	*pc_u64_at(data, 0) = *pc_u64_at(job->l2, 0);
	*pc_u32_at(data, 8) = *pc_u32_at(job->l2, 8);
	if (six)
		pc_pipe_lean_ip6(data, &job->flow, job->plan.tos);
	else
		pc_pipe_lean_ip4(data, &job->flow, job->plan.tos);
	check = *pc_u16_at(udp, 6);
	*pc_u32_at(udp, 0) = *pc_u32_at(&job->flow.sport, 0);
	/* As in lib/lean.h: 1 more, and the complement of two. */
	if (pc_likely(check))
		*pc_u16_at(udp, 6) = -pc_lean_fold(pc_csum_gone16(check) + job->flow.l4_diff + 1);
	*pc_u16_at(udp, sizeof(struct udphdr)) = job->flow.channel;
	return true;
}

/* The third step. Both have paid. PC_REASON_TX: ready to be sent, and counted. */
static __noinline int pc_hairpin_out(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();
	struct pc_tally *up, *down;
	bool out, six;

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	six = job->flow.flags & PC_FLOW_OUT6;
	out = six ? pc_hairpin_write(ctx, job, true) : pc_hairpin_write(ctx, job, false);
	up = pc_count_slot(job->up_slot);
	down = pc_count_slot(job->down_slot);
	if (pc_unlikely(!out || !up || !down))
		return PC_REASON_DROP_INTERNAL;
	pc_count_packet(&up->up, job->plan.payload, job->plan.up_wire);
	pc_count_packet(&down->down, job->plan.payload, job->plan.up_wire + PC_CHANNEL_HEADER);
	return PC_REASON_TX;
}

static __always_inline enum pc_reason pc_lean_hairpin(struct xdp_md *ctx, bool six)
{
	enum pc_reason reason = six ? pc_hairpin_find6(ctx) : pc_hairpin_find4(ctx);

	if (pc_likely(reason == PC_REASON_TX))
		reason = pc_pipe_lean_pay();
	return pc_likely(reason == PC_REASON_TX) ? pc_hairpin_out(ctx) : reason;
}

#endif
