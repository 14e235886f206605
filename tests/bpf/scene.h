/* SPDX-License-Identifier: MIT */
/*
 * The scene most tests play in: a client with a channel to a peer, and a second client of the same
 * relay. Flows are written with the same arithmetic as the daemon's (pc_csum_flow4).
 */
#ifndef PC_TESTS_BPF_SCENE_H
#define PC_TESTS_BPF_SCENE_H

#include <arpa/inet.h>

#include "harness.h"
#include "lib/csum.h"

#define SCENE_CHANNEL	    0x4abc
#define SCENE_HAIRPIN	    0x4001 /* first client's channel to the second's relayed address */
#define SCENE_OTHER_CHANNEL 0x7ffe /* second client's channel to the first's */
#define SCENE_NH_CLIENT	    1
#define SCENE_NH_PEER	    2
#define SCENE_NH_OTHER	    3
#define SCENE_SLOT	    5
#define SCENE_SLOT_OTHER    6
#define SCENE_PAYLOAD_MAX   1600

static const struct endpoint scene_client = { 0xc000020a, 40001, false }; /* 192.0.2.10 */
static const struct endpoint scene_server = { 0xc6336401, RIG_SERVICE_PORT, false };
static const struct endpoint scene_relayed = { 0xc6336401, 50007, false };
static const struct endpoint scene_peer = { 0xcb007105, 7001, false }; /* 203.0.113.5 */
static const struct endpoint scene_other = { 0xc000020b, 40002, false };
static const struct endpoint scene_other_relayed = { 0xc6336401, 50008, false };

/* One direction of a flow: what arrives, what is sent. */
struct scene_flow {
	struct endpoint from, to, new_from, new_to;
	uint16_t channel_in, channel_out;
	uint16_t flags;
	uint32_t slot, nexthop, tenant;
	uint64_t expires_ns; /* 0: in an hour */
};

/* The same, reached by IPv6. */
static inline struct endpoint scene_six(struct endpoint end)
{
	end.six = true;
	return end;
}

static inline struct endpoint scene_family(struct endpoint end, bool six)
{
	end.six = six;
	return end;
}

static inline struct pc_flow4_key scene_key(struct endpoint from, struct endpoint to,
					    uint16_t channel)
{
	return (struct pc_flow4_key){
		.saddr = htonl(from.ip),
		.daddr = htonl(to.ip),
		.sport = htons(from.port),
		.dport = htons(to.port),
		.channel = htons(channel),
	};
}

static inline struct pc_flow6_key scene_key6(struct endpoint from, struct endpoint to,
					     uint16_t channel)
{
	struct pc_flow6_key key = {
		.sport = htons(from.port),
		.dport = htons(to.port),
		.channel = htons(channel),
	};

	frame_addr((uint8_t *)key.saddr, from);
	frame_addr((uint8_t *)key.daddr, to);
	return key;
}

static inline void scene_add(struct rig *rig, const struct scene_flow *f)
{
	struct rig_flow flow = {
		.six = f->from.six,
		.value = {
			.expires_ns = f->expires_ns ? f->expires_ns : rig_now() + 3600 * NSEC,
			.sport = htons(f->new_from.port),
			.dport = htons(f->new_to.port),
			.channel = htons(f->channel_out),
			.flags = f->flags | (f->new_from.six ? PC_FLOW_OUT6 : 0),
			.slot = f->slot,
			.nexthop = f->nexthop,
			.tenant = f->tenant,
		},
	};

	frame_addr((uint8_t *)flow.value.saddr, f->new_from);
	frame_addr((uint8_t *)flow.value.daddr, f->new_to);
	if (flow.six) {
		flow.key.v6 = scene_key6(f->from, f->to, f->channel_in);
		pc_csum_flow6(&flow.key.v6, &flow.value);
	} else {
		flow.key.v4 = scene_key(f->from, f->to, f->channel_in);
		pc_csum_flow4(&flow.key.v4, &flow.value);
	}
	rig_add_flow(rig, &flow);
}

/* A permission: what the client sends to any port of the peer, and what comes from there. */
struct scene_perm {
	struct endpoint client, server, relayed, peer;
	bool hairpin;
	uint32_t slot, to_client, to_peer, tenant;
	uint64_t expires_ns; /* 0: in an hour */
};

/* IPv4 mapped. */
static inline void scene_map(__be32 to[4], struct endpoint end)
{
	memset(to, 0, 16);
	to[2] = htonl(0xffff);
	frame_addr((uint8_t *)(end.six ? to : to + 3), end);
}

static inline void scene_perm_addrs(struct rig_perm *perm, const struct endpoint key[3],
				    const struct endpoint value[2])
{
	if (perm->six) {
		scene_map(perm->key.v6.saddr, key[0]);
		scene_map(perm->key.v6.daddr, key[1]);
		if (key[2].ip)
			scene_map(perm->key.v6.peer, key[2]);
		perm->key.v6.sport = htons(key[0].port);
		perm->key.v6.dport = htons(key[1].port);
		scene_map(perm->value.saddr, value[0]);
		scene_map(perm->value.daddr, value[1]);
	} else {
		perm->key.v4.saddr = htonl(key[0].ip);
		perm->key.v4.daddr = htonl(key[1].ip);
		perm->key.v4.peer = htonl(key[2].ip);
		perm->key.v4.sport = htons(key[0].port);
		perm->key.v4.dport = htons(key[1].port);
		perm->value.saddr[0] = htonl(value[0].ip);
		perm->value.daddr[0] = htonl(value[1].ip);
	}
	perm->value.sport = htons(value[0].port);
	perm->value.dport = htons(value[1].port);
	if (value[0].six)
		perm->value.flags |= PC_FLOW_OUT6;
}

static inline void scene_add_perm(struct rig *rig, const struct scene_perm *p)
{
	struct endpoint peer = p->peer, nobody = { 0, 0, false };
	struct rig_perm perm = { .six = p->client.six || p->peer.six };

	peer.port = 0;
	perm.value.expires_ns = p->expires_ns ? p->expires_ns : rig_now() + 3600 * NSEC;
	perm.value.slot = p->slot;
	perm.value.tenant = p->tenant;
	perm.value.nexthop = p->to_client;
	perm.value.flags = p->hairpin ? PC_FLOW_HAIRPIN : 0;
	scene_perm_addrs(&perm, (struct endpoint[]){ peer, p->relayed, nobody },
			 (struct endpoint[]){ p->server, p->client });
	rig_add_perm(rig, &perm);
	memset(&perm.key, 0, sizeof(perm.key));
	perm.value.nexthop = p->hairpin ? 0 : p->to_peer;
	perm.value.flags = (p->hairpin ? PC_FLOW_HAIRPIN : 0) | PC_FLOW_UP;
	scene_perm_addrs(&perm, (struct endpoint[]){ p->client, p->server, peer },
			 (struct endpoint[]){ p->relayed, peer });
	rig_add_perm(rig, &perm);
}

static inline void scene_add_port(struct rig *rig, struct endpoint relayed)
{
	struct pc_port_key key = { .port = htons(relayed.port) };

	scene_map(key.addr, relayed);
	rig_add_port(rig, &key);
}

static inline struct scene_flow scene_up(void)
{
	return (struct scene_flow){
		.from = scene_client,
		.to = scene_server,
		.channel_in = SCENE_CHANNEL,
		.new_from = scene_relayed,
		.new_to = scene_peer,
		.flags = PC_FLOW_UP,
		.slot = SCENE_SLOT,
		.nexthop = SCENE_NH_PEER,
	};
}

static inline struct scene_flow scene_down(void)
{
	return (struct scene_flow){
		.from = scene_peer,
		.to = scene_relayed,
		.new_from = scene_server,
		.new_to = scene_client,
		.channel_out = SCENE_CHANNEL,
		.slot = SCENE_SLOT,
		.nexthop = SCENE_NH_CLIENT,
	};
}

/* First half of a hairpin: next hop 0 does not exist, it must not be looked at. */
static inline struct scene_flow scene_hairpin_up(void)
{
	return (struct scene_flow){
		.from = scene_client,
		.to = scene_server,
		.channel_in = SCENE_HAIRPIN,
		.new_from = scene_relayed,
		.new_to = scene_other_relayed,
		.flags = PC_FLOW_UP | PC_FLOW_HAIRPIN,
		.slot = SCENE_SLOT,
	};
}

static inline struct scene_flow scene_hairpin_down(void)
{
	return (struct scene_flow){
		.from = scene_relayed,
		.to = scene_other_relayed,
		.new_from = scene_server,
		.new_to = scene_other,
		.channel_out = SCENE_OTHER_CHANNEL,
		.flags = PC_FLOW_HAIRPIN,
		.slot = SCENE_SLOT_OTHER,
		.nexthop = SCENE_NH_OTHER,
	};
}

static inline void scene_nexthops(struct rig *rig)
{
	rig_set_nexthop(rig, SCENE_NH_CLIENT, RIG_LO, RIG_MTU, 0);
	rig_set_nexthop(rig, SCENE_NH_PEER, RIG_LO, RIG_MTU, 0);
	rig_set_nexthop(rig, SCENE_NH_OTHER, RIG_LO, RIG_MTU, 0);
}

/* Everything in place, and a daemon that is alive. */
static inline void scene_set(struct rig *rig)
{
	struct scene_flow flows[] = { scene_up(), scene_down(), scene_hairpin_up(),
				      scene_hairpin_down() };

	scene_nexthops(rig);
	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = rig_now() + 3600 * NSEC });
	for (size_t i = 0; i < RIG_COUNT(flows); i++)
		scene_add(rig, &flows[i]);
}

/* --- datagrams of the scene --- */

static inline struct frame_spec scene_spec(struct endpoint from, struct endpoint to,
					   const uint8_t *payload, size_t len)
{
	return (struct frame_spec){
		.link_seed = FRAME_IN_SEED,
		.tos = 0xb9, /* EF and ECT(1) */
		.ttl = 61,
		.id = 0x1234,
		.frag = FRAME_DF,
		.from = from,
		.to = to,
		.payload = payload,
		.len = len,
	};
}

/* As it must leave: the same datagram from the other side of the relay. */
static inline struct frame_spec scene_sent(const struct frame_spec *in, uint32_t nexthop,
					   struct endpoint from, struct endpoint to,
					   const uint8_t *payload, size_t len)
{
	struct frame_spec out = *in;

	out.link_seed = FRAME_OUT_SEED + nexthop;
	out.vlans = 0;
	out.ttl = (uint8_t)(in->ttl - 1);
	out.from = from;
	out.to = to;
	out.payload = payload;
	out.len = len;
	out.trailer = 0;
	out.flow_label = 0;
	return out;
}

static inline void scene_expect_frame(const struct frame *got, const struct frame_spec *want)
{
	struct frame frame;

	frame_build(&frame, want);
	assert_int_equal(got->len, frame.len);
	assert_memory_equal(got->bytes, frame.bytes, frame.len);
}

static inline void scene_expect_same(const struct frame *got, const struct frame *in)
{
	assert_int_equal(got->len, in->len);
	assert_memory_equal(got->bytes, in->bytes, in->len);
}

#endif
