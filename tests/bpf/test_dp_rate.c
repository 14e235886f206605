/* SPDX-License-Identifier: MIT */
/* Limits of tenants in memory that the program shares: sizes, restarts, sums over CPUs. */
#include "dp_env.h"
#include "lib/rate.h"

#define TENANTS 16

/* Written here, read by the kernel; written by the kernel, read here; and there after a restart. */
static void test_shared(void **state)
{
	const struct pc_rate rate = { .version = 7, .committed = 11, .dscp = 46 };
	struct pc_dp *dp = env_open();
	const struct pc_dp_rates *r = pc_dp_rates(dp);
	_cleanup_close_ int rates = env_pin(PC_MAP_RATE), clocks = env_pin(PC_MAP_CLOCK);
	uint32_t last = pc_rate_index(TENANTS, PC_RATE_DOWN);
	struct pc_rate_clock clock = { .committed_ns = 99 };
	struct pc_rate got;

	assert_int_equal(r->max_tenants, TENANTS);
	assert_int_equal(pc_dp_max_tenants(dp), TENANTS);
	pc_rate_store(&r->rate[last], &rate);
	assert_int_equal(bpf_map_lookup_elem(rates, &last, &got), 0);
	assert_memory_equal(&got, &rate, sizeof(got));
	assert_int_equal(bpf_map_update_elem(clocks, &last, &clock, BPF_ANY), 0);
	assert_true(r->clock[last].committed_ns == 99);
	last++;
	assert_int_not_equal(bpf_map_lookup_elem(rates, &last, &got), 0);
	r->root->rate = 5;
	r->quota[TENANTS].used = 6;
	r->credit[ENV_SESSIONS - 1] = (struct pc_credit){ .authorised = 8, .used = 7 };
	pc_dp_close(dp);

	dp = env_open();
	r = pc_dp_rates(dp);
	assert_memory_equal(&r->rate[last - 1], &rate, sizeof(rate));
	assert_true(r->clock[last - 1].committed_ns == 99);
	assert_true(r->root->rate == 5 && r->quota[TENANTS].used == 6);
	assert_true(r->credit[ENV_SESSIONS - 1].authorised == 8);
	assert_true(r->credit[0].authorised == PC_CREDIT_UNLIMITED);
	pc_dp_close(dp);
}

static void test_counts(void **state)
{
	struct pc_dp *dp = env_open();
	const struct pc_dp_rates *r = pc_dp_rates(dp);
	_cleanup_close_ int fd = env_pin(PC_MAP_LEASE);
	int cpus = libbpf_num_possible_cpus();
	struct pc_dp_rate_count got[2 * (TENANTS + 1)];
	_cleanup_free_ struct pc_rate_lease *leases = calloc((size_t)cpus, sizeof(*leases));
	uint32_t index = 5;

	assert_non_null(leases);
	for (int i = 0; i < cpus; i++)
		leases[i] = (struct pc_rate_lease){ .left = 1,
						    .bytes = 1ull << 40,
						    .dropped_bytes = 3,
						    .drops_rate = UINT32_MAX, /* and over */
						    .drops_root = 4,
						    .drops_quota = 5,
						    .marks = 6 };
	assert_int_equal(bpf_map_update_elem(fd, &index, leases, BPF_ANY), 0);
	r->lease[5] = (struct pc_rate_lease){ .bytes = 10, .drops_rate = 1, .marks = 1 };
	assert_int_equal(pc_dp_rate_counts(dp, 0, 2 * (TENANTS + 1), got), 0);
	for (uint32_t i = 0; i < 2 * (TENANTS + 1); i++)
		assert_true(i == 5 || (!got[i].bytes && !got[i].drops_rate && !got[i].marks));
	assert_true(got[5].bytes == ((uint64_t)cpus << 40) + 10);
	assert_true(got[5].dropped_bytes == 3ull * (unsigned int)cpus);
	assert_true(got[5].drops_rate == (uint32_t)(1 - cpus));
	assert_true(got[5].drops_root == 4u * (unsigned int)cpus);
	assert_true(got[5].drops_quota == 5u * (unsigned int)cpus);
	assert_true(got[5].marks == 6u * (unsigned int)cpus + 1);
	assert_int_equal(pc_dp_rate_counts(dp, 1, 2 * (TENANTS + 1), got), PC_ERR_RANGE);
	pc_dp_close(dp);
}

static void test_other_size(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp *dp = env_open();
	struct pc_dp_status status;

	pc_dp_close(dp);
	config.max_tenants = 2 * TENANTS;
	assert_int_equal(pc_dp_open(&config, &dp), 0);
	pc_dp_get_status(dp, &status);
	assert_int_equal(status.kernel_error, PC_ERR_VERSION);
	assert_non_null(strstr(status.reason, "max-tenants = 16, not 32"));
	/* User space limits on its own then. */
	assert_non_null(pc_dp_rates(dp));
	assert_int_equal(pc_dp_rates(dp)->max_tenants, 2 * TENANTS);
	pc_dp_close(dp);
}

static void test_views(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp *dp = env_open();

	pc_dp_close(dp);
	assert_int_equal(pc_dp_open_readonly(ENV_BPFFS, ENV_STATE, &dp), 0);
	assert_null(pc_dp_rates(dp));
	pc_dp_close(dp);
	config.kernel = false;
	assert_int_equal(pc_dp_open(&config, &dp), 0);
	assert_true(pc_dp_rates(dp)->credit[ENV_SESSIONS - 1].authorised == PC_CREDIT_UNLIMITED);
	pc_dp_close(dp);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, env_fresh, env_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_shared),
		T(test_counts),
		T(test_other_size),
		T(test_views),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!env_enter())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
