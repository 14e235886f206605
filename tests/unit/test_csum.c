/* SPDX-License-Identifier: MIT */
/*
 * The checksum differences of bpf/lib/csum.h against sums computed in full, byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "lib/csum.h"

static uint32_t seed = 20240229;

static uint32_t rnd(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

/* Folded sum in network order, an odd last byte followed by zero. */
static uint16_t full_sum(const uint8_t *bytes, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += (i & 1) ? bytes[i] : (uint64_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The checksum field as it lies in memory. */
static uint16_t full_check(const uint8_t *bytes, size_t len)
{
	return htons((uint16_t)~full_sum(bytes, len));
}

static void test_fold_every_carry(void **state)
{
	for (uint32_t high = 0; high < 0x10000; high += 0x0101) {
		for (uint32_t low = 0; low < 0x10000; low += 0x0101) {
			uint64_t want = (uint64_t)high + low;

			while (want >> 16)
				want = (want & 0xffff) + (want >> 16);
			assert_int_equal(pc_csum_fold(high << 16 | low), want);
		}
	}
	assert_int_equal(pc_csum_fold(0), 0);
	assert_int_equal(pc_csum_fold(0xffffffff), 0xffff);
	assert_int_equal(pc_csum_fold(0x00010000), 1);
}

/* Every value of one word, for some values of the rest. */
static void test_word_changes(void **state)
{
	uint8_t data[8];

	for (int round = 0; round < 8; round++) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)rnd();
		for (uint32_t to = 0; to < 0x10000; to++) {
			uint16_t before = full_check(data, sizeof(data));
			uint16_t from, now = (uint16_t)to;

			memcpy(&from, data + 4, 2);
			memcpy(data + 4, &now, 2);
			assert_int_equal(pc_csum_update(before, pc_csum_diff16(from, now)),
					 full_check(data, sizeof(data)));
		}
	}
}

static void test_long_word_changes(void **state)
{
	for (int round = 0; round < 100000; round++) {
		uint32_t words[4] = { rnd() << 8 ^ rnd(), rnd() << 8 ^ rnd(), 0x01020304, 0 };
		uint32_t to = (round & 3) ? rnd() << 8 ^ rnd() : (round & 4) ? 0 : 0xffffffff;
		uint16_t before = full_check((uint8_t *)words, sizeof(words));
		uint32_t diff = pc_csum_diff32(words[1], to);

		words[1] = to;
		assert_int_equal(pc_csum_update(before, diff),
				 full_check((uint8_t *)words, sizeof(words)));
	}
}

/* UDP: zero stays zero, a sum of zero is sent as 0xffff, a wrong checksum stays as wrong. */
static void test_udp_zero(void **state)
{
	bool seen = false;

	for (uint32_t diff = 0; diff < 0x40000; diff++)
		assert_int_equal(pc_csum_update_udp(0, diff), 0);
	for (uint32_t check = 1; check < 0x10000; check++) {
		uint16_t plain = pc_csum_update((uint16_t)check, 0x1234);
		uint16_t udp = pc_csum_update_udp((uint16_t)check, 0x1234);

		assert_int_equal(udp, plain ? plain : 0xffff);
		seen |= !plain;
	}
	assert_true(seen);
}

static void test_wrong_stays_wrong(void **state)
{
	uint16_t right = pc_csum_update(htons(0x5a5a), 0x2222);

	for (uint32_t off = 1; off < 0xffff; off++) {
		uint32_t wrong_in = (uint32_t)htons(0x5a5a) + off;
		uint16_t wrong = pc_csum_fold(wrong_in);
		uint16_t out = pc_csum_update(wrong, 0x2222);

		assert_int_equal((out + 0xffffu - right) % 0xffff, off % 0xffff);
	}
}

static void test_byte_in_word(void **state)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		for (uint32_t at = 0; at < 6; at++) {
			uint8_t data[6] = { 0 };
			uint16_t word;

			data[at] = (uint8_t)byte;
			memcpy(&word, data + (at & ~1u), 2);
			assert_int_equal(pc_csum_byte((uint8_t)byte, at), word);
		}
	}
}

/* What the program does to UDP, on a pseudo header, a header and a payload in one buffer. */
struct datagram {
	uint8_t bytes[12 + 8 + 128];
	size_t len;
};

static uint16_t word_at(const uint8_t *at)
{
	uint16_t word;

	memcpy(&word, at, 2);
	return word;
}

static void datagram_build(struct datagram *d, const uint8_t addrs[8], const uint8_t ports[4],
			   const uint8_t *payload, size_t len)
{
	uint16_t udp_len = htons((uint16_t)(8 + len));
	uint16_t check;

	memset(d, 0, sizeof(*d));
	memcpy(d->bytes, addrs, 8);
	d->bytes[9] = 17;
	memcpy(d->bytes + 10, &udp_len, 2);
	memcpy(d->bytes + 12, ports, 4);
	memcpy(d->bytes + 16, &udp_len, 2);
	memcpy(d->bytes + 20, payload, len);
	d->len = 20 + len;
	check = full_check(d->bytes, d->len);
	if (!check)
		check = 0xffff;
	memcpy(d->bytes + 18, &check, 2);
}

struct change {
	uint8_t addrs[2][8];
	uint8_t ports[2][4];
	uint8_t data[80]; /* ChannelData: header, payload, padding */
	uint32_t len;
	uint32_t pad;
};

static void change_random(struct change *c, uint32_t len, uint32_t pad)
{
	for (size_t i = 0; i < sizeof(c->addrs); i++)
		((uint8_t *)c->addrs)[i] = (uint8_t)rnd();
	for (size_t i = 0; i < sizeof(c->ports); i++)
		((uint8_t *)c->ports)[i] = (uint8_t)rnd();
	for (size_t i = 0; i < sizeof(c->data); i++)
		c->data[i] = (uint8_t)rnd();
	c->data[0] = 0x40 | (c->data[0] & 0x3f);
	c->data[2] = 0;
	c->data[3] = (uint8_t)len;
	c->len = len;
	c->pad = pad;
}

static uint32_t change_diff(const struct change *c, bool down)
{
	struct pc_flow4_key key = { 0 };
	struct pc_flow flow = { 0 };

	memcpy(&key.saddr, c->addrs[0], 4);
	memcpy(&key.daddr, c->addrs[0] + 4, 4);
	memcpy(&key.sport, c->ports[0], 2);
	memcpy(&key.dport, c->ports[0] + 2, 2);
	memcpy(&flow.saddr, c->addrs[1], 4);
	memcpy(&flow.daddr, c->addrs[1] + 4, 4);
	memcpy(&flow.sport, c->ports[1], 2);
	memcpy(&flow.dport, c->ports[1] + 2, 2);
	if (down)
		memcpy(&flow.channel, c->data, 2);
	pc_csum_flow4(&key, &flow);
	return flow.l4_diff;
}

static void check_up(const struct change *c)
{
	struct datagram in, out;
	uint32_t sum = change_diff(c, false);

	datagram_build(&in, c->addrs[0], c->ports[0], c->data, 4 + c->len + c->pad);
	datagram_build(&out, c->addrs[1], c->ports[1], c->data + 4, c->len);
	sum += 2 * pc_csum_diff16(word_at(in.bytes + 16), word_at(out.bytes + 16));
	sum += pc_csum_gone16(word_at(c->data)) + pc_csum_gone16(word_at(c->data + 2));
	for (uint32_t i = 0; i < c->pad; i++)
		sum += pc_csum_gone16(pc_csum_byte(c->data[4 + c->len + i], c->len + i));
	assert_int_equal(pc_csum_update_udp(word_at(in.bytes + 18), sum), word_at(out.bytes + 18));
}

static void check_down(const struct change *c)
{
	struct datagram in, out;
	uint32_t sum = change_diff(c, true);

	datagram_build(&in, c->addrs[0], c->ports[0], c->data + 4, c->len);
	datagram_build(&out, c->addrs[1], c->ports[1], c->data, 4 + c->len);
	sum += 2 * pc_csum_diff16(word_at(in.bytes + 16), word_at(out.bytes + 16));
	sum += word_at(c->data + 2);
	assert_int_equal(pc_csum_update_udp(word_at(in.bytes + 18), sum), word_at(out.bytes + 18));
}

static void test_channel_data(void **state)
{
	struct change c;

	for (int round = 0; round < 200; round++) {
		for (uint32_t len = 0; len <= 64; len++) {
			for (uint32_t pad = 0; pad <= 3; pad++) {
				change_random(&c, len, pad);
				check_up(&c);
				check_down(&c);
			}
		}
	}
}

static void test_addresses(void **state)
{
	for (int round = 0; round < 10000; round++) {
		struct pc_flow4_key key = { .saddr = rnd() << 8 ^ rnd(), .daddr = rnd() << 8 };
		struct pc_flow flow = { .saddr = { rnd() << 8 ^ rnd() }, .daddr = { rnd() << 8 } };
		uint32_t before[3] = { key.saddr, key.daddr, 0x11223344 };
		uint32_t after[3] = { flow.saddr[0], flow.daddr[0], 0x11223344 };

		pc_csum_flow4(&key, &flow);
		assert_int_equal(pc_csum_update(full_check((uint8_t *)before, sizeof(before)),
						flow.l3_diff),
				 full_check((uint8_t *)after, sizeof(after)));
	}
}

/* Pseudo header of either family (RFC 8200 section 8.1), UDP header, payload. */
static uint16_t udp_check(const uint8_t *src, const uint8_t *dst, size_t ip_len,
			  const uint8_t ports[4], const uint8_t *payload, size_t len)
{
	uint16_t udp_len = htons((uint16_t)(8 + len));
	uint8_t all[40 + 8 + 128] = { 0 };
	uint16_t check;

	memcpy(all, src, ip_len);
	memcpy(all + 16, dst, ip_len);
	memcpy(all + 34, &udp_len, 2);
	all[39] = 17;
	memcpy(all + 40, ports, 4);
	memcpy(all + 44, &udp_len, 2);
	memcpy(all + 48, payload, len);
	check = full_check(all, 48 + len);
	return check ? check : 0xffff;
}

static void random_bytes(void *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)at)[i] = (uint8_t)rnd();
}

/* A channel's way down, between any two families. */
static void check_families(bool in6, bool out6, uint32_t len)
{
	struct pc_flow flow = { .flags = out6 ? PC_FLOW_OUT6 : 0 };
	uint8_t src[16], dst[16], ports[2][4], data[4 + 64];
	struct pc_flow6_key key6 = { 0 };
	struct pc_flow4_key key4 = { 0 };
	uint16_t before, after;
	uint32_t sum;

	random_bytes(src, sizeof(src));
	random_bytes(dst, sizeof(dst));
	random_bytes(ports, sizeof(ports));
	random_bytes(data, sizeof(data));
	data[2] = 0;
	data[3] = (uint8_t)len;
	before = udp_check(src, dst, in6 ? 16 : 4, ports[0], data + 4, len);
	memcpy(in6 ? key6.saddr : &key4.saddr, src, in6 ? 16 : 4);
	memcpy(in6 ? key6.daddr : &key4.daddr, dst, in6 ? 16 : 4);
	key4.sport = key6.sport = word_at(ports[0]);
	key4.dport = key6.dport = word_at(ports[0] + 2);
	random_bytes(flow.saddr, out6 ? 16 : 4);
	random_bytes(flow.daddr, out6 ? 16 : 4);
	flow.sport = word_at(ports[1]);
	flow.dport = word_at(ports[1] + 2);
	flow.channel = word_at(data);
	after = udp_check((uint8_t *)flow.saddr, (uint8_t *)flow.daddr, out6 ? 16 : 4, ports[1],
			  data, len + 4);
	if (in6)
		pc_csum_flow6(&key6, &flow);
	else
		pc_csum_flow4(&key4, &flow);
	sum = flow.l4_diff + word_at(data + 2) +
	      2 * pc_csum_diff16(htons((uint16_t)(8 + len)), htons((uint16_t)(12 + len)));
	assert_int_equal(pc_csum_update_udp(before, sum), after);
	if (in6 || out6)
		assert_int_equal(flow.l3_diff, 0);
}

static void test_families(void **state)
{
	for (int round = 0; round < 5000; round++) {
		for (int mix = 0; mix < 4; mix++)
			check_families(mix & 1, mix & 2, (uint32_t)round % 65);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fold_every_carry),  cmocka_unit_test(test_word_changes),
		cmocka_unit_test(test_long_word_changes), cmocka_unit_test(test_udp_zero),
		cmocka_unit_test(test_wrong_stays_wrong), cmocka_unit_test(test_byte_in_word),
		cmocka_unit_test(test_channel_data),	  cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_families),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
