/* SPDX-License-Identifier: MIT */
/* Allocations to and from the store. */
#include "relay/turn_int.h"

#include <errno.h>
#include <string.h>

static void fill_record(const struct pc_turn_alloc *a, struct pc_turn_record *r)
{
	memset(r, 0, sizeof(*r));
	r->id = a->id;
	r->slot = a->slot;
	r->tenant = a->tenant->id;
	r->path = a->path;
	for (unsigned int i = 0, n = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (!a->ports[i].socket)
			continue;
		r->relayed[n] = a->ports[i].socket->local;
		r->relayed_shared[n] = a->ports[i].socket->shared;
		r->relayed_expires_ns[n++] = a->ports[i].expires_ns;
	}
	r->expires_ns = pc_turn_alloc_expires(a);
	r->created_ns = a->created_ns;
	memcpy(r->txid, a->txid, sizeof(r->txid));
	r->integrity256 = a->integrity256;
	r->algorithm = a->algorithm;
	r->key = a->key;
	r->quota = a->quota;
	r->username_len = a->username_len;
	memcpy(r->username, a->username, a->username_len);
}

int pc_turn_save(struct pc_turn_alloc *a)
{
	struct pc_turn_saved_channel channels[PC_TURN_MAX_CHANNELS];
	struct pc_turn_saved_permission permissions[PC_TURN_MAX_PERMISSIONS];
	struct pc_turn_record r;
	int err;

	fill_record(a, &r);
	for (size_t i = 0; i < a->n_permissions; i++) {
		permissions[i] = (struct pc_turn_saved_permission){
			.peer = a->permissions[i]->peer,
			.expires_ns = a->permissions[i]->expires_ns,
		};
	}
	for (size_t i = 0; i < a->n_channels; i++) {
		channels[i] = (struct pc_turn_saved_channel){
			.number = a->channels[i]->number,
			.peer = a->channels[i]->peer,
			.expires_ns = a->channels[i]->expires_ns,
		};
	}
	r.permissions = permissions;
	r.n_permissions = a->n_permissions;
	r.channels = channels;
	r.n_channels = a->n_channels;
	err = a->t->ops->save(a->t->ctx, &r);
	pc_auth_wipe(&r.key, sizeof(r.key));
	return err;
}

static int restore_ports(struct pc_turn_alloc *a, const struct pc_turn_record *r, uint64_t now)
{
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(r->relayed); i++) {
		uint64_t expires = r->relayed_expires_ns[i];
		int err;

		if (!expires)
			expires = r->expires_ns;
		if (r->relayed[i].ip.family == 0 || expires <= now)
			continue;
		err = pc_turn_port_open_exact(a->t, &r->relayed[i], r->relayed_shared[i], now,
					      &a->ports[i]);
		if (err < 0)
			return err;
		a->ports[i].expires_ns = expires;
	}
	return 0;
}

static struct pc_turn_alloc *restore_alloc(struct pc_turn *t, const struct pc_turn_record *r)
{
	struct pc_turn_tenant *tenant = pc_turn_tenant_get(t, r->tenant);
	struct pc_turn_alloc *a;

	if (!tenant)
		return NULL;
	a = pc_turn_alloc_new(t, &r->path, tenant, r->username, r->username_len);
	if (!a)
		return NULL;
	a->id = r->id;
	a->slot = r->slot;
	a->created_ns = r->created_ns;
	if (r->expires_ns > r->created_ns)
		a->lifetime_s = (uint32_t)((r->expires_ns - r->created_ns) / PC_NS_PER_S);
	memcpy(a->txid, r->txid, sizeof(a->txid));
	a->integrity256 = r->integrity256;
	a->algorithm = r->algorithm;
	a->key = r->key;
	a->quota = r->quota;
	return a;
}

/* Bindings that have expired, or that today's policy forbids, stay away. */
static void restore_bindings(struct pc_turn_alloc *a, const struct pc_turn_record *r, uint64_t now)
{
	for (size_t i = 0; i < r->n_permissions; i++) {
		const struct pc_turn_saved_permission *saved = &r->permissions[i];
		struct pc_addr peer = { .ip = saved->peer };
		struct pc_turn_permission *p;

		if (saved->expires_ns <= now || pc_turn_peer_check(a, &peer, false))
			continue;
		p = pc_turn_permission_add(a, &peer.ip);
		if (!p)
			continue;
		p->expires_ns = saved->expires_ns;
		pc_turn_alloc_due(a, p->expires_ns);
		pc_turn_permission_tell(a, p, p->expires_ns, true);
	}
	for (size_t i = 0; i < r->n_channels; i++) {
		const struct pc_turn_saved_channel *saved = &r->channels[i];
		struct pc_turn_channel *ch;

		if (saved->expires_ns <= now || pc_turn_peer_check(a, &saved->peer, true) ||
		    saved->number < TURN_CHANNEL_MIN || saved->number > TURN_CHANNEL_MAX ||
		    pc_turn_channel_find(a, saved->number) ||
		    pc_turn_channel_by_peer(a, &saved->peer))
			continue;
		ch = pc_turn_channel_add(a, saved->number, &saved->peer);
		if (!ch)
			continue;
		ch->expires_ns = saved->expires_ns;
		pc_turn_alloc_due(a, ch->expires_ns);
		pc_turn_channel_sync(a, ch, true);
	}
}

static int restore(struct pc_turn *t, const struct pc_turn_record *record, uint64_t now)
{
	struct pc_turn_alloc *a;
	int r;

	if (record->username_len > PC_AUTH_NAME_MAX || record->key.len > PC_AUTH_KEY_MAX)
		return PC_ERR_MALFORMED;
	if (record->expires_ns <= now)
		return PC_ERR_NOT_FOUND;
	if (pc_turn_alloc_find(t, &record->path, now))
		return PC_ERR_EXISTS;
	a = restore_alloc(t, record);
	if (!a)
		return -ENOMEM;
	r = restore_ports(a, record, now);
	if (r == 0 && !a->ports[0].socket && !a->ports[1].socket)
		r = PC_ERR_NOT_FOUND;
	if (r < 0) {
		for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
			if (a->ports[i].socket)
				pc_turn_port_close(t, &a->ports[i], now);
		}
		pc_turn_alloc_free(a);
		return r;
	}
	pc_turn_alloc_publish(a);
	restore_bindings(a, record, now);
	return 0;
}

/* Half empty, so that most of what is not there is found out without looking at an entry. */
void pc_turn_expect(struct pc_turn *t, size_t sessions)
{
	const struct pc_turn_config *c = &t->config;
	size_t ports = (size_t)(c->port_high - c->port_low + 1) * c->n_relay_ips;

	pc_htab_reserve(&t->sockets, 2 * (sessions < ports ? sessions : ports));
	pc_htab_reserve(&t->allocs, 2 * sessions);
	pc_htab_reserve(&t->holders, 2 * sessions);
}

int pc_turn_restore(struct pc_turn *t, const struct pc_turn_record *record, uint64_t now)
{
	int r = restore(t, record, now);

	if (r < 0) {
		t->ops->slot_close(t->ctx, record->slot);
		t->ops->forget(t->ctx, record->id);
	}
	return r;
}
