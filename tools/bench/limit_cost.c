/* SPDX-License-Identifier: MIT */
/*
 * limit_cost [-j] [ROUNDS]: what a limiter costs per packet, from one CPU, from two on one tenant,
 * and from two on one each: none, ours, and a token bucket under a spin lock (limit.bpf.c).
 *
 * The kernel runs a program thousands of times at once and says how long one took. Two CPUs do so
 * at the same time, each in a thread that stays there; rounds begin together. All cases take turns,
 * and what is reported is the mean of the middle half of their rounds, less that of the program
 * without a limiter. A table, or JSON. Needs root.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "tools/bench/cost.h"

#define OBJECT	   "build/bench/limit.bpf.o"
#define LO	   1
#define REPEAT	   20000
#define ROUNDS	   200
#define MAX_ROUNDS 5000
#define TENANTS	   16
#define CPUS	   2

enum limiter { NONE, CLOCKS, SMALL, BUCKET, LIMITERS };
enum way { ONE, SHARED, APART, WAYS };

static const struct {
	const char *name, *program;
	uint32_t lease; /* bytes */
} limiters[LIMITERS] = {
	[NONE] = { "no limiter", "limit_none", 65536 },
	[CLOCKS] = { "ours, leases of 64 KiB", "limit_clocks", 65536 },
	[SMALL] = { "ours, leases of 3125 bytes", "limit_clocks", 3125 },
	[BUCKET] = { "bucket under a spin lock", "limit_bucket_locked", 65536 },
};

struct bench_case {
	int prog;
	uint32_t *rounds[CPUS]; /* ns */
	double ns;		/* the slower of the CPUs */
};

static struct bench_case cases[LIMITERS][WAYS];
static cpu_set_t allowed;
static unsigned int n_cpus, rounds = ROUNDS;
static pthread_barrier_t barrier;
static int failed;

static int fail(const char *what, int err)
{
	fprintf(stderr, "limit_cost: %s: %s\n", what, strerror(-err));
	return err;
}

/* --- programs --- */

/* Limits on everything, none of which is ever reached. */
static int fill(struct bpf_object *obj, uint32_t lease)
{
	const struct pc_credit quota = { .authorised = COST_CREDIT };
	const struct pc_rate_root root = cost_root();
	struct pc_rate rate = cost_rate();
	uint32_t zero = 0;
	int r;

	rate.entitled = rate.peak;
	rate.lease = lease << PC_RATE_CHARGE_SHIFT;
	r = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "limit_root"), &zero, &root,
				BPF_ANY);
	for (uint32_t i = 0; r == 0 && i < TENANTS; i++) {
		r = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "limit_rate"), &i,
					&rate, BPF_ANY);
		if (r == 0)
			r = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "limit_quota"),
						&i, &quota, BPF_ANY);
	}
	return r;
}

static int set_spread(struct bpf_object *obj, uint32_t spread)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
	{
		const char *dot = strrchr(bpf_map__name(map), '.');

		if (dot && !strcmp(dot, ".rodata"))
			return bpf_map__set_initial_value(map, &spread, sizeof(spread));
	}
	return -ENOENT;
}

/*
 * Each case has maps of its own. A program that is attached somewhere is in the kernel's XDP
 * dispatcher already; else every run would patch it in and wait for all CPUs. So: on the loopback
 * of a namespace that lives as long as we hold it.
 */
static int load(enum limiter limiter, enum way way)
{
	struct bpf_object *obj = bpf_object__open_file(OBJECT, NULL);
	struct bpf_program *prog;
	int r;

	if (!obj)
		return fail(OBJECT, -errno);
	r = set_spread(obj, way == APART);
	if (r == 0)
		r = bpf_object__load(obj);
	if (r == 0)
		r = fill(obj, limiters[limiter].lease);
	prog = bpf_object__find_program_by_name(obj, limiters[limiter].program);
	if (r || !prog)
		return fail(limiters[limiter].program, r ? r : -ENOENT);
	cases[limiter][way].prog = bpf_program__fd(prog);
	if (unshare(CLONE_NEWNET) || open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) < 0)
		return fail("namespace", -errno);
	r = bpf_xdp_attach(LO, cases[limiter][way].prog, XDP_FLAGS_SKB_MODE, NULL);
	return r ? fail("attaching", r) : 0;
}

/* --- measuring --- */

static int run_once(int prog, uint32_t *ret_ns)
{
	uint8_t frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = REPEAT);
	int r = bpf_prog_test_run_opts(prog, &opts);

	if (r)
		return r;
	if (opts.retval != XDP_PASS)
		return -EPROTO;
	*ret_ns = opts.duration;
	return 0;
}

static int stay_on(unsigned int which)
{
	cpu_set_t set;
	int cpu = 0;

	for (; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && which-- == 0)
			break;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static void *measure(void *arg)
{
	unsigned int cpu = *(const unsigned int *)arg;
	int r = stay_on(cpu);

	for (unsigned int k = 0; k < rounds; k++) {
		for (int i = 0; i < LIMITERS * WAYS; i++) {
			struct bench_case *c = &cases[i / WAYS][i % WAYS];

			pthread_barrier_wait(&barrier);
			if (r == 0 && (cpu == 0 || i % WAYS != ONE))
				r = run_once(c->prog, &c->rounds[cpu][k]);
		}
	}
	if (r)
		__atomic_store_n(&failed, r, __ATOMIC_RELAXED);
	return NULL;
}

static int measure_all(void)
{
	static unsigned int number[CPUS] = { 0, 1 };
	pthread_t thread[CPUS];
	int r = 0;

	pthread_barrier_init(&barrier, NULL, n_cpus);
	for (unsigned int i = 1; i < n_cpus && r == 0; i++)
		r = -pthread_create(&thread[i], NULL, measure, &number[i]);
	if (r)
		return fail("thread", r);
	measure(&number[0]);
	for (unsigned int i = 1; i < n_cpus; i++)
		pthread_join(thread[i], NULL);
	return failed ? fail("running", failed) : 0;
}

static void evaluate(struct bench_case *c, enum way way)
{
	for (unsigned int cpu = 0; cpu < (way == ONE ? 1 : n_cpus); cpu++) {
		double ns = cost_middle(c->rounds[cpu], rounds);

		c->ns = ns > c->ns ? ns : c->ns;
	}
}

/* --- report --- */

static double cost(int limiter, enum way way)
{
	return cases[limiter][way].ns - cases[NONE][way].ns;
}

static void print_table(void)
{
	printf("%-28s %8s %18s %18s\n", "ns per packet", "one CPU", "two, one tenant",
	       "two, one each");
	for (int i = 0; i < LIMITERS; i++) {
		printf("%-28s", i ? limiters[i].name : "no limiter (is taken off)");
		for (enum way w = ONE; w < WAYS; w++)
			printf(w ? " %18.1f" : " %8.1f", i ? cost(i, w) : cases[i][w].ns);
		printf("\n");
	}
}

static void print_json(void)
{
	printf("{\"limit_cost\":{\"rounds\":%u,\"cpus\":%u,\"cases\":[", rounds, n_cpus);
	for (int i = 0; i < LIMITERS; i++) {
		printf("%s{\"name\":\"%s\"", i ? "," : "", limiters[i].name);
		for (enum way w = ONE; w < (n_cpus > 1 ? WAYS : SHARED); w++)
			printf(",\"%s\":%.1f",
			       w == ONE	     ? "one"
			       : w == SHARED ? "shared"
					     : "apart",
			       i ? cost(i, w) : cases[i][w].ns);
		printf("}");
	}
	printf("]}}\n");
}

static int prepare(void)
{
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return fail("CPUs", -errno);
	n_cpus = CPU_COUNT(&allowed) < CPUS ? (unsigned int)CPU_COUNT(&allowed) : CPUS;
	for (int i = 0; i < LIMITERS * WAYS; i++) {
		struct bench_case *c = &cases[i / WAYS][i % WAYS];
		int r = load((enum limiter)(i / WAYS), (enum way)(i % WAYS));

		if (r)
			return r;
		for (int cpu = 0; cpu < CPUS; cpu++) {
			c->rounds[cpu] = calloc(rounds, sizeof(uint32_t));
			if (!c->rounds[cpu])
				return fail("memory", -ENOMEM);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && !strcmp(argv[1], "-j");
	uint64_t number = ROUNDS;

	if (argc > 2 + json ||
	    (argc > 1 + json && pc_parse_u64(argv[1 + json], 4, MAX_ROUNDS, &number))) {
		fprintf(stderr, "usage: limit_cost [-j] [ROUNDS]\n");
		return 2;
	}
	rounds = (unsigned int)number;
	if (prepare() || measure_all())
		return 1;
	for (int i = 0; i < LIMITERS * WAYS; i++) {
		struct bench_case *c = &cases[i / WAYS][i % WAYS];

		evaluate(c, (enum way)(i % WAYS));
		for (int cpu = 0; cpu < CPUS; cpu++)
			free(c->rounds[cpu]);
	}
	if (!json)
		print_table();
	print_json();
	return 0;
}
