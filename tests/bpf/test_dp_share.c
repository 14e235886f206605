/* SPDX-License-Identifier: MIT */
/* Behind libxdp's dispatcher, beside another program: join, trial, adoption, upgrade, removal. */
#include <xdp/libxdp.h>

#include "dp_env.h"

#define OTHER "build/bench/empty.bpf.o"

static char other_path[64]; /* holds under the new /mnt too */
static bool dispatches;	    /* the kernel can */

static struct pc_dp *open_share(enum pc_dp_share share, uint16_t relay_high)
{
	struct pc_dp_config config = env_config();

	config.share = share;
	config.relay_high = relay_high;
	return env_open_with(&config);
}

/* A program that passes everything, as somebody else would load it. */
static void add_other(enum xdp_attach_mode mode)
{
	struct xdp_program *p = xdp_program__open_file(other_path, "xdp", NULL);

	assert_int_equal(libxdp_get_error(p), 0);
	assert_int_equal(xdp_program__attach(p, (int)env.inside, mode, 0), 0);
	xdp_program__close(p);
}

/* Names of the programs behind the dispatcher, in the order they run; "-": none. */
static const char *behind(void)
{
	static char names[256];
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex((int)env.inside);
	struct xdp_program *p = NULL;

	snprintf(names, sizeof(names), "-");
	if (libxdp_get_error(mp))
		return names;
	while (!xdp_multiprog__is_legacy(mp) && (p = xdp_multiprog__next_prog(p, mp))) {
		size_t len = strcmp(names, "-") ? strlen(names) : 0;

		snprintf(names + len, sizeof(names) - len, "%s%s", len ? " " : "",
			 xdp_program__name(p));
	}
	xdp_multiprog__close(mp);
	return names;
}

static uint32_t own_id(void)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex((int)env.inside);
	struct xdp_program *p = NULL;
	uint32_t id = 0;

	assert_int_equal(libxdp_get_error(mp), 0);
	while (!id && (p = xdp_multiprog__next_prog(p, mp))) {
		if (!strcmp(xdp_program__name(p), PC_PROG_RELAY))
			id = xdp_program__id(p);
	}
	xdp_multiprog__close(mp);
	return id;
}

static struct pc_dp_link try_attach(struct pc_dp *dp, enum pc_dp_mode mode)
{
	struct pc_dp_link link;

	assert_int_equal(pc_dp_attach(dp, env.inside, mode, UINT64_MAX, &link), 0);
	return link;
}

static void attach_confirmed(struct pc_dp *dp)
{
	struct pc_dp_link link = try_attach(dp, PC_DP_NATIVE);

	assert_true(link.shared);
	assert_int_equal(pc_dp_confirm(dp, env.inside), 0);
}

/* What "always" gives, also where the kernel has no dispatchers. */
static void test_always(void **state)
{
	struct pc_dp *dp = open_share(PC_DP_SHARE_ALWAYS, 50999);
	struct pc_dp_link link = try_attach(dp, PC_DP_NATIVE), links[2];

	assert_int_equal(link.mode, PC_DP_NATIVE);
	assert_int_equal(pc_dp_confirm(dp, env.inside), 0);
	assert_int_not_equal(env_prog_on(env.inside), 0);
	assert_true(env_passes());
	dispatches = link.shared;
	assert_string_equal(behind(), dispatches ? PC_PROG_RELAY : "-");
	assert_int_equal(env_link_pinned(env.inside), !dispatches);
	assert_int_equal(pc_dp_links(dp, links, 2), 1);
	assert_int_equal(links[0].shared, dispatches);
	assert_int_equal(pc_dp_detach(dp, env.inside), 0);
	assert_int_equal(env_prog_on(env.inside), 0);
	assert_int_equal(pc_dp_detach(dp, env.inside), -ENOENT);
	pc_dp_close(dp);
}

static void test_beside_others(void **state)
{
	struct pc_dp *dp;

	dp = open_share(PC_DP_SHARE_ALWAYS, 50999);
	attach_confirmed(dp);
	add_other(XDP_MODE_NATIVE);
	assert_string_equal(behind(), "empty " PC_PROG_RELAY);
	assert_true(env_passes());
	assert_int_equal(pc_dp_detach(dp, env.inside), 0);
	assert_string_equal(behind(), "empty");
	pc_dp_close(dp);
}

static void test_join(void **state)
{
	struct pc_dp *dp;
	struct pc_dp_link link;

	add_other(XDP_MODE_SKB);
	dp = open_share(PC_DP_SHARE_AUTO, 50999);
	/* In their mode or not at all. */
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), -EOPNOTSUPP);
	link = try_attach(dp, PC_DP_GENERIC);
	assert_true(link.shared);
	assert_string_equal(behind(), "empty " PC_PROG_RELAY);
	assert_int_equal(env_ctl().guard_ifindex, env.inside);
	assert_int_equal(pc_dp_confirm(dp, env.inside), 0);
	assert_int_equal(env_ctl().guard_ifindex, 0);
	pc_dp_close(dp);
	assert_string_equal(behind(), "empty " PC_PROG_RELAY);
	assert_int_equal(pc_dp_teardown(ENV_BPFFS, false), 1);
	assert_string_equal(behind(), "empty");
}

static void test_off(void **state)
{
	struct pc_dp *dp;
	struct pc_dp_link link;

	add_other(XDP_MODE_NATIVE);
	dp = open_share(PC_DP_SHARE_OFF, 50999);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), -EBUSY);
	pc_dp_close(dp);
	assert_string_equal(behind(), "empty");
}

/* Attached by others, and not behind a dispatcher. */
static void test_plain_program(void **state)
{
	struct pc_dp *dp = open_share(PC_DP_SHARE_ALWAYS, 50999);
	uint32_t there;
	struct pc_dp_link link;

	env_ip("link", "set", "pc-e-in", "xdp", "obj", other_path, "sec", "xdp");
	there = env_prog_on(env.inside);
	assert_int_equal(pc_dp_attach(dp, env.inside, PC_DP_NATIVE, 1, &link), -EBUSY);
	assert_int_equal(env_prog_on(env.inside), there);
	assert_int_equal(env_ctl().guard_ifindex, 0);
	pc_dp_close(dp);
	env_ip("link", "set", "pc-e-in", "xdp", "off");
}

static void leave_trial(void)
{
	try_attach(open_share(PC_DP_SHARE_AUTO, 50999), PC_DP_NATIVE);
}

static void test_killed_on_trial(void **state)
{
	struct pc_dp *dp;

	add_other(XDP_MODE_NATIVE);
	env_in_killed_child(leave_trial);
	assert_string_equal(behind(), "empty " PC_PROG_RELAY);
	/* Its guard stands, so it passes everything once the deadline is over. */
	assert_int_equal(env_ctl().guard_ifindex, env.inside);
	dp = open_share(PC_DP_SHARE_AUTO, 50999);
	assert_string_equal(behind(), "empty");
	assert_int_equal(pc_dp_links(dp, NULL, 0), 0);
	attach_confirmed(dp);
	pc_dp_close(dp);
}

static void test_restart(void **state)
{
	struct pc_dp_link links[2];
	struct pc_dp *dp;
	uint32_t id;

	dp = open_share(PC_DP_SHARE_ALWAYS, 50999);
	attach_confirmed(dp);
	id = own_id();
	pc_dp_close(dp);
	dp = open_share(PC_DP_SHARE_ALWAYS, 50999);
	assert_int_equal(own_id(), id);
	assert_int_equal(pc_dp_links(dp, links, 2), 1);
	assert_true(links[0].shared && links[0].adopted);
	assert_int_equal(links[0].mode, PC_DP_NATIVE);
	assert_true(try_attach(dp, PC_DP_NATIVE).adopted);
	pc_dp_close(dp);
	/* Asked to be alone, it leaves the dispatcher. */
	dp = open_share(PC_DP_SHARE_OFF, 50999);
	assert_int_equal(pc_dp_links(dp, links, 2), 0);
	assert_false(try_attach(dp, PC_DP_NATIVE).shared);
	pc_dp_close(dp);
}

static void test_upgrade(void **state)
{
	struct pc_dp_link links[2];
	struct pc_dp *dp;
	uint32_t id, map;

	add_other(XDP_MODE_NATIVE);
	dp = open_share(PC_DP_SHARE_AUTO, 50999);
	attach_confirmed(dp);
	id = own_id();
	map = env_map_id(PC_MAP_CTL);
	pc_dp_close(dp);
	dp = open_share(PC_DP_SHARE_AUTO, 51999);
	assert_string_equal(behind(), "empty " PC_PROG_RELAY);
	assert_int_not_equal(own_id(), id);
	assert_int_equal(env_map_id(PC_MAP_CTL), map);
	assert_int_equal(pc_dp_links(dp, links, 2), 1);
	assert_true(links[0].shared && links[0].adopted);
	assert_true(env_passes());
	pc_dp_close(dp);
}

static void test_interface_gone(void **state)
{
	struct pc_dp *dp;

	dp = open_share(PC_DP_SHARE_ALWAYS, 50999);
	attach_confirmed(dp);
	pc_dp_close(dp);
	env_ip("link", "del", "pc-e-in");
	dp = open_share(PC_DP_SHARE_ALWAYS, 50999);
	assert_int_equal(pc_dp_links(dp, NULL, 0), 0);
	env_add_veth();
	attach_confirmed(dp);
	assert_int_equal(pc_dp_detach(dp, env.inside), 0);
	pc_dp_close(dp);
}

static int print_nothing(enum libxdp_print_level level, const char *fmt, va_list args)
{
	return 0;
}

int main(void)
{
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test_setup_teardown(test_always, env_fresh, env_clean),
		cmocka_unit_test_setup_teardown(test_plain_program, env_fresh, env_clean),
	};
	const struct CMUnitTest shared[] = {
		cmocka_unit_test_setup_teardown(test_beside_others, env_fresh, env_clean),
		cmocka_unit_test_setup_teardown(test_join, env_fresh, env_clean),
		cmocka_unit_test_setup_teardown(test_off, env_fresh, env_clean),
		cmocka_unit_test_setup_teardown(test_killed_on_trial, env_fresh, env_clean),
		cmocka_unit_test_setup_teardown(test_restart, env_fresh, env_clean),
		cmocka_unit_test_setup_teardown(test_upgrade, env_fresh, env_clean),
		cmocka_unit_test_setup_teardown(test_interface_gone, env_fresh, env_clean),
	};
	int failed, fd = open(OTHER, O_RDONLY); /* stays open, also for the children */

	if (fd < 0) {
		printf("1..1\nok 1 - dispatcher # SKIP " OTHER " is not built: make benches\n");
		return 0;
	}
	snprintf(other_path, sizeof(other_path), "/proc/self/fd/%d", fd);
	if (!env_enter())
		return 0;
	/* Pins of libxdp go with this world too. */
	setenv("LIBXDP_BPFFS", ENV_ROOT "/bpf", 1);
	libxdp_set_print(print_nothing);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(everywhere, NULL, NULL);
	if (dispatches)
		return failed + cmocka_run_group_tests(shared, NULL, NULL);
	printf("1..1\nok 1 - beside another program # SKIP this kernel has no dispatcher\n");
	return failed;
}
