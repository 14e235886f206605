/* SPDX-License-Identifier: MIT */
/* Key files: our own, plain or sealed, and those of libp2p. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/wire.h"

#define PLAIN_MAGIC  "pcloud-ed25519-v1 "
#define SEALED_MAGIC "pcloud-ed25519-sealed-v1 "
#define SEED_LEN     crypto_sign_SEEDBYTES
#define KEY_LEN	     32
/* public key | Argon2id passes 4 | memory in KiB 4 | salt | nonce | sealed seed */
#define BOX_LEN	     (SEED_LEN + crypto_secretbox_MACBYTES)
#define SEALED_LEN   (KEY_LEN + 8 + crypto_pwhash_SALTBYTES + crypto_secretbox_NONCEBYTES + BOX_LEN)
#define KEY_LINE_MAX (sizeof(SEALED_MAGIC) + 2 * SEALED_LEN + 1)
#define FOREIGN_MAX  1024 /* of a foreign file */

/* Cost of a new file, and the most that an old one may ask for. */
#define PASSES	       3
#define MEMORY_KIB     65536
#define MAX_PASSES     64
#define MAX_MEMORY_KIB (1024 * 1024)

/* PrivateKey protobuf of libp2p: type (08) Ed25519 (01), data (12) of 64 or 96 bytes. */
static const uint8_t protobuf64[] = { 0x08, 0x01, 0x12, 0x40 };
static const uint8_t protobuf96[] = { 0x08, 0x01, 0x12, 0x60 };

/* --- reading --- */

/* Whoever else could have written it could have chosen the key. */
static bool owner_is_right(const char *path, const struct stat *st)
{
	uid_t self = geteuid();
	struct stat parent;
	char copy[4096];

	if (st->st_uid == self || st->st_uid == 0)
		return true;
	if (self != 0 || snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return false;
	/* The daemon's directory belongs to the user it runs as. */
	return stat(dirname(copy), &parent) == 0 && parent.st_uid == st->st_uid;
}

static int read_file(const char *path, char *buf, size_t size, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return PC_ERR_MALFORMED;
	if ((st.st_mode & 077) || !owner_is_right(path, &st))
		return PC_ERR_REFUSED;
	n = read(fd, buf, size);
	if (n < 0)
		return -errno;
	*ret_len = (size_t)n;
	return 0;
}

int pc_passphrase_load(const char *path, char buf[static PC_PASSPHRASE_MAX + 2],
		       struct pc_passphrase *ret_passphrase)
{
	size_t len;
	int rc = read_file(path, buf, PC_PASSPHRASE_MAX + 2, &len);

	if (rc < 0)
		return rc;
	if (len && buf[len - 1] == '\n')
		len--;
	if (len == 0 || len > PC_PASSPHRASE_MAX)
		return PC_ERR_RANGE;
	*ret_passphrase = (struct pc_passphrase){ buf, len };
	return 0;
}

/* @size of @ret more than a key has, so that longer ones are noticed. */
static int parse_psk(const char *text, size_t len, uint8_t *ret, size_t size)
{
	bool hex = len == 2 * PC_PSK_LEN && pc_parse_hex(text, ret, PC_PSK_LEN) == 0;
	const char *end = text + len;
	size_t n = PC_PSK_LEN;

	if (!hex && (sodium_base642bin(ret, size, text, len, NULL, &n, &end,
				       sodium_base64_VARIANT_ORIGINAL) < 0 ||
		     end != text + len))
		return PC_ERR_MALFORMED;
	return n != PC_PSK_LEN || sodium_is_zero(ret, PC_PSK_LEN) ? PC_ERR_RANGE : 0;
}

int pc_psk_load(const char *path, uint8_t ret_psk[static PC_PSK_LEN])
{
	char text[4 * PC_PSK_LEN + 1] = "";
	uint8_t key[3 * PC_PSK_LEN];
	size_t len;
	int rc = read_file(path, text, sizeof(text) - 1, &len);

	if (rc == 0 && len && text[len - 1] == '\n')
		text[--len] = '\0';
	if (rc == 0)
		rc = len ? parse_psk(text, len, key, sizeof(key)) : PC_ERR_RANGE;
	if (rc == 0)
		memcpy(ret_psk, key, PC_PSK_LEN);
	sodium_memzero(text, sizeof(text));
	sodium_memzero(key, sizeof(key));
	return rc;
}

const char *pc_psk_error(int rc)
{
	switch (rc) {
	case PC_ERR_REFUSED:
		return "others can read it, or it is somebody else's; its mode has to be 0600";
	case PC_ERR_MALFORMED:
	case PC_ERR_RANGE:
		return "a pre-shared key is 32 bytes, not all zero, as base64 or hexadecimal "
		       "digits";
	default:
		return pc_strerror(rc);
	}
}

/* What follows @magic, as @len bytes: the whole text, a newline may be missing. */
static int parse_line(const char *text, size_t text_len, const char *magic, uint8_t *ret,
		      size_t len)
{
	size_t magic_len = strlen(magic);
	char hex[2 * SEALED_LEN + 1];
	int rc;

	if (text_len && text[text_len - 1] == '\n')
		text_len--;
	if (text_len != magic_len + 2 * len || memcmp(text, magic, magic_len) != 0)
		return PC_ERR_MALFORMED;
	memcpy(hex, text + magic_len, 2 * len);
	hex[2 * len] = '\0';
	rc = pc_parse_hex(hex, ret, len);
	sodium_memzero(hex, sizeof(hex));
	return rc;
}

static int derive(const struct pc_passphrase *p, const uint8_t *salt, uint32_t passes,
		  uint32_t memory_kib, uint8_t ret_key[static crypto_secretbox_KEYBYTES])
{
	if (crypto_pwhash(ret_key, crypto_secretbox_KEYBYTES, p->text, p->len, salt, passes,
			  (size_t)memory_kib * 1024, crypto_pwhash_ALG_ARGON2ID13) < 0)
		return -ENOMEM;
	return 0;
}

static int unseal(const uint8_t sealed[static SEALED_LEN], const struct pc_passphrase *passphrase,
		  struct pc_identity *ret_id)
{
	uint8_t key[crypto_secretbox_KEYBYTES], seed[SEED_LEN];
	const uint8_t *public_key, *salt, *nonce, *box;
	uint32_t passes, memory_kib;
	struct pc_identity id;
	struct pc_reader r;
	int rc;

	if (!passphrase)
		return PC_ERR_LOCKED;
	pc_reader_init(&r, sealed, SEALED_LEN);
	public_key = pc_read_bytes(&r, KEY_LEN);
	passes = pc_read_u32(&r);
	memory_kib = pc_read_u32(&r);
	salt = pc_read_bytes(&r, crypto_pwhash_SALTBYTES);
	nonce = pc_read_bytes(&r, crypto_secretbox_NONCEBYTES);
	box = pc_read_bytes(&r, BOX_LEN);
	if (passes < 1 || passes > MAX_PASSES || memory_kib < 8 || memory_kib > MAX_MEMORY_KIB)
		return PC_ERR_RANGE;
	rc = derive(passphrase, salt, passes, memory_kib, key);
	if (rc == 0 && crypto_secretbox_open_easy(seed, box, BOX_LEN, nonce, key) < 0)
		rc = PC_ERR_AUTH;
	if (rc == 0)
		rc = pc_identity_from_seed(seed, &id);
	/* The public key in front is not sealed. */
	if (rc == 0 && memcmp(id.public_key, public_key, KEY_LEN) != 0)
		rc = PC_ERR_MALFORMED;
	if (rc == 0)
		*ret_id = id;
	sodium_memzero(key, sizeof(key));
	sodium_memzero(seed, sizeof(seed));
	sodium_memzero(&id, sizeof(id));
	return rc;
}

static int parse_own(const char *text, size_t len, const struct pc_passphrase *passphrase,
		     struct pc_identity *ret_id)
{
	uint8_t seed[SEED_LEN], sealed[SEALED_LEN];
	int rc = parse_line(text, len, PLAIN_MAGIC, seed, sizeof(seed));

	if (rc == 0)
		rc = pc_identity_from_seed(seed, ret_id);
	else if (parse_line(text, len, SEALED_MAGIC, sealed, sizeof(sealed)) == 0)
		rc = unseal(sealed, passphrase, ret_id);
	sodium_memzero(seed, sizeof(seed));
	return rc;
}

int pc_identity_load_sealed(const char *path, const struct pc_passphrase *passphrase,
			    struct pc_identity *ret_id)
{
	char text[KEY_LINE_MAX];
	size_t len;
	int rc = sodium_init() < 0 ? PC_ERR_UNSUPPORTED : 0;

	if (rc == 0)
		rc = read_file(path, text, sizeof(text), &len);
	if (rc == 0)
		rc = parse_own(text, len, passphrase, ret_id);
	sodium_memzero(text, sizeof(text));
	return rc;
}

int pc_identity_load(const char *path, struct pc_identity *ret_id)
{
	return pc_identity_load_sealed(path, NULL, ret_id);
}

int pc_identity_load_public(const char *path, uint8_t ret_key[static 32])
{
	uint8_t sealed[SEALED_LEN];
	struct pc_identity id;
	char text[KEY_LINE_MAX];
	size_t len;
	int rc = read_file(path, text, sizeof(text), &len);

	if (rc == 0 && parse_line(text, len, SEALED_MAGIC, sealed, sizeof(sealed)) == 0) {
		memcpy(ret_key, sealed, KEY_LEN);
	} else if (rc == 0) {
		rc = parse_own(text, len, NULL, &id);
		if (rc == 0)
			memcpy(ret_key, id.public_key, KEY_LEN);
		pc_identity_wipe(&id);
	}
	sodium_memzero(text, sizeof(text));
	return rc;
}

/* --- keys of libp2p --- */

/* seed || public, once more public in old files; all copies must belong to the seed. */
static int parse_key(const uint8_t *data, size_t len, struct pc_identity *ret_id)
{
	struct pc_identity id;
	int rc = pc_identity_from_seed(data, &id);

	for (size_t at = SEED_LEN; rc == 0 && at < len; at += KEY_LEN) {
		if (memcmp(data + at, id.public_key, KEY_LEN) != 0)
			rc = PC_ERR_MALFORMED;
	}
	if (rc == 0)
		*ret_id = id;
	pc_identity_wipe(&id);
	return rc;
}

static int parse_protobuf(const uint8_t *data, size_t len, struct pc_identity *ret_id)
{
	if (len == 68 && memcmp(data, protobuf64, sizeof(protobuf64)) == 0)
		return parse_key(data + 4, 64, ret_id);
	if (len == 100 && memcmp(data, protobuf96, sizeof(protobuf96)) == 0)
		return parse_key(data + 4, 96, ret_id);
	/* RSA (0), secp256k1 (2), ECDSA (3) */
	if (len > 4 && data[0] == 0x08 && data[1] <= 3 && data[1] != 1 && data[2] == 0x12)
		return PC_ERR_UNSUPPORTED;
	return PC_ERR_MALFORMED;
}

static int parse_foreign(const char *text, size_t len, struct pc_identity *ret_id)
{
	uint8_t data[FOREIGN_MAX];
	const char *end;
	size_t n;
	int rc = parse_protobuf((const uint8_t *)text, len, ret_id);

	if (rc != PC_ERR_MALFORMED)
		return rc;
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	/* What is hexadecimal throughout could be base64, but no key of either form is both. */
	if (sodium_hex2bin(data, sizeof(data), text, len, NULL, &n, &end) == 0 &&
	    end == text + len) {
		rc = n == 64 ? parse_key(data, n, ret_id) : parse_protobuf(data, n, ret_id);
	} else if (sodium_base642bin(data, sizeof(data), text, len, NULL, &n, &end,
				     sodium_base64_VARIANT_ORIGINAL) == 0 &&
		   end == text + len) {
		rc = parse_protobuf(data, n, ret_id);
	}
	sodium_memzero(data, sizeof(data));
	return rc;
}

int pc_identity_load_foreign(const char *path, const struct pc_passphrase *passphrase,
			     struct pc_identity *ret_id)
{
	char text[FOREIGN_MAX];
	size_t len;
	int rc = sodium_init() < 0 ? PC_ERR_UNSUPPORTED : 0;

	if (rc == 0)
		rc = read_file(path, text, sizeof(text), &len);
	if (rc == 0) {
		rc = parse_own(text, len, passphrase, ret_id);
		if (rc == PC_ERR_MALFORMED)
			rc = parse_foreign(text, len, ret_id);
	}
	sodium_memzero(text, sizeof(text));
	return rc;
}

/* --- writing --- */

static int write_all(int fd, const char *line, size_t len)
{
	ssize_t n = write(fd, line, len);

	if (n < 0)
		return -errno;
	if (n != (ssize_t)len)
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

static int save_line(const char *path, const char *line, size_t len, bool replace)
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
	rc = write_all(fd, line, len);
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

/* "MAGIC HEX\n" */
static int save_hex(const char *path, const char *magic, const uint8_t *data, size_t len,
		    bool replace)
{
	size_t magic_len = strlen(magic);
	char line[KEY_LINE_MAX];
	int rc;

	memcpy(line, magic, magic_len);
	pc_format_hex(data, len, line + magic_len);
	line[magic_len + 2 * len] = '\n';
	rc = save_line(path, line, magic_len + 2 * len + 1, replace);
	sodium_memzero(line, sizeof(line));
	return rc;
}

int pc_identity_save(const char *path, const struct pc_identity *id, int replace)
{
	return save_hex(path, PLAIN_MAGIC, id->secret_key, SEED_LEN, replace);
}

int pc_identity_save_sealed(const char *path, const struct pc_identity *id,
			    const struct pc_passphrase *passphrase, bool replace)
{
	uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES];
	uint8_t key[crypto_secretbox_KEYBYTES], box[BOX_LEN], sealed[SEALED_LEN];
	struct pc_writer w;
	int rc;

	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	randombytes_buf(salt, sizeof(salt));
	randombytes_buf(nonce, sizeof(nonce));
	rc = derive(passphrase, salt, PASSES, MEMORY_KIB, key);
	if (rc < 0)
		return rc;
	crypto_secretbox_easy(box, id->secret_key, SEED_LEN, nonce, key);
	sodium_memzero(key, sizeof(key));
	pc_writer_init(&w, sealed, sizeof(sealed));
	pc_write_bytes(&w, id->public_key, KEY_LEN);
	pc_write_u32(&w, PASSES);
	pc_write_u32(&w, MEMORY_KIB);
	pc_write_bytes(&w, salt, sizeof(salt));
	pc_write_bytes(&w, nonce, sizeof(nonce));
	pc_write_bytes(&w, box, sizeof(box));
	return save_hex(path, SEALED_MAGIC, sealed, sizeof(sealed), replace);
}
