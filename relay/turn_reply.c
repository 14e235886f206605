/* SPDX-License-Identifier: MIT */
/* Answers to requests. Those who proved nothing get short ones: no reason, no SOFTWARE. */
#include "relay/turn_int.h"

#include <string.h>

/* In order of preference: SHA-256, MD5; neither has parameters. RFC 8489 section 14.11. */
const uint8_t pc_turn_password_algorithms[TURN_PASSWORD_ALGORITHMS_LEN] = {
	0, PC_AUTH_SHA256, 0, 0, 0, PC_AUTH_MD5, 0, 0
};

const char *pc_turn_reason(unsigned int code)
{
	static const struct {
		unsigned int code;
		const char *reason;
	} reasons[] = {
		{ 300, "Try Alternate" },
		{ 400, "Bad Request" },
		{ 401, "Unauthenticated" },
		{ 403, "Forbidden" },
		{ 420, "Unknown Attribute" },
		{ 437, "Allocation Mismatch" },
		{ 438, "Stale Nonce" },
		{ 440, "Address Family not Supported" },
		{ 441, "Wrong Credentials" },
		{ 442, "Unsupported Transport Protocol" },
		{ 443, "Peer Address Family Mismatch" },
		{ 486, "Allocation Quota Reached" },
		{ 500, "Server Error" },
		{ 508, "Insufficient Capacity" },
	};

	for (size_t i = 0; i < PC_ARRAY_SIZE(reasons); i++) {
		if (reasons[i].code == code)
			return reasons[i].reason;
	}
	return "";
}

void pc_turn_reply_begin(const struct pc_turn_request *req, struct pc_turn_reply *r,
			 enum pc_stun_class cls)
{
	pc_stun_begin(&r->sw, r->buf, sizeof(r->buf), req->msg->method, cls, req->msg->txid);
}

void pc_turn_reply_send(const struct pc_turn_request *req, struct pc_turn_reply *r)
{
	struct pc_dgram d = { .data = r->buf, .ttl = TURN_DEFAULT_TTL };

	if (req->authenticated && req->integrity256)
		pc_stun_put_integrity256(&r->sw, req->key.b, req->key.len);
	else if (req->authenticated)
		pc_stun_put_integrity(&r->sw, req->key.b, req->key.len);
	if (req->msg->fingerprint_off)
		pc_stun_put_fingerprint(&r->sw);
	d.len = pc_stun_end(&r->sw);
	if (d.len)
		req->t->ops->send_client(req->t->ctx, req->path, &d);
}

void pc_turn_reply_success(const struct pc_turn_request *req)
{
	struct pc_turn_reply r;

	pc_turn_reply_begin(req, &r, PC_STUN_SUCCESS);
	pc_turn_reply_send(req, &r);
}

static void put_unknown(const struct pc_turn_request *req, struct pc_turn_reply *r)
{
	uint8_t list[2 * PC_STUN_MAX_UNKNOWN];
	struct pc_writer w;

	pc_writer_init(&w, list, sizeof(list));
	/* Strangers get no more than fits the smallest answer. */
	for (unsigned int i = 0; i < req->msg->n_unknown && (req->authenticated || i < 4); i++)
		pc_write_u16(&w, req->msg->unknown[i]);
	pc_stun_put(&r->sw, PC_ATTR_UNKNOWN_ATTRIBUTES, list, w.len);
}

void pc_turn_reply_error(const struct pc_turn_request *req, unsigned int code)
{
	struct pc_turn_reply r;

	req->t->stats.errors[code / 100 % PC_ARRAY_SIZE(req->t->stats.errors)]++;
	pc_turn_reply_begin(req, &r, PC_STUN_ERROR);
	pc_stun_put_error(&r.sw, code, req->authenticated ? pc_turn_reason(code) : NULL);
	if (code == 420)
		put_unknown(req, &r);
	if (code == 300)
		pc_stun_put_addr(&r.sw, PC_ATTR_ALTERNATE_SERVER, &req->t->config.alternate);
	pc_turn_reply_send(req, &r);
}

void pc_turn_reply_challenge(const struct pc_turn_request *req, unsigned int code)
{
	const struct pc_turn_config *c = &req->t->config;
	char nonce[PC_AUTH_NONCE_LEN];
	struct pc_turn_reply r;

	req->t->stats.errors[4]++;
	req->t->stats.challenges++;
	pc_nonce_make(&c->nonce_keys, &req->path->client, req->realtime_s, nonce);
	pc_turn_reply_begin(req, &r, PC_STUN_ERROR);
	pc_stun_put_error(&r.sw, code, NULL);
	pc_stun_put(&r.sw, PC_ATTR_REALM, c->realm, strlen(c->realm));
	pc_stun_put(&r.sw, PC_ATTR_NONCE, nonce, sizeof(nonce));
	pc_stun_put(&r.sw, PC_ATTR_PASSWORD_ALGORITHMS, pc_turn_password_algorithms,
		    sizeof(pc_turn_password_algorithms));
	pc_turn_reply_send(req, &r);
}
