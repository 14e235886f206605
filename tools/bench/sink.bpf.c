/* SPDX-License-Identifier: MIT */
/* Counts and drops UDP packets of one destination port (0: every packet); passes the others. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct total {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct total);
} pc_sink_total SEC(".maps");

const volatile __u32 pc_sink_port;

SEC("xdp")
int pc_sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct total *t;
	__u32 key = 0;

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if (pc_sink_port && udp->dest != bpf_htons(pc_sink_port))
		return XDP_PASS;
	t = bpf_map_lookup_elem(&pc_sink_total, &key);
	if (!t)
		return XDP_PASS;
	t->packets++;
	t->bytes += end - data;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
