/* SPDX-License-Identifier: MIT */
/* What both session machines are made of: identity, static key, and the statement that binds them.
 */
#include <string.h>

#include <sodium.h>

#include "agent.h"
#include "base/err.h"

#define HEARTBEAT_NS (10 * PC_NS_PER_S) /* a NAT that forgot us is noticed so soon */
#define STATEMENT_S  (7 * 86400ull)

static void make_statement(struct agent *a, const uint8_t static_public[static 32],
			   uint8_t ret[static PC_STATEMENT_LEN])
{
	uint64_t now = a->realtime_s, end = now ? now + STATEMENT_S : UINT64_MAX;

	a->statement_end_s = end;
	pc_statement_make(a->id.secret_key, static_public, now > 86400 ? now - 86400 : 0, end, ret);
}

int native_config(struct agent *a, struct pc_native_config *ret_config)
{
	struct pc_native_config c = { .max_links = MAX_PEERS,
				      .handshakes_per_s = 200,
				      .source_handshakes_per_s = 20,
				      .heartbeat_ns = HEARTBEAT_NS };
	uint8_t static_public[32];

	memcpy(c.identity, a->id.public_key, 32);
	pc_identity_static_secret(&a->id, c.static_secret);
	if (crypto_scalarmult_base(static_public, c.static_secret) < 0)
		return PC_ERR_UNSUPPORTED;
	make_statement(a, static_public, c.statement);
	*ret_config = c;
	explicit_bzero(&c, sizeof(c));
	return 0;
}

void statements_renew(struct agent *a)
{
	struct pc_native_config c;

	if (a->statement_end_s == UINT64_MAX ||
	    a->realtime_s + STATEMENT_S / 2 < a->statement_end_s)
		return;
	if (native_config(a, &c) == 0) {
		pc_native_set_statement(a->native, c.statement);
		pc_e2e_set_statement(a->e2e, c.statement);
	}
	explicit_bzero(&c, sizeof(c));
}
