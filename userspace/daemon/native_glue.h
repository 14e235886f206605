/* SPDX-License-Identifier: MIT */
/*
 * Native peers of the node: the machine of their sessions and the hub above it, on the service
 * sockets, with the identity of the node and the peers it knows. What they send through pipes is
 * forwarded here where the kernel half does not.
 */
#ifndef PC_DAEMON_NATIVE_GLUE_H
#define PC_DAEMON_NATIVE_GLUE_H

#include <stdint.h>

#include "account/grant.h"
#include "relay/native.h"
#include "relay/native_hub.h"
#include "relay/turn.h"

struct pc_daemon;
struct pc_native_glue;

/* Answers from then on. 0, -ENOMEM or PC_ERR_UNSUPPORTED. */
int pc_native_glue_new(struct pc_daemon *d, struct pc_native_glue **ret_glue);
/* Says nothing to anybody. */
void pc_native_glue_free(struct pc_native_glue *g);
/* For pc_io_set_native: @ctx is the glue. */
void pc_native_glue_input(void *ctx, const struct pc_native_path *path, struct pc_dgram *d,
			  uint64_t now, uint64_t realtime_s);
/* Once a minute: a statement that will run out is renewed. */
void pc_native_glue_minute(struct pc_native_glue *g);
/* The node has another identity: every session ends, and its peers find a new node. */
int pc_native_glue_identity(struct pc_native_glue *g);
/* The peer may have no session any more. How many it had: 0 or 1. */
unsigned int pc_native_glue_forget(struct pc_native_glue *g, const uint8_t identity[static 32]);
/*
 * Pipes that an earlier daemon left in the data plane go on where their peers are still known; the
 * others are deleted. Marks the slots of those that go on, a bit each. @g NULL: all are deleted.
 */
void pc_native_glue_adopt(struct pc_daemon *d, struct pc_native_glue *g, uint64_t *taken);
/* Ways or times have changed: every pipe is written again. */
void pc_native_glue_resync(struct pc_native_glue *g);
/* Nothing that is written from now on lives longer; then all is. */
void pc_native_glue_limit(struct pc_native_glue *g, uint64_t until);
/* The policy has changed: pipes to addresses it does not allow any more end. */
void pc_native_glue_policy(struct pc_native_glue *g);
/* Ends the pipes that a tenant pays for. How many. */
unsigned int pc_native_glue_end_tenant(struct pc_native_glue *g, uint32_t tenant);
/*
 * Whether datagrams go from @local to @remote for a peer, or for a relayed port. NULL glue: none.
 */
bool pc_native_glue_talks(const struct pc_native_glue *g, const struct pc_addr *local,
			  const struct pc_addr *remote);
/* Tells every peer that the node ends; there are no pipes after that. */
void pc_native_glue_shutdown(struct pc_native_glue *g);

/* What is known of a peer; NULL glue: nothing. */
struct pc_native_glue_peer {
	bool up, registered;
	struct pc_addr remote; /* where it is, when up */
};
void pc_native_glue_peer(const struct pc_native_glue *g, const uint8_t identity[static 32],
			 struct pc_native_glue_peer *ret_peer);

/* A pipe as one of its tenants has it, for lists of sessions. */
struct pc_native_pipe_view {
	uint64_t id;
	uint32_t slot, tenant;
	const char *peer, *other; /* names: whose tenant's it is, and of the other end; or NULL */
	struct pc_addr remote, server; /* where the peer is, and our address there */
	struct pc_addr relayed;	       /* family 0: it leads to a peer */
	uint64_t created_ns;	       /* or taken up after a restart */
};
/* Twice where the two ends are of two tenants. @g NULL: none. */
size_t pc_native_glue_pipes(const struct pc_native_glue *g); /* NULL: none */
int pc_native_glue_each(const struct pc_native_glue *g,
			int (*fn)(void *arg, const struct pc_native_pipe_view *view), void *arg);

struct pc_native_glue_stats {
	struct pc_native_stats native;
	struct pc_hub_stats hub;
	size_t pipes;
	uint64_t grants[PC_GRANT_VERDICTS], grants_ended; /* judged, and run out with a pipe */
};
void pc_native_glue_get_stats(const struct pc_native_glue *g,
			      struct pc_native_glue_stats *ret_stats);
/* As `pcstat health` calls it. */
const char *pc_native_drop_name(enum pc_native_drop drop);

#endif
