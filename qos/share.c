/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "abi/rate.h"
#include "qos/share.h"

/* Rounds of water-filling. Each fills somebody up; a handful is usual (see fill). */
#define ROUNDS 64

/* What is shared out, in this order. */
enum phase {
	PHASE_GUARANTEE, /* what is wanted of it */
	PHASE_WANT,	 /* tier by tier, but for the floors of those below */
	PHASE_IDLE,	 /* to those who want nothing yet */
	PHASE_GROW,	 /* what nobody wants, to those who want something */
	PHASE_REST,	 /* to everybody */
};

struct work {
	const struct pc_share_pool *pool;
	struct pc_share_tenant *t;
	uint32_t *list; /* tenants, tier by tier */
	size_t first[PC_SHARE_TIERS + 1];
	uint64_t left;		       /* of the capacity */
	uint64_t tier[PC_SHARE_TIERS]; /* of the tiers' ceilings */
};

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t limit_of(const struct work *w, const struct pc_share_tenant *t)
{
	return t->limit_bps ? min64(t->limit_bps, w->pool->capacity_bps) : w->pool->capacity_bps;
}

static double weight_of(const struct pc_share_tenant *t)
{
	return t->weight ? t->weight : 1;
}

/* How much more a tenant may get in this phase. */
static uint64_t room_of(const struct work *w, const struct pc_share_tenant *t, enum phase phase)
{
	uint64_t have = phase <= PHASE_WANT ? t->entitled_bps : t->ceiling_bps, most = 0;
	bool idle = !t->demand_bps;

	if (phase <= PHASE_WANT)
		most = min64(t->demand_bps, limit_of(w, t));
	else if (phase == PHASE_REST || idle == (phase == PHASE_IDLE))
		most = limit_of(w, t);
	if (phase == PHASE_GUARANTEE)
		most = min64(most, t->guarantee_bps);
	return most > have ? most - have : 0;
}

static void give(struct pc_share_tenant *t, enum phase phase, uint64_t amount)
{
	if (phase <= PHASE_WANT)
		t->entitled_bps += amount;
	t->ceiling_bps += amount;
}

/*
 * Shares at most @amount among the tenants of one tier, by weight, each up to its room; returns
 * what was given. Who is full at the even share leaves, and the rest is shared again: the even
 * share only grows. Rounding and the last round leave a little over, and never give too much.
 */
static uint64_t fill(struct work *w, size_t tier, enum phase phase, uint64_t amount)
{
	uint32_t *list = w->list + w->first[tier];
	size_t n = w->first[tier + 1] - w->first[tier];
	uint64_t given = 0;

	for (int round = 0; n && given < amount; round++) {
		uint64_t rooms = 0;
		double sum = 0, even;
		size_t kept = 0;

		for (size_t i = 0; i < n; i++) {
			uint32_t k = list[i];
			uint64_t room = room_of(w, &w->t[k], phase);

			if (!room)
				continue;
			list[i] = list[kept];
			list[kept++] = k;
			rooms += room;
			sum += weight_of(&w->t[k]);
		}
		n = kept;
		even = rooms <= amount - given ? HUGE_VAL
					       : (double)(amount - given) / sum * (1 - 1e-12);
		kept = 0;
		for (size_t i = 0; i < n && round < ROUNDS; i++) {
			struct pc_share_tenant *t = &w->t[list[i]];
			uint64_t room = room_of(w, t, phase);

			if ((double)room > even * weight_of(t)) {
				kept++;
			} else {
				give(t, phase, room);
				given += room;
			}
		}
		if (kept < n && round < ROUNDS)
			continue;
		for (size_t i = 0; i < n; i++) {
			struct pc_share_tenant *t = &w->t[list[i]];
			uint64_t part =
				min64((uint64_t)(even * weight_of(t)), room_of(w, t, phase));

			give(t, phase, part);
			given += part;
		}
		break;
	}
	return given;
}

/* What the tiers want of @amount: the smaller of their tenants' room and of their ceiling. */
static void want_of_tiers(const struct work *w, enum phase phase, int rate_class,
			  uint64_t ret_want[static PC_SHARE_TIERS],
			  double ret_weight[static PC_SHARE_TIERS])
{
	const struct pc_tier *tiers = w->pool->tiers;

	for (size_t k = 0; k < w->pool->n_tiers; k++) {
		ret_want[k] = 0;
		ret_weight[k] = 0;
		if (rate_class >= 0 && tiers[k].rate_class != rate_class)
			continue;
		for (size_t i = w->first[k]; i < w->first[k + 1]; i++) {
			const struct pc_share_tenant *t = &w->t[w->list[i]];
			uint64_t room = room_of(w, t, phase);

			if (!room)
				continue;
			ret_want[k] = min64(w->tier[k], ret_want[k] + room);
			ret_weight[k] += weight_of(t) * tiers[k].weight;
		}
	}
}

/*
 * Shares @amount among the tiers of a class (-1: all), by the weights of those in them that want
 * something, and then within each.
 */
static void share_out(struct work *w, enum phase phase, int rate_class, uint64_t amount)
{
	uint64_t want[PC_SHARE_TIERS];
	double weight[PC_SHARE_TIERS];
	size_t tiers = w->pool->n_tiers, full = 1;

	amount = min64(amount, w->left);
	if (amount <= w->pool->capacity_bps >> 20) /* what rounding left */
		return;
	want_of_tiers(w, phase, rate_class, want, weight);
	/* Each round but the last satisfies a tier. */
	while (full) {
		double sum = 0, even;

		for (size_t k = 0; k < tiers; k++)
			sum += want[k] ? weight[k] : 0;
		even = sum > 0 ? (double)amount / sum * (1 - 1e-12) : 0;
		full = 0;
		for (size_t k = 0; k < tiers; k++) {
			uint64_t part = (uint64_t)(even * weight[k]), given;
			bool last = want[k] <= part;

			if (!want[k] || !part)
				continue;
			full += last;
			if (!last)
				continue;
			given = fill(w, k, phase, want[k]);
			amount -= given;
			w->left -= given;
			w->tier[k] -= given;
			want[k] = 0;
		}
		if (full)
			continue;
		for (size_t k = 0; k < tiers; k++) {
			uint64_t given =
				want[k] ? fill(w, k, phase, (uint64_t)(even * weight[k])) : 0;

			w->left -= given;
			w->tier[k] -= given;
		}
	}
}

/* What each tier is kept for by those above it: its floor, if it wants so much more. */
static void find_floors(const struct work *w, uint64_t ret_floor[static PC_SHARE_TIERS])
{
	uint64_t floor = w->pool->capacity_bps / PC_SHARE_FLOOR;

	for (size_t k = 0; k < w->pool->n_tiers; k++) {
		uint64_t have = 0, want = 0;

		for (size_t i = w->first[k]; i < w->first[k + 1]; i++) {
			const struct pc_share_tenant *t = &w->t[w->list[i]];

			have += t->entitled_bps;
			want += room_of(w, t, PHASE_WANT);
			if (have >= floor || want >= floor)
				break;
		}
		ret_floor[k] = have < floor ? min64(min64(floor - have, want), w->tier[k]) : 0;
	}
}

/* Tier by tier. */
static void share_wants(struct work *w)
{
	const struct pc_tier *tiers = w->pool->tiers;
	uint64_t floor[PC_SHARE_TIERS];

	find_floors(w, floor);
	for (int rate_class = PC_RATE_CLASSES - 1; rate_class >= 0; rate_class--) {
		uint64_t below = 0;

		for (size_t k = 0; k < w->pool->n_tiers; k++)
			below += tiers[k].rate_class < rate_class ? floor[k] : 0;
		share_out(w, PHASE_WANT, rate_class, w->left > below ? w->left - below : 0);
	}
}

/* Sorts the tenants by tier and forgets the last result. */
static bool begin(struct work *w, size_t n)
{
	const struct pc_tier *tiers = w->pool->tiers;
	size_t place[PC_SHARE_TIERS], count[PC_SHARE_TIERS] = { 0 };
	bool idle = false;

	for (size_t i = 0; i < n; i++) {
		struct pc_share_tenant *t = &w->t[i];

		t->entitled_bps = t->ceiling_bps = 0;
		count[t->tier]++;
		idle |= !t->demand_bps;
	}
	for (size_t k = 0; k < w->pool->n_tiers; k++) {
		place[k] = w->first[k];
		w->first[k + 1] = w->first[k] + count[k];
		w->tier[k] = w->pool->capacity_bps;
		if (tiers[k].ceiling < 100)
			w->tier[k] = w->pool->capacity_bps / 100 * tiers[k].ceiling;
	}
	for (size_t i = 0; i < n; i++)
		w->list[place[w->t[i].tier]++] = (uint32_t)i;
	return idle;
}

void pc_share_compute(const struct pc_share_pool *pool, struct pc_share_tenant *tenants, size_t n,
		      uint32_t *scratch)
{
	struct work w = { .pool = pool, .t = tenants, .list = scratch };
	uint64_t kept = 0;

	w.left = pool->capacity_bps;
	if (begin(&w, n))
		kept = pool->capacity_bps / PC_SHARE_IDLE;
	share_out(&w, PHASE_GUARANTEE, -1, w.left);
	kept = min64(kept, w.left);
	w.left -= kept;
	share_wants(&w);
	w.left += kept;
	share_out(&w, PHASE_IDLE, -1, kept);
	share_out(&w, PHASE_GROW, -1, w.left);
	share_out(&w, PHASE_REST, -1, w.left);
}

void pc_share_fallback(const struct pc_share_pool *pool, struct pc_share_tenant *tenants, size_t n)
{
	const struct pc_tier *tiers = pool->tiers;
	uint64_t guaranteed = 0, rest;
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		guaranteed += tenants[i].guarantee_bps;
		sum += weight_of(&tenants[i]) * tiers[tenants[i].tier].weight;
	}
	rest = pool->capacity_bps > guaranteed ? pool->capacity_bps - guaranteed : 0;
	for (size_t i = 0; i < n; i++) {
		struct pc_share_tenant *t = &tenants[i];
		double part = weight_of(t) * tiers[t->tier].weight / sum * (1 - 1e-12);
		uint64_t bps = t->guarantee_bps + (uint64_t)((double)rest * part);

		t->fallback_bps = t->limit_bps ? min64(bps, t->limit_bps) : bps;
	}
}

bool pc_share_differs(uint64_t written_bps, uint64_t ceiling_bps, bool hungry)
{
	if (ceiling_bps <= written_bps)
		return ceiling_bps < written_bps;
	return ceiling_bps - written_bps > written_bps / (hungry ? 500 : 50);
}
