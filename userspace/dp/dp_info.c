/* SPDX-License-Identifier: MIT */
/* What needs no kernel: names, the maps, the table of reasons, link headers. */
#include <string.h>

#include "base/err.h"
#include "dp/dp_int.h"
#include "lib/hot.h"

/* Stacked VLAN interfaces of Linux use this tag for both unless told otherwise. */
#define PC_ETHERTYPE_VLAN 0x8100
#define PC_ETHERTYPE_IPV4 0x0800
#define PC_ETHERTYPE_IPV6 0x86dd
#define PC_MAC_LEN	  6

#define PC_TABLE(map_name, key, value, n, demand)                            \
	{                                                                    \
		map_name, sizeof(key), sizeof(value), n, 0, 0, demand, false \
	}
/* As many for each CPU. */
#define PC_CPUS(map_name, value)                                                 \
	{                                                                        \
		map_name, sizeof(uint32_t), sizeof(value), 1, 0, 0, false, true, \
	}
#define PC_TENANTS(map_name, value, n)                                           \
	{                                                                        \
		map_name, sizeof(uint32_t), sizeof(value), 0, n, 0, false, false \
	}
#define PC_PIPES(map_name, value, demand)                                         \
	{                                                                         \
		map_name, sizeof(uint32_t), sizeof(value), 0, 0, 2, demand, false \
	}

/*
 * Two directions each, of two channels and of four permissions for every session; memory comes with
 * use. Channels are what most packets need: for one of each session there are two places for each
 * direction in pc4_hot4 from the start, for one of every second session in pc4_hot6; half full,
 * four flows of a hundred find no place, full twenty.
 */
const struct pc_dp_map_info pc_dp_maps[PC_DP_MAPS] = {
	[PC_DP_META] = PC_TABLE(PC_MAP_META, uint32_t, struct pc_meta, 0, false),
	[PC_DP_CTL] = PC_TABLE(PC_MAP_CTL, uint32_t, struct pc_ctl, 0, false),
	[PC_DP_FLOW4] = PC_TABLE(PC_MAP_FLOW4, struct pc_flow4_key, struct pc_flow, 4, true),
	[PC_DP_FLOW6] = PC_TABLE(PC_MAP_FLOW6, struct pc_flow6_key, struct pc_flow, 4, true),
	[PC_DP_PERM4] = PC_TABLE(PC_MAP_PERM4, struct pc_perm4_key, struct pc_perm, 8, true),
	[PC_DP_PERM6] = PC_TABLE(PC_MAP_PERM6, struct pc_perm6_key, struct pc_perm, 8, true),
	[PC_DP_PORTS] = PC_TABLE(PC_MAP_PORT, struct pc_port_key, uint32_t, 2, true),
	[PC_DP_CLIENTS] = PC_TABLE(PC_MAP_CLIENT, struct pc_client_key, struct pc_client, 1, true),
	[PC_DP_LIMIT] = PC_TABLE(PC_MAP_LIMIT, struct pc_limit_key, struct pc_limit, 0, false),
	[PC_DP_COUNT] = PC_CPUS(PC_MAP_COUNT, struct pc_tally),
	[PC_DP_DROPS] = PC_CPUS(PC_MAP_DROPS, struct pc_drops),
	[PC_DP_REASON] = PC_TABLE(PC_MAP_REASON, uint32_t, uint64_t, 0, false),
	[PC_DP_HOT4] = PC_TABLE(PC_MAP_HOT4, uint32_t, struct pc_hot4, 4, false),
	[PC_DP_HOT6] = PC_TABLE(PC_MAP_HOT6, uint32_t, struct pc_hot6, 2, false),
	[PC_DP_NEXTHOP] = PC_TABLE(PC_MAP_NEXTHOP, uint32_t, struct pc_nexthop_slot, 0, false),
	[PC_DP_TXPORT] = PC_TABLE(PC_MAP_TXPORT, uint32_t, uint32_t, 0, false),
	[PC_DP_RATE] = PC_TENANTS(PC_MAP_RATE, struct pc_rate, 2),
	[PC_DP_CLOCK] = PC_TENANTS(PC_MAP_CLOCK, struct pc_rate_clock, 2),
	[PC_DP_LEASE] = PC_TENANTS(PC_MAP_LEASE, struct pc_rate_lease, 2),
	[PC_DP_ROOT] = PC_TABLE(PC_MAP_ROOT, uint32_t, struct pc_rate_root, 0, false),
	[PC_DP_QUOTA] = PC_TENANTS(PC_MAP_QUOTA, struct pc_credit, 1),
	[PC_DP_CREDIT] = PC_TABLE(PC_MAP_CREDIT, uint32_t, struct pc_credit, 1, false),
	[PC_DP_PIPE] = PC_PIPES(PC_MAP_PIPE, struct pc_pipe, true),
	[PC_DP_WINDOW] = PC_PIPES(PC_MAP_WINDOW, struct pc_window, false),
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

int pc_dp_share_parse(const char *text, enum pc_dp_share *ret_share)
{
	static const char *const names[] = {
		[PC_DP_SHARE_AUTO] = "auto",
		[PC_DP_SHARE_ALWAYS] = "always",
		[PC_DP_SHARE_OFF] = "off",
	};

	for (size_t i = 0; i < PC_ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]))
			continue;
		*ret_share = (enum pc_dp_share)i;
		return 0;
	}
	return PC_ERR_NOT_FOUND;
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

uint32_t pc_dp_map_entries(enum pc_dp_map which, uint32_t max_sessions)
{
	uint64_t n = (uint64_t)max_sessions * pc_dp_maps[which].per_session;

	if (which == PC_DP_HOT4 || which == PC_DP_HOT6)
		return pc_hot_sets(n);
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
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
	len += put_u16(out.l2 + len, nh->family == 6 ? PC_ETHERTYPE_IPV6 : PC_ETHERTYPE_IPV4);
	out.ifindex = nh->ifindex;
	out.mtu = nh->mtu;
	out.l2_len = (uint16_t)len;
	*ret_nexthop = out;
	return 0;
}
