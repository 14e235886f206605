/* SPDX-License-Identifier: MIT */
/* Bindings, permissions and ports as entries of the kernel's tables, and back. */
#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"
#include "dp/dp_int.h"
#include "lib/csum.h"

/* As it lies in a packet of its family; the words behind an IPv4 address stay zero. */
static void put_ip(const struct pc_ip *ip, __be32 words[static 4])
{
	memcpy(words, ip->b, pc_ip_len(ip));
}

void pc_dp_encode_mapped(const struct pc_ip *ip, __be32 words[static 4])
{
	if (ip->family == 6) {
		memcpy(words, ip->b, 16);
		return;
	}
	words[0] = words[1] = 0;
	words[2] = htonl(0xffff);
	memcpy(&words[3], ip->b, 4);
}

static struct pc_ip get_ip(const void *at, uint8_t family)
{
	struct pc_ip ip = { .family = family };

	memcpy(ip.b, at, pc_ip_len(&ip));
	return ip;
}

static struct pc_ip get_mapped(const __be32 words[static 4])
{
	bool v4 = !words[0] && !words[1] && words[2] == htonl(0xffff);

	return v4 ? get_ip(&words[3], 4) : get_ip(words, 6);
}

static struct pc_addr addr(struct pc_ip ip, uint16_t port)
{
	return (struct pc_addr){ .ip = ip, .port = port };
}

static bool one_family(const struct pc_addr *a, const struct pc_addr *b)
{
	return (a->ip.family == 4 || a->ip.family == 6) && a->ip.family == b->ip.family;
}

/* One direction: what arrives from @src on @dst leaves from @from to @to. */
struct way {
	const struct pc_addr *src, *dst, *from, *to;
};

/* --- flows --- */

static void encode_flow(const struct way *way, uint16_t channel_in, const struct pc_flow *rest,
			struct pc_dp_item *ret_item)
{
	const struct pc_addr *src = way->src, *dst = way->dst, *from = way->from, *to = way->to;
	struct pc_flow *flow = &ret_item->value.flow;

	memset(ret_item, 0, sizeof(*ret_item));
	*flow = *rest;
	put_ip(&from->ip, flow->saddr);
	put_ip(&to->ip, flow->daddr);
	flow->sport = htons(from->port);
	flow->dport = htons(to->port);
	if (to->ip.family == 6)
		flow->flags |= PC_FLOW_OUT6;
	if (src->ip.family == 4) {
		struct pc_flow4_key *key = &ret_item->key.flow4;

		ret_item->map = PC_DP_FLOW4;
		memcpy(&key->saddr, src->ip.b, 4);
		memcpy(&key->daddr, dst->ip.b, 4);
		key->sport = htons(src->port);
		key->dport = htons(dst->port);
		key->channel = htons(channel_in);
		pc_csum_flow4(key, flow);
	} else {
		struct pc_flow6_key *key = &ret_item->key.flow6;

		ret_item->map = PC_DP_FLOW6;
		put_ip(&src->ip, key->saddr);
		put_ip(&dst->ip, key->daddr);
		key->sport = htons(src->port);
		key->dport = htons(dst->port);
		key->channel = htons(channel_in);
		pc_csum_flow6(key, flow);
	}
}

int pc_dp_flow_encode(const struct pc_dp_flow *flow, struct pc_dp_item ret_items[static 2])
{
	const struct way way_up = { &flow->client, &flow->server, &flow->relayed, &flow->peer };
	const struct way way_down = { &flow->peer, &flow->relayed, &flow->server, &flow->client };
	uint16_t hairpin = flow->hairpin ? PC_FLOW_HAIRPIN : 0;
	struct pc_flow up = {
		.expires_ns = flow->expires_ns,
		.flags = PC_FLOW_UP | hairpin,
		.slot = flow->slot,
		.tenant = flow->tenant,
		.nexthop = hairpin ? 0 : flow->nexthop_peer,
	};
	struct pc_flow down = {
		.expires_ns = flow->expires_ns,
		.flags = hairpin,
		.slot = flow->slot,
		.tenant = flow->tenant,
		.nexthop = flow->nexthop_client,
		.channel = htons(flow->channel),
	};

	if (!one_family(&flow->client, &flow->server) || !one_family(&flow->relayed, &flow->peer))
		return PC_ERR_RANGE;
	encode_flow(&way_up, flow->channel, &up, &ret_items[0]);
	encode_flow(&way_down, 0, &down, &ret_items[1]);
	return 0;
}

static void decode_flow(const struct pc_flow *flow, uint16_t channel_in, struct pc_dp_entry *e)
{
	e->kind = PC_DP_FLOW;
	e->flags = flow->flags;
	e->channel = ntohs(flow->flags & PC_FLOW_UP ? channel_in : flow->channel);
	e->slot = flow->slot;
	e->tenant = flow->tenant;
	e->nexthop = flow->nexthop;
	e->expires_ns = flow->expires_ns;
}

/* --- permissions --- */

/* @peer: out of the indication, NULL on the way down. */
static void encode_perm(bool all4, const struct way *way, const struct pc_ip *peer,
			const struct pc_perm *rest, struct pc_dp_item *ret_item)
{
	const struct pc_addr *src = way->src, *dst = way->dst, *from = way->from, *to = way->to;
	void (*put)(const struct pc_ip *, __be32 *) = all4 ? put_ip : pc_dp_encode_mapped;
	struct pc_perm *perm = &ret_item->value.perm;

	memset(ret_item, 0, sizeof(*ret_item));
	*perm = *rest;
	put(&from->ip, perm->saddr);
	put(&to->ip, perm->daddr);
	perm->sport = htons(from->port);
	perm->dport = htons(to->port);
	if (to->ip.family == 6)
		perm->flags |= PC_FLOW_OUT6;
	if (all4) {
		struct pc_perm4_key *key = &ret_item->key.perm4;

		ret_item->map = PC_DP_PERM4;
		memcpy(&key->saddr, src->ip.b, 4);
		memcpy(&key->daddr, dst->ip.b, 4);
		if (peer)
			memcpy(&key->peer, peer->b, 4);
		key->sport = htons(src->port);
		key->dport = htons(dst->port);
	} else {
		struct pc_perm6_key *key = &ret_item->key.perm6;

		ret_item->map = PC_DP_PERM6;
		pc_dp_encode_mapped(&src->ip, key->saddr);
		pc_dp_encode_mapped(&dst->ip, key->daddr);
		if (peer)
			pc_dp_encode_mapped(peer, key->peer);
		key->sport = htons(src->port);
		key->dport = htons(dst->port);
	}
}

int pc_dp_perm_encode(const struct pc_dp_perm *perm, struct pc_dp_item ret_items[static 2])
{
	bool all4 = perm->client.ip.family == 4 && perm->relayed.ip.family == 4;
	uint16_t hairpin = perm->hairpin ? PC_FLOW_HAIRPIN : 0;
	const struct pc_addr peer = { .ip = perm->peer }; /* any port */
	const struct way way_up = { &perm->client, &perm->server, &perm->relayed, &peer };
	const struct way way_down = { &peer, &perm->relayed, &perm->server, &perm->client };
	struct pc_perm up = {
		.expires_ns = perm->expires_ns,
		.flags = PC_FLOW_UP | hairpin,
		.slot = perm->slot,
		.tenant = perm->tenant,
		.nexthop = hairpin ? 0 : perm->nexthop_peer,
	};
	struct pc_perm down = {
		.expires_ns = perm->expires_ns,
		.flags = hairpin,
		.slot = perm->slot,
		.tenant = perm->tenant,
		.nexthop = perm->nexthop_client,
	};

	if (!one_family(&perm->client, &perm->server) || !one_family(&perm->relayed, &peer))
		return PC_ERR_RANGE;
	encode_perm(all4, &way_up, &perm->peer, &up, &ret_items[0]);
	encode_perm(all4, &way_down, NULL, &down, &ret_items[1]);
	return 0;
}

static void decode_perm(const struct pc_perm *perm, struct pc_dp_entry *e)
{
	e->kind = PC_DP_PERM;
	e->flags = perm->flags;
	e->slot = perm->slot;
	e->tenant = perm->tenant;
	e->nexthop = perm->nexthop;
	e->expires_ns = perm->expires_ns;
	if (!(perm->flags & PC_FLOW_UP))
		e->peer = (struct pc_ip){ 0 };
}

/* --- ports --- */

int pc_dp_port_encode(const struct pc_addr *relayed, struct pc_dp_item *ret_item)
{
	if (!one_family(relayed, relayed))
		return PC_ERR_RANGE;
	memset(ret_item, 0, sizeof(*ret_item));
	ret_item->map = PC_DP_PORTS;
	pc_dp_encode_mapped(&relayed->ip, ret_item->key.port.addr);
	ret_item->key.port.port = htons(relayed->port);
	ret_item->value.port = 1;
	return 0;
}

/* --- clients --- */

int pc_dp_client_encode(const struct pc_addr *client, const struct pc_addr *server, uint32_t slot,
			struct pc_dp_item *ret_item)
{
	struct pc_client_key *key = &ret_item->key.client;

	if (!one_family(client, server))
		return PC_ERR_RANGE;
	memset(ret_item, 0, sizeof(*ret_item));
	ret_item->map = PC_DP_CLIENTS;
	pc_dp_encode_mapped(&client->ip, key->saddr);
	pc_dp_encode_mapped(&server->ip, key->daddr);
	key->sport = htons(client->port);
	key->dport = htons(server->port);
	ret_item->value.client.slot = slot;
	return 0;
}

/* --- back --- */

void pc_dp_decode(enum pc_dp_map map, const void *key, const void *value,
		  struct pc_dp_entry *ret_entry)
{
	const struct pc_flow4_key *flow4 = key;
	const struct pc_flow6_key *flow6 = key;
	const struct pc_perm4_key *perm4 = key;
	const struct pc_perm6_key *perm6 = key;
	const struct pc_port_key *port = key;
	const struct pc_client_key *client = key;
	struct pc_dp_entry e = { 0 };

	switch (map) {
	case PC_DP_FLOW4:
		e.src = addr(get_ip(&flow4->saddr, 4), ntohs(flow4->sport));
		e.dst = addr(get_ip(&flow4->daddr, 4), ntohs(flow4->dport));
		decode_flow(value, flow4->channel, &e);
		break;
	case PC_DP_FLOW6:
		e.src = addr(get_ip(flow6->saddr, 6), ntohs(flow6->sport));
		e.dst = addr(get_ip(flow6->daddr, 6), ntohs(flow6->dport));
		decode_flow(value, flow6->channel, &e);
		break;
	case PC_DP_PERM4:
		e.src = addr(get_ip(&perm4->saddr, 4), ntohs(perm4->sport));
		e.dst = addr(get_ip(&perm4->daddr, 4), ntohs(perm4->dport));
		e.peer = get_ip(&perm4->peer, 4);
		decode_perm(value, &e);
		break;
	case PC_DP_PERM6:
		e.src = addr(get_mapped(perm6->saddr), ntohs(perm6->sport));
		e.dst = addr(get_mapped(perm6->daddr), ntohs(perm6->dport));
		e.peer = get_mapped(perm6->peer);
		decode_perm(value, &e);
		break;
	case PC_DP_CLIENTS:
		e.kind = PC_DP_CLIENT;
		e.src = addr(get_mapped(client->saddr), ntohs(client->sport));
		e.dst = addr(get_mapped(client->daddr), ntohs(client->dport));
		e.slot = ((const struct pc_client *)value)->slot;
		break;
	default:
		e.kind = PC_DP_PORT;
		e.dst = addr(get_mapped(port->addr), ntohs(port->port));
		break;
	}
	*ret_entry = e;
}
