/* SPDX-License-Identifier: MIT */
/*
 * What the files of the configuration share; nobody else includes this.
 *
 * config.c        reading: lines, sections, what holds between keys
 * config_keys.c   the keys and their values
 * config_tier.c   tiers
 * config_host.c   what depends on the host
 */
#ifndef PC_DAEMON_CONFIG_INT_H
#define PC_DAEMON_CONFIG_INT_H

#include "daemon/config.h"

struct pc_config_parser {
	struct pc_config *c;
	const char *name; /* of the file */
	const char *text;
	size_t len, pos;
	unsigned int line;
	const char *key; /* being set */
	uint64_t seen;	 /* bit by index into keys[] */
	size_t tier;	 /* of the section being read */
	uint8_t tier_seen[PC_CONFIG_MAX_TIERS];
	bool failed;
	char *error;
	size_t error_size;
};

struct pc_config_key {
	const char *section, *name;
	bool repeatable;
	int (*set)(struct pc_config_parser *p, const char *value);
};
extern const struct pc_config_key pc_config_keys[];
extern const size_t pc_config_n_keys;

/* --- config_tier.c --- */
void pc_config_tier_defaults(struct pc_config *c);
/* Whether a section, without its brackets, is a tier's. */
bool pc_config_tier_section(const char *name, size_t len);
int pc_config_tier_begin(struct pc_config_parser *p, const char *section, size_t len);
int pc_config_tier_key(struct pc_config_parser *p, const char *name, const char *value);

/* The first failure is the one that is told. Returns PC_ERR_MALFORMED. */
__attribute__((format(printf, 2, 3))) int pc_config_fail(struct pc_config_parser *p,
							 const char *fmt, ...);

#endif
