/* SPDX-License-Identifier: MIT */
/*
 * Cost of the XDP relay per packet beside an empty program, by BPF_PROG_TEST_RUN.
 *
 *   prog_cost [-j] [ROUNDS]     -j: only JSON
 *
 * The kernel runs the program again on what its last run left, so the entries are laid out to match
 * their own output: "up" strips one of many nested ChannelData headers and leads to itself, "down"
 * adds one and leads to itself, "pair" goes up and down in turn, "hairpin" swaps channels. Cases
 * are interleaved, so that a slow moment of the machine hits all, and the median of the rounds
 * counts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "abi/relay.h"
#include "lib/csum.h"
#include "tests/bpf/frame.h"

#define REPEAT	       50 /* what the headroom of a test run allows "down" */
#define DEFAULT_ROUNDS 2000
#define MAX_ROUNDS     100000
#define PAYLOAD	       256
#define CHANNEL	       0x4abc
#define SERVICE_PORT   3478
#define LO	       1

struct bench_case {
	const char *name;
	double budget; /* floors; 0: none */
	int prog;
	struct frame frame;
	uint32_t *rounds;
	int verdict;
};

enum { EMPTY, UNRELATED, TCP, CONTROL, UP, DOWN, PAIR, HAIRPIN, CASES };

static struct bench_case cases[CASES] = {
	[EMPTY] = { "empty program", 0, .verdict = XDP_PASS },
	[UNRELATED] = { "unrelated UDP", 2, .verdict = XDP_PASS },
	[TCP] = { "TCP", 2, .verdict = XDP_PASS },
	[CONTROL] = { "control to the daemon", 0, .verdict = XDP_PASS },
	[UP] = { "ChannelData to UDP", 5, .verdict = XDP_TX },
	[DOWN] = { "UDP to ChannelData", 5, .verdict = XDP_TX },
	[PAIR] = { "there and back", 5, .verdict = XDP_TX },
	[HAIRPIN] = { "hairpin", 0, .verdict = XDP_TX },
};

static const struct endpoint server = { 0xc6336401, SERVICE_PORT, false };
static const struct endpoint client = { 0xc000020a, 40001, false };
static const struct endpoint relayed = { 0xc6336401, 50007, false };
static const struct endpoint peer = { 0xcb007105, 50101, false }; /* in the range: it comes back */

static int die(const char *what, int err)
{
	fprintf(stderr, "prog_cost: %s: %s\n", what, strerror(err));
	return 1;
}

/* --- the program and its maps --- */

struct rodata {
	uint16_t service_ports[PC_MAX_SERVICE_PORTS];
	uint16_t low, high;
	uint32_t addrs[PC_MAX_SERVICE_ADDRS][4];
};

static struct bpf_object *load(const char *path)
{
	struct rodata rodata = { { SERVICE_PORT }, 50000, 50999, { { 0 } } };
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	struct bpf_map *map;

	if (!obj)
		return NULL;
	bpf_object__for_each_map(map, obj)
	{
		const char *dot = strrchr(bpf_map__name(map), '.');

		if (dot && !strcmp(dot, ".rodata") &&
		    bpf_map__set_initial_value(map, &rodata, sizeof(rodata)))
			return NULL;
	}
	return bpf_object__load(obj) ? NULL : obj;
}

static int prog_fd(struct bpf_object *obj, const char *name)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);

	return prog ? bpf_program__fd(prog) : -ENOENT;
}

static int add_flow(struct bpf_object *obj, struct endpoint from, struct endpoint to,
		    struct endpoint new_from, struct endpoint new_to, uint16_t channel_in,
		    uint16_t channel_out, uint16_t flags)
{
	struct pc_flow4_key key = {
		.saddr = htonl(from.ip),
		.daddr = htonl(to.ip),
		.sport = htons(from.port),
		.dport = htons(to.port),
		.channel = htons(channel_in),
	};
	struct pc_flow flow = {
		.expires_ns = UINT64_MAX,
		.saddr = { htonl(new_from.ip) },
		.daddr = { htonl(new_to.ip) },
		.sport = htons(new_from.port),
		.dport = htons(new_to.port),
		.channel = htons(channel_out),
		.flags = flags,
		.nexthop = 1,
	};

	pc_csum_flow4(&key, &flow);
	return bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, PC_MAP_FLOW4), &key, &flow,
				   BPF_ANY);
}

static int fill_maps(struct bpf_object *obj)
{
	struct endpoint up_loop = client, down_loop = peer, hair = client, middle = relayed;
	struct pc_nexthop_slot nh = {
		.copy[0] = { .ifindex = LO, .mtu = 1500 },
	};
	uint32_t one = 1;
	int err;

	nh.copy[0].l2_len = (uint16_t)frame_link(nh.copy[0].l2, 7, 0);
	err = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, PC_MAP_NEXTHOP), &one, &nh,
				  BPF_ANY);
	/* Own source ports keep the loops apart. */
	up_loop.port = 1001;
	down_loop.port = 1002;
	hair.port = 1003;
	middle.port = 50200;
	err = err ?: add_flow(obj, client, server, relayed, peer, CHANNEL, 0, PC_FLOW_UP);
	err = err ?: add_flow(obj, relayed, peer, client, server, 0, CHANNEL, 0);
	err = err ?: add_flow(obj, up_loop, server, up_loop, server, CHANNEL, 0, PC_FLOW_UP);
	err = err ?: add_flow(obj, down_loop, relayed, down_loop, relayed, 0, CHANNEL, 0);
	err = err
		      ?: add_flow(obj, hair, server, relayed, middle, CHANNEL, 0,
				  PC_FLOW_UP | PC_FLOW_HAIRPIN);
	return err ?: add_flow(obj, relayed, middle, hair, server, 0, CHANNEL, 0);
}

/* --- packets --- */

static void datagram(struct frame *frame, struct endpoint from, struct endpoint to,
		     const uint8_t *payload, size_t len)
{
	struct frame_spec spec = {
		.link_seed = 1,
		.ttl = 255,
		.from = from,
		.to = to,
		.payload = payload,
		.len = len,
	};

	frame_build(frame, &spec);
}

static void from_port(struct endpoint *end, const struct endpoint *base, uint16_t port)
{
	*end = *base;
	end->port = port;
}

/* ChannelData in ChannelData, one for each run. */
static size_t nest(uint8_t *at, size_t levels, size_t len)
{
	for (size_t i = 0; i < levels; i++) {
		put16(at + 4 * i, CHANNEL);
		put16(at + 4 * i + 2, (uint16_t)(4 * (levels - 1 - i) + len));
	}
	frame_fill(at + 4 * levels, len, 1);
	return 4 * levels + len;
}

static void build_frames(void)
{
	uint8_t payload[FRAME_MAX], wrapped[FRAME_MAX];
	struct endpoint end;
	size_t len;

	frame_fill(payload, PAYLOAD, 1);
	payload[0] = 0;
	datagram(&cases[CONTROL].frame, client, server, payload, PAYLOAD);
	from_port(&end, &server, 53);
	datagram(&cases[UNRELATED].frame, client, end, payload, PAYLOAD);
	cases[EMPTY].frame = cases[UNRELATED].frame;
	cases[TCP].frame = cases[UNRELATED].frame;
	cases[TCP].frame.bytes[14 + 9] = 6;
	from_port(&end, &peer, 1002);
	datagram(&cases[DOWN].frame, end, relayed, payload, PAYLOAD);
	len = nest(wrapped, REPEAT, PAYLOAD);
	from_port(&end, &client, 1001);
	datagram(&cases[UP].frame, end, server, wrapped, len);
	len = nest(wrapped, 1, PAYLOAD);
	datagram(&cases[PAIR].frame, client, server, wrapped, len);
	from_port(&end, &client, 1003);
	datagram(&cases[HAIRPIN].frame, end, server, wrapped, len);
}

/* --- measuring --- */

static int run_once(struct bench_case *c, uint32_t *ret_ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c->frame.bytes,
		    .data_size_in = (__u32)c->frame.len, .repeat = REPEAT);
	int err = bpf_prog_test_run_opts(c->prog, &opts);

	if (err)
		return err;
	/* The last of the runs must still have done the work. */
	if ((int)opts.retval != c->verdict)
		return -EPROTO;
	*ret_ns = opts.duration;
	return 0;
}

static int measure(unsigned int rounds)
{
	for (unsigned int r = 0; r < rounds; r++) {
		for (int i = 0; i < CASES; i++) {
			int err = run_once(&cases[i], &cases[i].rounds[r]);

			if (err) {
				fprintf(stderr, "prog_cost: %s: %s\n", cases[i].name,
					strerror(-err));
				return err;
			}
		}
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Mean of the middle half: the kernel reports whole nanoseconds, a plain median would too. */
static double median(struct bench_case *c, unsigned int rounds)
{
	unsigned int from = rounds / 4, to = rounds - rounds / 4;
	uint64_t sum = 0;

	qsort(c->rounds, rounds, sizeof(*c->rounds), by_value);
	for (unsigned int i = from; i < to; i++)
		sum += c->rounds[i];
	return (double)sum / (to - from);
}

static void print_table(const double *ns)
{
	printf("%-24s %8s %8s %8s\n", "XDP relay, per packet", "ns", "floors", "budget");
	for (int i = 0; i < CASES; i++) {
		printf("%-24s %8.1f %8.2f ", cases[i].name, ns[i], ns[i] / ns[EMPTY]);
		if (cases[i].budget > 0)
			printf("%8.1f%s\n", cases[i].budget,
			       ns[i] > cases[i].budget * ns[EMPTY] ? "  over" : "");
		else
			printf("%8s\n", "-");
	}
}

static void print_json(const double *ns, unsigned int rounds)
{
	printf("{\"prog_cost\":{\"rounds\":%u,\"repeat\":%d,\"payload\":%d,\"cases\":[", rounds,
	       REPEAT, PAYLOAD);
	for (int i = 0; i < CASES; i++)
		printf("%s{\"name\":\"%s\",\"ns\":%.1f,\"floors\":%.2f,\"budget\":%.1f}",
		       i ? "," : "", cases[i].name, ns[i], ns[i] / ns[EMPTY], cases[i].budget);
	printf("]}}\n");
}

/*
 * A program that is attached somewhere is already in the kernel's XDP dispatcher; else every test
 * run would patch it in and out and wait for all CPUs. So: on the loopback of an empty namespace,
 * which lives as long as this process holds it.
 */
static int attach_in_namespace(int prog)
{
	if (unshare(CLONE_NEWNET))
		return -errno;
	if (open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) < 0)
		return -errno;
	return bpf_xdp_attach(LO, prog, XDP_FLAGS_SKB_MODE, NULL);
}

static int prepare(unsigned int rounds)
{
	struct bpf_object *relay = load("build/bpf/relay.bpf.o");
	struct bpf_object *empty = relay ? load("build/bench/empty.bpf.o") : NULL;
	int err;

	if (!relay || !empty)
		return die(relay ? "build/bench/empty.bpf.o" : "build/bpf/relay.bpf.o", errno);
	err = fill_maps(relay);
	if (err)
		return die("maps", -err);
	for (int i = 0; i < CASES; i++) {
		cases[i].prog =
			i == EMPTY ? prog_fd(empty, "empty") : prog_fd(relay, PC_PROG_RELAY);
		cases[i].rounds = calloc(rounds, sizeof(uint32_t));
		if (!cases[i].rounds)
			return die("memory", ENOMEM);
	}
	err = attach_in_namespace(cases[EMPTY].prog);
	if (!err)
		err = attach_in_namespace(cases[UP].prog);
	if (err)
		return die("namespace", -err);
	build_frames();
	return 0;
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && !strcmp(argv[1], "-j");
	const char *count = argc > 1 + json ? argv[1 + json] : NULL;
	unsigned long rounds = DEFAULT_ROUNDS;
	double ns[CASES];
	char *end;

	if (count) {
		rounds = strtoul(count, &end, 10);
		if (*end || rounds < 4 || rounds > MAX_ROUNDS) {
			fprintf(stderr, "usage: prog_cost [-j] [ROUNDS]\n");
			return 2;
		}
	}
	if (prepare((unsigned int)rounds) || measure((unsigned int)rounds))
		return 1;
	for (int i = 0; i < CASES; i++) {
		ns[i] = median(&cases[i], (unsigned int)rounds);
		free(cases[i].rounds);
	}
	if (!json)
		print_table(ns);
	print_json(ns, (unsigned int)rounds);
	return 0;
}
