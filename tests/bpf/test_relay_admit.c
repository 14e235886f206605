/* SPDX-License-Identifier: MIT */
/*
 * What the XDP relay does not send: it passes the untouched packet or drops it, counts the reason,
 * and meters nothing.
 */
#include "scene.h"

static uint8_t data[SCENE_PAYLOAD_MAX];
static uint8_t wrapped[SCENE_PAYLOAD_MAX + 8];

static struct frame_spec spec_up(size_t len)
{
	size_t n = frame_channel_data(wrapped, SCENE_CHANNEL, data, len, 0, 0);

	return scene_spec(scene_client, scene_server, wrapped, n);
}

static struct frame_spec spec_hairpin(size_t len)
{
	size_t n = frame_channel_data(wrapped, SCENE_HAIRPIN, data, len, 0, 0);

	return scene_spec(scene_client, scene_server, wrapped, n);
}

static struct frame_spec spec_down(size_t len)
{
	return scene_spec(scene_peer, scene_relayed, data, len);
}

static void expect_frame(struct rig *rig, const struct frame *frame, int verdict, int reason)
{
	uint64_t before = reason == RIG_NO_REASON ? 0 : rig_reason(rig, (uint32_t)reason);
	struct frame got;

	assert_int_equal(rig_run(rig, frame, &got), verdict);
	scene_expect_same(&got, frame);
	if (reason != RIG_NO_REASON)
		assert_int_equal(rig_reason(rig, (uint32_t)reason), before + 1);
}

static void expect(struct rig *rig, const struct frame_spec *spec, int verdict, int reason)
{
	struct frame frame;

	frame_build(&frame, spec);
	expect_frame(rig, &frame, verdict, reason);
}

static void expect_end(struct rig *rig, int reason, uint64_t n)
{
	rig_expect_reasons(rig, reason, n);
	rig_expect_nothing_metered(rig);
}

/* Frames that are not UDP over IPv4, and every length a frame can be cut to. */
static void test_foreign_frames(void **state)
{
	struct frame_spec spec = spec_down(30);
	static const uint16_t types[] = { 0x0806, 0x86dd, 0x88cc, 0x0801 };
	struct frame frame;

	scene_set(*state);
	for (size_t i = 0; i < RIG_COUNT(types); i++) {
		frame_build(&frame, &spec);
		put16(frame.bytes + 12, types[i]);
		expect_frame(*state, &frame, XDP_PASS, RIG_NO_REASON);
	}
	for (unsigned int proto = 0; proto < 256; proto++) {
		frame_build(&frame, &spec);
		frame.bytes[14 + 9] = (uint8_t)(proto == 17 ? 6 : proto);
		expect_frame(*state, &frame, XDP_PASS, RIG_NO_REASON);
	}
	for (spec.vlans = 0; spec.vlans <= 2; spec.vlans++) {
		frame_build(&frame, &spec);
		for (frame.len = 14; frame.len < 14 + 4 * spec.vlans + 28; frame.len++)
			expect_frame(*state, &frame, XDP_PASS, RIG_NO_REASON);
	}
	spec.vlans = 3;
	expect(*state, &spec, XDP_PASS, RIG_NO_REASON);
	expect_end(*state, RIG_NO_REASON, 0);
}

static void test_foreign_ports(void **state)
{
	static const uint16_t ports[] = {
		0,
		53,
		RIG_SERVICE_PORT - 1,
		RIG_SERVICE_PORT + 1,
		RIG_RELAY_LOW - 1,
		RIG_RELAY_HIGH + 1,
		65535,
		0x960d /* the service port, bytes swapped */
	};
	struct frame_spec spec = spec_down(30);

	scene_set(*state);
	for (size_t i = 0; i < RIG_COUNT(ports); i++) {
		spec.to.port = ports[i];
		expect(*state, &spec, XDP_PASS, RIG_NO_REASON);
	}
	expect_end(*state, RIG_NO_REASON, 0);
}

static void test_control(void **state)
{
	struct frame_spec spec = scene_spec(scene_client, scene_server, wrapped, 20);
	unsigned int n = 0;

	scene_set(*state);
	memset(wrapped, 0x41, 20);
	for (unsigned int first = 0; first < 256; first++) {
		if ((first >= 0x40 && first <= 0x7f) || first == PC_PIPE_TYPE)
			continue;
		wrapped[0] = (uint8_t)first;
		expect(*state, &spec, XDP_PASS, PC_REASON_PASS_CONTROL);
		n++;
	}
	spec.len = 0;
	spec.trailer = 18;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_CONTROL);
	spec.to.port = RIG_SECOND_PORT;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_CONTROL);
	expect_end(*state, PC_REASON_PASS_CONTROL, n + 2);
}

/* Each field of the key matters. */
static void test_no_flow(void **state)
{
	struct frame_spec spec = spec_up(20);

	scene_set(*state);
	spec.from.ip++;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	spec = spec_up(20);
	spec.from.port++;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	spec = spec_up(20);
	spec.to.ip++;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	spec = spec_up(20);
	spec.to.port = RIG_SECOND_PORT;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	spec = spec_up(20);
	put16(wrapped, SCENE_CHANNEL + 1);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	spec = spec_down(20);
	spec.from.port++;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	spec = spec_down(20);
	spec.to.port = RIG_RELAY_LOW;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	spec.to.port = RIG_RELAY_HIGH;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	expect_end(*state, PC_REASON_PASS_NO_FLOW, 8);
}

/* ChannelData of N bytes may come in 4+N to 4+N rounded up, and nothing else. */
static void test_channel_data_length(void **state)
{
	unsigned int drops = 0;

	scene_set(*state);
	for (size_t have = 4; have <= 24; have++) {
		for (unsigned int said = 0; said <= 24; said++) {
			struct frame_spec spec = spec_up(20);

			put16(wrapped + 2, (uint16_t)said);
			spec.len = have;
			if (4 + said <= have && have <= 4 + (said + 3) / 4 * 4)
				continue;
			expect(*state, &spec, XDP_DROP, PC_REASON_DROP_LENGTH);
			drops++;
		}
	}
	/* Too short for a header, with Ethernet padding that could be taken for one. */
	for (size_t have = 1; have < 4; have++) {
		struct frame_spec spec = spec_up(20);

		spec.len = have;
		spec.trailer = 18 - have;
		expect(*state, &spec, XDP_DROP, PC_REASON_DROP_LENGTH);
	}
	for (unsigned int said = 0x7ffc; said <= 0xffff; said += 0x7fff / 3) {
		struct frame_spec spec = spec_up(20);

		put16(wrapped + 2, (uint16_t)said);
		expect(*state, &spec, XDP_DROP, PC_REASON_DROP_LENGTH);
		drops++;
	}
	expect_end(*state, PC_REASON_DROP_LENGTH, drops + 3);
}

/* IP and UDP disagree about the length, or the frame is cut. */
static void test_inconsistent_length(void **state)
{
	static const int offs[] = { -2000, -30, -9, -1, 1, 2, 100, 30000 };
	struct frame_spec spec;
	struct frame frame;

	scene_set(*state);
	for (size_t i = 0; i < RIG_COUNT(offs); i++) {
		spec = spec_up(40);
		spec.udp_len_off = offs[i];
		expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
		spec = spec_down(40);
		spec.ip_len_off = offs[i];
		expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	}
	/* Both agree, with a datagram of less than a header, or more than the frame. */
	spec = spec_down(40);
	spec.ip_len_off = spec.udp_len_off = -41;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	spec.ip_len_off = spec.udp_len_off = 1;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	spec.ip_len_off = spec.udp_len_off = 0x8000;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	spec = spec_down(40);
	frame_build(&frame, &spec);
	frame.len--;
	expect_frame(*state, &frame, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	expect_end(*state, PC_REASON_PASS_UNUSUAL, 2 * RIG_COUNT(offs) + 4);
}

static void test_options_and_fragments(void **state)
{
	struct frame_spec spec;

	scene_set(*state);
	for (unsigned int words = 1; words <= 10; words++) {
		spec = spec_up(40);
		spec.option_words = words;
		expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
		spec = spec_down(40);
		spec.option_words = words;
		spec.vlans = words % 3;
		expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
		spec.to.port = 53;
		expect(*state, &spec, XDP_PASS, RIG_NO_REASON);
	}
	spec = spec_up(40);
	spec.frag = FRAME_MF;
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	/* Later fragments have no port: what lies where it would be means nothing. */
	spec.frag = 5;
	expect(*state, &spec, XDP_PASS, RIG_NO_REASON);
	spec.frag = FRAME_MF | 0x1000;
	expect(*state, &spec, XDP_PASS, RIG_NO_REASON);
	expect_end(*state, PC_REASON_PASS_UNUSUAL, 21);
}

static void test_bad_ip_headers(void **state)
{
	struct frame_spec spec = spec_down(40);
	struct frame frame;

	scene_set(*state);
	for (unsigned int first = 0; first < 256; first++) {
		if (first >= 0x45 && first <= 0x4f)
			continue;
		frame_build(&frame, &spec);
		frame.bytes[14] = (uint8_t)first;
		expect_frame(*state, &frame, XDP_PASS, RIG_NO_REASON);
	}
	/* Options that reach beyond the frame. */
	spec.len = 0;
	frame_build(&frame, &spec);
	frame.bytes[14] = 0x4f;
	expect_frame(*state, &frame, XDP_PASS, RIG_NO_REASON);
	expect_end(*state, RIG_NO_REASON, 0);
}

static void test_expired(void **state)
{
	struct scene_flow flows[] = { scene_up(), scene_down(), scene_hairpin_up(),
				      scene_hairpin_down() };
	struct frame_spec spec = spec_up(20);

	scene_nexthops(*state);
	for (size_t i = 0; i < RIG_COUNT(flows); i++) {
		/* A second is more than the coarse clock can lag. */
		flows[i].expires_ns = i == 2 ? 0 : rig_now() - NSEC;
		scene_add(*state, &flows[i]);
	}
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_EXPIRED);
	spec = spec_down(20);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_EXPIRED);
	spec = spec_hairpin(20);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_EXPIRED);
	expect_end(*state, PC_REASON_PASS_EXPIRED, 3);
}

static void test_ttl(void **state)
{
	scene_set(*state);
	for (uint8_t ttl = 0; ttl <= 1; ttl++) {
		struct frame_spec spec = spec_up(20);

		spec.ttl = ttl;
		expect(*state, &spec, XDP_DROP, PC_REASON_DROP_TTL);
		spec = spec_hairpin(20);
		spec.ttl = ttl;
		expect(*state, &spec, XDP_DROP, PC_REASON_DROP_TTL);
		spec = spec_down(20);
		spec.ttl = ttl;
		expect(*state, &spec, XDP_DROP, PC_REASON_DROP_TTL);
	}
	expect_end(*state, PC_REASON_DROP_TTL, 6);
}

static void test_mtu(void **state)
{
	struct frame_spec spec;

	scene_set(*state);
	spec = spec_up(RIG_MTU - 27);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_MTU);
	spec = spec_down(RIG_MTU - 31);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_MTU);
	spec = spec_hairpin(RIG_MTU - 31);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_MTU);
	expect_end(*state, PC_REASON_PASS_MTU, 3);
}

static void expect_nexthop(struct rig *rig, uint64_t *n)
{
	struct frame_spec spec = spec_up(20);

	expect(rig, &spec, XDP_PASS, PC_REASON_PASS_NEXTHOP);
	spec = spec_hairpin(20);
	expect(rig, &spec, XDP_PASS, PC_REASON_PASS_NEXTHOP);
	spec = spec_down(20);
	expect(rig, &spec, XDP_PASS, PC_REASON_PASS_NEXTHOP);
	*n += 3;
}

static void put_nexthops(struct rig *rig, struct pc_nexthop_slot slot)
{
	for (uint32_t i = SCENE_NH_CLIENT; i <= SCENE_NH_OTHER; i++)
		assert_int_equal(bpf_map_update_elem(rig->nexthop_fd, &i, &slot, BPF_ANY), 0);
}

/* Not resolved, of an impossible link length, or without a port to leave by. */
static void test_nexthop(void **state)
{
	struct pc_nexthop_slot slot;
	struct rig *rig = *state;
	uint64_t n = 0;

	scene_set(rig);
	slot = rig->nexthops[SCENE_NH_PEER];
	for (uint16_t len = 0; len <= PC_L2_MAX; len++) {
		if (len == 14 || len == 18 || len == 22)
			continue;
		slot.copy[slot.active].l2_len = len;
		put_nexthops(rig, slot);
		expect_nexthop(rig, &n);
	}
	slot.copy[slot.active].l2_len = 14;
	slot.copy[slot.active].ifindex = RIG_OTHER;
	put_nexthops(rig, slot);
	expect_nexthop(rig, &n);
	slot.copy[slot.active].txport = PC_MAX_TXPORTS;
	put_nexthops(rig, slot);
	expect_nexthop(rig, &n);
	/* The active copy is what counts, whatever the other holds. */
	slot = rig->nexthops[SCENE_NH_PEER];
	slot.active = !slot.active;
	memset(&slot.copy[slot.active], 0, sizeof(slot.copy[0]));
	put_nexthops(rig, slot);
	expect_nexthop(rig, &n);
	expect_end(rig, PC_REASON_PASS_NEXTHOP, n);
}

/* Entries the daemon never writes must do no harm. */
static void test_bad_flows(void **state)
{
	struct scene_flow up = scene_up(), down = scene_down();
	struct frame_spec spec = spec_up(20);
	uint64_t unusual = 0;

	scene_set(*state);
	up.slot = RIG_SESSIONS;
	down.slot = 0xffffffff;
	scene_add(*state, &up);
	scene_add(*state, &down);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	spec = spec_down(20);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	unusual += 2;

	up = scene_up();
	up.flags = 0;
	down = scene_down();
	down.flags = PC_FLOW_UP;
	scene_add(*state, &up);
	scene_add(*state, &down);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	down.flags = 0;
	down.channel_out = 0;
	scene_add(*state, &down);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	spec = spec_up(20);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	unusual += 3;
	expect_end(*state, PC_REASON_PASS_UNUSUAL, unusual);
}

static void test_nexthop_out_of_range(void **state)
{
	struct scene_flow up = scene_up();
	struct frame_spec spec = spec_up(20);

	scene_set(*state);
	up.nexthop = PC_MAX_NEXTHOPS;
	scene_add(*state, &up);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NEXTHOP);
	up.nexthop = 0xffffffff;
	scene_add(*state, &up);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NEXTHOP);
	expect_end(*state, PC_REASON_PASS_NEXTHOP, 2);
}

/* The other client has no channel to the first: user space does it. */
static void test_hairpin_miss(void **state)
{
	struct scene_flow up = scene_hairpin_up();
	struct frame_spec spec = spec_hairpin(20);

	scene_nexthops(*state);
	scene_add(*state, &up);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	expect_end(*state, PC_REASON_PASS_NO_FLOW, 1);
}

/* What only another client of this node can have sent, but coming from outside. */
static void test_forged(void **state)
{
	struct frame_spec spec = scene_spec(scene_relayed, scene_other_relayed, data, 20);

	scene_set(*state);
	expect(*state, &spec, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	expect_end(*state, PC_REASON_PASS_NO_FLOW, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_foreign_frames),
		rig_test(test_foreign_ports),
		rig_test(test_control),
		rig_test(test_no_flow),
		rig_test(test_channel_data_length),
		rig_test(test_inconsistent_length),
		rig_test(test_options_and_fragments),
		rig_test(test_bad_ip_headers),
		rig_test(test_expired),
		rig_test(test_ttl),
		rig_test(test_mtu),
		rig_test(test_nexthop),
		rig_test(test_bad_flows),
		rig_test(test_nexthop_out_of_range),
		rig_test(test_hairpin_miss),
		rig_test(test_forged),
	};

	rig_main(tests);
}
