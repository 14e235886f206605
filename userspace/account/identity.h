/* SPDX-License-Identifier: MIT */
/*
 * A node's identity: an Ed25519 key, printed as libp2p peer id (12D3KooW...), did:key and base36
 * CID label (libp2p peer-ids specification; did:key method). Key files, and the record that lets
 * one key follow another.
 */
#ifndef PC_ACCOUNT_IDENTITY_H
#define PC_ACCOUNT_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_identity {
	uint8_t public_key[32];
	uint8_t secret_key[64]; /* libsodium's form: seed || public */
};

#define PC_PEER_ID_STRLEN 64
#define PC_DID_STRLEN	  80
#define PC_LABEL_STRLEN	  80

int pc_identity_generate(struct pc_identity *ret_id);
int pc_identity_from_seed(const uint8_t seed[static 32], struct pc_identity *ret_id);
void pc_identity_wipe(struct pc_identity *id);
/*
 * The X25519 secret of the identity's Noise handshakes: made of its seed, so that it is the same
 * after a restart and needs no file of its own.
 */
void pc_identity_static_secret(const struct pc_identity *id, uint8_t ret_secret[static 32]);

/* --- key files (identity_file.c) --- */

/* A passphrase: any bytes. NULL where none is given. */
struct pc_passphrase {
	const char *text;
	size_t len; /* at least 1 */
};

#define PC_PASSPHRASE_MAX 512
/*
 * The one line of a file, without its end, into @buf, which @ret_passphrase then borrows. Its
 * permissions are judged like those of a key file. PC_ERR_RANGE: empty or too long.
 */
int pc_passphrase_load(const char *path, char buf[static PC_PASSPHRASE_MAX + 2],
		       struct pc_passphrase *ret_passphrase);
/*
 * A pre-shared key: 32 bytes, not all zero, as base64 or hexadecimal digits in one line. Its
 * permissions are judged like those of a key file: PC_ERR_REFUSED. PC_ERR_RANGE: another size, or
 * zeros; PC_ERR_MALFORMED.
 */
#define PC_PSK_LEN 32
int pc_psk_load(const char *path, uint8_t ret_psk[static PC_PSK_LEN]);
/* What a code of it means, for the user. */
const char *pc_psk_error(int rc);
/*
 * Key file: one line, "pcloud-ed25519-v1 HEXSEED", or sealed by a passphrase (Argon2id and
 * XSalsa20-Poly1305) "pcloud-ed25519-sealed-v1 HEX"; mode 0600.
 *
 * Load refuses files that others can read, or that belong to somebody else, with PC_ERR_REFUSED:
 * the owner must be the user of the process or root, or, for root, the owner of the directory.
 * PC_ERR_MALFORMED; of a sealed file PC_ERR_LOCKED without a passphrase and PC_ERR_AUTH with a
 * wrong one. A passphrase is ignored where the file is not sealed.
 */
int pc_identity_load(const char *path, struct pc_identity *ret_id);
int pc_identity_load_sealed(const char *path, const struct pc_passphrase *passphrase,
			    struct pc_identity *ret_id);
/* The public key alone: needs no passphrase. A sealed file could lie about it. */
int pc_identity_load_public(const char *path, uint8_t ret_key[static 32]);
/*
 * The same for a file of another origin: also a libp2p private key (protobuf, type Ed25519) as
 * base64, hexadecimal or bytes, and its 64 bytes of key in hexadecimal, as Peer Compute has them.
 * PC_ERR_UNSUPPORTED: a key of another type.
 */
int pc_identity_load_foreign(const char *path, const struct pc_passphrase *passphrase,
			     struct pc_identity *ret_id);
/*
 * Writes a temporary file and renames; never replaces an existing file (PC_ERR_EXISTS) unless
 * @replace.
 */
int pc_identity_save(const char *path, const struct pc_identity *id, int replace);
int pc_identity_save_sealed(const char *path, const struct pc_identity *id,
			    const struct pc_passphrase *passphrase, bool replace);

/* --- texts --- */

const char *pc_peer_id_format(const uint8_t key[static 32], char buf[static PC_PEER_ID_STRLEN]);
const char *pc_did_format(const uint8_t key[static 32], char buf[static PC_DID_STRLEN]);
const char *pc_label_format(const uint8_t key[static 32], char buf[static PC_LABEL_STRLEN]);
/*
 * Reads a peer id, a did:key or a label (in any case: DNS has none). 0 or PC_ERR_MALFORMED. The
 * key is 32 bytes, whether or not it is a point of the curve.
 */
int pc_peer_id_parse(const char *text, uint8_t ret_key[static 32]);

/* --- succession (identity_succession.c) --- */

/*
 * Says that one identity follows another: the old key signs the new one, and the new one signs the
 * old one, so nobody can give away, or take, what is not theirs. Big-endian, one valid encoding:
 * magic "PCI1" 4 | version 1 (1) | kind 1 (1: succession) | flags 2 (0) | old key 32 | new key 32 |
 * time 8 (milliseconds since 1970; 0: unknown) | signature of the old key 64 | of the new key 64.
 * Both sign "pcloud/1 succession" followed by the first 80 bytes.
 */
#define PC_SUCCESSION_LEN 208

struct pc_succession {
	uint8_t old_key[32];
	uint8_t new_key[32];
	uint64_t time_ms;
};

/* 0, or PC_ERR_RANGE when both are the same key. */
int pc_succession_make(const struct pc_identity *old_id, const struct pc_identity *new_id,
		       uint64_t time_ms, uint8_t ret_record[static PC_SUCCESSION_LEN]);
/* 0, PC_ERR_MALFORMED, PC_ERR_VERSION or PC_ERR_AUTH (a signature is wrong). */
int pc_succession_check(const void *record, size_t len, struct pc_succession *ret);

#endif
