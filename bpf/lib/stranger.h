/* SPDX-License-Identifier: MIT */
/*
 * Limits on messages that are not data of a known flow.
 *
 * Of one address and of one network: what is answered here, or left to the daemon. Of all strangers
 * together: what is left to the daemon. Where many forge their sources only the last one holds, and
 * it is looked at first: what it refuses costs next to nothing.
 *
 * It must not shut out those who are in earnest. A client with an allocation has a limit of its own
 * beside all these. Who is refused is remembered by a few bits; when the same source tries again a
 * moment later, as every STUN client does and a random source does not, it shares a second limit,
 * as large as the first, with those who did the same.
 */
#ifndef PC_LIB_STRANGER_H
#define PC_LIB_STRANGER_H

#include <bpf/bpf_endian.h>

#include "lib/daemon.h"
#include "lib/find.h"
#include "lib/limit.h"

/* Sources of late: a tag of 20 bits and the time, in ticks of 67 ms, modulo 275 s. */
#define PC_SEEN_ENTRIES	   (1 << 20)
#define PC_SEEN_TICK_SHIFT 26
#define PC_SEEN_TICK_BITS  12
#define PC_SEEN_TICK_MASK  ((1 << PC_SEEN_TICK_BITS) - 1)
/* A copy of the same moment is no second try; after half a minute clients have given up. */
#define PC_SEEN_MIN 1
#define PC_SEEN_MAX 448

struct pc_stranger_shared {
	struct pc_limit all, again;
	__u64 seed;
} __attribute__((aligned(64)));

/* Private to the program. What two CPUs do to them at once is at worst one message more. */
static struct pc_stranger_shared pc_shared;
static __u32 pc_seen[PC_SEEN_ENTRIES];

static __always_inline bool pc_stranger_bucket(const struct pc_limit_key *key, __u64 now,
					       __u32 interval, __u32 burst)
{
	struct pc_limit fresh = { .tat_ns = now + interval };
	struct pc_limit *limit;

	if (!interval)
		return true;
	limit = bpf_map_lookup_elem(&pc4_limit, key);
	if (limit)
		return pc_limit_admit(limit, now, interval, burst);
	bpf_map_update_elem(&pc4_limit, key, &fresh, BPF_ANY);
	return true;
}

/*
 * Of its address and its network. @addr: the first eight bytes of an IPv6 address, or an IPv4
 * address, as they lie in the packet.
 */
static __always_inline bool pc_stranger_source(const struct pc_ctl *ctl, __u64 addr, __u64 now,
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

/*
 * Whether the source was seen before, but not just now. If it was not, it is from here on. The seed
 * keeps others from choosing sources that push each other out.
 */
static __always_inline bool pc_stranger_seen(__u64 addr, __u64 now)
{
	__u32 tick = (now >> PC_SEEN_TICK_SHIFT) & PC_SEEN_TICK_MASK, tag, old;
	__u64 hash;

	if (pc_unlikely(!pc_shared.seed))
		pc_shared.seed = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32() | 1;
	hash = (addr ^ pc_shared.seed) * 0x9e3779b97f4a7c15ull;
	hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
	tag = hash >> 44 << PC_SEEN_TICK_BITS;
	hash &= PC_SEEN_ENTRIES - 1;
	old = pc_seen[hash];
	if ((old & ~PC_SEEN_TICK_MASK) == tag) {
		__u32 age = (tick - old) & PC_SEEN_TICK_MASK;

		if (age <= PC_SEEN_MAX)
			return age >= PC_SEEN_MIN;
	}
	pc_seen[hash] = tag | tick;
	return false;
}

static __always_inline bool pc_stranger_room(const struct pc_limit *limit, const struct pc_ctl *ctl,
					     __u64 now)
{
	struct pc_limit copy = *limit;

	return pc_limit_admit(&copy, now, ctl->limit_all_interval_ns, ctl->limit_all_burst_ns);
}

/* The limit of all that has room for this source; NULL: none. */
static __always_inline struct pc_limit *pc_stranger_shared(const struct pc_ctl *ctl, __u64 addr,
							   __u64 now)
{
	bool seen;

	if (!ctl->limit_all_interval_ns)
		return &pc_shared.all;
	seen = pc_stranger_seen(addr, now);
	if (pc_likely(pc_stranger_room(&pc_shared.all, ctl, now)))
		return &pc_shared.all;
	return seen && pc_stranger_room(&pc_shared.again, ctl, now) ? &pc_shared.again : NULL;
}

static __always_inline void pc_stranger_take(struct pc_limit *limit, const struct pc_ctl *ctl,
					     __u64 now)
{
	if (ctl->limit_all_interval_ns)
		pc_limit_admit(limit, now, ctl->limit_all_interval_ns, ctl->limit_all_burst_ns);
}

/* What is to go on to the daemon: PC_REASON_TX if nothing is against it. */
static __always_inline enum pc_reason pc_stranger_admit(const struct pc_ctl *ctl, __u64 addr,
							__u64 now, bool six)
{
	struct pc_limit *shared = pc_stranger_shared(ctl, addr, now);

	if (pc_unlikely(!shared))
		return PC_REASON_DROP_STRANGERS;
	if (pc_unlikely(!pc_stranger_source(ctl, addr, now, six)))
		return PC_REASON_DROP_SOURCE_RATE;
	pc_stranger_take(shared, ctl, now);
	return PC_REASON_TX;
}

/* Binding that is not answered here after all; its source was admitted. */
static __always_inline enum pc_reason pc_stranger_admit_late(const struct pc_ctl *ctl, __u64 addr,
							     __u64 now)
{
	struct pc_limit *shared = pc_stranger_shared(ctl, addr, now);

	if (pc_unlikely(!shared))
		return PC_REASON_DROP_STRANGERS;
	pc_stranger_take(shared, ctl, now);
	return PC_REASON_TX;
}

/* Whether it comes from a client with an allocation, and not too fast for one. */
static __always_inline bool pc_stranger_client(struct xdp_md *ctx, const struct pc_ctl *ctl,
					       __u32 l2_len, __u64 now, bool six)
{
	struct pc_client_key key = {};
	const void *ip, *ports, *end;
	struct pc_client *client;
	__u32 len = pc_ip_header(six);

	asm volatile("%0 &= 31" : "+r"(l2_len));
	ip = (void *)(long)ctx->data + l2_len;
	end = (void *)(long)ctx->data_end;
	if (ip + pc_ip_header(six) > end)
		return false;
	if (!six)
		len = (*(__u8 *)ip & 0xf) * 4; /* there may be options */
	ports = ip + len;
	if (ports + sizeof(struct udphdr) > end)
		return false;
	pc_find_map(key.saddr, ip + (six ? 8 : 12), six);
	pc_find_map(key.daddr, ip + (six ? 24 : 16), six);
	*pc_u32_at(&key.sport, 0) = *pc_u32_at(ports, 0);
	client = bpf_map_lookup_elem(&pc4_client, &key);
	if (!client)
		return false;
	return !ctl->limit_client_interval_ns ||
	       pc_limit_admit(&client->limit, now, ctl->limit_client_interval_ns,
			      ctl->limit_client_burst_ns);
}

#endif
