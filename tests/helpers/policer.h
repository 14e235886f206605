/* SPDX-License-Identifier: MIT */
/*
 * Rate limiters as a point in a line: what the kernel's is compared with, and where its parameters
 * are tried. Text forms:
 *   none
 *   bucket:RATE:DEPTH    one token bucket of DEPTH bytes, full at the start
 *   mark:RATE:DEPTH      the same, but what is ECN-capable passes with CE where others are dropped
 * Bytes are those of IP packets; times are nanoseconds and may stand still, never go far back.
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

enum policer_kind {
	POLICER_NONE,
	POLICER_BUCKET,
	POLICER_MARKER,
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
};

/* Fields of "KIND:RATE:..." behind KIND. */
static inline int policer_sizes(const char *text, uint64_t *ret, unsigned int n)
{
	char part[32];

	for (unsigned int i = 0; i < n; i++) {
		size_t len;

		text = strchr(text, ':');
		if (!text)
			return -EINVAL;
		text++;
		len = strcspn(text, ":");
		if (!len || len >= sizeof(part))
			return -EINVAL;
		memcpy(part, text, len);
		part[len] = '\0';
		if (pc_parse_size(part, &ret[i]) < 0)
			return -EINVAL;
	}
	return strchr(text, ':') ? -EINVAL : 0;
}

static inline int policer_parse(const char *text, struct policer *ret_p)
{
	struct policer p = { 0 };
	uint64_t v[2];

	if (!strncmp(text, "bucket:", 7))
		p.kind = POLICER_BUCKET;
	else if (!strncmp(text, "mark:", 5))
		p.kind = POLICER_MARKER;
	else if (strcmp(text, "none") != 0)
		return -EINVAL;
	if (p.kind != POLICER_NONE) {
		if (policer_sizes(text, v, 2) || !v[0] || !v[1])
			return -EINVAL;
		p.rate = v[0];
		p.depth = p.tokens = (double)v[1];
	}
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

static inline enum policer_verdict policer_admit(struct policer *p, uint64_t now, uint32_t bytes,
						 bool ect)
{
	return p->kind == POLICER_NONE ? POLICER_PASS : policer_bucket(p, now, bytes, ect);
}

#endif
