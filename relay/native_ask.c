/* SPDX-License-Identifier: MIT */
/* What the owner of a machine may ask of it, and of its links. */
#include "relay/native.h"

#include <sodium.h>

#include "relay/native_int.h"

int pc_native_connect(struct pc_native *n, const uint8_t identity[static 32],
		      const uint8_t *static_key, const struct pc_native_path *path, uint64_t now,
		      struct pc_native_link **ret_link)
{
	struct pc_native_link *link;
	int rc;

	n->now = now;
	rc = pc_native_link_get(n, identity, path, &link);
	if (rc < 0)
		return rc;
	if (static_key) {
		memcpy(link->static_key, static_key, 32);
		link->has_static = true;
	}
	rc = pc_native_attempt_start(link, path, link->has_static);
	if (rc < 0) {
		pc_native_link_drop_if_empty(link);
		return rc;
	}
	pc_native_link_arm(link);
	*ret_link = link;
	return 0;
}

void pc_native_close(struct pc_native *n, struct pc_native_link *link, uint16_t reason,
		     uint64_t now)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_CLOSE,
				     .has = 1u << PC_NATIVE_F_REASON,
				     .reason = reason };

	n->now = now;
	if (link->closing)
		return;
	if (pc_native_usable(link->current, now))
		pc_native_send_msg(n, link->current, &link->path, &msg);
	pc_native_link_end(link, PC_NATIVE_R_DONE);
}

void pc_native_close_all(struct pc_native *n, uint16_t reason, uint64_t now)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;

	while ((node = pc_htab_iterate(&n->links, &it)))
		pc_native_close(n, pc_container_of(node, struct pc_native_link, by_identity),
				reason, now);
}

const uint8_t *pc_native_identity(const struct pc_native_link *link)
{
	return link->identity;
}

const uint8_t *pc_native_static_key(const struct pc_native_link *link)
{
	return link->has_static ? link->static_key : NULL;
}

const struct pc_native_path *pc_native_path(const struct pc_native_link *link)
{
	return &link->path;
}

bool pc_native_is_up(const struct pc_native_link *link)
{
	return link->current != NULL;
}

void *pc_native_user(const struct pc_native_link *link)
{
	return link->user;
}

void pc_native_set_user(struct pc_native_link *link, void *user)
{
	link->user = user;
}

/* The session a message came with, else the one that is up; NULL: none. */
static const struct pc_native_keys *carrier_of(const struct pc_native_link *link)
{
	const struct pc_native_keys *k = link->n->carrier;

	return k && k->link == link ? k : link->current;
}

static int export_of(const struct pc_native_keys *k, const char *label, const void *context,
		     size_t context_len, uint8_t ret_key[static 32])
{
	crypto_auth_hmacsha256_state state;

	if (!k)
		return PC_ERR_STATE;
	crypto_auth_hmacsha256_init(&state, k->export, sizeof(k->export));
	crypto_auth_hmacsha256_update(&state, (const uint8_t *)label, strlen(label));
	crypto_auth_hmacsha256_update(&state, context, context_len);
	crypto_auth_hmacsha256_final(&state, ret_key);
	sodium_memzero(&state, sizeof(state));
	return 0;
}

int pc_native_export(const struct pc_native_link *link, const char *label, const void *context,
		     size_t context_len, uint8_t ret_key[static 32])
{
	return export_of(carrier_of(link), label, context, context_len, ret_key);
}

int pc_native_export_sending(const struct pc_native_link *link, const char *label,
			     const void *context, size_t context_len, uint8_t ret_key[static 32])
{
	return export_of(link->current, label, context, context_len, ret_key);
}

int pc_native_session(const struct pc_native_link *link, uint32_t *ret_ours, uint32_t *ret_theirs)
{
	const struct pc_native_keys *k = carrier_of(link);

	if (!k)
		return PC_ERR_STATE;
	*ret_ours = k->index;
	*ret_theirs = k->remote_index;
	return 0;
}

bool pc_native_is_initiator(const struct pc_native_link *link)
{
	const struct pc_native_keys *k = carrier_of(link);

	return k && k->ticket_ns == 0;
}

void pc_native_get_stats(const struct pc_native *n, struct pc_native_stats *ret_stats)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;

	*ret_stats = n->stats;
	ret_stats->links = n->n_links;
	ret_stats->up = 0;
	while ((node = pc_htab_iterate(&n->links, &it))) {
		if (pc_container_of(node, struct pc_native_link, by_identity)->current)
			ret_stats->up++;
	}
}
