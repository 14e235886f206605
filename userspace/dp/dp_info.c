/* SPDX-License-Identifier: MIT */
/* What needs no kernel: names, the table of reasons, how flows and next hops become map entries. */
#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"
#include "dp/dp_int.h"
#include "lib/csum.h"

/* Stacked VLAN interfaces of Linux use this tag for both unless told otherwise. */
#define PC_ETHERTYPE_VLAN 0x8100
#define PC_ETHERTYPE_IPV4 0x0800
#define PC_MAC_LEN	  6

const char *const pc_dp_map_names[PC_DP_MAPS] = {
	[PC_DP_META] = PC_MAP_META,	[PC_DP_CTL] = PC_MAP_CTL,
	[PC_DP_FLOW4] = PC_MAP_FLOW4,	[PC_DP_COUNT] = PC_MAP_COUNT,
	[PC_DP_REASON] = PC_MAP_REASON, [PC_DP_NEXTHOP] = PC_MAP_NEXTHOP,
	[PC_DP_TXPORT] = PC_MAP_TXPORT,
};

static const char *const mode_names[] = {
	[PC_DP_AUTO] = "auto",
	[PC_DP_NATIVE] = "native",
	[PC_DP_GENERIC] = "generic",
	[PC_DP_OFF] = "off",
};

static const struct pc_reason_info reasons[PC_REASON_COUNT] = {
#define PC_KIND_FORWARD			 "forward"
#define PC_KIND_PASS			 "pass"
#define PC_KIND_DROP			 "drop"
#define PC_REASON(sym, kind, name, text) [PC_REASON_##sym] = { name, PC_KIND_##kind, text },
#include "abi/reasons.def"
#undef PC_REASON
};

_Static_assert((int)PC_REASON_COUNT <= PC_REASON_SLOTS, "more reasons than slots");

const char *pc_dp_mode_name(enum pc_dp_mode mode)
{
	return (size_t)mode < PC_ARRAY_SIZE(mode_names) ? mode_names[mode] : "?";
}

int pc_dp_mode_parse(const char *text, enum pc_dp_mode *ret_mode)
{
	for (size_t i = 0; i < PC_ARRAY_SIZE(mode_names); i++) {
		if (!strcmp(text, mode_names[i])) {
			*ret_mode = (enum pc_dp_mode)i;
			return 0;
		}
	}
	return PC_ERR_UNKNOWN;
}

const struct pc_reason_info *pc_dp_reason_info(enum pc_reason reason)
{
	static const struct pc_reason_info unknown = { "unknown", "drop", "not a reason" };

	return (unsigned int)reason < PC_REASON_COUNT ? &reasons[reason] : &unknown;
}

uint32_t pc_dp_flow_entries(uint32_t max_sessions)
{
	return max_sessions > UINT32_MAX / 4 ? UINT32_MAX : max_sessions * 4;
}

static uint32_t ip4(const struct pc_addr *addr)
{
	uint32_t value;

	memcpy(&value, addr->ip.b, sizeof(value));
	return value;
}

/* One direction: what arrives from @src on @dst leaves from @from to @to. */
static void encode_direction(const struct pc_addr *src, const struct pc_addr *dst,
			     const struct pc_addr *from, const struct pc_addr *to,
			     struct pc_flow4_key *key, struct pc_flow4 *value)
{
	*key = (struct pc_flow4_key){
		.saddr = ip4(src),
		.daddr = ip4(dst),
		.sport = htons(src->port),
		.dport = htons(dst->port),
	};
	*value = (struct pc_flow4){
		.saddr = ip4(from),
		.daddr = ip4(to),
		.sport = htons(from->port),
		.dport = htons(to->port),
	};
}

int pc_dp_flow_encode(const struct pc_dp_flow *flow, struct pc_flow4_key ret_keys[static 2],
		      struct pc_flow4 ret_flows[static 2])
{
	if (flow->client.ip.family != 4 || flow->server.ip.family != 4 ||
	    flow->relayed.ip.family != 4 || flow->peer.ip.family != 4)
		return PC_ERR_UNSUPPORTED;

	encode_direction(&flow->client, &flow->server, &flow->relayed, &flow->peer, &ret_keys[0],
			 &ret_flows[0]);
	ret_keys[0].channel = htons(flow->channel);
	ret_flows[0].flags = PC_FLOW_UP | (flow->hairpin ? PC_FLOW_HAIRPIN : 0);
	ret_flows[0].nexthop = flow->hairpin ? 0 : flow->nexthop_peer;

	encode_direction(&flow->peer, &flow->relayed, &flow->server, &flow->client, &ret_keys[1],
			 &ret_flows[1]);
	ret_flows[1].channel = htons(flow->channel);
	ret_flows[1].flags = flow->hairpin ? PC_FLOW_HAIRPIN : 0;
	ret_flows[1].nexthop = flow->nexthop_client;

	for (int i = 0; i < 2; i++) {
		ret_flows[i].slot = flow->slot;
		ret_flows[i].expires_ns = flow->expires_ns;
		pc_csum_flow4(&ret_keys[i], &ret_flows[i]);
	}
	return 0;
}

static size_t put_u16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return 2;
}

int pc_dp_nexthop_encode(const struct pc_dp_nexthop *nh, struct pc_nexthop *ret_nexthop)
{
	struct pc_nexthop out = { 0 };
	size_t len = 0;

	if (nh->n_vlans > PC_ARRAY_SIZE(nh->vlan))
		return PC_ERR_RANGE;
	if (!nh->resolved || !nh->ifindex) {
		*ret_nexthop = out;
		return 0;
	}
	memcpy(out.l2, nh->dst_mac, PC_MAC_LEN);
	memcpy(out.l2 + PC_MAC_LEN, nh->src_mac, PC_MAC_LEN);
	len = 2 * PC_MAC_LEN;
	for (unsigned int i = 0; i < nh->n_vlans; i++) {
		len += put_u16(out.l2 + len, PC_ETHERTYPE_VLAN);
		len += put_u16(out.l2 + len, nh->vlan[i]);
	}
	len += put_u16(out.l2 + len, PC_ETHERTYPE_IPV4);
	out.ifindex = nh->ifindex;
	out.mtu = nh->mtu;
	out.l2_len = (uint16_t)len;
	*ret_nexthop = out;
	return 0;
}
