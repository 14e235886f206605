/* SPDX-License-Identifier: MIT */
/*
 * Frames for tests: built byte by byte, checksums in full, sharing no code with what is tested.
 */
#ifndef PC_TESTS_BPF_FRAME_H
#define PC_TESTS_BPF_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MAX      2048
#define FRAME_IN_SEED  1
#define FRAME_OUT_SEED 100
#define FRAME_DF       0x4000
#define FRAME_MF       0x2000

struct frame {
	uint8_t bytes[FRAME_MAX];
	size_t len;
};

/* Host byte order. */
struct endpoint {
	uint32_t ip;
	uint16_t port;
};

/* One UDP datagram and how it lies in its frame. */
struct frame_spec {
	unsigned int link_seed; /* MAC addresses and tags */
	unsigned int vlans;
	uint8_t tos, ttl;
	uint16_t id, frag;
	unsigned int option_words;
	struct endpoint from, to;
	const uint8_t *payload;
	size_t len;
	bool no_checksum;
	int ip_len_off, udp_len_off; /* lies about lengths */
	size_t trailer;		     /* bytes of Ethernet padding, not zero */
};

static inline void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

static inline uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* Sum of 16-bit words in network order, an odd last byte padded with zero; added to @sum. */
static inline uint16_t frame_sum(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++) {
		sum += (i & 1) ? bytes[i] : (uint32_t)bytes[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

/* Sum over pseudo header, UDP header and payload; @ip without options counted from its own IHL. */
static inline uint16_t frame_udp_sum(const uint8_t *ip, const uint8_t *udp, size_t udp_len)
{
	uint8_t pseudo[12] = { 0 };

	memcpy(pseudo, ip + 12, 8);
	pseudo[9] = 17;
	put16(pseudo + 10, (uint16_t)udp_len);
	return frame_sum(udp, udp_len, frame_sum(pseudo, sizeof(pseudo), 0));
}

static inline void frame_check_ip(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~frame_sum(ip, (ip[0] & 15) * 4u, 0));
}

static inline void frame_check_udp(const uint8_t *ip, uint8_t *udp, size_t udp_len)
{
	uint16_t check;

	put16(udp + 6, 0);
	check = (uint16_t)~frame_udp_sum(ip, udp, udp_len);
	put16(udp + 6, check ? check : 0xffff);
}

/* Link header for IPv4 with @vlans tags. Returns its length. */
static inline size_t frame_link(uint8_t *at, unsigned int seed, unsigned int vlans)
{
	static const uint16_t outer[] = { 0x8100, 0x88a8 };
	size_t len = 12;

	for (size_t i = 0; i < 12; i++)
		at[i] = (uint8_t)((i == 0 || i == 6) ? 0x02 : seed + i);
	for (unsigned int i = 0; i < vlans; i++, len += 4) {
		put16(at + len, i + 1 < vlans ? outer[1] : outer[0]);
		put16(at + len + 2, (uint16_t)((seed + 7 * i) & 0xfff) | 0x2000);
	}
	put16(at + len, 0x0800);
	return len + 2;
}

static inline void frame_build(struct frame *frame, const struct frame_spec *spec)
{
	uint8_t *ip = frame->bytes + frame_link(frame->bytes, spec->link_seed, spec->vlans);
	size_t ip_head = 20 + 4 * spec->option_words;
	uint8_t *udp = ip + ip_head;
	size_t udp_len = 8 + spec->len;

	memset(ip, 0, ip_head);
	ip[0] = (uint8_t)(0x40 | (5 + spec->option_words));
	ip[1] = spec->tos;
	put16(ip + 2, (uint16_t)((int)(ip_head + udp_len) + spec->ip_len_off));
	put16(ip + 4, spec->id);
	put16(ip + 6, spec->frag);
	ip[8] = spec->ttl;
	ip[9] = 17;
	put32(ip + 12, spec->from.ip);
	put32(ip + 16, spec->to.ip);
	memset(ip + 20, 1, ip_head - 20); /* no-operation */
	frame_check_ip(ip);
	put16(udp, spec->from.port);
	put16(udp + 2, spec->to.port);
	put16(udp + 4, (uint16_t)((int)udp_len + spec->udp_len_off));
	put16(udp + 6, 0);
	if (spec->len)
		memcpy(udp + 8, spec->payload, spec->len);
	if (!spec->no_checksum)
		frame_check_udp(ip, udp, udp_len);
	memset(udp + udp_len, 0xee, spec->trailer);
	frame->len = (size_t)(udp - frame->bytes) + udp_len + spec->trailer;
}

/* ChannelData: header, @len bytes and @pad bytes of @pad_byte. Returns its length. */
static inline size_t frame_channel_data(uint8_t *at, uint16_t channel, const uint8_t *data,
					size_t len, size_t pad, uint8_t pad_byte)
{
	put16(at, channel);
	put16(at + 2, (uint16_t)len);
	if (len)
		memcpy(at + 4, data, len);
	memset(at + 4 + len, pad_byte, pad);
	return 4 + len + pad;
}

/* Bytes without a pattern that a checksum could miss. */
static inline void frame_fill(uint8_t *at, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		at[i] = (uint8_t)(seed >> 24);
	}
}

#endif
