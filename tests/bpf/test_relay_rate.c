/* SPDX-License-Identifier: MIT */
/*
 * Limits of tenants in the XDP relay: who is refused, marked and charged, to the byte. Rates are so
 * slow that the time a test takes is nothing beside a packet: one byte is a second.
 */
#include <sched.h>

#include "scene.h"

#define TENANT	     1
#define OTHER	     2
#define SECONDS	     (1000000000ull >> PC_RATE_DEPTH_SHIFT) /* in units of a depth */
#define PAYLOAD	     101
#define WIRE_UP	     (PAYLOAD + 28)
#define WIRE_DOWN    (PAYLOAD + 32)
#define RIG_TOS_ECT  0xb9
#define RIG_TOS_CE   0xbb
#define RIG_TOS_NONE 0xb8

static uint8_t data[SCENE_PAYLOAD_MAX];
static uint8_t wrapped[SCENE_PAYLOAD_MAX + 64];

/* One byte a second, so many bytes deep. */
static struct pc_rate slow(uint32_t depth)
{
	return (struct pc_rate){
		.tier = PC_RATE_CLASS_PAID,
		.committed = pc_rate_word(8),
		.depth = (uint32_t)(depth * SECONDS),
		.peak_depth = (uint32_t)(depth * SECONDS),
	};
}

static struct pc_rate fast(void)
{
	return (struct pc_rate){
		.committed = pc_rate_word(8000000000),
		.depth = UINT32_MAX,
		.lease = pc_rate_lease_charge(8000000000),
	};
}

/* Flows and permissions of a session get a tenant. */
static void give(struct rig *rig, uint32_t slot, uint32_t tenant)
{
	unsigned int n_flows = rig->n_flows, n_perms = rig->n_perms;

	rig->n_flows = rig->n_perms = 0;
	for (unsigned int i = 0; i < n_flows; i++) {
		struct rig_flow flow = rig->flows[i];

		if (flow.value.slot == slot)
			flow.value.tenant = tenant;
		rig_add_flow(rig, &flow);
	}
	for (unsigned int i = 0; i < n_perms; i++) {
		struct rig_perm perm = rig->perms[i];

		if (perm.value.slot == slot)
			perm.value.tenant = tenant;
		rig_add_perm(rig, &perm);
	}
}

static void set_scene(struct rig *rig, bool six)
{
	struct scene_flow up = scene_up(), down = scene_down();

	scene_set(rig);
	frame_fill(data, sizeof(data), 7);
	if (six) {
		up.from = scene_six(up.from);
		up.to = scene_six(up.to);
		up.new_from = scene_six(up.new_from);
		up.new_to = scene_six(up.new_to);
		down.from = scene_six(down.from);
		down.to = scene_six(down.to);
		down.new_from = scene_six(down.new_from);
		down.new_to = scene_six(down.new_to);
		rig_set_nexthop6(rig, SCENE_NH_CLIENT, RIG_LO, RIG_MTU, 0, true);
		rig_set_nexthop6(rig, SCENE_NH_PEER, RIG_LO, RIG_MTU, 0, true);
		scene_add(rig, &up);
		scene_add(rig, &down);
	}
	give(rig, SCENE_SLOT, TENANT);
	give(rig, SCENE_SLOT_OTHER, OTHER);
}

struct shot {
	bool down, six, hairpin;
	uint8_t tos;
	uint8_t tos_out; /* of what is sent */
	unsigned int vlans;
	int verdict;
};

static void build_in(const struct shot *shot, struct frame_spec *in)
{
	*in = scene_spec(scene_family(shot->down ? scene_peer : scene_client, shot->six),
			 scene_family(shot->down ? scene_relayed : scene_server, shot->six), data,
			 PAYLOAD);
	in->tos = shot->tos;
	in->vlans = shot->vlans;
	if (shot->down)
		return;
	in->payload = wrapped;
	in->len = frame_channel_data(wrapped, shot->hairpin ? SCENE_HAIRPIN : SCENE_CHANNEL, data,
				     PAYLOAD, 0, 0);
}

/* Fires once; what is sent is compared to the byte, what is dropped was not touched. */
static void fire(struct rig *rig, const struct shot *shot)
{
	struct frame_spec in, out;
	struct frame frame, got;

	build_in(shot, &in);
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), shot->verdict);
	if (shot->verdict != XDP_TX)
		return;
	if (shot->hairpin || shot->down) {
		uint16_t channel = shot->hairpin ? SCENE_OTHER_CHANNEL : SCENE_CHANNEL;
		size_t len = frame_channel_data(wrapped, channel, data, PAYLOAD, 0, 0);

		out = scene_sent(&in, shot->hairpin ? SCENE_NH_OTHER : SCENE_NH_CLIENT,
				 scene_family(scene_server, shot->six),
				 scene_family(shot->hairpin ? scene_other : scene_client,
					      shot->six),
				 wrapped, len);
	} else {
		out = scene_sent(&in, SCENE_NH_PEER, scene_family(scene_relayed, shot->six),
				 scene_family(scene_peer, shot->six), data, PAYLOAD);
	}
	out.tos = shot->tos_out;
	scene_expect_frame(&got, &out);
}

static struct shot shot_up(int verdict)
{
	return (struct shot){ .tos = RIG_TOS_ECT, .tos_out = RIG_TOS_ECT, .verdict = verdict };
}

static struct shot shot_down(int verdict)
{
	struct shot shot = shot_up(verdict);

	shot.down = true;
	return shot;
}

static struct shot shot_hairpin(int verdict)
{
	struct shot shot = shot_up(verdict);

	shot.hairpin = true;
	return shot;
}

static void expect_lease(struct rig *rig, uint32_t tenant, uint32_t direction, uint64_t bytes,
			 uint32_t drops)
{
	struct pc_rate_lease lease = rig_lease(rig, tenant, direction);

	assert_int_equal(lease.bytes, bytes);
	assert_int_equal(lease.drops_rate, drops);
}

/* Three fit, whatever way they take; each direction has its own. */
static void over_rate(struct rig *rig, bool six, unsigned int vlans)
{
	uint32_t wire_up = WIRE_UP + (six ? 20 : 0), wire_down = WIRE_DOWN + (six ? 20 : 0);
	struct pc_rate up_rate = slow(4 * wire_up - 20), down_rate = slow(2 * wire_down - 20);
	struct shot up = shot_up(XDP_TX), down = shot_down(XDP_TX);
	struct pc_count count;

	up.six = down.six = six;
	up.vlans = down.vlans = vlans;
	set_scene(rig, six);
	rig_set_rate(rig, TENANT, PC_RATE_UP, &up_rate, 0);
	rig_set_rate(rig, TENANT, PC_RATE_DOWN, &down_rate, 0);
	for (int i = 0; i < 3; i++)
		fire(rig, &up);
	up.verdict = XDP_DROP;
	fire(rig, &up);
	fire(rig, &down);
	down.verdict = XDP_DROP;
	fire(rig, &down);
	count = rig_count(rig, SCENE_SLOT);
	assert_int_equal(count.up.packets, 3);
	assert_int_equal(count.up.wire_bytes, 3 * wire_up);
	assert_int_equal(count.down.packets, 1);
	assert_int_equal(count.down.payload_bytes, PAYLOAD);
	assert_int_equal(count.drops_rate, 2);
	assert_int_equal(count.drops_credit, 0);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_RATE), 2);
	assert_int_equal(rig_reason(rig, PC_REASON_TX), 4);
	expect_lease(rig, TENANT, PC_RATE_UP, 3 * wire_up, 1);
	expect_lease(rig, TENANT, PC_RATE_DOWN, wire_down, 1);
	expect_lease(rig, OTHER, PC_RATE_UP, 0, 0);
}

static void test_over_rate(void **state)
{
	over_rate(*state, false, 0);
}

static void test_over_rate6(void **state)
{
	over_rate(*state, true, 0);
}

static void test_over_rate_tagged(void **state)
{
	over_rate(*state, false, 1);
}

/* Nobody's packets are not limited, whatever the entries of tenant 0 say. */
static void test_nobody(void **state)
{
	struct pc_rate rate = slow(1);
	struct shot up = shot_up(XDP_TX);

	set_scene(*state, false);
	rig_set_rate(*state, 0, PC_RATE_UP, &rate, UINT64_MAX / 2);
	give(*state, SCENE_SLOT, 0);
	for (int i = 0; i < 3; i++)
		fire(*state, &up);
	expect_lease(*state, 0, PC_RATE_UP, 0, 0);
}

static void test_beyond_the_table(void **state)
{
	struct shot up = shot_up(XDP_DROP), down = shot_down(XDP_DROP);

	set_scene(*state, false);
	give(*state, SCENE_SLOT, RIG_TENANTS);
	fire(*state, &up);
	fire(*state, &down);
	rig_expect_reasons(*state, PC_REASON_DROP_RATE, 2);
}

/* Near the limit: marked, if it can be, else dropped. */
static void signal_early(struct rig *rig, bool six, unsigned int vlans)
{
	struct pc_rate rate = slow(4000);
	struct shot up = shot_up(XDP_TX), down = shot_down(XDP_DROP);

	set_scene(rig, six);
	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 3800 * NSEC);
	rig_set_rate(rig, TENANT, PC_RATE_DOWN, &rate, 3800 * NSEC);
	up.six = down.six = six;
	up.vlans = down.vlans = vlans;
	up.tos_out = RIG_TOS_CE;
	fire(rig, &up);
	assert_int_equal(rig_lease(rig, TENANT, PC_RATE_UP).marks, 1);
	/* CE is never lost, and nobody is told twice. */
	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 0);
	up.tos = RIG_TOS_CE;
	fire(rig, &up);
	down.tos = RIG_TOS_NONE;
	fire(rig, &down);
	assert_int_equal(rig_lease(rig, TENANT, PC_RATE_DOWN).marks, 0);
	expect_lease(rig, TENANT, PC_RATE_DOWN, 0, 1);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_RATE), 1);
}

static void test_signal(void **state)
{
	signal_early(*state, false, 0);
}

static void test_signal6(void **state)
{
	signal_early(*state, true, 0);
}

static void test_signal_tagged(void **state)
{
	signal_early(*state, false, 2);
}

static void mark_class(struct rig *rig, bool six)
{
	struct pc_rate rate = fast();
	struct shot shots[] = { shot_up(XDP_TX), shot_down(XDP_TX) };

	set_scene(rig, six);
	rate.flags = PC_RATE_SET_DSCP | PC_RATE_UNLIMITED;
	rate.dscp = 1;
	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 0);
	rate.dscp = 42;
	rig_set_rate(rig, TENANT, PC_RATE_DOWN, &rate, 0);
	for (int i = 0; i < 2; i++) {
		struct shot shot = shots[i];

		shot.six = six;
		shot.tos_out = (uint8_t)((i ? 42 : 1) << 2 | (RIG_TOS_ECT & 3));
		fire(rig, &shot);
		shot.vlans = 1;
		fire(rig, &shot);
	}
}

static void test_dscp(void **state)
{
	mark_class(*state, false);
}

static void test_dscp6(void **state)
{
	mark_class(*state, true);
}

static void test_uplink(void **state)
{
	struct pc_rate rate = fast();
	struct pc_rate_root root = { .rate = pc_rate_word(8), .limit_ns = { 1, 1, 1, 1 } };
	struct shot up = shot_up(XDP_DROP);
	uint32_t zero = 0;

	set_scene(*state, false);
	root.clock_ns = rig_now() + 100 * NSEC;
	rig_set_rate(*state, TENANT, PC_RATE_UP, &rate, 0);
	assert_int_equal(bpf_map_update_elem(((struct rig *)*state)->root_fd, &zero, &root, 0), 0);
	fire(*state, &up);
	rig_expect_reasons(*state, PC_REASON_DROP_UPLINK, 1);
	assert_int_equal(rig_lease(*state, TENANT, PC_RATE_UP).drops_root, 1);
	assert_int_equal(rig_count(*state, SCENE_SLOT).drops_rate, 1);
}

static void test_quota(void **state)
{
	struct pc_rate rate = fast();
	struct pc_credit quota = { .authorised = 2 * WIRE_UP };
	struct shot up = shot_up(XDP_TX);
	uint32_t tenant = TENANT;

	set_scene(*state, false);
	rate.flags = PC_RATE_QUOTA | PC_RATE_UNLIMITED;
	rig_set_rate(*state, TENANT, PC_RATE_UP, &rate, 0);
	assert_int_equal(bpf_map_update_elem(((struct rig *)*state)->quota_fd, &tenant, &quota, 0),
			 0);
	fire(*state, &up);
	fire(*state, &up);
	up.verdict = XDP_DROP;
	fire(*state, &up);
	assert_int_equal(rig_reason(*state, PC_REASON_DROP_QUOTA), 1);
	assert_int_equal(rig_lease(*state, TENANT, PC_RATE_UP).drops_quota, 1);
	assert_int_equal(rig_count(*state, SCENE_SLOT).drops_credit, 1);
}

/* Never more than authorised, in both directions together; the tenant's rate has it back. */
static void credit(struct rig *rig, unsigned int vlans)
{
	struct pc_rate rate = fast();
	struct shot up = shot_up(XDP_TX), down = shot_down(XDP_TX);

	up.vlans = down.vlans = vlans;
	set_scene(rig, false);
	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 0);
	rig_set_rate(rig, TENANT, PC_RATE_DOWN, &rate, 0);
	rig_set_credit(rig, SCENE_SLOT, 3 * PAYLOAD - 1);
	fire(rig, &up);
	fire(rig, &down);
	up.verdict = down.verdict = XDP_DROP;
	fire(rig, &up);
	fire(rig, &down);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_CREDIT), 2);
	assert_int_equal(rig_count(rig, SCENE_SLOT).drops_credit, 2);
	assert_int_equal(rig_count(rig, SCENE_SLOT).drops_rate, 0);
	expect_lease(rig, TENANT, PC_RATE_UP, WIRE_UP, 0);
	expect_lease(rig, TENANT, PC_RATE_DOWN, WIRE_DOWN, 0);
	assert_true(rig_credit(rig, SCENE_SLOT).used <= 3 * PAYLOAD - 1);
	/* It is not the tenant's, but the session's. */
	rig_set_credit(rig, SCENE_SLOT, PC_CREDIT_UNLIMITED);
	rig_set_credit(rig, SCENE_SLOT_OTHER, 0);
	up.verdict = XDP_TX;
	fire(rig, &up);
}

static void test_credit(void **state)
{
	credit(*state, 0);
}

static void test_credit_tagged(void **state)
{
	credit(*state, 1);
}

/* Either side may refuse; then neither is charged, and nothing is metered. */
static void test_hairpin(void **state)
{
	struct pc_rate rate = fast(), none = slow(1);
	struct shot shot = shot_hairpin(XDP_DROP);
	struct rig *rig = *state;
	struct pc_count count;

	set_scene(rig, false);
	rig_set_rate(rig, TENANT, PC_RATE_UP, &none, UINT64_MAX / 2);
	rig_set_rate(rig, OTHER, PC_RATE_DOWN, &rate, 0);
	fire(rig, &shot);
	expect_lease(rig, OTHER, PC_RATE_DOWN, 0, 0);
	assert_int_equal(rig_count(rig, SCENE_SLOT).drops_rate, 1);

	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 0);
	rig_set_rate(rig, OTHER, PC_RATE_DOWN, &none, UINT64_MAX / 2);
	rig_set_credit(rig, SCENE_SLOT, 2 * PAYLOAD);
	fire(rig, &shot);
	expect_lease(rig, TENANT, PC_RATE_UP, 0, 1);
	expect_lease(rig, OTHER, PC_RATE_DOWN, 0, 1);
	assert_int_equal(rig_count(rig, SCENE_SLOT_OTHER).drops_rate, 1);

	/* The other tenant's session without credit. */
	rig_set_rate(rig, OTHER, PC_RATE_DOWN, &rate, 0);
	give(rig, SCENE_SLOT_OTHER, 3);
	rig_set_rate(rig, 3, PC_RATE_DOWN, &rate, 0);
	rig_set_credit(rig, SCENE_SLOT_OTHER, 0);
	fire(rig, &shot);
	expect_lease(rig, TENANT, PC_RATE_UP, 0, 1);
	expect_lease(rig, 3, PC_RATE_DOWN, 0, 0);
	assert_int_equal(rig_count(rig, SCENE_SLOT_OTHER).drops_credit, 1);
	count = rig_count(rig, SCENE_SLOT);
	assert_int_equal(count.up.packets, 0);

	/* What was given back is there: both packets of the credit. */
	rig_set_credit(rig, SCENE_SLOT_OTHER, PC_CREDIT_UNLIMITED);
	shot.verdict = XDP_TX;
	fire(rig, &shot);
	fire(rig, &shot);
	expect_lease(rig, TENANT, PC_RATE_UP, 2 * WIRE_UP, 1);
	expect_lease(rig, 3, PC_RATE_DOWN, 2 * WIRE_DOWN, 0);
	shot.verdict = XDP_DROP;
	fire(rig, &shot);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_RATE), 2);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_CREDIT), 2);
}

/* What is left to user space is charged there. */
static void test_pass(void **state)
{
	struct pc_rate rate = fast();
	struct shot up = shot_up(XDP_PASS), down = shot_down(XDP_PASS);
	struct rig *rig = *state;

	set_scene(rig, false);
	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 0);
	rig_set_rate(rig, TENANT, PC_RATE_DOWN, &rate, 0);
	rig_set_credit(rig, SCENE_SLOT, PAYLOAD);
	rig_set_nexthop(rig, SCENE_NH_PEER, 0, RIG_MTU, 0);
	rig_set_nexthop(rig, SCENE_NH_CLIENT, RIG_LO, 100, 0);
	for (int i = 0; i < 3; i++) {
		fire(rig, &up);
		fire(rig, &down);
	}
	expect_lease(rig, TENANT, PC_RATE_UP, 0, 0);
	expect_lease(rig, TENANT, PC_RATE_DOWN, 0, 0);
	assert_int_equal(rig_reason(rig, PC_REASON_PASS_NEXTHOP), 3);
	assert_int_equal(rig_reason(rig, PC_REASON_PASS_MTU), 3);
	rig_set_nexthop(rig, SCENE_NH_PEER, RIG_LO, RIG_MTU, 0);
	up.verdict = XDP_TX;
	fire(rig, &up);
	up.verdict = XDP_DROP;
	fire(rig, &up);
}

/* Send and Data indications. */
static void test_indications(void **state)
{
	struct scene_perm perm = {
		.client = scene_client,
		.server = scene_server,
		.relayed = scene_relayed,
		.peer = { 0xcb007106, 7002, false },
		.slot = SCENE_SLOT,
		.to_client = SCENE_NH_CLIENT,
		.to_peer = SCENE_NH_PEER,
	};
	struct frame_indication ind = {
		.type = 0x0016, .peer = perm.peer, .data = data, .len = PAYLOAD
	};
	struct pc_rate rate = slow(WIRE_UP + 50);
	struct frame_spec in = scene_spec(scene_client, scene_server, wrapped, 0);
	struct frame frame, got;
	struct rig *rig = *state;

	scene_add_perm(rig, &perm);
	set_scene(rig, false);
	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 0);
	rig_set_rate(rig, TENANT, PC_RATE_DOWN, &rate, 0);
	in.len = frame_indication(wrapped, &ind);
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_TX);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_DROP);
	expect_lease(rig, TENANT, PC_RATE_UP, WIRE_UP, 1);
	in = scene_spec(perm.peer, scene_relayed, data, PAYLOAD);
	frame_build(&frame, &in);
	/* More than the depth: the first packet of an idle clock may always go. */
	assert_int_equal(rig_run(rig, &frame, &got), XDP_TX);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_DROP);
	assert_int_equal(rig_lease(rig, TENANT, PC_RATE_DOWN).bytes,
			 rig_count(rig, SCENE_SLOT).down.wire_bytes);
	assert_int_equal(rig_count(rig, SCENE_SLOT).drops_rate, 2);
}

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

/*
 * Leases of several CPUs: together they pass what one alone would, but for what is left in a lease,
 * and the clock knows it all.
 */
static void test_cpus(void **state)
{
	enum { PACKETS = 100 };
	struct pc_rate rate = slow(PACKETS * WIRE_UP / 10);
	struct rig *rig = *state;
	struct shot up = shot_up(XDP_TX);
	struct frame_spec in;
	struct frame frame, got;
	struct pc_rate_lease lease;
	unsigned int sent = 0, refused = 0;
	cpu_set_t before;
	uint64_t start, took;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	/* Ten bytes a second: a depth is at most 4398 s. */
	rate.committed = pc_rate_word(80);
	rate.lease = 1000 << PC_RATE_CHARGE_SHIFT;
	set_scene(rig, false);
	rig_set_rate(rig, TENANT, PC_RATE_UP, &rate, 0);
	start = rig_clock(rig, TENANT, PC_RATE_UP).committed_ns;
	build_in(&up, &in);
	frame_build(&frame, &in);
	for (int i = 0; i < 2 * PACKETS; i++) {
		int cpu = i % (int)sysconf(_SC_NPROCESSORS_ONLN);

		if (!CPU_ISSET(cpu, &before))
			continue;
		on_cpu(cpu);
		if (rig_run(rig, &frame, &got) == XDP_TX)
			sent++;
		else
			refused++;
	}
	sched_setaffinity(0, sizeof(before), &before);
	lease = rig_lease(rig, TENANT, PC_RATE_UP);
	assert_int_equal(lease.bytes, sent * WIRE_UP);
	assert_int_equal(lease.drops_rate, refused);
	assert_true(sent <= PACKETS);
	/* Nothing is lost to leases: what is left of them is less than a packet for each CPU. */
	assert_true(lease.left < (uint32_t)rig->cpus * (WIRE_UP << PC_RATE_CHARGE_SHIFT));
	assert_true(sent + (unsigned int)rig->cpus >= PACKETS - 1);
	/* To a millionth: the rate is rounded. */
	took = lease.bytes * NSEC / 10 +
	       ((uint64_t)lease.left * (NSEC / 10) >> PC_RATE_CHARGE_SHIFT);
	assert_in_range(rig_clock(rig, TENANT, PC_RATE_UP).committed_ns - start,
			took - took / 1000000, took + took / 1000000 + NSEC);
}

/* However many CPUs take from it, a credit is spent to its end and not beyond. */
static void test_credit_cpus(void **state)
{
	enum { PACKETS = 1000 };
	const uint64_t authorised = PACKETS * PAYLOAD + 7;
	struct shot up = shot_up(XDP_TX);
	struct frame_spec in;
	struct frame frame, got;
	struct rig *rig = *state;
	struct pc_count count;
	cpu_set_t before;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	set_scene(rig, false);
	give(rig, SCENE_SLOT, 0);
	rig_set_credit(rig, SCENE_SLOT, authorised);
	build_in(&up, &in);
	frame_build(&frame, &in);
	for (int i = 0; i < PACKETS + 200; i++) {
		int cpu = i % (int)sysconf(_SC_NPROCESSORS_ONLN);

		if (!CPU_ISSET(cpu, &before))
			continue;
		on_cpu(cpu);
		rig_run(rig, &frame, &got);
	}
	sched_setaffinity(0, sizeof(before), &before);
	count = rig_count(rig, SCENE_SLOT);
	assert_true(count.up.payload_bytes <= authorised);
	assert_true(rig_credit(rig, SCENE_SLOT).used <= authorised);
	/* Less than a packet is left with each CPU, and in the credit. */
	assert_true(count.up.payload_bytes + (uint64_t)(rig->cpus + 1) * PAYLOAD > authorised);
	assert_int_equal(count.up.packets + count.drops_credit, PACKETS + 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_over_rate),
		rig_test(test_over_rate6),
		rig_test(test_over_rate_tagged),
		rig_test(test_nobody),
		rig_test(test_beyond_the_table),
		rig_test(test_signal),
		rig_test(test_signal6),
		rig_test(test_signal_tagged),
		rig_test(test_dscp),
		rig_test(test_dscp6),
		rig_test(test_uplink),
		rig_test(test_quota),
		rig_test(test_credit),
		rig_test(test_credit_tagged),
		rig_test(test_hairpin),
		rig_test(test_pass),
		rig_test(test_indications),
		rig_test(test_cpus),
		rig_test(test_credit_cpus),
	};

	rig_main(tests);
}
