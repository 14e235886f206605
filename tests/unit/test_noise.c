/* SPDX-License-Identifier: MIT */
/* Noise where things go wrong: sticky errors, wrong keys, every changed byte, keys of small order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "relay/noise.h"

#define MAX_BUFFER 512

static const uint8_t prologue[] = "test";

struct pair {
	struct pc_noise_handshake i, r;
	struct pc_noise_keypair is, ie, rs, re;
	uint8_t psk[32];
};

static void key_of(uint8_t fill, struct pc_noise_keypair *ret)
{
	uint8_t secret[32];

	memset(secret, fill, sizeof(secret));
	pc_noise_keypair(secret, ret);
}

static void start(struct pair *p, const struct pc_noise_pattern *pattern)
{
	struct pc_noise_setup i = { prologue, 4, &p->is, &p->ie, NULL, NULL };
	struct pc_noise_setup r = { prologue, 4, &p->rs, &p->re, NULL, NULL };

	memset(p, 0, sizeof(*p));
	key_of(1, &p->is);
	key_of(2, &p->ie);
	key_of(3, &p->rs);
	key_of(4, &p->re);
	memset(p->psk, 5, sizeof(p->psk));
	i.psk = r.psk = p->psk;
	if (pattern->responder_s)
		i.rs = p->rs.public_key;
	assert_int_equal(pc_noise_initialize(&p->i, pattern, true, &i), 0);
	assert_int_equal(pc_noise_initialize(&p->r, pattern, false, &r), 0);
}

/* Runs messages up to @n; byte @spoil of message @n is changed (SIZE_MAX: none). */
static int run(struct pair *p, unsigned int n, size_t spoil, size_t *ret_len)
{
	uint8_t message[MAX_BUFFER], payload[MAX_BUFFER];
	size_t len = 0, got;
	int rc = 0;

	for (unsigned int k = 0; k <= n; k++) {
		struct pc_noise_handshake *from = k % 2 ? &p->r : &p->i;
		struct pc_noise_handshake *to = k % 2 ? &p->i : &p->r;

		assert_int_equal(pc_noise_write_message(from, "hello", 5, message, sizeof(message),
							&len),
				 0);
		if (k == n && spoil < len)
			message[spoil] ^= 0x40;
		rc = pc_noise_read_message(to, message, len, payload, sizeof(payload), &got);
		if (rc == 0) {
			assert_int_equal(got, 5);
			if (spoil == SIZE_MAX)
				assert_memory_equal(payload, "hello", 5);
		} else {
			/* Sticky: the right message comes too late. */
			assert_int_equal(to->err, rc);
			assert_int_equal(pc_noise_read_message(to, message, len, payload,
							       sizeof(payload), &got),
					 rc);
			assert_int_equal(pc_noise_write_message(to, NULL, 0, message,
								sizeof(message), &got),
					 rc);
		}
	}
	*ret_len = len;
	return rc;
}

static void test_every_byte_counts(void **state)
{
	const struct pc_noise_pattern *patterns[] = { &pc_noise_xx, &pc_noise_ikpsk2 };

	for (int k = 0; k < 2; k++) {
		for (unsigned int n = 0; n < patterns[k]->n_steps; n++) {
			struct pair p;
			size_t len, all;

			start(&p, patterns[k]);
			assert_int_equal(run(&p, n, SIZE_MAX, &all), 0);
			for (size_t at = 0; at < all; at++) {
				start(&p, patterns[k]);
				/* The first message of XX is not protected: the second one shows.
				 */
				if (k == 0 && n == 0) {
					uint8_t second[MAX_BUFFER], payload[MAX_BUFFER];

					assert_int_equal(run(&p, 0, at, &len), 0);
					assert_int_equal(
						pc_noise_write_message(&p.r, NULL, 0, second,
								       sizeof(second), &len),
						0);
					assert_int_equal(
						pc_noise_read_message(&p.i, second, len, payload,
								      sizeof(payload), &len),
						PC_ERR_AUTH);
				} else {
					assert_int_equal(run(&p, n, at, &len), PC_ERR_AUTH);
				}
			}
		}
	}
}

static void test_transport(void **state)
{
	uint8_t ik[32], il[32], rk[32], rl[32], sealed[64], back[64];
	struct pair p;
	size_t len;

	start(&p, &pc_noise_xx);
	assert_int_equal(pc_noise_split(&p.i, ik, il), PC_ERR_STATE);
	assert_int_equal(run(&p, 2, SIZE_MAX, &len), 0);
	assert_true(pc_noise_finished(&p.i) && pc_noise_finished(&p.r));
	assert_int_equal(pc_noise_split(&p.i, ik, il), 0);
	assert_int_equal(pc_noise_split(&p.r, rk, rl), 0);
	assert_memory_equal(ik, rl, 32);
	assert_memory_equal(il, rk, 32);
	assert_memory_not_equal(ik, il, 32);
	assert_memory_equal(p.i.rs, p.rs.public_key, 32);
	assert_memory_equal(p.r.rs, p.is.public_key, 32);

	assert_int_equal(pc_noise_seal(ik, 7, NULL, 0, "abc", 3, sealed), 0);
	assert_int_equal(pc_noise_open(rl, 8, NULL, 0, sealed, 19, back), PC_ERR_AUTH);
	assert_int_equal(pc_noise_open(rl, 7, "x", 1, sealed, 19, back), PC_ERR_AUTH);
	assert_int_equal(pc_noise_open(rl, 7, NULL, 0, sealed, 18, back), PC_ERR_AUTH);
	assert_int_equal(pc_noise_open(rl, 7, NULL, 0, sealed, 15, back), PC_ERR_AUTH);
	assert_int_equal(pc_noise_open(rl, 7, NULL, 0, sealed, 19, back), 0);
	assert_memory_equal(back, "abc", 3);
	assert_int_equal(pc_noise_seal(ik, UINT64_MAX, NULL, 0, "abc", 3, sealed), PC_ERR_RANGE);
	assert_int_equal(pc_noise_open(ik, UINT64_MAX, NULL, 0, sealed, 19, back), PC_ERR_RANGE);
}

static void test_wrong_prologue_and_psk(void **state)
{
	struct pair p;
	size_t len;

	start(&p, &pc_noise_ikpsk2);
	p.r.psk[31] ^= 1;
	assert_int_equal(run(&p, 1, SIZE_MAX, &len), PC_ERR_AUTH);

	start(&p, &pc_noise_ikpsk2);
	pc_noise_mix_hash(&p.r.symmetric, "x", 1);
	assert_int_equal(run(&p, 0, SIZE_MAX, &len), PC_ERR_AUTH);

	/* IK to somebody else's key. */
	start(&p, &pc_noise_ikpsk2);
	memcpy(p.i.rs, p.is.public_key, 32);
	assert_int_equal(run(&p, 0, SIZE_MAX, &len), PC_ERR_AUTH);
}

static void test_small_order(void **state)
{
	static const uint8_t zero[32], one[32] = { 1 };
	const uint8_t *weak[] = { zero, one };

	for (int k = 0; k < 2; k++) {
		uint8_t message[MAX_BUFFER], payload[MAX_BUFFER];
		struct pair p;
		size_t len;

		start(&p, &pc_noise_xx);
		assert_int_equal(
			pc_noise_write_message(&p.i, NULL, 0, message, sizeof(message), &len), 0);
		memcpy(message, weak[k], 32);
		assert_int_equal(pc_noise_read_message(&p.r, message, len, payload, sizeof(payload),
						       &len),
				 0);
		assert_int_equal(pc_noise_write_message(&p.r, NULL, 0, message, sizeof(message),
							&len),
				 PC_ERR_AUTH);
		assert_int_equal(p.r.err, PC_ERR_AUTH);
	}
}

static void test_order_and_room(void **state)
{
	struct pc_noise_setup empty = { .prologue = prologue };
	uint8_t message[MAX_BUFFER], payload[MAX_BUFFER];
	struct pc_noise_handshake hs;
	struct pair p;
	size_t len = 77;

	/* IK without the responder's key. */
	assert_int_equal(pc_noise_initialize(&hs, &pc_noise_ikpsk2, true, &empty), PC_ERR_STATE);
	assert_int_equal(pc_noise_write_message(&hs, NULL, 0, message, sizeof(message), &len),
			 PC_ERR_STATE);
	/* No ephemeral key. */
	assert_int_equal(pc_noise_initialize(&hs, &pc_noise_xx, true, &empty), 0);
	assert_int_equal(pc_noise_write_message(&hs, NULL, 0, message, sizeof(message), &len),
			 PC_ERR_STATE);
	/* The responder cannot begin, the initiator cannot read first. */
	start(&p, &pc_noise_xx);
	assert_int_equal(pc_noise_write_message(&p.r, NULL, 0, message, sizeof(message), &len),
			 PC_ERR_STATE);
	start(&p, &pc_noise_xx);
	assert_int_equal(pc_noise_read_message(&p.i, message, 100, payload, sizeof(payload), &len),
			 PC_ERR_STATE);
	/* No room. */
	start(&p, &pc_noise_xx);
	assert_int_equal(pc_noise_write_message(&p.i, "abc", 3, message, 34, &len), PC_ERR_RANGE);
	start(&p, &pc_noise_xx);
	assert_int_equal(pc_noise_write_message(&p.i, "abc", 3, message, 31, &len), PC_ERR_RANGE);
	start(&p, &pc_noise_xx);
	assert_int_equal(pc_noise_read_message(&p.r, message, 40, payload, 7, &len), PC_ERR_RANGE);
	start(&p, &pc_noise_xx);
	assert_int_equal(pc_noise_read_message(&p.r, message, 31, payload, 7, &len), PC_ERR_SHORT);
	assert_int_equal(len, 77); /* untouched by all these */
	/* Nothing after the last message. */
	start(&p, &pc_noise_xx);
	assert_int_equal(run(&p, 2, SIZE_MAX, &len), 0);
	assert_int_equal(pc_noise_write_message(&p.r, NULL, 0, message, sizeof(message), &len),
			 PC_ERR_STATE);
}

static void test_cipher(void **state)
{
	struct pc_noise_cipher a = { 0 }, b = { 0 };
	uint8_t key[32] = { 9 }, sealed[64], back[64];

	/* Without a key: the identity. */
	assert_int_equal(pc_noise_encrypt_with_ad(&a, NULL, 0, "abc", 3, sealed), 0);
	assert_memory_equal(sealed, "abc", 3);
	pc_noise_cipher_initialize_key(&a, key);
	pc_noise_cipher_initialize_key(&b, key);
	assert_int_equal(pc_noise_encrypt_with_ad(&a, "ad", 2, "abc", 3, sealed), 0);
	/* A forged message does not move the nonce. */
	assert_int_equal(pc_noise_decrypt_with_ad(&b, "aD", 2, sealed, 19, back), PC_ERR_AUTH);
	assert_int_equal(pc_noise_decrypt_with_ad(&b, "ad", 2, sealed, 19, back), 0);
	/* Rekey changes the key and keeps the nonce. */
	pc_noise_rekey(&a);
	assert_memory_not_equal(a.k, key, 32);
	assert_int_equal(a.n, 1);
	assert_int_equal(pc_noise_encrypt_with_ad(&a, NULL, 0, "abc", 3, sealed), 0);
	assert_int_equal(pc_noise_decrypt_with_ad(&b, NULL, 0, sealed, 19, back), PC_ERR_AUTH);
	pc_noise_rekey(&b);
	assert_int_equal(pc_noise_decrypt_with_ad(&b, NULL, 0, sealed, 19, back), 0);
	/* The last nonce is not for messages. */
	a.n = UINT64_MAX;
	assert_int_equal(pc_noise_encrypt_with_ad(&a, NULL, 0, "abc", 3, sealed), PC_ERR_RANGE);
	a.n = 0;
	assert_int_equal(pc_noise_encrypt_with_ad(&a, NULL, 0, "abc", 3, sealed), PC_ERR_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte_counts),      cmocka_unit_test(test_transport),
		cmocka_unit_test(test_wrong_prologue_and_psk), cmocka_unit_test(test_small_order),
		cmocka_unit_test(test_order_and_room),	       cmocka_unit_test(test_cipher),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
