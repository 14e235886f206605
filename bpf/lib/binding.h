/* SPDX-License-Identifier: MIT */
/*
 * STUN Binding requests (RFC 8489 section 7.3), answered where they came from: those without
 * attributes, and with SOFTWARE, FINGERPRINT or both. The answer says what user space would say.
 * All others are left to it.
 */
#ifndef PC_LIB_BINDING_H
#define PC_LIB_BINDING_H

#include "lib/crc32.h"
#include "lib/stun.h"

#define PC_BINDING_SOFTWARE 64 /* longest text that is skipped */
#define PC_BINDING_MAX	    (PC_STUN_HEADER + PC_STUN_ATTR + PC_BINDING_SOFTWARE + PC_STUN_FINGERPRINT)
#define PC_BINDING_TTL	    64

struct pc_binding {
	void *data, *end;
	void *ip;
	struct udphdr *udp;
	void *msg;
	__u32 l2_len;
	__u32 have; /* bytes of the request */
	__u32 gone; /* what the answer does not keep, out of the checksum */
	bool fingerprint;
};

/* Looks at the frame again. False: too short. */
static __always_inline bool pc_binding_frame(struct xdp_md *ctx, struct pc_binding *b, bool six)
{
	__u32 l2_len = b->l2_len;

	asm volatile("%0 &= 31" : "+r"(l2_len));
	b->data = (void *)(long)ctx->data;
	b->end = (void *)(long)ctx->data_end;
	b->ip = b->data + l2_len;
	b->udp = b->ip + pc_ip_header(six);
	b->msg = b->udp + 1;
	return b->data + 2 * ETH_ALEN <= b->end && b->msg + PC_STUN_HEADER <= b->end;
}

/* Else the compiler counts down from the end of the frame, which the verifier does not allow. */
#define pc_binding_hide(pointer) asm volatile("" : "+r"(pointer))

/* CRC of the first @len bytes. False: they are not in the frame. */
static __always_inline bool pc_binding_crc(const struct pc_binding *b, __u32 len, __u32 *ret_crc)
{
	__u32 crc = PC_CRC_START;

	for (__u32 i = 0; i < PC_BINDING_MAX; i++) {
		const __u8 *at = b->msg + i;

		if (i >= len)
			break;
		pc_binding_hide(at);
		if ((void *)(at + 1) > b->end)
			return false;
		crc = pc_crc_byte(crc, *at);
	}
	*ret_crc = ~crc ^ PC_CRC_FINGERPRINT;
	return true;
}

/* The FINGERPRINT at @off, with which the message must end. */
static __always_inline bool pc_binding_fingerprint(struct pc_binding *b, __u32 off)
{
	const void *at;
	__u32 crc;

	if (b->have - off != PC_STUN_FINGERPRINT || !pc_binding_crc(b, off, &crc))
		return false;
	asm volatile("%0 &= 127" : "+r"(off));
	at = b->msg + off;
	pc_binding_hide(at);
	if (at + PC_STUN_FINGERPRINT > b->end)
		return false;
	b->fingerprint = true;
	return *pc_u32_at(at, 0) == pc_stun_word(PC_ATTR_FINGERPRINT, 4) &&
	       *pc_u32_at(at, 4) == bpf_htonl(crc);
}

/* Nothing behind the header, or SOFTWARE and FINGERPRINT, or one of them. */
static __always_inline bool pc_binding_attrs(struct pc_binding *b)
{
	const void *at = b->msg + PC_STUN_HEADER;
	union pc_word head;
	__u32 len, off;

	if (b->have == PC_STUN_HEADER)
		return true;
	if (at + PC_STUN_ATTR > b->end)
		return false;
	head.word = *pc_u32_at(at, 0);
	if (head.half[0] != bpf_htons(PC_ATTR_SOFTWARE))
		return pc_binding_fingerprint(b, PC_STUN_HEADER);
	len = bpf_ntohs(head.half[1]);
	off = PC_STUN_HEADER + PC_STUN_ATTR + ((len + 3) & ~3u);
	if (len > PC_BINDING_SOFTWARE || off > b->have)
		return false;
	return off == b->have || pc_binding_fingerprint(b, off);
}

/* Type, length and attributes: all but what the answer repeats. */
static __always_inline bool pc_binding_gone(struct pc_binding *b)
{
	b->gone = pc_csum_words_gone(b->msg, 1);
	for (__u32 i = PC_STUN_HEADER; i < PC_BINDING_MAX; i += 4) {
		const void *at = b->msg + i;

		if (i >= b->have)
			break;
		pc_binding_hide(at);
		if (at + 4 > b->end)
			return false;
		b->gone += pc_csum_words_gone(at, 1);
	}
	return true;
}

/* PC_REASON_BINDING: it can be answered. */
static __always_inline enum pc_reason pc_binding_read(struct pc_binding *b, bool six)
{
	if (*(__u8 *)b->data & 1)
		return PC_REASON_PASS_CONTROL; /* to a group: the answer would come from it */
	b->have = bpf_ntohs(b->udp->len) - sizeof(struct udphdr);
	if (b->have < PC_STUN_HEADER || b->have > PC_BINDING_MAX || b->have & 3)
		return PC_REASON_PASS_CONTROL;
	if (*pc_u32_at(b->msg, 0) != pc_stun_word(PC_STUN_BINDING, b->have - PC_STUN_HEADER) ||
	    *pc_u32_at(b->msg, 4) != bpf_htonl(PC_STUN_COOKIE))
		return PC_REASON_PASS_CONTROL;
	if (six && !b->udp->check)
		return PC_REASON_PASS_CHECKSUM;
	return pc_binding_attrs(b) && pc_binding_gone(b) ? PC_REASON_BINDING
							 : PC_REASON_PASS_CONTROL;
}

static __always_inline void pc_binding_swap_macs(void *data)
{
	__u32 dst = *pc_u32_at(data, 0), src = *pc_u32_at(data, 6);
	__u16 dst_end = *pc_u16_at(data, 4), src_end = *pc_u16_at(data, 10);

	*pc_u32_at(data, 0) = src;
	*pc_u16_at(data, 4) = src_end;
	*pc_u32_at(data, 6) = dst;
	*pc_u16_at(data, 10) = dst_end;
}

/* A header of our own, back to the sender. @len: of the UDP datagram. */
static __always_inline void pc_binding_write_ip(void *ip, __u32 len, bool six)
{
	__u32 words[5];
	union pc_word ttl_check = { .half[0] = bpf_htons(PC_BINDING_TTL << 8 | IPPROTO_UDP) };

	if (six) {
		__u64 src[2] = { *pc_u64_at(ip, 8), *pc_u64_at(ip, 16) };

		*pc_u32_at(ip, 0) = bpf_htonl((__u32)PC_IP6_VERSION << 28);
		*pc_u32_at(ip, 4) = pc_stun_word(len, IPPROTO_UDP << 8 | PC_BINDING_TTL);
		*pc_u64_at(ip, 8) = *pc_u64_at(ip, 24);
		*pc_u64_at(ip, 16) = *pc_u64_at(ip, 32);
		*pc_u64_at(ip, 24) = src[0];
		*pc_u64_at(ip, 32) = src[1];
		return;
	}
	words[0] = pc_stun_word(PC_IP_PLAIN << 8, sizeof(struct iphdr) + len);
	words[1] = pc_stun_word(bpf_get_prandom_u32(), 0);
	words[2] = ttl_check.word;
	words[3] = *pc_u32_at(ip, 16);
	words[4] = *pc_u32_at(ip, 12);
	ttl_check.half[1] = (__u16)~pc_csum_fold(pc_csum_words(words, 5));
	words[2] = ttl_check.word;
#pragma unroll
	for (int i = 0; i < 5; i++)
		*pc_u32_at(ip, 4 * i) = words[i];
}

/* XOR-MAPPED-ADDRESS with the source of the request, at @at. */
static __always_inline void pc_binding_write_mapped(void *at, const struct pc_binding *b, bool six)
{
	__u32 attr = six ? PC_STUN_ADDR6 : PC_STUN_ADDR4;
	__u16 port = bpf_ntohs(b->udp->source) ^ PC_STUN_PORT_MASK;

	*pc_u32_at(at, 0) = pc_stun_word(PC_ATTR_MAPPED, attr - PC_STUN_ATTR);
	*pc_u32_at(at, 4) = pc_stun_word(six ? PC_FAMILY_6 : PC_FAMILY_4, port);
#pragma unroll
	for (int i = 0; i < (six ? 4 : 1); i++)
		*pc_u32_at(at, 8 + 4 * i) =
			*pc_u32_at(b->ip, (six ? 8 : 12) + 4 * i) ^ *pc_u32_at(b->msg, 4 + 4 * i);
}

/* The request becomes the answer: the frame is long enough, the headers still the request's. */
static __always_inline enum pc_reason pc_binding_write(struct pc_binding *b, __u32 len, bool six)
{
	__u32 attr = six ? PC_STUN_ADDR6 : PC_STUN_ADDR4, crc;
	void *mapped = b->msg + PC_STUN_HEADER, *print = mapped + attr;
	__be16 udp_len = bpf_htons(len), sport = b->udp->source;
	__u32 sum = b->gone + 2 * pc_csum_diff16(b->udp->len, udp_len);

	if (print > b->end)
		return PC_REASON_DROP_INTERNAL;
	*pc_u32_at(b->msg, 0) =
		pc_stun_word(PC_STUN_BOUND, len - sizeof(struct udphdr) - PC_STUN_HEADER);
	pc_binding_write_mapped(mapped, b, six);
	sum += pc_csum_words(b->msg, 1) + pc_csum_words(mapped, six ? 6 : 3);
	if (b->fingerprint) {
		if (!pc_binding_crc(b, PC_STUN_HEADER + attr, &crc))
			return PC_REASON_DROP_INTERNAL;
		pc_binding_hide(print);
		if (print + PC_STUN_FINGERPRINT > b->end)
			return PC_REASON_DROP_INTERNAL;
		*pc_u32_at(print, 0) = pc_stun_word(PC_ATTR_FINGERPRINT, 4);
		*pc_u32_at(print, 4) = bpf_htonl(crc);
		sum += pc_csum_words(print, 2);
	}
	b->udp->source = b->udp->dest;
	b->udp->dest = sport;
	b->udp->len = udp_len;
	b->udp->check = pc_csum_update_udp(b->udp->check, sum);
	pc_binding_write_ip(b->ip, len, six);
	pc_binding_swap_macs(b->data);
	return PC_REASON_BINDING;
}

/* PC_REASON_BINDING: the frame is the answer; PASS_*: it is untouched. */
static __always_inline enum pc_reason pc_binding_answer(struct xdp_md *ctx, __u32 l2_len, bool six)
{
	struct pc_binding b = { .l2_len = l2_len };
	enum pc_reason reason;
	__u32 len;
	__u64 now;
	int grow;

	if (!pc_binding_frame(ctx, &b, six))
		return PC_REASON_PASS_CONTROL;
	reason = pc_binding_read(&b, six);
	if (reason != PC_REASON_BINDING)
		return reason;
	len = sizeof(struct udphdr) + PC_STUN_HEADER + (six ? PC_STUN_ADDR6 : PC_STUN_ADDR4) +
	      (b.fingerprint ? PC_STUN_FINGERPRINT : 0);
	now = b.end - b.data;
	asm volatile("" : "+r"(now));
	grow = (int)(l2_len + pc_ip_header(six) + len) - (int)now;
	if (grow && bpf_xdp_adjust_tail(ctx, grow))
		return PC_REASON_PASS_TAILROOM;
	return pc_binding_frame(ctx, &b, six) ? pc_binding_write(&b, len, six)
					      : PC_REASON_DROP_INTERNAL;
}

#endif
