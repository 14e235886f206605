/* SPDX-License-Identifier: MIT */
/*
 * Two ends of pipes: session, epochs and their renewal, reordering, repetition, loss; direct ways
 * found, used, lost without losing anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "native_world.h"
#include "relay/native_e2e.h"

#define PIPES  2
#define QUEUE  4096
#define GOT    20000
#define LEN    64
#define SECOND PC_NS_PER_S

struct end;

struct mail {
	struct end *to;
	int pipe;	     /* -1: direct */
	struct pc_addr from; /* of a direct one */
	size_t len;
	uint8_t data[PC_PIPE_MAX_FRAME];
};

struct end {
	struct pc_e2e *e;
	struct pc_native_config config;
	uint8_t secret_key[64];
	struct pc_addr addr;
	struct end *other;
	struct pc_agent_pipe pipes[PIPES];
	struct pc_e2e_way *ways[PIPES];
	bool trusts, deaf; /* deaf: direct frames do not reach it */
	unsigned int readies, downs, moves, silences, gones;
	uint16_t reason;
	unsigned int got[GOT]; /* how often each number came */
	uint32_t sent;
};

static struct {
	struct end ends[2];
	struct mail *queue; /* QUEUE */
	unsigned int in, out;
	uint64_t now, random_counter;
	bool broken[PIPES];
	unsigned int through[PIPES], direct;
} s;
static struct end *const a = &s.ends[0], *const b = &s.ends[1];

static void op_random(void *ctx, void *buf, size_t len)
{
	uint8_t seed[32] = { 9 };

	memcpy(seed + 8, &s.random_counter, 8);
	s.random_counter++;
	randombytes_buf_deterministic(buf, len, seed);
}

static void op_send(void *ctx, struct pc_e2e_way *way, const void *data, size_t len)
{
	struct end *end = ctx;
	struct mail *m = &s.queue[s.in % QUEUE];

	assert_true(s.in - s.out < QUEUE);
	assert_true(len <= sizeof(m->data));
	m->to = end->other;
	m->pipe = -1;
	for (int i = 0; i < PIPES; i++)
		m->pipe = way->pipe == &end->pipes[i] ? i : m->pipe;
	if (m->pipe < 0 && !pc_addr_equal(&way->remote, &end->other->addr))
		return; /* nobody lives there */
	m->from = end->addr;
	m->len = len;
	memcpy(m->data, data, len);
	s.in++;
}

static bool op_trusted(void *ctx, const uint8_t identity[static 32])
{
	struct end *end = ctx;

	return end->trusts && memcmp(identity, end->other->config.identity, 32) == 0;
}

static void op_ready(void *ctx, struct pc_e2e_peer *peer)
{
	((struct end *)ctx)->readies++;
}

static void op_down(void *ctx, struct pc_e2e_peer *peer, uint16_t reason)
{
	((struct end *)ctx)->downs++;
	((struct end *)ctx)->reason = reason;
}

static void op_moved(void *ctx, struct pc_e2e_peer *peer)
{
	((struct end *)ctx)->moves++;
}

static void op_silent(void *ctx, struct pc_e2e_way *way)
{
	((struct end *)ctx)->silences++;
}

static void op_gone(void *ctx, struct pc_e2e_peer *peer)
{
	((struct end *)ctx)->gones++;
}

static const struct pc_e2e_ops ops = {
	.send = op_send,
	.trusted = op_trusted,
	.ready = op_ready,
	.down = op_down,
	.moved = op_moved,
	.silent = op_silent,
	.gone = op_gone,
	.random = op_random,
};

/* --- what the network does --- */

static void take_number(struct end *end, const uint8_t *plain)
{
	uint32_t number;

	memcpy(&number, plain, sizeof(number));
	assert_true(number < GOT);
	end->got[number]++;
}

static int hand(const struct mail *m)
{
	struct end *end = m->to;
	uint8_t plain[PC_PIPE_MAX_FRAME];
	struct pc_e2e_peer *peer;
	struct pc_pipe_frame f;
	size_t len;
	int rc;

	if (m->pipe < 0) {
		if (m->data[0] != PC_NATIVE_PIPE) {
			pc_e2e_direct(end->e, 0, &m->from, m->data, m->len, s.now, WORLD_NOW_S);
			return 0;
		}
		rc = pc_e2e_open_direct(end->e, 0, &m->from, m->data, m->len, s.now, &peer, plain,
					&len);
		if (rc == 0)
			take_number(end, plain);
		return rc;
	}
	assert_int_equal(pc_pipe_read(m->data, m->len, &f), 0);
	assert_int_equal(f.pipe, end->pipes[m->pipe].in);
	assert_true(pc_pipe_check(m->data, m->len, end->pipes[m->pipe].in_key));
	if (!end->ways[m->pipe])
		return PC_ERR_NOT_FOUND;
	if (f.flags & PC_PIPE_INNER) {
		pc_e2e_inner(end->e, end->ways[m->pipe], m->data + PC_PIPE_HEADER, f.payload_len,
			     s.now, WORLD_NOW_S);
		return 0;
	}
	rc = pc_e2e_open(end->e, end->ways[m->pipe], &f, m->data, s.now, plain);
	if (rc == 0)
		take_number(end, plain);
	return rc;
}

static void deliver_one(void)
{
	struct mail m = s.queue[s.out++ % QUEUE];

	if (m.pipe >= 0 ? s.broken[m.pipe] : m.to->deaf)
		return;
	if (m.pipe >= 0)
		s.through[m.pipe]++;
	else
		s.direct++;
	hand(&m);
}

static void deliver(void)
{
	for (unsigned int i = 0; i < 4 * QUEUE && s.out < s.in; i++)
		deliver_one();
	assert_int_equal(s.out, s.in);
}

static int send_number(struct end *from)
{
	uint8_t frame[PC_PIPE_OVERHEAD + LEN] = { 0 };
	struct pc_e2e_peer *peer = pc_e2e_find(from->e, from->other->config.identity);
	struct pc_e2e_way *way;
	int rc;

	if (!peer)
		return PC_ERR_STATE;
	memcpy(frame + PC_PIPE_HEADER, &from->sent, sizeof(from->sent));
	rc = pc_e2e_seal(peer, frame, LEN, s.now, &way);
	if (rc < 0)
		return rc;
	from->sent++;
	op_send(from, way, frame, sizeof(frame));
	return 0;
}

static void pass(uint64_t ns, bool talk)
{
	uint64_t end = s.now + ns;

	while (s.now < end) {
		s.now += 20 * PC_NS_PER_MS;
		for (int i = 0; i < 2; i++) {
			if (s.ends[i].e)
				pc_e2e_tick(s.ends[i].e, s.now);
		}
		deliver();
		if (talk) {
			send_number(a);
			send_number(b);
			deliver();
		}
	}
}

static void assert_all_came(const struct end *from)
{
	for (uint32_t i = 0; i < from->sent; i++)
		assert_int_equal(from->other->got[i], 1);
}

/* --- set up --- */

static void start(struct end *end, uint8_t fill)
{
	struct pc_noise_keypair pair;
	uint8_t seed[32];

	memset(seed, fill, sizeof(seed));
	crypto_sign_seed_keypair(end->config.identity, end->secret_key, seed);
	memset(end->config.static_secret, fill + 100, 32);
	pc_noise_keypair(end->config.static_secret, &pair);
	pc_statement_make(end->secret_key, pair.public_key, 0, WORLD_FOREVER,
			  end->config.statement);
	end->config.max_links = 4;
	end->config.handshakes_per_s = 100;
	end->trusts = true;
	assert_int_equal(pc_e2e_new(&end->config, &ops, end, s.now, &end->e), 0);
}

static void wire(int i, struct end *caller)
{
	for (int k = 0; k < 2; k++) {
		struct end *x = &s.ends[k];
		struct pc_agent_pipe *pipe = &x->pipes[i];

		memset(pipe, 0, sizeof(*pipe));
		memcpy(pipe->peer, x->other->config.identity, 32);
		pipe->call = x == caller;
		pipe->in = (uint32_t)(10 * (i + 1) + k);
		pipe->out = (uint32_t)(10 * (i + 1) + !k);
		memset(pipe->in_key, (int)pipe->in, PC_PIPE_KEY_LEN);
		memset(pipe->out_key, (int)pipe->out, PC_PIPE_KEY_LEN);
		pipe->mtu = 1400;
	}
	for (int k = 1; k >= 0; k--) {
		struct end *x = &s.ends[k == 0 ? caller - s.ends : caller->other - s.ends];

		assert_int_equal(pc_e2e_add_pipe(x->e, &x->pipes[i], x, s.now, &x->ways[i]), 0);
	}
	deliver();
}

static int set_up(void **state)
{
	struct mail *queue = s.queue ? s.queue : calloc(QUEUE, sizeof(*queue));

	assert_non_null(queue);
	assert_true(sodium_init() >= 0);
	memset(&s, 0, sizeof(s));
	s.queue = queue;
	s.now = WORLD_START;
	for (int k = 0; k < 2; k++) {
		s.ends[k].other = &s.ends[!k];
		s.ends[k].addr = world_address((uint8_t)(10 + k), 4000);
		start(&s.ends[k], (uint8_t)(1 + k));
	}
	return 0;
}

static int tear_down(void **state)
{
	pc_e2e_free(a->e);
	pc_e2e_free(b->e);
	free(s.queue);
	s.queue = NULL;
	return 0;
}

static struct pc_e2e_peer *peer_of(struct end *end)
{
	return pc_e2e_find(end->e, end->other->config.identity);
}

static void punch(void)
{
	pc_e2e_candidates(peer_of(a), 0, &b->addr, 1, s.now);
	pc_e2e_candidates(peer_of(b), 0, &a->addr, 1, s.now);
	pass(SECOND, false);
}

/* --- tests --- */

static void test_talk(void **state)
{
	assert_int_equal(send_number(a), PC_ERR_STATE);
	wire(0, a);
	assert_int_equal(a->readies, 1);
	assert_int_equal(b->readies, 1);
	pass(SECOND, true);
	assert_true(a->sent > 40 && b->sent > 40);
	assert_all_came(a);
	assert_all_came(b);
	assert_int_equal(s.direct, 0);
}

static void test_untrusted(void **state)
{
	b->trusts = false;
	wire(0, a);
	assert_int_equal(a->readies, 0);
	assert_int_equal(a->downs, 1);
	assert_int_equal(a->reason, PC_NATIVE_R_REFUSED);
	/* Not again at once, but later. */
	b->trusts = true;
	pass(2 * SECOND, false);
	assert_int_equal(a->readies, 1);
}

/* The relay says that the pipe is with somebody else than who answers. */
static void test_wrong_peer(void **state)
{
	uint8_t other[32];

	memset(other, 7, sizeof(other));
	for (int k = 0; k < 2; k++) {
		struct end *x = &s.ends[k];

		x->pipes[0] = (struct pc_agent_pipe){ .in = 1 + k, .out = 2 - k, .mtu = 1400 };
		memset(x->pipes[0].in_key, 1 + k, PC_PIPE_KEY_LEN);
		memset(x->pipes[0].out_key, 2 - k, PC_PIPE_KEY_LEN);
		memcpy(x->pipes[0].peer, k ? other : b->config.identity, 32);
		x->pipes[0].call = k == 0;
	}
	assert_int_equal(pc_e2e_add_pipe(b->e, &b->pipes[0], b, s.now, &b->ways[0]), 0);
	assert_int_equal(pc_e2e_add_pipe(a->e, &a->pipes[0], a, s.now, &a->ways[0]), 0);
	pass(SECOND, false);
	assert_int_equal(a->readies, 0);
	assert_int_equal(b->readies, 0);
	assert_int_equal(a->reason, PC_NATIVE_R_REFUSED);
}

static void test_renewal(void **state)
{
	wire(0, a);
	pass(400 * SECOND, true);
	assert_true(a->sent > 19000);
	assert_all_came(a);
	assert_all_came(b);
	assert_int_equal(a->downs + b->downs, 0);
}

/* Each begins a session at the same moment; what travels meanwhile crosses. */
static void test_both_renew(void **state)
{
	wire(0, a);
	wire(1, b);
	for (int round = 0; round < 20; round++) {
		/* Nothing was heard for a while: the next pipe brings a new session. */
		pass(2 * SECOND, false);
		for (int k = 0; k < 2; k++)
			pc_e2e_remove(s.ends[k].ways[k], s.now);
		for (int k = 0; k < 2; k++) {
			struct end *x = &s.ends[k];

			assert_int_equal(pc_e2e_add_pipe(x->e, &x->pipes[k], x, s.now, &x->ways[k]),
					 0);
		}
		for (int i = 0; i < 30; i++) {
			assert_int_equal(send_number(a), 0);
			assert_int_equal(send_number(b), 0);
			if (s.out < s.in)
				deliver_one();
		}
		deliver();
		pass(SECOND, true);
	}
	assert_all_came(a);
	assert_all_came(b);
}

/* Offers and their answers get lost: they are repeated until both agree. */
static void test_lost_hello(void **state)
{
	wire(0, a);
	pass(115 * SECOND, false);
	for (int i = 0; i < 400; i++) {
		s.broken[0] = i % 3 != 0;
		pass(20 * PC_NS_PER_MS, false);
	}
	s.broken[0] = false;
	pass(2 * SECOND, true);
	assert_all_came(a);
	assert_all_came(b);
	/* The keys of before have ended. */
	pass(60 * SECOND, true);
	assert_all_came(a);
	assert_all_came(b);
}

static void test_order_and_replay(void **state)
{
	struct mail held[200];

	wire(0, a);
	s.out = s.in;
	for (unsigned int i = 0; i < 200; i++) {
		assert_int_equal(send_number(a), 0);
		held[i] = s.queue[(s.in - 1) % QUEUE];
	}
	s.out = s.in;
	for (unsigned int i = 0; i < 200; i++)
		assert_int_equal(hand(&held[i * 77 % 200]), 0);
	assert_all_came(a);
	for (unsigned int i = 0; i < 200; i++)
		assert_int_equal(hand(&held[i]), PC_ERR_EXISTS);
	assert_all_came(a);
	/* Changed ones do not open, whatever is changed, and cost nothing. */
	assert_int_equal(send_number(a), 0);
	held[0] = s.queue[(s.in - 1) % QUEUE];
	s.out = s.in;
	held[1] = held[0];
	held[1].data[held[1].len - 1] ^= 1;
	assert_int_equal(hand(&held[1]), PC_ERR_AUTH);
	assert_int_equal(hand(&held[0]), 0);
	assert_all_came(a);
}

static void test_direct(void **state)
{
	struct pc_e2e_stats stats;
	unsigned int through;

	wire(0, a);
	pass(SECOND, true);
	assert_int_equal(s.direct, 0);
	punch();
	assert_true(pc_e2e_way(peer_of(a)) && !pc_e2e_way(peer_of(a))->pipe);
	assert_true(pc_e2e_way(peer_of(b)) && !pc_e2e_way(peer_of(b))->pipe);
	through = s.through[0];
	pass(300 * SECOND, true);
	assert_all_came(a);
	assert_all_came(b);
	assert_int_equal(s.through[0], through);
	pc_e2e_get_stats(a->e, &stats);
	assert_true(stats.sealed_direct > 14000);
	assert_int_equal(stats.resent, 0);
}

/* An address that nobody told us about: a NAT chose another port. */
static void test_moved(void **state)
{
	wire(0, a);
	punch();
	a->addr.port = 4999;
	pass(3 * SECOND, true);
	assert_all_came(a);
	assert_all_came(b);
	assert_true(!pc_e2e_way(peer_of(b))->pipe);
	assert_int_equal(pc_e2e_way(peer_of(b))->remote.port, 4999);
}

static void test_direct_lost(void **state)
{
	struct pc_e2e_stats stats;

	wire(0, a);
	punch();
	pass(SECOND, true);
	b->deaf = true;
	pass(SECOND, true);
	assert_non_null(pc_e2e_way(peer_of(a))->pipe);
	pc_e2e_get_stats(a->e, &stats);
	assert_true(stats.resent > 5);
	/* Once each, though part of it was sent twice. */
	assert_all_came(a);
	assert_all_came(b);
	b->deaf = false;
	pass(3 * SECOND, true);
	assert_null(pc_e2e_way(peer_of(a))->pipe);
	assert_all_came(a);
	assert_all_came(b);
}

/* Direct frames are only good where they belong. */
static void test_direct_forged(void **state)
{
	struct mail m;

	wire(0, a);
	punch();
	assert_int_equal(send_number(a), 0);
	m = s.queue[(s.in - 1) % QUEUE];
	assert_int_equal(m.pipe, -1);
	s.out = s.in;
	for (unsigned int i = 0; i < PC_PIPE_HEADER + 4; i++) {
		m.data[i] ^= 1;
		if (i > 0)
			assert_true(hand(&m) < 0);
		m.data[i] ^= 1;
	}
	assert_int_equal(hand(&m), 0);
	assert_int_equal(hand(&m), PC_ERR_EXISTS);
}

static void test_pipe_silent(void **state)
{
	uint64_t began;

	wire(0, a);
	pass(SECOND, true);
	s.broken[0] = true;
	began = s.now;
	while (!a->silences && s.now - began < 10 * SECOND)
		pass(20 * PC_NS_PER_MS, true);
	assert_true(s.now - began < 2 * SECOND);
	/* Another relay. */
	wire(1, a);
	b->sent = a->sent = 0;
	memset(a->got, 0, sizeof(a->got));
	memset(b->got, 0, sizeof(b->got));
	pass(SECOND, true);
	assert_all_came(a);
	assert_true(s.through[1] > 50);
	assert_true(b->sent > 40);
	assert_ptr_equal(pc_e2e_way(peer_of(b)), b->ways[1]);
	/* Pipes that say nothing because nobody talks are none of this. */
	a->silences = b->silences = 0;
	pass(50 * SECOND, false);
	pass(SECOND, true);
	assert_int_equal(a->silences + b->silences, 0);
}

/* The callee was started again: it knows neither session nor counters. */
static void test_restart(void **state)
{
	wire(0, a);
	pass(2 * SECOND, true);
	pc_e2e_free(b->e);
	memset(b->got, 0, sizeof(b->got));
	memset(a->got, 0, sizeof(a->got));
	b->ways[0] = NULL;
	a->sent = b->sent = 0;
	start(b, 2);
	pass(3 * SECOND, false);
	pc_e2e_remove(a->ways[0], s.now);
	wire(1, a);
	pass(SECOND, false);
	pass(SECOND, true);
	assert_all_came(a);
	assert_all_came(b);
	assert_true(a->sent > 40 && b->sent > 40);
}

static void test_end(void **state)
{
	wire(0, a);
	pc_e2e_close(peer_of(a), PC_NATIVE_R_SHUTDOWN, s.now);
	deliver();
	assert_int_equal(a->gones, 1);
	assert_int_equal(b->downs, 1);
	assert_int_equal(b->reason, PC_NATIVE_R_SHUTDOWN);
	assert_int_equal(send_number(b), PC_ERR_STATE);
	pc_e2e_remove(b->ways[0], s.now);
	assert_int_equal(b->gones, 1);
	assert_null(peer_of(b));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_talk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_untrusted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_peer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_renewal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_both_renew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lost_hello, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order_and_replay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_direct, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_moved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_direct_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_direct_forged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pipe_silent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end, set_up, tear_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
