/* SPDX-License-Identifier: MIT */
/* The program on real interfaces: trial, confirmation, guard, adoption, removal. */
#include "dp_env.h"

static void check_attach(enum pc_dp_mode mode)
{
	struct pc_dp *dp = env_open();
	struct pc_dp_link link, links[2];

	assert_int_equal(env_prog_on(env.inside), 0);
	assert_int_equal(pc_dp_attach(dp, env.inside, mode, UINT64_MAX, &link), 0);
	assert_int_equal(link.ifindex, env.inside);
	assert_int_equal(link.mode, mode);
	assert_false(link.adopted);
	assert_int_equal(env_prog_on(env.inside), env_prog_id());
	assert_false(env_link_pinned(env.inside));
	assert_int_equal(env_ctl().guard_ifindex, env.inside);

	assert_int_equal(pc_dp_confirm(dp, env.inside), 0);
	assert_true(env_link_pinned(env.inside));
	assert_int_equal(env_ctl().guard_ifindex, 0);
	assert_int_equal(pc_dp_links(dp, links, 2), 1);
	assert_int_equal(links[0].mode, mode);
	assert_true(env_passes());
	pc_dp_close(dp);

	/* The next daemon finds it as it was, whatever mode it would try first. */
	assert_int_equal(env_prog_on(env.inside), env_prog_id());
	dp = env_open();
	assert_int_equal(pc_dp_links(dp, links, 2), 1);
	assert_int_equal(links[0].mode, mode);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), 0);
	assert_true(link.adopted);
	assert_int_equal(link.mode, mode);
	assert_int_equal(env_ctl().guard_ifindex, 0);

	assert_int_equal(pc_dp_detach(dp, env.inside), 0);
	assert_int_equal(pc_dp_detach(dp, env.inside), -ENOENT);
	assert_int_equal(env_prog_on(env.inside), 0);
	assert_false(env_link_pinned(env.inside));
	pc_dp_close(dp);
}

static void test_native(void **state)
{
	check_attach(PC_DP_NATIVE);
}

static void test_generic(void **state)
{
	check_attach(PC_DP_GENERIC);
}

static void test_detach_on_trial(void **state)
{
	struct pc_dp *dp = env_open();
	struct pc_dp_link link;

	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), 0);
	/* There is one guard, so one trial at a time. */
	assert_int_equal(pc_dp_attach(dp, env.outside, PC_DP_NATIVE, 1, &link), PC_ERR_STATE);
	assert_int_equal(pc_dp_detach(dp, env.inside), 0);
	assert_int_equal(env_prog_on(env.inside), 0);
	assert_int_equal(env_ctl().guard_ifindex, 0);
	assert_int_equal(pc_dp_confirm(dp, env.inside), -ENOENT);
	assert_int_equal(pc_dp_attach(dp, env.outside, PC_DP_GENERIC, 1, &link), 0);
	pc_dp_close(dp);
	assert_int_equal(env_prog_on(env.outside), 0);
}

static void test_refusals(void **state)
{
	struct pc_dp *dp = env_open();
	struct pc_dp_link link;

	assert_int_equal(pc_dp_attach(dp, 0, PC_DP_NATIVE, 1, &link), -EINVAL);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_AUTO, 1, &link), -EINVAL);
	assert_int_equal(pc_dp_attach(dp, 99999, PC_DP_NATIVE, 1, &link), -ENODEV);
	/* The loopback's driver has no native mode. */
	assert_int_equal(pc_dp_attach(dp, 1, PC_DP_NATIVE, 1, &link), -EOPNOTSUPP);
	/* A veth refuses native mode when its peer's frames would not fit a page. */
	env_ip("link", "set", "pc-e-out", "mtu", "9000");
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), -EOPNOTSUPP);
	assert_int_equal(env_ctl().guard_ifindex, 0);
	assert_int_equal(pc_dp_links(dp, NULL, 0), 0);
	pc_dp_close(dp);
}

static void test_busy(void **state)
{
	_cleanup_close_ int fd = -1;
	struct pc_dp *dp = env_open();
	struct pc_dp_link link;
	uint32_t id;

	fd = env_pin(PC_PROG_RELAY);
	assert_int_equal(bpf_xdp_attach((int)env.inside, fd, 1u << 2 /* native */, NULL), 0);
	id = env_prog_on(env.inside);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), -EBUSY);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_GENERIC, 1, &link), -EBUSY);
	assert_int_equal(env_prog_on(env.inside), id);
	assert_int_equal(bpf_xdp_detach((int)env.inside, 1u << 2, NULL), 0);
	pc_dp_close(dp);
}

static void attach_and_die(void)
{
	struct pc_dp *dp = env_open();
	struct pc_dp_link link;

	if (pc_dp_attach(dp, env.inside, PC_DP_NATIVE, UINT64_MAX, &link) ||
	    !env_prog_on(env.inside))
		_exit(1);
}

static void confirm_and_die(void)
{
	struct pc_dp *dp = env_open();

	env_attach(dp, env.inside, PC_DP_NATIVE);
}

/* The kernel frees a dead process's link a little after the process is gone. */
static bool wait_free(uint32_t ifindex)
{
	uint64_t end = pc_clock_monotonic() + ENV_WAIT_MS * PC_NS_PER_MS;

	while (pc_clock_monotonic() < end) {
		if (!env_prog_on(ifindex))
			return true;
		usleep(1000);
	}
	return false;
}

static void test_killed_on_trial(void **state)
{
	struct pc_dp *dp;

	env_in_killed_child(attach_and_die);
	assert_true(wait_free(env.inside));
	/* Its guard is still written down; the next daemon wipes it. */
	assert_int_equal(env_ctl().guard_ifindex, env.inside);
	dp = env_open();
	assert_int_equal(env_ctl().guard_ifindex, 0);
	assert_int_equal(pc_dp_links(dp, NULL, 0), 0);
	pc_dp_close(dp);
}

static void test_killed_after_confirm(void **state)
{
	struct pc_dp *dp;
	uint32_t id;

	env_in_killed_child(confirm_and_die);
	id = env_prog_on(env.inside);
	assert_int_not_equal(id, 0);
	dp = env_open();
	assert_int_equal(env_prog_on(env.inside), id);
	assert_int_equal(pc_dp_links(dp, NULL, 0), 1);
	pc_dp_close(dp);
}

static void check_guard(enum pc_dp_mode mode)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_link link;
	uint64_t deadline;
	struct pc_dp *dp;
	bool dropped;

	config.object = env.object;
	dp = env_open_with(&config);
	assert_true(env_passes());
	deadline = pc_clock_monotonic() + 1000 * PC_NS_PER_MS;
	assert_int_equal(pc_dp_attach(dp, env.inside, mode, deadline, &link), 0);
	dropped = !env_passes();
	if (pc_clock_monotonic() < deadline)
		assert_true(dropped);
	/* Nobody confirms: the program itself lets everything through again. */
	while (pc_clock_monotonic() < deadline + 20 * PC_NS_PER_MS)
		usleep(10000);
	assert_int_not_equal(env_prog_on(env.inside), 0);
	assert_true(env_passes());
	pc_dp_close(dp);
	assert_true(env_passes());
}

static void test_guard(void **state)
{
	check_guard(PC_DP_NATIVE);
	check_guard(PC_DP_GENERIC);
}

static void test_selftest(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp *dp = env_open();

	assert_int_equal(pc_dp_selftest(dp), 0);
	pc_dp_close(dp);
	pc_dp_teardown(ENV_BPFFS, false);
	config.object = env.object;
	dp = env_open_with(&config);
	assert_int_equal(pc_dp_selftest(dp), PC_ERR_REFUSED);
	pc_dp_close(dp);
}

static void test_interface_gone(void **state)
{
	struct pc_dp *dp = env_open();
	uint32_t before = env.inside;
	struct pc_dp_link link;

	env_attach(dp, env.inside, PC_DP_NATIVE);
	env_ip("link", "del", "pc-e-in");
	env_add_veth();
	assert_int_not_equal(env.inside, before);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, UINT64_MAX, &link), 0);
	assert_false(link.adopted);
	assert_int_equal(pc_dp_confirm(dp, env.inside), 0);
	assert_int_equal(pc_dp_links(dp, NULL, 0), 1);
	assert_false(env_link_pinned(before));

	/* The same while no daemon runs. */
	before = env.inside;
	pc_dp_close(dp);
	env_ip("link", "del", "pc-e-in");
	dp = env_open();
	assert_int_equal(pc_dp_links(dp, NULL, 0), 0);
	assert_false(env_link_pinned(before));
	pc_dp_close(dp);
}

static void test_teardown(void **state)
{
	struct pc_dp *dp = env_open();
	struct pc_dp_status status;
	uint64_t generation;
	struct pc_dp *after;

	env_attach(dp, env.inside, PC_DP_NATIVE);
	env_attach(dp, env.outside, PC_DP_GENERIC);
	pc_dp_get_status(dp, &status);
	generation = status.generation;

	/* With the daemon still holding the links: they are taken off all the same. */
	assert_int_equal(pc_dp_teardown(ENV_BPFFS, true), 2);
	assert_int_equal(env_prog_on(env.inside), 0);
	assert_int_equal(env_prog_on(env.outside), 0);
	assert_true(env_pinned(PC_MAP_COUNT));
	pc_dp_close(dp);

	after = env_open();
	pc_dp_get_status(after, &status);
	assert_true(status.adopted);
	assert_true(status.generation == generation);
	env_attach(after, env.inside, PC_DP_NATIVE);
	pc_dp_close(after);

	assert_int_equal(pc_dp_teardown(ENV_BPFFS, false), 1);
	assert_int_equal(env_prog_on(env.inside), 0);
	assert_int_equal(access(ENV_BPFFS, F_OK), -1);
	assert_int_equal(pc_dp_teardown(ENV_BPFFS, false), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, env_fresh, env_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_native),
		T(test_generic),
		T(test_detach_on_trial),
		T(test_refusals),
		T(test_busy),
		T(test_killed_on_trial),
		T(test_killed_after_confirm),
		T(test_guard),
		T(test_selftest),
		T(test_interface_gone),
		T(test_teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!env_enter())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
