/* SPDX-License-Identifier: MIT */
/* Counter slots and allocations. */
#include "store/store_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "base/wire.h"

/* The marks of a slot, big-endian: opened and folded, each for every path. */
#define COUNT_FIELDS 8
#define MARKS_LEN    (2 * PC_STORE_PATHS * COUNT_FIELDS * 8)

static void write_count(struct pc_writer *w, const struct pc_store_count *c)
{
	pc_write_u64(w, c->up_packets);
	pc_write_u64(w, c->up_payload_bytes);
	pc_write_u64(w, c->up_wire_bytes);
	pc_write_u64(w, c->down_packets);
	pc_write_u64(w, c->down_payload_bytes);
	pc_write_u64(w, c->down_wire_bytes);
	pc_write_u64(w, c->drops_rate);
	pc_write_u64(w, c->drops_credit);
}

static void read_count(struct pc_reader *r, struct pc_store_count *c)
{
	c->up_packets = pc_read_u64(r);
	c->up_payload_bytes = pc_read_u64(r);
	c->up_wire_bytes = pc_read_u64(r);
	c->down_packets = pc_read_u64(r);
	c->down_payload_bytes = pc_read_u64(r);
	c->down_wire_bytes = pc_read_u64(r);
	c->drops_rate = pc_read_u64(r);
	c->drops_credit = pc_read_u64(r);
}

int pc_store_slot_put(struct pc_store *s, const struct pc_store_slot *slot)
{
	uint8_t marks[MARKS_LEN];
	struct pc_writer w;
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_SLOT_PUT, &stmt);

	if (rc < 0)
		return rc;
	pc_writer_init(&w, marks, sizeof(marks));
	for (int path = 0; path < PC_STORE_PATHS; path++) {
		write_count(&w, &slot->opened[path]);
		write_count(&w, &slot->folded[path]);
	}
	sqlite3_bind_int64(stmt, 1, slot->slot);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)slot->session);
	sqlite3_bind_int64(stmt, 3, slot->tenant);
	sqlite3_bind_int(stmt, 4, slot->ended);
	sqlite3_bind_blob(stmt, 5, marks, (int)w.len, SQLITE_STATIC);
	return pc_store_run(s, stmt);
}

int pc_store_slot_del(struct pc_store *s, uint32_t slot)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_SLOT_DEL, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_int64(stmt, 1, slot);
	return pc_store_run(s, stmt);
}

static int read_slot(sqlite3_stmt *stmt, struct pc_store_slot *ret_slot)
{
	struct pc_store_slot slot = {
		.slot = (uint32_t)sqlite3_column_int64(stmt, 0),
		.session = (uint64_t)sqlite3_column_int64(stmt, 1),
		.tenant = (uint32_t)sqlite3_column_int64(stmt, 2),
		.ended = sqlite3_column_int(stmt, 3) != 0,
	};
	struct pc_reader r;

	if (sqlite3_column_bytes(stmt, 4) != MARKS_LEN)
		return PC_ERR_STORE;
	pc_reader_init(&r, sqlite3_column_blob(stmt, 4), MARKS_LEN);
	for (int path = 0; path < PC_STORE_PATHS; path++) {
		read_count(&r, &slot.opened[path]);
		read_count(&r, &slot.folded[path]);
	}
	*ret_slot = slot;
	return 0;
}

int pc_store_slot_each(struct pc_store *s, int (*fn)(void *arg, const struct pc_store_slot *slot),
		       void *arg)
{
	struct pc_store_slot slot;
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_SLOT_EACH, &stmt);

	if (rc < 0)
		return rc;
	while ((rc = pc_store_step(s, stmt)) > 0) {
		rc = read_slot(stmt, &slot);
		if (rc == 0)
			rc = fn(arg, &slot);
		if (rc != 0) {
			pc_store_reset(stmt);
			return rc;
		}
	}
	return rc;
}

int pc_store_session_put(struct pc_store *s, uint64_t id, const void *record, size_t len)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_SESSION_PUT, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)id);
	sqlite3_bind_blob(stmt, 2, len ? record : "", (int)len, SQLITE_STATIC);
	return pc_store_run(s, stmt);
}

int pc_store_session_del(struct pc_store *s, uint64_t id)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_SESSION_DEL, &stmt);

	if (rc < 0)
		return rc;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)id);
	return pc_store_run(s, stmt);
}

int pc_store_session_each(struct pc_store *s,
			  int (*fn)(void *arg, uint64_t id, const void *record, size_t len),
			  void *arg)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_SESSION_EACH, &stmt);

	if (rc < 0)
		return rc;
	while ((rc = pc_store_step(s, stmt)) > 0) {
		rc = fn(arg, (uint64_t)sqlite3_column_int64(stmt, 0), sqlite3_column_blob(stmt, 1),
			(size_t)sqlite3_column_bytes(stmt, 1));
		if (rc != 0) {
			pc_store_reset(stmt);
			return rc;
		}
	}
	return rc;
}

int pc_store_session_clear(struct pc_store *s)
{
	sqlite3_stmt *stmt = NULL;
	int rc = pc_store_stmt(s, PC_STMT_SESSION_CLEAR, &stmt);

	return rc < 0 ? rc : pc_store_run(s, stmt);
}

/* --- what limits refused --- */

#define REFUSED_LEN (PC_STORE_REFUSED * 8 + 4 * PC_STORE_REFUSED * 4)

static void refused_key(uint32_t tenant, char ret_key[static 32])
{
	snprintf(ret_key, 32, "refused_%" PRIu32, tenant);
}

int pc_store_refused_get(struct pc_store *s, uint32_t tenant, struct pc_store_refused *ret)
{
	struct pc_store_refused got;
	uint8_t buf[REFUSED_LEN];
	struct pc_reader r;
	size_t len = 0;
	char key[32];
	int rc;

	refused_key(tenant, key);
	rc = pc_store_get(s, key, buf, sizeof(buf), &len);
	if (rc < 0)
		return rc;
	pc_reader_init(&r, buf, len);
	for (int i = 0; i < PC_STORE_REFUSED; i++)
		got.total[i] = pc_read_u64(&r);
	for (int i = 0; i < 4 * PC_STORE_REFUSED; i++)
		got.last[i / PC_STORE_REFUSED / 2][i / PC_STORE_REFUSED % 2][i % PC_STORE_REFUSED] =
			pc_read_u32(&r);
	if (r.failed)
		return PC_ERR_STORE;
	*ret = got;
	return 0;
}

int pc_store_refused_put(struct pc_store *s, uint32_t tenant, const struct pc_store_refused *v)
{
	uint8_t buf[REFUSED_LEN];
	struct pc_writer w;
	char key[32];

	refused_key(tenant, key);
	pc_writer_init(&w, buf, sizeof(buf));
	for (int i = 0; i < PC_STORE_REFUSED; i++)
		pc_write_u64(&w, v->total[i]);
	for (int i = 0; i < 4 * PC_STORE_REFUSED; i++)
		pc_write_u32(&w, v->last[i / PC_STORE_REFUSED / 2][i / PC_STORE_REFUSED % 2]
					[i % PC_STORE_REFUSED]);
	return pc_store_put(s, key, buf, w.len);
}
