/* SPDX-License-Identifier: MIT */
/* Tenants and their totals. */
#include "store/store_internal.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

#define SHA256_LEN 32
#define MD5_LEN	   16

static void bind_key(sqlite3_stmt *stmt, int column, const struct pc_store_tenant *t,
		     const uint8_t *key, int len)
{
	if (t->has_password)
		sqlite3_bind_blob(stmt, column, key, len, SQLITE_STATIC);
	else
		sqlite3_bind_null(stmt, column);
}

static void bind_plan(sqlite3_stmt *stmt, int first, const struct pc_store_plan *p)
{
	const uint64_t value[] = { p->up_bps, p->down_bps,  p->guarantee_bps, p->packets_per_s,
				   p->weight, p->quota_day, p->quota_month };

	for (int i = 0; i < (int)PC_ARRAY_SIZE(value); i++)
		sqlite3_bind_int64(stmt, first + i, (sqlite3_int64)value[i]);
}

static void bind_tenant(sqlite3_stmt *stmt, const struct pc_store_tenant *t)
{
	sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, t->tier, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 3, t->realm, -1, SQLITE_STATIC);
	bind_key(stmt, 4, t, t->ha1_md5, MD5_LEN);
	bind_key(stmt, 5, t, t->ha1_sha256, SHA256_LEN);
	/* Derived from the name alone: needed for time-limited credentials too. */
	sqlite3_bind_blob(stmt, 6, t->userhash, SHA256_LEN, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 7, t->max_allocations);
	sqlite3_bind_int64(stmt, 8, t->max_permissions);
	sqlite3_bind_int64(stmt, 9, t->max_channels);
	sqlite3_bind_int64(stmt, 10, t->max_peers_per_s);
	sqlite3_bind_int64(stmt, 11, (sqlite3_int64)t->created_s);
	sqlite3_bind_int64(stmt, 12, t->limits);
	bind_plan(stmt, 13, &t->plan);
}

int pc_store_tenant_add(struct pc_store *s, const struct pc_store_tenant *t, uint32_t *ret_id)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_TENANT_ADD, &stmt);

	if (rc < 0)
		return rc;
	bind_tenant(stmt, t);
	rc = pc_store_run(s, stmt);
	if (rc == 0)
		*ret_id = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return rc;
}

int pc_store_tenant_update(struct pc_store *s, const struct pc_store_tenant *t)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_TENANT_UPDATE, &stmt);

	if (rc < 0)
		return rc;
	bind_tenant(stmt, t);
	sqlite3_bind_int64(stmt, 20, t->id);
	rc = pc_store_run(s, stmt);
	return rc == 0 && sqlite3_changes(s->db) == 0 ? PC_ERR_NOT_FOUND : rc;
}

int pc_store_tenant_quota(struct pc_store *s, uint32_t id, const struct pc_store_quota *quota)
{
	const uint64_t value[] = { quota->day_start_s, quota->day_base,	    quota->month_start_s,
				   quota->month_base,  quota->spent_before, id };
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_TENANT_QUOTA, &stmt);

	if (rc < 0)
		return rc;
	for (int i = 0; i < (int)PC_ARRAY_SIZE(value); i++)
		sqlite3_bind_int64(stmt, 1 + i, (sqlite3_int64)value[i]);
	rc = pc_store_run(s, stmt);
	return rc == 0 && sqlite3_changes(s->db) == 0 ? PC_ERR_NOT_FOUND : rc;
}

int pc_store_tenant_del(struct pc_store *s, uint32_t id)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_TENANT_DEL, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_int64(stmt, 1, id);
	rc = pc_store_run(s, stmt);
	return rc == 0 && sqlite3_changes(s->db) == 0 ? PC_ERR_NOT_FOUND : rc;
}

int pc_store_column_text(sqlite3_stmt *stmt, int column, char *buf, size_t size)
{
	const unsigned char *text = sqlite3_column_text(stmt, column);
	size_t len = (size_t)sqlite3_column_bytes(stmt, column);

	if (!text || len >= size)
		return PC_ERR_STORE;
	memcpy(buf, text, len + 1);
	return 0;
}

bool pc_store_column_bytes(sqlite3_stmt *stmt, int column, uint8_t *buf, int len)
{
	if (sqlite3_column_bytes(stmt, column) != len)
		return false;
	memcpy(buf, sqlite3_column_blob(stmt, column), (size_t)len);
	return true;
}

static uint64_t column_u64(sqlite3_stmt *stmt, int column)
{
	return (uint64_t)sqlite3_column_int64(stmt, column);
}

static void read_limits(sqlite3_stmt *stmt, int first, struct pc_store_tenant *t)
{
	t->limits = (uint32_t)column_u64(stmt, first);
	t->plan = (struct pc_store_plan){
		.up_bps = column_u64(stmt, first + 1),
		.down_bps = column_u64(stmt, first + 2),
		.guarantee_bps = column_u64(stmt, first + 3),
		.packets_per_s = (uint32_t)column_u64(stmt, first + 4),
		.weight = (uint32_t)column_u64(stmt, first + 5),
		.quota_day = column_u64(stmt, first + 6),
		.quota_month = column_u64(stmt, first + 7),
	};
	t->quota = (struct pc_store_quota){
		.day_start_s = column_u64(stmt, first + 8),
		.day_base = column_u64(stmt, first + 9),
		.month_start_s = column_u64(stmt, first + 10),
		.month_base = column_u64(stmt, first + 11),
		.spent_before = column_u64(stmt, first + 12),
	};
}

static int read_tenant(sqlite3_stmt *stmt, struct pc_store_tenant *ret_tenant)
{
	struct pc_store_tenant t = { 0 };

	if (pc_store_column_text(stmt, 0, t.name, sizeof(t.name)) < 0 ||
	    pc_store_column_text(stmt, 1, t.tier, sizeof(t.tier)) < 0 ||
	    pc_store_column_text(stmt, 2, t.realm, sizeof(t.realm)) < 0)
		return PC_ERR_STORE;
	t.has_password = pc_store_column_bytes(stmt, 3, t.ha1_md5, MD5_LEN) &&
			 pc_store_column_bytes(stmt, 4, t.ha1_sha256, SHA256_LEN);
	if (!pc_store_column_bytes(stmt, 5, t.userhash, SHA256_LEN))
		return PC_ERR_STORE;
	t.max_allocations = (uint32_t)sqlite3_column_int64(stmt, 6);
	t.max_permissions = (uint32_t)sqlite3_column_int64(stmt, 7);
	t.max_channels = (uint32_t)sqlite3_column_int64(stmt, 8);
	t.max_peers_per_s = (uint32_t)sqlite3_column_int64(stmt, 9);
	t.created_s = (uint64_t)sqlite3_column_int64(stmt, 10);
	t.id = (uint32_t)sqlite3_column_int64(stmt, 11);
	read_limits(stmt, 12, &t);
	*ret_tenant = t;
	return 0;
}

int pc_store_tenant_each(struct pc_store *s, int (*fn)(void *arg, const struct pc_store_tenant *t),
			 void *arg)
{
	struct pc_store_tenant t;
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_TENANT_EACH, &stmt);

	if (rc < 0)
		return rc;
	while ((rc = pc_store_step(s, stmt)) > 0) {
		rc = read_tenant(stmt, &t);
		if (rc == 0)
			rc = fn(arg, &t);
		if (rc != 0) {
			pc_store_reset(stmt);
			return rc;
		}
	}
	return rc;
}

int pc_store_total_get(struct pc_store *s, uint32_t tenant,
		       struct pc_store_count ret_counts[static PC_STORE_PATHS])
{
	struct pc_store_count counts[PC_STORE_PATHS] = { 0 };
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_TOTAL_GET, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_int64(stmt, 1, tenant);
	while ((rc = pc_store_step(s, stmt)) > 0) {
		int path = sqlite3_column_int(stmt, 0);

		if (path < 0 || path >= PC_STORE_PATHS)
			continue;
		counts[path] = (struct pc_store_count){
			.up_packets = (uint64_t)sqlite3_column_int64(stmt, 1),
			.up_payload_bytes = (uint64_t)sqlite3_column_int64(stmt, 2),
			.up_wire_bytes = (uint64_t)sqlite3_column_int64(stmt, 3),
			.down_packets = (uint64_t)sqlite3_column_int64(stmt, 4),
			.down_payload_bytes = (uint64_t)sqlite3_column_int64(stmt, 5),
			.down_wire_bytes = (uint64_t)sqlite3_column_int64(stmt, 6),
			.drops_rate = (uint64_t)sqlite3_column_int64(stmt, 7),
			.drops_credit = (uint64_t)sqlite3_column_int64(stmt, 8),
		};
	}
	if (rc == 0)
		memcpy(ret_counts, counts, sizeof(counts));
	return rc;
}

static int put_path(struct pc_store *s, uint32_t tenant, int path, const struct pc_store_count *c)
{
	const uint64_t value[] = { c->up_packets,   c->up_payload_bytes,   c->up_wire_bytes,
				   c->down_packets, c->down_payload_bytes, c->down_wire_bytes,
				   c->drops_rate,   c->drops_credit };
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_TOTAL_PUT, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_int64(stmt, 1, tenant);
	sqlite3_bind_int(stmt, 2, path);
	for (int i = 0; i < (int)(sizeof(value) / sizeof(value[0])); i++)
		sqlite3_bind_int64(stmt, 3 + i, (sqlite3_int64)value[i]);
	return pc_store_run(s, stmt);
}

int pc_store_total_put(struct pc_store *s, uint32_t tenant,
		       const struct pc_store_count counts[static PC_STORE_PATHS])
{
	int rc = pc_store_begin(s);

	for (int path = 0; rc == 0 && path < PC_STORE_PATHS; path++) {
		rc = put_path(s, tenant, path, &counts[path]);
		if (rc < 0) {
			pc_store_rollback(s);
			return rc;
		}
	}
	return rc < 0 ? rc : pc_store_commit(s);
}
