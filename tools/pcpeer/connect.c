/* SPDX-License-Identifier: MIT */
/*
 * Listeners: each local client of one has a flow of its own to the service of the peer. What they
 * ask relays for is in call.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/siphash.h"

/* --- clients --- */

static uint64_t hash_of(const struct connect *c, const struct pc_addr *addr)
{
	return pc_siphash24(c->a->hash_key, addr, sizeof(*addr));
}

static struct client *client_find(const struct connect *c, const struct pc_addr *addr)
{
	struct pc_hnode *node = pc_htab_first(&c->by_addr, hash_of(c, addr));

	for (; node; node = pc_htab_next(node)) {
		struct client *cl = pc_container_of(node, struct client, by_addr);

		if (pc_addr_equal(&cl->addr, addr))
			return cl;
	}
	return NULL;
}

static struct client *client_new(struct connect *c, const struct pc_addr *addr)
{
	struct client *cl;

	if (c->n_clients >= MAX_CLIENTS)
		return NULL;
	cl = calloc(1, sizeof(*cl));
	if (!cl)
		return NULL;
	/* Numbers come again as late as can be: the peer may still have a socket for an old one. */
	do
		c->last_flow++;
	while (c->by_flow[c->last_flow]);
	cl->addr = *addr;
	cl->flow = c->last_flow;
	c->by_flow[cl->flow] = cl;
	pc_htab_insert(&c->by_addr, &cl->by_addr, hash_of(c, addr));
	c->n_clients++;
	return cl;
}

static void client_free(struct connect *c, struct client *cl)
{
	pc_htab_remove(&c->by_addr, &cl->by_addr);
	c->by_flow[cl->flow] = NULL;
	c->n_clients--;
	free(cl);
}

void connects_expire(struct agent *a)
{
	for (struct connect *c = a->connects; c; c = c->next) {
		struct pc_htab_iter it = { 0 };
		struct pc_hnode *node;

		while ((node = pc_htab_iterate(&c->by_addr, &it))) {
			struct client *cl = pc_container_of(node, struct client, by_addr);

			if (a->now - cl->used_ns >= FLOW_IDLE_NS)
				client_free(c, cl);
		}
	}
}

/* --- datagrams --- */

/* The first ones wait for the session: they are worth more than those that follow. */
static void wait_for_peer(struct connect *c, const uint8_t *head, const uint8_t *data, size_t len)
{
	uint8_t *copy;

	if (c->n_waiting == WAITING_FRAMES || len > NET_SLOT) {
		c->dropped++;
		return;
	}
	copy = malloc(PLAIN_HEADER + len);
	if (!copy)
		return;
	memcpy(copy, head, PLAIN_HEADER);
	memcpy(copy + PLAIN_HEADER, data, len);
	c->waiting[c->n_waiting].plain = copy;
	c->waiting[c->n_waiting++].len = PLAIN_HEADER + len;
}

static void take_local(void *ctx, uint8_t *data, size_t len, const struct pc_addr *from)
{
	struct connect *c = ctx;
	struct agent *a = c->a;
	struct pc_e2e_peer *peer = pc_e2e_find(a->e2e, c->spec.peer);
	struct client *cl = client_find(c, from);
	uint8_t head[PLAIN_HEADER];
	int rc;

	if (!cl)
		cl = client_new(c, from);
	if (!cl) {
		c->dropped++;
		pc_log_limited(&a->log, a->now, PC_LOG_WARNING, "%s: more than %d clients",
			       addr_text(&c->spec.listen), MAX_CLIENTS);
		return;
	}
	cl->used_ns = a->now;
	write_head(head, PLAIN_TO, c->spec.port, cl->flow);
	rc = peer ? peer_send(a, peer, head, data, len) : PC_ERR_STATE;
	if (rc == 0)
		c->sent++;
	else if (rc == PC_ERR_STATE)
		wait_for_peer(c, head, data, len);
	else
		c->dropped++;
}

static void on_local(struct ev_loop *loop, ev_io *io, int revents)
{
	struct connect *c = io->data;
	struct agent *a = c->a;

	agent_clock(a);
	net_receive(c->fd, take_local, c);
	net_flush(&a->out[0]);
	net_flush(&a->out[1]);
	agent_arm(a);
}

void connect_ready(struct agent *a, struct pc_e2e_peer *peer)
{
	for (struct connect *c = a->connects; c; c = c->next) {
		if (memcmp(c->spec.peer, pc_e2e_identity(peer), 32) != 0)
			continue;
		c->problem[0] = 0;
		for (unsigned int i = 0; i < c->n_waiting; i++) {
			uint8_t *plain = c->waiting[i].plain;

			if (peer_send(a, peer, plain, plain + PLAIN_HEADER,
				      c->waiting[i].len - PLAIN_HEADER) == 0)
				c->sent++;
			else
				c->dropped++;
			free(plain);
		}
		c->n_waiting = 0;
	}
}

void connect_take(struct agent *a, struct pc_e2e_peer *peer, uint16_t port, uint16_t flow,
		  uint8_t *data, size_t len)
{
	struct connect *c = connect_find(a, pc_e2e_identity(peer), port);
	struct client *cl;

	cl = c ? c->by_flow[flow] : NULL;
	if (!cl)
		return;
	cl->used_ns = a->now;
	c->received++;
	net_send(&a->local, c->fd, data, len, &cl->addr);
}

/* --- life --- */

struct connect *connect_find(struct agent *a, const uint8_t peer[static 32], uint16_t port)
{
	struct connect *c = a->connects;

	while (c && (c->spec.port != port || memcmp(c->spec.peer, peer, 32) != 0))
		c = c->next;
	return c;
}

int connect_new(struct agent *a, const struct connect_spec *spec, const struct grants *grants,
		struct connect **ret_connect)
{
	struct connect *c;
	int rc = -ENOMEM;

	/* Flows of a service are numbered in one place. */
	if (connect_find(a, spec->peer, spec->port))
		return PC_ERR_EXISTS;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->a = a;
	c->spec = *spec;
	c->grants = grants->n ? *grants : a->grants;
	c->fd = -1;
	c->by_flow = calloc(65536, sizeof(*c->by_flow));
	if (c->by_flow)
		rc = pc_htab_init(&c->by_addr, 16);
	if (rc == 0)
		rc = net_open(&spec->listen, &c->fd);
	if (rc == 0)
		rc = net_local(c->fd, &c->spec.listen);
	if (rc < 0) {
		if (c->fd >= 0)
			close(c->fd);
		pc_htab_free(&c->by_addr);
		free(c->by_flow);
		free(c);
		return rc;
	}
	ev_io_init(&c->io, on_local, c->fd, EV_READ);
	c->io.data = c;
	ev_io_start(a->loop, &c->io);
	/* Another flow number than before a restart: the peer may remember that one. */
	c->last_flow = (uint16_t)(pc_clock_monotonic() / PC_NS_PER_MS);
	c->next = a->connects;
	a->connects = c;
	c->next_relay = 0;
	connect_call(c);
	*ret_connect = c;
	return 0;
}

void connect_free(struct connect *c)
{
	struct connect **link = &c->a->connects;
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	if (c->held) {
		c->held->connect = NULL;
		held_close(c->held, PC_NATIVE_R_DONE);
	}
	net_flush(&c->a->local);
	ev_io_stop(c->a->loop, &c->io);
	close(c->fd);
	while ((node = pc_htab_iterate(&c->by_addr, &it)))
		client_free(c, pc_container_of(node, struct client, by_addr));
	for (unsigned int i = 0; i < c->n_waiting; i++)
		free(c->waiting[i].plain);
	pc_htab_free(&c->by_addr);
	free(c->by_flow);
	free(c);
}
