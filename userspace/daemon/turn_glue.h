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
/* Forgets the kernel flows without deleting them. */
void pc_glue_free(struct pc_glue *g);
/* Deletes kernel flows that no restored session asked for. Returns how many, or a negative code. */
int pc_glue_sweep(struct pc_glue *g);
/* Flows written from now on end no later than @until (monotonic ns). */
void pc_glue_limit_flows(struct pc_glue *g, uint64_t until);
/* Channels that the kernel forwards. */
size_t pc_glue_flows(const struct pc_glue *g);

#endif
