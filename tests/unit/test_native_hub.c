/* SPDX-License-Identifier: MIT */
/*
 * Two agents and a relay's hub: registration, consent, pipes with frames through them end to end,
 * and how all that ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/cleanup.h"
#include "native_world.h"
#include "relay/native_agent.h"
#include "relay/native_hub.h"

static struct world w;
static struct node *const a = &w.nodes[0], *const r = &w.nodes[1], *const c = &w.nodes[2];
static struct pc_hub *hub;

struct peer {
	struct node *node;
	struct pc_agent *agent;
	bool allows;
	char service[64]; /* asked for last */
	struct pc_agent_pipe *pipe;
	unsigned int ups, downs, refusals, registrations, meters;
	uint16_t reason;
	uint32_t call;
	struct pc_addr observed, candidates[PC_NATIVE_MAX_CANDIDATES];
	unsigned int n_candidates;
};
static struct peer pa, pc;
static const uint8_t *shown; /* the grant that goes with calls */

/* --- the relay --- */

static struct {
	bool denies, full, no_ports;
	unsigned int pipes, again, receipts, grants, lapsed;
	struct pc_hub_pipe *last;
} relay;

static bool may_connect(void *ctx, const uint8_t caller[static 32], const uint8_t callee[static 32])
{
	return !relay.denies;
}

static int pipe_set(void *ctx, struct pc_hub_pipe *pipe, bool again)
{
	if (relay.full)
		return PC_ERR_FULL;
	relay.pipes += !again;
	relay.again += again;
	relay.last = pipe;
	return 0;
}

static void pipe_del(void *ctx, struct pc_hub_pipe *pipe)
{
	relay.pipes--;
	relay.last = NULL;
}

static int port_open(void *ctx, struct pc_hub_pipe *pipe, const struct pc_addr *remote,
		     struct pc_addr *ret_relayed)
{
	if (relay.no_ports)
		return PC_ERR_REFUSED;
	*ret_relayed = world_address(99, 50000);
	return 0;
}

/* Its first byte is the reason to refuse it, its second one how many seconds it is good for. */
static uint16_t take_grant(void *ctx, struct pc_native_link *link, const uint8_t *grant,
			   uint64_t *ret_until_ns)
{
	assert_int_equal(grant[PC_NATIVE_GRANT_LEN - 1], 77);
	relay.grants++;
	if (grant[0])
		return grant[0];
	*ret_until_ns = w.now + grant[1] * PC_NS_PER_S;
	return 0;
}

static void lapsed(void *ctx, const struct pc_hub_pipe *pipe)
{
	assert_ptr_equal(pipe, relay.last);
	relay.lapsed++;
}

static void take_receipt(void *ctx, struct pc_native_link *link, const uint8_t *receipt)
{
	assert_int_equal(receipt[135], 35);
	relay.receipts++;
}

static const struct pc_hub_ops hub_ops = {
	.may_connect = may_connect,
	.pipe_set = pipe_set,
	.pipe_del = pipe_del,
	.port_open = port_open,
	.grant = take_grant,
	.lapsed = lapsed,
	.receipt = take_receipt,
	.random = world_random,
};

static void hub_down(struct node *node, struct pc_native_link *link, uint16_t reason)
{
	pc_hub_down(hub, link, w.now);
}

static void hub_moved(struct node *node, struct pc_native_link *link)
{
	pc_hub_moved(hub, link, w.now);
}

static void hub_message(struct node *node, struct pc_native_link *link,
			const struct pc_native_msg *msg)
{
	pc_hub_message(hub, link, msg, w.now);
}

static void hub_tick(struct node *node)
{
	pc_hub_tick(hub, w.now);
}

/* --- the peers --- */

static struct peer *peer_of(const void *ctx)
{
	return ctx == a ? &pa : &pc;
}

static void registered(void *ctx, const struct pc_addr *observed, uint32_t lifetime_s)
{
	peer_of(ctx)->registrations++;
	peer_of(ctx)->observed = *observed;
}

static bool allowed(void *ctx, const uint8_t peer[static 32], const char *service)
{
	struct peer *p = peer_of(ctx);
	const struct node *other = ctx == a ? c : a;

	snprintf(p->service, sizeof(p->service), "%s", service ? service : "(none)");
	return p->allows && memcmp(peer, other->config.identity, 32) == 0;
}

static void pipe_up(void *ctx, struct pc_agent_pipe *pipe)
{
	peer_of(ctx)->ups++;
	peer_of(ctx)->pipe = pipe;
}

static void pipe_down(void *ctx, struct pc_agent_pipe *pipe, uint16_t reason)
{
	peer_of(ctx)->downs++;
	peer_of(ctx)->reason = reason;
	peer_of(ctx)->pipe = NULL;
}

static void refused(void *ctx, uint32_t call, uint16_t reason)
{
	assert_int_equal(call, peer_of(ctx)->call);
	peer_of(ctx)->refusals++;
	peer_of(ctx)->reason = reason;
}

static void candidates(void *ctx, struct pc_agent_pipe *pipe, const struct pc_addr *observed,
		       const struct pc_addr *list, unsigned int n)
{
	struct peer *p = peer_of(ctx);

	assert_ptr_equal(pipe, p->pipe);
	p->observed = *observed;
	p->n_candidates = n;
	memcpy(p->candidates, list, n * sizeof(*list));
}

static void meter(void *ctx, struct pc_agent_pipe *pipe, uint64_t up, uint64_t down)
{
	assert_true(up == 1ull << 40 && down == 7);
	peer_of(ctx)->meters++;
}

static const struct pc_agent_ops agent_ops = {
	.registered = registered,
	.allowed = allowed,
	.pipe_up = pipe_up,
	.pipe_down = pipe_down,
	.refused = refused,
	.candidates = candidates,
	.meter = meter,
	.random = world_random,
};

static void agent_up(struct node *node, struct pc_native_link *link, bool renewed)
{
	pc_agent_up(peer_of(node)->agent, link, renewed, w.now);
}

static void agent_down(struct node *node, struct pc_native_link *link, uint16_t reason)
{
	pc_agent_down(peer_of(node)->agent, reason, w.now);
}

static void agent_message(struct node *node, struct pc_native_link *link,
			  const struct pc_native_msg *msg)
{
	pc_agent_message(peer_of(node)->agent, msg, w.now);
}

static void agent_tick(struct node *node)
{
	pc_agent_tick(peer_of(node)->agent, w.now);
}

static void start_peer(struct peer *p, struct node *node)
{
	struct pc_agent_config config = { .max_pipes = 4 };

	memset(p, 0, sizeof(*p));
	p->node = node;
	p->allows = true;
	node->on_up = agent_up;
	node->on_down = agent_down;
	node->on_message = agent_message;
	node->on_tick = agent_tick;
	assert_int_equal(pc_agent_new(&config, node->n, &agent_ops, node, w.now, &p->agent), 0);
	world_connect(&w, node, r, false);
	world_deliver(&w);
	assert_int_equal(p->registrations, 1);
	assert_true(pc_hub_registered(hub, node->config.identity));
	assert_true(pc_addr_equal(&p->observed, &node->addr));
}

static void start_hub(void)
{
	struct pc_hub_config config = {
		.max_pipes = 8, .max_pipes_per_peer = 3, .register_lifetime_s = 120, .mtu = 1400
	};

	assert_int_equal(pc_hub_new(&config, r->n, &hub_ops, r, w.now, &hub), 0);
}

static int set_up(void **state)
{
	world_init(&w);
	memset(&relay, 0, sizeof(relay));
	r->on_down = hub_down;
	r->on_moved = hub_moved;
	r->on_message = hub_message;
	r->on_tick = hub_tick;
	start_hub();
	start_peer(&pa, a);
	start_peer(&pc, c);
	return 0;
}

static int tear_down(void **state)
{
	shown = NULL;
	pc_agent_free(pa.agent);
	pc_agent_free(pc.agent);
	pc_hub_free(hub);
	world_free(&w);
	return 0;
}

static void call(struct peer *from, const char *service)
{
	const struct node *other = from == &pa ? c : a;

	assert_int_equal(pc_agent_connect(from->agent, other->config.identity, service, shown,
					  w.now, &from->call),
			 0);
	world_deliver(&w);
}

static void open_pipe(void)
{
	call(&pa, "udp:51820");
	assert_non_null(pa.pipe);
	assert_non_null(pc.pipe);
}

/* What the relay does with a frame. 0, or why it is dropped. */
static int forward(uint8_t *frame, size_t len)
{
	struct pc_hub_pipe *pipe;
	struct pc_pipe_frame f;
	unsigned int end;

	if (pc_pipe_read(frame, len, &f) < 0)
		return PC_ERR_MALFORMED;
	pipe = pc_hub_pipe_find(hub, f.pipe, &end);
	if (!pipe)
		return PC_ERR_NOT_FOUND;
	if (!pc_pipe_check(frame, len, pipe->ends[end].in_key))
		return PC_ERR_AUTH;
	pc_pipe_forward(frame, len, pipe->ends[!end].out, pipe->ends[!end].out_key);
	return 0;
}

static size_t write_frame(struct pc_agent_pipe *pipe, uint8_t *frame, const char *text)
{
	struct pc_pipe_frame f = { .pipe = pipe->out, .counter = ++pipe->counter };
	static const uint8_t data_key[32] = { 1 };

	assert_int_equal(pc_pipe_seal(frame, &f, data_key, pipe->out_key, text, strlen(text)), 0);
	return PC_PIPE_OVERHEAD + strlen(text);
}

static void assert_passes(struct peer *from, struct peer *to, const char *text)
{
	uint8_t frame[256], plain[256];
	static const uint8_t data_key[32] = { 1 };
	struct pc_agent_pipe *pipe;
	struct pc_pipe_frame f;
	size_t len = write_frame(from->pipe, frame, text);

	assert_int_equal(forward(frame, len), 0);
	assert_int_equal(pc_agent_frame(to->agent, frame, len, &f, &pipe), 0);
	assert_ptr_equal(pipe, to->pipe);
	assert_int_equal(pc_pipe_open(frame, &f, data_key, plain), 0);
	assert_memory_equal(plain, text, strlen(text));
	/* Once. */
	assert_int_equal(pc_agent_frame(to->agent, frame, len, &f, &pipe), PC_ERR_EXISTS);
}

static void test_pipe(void **state)
{
	open_pipe();
	assert_string_equal(pc.service, "udp:51820");
	assert_memory_equal(pa.pipe->peer, c->config.identity, 32);
	assert_memory_equal(pc.pipe->peer, a->config.identity, 32);
	assert_int_equal(pa.pipe->mtu, 1400);
	assert_int_equal(relay.pipes, 1);
	for (int i = 0; i < 20; i++) {
		assert_passes(&pa, &pc, "hello");
		assert_passes(&pc, &pa, "hello yourself, at some more length");
	}
	/* Pipes outlive the keys of the sessions they were made in. */
	world_pass(&w, 1000 * PC_NS_PER_S);
	assert_true(a->renewals > 5);
	assert_passes(&pa, &pc, "still");
	assert_passes(&pc, &pa, "here");
	pc_agent_close(pa.agent, pa.pipe, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pc.downs, 1);
	assert_int_equal(pa.downs, 0);
}

static void test_forged_frames(void **state)
{
	uint8_t frame[256], copy[256];
	struct pc_agent_pipe *pipe;
	struct pc_pipe_frame f;
	size_t len;

	open_pipe();
	len = write_frame(pa.pipe, frame, "hello");
	for (size_t i = 0; i < PC_PIPE_HEADER; i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, frame, len);
			copy[i] ^= (uint8_t)(1 << bit);
			assert_true(forward(copy, len) < 0);
		}
	}
	/* The length is under the tag as well. */
	assert_int_equal(forward(frame, len - 1), PC_ERR_AUTH);
	memcpy(copy, frame, len);
	assert_int_equal(forward(copy, len + 1), PC_ERR_AUTH);
	for (size_t i = 0; i < PC_PIPE_HEADER; i++)
		assert_int_equal(forward(frame, i), PC_ERR_MALFORMED);
	/* Past the relay, without its tag for this hop. */
	assert_int_equal(pc_agent_frame(pc.agent, frame, len, &f, &pipe), PC_ERR_NOT_FOUND);
	memcpy(copy, frame, len);
	pc_pipe_forward(copy, len, pc.pipe->in, pa.pipe->out_key);
	assert_int_equal(pc_agent_frame(pc.agent, copy, len, &f, &pipe), PC_ERR_AUTH);
	/* The other direction has other keys. */
	memcpy(copy, frame, len);
	pc_pipe_forward(copy, len, pc.pipe->out, pa.pipe->out_key);
	assert_int_equal(forward(copy, len), PC_ERR_AUTH);
	assert_int_equal(forward(frame, len), 0);
	assert_int_equal(pc_agent_frame(pc.agent, frame, len, &f, &pipe), 0);
}

static void test_no_consent(void **state)
{
	pc.allows = false;
	call(&pa, NULL);
	assert_string_equal(pc.service, "(none)");
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
	assert_int_equal(relay.pipes + pa.ups + pc.ups, 0);
	/* The relay's own policy; the other one is not even asked. */
	pc.service[0] = '\0';
	pc.allows = relay.denies = true;
	call(&pa, "x");
	assert_int_equal(pa.refusals, 2);
	assert_string_equal(pc.service, "");
	relay.denies = false;
	relay.full = true;
	call(&pa, "x");
	assert_int_equal(pa.refusals, 3);
	assert_int_equal(pa.reason, PC_NATIVE_R_FULL);
	relay.full = false;
	open_pipe();
}

static void test_unknown_peer(void **state)
{
	uint8_t nobody[32] = { 9 };

	assert_int_equal(pc_agent_connect(pa.agent, nobody, NULL, NULL, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_UNKNOWN_PEER);
	/* To oneself. */
	assert_int_equal(
		pc_agent_connect(pa.agent, a->config.identity, NULL, NULL, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
	assert_int_equal(pa.refusals, 2);
	assert_int_equal(pc_agent_connect(pa.agent, nobody, "", NULL, w.now, &pa.call),
			 PC_ERR_RANGE);
}

/* The callee is there but says nothing. */
static void test_no_answer(void **state)
{
	struct pc_hub_stats st;

	c->on_message = NULL;
	call(&pa, NULL);
	pc_hub_get_stats(hub, &st);
	assert_int_equal(st.calls, 1);
	world_pass(&w, 21 * PC_NS_PER_S);
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_TIMEOUT);
	pc_hub_get_stats(hub, &st);
	assert_int_equal(st.calls, 0);
	/* The relay is silent, too. */
	r->on_message = NULL;
	call(&pa, NULL);
	world_pass(&w, 31 * PC_NS_PER_S);
	assert_int_equal(pa.refusals, 2);
}

static void test_quota(void **state)
{
	for (int i = 0; i < 3; i++)
		call(&pa, NULL);
	assert_int_equal(pa.ups, 3);
	call(&pa, NULL);
	assert_int_equal(pa.reason, PC_NATIVE_R_FULL);
	assert_int_equal(pa.refusals, 1);
	/* What is held counts for who asked for it, not for who was asked. */
	call(&pc, NULL);
	assert_int_equal(pc.ups, 4);
	assert_int_equal(pc_agent_connect(pc.agent, a->config.identity, NULL, NULL, w.now,
					  &pc.call),
			 PC_ERR_FULL);
}

static void test_other_end_goes(void **state)
{
	open_pipe();
	pc_native_close(c->n, c->link, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(pc.downs, 1);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
	assert_int_equal(relay.pipes, 0);
	assert_false(pc_hub_registered(hub, c->config.identity));
	/* While a call waits. */
	world_connect(&w, c, r, false);
	world_deliver(&w);
	c->on_message = NULL;
	call(&pa, NULL);
	pc_native_close(c->n, c->link, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
}

/* One peer cannot close, or listen to, what belongs to others. */
static void test_not_ones_own(void **state)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_CLOSE,
				     .has = 1u << PC_NATIVE_F_PIPE_TO | 1u << PC_NATIVE_F_REASON };
	struct pc_native_msg accept = { .type = PC_NATIVE_ACCEPT,
					.has = 1u << PC_NATIVE_F_CALL | 1u << PC_NATIVE_F_PIPE,
					.pipe = 77 };

	open_pipe();
	msg.pipe_to = pc.pipe->out; /* the relay's index of the other end */
	assert_int_equal(pc_native_send(a->n, a->link, &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 1);
	assert_int_equal(pa.downs + pc.downs, 0);
	/* The caller cannot accept its own call, whatever its number. */
	c->on_message = NULL;
	call(&pa, NULL);
	accept.call = c->last.call;
	assert_int_equal(pc_native_send(a->n, a->link, &accept, w.now), 0);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 1);
	assert_int_equal(pa.ups, 1);
}

/* The relay cannot push pipes on a peer, nor another peer than was asked for. */
static void test_pushed_pipe(void **state)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_OPENED,
				     .has = 1u << PC_NATIVE_F_CALL | 1u << PC_NATIVE_F_PIPE |
					    1u << PC_NATIVE_F_PIPE_TO | 1u << PC_NATIVE_F_PEER |
					    1u << PC_NATIVE_F_MTU,
				     .call = 1,
				     .pipe = 5,
				     .pipe_to = 6,
				     .peer = a->config.identity,
				     .mtu = 100 };

	assert_int_equal(
		pc_native_send(r->n, pc_native_find(r->n, a->config.identity), &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 0);
	r->on_message = NULL;
	call(&pa, NULL);
	msg.call = pa.call;
	msg.pipe_to = r->last.pipe;
	assert_int_equal(
		pc_native_send(r->n, pc_native_find(r->n, a->config.identity), &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 0);
	msg.peer = c->config.identity;
	assert_int_equal(
		pc_native_send(r->n, pc_native_find(r->n, a->config.identity), &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 1);
}

static void test_port(void **state)
{
	struct pc_addr remote = world_address(200, 53);

	assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 1);
	assert_int_equal(pa.pipe->relayed.port, 50000);
	assert_true(pc_addr_equal(&relay.last->ends[1].remote, &remote));
	assert_true(pc_addr_equal(&pa.pipe->remote, &remote));
	assert_null(relay.last->ends[1].link);
	pc_hub_pipe_close(hub, relay.last, PC_NATIVE_R_EXPIRED, w.now);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(relay.pipes, 0);
	relay.no_ports = true;
	assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
}

static void test_candidates_and_receipts(void **state)
{
	struct pc_addr list[2] = { world_address(1, 1), world_address(2, 2) };
	uint8_t receipt[PC_NATIVE_RECEIPT_LEN] = { [135] = 35 };

	open_pipe();
	assert_int_equal(pc_agent_send_candidates(pa.agent, pa.pipe, list, 2, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pc.n_candidates, 2);
	assert_true(pc_addr_equal(&pc.candidates[1], &list[1]));
	assert_true(pc_addr_equal(&pc.observed, &a->addr));
	assert_int_equal(pc_agent_send_receipt(pa.agent, receipt, w.now), 0);
	assert_int_equal(pc_hub_meter(hub, relay.last, 0, 1ull << 40, 7, w.now), 0);
	world_deliver(&w);
	assert_int_equal(relay.receipts, 1);
	assert_int_equal(pa.meters, 1);
}

static void test_moved(void **state)
{
	open_pipe();
	a->addr.port = 4999;
	assert_int_equal(pc_agent_send_candidates(pa.agent, pa.pipe, NULL, 0, w.now), 0);
	world_last(&w)->from = a->addr;
	world_deliver(&w);
	assert_int_equal(relay.again, 1);
	assert_int_equal(relay.last->ends[0].path.remote.port, 4999);
	assert_passes(&pa, &pc, "x");
}

/* Registrations run out when a peer falls silent, before its session does. */
static void test_registration_lapses(void **state)
{
	struct pc_hub_stats st;

	world_pass(&w, 500 * PC_NS_PER_S);
	assert_true(pa.registrations > 6);
	a->on_tick = NULL;
	a->on_up = NULL;
	world_pass(&w, 130 * PC_NS_PER_S);
	assert_false(pc_hub_registered(hub, a->config.identity));
	pc_hub_get_stats(hub, &st);
	assert_int_equal(st.registered, 1);
	assert_int_equal(r->downs, 0);
}

/* --- after a restart --- */

/* The relay forgets everything, but for what its data plane has. */
static struct pc_hub_pipe restart_relay(void)
{
	struct pc_hub_pipe pipe = *relay.last;

	pipe.ends[0].link = pipe.ends[1].link = NULL;
	pc_hub_free(hub);
	pc_native_free(r->n);
	node_start(r);
	start_hub();
	memset(&relay, 0, sizeof(relay));
	return pipe;
}

static void adopt(const struct pc_hub_pipe *pipe)
{
	assert_int_equal(pc_hub_adopt(hub, pipe, w.now, &relay.last), 0);
	relay.pipes++;
}

static void test_relay_restarts(void **state)
{
	struct pc_hub_pipe pipe;

	open_pipe();
	pipe = restart_relay();
	adopt(&pipe);
	assert_int_equal(pc_hub_adopt(hub, &pipe, w.now, &relay.last), PC_ERR_EXISTS);
	/* Nobody noticed so far. */
	assert_passes(&pa, &pc, "hello");
	assert_passes(&pc, &pa, "there");
	assert_null(relay.last->ends[0].link);
	world_pass(&w, 60 * PC_NS_PER_S);
	assert_true(pc_hub_registered(hub, a->config.identity));
	assert_ptr_equal(relay.last->ends[0].link, pc_native_find(r->n, a->config.identity));
	assert_ptr_equal(relay.last->ends[1].link, pc_native_find(r->n, c->config.identity));
	assert_int_equal(relay.again, 2);
	/* And it goes on as if nothing had been. */
	world_pass(&w, 1000 * PC_NS_PER_S);
	assert_int_equal(pa.downs + pc.downs, 0);
	assert_passes(&pa, &pc, "still");
	assert_passes(&pc, &pa, "here");
	pc_agent_close(pc.agent, pc.pipe, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(relay.pipes, 0);
}

/* Its data plane is gone as well: who has a pipe of it hears that it is no more. */
static void test_relay_forgets(void **state)
{
	open_pipe();
	restart_relay();
	world_pass(&w, 60 * PC_NS_PER_S);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pc.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
	open_pipe();
	assert_passes(&pa, &pc, "again");
}

/* A pipe is no one's but of those that had it, and nobody gets it by knowing its index. */
static void test_not_ones_own_to_keep(void **state)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_KEEP,
				     .has = 1u << PC_NATIVE_F_PIPE | 1u << PC_NATIVE_F_PIPE_TO };
	struct pc_hub_pipe pipe;

	open_pipe();
	pipe = restart_relay();
	adopt(&pipe);
	c->on_up = NULL;
	c->on_tick = NULL;
	world_pass(&w, 60 * PC_NS_PER_S);
	/* The other end's, and its own with a wrong index of its own. */
	for (int i = 0; i < 2; i++) {
		msg.pipe_to = i ? pa.pipe->out : pc.pipe->out;
		msg.pipe = i ? pa.pipe->in + 1 : pc.pipe->in;
		assert_int_equal(pc_native_send(a->n, a->link, &msg, w.now), 0);
		world_deliver(&w);
		assert_int_equal(a->last.type, PC_NATIVE_CLOSE);
		assert_int_equal(a->last.pipe_to, msg.pipe);
	}
	assert_int_equal(pa.downs, 0);
	assert_null(relay.last->ends[1].link);
	/* The other one does not come back. */
	world_pass(&w, 61 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
}

/* A peer that forgot its pipe, though its session goes on. */
static void test_not_kept(void **state)
{
	open_pipe();
	c->on_up = NULL;
	c->on_tick = NULL;
	world_pass(&w, 200 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 1);
	world_pass(&w, 50 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
}

/* It has none of the pipes that its earlier self had, and says so by beginning. */
static void test_peer_restarts(void **state)
{
	open_pipe();
	pc_agent_free(pc.agent);
	pc_native_free(c->n);
	node_start(c);
	start_peer(&pc, c);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
	assert_int_equal(r->downs, 0);
	open_pipe();
}

/* --- grants --- */

/* @reason: the relay will refuse it for; else it is good for @seconds from when it is shown. */
static const uint8_t *grant(uint8_t reason, uint8_t seconds)
{
	static uint8_t bytes[PC_NATIVE_GRANT_LEN];

	bytes[0] = reason;
	bytes[1] = seconds;
	bytes[sizeof(bytes) - 1] = 77;
	return bytes;
}

static void test_grant_runs_out(void **state)
{
	struct pc_addr remote = world_address(200, 53);

	shown = grant(0, 30);
	open_pipe();
	assert_int_equal(relay.grants, 1);
	assert_true(relay.last->until_ns == w.now + 30 * PC_NS_PER_S);
	world_pass(&w, 29 * PC_NS_PER_S);
	assert_passes(&pa, &pc, "yet");
	world_pass(&w, 2 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 1);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(pc.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(pa.downs + pc.downs, 2);
	/* A port ends the same, once it has been shown with a registration. */
	assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 2);
	world_pass(&w, 62 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 2);
	assert_int_equal(pa.downs, 2);
	/* While the other one is being asked. */
	shown = grant(0, 5);
	c->on_message = NULL;
	call(&pa, NULL);
	c->on_message = agent_message;
	w.now += 6 * PC_NS_PER_S;
	pc_agent_message(pc.agent, &c->last, w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
}

static void test_grant_refused(void **state)
{
	static const uint8_t reasons[] = { PC_NATIVE_R_EXPIRED, PC_NATIVE_R_GRANT,
					   PC_NATIVE_R_EARLY, PC_NATIVE_R_NO_CLOCK };
	struct pc_addr remote = world_address(200, 53);

	for (size_t i = 0; i < PC_ARRAY_SIZE(reasons); i++) {
		shown = grant(reasons[i], 30);
		call(&pa, NULL);
		assert_int_equal(pa.reason, reasons[i]);
		pa.reason = 0;
		assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
		world_deliver(&w);
		assert_int_equal(pa.reason, reasons[i]);
	}
	assert_int_equal(pa.refusals, 2 * PC_ARRAY_SIZE(reasons));
	/* The other one was not even asked; what the relay says no to anyway is not judged. */
	assert_int_equal(pc.ups, 0);
	relay.denies = true;
	call(&pa, NULL);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
	assert_int_equal(relay.grants, 2 * PC_ARRAY_SIZE(reasons));
}

/* In place of the one that a pipe has, or of none. Only from who asked for the pipe. */
static void test_later_grant(void **state)
{
	shown = grant(0, 30);
	open_pipe();
	world_pass(&w, 20 * PC_NS_PER_S);
	pc_agent_grant(pa.agent, pa.pipe, grant(0, 100), w.now);
	world_deliver(&w);
	assert_true(relay.last->until_ns > w.now + 99 * PC_NS_PER_S);
	assert_int_equal(relay.again, 1);
	/* It is shown again with each registration, or the pipe would end now. */
	world_pass(&w, 200 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 1);
	assert_passes(&pa, &pc, "still");
	pc_agent_grant(pc.agent, pc.pipe, grant(PC_NATIVE_R_GRANT, 0), w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 1);
	pc_agent_grant(pa.agent, pa.pipe, grant(PC_NATIVE_R_EXPIRED, 0), w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(pc.reason, PC_NATIVE_R_EXPIRED);
	shown = NULL;
	open_pipe();
	assert_true(relay.last->until_ns == 0);
	pc_agent_grant(pa.agent, pa.pipe, grant(0, 9), w.now);
	world_deliver(&w);
	world_pass(&w, 10 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 1);
}

/* A relay that took a pipe up knows no grant: what it knows is how long the pipe may live. */
static void test_grant_after_restart(void **state)
{
	struct pc_hub_pipe pipe;

	shown = grant(0, 200);
	open_pipe();
	pipe = restart_relay();
	pipe.until_ns = w.now + 70 * PC_NS_PER_S;
	adopt(&pipe);
	world_pass(&w, 65 * PC_NS_PER_S);
	assert_non_null(relay.last->ends[0].link);
	assert_true(relay.last->until_ns > w.now + 130 * PC_NS_PER_S);
	pipe = restart_relay();
	pipe.until_ns = w.now + 90 * PC_NS_PER_S;
	adopt(&pipe);
	grant(PC_NATIVE_R_GRANT, 0); /* the relay has another identity, say */
	memcpy(pa.pipe->grant, shown, sizeof(pa.pipe->grant));
	world_pass(&w, 65 * PC_NS_PER_S);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GRANT);
	/* Not shown at all. */
	shown = grant(0, 200);
	open_pipe();
	pipe = restart_relay();
	pipe.until_ns = w.now + 90 * PC_NS_PER_S;
	adopt(&pipe);
	pa.pipe->granted = false;
	world_pass(&w, 88 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 1);
	world_pass(&w, 4 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
}

/* Judging costs: so many a minute for each peer. */
static void test_too_many_grants(void **state)
{
	shown = grant(PC_NATIVE_R_GRANT, 0);
	for (int i = 0; i < 500; i++)
		call(&pa, NULL);
	assert_in_range(relay.grants, 100, 140);
	assert_int_equal(pa.reason, PC_NATIVE_R_FULL);
	/* Another peer is none the worse for it. */
	call(&pc, NULL);
	assert_int_equal(pc.reason, PC_NATIVE_R_GRANT);
	world_pass(&w, 10 * PC_NS_PER_S);
	call(&pa, NULL);
	assert_int_equal(pa.reason, PC_NATIVE_R_GRANT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(test_pipe),
		TEST(test_forged_frames),
		TEST(test_no_consent),
		TEST(test_unknown_peer),
		TEST(test_no_answer),
		TEST(test_quota),
		TEST(test_other_end_goes),
		TEST(test_not_ones_own),
		TEST(test_pushed_pipe),
		TEST(test_port),
		TEST(test_candidates_and_receipts),
		TEST(test_moved),
		TEST(test_registration_lapses),
		TEST(test_relay_restarts),
		TEST(test_relay_forgets),
		TEST(test_not_ones_own_to_keep),
		TEST(test_not_kept),
		TEST(test_peer_restarts),
		TEST(test_grant_runs_out),
		TEST(test_grant_refused),
		TEST(test_later_grant),
		TEST(test_grant_after_restart),
		TEST(test_too_many_grants),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
