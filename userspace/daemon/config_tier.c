/* SPDX-License-Identifier: MIT */
/* [tier NAME]: service classes; owner, paid and free are there without one. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "daemon/config_int.h"

#define TIER "tier "

void pc_config_tier_defaults(struct pc_config *c)
{
	memcpy(c->tier, pc_tiers_builtin, sizeof(pc_tiers_builtin));
	c->n_tier = PC_ARRAY_SIZE(pc_tiers_builtin);
}

bool pc_config_tier_section(const char *name, size_t len)
{
	return len > strlen(TIER) && memcmp(name, TIER, strlen(TIER)) == 0;
}

int pc_config_tier_begin(struct pc_config_parser *p, const char *section, size_t len)
{
	struct pc_config *c = p->c;
	char name[PC_TIER_NAME_SIZE];

	len -= strlen(TIER);
	if (len >= sizeof(name))
		return pc_config_fail(p, "tier name longer than %zu characters", sizeof(name) - 1);
	memcpy(name, section + strlen(TIER), len);
	name[len] = '\0';
	if (!pc_name_valid(name))
		return pc_config_fail(p, "tier \"%s\": a name has letters, digits and . _ @ -",
				      name);
	for (p->tier = 0; p->tier < c->n_tier; p->tier++)
		if (strcmp(c->tier[p->tier].name, name) == 0)
			return 0;
	if (c->n_tier == PC_CONFIG_MAX_TIERS)
		return pc_config_fail(p, "tier \"%s\": more than %d tiers", name,
				      PC_CONFIG_MAX_TIERS);
	c->tier[c->n_tier] = pc_tiers_builtin[1];
	snprintf(c->tier[c->n_tier++].name, sizeof(name), "%s", name);
	return 0;
}

static int number(struct pc_config_parser *p, const char *key, const char *value, uint64_t min,
		  uint64_t max, uint32_t *ret)
{
	uint64_t v;

	if (pc_parse_u64(value, min, max, &v))
		return pc_config_fail(p, "%s \"%s\": not a number from %llu to %llu", key, value,
				      (unsigned long long)min, (unsigned long long)max);
	*ret = (uint32_t)v;
	return 0;
}

static int set_weight(struct pc_config_parser *p, struct pc_tier *t, const char *value)
{
	return number(p, "weight", value, 1, PC_PLAN_MAX_WEIGHT, &t->weight);
}

static int set_ceiling(struct pc_config_parser *p, struct pc_tier *t, const char *value)
{
	return number(p, "ceiling", value, 1, 100, &t->ceiling);
}

static int set_priority(struct pc_config_parser *p, struct pc_tier *t, const char *value)
{
	return pc_tier_class_parse(value, &t->rate_class)
		       ? pc_config_fail(p, "priority \"%s\": not one of owner, paid, free", value)
		       : 0;
}

static int set_dscp(struct pc_config_parser *p, struct pc_tier *t, const char *value)
{
	uint32_t dscp = PC_TIER_NO_DSCP;

	if (strcmp(value, "keep") != 0 && number(p, "dscp", value, 0, 63, &dscp))
		return PC_ERR_MALFORMED;
	t->dscp = (uint8_t)dscp;
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct pc_config_parser *p, struct pc_tier *t, const char *value);
} keys[] = {
	{ "weight", set_weight },
	{ "ceiling", set_ceiling },
	{ "priority", set_priority },
	{ "dscp", set_dscp },
};

int pc_config_tier_key(struct pc_config_parser *p, const char *name, const char *value)
{
	for (size_t i = 0; i < PC_ARRAY_SIZE(keys); i++) {
		uint8_t bit = (uint8_t)(1u << i);

		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (p->tier_seen[p->tier] & bit)
			return pc_config_fail(p, "key \"%s\" given twice", name);
		p->tier_seen[p->tier] |= bit;
		return keys[i].set(p, &p->c->tier[p->tier], value);
	}
	return pc_config_fail(p, "unknown key \"%s\" in [tier %s]", name, p->c->tier[p->tier].name);
}
