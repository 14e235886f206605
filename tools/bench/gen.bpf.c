/* SPDX-License-Identifier: MIT */
/*
 * Packet generator: run by BPF_PROG_TEST_RUN with live frames, writes the whole head of the frame
 * anew each time (recycled frames keep what the receiver made of them) and sends it out.
 * With pc_gen_random every packet has another IPv4 source address and UDP source port; with 2 there
 * only the last byte of the address is another.
 * With pc_gen_noise_off the bytes from there to the end of the head are random.
 * With pc_gen_seq_off a 64-bit big-endian number that counts up is written at that offset.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEAD 96

const volatile __u8 pc_gen_head[HEAD];
const volatile __u32 pc_gen_head_len;
const volatile __u32 pc_gen_ifindex;
const volatile __u32 pc_gen_random;
const volatile __u32 pc_gen_noise_off;
const volatile __u32 pc_gen_seq_off;
const volatile __u64 pc_gen_seq_start;
__u64 pc_gen_sent;

static __always_inline void put16(__u8 *p, __u16 v)
{
	p[0] = v >> 8;
	p[1] = v;
}

/* IPv4 header checksum of a header without options at @ip. */
static __always_inline void checksum(__u8 *ip)
{
	__u32 sum = 0;

	put16(ip + 10, 0);
	for (int i = 0; i < 20; i += 2)
		sum += (__u32)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~sum);
}

/* @data: a whole head. */
static __always_inline void noise(__u8 *data)
{
	for (__u32 i = 0; i < HEAD; i += 4) {
		if (i >= pc_gen_noise_off)
			*(__u32 *)(data + i) = bpf_get_prandom_u32();
	}
}

SEC("xdp")
int pc_gen(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 n = __sync_fetch_and_add(&pc_gen_sent, 1) + pc_gen_seq_start;

	if (data + HEAD > end)
		return XDP_ABORTED;
	for (__u32 i = 0; i < HEAD; i++)
		if (i < pc_gen_head_len)
			data[i] = pc_gen_head[i];
	if (pc_gen_random) {
		__u32 r = bpf_get_prandom_u32();

		if (pc_gen_random != 2) {
			data[26] = 11 + r % 100;
			data[27] = r >> 8;
			data[28] = r >> 16;
		}
		data[29] = r >> 24;
		r = bpf_get_prandom_u32();
		put16(data + 34, 1024 + r % 60000);
		checksum(data + 14);
	}
	if (pc_gen_noise_off)
		noise(data);
	if (pc_gen_seq_off && pc_gen_seq_off <= HEAD - 8) {
		for (__u32 i = 0; i < HEAD; i++)
			if (i >= pc_gen_seq_off && i < pc_gen_seq_off + 8)
				data[i] = n >> (56 - 8 * (i - pc_gen_seq_off));
	}
	return bpf_redirect(pc_gen_ifindex, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
