/* SPDX-License-Identifier: MIT */
/* Keys, time-limited credentials and nonces. Expected bytes come from Python's hashlib and hmac. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "relay/auth.h"

#define USER	 "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9"
#define USER_LEN (sizeof(USER) - 1)

static const struct pc_nonce_keys keys = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9 },
};
static const struct pc_addr client = {
	.ip = { .family = 4, .b = { 192, 0, 2, 1 } },
	.port = 40000,
};
#define NOW 1700000000ull
_Static_assert(NOW % PC_NONCE_WINDOW_S == 200, "tests below count from inside a window");

static void check_hex(const void *got, const char *hex)
{
	uint8_t want[64];
	size_t n = strlen(hex) / 2;

	assert_int_equal(pc_parse_hex(hex, want, n), 0);
	assert_memory_equal(got, want, n);
}

static void test_derive(void **state)
{
	struct pc_auth_key key;

	memset(&key, 0xff, sizeof(key));
	pc_auth_derive(PC_AUTH_MD5, USER, USER_LEN, "example.org", "TheMatrIX", 9, &key);
	assert_int_equal(key.len, 16);
	check_hex(key.b, "e8ca7ad59d5eb0518e312911d2dab2a9"
			 "00000000000000000000000000000000");
	pc_auth_derive(PC_AUTH_SHA256, USER, USER_LEN, "example.org", "TheMatrIX", 9, &key);
	assert_int_equal(key.len, 32);
	check_hex(key.b, "dd295a613b9058c3c23d6dc7165bda072304d989c9d0af3a8c7e184b4f9bb4a1");
}

/* The inputs are bytes with lengths: NUL and what lies behind a length do not end or extend them.
 */
static void test_derive_bytes(void **state)
{
	struct pc_auth_key a, b;

	pc_auth_derive(PC_AUTH_SHA256, "us\0er", 5, "r", "pass", 4, &a);
	pc_auth_derive(PC_AUTH_SHA256, "us\0xx", 5, "r", "pass", 4, &b);
	assert_memory_not_equal(a.b, b.b, 32);
	pc_auth_derive(PC_AUTH_SHA256, "us\0er+", 5, "r", "passage", 4, &b);
	assert_memory_equal(a.b, b.b, 32);
	pc_auth_derive(PC_AUTH_MD5, "", 0, "", "", 0, &a); /* md5("::") */
	check_hex(a.b, "4501c091b0366d76ea3218b6cfdd8097");
}

static void test_userhash(void **state)
{
	uint8_t hash[PC_AUTH_USERHASH_LEN];

	pc_auth_userhash(USER, USER_LEN, "example.org", hash);
	check_hex(hash, "4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704");
}

static void test_wipe(void **state)
{
	struct pc_auth_key key, zero = { 0 };

	memset(&key, 0x55, sizeof(key));
	pc_auth_wipe(&key, sizeof(key));
	assert_memory_equal(&key, &zero, sizeof(key));
}

static void test_timed_password(void **state)
{
	char password[29];

	pc_auth_timed_password("north", 5, "1433895918:alice", 16, password);
	assert_string_equal(password, "RqMvcGPYTJMGThVLSi4amT4zFtI=");
	pc_auth_timed_password("", 0, "1433895918:alice", 16, password);
	assert_string_equal(password, "wz6aBwUNmjSzaCxPbuoSfZIbdlE=");
}

static void test_timed_parse(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		":a",
		"1",
		"1:",
		"a:1",
		" 1:a",
		"+1:a",
		"-1:a",
		"0x1:a",
		"1 :a",
		"1.5:a",
		"alice",
		"alice:1",
		"18446744073709551616:a",
		"99999999999999999999:a",
	};
	const char *name;
	uint64_t expires;
	size_t len;

	assert_int_equal(pc_auth_timed_parse("1433895918:alice", 16, &expires, &name, &len), 0);
	assert_true(expires == 1433895918);
	assert_int_equal(len, 5);
	assert_memory_equal(name, "alice", 5);
	assert_int_equal(pc_auth_timed_parse("18446744073709551615:a:b", 24, &expires, &name, &len),
			 0);
	assert_true(expires == UINT64_MAX);
	assert_int_equal(len, 3);
	for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++)
		assert_int_equal(pc_auth_timed_parse(bad[i], strlen(bad[i]), &expires, &name, &len),
				 PC_ERR_MALFORMED);
	/* Only user_len bytes count. */
	assert_int_equal(pc_auth_timed_parse("1:a", 2, &expires, &name, &len), PC_ERR_MALFORMED);
	assert_int_equal(len, 3); /* untouched */
}

static void test_nonce_bytes(void **state)
{
	char nonce[PC_AUTH_NONCE_LEN + 1] = { 0 };

	pc_nonce_make(&keys, &client, NOW, nonce);
	/* "wAAA": bits 0 and 1 of 24, then SipHash-2-4 of family, address, port and window. */
	assert_string_equal(nonce, "obMatJos2wAAAxdgmz2PwXu0");
}

static void test_nonce_window(void **state)
{
	const uint64_t start = NOW - NOW % PC_NONCE_WINDOW_S;
	char nonce[PC_AUTH_NONCE_LEN];

	pc_nonce_make(&keys, &client, NOW, nonce);
	for (uint64_t t = start; t < start + 2 * PC_NONCE_WINDOW_S; t++)
		assert_true(pc_nonce_valid(&keys, &client, t, nonce, sizeof(nonce)));
	assert_false(pc_nonce_valid(&keys, &client, start - 1, nonce, sizeof(nonce)));
	assert_false(pc_nonce_valid(&keys, &client, start + 2 * PC_NONCE_WINDOW_S, nonce,
				    sizeof(nonce)));
	pc_nonce_make(&keys, &client, 0, nonce);
	assert_true(pc_nonce_valid(&keys, &client, 0, nonce, sizeof(nonce)));
}

static void test_nonce_rotation(void **state)
{
	struct pc_nonce_keys next = { .current = { 77 } }, after = { .current = { 78 } };
	char nonce[PC_AUTH_NONCE_LEN];

	memcpy(next.previous, keys.current, 16);
	memcpy(after.previous, next.current, 16);
	pc_nonce_make(&keys, &client, NOW, nonce);
	assert_true(pc_nonce_valid(&next, &client, NOW, nonce, sizeof(nonce)));
	assert_true(pc_nonce_valid(&next, &client, NOW + 600, nonce, sizeof(nonce)));
	assert_false(pc_nonce_valid(&after, &client, NOW, nonce, sizeof(nonce)));
}

/* It is good for one source only, and every character of it counts. */
static void test_nonce_is_bound(void **state)
{
	struct pc_addr other = client;
	char nonce[PC_AUTH_NONCE_LEN + 1] = { 0 };

	pc_nonce_make(&keys, &client, NOW, nonce);
	other.port++;
	assert_false(pc_nonce_valid(&keys, &other, NOW, nonce, PC_AUTH_NONCE_LEN));
	other = client;
	other.ip.b[3] ^= 1;
	assert_false(pc_nonce_valid(&keys, &other, NOW, nonce, PC_AUTH_NONCE_LEN));
	other = client;
	other.ip.family = 6;
	assert_false(pc_nonce_valid(&keys, &other, NOW, nonce, PC_AUTH_NONCE_LEN));
	for (size_t i = 0; i < PC_AUTH_NONCE_LEN; i++) {
		nonce[i] ^= 1;
		assert_false(pc_nonce_valid(&keys, &client, NOW, nonce, PC_AUTH_NONCE_LEN));
		nonce[i] ^= 1;
	}
	assert_false(pc_nonce_valid(&keys, &client, NOW, nonce, PC_AUTH_NONCE_LEN - 1));
	assert_false(pc_nonce_valid(&keys, &client, NOW, nonce, PC_AUTH_NONCE_LEN + 1));
	assert_false(pc_nonce_valid(&keys, &client, NOW, nonce, 0));
	assert_true(pc_nonce_valid(&keys, &client, NOW, nonce, PC_AUTH_NONCE_LEN));
}

/* What is legal in a quoted-string without escapes (RFC 3261), for every nonce. */
static void test_nonce_characters(void **state)
{
	struct pc_addr any = client;

	for (uint16_t port = 1; port < 5000; port++) {
		char nonce[PC_AUTH_NONCE_LEN];

		any.port = port;
		pc_nonce_make(&keys, &any, NOW, nonce);
		for (size_t i = 0; i < sizeof(nonce); i++)
			assert_true(nonce[i] > ' ' && nonce[i] < 0x7f && nonce[i] != '"' &&
				    nonce[i] != '\\');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_derive),		 cmocka_unit_test(test_derive_bytes),
		cmocka_unit_test(test_userhash),	 cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_timed_password),	 cmocka_unit_test(test_timed_parse),
		cmocka_unit_test(test_nonce_bytes),	 cmocka_unit_test(test_nonce_window),
		cmocka_unit_test(test_nonce_rotation),	 cmocka_unit_test(test_nonce_is_bound),
		cmocka_unit_test(test_nonce_characters),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
