/* SPDX-License-Identifier: MIT */
/*
 * The general case: permissions, hairpins, mixed families. Functions that are not inlined are
 * verified each on its own, for any numbers in a job.
 */
#ifndef PC_LIB_JOB_H
#define PC_LIB_JOB_H

#include "lib/admit.h"
#include "lib/daemon.h"
#include "lib/find.h"
#include "lib/pipe.h"
#include "lib/ports.h"
#include "lib/send.h"
#include "lib/toll.h"

/*
 * A packet that is no plain case. The functions that are not inlined are verified each on its own,
 * for any numbers in here; so there are no pointers, and no gaps.
 */
struct pc_job {
	struct pc_flow flow; /* what is sent, as far as it is known; may be made of a permission */
	union pc_key key;    /* of what arrives, without a channel */
	struct pc_plan plan;
	__u32 up_slot, down_slot;
	__u32 up_tenant; /* that of the way down is in the flow */
	__u32 l2_len;
	__u32 udp_len;
	__u32 six;
	__u32 window; /* of the pipe that a frame came by */
	struct pc_pipe_head head;
	__u8 l2[16]; /* lib/pipe_lean.h: the link header to be sent, and two bytes more */
};

/* One for each CPU: the stack is too small. Private to the program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pc_job);
} pc_scratch SEC(".maps");

/* Asked for again by each function: Linux 6.1 takes no keys out of memory it is handed. */
static __always_inline struct pc_job *pc_job_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pc_scratch, &zero);
}

static __always_inline struct pc_job *pc_job_new(__u32 l2_len, __u32 udp_len,
						 const struct pc_plan *plan, bool six)
{
	struct pc_job *job = pc_job_get();

	if (!job)
		return NULL;
	job->plan = *plan;
	job->up_slot = job->down_slot = PC_NO_SLOT;
	job->up_tenant = 0;
	job->l2_len = l2_len;
	job->udp_len = udp_len;
	job->six = six;
	return job;
}

/* A flow that is no plain case. */
static __always_inline struct pc_job *pc_job_flow(const struct pc_pkt *pkt,
						  const struct pc_plan *plan,
						  const struct pc_flow *flow, bool six)
{
	struct pc_job *job = pc_job_new(pkt->l2_len, pkt->udp_len, plan, six);

	if (job)
		job->flow = *flow;
	return job;
}

/* The packet again, as it was parsed. False only for numbers that nobody writes. */
static __always_inline bool pc_job_packet(struct xdp_md *ctx, const struct pc_job *job,
					  struct pc_pkt *pkt, bool six)
{
	__u32 l2_len = job->l2_len;

	asm volatile("%0 &= 31" : "+r"(l2_len));
	pkt->data = (void *)(long)ctx->data;
	pkt->data_end = (void *)(long)ctx->data_end;
	pkt->ip = pkt->data + l2_len;
	pkt->udp = pkt->ip + pc_ip_header(six);
	pkt->l2_len = job->l2_len;
	pkt->udp_len = job->udp_len;
	return (void *)(pkt->udp + 1) <= pkt->data_end;
}

/* A Data indication names the peer: the source of what arrives. */
static __always_inline void pc_plan_indication(struct pc_plan *plan, const union pc_key *key,
					       bool six)
{
	struct pc_peer *peer = &plan->peer;

	peer->six = six;
	peer->port = six ? key->v6.sport : key->v4.sport;
	peer->addr[0] = six ? key->v6.saddr[0] : key->v4.saddr;
	if (six) {
		peer->addr[1] = key->v6.saddr[1];
		peer->addr[2] = key->v6.saddr[2];
		peer->addr[3] = key->v6.saddr[3];
	}
	plan->head_out = six ? PC_STUN_INDICATION6 : PC_STUN_INDICATION4;
	plan->pad_out = pc_stun_padding(plan->payload);
}

/* To a tenant who has no channel for the source in @job->key, but a permission. */
static __always_inline enum pc_reason pc_job_data(struct pc_job *job, bool six)
{
	enum pc_reason reason;

	if (pc_unlikely(!pc_find_data(&job->key, &job->flow, six)))
		return PC_REASON_PASS_NO_FLOW;
	reason = pc_admit_flow(&job->flow, false);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	pc_plan_indication(&job->plan, &job->key, six);
	job->down_slot = job->flow.slot;
	return PC_REASON_TX;
}

/* To another tenant of this node: the second session's entry decides what is sent. */
static __always_inline enum pc_reason pc_job_second(struct pc_job *job, bool six)
{
	struct pc_flow *flow;
	enum pc_reason reason;

	pc_key_hairpin(&job->key, &job->flow, six);
	flow = pc_find_flow(&job->key, six);
	if (pc_unlikely(!flow))
		return pc_job_data(job, six);
	if (pc_unlikely(!flow->channel))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_admit_flow(flow, false);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	job->flow = *flow;
	job->plan.head_out = PC_CHANNEL_HEADER;
	job->down_slot = flow->slot;
	return PC_REASON_TX;
}

__noinline int pc_job_hairpin(void)
{
	struct pc_job *job = pc_job_get();
	bool six;

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	six = job->flow.flags & PC_FLOW_OUT6;
	job->plan.l3_sum += job->flow.l3_diff;
	job->plan.l4_sum += job->flow.l4_diff;
	job->plan.anew = six;
	return six ? pc_job_second(job, true) : pc_job_second(job, false);
}

static __always_inline enum pc_reason pc_job_send_as(struct xdp_md *ctx, const struct pc_job *job,
						     bool in6, bool out6)
{
	struct pc_tally *up = pc_count_slot(job->up_slot), *down = pc_count_slot(job->down_slot);
	struct pc_way way = { .to = &job->flow };
	struct pc_pkt pkt;

	if (pc_unlikely((!up && job->up_slot != PC_NO_SLOT) ||
			(!down && job->down_slot != PC_NO_SLOT)))
		return PC_REASON_PASS_UNUSUAL;
	way.up = up ? &up->up : NULL;
	way.down = down ? &down->down : NULL;
	way.head = &job->head;
	if (pc_unlikely(!pc_job_packet(ctx, job, &pkt, in6)))
		return PC_REASON_PASS_UNUSUAL;
	return pc_send(ctx, &pkt, &job->plan, way, in6, out6);
}

__noinline int pc_job_send(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();
	bool out6;

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	out6 = job->flow.flags & PC_FLOW_OUT6;
	if (pc_unlikely(job->six))
		return out6 ? pc_job_send_as(ctx, job, true, true)
			    : pc_job_send_as(ctx, job, true, false);
	return out6 ? pc_job_send_as(ctx, job, false, true)
		    : pc_job_send_as(ctx, job, false, false);
}

static __always_inline enum pc_reason pc_job_charge(struct pc_job *job, bool up)
{
	struct pc_plan *plan = &job->plan;
	__u32 wire = up ? plan->up_wire : pc_plan_ip_len(plan, job->flow.flags & PC_FLOW_OUT6);
	__u32 tenant = up ? job->up_tenant : job->flow.tenant;
	__u32 said =
		pc_toll_side(pc_rate_index(tenant, up ? PC_RATE_UP : PC_RATE_DOWN),
			     up ? job->up_slot : job->down_slot, plan->payload, wire, plan->tos);

	plan->tos = said >> PC_TOLL_TOS_SHIFT & 0xff;
	return pc_toll_said(said);
}

static __always_inline void pc_job_undo(const struct pc_job *job, bool up)
{
	const struct pc_plan *plan = &job->plan;
	__u32 wire = up ? plan->up_wire : pc_plan_ip_len(plan, job->flow.flags & PC_FLOW_OUT6);
	__u32 tenant = up ? job->up_tenant : job->flow.tenant;

	pc_toll_undo(pc_rate_index(tenant, up ? PC_RATE_UP : PC_RATE_DOWN),
		     up ? job->up_slot : job->down_slot, plan->payload, wire);
}

/* Charges both sides, those that are there, and sends; or leaves both as they were. */
static __always_inline enum pc_reason pc_job_finish(struct xdp_md *ctx, struct pc_job *job)
{
	enum pc_reason reason = pc_job_charge(job, true);

	if (reason != PC_REASON_TX)
		return reason;
	reason = pc_job_charge(job, false);
	if (reason == PC_REASON_TX) {
		reason = pc_job_send(ctx);
		if (pc_reason_passes(reason))
			pc_job_undo(job, false);
		else
			return reason;
	}
	pc_job_undo(job, true);
	return reason;
}

/* From a tenant, with the first flow. */
static __always_inline enum pc_reason pc_job_up(struct xdp_md *ctx, struct pc_job *job)
{
	enum pc_reason reason = PC_REASON_TX;

	job->up_slot = job->flow.slot;
	job->up_tenant = job->flow.tenant;
	if (job->flow.flags & PC_FLOW_HAIRPIN)
		reason = pc_job_hairpin();
	return reason == PC_REASON_TX ? pc_job_finish(ctx, job) : reason;
}

static __always_inline enum pc_reason pc_job_plan_up(struct pc_job *job, const struct pc_pkt *pkt,
						     bool six)
{
	if (!(job->flow.flags & PC_FLOW_UP))
		return PC_REASON_PASS_UNUSUAL;
	job->plan.tos = pc_pkt_tos(pkt, six);
	return pc_plan_up(&job->plan, &job->flow, pkt, six, job->flow.flags & PC_FLOW_OUT6);
}

static __always_inline enum pc_reason pc_job_read_channel_as(struct xdp_md *ctx, struct pc_job *job,
							     bool six)
{
	enum pc_reason reason;
	const void *header;
	struct pc_pkt pkt;

	if (!pc_job_packet(ctx, job, &pkt, six))
		return PC_REASON_PASS_UNUSUAL;
	header = pkt.udp + 1;
	if (header + PC_CHANNEL_HEADER > pkt.data_end)
		return PC_REASON_DROP_LENGTH;
	reason = pc_read_channel_data(&pkt, header, &job->plan);
	if (reason != PC_REASON_TX)
		return reason;
	return pc_job_plan_up(job, &pkt, six);
}

__noinline int pc_job_read_channel(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	return job->six ? pc_job_read_channel_as(ctx, job, true)
			: pc_job_read_channel_as(ctx, job, false);
}

/* ChannelData that belongs to no plain flow: hairpins and mixed families. */
static __noinline int pc_relay_channel(struct xdp_md *ctx, struct pc_job *job)
{
	enum pc_reason reason;

	if (!job)
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_job_read_channel(ctx);
	return reason == PC_REASON_TX ? pc_job_up(ctx, job) : reason;
}

/* Send indication of a tenant. */
static __always_inline enum pc_reason pc_job_read_send_as(struct xdp_md *ctx, struct pc_job *job,
							  bool six)
{
	struct pc_send send = {};
	struct pc_pkt pkt;

	if (pc_unlikely(!pc_job_packet(ctx, job, &pkt, six) ||
			!pc_stun_read_send(&pkt, pkt.udp + 1, job->udp_len - sizeof(struct udphdr),
					   &send) ||
			!pc_port_allowed(bpf_ntohs(send.peer.port))))
		return PC_REASON_PASS_CONTROL;
	pc_key_packet(&job->key, &pkt, 0, six);
	if (pc_unlikely(!pc_find_send(&job->key, &send.peer, &job->flow, six)))
		return PC_REASON_PASS_CONTROL;
	job->plan.payload = send.payload;
	job->plan.head_in = send.head;
	job->plan.l4_sum = send.gone;
	return pc_job_plan_up(job, &pkt, six);
}

/* PC_REASON_TX: it may go on, by pc_job_up; PASS_CONTROL: it is none that the program handles. */
__noinline int pc_job_read_send(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	return job->six ? pc_job_read_send_as(ctx, job, true)
			: pc_job_read_send_as(ctx, job, false);
}

static __always_inline int pc_relay_send(struct xdp_md *ctx, __u32 l2_len, __u32 udp_len, __u32 six)
{
	struct pc_job *job = pc_job_new(l2_len, udp_len, &(struct pc_plan){}, six);
	enum pc_reason reason;

	if (!job)
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_job_read_send(ctx);
	return reason == PC_REASON_TX ? pc_job_up(ctx, job) : reason;
}

/* From a peer for whom the tenant has no channel. */
static __always_inline enum pc_reason pc_job_find_data_as(struct xdp_md *ctx, struct pc_job *job,
							  bool six)
{
	enum pc_reason reason;
	struct pc_pkt pkt;

	if (pc_unlikely(!pc_job_packet(ctx, job, &pkt, six)))
		return PC_REASON_PASS_UNUSUAL;
	pc_key_packet(&job->key, &pkt, 0, six);
	job->plan.tos = pc_pkt_tos(&pkt, six);
	reason = pc_job_data(job, six);
	/* From outside, addresses of this node's tenants are forged. */
	if (reason != PC_REASON_PASS_NO_FLOW && (job->flow.flags & PC_FLOW_HAIRPIN))
		reason = PC_REASON_PASS_NO_FLOW;
	/*
	 * On an allocation's port, nobody else is to answer, as long as the daemon holds it: when
	 * that is gone, the host may give the port to others.
	 */
	if (pc_unlikely(reason == PC_REASON_PASS_NO_FLOW && pc_find_port(&job->key, six) &&
			!pc_daemon_away()))
		return PC_REASON_DROP_NO_PERMISSION;
	if (pc_unlikely(reason == PC_REASON_TX && pc_pkt_ttl(&pkt, six) <= 1))
		return PC_REASON_DROP_TTL;
	return reason;
}

__noinline int pc_job_find_data(struct xdp_md *ctx)
{
	struct pc_job *job = pc_job_get();

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	return job->six ? pc_job_find_data_as(ctx, job, true)
			: pc_job_find_data_as(ctx, job, false);
}

__noinline int pc_relay_data(struct xdp_md *ctx, __u32 l2_len, __u32 udp_len, __u32 six)
{
	struct pc_plan plan = { .payload = udp_len - sizeof(struct udphdr) };
	struct pc_job *job = pc_job_new(l2_len, udp_len, &plan, six);
	enum pc_reason reason;

	if (!job)
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_job_find_data(ctx);
	return reason == PC_REASON_TX ? pc_job_finish(ctx, job) : reason;
}

static __always_inline enum pc_reason pc_job_plan_down_as(struct xdp_md *ctx, struct pc_job *job,
							  bool six)
{
	struct pc_pkt pkt;

	if (!pc_job_packet(ctx, job, &pkt, six))
		return PC_REASON_PASS_UNUSUAL;
	job->plan.tos = pc_pkt_tos(&pkt, six);
	return pc_plan_down(&job->flow, &pkt, six);
}

static __always_inline enum pc_reason pc_job_plan_down(struct xdp_md *ctx, struct pc_job *job)
{
	job->down_slot = job->flow.slot;
	return job->six ? pc_job_plan_down_as(ctx, job, true)
			: pc_job_plan_down_as(ctx, job, false);
}

#endif
