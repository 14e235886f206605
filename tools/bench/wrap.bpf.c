/* SPDX-License-Identifier: MIT */
/*
 * One end of a tunnel for turnwrap (tests/helpers): TCP that leaves an interface is put into
 * datagrams for a relay, and what comes from there is taken out of them again. No program of user
 * space sees a packet: that is what an emulated machine needs to keep up.
 *   1. wrap, on the way out: the header, with the lengths of this packet in it;
 *   2. unwrap, on the way in: counts the packet in a bin of 10 ms, then takes the header away.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define BIN_NS	  10000000ull
#define CHANNEL	  4 /* bytes of a ChannelData header */
#define OUTER	  (sizeof(struct iphdr) + sizeof(struct udphdr))
#define IPV4_ONLY 0x45

/* What goes before a packet: IP with a checksum that has no length in it, UDP without one. */
struct header {
	struct iphdr ip;
	struct udphdr udp;
	__be16 channel, length;
} __attribute__((packed));

/* Set before loading. */
const volatile struct header wrap_header;
const volatile __u32 wrap_channel; /* whether there is a channel's header */

struct bin {
	__u64 number; /* of the monotonic clock */
	__u64 packets, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct bin);
} wrap_bins SEC(".maps");

__u64 wrap_out, wrap_in, wrap_lost;

SEC("tc")
int wrap(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct header h = wrap_header;
	struct iphdr *ip = data + ETH_HLEN;
	__u32 inside, more = wrap_channel ? CHANNEL : 0, sum;

	if ((void *)(ip + 1) > end || skb->protocol != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_TCP)
		return TC_ACT_OK;
	inside = bpf_ntohs(ip->tot_len);
	__sync_fetch_and_add(&wrap_out, 1);
	h.length = bpf_htons(inside);
	h.udp.len = bpf_htons(sizeof(h.udp) + more + inside);
	h.ip.tot_len = bpf_htons(OUTER + more + inside);
	sum = (__u16)~h.ip.check + (__u32)h.ip.tot_len;
	h.ip.check = ~(__u16)((sum & 0xffff) + (sum >> 16));
	if (bpf_skb_adjust_room(skb, OUTER + more, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    (more ? bpf_skb_store_bytes(skb, ETH_HLEN, &h, OUTER + CHANNEL, 0)
		  : bpf_skb_store_bytes(skb, ETH_HLEN, &h, OUTER, 0))) {
		__sync_fetch_and_add(&wrap_lost, 1);
		return TC_ACT_SHOT;
	}
	return TC_ACT_OK;
}

static __always_inline void count(__u32 bytes)
{
	__u64 number = bpf_ktime_get_ns() / BIN_NS;
	__u32 key = number % 16384;
	struct bin *b = bpf_map_lookup_elem(&wrap_bins, &key);

	if (!b)
		return;
	if (b->number != number)
		*b = (struct bin){ .number = number };
	__sync_fetch_and_add(&b->packets, 1);
	__sync_fetch_and_add(&b->bytes, bytes);
}

SEC("xdp")
int unwrap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data, mac;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u8 *inside = (__u8 *)(udp + 1) + (wrap_channel ? CHANNEL : 0);

	if ((void *)(inside + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_UDP || udp->dest != wrap_header.udp.source ||
	    udp->source != wrap_header.udp.dest || *inside != IPV4_ONLY)
		return XDP_PASS;
	count(bpf_ntohs(udp->len) - sizeof(*udp) - (wrap_channel ? CHANNEL : 0));
	__sync_fetch_and_add(&wrap_in, 1);
	mac = *eth;
	if (bpf_xdp_adjust_head(ctx, OUTER + (wrap_channel ? CHANNEL : 0)))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + sizeof(mac) > end)
		return XDP_DROP;
	*(struct ethhdr *)data = mac;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
