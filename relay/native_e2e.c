/* SPDX-License-Identifier: MIT */
#include "relay/native_e2e.h"

#include <errno.h>
#include <stdlib.h>

#include "base/siphash.h"
#include "relay/native_e2e_int.h"

/* --- peers --- */

struct pc_e2e_peer *pc_e2e_find(const struct pc_e2e *e, const uint8_t identity[static 32])
{
	struct pc_e2e_peer *p = e->peers;

	while (p && memcmp(p->identity, identity, 32) != 0)
		p = p->next;
	return p;
}

struct pc_e2e_peer *pc_e2e_next(const struct pc_e2e *e, const struct pc_e2e_peer *last)
{
	return last ? last->next : e->peers;
}

static void on_timer(struct pc_timer *timer, uint64_t now);

int pc_e2e_peer_get(struct pc_e2e *e, const uint8_t identity[static 32],
		    struct pc_e2e_peer **ret_peer)
{
	struct pc_e2e_peer *p = pc_e2e_find(e, identity);

	if (p) {
		*ret_peer = p;
		return 0;
	}
	if (e->n_peers >= e->max_peers)
		return PC_ERR_FULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->e = e;
	memcpy(p->identity, identity, 32);
	p->number = ++e->last_number;
	p->timer.fn = on_timer;
	p->next = e->peers;
	p->pprev = &e->peers;
	if (p->next)
		p->next->pprev = &p->next;
	e->peers = p;
	e->n_peers++;
	*ret_peer = p;
	return 0;
}

static void peer_free(struct pc_e2e_peer *p)
{
	pc_timer_cancel(&p->timer);
	for (unsigned int i = 0; i < E2E_EPOCHS; i++)
		pc_e2e_epoch_forget(&p->epochs[i]);
	*p->pprev = p->next;
	if (p->next)
		p->next->pprev = p->pprev;
	p->e->n_peers--;
	if (p->e->from == p)
		p->e->from = NULL;
	free(p->ring);
	pc_noise_wipe(p, sizeof(*p));
	free(p);
}

bool pc_e2e_drop_if_idle(struct pc_e2e_peer *p)
{
	if (p->link || p->in_work || pc_e2e_way_any(p))
		return false;
	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		if (p->ways[i].used)
			return false;
	}
	p->in_work = true;
	p->e->ops->gone(p->e->ctx, p);
	peer_free(p);
	return true;
}

void pc_e2e_end(struct pc_e2e_peer *p, uint16_t reason, uint64_t now)
{
	bool in_work = p->in_work;

	p->e->now = now;
	p->in_work = true;
	if (p->link)
		pc_native_close(p->e->n, p->link, reason, now);
	p->retry_ns = 0;
	p->in_work = in_work;
}

void pc_e2e_close(struct pc_e2e_peer *p, uint16_t reason, uint64_t now)
{
	struct pc_e2e *e = p->e;

	pc_e2e_end(p, reason, now);
	p->in_work = true;
	e->ops->gone(e->ctx, p);
	peer_free(p);
}

const uint8_t *pc_e2e_identity(const struct pc_e2e_peer *p)
{
	return p->identity;
}

void *pc_e2e_user(const struct pc_e2e_peer *p)
{
	return p->user;
}

void pc_e2e_set_user(struct pc_e2e_peer *p, void *user)
{
	p->user = user;
}

/* --- time --- */

void pc_e2e_arm(struct pc_e2e_peer *p)
{
	uint64_t at = pc_e2e_way_deadline(p), t = pc_e2e_epoch_deadline(p);

	at = t < at ? t : at;
	if (!p->link && p->retry_ns)
		at = p->retry_ns < at ? p->retry_ns : at;
	if (at == UINT64_MAX)
		pc_timer_cancel(&p->timer);
	else
		pc_timer_set(p->e->timers, &p->timer, at);
}

static void on_timer(struct pc_timer *timer, uint64_t now)
{
	struct pc_e2e_peer *p = pc_container_of(timer, struct pc_e2e_peer, timer);

	p->e->now = now;
	p->in_work = true;
	pc_e2e_epoch_expire(p, now);
	if (p->offer.open && now >= p->offer.retry_ns)
		pc_e2e_epoch_repeat(p);
	if (!p->link && p->retry_ns && now >= p->retry_ns)
		pc_e2e_begin(p);
	pc_e2e_way_work(p);
	p->in_work = false;
	if (!pc_e2e_drop_if_idle(p))
		pc_e2e_arm(p);
}

void pc_e2e_tick(struct pc_e2e *e, uint64_t now)
{
	e->now = now;
	pc_native_tick(e->n, now);
	pc_timers_run(e->timers, now);
}

uint64_t pc_e2e_next_deadline(const struct pc_e2e *e)
{
	uint64_t a = pc_native_next_deadline(e->n), b = pc_timers_next(e->timers);

	return a < b ? a : b;
}

/* --- sessions --- */

/* To the session machine a peer is one path, whatever ways there are. */
static struct pc_native_path path_of(const struct pc_e2e_peer *p)
{
	return (struct pc_native_path){ .pipe = p->number };
}

void pc_e2e_begin(struct pc_e2e_peer *p)
{
	struct pc_native_path path = path_of(p);
	struct pc_e2e *e = p->e;

	p->retry_ns = 0;
	if (!pc_e2e_way_any(p))
		return;
	e->from = p;
	if (pc_native_connect(e->n, p->identity, NULL, &path, e->now, &p->link) == 0)
		pc_native_set_user(p->link, p);
	e->from = NULL;
}

static struct pc_e2e_peer *by_number(const struct pc_e2e *e, uint32_t number)
{
	struct pc_e2e_peer *p = e->peers;

	while (p && p->number != number)
		p = p->next;
	return p;
}

static void on_send(void *ctx, const struct pc_native_path *path, const void *data, size_t len)
{
	struct pc_e2e *e = ctx;
	struct pc_e2e_peer *p = by_number(e, path->pipe);
	struct pc_e2e_way *way;

	if (!p)
		return;
	/* An answer goes where the question came from: that is what probes are about. */
	if (e->probing)
		way = e->probing;
	else if (e->came && e->from == p)
		way = e->came;
	else
		way = pc_e2e_way_any(p);
	if (way)
		pc_e2e_send_inner(p, way, data, len);
}

/* Who it is has to be who the pipe was opened with. */
static bool on_trusted(void *ctx, const uint8_t identity[static 32])
{
	struct pc_e2e *e = ctx;

	return e->from && memcmp(e->from->identity, identity, 32) == 0 &&
	       e->ops->trusted(e->ctx, identity);
}

static void on_up(void *ctx, struct pc_native_link *link, bool renewed)
{
	struct pc_e2e *e = ctx;
	struct pc_e2e_peer *p = pc_e2e_find(e, pc_native_identity(link));

	if (!p)
		return;
	p->link = link;
	p->wait_ns = 0;
	pc_native_set_user(link, p);
	if (pc_native_is_initiator(link))
		pc_e2e_epoch_offer(p);
	pc_e2e_way_start(p);
	pc_e2e_arm(p);
}

static void on_down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
	struct pc_e2e *e = ctx;
	struct pc_e2e_peer *p = pc_native_user(link);

	if (!p)
		return;
	p->link = NULL;
	p->offer.open = false;
	p->sealing = NULL;
	for (unsigned int i = 0; i < E2E_EPOCHS; i++)
		pc_e2e_epoch_forget(&p->epochs[i]);
	/* Who asked for a pipe goes on asking, ever more slowly. */
	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		if (!p->ways[i].used || !p->ways[i].pipe || !p->ways[i].pipe->call)
			continue;
		p->wait_ns = p->wait_ns ? p->wait_ns * 2 : E2E_RETRY_NS;
		if (p->wait_ns > E2E_RETRY_MAX_NS)
			p->wait_ns = E2E_RETRY_MAX_NS;
		p->retry_ns = e->now + p->wait_ns;
		break;
	}
	pc_e2e_arm(p);
	if (!p->in_work)
		e->ops->down(e->ctx, p, reason);
}

static void on_moved(void *ctx, struct pc_native_link *link)
{
}

static void on_heard(void *ctx, struct pc_native_link *link)
{
	struct pc_e2e *e = ctx;
	struct pc_e2e_peer *p = pc_native_user(link);
	struct pc_e2e_way *way = e->came;

	if (!p || !way || e->from != p)
		return;
	/* Somebody we know, from an address that nobody told us. */
	if (!way->used) {
		way = pc_e2e_way_add(p);
		if (!way)
			return;
		way->listener = e->came->listener;
		way->remote = e->came->remote;
		e->came = way;
		pc_e2e_way_heard(way);
		pc_e2e_way_probe(way);
		pc_e2e_arm(p);
		return;
	}
	pc_e2e_way_heard(way);
}

static void on_message(void *ctx, struct pc_native_link *link, const struct pc_native_msg *msg)
{
	struct pc_e2e *e = ctx;
	struct pc_e2e_peer *p = pc_native_user(link);

	if (!p)
		return;
	if (msg->type == PC_NATIVE_HELLO && PC_NATIVE_HAS(msg, PC_NATIVE_F_TOKEN))
		pc_e2e_epoch_hello(p, msg);
	else if (msg->type == PC_NATIVE_ALIVE && e->came && e->from == p)
		pc_e2e_way_alive(e->came, msg->token);
	pc_e2e_arm(p);
}

static void on_drop(void *ctx, enum pc_native_drop reason)
{
	struct pc_e2e *e = ctx;

	e->stats.refused++;
}

static void on_random(void *ctx, void *buf, size_t len)
{
	struct pc_e2e *e = ctx;

	e->ops->random(e->ctx, buf, len);
}

static const struct pc_native_ops native_ops = {
	.send = on_send,
	.trusted = on_trusted,
	.up = on_up,
	.down = on_down,
	.moved = on_moved,
	.message = on_message,
	.heard = on_heard,
	.drop = on_drop,
	.random = on_random,
};

/* --- what arrives --- */

static void take(struct pc_e2e *e, struct pc_e2e_peer *p, struct pc_e2e_way *way, const void *data,
		 size_t len, uint64_t realtime_s)
{
	struct pc_native_path path = path_of(p);

	e->from = p;
	e->came = way;
	pc_native_input(e->n, &path, data, len, e->now, realtime_s);
	e->from = NULL;
	e->came = NULL;
}

void pc_e2e_inner(struct pc_e2e *e, struct pc_e2e_way *way, const void *data, size_t len,
		  uint64_t now, uint64_t realtime_s)
{
	e->now = now;
	take(e, way->peer, way, data, len, realtime_s);
}

/* First and third messages say nothing of who sends them: only from addresses that are known. */
static struct pc_e2e_peer *peer_at(const struct pc_e2e *e, uint32_t listener,
				   const struct pc_addr *from)
{
	struct pc_e2e_peer *p = e->peers;

	while (p && !pc_e2e_way_at(p, listener, from))
		p = p->next;
	return p;
}

void pc_e2e_direct(struct pc_e2e *e, uint32_t listener, const struct pc_addr *from,
		   const void *data, size_t len, uint64_t now, uint64_t realtime_s)
{
	struct pc_native_link *link = pc_native_peek(e->n, data, len);
	struct pc_e2e_peer *p = link ? pc_native_user(link) : peer_at(e, listener, from);
	struct pc_e2e_way unknown = { .peer = p, .listener = listener, .remote = *from };
	struct pc_e2e_way *way = p ? pc_e2e_way_at(p, listener, from) : NULL;

	e->now = now;
	if (!p) {
		e->stats.refused++;
		return;
	}
	take(e, p, way ? way : &unknown, data, len, realtime_s);
}

/* --- life --- */

int pc_e2e_new(const struct pc_native_config *config, const struct pc_e2e_ops *ops, void *ctx,
	       uint64_t now, struct pc_e2e **ret_e2e)
{
	struct pc_native_config own = *config;
	struct pc_e2e *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return -ENOMEM;
	e->ops = ops;
	e->ctx = ctx;
	e->now = now;
	e->max_peers = config->max_links;
	memcpy(e->identity, config->identity, 32);
	ops->random(ctx, e->hash_key, sizeof(e->hash_key));
	own.heartbeat_ns = 0;
	rc = pc_htab_init(&e->by_in, 16);
	if (rc == 0)
		rc = pc_timers_new(now, &e->timers);
	if (rc == 0)
		rc = pc_native_new(&own, &native_ops, e, now, &e->n);
	pc_noise_wipe(&own, sizeof(own));
	if (rc < 0) {
		pc_e2e_free(e);
		return rc;
	}
	*ret_e2e = e;
	return 0;
}

void pc_e2e_free(struct pc_e2e *e)
{
	if (!e)
		return;
	pc_native_free(e->n);
	while (e->peers)
		peer_free(e->peers);
	pc_timers_free(e->timers);
	pc_htab_free(&e->by_in);
	free(e);
}

void pc_e2e_set_statement(struct pc_e2e *e, const uint8_t statement[static PC_STATEMENT_LEN])
{
	pc_native_set_statement(e->n, statement);
}

void pc_e2e_get_stats(const struct pc_e2e *e, struct pc_e2e_stats *ret_stats)
{
	*ret_stats = e->stats;
}
