/* SPDX-License-Identifier: MIT */
/*
 * Credentials of RFC 8489 section 9.2 (long-term, with USERHASH and PASSWORD-ALGORITHMS),
 * time-limited credentials ("timestamp:name", HMAC-SHA1 of a shared secret), and stateless nonces.
 */
#ifndef PC_RELAY_AUTH_H
#define PC_RELAY_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define PC_AUTH_KEY_MAX	     32
#define PC_AUTH_USERHASH_LEN 32
#define PC_AUTH_NAME_MAX     508 /* bytes of USERNAME, RFC 8489 section 14.3 */
/* "obMatJos2", 4 characters of security features, 11 of a 64-bit MAC. */
#define PC_AUTH_NONCE_LEN 24

enum pc_auth_algorithm { /* PASSWORD-ALGORITHM numbers, RFC 8489 section 18.5 */
			 PC_AUTH_MD5 = 1,
			 PC_AUTH_SHA256 = 2,
};

/* A key as HMAC wants it. Wipe with pc_auth_wipe() when done. */
struct pc_auth_key {
	uint8_t len; /* 16 for MD5, 32 for SHA-256 */
	uint8_t b[PC_AUTH_KEY_MAX];
};
void pc_auth_wipe(void *secret, size_t len);

/* key = H(username ":" realm ":" password). Arguments are bytes, not texts. */
void pc_auth_derive(enum pc_auth_algorithm alg, const void *user, size_t user_len,
		    const char *realm, const void *password, size_t password_len,
		    struct pc_auth_key *ret_key);
/* SHA-256(username ":" realm). */
void pc_auth_userhash(const void *user, size_t user_len, const char *realm,
		      uint8_t ret_hash[static PC_AUTH_USERHASH_LEN]);

/*
 * Time-limited credentials: password = base64(HMAC-SHA1(secret, username)). @ret_password holds
 * 29 bytes, NUL included.
 */
void pc_auth_timed_password(const void *secret, size_t secret_len, const void *user,
			    size_t user_len, char ret_password[static 29]);
/* Splits "timestamp:name". Returns 0, or PC_ERR_MALFORMED when @user has not that form. */
int pc_auth_timed_parse(const void *user, size_t user_len, uint64_t *ret_expires_s,
			const char **ret_name, size_t *ret_name_len);

/*
 * Nonces prove that the source received our answer. nonce = cookie || SipHash-2-4(key, address,
 * port, window) with an implicit time window; the current and the previous window of both keys are
 * accepted, so nothing is stored per client and restarts change nothing.
 */
struct pc_nonce_keys {
	uint8_t current[16];
	uint8_t previous[16];
};
#define PC_NONCE_WINDOW_S 600
/* @realtime_s: seconds since 1970 (survives restarts and reboots). */
void pc_nonce_make(const struct pc_nonce_keys *keys, const struct pc_addr *client,
		   uint64_t realtime_s, char ret_nonce[static PC_AUTH_NONCE_LEN]);
bool pc_nonce_valid(const struct pc_nonce_keys *keys, const struct pc_addr *client,
		    uint64_t realtime_s, const void *nonce, size_t len);
/* Security feature bits of the nonce cookie as 24-bit number (bit 0 of the RFC is the highest). */
#define PC_NONCE_PASSWORD_ALGORITHMS 0x800000u
#define PC_NONCE_USERNAME_ANONYMITY  0x400000u

#endif
