/* SPDX-License-Identifier: MIT */
/*
 * The limiter: per tenant and direction a dual virtual clock (GCRA, ITU-T I.371), per uplink a root
 * clock, for the kernel program, the user-space path and unit tests. No I/O, time is passed in.
 *
 * A packet, in order:
 *   1. pc_rate_spend: the CPU's lease covers it. No atomics, no shared line. This is the usual
 * case.
 *   2. pc_rate_refill: read the configuration; ask, without changing anything, the committed and
 *      the peak clock, the uplink's root clock and the quota, first for a whole lease and then for
 *      no more than the packet needs, so that a lease never causes a drop;
 *   3. near a limit, give one early signal: mark the packet, or drop it when it cannot be marked;
 *   4. advance the clocks. They were asked a moment before and are only added to; compare-and-swap
 *      is for catching up with the present. CPUs that meet there may run over by a lease each, but
 *      what they took stays on the clock, so the long run is exact and nobody waits or retries.
 *
 * Time. pc_rate_spend takes any clock that lags by at most a tick. pc_rate_refill wants the precise
 * one, which is read once per lease and not per packet: the tenants' clocks are exact with a coarse
 * one too, because they are compared with absolute time and are deeper than ticks, but the limits
 * of the root clock (2.5 ms for the first class) are not, and would lose what a tick brings at
 * once.
 */
#ifndef PC_LIB_RATE_H
#define PC_LIB_RATE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "abi/rate.h"
#include "lib/credit.h"

#define PC_RATE_INLINE	    static inline __attribute__((always_inline, unused))
#define PC_RATE_READ(x)	    PC_CREDIT_READ(x)
#define PC_RATE_WRITE(x, v) PC_CREDIT_WRITE(x, v)

/* An idle CPU sees a new configuration after this at the latest. */
#define PC_RATE_LEASE_NS    100000000ull
#define PC_RATE_SIGNAL_NS   100000000ull
#define PC_RATE_FORGET_NS   4000000000ull /* after which the last signal's level means nothing */
#define PC_RATE_SIGNAL_ROWS 8u		  /* signals come at most sqrt(8) times closer */
#define PC_RATE_STEP_SHIFT  5		  /* a step of the early signal: depth / 32 */

enum pc_rate_verdict {
	PC_RATE_PASS,
	PC_RATE_MARK,	   /* passes, with CE */
	PC_RATE_DROP_RATE, /* over its rate, or the early signal to what cannot be marked */
	PC_RATE_DROP_ROOT, /* the uplink is full for its class */
	PC_RATE_DROP_QUOTA,
};

/* What belongs to one tenant, direction and uplink. All are there: checks of NULL double the walk
 * of the verifier each. */
struct pc_rate_ref {
	const struct pc_rate *rate;
	struct pc_rate_clock *clock;
	struct pc_rate_lease *lease; /* of this CPU */
	struct pc_rate_root *root;
	struct pc_credit *quota; /* read only with PC_RATE_QUOTA */
};

/* What the clocks say to a charge. */
struct pc_rate_ask {
	__u64 tat; /* of the committed clock, as it was read */
	__u64 backlog;
	__u64 cost, peak_cost, entitled_cost, root_cost;
	__u32 prepay; /* bytes, for the root and the quota */
	__u16 carry, root_carry;
	bool near_own; /* the committed or the peak clock is near its limit */
	bool near_root;
};

PC_RATE_INLINE __u32 pc_rate_index(__u32 tenant, __u32 direction)
{
	return tenant * 2 + direction;
}

/* bit/s to a rate word, off by at most 2^-26. 0: free. */
PC_RATE_INLINE __u64 pc_rate_word(__u64 bps)
{
	/* ns per charge = 10^9 * 8 / 256 / bps */
	const __u64 unit = 8000000000ull >> PC_RATE_CHARGE_SHIFT;
	__u64 factor;
	__u32 shift;

	if (!bps)
		return 0;
	for (shift = 39; shift > 1; shift--) {
		factor = ((unit << shift) + bps / 2) / bps;
		if (factor <= 0xffffffffull)
			return (__u64)shift << 32 | factor;
	}
	return 1ull << 32 | 0xffffffffull;
}

/* The charge that makes one packet out of @pps: the same time at both rates. Saturates. */
PC_RATE_INLINE __u32 pc_rate_charge_min(__u64 bps, __u32 pps)
{
	__u64 charge;

	if (!pps || !bps)
		return 0;
	charge = ((bps << PC_RATE_CHARGE_SHIFT) / 8 + pps / 2) / pps;
	return charge > 0xffffffffull ? 0xffffffffu : (__u32)charge;
}

/* What a CPU takes at once: min(64 KiB, 250 us of the rate). */
PC_RATE_INLINE __u32 pc_rate_lease_charge(__u64 bps)
{
	__u64 bytes = bps / (8 * 4000);

	return (bytes < 65536 ? bytes : 65536) << PC_RATE_CHARGE_SHIFT;
}

typedef __u64 __attribute__((may_alias)) pc_rate_alias;

/* Replaces a configuration that others read: see struct pc_rate. */
PC_RATE_INLINE void pc_rate_store(struct pc_rate *rate, const struct pc_rate *from)
{
	volatile pc_rate_alias *to = (volatile pc_rate_alias *)rate;

	for (unsigned int i = 0; i < sizeof(*rate) / sizeof(*to); i++)
		to[i] = ((const pc_rate_alias *)from)[i];
}

/* Nanoseconds, whole; the fraction stays in @carry, so that many small ones add up exactly. */
PC_RATE_INLINE __u64 pc_rate_cost(__u64 word, __u32 charge, __u16 *carry)
{
	__u64 product = (word & 0xffffffffu) * charge;
	__u32 shift = word >> 32 & 63;
	__u32 part = (__u32)(product << ((64 - shift) & 63) >> 48) + *carry;

	*carry = (__u16)part;
	return (product >> shift) + (part >> 16);
}

/* The first packets of a lease, oversized ones too, may always go: an idle clock refuses nobody. */
PC_RATE_INLINE bool pc_rate_fits(__u64 backlog, __u64 cost, __u64 depth)
{
	return !backlog || backlog + cost <= depth;
}

PC_RATE_INLINE __u64 pc_rate_backlog(__u64 tat, __u64 now)
{
	return tat > now ? tat - now : 0;
}

PC_RATE_INLINE bool pc_rate_swap(__u64 *at, __u64 old, __u64 new)
{
#ifdef PC_RATE_SINGLE_WRITER
	PC_RATE_WRITE(*at, new);
	return true;
#else
	return __sync_val_compare_and_swap(at, old, new) == old;
#endif
}

/*
 * Adds to a clock that was asked before and said @tat. It must not lag behind @from; who comes
 * second to catch up finds that the other did it.
 */
PC_RATE_INLINE void pc_rate_advance(__u64 *clock, __u64 tat, __u64 from, __u64 cost)
{
	if (tat >= from || !pc_rate_swap(clock, tat, from + cost))
		pc_credit_fetch_add(clock, cost);
}

/* The tenant's own clocks. */
PC_RATE_INLINE bool pc_rate_ask_own(const struct pc_rate_ref *ref, __u64 now, __u32 charge,
				    struct pc_rate_ask *ask)
{
	const struct pc_rate *rate = ref->rate;
	__u64 depth = (__u64)PC_RATE_READ(rate->depth) << PC_RATE_DEPTH_SHIFT;
	__u64 peak_depth = (__u64)PC_RATE_READ(rate->peak_depth) << PC_RATE_DEPTH_SHIFT;
	__u64 peak_backlog = pc_rate_backlog(PC_RATE_READ(ref->clock->peak_ns), now);
	__u64 word = PC_RATE_READ(rate->committed), end = PC_RATE_READ(rate->epoch_end_ns);
	__u16 none = 0;

	ask->peak_cost = pc_rate_cost(PC_RATE_READ(rate->peak), charge, &none);
	if (end && now >= end && PC_RATE_READ(rate->fallback)) {
		word = PC_RATE_READ(rate->fallback);
		ask->peak_cost = pc_rate_cost(word, charge - charge / 4, &none);
	}
	ask->cost = pc_rate_cost(word, charge, &ask->carry);
	ask->tat = PC_RATE_READ(ref->clock->committed_ns);
	ask->backlog = pc_rate_backlog(ask->tat, now);
	/*
	 * Room for the window of a sender who sends it all at once: on the committed clock behind
	 * the signal, or the rest of the burst that met it is lost; on the peak clock before it, or
	 * there is a signal at each burst of one who is not too fast.
	 */
	ask->near_own =
		ask->backlog > depth - depth / 8 || peak_backlog > peak_depth - peak_depth / 16;
	return pc_rate_fits(ask->backlog, ask->cost, depth) &&
	       pc_rate_fits(peak_backlog, ask->peak_cost, peak_depth);
}

/*
 * The uplink. What is within its entitlement is refused at the backlog of the highest class: all
 * entitlements together fit the uplink, so they never make more than that. What is borrowed is
 * refused at half of its own class's. Where nothing is entitled, the class alone decides. Only what
 * is not borrowed has an entitled_cost.
 */
PC_RATE_INLINE bool pc_rate_ask_root(const struct pc_rate_ref *ref, __u64 now, __u32 charge,
				     struct pc_rate_ask *ask)
{
	struct pc_rate_root *root = ref->root;
	__u64 word = PC_RATE_READ(root->rate), entitled = PC_RATE_READ(ref->rate->entitled);
	__u64 depth = (__u64)PC_RATE_READ(ref->rate->peak_depth) << PC_RATE_DEPTH_SHIFT;
	__u64 limit = PC_RATE_READ(root->limit_ns[ref->lease->tier & (PC_RATE_CLASSES - 1)]);
	__u64 backlog = pc_rate_backlog(PC_RATE_READ(root->clock_ns), now);
	__u16 none = 0;

	if (!word)
		return true;
	if (entitled) {
		__u64 ahead = pc_rate_backlog(PC_RATE_READ(ref->clock->entitled_ns), now);

		ask->entitled_cost = pc_rate_cost(entitled, charge, &none);
		limit /= 2;
		if (pc_rate_fits(ahead, ask->entitled_cost, depth))
			limit = PC_RATE_READ(root->limit_ns[PC_RATE_CLASS_CONTROL]);
		else
			ask->entitled_cost = 0;
	}
	ask->root_cost = pc_rate_cost(word, ask->prepay << PC_RATE_CHARGE_SHIFT, &ask->root_carry);
	ask->near_root = backlog > limit - limit / 16;
	return pc_rate_fits(backlog, ask->root_cost, limit);
}

/* Whether all agree to @charge, so that @bytes pass and @left stays in the lease. Changes nothing.
 */
PC_RATE_INLINE enum pc_rate_verdict pc_rate_ask(const struct pc_rate_ref *ref, __u64 now,
						__u32 bytes, __u32 charge, __u32 left,
						struct pc_rate_ask *ask)
{
	struct pc_rate_lease *lease = ref->lease;
	__u64 ahead = lease->prepaid - lease->bytes;
	__u64 want = bytes + (left >> PC_RATE_CHARGE_SHIFT);

	*ask = (struct pc_rate_ask){
		.prepay = want > ahead ? (__u32)(want - ahead) : 0,
		.carry = lease->carry,
		.root_carry = lease->root_carry,
	};
	if (lease->flags & PC_RATE_QUOTA && !pc_credit_fits(ref->quota, ask->prepay))
		return PC_RATE_DROP_QUOTA;
	if (!(lease->flags & PC_RATE_UNLIMITED) && !pc_rate_ask_own(ref, now, charge, ask))
		return PC_RATE_DROP_RATE;
	return pc_rate_ask_root(ref, now, charge, ask) ? PC_RATE_PASS : PC_RATE_DROP_ROOT;
}

/* 100 ms over the square root of how many signals came in a row; in ms. */
PC_RATE_INLINE __u32 pc_rate_signal_ms(__u32 count)
{
	const __u64 ms = 0x2326292d323a4764ull; /* 100, 71, 58, 50, 45, 41, 38, 35 */

	return ms >> (count ? (count - 1) % PC_RATE_SIGNAL_ROWS * 8 : 0) & 0xff;
}

/*
 * The early signal: one at a time, and time for the sender to answer before the next. Then another
 * only when the committed clock climbed by a step in spite of the last one, and closer. Without the
 * step a sender is cut twice for one excess: his answer takes a round trip and more to show, and
 * until then the clock climbs. The level of the last one sinks with the clock, while that is near
 * its limit, and holds for some time below: who sends just at his rate stays near for seconds.
 */
PC_RATE_INLINE bool pc_rate_signal(struct pc_rate_clock *clock, __u64 now, __u64 backlog,
				   __u32 depth)
{
	__u64 next = PC_RATE_READ(clock->signal_next_ns);
	__u32 before = PC_RATE_READ(clock->signal_level);
	__u32 last = PC_RATE_READ(clock->signal_count);
	__u32 level = (__u32)(backlog >> PC_RATE_DEPTH_SHIFT);
	__u32 step = (__u32)((__u64)(depth >> PC_RATE_STEP_SHIFT) * pc_rate_signal_ms(last) / 100);
	__u32 count = 0;

	if (now < next)
		return false;
	if (now - next >= PC_RATE_FORGET_NS)
		count = 1;
	else if (level > before + step)
		count = last + 1;
	else if (level > before)
		level = before;
	if (count > PC_RATE_SIGNAL_ROWS)
		count = PC_RATE_SIGNAL_ROWS;
	if (!pc_rate_swap(&clock->signal_next_ns, next,
			  now + pc_rate_signal_ms(count) * (PC_RATE_SIGNAL_NS / 100)))
		return false;
	PC_RATE_WRITE(clock->signal_level, level);
	if (count)
		PC_RATE_WRITE(clock->signal_count, count);
	return count;
}

/* A refusal is a signal too: the early one waits. */
PC_RATE_INLINE void pc_rate_refused(struct pc_rate_clock *clock, __u64 now)
{
	if (now >= PC_RATE_READ(clock->signal_next_ns))
		PC_RATE_WRITE(clock->signal_next_ns, now + PC_RATE_SIGNAL_NS);
}

/* Takes what was asked for. */
PC_RATE_INLINE void pc_rate_take(const struct pc_rate_ref *ref, __u64 now,
				 const struct pc_rate_ask *ask)
{
	struct pc_rate_clock *clock = ref->clock;
	struct pc_rate_lease *lease = ref->lease;

	if (ask->cost)
		pc_rate_advance(&clock->committed_ns, ask->tat, now, ask->cost);
	if (ask->peak_cost)
		pc_rate_advance(&clock->peak_ns, PC_RATE_READ(clock->peak_ns), now, ask->peak_cost);
	if (ask->entitled_cost)
		pc_rate_advance(&clock->entitled_ns, PC_RATE_READ(clock->entitled_ns), now,
				ask->entitled_cost);
	if (ask->root_cost)
		pc_rate_advance(&ref->root->clock_ns, PC_RATE_READ(ref->root->clock_ns), now,
				ask->root_cost);
	lease->prepaid += ask->prepay;
	lease->carry = ask->carry;
	lease->root_carry = ask->root_carry;
}

PC_RATE_INLINE __u32 pc_rate_charge(__u32 charge_min, __u32 bytes)
{
	__u32 charge = bytes << PC_RATE_CHARGE_SHIFT;

	return charge > charge_min ? charge : charge_min;
}

/* Reads the configuration again. What is left of a lease larger than today's is given up. */
PC_RATE_INLINE void pc_rate_renew(const struct pc_rate *rate, struct pc_rate_lease *lease,
				  __u64 now)
{
	__u32 most = PC_RATE_READ(rate->lease);

	lease->charge_min = PC_RATE_READ(rate->charge_min);
	lease->flags = PC_RATE_READ(rate->flags);
	lease->tier = PC_RATE_READ(rate->tier);
	lease->dscp = PC_RATE_READ(rate->dscp);
	lease->until_ns = now + PC_RATE_LEASE_NS;
	if (lease->left > most)
		lease->left = most;
}

PC_RATE_INLINE void pc_rate_count_drop(struct pc_rate_lease *lease, __u32 bytes,
				       enum pc_rate_verdict verdict)
{
	lease->dropped_bytes += bytes;
	if (verdict == PC_RATE_DROP_RATE)
		lease->drops_rate++;
	else if (verdict == PC_RATE_DROP_ROOT)
		lease->drops_root++;
	else
		lease->drops_quota++;
}

/* From the lease alone, and counted: whether it passes. If not: pc_rate_refill. */
PC_RATE_INLINE bool pc_rate_spend(struct pc_rate_lease *lease, __u64 now, __u32 bytes)
{
	__u32 charge = pc_rate_charge(lease->charge_min, bytes);

	if (charge > lease->left || now >= lease->until_ns)
		return false;
	lease->left -= charge;
	lease->bytes += bytes;
	return true;
}

/* A packet that passed is not sent after all: the lease has it back. */
PC_RATE_INLINE void pc_rate_undo(struct pc_rate_lease *lease, __u32 bytes)
{
	lease->left += pc_rate_charge(lease->charge_min, bytes);
	lease->bytes -= bytes;
}

/*
 * A new tenant starts with a tenth of its depth. From the first packet on, whether it passes or
 * not: else one that never fits would stay new for ever. That near its limit it hears no signal
 * before it has climbed from there: who keeps to his rate loses nothing.
 */
PC_RATE_INLINE void pc_rate_start(const struct pc_rate_ref *ref, __u64 now)
{
	__u64 depth = (__u64)PC_RATE_READ(ref->rate->depth) << PC_RATE_DEPTH_SHIFT;
	struct pc_rate_clock *clock = ref->clock;

	if (PC_RATE_READ(clock->committed_ns))
		return;
	if (!pc_rate_swap(&clock->committed_ns, 0, now + depth - depth / 10))
		return;
	PC_RATE_WRITE(clock->signal_level, (__u32)((depth - depth / 10) >> PC_RATE_DEPTH_SHIFT));
	PC_RATE_WRITE(clock->signal_next_ns, now + PC_RATE_SIGNAL_NS);
}

/* Steps 2 to 4 for @need more than the lease has; fills the lease. */
PC_RATE_INLINE enum pc_rate_verdict pc_rate_fill(const struct pc_rate_ref *ref, __u64 now,
						 __u32 bytes, __u8 ecn, __u32 need)
{
	struct pc_rate_lease *lease = ref->lease;
	enum pc_rate_verdict verdict = PC_RATE_DROP_RATE;
	__u32 take = PC_RATE_READ(ref->rate->lease);
	struct pc_rate_ask ask;

	if (take < need)
		take = need;
	if (!(lease->flags & PC_RATE_UNLIMITED))
		pc_rate_start(ref, now);
#pragma GCC unroll 1
	for (int i = 0; i < 2; i++) {
		verdict = pc_rate_ask(ref, now, bytes, take, take - need, &ask);
		if (verdict == PC_RATE_PASS || take == need)
			break;
		take = need;
	}
	if (verdict != PC_RATE_PASS) {
		pc_rate_refused(ref->clock, now);
		return verdict;
	}
	if ((ask.near_own || ask.near_root) &&
	    pc_rate_signal(ref->clock, now, ask.backlog, PC_RATE_READ(ref->rate->depth))) {
		if (!ecn)
			return ask.near_own ? PC_RATE_DROP_RATE : PC_RATE_DROP_ROOT;
		verdict = PC_RATE_MARK;
	}
	/* It was asked by reading: who is late at its very end is refused here. */
	if (lease->flags & PC_RATE_QUOTA && !pc_credit_spend(ref->quota, ask.prepay))
		return PC_RATE_DROP_QUOTA;
	pc_rate_take(ref, now, &ask);
	lease->left = take - need;
	return verdict;
}

/* What the lease does not cover: reads the configuration, fills the lease, and counts. */
PC_RATE_INLINE enum pc_rate_verdict pc_rate_refill(const struct pc_rate_ref *ref, __u64 now,
						   __u32 bytes, __u8 ecn)
{
	struct pc_rate_lease *lease = ref->lease;
	enum pc_rate_verdict verdict;

	pc_rate_renew(ref->rate, lease, now);
	if (pc_rate_spend(lease, now, bytes))
		return PC_RATE_PASS;
	verdict = pc_rate_fill(ref, now, bytes, ecn,
			       pc_rate_charge(lease->charge_min, bytes) - lease->left);
	if (verdict > PC_RATE_MARK) {
		pc_rate_count_drop(lease, bytes, verdict);
		return verdict;
	}
	lease->bytes += bytes;
	lease->marks += verdict == PC_RATE_MARK;
	return verdict;
}

/*
 * One packet of @bytes (IP total length as sent on), where all is at hand. @ecn: the last two bits
 * of the traffic class; PC_RATE_MARK is only said to what is ECN-capable or marked already.
 */
PC_RATE_INLINE enum pc_rate_verdict pc_rate_admit(const struct pc_rate_ref *ref, __u64 now,
						  __u32 bytes, __u8 ecn)
{
	return pc_rate_spend(ref->lease, now, bytes) ? PC_RATE_PASS
						     : pc_rate_refill(ref, now, bytes, ecn);
}

#endif
