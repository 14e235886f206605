/* SPDX-License-Identifier: MIT */
/*
 * Cost of a packet by number of sessions, and what so many sessions take: memory, time to load the
 * program with maps of that size, time to write them.
 *
 *   scale_cost [-j] [ROUNDS [MOST]]    -j: only JSON; MOST: sessions at most
 *
 * Through the daemon's own library, so maps are as the daemon makes them: for 65 536 sessions, its
 * default, or for as many as there are. Every session has a channel; a program in front of the
 * relay writes each time the headers of a session drawn at random, there and back in turn: the
 * worst that can happen to caches. The best is one session that sends while the others are there.
 * What that program, the tail call and the moving of the frame take is measured by the same without
 * the relay, and subtracted; the moving is then added again.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/parse.h"
#include "dp/dp.h"
#include "tools/bench/cost.h"

#define ROOT	    "/mnt"
#define BPFFS	    ROOT "/bpf/pcd"
#define PAYLOAD	    160
#define FRAME	    (14 + 20 + 8 + 4 + PAYLOAD)
#define REPEAT	    5000
#define ROUNDS	    60
#define MAX_ROUNDS  1000
#define DEFAULT_MAX 65536
#define TENANTS	    64
#define LO	    1

enum part { EMPTY, MOVE, BARE, RELAY, ONE, PARTS };

struct point {
	uint32_t sessions, max_sessions;
	double ns[PARTS];
	double load_ms, fill_ms;
	uint64_t memory;
};

static const char *const part_names[PARTS] = {
	[EMPTY] = "scale_empty", [MOVE] = "scale_move", [BARE] = "scale_bare",
	[RELAY] = "scale_relay", [ONE] = "scale_one",
};
static const uint32_t numbers[] = { 1, 16, 256, 1024, 4096, 16384, 65536, 262144, 1048576 };

static int fail(const char *what, int err)
{
	fprintf(stderr, "scale_cost: %s: %s\n", what, pc_strerror(err));
	return err;
}

/* --- sessions --- */

static struct pc_addr address(uint32_t ip, uint16_t port)
{
	struct pc_addr a = { .port = port, .ip.family = 4 };

	for (int i = 0; i < 4; i++)
		a.ip.b[i] = (uint8_t)(ip >> (24 - 8 * i));
	return a;
}

/* On every tenant and session, and never reached. */
static void set_limits(struct pc_dp *dp, uint32_t sessions)
{
	const struct pc_dp_rates *r = pc_dp_rates(dp);
	const struct pc_rate rate = cost_rate();

	for (uint32_t t = 1; t <= TENANTS; t++) {
		r->rate[pc_rate_index(t, PC_RATE_UP)] = rate;
		r->rate[pc_rate_index(t, PC_RATE_DOWN)] = rate;
		r->quota[t].authorised = COST_CREDIT;
	}
	*r->root = cost_root();
	for (uint32_t i = 0; i < sessions; i++)
		r->credit[i].authorised = COST_CREDIT;
}

static int fill(struct pc_dp *dp, uint32_t sessions)
{
	const struct pc_dp_nexthop hop = { .ifindex = LO, .mtu = 9000, .resolved = true };
	int err = pc_dp_nexthop_set(dp, 0, &hop);

	pc_dp_batch_begin(dp);
	for (uint32_t i = 0; i < sessions && !err; i++) {
		struct pc_dp_flow flow = {
			.slot = i,
			.tenant = 1 + i % TENANTS,
			.channel = 0x4abc,
			.client = address(0x0a000000 + i, 40000),
			.server = address(0xc6336401, 3478),
			.relayed = address(0xc6336401, (uint16_t)(4000 + i % 60000)),
			.peer = address(0x0b000000 + i, 7000),
			.expires_ns = UINT64_MAX,
		};

		err = pc_dp_flow_set(dp, &flow);
	}
	return pc_dp_batch_end(dp) ?: err;
}

static int open_plane(struct point *p, struct pc_dp **ret_dp)
{
	struct pc_dp_config config = {
		.bpffs = BPFFS,
		.state_dir = ROOT "/state",
		.max_sessions = p->max_sessions,
		.max_tenants = TENANTS,
		.service_ports = { 3478 },
		.service_addrs = { address(0xc6336401, 0).ip },
		.relay_low = 4000,
		.relay_high = 65000,
		.kernel = true,
	};
	uint64_t start = pc_clock_monotonic();
	struct pc_dp_status status;
	int err = pc_dp_open(&config, ret_dp);

	if (err)
		return fail("opening", err);
	p->load_ms = (double)(pc_clock_monotonic() - start) / 1e6;
	pc_dp_get_status(*ret_dp, &status);
	if (!status.kernel) {
		fprintf(stderr, "scale_cost: %s\n", status.reason);
		return PC_ERR_STATE;
	}
	start = pc_clock_monotonic();
	err = fill(*ret_dp, p->sessions);
	if (err)
		return fail("writing the sessions", err);
	p->fill_ms = (double)(pc_clock_monotonic() - start) / 1e6;
	set_limits(*ret_dp, p->sessions);
	return 0;
}

/* --- programs --- */

/*
 * What is attached somewhere is in the kernel's XDP dispatcher; otherwise every test run would
 * patch it in and out. So: each on the loopback of a namespace of its own, which lives as long as a
 * descriptor of it.
 */
static int attach(int prog)
{
	if (unshare(CLONE_NEWNET) || open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) < 0)
		return -errno;
	return bpf_xdp_attach(LO, prog, XDP_FLAGS_SKB_MODE, NULL);
}

static int set_sessions(struct bpf_object *object, uint32_t sessions)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		if (strstr(bpf_map__name(map), ".rodata"))
			return bpf_map__set_initial_value(map, &sessions, sizeof(sessions));
	}
	return -ENOENT;
}

static int load_parts(uint32_t sessions, int ret_fds[static PARTS])
{
	struct bpf_object *object = bpf_object__open_file("build/bench/scale.bpf.o", NULL);
	int relay = bpf_obj_get(BPFFS "/" PC_PROG_RELAY), next, err = 0;
	uint32_t index[2] = { 0, 1 };

	if (!object || relay < 0)
		return fail(object ? "the relay's program" : "build/bench/scale.bpf.o", -errno);
	err = set_sessions(object, sessions);
	if (!err)
		err = bpf_object__load(object);
	for (int i = 0; i < PARTS && !err; i++) {
		ret_fds[i] =
			bpf_program__fd(bpf_object__find_program_by_name(object, part_names[i]));
		err = attach(ret_fds[i]);
	}
	next = bpf_object__find_map_fd_by_name(object, "pc_scale_next");
	if (!err && (bpf_map_update_elem(next, &index[0], &relay, BPF_ANY) ||
		     bpf_map_update_elem(next, &index[1], &ret_fds[MOVE], BPF_ANY)))
		err = -errno;
	return err ? fail("loading", err) : 0;
}

/* --- measuring --- */

static int run(int prog, int verdict, uint32_t *ret_ns)
{
	uint8_t frame[FRAME] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = REPEAT);
	int err = bpf_prog_test_run_opts(prog, &opts);

	if (err)
		return err;
	if ((int)opts.retval != verdict)
		return -EPROTO;
	*ret_ns = opts.duration;
	return 0;
}

/* Interleaved, so that a slow moment of the machine hits all. */
static int measure(struct point *p, const int fds[static PARTS], unsigned int rounds)
{
	static uint32_t ns[PARTS][MAX_ROUNDS];

	for (unsigned int r = 0; r < rounds; r++) {
		for (int i = 0; i < PARTS; i++) {
			int err = run(fds[i], i == EMPTY ? XDP_PASS : XDP_TX, &ns[i][r]);

			if (err)
				return fail(part_names[i], err);
		}
	}
	for (int i = 0; i < PARTS; i++)
		p->ns[i] = cost_middle(ns[i], rounds);
	return 0;
}

/* All packets but those of the other programs were forwarded. */
static int check(struct pc_dp *dp, unsigned int rounds)
{
	uint64_t reasons[PC_REASON_COUNT];
	int err = pc_dp_reasons_kernel(dp, reasons);

	if (!err && reasons[PC_REASON_TX] != 2ull * rounds * REPEAT)
		err = -EPROTO;
	return err ? fail("counters", err) : 0;
}

static int measure_point(struct point *p, unsigned int rounds)
{
	struct pc_dp_status status;
	struct pc_dp *dp = NULL;
	int fds[PARTS], err;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", ROOT, "tmpfs", 0, "mode=0755") || mkdir(ROOT "/bpf", 0755))
		return fail("a place of its own", -errno);
	err = open_plane(p, &dp);
	if (!err)
		err = load_parts(p->sessions, fds);
	if (!err)
		err = measure(p, fds, rounds);
	if (!err)
		err = check(dp, rounds);
	if (err)
		return err;
	pc_dp_close(dp);
	/* Entries take memory as they come: look again. */
	err = pc_dp_open_readonly(BPFFS, ROOT "/state", &dp);
	if (err)
		return fail("looking again", err);
	pc_dp_get_status(dp, &status);
	p->memory = status.memory;
	pc_dp_close(dp);
	pc_dp_teardown(BPFFS, false);
	return 0;
}

/* In a process of its own, with which all goes. */
static int in_child(struct point *p, unsigned int rounds)
{
	int pipes[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		int err = measure_point(p, rounds);

		_exit(err || write(pipes[1], p, sizeof(*p)) != sizeof(*p));
	}
	close(pipes[1]);
	n = read(pipes[0], p, sizeof(*p));
	close(pipes[0]);
	if (waitpid(pid, &status, 0) < 0 || status || n != sizeof(*p))
		return -EIO;
	return 0;
}

/* --- report --- */

/* Of the relay alone, with the moving of the frame. */
static double cost(const struct point *p, enum part part)
{
	return p->ns[part] - p->ns[BARE] + p->ns[MOVE];
}

static void print_table(const struct point *points, unsigned int n)
{
	printf("%9s %12s %8s %8s %8s %8s %8s %8s %8s\n", "sessions", "max-sessions", "ns", "floors",
	       "factor", "one: ns", "MiB", "load ms", "fill ms");
	for (unsigned int i = 0; i < n; i++) {
		const struct point *p = &points[i];

		printf("%9u %12u %8.1f %8.2f %8.2f %8.1f %8.0f %8.0f %8.0f\n", p->sessions,
		       p->max_sessions, cost(p, RELAY), cost(p, RELAY) / p->ns[EMPTY],
		       cost(p, RELAY) / cost(points, RELAY), cost(p, ONE),
		       (double)p->memory / (1 << 20), p->load_ms, p->fill_ms);
	}
}

static void print_json(const struct point *points, unsigned int n, unsigned int rounds)
{
	printf("{\"scale\":{\"rounds\":%u,\"points\":[", rounds);
	for (unsigned int i = 0; i < n; i++) {
		const struct point *p = &points[i];

		printf("%s{\"sessions\":%u,\"max_sessions\":%u,\"ns\":%.1f,\"floors\":%.2f,"
		       "\"factor\":%.3f,\"one_ns\":%.1f,\"one_floors\":%.2f,\"empty_ns\":%.1f,"
		       "\"driver_ns\":%.1f,\"memory_bytes\":%llu,\"load_ms\":%.0f,"
		       "\"fill_ms\":%.0f}",
		       i ? "," : "", p->sessions, p->max_sessions, cost(p, RELAY),
		       cost(p, RELAY) / p->ns[EMPTY], cost(p, RELAY) / cost(points, RELAY),
		       cost(p, ONE), cost(p, ONE) / p->ns[EMPTY], p->ns[EMPTY], p->ns[BARE],
		       (unsigned long long)p->memory, p->load_ms, p->fill_ms);
	}
	printf("]}}\n");
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && !strcmp(argv[1], "-j");
	struct point points[PC_ARRAY_SIZE(numbers)];
	uint64_t rounds = ROUNDS, most = UINT32_MAX;
	unsigned int n = 0;

	if ((argc > 1 + json && pc_parse_u64(argv[1 + json], 4, MAX_ROUNDS, &rounds)) ||
	    (argc > 2 + json && pc_parse_u64(argv[2 + json], 1, UINT32_MAX, &most)) ||
	    argc > 3 + json) {
		fprintf(stderr, "usage: scale_cost [-j] [ROUNDS [MOST]]\n");
		return 2;
	}
	for (; n < PC_ARRAY_SIZE(numbers) && numbers[n] <= most; n++) {
		points[n] =
			(struct point){ .sessions = numbers[n],
					.max_sessions = numbers[n] > DEFAULT_MAX ? numbers[n]
										 : DEFAULT_MAX };
		if (in_child(&points[n], (unsigned int)rounds))
			return 1;
	}
	if (!json)
		print_table(points, n);
	print_json(points, n, (unsigned int)rounds);
	return 0;
}
