/* SPDX-License-Identifier: MIT */
/*
 * What paths.c fires, and which path has to deal with it while XDP is attached. A name is
 * GROUP/DETAIL. The order matters only between the lists.
 */
#ifndef PC_TESTS_PATHS_SHOTS_H
#define PC_TESTS_PATHS_SHOTS_H

#include "tests/bpf/frame.h"

#define SERVICE_PORT 3478
#define ROUTE_MTU    1200 /* on the way to LOW and to LOW_CLIENT */

enum place {
	A, /* clients: A is the one most shots are about */
	B,
	LOW_CLIENT,
	STRANGER, /* a client without an allocation */
	SERVER,
	P,	/* A's and B's peer */
	EDGE,	/* A's highest channel number */
	PERMIT, /* has a permission only */
	LOW,
	GOING,	/* loses A's permission later */
	NOBODY, /* never had one */
	BANNED, /* not allowed by the policy */
	MARK,
	RELAYED_A,
	RELAYED_B,
	RELAYED_LOW,
	N_PLACES
};

/* A's channels; the other clients use the first, B for A. */
enum { CH_P = 0x4000, CH_B, CH_LOW, CH_GOING, CH_LOW_CLIENT, CH_EDGE = 0x7fff };
enum { B_TO_A = 0x4000, B_TO_P = 0x4777 };
enum { LOW_TO_A = 0x5000 };

enum wrap { BARE, CHANNEL, SEND };

/*
 * Who deals with it: the program, the daemon, or the host before the daemon sees it. SHUT: the
 * program drops it, for want of a permission, before the host would.
 */
enum path { KERNEL, USER, HOST, SHUT };

struct shot {
	const char *name;
	enum path path;
	enum place from, to;
	enum wrap wrap;
	uint16_t channel;   /* of CHANNEL */
	enum place send_to; /* of SEND */
	bool no_fragment;   /* of SEND: DONT-FRAGMENT */
	bool no_data;	    /* of SEND: without DATA */
	size_t len;
	size_t pad;
	uint8_t pad_byte;
	int said_off;	    /* ChannelData: a lie about the length */
	const uint8_t *raw; /* BARE: these bytes */
	uint8_t ttl, tos;
	bool ttl_zero; /* a ttl of 0 means the usual one */
	uint16_t frag;
	unsigned int option_words;
	bool no_checksum;
	int ip_len_off, udp_len_off;
	size_t trailer;
	size_t cut_at[2]; /* fragments begin there */
	bool priority;	  /* with a tag of VLAN 0, which is a priority only; not in a VLAN */
	bool outside;	  /* comes from the peers' side, whatever its source */
};

#define UP_ON(client, number) .from = (client), .to = SERVER, .wrap = CHANNEL, .channel = (number)
#define UP		      UP_ON(A, CH_P)
#define HAIRPIN		      UP_ON(A, CH_B)
#define DOWN		      .from = P, .to = RELAYED_A
#define SENDING(client)	      .from = (client), .to = SERVER, .wrap = SEND

/* Fired three ways: to the peer, from the peer, to another client. */
static const struct shot three_ways[] = {
	{ "plain", KERNEL, .len = 100 },
	{ "zero-length data", KERNEL, .len = 0 },
	{ "largest that fits", KERNEL, .len = 1468 },
	{ "zero checksum", KERNEL, .len = 60, .no_checksum = true },
	{ "zero checksum/odd", KERNEL, .len = 61, .no_checksum = true },
	{ "IP options/one", USER, .len = 50, .option_words = 1 },
	{ "IP options/ten", USER, .len = 51, .option_words = 10 },
	{ "IP options/TTL 1", USER, .len = 51, .option_words = 2, .ttl = 1 },
	{ "fragments in/two", USER, .len = 1001, .cut_at = { 512 } },
	{ "fragments in/three", USER, .len = 1400, .cut_at = { 8, 904 } },
	{ "fragments in/no checksum", USER, .len = 900, .cut_at = { 400 }, .no_checksum = true },
	{ "Ethernet padding/of 1 byte", KERNEL, .len = 1, .trailer = 17 },
	{ "Ethernet padding/of no data", KERNEL, .len = 0, .trailer = 18 },
	{ "Ethernet padding/one byte", KERNEL, .len = 10, .trailer = 1 },
	{ "Ethernet padding/more than needed", KERNEL, .len = 301, .trailer = 200 },
	{ "Ethernet padding/no checksum", KERNEL, .len = 3, .trailer = 15, .no_checksum = true },
	{ "priority tag/even", KERNEL, .len = 120, .priority = true },
	{ "priority tag/odd", KERNEL, .len = 3, .priority = true, .trailer = 40 },
	{ "priority tag/options", USER, .len = 5, .priority = true, .option_words = 1 },
	{ "TTL/1", KERNEL, .len = 20, .ttl = 1 },
	{ "TTL/0", KERNEL, .len = 20, .ttl_zero = true },
	{ "TTL/2", KERNEL, .len = 20, .ttl = 2 },
	{ "TTL/64", KERNEL, .len = 20, .ttl = 64 },
	{ "TTL/65", KERNEL, .len = 20, .ttl = 65 },
	{ "TTL/255", KERNEL, .len = 20, .ttl = 255 },
	{ "TOS/EF", KERNEL, .len = 20, .tos = 0xb8 },
	{ "TOS/ECT(1)", KERNEL, .len = 20, .tos = 0x01 },
	{ "TOS/ECT(0)", KERNEL, .len = 20, .tos = 0x02 },
	{ "TOS/CE", KERNEL, .len = 20, .tos = 0x03 },
	{ "TOS/AF41 and CE", KERNEL, .len = 20, .tos = 0x8b },
	{ "TOS/all", KERNEL, .len = 20, .tos = 0xff },
	{ "DF/set", KERNEL, .len = 700, .frag = FRAME_DF },
	{ "DF/not set", KERNEL, .len = 700 },
	{ "lengths/UDP shorter than IP", USER, .len = 33, .udp_len_off = -5, .no_checksum = true },
	{ "lengths/UDP longer than IP", HOST, .len = 33, .udp_len_off = 1 },
	{ "lengths/IP longer than the frame", HOST, .len = 33, .ip_len_off = 1 },
	{ "lengths/IP shorter than UDP", HOST, .len = 33, .ip_len_off = -1 },
};

/* From A to the service port. */
static const uint8_t raw_short[] = { 0x40, 0x00, 0x00 };
static const uint8_t raw_other[] = { 0x16, 0xfe, 0xfd, 0, 0, 0, 0, 0 };
static const uint8_t raw_below[] = { 0x3f, 0xff, 0, 4, 1, 2, 3, 4 };
static const uint8_t raw_above[] = { 0x80, 0x00, 0, 4, 1, 2, 3, 4 };
static const uint8_t raw_stun[] = { 0, 1, 0, 0,	 1,  2,	 3,  4,	 5,  6,
				    7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
#define RAW(bytes) .from = A, .to = SERVER, .raw = (bytes), .len = sizeof(bytes)

static const struct shot one_way[] = {
	{ "wrong length/one too long", KERNEL, UP, .len = 40, .said_off = 1 },
	{ "wrong length/far too long", KERNEL, UP, .len = 40, .said_off = 60000 },
	{ "wrong length/one too long, padded", KERNEL, UP, .len = 5, .pad = 3, .said_off = 4 },
	{ "wrong length/no data there", KERNEL, UP, .len = 0, .said_off = 1 },
	{ "wrong length/one too short", KERNEL, UP, .len = 40, .said_off = -1, .pad = 1 },
	{ "wrong length/zero", KERNEL, UP, .len = 40, .said_off = -40 },
	{ "wrong length/4 bytes more", KERNEL, UP, .len = 40, .pad = 4 },
	{ "wrong length/4 bytes more, odd", KERNEL, UP, .len = 41, .pad = 4 },
	{ "wrong length/1 byte more than padding", KERNEL, UP, .len = 43, .pad = 2 },
	{ "wrong length/2 bytes to nothing", KERNEL, UP, .len = 0, .pad = 2 },
	{ "wrong length/and no checksum", KERNEL, UP, .len = 9, .pad = 9, .no_checksum = true },
	{ "wrong length/to another client", KERNEL, HAIRPIN, .len = 40, .said_off = 1 },
	{ "wrong length/and TTL 1", KERNEL, UP, .len = 40, .said_off = 1, .ttl = 1 },
	{ "lengths/UDP of 7", HOST, DOWN, .len = 33, .udp_len_off = -34 },
	{ "half a header/1", KERNEL, .from = A, .to = SERVER, .raw = raw_short, .len = 1 },
	{ "half a header/2", KERNEL, .from = A, .to = SERVER, .raw = raw_short, .len = 2 },
	{ "half a header/3", KERNEL, .from = A, .to = SERVER, .raw = raw_short, .len = 3 },
	{ "half a header/of nobody", KERNEL, .from = STRANGER, .to = SERVER, .raw = raw_short,
	  .len = 3 },
	{ "no ChannelData/empty", USER, .from = A, .to = SERVER, .raw = raw_other },
	{ "no ChannelData/DTLS", USER, RAW(raw_other) },
	{ "no ChannelData/below the channels", USER, RAW(raw_below) },
	{ "no ChannelData/above the channels", USER, RAW(raw_above) },
	{ "no ChannelData/STUN without cookie", USER, RAW(raw_stun) },
	{ "unknown channel/never bound", USER, UP_ON(A, 0x4abc), .len = 40 },
	{ "unknown channel/wrong length too", USER, UP_ON(A, 0x4abc), .len = 40, .said_off = 9 },
	{ "unknown channel/TTL 1", USER, UP_ON(A, 0x4abc), .len = 40, .ttl = 1 },
	{ "unknown channel/another client's", USER, UP_ON(A, B_TO_P), .len = 40 },
	{ "no allocation/ChannelData", USER, UP_ON(STRANGER, CH_P), .len = 40 },
	{ "no allocation/Send", USER, SENDING(STRANGER), .send_to = P, .len = 40 },
	{ "channels/highest number", KERNEL, UP_ON(A, CH_EDGE), .len = 77 },
	{ "channels/highest number, down", KERNEL, .from = EDGE, .to = RELAYED_A, .len = 78 },
	{ "channels/same peer, other client", KERNEL, UP_ON(B, B_TO_P), .len = 79 },
	{ "channels/same peer, other client, down", KERNEL, .from = P, .to = RELAYED_B, .len = 80 },
	{ "next hop's MTU/fits up", KERNEL, UP_ON(A, CH_LOW), .len = ROUTE_MTU - 28 },
	{ "next hop's MTU/1 too large up", USER, UP_ON(A, CH_LOW), .len = ROUTE_MTU - 27 },
	{ "next hop's MTU/too large up, DF", USER, UP_ON(A, CH_LOW), .len = 1400,
	  .frag = FRAME_DF },
	{ "next hop's MTU/too large up, padded", USER, UP_ON(A, CH_LOW), .len = 1333, .pad = 3 },
	{ "next hop's MTU/too large, TTL 2", USER, UP_ON(A, CH_LOW), .len = 1400, .ttl = 2,
	  .tos = 0x2a },
	{ "next hop's MTU/fits down", KERNEL, .from = P, .to = RELAYED_LOW, .len = ROUTE_MTU - 32 },
	{ "next hop's MTU/1 too large down", USER, .from = P, .to = RELAYED_LOW,
	  .len = ROUTE_MTU - 31 },
	{ "next hop's MTU/too large down, DF", USER, .from = P, .to = RELAYED_LOW, .len = 1401,
	  .frag = FRAME_DF },
	{ "next hop's MTU/grows above the interface's", USER, DOWN, .len = 1472 },
	{ "next hop's MTU/TTL 1 comes first", KERNEL, UP_ON(A, CH_LOW), .len = 1400, .ttl = 1 },
	{ "Data indication/0", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 0 },
	{ "Data indication/1", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 1 },
	{ "Data indication/2", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 2 },
	{ "Data indication/3", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 3 },
	{ "Data indication/4", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 4 },
	{ "Data indication/1400", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 1400 },
	{ "Data indication/TTL 1", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 9, .ttl = 1 },
	{ "Data indication/TTL and TOS", KERNEL, .from = PERMIT, .to = RELAYED_A, .len = 9,
	  .ttl = 9, .tos = 0xb9 },
	{ "no permission/down", KERNEL, .from = NOBODY, .to = RELAYED_A, .len = 30 },
	{ "no permission/down, TTL 1", KERNEL, .from = NOBODY, .to = RELAYED_A, .len = 30,
	  .ttl = 1 },
	{ "no permission/another client's peer", KERNEL, .from = LOW, .to = RELAYED_B, .len = 30 },
	{ "no permission/another client without one", USER, UP_ON(A, CH_LOW_CLIENT), .len = 31 },
	{ "Send indication/0", KERNEL, SENDING(A), .send_to = P, .len = 0 },
	{ "Send indication/33", KERNEL, SENDING(A), .send_to = P, .len = 33 },
	{ "Send indication/unbound peer", KERNEL, SENDING(A), .send_to = PERMIT, .len = 34 },
	{ "Send indication/DONT-FRAGMENT", USER, SENDING(A), .send_to = P, .len = 35,
	  .no_fragment = true },
	{ "Send indication/TTL 2", KERNEL, SENDING(A), .send_to = P, .len = 36, .ttl = 2,
	  .tos = 0x03 },
	{ "Send indication/TTL 1", KERNEL, SENDING(A), .send_to = P, .len = 36, .ttl = 1 },
	{ "Send indication/too large for next hop", USER, SENDING(A), .send_to = LOW, .len = 1300 },
	{ "Send indication/no permission", USER, SENDING(A), .send_to = NOBODY, .len = 37 },
	{ "Send indication/policy", USER, SENDING(A), .send_to = BANNED, .len = 37 },
	{ "Send indication/no data", USER, SENDING(A), .send_to = P, .no_data = true },
	{ "Send indication/another client", KERNEL, SENDING(A), .send_to = RELAYED_B, .len = 38 },
	{ "Send indication/another client without permission", USER, SENDING(A),
	  .send_to = RELAYED_LOW, .len = 39 },
	{ "another client/back", KERNEL, UP_ON(B, B_TO_A), .len = 47 },
	{ "forged/as another client, from outside", SHUT, .from = RELAYED_A, .to = RELAYED_B,
	  .len = 41, .outside = true },
	{ "forged/as another client, from a client", SHUT, .from = RELAYED_A, .to = RELAYED_B,
	  .len = 42 },
	{ "forged/as oneself", SHUT, .from = RELAYED_A, .to = RELAYED_A, .len = 43,
	  .outside = true },
};

/* After LOW_CLIENT got a permission for A's address, but no channel. */
static const struct shot permitted[] = {
	{ "another client/Data indication", KERNEL, UP_ON(A, CH_LOW_CLIENT), .len = 45 },
	{ "another client/Data indication, TTL 2", KERNEL, UP_ON(A, CH_LOW_CLIENT), .len = 45,
	  .ttl = 2 },
	{ "another client/Data indication, too large", USER, UP_ON(A, CH_LOW_CLIENT), .len = 1300 },
};

/* After it bound a channel. */
static const struct shot bound[] = {
	{ "another client/bound later", KERNEL, UP_ON(A, CH_LOW_CLIENT), .len = 46 },
	{ "another client/fits its MTU", KERNEL, UP_ON(A, CH_LOW_CLIENT), .len = ROUTE_MTU - 32 },
	{ "another client/too large for it", USER, UP_ON(A, CH_LOW_CLIENT), .len = ROUTE_MTU - 31 },
};

/* Before and after GOING lost its permission. */
static const struct shot before_cut[] = {
	{ "permission cut/before, up", KERNEL, UP_ON(A, CH_GOING), .len = 50 },
	{ "permission cut/before, down", KERNEL, .from = GOING, .to = RELAYED_A, .len = 51 },
};
static const struct shot after_cut[] = {
	{ "permission cut/up", USER, UP_ON(A, CH_GOING), .len = 50 },
	{ "permission cut/down", KERNEL, .from = GOING, .to = RELAYED_A, .len = 51 },
	{ "permission cut/Send", USER, SENDING(A), .send_to = GOING, .len = 52 },
};

/* After B deleted its allocation. */
static const struct shot deleted[] = {
	{ "allocation deleted/up", USER, UP_ON(B, B_TO_P), .len = 60 },
	{ "allocation deleted/Send", USER, SENDING(B), .send_to = P, .len = 60 },
	{ "allocation deleted/to another client", USER, UP_ON(B, B_TO_A), .len = 61 },
	{ "allocation deleted/from another client", USER, HAIRPIN, .len = 62 },
	{ "allocation deleted/down", HOST, .from = P, .to = RELAYED_B, .len = 63 },
	{ "allocation deleted/the others go on", KERNEL, UP, .len = 64 },
};

#endif
