/* SPDX-License-Identifier: MIT */
/* Native peers in memory: found by identity and name, kept over a restart, who may call whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "daemon/peers.h"

static char dir[64], path[96];
static struct pc_store *store;
static struct pc_peers *peers;

static int set_up(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/pc-peers-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/pcd.db", dir);
	assert_int_equal(pc_store_open(path, false, &store), 0);
	return pc_peers_new(store, &peers);
}

static int tear_down(void **state)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	char file[128];

	pc_peers_free(peers);
	pc_store_close(store);
	for (size_t i = 0; i < 3; i++) {
		snprintf(file, sizeof(file), "%s%s", path, tails[i]);
		unlink(file);
	}
	return rmdir(dir);
}

static struct pc_store_peer make(uint8_t fill, const char *name, uint32_t tenant, const char *list)
{
	struct pc_store_peer p = { .tenant = tenant };

	memset(p.identity, fill, sizeof(p.identity));
	snprintf(p.name, sizeof(p.name), "%s", name);
	snprintf(p.may_call, sizeof(p.may_call), "%s", list);
	return p;
}

static void add(uint8_t fill, const char *name, uint32_t tenant, const char *list)
{
	struct pc_store_peer p = make(fill, name, tenant, list);

	assert_int_equal(pc_peers_add(peers, &p), 0);
}

static bool may(uint8_t caller, uint8_t callee)
{
	uint8_t a[32], b[32];

	memset(a, caller, sizeof(a));
	memset(b, callee, sizeof(b));
	return pc_peers_may_call(peers, a, b);
}

static void test_found(void **state)
{
	struct pc_store_peer again = make(2, "alice", 1, "");

	add(1, "alice", 1, "");
	assert_int_equal(pc_peers_add(peers, &again), PC_ERR_EXISTS);
	assert_null(pc_peers_find(peers, again.identity));
	pc_peers_free(peers);
	assert_int_equal(pc_peers_new(store, &peers), 0);
	assert_int_equal(pc_peers_count(peers), 1);
	assert_non_null(pc_peers_by_name(peers, "alice"));
	assert_null(pc_peers_by_name(peers, "alic"));
	memset(again.identity, 1, sizeof(again.identity));
	assert_string_equal(pc_peers_find(peers, again.identity)->name, "alice");
	assert_int_equal(pc_peers_del(peers, again.identity), 0);
	assert_int_equal(pc_peers_del(peers, again.identity), PC_ERR_NOT_FOUND);
	assert_null(pc_peers_find(peers, again.identity));
	assert_null(pc_peers_by_name(peers, "alice"));
	assert_int_equal(pc_peers_count(peers), 0);
}

static void test_may_call(void **state)
{
	add(1, "a", 1, "");
	add(2, "b", 1, "");
	add(3, "c", 2, "a,dd");
	add(4, "d", 3, "*");
	assert_true(may(1, 2)); /* of one tenant */
	assert_true(may(2, 1));
	assert_false(may(1, 3));
	assert_true(may(3, 1)); /* by name; the other way round is another question */
	assert_false(may(3, 2));
	assert_false(may(3, 4)); /* dd is not d */
	assert_true(may(4, 1));
	assert_true(may(4, 3));
	assert_false(may(4, 9)); /* nobody */
	assert_false(may(9, 1));
}

static void test_lists(void **state)
{
	char longest[PC_PEER_CALL_MAX + 2];

	assert_true(pc_peers_may_call_valid(""));
	assert_true(pc_peers_may_call_valid("*"));
	assert_true(pc_peers_may_call_valid("a,b.c,d-e@f"));
	assert_false(pc_peers_may_call_valid(","));
	assert_false(pc_peers_may_call_valid("a,"));
	assert_false(pc_peers_may_call_valid("a,,b"));
	assert_false(pc_peers_may_call_valid("a, b"));
	assert_false(pc_peers_may_call_valid("*,a"));
	memset(longest, 'a', sizeof(longest));
	longest[PC_PEER_NAME_MAX] = '\0';
	assert_true(pc_peers_may_call_valid(longest));
	longest[PC_PEER_NAME_MAX] = 'a';
	longest[PC_PEER_NAME_MAX + 1] = '\0';
	assert_false(pc_peers_may_call_valid(longest));
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 8 == 7 ? ',' : 'a';
	longest[PC_PEER_CALL_MAX] = '\0';
	assert_true(pc_peers_may_call_valid(longest));
	longest[PC_PEER_CALL_MAX] = 'a';
	longest[PC_PEER_CALL_MAX + 1] = '\0';
	assert_false(pc_peers_may_call_valid(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(test_found),
		TEST(test_may_call),
		TEST(test_lists),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
