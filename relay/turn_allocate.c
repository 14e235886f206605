/* SPDX-License-Identifier: MIT */
/* Allocate, RFC 8656 section 7.2. */
#include "relay/turn_int.h"

#include <string.h>

struct options {
	uint8_t families[2]; /* 4, 6; in the order of the answer; 0: none */
	unsigned int n_families;
	bool even;
	bool reserve;
	const uint8_t *token; /* RESERVATION-TOKEN */
	uint32_t lifetime_s;
};

static uint8_t family_of(int value)
{
	return value == 1 ? 4 : value == 2 ? 6 : 0;
}

static unsigned int read_transport(const struct pc_turn_request *req)
{
	int transport = pc_turn_attr_byte(req->msg, PC_ATTR_REQUESTED_TRANSPORT, 4);

	if (transport < 0)
		return 400;
	return transport == 17 ? 0 : 442;
}

static unsigned int read_families(const struct pc_turn_request *req, struct options *o)
{
	int one = pc_turn_attr_byte(req->msg, PC_ATTR_REQUESTED_ADDRESS_FAMILY, 4);
	int more = pc_turn_attr_byte(req->msg, PC_ATTR_ADDITIONAL_ADDRESS_FAMILY, 4);

	if (one == -2 || more == -2 || (one >= 0 && more >= 0))
		return 400;
	if (o->token)
		return one >= 0 || more >= 0 ? 400 : 0;
	/* Additional means IPv6 beside IPv4, nothing else. */
	if (more >= 0 && more != 2)
		return 400;
	o->families[0] = one >= 0 ? family_of(one) : 4;
	o->n_families = 1;
	if (more >= 0)
		o->families[o->n_families++] = 6;
	return 0;
}

static unsigned int read_even(const struct pc_turn_request *req, struct options *o)
{
	int even = pc_turn_attr_byte(req->msg, PC_ATTR_EVEN_PORT, 1);

	if (even == -1)
		return 0;
	if (even == -2 || o->token)
		return 400;
	o->even = true;
	o->reserve = even & 0x80;
	return o->reserve && o->n_families > 1 ? 400 : 0;
}

static unsigned int read_options(const struct pc_turn_request *req, struct options *o)
{
	struct pc_stun_attr token;
	unsigned int code = read_transport(req);

	if (code)
		return code;
	if (pc_stun_find(req->msg, PC_ATTR_RESERVATION_TOKEN, &token)) {
		if (token.len != TURN_TOKEN_LEN)
			return 400;
		o->token = token.value;
	}
	code = read_families(req, o);
	if (!code)
		code = read_even(req, o);
	if (!code && !pc_turn_lifetime(req, &o->lifetime_s))
		code = 400;
	if (!code && o->n_families == 1 && !pc_turn_has_family(req->t, o->families[0]))
		code = 440;
	return code;
}

static unsigned int check_limits(const struct pc_turn_request *req,
				 const struct pc_turn_tenant *tenant, const struct options *o)
{
	const struct pc_turn_config *c = &req->t->config;

	if (c->draining) {
		/* RFC 8489 section 10: the alternate is of the family the client speaks. */
		bool alternate = c->alternate.ip.family == req->path->client.ip.family;

		return alternate ? 300 : 508;
	}
	/* A reservation is held until then and counts like an allocation; its use is free. */
	if (!o->token && tenant->held + (o->reserve ? 2u : 1u) > req->user.quota.allocations)
		return 486;
	return req->t->allocs.count >= c->max_allocations ? 508 : 0;
}

/* Opens what was asked for. One family of two may fail: that is told, not refused. */
static unsigned int open_ports(struct pc_turn_request *req, struct pc_turn_alloc *a,
			       const struct options *o)
{
	struct pc_turn *t = req->t;
	struct pc_turn_socket *next = NULL;
	unsigned int n = 0, code = 440;

	if (o->token)
		return pc_turn_reservation_take(t, o->token, a, &a->ports[0]) < 0 ? 508 : 0;
	for (unsigned int i = 0; i < o->n_families; i++) {
		if (pc_turn_port_open(t, o->families[i], o->even, a, req->now, &a->ports[n],
				      o->reserve ? &next : NULL) == 0) {
			n++;
			continue;
		}
		a->failed_family = o->families[i];
		a->failed_code = pc_turn_has_family(t, o->families[i]) ? 508 : 440;
		if (a->failed_code == 508)
			code = 508;
	}
	if (n == 0)
		return code;
	if (!o->reserve)
		return 0;
	if (pc_turn_reserve(t, a->tenant, next, req->now, a->token) < 0) {
		pc_turn_socket_put(t, next, req->now);
		return 508;
	}
	a->has_token = true;
	return 0;
}

static void fill_alloc(const struct pc_turn_request *req, struct pc_turn_alloc *a,
		       const struct options *o)
{
	req->t->ops->random(req->t->ctx, &a->id, sizeof(a->id));
	/* Stores and people read it as a signed number. */
	a->id &= INT64_MAX;
	a->created_ns = req->now;
	memcpy(a->txid, req->msg->txid, sizeof(a->txid));
	a->lifetime_s = o->lifetime_s;
	a->integrity256 = req->integrity256;
	a->algorithm = req->algorithm;
	a->key = req->key;
	a->quota = req->user.quota;
}

/* Ports, slot, record: whatever was done is undone when a later step fails. */
static unsigned int set_up(struct pc_turn_request *req, struct pc_turn_alloc *a,
			   const struct options *o)
{
	struct pc_turn *t = req->t;
	unsigned int code = open_ports(req, a, o);

	if (!code && t->ops->slot_open(t->ctx, a->id, a->tenant->id, &a->slot) < 0) {
		a->slot = PC_TURN_NO_SLOT;
		code = 508;
	}
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++)
		a->ports[i].expires_ns = req->now + o->lifetime_s * PC_NS_PER_S;
	if (!code && pc_turn_save(a) < 0)
		code = 508;
	if (!code)
		return 0;
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		if (a->ports[i].socket)
			pc_turn_port_close(t, &a->ports[i], req->now);
	}
	if (a->has_token)
		pc_turn_reservation_cancel(t, a->token, req->now);
	if (a->slot != PC_TURN_NO_SLOT)
		t->ops->slot_close(t->ctx, a->slot);
	return code;
}

static void put_address_error(struct pc_turn_reply *r, const struct pc_turn_alloc *a)
{
	uint8_t value[4] = { a->failed_family == 4 ? 1 : 2, 0, (uint8_t)(a->failed_code / 100),
			     (uint8_t)(a->failed_code % 100) };

	/* RFC 8656 section 18.12: family, then class and number; the reason may be empty. */
	pc_stun_put(&r->sw, PC_ATTR_ADDRESS_ERROR_CODE, value, sizeof(value));
}

static void answer(const struct pc_turn_request *req, const struct pc_turn_alloc *a)
{
	struct pc_turn_reply r;

	pc_turn_reply_begin(req, &r, PC_STUN_SUCCESS);
	for (unsigned int i = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
		struct pc_addr external;

		if (!a->ports[i].socket)
			continue;
		external = a->ports[i].socket->local;
		pc_turn_to_external(req->t, &external);
		pc_stun_put_xor_addr(&r.sw, PC_ATTR_XOR_RELAYED_ADDRESS, &external);
	}
	pc_stun_put_u32(&r.sw, PC_ATTR_LIFETIME, a->lifetime_s);
	pc_stun_put_xor_addr(&r.sw, PC_ATTR_XOR_MAPPED_ADDRESS, &req->path->client);
	if (a->has_token)
		pc_stun_put(&r.sw, PC_ATTR_RESERVATION_TOKEN, a->token, sizeof(a->token));
	if (a->failed_family)
		put_address_error(&r, a);
	pc_turn_reply_send(req, &r);
}

static void allocate_again(const struct pc_turn_request *req)
{
	const struct pc_turn_alloc *a = req->alloc;
	bool retransmitted = memcmp(a->txid, req->msg->txid, sizeof(a->txid)) == 0 &&
			     a->username_len == req->username_len &&
			     memcmp(a->username, req->username, a->username_len) == 0;

	if (retransmitted)
		answer(req, a);
	else
		pc_turn_reply_error(req, 437);
}

void pc_turn_allocate(struct pc_turn_request *req)
{
	struct options o = { 0 };
	struct pc_turn_tenant *tenant;
	struct pc_turn_alloc *a;
	unsigned int code;

	if (req->alloc) {
		allocate_again(req);
		return;
	}
	code = read_options(req, &o);
	tenant = code ? NULL : pc_turn_tenant_get(req->t, req->user.tenant);
	if (!code)
		code = tenant ? check_limits(req, tenant, &o) : 508;
	a = code ? NULL
		 : pc_turn_alloc_new(req->t, req->path, tenant, req->username, req->username_len);
	if (!code && !a)
		code = 508;
	if (!code) {
		fill_alloc(req, a, &o);
		code = set_up(req, a, &o);
	}
	if (code) {
		if (a)
			pc_turn_alloc_free(a);
		pc_turn_reply_error(req, code);
		return;
	}
	pc_turn_alloc_publish(a);
	answer(req, a);
}
