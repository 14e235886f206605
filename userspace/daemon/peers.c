/* SPDX-License-Identifier: MIT */
#include "daemon/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/parse.h"
#include "base/siphash.h"

struct peer {
	struct pc_hnode by_identity, by_name;
	struct pc_store_peer p;
};

struct pc_peers {
	struct pc_store *store;
	uint8_t hash_key[16];
	struct pc_htab identities, names;
};

static uint64_t hash(const struct pc_peers *p, const void *data, size_t len)
{
	return pc_siphash24(p->hash_key, data, len);
}

static struct peer *find(const struct pc_peers *p, const uint8_t identity[static 32])
{
	struct pc_hnode *n = pc_htab_first(&p->identities, hash(p, identity, 32));

	for (; n; n = pc_htab_next(n)) {
		struct peer *peer = pc_container_of(n, struct peer, by_identity);

		if (memcmp(peer->p.identity, identity, 32) == 0)
			return peer;
	}
	return NULL;
}

const struct pc_store_peer *pc_peers_find(const struct pc_peers *p,
					  const uint8_t identity[static 32])
{
	const struct peer *peer = find(p, identity);

	return peer ? &peer->p : NULL;
}

const struct pc_store_peer *pc_peers_by_name(const struct pc_peers *p, const char *name)
{
	struct pc_hnode *n = pc_htab_first(&p->names, hash(p, name, strlen(name)));

	for (; n; n = pc_htab_next(n)) {
		const struct peer *peer = pc_container_of(n, struct peer, by_name);

		if (strcmp(peer->p.name, name) == 0)
			return &peer->p;
	}
	return NULL;
}

const struct pc_store_peer *pc_peers_of_tenant(const struct pc_peers *p, uint32_t tenant)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while ((n = pc_htab_iterate(&p->identities, &it))) {
		const struct peer *peer = pc_container_of(n, struct peer, by_identity);

		if (peer->p.tenant == tenant)
			return &peer->p;
	}
	return NULL;
}

size_t pc_peers_count(const struct pc_peers *p)
{
	return p->identities.count;
}

int pc_peers_each(const struct pc_peers *p, int (*fn)(void *arg, const struct pc_store_peer *peer),
		  void *arg)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;
	int r = 0;

	while (r == 0 && (n = pc_htab_iterate(&p->identities, &it)))
		r = fn(arg, &pc_container_of(n, struct peer, by_identity)->p);
	return r;
}

/* --- changes --- */

static int load(void *arg, const struct pc_store_peer *from)
{
	struct pc_peers *p = arg;
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return -ENOMEM;
	peer->p = *from;
	pc_htab_insert(&p->identities, &peer->by_identity, hash(p, peer->p.identity, 32));
	pc_htab_insert(&p->names, &peer->by_name, hash(p, peer->p.name, strlen(peer->p.name)));
	return 0;
}

int pc_peers_add(struct pc_peers *p, const struct pc_store_peer *peer)
{
	int r = pc_store_peer_add(p->store, peer);

	if (r)
		return r;
	r = load(p, peer);
	if (r)
		pc_store_peer_del(p->store, peer->identity);
	return r;
}

static void unlink_peer(struct pc_peers *p, struct peer *peer)
{
	pc_htab_remove(&p->identities, &peer->by_identity);
	pc_htab_remove(&p->names, &peer->by_name);
	sodium_memzero(peer, sizeof(*peer));
	free(peer);
}

int pc_peers_del(struct pc_peers *p, const uint8_t identity[static 32])
{
	struct peer *peer = find(p, identity);
	int r;

	if (!peer)
		return PC_ERR_NOT_FOUND;
	r = pc_store_peer_del(p->store, identity);
	if (r)
		return r;
	unlink_peer(p, peer);
	return 0;
}

/* --- who may call whom --- */

/* The next name of a list; its end moves on. */
static bool next_name(const char **list, const char **ret_name, size_t *ret_len)
{
	if (!**list)
		return false;
	*ret_name = *list;
	*ret_len = strcspn(*list, ",");
	*list += *ret_len;
	*list += **list == ',';
	return true;
}

bool pc_peers_may_call_valid(const char *text)
{
	char one[PC_PEER_NAME_MAX + 1];
	size_t total = strlen(text), len;
	const char *name;

	if (total > PC_PEER_CALL_MAX)
		return false;
	if (strcmp(text, "*") == 0)
		return true;
	if (total && text[total - 1] == ',')
		return false;
	while (next_name(&text, &name, &len)) {
		if (len >= sizeof(one))
			return false;
		memcpy(one, name, len);
		one[len] = '\0';
		if (!pc_name_valid(one))
			return false;
	}
	return true;
}

bool pc_peers_may_call(const struct pc_peers *p, const uint8_t caller[static 32],
		       const uint8_t callee[static 32])
{
	const struct pc_store_peer *from = pc_peers_find(p, caller), *to = pc_peers_find(p, callee);
	const char *list, *name;
	size_t len;

	if (!from || !to)
		return false;
	if (from->tenant == to->tenant || strcmp(from->may_call, "*") == 0)
		return true;
	list = from->may_call;
	while (next_name(&list, &name, &len)) {
		if (strlen(to->name) == len && memcmp(to->name, name, len) == 0)
			return true;
	}
	return false;
}

/* --- life --- */

PC_DEFINE_CLEANUP(peers, struct pc_peers, pc_peers_free)

int pc_peers_new(struct pc_store *store, struct pc_peers **ret_peers)
{
	PC_CLEANUP(pc_cleanup_peers) struct pc_peers *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->store = store;
	randombytes_buf(p->hash_key, sizeof(p->hash_key));
	r = pc_htab_init(&p->identities, 64);
	if (r == 0)
		r = pc_htab_init(&p->names, 64);
	if (r == 0)
		r = pc_store_peer_each(store, load, p);
	if (r)
		return r;
	*ret_peers = TAKE_PTR(p);
	return 0;
}

void pc_peers_free(struct pc_peers *p)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	if (!p)
		return;
	while (p->identities.buckets && (n = pc_htab_iterate(&p->identities, &it)))
		unlink_peer(p, pc_container_of(n, struct peer, by_identity));
	pc_htab_free(&p->identities);
	pc_htab_free(&p->names);
	free(p);
}
