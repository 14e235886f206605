/* SPDX-License-Identifier: MIT */
#include "relay/digest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"

PC_DEFINE_CLEANUP(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free)
PC_DEFINE_CLEANUP(mac_ctx, EVP_MAC_CTX, EVP_MAC_CTX_free)

/*
 * libcrypto looks algorithms up by name, which costs more than a digest of a STUN message. So it is
 * done once. A template has its digest but no key; each call duplicates it, which keeps calls
 * independent of each other, and freeing the duplicate wipes the key.
 */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *md5;
static EVP_MAC_CTX *hmac_sha1;
static EVP_MAC_CTX *hmac_sha256;

static EVP_MAC_CTX *new_template(EVP_MAC *mac, const char *digest)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC_CTX *ctx PC_CLEANUP(pc_cleanup_mac_ctx) = EVP_MAC_CTX_new(mac);

	if (!ctx || !EVP_MAC_CTX_set_params(ctx, params))
		return NULL;
	return TAKE_PTR(ctx);
}

static void fetch(void)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	md5 = EVP_MD_fetch(NULL, "MD5", NULL);
	if (!mac)
		return;
	hmac_sha1 = new_template(mac, "SHA1");
	hmac_sha256 = new_template(mac, "SHA256");
	EVP_MAC_free(mac); /* the templates hold references of their own */
}

bool pc_digest_md5(const struct pc_digest_part *parts, size_t n,
		   uint8_t ret[static PC_DIGEST_MD5_LEN])
{
	EVP_MD_CTX *ctx PC_CLEANUP(pc_cleanup_md_ctx) = NULL;
	uint8_t out[PC_DIGEST_MD5_LEN];

	pthread_once(&once, fetch);
	if (!md5)
		return false;
	ctx = EVP_MD_CTX_new();
	if (!ctx || !EVP_DigestInit_ex2(ctx, md5, NULL))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!EVP_DigestUpdate(ctx, parts[i].data, parts[i].len))
			return false;
	}
	if (!EVP_DigestFinal_ex(ctx, out, NULL))
		return false;
	memcpy(ret, out, sizeof(out));
	sodium_memzero(out, sizeof(out));
	return true;
}

void pc_digest_sha256(const struct pc_digest_part *parts, size_t n,
		      uint8_t ret[static PC_DIGEST_SHA256_LEN])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	for (size_t i = 0; i < n; i++)
		crypto_hash_sha256_update(&state, parts[i].data, parts[i].len);
	crypto_hash_sha256_final(&state, ret);
	sodium_memzero(&state, sizeof(state));
}

static bool hmac(const EVP_MAC_CTX *template, const void *key, size_t key_len,
		 const struct pc_digest_part *parts, size_t n, uint8_t *ret, size_t ret_len)
{
	EVP_MAC_CTX *ctx PC_CLEANUP(pc_cleanup_mac_ctx) = NULL;
	uint8_t out[PC_DIGEST_SHA256_LEN];
	size_t len = 0;

	if (!template)
		return false;
	ctx = EVP_MAC_CTX_dup(template);
	/* A NULL key would mean "the key of before". */
	if (!ctx || !EVP_MAC_init(ctx, key_len ? key : "", key_len, NULL))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!EVP_MAC_update(ctx, parts[i].data, parts[i].len))
			return false;
	}
	if (!EVP_MAC_final(ctx, out, &len, sizeof(out)) || len != ret_len)
		return false;
	memcpy(ret, out, len);
	return true;
}

bool pc_digest_hmac_sha1(const void *key, size_t key_len, const struct pc_digest_part *parts,
			 size_t n, uint8_t ret[static PC_DIGEST_SHA1_LEN])
{
	pthread_once(&once, fetch);
	return hmac(hmac_sha1, key, key_len, parts, n, ret, PC_DIGEST_SHA1_LEN);
}

bool pc_digest_hmac_sha256(const void *key, size_t key_len, const struct pc_digest_part *parts,
			   size_t n, uint8_t ret[static PC_DIGEST_SHA256_LEN])
{
	pthread_once(&once, fetch);
	return hmac(hmac_sha256, key, key_len, parts, n, ret, PC_DIGEST_SHA256_LEN);
}
