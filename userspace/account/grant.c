/* SPDX-License-Identifier: MIT */
#include "account/grant.h"

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "base/wire.h"

#define VERSION	    1
#define KEY_LEN	    32
#define DOMAIN	    "pcloud/grant/1"
#define MESSAGE_LEN (sizeof(DOMAIN) - 1 + PC_GRANT_STATEMENT_LEN)
#define AT_ISSUER   8 /* of the statement */
#define AT_PAYER    (AT_ISSUER + 2 * KEY_LEN)

static const uint8_t magic[4] = { 'P', 'C', 'G', '1' };

/* --- what may be in one --- */

/* Letters and digits, then zeros. @n bytes without an end of their own. */
static bool currency_valid(const char *text, size_t n, uint64_t price)
{
	size_t len = strnlen(text, n);

	for (size_t i = 0; i < n; i++) {
		bool letter =
			(text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= '0' && text[i] <= '9');

		if (i < len ? !letter : text[i] != 0)
			return false;
	}
	return len || price == 0;
}

static bool values_valid(const struct pc_grant *g)
{
	return (unsigned int)g->tier < PC_GRANT_TIERS && g->not_before_s <= g->not_after_s &&
	       g->window_floor_kib <= g->window_max_kib;
}

/* --- writing --- */

static void write_terms(struct pc_writer *w, const struct pc_grant *g)
{
	pc_write_bytes(w, g->issuer, KEY_LEN);
	pc_write_bytes(w, g->relay, KEY_LEN);
	pc_write_bytes(w, g->payer, KEY_LEN);
	pc_write_bytes(w, g->receipt, KEY_LEN);
	pc_write_bytes(w, g->allocation, sizeof(g->allocation));
	pc_write_u64(w, g->not_before_s);
	pc_write_u64(w, g->not_after_s);
	pc_write_u64(w, g->limit_bytes);
	pc_write_u32(w, g->window_floor_kib);
	pc_write_u32(w, g->window_max_kib);
	pc_write_u64(w, g->price);
	pc_write_bytes(w, g->currency, PC_GRANT_CURRENCY_LEN);
	pc_write_u16(w, g->weight_up);
	pc_write_u16(w, g->weight_down);
	pc_write_u32(w, g->free_rate_kib);
}

int pc_grant_write(const struct pc_grant *g, uint8_t ret_statement[static PC_GRANT_STATEMENT_LEN])
{
	struct pc_writer w;

	if (!values_valid(g) || g->currency[PC_GRANT_CURRENCY_LEN] != 0 ||
	    !currency_valid(g->currency, PC_GRANT_CURRENCY_LEN, g->price))
		return PC_ERR_RANGE;
	pc_writer_init(&w, ret_statement, PC_GRANT_STATEMENT_LEN);
	pc_write_bytes(&w, magic, sizeof(magic));
	pc_write_u8(&w, VERSION);
	pc_write_u8(&w, (uint8_t)g->tier);
	pc_write_u16(&w, 0);
	write_terms(&w, g);
	return 0;
}

static void message_of(const uint8_t statement[static PC_GRANT_STATEMENT_LEN],
		       uint8_t ret[static MESSAGE_LEN])
{
	memcpy(ret, DOMAIN, sizeof(DOMAIN) - 1);
	memcpy(ret + sizeof(DOMAIN) - 1, statement, PC_GRANT_STATEMENT_LEN);
}

int pc_grant_make(const struct pc_grant *g, const struct pc_identity *issuer,
		  const struct pc_identity *payer, uint8_t ret_grant[static PC_GRANT_LEN])
{
	uint8_t statement[PC_GRANT_STATEMENT_LEN], message[MESSAGE_LEN];
	uint8_t signatures[2][crypto_sign_BYTES];
	int rc = pc_grant_write(g, statement);

	if (rc < 0)
		return rc;
	if (memcmp(g->issuer, issuer->public_key, KEY_LEN) != 0 ||
	    memcmp(g->payer, payer->public_key, KEY_LEN) != 0)
		return PC_ERR_RANGE;
	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	message_of(statement, message);
	crypto_sign_detached(signatures[0], NULL, message, sizeof(message), issuer->secret_key);
	crypto_sign_detached(signatures[1], NULL, message, sizeof(message), payer->secret_key);
	memcpy(ret_grant, statement, sizeof(statement));
	memcpy(ret_grant + sizeof(statement), signatures, sizeof(signatures));
	return 0;
}

/* --- reading --- */

static void read_terms(struct pc_reader *r, struct pc_grant *g)
{
	pc_read_copy(r, g->issuer, KEY_LEN);
	pc_read_copy(r, g->relay, KEY_LEN);
	pc_read_copy(r, g->payer, KEY_LEN);
	pc_read_copy(r, g->receipt, KEY_LEN);
	pc_read_copy(r, g->allocation, sizeof(g->allocation));
	g->not_before_s = pc_read_u64(r);
	g->not_after_s = pc_read_u64(r);
	g->limit_bytes = pc_read_u64(r);
	g->window_floor_kib = pc_read_u32(r);
	g->window_max_kib = pc_read_u32(r);
	g->price = pc_read_u64(r);
	pc_read_copy(r, g->currency, PC_GRANT_CURRENCY_LEN);
	g->weight_up = pc_read_u16(r);
	g->weight_down = pc_read_u16(r);
	g->free_rate_kib = pc_read_u32(r);
}

int pc_grant_parse(const void *data, size_t len, struct pc_grant *ret_grant)
{
	struct pc_grant g = { 0 };
	uint8_t head[4], version;
	struct pc_reader r;
	uint16_t flags;

	pc_reader_init(&r, data, len);
	pc_read_copy(&r, head, sizeof(head));
	version = pc_read_u8(&r);
	g.tier = (enum pc_grant_tier)pc_read_u8(&r);
	flags = pc_read_u16(&r);
	read_terms(&r, &g);
	pc_read_skip(&r, PC_GRANT_LEN - PC_GRANT_STATEMENT_LEN);
	if (r.failed || pc_reader_left(&r) || memcmp(head, magic, sizeof(magic)) != 0)
		return PC_ERR_MALFORMED;
	if (version != VERSION)
		return PC_ERR_VERSION;
	if (flags != 0 || !values_valid(&g) ||
	    !currency_valid(g.currency, PC_GRANT_CURRENCY_LEN, g.price))
		return PC_ERR_MALFORMED;
	*ret_grant = g;
	return 0;
}

int pc_grant_verify(const uint8_t data[static PC_GRANT_LEN])
{
	const uint8_t *signatures = data + PC_GRANT_STATEMENT_LEN;
	uint8_t message[MESSAGE_LEN];

	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	message_of(data, message);
	if (crypto_sign_verify_detached(signatures, message, sizeof(message), data + AT_ISSUER) <
		    0 ||
	    crypto_sign_verify_detached(signatures + crypto_sign_BYTES, message, sizeof(message),
					data + AT_PAYER) < 0)
		return PC_ERR_AUTH;
	return 0;
}

/* --- judging --- */

enum pc_grant_verdict pc_grant_judge(const void *data, size_t len, const uint8_t relay[static 32],
				     const uint8_t payer[static 32], uint64_t now_s,
				     struct pc_grant *ret_grant)
{
	struct pc_grant g;

	if (pc_grant_parse(data, len, &g) < 0)
		return PC_GRANT_MALFORMED;
	if (memcmp(g.relay, relay, KEY_LEN) != 0 || memcmp(g.payer, payer, KEY_LEN) != 0)
		return PC_GRANT_FOREIGN;
	if (now_s == 0)
		return PC_GRANT_NO_CLOCK;
	if (now_s < g.not_before_s)
		return PC_GRANT_EARLY;
	if (now_s > g.not_after_s)
		return PC_GRANT_EXPIRED;
	if (pc_grant_verify(data) < 0)
		return PC_GRANT_FORGED;
	*ret_grant = g;
	return PC_GRANT_GOOD;
}

const char *pc_grant_verdict_name(enum pc_grant_verdict verdict)
{
	static const char *const names[PC_GRANT_VERDICTS] = {
		[PC_GRANT_GOOD] = "good",	[PC_GRANT_MALFORMED] = "malformed",
		[PC_GRANT_FOREIGN] = "foreign", [PC_GRANT_NO_CLOCK] = "no_clock",
		[PC_GRANT_EARLY] = "early",	[PC_GRANT_EXPIRED] = "expired",
		[PC_GRANT_FORGED] = "forged",
	};

	return names[verdict];
}
