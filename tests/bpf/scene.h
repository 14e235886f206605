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

static const struct endpoint scene_client = { 0xc000020a, 40001 }; /* 192.0.2.10 */
static const struct endpoint scene_server = { 0xc6336401, RIG_SERVICE_PORT };
static const struct endpoint scene_relayed = { 0xc6336401, 50007 };
static const struct endpoint scene_peer = { 0xcb007105, 7001 }; /* 203.0.113.5 */
static const struct endpoint scene_other = { 0xc000020b, 40002 };
static const struct endpoint scene_other_relayed = { 0xc6336401, 50008 };

/* One direction of a flow: what arrives, what is sent. */
struct scene_flow {
	struct endpoint from, to, new_from, new_to;
	uint16_t channel_in, channel_out;
	uint16_t flags;
	uint32_t slot, nexthop;
	uint64_t expires_ns; /* 0: in an hour */
};

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

static inline void scene_add(struct rig *rig, const struct scene_flow *f)
{
	struct rig_flow flow = {
		.key = scene_key(f->from, f->to, f->channel_in),
		.value = {
			.expires_ns = f->expires_ns ? f->expires_ns : rig_now() + 3600 * NSEC,
			.saddr = { htonl(f->new_from.ip) },
			.daddr = { htonl(f->new_to.ip) },
			.sport = htons(f->new_from.port),
			.dport = htons(f->new_to.port),
			.channel = htons(f->channel_out),
			.flags = f->flags,
			.slot = f->slot,
			.nexthop = f->nexthop,
		},
	};

	pc_csum_flow4(&flow.key, &flow.value);
	rig_add_flow(rig, &flow);
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
