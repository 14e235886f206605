/* SPDX-License-Identifier: MIT */
/*
 * The lean way (see lib/lean.h) of Send and Data indications: one family on both sides, that of the
 * peer too; the peer's address before the data, as clients send them; padding, and a FINGERPRINT
 * behind it; a permission that has a place in pc4_hot4 or pc4_hot6. @six is a constant.
 *
 * As little as can be is carried across the limits of tenants, beside which there is little stack:
 * what came is read again from where it still lies.
 */
#ifndef PC_LIB_LEAN_STUN_H
#define PC_LIB_LEAN_STUN_H

#include "lib/lean6.h"
#include "lib/ports.h"
#include "lib/stun.h"

static __always_inline __u32 pc_lean_stun_addr(bool six)
{
	return six ? PC_STUN_ADDR6 : PC_STUN_ADDR4;
}

/* Bytes in front of the data of an indication. */
static __always_inline __u32 pc_lean_front(bool six)
{
	return six ? PC_STUN_INDICATION6 : PC_STUN_INDICATION4;
}

/* Words of the headers that came: new ones lie over them. */
struct pc_lean_old {
	struct pc_lean v4;
	struct pc_lean6 v6;
};

static __always_inline void pc_lean_old_load(const void *from, struct pc_lean_old *old, __u8 tos,
					     bool six)
{
	if (six) {
		pc_lean6_load(from, &old->v6);
		old->v6.tos = tos;
	} else {
		pc_lean_load(from, &old->v4);
		pc_lean_set_tos(&old->v4, tos);
	}
}

/* Link and IP header. @len: of UDP, header and all. */
static __always_inline void pc_lean_stun_ip(void *data, struct pc_lean_old *old,
					    const struct pc_lean_way *way, __u32 len, bool six)
{
	__be16 ip_len = bpf_htons(len + sizeof(struct iphdr));
	struct pc_lean *lean = &old->v4;
	__u32 sum;

	if (six) {
		pc_lean6_write_ip(data, &old->v6, way, bpf_htons(len));
		return;
	}
	sum = pc_csum_gone16(lean->check) + way->flow->l3_diff + lean->l3_sum +
	      pc_csum_diff16(lean->len.half[0], ip_len) + pc_csum_gone16(bpf_htons(0x0100));
	lean->len.half[0] = ip_len;
	lean->frag.half[1] -= bpf_htons(0x0100);
	pc_lean_write_ip(data, lean, way, ~pc_lean_fold(sum));
}

/*
 * The UDP header. @sum: what the indication and its peer change of the checksum, beside the flow.
 * See pc_lean_check_udp().
 */
static __always_inline void pc_lean_stun_udp(void *data, const struct pc_lean_old *old,
					     const struct pc_lean_way *way, __u32 ports, __u32 sum,
					     __u32 len, bool six)
{
	union pc_word udp = six ? old->v6.udp : old->v4.udp;
	__be16 udp_len = bpf_htons(len);

	sum += way->flow->l4_diff + 2 * pc_csum_diff16(udp.half[0], udp_len) + 1;
	if (six || pc_likely(udp.half[1]))
		udp.half[1] = -pc_lean_fold(sum + pc_csum_gone16(udp.half[1]));
	udp.half[0] = udp_len;
	*pc_u64_at(data, pc_lean_ports_at(six)) = pc_pair(ports, udp.word);
}

/* The frame as it lies now: @ret_end. Read anew, so that nothing has to be kept. */
static __always_inline void *pc_lean_again(const struct xdp_md *ctx, void **ret_end)
{
	*ret_end = (void *)(long)*(volatile __u32 *)&ctx->data_end;
	return (void *)(long)*(volatile __u32 *)&ctx->data;
}

/* --- Send --- */

static __always_inline __u32 pc_lean_send_payload(const void *data, bool six)
{
	return bpf_ntohs(*pc_u16_at(data, pc_lean_head_at(six) + pc_lean_front(six) - 2));
}

static __always_inline __be16 pc_lean_send_port(const void *data, bool six)
{
	return *pc_u16_at(data, pc_lean_head_at(six) + PC_STUN_HEADER + 6) ^
	       bpf_htons(PC_STUN_PORT_MASK);
}

/* Bytes behind the data. */
static __always_inline __u32 pc_lean_send_tail(const void *data, bool six)
{
	return pc_lean_udp_len(data, six) - sizeof(struct udphdr) - pc_lean_front(six) -
	       pc_lean_send_payload(data, six);
}

/* Whether it is an indication for this way: nothing behind the data but padding and FINGERPRINT. */
static __always_inline bool pc_lean_send_read(const void *data, const void *end, bool six)
{
	const __u32 front = pc_lean_front(six), addr = pc_lean_stun_addr(six);
	__u32 len = pc_lean_udp_len(data, six) - sizeof(struct udphdr), payload, pad;
	const void *msg = data + pc_lean_head_at(six), *peer = msg + PC_STUN_HEADER;
	const struct pc_pkt pkt = { .data_end = (void *)end };
	struct pc_send print = {};

	if (pc_unlikely(*pc_u32_at(msg, 0) != pc_stun_word(PC_STUN_SEND, len - PC_STUN_HEADER) ||
			*pc_u32_at(msg, 4) != bpf_htonl(PC_STUN_COOKIE) ||
			*pc_u32_at(peer, 0) != pc_stun_word(PC_ATTR_PEER, addr - PC_STUN_ATTR) ||
			((__u8 *)peer)[5] != (six ? PC_FAMILY_6 : PC_FAMILY_4) ||
			*pc_u16_at(peer, addr) != bpf_htons(PC_ATTR_DATA)))
		return false;
	payload = pc_lean_send_payload(data, six);
	pad = pc_stun_padding(payload);
	len -= front;
	if (pc_unlikely(len > PC_UDP_LEN_MAX || payload > len))
		return false;
	if (pc_likely(payload == len || payload + pad == len))
		return true;
	return payload + pad < len && pc_stun_read_fingerprint(&pkt, msg + front, payload + pad,
							       len - payload - pad, &print);
}

/* All but the data, taken out of a checksum. False only for frames that were not read before. */
static __always_inline bool pc_lean_send_gone(const void *data, const void *end, __u32 *ret_gone,
					      bool six)
{
	const struct pc_pkt pkt = { .data_end = (void *)end };
	__u32 payload = pc_lean_send_payload(data, six), pad = pc_stun_padding(payload);
	__u32 tail = pc_lean_send_tail(data, six);
	const void *msg = data + pc_lean_head_at(six), *body = msg + pc_lean_front(six);
	struct pc_send print = {};

	*ret_gone = pc_csum_words_gone(msg, pc_lean_front(six) / 4);
	if (pc_likely(!tail))
		return true;
	if (!pc_stun_pad_gone(&pkt, body, payload, pad, ret_gone))
		return false;
	if (tail != pad && !pc_stun_read_fingerprint(&pkt, body, payload + pad, tail - pad, &print))
		return false;
	*ret_gone += print.gone;
	return true;
}

/* The permission for its peer. NULL: there is none, or it has no place. */
static __always_inline struct pc_flow *pc_lean_send_flow(const void *data, bool six)
{
	const void *msg = data + pc_lean_head_at(six), *peer = msg + PC_STUN_HEADER;
	__u32 ports = *pc_u32_at(data, pc_lean_ports_at(six));
	__u64 first, second;
	struct pc_flow *flow;

	if (!six)
		return pc_find_hot4(*pc_u64_at(data, PC_LEAN_ADDRS),
				    pc_pair(ports, pc_hot_peer4(*pc_u32_at(peer, 8) ^
								bpf_htonl(PC_STUN_COOKIE))));
	/* The mask is the cookie and the transaction id. */
	first = *pc_u64_at(peer, 8) ^ *pc_u64_at(msg, 4);
	second = *pc_u64_at(peer, 16) ^ *pc_u64_at(msg, 12);
	flow = pc_find_hot6(data + PC_LEAN6_ADDRS, pc_pair(ports, pc_hot_peer6(first, second)));
	if (pc_unlikely(!flow || *pc_u64_at(flow->daddr, 0) != first ||
			*pc_u64_at(flow->daddr, 8) != second))
		return NULL;
	return flow;
}

/*
 * Nothing here can fail in truth: it was all looked at before. So the new headers are written over
 * the indication first, and the front is cut off last.
 */
static __always_inline enum pc_reason pc_lean_send_out(struct xdp_md *ctx,
						       const struct pc_lean_way *way, __u8 tos,
						       bool six)
{
	const __u32 front = pc_lean_front(six);
	void *end, *data = pc_lean_again(ctx, &end), *to = data + front;
	struct pc_lean_old old;
	union pc_word ports;
	__u32 len, gone, tail;

	if (pc_unlikely(to + pc_lean_head_at(six) > end ||
			!pc_lean_send_gone(data, end, &gone, six)))
		return PC_REASON_DROP_INTERNAL;
	len = pc_lean_send_payload(data, six) + sizeof(struct udphdr);
	tail = pc_lean_send_tail(data, six);
	ports.half[0] = way->flow->sport;
	ports.half[1] = pc_lean_send_port(data, six);
	pc_lean_old_load(data, &old, tos, six);
	pc_lean_stun_ip(to, &old, way, len, six);
	pc_lean_stun_udp(to, &old, way, ports.word, gone + ports.half[1], len, six);
	if (pc_unlikely((tail && bpf_xdp_adjust_tail(ctx, -(int)tail)) ||
			bpf_xdp_adjust_head(ctx, front)))
		return PC_REASON_DROP_INTERNAL;
	return PC_REASON_TX;
}

static __always_inline enum pc_reason pc_lean_send_as(struct xdp_md *ctx, bool six)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct pc_lean_way way;
	enum pc_reason reason;
	__u32 payload;
	__u8 tos;

	if (pc_unlikely(data + pc_lean_head_at(six) + pc_lean_front(six) > end ||
			!pc_lean_send_read(data, end, six) ||
			!pc_port_allowed(bpf_ntohs(pc_lean_send_port(data, six)))))
		return PC_REASON_PASS_UNUSUAL;
	way.flow = pc_lean_send_flow(data, six);
	if (pc_unlikely(!way.flow))
		return PC_REASON_PASS_UNUSUAL;
	payload = pc_lean_send_payload(data, six);
	tos = pc_lean_tos_of(data, six);
	if (pc_unlikely(!pc_lean_admit(ctx, pc_lean_wire(payload, true, six), &way,
				       PC_FLOW_UP | PC_FLOW_PERM, six)))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_lean_charge(&way, payload, pc_lean_wire(payload, true, six), &tos, true);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	return pc_lean_send_out(ctx, &way, tos, six);
}

/*
 * A frame that lib/lean.h or lib/lean6.h has read. PC_REASON_TX: ready to be sent, and counted.
 * PC_REASON_PASS_UNUSUAL: not for this way, untouched. DROP_*.
 */
static __noinline int pc_lean_send4(struct xdp_md *ctx)
{
	return pc_lean_send_as(ctx, false);
}

static __noinline int pc_lean_send6(struct xdp_md *ctx)
{
	return pc_lean_send_as(ctx, true);
}

/* --- Data --- */

static __always_inline void pc_lean_key(union pc_key *key, const void *data, bool six)
{
	const struct pc_pkt pkt = pc_lean_pkt(data, six);

	pc_key_packet(key, &pkt, 0, six);
}

/* Whether there is a channel, which has no place. */
static __always_inline bool pc_lean_channel_as(struct xdp_md *ctx, bool six)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	union pc_key key;

	if (pc_unlikely(data + pc_lean_head_at(six) > end))
		return true;
	pc_lean_key(&key, data, six);
	return six ? bpf_map_lookup_elem(&pc4_flow6, &key.v6)
		   : bpf_map_lookup_elem(&pc4_flow4, &key.v4);
}

static __noinline int pc_lean_channel4(struct xdp_md *ctx)
{
	return pc_lean_channel_as(ctx, false);
}

static __noinline int pc_lean_channel6(struct xdp_md *ctx)
{
	return pc_lean_channel_as(ctx, true);
}

/*
 * Whether there is none for what pc4_hot4 has no flow for: the set tells in its free places, of
 * which the last are taken last.
 */
static __always_inline bool pc_lean_no_channel(const void *data, bool six)
{
	struct pc_hot4 *hot4;
	struct pc_hot6 *hot6;
	union pc_key key;
	__u32 set;

	pc_lean_key(&key, data, six);
	set = six ? pc_hot_set6(key.words, key.words[4], pc_hot6_shift)
		  : pc_hot_set(key.words[0], key.words[1], pc_hot_shift);
	hot4 = six ? NULL : bpf_map_lookup_elem(&pc4_hot4, &set);
	hot6 = six ? bpf_map_lookup_elem(&pc4_hot6, &set) : NULL;
#pragma unroll
	for (int i = PC_HOT_WAYS - 1; i >= 0; i--) {
		if (six && hot6 && pc_likely(hot6->tail[i] == PC_HOT_KNOWN))
			return true;
		if (!six && hot4 && pc_likely(*pc_u64_at(&hot4->key[i], 8) == PC_HOT_KNOWN))
			return true;
	}
	return false;
}

/* The permission for who sent it. NULL: there is none, or it has no place. */
static __always_inline struct pc_flow *pc_lean_data_flow(const void *data, bool six)
{
	union pc_word ports = { .word = *pc_u32_at(data, pc_lean_ports_at(six)) };
	__u64 tail;

	ports.half[0] = 0;
	tail = pc_pair(ports.word, PC_HOT_FROM_PEER);
	return six ? pc_find_hot6(data + PC_LEAN6_ADDRS, tail)
		   : pc_find_hot4(*pc_u64_at(data, PC_LEAN_ADDRS), tail);
}

/* Room for the indication in front and for padding behind. PASS_UNUSUAL: nothing was touched. */
static __always_inline enum pc_reason pc_lean_data_room(struct xdp_md *ctx, __u32 pad, bool six)
{
	if (pc_unlikely(pad && bpf_xdp_adjust_tail(ctx, (int)pad)))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_likely(!bpf_xdp_adjust_head(ctx, -(int)pc_lean_front(six))))
		return PC_REASON_TX;
	return pad && bpf_xdp_adjust_tail(ctx, -(int)pad) ? PC_REASON_DROP_INTERNAL
							  : PC_REASON_PASS_UNUSUAL;
}

/*
 * The frame has its new length, and the headers that came lie behind their place: those that are
 * written leave their addresses, the indication takes them first.
 */
static __always_inline enum pc_reason pc_lean_data_out(struct xdp_md *ctx,
						       const struct pc_lean_way *way, __u8 tos,
						       bool six)
{
	struct pc_plan plan = { .head_out = pc_lean_front(six) };
	void *end, *data = pc_lean_again(ctx, &end), *from = data + plan.head_out;
	struct pc_lean_old old;
	__u32 sum, len;
	__be16 port;

	if (pc_unlikely(from + pc_lean_head_at(six) > end))
		return PC_REASON_DROP_INTERNAL;
	plan.payload = pc_lean_udp_len(from, six) - sizeof(struct udphdr);
	plan.pad_out = pc_stun_padding(plan.payload);
	if (pc_unlikely(plan.pad_out && !pc_rewrite_pad(data + pc_lean_ports_at(six), end, &plan)))
		return PC_REASON_DROP_INTERNAL;
	len = pc_plan_udp_len(&plan);
	pc_lean_old_load(from, &old, tos, six);
	port = *pc_u16_at(from, pc_lean_ports_at(six));
	pc_lean_stun_ip(data, &old, way, len, six);
	sum = pc_stun_write_data(data + pc_lean_head_at(six), from + pc_lean_addrs_at(six), port,
				 plan.payload, way->tally->down.packets, six);
	pc_lean_stun_udp(data, &old, way, *pc_u32_at(&way->flow->sport, 0),
			 sum + pc_csum_gone16(port), len, six);
	return PC_REASON_TX;
}

static __always_inline enum pc_reason pc_lean_data_as(struct xdp_md *ctx, bool six)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct pc_lean_way way;
	enum pc_reason reason;
	__u32 payload, wire;
	__u8 tos;

	if (pc_unlikely(data + pc_lean_head_at(six) > end))
		return PC_REASON_PASS_UNUSUAL;
	payload = pc_lean_udp_len(data, six) - sizeof(struct udphdr);
	way.flow = pc_lean_data_flow(data, six);
	if (pc_unlikely(!way.flow || payload > PC_UDP_LEN_MAX))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(!pc_lean_no_channel(data, six) &&
			(six ? pc_lean_channel6(ctx) : pc_lean_channel4(ctx))))
		return PC_REASON_PASS_UNUSUAL;
	tos = pc_lean_tos_of(data, six);
	wire = pc_lean_wire(payload + pc_stun_padding(payload), true, six) + pc_lean_front(six);
	if (pc_unlikely(!pc_lean_admit(ctx, wire, &way, PC_FLOW_PERM, six)))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_lean_data_room(ctx, pc_stun_padding(payload), six);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	reason = pc_lean_charge(&way, payload, wire, &tos, false);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	return pc_lean_data_out(ctx, &way, tos, six);
}

/* From a peer who has no channel, in a frame that was read; as pc_lean_send4(). */
static __noinline int pc_lean_data4(struct xdp_md *ctx)
{
	return pc_lean_data_as(ctx, false);
}

static __noinline int pc_lean_data6(struct xdp_md *ctx)
{
	return pc_lean_data_as(ctx, true);
}

#endif
