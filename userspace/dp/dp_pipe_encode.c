/* SPDX-License-Identifier: MIT */
/* A direction of a pipe as an entry of pc4_pipe, and back. */
#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"
#include "dp/dp_int.h"
#include "lib/csum.h"
#include "lib/pipe.h"

static void put_addr(const struct pc_addr *addr, __be32 words[static 4], __be16 *port)
{
	memcpy(words, addr->ip.b, pc_ip_len(&addr->ip));
	*port = htons(addr->port);
}

static struct pc_addr get_addr(const __be32 words[static 4], __be16 port, bool six)
{
	struct pc_addr addr = { .ip.family = six ? 6 : 4, .port = ntohs(port) };

	memcpy(addr.ip.b, words, pc_ip_len(&addr.ip));
	return addr;
}

static bool one_family(const struct pc_addr *a, const struct pc_addr *b)
{
	return (a->ip.family == 4 || a->ip.family == 6) && a->ip.family == b->ip.family;
}

/* SipHash takes its key as two little-endian words. */
static void put_key(const uint8_t key[static 16], __u64 ret_words[static 2])
{
	for (int i = 0; i < 16; i++) {
		if (i % 8 == 0)
			ret_words[i / 8] = 0;
		ret_words[i / 8] |= (__u64)key[i] << (8 * (i % 8));
	}
}

static void get_key(const __u64 words[static 2], uint8_t ret_key[static 16])
{
	for (int i = 0; i < 16; i++)
		ret_key[i] = (uint8_t)(words[i / 8] >> (8 * (i % 8)));
}

/* The checksum differences of the flow, with the two indices. */
static void put_sums(struct pc_pipe *item)
{
	struct pc_flow *flow = &item->flow;

	if (item->flags & PC_PIPE_IN6) {
		struct pc_flow6_key key = { .sport = item->sport, .dport = item->dport };

		memcpy(key.saddr, item->saddr, sizeof(key.saddr));
		memcpy(key.daddr, item->daddr, sizeof(key.daddr));
		pc_csum_flow6(&key, flow);
	} else {
		struct pc_flow4_key key = {
			.saddr = item->saddr[0],
			.daddr = item->daddr[0],
			.sport = item->sport,
			.dport = item->dport,
		};

		pc_csum_flow4(&key, flow);
	}
	if (!(item->flags & (PC_PIPE_IN_PLAIN | PC_PIPE_OUT_PLAIN)))
		flow->l4_diff = pc_csum_fold(flow->l4_diff + pc_csum_diff32(item->in, item->out));
}

static uint16_t flags_of(const struct pc_dp_pipe *pipe)
{
	return (pipe->in_local.ip.family == 6 ? PC_PIPE_IN6 : 0) |
	       (pipe->in_plain ? PC_PIPE_IN_PLAIN : 0) | (pipe->out_plain ? PC_PIPE_OUT_PLAIN : 0) |
	       (pipe->granted ? PC_PIPE_GRANTED : 0);
}

int pc_dp_pipe_encode(const struct pc_dp_pipe *pipe, struct pc_pipe *ret_item)
{
	struct pc_pipe item = {
		.in = htonl(pipe->in),
		.out = pipe->out_plain ? 0 : htonl(pipe->out),
		.flags = flags_of(pipe),
		.other_slot = pipe->shared ? pipe->other_slot : PC_PIPE_NOBODY,
		.other_tenant = pipe->shared ? pipe->other_tenant : 0,
		.flow = {
			.expires_ns = pipe->expires_ns,
			.slot = pipe->slot,
			.tenant = pipe->tenant,
			.nexthop = pipe->nexthop,
			.flags = PC_FLOW_PIPE | (pipe->up ? PC_FLOW_UP : 0) |
				 (pipe->out_local.ip.family == 6 ? PC_FLOW_OUT6 : 0),
		},
	};

	if (!pipe->in || (!pipe->out && !pipe->out_plain) || (pipe->in_plain && pipe->out_plain) ||
	    !one_family(&pipe->in_local, &pipe->in_remote) ||
	    !one_family(&pipe->out_local, &pipe->out_remote))
		return PC_ERR_RANGE;
	put_addr(&pipe->in_remote, item.saddr, &item.sport);
	put_addr(&pipe->in_local, item.daddr, &item.dport);
	put_addr(&pipe->out_local, item.flow.saddr, &item.flow.sport);
	put_addr(&pipe->out_remote, item.flow.daddr, &item.flow.dport);
	if (!pipe->in_plain)
		put_key(pipe->in_key, item.in_key);
	if (!pipe->out_plain)
		put_key(pipe->out_key, item.out_key);
	memcpy(item.in_peer, pipe->in_peer, sizeof(item.in_peer));
	memcpy(item.out_peer, pipe->out_peer, sizeof(item.out_peer));
	put_sums(&item);
	*ret_item = item;
	return 0;
}

void pc_dp_pipe_decode(const struct pc_pipe *item, struct pc_dp_pipe *ret_pipe)
{
	const struct pc_flow *flow = &item->flow;
	bool in6 = item->flags & PC_PIPE_IN6, out6 = flow->flags & PC_FLOW_OUT6;
	bool shared = item->other_slot != PC_PIPE_NOBODY;
	struct pc_dp_pipe pipe = {
		.in = ntohl(item->in),
		.out = ntohl(item->out),
		.in_plain = item->flags & PC_PIPE_IN_PLAIN,
		.out_plain = item->flags & PC_PIPE_OUT_PLAIN,
		.granted = item->flags & PC_PIPE_GRANTED,
		.in_remote = get_addr(item->saddr, item->sport, in6),
		.in_local = get_addr(item->daddr, item->dport, in6),
		.out_local = get_addr(flow->saddr, flow->sport, out6),
		.out_remote = get_addr(flow->daddr, flow->dport, out6),
		.nexthop = flow->nexthop,
		.expires_ns = flow->expires_ns,
		.slot = flow->slot,
		.tenant = flow->tenant,
		.up = flow->flags & PC_FLOW_UP,
		.shared = shared,
		.other_slot = shared ? item->other_slot : 0,
		.other_tenant = item->other_tenant,
	};

	get_key(item->in_key, pipe.in_key);
	get_key(item->out_key, pipe.out_key);
	memcpy(pipe.in_peer, item->in_peer, sizeof(pipe.in_peer));
	memcpy(pipe.out_peer, item->out_peer, sizeof(pipe.out_peer));
	*ret_pipe = pipe;
}
