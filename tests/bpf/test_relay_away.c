/* SPDX-License-Identifier: MIT */
/*
 * The XDP relay without its daemon: heartbeat, guard of an attach on trial, and the variant that
 * drops everything.
 */
#include "scene.h"

static uint8_t data[64];
static uint8_t wrapped[72];

static struct frame_spec spec_up(uint16_t channel)
{
	return scene_spec(scene_client, scene_server, wrapped,
			  frame_channel_data(wrapped, channel, data, sizeof(data), 0, 0));
}

static struct frame_spec spec_control(void)
{
	memset(wrapped, 0, 20);
	wrapped[1] = 1;
	return scene_spec(scene_client, scene_server, wrapped, 20);
}

static struct frame_spec spec_down(void)
{
	return scene_spec(scene_peer, scene_relayed, data, sizeof(data));
}

static int run(struct rig *rig, const struct frame_spec *spec)
{
	struct frame frame, got;
	int verdict;

	frame_build(&frame, spec);
	verdict = rig_run(rig, &frame, &got);
	if (verdict == XDP_PASS)
		scene_expect_same(&got, &frame);
	return verdict;
}

static uint64_t away_since(void)
{
	return rig_now() - PC_HEARTBEAT_STALE_NS - NSEC;
}

/* What would wait for the daemon is dropped; what the program forwards itself goes on. */
static void test_away(void **state)
{
	struct frame_spec control = spec_control(), down = spec_down(), up;
	struct rig *rig = *state;

	scene_set(rig);
	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = away_since() });
	assert_int_equal(run(rig, &control), XDP_DROP);
	control.option_words = 1;
	assert_int_equal(run(rig, &control), XDP_DROP);
	up = spec_up(SCENE_CHANNEL + 1);
	assert_int_equal(run(rig, &up), XDP_DROP);
	rig_expect_reasons(rig, PC_REASON_DROP_AWAY, 3);
	rig_expect_nothing_metered(rig);
	up = spec_up(SCENE_CHANNEL);
	assert_int_equal(run(rig, &up), XDP_TX);
	assert_int_equal(run(rig, &down), XDP_TX);
	assert_int_equal(rig_reason(rig, PC_REASON_TX), 2);
	/* A port of the range that nobody relays belongs to the host. */
	down.to.port++;
	assert_int_equal(run(rig, &down), XDP_PASS);
	assert_int_equal(rig_reason(rig, PC_REASON_PASS_NO_FLOW), 1);
}

/* Nobody holds the port of an allocation any more: the host may have given it to somebody else. */
static void test_away_port(void **state)
{
	struct frame_spec down = spec_down();
	struct rig *rig = *state;

	scene_set(rig);
	scene_add_port(rig, scene_relayed);
	down.from.ip++;
	assert_int_equal(run(rig, &down), XDP_DROP);
	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = away_since() });
	assert_int_equal(run(rig, &down), XDP_PASS);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_NO_PERMISSION), 1);
	assert_int_equal(rig_reason(rig, PC_REASON_PASS_NO_FLOW), 1);
	down.from.ip--;
	assert_int_equal(run(rig, &down), XDP_TX);
}

/* Alive, a little late, or never started: control passes. */
static void test_not_away(void **state)
{
	uint64_t beats[] = { 0, rig_now(), rig_now() + NSEC,
			     rig_now() - PC_HEARTBEAT_STALE_NS / 2 };
	struct frame_spec control = spec_control();

	for (size_t i = 0; i < RIG_COUNT(beats); i++) {
		rig_set_ctl(*state, (struct pc_ctl){ .heartbeat_ns = beats[i] });
		assert_int_equal(run(*state, &control), XDP_PASS);
	}
	rig_expect_reasons(*state, PC_REASON_PASS_CONTROL, RIG_COUNT(beats));
}

/* Past the deadline everything passes, even what a flow matches, and while the daemon is away. */
static void test_guard(void **state)
{
	struct frame_spec control = spec_control(), down = spec_down(), up;
	struct rig *rig = *state;

	scene_set(rig);
	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = away_since(),
					  .guard_ifindex = RIG_LO,
					  .guard_deadline_ns = rig_now() - NSEC });
	assert_int_equal(run(rig, &control), XDP_PASS);
	assert_int_equal(run(rig, &down), XDP_PASS);
	up = spec_up(SCENE_CHANNEL);
	assert_int_equal(run(rig, &up), XDP_PASS);
	rig_expect_reasons(rig, PC_REASON_PASS_GUARD, 3);
	rig_expect_nothing_metered(rig);
}

/* Before the deadline, and on another interface, the guard does nothing. */
static void test_guard_elsewhere(void **state)
{
	struct frame_spec down = spec_down();
	struct rig *rig = *state;

	scene_set(rig);
	rig_set_ctl(rig, (struct pc_ctl){ .guard_ifindex = RIG_LO,
					  .guard_deadline_ns = rig_now() + 60 * NSEC });
	assert_int_equal(run(rig, &down), XDP_TX);
	rig_set_ctl(rig, (struct pc_ctl){ .guard_ifindex = RIG_OTHER, .guard_deadline_ns = 1 });
	assert_int_equal(run(rig, &down), XDP_TX);
	rig_set_ctl(rig, (struct pc_ctl){ .guard_deadline_ns = 1 });
	assert_int_equal(run(rig, &down), XDP_TX);
	rig_expect_reasons(rig, PC_REASON_TX, 3);
}

static int drop_all_setup(void **state)
{
	*state = rig_new("relay_dropall.bpf.o");
	return 0;
}

/* The variant drops ARP, TCP and everything else until the guard trips. */
static void test_drop_all(void **state)
{
	struct frame_spec spec = spec_down();
	struct frame frames[3], got;
	struct rig *rig = *state;

	for (size_t i = 0; i < RIG_COUNT(frames); i++)
		frame_build(&frames[i], &spec);
	put16(frames[0].bytes + 12, 0x0806);
	frames[1].bytes[14 + 9] = 6;
	for (size_t i = 0; i < RIG_COUNT(frames); i++)
		assert_int_equal(rig_run(rig, &frames[i], &got), XDP_DROP);
	rig_set_ctl(rig, (struct pc_ctl){ .guard_ifindex = RIG_LO,
					  .guard_deadline_ns = rig_now() + 60 * NSEC });
	for (size_t i = 0; i < RIG_COUNT(frames); i++)
		assert_int_equal(rig_run(rig, &frames[i], &got), XDP_DROP);
	rig_set_ctl(rig, (struct pc_ctl){ .guard_ifindex = RIG_LO,
					  .guard_deadline_ns = rig_now() - NSEC });
	for (size_t i = 0; i < RIG_COUNT(frames); i++) {
		assert_int_equal(rig_run(rig, &frames[i], &got), XDP_PASS);
		scene_expect_same(&got, &frames[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_away),
		rig_test(test_away_port),
		rig_test(test_not_away),
		rig_test(test_guard),
		rig_test(test_guard_elsewhere),
		cmocka_unit_test_setup_teardown(test_drop_all, drop_all_setup, rig_teardown),
	};

	rig_main(tests);
}
