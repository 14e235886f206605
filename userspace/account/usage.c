/* SPDX-License-Identifier: MIT */
#include "account/usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/htab.h"

/* Slots are read in runs: gaps up to READ_GAP closed slots cost less than another system call. */
#define READ_CHUNK 256u
#define READ_GAP   8u
/* Packets that were in the kernel when the session's flows went away have been counted by then. */
#define FREE_AFTER_NS PC_NS_PER_S

#define FIELDS	      (sizeof(struct pc_store_count) / sizeof(uint64_t))
_Static_assert(sizeof(struct pc_store_count) == 8 * sizeof(uint64_t), "counters have a gap");

/* A mark not known yet: the slot was opened while its counters could not be read. */
#define UNKNOWN UINT64_MAX

/*
 * An open slot. What was read last is also what the tenant's `live` includes; writing a dirty slot
 * makes it the folded mark, and what is owed a part of the tenant's total, in one transaction: so
 * any part of the slots can be folded by itself.
 */
struct slot {
	uint64_t session;
	uint64_t closed_ns; /* 0: open, or ended before this process began */
	uint32_t tenant;
	bool ended;
	bool dirty; /* differs from the store's record */
	struct pc_store_count opened[PC_STORE_PATHS];
	struct pc_store_count reading[PC_STORE_PATHS];
	struct pc_store_count owed[PC_STORE_PATHS]; /* to the total: what it grew by since then */
};

struct tenant {
	struct pc_hnode node;
	uint32_t id;
	bool due_any;
	struct pc_store_count stored[PC_STORE_PATHS];
	struct pc_store_count live[PC_STORE_PATHS]; /* read, but not in the store yet */
	struct pc_store_count due[PC_STORE_PATHS];  /* of it, what is being folded */
};

struct pc_usage {
	struct pc_store *store;
	pc_usage_read_fn read;
	void *ctx;
	uint32_t max_slots;
	uint32_t open_slots;
	struct slot **slots;
	uint64_t *open_bits;
	uint32_t *free_ring; /* slots by how long they have been free */
	uint32_t free_head, free_count;
	uint32_t fold_next; /* where the round under way goes on; 0: none is */
	struct pc_htab tenants;
	struct pc_store_count chunk[READ_CHUNK];
};

PC_DEFINE_CLEANUP(usage, struct pc_usage, pc_usage_free)

/* --- counts as vectors --- */

static uint64_t *vec(struct pc_store_count *c)
{
	return (uint64_t *)c;
}

static const uint64_t *cvec(const struct pc_store_count *c)
{
	return (const uint64_t *)c;
}

static void count_add(struct pc_store_count *a, const struct pc_store_count *b)
{
	for (size_t i = 0; i < FIELDS; i++)
		vec(a)[i] += cvec(b)[i];
}

static void count_sub(struct pc_store_count *a, const struct pc_store_count *b)
{
	for (size_t i = 0; i < FIELDS; i++)
		vec(a)[i] -= cvec(b)[i];
}

static bool any_below(const struct pc_store_count *a, const struct pc_store_count *b)
{
	for (size_t i = 0; i < FIELDS; i++) {
		if (cvec(a)[i] < cvec(b)[i])
			return true;
	}
	return false;
}

static bool is_unknown(const struct pc_store_count *c)
{
	return c->up_packets == UNKNOWN;
}

/* --- tenants --- */

static uint64_t tenant_hash(uint32_t id)
{
	return id * 0x9e3779b97f4a7c15ull;
}

static struct tenant *tenant_find(const struct pc_usage *u, uint32_t id)
{
	uint64_t hash = tenant_hash(id);

	for (struct pc_hnode *n = pc_htab_first(&u->tenants, hash); n; n = pc_htab_next(n)) {
		struct tenant *t = pc_container_of(n, struct tenant, node);

		if (t->id == id)
			return t;
	}
	return NULL;
}

static int tenant_get(struct pc_usage *u, uint32_t id, struct tenant **ret_tenant)
{
	_cleanup_free_ struct tenant *t = NULL;
	struct tenant *found = tenant_find(u, id);
	int rc;

	if (!found) {
		t = calloc(1, sizeof(*t));
		if (!t)
			return -ENOMEM;
		t->id = id;
		rc = pc_store_total_get(u->store, id, t->stored);
		if (rc < 0)
			return rc;
		found = TAKE_PTR(t);
		pc_htab_insert(&u->tenants, &found->node, tenant_hash(id));
	}
	*ret_tenant = found;
	return 0;
}

/* --- slots --- */

static void mark_open(struct pc_usage *u, uint32_t index, struct slot *slot)
{
	u->slots[index] = slot;
	u->open_bits[index / 64] |= 1ull << (index % 64);
	u->open_slots++;
}

static void free_slot(struct pc_usage *u, uint32_t index)
{
	free(u->slots[index]);
	u->slots[index] = NULL;
	u->open_bits[index / 64] &= ~(1ull << (index % 64));
	u->open_slots--;
	u->free_ring[(u->free_head + u->free_count) % u->max_slots] = index;
	u->free_count++;
}

/* First open slot at or after @from; max_slots when there is none. */
static uint32_t next_open(const struct pc_usage *u, uint32_t from)
{
	uint32_t words = (u->max_slots + 63) / 64;
	uint32_t word = from / 64;
	uint64_t bits;

	if (from >= u->max_slots)
		return u->max_slots;
	bits = u->open_bits[word] & (~0ull << (from % 64));
	while (!bits && ++word < words)
		bits = u->open_bits[word];
	return bits ? word * 64 + (uint32_t)__builtin_ctzll(bits) : u->max_slots;
}

static int put_slot(struct pc_usage *u, uint32_t index, const struct slot *slot)
{
	struct pc_store_slot record = {
		.slot = index,
		.session = slot->session,
		.tenant = slot->tenant,
		.ended = slot->ended,
	};

	memcpy(record.opened, slot->opened, sizeof(record.opened));
	memcpy(record.folded, slot->reading, sizeof(record.folded));
	return pc_store_slot_put(u->store, &record);
}

/* --- reading --- */

/* A new reading of one slot: what it grew by since the last one belongs to its tenant. */
static void take_reading(struct slot *slot, struct tenant *t, enum pc_store_path path,
			 const struct pc_store_count *now)
{
	struct pc_store_count *last = &slot->reading[path];
	struct pc_store_count grown = *now;

	if (memcmp(last, now, sizeof(*now)) == 0)
		return;
	slot->dirty = true;
	if (is_unknown(last)) {
		*last = *now;
		slot->opened[path] = *now;
		return;
	}
	if (any_below(now, last)) /* started again from 0: session figures go on all the same */
		count_sub(&slot->opened[path], last);
	else
		count_sub(&grown, last);
	count_add(&t->live[path], &grown);
	count_add(&slot->owed[path], &grown);
	*last = *now;
}

/* Reads [first, last] of one path and takes the readings of the open ones. */
static int read_run(struct pc_usage *u, enum pc_store_path path, uint32_t first, uint32_t last)
{
	int rc = u->read(u->ctx, path, first, last - first + 1, u->chunk);

	if (rc == PC_ERR_STATE) /* these counters are out of reach now: the marks wait for them */
		return 0;
	if (rc < 0)
		return rc;
	for (uint32_t i = first; i <= last; i++) {
		struct tenant *t;

		if (!u->slots[i])
			continue;
		rc = tenant_get(u, u->slots[i]->tenant, &t);
		if (rc < 0)
			return rc;
		take_reading(u->slots[i], t, path, &u->chunk[i - first]);
	}
	return 0;
}

/* The open slots of [from, to). */
static int refresh_range(struct pc_usage *u, uint32_t from, uint32_t to)
{
	uint32_t first = next_open(u, from);

	while (first < to) {
		uint32_t last = first;
		uint32_t next = next_open(u, first + 1);

		while (next < to && next - last <= READ_GAP && next - first < READ_CHUNK) {
			last = next;
			next = next_open(u, next + 1);
		}
		for (int path = 0; path < PC_STORE_PATHS; path++) {
			int rc = read_run(u, (enum pc_store_path)path, first, last);

			if (rc < 0)
				return rc;
		}
		first = next;
	}
	return 0;
}

int pc_usage_refresh(struct pc_usage *u)
{
	return refresh_range(u, 0, u->max_slots);
}

/* --- loading --- */

struct load {
	struct pc_usage *u;
	const bool *counters_reset;
	bool changed;	 /* the records must be written again */
	uint32_t beyond; /* lowest slot in the store that no longer exists; UINT32_MAX: none */
};

static int load_slot(void *arg, const struct pc_store_slot *record)
{
	struct load *l = arg;
	struct slot *slot;

	if (record->slot >= l->u->max_slots) {
		if (record->slot < l->beyond)
			l->beyond = record->slot;
		return 0;
	}
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->session = record->session;
	slot->tenant = record->tenant;
	slot->ended = record->ended;
	memcpy(slot->opened, record->opened, sizeof(slot->opened));
	memcpy(slot->reading, record->folded, sizeof(slot->reading));
	for (int path = 0; path < PC_STORE_PATHS; path++) {
		if (!l->counters_reset[path])
			continue;
		if (is_unknown(&slot->reading[path]))
			memset(&slot->opened[path], 0, sizeof(slot->opened[path]));
		else
			count_sub(&slot->opened[path], &slot->reading[path]);
		memset(&slot->reading[path], 0, sizeof(slot->reading[path]));
		slot->dirty = true;
		l->changed = true;
	}
	mark_open(l->u, record->slot, slot);
	return 0;
}

static int find_beyond(void *arg, const struct pc_store_slot *record)
{
	struct load *l = arg;

	if (record->slot >= l->u->max_slots && record->slot < l->beyond)
		l->beyond = record->slot;
	return 0;
}

/* Drops records of slots that a smaller max-sessions took away. */
static int drop_beyond(struct load *l)
{
	int rc = 0;

	while (rc == 0 && l->beyond != UINT32_MAX) {
		rc = pc_store_slot_del(l->u->store, l->beyond);
		l->beyond = UINT32_MAX;
		if (rc == 0)
			rc = pc_store_slot_each(l->u->store, find_beyond, l);
	}
	return rc;
}

/*
 * Marks that were set back to 0 are written before anything is counted against them; otherwise a
 * crash before the first fold would bring the old ones back.
 */
static int save_marks(struct load *l)
{
	struct pc_usage *u = l->u;
	int rc = pc_store_begin(u->store);

	if (rc < 0)
		return rc;
	rc = drop_beyond(l);
	for (uint32_t i = next_open(u, 0); rc == 0 && i < u->max_slots; i = next_open(u, i + 1))
		rc = put_slot(u, i, u->slots[i]);
	if (rc < 0) {
		pc_store_rollback(u->store);
		return rc;
	}
	return pc_store_commit(u->store);
}

static int load(struct pc_usage *u, const bool *counters_reset)
{
	struct load l = { .u = u, .counters_reset = counters_reset, .beyond = UINT32_MAX };
	int rc = pc_store_slot_each(u->store, load_slot, &l);

	if (rc == 0 && (l.changed || l.beyond != UINT32_MAX) && !pc_store_readonly(u->store))
		rc = save_marks(&l);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < u->max_slots; i++) {
		if (!u->slots[i])
			u->free_ring[u->free_count++] = i;
	}
	return 0;
}

int pc_usage_new(struct pc_store *store, uint32_t max_slots, pc_usage_read_fn read, void *ctx,
		 const bool counters_reset[static PC_STORE_PATHS], struct pc_usage **ret_usage)
{
	PC_CLEANUP(pc_cleanup_usage) struct pc_usage *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return -ENOMEM;
	u->store = store;
	u->read = read;
	u->ctx = ctx;
	u->max_slots = max_slots;
	u->slots = calloc(max_slots ? max_slots : 1, sizeof(*u->slots));
	u->open_bits = calloc((max_slots + 63) / 64 + 1, sizeof(*u->open_bits));
	u->free_ring = calloc(max_slots ? max_slots : 1, sizeof(*u->free_ring));
	if (!u->slots || !u->open_bits || !u->free_ring)
		return -ENOMEM;
	rc = pc_htab_init(&u->tenants, 64);
	if (rc == 0)
		rc = load(u, counters_reset);
	if (rc < 0)
		return rc;
	*ret_usage = TAKE_PTR(u);
	return 0;
}

void pc_usage_free(struct pc_usage *u)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	if (!u)
		return;
	for (uint32_t i = 0; u->slots && i < u->max_slots; i++)
		free(u->slots[i]);
	while (u->tenants.buckets && (n = pc_htab_iterate(&u->tenants, &it)))
		free(pc_container_of(n, struct tenant, node));
	pc_htab_free(&u->tenants);
	free(u->slots);
	free(u->open_bits);
	free(u->free_ring);
	free(u);
}

/* --- opening and closing --- */

/* The marks of a slot that is about to be opened: whatever its counters read now. */
static int read_marks(struct pc_usage *u, uint32_t index, struct slot *slot)
{
	for (int path = 0; path < PC_STORE_PATHS; path++) {
		struct pc_store_count *mark = &slot->reading[path];
		int rc = u->read(u->ctx, (enum pc_store_path)path, index, 1, mark);

		if (rc == PC_ERR_STATE)
			memset(mark, 0xff, sizeof(*mark)); /* UNKNOWN */
		else if (rc < 0)
			return rc;
		slot->opened[path] = *mark;
	}
	return 0;
}

int pc_usage_open(struct pc_usage *u, uint64_t session, uint32_t tenant, uint32_t *ret_slot)
{
	_cleanup_free_ struct slot *slot = NULL;
	uint32_t index;
	int rc;

	if (u->free_count == 0)
		return PC_ERR_FULL;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	index = u->free_ring[u->free_head];
	slot->session = session;
	slot->tenant = tenant;
	rc = read_marks(u, index, slot);
	if (rc == 0)
		rc = put_slot(u, index, slot);
	if (rc < 0)
		return rc;
	u->free_head = (u->free_head + 1) % u->max_slots;
	u->free_count--;
	mark_open(u, index, TAKE_PTR(slot));
	*ret_slot = index;
	return 0;
}

void pc_usage_close(struct pc_usage *u, uint32_t slot, uint64_t now)
{
	struct slot *s = slot < u->max_slots ? u->slots[slot] : NULL;

	if (!s || s->ended)
		return;
	s->ended = true;
	s->dirty = true;
	s->closed_ns = now;
}

bool pc_usage_slot(const struct pc_usage *u, uint32_t slot, uint64_t *ret_session,
		   uint32_t *ret_tenant)
{
	const struct slot *s = slot < u->max_slots ? u->slots[slot] : NULL;

	if (!s || s->ended)
		return false;
	*ret_session = s->session;
	*ret_tenant = s->tenant;
	return true;
}

void pc_usage_near(const struct pc_usage *u, const uint32_t *slots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (slots[i] < u->max_slots)
			__builtin_prefetch(&u->slots[slots[i]]);
	}
	for (size_t i = 0; i < n; i++) {
		if (slots[i] < u->max_slots && u->slots[slots[i]])
			__builtin_prefetch(u->slots[slots[i]]);
	}
}

uint32_t pc_usage_open_slots(const struct pc_usage *u)
{
	return u->open_slots;
}

/* --- folding --- */

static bool is_over(const struct slot *s, uint64_t now)
{
	return s->ended && s->closed_ns && now > s->closed_ns + FREE_AFTER_NS;
}

static int owe(struct pc_usage *u, const struct slot *s)
{
	struct tenant *t;
	int rc = tenant_get(u, s->tenant, &t);

	if (rc < 0)
		return rc;
	for (int path = 0; path < PC_STORE_PATHS; path++)
		count_add(&t->due[path], &s->owed[path]);
	t->due_any = true;
	return 0;
}

static int write_slots(struct pc_usage *u, uint32_t from, uint32_t to, uint64_t now)
{
	int rc = 0;

	for (uint32_t i = next_open(u, from); rc == 0 && i < to; i = next_open(u, i + 1)) {
		const struct slot *s = u->slots[i];

		if (!s->dirty && !is_over(s, now))
			continue;
		rc = owe(u, s);
		if (rc == 0)
			rc = is_over(s, now) ? pc_store_slot_del(u->store, i) : put_slot(u, i, s);
	}
	return rc;
}

static int write_totals(struct pc_usage *u)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;
	int rc = 0;

	while (rc == 0 && (n = pc_htab_iterate(&u->tenants, &it))) {
		const struct tenant *t = pc_container_of(n, struct tenant, node);
		struct pc_store_count total[PC_STORE_PATHS];

		if (!t->due_any)
			continue;
		memcpy(total, t->stored, sizeof(total));
		for (int path = 0; path < PC_STORE_PATHS; path++)
			count_add(&total[path], &t->due[path]);
		rc = pc_store_total_put(u->store, t->id, total);
	}
	return rc;
}

/* What was due is in the store, or is not after all. */
static void settle(struct pc_usage *u, bool written)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while ((n = pc_htab_iterate(&u->tenants, &it))) {
		struct tenant *t = pc_container_of(n, struct tenant, node);

		if (!t->due_any)
			continue;
		for (int path = 0; path < PC_STORE_PATHS && written; path++) {
			count_add(&t->stored[path], &t->due[path]);
			count_sub(&t->live[path], &t->due[path]);
		}
		memset(t->due, 0, sizeof(t->due));
		t->due_any = false;
	}
}

/* What was written is in force in memory only once the store has it. */
static void folded(struct pc_usage *u, uint32_t from, uint32_t to, uint64_t now)
{
	for (uint32_t i = next_open(u, from); i < to; i = next_open(u, i + 1)) {
		struct slot *s = u->slots[i];

		s->dirty = false;
		memset(s->owed, 0, sizeof(s->owed));
		if (is_over(s, now))
			free_slot(u, i);
		else if (s->ended && !s->closed_ns)
			s->closed_ns = now;
	}
}

static bool any_to_write(const struct pc_usage *u, uint32_t from, uint32_t to, uint64_t now)
{
	for (uint32_t i = next_open(u, from); i < to; i = next_open(u, i + 1)) {
		if (u->slots[i]->dirty || is_over(u->slots[i], now) ||
		    (u->slots[i]->ended && !u->slots[i]->closed_ns))
			return true;
	}
	return false;
}

static int fold_range(struct pc_usage *u, uint32_t from, uint32_t to, uint64_t now)
{
	int rc = refresh_range(u, from, to);

	if (rc < 0)
		return rc;
	/* Once in a round the store is written to in any case: that tells whether it works. */
	if (from && !any_to_write(u, from, to, now))
		return 0;
	rc = pc_store_begin(u->store);
	if (rc < 0)
		return rc;
	rc = write_slots(u, from, to, now);
	if (rc == 0)
		rc = write_totals(u);
	if (rc == 0)
		rc = pc_store_commit(u->store);
	else
		pc_store_rollback(u->store);
	settle(u, rc == 0);
	if (rc == 0)
		folded(u, from, to, now);
	return rc;
}

int pc_usage_fold(struct pc_usage *u, uint64_t now)
{
	u->fold_next = 0;
	return fold_range(u, 0, u->max_slots, now);
}

int pc_usage_fold_some(struct pc_usage *u, uint32_t n_slots, uint64_t now, bool *ret_more)
{
	uint32_t from = u->fold_next;
	uint32_t to = u->max_slots - from > n_slots ? from + n_slots : u->max_slots;
	int rc = fold_range(u, from, to, now);

	if (rc < 0) {
		u->fold_next = 0;
		return rc;
	}
	u->fold_next = next_open(u, to) < u->max_slots ? to : 0;
	*ret_more = u->fold_next != 0;
	return 0;
}

/* --- figures --- */

int pc_usage_tenant(struct pc_usage *u, uint32_t tenant,
		    struct pc_store_count ret_counts[static PC_STORE_PATHS])
{
	struct tenant *t;
	int rc = tenant_get(u, tenant, &t);

	if (rc < 0)
		return rc;
	memcpy(ret_counts, t->stored, sizeof(t->stored));
	for (int path = 0; path < PC_STORE_PATHS; path++)
		count_add(&ret_counts[path], &t->live[path]);
	return 0;
}

int pc_usage_session(const struct pc_usage *u, uint32_t slot,
		     struct pc_store_count ret_counts[static PC_STORE_PATHS])
{
	const struct slot *s = slot < u->max_slots ? u->slots[slot] : NULL;

	if (!s)
		return PC_ERR_NOT_FOUND;
	memcpy(ret_counts, s->reading, sizeof(s->reading));
	for (int path = 0; path < PC_STORE_PATHS; path++)
		count_sub(&ret_counts[path], &s->opened[path]);
	return 0;
}
