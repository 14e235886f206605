/* SPDX-License-Identifier: MIT */
/*
 * The leanest way of IPv6 (see lib/lean.h): IPv6 on both sides, no extension header, no VLAN tag, a
 * flow that pc4_hot6 knows. There is no header checksum, and a UDP checksum has to be there.
 */
#ifndef PC_LIB_LEAN6_H
#define PC_LIB_LEAN6_H

#include "lib/lean.h"

/* Offsets in a frame of this kind. */
#define PC_LEAN6_TYPE  12 /* EtherType, version, traffic class, begin of the flow label */
#define PC_LEAN6_LEN   18 /* payload length, next header, hop limit */
#define PC_LEAN6_ADDRS 22
#define PC_LEAN6_PORTS 54
#define PC_LEAN6_UDP   58 /* UDP length, checksum */
#define PC_LEAN6_HEAD  62 /* ChannelData header */
#define PC_LEAN6_MIN   (PC_LEAN6_HEAD + PC_CHANNEL_HEADER)

/* --- of both families: @six is a constant --- */

static __always_inline __u32 pc_lean_ports_at(bool six)
{
	return six ? PC_LEAN6_PORTS : PC_LEAN_PORTS;
}

static __always_inline __u32 pc_lean_addrs_at(bool six)
{
	return six ? PC_LEAN6_ADDRS : PC_LEAN_ADDRS;
}

/* Where the payload of UDP begins. */
static __always_inline __u32 pc_lean_head_at(bool six)
{
	return six ? PC_LEAN6_HEAD : PC_LEAN_HEAD;
}

static __always_inline __u32 pc_lean_udp_len(const void *data, bool six)
{
	return bpf_ntohs(*pc_u16_at(data, pc_lean_ports_at(six) + 4));
}

static __always_inline __u8 pc_lean_tos_of(const void *data, bool six)
{
	return six ? bpf_ntohs(*pc_u16_at(data, PC_LEAN6_TYPE + 2)) >> 4
		   : *(__u8 *)(data + PC_LEAN_TYPE + 3);
}

/* A frame that was read, as the longer ways know it. */
static __always_inline struct pc_pkt pc_lean_pkt(const void *data, bool six)
{
	return (struct pc_pkt){ .ip = (void *)data + PC_LEAN_LINK,
				.udp = (void *)data + pc_lean_ports_at(six) };
}

/* --- IPv6 --- */

struct pc_lean6 {
	union pc_word udp;
	__u32 payload;
	__u8 tos;
	__u8 hops;
};

/* Link and IP header. @udp_len: as it is sent. */
static __always_inline void pc_lean6_write_ip(void *data, const struct pc_lean6 *lean,
					      const struct pc_lean_way *way, __be16 udp_len)
{
	union pc_word word;

	word.word = bpf_htonl(ETH_P_IPV6 << 16 | PC_IP6_VERSION << 12 | lean->tos << 4);
	*pc_u64_at(data, 0) = *pc_u64_at(way->nh->l2, 0);
	*pc_u64_at(data, 8) = pc_pair(*pc_u32_at(way->nh->l2, 8), word.word);
	/* No flow label, as on the longer ways. */
	word.half[0] = 0;
	word.half[1] = udp_len;
	*pc_u32_at(data, PC_LEAN6_LEN - 2) = word.word;
	*pc_u16_at(data, PC_LEAN6_LEN + 2) = bpf_htons(IPPROTO_UDP << 8 | (lean->hops - 1));
#pragma unroll
	for (int i = 0; i < 4; i++)
		*pc_u64_at(data, PC_LEAN6_ADDRS + 8 * i) = *pc_u64_at(way->flow->saddr, 8 * i);
}

static __always_inline void pc_lean6_write(void *data, const struct pc_lean6 *lean,
					   const struct pc_lean_way *way, bool up)
{
	__u32 udp_len = lean->payload + sizeof(struct udphdr) + (up ? 0 : PC_CHANNEL_HEADER);
	union pc_word head = { .half[0] = way->flow->channel }, udp;

	head.half[1] = bpf_htons(lean->payload);
	udp.half[0] = bpf_htons(udp_len);
	udp.half[1] = pc_lean_check_udp(lean->udp.half[1], way->flow, head.half[1], up);
	pc_lean6_write_ip(data, lean, way, udp.half[0]);
	*pc_u64_at(data, PC_LEAN6_PORTS) = pc_pair(*pc_u32_at(&way->flow->sport, 0), udp.word);
	if (!up)
		*pc_u32_at(data, PC_LEAN6_HEAD) = head.word;
}

/* PC_REASON_TX: ready to be sent. PC_REASON_PASS_UNUSUAL: untouched, not for this way. DROP_*. */
static __always_inline enum pc_reason pc_lean6_send(struct xdp_md *ctx, struct pc_lean6 *lean,
						    const struct pc_flow *flow, bool up)
{
	__u32 wire = pc_lean_wire(lean->payload, up, true);
	struct pc_lean_way way = { .flow = flow };
	enum pc_reason reason;
	void *data;

	if (pc_unlikely(!flow || !pc_lean_admit(ctx, wire, &way, up ? PC_FLOW_UP : 0, true)))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(!pc_lean_room(ctx, up)))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_lean_charge(&way, lean->payload, wire, &lean->tos, up);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	data = (void *)(long)ctx->data;
	if (pc_unlikely(data + PC_LEAN6_HEAD + (up ? 0 : PC_CHANNEL_HEADER) >
			(void *)(long)ctx->data_end))
		return PC_REASON_DROP_INTERNAL;
	pc_lean6_write(data, lean, &way, up);
	return PC_REASON_TX;
}

static __always_inline void pc_lean6_load(const void *data, struct pc_lean6 *lean)
{
	union pc_word type = { .word = *pc_u32_at(data, PC_LEAN6_TYPE) };

	lean->udp.word = *pc_u32_at(data, PC_LEAN6_UDP);
	lean->hops = *(__u8 *)(data + PC_LEAN6_LEN + 3);
	lean->tos = bpf_ntohs(type.half[1]) >> 4;
}

/* Whether lengths agree with the frame, to the byte, and reads what is needed later. */
static __always_inline bool pc_lean6_read(const void *data, const void *end, struct pc_lean6 *lean)
{
	__u64 frame = end - data;
	__u32 udp_len;

	asm volatile("" : "+r"(frame));
	pc_lean6_load(data, lean);
	udp_len = bpf_ntohs(lean->udp.half[0]);
	lean->payload = udp_len - sizeof(struct udphdr);
	return frame == udp_len + PC_LEAN6_PORTS && lean->udp.half[1] && lean->hops > 1 &&
	       *pc_u16_at(data, PC_LEAN6_LEN) == lean->udp.half[0];
}

/*
 * From a tenant to a service port, or from a peer to a relayed one, as pc_lean_up() and
 * pc_lean_down(). @data: PC_LEAN6_MIN bytes.
 */
static __always_inline enum pc_reason pc_lean6(struct xdp_md *ctx, const void *data,
					       struct pc_lean6 *lean, bool up)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(data, PC_LEAN6_PORTS) };
	union pc_word head = { .word = *pc_u32_at(data, PC_LEAN6_HEAD) };
	struct pc_flow *flow;

	if (up) {
		/* Another first byte, of STUN, has no flow. */
		if (pc_unlikely(lean->payload != bpf_ntohs(head.half[1]) + PC_CHANNEL_HEADER))
			return PC_REASON_PASS_UNUSUAL;
		lean->payload -= PC_CHANNEL_HEADER;
		tail.channel = head.half[0];
	}
	flow = pc_find_hot6(data + PC_LEAN6_ADDRS, tail.word);
	if (pc_unlikely(!flow))
		return up ? PC_REASON_PASS_UNUSUAL : PC_REASON_PASS_NO_FLOW;
	if (pc_unlikely(!up && !flow->channel))
		return PC_REASON_PASS_UNUSUAL;
	return pc_lean6_send(ctx, lean, flow, up);
}

#endif
