/* SPDX-License-Identifier: MIT */
/* The TURN machine in the daemon: its policy and configuration, sessions taken up again, drain. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/siphash.h"
#include "daemon/daemon_int.h"
#include "daemon/host.h"
#include "daemon/io.h"
#include "daemon/native_glue.h"
#include "daemon/nexthop.h"
#include "daemon/record.h"
#include "daemon/turn_glue.h"

/* Memory for the record of each session, at first; sessions looked at ahead, and ways that they may
 * have. */
#define PC_RESTORE_ROOM	 512
#define PC_RESTORE_AHEAD 64
#define PC_RESTORE_WAYS	 256

PC_DEFINE_CLEANUP(policy, struct pc_policy, pc_policy_free)

/* --- policy --- */

uint64_t pc_daemon_own_addresses(void)
{
	static const uint8_t key[16] = { 0 };
	PC_CLEANUP(pc_host_free) struct pc_host h = { 0 };
	uint64_t sum = 0;

	if (pc_host_read(&h))
		return 0;
	for (size_t i = 0; i < h.n; i++) /* in whatever order */
		sum += pc_siphash24(key, &h.address[i].ip, sizeof(h.address[i].ip));
	return sum;
}

static int add_own(struct pc_policy *p, const struct pc_config *c)
{
	PC_CLEANUP(pc_host_free) struct pc_host h = { 0 };
	int r = pc_host_read(&h);

	for (size_t i = 0; r == 0 && i < h.n; i++)
		r = pc_policy_add_own(p, &h.address[i].ip);
	/* The same host, seen from outside. */
	for (size_t i = 0; r == 0 && i < c->n_external_address; i++)
		r = pc_policy_add_own(p, &c->external_address[i]);
	return r;
}

static int make_policy(const struct pc_config *c, struct pc_policy **ret_policy)
{
	PC_CLEANUP(pc_cleanup_policy) struct pc_policy *p = NULL;
	int r = pc_policy_new(&p);

	for (size_t i = 0; r == 0 && i < c->n_rule; i++)
		r = pc_policy_add(p, &c->rule[i].prefix, c->rule[i].allow);
	if (r == 0)
		r = add_own(p, c);
	if (r)
		return r;
	if (c->allow_all_peer_ports)
		pc_policy_allow_all_ports(p);
	*ret_policy = TAKE_PTR(p);
	return 0;
}

/* --- configuration --- */

static void turn_config(const struct pc_daemon *d, const struct pc_config *c,
			const struct pc_policy *policy, struct pc_turn_config *t)
{
	*t = (struct pc_turn_config){
		.n_relay_ips = (unsigned int)c->n_relay_address,
		.port_low = c->port_low,
		.port_high = c->port_high,
		.max_allocations = c->max_sessions,
		.default_lifetime_s = 600,
		.max_lifetime_s = 3600,
		.draining = d->draining,
		.stranger_replies_per_s = c->stranger_replies,
		.nonce_keys = d->nonce_keys,
		.policy = policy,
	};
	snprintf(t->realm, sizeof(t->realm), "%s", c->realm);
	for (size_t i = 0; i < c->n_relay_address; i++) {
		t->relay_ips[i].local = c->relay_address[i];
		t->relay_ips[i].external = c->relay_address[i];
		for (size_t j = 0; j < c->n_external_address; j++)
			if (c->external_address[j].family == c->relay_address[i].family)
				t->relay_ips[i].external = c->external_address[j];
	}
}

int pc_daemon_turn_new(struct pc_daemon *d)
{
	struct pc_turn_config t;
	int r = make_policy(&d->config, &d->policy);

	if (r == 0)
		r = pc_glue_new(d, &d->glue);
	if (r == 0) {
		d->own_addresses = pc_daemon_own_addresses();
		turn_config(d, &d->config, d->policy, &t);
		r = pc_turn_new(&t, &pc_glue_ops, d->glue, pc_clock_monotonic(), &d->turn);
		pc_auth_wipe(&t.nonce_keys, sizeof(t.nonce_keys));
	}
	if (r)
		pc_error("starting the relay: %s", pc_strerror(r));
	return r;
}

int pc_daemon_turn_reconfigure(struct pc_daemon *d, const struct pc_config *c)
{
	PC_CLEANUP(pc_cleanup_policy) struct pc_policy *policy = NULL;
	struct pc_turn_config t;
	int r = make_policy(c, &policy);

	if (r)
		return r;
	turn_config(d, c, policy, &t);
	r = pc_turn_reconfigure(d->turn, &t, pc_clock_monotonic());
	pc_auth_wipe(&t.nonce_keys, sizeof(t.nonce_keys));
	if (r)
		return r;
	pc_policy_free(d->policy);
	d->policy = TAKE_PTR(policy);
	if (d->native)
		pc_native_glue_policy(d->native);
	pc_io_flush(d->io);
	return 0;
}

void pc_daemon_drain(struct pc_daemon *d, bool on)
{
	bool before = d->draining;
	int r;

	d->draining = on;
	r = pc_daemon_turn_reconfigure(d, &d->config);
	if (r) {
		d->draining = before;
		pc_error("drain: %s", pc_strerror(r));
	} else if (before != on) {
		pc_info("%s", on ? "draining: no new allocations" : "taking new allocations again");
	}
}

/* --- sessions of the store --- */

/* A record in the arena; the next one lies behind its bytes. */
struct stored {
	uint64_t id;
	uint64_t len;
	uint8_t bytes[];
};

struct restore {
	struct pc_daemon *d;
	uint8_t *arena;
	size_t used, room, n;
	struct pc_record record;
	struct pc_nexthops_way ways[PC_RESTORE_WAYS];
	size_t n_ways;
	uint64_t *taken; /* bit by slot */
	unsigned int restored, dropped;
};

static void restore_free(struct restore **r)
{
	if (!*r)
		return;
	if ((*r)->arena)
		pc_auth_wipe((*r)->arena, (*r)->used);
	free((*r)->arena);
	free((*r)->taken);
	pc_auth_wipe(*r, sizeof(**r));
	free(*r);
}

static bool make_room(struct restore *r, size_t size)
{
	size_t room = r->room ? r->room : pc_usage_open_slots(r->d->usage) * PC_RESTORE_ROOM;
	uint8_t *arena;

	while (room - r->used < size)
		room = 2 * room + size;
	if (room == r->room)
		return true;
	arena = malloc(room);
	if (!arena)
		return false;
	/* Not realloc: keys are in it. */
	if (r->used)
		memcpy(arena, r->arena, r->used);
	if (r->arena)
		pc_auth_wipe(r->arena, r->used);
	free(r->arena);
	r->arena = arena;
	r->room = room;
	return true;
}

static size_t stored_size(size_t len)
{
	return (sizeof(struct stored) + len + 7) & ~(size_t)7;
}

static int collect(void *arg, uint64_t id, const void *record, size_t len)
{
	struct restore *r = arg;
	struct stored *s;

	if (!make_room(r, stored_size(len)))
		return -ENOMEM;
	s = (struct stored *)(r->arena + r->used);
	s->id = id;
	s->len = len;
	memcpy(s->bytes, record, len);
	r->used += stored_size(len);
	r->n++;
	return 0;
}

/* The first at NULL; NULL behind the last. */
static const struct stored *stored_next(const struct restore *r, const struct stored *s)
{
	size_t at = s ? (size_t)((const uint8_t *)s - r->arena) + stored_size(s->len) : 0;

	return at < r->used ? (const struct stored *)(r->arena + at) : NULL;
}

static void ask_ways(struct restore *r)
{
	pc_nexthops_ahead(r->d->nexthops, r->ways, r->n_ways);
	r->n_ways = 0;
}

static void add_way(struct restore *r, const struct pc_ip *src, const struct pc_ip *dst)
{
	if (r->n_ways == PC_RESTORE_WAYS)
		ask_ways(r);
	r->ways[r->n_ways++] = (struct pc_nexthops_way){ *src, *dst };
}

static void add_ways(struct restore *r, const struct pc_turn_record *t)
{
	add_way(r, &t->path.server.ip, &t->path.client.ip);
	for (size_t i = 0; i < t->n_permissions; i++) {
		const struct pc_ip *peer = &t->permissions[i].peer;

		for (size_t k = 0; k < PC_ARRAY_SIZE(t->relayed); k++)
			if (t->relayed[k].ip.family == peer->family)
				add_way(r, &t->relayed[k].ip, peer);
	}
}

/*
 * A look at the sessions from @s on that are restored next, and at what they will want: a question
 * to the kernel for each way, and a wait for memory for each slot, cost more than all the rest.
 * Returns the first that it did not look at.
 */
static const struct stored *look_ahead(struct restore *r, const struct stored *s)
{
	const struct pc_turn_record *t = &r->record.turn;
	uint32_t slots[PC_RESTORE_AHEAD];
	size_t n = 0;

	for (size_t i = 0; s && i < PC_RESTORE_AHEAD; s = stored_next(r, s), i++) {
		if (pc_record_decode(s->bytes, s->len, &r->record))
			continue;
		slots[n++] = t->slot;
		if (r->d->nexthops)
			add_ways(r, t);
	}
	if (r->d->nexthops)
		ask_ways(r);
	pc_usage_near(r->d->usage, slots, n);
	return s;
}

/* NULL when the session goes on, else why it cannot. */
static const char *restore_one(struct restore *r, const struct stored *s, uint64_t now)
{
	struct pc_turn_record *t = &r->record.turn;
	struct pc_daemon *d = r->d;
	uint64_t session;
	uint32_t tenant;
	int err = pc_record_decode(s->bytes, s->len, &r->record);

	if (err)
		return pc_strerror(err);
	if (t->id != s->id)
		return "its record is another's";
	if (!pc_usage_slot(d->usage, t->slot, &session, &tenant) || session != t->id)
		return "it had ended";
	if (t->expires_ns <= now)
		return "it expired";
	if (tenant != t->tenant || !pc_users_by_id(d->users, tenant))
		return "its tenant is gone";
	if (pc_io_listener(d->io, &t->path.server, &t->path.listener))
		return "its service address is gone";
	err = pc_turn_restore(d->turn, t, now);
	if (err)
		return pc_strerror(err);
	r->taken[t->slot / 64] |= 1ull << (t->slot % 64);
	return NULL;
}

static void restore_all(struct restore *r, uint64_t now)
{
	const struct stored *s = stored_next(r, NULL), *seen = s;

	for (; s; s = stored_next(r, s)) {
		const char *why;
		int err;

		if (s == seen)
			seen = look_ahead(r, s);
		why = restore_one(r, s, now);
		if (!why) {
			r->restored++;
			continue;
		}
		r->dropped++;
		pc_debug("session %016llx is not taken up: %s", (unsigned long long)s->id, why);
		/* The machine forgets by itself those that it tried. */
		err = pc_daemon_store_usable(r->d) ? pc_store_session_del(r->d->store, s->id)
						   : PC_ERR_NOT_FOUND;
		if (err != PC_ERR_NOT_FOUND)
			pc_daemon_store_result(r->d, err, "forgetting a session");
	}
}

/* Slots of sessions that did not come back: folded and freed like those that ended. */
static void close_others(struct restore *r, uint64_t now)
{
	struct pc_daemon *d = r->d;
	uint64_t session;
	uint32_t tenant;

	for (uint32_t i = 0; i < d->config.max_sessions; i++)
		if (!(r->taken[i / 64] & (1ull << (i % 64))) &&
		    pc_usage_slot(d->usage, i, &session, &tenant))
			pc_usage_close(d->usage, i, now);
}

void pc_daemon_turn_restore(struct pc_daemon *d)
{
	PC_CLEANUP(restore_free) struct restore *r = calloc(1, sizeof(*r));
	uint64_t now = pc_clock_monotonic();
	int err = -ENOMEM, swept;

	if (r) {
		r->d = d;
		r->taken = calloc(d->config.max_sessions / 64 + 1, sizeof(*r->taken));
	}
	if (r && r->taken)
		err = pc_store_session_each(d->store, collect, r);
	if (err) {
		pc_error("sessions are not taken up again: %s", pc_strerror(err));
		return;
	}
	pc_turn_expect(d->turn, r->n);
	pc_glue_expect(d->glue, r->n);
	if (d->nexthops)
		pc_nexthops_expect(d->nexthops, r->n);
	pc_dp_batch_begin(d->dp);
	restore_all(r, now);
	if (d->nexthops)
		pc_nexthops_ahead_end(d->nexthops);
	/* Set one by one, each finds out whether the kernel or user space has it. */
	if (pc_dp_batch_end(d->dp))
		pc_turn_resync_flows(d->turn, now);
	pc_native_glue_adopt(d, d->native, r->taken);
	close_others(r, now);
	swept = pc_glue_sweep(d->glue);
	if (r->n || swept > 0)
		pc_info("adopted %u sessions, %zu flows, %zu permissions; dropped %u sessions, %d "
			"kernel entries; in %llu ms",
			r->restored, pc_glue_flows(d->glue), pc_glue_perms(d->glue), r->dropped,
			swept > 0 ? swept : 0,
			(unsigned long long)((pc_clock_monotonic() - now) / PC_NS_PER_MS));
}

const char *pc_daemon_turn_uri(const struct pc_daemon *d, char *buf, size_t size)
{
	const struct pc_config *c = &d->config;
	struct pc_addr a = c->listen[0];
	char text[PC_ADDR_STRLEN];

	for (size_t i = 0; i < c->n_external_address; i++)
		if (c->external_address[i].family == a.ip.family)
			a.ip = c->external_address[i];
	snprintf(buf, size, "turn:%s?transport=udp", pc_addr_format(&a, text));
	return buf;
}

/* --- datagrams that were too large for their way --- */

/*
 * What goes to a peer was lost, and its client is told; nobody can be told of what went to a
 * client. Both ways, the kernel's program leaves what is as large to user space from now on, which
 * has the host fragment it.
 */
void pc_daemon_turn_too_big(void *arg, const struct pc_too_big_report *report)
{
	struct pc_daemon *d = arg;
	struct pc_turn_path path = { .server = report->local, .client = report->remote };
	uint64_t now = pc_clock_monotonic();
	bool known;

	if (pc_native_glue_talks(d->native, &report->local, &report->remote))
		known = true; /* its ends find out by themselves what arrives */
	else if (pc_io_listener(d->io, &report->local, &path.listener) == 0)
		known = pc_turn_serves(d->turn, &path, now);
	else
		known = pc_turn_relayed_icmp(d->turn, &report->local, &report->remote, report->type,
					     report->code, report->mtu, now);
	if (!known)
		return;
	pc_dp_reasons_user(d->dp)[PC_REASON_DROP_TOO_LARGE]++;
	if (d->nexthops)
		pc_nexthops_path_mtu(d->nexthops, &report->local.ip, &report->remote.ip,
				     report->mtu);
	pc_io_flush(d->io);
}
