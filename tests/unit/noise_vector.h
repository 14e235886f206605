/* SPDX-License-Identifier: MIT */
/*
 * Published Noise vectors, as JSON, through the library. Patterns that the project does not use are
 * described here and run through the same code.
 */
#ifndef PC_TEST_NOISE_VECTOR_H
#define PC_TEST_NOISE_VECTOR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "relay/noise.h"

#define MAX_BUFFER 512

/* Name without psk; pre-messages of both; messages. The first is always the initiator's. */
static const struct {
	const char *name, *initiator, *responder, *messages;
} known[] = {
	{ "N", "", "s", "e es" },
	{ "K", "s", "s", "e es ss" },
	{ "X", "", "s", "e es s ss" },
	{ "NN", "", "", "e, e ee" },
	{ "NK", "", "s", "e es, e ee" },
	{ "NX", "", "", "e, e ee s es" },
	{ "XN", "", "", "e, e ee, s se" },
	{ "XK", "", "s", "e es, e ee, s se" },
	{ "XX", "", "", "e, e ee s es, s se" },
	{ "KN", "s", "", "e, e ee se" },
	{ "KK", "s", "s", "e es ss, e ee se" },
	{ "KX", "s", "", "e, e ee se s es" },
	{ "IN", "", "", "e s, e ee se" },
	{ "IK", "", "s", "e es s ss, e ee se" },
	{ "IX", "", "", "e s, e ee se s es" },
	{ "NK1", "", "s", "e, e ee es" },
	{ "NX1", "", "", "e, e ee s, es" },
	{ "X1N", "", "", "e, e ee, s, se" },
	{ "X1K", "", "s", "e es, e ee, s, se" },
	{ "XK1", "", "s", "e, e ee es, s se" },
	{ "X1K1", "", "s", "e, e ee es, s, se" },
	{ "X1X", "", "", "e, e ee s es, s, se" },
	{ "XX1", "", "", "e, e ee s, es s se" },
	{ "X1X1", "", "", "e, e ee s, es s, se" },
	{ "K1N", "s", "", "e, e ee, se" },
	{ "K1K", "s", "s", "e es, e ee, se" },
	{ "KK1", "s", "s", "e, e ee se es" },
	{ "K1K1", "s", "s", "e, e ee es, se" },
	{ "K1X", "s", "", "e, e ee s es, se" },
	{ "KX1", "s", "", "e, e ee se s, es" },
	{ "K1X1", "s", "", "e, e ee s, se es" },
	{ "I1N", "", "", "e s, e ee, se" },
	{ "I1K", "", "s", "e es s, e ee, se" },
	{ "IK1", "", "s", "e s, e ee se es" },
	{ "I1K1", "", "s", "e s, e ee es, se" },
	{ "I1X", "", "", "e s, e ee s es, se" },
	{ "IX1", "", "", "e s, e ee se s, es" },
	{ "I1X1", "", "", "e s, e ee s, se es" },
};

static uint8_t token_of(const char *text, size_t len)
{
	static const struct {
		const char *name;
		uint8_t token;
	} tokens[] = {
		{ "e", PC_NOISE_E },   { "s", PC_NOISE_S },   { "ee", PC_NOISE_EE },
		{ "es", PC_NOISE_ES }, { "se", PC_NOISE_SE }, { "ss", PC_NOISE_SS },
	};

	for (size_t i = 0; i < PC_ARRAY_SIZE(tokens); i++) {
		if (strlen(tokens[i].name) == len && memcmp(tokens[i].name, text, len) == 0)
			return tokens[i].token;
	}
	fail_msg("token %.*s", (int)len, text);
	return 0;
}

static void parse_messages(const char *text, struct pc_noise_pattern *p)
{
	unsigned int n = 0;

	p->n_steps = 1;
	while (*text) {
		size_t len = strcspn(text, " ,");

		if (len)
			p->steps[p->n_steps - 1][n++] = token_of(text, len);
		text += len;
		if (*text == ',') {
			p->n_steps++;
			n = 0;
		}
		text += *text != '\0';
	}
}

/* psk0 goes in front of the first message, pskN behind the Nth. */
static void add_psk(struct pc_noise_pattern *p, unsigned int where)
{
	uint8_t *step = p->steps[where ? where - 1 : 0];
	unsigned int n = 0;

	p->psk = true;
	while (step[n])
		n++;
	if (where) {
		step[n] = PC_NOISE_PSK;
		return;
	}
	memmove(step + 1, step, n);
	step[0] = PC_NOISE_PSK;
}

/* From "Noise_NAME[pskN]_25519..."; false: a modifier we do not know. */
static inline bool pattern_of(const char *protocol_name, struct pc_noise_pattern *ret)
{
	const char *name = protocol_name + strlen("Noise_");
	const char *psk = strstr(name, "psk");
	size_t len = psk ? (size_t)(psk - name) : strcspn(name, "_");

	memset(ret, 0, sizeof(*ret));
	ret->protocol_name = protocol_name;
	for (size_t i = 0; i < PC_ARRAY_SIZE(known); i++) {
		if (strlen(known[i].name) != len || memcmp(known[i].name, name, len) != 0)
			continue;
		ret->initiator_s = known[i].initiator[0] == 's';
		ret->responder_s = known[i].responder[0] == 's';
		parse_messages(known[i].messages, ret);
		if (psk)
			add_psk(ret, (unsigned int)(psk[3] - '0'));
		return true;
	}
	return false;
}

static size_t hex_of(const json_t *vector, const char *name, uint8_t *ret, size_t size)
{
	const char *text = json_string_value(json_object_get(vector, name));
	size_t n = text ? strlen(text) / 2 : 0;

	assert_true(n <= size);
	if (n)
		assert_int_equal(pc_parse_hex(text, ret, n), 0);
	return n;
}

struct side {
	struct pc_noise_handshake hs;
	struct pc_noise_cipher send, receive;
};

static void set_up_side(struct side *side, const struct pc_noise_pattern *p, const json_t *v,
			const char *who)
{
	uint8_t prologue[MAX_BUFFER], secret[32], rs[32], psk[32];
	struct pc_noise_keypair s, e;
	struct pc_noise_setup setup = { .prologue = prologue };
	char name[32];

	snprintf(name, sizeof(name), "%s_prologue", who);
	setup.prologue_len = hex_of(v, name, prologue, sizeof(prologue));
	snprintf(name, sizeof(name), "%s_static", who);
	if (hex_of(v, name, secret, 32)) {
		pc_noise_keypair(secret, &s);
		setup.s = &s;
	}
	snprintf(name, sizeof(name), "%s_ephemeral", who);
	if (hex_of(v, name, secret, 32)) {
		pc_noise_keypair(secret, &e);
		setup.e = &e;
	}
	snprintf(name, sizeof(name), "%s_remote_static", who);
	if (hex_of(v, name, rs, 32))
		setup.rs = rs;
	snprintf(name, sizeof(name), "%s_psks", who);
	if (json_object_get(v, name)) {
		const char *text = json_string_value(json_array_get(json_object_get(v, name), 0));

		assert_int_equal(pc_parse_hex(text, psk, 32), 0);
		setup.psk = psk;
	}
	assert_int_equal(pc_noise_initialize(&side->hs, p, who[0] == 'i', &setup), 0);
}

static void start_transport(struct side *side)
{
	uint8_t send[32], receive[32];

	memset(&side->send, 0, sizeof(side->send));
	memset(&side->receive, 0, sizeof(side->receive));
	assert_int_equal(pc_noise_split(&side->hs, send, receive), 0);
	pc_noise_cipher_initialize_key(&side->send, send);
	pc_noise_cipher_initialize_key(&side->receive, receive);
}

static void run_message(struct side *from, struct side *to, const json_t *message)
{
	uint8_t payload[MAX_BUFFER], expected[MAX_BUFFER], sent[MAX_BUFFER], got[MAX_BUFFER];
	size_t n = hex_of(message, "payload", payload, sizeof(payload));
	size_t want = hex_of(message, "ciphertext", expected, sizeof(expected));
	size_t len, back = n;

	if (!pc_noise_finished(&from->hs)) {
		assert_int_equal(
			pc_noise_write_message(&from->hs, payload, n, sent, sizeof(sent), &len), 0);
		assert_int_equal(len, want);
		assert_int_equal(pc_noise_read_message(&to->hs, sent, len, got, sizeof(got), &back),
				 0);
		if (pc_noise_finished(&from->hs)) {
			start_transport(from);
			start_transport(to);
		}
	} else {
		assert_int_equal(pc_noise_encrypt_with_ad(&from->send, NULL, 0, payload, n, sent),
				 0);
		len = n + PC_NOISE_TAGLEN;
		assert_int_equal(len, want);
		assert_int_equal(pc_noise_decrypt_with_ad(&to->receive, NULL, 0, sent, len, got),
				 0);
	}
	assert_memory_equal(sent, expected, len);
	assert_int_equal(back, n);
	assert_memory_equal(got, payload, n);
}

static inline void run_vector(const json_t *v, const struct pc_noise_pattern *p)
{
	const json_t *messages = json_object_get(v, "messages");
	uint8_t hash[32];
	struct side sides[2];
	bool one_way = p->n_steps == 1;

	set_up_side(&sides[0], p, v, "init");
	set_up_side(&sides[1], p, v, "resp");
	for (size_t i = 0; i < json_array_size(messages); i++) {
		unsigned int from = one_way ? 0 : i % 2;

		run_message(&sides[from], &sides[!from], json_array_get(messages, i));
	}
	assert_int_equal(hex_of(v, "handshake_hash", hash, sizeof(hash)), sizeof(hash));
	assert_memory_equal(sides[0].hs.symmetric.h, hash, sizeof(hash));
	assert_memory_equal(sides[1].hs.symmetric.h, hash, sizeof(hash));
}

#endif
