/* SPDX-License-Identifier: MIT */
/* Life of an allocation: tables, expiry, teardown. */
#include "relay/turn_int.h"

#include <errno.h>
#include <string.h>

#include "base/siphash.h"

/* Addresses as bytes without padding, for hashing. */
#define ADDR_KEY_LEN (sizeof(struct pc_ip) + 2)

static void addr_key(const struct pc_addr *addr, uint8_t key[static ADDR_KEY_LEN])
{
	memcpy(key, &addr->ip, sizeof(addr->ip));
	key[ADDR_KEY_LEN - 2] = addr->port >> 8;
	key[ADDR_KEY_LEN - 1] = addr->port & 0xff;
}

uint64_t pc_turn_hash_addr(const struct pc_turn *t, const struct pc_addr *addr)
{
	uint8_t key[ADDR_KEY_LEN];

	addr_key(addr, key);
	return pc_siphash24(t->hash_key, key, sizeof(key));
}

static uint64_t hash_path(const struct pc_turn *t, const struct pc_turn_path *path)
{
	uint8_t key[2 * ADDR_KEY_LEN];

	addr_key(&path->client, key);
	addr_key(&path->server, key + ADDR_KEY_LEN);
	return pc_siphash24(t->hash_key, key, sizeof(key));
}

int pc_turn_ip_compare(const struct pc_ip *a, const struct pc_ip *b)
{
	return memcmp(a, b, sizeof(*a));
}

int pc_turn_addr_compare(const struct pc_addr *a, const struct pc_addr *b)
{
	int c = pc_turn_ip_compare(&a->ip, &b->ip);

	return c ? c : (int)a->port - (int)b->port;
}

void pc_turn_drop(const struct pc_turn *t, enum pc_turn_drop reason)
{
	t->ops->drop(t->ctx, reason);
}

struct pc_turn_tenant *pc_turn_tenant_get(struct pc_turn *t, uint32_t id)
{
	uint64_t hash = pc_siphash24(t->hash_key, &id, sizeof(id));
	struct pc_turn_tenant *tenant;
	struct pc_hnode *n;

	for (n = pc_htab_first(&t->tenants, hash); n; n = pc_htab_next(n)) {
		tenant = pc_container_of(n, struct pc_turn_tenant, node);
		if (tenant->id == id)
			return tenant;
	}
	tenant = calloc(1, sizeof(*tenant));
	if (!tenant)
		return NULL;
	tenant->id = id;
	pc_htab_insert(&t->tenants, &tenant->node, hash);
	return tenant;
}

struct pc_turn_alloc *pc_turn_alloc_find(struct pc_turn *t, const struct pc_turn_path *path,
					 uint64_t now)
{
	struct pc_turn_alloc *a;
	struct pc_hnode *n;

	for (n = pc_htab_first(&t->allocs, hash_path(t, path)); n; n = pc_htab_next(n)) {
		a = pc_container_of(n, struct pc_turn_alloc, node);
		if (!pc_addr_equal(&a->path.client, &path->client) ||
		    !pc_addr_equal(&a->path.server, &path->server))
			continue;
		if (!pc_turn_alloc_live(a, now))
			return NULL;
		/* The index of a listener may change with the configuration. */
		a->path.listener = path->listener;
		return a;
	}
	return NULL;
}

struct pc_turn_alloc *pc_turn_alloc_new(struct pc_turn *t, const struct pc_turn_path *path,
					struct pc_turn_tenant *tenant, const char *username,
					size_t username_len)
{
	struct pc_turn_alloc *a = calloc(1, sizeof(*a) + username_len + 1);

	if (!a)
		return NULL;
	a->username_len = (uint16_t)username_len;
	memcpy(a->username, username, username_len);
	a->t = t;
	a->tenant = tenant;
	a->path = *path;
	a->slot = PC_TURN_NO_SLOT;
	a->deadline_ns = UINT64_MAX;
	a->timer.fn = pc_turn_alloc_timer;
	return a;
}

void pc_turn_alloc_free(struct pc_turn_alloc *a)
{
	for (size_t i = 0; i < a->n_channels; i++)
		free(a->channels[i]);
	free(a->channels);
	free(a->by_peer);
	for (size_t i = 0; i < a->n_permissions; i++)
		free(a->permissions[i]);
	free(a->permissions);
	pc_auth_wipe(&a->key, sizeof(a->key));
	free(a);
}

void pc_turn_alloc_publish(struct pc_turn_alloc *a)
{
	struct pc_turn *t = a->t;

	pc_htab_insert(&t->allocs, &a->node, hash_path(t, &a->path));
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (a->ports[i].socket)
			pc_turn_alloc_due(a, a->ports[i].expires_ns);
	}
	a->tenant->held++;
	t->ops->client_set(t->ctx, &a->path, a->slot);
}

uint64_t pc_turn_alloc_expires(const struct pc_turn_alloc *a)
{
	uint64_t latest = 0;

	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (a->ports[i].socket && a->ports[i].expires_ns > latest)
			latest = a->ports[i].expires_ns;
	}
	return latest;
}

struct pc_turn_port *pc_turn_alloc_port(struct pc_turn_alloc *a, uint8_t family)
{
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (a->ports[i].socket && a->ports[i].socket->local.ip.family == family)
			return &a->ports[i];
	}
	return NULL;
}

static bool gone_all(const struct pc_turn_alloc *a, const struct pc_addr *peer, bool with_port,
		     uint64_t expires_ns, uint64_t arg)
{
	return true;
}

void pc_turn_alloc_end(struct pc_turn_alloc *a, uint64_t now)
{
	struct pc_turn *t = a->t;

	pc_timer_cancel(&a->timer);
	pc_turn_bindings_cut(a, gone_all, 0);
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (a->ports[i].socket)
			pc_turn_port_close(t, &a->ports[i], now);
	}
	pc_htab_remove(&t->allocs, &a->node);
	t->ops->client_del(t->ctx, &a->path);
	t->ops->slot_close(t->ctx, a->slot);
	t->ops->forget(t->ctx, a->id);
	/* Only now may another allocation take its place. */
	a->tenant->held--;
	pc_turn_alloc_free(a);
}

static bool gone_family(const struct pc_turn_alloc *a, const struct pc_addr *peer, bool with_port,
			uint64_t expires_ns, uint64_t arg)
{
	return peer->ip.family == arg;
}

void pc_turn_alloc_end_port(struct pc_turn_alloc *a, struct pc_turn_port *p, uint64_t now)
{
	pc_turn_bindings_cut(a, gone_family, p->socket->local.ip.family);
	pc_turn_port_close(a->t, p, now);
}

void pc_turn_alloc_due(struct pc_turn_alloc *a, uint64_t at_ns)
{
	if (at_ns >= a->deadline_ns)
		return;
	a->deadline_ns = at_ns;
	pc_timer_set(a->t->timers, &a->timer, at_ns);
}

static bool gone_expired(const struct pc_turn_alloc *a, const struct pc_addr *peer, bool with_port,
			 uint64_t expires_ns, uint64_t arg)
{
	return expires_ns <= arg;
}

/* The deadline is a lower bound: what was refreshed since has moved on. */
static void find_deadline(struct pc_turn_alloc *a)
{
	a->deadline_ns = UINT64_MAX;
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (a->ports[i].socket)
			pc_turn_alloc_due(a, a->ports[i].expires_ns);
	}
	for (size_t i = 0; i < a->n_permissions; i++)
		pc_turn_alloc_due(a, a->permissions[i]->expires_ns);
	for (size_t i = 0; i < a->n_channels; i++)
		pc_turn_alloc_due(a, a->channels[i]->expires_ns);
}

bool pc_turn_alloc_live(struct pc_turn_alloc *a, uint64_t now)
{
	if (now < a->deadline_ns)
		return true;
	if (pc_turn_alloc_expires(a) <= now) {
		pc_turn_alloc_end(a, now);
		return false;
	}
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (a->ports[i].socket && a->ports[i].expires_ns <= now)
			pc_turn_alloc_end_port(a, &a->ports[i], now);
	}
	pc_turn_bindings_cut(a, gone_expired, now);
	find_deadline(a);
	return true;
}

void pc_turn_alloc_timer(struct pc_timer *timer, uint64_t now)
{
	struct pc_turn_alloc *a = pc_container_of(timer, struct pc_turn_alloc, timer);

	pc_turn_alloc_live(a, now);
}
