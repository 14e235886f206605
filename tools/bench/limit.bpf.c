/* SPDX-License-Identifier: MIT */
/*
 * Limiters alone, for limit_cost: each program asks one about a packet and does nothing else. None,
 * ours with all it asks (rate, peak, entitlement, uplink, quota), and a token bucket under a spin
 * lock. The tenant is one for all CPUs, or one for each.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/clock.h"
#include "lib/rate.h"

#define TENANTS 16 /* a power of two */
#define WIRE	1200

/* Set before loading: whether each CPU has a tenant of its own. */
const volatile __u32 pc_limit_spread;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TENANTS);
	__type(key, __u32);
	__type(value, struct pc_rate);
} limit_rate SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TENANTS);
	__type(key, __u32);
	__type(value, struct pc_rate_clock);
} limit_clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TENANTS);
	__type(key, __u32);
	__type(value, struct pc_rate_lease);
} limit_lease SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pc_rate_root);
} limit_root SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TENANTS);
	__type(key, __u32);
	__type(value, struct pc_credit);
} limit_quota SEC(".maps");

struct bucket {
	struct bpf_spin_lock lock;
	__u32 reserved;
	__u64 filled_ns;
	__u64 tokens; /* bytes */
	__u64 dropped;
	__u64 apart[4]; /* a cache line for each */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TENANTS);
	__type(key, __u32);
	__type(value, struct bucket);
} limit_bucket SEC(".maps");

static __always_inline __u32 tenant(void)
{
	return pc_limit_spread ? bpf_get_smp_processor_id() & (TENANTS - 1) : 0;
}

SEC("xdp")
int limit_none(struct xdp_md *ctx)
{
	return tenant() < TENANTS && pc_clock_now() ? XDP_PASS : XDP_DROP;
}

/* As pc_toll_take() and pc_toll_refill() of the relay. */
__noinline int limit_refill(__u32 index)
{
	__u32 zero = 0;
	struct pc_rate_ref ref = {
		.rate = bpf_map_lookup_elem(&limit_rate, &index),
		.clock = bpf_map_lookup_elem(&limit_clock, &index),
		.lease = bpf_map_lookup_elem(&limit_lease, &index),
		.root = bpf_map_lookup_elem(&limit_root, &zero),
		.quota = bpf_map_lookup_elem(&limit_quota, &index),
	};

	if (!ref.rate || !ref.clock || !ref.lease || !ref.root || !ref.quota)
		return PC_RATE_DROP_RATE;
	return pc_rate_refill(&ref, bpf_ktime_get_ns(), WIRE, 0);
}

SEC("xdp")
int limit_clocks(struct xdp_md *ctx)
{
	__u32 index = tenant();
	struct pc_rate_lease *lease = bpf_map_lookup_elem(&limit_lease, &index);

	if (!lease)
		return XDP_DROP;
	if (pc_rate_spend(lease, pc_clock_now(), WIRE))
		return XDP_PASS;
	return limit_refill(index) <= PC_RATE_MARK ? XDP_PASS : XDP_DROP;
}

/* 400 Gbit/s, one second deep: it never drops, either. */
SEC("xdp")
int limit_bucket_locked(struct xdp_md *ctx)
{
	const __u64 per_us = 50000, depth = per_us * 1000000;
	__u32 index = tenant();
	struct bucket *b = bpf_map_lookup_elem(&limit_bucket, &index);
	__u64 now = pc_clock_now(), bytes;
	int verdict = XDP_PASS;

	if (!b)
		return XDP_DROP;
	bpf_spin_lock(&b->lock);
	if (now > b->filled_ns) {
		bytes = (now - b->filled_ns) / 1000 * per_us;
		b->tokens = bytes < depth - b->tokens ? b->tokens + bytes : depth;
		b->filled_ns = now;
	}
	if (b->tokens >= WIRE) {
		b->tokens -= WIRE;
	} else {
		b->dropped++;
		verdict = XDP_DROP;
	}
	bpf_spin_unlock(&b->lock);
	return verdict;
}

char _license[] SEC("license") = "GPL";
