/* SPDX-License-Identifier: MIT */
#include "pcstat.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/cli.h"
#include "ctl/report.h"
#include "table.h"

/* --- reading replies --- */

static uint64_t number(const json_t *object, const char *a, const char *b)
{
	const json_t *v = json_object_get(object, a);

	if (b)
		v = json_object_get(v, b);
	return (uint64_t)json_integer_value(v);
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static uint64_t payload(const json_t *object)
{
	return number(object, "up", "payload_bytes") + number(object, "down", "payload_bytes");
}

/* A line "name  value", the value from somewhere else and therefore escaped. */
static void line(FILE *f, const char *name, const char *value)
{
	char buf[1024];

	pc_report_escape(value ? value : "-", buf, sizeof(buf));
	fprintf(f, "%-12s %s\n", name, buf);
}

static const char *format_duration(uint64_t s, char buf[static 32])
{
	if (s >= 86400)
		snprintf(buf, 32, "%" PRIu64 "d %02" PRIu64 "h", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(buf, 32, "%" PRIu64 "h %02" PRIu64 "m", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(buf, 32, "%" PRIu64 "m %02" PRIu64 "s", s / 60, s % 60);
	else
		snprintf(buf, 32, "%" PRIu64 "s", s);
	return buf;
}

/* --- tenants --- */

static const json_t *find_by(const json_t *array, const char *key, const char *value)
{
	const json_t *item;
	size_t i;

	json_array_foreach (array, i, item) {
		const char *have = text(item, key);

		if (have && value && strcmp(have, value) == 0)
			return item;
	}
	return NULL;
}

/* Bits per second of payload between two replies about one thing. */
static double rate_of(const json_t *now, const json_t *before, const char *dir, double seconds)
{
	uint64_t a = number(before, dir, "payload_bytes");
	uint64_t b = number(now, dir, "payload_bytes");

	return before && b > a && seconds > 0 ? (double)(b - a) * 8 / seconds : 0;
}

struct ranked {
	const json_t *tenant;
	const json_t *before;
	double rate;
	uint64_t total;
};

static int by_traffic(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->rate < y->rate || x->rate > y->rate)
		return x->rate < y->rate ? 1 : -1;
	return (x->total < y->total) - (x->total > y->total);
}

static struct ranked *rank(const json_t *tenants, const json_t *before, double seconds)
{
	struct ranked *ranked = calloc(json_array_size(tenants) + 1, sizeof(*ranked));
	const json_t *t;
	size_t i;

	if (!ranked)
		return NULL;
	json_array_foreach (tenants, i, t) {
		const json_t *old = find_by(before, "name", text(t, "name"));

		ranked[i] = (struct ranked){
			.tenant = t,
			.before = old,
			.rate = rate_of(t, old, "up", seconds) + rate_of(t, old, "down", seconds),
			.total = payload(t),
		};
	}
	qsort(ranked, json_array_size(tenants), sizeof(*ranked), by_traffic);
	return ranked;
}

static void show_ranked(FILE *f, const json_t *tenants, const json_t *before, double seconds,
			unsigned int width, unsigned int rows)
{
	static const struct table_column columns[] = {
		{ "TENANT", false, 0 },	  { "TIER", false, 6 },	 { "SESSIONS", true, 2 },
		{ "UP", true, 0 },	  { "DOWN", true, 0 },	 { "UP RATE", true, 1 },
		{ "DOWN RATE", true, 1 }, { "KERNEL", true, 3 }, { "USER", true, 3 },
		{ "DROPS", true, 5 },
	};
	/* Without an earlier reply there are no rates to show. */
	static const struct table_column totals[] = {
		{ "TENANT", false, 0 }, { "TIER", false, 6 }, { "SESSIONS", true, 2 },
		{ "UP", true, 0 },	{ "DOWN", true, 0 },  { "KERNEL", true, 3 },
		{ "USER", true, 3 },	{ "DROPS", true, 5 },
	};
	_cleanup_free_ struct ranked *ranked = rank(tenants, before, seconds);
	struct table t;

	if (!ranked)
		return;
	if (before)
		table_init(&t, columns, PC_ARRAY_SIZE(columns));
	else
		table_init(&t, totals, PC_ARRAY_SIZE(totals));
	for (size_t i = 0; i < json_array_size(tenants); i++) {
		const json_t *o = ranked[i].tenant;

		table_text(&t, text(o, "name"));
		table_text(&t, text(o, "tier"));
		table_count(&t, number(o, "sessions", NULL));
		table_bytes(&t, number(o, "up", "payload_bytes"));
		table_bytes(&t, number(o, "down", "payload_bytes"));
		if (before) {
			table_rate(&t, rate_of(o, ranked[i].before, "up", seconds));
			table_rate(&t, rate_of(o, ranked[i].before, "down", seconds));
		}
		table_count(&t, number(o, "kernel", "packets"));
		table_count(&t, number(o, "user", "packets"));
		table_count(&t, number(o, "drops", "rate") + number(o, "drops", "credit"));
	}
	table_print(&t, f, width, rows);
	table_free(&t);
}

void show_tenants(FILE *f, const json_t *tenants, unsigned int width)
{
	show_ranked(f, tenants, NULL, 0, width, 0);
}

static void show_counts(FILE *f, const json_t *o)
{
	static const char *const dirs[] = { "up", "down" };
	char buf[24];

	for (size_t i = 0; i < PC_ARRAY_SIZE(dirs); i++) {
		const json_t *d = json_object_get(o, dirs[i]);

		fprintf(f, "%-12s %" PRIu64 " packets, %" PRIu64 " bytes payload (%s), %" PRIu64,
			dirs[i], number(d, "packets", NULL), number(d, "payload_bytes", NULL),
			pc_cli_quantity((double)number(d, "payload_bytes", NULL), "B", buf),
			number(d, "wire_bytes", NULL));
		fputs(" bytes on the wire\n", f);
	}
	fprintf(f, "%-12s %" PRIu64 " kernel, %" PRIu64 " user space\n", "packets by",
		number(o, "kernel", "packets"), number(o, "user", "packets"));
	fprintf(f,
		"%-12s %" PRIu64 " rate, %" PRIu64 " capacity, %" PRIu64 " quota, %" PRIu64
		" credit\n",
		"drops", number(o, "drops", "rate"), number(o, "drops", "capacity"),
		number(o, "drops", "quota"), number(o, "drops", "credit"));
}

void show_tenant(FILE *f, const json_t *tenant)
{
	line(f, "tenant", text(tenant, "name"));
	line(f, "tier", text(tenant, "tier"));
	fprintf(f, "%-12s %" PRIu64 "\n", "sessions", number(tenant, "sessions", NULL));
	show_counts(f, tenant);
	show_plan(f, tenant);
}

/* --- sessions --- */

void show_sessions(FILE *f, const json_t *sessions, unsigned int width)
{
	static const struct table_column columns[] = {
		{ "SESSION", false, 0 },  { "TENANT", false, 0 },  { "CLIENT", false, 1 },
		{ "LEADS TO", false, 3 }, { "AGE", true, 5 },	   { "EXPIRES", true, 6 },
		{ "PERMS", true, 8 },	  { "CHANNELS", true, 7 }, { "UP", true, 0 },
		{ "DOWN", true, 0 },	  { "USER", true, 4 },
	};
	const json_t *s, *relayed;
	struct table t;
	size_t i;

	table_init(&t, columns, PC_ARRAY_SIZE(columns));
	json_array_foreach (sessions, i, s) {
		char age[32], expires[32];

		table_text(&t, text(s, "id"));
		table_text(&t, text(s, "tenant"));
		table_text(&t, text(s, "client"));
		relayed = json_array_get(json_object_get(s, "relayed"), 0);
		table_text(&t, relayed ? json_string_value(relayed) : text(s, "peer"));
		format_duration(number(s, "age_seconds", NULL), age);
		format_duration(number(s, "expires_seconds", NULL), expires);
		/* Without a daemon only counters are known. */
		table_text(&t, text(s, "client") ? age : NULL);
		table_text(&t, number(s, "expires_seconds", NULL) ? expires : NULL);
		table_count(&t, number(s, "permissions", NULL));
		table_count(&t, number(s, "channels", NULL));
		table_bytes(&t, number(s, "up", "payload_bytes"));
		table_bytes(&t, number(s, "down", "payload_bytes"));
		table_count(&t, number(s, "user", "packets"));
	}
	table_print(&t, f, width, 0);
	table_free(&t);
}

void show_session(FILE *f, const json_t *s)
{
	const json_t *relayed;
	char duration[32];
	size_t i;

	line(f, "session", text(s, "id"));
	line(f, "kind", text(s, "kind"));
	line(f, "tenant", text(s, "tenant"));
	line(f, "username", text(s, "username"));
	line(f, "client", text(s, "client"));
	line(f, "server", text(s, "server"));
	json_array_foreach (json_object_get(s, "relayed"), i, relayed)
		line(f, "relayed", json_string_value(relayed));
	line(f, "age", format_duration(number(s, "age_seconds", NULL), duration));
	if (text(s, "peer"))
		line(f, "peer", text(s, "peer"));
	line(f, "expires in", format_duration(number(s, "expires_seconds", NULL), duration));
	fprintf(f, "%-12s %" PRIu64 ", channels %" PRIu64 "\n", "permissions",
		number(s, "permissions", NULL), number(s, "channels", NULL));
	show_counts(f, s);
}

/* --- drops --- */

void show_drops(FILE *f, const json_t *drops, bool all, unsigned int width)
{
	static const struct table_column columns[] = {
		{ "KIND", false, 3 }, { "REASON", false, 0 },  { "KERNEL", true, 0 },
		{ "USER", true, 0 },  { "MEANING", false, 5 },
	};
	const json_t *r;
	struct table t;
	size_t i;

	table_init(&t, columns, PC_ARRAY_SIZE(columns));
	json_array_foreach (drops, i, r) {
		uint64_t kernel = number(r, "kernel", NULL), user = number(r, "user", NULL);

		if (!all && !kernel && !user)
			continue;
		table_text(&t, text(r, "kind"));
		table_text(&t, text(r, "name"));
		table_count(&t, kernel);
		table_count(&t, user);
		table_text(&t, text(r, "text"));
	}
	if (t.n_cells)
		table_print(&t, f, width, 0);
	table_free(&t);
}

/* --- health --- */

static void show_interfaces(FILE *f, const json_t *health)
{
	const json_t *x;
	size_t i;

	json_array_foreach (json_object_get(health, "xdp"), i, x) {
		const char *mode = text(x, "mode"), *place = text(x, "place");
		char buf[512];

		snprintf(buf, sizeof(buf), "%s: XDP %s%s%s%s%s", text(x, "interface"),
			 mode ? mode : "?", place && place[0] ? ", " : "", place ? place : "",
			 flag(x, "adopted") ? ", adopted" : "",
			 flag(x, "verified") ? ", verified" : "");
		line(f, i ? "" : "interfaces", buf);
	}
}

static void show_warnings(FILE *f, const json_t *health)
{
	const json_t *w;
	size_t i;

	json_array_foreach (json_object_get(health, "warnings"), i, w)
		line(f, i ? "" : "warnings", json_string_value(w));
}

/* Where any was shown. */
static void show_grants(FILE *f, const json_t *native)
{
	const json_t *grants = json_object_get(native, "grants"), *count;
	uint64_t good = number(grants, "good", NULL), ended = number(grants, "ended", NULL);
	uint64_t all = 0;
	const char *name;

	json_object_foreach ((json_t *)grants, name, count)
		all += (uint64_t)json_integer_value(count);
	if (all)
		fprintf(f,
			"%-12s %" PRIu64 " taken, %" PRIu64 " refused, %" PRIu64
			" ran out with a pipe\n",
			"grants", good, all - good - ended, ended);
}

void show_health(FILE *f, const json_t *health)
{
	const json_t *kernel = json_object_get(health, "kernel");
	const json_t *native = json_object_get(health, "native");
	const json_t *store = json_object_get(health, "store");
	const char *reason = text(kernel, "reason");
	char buf[512], duration[32];

	line(f, "health", flag(health, "ok") ? "ok" : "NOT OK");
	snprintf(buf, sizeof(buf), "%s, up %s%s", text(health, "version"),
		 format_duration(number(health, "uptime_seconds", NULL), duration),
		 flag(health, "draining") ? ", draining" : "");
	line(f, "pcd", buf);
	show_interfaces(f, health);
	if (flag(kernel, "ok"))
		snprintf(buf, sizeof(buf), "forwarding");
	else
		snprintf(buf, sizeof(buf), "none%s%s", reason && reason[0] ? ": " : "",
			 reason && reason[0] ? reason : ", everything is relayed in user space");
	line(f, "kernel", buf);
	fprintf(f, "%-12s %" PRIu64 " of %" PRIu64 "\n", "sessions",
		number(health, "sessions", "used"), number(health, "sessions", "max"));
	if (json_object_get(health, "turn"))
		fprintf(f,
			"%-12s %" PRIu64 ", %" PRIu64 " shared, at most %" PRIu64
			" sessions on one; %" PRIu64 " conflicts\n",
			"relay ports", number(health, "turn", "ports"),
			number(health, "turn", "ports_shared"),
			number(health, "turn", "port_sessions"),
			number(health, "turn", "conflicts"));
	if (flag(native, "on"))
		fprintf(f,
			"%-12s %" PRIu64 ", %" PRIu64 " connected, %" PRIu64 " registered; %" PRIu64
			" pipes; %" PRIu64 " handshakes\n",
			"peers", number(native, "peers", NULL), number(native, "connected", NULL),
			number(native, "registered", NULL), number(native, "pipes", NULL),
			number(native, "handshakes", NULL));
	if (flag(native, "on"))
		show_grants(f, native);
	fprintf(f, "%-12s %" PRIu64 " of %" PRIu64 "\n", "flows", number(kernel, "flows", "used"),
		number(kernel, "flows", "size"));
	fprintf(f, "%-12s %" PRIu64 " of %" PRIu64 "\n", "permissions",
		number(kernel, "permissions", "used"), number(kernel, "permissions", "size"));
	if (json_object_get(health, "nexthops"))
		fprintf(f, "%-12s %" PRIu64 ", %" PRIu64 " not resolved\n", "next hops",
			number(health, "nexthops", "used"),
			number(health, "nexthops", "unresolved"));
	snprintf(buf, sizeof(buf), "%s", flag(store, "ok") ? "ok" : text(store, "reason"));
	line(f, "store", buf);
	if (json_object_get(health, "folds"))
		fprintf(f, "%-12s %" PRIu64 " done, %" PRIu64 " failed\n", "folds",
			number(health, "folds", "done"), number(health, "folds", "failed"));
	show_warnings(f, health);
}

/* --- everything on one screen --- */

void show_status(FILE *f, const json_t *status, const json_t *before, double seconds,
		 unsigned int width, unsigned int height)
{
	const json_t *node = json_object_get(status, "node");
	const json_t *health = json_object_get(status, "health");
	/* What the rest of the screen takes, roughly; a screen that scrolls is no view. */
	unsigned int rows = height > 30 ? height - 26 : height ? 5 : 0;

	line(f, "node", text(node, "peer_id"));
	if (text(node, "uri") && text(node, "uri")[0])
		line(f, "uri", text(node, "uri"));
	show_health(f, health);
	fputc('\n', f);
	show_ranked(f, json_object_get(status, "tenants"), json_object_get(before, "tenants"),
		    seconds, width, rows);
	fputc('\n', f);
	show_drops(f, json_object_get(status, "drops"), false, width);
}
