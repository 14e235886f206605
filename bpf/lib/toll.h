/* SPDX-License-Identifier: MIT */
/*
 * What tenants may send: rate, uplink and quota of the tenant, credit of the session. What is
 * charged is sent, or taken back: when the packet is left to user space, which charges it itself,
 * and when the other side of a hairpin refuses it. Each side is charged to its own tenant and
 * session: up of the first, down of the second. Only an early signal is not taken back.
 */
#ifndef PC_LIB_TOLL_H
#define PC_LIB_TOLL_H

#include "lib/clock.h"
#include "lib/count.h"
#include "lib/maps.h"
#include "lib/parse.h"
#include "lib/rate.h"

#define PC_NO_SLOT 0xffffffffu
#define PC_ECN_CE  3u

/* One side of a packet. */
struct pc_side {
	__u32 tenant; /* 0: nobody's, no limits */
	__u32 slot;
	struct pc_tally *tally; /* of the slot */
	__u32 direction;	/* PC_RATE_UP, PC_RATE_DOWN */
	__u32 payload;
	__u32 wire; /* IP total length as sent on */
};

static __always_inline enum pc_reason pc_toll_reason(__u32 verdict)
{
	if (verdict <= PC_RATE_MARK)
		return PC_REASON_TX;
	if (verdict == PC_RATE_DROP_RATE)
		return PC_REASON_DROP_RATE;
	return verdict == PC_RATE_DROP_ROOT ? PC_REASON_DROP_UPLINK : PC_REASON_DROP_QUOTA;
}

/* enum pc_rate_verdict for what the lease of this CPU does not cover. @index: pc_rate_index(). */
__noinline int pc_toll_refill(__u32 index, __u32 wire, __u32 ecn)
{
	__u32 zero = 0, tenant = index / PC_RATES_PER_TENANT;
	struct pc_rate_ref ref = {
		.rate = bpf_map_lookup_elem(&pc4_rate, &index),
		.clock = bpf_map_lookup_elem(&pc4_clock, &index),
		.lease = bpf_map_lookup_elem(&pc4_lease, &index),
		.root = bpf_map_lookup_elem(&pc4_root, &zero),
		.quota = bpf_map_lookup_elem(&pc4_quota, &tenant),
	};

	if (!ref.rate || !ref.clock || !ref.lease || !ref.root || !ref.quota)
		return PC_RATE_DROP_RATE;
	return pc_rate_refill(&ref, bpf_ktime_get_ns(), wire, ecn & PC_ECN_CE);
}

/* Spends @bytes that are not in the purse of this CPU. Whether it may. */
__noinline int pc_toll_credit(__u32 slot, __u32 bytes)
{
	struct pc_credit *credit = bpf_map_lookup_elem(&pc4_credit, &slot);
	struct pc_tally *tally = pc_count_slot(slot);

	return credit && tally && pc_credit_refill(credit, &tally->purse, bytes);
}

static __always_inline bool pc_toll_pay(struct pc_tally *tally, __u32 slot, __u32 bytes)
{
	if (pc_unlikely(tally->purse < bytes))
		return pc_toll_credit(slot, bytes);
	tally->purse -= bytes;
	return true;
}

/* Asks one side. @tos: as the packet has it, and as it is to be sent. */
static __always_inline enum pc_reason pc_toll_take(const struct pc_side *side, __u64 now, __u8 *tos)
{
	__u32 index = pc_rate_index(side->tenant, side->direction);
	struct pc_rate_lease *lease = NULL;
	__u32 verdict = PC_RATE_PASS;

	if (side->tenant) {
		lease = bpf_map_lookup_elem(&pc4_lease, &index);
		if (pc_unlikely(!lease))
			return PC_REASON_DROP_RATE;
		if (pc_unlikely(!pc_rate_spend(lease, now, side->wire)))
			verdict = pc_toll_refill(index, side->wire, *tos);
		if (pc_unlikely(verdict > PC_RATE_MARK))
			return pc_toll_reason(verdict);
	}
	if (pc_unlikely(!pc_toll_pay(side->tally, side->slot, side->payload))) {
		if (lease)
			pc_rate_undo(lease, side->wire);
		return PC_REASON_DROP_CREDIT;
	}
	if (lease && pc_unlikely(lease->flags & PC_RATE_SET_DSCP))
		*tos = lease->dscp << 2 | (*tos & PC_ECN_CE);
	if (verdict == PC_RATE_MARK)
		*tos |= PC_ECN_CE;
	return PC_REASON_TX;
}

/* Of the session that was refused. Returns @reason. */
__noinline int pc_toll_count(__u32 slot, __u32 reason)
{
	struct pc_drops *drops = pc_count_drops(slot);

	if (!drops)
		return reason;
	if (reason == PC_REASON_DROP_CREDIT || reason == PC_REASON_DROP_QUOTA)
		drops->credit++;
	else
		drops->rate++;
	return reason;
}

/* What is returned besides the reason: the TOS to be sent. */
#define PC_TOLL_TOS_SHIFT  8
#define pc_toll_said(said) ((said) & ((1u << PC_TOLL_TOS_SHIFT) - 1))

/*
 * One side, for the longer ways. @index: pc_rate_index(); @slot: PC_NO_SLOT: there is no such side.
 * The reason, and above it the TOS.
 */
__noinline int pc_toll_side(__u32 index, __u32 slot, __u32 payload, __u32 wire, __u32 tos)
{
	struct pc_side side = {
		.tenant = index / PC_RATES_PER_TENANT,
		.slot = slot,
		.tally = pc_count_slot(slot),
		.direction = index % PC_RATES_PER_TENANT,
		.payload = payload,
		.wire = wire,
	};
	enum pc_reason reason;
	__u8 sent = tos;

	if (slot == PC_NO_SLOT)
		return PC_REASON_TX | (tos & 0xff) << PC_TOLL_TOS_SHIFT;
	if (!side.tally)
		return PC_REASON_DROP_INTERNAL;
	reason = pc_toll_take(&side, pc_clock_now(), &sent);
	if (pc_unlikely(reason != PC_REASON_TX))
		pc_toll_count(slot, reason);
	return reason | (__u32)sent << PC_TOLL_TOS_SHIFT;
}

/* Takes back what pc_toll_side() took. */
__noinline int pc_toll_undo(__u32 index, __u32 slot, __u32 payload, __u32 wire)
{
	struct pc_rate_lease *lease;
	struct pc_tally *tally;

	if (slot == PC_NO_SLOT)
		return 0;
	lease = bpf_map_lookup_elem(&pc4_lease, &index);
	if (index >= PC_RATES_PER_TENANT && lease)
		pc_rate_undo(lease, wire);
	tally = pc_count_slot(slot);
	if (tally)
		tally->purse += payload;
	return 0;
}

#endif
