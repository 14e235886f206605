/* SPDX-License-Identifier: MIT */
/* What pcstat shows: tenants, sessions, drops, health, and all of it at once. */
#include "daemon/ctl_commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/parse.h"
#include "daemon/ctl_report.h"
#include "daemon/native_glue.h"
#include "daemon/peers.h"
#include "daemon/rates.h"
#include "version.h"

void pc_ctl_report_counts(const struct pc_store_count counts[static PC_STORE_PATHS],
			  struct pc_report_count *c)
{
	for (int path = 0; path < PC_STORE_PATHS; path++) {
		const struct pc_store_count *from = &counts[path];
		const struct pc_report_dir up = { from->up_packets, from->up_payload_bytes,
						  from->up_wire_bytes };
		const struct pc_report_dir down = { from->down_packets, from->down_payload_bytes,
						    from->down_wire_bytes };

		pc_report_count_add(c, &up, &down,
				    path == PC_STORE_KERNEL ? &c->kernel_packets
							    : &c->user_packets);
		c->drops_rate += from->drops_rate;
		c->drops_credit += from->drops_credit;
	}
}

/* --- tenants --- */

struct tenant_row {
	const struct pc_store_tenant *t;
	uint64_t sessions;
};

struct tenant_rows {
	struct tenant_row *row;
	size_t n, size;
};

static int add_row(void *arg, const struct pc_store_tenant *t)
{
	struct tenant_rows *rows = arg;

	if (rows->n == rows->size) {
		size_t size = rows->size ? 2 * rows->size : 64;
		struct tenant_row *larger = reallocarray(rows->row, size, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		rows->row = larger;
		rows->size = size;
	}
	rows->row[rows->n++] = (struct tenant_row){ .t = t };
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct tenant_row *x = a, *y = b;

	return (x->t->id > y->t->id) - (x->t->id < y->t->id);
}

static int by_name(const void *a, const void *b)
{
	const struct tenant_row *x = a, *y = b;

	return strcmp(x->t->name, y->t->name);
}

static void count_one(const struct tenant_rows *rows, uint32_t tenant)
{
	const struct pc_store_tenant wanted = { .id = tenant };
	const struct tenant_row key = { .t = &wanted };
	struct tenant_row *row = bsearch(&key, rows->row, rows->n, sizeof(key), by_id);

	if (row)
		row->sessions++;
}

static int count_session(void *arg, const struct pc_turn_view *view)
{
	count_one(arg, view->tenant);
	return 0;
}

static int count_pipe(void *arg, const struct pc_native_pipe_view *view)
{
	count_one(arg, view->tenant);
	return 0;
}

static json_t *rate_object(const struct pc_rates_dir *d, uint64_t total_bps)
{
	json_t *o = json_pack("{s:I, s:I, s:I}", "bps", (json_int_t)d->bps, "allowed_bps",
			      (json_int_t)d->allowed_bps, "backlog_us",
			      (json_int_t)(d->backlog_ns / 1000));

	if (total_bps && d->allowed_bps)
		json_object_set_new(o, "share",
				    json_real((double)d->allowed_bps / (double)total_bps));
	return o;
}

static int add_quota(json_t *tenant, const struct pc_store_plan *p, const struct pc_quota_report *q)
{
	json_t *o = json_pack("{s:s}", "state", pc_quota_state_name(q->state));

	if (p->quota_day)
		json_object_set_new(o, "day",
				    json_pack("{s:I, s:I, s:I}", "used", (json_int_t)q->day_used,
					      "limit", (json_int_t)p->quota_day, "ends",
					      (json_int_t)q->day_end_s));
	if (p->quota_month)
		json_object_set_new(o, "month",
				    json_pack("{s:I, s:I, s:I}", "used", (json_int_t)q->month_used,
					      "limit", (json_int_t)p->quota_month, "ends",
					      (json_int_t)q->month_end_s));
	return json_object_set_new(tenant, "quota", o);
}

/* What the limiter knows of a tenant, beside its counters. */
static int add_rates(const struct pc_daemon *d, const struct pc_store_tenant *t, json_t *tenant)
{
	json_t *drops = json_object_get(tenant, "drops");
	const struct pc_store_plan *p = &t->plan;
	struct pc_rates_view v;
	json_t *more;
	int rc;

	pc_rates_get(d->rates, t->limits, pc_clock_monotonic(), &v);
	more = json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:{s:o, s:o}, s:I}", "plan",
			 "up_bps", (json_int_t)p->up_bps, "down_bps", (json_int_t)p->down_bps,
			 "guarantee_bps", (json_int_t)p->guarantee_bps, "packets_per_second",
			 (json_int_t)p->packets_per_s, "weight", (json_int_t)p->weight, "quota_day",
			 (json_int_t)p->quota_day, "quota_month", (json_int_t)p->quota_month,
			 "rate", "up", rate_object(&v.dir[PC_RATE_UP], d->config.capacity), "down",
			 rate_object(&v.dir[PC_RATE_DOWN], d->config.capacity), "marks",
			 (json_int_t)v.marks);
	rc = json_object_update(tenant, more);
	json_decref(more);
	if (rc == 0)
		rc = json_object_set_new(drops, "capacity", json_integer((json_int_t)v.drops_root));
	if (rc == 0)
		rc = json_object_set_new(drops, "quota", json_integer((json_int_t)v.drops_quota));
	if (rc == 0)
		rc = add_quota(tenant, p, &v.quota);
	return rc < 0 ? -ENOMEM : 0;
}

static int append_rows(struct pc_daemon *d, const struct tenant_rows *rows, const char *name,
		       json_t *array)
{
	for (size_t i = 0; i < rows->n; i++) {
		const struct tenant_row *row = &rows->row[i];
		struct pc_store_count counts[PC_STORE_PATHS];
		struct pc_report_count c = { 0 };
		json_t *tenant;
		int rc;

		if (name && strcmp(name, row->t->name) != 0)
			continue;
		rc = pc_usage_tenant(d->usage, row->t->id, counts);
		if (rc < 0)
			return rc;
		pc_ctl_report_counts(counts, &c);
		c.drops_rate = pc_rates_own_drops(d->rates, row->t->limits, c.drops_rate);
		tenant = pc_report_tenant(row->t->name, row->t->tier, &c, row->sessions);
		if (json_array_append_new(array, tenant) < 0)
			return -ENOMEM;
		rc = add_rates(d, row->t, tenant);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int pc_ctl_report_tenants(struct pc_daemon *d, const char *name, json_t **ret_array)
{
	struct tenant_rows rows = { 0 };
	json_t *array = json_array();
	int rc = array ? pc_usage_refresh(d->usage) : -ENOMEM;

	if (rc == 0)
		rc = pc_users_each(d->users, add_row, &rows);
	if (rc == 0 && rows.n) {
		qsort(rows.row, rows.n, sizeof(*rows.row), by_id);
		pc_turn_each(d->turn, count_session, &rows);
		pc_native_glue_each(d->native, count_pipe, &rows);
		qsort(rows.row, rows.n, sizeof(*rows.row), by_name);
		rc = append_rows(d, &rows, name, array);
	}
	free(rows.row);
	if (rc < 0)
		json_decref(array);
	else
		*ret_array = array;
	return rc;
}

/* --- drops --- */

static json_t *drops_array(struct pc_daemon *d)
{
	uint64_t kernel[PC_REASON_COUNT] = { 0 };
	const uint64_t *user = pc_dp_reasons_user(d->dp);
	json_t *array = json_array();

	pc_dp_reasons_kernel(d->dp, kernel); /* zeroes without a kernel half */
	for (int i = 0; array && i < PC_REASON_COUNT; i++) {
		const struct pc_reason_info *info = pc_dp_reason_info((enum pc_reason)i);

		json_array_append_new(array, pc_report_reason(info->name, info->kind, info->text,
							      kernel[i], user ? user[i] : 0));
	}
	return array;
}

json_t *pc_cmd_drops(void *ctx, json_t *args)
{
	json_t *reply = pc_ctl_args(args, NULL, 0);

	return reply ? reply : json_pack("{s:o}", "drops", drops_array(ctx));
}

/* --- health --- */

static json_t *interfaces_array(const struct pc_daemon *d, json_t *warnings)
{
	json_t *array = json_array();

	for (size_t i = 0; i < d->n_attach; i++) {
		const struct pc_attach_result *a = &d->attach[i];

		json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:b, s:b, s:s}",
						       "interface", a->interface, "mode",
						       pc_dp_mode_name(a->mode), "place",
						       a->mode == PC_DP_OFF ? ""
						       : a->shared	    ? "dispatcher"
									    : "alone",
						       "adopted", a->adopted, "verified",
						       a->verified, "reason", a->reason));
		if (a->reason[0])
			json_array_append_new(warnings,
					      json_sprintf("%s: XDP %s: %s", a->interface,
							   pc_dp_mode_name(a->mode), a->reason));
	}
	return array;
}

static void warn_full(const struct pc_daemon *d, json_t *warnings)
{
	uint32_t used, size;
	const char *name;

	if (pc_dp_fullest(d->dp, &name, &used, &size) == 0 && size && used >= size - size / 10)
		json_array_append_new(warnings, json_sprintf("kernel table %s: %u of %u used", name,
							     used, size));
}

static json_t *kernel_object(const struct pc_daemon *d, json_t *warnings)
{
	uint32_t flows = 0, flow_room = 0, perms = 0, perm_room = 0;
	struct pc_dp_status status;

	pc_dp_get_status(d->dp, &status);
	if (status.kernel) {
		pc_dp_flow_usage(d->dp, &flows, &flow_room);
		pc_dp_perm_usage(d->dp, &perms, &perm_room);
		warn_full(d, warnings);
	}
	if (status.kernel_error)
		json_array_append_new(warnings,
				      json_sprintf("no kernel data plane: %s", status.reason));
	return json_pack("{s:b, s:b, s:s, s:{s:I, s:I}, s:{s:I, s:I}, s:I}", "ok", status.kernel,
			 "adopted", status.adopted, "reason", status.reason, "flows", "used",
			 (json_int_t)flows, "size", (json_int_t)flow_room, "permissions", "used",
			 (json_int_t)perms, "size", (json_int_t)perm_room, "memory_bytes",
			 (json_int_t)status.memory);
}

static json_t *nexthops_object(const struct pc_daemon *d, json_t *warnings)
{
	unsigned int count = d->nexthops ? pc_nexthops_count(d->nexthops) : 0;
	unsigned int unresolved = d->nexthops ? pc_nexthops_unresolved(d->nexthops) : 0;

	if (unresolved)
		json_array_append_new(warnings, json_sprintf("%u of %u next hops not resolved",
							     unresolved, count));
	return json_pack("{s:I, s:I}", "used", (json_int_t)count, "unresolved",
			 (json_int_t)unresolved);
}

static json_t *turn_object(const struct pc_turn_stats *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "channels",
			 (json_int_t)s->channels, "permissions", (json_int_t)s->permissions,
			 "ports", (json_int_t)s->ports_in_use, "ports_shared",
			 (json_int_t)s->ports_shared, "port_sessions", (json_int_t)s->port_sessions,
			 "conflicts", (json_int_t)s->conflicts, "challenges",
			 (json_int_t)s->challenges, "data_up", (json_int_t)s->data_up, "data_down",
			 (json_int_t)s->data_down);
}

/* Those that were judged, by what was found, and those whose end has ended a pipe. */
static json_t *grants_object(const struct pc_native_glue_stats *s)
{
	json_t *o = json_object();

	for (int i = 0; i < PC_GRANT_VERDICTS; i++)
		json_object_set_new(o, pc_grant_verdict_name((enum pc_grant_verdict)i),
				    json_integer((json_int_t)s->grants[i]));
	json_object_set_new(o, "ended", json_integer((json_int_t)s->grants_ended));
	return o;
}

static json_t *native_object(const struct pc_daemon *d, json_t *warnings)
{
	struct pc_native_glue_stats s;
	json_t *drops = json_object();

	pc_native_glue_get_stats(d->native, &s);
	for (int i = 0; i < PC_NATIVE_DROP_COUNT; i++)
		json_object_set_new(drops, pc_native_drop_name((enum pc_native_drop)i),
				    json_integer((json_int_t)s.native.drops[i]));
	if (d->native && s.native.links >= d->config.native_peers)
		json_array_append_new(warnings,
				      json_sprintf("native peers: %u of %u connected",
						   s.native.links, d->config.native_peers));
	if (s.pipes >= d->config.max_pipes - d->config.max_pipes / 10)
		json_array_append_new(warnings, json_sprintf("pipes: %zu of %u used", s.pipes,
							     d->config.max_pipes));
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "on",
			 d->native != NULL, "peers", (json_int_t)pc_peers_count(d->peers),
			 "connected", (json_int_t)s.native.up, "registered",
			 (json_int_t)s.hub.registered, "calls", (json_int_t)s.hub.calls, "pipes",
			 (json_int_t)s.pipes, "handshakes", (json_int_t)s.native.handshakes,
			 "curve_operations", (json_int_t)s.native.curve_operations, "cookies",
			 (json_int_t)s.native.cookies_sent, "drops", drops, "grants",
			 grants_object(&s));
}

static json_t *health_object(struct pc_daemon *d)
{
	uint64_t uptime = (pc_clock_monotonic() - d->started_ns) / PC_NS_PER_S;
	uint32_t max = d->config.max_sessions;
	json_t *warnings = json_array();
	struct pc_turn_stats stats;
	json_t *xdp, *kernel, *nexthops;
	uint32_t used;

	pc_turn_get_stats(d->turn, &stats);
	used = stats.allocations + (uint32_t)pc_native_glue_pipes(d->native);
	if (d->store_error)
		json_array_append_new(warnings,
				      json_sprintf("store: %s", pc_strerror(d->store_error)));
	if (d->draining)
		json_array_append_new(warnings, json_string("draining: no new sessions"));
	if (used >= max - max / 10)
		json_array_append_new(warnings, json_sprintf("sessions: %u of %u used", used, max));
	if (stats.ports_shared)
		json_array_append_new(warnings, json_sprintf("relay ports: none was free, %u have "
							     "several sessions",
							     stats.ports_shared));
	xdp = interfaces_array(d, warnings);
	kernel = kernel_object(d, warnings);
	nexthops = nexthops_object(d, warnings);
	/* ok: new sessions are taken and figures are durable. Without XDP it is slow, not broken.
	 */
	return json_pack(
		"{s:b, s:s, s:I, s:b, s:o, s:o, s:{s:I, s:I}, s:o, s:{s:b, s:s}, s:{s:I, s:I}, s:I,"
		" s:o, s:o, s:o}",
		"ok", d->store_error == 0, "version", PC_VERSION, "uptime_seconds",
		(json_int_t)uptime, "draining", d->draining, "xdp", xdp, "kernel", kernel,
		"sessions", "used", (json_int_t)used, "max", (json_int_t)max, "nexthops", nexthops,
		"store", "ok", d->store_error == 0, "reason",
		d->store_error ? pc_strerror(d->store_error) : "", "folds", "done",
		(json_int_t)d->folds, "failed", (json_int_t)d->fold_failures, "reloads",
		(json_int_t)d->reloads, "turn", turn_object(&stats), "native",
		native_object(d, warnings), "warnings", warnings);
}

json_t *pc_cmd_health(void *ctx, json_t *args)
{
	json_t *reply = pc_ctl_args(args, NULL, 0);

	return reply ? reply : health_object(ctx);
}

/* --- everything --- */

json_t *pc_cmd_status(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	char peer_id[PC_PEER_ID_STRLEN], uri[256];
	json_t *reply = pc_ctl_args(args, NULL, 0);
	json_t *tenants = NULL;
	int rc;

	if (reply)
		return reply;
	rc = pc_ctl_report_tenants(d, NULL, &tenants);
	if (rc < 0)
		return pc_ctl_fail("tenants: %s", pc_strerror(rc));
	return json_pack("{s:{s:s, s:s, s:s}, s:o, s:o, s:o}", "node", "peer_id",
			 pc_peer_id_format(d->identity.public_key, peer_id), "uri",
			 pc_daemon_turn_uri(d, uri, sizeof(uri)), "realm", d->config.realm,
			 "tenants", tenants, "drops", drops_array(d), "health", health_object(d));
}
