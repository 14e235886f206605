/* SPDX-License-Identifier: MIT */
/*
 * Who sends a request: long-term credentials of RFC 8489 section 9.2.4.
 *
 *   1. no integrity at all: 401 with what is needed to try again
 *   2. USERNAME or USERHASH, REALM, NONCE missing: 400
 *   3. nonce not ours or too old: 438; so all that follows is for sources that can receive
 *   4. PASSWORD-ALGORITHM(S) against what we offered: 400
 *   5. the key of the allocation, or the account's: otherwise 401, with the same bytes and after
 *      the same work whether the account exists or not
 *   6. an existing allocation belongs to another user: 441
 */
#include "relay/turn_int.h"

#include <string.h>

struct credential {
	struct pc_stun_attr username, userhash, realm, nonce;
	bool has_username, has_userhash, has_realm, has_nonce;
	char realm_text[128]; /* "" when it cannot be ours */
};

static void read_credential(const struct pc_stun_msg *msg, struct credential *ret_c)
{
	struct credential *c = ret_c;

	memset(c, 0, sizeof(*c));
	c->has_username = pc_stun_find(msg, PC_ATTR_USERNAME, &c->username);
	c->has_userhash = pc_stun_find(msg, PC_ATTR_USERHASH, &c->userhash);
	c->has_realm = pc_stun_find(msg, PC_ATTR_REALM, &c->realm);
	c->has_nonce = pc_stun_find(msg, PC_ATTR_NONCE, &c->nonce);
	if (c->has_realm && c->realm.len < sizeof(c->realm_text) &&
	    !memchr(c->realm.value, 0, c->realm.len))
		memcpy(c->realm_text, c->realm.value, c->realm.len);
}

static bool credential_complete(const struct credential *c)
{
	if (!c->has_realm || !c->has_nonce)
		return false;
	if (c->has_userhash)
		return c->userhash.len == PC_AUTH_USERHASH_LEN;
	return c->has_username && c->username.len > 0 && c->username.len <= PC_AUTH_NAME_MAX;
}

/* Which algorithm derives the key. Returns 0 or PC_ERR_MALFORMED. */
static int read_algorithm(const struct pc_stun_msg *msg, enum pc_auth_algorithm *ret_algorithm)
{
	struct pc_stun_attr one, all;
	bool has_one = pc_stun_find(msg, PC_ATTR_PASSWORD_ALGORITHM, &one);
	bool has_all = pc_stun_find(msg, PC_ATTR_PASSWORD_ALGORITHMS, &all);

	*ret_algorithm = PC_AUTH_MD5;
	if (!has_one && !has_all)
		return 0;
	/* What comes back must be what was offered: nobody in between removed the better one. */
	if (!has_one || !has_all || all.len != sizeof(pc_turn_password_algorithms) ||
	    memcmp(all.value, pc_turn_password_algorithms, all.len) != 0)
		return PC_ERR_MALFORMED;
	for (size_t i = 0; i < sizeof(pc_turn_password_algorithms); i += 4) {
		if (one.len == 4 && memcmp(one.value, pc_turn_password_algorithms + i, 4) == 0) {
			*ret_algorithm = pc_turn_password_algorithms[i + 1];
			return 0;
		}
	}
	return PC_ERR_MALFORMED;
}

static int check_key(const struct pc_turn_request *req, const struct pc_auth_key *key)
{
	return req->integrity256 ? pc_stun_check_integrity256(req->msg, key->b, key->len)
				 : pc_stun_check_integrity(req->msg, key->b, key->len);
}

/* Whether the request names the user the allocation was made for. */
static bool names_owner(const struct pc_turn_alloc *a, const struct credential *c)
{
	uint8_t hash[PC_AUTH_USERHASH_LEN];

	if (!c->has_userhash)
		return c->username.len == a->username_len &&
		       memcmp(c->username.value, a->username, a->username_len) == 0;
	pc_auth_userhash(a->username, a->username_len, c->realm_text, hash);
	return memcmp(hash, c->userhash.value, sizeof(hash)) == 0;
}

/*
 * The allocation's own key goes on working when the account's password changes or a time-limited
 * name runs out.
 */
static bool check_owner(struct pc_turn_request *req)
{
	const struct pc_turn_alloc *a = req->alloc;

	if (a->algorithm != req->algorithm || check_key(req, &a->key) != 0)
		return false;
	req->key = a->key;
	req->username = a->username;
	req->username_len = a->username_len;
	return true;
}

/* Unknown accounts are checked against a key nobody has, so that they take as long as others. */
static void lookup(struct pc_turn_request *req, const struct credential *c)
{
	struct pc_turn *t = req->t;
	struct pc_turn_user *u = &req->user;
	int r;

	memset(u, 0, sizeof(*u));
	r = t->ops->lookup(t->ctx, c->has_userhash ? NULL : (const char *)c->username.value,
			   c->has_userhash ? 0 : c->username.len,
			   c->has_userhash ? c->userhash.value : NULL, req->algorithm,
			   req->realtime_s, u);
	req->looked_up = r == 0 && u->n_keys > 0 && u->n_keys <= PC_TURN_MAX_SECRETS &&
			 strlen(t->config.realm) == c->realm.len &&
			 memcmp(t->config.realm, c->realm.value, c->realm.len) == 0;
	if (req->looked_up)
		return;
	u->n_keys = 1;
	u->keys[0].len = req->algorithm == PC_AUTH_SHA256 ? 32 : 16;
	memset(u->keys[0].b, 0, sizeof(u->keys[0].b));
}

static bool check_account(struct pc_turn_request *req, const struct credential *c)
{
	int match = -1;

	lookup(req, c);
	for (unsigned int i = 0; i < req->user.n_keys; i++) {
		if (check_key(req, &req->user.keys[i]) == 0 && match < 0)
			match = (int)i;
	}
	if (match < 0 || !req->looked_up) {
		req->looked_up = false;
		return false;
	}
	req->key = req->user.keys[match];
	if (c->has_userhash) {
		req->username = req->user.name;
		req->username_len = req->user.name_len;
	} else {
		req->username = (const char *)c->username.value;
		req->username_len = c->username.len;
	}
	return true;
}

static bool same_user(const struct pc_turn_request *req)
{
	const struct pc_turn_alloc *a = req->alloc;

	return req->user.tenant == a->tenant->id && req->username_len == a->username_len &&
	       memcmp(req->username, a->username, a->username_len) == 0;
}

/* Answers to sources without a valid nonce are few and short. */
static bool refuse(const struct pc_turn_request *req, unsigned int code)
{
	/* Who has an allocation has proved that it receives. */
	if (!req->alloc && !pc_stranger_admit(&req->t->strangers, &req->path->client.ip,
					      req->t->config.stranger_replies_per_s, req->now)) {
		pc_turn_drop(req->t, PC_TURN_DROP_SOURCE_RATE);
		return false;
	}
	if (code == 401 || code == 438)
		pc_turn_reply_challenge(req, code);
	else
		pc_turn_reply_error(req, code);
	return false;
}

bool pc_turn_authenticate(struct pc_turn_request *req)
{
	const struct pc_stun_msg *msg = req->msg;
	struct credential c;

	req->integrity256 = msg->integrity256_off != 0;
	if (!msg->integrity_off && !msg->integrity256_off)
		return refuse(req, 401);
	read_credential(msg, &c);
	if (!credential_complete(&c))
		return refuse(req, 400);
	if (!pc_nonce_valid(&req->t->config.nonce_keys, &req->path->client, req->realtime_s,
			    c.nonce.value, c.nonce.len))
		return refuse(req, 438);
	if (read_algorithm(msg, &req->algorithm) < 0)
		return refuse(req, 400);
	if (req->alloc && names_owner(req->alloc, &c) && check_owner(req)) {
		req->authenticated = true;
		return true;
	}
	if (!check_account(req, &c))
		return refuse(req, 401);
	req->authenticated = true;
	/* An Allocate on a 5-tuple in use is answered 437, whoever sends it. */
	if (req->alloc && msg->method != PC_STUN_ALLOCATE && !same_user(req)) {
		pc_turn_reply_error(req, 441);
		return false;
	}
	return true;
}
