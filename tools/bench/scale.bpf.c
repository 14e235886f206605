/* SPDX-License-Identifier: MIT */
/*
 * Packets of sessions drawn at random, for scale_cost: writes the headers of one over the frame and
 * goes on to the relay, or to a program that only moves the frame as the relay would. The frame's
 * length tells the direction: the relay strips the ChannelData header of a packet to the peer, and
 * the next one, from a peer, gets one.
 *
 * Session i: client 10.0.0.0 + i, port 40000; peer 11.0.0.0 + i, port 7000; relayed port i modulo
 * 60000 above 4000.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PAYLOAD 160
#define LINK	14
#define PLAIN	(LINK + 20 + 8 + PAYLOAD)
#define CHANNEL 0x4abc

const volatile __u32 pc_scale_sessions = 1;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} pc_scale_next SEC(".maps");

struct packet {
	__u8 macs[12];
	__be16 type;
	__u8 version, tos;
	__be16 len, id, frag;
	__u8 ttl, proto;
	__u16 check;
	__be16 addr[4];
	__be16 sport, dport, udp_len;
	__u16 udp_check;
	__be16 channel, channel_len;
};

static __always_inline void put_addr(__be16 *at, __u32 addr)
{
	at[0] = bpf_htons(addr >> 16);
	at[1] = bpf_htons(addr & 0xffff);
}

static __always_inline int draw(struct xdp_md *ctx, __u32 i)
{
	struct packet *p = (void *)(long)ctx->data;
	__u64 len = (void *)(long)ctx->data_end - (void *)p;

	if ((void *)(p + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	p->type = bpf_htons(0x0800);
	p->version = 0x45;
	p->frag = 0;
	p->ttl = 64;
	p->proto = 17;
	p->len = bpf_htons(len - LINK);
	p->udp_len = bpf_htons(len - LINK - 20);
	p->udp_check = 0x1234;
	if (len == PLAIN) {
		put_addr(&p->addr[0], 0x0b000000 + i);
		put_addr(&p->addr[2], 0xc6336401);
		p->sport = bpf_htons(7000);
		p->dport = bpf_htons(4000 + i % 60000);
	} else {
		put_addr(&p->addr[0], 0x0a000000 + i);
		put_addr(&p->addr[2], 0xc6336401);
		p->sport = bpf_htons(40000);
		p->dport = bpf_htons(3478);
		p->channel = bpf_htons(CHANNEL);
		p->channel_len = bpf_htons(PAYLOAD);
	}
	return XDP_PASS;
}

static __always_inline __u32 any_session(void)
{
	return (__u64)bpf_get_prandom_u32() * pc_scale_sessions >> 32;
}

SEC("xdp")
int scale_relay(struct xdp_md *ctx)
{
	if (draw(ctx, any_session()) == XDP_PASS)
		bpf_tail_call(ctx, &pc_scale_next, 0);
	return XDP_ABORTED;
}

/* One session sends, the others are only there. Draws as well, for the same cost. */
SEC("xdp")
int scale_one(struct xdp_md *ctx)
{
	__u32 i = any_session();

	if (draw(ctx, i < pc_scale_sessions ? pc_scale_sessions / 2 : i) == XDP_PASS)
		bpf_tail_call(ctx, &pc_scale_next, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int scale_bare(struct xdp_md *ctx)
{
	if (draw(ctx, any_session()) == XDP_PASS)
		bpf_tail_call(ctx, &pc_scale_next, 1);
	return XDP_ABORTED;
}

/* Moves the frame, and nothing else. */
SEC("xdp")
int scale_move(struct xdp_md *ctx)
{
	__u64 len = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	return bpf_xdp_adjust_head(ctx, len == PLAIN ? -4 : 4) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp")
int scale_empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
