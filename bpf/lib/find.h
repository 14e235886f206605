/* SPDX-License-Identifier: MIT */
/*
 * Finds the flow or the permission that a packet belongs to. A permission is made into a flow on
 * the stack, so that all that follows knows only flows.
 */
#ifndef PC_LIB_FIND_H
#define PC_LIB_FIND_H

#include "lib/maps.h"
#include "lib/rewrite.h"

#define PC_MAPPED bpf_htonl(0x0000ffff)

/* Keys on the stack, written in whole words: the hash reads them at once and stalls on halves. */
union pc_key {
	struct pc_flow4_key v4;
	struct pc_flow6_key v6;
	__u64 words[5];
};

/* Second half of an IPv4 key, last word of an IPv6 key. */
union pc_key_tail {
	__u64 word;
	struct {
		__u32 ports;
		__be16 channel;
		__u16 reserved;
	};
};

/* Key of what arrives. */
static __always_inline void pc_key_packet(union pc_key *key, const struct pc_pkt *pkt,
					  __be16 channel, bool six)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(&pkt->udp->source, 0), .channel = channel };
	const void *addrs = pc_pkt_addrs(pkt, six);

	key->words[0] = *pc_u64_at(addrs, 0);
	if (six) {
		key->words[1] = *pc_u64_at(addrs, 8);
		key->words[2] = *pc_u64_at(addrs, 16);
		key->words[3] = *pc_u64_at(addrs, 24);
	}
	key->words[six ? 4 : 1] = tail.word;
}

/* Key of what a first flow sends to another relayed address of this node. */
static __always_inline void pc_key_hairpin(union pc_key *key, const struct pc_flow *flow, bool six)
{
	union pc_key_tail tail = { .ports = *pc_u32_at(&flow->sport, 0) };

	if (six) {
		key->words[0] = *pc_u64_at(flow->saddr, 0);
		key->words[1] = *pc_u64_at(flow->saddr, 8);
		key->words[2] = *pc_u64_at(flow->daddr, 0);
		key->words[3] = *pc_u64_at(flow->daddr, 8);
	} else {
		key->words[0] = pc_pair(flow->saddr[0], flow->daddr[0]);
	}
	key->words[six ? 4 : 1] = tail.word;
}

/* For pc4_hot4: set before loading, like those of relay.bpf.c. */
const volatile __u32 pc_hot_shift = 60;
/* For pc4_hot6. */
const volatile __u32 pc_hot6_shift = 60;

/* A flow of pc4_flow4, if it has a place in the faster table. */
static __always_inline struct pc_flow *pc_find_hot4(__u64 first, __u64 second)
{
	__u32 set = pc_hot_set(first, second, pc_hot_shift);
	struct pc_hot4 *hot = bpf_map_lookup_elem(&pc4_hot4, &set);
	struct pc_flow *flow;

	if (pc_unlikely(!hot))
		return NULL;
#pragma unroll
	for (int i = 0; i < PC_HOT_WAYS; i++) {
		if (pc_likely(*pc_u64_at(&hot->key[i], 0) == first &&
			      *pc_u64_at(&hot->key[i], 8) == second)) {
			flow = &hot->flow[i];
			/* Else the compiler works it out again for every field. */
			asm volatile("" : "+r"(flow));
			return flow;
		}
	}
	return NULL;
}

/* The same of pc4_flow6. @addrs: source and destination as they lie in the packet. */
static __always_inline struct pc_flow *pc_find_hot6(const void *addrs, __u64 tail)
{
	__u64 word[4] = { *pc_u64_at(addrs, 0), *pc_u64_at(addrs, 8), *pc_u64_at(addrs, 16),
			  *pc_u64_at(addrs, 24) };
	__u32 set = pc_hot_set6(word, tail, pc_hot6_shift);
	struct pc_hot6 *hot = bpf_map_lookup_elem(&pc4_hot6, &set);
	struct pc_flow *flow;

	if (pc_unlikely(!hot))
		return NULL;
#pragma unroll
	for (int i = 0; i < PC_HOT_WAYS; i++) {
		if (pc_likely(hot->tail[i] == tail && hot->addrs[i][0] == word[0] &&
			      hot->addrs[i][1] == word[1] && hot->addrs[i][2] == word[2] &&
			      hot->addrs[i][3] == word[3])) {
			flow = &hot->flow[i];
			asm volatile("" : "+r"(flow));
			return flow;
		}
	}
	return NULL;
}

static __always_inline struct pc_flow *pc_find_flow(const union pc_key *key, bool six)
{
	struct pc_flow *flow = six ? NULL : pc_find_hot4(key->words[0], key->words[1]);

	if (flow)
		return flow;
	return six ? bpf_map_lookup_elem(&pc4_flow6, &key->v6)
		   : bpf_map_lookup_elem(&pc4_flow4, &key->v4);
}

/* An address of pc4_perm6: IPv4 (in the first word) is mapped. */
static __always_inline void pc_find_map(__be32 to[4], const __be32 *from, bool six)
{
	to[0] = six ? from[0] : 0;
	to[1] = six ? from[1] : 0;
	to[2] = six ? from[2] : PC_MAPPED;
	to[3] = six ? from[3] : from[0];
}

/* What a flow has in its first word. Read both: Linux 6.1 does not follow a computed index. */
static __always_inline __be32 pc_find_first(const __be32 addr[4], bool mapped)
{
	__be32 first = addr[0], last = addr[3];

	asm volatile("" : "+r"(first), "+r"(last));
	return mapped ? last : first;
}

/* @key: of the packet that arrives, without a channel. @dport: 0: the permission's. */
static __always_inline void pc_find_fill(struct pc_flow *flow, const struct pc_perm *perm,
					 const union pc_key *key, __be16 dport, bool mapped,
					 bool six)
{
	bool out6 = perm->flags & PC_FLOW_OUT6;
	union pc_word ports;

	ports.half[0] = perm->sport;
	ports.half[1] = dport ? dport : perm->dport;
	flow->expires_ns = perm->expires_ns;
	if (out6) {
		*pc_u64_at(flow->saddr, 0) = *pc_u64_at(perm->saddr, 0);
		*pc_u64_at(flow->saddr, 8) = *pc_u64_at(perm->saddr, 8);
		*pc_u64_at(flow->daddr, 0) = *pc_u64_at(perm->daddr, 0);
		*pc_u64_at(flow->daddr, 8) = *pc_u64_at(perm->daddr, 8);
	} else {
		flow->saddr[0] = pc_find_first(perm->saddr, mapped);
		flow->daddr[0] = pc_find_first(perm->daddr, mapped);
	}
	*pc_u32_at(&flow->sport, 0) = ports.word;
	flow->channel = 0;
	flow->flags = perm->flags;
	flow->slot = perm->slot;
	flow->nexthop = perm->nexthop;
	flow->tenant = perm->tenant;
	if (six)
		pc_csum_flow6(&key->v6, flow);
	else
		pc_csum_flow4(&key->v4, flow);
}

/* Both ports of a key of a permission in one word. @up: with that of the client. */
static __always_inline __u32 pc_find_ports(const union pc_key *key, bool up, bool six)
{
	union pc_word ports = { .half[0] = six ? key->v6.sport : key->v4.sport,
				.half[1] = six ? key->v6.dport : key->v4.dport };

	if (!up)
		ports.half[0] = 0;
	return ports.word;
}

/* Permission of IPv4 on both sides. @peer: NULL on the way down. */
static __always_inline struct pc_perm *pc_find_perm4(const union pc_key *key,
						     const struct pc_peer *peer)
{
	struct pc_perm4_key perm;

	perm.saddr = key->v4.saddr;
	perm.daddr = key->v4.daddr;
	perm.peer = peer ? peer->addr[0] : 0;
	*pc_u32_at(&perm.sport, 0) = pc_find_ports(key, peer, false);
	return bpf_map_lookup_elem(&pc4_perm4, &perm);
}

/* Any other permission. @peer: NULL on the way down. */
static __always_inline struct pc_perm *pc_find_perm6(const union pc_key *key,
						     const struct pc_peer *peer, bool six)
{
	struct pc_perm6_key perm = {};

	pc_find_map(perm.saddr, six ? key->v6.saddr : &key->v4.saddr, six);
	pc_find_map(perm.daddr, six ? key->v6.daddr : &key->v4.daddr, six);
	if (peer && peer->six)
		pc_find_map(perm.peer, peer->addr, true);
	else if (peer)
		pc_find_map(perm.peer, peer->addr, false);
	*pc_u32_at(&perm.sport, 0) = pc_find_ports(key, peer, six);
	return bpf_map_lookup_elem(&pc4_perm6, &perm);
}

/* From a tenant, by Send indication. NULL: none. */
static __always_inline struct pc_flow *pc_find_send(const union pc_key *key,
						    const struct pc_peer *peer,
						    struct pc_flow *flow, bool six)
{
	bool mapped = six || peer->six;
	struct pc_perm *perm;

	if (mapped)
		perm = pc_find_perm6(key, peer, six);
	else
		perm = pc_find_perm4(key, peer);
	if (!perm)
		return NULL;
	pc_find_fill(flow, perm, key, peer->port, mapped, six);
	return flow;
}

/* To a tenant who has no channel for this peer: as a Data indication. NULL: none. */
static __always_inline struct pc_flow *pc_find_data(const union pc_key *key, struct pc_flow *flow,
						    bool six)
{
	struct pc_perm *perm = six ? NULL : pc_find_perm4(key, NULL);
	bool mapped = !perm;

	if (!perm)
		perm = pc_find_perm6(key, NULL, six);
	if (!perm)
		return NULL;
	pc_find_fill(flow, perm, key, 0, mapped, six);
	return flow;
}

/* Whether the port that a packet arrived on is an allocation's. */
static __always_inline bool pc_find_port(const union pc_key *key, bool six)
{
	struct pc_port_key port = { .port = six ? key->v6.dport : key->v4.dport };

	pc_find_map(port.addr, six ? key->v6.daddr : &key->v4.daddr, six);
	return bpf_map_lookup_elem(&pc4_port, &port);
}

#endif
