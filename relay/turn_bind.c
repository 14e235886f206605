/* SPDX-License-Identifier: MIT */
/* Permissions, channels, and what the data plane is told of them. */
#include "relay/turn_int.h"

#include <string.h>

int pc_turn_peer_addr(const struct pc_turn_request *req, const struct pc_stun_attr *attr,
		      struct pc_addr *ret_peer)
{
	int r = pc_stun_attr_xor_addr(req->msg, attr, ret_peer);

	if (r == 0)
		pc_turn_to_external(req->t, ret_peer);
	return r;
}

static bool peer_allowed(const struct pc_turn *t, const struct pc_addr *peer, bool with_port)
{
	/* Another client of this relay: reached inside, so the host stays closed. */
	if (pc_turn_relay_ip(t, &peer->ip) >= 0)
		return !with_port ||
		       (peer->port >= t->config.port_low && peer->port <= t->config.port_high);
	return with_port ? pc_policy_allows(t->config.policy, peer)
			 : pc_policy_allows_ip(t->config.policy, &peer->ip);
}

unsigned int pc_turn_peer_check(struct pc_turn_alloc *a, const struct pc_addr *peer, bool with_port)
{
	if (!pc_turn_alloc_port(a, peer->ip.family))
		return 443;
	return peer_allowed(a->t, peer, with_port) ? 0 : 403;
}

/* Index of @peer, or where it belongs. */
static size_t permission_index(const struct pc_turn_alloc *a, const struct pc_ip *peer,
			       bool *ret_found)
{
	size_t low = 0, high = a->n_permissions;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = pc_turn_ip_compare(&a->permissions[mid]->peer, peer);

		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_found = false;
	return low;
}

struct pc_turn_permission *pc_turn_permission_find(const struct pc_turn_alloc *a,
						   const struct pc_ip *peer)
{
	bool found;
	size_t i = permission_index(a, peer, &found);

	return found ? a->permissions[i] : NULL;
}

static bool permissions_grow(struct pc_turn_alloc *a)
{
	size_t cap = a->cap_permissions ? 2 * a->cap_permissions : 4;
	struct pc_turn_permission **p;

	if (a->n_permissions < a->cap_permissions)
		return true;
	p = realloc(a->permissions, cap * sizeof(struct pc_turn_permission *));
	if (!p)
		return false;
	a->permissions = p;
	a->cap_permissions = cap;
	return true;
}

struct pc_turn_permission *pc_turn_permission_add(struct pc_turn_alloc *a, const struct pc_ip *peer)
{
	struct pc_turn_permission *p;
	bool found;
	size_t i = permission_index(a, peer, &found);

	if (found)
		return a->permissions[i];
	if (a->n_permissions >= a->quota.permissions ||
	    a->n_permissions >= PC_TURN_MAX_PERMISSIONS ||
	    pc_turn_holder_find(a->t, pc_turn_alloc_port(a, peer->family)->socket, peer) ||
	    !permissions_grow(a))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->alloc = a;
	p->peer = *peer;
	memmove(&a->permissions[i + 1], &a->permissions[i], (a->n_permissions - i) * sizeof(p));
	a->permissions[i] = p;
	pc_turn_holder_add(a->t, p);
	a->n_permissions++;
	a->t->n_permissions++;
	return p;
}

static void fill_perm(struct pc_turn_alloc *a, const struct pc_turn_permission *p,
		      struct pc_turn_perm *ret_perm)
{
	const struct pc_turn_port *port = pc_turn_alloc_port(a, p->peer.family);
	int ip = pc_turn_relay_ip(a->t, &p->peer);

	*ret_perm = (struct pc_turn_perm){
		.slot = a->slot,
		.client = a->path.client,
		.server = a->path.server,
		.relayed = port->socket->local,
		.peer = p->peer,
		.hairpin = ip >= 0,
		.user_space = ip >= 0 && !pc_ip_equal(&a->t->config.relay_ips[ip].local, &p->peer),
		.expires_ns = p->told_expires_ns,
	};
}

int pc_turn_permission_tell(struct pc_turn_alloc *a, struct pc_turn_permission *p,
			    uint64_t expires_ns, bool force)
{
	/* It lives only as long as the relayed address of its family. */
	const struct pc_turn_port *port = pc_turn_alloc_port(a, p->peer.family);
	struct pc_turn_perm perm;
	int r;

	if (port->expires_ns < expires_ns)
		expires_ns = port->expires_ns;
	if (p->installed && p->told_expires_ns == expires_ns && !force)
		return 0;
	fill_perm(a, p, &perm);
	perm.expires_ns = expires_ns;
	r = a->t->ops->perm_set(a->t->ctx, &perm);
	if (r == 0) {
		p->told_expires_ns = expires_ns;
		p->installed = true;
	}
	return r;
}

void pc_turn_permission_remove(struct pc_turn_alloc *a, struct pc_turn_permission *p)
{
	struct pc_turn_perm perm;
	bool found;
	size_t i = permission_index(a, &p->peer, &found);

	if (p->installed) {
		fill_perm(a, p, &perm);
		a->t->ops->perm_del(a->t->ctx, &perm);
	}
	pc_turn_holder_remove(a->t, p);
	a->n_permissions--;
	memmove(&a->permissions[i], &a->permissions[i + 1], (a->n_permissions - i) * sizeof(p));
	a->t->n_permissions--;
	free(p);
}

bool pc_turn_peers_admit(struct pc_turn_alloc *a, unsigned int n, uint64_t now)
{
	uint32_t rate = a->quota.peers_per_s;
	uint64_t at = a->tenant->peers_at_ns;

	if (n == 0)
		return true;
	if (rate == 0)
		return false;
	if (at < now)
		at = now;
	at += n * (PC_NS_PER_S / rate);
	if (at - now > PC_NS_PER_S)
		return false;
	a->tenant->peers_at_ns = at;
	return true;
}

static size_t number_index(const struct pc_turn_alloc *a, uint16_t number)
{
	size_t low = 0, high = a->n_channels;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (a->channels[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t peer_index(const struct pc_turn_alloc *a, const struct pc_addr *peer)
{
	size_t low = 0, high = a->n_channels;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (pc_turn_addr_compare(&a->by_peer[mid]->peer, peer) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct pc_turn_channel *pc_turn_channel_find(const struct pc_turn_alloc *a, uint16_t number)
{
	size_t i = number_index(a, number);

	return i < a->n_channels && a->channels[i]->number == number ? a->channels[i] : NULL;
}

struct pc_turn_channel *pc_turn_channel_by_peer(const struct pc_turn_alloc *a,
						const struct pc_addr *peer)
{
	size_t i = peer_index(a, peer);

	if (i >= a->n_channels || !pc_addr_equal(&a->by_peer[i]->peer, peer))
		return NULL;
	return a->by_peer[i];
}

static bool channels_grow(struct pc_turn_alloc *a)
{
	size_t cap = a->cap_channels ? 2 * a->cap_channels : 4;
	struct pc_turn_channel **p;

	if (a->n_channels < a->cap_channels)
		return true;
	p = realloc(a->channels, cap * sizeof(struct pc_turn_channel *));
	if (!p)
		return false;
	a->channels = p;
	p = realloc(a->by_peer, cap * sizeof(struct pc_turn_channel *));
	if (!p)
		return false; /* the first array is merely larger than it needs to be */
	a->by_peer = p;
	a->cap_channels = cap;
	return true;
}

static void array_insert(struct pc_turn_channel **array, size_t n, size_t i,
			 struct pc_turn_channel *ch)
{
	memmove(&array[i + 1], &array[i], (n - i) * sizeof(*array));
	array[i] = ch;
}

static void array_remove(struct pc_turn_channel **array, size_t n, size_t i)
{
	memmove(&array[i], &array[i + 1], (n - i - 1) * sizeof(*array));
}

struct pc_turn_channel *pc_turn_channel_add(struct pc_turn_alloc *a, uint16_t number,
					    const struct pc_addr *peer)
{
	struct pc_turn_channel *ch;

	if (a->n_channels >= a->quota.channels || a->n_channels >= PC_TURN_MAX_CHANNELS ||
	    !channels_grow(a))
		return NULL;
	ch = calloc(1, sizeof(*ch));
	if (!ch)
		return NULL;
	ch->number = number;
	ch->peer = *peer;
	array_insert(a->channels, a->n_channels, number_index(a, number), ch);
	array_insert(a->by_peer, a->n_channels, peer_index(a, peer), ch);
	a->n_channels++;
	a->t->n_channels++;
	return ch;
}

static void fill_flow(struct pc_turn_alloc *a, const struct pc_turn_channel *ch,
		      struct pc_turn_flow *ret_flow)
{
	struct pc_turn_port *port = pc_turn_alloc_port(a, ch->peer.ip.family);

	*ret_flow = (struct pc_turn_flow){
		.slot = a->slot,
		.channel = ch->number,
		.client = a->path.client,
		.server = a->path.server,
		.relayed = port->socket->local,
		.peer = ch->peer,
		.hairpin = pc_turn_relay_ip(a->t, &ch->peer.ip) >= 0,
		.expires_ns = ch->flow_expires_ns,
	};
	pc_turn_to_local(a->t, &ret_flow->peer);
}

static void flow_remove(struct pc_turn_alloc *a, struct pc_turn_channel *ch)
{
	struct pc_turn_flow flow;

	if (!ch->installed)
		return;
	fill_flow(a, ch, &flow);
	ch->installed = false;
	a->t->ops->flow_del(a->t->ctx, &flow);
}

void pc_turn_channel_remove(struct pc_turn_alloc *a, struct pc_turn_channel *ch)
{
	flow_remove(a, ch);
	array_remove(a->channels, a->n_channels, number_index(a, ch->number));
	array_remove(a->by_peer, a->n_channels, peer_index(a, &ch->peer));
	a->n_channels--;
	a->t->n_channels--;
	free(ch);
}

int pc_turn_channel_sync(struct pc_turn_alloc *a, struct pc_turn_channel *ch, bool force)
{
	const struct pc_turn_permission *perm = pc_turn_permission_find(a, &ch->peer.ip);
	/* A channel lives only as long as the relayed address of its family. */
	const struct pc_turn_port *port = pc_turn_alloc_port(a, ch->peer.ip.family);
	uint64_t expires = ch->expires_ns;
	struct pc_turn_flow flow;
	int r;

	if (!perm) {
		flow_remove(a, ch);
		return 0;
	}
	if (perm->expires_ns < expires)
		expires = perm->expires_ns;
	if (port->expires_ns < expires)
		expires = port->expires_ns;
	if (ch->installed && ch->flow_expires_ns == expires && !force)
		return 0;
	fill_flow(a, ch, &flow);
	flow.expires_ns = expires;
	r = a->t->ops->flow_set(a->t->ctx, &flow);
	if (r == 0) {
		ch->flow_expires_ns = expires;
		ch->installed = true;
	}
	return r;
}

void pc_turn_bindings_sync(struct pc_turn_alloc *a, const struct pc_ip *peer, bool force)
{
	/* What cannot be told leaves its packets to user space. */
	for (size_t i = 0; i < a->n_permissions; i++) {
		struct pc_turn_permission *p = a->permissions[i];

		if (p->expires_ns && (!peer || pc_ip_equal(&p->peer, peer)))
			pc_turn_permission_tell(a, p, p->expires_ns, force);
	}
	for (size_t i = 0; i < a->n_channels; i++) {
		if (!peer || pc_ip_equal(&a->channels[i]->peer.ip, peer))
			pc_turn_channel_sync(a, a->channels[i], force);
	}
}

bool pc_turn_bindings_cut(struct pc_turn_alloc *a,
			  bool (*gone)(const struct pc_turn_alloc *a, const struct pc_addr *peer,
				       bool with_port, uint64_t expires_ns, uint64_t arg),
			  uint64_t arg)
{
	bool cut = false;

	for (size_t i = a->n_channels; i-- > 0;) {
		struct pc_turn_channel *ch = a->channels[i];

		if (gone(a, &ch->peer, true, ch->expires_ns, arg)) {
			pc_turn_channel_remove(a, ch);
			cut = true;
		}
	}
	for (size_t i = a->n_permissions; i-- > 0;) {
		struct pc_turn_permission *p = a->permissions[i];
		struct pc_addr peer = { .ip = p->peer };

		if (!gone(a, &peer, false, p->expires_ns, arg))
			continue;
		pc_turn_permission_remove(a, p);
		pc_turn_bindings_sync(a, &peer.ip, false);
		cut = true;
	}
	return cut;
}
