/* SPDX-License-Identifier: MIT */
#include "daemon/native_glue_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "daemon/io.h"
#include "relay/noise.h"

#define DAY_S 86400ull
/* Beginning earlier: clocks of others may be behind. Renewed when half of it is over. */
#define STATEMENT_S	   (14 * DAY_S)
#define STATEMENT_BEFORE_S DAY_S
/* A clock that is further back than this program was never set. */
#define CLOCK_SET_S 1735689600ull
#define REGISTER_S  120
/* Largest frame of a pipe on a path of 1280 bytes would be less: this fits 1500 with IPv6. */
#define PIPE_MTU    (PC_PIPE_MAX_FRAME - PC_PIPE_HEADER)
#define DEFAULT_TTL 64
#define METER_S	    5.

static const uint8_t reason_of[] = {
	[PC_NATIVE_DROP_MALFORMED] = PC_REASON_DROP_MALFORMED,
	[PC_NATIVE_DROP_MAC1] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_NATIVE_DROP_COOKIE] = PC_REASON_DROP_SOURCE_RATE,
	[PC_NATIVE_DROP_RATE] = PC_REASON_DROP_SOURCE_RATE,
	[PC_NATIVE_DROP_TICKET] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_NATIVE_DROP_HANDSHAKE] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_NATIVE_DROP_UNTRUSTED] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_NATIVE_DROP_SESSION] = PC_REASON_DROP_NO_ALLOCATION,
	[PC_NATIVE_DROP_REPLAY] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_NATIVE_DROP_AUTH] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_NATIVE_DROP_FULL] = PC_REASON_DROP_QUOTA,
};
_Static_assert(PC_ARRAY_SIZE(reason_of) == PC_NATIVE_DROP_COUNT, "every drop has its reason");

const char *pc_native_drop_name(enum pc_native_drop drop)
{
	static const char *const names[] = {
		[PC_NATIVE_DROP_MALFORMED] = "malformed", [PC_NATIVE_DROP_MAC1] = "mac1",
		[PC_NATIVE_DROP_COOKIE] = "cookie",	  [PC_NATIVE_DROP_RATE] = "rate",
		[PC_NATIVE_DROP_TICKET] = "ticket",	  [PC_NATIVE_DROP_HANDSHAKE] = "handshake",
		[PC_NATIVE_DROP_UNTRUSTED] = "untrusted", [PC_NATIVE_DROP_SESSION] = "session",
		[PC_NATIVE_DROP_REPLAY] = "replay",	  [PC_NATIVE_DROP_AUTH] = "auth",
		[PC_NATIVE_DROP_FULL] = "full",
	};

	return names[drop];
}

/* Seconds since 1970, or 0 where the clock was never set: small devices have none. */
static uint64_t clock_s(uint64_t realtime_s)
{
	return realtime_s < CLOCK_SET_S ? 0 : realtime_s;
}

uint64_t pc_native_clock_s(void)
{
	return clock_s(pc_clock_realtime() / PC_NS_PER_S);
}

/* --- what the machine does --- */

static void send_frame(void *ctx, const struct pc_native_path *path, const void *data, size_t len)
{
	struct pc_native_glue *g = ctx;
	const struct pc_turn_path to = { .listener = path->listener,
					 .server = path->local,
					 .client = path->remote };
	/* Not in place: io copies it and writes nothing there. */
	const struct pc_dgram d = { .data = (uint8_t *)data, .len = len, .ttl = DEFAULT_TTL };

	pc_io_send_client(g->d->io, &to, &d);
}

static bool trusted(void *ctx, const uint8_t identity[static 32])
{
	struct pc_native_glue *g = ctx;
	const struct pc_store_peer *peer = pc_peers_find(g->d->peers, identity);
	char id[PC_PEER_ID_STRLEN], addr[PC_ADDR_STRLEN];

	g->trusted = peer && pc_users_by_id(g->d->users, peer->tenant) ? peer->name : NULL;
	if (g->trusted)
		return true;
	pc_log_limited(&g->refused_log, g->now, PC_LOG_WARNING,
		       "native peer %s at %s refused: no peer of this node (pcctl peer add)",
		       pc_peer_id_format(identity, id),
		       g->from ? pc_addr_format(&g->from->remote, addr) : "?");
	return false;
}

static void psk_of(void *ctx, const uint8_t identity[static 32], uint8_t ret_psk[static 32])
{
	const struct pc_native_glue *g = ctx;
	const struct pc_store_peer *peer = pc_peers_find(g->d->peers, identity);

	if (peer)
		memcpy(ret_psk, peer->psk, sizeof(peer->psk));
}

const char *pc_native_peer_name(const struct pc_native_glue *g, const uint8_t identity[static 32])
{
	const struct pc_store_peer *peer = pc_peers_find(g->d->peers, identity);

	return peer ? peer->name : "?";
}

static const char *name_of(const struct pc_native_glue *g, const struct pc_native_link *link)
{
	return pc_native_peer_name(g, pc_native_identity(link));
}

static void up(void *ctx, struct pc_native_link *link, bool renewed)
{
	struct pc_native_glue *g = ctx;
	const struct pc_native_path *path = pc_native_path(link);
	char addr[PC_ADDR_STRLEN];

	pc_native_known(g, link);
	pc_debug("native peer %s at %s: session %s", name_of(g, link),
		 pc_addr_format(&path->remote, addr), renewed ? "renewed" : "up");
}

static void down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
	struct pc_native_glue *g = ctx;

	pc_debug("native peer %s: session ended: %s", name_of(g, link),
		 pc_native_reason_text(reason));
	pc_native_unknown(g, link);
	pc_hub_down(g->hub, link, g->now);
}

static void moved(void *ctx, struct pc_native_link *link)
{
	struct pc_native_glue *g = ctx;
	const struct pc_native_path *path = pc_native_path(link);
	char addr[PC_ADDR_STRLEN];

	pc_native_known(g, link);
	pc_debug("native peer %s is at %s now", name_of(g, link),
		 pc_addr_format(&path->remote, addr));
	pc_hub_moved(g->hub, link, g->now);
}

static void message(void *ctx, struct pc_native_link *link, const struct pc_native_msg *msg)
{
	struct pc_native_glue *g = ctx;

	pc_hub_message(g->hub, link, msg, g->now);
}

static void drop(void *ctx, enum pc_native_drop reason)
{
	struct pc_native_glue *g = ctx;
	char addr[PC_ADDR_STRLEN];

	g->reasons[reason_of[reason]]++;
	if (g->from && reason == PC_NATIVE_DROP_UNTRUSTED && g->trusted)
		pc_log_limited(&g->refused_log, g->now, PC_LOG_WARNING,
			       "native peer %s at %s refused: it came without its pre-shared key",
			       g->trusted, pc_addr_format(&g->from->remote, addr));
	/* The others come of anybody's garbage; trust is told of where it is asked for. */
	if (g->from && (reason == PC_NATIVE_DROP_HANDSHAKE || reason == PC_NATIVE_DROP_FULL))
		pc_log_limited(&g->refused_log, g->now, PC_LOG_WARNING,
			       "native handshake from %s refused: %s",
			       pc_addr_format(&g->from->remote, addr),
			       reason == PC_NATIVE_DROP_FULL
				       ? "no room for another peer (native-peers)"
				       : "wrong key, or a statement that is not valid now");
}

static void fill_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	randombytes_buf(buf, len);
}

static const struct pc_native_ops native_ops = {
	.send = send_frame,
	.trusted = trusted,
	.psk = psk_of,
	.up = up,
	.down = down,
	.moved = moved,
	.message = message,
	.drop = drop,
	.random = fill_random,
};

void pc_native_glue_input(void *ctx, const struct pc_native_path *path, struct pc_dgram *d,
			  uint64_t now, uint64_t realtime_s)
{
	struct pc_native_glue *g = ctx;

	g->now = now;
	if (path->listener == PC_IO_NO_LISTENER) {
		pc_native_port_input(g, path, d);
		return;
	}
	if (d->data[0] == PC_NATIVE_PIPE) {
		pc_native_pipe_input(g, path, d);
		return;
	}
	g->from = path;
	g->trusted = NULL;
	pc_native_input(g->n, path, d->data, d->len, now, clock_s(realtime_s));
	g->from = NULL;
}

/* --- time --- */

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_native_glue *g = w->data;

	(void)loop;
	(void)events;
	g->deadline = UINT64_MAX;
	g->now = pc_clock_monotonic();
	pc_native_tick(g->n, g->now);
	pc_hub_tick(g->hub, g->now);
}

static void on_meter(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_native_glue *g = w->data;

	(void)loop;
	(void)events;
	g->now = pc_clock_monotonic();
	pc_native_pipes_meter(g);
}

/* Before the loop sleeps: woken when one of the two wants to be. */
static void on_prepare(struct ev_loop *loop, struct ev_prepare *w, int events)
{
	struct pc_native_glue *g = w->data;
	uint64_t native = pc_native_next_deadline(g->n), hub = pc_hub_next_deadline(g->hub);
	uint64_t deadline = native < hub ? native : hub, now;

	(void)events;
	if (deadline == g->deadline)
		return;
	g->deadline = deadline;
	ev_timer_stop(loop, &g->timer);
	if (deadline == UINT64_MAX)
		return;
	now = pc_clock_monotonic();
	ev_now_update(loop);
	ev_timer_set(&g->timer,
		     deadline > now ? (double)(deadline - now) / (double)PC_NS_PER_S : 0., 0.);
	ev_timer_start(loop, &g->timer);
}

/* --- identity --- */

/* Without a clock it says for ever: who checks it has one, or does not judge times either. */
static void make_statement(struct pc_native_glue *g, const uint8_t static_public[static 32],
			   uint8_t ret[static PC_STATEMENT_LEN])
{
	uint64_t now_s = pc_native_clock_s();
	uint64_t from_s = now_s ? now_s - STATEMENT_BEFORE_S : 0;
	uint64_t until_s = now_s ? now_s + STATEMENT_S : UINT64_MAX;

	if (!now_s)
		pc_warning("the clock was never set: native peers are not judged by the times of "
			   "their statements, and grants are refused");
	pc_statement_make(g->d->identity.secret_key, static_public, from_s, until_s, ret);
	g->statement_end_s = now_s ? until_s : 0;
}

void pc_native_glue_minute(struct pc_native_glue *g)
{
	uint64_t now_s = pc_native_clock_s();
	uint8_t statement[PC_STATEMENT_LEN];

	pc_native_glue_resync(g);
	/* The clock may have been set meanwhile, to either side. */
	if (now_s == 0 ||
	    (g->statement_end_s > now_s && g->statement_end_s - now_s > STATEMENT_S / 2 &&
	     g->statement_end_s - now_s <= STATEMENT_S))
		return;
	make_statement(g, g->static_public, statement);
	pc_native_set_statement(g->n, statement);
}

/* What an identity makes anew. */
struct machine {
	struct pc_native *n;
	struct pc_hub *hub;
	uint8_t static_public[32];
};

static void close_machine(struct machine *m)
{
	pc_hub_free(m->hub);
	pc_native_free(m->n);
	*m = (struct machine){ 0 };
}

static int open_machine(struct pc_native_glue *g, struct machine *ret_machine)
{
	const struct pc_config *c = &g->d->config;
	struct pc_native_config config = {
		.max_links = c->native_peers,
		.handshakes_per_s = c->native_handshakes,
		.source_handshakes_per_s = c->native_source_handshakes,
	};
	const struct pc_hub_config hub = {
		.max_pipes = c->max_pipes,
		.max_pipes_per_peer = c->native_peer_pipes,
		.register_lifetime_s = REGISTER_S,
		.mtu = PIPE_MTU,
	};
	struct machine m = { 0 };
	struct pc_noise_keypair pair;
	int r;

	g->now = pc_clock_monotonic();
	memcpy(config.identity, g->d->identity.public_key, sizeof(config.identity));
	pc_identity_static_secret(&g->d->identity, config.static_secret);
	pc_noise_keypair(config.static_secret, &pair);
	memcpy(m.static_public, pair.public_key, sizeof(m.static_public));
	make_statement(g, m.static_public, config.statement);
	r = pc_native_new(&config, &native_ops, g, g->now, &m.n);
	if (r == 0)
		r = pc_hub_new(&hub, m.n, &pc_native_hub_ops, g, g->now, &m.hub);
	pc_noise_wipe(&config, sizeof(config));
	pc_noise_wipe(&pair, sizeof(pair));
	if (r)
		close_machine(&m);
	else
		*ret_machine = m;
	return r;
}

static void take_machine(struct pc_native_glue *g, const struct machine *m)
{
	g->n = m->n;
	g->hub = m->hub;
	memcpy(g->static_public, m->static_public, sizeof(g->static_public));
	g->deadline = 0; /* of the old one: looked at again before the loop sleeps */
}

int pc_native_glue_identity(struct pc_native_glue *g)
{
	struct machine old = { .n = g->n, .hub = g->hub }, fresh;
	int r = open_machine(g, &fresh);

	if (r)
		return r;
	pc_native_close_all(g->n, PC_NATIVE_R_GONE, g->now);
	close_machine(&old);
	take_machine(g, &fresh);
	return 0;
}

/* --- what the daemon asks --- */

void pc_native_glue_shutdown(struct pc_native_glue *g)
{
	g->now = pc_clock_monotonic();
	pc_native_close_all(g->n, PC_NATIVE_R_SHUTDOWN, g->now);
}

void pc_native_glue_peer(const struct pc_native_glue *g, const uint8_t identity[static 32],
			 struct pc_native_glue_peer *ret_peer)
{
	const struct pc_native_link *link = g ? pc_native_find(g->n, identity) : NULL;

	*ret_peer = (struct pc_native_glue_peer){ 0 };
	if (!link || !pc_native_is_up(link))
		return;
	ret_peer->up = true;
	ret_peer->registered = pc_hub_registered(g->hub, identity);
	ret_peer->remote = pc_native_path(link)->remote;
}

void pc_native_glue_get_stats(const struct pc_native_glue *g,
			      struct pc_native_glue_stats *ret_stats)
{
	*ret_stats = (struct pc_native_glue_stats){ 0 };
	if (!g)
		return;
	pc_native_get_stats(g->n, &ret_stats->native);
	pc_hub_get_stats(g->hub, &ret_stats->hub);
	ret_stats->pipes = pc_native_glue_pipes(g);
	memcpy(ret_stats->grants, g->grants, sizeof(ret_stats->grants));
	ret_stats->grants_ended = g->grants_ended;
}

/* --- life --- */

int pc_native_glue_new(struct pc_daemon *d, struct pc_native_glue **ret_glue)
{
	struct pc_native_glue *g = calloc(1, sizeof(*g));
	struct machine m;
	int r;

	if (!g)
		return -ENOMEM;
	g->d = d;
	g->reasons = pc_dp_reasons_user(d->dp);
	g->refused_log = (struct pc_log_limit){ .interval_ns = 60 * PC_NS_PER_S, .burst = 10 };
	g->grant_log = (struct pc_log_limit){ .interval_ns = 60 * PC_NS_PER_S, .burst = 10 };
	g->full_log = (struct pc_log_limit){ .interval_ns = 60 * PC_NS_PER_S, .burst = 1 };
	g->limit_ns = UINT64_MAX;
	r = pc_htab_init(&g->tenants, 16);
	if (r == 0)
		r = pc_native_known_init(g);
	if (r == 0)
		r = open_machine(g, &m);
	if (r) {
		pc_htab_free(&g->tenants);
		pc_native_known_free(g);
		free(g);
		return r;
	}
	take_machine(g, &m);
	ev_timer_init(&g->timer, on_timer, 0., 0.);
	g->timer.data = g;
	ev_timer_init(&g->meter_timer, on_meter, METER_S, METER_S);
	g->meter_timer.data = g;
	ev_timer_start(d->loop, &g->meter_timer);
	ev_prepare_init(&g->prepare, on_prepare);
	g->prepare.data = g;
	ev_prepare_start(d->loop, &g->prepare);
	*ret_glue = g;
	return 0;
}

void pc_native_glue_free(struct pc_native_glue *g)
{
	struct machine m;

	if (!g)
		return;
	ev_timer_stop(g->d->loop, &g->timer);
	ev_timer_stop(g->d->loop, &g->meter_timer);
	ev_prepare_stop(g->d->loop, &g->prepare);
	m = (struct machine){ .n = g->n, .hub = g->hub };
	/* The data plane keeps the pipes: whoever comes after us goes on with them. */
	g->leaving = true;
	close_machine(&m);
	pc_native_tenants_free(g);
	pc_native_known_free(g);
	free(g);
}
