/* SPDX-License-Identifier: MIT */
/*
 * What the kernel is told, on the fake data plane and next hops that are faked here: references
 * that balance, and ports the kernel knows only while it knows all their permissions.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sodium.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "daemon/turn_glue_int.h"
#include "dp/dp_fake.h"
#include "lib/rate.h"

#define HOPS 32

/* --- next hops --- */

static struct hop {
	struct pc_ip src, dst;
	int refs;
} hops[HOPS];
static struct pc_ip unreachable;

static struct hop *hop_find(const struct pc_ip *src, const struct pc_ip *dst)
{
	for (int i = 0; i < HOPS; i++) {
		if (hops[i].refs && pc_ip_equal(&hops[i].src, src) &&
		    pc_ip_equal(&hops[i].dst, dst))
			return &hops[i];
	}
	return NULL;
}

int pc_nexthops_get(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
		    uint32_t *ret_index)
{
	struct hop *hop = hop_find(src, dst);

	assert_int_equal(src->family, dst->family);
	if (pc_ip_equal(dst, &unreachable))
		return -ENETUNREACH;
	for (int i = 0; !hop && i < HOPS; i++) {
		if (!hops[i].refs)
			hop = &hops[i];
	}
	assert_non_null(hop);
	hop->src = *src;
	hop->dst = *dst;
	hop->refs++;
	*ret_index = (uint32_t)(hop - hops);
	return 0;
}

void pc_nexthops_put(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst)
{
	struct hop *hop = hop_find(src, dst);

	assert_non_null(hop);
	hop->refs--;
}

int pc_nexthops_find(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
		     uint32_t *ret_index)
{
	struct hop *hop = hop_find(src, dst);

	if (!hop)
		return PC_ERR_NOT_FOUND;
	if (pc_ip_equal(dst, &unreachable))
		return -ENETUNREACH;
	*ret_index = (uint32_t)(hop - hops);
	return 0;
}

static int hop_refs(void)
{
	int refs = 0;

	for (int i = 0; i < HOPS; i++)
		refs += hops[i].refs;
	return refs;
}

/* --- frame --- */

static struct pc_daemon d;
static struct pc_glue *g;

static int setup(void **state)
{
	const struct pc_dp_config config = {
		.bpffs = "/fake",
		.state_dir = "/fake",
		.max_sessions = 8,
		.max_tenants = 4,
		.kernel = true,
	};

	memset(hops, 0, sizeof(hops));
	memset(&unreachable, 0, sizeof(unreachable));
	memset(&d, 0, sizeof(d));
	pc_dp_fake_reset();
	if (sodium_init() < 0 || pc_dp_open(&config, &d.dp))
		return -1;
	d.nexthops = (struct pc_nexthops *)&hops; /* never looked into */
	return pc_glue_new(&d, &g);
}

static int teardown(void **state)
{
	pc_glue_free(g);
	pc_dp_close(d.dp);
	pc_dp_fake_reset();
	return 0;
}

static struct pc_ip ip_of(bool six, uint8_t last)
{
	struct pc_ip six_ip = { .family = 6, .b = { 0x20, 1, [15] = last } };

	return six ? six_ip : pc_ip4(203, 0, 113, last);
}

static struct pc_turn_flow make_flow(bool client6, bool peer6)
{
	return (struct pc_turn_flow){
		.slot = 3,
		.channel = 0x4001,
		.client = { .ip = ip_of(client6, 1), .port = 1000 },
		.server = { .ip = ip_of(client6, 2), .port = 3478 },
		.relayed = { .ip = ip_of(peer6, 2), .port = 50000 },
		.peer = { .ip = ip_of(peer6, 3), .port = 9 },
		.expires_ns = 1000,
	};
}

static struct pc_turn_perm make_perm(bool client6, bool peer6, uint8_t peer)
{
	struct pc_turn_flow flow = make_flow(client6, peer6);

	return (struct pc_turn_perm){
		.slot = 3,
		.client = flow.client,
		.server = flow.server,
		.relayed = flow.relayed,
		.peer = ip_of(peer6, peer),
		.expires_ns = 1000,
	};
}

static const struct pc_perm *in_kernel(const struct pc_turn_perm *p, bool up)
{
	struct pc_dp_perm perm = {
		.slot = p->slot,
		.client = p->client,
		.server = p->server,
		.relayed = p->relayed,
		.peer = p->peer,
	};

	return pc_dp_fake_find_perm(&perm, up);
}

/* --- tests --- */

static void test_families(void **state)
{
	for (int mix = 0; mix < 4; mix++) {
		struct pc_turn_flow flow = make_flow(mix & 1, mix & 2);
		struct pc_turn_perm perm = make_perm(mix & 1, mix & 2, 3);
		const struct pc_flow *down;
		const struct pc_perm *up;

		assert_int_equal(pc_glue_ops.flow_set(g, &flow), 0);
		assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
		assert_int_equal(hop_refs(), 4);
		down = pc_dp_fake_find(&flow.peer, &flow.relayed, 0);
		assert_non_null(down);
		assert_int_equal(down->nexthop, hop_find(&flow.server.ip, &flow.client.ip) - hops);
		up = in_kernel(&perm, true);
		assert_non_null(up);
		assert_int_equal(up->nexthop, hop_find(&perm.relayed.ip, &perm.peer) - hops);
		assert_int_equal(up->expires_ns, 1000);
		/* Again: written, but no further references. */
		perm.expires_ns = 2000;
		assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
		assert_int_equal(in_kernel(&perm, false)->expires_ns, 2000);
		assert_int_equal(hop_refs(), 4);
		assert_int_equal(pc_glue_flows(g), 1);
		assert_int_equal(pc_glue_perms(g), 1);
		pc_glue_ops.flow_del(g, &flow);
		pc_glue_ops.perm_del(g, &perm);
		pc_glue_ops.perm_del(g, &perm);
		assert_int_equal(hop_refs(), 0);
		assert_int_equal(pc_dp_fake_flows() + pc_dp_fake_perms(), 0);
		assert_int_equal(pc_glue_perms(g), 0);
	}
}

static void test_hairpin(void **state)
{
	struct pc_turn_perm perm = make_perm(false, false, 2);

	perm.hairpin = true;
	assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
	assert_int_equal(hop_refs(), 1);
	assert_true(in_kernel(&perm, true)->flags & PC_FLOW_HAIRPIN);
	pc_glue_ops.perm_del(g, &perm);
	assert_int_equal(hop_refs(), 0);
}

/* Without a way the kernel still knows it: such packets pass, and are no stranger's. */
static void test_no_way(void **state)
{
	struct pc_turn_perm near = make_perm(false, true, 3), far = make_perm(false, true, 4);
	struct pc_turn_flow flow = make_flow(false, true);

	pc_glue_port_opened(g, &near.relayed);
	unreachable = far.peer;
	assert_int_equal(pc_glue_ops.perm_set(g, &near), 0);
	assert_int_equal(pc_glue_ops.perm_set(g, &far), 0);
	assert_int_equal(in_kernel(&far, true)->nexthop, PC_MAX_NEXTHOPS);
	assert_int_equal(in_kernel(&far, false)->nexthop, in_kernel(&near, false)->nexthop);
	assert_int_equal(hop_refs(), 3);
	/* A way is found, and lost again. */
	memset(&unreachable, 0, sizeof(unreachable));
	assert_int_equal(pc_glue_ops.perm_set(g, &far), 0);
	assert_int_equal(in_kernel(&far, true)->nexthop,
			 hop_find(&far.relayed.ip, &far.peer) - hops);
	assert_int_equal(hop_refs(), 4);
	unreachable = far.peer;
	assert_int_equal(pc_glue_ops.perm_set(g, &far), 0);
	assert_int_equal(in_kernel(&far, true)->nexthop, PC_MAX_NEXTHOPS);
	assert_int_equal(hop_refs(), 4);
	assert_true(pc_dp_fake_port(&near.relayed));
	pc_glue_ops.perm_del(g, &far);
	pc_glue_ops.perm_del(g, &near);
	assert_int_equal(hop_refs(), 0);
	/* The client's side. */
	unreachable = flow.client.ip;
	assert_int_equal(pc_glue_ops.flow_set(g, &flow), 0);
	assert_int_equal(pc_dp_fake_find(&flow.peer, &flow.relayed, 0)->nexthop, PC_MAX_NEXTHOPS);
	assert_int_equal(hop_refs(), 1);
	pc_glue_ops.flow_del(g, &flow);
	assert_int_equal(hop_refs(), 0);
}

/* Between two clients behind NAT: known, never sent by the kernel. */
static void test_user_space(void **state)
{
	struct pc_turn_perm perm = make_perm(false, false, 3);

	perm.hairpin = perm.user_space = true;
	assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
	assert_int_equal(in_kernel(&perm, true)->nexthop, PC_MAX_NEXTHOPS);
	assert_int_equal(in_kernel(&perm, true)->flags, PC_FLOW_UP);
	assert_int_equal(in_kernel(&perm, false)->nexthop, PC_MAX_NEXTHOPS);
	assert_int_equal(in_kernel(&perm, false)->flags, 0);
	assert_int_equal(hop_refs(), 0);
	pc_glue_ops.perm_del(g, &perm);
	assert_int_equal(pc_dp_fake_perms(), 0);
}

/* What the kernel could not be told must get past it: then it may not judge the port. */
static void test_port_of_the_unknown(void **state)
{
	struct pc_turn_perm near = make_perm(false, true, 3), far = make_perm(false, true, 4);
	const struct pc_addr *port = &near.relayed;

	pc_glue_port_opened(g, port);
	assert_true(pc_dp_fake_port(port));
	assert_int_equal(pc_glue_ops.perm_set(g, &near), 0);
	assert_true(pc_dp_fake_port(port));
	pc_dp_fake_faults()->perm_set = -ENOMEM;
	assert_int_equal(pc_glue_ops.perm_set(g, &far), 0);
	assert_false(pc_dp_fake_port(port));
	assert_int_equal(pc_glue_perms(g), 1);
	assert_int_equal(pc_glue_ops.perm_set(g, &far), 0);
	assert_false(pc_dp_fake_port(port));
	assert_int_equal(hop_refs(), 2);
	pc_dp_fake_faults()->perm_set = 0;
	assert_int_equal(pc_glue_ops.perm_set(g, &far), 0);
	assert_non_null(in_kernel(&far, false));
	assert_true(pc_dp_fake_port(port));
	/* One that cannot be renewed is taken out. */
	pc_dp_fake_faults()->perm_set = -ENOMEM;
	assert_int_equal(pc_glue_ops.perm_set(g, &far), 0);
	assert_null(in_kernel(&far, false));
	assert_false(pc_dp_fake_port(port));
	pc_glue_ops.perm_del(g, &far);
	assert_true(pc_dp_fake_port(port));
	pc_glue_ops.perm_del(g, &near);
	pc_glue_port_closing(g, port);
	assert_int_equal(pc_dp_fake_ports(), 0);
	assert_int_equal(hop_refs(), 0);
}

static void test_full(void **state)
{
	struct pc_turn_perm first = make_perm(true, false, 3), second = make_perm(true, false, 4);
	const struct pc_addr *port = &first.relayed;
	struct pc_turn_flow flow = make_flow(false, false);

	pc_dp_fake_faults()->perm_room = 3;
	pc_dp_fake_faults()->flow_room = 1;
	pc_glue_port_opened(g, port);
	assert_int_equal(pc_glue_ops.perm_set(g, &first), 0);
	/* Refused: nothing of it stays, so the port is still judged. */
	assert_int_equal(pc_glue_ops.perm_set(g, &second), PC_ERR_FULL);
	assert_true(pc_dp_fake_port(port));
	assert_int_equal(hop_refs(), 2);
	assert_int_equal(pc_glue_ops.perm_set(g, &first), 0);
	pc_glue_ops.perm_del(g, &first);
	assert_int_equal(pc_glue_ops.perm_set(g, &second), 0);
	assert_int_equal(pc_glue_ops.flow_set(g, &flow), PC_ERR_FULL);
	assert_int_equal(hop_refs(), 2);
	assert_int_equal(pc_dp_fake_flows(), 0);
	pc_glue_ops.perm_del(g, &second);
	assert_int_equal(hop_refs(), 0);
}

static void test_limit(void **state)
{
	struct pc_turn_perm perm = make_perm(false, false, 3);
	struct pc_turn_flow flow = make_flow(false, false);

	pc_glue_limit_flows(g, 500);
	assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
	assert_int_equal(pc_glue_ops.flow_set(g, &flow), 0);
	assert_int_equal(in_kernel(&perm, true)->expires_ns, 500);
	assert_int_equal(pc_dp_fake_find(&flow.peer, &flow.relayed, 0)->expires_ns, 500);
}

/* What another daemon left goes, what was restored stays, in every map. */
static void test_sweep(void **state)
{
	for (int mix = 0; mix < 4; mix++) {
		struct pc_turn_perm perm = make_perm(mix & 1, mix & 2, 3);
		struct pc_turn_flow flow = make_flow(mix & 1, mix & 2);
		struct pc_dp_flow old_flow = {
			.slot = 4,
			.channel = 0x4002,
			.client = flow.client,
			.server = flow.server,
			.relayed = flow.relayed,
			.peer = { .ip = flow.peer.ip, .port = 10 },
		};
		struct pc_dp_perm old_perm = {
			.slot = 4,
			.client = perm.client,
			.server = perm.server,
			.relayed = perm.relayed,
			.peer = ip_of(mix & 2, 4),
		};
		struct pc_addr old_port = { .ip = perm.relayed.ip, .port = 50001 };

		/* Ours are there from before too; the peer of one moved in the meantime. */
		assert_int_equal(pc_dp_flow_set(d.dp, &old_flow), 0);
		assert_int_equal(pc_dp_perm_set(d.dp, &old_perm), 0);
		old_flow.slot = old_perm.slot = 3;
		old_flow.channel = 0x4001;
		old_flow.peer.port = 11;
		old_perm.peer = perm.peer;
		old_perm.client.port++;
		assert_int_equal(pc_dp_flow_set(d.dp, &old_flow), 0);
		assert_int_equal(pc_dp_perm_set(d.dp, &old_perm), 0);
		assert_int_equal(pc_dp_port_set(d.dp, &old_port, true), 0);
		pc_glue_port_opened(g, &perm.relayed);
		assert_int_equal(pc_glue_ops.flow_set(g, &flow), 0);
		assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
		/*
		 * Two of each foreign entry; of the moved ones those that were not overwritten: the
		 * way down of the channel, the way up of the permission.
		 */
		assert_int_equal(pc_glue_sweep(g), 2 + 2 + 1 + 1 + 1);
		assert_int_equal(pc_glue_sweep(g), 0);
		assert_int_equal(pc_dp_fake_flows(), 2);
		assert_int_equal(pc_dp_fake_perms(), 2);
		assert_true(pc_dp_fake_port(&perm.relayed));
		pc_glue_ops.flow_del(g, &flow);
		pc_glue_ops.perm_del(g, &perm);
		pc_glue_port_closing(g, &perm.relayed);
		assert_int_equal(hop_refs(), 0);
	}
}

/* Nobody follows routes: all is user space's, and the kernel drops nothing. */
static void test_no_nexthops(void **state)
{
	struct pc_turn_perm perm = make_perm(false, false, 3);
	struct pc_turn_flow flow = make_flow(false, false);

	d.nexthops = NULL;
	pc_glue_port_opened(g, &perm.relayed);
	assert_int_equal(pc_glue_ops.flow_set(g, &flow), 0);
	assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
	assert_int_equal(pc_dp_fake_ports() + pc_dp_fake_flows() + pc_dp_fake_perms(), 0);
	pc_glue_ops.perm_del(g, &perm);
	pc_glue_ops.flow_del(g, &flow);
	pc_glue_port_closing(g, &perm.relayed);
}

/* --- limits of tenants --- */

/* What the kernel forwards knows whose it is. */
static void test_tenant_in_kernel(void **state)
{
	struct pc_turn_flow flow = make_flow(false, false);
	struct pc_turn_perm perm = make_perm(false, false, 3);

	g->limits[flow.slot] = 2;
	assert_int_equal(pc_glue_ops.flow_set(g, &flow), 0);
	assert_int_equal(pc_glue_ops.perm_set(g, &perm), 0);
	assert_int_equal(pc_dp_fake_find(&flow.peer, &flow.relayed, 0)->tenant, 2);
	assert_int_equal(pc_dp_fake_find(&flow.client, &flow.server, flow.channel)->tenant, 2);
	assert_int_equal(in_kernel(&perm, true)->tenant, 2);
	assert_int_equal(in_kernel(&perm, false)->tenant, 2);
	pc_glue_ops.flow_del(g, &flow);
	pc_glue_ops.perm_del(g, &perm);
}

static bool admits(uint32_t slot, bool up, uint32_t bytes, uint8_t *tos)
{
	struct pc_dgram dgram = { .tos = *tos };
	bool yes = pc_glue_ops.admit(g, slot, up, &dgram, bytes - 28, bytes);

	*tos = dgram.tos;
	return yes;
}

/* One byte per second and a thousand at once, of which a new tenant has a tenth. */
static struct pc_rate slow_rate(void)
{
	return (struct pc_rate){
		.version = 1,
		.committed = pc_rate_word(8),
		.peak = pc_rate_word(8),
		.depth = (uint32_t)(1000 * PC_NS_PER_S >> PC_RATE_DEPTH_SHIFT),
		.peak_depth = (uint32_t)(1000 * PC_NS_PER_S >> PC_RATE_DEPTH_SHIFT),
	};
}

static void test_rate(void **state)
{
	const struct pc_dp_rates *rates = pc_dp_rates(d.dp);
	const struct pc_count *counts = pc_dp_count_user(d.dp);
	struct pc_rate rate = slow_rate();
	uint8_t tos = 0;

	g->limits[3] = g->limits[4] = 1;
	g->limits[5] = 2;
	pc_rate_store(&rates->rate[pc_rate_index(1, PC_RATE_UP)], &rate);
	assert_true(admits(3, true, 60, &tos));
	/* Two sessions of a tenant draw on one clock. */
	for (int i = 0; i < 5; i++)
		assert_false(admits(3 + i % 2, true, 60, &tos));
	assert_int_equal(counts[3].drops_rate, 3);
	assert_int_equal(counts[4].drops_rate, 2);
	/* The other direction, another tenant, a session without one, one of no slot. */
	for (int i = 0; i < 100; i++) {
		assert_true(admits(3, false, 1500, &tos));
		assert_true(admits(5, true, 1500, &tos));
		assert_true(admits(6, true, 1500, &tos));
		assert_true(admits(1000, true, 1500, &tos));
	}
	assert_int_equal(tos, 0);
	/* It ends: the slot is nobody's. */
	pc_glue_limits_clear(g, 3);
	assert_true(admits(3, true, 1500, &tos));
	assert_false(admits(4, true, 1500, &tos));
}

/* A session without credit, whoever it belongs to; and nothing of it is charged to its tenant. */
static void test_credit(void **state)
{
	const struct pc_dp_rates *rates = pc_dp_rates(d.dp);
	struct pc_count *counts = pc_dp_count_user(d.dp);
	uint64_t before = g->reasons[PC_REASON_DROP_CREDIT];
	struct pc_rate rate = slow_rate();
	uint8_t tos = 0;

	g->limits[3] = 1;
	rate.committed = pc_rate_word(1000000);
	pc_rate_store(&rates->rate[pc_rate_index(1, PC_RATE_UP)], &rate);
	rates->credit[3] = rates->credit[2] = (struct pc_credit){ .authorised = 100 };
	assert_true(admits(3, true, 128, &tos)); /* 100 bytes of payload */
	assert_false(admits(3, true, 29, &tos));
	assert_int_equal(rates->lease[pc_rate_index(1, PC_RATE_UP)].bytes, 128);
	assert_false(admits(2, true, 129, &tos));
	assert_true(admits(2, true, 128, &tos));
	assert_true(rates->credit[2].used == 100 && rates->credit[3].used == 100);
	assert_int_equal(counts[3].drops_credit, 1);
	assert_int_equal(counts[3].drops_rate, 0);
	assert_int_equal(g->reasons[PC_REASON_DROP_CREDIT], before + 2);
}

/* Near its limit, what can be marked is; the class of the plan leaves ECN alone. */
static void test_marks(void **state)
{
	const struct pc_dp_rates *rates = pc_dp_rates(d.dp);
	struct pc_rate rate = slow_rate();
	uint32_t i = pc_rate_index(1, PC_RATE_DOWN);
	uint8_t tos = 0x02;

	g->limits[3] = 1;
	rate.flags = PC_RATE_SET_DSCP;
	rate.dscp = 8;
	pc_rate_store(&rates->rate[i], &rate);
	/* Old enough to hear a signal, with room for 50 bytes more. */
	rates->clock[i].committed_ns = pc_clock_monotonic() + 950 * PC_NS_PER_S;
	assert_true(admits(3, false, 20, &tos));
	assert_int_equal(tos, 8 << 2 | 0x03);
	assert_int_equal(rates->lease[i].marks, 1);
	tos = 0xb8;
	assert_true(admits(3, false, 20, &tos));
	assert_int_equal(tos, 8 << 2);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_families),
		CASE(test_hairpin),
		CASE(test_no_way),
		CASE(test_user_space),
		CASE(test_port_of_the_unknown),
		CASE(test_full),
		CASE(test_limit),
		CASE(test_sweep),
		CASE(test_no_nexthops),
		CASE(test_tenant_in_kernel),
		CASE(test_rate),
		CASE(test_marks),
		CASE(test_credit),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
