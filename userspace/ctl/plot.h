/* SPDX-License-Identifier: MIT */
/* Rate against time in the terminal. */
#ifndef PC_CTL_PLOT_H
#define PC_CTL_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct pc_plot {
	const char *title;
	const double *value; /* oldest first; NAN: not known */
	size_t n;
	double seconds;	     /* between two values */
	double limit;	     /* drawn as a line where it fits the scale; 0: none */
	unsigned int width;  /* columns in all */
	unsigned int height; /* rows of the drawing */
	bool ascii;	     /* no blocks of an eighth */
};

/* Each column is the mean of the values that fall into it; the scale starts at 0. */
void pc_plot_print(FILE *f, const struct pc_plot *p);

#endif
