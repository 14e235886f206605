/* SPDX-License-Identifier: MIT */
/*
 * Ports of several allocations: the peer's address tells whose a datagram is. So on one port one
 * allocation at a time may have a permission for an address; whoever else wants it is refused, and
 * gets a port without that holder when it allocates anew.
 */
#include "relay/turn_int.h"

#include <string.h>

#include "base/siphash.h"

static uint64_t hash_holder(const struct pc_turn *t, const struct pc_turn_socket *s,
			    const struct pc_ip *peer)
{
	uint8_t key[sizeof(s) + sizeof(*peer)];

	memcpy(key, &s, sizeof(s));
	memcpy(key + sizeof(s), peer, sizeof(*peer));
	return pc_siphash24(t->hash_key, key, sizeof(key));
}

static const struct pc_turn_socket *socket_of(const struct pc_turn_permission *p)
{
	return pc_turn_alloc_port(p->alloc, p->peer.family)->socket;
}

void pc_turn_holder_add(struct pc_turn *t, struct pc_turn_permission *p)
{
	pc_htab_insert(&t->holders, &p->node, hash_holder(t, socket_of(p), &p->peer));
}

void pc_turn_holder_remove(struct pc_turn *t, struct pc_turn_permission *p)
{
	pc_htab_remove(&t->holders, &p->node);
}

struct pc_turn_permission *pc_turn_holder_find(const struct pc_turn *t,
					       const struct pc_turn_socket *s,
					       const struct pc_ip *peer)
{
	struct pc_hnode *n = pc_htab_first(&t->holders, hash_holder(t, s, peer));

	for (; n; n = pc_htab_next(n)) {
		struct pc_turn_permission *p = pc_container_of(n, struct pc_turn_permission, node);

		if (pc_ip_equal(&p->peer, peer) && socket_of(p) == s)
			return p;
	}
	return NULL;
}

struct pc_turn_permission *pc_turn_holder_live(struct pc_turn *t, const struct pc_turn_socket *s,
					       const struct pc_ip *peer, uint64_t now)
{
	struct pc_turn_permission *p = pc_turn_holder_find(t, s, peer);
	struct pc_turn_alloc *a = p ? p->alloc : NULL;

	if (!a || now < a->deadline_ns)
		return p;
	/* The permission may go now, and the socket with the last of its allocations. */
	return pc_turn_alloc_live(a, now) ? pc_turn_permission_find(a, peer) : NULL;
}

bool pc_turn_peer_taken(struct pc_turn_alloc *a, const struct pc_ip *peer, uint64_t now)
{
	const struct pc_turn_socket *s = pc_turn_alloc_port(a, peer->family)->socket;
	const struct pc_turn_permission *p;

	if (s->users < 2)
		return false;
	p = pc_turn_holder_find(a->t, s, peer);
	if (p && p->alloc != a)
		p = pc_turn_holder_live(a->t, s, peer, now);
	return p && p->alloc != a;
}

static uint64_t refused_tag(const struct pc_turn *t, const struct pc_turn_alloc *a)
{
	uint8_t key[sizeof(a->path.client.ip) + sizeof(a->tenant->id)];

	memcpy(key, &a->path.client.ip, sizeof(a->path.client.ip));
	memcpy(key + sizeof(a->path.client.ip), &a->tenant->id, sizeof(a->tenant->id));
	return pc_siphash24(t->hash_key, key, sizeof(key));
}

void pc_turn_refused_add(struct pc_turn_alloc *a, const struct pc_ip *peer, uint64_t now)
{
	uint64_t tag = refused_tag(a->t, a);
	struct pc_turn_refused *set = a->t->refused[tag % TURN_REFUSED_SETS], *at = &set[0];

	for (unsigned int i = 0; i < TURN_REFUSED_WAYS; i++) {
		if (set[i].tag == tag && pc_ip_equal(&set[i].peer, peer)) {
			at = &set[i];
			break;
		}
		if (set[i].until_ns < at->until_ns)
			at = &set[i];
	}
	*at = (struct pc_turn_refused){
		.tag = tag,
		.until_ns = now + TURN_REFUSED_NS,
		.peer = *peer,
	};
}

unsigned int pc_turn_refused_get(const struct pc_turn *t, const struct pc_turn_alloc *a,
				 uint64_t now, struct pc_ip ret_peers[static TURN_REFUSED_WAYS])
{
	uint64_t tag = refused_tag(t, a);
	const struct pc_turn_refused *set = t->refused[tag % TURN_REFUSED_SETS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < TURN_REFUSED_WAYS; i++) {
		if (set[i].tag == tag && set[i].until_ns > now)
			ret_peers[n++] = set[i].peer;
	}
	return n;
}
