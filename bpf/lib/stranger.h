/* SPDX-License-Identifier: MIT */
/* The limit on messages that are not data of a known flow, by source address and network. */
#ifndef PC_LIB_STRANGER_H
#define PC_LIB_STRANGER_H

#include <bpf/bpf_endian.h>

#include "lib/limit.h"
#include "lib/maps.h"

static __always_inline bool pc_stranger_bucket(const struct pc_limit_key *key, __u64 now,
					       __u32 interval, __u32 burst)
{
	struct pc_limit fresh = { .tat_ns = now + interval };
	struct pc_limit *limit;

	if (!interval)
		return true;
	limit = bpf_map_lookup_elem(&pc3_limit, key);
	if (limit)
		return pc_limit_admit(limit, now, interval, burst);
	bpf_map_update_elem(&pc3_limit, key, &fresh, BPF_ANY);
	return true;
}

/* @addr: the first eight bytes of an IPv6 address, or an IPv4 address, as they lie in the packet.
 */
static __always_inline bool pc_stranger_admit(const struct pc_ctl *ctl, __u64 addr, __u64 now,
					      bool six)
{
	union {
		__u64 word;
		__be32 half[2];
	} source = { .word = addr };
	struct pc_limit_key key = { .len = six ? 64 : 32 };

	if (six) {
		key.addr[0] = source.half[0];
		key.addr[1] = source.half[1];
	} else {
		key.addr[2] = bpf_htonl(0x0000ffff);
		key.addr[3] = source.half[0];
	}
	if (!pc_stranger_bucket(&key, now, ctl->limit_host_interval_ns, ctl->limit_host_burst_ns))
		return false;
	if (six)
		key.addr[1] &= bpf_htonl(0xffff0000);
	else
		key.addr[3] &= bpf_htonl(0xffffff00);
	key.len = six ? 48 : 24;
	return pc_stranger_bucket(&key, now, ctl->limit_net_interval_ns, ctl->limit_net_burst_ns);
}

#endif
