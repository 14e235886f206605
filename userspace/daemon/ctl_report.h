/* SPDX-License-Identifier: MIT */
/* What the daemon knows, in the shapes of ctl/report.h. */
#ifndef PC_DAEMON_CTL_REPORT_H
#define PC_DAEMON_CTL_REPORT_H

#include <jansson.h>

#include "ctl/report.h"
#include "daemon/daemon.h"

/* Tenants by name, or the one called @name, with fresh counters. 0 or a negative code. */
int pc_ctl_report_tenants(struct pc_daemon *d, const char *name, json_t **ret_array);

/* Counters of both paths as they are reported. */
void pc_ctl_report_counts(const struct pc_store_count counts[static PC_STORE_PATHS],
			  struct pc_report_count *c);

#endif
