/* SPDX-License-Identifier: MIT */
/* The commands of the control socket, and how their arguments are checked. */
#ifndef PC_DAEMON_CTL_COMMANDS_H
#define PC_DAEMON_CTL_COMMANDS_H

#include "ctl/ctl.h"
#include "ctl/report.h"
#include "daemon/daemon.h"

extern const struct pc_ctl_command pc_ctl_commands[];
extern const size_t pc_ctl_commands_count;

/* --- arguments --- */

enum pc_ctl_arg_type { PC_CTL_ARG_STRING, PC_CTL_ARG_UINT32, PC_CTL_ARG_UINT64, PC_CTL_ARG_BOOL };

struct pc_ctl_arg {
	const char *name;
	enum pc_ctl_arg_type type;
	bool required;
	void *ret; /* const char **, uint32_t *, uint64_t *, bool *; untouched when not given */
};
/*
 * Reads @args by @spec. Returns NULL, or the error reply: unknown, missing or of the wrong type.
 * Nothing is set on failure.
 */
json_t *pc_ctl_args(json_t *args, const struct pc_ctl_arg *spec, size_t n);

/* {"ok": true} */
json_t *pc_ctl_ok(void);

/* --- commands, by file; ctx is struct pc_daemon --- */

json_t *pc_cmd_tenant_add(void *ctx, json_t *args);
json_t *pc_cmd_tenant_set(void *ctx, json_t *args);
json_t *pc_cmd_tenant_del(void *ctx, json_t *args);
json_t *pc_cmd_tenant_list(void *ctx, json_t *args);

json_t *pc_cmd_tenant_history(void *ctx, json_t *args);
json_t *pc_cmd_tiers(void *ctx, json_t *args);

json_t *pc_cmd_status(void *ctx, json_t *args);
json_t *pc_cmd_session_list(void *ctx, json_t *args);
json_t *pc_cmd_drops(void *ctx, json_t *args);
json_t *pc_cmd_health(void *ctx, json_t *args);

json_t *pc_cmd_peer_add(void *ctx, json_t *args);
json_t *pc_cmd_peer_remove(void *ctx, json_t *args);
json_t *pc_cmd_peer_list(void *ctx, json_t *args);

json_t *pc_cmd_identity_show(void *ctx, json_t *args);
json_t *pc_cmd_identity_init(void *ctx, json_t *args);
json_t *pc_cmd_identity_import(void *ctx, json_t *args);

#endif
