/* SPDX-License-Identifier: MIT */
/*
 * Frames of pipes through the XDP relay: verdict, every byte, counters. What must come out is built
 * from the bytes up, with the SipHash of user space and checksums in full.
 */
#include <pthread.h>

#include "pipe_scene.h"

static void expect_dir(struct pc_dir_count got, uint64_t packets, uint64_t payload, uint64_t wire)
{
	assert_int_equal(got.packets, packets);
	assert_int_equal(got.payload_bytes, payload);
	assert_int_equal(got.wire_bytes, wire);
}

static void expect_slot(struct rig *rig, uint32_t slot, bool up, uint64_t packets, uint64_t payload,
			uint64_t wire)
{
	struct pc_count count = rig_count(rig, slot);

	expect_dir(up ? count.up : count.down, packets, payload, wire);
	expect_dir(up ? count.down : count.up, 0, 0, 0);
}

/* A frame of the pipe with this counter and payload, as it comes. */
static struct frame_spec spec_of(const struct pipe_way *way, uint8_t *bytes, uint64_t counter,
				 size_t len)
{
	return scene_spec(way->from, way->to, bytes, pipe_write(bytes, way->in, 0, counter, len));
}

static int run_spec(struct rig *rig, const struct frame_spec *spec, struct frame *ret_got)
{
	struct frame frame;

	frame_build(&frame, spec);
	return rig_run(rig, &frame, ret_got);
}

/* IPv4 that was IPv6 before gets an id of its own, and may be fragmented. */
static void expect_sent(const struct frame *got, struct frame_spec want, bool in6)
{
	bool out6 = want.from.six;

	want.link_seed = FRAME_OUT_SEED + PIPE_NH;
	if (in6 && !out6) {
		want.id = get16(got->bytes + 14 + 4);
		want.frag = 0;
	}
	scene_expect_frame(got, &want);
}

/* Runs one frame and compares what comes out. */
static void expect_forward(struct rig *rig, const struct pipe_way *way, const struct frame_spec *in)
{
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec want;
	struct frame got;

	assert_int_equal(run_spec(rig, in, &got), XDP_TX);
	memcpy(bytes, in->payload, in->len);
	pipe_rewrite(bytes, way->out, in->len);
	want = scene_sent(in, PIPE_NH, way->new_from, way->new_to, bytes, in->len);
	expect_sent(&got, want, way->from.six);
}

static void expect_drop(struct rig *rig, const struct frame_spec *spec, int reason)
{
	uint64_t before = rig_reason(rig, (uint32_t)reason);
	struct frame got;

	assert_int_equal(run_spec(rig, spec, &got), XDP_DROP);
	assert_int_equal(rig_reason(rig, (uint32_t)reason), before + 1);
}

/* --- forwarding --- */

static const bool families[][2] = {
	{ false, false }, { true, true }, { false, true }, { true, false }
};

/* Pipe number @i of one rig: each mix of families has a pipe, a window and slots of its own. */
static struct pipe_way way_of(size_t i)
{
	struct pipe_way way = pipe_way(families[i][0], families[i][1]);

	way.in += (uint32_t)i;
	way.out += (uint32_t)i;
	way.window = (uint32_t)i;
	way.slot = 2 * (uint32_t)i;
	return way;
}

static void test_families(void **state)
{
	for (size_t i = 0; i < RIG_COUNT(families); i++) {
		struct pipe_way way = way_of(i);
		size_t head = families[i][1] ? 48 : 28;
		uint8_t bytes[PIPE_MAX + 64];
		struct frame_spec spec;

		pipe_set(*state, &way);
		spec = spec_of(&way, bytes, 1, 101);
		spec.flow_label = 0x12345;
		expect_forward(*state, &way, &spec);
		expect_slot(*state, way.slot, true, 1, 101, 101 + 24 + head);
	}
	rig_expect_reasons(*state, PC_REASON_TX, RIG_COUNT(families));
}

/* All lengths of the payload's last word, none at all, and the largest. */
static void test_lengths(void **state)
{
	for (size_t i = 0; i < RIG_COUNT(families); i++) {
		static const size_t lens[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 1203, 1428 };
		struct pipe_way way = way_of(i);
		uint8_t bytes[PIPE_MAX + 64];

		pipe_set(*state, &way);
		for (size_t n = 0; n < RIG_COUNT(lens); n++) {
			struct frame_spec spec = spec_of(&way, bytes, n + 1, lens[n]);

			/* Ethernet's padding is not sent on. */
			spec.trailer = n % 3 ? 0 : 5;
			expect_forward(*state, &way, &spec);
		}
	}
}

/* Flags, TOS, id, fragmentation bits, TTL of 2; tags in front and behind. */
static void test_fields(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec;

	pipe_set(*state, &way);
	for (uint8_t flags = 0; flags < 8; flags++) {
		spec = scene_spec(way.from, way.to, bytes,
				  pipe_write(bytes, way.in, flags, flags + 1u, 33));
		spec.tos = (uint8_t)(flags * 17);
		spec.id = (uint16_t)(0xfff0 + flags);
		spec.frag = flags & 1 ? FRAME_DF : 0;
		spec.ttl = flags & 2 ? 2 : 255;
		spec.vlans = flags % 3;
		expect_forward(*state, &way, &spec);
	}
	rig_expect_reasons(*state, PC_REASON_TX, 8);
}

static void test_tags_out(void **state)
{
	for (size_t i = 0; i < RIG_COUNT(families); i++) {
		for (unsigned int vlans = 0; vlans < 3; vlans++) {
			struct pipe_way way = way_of(i);
			uint8_t bytes[PIPE_MAX + 64], sent[PIPE_MAX + 64];
			struct frame_spec spec, want;
			struct frame got;

			pipe_set(*state, &way);
			rig_set_nexthop6(*state, PIPE_NH, RIG_LO, RIG_MTU, vlans, way.new_to.six);
			spec = spec_of(&way, bytes, 9 + vlans, 61);
			assert_int_equal(run_spec(*state, &spec, &got), XDP_TX);
			memcpy(sent, bytes, spec.len);
			pipe_rewrite(sent, way.out, spec.len);
			want = scene_sent(&spec, PIPE_NH, way.new_from, way.new_to, sent, spec.len);
			want.vlans = vlans;
			if (way.from.six && !way.new_to.six) {
				want.id = get16(got.bytes + 14 + 4 * vlans + 4);
				want.frag = 0;
			}
			scene_expect_frame(&got, &want);
		}
	}
}

static void test_other_interface(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40);
	struct frame got;

	pipe_set(*state, &way);
	rig_set_nexthop(*state, PIPE_NH, RIG_OTHER, RIG_MTU, 0);
	/* Not in the device map: user space sends it, with its counter. */
	assert_int_equal(run_spec(*state, &spec, &got), XDP_PASS);
	assert_int_equal(rig_reason(*state, PC_REASON_PASS_NEXTHOP), 1);
	rig_set_txport(*state, RIG_LO);
	assert_int_equal(run_spec(*state, &spec, &got), XDP_REDIRECT);
	expect_slot(*state, PIPE_SLOT, true, 1, 40, 40 + 24 + 28);
}

/* No checksum is legal in IPv4 and stays so; IPv6 needs one, which user space works out. */
static void test_no_checksum(void **state)
{
	struct pipe_way way = pipe_way(false, false), across = pipe_way(false, true);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40);
	struct frame frame, got;

	pipe_set(*state, &way);
	spec.no_checksum = true;
	expect_forward(*state, &way, &spec);
	across.in = PIPE_IN + 1;
	across.window = 4;
	pipe_set(*state, &across);
	spec = spec_of(&across, bytes, 1, 40);
	spec.no_checksum = true;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_PASS);
	scene_expect_same(&got, &frame);
	assert_int_equal(rig_reason(*state, PC_REASON_PASS_CHECKSUM), 1);
	/* Its counter was given back. */
	spec.no_checksum = false;
	expect_forward(*state, &across, &spec);
	expect_slot(*state, PIPE_SLOT, true, 2, 80, 80 + 48 + 28 + 48);
}

/* A payload damaged on the way stays so: the tag covers the header. */
static void test_damaged_payload(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64], sent[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40), want;
	struct frame frame, got, right;

	pipe_set(*state, &way);
	frame_build(&frame, &spec);
	frame.bytes[frame.len - 1] ^= 0x55;
	assert_int_equal(rig_run(*state, &frame, &got), XDP_TX);
	memcpy(sent, bytes, spec.len);
	pipe_rewrite(sent, way.out, spec.len);
	want = scene_sent(&spec, PIPE_NH, way.new_from, way.new_to, sent, spec.len);
	frame_build(&right, &want);
	right.bytes[right.len - 1] ^= 0x55;
	scene_expect_same(&got, &right);
}

/* Who pays and who is counted: one side, the other direction, both ends. */
static void test_sides(void **state)
{
	for (size_t i = 0; i < RIG_COUNT(families); i++) {
		struct pipe_way way = way_of(i);
		size_t wire = 50 + 24 + (families[i][1] ? 48 : 28);
		uint8_t bytes[PIPE_MAX + 64];
		struct frame_spec spec = spec_of(&way, bytes, 1, 50);

		way.down = true;
		pipe_set(*state, &way);
		expect_forward(*state, &way, &spec);
		expect_slot(*state, way.slot, false, 1, 50, wire);
		expect_slot(*state, way.slot + 1, true, 0, 0, 0);
		way.other_slot = way.slot + 1;
		pipe_add(*state, &way);
		spec = spec_of(&way, bytes, 2, 50);
		expect_forward(*state, &way, &spec);
		expect_slot(*state, way.slot, false, 2, 100, 2 * wire);
		expect_slot(*state, way.slot + 1, true, 1, 50, wire);
	}
}

/* A TURN client and a pipe on one relay do not meet. */
static void test_beside_channels(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64], payload[64] = { 1, 2, 3 }, data[128];
	struct frame_spec spec, up;
	struct frame got;

	scene_set(*state);
	pipe_set(*state, &way);
	spec = spec_of(&way, bytes, 1, 50);
	expect_forward(*state, &way, &spec);
	up = scene_spec(scene_client, scene_server, data,
			frame_channel_data(data, SCENE_CHANNEL, payload, 64, 0, 0));
	assert_int_equal(run_spec(*state, &up, &got), XDP_TX);
	expect_slot(*state, PIPE_SLOT, true, 1, 50, 50 + 24 + 28);
	expect_slot(*state, SCENE_SLOT, true, 1, 64, 64 + 28);
}

/* --- what is refused --- */

static void test_short(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];

	pipe_set(*state, &way);
	for (size_t len = 1; len < 24; len++) {
		struct frame_spec spec = spec_of(&way, bytes, 1, 40);

		spec.len = len;
		expect_drop(*state, &spec, PC_REASON_DROP_LENGTH);
	}
	rig_expect_reasons(*state, PC_REASON_DROP_LENGTH, 23);
	rig_expect_nothing_metered(*state);
}

static void test_malformed(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec;

	pipe_set(*state, &way);
	for (int bit = 3; bit < 8; bit++) {
		spec = spec_of(&way, bytes, 1, 40);
		bytes[1] = (uint8_t)(1 << bit);
		pipe_tag(bytes, way.in, 40);
		expect_drop(*state, &spec, PC_REASON_DROP_MALFORMED);
	}
	for (int bit = 0; bit < 16; bit++) {
		spec = spec_of(&way, bytes, 1, 40);
		put16(bytes + 2, (uint16_t)(1 << bit));
		pipe_tag(bytes, way.in, 40);
		expect_drop(*state, &spec, PC_REASON_DROP_MALFORMED);
	}
	spec = spec_of(&way, bytes, 0, 40);
	expect_drop(*state, &spec, PC_REASON_DROP_MALFORMED);
	spec = scene_spec(way.from, way.to, bytes, pipe_write(bytes, 0, 0, 1, 40));
	expect_drop(*state, &spec, PC_REASON_DROP_MALFORMED);
	rig_expect_nothing_metered(*state);
}

/* Every bit of the header and of the tag, and the length. */
static void test_forged(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec;

	pipe_set(*state, &way);
	for (size_t bit = 64; bit < 24 * 8; bit++) {
		spec = spec_of(&way, bytes, 77, 40);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect_drop(*state, &spec, PC_REASON_DROP_PIPE_TAG);
	}
	for (uint8_t flags = 1; flags < 8; flags++) {
		spec = spec_of(&way, bytes, 77, 40);
		bytes[1] = flags;
		expect_drop(*state, &spec, PC_REASON_DROP_PIPE_TAG);
	}
	spec = spec_of(&way, bytes, 77, 40);
	spec.len++;
	expect_drop(*state, &spec, PC_REASON_DROP_PIPE_TAG);
	spec.len -= 2;
	expect_drop(*state, &spec, PC_REASON_DROP_PIPE_TAG);
	rig_expect_nothing_metered(*state);
	/* None of them touched the window. */
	spec = spec_of(&way, bytes, 77, 40);
	expect_forward(*state, &way, &spec);
}

/* What passes is untouched, costs nothing, and may come again. */
static void expect_pass(struct rig *rig, const struct frame_spec *spec, uint32_t reason)
{
	uint64_t before = rig_reason(rig, reason);
	struct frame frame, got;

	frame_build(&frame, spec);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_run(rig, &frame, &got), XDP_PASS);
		scene_expect_same(&got, &frame);
	}
	assert_int_equal(rig_reason(rig, reason), before + 2);
	rig_expect_nothing_metered(rig);
}

/* User space may know it; what strangers send there is limited. */
static void test_no_pipe(void **state)
{
	struct pipe_way way = pipe_way(false, false), plain = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec;
	struct pc_ctl ctl;

	pipe_set(*state, &way);
	spec = scene_spec(way.from, way.to, bytes, pipe_write(bytes, way.in + 1, 0, 1, 40));
	expect_pass(*state, &spec, PC_REASON_PASS_NO_FLOW);
	/* Nor is a direction that begins at a port entered by its number. */
	plain.in = PIPE_IN + 1;
	plain.in_plain = true;
	plain.to = pipe_relayed;
	pipe_add(*state, &plain);
	expect_pass(*state, &spec, PC_REASON_PASS_NO_FLOW);
	ctl = ((struct rig *)*state)->ctl;
	ctl.limit_host_interval_ns = ctl.limit_host_burst_ns = 1000000000;
	rig_set_ctl(*state, ctl);
	for (int i = 0; i < 2; i++) {
		struct frame got;

		assert_int_equal(run_spec(*state, &spec, &got), i ? XDP_DROP : XDP_PASS);
	}
	assert_int_equal(rig_reason(*state, PC_REASON_DROP_SOURCE_RATE), 1);
}

/* A frame with a right tag, from elsewhere or to another of our addresses, moves nothing. */
static void test_elsewhere(void **state)
{
	for (int six = 0; six < 2; six++) {
		struct pipe_way way = way_of((size_t)six), other = way;
		uint8_t bytes[PIPE_MAX + 64];
		struct frame_spec spec;

		pipe_set(*state, &way);
		for (int i = 0; i < 5; i++) {
			other = way;
			other.from.ip += i == 0;
			other.from.port = (uint16_t)(other.from.port + (i == 1));
			other.to.ip += i == 2;
			if (i == 3)
				other.to.port = RIG_SECOND_PORT;
			if (i == 4)
				other.from.six = other.to.six = !six;
			spec = spec_of(&other, bytes, 1, 40);
			expect_drop(*state, &spec, PC_REASON_DROP_PIPE_SOURCE);
		}
		expect_slot(*state, way.slot, true, 0, 0, 0);
		spec = spec_of(&way, bytes, 1, 40);
		expect_forward(*state, &way, &spec);
	}
}

/* Another last word of an IPv6 address is another address. */
static void test_elsewhere_six(void **state)
{
	struct pipe_way way = pipe_way(true, true);
	struct pc_pipe pipe = pipe_entry(&way);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40);
	int fd = rig_map(*state, PC_MAP_PIPE);

	pipe_set(*state, &way);
	for (int i = 0; i < 8; i++) {
		struct pc_pipe changed = pipe;

		(i < 4 ? changed.saddr : changed.daddr)[i % 4] ^= 1;
		assert_int_equal(bpf_map_update_elem(fd, &pipe.in, &changed, BPF_ANY), 0);
		expect_drop(*state, &spec, PC_REASON_DROP_PIPE_SOURCE);
	}
}

static void test_expired(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40);

	way.expires_ns = rig_now() - NSEC;
	pipe_set(*state, &way);
	expect_drop(*state, &spec, PC_REASON_DROP_PIPE_EXPIRED);
	rig_expect_nothing_metered(*state);
}

static void test_ttl(void **state)
{
	for (int six = 0; six < 2; six++) {
		struct pipe_way way = way_of((size_t)six);
		uint8_t bytes[PIPE_MAX + 64];
		struct frame_spec spec = spec_of(&way, bytes, 1, 40);

		pipe_set(*state, &way);
		spec.ttl = 1;
		expect_drop(*state, &spec, PC_REASON_DROP_TTL);
		rig_expect_nothing_metered(*state);
	}
}

static void test_passes(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 400), odd;

	pipe_set(*state, &way);
	rig_set_nexthop(*state, PIPE_NH, RIG_LO, 451, 0);
	expect_pass(*state, &spec, PC_REASON_PASS_MTU);
	rig_set_nexthop(*state, PIPE_NH, 0, RIG_MTU, 0);
	expect_pass(*state, &spec, PC_REASON_PASS_NEXTHOP);
	rig_set_nexthop(*state, PIPE_NH, RIG_LO, RIG_MTU, 0);
	odd = spec;
	odd.option_words = 1;
	expect_pass(*state, &odd, PC_REASON_PASS_UNUSUAL);
	odd = spec;
	odd.frag = FRAME_MF;
	expect_pass(*state, &odd, PC_REASON_PASS_UNUSUAL);
	odd = spec;
	odd.udp_len_off = -1;
	expect_pass(*state, &odd, PC_REASON_PASS_UNUSUAL);
	rig_set_nexthop(*state, PIPE_NH, RIG_LO, 452, 0);
	expect_forward(*state, &way, &spec);
}

/* Without a daemon pipes go on; what would pass is dropped. */
static void test_away(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40);

	pipe_set(*state, &way);
	rig_set_ctl(*state, (struct pc_ctl){ .heartbeat_ns = 1 });
	expect_forward(*state, &way, &spec);
	spec = spec_of(&way, bytes, 2, 40);
	rig_set_nexthop(*state, PIPE_NH, 0, RIG_MTU, 0);
	expect_drop(*state, &spec, PC_REASON_DROP_AWAY);
}

/* --- the replay window --- */

static int run_counter(struct rig *rig, const struct pipe_way *way, uint64_t counter)
{
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(way, bytes, counter, 10);
	struct frame got;

	return run_spec(rig, &spec, &got);
}

static void test_replay(void **state)
{
	static const uint64_t order[] = { 1,
					  5,
					  3,
					  2,
					  4,
					  8192,
					  100,
					  9000,
					  8193,
					  8999,
					  1000,
					  1ull << 40,
					  (1ull << 40) - 8100,
					  (1ull << 45) - 1 };
	struct pipe_way way = pipe_way(false, false);
	uint64_t n = 0;

	pipe_set(*state, &way);
	for (size_t i = 0; i < RIG_COUNT(order); i++) {
		assert_int_equal(run_counter(*state, &way, order[i]), XDP_TX);
		assert_int_equal(run_counter(*state, &way, order[i]), XDP_DROP);
		n++;
		assert_int_equal(rig_reason(*state, PC_REASON_DROP_REPLAY), n);
	}
	/* None of the earlier ones comes through now. */
	for (size_t i = 0; i < RIG_COUNT(order); i++)
		assert_int_equal(run_counter(*state, &way, order[i]), XDP_DROP);
	/* The end of all counters. */
	assert_int_equal(run_counter(*state, &way, 1ull << 45), XDP_DROP);
	assert_int_equal(run_counter(*state, &way, UINT64_MAX), XDP_DROP);
	expect_slot(*state, PIPE_SLOT, true, n, 10 * n, n * (10 + 24 + 28));
}

/* All that is within the window, whatever the order; then what is behind it. */
static void test_window(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	const uint64_t top = 50000;

	pipe_set(*state, &way);
	assert_int_equal(run_counter(*state, &way, top), XDP_TX);
	for (uint64_t i = 1; i <= 8192 - 32; i++)
		assert_int_equal(run_counter(*state, &way, top - i), XDP_TX);
	for (uint64_t i = 8192 + 32; i < 8192 + 64; i++)
		assert_int_equal(run_counter(*state, &way, top - i), XDP_DROP);
	for (uint64_t i = 0; i <= 8192 - 32; i++)
		assert_int_equal(run_counter(*state, &way, top - i), XDP_DROP);
}

/* --- limits --- */

static void test_credit(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40);

	way.other_slot = PIPE_OTHER;
	pipe_set(*state, &way);
	rig_set_credit(*state, PIPE_SLOT, 100);
	rig_set_credit(*state, PIPE_OTHER, 60);
	expect_forward(*state, &way, &spec);
	assert_int_equal(rig_credit(*state, PIPE_SLOT).used, 40);
	/* The other end refuses: the first has his bytes back. */
	spec = spec_of(&way, bytes, 2, 40);
	expect_drop(*state, &spec, PC_REASON_DROP_CREDIT);
	assert_int_equal(rig_count(*state, PIPE_OTHER).drops_credit, 1);
	rig_set_credit(*state, PIPE_OTHER, PC_CREDIT_UNLIMITED);
	spec = spec_of(&way, bytes, 3, 60);
	expect_forward(*state, &way, &spec);
	spec = spec_of(&way, bytes, 4, 1);
	expect_drop(*state, &spec, PC_REASON_DROP_CREDIT);
	assert_int_equal(rig_count(*state, PIPE_SLOT).drops_credit, 1);
	expect_slot(*state, PIPE_SLOT, true, 2, 100, 100 + 2 * (24 + 28));
}

static const struct pc_rate narrow = {
	.version = 1,
	.flags = PC_RATE_SET_DSCP,
	.dscp = 1,
	.tier = PC_RATE_CLASS_PAID,
};

static void test_rate(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	struct pc_rate rate = narrow;
	uint8_t bytes[PIPE_MAX + 64], sent[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40), want;
	struct frame got;

	rate.committed = rate.peak = pc_rate_word(1000000);
	rate.depth = rate.peak_depth = 1000;
	way.tenant = 2;
	pipe_set(*state, &way);
	/* What passes gets the plan's DSCP, and keeps its ECN bits. */
	rig_set_rate(*state, 2, PC_RATE_UP, &rate, 0);
	assert_int_equal(run_spec(*state, &spec, &got), XDP_TX);
	memcpy(sent, bytes, spec.len);
	pipe_rewrite(sent, way.out, spec.len);
	want = scene_sent(&spec, PIPE_NH, way.new_from, way.new_to, sent, spec.len);
	want.tos = 1 << 2 | (spec.tos & 3);
	scene_expect_frame(&got, &want);
	assert_int_equal(rig_lease(*state, 2, PC_RATE_UP).bytes, 40 + 24 + 28);
	/* The other direction of the tenant has a clock of its own. */
	rig_set_rate(*state, 2, PC_RATE_UP, &rate, UINT64_MAX / 2);
	spec = spec_of(&way, bytes, 2, 1400);
	expect_drop(*state, &spec, PC_REASON_DROP_RATE);
	assert_int_equal(rig_count(*state, PIPE_SLOT).drops_rate, 1);
	rig_set_rate(*state, 2, PC_RATE_DOWN, &rate, 0);
	way.down = true;
	pipe_add(*state, &way);
	spec = spec_of(&way, bytes, 3, 40);
	assert_int_equal(run_spec(*state, &spec, &got), XDP_TX);
}

/* --- a million frames that nobody sent --- */

#define MILLION 1000000u

/* What is forged and what was seen is neither forwarded nor charged, however much of it comes. */
static void test_million(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t bytes[PIPE_MAX + 64];
	struct frame_spec spec = spec_of(&way, bytes, 1, 40);
	struct frame forged, replayed, got;

	way.tenant = 2;
	way.other_slot = PIPE_OTHER;
	rig_set_rate(*state, 2, PC_RATE_UP, &(struct pc_rate){ .version = 1, .committed = 1 }, 0);
	pipe_set(*state, &way);
	rig_set_credit(*state, PIPE_SLOT, 1000);
	rig_set_credit(*state, PIPE_OTHER, 1000);
	expect_forward(*state, &way, &spec);
	frame_build(&replayed, &spec);
	spec = spec_of(&way, bytes, 2, 40);
	bytes[16] ^= 1;
	frame_build(&forged, &spec);
	/* Dropped frames are not written to, so each run sees the same. */
	assert_int_equal(rig_run_times(*state, &replayed, &got, MILLION / 2), XDP_DROP);
	scene_expect_same(&got, &replayed);
	assert_int_equal(rig_run_times(*state, &forged, &got, MILLION / 2), XDP_DROP);
	scene_expect_same(&got, &forged);
	assert_int_equal(rig_reason(*state, PC_REASON_DROP_REPLAY), MILLION / 2);
	assert_int_equal(rig_reason(*state, PC_REASON_DROP_PIPE_TAG), MILLION / 2);
	assert_int_equal(rig_reason(*state, PC_REASON_TX), 1);
	expect_slot(*state, PIPE_SLOT, true, 1, 40, 40 + 24 + 28);
	expect_slot(*state, PIPE_OTHER, false, 1, 40, 40 + 24 + 28);
	assert_int_equal(rig_credit(*state, PIPE_SLOT).used, 40);
	assert_int_equal(rig_credit(*state, PIPE_OTHER).used, 40);
	assert_int_equal(rig_lease(*state, 2, PC_RATE_UP).bytes, 40 + 24 + 28);
	assert_int_equal(rig_count(*state, PIPE_SLOT).drops_rate, 0);
	assert_int_equal(rig_count(*state, PIPE_SLOT).drops_credit, 0);
}

/* --- two CPUs on one window --- */

#define RACE_FRAMES 20000u

struct racer {
	struct rig *rig;
	const struct pipe_way *way;
	pthread_barrier_t *start;
	int cpu;
	uint64_t forwarded;
	uint32_t at; /* read by the other */
	struct racer *other;
};

/* Never a word ahead, or they would not meet. */
static void wait_for(const struct racer *other, uint32_t at)
{
	for (int i = 0; i < 1000000 && __atomic_load_n(&other->at, __ATOMIC_ACQUIRE) + 16 < at; i++)
		sched_yield();
}

/*
 * Both run through all counters, word by word of the window: one takes the even ones of a word
 * first, the other the odd ones.
 */
static void *race(void *arg)
{
	struct racer *r = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(r->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	pthread_barrier_wait(r->start);
	for (uint32_t i = 0; i < RACE_FRAMES; i++) {
		uint32_t half = i % 32 / 16, in_word = i % 16 * 2 + (half ^ (uint32_t)r->cpu);

		__atomic_store_n(&r->at, i, __ATOMIC_RELEASE);
		wait_for(r->other, i);
		r->forwarded += run_counter(r->rig, r->way, 32 + i / 32 * 32 + in_word) == XDP_TX;
	}
	__atomic_store_n(&r->at, RACE_FRAMES, __ATOMIC_RELEASE);
	return NULL;
}

/* Each counter once, whoever comes first. */
static void test_two_cpus(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	pthread_barrier_t start;
	struct racer racers[2] = {
		{ .rig = *state, .way = &way, .start = &start, .cpu = 0, .other = &racers[1] },
		{ .rig = *state, .way = &way, .start = &start, .cpu = 1, .other = &racers[0] },
	};
	pthread_t threads[2];

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	pipe_set(*state, &way);
	assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	pthread_barrier_destroy(&start);
	print_message("# %llu by one, %llu by the other\n", (unsigned long long)racers[0].forwarded,
		      (unsigned long long)racers[1].forwarded);
	assert_int_equal(racers[0].forwarded + racers[1].forwarded, RACE_FRAMES);
	assert_int_equal(rig_count(*state, PIPE_SLOT).up.packets, RACE_FRAMES);
	assert_int_equal(rig_reason(*state, PC_REASON_DROP_REPLAY), RACE_FRAMES);
}

/* --- pipes that end in a relayed port --- */

static void expect_plain(struct rig *rig, const struct pipe_way *way, const struct frame_spec *in)
{
	struct frame_spec want =
		scene_sent(in, PIPE_NH, way->new_from, way->new_to, in->payload + 24, in->len - 24);
	struct frame got;

	assert_int_equal(run_spec(rig, in, &got), XDP_TX);
	expect_sent(&got, want, way->from.six);
}

static void test_to_port(void **state)
{
	for (size_t i = 0; i < RIG_COUNT(families); i++) {
		struct pipe_way way = way_of(i);
		size_t head = families[i][1] ? 48 : 28, sum = 0;
		uint8_t bytes[PIPE_MAX + 64];

		way.new_from = scene_family(pipe_relayed, families[i][1]);
		way.out_plain = true;
		pipe_set(*state, &way);
		for (size_t len = 0; len < 40; len++) {
			struct frame_spec spec = spec_of(&way, bytes, len + 1, len);

			expect_plain(*state, &way, &spec);
			expect_drop(*state, &spec, PC_REASON_DROP_REPLAY);
			sum += len;
		}
		expect_slot(*state, way.slot, true, 40, sum, sum + 40 * head);
	}
}

/* From the port: frames under counters of our own, from 1 on; by flows in both kinds of table. */
static void test_from_port(void **state)
{
	for (size_t i = 0; i < RIG_COUNT(families); i++) {
		struct pipe_way way = way_of(i);
		size_t head = families[i][1] ? 48 : 28, sum = 0;
		uint8_t data[64], bytes[128];

		way.to = scene_family(pipe_relayed, families[i][0]);
		way.to.port = (uint16_t)(way.to.port + i);
		way.in_plain = way.down = true;
		rig_cold = i & 1;
		pipe_set(*state, &way);
		for (size_t len = 0; len < 40; len++) {
			struct frame_spec in, want;
			struct frame got;

			frame_fill(data, len, (uint32_t)len + 2);
			in = scene_spec(way.from, way.to, data, len);
			in.tos = 0x02;
			assert_int_equal(run_spec(*state, &in, &got), XDP_TX);
			pipe_write(bytes, way.out, 0, len + 1, len);
			memcpy(bytes + 24, data, len);
			want = scene_sent(&in, PIPE_NH, way.new_from, way.new_to, bytes, 24 + len);
			expect_sent(&got, want, way.from.six);
			sum += len;
		}
		expect_slot(*state, way.slot, false, 40, sum, sum + 40 * (24 + head));
	}
}

/* Others than the remote, and the port after its end. */
static void test_from_port_refused(void **state)
{
	struct pipe_way way = pipe_way(false, false);
	uint8_t data[64] = { 0 };
	struct frame_spec spec;

	way.to = pipe_relayed;
	way.in_plain = way.down = true;
	pipe_set(*state, &way);
	spec = scene_spec(way.from, way.to, data, 20);
	spec.from.ip++;
	expect_drop(*state, &spec, PC_REASON_DROP_NO_PERMISSION);
	spec.from.ip--;
	spec.ttl = 1;
	expect_drop(*state, &spec, PC_REASON_DROP_TTL);
	spec.ttl = 61;
	way.expires_ns = rig_now() - NSEC;
	pipe_add(*state, &way);
	expect_drop(*state, &spec, PC_REASON_DROP_PIPE_EXPIRED);
	rig_expect_nothing_metered(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_families),
		rig_test(test_lengths),
		rig_test(test_fields),
		rig_test(test_tags_out),
		rig_test(test_other_interface),
		rig_test(test_no_checksum),
		rig_test(test_damaged_payload),
		rig_test(test_sides),
		rig_test(test_beside_channels),
		rig_test(test_short),
		rig_test(test_malformed),
		rig_test(test_forged),
		rig_test(test_no_pipe),
		rig_test(test_elsewhere),
		rig_test(test_elsewhere_six),
		rig_test(test_expired),
		rig_test(test_ttl),
		rig_test(test_passes),
		rig_test(test_away),
		rig_test(test_replay),
		rig_test(test_window),
		rig_test(test_credit),
		rig_test(test_rate),
		rig_test(test_million),
		rig_test(test_two_cpus),
		rig_test(test_to_port),
		rig_test(test_from_port),
		rig_test(test_from_port_refused),
	};

	const char *why = rig_unavailable();

	if (why)
		return rig_skip_all(tests, RIG_COUNT(tests), why);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
