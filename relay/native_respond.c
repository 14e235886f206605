/* SPDX-License-Identifier: MIT */
/*
 * The responder. A first message is answered and forgotten: what the third one needs is in the
 * ticket. Whoever brings the ticket back gets what we send to its address.
 */
#include <errno.h>

#include <sodium.h>

#include "base/wire.h"
#include "relay/native_int.h"

/* --- first message --- */

/* Fields of a handshake's payload: our statement, and where we see the other side. */
static size_t write_payload(const struct pc_native *n, const struct pc_native_path *path,
			    bool statement, uint8_t *buf, size_t size)
{
	struct pc_native_msg m = { .statement = n->config.statement, .observed = path->remote };
	struct pc_writer w;

	if (statement)
		m.has |= 1u << PC_NATIVE_F_STATEMENT;
	if (path->remote.ip.family)
		m.has |= 1u << PC_NATIVE_F_OBSERVED;
	pc_writer_init(&w, buf, size);
	pc_native_fields_write(&w, &m);
	return w.len;
}

/* The statement in @payload must be about @static_key. */
static int check_payload(const struct pc_native *n, const uint8_t *payload, size_t len,
			 const uint8_t static_key[static 32], struct pc_statement *ret)
{
	struct pc_native_msg m = { 0 };
	struct pc_reader r;
	int rc;

	pc_reader_init(&r, payload, len);
	rc = pc_native_fields_read(&r, &m);
	if (rc < 0)
		return rc;
	if (!m.statement)
		return PC_ERR_MALFORMED;
	return pc_statement_check(m.statement, PC_STATEMENT_LEN, static_key, n->realtime_s, ret);
}

static int responder(struct pc_native *n, bool ik, const struct pc_noise_keypair *e,
		     struct pc_noise_handshake *ret_hs)
{
	uint8_t prologue[NATIVE_PROLOGUE_LEN];
	struct pc_noise_setup setup = {
		.prologue = prologue, .prologue_len = sizeof(prologue), .s = &n->s, .e = e
	};

	pc_native_prologue(n->config.identity, prologue);
	return pc_noise_initialize(ret_hs, ik ? &pc_noise_ikpsk2 : &pc_noise_xx, false, &setup);
}

/* Reads message 1 and writes message 2 to @buf; fills the secrets of @t. */
static int answer(struct pc_native *n, const struct pc_native_path *path, const uint8_t *noise,
		  size_t len, struct pc_native_ticket *t, uint8_t *buf, size_t size,
		  size_t *ret_len)
{
	uint8_t payload[PC_NATIVE_MAX_FRAME], secret[32];
	bool ik = t->type == PC_NATIVE_IK1;
	struct pc_noise_handshake hs;
	struct pc_noise_keypair e;
	struct pc_statement who;
	size_t n_payload;
	int rc;

	n->ops->random(n->ctx, secret, sizeof(secret));
	pc_noise_keypair(secret, &e);
	rc = responder(n, ik, &e, &hs);
	if (rc == 0)
		rc = pc_noise_read_message(&hs, noise, len, payload, sizeof(payload), &n_payload);
	if (rc == 0 && ik) {
		rc = check_payload(n, payload, n_payload, hs.rs, &who);
		if (rc == 0)
			pc_native_psk(n, who.identity, hs.psk);
	}
	n_payload = write_payload(n, path, !ik, payload, sizeof(payload));
	if (rc == 0)
		rc = pc_noise_write_message(&hs, payload, n_payload, buf, size, ret_len);
	if (rc == 0 && ik) {
		memcpy(t->ik.identity, who.identity, 32);
		memcpy(t->ik.static_key, hs.rs, 32);
		pc_native_export_secret(&hs, t->ik.export);
		rc = pc_noise_split(&hs, t->ik.send, t->ik.receive);
	} else if (rc == 0) {
		memcpy(t->xx.ck, hs.symmetric.ck, 32);
		memcpy(t->xx.h, hs.symmetric.h, 32);
		memcpy(t->xx.k, hs.symmetric.cipher.k, 32);
		memcpy(t->xx.e, secret, 32);
	}
	pc_noise_wipe(&hs, sizeof(hs));
	pc_noise_wipe(&e, sizeof(e));
	pc_noise_wipe(secret, sizeof(secret));
	return rc;
}

/* type | version | 0 2 | sender 4 | receiver 4 | ticket | noise | mac1 */
static void send_second(struct pc_native *n, const struct pc_native_path *path,
			const struct pc_native_ticket *t, const uint8_t *noise, size_t noise_len,
			const uint8_t ephemeral[static 32], size_t limit)
{
	uint8_t frame[PC_NATIVE_MAX_FRAME], key[32], mac[NATIVE_MAC_LEN];
	struct pc_writer w;

	/* Never more than we were sent: nobody is worth reflecting at through us. */
	pc_writer_init(&w, frame, limit < sizeof(frame) ? limit : sizeof(frame));
	pc_write_u8(&w, t->type + 1);
	pc_write_u8(&w, PC_NATIVE_PROTOCOL);
	pc_write_u16(&w, 0);
	pc_write_u32(&w, t->responder_index);
	pc_write_u32(&w, t->initiator_index);
	pc_native_ticket_seal(n, path, t, &w);
	pc_write_bytes(&w, noise, noise_len);
	pc_native_mac_key(ephemeral, key);
	pc_native_mac(key, sizeof(key), frame, w.len, mac);
	pc_write_bytes(&w, mac, sizeof(mac));
	if (w.failed)
		pc_native_dropped(n, PC_NATIVE_DROP_FULL);
	else
		n->ops->send(n->ctx, path, frame, w.len);
}

void pc_native_first(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		     size_t len)
{
	struct pc_native_ticket t = { .type = data[0], .made_ns = n->now };
	uint8_t noise[PC_NATIVE_MAX_FRAME], version;
	const uint8_t *message;
	struct pc_reader r;
	size_t message_len, noise_len;
	uint16_t zero;

	if (len < PC_NATIVE_FIRST_LEN) {
		pc_native_dropped(n, PC_NATIVE_DROP_MALFORMED);
		return;
	}
	pc_reader_init(&r, data, len - 2 * NATIVE_MAC_LEN);
	pc_read_skip(&r, 1);
	version = pc_read_u8(&r);
	zero = pc_read_u16(&r);
	t.initiator_index = pc_read_u32(&r);
	message_len = pc_reader_left(&r);
	message = pc_read_bytes(&r, message_len);
	if (version != PC_NATIVE_PROTOCOL || zero) {
		pc_native_dropped(n, PC_NATIVE_DROP_MALFORMED);
		return;
	}
	if (!pc_native_admit(n, path, data, len))
		return;
	n->stats.curve_operations++;
	t.responder_index = pc_native_new_index(n);
	if (answer(n, path, message, message_len, &t, noise, sizeof(noise), &noise_len) < 0)
		pc_native_dropped(n, PC_NATIVE_DROP_HANDSHAKE);
	else
		send_second(n, path, &t, noise, noise_len, message, len);
	pc_noise_wipe(&t, sizeof(t));
}

/* --- third message --- */

/* Everything known about who sent it, before there is a link. */
struct arrival {
	struct pc_native_ticket ticket;
	uint8_t identity[32], static_key[32];
	uint8_t send[32], receive[32], export[32];
};

static int finish_xx(struct pc_native *n, const uint8_t *noise, size_t len, struct arrival *a)
{
	uint8_t payload[PC_NATIVE_MAX_FRAME];
	struct pc_noise_handshake hs;
	struct pc_noise_keypair e;
	struct pc_statement who;
	size_t n_payload;
	int rc;

	pc_noise_keypair(a->ticket.xx.e, &e);
	rc = responder(n, false, &e, &hs);
	/* As it was after the second message, which left one nonce used. */
	memcpy(hs.symmetric.ck, a->ticket.xx.ck, 32);
	memcpy(hs.symmetric.h, a->ticket.xx.h, 32);
	pc_noise_cipher_initialize_key(&hs.symmetric.cipher, a->ticket.xx.k);
	hs.symmetric.cipher.n = 1;
	hs.step = 2;
	if (rc == 0)
		rc = pc_noise_read_message(&hs, noise, len, payload, sizeof(payload), &n_payload);
	if (rc == 0)
		rc = check_payload(n, payload, n_payload, hs.rs, &who);
	if (rc == 0)
		rc = pc_noise_split(&hs, a->send, a->receive);
	if (rc == 0) {
		pc_native_export_secret(&hs, a->export);
		memcpy(a->identity, who.identity, 32);
		memcpy(a->static_key, hs.rs, 32);
	}
	pc_noise_wipe(&hs, sizeof(hs));
	pc_noise_wipe(&e, sizeof(e));
	return rc;
}

/* The initiator shows that it has the keys: nothing, sealed. */
static int finish_ik(const uint8_t *sealed, size_t len, struct arrival *a)
{
	uint8_t nothing[1];

	if (len != NATIVE_TAG_LEN)
		return PC_ERR_MALFORMED;
	memcpy(a->identity, a->ticket.ik.identity, 32);
	memcpy(a->static_key, a->ticket.ik.static_key, 32);
	memcpy(a->send, a->ticket.ik.send, 32);
	memcpy(a->receive, a->ticket.ik.receive, 32);
	memcpy(a->export, a->ticket.ik.export, 32);
	return pc_noise_open(a->receive, 0, NULL, 0, sealed, len, nothing);
}

/* Under the new keys, but without a session: the other side has proven who it is. */
static void refuse(struct pc_native *n, const struct pc_native_path *path, const struct arrival *a)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_CLOSE,
				     .has = 1u << PC_NATIVE_F_REASON,
				     .reason = PC_NATIVE_R_REFUSED };
	struct pc_native_keys k = { .remote_index = a->ticket.initiator_index };

	memcpy(k.send, a->send, 32);
	pc_native_send_msg(n, &k, path, &msg);
	pc_noise_wipe(&k, sizeof(k));
}

/* XX must not be a way around a pre-shared key. */
static bool welcome(struct pc_native *n, const struct arrival *a)
{
	uint8_t psk[32];
	bool has_psk = pc_native_psk(n, a->identity, psk);

	pc_noise_wipe(psk, sizeof(psk));
	return n->ops->trusted(n->ctx, a->identity) &&
	       !(has_psk && a->ticket.type == PC_NATIVE_XX1);
}

static void install(struct pc_native *n, const struct pc_native_path *path, const struct arrival *a)
{
	struct pc_native_link *link;
	struct pc_native_keys *k;
	bool renewed;

	if (pc_native_link_get(n, a->identity, path, &link) < 0) {
		pc_native_dropped(n, PC_NATIVE_DROP_FULL);
		return;
	}
	k = pc_native_keys_new(n, link, a->ticket.responder_index, a->ticket.initiator_index);
	if (!k) {
		pc_native_link_drop_if_empty(link);
		pc_native_dropped(n, PC_NATIVE_DROP_FULL);
		return;
	}
	memcpy(k->send, a->send, 32);
	memcpy(k->receive, a->receive, 32);
	memcpy(k->export, a->export, 32);
	k->ticket_ns = a->ticket.made_ns ? a->ticket.made_ns : 1;
	pc_replay_accept(&k->replay, 0); /* was the third message */
	memcpy(link->static_key, a->static_key, 32);
	link->has_static = true;
	renewed = link->current != NULL;
	pc_native_keys_free(n, link->previous);
	link->previous = link->current;
	link->current = k;
	link->initiator = false;
	link->path = *path;
	n->stats.handshakes++;
	pc_native_link_arm(link);
	pc_native_send_observed(link, k);
	n->ops->up(n->ctx, link, renewed);
}

/* Our answer was lost, or somebody repeats: nothing changes, and the answer is short. */
static void repeated(struct pc_native *n, const struct pc_native_keys *k,
		     const struct pc_native_ticket *t)
{
	bool same = k->link && k->ticket_ns == (t->made_ns ? t->made_ns : 1) &&
		    k->remote_index == t->initiator_index;

	if (same && k->link->current == k)
		pc_native_send_observed(k->link, k->link->current);
	else
		pc_native_dropped(n, PC_NATIVE_DROP_TICKET);
}

void pc_native_third(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		     size_t len)
{
	struct arrival a = { .ticket.type = data[0] - 2 };
	size_t ticket_len, noise_len;
	const uint8_t *ticket, *noise;
	struct pc_native_keys *k;
	struct pc_reader r;
	uint8_t version;
	uint16_t zero;
	int rc;

	pc_reader_init(&r, data, len - 2 * NATIVE_MAC_LEN);
	pc_read_skip(&r, 1);
	version = pc_read_u8(&r);
	zero = pc_read_u16(&r);
	a.ticket.initiator_index = pc_read_u32(&r);
	a.ticket.responder_index = pc_read_u32(&r);
	ticket_len = pc_read_u16(&r);
	ticket = pc_read_bytes(&r, ticket_len);
	noise_len = pc_reader_left(&r);
	noise = pc_read_bytes(&r, noise_len);
	if (r.failed || version != PC_NATIVE_PROTOCOL || zero) {
		pc_native_dropped(n, PC_NATIVE_DROP_MALFORMED);
		return;
	}
	if (!pc_native_admit(n, path, data, len))
		return;
	if (pc_native_ticket_open(n, path, ticket, ticket_len, &a.ticket) < 0) {
		pc_native_dropped(n, PC_NATIVE_DROP_TICKET);
		return;
	}
	k = pc_native_keys_find(n, a.ticket.responder_index);
	if (k || pc_native_attempt_find(n, a.ticket.responder_index)) {
		if (k)
			repeated(n, k, &a.ticket);
		else
			pc_native_dropped(n, PC_NATIVE_DROP_TICKET);
	} else {
		n->stats.curve_operations++;
		rc = a.ticket.type == PC_NATIVE_XX1 ? finish_xx(n, noise, noise_len, &a)
						    : finish_ik(noise, noise_len, &a);
		if (rc < 0) {
			pc_native_dropped(n, PC_NATIVE_DROP_HANDSHAKE);
		} else if (!welcome(n, &a)) {
			pc_native_dropped(n, PC_NATIVE_DROP_UNTRUSTED);
			refuse(n, path, &a);
		} else {
			install(n, path, &a);
		}
	}
	pc_noise_wipe(&a, sizeof(a));
}
