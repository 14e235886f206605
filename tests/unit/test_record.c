/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "daemon/record.h"

static struct pc_record in, out;
static uint8_t buf[PC_RECORD_MAX];

static void fill(size_t n_permissions, size_t n_channels)
{
	struct pc_turn_record *t = &in.turn;

	memset(&in, 0, sizeof(in));
	t->id = 0x0123456789abcdefull;
	t->slot = 4711;
	t->tenant = 3;
	t->path.listener = 2;
	t->path.server = (struct pc_addr){ .ip = pc_ip4(192, 0, 2, 1), .port = 3478 };
	t->path.client = (struct pc_addr){ .ip = { .family = 6, .b = { 0x20, 1, [15] = 9 } },
					   .port = 40000 };
	t->relayed[0] = (struct pc_addr){ .ip = pc_ip4(192, 0, 2, 1), .port = 50000 };
	t->expires_ns = 1ull << 60;
	t->relayed_expires_ns[0] = 1ull << 59;
	t->relayed_shared[1] = true;
	t->created_ns = 12345;
	memset(t->txid, 0x5a, sizeof(t->txid));
	t->integrity256 = true;
	t->algorithm = PC_AUTH_SHA256;
	t->key.len = 32;
	memset(t->key.b, 0xa5, 32);
	t->quota = (struct pc_turn_quota){ 1, 2, 3, 4 };
	t->username_len = 7;
	memcpy(t->username, "a\0b:c\"\n", 7);
	for (size_t i = 0; i < n_permissions; i++) {
		in.permissions[i].peer = (struct pc_ip){ .family = 6, .b = { 0x20, (uint8_t)i } };
		in.permissions[i].expires_ns = i;
	}
	for (size_t i = 0; i < n_channels; i++) {
		in.channels[i].number = (uint16_t)(0x4000 + i);
		in.channels[i].peer.ip = (struct pc_ip){ .family = 6, .b = { 0x20, (uint8_t)i } };
		in.channels[i].peer.port = (uint16_t)(i + 1);
		in.channels[i].expires_ns = i * 2;
	}
	t->permissions = in.permissions;
	t->n_permissions = n_permissions;
	t->channels = in.channels;
	t->n_channels = n_channels;
}

static void check_equal(void)
{
	struct pc_turn_record a = in.turn, b = out.turn;

	assert_int_equal(a.n_permissions, b.n_permissions);
	assert_int_equal(a.n_channels, b.n_channels);
	assert_memory_equal(in.permissions, out.permissions,
			    a.n_permissions * sizeof(in.permissions[0]));
	assert_memory_equal(in.channels, out.channels, a.n_channels * sizeof(in.channels[0]));
	assert_int_equal(b.path.listener, UINT32_MAX);
	assert_true(a.id == b.id && a.slot == b.slot && a.tenant == b.tenant);
	assert_true(pc_addr_equal(&a.path.server, &b.path.server));
	assert_true(pc_addr_equal(&a.path.client, &b.path.client));
	assert_true(pc_addr_equal(&a.relayed[0], &b.relayed[0]));
	assert_true(pc_addr_equal(&a.relayed[1], &b.relayed[1]));
	assert_true(a.expires_ns == b.expires_ns && a.created_ns == b.created_ns);
	assert_memory_equal(a.relayed_expires_ns, b.relayed_expires_ns,
			    sizeof(a.relayed_expires_ns));
	assert_true(a.relayed_shared[0] == b.relayed_shared[0]);
	assert_true(a.relayed_shared[1] == b.relayed_shared[1]);
	assert_memory_equal(a.txid, b.txid, sizeof(a.txid));
	assert_int_equal(a.integrity256, b.integrity256);
	assert_int_equal(a.algorithm, b.algorithm);
	assert_int_equal(a.key.len, b.key.len);
	assert_memory_equal(a.key.b, b.key.b, a.key.len);
	assert_memory_equal(&a.quota, &b.quota, sizeof(a.quota));
	assert_int_equal(a.username_len, b.username_len);
	assert_memory_equal(a.username, b.username, (size_t)a.username_len + 1);
}

static void test_round_trip(void **state)
{
	size_t len;

	fill(0, 0);
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	assert_true(len > 0);
	assert_int_equal(pc_record_decode(buf, len, &out), 0);
	check_equal();
	fill(3, 2);
	in.turn.relayed[1] = (struct pc_addr){ .ip = { .family = 6, .b = { 0x20 } }, .port = 7 };
	in.turn.relayed_expires_ns[1] = 1ull << 60;
	in.turn.integrity256 = false;
	in.turn.algorithm = PC_AUTH_MD5;
	in.turn.key.len = 16;
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	assert_int_equal(pc_record_decode(buf, len, &out), 0);
	check_equal();
}

static void test_largest(void **state)
{
	size_t len;

	fill(PC_TURN_MAX_PERMISSIONS, PC_TURN_MAX_CHANNELS);
	in.turn.relayed[1] = in.turn.path.client;
	in.turn.username_len = PC_AUTH_NAME_MAX;
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	assert_true(len > 0);
	assert_int_equal(pc_record_decode(buf, len, &out), 0);
	check_equal();
	assert_int_equal(pc_record_encode(&in.turn, buf, len - 1), 0);
}

/* What earlier versions wrote: without shared addresses, and without an end of each. */
static void test_old_versions(void **state)
{
	/* version, id, slot, tenant, server, client (IPv6), relayed, none, expires */
	const size_t at = 1 + 8 + 4 + 4 + 7 + 19 + 7 + 1 + 8;
	size_t len;

	fill(3, 2);
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	memmove(buf + at + 16, buf + at + 17, len - at - 17);
	buf[0] = 2;
	assert_int_equal(pc_record_decode(buf, len - 1, &out), 0);
	in.turn.relayed_shared[1] = false;
	check_equal();
	memmove(buf + at, buf + at + 16, len - at - 17);
	buf[0] = 1;
	assert_int_equal(pc_record_decode(buf, len - 17, &out), 0);
	in.turn.relayed_expires_ns[0] = 0;
	check_equal();
}

/* Cut anywhere, or with a byte too many: refused, and nothing is read beyond the end. */
static void test_cut(void **state)
{
	size_t len;

	fill(2, 2);
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	for (size_t i = 0; i < len; i++) {
		uint8_t *exact = malloc(i ? i : 1);

		memcpy(exact, buf, i);
		assert_true(pc_record_decode(exact, i, &out) < 0);
		free(exact);
	}
	buf[len] = 0;
	assert_int_equal(pc_record_decode(buf, len + 1, &out), PC_ERR_MALFORMED);
}

static void test_refused(void **state)
{
	size_t len;

	fill(0, 0);
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	buf[0] = 4;
	assert_int_equal(pc_record_decode(buf, len, &out), PC_ERR_VERSION);
	buf[0] = 0;
	assert_int_equal(pc_record_decode(buf, len, &out), PC_ERR_VERSION);
	in.turn.path.server.ip.family = 0;
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	assert_int_equal(pc_record_decode(buf, len, &out), PC_ERR_MALFORMED);
	fill(0, 0);
	in.turn.key.len = 16; /* not that of SHA-256 */
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	assert_int_equal(pc_record_decode(buf, len, &out), PC_ERR_MALFORMED);
	fill(0, 0);
	len = pc_record_encode(&in.turn, buf, sizeof(buf));
	buf[len - 1] = 0xff; /* 255 channels, none there */
	assert_int_equal(pc_record_decode(buf, len, &out), PC_ERR_SHORT);
	buf[len - 2] = 0xff; /* 65535 of them */
	assert_int_equal(pc_record_decode(buf, len, &out), PC_ERR_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_largest),
		cmocka_unit_test(test_old_versions), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
