/* SPDX-License-Identifier: MIT */
/*
 * Noise handshakes: the first byte picks the pattern and who is fed, the rest are messages, each
 * with its length in front, or changes to honest ones. Errors must be sticky, and nothing that was
 * changed may finish a handshake, but where the change is to what is not protected.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/wire.h"
#include "relay/noise.h"

#define MAX_MESSAGE 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void key_of(uint8_t fill, struct pc_noise_keypair *ret)
{
	uint8_t secret[32];

	memset(secret, fill, sizeof(secret));
	pc_noise_keypair(secret, ret);
}

static void start(const struct pc_noise_pattern *p, bool initiator, struct pc_noise_handshake *hs)
{
	static struct pc_noise_keypair s[2], e[2];
	static const uint8_t psk[32] = { 5 };
	struct pc_noise_setup setup = { .prologue = "fuzz", .prologue_len = 4, .psk = psk };

	if (!s[0].public_key[0]) {
		for (uint8_t i = 0; i < 2; i++) {
			key_of((uint8_t)(1 + i), &s[i]);
			key_of((uint8_t)(3 + i), &e[i]);
		}
	}
	setup.s = &s[initiator];
	setup.e = &e[initiator];
	setup.rs = initiator && p->responder_s ? s[0].public_key : NULL;
	if (pc_noise_initialize(hs, p, initiator, &setup) < 0)
		abort();
}

/* Reads @message, in a buffer of its own; a failure must stay one. */
static int feed(struct pc_noise_handshake *hs, const uint8_t *message, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1), payload[MAX_MESSAGE];
	size_t n = 0;
	int rc;

	if (len)
		memcpy(copy, message, len);
	rc = pc_noise_read_message(hs, copy, len, payload, sizeof(payload), &n);
	if (rc < 0 && (hs->err != rc ||
		       pc_noise_read_message(hs, copy, len, payload, sizeof(payload), &n) != rc ||
		       pc_noise_finished(hs)))
		abort();
	free(copy);
	return rc;
}

/* Nothing but messages of the fuzzer. */
static void raw(const struct pc_noise_pattern *p, bool initiator, struct pc_reader *r)
{
	struct pc_noise_handshake hs;

	start(p, initiator, &hs);
	for (unsigned int i = 0; i < 4; i++) {
		uint8_t out[MAX_MESSAGE];
		size_t len = pc_read_u8(r) * 2u, n;

		if (hs.step % 2 == (initiator ? 0 : 1) && !hs.err)
			pc_noise_write_message(&hs, NULL, 0, out, sizeof(out), &n);
		len = len < pc_reader_left(r) ? len : pc_reader_left(r);
		feed(&hs, pc_read_bytes(r, len), len);
	}
	/* It knows neither of the static keys. */
	if (pc_noise_finished(&hs))
		abort();
	pc_noise_wipe(&hs, sizeof(hs));
}

/* Both sides, with bytes changed on the way. */
static void changed(const struct pc_noise_pattern *p, struct pc_reader *r)
{
	struct pc_noise_handshake hs[2];
	uint8_t keys[4][32];
	bool touched = false, ok = true;

	start(p, false, &hs[0]);
	start(p, true, &hs[1]);
	for (unsigned int i = 0; i < p->n_steps && ok; i++) {
		unsigned int from = i % 2 ? 0 : 1, at = pc_read_u8(r);
		uint8_t message[MAX_MESSAGE], flip = pc_read_u8(r), payload[64];
		size_t len, n = pc_read_u8(r) % sizeof(payload);

		memset(payload, (int)i, sizeof(payload));
		if (pc_noise_write_message(&hs[from], payload, n, message, sizeof(message), &len) <
		    0)
			break;
		if (at < len && flip) {
			message[at] ^= flip;
			touched = true;
		}
		ok = feed(&hs[!from], message, len) == 0;
	}
	if (pc_noise_finished(&hs[0]) && pc_noise_finished(&hs[1])) {
		if (touched || pc_noise_split(&hs[0], keys[0], keys[1]) < 0 ||
		    pc_noise_split(&hs[1], keys[2], keys[3]) < 0 ||
		    memcmp(keys[0], keys[3], 32) != 0 || memcmp(keys[1], keys[2], 32) != 0)
			abort();
	} else if (!touched) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pc_noise_pattern *p;
	struct pc_reader r;
	uint8_t what;

	if (sodium_init() < 0)
		abort();
	pc_reader_init(&r, data, size);
	what = pc_read_u8(&r);
	p = what & 1 ? &pc_noise_xx : &pc_noise_ikpsk2;
	if (what & 2)
		changed(p, &r);
	else
		raw(p, what & 4, &r);
	return 0;
}
