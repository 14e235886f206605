/* SPDX-License-Identifier: MIT */
/*
 * Intrusive hash table: the caller embeds struct pc_hnode, computes a 64-bit hash (SipHash with a
 * random key where strangers choose the key) and compares keys itself. Doubles when full; never
 * shrinks. Iteration order is arbitrary; the current entry may be removed while iterating.
 */
#ifndef PC_BASE_HTAB_H
#define PC_BASE_HTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_hnode {
	struct pc_hnode *next;
	uint64_t hash;
};

struct pc_htab {
	struct pc_hnode **buckets;
	size_t mask;
	size_t count;
};

/* @hint: expected entries. Returns 0 or -ENOMEM. */
int pc_htab_init(struct pc_htab *t, size_t hint);
void pc_htab_free(struct pc_htab *t); /* frees the buckets, not the entries */
/* Room for @n entries in all, so that it need not grow on the way there. */
void pc_htab_reserve(struct pc_htab *t, size_t n);
/* Inserting cannot fail: when growing fails the chains get longer. */
void pc_htab_insert(struct pc_htab *t, struct pc_hnode *n, uint64_t hash);
void pc_htab_remove(struct pc_htab *t, struct pc_hnode *n);
/* First node with @hash, then the next one with the same hash; NULL at the end. */
struct pc_hnode *pc_htab_first(const struct pc_htab *t, uint64_t hash);
struct pc_hnode *pc_htab_next(const struct pc_hnode *n);
/* Whole table: *pos starts at 0; NULL at the end. Do not insert meanwhile. */
struct pc_htab_iter {
	size_t bucket;
	struct pc_hnode *next;
};
struct pc_hnode *pc_htab_iterate(const struct pc_htab *t, struct pc_htab_iter *it);

#endif
