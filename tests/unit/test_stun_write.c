/* SPDX-License-Identifier: MIT */
/* The writer of STUN messages: the bytes of published vectors, its bounds; and the CRC. */
#include "stun_bed.h"

/* The writer gives the very bytes of the vectors (where their padding is zero). */
static void test_writer_gives_vectors(void **state)
{
	static const uint8_t algorithm[4] = { 0, 2, 0, 0 };
	struct pc_stun_writer sw;
	struct pc_auth_key key;
	uint8_t buf[256], hash[PC_AUTH_USERHASH_LEN];
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(rfc8489_b1, &len);
	uint8_t *l _cleanup_free_ = NULL;

	pc_auth_userhash(KATAKANA_USER, strlen(KATAKANA_USER), "example.org", hash);
	pc_auth_derive(PC_AUTH_SHA256, KATAKANA_USER, strlen(KATAKANA_USER), "example.org",
		       "TheMatrIX", 9, &key);
	memset(buf, 0xaa, sizeof(buf));
	pc_stun_begin(&sw, buf, sizeof(buf), PC_STUN_BINDING, PC_STUN_REQUEST, b + 8);
	pc_stun_put(&sw, PC_ATTR_USERHASH, hash, sizeof(hash));
	put_text(&sw, PC_ATTR_NONCE, "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA");
	put_text(&sw, PC_ATTR_REALM, "example.org");
	pc_stun_put(&sw, PC_ATTR_PASSWORD_ALGORITHM, algorithm, sizeof(algorithm));
	pc_stun_put_integrity256(&sw, key.b, key.len);
	assert_int_equal(pc_stun_end(&sw), len);
	assert_memory_equal(buf, b, len);

	l = unhex(rfc5769_long_term, &len);
	pc_auth_derive(PC_AUTH_MD5, KATAKANA_USER, strlen(KATAKANA_USER), "example.org",
		       "TheMatrIX", 9, &key);
	memset(buf, 0xaa, sizeof(buf));
	pc_stun_begin(&sw, buf, sizeof(buf), PC_STUN_BINDING, PC_STUN_REQUEST, l + 8);
	put_text(&sw, PC_ATTR_USERNAME, KATAKANA_USER);
	put_text(&sw, PC_ATTR_NONCE, "f//499k954d6OL34oL9FSTvy64sA");
	put_text(&sw, PC_ATTR_REALM, "example.org");
	pc_stun_put_integrity(&sw, key.b, key.len);
	assert_int_equal(pc_stun_end(&sw), len);
	assert_memory_equal(buf, l, len);
}

static void test_addresses(void **state)
{
	static const char *const texts[] = { "203.0.113.9:1", "255.255.255.255:65535",
					     "[2001:db8::1]:3478", "[::]:0" };

	for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++) {
		struct pc_stun_writer sw;
		struct pc_stun_msg m;
		struct pc_stun_attr a;
		struct pc_addr in, out;
		uint8_t buf[64];

		assert_int_equal(pc_addr_parse(texts[i], &in), 0);
		begin(&sw, buf, sizeof(buf));
		pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_PEER_ADDRESS, &in);
		assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
		assert_true(pc_stun_find(&m, PC_ATTR_XOR_PEER_ADDRESS, &a));
		assert_int_equal(pc_stun_attr_xor_addr(&m, &a, &out), 0);
		assert_true(pc_addr_equal(&in, &out));
		for (uint16_t n = 0; n < 64; n++) {
			struct pc_stun_attr cut = { a.type, n, a.value };

			if (n != a.len && n <= a.len)
				assert_int_equal(pc_stun_attr_xor_addr(&m, &cut, &out),
						 PC_ERR_MALFORMED);
		}
		buf[PC_STUN_HEADER_LEN + 5] = 3; /* no such family */
		assert_int_equal(pc_stun_attr_xor_addr(&m, &a, &out), PC_ERR_MALFORMED);
	}
}

static void test_exact_bytes(void **state)
{
	static const char want[] = "011300380102030405060708090a0b0c";
	static const char tail[] = "0009000400000426"	      /* 438, no reason */
				   "000900070000041445787000" /* 420 "Exp", padded */
				   "000d0004000002580023000800010d96cb007109" /* plain address */
				   "80280004";
	struct pc_addr addr;
	struct pc_stun_writer sw;
	uint8_t buf[128], b[64];
	size_t n = (sizeof(tail) - 1) / 2;

	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(pc_addr_parse("203.0.113.9:3478", &addr), 0);
	pc_stun_begin(&sw, buf, sizeof(buf), PC_STUN_ALLOCATE, PC_STUN_ERROR, txid);
	pc_stun_put_error(&sw, 438, NULL);
	pc_stun_put_error(&sw, 420, "Exp");
	pc_stun_put_u32(&sw, PC_ATTR_LIFETIME, 600);
	pc_stun_put_addr(&sw, 0x0023, &addr);
	pc_stun_put_fingerprint(&sw);
	assert_int_equal(pc_stun_end(&sw), PC_STUN_HEADER_LEN + n + 4);
	assert_int_equal(pc_parse_hex(want, b, 16), 0);
	assert_memory_equal(buf, b, 2);
	assert_memory_equal(buf + 8, b + 4, 12);
	assert_int_equal(buf[2] << 8 | buf[3], n + 4);
	assert_int_equal(pc_parse_hex(tail, b, n), 0);
	assert_memory_equal(buf + PC_STUN_HEADER_LEN, b, n);
}

/* Nothing is written beyond the buffer, whatever its size, and the error sticks. */
static void test_writer_bounds(void **state)
{
	size_t full = 0;

	for (size_t size = 200; size-- > 0;) {
		struct pc_addr addr = { .ip = { .family = 6 }, .port = 1 };
		uint8_t *buf _cleanup_free_ = malloc(size + 1);
		struct pc_stun_writer sw;
		size_t n;

		assert_non_null(buf);
		buf[size] = 0x5a;
		begin(&sw, buf, size);
		pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_PEER_ADDRESS, &addr);
		pc_stun_put_error(&sw, 401, "Unauthorized");
		pc_stun_put_integrity(&sw, "key", 3);
		pc_stun_put_integrity256(&sw, "key", 3);
		pc_stun_put_fingerprint(&sw);
		n = pc_stun_end(&sw);
		if (size == 199)
			full = n;
		assert_int_equal(n, size >= full ? full : 0);
		assert_int_equal(buf[size], 0x5a);
	}
	assert_int_equal(full, 20 + 24 + 20 + 24 + 36 + 8);
}

static void test_writer_refuses(void **state)
{
	static uint8_t buf[70000], value[66000];
	struct pc_addr none = { 0 };
	struct pc_stun_writer sw;
	char reason[200];

	begin(&sw, buf, sizeof(buf));
	pc_stun_put(&sw, PC_ATTR_DATA, value, 65536);
	assert_int_equal(pc_stun_end(&sw), 0);
	begin(&sw, buf, sizeof(buf));
	pc_stun_put(&sw, PC_ATTR_DATA, value, 65000);
	pc_stun_put(&sw, PC_ATTR_DATA, value, 1000); /* together more than the length can say */
	assert_int_equal(pc_stun_end(&sw), 0);
	begin(&sw, buf, sizeof(buf));
	pc_stun_put_addr(&sw, PC_ATTR_MAPPED_ADDRESS, &none);
	assert_int_equal(pc_stun_end(&sw), 0);
	memset(reason, 'x', sizeof(reason));
	reason[sizeof(reason) - 1] = 0;
	begin(&sw, buf, sizeof(buf));
	pc_stun_put_error(&sw, 400, reason);
	assert_int_equal(pc_stun_end(&sw), 0);
}

/* Bit by bit, as ISO 3309 says it. */
static uint32_t slow_crc32(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
	}
	return ~crc;
}

static void test_crc32(void **state)
{
	uint8_t b[300];

	assert_int_equal(pc_stun_crc32("123456789", 9), 0xcbf43926u);
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 167 + i / 7);
	for (size_t from = 0; from < 4; from++) {
		for (size_t n = 0; n + from <= sizeof(b); n++)
			assert_int_equal(pc_stun_crc32(b + from, n), slow_crc32(b + from, n));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer_gives_vectors), cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_exact_bytes),	     cmocka_unit_test(test_writer_bounds),
		cmocka_unit_test(test_writer_refuses),	     cmocka_unit_test(test_crc32),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
