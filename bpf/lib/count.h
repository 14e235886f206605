/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU counters: by session and direction where a packet was forwarded, by reason where it left.
 */
#ifndef PC_LIB_COUNT_H
#define PC_LIB_COUNT_H

#include <stdbool.h>

#include "lib/maps.h"

static __always_inline void pc_count_reason(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&pc4_reason, &reason);

	if (__builtin_expect(!!n, 1))
		(*n)++;
}

/* Whether the kinds in reasons.def say PASS. */
static __always_inline bool pc_reason_passes(__u32 reason)
{
#define PC_KIND_FORWARD			 0ull
#define PC_KIND_PASS			 1ull
#define PC_KIND_DROP			 0ull
#define PC_REASON(sym, kind, name, text) | PC_KIND_##kind << PC_REASON_##sym
	const __u64 passes = 0
#include "abi/reasons.def"
		;
#undef PC_REASON

	return passes >> (reason & 63) & 1;
}

/* Slots: set before loading, like the constants of relay.bpf.c. */
const volatile __u32 pc_sessions = PC_DEFAULT_SESSIONS;

/* Of this CPU. NULL: no such slot. */
static __always_inline struct pc_tally *pc_count_slot(__u32 slot)
{
	__u32 index = pc_tally_index(bpf_get_smp_processor_id(), pc_sessions, slot);

	if (__builtin_expect(slot >= pc_sessions, 0))
		return NULL;
	return bpf_map_lookup_elem(&pc4_count, &index);
}

static __always_inline struct pc_drops *pc_count_drops(__u32 slot)
{
	__u32 index = pc_tally_index(bpf_get_smp_processor_id(), pc_sessions, slot);

	if (__builtin_expect(slot >= pc_sessions, 0))
		return NULL;
	return bpf_map_lookup_elem(&pc4_drops, &index);
}

/* @wire: IP total length as sent. */
static __always_inline void pc_count_packet(struct pc_dir_count *dir, __u32 payload, __u32 wire)
{
	dir->packets++;
	dir->payload_bytes += payload;
	dir->wire_bytes += wire;
}

#endif
