/* SPDX-License-Identifier: MIT */
/* What the programs that measure ns per packet share: limits that are on, and what counts. */
#ifndef PC_TOOLS_BENCH_COST_H
#define PC_TOOLS_BENCH_COST_H

#include <stdint.h>
#include <stdlib.h>

#include "lib/rate.h"

/* Of a quota or a session's credit. Like all limits here: never reached. */
#define COST_CREDIT (1ull << 60)
#define COST_BPS    400000000000ull

/* Asks all that a tenant's limit can ask. */
static inline struct pc_rate cost_rate(void)
{
	return (struct pc_rate){
		.flags = PC_RATE_QUOTA,
		.tier = PC_RATE_CLASS_PAID,
		.committed = pc_rate_word(COST_BPS),
		.peak = pc_rate_word(COST_BPS / 3 * 4),
		.entitled = pc_rate_word(COST_BPS),
		.depth = UINT32_MAX,
		.peak_depth = UINT32_MAX,
		.lease = pc_rate_lease_charge(COST_BPS),
	};
}

static inline struct pc_rate_root cost_root(void)
{
	struct pc_rate_root root = { .rate = pc_rate_word(COST_BPS) };

	for (int i = 0; i < PC_RATE_CLASSES; i++)
		root.limit_ns[i] = UINT32_MAX;
	return root;
}

static inline int cost_by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Mean of the middle half: the kernel says whole nanoseconds. Puts @values in order. */
static inline double cost_middle(uint32_t *values, unsigned int n)
{
	unsigned int from = n / 4, to = n - n / 4;
	uint64_t sum = 0;

	qsort(values, n, sizeof(*values), cost_by_value);
	for (unsigned int i = from; i < to; i++)
		sum += values[i];
	return (double)sum / (to - from);
}

#endif
