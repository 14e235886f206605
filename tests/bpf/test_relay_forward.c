/* SPDX-License-Identifier: MIT */
/*
 * What the XDP relay sends: verdict, every byte, counters. The expected frame is built from
 * scratch with its checksums computed in full.
 */
#include "scene.h"

struct pass {
	struct frame_spec in; /* without payload */
	size_t len;
	size_t pad;
	uint8_t pad_byte;
	unsigned int vlans_out;
	int verdict;
};

static uint8_t data[SCENE_PAYLOAD_MAX];
static uint8_t wrapped[SCENE_PAYLOAD_MAX + 8];

static struct pass pass_plain(size_t len)
{
	struct pass pass = { .len = len, .verdict = XDP_TX };

	pass.in = scene_spec(scene_client, scene_server, NULL, 0);
	frame_fill(data, sizeof(data), (uint32_t)len);
	return pass;
}

/* Client to peer. */
static void run_up(struct rig *rig, const struct pass *pass)
{
	struct frame_spec in = pass->in, out;
	struct frame frame, got;

	in.from = scene_client;
	in.to = scene_server;
	in.payload = wrapped;
	in.len = frame_channel_data(wrapped, SCENE_CHANNEL, data, pass->len, pass->pad,
				    pass->pad_byte);
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), pass->verdict);
	out = scene_sent(&in, SCENE_NH_PEER, scene_relayed, scene_peer, data, pass->len);
	out.vlans = pass->vlans_out;
	scene_expect_frame(&got, &out);
}

/* Peer to client. */
static void run_down(struct rig *rig, const struct pass *pass)
{
	struct frame_spec in = pass->in, out;
	struct frame frame, got;

	in.from = scene_peer;
	in.to = scene_relayed;
	in.payload = data;
	in.len = pass->len;
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), pass->verdict);
	frame_channel_data(wrapped, SCENE_CHANNEL, data, pass->len, 0, 0);
	out = scene_sent(&in, SCENE_NH_CLIENT, scene_server, scene_client, wrapped, 4 + pass->len);
	out.vlans = pass->vlans_out;
	scene_expect_frame(&got, &out);
}

/* Client to the other client. */
static void run_hairpin(struct rig *rig, const struct pass *pass)
{
	struct frame_spec in = pass->in, out;
	struct frame frame, got;

	in.from = scene_client;
	in.to = scene_server;
	in.payload = wrapped;
	in.len = frame_channel_data(wrapped, SCENE_HAIRPIN, data, pass->len, pass->pad,
				    pass->pad_byte);
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), pass->verdict);
	frame_channel_data(wrapped, SCENE_OTHER_CHANNEL, data, pass->len, 0, 0);
	out = scene_sent(&in, SCENE_NH_OTHER, scene_server, scene_other, wrapped, 4 + pass->len);
	out.vlans = pass->vlans_out;
	scene_expect_frame(&got, &out);
}

static void expect_dir(struct pc_dir_count got, uint64_t packets, uint64_t payload, uint64_t wire)
{
	assert_int_equal(got.packets, packets);
	assert_int_equal(got.payload_bytes, payload);
	assert_int_equal(got.wire_bytes, wire);
}

static void test_up(void **state)
{
	struct pass pass = pass_plain(101);
	struct pc_count count;

	scene_set(*state);
	run_up(*state, &pass);
	count = rig_count(*state, SCENE_SLOT);
	expect_dir(count.up, 1, 101, 129);
	expect_dir(count.down, 0, 0, 0);
	rig_expect_reasons(*state, PC_REASON_TX, 1);
}

static void test_down(void **state)
{
	struct pass pass = pass_plain(101);
	struct pc_count count;

	scene_set(*state);
	run_down(*state, &pass);
	count = rig_count(*state, SCENE_SLOT);
	expect_dir(count.up, 0, 0, 0);
	expect_dir(count.down, 1, 101, 133);
	rig_expect_reasons(*state, PC_REASON_TX, 1);
}

/* The faster table is enough, and only for the very key. */
static void test_hot(void **state)
{
	struct rig *rig = *state;
	struct frame_spec in = scene_spec(scene_client, scene_server, wrapped, 0);
	struct pass pass = pass_plain(160);
	struct frame frame, got;

	scene_set(rig);
	for (unsigned int i = 0; i < rig->n_flows; i++)
		if (!rig->flows[i].six)
			assert_int_equal(bpf_map_delete_elem(rig->flow_fd[0], &rig->flows[i].key),
					 0);
	if (!rig_cold) {
		run_up(rig, &pass);
		run_down(rig, &pass);
		run_hairpin(rig, &pass);
		rig_expect_reasons(rig, PC_REASON_TX, 3);
	}
	in.len = frame_channel_data(wrapped, SCENE_CHANNEL + 1, data, 160, 0, 0);
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_PASS);
	in.from.port++;
	in.len = frame_channel_data(wrapped, SCENE_CHANNEL, data, 160, 0, 0);
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_PASS);
	in.from = scene_client;
	in.from.ip++;
	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_PASS);
	assert_int_equal(rig_reason(rig, PC_REASON_PASS_NO_FLOW), 3);
}

/* Once through the relay, counted for both sessions: plain UDP in the middle, ChannelData out. */
static void test_hairpin(void **state)
{
	struct pass pass = pass_plain(77);
	struct pc_count count;

	scene_set(*state);
	run_hairpin(*state, &pass);
	count = rig_count(*state, SCENE_SLOT);
	expect_dir(count.up, 1, 77, 77 + 28);
	expect_dir(count.down, 0, 0, 0);
	count = rig_count(*state, SCENE_SLOT_OTHER);
	expect_dir(count.up, 0, 0, 0);
	expect_dir(count.down, 1, 77, 77 + 32);
	rig_expect_reasons(*state, PC_REASON_TX, 1);
}

/* Every length up to 40, odd ones too, with every padding a client may send, zero or not. */
static void test_lengths_and_padding(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x01, 0xff };
	uint64_t packets = 0;

	scene_set(*state);
	for (size_t len = 0; len <= 40; len++) {
		struct pass pass = pass_plain(len);
		size_t pads = (4 - len % 4) % 4;

		run_down(*state, &pass);
		for (pass.pad = 0; pass.pad <= pads; pass.pad++) {
			for (size_t i = 0; i < sizeof(bytes); i++) {
				pass.pad_byte = bytes[i];
				run_up(*state, &pass);
				run_hairpin(*state, &pass);
				packets++;
			}
		}
	}
	assert_int_equal(rig_count(*state, SCENE_SLOT).up.packets, 2 * packets);
	rig_expect_reasons(*state, PC_REASON_TX, 2 * packets + 41);
}

static void test_large(void **state)
{
	struct pass pass = pass_plain(RIG_MTU - 28);

	/* The largest that fits each way. */
	scene_set(*state);
	run_up(*state, &pass);
	pass.len = RIG_MTU - 32;
	run_down(*state, &pass);
	run_hairpin(*state, &pass);
}

static void test_no_checksum(void **state)
{
	struct pass pass = pass_plain(33);

	scene_set(*state);
	pass.in.no_checksum = true;
	run_down(*state, &pass);
	pass.pad = 3;
	pass.pad_byte = 0xa5;
	run_up(*state, &pass);
	run_hairpin(*state, &pass);
}

/* Payloads for which the sum of what leaves is zero: it is sent as 0xffff, never as 0. */
static void test_checksum_of_zero(void **state)
{
	struct pass pass = pass_plain(32);
	struct frame frame;
	struct frame_spec out;

	scene_set(*state);
	memset(data, 0, 2);
	out = scene_sent(&pass.in, SCENE_NH_PEER, scene_relayed, scene_peer, data, pass.len);
	frame_build(&frame, &out);
	memcpy(data, frame.bytes + 40, 2);
	frame_build(&frame, &out);
	assert_int_equal(get16(frame.bytes + 40), 0xffff);
	run_up(*state, &pass);

	memset(data, 0, 2);
	frame_channel_data(wrapped, SCENE_CHANNEL, data, pass.len, 0, 0);
	out = scene_sent(&pass.in, SCENE_NH_CLIENT, scene_server, scene_client, wrapped, 36);
	frame_build(&frame, &out);
	memcpy(data, frame.bytes + 40, 2);
	run_down(*state, &pass);
}

/* What arrives as 0xffff is a checksum like any other. */
static void test_checksum_of_ffff(void **state)
{
	struct pass pass = pass_plain(32);
	struct frame_spec in = pass.in;
	struct frame frame;

	scene_set(*state);
	memset(data, 0, 2);
	in.from = scene_peer;
	in.to = scene_relayed;
	in.payload = data;
	in.len = pass.len;
	frame_build(&frame, &in);
	memcpy(data, frame.bytes + 40, 2);
	frame_build(&frame, &in);
	assert_int_equal(get16(frame.bytes + 40), 0xffff);
	run_down(*state, &pass);
}

/* A damaged packet stays damaged by as much: the receiver's checksum catches it. */
static void test_wrong_checksums_stay_wrong(void **state)
{
	struct pass pass = pass_plain(32);
	struct frame_spec in = pass.in, out;
	struct frame frame, got, want;

	scene_set(*state);
	in.from = scene_peer;
	in.to = scene_relayed;
	in.payload = data;
	in.len = pass.len;
	frame_build(&frame, &in);
	frame.bytes[14 + 28 + 7] ^= 0x10;
	frame.bytes[14 + 5] ^= 0x01;
	assert_int_equal(rig_run(*state, &frame, &got), XDP_TX);
	frame_channel_data(wrapped, SCENE_CHANNEL, data, pass.len, 0, 0);
	out = scene_sent(&in, SCENE_NH_CLIENT, scene_server, scene_client, wrapped, 36);
	frame_build(&want, &out);
	want.bytes[14 + 32 + 7] ^= 0x10;
	want.bytes[14 + 5] ^= 0x01;
	scene_expect_same(&got, &want);
}

static void test_tags(void **state)
{
	for (unsigned int in = 0; in <= 2; in++) {
		for (unsigned int out = 0; out <= 2; out++) {
			struct pass pass = pass_plain(50 + in + 3 * out);

			if (!in && !out)
				scene_set(*state);
			rig_set_nexthop(*state, SCENE_NH_CLIENT, RIG_LO, RIG_MTU, out);
			rig_set_nexthop(*state, SCENE_NH_PEER, RIG_LO, RIG_MTU, out);
			rig_set_nexthop(*state, SCENE_NH_OTHER, RIG_LO, RIG_MTU, out);
			pass.in.vlans = in;
			pass.vlans_out = out;
			run_up(*state, &pass);
			run_down(*state, &pass);
			run_hairpin(*state, &pass);
			pass.pad = (4 - pass.len % 4) % 4;
			run_up(*state, &pass);
		}
	}
	rig_expect_reasons(*state, PC_REASON_TX, 36);
}

static void test_ip_fields(void **state)
{
	static const uint16_t frags[] = { 0, FRAME_DF };

	scene_set(*state);
	for (int tos = 0; tos < 256; tos += 17) {
		for (unsigned int ttl = 2; ttl < 256; ttl += 11) {
			struct pass pass = pass_plain(20);

			pass.in.tos = (uint8_t)tos;
			pass.in.ttl = (uint8_t)ttl;
			pass.in.id = (uint16_t)(ttl * 257);
			pass.in.frag = frags[ttl & 1];
			run_up(*state, &pass);
			run_down(*state, &pass);
			run_hairpin(*state, &pass);
		}
	}
}

/* Short frames come padded to 60 bytes by Ethernet: not relayed, not counted. */
static void test_ethernet_padding(void **state)
{
	struct pc_count count;

	scene_set(*state);
	for (size_t len = 0; len <= 14; len++) {
		struct pass pass = pass_plain(len);

		pass.in.trailer = 18 - len;
		run_down(*state, &pass);
		pass.in.trailer = 14 - len;
		run_up(*state, &pass);
	}
	count = rig_count(*state, SCENE_SLOT);
	expect_dir(count.up, 15, 105, 105 + 15 * 28);
	expect_dir(count.down, 15, 105, 105 + 15 * 32);
}

static void test_redirect(void **state)
{
	struct pass pass = pass_plain(60);
	struct rig *rig = *state;

	scene_set(rig);
	rig_set_txport(rig, RIG_LO);
	rig_set_nexthop(rig, SCENE_NH_CLIENT, RIG_OTHER, RIG_MTU, 0);
	rig_set_nexthop(rig, SCENE_NH_PEER, RIG_OTHER, RIG_MTU, 1);
	rig_set_nexthop(rig, SCENE_NH_OTHER, RIG_OTHER, RIG_MTU, 2);
	pass.verdict = XDP_REDIRECT;
	run_down(rig, &pass);
	pass.vlans_out = 1;
	run_up(rig, &pass);
	pass.vlans_out = 2;
	run_hairpin(rig, &pass);
	rig_expect_reasons(rig, PC_REASON_REDIRECT, 3);
	assert_int_equal(rig_count(rig, SCENE_SLOT).up.packets, 2);
	assert_int_equal(rig_count(rig, SCENE_SLOT).down.packets, 1);
	assert_int_equal(rig_count(rig, SCENE_SLOT_OTHER).down.packets, 1);
}

/* What a loop that adds a ChannelData header in each run has come to after @runs of them. */
static void expect_nested(const struct frame *got, const struct frame_spec *in, unsigned int runs)
{
	static uint8_t nested[FRAME_MAX];
	struct frame_spec out;
	size_t len = 4 * runs + in->len;

	for (unsigned int i = 0; i < runs; i++) {
		put16(nested + 4 * i, SCENE_CHANNEL);
		put16(nested + 4 * i + 2, (uint16_t)(len - 4 * (i + 1)));
	}
	memcpy(nested + 4 * runs, in->payload, in->len);
	out = scene_sent(in, SCENE_NH_CLIENT, in->from, in->to, nested, len);
	out.ttl = (uint8_t)(in->ttl - runs);
	scene_expect_frame(got, &out);
}

/*
 * Each run takes four bytes in front; when there are none, the payload moves behind, byte for byte
 * the same, until the MTU ends it.
 */
static void test_headroom(void **state)
{
	static const size_t sizes[] = { 0, 1, 20, 1199 };
	struct scene_flow loop = scene_down();
	struct rig *rig = *state;
	struct frame frame, got;

	frame_fill(data, sizeof(data), 3);
	scene_nexthops(rig);
	loop.new_from = scene_peer;
	loop.new_to = scene_relayed;
	scene_add(rig, &loop);
	for (size_t i = 0; i < RIG_COUNT(sizes); i++) {
		struct frame_spec in = scene_spec(scene_peer, scene_relayed, data, sizes[i]);

		in.ttl = 255;
		frame_build(&frame, &in);
		for (unsigned int runs = 40; runs <= (sizes[i] > 1000 ? 67 : 200); runs += 9) {
			assert_int_equal(rig_run_times(rig, &frame, &got, runs), XDP_TX);
			expect_nested(&got, &in, runs);
		}
	}
	assert_int_equal(rig_reason(rig, PC_REASON_PASS_HEADROOM), 0);
}

/* Trailing bytes of the link are not moved along. */
static void test_headroom_trailer(void **state)
{
	struct scene_flow loop = scene_down();
	struct frame_spec in = scene_spec(scene_peer, scene_relayed, data, 7);
	struct rig *rig = *state;
	struct frame frame, got;

	scene_nexthops(rig);
	loop.new_from = scene_peer;
	loop.new_to = scene_relayed;
	scene_add(rig, &loop);
	rig_set_nexthop(rig, SCENE_NH_CLIENT, RIG_LO, RIG_MTU, 2);
	in.ttl = 255;
	in.trailer = 11;
	frame_build(&frame, &in);
	for (unsigned int runs = 1; runs <= 100; runs++) {
		struct frame_spec out = in;

		assert_int_equal(rig_run_times(rig, &frame, &got, runs), XDP_TX);
		if (runs > 1)
			continue;
		out = scene_sent(&in, SCENE_NH_CLIENT, in.from, in.to, wrapped,
				 frame_channel_data(wrapped, SCENE_CHANNEL, data, 7, 0, 0));
		out.vlans = 2;
		scene_expect_frame(&got, &out);
	}
}

/* More than one buffer: its headers alone say nothing of what lies in the others. */
static void test_buffers(void **state)
{
	struct frame_spec in = scene_spec(scene_peer, scene_relayed, data, SCENE_PAYLOAD_MAX);
	static uint8_t big[9000], out[9000];
	struct rig *rig = *state;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = big, .data_size_in = sizeof(big),
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);
	struct frame frame;

	/* So drivers that would make more than one do not take it, or make one of them. */
	assert_int_equal(bpf_program__flags(rig->prog) & BPF_F_XDP_HAS_FRAGS, 0);
	scene_set(rig);
	frame_build(&frame, &in);
	memcpy(big, frame.bytes, frame.len);
	put16(big + 16, sizeof(big) - 14);
	put16(big + 38, sizeof(big) - 34);
	assert_int_equal(bpf_prog_test_run_opts(rig->prog_fd, &opts), 0);
	assert_int_equal(opts.retval, XDP_PASS);
	assert_int_equal(opts.data_size_out, sizeof(big));
	assert_memory_equal(big, out, sizeof(big));
	rig_expect_reasons(rig, PC_REASON_PASS_UNUSUAL, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_up),
		rig_test(test_down),
		rig_test(test_hot),
		rig_test(test_hairpin),
		rig_test(test_lengths_and_padding),
		rig_test(test_large),
		rig_test(test_no_checksum),
		rig_test(test_checksum_of_zero),
		rig_test(test_checksum_of_ffff),
		rig_test(test_wrong_checksums_stay_wrong),
		rig_test(test_tags),
		rig_test(test_ip_fields),
		rig_test(test_ethernet_padding),
		rig_test(test_redirect),
		rig_test(test_headroom),
		rig_test(test_headroom_trailer),
		rig_test(test_buffers),
	};

	rig_main(tests);
}
