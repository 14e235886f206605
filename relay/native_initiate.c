/* SPDX-License-Identifier: MIT */
/*
 * The initiator: one attempt per link at a time. A message is repeated until its answer comes; the
 * third one until the other side uses the new keys. Until then the old session goes on.
 */
#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "base/wire.h"
#include "relay/native_int.h"

/* --- sending --- */

static void send_attempt(struct pc_native_attempt *a)
{
	struct pc_native *n = a->link->n;
	uint8_t frame[PC_NATIVE_MAX_FRAME], key[32], mac2[NATIVE_MAC_LEN] = { 0 };
	struct pc_writer w;

	pc_writer_init(&w, frame, sizeof(frame));
	pc_write_bytes(&w, a->message, a->len);
	pc_native_mac_key(a->link->identity, key);
	pc_native_mac(key, sizeof(key), frame, w.len, a->mac1);
	pc_write_bytes(&w, a->mac1, sizeof(a->mac1));
	if (a->has_cookie && n->now - a->cookie_ns < NATIVE_SECRET_NS)
		pc_native_mac(a->cookie, sizeof(a->cookie), frame, w.len, mac2);
	pc_write_bytes(&w, mac2, sizeof(mac2));
	n->ops->send(n->ctx, &a->path, frame, w.len);
}

/* The next repetition: later each time, and not in step with others. */
static void schedule(struct pc_native_attempt *a)
{
	struct pc_native *n = a->link->n;
	uint32_t jitter;

	n->ops->random(n->ctx, &jitter, sizeof(jitter));
	a->retry_ns = n->now + a->wait_ns + jitter % (a->wait_ns / 4);
	a->wait_ns = a->wait_ns * 2 < NATIVE_RETRY_MAX_NS ? a->wait_ns * 2 : NATIVE_RETRY_MAX_NS;
}

/* Zeros as one field, so that all of the first message comes to its least length. */
static void pad(struct pc_writer *w, size_t len)
{
	if (w->len + 4 >= len)
		return;
	len -= w->len + 4;
	pc_write_u16(w, PC_NATIVE_F_PADDING);
	pc_write_u16(w, (uint16_t)len);
	pc_write_zero(w, len);
}

/* type | version | 0 2 | sender 4 | noise, and room for the macs behind it */
static int write_first(struct pc_native_attempt *a)
{
	struct pc_native *n = a->link->n;
	struct pc_native_msg m = { .has = a->ik ? 1u << PC_NATIVE_F_STATEMENT : 0,
				   .statement = n->config.statement };
	size_t overhead = 8 + 32 + 2 * NATIVE_MAC_LEN + (a->ik ? 48 + NATIVE_TAG_LEN : 0);
	uint8_t payload[PC_NATIVE_FIRST_LEN];
	struct pc_writer w, inner;
	size_t len;
	int rc;

	pc_writer_init(&inner, payload, sizeof(payload));
	pc_native_fields_write(&inner, &m);
	pad(&inner, PC_NATIVE_FIRST_LEN - overhead);
	pc_writer_init(&w, a->message, sizeof(a->message));
	pc_write_u8(&w, a->ik ? PC_NATIVE_IK1 : PC_NATIVE_XX1);
	pc_write_u8(&w, PC_NATIVE_PROTOCOL);
	pc_write_u16(&w, 0);
	pc_write_u32(&w, a->index);
	rc = pc_noise_write_message(&a->hs, payload, inner.len, a->message + w.len,
				    sizeof(a->message) - w.len, &len);
	a->len = w.len + len;
	return rc;
}

static int begin(struct pc_native_attempt *a)
{
	struct pc_native_link *link = a->link;
	struct pc_native *n = link->n;
	uint8_t prologue[NATIVE_PROLOGUE_LEN], secret[32], psk[32] = { 0 };
	struct pc_noise_keypair e;
	struct pc_noise_setup setup = { .prologue = prologue,
					.prologue_len = sizeof(prologue),
					.s = &n->s,
					.e = &e,
					.rs = a->ik ? link->static_key : NULL,
					.psk = psk };
	int rc;

	n->ops->random(n->ctx, secret, sizeof(secret));
	pc_noise_keypair(secret, &e);
	pc_native_psk(n, link->identity, psk);
	pc_native_prologue(link->identity, prologue);
	rc = pc_noise_initialize(&a->hs, a->ik ? &pc_noise_ikpsk2 : &pc_noise_xx, true, &setup);
	if (rc == 0)
		rc = write_first(a);
	pc_noise_wipe(&e, sizeof(e));
	pc_noise_wipe(secret, sizeof(secret));
	pc_noise_wipe(psk, sizeof(psk));
	return rc;
}

int pc_native_attempt_start(struct pc_native_link *link, const struct pc_native_path *path, bool ik)
{
	struct pc_native *n = link->n;
	struct pc_native_attempt *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return -ENOMEM;
	/* Those of an attempt that is given up: the other side never used them. */
	pc_native_keys_free(n, link->next);
	link->next = NULL;
	pc_native_attempt_free(n, link->attempt);
	link->attempt = a;
	a->link = link;
	a->path = *path;
	a->ik = ik;
	a->started_ns = n->now;
	a->wait_ns = NATIVE_RETRY_NS;
	a->index = pc_native_new_index(n);
	pc_htab_insert(&n->attempts, &a->by_index, pc_native_index_hash(n, a->index));
	rc = begin(a);
	if (rc < 0) {
		link->attempt = NULL;
		pc_native_attempt_free(n, a);
		return rc;
	}
	schedule(a);
	send_attempt(a);
	return 0;
}

/* From the first message again, as part of the same attempt. */
static void restart(struct pc_native_link *link, bool ik)
{
	uint64_t started = link->attempt->started_ns, wait = link->attempt->wait_ns;
	struct pc_native_path path = link->attempt->path;

	if (pc_native_attempt_start(link, &path, ik) < 0)
		return;
	link->attempt->started_ns = started;
	link->attempt->wait_ns = wait;
}

void pc_native_attempt_due(struct pc_native_link *link)
{
	struct pc_native_attempt *a = link->attempt;
	struct pc_native *n = link->n;
	uint8_t psk[32] = { 0 };

	if (n->now - a->started_ns >= PC_NATIVE_TIMEOUT) {
		pc_native_keys_free(n, link->next);
		link->next = NULL;
		link->attempt = NULL;
		pc_native_attempt_free(n, a);
		return;
	}
	a->tries++;
	a->cookie_used = false;
	if (a->finishing && n->now - a->finishing_ns >= NATIVE_FINISH_NS) {
		restart(link, a->ik);
	} else if (!a->finishing && a->ik && a->tries >= NATIVE_IK_TRIES &&
		   !pc_native_psk(n, link->identity, psk)) {
		restart(link, false);
	} else {
		schedule(a);
		send_attempt(a);
	}
	pc_noise_wipe(psk, sizeof(psk));
}

/* --- answers --- */

static bool mac1_is_right(const struct pc_native_attempt *a, const uint8_t *data, size_t len)
{
	uint8_t key[32], mac[NATIVE_MAC_LEN];

	pc_native_mac_key(a->hs.e.public_key, key);
	pc_native_mac(key, sizeof(key), data, len - NATIVE_MAC_LEN, mac);
	return sodium_memcmp(mac, data + len - NATIVE_MAC_LEN, sizeof(mac)) == 0;
}

/* In XX the responder says who it is; in IK it could not have answered otherwise. */
static int check_responder(const struct pc_native_link *link, const struct pc_noise_handshake *hs,
			   const uint8_t *payload, size_t len)
{
	struct pc_native_msg m = { 0 };
	struct pc_statement who;
	struct pc_reader r;
	int rc;

	pc_reader_init(&r, payload, len);
	rc = pc_native_fields_read(&r, &m);
	if (rc < 0 || link->attempt->ik)
		return rc;
	if (!m.statement)
		return PC_ERR_MALFORMED;
	rc = pc_statement_check(m.statement, PC_STATEMENT_LEN, hs->rs, link->n->realtime_s, &who);
	if (rc == 0 && memcmp(who.identity, link->identity, 32) != 0)
		rc = PC_ERR_AUTH;
	return rc;
}

/* type | version | 0 2 | sender 4 | receiver 4 | length 2 | ticket | noise, or nothing sealed */
static int write_third(struct pc_native_attempt *a, struct pc_noise_handshake *hs,
		       struct pc_native_keys *k, const uint8_t *ticket, size_t ticket_len)
{
	struct pc_native *n = a->link->n;
	struct pc_native_msg m = { .has = 1u << PC_NATIVE_F_STATEMENT,
				   .statement = n->config.statement };
	uint8_t payload[4 + PC_STATEMENT_LEN], noise[256];
	struct pc_writer w, inner;
	size_t len = NATIVE_TAG_LEN;
	int rc = 0;

	pc_writer_init(&inner, payload, sizeof(payload));
	pc_native_fields_write(&inner, &m);
	if (!a->ik)
		rc = pc_noise_write_message(hs, payload, inner.len, noise, sizeof(noise), &len);
	if (rc == 0)
		rc = pc_native_keys_derive(k, hs);
	if (rc == 0 && a->ik)
		rc = pc_noise_seal(k->send, 0, NULL, 0, NULL, 0, noise);
	if (rc < 0)
		return rc;
	pc_writer_init(&w, a->message, sizeof(a->message) - 2 * NATIVE_MAC_LEN);
	pc_write_u8(&w, a->ik ? PC_NATIVE_IK3 : PC_NATIVE_XX3);
	pc_write_u8(&w, PC_NATIVE_PROTOCOL);
	pc_write_u16(&w, 0);
	pc_write_u32(&w, a->index);
	pc_write_u32(&w, k->remote_index);
	pc_write_u16(&w, (uint16_t)ticket_len);
	pc_write_bytes(&w, ticket, ticket_len);
	pc_write_bytes(&w, noise, len);
	a->len = w.len;
	k->send_counter = 1; /* 0 was this */
	return w.failed ? PC_ERR_RANGE : 0;
}

/*
 * With a pre-shared key only IKpsk2 will do, and for that the other side's static key is wanted. It
 * is all that is taken of XX: who we are has not been told, and is not.
 */
static bool learn_static(struct pc_native_link *link, const struct pc_noise_handshake *hs)
{
	uint8_t psk[32];
	bool has_psk = !link->attempt->ik && pc_native_psk(link->n, link->identity, psk);

	pc_noise_wipe(psk, sizeof(psk));
	if (!has_psk)
		return false;
	memcpy(link->static_key, hs->rs, 32);
	link->has_static = true;
	return true;
}

/*
 * Everything that can fail happens to copies: a forged answer does not spoil the attempt.
 * PC_ERR_STATE: right, but only good to begin with IKpsk2.
 */
static int take_second(struct pc_native_attempt *a, uint32_t remote_index, const uint8_t *ticket,
		       size_t ticket_len, const uint8_t *noise, size_t noise_len)
{
	struct pc_noise_handshake hs = a->hs;
	struct pc_native_link *link = a->link;
	uint8_t payload[PC_NATIVE_MAX_FRAME];
	struct pc_native_keys *k = NULL;
	size_t len;
	int rc;

	rc = pc_noise_read_message(&hs, noise, noise_len, payload, sizeof(payload), &len);
	if (rc == 0)
		rc = check_responder(link, &hs, payload, len);
	if (rc == 0 && learn_static(link, &hs))
		rc = PC_ERR_STATE;
	if (rc == 0) {
		k = pc_native_keys_new(link->n, link, a->index, remote_index);
		rc = k ? write_third(a, &hs, k, ticket, ticket_len) : -ENOMEM;
	}
	if (rc < 0) {
		pc_native_keys_free(link->n, k);
	} else {
		memcpy(link->static_key, hs.rs, 32);
		link->has_static = true;
		link->next = k;
	}
	pc_noise_wipe(&hs, sizeof(hs));
	return rc;
}

void pc_native_second(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		      size_t len)
{
	uint32_t remote_index, index;
	struct pc_native_attempt *a;
	const uint8_t *ticket, *noise;
	size_t ticket_len, noise_len;
	struct pc_reader r;
	uint8_t version;
	uint16_t zero;
	int rc;

	pc_reader_init(&r, data, len - NATIVE_MAC_LEN);
	pc_read_skip(&r, 1);
	version = pc_read_u8(&r);
	zero = pc_read_u16(&r);
	remote_index = pc_read_u32(&r);
	index = pc_read_u32(&r);
	ticket_len = pc_read_u16(&r);
	ticket = pc_read_bytes(&r, ticket_len);
	noise_len = pc_reader_left(&r);
	noise = pc_read_bytes(&r, noise_len);
	if (r.failed || version != PC_NATIVE_PROTOCOL || zero || ticket_len > NATIVE_MAX_TICKET) {
		pc_native_dropped(n, PC_NATIVE_DROP_MALFORMED);
		return;
	}
	a = pc_native_attempt_find(n, index);
	if (!a || a->finishing || (data[0] == PC_NATIVE_IK2) != a->ik) {
		pc_native_dropped(n, PC_NATIVE_DROP_SESSION);
		return;
	}
	if (!mac1_is_right(a, data, len)) {
		pc_native_dropped(n, PC_NATIVE_DROP_MAC1);
		return;
	}
	n->stats.curve_operations++;
	rc = take_second(a, remote_index, ticket, ticket_len, noise, noise_len);
	if (rc == PC_ERR_STATE && !a->ik && a->link->has_static) {
		struct pc_native_link *link = a->link;

		restart(link, true);
		pc_native_link_arm(link);
		return;
	}
	if (rc < 0) {
		a->link->suspect = true;
		pc_native_dropped(n, PC_NATIVE_DROP_HANDSHAKE);
		return;
	}
	a->finishing = true;
	a->finishing_ns = n->now;
	a->wait_ns = NATIVE_RETRY_NS;
	a->cookie_used = false;
	schedule(a);
	pc_native_link_arm(a->link);
	send_attempt(a);
}

void pc_native_cookie_input(struct pc_native *n, const uint8_t *data, size_t len)
{
	struct pc_native_attempt *a;
	struct pc_reader r;

	pc_reader_init(&r, data, len);
	pc_read_skip(&r, 4);
	a = pc_native_attempt_find(n, pc_read_u32(&r));
	if (!a) {
		pc_native_dropped(n, PC_NATIVE_DROP_SESSION);
		return;
	}
	if (pc_native_cookie_open(a->link->identity, data, len, a->mac1, a->cookie) < 0) {
		pc_native_dropped(n, PC_NATIVE_DROP_COOKIE);
		return;
	}
	a->has_cookie = true;
	a->cookie_ns = n->now;
	/* At once, but only one time: a cookie that does not help must not make a loop. */
	if (!a->cookie_used)
		send_attempt(a);
	a->cookie_used = true;
}

void pc_native_attempt_done(struct pc_native_link *link)
{
	struct pc_native *n = link->n;
	bool renewed = link->current != NULL;

	pc_native_keys_free(n, link->previous);
	link->previous = link->current;
	link->current = link->next;
	link->next = NULL;
	link->initiator = true;
	link->path = link->attempt->path;
	pc_native_attempt_free(n, link->attempt);
	link->attempt = NULL;
	link->unanswered = 0;
	link->suspect = false;
	link->heartbeat_ns = n->config.heartbeat_ns ? n->now + n->config.heartbeat_ns : 0;
	n->stats.handshakes++;
	pc_native_link_arm(link);
	n->ops->up(n->ctx, link, renewed);
}
