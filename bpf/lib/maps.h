/* SPDX-License-Identifier: MIT */
/*
 * The maps of the relay program. Names, keys and values are in abi/relay.h; user space sizes them
 * before it loads the program.
 */
#ifndef PC_LIB_MAPS_H
#define PC_LIB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/pipe.h"
#include "abi/relay.h"
#include "lib/hot.h"

#define PC_DEFAULT_SESSIONS  65536
#define PC_DEFAULT_TENANTS   16384
#define PC_RATES_PER_TENANT  2
#define PC_FLOWS_PER_SESSION 4
#define PC_LIMIT_ENTRIES     65536
#define PC_DEFAULT_PIPES     4096

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pc_meta);
} pc3_meta SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_ctl);
} pc3_ctl SEC(".maps");

/* Not LRU: a live flow is never evicted; when the map is full, the daemon refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_flow4_key);
	__type(value, struct pc_flow);
} pc3_flow4 SEC(".maps");

/* Sets of pc_hot_sets(), whose shift is in pc_hot_shift. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_HOT_SETS_MIN);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_hot4);
} pc3_hot4 SEC(".maps");

/* The same, by pc_hot6_shift. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_HOT_SETS_MIN);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_hot6);
} pc3_hot6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_flow6_key);
	__type(value, struct pc_flow);
} pc3_flow6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_perm4_key);
	__type(value, struct pc_perm);
} pc3_perm4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_perm6_key);
	__type(value, struct pc_perm);
} pc3_perm6 SEC(".maps");

/* Values mean nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__type(key, struct pc_port_key);
	__type(value, __u32);
} pc3_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__type(key, struct pc_client_key);
	__type(value, struct pc_client);
} pc3_client SEC(".maps");

/* LRU: a flood pushes out strangers, not sessions. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PC_LIMIT_ENTRIES);
	__type(key, struct pc_limit_key);
	__type(value, struct pc_limit);
} pc3_limit SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__type(key, __u32);
	__type(value, struct pc_count);
} pc3_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PC_REASON_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} pc3_reason SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_MAX_NEXTHOPS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_nexthop_slot);
} pc3_nexthop SEC(".maps");

/* Values are plain interface indexes. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, PC_MAX_TXPORTS);
	__type(key, __u32);
	__type(value, __u32);
} pc3_txport SEC(".maps");

/* By pc_rate_index(). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_RATES_PER_TENANT *(PC_DEFAULT_TENANTS + 1));
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_rate);
} pc3_rate SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_RATES_PER_TENANT *(PC_DEFAULT_TENANTS + 1));
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_rate_clock);
} pc3_clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PC_RATES_PER_TENANT *(PC_DEFAULT_TENANTS + 1));
	__type(key, __u32);
	__type(value, struct pc_rate_lease);
} pc3_lease SEC(".maps");

/* One uplink. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_rate_root);
} pc3_root SEC(".maps");

/* Quotas, by tenant. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_DEFAULT_TENANTS + 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_credit);
} pc3_quota SEC(".maps");

/* By slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_credit);
} pc3_credit SEC(".maps");

/* By slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__type(key, __u32);
	__type(value, __u64);
} pc3_purse SEC(".maps");

/* Two directions for each pipe. Not LRU, like flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * PC_DEFAULT_PIPES);
	__type(key, __be32);
	__type(value, struct pc_pipe);
} pc3_pipe SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * PC_DEFAULT_PIPES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_window);
} pc3_window SEC(".maps");

#endif
