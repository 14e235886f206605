/* SPDX-License-Identifier: MIT */
/* The data plane library on the real kernel: open, adopt, replace, flows, next hops, counters. */
#include <cap-ng.h>

#include "dp_env.h"

/* What the program would have counted, of every CPU. */
static void count_in_kernel_of(uint32_t sessions, uint32_t slot, uint64_t value)
{
	_cleanup_close_ int count_fd = env_pin(PC_MAP_COUNT);
	_cleanup_close_ int drops_fd = env_pin(PC_MAP_DROPS);
	const struct pc_drops drops = { .credit = 1 };

	for (uint32_t cpu = 0; cpu < (uint32_t)libbpf_num_possible_cpus(); cpu++) {
		uint32_t index = pc_tally_index(cpu, sessions, slot);
		struct pc_tally tally = { .up.packets = value + cpu, .purse = 99 };

		assert_int_equal(bpf_map_update_elem(count_fd, &index, &tally, BPF_ANY), 0);
		assert_int_equal(bpf_map_update_elem(drops_fd, &index, &drops, BPF_ANY), 0);
	}
}

static void count_in_kernel(uint32_t slot, uint64_t value)
{
	count_in_kernel_of(ENV_SESSIONS, slot, value);
}

static uint64_t counted(uint64_t value)
{
	uint64_t cpus = (uint64_t)libbpf_num_possible_cpus();

	return cpus * value + cpus * (cpus - 1) / 2;
}

static void test_fresh(void **state)
{
	struct pc_dp *dp = env_open();
	struct pc_dp_status status;
	uint64_t reasons[PC_REASON_COUNT];
	struct pc_count counts[ENV_SESSIONS];
	uint32_t used, size;
	struct stat st;

	pc_dp_get_status(dp, &status);
	assert_true(status.kernel && !status.adopted && status.user_counters_new);
	assert_int_equal(status.kernel_error, 0);
	assert_true(status.generation > 0);
	assert_int_equal(pc_dp_max_sessions(dp), ENV_SESSIONS);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 0);
	assert_int_equal(size, 8 * ENV_SESSIONS);
	assert_int_equal(pc_dp_perm_usage(dp, &used, &size), 0);
	assert_int_equal(used, 0);
	assert_int_equal(size, 16 * ENV_SESSIONS);
	assert_int_equal(status.layout, PC_ABI_VERSION);
	assert_true(status.memory > 4 * ENV_SESSIONS * sizeof(struct pc_flow));
	assert_int_equal(pc_dp_count_kernel(dp, 0, ENV_SESSIONS, counts), 0);
	assert_int_equal(counts[ENV_SESSIONS - 1].up.packets, 0);
	assert_int_equal(pc_dp_reasons_kernel(dp, reasons), 0);
	assert_int_equal(reasons[PC_REASON_TX], 0);
	assert_int_equal(stat(ENV_BPFFS, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	pc_dp_close(dp);
}

static void test_adopt(void **state)
{
	struct pc_dp_flow flow = env_flow(1000);
	struct pc_dp *dp = env_open();
	struct pc_dp_status first, again;
	struct pc_count count;
	uint32_t used, size, prog = env_prog_id();

	pc_dp_get_status(dp, &first);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	pc_dp_count_user(dp)[5].up.packets = 77;
	pc_dp_reasons_user(dp)[PC_REASON_DROP_QUOTA] = 78;
	count_in_kernel(5, 100);
	pc_dp_close(dp);

	dp = env_open();
	pc_dp_get_status(dp, &again);
	assert_true(again.kernel && again.adopted && !again.user_counters_new);
	assert_true(again.generation == first.generation);
	assert_int_equal(env_prog_id(), prog);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2);
	assert_int_equal(pc_dp_count_kernel(dp, 5, 1, &count), 0);
	assert_int_equal(count.up.packets, counted(100));
	assert_int_equal(pc_dp_count_user(dp)[5].up.packets, 77);
	assert_int_equal(pc_dp_reasons_user(dp)[PC_REASON_DROP_QUOTA], 78);
	pc_dp_close(dp);
}

/* Verdict on a control packet to @port while the daemon is away: dropped on a port that is ours. */
static uint32_t verdict(uint16_t port)
{
	_cleanup_close_ int fd = env_pin(PC_PROG_RELAY);
	uint8_t frame[62] = { [12] = 8,
			      [14] = 0x45,
			      [17] = 48,
			      [22] = 64,
			      [23] = 17,
			      [26] = 1,
			      [30] = 2,
			      [35] = 9,
			      [36] = (uint8_t)(port >> 8),
			      [37] = (uint8_t)port,
			      [39] = 28 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof(frame));

	assert_int_equal(bpf_prog_test_run_opts(fd, &run), 0);
	return run.retval;
}

static void test_replace(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_flow flow = env_flow(1000);
	struct pc_dp *dp = env_open();
	struct pc_dp_status status;
	struct pc_count count;
	uint32_t prog, map, used, size;

	env_attach(dp, env.inside, PC_DP_NATIVE);
	env_attach(dp, env.outside, PC_DP_GENERIC);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	count_in_kernel(5, 100);
	prog = env_prog_id();
	map = env_map_id(PC_MAP_FLOW4);
	pc_dp_heartbeat(dp, 1);
	assert_int_equal(verdict(ENV_PORT), XDP_DROP);
	assert_int_equal(verdict(5349), XDP_PASS);
	pc_dp_close(dp);

	config.service_ports[0] = 5349;
	config.relay_low = 40000;
	dp = env_open_with(&config);
	pc_dp_get_status(dp, &status);
	assert_true(status.adopted);
	assert_int_not_equal(env_prog_id(), prog);
	assert_int_equal(env_prog_on(env.inside), env_prog_id());
	assert_int_equal(env_prog_on(env.outside), env_prog_id());
	assert_int_equal(pc_dp_links(dp, NULL, 0), 2);
	assert_int_equal(env_map_id(PC_MAP_FLOW4), map);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2);
	assert_int_equal(pc_dp_count_kernel(dp, 5, 1, &count), 0);
	assert_int_equal(count.up.packets, counted(100));
	/* The new program runs on the old maps: it sees the heartbeat written through this handle.
	 */
	pc_dp_heartbeat(dp, 1);
	assert_int_equal(verdict(5349), XDP_DROP);
	assert_int_equal(verdict(ENV_PORT), XDP_PASS);
	prog = env_prog_id();
	pc_dp_close(dp);

	/* The same once more is not a replacement. */
	dp = env_open_with(&config);
	assert_int_equal(env_prog_id(), prog);
	pc_dp_close(dp);
}

/* A host that routes: only packets for its own addresses are pcd's. */
static void test_service_addrs(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp *dp;

	config.service_addrs[0] = pc_ip4(9, 9, 9, 9);
	dp = env_open_with(&config);
	pc_dp_heartbeat(dp, 1);
	assert_int_equal(verdict(ENV_PORT), XDP_PASS);
	pc_dp_close(dp);
	config.service_addrs[1] = pc_ip4(2, 0, 0, 0); /* that of the packet */
	dp = env_open_with(&config);
	pc_dp_heartbeat(dp, 1);
	assert_int_equal(verdict(ENV_PORT), XDP_DROP);
	pc_dp_close(dp);
}

static void expect_refused(const struct pc_dp_config *config, int err, const char *words)
{
	struct pc_dp_status status;
	struct pc_dp_flow flow = env_flow(1);
	struct pc_dp_link link;
	struct pc_count count;
	struct pc_dp *dp;

	assert_int_equal(pc_dp_open(config, &dp), 0);
	pc_dp_get_status(dp, &status);
	assert_false(status.kernel);
	assert_int_equal(status.kernel_error, err);
	if (!strstr(status.reason, words) || strchr(status.reason, '\n'))
		fail_msg("reason: %s", status.reason);
	/* The other half works. */
	pc_dp_count_user(dp)[config->max_sessions - 1].up.packets = 1;
	assert_int_equal(pc_dp_count_kernel(dp, 0, 1, &count), 0);
	assert_int_equal(pc_dp_flow_set(dp, &flow), PC_ERR_STATE);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), PC_ERR_STATE);
	assert_int_equal(pc_dp_selftest(dp), PC_ERR_STATE);
	pc_dp_heartbeat(dp, 42);
	pc_dp_close(dp);
}

static void test_other_size(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp *dp = env_open();
	uint32_t prog = env_prog_id();

	env_attach(dp, env.inside, PC_DP_NATIVE);
	pc_dp_close(dp);
	config.max_sessions = 2 * ENV_SESSIONS;
	config.service_ports[0] = 1;
	expect_refused(&config, PC_ERR_VERSION, "max-sessions = 64, not 128");
	assert_int_equal(env_prog_on(env.inside), prog);
	assert_int_equal(env_prog_id(), prog);
	/* What is attached must not take this daemon for dead: user space gets its packets. */
	assert_true(env_ctl().heartbeat_ns == 42);
}

static void test_other_layout(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp *dp = env_open();
	_cleanup_close_ int fd = env_pin(PC_MAP_META);
	uint32_t zero = 0;
	struct pc_meta meta;

	env_attach(dp, env.inside, PC_DP_NATIVE);
	pc_dp_close(dp);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &meta), 0);
	meta.abi_version = 9;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &meta, BPF_ANY), 0);
	expect_refused(&config, PC_ERR_VERSION, "layout 9, this build has 4: run 'pcctl shutdown'");

	/* A layout that carries another version in its names. */
	assert_int_equal(rename(ENV_BPFFS "/" PC_MAP_META, ENV_BPFFS "/pc5_meta"), 0);
	expect_refused(&config, PC_ERR_VERSION, "layout 5, this build has 4: run 'pcctl shutdown'");
	assert_int_not_equal(env_prog_on(env.inside), 0);
	assert_int_equal(pc_dp_teardown(ENV_BPFFS, false), 1);
	assert_int_equal(env_prog_on(env.inside), 0);
	assert_int_equal(access(ENV_BPFFS, F_OK), -1);
}

static void test_interrupted_start(void **state)
{
	struct pc_dp *dp = env_open();
	struct pc_dp_status status;

	pc_dp_close(dp);
	assert_int_equal(unlink(ENV_BPFFS "/" PC_MAP_META), 0);
	assert_int_equal(unlink(ENV_BPFFS "/" PC_MAP_COUNT), 0);
	dp = env_open();
	pc_dp_get_status(dp, &status);
	assert_false(status.adopted);
	pc_dp_close(dp);

	/* The pin of the program lost, the rest there: loaded again over the old maps. */
	assert_int_equal(unlink(ENV_BPFFS "/" PC_PROG_RELAY), 0);
	dp = env_open();
	pc_dp_get_status(dp, &status);
	assert_true(status.adopted);
	assert_true(env_prog_id() > 0);
	pc_dp_close(dp);
}

static void test_bad_object(void **state)
{
	struct pc_dp_config config = env_config();
	_cleanup_file_ FILE *file = fopen(ENV_ROOT "/broken.o", "w");
	struct pc_dp *dp = env_open();
	uint32_t prog;

	assert_non_null(file);
	fputs("not an object file, whatever its name says", file);
	fflush(file);
	/* What runs goes on running. */
	env_attach(dp, env.inside, PC_DP_NATIVE);
	pc_dp_close(dp);
	prog = env_prog_on(env.inside);
	config.object = ENV_ROOT "/none.o";
	expect_refused(&config, -ENOENT, "cannot read " ENV_ROOT "/none.o: No such file");
	config.object = ENV_ROOT "/broken.o";
	expect_refused(&config, -LIBBPF_ERRNO__FORMAT, "cannot load the program");
	assert_int_equal(env_prog_on(env.inside), prog);
	assert_true(env_ctl().heartbeat_ns == 42);
	config.object = NULL;
	mkdir(ENV_ROOT "/other", 0755);
	mkdir(ENV_ROOT "/other/full", 0755);
	config.bpffs = ENV_ROOT "/other/pcd";
	expect_refused(&config, -ENOTEMPTY, ENV_ROOT "/other/pcd is not in a bpf file system");
}

static void no_rights(void)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_status status;
	struct pc_dp *dp;

	capng_clear(CAPNG_SELECT_BOTH);
	/* Files are still writable: only the kernel says no. */
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_DAC_OVERRIDE);
	if (capng_apply(CAPNG_SELECT_BOTH) || pc_dp_open(&config, &dp))
		_exit(1);
	pc_dp_get_status(dp, &status);
	pc_dp_count_user(dp)[0].up.packets = 1;
	if (status.kernel || status.kernel_error != -EPERM ||
	    !strstr(status.reason, "no rights to ") || !strstr(status.reason, "CAP_BPF"))
		_exit(2);
	pc_dp_close(dp);
}

static void test_no_rights(void **state)
{
	struct pc_dp *dp;

	/* No bpffs yet: mounting is refused. */
	env_in_killed_child(no_rights);
	/* A bpffs, but no right to load. */
	dp = env_open();
	pc_dp_close(dp);
	pc_dp_teardown(ENV_BPFFS, false);
	env_in_killed_child(no_rights);
}

static void test_limits(void **state)
{
	struct pc_dp *dp = env_open();

	assert_int_equal(env_ctl().limit_host_interval_ns, 0);
	pc_dp_limits_set(dp, &(struct pc_dp_limits){ .host_per_s = 200,
						     .host_burst = 400,
						     .net_per_s = 2000,
						     .net_burst = 6000,
						     .all_per_s = 5000,
						     .all_burst = 500,
						     .client_per_s = 10000,
						     .client_burst = 20000 });
	assert_int_equal(env_ctl().limit_host_interval_ns, 5000000);
	assert_int_equal(env_ctl().limit_host_burst_ns, 2000000000);
	assert_int_equal(env_ctl().limit_net_interval_ns, 500000);
	assert_int_equal(env_ctl().limit_net_burst_ns, 3000000000u);
	assert_int_equal(env_ctl().limit_all_interval_ns, 200000);
	assert_int_equal(env_ctl().limit_all_burst_ns, 100000000);
	assert_int_equal(env_ctl().limit_client_interval_ns, 100000);
	assert_int_equal(env_ctl().limit_client_burst_ns, 2000000000);
	/* Off; and as much as fits. */
	pc_dp_limits_set(
		dp, &(struct pc_dp_limits){ .host_burst = 400, .net_per_s = 1, .net_burst = 100 });
	assert_int_equal(env_ctl().limit_all_interval_ns, 0);
	assert_int_equal(env_ctl().limit_client_interval_ns, 0);
	assert_int_equal(env_ctl().limit_host_interval_ns, 0);
	assert_int_equal(env_ctl().limit_net_interval_ns, 1000000000);
	assert_int_equal(env_ctl().limit_net_burst_ns, UINT32_MAX);
	pc_dp_limits_set(dp, &(struct pc_dp_limits){ .host_per_s = UINT32_MAX, .host_burst = 1 });
	assert_int_equal(env_ctl().limit_host_interval_ns, 1);
	pc_dp_close(dp);
}

static void test_counts(void **state)
{
	static const uint32_t slots[] = { 0, 1, 1023, 1024, 2047, 2048, 9998, 9999 };
	struct pc_dp_config config = env_config();
	_cleanup_free_ struct pc_count *all = NULL;
	struct pc_count one[2];
	struct pc_dp *dp;

	config.max_sessions = 10000;
	dp = env_open_with(&config);
	for (size_t i = 0; i < PC_ARRAY_SIZE(slots); i++)
		count_in_kernel_of(config.max_sessions, slots[i], 1000 + slots[i]);
	all = calloc(config.max_sessions, sizeof(*all));
	assert_int_equal(pc_dp_count_kernel(dp, 0, config.max_sessions, all), 0);
	for (uint32_t slot = 0, i = 0; slot < config.max_sessions; slot++) {
		bool set = i < PC_ARRAY_SIZE(slots) && slots[i] == slot;

		assert_int_equal(all[slot].up.packets, set ? counted(1000 + slot) : 0);
		assert_int_equal(all[slot].drops_credit, set ? libbpf_num_possible_cpus() : 0);
		i += set;
	}
	assert_int_equal(pc_dp_count_kernel(dp, 9998, 2, one), 0);
	assert_int_equal(one[0].up.packets, counted(10998));
	assert_int_equal(one[1].up.packets, counted(10999));
	assert_int_equal(pc_dp_count_kernel(dp, 1023, 1, one), 0);
	assert_int_equal(one[0].up.packets, counted(2023));
	assert_int_equal(pc_dp_count_kernel(dp, 9999, 2, one), PC_ERR_RANGE);
	assert_int_equal(pc_dp_count_kernel(dp, 10001, 0, one), PC_ERR_RANGE);
	assert_int_equal(pc_dp_count_kernel(dp, 10000, 0, one), 0);
	pc_dp_close(dp);
}

static void test_reasons(void **state)
{
	struct pc_dp *dp = env_open();
	uint64_t reasons[PC_REASON_COUNT];

	pc_dp_heartbeat(dp, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(verdict(ENV_PORT), XDP_DROP);
	assert_int_equal(pc_dp_reasons_kernel(dp, reasons), 0);
	assert_int_equal(reasons[PC_REASON_DROP_AWAY], 3);
	assert_int_equal(reasons[PC_REASON_TX], 0);
	assert_string_equal(pc_dp_reason_info(PC_REASON_DROP_AWAY)->name, "away");
	pc_dp_close(dp);
}

static struct pc_nexthop read_nexthop(uint32_t index)
{
	_cleanup_close_ int fd = env_pin(PC_MAP_NEXTHOP);
	struct pc_nexthop_slot slot;

	assert_int_equal(bpf_map_lookup_elem(fd, &index, &slot), 0);
	assert_true(slot.active < 2);
	return slot.copy[slot.active];
}

/* Interface that packets with this next hop would be redirected to; 0: none. */
static uint32_t redirect_to(uint32_t index)
{
	_cleanup_close_ int fd = env_pin(PC_MAP_TXPORT);
	struct pc_nexthop nh = read_nexthop(index);
	uint32_t ifindex;

	return bpf_map_lookup_elem(fd, &nh.txport, &ifindex) ? 0 : ifindex;
}

static void test_nexthop(void **state)
{
	static const uint8_t l2[22] = { 6, 5,	 4, 3, 2,  1,	 1, 2,	  3,  4, 5,
					6, 0x81, 0, 0, 10, 0x81, 0, 0x20, 20, 8, 0 };
	struct pc_dp_nexthop nh = {
		.ifindex = env.outside,
		.mtu = 1400,
		.src_mac = { 1, 2, 3, 4, 5, 6 },
		.dst_mac = { 6, 5, 4, 3, 2, 1 },
		.resolved = true,
		.n_vlans = 2,
		.vlan = { 10, 0x2014 },
	};
	struct pc_dp *dp = env_open();
	struct pc_nexthop got;

	assert_int_equal(pc_dp_nexthop_set(dp, 3, &nh), 0);
	got = read_nexthop(3);
	assert_int_equal(got.ifindex, env.outside);
	assert_int_equal(got.mtu, 1400);
	assert_int_equal(got.l2_len, 22);
	assert_memory_equal(got.l2, l2, sizeof(l2));
	nh.family = 6;
	assert_int_equal(pc_dp_nexthop_set(dp, 3, &nh), 0);
	got = read_nexthop(3);
	assert_int_equal(got.l2[20] << 8 | got.l2[21], 0x86dd);
	nh.n_vlans = 0;
	assert_int_equal(pc_dp_nexthop_set(dp, 3, &nh), 0);
	got = read_nexthop(3);
	assert_int_equal(got.l2[12] << 8 | got.l2[13], 0x86dd);
	for (int i = 0; i < 5; i++) {
		nh.mtu = (uint16_t)(1000 + i);
		assert_int_equal(pc_dp_nexthop_set(dp, PC_MAX_NEXTHOPS - 1, &nh), 0);
		got = read_nexthop(PC_MAX_NEXTHOPS - 1);
		assert_int_equal(got.mtu, 1000 + i);
		assert_int_equal(got.l2_len, 14);
	}
	nh.n_vlans = 3;
	assert_int_equal(pc_dp_nexthop_set(dp, 3, &nh), PC_ERR_RANGE);
	nh.n_vlans = 0;
	assert_int_equal(pc_dp_nexthop_set(dp, PC_MAX_NEXTHOPS, &nh), PC_ERR_RANGE);
	nh.resolved = false;
	assert_int_equal(pc_dp_nexthop_set(dp, 3, &nh), 0);
	assert_int_equal(read_nexthop(3).ifindex, 0);
	nh.resolved = true;
	nh.ifindex = 99999;
	assert_int_equal(pc_dp_nexthop_set(dp, 3, &nh), -ENODEV);
	assert_int_equal(read_nexthop(3).ifindex, 0);
	pc_dp_close(dp);
}

static void test_txports(void **state)
{
	struct pc_dp_nexthop nh = { .mtu = 1500, .resolved = true };
	struct pc_dp *dp = env_open();
	struct pc_dp_link link;

	nh.ifindex = env.inside;
	assert_int_equal(pc_dp_nexthop_set(dp, 1, &nh), 0);
	nh.ifindex = env.outside;
	assert_int_equal(pc_dp_nexthop_set(dp, 2, &nh), 0);
	env_attach(dp, env.inside, PC_DP_GENERIC);
	/* Generic mode redirects to any interface. */
	assert_int_equal(redirect_to(1), env.inside);
	assert_int_equal(redirect_to(2), env.outside);
	assert_int_equal(pc_dp_detach(dp, env.inside), 0);

	/* Native mode only to those that have the program, for good, in native mode too. */
	env_attach(dp, env.inside, PC_DP_NATIVE);
	assert_int_equal(redirect_to(1), env.inside);
	assert_int_equal(redirect_to(2), 0);
	assert_int_equal(read_nexthop(2).ifindex, env.outside);
	assert_int_equal(pc_dp_attach(dp, env.outside, PC_DP_NATIVE, UINT64_MAX, &link), 0);
	assert_int_equal(redirect_to(2), 0);
	assert_int_equal(pc_dp_confirm(dp, env.outside), 0);
	assert_int_equal(redirect_to(2), env.outside);
	pc_dp_close(dp);
	dp = env_open();
	assert_int_equal(redirect_to(1), env.inside);
	assert_int_equal(redirect_to(2), env.outside);
	assert_int_equal(pc_dp_detach(dp, env.outside), 0);
	assert_int_equal(redirect_to(2), 0);
	pc_dp_close(dp);
}

static void test_readonly(void **state)
{
	struct pc_dp_flow flow = env_flow(1);
	struct pc_dp_status status;
	struct pc_dp *dp, *view;
	struct pc_count count;
	uint32_t used, size;

	assert_int_equal(pc_dp_open_readonly(ENV_BPFFS, ENV_STATE, &view), 0);
	pc_dp_get_status(view, &status);
	assert_false(status.kernel);
	assert_int_equal(status.kernel_error, -ENOENT);
	assert_int_equal(pc_dp_max_sessions(view), 0);
	pc_dp_close(view);

	/* Beside a daemon, and after it. */
	dp = env_open();
	env_attach(dp, env.inside, PC_DP_NATIVE);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	count_in_kernel(6, 10);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pc_dp_open_readonly(ENV_BPFFS, ENV_STATE, &view), 0);
		if (dp) {
			pc_dp_count_user(dp)[6].down.packets = 66;
			pc_dp_close(dp);
			dp = NULL;
		}
		pc_dp_get_status(view, &status);
		assert_true(status.kernel && status.adopted);
		assert_int_equal(pc_dp_max_sessions(view), ENV_SESSIONS);
		assert_int_equal(pc_dp_count_user(view)[6].down.packets, 66);
		assert_int_equal(pc_dp_count_kernel(view, 6, 1, &count), 0);
		assert_int_equal(count.up.packets, counted(10));
		assert_int_equal(pc_dp_flow_usage(view, &used, &size), 0);
		assert_int_equal(used, 2);
		assert_int_equal(pc_dp_links(view, NULL, 0), 1);
		assert_int_equal(pc_dp_flow_del(view, &flow), PC_ERR_STATE);
		pc_dp_close(view);
	}
	assert_int_not_equal(env_prog_on(env.inside), 0);
}

/* Maps as the first layout had them, as far as they are of use to its successor. */
static void make_old_layout(uint32_t sessions)
{
	struct pc_meta meta = {
		.magic = PC_ABI_MAGIC,
		.abi_version = 1,
		.max_sessions = sessions,
		.created_ns = 4242,
	};
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct pc_count *counts = calloc((size_t)cpus, sizeof(*counts));
	_cleanup_close_ int meta_fd =
		bpf_map_create(BPF_MAP_TYPE_ARRAY, "pc1_meta", 4, sizeof(meta), 1, NULL);
	_cleanup_close_ int count_fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "pc1_count", 4,
						      sizeof(struct pc_count), sessions, NULL);
	_cleanup_close_ int reason_fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "pc1_reason", 4,
						       8, PC_REASON_SLOTS, NULL);
	uint32_t zero = 0, slot = 3;

	assert_true(counts && meta_fd >= 0 && count_fd >= 0 && reason_fd >= 0);
	counts[0].up.packets = 41;
	counts[cpus - 1].up.packets++;
	assert_int_equal(bpf_map_update_elem(meta_fd, &zero, &meta, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(count_fd, &slot, counts, BPF_ANY), 0);
	assert_int_equal(bpf_obj_pin(meta_fd, ENV_BPFFS "/pc1_meta"), 0);
	assert_int_equal(bpf_obj_pin(count_fd, ENV_BPFFS "/pc1_count"), 0);
	assert_int_equal(bpf_obj_pin(reason_fd, ENV_BPFFS "/pc1_reason"), 0);
}

/* The counters of an older layout can be read, nothing else of it, and it is left alone. */
static void test_old_layout(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_status status;
	struct pc_count count;
	struct pc_dp *view;
	uint32_t used, size;

	pc_dp_close(env_open());
	assert_int_equal(pc_dp_teardown(ENV_BPFFS, false), 0);
	assert_int_equal(mkdir(ENV_BPFFS, 0700), 0);
	make_old_layout(32);
	expect_refused(&config, PC_ERR_VERSION, "layout 1, this build has 4");
	assert_int_equal(pc_dp_open_readonly(ENV_BPFFS, ENV_STATE, &view), 0);
	pc_dp_get_status(view, &status);
	assert_true(status.kernel && status.layout == 1 && status.generation == 4242);
	assert_int_equal(pc_dp_max_sessions(view), 32);
	assert_int_equal(pc_dp_count_kernel(view, 3, 1, &count), 0);
	assert_int_equal(count.up.packets, 42);
	assert_int_equal(pc_dp_flow_usage(view, &used, &size), PC_ERR_STATE);
	assert_int_equal(pc_dp_links(view, NULL, 0), 0);
	pc_dp_close(view);
	/* Of one that cannot be read, nothing. */
	assert_int_equal(unlink(ENV_BPFFS "/pc1_count"), 0);
	assert_int_equal(pc_dp_open_readonly(ENV_BPFFS, ENV_STATE, &view), 0);
	pc_dp_get_status(view, &status);
	assert_false(status.kernel);
	pc_dp_close(view);
	assert_int_equal(pc_dp_teardown(ENV_BPFFS, false), 0);
	assert_int_equal(access(ENV_BPFFS, F_OK), -1);
}

static void test_without_kernel(void **state)
{
	struct pc_dp_config config = env_config();

	config.kernel = false;
	config.bpffs = "/nowhere/at/all";
	expect_refused(&config, 0, "");
}

/* What the maps of a million sessions take, and some more. */
#define MILLION_MIB 3500

static void print_load(uint32_t sessions)
{
	struct pc_dp_config config = env_config();
	uint64_t start = pc_clock_monotonic();
	struct pc_dp_status status;
	struct pc_count count;
	struct pc_dp *dp;

	config.max_sessions = sessions;
	dp = env_open_with(&config);
	pc_dp_get_status(dp, &status);
	print_message("# %u sessions: %llu MiB of maps, loaded in %llu ms\n", sessions,
		      (unsigned long long)(status.memory >> 20),
		      (unsigned long long)((pc_clock_monotonic() - start) / PC_NS_PER_MS));
	assert_int_equal(pc_dp_count_kernel(dp, sessions - 1, 1, &count), 0);
	pc_dp_count_user(dp)[sessions - 1].up.packets = 1;
	pc_dp_close(dp);
	pc_dp_teardown(ENV_BPFFS, false);
}

/* MiB that are free for the asking. */
static unsigned long memory_available(void)
{
	_cleanup_file_ FILE *f = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemAvailable: %lu kB", &kib) == 1)
			break;
	}
	return kib >> 10;
}

static void test_million(void **state)
{
	print_load(65536);
	if (memory_available() > MILLION_MIB)
		print_load(1000000);
	else
		print_message("# a million sessions: not tried, less than %d MiB are free\n",
			      MILLION_MIB);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, env_fresh, env_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_fresh),
		T(test_adopt),
		T(test_replace),
		T(test_service_addrs),
		T(test_other_size),
		T(test_other_layout),
		T(test_interrupted_start),
		T(test_bad_object),
		T(test_no_rights),
		T(test_limits),
		T(test_old_layout),
		T(test_counts),
		T(test_reasons),
		T(test_nexthop),
		T(test_txports),
		T(test_readonly),
		T(test_without_kernel),
		T(test_million),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!env_enter())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
