/* SPDX-License-Identifier: MIT */
#include "ctl/plot.h"

#include <math.h>
#include <string.h>

#include "ctl/cli.h"

#define LABEL	    12 /* columns of the scale on the left */
#define MAX_COLUMNS 400
#define EIGHTHS	    8

static const char *const blocks[EIGHTHS + 1] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
static const char *const ascii_blocks[EIGHTHS + 1] = {
	" ", ".", ".", ":", ":", "|", "|", "#", "#"
};

/* Mean of the values of column @i of @n; NAN when there is none. */
static double column(const struct pc_plot *p, size_t i, size_t n)
{
	size_t first = i * p->n / n, end = (i + 1) * p->n / n, known = 0;
	double sum = 0;

	for (size_t k = first; k < end; k++) {
		if (isnan(p->value[k]))
			continue;
		sum += p->value[k];
		known++;
	}
	return known ? sum / (double)known : NAN;
}

/* 1, 2 or 5 times a power of ten, not below @value. */
static double round_up(double value)
{
	double power = pow(10, floor(log10(value)));

	for (double m = 1; m < 10; m = m == 1 ? 2 : m == 2 ? 5 : 10)
		if (value <= m * power)
			return m * power;
	return 10 * power;
}

/* Top of the scale. A limit is part of the picture unless it is far away. */
static double scale_of(const struct pc_plot *p, const double *columns, size_t n)
{
	double top = 0;

	for (size_t i = 0; i < n; i++)
		if (columns[i] > top)
			top = columns[i];
	if (p->limit > top && p->limit <= 4 * top)
		top = p->limit;
	return top > 0 ? round_up(top) : 1;
}

/* How much of the cell in @row (0 at the bottom) is filled, in eighths. */
static int filled(double value, double scale, unsigned int row, unsigned int height)
{
	double eighths = value / scale * height * EIGHTHS - (double)row * EIGHTHS;

	if (!(eighths > 0))
		return 0;
	return eighths >= EIGHTHS ? EIGHTHS : (int)(eighths + 0.5);
}

static void print_row(FILE *f, const struct pc_plot *p, const double *columns, size_t n,
		      double scale, unsigned int row)
{
	double low = scale * row / p->height, high = scale * (row + 1) / p->height;
	bool limit = p->limit > low && p->limit <= high;
	bool labelled = row + 1 == p->height || limit;
	char label[24] = "";

	if (labelled)
		pc_cli_quantity(limit ? p->limit : scale, "bit/s", label);
	fprintf(f, "%*s %s", LABEL - 2, label, p->ascii ? "|" : "│");
	for (size_t i = 0; i < n; i++) {
		int part = isnan(columns[i]) ? 0 : filled(columns[i], scale, row, p->height);

		if (part == 0 && limit)
			fputs(p->ascii ? "-" : "╌", f);
		else
			fputs((p->ascii ? ascii_blocks : blocks)[part], f);
	}
	fputc('\n', f);
}

static void print_axis(FILE *f, const struct pc_plot *p, size_t n)
{
	char start[32];
	int len;

	fprintf(f, "%*s %s", LABEL - 2, "0", p->ascii ? "+" : "└");
	for (size_t i = 0; i < n; i++)
		fputs(p->ascii ? "-" : "─", f);
	len = snprintf(start, sizeof(start), "%.0f s ago", (double)p->n * p->seconds);
	fprintf(f, "\n%*s%s", LABEL, "", start);
	if (n > (size_t)len + 3)
		fprintf(f, "%*s", (int)n - len, "now");
	fputc('\n', f);
}

void pc_plot_print(FILE *f, const struct pc_plot *p)
{
	size_t n = p->width > LABEL + 10 ? p->width - LABEL : 10;
	double columns[MAX_COLUMNS];
	double scale;

	if (n > MAX_COLUMNS)
		n = MAX_COLUMNS;
	if (n > p->n)
		n = p->n;
	if (p->title)
		fprintf(f, "%*s%s\n", LABEL, "", p->title);
	if (n == 0) {
		fprintf(f, "%*snothing was measured yet\n", LABEL, "");
		return;
	}
	for (size_t i = 0; i < n; i++)
		columns[i] = column(p, i, n);
	scale = scale_of(p, columns, n);
	for (unsigned int row = p->height; row-- > 0;)
		print_row(f, p, columns, n, scale, row);
	print_axis(f, p, n);
}
