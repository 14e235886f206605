/* SPDX-License-Identifier: MIT */
/*
 * Application data in both directions (RFC 8656 sections 11 and 12). The payload stays where it
 * arrived: headers are taken off and built around it.
 */
#include "relay/turn_int.h"

#include <string.h>

#include "base/siphash.h"

struct payload {
	uint8_t *data;
	size_t len;
	uint8_t ttl; /* as sent on */
	uint8_t tos;
	bool dont_fragment;
};

static uint32_t wire_bytes(uint8_t family, size_t udp_payload)
{
	return (family == 4 ? 20 : 40) + TURN_UDP_HEADER + (uint32_t)udp_payload;
}

/* False: the datagram may travel no further. 0 is a TTL that nobody knows. */
static bool next_ttl(const struct pc_dgram *d, uint8_t *ret_ttl)
{
	if (d->ttl == 1)
		return false;
	*ret_ttl = d->ttl ? d->ttl - 1 : TURN_DEFAULT_TTL;
	return true;
}

/* Unique, not secret: a Data indication is never answered. */
static void make_txid(struct pc_turn *t, uint8_t txid[static PC_STUN_TXID_LEN])
{
	uint64_t parts[2];

	t->txid_counter++;
	parts[0] = pc_siphash24(t->txid_key, &t->txid_counter, sizeof(t->txid_counter));
	parts[1] = t->txid_counter;
	memcpy(txid, parts, PC_STUN_TXID_LEN);
}

/* Puts the header in front of @p. Needs 4 bytes of headroom. */
static void wrap_channel(const struct pc_turn_channel *ch, struct payload *p)
{
	struct pc_writer w;

	pc_writer_init(&w, p->data - TURN_CHANNEL_HEADER, TURN_CHANNEL_HEADER);
	pc_write_u16(&w, ch->number);
	pc_write_u16(&w, (uint16_t)p->len);
	p->data -= TURN_CHANNEL_HEADER;
	p->len += TURN_CHANNEL_HEADER;
}

/* Makes @p a Data indication. Needs 48 bytes of headroom and 3 of tailroom. */
static void wrap_indication(struct pc_turn *t, const struct pc_addr *peer, struct payload *p)
{
	size_t pad = -p->len & 3;
	size_t head = PC_STUN_HEADER_LEN + 8 + pc_ip_len(&peer->ip) + 4;
	uint8_t txid[PC_STUN_TXID_LEN];
	struct pc_stun_writer sw;
	struct pc_writer tail;

	make_txid(t, txid);
	pc_stun_begin(&sw, p->data - head, head, PC_STUN_DATA, PC_STUN_INDICATION, txid);
	pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_PEER_ADDRESS, peer);
	pc_write_u16(&sw.w, PC_ATTR_DATA);
	pc_write_u16(&sw.w, (uint16_t)p->len);
	pc_write_patch_u16(&sw.w, 2, (uint16_t)(head - PC_STUN_HEADER_LEN + p->len + pad));
	/* What lay behind the payload must not leak. */
	pc_writer_init(&tail, p->data + p->len, pad);
	pc_write_zero(&tail, pad);
	p->data -= head;
	p->len += head + pad;
}

/* The last question before @d is sent. False: it was dropped, and counted. */
static bool admit(const struct pc_turn_alloc *a, bool up, struct pc_dgram *d, uint32_t payload,
		  uint32_t wire)
{
	return a->t->ops->admit(a->t->ctx, a->slot, up, d, payload, wire);
}

/* To the client of @a, as coming from @peer. Consumes @p. False: it was dropped. */
static bool relay_down(struct pc_turn_alloc *a, const struct pc_addr *peer, struct payload *p)
{
	const struct pc_turn_channel *ch = pc_turn_channel_by_peer(a, peer);
	struct pc_turn *t = a->t;
	uint32_t bytes = (uint32_t)p->len, wire;
	struct pc_dgram d;

	if (p->len + (ch ? TURN_CHANNEL_HEADER : PC_TURN_HEADROOM) > TURN_UDP_MAX) {
		pc_turn_drop(t, PC_TURN_DROP_LENGTH);
		return false;
	}
	if (ch)
		wrap_channel(ch, p);
	else
		wrap_indication(t, peer, p);
	d = (struct pc_dgram){
		.data = p->data,
		.len = p->len,
		.ttl = p->ttl,
		.tos = p->tos,
		.in_place = true,
	};
	t->stats.data_down++;
	wire = wire_bytes(a->path.client.ip.family, d.len);
	if (!admit(a, false, &d, bytes, wire))
		return false;
	t->ops->send_client(t->ctx, &a->path, &d);
	t->ops->count(t->ctx, a->slot, false, bytes, wire);
	return true;
}

/* From one client of this relay to another: no socket, so nothing of the host can be reached. */
static void relay_inside(struct pc_turn_alloc *a, const struct pc_turn_port *port,
			 const struct pc_addr *peer, struct pc_dgram *d, struct payload *p,
			 uint64_t now)
{
	struct pc_turn *t = a->t;
	struct pc_addr from = port->socket->local, to = *peer;
	const struct pc_turn_permission *perm;
	const struct pc_turn_socket *target;
	uint32_t bytes = (uint32_t)p->len, wire = wire_bytes(from.ip.family, bytes);

	pc_turn_to_external(t, &from);
	pc_turn_to_local(t, &to);
	target = pc_turn_socket_find(t, &to);
	if (!target || target->held) {
		pc_turn_drop(t, PC_TURN_DROP_NO_ALLOCATION);
		return;
	}
	perm = pc_turn_holder_live(t, target, &from.ip, now);
	if (!perm) {
		pc_turn_drop(t, PC_TURN_DROP_NO_PERMISSION);
		return;
	}
	if (!admit(a, true, d, bytes, wire))
		return;
	p->tos = d->tos;
	if (relay_down(perm->alloc, &from, p))
		t->ops->count(t->ctx, a->slot, true, bytes, wire);
}

/* To @peer, for which @a has a permission. */
static void relay_up(struct pc_turn_alloc *a, const struct pc_addr *peer, struct payload *p,
		     uint64_t now)
{
	struct pc_turn_port *port = pc_turn_alloc_port(a, peer->ip.family);
	struct pc_turn *t = a->t;
	struct pc_dgram d = {
		.data = p->data,
		.len = p->len,
		.ttl = p->ttl,
		.tos = p->tos,
		.dont_fragment = p->dont_fragment,
		.in_place = true,
	};
	uint32_t wire = wire_bytes(peer->ip.family, d.len);

	t->stats.data_up++;
	if (pc_turn_relay_ip(t, &peer->ip) >= 0) {
		relay_inside(a, port, peer, &d, p, now);
		return;
	}
	if (!admit(a, true, &d, (uint32_t)d.len, wire))
		return;
	t->ops->send_peer(t->ctx, port->socket->handle, peer, &d);
	t->ops->count(t->ctx, a->slot, true, (uint32_t)d.len, wire);
}

void pc_turn_channel_data(struct pc_turn *t, const struct pc_turn_path *path, struct pc_dgram *d,
			  uint64_t now)
{
	struct pc_turn_alloc *a;
	struct pc_turn_channel *ch;
	struct payload p = { .tos = d->tos };
	struct pc_reader r;
	uint16_t number, len;

	pc_reader_init(&r, d->data, d->len);
	number = pc_read_u16(&r);
	len = pc_read_u16(&r);
	if (r.failed) {
		pc_turn_drop(t, PC_TURN_DROP_LENGTH);
		return;
	}
	a = pc_turn_alloc_find(t, path, now);
	if (!a) {
		pc_turn_drop(t, PC_TURN_DROP_NO_ALLOCATION);
		return;
	}
	ch = pc_turn_channel_find(a, number);
	if (!ch) {
		pc_turn_drop(t, PC_TURN_DROP_NO_CHANNEL);
		return;
	}
	/* Over UDP up to three bytes of padding, of any value, are tolerated. */
	if (pc_reader_left(&r) < len || pc_reader_left(&r) > ((size_t)len + 3) / 4 * 4) {
		pc_turn_drop(t, PC_TURN_DROP_LENGTH);
		return;
	}
	if (!next_ttl(d, &p.ttl)) {
		pc_turn_drop(t, PC_TURN_DROP_TTL);
		return;
	}
	if (!pc_turn_permission_find(a, &ch->peer.ip)) {
		pc_turn_drop(t, PC_TURN_DROP_NO_PERMISSION);
		return;
	}
	p.data = d->data + TURN_CHANNEL_HEADER;
	p.len = len;
	relay_up(a, &ch->peer, &p, now);
}

/* What a Send indication must carry. Returns 0 or why it is dropped, plus one. */
static int read_send(struct pc_turn *t, struct pc_turn_alloc *a, const struct pc_stun_msg *msg,
		     struct pc_addr *ret_peer, struct pc_stun_attr *ret_data)
{
	struct pc_stun_attr attr;
	unsigned int code;

	if (msg->n_unknown || !pc_stun_find(msg, PC_ATTR_XOR_PEER_ADDRESS, &attr) ||
	    pc_stun_attr_xor_addr(msg, &attr, ret_peer) < 0 ||
	    !pc_stun_find(msg, PC_ATTR_DATA, ret_data))
		return PC_TURN_DROP_MALFORMED + 1;
	pc_turn_to_external(t, ret_peer);
	code = pc_turn_peer_check(a, ret_peer, true);
	if (code == 403)
		return PC_TURN_DROP_PEER_POLICY + 1;
	if (code || !pc_turn_permission_find(a, &ret_peer->ip))
		return PC_TURN_DROP_NO_PERMISSION + 1;
	return 0;
}

void pc_turn_send_indication(struct pc_turn *t, const struct pc_turn_path *path,
			     const struct pc_stun_msg *msg, struct pc_dgram *d, uint64_t now)
{
	struct pc_turn_alloc *a = pc_turn_alloc_find(t, path, now);
	struct payload p = { .tos = d->tos };
	struct pc_stun_attr data, attr;
	struct pc_addr peer;
	int drop;

	if (!a) {
		pc_turn_drop(t, PC_TURN_DROP_NO_ALLOCATION);
		return;
	}
	drop = read_send(t, a, msg, &peer, &data);
	if (!drop && !next_ttl(d, &p.ttl))
		drop = PC_TURN_DROP_TTL + 1;
	if (drop) {
		pc_turn_drop(t, (enum pc_turn_drop)(drop - 1));
		return;
	}
	p.data = d->data + (data.value - msg->data);
	p.len = data.len;
	p.dont_fragment = pc_stun_find(msg, PC_ATTR_DONT_FRAGMENT, &attr);
	relay_up(a, &peer, &p, now);
}

void pc_turn_peer_input(struct pc_turn *t, struct pc_turn_socket *socket,
			const struct pc_addr *peer, struct pc_dgram *d, uint64_t now)
{
	struct payload p = { .data = d->data, .len = d->len, .tos = d->tos };
	const struct pc_turn_permission *perm;

	/* A port that is only reserved has no allocation yet. */
	if (!socket) {
		pc_turn_drop(t, PC_TURN_DROP_NO_ALLOCATION);
		return;
	}
	perm = pc_turn_holder_live(t, socket, &peer->ip, now);
	/* Clients of this relay reach each other inside; from outside their addresses are forged.
	 */
	if (!perm || pc_turn_relay_ip(t, &peer->ip) >= 0) {
		pc_turn_drop(t, PC_TURN_DROP_NO_PERMISSION);
		return;
	}
	if (!next_ttl(d, &p.ttl)) {
		pc_turn_drop(t, PC_TURN_DROP_TTL);
		return;
	}
	relay_down(perm->alloc, peer, &p);
}

/* Only errors a sender can act on, RFC 8656 section 11.5. */
static bool icmp_relevant(uint8_t family, uint8_t type)
{
	return family == 4 ? type == 3 || type == 11 : type >= 1 && type <= 3;
}

bool pc_turn_peer_icmp(struct pc_turn *t, struct pc_turn_socket *socket, const struct pc_addr *peer,
		       uint8_t type, uint8_t code, uint32_t data, uint64_t now)
{
	const struct pc_turn_permission *perm = NULL;
	bool too_big = peer->ip.family == 4 ? type == 3 && code == 4 : type == 2;
	uint8_t txid[PC_STUN_TXID_LEN], value[8];
	struct pc_turn_reply r;
	struct pc_dgram d = { .data = r.buf, .ttl = TURN_DEFAULT_TTL };
	struct pc_writer w;

	if (socket && icmp_relevant(peer->ip.family, type))
		perm = pc_turn_holder_live(t, socket, &peer->ip, now);
	if (!perm)
		return false;
	/* RFC 8656 section 18.13: 16 bits reserved, 7 of type, 9 of code. */
	pc_writer_init(&w, value, sizeof(value));
	pc_write_u16(&w, 0);
	pc_write_u16(&w, (uint16_t)(type << 9 | code));
	pc_write_u32(&w, too_big ? data : 0);
	make_txid(t, txid);
	pc_stun_begin(&r.sw, r.buf, sizeof(r.buf), PC_STUN_DATA, PC_STUN_INDICATION, txid);
	pc_stun_put_xor_addr(&r.sw, PC_ATTR_XOR_PEER_ADDRESS, peer);
	pc_stun_put(&r.sw, PC_ATTR_ICMP, value, sizeof(value));
	d.len = pc_stun_end(&r.sw);
	t->ops->send_client(t->ctx, &perm->alloc->path, &d);
	return true;
}

bool pc_turn_relayed_icmp(struct pc_turn *t, const struct pc_addr *local,
			  const struct pc_addr *peer, uint8_t type, uint8_t code, uint32_t data,
			  uint64_t now)
{
	return pc_turn_peer_icmp(t, pc_turn_socket_find(t, local), peer, type, code, data, now);
}

bool pc_turn_serves(struct pc_turn *t, const struct pc_turn_path *path, uint64_t now)
{
	return pc_turn_alloc_find(t, path, now);
}
