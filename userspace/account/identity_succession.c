/* SPDX-License-Identifier: MIT */
/* One identity follows another: a record signed by both keys. */
#include <string.h>

#include <sodium.h>

#include "account/identity.h"
#include "base/err.h"
#include "base/wire.h"

#define KEY_LEN	    32
#define SIGNED_LEN  80
#define VERSION	    1
#define KIND	    1
#define DOMAIN	    "pcloud/1 succession"
#define MESSAGE_LEN (sizeof(DOMAIN) - 1 + SIGNED_LEN)

static const uint8_t magic[4] = { 'P', 'C', 'I', '1' };

static void message_of(const uint8_t record[static SIGNED_LEN], uint8_t ret[static MESSAGE_LEN])
{
	memcpy(ret, DOMAIN, sizeof(DOMAIN) - 1);
	memcpy(ret + sizeof(DOMAIN) - 1, record, SIGNED_LEN);
}

int pc_succession_make(const struct pc_identity *old_id, const struct pc_identity *new_id,
		       uint64_t time_ms, uint8_t ret_record[static PC_SUCCESSION_LEN])
{
	uint8_t message[MESSAGE_LEN], signature[crypto_sign_BYTES];
	struct pc_writer w;

	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	if (memcmp(old_id->public_key, new_id->public_key, KEY_LEN) == 0)
		return PC_ERR_RANGE;
	pc_writer_init(&w, ret_record, PC_SUCCESSION_LEN);
	pc_write_bytes(&w, magic, sizeof(magic));
	pc_write_u8(&w, VERSION);
	pc_write_u8(&w, KIND);
	pc_write_u16(&w, 0);
	pc_write_bytes(&w, old_id->public_key, KEY_LEN);
	pc_write_bytes(&w, new_id->public_key, KEY_LEN);
	pc_write_u64(&w, time_ms);
	message_of(ret_record, message);
	crypto_sign_detached(signature, NULL, message, sizeof(message), old_id->secret_key);
	pc_write_bytes(&w, signature, sizeof(signature));
	crypto_sign_detached(signature, NULL, message, sizeof(message), new_id->secret_key);
	pc_write_bytes(&w, signature, sizeof(signature));
	return 0;
}

int pc_succession_check(const void *record, size_t len, struct pc_succession *ret)
{
	uint8_t message[MESSAGE_LEN], version, kind, head[4];
	const uint8_t *old_signature, *new_signature;
	struct pc_succession s;
	struct pc_reader r;
	uint16_t flags;

	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	pc_reader_init(&r, record, len);
	pc_read_copy(&r, head, sizeof(head));
	version = pc_read_u8(&r);
	kind = pc_read_u8(&r);
	flags = pc_read_u16(&r);
	pc_read_copy(&r, s.old_key, KEY_LEN);
	pc_read_copy(&r, s.new_key, KEY_LEN);
	s.time_ms = pc_read_u64(&r);
	old_signature = pc_read_bytes(&r, crypto_sign_BYTES);
	new_signature = pc_read_bytes(&r, crypto_sign_BYTES);
	if (r.failed || memcmp(head, magic, sizeof(magic)) != 0)
		return PC_ERR_MALFORMED;
	if (version != VERSION)
		return PC_ERR_VERSION;
	if (kind != KIND || flags != 0 || pc_reader_left(&r) != 0 ||
	    memcmp(s.old_key, s.new_key, KEY_LEN) == 0)
		return PC_ERR_MALFORMED;
	message_of(record, message);
	if (crypto_sign_verify_detached(old_signature, message, sizeof(message), s.old_key) < 0 ||
	    crypto_sign_verify_detached(new_signature, message, sizeof(message), s.new_key) < 0)
		return PC_ERR_AUTH;
	*ret = s;
	return 0;
}
