/* SPDX-License-Identifier: MIT */
#include "qos/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "lib/rate.h"

#define NS_PER_MS  1000000ull
#define NS_PER_S   1000000000ull
#define FULL_FRAME 1500
/*
 * Depths of the two clocks; the second is for what a sender may send at once at its peak. With a
 * lower peak a Reno flow cannot make up for what it lost by halving its window; with more of both,
 * 100 ms may hold twice the rate (tests/unit/test_rate_tcp).
 */
#define DEPTH_NS	(1000 * NS_PER_MS)
#define PEAK_DEPTH_NS	(42 * NS_PER_MS)
#define MIN_FULL_FRAMES 10
/* What is left of savings when a share grows, at least. */
#define SAVED_NS (20 * NS_PER_MS)
/*
 * A tenant with a limit on packets alone gets a rate that its packets cannot reach otherwise, and
 * whose smallest charge fits 32 bits.
 */
#define BPS_PER_PACKET 100000000ull

const struct pc_tier pc_tiers_builtin[3] = {
	{ "owner", PC_RATE_CLASS_OWNER, PC_TIER_NO_DSCP, 1, 100 },
	{ "paid", PC_RATE_CLASS_PAID, PC_TIER_NO_DSCP, 1, 100 },
	{ "free", PC_RATE_CLASS_FREE, PC_TIER_NO_DSCP, 1, 100 },
};

static const char *const class_names[PC_RATE_CLASSES] = {
	[PC_RATE_CLASS_FREE] = "free",
	[PC_RATE_CLASS_PAID] = "paid",
	[PC_RATE_CLASS_OWNER] = "owner",
	[PC_RATE_CLASS_CONTROL] = "control",
};

/* Virtual backlog of the uplink at which a class is refused. */
static const uint32_t class_limit_ms[PC_RATE_CLASSES] = {
	[PC_RATE_CLASS_FREE] = 5,
	[PC_RATE_CLASS_PAID] = 20,
	[PC_RATE_CLASS_OWNER] = 50,
	[PC_RATE_CLASS_CONTROL] = 50,
};

int pc_tier_class_parse(const char *text, uint8_t *ret_class)
{
	/* control is for the node itself, not for tenants. */
	for (uint8_t i = 0; i < PC_RATE_CLASS_CONTROL; i++) {
		if (strcmp(text, class_names[i]) == 0) {
			*ret_class = i;
			return 0;
		}
	}
	return PC_ERR_UNKNOWN;
}

const char *pc_tier_class_name(uint8_t rate_class)
{
	return rate_class < PC_RATE_CLASSES ? class_names[rate_class] : "?";
}

static int bad(char *why, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int bad(char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return PC_ERR_RANGE;
}

static int check_rate(const char *what, uint64_t bps, const struct pc_plan_node *node, char *why,
		      size_t size)
{
	if (bps && (bps < PC_PLAN_MIN_BPS || bps > PC_PLAN_MAX_BPS))
		return bad(why, size, "%s %" PRIu64 ": from %llu to %llu bit/s, or none", what, bps,
			   PC_PLAN_MIN_BPS, PC_PLAN_MAX_BPS);
	if (node->capacity_bps && bps > node->capacity_bps)
		return bad(why, size, "%s %" PRIu64 ": above the capacity of %" PRIu64 " bit/s",
			   what, bps, node->capacity_bps);
	return 0;
}

static int check_guarantee(const struct pc_plan *p, const struct pc_plan_node *node, char *why,
			   size_t size)
{
	uint64_t g = p->guarantee_bps;

	if (!g)
		return 0;
	if (!node->capacity_bps)
		return bad(why, size, "guarantee: the configuration names no capacity");
	for (int d = 0; d < 2; d++) {
		if (p->bps[d] && g > p->bps[d])
			return bad(why, size, "guarantee %" PRIu64 ": above the rate of %" PRIu64,
				   g, p->bps[d]);
	}
	/* Both ways leave by the same uplink. */
	if (2 * g > node->capacity_bps || node->guaranteed_bps > node->capacity_bps - 2 * g)
		return bad(why, size,
			   "guarantee %" PRIu64 ": %" PRIu64 " bit/s each way are left of the "
			   "capacity",
			   g,
			   node->guaranteed_bps > node->capacity_bps
				   ? 0
				   : (node->capacity_bps - node->guaranteed_bps) / 2);
	return 0;
}

int pc_plan_check(const struct pc_plan *p, const struct pc_plan_node *node, char *ret_why,
		  size_t size)
{
	int r;

	if (p->weight < 1 || p->weight > PC_PLAN_MAX_WEIGHT)
		return bad(ret_why, size, "weight %u: from 1 to %d", p->weight, PC_PLAN_MAX_WEIGHT);
	r = check_rate("rate up", p->bps[PC_RATE_UP], node, ret_why, size);
	if (!r)
		r = check_rate("rate down", p->bps[PC_RATE_DOWN], node, ret_why, size);
	if (!r)
		r = check_rate("guarantee", p->guarantee_bps, node, ret_why, size);
	if (!r)
		r = check_guarantee(p, node, ret_why, size);
	for (int d = 0; !r && p->packets_per_s && d < 2; d++) {
		if (pc_rate_charge_min(p->bps[d], p->packets_per_s) == UINT32_MAX)
			r = bad(ret_why, size, "packets/s %u: too few for %" PRIu64 " bit/s",
				p->packets_per_s, p->bps[d]);
	}
	if (!r && p->quota_month && p->quota_day > p->quota_month)
		r = bad(ret_why, size, "quota of a day: above that of a month");
	return r;
}

/* The rate of the second clock. */
static uint64_t peak(uint64_t bps)
{
	return bps / 3 * 4;
}

/* Nanoseconds as the clocks know them, not below @frames full frames at @bps. */
static uint32_t depth(uint64_t ns, uint64_t bps, unsigned int frames)
{
	uint64_t least = bps ? (uint64_t)frames * FULL_FRAME * 8 * NS_PER_S / bps : 0;

	return (uint32_t)((ns > least ? ns : least) >> PC_RATE_DEPTH_SHIFT);
}

/* The lower of two rates of which 0 is none. */
static uint64_t lower(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

void pc_plan_rate(const struct pc_plan *plan, const struct pc_tier *tier, unsigned int direction,
		  const struct pc_plan_share *share, struct pc_rate *ret_rate)
{
	uint64_t bps = lower(plan->bps[direction], share ? share->allowed_bps : 0);
	struct pc_rate rate = { .tier = tier->rate_class };

	if (!bps && plan->packets_per_s) {
		bps = plan->packets_per_s * BPS_PER_PACKET;
		bps = bps < PC_PLAN_MAX_BPS ? bps : PC_PLAN_MAX_BPS;
	}
	if (!bps)
		rate.flags |= PC_RATE_UNLIMITED;
	if (plan->quota_day || plan->quota_month)
		rate.flags |= PC_RATE_QUOTA;
	if (tier->dscp != PC_TIER_NO_DSCP) {
		rate.flags |= PC_RATE_SET_DSCP;
		rate.dscp = tier->dscp;
	}
	rate.committed = pc_rate_word(bps);
	rate.peak = pc_rate_word(peak(bps));
	rate.depth = depth(DEPTH_NS, bps, MIN_FULL_FRAMES);
	rate.peak_depth = depth(PEAK_DEPTH_NS, peak(bps), MIN_FULL_FRAMES);
	rate.charge_min = pc_rate_charge_min(bps, plan->packets_per_s);
	rate.lease = pc_rate_lease_charge(bps ? bps : PC_PLAN_MAX_BPS);
	if (share) {
		rate.entitled = pc_rate_word(peak(share->entitled_bps));
		rate.fallback = pc_rate_word(lower(plan->bps[direction], share->fallback_bps));
		rate.epoch_end_ns = share->epoch_end_ns;
	}
	*ret_rate = rate;
}

/* Nanoseconds of a charge. */
static double word_ns(uint64_t word)
{
	return ldexp((double)(uint32_t)word, -(int)(word >> 32));
}

/*
 * A share that grows brings no credit: what a tenant has saved are bytes that nobody sent, and as
 * many of them are left, at any rate. As shares never add up to more than the capacity, neither do
 * savings and what is being sent. A little time is left to who has saved some: what he sends next
 * may be a burst. From then on he is near his limit without having come near it: no signal yet.
 */
static void keep_savings(struct pc_rate_clock *clock, const struct pc_rate *old,
			 const struct pc_rate *new, uint64_t now)
{
	uint64_t was_deep = (uint64_t)old->depth << PC_RATE_DEPTH_SHIFT;
	uint64_t deep = (uint64_t) new->depth << PC_RATE_DEPTH_SHIFT;
	double factor = old->committed ? word_ns(new->committed) / word_ns(old->committed) : 1;

	for (int i = 0; i < 100; i++) {
		uint64_t tat = __atomic_load_n(&clock->committed_ns, __ATOMIC_RELAXED);
		uint64_t ahead = pc_rate_backlog(tat, now);
		uint64_t saved = ahead < was_deep ? was_deep - ahead : 0;
		uint64_t left = (uint64_t)((double)saved * factor);

		if (left < SAVED_NS)
			left = saved < SAVED_NS ? saved : SAVED_NS;
		if (!tat || (left >= deep && tat <= now))
			return;
		if (!pc_rate_swap(&clock->committed_ns, tat, left < deep ? now + deep - left : now))
			continue;
		if (factor <= 0.5)
			pc_rate_refused(clock, now);
		return;
	}
}

/*
 * Brings what a clock is ahead to the new rate, where that is twice the old one or more: rates that
 * go up and down a little give nothing. At a lower rate the time stands, up to the depth.
 */
static void rebase(__u64 *clock, uint64_t old_word, uint64_t new_word, uint32_t deep, uint64_t now)
{
	uint64_t most = (uint64_t)deep << PC_RATE_DEPTH_SHIFT;
	double factor = old_word && new_word ? word_ns(new_word) / word_ns(old_word) : 1;

	for (int i = 0; i < 100; i++) {
		uint64_t tat = __atomic_load_n(clock, __ATOMIC_RELAXED), ahead = tat - now;

		if (tat <= now)
			return;
		if (factor <= 0.5)
			ahead = (uint64_t)((double)ahead * factor);
		ahead = ahead < most ? ahead : most;
		if (now + ahead == tat || pc_rate_swap(clock, tat, now + ahead))
			return;
	}
}

void pc_plan_apply(struct pc_rate *rate, struct pc_rate_clock *clock, const struct pc_rate *next,
		   uint64_t now)
{
	struct pc_rate old = *rate, new = *next;

	new.version = old.version;
	if (memcmp(&old, &new, sizeof(new)) == 0)
		return;
	new.version++;
	pc_rate_store(rate, &new);
	if (new.epoch_end_ns)
		keep_savings(clock, &old, &new, now);
	else
		rebase(&clock->committed_ns, old.committed, new.committed, new.depth, now);
	rebase(&clock->peak_ns, old.peak, new.peak, new.peak_depth, now);
	rebase(&clock->entitled_ns, old.entitled, new.entitled, new.peak_depth, now);
}

void pc_plan_root(uint64_t capacity_bps, struct pc_rate_root *root)
{
	for (int i = 0; i < PC_RATE_CLASSES; i++)
		__atomic_store_n(&root->limit_ns[i], (uint32_t)(class_limit_ms[i] * NS_PER_MS),
				 __ATOMIC_RELAXED);
	__atomic_store_n(&root->rate, pc_rate_word(peak(capacity_bps)), __ATOMIC_RELEASE);
}
