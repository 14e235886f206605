/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sodium.h>
#include <cmocka.h>

#include "base/err.h"
#include "daemon/daemon.h"

#define NOW	    1700000000ull
#define MAX_TENANTS 16

static char dir[64], path[96];
static struct pc_store *store;
static struct pc_users *users;

static void open_all(void)
{
	assert_int_equal(pc_store_open(path, false, &store), 0);
	assert_int_equal(pc_users_new(store, MAX_TENANTS, &users), 0);
}

static void close_all(void)
{
	pc_users_free(users);
	pc_store_close(store);
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/pc-test-users-XXXXXX");
	if (sodium_init() < 0 || !mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/pcd.db", dir);
	open_all();
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "", "-wal", "-shm" };
	char file[128];

	close_all();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(file, sizeof(file), "%s%s", path, files[i]);
		unlink(file);
	}
	return rmdir(dir);
}

static uint32_t add(const char *name, const char *password)
{
	struct pc_store_tenant t = {
		.tier = "free",
		.max_allocations = 5,
		.max_permissions = 6,
		.max_channels = 7,
		.max_peers_per_s = 8,
	};

	snprintf(t.name, sizeof(t.name), "%s", name);
	assert_int_equal(pc_users_add(users, &t, password), 0);
	return t.id;
}

static int lookup(const char *name, enum pc_auth_algorithm algorithm, struct pc_turn_user *u)
{
	return pc_users_lookup(users, name, strlen(name), NULL, algorithm, NOW, u);
}

static void test_password(void **state)
{
	uint32_t id = add("alice", "wonder");
	struct pc_turn_user u = { 0 };
	struct pc_auth_key key;

	assert_int_equal(lookup("alice", PC_AUTH_MD5, &u), 0);
	assert_int_equal(u.tenant, id);
	assert_int_equal(u.n_keys, 1);
	assert_int_equal(u.quota.allocations, 5);
	assert_int_equal(u.quota.permissions, 6);
	assert_int_equal(u.quota.channels, 7);
	assert_int_equal(u.quota.peers_per_s, 8);
	pc_auth_derive(PC_AUTH_MD5, "alice", 5, "pc", "wonder", 6, &key);
	assert_int_equal(u.keys[0].len, 16);
	assert_memory_equal(u.keys[0].b, key.b, 16);
	assert_int_equal(lookup("alice", PC_AUTH_SHA256, &u), 0);
	pc_auth_derive(PC_AUTH_SHA256, "alice", 5, "pc", "wonder", 6, &key);
	assert_int_equal(u.keys[0].len, 32);
	assert_memory_equal(u.keys[0].b, key.b, 32);
	assert_int_equal(lookup("alic", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	assert_int_equal(lookup("alicea", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	assert_int_equal(lookup("", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
}

static void test_userhash(void **state)
{
	uint32_t id = add("alice", "wonder");
	struct pc_turn_user u = { 0 };
	uint8_t hash[PC_AUTH_USERHASH_LEN];

	pc_auth_userhash("alice", 5, "pc", hash);
	assert_int_equal(pc_users_lookup(users, NULL, 0, hash, PC_AUTH_SHA256, NOW, &u), 0);
	assert_int_equal(u.name_len, 5);
	assert_string_equal(u.name, "alice");
	assert_int_equal(u.tenant, id);
	hash[31] ^= 1;
	assert_int_equal(pc_users_lookup(users, NULL, 0, hash, PC_AUTH_SHA256, NOW, &u),
			 PC_ERR_NOT_FOUND);
}

/* A password was hashed with the realm: under another one it is as good as none. */
static void test_realm(void **state)
{
	struct pc_store_tenant t;
	struct pc_turn_user u = { 0 };

	add("alice", "wonder");
	pc_users_set_realm(users, "other");
	assert_int_equal(lookup("alice", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	t = *pc_users_find(users, "alice");
	assert_int_equal(pc_users_update(users, &t, "land"), 0);
	assert_int_equal(lookup("alice", PC_AUTH_MD5, &u), 0);
	pc_users_set_realm(users, "pc");
	assert_int_equal(lookup("alice", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
}

static void test_timed(void **state)
{
	uint32_t id = add("bob", NULL);
	char name[128], password[29];
	struct pc_turn_user u = { 0 };
	struct pc_auth_key key;

	assert_int_equal(lookup("bob", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_users_credential(users, "bob", 60, NOW, name, sizeof(name), password),
			 0);
	assert_string_equal(name, "1700000060:bob");
	assert_int_equal(lookup(name, PC_AUTH_MD5, &u), 0);
	assert_int_equal(u.tenant, id);
	assert_int_equal(u.n_keys, 1);
	pc_auth_derive(PC_AUTH_MD5, name, strlen(name), "pc", password, strlen(password), &key);
	assert_memory_equal(u.keys[0].b, key.b, 16);
	assert_int_equal(lookup("1700000001:bob", PC_AUTH_MD5, &u), 0);
	assert_int_equal(lookup("1700000000:bob", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	assert_int_equal(lookup("1600000000:bob", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	assert_int_equal(lookup("1700000060:carol", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_users_credential(users, "bob", 60, NOW, name, 5, password),
			 PC_ERR_RANGE);
	assert_int_equal(pc_users_credential(users, "b:ob", 60, NOW, name, sizeof(name), password),
			 PC_ERR_MALFORMED);
}

static void test_timed_fallback(void **state)
{
	struct pc_turn_user u = { 0 };
	uint32_t id;

	assert_int_equal(lookup("1700000060:carol", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
	id = add("default", NULL);
	assert_int_equal(lookup("1700000060:carol", PC_AUTH_MD5, &u), 0);
	assert_int_equal(u.tenant, id);
	assert_int_equal(lookup("carol", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
}

static void test_secrets(void **state)
{
	static struct pc_config c;
	struct pc_turn_user u = { 0 };
	struct pc_auth_key key;
	char password[29];

	add("bob", NULL);
	pc_config_defaults(&c);
	c.n_secret = 2;
	snprintf(c.secret[0].text, sizeof(c.secret[0].text), "north");
	snprintf(c.secret[1].text, sizeof(c.secret[1].text), "south");
	pc_users_set_secrets(users, &c);
	assert_int_equal(lookup("1700000060:bob", PC_AUTH_MD5, &u), 0);
	assert_int_equal(u.n_keys, 3); /* the built-in one is always there */
	pc_auth_timed_password("south", 5, "1700000060:bob", 14, password);
	pc_auth_derive(PC_AUTH_MD5, "1700000060:bob", 14, "pc", password, strlen(password), &key);
	assert_memory_equal(u.keys[1].b, key.b, 16);
	pc_users_set_secrets(users, NULL);
	assert_int_equal(lookup("1700000060:bob", PC_AUTH_MD5, &u), 0);
	assert_int_equal(u.n_keys, 1);
}

static void test_change(void **state)
{
	uint32_t id = add("alice", "wonder");
	struct pc_store_tenant t = { .name = "alice" };
	struct pc_turn_user u = { 0 };

	assert_int_equal(pc_users_add(users, &t, NULL), PC_ERR_EXISTS);
	snprintf(t.name, sizeof(t.name), "no spaces");
	assert_int_equal(pc_users_add(users, &t, NULL), PC_ERR_MALFORMED);
	t = *pc_users_by_id(users, id);
	t.max_allocations = 99;
	assert_int_equal(pc_users_update(users, &t, NULL), 0);
	assert_int_equal(lookup("alice", PC_AUTH_MD5, &u), 0); /* the password stays */
	assert_int_equal(u.quota.allocations, 99);
	assert_int_equal(pc_users_del(users, id), 0);
	assert_null(pc_users_find(users, "alice"));
	assert_null(pc_users_by_id(users, id));
	assert_int_equal(pc_users_del(users, id), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_users_update(users, &t, NULL), PC_ERR_NOT_FOUND);
	assert_int_equal(lookup("alice", PC_AUTH_MD5, &u), PC_ERR_NOT_FOUND);
}

static int count(void *arg, const struct pc_store_tenant *t)
{
	(*(unsigned int *)arg)++;
	return 0;
}

/* Everything is there again: tenants, passwords, the built-in secret. */
static void test_restart(void **state)
{
	char name[128], password[29], again[29];
	unsigned int n = 0;
	struct pc_turn_user u = { 0 };

	add("alice", "wonder");
	add("bob", NULL);
	pc_users_credential(users, "bob", 60, NOW, name, sizeof(name), password);
	close_all();
	open_all();
	pc_users_each(users, count, &n);
	assert_int_equal(n, 2);
	assert_int_equal(lookup("alice", PC_AUTH_MD5, &u), 0);
	pc_users_credential(users, "bob", 60, NOW, name, sizeof(name), again);
	assert_string_equal(password, again);
}

static uint32_t limits_of(const char *name)
{
	const struct pc_store_tenant *t = pc_users_find(users, name);

	assert_non_null(t);
	assert_ptr_equal(pc_users_by_limits(users, t->limits), t);
	return t->limits;
}

/* The kernel's flows carry the index of their tenant's limits: it stays. */
static void test_limits(void **state)
{
	struct pc_store_tenant t = { .name = "last" };
	char name[16];

	for (int i = 1; i <= MAX_TENANTS; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		add(name, NULL);
		assert_int_equal(limits_of(name), i);
	}
	assert_null(pc_users_by_limits(users, 0));
	assert_null(pc_users_by_limits(users, MAX_TENANTS + 1));
	assert_int_equal(pc_users_add(users, &t, NULL), PC_ERR_FULL);
	assert_int_equal(pc_users_del(users, pc_users_find(users, "t3")->id), 0);
	assert_int_equal(pc_users_del(users, pc_users_find(users, "t9")->id), 0);
	add("again", NULL);
	assert_int_equal(limits_of("again"), 3);
	close_all();
	open_all();
	assert_int_equal(limits_of("again"), 3);
	assert_int_equal(limits_of("t16"), 16);

	/* With a lower bound those above it move, as long as there is room. */
	pc_users_free(users);
	assert_int_equal(pc_users_new(store, MAX_TENANTS - 1, &users), 0);
	assert_int_equal(limits_of("t16"), 9);
	pc_users_free(users);
	users = NULL;
	assert_int_equal(pc_users_new(store, MAX_TENANTS - 2, &users), PC_ERR_FULL);
	assert_null(users);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_password), CASE(test_userhash),	CASE(test_realm),
		CASE(test_timed),    CASE(test_timed_fallback), CASE(test_secrets),
		CASE(test_change),   CASE(test_restart),	CASE(test_limits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
