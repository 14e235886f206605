/* SPDX-License-Identifier: MIT */
/*
 * xdp_pass IFACE...: attaches a program that passes everything to the interfaces and stays until it
 * is ended; the links go with it. Receivers of XDP_TX over veth need a program of their own.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	sigset_t ends;
	int fd, sig;

	fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "pc_test_pass", "GPL", code, 2, NULL);
	if (fd < 0) {
		fprintf(stderr, "xdp_pass: cannot load: %s\n", strerror(errno));
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		unsigned int ifindex = if_nametoindex(argv[i]);

		if (!ifindex || bpf_link_create(fd, (int)ifindex, BPF_XDP, &opts) < 0) {
			fprintf(stderr, "xdp_pass: %s: %s\n", argv[i], strerror(errno));
			return 1;
		}
	}
	puts("ready");
	fflush(stdout);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	sigwait(&ends, &sig);
	return 0;
}
