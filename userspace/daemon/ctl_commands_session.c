/* SPDX-License-Identifier: MIT */
/* Sessions over the control socket: allocations, and pipes of native peers. */
#include "daemon/ctl_commands.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "daemon/ctl_report.h"
#include "daemon/native_glue.h"

struct session_list {
	struct pc_daemon *d;
	json_t *array;
	uint64_t now;
	bool one; /* only the session @id */
	uint64_t id;
	const char *tenant; /* only those of this tenant; NULL: all */
};

static const char *relayed_text(const struct pc_addr *addr, char buf[static PC_ADDR_STRLEN])
{
	return addr->ip.family ? pc_addr_format(addr, buf) : NULL;
}

static int add_session(void *arg, const struct pc_turn_view *v)
{
	struct session_list *l = arg;
	const struct pc_store_tenant *t = pc_users_by_id(l->d->users, v->tenant);
	char client[PC_ADDR_STRLEN], server[PC_ADDR_STRLEN];
	char relayed[2][PC_ADDR_STRLEN];
	struct pc_store_count counts[PC_STORE_PATHS] = { 0 };
	struct pc_report_count c = { 0 };
	struct pc_report_session s = {
		.id = v->id,
		.kind = "allocation",
		.tenant = t ? t->name : NULL,
		.username = v->username,
		.age_seconds = l->now > v->created_ns ? (l->now - v->created_ns) / PC_NS_PER_S : 0,
		.expires_seconds =
			v->expires_ns > l->now ? (v->expires_ns - l->now) / PC_NS_PER_S : 0,
		.permissions = v->permissions,
		.channels = v->channels,
	};

	if ((l->one && v->id != l->id) || (l->tenant && (!t || strcmp(t->name, l->tenant) != 0)))
		return 0;
	s.client = pc_addr_format(&v->path.client, client);
	s.server = pc_addr_format(&v->path.server, server);
	s.relayed = relayed_text(&v->relayed[0], relayed[0]);
	s.relayed2 = relayed_text(&v->relayed[1], relayed[1]);
	pc_usage_session(l->d->usage, v->slot, counts); /* zeroes without a slot */
	pc_ctl_report_counts(counts, &c);
	return json_array_append_new(l->array, pc_report_session(&s, &c)) < 0 ? -ENOMEM : 0;
}

static int add_pipe(void *arg, const struct pc_native_pipe_view *v)
{
	struct session_list *l = arg;
	const struct pc_store_tenant *t = pc_users_by_id(l->d->users, v->tenant);
	char client[PC_ADDR_STRLEN], server[PC_ADDR_STRLEN], relayed[PC_ADDR_STRLEN];
	struct pc_store_count counts[PC_STORE_PATHS] = { 0 };
	struct pc_report_count c = { 0 };
	struct pc_report_session s = {
		.id = v->id,
		.kind = "pipe",
		.tenant = t ? t->name : NULL,
		.username = v->peer,
		.peer = v->other,
		.age_seconds = l->now > v->created_ns ? (l->now - v->created_ns) / PC_NS_PER_S : 0,
	};

	if ((l->one && v->id != l->id) || (l->tenant && (!t || strcmp(t->name, l->tenant) != 0)))
		return 0;
	s.client = pc_addr_format(&v->remote, client);
	s.server = pc_addr_format(&v->server, server);
	s.relayed = relayed_text(&v->relayed, relayed);
	pc_usage_session(l->d->usage, v->slot, counts);
	pc_ctl_report_counts(counts, &c);
	return json_array_append_new(l->array, pc_report_session(&s, &c)) < 0 ? -ENOMEM : 0;
}

static int parse_id(const char *text, uint64_t *ret_id)
{
	uint8_t b[8];
	int rc = pc_parse_hex(text, b, sizeof(b));

	if (rc < 0)
		return rc;
	*ret_id = 0;
	for (size_t i = 0; i < sizeof(b); i++)
		*ret_id = *ret_id << 8 | b[i];
	return 0;
}

json_t *pc_cmd_session_list(void *ctx, json_t *args)
{
	struct session_list l = { .d = ctx, .now = pc_clock_monotonic() };
	const char *id = NULL;
	const struct pc_ctl_arg spec[] = {
		{ "id", PC_CTL_ARG_STRING, false, &id },
		{ "tenant", PC_CTL_ARG_STRING, false, &l.tenant },
	};
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	int rc;

	if (reply)
		return reply;
	if (id && parse_id(id, &l.id) < 0)
		return pc_ctl_fail("\"%s\" is no session id: 16 hex digits", id);
	l.one = id != NULL;
	l.array = json_array();
	rc = l.array ? pc_usage_refresh(l.d->usage) : -ENOMEM;
	if (rc == 0)
		rc = pc_turn_each(l.d->turn, add_session, &l);
	if (rc == 0)
		rc = pc_native_glue_each(l.d->native, add_pipe, &l);
	if (rc == 0 && id && json_array_size(l.array) == 0) {
		json_decref(l.array);
		return pc_ctl_fail("no session \"%s\"", id);
	}
	if (rc < 0) {
		json_decref(l.array);
		return pc_ctl_fail("sessions: %s", pc_strerror(rc));
	}
	return json_pack("{s:o}", "sessions", l.array);
}
