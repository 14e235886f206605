/* SPDX-License-Identifier: MIT */
#include "relay/auth.h"

#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/siphash.h"
#include "base/wire.h"
#include "relay/digest.h"

#define COOKIE	     "obMatJos2"
#define COOKIE_LEN   9
#define FEATURES_LEN 4
#define MAC_LEN	     11
_Static_assert(COOKIE_LEN + FEATURES_LEN + MAC_LEN == PC_AUTH_NONCE_LEN, "nonce layout");

#define BASE64_SHA1_SIZE 29
_Static_assert(sodium_base64_ENCODED_LEN(PC_DIGEST_SHA1_LEN, sodium_base64_VARIANT_ORIGINAL) ==
		       BASE64_SHA1_SIZE,
	       "timed password");

void pc_auth_wipe(void *secret, size_t len)
{
	sodium_memzero(secret, len);
}

void pc_auth_derive(enum pc_auth_algorithm alg, const void *user, size_t user_len,
		    const char *realm, const void *password, size_t password_len,
		    struct pc_auth_key *ret_key)
{
	const struct pc_digest_part parts[] = {
		{ user, user_len },	    { ":", 1 }, { realm, strlen(realm) }, { ":", 1 },
		{ password, password_len },
	};
	struct pc_auth_key key = { 0 };

	if (alg == PC_AUTH_SHA256) {
		key.len = PC_DIGEST_SHA256_LEN;
		pc_digest_sha256(parts, PC_ARRAY_SIZE(parts), key.b);
	} else {
		key.len = PC_DIGEST_MD5_LEN;
		/* Where libcrypto refuses MD5: a key that nobody has, never a guessable one. */
		if (!pc_digest_md5(parts, PC_ARRAY_SIZE(parts), key.b))
			randombytes_buf(key.b, key.len);
	}
	*ret_key = key;
	sodium_memzero(&key, sizeof(key));
}

void pc_auth_userhash(const void *user, size_t user_len, const char *realm,
		      uint8_t ret_hash[static PC_AUTH_USERHASH_LEN])
{
	const struct pc_digest_part parts[] = {
		{ user, user_len },
		{ ":", 1 },
		{ realm, strlen(realm) },
	};

	pc_digest_sha256(parts, PC_ARRAY_SIZE(parts), ret_hash);
}

void pc_auth_timed_password(const void *secret, size_t secret_len, const void *user,
			    size_t user_len, char ret_password[static BASE64_SHA1_SIZE])
{
	const struct pc_digest_part part = { user, user_len };
	uint8_t mac[PC_DIGEST_SHA1_LEN];

	if (!pc_digest_hmac_sha1(secret, secret_len, &part, 1, mac))
		randombytes_buf(mac, sizeof(mac)); /* matches nothing that was given out */
	sodium_bin2base64(ret_password, BASE64_SHA1_SIZE, mac, sizeof(mac),
			  sodium_base64_VARIANT_ORIGINAL);
	sodium_memzero(mac, sizeof(mac));
}

int pc_auth_timed_parse(const void *user, size_t user_len, uint64_t *ret_expires_s,
			const char **ret_name, size_t *ret_name_len)
{
	const char *text = user;
	uint64_t expires = 0;
	size_t digits = 0;

	for (; digits < user_len && text[digits] >= '0' && text[digits] <= '9'; digits++) {
		unsigned int d = (unsigned int)(text[digits] - '0');

		if (expires > (UINT64_MAX - d) / 10)
			return PC_ERR_MALFORMED;
		expires = expires * 10 + d;
	}
	if (!digits || digits + 1 >= user_len || text[digits] != ':')
		return PC_ERR_MALFORMED;
	*ret_expires_s = expires;
	*ret_name = &text[digits + 1];
	*ret_name_len = user_len - digits - 1;
	return 0;
}

static void make_nonce(const uint8_t key[static 16], const struct pc_addr *client, uint64_t window,
		       char ret_nonce[static PC_AUTH_NONCE_LEN])
{
	const uint32_t features = PC_NONCE_PASSWORD_ALGORITHMS | PC_NONCE_USERNAME_ANONYMITY;
	const uint8_t bits[3] = { features >> 16, features >> 8 & 0xff, features & 0xff };
	uint8_t input[1 + sizeof(client->ip.b) + 2 + 8], mac[8];
	char text[FEATURES_LEN + MAC_LEN + 1];
	struct pc_writer w;

	pc_writer_init(&w, input, sizeof(input));
	pc_write_u8(&w, client->ip.family);
	pc_write_bytes(&w, client->ip.b, sizeof(client->ip.b));
	pc_write_u16(&w, client->port);
	pc_write_u64(&w, window);
	pc_writer_init(&w, mac, sizeof(mac));
	pc_write_u64(&w, pc_siphash24(key, input, sizeof(input)));

	/* Both alphabets of base64 are legal in a quoted-string; RFC 8489 uses the standard one. */
	sodium_bin2base64(text, FEATURES_LEN + 1, bits, sizeof(bits),
			  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	sodium_bin2base64(text + FEATURES_LEN, MAC_LEN + 1, mac, sizeof(mac),
			  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	memcpy(ret_nonce, COOKIE, COOKIE_LEN);
	memcpy(ret_nonce + COOKIE_LEN, text, FEATURES_LEN + MAC_LEN);
}

void pc_nonce_make(const struct pc_nonce_keys *keys, const struct pc_addr *client,
		   uint64_t realtime_s, char ret_nonce[static PC_AUTH_NONCE_LEN])
{
	make_nonce(keys->current, client, realtime_s / PC_NONCE_WINDOW_S, ret_nonce);
}

bool pc_nonce_valid(const struct pc_nonce_keys *keys, const struct pc_addr *client,
		    uint64_t realtime_s, const void *nonce, size_t len)
{
	const uint8_t *const tried[] = { keys->current, keys->previous };
	uint64_t window = realtime_s / PC_NONCE_WINDOW_S;
	bool valid = false;

	if (len != PC_AUTH_NONCE_LEN)
		return false;
	/* All four are made and compared, so that time does not tell which one matched. */
	for (size_t i = 0; i < PC_ARRAY_SIZE(tried); i++) {
		for (unsigned int age = 0; age < 2; age++) {
			char expected[PC_AUTH_NONCE_LEN];

			make_nonce(tried[i], client, window - age, expected);
			valid |= !sodium_memcmp(expected, nonce, sizeof(expected));
		}
	}
	return valid;
}
