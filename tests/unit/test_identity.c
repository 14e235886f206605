/* SPDX-License-Identifier: MIT */
/* Identities: the published example both ways, the key file, what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "account/basex.h"
#include "account/identity.h"
#include "base/err.h"
#include "base/parse.h"

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
	memset(from_did, 0, sizeof(from_did));
	assert_int_equal(pc_peer_id_parse(LABEL, from_did), 0);
	assert_memory_equal(from_did, from_peer_id, 32);
	/* DNS does not keep the case. */
	for (size_t i = 0; i <= sizeof(LABEL) - 1; i++)
		label[i] = (char)toupper((unsigned char)label[i]);
	assert_int_equal(pc_peer_id_parse(label, from_did), 0);
	assert_memory_equal(from_did, from_peer_id, 32);
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
		assert_int_equal(pc_peer_id_parse(pc_label_format(key, text), back), 0);
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
		"k",
		"K51",
		LABEL "0",
		"k0" LABEL,
		"did:key:" LABEL,
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

/* The private key that libp2p's specification publishes with the peer id above. */
#define LIBP2P_SEED   "7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
#define LIBP2P_PUBLIC "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
#define LIBP2P_BASE64                                                  \
	"CAESQH4IMGF8Sn3oOSXfsmlFVrEpNsR3oOH+suFI7J2mD+59HtHo+uLEoUS4" \
	"vo/UtHvz07NLhxw8rPYBDw5C1HT84n4="

static void test_libp2p_keys(void **state)
{
	static const char *const good[] = {
		LIBP2P_BASE64,
		LIBP2P_BASE64 "\n",
		LIBP2P_BASE64 " \r\n",
		"08011240" LIBP2P_SEED LIBP2P_PUBLIC,
		"08011260" LIBP2P_SEED LIBP2P_PUBLIC LIBP2P_PUBLIC "\n",
		LIBP2P_SEED LIBP2P_PUBLIC,
		"pcloud-ed25519-v1 " LIBP2P_SEED,
	};
	static const char *const bad[] = {
		"",
		LIBP2P_BASE64 "=",
		LIBP2P_BASE64 LIBP2P_BASE64,
		/* not the public key of the seed */
		"08011240" LIBP2P_SEED LIBP2P_SEED,
		"08011260" LIBP2P_SEED LIBP2P_PUBLIC LIBP2P_SEED,
		"08011240" LIBP2P_SEED LIBP2P_PUBLIC "00",
		"08011260" LIBP2P_SEED LIBP2P_PUBLIC,
		"08011220" LIBP2P_PUBLIC,
		LIBP2P_SEED,
		"hello",
	};
	const char *path = file_name("libp2p.key");
	char peer_id[PC_PEER_ID_STRLEN];
	uint8_t bytes[68];
	struct pc_identity id;
	FILE *f;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		memset(&id, 0, sizeof(id));
		write_file(path, good[i], 0600);
		assert_int_equal(pc_identity_load_foreign(path, NULL, &id), 0);
		assert_string_equal(pc_peer_id_format(id.public_key, peer_id), PEER_ID);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(path, bad[i], 0600);
		assert_int_equal(pc_identity_load_foreign(path, NULL, &id), PC_ERR_MALFORMED);
	}
	write_file(path, "08021220" LIBP2P_SEED, 0600); /* secp256k1 */
	assert_int_equal(pc_identity_load_foreign(path, NULL, &id), PC_ERR_UNSUPPORTED);
	write_file(path, good[0], 0644);
	assert_int_equal(pc_identity_load_foreign(path, NULL, &id), PC_ERR_REFUSED);
	/* Bytes, as on disk of libp2p itself. */
	assert_int_equal(pc_parse_hex("08011240" LIBP2P_SEED LIBP2P_PUBLIC, bytes, 68), 0);
	assert_int_equal(chmod(path, 0600), 0);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, sizeof(bytes), f), sizeof(bytes));
	fclose(f);
	assert_int_equal(pc_identity_load_foreign(path, NULL, &id), 0);
	assert_string_equal(pc_peer_id_format(id.public_key, peer_id), PEER_ID);
	/* The node's own file is of the own form only. */
	assert_int_equal(pc_identity_load(path, &id), PC_ERR_MALFORMED);
	unlink(path);
}

static void test_sealed(void **state)
{
	const struct pc_passphrase right = { "correct horse", 13 }, wrong = { "correct hors", 12 };
	const char *path = file_name("sealed.key");
	struct pc_identity id, back;
	uint8_t key[32];
	char line[512];
	FILE *f;

	assert_int_equal(pc_identity_generate(&id), 0);
	assert_int_equal(pc_identity_save_sealed(path, &id, &right, false), 0);
	assert_int_equal(pc_identity_save_sealed(path, &id, &right, false), PC_ERR_EXISTS);
	memset(&back, 7, sizeof(back));
	assert_int_equal(pc_identity_load(path, &back), PC_ERR_LOCKED);
	assert_int_equal(pc_identity_load_sealed(path, &wrong, &back), PC_ERR_AUTH);
	assert_int_equal(back.public_key[0], 7); /* untouched */
	assert_int_equal(pc_identity_load_sealed(path, &right, &back), 0);
	assert_memory_equal(&back, &id, sizeof(id));
	assert_int_equal(pc_identity_load_foreign(path, &right, &back), 0);
	assert_int_equal(pc_identity_load_public(path, key), 0);
	assert_memory_equal(key, id.public_key, 32);

	/* The seed is not in the file, the public key is: changed, it is found out. */
	f = fopen(path, "r+");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	assert_int_equal(strlen(line), strlen("pcloud-ed25519-sealed-v1 ") + 256 + 1);
	line[30] = line[30] == '0' ? '1' : '0';
	rewind(f);
	fputs(line, f);
	fclose(f);
	assert_int_equal(pc_identity_load_sealed(path, &right, &back), PC_ERR_MALFORMED);
	/* A file may not ask for all memory there is. */
	memset(line + strlen("pcloud-ed25519-sealed-v1 ") + 64 + 8, 'f', 8);
	write_file(path, line, 0600);
	assert_int_equal(pc_identity_load_sealed(path, &right, &back), PC_ERR_RANGE);

	/* A plain file needs no passphrase. */
	assert_int_equal(pc_identity_save(path, &id, 1), 0);
	assert_int_equal(pc_identity_load_sealed(path, &right, &back), 0);
	assert_int_equal(pc_identity_load_public(path, key), 0);
	assert_memory_equal(key, id.public_key, 32);
	unlink(path);
}

static void test_passphrase_file(void **state)
{
	const char *path = file_name("passphrase");
	char buf[PC_PASSPHRASE_MAX + 2], long_line[PC_PASSPHRASE_MAX + 2];
	struct pc_passphrase p;

	write_file(path, "a b\n", 0600);
	assert_int_equal(pc_passphrase_load(path, buf, &p), 0);
	assert_int_equal(p.len, 3);
	assert_memory_equal(p.text, "a b", 3);
	write_file(path, "\n", 0600);
	assert_int_equal(pc_passphrase_load(path, buf, &p), PC_ERR_RANGE);
	memset(long_line, 'x', sizeof(long_line));
	long_line[PC_PASSPHRASE_MAX + 1] = '\0';
	write_file(path, long_line, 0600);
	assert_int_equal(pc_passphrase_load(path, buf, &p), PC_ERR_RANGE);
	long_line[PC_PASSPHRASE_MAX] = '\0';
	write_file(path, long_line, 0600);
	assert_int_equal(pc_passphrase_load(path, buf, &p), 0);
	assert_int_equal(p.len, PC_PASSPHRASE_MAX);
	write_file(path, "a", 0620);
	assert_int_equal(pc_passphrase_load(path, buf, &p), PC_ERR_REFUSED);
	unlink(path);
}

static int psk_of(const char *text, unsigned int mode, uint8_t ret_psk[static PC_PSK_LEN])
{
	const char *path = file_name("psk");
	int rc;

	write_file(path, text, mode);
	rc = pc_psk_load(path, ret_psk);
	unlink(path);
	return rc;
}

static void test_psk_file(void **state)
{
	/* 1 to 32, as base64 and as hexadecimal digits. */
	const char *b64 = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n";
	const char *hex = "0102030405060708090a0b0c0d0e0f101112131415161718191a1B1C1D1E1F20";
	uint8_t psk[PC_PSK_LEN];

	for (int i = 0; i < 2; i++) {
		memset(psk, 0, sizeof(psk));
		assert_int_equal(psk_of(i ? hex : b64, 0600, psk), 0);
		for (uint8_t k = 0; k < PC_PSK_LEN; k++)
			assert_int_equal(psk[k], k + 1);
	}
	memset(psk, 9, sizeof(psk));
	assert_int_equal(psk_of(b64, 0640, psk), PC_ERR_REFUSED);
	assert_int_equal(psk_of(b64, 0604, psk), PC_ERR_REFUSED);
	assert_int_equal(psk_of("", 0600, psk), PC_ERR_RANGE);
	assert_int_equal(psk_of("\n", 0600, psk), PC_ERR_RANGE);
	assert_int_equal(psk_of("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==", 0600, psk),
			 PC_ERR_RANGE); /* 31 */
	assert_int_equal(psk_of("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh", 0600, psk),
			 PC_ERR_RANGE); /* 33 */
	assert_int_equal(psk_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0600, psk),
			 PC_ERR_RANGE);
	assert_int_equal(psk_of("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA= x", 0600, psk),
			 PC_ERR_MALFORMED);
	assert_int_equal(psk_of("not a key", 0600, psk), PC_ERR_MALFORMED);
	assert_int_equal(pc_psk_load("/nonexistent", psk), -ENOENT);
	for (size_t i = 0; i < sizeof(psk); i++)
		assert_int_equal(psk[i], 9);
}

/* Somebody else's file, though nobody else can read it. */
static void test_owner(void **state)
{
	const char *path = file_name("owner.key");
	struct pc_identity id;

	if (geteuid() != 0) {
		print_message("# the owner cannot be changed: not root\n");
		return;
	}
	assert_int_equal(pc_identity_generate(&id), 0);
	assert_int_equal(pc_identity_save(path, &id, 0), 0);
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_int_equal(pc_identity_load(path, &id), PC_ERR_REFUSED);
	/* Root looks into a state directory that was given to the daemon's user. */
	assert_int_equal(chown(dir, 65534, 65534), 0);
	assert_int_equal(pc_identity_load(path, &id), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(pc_identity_load(path, &id), 0);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chown(dir, 0, 0), 0);
	unlink(path);
}

static void test_succession(void **state)
{
	uint8_t record[PC_SUCCESSION_LEN + 1] = { 0 }, twin[PC_SUCCESSION_LEN];
	struct pc_identity a, b;
	struct pc_succession s;

	assert_int_equal(pc_identity_generate(&a), 0);
	assert_int_equal(pc_identity_generate(&b), 0);
	assert_int_equal(pc_succession_make(&a, &a, 1, record), PC_ERR_RANGE);
	assert_int_equal(pc_succession_make(&a, &b, 1234567890123, record), 0);
	assert_int_equal(pc_succession_check(record, PC_SUCCESSION_LEN, &s), 0);
	assert_memory_equal(s.old_key, a.public_key, 32);
	assert_memory_equal(s.new_key, b.public_key, 32);
	assert_true(s.time_ms == 1234567890123);
	/* Any changed byte, any other length. */
	for (size_t i = 0; i < PC_SUCCESSION_LEN; i++) {
		int rc;

		record[i] ^= 1;
		rc = pc_succession_check(record, PC_SUCCESSION_LEN, &s);
		assert_int_equal(rc, i < 4 || (i > 4 && i < 8) ? PC_ERR_MALFORMED
				     : i == 4		       ? PC_ERR_VERSION
							       : PC_ERR_AUTH);
		record[i] ^= 1;
	}
	assert_int_equal(pc_succession_check(record, PC_SUCCESSION_LEN - 1, &s), PC_ERR_MALFORMED);
	assert_int_equal(pc_succession_check(record, PC_SUCCESSION_LEN + 1, &s), PC_ERR_MALFORMED);
	assert_int_equal(pc_succession_check(record, 0, &s), PC_ERR_MALFORMED);
	/* The signatures are those of both, not twice that of one. */
	memcpy(twin, record, sizeof(twin));
	memcpy(twin + 144, twin + 80, 64);
	assert_int_equal(pc_succession_check(twin, sizeof(twin), &s), PC_ERR_AUTH);
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
		cmocka_unit_test(test_libp2p_keys),
		cmocka_unit_test(test_sealed),
		cmocka_unit_test(test_passphrase_file),
		cmocka_unit_test(test_psk_file),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_succession),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
