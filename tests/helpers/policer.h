/* SPDX-License-Identifier: MIT */
/*
 * Rate limiters as a point in a line: what the kernel's is compared with, and where its parameters
 * are tried. Text forms, sizes as in the configuration:
 *   none
 *   bucket:RATE:DEPTH    one token bucket of DEPTH bytes, full at the start
 *   mark:RATE:DEPTH      the same, but what is ECN-capable passes with CE where others are dropped
 *   clock:RATE[:PEAK%[:DEPTH_MS[:PEAK_MS[:ENTITLED[:CLASS]]]]]
 *                        the kernel's own dual virtual clock, 133 %, 1000 ms and 42 ms where
 * nothing is said; with a root clock: the rate it is entitled to, and its class Bytes are those of
 * IP packets; times are nanoseconds and may stand still, never go far back.
 */
#ifndef PC_TESTS_POLICER_H
#define PC_TESTS_POLICER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "lib/rate.h"

#define POLICER_FIELDS	   6
#define POLICER_MIN_FRAMES 10 /* full ones, that a peak clock always lets through at once */

enum policer_kind {
	POLICER_NONE,
	POLICER_BUCKET,
	POLICER_MARKER,
	POLICER_CLOCK,
};

enum policer_verdict {
	POLICER_PASS,
	POLICER_MARK, /* pass, and say CE */
	POLICER_DROP,
};

struct policer {
	enum policer_kind kind;
	uint64_t rate; /* bits per second */
	double depth, tokens;
	uint64_t last;
	struct pc_rate config;
	struct pc_rate_clock clock;
	struct pc_rate_lease lease;
	struct pc_credit quota; /* never asked */
};

/* The sizes behind "KIND:"; how many, or negative. */
static inline int policer_sizes(const char *text, uint64_t ret[static POLICER_FIELDS])
{
	char part[32];
	int n = 0;

	for (text = strchr(text, ':'); text; text = strchr(text, ':')) {
		size_t len = strcspn(++text, ":");

		if (n == POLICER_FIELDS || !len || len >= sizeof(part))
			return -EINVAL;
		memcpy(part, text, len);
		part[len] = '\0';
		if (pc_parse_size(part, &ret[n++]) < 0)
			return -EINVAL;
	}
	return n;
}

static inline uint32_t policer_depth(uint64_t rate, uint64_t ms)
{
	uint64_t ns = ms * PC_NS_PER_MS, least = POLICER_MIN_FRAMES * 1500 * 8 * PC_NS_PER_S / rate;

	return (uint32_t)((ns > least ? ns : least) >> PC_RATE_DEPTH_SHIFT);
}

static inline void policer_set_clock(struct policer *p, const uint64_t *v)
{
	p->config = (struct pc_rate){
		.committed = pc_rate_word(v[0]),
		.peak = pc_rate_word(v[0] / 100 * v[1]),
		.depth = policer_depth(v[0], v[2]),
		.peak_depth = policer_depth(v[0], v[3]),
		.entitled = pc_rate_word(v[4]),
		.tier = (uint8_t)v[5],
		.lease = pc_rate_lease_charge(v[0]),
	};
}

static inline int policer_parse(const char *text, struct policer *ret_p)
{
	uint64_t v[POLICER_FIELDS] = { 0, 133, 1000, 42, 0, PC_RATE_CLASS_PAID };
	struct policer p = { 0 };
	int n;

	if (!strncmp(text, "bucket:", 7))
		p.kind = POLICER_BUCKET;
	else if (!strncmp(text, "mark:", 5))
		p.kind = POLICER_MARKER;
	else if (!strncmp(text, "clock:", 6))
		p.kind = POLICER_CLOCK;
	else if (strcmp(text, "none") != 0)
		return -EINVAL;
	n = policer_sizes(text, v);
	if (n < 0 || (p.kind != POLICER_NONE && !v[0]))
		return -EINVAL;
	if (p.kind == POLICER_CLOCK) {
		if (v[5] >= PC_RATE_CLASSES)
			return -EINVAL;
		policer_set_clock(&p, v);
	} else if (n != (p.kind == POLICER_NONE ? 0 : 2)) {
		return -EINVAL;
	}
	p.rate = v[0];
	p.depth = p.tokens = (double)v[1];
	*ret_p = p;
	return 0;
}

static inline enum policer_verdict policer_bucket(struct policer *p, uint64_t now, uint32_t bytes,
						  bool ect)
{
	if (now > p->last) {
		p->tokens += (double)(now - p->last) * (double)p->rate / 8e9;
		p->last = now;
	}
	if (p->tokens > p->depth)
		p->tokens = p->depth;
	if (p->tokens < bytes)
		return p->kind == POLICER_MARKER && ect ? POLICER_MARK : POLICER_DROP;
	p->tokens -= bytes;
	return POLICER_PASS;
}

/* @root: of all policers that share an uplink. */
static inline enum policer_verdict policer_admit(struct policer *p, struct pc_rate_root *root,
						 uint64_t now, uint32_t bytes, uint8_t ecn)
{
	const struct pc_rate_ref ref = { &p->config, &p->clock, &p->lease, root, &p->quota };

	if (p->kind == POLICER_NONE)
		return POLICER_PASS;
	if (p->kind != POLICER_CLOCK)
		return policer_bucket(p, now, bytes, ecn != 0);
	switch (pc_rate_admit(&ref, now, bytes, ecn)) {
	case PC_RATE_PASS:
		return POLICER_PASS;
	case PC_RATE_MARK:
		return POLICER_MARK;
	default:
		return POLICER_DROP;
	}
}

#endif
