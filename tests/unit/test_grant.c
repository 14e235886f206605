/* SPDX-License-Identifier: MIT */
/* Grants: one encoding, both signatures, and every bound of what makes one good here and now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <sodium.h>

#include "account/grant.h"
#include "base/err.h"

#define FROM_S	1700000000ull
#define UNTIL_S 1800000000ull

static struct pc_identity issuer, payer;
static struct pc_grant terms;
static uint8_t good[PC_GRANT_LEN];

/* Of another implementation (tests/helpers/grant.py), with the keys and terms of set_up. */
static const uint8_t digest[32] = {
	0x55, 0x4a, 0xa6, 0xd9, 0xfd, 0xeb, 0x25, 0xa4, 0xe1, 0xa2, 0x1e,
	0xe1, 0x64, 0x4a, 0xda, 0x83, 0x36, 0x1a, 0x6b, 0x1f, 0x3d, 0xc9,
	0x06, 0xa3, 0xc9, 0xaf, 0xe3, 0x95, 0x34, 0x51, 0x16, 0x61,
};

static int set_up(void **state)
{
	uint8_t seed[32];

	memset(seed, 1, sizeof(seed));
	assert_int_equal(pc_identity_from_seed(seed, &issuer), 0);
	memset(seed, 2, sizeof(seed));
	assert_int_equal(pc_identity_from_seed(seed, &payer), 0);
	terms = (struct pc_grant){
		.tier = PC_GRANT_PAID,
		.not_before_s = FROM_S,
		.not_after_s = UNTIL_S,
		.limit_bytes = 1ull << 40,
		.window_floor_kib = 256,
		.window_max_kib = 65536,
		.price = 250000000,
		.currency = "EUR",
		.weight_up = 1000,
		.weight_down = 500,
		.free_rate_kib = 64,
	};
	memcpy(terms.issuer, issuer.public_key, 32);
	memcpy(terms.payer, payer.public_key, 32);
	memset(terms.relay, 3, 32);
	memset(terms.receipt, 4, 32);
	for (uint8_t i = 0; i < sizeof(terms.allocation); i++)
		terms.allocation[i] = i;
	assert_int_equal(pc_grant_make(&terms, &issuer, &payer, good), 0);
	return 0;
}

static enum pc_grant_verdict judge(const uint8_t *grant, uint64_t now_s)
{
	struct pc_grant g;

	return pc_grant_judge(grant, PC_GRANT_LEN, terms.relay, terms.payer, now_s, &g);
}

static void test_round_trip(void **state)
{
	uint8_t hash[32], again[PC_GRANT_LEN], odd[PC_GRANT_LEN + 8];
	struct pc_grant g;

	crypto_hash_sha256(hash, good, sizeof(good));
	assert_memory_equal(hash, digest, sizeof(digest));
	/* At every alignment. */
	for (size_t at = 0; at < 8; at++) {
		memcpy(odd + at, good, sizeof(good));
		assert_int_equal(pc_grant_parse(odd + at, PC_GRANT_LEN, &g), 0);
		assert_int_equal(g.tier, terms.tier);
		assert_true(g.limit_bytes == terms.limit_bytes && g.price == terms.price);
		assert_string_equal(g.currency, "EUR");
		assert_int_equal(g.weight_down, 500);
		assert_int_equal(g.free_rate_kib, 64);
		assert_memory_equal(g.allocation, terms.allocation, sizeof(g.allocation));
		assert_int_equal(pc_grant_make(&g, &issuer, &payer, again), 0);
		assert_memory_equal(again, good, sizeof(good));
		assert_int_equal(pc_grant_verify(odd + at), 0);
		assert_int_equal(judge(odd + at, FROM_S), PC_GRANT_GOOD);
	}
	for (size_t len = 0; len < PC_GRANT_LEN; len++)
		assert_int_equal(pc_grant_parse(good, len, &g), PC_ERR_MALFORMED);
	assert_int_equal(pc_grant_parse(odd, PC_GRANT_LEN + 1, &g), PC_ERR_MALFORMED);
}

/* Whatever bit is another one, it is no good. */
static void test_bits(void **state)
{
	uint8_t bad[PC_GRANT_LEN];
	struct pc_grant g;

	for (size_t bit = 0; bit < 8 * sizeof(bad); bit++) {
		memcpy(bad, good, sizeof(bad));
		bad[bit / 8] ^= 1u << bit % 8;
		assert_int_not_equal(judge(bad, UNTIL_S), PC_GRANT_GOOD);
		if (pc_grant_parse(bad, sizeof(bad), &g) == 0)
			assert_int_equal(pc_grant_verify(bad), PC_ERR_AUTH);
	}
	/* The issuer's signature is not the payer's, though both are about the same. */
	memcpy(bad, good, sizeof(bad));
	memcpy(bad + 208, good + 272, 64);
	memcpy(bad + 272, good + 208, 64);
	assert_int_equal(judge(bad, UNTIL_S), PC_GRANT_FORGED);
	/* Both have signed, but something else: without the domain in front. */
	crypto_sign_detached(bad + 208, NULL, good, 208, issuer.secret_key);
	crypto_sign_detached(bad + 272, NULL, good, 208, payer.secret_key);
	assert_int_equal(judge(bad, UNTIL_S), PC_GRANT_FORGED);
}

static int parse_with(size_t at, uint8_t value)
{
	uint8_t bad[PC_GRANT_LEN];
	struct pc_grant g;

	memcpy(bad, good, sizeof(bad));
	bad[at] = value;
	return pc_grant_parse(bad, sizeof(bad), &g);
}

static void test_format(void **state)
{
	assert_int_equal(parse_with(3, '2'), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(4, 0), PC_ERR_VERSION);
	assert_int_equal(parse_with(4, 2), PC_ERR_VERSION);
	assert_int_equal(parse_with(5, PC_GRANT_TIERS - 1), 0);
	assert_int_equal(parse_with(5, PC_GRANT_TIERS), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(5, 255), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(6, 1), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(7, 1), PC_ERR_MALFORMED);
	/* Not before comes not after. */
	assert_int_equal(parse_with(152, 1), PC_ERR_MALFORMED);
	/* As the windows. */
	assert_int_equal(parse_with(176, 1), PC_ERR_MALFORMED);
	/* Letters, digits, then zeros. */
	assert_int_equal(parse_with(192, 'e'), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(192, 0), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(193, 0), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(195, '9'), 0);
	assert_int_equal(parse_with(196, 'X'), PC_ERR_MALFORMED);
	assert_int_equal(parse_with(195, 0x80), PC_ERR_MALFORMED);
}

static void test_make(void **state)
{
	uint8_t out[PC_GRANT_LEN];
	struct pc_grant g = terms, back;

	g.not_before_s = g.not_after_s + 1;
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), PC_ERR_RANGE);
	g.not_before_s = g.not_after_s;
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), 0);
	g.window_floor_kib = g.window_max_kib + 1;
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), PC_ERR_RANGE);
	g.window_floor_kib = g.window_max_kib;
	memcpy(g.currency, "", 1);
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), PC_ERR_RANGE);
	memset(g.currency, 0, sizeof(g.currency));
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), PC_ERR_RANGE);
	g.price = 0;
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), 0);
	memcpy(g.currency, "ABCDEFGH", 9);
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), 0);
	assert_int_equal(pc_grant_parse(out, sizeof(out), &back), 0);
	assert_string_equal(back.currency, "ABCDEFGH");
	g.currency[8] = 'I';
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), PC_ERR_RANGE);
	g.currency[8] = 0;
	g.tier = PC_GRANT_TIERS;
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, out), PC_ERR_RANGE);
	g.tier = PC_GRANT_FREE;
	/* Who signs is who is named. */
	assert_int_equal(pc_grant_make(&g, &payer, &issuer, out), PC_ERR_RANGE);
	assert_int_equal(pc_grant_make(&g, &issuer, &issuer, out), PC_ERR_RANGE);
}

static void test_judge(void **state)
{
	uint8_t bad[PC_GRANT_LEN], other[32] = { 5 };
	struct pc_grant g;

	assert_int_equal(judge(good, FROM_S - 1), PC_GRANT_EARLY);
	assert_int_equal(judge(good, FROM_S), PC_GRANT_GOOD);
	assert_int_equal(judge(good, UNTIL_S), PC_GRANT_GOOD);
	assert_int_equal(judge(good, UNTIL_S + 1), PC_GRANT_EXPIRED);
	assert_int_equal(judge(good, UINT64_MAX), PC_GRANT_EXPIRED);
	assert_int_equal(judge(good, 0), PC_GRANT_NO_CLOCK);
	assert_int_equal(pc_grant_judge(good, sizeof(good), other, terms.payer, FROM_S, &g),
			 PC_GRANT_FOREIGN);
	assert_int_equal(pc_grant_judge(good, sizeof(good), terms.relay, other, FROM_S, &g),
			 PC_GRANT_FOREIGN);
	/* Even without a clock: it is nobody's here. */
	assert_int_equal(pc_grant_judge(good, sizeof(good), other, terms.payer, 0, &g),
			 PC_GRANT_FOREIGN);
	assert_int_equal(pc_grant_judge(good, 208, terms.relay, terms.payer, FROM_S, &g),
			 PC_GRANT_MALFORMED);
	memcpy(bad, good, sizeof(bad));
	bad[0] = 0;
	assert_int_equal(judge(bad, FROM_S), PC_GRANT_MALFORMED);
	for (int v = 0; v < PC_GRANT_VERDICTS; v++)
		assert_non_null(pc_grant_verdict_name((enum pc_grant_verdict)v));
	/* For ever, and for a second. */
	g = terms;
	g.not_before_s = 0;
	g.not_after_s = UINT64_MAX;
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, bad), 0);
	assert_int_equal(judge(bad, UINT64_MAX), PC_GRANT_GOOD);
	assert_int_equal(judge(bad, 1), PC_GRANT_GOOD);
	g.not_before_s = g.not_after_s = FROM_S;
	assert_int_equal(pc_grant_make(&g, &issuer, &payer, bad), 0);
	assert_int_equal(judge(bad, FROM_S - 1), PC_GRANT_EARLY);
	assert_int_equal(judge(bad, FROM_S), PC_GRANT_GOOD);
	assert_int_equal(judge(bad, FROM_S + 1), PC_GRANT_EXPIRED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_round_trip, set_up),
		cmocka_unit_test_setup(test_bits, set_up),
		cmocka_unit_test_setup(test_format, set_up),
		cmocka_unit_test_setup(test_make, set_up),
		cmocka_unit_test_setup(test_judge, set_up),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
