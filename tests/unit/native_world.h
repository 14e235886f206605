/* SPDX-License-Identifier: MIT */
/*
 * Native machines that talk to each other: a wire that holds datagrams until they are delivered,
 * changed, repeated or lost, a fake clock, and randomness that is the same in each run.
 */
#ifndef PC_TEST_NATIVE_WORLD_H
#define PC_TEST_NATIVE_WORLD_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/err.h"
#include "relay/native.h"
#include "relay/noise.h"

#define WORLD_NODES   3
#define WORLD_FRAMES  256
#define WORLD_START   (1000 * PC_NS_PER_S)
#define WORLD_NOW_S   1700000000ull
#define WORLD_FOREVER 4000000000ull

struct world;

struct node {
	struct world *w;
	struct pc_native *n;
	struct pc_native_config config;
	uint8_t secret_key[64];
	uint8_t static_public[32];
	struct pc_addr addr;
	bool trusts;
	uint8_t psk[32];
	/* What happened. */
	unsigned int ups, renewals, downs, moves, messages;
	uint16_t reason;
	struct pc_native_link *link; /* the last one that came up */
	struct pc_native_msg last;   /* its pointers are not valid any more */
	bool close_on_message;
	/* What lies above, where a test has something. */
	void (*on_up)(struct node *node, struct pc_native_link *link, bool renewed);
	void (*on_down)(struct node *node, struct pc_native_link *link, uint16_t reason);
	void (*on_moved)(struct node *node, struct pc_native_link *link);
	void (*on_message)(struct node *node, struct pc_native_link *link,
			   const struct pc_native_msg *msg);
	void (*on_tick)(struct node *node);
	unsigned int drops[PC_NATIVE_DROP_COUNT];
};

struct frame {
	struct pc_addr from, to;
	size_t len;
	uint8_t data[PC_NATIVE_MAX_FRAME];
};

struct world {
	struct node nodes[WORLD_NODES];
	struct frame wire[WORLD_FRAMES]; /* in order; delivered ones stay to be repeated */
	unsigned int sent, delivered;
	uint64_t now, realtime_s;
	uint64_t step; /* of passing time */
	uint64_t random_counter;
	uint32_t lose; /* every frame whose bit is set in sequence, 1 in 32 bits */
};

static inline void world_random(void *ctx, void *buf, size_t len)
{
	struct node *node = ctx;
	uint8_t seed[32] = { 0 };

	memcpy(seed, &node->w->random_counter, 8);
	node->w->random_counter++;
	randombytes_buf_deterministic(buf, len, seed);
}

static inline void world_send(void *ctx, const struct pc_native_path *path, const void *data,
			      size_t len)
{
	struct node *node = ctx;
	struct world *w = node->w;
	struct frame *f = &w->wire[w->sent % WORLD_FRAMES];

	assert(len <= sizeof(f->data));
	/* Nobody takes them: a network loses what its queues cannot hold. */
	if (w->sent - w->delivered >= WORLD_FRAMES)
		return;
	/* Free of STUN, DTLS, RTP, QUIC and channels. */
	assert(((const uint8_t *)data)[0] >= 4 && ((const uint8_t *)data)[0] <= 15);
	f->from = path->local.ip.family ? path->local : node->addr;
	f->to = path->remote;
	f->len = len;
	memcpy(f->data, data, len);
	w->sent++;
}

static inline bool world_trusted(void *ctx, const uint8_t identity[static 32])
{
	struct node *node = ctx;

	return node->trusts;
}

static inline void world_psk(void *ctx, const uint8_t identity[static 32],
			     uint8_t ret_psk[static 32])
{
	struct node *node = ctx;

	memcpy(ret_psk, node->psk, 32);
}

static inline void world_up(void *ctx, struct pc_native_link *link, bool renewed)
{
	struct node *node = ctx;

	node->link = link;
	node->ups++;
	node->renewals += renewed;
	if (node->on_up)
		node->on_up(node, link, renewed);
}

static inline void world_down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
	struct node *node = ctx;

	if (node->link == link)
		node->link = NULL;
	node->downs++;
	node->reason = reason;
	if (node->on_down)
		node->on_down(node, link, reason);
}

static inline void world_moved(void *ctx, struct pc_native_link *link)
{
	struct node *node = ctx;

	node->moves++;
	if (node->on_moved)
		node->on_moved(node, link);
}

static inline void world_message(void *ctx, struct pc_native_link *link,
				 const struct pc_native_msg *msg)
{
	struct node *node = ctx;

	node->messages++;
	node->last = *msg;
	if (node->on_message)
		node->on_message(node, link, msg);
	if (node->close_on_message)
		pc_native_close(node->n, link, PC_NATIVE_R_DONE, node->w->now);
}

static inline void world_drop(void *ctx, enum pc_native_drop reason)
{
	struct node *node = ctx;

	node->drops[reason]++;
}

static const struct pc_native_ops world_ops = {
	.send = world_send,
	.trusted = world_trusted,
	.psk = world_psk,
	.up = world_up,
	.down = world_down,
	.moved = world_moved,
	.message = world_message,
	.drop = world_drop,
	.random = world_random,
};

static inline struct pc_addr world_address(uint8_t host, uint16_t port)
{
	return (struct pc_addr){ .ip = pc_ip4(192, 0, 2, host), .port = port };
}

static inline void node_keys(struct node *node, uint8_t fill)
{
	struct pc_noise_keypair pair;
	uint8_t seed[32];

	memset(seed, fill, sizeof(seed));
	crypto_sign_seed_keypair(node->config.identity, node->secret_key, seed);
	memset(node->config.static_secret, fill + 100, 32);
	pc_noise_keypair(node->config.static_secret, &pair);
	memcpy(node->static_public, pair.public_key, 32);
	pc_statement_make(node->secret_key, node->static_public, 0, WORLD_FOREVER,
			  node->config.statement);
}

static inline void node_start(struct node *node)
{
	int rc = pc_native_new(&node->config, &world_ops, node, node->w->now, &node->n);

	assert(rc == 0);
	(void)rc;
}

static inline void world_init(struct world *w)
{
	int rc = sodium_init();

	assert(rc >= 0);
	(void)rc;
	memset(w, 0, sizeof(*w));
	w->now = WORLD_START;
	w->step = PC_NS_PER_S / 4;
	w->realtime_s = WORLD_NOW_S;
	for (unsigned int i = 0; i < WORLD_NODES; i++) {
		struct node *node = &w->nodes[i];

		node->w = w;
		node->addr = world_address((uint8_t)(10 + i), 4000);
		node->trusts = true;
		node->config.max_links = 16;
		node->config.handshakes_per_s = 100;
		node->config.source_handshakes_per_s = 10;
		node->config.heartbeat_ns = 25 * PC_NS_PER_S;
		node_keys(node, (uint8_t)(1 + i));
		node_start(node);
	}
}

static inline void world_free(struct world *w)
{
	for (unsigned int i = 0; i < WORLD_NODES; i++)
		pc_native_free(w->nodes[i].n);
}

static inline struct node *world_at(struct world *w, const struct pc_addr *addr)
{
	for (unsigned int i = 0; i < WORLD_NODES; i++) {
		if (pc_addr_equal(&w->nodes[i].addr, addr))
			return &w->nodes[i];
	}
	return NULL;
}

/* In a buffer of exactly its size, so that a sanitizer sees every byte too far. */
static inline void world_hand(struct world *w, struct node *to, const struct pc_addr *from,
			      const void *data, size_t len)
{
	struct pc_native_path path = { .local = to->addr, .remote = *from };
	uint8_t *copy = malloc(len ? len : 1);

	assert(copy);
	if (len)
		memcpy(copy, data, len);
	pc_native_input(to->n, &path, copy, len, w->now, w->realtime_s);
	free(copy);
}

static inline void world_deliver_one(struct world *w)
{
	struct frame f = w->wire[w->delivered % WORLD_FRAMES];
	struct node *to = world_at(w, &f.to);
	bool lost = w->lose >> w->delivered % 32 & 1;

	w->delivered++;
	if (to && !lost)
		world_hand(w, to, &f.from, f.data, f.len);
}

static inline void world_deliver(struct world *w)
{
	for (unsigned int i = 0; i < 10 * WORLD_FRAMES && w->delivered < w->sent; i++)
		world_deliver_one(w);
}

/* Forgets what is on the wire. */
static inline void world_lose(struct world *w)
{
	w->delivered = w->sent;
}

static inline struct frame *world_last(struct world *w)
{
	return &w->wire[(w->sent - 1) % WORLD_FRAMES];
}

/* Time passes in steps; what is due happens, and everything is delivered. */
static inline void world_pass(struct world *w, uint64_t ns)
{
	uint64_t end = w->now + ns;

	while (w->now < end) {
		w->now += end - w->now < w->step ? end - w->now : w->step;
		w->realtime_s = w->realtime_s ? WORLD_NOW_S + w->now / PC_NS_PER_S : 0;
		for (unsigned int i = 0; i < WORLD_NODES; i++) {
			if (pc_native_next_deadline(w->nodes[i].n) <= w->now)
				pc_native_tick(w->nodes[i].n, w->now);
			if (w->nodes[i].on_tick)
				w->nodes[i].on_tick(&w->nodes[i]);
		}
		world_deliver(w);
	}
}

/* @from begins a session with @to. */
static inline struct pc_native_link *world_connect(struct world *w, struct node *from,
						   const struct node *to, bool ik)
{
	struct pc_native_path path = { .local = from->addr, .remote = to->addr };
	struct pc_native_link *link = NULL;
	int rc = pc_native_connect(from->n, to->config.identity, ik ? to->static_public : NULL,
				   &path, w->now, &link);

	assert(rc == 0);
	(void)rc;
	return link;
}

#endif
