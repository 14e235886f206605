/* SPDX-License-Identifier: MIT */
/* Identities: the published example both ways, the key file, what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "account/basex.h"
#include "account/identity.h"
#include "base/err.h"

/* One key in the three forms that the libp2p peer-id and did:key specifications define. */
#define PEER_ID "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
#define DID	"did:key:z6MkgXZvRh65tcAdLJTKdEvyqEv7ZBhn9C5BM68jw4cESKtH"
#define LABEL	"k51qzi5uqu5dgy8qsq67hbz73jqkw87l3fgf4a91qb0d9b5173tir7n4vxk1oe"

static char dir[64];

static const char *file_name(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void test_published_example(void **state)
{
	static const uint8_t start[] = { 0x1e, 0xd1, 0xe8, 0xfa };
	char peer_id[PC_PEER_ID_STRLEN], did[PC_DID_STRLEN], label[PC_LABEL_STRLEN];
	uint8_t from_peer_id[32], from_did[32];

	assert_int_equal(pc_peer_id_parse(PEER_ID, from_peer_id), 0);
	assert_memory_equal(from_peer_id, start, sizeof(start));
	assert_int_equal(pc_peer_id_parse(DID, from_did), 0);
	assert_memory_equal(from_did, from_peer_id, 32);
	assert_string_equal(pc_peer_id_format(from_peer_id, peer_id), PEER_ID);
	assert_string_equal(pc_did_format(from_peer_id, did), DID);
	assert_string_equal(pc_label_format(from_peer_id, label), LABEL);
}

static void test_every_key_survives(void **state)
{
	uint8_t key[32], back[32];
	char text[PC_DID_STRLEN];
	struct pc_identity id;

	for (int i = 0; i < 200; i++) {
		assert_int_equal(pc_identity_generate(&id), 0);
		memcpy(key, id.public_key, 32);
		if (i < 32)
			memset(key, i & 1 ? 0xff : 0, (size_t)i + 1); /* leading zeros, too */
		assert_int_equal(pc_peer_id_parse(pc_peer_id_format(key, text), back), 0);
		assert_memory_equal(back, key, 32);
		assert_int_equal(pc_peer_id_parse(pc_did_format(key, text), back), 0);
		assert_memory_equal(back, key, 32);
	}
}

static void test_malformed_ids(void **state)
{
	static const char *const texts[] = {
		"",
		"1",
		"12D3KooW",
		PEER_ID "1",
		"1" PEER_ID,
		"did:key:",
		"did:key:z",
		"did:key:Z6Mk",
		"0" PEER_ID,
		PEER_ID " ",
		LABEL,
		"did:key:" PEER_ID,
		"did:key:z" PEER_ID,
		/* a character changed: another value, but the prefix breaks or the length does */
		"22D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
		"12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pI",
		"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
		"111111111111111111111111111111111111111111111111111111111111111111111111111111111"
		"1",
	};
	uint8_t key[32];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(pc_peer_id_parse(texts[i], key), PC_ERR_MALFORMED);
}

static void test_basex(void **state)
{
	static const uint8_t zeros[] = { 0, 0, 1 };
	char text[16];
	uint8_t data[8];

	assert_int_equal(pc_basex_encode(pc_base58btc, "Hello World!", 12, text, sizeof(text)),
			 PC_ERR_RANGE);
	assert_int_equal(pc_basex_encode(pc_base58btc, "abc", 3, text, sizeof(text)), 0);
	assert_string_equal(text, "ZiCa");
	assert_int_equal(pc_basex_encode(pc_base58btc, zeros, 3, text, sizeof(text)), 0);
	assert_string_equal(text, "112");
	assert_int_equal(pc_basex_encode(pc_base36, zeros, 3, text, 4), 0);
	assert_string_equal(text, "001");
	assert_int_equal(pc_basex_encode(pc_base36, zeros, 3, text, 3), PC_ERR_RANGE);
	assert_int_equal(pc_basex_decode(pc_base36, "001", 3, data, 3), 0);
	assert_memory_equal(data, zeros, 3);
	assert_int_equal(pc_basex_decode(pc_base36, "01", 2, data, 3), PC_ERR_MALFORMED);
	assert_int_equal(pc_basex_decode(pc_base36, "001", 3, data, 2), PC_ERR_MALFORMED);
	assert_int_equal(pc_basex_encode(pc_base36, "", 0, text, 1), 0);
	assert_string_equal(text, "");
}

static void test_file(void **state)
{
	const char *path = file_name("identity.key");
	struct pc_identity a, b, c;
	struct stat st;

	assert_int_equal(pc_identity_generate(&a), 0);
	assert_int_equal(pc_identity_load(path, &b), -2 /* ENOENT */);
	assert_int_equal(pc_identity_save(path, &a, 0), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(pc_identity_load(path, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));

	assert_int_equal(pc_identity_generate(&c), 0);
	assert_int_equal(pc_identity_save(path, &c, 0), PC_ERR_EXISTS);
	assert_int_equal(pc_identity_load(path, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(pc_identity_save(path, &c, 1), 0);
	assert_int_equal(pc_identity_load(path, &b), 0);
	assert_memory_equal(&b, &c, sizeof(b));
	unlink(path);
	/* Nothing temporary is left behind: the directory can be removed at the end. */
}

static void test_bad_files(void **state)
{
	static const char hex[] =
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	static const char *const formats[] = {
		"",
		"pcloud-ed25519-v1 ",
		"pcloud-ed25519-v2 %s\n",
		"%s\n",
		"pcloud-ed25519-v1 %sff\n",
		"pcloud-ed25519-v1 %s\n\n",
		"pcloud-ed25519-v1 g%s",
		" pcloud-ed25519-v1 %s\n",
	};
	const char *path = file_name("bad.key");
	struct pc_identity id;
	char text[256];

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
		snprintf(text, sizeof(text), formats[i], hex);
#pragma GCC diagnostic pop
		write_file(path, text, 0600);
		assert_int_equal(pc_identity_load(path, &id), PC_ERR_MALFORMED);
	}
	snprintf(text, sizeof(text), "pcloud-ed25519-v1 %s\n", hex);
	write_file(path, text, 0640);
	assert_int_equal(pc_identity_load(path, &id), PC_ERR_REFUSED);
	write_file(path, text, 0604);
	assert_int_equal(pc_identity_load(path, &id), PC_ERR_REFUSED);
	write_file(path, text, 0600);
	assert_int_equal(pc_identity_load(path, &id), 0);
	assert_int_equal(pc_identity_load(dir, &id), PC_ERR_MALFORMED);
	unlink(path);
}

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/pc-identity-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return rmdir(dir); /* fails when a test left a file */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_example),
		cmocka_unit_test(test_every_key_survives),
		cmocka_unit_test(test_malformed_ids),
		cmocka_unit_test(test_basex),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_bad_files),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
