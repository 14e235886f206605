/* SPDX-License-Identifier: MIT */
/*
 * A node's identity: an Ed25519 key, printed as libp2p peer id (12D3KooW...), did:key and base36
 * CID label (libp2p peer-ids specification; did:key method).
 */
#ifndef PC_ACCOUNT_IDENTITY_H
#define PC_ACCOUNT_IDENTITY_H

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
/*
 * Key file: one line "pcloud-ed25519-v1 HEXSEED", mode 0600. Load refuses files others can read
 * (PC_ERR_REFUSED) and malformed ones. Save writes a temporary file and renames; never replaces an
 * existing file (PC_ERR_EXISTS) unless @replace.
 */
int pc_identity_load(const char *path, struct pc_identity *ret_id);
int pc_identity_save(const char *path, const struct pc_identity *id, int replace);
void pc_identity_wipe(struct pc_identity *id);

const char *pc_peer_id_format(const uint8_t key[static 32], char buf[static PC_PEER_ID_STRLEN]);
const char *pc_did_format(const uint8_t key[static 32], char buf[static PC_DID_STRLEN]);
const char *pc_label_format(const uint8_t key[static 32], char buf[static PC_LABEL_STRLEN]);
/* Reads a peer id or a did:key. 0 or PC_ERR_MALFORMED. */
int pc_peer_id_parse(const char *text, uint8_t ret_key[static 32]);

#endif
