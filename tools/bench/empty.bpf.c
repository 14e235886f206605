/* SPDX-License-Identifier: MIT */
/*
 * Does nothing: what BPF_PROG_TEST_RUN costs by itself. The floor beside which others are measured.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}
