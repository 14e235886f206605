/* SPDX-License-Identifier: MIT */
/*
 * Data frames. One counter for everything that goes to a peer, on whatever way: so no nonce comes
 * twice under a key, and the window of an epoch finds what was sent on two ways.
 */
#include <stdlib.h>

#include "base/wire.h"
#include "relay/native_e2e_int.h"

bool pc_e2e_is_ready(const struct pc_e2e_peer *p, uint64_t now)
{
	return p->way && pc_e2e_epoch_usable(p->sealing, now);
}

const struct pc_e2e_way *pc_e2e_way(const struct pc_e2e_peer *p)
{
	return p->way;
}

static size_t room_of(const struct pc_e2e_way *way)
{
	size_t most = PC_PIPE_MAX_FRAME - PC_PIPE_HEADER;
	size_t mtu = way->pipe && way->pipe->mtu < most ? way->pipe->mtu : most;

	return mtu > PC_NOISE_TAGLEN ? mtu - PC_NOISE_TAGLEN : 0;
}

size_t pc_e2e_room(const struct pc_e2e_peer *p)
{
	return p->way ? room_of(p->way) : 0;
}

/* --- out --- */

void pc_e2e_send_inner(struct pc_e2e_peer *p, struct pc_e2e_way *way, const void *data, size_t len)
{
	uint8_t frame[PC_PIPE_HEADER + PC_NATIVE_MAX_FRAME];
	struct pc_pipe_frame f = { .flags = PC_PIPE_INNER, .payload_len = len };
	struct pc_e2e *e = p->e;
	struct pc_writer w;

	if (!way->pipe) {
		e->ops->send(e->ctx, way, data, len);
		return;
	}
	f.pipe = way->pipe->out;
	f.counter = ++p->counter;
	pc_writer_init(&w, frame + PC_PIPE_HEADER, sizeof(frame) - PC_PIPE_HEADER);
	pc_write_bytes(&w, data, len);
	if (w.failed)
		return;
	pc_pipe_write(frame, &f, way->pipe->out_key);
	e->ops->send(e->ctx, way, frame, PC_PIPE_HEADER + len);
}

/* Nobody says what arrived: all that was sent since the last proof is kept for another way. */
static void keep(struct pc_e2e_peer *p, const uint8_t *frame, size_t len, uint64_t now)
{
	struct e2e_sent *s;

	if (!p->ring)
		p->ring = calloc(E2E_RING, sizeof(*p->ring));
	if (!p->ring)
		return;
	s = &p->ring[p->ring_end++ % E2E_RING];
	s->at_ns = now;
	s->len = (uint16_t)len;
	memcpy(s->frame, frame, len);
}

int pc_e2e_seal(struct pc_e2e_peer *p, uint8_t *frame, size_t len, uint64_t now,
		struct pc_e2e_way **ret_way)
{
	const struct e2e_epoch *ep = p->sealing;
	struct pc_e2e_way *way = p->way;
	struct pc_pipe_frame f = { 0 };
	bool idle = now - p->sent_ns >= E2E_FLOWING_NS;
	int rc;

	if (!way || !pc_e2e_epoch_usable(ep, now))
		return PC_ERR_STATE;
	if (len > room_of(way))
		return PC_ERR_RANGE;
	f.flags = (uint8_t)(ep - p->epochs);
	f.pipe = way->pipe ? way->pipe->out : ep->out;
	f.counter = ++p->counter;
	rc = pc_pipe_seal(frame, &f, ep->send, way->pipe ? way->pipe->out_key : ep->out_key,
			  frame + PC_PIPE_HEADER, len);
	if (rc < 0)
		return rc;
	p->sent_ns = now;
	p->e->now = now;
	p->e->stats.sealed++;
	if (!way->pipe) {
		p->e->stats.sealed_direct++;
		keep(p, frame, PC_PIPE_OVERHEAD + len, now);
	}
	/* From now on the way is watched; what was asked before proves nothing. */
	if (idle) {
		way->asked_ns = 0;
		pc_e2e_arm(p);
	}
	*ret_way = way;
	return 0;
}

void pc_e2e_resend(struct pc_e2e_peer *p, struct pc_e2e_way *way, uint64_t since)
{
	uint64_t i = p->ring_end > E2E_RING ? p->ring_end - E2E_RING : 0;

	for (; p->ring && i < p->ring_end; i++) {
		struct e2e_sent *s = &p->ring[i % E2E_RING];

		if (s->at_ns < since || s->len > PC_PIPE_OVERHEAD + room_of(way))
			continue;
		/* Counter, epoch and what they seal stay; only the hop is another one. */
		if (way->pipe)
			pc_pipe_forward(s->frame, s->len, way->pipe->out, way->pipe->out_key);
		p->e->ops->send(p->e->ctx, way, s->frame, s->len);
		p->e->stats.resent++;
	}
	if (way->pipe)
		p->ring_end = 0;
}

/* --- in --- */

/* Whoever seals with a later epoch has left those before. */
static void leave_earlier(struct pc_e2e_peer *p, const struct e2e_epoch *used, uint64_t now)
{
	bool any = false;

	for (unsigned int i = 0; i < E2E_EPOCHS; i++) {
		struct e2e_epoch *ep = &p->epochs[i];

		if (!ep->valid || ep->drop_ns || ep->order >= used->order)
			continue;
		ep->drop_ns = now + E2E_KEEP_NS;
		any = true;
	}
	if (any)
		pc_e2e_arm(p);
}

static int open_data(struct pc_e2e_peer *p, struct e2e_epoch *ep, const struct pc_pipe_frame *f,
		     const void *frame, uint64_t now, void *ret_plain)
{
	int rc;

	if (f->flags & PC_PIPE_INNER)
		return PC_ERR_MALFORMED;
	if (!pc_e2e_epoch_usable(ep, now) || (ep->drop_ns && now >= ep->drop_ns))
		return PC_ERR_STATE;
	if (!pc_replay_fresh(&ep->replay, f->counter))
		return PC_ERR_EXISTS;
	rc = pc_pipe_open(frame, f, ep->receive, ret_plain);
	if (rc < 0)
		return rc;
	pc_replay_accept(&ep->replay, f->counter);
	p->e->stats.opened++;
	leave_earlier(p, ep, now);
	return 0;
}

/* Where the latest data came from. */
static void came_on(struct pc_e2e_way *way, const struct e2e_epoch *ep, uint64_t counter)
{
	pc_e2e_way_heard(way);
	if (counter == ep->replay.last)
		pc_e2e_way_follow(way);
}

int pc_e2e_open(struct pc_e2e *e, struct pc_e2e_way *way, const struct pc_pipe_frame *f,
		const void *frame, uint64_t now, void *ret_plain)
{
	struct pc_e2e_peer *p = way->peer;
	struct e2e_epoch *ep = &p->epochs[f->flags & PC_PIPE_EPOCH];
	int rc = open_data(p, ep, f, frame, now, ret_plain);

	e->now = now;
	if (rc < 0) {
		e->stats.refused++;
		return rc;
	}
	came_on(way, ep, f->counter);
	return 0;
}

int pc_e2e_open_direct(struct pc_e2e *e, uint32_t listener, const struct pc_addr *from,
		       const void *frame, size_t len, uint64_t now, struct pc_e2e_peer **ret_peer,
		       void *ret_plain, size_t *ret_len)
{
	struct pc_pipe_frame f;
	struct pc_e2e_way *way;
	struct e2e_epoch *ep = NULL;
	int rc = pc_pipe_read(frame, len, &f);

	e->now = now;
	if (rc == 0) {
		ep = pc_e2e_epoch_find(e, f.pipe);
		rc = !ep ? PC_ERR_NOT_FOUND : 0;
	}
	if (rc == 0 && ((f.flags & PC_PIPE_EPOCH) != ep - ep->peer->epochs ||
			!pc_pipe_check(frame, len, ep->in_key)))
		rc = PC_ERR_AUTH;
	if (rc == 0)
		rc = open_data(ep->peer, ep, &f, frame, now, ret_plain);
	if (rc < 0) {
		e->stats.refused++;
		return rc;
	}
	e->stats.opened_direct++;
	way = pc_e2e_way_at(ep->peer, listener, from);
	if (way)
		came_on(way, ep, f.counter);
	*ret_peer = ep->peer;
	*ret_len = f.payload_len - PC_NOISE_TAGLEN;
	return 0;
}
