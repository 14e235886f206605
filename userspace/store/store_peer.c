/* SPDX-License-Identifier: MIT */
/* Native peers. */
#include "store/store_internal.h"

#include "base/err.h"

static bool is_zero(const uint8_t *bytes, size_t n)
{
	uint8_t any = 0;

	while (n--)
		any |= *bytes++;
	return !any;
}

int pc_store_peer_add(struct pc_store *s, const struct pc_store_peer *p)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_PEER_ADD, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_blob(stmt, 1, p->identity, sizeof(p->identity), SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, p->name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, p->tenant);
	sqlite3_bind_text(stmt, 4, p->may_call, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 5, (sqlite3_int64)p->created_s);
	if (!is_zero(p->psk, sizeof(p->psk)))
		sqlite3_bind_blob(stmt, 6, p->psk, sizeof(p->psk), SQLITE_STATIC);
	return pc_store_run(s, stmt);
}

int pc_store_peer_del(struct pc_store *s, const uint8_t identity[static 32])
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_PEER_DEL, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_blob(stmt, 1, identity, 32, SQLITE_STATIC);
	rc = pc_store_run(s, stmt);
	return rc == 0 && sqlite3_changes(s->db) == 0 ? PC_ERR_NOT_FOUND : rc;
}

static int read_peer(sqlite3_stmt *stmt, struct pc_store_peer *ret_peer)
{
	struct pc_store_peer p = { 0 };

	if (!pc_store_column_bytes(stmt, 0, p.identity, sizeof(p.identity)) ||
	    pc_store_column_text(stmt, 1, p.name, sizeof(p.name)) < 0 ||
	    pc_store_column_text(stmt, 3, p.may_call, sizeof(p.may_call)) < 0)
		return PC_ERR_STORE;
	p.tenant = (uint32_t)sqlite3_column_int64(stmt, 2);
	p.created_s = (uint64_t)sqlite3_column_int64(stmt, 4);
	if (sqlite3_column_type(stmt, 5) != SQLITE_NULL &&
	    !pc_store_column_bytes(stmt, 5, p.psk, sizeof(p.psk)))
		return PC_ERR_STORE;
	*ret_peer = p;
	return 0;
}

int pc_store_peer_each(struct pc_store *s, int (*fn)(void *arg, const struct pc_store_peer *p),
		       void *arg)
{
	struct pc_store_peer p;
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_PEER_EACH, &stmt);

	if (rc < 0)
		return rc;
	while ((rc = pc_store_step(s, stmt)) > 0) {
		rc = read_peer(stmt, &p);
		if (rc == 0)
			rc = fn(arg, &p);
		if (rc != 0) {
			pc_store_reset(stmt);
			return rc;
		}
	}
	return rc;
}
