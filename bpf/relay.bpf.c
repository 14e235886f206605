/* SPDX-License-Identifier: MIT */
/*
 * XDP relay: data of TURN clients to their peers and back, without leaving the driver. The walk of
 * a packet:
 *
 *  1. Parse Ethernet, up to two VLAN tags, IPv4 or IPv6, UDP. Anything else, and any port that is
 *     not ours, passes at once; up to here only constants are read, no map.
 *  2. Guard: on an interface whose attach was never confirmed, everything passes. IP options,
 *     fragments and lengths that disagree are left to user space.
 *  3. Classify: on a service port ChannelData by its first byte and Send indications by their type,
 *     the rest is control. On a relayed port everything is data from a peer.
 *  4. Find the flow, else the permission. One that leads to another relayed address of this node
 *     (a hairpin) leads to a second one, the other session's.
 *  5. Admit: lengths, expiry, TTL, counters, next hop, MTU, checksum. All that can fail fails here.
 *  6. Rewrite: make room, trim, link header, IP, UDP, ChannelData header or Data indication. From
 *     the first write on the packet is sent or dropped, never passed.
 *  7. Count it, and send it out of the same interface or redirect it.
 *
 * Whatever would pass to a service port while the daemon is away is dropped instead: clients
 * retransmit, rather than being told that the port is unreachable. On an allocated relayed port,
 * what nothing covers is dropped too.
 */
#include "lib/binding.h"
#include "lib/clock.h"
#include "lib/count.h"
#include "lib/find.h"
#include "lib/ports.h"
#include "lib/rewrite.h"
#include "lib/stranger.h"

char _license[] SEC("license") = "Dual MIT/GPL";

/* Set before loading. Host byte order; a service port of 0 is none. */
const volatile __u16 pc_service_ports[PC_MAX_SERVICE_PORTS];
const volatile __u16 pc_relay_low;
const volatile __u16 pc_relay_high;
/* Addresses of the services, IPv4 mapped; all zero ends the list. None: any address is ours. */
const volatile __be32 pc_service_addrs[PC_MAX_SERVICE_ADDRS][4];

#ifdef PC_TEST_DROP_ALL
#define PC_DROP_ALL 1
#else
#define PC_DROP_ALL 0
#endif

/* Beside a reason: what anybody may have sent, not data of a known flow. */
#define PC_STRANGER	      0x100

#define PC_CHANNEL_FIRST_BYTE 0x40
#define PC_CHANNEL_LAST_BYTE  0x7f
#define PC_CHANNEL_HEADER     4 /* number and length (RFC 8656 section 12.4) */

static __always_inline struct pc_ctl *pc_ctl_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pc2_ctl, &zero);
}

/* The time is asked for only where it matters: most packets see no guard. */
static __always_inline bool pc_guard_tripped(const struct xdp_md *ctx)
{
	struct pc_ctl *ctl = pc_ctl_get();

	return ctl && ctl->guard_ifindex && ctl->guard_ifindex == ctx->ingress_ifindex &&
	       pc_clock_now() > ctl->guard_deadline_ns;
}

static __always_inline bool pc_daemon_away(void)
{
	struct pc_ctl *ctl = pc_ctl_get();

	return ctl && ctl->heartbeat_ns &&
	       pc_clock_now() > ctl->heartbeat_ns + PC_HEARTBEAT_STALE_NS;
}

enum pc_port { PC_PORT_FOREIGN, PC_PORT_SERVICE, PC_PORT_RELAYED };

static __always_inline enum pc_port pc_classify_port(__be16 dport)
{
	__u16 port = bpf_ntohs(dport);

#pragma unroll
	for (int i = 0; i < PC_MAX_SERVICE_PORTS; i++) {
		__u16 service = pc_service_ports[i];

		if (service && service == port)
			return PC_PORT_SERVICE;
	}
	if (pc_relay_high && port >= pc_relay_low && port <= pc_relay_high)
		return PC_PORT_RELAYED;
	return PC_PORT_FOREIGN;
}

/* Whether a flow may be used, in this direction. */
static __always_inline enum pc_reason pc_admit_flow(const struct pc_flow *flow, bool up)
{
	if (!(flow->flags & PC_FLOW_UP) == up)
		return PC_REASON_PASS_UNUSUAL;
	return pc_clock_now() >= flow->expires_ns ? PC_REASON_PASS_EXPIRED : PC_REASON_TX;
}

/* Whether it is the plain case: one flow, one family. That is written out on its own, for speed. */
static __always_inline bool pc_flow_plain(const struct pc_flow *flow, bool six)
{
	return (flow->flags & (PC_FLOW_HAIRPIN | PC_FLOW_OUT6)) == (six ? PC_FLOW_OUT6 : 0);
}

/* --- 5 to 7: the packet leaves --- */

/* The next hop, and whether the packet fits. Nothing is written yet. */
static __always_inline enum pc_reason pc_admit_nexthop(const struct xdp_md *ctx,
						       const struct pc_plan *plan,
						       struct pc_way *way, bool out6)
{
	__u32 index = way->to->nexthop;
	struct pc_nexthop_slot *slot = bpf_map_lookup_elem(&pc2_nexthop, &index);
	__u32 txport, ifindex;

	if (!slot)
		return PC_REASON_PASS_NEXTHOP;
	way->nh = (*(volatile __u32 *)&slot->active & 1) ? &slot->copy[1] : &slot->copy[0];
	ifindex = way->nh->ifindex;
	way->l2_len = way->nh->l2_len;
	if (!ifindex)
		return PC_REASON_PASS_NEXTHOP;
	if (way->l2_len != PC_L2_PLAIN && way->l2_len != PC_L2_PLAIN + PC_L2_TAG &&
	    way->l2_len != PC_L2_PLAIN + 2 * PC_L2_TAG)
		return PC_REASON_PASS_NEXTHOP;
	way->redirect = ifindex != ctx->ingress_ifindex;
	txport = way->nh->txport;
	if (way->redirect && !bpf_map_lookup_elem(&pc2_txport, &txport))
		return PC_REASON_PASS_NEXTHOP;
	return pc_plan_ip_len(plan, out6) > way->nh->mtu ? PC_REASON_PASS_MTU : PC_REASON_TX;
}

/*
 * IPv6 knows no datagram without a checksum, and an IPv4 header that is left behind takes its own
 * along: a damaged one must not become a good packet.
 */
static __always_inline enum pc_reason pc_admit_checksum(const struct pc_pkt *pkt,
							const struct pc_plan *plan, bool in6,
							bool out6)
{
	if ((in6 || out6) && !pkt->udp->check)
		return PC_REASON_PASS_CHECKSUM;
	if (!in6 && (out6 || plan->anew) && pc_csum_fold(pc_csum_words(pkt->ip, 5)) != (__u16)~0)
		return PC_REASON_PASS_UNUSUAL;
	return PC_REASON_TX;
}

/* @way: flow and counters are set. */
static __always_inline enum pc_reason pc_send(struct xdp_md *ctx, const struct pc_pkt *pkt,
					      const struct pc_plan *plan, struct pc_way way,
					      bool in6, bool out6)
{
	enum pc_reason reason = pc_admit_nexthop(ctx, plan, &way, out6);

	if (reason == PC_REASON_TX)
		reason = pc_admit_checksum(pkt, plan, in6, out6);
	if (reason == PC_REASON_TX)
		reason = pc_rewrite(ctx, pkt, plan, &way, in6, out6);
	if (reason != PC_REASON_TX)
		return reason;
	if (way.redirect) {
		if (bpf_redirect_map(&pc2_txport, way.nh->txport, XDP_DROP) != XDP_REDIRECT)
			return PC_REASON_DROP_INTERNAL;
		reason = PC_REASON_REDIRECT;
	}
	if (way.up)
		pc_count_packet(way.up, plan->payload, plan->up_wire);
	if (way.down)
		pc_count_packet(way.down, plan->payload, pc_plan_ip_len(plan, out6));
	return reason;
}

/* --- the general case: permissions, hairpins, mixed families --- */

#define PC_NO_SLOT 0xffffffffu

/*
 * A packet that is no plain case. The functions that are not inlined are verified each on its own,
 * for any numbers in here; so there are no pointers, and no gaps.
 */
struct pc_job {
	struct pc_flow flow; /* what is sent, as far as it is known; may be made of a permission */
	union pc_key key;    /* of what arrives, without a channel */
	struct pc_plan plan;
	__u32 up_slot, down_slot;
	__u32 l2_len;
	__u32 udp_len;
	__u32 six;
};

/* One for each CPU: the stack is too small. Private to the program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pc_job);
} pc_scratch SEC(".maps");

static __always_inline struct pc_job *pc_job_new(__u32 l2_len, __u32 udp_len,
						 const struct pc_plan *plan, bool six)
{
	__u32 zero = 0;
	struct pc_job *job = bpf_map_lookup_elem(&pc_scratch, &zero);

	if (!job)
		return NULL;
	job->plan = *plan;
	job->up_slot = job->down_slot = PC_NO_SLOT;
	job->l2_len = l2_len;
	job->udp_len = udp_len;
	job->six = six;
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

	if (!pc_find_data(&job->key, &job->flow, six))
		return PC_REASON_PASS_NO_FLOW;
	reason = pc_admit_flow(&job->flow, false);
	if (reason != PC_REASON_TX)
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
	if (!flow)
		return pc_job_data(job, six);
	if (!flow->channel)
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_admit_flow(flow, false);
	if (reason != PC_REASON_TX)
		return reason;
	job->flow = *flow;
	job->plan.head_out = PC_CHANNEL_HEADER;
	job->down_slot = flow->slot;
	return PC_REASON_TX;
}

__noinline int pc_job_hairpin(struct pc_job *job)
{
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
	struct pc_count *up = pc_count_slot(job->up_slot), *down = pc_count_slot(job->down_slot);
	struct pc_way way = { .to = &job->flow };
	struct pc_plan plan = job->plan;
	struct pc_pkt pkt;

	if ((!up && job->up_slot != PC_NO_SLOT) || (!down && job->down_slot != PC_NO_SLOT))
		return PC_REASON_PASS_UNUSUAL;
	way.up = up ? &up->up : NULL;
	way.down = down ? &down->down : NULL;
	if (!pc_job_packet(ctx, job, &pkt, in6))
		return PC_REASON_PASS_UNUSUAL;
	return pc_send(ctx, &pkt, &plan, way, in6, out6);
}

__noinline int pc_job_send(struct xdp_md *ctx, struct pc_job *job)
{
	bool out6;

	if (!job)
		return PC_REASON_DROP_INTERNAL;
	out6 = job->flow.flags & PC_FLOW_OUT6;
	if (job->six)
		return out6 ? pc_job_send_as(ctx, job, true, true)
			    : pc_job_send_as(ctx, job, true, false);
	return out6 ? pc_job_send_as(ctx, job, false, true)
		    : pc_job_send_as(ctx, job, false, false);
}

/* From a tenant, with the first flow. */
static __always_inline enum pc_reason pc_job_up(struct xdp_md *ctx, struct pc_job *job)
{
	enum pc_reason reason = PC_REASON_TX;

	job->up_slot = job->flow.slot;
	if (job->flow.flags & PC_FLOW_HAIRPIN)
		reason = pc_job_hairpin(job);
	return reason == PC_REASON_TX ? pc_job_send(ctx, job) : reason;
}

/* --- 3 and 4: what arrives --- */

/* From a tenant: @flow fits what arrived, the payload is known. */
static __always_inline enum pc_reason pc_plan_up(struct pc_plan *plan, const struct pc_flow *flow,
						 const struct pc_pkt *pkt, bool six)
{
	enum pc_reason reason = pc_admit_flow(flow, true);

	if (reason != PC_REASON_TX)
		return reason;
	if (pc_pkt_ttl(pkt, six) <= 1)
		return PC_REASON_DROP_TTL;
	/* Between the two sessions of a hairpin, too, it counts as plain UDP. */
	plan->up_wire =
		pc_ip_header(flow->flags & PC_FLOW_OUT6) + sizeof(struct udphdr) + plan->payload;
	return PC_REASON_TX;
}

/*
 * Takes the ChannelData header and its padding out of the plan's checksum. The payload moves by
 * four bytes, so its words stay words.
 */
static __always_inline enum pc_reason pc_read_channel_data(const struct pc_pkt *pkt,
							   const void *header, struct pc_plan *plan)
{
	__u32 have = pkt->udp_len - sizeof(struct udphdr) - PC_CHANNEL_HEADER;
	union pc_word head = { .word = *pc_u32_at(header, 0) };
	__u32 length = bpf_ntohs(head.half[1]);

	if (length > have || have > ((length + 3) & ~3u))
		return PC_REASON_DROP_LENGTH;
	plan->payload = length;
	plan->head_in = PC_CHANNEL_HEADER;
	plan->l4_sum = pc_csum_gone16(head.half[0]) + pc_csum_gone16(head.half[1]);
	if (length != have && !pc_stun_pad_gone(pkt, header + PC_CHANNEL_HEADER, length,
						have - length, &plan->l4_sum))
		return PC_REASON_DROP_LENGTH;
	return PC_REASON_TX;
}

/* ChannelData of a tenant. */
static __always_inline int pc_relay_channel(struct xdp_md *ctx, const struct pc_pkt *pkt, bool six)
{
	const void *header = pkt->udp + 1;
	struct pc_plan plan = {};
	struct pc_flow *flow;
	enum pc_reason reason;
	struct pc_count *count;
	struct pc_job *job;
	union pc_key key;

	if (pkt->udp_len < sizeof(struct udphdr) + PC_CHANNEL_HEADER ||
	    header + PC_CHANNEL_HEADER > pkt->data_end)
		return PC_REASON_DROP_LENGTH;
	pc_key_packet(&key, pkt, *pc_u16_at(header, 0), six);
	flow = pc_find_flow(&key, six);
	if (!flow)
		return PC_REASON_PASS_NO_FLOW | PC_STRANGER;
	reason = pc_read_channel_data(pkt, header, &plan);
	if (reason == PC_REASON_TX)
		reason = pc_plan_up(&plan, flow, pkt, six);
	if (reason != PC_REASON_TX)
		return reason;
	if (!pc_flow_plain(flow, six)) {
		job = pc_job_new(pkt->l2_len, pkt->udp_len, &plan, six);
		if (!job)
			return PC_REASON_PASS_UNUSUAL;
		job->flow = *flow;
		return pc_job_up(ctx, job);
	}
	count = pc_count_slot(flow->slot);
	if (!count)
		return PC_REASON_PASS_UNUSUAL;
	return pc_send(ctx, pkt, &plan, (struct pc_way){ .to = flow, .up = &count->up }, six, six);
}

/* Send indication of a tenant. */
static __always_inline enum pc_reason pc_job_read_send_as(struct xdp_md *ctx, struct pc_job *job,
							  bool six)
{
	struct pc_send send = {};
	struct pc_pkt pkt;

	if (!pc_job_packet(ctx, job, &pkt, six) ||
	    !pc_stun_read_send(&pkt, pkt.udp + 1, job->udp_len - sizeof(struct udphdr), &send) ||
	    !pc_port_allowed(bpf_ntohs(send.peer.port)))
		return PC_REASON_PASS_CONTROL;
	pc_key_packet(&job->key, &pkt, 0, six);
	if (!pc_find_send(&job->key, &send.peer, &job->flow, six))
		return PC_REASON_PASS_CONTROL;
	job->plan.payload = send.payload;
	job->plan.head_in = send.head;
	job->plan.l4_sum = send.gone;
	return pc_plan_up(&job->plan, &job->flow, &pkt, six);
}

/* PC_REASON_TX: it may go on, by pc_job_up; PASS_CONTROL: it is none that the program handles. */
__noinline int pc_job_read_send(struct xdp_md *ctx, struct pc_job *job)
{
	if (!job)
		return PC_REASON_DROP_INTERNAL;
	return job->six ? pc_job_read_send_as(ctx, job, true)
			: pc_job_read_send_as(ctx, job, false);
}

__noinline int pc_relay_send(struct xdp_md *ctx, __u32 l2_len, __u32 udp_len, __u32 six)
{
	struct pc_job *job = pc_job_new(l2_len, udp_len, &(struct pc_plan){}, six);
	enum pc_reason reason;

	if (!job)
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_job_read_send(ctx, job);
	if (reason == PC_REASON_PASS_CONTROL)
		return reason | PC_STRANGER;
	return reason == PC_REASON_TX ? pc_job_up(ctx, job) : reason;
}

/* On a service port. */
static __always_inline int pc_relay_service(struct xdp_md *ctx, const struct pc_pkt *pkt, bool six)
{
	const void *payload = pkt->udp + 1;
	__u8 first;

	if (pkt->udp_len == sizeof(struct udphdr) || payload + 2 > pkt->data_end)
		return PC_REASON_PASS_CONTROL | PC_STRANGER;
	first = *(__u8 *)payload;
	if (first >= PC_CHANNEL_FIRST_BYTE && first <= PC_CHANNEL_LAST_BYTE)
		return pc_relay_channel(ctx, pkt, six);
	if (*pc_u16_at(payload, 0) == bpf_htons(PC_STUN_SEND))
		return pc_relay_send(ctx, pkt->l2_len, pkt->udp_len, six);
	if (*pc_u16_at(payload, 0) == bpf_htons(PC_STUN_BINDING))
		return PC_REASON_BINDING | PC_STRANGER;
	return PC_REASON_PASS_CONTROL | PC_STRANGER;
}

/* From a peer for whom the tenant has no channel. */
static __always_inline enum pc_reason pc_job_find_data_as(struct xdp_md *ctx, struct pc_job *job,
							  bool six)
{
	enum pc_reason reason;
	struct pc_pkt pkt;

	if (!pc_job_packet(ctx, job, &pkt, six))
		return PC_REASON_PASS_UNUSUAL;
	pc_key_packet(&job->key, &pkt, 0, six);
	reason = pc_job_data(job, six);
	/* From outside, addresses of this node's tenants are forged. */
	if (reason != PC_REASON_PASS_NO_FLOW && (job->flow.flags & PC_FLOW_HAIRPIN))
		reason = PC_REASON_PASS_NO_FLOW;
	/* On an allocation's port, nobody else is to answer. */
	if (reason == PC_REASON_PASS_NO_FLOW && pc_find_port(&job->key, six))
		return PC_REASON_DROP_NO_PERMISSION;
	if (reason == PC_REASON_TX && pc_pkt_ttl(&pkt, six) <= 1)
		return PC_REASON_DROP_TTL;
	return reason;
}

__noinline int pc_job_find_data(struct xdp_md *ctx, struct pc_job *job)
{
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
	reason = pc_job_find_data(ctx, job);
	return reason == PC_REASON_TX ? pc_job_send(ctx, job) : reason;
}

/* On a relayed port: from a peer. */
static __always_inline enum pc_reason pc_relay_peer(struct xdp_md *ctx, const struct pc_pkt *pkt,
						    bool six)
{
	struct pc_plan plan = {
		.payload = pkt->udp_len - sizeof(struct udphdr),
		.head_out = PC_CHANNEL_HEADER,
	};
	struct pc_flow *flow;
	enum pc_reason reason;
	struct pc_count *count;
	struct pc_job *job;
	union pc_key key;

	pc_key_packet(&key, pkt, 0, six);
	flow = pc_find_flow(&key, six);
	if (!flow || (flow->flags & PC_FLOW_HAIRPIN))
		return pc_relay_data(ctx, pkt->l2_len, pkt->udp_len, six);
	if (!flow->channel)
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_admit_flow(flow, false);
	if (reason != PC_REASON_TX)
		return reason;
	if (pc_pkt_ttl(pkt, six) <= 1)
		return PC_REASON_DROP_TTL;
	if (!pc_flow_plain(flow, six)) {
		job = pc_job_new(pkt->l2_len, pkt->udp_len, &plan, six);
		if (!job)
			return PC_REASON_PASS_UNUSUAL;
		job->flow = *flow;
		job->down_slot = flow->slot;
		return pc_job_send(ctx, job);
	}
	count = pc_count_slot(flow->slot);
	if (!count)
		return PC_REASON_PASS_UNUSUAL;
	return pc_send(ctx, pkt, &plan, (struct pc_way){ .to = flow, .down = &count->down }, six,
		       six);
}

/* --- the end --- */

/* Counts the reason and gives the verdict. */
static __always_inline int pc_leave(enum pc_reason reason)
{
	pc_count_reason(reason);
	if (reason == PC_REASON_TX || reason == PC_REASON_BINDING)
		return XDP_TX;
	if (reason == PC_REASON_REDIRECT)
		return XDP_REDIRECT;
	return pc_reason_passes(reason) ? XDP_PASS : XDP_DROP;
}

/* Whether the packet is for this host, and not for one that it routes to. */
static __always_inline bool pc_service_mine(const void *addrs, bool six)
{
	__be32 addr[4];

	if (!pc_service_addrs[0][0] && !pc_service_addrs[0][2])
		return true;
	pc_find_map(addr, addrs + (six ? 16 : 4), six);
#pragma unroll
	for (int i = 0; i < PC_MAX_SERVICE_ADDRS; i++) {
		if (addr[0] == pc_service_addrs[i][0] && addr[1] == pc_service_addrs[i][1] &&
		    addr[2] == pc_service_addrs[i][2] && addr[3] == pc_service_addrs[i][3])
			return true;
	}
	return false;
}

static __always_inline enum pc_reason pc_stranger_as(struct xdp_md *ctx, __u32 l2_len,
						     enum pc_reason reason, bool six)
{
	struct pc_ctl *ctl = pc_ctl_get();
	const void *addrs;
	__u32 off = l2_len;

	asm volatile("%0 &= 31" : "+r"(off));
	addrs = (void *)(long)ctx->data + off + (six ? 8 : 12);
	if (!ctl || addrs + (six ? 32 : 8) > (void *)(long)ctx->data_end)
		return PC_REASON_PASS_UNUSUAL;
	if (!pc_service_mine(addrs, six))
		return reason == PC_REASON_BINDING ? PC_REASON_PASS_CONTROL : reason;
	if (!pc_stranger_admit(ctl, six ? *pc_u64_at(addrs, 0) : *pc_u32_at(addrs, 0),
			       pc_clock_now(), six))
		return PC_REASON_DROP_SOURCE_RATE;
	if (reason == PC_REASON_BINDING)
		reason = pc_binding_answer(ctx, l2_len, six);
	return pc_reason_passes(reason) && pc_daemon_away() ? PC_REASON_DROP_AWAY : reason;
}

/*
 * Not data of a known flow, to a service port: strangers send it too. Limited before anything that
 * costs; then answered, or left to the daemon, or dropped while that is away.
 */
__noinline int pc_stranger(struct xdp_md *ctx, __u32 l2_len, __u32 reason, __u32 six)
{
	return six ? pc_stranger_as(ctx, l2_len, reason, true)
		   : pc_stranger_as(ctx, l2_len, reason, false);
}

/*
 * A packet to a service port. What passes is for the daemon, and dropped while that is away; what
 * belongs to no flow may be from anybody.
 */
static __always_inline int pc_relay_to_service(struct xdp_md *ctx, struct pc_pkt *pkt, bool six)
{
	int reason = PC_REASON_PASS_UNUSUAL | PC_STRANGER;

	if (pkt->plain && pc_parse_consistent(pkt, six))
		reason = pc_relay_service(ctx, pkt, six);
	if (reason & PC_STRANGER)
		reason = pc_stranger(ctx, pkt->l2_len, reason & ~PC_STRANGER, six);
	else if (pc_reason_passes(reason) && pc_daemon_away())
		reason = PC_REASON_DROP_AWAY;
	return pc_leave(reason);
}

/* UDP of one family. */
static __always_inline int pc_relay(struct xdp_md *ctx, struct pc_pkt *pkt, bool six)
{
	enum pc_port port;

	if (!(six ? pc_parse_udp6(pkt) : pc_parse_udp4(pkt)))
		return XDP_PASS;
	port = pc_classify_port(pkt->dport);
	if (port == PC_PORT_FOREIGN)
		return XDP_PASS;
	if (pc_guard_tripped(ctx))
		return pc_leave(PC_REASON_PASS_GUARD);
	if (port == PC_PORT_SERVICE)
		return pc_relay_to_service(ctx, pkt, six);
	if (!pkt->plain || !pc_parse_consistent(pkt, six))
		return pc_leave(PC_REASON_PASS_UNUSUAL);
	return pc_leave(pc_relay_peer(ctx, pkt, six));
}

/* A program gone wrong, for tests of the guarded attach: whatever reaches it is lost. */
static __always_inline int pc_drop_all(const struct xdp_md *ctx)
{
	return pc_guard_tripped(ctx) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int pc2_relay(struct xdp_md *ctx)
{
	struct pc_pkt pkt = {};
	__be16 proto;

	if (PC_DROP_ALL)
		return pc_drop_all(ctx);
	proto = pc_parse_link(ctx, &pkt);
	if (proto == bpf_htons(ETH_P_IP))
		return pc_relay(ctx, &pkt, false);
	if (proto == bpf_htons(ETH_P_IPV6))
		return pc_relay(ctx, &pkt, true);
	return XDP_PASS;
}
