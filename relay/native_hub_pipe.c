/* SPDX-License-Identifier: MIT */
/* Pipes of the hub: indices, keys, and both ends told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/siphash.h"
#include "relay/native_hub_int.h"
#include "relay/noise.h"

#define BIT(f) (1u << PC_NATIVE_F_##f)

/* --- by our index --- */

static uint64_t in_hash(const struct pc_hub *h, uint32_t in)
{
	return pc_siphash24(h->hash_key, &in, sizeof(in));
}

static struct hub_side *side_find(const struct pc_hub *h, uint32_t in)
{
	struct pc_hnode *node = pc_htab_first(&h->by_in, in_hash(h, in));

	for (; node; node = pc_htab_next(node)) {
		struct hub_side *side = pc_container_of(node, struct hub_side, by_in);

		if (side->in == in)
			return side;
	}
	return NULL;
}

struct pc_hub_pipe *pc_hub_pipe_find(const struct pc_hub *h, uint32_t in, unsigned int *ret_end)
{
	struct hub_side *side = side_find(h, in);

	if (!side)
		return NULL;
	*ret_end = side == &side->p->sides[1];
	return &side->p->pipe;
}

struct hub_pipe *pc_hub_pipe_of(const struct pc_hub *h, const struct pc_native_link *link,
				uint32_t in, unsigned int *ret_end)
{
	struct hub_side *side = side_find(h, in);
	unsigned int end;

	/* Knowing an index is not enough: it must be the peer's own end. */
	if (!side)
		return NULL;
	end = side == &side->p->sides[1];
	if (side->p->pipe.ends[end].link != link)
		return NULL;
	*ret_end = end;
	return side->p;
}

/* @in 0: a new one. */
static void side_add(struct pc_hub *h, struct hub_pipe *p, unsigned int end, uint32_t in)
{
	struct hub_side *side = &p->sides[end];

	while (in == 0 || side_find(h, in))
		h->ops->random(h->ctx, &in, sizeof(in));
	side->p = p;
	side->in = in;
	p->pipe.ends[end].in = in;
	pc_htab_insert(&h->by_in, &side->by_in, in_hash(h, in));
}

/* --- keeping --- */

static void on_lapse(struct pc_timer *timer, uint64_t now)
{
	struct hub_side *side = pc_container_of(timer, struct hub_side, timer);

	side->p->hub->now = now;
	pc_hub_pipe_end(side->p->hub, side->p, NULL, PC_NATIVE_R_GONE);
}

/* A peer's end is its for so many lifetimes of a registration; a port's is for ever. */
static void keep_side(struct pc_hub *h, struct hub_pipe *p, unsigned int end, unsigned int n)
{
	struct hub_side *side = &p->sides[end];

	if (sodium_is_zero(p->pipe.ends[end].peer, sizeof(p->pipe.ends[end].peer)))
		return;
	side->timer.fn = on_lapse;
	pc_timer_set(h->timers, &side->timer,
		     h->now + n * h->config.register_lifetime_s * PC_NS_PER_S);
}

/* The index is nobody's here: whoever has it had it of a hub that is no more. */
static void tell_gone(struct pc_hub *h, struct pc_native_link *link, uint32_t pipe)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_CLOSE,
				     .has = BIT(PIPE_TO) | BIT(REASON),
				     .pipe_to = pipe,
				     .reason = PC_NATIVE_R_GONE };

	pc_hub_send(h, link, &msg);
}

/* After a restart. */
static void come_back(struct hub_pipe *p, unsigned int i, struct hub_peer *peer)
{
	struct pc_hub_end *end = &p->pipe.ends[i];

	end->link = peer->link;
	end->path = *pc_native_path(peer->link);
	if (i)
		return;
	p->owner = peer;
	peer->n_held++;
}

void pc_hub_take_keep(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg)
{
	struct hub_side *side = side_find(h, msg->pipe_to);
	struct hub_pipe *p = side ? side->p : NULL;
	unsigned int i = p && side == &p->sides[1];
	struct pc_hub_end *end = p ? &p->pipe.ends[i] : NULL;
	uint16_t reason = 0;

	if (!p || end->out != msg->pipe ||
	    memcmp(end->peer, pc_native_identity(peer->link), sizeof(end->peer)) != 0) {
		tell_gone(h, peer->link, msg->pipe);
		return;
	}
	keep_side(h, p, i, PC_HUB_KEEPS);
	if (!end->link)
		come_back(p, i, peer);
	else if (i || !PC_NATIVE_HAS(msg, PC_NATIVE_F_GRANT))
		return;
	/* Who asked for it may show another grant, and has to show its own to another daemon. */
	if (i == 0)
		reason = pc_hub_grant_judge(h, peer, msg, &p->pipe.until_ns);
	if (!reason && h->ops->pipe_set(h->ctx, &p->pipe, true) < 0)
		reason = PC_NATIVE_R_FULL;
	if (reason)
		pc_hub_pipe_end(h, p, NULL, reason);
	else
		pc_hub_grant_watch(h, p);
}

/* --- making --- */

static struct hub_pipe *pipe_new(struct pc_hub *h, struct hub_peer *owner, uint32_t in0,
				 uint32_t in1)
{
	struct hub_pipe *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->hub = h;
	p->owner = owner;
	if (owner)
		owner->n_held++;
	h->stats.pipes++;
	side_add(h, p, 0, in0);
	side_add(h, p, 1, in1);
	p->next = h->pipes;
	p->pprev = &h->pipes;
	if (p->next)
		p->next->pprev = &p->next;
	h->pipes = p;
	return p;
}

static void pipe_free(struct pc_hub *h, struct hub_pipe *p)
{
	pc_timer_cancel(&p->grant_timer);
	for (unsigned int end = 0; end < 2; end++) {
		pc_timer_cancel(&p->sides[end].timer);
		pc_htab_remove(&h->by_in, &p->sides[end].by_in);
	}
	*p->pprev = p->next;
	if (p->next)
		p->next->pprev = p->pprev;
	if (p->owner)
		p->owner->n_held--;
	h->stats.pipes--;
	pc_noise_wipe(p, sizeof(*p));
	free(p);
}

/* The end of @link, which names its own index @out. */
static int fill_end(struct pc_hub_end *end, struct pc_native_link *link, uint32_t out)
{
	int rc;

	end->link = link;
	memcpy(end->peer, pc_native_identity(link), sizeof(end->peer));
	end->path = *pc_native_path(link);
	end->out = out;
	rc = pc_pipe_hop_key(link, end->in, true, end->in_key);
	return rc < 0 ? rc : pc_pipe_hop_key(link, end->out, true, end->out_key);
}

static void tell_opened(struct pc_hub *h, const struct pc_hub_pipe *pipe, unsigned int end,
			uint32_t call)
{
	const struct pc_hub_end *to = &pipe->ends[end], *other = &pipe->ends[!end];
	struct pc_native_msg msg = { .type = PC_NATIVE_OPENED,
				     .has = BIT(CALL) | BIT(PIPE) | BIT(PIPE_TO) | BIT(PEER) |
					    BIT(MTU),
				     .call = call,
				     .pipe = to->in,
				     .pipe_to = to->out,
				     .peer = pc_native_identity(other->link),
				     .mtu = h->config.mtu };

	pc_hub_send(h, to->link, &msg);
}

int pc_hub_pipe_open(struct pc_hub *h, const struct hub_call *call, uint32_t callee_pipe)
{
	struct hub_pipe *p = pipe_new(h, call->caller, 0, 0);
	int rc;

	if (!p)
		return -ENOMEM;
	p->pipe.until_ns = call->until_ns;
	rc = fill_end(&p->pipe.ends[0], call->caller->link, call->caller_pipe);
	if (rc == 0)
		rc = fill_end(&p->pipe.ends[1], call->callee->link, callee_pipe);
	/* Frames are forwarded before anybody is told to send some. */
	if (rc == 0)
		rc = h->ops->pipe_set(h->ctx, &p->pipe, false);
	if (rc < 0) {
		pipe_free(h, p);
		return rc;
	}
	keep_side(h, p, 0, PC_HUB_KEEPS);
	keep_side(h, p, 1, PC_HUB_KEEPS);
	pc_hub_grant_watch(h, p);
	tell_opened(h, &p->pipe, 0, call->caller_call);
	tell_opened(h, &p->pipe, 1, call->id);
	return 0;
}

int pc_hub_port_open(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg,
		     uint64_t until_ns)
{
	struct pc_native_msg reply = { .type = PC_NATIVE_ALLOCATED,
				       .has = BIT(CALL) | BIT(PIPE) | BIT(PIPE_TO) | BIT(RELAYED) |
					      BIT(LIFETIME) | BIT(MTU),
				       .call = msg->call,
				       .lifetime_s = h->config.register_lifetime_s,
				       .mtu = h->config.mtu };
	struct hub_pipe *p = pipe_new(h, peer, 0, 0);
	struct pc_hub_end *port;
	int rc;

	if (!p)
		return -ENOMEM;
	p->pipe.until_ns = until_ns;
	port = &p->pipe.ends[1];
	port->remote = msg->remote;
	rc = fill_end(&p->pipe.ends[0], peer->link, msg->pipe);
	if (rc == 0)
		rc = h->ops->port_open(h->ctx, &p->pipe, &port->remote, &port->relayed);
	if (rc == 0)
		rc = h->ops->pipe_set(h->ctx, &p->pipe, false);
	if (rc < 0) {
		/* The owner closes a port with its pipe. */
		if (port->relayed.ip.family)
			h->ops->pipe_del(h->ctx, &p->pipe);
		pipe_free(h, p);
		return rc;
	}
	keep_side(h, p, 0, PC_HUB_KEEPS);
	pc_hub_grant_watch(h, p);
	reply.pipe = p->pipe.ends[0].in;
	reply.pipe_to = p->pipe.ends[0].out;
	reply.relayed = port->relayed;
	pc_hub_send(h, peer->link, &reply);
	return 0;
}

int pc_hub_adopt(struct pc_hub *h, const struct pc_hub_pipe *pipe, uint64_t now,
		 struct pc_hub_pipe **ret_pipe)
{
	const struct pc_hub_end *ends = pipe->ends;
	struct hub_pipe *p;

	h->now = now;
	if (ends[0].in == ends[1].in || side_find(h, ends[0].in) || side_find(h, ends[1].in))
		return PC_ERR_EXISTS;
	if (h->stats.pipes >= h->config.max_pipes)
		return PC_ERR_FULL;
	p = pipe_new(h, NULL, ends[0].in, ends[1].in);
	if (!p)
		return -ENOMEM;
	p->pipe = *pipe;
	keep_side(h, p, 0, 1);
	keep_side(h, p, 1, 1);
	pc_hub_grant_watch(h, p);
	*ret_pipe = &p->pipe;
	return 0;
}

/* --- ending --- */

void pc_hub_pipe_end(struct pc_hub *h, struct hub_pipe *p, const struct pc_native_link *not_to,
		     uint16_t reason)
{
	h->ops->pipe_del(h->ctx, &p->pipe);
	for (unsigned int end = 0; end < 2; end++) {
		const struct pc_hub_end *e = &p->pipe.ends[end];
		struct pc_native_msg msg = { .type = PC_NATIVE_CLOSE,
					     .has = BIT(PIPE_TO) | BIT(REASON),
					     .pipe_to = e->out,
					     .reason = reason };

		if (e->link && e->link != not_to)
			pc_hub_send(h, e->link, &msg);
	}
	pipe_free(h, p);
}

void pc_hub_pipe_close(struct pc_hub *h, struct pc_hub_pipe *pipe, uint16_t reason, uint64_t now)
{
	h->now = now;
	pc_hub_pipe_end(h, pc_container_of(pipe, struct hub_pipe, pipe), NULL, reason);
}

void pc_hub_moved(struct pc_hub *h, struct pc_native_link *link, uint64_t now)
{
	struct hub_pipe *p, *next;

	h->now = now;
	for (p = h->pipes; p; p = next) {
		bool moved = false;

		next = p->next;
		for (unsigned int end = 0; end < 2; end++) {
			if (p->pipe.ends[end].link != link)
				continue;
			p->pipe.ends[end].path = *pc_native_path(link);
			moved = true;
		}
		if (moved && h->ops->pipe_set(h->ctx, &p->pipe, true) < 0)
			pc_hub_pipe_end(h, p, NULL, PC_NATIVE_R_FULL);
	}
}

int pc_hub_meter(struct pc_hub *h, const struct pc_hub_pipe *pipe, unsigned int end, uint64_t up,
		 uint64_t down, uint64_t now)
{
	const struct pc_hub_end *e = &pipe->ends[end];
	struct pc_native_msg msg = { .type = PC_NATIVE_METER,
				     .has = BIT(PIPE_TO) | BIT(UP) | BIT(DOWN),
				     .pipe_to = e->out,
				     .up = up,
				     .down = down };

	h->now = now;
	return e->link ? pc_native_send(h->n, e->link, &msg, now) : PC_ERR_STATE;
}
