/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/htab.h"

#define ENTRIES 3000

struct entry {
	struct pc_hnode node;
	uint32_t key;
	bool present;
	bool seen;
};

static struct entry entries[ENTRIES];

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Few distinct hashes, so that chains hold both equal and different ones. */
static uint64_t hash_of(uint32_t key)
{
	return (key % 700) * 0x10001ull;
}

static struct entry *lookup(const struct pc_htab *t, uint32_t key)
{
	for (struct pc_hnode *n = pc_htab_first(t, hash_of(key)); n; n = pc_htab_next(n)) {
		struct entry *e = pc_container_of(n, struct entry, node);

		if (e->key == key)
			return e;
	}
	return NULL;
}

static void test_against_array(void **state)
{
	struct pc_htab t;
	uint32_t seed = 7;
	size_t count = 0;

	assert_int_equal(pc_htab_init(&t, 0), 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		entries[i] = (struct entry){ .key = i };
	for (unsigned int step = 0; step < 40000; step++) {
		struct entry *e = &entries[next_random(&seed) % ENTRIES];

		assert_ptr_equal(lookup(&t, e->key), e->present ? e : NULL);
		if (e->present)
			pc_htab_remove(&t, &e->node);
		else
			pc_htab_insert(&t, &e->node, hash_of(e->key));
		e->present = !e->present;
		count += e->present ? 1 : (size_t)-1;
		assert_int_equal(t.count, count);
	}
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_ptr_equal(lookup(&t, i), entries[i].present ? &entries[i] : NULL);
	pc_htab_free(&t);
}

static void test_grows(void **state)
{
	struct pc_htab t;

	assert_int_equal(pc_htab_init(&t, 4), 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		pc_htab_insert(&t, &entries[i].node, i);
	assert_int_equal(t.count, ENTRIES);
	assert_true(t.mask + 1 >= ENTRIES);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_ptr_equal(pc_htab_first(&t, i), &entries[i].node);
	/* The same bucket, another hash. */
	assert_null(pc_htab_first(&t, t.mask + 1));
	assert_null(pc_htab_next(&entries[0].node));
	pc_htab_free(&t);

	assert_int_equal(pc_htab_init(&t, 1000), 0);
	assert_true(t.mask + 1 >= 1000);
	pc_htab_free(&t);
	assert_true(pc_htab_init(&t, SIZE_MAX) < 0);
}

/* Room is made once, for what is there too, and never taken away. */
static void test_reserve(void **state)
{
	struct pc_htab t;
	size_t mask;

	assert_int_equal(pc_htab_init(&t, 4), 0);
	for (uint32_t i = 0; i < ENTRIES / 2; i++)
		pc_htab_insert(&t, &entries[i].node, i);
	pc_htab_reserve(&t, 2 * ENTRIES);
	mask = t.mask;
	assert_true(mask + 1 >= 2 * ENTRIES);
	for (uint32_t i = ENTRIES / 2; i < ENTRIES; i++)
		pc_htab_insert(&t, &entries[i].node, i);
	pc_htab_reserve(&t, 1);
	assert_int_equal(t.mask, mask);
	assert_int_equal(t.count, ENTRIES);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_ptr_equal(pc_htab_first(&t, i), &entries[i].node);
	pc_htab_reserve(&t, SIZE_MAX);
	assert_int_equal(t.mask, mask);
	pc_htab_free(&t);
}

static void test_iterate_and_remove(void **state)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;
	struct pc_htab t;
	size_t seen = 0;

	assert_int_equal(pc_htab_init(&t, 0), 0);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		entries[i] = (struct entry){ .key = i };
		pc_htab_insert(&t, &entries[i].node, hash_of(i));
	}
	while ((n = pc_htab_iterate(&t, &it))) {
		struct entry *e = pc_container_of(n, struct entry, node);

		assert_false(e->seen);
		e->seen = true;
		seen++;
		if (e->key % 2)
			pc_htab_remove(&t, n);
	}
	assert_int_equal(seen, ENTRIES);
	assert_int_equal(t.count, ENTRIES / 2);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_ptr_equal(lookup(&t, i), i % 2 ? NULL : &entries[i]);
	pc_htab_free(&t);
}

static void test_absent_and_empty(void **state)
{
	struct pc_hnode absent = { .hash = 5 };
	struct pc_htab_iter it = { 0 };
	struct pc_htab t = { 0 };

	assert_null(pc_htab_first(&t, 5));
	assert_null(pc_htab_iterate(&t, &it));
	pc_htab_remove(&t, &absent);
	assert_int_equal(pc_htab_init(&t, 0), 0);
	pc_htab_insert(&t, &entries[0].node, 5);
	pc_htab_remove(&t, &absent);
	assert_int_equal(t.count, 1);
	pc_htab_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_array),	 cmocka_unit_test(test_grows),
		cmocka_unit_test(test_reserve),		 cmocka_unit_test(test_iterate_and_remove),
		cmocka_unit_test(test_absent_and_empty),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
