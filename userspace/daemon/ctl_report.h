/* SPDX-License-Identifier: MIT */
/* What the daemon knows, in the shapes of ctl/report.h. */
#ifndef PC_DAEMON_CTL_REPORT_H
#define PC_DAEMON_CTL_REPORT_H

#include <jansson.h>

#include "daemon/daemon.h"

/* Tenants by name, or the one called @name, with fresh counters. 0 or a negative code. */
int pc_ctl_report_tenants(struct pc_daemon *d, const char *name, json_t **ret_array);

#endif
