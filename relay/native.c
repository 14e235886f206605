/* SPDX-License-Identifier: MIT */
#include "relay/native.h"

#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "base/siphash.h"
#include "relay/native_int.h"

/* --- tables --- */

void pc_native_dropped(struct pc_native *n, enum pc_native_drop reason)
{
	n->stats.drops[reason]++;
	n->ops->drop(n->ctx, reason);
}

uint64_t pc_native_index_hash(const struct pc_native *n, uint32_t index)
{
	return pc_siphash24(n->hash_key, &index, sizeof(index));
}

struct pc_native_keys *pc_native_keys_find(const struct pc_native *n, uint32_t index)
{
	struct pc_hnode *node = pc_htab_first(&n->keys, pc_native_index_hash(n, index));

	for (; node; node = pc_htab_next(node)) {
		struct pc_native_keys *k = pc_container_of(node, struct pc_native_keys, by_index);

		if (k->index == index)
			return k;
	}
	return NULL;
}

struct pc_native_attempt *pc_native_attempt_find(const struct pc_native *n, uint32_t index)
{
	struct pc_hnode *node = pc_htab_first(&n->attempts, pc_native_index_hash(n, index));

	for (; node; node = pc_htab_next(node)) {
		struct pc_native_attempt *a =
			pc_container_of(node, struct pc_native_attempt, by_index);

		if (a->index == index)
			return a;
	}
	return NULL;
}

uint32_t pc_native_new_index(struct pc_native *n)
{
	uint32_t index;

	do
		n->ops->random(n->ctx, &index, sizeof(index));
	while (index == 0 || pc_native_keys_find(n, index) || pc_native_attempt_find(n, index));
	return index;
}

static uint64_t identity_hash(const struct pc_native *n, const uint8_t identity[static 32])
{
	return pc_siphash24(n->hash_key, identity, 32);
}

struct pc_native_link *pc_native_find(const struct pc_native *n, const uint8_t identity[static 32])
{
	struct pc_hnode *node = pc_htab_first(&n->links, identity_hash(n, identity));

	for (; node; node = pc_htab_next(node)) {
		struct pc_native_link *link =
			pc_container_of(node, struct pc_native_link, by_identity);

		if (memcmp(link->identity, identity, 32) == 0)
			return link;
	}
	return NULL;
}

/* --- keys --- */

void pc_native_prologue(const uint8_t responder[static 32], uint8_t ret[static NATIVE_PROLOGUE_LEN])
{
	memcpy(ret, "pcloud/1", 8);
	memcpy(ret + 8, responder, 32);
}

struct pc_native_keys *pc_native_keys_new(struct pc_native *n, struct pc_native_link *link,
					  uint32_t index, uint32_t remote_index)
{
	struct pc_native_keys *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->link = link;
	k->index = index;
	k->remote_index = remote_index;
	k->created_ns = n->now;
	pc_htab_insert(&n->keys, &k->by_index, pc_native_index_hash(n, index));
	return k;
}

/* The export secret: apart from the transport keys, which are HKDF(ck, nothing). */
void pc_native_export_secret(const struct pc_noise_handshake *hs, uint8_t ret[static 32])
{
	static const char label[] = "pcloud/1 export";
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, hs->symmetric.ck, sizeof(hs->symmetric.ck));
	crypto_auth_hmacsha256_update(&state, (const uint8_t *)label, sizeof(label) - 1);
	crypto_auth_hmacsha256_final(&state, ret);
	sodium_memzero(&state, sizeof(state));
}

int pc_native_keys_derive(struct pc_native_keys *k, const struct pc_noise_handshake *hs)
{
	pc_native_export_secret(hs, k->export);
	return pc_noise_split(hs, k->send, k->receive);
}

static void keys_release(struct pc_native *n, struct pc_native_keys *k)
{
	pc_htab_remove(&n->keys, &k->by_index);
	sodium_memzero(k, sizeof(*k));
	free(k);
}

void pc_native_keys_free(struct pc_native *n, struct pc_native_keys *k)
{
	if (!k)
		return;
	if (n->carrier == k)
		n->carrier = NULL;
	if (!k->ticket_ns || n->now - k->ticket_ns >= NATIVE_TICKET_NS) {
		keys_release(n, k);
		return;
	}
	/* While its ticket is good the third message could be repeated: the index stays taken. */
	sodium_memzero(k->send, sizeof(k->send));
	sodium_memzero(k->receive, sizeof(k->receive));
	sodium_memzero(k->export, sizeof(k->export));
	k->link = NULL;
	k->next_dead = NULL;
	*n->dead_end = k;
	n->dead_end = &k->next_dead;
}

static void bury(struct pc_native *n, bool all)
{
	while (n->dead && (all || n->now - n->dead->ticket_ns >= NATIVE_TICKET_NS)) {
		struct pc_native_keys *k = n->dead;

		n->dead = k->next_dead;
		keys_release(n, k);
	}
	if (!n->dead)
		n->dead_end = &n->dead;
}

bool pc_native_usable(const struct pc_native_keys *k, uint64_t now)
{
	return k && now - k->created_ns < PC_NATIVE_HARD_STOP &&
	       k->send_counter < NATIVE_REKEY_MESSAGES * 2;
}

bool pc_native_psk(struct pc_native *n, const uint8_t identity[static 32],
		   uint8_t ret_psk[static 32])
{
	memset(ret_psk, 0, 32);
	if (n->ops->psk)
		n->ops->psk(n->ctx, identity, ret_psk);
	return !sodium_is_zero(ret_psk, 32);
}

/* --- links --- */

static void on_timer(struct pc_timer *timer, uint64_t now);

int pc_native_link_get(struct pc_native *n, const uint8_t identity[static 32],
		       const struct pc_native_path *path, struct pc_native_link **ret_link)
{
	struct pc_native_link *link = pc_native_find(n, identity);

	if (link) {
		*ret_link = link;
		return 0;
	}
	if (n->n_links >= n->config.max_links)
		return PC_ERR_FULL;
	link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->n = n;
	memcpy(link->identity, identity, 32);
	link->path = *path;
	link->timer.fn = on_timer;
	pc_htab_insert(&n->links, &link->by_identity, identity_hash(n, identity));
	n->n_links++;
	*ret_link = link;
	return 0;
}

void pc_native_attempt_free(struct pc_native *n, struct pc_native_attempt *a)
{
	if (!a)
		return;
	pc_htab_remove(&n->attempts, &a->by_index);
	sodium_memzero(a, sizeof(*a));
	free(a);
}

static void link_free(struct pc_native_link *link)
{
	struct pc_native *n = link->n;

	pc_timer_cancel(&link->timer);
	pc_native_attempt_free(n, link->attempt);
	pc_native_keys_free(n, link->current);
	pc_native_keys_free(n, link->previous);
	pc_native_keys_free(n, link->next);
	pc_htab_remove(&n->links, &link->by_identity);
	n->n_links--;
	free(link);
}

void pc_native_link_end(struct pc_native_link *link, uint16_t reason)
{
	if (link->closing)
		return;
	link->closing = true;
	link->n->ops->down(link->n->ctx, link, reason);
	link_free(link);
}

void pc_native_link_drop_if_empty(struct pc_native_link *link)
{
	if (!link->current && !link->previous && !link->next && !link->attempt && !link->closing)
		link_free(link);
}

/* --- time --- */

/* When @link has something to do; UINT64_MAX: never. */
static uint64_t link_deadline(const struct pc_native_link *link)
{
	uint64_t at = UINT64_MAX, t;

	if (link->attempt)
		at = link->attempt->retry_ns;
	if (link->previous) {
		t = link->previous->created_ns + PC_NATIVE_HARD_STOP;
		at = t < at ? t : at;
	}
	if (!link->current)
		return at;
	t = link->current->created_ns + PC_NATIVE_HARD_STOP;
	at = t < at ? t : at;
	if (!link->initiator || link->attempt)
		return at;
	t = link->current->created_ns + PC_NATIVE_REKEY;
	at = t < at ? t : at;
	return link->heartbeat_ns && link->heartbeat_ns < at ? link->heartbeat_ns : at;
}

void pc_native_link_arm(struct pc_native_link *link)
{
	uint64_t at = link_deadline(link);

	if (at == UINT64_MAX)
		pc_timer_cancel(&link->timer);
	else
		pc_timer_set(link->n->timers, &link->timer, at);
}

static void expire_keys(struct pc_native_link *link, struct pc_native_keys **keys)
{
	if (*keys && link->n->now - (*keys)->created_ns >= PC_NATIVE_HARD_STOP) {
		pc_native_keys_free(link->n, *keys);
		*keys = NULL;
	}
}

static void on_timer(struct pc_timer *timer, uint64_t now)
{
	struct pc_native_link *link = pc_container_of(timer, struct pc_native_link, timer);
	struct pc_native *n = link->n;

	n->now = now;
	expire_keys(link, &link->previous);
	expire_keys(link, &link->current);
	if (link->attempt) {
		if (now >= link->attempt->retry_ns)
			pc_native_attempt_due(link);
	} else if (link->current && link->initiator) {
		/* Keeps its address: a rekey that fails leaves the session as it is. */
		if (now - link->current->created_ns >= PC_NATIVE_REKEY)
			pc_native_attempt_start(link, &link->path, true);
		else if (link->heartbeat_ns && now >= link->heartbeat_ns)
			pc_native_heartbeat_due(link);
	}
	if (!link->current && !link->attempt) {
		pc_native_link_end(link,
				   link->suspect ? PC_NATIVE_R_WRONG_KEY : PC_NATIVE_R_TIMEOUT);
		return;
	}
	pc_native_link_arm(link);
}

/* --- the machine --- */

static int init(struct pc_native *n, uint64_t now)
{
	n->ops->random(n->ctx, n->hash_key, sizeof(n->hash_key));
	n->ops->random(n->ctx, n->strangers.hash_key, sizeof(n->strangers.hash_key));
	pc_native_mac_key(n->config.identity, n->mac_key);
	pc_noise_keypair(n->config.static_secret, &n->s);
	n->now = now;
	n->dead_end = &n->dead;
	pc_native_rotate(n);
	if (pc_htab_init(&n->links, 64) < 0 || pc_htab_init(&n->keys, 64) < 0 ||
	    pc_htab_init(&n->attempts, 8) < 0)
		return -ENOMEM;
	return pc_timers_new(now, &n->timers);
}

int pc_native_new(const struct pc_native_config *config, const struct pc_native_ops *ops, void *ctx,
		  uint64_t now, struct pc_native **ret_native)
{
	struct pc_native *n;
	int rc;

	if (sodium_init() < 0)
		return PC_ERR_UNSUPPORTED;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->config = *config;
	n->ops = ops;
	n->ctx = ctx;
	rc = init(n, now);
	if (rc < 0) {
		pc_native_free(n);
		return rc;
	}
	*ret_native = n;
	return 0;
}

void pc_native_free(struct pc_native *n)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;

	if (!n)
		return;
	while (n->links.buckets && (node = pc_htab_iterate(&n->links, &it)))
		link_free(pc_container_of(node, struct pc_native_link, by_identity));
	bury(n, true);
	pc_htab_free(&n->links);
	pc_htab_free(&n->keys);
	pc_htab_free(&n->attempts);
	pc_timers_free(n->timers);
	sodium_memzero(n, sizeof(*n));
	free(n);
}

void pc_native_set_statement(struct pc_native *n, const uint8_t statement[static PC_STATEMENT_LEN])
{
	memcpy(n->config.statement, statement, PC_STATEMENT_LEN);
}

void pc_native_input(struct pc_native *n, const struct pc_native_path *path, const void *data,
		     size_t len, uint64_t now, uint64_t realtime_s)
{
	const uint8_t *bytes = data;

	n->now = now;
	n->realtime_s = realtime_s;
	bury(n, false);
	pc_native_rotate(n);
	if (len < NATIVE_HEADER + NATIVE_TAG_LEN || len > PC_NATIVE_MAX_FRAME) {
		pc_native_dropped(n, PC_NATIVE_DROP_MALFORMED);
		return;
	}
	switch (bytes[0]) {
	case PC_NATIVE_TRANSPORT:
		pc_native_transport(n, path, bytes, len);
		break;
	case PC_NATIVE_XX1:
	case PC_NATIVE_IK1:
		pc_native_first(n, path, bytes, len);
		break;
	case PC_NATIVE_XX2:
	case PC_NATIVE_IK2:
		pc_native_second(n, path, bytes, len);
		break;
	case PC_NATIVE_XX3:
	case PC_NATIVE_IK3:
		pc_native_third(n, path, bytes, len);
		break;
	case PC_NATIVE_COOKIE:
		pc_native_cookie_input(n, bytes, len);
		break;
	default:
		pc_native_dropped(n, PC_NATIVE_DROP_MALFORMED);
	}
}

void pc_native_tick(struct pc_native *n, uint64_t now)
{
	n->now = now;
	bury(n, false);
	pc_timers_run(n->timers, now);
}

uint64_t pc_native_next_deadline(const struct pc_native *n)
{
	return pc_timers_next(n->timers);
}
