/* SPDX-License-Identifier: MIT */
/* The three machines of native_world.h by name, for tests of sessions between them. */
#ifndef PC_TEST_NATIVE_TRIO_H
#define PC_TEST_NATIVE_TRIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "native_world.h"

static struct world w;
static struct node *const a = &w.nodes[0], *const b = &w.nodes[1], *const c = &w.nodes[2];

static inline int set_up(void **state)
{
	world_init(&w);
	return 0;
}

static inline int tear_down(void **state)
{
	world_free(&w);
	return 0;
}

static inline void say(struct node *from, uint32_t lifetime)
{
	struct pc_native_msg m = { .type = PC_NATIVE_REGISTER,
				   .has = 1u << PC_NATIVE_F_LIFETIME,
				   .lifetime_s = lifetime };

	assert_non_null(from->link);
	assert_int_equal(pc_native_send(from->n, from->link, &m, w.now), 0);
}

#endif
