/* SPDX-License-Identifier: MIT */
/*
 * Both ends of relay_load: a generator as cheap as can be, for what it costs is subtracted, and the
 * less that is, the less does its noise matter; and a sink that counts.
 *
 * Soft interrupts may move a queue of the cable to another CPU, and then the generator is faster
 * than what it feeds: no more than a window of frames is under way, less than a veth queues (256).
 * Recycled frames keep what the relay made of their first bytes: these are written anew.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define WORDS  8
#define CPUS   64
#define LINE   8 /* words of a cache line: one for each CPU */
#define WINDOW 160
#define LOOK   16 /* every so many frames */

const volatile __u64 pc_frames_head[WORDS];
const volatile __u32 pc_frames_ifindex;
const volatile __u32 pc_frames_port;
const volatile __u32 pc_frames_cpus;

__u64 pc_frames_sent; /* one generator at a time */
__u64 pc_frames_end;
__u64 pc_frames_lost;		  /* what user space no longer expects to arrive */
__u64 pc_frames_got[CPUS * LINE]; /* packets, bytes */

static __always_inline int pc_window_full(void)
{
	__u64 got = pc_frames_lost;

	for (__u32 i = 0; i < CPUS; i++) {
		if (i >= pc_frames_cpus)
			break;
		got += *(volatile __u64 *)&pc_frames_got[i * LINE];
	}
	return (__s64)(pc_frames_sent - got) > WINDOW;
}

SEC("xdp")
int pc_frames(struct xdp_md *ctx)
{
	__u64 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + WORDS > end)
		return XDP_ABORTED;
	if (pc_frames_sent >= pc_frames_end)
		return XDP_DROP;
	if (!(pc_frames_sent % LOOK) && pc_window_full())
		return XDP_DROP;
#pragma unroll
	for (int i = 0; i < WORDS; i++)
		data[i] = pc_frames_head[i];
	pc_frames_sent++;
	return bpf_redirect(pc_frames_ifindex, 0);
}

SEC("xdp")
int pc_frames_sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 cpu = bpf_get_smp_processor_id();

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_UDP || udp->dest != bpf_htons(pc_frames_port))
		return XDP_PASS;
	if (cpu >= CPUS)
		return XDP_PASS;
	pc_frames_got[cpu * LINE]++;
	pc_frames_got[cpu * LINE + 1] += end - data;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
