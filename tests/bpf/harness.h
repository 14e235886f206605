/* SPDX-License-Identifier: MIT */
/*
 * Loads the relay program into the kernel and runs it on frames in memory (BPF_PROG_TEST_RUN). A
 * rig is the program, its maps, and a copy of what was put into them, for the reference model. The
 * program sees interface 1, the loopback.
 */
#ifndef PC_TESTS_BPF_HARNESS_H
#define PC_TESTS_BPF_HARNESS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "abi/pipe.h"
#include "abi/relay.h"
#include "lib/rate.h"
#include "frame.h"
#include "hot_fill.h"

#define RIG_LO		 1
#define RIG_OTHER	 2 /* any interface that is not the one packets come in on */
#define RIG_TXPORT	 3
#define RIG_SESSIONS	 16
#define RIG_FLOWS	 512
#define RIG_PORTS	 64
#define RIG_TENANTS	 8
#define RIG_NEXTHOPS	 32
#define RIG_PIPES	 64 /* directions */
#define RIG_MTU		 1500
#define RIG_NO_REASON	 (-1)
#define NSEC		 1000000000ull
#define RIG_COUNT(a)	 (sizeof(a) / sizeof((a)[0]))

#define RIG_SERVICE_PORT 3478
#define RIG_SECOND_PORT	 443
#define RIG_RELAY_LOW	 50000
#define RIG_RELAY_HIGH	 50999

/* Layout of the program's .rodata, in the order of the includes of relay.bpf.c. */
struct rig_rodata {
	uint32_t hot_shift, hot6_shift, sessions;
	uint16_t service_ports[PC_MAX_SERVICE_PORTS];
	uint16_t relay_low;
	uint16_t relay_high;
	uint32_t service_addrs[PC_MAX_SERVICE_ADDRS][4];
};

/* Entries of both families; which is used, the family says. */
struct rig_flow {
	bool six;
	union {
		struct pc_flow4_key v4;
		struct pc_flow6_key v6;
	} key;
	struct pc_flow value;
};

struct rig_perm {
	bool six;
	union {
		struct pc_perm4_key v4;
		struct pc_perm6_key v6;
	} key;
	struct pc_perm value;
};

struct rig {
	struct bpf_object *obj;
	struct bpf_program *prog;
	int prog_fd;
	int ctl_fd, hot_fd[2], count_fd, drops_fd, reason_fd, nexthop_fd, txport_fd, port_fd,
		client_fd;
	int limit_fd, credit_fd, rate_fd, clock_fd, lease_fd, root_fd, quota_fd;
	int flow_fd[2], perm_fd[2]; /* IPv4, IPv6 */
	int cpus;
	char log[65536];
	struct rig_rodata rodata;
	/* What the maps hold. */
	struct pc_ctl ctl;
	struct rig_flow flows[RIG_FLOWS];
	unsigned int n_flows;
	struct rig_perm perms[RIG_FLOWS];
	unsigned int n_perms;
	struct pc_port_key ports[RIG_PORTS];
	unsigned int n_ports;
	struct pc_nexthop_slot nexthops[RIG_NEXTHOPS];
	struct pc_rate rates[2 * RIG_TENANTS]; /* by pc_rate_index() */
	bool full[2 * RIG_TENANTS];	       /* that refuse everything */
	bool broke[RIG_SESSIONS];	       /* without credit */
};

static inline uint64_t rig_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC + (uint64_t)ts.tv_nsec;
}

static inline const char *rig_object(const char *name)
{
	static char path[512];
	const char *dir = getenv("PC_BPF_DIR");

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : "build/bpf", name);
	return path;
}

static inline int rig_map(struct rig *rig, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(rig->obj, name);

	if (fd < 0)
		fail_msg("no map %s", name);
	return fd;
}

static inline void rig_prepare(struct rig *rig)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, rig->obj)
	{
		const char *name = bpf_map__name(map);

		if (strrchr(name, '.') && !strcmp(strrchr(name, '.'), ".rodata"))
			assert_int_equal(bpf_map__set_initial_value(map, &rig->rodata,
								    sizeof(rig->rodata)),
					 0);
		else if (strstr(name, "_flow") || strstr(name, "_perm"))
			bpf_map__set_max_entries(map, RIG_FLOWS);
		else if (!strcmp(name, PC_MAP_COUNT) || !strcmp(name, PC_MAP_DROPS))
			bpf_map__set_max_entries(map, (uint32_t)rig->cpus * RIG_SESSIONS);
		else if (!strcmp(name, PC_MAP_CREDIT))
			bpf_map__set_max_entries(map, RIG_SESSIONS);
		else if (!strcmp(name, PC_MAP_RATE) || !strcmp(name, PC_MAP_CLOCK) ||
			 !strcmp(name, PC_MAP_LEASE))
			bpf_map__set_max_entries(map, 2 * RIG_TENANTS);
		else if (!strcmp(name, PC_MAP_PIPE) || !strcmp(name, PC_MAP_WINDOW))
			bpf_map__set_max_entries(map, RIG_PIPES);
		else if (!strcmp(name, PC_MAP_QUOTA))
			bpf_map__set_max_entries(map, RIG_TENANTS);
	}
	rig->prog = bpf_object__find_program_by_name(rig->obj, PC_PROG_RELAY);
	assert_non_null(rig->prog);
	/* Only the verifier's statistics. */
	bpf_program__set_log_level(rig->prog, 4);
	bpf_program__set_log_buf(rig->prog, rig->log, sizeof(rig->log));
}

static inline struct rig_rodata rig_constants(void)
{
	return (struct rig_rodata){
		.hot_shift = HOT_FILL_SHIFT,
		.hot6_shift = HOT_FILL_SHIFT,
		.sessions = RIG_SESSIONS,
		.service_ports = { RIG_SERVICE_PORT, RIG_SECOND_PORT },
		.relay_low = RIG_RELAY_LOW,
		.relay_high = RIG_RELAY_HIGH,
	};
}

static inline void rig_set_credit(struct rig *rig, uint32_t slot, uint64_t authorised)
{
	struct pc_credit credit = { .authorised = authorised };

	rig->broke[slot] = !authorised;
	assert_int_equal(bpf_map_update_elem(rig->credit_fd, &slot, &credit, BPF_ANY), 0);
}

static inline struct pc_credit rig_credit(struct rig *rig, uint32_t slot)
{
	struct pc_credit credit;

	assert_int_equal(bpf_map_lookup_elem(rig->credit_fd, &slot, &credit), 0);
	return credit;
}

/* The clock begins @backlog_ns ahead of now; UINT64_MAX / 2: it refuses everything. */
static inline void rig_set_rate(struct rig *rig, uint32_t tenant, uint32_t direction,
				const struct pc_rate *rate, uint64_t backlog_ns)
{
	uint32_t index = pc_rate_index(tenant, direction);
	struct pc_rate_clock clock = { .committed_ns = rig_now() + backlog_ns };

	rig->rates[index] = *rate;
	rig->full[index] = backlog_ns == UINT64_MAX / 2;
	assert_int_equal(bpf_map_update_elem(rig->rate_fd, &index, rate, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(rig->clock_fd, &index, &clock, BPF_ANY), 0);
}

static inline struct pc_rate_clock rig_clock(struct rig *rig, uint32_t tenant, uint32_t direction)
{
	uint32_t index = pc_rate_index(tenant, direction);
	struct pc_rate_clock clock;

	assert_int_equal(bpf_map_lookup_elem(rig->clock_fd, &index, &clock), 0);
	return clock;
}

/* Summed over CPUs. */
static inline struct pc_rate_lease rig_lease(struct rig *rig, uint32_t tenant, uint32_t direction)
{
	uint32_t index = pc_rate_index(tenant, direction);
	struct pc_rate_lease values[256], sum = { 0 };

	assert_true(rig->cpus <= 256);
	assert_int_equal(bpf_map_lookup_elem(rig->lease_fd, &index, values), 0);
	for (int i = 0; i < rig->cpus; i++) {
		sum.left += values[i].left;
		sum.bytes += values[i].bytes;
		sum.dropped_bytes += values[i].dropped_bytes;
		sum.drops_rate += values[i].drops_rate;
		sum.drops_root += values[i].drops_root;
		sum.drops_quota += values[i].drops_quota;
		sum.marks += values[i].marks;
	}
	return sum;
}

static inline struct rig *rig_new_with(const char *object, struct rig_rodata rodata)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->rodata = rodata;
	rig->cpus = libbpf_num_possible_cpus();
	assert_true(rig->cpus > 0);
	rig->obj = bpf_object__open_file(rig_object(object), NULL);
	if (!rig->obj)
		fail_msg("%s: %s", rig_object(object), strerror(errno));
	rig_prepare(rig);
	if (bpf_object__load(rig->obj))
		fail_msg("%s does not load: %s", object, rig->log);
	rig->prog_fd = bpf_program__fd(rig->prog);
	rig->ctl_fd = rig_map(rig, PC_MAP_CTL);
	rig->flow_fd[0] = rig_map(rig, PC_MAP_FLOW4);
	rig->flow_fd[1] = rig_map(rig, PC_MAP_FLOW6);
	rig->hot_fd[0] = rig_map(rig, PC_MAP_HOT4);
	rig->hot_fd[1] = rig_map(rig, PC_MAP_HOT6);
	rig->perm_fd[0] = rig_map(rig, PC_MAP_PERM4);
	rig->perm_fd[1] = rig_map(rig, PC_MAP_PERM6);
	rig->port_fd = rig_map(rig, PC_MAP_PORT);
	rig->client_fd = rig_map(rig, PC_MAP_CLIENT);
	rig->limit_fd = rig_map(rig, PC_MAP_LIMIT);
	rig->count_fd = rig_map(rig, PC_MAP_COUNT);
	rig->drops_fd = rig_map(rig, PC_MAP_DROPS);
	rig->reason_fd = rig_map(rig, PC_MAP_REASON);
	rig->nexthop_fd = rig_map(rig, PC_MAP_NEXTHOP);
	rig->txport_fd = rig_map(rig, PC_MAP_TXPORT);
	rig->credit_fd = rig_map(rig, PC_MAP_CREDIT);
	rig->rate_fd = rig_map(rig, PC_MAP_RATE);
	rig->clock_fd = rig_map(rig, PC_MAP_CLOCK);
	rig->lease_fd = rig_map(rig, PC_MAP_LEASE);
	rig->root_fd = rig_map(rig, PC_MAP_ROOT);
	rig->quota_fd = rig_map(rig, PC_MAP_QUOTA);
	for (uint32_t slot = 0; slot < RIG_SESSIONS; slot++)
		rig_set_credit(rig, slot, PC_CREDIT_UNLIMITED);
	return rig;
}

static inline struct rig *rig_new(const char *object)
{
	return rig_new_with(object, rig_constants());
}

static inline void rig_free(struct rig *rig)
{
	bpf_object__close(rig->obj);
	free(rig);
}

/* --- what is in the maps --- */

static inline void rig_set_ctl(struct rig *rig, struct pc_ctl ctl)
{
	uint32_t zero = 0;

	rig->ctl = ctl;
	assert_int_equal(bpf_map_update_elem(rig->ctl_fd, &zero, &ctl, BPF_ANY), 0);
}

/* Writes the copy that is not active and switches, as the daemon does. */
static inline void rig_set_nexthop6(struct rig *rig, uint32_t index, uint32_t ifindex, uint16_t mtu,
				    unsigned int vlans, bool six)
{
	struct pc_nexthop_slot *slot = &rig->nexthops[index];
	struct pc_nexthop *nh = &slot->copy[!slot->active];

	memset(nh, 0, sizeof(*nh));
	nh->ifindex = ifindex;
	nh->txport = RIG_TXPORT;
	nh->mtu = mtu;
	nh->l2_len = (uint16_t)frame_link6(nh->l2, FRAME_OUT_SEED + index, vlans, six);
	slot->active = !slot->active;
	assert_int_equal(bpf_map_update_elem(rig->nexthop_fd, &index, slot, BPF_ANY), 0);
}

static inline void rig_set_nexthop(struct rig *rig, uint32_t index, uint32_t ifindex, uint16_t mtu,
				   unsigned int vlans)
{
	rig_set_nexthop6(rig, index, ifindex, mtu, vlans, false);
}

static inline void rig_set_txport(struct rig *rig, uint32_t ifindex)
{
	uint32_t port = RIG_TXPORT;

	assert_int_equal(bpf_map_update_elem(rig->txport_fd, &port, &ifindex, BPF_ANY), 0);
}

/* Whether flows are in the tables of copies, too, as the daemon has them; rig_main() tries both. */
static bool rig_cold;

static inline void rig_add_flow(struct rig *rig, const struct rig_flow *flow)
{
	if (!rig_cold)
		assert_int_equal(flow->six ? hot_fill6(rig->hot_fd[1], &flow->key.v6, &flow->value)
					   : hot_fill4(rig->hot_fd[0], &flow->key.v4, &flow->value),
				 0);
	assert_true(rig->n_flows < RIG_FLOWS);
	rig->flows[rig->n_flows++] = *flow;
	assert_int_equal(
		bpf_map_update_elem(rig->flow_fd[flow->six], &flow->key, &flow->value, BPF_ANY), 0);
}

/* Whether a flow is in the hash map alone. */
static inline bool rig_spilt(struct rig *rig, const struct rig_flow *flow, uint32_t *ret_set)
{
	__u64 words[5] = { 0 };
	struct pc_hot4 hot4;
	struct pc_hot6 hot6;

	memcpy(words, &flow->key, flow->six ? sizeof(flow->key.v6) : sizeof(flow->key.v4));
	*ret_set = (uint32_t)(flow->six ? pc_hot_set6(words, words[4], HOT_FILL_SHIFT)
					: pc_hot_set(words[0], words[1], HOT_FILL_SHIFT));
	assert_int_equal(bpf_map_lookup_elem(rig->hot_fd[flow->six], ret_set,
					     flow->six ? (void *)&hot6 : (void *)&hot4),
			 0);
	for (int way = 0; way < PC_HOT_WAYS; way++) {
		if (flow->six ? hot6.tail[way] == words[4] && !memcmp(hot6.addrs[way], words, 32)
			      : !memcmp(&hot4.key[way], words, 16))
			return false;
	}
	return true;
}

/* Says of all sets that have all their flows that they do, as the daemon does. */
static inline void rig_know(struct rig *rig)
{
	bool spilt[2][PC_HOT_SETS_MIN] = { 0 };
	uint32_t set;

	if (rig_cold)
		return;
	for (unsigned int i = 0; i < rig->n_flows; i++)
		if (rig_spilt(rig, &rig->flows[i], &set))
			spilt[rig->flows[i].six][set] = true;
	for (int six = 0; six < 2; six++)
		for (set = 0; set < PC_HOT_SETS_MIN; set++)
			if (!spilt[six][set])
				assert_int_equal(hot_fill_known(rig->hot_fd[six], set, six), 0);
}

static inline void rig_add_perm(struct rig *rig, const struct rig_perm *perm)
{
	if (!rig_cold)
		assert_int_equal(
			perm->six ? hot_fill_perm6(rig->hot_fd[1], &perm->key.v6, &perm->value)
				  : hot_fill_perm4(rig->hot_fd[0], &perm->key.v4, &perm->value),
			0);
	assert_true(rig->n_perms < RIG_FLOWS);
	rig->perms[rig->n_perms++] = *perm;
	assert_int_equal(
		bpf_map_update_elem(rig->perm_fd[perm->six], &perm->key, &perm->value, BPF_ANY), 0);
}

static inline void rig_add_port(struct rig *rig, const struct pc_port_key *key)
{
	uint32_t value = 0;

	assert_true(rig->n_ports < RIG_PORTS);
	rig->ports[rig->n_ports++] = *key;
	assert_int_equal(bpf_map_update_elem(rig->port_fd, key, &value, BPF_ANY), 0);
}

/* --- what it counted --- */

static inline uint64_t rig_reason(struct rig *rig, uint32_t reason)
{
	uint64_t values[256] = { 0 }, sum = 0;

	assert_true(rig->cpus <= 256);
	assert_int_equal(bpf_map_lookup_elem(rig->reason_fd, &reason, values), 0);
	for (int i = 0; i < rig->cpus; i++)
		sum += values[i];
	return sum;
}

static inline void rig_add_dir(struct pc_dir_count *sum, const struct pc_dir_count *add)
{
	sum->packets += add->packets;
	sum->payload_bytes += add->payload_bytes;
	sum->wire_bytes += add->wire_bytes;
}

static inline struct pc_count rig_count(struct rig *rig, uint32_t slot)
{
	struct pc_count sum = { 0 };
	struct pc_tally tally;
	struct pc_drops drops;

	for (uint32_t cpu = 0; cpu < (uint32_t)rig->cpus; cpu++) {
		uint32_t index = pc_tally_index(cpu, RIG_SESSIONS, slot);

		assert_int_equal(bpf_map_lookup_elem(rig->count_fd, &index, &tally), 0);
		assert_int_equal(bpf_map_lookup_elem(rig->drops_fd, &index, &drops), 0);
		rig_add_dir(&sum.up, &tally.up);
		rig_add_dir(&sum.down, &tally.down);
		sum.drops_rate += drops.rate;
		sum.drops_credit += drops.credit;
	}
	return sum;
}

/* Exactly @reason was counted, @n times, since the rig was made; RIG_NO_REASON: none. */
static inline void rig_expect_reasons(struct rig *rig, int reason, uint64_t n)
{
	for (uint32_t i = 0; i < PC_REASON_SLOTS; i++) {
		uint64_t want = (int)i == reason ? n : 0;
		uint64_t got = rig_reason(rig, i);

		if (got != want)
			fail_msg("reason %u was counted %llu times, not %llu", i,
				 (unsigned long long)got, (unsigned long long)want);
	}
}

static inline void rig_expect_nothing_metered(struct rig *rig)
{
	struct pc_count none = { 0 };

	for (uint32_t slot = 0; slot < RIG_SESSIONS; slot++) {
		struct pc_count got = rig_count(rig, slot);

		assert_memory_equal(&got, &none, sizeof(none));
	}
}

/* --- running --- */

/* Runs the program @repeat times on what its last run left. Returns the last verdict. */
static inline int rig_run_times(struct rig *rig, const struct frame *in, struct frame *ret_out,
				unsigned int repeat)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->bytes, .data_size_in = (__u32)in->len,
		    .data_out = ret_out->bytes, .data_size_out = sizeof(ret_out->bytes),
		    .repeat = (int)repeat);
	int err = bpf_prog_test_run_opts(rig->prog_fd, &opts);

	if (err)
		fail_msg("test run: %s", strerror(-err));
	ret_out->len = opts.data_size_out;
	return (int)opts.retval;
}

static inline int rig_run(struct rig *rig, const struct frame *in, struct frame *ret_out)
{
	return rig_run_times(rig, in, ret_out, 1);
}

/* --- the test program --- */

static inline int rig_setup(void **state)
{
	*state = rig_new("relay.bpf.o");
	return 0;
}

static inline int rig_teardown(void **state)
{
	rig_free(*state);
	return 0;
}

#define rig_test(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

/* NULL, or why the kernel half cannot be tested here. */
static inline const char *rig_unavailable(void)
{
	if (geteuid() != 0)
		return "needs root";
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_XDP, NULL) != 1)
		return "this kernel does not let us load XDP programs";
	return NULL;
}

static inline int rig_skip_all(const struct CMUnitTest *tests, size_t n, const char *why)
{
	printf("1..%zu\n", n);
	for (size_t i = 0; i < n; i++)
		printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].name, why);
	return 0;
}

static inline void rig_set_cold(void **state)
{
	rig_cold = true;
}

/* All tests twice: with the flows in pc4_hot4 and pc4_hot6, then in the hash maps alone. */
static inline int rig_run_all(const char *name, const struct CMUnitTest *tests, size_t n)
{
	struct CMUnitTest *all = calloc(2 * n + 1, sizeof(*all));
	int failed;

	assert_non_null(all);
	memcpy(all, tests, n * sizeof(*all));
	all[n] = (struct CMUnitTest){ .name = "flows_in_hash_maps_alone",
				      .test_func = rig_set_cold };
	memcpy(all + n + 1, tests, n * sizeof(*all));
	failed = _cmocka_run_group_tests(name, all, 2 * n + 1, NULL, NULL);
	free(all);
	return failed;
}

/* The body of main(). */
#define rig_main(tests)                                                    \
	do {                                                               \
		const char *why = rig_unavailable();                       \
                                                                           \
		if (why)                                                   \
			return rig_skip_all(tests, RIG_COUNT(tests), why); \
		cmocka_set_message_output(CM_OUTPUT_TAP);                  \
		return rig_run_all(#tests, tests, RIG_COUNT(tests));       \
	} while (0)

#endif
