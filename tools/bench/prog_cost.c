/* SPDX-License-Identifier: MIT */
/*
 * Cost of the XDP relay per packet beside an empty program, by BPF_PROG_TEST_RUN.
 *
 *   prog_cost [-j] [ROUNDS]     -j: only JSON
 *
 * The kernel runs the program again on what its last run left, so the entries are laid out to match
 * their own output: "up" strips one of many nested ChannelData headers or Send indications and
 * leads to itself, "down" adds one and leads to itself, "pair" goes up and down in turn, "hairpin"
 * swaps channels. Pipes lead to themselves, or from one family to the other and back; their replay
 * window is one that refuses nobody (pipes.bpf.c), but for the forged. A Data indication takes more
 * room in front than many runs have, and an answer is no request: these run a few times or once,
 * beside an empty program that does the same. Limits of the tenant, the uplink and the quota and
 * the session's credit are on, and never reached. Cases are interleaved, so that a slow moment of
 * the machine hits all, and the mean of the middle half of the rounds counts.
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

#include "abi/pipe.h"
#include "abi/relay.h"
#include "base/cleanup.h"
#include "base/siphash.h"
#include "lib/csum.h"
#include "tests/bpf/frame.h"
#include "tests/bpf/hot_fill.h"
#include "tools/bench/cost.h"

#define REPEAT	       50 /* what the headroom of a test run allows "down" */
#define REPEAT_DATA    4  /* the same for a Data indication */
#define DEFAULT_ROUNDS 2000
#define MAX_ROUNDS     100000
#define MAX_CASES      64
#define CHANNEL	       0x4abc
#define SERVICE_PORT   3478
#define LO	       1
#define TENANT	       1

enum kind {
	EMPTY,
	UNRELATED,
	TCP,
	CONTROL,
	UP,
	DOWN,
	PAIR,
	HAIRPIN,
	PIPE,
	SHARED,
	ACROSS,
	FORGED,
	SEND,
	DATA,
	BINDING
};

struct bench_case {
	char name[64];
	enum kind kind;
	bool six;
	size_t payload;
	int repeat;
	double budget; /* floors; 0: none */
	int prog;
	struct frame frame;
	uint32_t *rounds;
	int verdict;
	double ns;
};

static struct bench_case cases[MAX_CASES];
static int n_cases;

static const struct {
	const char *name;
	double budget;
	int repeat;
	int verdict;
	bool sizes; /* measured in each family and size */
} kinds[] = {
	[EMPTY] = { "empty program", 0, REPEAT, XDP_PASS, false },
	[UNRELATED] = { "unrelated UDP", 2, REPEAT, XDP_PASS, false },
	[TCP] = { "TCP", 2, REPEAT, XDP_PASS, false },
	[CONTROL] = { "control to the daemon", 0, REPEAT, XDP_PASS, false },
	[UP] = { "ChannelData to UDP", 5, REPEAT, XDP_TX, true },
	[DOWN] = { "UDP to ChannelData", 5, REPEAT, XDP_TX, true },
	[PAIR] = { "there and back", 5, REPEAT, XDP_TX, false },
	[HAIRPIN] = { "hairpin", 0, REPEAT, XDP_TX, false },
	[PIPE] = { "pipe", 0, REPEAT, XDP_TX, true },
	[SHARED] = { "pipe of two tenants", 0, REPEAT, XDP_TX, false },
	[ACROSS] = { "pipe, IPv4 to IPv6 and back", 0, REPEAT, XDP_TX, false },
	[FORGED] = { "forged pipe frame", 0, REPEAT, XDP_DROP, false },
	[SEND] = { "Send to UDP", 0, REPEAT, XDP_TX, true },
	[DATA] = { "UDP to Data", 0, REPEAT_DATA, XDP_TX, true },
	[BINDING] = { "Binding", 0, 1, XDP_TX, false },
};

static const struct endpoint server = { 0xc6336401, SERVICE_PORT, false };
static const struct endpoint client = { 0xc000020a, 40001, false };
static const struct endpoint relayed = { 0xc6336401, 50007, false };
static const struct endpoint peer = { 0xcb007105, 50101, false }; /* in the range: it comes back */

/* Own source ports keep the loops apart. */
#define UP_PORT	     1001
#define DOWN_PORT    1002
#define HAIRPIN_PORT 1003
#define SEND_PORT    3480
#define DATA_PORT    1005
#define MIDDLE_PORT  50200
#define DATA_RELAYED 50300
#define PIPE_PORT    1006
#define ACROSS_PORT  1007
#define SHARED_PORT  1008

/* Numbers of pipes: one that leads to itself for each family, and two that lead to each other. */
#define PIPE_NUMBER   1
#define ACROSS_NUMBER 3
#define SHARED_NUMBER 5

static struct endpoint end_of(struct endpoint end, uint16_t port, bool six)
{
	end.port = port;
	end.six = six;
	return end;
}

static int die(const char *what, int err)
{
	fprintf(stderr, "prog_cost: %s: %s\n", what, strerror(err));
	return 1;
}

/* --- the program and its maps --- */

struct rodata {
	uint32_t hot_shift, hot6_shift, sessions;
	uint16_t service_ports[PC_MAX_SERVICE_PORTS];
	uint16_t low, high;
	uint32_t addrs[PC_MAX_SERVICE_ADDRS][4];
};

static struct bpf_object *load(const char *path)
{
	struct rodata rodata = {
		.hot_shift = HOT_FILL_SHIFT,
		.hot6_shift = HOT_FILL_SHIFT,
		.sessions = 1024, /* for each CPU, out of 65 536 places */
		.service_ports = { SERVICE_PORT },
		.low = 50000,
		.high = 50999,
	};
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

static int map_fd(struct bpf_object *obj, const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static int put(struct bpf_object *obj, const char *map, const void *key, const void *value)
{
	return bpf_map_update_elem(map_fd(obj, map), key, value, BPF_ANY);
}

static int add_flow(struct bpf_object *obj, const struct endpoint ends[4], uint16_t channel_in,
		    uint16_t channel_out, uint16_t flags)
{
	struct pc_flow6_key key6 = { .sport = htons(ends[0].port), .dport = htons(ends[1].port) };
	struct pc_flow4_key key4 = { .sport = htons(ends[0].port), .dport = htons(ends[1].port) };
	struct pc_flow flow = {
		.expires_ns = UINT64_MAX,
		.sport = htons(ends[2].port),
		.dport = htons(ends[3].port),
		.channel = htons(channel_out),
		.flags = flags | (ends[2].six ? PC_FLOW_OUT6 : 0),
		.nexthop = ends[2].six ? 2 : 1,
		.tenant = TENANT,
	};

	frame_addr((uint8_t *)flow.saddr, ends[2]);
	frame_addr((uint8_t *)flow.daddr, ends[3]);
	if (ends[0].six) {
		frame_addr((uint8_t *)key6.saddr, ends[0]);
		frame_addr((uint8_t *)key6.daddr, ends[1]);
		key6.channel = htons(channel_in);
		pc_csum_flow6(&key6, &flow);
		return put(obj, PC_MAP_FLOW6, &key6, &flow)
			       ?: hot_fill6(map_fd(obj, PC_MAP_HOT6), &key6, &flow);
	}
	key4.saddr = htonl(ends[0].ip);
	key4.daddr = htonl(ends[1].ip);
	key4.channel = htons(channel_in);
	pc_csum_flow4(&key4, &flow);
	return put(obj, PC_MAP_FLOW4, &key4, &flow)
		       ?: hot_fill4(map_fd(obj, PC_MAP_HOT4), &key4, &flow);
}

/* @ends: source and destination of what arrives and of what is sent; up: @with is the peer. */
static int add_perm(struct bpf_object *obj, const struct endpoint ends[4],
		    const struct endpoint *with)
{
	struct pc_perm6_key key6 = { .sport = with ? htons(ends[0].port) : 0,
				     .dport = htons(ends[1].port) };
	struct pc_perm4_key key4 = { .sport = key6.sport, .dport = key6.dport };
	struct pc_perm perm = {
		.expires_ns = UINT64_MAX,
		.sport = htons(ends[2].port),
		.dport = with ? 0 : htons(ends[3].port),
		.flags = (with ? PC_FLOW_UP : 0) | (ends[2].six ? PC_FLOW_OUT6 : 0),
		.nexthop = ends[2].six ? 2 : 1,
		.tenant = TENANT,
	};

	frame_addr((uint8_t *)perm.saddr, ends[2]);
	frame_addr((uint8_t *)perm.daddr, ends[3]);
	if (ends[0].six) {
		frame_addr((uint8_t *)key6.saddr, ends[0]);
		frame_addr((uint8_t *)key6.daddr, ends[1]);
		if (with)
			frame_addr((uint8_t *)key6.peer, *with);
		return put(obj, PC_MAP_PERM6, &key6, &perm)
			       ?: hot_fill_perm6(map_fd(obj, PC_MAP_HOT6), &key6, &perm);
	}
	key4.saddr = htonl(ends[0].ip);
	key4.daddr = htonl(ends[1].ip);
	key4.peer = with ? htonl(with->ip) : 0;
	return put(obj, PC_MAP_PERM4, &key4, &perm)
		       ?: hot_fill_perm4(map_fd(obj, PC_MAP_HOT4), &key4, &perm);
}

/* @ends as above. All keys are zeroes. */
static int add_pipe(struct bpf_object *obj, const struct endpoint ends[4], uint32_t in,
		    uint32_t out)
{
	struct pc_pipe pipe = {
		.flow = { .expires_ns = UINT64_MAX,
			  .sport = htons(ends[2].port),
			  .dport = htons(ends[3].port),
			  .flags = PC_FLOW_PIPE | PC_FLOW_UP | (ends[2].six ? PC_FLOW_OUT6 : 0),
			  .nexthop = ends[2].six ? 2 : 1,
			  .tenant = TENANT },
		.sport = htons(ends[0].port),
		.dport = htons(ends[1].port),
		.in = htonl(in),
		.out = htonl(out),
		.flags = ends[0].six ? PC_PIPE_IN6 : 0,
		.window = in,
		.other_slot = in == SHARED_NUMBER ? 1 : PC_PIPE_NOBODY,
		.other_tenant = in == SHARED_NUMBER ? TENANT : 0,
	};
	struct pc_flow4_key key4 = { .saddr = htonl(ends[0].ip),
				     .daddr = htonl(ends[1].ip),
				     .sport = pipe.sport,
				     .dport = pipe.dport };
	struct pc_flow6_key key6 = { .sport = pipe.sport, .dport = pipe.dport };

	frame_addr((uint8_t *)pipe.saddr, ends[0]);
	frame_addr((uint8_t *)pipe.daddr, ends[1]);
	frame_addr((uint8_t *)pipe.flow.saddr, ends[2]);
	frame_addr((uint8_t *)pipe.flow.daddr, ends[3]);
	frame_addr((uint8_t *)key6.saddr, ends[0]);
	frame_addr((uint8_t *)key6.daddr, ends[1]);
	if (ends[0].six)
		pc_csum_flow6(&key6, &pipe.flow);
	else
		pc_csum_flow4(&key4, &pipe.flow);
	pipe.flow.l4_diff = pc_csum_fold(pipe.flow.l4_diff + pc_csum_diff32(pipe.in, pipe.out));
	return put(obj, PC_MAP_PIPE, &pipe.in, &pipe);
}

static int fill_pipes(struct bpf_object *obj)
{
	struct endpoint s4 = server, s6 = end_of(server, SERVICE_PORT, true);
	struct endpoint p4 = end_of(client, PIPE_PORT, false), p6 = end_of(client, PIPE_PORT, true);
	struct endpoint a4 = end_of(client, ACROSS_PORT, false);
	struct endpoint a6 = end_of(client, ACROSS_PORT, true);
	struct endpoint t4 = end_of(client, SHARED_PORT, false);
	int err = add_pipe(obj, (struct endpoint[]){ p4, s4, p4, s4 }, 1, 1);

	err = err ?: add_pipe(obj, (struct endpoint[]){ p6, s6, p6, s6 }, 2, 2);
	err = err
		      ?: add_pipe(obj, (struct endpoint[]){ t4, s4, t4, s4 }, SHARED_NUMBER,
				  SHARED_NUMBER);
	err = err ?: add_pipe(obj, (struct endpoint[]){ a4, s4, a6, s6 }, 3, 4);
	return err ?: add_pipe(obj, (struct endpoint[]){ a6, s6, a4, s4 }, 4, 3);
}

static int fill_family(struct bpf_object *obj, bool six)
{
	struct endpoint c = end_of(client, client.port, six), s = end_of(server, server.port, six);
	struct endpoint r = end_of(relayed, relayed.port, six), p = end_of(peer, peer.port, six);
	struct endpoint up = end_of(client, UP_PORT, six), down = end_of(peer, DOWN_PORT, six);
	struct endpoint hair = end_of(client, HAIRPIN_PORT, six);
	struct endpoint middle = end_of(relayed, MIDDLE_PORT, six);
	struct endpoint send = end_of(client, SEND_PORT, six), data = end_of(peer, DATA_PORT, six);
	struct endpoint data_to = end_of(relayed, DATA_RELAYED, six);
	struct pc_nexthop_slot nh = { .copy[0] = { .ifindex = LO, .mtu = 9000 } };
	uint32_t index = six ? 2 : 1;
	int err;

	nh.copy[0].l2_len = (uint16_t)frame_link6(nh.copy[0].l2, 7, 0, six);
	err = put(obj, PC_MAP_NEXTHOP, &index, &nh);
	err = err ?: add_flow(obj, (struct endpoint[]){ c, s, r, p }, CHANNEL, 0, PC_FLOW_UP);
	err = err ?: add_flow(obj, (struct endpoint[]){ r, p, c, s }, 0, CHANNEL, 0);
	err = err ?: add_flow(obj, (struct endpoint[]){ up, s, up, s }, CHANNEL, 0, PC_FLOW_UP);
	err = err ?: add_flow(obj, (struct endpoint[]){ down, r, down, r }, 0, CHANNEL, 0);
	err = err
		      ?: add_flow(obj, (struct endpoint[]){ hair, s, r, middle }, CHANNEL, 0,
				  PC_FLOW_UP | PC_FLOW_HAIRPIN);
	err = err ?: add_flow(obj, (struct endpoint[]){ r, middle, hair, s }, 0, CHANNEL, 0);
	err = err ?: add_perm(obj, (struct endpoint[]){ send, s, send, s }, &s);
	return err ?: add_perm(obj, (struct endpoint[]){ data, data_to, data, data_to }, NULL);
}

/* All flows are one tenant's, with limits on everything, none of which is ever reached. */
static int fill_limits(struct bpf_object *obj)
{
	const struct pc_credit credit = { .authorised = COST_CREDIT };
	const struct pc_rate_root root = cost_root();
	const struct pc_rate rate = cost_rate();
	uint32_t up = pc_rate_index(TENANT, PC_RATE_UP), zero = 0, one = 1, tenant = TENANT;
	uint32_t down = pc_rate_index(TENANT, PC_RATE_DOWN);
	int err = put(obj, PC_MAP_RATE, &up, &rate);

	err = err ?: put(obj, PC_MAP_RATE, &down, &rate);
	err = err ?: put(obj, PC_MAP_ROOT, &zero, &root);
	err = err ?: put(obj, PC_MAP_QUOTA, &tenant, &credit);
	err = err ?: put(obj, PC_MAP_CREDIT, &zero, &credit);
	return err ?: put(obj, PC_MAP_CREDIT, &one, &credit);
}

static int fill_maps(struct bpf_object *obj)
{
	int err = fill_family(obj, false);

	err = err ?: fill_family(obj, true);
	for (uint32_t set = 0; set < PC_HOT_SETS_MIN; set++) {
		err = err ?: hot_fill_known(map_fd(obj, PC_MAP_HOT4), set, false);
		err = err ?: hot_fill_known(map_fd(obj, PC_MAP_HOT6), set, true);
	}
	err = err ?: fill_pipes(obj);
	return err ?: fill_limits(obj);
}

/* --- packets --- */

static void datagram(struct bench_case *c, struct endpoint from, struct endpoint to,
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

	spec.from.six = spec.to.six = c->six;
	frame_build(&c->frame, &spec);
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

/* The same with Send indications, from the inside out. */
static size_t nest_sends(uint8_t *at, size_t levels, size_t len, bool six)
{
	static uint8_t inner[FRAME_MAX];

	frame_fill(at, len, 1);
	for (size_t i = 0; i < levels; i++) {
		struct frame_indication ind = {
			.type = 0x0016,
			.peer = end_of(server, SERVICE_PORT, six),
			.data = inner,
			.len = len,
		};

		memcpy(inner, at, len);
		len = frame_indication(at, &ind);
	}
	return len;
}

/* A frame of a pipe. */
static size_t pipe_frame(uint8_t *at, uint32_t number, size_t len)
{
	static const uint8_t key[16];
	uint8_t input[20];
	uint64_t tag;

	memset(at, 0, 24);
	at[0] = PC_PIPE_TYPE;
	put32(at + 4, number);
	at[15] = 1;
	frame_fill(at + 24, len, 1);
	memcpy(input, at, 16);
	put32(input + 16, (uint32_t)len);
	tag = pc_siphash24(key, input, sizeof(input));
	for (int i = 0; i < 8; i++)
		at[16 + i] = (uint8_t)(tag >> (8 * i));
	return 24 + len;
}

/* How many indications fit a frame. */
static int send_levels(const struct bench_case *c)
{
	int fit = (int)((3400 - c->payload) / (c->six ? 48 : 36));

	return fit < REPEAT ? fit : REPEAT;
}

static void build_frame(struct bench_case *c)
{
	uint8_t payload[FRAME_MAX], wrapped[FRAME_MAX];
	size_t one = nest(wrapped, 1, c->payload);

	frame_fill(payload, c->payload, 1);
	payload[0] = 0;
	switch (c->kind) {
	case CONTROL:
		datagram(c, client, server, payload, c->payload);
		break;
	case UP:
		datagram(c, end_of(client, UP_PORT, false), server, wrapped,
			 nest(wrapped, REPEAT, c->payload));
		break;
	case DOWN:
		datagram(c, end_of(peer, DOWN_PORT, false), relayed, payload, c->payload);
		break;
	case PAIR:
		datagram(c, client, server, wrapped, one);
		break;
	case HAIRPIN:
		datagram(c, end_of(client, HAIRPIN_PORT, false), server, wrapped, one);
		break;
	case PIPE:
		datagram(c, end_of(client, PIPE_PORT, false), server, wrapped,
			 pipe_frame(wrapped, c->six ? PIPE_NUMBER + 1 : PIPE_NUMBER, c->payload));
		break;
	case SHARED:
		datagram(c, end_of(client, SHARED_PORT, false), server, wrapped,
			 pipe_frame(wrapped, SHARED_NUMBER, c->payload));
		break;
	case ACROSS:
		datagram(c, end_of(client, ACROSS_PORT, false), server, wrapped,
			 pipe_frame(wrapped, ACROSS_NUMBER, c->payload));
		break;
	case FORGED:
		one = pipe_frame(wrapped, PIPE_NUMBER, c->payload);
		wrapped[23] ^= 1;
		datagram(c, end_of(client, PIPE_PORT, false), server, wrapped, one);
		break;
	case SEND:
		datagram(c, end_of(client, SEND_PORT, false), server, wrapped,
			 nest_sends(wrapped, (size_t)c->repeat, c->payload, c->six));
		break;
	case DATA:
		datagram(c, end_of(peer, DATA_PORT, false), end_of(relayed, DATA_RELAYED, false),
			 payload, c->payload);
		break;
	case BINDING:
		memset(wrapped, 0, 20);
		wrapped[1] = 1;
		put32(wrapped + 4, 0x2112a442);
		datagram(c, client, server, wrapped, 20);
		break;
	default:
		datagram(c, client, end_of(server, 53, false), payload, c->payload);
		if (c->kind == TCP)
			c->frame.bytes[14 + 9] = 6;
	}
}

/* --- what is measured --- */

static void add_case(enum kind kind, bool six, size_t payload, bool plain)
{
	struct bench_case *c = &cases[n_cases++];

	*c = (struct bench_case){ .kind = kind, .six = six, .payload = payload };
	if (plain)
		snprintf(c->name, sizeof(c->name), "%s", kinds[kind].name);
	else if (kind == BINDING)
		snprintf(c->name, sizeof(c->name), "%s, IPv%d", kinds[kind].name, six ? 6 : 4);
	else
		snprintf(c->name, sizeof(c->name), "%s, IPv%d, %zu", kinds[kind].name, six ? 6 : 4,
			 payload);
	c->budget = kinds[kind].budget;
	c->verdict = kinds[kind].verdict;
	c->repeat = kind == SEND ? send_levels(c) : kinds[kind].repeat;
}

/* The empty program, run as often at a time, with frames of about that size. */
static void add_floor(int repeat, size_t payload)
{
	struct bench_case *c = &cases[n_cases++];

	*c = (struct bench_case){ .kind = EMPTY, .payload = payload, .repeat = repeat };
	c->verdict = XDP_PASS;
	snprintf(c->name, sizeof(c->name), "empty program, %d at a time, %zu", repeat, payload);
}

static void list_cases(void)
{
	static const size_t sizes[] = { 20, 160, 1200 };

	for (enum kind kind = EMPTY; kind <= FORGED; kind++)
		add_case(kind, false, 160, true);
	for (size_t i = 0; i < PC_ARRAY_SIZE(sizes); i++) {
		add_floor(REPEAT, sizes[i]);
		add_floor(REPEAT_DATA, sizes[i]);
	}
	add_floor(1, sizes[0]);
	for (enum kind kind = UP; kind <= BINDING; kind++) {
		for (int six = 0; six < 2; six++) {
			if (kind == BINDING)
				add_case(kind, six, 20, false);
			for (size_t i = 0; kinds[kind].sizes && i < PC_ARRAY_SIZE(sizes); i++)
				add_case(kind, six, sizes[i], false);
		}
	}
}

/*
 * What the empty program takes, run the same way: the frame is copied in and out once for all
 * repeats. Those of Send differ too little to matter.
 */
static double floor_of(const struct bench_case *c)
{
	int repeat = c->kind == SEND ? REPEAT : c->repeat;

	for (int i = 0; i < n_cases; i++)
		if (cases[i].kind == EMPTY && cases[i].repeat == repeat &&
		    cases[i].payload == c->payload)
			return cases[i].ns;
	return cases[0].ns;
}

/* --- measuring --- */

static int run_once(struct bench_case *c, uint32_t *ret_ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c->frame.bytes,
		    .data_size_in = (__u32)c->frame.len, .repeat = c->repeat);
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
		for (int i = 0; i < n_cases; i++) {
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

static void print_table(void)
{
	printf("%-32s %8s %8s %8s\n", "XDP relay, per packet", "ns", "floors", "budget");
	for (int i = 0; i < n_cases; i++) {
		const struct bench_case *c = &cases[i];
		double floors = c->ns / floor_of(c);

		printf("%-32s %8.1f %8.2f ", c->name, c->ns, floors);
		if (c->budget > 0)
			printf("%8.1f%s\n", c->budget, floors > c->budget ? "  over" : "");
		else
			printf("%8s\n", "-");
	}
}

static void print_json(unsigned int rounds)
{
	printf("{\"prog_cost\":{\"rounds\":%u,\"cases\":[", rounds);
	for (int i = 0; i < n_cases; i++) {
		const struct bench_case *c = &cases[i];

		printf("%s{\"name\":\"%s\",\"repeat\":%d,\"payload\":%zu,\"ns\":%.1f,"
		       "\"floors\":%.2f,\"budget\":%.1f}",
		       i ? "," : "", c->name, c->repeat, c->payload, c->ns, c->ns / floor_of(c),
		       c->budget);
	}
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

static int prog_of(const struct bench_case *c, struct bpf_object *empty, struct bpf_object *pipes,
		   struct bpf_object *relay)
{
	if (c->kind == EMPTY)
		return prog_fd(empty, "empty");
	return prog_fd(c->kind >= PIPE && c->kind <= ACROSS ? pipes : relay, PC_PROG_RELAY);
}

static int prepare(unsigned int rounds)
{
	struct bpf_object *relay = load("build/bpf/relay.bpf.o");
	struct bpf_object *pipes = relay ? load("build/bench/pipes.bpf.o") : NULL;
	struct bpf_object *empty = pipes ? load("build/bench/empty.bpf.o") : NULL;
	int err;

	if (!relay || !pipes || !empty)
		return die(!relay   ? "build/bpf/relay.bpf.o"
			   : !pipes ? "build/bench/pipes.bpf.o"
				    : "build/bench/empty.bpf.o",
			   errno);
	err = fill_maps(relay);
	err = err ?: fill_maps(pipes);
	if (err)
		return die("maps", -err);
	for (int i = 0; i < n_cases; i++) {
		cases[i].prog = prog_of(&cases[i], empty, pipes, relay);
		cases[i].rounds = calloc(rounds, sizeof(uint32_t));
		if (!cases[i].rounds)
			return die("memory", ENOMEM);
	}
	err = attach_in_namespace(prog_fd(empty, "empty"));
	if (!err)
		err = attach_in_namespace(prog_fd(relay, PC_PROG_RELAY));
	if (!err)
		err = attach_in_namespace(prog_fd(pipes, PC_PROG_RELAY));
	if (err)
		return die("namespace", -err);
	for (int i = 0; i < n_cases; i++)
		build_frame(&cases[i]);
	return 0;
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && !strcmp(argv[1], "-j");
	const char *count = argc > 1 + json ? argv[1 + json] : NULL;
	unsigned long rounds = DEFAULT_ROUNDS;
	char *end;

	if (count) {
		rounds = strtoul(count, &end, 10);
		if (*end || rounds < 4 || rounds > MAX_ROUNDS) {
			fprintf(stderr, "usage: prog_cost [-j] [ROUNDS]\n");
			return 2;
		}
	}
	list_cases();
	if (prepare((unsigned int)rounds) || measure((unsigned int)rounds))
		return 1;
	for (int i = 0; i < n_cases; i++) {
		cases[i].ns = cost_middle(cases[i].rounds, (unsigned int)rounds);
		free(cases[i].rounds);
	}
	if (!json)
		print_table();
	print_json((unsigned int)rounds);
	return 0;
}
