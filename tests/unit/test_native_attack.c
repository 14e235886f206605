/* SPDX-License-Identifier: MIT */
/*
 * Native sessions under attack: what strangers cost, forged and repeated frames, cookies, tickets.
 * Looks into the machine to see that nothing is kept.
 */
#include "base/wire.h"
#include "native_trio.h"
#include "relay/native_int.h"

static void open_session(struct node *from, struct node *to, bool ik)
{
	world_connect(&w, from, to, ik);
	world_deliver(&w);
	assert_non_null(from->link);
	assert_non_null(to->link);
}

static void assert_nothing_kept(const struct node *node)
{
	assert_int_equal(node->n->n_links, 0);
	assert_int_equal(node->n->keys.count, 0);
	assert_int_equal(node->n->attempts.count, 0);
	assert_true(pc_native_next_deadline(node->n) == UINT64_MAX);
}

/* The first message of @from to @to, taken off the wire. */
static struct frame first_message(struct node *from, struct node *to, bool ik)
{
	world_connect(&w, from, to, ik);
	w.delivered = w.sent;
	return *world_last(&w);
}

static void test_no_state(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		struct frame f = first_message(a, b, ik);

		assert_int_equal(f.len, PC_NATIVE_FIRST_LEN);
		for (unsigned int i = 0; i < 1000; i++) {
			unsigned int sent = w.sent;

			f.from.ip = pc_ip4(198, 51, (uint8_t)(i >> 8), (uint8_t)i);
			w.now += PC_NS_PER_S / 50;
			world_hand(&w, b, &f.from, f.data, f.len);
			/* One answer, not larger than the question. */
			assert_int_equal(w.sent, sent + 1);
			assert_true(world_last(&w)->len <= f.len);
			w.delivered = w.sent;
		}
		assert_nothing_kept(b);
	}
}

/* Shorter first messages would make answers an amplifier. */
static void test_short_first(void **state)
{
	struct frame f = first_message(a, b, false);
	unsigned int sent = w.sent;
	uint8_t key[32];

	f.len = PC_NATIVE_FIRST_LEN - 1;
	pc_native_mac_key(b->config.identity, key);
	pc_native_mac(key, 32, f.data, f.len - 32, f.data + f.len - 32);
	world_hand(&w, b, &f.from, f.data, f.len);
	assert_int_equal(b->drops[PC_NATIVE_DROP_MALFORMED], 1);
	for (size_t len = 0; len < f.len; len++)
		world_hand(&w, b, &f.from, f.data, len);
	assert_int_equal(w.sent, sent);
}

/* Any byte changed: not one curve operation, not one answer. */
static void test_mac1_first(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		struct frame f = first_message(a, b, ik);
		unsigned int sent = w.sent;

		for (size_t i = 0; i < f.len - NATIVE_MAC_LEN; i++) {
			f.data[i] ^= 1;
			world_hand(&w, b, &f.from, f.data, f.len);
			f.data[i] ^= 1;
		}
		assert_int_equal(b->n->stats.curve_operations, 0);
		assert_int_equal(w.sent, sent);
		/* mac2 alone does not matter without load. */
		f.data[f.len - 1] ^= 1;
		world_hand(&w, b, &f.from, f.data, f.len);
		assert_int_equal(w.sent, sent + 1);
		w.delivered = w.sent;
		tear_down(NULL);
		set_up(NULL);
	}
}

/* Every byte of the second message and of the third: no session, and the true one still works. */
static void test_forged_answers(void **state)
{
	for (int k = 0; k < 4; k++) {
		bool ik = k & 1, third = k & 2;
		struct node *victim = third ? b : a;
		struct frame f;

		tear_down(NULL);
		set_up(NULL);
		world_connect(&w, a, b, ik);
		for (int i = 0; i < 1 + third; i++)
			world_deliver_one(&w);
		f = *world_last(&w);
		w.delivered = w.sent;
		for (size_t i = 0; i < f.len - (third ? 16 : 0); i++) {
			f.data[i] ^= 0x20;
			world_hand(&w, victim, &f.from, f.data, f.len);
			f.data[i] ^= 0x20;
			assert_int_equal(w.delivered, w.sent);
		}
		assert_int_equal(victim->ups, 0);
		if (third)
			assert_nothing_kept(b);
		world_hand(&w, victim, &f.from, f.data, f.len);
		world_deliver(&w);
		assert_int_equal(a->ups, 1);
		assert_int_equal(b->ups, 1);
	}
}

/*
 * On the path one can make a right mac1 for the second message. What Noise refuses does not end the
 * attempt.
 */
static void test_forged_with_mac(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		struct frame f;
		uint8_t key[32];

		tear_down(NULL);
		set_up(NULL);
		world_connect(&w, a, b, ik);
		memcpy(key, world_last(&w)->data + 8, 32);
		pc_native_mac_key(key, key);
		world_deliver_one(&w);
		f = *world_last(&w);
		w.delivered = w.sent;
		for (size_t i = 14 + (ik ? 208 : 176); i < f.len - NATIVE_MAC_LEN; i += 7) {
			struct frame forged = f;

			forged.data[i] ^= 4;
			pc_native_mac(key, 32, forged.data, f.len - 16, forged.data + f.len - 16);
			world_hand(&w, a, &f.from, forged.data, f.len);
		}
		assert_true(a->drops[PC_NATIVE_DROP_HANDSHAKE] > 5);
		assert_int_equal(a->ups, 0);
		world_hand(&w, a, &f.from, f.data, f.len);
		world_deliver(&w);
		assert_int_equal(a->ups, 1);
	}
}

static void test_forged_transport(void **state)
{
	unsigned int messages;
	struct frame f;

	open_session(a, b, false);
	say(a, 1);
	f = *world_last(&w);
	w.delivered = w.sent;
	messages = b->messages;
	for (size_t i = 0; i < f.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			f.data[i] ^= (uint8_t)(1 << bit);
			world_hand(&w, b, &f.from, f.data, f.len);
			f.data[i] ^= (uint8_t)(1 << bit);
		}
	}
	for (size_t len = 0; len < f.len; len++)
		world_hand(&w, b, &f.from, f.data, len);
	assert_int_equal(b->messages, messages);
	assert_int_equal(w.delivered, w.sent);
	assert_int_equal(b->moves, 0);
	/* A counter far ahead in a forged frame did not move the window. */
	world_hand(&w, b, &f.from, f.data, f.len);
	assert_int_equal(b->messages, messages + 1);
	/* One's own frame, reflected. */
	messages = a->messages;
	world_hand(&w, a, &f.to, f.data, f.len);
	assert_int_equal(a->messages, messages);
}

/* --- cookies --- */

static void under_load(struct node *node)
{
	pc_native_free(node->n);
	node->config.handshakes_per_s = 0;
	node_start(node);
}

static void test_cookie(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		tear_down(NULL);
		set_up(NULL);
		under_load(b);
		world_connect(&w, a, b, ik);
		world_deliver_one(&w);
		assert_int_equal(b->drops[PC_NATIVE_DROP_COOKIE], 1);
		assert_int_equal(b->n->stats.curve_operations, 0);
		assert_int_equal(world_last(&w)->len, NATIVE_COOKIE_FRAME);
		assert_nothing_kept(b);
		/* The initiator goes on at once; the third message has the cookie already. */
		world_deliver(&w);
		assert_int_equal(a->ups, 1);
		assert_int_equal(b->ups, 1);
		assert_int_equal(b->drops[PC_NATIVE_DROP_COOKIE], 1);
	}
}

static void test_cookie_of_another_address(void **state)
{
	struct pc_addr elsewhere = world_address(66, 4000);
	struct frame f;

	under_load(b);
	world_connect(&w, a, b, false);
	world_deliver_one(&w); /* asks for a cookie */
	world_deliver_one(&w); /* which comes back in mac2 */
	f = *world_last(&w);
	w.delivered = w.sent;
	world_hand(&w, b, &elsewhere, f.data, f.len);
	elsewhere = f.from;
	elsewhere.port++;
	world_hand(&w, b, &elsewhere, f.data, f.len);
	assert_int_equal(b->drops[PC_NATIVE_DROP_COOKIE], 3);
	assert_int_equal(b->n->stats.curve_operations, 0);
	world_hand(&w, b, &f.from, f.data, f.len);
	assert_int_equal(b->n->stats.curve_operations, 1);
	/* Cookies are good for two minutes, and two more. */
	w.now += 125 * PC_NS_PER_S;
	world_hand(&w, b, &f.from, f.data, f.len);
	assert_int_equal(b->n->stats.curve_operations, 2);
	w.now += 125 * PC_NS_PER_S;
	world_hand(&w, b, &f.from, f.data, f.len);
	assert_int_equal(b->n->stats.curve_operations, 2);
}

/* With a cookie, too, one source gets no more than its share. */
static void test_cookie_rate(void **state)
{
	struct frame f;

	under_load(b);
	world_connect(&w, a, b, false);
	world_deliver_one(&w);
	world_deliver_one(&w);
	f = *world_last(&w);
	w.delivered = w.sent;
	for (int i = 0; i < 1000; i++) {
		world_hand(&w, b, &f.from, f.data, f.len);
		w.delivered = w.sent;
	}
	/* 10 per second and bursts of two seconds. */
	assert_in_range(b->n->stats.curve_operations, 10, 21);
	assert_true(b->drops[PC_NATIVE_DROP_RATE] > 900);
}

/* A flood without cookies costs what the budget allows; who has one gets through. */
static void test_flood(void **state)
{
	struct frame f = first_message(c, b, true);

	pc_native_free(b->n);
	b->config.handshakes_per_s = 20;
	node_start(b);
	for (unsigned int i = 0; i < 5000; i++) {
		f.from.ip = pc_ip4(198, 51, (uint8_t)(i >> 8), (uint8_t)i);
		w.now += PC_NS_PER_S / 1000;
		world_hand(&w, b, &f.from, f.data, f.len);
		w.delivered = w.sent;
	}
	assert_in_range(b->n->stats.curve_operations, 90, 125);
	assert_nothing_kept(b);
	open_session(a, b, false);
}

/* A cookie for what we did not send, or from who does not know the mac1. */
static void test_forged_cookie(void **state)
{
	struct frame f;

	under_load(b);
	world_connect(&w, a, b, false);
	world_deliver_one(&w);
	f = *world_last(&w);
	w.delivered = w.sent;
	for (size_t i = 0; i < f.len; i++) {
		f.data[i] ^= 2;
		world_hand(&w, a, &f.from, f.data, f.len);
		f.data[i] ^= 2;
	}
	/* The version and reserved bytes of a cookie are not sealed. */
	assert_true(a->drops[PC_NATIVE_DROP_COOKIE] >= NATIVE_COOKIE_FRAME - 8);
	/* True cookies that do not help make no loop. */
	w.delivered = w.sent;
	for (int i = 0; i < 100; i++)
		world_hand(&w, a, &f.from, f.data, f.len);
	assert_true(w.sent - w.delivered <= 1);
}

/* --- tickets --- */

/* Runs a handshake up to the third message and returns that. */
static struct frame third_message(bool ik)
{
	world_connect(&w, a, b, ik);
	world_deliver_one(&w);
	world_deliver_one(&w);
	w.delivered = w.sent;
	return *world_last(&w);
}

static void test_third_repeated(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		struct frame f;
		unsigned int sent;

		tear_down(NULL);
		set_up(NULL);
		f = third_message(ik);
		world_hand(&w, b, &f.from, f.data, f.len);
		assert_int_equal(b->ups, 1);
		sent = w.sent;
		for (int i = 0; i < 10; i++) {
			world_hand(&w, b, &f.from, f.data, f.len);
			assert_true(world_last(&w)->len <= f.len);
		}
		assert_int_equal(b->ups, 1);
		assert_int_equal(w.sent, sent + 10);
		assert_int_equal(b->n->keys.count, 1);
		/* Too late. */
		w.delivered = w.sent;
		w.now += 11 * PC_NS_PER_S;
		world_hand(&w, b, &f.from, f.data, f.len);
		assert_int_equal(b->drops[PC_NATIVE_DROP_TICKET], 1);
		assert_int_equal(w.delivered, w.sent);
	}
}

/* The session is closed; its whole conversation once more does not bring it back. */
static void test_conversation_repeated(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		struct frame third, said;

		tear_down(NULL);
		set_up(NULL);
		third = third_message(ik);
		world_hand(&w, b, &third.from, third.data, third.len);
		world_deliver(&w);
		say(a, 1);
		said = *world_last(&w);
		world_deliver(&w);
		assert_int_equal(b->messages, 1);
		pc_native_close(b->n, b->link, PC_NATIVE_R_DONE, w.now);
		world_deliver(&w);
		assert_int_equal(b->n->n_links, 0);
		for (int i = 0; i < 120; i++) {
			world_hand(&w, b, &third.from, third.data, third.len);
			world_hand(&w, b, &said.from, said.data, said.len);
			w.now += PC_NS_PER_S / 10;
		}
		assert_int_equal(b->ups, 1);
		assert_int_equal(b->messages, 1);
		assert_int_equal(b->drops[PC_NATIVE_DROP_TICKET], 120);
		/* Nor is the index of it kept for ever. */
		pc_native_tick(b->n, w.now);
		assert_int_equal(b->n->keys.count, 0);
	}
}

static void test_ticket_of_another_address(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		struct pc_addr elsewhere = world_address(66, 4000);
		struct frame f;

		tear_down(NULL);
		set_up(NULL);
		f = third_message(ik);
		world_hand(&w, b, &elsewhere, f.data, f.len);
		assert_int_equal(b->drops[PC_NATIVE_DROP_TICKET], 1);
		assert_nothing_kept(b);
		/* Another relay, even with the same identity, cannot read it. */
		memcpy(c->config.identity, b->config.identity, 32);
		pc_native_free(c->n);
		node_start(c);
		world_hand(&w, c, &f.from, f.data, f.len);
		assert_int_equal(c->drops[PC_NATIVE_DROP_TICKET], 1);
	}
}

/* A recorded first message of somebody, repeated, changes nothing for them. */
static void test_first_repeated(void **state)
{
	struct frame f = first_message(a, b, true);

	w.delivered = w.sent - 1;
	world_deliver(&w);
	assert_int_equal(b->ups, 1);
	for (int i = 0; i < 50; i++) {
		w.now += PC_NS_PER_S / 10;
		world_hand(&w, b, &f.from, f.data, f.len);
		world_deliver(&w);
	}
	assert_int_equal(b->ups, 1);
	assert_int_equal(a->ups, 1);
	assert_int_equal(b->n->keys.count, 1);
	say(a, 9);
	world_deliver(&w);
	assert_int_equal(b->last.lifetime_s, 9);
}

/* Small messages in one frame do not make many answers. */
static void test_many_messages(void **state)
{
	uint8_t plain[PC_NATIVE_MAX_PLAIN] = { 0 };
	struct pc_writer wr;
	unsigned int sent;

	open_session(a, b, true);
	sent = w.sent;
	/* Each four bytes are a message: of type 0, then heartbeats. */
	pc_native_send_plain(a->n, a->link->current, &a->link->path, plain, sizeof(plain));
	world_deliver(&w);
	assert_int_equal(w.sent, sent + 2);
	pc_writer_init(&wr, plain, sizeof(plain));
	while (wr.len + 16 <= sizeof(plain)) {
		pc_write_u16(&wr, PC_NATIVE_HEARTBEAT);
		pc_write_u16(&wr, 12);
		pc_write_u16(&wr, PC_NATIVE_F_TOKEN);
		pc_write_u16(&wr, 8);
		pc_write_u64(&wr, wr.len);
	}
	sent = w.sent;
	pc_native_send_plain(a->n, a->link->current, &a->link->path, plain, wr.len);
	world_deliver(&w);
	assert_int_equal(w.sent, sent + 1 + PC_NATIVE_MAX_MESSAGES);
}

/* A million forged or repeated frames: nothing is believed. */
static void test_million(void **state)
{
	struct frame f, forged;
	uint64_t x = 88172645463325252ull;
	unsigned int messages;

	open_session(a, b, true);
	say(a, 1);
	f = *world_last(&w);
	world_deliver(&w);
	messages = b->messages;
	for (int i = 0; i < 1000000; i++) {
		struct pc_native_path path = { .local = b->addr, .remote = f.from };

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		forged = f;
		if (i & 1) {
			forged.data[15] = (uint8_t)(2 + x % 200); /* a fresh counter */
			memcpy(forged.data + 16, &x, 8);
		}
		path.remote.port = (uint16_t)x;
		pc_native_input(b->n, &path, forged.data, forged.len, w.now, w.realtime_s);
	}
	assert_int_equal(b->messages, messages);
	assert_int_equal(b->moves, 0);
	assert_int_equal(b->drops[PC_NATIVE_DROP_REPLAY], 500000);
	assert_int_equal(b->drops[PC_NATIVE_DROP_AUTH], 500000);
	assert_int_equal(w.delivered, w.sent);
	say(a, 9);
	world_deliver(&w);
	assert_int_equal(b->messages, messages + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(test_no_state),
		TEST(test_short_first),
		TEST(test_mac1_first),
		TEST(test_forged_answers),
		TEST(test_forged_with_mac),
		TEST(test_forged_transport),
		TEST(test_cookie),
		TEST(test_cookie_of_another_address),
		TEST(test_cookie_rate),
		TEST(test_flood),
		TEST(test_forged_cookie),
		TEST(test_third_repeated),
		TEST(test_conversation_repeated),
		TEST(test_ticket_of_another_address),
		TEST(test_first_repeated),
		TEST(test_many_messages),
		TEST(test_million),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
