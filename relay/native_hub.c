/* SPDX-License-Identifier: MIT */
#include "relay/native_hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relay/native_hub_int.h"

#define HAS(m, f) PC_NATIVE_HAS(m, PC_NATIVE_F_##f)
#define BIT(f)	  (1u << PC_NATIVE_F_##f)

/* --- saying --- */

void pc_hub_send(struct pc_hub *h, struct pc_native_link *link, const struct pc_native_msg *msg)
{
	/* Without a session there is nobody to tell. */
	pc_native_send(h->n, link, msg, h->now);
}

void pc_hub_refuse(struct pc_hub *h, struct pc_native_link *link, uint32_t call, uint16_t reason)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_REFUSE,
				     .has = BIT(CALL) | BIT(REASON),
				     .call = call,
				     .reason = reason };

	pc_hub_send(h, link, &msg);
}

/* --- peers --- */

struct hub_peer *pc_hub_peer_of(struct pc_hub *h, struct pc_native_link *link)
{
	return pc_native_user(link);
}

static void on_lapse(struct pc_timer *timer, uint64_t now)
{
	struct hub_peer *peer = pc_container_of(timer, struct hub_peer, timer);

	peer->registered = false;
	peer->hub->stats.registered--;
}

/* Finds or makes; NULL: no memory. */
static struct hub_peer *peer_get(struct pc_hub *h, struct pc_native_link *link)
{
	struct hub_peer *peer = pc_hub_peer_of(h, link);

	if (peer)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->link = link;
	peer->hub = h;
	peer->timer.fn = on_lapse;
	peer->next = h->peers;
	peer->pprev = &h->peers;
	if (peer->next)
		peer->next->pprev = &peer->next;
	h->peers = peer;
	pc_native_set_user(link, peer);
	return peer;
}

static void peer_free(struct hub_peer *peer)
{
	if (peer->registered)
		peer->hub->stats.registered--;
	pc_timer_cancel(&peer->timer);
	*peer->pprev = peer->next;
	if (peer->next)
		peer->next->pprev = peer->pprev;
	pc_native_set_user(peer->link, NULL);
	free(peer);
}

/* --- calls --- */

static void call_free(struct hub_call *call)
{
	pc_timer_cancel(&call->timer);
	*call->pprev = call->next;
	if (call->next)
		call->next->pprev = call->pprev;
	call->caller->n_held--;
	call->hub->stats.calls--;
	free(call);
}

void pc_hub_call_end(struct hub_call *call, uint16_t reason)
{
	pc_hub_refuse(call->hub, call->caller->link, call->caller_call, reason);
	call_free(call);
}

static void on_no_answer(struct pc_timer *timer, uint64_t now)
{
	struct hub_call *call = pc_container_of(timer, struct hub_call, timer);

	call->hub->now = now;
	pc_hub_call_end(call, PC_NATIVE_R_TIMEOUT);
}

static struct hub_call *call_find(const struct pc_hub *h, const struct hub_peer *callee,
				  uint32_t id)
{
	struct hub_call *call = h->calls;

	while (call && (call->id != id || call->callee != callee))
		call = call->next;
	return call;
}

static struct hub_call *call_new(struct pc_hub *h, struct hub_peer *caller, struct hub_peer *callee,
				 const struct pc_native_msg *msg)
{
	struct hub_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->hub = h;
	call->caller = caller;
	call->callee = callee;
	call->caller_call = msg->call;
	call->caller_pipe = msg->pipe;
	do
		h->ops->random(h->ctx, &call->id, sizeof(call->id));
	while (call_find(h, callee, call->id));
	call->next = h->calls;
	call->pprev = &h->calls;
	if (call->next)
		call->next->pprev = &call->next;
	h->calls = call;
	call->timer.fn = on_no_answer;
	pc_timer_set(h->timers, &call->timer, h->now + PC_HUB_CALL_NS);
	caller->n_held++;
	h->stats.calls++;
	return call;
}

/* --- messages --- */

static void take_hello(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg)
{
	struct pc_native_msg reply = { .type = PC_NATIVE_HELLO,
				       .has = BIT(VERSION) | BIT(CAPABILITIES),
				       .version = PC_NATIVE_PROTOCOL,
				       .capabilities = h->config.capabilities };

	/* Said when a peer begins: it has none of the pipes that an earlier self had. */
	if (peer->greeted)
		pc_hub_peer_pipes_end(h, peer->link);
	else /* one for one, or two hubs would greet each other for ever */
		pc_hub_send(h, peer->link, &reply);
	peer->greeted = true;
}

static void take_register(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg)
{
	struct pc_native_msg reply = { .type = PC_NATIVE_REGISTERED,
				       .has = BIT(LIFETIME) | BIT(OBSERVED),
				       .lifetime_s = h->config.register_lifetime_s,
				       .observed = pc_native_path(peer->link)->remote };

	if (!peer->registered)
		h->stats.registered++;
	peer->registered = true;
	pc_timer_set(h->timers, &peer->timer, h->now + h->config.register_lifetime_s * PC_NS_PER_S);
	pc_hub_send(h, peer->link, &reply);
}

/* Why @caller cannot have another pipe or call; 0: it can. */
static uint16_t why_not(const struct pc_hub *h, const struct hub_peer *caller)
{
	if (caller->n_held >= h->config.max_pipes_per_peer ||
	    h->stats.pipes + h->stats.calls >= h->config.max_pipes)
		return PC_NATIVE_R_FULL;
	return 0;
}

static void take_connect(struct pc_hub *h, struct hub_peer *caller, const struct pc_native_msg *msg)
{
	struct pc_native_link *link = pc_native_find(h->n, msg->peer);
	struct hub_peer *callee = link ? pc_hub_peer_of(h, link) : NULL;
	struct pc_native_msg incoming = { .type = PC_NATIVE_INCOMING,
					  .has = BIT(CALL) | BIT(PEER),
					  .peer = pc_native_identity(caller->link) };
	uint16_t reason = why_not(h, caller);
	struct hub_call *call = NULL;
	uint64_t until_ns = 0;

	if (!reason && (!callee || !callee->registered))
		reason = PC_NATIVE_R_UNKNOWN_PEER;
	else if (!reason &&
		 (callee == caller || !h->ops->may_connect(h->ctx, incoming.peer, msg->peer)))
		reason = PC_NATIVE_R_REFUSED;
	if (!reason)
		reason = pc_hub_grant_judge(h, caller, msg, &until_ns);
	if (!reason) {
		call = call_new(h, caller, callee, msg);
		reason = call ? 0 : PC_NATIVE_R_FULL;
	}
	if (reason) {
		pc_hub_refuse(h, caller->link, msg->call, reason);
		return;
	}
	call->until_ns = until_ns;
	incoming.call = call->id;
	if (HAS(msg, SERVICE)) {
		incoming.has |= BIT(SERVICE);
		incoming.service = msg->service;
		incoming.service_len = msg->service_len;
	}
	pc_hub_send(h, callee->link, &incoming);
}

/* The callee agrees: only now there is a pipe. */
static void take_accept(struct pc_hub *h, struct hub_peer *callee, const struct pc_native_msg *msg)
{
	struct hub_call *call = call_find(h, callee, msg->call);
	uint16_t reason = 0;

	/* The caller may have gone meanwhile. */
	if (!call) {
		pc_hub_refuse(h, callee->link, msg->call, PC_NATIVE_R_GONE);
		return;
	}
	if (call->until_ns && call->until_ns <= h->now)
		reason = PC_NATIVE_R_EXPIRED;
	else if (pc_hub_pipe_open(h, call, msg->pipe) < 0)
		reason = PC_NATIVE_R_FULL;
	if (reason) {
		pc_hub_refuse(h, callee->link, msg->call, reason);
		pc_hub_call_end(call, reason);
		return;
	}
	call_free(call);
}

static void take_refuse(struct pc_hub *h, struct hub_peer *callee, const struct pc_native_msg *msg)
{
	struct hub_call *call = call_find(h, callee, msg->call);

	if (call)
		pc_hub_call_end(call, msg->reason);
}

static void take_allocate(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg)
{
	uint16_t reason = why_not(h, peer);
	uint64_t until_ns = 0;
	int rc = 0;

	if (!reason)
		reason = pc_hub_grant_judge(h, peer, msg, &until_ns);
	if (!reason)
		rc = h->ops->port_open ? pc_hub_port_open(h, peer, msg, until_ns) : PC_ERR_REFUSED;
	if (!reason && rc < 0)
		reason = rc == PC_ERR_REFUSED ? PC_NATIVE_R_REFUSED : PC_NATIVE_R_FULL;
	if (reason)
		pc_hub_refuse(h, peer->link, msg->call, reason);
}

static void take_close(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg)
{
	unsigned int end;
	struct hub_pipe *p = pc_hub_pipe_of(h, peer->link, msg->pipe_to, &end);

	if (p)
		pc_hub_pipe_end(h, p, peer->link, msg->reason);
}

/* To the other end, together with where we see the sender. */
static void take_candidates(struct pc_hub *h, struct hub_peer *peer,
			    const struct pc_native_msg *msg)
{
	struct pc_native_msg on = *msg;
	const struct pc_hub_end *to;
	struct hub_pipe *p;
	unsigned int end;

	p = pc_hub_pipe_of(h, peer->link, msg->pipe_to, &end);
	if (!p || !p->pipe.ends[!end].link)
		return;
	to = &p->pipe.ends[!end];
	on.has = BIT(PIPE_TO) | BIT(OBSERVED) | (msg->has & (BIT(CANDIDATE) | BIT(TOKEN)));
	on.pipe_to = to->out;
	on.observed = pc_native_path(peer->link)->remote;
	pc_hub_send(h, to->link, &on);
}

static void take_receipt(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg)
{
	if (h->ops->receipt)
		h->ops->receipt(h->ctx, peer->link, msg->receipt);
}

void pc_hub_message(struct pc_hub *h, struct pc_native_link *link, const struct pc_native_msg *msg,
		    uint64_t now)
{
	static void (*const takes[PC_NATIVE_TYPE_COUNT])(struct pc_hub *, struct hub_peer *,
							 const struct pc_native_msg *) = {
		[PC_NATIVE_HELLO] = take_hello,	      [PC_NATIVE_REGISTER] = take_register,
		[PC_NATIVE_ALLOCATE] = take_allocate, [PC_NATIVE_CONNECT] = take_connect,
		[PC_NATIVE_ACCEPT] = take_accept,     [PC_NATIVE_REFUSE] = take_refuse,
		[PC_NATIVE_CLOSE] = take_close,	      [PC_NATIVE_CANDIDATES] = take_candidates,
		[PC_NATIVE_RECEIPT] = take_receipt,   [PC_NATIVE_KEEP] = pc_hub_take_keep,
	};
	struct hub_peer *peer;

	h->now = now;
	if (msg->type >= PC_NATIVE_TYPE_COUNT || !takes[msg->type])
		return;
	peer = peer_get(h, link);
	if (!peer)
		return;
	takes[msg->type](h, peer, msg);
}

void pc_hub_peer_pipes_end(struct pc_hub *h, const struct pc_native_link *link)
{
	struct hub_pipe *p, *next;

	for (p = h->pipes; p; p = next) {
		next = p->next;
		if (p->pipe.ends[0].link == link || p->pipe.ends[1].link == link)
			pc_hub_pipe_end(h, p, link, PC_NATIVE_R_GONE);
	}
}

void pc_hub_down(struct pc_hub *h, struct pc_native_link *link, uint64_t now)
{
	struct hub_peer *peer = pc_hub_peer_of(h, link);
	struct hub_call *call, *next_call;

	h->now = now;
	if (!peer)
		return;
	for (call = h->calls; call; call = next_call) {
		next_call = call->next;
		if (call->caller == peer)
			call_free(call);
		else if (call->callee == peer)
			pc_hub_call_end(call, PC_NATIVE_R_GONE);
	}
	pc_hub_peer_pipes_end(h, link);
	peer_free(peer);
}

/* --- life --- */

int pc_hub_new(const struct pc_hub_config *config, struct pc_native *n,
	       const struct pc_hub_ops *ops, void *ctx, uint64_t now, struct pc_hub **ret_hub)
{
	struct pc_hub *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return -ENOMEM;
	h->config = *config;
	h->n = n;
	h->ops = ops;
	h->ctx = ctx;
	h->now = now;
	ops->random(ctx, h->hash_key, sizeof(h->hash_key));
	rc = pc_htab_init(&h->by_in, 64);
	if (rc == 0)
		rc = pc_timers_new(now, &h->timers);
	if (rc < 0) {
		pc_htab_free(&h->by_in);
		free(h);
		return rc;
	}
	*ret_hub = h;
	return 0;
}

void pc_hub_free(struct pc_hub *h)
{
	if (!h)
		return;
	while (h->calls)
		call_free(h->calls);
	/* Nobody is told: whoever comes after us may go on with them. */
	while (h->pipes) {
		h->pipes->pipe.ends[0].link = h->pipes->pipe.ends[1].link = NULL;
		pc_hub_pipe_end(h, h->pipes, NULL, PC_NATIVE_R_SHUTDOWN);
	}
	while (h->peers)
		peer_free(h->peers);
	pc_timers_free(h->timers);
	pc_htab_free(&h->by_in);
	free(h);
}

void pc_hub_tick(struct pc_hub *h, uint64_t now)
{
	h->now = now;
	pc_timers_run(h->timers, now);
}

uint64_t pc_hub_next_deadline(const struct pc_hub *h)
{
	return pc_timers_next(h->timers);
}

bool pc_hub_registered(const struct pc_hub *h, const uint8_t identity[static 32])
{
	struct pc_native_link *link = pc_native_find(h->n, identity);
	struct hub_peer *peer = link ? pc_native_user(link) : NULL;

	return peer && peer->registered;
}

void pc_hub_get_stats(const struct pc_hub *h, struct pc_hub_stats *ret_stats)
{
	*ret_stats = h->stats;
}
