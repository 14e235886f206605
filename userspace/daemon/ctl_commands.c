/* SPDX-License-Identifier: MIT */
/* The table of commands, their arguments, and the commands that steer the daemon itself. */
#include "daemon/ctl_commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#define CREDENTIAL_LIFETIME_S	  86400u
#define CREDENTIAL_LIFETIME_MAX_S (10u * 365 * 86400)

/* --- arguments --- */

static bool fits(const json_t *value, enum pc_ctl_arg_type type)
{
	switch (type) {
	case PC_CTL_ARG_STRING:
		return json_is_string(value);
	case PC_CTL_ARG_UINT32:
		return json_is_integer(value) && json_integer_value(value) >= 0 &&
		       json_integer_value(value) <= UINT32_MAX;
	case PC_CTL_ARG_UINT64:
		return json_is_integer(value) && json_integer_value(value) >= 0;
	case PC_CTL_ARG_BOOL:
		return json_is_boolean(value);
	}
	return false;
}

static void assign(const json_t *value, const struct pc_ctl_arg *arg)
{
	switch (arg->type) {
	case PC_CTL_ARG_STRING:
		*(const char **)arg->ret = json_string_value(value);
		break;
	case PC_CTL_ARG_UINT32:
		*(uint32_t *)arg->ret = (uint32_t)json_integer_value(value);
		break;
	case PC_CTL_ARG_UINT64:
		*(uint64_t *)arg->ret = (uint64_t)json_integer_value(value);
		break;
	case PC_CTL_ARG_BOOL:
		*(bool *)arg->ret = json_is_true(value);
		break;
	}
}

static const struct pc_ctl_arg *find_arg(const struct pc_ctl_arg *spec, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(spec[i].name, name) == 0)
			return &spec[i];
	}
	return NULL;
}

json_t *pc_ctl_args(json_t *args, const struct pc_ctl_arg *spec, size_t n)
{
	static const char *const type_text[] = {
		[PC_CTL_ARG_STRING] = "a string",
		[PC_CTL_ARG_UINT32] = "a number from 0 to 4294967295",
		[PC_CTL_ARG_UINT64] = "a number, not negative",
		[PC_CTL_ARG_BOOL] = "true or false",
	};
	const char *name;
	json_t *value;

	json_object_foreach (args, name, value) {
		const struct pc_ctl_arg *arg = find_arg(spec, n, name);

		if (!arg)
			return pc_ctl_fail("unknown argument \"%s\"", name);
		if (!fits(value, arg->type))
			return pc_ctl_fail("argument \"%s\" is %s", name, type_text[arg->type]);
	}
	for (size_t i = 0; i < n; i++) {
		if (spec[i].required && !json_object_get(args, spec[i].name))
			return pc_ctl_fail("argument \"%s\" is missing", spec[i].name);
	}
	json_object_foreach (args, name, value)
		assign(value, find_arg(spec, n, name));
	return NULL;
}

json_t *pc_ctl_ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

/* --- commands --- */

static json_t *cmd_credential(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	char user[PC_TENANT_NAME_MAX + 32], password[29], uri[256];
	const char *name = NULL;
	uint64_t lifetime = CREDENTIAL_LIFETIME_S;
	const struct pc_ctl_arg spec[] = {
		{ "name", PC_CTL_ARG_STRING, true, &name },
		{ "lifetime", PC_CTL_ARG_UINT64, false, &lifetime },
	};
	uint64_t now = pc_clock_realtime() / PC_NS_PER_S;
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	int rc;

	if (reply)
		return reply;
	if (!pc_users_find(d->users, name))
		return pc_ctl_fail("no tenant \"%s\"", name);
	if (lifetime == 0 || lifetime > CREDENTIAL_LIFETIME_MAX_S)
		return pc_ctl_fail("lifetime is 1 to %u seconds", CREDENTIAL_LIFETIME_MAX_S);
	rc = pc_users_credential(d->users, name, lifetime, now, user, sizeof(user), password);
	if (rc < 0)
		return pc_ctl_fail("credential for \"%s\": %s", name, pc_strerror(rc));
	reply = json_pack("{s:s, s:s, s:s, s:s, s:I}", "username", user, "password", password,
			  "uri", pc_daemon_turn_uri(d, uri, sizeof(uri)), "realm", d->config.realm,
			  "expires", (json_int_t)(now + lifetime));
	explicit_bzero(password, sizeof(password));
	return reply;
}

static json_t *cmd_reload(void *ctx, json_t *args)
{
	char error[512] = "";
	json_t *reply = pc_ctl_args(args, NULL, 0);
	int rc;

	if (reply)
		return reply;
	rc = pc_daemon_reload(ctx, error, sizeof(error));
	if (rc < 0)
		return pc_ctl_fail("%s", error[0] ? error : pc_strerror(rc));
	return pc_ctl_ok();
}

static json_t *set_drain(struct pc_daemon *d, json_t *args, bool on)
{
	struct pc_turn_stats stats;
	json_t *reply = pc_ctl_args(args, NULL, 0);

	if (reply)
		return reply;
	pc_daemon_drain(d, on);
	pc_turn_get_stats(d->turn, &stats);
	return json_pack("{s:b, s:b, s:I}", "ok", 1, "draining", d->draining, "sessions",
			 (json_int_t)stats.allocations);
}

static json_t *cmd_drain(void *ctx, json_t *args)
{
	return set_drain(ctx, args, true);
}

static json_t *cmd_undrain(void *ctx, json_t *args)
{
	return set_drain(ctx, args, false);
}

static json_t *cmd_shutdown(void *ctx, json_t *args)
{
	json_t *reply = pc_ctl_args(args, NULL, 0);

	if (reply)
		return reply;
	pc_daemon_request_stop(ctx, true);
	/* The answer comes before the end: whoever asked can wait for the process. */
	return json_pack("{s:b, s:I}", "ok", 1, "pid", (json_int_t)getpid());
}

static void note_off(struct pc_daemon *d, uint32_t ifindex)
{
	for (size_t i = 0; i < d->n_attach; i++) {
		struct pc_attach_result *a = &d->attach[i];

		if (a->ifindex != ifindex)
			continue;
		a->mode = PC_DP_OFF;
		a->adopted = false;
		snprintf(a->reason, sizeof(a->reason), "taken off by `datapath off`");
	}
}

/* Off at once; pcd goes on in user space, and attaches again when it is started again. */
static json_t *cmd_datapath_off(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	struct pc_dp_link links[PC_CONFIG_MAX_INTERFACES];
	json_t *reply = pc_ctl_args(args, NULL, 0);
	size_t n, off = 0;
	int rc, err = 0;

	if (reply)
		return reply;
	/* Nobody may attach again behind the operator's back. */
	pc_attach_watch_free(TAKE_PTR(d->attach_watch));
	n = pc_dp_links(d->dp, links, PC_ARRAY_SIZE(links));
	for (size_t i = 0; i < n && i < PC_ARRAY_SIZE(links); i++) {
		rc = pc_dp_detach(d->dp, links[i].ifindex);
		if (rc < 0 && rc != -ENOENT) {
			err = rc;
			continue;
		}
		off++;
		note_off(d, links[i].ifindex);
	}
	if (err)
		return pc_ctl_fail("data path: %zu interfaces left, another could not be: %s", off,
				   pc_strerror(err));
	pc_warning("data path off by command: everything is relayed in user space");
	return json_pack("{s:b, s:I}", "ok", 1, "detached", (json_int_t)off);
}

const struct pc_ctl_command pc_ctl_commands[] = {
	{ "status", pc_cmd_status },
	{ "tenant list", pc_cmd_tenant_list },
	{ "tenant history", pc_cmd_tenant_history },
	{ "tiers", pc_cmd_tiers },
	{ "tenant add", pc_cmd_tenant_add },
	{ "tenant set", pc_cmd_tenant_set },
	{ "tenant del", pc_cmd_tenant_del },
	{ "peer list", pc_cmd_peer_list },
	{ "peer add", pc_cmd_peer_add },
	{ "peer remove", pc_cmd_peer_remove },
	{ "session list", pc_cmd_session_list },
	{ "drops", pc_cmd_drops },
	{ "health", pc_cmd_health },
	{ "identity show", pc_cmd_identity_show },
	{ "identity init", pc_cmd_identity_init },
	{ "identity import", pc_cmd_identity_import },
	{ "credential", cmd_credential },
	{ "reload", cmd_reload },
	{ "drain", cmd_drain },
	{ "undrain", cmd_undrain },
	{ "shutdown", cmd_shutdown },
	{ "datapath off", cmd_datapath_off },
};
const size_t pc_ctl_commands_count = PC_ARRAY_SIZE(pc_ctl_commands);
