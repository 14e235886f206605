/* SPDX-License-Identifier: MIT */
/*
 * XDP relay: ChannelData to UDP and back, IPv4, without leaving the driver. The walk of a packet:
 *
 *  1. Parse Ethernet, up to two VLAN tags, IPv4 and UDP. Anything else, and any port that is not
 *     ours, passes at once; up to here only constants are read, no map.
 *  2. Guard: on an interface whose attach was never confirmed, everything passes. IP options,
 *     fragments and lengths that disagree are left to user space.
 *  3. Classify: on a service port ChannelData by its first byte, the rest is control and passes.
 *     On a relayed port everything is data from a peer.
 *  4. Find the flow. A hairpin flow (the peer is another relayed address of this node) leads to a
 *     second flow, the other session's.
 *  5. Admit: lengths, expiry, TTL, next hop, MTU, counters. All that can fail fails here.
 *  6. Rewrite: make room, trim, link header, IP, UDP, ChannelData header, checksums by difference.
 *     From the first write on the packet is sent or dropped, never passed.
 *  7. Count it, and send it out of the same interface or redirect it.
 *
 * Whatever would pass to a service port while the daemon is away is dropped instead: clients
 * retransmit, rather than being told that the port is unreachable.
 */
#include "lib/clock.h"
#include "lib/count.h"
#include "lib/rewrite.h"

char _license[] SEC("license") = "Dual MIT/GPL";

/* Set before loading. Host byte order; a service port of 0 is none. */
const volatile __u16 pc_service_ports[PC_MAX_SERVICE_PORTS];
const volatile __u16 pc_relay_low;
const volatile __u16 pc_relay_high;

#ifdef PC_TEST_DROP_ALL
#define PC_DROP_ALL 1
#else
#define PC_DROP_ALL 0
#endif

#define PC_CHANNEL_FIRST_BYTE 0x40
#define PC_CHANNEL_LAST_BYTE  0x7f

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

static __always_inline bool pc_expired(const struct pc_flow *flow)
{
	return pc_clock_now() >= flow->expires_ns;
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

/*
 * Takes the ChannelData header and its padding out of the plan's checksum. The payload moves by
 * four bytes, so its words stay words; after an odd payload the padding begins within one.
 */
static __always_inline enum pc_reason pc_admit_channel_data(const struct pc_pkt *pkt,
							    const struct pc_channel_data *header,
							    struct pc_plan *plan)
{
	__u32 have = bpf_ntohs(pkt->udp->len) - sizeof(struct udphdr) - sizeof(*header);
	__u32 length = bpf_ntohs(header->length);
	__u32 at = length;
	const __u8 *pad;

	if (length > have || have > ((length + 3) & ~3u))
		return PC_REASON_DROP_LENGTH;
	plan->payload = length;
	plan->header_in = sizeof(*header);
	plan->l4_sum = pc_csum_gone16(header->channel) + pc_csum_gone16(header->length);
	if (length == have)
		return PC_REASON_TX;

	/* Changes nothing (PC_UDP_LEN_MAX), but lets the verifier follow the pointer. */
	asm volatile("%0 &= 0x7fff" : "+r"(at));
	pad = (const __u8 *)(header + 1) + at;
#pragma unroll
	for (__u32 i = 0; i < 3; i++) {
		if (length + i >= have)
			break;
		if ((void *)(pad + i + 1) > pkt->data_end)
			return PC_REASON_DROP_LENGTH;
		plan->l4_sum += pc_csum_gone16(pc_csum_byte(pad[i], length + i));
	}
	return PC_REASON_TX;
}

/* Second half of a key. */
union pc_key_tail {
	__u64 word;
	struct {
		__u32 ports;
		__be16 channel;
		__u16 reserved;
	};
};

/* Key of what arrives. Whole words: the hash reads them back at once, which stalls on halves. */
static __always_inline void pc_key_packet(struct pc_flow4_key *key, const struct pc_pkt *pkt,
					  __be16 channel)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(&pkt->udp->source, 0), .channel = channel };

	*pc_u64_at(key, 0) = *pc_u64_at(&pkt->ip->saddr, 0);
	*pc_u64_at(key, 8) = tail.word;
}

/* Key of what a first flow sends to another relayed address of this node. */
static __always_inline void pc_key_hairpin(struct pc_flow4_key *key, const struct pc_flow *flow)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(&flow->sport, 0) };

	*pc_u32_at(key, 0) = flow->saddr[0];
	*pc_u32_at(key, 4) = flow->daddr[0];
	*pc_u64_at(key, 8) = tail.word;
}

/* The next hop, and whether the packet fits. Nothing is written yet. */
static __always_inline enum pc_reason pc_admit_nexthop(const struct xdp_md *ctx, __u32 index,
						       struct pc_plan *plan)
{
	struct pc_nexthop_slot *slot = bpf_map_lookup_elem(&pc2_nexthop, &index);
	const struct pc_nexthop *nh;
	__u32 txport, ifindex;

	if (!slot)
		return PC_REASON_PASS_NEXTHOP;
	nh = (*(volatile __u32 *)&slot->active & 1) ? &slot->copy[1] : &slot->copy[0];
	plan->nh = nh;
	ifindex = nh->ifindex;
	plan->l2_len = nh->l2_len;
	if (!ifindex)
		return PC_REASON_PASS_NEXTHOP;
	if (plan->l2_len != PC_L2_PLAIN && plan->l2_len != PC_L2_PLAIN + PC_L2_TAG &&
	    plan->l2_len != PC_L2_PLAIN + 2 * PC_L2_TAG)
		return PC_REASON_PASS_NEXTHOP;
	plan->redirect = ifindex != ctx->ingress_ifindex;
	txport = nh->txport;
	if (plan->redirect && !bpf_map_lookup_elem(&pc2_txport, &txport))
		return PC_REASON_PASS_NEXTHOP;
	return pc_plan_ip_len(plan) > nh->mtu ? PC_REASON_PASS_MTU : PC_REASON_TX;
}

/* The packet is admitted: steps 6 and 7. @also: second session of a hairpin, or NULL. */
static __always_inline enum pc_reason pc_send(struct xdp_md *ctx, const struct pc_pkt *pkt,
					      const struct pc_plan *plan, struct pc_dir_count *dir,
					      struct pc_dir_count *also)
{
	enum pc_reason reason = pc_rewrite(ctx, pkt, plan);

	if (reason != PC_REASON_TX)
		return reason;
	if (plan->redirect) {
		if (bpf_redirect_map(&pc2_txport, plan->nh->txport, XDP_DROP) != XDP_REDIRECT)
			return PC_REASON_DROP_INTERNAL;
		reason = PC_REASON_REDIRECT;
	}
	/* Between the two sessions of a hairpin the packet counts as plain UDP. */
	if (also) {
		pc_count_packet(dir, plan->payload,
				pc_plan_ip_len(plan) - sizeof(struct pc_channel_data));
		pc_count_packet(also, plan->payload, pc_plan_ip_len(plan));
	} else {
		pc_count_packet(dir, plan->payload, pc_plan_ip_len(plan));
	}
	return reason;
}

/* From peer to tenant: ChannelData is added. */
static __always_inline enum pc_reason pc_relay_down(struct xdp_md *ctx, const struct pc_pkt *pkt)
{
	struct pc_flow4_key key;
	struct pc_plan plan = {
		.payload = bpf_ntohs(pkt->udp->len) - sizeof(struct udphdr),
		.header_out = sizeof(struct pc_channel_data),
	};
	struct pc_flow *flow;
	enum pc_reason reason;
	struct pc_count *count;

	pc_key_packet(&key, pkt, 0);
	flow = bpf_map_lookup_elem(&pc2_flow4, &key);
	/* Tenants of this node reach each other inside: from outside, their addresses are forged.
	 */
	if (!flow || (flow->flags & PC_FLOW_HAIRPIN))
		return PC_REASON_PASS_NO_FLOW;
	if ((flow->flags & PC_FLOW_UP) || !flow->channel)
		return PC_REASON_PASS_UNUSUAL;
	if (pc_expired(flow))
		return PC_REASON_PASS_EXPIRED;
	if (pkt->ip->ttl <= 1)
		return PC_REASON_DROP_TTL;
	plan.to = flow;
	reason = pc_admit_nexthop(ctx, flow->nexthop, &plan);
	if (reason != PC_REASON_TX)
		return reason;
	count = pc_count_slot(flow->slot);
	if (!count)
		return PC_REASON_PASS_UNUSUAL;
	return pc_send(ctx, pkt, &plan, &count->down, NULL);
}

/* From tenant to another tenant of this node: the second session's flow decides what is sent. */
static __always_inline enum pc_reason pc_relay_hairpin(struct xdp_md *ctx, const struct pc_pkt *pkt,
						       struct pc_plan *plan, struct pc_count *count)
{
	struct pc_flow4_key key;
	struct pc_flow *flow;
	enum pc_reason reason;
	struct pc_count *peer;

	pc_key_hairpin(&key, plan->to);
	plan->l3_sum += plan->to->l3_diff;
	plan->l4_sum += plan->to->l4_diff;
	flow = bpf_map_lookup_elem(&pc2_flow4, &key);
	if (!flow)
		return PC_REASON_PASS_NO_FLOW;
	if ((flow->flags & PC_FLOW_UP) || !flow->channel)
		return PC_REASON_PASS_UNUSUAL;
	if (pc_expired(flow))
		return PC_REASON_PASS_EXPIRED;
	plan->to = flow;
	plan->header_out = sizeof(struct pc_channel_data);
	reason = pc_admit_nexthop(ctx, flow->nexthop, plan);
	if (reason != PC_REASON_TX)
		return reason;
	peer = pc_count_slot(flow->slot);
	if (!peer)
		return PC_REASON_PASS_UNUSUAL;
	return pc_send(ctx, pkt, plan, &count->up, &peer->down);
}

/* From tenant to peer: ChannelData is stripped. */
static __always_inline enum pc_reason pc_relay_up(struct xdp_md *ctx, const struct pc_pkt *pkt,
						  const struct pc_channel_data *header)
{
	struct pc_flow4_key key;
	struct pc_plan plan = {};
	struct pc_flow *flow;
	enum pc_reason reason;
	struct pc_count *count;

	pc_key_packet(&key, pkt, header->channel);
	flow = bpf_map_lookup_elem(&pc2_flow4, &key);
	if (!flow)
		return PC_REASON_PASS_NO_FLOW;
	if (!(flow->flags & PC_FLOW_UP))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_admit_channel_data(pkt, header, &plan);
	if (reason != PC_REASON_TX)
		return reason;
	if (pc_expired(flow))
		return PC_REASON_PASS_EXPIRED;
	if (pkt->ip->ttl <= 1)
		return PC_REASON_DROP_TTL;
	plan.to = flow;
	count = pc_count_slot(flow->slot);
	if (!count)
		return PC_REASON_PASS_UNUSUAL;
	if (flow->flags & PC_FLOW_HAIRPIN)
		return pc_relay_hairpin(ctx, pkt, &plan, count);
	reason = pc_admit_nexthop(ctx, flow->nexthop, &plan);
	if (reason != PC_REASON_TX)
		return reason;
	return pc_send(ctx, pkt, &plan, &count->up, NULL);
}

/* On a service port. */
static __always_inline enum pc_reason pc_relay_service(struct xdp_md *ctx, const struct pc_pkt *pkt)
{
	const struct pc_channel_data *header = (void *)(pkt->udp + 1);
	__u32 have = bpf_ntohs(pkt->udp->len) - sizeof(struct udphdr);
	__u8 first;

	if (!have || (void *)header + 1 > pkt->data_end)
		return PC_REASON_PASS_CONTROL;
	first = *(__u8 *)header;
	if (first < PC_CHANNEL_FIRST_BYTE || first > PC_CHANNEL_LAST_BYTE)
		return PC_REASON_PASS_CONTROL;
	if (have < sizeof(*header) || (void *)(header + 1) > pkt->data_end)
		return PC_REASON_DROP_LENGTH;
	return pc_relay_up(ctx, pkt, header);
}

/* Counts the reason and gives the verdict. */
static __always_inline int pc_leave(enum pc_reason reason)
{
	pc_count_reason(reason);
	if (reason == PC_REASON_TX)
		return XDP_TX;
	if (reason == PC_REASON_REDIRECT)
		return XDP_REDIRECT;
	return reason <= PC_REASON_PASS_GUARD ? XDP_PASS : XDP_DROP;
}

/* What passes to a service port is for the daemon, and dropped while it is away. */
static __always_inline int pc_leave_service(enum pc_reason reason)
{
	if (reason >= PC_REASON_PASS_CONTROL && reason < PC_REASON_PASS_GUARD && pc_daemon_away())
		reason = PC_REASON_DROP_AWAY;
	return pc_leave(reason);
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
	enum pc_port port;

	if (PC_DROP_ALL)
		return pc_drop_all(ctx);
	if (!pc_parse_udp4(ctx, &pkt))
		return XDP_PASS;
	port = pc_classify_port(pkt.dport);
	if (port == PC_PORT_FOREIGN)
		return XDP_PASS;
	if (pc_guard_tripped(ctx))
		return pc_leave(PC_REASON_PASS_GUARD);
	if (!pkt.plain || !pc_parse_consistent(&pkt))
		return port == PC_PORT_SERVICE ? pc_leave_service(PC_REASON_PASS_UNUSUAL)
					       : pc_leave(PC_REASON_PASS_UNUSUAL);
	if (port == PC_PORT_SERVICE)
		return pc_leave_service(pc_relay_service(ctx, &pkt));
	return pc_leave(pc_relay_down(ctx, &pkt));
}
