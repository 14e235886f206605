/* SPDX-License-Identifier: MIT */
/* `pcd --quickstart`: a tenant and a credential to try at once. */
#ifndef PC_DAEMON_QUICKSTART_H
#define PC_DAEMON_QUICKSTART_H

#include "daemon/daemon.h"

#define PC_QUICKSTART_TENANT "quickstart"

/* Makes the tenant when it is missing; prints what to do next. 0, or logged and negative. */
int pc_quickstart(struct pc_daemon *d);

#endif
