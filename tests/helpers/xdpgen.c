/* SPDX-License-Identifier: MIT */
/*
 * Packets at driver speed, and a place to count them.
 *
 *   xdpgen send OBJECT IFNAME COUNT LENGTH HEADHEX [random|random24] [seq OFFSET START]
 *               [noise OFFSET]
 *       sends COUNT frames of LENGTH bytes out of IFNAME; the first bytes are HEADHEX (whole link,
 *       IP and UDP header), the rest zero. Prints {"sent","seconds","pps"}. Random: source
 *       addresses and ports; of addresses in the same /24. Noise: random bytes from OFFSET, a
 *       multiple of four, to byte 96.
 *   xdpgen sink OBJECT IFNAME PORT
 *       counts and drops UDP to PORT (0: all UDP over IPv4) arriving at IFNAME until SIGTERM; each
 *       SIGUSR1 and the end print {"packets","bytes"}. "ready" on stderr when attached.
 */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "base/clock.h"
#include "base/parse.h"

#define HEAD 96

static volatile sig_atomic_t stop, show;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		show = 1;
	else
		stop = 1;
}

/* Sets a variable of the object's .rodata before it is loaded. */
static int set_const(struct bpf_object *obj, const char *name, const void *value, size_t len)
{
	struct bpf_map *map;
	const struct btf *btf = bpf_object__btf(obj);
	const struct btf_type *sec;
	size_t size;
	int id;
	void *data;

	bpf_object__for_each_map(map, obj)
	{
		if (!strstr(bpf_map__name(map), ".rodata"))
			continue;
		id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
		data = (void *)bpf_map__initial_value(map, &size);
		if (id < 0 || !data)
			return -ENOENT;
		sec = btf__type_by_id(btf, (unsigned int)id);
		for (int i = 0; i < btf_vlen(sec); i++) {
			const struct btf_var_secinfo *v = btf_var_secinfos(sec) + i;
			const struct btf_type *t = btf__type_by_id(btf, v->type);

			if (strcmp(btf__name_by_offset(btf, t->name_off), name) ||
			    v->offset + len > size || len > v->size)
				continue;
			memcpy((char *)data + v->offset, value, len);
			return 0;
		}
	}
	return -ENOENT;
}

static int run_frames(int prog, uint8_t *frame, uint32_t len, uint64_t count)
{
	struct xdp_md ctx = { .data_end = len };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = (int)count,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);

	return bpf_prog_test_run_opts(prog, &opts);
}

static int send_frames(struct bpf_object *obj, char **argv, int argc)
{
	uint8_t head[HEAD] = { 0 }, frame[2048] = { 0 };
	uint32_t ifindex = if_nametoindex(argv[3]), head_len, random = 0, seq_off = 0, noise = 0;
	uint64_t count, len, start = 0, value, t;
	double seconds;
	int r;

	head_len = (uint32_t)strlen(argv[6]) / 2;
	if (!ifindex || pc_parse_u64(argv[4], 1, 1000000000, &count) < 0 ||
	    pc_parse_u64(argv[5], HEAD, sizeof(frame), &len) < 0 || head_len > HEAD ||
	    pc_parse_hex(argv[6], head, head_len) < 0)
		return -EINVAL;
	for (int i = 7; i < argc; i++) {
		if (!strcmp(argv[i], "random")) {
			random = 1;
		} else if (!strcmp(argv[i], "random24")) {
			random = 2;
		} else if (!strcmp(argv[i], "seq") && i + 2 < argc) {
			if (pc_parse_u64(argv[i + 1], 1, HEAD - 8, &value) < 0 ||
			    pc_parse_u64(argv[i + 2], 0, UINT64_MAX, &start) < 0)
				return -EINVAL;
			seq_off = (uint32_t)value;
			i += 2;
		} else if (!strcmp(argv[i], "noise") && i + 1 < argc) {
			if (pc_parse_u64(argv[i + 1], 4, HEAD - 4, &value) < 0 || value % 4)
				return -EINVAL;
			noise = (uint32_t)value;
			i++;
		} else {
			return -EINVAL;
		}
	}
	if (set_const(obj, "pc_gen_head", head, HEAD) ||
	    set_const(obj, "pc_gen_head_len", &head_len, 4) ||
	    set_const(obj, "pc_gen_ifindex", &ifindex, 4) ||
	    set_const(obj, "pc_gen_random", &random, 4) ||
	    set_const(obj, "pc_gen_noise_off", &noise, 4) ||
	    set_const(obj, "pc_gen_seq_off", &seq_off, 4) ||
	    set_const(obj, "pc_gen_seq_start", &start, 8))
		return -ENOENT;
	r = bpf_object__load(obj);
	if (r)
		return r;
	memcpy(frame, head, head_len);
	t = pc_clock_monotonic();
	r = run_frames(bpf_program__fd(bpf_object__find_program_by_name(obj, "pc_gen")), frame,
		       (uint32_t)len, count);
	seconds = (double)(pc_clock_monotonic() - t) / 1e9;
	if (r)
		return r;
	printf("{\"sent\":%" PRIu64 ",\"seconds\":%.3f,\"pps\":%.0f}\n", count, seconds,
	       (double)count / seconds);
	return 0;
}

static void print_total(int map)
{
	struct {
		uint64_t packets, bytes;
	} * values;
	int cpus = libbpf_num_possible_cpus();
	uint64_t packets = 0, bytes = 0;
	uint32_t key = 0;

	values = calloc((size_t)cpus, sizeof(*values));
	if (values && !bpf_map_lookup_elem(map, &key, values)) {
		for (int i = 0; i < cpus; i++) {
			packets += values[i].packets;
			bytes += values[i].bytes;
		}
	}
	free(values);
	printf("{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n", packets, bytes);
	fflush(stdout);
}

static int sink(struct bpf_object *obj, char **argv)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	uint32_t port32;
	uint64_t port;
	int map, link, r;

	if (!if_nametoindex(argv[3]) || pc_parse_u64(argv[4], 0, 65535, &port) < 0)
		return -EINVAL;
	port32 = (uint32_t)port;
	if (set_const(obj, "pc_sink_port", &port32, 4))
		return -ENOENT;
	r = bpf_object__load(obj);
	if (r)
		return r;
	link = bpf_link_create(bpf_program__fd(bpf_object__find_program_by_name(obj, "pc_sink")),
			       (int)if_nametoindex(argv[3]), BPF_XDP, &opts);
	if (link < 0)
		return link;
	map = bpf_object__find_map_fd_by_name(obj, "pc_sink_total");
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	signal(SIGUSR1, on_signal);
	fprintf(stderr, "ready\n");
	while (!stop) {
		usleep(20000);
		if (show) {
			show = 0;
			print_total(map);
		}
	}
	print_total(map);
	return 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj;
	int r = -EINVAL;

	if (argc < 5 || (strcmp(argv[1], "sink") && (strcmp(argv[1], "send") || argc < 7))) {
		fprintf(stderr, "usage: xdpgen send OBJECT IFNAME COUNT LENGTH HEADHEX "
				"[random|random24] [seq OFFSET START] [noise OFFSET]\n"
				"       xdpgen sink OBJECT IFNAME PORT\n");
		return 2;
	}
	libbpf_set_print(NULL);
	obj = bpf_object__open_file(argv[2], NULL);
	if (!obj) {
		fprintf(stderr, "xdpgen: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	r = !strcmp(argv[1], "send") ? send_frames(obj, argv, argc) : sink(obj, argv);
	if (r)
		fprintf(stderr, "xdpgen: %s\n", strerror(-r));
	bpf_object__close(obj);
	return r ? 1 : 0;
}
