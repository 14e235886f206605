/* SPDX-License-Identifier: MIT */
/* Rates and shares for people. */
#include "pcstat.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/cli.h"
#include "ctl/plot.h"
#include "table.h"

#define PLOT_WIDTH  80
#define PLOT_HEIGHT 8

static double real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* "20 Mbit/s", "no limit" */
static const char *limit_text(double value, const char *unit, char buf[static 24])
{
	if (value <= 0)
		snprintf(buf, 24, "no limit");
	else
		pc_cli_quantity(value, unit, buf);
	return buf;
}

static void show_direction(FILE *f, const json_t *tenant, const char *key, const char *name)
{
	const json_t *o = json_object_get(json_object_get(tenant, "rate"), key);
	double share = real(o, "share");
	char now[24], allowed[24];

	fprintf(f, "%-12s %s now, %s allowed", name, pc_cli_quantity(real(o, "bps"), "bit/s", now),
		limit_text(real(o, "allowed_bps"), "bit/s", allowed));
	if (share > 0)
		fprintf(f, " (%.1f %% of the capacity)", 100 * share);
	fprintf(f, ", %.1f ms ahead\n", real(o, "backlog_us") / 1000);
}

static void show_quota(FILE *f, const json_t *tenant, const char *key, const char *name)
{
	const json_t *o = json_object_get(json_object_get(tenant, "quota"), key);
	char used[24], limit[24];

	if (!o)
		return;
	fprintf(f, "%-12s %s of %s used%s\n", name, pc_cli_quantity(real(o, "used"), "B", used),
		pc_cli_quantity(real(o, "limit"), "B", limit),
		real(o, "used") >= real(o, "limit") ? ": reached" : "");
}

void show_plan(FILE *f, const json_t *tenant)
{
	const json_t *plan = json_object_get(tenant, "plan");
	char up[24], down[24], guarantee[24], packets[24];

	if (!plan)
		return;
	fprintf(f, "%-12s %s up, %s down, weight %.0f\n", "plan",
		limit_text(real(plan, "up_bps"), "bit/s", up),
		limit_text(real(plan, "down_bps"), "bit/s", down), real(plan, "weight"));
	if (real(plan, "guarantee_bps") > 0)
		fprintf(f, "%-12s %s each way\n", "guarantee",
			pc_cli_quantity(real(plan, "guarantee_bps"), "bit/s", guarantee));
	if (real(plan, "packets_per_second") > 0)
		fprintf(f, "%-12s %s each way\n", "packets",
			pc_cli_quantity(real(plan, "packets_per_second"), "packets/s", packets));
	show_direction(f, tenant, "up", "rate up");
	show_direction(f, tenant, "down", "rate down");
	show_quota(f, tenant, "day", "quota day");
	show_quota(f, tenant, "month", "quota month");
	fprintf(f, "%-12s %.0f packets with CE\n", "marks", real(tenant, "marks"));
}

/* One direction of a tenant's history. */
static void plot_rates(FILE *f, const json_t *history, const char *key, const char *limit_key,
		       const char *title, unsigned int width)
{
	const json_t *values = json_object_get(history, key);
	size_t n = json_array_size(values);
	_cleanup_free_ double *value = calloc(n + 1, sizeof(*value));
	struct pc_plot p = {
		.title = title,
		.value = value,
		.n = n,
		.seconds = real(history, "interval_seconds"),
		.limit = real(history, limit_key),
		.width = width ? width : PLOT_WIDTH,
		.height = PLOT_HEIGHT,
		.ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0,
	};

	if (!value)
		return;
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(values, i);

		value[i] = json_is_number(v) ? json_number_value(v) : NAN;
	}
	pc_plot_print(f, &p);
}

void show_history(FILE *f, const json_t *history, unsigned int width)
{
	setlocale(LC_CTYPE, "");
	plot_rates(f, history, "up_bps", "up_limit_bps", "from the tenant", width);
	plot_rates(f, history, "down_bps", "down_limit_bps", "to the tenant", width);
}

void show_tiers(FILE *f, const json_t *reply, unsigned int width)
{
	static const struct table_column columns[] = {
		{ "TIER", false, 0 },	   { "CLASS", false, 3 },   { "WEIGHT", true, 4 },
		{ "CEILING", true, 5 },	   { "TENANTS", true, 2 },  { "ACTIVE", true, 1 },
		{ "UP", true, 0 },	   { "UP SHARE", true, 0 }, { "DOWN", true, 0 },
		{ "DOWN SHARE", true, 0 }, { "DROPS", true, 3 },
	};
	const json_t *o;
	struct table t;
	size_t i;

	if (real(reply, "capacity_bps") > 0) {
		char buf[24];

		fprintf(f, "capacity     %s each way\n\n",
			pc_cli_quantity(real(reply, "capacity_bps"), "bit/s", buf));
	} else {
		fputs("capacity     not set: tenants have their own rates only\n\n", f);
	}
	table_init(&t, columns, PC_ARRAY_SIZE(columns));
	json_array_foreach (json_object_get(reply, "tiers"), i, o) {
		const json_t *up = json_object_get(o, "up"), *down = json_object_get(o, "down");

		table_text(&t, json_string_value(json_object_get(o, "name")));
		table_text(&t, json_string_value(json_object_get(o, "class")));
		table_count(&t, (uint64_t)real(o, "weight"));
		table_rate(&t, real(o, "ceiling_bps"));
		table_count(&t, (uint64_t)real(o, "tenants"));
		table_count(&t, (uint64_t)real(o, "active"));
		table_rate(&t, real(up, "bps"));
		table_rate(&t, real(up, "allowed_bps"));
		table_rate(&t, real(down, "bps"));
		table_rate(&t, real(down, "allowed_bps"));
		table_count(&t, (uint64_t)real(o, "drops"));
	}
	table_print(&t, f, width, 0);
	table_free(&t);
}
