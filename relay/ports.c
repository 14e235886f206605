/* SPDX-License-Identifier: MIT */
#include "relay/ports.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/err.h"

enum state { FREE, USED, QUARANTINED, BLOCKED };

#define NONE UINT32_MAX

/* What is known of one port. */
struct slot {
	uint64_t until; /* end of quarantine or block */
	uint32_t next;	/* neighbours in the list of its state */
	uint32_t prev;
	uint32_t at;	  /* its place in the free set of its parity, or in the shared set */
	uint32_t pair_at; /* even ports: its place in the set of free pairs */
	uint32_t users;
	uint8_t state;
	bool shared; /* others may join */
};

/* A set with random choice in constant time: the last one takes the place of what is removed. */
struct set {
	uint32_t *ports;
	uint32_t count;
};

/* Ports ordered by `until`. */
struct list {
	uint32_t head;
	uint32_t tail;
};

/*
 * Every port is in exactly one place: the free set of its parity, a quarantine list of its parity,
 * the list of blocked ones, or with its users: then in `shared` if it takes more of them. Besides,
 * an even port is in `pairs` as long as both it and its successor are free.
 */
struct pc_ports {
	uint32_t low;
	uint32_t high;
	struct slot *slots; /* of port low + index */
	struct set free[2]; /* even, odd */
	struct set pairs;
	struct set shared;
	struct list quarantine[2];
	struct list blocked;
	unsigned int in_use;
	unsigned int several; /* with more than one user */
};

static struct slot *slot(const struct pc_ports *p, uint32_t port)
{
	return &p->slots[port - p->low];
}

static bool is_free(const struct pc_ports *p, uint32_t port)
{
	return port >= p->low && port <= p->high && slot(p, port)->state == FREE;
}

/* --- sets; @pair tells whether `pair_at` or `at` is the port's place in it --- */

static void set_add(struct pc_ports *p, struct set *s, uint32_t port, bool pair)
{
	*(pair ? &slot(p, port)->pair_at : &slot(p, port)->at) = s->count;
	s->ports[s->count++] = port;
}

static void set_remove(struct pc_ports *p, struct set *s, uint32_t port, bool pair)
{
	uint32_t at = pair ? slot(p, port)->pair_at : slot(p, port)->at;
	uint32_t last = s->ports[--s->count];

	s->ports[at] = last;
	*(pair ? &slot(p, last)->pair_at : &slot(p, last)->at) = at;
	*(pair ? &slot(p, port)->pair_at : &slot(p, port)->at) = NONE;
}

/* Brings `pairs` up to date after @port became free or stopped being free. */
static void update_pair(struct pc_ports *p, uint32_t port)
{
	uint32_t even = port & ~1u;
	bool want = is_free(p, even) && is_free(p, even + 1);
	bool is;

	if (even < p->low || even + 1 > p->high)
		return;
	is = slot(p, even)->pair_at != NONE;
	if (want && !is)
		set_add(p, &p->pairs, even, true);
	else if (!want && is)
		set_remove(p, &p->pairs, even, true);
}

/* --- lists --- */

/* From the tail: for times that only grow this is one step. */
static void list_insert(struct pc_ports *p, struct list *l, uint32_t port, uint64_t until)
{
	struct slot *s = slot(p, port);
	uint32_t after = l->tail;

	while (after != NONE && slot(p, after)->until > until)
		after = slot(p, after)->prev;
	s->until = until;
	s->prev = after;
	s->next = after == NONE ? l->head : slot(p, after)->next;
	*(s->prev == NONE ? &l->head : &slot(p, s->prev)->next) = port;
	*(s->next == NONE ? &l->tail : &slot(p, s->next)->prev) = port;
}

static void list_remove(struct pc_ports *p, struct list *l, uint32_t port)
{
	struct slot *s = slot(p, port);

	*(s->prev == NONE ? &l->head : &slot(p, s->prev)->next) = s->next;
	*(s->next == NONE ? &l->tail : &slot(p, s->next)->prev) = s->prev;
	s->prev = s->next = NONE;
}

static void end_use(struct pc_ports *p, uint32_t port)
{
	struct slot *s = slot(p, port);

	if (s->shared)
		set_remove(p, &p->shared, port, false);
	p->several -= s->users > 1;
	s->shared = false;
	s->users = 0;
	p->in_use--;
}

static void begin_use(struct pc_ports *p, uint32_t port)
{
	slot(p, port)->users = 1;
	p->in_use++;
}

static void join(struct pc_ports *p, uint32_t port)
{
	p->several += ++slot(p, port)->users == 2;
}

/* The only place where a port changes hands. @until: for QUARANTINED and BLOCKED. */
static void move(struct pc_ports *p, uint32_t port, enum state to, uint64_t until)
{
	struct slot *s = slot(p, port);

	if (s->state == FREE)
		set_remove(p, &p->free[port & 1], port, false);
	else if (s->state == QUARANTINED)
		list_remove(p, &p->quarantine[port & 1], port);
	else if (s->state == BLOCKED)
		list_remove(p, &p->blocked, port);
	else
		end_use(p, port);

	s->state = (uint8_t)to;
	if (to == FREE)
		set_add(p, &p->free[port & 1], port, false);
	else if (to == QUARANTINED)
		list_insert(p, &p->quarantine[port & 1], port, until);
	else if (to == BLOCKED)
		list_insert(p, &p->blocked, port, until);
	else
		begin_use(p, port);
	update_pair(p, port);
}

static void expire_list(struct pc_ports *p, struct list *l, uint64_t now)
{
	while (l->head != NONE && slot(p, l->head)->until <= now)
		move(p, l->head, FREE, 0);
}

static void expire(struct pc_ports *p, uint64_t now)
{
	expire_list(p, &p->quarantine[0], now);
	expire_list(p, &p->quarantine[1], now);
	expire_list(p, &p->blocked, now);
}

PC_DEFINE_CLEANUP(ports, struct pc_ports, pc_ports_free)

int pc_ports_new(uint16_t low, uint16_t high, struct pc_ports **ret_ports)
{
	static const struct list empty = { NONE, NONE };
	struct pc_ports *p PC_CLEANUP(pc_cleanup_ports) = calloc(1, sizeof(*p));
	uint32_t n;

	assert(low <= high);
	if (!p)
		return -ENOMEM;
	p->low = low;
	p->high = high;
	p->quarantine[0] = p->quarantine[1] = p->blocked = empty;
	n = p->high - p->low + 1;
	p->slots = calloc(n, sizeof(*p->slots));
	p->free[0].ports = calloc(n / 2 + 1, sizeof(uint32_t));
	p->free[1].ports = calloc(n / 2 + 1, sizeof(uint32_t));
	p->pairs.ports = calloc(n / 2 + 1, sizeof(uint32_t));
	p->shared.ports = calloc(n, sizeof(uint32_t));
	if (!p->slots || !p->free[0].ports || !p->free[1].ports || !p->pairs.ports ||
	    !p->shared.ports)
		return -ENOMEM;
	for (uint32_t port = p->low; port <= p->high; port++) {
		*slot(p, port) = (struct slot){
			.state = port ? FREE : USED, /* port 0 is nobody's */
			.next = NONE,
			.prev = NONE,
			.at = NONE,
			.pair_at = NONE,
		};
		if (!port)
			continue;
		set_add(p, &p->free[port & 1], port, false);
		if (port & 1)
			update_pair(p, port);
	}
	*ret_ports = TAKE_PTR(p);
	return 0;
}

void pc_ports_free(struct pc_ports *p)
{
	if (!p)
		return;
	free(p->slots);
	free(p->free[0].ports);
	free(p->free[1].ports);
	free(p->pairs.ports);
	free(p->shared.ports);
	free(p);
}

/* Maps @random to [0, count) by multiplication: no modulo, hardly a bias. */
static uint32_t choose(uint32_t random, uint32_t count)
{
	return (uint32_t)((uint64_t)random * count >> 32);
}

static uint32_t pick_free(const struct pc_ports *p, uint32_t random, bool even, bool pair)
{
	uint32_t n_even = p->free[0].count, n = n_even + (even ? 0 : p->free[1].count), i;

	if (pair)
		return p->pairs.count ? p->pairs.ports[choose(random, p->pairs.count)] : NONE;
	if (!n)
		return NONE;
	i = choose(random, n);
	return i < n_even ? p->free[0].ports[i] : p->free[1].ports[i - n_even];
}

/* Quarantined, and not to be preferred to @other. */
static bool older(const struct pc_ports *p, uint32_t port, uint32_t other)
{
	return port != NONE && (other == NONE || slot(p, port)->until < slot(p, other)->until);
}

/* The first in quarantine whose partner is free or quarantined too; returns the even one. */
static uint32_t oldest_pair(const struct pc_ports *p)
{
	uint32_t best = NONE;

	for (unsigned int parity = 0; parity < 2; parity++) {
		for (uint32_t port = p->quarantine[parity].head; port != NONE;
		     port = slot(p, port)->next) {
			uint32_t partner = port ^ 1;
			uint8_t state;

			if (partner < p->low || partner > p->high)
				continue;
			state = slot(p, partner)->state;
			if (state != FREE && state != QUARANTINED)
				continue;
			if (older(p, port, best))
				best = port;
			break; /* later ones of this list are younger */
		}
	}
	return best == NONE ? NONE : best & ~1u;
}

/* Nothing is free: cuts a quarantine short. */
static uint32_t pick_quarantined(struct pc_ports *p, bool even, bool pair)
{
	uint32_t port;

	if (pair) {
		port = oldest_pair(p);
		if (port != NONE && slot(p, port + 1)->state == QUARANTINED)
			move(p, port + 1, FREE, 0);
		return port;
	}
	port = p->quarantine[0].head;
	if (!even && older(p, p->quarantine[1].head, port))
		port = p->quarantine[1].head;
	return port;
}

/* To further users. */
static void offer(struct pc_ports *p, uint32_t port)
{
	slot(p, port)->shared = true;
	set_add(p, &p->shared, port, false);
}

int pc_ports_take(struct pc_ports *p, uint64_t now, uint32_t random, bool even, bool pair,
		  uint16_t *ret_port)
{
	uint32_t port;

	expire(p, now);
	port = pick_free(p, random, even, pair);
	if (port == NONE)
		port = pick_quarantined(p, even, pair);
	if (port == NONE)
		return PC_ERR_FULL;
	move(p, port, USED, 0);
	if (!even)
		offer(p, port);
	*ret_port = (uint16_t)port;
	return 0;
}

int pc_ports_take_exact(struct pc_ports *p, uint16_t port, bool shared)
{
	if (port < p->low || port > p->high || !port)
		return PC_ERR_RANGE;
	if (slot(p, port)->state == USED) {
		if (!shared || !slot(p, port)->shared)
			return PC_ERR_EXISTS;
		join(p, port);
		return 0;
	}
	move(p, port, USED, 0);
	if (shared)
		offer(p, port);
	return 0;
}

/* The @i-th place to look at: two that are drawn, then those behind the first; none twice. */
static uint32_t shared_place(uint64_t random, uint32_t n, uint32_t i)
{
	uint32_t first = choose((uint32_t)random, n);
	uint32_t ahead = n > 1 ? 1 + choose((uint32_t)(random >> 32), n - 1) : 0;

	if (i == 0)
		ahead = 0;
	else if (i > 1)
		ahead = i - 1 < ahead ? i - 1 : i;
	return (first + ahead) % n;
}

int pc_ports_share(struct pc_ports *p, uint64_t random, bool (*fits)(void *arg, uint16_t port),
		   void *arg, uint16_t *ret_port)
{
	uint32_t n = p->shared.count, best = NONE;
	uint32_t tries = n < PC_PORTS_SHARE_TRIES ? n : PC_PORTS_SHARE_TRIES;
	unsigned int found = 0;

	for (uint32_t i = 0; i < tries && found < 2; i++) {
		uint32_t port = p->shared.ports[shared_place(random, n, i)];

		if (!fits(arg, (uint16_t)port))
			continue;
		if (best == NONE || slot(p, port)->users < slot(p, best)->users)
			best = port;
		found++;
	}
	if (best == NONE)
		return PC_ERR_FULL;
	join(p, best);
	*ret_port = (uint16_t)best;
	return 0;
}

void pc_ports_release(struct pc_ports *p, uint16_t port, uint64_t now)
{
	struct slot *s;

	if (port < p->low || port > p->high || !port || slot(p, port)->state != USED)
		return;
	s = slot(p, port);
	if (s->users > 1)
		p->several -= --s->users == 1;
	else
		move(p, port, QUARANTINED, now + PC_PORT_QUARANTINE_NS);
}

void pc_ports_block(struct pc_ports *p, uint16_t port, uint64_t until)
{
	if (port >= p->low && port <= p->high && port)
		move(p, port, BLOCKED, until);
}

unsigned int pc_ports_in_use(const struct pc_ports *p)
{
	return p->in_use;
}

unsigned int pc_ports_shared(const struct pc_ports *p)
{
	return p->several;
}

uint32_t pc_ports_most_users(const struct pc_ports *p)
{
	uint32_t most = 0;

	for (uint32_t port = p->low; port <= p->high; port++) {
		if (slot(p, port)->users > most)
			most = slot(p, port)->users;
	}
	return most;
}
