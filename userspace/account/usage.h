/* SPDX-License-Identifier: MIT */
/*
 * From counters of slots to totals of tenants, exactly once. A slot's counters only grow; what a
 * tenant used is its stored total plus what its slots counted since they were folded. Folding moves
 * that difference into the total and the mark to the new reading in one transaction, so neither a
 * crash nor a repetition loses or doubles a byte.
 */
#ifndef PC_ACCOUNT_USAGE_H
#define PC_ACCOUNT_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

struct pc_usage;

/*
 * Reads slots [first, first + n) of one path into counts. Returns 0 or a negative code;
 * PC_ERR_STATE: this path's counters are out of reach for now (no kernel half), so nothing is
 * counted and all marks stay as they are. Zeroes instead would read as counters that started again.
 */
typedef int (*pc_usage_read_fn)(void *ctx, enum pc_store_path path, uint32_t first, uint32_t n,
				struct pc_store_count *ret_counts);

/*
 * Loads the slots and totals of @store (borrowed; read-only is enough for figures).
 * @counters_reset[path]: the counters of that path started from 0 since the last fold (reboot):
 * all marks of that path are taken as 0, and are so in the store before this returns (when it is
 * writable). Store whatever tells resets apart (boot id, generation) in the same transaction, or
 * afterwards; never before.
 */
int pc_usage_new(struct pc_store *store, uint32_t max_slots, pc_usage_read_fn read, void *ctx,
		 const bool counters_reset[static PC_STORE_PATHS], struct pc_usage **ret_usage);
void pc_usage_free(struct pc_usage *u);

/*
 * Takes a free slot, longest unused first, for @session of @tenant and records it in the store
 * before returning. PC_ERR_FULL when none is free, or the store's error.
 */
int pc_usage_open(struct pc_usage *u, uint64_t session, uint32_t tenant, uint32_t *ret_slot);
/* The session ended; the slot is folded and freed by a later pc_usage_fold. */
void pc_usage_close(struct pc_usage *u, uint32_t slot, uint64_t now);
/*
 * One transaction: folds every slot that moved; frees slots closed more than 1 s ago. On failure
 * nothing is changed and the next call does it all.
 */
int pc_usage_fold(struct pc_usage *u, uint64_t now);
/*
 * The same of @n_slots, those after the last ones, in a transaction of their own. *ret_more: a
 * round is under way, which later calls go on with; after a failure the next call begins another
 * one.
 */
int pc_usage_fold_some(struct pc_usage *u, uint32_t n_slots, uint64_t now, bool *ret_more);
/* These slots are about to be asked for: has their memory fetched. */
void pc_usage_near(const struct pc_usage *u, const uint32_t *slots, size_t n);
/* Whether @slot is open, and for which session and tenant. */
bool pc_usage_slot(const struct pc_usage *u, uint32_t slot, uint64_t *ret_session,
		   uint32_t *ret_tenant);
uint32_t pc_usage_open_slots(const struct pc_usage *u);

/* Totals of @tenant per path, as of the last refresh or fold. */
int pc_usage_tenant(struct pc_usage *u, uint32_t tenant,
		    struct pc_store_count ret_counts[static PC_STORE_PATHS]);
/* Refreshes the readings of all open slots at once; pc_usage_tenant and _session then use them. */
int pc_usage_refresh(struct pc_usage *u);
/* What the session in @slot used since it began, as of the last refresh. */
int pc_usage_session(const struct pc_usage *u, uint32_t slot,
		     struct pc_store_count ret_counts[static PC_STORE_PATHS]);

#endif
