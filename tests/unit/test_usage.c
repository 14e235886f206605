/* SPDX-License-Identifier: MIT */
/*
 * Usage: whatever is counted, folded, crashed or reset in between, a tenant's total is the sum of
 * what its sessions counted, to the byte, and never goes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account/usage.h"
#include "base/clock.h"
#include "base/err.h"

#define SLOTS	64u
#define TENANTS 5u

/* The data plane: counters that only grow, and outlive the daemon. */
static struct pc_store_count counters[PC_STORE_PATHS][SLOTS];
static bool out_of_reach[PC_STORE_PATHS];
static int read_error;
static unsigned int reads;

static const bool no_reset[PC_STORE_PATHS];
static char path[64];
static struct pc_store *store;
static struct pc_usage *usage;
static uint64_t now;
static uint32_t seed;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static int read_counters(void *ctx, enum pc_store_path which, uint32_t first, uint32_t n,
			 struct pc_store_count *ret_counts)
{
	assert_true(first + n <= SLOTS);
	reads++;
	if (read_error)
		return read_error;
	if (out_of_reach[which])
		return PC_ERR_STATE;
	memcpy(ret_counts, &counters[which][first], n * sizeof(*ret_counts));
	return 0;
}

static void count(enum pc_store_path which, uint32_t slot, uint32_t bytes)
{
	struct pc_store_count *c = &counters[which][slot];

	c->up_packets++;
	c->up_payload_bytes += bytes;
	c->up_wire_bytes += bytes + 28;
	c->down_packets += 2;
	c->down_payload_bytes += 3ull * bytes;
	c->down_wire_bytes += 3ull * bytes + 56;
	c->drops_rate += bytes & 1;
	c->drops_credit += bytes & 3;
}

static void open_usage(uint32_t slots, const bool *reset)
{
	assert_int_equal(pc_usage_new(store, slots, read_counters, NULL, reset, &usage), 0);
}

/* kill -9: nothing is saved; the counters and the store are what is left. */
static void crash(const bool *reset)
{
	pc_usage_free(usage);
	pc_store_close(store);
	assert_int_equal(pc_store_open(path, false, &store), 0);
	open_usage(SLOTS, reset);
}

static uint64_t total(uint32_t tenant, enum pc_store_path which)
{
	struct pc_store_count c[PC_STORE_PATHS];

	assert_int_equal(pc_usage_refresh(usage), 0);
	assert_int_equal(pc_usage_tenant(usage, tenant, c), 0);
	return c[which].up_payload_bytes;
}

static uint64_t session_bytes(uint32_t slot, enum pc_store_path which)
{
	struct pc_store_count c[PC_STORE_PATHS];

	assert_int_equal(pc_usage_refresh(usage), 0);
	assert_int_equal(pc_usage_session(usage, slot, c), 0);
	return c[which].up_payload_bytes;
}

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/pc-usage-XXXXXX");
	close(mkstemp(path));
	memset(counters, 0, sizeof(counters));
	memset(out_of_reach, 0, sizeof(out_of_reach));
	read_error = 0;
	now = PC_NS_PER_S;
	seed = 7;
	assert_int_equal(pc_store_open(path, false, &store), 0);
	open_usage(SLOTS, no_reset);
	return 0;
}

static int teardown(void **state)
{
	char name[80];

	pc_usage_free(usage);
	pc_store_close(store);
	usage = NULL;
	unlink(path);
	snprintf(name, sizeof(name), "%s-wal", path);
	unlink(name);
	snprintf(name, sizeof(name), "%s-shm", path);
	unlink(name);
	return 0;
}

/* --- the property --- */

struct model {
	bool open[SLOTS];
	uint32_t tenant[SLOTS];
	struct pc_store_count sum[TENANTS][PC_STORE_PATHS];
	struct pc_store_count seen[TENANTS][PC_STORE_PATHS];
};

static void model_count(struct model *m, uint32_t slot)
{
	enum pc_store_path which = random_below(2) ? PC_STORE_KERNEL : PC_STORE_USER;
	struct pc_store_count before = counters[which][slot];
	uint64_t *sum = (uint64_t *)&m->sum[m->tenant[slot]][which];

	count(which, slot, random_below(1500));
	for (size_t i = 0; i < sizeof(before) / (sizeof(uint64_t)); i++)
		sum[i] += ((uint64_t *)&counters[which][slot])[i] - ((uint64_t *)&before)[i];
}

static void model_compare(struct model *m)
{
	assert_int_equal(pc_usage_refresh(usage), 0);
	for (uint32_t t = 0; t < TENANTS; t++) {
		struct pc_store_count c[PC_STORE_PATHS];

		assert_int_equal(pc_usage_tenant(usage, t, c), 0);
		assert_memory_equal(c, m->sum[t], sizeof(c));
		for (size_t i = 0; i < sizeof(c) / (sizeof(uint64_t)); i++)
			assert_true(((uint64_t *)c)[i] >= ((uint64_t *)m->seen[t])[i]);
		memcpy(m->seen[t], c, sizeof(c));
	}
}

static void model_step(struct model *m, uint64_t step)
{
	uint32_t slot = random_below(SLOTS);
	uint32_t got;

	switch (random_below(12)) {
	case 0:
		if (pc_usage_open(usage, step, random_below(TENANTS), &got) == 0) {
			uint64_t session;

			assert_false(m->open[got]);
			m->open[got] = true;
			assert_true(pc_usage_slot(usage, got, &session, &m->tenant[got]));
			assert_int_equal(session, step);
		}
		break;
	case 1:
		if (m->open[slot]) {
			pc_usage_close(usage, slot, now);
			m->open[slot] = false;
		}
		break;
	case 2:
		assert_int_equal(pc_usage_fold(usage, now), 0);
		break;
	case 11: {
		bool more;

		assert_int_equal(pc_usage_fold_some(usage, 1 + random_below(SLOTS), now, &more), 0);
		break;
	}
	case 3: /* the last moments of a session that was closed may have been lost with it */
		assert_int_equal(pc_usage_fold(usage, now), 0);
		crash(no_reset);
		break;
	case 4:
		crash(no_reset);
		for (uint32_t i = 0; i < SLOTS; i++) {
			uint64_t session;
			uint32_t tenant;

			/* A slot whose closing was not saved is open again, as the daemon sees. */
			if (pc_usage_slot(usage, i, &session, &tenant) && !m->open[i])
				pc_usage_close(usage, i, now);
			else if (m->open[i])
				assert_true(pc_usage_slot(usage, i, &session, &tenant));
		}
		break;
	default:
		if (m->open[slot])
			model_count(m, slot);
		break;
	}
	now += random_below(400) * PC_NS_PER_MS;
}

static void test_exactly_once(void **state)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	for (uint64_t step = 1; step <= 6000; step++) {
		model_step(&m, step);
		if (step % 16 == 0)
			model_compare(&m);
	}
	assert_true(m.sum[0][PC_STORE_KERNEL].up_packets > 0);
}

/* --- single properties --- */

static void test_failed_fold_changes_nothing(void **state)
{
	struct pc_store *other;
	struct pc_store_count c[PC_STORE_PATHS];
	uint32_t slot;

	assert_int_equal(pc_usage_open(usage, 1, 3, &slot), 0);
	count(PC_STORE_KERNEL, slot, 1000);
	assert_int_equal(pc_store_open(path, false, &other), 0);
	assert_int_equal(pc_store_begin(other), 0);
	assert_int_equal(pc_usage_fold(usage, now), PC_ERR_LOCKED);
	assert_int_equal(total(3, PC_STORE_KERNEL), 1000);
	count(PC_STORE_KERNEL, slot, 10);
	pc_store_rollback(other);
	assert_int_equal(pc_store_total_get(other, 3, c), 0);
	assert_int_equal(c[PC_STORE_KERNEL].up_payload_bytes, 0);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	assert_int_equal(pc_store_total_get(other, 3, c), 0);
	assert_int_equal(c[PC_STORE_KERNEL].up_payload_bytes, 1010);
	pc_store_close(other);
	read_error = -5;
	assert_int_equal(pc_usage_fold(usage, now), -5);
	read_error = 0;
	assert_int_equal(total(3, PC_STORE_KERNEL), 1010);
}

/* A counter below its mark started again from 0: what it counted since is all new. */
static void test_counter_falls(void **state)
{
	uint32_t slot;

	assert_int_equal(pc_usage_open(usage, 1, 3, &slot), 0);
	count(PC_STORE_USER, slot, 1000);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	count(PC_STORE_USER, slot, 500);
	assert_int_equal(total(3, PC_STORE_USER), 1500);
	memset(counters, 0, sizeof(counters));
	count(PC_STORE_USER, slot, 7);
	assert_int_equal(total(3, PC_STORE_USER), 1507);
	assert_int_equal(session_bytes(slot, PC_STORE_USER), 1507);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	crash(no_reset);
	assert_int_equal(total(3, PC_STORE_USER), 1507);
	assert_int_equal(session_bytes(slot, PC_STORE_USER), 1507);
}

/* After a reboot the counters may already be above the old marks: only the caller can know. */
static void test_known_reset(void **state)
{
	static const bool kernel_reset[PC_STORE_PATHS] = { [PC_STORE_KERNEL] = true };
	uint32_t slot;

	assert_int_equal(pc_usage_open(usage, 1, 3, &slot), 0);
	count(PC_STORE_KERNEL, slot, 100);
	count(PC_STORE_USER, slot, 10);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	memset(counters[PC_STORE_KERNEL], 0, sizeof(counters[PC_STORE_KERNEL]));
	count(PC_STORE_KERNEL, slot, 5000);
	crash(kernel_reset);
	assert_int_equal(total(3, PC_STORE_KERNEL), 5100);
	assert_int_equal(session_bytes(slot, PC_STORE_KERNEL), 5100);
	/* The marks were saved: a second crash before any fold does not bring the old ones back. */
	crash(no_reset);
	assert_int_equal(total(3, PC_STORE_KERNEL), 5100);
	assert_int_equal(total(3, PC_STORE_USER), 10);
}

/* A daemon that runs without the kernel half must not take its silence for zeroes. */
static void test_path_out_of_reach(void **state)
{
	uint32_t old, fresh;

	assert_int_equal(pc_usage_open(usage, 1, 3, &old), 0);
	count(PC_STORE_KERNEL, old, 100);
	count(PC_STORE_KERNEL, old + 1, 900); /* of a session long gone */
	assert_int_equal(pc_usage_fold(usage, now), 0);
	out_of_reach[PC_STORE_KERNEL] = true;
	crash(no_reset);
	assert_int_equal(pc_usage_open(usage, 2, 4, &fresh), 0);
	assert_int_equal(fresh, old + 1);
	count(PC_STORE_USER, fresh, 5);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	assert_int_equal(total(3, PC_STORE_KERNEL), 100);
	out_of_reach[PC_STORE_KERNEL] = false;
	crash(no_reset);
	assert_int_equal(total(3, PC_STORE_KERNEL), 100);
	assert_int_equal(total(4, PC_STORE_KERNEL), 0);
	assert_int_equal(total(4, PC_STORE_USER), 5);
	count(PC_STORE_KERNEL, fresh, 11);
	assert_int_equal(total(4, PC_STORE_KERNEL), 11);
	assert_int_equal(session_bytes(fresh, PC_STORE_KERNEL), 11);
}

static void test_slots(void **state)
{
	uint32_t slot, first = 0;
	uint64_t session;
	uint32_t tenant;

	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_int_equal(pc_usage_open(usage, i, 1, &slot), 0);
		if (i == 0)
			first = slot;
	}
	assert_int_equal(pc_usage_open(usage, 99, 1, &slot), PC_ERR_FULL);
	assert_int_equal(pc_usage_open_slots(usage), SLOTS);
	pc_usage_close(usage, first, now);
	pc_usage_close(usage, (first + 9) % SLOTS, now + 1);
	assert_false(pc_usage_slot(usage, first, &session, &tenant));
	/* Packets on their way are still counted for the session that ended. */
	count(PC_STORE_KERNEL, first, 33);
	assert_int_equal(pc_usage_fold(usage, now + PC_NS_PER_S / 2), 0);
	assert_int_equal(pc_usage_open(usage, 99, 1, &slot), PC_ERR_FULL);
	count(PC_STORE_KERNEL, first, 3);
	assert_int_equal(pc_usage_fold(usage, now + 2 * PC_NS_PER_S), 0);
	assert_int_equal(total(1, PC_STORE_KERNEL), 36);
	/* The one that has been free longest comes first; its counters start where they are. */
	assert_int_equal(pc_usage_open(usage, 100, 2, &slot), 0);
	assert_int_equal(slot, first);
	assert_int_equal(session_bytes(slot, PC_STORE_KERNEL), 0);
	assert_int_equal(total(2, PC_STORE_KERNEL), 0);
	pc_usage_close(usage, 100000, now);
	assert_false(pc_usage_slot(usage, 100000, &session, &tenant));
}

static void test_ended_slots_after_restart(void **state)
{
	uint32_t slot;

	assert_int_equal(pc_usage_open(usage, 1, 1, &slot), 0);
	pc_usage_close(usage, slot, now);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	crash(no_reset);
	assert_int_equal(pc_usage_open_slots(usage), 1);
	count(PC_STORE_KERNEL, slot, 21);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	assert_int_equal(pc_usage_fold(usage, now + 2 * PC_NS_PER_S), 0);
	assert_int_equal(pc_usage_open_slots(usage), 0);
	assert_int_equal(total(1, PC_STORE_KERNEL), 21);
}

static void test_fewer_slots(void **state)
{
	uint32_t slot;

	for (int i = 0; i < 10; i++)
		assert_int_equal(pc_usage_open(usage, 1, 1, &slot), 0);
	pc_usage_free(usage);
	open_usage(4, no_reset);
	assert_int_equal(pc_usage_open_slots(usage), 4);
	assert_int_equal(pc_usage_open(usage, 1, 1, &slot), PC_ERR_FULL);
	pc_usage_free(usage);
	open_usage(SLOTS, no_reset);
	assert_int_equal(pc_usage_open_slots(usage), 4);
}

/* What pcstat does: figures from a store that it may only read. */
static void test_readonly(void **state)
{
	static const bool all_reset[PC_STORE_PATHS] = { true, true };
	struct pc_store *writer = store;
	uint32_t slot;

	assert_int_equal(pc_usage_open(usage, 1, 3, &slot), 0);
	count(PC_STORE_KERNEL, slot, 100);
	assert_int_equal(pc_usage_fold(usage, now), 0);
	count(PC_STORE_KERNEL, slot, 11);
	pc_usage_free(usage);
	assert_int_equal(pc_store_open(path, true, &store), 0);
	open_usage(SLOTS, no_reset);
	assert_int_equal(total(3, PC_STORE_KERNEL), 111);
	pc_usage_free(usage);
	memset(counters, 0, sizeof(counters));
	open_usage(SLOTS, all_reset);
	assert_int_equal(total(3, PC_STORE_KERNEL), 100);
	pc_usage_free(usage);
	pc_store_close(store);
	store = writer;
	open_usage(SLOTS, no_reset);
}

static void test_reads_in_runs(void **state)
{
	uint32_t slot;

	for (uint32_t i = 0; i < SLOTS; i++)
		assert_int_equal(pc_usage_open(usage, i, 1, &slot), 0);
	reads = 0;
	assert_int_equal(pc_usage_refresh(usage), 0);
	assert_int_equal(reads, PC_STORE_PATHS);
}

/* A round has so many parts, and ends; a failure begins another one. */
static void test_parts(void **state)
{
	uint32_t slot;
	bool more;

	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_int_equal(pc_usage_open(usage, i + 1, 1, &slot), 0);
		count(PC_STORE_KERNEL, slot, 100);
	}
	for (unsigned int part = 1; part <= 9; part++) {
		read_error = part == 3 ? -5 : 0;
		assert_int_equal(pc_usage_fold_some(usage, SLOTS / 4, now, &more), read_error);
		assert_int_equal(more, part != 7);
	}
	crash(no_reset);
	assert_int_equal(total(1, PC_STORE_KERNEL), SLOTS * 100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_exactly_once),
		T(test_failed_fold_changes_nothing),
		T(test_counter_falls),
		T(test_known_reset),
		T(test_path_out_of_reach),
		T(test_slots),
		T(test_ended_slots_after_restart),
		T(test_fewer_slots),
		T(test_readonly),
		T(test_reads_in_runs),
		T(test_parts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
