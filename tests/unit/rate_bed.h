/* SPDX-License-Identifier: MIT */
/* One tenant and direction, with its clocks and the leases of a few CPUs, for tests of the limiter.
 */
#ifndef PC_TEST_RATE_BED_H
#define PC_TEST_RATE_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <string.h>
#include <cmocka.h>

#include "lib/rate.h"

#define US  1000ull
#define MS  1000000ull
#define SEC 1000000000ull
#define T0  (77 * SEC)

struct bed {
	struct pc_rate rate;
	struct pc_rate_clock clock;
	struct pc_rate_lease lease[4];
	struct pc_rate_root root;
	struct pc_credit quota;
};

static inline uint32_t depth_of(uint64_t ns)
{
	return (uint32_t)((ns + 1023) >> PC_RATE_DEPTH_SHIFT);
}

/* Peak 4/3 of the rate and 42 ms, never below ten full frames. */
static inline void bed_init(struct bed *b, uint64_t bps)
{
	uint64_t frames = 10 * 1500 * 8 * SEC / bps;

	memset(b, 0, sizeof(*b));
	b->rate.committed = pc_rate_word(bps);
	b->rate.peak = pc_rate_word(bps + bps / 3);
	b->rate.depth = depth_of(frames > SEC ? frames : SEC);
	b->rate.peak_depth = depth_of(frames > 42 * MS ? frames : 42 * MS);
	b->rate.lease = pc_rate_lease_charge(bps);
}

static inline enum pc_rate_verdict offer(struct bed *b, unsigned int cpu, uint64_t now,
					 uint32_t bytes, uint8_t ecn)
{
	const struct pc_rate_ref ref = { &b->rate, &b->clock, &b->lease[cpu], &b->root, &b->quota };

	return pc_rate_admit(&ref, now, bytes, ecn);
}

/* Everything that is allowed at @now. Bytes that passed. */
static inline uint64_t drain(struct bed *b, unsigned int cpu, uint64_t now, uint32_t bytes)
{
	uint64_t sum = 0;

	while (offer(b, cpu, now, bytes, 1) <= PC_RATE_MARK)
		sum += bytes;
	return sum;
}

/* As if it had sent all it may: what passes from here on is the rate. */
static inline void used_up(struct bed *b, uint64_t now)
{
	b->clock.committed_ns = now + ((uint64_t)b->rate.depth << PC_RATE_DEPTH_SHIFT);
}

static inline void assert_close(double have, double want, double tolerance)
{
	double error = (have - want) / want;

	if (error > tolerance || error < -tolerance)
		fail_msg("%.0f is not %.0f: off by %.4f %%", have, want, error * 100);
}

#endif
