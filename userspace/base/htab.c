/* SPDX-License-Identifier: MIT */
#include "base/htab.h"

#include <errno.h>
#include <stdlib.h>

#define BUCKETS_MIN 16
#define BUCKETS_MAX (SIZE_MAX / 4 / sizeof(struct pc_hnode *))

int pc_htab_init(struct pc_htab *t, size_t hint)
{
	size_t n = BUCKETS_MIN;

	if (hint > BUCKETS_MAX)
		return -ENOMEM;
	while (n < hint)
		n *= 2;
	*t = (struct pc_htab){ .buckets = calloc(n, sizeof(*t->buckets)), .mask = n - 1 };
	return t->buckets ? 0 : -ENOMEM;
}

void pc_htab_free(struct pc_htab *t)
{
	free(t->buckets);
	*t = (struct pc_htab){ 0 };
}

static void link_node(struct pc_hnode **buckets, size_t mask, struct pc_hnode *n)
{
	struct pc_hnode **head = &buckets[n->hash & mask];

	n->next = *head;
	*head = n;
}

static void resize(struct pc_htab *t, size_t size)
{
	struct pc_hnode **buckets, *n, *next;

	if (size > BUCKETS_MAX)
		return;
	buckets = calloc(size, sizeof(*buckets));
	if (!buckets)
		return;
	for (size_t i = 0; i <= t->mask; i++) {
		for (n = t->buckets[i]; n; n = next) {
			next = n->next;
			link_node(buckets, size - 1, n);
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->mask = size - 1;
}

void pc_htab_reserve(struct pc_htab *t, size_t n)
{
	size_t size = t->mask + 1;

	while (size < n && size <= BUCKETS_MAX)
		size *= 2;
	if (size > t->mask + 1)
		resize(t, size);
}

void pc_htab_insert(struct pc_htab *t, struct pc_hnode *n, uint64_t hash)
{
	if (t->count > t->mask)
		resize(t, 2 * (t->mask + 1));
	n->hash = hash;
	link_node(t->buckets, t->mask, n);
	t->count++;
}

void pc_htab_remove(struct pc_htab *t, struct pc_hnode *n)
{
	struct pc_hnode **p;

	if (!t->buckets)
		return;
	for (p = &t->buckets[n->hash & t->mask]; *p; p = &(*p)->next) {
		if (*p == n) {
			*p = n->next;
			n->next = NULL;
			t->count--;
			return;
		}
	}
}

static struct pc_hnode *find(struct pc_hnode *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct pc_hnode *pc_htab_first(const struct pc_htab *t, uint64_t hash)
{
	return t->buckets ? find(t->buckets[hash & t->mask], hash) : NULL;
}

struct pc_hnode *pc_htab_next(const struct pc_hnode *n)
{
	return find(n->next, n->hash);
}

struct pc_hnode *pc_htab_iterate(const struct pc_htab *t, struct pc_htab_iter *it)
{
	struct pc_hnode *n = it->next;

	while (!n && t->buckets && it->bucket <= t->mask)
		n = t->buckets[it->bucket++];
	it->next = n ? n->next : NULL;
	return n;
}
