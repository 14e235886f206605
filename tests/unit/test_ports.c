/* SPDX-License-Identifier: MIT */
/* Relay ports: nothing is lost, nothing is handed out twice, quarantine and pairs are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "relay/ports.h"

PC_DEFINE_CLEANUP(ports, struct pc_ports, pc_ports_free)
#define _cleanup_ports_ PC_CLEANUP(pc_cleanup_ports)
#define Q		PC_PORT_QUARANTINE_NS

static struct pc_ports *new_ports(uint16_t low, uint16_t high)
{
	struct pc_ports *p;

	assert_int_equal(pc_ports_new(low, high, &p), 0);
	return p;
}

static uint64_t rng_state = 88172645463325252u;
static uint32_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)(rng_state >> 16);
}

static uint16_t take(struct pc_ports *p, uint64_t now, bool even, bool pair)
{
	uint16_t port;

	assert_int_equal(pc_ports_take(p, now, rng(), even, pair, &port), 0);
	return port;
}

static void assert_full(struct pc_ports *p, uint64_t now, bool even, bool pair)
{
	uint16_t port = 7;

	assert_int_equal(pc_ports_take(p, now, rng(), even, pair, &port), PC_ERR_FULL);
	assert_int_equal(port, 7);
}

static void test_hands_out_all_once(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(49152, 65535);
	static uint8_t seen[65536];

	for (int i = 0; i < 16384; i++) {
		uint16_t port = take(p, 0, false, false);

		assert_true(port >= 49152);
		assert_int_equal(seen[port]++, 0);
	}
	assert_int_equal(pc_ports_in_use(p), 16384);
	assert_full(p, 0, false, false);
}

static void test_whole_range(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(0, 65535);

	for (int i = 0; i < 65535; i++)
		assert_int_not_equal(take(p, 0, false, false), 0);
	assert_full(p, 0, false, false);
	assert_int_equal(pc_ports_take_exact(p, 0, false), PC_ERR_RANGE);
	pc_ports_release(p, 0, 0);
	assert_full(p, 2 * Q, false, false);
}

/* The random number alone decides, and every free port can be meant. */
static void test_random_choice(void **state)
{
	unsigned int hits[64] = { 0 };

	for (int i = 0; i < 64 * 1000; i++) {
		static struct pc_ports *p;
		uint16_t port;

		if (!p)
			p = new_ports(1000, 1063);
		port = take(p, 0, false, false);
		hits[port - 1000]++;
		pc_ports_release(p, port, 0);
		if (i % 32 == 31) { /* half of them are quarantined now: begin anew */
			pc_ports_free(p);
			p = NULL;
		}
	}
	for (int i = 0; i < 64; i++)
		assert_in_range(hits[i], 800, 1200);
}

static void test_quarantine(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(100, 103);
	uint16_t first = take(p, 0, false, false), port;

	pc_ports_release(p, first, 1000);
	assert_int_equal(pc_ports_in_use(p), 0);
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(take(p, 1000 + Q - 1, false, false), first);
	/* Everything else is used up: cut short. */
	port = take(p, 1001, false, false);
	assert_int_equal(port, first);
	pc_ports_release(p, port, 2000);
	assert_int_equal(take(p, 2000 + Q, false, false), first); /* over */
}

static void test_quarantine_oldest_first(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(200, 207);
	static const uint16_t order[] = { 203, 206, 200, 201, 207, 202, 205, 204 };

	for (int i = 0; i < 8; i++)
		take(p, 0, false, false);
	for (uint64_t i = 0; i < 8; i++)
		pc_ports_release(p, order[i], 10 + i);
	assert_int_equal(take(p, 20, true, false), 206); /* the oldest even one */
	for (int i = 0; i < 8; i++) {
		if (order[i] != 206)
			assert_int_equal(take(p, 20, false, false), order[i]);
	}
	assert_full(p, 20, false, false);
}

static void test_release_is_idempotent(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(300, 301);
	uint16_t a = take(p, 0, false, false);

	pc_ports_release(p, a, 5);
	pc_ports_release(p, a, 6);
	pc_ports_release(p, 299, 6);
	pc_ports_release(p, 302, 6);
	pc_ports_release(p, 65535, 6);
	assert_int_equal(pc_ports_in_use(p), 0);
	take(p, 7, false, false);
	take(p, 7, false, false);
	assert_int_equal(pc_ports_in_use(p), 2);
	assert_full(p, 7, false, false);
}

static void test_even(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(401, 410);

	for (int i = 0; i < 5; i++)
		assert_int_equal(take(p, 0, true, false) & 1, 0);
	assert_full(p, 0, true, false); /* five odd ones are left, and not given */
	assert_int_equal(pc_ports_in_use(p), 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(take(p, 0, false, false) & 1, 1);
}

static void test_pair(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(501, 510); /* 501 and 510 have no partner */

	for (int i = 0; i < 4; i++) {
		uint16_t even = take(p, 0, true, true);

		assert_int_equal(even & 1, 0);
		assert_in_range(even, 502, 508);
		assert_int_equal(pc_ports_take_exact(p, even + 1, false), 0);
		assert_int_equal(pc_ports_take_exact(p, even + 1, false), PC_ERR_EXISTS);
	}
	assert_full(p, 0, true, true);
	assert_int_equal(pc_ports_in_use(p), 8);
}

static void test_pair_needs_both(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(600, 605);

	assert_int_equal(pc_ports_take_exact(p, 601, false), 0);
	assert_int_equal(pc_ports_take_exact(p, 604, false), 0);
	assert_int_equal(take(p, 0, true, true), 602);
	assert_full(p, 0, true, true);
	assert_int_equal(take(p, 0, true, false), 600);
}

static void test_pair_from_quarantine(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(700, 705);

	for (int i = 0; i < 6; i++)
		take(p, 0, false, false);
	pc_ports_release(p, 701, 1); /* its partner stays in use */
	pc_ports_release(p, 704, 2);
	assert_full(p, 3, true, true);
	pc_ports_release(p, 705, 3);
	assert_int_equal(take(p, 4, true, true), 704);
	assert_int_equal(pc_ports_take_exact(p, 705, false), 0);
	/* One free already, the other quarantined. */
	pc_ports_release(p, 703, 10);
	pc_ports_release(p, 702, 20);
	assert_int_equal(take(p, 10 + Q, true, true), 702);
	assert_int_equal(pc_ports_take_exact(p, 703, false), 0);
}

/*
 * The port leak of EVEN-PORT: clients that ask for pairs and go away, with the reservation used,
 * unused, or never made. A million of them leave the pool as it was.
 */
static void test_even_port_does_not_leak(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(800, 863);
	uint64_t now = 0;

	for (int i = 0; i < 1000000; i++, now += Q / 8) {
		uint16_t port = take(p, now, true, i % 3 != 0);

		if (i % 3 == 1) {
			assert_int_equal(pc_ports_take_exact(p, port + 1, false), 0);
			if (i % 2)
				pc_ports_release(p, port + 1, now);
		}
		pc_ports_release(p, port, now);
		if (i % 3 == 1 && i % 2 == 0)
			pc_ports_release(p, port + 1, now + 1);
	}
	assert_int_equal(pc_ports_in_use(p), 0);
	for (int i = 0; i < 32; i++)
		pc_ports_take_exact(p, take(p, now + Q, true, true) + 1, false);
	assert_int_equal(pc_ports_in_use(p), 64);
	assert_full(p, now + Q, false, false);
}

static void test_block(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(900, 903);
	uint16_t port = take(p, 0, false, false);

	pc_ports_block(p, port, 1000); /* bind() said EADDRINUSE */
	assert_int_equal(pc_ports_in_use(p), 0);
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(take(p, 999, false, false), port);
	assert_full(p, 999, false, false); /* a block is not cut short */
	assert_int_equal(take(p, 1000, false, false), port);
	pc_ports_block(p, 899, 1);
	pc_ports_block(p, 904, 1);
	/* Times in any order. */
	pc_ports_block(p, 900, 5000);
	pc_ports_block(p, 901, 3000);
	pc_ports_block(p, 902, 4000);
	pc_ports_block(p, 901, 3500); /* once more */
	assert_full(p, 3499, false, false);
	assert_int_equal(take(p, 3500, false, false), 901);
	assert_int_equal(take(p, 4000, false, false), 902);
	assert_int_equal(take(p, 5000, false, false), 900);
}

static void test_exact(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(1000, 1001);

	assert_int_equal(pc_ports_take_exact(p, 999, false), PC_ERR_RANGE);
	assert_int_equal(pc_ports_take_exact(p, 1002, false), PC_ERR_RANGE);
	assert_int_equal(pc_ports_take_exact(p, 1000, false), 0);
	assert_int_equal(pc_ports_take_exact(p, 1000, false), PC_ERR_EXISTS);
	pc_ports_release(p, 1000, 0);
	assert_int_equal(pc_ports_take_exact(p, 1000, false),
			 0); /* from quarantine: the caller knows */
	pc_ports_block(p, 1001, 1000);
	assert_int_equal(pc_ports_take_exact(p, 1001, false), 0);
	assert_int_equal(pc_ports_in_use(p), 2);
	assert_full(p, 2000, false, false);
}

static void test_single_port(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(65535, 65535);

	assert_full(p, 0, true, false);
	assert_full(p, 0, false, true);
	assert_int_equal(take(p, 0, false, false), 65535);
}

/* --- a slow and simple model beside it, over random operations --- */

#define LOW  2001
#define HIGH 2096
#define N    (HIGH - LOW + 1)

struct model {
	enum { IS_FREE, IS_USED, IS_QUARANTINED, IS_BLOCKED } state[N];
	uint64_t until[N];
};

static void model_expire(struct model *m, uint64_t now)
{
	for (int i = 0; i < N; i++) {
		if ((m->state[i] == IS_QUARANTINED || m->state[i] == IS_BLOCKED) &&
		    m->until[i] <= now)
			m->state[i] = IS_FREE;
	}
}

/* Whether port LOW + i, with its successor where @pair, is in one of the states up to @worst. */
static bool model_has(const struct model *m, int i, bool even, bool pair, bool quarantined)
{
	for (int k = i; k <= i + pair; k++) {
		if (k >= N ||
		    (m->state[k] != IS_FREE && !(quarantined && m->state[k] == IS_QUARANTINED)))
			return false;
	}
	return !(even || pair) || (LOW + i) % 2 == 0;
}

static void check_take(struct model *m, struct pc_ports *p, uint64_t now)
{
	bool even = rng() & 1, pair = even && (rng() & 1), free = false, any = false;
	uint64_t oldest = UINT64_MAX;
	uint16_t port = 0;
	int err = pc_ports_take(p, now, rng(), even, pair, &port), i = port - LOW;

	model_expire(m, now);
	for (int k = 0; k < N; k++) {
		free |= model_has(m, k, even, pair, false);
		if (!model_has(m, k, even, pair, true))
			continue;
		any = true;
		for (int h = k; h <= k + pair; h++) {
			if (m->state[h] == IS_QUARANTINED && m->until[h] < oldest)
				oldest = m->until[h];
		}
	}
	assert_int_equal(err, any ? 0 : PC_ERR_FULL);
	if (err)
		return;
	assert_in_range(port, LOW, HIGH);
	assert_true(model_has(m, i, even, pair, !free));
	if (!free) /* oldest first */
		assert_true(
			(m->state[i] == IS_QUARANTINED && m->until[i] == oldest) ||
			(pair && m->state[i + 1] == IS_QUARANTINED && m->until[i + 1] == oldest));
	m->state[i] = IS_USED;
	if (pair && m->state[i + 1] == IS_QUARANTINED)
		m->state[i + 1] = IS_FREE;
}

static void test_random_operations(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(LOW, HIGH);
	struct model m = { 0 };
	uint64_t now = 0;
	unsigned int used;

	for (int op = 0; op < 1000000; op++) {
		int i = (int)(rng() % N), what = (int)(rng() % 100);
		/* Sometimes mostly full, sometimes mostly empty. */
		int takes = op / 20000 % 2 ? 60 : 40;

		now += rng() % (Q / 40) + 1;
		if (what < takes) {
			check_take(&m, p, now);
		} else if (what < 95) {
			pc_ports_release(p, (uint16_t)(LOW + i), now);
			if (m.state[i] == IS_USED) {
				m.state[i] = IS_QUARANTINED;
				m.until[i] = now + Q;
			}
		} else if (what < 98) {
			assert_int_equal(pc_ports_take_exact(p, (uint16_t)(LOW + i), false),
					 m.state[i] == IS_USED ? PC_ERR_EXISTS : 0);
			m.state[i] = IS_USED;
		} else {
			m.state[i] = IS_BLOCKED;
			m.until[i] = now + rng() % Q;
			pc_ports_block(p, (uint16_t)(LOW + i), m.until[i]);
		}
		used = 0;
		for (int k = 0; k < N; k++)
			used += m.state[k] == IS_USED;
		assert_int_equal(pc_ports_in_use(p), used);
	}
	/* In the end everything comes back. */
	for (int k = 0; k < N; k++)
		pc_ports_release(p, (uint16_t)(LOW + k), now);
	for (int k = 0; k < N; k++)
		take(p, now + 2 * Q, false, false);
	assert_full(p, now + 2 * Q, false, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hands_out_all_once),
		cmocka_unit_test(test_whole_range),
		cmocka_unit_test(test_random_choice),
		cmocka_unit_test(test_quarantine),
		cmocka_unit_test(test_quarantine_oldest_first),
		cmocka_unit_test(test_release_is_idempotent),
		cmocka_unit_test(test_even),
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_pair_needs_both),
		cmocka_unit_test(test_pair_from_quarantine),
		cmocka_unit_test(test_even_port_does_not_leak),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_single_port),
		cmocka_unit_test(test_random_operations),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
