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
} pc4_meta SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_ctl);
} pc4_ctl SEC(".maps");

/* Not LRU: a live flow is never evicted; when the map is full, the daemon refuses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_flow4_key);
	__type(value, struct pc_flow);
} pc4_flow4 SEC(".maps");

/* Sets of pc_hot_sets(), whose shift is in pc_hot_shift. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_HOT_SETS_MIN);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_hot4);
} pc4_hot4 SEC(".maps");

/* The same, by pc_hot6_shift. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_HOT_SETS_MIN);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_hot6);
} pc4_hot6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_flow6_key);
	__type(value, struct pc_flow);
} pc4_flow6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_perm4_key);
	__type(value, struct pc_perm);
} pc4_perm4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS *PC_FLOWS_PER_SESSION);
	__type(key, struct pc_perm6_key);
	__type(value, struct pc_perm);
} pc4_perm6 SEC(".maps");

/* Values mean nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__type(key, struct pc_port_key);
	__type(value, __u32);
} pc4_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__type(key, struct pc_client_key);
	__type(value, struct pc_client);
} pc4_client SEC(".maps");

/* LRU: a flood pushes out strangers, not sessions. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PC_LIMIT_ENTRIES);
	__type(key, struct pc_limit_key);
	__type(value, struct pc_limit);
} pc4_limit SEC(".maps");

/* As many for each CPU as there are sessions. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_tally);
} pc4_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_drops);
} pc4_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PC_REASON_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} pc4_reason SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_MAX_NEXTHOPS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_nexthop_slot);
} pc4_nexthop SEC(".maps");

/* Values are plain interface indexes. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, PC_MAX_TXPORTS);
	__type(key, __u32);
	__type(value, __u32);
} pc4_txport SEC(".maps");

/* By pc_rate_index(). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_RATES_PER_TENANT *(PC_DEFAULT_TENANTS + 1));
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_rate);
} pc4_rate SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_RATES_PER_TENANT *(PC_DEFAULT_TENANTS + 1));
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_rate_clock);
} pc4_clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PC_RATES_PER_TENANT *(PC_DEFAULT_TENANTS + 1));
	__type(key, __u32);
	__type(value, struct pc_rate_lease);
} pc4_lease SEC(".maps");

/* One uplink. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_rate_root);
} pc4_root SEC(".maps");

/* Quotas, by tenant. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_DEFAULT_TENANTS + 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_credit);
} pc4_quota SEC(".maps");

/* By slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PC_DEFAULT_SESSIONS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_credit);
} pc4_credit SEC(".maps");

/* Two directions for each pipe. Not LRU, like flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * PC_DEFAULT_PIPES);
	__type(key, __be32);
	__type(value, struct pc_pipe);
} pc4_pipe SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * PC_DEFAULT_PIPES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pc_window);
} pc4_window SEC(".maps");

#endif
