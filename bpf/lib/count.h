/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU counters: by session and direction where a packet was forwarded, by reason where it left.
 */
#ifndef PC_LIB_COUNT_H
#define PC_LIB_COUNT_H

#include "lib/maps.h"

static __always_inline void pc_count_reason(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&pc2_reason, &reason);

	if (n)
		(*n)++;
}

static __always_inline struct pc_count *pc_count_slot(__u32 slot)
{
	return bpf_map_lookup_elem(&pc2_count, &slot);
}

/* @wire: IP total length as sent. */
static __always_inline void pc_count_packet(struct pc_dir_count *dir, __u32 payload, __u32 wire)
{
	dir->packets++;
	dir->payload_bytes += payload;
	dir->wire_bytes += wire;
}

#endif
