/* SPDX-License-Identifier: MIT */
/*
 * Pipes for tests of the program: entries of its maps, and frames made byte by byte. Tags come from
 * the SipHash of user space, which shares no code with the program's.
 */
#ifndef PC_TESTS_BPF_PIPE_SCENE_H
#define PC_TESTS_BPF_PIPE_SCENE_H

#include "abi/pipe.h"
#include "base/siphash.h"
#include "scene.h"

#define PIPE_IN	     0x01020304u
#define PIPE_OUT     0xa1b2c3d4u
#define PIPE_SLOT    7
#define PIPE_OTHER   8
#define PIPE_NH	     4
#define PIPE_MAX     1500
#define PIPE_NO_SLOT PC_PIPE_NOBODY

static const struct endpoint pipe_peer = { 0xc0000215, 41001, false };	 /* 192.0.2.21 */
static const struct endpoint pipe_friend = { 0xcb007116, 42001, false }; /* 203.0.113.22 */
static const struct endpoint pipe_relayed = { 0xc6336401, 50011, false };

/* One direction, as a test says it. */
struct pipe_way {
	struct endpoint from, to, new_from, new_to;
	uint32_t in, out;
	bool in_plain, out_plain;
	bool down;
	uint32_t slot, other_slot, tenant, other_tenant;
	uint32_t nexthop, window;
	uint64_t expires_ns; /* 0: in an hour */
};

static inline struct pipe_way pipe_way(bool in6, bool out6)
{
	return (struct pipe_way){
		.from = scene_family(pipe_peer, in6),
		.to = scene_family(scene_server, in6),
		.new_from = scene_family(scene_server, out6),
		.new_to = scene_family(pipe_friend, out6),
		.in = PIPE_IN,
		.out = PIPE_OUT,
		.slot = PIPE_SLOT,
		.other_slot = PIPE_NO_SLOT,
		.nexthop = PIPE_NH,
		.window = 3,
	};
}

/* The key that goes with an index. */
static inline void pipe_key(uint32_t index, uint8_t ret_key[16])
{
	frame_fill(ret_key, 16, index * 2654435761u + 1);
}

static inline void pipe_words(uint32_t index, __u64 ret_words[2])
{
	uint8_t key[16];

	pipe_key(index, key);
	for (int i = 0; i < 16; i++)
		ret_words[i / 8] = (i % 8 ? ret_words[i / 8] : 0) | (uint64_t)key[i]
									    << (8 * (i % 8));
}

static inline void pipe_sums(const struct pipe_way *way, struct pc_pipe *pipe)
{
	if (way->from.six) {
		struct pc_flow6_key key = scene_key6(way->from, way->to, 0);

		pc_csum_flow6(&key, &pipe->flow);
	} else {
		struct pc_flow4_key key = scene_key(way->from, way->to, 0);

		pc_csum_flow4(&key, &pipe->flow);
	}
	if (!way->in_plain && !way->out_plain)
		pipe->flow.l4_diff =
			pc_csum_fold(pipe->flow.l4_diff + pc_csum_diff32(pipe->in, pipe->out));
}

static inline struct pc_pipe pipe_entry(const struct pipe_way *way)
{
	struct pc_pipe pipe = {
		.flow = {
			.expires_ns = way->expires_ns ? way->expires_ns : rig_now() + 3600 * NSEC,
			.sport = htons(way->new_from.port),
			.dport = htons(way->new_to.port),
			.flags = (uint16_t)(PC_FLOW_PIPE | (way->down ? 0 : PC_FLOW_UP) |
					    (way->new_to.six ? PC_FLOW_OUT6 : 0)),
			.slot = way->slot,
			.tenant = way->tenant,
			.nexthop = way->nexthop,
		},
		.sport = htons(way->from.port),
		.dport = htons(way->to.port),
		.in = htonl(way->in),
		.out = htonl(way->out),
		.flags = (way->from.six ? PC_PIPE_IN6 : 0u) |
			 (way->in_plain ? PC_PIPE_IN_PLAIN : 0u) |
			 (way->out_plain ? PC_PIPE_OUT_PLAIN : 0u),
		.window = way->window,
		.other_slot = way->other_slot,
		.other_tenant = way->other_tenant,
	};

	frame_addr((uint8_t *)pipe.saddr, way->from);
	frame_addr((uint8_t *)pipe.daddr, way->to);
	frame_addr((uint8_t *)pipe.flow.saddr, way->new_from);
	frame_addr((uint8_t *)pipe.flow.daddr, way->new_to);
	pipe_words(way->in, pipe.in_key);
	pipe_words(way->out, pipe.out_key);
	pipe_sums(way, &pipe);
	return pipe;
}

/* The flow that leads from a relayed port into a pipe. */
static inline void pipe_add_port(struct rig *rig, const struct pipe_way *way,
				 const struct pc_pipe *pipe)
{
	struct rig_flow flow = {
		.six = way->from.six,
		.value = { .expires_ns = pipe->flow.expires_ns,
			   .saddr = { pipe->in },
			   .flags = PC_FLOW_PIPE,
			   .slot = way->slot },
	};

	if (flow.six)
		flow.key.v6 = scene_key6(way->from, way->to, 0);
	else
		flow.key.v4 = scene_key(way->from, way->to, 0);
	rig_add_flow(rig, &flow);
	scene_add_port(rig, way->to);
}

static inline void pipe_add(struct rig *rig, const struct pipe_way *way)
{
	struct pc_pipe pipe = pipe_entry(way);

	assert_int_equal(bpf_map_update_elem(rig_map(rig, PC_MAP_PIPE), &pipe.in, &pipe, BPF_ANY),
			 0);
	if (way->in_plain)
		pipe_add_port(rig, way, &pipe);
}

/* A pipe, its next hop, and a daemon that is alive. */
static inline void pipe_set(struct rig *rig, const struct pipe_way *way)
{
	rig_set_nexthop6(rig, PIPE_NH, RIG_LO, RIG_MTU, 0, way->new_to.six);
	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = rig_now() + 3600 * NSEC });
	pipe_add(rig, way);
}

/* --- frames --- */

static inline void put64(uint8_t *at, uint64_t value)
{
	put32(at, (uint32_t)(value >> 32));
	put32(at + 4, (uint32_t)value);
}

static inline void pipe_tag(uint8_t *frame, uint32_t index, size_t len)
{
	uint8_t key[16], input[20];
	uint64_t tag;

	pipe_key(index, key);
	memcpy(input, frame, 16);
	put32(input + 16, (uint32_t)len);
	tag = pc_siphash24(key, input, sizeof(input));
	for (int i = 0; i < 8; i++)
		frame[16 + i] = (uint8_t)(tag >> (8 * i));
}

/* A frame around @len bytes that do not matter. Returns its length. */
static inline size_t pipe_write(uint8_t *frame, uint32_t index, uint8_t flags, uint64_t counter,
				size_t len)
{
	frame[0] = 0x0c;
	frame[1] = flags;
	put16(frame + 2, 0);
	put32(frame + 4, index);
	put64(frame + 8, counter);
	frame_fill(frame + 24, len, (uint32_t)counter + 1);
	pipe_tag(frame, index, len);
	return 24 + len;
}

/* The frame after its hop. */
static inline void pipe_rewrite(uint8_t *frame, uint32_t index, size_t len)
{
	put32(frame + 4, index);
	pipe_tag(frame, index, len - 24);
}

#endif
