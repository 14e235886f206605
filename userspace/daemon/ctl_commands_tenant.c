/* SPDX-License-Identifier: MIT */
/* Tenants over the control socket: every change is checked completely, then made once. */
#include "daemon/ctl_commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"
#include "daemon/ctl_report.h"
#include "daemon/native_glue.h"
#include "daemon/peers.h"
#include "daemon/rates.h"

/* What a tenant may hold unless told otherwise: room for a busy site, bounds for a broken one. */
#define DEFAULT_TIER	    "paid"
#define DEFAULT_ALLOCATIONS 1024
#define DEFAULT_PERMISSIONS 128
#define DEFAULT_CHANNELS    128
#define DEFAULT_PEERS_PER_S 100
#define PASSWORD_MAX	    512

struct tenant_args {
	const char *name, *password, *tier;
	uint32_t allocations, permissions, channels, peers_per_s;
	struct pc_store_plan plan;
};

static json_t *read_args(json_t *args, struct tenant_args *a)
{
	const struct pc_ctl_arg spec[] = {
		{ "name", PC_CTL_ARG_STRING, true, &a->name },
		{ "password", PC_CTL_ARG_STRING, false, &a->password },
		{ "tier", PC_CTL_ARG_STRING, false, &a->tier },
		{ "max_allocations", PC_CTL_ARG_UINT32, false, &a->allocations },
		{ "max_permissions", PC_CTL_ARG_UINT32, false, &a->permissions },
		{ "max_channels", PC_CTL_ARG_UINT32, false, &a->channels },
		{ "max_new_peers", PC_CTL_ARG_UINT32, false, &a->peers_per_s },
		{ "up_bps", PC_CTL_ARG_UINT64, false, &a->plan.up_bps },
		{ "down_bps", PC_CTL_ARG_UINT64, false, &a->plan.down_bps },
		{ "guarantee_bps", PC_CTL_ARG_UINT64, false, &a->plan.guarantee_bps },
		{ "packets_per_second", PC_CTL_ARG_UINT32, false, &a->plan.packets_per_s },
		{ "weight", PC_CTL_ARG_UINT32, false, &a->plan.weight },
		{ "quota_day", PC_CTL_ARG_UINT64, false, &a->plan.quota_day },
		{ "quota_month", PC_CTL_ARG_UINT64, false, &a->plan.quota_month },
	};

	return pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
}

static json_t *check_args(const struct tenant_args *a)
{
	if (!pc_name_valid(a->name))
		return pc_ctl_fail("\"%s\" is no tenant name: 1 to 63 of A-Z a-z 0-9 . _ @ -, a "
				   "letter or digit first",
				   a->name);
	if (a->tier && (!pc_name_valid(a->tier) || strlen(a->tier) > PC_TIER_NAME_MAX))
		return pc_ctl_fail("\"%s\" is no tier name: 1 to %d of A-Z a-z 0-9 . _ @ -",
				   a->tier, PC_TIER_NAME_MAX);
	if (a->password && (!a->password[0] || strlen(a->password) > PASSWORD_MAX))
		return pc_ctl_fail("a password has 1 to %d bytes", PASSWORD_MAX);
	if (a->permissions > PC_TURN_MAX_PERMISSIONS)
		return pc_ctl_fail("max_permissions is at most %d", PC_TURN_MAX_PERMISSIONS);
	if (a->channels > PC_TURN_MAX_CHANNELS)
		return pc_ctl_fail("max_channels is at most %d", PC_TURN_MAX_CHANNELS);
	return NULL;
}

static void apply_args(const struct tenant_args *a, struct pc_store_tenant *t)
{
	if (a->tier)
		snprintf(t->tier, sizeof(t->tier), "%s", a->tier);
	t->max_allocations = a->allocations;
	t->max_permissions = a->permissions;
	t->max_channels = a->channels;
	t->max_peers_per_s = a->peers_per_s;
	t->plan = a->plan;
}

/* Against the node: tiers, capacity, what others were promised. */
static json_t *check_plan(const struct pc_daemon *d, const struct pc_store_tenant *t)
{
	char why[256];

	if (pc_rates_check(d->rates, t, why, sizeof(why)) == 0)
		return NULL;
	return pc_ctl_fail("tenant \"%s\": %s", t->name, why);
}

static json_t *store_failed(const struct pc_daemon *d, const char *name, int rc)
{
	if (rc == PC_ERR_STORE)
		return pc_ctl_fail("tenant \"%s\": the store failed: %s", name,
				   pc_store_error(d->store));
	if (rc == PC_ERR_FULL)
		return pc_ctl_fail("tenant \"%s\": there are max-tenants (%u) already", name,
				   d->config.max_tenants);
	if (rc == PC_ERR_LOCKED)
		return pc_ctl_fail("tenant \"%s\": another process holds the store", name);
	return pc_ctl_fail("tenant \"%s\": %s", name, pc_strerror(rc));
}

json_t *pc_cmd_tenant_add(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	struct tenant_args a = {
		.tier = DEFAULT_TIER,
		.allocations = DEFAULT_ALLOCATIONS,
		.permissions = DEFAULT_PERMISSIONS,
		.channels = DEFAULT_CHANNELS,
		.peers_per_s = DEFAULT_PEERS_PER_S,
		.plan = { .weight = 1 },
	};
	struct pc_store_tenant t = { .created_s = pc_clock_realtime() / PC_NS_PER_S };
	json_t *reply = read_args(args, &a);
	int rc;

	if (!reply)
		reply = check_args(&a);
	if (reply)
		return reply;
	memcpy(t.name, a.name, strlen(a.name) + 1);
	apply_args(&a, &t);
	reply = check_plan(d, &t);
	if (reply)
		return reply;
	rc = pc_users_add(d->users, &t, a.password);
	pc_auth_wipe(t.ha1_md5, sizeof(t.ha1_md5));
	pc_auth_wipe(t.ha1_sha256, sizeof(t.ha1_sha256));
	if (rc < 0)
		return store_failed(d, a.name, rc);
	pc_rates_set(d->rates, &t);
	pc_info("tenant %s added", a.name);
	return json_pack("{s:b, s:s, s:I}", "ok", 1, "name", a.name, "id", (json_int_t)t.id);
}

json_t *pc_cmd_tenant_set(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	struct tenant_args a = { 0 };
	const struct pc_store_tenant *old;
	struct pc_store_tenant t;
	json_t *reply = read_args(args, &a);
	int rc;

	if (reply)
		return reply;
	old = pc_users_find(d->users, a.name);
	if (!old)
		return pc_ctl_fail("no tenant \"%s\"", a.name);
	if (json_object_size(args) < 2)
		return pc_ctl_fail("tenant \"%s\": nothing to change", a.name);
	/* What was not given stays: read again over the present values. */
	a.allocations = old->max_allocations;
	a.permissions = old->max_permissions;
	a.channels = old->max_channels;
	a.peers_per_s = old->max_peers_per_s;
	a.plan = old->plan;
	reply = read_args(args, &a);
	if (!reply)
		reply = check_args(&a);
	if (reply)
		return reply;
	t = *old;
	apply_args(&a, &t);
	reply = check_plan(d, &t);
	if (reply) {
		pc_auth_wipe(&t, sizeof(t));
		return reply;
	}
	rc = pc_users_update(d->users, &t, a.password);
	if (rc == 0)
		pc_rates_set(d->rates, &t);
	pc_auth_wipe(&t, sizeof(t));
	if (rc < 0)
		return store_failed(d, a.name, rc);
	pc_info("tenant %s changed", a.name);
	return pc_ctl_ok();
}

/* Its peers have no account any more. Returns how many pipes ended. */
static unsigned int forget_peers(struct pc_daemon *d, uint32_t tenant)
{
	unsigned int ended = d->native ? pc_native_glue_end_tenant(d->native, tenant) : 0;
	const struct pc_store_peer *peer;

	while ((peer = pc_peers_of_tenant(d->peers, tenant))) {
		uint8_t identity[32];

		memcpy(identity, peer->identity, sizeof(identity));
		if (pc_peers_del(d->peers, identity) < 0)
			break;
		if (d->native)
			pc_native_glue_forget(d->native, identity);
	}
	return ended;
}

json_t *pc_cmd_tenant_del(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	const char *name = NULL;
	const struct pc_ctl_arg spec[] = { { "name", PC_CTL_ARG_STRING, true, &name } };
	const struct pc_store_tenant *t;
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	unsigned int ended;
	uint32_t id, limits;
	int rc;

	if (reply)
		return reply;
	t = pc_users_find(d->users, name);
	if (!t)
		return pc_ctl_fail("no tenant \"%s\"", name);
	id = t->id;
	limits = t->limits;
	rc = pc_users_del(d->users, id);
	if (rc < 0)
		return store_failed(d, name, rc);
	/* Credentials first, sessions second: nobody comes back in between. */
	ended = pc_turn_end_tenant(d->turn, id, pc_clock_monotonic());
	ended += forget_peers(d, id);
	pc_rates_unset(d->rates, limits);
	pc_info("tenant %s deleted, %u sessions ended", name, ended);
	return json_pack("{s:b, s:I}", "ok", 1, "sessions_ended", (json_int_t)ended);
}

json_t *pc_cmd_tenant_list(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	const char *name = NULL;
	const struct pc_ctl_arg spec[] = { { "name", PC_CTL_ARG_STRING, false, &name } };
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	json_t *tenants = NULL;
	int rc;

	if (reply)
		return reply;
	if (name && !pc_users_find(d->users, name))
		return pc_ctl_fail("no tenant \"%s\"", name);
	rc = pc_ctl_report_tenants(d, name, &tenants);
	if (rc < 0)
		return pc_ctl_fail("tenants: %s", pc_strerror(rc));
	return json_pack("{s:o}", "tenants", tenants);
}
