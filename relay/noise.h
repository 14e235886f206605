/* SPDX-License-Identifier: MIT */
/*
 * The Noise Protocol Framework, revision 34, for the suite 25519, ChaChaPoly, SHA256. Names are
 * those of the specification. No allocation, no I/O. Errors are sticky: after the first one an
 * object refuses everything else with the same code; check the last call of a sequence.
 *
 * Randomness is passed in: whoever writes a message with an `e` sets the ephemeral key before.
 */
#ifndef PC_RELAY_NOISE_H
#define PC_RELAY_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_NOISE_DHLEN	     32
#define PC_NOISE_HASHLEN     32
#define PC_NOISE_KEYLEN	     32
#define PC_NOISE_TAGLEN	     16
#define PC_NOISE_MAX_MESSAGE 65535
#define PC_NOISE_MAX_TOKENS  8 /* in one message of a pattern */
#define PC_NOISE_MAX_STEPS   4

/* --- CipherState --- */

struct pc_noise_cipher {
	uint8_t k[PC_NOISE_KEYLEN];
	uint64_t n;
	bool has_key;
	int err; /* 0 until the first failure */
};

void pc_noise_cipher_initialize_key(struct pc_noise_cipher *c,
				    const uint8_t key[static PC_NOISE_KEYLEN]);
/*
 * @ret has room for len + PC_NOISE_TAGLEN (encrypt), len - PC_NOISE_TAGLEN (decrypt), and may be
 * the input. Without a key the text is copied. Decrypting what does not authenticate is
 * PC_ERR_AUTH, not sticky and the nonce stays: transport messages may be forged by anyone.
 */
int pc_noise_encrypt_with_ad(struct pc_noise_cipher *c, const void *ad, size_t ad_len,
			     const void *plain, size_t len, void *ret);
int pc_noise_decrypt_with_ad(struct pc_noise_cipher *c, const void *ad, size_t ad_len,
			     const void *cipher, size_t len, void *ret);
void pc_noise_rekey(struct pc_noise_cipher *c);
/*
 * Transport messages that arrive in any order: the nonce is explicit (section 11.4), the state
 * unchanged. UINT64_MAX is reserved. 0, PC_ERR_AUTH or PC_ERR_RANGE.
 */
int pc_noise_seal(const uint8_t key[static PC_NOISE_KEYLEN], uint64_t nonce, const void *ad,
		  size_t ad_len, const void *plain, size_t len, void *ret);
int pc_noise_open(const uint8_t key[static PC_NOISE_KEYLEN], uint64_t nonce, const void *ad,
		  size_t ad_len, const void *cipher, size_t len, void *ret);

/* --- SymmetricState --- */

struct pc_noise_symmetric {
	struct pc_noise_cipher cipher;
	uint8_t ck[PC_NOISE_HASHLEN];
	uint8_t h[PC_NOISE_HASHLEN];
};

/* HKDF of section 4.3; @ret3 may be NULL. */
void pc_noise_hkdf(const uint8_t ck[static PC_NOISE_HASHLEN], const void *input, size_t len,
		   uint8_t ret1[static PC_NOISE_HASHLEN], uint8_t ret2[static PC_NOISE_HASHLEN],
		   uint8_t *ret3);
void pc_noise_initialize_symmetric(struct pc_noise_symmetric *s, const char *protocol_name);
void pc_noise_mix_key(struct pc_noise_symmetric *s, const void *input, size_t len);
void pc_noise_mix_hash(struct pc_noise_symmetric *s, const void *data, size_t len);
void pc_noise_mix_key_and_hash(struct pc_noise_symmetric *s, const void *input, size_t len);
int pc_noise_encrypt_and_hash(struct pc_noise_symmetric *s, const void *plain, size_t len,
			      void *ret);
int pc_noise_decrypt_and_hash(struct pc_noise_symmetric *s, const void *cipher, size_t len,
			      void *ret);

/* --- HandshakeState --- */

enum pc_noise_token {
	PC_NOISE_END, /* of a message */
	PC_NOISE_E,
	PC_NOISE_S,
	PC_NOISE_EE,
	PC_NOISE_ES,
	PC_NOISE_SE,
	PC_NOISE_SS,
	PC_NOISE_PSK,
};

struct pc_noise_pattern {
	const char *protocol_name;
	/* Pre-messages: which keys of the other side are known before. */
	bool initiator_e, initiator_s, responder_e, responder_s;
	bool psk; /* some message has a psk token */
	uint8_t n_steps;
	uint8_t steps[PC_NOISE_MAX_STEPS][PC_NOISE_MAX_TOKENS]; /* enum pc_noise_token */
};

extern const struct pc_noise_pattern pc_noise_xx;     /* Noise_XX_25519_ChaChaPoly_SHA256 */
extern const struct pc_noise_pattern pc_noise_ikpsk2; /* Noise_IKpsk2_25519_ChaChaPoly_SHA256 */

struct pc_noise_keypair {
	uint8_t public_key[PC_NOISE_DHLEN];
	uint8_t secret_key[PC_NOISE_DHLEN];
};

/* From 32 random bytes. */
void pc_noise_keypair(const uint8_t secret[static PC_NOISE_DHLEN],
		      struct pc_noise_keypair *ret_pair);

struct pc_noise_handshake {
	const struct pc_noise_pattern *pattern;
	struct pc_noise_symmetric symmetric;
	struct pc_noise_keypair s, e;
	uint8_t rs[PC_NOISE_DHLEN];
	uint8_t re[PC_NOISE_DHLEN];
	uint8_t psk[PC_NOISE_KEYLEN]; /* zero: none was agreed */
	bool initiator;
	bool has_s, has_e, has_rs, has_re;
	uint8_t step; /* the next message */
	int err;
};

/* What a side knows beforehand; unused members NULL. */
struct pc_noise_setup {
	const void *prologue;
	size_t prologue_len;
	const struct pc_noise_keypair *s;
	const struct pc_noise_keypair *e; /* for messages with an `e`; may be set later */
	const uint8_t *rs;
	const uint8_t *psk; /* may be set later, too: before the message that needs it */
};

/* 0, or PC_ERR_STATE when a key of the pre-messages is missing. */
int pc_noise_initialize(struct pc_noise_handshake *hs, const struct pc_noise_pattern *pattern,
			bool initiator, const struct pc_noise_setup *setup);
/*
 * Writes the next message around @payload. @size: room at @ret_message. Returns 0, PC_ERR_RANGE (no
 * room), PC_ERR_STATE (not our turn, a key is missing) or PC_ERR_AUTH (a key of small order).
 */
int pc_noise_write_message(struct pc_noise_handshake *hs, const void *payload, size_t payload_len,
			   void *ret_message, size_t size, size_t *ret_len);
/* Reads the next one. PC_ERR_SHORT, PC_ERR_AUTH, PC_ERR_RANGE, PC_ERR_STATE. */
int pc_noise_read_message(struct pc_noise_handshake *hs, const void *message, size_t len,
			  void *ret_payload, size_t size, size_t *ret_len);
bool pc_noise_finished(const struct pc_noise_handshake *hs);
/* After the last message: the two transport keys, for sending and for receiving. */
int pc_noise_split(const struct pc_noise_handshake *hs, uint8_t ret_send[static PC_NOISE_KEYLEN],
		   uint8_t ret_receive[static PC_NOISE_KEYLEN]);

/* For any object above. */
void pc_noise_wipe(void *object, size_t size);

#endif
