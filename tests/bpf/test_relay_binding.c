/* SPDX-License-Identifier: MIT */
/*
 * STUN Binding requests answered by the XDP relay, byte for byte as the codec of user space writes
 * the answer; and those that are left to user space.
 */
#include "relay/stun.h"
#include "scene.h"

static const uint8_t txid[12] = { 0xb7, 0xe7, 0xa7, 1,	  0xbc, 0x34,
				  0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae };

/* A request; @software: length of its text, or -1 for none. */
struct ask {
	struct frame_spec spec;
	uint8_t bytes[256];
	int software;
	bool fingerprint;
};

static void ask_make(struct ask *ask, bool six, int software, bool fingerprint)
{
	char text[128];
	struct pc_stun_writer sw;

	memset(text, 'x', sizeof(text));
	ask->software = software;
	ask->fingerprint = fingerprint;
	pc_stun_begin(&sw, ask->bytes, sizeof(ask->bytes), PC_STUN_BINDING, PC_STUN_REQUEST, txid);
	if (software >= 0)
		pc_stun_put(&sw, PC_ATTR_SOFTWARE, text, (size_t)software);
	if (fingerprint)
		pc_stun_put_fingerprint(&sw);
	ask->spec = scene_spec(scene_family(scene_client, six), scene_family(scene_server, six),
			       ask->bytes, pc_stun_end(&sw));
}

static size_t answer(const struct ask *ask, uint8_t *at, size_t size)
{
	struct pc_addr client = { .ip = { .family = ask->spec.from.six ? 6 : 4 },
				  .port = ask->spec.from.port };
	struct pc_stun_writer sw;

	frame_addr(client.ip.b, ask->spec.from);
	pc_stun_begin(&sw, at, size, PC_STUN_BINDING, PC_STUN_SUCCESS, txid);
	pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_MAPPED_ADDRESS, &client);
	if (ask->fingerprint)
		pc_stun_put_fingerprint(&sw);
	return pc_stun_end(&sw);
}

/* What must come back: to the sender, by the way it came. @got: gives the IPv4 id. */
static void expect_answer(const struct ask *ask, const struct frame *got)
{
	struct frame_spec spec = ask->spec;
	uint8_t reply[128], mac[6];
	struct frame want;

	spec.from = ask->spec.to;
	spec.to = ask->spec.from;
	spec.payload = reply;
	spec.len = answer(ask, reply, sizeof(reply));
	spec.tos = 0;
	spec.ttl = 64;
	spec.frag = 0;
	spec.flow_label = 0;
	spec.trailer = 0;
	spec.id = spec.from.six ? 0 : get16(got->bytes + 14 + 4 * spec.vlans + 4);
	frame_build(&want, &spec);
	memcpy(mac, want.bytes, 6);
	memcpy(want.bytes, want.bytes + 6, 6);
	memcpy(want.bytes + 6, mac, 6);
	scene_expect_same(got, &want);
}

static void expect_answered(struct rig *rig, const struct ask *ask)
{
	uint64_t before = rig_reason(rig, PC_REASON_BINDING);
	struct frame frame, got;

	frame_build(&frame, &ask->spec);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_TX);
	expect_answer(ask, &got);
	assert_int_equal(rig_reason(rig, PC_REASON_BINDING), before + 1);
}

static void expect_passed(struct rig *rig, const struct frame *frame, int reason)
{
	uint64_t before = rig_reason(rig, (uint32_t)reason);
	struct frame got;

	assert_int_equal(rig_run(rig, frame, &got), XDP_PASS);
	scene_expect_same(&got, frame);
	assert_int_equal(rig_reason(rig, (uint32_t)reason), before + 1);
}

static void test_answers(void **state)
{
	static const int texts[] = { -1, 0, 1, 2, 3, 4, 17, 63, 64 };
	struct ask ask;

	for (int six = 0; six < 2; six++) {
		for (size_t i = 0; i < RIG_COUNT(texts); i++) {
			for (int print = 0; print < 2; print++) {
				ask_make(&ask, six, texts[i], print);
				ask.spec.vlans = (unsigned int)i % 3;
				ask.spec.flow_label = 0x12345;
				expect_answered(*state, &ask);
				ask.spec.to.port = RIG_SECOND_PORT;
				ask.spec.ttl = 1;
				expect_answered(*state, &ask);
			}
		}
	}
	rig_expect_nothing_metered(*state);
}

/* A frame with Ethernet padding, a request without a checksum, a damaged one. */
static void test_odd_requests(void **state)
{
	struct frame frame, got;
	struct ask ask;
	uint16_t sum;

	ask_make(&ask, false, -1, false);
	ask.spec.trailer = 40;
	expect_answered(*state, &ask);
	ask.spec.trailer = 0;
	ask.spec.no_checksum = true;
	expect_answered(*state, &ask);
	ask_make(&ask, true, -1, false);
	ask.spec.no_checksum = true;
	frame_build(&frame, &ask.spec);
	expect_passed(*state, &frame, PC_REASON_PASS_CHECKSUM);

	ask_make(&ask, false, -1, false);
	frame_build(&frame, &ask.spec);
	frame.bytes[14 + 28 + 10] ^= 4;
	sum = frame_udp_sum(frame.bytes + 14, frame.bytes + 34, get16(frame.bytes + 38));
	assert_int_equal(rig_run(*state, &frame, &got), XDP_TX);
	assert_int_equal(frame_udp_sum(got.bytes + 14, got.bytes + 34, get16(got.bytes + 38)), sum);
	assert_int_not_equal(sum, 0xffff);
}

/* Every bit of the type, the length and the cookie, and of a fingerprint. */
static void test_bits(void **state)
{
	struct frame frame;
	struct ask ask;

	ask_make(&ask, false, -1, true);
	for (unsigned int bit = 0; bit < 8 * ask.spec.len; bit++) {
		uint8_t *msg = frame.bytes + 14 + 28;

		if (bit >= 64 && bit < 160)
			continue; /* the transaction id may be anything, but is fingerprinted */
		frame_build(&frame, &ask.spec);
		msg[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (msg[0] >= 0x40 && msg[0] <= 0x7f)
			continue;
		expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
	}
	frame_build(&frame, &ask.spec);
	frame.bytes[14 + 28 + 9] ^= 1;
	expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
}

static void test_left_to_user_space(void **state)
{
	struct pc_stun_writer sw;
	struct frame frame;
	struct ask ask;

	/* Longer text than is looked at. */
	ask_make(&ask, false, 65, true);
	frame_build(&frame, &ask.spec);
	expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
	/* Another attribute, alone and behind SOFTWARE. */
	ask_make(&ask, true, 4, false);
	put16(ask.bytes + 20, 0x0003);
	frame_build(&frame, &ask.spec);
	expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
	pc_stun_begin(&sw, ask.bytes, sizeof(ask.bytes), PC_STUN_BINDING, PC_STUN_REQUEST, txid);
	pc_stun_put(&sw, PC_ATTR_SOFTWARE, "abcd", 4);
	pc_stun_put(&sw, PC_ATTR_USERNAME, "abcd", 4);
	ask.spec.len = pc_stun_end(&sw);
	frame_build(&frame, &ask.spec);
	expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
	/* Something behind the fingerprint. */
	pc_stun_begin(&sw, ask.bytes, sizeof(ask.bytes), PC_STUN_BINDING, PC_STUN_REQUEST, txid);
	pc_stun_put_fingerprint(&sw);
	pc_stun_put(&sw, PC_ATTR_SOFTWARE, "abcd", 4);
	ask.spec.len = pc_stun_end(&sw);
	frame_build(&frame, &ask.spec);
	expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
	/* To a group of hosts. */
	ask_make(&ask, false, -1, false);
	frame_build(&frame, &ask.spec);
	frame.bytes[0] |= 1;
	expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
}

/* Also while the daemon is away; what it would have to answer is dropped. */
static void test_away(void **state)
{
	struct frame frame, got;
	struct ask ask;

	rig_set_ctl(*state,
		    (struct pc_ctl){ .heartbeat_ns = rig_now() - PC_HEARTBEAT_STALE_NS - NSEC });
	ask_make(&ask, false, -1, false);
	expect_answered(*state, &ask);
	ask_make(&ask, false, 65, false);
	frame_build(&frame, &ask.spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_DROP);
	assert_int_equal(rig_reason(*state, PC_REASON_DROP_AWAY), 1);
}

static int addrs_setup(void **state)
{
	struct rig_rodata rodata = rig_constants();

	scene_map(rodata.service_addrs[0], scene_server);
	scene_map(rodata.service_addrs[1], scene_six(scene_server));
	*state = rig_new_with("relay.bpf.o", rodata);
	return 0;
}

/* Where the addresses of the services are known, others are not spoken for. */
static void test_addresses(void **state)
{
	struct frame frame;
	struct ask ask;

	rig_set_ctl(*state, (struct pc_ctl){
				    .heartbeat_ns = rig_now() - PC_HEARTBEAT_STALE_NS - NSEC,
				    .limit_host_interval_ns = 4000000000u,
			    });
	for (int six = 0; six < 2; six++) {
		ask_make(&ask, six, -1, false);
		expect_answered(*state, &ask);
		ask.spec.to.ip++;
		frame_build(&frame, &ask.spec);
		expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
		expect_passed(*state, &frame, PC_REASON_PASS_CONTROL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_answers),
		rig_test(test_odd_requests),
		rig_test(test_bits),
		rig_test(test_left_to_user_space),
		rig_test(test_away),
		cmocka_unit_test_setup_teardown(test_addresses, addrs_setup, rig_teardown),
	};

	rig_main(tests);
}
