/* SPDX-License-Identifier: MIT */
/* Aligned columns. On a narrow terminal the least important columns are left out. */
#ifndef PC_PCSTAT_TABLE_H
#define PC_PCSTAT_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_MAX_COLUMNS 12
#define TABLE_CELL	  160

struct table_column {
	const char *title;
	bool right;	   /* numbers */
	unsigned int drop; /* 0: always shown; the highest go first */
};

struct table {
	const struct table_column *columns;
	unsigned int n_columns;
	char (*cells)[TABLE_CELL]; /* row by row */
	size_t n_cells, size;
	bool failed; /* out of memory: rows are missing */
};

void table_init(struct table *t, const struct table_column *columns, unsigned int n);
void table_free(struct table *t);
/* Next cell of the row; control characters are escaped. */
void table_text(struct table *t, const char *text);
void table_count(struct table *t, uint64_t value);
/* "1.5 MB" */
void table_bytes(struct table *t, uint64_t value);
/* "1.5 Mbit/s" */
void table_rate(struct table *t, double bits_per_s);
/* At most @max_rows rows (0: all); says how many were left out. */
void table_print(const struct table *t, FILE *f, unsigned int width, unsigned int max_rows);

/* Columns that @text takes. */
size_t text_width(const char *text);

#endif
