/* SPDX-License-Identifier: MIT */
/* The daemon's replies, made from the pinned maps, the counter file and the store. */
#include "pcstat.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "ctl/ctl.h"
#include "ctl/report.h"
#include "tools/offline.h"
#include "version.h"

#define MAX_LINKS 64

struct offline {
	const struct pcstat *p;
	struct pc_dp *dp;
	struct pc_store *store;
	struct pc_usage *usage;
	const char *name; /* only this tenant, or the session with this id; NULL: all */
	json_t *array;
};

static void offline_close(struct offline *o)
{
	pc_usage_free(o->usage);
	pc_store_close(o->store);
	pc_dp_close(o->dp);
}

static json_t *offline_open(struct offline *o)
{
	bool reset[PC_STORE_PATHS];
	char path[512];
	int rc;

	rc = pc_dp_open_readonly(o->p->bpffs, o->p->state_dir, &o->dp);
	if (rc < 0)
		return pc_ctl_fail("%s, %s: %s", o->p->bpffs, o->p->state_dir, pc_strerror(rc));
	snprintf(path, sizeof(path), "%s/%s", o->p->state_dir, PC_STORE_FILE);
	rc = pc_store_open(path, true, &o->store);
	if (rc == PC_ERR_STORE || rc == PC_ERR_VERSION)
		return pc_ctl_fail("%s: %s", path, pc_store_error(NULL));
	if (rc < 0)
		return pc_ctl_fail("%s: %s", path, pc_strerror(rc));
	pc_offline_resets(o->dp, o->store, reset);
	rc = pc_usage_new(o->store, pc_dp_max_sessions(o->dp), pc_offline_read, o->dp, reset,
			  &o->usage);
	if (rc == 0)
		rc = pc_usage_refresh(o->usage);
	return rc < 0 ? pc_ctl_fail("counters: %s", pc_strerror(rc)) : NULL;
}

static void fill_count(const struct pc_store_count counts[static PC_STORE_PATHS],
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

static uint64_t count_sessions(const struct pc_usage *usage, uint32_t max, uint32_t tenant)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < max; i++) {
		uint64_t session;
		uint32_t owner;

		n += pc_usage_slot(usage, i, &session, &owner) && owner == tenant;
	}
	return n;
}

static int add_tenant(void *arg, const struct pc_store_tenant *t)
{
	struct offline *o = arg;
	struct pc_store_count counts[PC_STORE_PATHS];
	struct pc_report_count c = { 0 };
	struct pc_store_refused refused;
	uint64_t sessions;
	int rc;

	if (o->name && strcmp(o->name, t->name) != 0)
		return 0;
	rc = pc_usage_tenant(o->usage, t->id, counts);
	if (rc < 0)
		return rc;
	fill_count(counts, &c);
	/* As the daemon kept it last; then those of a full uplink are told apart. */
	if (pc_store_refused_get(o->store, t->id, &refused) == 0 &&
	    c.drops_rate > refused.total[PC_STORE_REFUSED_ROOT])
		c.drops_rate -= refused.total[PC_STORE_REFUSED_ROOT];
	sessions = count_sessions(o->usage, pc_dp_max_sessions(o->dp), t->id);
	return json_array_append_new(o->array, pc_report_tenant(t->name, t->tier, &c, sessions)) < 0
		       ? -ENOMEM
		       : 0;
}

static int by_name(const void *a, const void *b)
{
	const json_t *const *x = a, *const *y = b;
	const char *s = json_string_value(json_object_get(*x, "name"));
	const char *t = json_string_value(json_object_get(*y, "name"));

	return strcmp(s ? s : "", t ? t : "");
}

/* In the order of the daemon's reply. */
static int sort_by_name(json_t *array)
{
	size_t n = json_array_size(array);
	_cleanup_free_ json_t **items = calloc(n + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		items[i] = json_incref(json_array_get(array, i));
	qsort(items, n, sizeof(*items), by_name);
	for (size_t i = 0; i < n; i++)
		json_array_set_new(array, i, items[i]);
	return 0;
}

static json_t *offline_tenants(struct offline *o)
{
	int rc;

	o->array = json_array();
	rc = pc_store_tenant_each(o->store, add_tenant, o);
	if (rc == 0)
		rc = sort_by_name(o->array);
	if (rc < 0 || (o->name && json_array_size(o->array) == 0)) {
		json_decref(o->array);
		return rc < 0 ? pc_ctl_fail("tenants: %s", pc_strerror(rc))
			      : pc_ctl_fail("no tenant \"%s\"", o->name);
	}
	return json_pack("{s:o}", "tenants", o->array);
}

/* --- sessions --- */

struct tenant_name {
	uint32_t id;
	struct pc_store_tenant t;
	bool found;
};

static int match_tenant(void *arg, const struct pc_store_tenant *t)
{
	struct tenant_name *wanted = arg;

	if (t->id != wanted->id)
		return 0;
	wanted->t = *t;
	wanted->found = true;
	return 1;
}

/* What a session is beyond its counters is known to the daemon only. */
static json_t *offline_sessions(struct offline *o)
{
	uint32_t max = pc_dp_max_sessions(o->dp);
	json_t *array = json_array();

	for (uint32_t i = 0; i < max; i++) {
		struct pc_store_count counts[PC_STORE_PATHS];
		struct pc_report_session s = { 0 };
		struct pc_report_count c = { 0 };
		struct tenant_name owner = { 0 };
		char id[20];

		if (!pc_usage_slot(o->usage, i, &s.id, &owner.id))
			continue;
		snprintf(id, sizeof(id), "%016llx", (unsigned long long)s.id);
		if (o->name && strcmp(o->name, id) != 0)
			continue;
		pc_store_tenant_each(o->store, match_tenant, &owner);
		s.tenant = owner.found ? owner.t.name : NULL;
		if (pc_usage_session(o->usage, i, counts) == 0)
			fill_count(counts, &c);
		json_array_append_new(array, pc_report_session(&s, &c));
	}
	if (o->name && json_array_size(array) == 0) {
		json_decref(array);
		return pc_ctl_fail("no session \"%s\"", o->name);
	}
	return json_pack("{s:o}", "sessions", array);
}

/* --- drops and health --- */

static json_t *drops_array(const struct offline *o)
{
	uint64_t kernel[PC_REASON_COUNT] = { 0 };
	const uint64_t *user = pc_dp_reasons_user(o->dp);
	json_t *array = json_array();

	pc_dp_reasons_kernel(o->dp, kernel);
	for (int i = 0; i < PC_REASON_COUNT; i++) {
		const struct pc_reason_info *info = pc_dp_reason_info((enum pc_reason)i);

		json_array_append_new(array, pc_report_reason(info->name, info->kind, info->text,
							      kernel[i], user ? user[i] : 0));
	}
	return array;
}

static json_t *links_array(const struct offline *o)
{
	struct pc_dp_link links[MAX_LINKS];
	size_t n = pc_dp_links(o->dp, links, MAX_LINKS);
	json_t *array = json_array();

	for (size_t i = 0; i < n && i < MAX_LINKS; i++) {
		char name[IF_NAMESIZE];

		if (!if_indextoname(links[i].ifindex, name))
			snprintf(name, sizeof(name), "#%u", links[i].ifindex);
		json_array_append_new(array,
				      json_pack("{s:s, s:s, s:s, s:b, s:b, s:s}", "interface", name,
						"mode", pc_dp_mode_name(links[i].mode), "place",
						links[i].shared ? "dispatcher" : "alone", "adopted",
						1, "verified", 0, "reason", ""));
	}
	return array;
}

static json_t *health_object(const struct offline *o)
{
	struct pc_dp_status status;
	uint32_t used = 0, size = 0, perms = 0, perm_room = 0;

	pc_dp_get_status(o->dp, &status);
	if (status.kernel) {
		pc_dp_flow_usage(o->dp, &used, &size);
		pc_dp_perm_usage(o->dp, &perms, &perm_room);
	}
	return json_pack("{s:b, s:s, s:I, s:b, s:o, s:{s:b, s:b, s:s, s:{s:I, s:I}, s:{s:I, s:I},"
			 " s:I}, s:{s:I, s:I},"
			 " s:{s:b, s:s}, s:[s]}",
			 "ok", 0, "version", PC_VERSION, "uptime_seconds", (json_int_t)0,
			 "draining", 0, "xdp", links_array(o), "kernel", "ok", status.kernel,
			 "adopted", status.kernel, "reason", status.reason, "flows", "used",
			 (json_int_t)used, "size", (json_int_t)size, "permissions", "used",
			 (json_int_t)perms, "size", (json_int_t)perm_room, "memory_bytes",
			 (json_int_t)status.memory, "sessions", "used",
			 (json_int_t)pc_usage_open_slots(o->usage), "max",
			 (json_int_t)pc_dp_max_sessions(o->dp), "store", "ok", 1, "reason", "",
			 "warnings", "pcd is not running");
}

static json_t *offline_status(struct offline *o)
{
	char path[512], peer_id[PC_PEER_ID_STRLEN] = "";
	json_t *tenants = offline_tenants(o);
	uint8_t key[32];
	json_t *status;

	if (!tenants || pc_ctl_error(tenants))
		return tenants;
	snprintf(path, sizeof(path), "%s/%s", o->p->state_dir, PC_IDENTITY_FILE);
	if (pc_identity_load_public(path, key) == 0)
		pc_peer_id_format(key, peer_id);
	status = json_pack("{s:{s:s, s:s, s:s}, s:O, s:o, s:o}", "node", "peer_id", peer_id, "uri",
			   "", "realm", "", "tenants", json_object_get(tenants, "tenants"), "drops",
			   drops_array(o), "health", health_object(o));
	json_decref(tenants);
	return status;
}

json_t *offline_get(const struct pcstat *p, const char *command, const json_t *args)
{
	struct offline o = { .p = p };
	json_t *reply;

	/* Rates are measured by the daemon: nothing that it leaves behind tells them. */
	if (strcmp(command, "tiers") == 0 || strcmp(command, "tenant history") == 0)
		return pc_ctl_fail("pcd is not running: rates are not known");
	reply = offline_open(&o);
	if (reply) {
		offline_close(&o);
		return reply;
	}
	if (strcmp(command, "tenant list") == 0) {
		o.name = json_string_value(json_object_get(args, "name"));
		reply = offline_tenants(&o);
	} else if (strcmp(command, "session list") == 0) {
		o.name = json_string_value(json_object_get(args, "id"));
		reply = offline_sessions(&o);
	} else if (strcmp(command, "drops") == 0) {
		reply = json_pack("{s:o}", "drops", drops_array(&o));
	} else if (strcmp(command, "health") == 0) {
		reply = health_object(&o);
	} else {
		reply = offline_status(&o);
	}
	offline_close(&o);
	return reply;
}
