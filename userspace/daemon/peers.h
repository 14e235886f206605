/* SPDX-License-Identifier: MIT */
/*
 * Native peers that may have sessions here: what the store has, in memory, by identity. The store
 * is the truth: whatever changes is written there first.
 */
#ifndef PC_DAEMON_PEERS_H
#define PC_DAEMON_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct pc_peers;

int pc_peers_new(struct pc_store *store, struct pc_peers **ret_peers);
void pc_peers_free(struct pc_peers *p);

/* NULL: it is nobody here. Valid until the peer is removed. */
const struct pc_store_peer *pc_peers_find(const struct pc_peers *p,
					  const uint8_t identity[static 32]);
const struct pc_store_peer *pc_peers_by_name(const struct pc_peers *p, const char *name);
/* One of the peers of a tenant, or NULL. */
const struct pc_store_peer *pc_peers_of_tenant(const struct pc_peers *p, uint32_t tenant);
size_t pc_peers_count(const struct pc_peers *p);
/* In no order. @fn must not change them. */
int pc_peers_each(const struct pc_peers *p, int (*fn)(void *arg, const struct pc_store_peer *peer),
		  void *arg);
/* PC_ERR_EXISTS: its name or identity is taken. */
int pc_peers_add(struct pc_peers *p, const struct pc_store_peer *peer);
int pc_peers_del(struct pc_peers *p, const uint8_t identity[static 32]);

/* Names with commas, or "*": whether @text can be a pc_store_peer.may_call. */
bool pc_peers_may_call_valid(const char *text);
/*
 * Whether the node lets @caller ask for @callee: both are known, and of one tenant, or the caller's
 * list has the other one. The other one is still asked.
 */
bool pc_peers_may_call(const struct pc_peers *p, const uint8_t caller[static 32],
		       const uint8_t callee[static 32]);

#endif
