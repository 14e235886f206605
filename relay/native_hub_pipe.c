/* SPDX-License-Identifier: MIT */
/* Pipes of the hub: indices, keys, and both ends told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static void side_add(struct pc_hub *h, struct hub_pipe *p, unsigned int end)
{
	struct hub_side *side = &p->sides[end];

	do
		h->ops->random(h->ctx, &side->in, sizeof(side->in));
	while (side->in == 0 || side_find(h, side->in));
	side->p = p;
	p->pipe.ends[end].in = side->in;
	pc_htab_insert(&h->by_in, &side->by_in, in_hash(h, side->in));
}

/* --- making --- */

static struct hub_pipe *pipe_new(struct pc_hub *h, struct hub_peer *owner)
{
	struct hub_pipe *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->owner = owner;
	owner->n_held++;
	h->stats.pipes++;
	side_add(h, p, 0);
	side_add(h, p, 1);
	p->next = h->pipes;
	p->pprev = &h->pipes;
	if (p->next)
		p->next->pprev = &p->next;
	h->pipes = p;
	return p;
}

static void pipe_free(struct pc_hub *h, struct hub_pipe *p)
{
	pc_htab_remove(&h->by_in, &p->sides[0].by_in);
	pc_htab_remove(&h->by_in, &p->sides[1].by_in);
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
	struct hub_pipe *p = pipe_new(h, call->caller);
	int rc;

	if (!p)
		return -ENOMEM;
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
	tell_opened(h, &p->pipe, 0, call->caller_call);
	tell_opened(h, &p->pipe, 1, call->id);
	return 0;
}

int pc_hub_port_open(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg)
{
	struct pc_native_msg reply = { .type = PC_NATIVE_ALLOCATED,
				       .has = BIT(CALL) | BIT(PIPE) | BIT(PIPE_TO) | BIT(RELAYED) |
					      BIT(LIFETIME) | BIT(MTU),
				       .call = msg->call,
				       .lifetime_s = h->config.register_lifetime_s,
				       .mtu = h->config.mtu };
	struct hub_pipe *p = pipe_new(h, peer);
	struct pc_hub_end *port;
	int rc;

	if (!p)
		return -ENOMEM;
	port = &p->pipe.ends[1];
	port->remote = msg->remote;
	rc = fill_end(&p->pipe.ends[0], peer->link, msg->pipe);
	if (rc == 0)
		rc = h->ops->port_open(h->ctx, peer->link, &port->remote, &port->relayed);
	if (rc == 0)
		rc = h->ops->pipe_set(h->ctx, &p->pipe, false);
	if (rc < 0) {
		/* The owner closes a port with its pipe. */
		if (port->relayed.ip.family)
			h->ops->pipe_del(h->ctx, &p->pipe);
		pipe_free(h, p);
		return rc;
	}
	reply.pipe = p->pipe.ends[0].in;
	reply.pipe_to = p->pipe.ends[0].out;
	reply.relayed = port->relayed;
	pc_hub_send(h, peer->link, &reply);
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
