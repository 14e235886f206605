/* SPDX-License-Identifier: MIT */
/* An admitted packet leaves: next hop, rewriting, counting. */
#ifndef PC_LIB_SEND_H
#define PC_LIB_SEND_H

#include "lib/count.h"
#include "lib/maps.h"
#include "lib/rewrite.h"
#include "lib/toll.h"

/* The next hop, and whether the packet fits. Nothing is written yet. */
static __always_inline enum pc_reason pc_admit_nexthop(const struct xdp_md *ctx,
						       const struct pc_plan *plan,
						       struct pc_way *way, bool out6)
{
	__u32 index = way->to->nexthop;
	struct pc_nexthop_slot *slot = bpf_map_lookup_elem(&pc4_nexthop, &index);
	__u32 txport, ifindex;

	if (pc_unlikely(!slot))
		return PC_REASON_PASS_NEXTHOP;
	way->nh = (*(volatile __u32 *)&slot->active & 1) ? &slot->copy[1] : &slot->copy[0];
	ifindex = way->nh->ifindex;
	way->l2_len = way->nh->l2_len;
	if (pc_unlikely(!ifindex))
		return PC_REASON_PASS_NEXTHOP;
	if (pc_unlikely(way->l2_len != PC_L2_PLAIN && way->l2_len != PC_L2_PLAIN + PC_L2_TAG &&
			way->l2_len != PC_L2_PLAIN + 2 * PC_L2_TAG))
		return PC_REASON_PASS_NEXTHOP;
	way->redirect = ifindex != ctx->ingress_ifindex;
	txport = way->nh->txport;
	if (pc_unlikely(way->redirect && !bpf_map_lookup_elem(&pc4_txport, &txport)))
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
	if (pc_unlikely((in6 || out6) && !pkt->udp->check))
		return PC_REASON_PASS_CHECKSUM;
	if (pc_unlikely(!in6 && (out6 || plan->anew) &&
			pc_csum_fold(pc_csum_words(pkt->ip, 5)) != (__u16)~0))
		return PC_REASON_PASS_UNUSUAL;
	return PC_REASON_TX;
}

/* @way: flow and counters are set. It is charged already. */
static __always_inline enum pc_reason pc_send(struct xdp_md *ctx, const struct pc_pkt *pkt,
					      const struct pc_plan *plan, struct pc_way way,
					      bool in6, bool out6)
{
	enum pc_reason reason = pc_admit_nexthop(ctx, plan, &way, out6);

	if (reason == PC_REASON_TX)
		reason = pc_admit_checksum(pkt, plan, in6, out6);
	if (reason == PC_REASON_TX)
		reason = pc_rewrite(ctx, pkt, plan, &way, in6, out6);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	if (way.redirect) {
		if (pc_unlikely(bpf_redirect_map(&pc4_txport, way.nh->txport, XDP_DROP) !=
				XDP_REDIRECT))
			return PC_REASON_DROP_INTERNAL;
		reason = PC_REASON_REDIRECT;
	}
	if (way.up)
		pc_count_packet(way.up, plan->payload, plan->up_wire);
	if (way.down)
		pc_count_packet(way.down, plan->payload, pc_plan_ip_len(plan, out6));
	return reason;
}

/* One side, @side: PC_RATE_UP or PC_RATE_DOWN, of a flow: charged, sent, or taken back. */
static __always_inline enum pc_reason pc_send_side(struct xdp_md *ctx, const struct pc_pkt *pkt,
						   struct pc_plan *plan, const struct pc_flow *flow,
						   __u32 side, bool six)
{
	__u32 index = pc_rate_index(flow->tenant, side), slot = flow->slot;
	__u32 wire = side == PC_RATE_UP ? plan->up_wire : pc_plan_ip_len(plan, six);
	struct pc_tally *count = pc_count_slot(slot);
	struct pc_way way = { .to = flow };
	enum pc_reason reason;
	__u32 said;

	if (pc_unlikely(!count))
		return PC_REASON_PASS_UNUSUAL;
	if (side == PC_RATE_UP)
		way.up = &count->up;
	else
		way.down = &count->down;
	said = pc_toll_side(index, slot, plan->payload, wire, pc_pkt_tos(pkt, six));
	reason = pc_toll_said(said);
	plan->tos = said >> PC_TOLL_TOS_SHIFT & 0xff;
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	reason = pc_send(ctx, pkt, plan, way, six, six);
	if (pc_unlikely(pc_reason_passes(reason)))
		pc_toll_undo(index, slot, plan->payload, wire);
	return reason;
}

#endif
