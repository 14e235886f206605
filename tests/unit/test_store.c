/* SPDX-License-Identifier: MIT */
/* The store: round trips, transactions, who else may look, and everything that goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "store/store.h"

#define CHILD_SKIPPED 77

static char dir[64], path[96];
static struct pc_store *s;

static const char *beside(const char *tail)
{
	static char name[128];

	snprintf(name, sizeof(name), "%s%s", path, tail);
	return name;
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/pc-store-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/pcd.db", dir);
	return pc_store_open(path, false, &s);
}

static int teardown(void **state)
{
	pc_store_close(s);
	s = NULL;
	unlink(path);
	unlink(beside("-wal"));
	unlink(beside("-shm"));
	return rmdir(dir);
}

static void reopen(void)
{
	pc_store_close(s);
	assert_int_equal(pc_store_open(path, false, &s), 0);
}

static struct pc_store_tenant make_tenant(const char *name)
{
	struct pc_store_tenant t = {
		.tier = "paid",
		.realm = "pc",
		.has_password = true,
		.max_allocations = UINT32_MAX,
		.max_permissions = 2,
		.max_channels = 3,
		.max_peers_per_s = 4,
		.created_s = 1700000000,
		.limits = 5,
		.plan = { .up_bps = 1,
			  .down_bps = 400000000000,
			  .guarantee_bps = 3,
			  .packets_per_s = UINT32_MAX,
			  .weight = 4,
			  .quota_day = 5,
			  .quota_month = 1ull << 62 },
	};

	snprintf(t.name, sizeof(t.name), "%s", name);
	memset(t.ha1_md5, 0x11, sizeof(t.ha1_md5));
	memset(t.ha1_sha256, 0x22, sizeof(t.ha1_sha256));
	memset(t.userhash, 0x33, sizeof(t.userhash));
	return t;
}

struct found {
	struct pc_store_tenant t[4];
	int n;
};

static int collect(void *arg, const struct pc_store_tenant *t)
{
	struct found *f = arg;

	f->t[f->n++] = *t;
	return 0;
}

static struct found all_tenants(void)
{
	struct found f = { .n = 0 };

	assert_int_equal(pc_store_tenant_each(s, collect, &f), 0);
	return f;
}

static void test_private_from_the_start(void **state)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	struct stat st;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(stat(beside(tails[i]), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static void test_values(void **state)
{
	uint8_t buf[4];
	size_t len = 99;

	assert_int_equal(pc_store_get(s, "a", buf, sizeof(buf), &len), PC_ERR_NOT_FOUND);
	assert_int_equal(len, 99);
	assert_int_equal(pc_store_put(s, "a", "1234", 4), 0);
	assert_int_equal(pc_store_put(s, "empty", NULL, 0), 0);
	assert_int_equal(pc_store_get(s, "a", buf, 3, &len), PC_ERR_RANGE);
	assert_int_equal(pc_store_get(s, "a", buf, sizeof(buf), &len), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(buf, "1234", 4);
	assert_int_equal(pc_store_put(s, "a", "x", 1), 0);
	reopen();
	assert_int_equal(pc_store_get(s, "a", buf, sizeof(buf), &len), 0);
	assert_int_equal(len, 1);
	assert_int_equal(pc_store_get(s, "empty", buf, sizeof(buf), &len), 0);
	assert_int_equal(len, 0);
}

static void test_refused(void **state)
{
	struct pc_store_refused a = { .total = { 1, 1ull << 40, 3, 4 } }, got;

	for (int i = 0; i < 16; i++)
		a.last[i / 8][i / 4 % 2][i % 4] = UINT32_MAX - (uint32_t)i;
	assert_int_equal(pc_store_refused_get(s, 7, &got), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_store_refused_put(s, 7, &a), 0);
	reopen();
	assert_int_equal(pc_store_refused_get(s, 7, &got), 0);
	assert_memory_equal(&got, &a, sizeof(a));
	assert_int_equal(pc_store_refused_get(s, 70, &got), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_store_put(s, "refused_8", "short", 5), 0);
	assert_int_equal(pc_store_refused_get(s, 8, &got), PC_ERR_STORE);
}

static void test_tenants(void **state)
{
	struct pc_store_tenant a = make_tenant("alice"), b = make_tenant("bob");
	struct found f;

	b.has_password = false;
	memset(b.ha1_md5, 0, sizeof(b.ha1_md5));
	memset(b.ha1_sha256, 0, sizeof(b.ha1_sha256));
	assert_int_equal(pc_store_tenant_add(s, &a, &a.id), 0);
	assert_int_equal(pc_store_tenant_add(s, &b, &b.id), 0);
	assert_int_equal(pc_store_tenant_add(s, &a, &b.id), PC_ERR_EXISTS);
	reopen();
	f = all_tenants();
	assert_int_equal(f.n, 2);
	assert_memory_equal(&f.t[0], &a, sizeof(a));
	assert_memory_equal(&f.t[1], &b, sizeof(b));
	b.max_channels = 77;
	b.has_password = true;
	assert_int_equal(pc_store_tenant_update(s, &b), 0);
	f = all_tenants();
	assert_memory_equal(&f.t[1], &b, sizeof(b));
	b.quota = (struct pc_store_quota){ 1, 1ull << 62, 3, 4, -5ull };
	assert_int_equal(pc_store_tenant_quota(s, b.id, &b.quota), 0);
	assert_int_equal(pc_store_tenant_quota(s, 99, &b.quota), PC_ERR_NOT_FOUND);
	b.plan.weight = 9; /* an update leaves the windows alone */
	f = all_tenants();
	f.t[1].plan.weight = 9;
	assert_memory_equal(&f.t[1], &b, sizeof(b));
	memset(&f.t[1].quota, 0, sizeof(f.t[1].quota));
	assert_int_equal(pc_store_tenant_update(s, &f.t[1]), 0);
	f = all_tenants();
	assert_memory_equal(&f.t[1], &b, sizeof(b));
	b.id = 99;
	assert_int_equal(pc_store_tenant_update(s, &b), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_store_tenant_del(s, 99), PC_ERR_NOT_FOUND);
}

/* Billing refers to ids: a deleted one never comes back, and its totals stay. */
static void test_ids_are_never_reused(void **state)
{
	const struct pc_store_count counts[PC_STORE_PATHS] = { { .up_packets = 5 },
							       { .drops_credit = 6 } };
	struct pc_store_count got[PC_STORE_PATHS];
	struct pc_store_tenant t = make_tenant("alice");
	uint32_t first, second;

	assert_int_equal(pc_store_tenant_add(s, &t, &first), 0);
	assert_int_equal(pc_store_total_put(s, first, counts), 0);
	assert_int_equal(pc_store_tenant_del(s, first), 0);
	assert_int_equal(pc_store_tenant_del(s, first), PC_ERR_NOT_FOUND);
	assert_int_equal(all_tenants().n, 0);
	reopen();
	assert_int_equal(pc_store_tenant_add(s, &t, &second), 0);
	assert_true(second > first);
	assert_int_equal(pc_store_total_get(s, second, got), 0);
	assert_int_equal(got[0].up_packets, 0);
	assert_int_equal(pc_store_total_get(s, first, got), 0);
	assert_memory_equal(got, counts, sizeof(got));
}

static int take_slot(void *arg, const struct pc_store_slot *slot)
{
	*(struct pc_store_slot *)arg = *slot;
	return 7;
}

static int count_slot(void *arg, const struct pc_store_slot *slot)
{
	++*(int *)arg;
	return 0;
}

static void test_slots(void **state)
{
	struct pc_store_slot slot, got;
	int n = 0;

	memset(&slot, 0, sizeof(slot));
	memset(&got, 0, sizeof(got));
	slot.slot = UINT32_MAX;
	slot.session = UINT64_MAX - 1;
	slot.tenant = 3;
	slot.ended = true;
	for (size_t i = 0; i < sizeof(slot.opened) / 8; i++) {
		((uint64_t *)slot.opened)[i] = UINT64_MAX - i;
		((uint64_t *)slot.folded)[i] = i << 40;
	}
	assert_int_equal(pc_store_slot_put(s, &slot), 0);
	assert_int_equal(pc_store_slot_each(s, take_slot, &got), 7);
	assert_int_equal(got.slot, slot.slot);
	assert_int_equal(got.session, slot.session);
	assert_int_equal(got.tenant, slot.tenant);
	assert_true(got.ended);
	assert_memory_equal(got.opened, slot.opened, sizeof(slot.opened));
	assert_memory_equal(got.folded, slot.folded, sizeof(slot.folded));
	/* The reading that was broken off holds nothing up. */
	slot.ended = false;
	assert_int_equal(pc_store_slot_put(s, &slot), 0);
	slot.slot = 1;
	assert_int_equal(pc_store_slot_put(s, &slot), 0);
	assert_int_equal(pc_store_slot_each(s, count_slot, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(pc_store_slot_del(s, 1), 0);
	n = 0;
	assert_int_equal(pc_store_slot_each(s, count_slot, &n), 0);
	assert_int_equal(n, 1);
}

static int count_session(void *arg, uint64_t id, const void *record, size_t len)
{
	int *n = arg;

	++*n;
	assert_true(id > UINT64_MAX - 10);
	assert_int_equal(len, 3);
	assert_memory_equal(record, "\0ab", 3);
	return 0;
}

static void test_sessions(void **state)
{
	int n = 0;

	assert_int_equal(pc_store_session_put(s, UINT64_MAX, "xx", 2), 0);
	assert_int_equal(pc_store_session_put(s, UINT64_MAX, "\0ab", 3), 0);
	assert_int_equal(pc_store_session_put(s, UINT64_MAX - 1, "\0ab", 3), 0);
	assert_int_equal(pc_store_session_each(s, count_session, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(pc_store_session_del(s, UINT64_MAX), 0);
	n = 0;
	assert_int_equal(pc_store_session_each(s, count_session, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(pc_store_session_clear(s), 0);
	n = 0;
	assert_int_equal(pc_store_session_each(s, count_session, &n), 0);
	assert_int_equal(n, 0);
}

static void test_transactions(void **state)
{
	uint8_t b;
	size_t len;

	assert_int_equal(pc_store_commit(s), PC_ERR_STATE);
	assert_int_equal(pc_store_begin(s), 0);
	assert_int_equal(pc_store_put(s, "k", "1", 1), 0);
	pc_store_rollback(s);
	assert_int_equal(pc_store_get(s, "k", &b, 1, &len), PC_ERR_NOT_FOUND);

	/* What was rolled back inside cannot be committed outside. */
	assert_int_equal(pc_store_begin(s), 0);
	assert_int_equal(pc_store_put(s, "k", "1", 1), 0);
	assert_int_equal(pc_store_begin(s), 0);
	pc_store_rollback(s);
	assert_int_equal(pc_store_commit(s), PC_ERR_STATE);
	assert_int_equal(pc_store_get(s, "k", &b, 1, &len), PC_ERR_NOT_FOUND);

	assert_int_equal(pc_store_begin(s), 0);
	assert_int_equal(pc_store_begin(s), 0);
	assert_int_equal(pc_store_put(s, "k", "1", 1), 0);
	assert_int_equal(pc_store_commit(s), 0);
	assert_int_equal(pc_store_commit(s), 0);
	reopen();
	assert_int_equal(pc_store_get(s, "k", &b, 1, &len), 0);
}

static void test_locked(void **state)
{
	struct pc_store *other = NULL, *reader = NULL;
	uint8_t b;
	size_t len;

	assert_int_equal(pc_store_put(s, "k", "1", 1), 0);
	assert_int_equal(pc_store_open(path, false, &other), 0);
	assert_int_equal(pc_store_begin(other), 0);
	assert_int_equal(pc_store_put(other, "k", "2", 1), 0);
	assert_int_equal(pc_store_put(s, "k", "3", 1), PC_ERR_LOCKED);
	assert_int_equal(pc_store_begin(s), PC_ERR_LOCKED);
	/* Readers go on, with what was committed. */
	assert_int_equal(pc_store_get(s, "k", &b, 1, &len), 0);
	assert_int_equal(b, '1');
	assert_int_equal(pc_store_open(path, true, &reader), 0);
	assert_int_equal(pc_store_get(reader, "k", &b, 1, &len), 0);
	assert_int_equal(b, '1');
	pc_store_close(reader);
	assert_int_equal(pc_store_commit(other), 0);
	assert_int_equal(pc_store_put(s, "k", "4", 1), 0);
	pc_store_close(other);
}

static void expect_reader(char wanted)
{
	struct pc_store *reader = NULL;
	uint8_t b = 0;
	size_t len;

	assert_int_equal(pc_store_open(path, true, &reader), 0);
	assert_true(pc_store_readonly(reader));
	assert_int_equal(pc_store_get(reader, "k", &b, 1, &len), 0);
	assert_int_equal(b, wanted);
	assert_int_equal(pc_store_put(reader, "k", "x", 1), -EACCES);
	pc_store_close(reader);
}

/* Runs @fn in a child that dies by SIGKILL with the store open. */
static void die_with_store_open(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct pc_store *mine;

		if (pc_store_open(path, false, &mine) == 0 && pc_store_put(mine, "k", "2", 1) == 0)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void test_readers(void **state)
{
	struct pc_store *reader;

	assert_false(pc_store_readonly(s));
	assert_int_equal(pc_store_put(s, "k", "1", 1), 0);
	expect_reader('1'); /* beside a running writer */
	pc_store_close(s);
	s = NULL;
	expect_reader('1'); /* after a clean end: no log is left */
	die_with_store_open();
	assert_int_equal(access(beside("-wal"), F_OK), 0);
	expect_reader('2'); /* after a crash: the newest value is in the log only */
	assert_int_equal(pc_store_open("/nonexistent/pcd.db", true, &reader), -ENOENT);
	assert_int_equal(pc_store_open("/nonexistent/pcd.db", false, &reader), -ENOENT);
}

static void raw_sql(const char *file, const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static struct pc_store_peer make_peer(uint8_t fill, const char *name)
{
	struct pc_store_peer p = { .tenant = 3, .may_call = "bob,carol", .created_s = 17 };

	memset(p.identity, fill, sizeof(p.identity));
	snprintf(p.name, sizeof(p.name), "%s", name);
	return p;
}

struct peers {
	struct pc_store_peer p[4];
	int n;
};

static int add_peer(void *arg, const struct pc_store_peer *p)
{
	struct peers *found = arg;

	found->p[found->n++] = *p;
	return found->n == 3 ? 77 : 0;
}

static void test_peers(void **state)
{
	struct pc_store_peer a = make_peer(1, "alice"), b = make_peer(2, "bob"), c;
	struct peers found = { .n = 0 };

	memset(b.psk, 7, sizeof(b.psk)); /* the other one has none */
	assert_int_equal(pc_store_peer_add(s, &b), 0);
	assert_int_equal(pc_store_peer_add(s, &a), 0);
	c = make_peer(1, "carol");
	assert_int_equal(pc_store_peer_add(s, &c), PC_ERR_EXISTS); /* the identity */
	c = make_peer(3, "bob");
	assert_int_equal(pc_store_peer_add(s, &c), PC_ERR_EXISTS); /* the name */
	reopen();
	assert_int_equal(pc_store_peer_each(s, add_peer, &found), 0);
	assert_int_equal(found.n, 2);
	assert_memory_equal(&found.p[0], &a, sizeof(a));
	assert_memory_equal(&found.p[1], &b, sizeof(b));
	assert_int_equal(pc_store_peer_del(s, a.identity), 0);
	assert_int_equal(pc_store_peer_del(s, a.identity), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_store_peer_add(s, &a), 0);
	c = make_peer(3, "carol");
	assert_int_equal(pc_store_peer_add(s, &c), 0);
	found.n = 0;
	assert_int_equal(pc_store_peer_each(s, add_peer, &found), 77);
}

/* The tables of the first version, with a tenant in them. */
static void test_older_version(void **state)
{
	struct pc_store_tenant a = make_tenant("alice");
	struct pc_store_peer p = make_peer(1, "alice");
	struct pc_store *reader;
	struct found f;

	assert_int_equal(pc_store_tenant_add(s, &a, &a.id), 0);
	pc_store_close(s);
	s = NULL;
	raw_sql(path,
		"ALTER TABLE tenant DROP COLUMN limits; ALTER TABLE tenant DROP COLUMN up_bps;"
		"ALTER TABLE tenant DROP COLUMN down_bps;"
		"ALTER TABLE tenant DROP COLUMN guarantee_bps;"
		"ALTER TABLE tenant DROP COLUMN packets_per_s;"
		"ALTER TABLE tenant DROP COLUMN weight;"
		"ALTER TABLE tenant DROP COLUMN quota_day;"
		"ALTER TABLE tenant DROP COLUMN quota_month;"
		"ALTER TABLE tenant DROP COLUMN day_start_s;"
		"ALTER TABLE tenant DROP COLUMN day_base;"
		"ALTER TABLE tenant DROP COLUMN month_start_s;"
		"ALTER TABLE tenant DROP COLUMN month_base;"
		"ALTER TABLE tenant DROP COLUMN spent_before;"
		"DROP TABLE peer;"
		"UPDATE tenant SET tier = 'default'; PRAGMA user_version = 1;");
	assert_int_equal(pc_store_open(path, true, &reader), PC_ERR_VERSION); /* changes nothing */
	assert_int_equal(pc_store_open(path, false, &s), 0);
	f = all_tenants();
	a.limits = 0;
	a.plan = (struct pc_store_plan){ .weight = 1 };
	assert_int_equal(f.n, 1);
	assert_memory_equal(&f.t[0], &a, sizeof(a));
	reopen();
	assert_int_equal(all_tenants().n, 1);
	assert_int_equal(pc_store_peer_add(s, &p), 0);
}

static void test_other_versions_and_files(void **state)
{
	struct pc_store *other;
	int fd;

	pc_store_close(s);
	s = NULL;
	raw_sql(path, "PRAGMA user_version = 6");
	assert_int_equal(pc_store_open(path, false, &other), PC_ERR_VERSION);
	assert_int_equal(pc_store_open(path, true, &other), PC_ERR_VERSION);
	assert_string_equal(pc_store_error(NULL), "schema version 6, this build knows 5");
	unlink(beside("-wal"));
	unlink(beside("-shm"));
	fd = open(path, O_WRONLY | O_TRUNC);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(write(fd, "not a database\n", 15), 15);
	close(fd);
	assert_int_equal(pc_store_open(path, false, &other), PC_ERR_STORE);
	assert_non_null(strstr(pc_store_error(NULL), "not a database"));
	assert_int_equal(pc_store_open(path, true, &other), PC_ERR_STORE);
}

static void test_damaged(void **state)
{
	struct pc_store_tenant t = make_tenant("alice");
	char junk[4096];
	int fd, rc = 0;

	for (int i = 0; i < 200; i++) {
		snprintf(t.name, sizeof(t.name), "tenant%d", i);
		assert_int_equal(pc_store_tenant_add(s, &t, &t.id), 0);
	}
	pc_store_close(s);
	s = NULL;
	fd = open(path, O_WRONLY);
	memset(junk, 0xa5, sizeof(junk));
	for (int page = 2; page < 12; page++)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), page * 4096), sizeof(junk));
	close(fd);
	rc = pc_store_open(path, false, &s);
	for (int i = 0; rc == 0 && i < 4; i++) {
		snprintf(t.name, sizeof(t.name), "new%d", i);
		rc = pc_store_tenant_add(s, &t, &t.id);
	}
	assert_int_equal(rc, PC_ERR_STORE);
}

/* In a child, on a file system of its own with hardly any room. Its exit status says how it went.
 */
static int fill_disk(void)
{
	static uint8_t block[16384];
	char file[128];
	int rc = 0;
	size_t len;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=512k") < 0)
		return CHILD_SKIPPED;
	snprintf(file, sizeof(file), "%s/full.db", dir);
	if (pc_store_open(file, false, &s) < 0 || pc_store_put(s, "before", "1", 1) < 0)
		return 1;
	for (uint64_t id = 1; rc == 0 && id < 1000; id++)
		rc = pc_store_session_put(s, id, block, sizeof(block));
	if (rc != -ENOSPC)
		return 2;
	/* A transaction may notice only when it is committed; then it is rolled back. */
	rc = pc_store_begin(s);
	for (uint64_t id = 2000; rc == 0 && id < 2010; id++)
		rc = pc_store_session_put(s, id, block, sizeof(block));
	if (rc == 0)
		rc = pc_store_commit(s);
	else
		pc_store_rollback(s);
	if (rc != -ENOSPC)
		return 3;
	/* What was there is still there, and can be read. */
	if (pc_store_get(s, "before", block, sizeof(block), &len) != 0 || block[0] != '1')
		return 4;
	pc_store_close(s);
	s = NULL;
	return 0;
}

static void test_disk_full(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fill_disk());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Where not even a lock file can be made, the figures can still be seen. */
static int read_readonly_mount(void)
{
	struct pc_store *reader;
	uint8_t b = 0;
	size_t len;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(dir, dir, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
		return CHILD_SKIPPED;
	if (pc_store_open(path, true, &reader) < 0)
		return 1;
	if (pc_store_get(reader, "k", &b, 1, &len) < 0 || b != '1')
		return 2;
	pc_store_close(reader);
	return pc_store_open(path, false, &reader) < 0 ? 0 : 3;
}

static void test_readonly_file_system(void **state)
{
	int status;
	pid_t pid;

	assert_int_equal(pc_store_put(s, "k", "1", 1), 0);
	pc_store_close(s);
	s = NULL;
	pid = fork();
	if (pid == 0)
		_exit(read_readonly_mount());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_private_from_the_start),
		T(test_values),
		T(test_refused),
		T(test_tenants),
		T(test_ids_are_never_reused),
		T(test_slots),
		T(test_sessions),
		T(test_transactions),
		T(test_locked),
		T(test_readers),
		T(test_peers),
		T(test_older_version),
		T(test_other_versions_and_files),
		T(test_damaged),
		T(test_disk_full),
		T(test_readonly_file_system),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
