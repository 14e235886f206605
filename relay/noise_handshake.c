/* SPDX-License-Identifier: MIT */
/* HandshakeState of Noise: one loop over the tokens of a pattern, for writing and for reading. */
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "base/wire.h"
#include "relay/noise.h"

const struct pc_noise_pattern pc_noise_xx = {
	.protocol_name = "Noise_XX_25519_ChaChaPoly_SHA256",
	.n_steps = 3,
	.steps = { { PC_NOISE_E },
		   { PC_NOISE_E, PC_NOISE_EE, PC_NOISE_S, PC_NOISE_ES },
		   { PC_NOISE_S, PC_NOISE_SE } },
};

const struct pc_noise_pattern pc_noise_ikpsk2 = {
	.protocol_name = "Noise_IKpsk2_25519_ChaChaPoly_SHA256",
	.responder_s = true,
	.psk = true,
	.n_steps = 2,
	.steps = { { PC_NOISE_E, PC_NOISE_ES, PC_NOISE_S, PC_NOISE_SS },
		   { PC_NOISE_E, PC_NOISE_EE, PC_NOISE_SE, PC_NOISE_PSK } },
};

void pc_noise_keypair(const uint8_t secret[static PC_NOISE_DHLEN],
		      struct pc_noise_keypair *ret_pair)
{
	memcpy(ret_pair->secret_key, secret, PC_NOISE_DHLEN);
	crypto_scalarmult_curve25519_base(ret_pair->public_key, secret);
}

/* A key of the pre-messages, ours or theirs. False: we do not have it. */
static bool mix_known(struct pc_noise_handshake *hs, bool ours, bool static_key)
{
	bool has = ours ? (static_key ? hs->has_s : hs->has_e)
			: (static_key ? hs->has_rs : hs->has_re);
	const uint8_t *key = ours ? (static_key ? hs->s.public_key : hs->e.public_key)
				  : (static_key ? hs->rs : hs->re);

	if (has)
		pc_noise_mix_hash(&hs->symmetric, key, PC_NOISE_DHLEN);
	return has;
}

static bool mix_pre_messages(struct pc_noise_handshake *hs)
{
	const struct pc_noise_pattern *p = hs->pattern;

	return (!p->initiator_e || mix_known(hs, hs->initiator, false)) &&
	       (!p->initiator_s || mix_known(hs, hs->initiator, true)) &&
	       (!p->responder_e || mix_known(hs, !hs->initiator, false)) &&
	       (!p->responder_s || mix_known(hs, !hs->initiator, true));
}

int pc_noise_initialize(struct pc_noise_handshake *hs, const struct pc_noise_pattern *pattern,
			bool initiator, const struct pc_noise_setup *setup)
{
	memset(hs, 0, sizeof(*hs));
	hs->pattern = pattern;
	hs->initiator = initiator;
	if (setup->s) {
		hs->s = *setup->s;
		hs->has_s = true;
	}
	if (setup->e) {
		hs->e = *setup->e;
		hs->has_e = true;
	}
	if (setup->rs) {
		memcpy(hs->rs, setup->rs, sizeof(hs->rs));
		hs->has_rs = true;
	}
	if (setup->psk)
		memcpy(hs->psk, setup->psk, sizeof(hs->psk));
	pc_noise_initialize_symmetric(&hs->symmetric, pattern->protocol_name);
	pc_noise_mix_hash(&hs->symmetric, setup->prologue, setup->prologue_len);
	if (!mix_pre_messages(hs))
		hs->err = PC_ERR_STATE;
	return hs->err;
}

/* MixKey(DH(@secret, @public)). A result of zeros (a key of small order) ends the handshake. */
static int mix_dh(struct pc_noise_handshake *hs, bool have, const uint8_t *secret,
		  const uint8_t *public_key)
{
	uint8_t shared[PC_NOISE_DHLEN];
	int rc = 0;

	if (!have)
		return PC_ERR_STATE;
	if (crypto_scalarmult_curve25519(shared, secret, public_key) < 0)
		rc = PC_ERR_AUTH;
	else
		pc_noise_mix_key(&hs->symmetric, shared, sizeof(shared));
	sodium_memzero(shared, sizeof(shared));
	return rc;
}

/* Tokens that mean the same for both sides. The first letter is the initiator's key. */
static int mix_token(struct pc_noise_handshake *hs, uint8_t token)
{
	switch (token) {
	case PC_NOISE_EE:
		return mix_dh(hs, hs->has_e && hs->has_re, hs->e.secret_key, hs->re);
	case PC_NOISE_SS:
		return mix_dh(hs, hs->has_s && hs->has_rs, hs->s.secret_key, hs->rs);
	case PC_NOISE_ES:
	case PC_NOISE_SE:
		if ((token == PC_NOISE_ES) == hs->initiator)
			return mix_dh(hs, hs->has_e && hs->has_rs, hs->e.secret_key, hs->rs);
		return mix_dh(hs, hs->has_s && hs->has_re, hs->s.secret_key, hs->re);
	case PC_NOISE_PSK:
		pc_noise_mix_key_and_hash(&hs->symmetric, hs->psk, sizeof(hs->psk));
		return 0;
	default:
		return PC_ERR_STATE;
	}
}

/* An ephemeral key in the clear; with a psk it is also mixed into the key (section 9.2). */
static void mix_ephemeral(struct pc_noise_handshake *hs, const uint8_t key[static PC_NOISE_DHLEN])
{
	pc_noise_mix_hash(&hs->symmetric, key, PC_NOISE_DHLEN);
	if (hs->pattern->psk)
		pc_noise_mix_key(&hs->symmetric, key, PC_NOISE_DHLEN);
}

/* EncryptAndHash of @len bytes to the end of @w. */
static int write_sealed(struct pc_noise_handshake *hs, const void *data, size_t len,
			struct pc_writer *w)
{
	size_t sealed = len + (hs->symmetric.cipher.has_key ? PC_NOISE_TAGLEN : 0);
	size_t at = w->len;

	pc_write_zero(w, sealed);
	if (w->failed)
		return PC_ERR_RANGE;
	return pc_noise_encrypt_and_hash(&hs->symmetric, data, len, w->data + at);
}

static int write_token(struct pc_noise_handshake *hs, uint8_t token, struct pc_writer *w)
{
	switch (token) {
	case PC_NOISE_E:
		if (!hs->has_e)
			return PC_ERR_STATE;
		pc_write_bytes(w, hs->e.public_key, PC_NOISE_DHLEN);
		mix_ephemeral(hs, hs->e.public_key);
		return w->failed ? PC_ERR_RANGE : 0;
	case PC_NOISE_S:
		if (!hs->has_s)
			return PC_ERR_STATE;
		return write_sealed(hs, hs->s.public_key, PC_NOISE_DHLEN, w);
	default:
		return mix_token(hs, token);
	}
}

static int read_token(struct pc_noise_handshake *hs, uint8_t token, struct pc_reader *r)
{
	const uint8_t *sealed;
	size_t len;

	switch (token) {
	case PC_NOISE_E:
		pc_read_copy(r, hs->re, PC_NOISE_DHLEN);
		if (r->failed)
			return PC_ERR_SHORT;
		hs->has_re = true;
		mix_ephemeral(hs, hs->re);
		return 0;
	case PC_NOISE_S:
		len = PC_NOISE_DHLEN + (hs->symmetric.cipher.has_key ? PC_NOISE_TAGLEN : 0);
		sealed = pc_read_bytes(r, len);
		if (!sealed)
			return PC_ERR_SHORT;
		hs->has_rs = true;
		return pc_noise_decrypt_and_hash(&hs->symmetric, sealed, len, hs->rs);
	default:
		return mix_token(hs, token);
	}
}

bool pc_noise_finished(const struct pc_noise_handshake *hs)
{
	return !hs->err && hs->step == hs->pattern->n_steps;
}

/* The messages alternate, the initiator's is the first. */
static bool our_turn(const struct pc_noise_handshake *hs, bool writing)
{
	bool initiators = hs->step % 2 == 0;

	return hs->step < hs->pattern->n_steps && writing == (initiators == hs->initiator);
}

int pc_noise_write_message(struct pc_noise_handshake *hs, const void *payload, size_t payload_len,
			   void *ret_message, size_t size, size_t *ret_len)
{
	struct pc_writer w;

	if (!hs->err && !our_turn(hs, true))
		hs->err = PC_ERR_STATE;
	pc_writer_init(&w, ret_message, size < PC_NOISE_MAX_MESSAGE ? size : PC_NOISE_MAX_MESSAGE);
	for (unsigned int i = 0; !hs->err && i < PC_NOISE_MAX_TOKENS; i++) {
		uint8_t token = hs->pattern->steps[hs->step][i];

		if (token == PC_NOISE_END)
			break;
		hs->err = write_token(hs, token, &w);
	}
	if (!hs->err)
		hs->err = write_sealed(hs, payload, payload_len, &w);
	if (hs->err)
		return hs->err;
	hs->step++;
	*ret_len = w.len;
	return 0;
}

int pc_noise_read_message(struct pc_noise_handshake *hs, const void *message, size_t len,
			  void *ret_payload, size_t size, size_t *ret_len)
{
	struct pc_reader r;
	size_t left, tag;

	if (!hs->err && !our_turn(hs, false))
		hs->err = PC_ERR_STATE;
	if (!hs->err && len > PC_NOISE_MAX_MESSAGE)
		hs->err = PC_ERR_RANGE;
	pc_reader_init(&r, message, len);
	for (unsigned int i = 0; !hs->err && i < PC_NOISE_MAX_TOKENS; i++) {
		uint8_t token = hs->pattern->steps[hs->step][i];

		if (token == PC_NOISE_END)
			break;
		hs->err = read_token(hs, token, &r);
	}
	if (hs->err)
		return hs->err;
	left = pc_reader_left(&r);
	tag = hs->symmetric.cipher.has_key ? PC_NOISE_TAGLEN : 0;
	if (left < tag)
		hs->err = PC_ERR_SHORT;
	else if (left - tag > size)
		hs->err = PC_ERR_RANGE;
	else
		hs->err = pc_noise_decrypt_and_hash(&hs->symmetric, pc_read_bytes(&r, left), left,
						    ret_payload);
	if (hs->err)
		return hs->err;
	hs->step++;
	*ret_len = left - tag;
	return 0;
}

int pc_noise_split(const struct pc_noise_handshake *hs, uint8_t ret_send[static PC_NOISE_KEYLEN],
		   uint8_t ret_receive[static PC_NOISE_KEYLEN])
{
	uint8_t first[PC_NOISE_HASHLEN], second[PC_NOISE_HASHLEN];

	if (!pc_noise_finished(hs))
		return hs->err ? hs->err : PC_ERR_STATE;
	pc_noise_hkdf(hs->symmetric.ck, NULL, 0, first, second, NULL);
	memcpy(ret_send, hs->initiator ? first : second, PC_NOISE_KEYLEN);
	memcpy(ret_receive, hs->initiator ? second : first, PC_NOISE_KEYLEN);
	sodium_memzero(first, sizeof(first));
	sodium_memzero(second, sizeof(second));
	return 0;
}
