/* SPDX-License-Identifier: MIT */
/*
 * Turns the packet that came into the packet that goes out. Everything was decided before, in a
 * plan; making room is the last step that can fail without harm.
 *
 * Headers are read and written in words of four and eight bytes: half the instructions, and the
 * program is nearly all of the cost of a packet. @in6 and @out6 are constants: each pair of
 * families is written out on its own.
 */
#ifndef PC_LIB_REWRITE_H
#define PC_LIB_REWRITE_H

#include "lib/csum.h"
#include "lib/parse.h"
#include "lib/pipe.h"
#include "lib/stun.h"

#define PC_L2_PLAIN 14
#define PC_L2_TAG   4

/*
 * What becomes of a packet: filled by admission, from the packet and its flow or flows. Numbers
 * only, and no gaps between them: it may be handed to a function that is verified on its own.
 */
struct pc_plan {
	__u32 payload; /* bytes, without headers and padding of TURN */
	__u32 head_in; /* bytes between the UDP header and the payload */
	__u32 head_out;
	__u32 pad_out; /* bytes behind the payload */
	__u32 up_wire; /* IP total length of the plain datagram of a tenant */
	__u32 l3_sum;  /* differences of the checksums beyond those in the last flow, unfolded */
	__u32 l4_sum;
	__u32 anew;	     /* the IPv4 header went through IPv6 */
	__u32 tos;	     /* to be sent */
	struct pc_peer peer; /* for a Data indication */
};

/*
 * Where it goes. The flow is read where it lies: should its entry be given to another flow in these
 * nanoseconds, the checksum difference does not fit this packet, and the receiver drops it.
 */
struct pc_way {
	const struct pc_flow *to; /* addresses, ports and channel of what is sent */
	const struct pc_nexthop *nh;
	__u32 l2_len;
	struct pc_dir_count *up, *down;	 /* where it is counted; NULL: not on this way */
	const struct pc_pipe_head *head; /* NULL: no frame of a pipe goes this way */
	bool redirect;			 /* to another interface */
};

/* Words of the old headers that are needed: the new ones may lie over them. */
struct pc_kept {
	union pc_word version_len; /* IPv4: version, IHL, TOS; total length */
	union pc_word id_frag;
	union pc_word ttl_check; /* TTL, protocol; header checksum */
	union pc_word udp_len_check;
	__u8 tos, ttl;
};

/* A frame of one buffer is no longer. */
#define PC_MOVE_MAX 4096

struct pc_moved {
	__u8 bytes[PC_MOVE_MAX];
};

/* A payload on its way from one place of the frame to another. Private to the program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pc_moved);
} pc_moved SEC(".maps");

static __always_inline __u32 pc_plan_udp_len(const struct pc_plan *plan)
{
	return sizeof(struct udphdr) + plan->head_out + plan->payload + plan->pad_out;
}

static __always_inline __u32 pc_plan_ip_len(const struct pc_plan *plan, bool out6)
{
	return pc_ip_header(out6) + pc_plan_udp_len(plan);
}

static __always_inline void pc_rewrite_keep(const struct pc_pkt *pkt, const struct pc_plan *plan,
					    struct pc_kept *ret_kept, bool in6)
{
	ret_kept->udp_len_check.word = *pc_u32_at(pkt->udp, 4);
	ret_kept->ttl = pc_pkt_ttl(pkt, in6);
	ret_kept->tos = plan->tos;
	if (in6)
		return;
	ret_kept->version_len.word = *pc_u32_at(pkt->ip, 0);
	ret_kept->id_frag.word = *pc_u32_at(pkt->ip, 4);
	ret_kept->ttl_check.word = *pc_u32_at(pkt->ip, 8);
}

/* Link header from the next hop: 14 bytes, and 4 more for each tag. */
static __always_inline void pc_rewrite_link(void *data, const struct pc_nexthop *nh, __u32 l2_len)
{
	const void *l2 = nh->l2;

	*pc_u32_at(data, 0) = *pc_u32_at(l2, 0);
	*pc_u32_at(data, 4) = *pc_u32_at(l2, 4);
	*pc_u32_at(data, 8) = *pc_u32_at(l2, 8);
	*pc_u16_at(data, 12) = *pc_u16_at(l2, 12);
	if (pc_unlikely(l2_len > PC_L2_PLAIN))
		*pc_u32_at(data, 14) = *pc_u32_at(l2, 14);
	if (pc_unlikely(l2_len > PC_L2_PLAIN + PC_L2_TAG))
		*pc_u32_at(data, 18) = *pc_u32_at(l2, 18);
}

/* The IPv4 header that came, with its checksum adjusted: a damaged one stays damaged. */
static __always_inline void pc_rewrite_ip4(void *ip, const struct pc_plan *plan,
					   const struct pc_way *way, struct pc_kept kept)
{
	__be16 tot_len = bpf_htons(pc_plan_ip_len(plan, false));
	union pc_word fresh = kept.version_len;
	__u32 sum = plan->l3_sum + way->to->l3_diff;

	*(((__u8 *)&fresh) + 1) = kept.tos;
	sum += pc_csum_diff16(kept.version_len.half[0], fresh.half[0]);
	sum += pc_csum_diff16(kept.version_len.half[1], tot_len);
	fresh.half[1] = tot_len;
	/* TTL is the first byte of its word, at least 2: taking 1 off it borrows nothing. */
	sum += pc_csum_gone16(bpf_htons(0x0100));
	kept.ttl_check.half[0] -= bpf_htons(0x0100);
	kept.ttl_check.half[1] = pc_csum_update(kept.ttl_check.half[1], sum);
	*pc_u32_at(ip, 0) = fresh.word;
	*pc_u32_at(ip, 4) = kept.id_frag.word;
	*pc_u32_at(ip, 8) = kept.ttl_check.word;
	*pc_u64_at(ip, 12) = pc_pair(way->to->saddr[0], way->to->daddr[0]);
}

/* What a socket of this host would send: fragments are allowed, so the id is not zero by habit. */
static __always_inline void pc_rewrite_ip4_anew(void *ip, const struct pc_plan *plan,
						const struct pc_way *way, struct pc_kept kept)
{
	__u32 words[5];
	union pc_word ttl_check;

	words[0] = pc_stun_word(PC_IP_PLAIN << 8 | kept.tos, pc_plan_ip_len(plan, false));
	words[1] = pc_stun_word(bpf_get_prandom_u32(), 0);
	words[2] = pc_stun_word((kept.ttl - 1) << 8 | IPPROTO_UDP, 0);
	words[3] = way->to->saddr[0];
	words[4] = way->to->daddr[0];
	ttl_check.word = words[2];
	ttl_check.half[1] = (__u16)~pc_csum_fold(pc_csum_words(words, 5));
	words[2] = ttl_check.word;
#pragma unroll
	for (int i = 0; i < 5; i++)
		*pc_u32_at(ip, 4 * i) = words[i];
}

/* No flow label: it would have to be a flow's own. */
static __always_inline void pc_rewrite_ip6(void *ip, const struct pc_plan *plan,
					   const struct pc_way *way, struct pc_kept kept)
{
	const void *addrs = way->to->saddr;

	*pc_u32_at(ip, 0) = bpf_htonl((__u32)PC_IP6_VERSION << 28 | (__u32)kept.tos << 20);
	*pc_u32_at(ip, 4) = pc_stun_word(pc_plan_udp_len(plan), IPPROTO_UDP << 8 | (kept.ttl - 1));
#pragma unroll
	for (int i = 0; i < 4; i++)
		*pc_u64_at(ip, 8 + 8 * i) = *pc_u64_at(addrs, 8 * i);
}

static __always_inline void pc_rewrite_ip(void *ip, const struct pc_plan *plan,
					  const struct pc_way *way, struct pc_kept kept, bool in6,
					  bool out6)
{
	if (out6)
		pc_rewrite_ip6(ip, plan, way, kept);
	else if (in6 || plan->anew)
		pc_rewrite_ip4_anew(ip, plan, way, kept);
	else
		pc_rewrite_ip4(ip, plan, way, kept);
}

/* What is between the UDP header and the payload; adds it to the checksum. False: no room. */
static __always_inline bool pc_rewrite_head(void *at, const void *end, const struct pc_plan *plan,
					    const struct pc_way *way, __u32 *sum)
{
	union pc_word channel_len = { .half[0] = way->to->channel };

	if (plan->head_out == PC_STUN_ATTR) {
		if (pc_unlikely(at + PC_STUN_ATTR > end))
			return false;
		channel_len.half[1] = bpf_htons(plan->payload);
		/* The number is in l4_diff. */
		*sum += channel_len.half[1];
		*pc_u32_at(at, 0) = channel_len.word;
	} else if (way->head && plan->head_out == PC_PIPE_HEADER) {
		if (pc_unlikely(at + PC_PIPE_HEADER > end))
			return false;
		/* All of it is in l4_diff and l4_sum. */
		*pc_u64_at(at, 0) = way->head->first;
		*pc_u64_at(at, 8) = way->head->counter;
		*pc_u64_at(at, 16) = way->head->tag;
	} else if (plan->head_out == PC_STUN_INDICATION4) {
		if (pc_unlikely(at + PC_STUN_INDICATION4 > end))
			return false;
		*sum += pc_stun_write_data(at, plan->peer.addr, plan->peer.port, plan->payload,
					   way->down ? way->down->packets : 0, false);
	} else if (plan->head_out) {
		if (pc_unlikely(at + PC_STUN_INDICATION6 > end))
			return false;
		*sum += pc_stun_write_data(at, plan->peer.addr, plan->peer.port, plan->payload,
					   way->down ? way->down->packets : 0, true);
	}
	return true;
}

/* What lay behind the payload must not leak. */
static __always_inline bool pc_rewrite_pad(void *udp, const void *end, const struct pc_plan *plan)
{
	__u32 off = sizeof(struct udphdr) + plan->head_out + plan->payload;
	__u8 *at;

	pc_bound_offset(off);
	at = udp + off;
#pragma unroll
	for (__u32 i = 0; i < 3; i++) {
		if (i >= plan->pad_out)
			break;
		if (pc_unlikely((void *)(at + i + 1) > end))
			return false;
		at[i] = 0;
	}
	return true;
}

static __always_inline bool pc_rewrite_udp(void *udp, const void *end, const struct pc_plan *plan,
					   const struct pc_way *way, struct pc_kept kept)
{
	union pc_word *old = &kept.udp_len_check;
	__be16 len = bpf_htons(pc_plan_udp_len(plan));
	/* The length counts twice: in the pseudo header and in the header itself. */
	__u32 sum = plan->l4_sum + way->to->l4_diff + 2 * pc_csum_diff16(old->half[0], len);

	if (pc_unlikely(!pc_rewrite_head(udp + sizeof(struct udphdr), end, plan, way, &sum)))
		return false;
	old->half[0] = len;
	old->half[1] = pc_csum_update_udp(old->half[1], sum);
	*pc_u32_at(udp, 0) = *pc_u32_at(&way->to->sport, 0);
	*pc_u32_at(udp, 4) = old->word;
	return !plan->pad_out || pc_rewrite_pad(udp, end, plan);
}

/*
 * Drivers that leave no room in front: the payload moves behind, @len bytes from @from to @to, in a
 * frame of @total bytes in the end. PASS_HEADROOM: nothing was touched.
 */
__noinline int pc_rewrite_move(struct xdp_md *ctx, __u32 from, __u32 to, __u32 len, __u32 total)
{
	__u64 frame = (void *)(long)ctx->data_end - (void *)(long)ctx->data;
	__u32 zero = 0;
	struct pc_moved *moved = bpf_map_lookup_elem(&pc_moved, &zero);
	__u32 size = len - 1;
	int grow;

	asm volatile("" : "+r"(frame));
	grow = (int)total - (int)frame;
	/* From 1 to PC_MOVE_MAX: what Linux 6.1 does not find out by itself. */
	asm volatile("%0 &= 0xfff\n%0 += 1" : "+r"(size));
	if (!moved || len > PC_MOVE_MAX || (grow > 0 && bpf_xdp_adjust_tail(ctx, grow)))
		return PC_REASON_PASS_HEADROOM;
	if (len && (bpf_xdp_load_bytes(ctx, from, moved->bytes, size) ||
		    bpf_xdp_store_bytes(ctx, to, moved->bytes, size)))
		return PC_REASON_DROP_INTERNAL;
	if (grow < 0 && bpf_xdp_adjust_tail(ctx, grow))
		return PC_REASON_DROP_INTERNAL;
	return PC_REASON_TX;
}

/*
 * Makes the frame as long as what is sent, at both ends: no Ethernet padding, no padding of
 * ChannelData. What may fail comes first and is taken back; cutting cannot be, and comes last.
 */
static __always_inline enum pc_reason pc_rewrite_room(struct xdp_md *ctx, const struct pc_pkt *pkt,
						      const struct pc_plan *plan,
						      const struct pc_way *way, bool in6, bool out6)
{
	__u32 front_in = pkt->l2_len + pc_ip_header(in6) + plan->head_in + sizeof(struct udphdr);
	__u32 front_out = way->l2_len + pc_ip_header(out6) + plan->head_out + sizeof(struct udphdr);
	__u32 behind = plan->payload + plan->pad_out;
	int grow = (int)(front_in + behind) - (int)pc_pkt_len(pkt);
	enum pc_reason reason = PC_REASON_PASS_HEADROOM;

	if (pc_unlikely(grow > 0 && bpf_xdp_adjust_tail(ctx, grow)))
		return PC_REASON_PASS_TAILROOM;
	if (front_in != front_out && bpf_xdp_adjust_head(ctx, (int)front_in - (int)front_out)) {
		if (front_in < front_out)
			reason = pc_rewrite_move(ctx, front_in, front_out, plan->payload,
						 front_out + behind);
		if (reason == PC_REASON_PASS_HEADROOM && grow > 0 &&
		    bpf_xdp_adjust_tail(ctx, -grow))
			return PC_REASON_DROP_INTERNAL;
		return reason;
	}
	if (pc_unlikely(grow < 0 && bpf_xdp_adjust_tail(ctx, grow)))
		return PC_REASON_DROP_INTERNAL;
	return PC_REASON_TX;
}

/*
 * PC_REASON_TX when the packet is ready to be sent, by whatever way; PASS_* when nothing was
 * touched; DROP_INTERNAL when it can go neither back nor on.
 */
static __always_inline enum pc_reason pc_rewrite(struct xdp_md *ctx, const struct pc_pkt *pkt,
						 const struct pc_plan *plan,
						 const struct pc_way *way, bool in6, bool out6)
{
	__u32 l2_len = way->l2_len;
	enum pc_reason reason;
	struct pc_kept kept;
	void *data, *end, *ip, *udp;

	pc_rewrite_keep(pkt, plan, &kept, in6);
	reason = pc_rewrite_room(ctx, pkt, plan, way, in6, out6);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	/* Admission allows 14, 18 and 22; the compiler forgets what it knew, the verifier asks. */
	asm volatile("%0 &= 31" : "+r"(l2_len));
	ip = data + l2_len;
	udp = ip + pc_ip_header(out6);
	if (pc_unlikely(udp + sizeof(struct udphdr) > end || data + PC_L2_MAX > end))
		return PC_REASON_DROP_INTERNAL;
	pc_rewrite_link(data, way->nh, l2_len);
	pc_rewrite_ip(ip, plan, way, kept, in6, out6);
	return pc_rewrite_udp(udp, end, plan, way, kept) ? PC_REASON_TX : PC_REASON_DROP_INTERNAL;
}

#endif
