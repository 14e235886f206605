/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/cli.h"
#include "ctl/report.h"

#define GAP 2

void table_init(struct table *t, const struct table_column *columns, unsigned int n)
{
	*t = (struct table){ .columns = columns, .n_columns = n };
}

void table_free(struct table *t)
{
	free(t->cells);
	t->cells = NULL;
}

size_t text_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80; /* not a UTF-8 continuation */
	return n;
}

void table_text(struct table *t, const char *text)
{
	if (t->n_cells == t->size) {
		size_t size = t->size ? 2 * t->size : 64;
		char(*larger)[TABLE_CELL] = reallocarray(t->cells, size, sizeof(*t->cells));

		if (!larger) {
			t->failed = true;
			return;
		}
		t->cells = larger;
		t->size = size;
	}
	pc_report_escape(text ? text : "-", t->cells[t->n_cells++], TABLE_CELL);
}

void table_count(struct table *t, uint64_t value)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%" PRIu64, value);
	table_text(t, buf);
}

void table_bytes(struct table *t, uint64_t value)
{
	char buf[24];

	table_text(t, pc_cli_quantity((double)value, "B", buf));
}

void table_rate(struct table *t, double bits_per_s)
{
	char buf[24];

	table_text(t, pc_cli_quantity(bits_per_s, "bit/s", buf));
}

/* Widths of the columns that fit; 0: left out. */
static void fit(const struct table *t, size_t rows, unsigned int width, size_t *widths)
{
	size_t total = 0;

	for (unsigned int c = 0; c < t->n_columns; c++) {
		widths[c] = text_width(t->columns[c].title);
		for (size_t r = 0; r < rows; r++) {
			size_t w = text_width(t->cells[r * t->n_columns + c]);

			if (w > widths[c])
				widths[c] = w;
		}
		total += widths[c] + GAP;
	}
	while (width && total > width + GAP) {
		unsigned int worst = 0;

		for (unsigned int c = 1; c < t->n_columns; c++) {
			if (widths[c] &&
			    t->columns[c].drop > (widths[worst] ? t->columns[worst].drop : 0))
				worst = c;
		}
		if (!t->columns[worst].drop || !widths[worst])
			return;
		total -= widths[worst] + GAP;
		widths[worst] = 0;
	}
}

static void print_cell(FILE *f, const char *text, size_t width, bool right, bool last)
{
	size_t own = text_width(text);
	int pad = own < width ? (int)(width - own) : 0;

	fprintf(f, "%*s%s%*s", right ? pad : 0, "", text, right || last ? 0 : pad, "");
	if (!last)
		fprintf(f, "%*s", GAP, "");
}

static void print_row(const struct table *t, FILE *f, const size_t *widths, size_t row, bool title)
{
	unsigned int last = 0;

	for (unsigned int c = 0; c < t->n_columns; c++)
		last = widths[c] ? c : last;
	for (unsigned int c = 0; c < t->n_columns; c++) {
		if (widths[c])
			print_cell(f,
				   title ? t->columns[c].title : t->cells[row * t->n_columns + c],
				   widths[c], t->columns[c].right, c == last);
	}
	fputc('\n', f);
}

void table_print(const struct table *t, FILE *f, unsigned int width, unsigned int max_rows)
{
	size_t widths[TABLE_MAX_COLUMNS];
	size_t all = t->n_cells / t->n_columns;
	size_t rows = max_rows && all > max_rows ? max_rows : all;

	fit(t, rows, width, widths);
	print_row(t, f, widths, 0, true);
	for (size_t r = 0; r < rows; r++)
		print_row(t, f, widths, r, false);
	if (rows < all)
		fprintf(f, "(%zu more)\n", all - rows);
	if (t->failed)
		fputs("(out of memory: rows are missing)\n", f);
}
