/* SPDX-License-Identifier: MIT */
#include "account/identity.h"

#include <string.h>

#include <sodium.h>

#include "account/basex.h"
#include "base/err.h"

#define KEY_LEN 32

/* Identity multihash (00, 36 bytes) of a protobuf PublicKey: type Ed25519 (08 01), data (12 20). */
static const uint8_t multihash_prefix[] = { 0x00, 0x24, 0x08, 0x01, 0x12, 0x20 };
/* Multicodec ed25519-pub. */
static const uint8_t did_prefix[] = { 0xed, 0x01 };
/* CIDv1 (01), multicodec libp2p-key (72), the multihash. */
static const uint8_t label_prefix[] = { 0x01, 0x72, 0x00, 0x24, 0x08, 0x01, 0x12, 0x20 };
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

void pc_identity_static_secret(const struct pc_identity *id, uint8_t ret_secret[static 32])
{
	static const uint8_t label[] = "pcloud/1 static secret";

	/* The seed is the first half of libsodium's secret key. */
	crypto_generichash(ret_secret, 32, label, sizeof(label) - 1, id->secret_key, 32);
}

void pc_identity_wipe(struct pc_identity *id)
{
	sodium_memzero(id, sizeof(*id));
}

/* --- texts --- */

const char *pc_peer_id_format(const uint8_t key[static 32], char buf[static PC_PEER_ID_STRLEN])
{
	uint8_t multihash[sizeof(multihash_prefix) + KEY_LEN];

	memcpy(multihash, multihash_prefix, sizeof(multihash_prefix));
	memcpy(multihash + sizeof(multihash_prefix), key, KEY_LEN);
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
	uint8_t cid[sizeof(label_prefix) + KEY_LEN];

	memcpy(cid, label_prefix, sizeof(label_prefix));
	memcpy(cid + sizeof(label_prefix), key, KEY_LEN);
	buf[0] = 'k';
	if (pc_basex_encode(pc_base36, cid, sizeof(cid), buf + 1, PC_LABEL_STRLEN - 1) < 0)
		buf[0] = '\0';
	return buf;
}

/* The three forms that are read. The scheme tells them apart; none is the start of another. */
static const struct {
	const char *scheme;
	const char *alphabet;
	const uint8_t *prefix;
	size_t prefix_len;
} forms[] = {
	{ did_scheme, pc_base58btc, did_prefix, sizeof(did_prefix) },
	{ "k", pc_base36, label_prefix, sizeof(label_prefix) },
	{ "", pc_base58btc, multihash_prefix, sizeof(multihash_prefix) },
};

/* Labels come out of DNS, where case is lost. False: too long for one. */
static bool lower_label(const char *text, char ret[static PC_LABEL_STRLEN])
{
	size_t len = strnlen(text, PC_LABEL_STRLEN);

	if (len == PC_LABEL_STRLEN)
		return false;
	for (size_t i = 0; i <= len; i++)
		ret[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 'a' - 'A') : text[i];
	return true;
}

int pc_peer_id_parse(const char *text, uint8_t ret_key[static 32])
{
	uint8_t data[sizeof(label_prefix) + KEY_LEN];
	char label[PC_LABEL_STRLEN];
	size_t i = 0, len;
	int rc;

	/* A peer id of an Ed25519 key begins with 1, never with K. */
	if ((text[0] == 'k' || text[0] == 'K') && !lower_label(text, label))
		return PC_ERR_MALFORMED;
	if (text[0] == 'k' || text[0] == 'K')
		text = label;
	while (strncmp(text, forms[i].scheme, strlen(forms[i].scheme)) != 0)
		i++;
	text += strlen(forms[i].scheme);
	len = forms[i].prefix_len;
	rc = pc_basex_decode(forms[i].alphabet, text, strnlen(text, PC_DID_STRLEN), data,
			     len + KEY_LEN);
	if (rc < 0)
		return rc;
	if (memcmp(data, forms[i].prefix, len) != 0)
		return PC_ERR_MALFORMED;
	memcpy(ret_key, data + len, KEY_LEN);
	return 0;
}
