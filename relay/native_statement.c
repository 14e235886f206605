/* SPDX-License-Identifier: MIT */
#include "relay/native_statement.h"

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "base/wire.h"

#define DOMAIN	    "pcloud/1 static key"
#define MESSAGE_LEN (sizeof(DOMAIN) - 1 + 32 + 32 + 16)

static void message_of(const struct pc_statement *s, const uint8_t static_key[static 32],
		       uint8_t ret[static MESSAGE_LEN])
{
	struct pc_writer w;

	pc_writer_init(&w, ret, MESSAGE_LEN);
	pc_write_bytes(&w, DOMAIN, sizeof(DOMAIN) - 1);
	pc_write_bytes(&w, s->identity, 32);
	pc_write_bytes(&w, static_key, 32);
	pc_write_u64(&w, s->not_before_s);
	pc_write_u64(&w, s->not_after_s);
}

void pc_statement_make(const uint8_t secret_key[static 64], const uint8_t static_key[static 32],
		       uint64_t not_before_s, uint64_t not_after_s,
		       uint8_t ret[static PC_STATEMENT_LEN])
{
	struct pc_statement s = { .not_before_s = not_before_s, .not_after_s = not_after_s };
	uint8_t message[MESSAGE_LEN], signature[crypto_sign_BYTES];
	struct pc_writer w;

	memcpy(s.identity, secret_key + 32, 32);
	message_of(&s, static_key, message);
	crypto_sign_detached(signature, NULL, message, sizeof(message), secret_key);
	pc_writer_init(&w, ret, PC_STATEMENT_LEN);
	pc_write_bytes(&w, s.identity, 32);
	pc_write_u64(&w, not_before_s);
	pc_write_u64(&w, not_after_s);
	pc_write_bytes(&w, signature, sizeof(signature));
}

int pc_statement_check(const void *data, size_t len, const uint8_t static_key[static 32],
		       uint64_t realtime_s, struct pc_statement *ret)
{
	uint8_t message[MESSAGE_LEN];
	const uint8_t *signature;
	struct pc_statement s;
	struct pc_reader r;

	pc_reader_init(&r, data, len);
	pc_read_copy(&r, s.identity, 32);
	s.not_before_s = pc_read_u64(&r);
	s.not_after_s = pc_read_u64(&r);
	signature = pc_read_bytes(&r, crypto_sign_BYTES);
	if (r.failed || pc_reader_left(&r) || s.not_after_s < s.not_before_s)
		return PC_ERR_MALFORMED;
	message_of(&s, static_key, message);
	if (crypto_sign_verify_detached(signature, message, sizeof(message), s.identity) < 0)
		return PC_ERR_AUTH;
	if (realtime_s && (realtime_s < s.not_before_s || realtime_s > s.not_after_s))
		return PC_ERR_RANGE;
	*ret = s;
	return 0;
}
