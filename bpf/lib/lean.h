/* SPDX-License-Identifier: MIT */
/*
 * The leanest way, which nearly all data takes: ChannelData to UDP and back, IPv4 on both sides, no
 * VLAN tag, no padding, a flow that pc4_hot4 knows, out of the interface it came in on. All offsets
 * are constants, so little is computed, and headers are read and written in few words. Whatever is
 * not so is left to the longer ways, untouched and uncounted: they judge it from the start.
 *
 * Most packets' cost is the number of instructions here: docs/decisions/0009 has the figures.
 */
#ifndef PC_LIB_LEAN_H
#define PC_LIB_LEAN_H

#include "lib/admit.h"
#include "lib/count.h"
#include "lib/find.h"
#include "lib/toll.h"

/* Offsets in a frame of this kind. */
#define PC_LEAN_TYPE  12 /* EtherType, version, IHL, TOS */
#define PC_LEAN_LEN   16 /* total length, id */
#define PC_LEAN_FRAG  20 /* fragment offset, TTL, protocol */
#define PC_LEAN_TTL   22
#define PC_LEAN_CHECK 24
#define PC_LEAN_ADDRS 26
#define PC_LEAN_PORTS 34
#define PC_LEAN_UDP   38 /* UDP length, checksum */
#define PC_LEAN_HEAD  42 /* ChannelData header */
#define PC_LEAN_MIN   (PC_LEAN_HEAD + PC_CHANNEL_HEADER)
#define PC_LEAN_LINK  14

/* Words of the headers that came: the new ones lie over them. */
struct pc_lean {
	__u32 type; /* from PC_LEAN_TYPE on, as they lie */
	union pc_word len, frag, udp;
	__be16 check;
	__u32 l3_sum;  /* beyond what the flow and the direction make of the IPv4 checksum */
	__u32 udp_len; /* host order */
	__u32 payload;
};

struct pc_lean_way {
	const struct pc_flow *flow;
	const struct pc_nexthop *nh;
	struct pc_tally *tally;
	__u64 now;
};

static __always_inline void pc_lean_load(const void *data, struct pc_lean *lean)
{
	lean->type = *pc_u32_at(data, PC_LEAN_TYPE);
	lean->len.word = *pc_u32_at(data, PC_LEAN_LEN);
	lean->frag.word = *pc_u32_at(data, PC_LEAN_FRAG);
	lean->check = *pc_u16_at(data, PC_LEAN_CHECK);
	lean->udp.word = *pc_u32_at(data, PC_LEAN_UDP);
	lean->udp_len = bpf_ntohs(lean->udp.half[0]);
}

/* Whether lengths agree with the frame, to the byte, and reads what is needed later. */
static __always_inline bool pc_lean_read(const void *data, const void *end, struct pc_lean *lean)
{
	__u64 frame = end - data;
	__u32 ip_len;

	asm volatile("" : "+r"(frame));
	pc_lean_load(data, lean);
	ip_len = lean->udp_len + sizeof(struct iphdr);
	return frame == ip_len + PC_LEAN_LINK && bpf_ntohs(lean->len.half[0]) == ip_len &&
	       *(__u8 *)(data + PC_LEAN_TTL) > 1;
}

/* IP total length of ChannelData, or of what was in it, as sent on. */
static __always_inline __u32 pc_lean_wire(__u32 payload, bool up, bool six)
{
	return payload + pc_ip_header(six) + sizeof(struct udphdr) + (up ? 0 : PC_CHANNEL_HEADER);
}

/* Everything that can fail. @wire: IP total length as sent on; @flags: what the flow has to be. */
static __always_inline bool pc_lean_admit(const struct xdp_md *ctx, __u32 wire,
					  struct pc_lean_way *way, __u16 flags, bool six)
{
	const struct pc_flow *flow = way->flow;
	__u32 index = flow->nexthop;
	struct pc_nexthop_slot *slot;

	way->now = pc_clock_now();
	if (pc_unlikely(!pc_flow_is(flow, flags, six) || way->now >= flow->expires_ns))
		return false;
	slot = bpf_map_lookup_elem(&pc4_nexthop, &index);
	if (pc_unlikely(!slot))
		return false;
	way->nh = (*(volatile __u32 *)&slot->active & 1) ? &slot->copy[1] : &slot->copy[0];
	if (pc_unlikely(way->nh->ifindex != ctx->ingress_ifindex ||
			way->nh->l2_len != PC_LEAN_LINK))
		return false;
	if (pc_unlikely(wire > way->nh->mtu))
		return false;
	way->tally = pc_count_slot(flow->slot);
	return way->tally;
}

/* The limits of the tenant, and what they make of the TOS; counts what is sent. */
static __always_inline enum pc_reason pc_lean_charge(const struct pc_lean_way *way, __u32 payload,
						     __u32 wire, __u8 *tos, bool up)
{
	struct pc_side side = {
		.tenant = way->flow->tenant,
		.slot = way->flow->slot,
		.tally = way->tally,
		.direction = up ? PC_RATE_UP : PC_RATE_DOWN,
		.payload = payload,
		.wire = wire,
	};
	enum pc_reason reason = pc_toll_take(&side, way->now, tos);

	if (pc_unlikely(reason != PC_REASON_TX)) {
		pc_toll_count(side.slot, reason);
		return reason;
	}
	pc_count_packet(up ? &way->tally->up : &way->tally->down, side.payload, side.wire);
	return PC_REASON_TX;
}

static __always_inline __u8 pc_lean_tos(const struct pc_lean *lean)
{
	union pc_word type = { .word = lean->type };

	return bpf_ntohs(type.half[1]);
}

/* The TOS to be sent. */
static __always_inline void pc_lean_set_tos(struct pc_lean *lean, __u8 tos)
{
	union pc_word type = { .word = lean->type };
	__u8 old = pc_lean_tos(lean);

	lean->l3_sum = 0;
	if (pc_unlikely(tos != old)) {
		type.half[1] = bpf_htons(PC_IP_PLAIN << 8 | tos);
		lean->l3_sum = pc_csum_diff16(bpf_htons(PC_IP_PLAIN << 8 | old), type.half[1]);
		lean->type = type.word;
	}
}

static __always_inline enum pc_reason pc_lean_charge4(struct pc_lean *lean,
						      const struct pc_lean_way *way, __u32 wire,
						      bool up)
{
	__u8 tos = pc_lean_tos(lean);
	enum pc_reason reason = pc_lean_charge(way, lean->payload, wire, &tos, up);

	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	pc_lean_set_tos(lean, tos);
	return PC_REASON_TX;
}

/* The sum of a difference and a checksum that goes, so that its complement is the new one. */
static __always_inline __u32 pc_lean_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return sum + (sum >> 16);
}

/*
 * The IPv4 header's checksum: addresses, TTL less 1, length by 4 less or more. The differences of
 * lengths are constants, of the words as they lie in the packet.
 */
static __always_inline __be16 pc_lean_check(const struct pc_lean *lean, const struct pc_flow *flow,
					    bool up)
{
	__u32 sum = pc_csum_gone16(lean->check) + flow->l3_diff + lean->l3_sum;

	sum += pc_csum_gone16(bpf_htons(0x0100)) +
	       (up ? pc_csum_gone16(bpf_htons(PC_CHANNEL_HEADER)) : bpf_htons(PC_CHANNEL_HEADER));
	return ~pc_lean_fold(sum);
}

/*
 * The UDP checksum: addresses, ports and channel number, the length twice, and the length in the
 * ChannelData header, @head. With 1 more in the sum and the complement of two, not of one, a
 * result of zero comes out as 0xffff, as it has to.
 */
static __always_inline __be16 pc_lean_check_udp(__be16 check, const struct pc_flow *flow,
						__be16 head, bool up)
{
	__u32 sum = pc_csum_gone16(check) + flow->l4_diff + 1;

	sum += up ? pc_csum_gone16(bpf_htons(2 * PC_CHANNEL_HEADER)) + pc_csum_gone16(head)
		  : bpf_htons(2 * PC_CHANNEL_HEADER) + (__u32)head;
	return -pc_lean_fold(sum);
}

/*
 * Link and IP header, with the length and TTL in @lean. The type of the link header that comes is
 * that of what is sent.
 */
static __always_inline void pc_lean_write_ip(void *data, const struct pc_lean *lean,
					     const struct pc_lean_way *way, __be16 check)
{
	const struct pc_flow *flow = way->flow;

	*pc_u64_at(data, 0) = *pc_u64_at(way->nh->l2, 0);
	*pc_u64_at(data, 8) = pc_pair(*pc_u32_at(way->nh->l2, 8), lean->type);
	*pc_u64_at(data, PC_LEAN_LEN) = pc_pair(lean->len.word, lean->frag.word);
	*pc_u16_at(data, PC_LEAN_CHECK) = check;
	*pc_u64_at(data, PC_LEAN_ADDRS) = pc_pair(flow->saddr[0], flow->daddr[0]);
}

/* The frame has its new length. */
static __always_inline void pc_lean_write(void *data, struct pc_lean *lean,
					  const struct pc_lean_way *way, bool up)
{
	__u32 udp_len = lean->payload + sizeof(struct udphdr) + (up ? 0 : PC_CHANNEL_HEADER);
	const struct pc_flow *flow = way->flow;
	union pc_word head = { .half[0] = flow->channel };

	head.half[1] = bpf_htons(lean->payload);
	lean->len.half[0] = bpf_htons(udp_len + sizeof(struct iphdr));
	/* At least 2 before: nothing is borrowed. */
	lean->frag.half[1] -= bpf_htons(0x0100);
	if (pc_likely(lean->udp.half[1]))
		lean->udp.half[1] = pc_lean_check_udp(lean->udp.half[1], flow, head.half[1], up);
	lean->udp.half[0] = bpf_htons(udp_len);
	pc_lean_write_ip(data, lean, way, pc_lean_check(lean, flow, up));
	*pc_u64_at(data, PC_LEAN_PORTS) = pc_pair(*pc_u32_at(&flow->sport, 0), lean->udp.word);
	if (!up)
		*pc_u32_at(data, PC_LEAN_HEAD) = head.word;
}

/* Makes the frame shorter or longer in front. False: untouched. */
static __always_inline bool pc_lean_room(struct xdp_md *ctx, bool up)
{
	return !bpf_xdp_adjust_head(ctx, up ? PC_CHANNEL_HEADER : -PC_CHANNEL_HEADER);
}

/* PC_REASON_TX: ready to be sent. PC_REASON_PASS_UNUSUAL: untouched, not for this way. DROP_*. */
static __always_inline enum pc_reason pc_lean_send(struct xdp_md *ctx, struct pc_lean *lean,
						   const struct pc_flow *flow, bool up)
{
	__u32 wire = pc_lean_wire(lean->payload, up, false);
	struct pc_lean_way way = { .flow = flow };
	enum pc_reason reason;
	void *data;

	if (pc_unlikely(!flow || !pc_lean_admit(ctx, wire, &way, up ? PC_FLOW_UP : 0, false)))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(!pc_lean_room(ctx, up)))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_lean_charge4(lean, &way, wire, up);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	data = (void *)(long)ctx->data;
	if (pc_unlikely(data + PC_LEAN_HEAD + (up ? 0 : PC_CHANNEL_HEADER) >
			(void *)(long)ctx->data_end))
		return PC_REASON_DROP_INTERNAL;
	pc_lean_write(data, lean, &way, up);
	return PC_REASON_TX;
}

/* From a tenant, to a service port. @data: at least PC_LEAN_MIN bytes. */
static __always_inline enum pc_reason pc_lean_up(struct xdp_md *ctx, const void *data,
						 struct pc_lean *lean)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(data, PC_LEAN_PORTS) };
	union pc_word head = { .word = *pc_u32_at(data, PC_LEAN_HEAD) };

	lean->payload = bpf_ntohs(head.half[1]);
	/* Another first byte, of STUN, has no flow. */
	if (pc_unlikely(lean->udp_len != lean->payload + sizeof(struct udphdr) + PC_CHANNEL_HEADER))
		return PC_REASON_PASS_UNUSUAL;
	tail.channel = head.half[0];
	return pc_lean_send(ctx, lean, pc_find_hot4(*pc_u64_at(data, PC_LEAN_ADDRS), tail.word),
			    true);
}

/* From a peer, to a relayed port. PC_REASON_PASS_NO_FLOW: untouched, there is none in the table. */
static __always_inline enum pc_reason pc_lean_down(struct xdp_md *ctx, const void *data,
						   struct pc_lean *lean)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(data, PC_LEAN_PORTS) };
	struct pc_flow *flow = pc_find_hot4(*pc_u64_at(data, PC_LEAN_ADDRS), tail.word);

	if (pc_unlikely(!flow))
		return PC_REASON_PASS_NO_FLOW;
	lean->payload = lean->udp_len - sizeof(struct udphdr);
	return flow->channel ? pc_lean_send(ctx, lean, flow, false) : PC_REASON_PASS_UNUSUAL;
}

#endif
