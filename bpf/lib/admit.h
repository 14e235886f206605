/* SPDX-License-Identifier: MIT */
/* What may be forwarded: step 5 of the walk, as far as the flow and the packet decide it. */
#ifndef PC_LIB_ADMIT_H
#define PC_LIB_ADMIT_H

#include "lib/clock.h"
#include "lib/rewrite.h"

#define PC_CHANNEL_HEADER 4 /* number and length (RFC 8656 section 12.4) */

/* Whether a flow may be used, in this direction. */
static __always_inline enum pc_reason pc_admit_flow(const struct pc_flow *flow, bool up)
{
	if (pc_unlikely(!(flow->flags & PC_FLOW_UP) == up))
		return PC_REASON_PASS_UNUSUAL;
	return pc_clock_now() >= flow->expires_ns ? PC_REASON_PASS_EXPIRED : PC_REASON_TX;
}

/* Whether it is @flags, PC_FLOW_UP and PC_FLOW_PERM, and to this family; and nothing else. */
static __always_inline bool pc_flow_is(const struct pc_flow *flow, __u16 flags, bool six)
{
	return (flow->flags & (PC_FLOW_UP | PC_FLOW_HAIRPIN | PC_FLOW_OUT6 | PC_FLOW_PIPE |
			       PC_FLOW_PERM)) == (flags | (six ? PC_FLOW_OUT6 : 0));
}

/* Whether it is the plain case: one flow, one family. That is written out on its own, for speed. */
static __always_inline bool pc_flow_plain(const struct pc_flow *flow, bool up, bool six)
{
	return pc_flow_is(flow, up ? PC_FLOW_UP : 0, six);
}

/* From a tenant: @flow fits what arrived, the payload is known. */
static __always_inline enum pc_reason pc_plan_up(struct pc_plan *plan, const struct pc_flow *flow,
						 const struct pc_pkt *pkt, bool in6, bool out6)
{
	if (pc_unlikely(pc_clock_now() >= flow->expires_ns))
		return PC_REASON_PASS_EXPIRED;
	if (pc_unlikely(pc_pkt_ttl(pkt, in6) <= 1))
		return PC_REASON_DROP_TTL;
	/* Between the two sessions of a hairpin, too, it counts as plain UDP. */
	plan->up_wire =
		pc_ip_header(flow->flags & PC_FLOW_OUT6) + sizeof(struct udphdr) + plan->payload;
	return PC_REASON_TX;
}

/* Whether a channel of a tenant may be used by this packet of a peer. */
static __always_inline enum pc_reason pc_plan_down(const struct pc_flow *flow,
						   const struct pc_pkt *pkt, bool six)
{
	if (pc_unlikely(!flow->channel))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(pc_clock_now() >= flow->expires_ns))
		return PC_REASON_PASS_EXPIRED;
	return pc_pkt_ttl(pkt, six) <= 1 ? PC_REASON_DROP_TTL : PC_REASON_TX;
}

/*
 * Takes the length of the ChannelData header and its padding out of the plan's checksum. The
 * payload moves by four bytes, so its words stay words.
 */
static __always_inline enum pc_reason pc_read_channel_data(const struct pc_pkt *pkt,
							   const void *header, struct pc_plan *plan)
{
	__u32 have = pkt->udp_len - sizeof(struct udphdr) - PC_CHANNEL_HEADER;
	union pc_word head = { .word = *pc_u32_at(header, 0) };
	__u32 length = bpf_ntohs(head.half[1]);

	if (pc_unlikely(length > have || have > ((length + 3) & ~3u)))
		return PC_REASON_DROP_LENGTH;
	plan->payload = length;
	plan->head_in = PC_CHANNEL_HEADER;
	/* The number is in l4_diff. */
	plan->l4_sum = pc_csum_gone16(head.half[1]);
	if (pc_unlikely(length != have && !pc_stun_pad_gone(pkt, header + PC_CHANNEL_HEADER, length,
							    have - length, &plan->l4_sum)))
		return PC_REASON_DROP_LENGTH;
	return PC_REASON_TX;
}

#endif
