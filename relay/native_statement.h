/* SPDX-License-Identifier: MIT */
/*
 * What binds a static X25519 key of the Noise handshake to an identity: a statement that the
 * identity's Ed25519 key signed. Big-endian: identity key 32 | not_before 8 | not_after 8 |
 * signature 64. Times are seconds since 1970. The signature covers "pcloud/1 static key", the
 * identity key, the static key (which travels in the handshake itself) and both times.
 */
#ifndef PC_RELAY_NATIVE_STATEMENT_H
#define PC_RELAY_NATIVE_STATEMENT_H

#include <stddef.h>
#include <stdint.h>

#define PC_STATEMENT_LEN 112

struct pc_statement {
	uint8_t identity[32];
	uint64_t not_before_s;
	uint64_t not_after_s;
};

/* @secret_key: libsodium's form, seed || public. */
void pc_statement_make(const uint8_t secret_key[static 64], const uint8_t static_key[static 32],
		       uint64_t not_before_s, uint64_t not_after_s,
		       uint8_t ret[static PC_STATEMENT_LEN]);
/*
 * Whether @data says that @static_key belongs to an identity. @realtime_s 0: there is no clock, and
 * validity is not judged. 0, PC_ERR_MALFORMED, PC_ERR_AUTH or PC_ERR_RANGE (not valid now).
 */
int pc_statement_check(const void *data, size_t len, const uint8_t static_key[static 32],
		       uint64_t realtime_s, struct pc_statement *ret);

#endif
