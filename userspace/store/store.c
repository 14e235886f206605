/* SPDX-License-Identifier: MIT */
#include "store/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/err.h"

#define BUSY_TIMEOUT_MS 250

/*
 * Portable SQL as far as SQLite lets us: the same tables serve a fleet's database. A deleted tenant
 * stays as a row without credentials, so that its totals keep a name for billing.
 */
static const char *const schema[] = {
	/* Each makes one version out of the one before. */
	"CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE tenant (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
	" tier TEXT NOT NULL, realm TEXT NOT NULL, ha1_md5 BLOB, ha1_sha256 BLOB, userhash BLOB,"
	" max_allocations INTEGER NOT NULL, max_permissions INTEGER NOT NULL,"
	" max_channels INTEGER NOT NULL, max_peers_per_s INTEGER NOT NULL,"
	" created_s INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0);"
	"CREATE UNIQUE INDEX tenant_name ON tenant (name) WHERE deleted = 0;"
	"CREATE TABLE total (tenant INTEGER NOT NULL, path INTEGER NOT NULL,"
	" up_packets INTEGER NOT NULL, up_payload_bytes INTEGER NOT NULL,"
	" up_wire_bytes INTEGER NOT NULL, down_packets INTEGER NOT NULL,"
	" down_payload_bytes INTEGER NOT NULL, down_wire_bytes INTEGER NOT NULL,"
	" drops_rate INTEGER NOT NULL, drops_credit INTEGER NOT NULL,"
	" PRIMARY KEY (tenant, path)) WITHOUT ROWID;"
	"CREATE TABLE slot (slot INTEGER PRIMARY KEY, session INTEGER NOT NULL,"
	" tenant INTEGER NOT NULL, ended INTEGER NOT NULL, marks BLOB NOT NULL);"
	"CREATE TABLE session (id INTEGER PRIMARY KEY, record BLOB NOT NULL);"
	"PRAGMA user_version = 1;",
	"ALTER TABLE tenant ADD COLUMN limits INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN up_bps INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN down_bps INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN guarantee_bps INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN packets_per_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE tenant ADD COLUMN quota_day INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN quota_month INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN day_start_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN day_base INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN month_start_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE tenant ADD COLUMN month_base INTEGER NOT NULL DEFAULT 0;"
	"UPDATE tenant SET tier = 'paid' WHERE tier = 'default';"
	"PRAGMA user_version = 2;",
	"ALTER TABLE tenant ADD COLUMN spent_before INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA user_version = 3;",
	"CREATE TABLE peer (identity BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
	" tenant INTEGER NOT NULL, may_call TEXT NOT NULL, created_s INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"PRAGMA user_version = 4;",
	"ALTER TABLE peer ADD COLUMN psk BLOB;"
	"PRAGMA user_version = 5;",
};
#define SCHEMA_VERSION ((int)PC_ARRAY_SIZE(schema))

static const char *const sql[PC_STMT_COUNT] = {
	/* The write lock is taken at once, so a busy store is noticed before anything is done. */
	[PC_STMT_BEGIN] = "BEGIN IMMEDIATE",
	[PC_STMT_COMMIT] = "COMMIT",
	[PC_STMT_ROLLBACK] = "ROLLBACK",
	[PC_STMT_VALUE_GET] = "SELECT value FROM value WHERE key = ?1",
	[PC_STMT_VALUE_PUT] = "INSERT INTO value VALUES (?1, ?2)"
			      " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
	[PC_STMT_TENANT_ADD] =
		"INSERT INTO tenant (name, tier, realm, ha1_md5, ha1_sha256, userhash,"
		" max_allocations, max_permissions, max_channels, max_peers_per_s, created_s,"
		" limits, up_bps, down_bps, guarantee_bps, packets_per_s, weight, quota_day,"
		" quota_month) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
		" ?14, ?15, ?16, ?17, ?18, ?19)",
	[PC_STMT_TENANT_UPDATE] =
		"UPDATE tenant SET name = ?1, tier = ?2, realm = ?3, ha1_md5 = ?4, ha1_sha256 = ?5,"
		" userhash = ?6, max_allocations = ?7, max_permissions = ?8, max_channels = ?9,"
		" max_peers_per_s = ?10, created_s = ?11, limits = ?12, up_bps = ?13,"
		" down_bps = ?14, guarantee_bps = ?15, packets_per_s = ?16, weight = ?17,"
		" quota_day = ?18, quota_month = ?19 WHERE id = ?20 AND deleted = 0",
	[PC_STMT_TENANT_QUOTA] =
		"UPDATE tenant SET day_start_s = ?1, day_base = ?2, month_start_s = ?3,"
		" month_base = ?4, spent_before = ?5 WHERE id = ?6 AND deleted = 0",
	[PC_STMT_TENANT_DEL] = "UPDATE tenant SET deleted = 1, ha1_md5 = NULL, ha1_sha256 = NULL,"
			       " userhash = NULL WHERE id = ?1 AND deleted = 0",
	[PC_STMT_TENANT_EACH] =
		"SELECT name, tier, realm, ha1_md5, ha1_sha256, userhash, max_allocations,"
		" max_permissions, max_channels, max_peers_per_s, created_s, id, limits, up_bps,"
		" down_bps, guarantee_bps, packets_per_s, weight, quota_day, quota_month,"
		" day_start_s, day_base, month_start_s, month_base, spent_before FROM tenant"
		" WHERE deleted = 0 ORDER BY id",
	[PC_STMT_PEER_ADD] = "INSERT INTO peer VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[PC_STMT_PEER_DEL] = "DELETE FROM peer WHERE identity = ?1",
	[PC_STMT_PEER_EACH] =
		"SELECT identity, name, tenant, may_call, created_s, psk FROM peer ORDER BY name",
	[PC_STMT_TOTAL_GET] =
		"SELECT path, up_packets, up_payload_bytes, up_wire_bytes, down_packets,"
		" down_payload_bytes, down_wire_bytes, drops_rate, drops_credit FROM total"
		" WHERE tenant = ?1",
	[PC_STMT_TOTAL_PUT] =
		"INSERT INTO total VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
		" ON CONFLICT (tenant, path) DO UPDATE SET up_packets = excluded.up_packets,"
		" up_payload_bytes = excluded.up_payload_bytes,"
		" up_wire_bytes = excluded.up_wire_bytes, down_packets = excluded.down_packets,"
		" down_payload_bytes = excluded.down_payload_bytes,"
		" down_wire_bytes = excluded.down_wire_bytes, drops_rate = excluded.drops_rate,"
		" drops_credit = excluded.drops_credit",
	[PC_STMT_SLOT_PUT] = "INSERT INTO slot VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (slot)"
			     " DO UPDATE SET session = excluded.session, tenant = excluded.tenant,"
			     " ended = excluded.ended, marks = excluded.marks",
	[PC_STMT_SLOT_DEL] = "DELETE FROM slot WHERE slot = ?1",
	[PC_STMT_SLOT_EACH] = "SELECT slot, session, tenant, ended, marks FROM slot ORDER BY slot",
	[PC_STMT_SESSION_PUT] = "INSERT INTO session VALUES (?1, ?2)"
				" ON CONFLICT (id) DO UPDATE SET record = excluded.record",
	[PC_STMT_SESSION_DEL] = "DELETE FROM session WHERE id = ?1",
	[PC_STMT_SESSION_EACH] = "SELECT id, record FROM session ORDER BY id",
	[PC_STMT_SESSION_CLEAR] = "DELETE FROM session",
};

PC_DEFINE_CLEANUP(store, struct pc_store, pc_store_close)

/* A store that could not be opened has no place of its own for the reason. */
static _Thread_local char open_error[sizeof(((struct pc_store *)0)->error)];

/* --- errors and statements --- */

static int code_of(int rc, int sys_errno)
{
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return PC_ERR_LOCKED;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_IOERR:
		return sys_errno == ENOSPC || sys_errno == EDQUOT ? -ENOSPC : PC_ERR_STORE;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return sys_errno == EROFS ? -EROFS : -EACCES;
	case SQLITE_CONSTRAINT:
		return PC_ERR_EXISTS;
	case SQLITE_CANTOPEN:
		return sys_errno > 0 ? -sys_errno : PC_ERR_STORE;
	default: /* SQLITE_CORRUPT, SQLITE_NOTADB and what is not expected to happen */
		return PC_ERR_STORE;
	}
}

int pc_store_fail(struct pc_store *s, int rc)
{
	int sys_errno = s->db ? sqlite3_system_errno(s->db) : 0;

	snprintf(s->error, sizeof(s->error), "%s",
		 s->db && (sqlite3_errcode(s->db) & 0xff) == (rc & 0xff) ? sqlite3_errmsg(s->db)
									 : sqlite3_errstr(rc));
	return code_of(rc, sys_errno);
}

const char *pc_store_error(const struct pc_store *s)
{
	return s ? s->error : open_error;
}

int pc_store_stmt(struct pc_store *s, enum pc_store_stmt which, sqlite3_stmt **ret_stmt)
{
	int rc;

	if (!s->stmt[which]) {
		rc = sqlite3_prepare_v3(s->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
					&s->stmt[which], NULL);
		if (rc != SQLITE_OK)
			return pc_store_fail(s, rc);
	}
	*ret_stmt = s->stmt[which];
	return 0;
}

void pc_store_reset(sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

int pc_store_step(struct pc_store *s, sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);
	int err = 0;

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		err = pc_store_fail(s, rc);
	pc_store_reset(stmt);
	return err;
}

int pc_store_run(struct pc_store *s, sqlite3_stmt *stmt)
{
	int rc = pc_store_step(s, stmt);

	if (rc > 0) {
		pc_store_reset(stmt);
		return 0;
	}
	return rc;
}

/* --- opening --- */

static int exec(struct pc_store *s, const char *text)
{
	int rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : pc_store_fail(s, rc);
}

static int read_version(struct pc_store *s, int *ret_version)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW) {
		rc = pc_store_fail(s, rc);
		sqlite3_finalize(stmt);
		return rc;
	}
	*ret_version = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return 0;
}

/* Makes or renews the tables; two processes that start together do it once. */
static int make_schema(struct pc_store *s)
{
	int version = 0;
	int rc = pc_store_begin(s);

	if (rc < 0)
		return rc;
	rc = read_version(s, &version);
	while (rc == 0 && version >= 0 && version < SCHEMA_VERSION)
		rc = exec(s, schema[version++]);
	if (rc < 0) {
		pc_store_rollback(s);
		return rc;
	}
	return pc_store_commit(s);
}

static int check_version(struct pc_store *s, bool readonly)
{
	int version = 0;
	int rc = read_version(s, &version);

	if (rc == 0 && version < SCHEMA_VERSION && !readonly) {
		rc = make_schema(s);
		if (rc == 0)
			rc = read_version(s, &version);
	}
	if (rc < 0)
		return rc;
	if (version != SCHEMA_VERSION) {
		snprintf(s->error, sizeof(s->error), "schema version %d, this build knows %d",
			 version, SCHEMA_VERSION);
		return PC_ERR_VERSION;
	}
	return 0;
}

static int open_db(struct pc_store *s, const char *name, int flags)
{
	int rc;

	sqlite3_close(s->db);
	s->db = NULL;
	rc = sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
	if (rc != SQLITE_OK)
		return pc_store_fail(s, rc);
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	return 0;
}

static int open_writer(struct pc_store *s, const char *path)
{
	/* The file, its log and its index hold keys: 0600 from the first moment. */
	mode_t mask = umask(0177);
	int rc = open_db(s, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);

	if (rc == 0)
		rc = exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
			     "PRAGMA secure_delete = ON;");
	if (rc == 0)
		rc = check_version(s, false);
	umask(mask);
	return rc;
}

static bool log_is_empty(const char *path)
{
	_cleanup_free_ char *name = NULL;
	struct stat st;

	if (asprintf(&name, "%s-wal", path) < 0) {
		name = NULL;
		return false;
	}
	return stat(name, &st) < 0 || st.st_size == 0;
}

/* "file:PATH?immutable=1" with what URIs treat specially written as %XX. */
static char *immutable_uri(const char *path)
{
	static const char tail[] = "?immutable=1";
	size_t size = 5 + 3 * strlen(path) + sizeof(tail);
	char *uri = malloc(size);
	size_t n = 5;

	if (!uri)
		return NULL;
	memcpy(uri, "file:", 5);
	for (; *path; path++) {
		if (*path == '%' || *path == '?' || *path == '#')
			n += (size_t)snprintf(uri + n, size - n, "%%%02x", (unsigned char)*path);
		else
			uri[n++] = *path;
	}
	memcpy(uri + n, tail, sizeof(tail));
	return uri;
}

/*
 * A reader of a WAL file needs the log and its index, and may have to make them. Where it cannot
 * (read-only file system) an empty log means that the file itself is complete and nobody writes.
 */
static int open_reader(struct pc_store *s, const char *path)
{
	_cleanup_free_ char *uri = NULL;
	struct stat st;
	int rc;

	if (stat(path, &st) < 0) {
		snprintf(s->error, sizeof(s->error), "%s: %s", path, pc_strerror(-errno));
		return -errno;
	}
	rc = open_db(s, path, SQLITE_OPEN_READONLY);
	if (rc == 0)
		rc = check_version(s, true);
	if (rc == 0 || rc == PC_ERR_VERSION || rc == PC_ERR_LOCKED || !log_is_empty(path))
		return rc;
	uri = immutable_uri(path);
	if (!uri)
		return -ENOMEM;
	rc = open_db(s, uri, SQLITE_OPEN_READONLY);
	return rc < 0 ? rc : check_version(s, true);
}

int pc_store_open(const char *path, bool readonly, struct pc_store **ret_store)
{
	PC_CLEANUP(pc_cleanup_store) struct pc_store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	rc = readonly ? open_reader(s, path) : open_writer(s, path);
	if (rc < 0) {
		memcpy(open_error, s->error, sizeof(open_error));
		return rc;
	}
	*ret_store = TAKE_PTR(s);
	return 0;
}

void pc_store_close(struct pc_store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < PC_STMT_COUNT; i++)
		sqlite3_finalize(s->stmt[i]);
	sqlite3_close(s->db);
	free(s);
}

bool pc_store_readonly(const struct pc_store *s)
{
	return sqlite3_db_readonly(s->db, "main") != 0;
}

void pc_store_wait(struct pc_store *s, bool wait)
{
	sqlite3_busy_timeout(s->db, wait ? BUSY_TIMEOUT_MS : 0);
}

/* --- transactions --- */

static int run_plain(struct pc_store *s, enum pc_store_stmt which)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, which, &stmt);

	return rc < 0 ? rc : pc_store_run(s, stmt);
}

int pc_store_begin(struct pc_store *s)
{
	int rc = 0;

	if (s->depth == 0) {
		rc = run_plain(s, PC_STMT_BEGIN);
		s->broken = false;
	}
	if (rc == 0)
		s->depth++;
	return rc;
}

/* SQLite rolls back by itself on some errors; then there is nothing left to roll back. */
static void roll_back(struct pc_store *s)
{
	char error[sizeof(s->error)];

	memcpy(error, s->error, sizeof(error));
	if (!sqlite3_get_autocommit(s->db))
		run_plain(s, PC_STMT_ROLLBACK);
	memcpy(s->error, error, sizeof(error));
}

int pc_store_commit(struct pc_store *s)
{
	int rc;

	if (s->depth == 0)
		return PC_ERR_STATE;
	if (--s->depth > 0)
		return s->broken ? PC_ERR_STATE : 0;
	if (s->broken || sqlite3_get_autocommit(s->db)) {
		roll_back(s);
		return PC_ERR_STATE;
	}
	rc = run_plain(s, PC_STMT_COMMIT);
	if (rc < 0)
		roll_back(s);
	return rc;
}

void pc_store_rollback(struct pc_store *s)
{
	if (s->depth == 0)
		return;
	s->broken = true;
	if (--s->depth == 0)
		roll_back(s);
}

/* --- values --- */

int pc_store_get(struct pc_store *s, const char *key, void *buf, size_t size, size_t *ret_len)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_VALUE_GET, &stmt);
	size_t len;

	if (rc < 0)
		return rc;
	sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	rc = pc_store_step(s, stmt);
	if (rc <= 0)
		return rc < 0 ? rc : PC_ERR_NOT_FOUND;
	len = (size_t)sqlite3_column_bytes(stmt, 0);
	rc = len > size ? PC_ERR_RANGE : 0;
	if (rc == 0) {
		if (len)
			memcpy(buf, sqlite3_column_blob(stmt, 0), len);
		*ret_len = len;
	}
	pc_store_reset(stmt);
	return rc;
}

int pc_store_put(struct pc_store *s, const char *key, const void *value, size_t len)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_VALUE_PUT, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 2, len ? value : "", (int)len, SQLITE_STATIC);
	return pc_store_run(s, stmt);
}
