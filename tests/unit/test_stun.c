/* SPDX-License-Identifier: MIT */
/* The STUN codec: published vectors, what is ignored, what is refused. */
#include "stun_bed.h"

/* RFC 5769 section 2.1 to 2.3: short-term credentials. */
#define SHORT_TERM_KEY "VOkJxbRl1RmTxUk/WvJxBt"
static const char rfc5769_request[] = "000100582112a442b7e7a701bc34d686fa87dfae"
				      "802200105354554e207465737420636c69656e74"
				      "002400046e0001ff80290008932ff9b151263b36"
				      "000600096576746a3a68367659202020"
				      "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
				      "80280004e57a3bcf";
static const char rfc5769_response4[] = "0101003c2112a442b7e7a701bc34d686fa87dfae"
					"8022000b7465737420766563746f7220"
					"002000080001a147e112a643"
					"000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
					"80280004c07d4c96";
static const char rfc5769_response6[] = "010100482112a442b7e7a701bc34d686fa87dfae"
					"8022000b7465737420766563746f7220"
					"002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
					"00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
					"80280004c8fb0b4c";

static void test_vector_request(void **state)
{
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(rfc5769_request, &len);

	assert_int_equal(pc_stun_parse(b, len, &m), 0);
	assert_int_equal(m.method, PC_STUN_BINDING);
	assert_int_equal(m.cls, PC_STUN_REQUEST);
	assert_memory_equal(m.txid, b + 8, PC_STUN_TXID_LEN);
	assert_int_equal(m.fingerprint_off, len - 8);
	assert_true(m.fingerprint_ok);
	assert_true(pc_stun_find(&m, PC_ATTR_USERNAME, &a));
	assert_int_equal(a.len, 9);
	assert_memory_equal(a.value, "evtj:h6vY", 9);
	/* PRIORITY of ICE is not for a server; ICE-CONTROLLED is optional. */
	assert_int_equal(m.n_unknown, 1);
	assert_int_equal(m.unknown[0], 0x0024);
	assert_int_equal(pc_stun_check_integrity(&m, SHORT_TERM_KEY, strlen(SHORT_TERM_KEY)), 0);
	assert_int_equal(pc_stun_check_integrity(&m, SHORT_TERM_KEY, strlen(SHORT_TERM_KEY) - 1),
			 PC_ERR_AUTH);
	assert_int_equal(pc_stun_check_integrity256(&m, "", 0), PC_ERR_NOT_FOUND);
}

static void check_response(const char *hex, const char *address)
{
	struct pc_addr got, want;
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(hex, &len);

	assert_int_equal(pc_stun_parse(b, len, &m), 0);
	assert_int_equal(m.cls, PC_STUN_SUCCESS);
	assert_true(m.fingerprint_ok);
	assert_int_equal(m.n_unknown, 0);
	assert_int_equal(pc_stun_check_integrity(&m, SHORT_TERM_KEY, strlen(SHORT_TERM_KEY)), 0);
	assert_true(pc_stun_find(&m, PC_ATTR_XOR_MAPPED_ADDRESS, &a));
	assert_int_equal(pc_stun_attr_xor_addr(&m, &a, &got), 0);
	assert_int_equal(pc_addr_parse(address, &want), 0);
	assert_memory_equal(&got.ip, &want.ip, sizeof(got.ip));
	assert_int_equal(got.port, want.port);
}

static void test_vector_responses(void **state)
{
	check_response(rfc5769_response4, "192.0.2.1:32853");
	check_response(rfc5769_response6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

static void test_vector_long_term(void **state)
{
	struct pc_auth_key key;
	struct pc_stun_msg m;
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(rfc5769_long_term, &len);

	pc_auth_derive(PC_AUTH_MD5, KATAKANA_USER, strlen(KATAKANA_USER), "example.org",
		       "TheMatrIX", 9, &key);
	assert_int_equal(key.len, 16);
	assert_int_equal(pc_stun_parse(b, len, &m), 0);
	assert_int_equal(pc_stun_check_integrity(&m, key.b, key.len), 0);
	key.b[15] ^= 1;
	assert_int_equal(pc_stun_check_integrity(&m, key.b, key.len), PC_ERR_AUTH);
}

static void test_vector_sha256(void **state)
{
	uint8_t hash[PC_AUTH_USERHASH_LEN];
	struct pc_auth_key key;
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(rfc8489_b1, &len);

	pc_auth_derive(PC_AUTH_SHA256, KATAKANA_USER, strlen(KATAKANA_USER), "example.org",
		       "TheMatrIX", 9, &key);
	assert_int_equal(key.len, 32);
	assert_int_equal(pc_stun_parse(b, len, &m), 0);
	assert_int_equal(pc_stun_check_integrity256(&m, key.b, key.len), 0);
	assert_int_equal(pc_stun_check_integrity(&m, key.b, key.len), PC_ERR_NOT_FOUND);
	pc_auth_userhash(KATAKANA_USER, strlen(KATAKANA_USER), "example.org", hash);
	assert_true(pc_stun_find(&m, PC_ATTR_USERHASH, &a));
	assert_int_equal(a.len, sizeof(hash));
	assert_memory_equal(a.value, hash, sizeof(hash));
	b[len - 1] ^= 0x80;
	assert_int_equal(pc_stun_check_integrity256(&m, key.b, key.len), PC_ERR_AUTH);
}

static void test_odd_alignment(void **state)
{
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(rfc5769_response6, &len);
	uint64_t raw[32];

	for (size_t shift = 0; shift < 8; shift++) {
		uint8_t *at = (uint8_t *)raw + shift;
		struct pc_stun_msg m;
		struct pc_stun_attr a;
		struct pc_addr addr;

		memcpy(at, b, len);
		assert_int_equal(pc_stun_parse(at, len, &m), 0);
		assert_true(m.fingerprint_ok);
		assert_int_equal(
			pc_stun_check_integrity(&m, SHORT_TERM_KEY, strlen(SHORT_TERM_KEY)), 0);
		assert_true(pc_stun_find(&m, PC_ATTR_XOR_MAPPED_ADDRESS, &a));
		assert_int_equal(pc_stun_attr_xor_addr(&m, &a, &addr), 0);
		assert_int_equal(addr.port, 32853);
	}
}

/* Every change of one bit is noticed by the fingerprint, and by integrity where that covers it. */
static void test_every_bit_counts(void **state)
{
	struct pc_stun_msg m;
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(rfc5769_response4, &len);

	for (size_t bit = 0; bit < len * 8; bit++) {
		b[bit / 8] ^= 1 << bit % 8;
		if (!pc_stun_parse(b, len, &m)) {
			assert_false(m.fingerprint_off && m.fingerprint_ok);
			if (bit / 8 < len - 8)
				assert_int_not_equal(
					pc_stun_check_integrity(&m, SHORT_TERM_KEY,
								strlen(SHORT_TERM_KEY)),
					0);
		}
		b[bit / 8] ^= 1 << bit % 8;
	}
}

static void test_method_and_class(void **state)
{
	static const struct {
		uint16_t method;
		enum pc_stun_class cls;
		uint8_t bytes[2];
	} cases[] = {
		{ PC_STUN_BINDING, PC_STUN_REQUEST, { 0x00, 0x01 } },
		{ PC_STUN_BINDING, PC_STUN_INDICATION, { 0x00, 0x11 } },
		{ PC_STUN_ALLOCATE, PC_STUN_SUCCESS, { 0x01, 0x03 } },
		{ PC_STUN_ALLOCATE, PC_STUN_ERROR, { 0x01, 0x13 } },
		{ PC_STUN_SEND, PC_STUN_INDICATION, { 0x00, 0x16 } },
		{ PC_STUN_DATA, PC_STUN_INDICATION, { 0x00, 0x17 } },
		{ PC_STUN_CHANNEL_BIND, PC_STUN_REQUEST, { 0x00, 0x09 } },
		{ 0xfff, PC_STUN_ERROR, { 0x3f, 0xff } },
		{ 0x5a5, PC_STUN_SUCCESS, { 0x17, 0x45 } },
	};

	for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
		struct pc_stun_writer sw;
		struct pc_stun_msg m;
		uint8_t buf[PC_STUN_HEADER_LEN];

		pc_stun_begin(&sw, buf, sizeof(buf), cases[i].method, cases[i].cls, txid);
		assert_int_equal(pc_stun_end(&sw), sizeof(buf));
		assert_memory_equal(buf, cases[i].bytes, 2);
		assert_int_equal(pc_stun_parse(buf, sizeof(buf), &m), 0);
		assert_int_equal(m.method, cases[i].method);
		assert_int_equal(m.cls, cases[i].cls);
	}
}

static void test_refuses_malformed(void **state)
{
	struct pc_stun_msg m;
	size_t len;
	uint8_t *b _cleanup_free_ = unhex(rfc5769_request, &len);

	for (size_t n = 0; n < len; n++)
		assert_int_equal(pc_stun_parse(b, n, &m), PC_ERR_SHORT);
	b[3] -= 4; /* the datagram is longer than the message says */
	assert_int_equal(pc_stun_parse(b, len, &m), PC_ERR_MALFORMED);
	b[3] += 5; /* no multiple of four */
	assert_int_equal(pc_stun_parse(b, len, &m), PC_ERR_MALFORMED);
	b[3] -= 1;
	b[0] = 0x40; /* ChannelData */
	assert_int_equal(pc_stun_parse(b, len, &m), PC_ERR_MALFORMED);
	b[0] = 0;
	b[4] ^= 1; /* RFC 3489 had no cookie */
	assert_int_equal(pc_stun_parse(b, len, &m), PC_ERR_MALFORMED);
	b[4] ^= 1;
	b[22] = 1; /* the first attribute claims more than there is */
	assert_int_equal(pc_stun_parse(b, len, &m), PC_ERR_MALFORMED);
	b[22] = 0;
	b[len - 5] = 5; /* the last one: its padding would lie outside */
	assert_int_equal(pc_stun_parse(b, len, &m), PC_ERR_MALFORMED);
	b[len - 5] = 4;
	assert_int_equal(pc_stun_parse(b, len, &m), 0);
}

/* All that comes after MESSAGE-INTEGRITY is as if it were not there. */
static void test_ignores_after_integrity(void **state)
{
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	uint8_t buf[512];
	size_t pos = 0, n, seen = 0;

	begin(&sw, buf, sizeof(buf));
	put_text(&sw, PC_ATTR_USERNAME, "alice");
	pc_stun_put_integrity(&sw, "k", 1);
	pc_stun_put_u32(&sw, PC_ATTR_LIFETIME, 7);
	put_text(&sw, 0x7abc, "required, unknown, and unprotected");
	pc_stun_put_integrity(&sw, "other", 5);
	pc_stun_put_integrity256(&sw, "k", 1);
	pc_stun_put_u32(&sw, PC_ATTR_CHANNEL_NUMBER, 7);
	put_text(&sw, PC_ATTR_USERNAME, "mallory");
	pc_stun_put_fingerprint(&sw);
	n = pc_stun_end(&sw);
	assert_true(n);
	assert_int_equal(pc_stun_parse(buf, n, &m), 0);
	assert_int_equal(m.n_unknown, 0);
	assert_int_equal(pc_stun_check_integrity(&m, "k", 1), 0);
	assert_int_equal(pc_stun_check_integrity256(&m, "k", 1), 0);
	assert_true(m.fingerprint_ok);
	assert_false(pc_stun_find(&m, PC_ATTR_LIFETIME, &a));
	assert_false(pc_stun_find(&m, PC_ATTR_CHANNEL_NUMBER, &a));
	assert_true(pc_stun_find(&m, PC_ATTR_USERNAME, &a));
	assert_int_equal(a.len, 5);
	pc_stun_for_each (&m, pos, a)
		seen |= a.type == PC_ATTR_USERNAME		     ? 1
			: a.type == PC_ATTR_MESSAGE_INTEGRITY	     ? 2
			: a.type == PC_ATTR_MESSAGE_INTEGRITY_SHA256 ? 4
			: a.type == PC_ATTR_FINGERPRINT		     ? 8
								     : 16;
	assert_int_equal(seen, 15);
}

/* After MESSAGE-INTEGRITY-SHA256 not even MESSAGE-INTEGRITY counts, after FINGERPRINT nothing. */
static void test_order_of_integrity(void **state)
{
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	uint8_t buf[256];

	begin(&sw, buf, sizeof(buf));
	pc_stun_put_integrity256(&sw, "k", 1);
	pc_stun_put_integrity(&sw, "k", 1);
	assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
	assert_int_equal(m.integrity_off, 0);
	assert_false(pc_stun_find(&m, PC_ATTR_MESSAGE_INTEGRITY, &a));
	assert_int_equal(pc_stun_check_integrity256(&m, "k", 1), 0);

	begin(&sw, buf, sizeof(buf));
	pc_stun_put_fingerprint(&sw);
	pc_stun_put_integrity(&sw, "k", 1);
	pc_stun_put_u32(&sw, PC_ATTR_LIFETIME, 1);
	assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
	assert_int_equal(m.integrity_off, 0);
	assert_false(m.fingerprint_ok); /* it has to be the last */
	assert_false(pc_stun_find(&m, PC_ATTR_LIFETIME, &a));
	assert_int_equal(pc_stun_check_integrity(&m, "k", 1), PC_ERR_NOT_FOUND);
}

/* A right CRC does not help a FINGERPRINT that is not the last attribute. */
static void test_fingerprint_is_last(void **state)
{
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	struct pc_writer w;
	uint8_t buf[64];
	size_t n;

	begin(&sw, buf, sizeof(buf));
	pc_stun_put_u32(&sw, PC_ATTR_FINGERPRINT, 0);
	pc_stun_put_u32(&sw, PC_ATTR_LIFETIME, 600);
	n = pc_stun_end(&sw);
	pc_writer_init(&w, buf + PC_STUN_HEADER_LEN + 4, 4);
	pc_write_u32(&w, pc_stun_crc32(buf, PC_STUN_HEADER_LEN) ^ 0x5354554eu);
	assert_int_equal(pc_stun_parse(buf, n, &m), 0);
	assert_int_equal(m.fingerprint_off, PC_STUN_HEADER_LEN);
	assert_false(m.fingerprint_ok);
}

static void test_first_duplicate_counts(void **state)
{
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	uint8_t buf[128];

	begin(&sw, buf, sizeof(buf));
	put_text(&sw, PC_ATTR_REALM, "first");
	put_text(&sw, PC_ATTR_REALM, "second one");
	assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
	assert_true(pc_stun_find(&m, PC_ATTR_REALM, &a));
	assert_int_equal(a.len, 5);
}

static void test_unknown_attributes(void **state)
{
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	uint8_t buf[512];

	begin(&sw, buf, sizeof(buf));
	for (uint16_t i = 0; i < 2 * PC_STUN_MAX_UNKNOWN; i++) {
		pc_stun_put(&sw, 0x7000 + i, NULL, 0);
		pc_stun_put(&sw, 0xc000 + i, NULL, 0);
	}
	assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
	assert_int_equal(m.n_unknown, PC_STUN_MAX_UNKNOWN);
	for (uint16_t i = 0; i < PC_STUN_MAX_UNKNOWN; i++)
		assert_int_equal(m.unknown[i], 0x7000 + i);
}

static void test_integrity256_lengths(void **state)
{
	for (size_t cut = 0; cut <= 36; cut++) {
		struct pc_stun_writer sw;
		struct pc_stun_msg m;
		uint8_t buf[128], zero[36] = { 0 };
		int want = cut > 32 || cut < 16 || cut % 4 ? PC_ERR_MALFORMED : 0;

		begin(&sw, buf, sizeof(buf));
		pc_stun_put(&sw, PC_ATTR_MESSAGE_INTEGRITY_SHA256, zero, cut);
		assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
		assert_int_equal(pc_stun_check_integrity256(&m, "k", 1), want ?: PC_ERR_AUTH);
	}
}

/* A truncated HMAC is taken, and the header's length then counts the truncated attribute. */
static void test_integrity256_truncated(void **state)
{
	/* hmac-sha256("k", 0003 0014 2112a442 txid), its first 16 bytes; by Python's hmac. */
	static const char hex[] = "317346614332941bcf244f7e76dbe634";
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	uint8_t buf[64], mac[16];

	assert_int_equal(pc_parse_hex(hex, mac, sizeof(mac)), 0);
	begin(&sw, buf, sizeof(buf));
	pc_stun_put(&sw, PC_ATTR_MESSAGE_INTEGRITY_SHA256, mac, sizeof(mac));
	assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
	assert_int_equal(pc_stun_check_integrity256(&m, "k", 1), 0);
	assert_int_equal(pc_stun_check_integrity256(&m, "K", 1), PC_ERR_AUTH);
}

static void test_integrity_wrong_length(void **state)
{
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	uint8_t buf[128], zero[24] = { 0 };

	for (size_t n = 0; n <= sizeof(zero); n++) {
		begin(&sw, buf, sizeof(buf));
		pc_stun_put(&sw, PC_ATTR_MESSAGE_INTEGRITY, zero, n);
		assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
		assert_int_equal(pc_stun_check_integrity(&m, "k", 1),
				 n == 20 ? PC_ERR_AUTH : PC_ERR_MALFORMED);
	}
}

/* An IPv4 family with the length of IPv6, and the reverse. */
static void test_address_family_and_length(void **state)
{
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	struct pc_addr out;
	uint8_t buf[64], value[20] = { 0, 1 };

	begin(&sw, buf, sizeof(buf));
	pc_stun_put(&sw, PC_ATTR_XOR_PEER_ADDRESS, value, 20);
	assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
	assert_true(pc_stun_find(&m, PC_ATTR_XOR_PEER_ADDRESS, &a));
	assert_int_equal(pc_stun_attr_xor_addr(&m, &a, &out), PC_ERR_MALFORMED);
	value[1] = 2;
	begin(&sw, buf, sizeof(buf));
	pc_stun_put(&sw, PC_ATTR_XOR_PEER_ADDRESS, value, 8);
	assert_int_equal(pc_stun_parse(buf, pc_stun_end(&sw), &m), 0);
	assert_true(pc_stun_find(&m, PC_ATTR_XOR_PEER_ADDRESS, &a));
	assert_int_equal(pc_stun_attr_xor_addr(&m, &a, &out), PC_ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector_request),
		cmocka_unit_test(test_vector_responses),
		cmocka_unit_test(test_vector_long_term),
		cmocka_unit_test(test_vector_sha256),
		cmocka_unit_test(test_odd_alignment),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_method_and_class),
		cmocka_unit_test(test_refuses_malformed),
		cmocka_unit_test(test_ignores_after_integrity),
		cmocka_unit_test(test_order_of_integrity),
		cmocka_unit_test(test_fingerprint_is_last),
		cmocka_unit_test(test_first_duplicate_counts),
		cmocka_unit_test(test_unknown_attributes),
		cmocka_unit_test(test_integrity256_lengths),
		cmocka_unit_test(test_integrity256_truncated),
		cmocka_unit_test(test_integrity_wrong_length),
		cmocka_unit_test(test_address_family_and_length),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
