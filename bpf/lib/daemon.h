/* SPDX-License-Identifier: MIT */
/* What the daemon says of itself, and whether it is there. */
#ifndef PC_LIB_DAEMON_H
#define PC_LIB_DAEMON_H

#include <stdbool.h>

#include "lib/clock.h"
#include "lib/maps.h"

static __always_inline struct pc_ctl *pc_ctl_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pc4_ctl, &zero);
}

static __always_inline bool pc_daemon_away(void)
{
	struct pc_ctl *ctl = pc_ctl_get();

	return ctl && ctl->heartbeat_ns &&
	       pc_clock_now() > ctl->heartbeat_ns + PC_HEARTBEAT_STALE_NS;
}

#endif
