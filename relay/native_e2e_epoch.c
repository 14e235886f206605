/* SPDX-License-Identifier: MIT */
/*
 * Epochs: each session of two peers brings keys for data, under a number that frames name. The
 * initiator of a session offers it; both can open from then on, and seal once the other one is
 * known to. Numbers of the two peers differ, so offers at the same time do not meet.
 */
#include "base/siphash.h"
#include "relay/native_e2e_int.h"

static uint64_t hash_of(const struct pc_e2e *e, uint32_t in)
{
	return pc_siphash24(e->hash_key, &in, sizeof(in));
}

struct e2e_epoch *pc_e2e_epoch_find(const struct pc_e2e *e, uint32_t in)
{
	struct pc_hnode *node = pc_htab_first(&e->by_in, hash_of(e, in));

	for (; node; node = pc_htab_next(node)) {
		struct e2e_epoch *ep = pc_container_of(node, struct e2e_epoch, by_in);

		if (ep->in == in)
			return ep;
	}
	return NULL;
}

void pc_e2e_epoch_forget(struct e2e_epoch *ep)
{
	if (!ep->valid)
		return;
	pc_htab_remove(&ep->peer->e->by_in, &ep->by_in);
	if (ep->peer->sealing == ep)
		ep->peer->sealing = NULL;
	pc_noise_wipe(ep, sizeof(*ep));
}

bool pc_e2e_epoch_usable(const struct e2e_epoch *ep, uint64_t now)
{
	return ep && ep->valid && now - ep->made_ns < PC_NATIVE_HARD_STOP;
}

/* The keys of the session that is up, or that carries what is being handled. */
static struct e2e_epoch *install(struct pc_e2e_peer *p, uint8_t number)
{
	struct e2e_epoch *ep = &p->epochs[number];
	uint32_t ours, theirs;

	if (pc_native_session(p->link, &ours, &theirs) < 0)
		return NULL;
	if (ep->valid && ep->in == ours)
		return ep; /* offered once more */
	pc_e2e_epoch_forget(ep);
	if (pc_pipe_data_keys(p->link, ep->send, ep->receive) < 0 ||
	    pc_pipe_hop_key(p->link, ours, false, ep->in_key) < 0 ||
	    pc_pipe_hop_key(p->link, theirs, false, ep->out_key) < 0)
		return NULL;
	ep->peer = p;
	ep->in = ours;
	ep->out = theirs;
	ep->made_ns = p->e->now;
	ep->order = ++p->orders;
	ep->valid = true;
	pc_htab_insert(&p->e->by_in, &ep->by_in, hash_of(p->e, ours));
	return ep;
}

static void use(struct pc_e2e_peer *p, struct e2e_epoch *ep)
{
	bool first = !p->sealing;

	p->sealing = ep;
	pc_e2e_way_choose(p);
	if (first)
		p->e->ops->ready(p->e->ctx, p);
}

static int say_hello(struct pc_e2e_peer *p, uint32_t session, uint8_t number)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_HELLO,
				     .has = 1u << PC_NATIVE_F_VERSION | 1u << PC_NATIVE_F_TOKEN,
				     .version = PC_NATIVE_PROTOCOL,
				     .token = number };

	return pc_native_send_in(p->e->n, p->link, session, &msg, p->e->now);
}

/* Even numbers for the lower identity, odd ones for the other. */
static uint8_t parity(const struct pc_e2e_peer *p, bool ours)
{
	bool lower = memcmp(p->e->identity, p->identity, 32) < 0;

	return lower == ours ? 0 : 1;
}

void pc_e2e_epoch_offer(struct pc_e2e_peer *p)
{
	uint8_t number = (uint8_t)(parity(p, true) + 2 * (p->offers++ & 1));
	struct e2e_epoch *ep = install(p, number);

	if (!ep)
		return;
	p->offer.open = true;
	p->offer.epoch = number;
	p->offer.session = ep->in;
	p->offer.wait_ns = E2E_OFFER_NS;
	p->offer.retry_ns = p->e->now + E2E_OFFER_NS;
	say_hello(p, ep->in, number);
}

void pc_e2e_epoch_repeat(struct pc_e2e_peer *p)
{
	/* The session is gone: a later one has an offer of its own. */
	if (!p->link || say_hello(p, p->offer.session, p->offer.epoch) < 0) {
		p->offer.open = false;
		return;
	}
	p->offer.wait_ns =
		p->offer.wait_ns * 2 < E2E_OFFER_MAX_NS ? p->offer.wait_ns * 2 : E2E_OFFER_MAX_NS;
	p->offer.retry_ns = p->e->now + p->offer.wait_ns;
}

void pc_e2e_epoch_hello(struct pc_e2e_peer *p, const struct pc_native_msg *msg)
{
	bool answer = pc_native_is_initiator(p->link);
	uint32_t ours, theirs;
	struct e2e_epoch *ep;

	if (msg->token >= E2E_EPOCHS || (msg->token & 1) != parity(p, answer) ||
	    pc_native_session(p->link, &ours, &theirs) < 0)
		return;
	if (answer) {
		if (!p->offer.open || msg->token != p->offer.epoch || ours != p->offer.session)
			return;
		p->offer.open = false;
		use(p, &p->epochs[p->offer.epoch]);
		return;
	}
	ep = install(p, (uint8_t)msg->token);
	if (!ep)
		return;
	say_hello(p, ours, (uint8_t)msg->token);
	/* An offer that comes again is no reason to leave what was agreed since. */
	if (!p->sealing || ep->order > p->sealing->order)
		use(p, ep);
}

/* --- the end of keys --- */

static uint64_t end_of(const struct e2e_epoch *ep)
{
	uint64_t stop = ep->made_ns + PC_NATIVE_HARD_STOP;

	return ep->drop_ns && ep->drop_ns < stop ? ep->drop_ns : stop;
}

void pc_e2e_epoch_expire(struct pc_e2e_peer *p, uint64_t now)
{
	for (unsigned int i = 0; i < E2E_EPOCHS; i++) {
		struct e2e_epoch *ep = &p->epochs[i];

		/* What we still seal with the other side still opens. */
		if (ep->valid && now >= end_of(ep) &&
		    (ep != p->sealing || now - ep->made_ns >= PC_NATIVE_HARD_STOP))
			pc_e2e_epoch_forget(ep);
	}
}

uint64_t pc_e2e_epoch_deadline(const struct pc_e2e_peer *p)
{
	uint64_t at = p->offer.open ? p->offer.retry_ns : UINT64_MAX;

	for (unsigned int i = 0; i < E2E_EPOCHS; i++) {
		const struct e2e_epoch *ep = &p->epochs[i];
		uint64_t t = !ep->valid		? UINT64_MAX
			     : ep == p->sealing ? ep->made_ns + PC_NATIVE_HARD_STOP
						: end_of(ep);

		at = t < at ? t : at;
	}
	return at;
}
