/* SPDX-License-Identifier: MIT */
/*
 * What is checked before any curve operation: mac1 (the sender knows who we are), under load mac2
 * (it also gets what is sent to its address), and tickets (it is the one that we answered).
 */
#include "relay/native_int.h"

#include <sodium.h>

#include "base/wire.h"

/* --- macs --- */

static void hash_label(const char *label, const uint8_t key[static 32], uint8_t ret[static 32])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, (const uint8_t *)label, strlen(label));
	crypto_hash_sha256_update(&state, key, 32);
	crypto_hash_sha256_final(&state, ret);
}

void pc_native_mac_key(const uint8_t key[static 32], uint8_t ret[static 32])
{
	hash_label("pcloud/1 mac1", key, ret);
}

void pc_native_cookie_key(const uint8_t identity[static 32], uint8_t ret[static 32])
{
	hash_label("pcloud/1 cookie", identity, ret);
}

void pc_native_mac(const uint8_t *key, size_t key_len, const void *data, size_t len,
		   uint8_t ret[static NATIVE_MAC_LEN])
{
	crypto_generichash(ret, NATIVE_MAC_LEN, data, len, key, key_len);
}

/* --- secrets --- */

void pc_native_rotate(struct pc_native *n)
{
	if (n->secrets_ns && n->now - n->secrets_ns < NATIVE_SECRET_NS)
		return;
	memcpy(n->cookie_secret[1], n->cookie_secret[0], 32);
	memcpy(n->ticket_key[1], n->ticket_key[0], 32);
	n->ops->random(n->ctx, n->cookie_secret[0], 32);
	n->ops->random(n->ctx, n->ticket_key[0], 32);
	/* After a long silence the one before is too old as well. */
	if (!n->secrets_ns || n->now - n->secrets_ns >= 2 * NATIVE_SECRET_NS) {
		n->ops->random(n->ctx, n->cookie_secret[1], 32);
		n->ops->random(n->ctx, n->ticket_key[1], 32);
	}
	n->secrets_ns = n->now ? n->now : 1;
}

/* --- cookies --- */

/* What a cookie proves: that its holder gets what we send there. */
static size_t write_source(const struct pc_native_path *path, uint8_t *buf, size_t size)
{
	struct pc_writer w;

	pc_writer_init(&w, buf, size);
	pc_write_u32(&w, path->listener);
	pc_write_u32(&w, path->pipe);
	pc_write_u8(&w, path->remote.ip.family);
	pc_write_bytes(&w, path->remote.ip.b, sizeof(path->remote.ip.b));
	pc_write_u16(&w, path->remote.port);
	return w.len;
}

static void make_cookie(const struct pc_native *n, unsigned int which,
			const struct pc_native_path *path, uint8_t ret[static NATIVE_COOKIE_LEN])
{
	uint8_t source[32];
	size_t len = write_source(path, source, sizeof(source));

	pc_native_mac(n->cookie_secret[which], 32, source, len, ret);
}

/* type | version | 0 2 | receiver 4 | nonce 24 | sealed cookie 32 */
static void send_cookie(struct pc_native *n, const struct pc_native_path *path, uint32_t receiver,
			const uint8_t mac1[static NATIVE_MAC_LEN])
{
	uint8_t frame[NATIVE_COOKIE_FRAME], cookie[NATIVE_COOKIE_LEN], key[32];
	uint8_t nonce[NATIVE_XNONCE_LEN], sealed[NATIVE_COOKIE_LEN + NATIVE_TAG_LEN];
	struct pc_writer w;

	make_cookie(n, 0, path, cookie);
	n->ops->random(n->ctx, nonce, sizeof(nonce));
	pc_native_cookie_key(n->config.identity, key);
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, cookie, sizeof(cookie), mac1,
						   NATIVE_MAC_LEN, NULL, nonce, key);
	pc_writer_init(&w, frame, sizeof(frame));
	pc_write_u8(&w, PC_NATIVE_COOKIE);
	pc_write_u8(&w, PC_NATIVE_PROTOCOL);
	pc_write_u16(&w, 0);
	pc_write_u32(&w, receiver);
	pc_write_bytes(&w, nonce, sizeof(nonce));
	pc_write_bytes(&w, sealed, sizeof(sealed));
	n->stats.cookies_sent++;
	n->ops->send(n->ctx, path, frame, w.len);
}

int pc_native_cookie_open(const uint8_t responder[static 32], const uint8_t *data, size_t len,
			  const uint8_t mac1[static NATIVE_MAC_LEN],
			  uint8_t ret_cookie[static NATIVE_COOKIE_LEN])
{
	const uint8_t *nonce, *sealed;
	struct pc_reader r;
	uint8_t key[32];

	pc_reader_init(&r, data, len);
	pc_read_skip(&r, 8);
	nonce = pc_read_bytes(&r, NATIVE_XNONCE_LEN);
	sealed = pc_read_bytes(&r, NATIVE_COOKIE_LEN + NATIVE_TAG_LEN);
	if (r.failed || pc_reader_left(&r))
		return PC_ERR_MALFORMED;
	pc_native_cookie_key(responder, key);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret_cookie, NULL, NULL, sealed,
						       NATIVE_COOKIE_LEN + NATIVE_TAG_LEN, mac1,
						       NATIVE_MAC_LEN, nonce, key) < 0)
		return PC_ERR_AUTH;
	return 0;
}

static bool mac2_is_right(const struct pc_native *n, const struct pc_native_path *path,
			  const uint8_t *data, size_t len)
{
	uint8_t cookie[NATIVE_COOKIE_LEN], mac[NATIVE_MAC_LEN];

	for (unsigned int which = 0; which < 2; which++) {
		make_cookie(n, which, path, cookie);
		pc_native_mac(cookie, sizeof(cookie), data, len - NATIVE_MAC_LEN, mac);
		if (sodium_memcmp(mac, data + len - NATIVE_MAC_LEN, sizeof(mac)) == 0)
			return true;
	}
	return false;
}

/* --- load --- */

/* Within what may be spent on whoever asks; a burst of one second. Takes one then. */
static bool within_budget(struct pc_native *n)
{
	uint64_t at = n->load_ns > n->now ? n->load_ns : n->now;

	if (n->config.handshakes_per_s == 0)
		return false;
	at += PC_NS_PER_S / n->config.handshakes_per_s;
	if (at - n->now > PC_NS_PER_S)
		return false;
	n->load_ns = at;
	return true;
}

/* The frame's own index of the sender: where an answer goes. */
static uint32_t sender_of(const uint8_t *data, size_t len)
{
	struct pc_reader r;

	pc_reader_init(&r, data, len);
	pc_read_skip(&r, 4);
	return pc_read_u32(&r);
}

bool pc_native_admit(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		     size_t len)
{
	size_t body = len - 2 * NATIVE_MAC_LEN;
	uint8_t mac[NATIVE_MAC_LEN];

	pc_native_mac(n->mac_key, sizeof(n->mac_key), data, body, mac);
	if (sodium_memcmp(mac, data + body, sizeof(mac)) != 0) {
		pc_native_dropped(n, PC_NATIVE_DROP_MAC1);
		return false;
	}
	if (within_budget(n))
		return true;
	if (!mac2_is_right(n, path, data, len)) {
		send_cookie(n, path, sender_of(data, len), data + body);
		pc_native_dropped(n, PC_NATIVE_DROP_COOKIE);
		return false;
	}
	if (!pc_stranger_admit(&n->strangers, &path->remote.ip, n->config.source_handshakes_per_s,
			       n->now)) {
		pc_native_dropped(n, PC_NATIVE_DROP_RATE);
		return false;
	}
	return true;
}

/* --- tickets --- */

static size_t write_ticket_ad(const struct pc_native_path *path, const struct pc_native_ticket *t,
			      uint8_t *buf, size_t size)
{
	struct pc_writer w;
	size_t len = write_source(path, buf, size);

	pc_writer_init(&w, buf + len, size - len);
	pc_write_u8(&w, t->type);
	pc_write_u32(&w, t->initiator_index);
	pc_write_u32(&w, t->responder_index);
	return len + w.len;
}

static size_t secrets_len(const struct pc_native_ticket *t)
{
	return t->type == PC_NATIVE_XX1 ? sizeof(t->xx) : sizeof(t->ik);
}

/* length 2 | nonce 24 | sealed: time 8 and secrets */
void pc_native_ticket_seal(struct pc_native *n, const struct pc_native_path *path,
			   const struct pc_native_ticket *t, struct pc_writer *w)
{
	uint8_t plain[8 + sizeof(t->ik)], sealed[sizeof(plain) + NATIVE_TAG_LEN];
	uint8_t nonce[NATIVE_XNONCE_LEN], ad[64];
	size_t ad_len = write_ticket_ad(path, t, ad, sizeof(ad)), len;
	struct pc_writer inner;

	pc_writer_init(&inner, plain, sizeof(plain));
	pc_write_u64(&inner, t->made_ns);
	pc_write_bytes(&inner, &t->xx, secrets_len(t));
	n->ops->random(n->ctx, nonce, sizeof(nonce));
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, plain, inner.len, ad, ad_len, NULL,
						   nonce, n->ticket_key[0]);
	len = inner.len + NATIVE_TAG_LEN;
	pc_write_u16(w, (uint16_t)(sizeof(nonce) + len));
	pc_write_bytes(w, nonce, sizeof(nonce));
	pc_write_bytes(w, sealed, len);
	sodium_memzero(plain, sizeof(plain));
}

int pc_native_ticket_open(const struct pc_native *n, const struct pc_native_path *path,
			  const uint8_t *data, size_t len, struct pc_native_ticket *t)
{
	size_t plain_len = 8 + secrets_len(t), ad_len;
	uint8_t plain[8 + sizeof(t->ik)], ad[64];
	struct pc_reader r;
	int rc = PC_ERR_AUTH;

	if (len != NATIVE_XNONCE_LEN + plain_len + NATIVE_TAG_LEN)
		return PC_ERR_AUTH;
	ad_len = write_ticket_ad(path, t, ad, sizeof(ad));
	for (unsigned int which = 0; rc < 0 && which < 2; which++) {
		if (crypto_aead_xchacha20poly1305_ietf_decrypt(
			    plain, NULL, NULL, data + NATIVE_XNONCE_LEN, len - NATIVE_XNONCE_LEN,
			    ad, ad_len, data, n->ticket_key[which]) == 0)
			rc = 0;
	}
	if (rc < 0)
		return rc;
	pc_reader_init(&r, plain, plain_len);
	t->made_ns = pc_read_u64(&r);
	pc_read_copy(&r, &t->xx, secrets_len(t));
	sodium_memzero(plain, sizeof(plain));
	return n->now - t->made_ns >= NATIVE_TICKET_NS ? PC_ERR_RANGE : 0;
}
