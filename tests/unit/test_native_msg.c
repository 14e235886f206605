/* SPDX-License-Identifier: MIT */
/* Control messages and statements: both ways, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "base/wire.h"
#include "relay/native_msg.h"
#include "relay/native_statement.h"

#define ALL_FIELDS (((1u << PC_NATIVE_F_COUNT) - 1) & ~1u)

static uint8_t blob[PC_NATIVE_GRANT_LEN];

/* A message of @type with every field there is. */
static struct pc_native_msg everything(uint16_t type)
{
	struct pc_native_msg m = {
		.type = type,
		.has = ALL_FIELDS,
		.version = 1,
		.reason = 2,
		.about = 3,
		.mtu = 1400,
		.call = 5,
		.pipe = 0xfffffff0,
		.pipe_to = 7,
		.lifetime_s = 8,
		.capabilities = 1ull << 63,
		.token = 10,
		.up = 11,
		.down = 12,
		.observed = { .ip = pc_ip4(1, 2, 3, 4), .port = 5 },
		.relayed = { .ip = { .family = 6, .b = { 0x20, 1 } }, .port = 65535 },
		.remote = { .ip = pc_ip4(9, 9, 9, 9), .port = 53 },
		.n_candidates = 2,
		.peer = blob,
		.grant = blob,
		.receipt = blob,
		.statement = blob,
		.service = (const uint8_t *)"udp:51820",
		.service_len = 9,
	};

	m.candidates[0] = m.observed;
	m.candidates[1] = m.relayed;
	return m;
}

static size_t write_one(const struct pc_native_msg *m, uint8_t *buf, size_t size)
{
	struct pc_writer w;

	pc_writer_init(&w, buf, size);
	pc_native_msg_write(&w, m);
	assert_false(w.failed);
	return w.len;
}

static int read_one(const uint8_t *buf, size_t len, struct pc_native_msg *ret)
{
	struct pc_reader r;

	pc_reader_init(&r, buf, len);
	return pc_native_msg_read(&r, ret);
}

static void test_round_trip(void **state)
{
	uint8_t buf[1200], again[1200];

	for (uint16_t type = 1; type < PC_NATIVE_TYPE_COUNT; type++) {
		struct pc_native_msg m = everything(type), back = { 0 };
		size_t len = write_one(&m, buf, sizeof(buf));

		assert_int_equal(read_one(buf, len, &back), 0);
		assert_int_equal(back.type, type);
		assert_int_equal(back.has, m.has);
		assert_int_equal(back.pipe, m.pipe);
		assert_true(back.capabilities == m.capabilities);
		assert_memory_equal(&back.relayed, &m.relayed, sizeof(m.relayed));
		assert_int_equal(back.n_candidates, 2);
		assert_memory_equal(back.service, "udp:51820", 9);
		/* One encoding: what was read is written the same. */
		assert_int_equal(write_one(&back, again, sizeof(again)), len);
		assert_memory_equal(buf, again, len);
		/* Cut anywhere. */
		for (size_t cut = 1; cut < len; cut++)
			assert_int_equal(read_one(buf, cut, &back), PC_ERR_MALFORMED);
	}
}

/* Without each field in turn: refused exactly where it is needed. */
static void test_required(void **state)
{
	unsigned int needed = 0;
	uint8_t buf[1200];

	for (uint16_t type = 1; type < PC_NATIVE_TYPE_COUNT; type++) {
		for (unsigned int f = 1; f < PC_NATIVE_F_COUNT; f++) {
			struct pc_native_msg m = everything(type), back;
			int rc;

			m.has &= ~(1u << f);
			if (f == PC_NATIVE_F_CANDIDATE)
				m.n_candidates = 0;
			rc = read_one(buf, write_one(&m, buf, sizeof(buf)), &back);
			assert_true(rc == 0 || rc == PC_ERR_MALFORMED);
			needed += rc != 0;
		}
	}
	assert_int_equal(needed, 38);
}

static void put(struct pc_writer *w, uint16_t type, const void *value, uint16_t len)
{
	pc_write_u16(w, type);
	pc_write_u16(w, len);
	pc_write_bytes(w, value, len);
}

/* A heartbeat with one more field of @type. */
static int with_field(uint16_t type, const void *value, uint16_t len, struct pc_native_msg *ret)
{
	uint8_t fields[512], buf[600], token[8] = { 0, 0, 0, 0, 0, 0, 0, 9 };
	struct pc_writer w;
	size_t n;

	pc_writer_init(&w, fields, sizeof(fields));
	put(&w, type, value, len);
	put(&w, PC_NATIVE_F_TOKEN, token, sizeof(token));
	n = w.len;
	pc_writer_init(&w, buf, sizeof(buf));
	put(&w, PC_NATIVE_HEARTBEAT, fields, (uint16_t)n);
	return read_one(buf, w.len, ret);
}

static void test_fields(void **state)
{
	static const uint8_t zeros[256], seven[] = { 0, 0, 0, 0, 0, 0, 0, 7 };
	static const uint8_t v5[] = { 5, 0, 0, 1, 1, 2, 3, 4 }, v4[] = { 4, 0, 0, 1, 1, 2, 3, 4 };
	static const uint8_t v4_odd[] = { 4, 1, 0, 1, 1, 2, 3, 4 };
	struct pc_native_msg m;

	/* Unknown: optional ones are skipped, others not. */
	assert_int_equal(with_field(0x7000, zeros, 5, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(0xf000, zeros, 5, &m), 0);
	assert_true(m.token == 9);
	assert_int_equal(with_field(PC_NATIVE_F_PADDING, zeros, 200, &m), 0);
	assert_true(m.token == 9);
	/* The first counts. */
	assert_int_equal(with_field(PC_NATIVE_F_TOKEN, seven, 8, &m), 0);
	assert_true(m.token == 7);
	/* Lengths are exact. */
	assert_int_equal(with_field(PC_NATIVE_F_MTU, zeros, 1, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_MTU, zeros, 3, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_PEER, zeros, 31, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_PEER, zeros, 33, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_SERVICE, zeros, 0, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_SERVICE, zeros, 63, &m), 0);
	assert_int_equal(with_field(PC_NATIVE_F_SERVICE, zeros, 64, &m), PC_ERR_MALFORMED);
	/* Addresses. */
	assert_int_equal(with_field(PC_NATIVE_F_OBSERVED, v4, 8, &m), 0);
	assert_int_equal(with_field(PC_NATIVE_F_OBSERVED, v4, 7, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_OBSERVED, v5, 8, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_OBSERVED, v4_odd, 8, &m), PC_ERR_MALFORMED);
	/* 0 is no pipe. */
	assert_int_equal(with_field(PC_NATIVE_F_PIPE, zeros, 4, &m), PC_ERR_MALFORMED);
	assert_int_equal(with_field(PC_NATIVE_F_PIPE_TO, zeros, 4, &m), PC_ERR_MALFORMED);
}

static void test_many_candidates(void **state)
{
	struct pc_native_msg m = { .type = PC_NATIVE_CANDIDATES,
				   .has = 1u << PC_NATIVE_F_PIPE_TO | 1u << PC_NATIVE_F_CANDIDATE,
				   .pipe_to = 1,
				   .n_candidates = PC_NATIVE_MAX_CANDIDATES };
	uint8_t buf[600];
	size_t len;

	for (unsigned int i = 0; i < PC_NATIVE_MAX_CANDIDATES; i++)
		m.candidates[i] =
			(struct pc_addr){ .ip = pc_ip4(1, 1, 1, 1), .port = (uint16_t)(i + 1) };
	len = write_one(&m, buf, sizeof(buf));
	/* Two more behind them: left out. */
	memcpy(buf + len, buf + len - 24, 24);
	buf[3] = (uint8_t)(len - 4 + 24);
	assert_int_equal(read_one(buf, len + 24, &m), 0);
	assert_int_equal(m.n_candidates, PC_NATIVE_MAX_CANDIDATES);
	assert_int_equal(m.candidates[7].port, 8);
}

static void test_sequence(void **state)
{
	struct pc_native_msg m = everything(PC_NATIVE_METER), back = { 0 };
	uint8_t buf[3000];
	struct pc_reader r;
	struct pc_writer w;

	pc_writer_init(&w, buf, sizeof(buf));
	pc_native_msg_write(&w, &m);
	put(&w, 0x7001, "unknown", 7);
	put(&w, PC_NATIVE_METER, "bad", 3);
	pc_native_msg_write(&w, &m);
	pc_reader_init(&r, buf, w.len);
	assert_int_equal(pc_native_msg_read(&r, &back), 0);
	assert_int_equal(pc_native_msg_read(&r, &back), PC_ERR_UNKNOWN);
	assert_int_equal(back.type, 0x7001);
	assert_int_equal(pc_native_msg_read(&r, &back), PC_ERR_MALFORMED);
	assert_int_equal(back.type, PC_NATIVE_METER);
	assert_int_equal(pc_native_msg_read(&r, &back), 0);
	assert_int_equal(pc_native_msg_read(&r, &back), PC_ERR_NOT_FOUND);
}

static void test_statement(void **state)
{
	uint8_t public_key[32], secret_key[64], seed[32] = { 1 }, key[32] = { 2 },
						other[32] = { 3 };
	uint8_t s[PC_STATEMENT_LEN];
	struct pc_statement who;

	crypto_sign_seed_keypair(public_key, secret_key, seed);
	pc_statement_make(secret_key, key, 100, 200, s);
	assert_int_equal(pc_statement_check(s, sizeof(s), key, 150, &who), 0);
	assert_memory_equal(who.identity, public_key, 32);
	assert_int_equal(pc_statement_check(s, sizeof(s), key, 100, &who), 0);
	assert_int_equal(pc_statement_check(s, sizeof(s), key, 200, &who), 0);
	assert_int_equal(pc_statement_check(s, sizeof(s), key, 99, &who), PC_ERR_RANGE);
	assert_int_equal(pc_statement_check(s, sizeof(s), key, 201, &who), PC_ERR_RANGE);
	assert_int_equal(pc_statement_check(s, sizeof(s), key, 0, &who), 0); /* no clock */
	assert_int_equal(pc_statement_check(s, sizeof(s), other, 150, &who), PC_ERR_AUTH);
	assert_int_equal(pc_statement_check(s, sizeof(s) - 1, key, 150, &who), PC_ERR_MALFORMED);
	for (size_t i = 0; i < sizeof(s); i++) {
		s[i] ^= 1;
		assert_true(pc_statement_check(s, sizeof(s), key, 0, &who) < 0);
		s[i] ^= 1;
	}
	pc_statement_make(secret_key, key, 200, 100, s);
	assert_int_equal(pc_statement_check(s, sizeof(s), key, 0, &who), PC_ERR_MALFORMED);
}

static void test_reasons(void **state)
{
	for (uint16_t i = 0; i <= PC_NATIVE_R_NO_CLOCK; i++)
		assert_string_not_equal(pc_native_reason_text(i), "unknown reason");
	assert_string_equal(pc_native_reason_text(PC_NATIVE_R_NO_CLOCK + 1), "unknown reason");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_required),
		cmocka_unit_test(test_fields),	   cmocka_unit_test(test_many_candidates),
		cmocka_unit_test(test_sequence),   cmocka_unit_test(test_statement),
		cmocka_unit_test(test_reasons),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
