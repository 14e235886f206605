/* SPDX-License-Identifier: MIT */
/*
 * Tenants in memory. The store is the truth: whatever changes is written there first. Names and
 * hashes come from strangers, so the tables are keyed by SipHash with a random key.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/siphash.h"
#include "daemon/daemon.h"

#define STORE_SECRET_KEY "secret"
#define SECRET_BYTES	 32
#define FALLBACK_TENANT	 "default"

struct user {
	struct pc_hnode by_name, by_userhash, by_id;
	struct pc_store_tenant t;
};

struct pc_users {
	struct pc_store *store;
	uint8_t hash_key[16];
	struct pc_htab names, userhashes, ids;
	char realm[128];
	struct pc_config_secret secret[PC_TURN_MAX_SECRETS];
	size_t n_secret;
	char builtin[2 * SECRET_BYTES + 1];
	struct user **limits; /* by index of their limits, 1 to max; 0 is nobody's */
	uint32_t max;
	uint32_t free_hint; /* no index below is free */
};

static uint64_t hash(const struct pc_users *u, const void *data, size_t len)
{
	return pc_siphash24(u->hash_key, data, len);
}

static struct user *find_name(const struct pc_users *u, const char *name, size_t len)
{
	uint64_t h = hash(u, name, len);

	for (struct pc_hnode *n = pc_htab_first(&u->names, h); n; n = pc_htab_next(n)) {
		struct user *user = pc_container_of(n, struct user, by_name);

		if (strlen(user->t.name) == len && memcmp(user->t.name, name, len) == 0)
			return user;
	}
	return NULL;
}

static struct user *find_userhash(const struct pc_users *u, const uint8_t *userhash)
{
	uint64_t h = hash(u, userhash, PC_AUTH_USERHASH_LEN);

	for (struct pc_hnode *n = pc_htab_first(&u->userhashes, h); n; n = pc_htab_next(n)) {
		struct user *user = pc_container_of(n, struct user, by_userhash);

		if (memcmp(user->t.userhash, userhash, PC_AUTH_USERHASH_LEN) == 0)
			return user;
	}
	return NULL;
}

static struct user *find_id(const struct pc_users *u, uint32_t id)
{
	uint64_t h = hash(u, &id, sizeof(id));

	for (struct pc_hnode *n = pc_htab_first(&u->ids, h); n; n = pc_htab_next(n)) {
		struct user *user = pc_container_of(n, struct user, by_id);

		if (user->t.id == id)
			return user;
	}
	return NULL;
}

static void link_user(struct pc_users *u, struct user *user)
{
	struct pc_store_tenant *t = &user->t;

	pc_htab_insert(&u->names, &user->by_name, hash(u, t->name, strlen(t->name)));
	pc_htab_insert(&u->userhashes, &user->by_userhash,
		       hash(u, t->userhash, sizeof(t->userhash)));
	pc_htab_insert(&u->ids, &user->by_id, hash(u, &t->id, sizeof(t->id)));
}

static void unlink_user(struct pc_users *u, struct user *user)
{
	pc_htab_remove(&u->names, &user->by_name);
	pc_htab_remove(&u->userhashes, &user->by_userhash);
	pc_htab_remove(&u->ids, &user->by_id);
}

static void free_user(struct user *user)
{
	pc_auth_wipe(user, sizeof(*user));
	free(user);
}

/* The lowest index that is free, or 0. */
static uint32_t free_limits(struct pc_users *u)
{
	uint32_t i = u->free_hint;

	while (i <= u->max && u->limits[i])
		i++;
	u->free_hint = i;
	return i <= u->max ? i : 0;
}

static void take_limits(struct pc_users *u, struct user *user)
{
	u->limits[user->t.limits] = user;
}

static void give_limits(struct pc_users *u, const struct user *user)
{
	u->limits[user->t.limits] = NULL;
	if (user->t.limits < u->free_hint)
		u->free_hint = user->t.limits;
}

/* Tenants of an older store, or beyond a bound that is lower than it was, get an index now. */
static int number_tenants(struct pc_users *u)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while ((n = pc_htab_iterate(&u->ids, &it))) {
		struct user *user = pc_container_of(n, struct user, by_id);
		uint32_t i = user->t.limits;
		int r;

		if (i && i <= u->max && u->limits[i] == user)
			continue;
		user->t.limits = free_limits(u);
		if (!user->t.limits)
			return PC_ERR_FULL;
		take_limits(u, user);
		r = pc_store_tenant_update(u->store, &user->t);
		if (r)
			return r;
	}
	return 0;
}

static int load_tenant(void *arg, const struct pc_store_tenant *t)
{
	struct pc_users *u = arg;
	struct user *user = calloc(1, sizeof(*user));

	if (!user)
		return -ENOMEM;
	user->t = *t;
	link_user(u, user);
	if (t->limits && t->limits <= u->max && !u->limits[t->limits])
		take_limits(u, user);
	return 0;
}

/* The built-in secret always exists: made once, kept in the store. */
static int load_builtin(struct pc_users *u)
{
	uint8_t secret[SECRET_BYTES];
	size_t len = 0;
	int r = pc_store_get(u->store, STORE_SECRET_KEY, secret, sizeof(secret), &len);

	if (r == PC_ERR_NOT_FOUND) {
		randombytes_buf(secret, sizeof(secret));
		len = sizeof(secret);
		r = pc_store_put(u->store, STORE_SECRET_KEY, secret, sizeof(secret));
	}
	if (r == 0 && len != sizeof(secret))
		r = PC_ERR_MALFORMED;
	if (r == 0)
		pc_format_hex(secret, sizeof(secret), u->builtin);
	pc_auth_wipe(secret, sizeof(secret));
	return r;
}

PC_DEFINE_CLEANUP(users, struct pc_users, pc_users_free)

int pc_users_new(struct pc_store *store, uint32_t max, struct pc_users **ret_users)
{
	PC_CLEANUP(pc_cleanup_users) struct pc_users *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->store = store;
	u->max = max;
	u->free_hint = 1;
	u->limits = calloc((size_t)max + 1, sizeof(struct user *));
	if (!u->limits)
		return -ENOMEM;
	snprintf(u->realm, sizeof(u->realm), "pc");
	randombytes_buf(u->hash_key, sizeof(u->hash_key));
	if (pc_htab_init(&u->names, 64) || pc_htab_init(&u->userhashes, 64) ||
	    pc_htab_init(&u->ids, 64))
		return -ENOMEM;
	r = load_builtin(u);
	if (r)
		return r;
	pc_users_set_secrets(u, NULL);
	r = pc_store_tenant_each(store, load_tenant, u);
	if (r == 0)
		r = number_tenants(u);
	if (r)
		return r;
	*ret_users = TAKE_PTR(u);
	return 0;
}

void pc_users_free(struct pc_users *u)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	if (!u)
		return;
	while (u->ids.buckets && (n = pc_htab_iterate(&u->ids, &it))) {
		struct user *user = pc_container_of(n, struct user, by_id);

		unlink_user(u, user);
		free_user(user);
	}
	pc_htab_free(&u->names);
	pc_htab_free(&u->userhashes);
	pc_htab_free(&u->ids);
	free(u->limits);
	pc_auth_wipe(u, sizeof(*u));
	free(u);
}

void pc_users_set_secrets(struct pc_users *u, const struct pc_config *c)
{
	pc_auth_wipe(u->secret, sizeof(u->secret));
	u->n_secret = 0;
	for (size_t i = 0; c && i < c->n_secret && u->n_secret < PC_TURN_MAX_SECRETS - 1; i++)
		u->secret[u->n_secret++] = c->secret[i];
	snprintf(u->secret[u->n_secret++].text, PC_CONFIG_MAX_SECRET, "%s", u->builtin);
}

void pc_users_set_realm(struct pc_users *u, const char *realm)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;
	unsigned int stale = 0;

	snprintf(u->realm, sizeof(u->realm), "%s", realm);
	while ((n = pc_htab_iterate(&u->ids, &it))) {
		const struct user *user = pc_container_of(n, struct user, by_id);

		stale += user->t.has_password && strcmp(user->t.realm, realm) != 0;
	}
	if (stale)
		pc_warning("passwords of %u tenants were set for another realm: they do not work "
			   "until they are set again",
			   stale);
}

static void fill(const struct user *user, struct pc_turn_user *ret_user)
{
	ret_user->tenant = user->t.id;
	ret_user->quota = (struct pc_turn_quota){
		.allocations = user->t.max_allocations,
		.permissions = user->t.max_permissions,
		.channels = user->t.max_channels,
		.peers_per_s = user->t.max_peers_per_s,
	};
}

/* An account found by its hash has to be told by its name. */
static void fill_name(const struct user *user, struct pc_turn_user *ret_user)
{
	int n = snprintf(ret_user->name, sizeof(ret_user->name), "%s", user->t.name);

	ret_user->name_len = (uint16_t)n;
}

static int lookup_password(struct pc_users *u, const struct user *user,
			   enum pc_auth_algorithm algorithm, struct pc_turn_user *ret_user)
{
	struct pc_auth_key *key = &ret_user->keys[0];

	if (!user || !user->t.has_password || strcmp(user->t.realm, u->realm) != 0)
		return PC_ERR_NOT_FOUND;
	fill(user, ret_user);
	ret_user->n_keys = 1;
	if (algorithm == PC_AUTH_MD5) {
		key->len = sizeof(user->t.ha1_md5);
		memcpy(key->b, user->t.ha1_md5, sizeof(user->t.ha1_md5));
	} else {
		key->len = sizeof(user->t.ha1_sha256);
		memcpy(key->b, user->t.ha1_sha256, sizeof(user->t.ha1_sha256));
	}
	return 0;
}

/* The keys are derived whether the name is known or not: both take the same time. */
static int lookup_timed(struct pc_users *u, const char *name, size_t name_len, uint64_t expires_s,
			const char *tenant, size_t tenant_len, enum pc_auth_algorithm algorithm,
			uint64_t realtime_s, struct pc_turn_user *ret_user)
{
	const struct user *user = find_name(u, tenant, tenant_len);
	char password[29];

	if (!user)
		user = find_name(u, FALLBACK_TENANT, sizeof(FALLBACK_TENANT) - 1);
	for (size_t i = 0; i < u->n_secret; i++) {
		const char *secret = u->secret[i].text;

		pc_auth_timed_password(secret, strlen(secret), name, name_len, password);
		pc_auth_derive(algorithm, name, name_len, u->realm, password, strlen(password),
			       &ret_user->keys[i]);
	}
	pc_auth_wipe(password, sizeof(password));
	if (!user || expires_s <= realtime_s) {
		pc_auth_wipe(ret_user, sizeof(*ret_user));
		return PC_ERR_NOT_FOUND;
	}
	ret_user->n_keys = (unsigned int)u->n_secret;
	fill(user, ret_user);
	return 0;
}

int pc_users_lookup(struct pc_users *u, const char *name, size_t name_len, const uint8_t *userhash,
		    enum pc_auth_algorithm algorithm, uint64_t realtime_s,
		    struct pc_turn_user *ret_user)
{
	const char *tenant;
	size_t tenant_len;
	uint64_t expires_s;

	if (!name) {
		const struct user *user = find_userhash(u, userhash);
		int r = lookup_password(u, user, algorithm, ret_user);

		if (r == 0)
			fill_name(user, ret_user);
		return r;
	}
	if (pc_auth_timed_parse(name, name_len, &expires_s, &tenant, &tenant_len) == 0)
		return lookup_timed(u, name, name_len, expires_s, tenant, tenant_len, algorithm,
				    realtime_s, ret_user);
	return lookup_password(u, find_name(u, name, name_len), algorithm, ret_user);
}

const struct pc_store_tenant *pc_users_find(const struct pc_users *u, const char *name)
{
	const struct user *user = find_name(u, name, strlen(name));

	return user ? &user->t : NULL;
}

const struct pc_store_tenant *pc_users_by_id(const struct pc_users *u, uint32_t id)
{
	const struct user *user = find_id(u, id);

	return user ? &user->t : NULL;
}

const struct pc_store_tenant *pc_users_by_limits(const struct pc_users *u, uint32_t limits)
{
	return limits <= u->max && u->limits[limits] ? &u->limits[limits]->t : NULL;
}

int pc_users_quota(struct pc_users *u, uint32_t id, const struct pc_store_quota *quota)
{
	struct user *user = find_id(u, id);
	int r = user ? pc_store_tenant_quota(u->store, id, quota) : PC_ERR_NOT_FOUND;

	if (r == 0)
		user->t.quota = *quota;
	return r;
}

int pc_users_each(const struct pc_users *u, int (*fn)(void *arg, const struct pc_store_tenant *t),
		  void *arg)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;
	int r;

	while ((n = pc_htab_iterate(&u->ids, &it))) {
		r = fn(arg, &pc_container_of(n, struct user, by_id)->t);
		if (r)
			return r;
	}
	return 0;
}

static void set_credentials(const struct pc_users *u, struct pc_store_tenant *t,
			    const char *password)
{
	size_t name_len = strlen(t->name);
	struct pc_auth_key key;

	snprintf(t->realm, sizeof(t->realm), "%s", u->realm);
	pc_auth_userhash(t->name, name_len, u->realm, t->userhash);
	t->has_password = password != NULL;
	pc_auth_wipe(t->ha1_md5, sizeof(t->ha1_md5));
	pc_auth_wipe(t->ha1_sha256, sizeof(t->ha1_sha256));
	if (!password)
		return;
	pc_auth_derive(PC_AUTH_MD5, t->name, name_len, u->realm, password, strlen(password), &key);
	memcpy(t->ha1_md5, key.b, sizeof(t->ha1_md5));
	pc_auth_derive(PC_AUTH_SHA256, t->name, name_len, u->realm, password, strlen(password),
		       &key);
	memcpy(t->ha1_sha256, key.b, sizeof(t->ha1_sha256));
	pc_auth_wipe(&key, sizeof(key));
}

int pc_users_add(struct pc_users *u, struct pc_store_tenant *t, const char *password)
{
	struct user *user;
	int r;

	if (!pc_name_valid(t->name))
		return PC_ERR_MALFORMED;
	if (pc_users_find(u, t->name))
		return PC_ERR_EXISTS;
	user = calloc(1, sizeof(*user));
	if (!user)
		return -ENOMEM;
	set_credentials(u, t, password);
	t->plan.weight = t->plan.weight ? t->plan.weight : 1;
	t->limits = free_limits(u);
	r = t->limits ? 0 : PC_ERR_FULL;
	if (r == 0)
		r = pc_store_tenant_add(u->store, t, &t->id);
	if (r) {
		free_user(user);
		return r;
	}
	user->t = *t;
	link_user(u, user);
	take_limits(u, user);
	return 0;
}

int pc_users_update(struct pc_users *u, const struct pc_store_tenant *t, const char *password)
{
	struct user *user = find_id(u, t->id);
	struct pc_store_tenant changed = *t;
	int r;

	if (!user)
		return PC_ERR_NOT_FOUND;
	if (password)
		set_credentials(u, &changed, password);
	r = pc_store_tenant_update(u->store, &changed);
	if (r == 0) {
		unlink_user(u, user);
		user->t = changed;
		link_user(u, user);
	}
	pc_auth_wipe(&changed, sizeof(changed));
	return r;
}

int pc_users_del(struct pc_users *u, uint32_t id)
{
	struct user *user = find_id(u, id);
	int r;

	if (!user)
		return PC_ERR_NOT_FOUND;
	r = pc_store_tenant_del(u->store, id);
	if (r)
		return r;
	give_limits(u, user);
	unlink_user(u, user);
	free_user(user);
	return 0;
}

int pc_users_credential(struct pc_users *u, const char *name, uint64_t lifetime_s,
			uint64_t realtime_s, char *ret_user, size_t user_size,
			char ret_password[static 29])
{
	char text[PC_TENANT_NAME_MAX + 32];
	int n;

	if (!pc_name_valid(name))
		return PC_ERR_MALFORMED;
	if (lifetime_s > UINT64_MAX - realtime_s)
		return PC_ERR_RANGE;
	n = snprintf(text, sizeof(text), "%llu:%s", (unsigned long long)(realtime_s + lifetime_s),
		     name);
	if (n < 0 || (size_t)n >= sizeof(text) || (size_t)n >= user_size)
		return PC_ERR_RANGE;
	pc_auth_timed_password(u->builtin, strlen(u->builtin), text, (size_t)n, ret_password);
	memcpy(ret_user, text, (size_t)n + 1);
	return 0;
}
