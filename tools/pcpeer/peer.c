/* SPDX-License-Identifier: MIT */
/* The other ends: sockets to the network, what comes from there, what goes to peers. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <sodium.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/wire.h"

/* --- the network --- */

unsigned int wan_of(const struct pc_addr *addr)
{
	return addr->ip.family == 6;
}

void wan_send(struct agent *a, unsigned int w, const struct pc_addr *to, const void *data,
	      size_t len)
{
	uint8_t *slot;

	if (a->wan[w] < 0 || len > NET_SLOT)
		return;
	slot = net_slot(&a->out[w]);
	memcpy(slot, data, len);
	net_send(&a->out[w], a->wan[w], slot, len, to);
}

static void take_datagram(void *ctx, uint8_t *data, size_t len, const struct pc_addr *from)
{
	struct agent *a = ctx;
	struct relay *r = relay_at(a, from);
	struct pc_native_path path = { .listener = a->wan_current, .remote = *from };
	struct pc_e2e_peer *peer;
	size_t plain_len;

	if (!len)
		return;
	if (r && data[0] == PC_NATIVE_PIPE)
		relay_frame(r, data, len);
	else if (r)
		pc_native_input(a->native, &path, data, len, a->now, a->realtime_s);
	else if (data[0] != PC_NATIVE_PIPE)
		pc_e2e_direct(a->e2e, a->wan_current, from, data, len, a->now, a->realtime_s);
	else if (pc_e2e_open_direct(a->e2e, a->wan_current, from, data, len, a->now, &peer,
				    data + PC_PIPE_HEADER, &plain_len) == 0)
		peer_take(a, peer, data + PC_PIPE_HEADER, plain_len);
}

static void on_wan(struct ev_loop *loop, ev_io *io, int revents)
{
	struct agent *a = io->data;

	agent_clock(a);
	a->wan_current = io == &a->wan_io[1];
	net_receive(io->fd, take_datagram, a);
	net_flush(&a->local);
	agent_arm(a);
}

/* A socket for each family that something needs; both for direct ways. */
int wan_open(struct agent *a)
{
	struct pc_addr any6 = { .ip.family = 6 };
	const struct pc_addr *bind = &a->config.bind;
	int rc;

	a->wan[0] = a->wan[1] = -1;
	rc = net_open(bind, &a->wan[wan_of(bind)]);
	if (rc < 0) {
		pc_error("bind %s: %s", addr_text(bind),
			 rc == -EADDRINUSE ? "the port is in use" : pc_strerror(rc));
		return rc;
	}
	/* The host may have no IPv6. */
	if (!wan_of(bind) && pc_ip_is_any(&bind->ip))
		(void)net_open(&any6, &a->wan[1]);
	for (unsigned int w = 0; w < 2; w++) {
		if (a->wan[w] < 0)
			continue;
		(void)net_fragments(a->wan[w], w ? AF_INET6 : AF_INET, false);
		a->out[w].too_large = path_too_large;
		a->out[w].ctx = a;
		ev_io_init(&a->wan_io[w], on_wan, a->wan[w], EV_READ);
		a->wan_io[w].data = a;
		ev_io_start(a->loop, &a->wan_io[w]);
	}
	for (size_t i = 0; i < a->config.n_relay; i++) {
		if (a->wan[wan_of(&a->config.relay[i].addr)] >= 0)
			continue;
		pc_error("relay %s: no socket for its family of addresses",
			 addr_text(&a->config.relay[i].addr));
		return -EAFNOSUPPORT;
	}
	return 0;
}

/* --- the machine --- */

static void op_send(void *ctx, struct pc_e2e_way *way, const void *data, size_t len)
{
	struct agent *a = ctx;
	struct held *h = way->user;

	if (way->pipe)
		wan_send(a, wan_of(&h->relay->spec.addr), &h->relay->spec.addr, data, len);
	else
		wan_send(a, way->listener, &way->remote, data, len);
}

static bool op_trusted(void *ctx, const uint8_t identity[static 32])
{
	return expose_welcome(ctx, identity);
}

static void op_ready(void *ctx, struct pc_e2e_peer *peer)
{
	pc_info("peer %s: session", id_text(pc_e2e_identity(peer)));
	connect_ready(ctx, peer);
}

static void op_down(void *ctx, struct pc_e2e_peer *peer, uint16_t reason)
{
	struct agent *a = ctx;

	if (a->ending)
		return;
	pc_warning("peer %s: %s", id_text(pc_e2e_identity(peer)),
		   reason == PC_NATIVE_R_WRONG_KEY
			   ? "who answers has another key than the one that was asked for"
			   : pc_native_reason_text(reason));
	connect_down(a, peer, reason);
}

static void op_moved(void *ctx, struct pc_e2e_peer *peer)
{
	const struct pc_e2e_way *way = pc_e2e_way(peer);
	const struct held *h = way->user;

	if (way->pipe)
		pc_info("peer %s: through relay %s", id_text(pc_e2e_identity(peer)),
			addr_text(&h->relay->spec.addr));
	else
		pc_info("peer %s: directly, at %s", id_text(pc_e2e_identity(peer)),
			addr_text(&way->remote));
}

static void op_silent(void *ctx, struct pc_e2e_way *way)
{
	struct agent *a = ctx;
	struct held *h = way->user;

	if (!way->pipe) {
		/* Nothing but the direct way was left: a pipe is wanted. */
		for (struct connect *c = a->connects; c; c = c->next) {
			if (memcmp(c->spec.peer, pc_e2e_identity(way->peer), 32) == 0)
				connect_silent(c);
		}
		return;
	}
	pc_info("peer %s: nothing comes through relay %s", id_text(pc_e2e_identity(way->peer)),
		addr_text(&h->relay->spec.addr));
	relay_suspect(h->relay);
	if (h->connect)
		connect_silent(h->connect);
}

static void op_gone(void *ctx, struct pc_e2e_peer *peer)
{
}

static void op_random(void *ctx, void *buf, size_t len)
{
	randombytes_buf(buf, len);
}

static const struct pc_e2e_ops e2e_ops = {
	.send = op_send,
	.trusted = op_trusted,
	.ready = op_ready,
	.down = op_down,
	.moved = op_moved,
	.silent = op_silent,
	.gone = op_gone,
	.random = op_random,
};

int peers_new(struct agent *a)
{
	struct pc_native_config config;
	int rc = native_config(a, &config);

	if (rc == 0)
		rc = pc_e2e_new(&config, &e2e_ops, a, a->now, &a->e2e);
	explicit_bzero(&config, sizeof(config));
	return rc;
}

void peer_dismiss(struct agent *a, struct pc_e2e_peer *peer)
{
	uint8_t identity[32];
	struct held *h, *next;

	memcpy(identity, pc_e2e_identity(peer), sizeof(identity));
	pc_e2e_end(peer, PC_NATIVE_R_REFUSED, a->now);
	for (h = a->helds; h; h = next) {
		next = h->next;
		if (memcmp(h->pipe->peer, identity, 32) == 0)
			held_close(h, PC_NATIVE_R_REFUSED);
	}
	peer = pc_e2e_find(a->e2e, identity);
	if (peer)
		pc_e2e_close(peer, PC_NATIVE_R_REFUSED, a->now);
}

/* Peers are told, so that they need not find out. */
void peers_free(struct agent *a)
{
	struct pc_e2e_peer *peer = NULL;

	while ((peer = pc_e2e_next(a->e2e, peer)))
		pc_e2e_end(peer, PC_NATIVE_R_SHUTDOWN, a->now);
	while (a->helds)
		held_close(a->helds, PC_NATIVE_R_SHUTDOWN);
	pc_e2e_free(a->e2e);
}

/* --- datagrams --- */

void write_head(uint8_t head[static PLAIN_HEADER], uint8_t kind, uint16_t port, uint16_t flow)
{
	struct pc_writer w;

	pc_writer_init(&w, head, PLAIN_HEADER);
	pc_write_u8(&w, kind);
	pc_write_u8(&w, 0);
	pc_write_u16(&w, port);
	pc_write_u16(&w, flow);
}

static void too_long(struct agent *a, const struct pc_e2e_peer *peer, size_t len)
{
	size_t room = pc_e2e_room(peer);

	pc_log_limited(
		&a->log, a->now, PC_LOG_WARNING,
		"a datagram of %zu bytes does not fit on the way to %s: lower the MTU of what "
		"sends it to %zu bytes of UDP payload",
		len, id_text(pc_e2e_identity(peer)), room > PLAIN_HEADER ? room - PLAIN_HEADER : 0);
}

int peer_send(struct agent *a, struct pc_e2e_peer *peer, const uint8_t *head, const uint8_t *data,
	      size_t len)
{
	const struct pc_e2e_way *now = pc_e2e_way(peer);
	const struct pc_addr *to;
	struct pc_e2e_way *way;
	uint8_t *slot;
	int rc;

	if (!now || !pc_e2e_is_ready(peer, a->now))
		return PC_ERR_STATE;
	if (PLAIN_HEADER + len > pc_e2e_room(peer)) {
		too_long(a, peer, len);
		return PC_ERR_RANGE;
	}
	to = now->pipe ? &((struct held *)now->user)->relay->spec.addr : &now->remote;
	if (PC_PIPE_OVERHEAD + PLAIN_HEADER + len > path_room(a, to)) {
		a->too_large++;
		return PC_ERR_RANGE;
	}
	slot = net_slot(&a->out[wan_of(to)]);
	memcpy(slot + PC_PIPE_HEADER, head, PLAIN_HEADER);
	memcpy(slot + PC_PIPE_HEADER + PLAIN_HEADER, data, len);
	rc = pc_e2e_seal(peer, slot, PLAIN_HEADER + len, a->now, &way);
	if (rc == 0)
		net_send(&a->out[wan_of(to)], a->wan[wan_of(to)], slot,
			 PC_PIPE_OVERHEAD + PLAIN_HEADER + len, to);
	return rc;
}

void peer_take(struct agent *a, struct pc_e2e_peer *peer, uint8_t *plain, size_t len)
{
	uint16_t port, flow;
	struct pc_reader r;
	uint8_t kind, zero;

	pc_reader_init(&r, plain, len);
	kind = pc_read_u8(&r);
	zero = pc_read_u8(&r);
	port = pc_read_u16(&r);
	flow = pc_read_u16(&r);
	if (r.failed || zero)
		return;
	if (kind == PLAIN_TO)
		expose_take(a, peer, port, flow, plain + PLAIN_HEADER, len - PLAIN_HEADER);
	else if (kind == PLAIN_FROM)
		connect_take(a, peer, port, flow, plain + PLAIN_HEADER, len - PLAIN_HEADER);
}
