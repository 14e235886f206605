/* SPDX-License-Identifier: MIT */
/*
 * The world of paths.c, and what comes of a shot in it, as text: packets at both interfaces and
 * what the counters of pcd grew by. What is random from run to run is replaced by names.
 */
#ifndef PC_TESTS_PATHS_WATCH_H
#define PC_TESTS_PATHS_WATCH_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "paths_shots.h"
#include "turn_client.h"
#include "wire_tap.h"

#define CLIENTS	 3
#define REASONS	 64
#define CTL_MS	 5000
#define SEEN_MAX 4096

struct counts {
	uint64_t session[CLIENTS][2][3]; /* up, down; packets, payload, wire */
	uint64_t kernel_packets, user_packets;
	uint64_t kernel[REASONS], user[REASONS];
};

static struct {
	const char *socket;
	unsigned int vlan;
	struct tap client, peer;
	uint8_t client_gateway[6], peer_gateway[6];
	struct pc_addr place[N_PLACES];
	struct turn_client turn[CLIENTS];
	bool live[CLIENTS];
	uint32_t fences;
	struct counts fence; /* what one fence adds */
	char reason[REASONS][32];
	bool reason_drop[REASONS];
	char seen[SEEN_MAX];
	size_t seen_len;
} world;

static const char *const place_text[N_PLACES] = {
	[A] = "198.18.1.2:40001",	   [B] = "198.18.1.2:40002",
	[LOW_CLIENT] = "198.18.1.9:40003", [STRANGER] = "198.18.1.2:40004",
	[SERVER] = "198.18.1.1:3478",	   [P] = "198.18.2.2:7000",
	[EDGE] = "198.18.2.2:7005",	   [PERMIT] = "198.18.2.2:7001",
	[LOW] = "198.18.2.9:7000",	   [GOING] = "198.18.2.66:7000",
	[NOBODY] = "198.18.2.77:7000",	   [BANNED] = "10.1.2.3:7000",
	[MARK] = "198.18.2.2:7999",
};

static const char *const place_name[N_PLACES] = {
	"A",   "B",	"low client", "stranger", "server", "P",	 "edge",      "permit",
	"low", "going", "nobody",     "banned",	  "mark",   "relayed A", "relayed B", "relayed low",
};

static void die(const char *what, int r)
{
	fprintf(stderr, "paths: %s: %s%d\n", what, r > 0 ? "error " : "failed ", r);
	exit(1);
}

static void check(const char *what, int r)
{
	if (r)
		die(what, r);
}

static struct endpoint endpoint_of(enum place place)
{
	const struct pc_addr *a = &world.place[place];

	return (struct endpoint){ .ip = get32(a->ip.b), .port = a->port };
}

/* --- what is seen --- */

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	size_t room = sizeof(world.seen) - world.seen_len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(world.seen + world.seen_len, room, fmt, ap);
	va_end(ap);
	world.seen_len += n > 0 && (size_t)n < room ? (size_t)n : 0;
}

static void note_place(uint32_t ip, uint16_t port)
{
	for (int i = 0; i < N_PLACES; i++) {
		struct endpoint e = endpoint_of((enum place)i);

		if (e.ip == ip && e.port == port) {
			note("%s", place_name[i]);
			return;
		}
	}
	note("%u.%u.%u.%u:%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, port);
}

/* Short data in full; all of it by a sum that knows positions (FNV-1a). */
static void note_bytes(const uint8_t *bytes, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ull;

	note(" %zu bytes", len);
	for (size_t i = 0; i < len; i++) {
		h = (h ^ bytes[i]) * 0x100000001b3ull;
		if (len <= 16)
			note("%s%02x", i ? "" : " ", bytes[i]);
	}
	if (len > 16)
		note(" %016" PRIx64, h);
}

/* Data indications differ in their transaction and in the ports of relayed addresses. */
static bool note_indication(const uint8_t *data, size_t len)
{
	struct pc_stun_attr a;
	struct pc_stun_msg m;
	struct pc_addr from;

	if (pc_stun_parse(data, len, &m) < 0 || m.cls != PC_STUN_INDICATION ||
	    !pc_stun_find(&m, PC_ATTR_XOR_PEER_ADDRESS, &a) ||
	    pc_stun_attr_xor_addr(&m, &a, &from) < 0 || !pc_stun_find(&m, PC_ATTR_DATA, &a))
		return false;
	note(" Data of %zu from ", len);
	note_place(get32(from.ip.b), from.port);
	note_bytes(a.value, a.len);
	note(" pad");
	for (const uint8_t *pad = a.value + a.len; pad < data + len; pad++)
		note(" %02x", *pad);
	return true;
}

static void note_packet(const char *where, const struct tap_packet *p)
{
	const uint8_t *udp = p->data;

	note("[at %s", where);
	if (p->vlan)
		note(" VLAN %u", p->vlan);
	if (p->trailer)
		note(" WITH A TRAILER");
	if (!p->ip_ok)
		note(" WRONG IP CHECKSUM");
	if (p->protocol != 17 || p->len < 8) {
		note(" protocol %u type %u code %u]", p->protocol, udp[0], udp[1]);
		return;
	}
	note(" from ");
	note_place(p->from, get16(udp));
	note(" to ");
	note_place(p->to, get16(udp + 2));
	note(" TTL %u TOS %02x", p->ttl, p->tos);
	if (!tap_udp_ok(p))
		note(" WRONG UDP LENGTH OR CHECKSUM");
	if (!note_indication(udp + 8, p->len - 8))
		note_bytes(udp + 8, p->len - 8);
	note("]");
}

/* --- counters --- */

static json_t *call(const char *command)
{
	json_t *reply = NULL;
	int r = pc_ctl_call(world.socket, command, NULL, CTL_MS, &reply);

	if (r || pc_ctl_error(reply)) {
		fprintf(stderr, "paths: %s: %s\n", command, r ? "" : pc_ctl_error(reply));
		exit(1);
	}
	return reply;
}

static uint64_t number_in(const json_t *object, const char *a, const char *b)
{
	return (uint64_t)json_integer_value(json_object_get(json_object_get(object, a), b));
}

static void read_sessions(struct counts *c)
{
	static const char *const dirs[] = { "up", "down" };
	static const char *const fields[] = { "packets", "payload_bytes", "wire_bytes" };
	json_t *reply = call("session list"), *s;
	size_t i;

	json_array_foreach (json_object_get(reply, "sessions"), i, s) {
		const char *client = json_string_value(json_object_get(s, "client"));

		for (int k = 0; k < CLIENTS; k++) {
			if (strcmp(client, place_text[k]) != 0)
				continue;
			for (int d = 0; d < 2; d++)
				for (int f = 0; f < 3; f++)
					c->session[k][d][f] = number_in(s, dirs[d], fields[f]);
		}
		c->kernel_packets += number_in(s, "kernel", "packets");
		c->user_packets += number_in(s, "user", "packets");
	}
	json_decref(reply);
}

static void read_reasons(struct counts *c)
{
	json_t *reply = call("drops"), *s;
	size_t i;

	json_array_foreach (json_object_get(reply, "drops"), i, s) {
		if (i >= REASONS)
			break;
		c->kernel[i] = (uint64_t)json_integer_value(json_object_get(s, "kernel"));
		c->user[i] = (uint64_t)json_integer_value(json_object_get(s, "user"));
		snprintf(world.reason[i], sizeof(world.reason[i]), "%s",
			 json_string_value(json_object_get(s, "name")));
		world.reason_drop[i] =
			!strcmp(json_string_value(json_object_get(s, "kind")), "drop");
	}
	json_decref(reply);
}

static void read_counts(struct counts *ret_counts)
{
	memset(ret_counts, 0, sizeof(*ret_counts));
	read_sessions(ret_counts);
	read_reasons(ret_counts);
}

/* @a -= @b, number by number. */
static void subtract(struct counts *a, const struct counts *b)
{
	uint64_t *to = (uint64_t *)a;
	const uint64_t *from = (const uint64_t *)b;

	for (size_t i = 0; i < sizeof(*a) / sizeof(*to); i++)
		to[i] -= from[i];
}

static void note_counts(const struct counts *c)
{
	for (int k = 0; k < CLIENTS; k++) {
		for (int d = 0; d < 2; d++) {
			const uint64_t *n = c->session[k][d];

			if (world.live[k] && (n[0] || n[1] || n[2]))
				note("[%s %s %" PRIu64 " %" PRIu64 " %" PRIu64 "]", place_name[k],
				     d ? "down" : "up", n[0], n[1], n[2]);
		}
	}
	for (int i = 0; i < REASONS; i++)
		if (world.reason_drop[i] && (c->kernel[i] || c->user[i]))
			note("[drop %s %" PRIu64 "]", world.reason[i], c->kernel[i] + c->user[i]);
}

static const char *path_taken(const struct counts *c)
{
	uint64_t kernel = c->kernel_packets, user = c->user_packets;

	for (int i = 0; i < REASONS; i++) {
		kernel += world.reason_drop[i] ? c->kernel[i] : 0;
		user += world.reason_drop[i] ? c->user[i] : 0;
	}
	return kernel && user ? "both" : kernel ? "kernel" : user ? "user" : "host";
}

#endif
