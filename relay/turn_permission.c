/* SPDX-License-Identifier: MIT */
/* CreatePermission, RFC 8656 section 10.2: all addresses of the request, or none. */
#include "relay/turn_int.h"

/* All addresses are looked at before anything is changed. Returns 0 or an error code. */
static unsigned int check_peers(struct pc_turn_request *req)
{
	struct pc_stun_attr attr;
	struct pc_addr peer;
	unsigned int n = 0;
	size_t pos;

	pc_stun_for_each (req->msg, pos, attr) {
		unsigned int code;

		if (attr.type != PC_ATTR_XOR_PEER_ADDRESS)
			continue;
		if (pc_turn_peer_addr(req, &attr, &peer) < 0)
			return 400;
		code = pc_turn_peer_check(req->alloc, &peer, false);
		if (code)
			return code;
		n++;
	}
	return n ? 0 : 400;
}

/* Whether others on the port have none of them; else the client's next port will do. */
static bool claim_peers(struct pc_turn_request *req)
{
	struct pc_stun_attr attr;
	struct pc_addr peer;
	bool taken = false;
	size_t pos;

	pc_stun_for_each (req->msg, pos, attr) {
		if (attr.type == PC_ATTR_XOR_PEER_ADDRESS &&
		    pc_turn_peer_addr(req, &attr, &peer) == 0)
			taken |= pc_turn_peer_taken(req->alloc, &peer.ip, req->now);
	}
	if (!taken)
		return true;
	/* Of the next port all of them are asked. */
	pc_stun_for_each (req->msg, pos, attr) {
		if (attr.type == PC_ATTR_XOR_PEER_ADDRESS &&
		    pc_turn_peer_addr(req, &attr, &peer) == 0)
			pc_turn_refused_add(req->alloc, &peer.ip, req->now);
	}
	req->t->stats.conflicts++;
	return false;
}

/* Adds the new ones as pending. Returns how many, or -1 when there is no room. */
static int add_pending(struct pc_turn_request *req)
{
	struct pc_turn_alloc *a = req->alloc;
	struct pc_stun_attr attr;
	struct pc_addr peer;
	size_t pos, before = a->n_permissions;

	pc_stun_for_each (req->msg, pos, attr) {
		if (attr.type == PC_ATTR_XOR_PEER_ADDRESS &&
		    pc_turn_peer_addr(req, &attr, &peer) == 0 &&
		    !pc_turn_permission_add(a, &peer.ip))
			return -1;
	}
	return (int)(a->n_permissions - before);
}

static void remove_pending(struct pc_turn_alloc *a)
{
	for (size_t i = a->n_permissions; i-- > 0;) {
		if (a->permissions[i]->expires_ns == 0)
			pc_turn_permission_remove(a, a->permissions[i]);
	}
}

/* The data plane hears of the new ones first: it may have no room. */
static int tell_pending(struct pc_turn_alloc *a, uint64_t expires)
{
	for (size_t i = 0; i < a->n_permissions; i++) {
		struct pc_turn_permission *p = a->permissions[i];

		if (p->expires_ns == 0 &&
		    pc_turn_permission_tell(a, p, expires, false) == PC_ERR_FULL)
			return PC_ERR_FULL;
	}
	return 0;
}

static void grant(struct pc_turn_request *req, uint64_t expires)
{
	struct pc_turn_alloc *a = req->alloc;
	struct pc_stun_attr attr;
	struct pc_addr peer;
	size_t pos;

	pc_stun_for_each (req->msg, pos, attr) {
		struct pc_turn_permission *p;

		if (attr.type != PC_ATTR_XOR_PEER_ADDRESS ||
		    pc_turn_peer_addr(req, &attr, &peer) < 0)
			continue;
		p = pc_turn_permission_find(a, &peer.ip);
		if (!p || p->expires_ns == expires)
			continue;
		p->expires_ns = expires;
		pc_turn_bindings_sync(a, &peer.ip, false);
	}
	pc_turn_alloc_due(a, expires);
	pc_turn_save(a);
}

void pc_turn_create_permission(struct pc_turn_request *req)
{
	unsigned int code = req->alloc ? check_peers(req) : 437;
	uint64_t expires = req->now + TURN_PERMISSION_NS;
	int added;

	if (!code && !claim_peers(req))
		code = 508;
	if (code) {
		pc_turn_reply_error(req, code);
		return;
	}
	added = add_pending(req);
	if (added < 0 || !pc_turn_peers_admit(req->alloc, (unsigned int)added, req->now) ||
	    tell_pending(req->alloc, expires) < 0) {
		remove_pending(req->alloc);
		pc_turn_reply_error(req, 508);
		return;
	}
	grant(req, expires);
	pc_turn_reply_success(req);
}
