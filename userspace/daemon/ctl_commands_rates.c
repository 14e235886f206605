/* SPDX-License-Identifier: MIT */
/* Rates over the control socket: the last minutes of a tenant, and how tiers share the uplink. */
#include "daemon/ctl_commands.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon/rates.h"

static json_t *series(const struct pc_rates *r, uint32_t limits, unsigned int direction)
{
	uint64_t bps[PC_RATES_HISTORY];
	size_t n = pc_rates_history(r, limits, direction, bps);
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_integer((json_int_t)bps[i]));
	return array;
}

json_t *pc_cmd_tenant_history(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	const char *name = NULL;
	const struct pc_ctl_arg spec[] = { { "name", PC_CTL_ARG_STRING, true, &name } };
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	const struct pc_store_tenant *t;
	struct pc_rates_view v;

	if (reply)
		return reply;
	t = pc_users_find(d->users, name);
	if (!t)
		return pc_ctl_fail("no tenant \"%s\"", name);
	pc_rates_get(d->rates, t->limits, pc_clock_monotonic(), &v);
	return json_pack("{s:s, s:i, s:o, s:o, s:I, s:I}", "name", t->name, "interval_seconds", 1,
			 "up_bps", series(d->rates, t->limits, PC_RATE_UP), "down_bps",
			 series(d->rates, t->limits, PC_RATE_DOWN), "up_limit_bps",
			 (json_int_t)v.dir[PC_RATE_UP].allowed_bps, "down_limit_bps",
			 (json_int_t)v.dir[PC_RATE_DOWN].allowed_bps);
}

/* --- tiers --- */

struct sums {
	struct pc_daemon *d;
	const struct pc_tier *tiers;
	size_t n;
	uint64_t now;
	struct {
		uint64_t tenants, active, drops;
		uint64_t bps[2], allowed_bps[2];
		bool unlimited[2]; /* some tenant has no limit: neither has the sum */
	} sum[PC_CONFIG_MAX_TIERS];
};

static int add_tenant(void *arg, const struct pc_store_tenant *t)
{
	struct sums *s = arg;
	struct pc_rates_view v;

	pc_rates_get(s->d->rates, t->limits, s->now, &v);
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->tiers[i].name, t->tier) != 0)
			continue;
		s->sum[i].tenants++;
		s->sum[i].active += v.dir[0].bps || v.dir[1].bps;
		s->sum[i].drops += v.drops_rate + v.drops_root + v.drops_quota;
		for (int d = 0; d < 2; d++) {
			s->sum[i].bps[d] += v.dir[d].bps;
			s->sum[i].allowed_bps[d] += v.dir[d].allowed_bps;
			s->sum[i].unlimited[d] |= !v.dir[d].allowed_bps;
		}
	}
	return 0;
}

static json_t *tier_dir(const struct sums *s, size_t i, unsigned int direction)
{
	uint64_t allowed = s->sum[i].allowed_bps[direction];

	return json_pack("{s:I, s:I}", "bps", (json_int_t)s->sum[i].bps[direction], "allowed_bps",
			 (json_int_t)(s->sum[i].unlimited[direction] ? 0 : allowed));
}

json_t *pc_cmd_tiers(void *ctx, json_t *args)
{
	struct pc_daemon *d = ctx;
	json_t *reply = pc_ctl_args(args, NULL, 0);
	struct sums s = { .d = d, .now = pc_clock_monotonic() };
	json_t *array;

	if (reply)
		return reply;
	s.n = pc_rates_tiers(d->rates, &s.tiers);
	pc_users_each(d->users, add_tenant, &s);
	array = json_array();
	for (size_t i = 0; i < s.n; i++) {
		const struct pc_tier *t = &s.tiers[i];

		json_array_append_new(
			array,
			json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:o, s:o, s:I}", "name", t->name,
				  "class", pc_tier_class_name(t->rate_class), "weight",
				  (int)t->weight, "ceiling_bps",
				  (json_int_t)(d->config.capacity / 100 * t->ceiling), "tenants",
				  (json_int_t)s.sum[i].tenants, "active",
				  (json_int_t)s.sum[i].active, "up", tier_dir(&s, i, PC_RATE_UP),
				  "down", tier_dir(&s, i, PC_RATE_DOWN), "drops",
				  (json_int_t)s.sum[i].drops));
	}
	return json_pack("{s:I, s:o}", "capacity_bps", (json_int_t)d->config.capacity, "tiers",
			 array);
}
