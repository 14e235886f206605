/* SPDX-License-Identifier: MIT */
/*
 * What limits refused or marked: the counters of the data plane, by
 * number, become totals of tenants that survive it and us. A total and the readings it includes are
 * one value in the store, so nothing is lost or counted twice, whenever we are killed.
 */
#include "daemon/rates_int.h"

#include <string.h>

_Static_assert(PC_STORE_REFUSED == (int)PC_DP_REFUSED, "the store has as many");
_Static_assert(PC_STORE_REFUSED_ROOT == (int)PC_DP_REFUSED_ROOT, "in the same order");

/* Of the user-space path, or of the kernel. */
static uint32_t reading(const struct pc_dp_rate_count *c, int path, int what)
{
	const uint32_t both[PC_DP_REFUSED] = { c->drops_rate, c->drops_root, c->drops_quota,
					       c->marks };

	return path == PC_STORE_USER ? c->user[what] : both[what] - c->user[what];
}

/* Counters that are lower than they were began again. */
static bool take(const struct pc_rates *r, uint32_t limits, struct pc_store_refused *to)
{
	bool moved = false;

	for (int path = 0; path < PC_STORE_PATHS; path++) {
		for (unsigned int d = 0; d < 2; d++) {
			const struct pc_dp_rate_count *c = &r->count[pc_rate_index(limits, d)];

			for (int what = 0; what < PC_STORE_REFUSED; what++) {
				uint32_t now = reading(c, path, what);
				uint32_t *last = &to->last[path][d][what];

				moved |= now != *last;
				to->total[what] += now < *last ? now : now - *last;
				*last = now;
			}
		}
	}
	return moved;
}

void pc_rates_refused_set(struct pc_rates *r, uint32_t limits)
{
	struct pc_rated *t = &r->tenant[limits];

	t->refused = (struct pc_store_refused){ 0 };
	if (pc_store_refused_get(r->d->store, t->id, &t->refused) == 0 || !r->second_ns)
		return;
	/* A new tenant: what its number counted before was another's. */
	if (pc_dp_rate_counts(r->d->dp, pc_rate_index(limits, 0), 2,
			      &r->count[pc_rate_index(limits, 0)]) < 0)
		return;
	take(r, limits, &t->refused);
	memset(t->refused.total, 0, sizeof(t->refused.total));
	t->refused_fresh = true;
}

void pc_rates_refused_get(const struct pc_rates *r, uint32_t limits,
			  uint64_t ret_total[static PC_STORE_REFUSED])
{
	struct pc_store_refused now = r->tenant[limits].refused;

	take(r, limits, &now);
	memcpy(ret_total, now.total, sizeof(now.total));
}

int pc_rates_fold(struct pc_rates *r)
{
	int rc = pc_store_begin(r->d->store);

	for (uint32_t i = 1; rc == 0 && i < r->n; i++) {
		struct pc_rated *t = &r->tenant[i];

		if (!t->id || (!take(r, i, &t->refused) && !t->refused_fresh))
			continue;
		t->refused_fresh = true;
		rc = pc_store_refused_put(r->d->store, t->id, &t->refused);
	}
	if (rc < 0) {
		pc_store_rollback(r->d->store);
		return rc;
	}
	rc = pc_store_commit(r->d->store);
	for (uint32_t i = 1; rc == 0 && i < r->n; i++)
		r->tenant[i].refused_fresh = false;
	return rc;
}
