/* SPDX-License-Identifier: MIT */
/*
 * Effects of the TURN machine on the rest: sockets (io), counter slots (account), kernel flows
 * (dp, nexthop), records (store), users. Whatever the kernel half cannot do is left to user space.
 */
#ifndef PC_DAEMON_TURN_GLUE_H
#define PC_DAEMON_TURN_GLUE_H

#include <stdint.h>

#include "daemon/daemon.h"
#include "relay/turn.h"

extern const struct pc_turn_ops pc_glue_ops; /* ctx: struct pc_glue */

int pc_glue_new(struct pc_daemon *d, struct pc_glue **ret_glue);
/* Forgets what the kernel has without deleting it. */
void pc_glue_free(struct pc_glue *g);
/* So many sessions are about to be restored: makes room for them at once. */
void pc_glue_expect(struct pc_glue *g, size_t sessions);
/*
 * Deletes flows, permissions and ports of the kernel that no restored session asked for. Returns
 * how many entries, or a negative code.
 */
int pc_glue_sweep(struct pc_glue *g);
/* Flows and permissions written from now on end no later than @until (monotonic ns). */
void pc_glue_limit_flows(struct pc_glue *g, uint64_t until);
/* Channels that the kernel forwards, and permissions it knows. */
size_t pc_glue_flows(const struct pc_glue *g);
size_t pc_glue_perms(const struct pc_glue *g);

#endif
