/* SPDX-License-Identifier: MIT */
/*
 * Ways to a peer. A direct one is good when a probe of ours was answered on it; a pipe is good
 * until it is known not to be. Only a way that data takes is watched closely: one that says nothing
 * while nothing is said costs nothing.
 */
#include "relay/native_e2e_int.h"

struct pc_e2e_way *pc_e2e_way_at(struct pc_e2e_peer *p, uint32_t listener,
				 const struct pc_addr *remote)
{
	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		struct pc_e2e_way *way = &p->ways[i];

		if (way->used && !way->pipe && way->listener == listener &&
		    pc_addr_equal(&way->remote, remote))
			return way;
	}
	return NULL;
}

/* A place that is free, or that of a direct way which never answered. */
struct pc_e2e_way *pc_e2e_way_add(struct pc_e2e_peer *p)
{
	struct pc_e2e_way *way = NULL;

	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		struct pc_e2e_way *w = &p->ways[i];

		if (!w->used) {
			way = w;
			break;
		}
		if (!w->pipe && !w->was_good && w != p->way && (!way || w->tries > way->tries))
			way = w;
	}
	if (!way)
		return NULL;
	memset(way, 0, sizeof(*way));
	way->used = true;
	way->peer = p;
	way->probe_ns = UINT64_MAX;
	return way;
}

int pc_e2e_add_pipe(struct pc_e2e *e, struct pc_agent_pipe *pipe, void *user, uint64_t now,
		    struct pc_e2e_way **ret_way)
{
	struct pc_e2e_peer *p;
	struct pc_e2e_way *way;
	int rc = pc_e2e_peer_get(e, pipe->peer, &p);

	e->now = now;
	if (rc < 0)
		return rc;
	way = pc_e2e_way_add(p);
	if (!way)
		return PC_ERR_FULL;
	way->pipe = pipe;
	way->user = user;
	way->good = true;
	*ret_way = way;
	/* A peer that was started again knows nothing of the session that we may have. */
	if (pipe->call &&
	    (!p->link || (pc_native_is_up(p->link) && now - p->heard_ns >= E2E_STALE_NS)))
		pc_e2e_begin(p);
	if (p->link && pc_native_is_up(p->link))
		pc_e2e_way_probe(way);
	pc_e2e_way_choose(p);
	pc_e2e_arm(p);
	return 0;
}

void pc_e2e_remove(struct pc_e2e_way *way, uint64_t now)
{
	struct pc_e2e_peer *p = way->peer;

	p->e->now = now;
	if (p->e->came == way)
		p->e->came = NULL;
	way->used = false;
	way->good = false;
	way->pipe = NULL;
	if (p->way == way) {
		p->way = NULL;
		pc_e2e_way_choose(p);
	}
	if (!pc_e2e_drop_if_idle(p))
		pc_e2e_arm(p);
}

void pc_e2e_candidates(struct pc_e2e_peer *p, uint32_t listener, const struct pc_addr *list,
		       unsigned int n, uint64_t now)
{
	p->e->now = now;
	for (unsigned int i = 0; i < n; i++) {
		struct pc_e2e_way *way = pc_e2e_way_at(p, listener, &list[i]);

		if (list[i].port == 0 || pc_ip_is_any(&list[i].ip))
			continue;
		if (!way) {
			way = pc_e2e_way_add(p);
			if (!way)
				break;
			way->listener = listener;
			way->remote = list[i];
		}
		if (!way->good) {
			way->tries = 0;
			way->probe_ns = now;
		}
	}
	pc_e2e_arm(p);
}

/* --- probes --- */

void pc_e2e_way_probe(struct pc_e2e_way *way)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_HEARTBEAT, .has = 1u << PC_NATIVE_F_TOKEN };
	unsigned int i = way->n_tokens % PC_E2E_TOKENS;
	struct pc_e2e_peer *p = way->peer;
	struct pc_e2e *e = p->e;

	if (!p->link || !pc_native_is_up(p->link))
		return;
	e->ops->random(e->ctx, &msg.token, sizeof(msg.token));
	way->n_tokens++;
	way->tokens[i] = msg.token;
	way->sent_ns[i] = e->now;
	way->tries++;
	if (!way->asked_ns)
		way->asked_ns = e->now;
	e->probing = way;
	pc_native_send(e->n, p->link, &msg, e->now);
	e->probing = NULL;
}

void pc_e2e_way_heard(struct pc_e2e_way *way)
{
	struct pc_e2e_peer *p = way->peer;

	way->heard_ns = p->e->now;
	p->heard_ns = p->e->now;
	/* That a direct way brings something does not say that it takes something. */
	if (!way->pipe)
		return;
	way->asked_ns = 0;
	if (!way->good) {
		way->good = true;
		pc_e2e_way_choose(p);
	}
}

void pc_e2e_way_alive(struct pc_e2e_way *way, uint64_t token)
{
	struct pc_e2e_peer *p = way->peer;
	unsigned int i = 0;

	while (i < PC_E2E_TOKENS && (i >= way->n_tokens || way->tokens[i] != token))
		i++;
	if (i == PC_E2E_TOKENS)
		return;
	way->asked_ns = 0;
	way->rtt_ns = p->e->now - way->sent_ns[i];
	if (way->sent_ns[i] > way->proven_ns)
		way->proven_ns = way->sent_ns[i];
	if (way->pipe)
		return;
	way->answers++;
	way->tries = 0;
	if (!way->good && (!way->was_good || way->answers >= E2E_RETURN)) {
		way->good = way->was_good = true;
		pc_e2e_way_choose(p);
	}
}

/* --- which one --- */

struct pc_e2e_way *pc_e2e_way_any(struct pc_e2e_peer *p)
{
	struct pc_e2e_way *best = p->way && p->way->good ? p->way : NULL;

	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS && !best; i++) {
		if (p->ways[i].used && p->ways[i].good)
			best = &p->ways[i];
	}
	/* Better a pipe that fell silent than none. */
	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS && !best; i++) {
		if (p->ways[i].used && p->ways[i].pipe)
			best = &p->ways[i];
	}
	return best;
}

static bool better(const struct pc_e2e_way *a, const struct pc_e2e_way *b)
{
	if (!b || !a->pipe != !b->pipe)
		return !b || !a->pipe;
	return a->pipe ? a->heard_ns > b->heard_ns : a->rtt_ns < b->rtt_ns;
}

static void use(struct pc_e2e_peer *p, struct pc_e2e_way *way)
{
	if (p->way == way)
		return;
	p->way = way;
	p->e->stats.moves++;
	if (way->pipe)
		way->asked_ns = 0;
	p->e->ops->moved(p->e->ctx, p);
}

/* The way in use stays, unless it is bad, or a pipe where there is a direct one. */
void pc_e2e_way_choose(struct pc_e2e_peer *p)
{
	struct pc_e2e_way *best = p->way && p->way->good ? p->way : NULL;

	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		struct pc_e2e_way *w = &p->ways[i];

		if (!w->used || !w->good || w == best)
			continue;
		if (best && best == p->way && !best->pipe == !w->pipe)
			continue;
		if (better(w, best))
			best = w;
	}
	if (best)
		use(p, best);
}

void pc_e2e_way_follow(struct pc_e2e_way *way)
{
	struct pc_e2e_peer *p = way->peer;

	/* Pipe to pipe: the other side has left this one, and may know why. */
	if (way->pipe && p->way && p->way->pipe && p->way != way &&
	    p->e->now - p->way->heard_ns >= E2E_QUIET_NS)
		use(p, way);
}

/* --- time --- */

static bool flowing(const struct pc_e2e_peer *p)
{
	return p->sent_ns && p->e->now - p->sent_ns < E2E_FLOWING_NS;
}

static void fall_back(struct pc_e2e_way *way)
{
	struct pc_e2e_peer *p = way->peer;
	uint64_t since = way->proven_ns;

	way->good = false;
	way->answers = 0;
	way->tries = 0;
	if (p->way != way)
		return;
	pc_e2e_way_choose(p);
	if (p->way != way)
		pc_e2e_resend(p, p->way, since);
	else
		p->e->ops->silent(p->e->ctx, way);
}

void pc_e2e_way_start(struct pc_e2e_peer *p)
{
	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		struct pc_e2e_way *way = &p->ways[i];

		if (!way->used || way->pipe || way->good)
			continue;
		way->tries = 0;
		way->probe_ns = p->e->now;
	}
}

static void work_direct(struct pc_e2e_way *way)
{
	struct pc_e2e_peer *p = way->peer;
	uint64_t now = p->e->now;
	bool watched = way == p->way && flowing(p);

	if (way->good && way->asked_ns && now - way->asked_ns >= E2E_LOST_NS && way->tries >= 2)
		fall_back(way);
	if (now < way->probe_ns && !(watched && way->probe_ns - now > E2E_PROBE_NS))
		return;
	if (!way->good && way->tries >= E2E_TRIES) {
		way->used = false;
		if (p->way == way)
			p->way = NULL;
		return;
	}
	pc_e2e_way_probe(way);
	if (!way->good) /* ever slower: 50 ms, 100, ... 1 s */
		way->probe_ns = now + (way->tries < 20 ? way->tries : 20) * 50 * PC_NS_PER_MS;
	else
		way->probe_ns =
			now + (watched || way->asked_ns != now ? E2E_PROBE_NS : E2E_KEEPALIVE_NS);
}

static void work_pipe(struct pc_e2e_way *way)
{
	struct pc_e2e_peer *p = way->peer;
	uint64_t now = p->e->now;

	way->probe_ns = UINT64_MAX;
	if (way != p->way || !flowing(p) || !p->link || !pc_native_is_up(p->link))
		return;
	if (!way->asked_ns && now - way->heard_ns < E2E_QUIET_NS) {
		way->probe_ns = way->heard_ns + E2E_QUIET_NS;
		return;
	}
	if (way->good && way->asked_ns && now - way->asked_ns >= E2E_PIPE_LOST_NS) {
		way->good = false;
		pc_e2e_way_choose(p);
		p->e->ops->silent(p->e->ctx, way);
		if (!way->used)
			return;
	}
	pc_e2e_way_probe(way);
	way->probe_ns = now + E2E_PIPE_PROBE_NS;
}

void pc_e2e_way_work(struct pc_e2e_peer *p)
{
	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		struct pc_e2e_way *way = &p->ways[i];

		if (way->used && way->pipe)
			work_pipe(way);
		else if (way->used)
			work_direct(way);
	}
}

uint64_t pc_e2e_way_deadline(const struct pc_e2e_peer *p)
{
	uint64_t at = UINT64_MAX, now = p->e->now;

	for (unsigned int i = 0; i < PC_E2E_MAX_WAYS; i++) {
		const struct pc_e2e_way *way = &p->ways[i];
		uint64_t t = way->probe_ns;

		if (!way->used)
			continue;
		if (way == p->way && flowing(p)) {
			uint64_t soon = now + (way->pipe ? E2E_PIPE_PROBE_NS : E2E_PROBE_NS);

			t = t < soon ? t : soon;
		}
		at = t < at ? t : at;
	}
	return at;
}
