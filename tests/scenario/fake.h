/* SPDX-License-Identifier: MIT */
/*
 * Everything around a TURN machine, in memory: sockets, data plane, store, accounts, randomness.
 * What the machine does is kept as lines of text ("flow_set channel=0x4000 ..."), datagrams are
 * kept in queues. Any operation can be told to fail. Used by the scenarios and the fuzzer.
 */
#ifndef PC_TESTS_SCENARIO_FAKE_H
#define PC_TESTS_SCENARIO_FAKE_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "relay/turn.h"

#define FAKE_EVENTS  4096
#define FAKE_RECORDS 64
#define FAKE_USERS   16

struct fake_port {
	struct fake_port *next;
	struct pc_addr local;
	struct pc_turn_socket *socket;
};

/* A permission in the data plane. */
struct fake_perm {
	struct fake_perm *next;
	struct pc_turn_perm perm;
};

/* A client that the data plane knows. */
struct fake_client {
	struct fake_client *next;
	struct pc_turn_path path;
};

/* A datagram that the machine sent. */
struct fake_dgram {
	struct fake_dgram *next;
	struct pc_addr from, to;
	struct pc_dgram d; /* data owned */
};

struct fake_user {
	char name[64];
	char password[64];
	struct pc_turn_user user;
};

struct fake_record {
	bool used;
	struct pc_turn_record r; /* arrays owned */
};

enum fake_op { FAKE_SAVE, FAKE_SLOT, FAKE_FLOW, FAKE_PORT, FAKE_PERM, FAKE_OPS };

struct fake {
	struct pc_turn *t;
	struct pc_turn_config config;
	struct pc_policy *policy;
	uint64_t now, realtime_s;
	uint64_t seed;
	bool quiet; /* keep neither events nor datagrams */
	/* Sees every datagram, kept or not. */
	void (*check)(struct fake *f, const struct pc_addr *to, const struct pc_dgram *d);
	char *events[FAKE_EVENTS];
	size_t n_events;
	struct fake_port *ports;
	struct fake_dgram *sent, **sent_tail;
	struct fake_user users[FAKE_USERS];
	size_t n_users;
	struct fake_record records[FAKE_RECORDS];
	uint32_t next_slot;
	int fail_code[FAKE_OPS];
	unsigned int fail_count[FAKE_OPS];
	unsigned int fail_skip[FAKE_OPS]; /* that work before */
	unsigned int open_slots;
	struct fake_perm *perms;
	struct fake_client *clients;
	/* What the limits of tenants do to the next datagrams up [0] and down [1]. */
	unsigned int refuse[2], mark[2];
	unsigned int refused; /* so far */
};

static inline void __attribute__((format(printf, 2, 3)))
fake_event(struct fake *f, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (f->quiet || f->n_events == FAKE_EVENTS)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	f->events[f->n_events++] = strdup(line);
}

static inline int fake_failure(struct fake *f, enum fake_op op)
{
	if (!f->fail_count[op])
		return 0;
	if (f->fail_skip[op]) {
		f->fail_skip[op]--;
		return 0;
	}
	f->fail_count[op]--;
	return f->fail_code[op];
}

static inline void fake_send(struct fake *f, const struct pc_addr *from, const struct pc_addr *to,
			     const struct pc_dgram *d)
{
	struct fake_dgram *s;

	if (f->check)
		f->check(f, to, d);
	if (f->quiet)
		return;
	s = calloc(1, sizeof(*s));
	s->from = *from;
	s->to = *to;
	s->d = *d;
	s->d.data = malloc(d->len ? d->len : 1);
	memcpy(s->d.data, d->data, d->len);
	*f->sent_tail = s;
	f->sent_tail = &s->next;
}

static inline void fake_send_client(void *ctx, const struct pc_turn_path *path,
				    const struct pc_dgram *d)
{
	fake_send(ctx, &path->server, &path->client, d);
}

static inline void fake_send_peer(void *ctx, void *port, const struct pc_addr *peer,
				  const struct pc_dgram *d)
{
	fake_send(ctx, &((struct fake_port *)port)->local, peer, d);
}

static inline int fake_port_open(void *ctx, const struct pc_addr *local,
				 struct pc_turn_socket *socket, void **ret_port)
{
	struct fake *f = ctx;
	struct fake_port *p;
	char text[PC_ADDR_STRLEN];
	int r = fake_failure(f, FAKE_PORT);

	if (r < 0)
		return r;
	for (p = f->ports; p; p = p->next) {
		if (pc_addr_equal(&p->local, local))
			return -EADDRINUSE;
	}
	p = calloc(1, sizeof(*p));
	p->local = *local;
	p->socket = socket;
	p->next = f->ports;
	f->ports = p;
	fake_event(f, "port_open local=%s held=%d", pc_addr_format(local, text), !socket);
	*ret_port = p;
	return 0;
}

static inline void fake_port_assign(void *ctx, void *port, struct pc_turn_socket *socket)
{
	((struct fake_port *)port)->socket = socket;
	fake_event(ctx, "port_assign");
}

static inline void fake_port_close(void *ctx, void *port)
{
	struct fake *f = ctx;
	struct fake_port **p = &f->ports;
	char text[PC_ADDR_STRLEN];

	while (*p && *p != port)
		p = &(*p)->next;
	if (!*p)
		abort();
	*p = (*p)->next;
	fake_event(f, "port_close local=%s",
		   pc_addr_format(&((struct fake_port *)port)->local, text));
	free(port);
}

static inline int fake_slot_open(void *ctx, uint64_t id, uint32_t tenant, uint32_t *ret_slot)
{
	struct fake *f = ctx;
	int r = fake_failure(f, FAKE_SLOT);

	if (r < 0)
		return r;
	*ret_slot = f->next_slot++;
	f->open_slots++;
	fake_event(f, "slot_open slot=%u tenant=%u", *ret_slot, tenant);
	return 0;
}

static inline void fake_slot_close(void *ctx, uint32_t slot)
{
	struct fake *f = ctx;

	f->open_slots--;
	fake_event(f, "slot_close slot=%u", slot);
}

static inline void fake_flow_event(struct fake *f, const char *what,
				   const struct pc_turn_flow *flow)
{
	char client[PC_ADDR_STRLEN], relayed[PC_ADDR_STRLEN], peer[PC_ADDR_STRLEN];
	uint64_t left = flow->expires_ns > f->now ? flow->expires_ns - f->now : 0;

	fake_event(f, "%s channel=0x%04x client=%s relayed=%s peer=%s hairpin=%d slot=%u left=%llu",
		   what, flow->channel, pc_addr_format(&flow->client, client),
		   pc_addr_format(&flow->relayed, relayed), pc_addr_format(&flow->peer, peer),
		   flow->hairpin, flow->slot, (unsigned long long)(left / PC_NS_PER_S));
}

static inline int fake_flow_set(void *ctx, const struct pc_turn_flow *flow)
{
	int r = fake_failure(ctx, FAKE_FLOW);

	if (r == 0)
		fake_flow_event(ctx, "flow_set", flow);
	return r;
}

static inline void fake_flow_del(void *ctx, const struct pc_turn_flow *flow)
{
	fake_flow_event(ctx, "flow_del", flow);
}

static inline struct fake_perm **fake_perm_find(struct fake *f, const struct pc_turn_perm *perm)
{
	struct fake_perm **at = &f->perms;

	while (*at && !(pc_addr_equal(&(*at)->perm.client, &perm->client) &&
			pc_addr_equal(&(*at)->perm.server, &perm->server) &&
			pc_ip_equal(&(*at)->perm.peer, &perm->peer)))
		at = &(*at)->next;
	return at;
}

static inline void fake_perm_event(struct fake *f, const char *what,
				   const struct pc_turn_perm *perm)
{
	char client[PC_ADDR_STRLEN], relayed[PC_ADDR_STRLEN], peer[PC_IP_STRLEN];
	uint64_t left = perm->expires_ns > f->now ? perm->expires_ns - f->now : 0;

	fake_event(f, "%s client=%s relayed=%s peer=%s hairpin=%d user=%d slot=%u left=%llu", what,
		   pc_addr_format(&perm->client, client), pc_addr_format(&perm->relayed, relayed),
		   pc_ip_format(&perm->peer, peer), perm->hairpin, perm->user_space, perm->slot,
		   (unsigned long long)(left / PC_NS_PER_S));
}

static inline int fake_perm_set(void *ctx, const struct pc_turn_perm *perm)
{
	struct fake *f = ctx;
	struct fake_perm **at = fake_perm_find(f, perm);
	int r = fake_failure(f, FAKE_PERM);

	if (r)
		return r;
	if (perm->relayed.ip.family != perm->peer.family || perm->expires_ns <= f->now)
		abort();
	if (!*at)
		*at = calloc(1, sizeof(**at));
	(*at)->perm = *perm;
	fake_perm_event(f, "perm_set", perm);
	return 0;
}

/* Only what is there is taken away, and by the same addresses. */
static inline void fake_perm_del(void *ctx, const struct pc_turn_perm *perm)
{
	struct fake *f = ctx;
	struct fake_perm **at = fake_perm_find(f, perm), *gone = *at;

	if (!gone || !pc_addr_equal(&gone->perm.relayed, &perm->relayed) ||
	    gone->perm.slot != perm->slot || gone->perm.hairpin != perm->hairpin)
		abort();
	*at = gone->next;
	free(gone);
	fake_perm_event(f, "perm_del", perm);
}

static inline void fake_perms_clear(struct fake *f)
{
	while (f->perms) {
		struct fake_perm *next = f->perms->next;

		free(f->perms);
		f->perms = next;
	}
}

static inline struct fake_client **fake_client_find(struct fake *f, const struct pc_turn_path *path)
{
	struct fake_client **at = &f->clients;

	while (*at && (!pc_addr_equal(&(*at)->path.client, &path->client) ||
		       !pc_addr_equal(&(*at)->path.server, &path->server)))
		at = &(*at)->next;
	return at;
}

/* Restored ones may be there already. */
static inline void fake_client_set(void *ctx, const struct pc_turn_path *path, uint32_t slot)
{
	struct fake_client **at = fake_client_find(ctx, path);

	if (!*at)
		*at = calloc(1, sizeof(**at));
	(*at)->path = *path;
}

static inline void fake_client_del(void *ctx, const struct pc_turn_path *path)
{
	struct fake_client **at = fake_client_find(ctx, path), *gone = *at;

	if (!gone)
		abort();
	*at = gone->next;
	free(gone);
}

static inline void fake_clients_clear(struct fake *f)
{
	while (f->clients) {
		struct fake_client *next = f->clients->next;

		free(f->clients);
		f->clients = next;
	}
}

static inline bool fake_admit(void *ctx, uint32_t slot, bool up, struct pc_dgram *d,
			      uint32_t payload, uint32_t wire)
{
	struct fake *f = ctx;

	if (f->refuse[!up]) {
		f->refuse[!up]--;
		f->refused++;
		fake_event(f, "refused slot=%u dir=%s wire=%u", slot, up ? "up" : "down", wire);
		fake_event(f, "drop reason=rate");
		return false;
	}
	if (f->mark[!up]) {
		f->mark[!up]--;
		d->tos |= 3;
	}
	return true;
}

static inline void fake_count(void *ctx, uint32_t slot, bool up, uint32_t payload, uint32_t wire)
{
	fake_event(ctx, "count slot=%u dir=%s payload=%u wire=%u", slot, up ? "up" : "down",
		   payload, wire);
}

static inline void fake_drop(void *ctx, enum pc_turn_drop reason)
{
	static const char *const names[PC_TURN_DROP_COUNT] = {
		"malformed",	 "length",     "ttl",		"unauthenticated", "source_rate",
		"no_allocation", "no_channel", "no_permission", "peer_policy",
	};

	fake_event(ctx, "drop reason=%s", names[reason]);
}

static inline void fake_record_clear(struct fake_record *slot)
{
	free((void *)slot->r.permissions);
	free((void *)slot->r.channels);
	memset(slot, 0, sizeof(*slot));
}

static inline int fake_save(void *ctx, const struct pc_turn_record *record)
{
	struct fake *f = ctx;
	struct fake_record *slot = NULL;
	int r = fake_failure(f, FAKE_SAVE);

	if (r < 0)
		return r;
	for (size_t i = 0; i < FAKE_RECORDS; i++) {
		if (f->records[i].used && f->records[i].r.id == record->id) {
			slot = &f->records[i];
			break;
		}
		if (!f->records[i].used && !slot)
			slot = &f->records[i];
	}
	if (!slot)
		return PC_ERR_STORE;
	fake_record_clear(slot);
	slot->used = true;
	slot->r = *record;
	slot->r.permissions = malloc(record->n_permissions * sizeof(*record->permissions) + 1);
	slot->r.channels = malloc(record->n_channels * sizeof(*record->channels) + 1);
	memcpy((void *)slot->r.permissions, record->permissions,
	       record->n_permissions * sizeof(*record->permissions));
	memcpy((void *)slot->r.channels, record->channels,
	       record->n_channels * sizeof(*record->channels));
	fake_event(f, "save permissions=%zu channels=%zu left=%llu", record->n_permissions,
		   record->n_channels,
		   (unsigned long long)((record->expires_ns - f->now) / PC_NS_PER_S));
	return 0;
}

static inline void fake_forget(void *ctx, uint64_t id)
{
	struct fake *f = ctx;

	for (size_t i = 0; i < FAKE_RECORDS; i++) {
		if (f->records[i].used && f->records[i].r.id == id)
			fake_record_clear(&f->records[i]);
	}
	fake_event(f, "forget");
}

/* Users of one name are several live secrets of one account. "!" at the end: hash lookup fails. */
static inline int fake_lookup(void *ctx, const char *name, size_t name_len, const uint8_t *userhash,
			      enum pc_auth_algorithm algorithm, uint64_t realtime_s,
			      struct pc_turn_user *ret_user)
{
	struct fake *f = ctx;
	const char *realm = f->config.realm;

	ret_user->n_keys = 0;
	for (size_t i = 0; i < f->n_users; i++) {
		const struct fake_user *u = &f->users[i];
		size_t len = strlen(u->name);
		uint8_t hash[PC_AUTH_USERHASH_LEN];
		uint64_t expires;
		const char *base;
		size_t base_len;

		pc_auth_userhash(u->name, len, realm, hash);
		if (userhash ? memcmp(hash, userhash, sizeof(hash)) != 0
			     : len != name_len || memcmp(u->name, name, len) != 0)
			continue;
		if (pc_auth_timed_parse(u->name, len, &expires, &base, &base_len) == 0 &&
		    expires < realtime_s)
			continue;
		ret_user->tenant = u->user.tenant;
		ret_user->quota = u->user.quota;
		ret_user->name_len = (uint16_t)len;
		memcpy(ret_user->name, u->name, len);
		pc_auth_derive(algorithm, u->name, len, realm, u->password, strlen(u->password),
			       &ret_user->keys[ret_user->n_keys++]);
		if (ret_user->n_keys == PC_TURN_MAX_SECRETS)
			break;
	}
	return ret_user->n_keys ? 0 : PC_ERR_NOT_FOUND;
}

/* xorshift64*: the same run every time. */
static inline void fake_random(void *ctx, void *buf, size_t len)
{
	struct fake *f = ctx;
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++) {
		f->seed ^= f->seed >> 12;
		f->seed ^= f->seed << 25;
		f->seed ^= f->seed >> 27;
		p[i] = (uint8_t)((f->seed * 0x2545F4914F6CDD1Dull) >> 56);
	}
}

static const struct pc_turn_ops fake_ops = {
	.send_client = fake_send_client,
	.send_peer = fake_send_peer,
	.port_open = fake_port_open,
	.port_assign = fake_port_assign,
	.port_close = fake_port_close,
	.slot_open = fake_slot_open,
	.slot_close = fake_slot_close,
	.flow_set = fake_flow_set,
	.flow_del = fake_flow_del,
	.perm_set = fake_perm_set,
	.perm_del = fake_perm_del,
	.client_set = fake_client_set,
	.client_del = fake_client_del,
	.admit = fake_admit,
	.count = fake_count,
	.drop = fake_drop,
	.save = fake_save,
	.forget = fake_forget,
	.lookup = fake_lookup,
	.random = fake_random,
};

static inline void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->now = 1000 * PC_NS_PER_S;
	f->realtime_s = 1800000000;
	f->seed = 0x9E3779B97F4A7C15ull;
	f->sent_tail = &f->sent;
	if (pc_policy_new(&f->policy) < 0)
		abort();
	f->config = (struct pc_turn_config){
		.realm = "pcloud",
		.port_low = 50000,
		.port_high = 50999,
		.max_allocations = 100,
		.default_lifetime_s = 600,
		.max_lifetime_s = 3600,
		.nonce_keys = { .current = "0123456789abcde", .previous = "edcba9876543210" },
		.policy = f->policy,
	};
}

static inline struct fake_dgram *fake_take_dgram(struct fake *f, const struct pc_addr *to)
{
	for (struct fake_dgram **p = &f->sent; *p; p = &(*p)->next) {
		struct fake_dgram *s = *p;

		if (to && !pc_addr_equal(&s->to, to))
			continue;
		*p = s->next;
		if (!*p)
			f->sent_tail = p;
		s->next = NULL;
		return s;
	}
	return NULL;
}

static inline void fake_dgram_free(struct fake_dgram *s)
{
	if (!s)
		return;
	free(s->d.data);
	free(s);
}

static inline void fake_clear_events(struct fake *f)
{
	for (size_t i = 0; i < f->n_events; i++)
		free(f->events[i]);
	f->n_events = 0;
}

static inline void fake_free(struct fake *f)
{
	struct fake_dgram *s;

	if (f->t)
		pc_turn_free(f->t);
	while ((s = fake_take_dgram(f, NULL)))
		fake_dgram_free(s);
	fake_clear_events(f);
	fake_perms_clear(f);
	fake_clients_clear(f);
	for (size_t i = 0; i < FAKE_RECORDS; i++)
		fake_record_clear(&f->records[i]);
	pc_policy_free(f->policy);
	if (f->ports)
		abort(); /* the machine leaked a port */
}

#endif
