/* SPDX-License-Identifier: MIT */
/* ChannelBind, RFC 8656 section 12.2. */
#include "relay/turn_int.h"

static unsigned int read_binding(const struct pc_turn_request *req, uint16_t *ret_number,
				 struct pc_addr *ret_peer)
{
	struct pc_stun_attr attr;
	struct pc_reader r;
	uint16_t number;

	if (!pc_stun_find(req->msg, PC_ATTR_CHANNEL_NUMBER, &attr) || attr.len != 4)
		return 400;
	pc_reader_init(&r, attr.value, attr.len);
	number = pc_read_u16(&r);
	if (number < TURN_CHANNEL_MIN || number > TURN_CHANNEL_MAX)
		return 400;
	if (!pc_stun_find(req->msg, PC_ATTR_XOR_PEER_ADDRESS, &attr) ||
	    pc_turn_peer_addr(req, &attr, ret_peer) < 0)
		return 400;
	*ret_number = number;
	return 0;
}

/* A number belongs to one peer and a peer has one number. */
static bool conflicts(const struct pc_turn_alloc *a, uint16_t number, const struct pc_addr *peer)
{
	const struct pc_turn_channel *by_number = pc_turn_channel_find(a, number);
	const struct pc_turn_channel *by_peer = pc_turn_channel_by_peer(a, peer);

	return by_number != by_peer;
}

/* Whether nobody else on the port has the peer; else the client's next port will do. */
static bool claim_peer(struct pc_turn_request *req, const struct pc_addr *peer)
{
	if (!pc_turn_peer_taken(req->alloc, &peer->ip, req->now))
		return true;
	pc_turn_refused_add(req->alloc, &peer->ip, req->now);
	req->t->stats.conflicts++;
	return false;
}

/* Binds or refreshes. Everything is as before when it returns an error code. */
static unsigned int bind_channel(struct pc_turn_request *req, uint16_t number,
				 const struct pc_addr *peer)
{
	struct pc_turn_alloc *a = req->alloc;
	struct pc_turn_channel *ch = pc_turn_channel_find(a, number);
	struct pc_turn_permission *p = pc_turn_permission_find(a, &peer->ip);
	uint64_t permission_before = p ? p->expires_ns : 0;
	bool new_channel = !ch;

	if (!p)
		p = pc_turn_permission_add(a, &peer->ip);
	if (p && !ch)
		ch = pc_turn_channel_add(a, number, peer);
	if (!p || !ch || (!permission_before && !pc_turn_peers_admit(a, 1, req->now)))
		goto undo;
	if (!permission_before &&
	    pc_turn_permission_tell(a, p, req->now + TURN_PERMISSION_NS, false) == PC_ERR_FULL)
		goto undo;
	p->expires_ns = req->now + TURN_PERMISSION_NS;
	ch->expires_ns = req->now + TURN_CHANNEL_NS;
	if (pc_turn_channel_sync(a, ch, true) == PC_ERR_FULL && new_channel)
		goto undo;
	/* The permission, and with it other channels to the same host, live longer. */
	pc_turn_bindings_sync(a, &peer->ip, false);
	pc_turn_alloc_due(a, p->expires_ns);
	pc_turn_alloc_due(a, ch->expires_ns);
	return 0;
undo:
	if (new_channel && ch)
		pc_turn_channel_remove(a, ch);
	if (p && permission_before)
		p->expires_ns = permission_before;
	else if (p)
		pc_turn_permission_remove(a, p);
	return 508;
}

void pc_turn_channel_bind(struct pc_turn_request *req)
{
	struct pc_addr peer;
	uint16_t number;
	unsigned int code = req->alloc ? read_binding(req, &number, &peer) : 437;

	if (!code && conflicts(req->alloc, number, &peer))
		code = 400;
	if (!code)
		code = pc_turn_peer_check(req->alloc, &peer, true);
	if (!code && !claim_peer(req, &peer))
		code = 508;
	if (!code)
		code = bind_channel(req, number, &peer);
	if (code) {
		pc_turn_reply_error(req, code);
		return;
	}
	pc_turn_save(req->alloc);
	pc_turn_reply_success(req);
}
