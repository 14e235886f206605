/* SPDX-License-Identifier: MIT */
#include "relay/native_agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/siphash.h"
#include "base/htab.h"
#include "base/timer.h"
#include "relay/noise.h"

#define BIT(f)	  (1u << PC_NATIVE_F_##f)
#define HAS(m, f) PC_NATIVE_HAS(m, PC_NATIVE_F_##f)

/* From the question until the end of the pipe; `in` is ours from the start. */
struct held {
	struct pc_agent_pipe pipe;
	struct pc_hnode by_in;
	struct held *next, **pprev;
	struct pc_agent *a;
	bool open;
	uint32_t incoming; /* the relay's number of a call that we accepted */
	struct pc_timer timer;
};

struct pc_agent {
	struct pc_agent_config config;
	struct pc_native *n;
	const struct pc_agent_ops *ops;
	void *ctx;
	uint64_t now;
	struct pc_native_link *relay; /* NULL: no session */
	struct held *all;
	uint32_t n_held, last_call;
	struct pc_htab by_in;
	uint8_t hash_key[16];
	struct pc_timers *timers;
	struct pc_timer register_timer;
};

/* --- what we hold --- */

static struct held *find_in(const struct pc_agent *a, uint32_t in)
{
	struct pc_hnode *node =
		pc_htab_first(&a->by_in, pc_siphash24(a->hash_key, &in, sizeof(in)));

	for (; node; node = pc_htab_next(node)) {
		struct held *e = pc_container_of(node, struct held, by_in);

		if (e->pipe.in == in)
			return e;
	}
	return NULL;
}

static void release(struct held *e)
{
	struct pc_agent *a = e->a;

	pc_timer_cancel(&e->timer);
	pc_htab_remove(&a->by_in, &e->by_in);
	*e->pprev = e->next;
	if (e->next)
		e->next->pprev = e->pprev;
	a->n_held--;
	pc_noise_wipe(e, sizeof(*e));
	free(e);
}

/* Off the list first: the owner may do anything. */
static void end(struct held *e, uint16_t reason)
{
	struct pc_agent *a = e->a;
	uint32_t call = e->pipe.call;
	bool open = e->open;

	if (open)
		a->ops->pipe_down(a->ctx, &e->pipe, reason);
	release(e);
	if (!open && call)
		a->ops->refused(a->ctx, call, reason);
}

static void on_no_answer(struct pc_timer *timer, uint64_t now)
{
	struct held *e = pc_container_of(timer, struct held, timer);

	e->a->now = now;
	end(e, PC_NATIVE_R_TIMEOUT);
}

static int hold(struct pc_agent *a, struct held **ret)
{
	struct held *e;

	if (!a->relay)
		return PC_ERR_STATE;
	if (a->n_held >= a->config.max_pipes)
		return PC_ERR_FULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->a = a;
	do
		a->ops->random(a->ctx, &e->pipe.in, sizeof(e->pipe.in));
	while (e->pipe.in == 0 || find_in(a, e->pipe.in));
	pc_htab_insert(&a->by_in, &e->by_in,
		       pc_siphash24(a->hash_key, &e->pipe.in, sizeof(e->pipe.in)));
	e->next = a->all;
	e->pprev = &a->all;
	if (e->next)
		e->next->pprev = &e->next;
	a->all = e;
	a->n_held++;
	e->timer.fn = on_no_answer;
	pc_timer_set(a->timers, &e->timer, a->now + PC_AGENT_CALL_NS);
	*ret = e;
	return 0;
}

/* --- asking --- */

static int send_msg(struct pc_agent *a, const struct pc_native_msg *msg)
{
	return a->relay ? pc_native_send(a->n, a->relay, msg, a->now) : PC_ERR_STATE;
}

static void take_grant(struct held *e, const uint8_t grant[static PC_NATIVE_GRANT_LEN])
{
	memcpy(e->pipe.grant, grant, PC_NATIVE_GRANT_LEN);
	e->pipe.granted = true;
}

static int ask(struct pc_agent *a, struct pc_native_msg *msg, const uint8_t *peer,
	       const uint8_t *grant, uint32_t *ret_call)
{
	struct held *e;
	int rc = hold(a, &e);

	if (rc < 0)
		return rc;
	if (peer)
		memcpy(e->pipe.peer, peer, sizeof(e->pipe.peer));
	else
		e->pipe.remote = msg->remote;
	a->last_call += a->last_call == UINT32_MAX ? 2 : 1; /* never 0 */
	e->pipe.call = a->last_call;
	if (grant)
		take_grant(e, grant);
	msg->has |= BIT(CALL) | BIT(PIPE) | (grant ? BIT(GRANT) : 0);
	msg->grant = grant;
	msg->call = e->pipe.call;
	msg->pipe = e->pipe.in;
	rc = send_msg(a, msg);
	if (rc < 0) {
		release(e);
		return rc;
	}
	*ret_call = e->pipe.call;
	return 0;
}

int pc_agent_connect(struct pc_agent *a, const uint8_t peer[static 32], const char *service,
		     const uint8_t *grant, uint64_t now, uint32_t *ret_call)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_CONNECT, .has = BIT(PEER), .peer = peer };

	a->now = now;
	if (service) {
		msg.has |= BIT(SERVICE);
		msg.service = (const uint8_t *)service;
		msg.service_len = strlen(service);
		if (msg.service_len < 1 || msg.service_len > PC_NATIVE_MAX_SERVICE)
			return PC_ERR_RANGE;
	}
	return ask(a, &msg, peer, grant, ret_call);
}

int pc_agent_allocate(struct pc_agent *a, const struct pc_addr *remote, const uint8_t *grant,
		      uint64_t now, uint32_t *ret_call)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_ALLOCATE,
				     .has = BIT(REMOTE),
				     .remote = *remote };

	a->now = now;
	return ask(a, &msg, NULL, grant, ret_call);
}

void pc_agent_close(struct pc_agent *a, struct pc_agent_pipe *pipe, uint16_t reason, uint64_t now)
{
	struct held *e = pc_container_of(pipe, struct held, pipe);
	struct pc_native_msg msg = { .type = PC_NATIVE_CLOSE,
				     .has = BIT(PIPE_TO) | BIT(REASON),
				     .pipe_to = pipe->out,
				     .reason = reason };

	a->now = now;
	send_msg(a, &msg);
	release(e);
}

int pc_agent_send_candidates(struct pc_agent *a, const struct pc_agent_pipe *pipe,
			     const struct pc_addr *candidates, unsigned int n, uint64_t now)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_CANDIDATES,
				     .has = BIT(PIPE_TO) | (n ? BIT(CANDIDATE) : 0),
				     .pipe_to = pipe->out,
				     .n_candidates = n };

	a->now = now;
	if (n > PC_NATIVE_MAX_CANDIDATES)
		return PC_ERR_RANGE;
	if (n)
		memcpy(msg.candidates, candidates, n * sizeof(*candidates));
	return send_msg(a, &msg);
}

int pc_agent_send_receipt(struct pc_agent *a, const uint8_t receipt[static PC_NATIVE_RECEIPT_LEN],
			  uint64_t now)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_RECEIPT,
				     .has = BIT(RECEIPT),
				     .receipt = receipt };

	a->now = now;
	return send_msg(a, &msg);
}

/* --- being asked --- */

static void answer_refuse(struct pc_agent *a, uint32_t call, uint16_t reason)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_REFUSE,
				     .has = BIT(CALL) | BIT(REASON),
				     .call = call,
				     .reason = reason };

	send_msg(a, &msg);
}

static void take_incoming(struct pc_agent *a, const struct pc_native_msg *msg)
{
	struct pc_native_msg accept = { .type = PC_NATIVE_ACCEPT,
					.has = BIT(CALL) | BIT(PIPE),
					.call = msg->call };
	char service[PC_NATIVE_MAX_SERVICE + 1] = "";
	struct held *e;

	/* A text that cannot be compared is not on any list. */
	if (HAS(msg, SERVICE) && memchr(msg->service, 0, msg->service_len)) {
		answer_refuse(a, msg->call, PC_NATIVE_R_MALFORMED);
		return;
	}
	if (HAS(msg, SERVICE))
		memcpy(service, msg->service, msg->service_len);
	if (!a->ops->allowed(a->ctx, msg->peer, HAS(msg, SERVICE) ? service : NULL)) {
		answer_refuse(a, msg->call, PC_NATIVE_R_REFUSED);
		return;
	}
	if (hold(a, &e) < 0) {
		answer_refuse(a, msg->call, PC_NATIVE_R_FULL);
		return;
	}
	memcpy(e->pipe.peer, msg->peer, sizeof(e->pipe.peer));
	e->incoming = msg->call;
	accept.pipe = e->pipe.in;
	if (send_msg(a, &accept) < 0)
		release(e);
}

/* OPENED and ALLOCATED. Only what we asked for, or agreed to, and with whom. */
static void take_opened(struct pc_agent *a, const struct pc_native_msg *msg)
{
	struct held *e = find_in(a, msg->pipe_to);
	bool port = msg->type == PC_NATIVE_ALLOCATED;

	if (!e || e->open || msg->call != (e->pipe.call ? e->pipe.call : e->incoming))
		return;
	if (port != (e->pipe.remote.ip.family != 0) ||
	    (!port && memcmp(msg->peer, e->pipe.peer, sizeof(e->pipe.peer)) != 0))
		return;
	e->pipe.out = msg->pipe;
	e->pipe.mtu = HAS(msg, MTU) ? msg->mtu : PC_PIPE_MAX_FRAME - PC_PIPE_HEADER;
	e->pipe.relayed = msg->relayed;
	if (pc_pipe_hop_key(a->relay, e->pipe.in, false, e->pipe.in_key) < 0 ||
	    pc_pipe_hop_key(a->relay, e->pipe.out, false, e->pipe.out_key) < 0)
		return;
	e->open = true;
	pc_timer_cancel(&e->timer);
	a->ops->pipe_up(a->ctx, &e->pipe);
}

static void take_refuse(struct pc_agent *a, const struct pc_native_msg *msg)
{
	struct held *e = a->all;

	while (e && (e->open || msg->call != (e->pipe.call ? e->pipe.call : e->incoming)))
		e = e->next;
	if (e)
		end(e, msg->reason);
}

static void take_close(struct pc_agent *a, const struct pc_native_msg *msg)
{
	struct held *e = find_in(a, msg->pipe_to);

	if (e && e->open)
		end(e, msg->reason);
}

static void take_candidates(struct pc_agent *a, const struct pc_native_msg *msg)
{
	struct held *e = find_in(a, msg->pipe_to);

	if (e && e->open)
		a->ops->candidates(a->ctx, &e->pipe, HAS(msg, OBSERVED) ? &msg->observed : NULL,
				   msg->candidates, msg->n_candidates);
}

static void take_meter(struct pc_agent *a, const struct pc_native_msg *msg)
{
	struct held *e = HAS(msg, PIPE_TO) ? find_in(a, msg->pipe_to) : NULL;

	if (e && e->open)
		a->ops->meter(a->ctx, &e->pipe, msg->up, msg->down);
}

static void take_registered(struct pc_agent *a, const struct pc_native_msg *msg)
{
	uint64_t half = msg->lifetime_s * PC_NS_PER_S / 2;

	pc_timer_set(a->timers, &a->register_timer, a->now + (half ? half : PC_NS_PER_S));
	a->ops->registered(a->ctx, &msg->observed, msg->lifetime_s);
}

void pc_agent_message(struct pc_agent *a, const struct pc_native_msg *msg, uint64_t now)
{
	static void (*const takes[PC_NATIVE_TYPE_COUNT])(struct pc_agent *,
							 const struct pc_native_msg *) = {
		[PC_NATIVE_REGISTERED] = take_registered, [PC_NATIVE_INCOMING] = take_incoming,
		[PC_NATIVE_OPENED] = take_opened,	  [PC_NATIVE_ALLOCATED] = take_opened,
		[PC_NATIVE_REFUSE] = take_refuse,	  [PC_NATIVE_CLOSE] = take_close,
		[PC_NATIVE_CANDIDATES] = take_candidates, [PC_NATIVE_METER] = take_meter,
	};

	a->now = now;
	if (a->relay && msg->type < PC_NATIVE_TYPE_COUNT && takes[msg->type])
		takes[msg->type](a, msg);
}

/* --- the relay --- */

/* The answer about one that the relay does not have is CLOSE. */
static void say_keep(struct pc_agent *a, const struct held *e)
{
	struct pc_native_msg keep = { .type = PC_NATIVE_KEEP,
				      .has = BIT(PIPE) | BIT(PIPE_TO),
				      .pipe = e->pipe.in,
				      .pipe_to = e->pipe.out };

	if (e->pipe.granted) {
		keep.has |= BIT(GRANT);
		keep.grant = e->pipe.grant;
	}
	send_msg(a, &keep);
}

void pc_agent_grant(struct pc_agent *a, struct pc_agent_pipe *pipe,
		    const uint8_t grant[static PC_NATIVE_GRANT_LEN], uint64_t now)
{
	struct held *e = pc_container_of(pipe, struct held, pipe);

	a->now = now;
	take_grant(e, grant);
	say_keep(a, e);
}

static void say_register(struct pc_agent *a)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_REGISTER };

	send_msg(a, &msg);
	for (const struct held *e = a->all; e; e = e->next) {
		if (e->open)
			say_keep(a, e);
	}
	/* Until it is confirmed: again soon. */
	pc_timer_set(a->timers, &a->register_timer, a->now + 5 * PC_NS_PER_S);
}

static void on_register(struct pc_timer *timer, uint64_t now)
{
	struct pc_agent *a = pc_container_of(timer, struct pc_agent, register_timer);

	a->now = now;
	say_register(a);
}

void pc_agent_up(struct pc_agent *a, struct pc_native_link *relay, bool renewed, uint64_t now)
{
	struct pc_native_msg hello = { .type = PC_NATIVE_HELLO,
				       .has = BIT(VERSION) | BIT(CAPABILITIES),
				       .version = PC_NATIVE_PROTOCOL,
				       .capabilities = a->config.capabilities };

	a->now = now;
	a->relay = relay;
	if (!renewed)
		send_msg(a, &hello);
	/* Also after a renewal: the relay may have been started again and know nobody. */
	say_register(a);
}

void pc_agent_down(struct pc_agent *a, uint16_t reason, uint64_t now)
{
	a->now = now;
	a->relay = NULL;
	pc_timer_cancel(&a->register_timer);
	while (a->all)
		end(a->all, reason);
}

void pc_agent_lost(struct pc_agent *a, uint64_t now)
{
	struct held *e = a->all;

	a->now = now;
	a->relay = NULL;
	pc_timer_cancel(&a->register_timer);
	while (e) {
		/* The owner may do anything when it hears of one: from the start again. */
		if (e->open) {
			e = e->next;
		} else {
			end(e, PC_NATIVE_R_GONE);
			e = a->all;
		}
	}
}

/* --- frames --- */

int pc_agent_frame(struct pc_agent *a, const void *frame, size_t len,
		   struct pc_pipe_frame *ret_frame, struct pc_agent_pipe **ret_pipe)
{
	struct pc_pipe_frame f;
	struct held *e;
	int rc = pc_pipe_read(frame, len, &f);

	if (rc < 0)
		return rc;
	e = find_in(a, f.pipe);
	if (!e || !e->open)
		return PC_ERR_NOT_FOUND;
	if (!pc_pipe_check(frame, len, e->pipe.in_key))
		return PC_ERR_AUTH;
	if (!pc_replay_accept(&e->pipe.replay, f.counter))
		return PC_ERR_EXISTS;
	*ret_frame = f;
	*ret_pipe = &e->pipe;
	return 0;
}

/* --- life --- */

int pc_agent_new(const struct pc_agent_config *config, struct pc_native *n,
		 const struct pc_agent_ops *ops, void *ctx, uint64_t now,
		 struct pc_agent **ret_agent)
{
	struct pc_agent *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return -ENOMEM;
	a->config = *config;
	a->n = n;
	a->ops = ops;
	a->ctx = ctx;
	a->now = now;
	a->register_timer.fn = on_register;
	ops->random(ctx, a->hash_key, sizeof(a->hash_key));
	rc = pc_htab_init(&a->by_in, 16);
	if (rc == 0)
		rc = pc_timers_new(now, &a->timers);
	if (rc < 0) {
		pc_htab_free(&a->by_in);
		free(a);
		return rc;
	}
	*ret_agent = a;
	return 0;
}

void pc_agent_free(struct pc_agent *a)
{
	if (!a)
		return;
	while (a->all)
		release(a->all);
	pc_timer_cancel(&a->register_timer);
	pc_timers_free(a->timers);
	pc_htab_free(&a->by_in);
	free(a);
}

void pc_agent_tick(struct pc_agent *a, uint64_t now)
{
	a->now = now;
	pc_timers_run(a->timers, now);
}

uint64_t pc_agent_next_deadline(const struct pc_agent *a)
{
	return pc_timers_next(a->timers);
}
