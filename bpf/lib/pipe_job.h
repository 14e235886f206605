/* SPDX-License-Identifier: MIT */
/*
 * Frames of pipes, any families, any way out: judged and made into a job, which lib/job.h charges
 * and sends. Each function is verified on its own and asks for the job again: together with the
 * limits of tenants they must not take more stack than Linux 6.1 allows.
 */
#ifndef PC_LIB_PIPE_JOB_H
#define PC_LIB_PIPE_JOB_H

#include "lib/job.h"
#include "lib/pipe.h"
#include "lib/window.h"

_Static_assert(PC_PIPE_NOBODY == PC_NO_SLOT, "nobody has no slot");

/* Whether a packet comes from the pipe's peer, to the address it was told. */
static __always_inline bool pc_pipe_from(const struct pc_pipe *pipe, const struct pc_pkt *pkt,
					 bool six)
{
	const void *addrs = pc_pkt_addrs(pkt, six), *want = pipe->saddr;

	if (!(pipe->flags & PC_PIPE_IN6) == six ||
	    *pc_u32_at(&pipe->sport, 0) != *pc_u32_at(&pkt->udp->source, 0))
		return false;
	if (!six)
		return *pc_u64_at(addrs, 0) == pc_pair(pipe->saddr[0], pipe->daddr[0]);
	return *pc_u64_at(addrs, 0) == *pc_u64_at(want, 0) &&
	       *pc_u64_at(addrs, 8) == *pc_u64_at(want, 8) &&
	       *pc_u64_at(addrs, 16) == *pc_u64_at(want, 16) &&
	       *pc_u64_at(addrs, 24) == *pc_u64_at(want, 24);
}

static __always_inline void pc_pipe_copy(struct pc_pipe_head *to, const void *from)
{
	to->first = *pc_u64_at(from, 0);
	to->counter = *pc_u64_at(from, 8);
	to->tag = *pc_u64_at(from, 16);
}

/* All that lib/job.h has to know. The sums of the plan are those of the headers beside the flow. */
static __always_inline void pc_pipe_plan(struct pc_job *job, const struct pc_pipe *pipe, __u8 tos)
{
	bool up = pipe->flow.flags & PC_FLOW_UP, out6 = pipe->flow.flags & PC_FLOW_OUT6;
	struct pc_plan *plan = &job->plan;

	job->flow = pipe->flow;
	job->up_slot = up ? pipe->flow.slot : pipe->other_slot;
	job->up_tenant = up ? pipe->flow.tenant : pipe->other_tenant;
	job->down_slot = up ? pipe->other_slot : pipe->flow.slot;
	job->flow.tenant = up ? pipe->other_tenant : pipe->flow.tenant;
	plan->tos = tos;
	plan->up_wire = pc_plan_ip_len(plan, out6);
}

/* @counter: big-endian. */
static __always_inline enum pc_reason pc_pipe_take(__u32 window, __u64 counter)
{
	struct pc_window *w = bpf_map_lookup_elem(&pc4_window, &window);

	return w && pc_window_take(w, pc_pipe_be64(counter)) ? PC_REASON_TX : PC_REASON_DROP_REPLAY;
}

static __always_inline enum pc_reason pc_pipe_read_as(struct xdp_md *ctx, struct pc_job *job,
						      bool six)
{
	struct pc_pipe_head *head = &job->head;
	struct pc_plan *plan = &job->plan;
	enum pc_reason reason;
	struct pc_pipe *pipe;
	struct pc_pkt pkt;
	__u32 index;

	if (pc_unlikely(!pc_job_packet(ctx, job, &pkt, six)))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(job->udp_len < sizeof(struct udphdr) + PC_PIPE_HEADER ||
			(void *)(pkt.udp + 1) + PC_PIPE_HEADER > pkt.data_end))
		return PC_REASON_DROP_LENGTH;
	pc_pipe_copy(head, pkt.udp + 1);
	if (pc_unlikely(!pc_pipe_well_formed(head)))
		return PC_REASON_DROP_MALFORMED;
	index = head->pipe;
	pipe = bpf_map_lookup_elem(&pc4_pipe, &index);
	if (pc_unlikely(!pipe || (pipe->flags & PC_PIPE_IN_PLAIN)))
		return PC_REASON_PASS_NO_FLOW;
	if (pc_unlikely(!pc_pipe_from(pipe, &pkt, six)))
		return PC_REASON_DROP_PIPE_SOURCE;
	plan->payload = job->udp_len - sizeof(struct udphdr) - PC_PIPE_HEADER;
	reason = pc_pipe_judge(pipe, head, plan->payload, pc_pkt_ttl(&pkt, six), pc_clock_now());
	if (reason == PC_REASON_TX)
		reason = pc_pipe_take(pipe->window, head->counter);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	plan->head_in = PC_PIPE_HEADER;
	job->window = pipe->window;
	if (pipe->flags & PC_PIPE_OUT_PLAIN) {
		plan->l4_sum = pc_csum_words_gone((const __be32 *)head, PC_PIPE_HEADER / 4);
	} else {
		plan->head_out = PC_PIPE_HEADER;
		plan->l4_sum = pc_csum_words_gone((const __be32 *)&head->tag, 2);
		pc_pipe_next_hop(pipe, head, plan->payload);
		plan->l4_sum += pc_csum_words((const __be32 *)&head->tag, 2);
	}
	pc_pipe_plan(job, pipe, pc_pkt_tos(&pkt, six));
	return PC_REASON_TX;
}

/* PC_REASON_TX: its counter was taken, and the job says what is to be sent. */
__noinline int pc_pipe_read(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	return job->six ? pc_pipe_read_as(ctx, job, true) : pc_pipe_read_as(ctx, job, false);
}

/* The frame passes to user space, which asks the window again. */
__noinline int pc_pipe_give_back(void)
{
	struct pc_job *job = pc_job_get();
	struct pc_window *w;
	__u32 window;

	if (!job)
		return 0;
	window = job->window;
	w = bpf_map_lookup_elem(&pc4_window, &window);
	if (w)
		pc_window_give_back(w, pc_pipe_be64(job->head.counter));
	return 0;
}

/*
 * A frame to a service port. Returns the reason it leaves with. PC_REASON_PASS_NO_FLOW: no pipe of
 * the program's has this number, and it is a stranger's.
 */
__noinline int pc_pipe_frame(struct xdp_md *ctx, __u32 l2_len, __u32 udp_len, __u32 six)
{
	struct pc_job *job = pc_job_new(l2_len, udp_len, &(struct pc_plan){}, six);
	enum pc_reason reason;

	if (!job)
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_pipe_read(ctx);
	if (reason != PC_REASON_TX)
		return reason;
	reason = pc_job_finish(ctx, job);
	if (pc_reason_passes(reason))
		pc_pipe_give_back();
	return reason;
}

static __always_inline enum pc_reason pc_pipe_begin_as(struct xdp_md *ctx, struct pc_job *job,
						       bool six)
{
	__u32 index = job->flow.saddr[0], window;
	struct pc_plan *plan = &job->plan;
	struct pc_window *w;
	struct pc_pipe *pipe;
	struct pc_pkt pkt;

	if (pc_unlikely(!pc_job_packet(ctx, job, &pkt, six)))
		return PC_REASON_PASS_UNUSUAL;
	pipe = bpf_map_lookup_elem(&pc4_pipe, &index);
	/* Else it was closed in this moment. */
	if (pc_unlikely(!pipe || !(pipe->flags & PC_PIPE_IN_PLAIN)))
		return PC_REASON_DROP_NO_PERMISSION;
	if (pc_unlikely(pc_clock_now() >= pipe->flow.expires_ns))
		return PC_REASON_DROP_PIPE_EXPIRED;
	if (pc_unlikely(pc_pkt_ttl(&pkt, six) <= 1))
		return PC_REASON_DROP_TTL;
	window = pipe->window;
	w = bpf_map_lookup_elem(&pc4_window, &window);
	if (pc_unlikely(!w))
		return PC_REASON_DROP_INTERNAL;
	pc_pipe_first_hop(pipe, &job->head, pc_window_next(w), plan->payload);
	plan->head_out = PC_PIPE_HEADER;
	plan->l4_sum = pc_csum_words((const __be32 *)&job->head, PC_PIPE_HEADER / 4);
	pc_pipe_plan(job, pipe, pc_pkt_tos(&pkt, six));
	return PC_REASON_TX;
}

/* On a relayed port where a pipe begins for its source. The payload is in the plan. */
__noinline int pc_pipe_begin(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	return job->six ? pc_pipe_begin_as(ctx, job, true) : pc_pipe_begin_as(ctx, job, false);
}

/* On a relayed port: to a tenant by a channel, from a peer of another family; or into a pipe. */
static __noinline int pc_relay_mixed(struct xdp_md *ctx, struct pc_job *job)
{
	enum pc_reason reason;

	if (!job || (job->flow.flags & PC_FLOW_UP))
		return PC_REASON_PASS_UNUSUAL;
	reason = job->flow.flags & PC_FLOW_PIPE ? pc_pipe_begin(ctx) : pc_job_plan_down(ctx, job);
	return reason == PC_REASON_TX ? pc_job_finish(ctx, job) : reason;
}

#endif
