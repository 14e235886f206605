/* SPDX-License-Identifier: MIT */
/*
 * Native machines, a hub and an agent. The input is a script: frames are delivered, lost, changed
 * (with or without a mac1 that fits), invented; control messages go through a true session; time
 * passes; the relay starts again and adopts its pipes. No script may bring up a session with
 * somebody who did not prove who he is, and in the end nothing may be left.
 */
#include <stdint.h>

#include "account/grant.h"
#include "base/wire.h"
#include "relay/native_agent.h"
#include "relay/native_hub.h"
#include "relay/native_int.h"
#include "tests/unit/native_world.h"

#define MAX_STEPS 64
#define MAX_PIPES 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct world w;
	struct pc_hub *hub;
	struct pc_agent *agent;
	struct pc_reader in;
	struct pc_hub_pipe *pipes[MAX_PIPES]; /* that are forwarded */
	unsigned int n_pipes;
	uint8_t grant[PC_GRANT_LEN];
	bool leaving;
} run;

static struct node *const peer = &run.w.nodes[0], *const relay = &run.w.nodes[1],
			  *const other = &run.w.nodes[2];

/* --- what lies above the machines --- */

static bool may_connect(void *ctx, const uint8_t caller[static 32], const uint8_t callee[static 32])
{
	return true;
}

static int pipe_set(void *ctx, struct pc_hub_pipe *pipe, bool again)
{
	for (unsigned int i = 0; again && i < run.n_pipes; i++) {
		if (run.pipes[i] == pipe)
			return 0;
	}
	if (again || run.n_pipes == MAX_PIPES)
		abort();
	run.pipes[run.n_pipes++] = pipe;
	return 0;
}

static void pipe_del(void *ctx, struct pc_hub_pipe *pipe)
{
	for (unsigned int i = 0; i < run.n_pipes; i++) {
		if (run.pipes[i] != pipe)
			continue;
		run.pipes[i] = run.pipes[--run.n_pipes];
		return;
	}
	if (!run.leaving)
		abort();
}

static int port_open(void *ctx, struct pc_hub_pipe *pipe, const struct pc_addr *remote,
		     struct pc_addr *ret_relayed)
{
	*ret_relayed = world_address(99, 50000);
	return 0;
}

static void take_receipt(void *ctx, struct pc_native_link *link, const uint8_t *blob)
{
	volatile uint8_t last = blob[PC_NATIVE_RECEIPT_LEN - 1];

	(void)last;
}

/* As a relay, but what is not signed will do. */
static uint16_t take_grant(void *ctx, struct pc_native_link *link, const uint8_t *grant,
			   uint64_t *ret_until_ns)
{
	struct pc_grant terms;

	if (pc_grant_parse(grant, PC_NATIVE_GRANT_LEN, &terms) < 0)
		return PC_NATIVE_R_GRANT;
	*ret_until_ns = run.w.now + terms.not_after_s % 300 * PC_NS_PER_S;
	return 0;
}

static const struct pc_hub_ops hub_ops = {
	.may_connect = may_connect,
	.pipe_set = pipe_set,
	.pipe_del = pipe_del,
	.port_open = port_open,
	.grant = take_grant,
	.receipt = take_receipt,
	.random = world_random,
};

static void on_registered(void *ctx, const struct pc_addr *observed, uint32_t lifetime_s)
{
}

static bool on_allowed(void *ctx, const uint8_t identity[static 32], const char *service)
{
	return !service || strlen(service) % 2 == 0;
}

static void on_pipe_up(void *ctx, struct pc_agent_pipe *pipe)
{
	if (pipe->in == 0 || pipe->out == 0)
		abort();
}

static void on_pipe_down(void *ctx, struct pc_agent_pipe *pipe, uint16_t reason)
{
}

static void on_refused(void *ctx, uint32_t call, uint16_t reason)
{
}

static void on_candidates(void *ctx, struct pc_agent_pipe *pipe, const struct pc_addr *observed,
			  const struct pc_addr *list, unsigned int n)
{
	if (n > PC_NATIVE_MAX_CANDIDATES)
		abort();
}

static void on_meter(void *ctx, struct pc_agent_pipe *pipe, uint64_t up, uint64_t down)
{
}

static const struct pc_agent_ops agent_ops = {
	.registered = on_registered,
	.allowed = on_allowed,
	.pipe_up = on_pipe_up,
	.pipe_down = on_pipe_down,
	.refused = on_refused,
	.candidates = on_candidates,
	.meter = on_meter,
	.random = world_random,
};

/* Whoever is there has signed: all know only the identities of the three nodes. */
static void check_identity(const struct node *node, struct pc_native_link *link)
{
	for (unsigned int i = 0; i < WORLD_NODES; i++) {
		const struct node *known = &run.w.nodes[i];

		if (memcmp(pc_native_identity(link), known->config.identity, 32) == 0 &&
		    memcmp(pc_native_static_key(link), known->static_public, 32) == 0)
			return;
	}
	abort();
}

static void up(struct node *node, struct pc_native_link *link, bool renewed)
{
	check_identity(node, link);
	if (node == peer)
		pc_agent_up(run.agent, link, renewed, run.w.now);
}

static void down(struct node *node, struct pc_native_link *link, uint16_t reason)
{
	if (node == peer)
		pc_agent_down(run.agent, reason, run.w.now);
	else if (node == relay)
		pc_hub_down(run.hub, link, run.w.now);
}

static void moved(struct node *node, struct pc_native_link *link)
{
	if (node == relay)
		pc_hub_moved(run.hub, link, run.w.now);
}

static void message(struct node *node, struct pc_native_link *link, const struct pc_native_msg *m)
{
	if (node == peer)
		pc_agent_message(run.agent, m, run.w.now);
	else if (node == relay)
		pc_hub_message(run.hub, link, m, run.w.now);
}

static void tick(struct node *node)
{
	if (node == peer)
		pc_agent_tick(run.agent, run.w.now);
	else if (node == relay)
		pc_hub_tick(run.hub, run.w.now);
}

/* --- steps --- */

static const uint8_t *take(size_t *ret_len)
{
	size_t len = pc_read_u8(&run.in) * 3u;

	len = len < pc_reader_left(&run.in) ? len : pc_reader_left(&run.in);
	*ret_len = len;
	return pc_read_bytes(&run.in, len);
}

static void step_raw(uint8_t pick)
{
	struct pc_addr from = world_address(pick, 1000);
	size_t len;
	const uint8_t *bytes = take(&len);

	world_hand(&run.w, &run.w.nodes[pick % WORLD_NODES], &from, bytes, len);
}

/* A frame of the wire, changed; with a mac1 made anew where the key is public. */
static void step_change(uint8_t pick)
{
	struct frame f = run.w.wire[(run.w.sent - 1 - pick % 8) % WORLD_FRAMES];
	struct node *to = world_at(&run.w, &f.to);
	unsigned int at = pc_read_u8(&run.in) * 2u + (pick >> 7);
	uint8_t flip = pc_read_u8(&run.in), key[32];

	if (!to || !run.w.sent || f.len < 64)
		return;
	f.data[at % f.len] ^= flip;
	if (pick & 0x40)
		f.len -= at % f.len;
	if (pick & 0x20 && f.len >= 64) {
		pc_native_mac_key(to->config.identity, key);
		pc_native_mac(key, sizeof(key), f.data, f.len - 32, f.data + f.len - 32);
	}
	if (pick & 0x10)
		f.from.port++;
	world_hand(&run.w, to, &f.from, f.data, f.len);
}

/* Through a true session: what authentication does not keep out. */
static void step_plain(uint8_t pick)
{
	struct node *from = &run.w.nodes[pick % WORLD_NODES];
	uint8_t plain[1024];
	struct pc_writer w;
	size_t len;
	const uint8_t *bytes = take(&len);

	if (!from->link || !from->link->current)
		return;
	pc_writer_init(&w, plain, sizeof(plain));
	if (pick & 0x80) {
		/* A header that fits around the fuzzer's fields. */
		pc_write_u16(&w, (uint16_t)(pick >> 2 & 0x1f));
		pc_write_u16(&w, (uint16_t)len);
	}
	if (len)
		pc_write_bytes(&w, bytes, len);
	pc_native_send_plain(from->n, from->link->current, &from->link->path, plain, w.len);
	world_deliver(&run.w);
}

static void step_connect(uint8_t pick)
{
	struct node *from = &run.w.nodes[pick % WORLD_NODES];
	struct node *to = &run.w.nodes[(pick >> 2) % WORLD_NODES];
	uint32_t call;

	if (pick & 0x40)
		pc_agent_connect(run.agent, to->config.identity, "ab",
				 pick & 0x80 ? run.grant : NULL, run.w.now, &call);
	else if (from != to)
		world_connect(&run.w, from, to, pick & 0x80);
	if (pick & 0x20)
		world_deliver(&run.w);
}

static void step_frame(uint8_t pick)
{
	struct pc_agent_pipe *pipe;
	struct pc_pipe_frame f;
	size_t len;
	const uint8_t *bytes = take(&len);

	if (len && pc_agent_frame(run.agent, bytes, len, &f, &pipe) == 0 && f.pipe != pipe->in)
		abort();
}

static void start_hub(void)
{
	struct pc_hub_config hub = { .max_pipes = MAX_PIPES,
				     .max_pipes_per_peer = 4,
				     .register_lifetime_s = 100,
				     .mtu = 1400 };

	if (pc_hub_new(&hub, relay->n, &hub_ops, relay, run.w.now, &run.hub) < 0)
		abort();
}

/* The relay forgets all but what its data plane has, or that too. */
static void restart_relay(bool adopt)
{
	struct pc_hub_pipe pipes[MAX_PIPES];
	unsigned int n = run.n_pipes;

	for (unsigned int i = 0; i < n; i++) {
		pipes[i] = *run.pipes[i];
		pipes[i].ends[0].link = pipes[i].ends[1].link = NULL;
	}
	run.n_pipes = 0;
	run.leaving = true;
	pc_hub_free(run.hub);
	run.leaving = false;
	pc_native_free(relay->n);
	relay->link = NULL;
	node_start(relay);
	start_hub();
	for (unsigned int i = 0; adopt && i < n; i++) {
		if (pc_hub_adopt(run.hub, &pipes[i], run.w.now, &run.pipes[run.n_pipes]) < 0)
			abort();
		run.n_pipes++;
	}
}

static void step_world(uint8_t pick)
{
	struct node *node = &run.w.nodes[pick % WORLD_NODES];

	switch (pick >> 2 & 7) {
	case 0:
		world_pass(&run.w, (pick >> 5) * PC_NS_PER_S);
		break;
	case 1:
		world_pass(&run.w, 60 * PC_NS_PER_S);
		break;
	case 2:
		if (node->link)
			pc_native_close(node->n, node->link, PC_NATIVE_R_DONE, run.w.now);
		break;
	case 3:
		node->trusts = !node->trusts;
		break;
	case 4:
		run.w.lose = run.w.lose ? 0 : 0x11111111u << (pick >> 5 & 3);
		break;
	case 5:
		run.w.realtime_s = run.w.realtime_s ? 0 : WORLD_NOW_S;
		break;
	case 6:
		restart_relay(pick & 0x80);
		break;
	default:
		world_deliver_one(&run.w);
	}
}

static void make_grant(void)
{
	struct pc_grant terms = { .not_after_s = 40 };

	if (pc_grant_write(&terms, run.grant) < 0)
		abort();
}

static void begin(void)
{
	struct pc_agent_config agent = { .max_pipes = 3 };

	memset(&run, 0, sizeof(run));
	world_init(&run.w);
	for (unsigned int i = 0; i < WORLD_NODES; i++) {
		struct node *node = &run.w.nodes[i];

		node->on_up = up;
		node->on_down = down;
		node->on_moved = moved;
		node->on_message = message;
		node->on_tick = tick;
	}
	start_hub();
	make_grant();
	if (pc_agent_new(&agent, peer->n, &agent_ops, peer, run.w.now, &run.agent) < 0)
		abort();
}

/* Silence: everything must run out by itself. */
static void finish(void)
{
	struct pc_hub_stats st;

	run.w.lose = ~0u;
	run.w.step = 3 * PC_NS_PER_S;
	world_lose(&run.w);
	world_pass(&run.w, 300 * PC_NS_PER_S);
	pc_hub_get_stats(run.hub, &st);
	if (st.pipes || st.calls || st.registered || run.n_pipes)
		abort();
	for (unsigned int i = 0; i < WORLD_NODES; i++) {
		struct pc_native *n = run.w.nodes[i].n;

		pc_native_tick(n, run.w.now);
		if (n->n_links || n->keys.count || n->attempts.count ||
		    pc_native_next_deadline(n) != UINT64_MAX)
			abort();
	}
	pc_agent_free(run.agent);
	pc_hub_free(run.hub);
	world_free(&run.w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	pc_reader_init(&run.in, data, size);
	for (unsigned int i = 0; i < MAX_STEPS && pc_reader_left(&run.in) > 1; i++) {
		uint8_t op = pc_read_u8(&run.in), pick = pc_read_u8(&run.in);

		switch (op & 7) {
		case 0:
			step_raw(pick);
			break;
		case 1:
			step_change(pick);
			break;
		case 2:
		case 3:
			step_plain(pick);
			break;
		case 4:
			step_connect(pick);
			break;
		case 5:
			step_frame(pick);
			break;
		case 6:
			step_world(pick);
			break;
		default:
			world_deliver_one(&run.w);
		}
		/* What is under way is bounded by what each step may send. */
		if (run.w.sent - run.w.delivered > WORLD_FRAMES / 2)
			world_lose(&run.w);
	}
	finish();
	return 0;
}
