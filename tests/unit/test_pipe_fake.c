/* SPDX-License-Identifier: MIT */
/*
 * Pipes in user space, with the fake data plane. Frames are written and checked by the peers' side
 * of the protocol (relay/native_pipe.c), which shares no code with the data plane.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "abi/pipe.h"
#include "base/err.h"
#include "dp/dp_fake.h"
#include "relay/native_pipe.h"

#define SESSIONS 8
#define NOW	 1000000000ull
#define END	 (NOW + 60000000000ull)
#define MILLION	 1000000u

static const uint8_t in_key[16] = "left to relay..", out_key[16] = "relay to right.";

static struct pc_addr addr(uint8_t last, uint16_t port)
{
	return (struct pc_addr){ .ip = pc_ip4(198, 51, 100, last), .port = port };
}

static struct pc_dp_pipe left_to_right(void)
{
	struct pc_dp_pipe pipe = {
		.in = 7,
		.out = 0xa0b0c0d0,
		.in_local = addr(1, 3478),
		.in_remote = addr(2, 4000),
		.out_local = addr(1, 3478),
		.out_remote = addr(3, 5000),
		.expires_ns = END,
		.slot = 3,
		.up = true,
		.shared = true,
		.other_slot = 4,
	};

	memcpy(pipe.in_key, in_key, 16);
	memcpy(pipe.out_key, out_key, 16);
	return pipe;
}

static struct pc_dp *open_with(bool kernel)
{
	struct pc_dp_config config = { .max_sessions = SESSIONS,
				       .max_tenants = 4,
				       .kernel = kernel };
	struct pc_dp *dp;

	assert_int_equal(pc_dp_open(&config, &dp), 0);
	return dp;
}

static int setup(void **state)
{
	pc_dp_fake_reset();
	*state = open_with(true);
	return 0;
}

static int teardown(void **state)
{
	pc_dp_close(*state);
	pc_dp_fake_reset();
	return 0;
}

struct packet {
	uint8_t bytes[PC_DP_PIPE_HEADER + 2048];
	struct pc_dp_dgram d;
};

static void frame(struct packet *p, uint64_t counter, size_t len)
{
	struct pc_pipe_frame f = { .pipe = 7, .counter = counter, .payload_len = len };

	p->d = (struct pc_dp_dgram){
		.local = addr(1, 3478),
		.remote = addr(2, 4000),
		.data = p->bytes + PC_DP_PIPE_HEADER,
		.len = PC_PIPE_HEADER + len,
		.ttl = 64,
		.tos = 0x2e,
	};
	memset(p->d.data + PC_PIPE_HEADER, (int)counter, len);
	pc_pipe_write(p->d.data, &f, in_key);
}

/* As the next peer would take it. */
static void expect_frame(const struct pc_dp_dgram *d, uint64_t counter, size_t len)
{
	struct pc_pipe_frame f;

	assert_int_equal(pc_pipe_read(d->data, d->len, &f), 0);
	assert_true(f.pipe == 0xa0b0c0d0 && f.counter == counter && f.payload_len == len);
	assert_true(pc_pipe_check(d->data, d->len, out_key));
}

static uint64_t reason(struct pc_dp *dp, enum pc_reason r)
{
	return pc_dp_reasons_user(dp)[r];
}

static void test_forward(void **state)
{
	const struct pc_dp_pipe pipe = left_to_right();
	const struct pc_dir_count *up = &pc_dp_count_user(*state)[3].up;
	const struct pc_dir_count *down = &pc_dp_count_user(*state)[4].down;
	struct packet p;

	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	for (size_t len = 0; len < 20; len++) {
		frame(&p, len + 1, len);
		assert_int_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
		expect_frame(&p.d, len + 1, len);
		assert_true(pc_addr_equal(&p.d.local, &pipe.out_local));
		assert_true(pc_addr_equal(&p.d.remote, &pipe.out_remote));
		assert_true(p.d.ttl == 63 && p.d.tos == 0x2e && !p.d.plain);
		assert_int_equal(p.d.n_charges, 2);
		pc_dp_user_sent(*state, &p.d);
	}
	assert_true(up->packets == 20 && up->payload_bytes == 190);
	assert_true(up->wire_bytes == 190 + 20 * (24 + 28));
	assert_memory_equal(up, down, sizeof(*up));
	assert_int_equal(reason(*state, PC_REASON_USER_FORWARD), 20);
}

static void expect_drop(struct pc_dp *dp, struct packet *p, uint64_t now, enum pc_reason want)
{
	uint64_t before = reason(dp, want);

	assert_int_equal(pc_dp_user_pipe(dp, now, &p->d), want);
	assert_int_equal(reason(dp, want), before + 1);
}

static void test_refused(void **state)
{
	const struct pc_dp_pipe pipe = left_to_right();
	struct packet p;

	frame(&p, 1, 10);
	expect_drop(*state, &p, NOW, PC_REASON_DROP_NO_PIPE);
	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	expect_drop(*state, &p, END, PC_REASON_DROP_PIPE_EXPIRED);
	p.d.ttl = 1;
	expect_drop(*state, &p, NOW, PC_REASON_DROP_TTL);
	frame(&p, 1, 10);
	p.d.remote.port++;
	expect_drop(*state, &p, NOW, PC_REASON_DROP_PIPE_SOURCE);
	frame(&p, 1, 10);
	p.d.local = addr(9, 3478);
	expect_drop(*state, &p, NOW, PC_REASON_DROP_PIPE_SOURCE);
	for (size_t len = 0; len < PC_PIPE_HEADER; len++) {
		frame(&p, 1, 10);
		p.d.len = len;
		expect_drop(*state, &p, NOW, PC_REASON_DROP_LENGTH);
	}
	for (size_t bit = 0; bit < 8 * PC_PIPE_HEADER; bit++) {
		frame(&p, 1, 10);
		p.d.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
	}
	frame(&p, 1, 10);
	p.d.len--;
	expect_drop(*state, &p, NOW, PC_REASON_DROP_PIPE_TAG);
	frame(&p, 1, 10);
	assert_int_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
	frame(&p, 1, 10);
	expect_drop(*state, &p, NOW, PC_REASON_DROP_REPLAY);
}

/* Neither forwarded nor charged. */
static void test_million(void **state)
{
	const struct pc_dp_rates *rates = pc_dp_rates(*state);
	const struct pc_dp_pipe pipe = left_to_right();
	const struct pc_count none = { 0 };
	struct packet p, forged;

	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	rates->credit[3] = rates->credit[4] = (struct pc_credit){ .authorised = 1000 };
	frame(&p, 1, 10);
	assert_int_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
	frame(&p, 1, 10);
	for (uint32_t i = 0; i < MILLION / 2; i++)
		assert_int_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_DROP_REPLAY);
	frame(&forged, 2, 10);
	for (uint32_t i = 0; i < MILLION / 2; i++) {
		memcpy(forged.d.data + PC_PIPE_TAG_OFF, &i, sizeof(i));
		assert_int_equal(pc_dp_user_pipe(*state, NOW, &forged.d), PC_REASON_DROP_PIPE_TAG);
	}
	assert_true(rates->credit[3].used == 10 && rates->credit[4].used == 10);
	assert_memory_equal(&pc_dp_count_user(*state)[3], &none, sizeof(none));
}

/* Who of two refuses leaves the other as he was. */
static void test_credit(void **state)
{
	const struct pc_dp_rates *rates = pc_dp_rates(*state);
	struct pc_dp_pipe pipe = left_to_right();
	struct packet p;

	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	rates->credit[3] = (struct pc_credit){ .authorised = 100 };
	rates->credit[4] = (struct pc_credit){ .authorised = 5 };
	frame(&p, 1, 10);
	expect_drop(*state, &p, NOW, PC_REASON_DROP_CREDIT);
	assert_int_equal(rates->credit[3].used, 0);
	assert_int_equal(pc_dp_count_user(*state)[4].drops_credit, 1);
	/* Whoever sends is asked first, whichever of them pays. */
	pipe.up = false;
	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	rates->credit[3].authorised = 5;
	frame(&p, 2, 10);
	expect_drop(*state, &p, NOW, PC_REASON_DROP_CREDIT);
	assert_int_equal(pc_dp_count_user(*state)[4].drops_credit, 2);
	rates->credit[4].authorised = 100;
	frame(&p, 3, 10);
	expect_drop(*state, &p, NOW, PC_REASON_DROP_CREDIT);
	assert_int_equal(pc_dp_count_user(*state)[3].drops_credit, 1);
	assert_int_equal(rates->credit[4].used, 0);
}

static void test_ports(void **state)
{
	struct pc_dp_pipe in = left_to_right(), out = left_to_right();
	struct packet p;
	uint8_t *payload;

	in.out_plain = true;
	in.out_local = addr(1, 50001);
	in.out = 0;
	out.in = 8;
	out.in_plain = true;
	out.in_local = addr(1, 50001);
	assert_int_equal(pc_dp_pipe_set(*state, &in), 0);
	assert_int_equal(pc_dp_pipe_set(*state, &out), 0);
	frame(&p, 1, 33);
	payload = p.d.data + PC_PIPE_HEADER;
	assert_int_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
	assert_true(p.d.plain && p.d.data == payload && p.d.len == 33);
	assert_int_equal(p.d.charges[0].wire_bytes, 33 + 28);
	for (uint64_t counter = 1; counter < 4; counter++) {
		frame(&p, 1, 33);
		p.d.local = addr(1, 50001);
		assert_int_equal(pc_dp_user_pipe_port(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
		assert_ptr_equal(p.d.data, p.bytes);
		expect_frame(&p.d, counter, PC_PIPE_HEADER + 33);
	}
	frame(&p, 1, 33);
	p.d.local = addr(1, 50001);
	p.d.remote.port++;
	assert_int_equal(pc_dp_user_pipe_port(*state, NOW, &p.d), PC_REASON_DROP_NO_PERMISSION);
	/* Its number is no way in. */
	frame(&p, 2, 33);
	p.d.data[7] = 8;
	expect_drop(*state, &p, NOW, PC_REASON_DROP_NO_PIPE);
}

static int count(void *arg, const struct pc_dp_pipe *pipe)
{
	assert_int_equal(pipe->in, 7);
	++*(int *)arg;
	return 0;
}

/* What the kernel holds outlives the daemon, windows too; without a kernel half nothing does. */
static void test_restart(void **state)
{
	const struct pc_dp_pipe pipe = left_to_right();
	struct packet p;
	int n = 0;

	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	assert_int_equal(pc_dp_fake_pipes(), 1);
	assert_non_null(pc_dp_fake_pipe(7));
	frame(&p, 1, 10);
	assert_int_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
	pc_dp_close(*state);
	*state = open_with(true);
	assert_int_equal(pc_dp_pipe_each(*state, count, &n), 0);
	assert_int_equal(n, 1);
	frame(&p, 1, 10);
	expect_drop(*state, &p, NOW, PC_REASON_DROP_REPLAY);
	assert_int_equal(pc_dp_pipe_del(*state, 7), 0);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	pc_dp_close(*state);
	pc_dp_fake_reset();
	*state = open_with(false);
	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	assert_int_equal(pc_dp_user_pipe(*state, NOW, &p.d), PC_REASON_USER_FORWARD);
}

static void test_full(void **state)
{
	struct pc_dp_pipe pipe = left_to_right();
	uint32_t used, size;

	for (uint32_t i = 1; i <= 2 * SESSIONS + 1; i++) {
		pipe.in = i;
		assert_int_equal(pc_dp_pipe_set(*state, &pipe),
				 i <= 2 * SESSIONS ? 0 : PC_ERR_FULL);
	}
	pc_dp_pipe_usage(*state, &used, &size);
	assert_true(used == 2 * SESSIONS && size == 2 * SESSIONS);
	pipe.in = 1;
	assert_int_equal(pc_dp_pipe_set(*state, &pipe), 0);
	pc_dp_fake_faults()->pipe_set = PC_ERR_FULL;
	assert_int_equal(pc_dp_pipe_del(*state, 2), 0);
	pipe.in = 2;
	assert_int_equal(pc_dp_pipe_set(*state, &pipe), PC_ERR_FULL);
	pc_dp_pipe_usage(*state, &used, &size);
	assert_int_equal(used, 2 * SESSIONS - 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_forward), T(test_refused), T(test_million), T(test_credit),
		T(test_ports),	 T(test_restart), T(test_full),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
