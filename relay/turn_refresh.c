/* SPDX-License-Identifier: MIT */
/*
 * Refresh, RFC 8656 section 8.2. With REQUESTED-ADDRESS-FAMILY it concerns the relayed address of
 * that family only, which matters when there are two.
 */
#include "relay/turn_int.h"

/* LIFETIME 0 ends, anything else is granted within limits. */
static bool read_lifetime(const struct pc_turn_request *req, uint32_t *ret_seconds)
{
	struct pc_stun_attr attr;

	if (!pc_turn_lifetime(req, ret_seconds))
		return false;
	if (pc_stun_find(req->msg, PC_ATTR_LIFETIME, &attr)) {
		struct pc_reader r;

		pc_reader_init(&r, attr.value, attr.len);
		if (pc_read_u32(&r) == 0)
			*ret_seconds = 0;
	}
	return true;
}

static void answer(const struct pc_turn_request *req, uint32_t lifetime_s)
{
	struct pc_turn_reply r;

	pc_turn_reply_begin(req, &r, PC_STUN_SUCCESS);
	pc_stun_put_u32(&r.sw, PC_ATTR_LIFETIME, lifetime_s);
	pc_turn_reply_send(req, &r);
}

static void end(struct pc_turn_request *req, struct pc_turn_port *only)
{
	struct pc_turn_alloc *a = req->alloc;
	bool other = only && only == &a->ports[0] ? a->ports[1].socket : a->ports[0].socket;

	if (only && other) {
		pc_turn_alloc_end_port(a, only, req->now);
		pc_turn_save(a);
	} else {
		pc_turn_alloc_end(a, req->now);
		req->alloc = NULL;
	}
}

static void extend(struct pc_turn_request *req, struct pc_turn_port *only, uint32_t lifetime_s)
{
	struct pc_turn_alloc *a = req->alloc;
	uint64_t expires = req->now + lifetime_s * PC_NS_PER_S;

	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		struct pc_turn_port *p = &a->ports[i];

		if (!p->socket || (only && p != only))
			continue;
		p->expires_ns = expires;
		pc_turn_alloc_due(a, expires);
	}
	pc_turn_bindings_sync(a, NULL, false);
	/* When the store fails the client still has what it was told; a restart would lose it. */
	pc_turn_save(a);
}

void pc_turn_refresh(struct pc_turn_request *req)
{
	int family = pc_turn_attr_byte(req->msg, PC_ATTR_REQUESTED_ADDRESS_FAMILY, 4);
	struct pc_turn_port *only = NULL;
	uint32_t lifetime_s;

	if (!req->alloc) {
		pc_turn_reply_error(req, 437);
		return;
	}
	if (family == -2 || !read_lifetime(req, &lifetime_s)) {
		pc_turn_reply_error(req, 400);
		return;
	}
	if (family >= 0) {
		only = pc_turn_alloc_port(req->alloc, family == 1 ? 4 : family == 2 ? 6 : 0xff);
		if (!only) {
			pc_turn_reply_error(req, 443);
			return;
		}
	}
	if (lifetime_s == 0)
		end(req, only);
	else
		extend(req, only, lifetime_s);
	answer(req, lifetime_s);
}
