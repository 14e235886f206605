/* SPDX-License-Identifier: MIT */
/* Native peers over the control socket. What is changed is in force at once. */
#include "daemon/ctl_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"
#include "daemon/native_glue.h"
#include "daemon/peers.h"

static json_t *failed(const struct pc_daemon *d, const char *name, int rc)
{
	if (rc == PC_ERR_STORE)
		return pc_ctl_fail("peer \"%s\": the store failed: %s", name,
				   pc_store_error(d->store));
	if (rc == PC_ERR_LOCKED)
		return pc_ctl_fail("peer \"%s\": another process holds the store", name);
	return pc_ctl_fail("peer \"%s\": %s", name, pc_strerror(rc));
}

/* What would make it ambiguous who is who. */
static json_t *check_taken(const struct pc_daemon *d, const struct pc_store_peer *peer)
{
	const struct pc_store_peer *other = pc_peers_by_name(d->peers, peer->name);

	if (other)
		return pc_ctl_fail("there is a peer \"%s\" already", peer->name);
	other = pc_peers_find(d->peers, peer->identity);
	if (other)
		return pc_ctl_fail("that identity is peer \"%s\" already", other->name);
	if (memcmp(peer->identity, d->identity.public_key, sizeof(peer->identity)) == 0)
		return pc_ctl_fail("that identity is this node's own");
	return NULL;
}

/* The text is not left in the command's memory. */
static int take_psk(const char *hex, uint8_t ret_psk[static PC_PSK_LEN])
{
	int rc = pc_parse_hex(hex, ret_psk, PC_PSK_LEN);

	explicit_bzero((char *)hex, strlen(hex));
	return rc == 0 && sodium_is_zero(ret_psk, PC_PSK_LEN) ? PC_ERR_RANGE : rc;
}

json_t *pc_cmd_peer_add(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	const char *name = NULL, *identity = NULL, *tenant = NULL, *may_call = "", *psk = NULL;
	const struct pc_ctl_arg spec[] = {
		{ "name", PC_CTL_ARG_STRING, true, &name },
		{ "identity", PC_CTL_ARG_STRING, true, &identity },
		{ "tenant", PC_CTL_ARG_STRING, true, &tenant },
		{ "may_call", PC_CTL_ARG_STRING, false, &may_call },
		{ "psk", PC_CTL_ARG_STRING, false, &psk },
	};
	struct pc_store_peer peer = { .created_s = pc_clock_realtime() / PC_NS_PER_S };
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	const struct pc_store_tenant *t;
	char id[PC_PEER_ID_STRLEN];
	int rc;

	if (reply)
		return reply;
	if (!pc_name_valid(name))
		return pc_ctl_fail("\"%s\" is no peer name: 1 to 63 of A-Z a-z 0-9 . _ @ -, a "
				   "letter or digit first",
				   name);
	if (pc_peer_id_parse(identity, peer.identity) < 0)
		return pc_ctl_fail("\"%s\" is no identity: 12D3KooW..., did:key:z6Mk... or k5...",
				   identity);
	if (!pc_peers_may_call_valid(may_call))
		return pc_ctl_fail("may_call \"%s\": not names of peers with commas, nor *",
				   may_call);
	t = pc_users_find(d->users, tenant);
	if (!t)
		return pc_ctl_fail("no tenant \"%s\"", tenant);
	if (psk && take_psk(psk, peer.psk) < 0)
		return pc_ctl_fail("psk: not 64 hexadecimal digits, or all zero");
	snprintf(peer.name, sizeof(peer.name), "%s", name);
	snprintf(peer.may_call, sizeof(peer.may_call), "%s", may_call);
	peer.tenant = t->id;
	reply = check_taken(d, &peer);
	rc = reply ? PC_ERR_EXISTS : pc_peers_add(d->peers, &peer);
	explicit_bzero(peer.psk, sizeof(peer.psk));
	if (reply)
		return reply;
	if (rc < 0)
		return failed(d, name, rc);
	pc_peer_id_format(peer.identity, id);
	pc_info("peer %s added: %s, tenant %s", name, id, tenant);
	return json_pack("{s:b, s:s, s:s}", "ok", 1, "name", name, "peer_id", id);
}

static const struct pc_store_peer *find_any(const struct pc_daemon *d, const char *word)
{
	const struct pc_store_peer *peer = pc_peers_by_name(d->peers, word);
	uint8_t identity[32];

	if (!peer && pc_peer_id_parse(word, identity) == 0)
		peer = pc_peers_find(d->peers, identity);
	return peer;
}

json_t *pc_cmd_peer_remove(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	const char *name = NULL;
	const struct pc_ctl_arg spec[] = { { "name", PC_CTL_ARG_STRING, true, &name } };
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	const struct pc_store_peer *peer;
	uint8_t identity[32];
	unsigned int ended;
	int rc;

	if (reply)
		return reply;
	peer = find_any(d, name);
	if (!peer)
		return pc_ctl_fail("no peer \"%s\"", name);
	memcpy(identity, peer->identity, sizeof(identity));
	rc = pc_peers_del(d->peers, identity);
	if (rc < 0)
		return failed(d, name, rc);
	/* Trust first, session second: it does not come back in between. */
	ended = d->native ? pc_native_glue_forget(d->native, identity) : 0;
	pc_info("peer %s removed, %u sessions ended", name, ended);
	return json_pack("{s:b, s:I}", "ok", 1, "sessions_ended", (json_int_t)ended);
}

/* --- listing --- */

struct list {
	const struct pc_store_peer **row;
	size_t n;
};

static int add_row(void *arg, const struct pc_store_peer *peer)
{
	struct list *l = arg;

	l->row[l->n++] = peer;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct pc_store_peer *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static json_t *peer_object(const struct pc_daemon *d, const struct pc_store_peer *peer)
{
	const struct pc_store_tenant *t = pc_users_by_id(d->users, peer->tenant);
	char id[PC_PEER_ID_STRLEN], addr[PC_ADDR_STRLEN];
	struct pc_native_glue_peer state;

	pc_native_glue_peer(d->native, peer->identity, &state);
	return json_pack("{s:s, s:s, s:s?, s:s, s:b, s:b, s:b, s:s?, s:I}", "name", peer->name,
			 "peer_id", pc_peer_id_format(peer->identity, id), "tenant",
			 t ? t->name : NULL, "may_call", peer->may_call, "psk",
			 !sodium_is_zero(peer->psk, sizeof(peer->psk)), "connected", state.up,
			 "registered", state.registered, "address",
			 state.up ? pc_addr_format(&state.remote, addr) : NULL, "created",
			 (json_int_t)peer->created_s);
}

json_t *pc_cmd_peer_list(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	const char *name = NULL;
	const struct pc_ctl_arg spec[] = { { "name", PC_CTL_ARG_STRING, false, &name } };
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	const struct pc_store_peer *one;
	struct list l = { 0 };
	json_t *array;

	if (reply)
		return reply;
	one = name ? find_any(d, name) : NULL;
	if (name && !one)
		return pc_ctl_fail("no peer \"%s\"", name);
	l.row = calloc(pc_peers_count(d->peers) + 1, sizeof(struct pc_store_peer *));
	if (!l.row)
		return pc_ctl_fail("out of memory");
	if (one)
		add_row(&l, one);
	else
		pc_peers_each(d->peers, add_row, &l);
	qsort(l.row, l.n, sizeof(struct pc_store_peer *), by_name);
	array = json_array();
	for (size_t i = 0; i < l.n; i++)
		json_array_append_new(array, peer_object(d, l.row[i]));
	free(l.row);
	return json_pack("{s:o}", "peers", array);
}
