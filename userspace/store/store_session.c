/* SPDX-License-Identifier: MIT */
/* Counter slots and allocations. */
#include "store/store_internal.h"

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
