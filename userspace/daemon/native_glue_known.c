/* SPDX-License-Identifier: MIT */
/*
 * Where peers with a session are: what the kernel is told, so that their messages are no
 * stranger's, and who is believed when a router says that a datagram to them was too large.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "daemon/native_glue_int.h"

struct known {
	struct pc_hnode by_identity, by_path;
	uint8_t identity[32];
	struct pc_addr remote, local;
};

static uint64_t hash_identity(const struct pc_native_glue *g, const uint8_t identity[static 32])
{
	return pc_siphash24(g->hash_key, identity, 32);
}

static uint64_t hash_path(const struct pc_native_glue *g, const struct pc_addr *local,
			  const struct pc_addr *remote)
{
	uint8_t key[2 * (sizeof(local->ip) + sizeof(local->port))], *at = key;
	const struct pc_addr *addr[2] = { local, remote };

	for (int i = 0; i < 2; i++) {
		memcpy(at, &addr[i]->ip, sizeof(addr[i]->ip));
		at += sizeof(addr[i]->ip);
		memcpy(at, &addr[i]->port, sizeof(addr[i]->port));
		at += sizeof(addr[i]->port);
	}
	return pc_siphash24(g->hash_key, key, sizeof(key));
}

static struct known *find(const struct pc_native_glue *g, const uint8_t identity[static 32])
{
	struct pc_hnode *n = pc_htab_first(&g->known, hash_identity(g, identity));

	for (; n; n = pc_htab_next(n)) {
		struct known *k = pc_container_of(n, struct known, by_identity);

		if (memcmp(k->identity, identity, 32) == 0)
			return k;
	}
	return NULL;
}

static void release(struct pc_native_glue *g, struct known *k)
{
	pc_htab_remove(&g->known, &k->by_identity);
	pc_htab_remove(&g->known_paths, &k->by_path);
	free(k);
}

void pc_native_unknown(struct pc_native_glue *g, const struct pc_native_link *link)
{
	struct known *k = find(g, pc_native_identity(link));

	if (!k)
		return;
	pc_dp_client_del(g->d->dp, &k->remote, &k->local);
	release(g, k);
}

void pc_native_known(struct pc_native_glue *g, const struct pc_native_link *link)
{
	const struct pc_native_path *path = pc_native_path(link);
	struct known *k = find(g, pc_native_identity(link));

	if (k && pc_addr_equal(&k->remote, &path->remote) && pc_addr_equal(&k->local, &path->local))
		return;
	pc_native_unknown(g, link);
	k = malloc(sizeof(*k));
	if (!k)
		return;
	memcpy(k->identity, pc_native_identity(link), sizeof(k->identity));
	k->remote = path->remote;
	k->local = path->local;
	pc_htab_insert(&g->known, &k->by_identity, hash_identity(g, k->identity));
	pc_htab_insert(&g->known_paths, &k->by_path, hash_path(g, &k->local, &k->remote));
	/* Not told: they count as a stranger's, that is all. */
	pc_dp_client_set(g->d->dp, &k->remote, &k->local, UINT32_MAX);
}

bool pc_native_glue_talks(const struct pc_native_glue *g, const struct pc_addr *local,
			  const struct pc_addr *remote)
{
	struct pc_hnode *n;

	if (!g)
		return false;
	n = pc_htab_first(&g->known_paths, hash_path(g, local, remote));
	for (; n; n = pc_htab_next(n)) {
		const struct known *k = pc_container_of(n, struct known, by_path);

		if (pc_addr_equal(&k->local, local) && pc_addr_equal(&k->remote, remote))
			return true;
	}
	for (const struct native_pipe *p = g->pipes; p; p = p->next) {
		if (p->port.socket && p->pipe && p->port.local.port == local->port &&
		    pc_addr_equal(&p->port.local, local) &&
		    pc_addr_equal(&p->pipe->ends[1].remote, remote))
			return true;
	}
	return false;
}

int pc_native_known_init(struct pc_native_glue *g)
{
	int r = pc_htab_init(&g->known, 64);

	randombytes_buf(g->hash_key, sizeof(g->hash_key));
	return r ? r : pc_htab_init(&g->known_paths, 64);
}

void pc_native_known_free(struct pc_native_glue *g)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while (g->known.buckets && (n = pc_htab_iterate(&g->known, &it)))
		release(g, pc_container_of(n, struct known, by_identity));
	pc_htab_free(&g->known);
	pc_htab_free(&g->known_paths);
}
