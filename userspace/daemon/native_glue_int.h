/* SPDX-License-Identifier: MIT */
/*
 * What the files of the native glue share; nobody else includes this.
 *
 * native_glue.c       the machine: sockets, identity, trust, time
 * native_glue_pipe.c  what the hub needs: pipes, their counters, frames that user space forwards
 */
#ifndef PC_DAEMON_NATIVE_GLUE_INT_H
#define PC_DAEMON_NATIVE_GLUE_INT_H

#include <ev.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/native_glue.h"
#include "daemon/peers.h"

struct pc_native_glue {
	struct pc_daemon *d;
	struct pc_native *n;
	struct pc_hub *hub;
	uint64_t *reasons;
	uint8_t static_public[32];
	uint64_t statement_end_s; /* 0: made without a clock */
	uint64_t now;
	const struct pc_native_path *from; /* of the datagram that is being handled */
	struct ev_timer timer;
	struct ev_prepare prepare;
	uint64_t deadline; /* that the timer is set to */
	struct pc_log_limit refused_log, full_log;
};

extern const struct pc_hub_ops pc_native_hub_ops; /* ctx: struct pc_native_glue */

/* A frame of a pipe that the kernel left to user space. */
void pc_native_pipe_input(struct pc_native_glue *g, const struct pc_native_path *path,
			  struct pc_dgram *d);

#endif
