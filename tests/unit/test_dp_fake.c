/* SPDX-License-Identifier: MIT */
/* The fake data plane keeps the real one's promises; and what both share: names and encoding. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "dp/dp_fake.h"

static const struct pc_dp_config config = {
	.bpffs = "/fake",
	.state_dir = "/fake",
	.max_sessions = 8,
	.max_tenants = 16,
	.kernel = true,
};

static struct pc_dp *open_dp(void)
{
	struct pc_dp *dp = NULL;

	assert_int_equal(pc_dp_open(&config, &dp), 0);
	return dp;
}

static int reset(void **state)
{
	pc_dp_fake_reset();
	return 0;
}

static struct pc_dp_flow make_flow(uint16_t port)
{
	return (struct pc_dp_flow){
		.slot = 3,
		.channel = 0x4123,
		.client = { .ip = pc_ip4(10, 0, 0, 1), .port = port },
		.server = { .ip = pc_ip4(192, 0, 2, 1), .port = 3478 },
		.relayed = { .ip = pc_ip4(192, 0, 2, 1), .port = 50000 },
		.peer = { .ip = pc_ip4(203, 0, 113, 9), .port = port },
		.expires_ns = 99,
		.nexthop_client = 1,
		.nexthop_peer = 2,
	};
}

static void test_names(void **state)
{
	enum pc_dp_mode mode;

	for (int i = PC_DP_AUTO; i <= PC_DP_OFF; i++) {
		assert_int_equal(pc_dp_mode_parse(pc_dp_mode_name(i), &mode), 0);
		assert_int_equal(mode, i);
	}
	assert_int_equal(pc_dp_mode_parse("Native", &mode), PC_ERR_UNKNOWN);
	assert_int_equal(pc_dp_mode_parse("", &mode), PC_ERR_UNKNOWN);
	assert_string_equal(pc_dp_mode_name(77), "?");
	for (int i = 0; i < PC_REASON_COUNT; i++) {
		const struct pc_reason_info *info = pc_dp_reason_info(i);

		assert_true(info->name[0] && info->text[0]);
		assert_true(!strcmp(info->kind, "forward") || !strcmp(info->kind, "pass") ||
			    !strcmp(info->kind, "drop"));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(info->name, pc_dp_reason_info(j)->name);
	}
	assert_string_equal(pc_dp_reason_info(PC_REASON_PASS_GUARD)->kind, "pass");
	assert_string_equal(pc_dp_reason_info(PC_REASON_COUNT)->name, "unknown");
}

/* Sum of the 16-bit words as they lie in memory. */
static uint32_t words(const void *data, size_t len, uint32_t sum)
{
	uint16_t word;

	for (size_t i = 0; i < len; i += 2) {
		memcpy(&word, (const uint8_t *)data + i, 2);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Old sum plus difference is the new sum (RFC 1624), counted the long way. */
static void test_differences(void **state)
{
	struct pc_dp_flow flow = make_flow(1000);
	struct pc_dp *dp = open_dp();
	const struct pc_flow *down;
	uint16_t old_ports[2] = { htons(1000), htons(50000) };
	uint32_t old_ip, new_ip, old_l4, new_l4;

	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	down = pc_dp_fake_find(&flow.peer, &flow.relayed, 0);
	assert_non_null(down);
	old_ip = words(flow.relayed.ip.b, 4, words(flow.peer.ip.b, 4, 0));
	new_ip = words(down->daddr, 4, words(down->saddr, 4, 0));
	assert_int_equal(words(&new_ip, 2, 0), words(&down->l3_diff, 2, old_ip));
	old_l4 = words(old_ports, 4, old_ip);
	new_l4 = words(&down->sport, 6, new_ip);
	assert_int_equal(new_l4, words(&down->l4_diff, 2, old_l4));
	pc_dp_close(dp);
}

static void test_flows(void **state)
{
	struct pc_dp_flow flow = make_flow(1000), second = make_flow(1001), third = make_flow(1002);
	struct pc_dp *dp = open_dp();
	const struct pc_flow *found;
	uint32_t used, size;

	pc_dp_fake_faults()->flow_room = 3;
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	found = pc_dp_fake_find(&flow.client, &flow.server, 0x4123);
	assert_non_null(found);
	assert_int_equal(found->flags, PC_FLOW_UP);
	assert_null(pc_dp_fake_find(&flow.client, &flow.server, 0x4124));
	assert_non_null(pc_dp_fake_find(&flow.peer, &flow.relayed, 0));
	/* Half a binding fits: nothing of it stays. */
	assert_int_equal(pc_dp_flow_set(dp, &second), PC_ERR_FULL);
	assert_int_equal(pc_dp_fake_flows(), 2);
	pc_dp_fake_faults()->flow_room = 4;
	assert_int_equal(pc_dp_flow_set(dp, &second), 0);
	assert_int_equal(pc_dp_flow_set(dp, &third), PC_ERR_FULL);
	assert_int_equal(pc_dp_flow_set(dp, &second), 0);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 4);
	assert_int_equal(size, 8); /* of both families */
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_int_equal(pc_dp_fake_flows(), 2);
	third.slot = 8;
	assert_int_equal(pc_dp_flow_set(dp, &third), PC_ERR_RANGE);
	third.client.ip.family = 6;
	assert_int_equal(pc_dp_flow_set(dp, &third), PC_ERR_RANGE);
	pc_dp_close(dp);
}

static void test_perms(void **state)
{
	struct pc_dp_perm perm = {
		.slot = 3,
		.client = { .ip = pc_ip4(10, 0, 0, 1), .port = 1000 },
		.server = { .ip = pc_ip4(192, 0, 2, 1), .port = 3478 },
		.relayed = { .ip = { .family = 6, .b = { 0x20, 1 } }, .port = 50000 },
		.peer = { .family = 6, .b = { 0x20, 2 } },
		.nexthop_client = 1,
		.nexthop_peer = 2,
	};
	struct pc_dp *dp = open_dp();
	uint32_t used, size;

	assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
	assert_int_equal(pc_dp_fake_find_perm(&perm, true)->flags, PC_FLOW_UP | PC_FLOW_OUT6);
	assert_int_equal(pc_dp_fake_find_perm(&perm, true)->nexthop, 2);
	assert_int_equal(pc_dp_fake_find_perm(&perm, false)->flags, 0);
	assert_int_equal(pc_dp_fake_find_perm(&perm, false)->nexthop, 1);
	pc_dp_fake_faults()->perm_room = 3;
	perm.peer.b[15]++;
	assert_int_equal(pc_dp_perm_set(dp, &perm), PC_ERR_FULL);
	assert_null(pc_dp_fake_find_perm(&perm, false));
	assert_int_equal(pc_dp_perm_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2);
	assert_int_equal(size, 6);
	perm.peer.b[15]--;
	assert_int_equal(pc_dp_perm_del(dp, &perm), 0);
	assert_int_equal(pc_dp_fake_perms(), 0);
	perm.peer.family = 4;
	assert_int_equal(pc_dp_perm_set(dp, &perm), PC_ERR_RANGE);

	assert_int_equal(pc_dp_port_set(dp, &perm.relayed, true), 0);
	assert_int_equal(pc_dp_port_set(dp, &perm.client, true), 0);
	assert_true(pc_dp_fake_port(&perm.relayed));
	assert_int_equal(pc_dp_port_set(dp, &perm.relayed, false), 0);
	assert_false(pc_dp_fake_port(&perm.relayed));
	assert_int_equal(pc_dp_fake_ports(), 1);
	pc_dp_close(dp);
}

static bool keep_none(void *arg, const struct pc_dp_entry *entry)
{
	return false;
}

static void test_restart(void **state)
{
	struct pc_dp_flow flow = make_flow(1000);
	struct pc_dp *dp = open_dp();
	struct pc_dp_status status;
	struct pc_dp_link link;
	struct pc_count count;

	pc_dp_get_status(dp, &status);
	assert_true(status.kernel && !status.adopted && status.user_counters_new);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	pc_dp_fake_count(3, true, 2, 100, 156);
	pc_dp_count_user(dp)[3].up.packets = 5;
	assert_int_equal(pc_dp_attach(dp, 4, PC_DP_NATIVE, 10, &link), 0);
	assert_int_equal(pc_dp_confirm(dp, 4), 0);
	assert_int_equal(pc_dp_attach(dp, 5, PC_DP_GENERIC, 10, &link), 0);
	assert_int_equal(pc_dp_fake_ctl()->guard_ifindex, 5);
	pc_dp_fake_kill(dp);

	dp = open_dp();
	pc_dp_get_status(dp, &status);
	assert_true(status.kernel && status.adopted && !status.user_counters_new);
	assert_int_equal(pc_dp_fake_ctl()->guard_ifindex, 0);
	assert_int_equal(pc_dp_links(dp, &link, 1), 1);
	assert_int_equal(link.ifindex, 4);
	assert_int_equal(pc_dp_count_kernel(dp, 3, 1, &count), 0);
	assert_int_equal(count.up.payload_bytes, 100);
	assert_int_equal(pc_dp_count_user(dp)[3].up.packets, 5);
	assert_int_equal(pc_dp_sweep(dp, keep_none, NULL), 2);
	pc_dp_close(dp);

	assert_int_equal(pc_dp_teardown("/fake", false), 1);
	dp = open_dp();
	pc_dp_get_status(dp, &status);
	assert_false(status.adopted);
	assert_int_equal(pc_dp_count_kernel(dp, 3, 1, &count), 0);
	assert_int_equal(count.up.payload_bytes, 0);
	pc_dp_close(dp);
}

static void test_failures(void **state)
{
	struct pc_dp_flow flow = make_flow(1);
	struct pc_dp_status status;
	struct pc_dp_link link;
	struct pc_dp *dp = NULL;

	pc_dp_fake_faults()->open = -ENOSPC;
	assert_int_equal(pc_dp_open(&config, &dp), -ENOSPC);
	pc_dp_fake_faults()->open = 0;
	pc_dp_fake_faults()->kernel = -EPERM;
	dp = open_dp();
	pc_dp_get_status(dp, &status);
	assert_false(status.kernel);
	assert_int_equal(status.kernel_error, -EPERM);
	assert_int_equal(pc_dp_flow_set(dp, &flow), PC_ERR_STATE);
	assert_int_equal(pc_dp_selftest(dp), PC_ERR_STATE);
	pc_dp_close(dp);
	pc_dp_fake_faults()->kernel = 0;
	pc_dp_fake_faults()->attach[PC_DP_NATIVE] = -EOPNOTSUPP;
	dp = open_dp();
	assert_int_equal(pc_dp_attach(dp, 4, PC_DP_NATIVE, 1, &link), -EOPNOTSUPP);
	assert_int_equal(pc_dp_attach(dp, 4, PC_DP_GENERIC, 1, &link), 0);
	assert_int_equal(pc_dp_detach(dp, 4), 0);
	assert_int_equal(pc_dp_detach(dp, 4), -ENOENT);
	pc_dp_close(dp);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, reset, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_names), T(test_differences), T(test_flows),
		T(test_perms), T(test_restart),	    T(test_failures),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
