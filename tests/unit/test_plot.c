/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/plot.h"

static void expect(const struct pc_plot *p, const char *text)
{
	char *got = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&got, &len);

	assert_non_null(f);
	pc_plot_print(f, p);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(got, text);
	free(got);
}

/* Half a cell, full cells, a gap, a limit that is drawn where nothing is in front of it. */
static void test_columns(void **state)
{
	const double value[] = { 0, 1e6, 2e6, NAN, 4e6, 0, 0, 0, 0, 0, 0, 0 };
	struct pc_plot p = {
		.value = value,
		.n = 12,
		.seconds = 1,
		.limit = 4e6,
		.width = 24,
		.height = 2,
		.ascii = true,
	};

	expect(&p, "  4 Mbit/s |----|-------\n"
		   "           | :| #       \n"
		   "         0 +------------\n"
		   "            12 s ago now\n");
}

/* More values than columns: each shows a mean. A limit far above the values is left out. */
static void test_means(void **state)
{
	double value[100];
	struct pc_plot p = {
		.title = "up",
		.value = value,
		.n = 100,
		.seconds = 3,
		.limit = 1e9,
		.width = 5,
		.height = 1,
	};

	for (int i = 0; i < 100; i++)
		value[i] = i % 2 ? 5e3 : NAN;
	expect(&p, "            up\n"
		   "  5 kbit/s │██████████\n"
		   "         0 └──────────\n"
		   "            300 s ago\n");
}

static void test_nothing(void **state)
{
	const double zero[3] = { 0 };
	struct pc_plot p = { .height = 3, .width = 80 };

	expect(&p, "            nothing was measured yet\n");
	p = (struct pc_plot){ .value = zero, .n = 3, .seconds = 1, .width = 80, .height = 1 };
	expect(&p, "   1 bit/s │   \n         0 └───\n            3 s ago\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_means),
		cmocka_unit_test(test_nothing),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
