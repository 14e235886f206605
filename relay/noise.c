/* SPDX-License-Identifier: MIT */
#include "relay/noise.h"

#include <string.h>

#include <sodium.h>

#include "base/err.h"

#define NONCE_LEN 12

/* --- CipherState --- */

void pc_noise_wipe(void *object, size_t size)
{
	sodium_memzero(object, size);
}

void pc_noise_cipher_initialize_key(struct pc_noise_cipher *c,
				    const uint8_t key[static PC_NOISE_KEYLEN])
{
	memcpy(c->k, key, PC_NOISE_KEYLEN);
	c->n = 0;
	c->has_key = true;
}

/* 32 bits of zeros, then the counter in little-endian (section 12.3). */
static void make_nonce(uint64_t n, uint8_t ret[static NONCE_LEN])
{
	memset(ret, 0, 4);
	for (unsigned int i = 0; i < 8; i++)
		ret[4 + i] = (uint8_t)(n >> (8 * i));
}

int pc_noise_seal(const uint8_t key[static PC_NOISE_KEYLEN], uint64_t nonce, const void *ad,
		  size_t ad_len, const void *plain, size_t len, void *ret)
{
	uint8_t npub[NONCE_LEN];

	if (nonce == UINT64_MAX)
		return PC_ERR_RANGE;
	make_nonce(nonce, npub);
	crypto_aead_chacha20poly1305_ietf_encrypt(ret, NULL, plain, len, ad, ad_len, NULL, npub,
						  key);
	return 0;
}

int pc_noise_open(const uint8_t key[static PC_NOISE_KEYLEN], uint64_t nonce, const void *ad,
		  size_t ad_len, const void *cipher, size_t len, void *ret)
{
	uint8_t npub[NONCE_LEN];

	if (nonce == UINT64_MAX)
		return PC_ERR_RANGE;
	if (len < PC_NOISE_TAGLEN)
		return PC_ERR_AUTH;
	make_nonce(nonce, npub);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(ret, NULL, NULL, cipher, len, ad, ad_len,
						      npub, key) < 0)
		return PC_ERR_AUTH;
	return 0;
}

int pc_noise_encrypt_with_ad(struct pc_noise_cipher *c, const void *ad, size_t ad_len,
			     const void *plain, size_t len, void *ret)
{
	if (c->err)
		return c->err;
	if (!c->has_key) {
		if (len)
			memmove(ret, plain, len);
		return 0;
	}
	c->err = pc_noise_seal(c->k, c->n, ad, ad_len, plain, len, ret);
	if (c->err == 0)
		c->n++;
	return c->err;
}

int pc_noise_decrypt_with_ad(struct pc_noise_cipher *c, const void *ad, size_t ad_len,
			     const void *cipher, size_t len, void *ret)
{
	int rc;

	if (c->err)
		return c->err;
	if (!c->has_key) {
		if (len)
			memmove(ret, cipher, len);
		return 0;
	}
	rc = pc_noise_open(c->k, c->n, ad, ad_len, cipher, len, ret);
	if (rc == 0)
		c->n++;
	else if (rc != PC_ERR_AUTH)
		c->err = rc;
	return rc;
}

void pc_noise_rekey(struct pc_noise_cipher *c)
{
	static const uint8_t zeros[PC_NOISE_KEYLEN];
	uint8_t npub[NONCE_LEN], out[PC_NOISE_KEYLEN + PC_NOISE_TAGLEN];

	/* The reserved nonce is for this. */
	make_nonce(UINT64_MAX, npub);
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, zeros, sizeof(zeros), NULL, 0, NULL,
						  npub, c->k);
	memcpy(c->k, out, PC_NOISE_KEYLEN);
	sodium_memzero(out, sizeof(out));
}

/* --- SymmetricState --- */

static void hmac(const uint8_t key[static PC_NOISE_HASHLEN], const void *a, size_t a_len,
		 const void *b, size_t b_len, uint8_t ret[static PC_NOISE_HASHLEN])
{
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, key, PC_NOISE_HASHLEN);
	crypto_auth_hmacsha256_update(&state, a, a_len);
	crypto_auth_hmacsha256_update(&state, b, b_len);
	crypto_auth_hmacsha256_final(&state, ret);
	sodium_memzero(&state, sizeof(state));
}

void pc_noise_hkdf(const uint8_t ck[static PC_NOISE_HASHLEN], const void *input, size_t len,
		   uint8_t ret1[static PC_NOISE_HASHLEN], uint8_t ret2[static PC_NOISE_HASHLEN],
		   uint8_t *ret3)
{
	static const uint8_t one = 1, two = 2, three = 3;
	uint8_t temp[PC_NOISE_HASHLEN], first[PC_NOISE_HASHLEN], second[PC_NOISE_HASHLEN];

	hmac(ck, input, len, NULL, 0, temp);
	hmac(temp, &one, 1, NULL, 0, first);
	hmac(temp, first, sizeof(first), &two, 1, second);
	if (ret3)
		hmac(temp, second, sizeof(second), &three, 1, ret3);
	/* Last, as @ck may be one of the results. */
	memcpy(ret1, first, sizeof(first));
	memcpy(ret2, second, sizeof(second));
	sodium_memzero(temp, sizeof(temp));
	sodium_memzero(first, sizeof(first));
	sodium_memzero(second, sizeof(second));
}

void pc_noise_initialize_symmetric(struct pc_noise_symmetric *s, const char *protocol_name)
{
	size_t len = strlen(protocol_name);

	memset(s, 0, sizeof(*s));
	if (len <= sizeof(s->h))
		memcpy(s->h, protocol_name, len);
	else
		crypto_hash_sha256(s->h, (const uint8_t *)protocol_name, len);
	memcpy(s->ck, s->h, sizeof(s->ck));
}

void pc_noise_mix_key(struct pc_noise_symmetric *s, const void *input, size_t len)
{
	uint8_t temp_k[PC_NOISE_HASHLEN];

	pc_noise_hkdf(s->ck, input, len, s->ck, temp_k, NULL);
	pc_noise_cipher_initialize_key(&s->cipher, temp_k);
	sodium_memzero(temp_k, sizeof(temp_k));
}

void pc_noise_mix_hash(struct pc_noise_symmetric *s, const void *data, size_t len)
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, s->h, sizeof(s->h));
	crypto_hash_sha256_update(&state, data, len);
	crypto_hash_sha256_final(&state, s->h);
}

void pc_noise_mix_key_and_hash(struct pc_noise_symmetric *s, const void *input, size_t len)
{
	uint8_t temp_h[PC_NOISE_HASHLEN], temp_k[PC_NOISE_HASHLEN];

	pc_noise_hkdf(s->ck, input, len, s->ck, temp_h, temp_k);
	pc_noise_mix_hash(s, temp_h, sizeof(temp_h));
	pc_noise_cipher_initialize_key(&s->cipher, temp_k);
	sodium_memzero(temp_h, sizeof(temp_h));
	sodium_memzero(temp_k, sizeof(temp_k));
}

int pc_noise_encrypt_and_hash(struct pc_noise_symmetric *s, const void *plain, size_t len,
			      void *ret)
{
	size_t sealed = s->cipher.has_key ? len + PC_NOISE_TAGLEN : len;
	int rc = pc_noise_encrypt_with_ad(&s->cipher, s->h, sizeof(s->h), plain, len, ret);

	if (rc == 0)
		pc_noise_mix_hash(s, ret, sealed);
	return rc;
}

int pc_noise_decrypt_and_hash(struct pc_noise_symmetric *s, const void *cipher, size_t len,
			      void *ret)
{
	uint8_t ad[PC_NOISE_HASHLEN];

	if (s->cipher.err)
		return s->cipher.err;
	/* Hashed first: decrypting may be in place. A handshake ends with its first failure. */
	memcpy(ad, s->h, sizeof(ad));
	pc_noise_mix_hash(s, cipher, len);
	s->cipher.err = pc_noise_decrypt_with_ad(&s->cipher, ad, sizeof(ad), cipher, len, ret);
	return s->cipher.err;
}
