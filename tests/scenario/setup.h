/* SPDX-License-Identifier: MIT */
/* Words of a scenario about configuration, accounts and policy. For run.c. */
#ifndef PC_TESTS_SCENARIO_SETUP_H
#define PC_TESTS_SCENARIO_SETUP_H

#include "tests/scenario/scenario.h"

static inline int cmd_relay(struct scenario *s, char **w, int n)
{
	struct pc_turn_relay_ip *ip = &s->f.config.relay_ips[s->f.config.n_relay_ips];

	if (n < 2 || s->f.config.n_relay_ips == PC_TURN_MAX_RELAY_IPS ||
	    pc_ip_parse(w[1], &ip->local) < 0 ||
	    pc_ip_parse(n > 2 ? w[2] : w[1], &ip->external) < 0)
		return wrong(s, "relay LOCAL [EXTERNAL]");
	s->f.config.n_relay_ips++;
	return 0;
}

static inline int cmd_set(struct scenario *s, char **w, int n)
{
	struct pc_turn_config *c = &s->f.config;
	unsigned long v;

	if (n < 3)
		return wrong(s, "set KEY VALUE");
	v = strtoul(w[2], NULL, 0);
	if (strcmp(w[1], "realm") == 0)
		snprintf(c->realm, sizeof(c->realm), "%s", w[2]);
	else if (strcmp(w[1], "low-port") == 0)
		c->port_low = (uint16_t)v;
	else if (strcmp(w[1], "high-port") == 0)
		c->port_high = (uint16_t)v;
	else if (strcmp(w[1], "max-allocations") == 0)
		c->max_allocations = (uint32_t)v;
	else if (strcmp(w[1], "max-lifetime") == 0)
		c->max_lifetime_s = (uint32_t)v;
	else if (strcmp(w[1], "strangers") == 0)
		c->stranger_replies_per_s = (uint32_t)v;
	else if (strcmp(w[1], "draining") == 0)
		c->draining = v != 0;
	else if (strcmp(w[1], "nonce-key") == 0)
		memset(c->nonce_keys.current, (int)v, sizeof(c->nonce_keys.current));
	else if (strcmp(w[1], "previous-nonce-key") == 0)
		memset(c->nonce_keys.previous, (int)v, sizeof(c->nonce_keys.previous));
	else if (strcmp(w[1], "alternate") != 0 || pc_addr_parse(w[2], &c->alternate) < 0)
		return wrong(s, "set %s %s", w[1], w[2]);
	return 0;
}

static inline int cmd_rule(struct scenario *s, char **w, int n)
{
	struct pc_prefix prefix;

	if (n < 2 || pc_prefix_parse(w[1], &prefix) < 0)
		return wrong(s, "%s PREFIX", w[0]);
	if (strcmp(w[0], "own") == 0)
		return pc_policy_add_own(s->f.policy, &prefix.ip);
	return pc_policy_add(s->f.policy, &prefix, strcmp(w[0], "allow") == 0);
}

static inline int cmd_user(struct scenario *s, char **w, int n)
{
	struct fake_user *u = &s->f.users[s->f.n_users];

	if (n < 3 || s->f.n_users == FAKE_USERS)
		return wrong(s, "user NAME PASSWORD [QUOTA=N...]");
	s->f.n_users++;
	snprintf(u->name, sizeof(u->name), "%s", w[1]);
	snprintf(u->password, sizeof(u->password), "%s", w[2]);
	u->user.tenant = 1;
	u->user.quota = (struct pc_turn_quota){ 10, 100, 100, 1000 };
	for (int i = 3; i < n; i++) {
		char *value = strchr(w[i], '=');
		uint32_t v;

		if (!value)
			return wrong(s, "user ... %s", w[i]);
		v = (uint32_t)strtoul(value + 1, NULL, 0);
		if (strncmp(w[i], "tenant=", 7) == 0)
			u->user.tenant = v;
		else if (strncmp(w[i], "allocations=", 12) == 0)
			u->user.quota.allocations = v;
		else if (strncmp(w[i], "permissions=", 12) == 0)
			u->user.quota.permissions = v;
		else if (strncmp(w[i], "channels=", 9) == 0)
			u->user.quota.channels = v;
		else if (strncmp(w[i], "peers=", 6) == 0)
			u->user.quota.peers_per_s = v;
		else
			return wrong(s, "user ... %s", w[i]);
	}
	return 0;
}

/* `forget-user NAME`, `password NAME NEW`, `timed NAME SECRET`: password from a shared secret. */
static inline int cmd_account(struct scenario *s, char **w, int n)
{
	for (size_t i = 0; n >= 2 && i < s->f.n_users; i++) {
		struct fake_user *u = &s->f.users[i];
		char password[29];

		if (strcmp(u->name, w[1]) != 0)
			continue;
		if (strcmp(w[0], "forget-user") == 0) {
			*u = s->f.users[--s->f.n_users];
		} else if (n >= 3 && strcmp(w[0], "password") == 0) {
			snprintf(u->password, sizeof(u->password), "%s", w[2]);
		} else if (n >= 3) {
			pc_auth_timed_password(w[2], strlen(w[2]), u->name, strlen(u->name),
					       password);
			snprintf(u->password, sizeof(u->password), "%s", password);
			answer_set(&s->vars, "password", "%s", password);
		}
		return 0;
	}
	return wrong(s, "no such user");
}

static inline int cmd_reconfigure(struct scenario *s, char **w, int n)
{
	int want = n > 1 ? (int)strtol(w[1], NULL, 10) : 0;
	int r = pc_turn_reconfigure(s->f.t, &s->f.config, s->f.now);

	return r == want ? 0 : wrong(s, "reconfigure: %s", pc_strerror(r));
}

#endif
