/* SPDX-License-Identifier: MIT */
/*
 * A small TURN client for test helpers: one connected UDP socket, MD5 long-term credentials.
 * tc_allocate() and the like are one transaction at a time, and throw away data that arrives
 * meanwhile: look for it on the wire. Who has data to take meanwhile posts a request and hands what
 * arrives to tc_verdict().
 */
#ifndef PC_TESTS_TURN_CLIENT_H
#define PC_TESTS_TURN_CLIENT_H

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/clock.h"
#include "relay/auth.h"
#include "relay/stun.h"

#define TC_BUF	 2048
#define TC_TRIES 10

struct turn_client {
	int fd;
	const char *user, *password;
	char realm[128];
	uint8_t nonce[128];
	size_t nonce_len;
	struct pc_auth_key key;
	struct pc_addr relayed;
};

/* What a request carries; what is zero or NULL is left out. */
struct turn_request {
	uint16_t method;
	bool transport, six, has_lifetime;
	uint32_t lifetime;
	uint16_t channel;
	const struct pc_addr *peer;
};

static inline int tc_open(struct turn_client *c, const struct pc_addr *local,
			  const struct pc_addr *server)
{
	struct sockaddr_storage ss;
	socklen_t len = pc_addr_to_sockaddr(local, &ss);

	c->fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	len = pc_addr_to_sockaddr(server, &ss);
	return connect(c->fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

static inline size_t tc_build(struct turn_client *c, const struct turn_request *rq,
			      const uint8_t *txid, uint8_t *buf)
{
	struct pc_stun_writer w;

	pc_stun_begin(&w, buf, TC_BUF, rq->method, PC_STUN_REQUEST, txid);
	if (rq->transport)
		pc_stun_put_u32(&w, PC_ATTR_REQUESTED_TRANSPORT, 17u << 24);
	if (rq->six)
		pc_stun_put_u32(&w, PC_ATTR_REQUESTED_ADDRESS_FAMILY, 2u << 24);
	if (rq->has_lifetime)
		pc_stun_put_u32(&w, PC_ATTR_LIFETIME, rq->lifetime);
	if (rq->channel)
		pc_stun_put_u32(&w, PC_ATTR_CHANNEL_NUMBER, (uint32_t)rq->channel << 16);
	if (rq->peer)
		pc_stun_put_xor_addr(&w, PC_ATTR_XOR_PEER_ADDRESS, rq->peer);
	if (c->nonce_len) {
		pc_stun_put(&w, PC_ATTR_USERNAME, c->user, strlen(c->user));
		pc_stun_put(&w, PC_ATTR_REALM, c->realm, strlen(c->realm));
		pc_stun_put(&w, PC_ATTR_NONCE, c->nonce, c->nonce_len);
		pc_stun_put_integrity(&w, c->key.b, c->key.len);
	}
	return pc_stun_end(&w);
}

/* The answer to @txid in @buf. Returns 0, or -ETIMEDOUT after half a second. */
static inline int tc_await(struct turn_client *c, const uint8_t *txid, uint8_t *buf,
			   struct pc_stun_msg *ret_msg)
{
	uint64_t end = pc_clock_monotonic() + 500 * PC_NS_PER_MS;

	while (pc_clock_monotonic() < end) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, 50) <= 0)
			continue;
		n = recv(c->fd, buf, TC_BUF, 0);
		if (n <= 0 || buf[0] >= 0x40 || pc_stun_parse(buf, (size_t)n, ret_msg) < 0)
			continue;
		if (ret_msg->cls != PC_STUN_INDICATION &&
		    !memcmp(ret_msg->txid, txid, PC_STUN_TXID_LEN))
			return 0;
	}
	return -ETIMEDOUT;
}

static inline void tc_take_challenge(struct turn_client *c, const struct pc_stun_msg *m)
{
	struct pc_stun_attr a;

	if (pc_stun_find(m, PC_ATTR_REALM, &a) && a.len < sizeof(c->realm)) {
		memcpy(c->realm, a.value, a.len);
		c->realm[a.len] = '\0';
	}
	if (pc_stun_find(m, PC_ATTR_NONCE, &a) && a.len <= sizeof(c->nonce)) {
		memcpy(c->nonce, a.value, a.len);
		c->nonce_len = a.len;
	}
	pc_auth_derive(PC_AUTH_MD5, c->user, strlen(c->user), c->realm, c->password,
		       strlen(c->password), &c->key);
}

/* Sends a request once, under an id of its own in @txid. */
static inline int tc_post(struct turn_client *c, const struct turn_request *rq,
			  uint8_t txid[static PC_STUN_TXID_LEN])
{
	uint8_t buf[TC_BUF];
	size_t len;

	randombytes_buf(txid, PC_STUN_TXID_LEN);
	len = tc_build(c, rq, txid, buf);
	return send(c->fd, buf, len, 0) < 0 && errno != ECONNREFUSED ? -errno : 0;
}

/* 0, the STUN error code, -EAGAIN when a challenge was taken and the request is to be posted anew,
 * or another negative.
 */
static inline int tc_verdict(struct turn_client *c, const struct pc_stun_msg *m)
{
	struct pc_stun_attr a;
	int code;

	if (m->cls == PC_STUN_SUCCESS) {
		if (pc_stun_find(m, PC_ATTR_XOR_RELAYED_ADDRESS, &a))
			return pc_stun_attr_xor_addr(m, &a, &c->relayed);
		return 0;
	}
	if (!pc_stun_find(m, PC_ATTR_ERROR_CODE, &a) || a.len < 4)
		return -EBADMSG;
	code = a.value[2] * 100 + a.value[3];
	if ((code != 401 || c->nonce_len) && code != 438)
		return code;
	tc_take_challenge(c, m);
	return -EAGAIN;
}

/* 0, the STUN error code, or negative. */
static inline int tc_request(struct turn_client *c, const struct turn_request *rq)
{
	for (int tries = 0; tries < TC_TRIES; tries++) {
		uint8_t txid[PC_STUN_TXID_LEN], buf[TC_BUF];
		struct pc_stun_msg m;
		int r;

		while (recv(c->fd, buf, sizeof(buf), 0) > 0)
			; /* data in a full queue leaves no room for the answer */
		r = tc_post(c, rq, txid);
		if (r)
			return r;
		if (tc_await(c, txid, buf, &m))
			continue;
		r = tc_verdict(c, &m);
		if (r != -EAGAIN)
			return r;
	}
	return -ETIMEDOUT;
}

static inline int tc_allocate(struct turn_client *c)
{
	struct turn_request rq = { .method = PC_STUN_ALLOCATE, .transport = true };

	return tc_request(c, &rq);
}

static inline int tc_permit(struct turn_client *c, const struct pc_addr *peer)
{
	struct turn_request rq = { .method = PC_STUN_CREATE_PERMISSION, .peer = peer };

	return tc_request(c, &rq);
}

static inline int tc_bind(struct turn_client *c, uint16_t channel, const struct pc_addr *peer)
{
	struct turn_request rq = { .method = PC_STUN_CHANNEL_BIND,
				   .channel = channel,
				   .peer = peer };

	return tc_request(c, &rq);
}

static inline int tc_refresh(struct turn_client *c, uint32_t lifetime)
{
	struct turn_request rq = { .method = PC_STUN_REFRESH,
				   .has_lifetime = true,
				   .lifetime = lifetime };

	return tc_request(c, &rq);
}

#endif
