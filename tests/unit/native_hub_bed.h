/* SPDX-License-Identifier: MIT */
/* Two agents and a relay's hub on the machines of native_world.h, registered and led by tests. */
#ifndef PC_TEST_NATIVE_HUB_BED_H
#define PC_TEST_NATIVE_HUB_BED_H

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

static inline bool may_connect(void *ctx, const uint8_t caller[static 32],
			       const uint8_t callee[static 32])
{
	return !relay.denies;
}

static inline int pipe_set(void *ctx, struct pc_hub_pipe *pipe, bool again)
{
	if (relay.full)
		return PC_ERR_FULL;
	relay.pipes += !again;
	relay.again += again;
	relay.last = pipe;
	return 0;
}

static inline void pipe_del(void *ctx, struct pc_hub_pipe *pipe)
{
	relay.pipes--;
	relay.last = NULL;
}

static inline int port_open(void *ctx, struct pc_hub_pipe *pipe, const struct pc_addr *remote,
			    struct pc_addr *ret_relayed)
{
	if (relay.no_ports)
		return PC_ERR_REFUSED;
	*ret_relayed = world_address(99, 50000);
	return 0;
}

/* Its first byte is the reason to refuse it, its second one how many seconds it is good for. */
static inline uint16_t take_grant(void *ctx, struct pc_native_link *link, const uint8_t *grant,
				  uint64_t *ret_until_ns)
{
	assert_int_equal(grant[PC_NATIVE_GRANT_LEN - 1], 77);
	relay.grants++;
	if (grant[0])
		return grant[0];
	*ret_until_ns = w.now + grant[1] * PC_NS_PER_S;
	return 0;
}

static inline void lapsed(void *ctx, const struct pc_hub_pipe *pipe)
{
	assert_ptr_equal(pipe, relay.last);
	relay.lapsed++;
}

static inline void take_receipt(void *ctx, struct pc_native_link *link, const uint8_t *receipt)
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

static inline void hub_down(struct node *node, struct pc_native_link *link, uint16_t reason)
{
	pc_hub_down(hub, link, w.now);
}

static inline void hub_moved(struct node *node, struct pc_native_link *link)
{
	pc_hub_moved(hub, link, w.now);
}

static inline void hub_message(struct node *node, struct pc_native_link *link,
			       const struct pc_native_msg *msg)
{
	pc_hub_message(hub, link, msg, w.now);
}

static inline void hub_tick(struct node *node)
{
	pc_hub_tick(hub, w.now);
}

/* --- the peers --- */

static inline struct peer *peer_of(const void *ctx)
{
	return ctx == a ? &pa : &pc;
}

static inline void registered(void *ctx, const struct pc_addr *observed, uint32_t lifetime_s)
{
	peer_of(ctx)->registrations++;
	peer_of(ctx)->observed = *observed;
}

static inline bool allowed(void *ctx, const uint8_t peer[static 32], const char *service)
{
	struct peer *p = peer_of(ctx);
	const struct node *other = ctx == a ? c : a;

	snprintf(p->service, sizeof(p->service), "%s", service ? service : "(none)");
	return p->allows && memcmp(peer, other->config.identity, 32) == 0;
}

static inline void pipe_up(void *ctx, struct pc_agent_pipe *pipe)
{
	peer_of(ctx)->ups++;
	peer_of(ctx)->pipe = pipe;
}

static inline void pipe_down(void *ctx, struct pc_agent_pipe *pipe, uint16_t reason)
{
	peer_of(ctx)->downs++;
	peer_of(ctx)->reason = reason;
	peer_of(ctx)->pipe = NULL;
}

static inline void refused(void *ctx, uint32_t call, uint16_t reason)
{
	assert_int_equal(call, peer_of(ctx)->call);
	peer_of(ctx)->refusals++;
	peer_of(ctx)->reason = reason;
}

static inline void candidates(void *ctx, struct pc_agent_pipe *pipe, const struct pc_addr *observed,
			      const struct pc_addr *list, unsigned int n)
{
	struct peer *p = peer_of(ctx);

	assert_ptr_equal(pipe, p->pipe);
	p->observed = *observed;
	p->n_candidates = n;
	memcpy(p->candidates, list, n * sizeof(*list));
}

static inline void meter(void *ctx, struct pc_agent_pipe *pipe, uint64_t up, uint64_t down)
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

static inline void agent_up(struct node *node, struct pc_native_link *link, bool renewed)
{
	pc_agent_up(peer_of(node)->agent, link, renewed, w.now);
}

static inline void agent_down(struct node *node, struct pc_native_link *link, uint16_t reason)
{
	pc_agent_down(peer_of(node)->agent, reason, w.now);
}

static inline void agent_message(struct node *node, struct pc_native_link *link,
				 const struct pc_native_msg *msg)
{
	pc_agent_message(peer_of(node)->agent, msg, w.now);
}

static inline void agent_tick(struct node *node)
{
	pc_agent_tick(peer_of(node)->agent, w.now);
}

static inline void start_peer(struct peer *p, struct node *node)
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

static inline void start_hub(void)
{
	struct pc_hub_config config = {
		.max_pipes = 8, .max_pipes_per_peer = 3, .register_lifetime_s = 120, .mtu = 1400
	};

	assert_int_equal(pc_hub_new(&config, r->n, &hub_ops, r, w.now, &hub), 0);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
	shown = NULL;
	pc_agent_free(pa.agent);
	pc_agent_free(pc.agent);
	pc_hub_free(hub);
	world_free(&w);
	return 0;
}

static inline void call(struct peer *from, const char *service)
{
	const struct node *other = from == &pa ? c : a;

	assert_int_equal(pc_agent_connect(from->agent, other->config.identity, service, shown,
					  w.now, &from->call),
			 0);
	world_deliver(&w);
}

static inline void open_pipe(void)
{
	call(&pa, "udp:51820");
	assert_non_null(pa.pipe);
	assert_non_null(pc.pipe);
}

/* What the relay does with a frame. 0, or why it is dropped. */
static inline int forward(uint8_t *frame, size_t len)
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

static inline size_t write_frame(struct pc_agent_pipe *pipe, uint8_t *frame, const char *text)
{
	struct pc_pipe_frame f = { .pipe = pipe->out, .counter = ++pipe->counter };
	static const uint8_t data_key[32] = { 1 };

	assert_int_equal(pc_pipe_seal(frame, &f, data_key, pipe->out_key, text, strlen(text)), 0);
	return PC_PIPE_OVERHEAD + strlen(text);
}

static inline void assert_passes(struct peer *from, struct peer *to, const char *text)
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

#endif
