/* SPDX-License-Identifier: MIT */
/* Relay ports with several users: who may join, who is asked, when a port is given back. */
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
#define LOW		1000

static uint64_t rng_state = 88172645463325252u;
static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static struct pc_ports *new_ports(unsigned int n)
{
	struct pc_ports *p;

	assert_int_equal(pc_ports_new(LOW, (uint16_t)(LOW + n - 1), &p), 0);
	return p;
}

static uint16_t take(struct pc_ports *p, bool even)
{
	uint16_t port;

	assert_int_equal(pc_ports_take(p, 0, (uint32_t)rng(), even, false, &port), 0);
	return port;
}

/* Which ports were asked for, and which may be had. */
struct asked {
	unsigned int times[2000];
	unsigned int n;
	int only; /* -1: all, -2: none, else that one */
};

static bool fits(void *arg, uint16_t port)
{
	struct asked *a = arg;

	a->times[port - LOW]++;
	a->n++;
	return a->only == -1 || a->only == port;
}

static int share(struct pc_ports *p, struct asked *a, int only, uint16_t *ret_port)
{
	memset(a, 0, sizeof(*a));
	a->only = only;
	return pc_ports_share(p, rng(), fits, a, ret_port);
}

static void test_nothing_to_share(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(4);
	struct asked a;
	uint16_t port = 7;

	assert_int_equal(share(p, &a, -1, &port), PC_ERR_FULL);
	/* Even ones, exact ones and quarantined ones are nobody else's. */
	take(p, true);
	assert_int_equal(pc_ports_take_exact(p, LOW + 1, false), 0);
	pc_ports_release(p, take(p, false), 0);
	pc_ports_block(p, LOW + 3, 1000);
	assert_int_equal(share(p, &a, -1, &port), PC_ERR_FULL);
	assert_int_equal(a.n, 0);
	assert_int_equal(port, 7);
	assert_int_equal(pc_ports_shared(p), 0);
}

/* Each is asked once, whatever was drawn, and no more than the bound. */
static void test_asks_each_once(void **state)
{
	for (unsigned int n = 1; n < 2000; n = n < 20 ? n + 1 : n * 3) {
		struct pc_ports *p _cleanup_ports_ = new_ports(n);
		unsigned int bound = n < PC_PORTS_SHARE_TRIES ? n : PC_PORTS_SHARE_TRIES;
		static struct asked a;
		uint16_t port;

		for (unsigned int i = 0; i < n; i++)
			take(p, false);
		for (unsigned int round = 0; round < 200; round++) {
			assert_int_equal(share(p, &a, -2, &port), PC_ERR_FULL);
			assert_int_equal(a.n, bound);
			for (unsigned int i = 0; i < n; i++)
				assert_in_range(a.times[i], 0, 1);
		}
		/* The only one that fits is found, and two are enough when all do. */
		if (n > PC_PORTS_SHARE_TRIES)
			continue;
		for (unsigned int i = 0; i < n; i++) {
			assert_int_equal(share(p, &a, (int)(LOW + i), &port), 0);
			assert_int_equal(port, LOW + i);
		}
		assert_int_equal(share(p, &a, -1, &port), 0);
		assert_int_equal(a.n, n > 1 ? 2 : 1);
	}
}

static void test_last_user_gives_back(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(1);
	struct asked a;
	uint16_t port = take(p, false);

	for (unsigned int i = 1; i < 1000; i++)
		assert_int_equal(share(p, &a, -1, &port), 0);
	assert_int_equal(pc_ports_in_use(p), 1);
	assert_int_equal(pc_ports_shared(p), 1);
	assert_int_equal(pc_ports_most_users(p), 1000);
	for (unsigned int i = 0; i < 999; i++) {
		assert_int_equal(pc_ports_shared(p), 1);
		pc_ports_release(p, LOW, 0);
	}
	assert_int_equal(pc_ports_shared(p), 0);
	assert_int_equal(pc_ports_in_use(p), 1);
	pc_ports_release(p, LOW, 5);
	assert_int_equal(pc_ports_in_use(p), 0);
	assert_int_equal(pc_ports_most_users(p), 0);
	assert_int_equal(share(p, &a, -1, &port), PC_ERR_FULL);
}

/* After a restart: whoever comes first, the others join; what is one's own stays so. */
static void test_exact(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(4);
	struct asked a;
	uint16_t port;

	assert_int_equal(pc_ports_take_exact(p, LOW, true), 0);
	assert_int_equal(pc_ports_take_exact(p, LOW, true), 0);
	assert_int_equal(pc_ports_take_exact(p, LOW, false), PC_ERR_EXISTS);
	assert_int_equal(pc_ports_take_exact(p, LOW + 1, false), 0);
	assert_int_equal(pc_ports_take_exact(p, LOW + 1, true), PC_ERR_EXISTS);
	assert_int_equal(share(p, &a, -1, &port), 0);
	assert_int_equal(port, LOW);
	assert_int_equal(pc_ports_most_users(p), 3);
	/* Blocked while others use it: it is nobody's any more. */
	pc_ports_block(p, LOW, 1000);
	assert_int_equal(pc_ports_in_use(p), 1);
	assert_int_equal(pc_ports_shared(p), 0);
	assert_int_equal(share(p, &a, -1, &port), PC_ERR_FULL);
}

/* Many more users than ports: hardly any port has many more than another. */
static void test_even_load(void **state)
{
	struct pc_ports *p _cleanup_ports_ = new_ports(1000);
	struct asked a;
	uint16_t port;

	for (unsigned int i = 0; i < 1000; i++)
		take(p, false);
	for (unsigned int i = 0; i < 99000; i++)
		assert_int_equal(share(p, &a, -1, &port), 0);
	assert_in_range(pc_ports_most_users(p), 100, 106);
	assert_int_equal(pc_ports_shared(p), 1000);
}

/* A slow and simple model beside it, over random operations. */
static void test_random_operations(void **state)
{
	enum { N = 24 };
	struct pc_ports *p _cleanup_ports_ = new_ports(N);
	unsigned int users[N] = { 0 };
	bool shared[N] = { false };
	struct asked a;

	for (int round = 0; round < 200000; round++) {
		unsigned int i = (unsigned int)(rng() >> 32) % N, many = 0, most = 0, used = 0;
		bool even = rng() & 1, can = false;
		uint16_t port;

		for (unsigned int k = 0; k < N; k++)
			can |= shared[k];
		switch (rng() >> 60) {
		case 0:
		case 1:
			if (pc_ports_take(p, (uint64_t)round, (uint32_t)rng(), even, false, &port))
				break;
			assert_int_equal(users[port - LOW], 0);
			users[port - LOW] = 1;
			shared[port - LOW] = !even;
			break;
		case 2:
			assert_int_equal(pc_ports_take_exact(p, (uint16_t)(LOW + i), even),
					 users[i] && !(even && shared[i]) ? PC_ERR_EXISTS : 0);
			if (!users[i])
				shared[i] = even;
			users[i] += !users[i] || (even && shared[i]);
			break;
		case 3:
		case 4:
		case 5:
			assert_int_equal(share(p, &a, -1, &port), can ? 0 : PC_ERR_FULL);
			if (!can)
				break;
			assert_true(shared[port - LOW]);
			users[port - LOW]++;
			break;
		default:
			pc_ports_release(p, (uint16_t)(LOW + i), (uint64_t)round);
			users[i] -= users[i] > 0;
			shared[i] &= users[i] > 0;
		}
		for (unsigned int k = 0; k < N; k++) {
			many += users[k] > 1;
			used += users[k] > 0;
			most = users[k] > most ? users[k] : most;
		}
		assert_int_equal(pc_ports_in_use(p), used);
		assert_int_equal(pc_ports_shared(p), many);
		assert_int_equal(pc_ports_most_users(p), most);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_to_share),
		cmocka_unit_test(test_asks_each_once),
		cmocka_unit_test(test_last_user_gives_back),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_even_load),
		cmocka_unit_test(test_random_operations),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
