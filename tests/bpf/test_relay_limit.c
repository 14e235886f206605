/* SPDX-License-Identifier: MIT */
/*
 * The XDP relay's limit on strangers. Intervals are so long that no time passes in a test.
 */
#include "scene.h"

#define INTERVAL 400000000u
#define BURST(n) ((n)*INTERVAL)

static uint8_t data[64];
static uint8_t wrapped[72];

static void set_limits(struct rig *rig, uint32_t host, uint32_t net)
{
	rig_set_ctl(rig, (struct pc_ctl){
				 .heartbeat_ns = rig_now() + 3600 * NSEC,
				 .limit_host_interval_ns = host ? INTERVAL : 0,
				 .limit_host_burst_ns = BURST(host),
				 .limit_net_interval_ns = net ? INTERVAL : 0,
				 .limit_net_burst_ns = BURST(net),
			 });
}

static struct frame_spec spec_control(bool six)
{
	memset(wrapped, 0, 20);
	wrapped[1] = 3;
	return scene_spec(scene_family(scene_client, six), scene_family(scene_server, six), wrapped,
			  20);
}

static struct frame_spec spec_channel(bool six, uint16_t channel)
{
	return scene_spec(scene_family(scene_client, six), scene_family(scene_server, six), wrapped,
			  frame_channel_data(wrapped, channel, data, sizeof(data), 0, 0));
}

static int run(struct rig *rig, const struct frame_spec *spec)
{
	struct frame frame, got;

	frame_build(&frame, spec);
	return rig_run(rig, &frame, &got);
}

/* One bucket for everything a source sends that is not data. */
static void test_host(void **state)
{
	struct rig *rig = *state;

	scene_set(rig);
	for (int six = 0; six < 2; six++) {
		struct frame_spec control, unknown;

		set_limits(rig, 4, 0);
		control = spec_control(six);
		assert_int_equal(run(rig, &control), XDP_PASS);
		control.from.port++;
		assert_int_equal(run(rig, &control), XDP_PASS);
		unknown = spec_channel(six, SCENE_CHANNEL + 1);
		assert_int_equal(run(rig, &unknown), XDP_PASS);
		wrapped[0] = 0;
		wrapped[1] = 1; /* Binding, malformed */
		assert_int_equal(run(rig, &unknown), XDP_PASS);
		for (int i = 0; i < 3; i++) {
			control = spec_control(six);
			assert_int_equal(run(rig, &control), XDP_DROP);
			unknown = spec_channel(six, SCENE_CHANNEL + 1);
			assert_int_equal(run(rig, &unknown), XDP_DROP);
		}
		if (!six) {
			control.option_words = 1;
			assert_int_equal(run(rig, &control), XDP_DROP);
		}
		/* Another host is not concerned. */
		control = spec_control(six);
		control.from.ip++;
		assert_int_equal(run(rig, &control), XDP_PASS);
	}
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_SOURCE_RATE), 13);
	rig_expect_nothing_metered(rig);
}

/* Hosts of a /24 share one bucket beside their own. */
static void test_net(void **state)
{
	struct frame_spec control = spec_control(false);
	struct rig *rig = *state;

	set_limits(rig, 2, 6);
	control.from.ip = 0xc0000200;
	for (unsigned int i = 0; i < 6; i++) {
		control.from.ip = 0xc0000200 + 31 * (i / 2);
		assert_int_equal(run(rig, &control), XDP_PASS);
	}
	control.from.ip = 0xc00002ff;
	assert_int_equal(run(rig, &control), XDP_DROP);
	control.from.ip = 0xc0000300;
	assert_int_equal(run(rig, &control), XDP_PASS);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_SOURCE_RATE), 1);
}

/* Writes the source, to tell prefixes apart. */
static int run_from6(struct rig *rig, uint16_t net, uint16_t subnet, uint32_t host)
{
	struct frame_spec control = spec_control(true);
	struct frame frame, got;

	frame_build(&frame, &control);
	put16(frame.bytes + 14 + 8 + 4, net);
	put16(frame.bytes + 14 + 8 + 6, subnet);
	put32(frame.bytes + 14 + 8 + 12, host);
	return rig_run(rig, &frame, &got);
}

/* IPv6: all of a /64 is one host, a /48 one network. */
static void test_prefixes6(void **state)
{
	struct rig *rig = *state;

	set_limits(rig, 2, 4);
	assert_int_equal(run_from6(rig, 1, 0x0101, 1), XDP_PASS);
	assert_int_equal(run_from6(rig, 1, 0x0101, 2), XDP_PASS);
	assert_int_equal(run_from6(rig, 1, 0x0101, 3), XDP_DROP);
	assert_int_equal(run_from6(rig, 1, 0x0102, 1), XDP_PASS);
	assert_int_equal(run_from6(rig, 1, 0x0302, 1), XDP_PASS);
	assert_int_equal(run_from6(rig, 1, 0x0403, 1), XDP_DROP);
	assert_int_equal(run_from6(rig, 2, 1, 1), XDP_PASS);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_SOURCE_RATE), 2);
}

/* Data of a flow is never limited, whatever else its source does; nor are peers. */
static void test_data_is_free(void **state)
{
	struct frame_spec control = spec_control(false), spec;
	struct rig *rig = *state;

	scene_set(rig);
	set_limits(rig, 1, 1);
	assert_int_equal(run(rig, &control), XDP_PASS);
	assert_int_equal(run(rig, &control), XDP_DROP);
	for (int i = 0; i < 10; i++) {
		spec = spec_channel(false, SCENE_CHANNEL);
		assert_int_equal(run(rig, &spec), XDP_TX);
		spec = scene_spec(scene_peer, scene_relayed, data, sizeof(data));
		assert_int_equal(run(rig, &spec), XDP_TX);
		spec.from.port++;
		assert_int_equal(run(rig, &spec), XDP_PASS);
	}
	/* Of a flow, but for user space. */
	rig_set_nexthop(rig, SCENE_NH_PEER, 0, RIG_MTU, 0);
	spec = spec_channel(false, SCENE_CHANNEL);
	assert_int_equal(run(rig, &spec), XDP_PASS);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_SOURCE_RATE), 1);
}

/* --- all strangers together: one message in four seconds --- */

#define LONG 4000000000u

static void set_limit_all(struct rig *rig)
{
	rig_set_ctl(rig, (struct pc_ctl){
				 .heartbeat_ns = rig_now() + 3600 * NSEC,
				 .limit_all_interval_ns = LONG,
				 .limit_all_burst_ns = LONG,
				 .limit_client_interval_ns = LONG,
				 .limit_client_burst_ns = 2 * (LONG / 2),
			 });
}

static struct frame_spec spec_binding(bool six, size_t attributes)
{
	memset(wrapped, 0, sizeof(wrapped));
	wrapped[1] = 1;
	wrapped[3] = (uint8_t)attributes;
	put32(wrapped + 4, 0x2112a442);
	if (attributes) {
		put16(wrapped + 20, 0x8022); /* SOFTWARE */
		put16(wrapped + 22, (uint16_t)(attributes - 4));
	}
	return scene_spec(scene_family(scene_other, six), scene_family(scene_server, six), wrapped,
			  20 + attributes);
}

static void add_client(struct rig *rig, const struct frame_spec *spec)
{
	struct pc_client_key key = { .sport = htons(spec->from.port),
				     .dport = htons(spec->to.port) };
	struct pc_client value = { .slot = SCENE_SLOT };

	scene_map(key.saddr, spec->from);
	scene_map(key.daddr, spec->to);
	assert_int_equal(bpf_map_update_elem(rig->client_fd, &key, &value, BPF_ANY), 0);
}

/* Whoever sends them, from wherever; but not what is answered here, nor data. */
static void test_all(void **state)
{
	struct rig *rig = *state;

	scene_set(rig);
	for (int six = 0; six < 2; six++) {
		struct frame_spec spec = spec_control(six);

		set_limit_all(rig);
		assert_int_equal(run(rig, &spec), six ? XDP_DROP : XDP_PASS);
		for (uint32_t i = 1; i < 10; i++) {
			spec = spec_control(six);
			spec.from.ip += i << 20;
			assert_int_equal(run(rig, &spec), XDP_DROP);
			spec = spec_channel(six, SCENE_CHANNEL + 1);
			spec.from.ip += i << 20;
			assert_int_equal(run(rig, &spec), XDP_DROP);
			spec = spec_binding(six, 0);
			spec.from.ip += i << 20;
			assert_int_equal(run(rig, &spec), XDP_TX);
			/* Not answered here: Binding of a kind the daemon has to look at. */
			wrapped[4] ^= 1;
			assert_int_equal(run(rig, &spec), XDP_DROP);
		}
		spec = spec_channel(six, SCENE_CHANNEL);
		assert_int_equal(run(rig, &spec), six ? XDP_DROP : XDP_TX);
	}
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_STRANGERS), 2 * 27 + 2);
	assert_int_equal(rig_reason(rig, PC_REASON_BINDING), 2 * 9);
}

/* A source that is refused by its own limit takes nothing from the others'. */
static void test_all_after_source(void **state)
{
	struct frame_spec control = spec_control(false);
	struct rig *rig = *state;

	rig_set_ctl(rig, (struct pc_ctl){
				 .heartbeat_ns = rig_now() + 3600 * NSEC,
				 .limit_host_interval_ns = LONG,
				 .limit_all_interval_ns = LONG / 2,
				 .limit_all_burst_ns = LONG,
			 });
	assert_int_equal(run(rig, &control), XDP_PASS);
	for (int i = 0; i < 5; i++)
		assert_int_equal(run(rig, &control), XDP_DROP);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_SOURCE_RATE), 5);
	control.from.ip += 1 << 20;
	assert_int_equal(run(rig, &control), XDP_PASS);
	control.from.ip += 1 << 20;
	assert_int_equal(run(rig, &control), XDP_DROP);
	assert_int_equal(rig_reason(rig, PC_REASON_DROP_STRANGERS), 1);
}

/* Who comes back a moment later is let in where those who come once are not. */
static void test_again(void **state)
{
	struct rig *rig = *state;

	for (int six = 0; six < 2; six++) {
		struct frame_spec client = spec_control(six), other = client;
		int verdict = XDP_DROP;
		uint64_t end;

		rig_free(rig);
		rig_setup(state);
		rig = *state;
		set_limit_all(rig);
		other.from.ip += 1 << 20;
		assert_int_equal(run(rig, &other), XDP_PASS);
		assert_int_equal(run(rig, &client), XDP_DROP);
		end = rig_now() + 10 * NSEC; /* loading it took a while, where all is emulated */
		while (verdict == XDP_DROP && rig_now() < end)
			verdict = run(rig, &client);
		assert_int_equal(verdict, XDP_PASS);
		/* Those who come back have a limit, too. */
		assert_int_equal(run(rig, &client), XDP_DROP);
		other.from.ip += 1 << 20;
		assert_int_equal(run(rig, &other), XDP_DROP);
	}
}

/* A client with an allocation: beside all limits, but its own; whatever its packets look like. */
static void test_client(void **state)
{
	struct rig *rig = *state;

	for (int six = 0; six < 2; six++) {
		struct frame_spec spec = spec_control(six), other;
		int verdict = XDP_PASS;

		set_limits(rig, 0, 0);
		rig->ctl.limit_host_interval_ns = LONG;
		rig->ctl.limit_all_interval_ns = LONG;
		rig->ctl.limit_client_interval_ns = LONG / 4;
		rig->ctl.limit_client_burst_ns = LONG;
		rig_set_ctl(rig, rig->ctl);
		add_client(rig, &spec);
		other = spec;
		other.from.port++;
		run(rig, &other);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(run(rig, &other), XDP_DROP);
			assert_int_equal(run(rig, &spec), XDP_PASS);
		}
		if (!six)
			spec.option_words = 2;
		assert_int_equal(run(rig, &spec), XDP_PASS);
		/* At once; where all is emulated one of its limit's seconds may pass meanwhile. */
		for (int i = 0; i < 50 && verdict == XDP_PASS; i++)
			verdict = run(rig, &spec);
		assert_int_equal(verdict, XDP_DROP);
	}
	rig_expect_nothing_metered(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_host),	     rig_test(test_net),    rig_test(test_prefixes6),
		rig_test(test_data_is_free), rig_test(test_all),    rig_test(test_all_after_source),
		rig_test(test_again),	     rig_test(test_client),
	};

	rig_main(tests);
}
