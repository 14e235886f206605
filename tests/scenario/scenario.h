/* SPDX-License-Identifier: MIT */
/* A scenario while it is played: what its words work on. */
#ifndef PC_TESTS_SCENARIO_SCENARIO_H
#define PC_TESTS_SCENARIO_SCENARIO_H

#include "tests/scenario/answers.h"

#define MAX_WORDS   64
#define MAX_LINE    8192
#define MAX_CLIENTS 16

struct scenario {
	struct fake f;
	struct client clients[MAX_CLIENTS];
	size_t n_clients;
	struct answer_vars vars;
	uint8_t raw[CLIENT_MAX_MESSAGE];
	size_t memory;
	char error[512];
};

static inline int __attribute__((format(printf, 2, 3)))
wrong(struct scenario *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->error, sizeof(s->error), fmt, ap);
	va_end(ap);
	return -1;
}

static inline int start(struct scenario *s)
{
	int r;

	if (s->f.t)
		return 0;
	s->f.config.policy = s->f.policy;
	r = pc_turn_new(&s->f.config, &fake_ops, &s->f, s->f.now, &s->f.t);
	return r < 0 ? wrong(s, "pc_turn_new: %s", pc_strerror(r)) : 0;
}

#endif
