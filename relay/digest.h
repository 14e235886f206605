/* SPDX-License-Identifier: MIT */
/*
 * The digests that STUN asks for, over scattered input: HMAC and MD5 from libcrypto, SHA-256 from
 * libsodium. Internal to this folder.
 */
#ifndef PC_RELAY_DIGEST_H
#define PC_RELAY_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_DIGEST_MD5_LEN    16
#define PC_DIGEST_SHA1_LEN   20
#define PC_DIGEST_SHA256_LEN 32

struct pc_digest_part {
	const void *data;
	size_t len;
};

/*
 * Each writes the digest of the concatenated parts. Those of libcrypto return false, with @ret
 * untouched, when it is out of memory or forbids the algorithm.
 */
bool pc_digest_md5(const struct pc_digest_part *parts, size_t n,
		   uint8_t ret[static PC_DIGEST_MD5_LEN]);
void pc_digest_sha256(const struct pc_digest_part *parts, size_t n,
		      uint8_t ret[static PC_DIGEST_SHA256_LEN]);
bool pc_digest_hmac_sha1(const void *key, size_t key_len, const struct pc_digest_part *parts,
			 size_t n, uint8_t ret[static PC_DIGEST_SHA1_LEN]);
bool pc_digest_hmac_sha256(const void *key, size_t key_len, const struct pc_digest_part *parts,
			   size_t n, uint8_t ret[static PC_DIGEST_SHA256_LEN]);

#endif
