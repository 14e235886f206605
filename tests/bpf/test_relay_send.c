/* SPDX-License-Identifier: MIT */
/*
 * Send and Data indications through the XDP relay: what it takes, what it leaves to user space, and
 * that user space reads what it writes. Every mix of families is among the random packets.
 */
#include "relay/stun.h"
#include "scene.h"

static uint8_t data[FRAME_MAX];
static uint8_t message[FRAME_MAX];
/* The family of all that plays. */
static bool six;

static struct endpoint end(struct endpoint end)
{
	return scene_family(end, six);
}

static size_t headers(void)
{
	return six ? 48 : 28;
}

/* In front of the data of an indication. */
static size_t front(void)
{
	return six ? 48 : 36;
}

static void place(struct rig *rig)
{
	struct scene_perm perm = {
		.client = end(scene_client),
		.server = end(scene_server),
		.relayed = end(scene_relayed),
		.peer = end(scene_peer),
		.slot = SCENE_SLOT,
		.to_client = SCENE_NH_CLIENT,
		.to_peer = SCENE_NH_PEER,
	};

	rig_set_nexthop6(rig, SCENE_NH_CLIENT, RIG_LO, RIG_MTU, 0, six);
	rig_set_nexthop6(rig, SCENE_NH_PEER, RIG_LO, RIG_MTU, 0, six);
	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = rig_now() + 3600 * NSEC });
	scene_add_perm(rig, &perm);
	scene_add_port(rig, end(scene_relayed));
	frame_fill(data, sizeof(data), 5);
}

static void set(struct rig *rig)
{
	place(rig);
	rig_know(rig);
}

static struct frame_indication indication(size_t len)
{
	struct frame_indication ind = {
		.type = 0x0016, .peer = end(scene_peer), .data = data, .len = len
	};

	frame_fill(ind.txid, sizeof(ind.txid), (uint32_t)len + 1);
	return ind;
}

static struct frame_spec spec_send(const struct frame_indication *ind)
{
	return scene_spec(end(scene_client), end(scene_server), message,
			  frame_indication(message, ind));
}

static void expect_sent(struct rig *rig, const struct frame_indication *ind)
{
	struct frame_spec in = spec_send(ind), out;
	struct frame frame, got;

	frame_build(&frame, &in);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_TX);
	out = scene_sent(&in, SCENE_NH_PEER, end(scene_relayed), ind->peer, data, ind->len);
	scene_expect_frame(&got, &out);
}

static void expect_passed(struct rig *rig, const struct frame_spec *spec)
{
	uint64_t before = rig_reason(rig, PC_REASON_PASS_CONTROL);
	struct frame frame, got;

	frame_build(&frame, spec);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_PASS);
	scene_expect_same(&got, &frame);
	assert_int_equal(rig_reason(rig, PC_REASON_PASS_CONTROL), before + 1);
}

/* Every length up to 40, both orders, padding and reserved byte of any value, a FINGERPRINT. */
static void test_send(void **state)
{
	struct pc_count count;
	uint64_t sent = 0, bytes = 0;

	set(*state);
	for (size_t len = 0; len <= 40; len++) {
		for (int form = 0; form < 16; form++) {
			struct frame_indication ind = indication(len);

			/* Not with the data first: whoever sends that sends no FINGERPRINT. */
			ind.data_first = form & 1 && !(form & 8);
			ind.fingerprint = form & 8;
			ind.pad_byte = form & 2 ? 0xa7 : 0;
			ind.reserved = form & 4 ? 0x55 : 0;
			ind.peer.port = (uint16_t)(2000 + 8 * len);
			expect_sent(*state, &ind);
			sent++;
			bytes += len;
		}
	}
	count = rig_count(*state, SCENE_SLOT);
	assert_int_equal(count.up.packets, sent);
	assert_int_equal(count.up.payload_bytes, bytes);
	assert_int_equal(count.up.wire_bytes, bytes + headers() * sent);
	assert_int_equal(count.down.packets, 0);
	rig_expect_reasons(*state, PC_REASON_TX, sent);
}

/* Another byte anywhere in what surrounds the data: never sent as if nothing were. */
static void test_every_byte(void **state)
{
	struct frame_indication ind = indication(21);
	struct frame_spec spec = spec_send(&ind);
	size_t at;

	set(*state);
	for (at = 0; at < front(); at++) {
		bool xored = six && at >= 8 && at < 20; /* the transaction is part of the mask */

		if ((at >= 8 && at < 20 && !xored) || at == 24 || at == 26 || at == 27 ||
		    at == front() - 1)
			continue; /* transaction, reserved, port; the length has a test of its own
				   */
		spec_send(&ind);
		message[at] ^= 0x04;
		if (message[0] >= 0x40)
			continue;
		expect_passed(*state, &spec);
	}
	rig_expect_nothing_metered(*state);
}

/* The DATA attribute must fill the message to its end. */
static void test_lengths(void **state)
{
	struct frame_indication ind = indication(21);
	struct frame_spec spec = spec_send(&ind);
	struct rig *rig = *state;
	struct frame frame, got;

	set(rig);
	for (uint32_t said = 0; said <= 0xffff; said += said < 64 ? 1 : 4093) {
		spec_send(&ind);
		put16(message + front() - 2, (uint16_t)said);
		if ((said + 3) / 4 != 6) {
			expect_passed(rig, &spec);
			continue;
		}
		frame_build(&frame, &spec);
		assert_int_equal(rig_run(rig, &frame, &got), XDP_TX);
		assert_int_equal(got.len, 14 + headers() + said);
	}
	/* The message shorter or longer than its datagram. */
	for (size_t len = 2; len < spec.len; len++) {
		struct frame_spec cut = spec;

		spec_send(&ind);
		cut.len = len;
		if (len >= 4)
			expect_passed(rig, &cut);
	}
	memset(message + spec.len, 0, 8);
	spec.len += 4;
	expect_passed(rig, &spec);
}

/* More than the two attributes, one of them twice or missing. */
static void test_other_attributes(void **state)
{
	struct frame_indication ind = indication(20);
	struct frame_spec spec = spec_send(&ind);
	static const uint32_t more[] = { 0x001a0000, 0x80220000, 0x00130000, 0x7fff0000 };

	set(*state);
	for (size_t i = 0; i < RIG_COUNT(more); i++) {
		spec = spec_send(&ind);
		put32(message + spec.len, more[i]);
		spec.len += 4;
		put16(message + 2, (uint16_t)(spec.len - 20));
		expect_passed(*state, &spec);
	}
	spec = spec_send(&ind);
	spec.len = front() - 4; /* the peer alone */
	put16(message + 2, (uint16_t)(spec.len - 20));
	expect_passed(*state, &spec);
	spec = spec_send(&ind);
	memcpy(message + front() - 4, message + 20, front() - 24);
	spec.len = 2 * front() - 28; /* the peer twice */
	put16(message + 2, (uint16_t)(spec.len - 20));
	expect_passed(*state, &spec);
}

/* Ports that user space refuses are not the kernel's to judge; permission is of the address. */
static void test_ports(void **state)
{
	static const uint16_t refused[] = { 0, 1, 53, 123, 442, 444, 1023, 1900, 5353, 11211 };
	static const uint16_t fine[] = { 443, 1024, 1899, 1901, 3478, 40000, 65535 };
	struct frame_indication ind = indication(30);
	struct frame_spec spec;

	set(*state);
	for (size_t i = 0; i < RIG_COUNT(refused); i++) {
		ind.peer.port = refused[i];
		spec = spec_send(&ind);
		expect_passed(*state, &spec);
	}
	for (size_t i = 0; i < RIG_COUNT(fine); i++) {
		ind.peer.port = fine[i];
		expect_sent(*state, &ind);
	}
	ind.peer.ip++;
	spec = spec_send(&ind);
	expect_passed(*state, &spec);
}

static struct frame_spec spec_down(size_t len)
{
	return scene_spec(end(scene_peer), end(scene_relayed), data, len);
}

/* What user space's parser finds in a Data indication. */
static void expect_data(const struct frame *got, size_t len)
{
	struct pc_stun_msg msg;
	struct pc_stun_attr attr;
	struct pc_addr peer;
	uint8_t at[16];
	size_t pos = 0;

	assert_int_equal(
		pc_stun_parse(got->bytes + 14 + headers(), got->len - 14 - headers(), &msg), 0);
	assert_int_equal(msg.method, PC_STUN_DATA);
	assert_int_equal(msg.cls, PC_STUN_INDICATION);
	assert_true(pc_stun_next(&msg, &pos, &attr));
	assert_int_equal(attr.type, PC_ATTR_XOR_PEER_ADDRESS);
	assert_int_equal(pc_stun_attr_xor_addr(&msg, &attr, &peer), 0);
	assert_int_equal(peer.port, scene_peer.port);
	assert_int_equal(peer.ip.family, six ? 6 : 4);
	assert_memory_equal(peer.ip.b, at, frame_addr(at, end(scene_peer)));
	assert_true(pc_stun_next(&msg, &pos, &attr));
	assert_int_equal(attr.type, PC_ATTR_DATA);
	assert_int_equal(attr.len, len);
	assert_memory_equal(attr.value, data, len);
	for (const uint8_t *pad = attr.value + len; pad < got->bytes + got->len; pad++)
		assert_int_equal(*pad, 0);
	assert_false(pc_stun_next(&msg, &pos, &attr));
}

static void expect_checksums(const struct frame *got)
{
	const uint8_t *ip = got->bytes + 14, *udp = ip + (six ? 40 : 20);

	if (!six)
		assert_int_equal(frame_sum(ip, 20, 0), 0xffff);
	assert_int_not_equal(get16(udp + 6), 0);
	assert_int_equal(frame_udp_sum(ip, udp, get16(udp + 4)), 0xffff);
}

/* Ethernet padding becomes padding of the message, and is wiped. */
static void test_data(void **state)
{
	uint8_t last[12] = { 0 };
	struct frame frame, got;

	set(*state);
	for (size_t len = 0; len <= 40; len++) {
		struct frame_spec spec = spec_down(len);

		spec.trailer = len % 3 ? 18 : 0;
		frame_build(&frame, &spec);
		assert_int_equal(rig_run(*state, &frame, &got), XDP_TX);
		assert_int_equal(got.len, 14 + headers() + front() + (len + 3) / 4 * 4);
		expect_data(&got, len);
		expect_checksums(&got);
		assert_memory_not_equal(got.bytes + 22 + headers(), last, 12);
		memcpy(last, got.bytes + 22 + headers(), 12);
	}
	assert_int_equal(rig_count(*state, SCENE_SLOT).down.packets, 41);
	assert_int_equal(rig_count(*state, SCENE_SLOT).down.payload_bytes, 820);
	/* Padding is on the wire: 10 times each of 0 to 3 bytes of it, and once none. */
	assert_int_equal(rig_count(*state, SCENE_SLOT).down.wire_bytes,
			 820 + 60 + 41 * (headers() + front()));
}

/* A frame that ends where the driver's buffer ends: room for no padding, and it stays as it was. */
static void test_tailroom(void **state)
{
	size_t full = 4096 - 256 - 320 - 14 - headers(); /* of a test run on 4 KiB pages */
	struct frame_spec spec = spec_down(full);
	struct frame frame, got;

	assert_int_not_equal(full % 4, 0);
	set(*state);
	rig_set_nexthop6(*state, SCENE_NH_CLIENT, RIG_LO, 9000, 0, six);
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_PASS);
	scene_expect_same(&got, &frame);
	rig_expect_reasons(*state, PC_REASON_PASS_TAILROOM, 1);
	rig_expect_nothing_metered(*state);
	spec.len -= spec.len % 4;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_TX);
	expect_data(&got, spec.len);
}

/* On an allocated port what nothing covers is dropped; elsewhere it is the host's. */
static void test_no_permission(void **state)
{
	struct frame_spec spec = spec_down(20);
	struct frame frame, got;

	set(*state);
	spec.from.ip++;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_DROP);
	assert_int_equal(rig_reason(*state, PC_REASON_DROP_NO_PERMISSION), 1);
	spec.to.port++;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_PASS);
	assert_int_equal(rig_reason(*state, PC_REASON_PASS_NO_FLOW), 1);
	if (six)
		return;
	/* Unusual packets are looked at by the host first. */
	spec.to.port--;
	spec.option_words = 1;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_PASS);
	assert_int_equal(rig_reason(*state, PC_REASON_PASS_UNUSUAL), 1);
	rig_expect_nothing_metered(*state);
}

/* What user space or the host has to look at, both ways; nothing is sent or metered. */
static void test_unusual(void **state)
{
	struct frame_indication ind = indication(21);
	struct frame_spec send = spec_send(&ind), down = spec_down(21);
	struct frame frame, got;

	set(*state);
	for (int i = 0; i < 10; i++) {
		struct frame_spec spec = i & 1 ? down : send;

		spec.frag = i / 2 == 0 ? FRAME_MF : FRAME_DF;
		spec.option_words = i / 2 == 1;
		spec.ip_len_off = i / 2 == 2;
		spec.udp_len_off = i / 2 == 3;
		spec.no_checksum = i / 2 == 4;
		if (six ? i / 2 < 2 : i / 2 == 4)
			continue;
		frame_build(&frame, &spec);
		assert_int_equal(rig_run(*state, &frame, &got), XDP_PASS);
		scene_expect_same(&got, &frame);
	}
	/* An extension header: no option of it, and UDP behind. */
	if (six) {
		frame_build(&frame, &send);
		memmove(frame.bytes + 62, frame.bytes + 54, frame.len - 54);
		frame.len += 8;
		put16(frame.bytes + 18, (uint16_t)(get16(frame.bytes + 18) + 8));
		frame.bytes[20] = 60;
		memcpy(frame.bytes + 54, (uint8_t[8]){ 17, 0, 1, 4 }, 8);
		assert_int_equal(rig_run(*state, &frame, &got), XDP_PASS);
		scene_expect_same(&got, &frame);
	}
	rig_expect_nothing_metered(*state);
}

/* Without a checksum in IPv4: none in what is sent. */
static void test_no_checksum(void **state)
{
	struct frame_indication ind = indication(21);
	struct frame_spec spec = spec_send(&ind), out;
	struct frame frame, got;

	set(*state);
	spec.no_checksum = true;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_TX);
	out = scene_sent(&spec, SCENE_NH_PEER, scene_relayed, ind.peer, data, ind.len);
	scene_expect_frame(&got, &out);
	spec = spec_down(21);
	spec.no_checksum = true;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(*state, &frame, &got), XDP_TX);
	assert_int_equal(get16(got.bytes + 40), 0);
	expect_data(&got, 21);
}

/* Who has a channel gets its data by it, whether it is in the table of copies or not. */
static void expect_channel_first(struct rig *rig, bool cold)
{
	struct scene_flow down = scene_down();
	struct frame_spec spec = spec_down(20);
	struct frame frame, got;
	bool was = rig_cold;

	down.from = end(down.from);
	down.to = end(down.to);
	down.new_from = end(down.new_from);
	down.new_to = end(down.new_to);
	place(rig);
	rig_cold |= cold;
	scene_add(rig, &down);
	rig_cold = was;
	rig_know(rig);
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_TX);
	assert_int_equal(got.len, 14 + headers() + 4 + 20);
	/* Another port of the same peer has none. */
	spec.from.port++;
	frame_build(&frame, &spec);
	assert_int_equal(rig_run(rig, &frame, &got), XDP_TX);
	assert_int_equal(got.len, 14 + headers() + front() + 20);
}

static void test_channel_first(void **state)
{
	expect_channel_first(*state, false);
}

static void test_channel_elsewhere(void **state)
{
	expect_channel_first(*state, true);
}

/* A permission is no channel: neither of the number that its key may look like, nor of none. */
static void test_no_channel(void **state)
{
	struct frame_spec spec = scene_spec(end(scene_client), end(scene_server), message, 0);
	struct frame frame, got;

	set(*state);
	for (unsigned int i = 0; i < 0x4000; i += 0x0101) {
		spec.len = frame_channel_data(message, (uint16_t)(0x4000 + i), data, 20, 0, 0);
		frame_build(&frame, &spec);
		assert_int_equal(rig_run(*state, &frame, &got), XDP_PASS);
		scene_expect_same(&got, &frame);
	}
	rig_expect_nothing_metered(*state);
}

/* One of each family. */
#define both(test)                            \
	static void test##6(void **state)     \
	{                                     \
		six = true;                   \
		test(state);                  \
	}                                     \
	static int test##6_done(void **state) \
	{                                     \
		six = false;                  \
		return rig_teardown(state);   \
	}

both(test_send);
both(test_every_byte);
both(test_lengths);
both(test_other_attributes);
both(test_ports);
both(test_data);
both(test_tailroom);
both(test_no_permission);
both(test_unusual);
both(test_channel_first);
both(test_channel_elsewhere);
both(test_no_channel);

#define both_tests(test) \
	rig_test(test), cmocka_unit_test_setup_teardown(test##6, rig_setup, test##6_done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		both_tests(test_send),
		both_tests(test_every_byte),
		both_tests(test_lengths),
		both_tests(test_other_attributes),
		both_tests(test_ports),
		both_tests(test_data),
		both_tests(test_tailroom),
		both_tests(test_no_permission),
		both_tests(test_unusual),
		both_tests(test_channel_first),
		both_tests(test_channel_elsewhere),
		both_tests(test_no_channel),
		rig_test(test_no_checksum),
	};

	rig_main(tests);
}
