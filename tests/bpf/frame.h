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

#define FRAME_MAX      4096
#define FRAME_IN_SEED  1
#define FRAME_OUT_SEED 100
#define FRAME_DF       0x4000
#define FRAME_MF       0x2000

struct frame {
	uint8_t bytes[FRAME_MAX];
	size_t len;
};

/* Host byte order. An IPv6 address is made of the IPv4 one: see frame_addr(). */
struct endpoint {
	uint32_t ip;
	uint16_t port;
	bool six;
};

/* One UDP datagram and how it lies in its frame. */
struct frame_spec {
	unsigned int link_seed; /* MAC addresses and tags */
	unsigned int vlans;
	uint8_t tos, ttl;
	uint16_t id, frag;
	uint32_t flow_label;
	unsigned int option_words;
	struct endpoint from, to; /* of one family */
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

/* The address as it lies in a packet, each word of it different. Returns its length. */
static inline size_t frame_addr(uint8_t *at, struct endpoint end)
{
	if (!end.six) {
		put32(at, end.ip);
		return 4;
	}
	put32(at, 0x20010db8);
	put32(at + 4, end.ip * 2654435761u);
	put32(at + 8, end.ip * 0x85ebca6bu ^ 0x5bd1e995u);
	put32(at + 12, end.ip);
	return 16;
}

/* Sum over pseudo header (RFC 768, RFC 8200 section 8.1), UDP header and payload. */
static inline uint16_t frame_udp_sum(const uint8_t *ip, const uint8_t *udp, size_t udp_len)
{
	uint8_t pseudo[40] = { 0 };
	bool six = ip[0] >> 4 == 6;

	memcpy(pseudo, ip + (six ? 8 : 12), six ? 32 : 8);
	pseudo[35] = 17;
	put32(pseudo + 36, (uint32_t)udp_len);
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

/* Link header for IPv4 or IPv6 with @vlans tags. Returns its length. */
static inline size_t frame_link6(uint8_t *at, unsigned int seed, unsigned int vlans, bool six)
{
	static const uint16_t outer[] = { 0x8100, 0x88a8 };
	size_t len = 12;

	for (size_t i = 0; i < 12; i++)
		at[i] = (uint8_t)((i == 0 || i == 6) ? 0x02 : seed + i);
	for (unsigned int i = 0; i < vlans; i++, len += 4) {
		put16(at + len, i + 1 < vlans ? outer[1] : outer[0]);
		put16(at + len + 2, (uint16_t)((seed + 7 * i) & 0xfff) | 0x2000);
	}
	put16(at + len, six ? 0x86dd : 0x0800);
	return len + 2;
}

static inline size_t frame_link(uint8_t *at, unsigned int seed, unsigned int vlans)
{
	return frame_link6(at, seed, vlans, false);
}

/* Returns the length of the header. */
static inline size_t frame_build_ip6(uint8_t *ip, const struct frame_spec *spec)
{
	put32(ip, 6u << 28 | (uint32_t)spec->tos << 20 | spec->flow_label);
	put16(ip + 4, (uint16_t)((int)(8 + spec->len) + spec->ip_len_off));
	ip[6] = 17;
	ip[7] = spec->ttl;
	frame_addr(ip + 8, spec->from);
	frame_addr(ip + 24, spec->to);
	return 40;
}

static inline size_t frame_build_ip4(uint8_t *ip, const struct frame_spec *spec)
{
	size_t ip_head = 20 + 4 * spec->option_words;

	memset(ip, 0, ip_head);
	ip[0] = (uint8_t)(0x40 | (5 + spec->option_words));
	ip[1] = spec->tos;
	put16(ip + 2, (uint16_t)((int)(ip_head + 8 + spec->len) + spec->ip_len_off));
	put16(ip + 4, spec->id);
	put16(ip + 6, spec->frag);
	ip[8] = spec->ttl;
	ip[9] = 17;
	frame_addr(ip + 12, spec->from);
	frame_addr(ip + 16, spec->to);
	memset(ip + 20, 1, ip_head - 20); /* no-operation */
	frame_check_ip(ip);
	return ip_head;
}

static inline void frame_build(struct frame *frame, const struct frame_spec *spec)
{
	bool six = spec->from.six;
	uint8_t *ip = frame->bytes + frame_link6(frame->bytes, spec->link_seed, spec->vlans, six);
	uint8_t *udp = ip + (six ? frame_build_ip6(ip, spec) : frame_build_ip4(ip, spec));
	size_t udp_len = 8 + spec->len;

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

/* How an indication is written. */
struct frame_indication {
	uint16_t type;
	uint8_t txid[12];
	struct endpoint peer;
	const uint8_t *data;
	size_t len;
	bool data_first;
	uint8_t pad_byte, reserved;
	bool fingerprint; /* at the end */
};

static inline size_t frame_peer_attr(uint8_t *at, const struct frame_indication *ind)
{
	uint8_t mask[16];
	size_t len = frame_addr(at + 8, ind->peer);

	put32(mask, 0x2112a442);
	memcpy(mask + 4, ind->txid, 12);
	put16(at, 0x0012);
	put16(at + 2, (uint16_t)(4 + len));
	at[4] = ind->reserved;
	at[5] = ind->peer.six ? 2 : 1;
	put16(at + 6, ind->peer.port ^ 0x2112);
	for (size_t i = 0; i < len; i++)
		at[8 + i] ^= mask[i];
	return 8 + len;
}

static inline size_t frame_data_attr(uint8_t *at, const struct frame_indication *ind)
{
	size_t pad = (4 - ind->len % 4) % 4;

	put16(at, 0x0013);
	put16(at + 2, (uint16_t)ind->len);
	if (ind->len)
		memcpy(at + 4, ind->data, ind->len);
	memset(at + 4 + ind->len, ind->pad_byte, pad);
	return 4 + ind->len + pad;
}

/* Send or Data indication (RFC 8656 section 11). Returns its length. */
static inline size_t frame_indication(uint8_t *at, const struct frame_indication *ind)
{
	size_t len = 20;

	put16(at, ind->type);
	put32(at + 4, 0x2112a442);
	memcpy(at + 8, ind->txid, 12);
	len += ind->data_first ? frame_data_attr(at + len, ind) : frame_peer_attr(at + len, ind);
	len += ind->data_first ? frame_peer_attr(at + len, ind) : frame_data_attr(at + len, ind);
	if (ind->fingerprint) {
		put32(at + len, 0x80280004);
		memcpy(at + len + 4, ind->txid, 4); /* any value */
		len += 8;
	}
	put16(at + 2, (uint16_t)(len - 20));
	return len;
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
