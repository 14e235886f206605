/* SPDX-License-Identifier: MIT */
/* What the files of the store share: the connection and its cached statements. */
#ifndef PC_STORE_STORE_INTERNAL_H
#define PC_STORE_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store/store.h"

/* Every statement of the store, prepared at first use and kept. */
enum pc_store_stmt {
	PC_STMT_BEGIN,
	PC_STMT_COMMIT,
	PC_STMT_ROLLBACK,
	PC_STMT_VALUE_GET,
	PC_STMT_VALUE_PUT,
	PC_STMT_TENANT_ADD,
	PC_STMT_TENANT_UPDATE,
	PC_STMT_TENANT_QUOTA,
	PC_STMT_TENANT_DEL,
	PC_STMT_TENANT_EACH,
	PC_STMT_PEER_ADD,
	PC_STMT_PEER_DEL,
	PC_STMT_PEER_EACH,
	PC_STMT_TOTAL_GET,
	PC_STMT_TOTAL_PUT,
	PC_STMT_SLOT_PUT,
	PC_STMT_SLOT_DEL,
	PC_STMT_SLOT_EACH,
	PC_STMT_SESSION_PUT,
	PC_STMT_SESSION_DEL,
	PC_STMT_SESSION_EACH,
	PC_STMT_SESSION_CLEAR,
	PC_STMT_COUNT
};

struct pc_store {
	sqlite3 *db;
	sqlite3_stmt *stmt[PC_STMT_COUNT];
	unsigned int depth; /* of nested transactions */
	bool broken; /* an inner transaction was rolled back: the outer one must not commit */
	char error[256];
};

/* Keeps the detail and turns SQLite's code into ours. Never 0. */
int pc_store_fail(struct pc_store *s, int rc);
/* A statement ready for binding. Returns 0 or a negative code. */
int pc_store_stmt(struct pc_store *s, enum pc_store_stmt which, sqlite3_stmt **ret_stmt);
/* Runs a statement that returns no rows; resets it and drops its bindings. */
int pc_store_run(struct pc_store *s, sqlite3_stmt *stmt);
/*
 * One row forward: 1 row, 0 end (the statement is reset), or a negative code (likewise).
 */
int pc_store_step(struct pc_store *s, sqlite3_stmt *stmt);
/* Ends reading before the last row. */
void pc_store_reset(sqlite3_stmt *stmt);
/* 0 when the column is a text that fits, else PC_ERR_STORE. */
int pc_store_column_text(sqlite3_stmt *stmt, int column, char *buf, size_t size);
/* Whether the column has just @len bytes, which are copied. */
bool pc_store_column_bytes(sqlite3_stmt *stmt, int column, uint8_t *buf, int len);

#endif
