/* SPDX-License-Identifier: MIT */
#include "account/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "account/basex.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"

#define FILE_MAGIC "pcloud-ed25519-v1 "
#define MAGIC_LEN  (sizeof(FILE_MAGIC) - 1)
#define SEED_LEN   crypto_sign_SEEDBYTES
#define LINE_LEN   (MAGIC_LEN + 2 * SEED_LEN + 1) /* with the newline */
#define KEY_LEN	   32

/* Identity multihash (00, 36 bytes) of a protobuf PublicKey: type Ed25519 (08 01), data (12 20). */
static const uint8_t multihash_prefix[] = { 0x00, 0x24, 0x08, 0x01, 0x12, 0x20 };
/* Multicodec ed25519-pub. */
static const uint8_t did_prefix[] = { 0xed, 0x01 };
/* CIDv1, multicodec libp2p-key. */
static const uint8_t cid_prefix[] = { 0x01, 0x72 };
static const char did_scheme[] = "did:key:z";

int pc_identity_from_seed(const uint8_t seed[static 32], struct pc_identity *ret_id)
{
	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	crypto_sign_seed_keypair(ret_id->public_key, ret_id->secret_key, seed);
	return 0;
}

int pc_identity_generate(struct pc_identity *ret_id)
{
	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	crypto_sign_keypair(ret_id->public_key, ret_id->secret_key);
	return 0;
}

void pc_identity_wipe(struct pc_identity *id)
{
	sodium_memzero(id, sizeof(*id));
}

/* --- the key file --- */

static int parse_line(const char *line, size_t len, struct pc_identity *ret_id)
{
	char hex[2 * SEED_LEN + 1];
	uint8_t seed[SEED_LEN];
	int rc;

	/* The newline may be missing: people copy the line by hand. */
	if (len == LINE_LEN && line[len - 1] == '\n')
		len--;
	if (len != LINE_LEN - 1 || memcmp(line, FILE_MAGIC, MAGIC_LEN) != 0)
		return PC_ERR_MALFORMED;
	memcpy(hex, line + MAGIC_LEN, 2 * SEED_LEN);
	hex[2 * SEED_LEN] = '\0';
	rc = pc_parse_hex(hex, seed, sizeof(seed));
	if (rc == 0)
		rc = pc_identity_from_seed(seed, ret_id);
	sodium_memzero(hex, sizeof(hex));
	sodium_memzero(seed, sizeof(seed));
	return rc;
}

int pc_identity_load(const char *path, struct pc_identity *ret_id)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char line[LINE_LEN + 1];
	struct stat st;
	ssize_t n;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return PC_ERR_MALFORMED;
	if (st.st_mode & 077)
		return PC_ERR_REFUSED;
	n = read(fd, line, sizeof(line));
	if (n < 0)
		return -errno;
	rc = parse_line(line, (size_t)n, ret_id);
	sodium_memzero(line, sizeof(line));
	return rc;
}

static int write_line(int fd, const struct pc_identity *id)
{
	char line[LINE_LEN + 1];
	ssize_t n;

	memcpy(line, FILE_MAGIC, MAGIC_LEN);
	pc_format_hex(id->secret_key, SEED_LEN, line + MAGIC_LEN);
	line[LINE_LEN - 1] = '\n';
	n = write(fd, line, LINE_LEN);
	sodium_memzero(line, sizeof(line));
	if (n < 0)
		return -errno;
	if (n != (ssize_t)LINE_LEN)
		return -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}

/* Makes the new name itself durable. */
static void sync_directory(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = -1;

	if (!copy)
		return;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
}

int pc_identity_save(const char *path, const struct pc_identity *id, int replace)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = -1;
	int rc;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return -errno;
	rc = write_line(fd, id);
	/* link() is the rename that refuses to replace. */
	if (rc == 0 && replace)
		rc = rename(temporary, path) < 0 ? -errno : 0;
	else if (rc == 0 && link(temporary, path) < 0)
		rc = errno == EEXIST ? PC_ERR_EXISTS : -errno;
	if (rc < 0 || !replace)
		unlink(temporary);
	if (rc == 0)
		sync_directory(path);
	return rc;
}

/* --- texts --- */

static void multihash_of(const uint8_t key[static KEY_LEN], uint8_t *ret /* prefix and key */)
{
	memcpy(ret, multihash_prefix, sizeof(multihash_prefix));
	memcpy(ret + sizeof(multihash_prefix), key, KEY_LEN);
}

const char *pc_peer_id_format(const uint8_t key[static 32], char buf[static PC_PEER_ID_STRLEN])
{
	uint8_t multihash[sizeof(multihash_prefix) + KEY_LEN];

	multihash_of(key, multihash);
	if (pc_basex_encode(pc_base58btc, multihash, sizeof(multihash), buf, PC_PEER_ID_STRLEN) < 0)
		buf[0] = '\0';
	return buf;
}

const char *pc_did_format(const uint8_t key[static 32], char buf[static PC_DID_STRLEN])
{
	const size_t scheme_len = sizeof(did_scheme) - 1;
	uint8_t data[sizeof(did_prefix) + KEY_LEN];

	memcpy(data, did_prefix, sizeof(did_prefix));
	memcpy(data + sizeof(did_prefix), key, KEY_LEN);
	memcpy(buf, did_scheme, scheme_len);
	if (pc_basex_encode(pc_base58btc, data, sizeof(data), buf + scheme_len,
			    PC_DID_STRLEN - scheme_len) < 0)
		buf[0] = '\0';
	return buf;
}

const char *pc_label_format(const uint8_t key[static 32], char buf[static PC_LABEL_STRLEN])
{
	uint8_t cid[sizeof(cid_prefix) + sizeof(multihash_prefix) + KEY_LEN];

	memcpy(cid, cid_prefix, sizeof(cid_prefix));
	multihash_of(key, cid + sizeof(cid_prefix));
	buf[0] = 'k';
	if (pc_basex_encode(pc_base36, cid, sizeof(cid), buf + 1, PC_LABEL_STRLEN - 1) < 0)
		buf[0] = '\0';
	return buf;
}

int pc_peer_id_parse(const char *text, uint8_t ret_key[static 32])
{
	uint8_t data[sizeof(multihash_prefix) + KEY_LEN];
	const uint8_t *prefix = multihash_prefix;
	size_t prefix_len = sizeof(multihash_prefix);
	int rc;

	if (strncmp(text, did_scheme, sizeof(did_scheme) - 1) == 0) {
		text += sizeof(did_scheme) - 1;
		prefix = did_prefix;
		prefix_len = sizeof(did_prefix);
	}
	rc = pc_basex_decode(pc_base58btc, text, strnlen(text, PC_DID_STRLEN), data,
			     prefix_len + KEY_LEN);
	if (rc < 0)
		return rc;
	if (memcmp(data, prefix, prefix_len) != 0)
		return PC_ERR_MALFORMED;
	memcpy(ret_key, data + prefix_len, KEY_LEN);
	return 0;
}
