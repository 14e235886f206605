/* SPDX-License-Identifier: MIT */
/* Conversations between native machines: how sessions begin, go on, move and end. */
#include "native_trio.h"

static void assert_talk(struct node *from, struct node *to)
{
	unsigned int before = to->messages;

	say(from, 4711);
	world_deliver(&w);
	assert_int_equal(to->messages, before + 1);
	assert_int_equal(to->last.type, PC_NATIVE_REGISTER);
	assert_int_equal(to->last.lifetime_s, 4711);
}

static void assert_up(struct node *x, struct node *y)
{
	assert_non_null(x->link);
	assert_non_null(y->link);
	assert_true(pc_native_is_up(x->link) && pc_native_is_up(y->link));
	assert_memory_equal(pc_native_identity(x->link), y->config.identity, 32);
	assert_memory_equal(pc_native_identity(y->link), x->config.identity, 32);
	assert_memory_equal(pc_native_static_key(x->link), y->static_public, 32);
	assert_memory_equal(pc_native_static_key(y->link), x->static_public, 32);
	assert_talk(x, y);
	assert_talk(y, x);
}

static void assert_same_export(struct node *x, struct node *y)
{
	uint8_t one[32], two[32], other[32];

	assert_int_equal(pc_native_export(x->link, "label", "c", 1, one), 0);
	assert_int_equal(pc_native_export(y->link, "label", "c", 1, two), 0);
	assert_memory_equal(one, two, 32);
	assert_int_equal(pc_native_export(y->link, "label", "d", 1, other), 0);
	assert_memory_not_equal(one, other, 32);
}

static void open_session(struct node *from, struct node *to, bool ik)
{
	world_connect(&w, from, to, ik);
	world_deliver(&w);
	assert_up(from, to);
}

static void test_xx(void **state)
{
	open_session(a, b, false);
	assert_true(pc_native_is_initiator(a->link));
	assert_false(pc_native_is_initiator(b->link));
	assert_int_equal(a->ups, 1);
	assert_int_equal(b->ups, 1);
	assert_same_export(a, b);
	/* The address under which the initiator is seen is the first thing it hears. */
	assert_int_equal(a->renewals + b->renewals + a->downs + b->downs, 0);
}

static void test_ik(void **state)
{
	memset(a->psk, 7, 32);
	memset(b->psk, 7, 32);
	open_session(a, b, true);
	assert_same_export(a, b);
	assert_ptr_equal(pc_native_find(b->n, a->config.identity), b->link);
	assert_null(pc_native_find(b->n, c->config.identity));
}

/* Its static key is learned by XX, and nothing else: the session is one of IKpsk2. */
static void test_psk_first_contact(void **state)
{
	memset(a->psk, 7, 32);
	memset(b->psk, 7, 32);
	world_connect(&w, a, b, false);
	world_deliver(&w);
	assert_up(a, b);
	assert_int_equal(a->ups, 1);
	assert_int_equal(b->ups, 1);
	assert_same_export(a, b);
	for (unsigned int i = 0; i < w.sent && i < WORLD_FRAMES; i++)
		assert_int_not_equal(w.wire[i].data[0], PC_NATIVE_XX3);
	/* And it is renewed as others are. */
	world_pass(&w, 125 * PC_NS_PER_S);
	assert_int_equal(a->renewals, 1);
	assert_int_equal(a->downs + b->downs, 0);
}

/* With a pre-shared key there is no way around it: neither a wrong one nor XX. */
static void test_wrong_psk(void **state)
{
	memset(a->psk, 7, 32);
	memset(b->psk, 8, 32);
	world_connect(&w, a, b, true);
	world_pass(&w, 100 * PC_NS_PER_S);
	assert_int_equal(a->ups + b->ups, 0);
	assert_int_equal(a->downs, 1);
	assert_int_equal(a->reason, PC_NATIVE_R_WRONG_KEY);

	memset(a->psk, 0, 32);
	world_connect(&w, a, b, false);
	world_deliver(&w);
	assert_int_equal(a->ups + b->ups, 0);
	assert_int_equal(a->reason, PC_NATIVE_R_REFUSED);
	/* Nor with one that the other side has not. */
	memset(a->psk, 7, 32);
	memset(b->psk, 0, 32);
	for (int ik = 0; ik < 2; ik++) {
		world_connect(&w, a, b, ik);
		world_pass(&w, 100 * PC_NS_PER_S);
		assert_int_equal(a->ups + b->ups, 0);
		assert_int_equal(a->reason, PC_NATIVE_R_WRONG_KEY);
	}
}

/* What arrives first, second or third may be lost: each is repeated. */
static void test_losses(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		for (unsigned int lost = 0; lost < 4; lost++) {
			tear_down(NULL);
			set_up(NULL);
			w.lose = 1u << lost;
			world_connect(&w, a, b, ik);
			world_pass(&w, 5 * PC_NS_PER_S);
			w.lose = 0;
			assert_up(a, b);
			assert_int_equal(a->ups, 1);
			assert_int_equal(b->ups, 1);
		}
	}
	/* Half of everything, in two rhythms. */
	for (int k = 0; k < 2; k++) {
		tear_down(NULL);
		set_up(NULL);
		w.lose = k ? 0xf0f0a5a5 : 0x5a5a3333;
		world_connect(&w, a, b, k);
		world_pass(&w, 60 * PC_NS_PER_S);
		w.lose = 0;
		world_pass(&w, 60 * PC_NS_PER_S);
		assert_up(a, b);
	}
}

static void test_nobody_answers(void **state)
{
	w.lose = ~0u;
	world_connect(&w, a, b, true);
	world_pass(&w, 85 * PC_NS_PER_S);
	assert_int_equal(a->downs, 0);
	/* 1 s, 2 s, 4 s, then every 8 s or a little more. */
	assert_in_range(w.sent, 10, 16);
	world_pass(&w, 20 * PC_NS_PER_S);
	assert_int_equal(a->downs, 1);
	assert_int_equal(a->reason, PC_NATIVE_R_TIMEOUT);
	assert_true(pc_native_next_deadline(a->n) == UINT64_MAX);
}

/* The one at the address is somebody else. */
static void test_wrong_key(void **state)
{
	struct pc_native_path path = { .local = a->addr, .remote = b->addr };
	struct pc_native_link *link;

	/* It does not even know whom we ask for. */
	assert_int_equal(pc_native_connect(a->n, c->config.identity, NULL, &path, w.now, &link), 0);
	world_deliver(&w);
	assert_int_equal(b->drops[PC_NATIVE_DROP_MAC1], 1);
	assert_int_equal(w.sent, 1);
	world_pass(&w, 100 * PC_NS_PER_S);
	assert_int_equal(a->reason, PC_NATIVE_R_TIMEOUT);

	/* It pretends to be that one, but cannot sign. */
	pc_native_free(b->n);
	memcpy(b->config.identity, c->config.identity, 32);
	node_start(b);
	assert_int_equal(pc_native_connect(a->n, c->config.identity, NULL, &path, w.now, &link), 0);
	world_pass(&w, 100 * PC_NS_PER_S);
	assert_int_equal(a->ups, 0);
	assert_true(a->drops[PC_NATIVE_DROP_HANDSHAKE] > 0);
	assert_int_equal(a->reason, PC_NATIVE_R_WRONG_KEY);
}

/* The statement of somebody else does not help either. */
static void test_stolen_statement(void **state)
{
	pc_native_free(b->n);
	memcpy(b->config.identity, c->config.identity, 32);
	memcpy(b->config.statement, c->config.statement, PC_STATEMENT_LEN);
	node_start(b);
	/* As initiator it would be c. */
	world_connect(&w, b, a, false);
	world_deliver(&w);
	assert_int_equal(a->drops[PC_NATIVE_DROP_HANDSHAKE], 1);
	world_connect(&w, b, a, true);
	world_deliver(&w);
	assert_int_equal(a->drops[PC_NATIVE_DROP_HANDSHAKE], 2);
	assert_int_equal(a->ups, 0);
}

static void test_refused(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		a->downs = 0;
		b->trusts = false;
		world_connect(&w, a, b, ik);
		world_deliver(&w);
		assert_int_equal(a->ups + b->ups, 0);
		assert_int_equal(a->downs, 1);
		assert_int_equal(a->reason, PC_NATIVE_R_REFUSED);
		assert_null(pc_native_find(b->n, a->config.identity));
	}
	assert_int_equal(b->drops[PC_NATIVE_DROP_UNTRUSTED], 2);
	b->trusts = true;
	open_session(a, b, true);
	/* Trust withdrawn: the session ends when it is renewed, at the latest. */
	b->trusts = false;
	world_pass(&w, 125 * PC_NS_PER_S);
	assert_int_equal(a->reason, PC_NATIVE_R_REFUSED);
	assert_null(a->link);
	world_pass(&w, 60 * PC_NS_PER_S);
	assert_null(b->link);
}

static void test_rekey(void **state)
{
	uint8_t before[32], after[32];

	open_session(a, b, false);
	assert_int_equal(pc_native_export(a->link, "x", NULL, 0, before), 0);
	world_pass(&w, 119 * PC_NS_PER_S);
	assert_int_equal(a->renewals, 0);
	world_pass(&w, 2 * PC_NS_PER_S);
	assert_int_equal(a->renewals, 1);
	assert_int_equal(b->renewals, 1);
	assert_int_equal(pc_native_export(a->link, "x", NULL, 0, after), 0);
	assert_memory_not_equal(before, after, 32);
	assert_up(a, b);
	/* For an hour. */
	world_pass(&w, 3600 * PC_NS_PER_S);
	assert_int_equal(a->downs + b->downs, 0);
	assert_in_range(a->renewals, 29, 31);
	assert_up(a, b);
}

/* What was under way when the keys changed still arrives. */
static void test_rekey_in_flight(void **state)
{
	struct frame kept;
	unsigned int before;

	open_session(a, b, true);
	say(a, 1);
	kept = *world_last(&w);
	world_lose(&w);
	world_connect(&w, a, b, true);
	world_deliver(&w);
	assert_int_equal(b->renewals, 1);
	before = b->messages;
	world_hand(&w, b, &kept.from, kept.data, kept.len);
	assert_int_equal(b->messages, before + 1);
	world_hand(&w, b, &kept.from, kept.data, kept.len);
	assert_int_equal(b->messages, before + 1);
	assert_int_equal(b->drops[PC_NATIVE_DROP_REPLAY], 1);
}

/* The old session is in force until the new one is proven. */
static void test_old_until_new(void **state)
{
	unsigned int at;

	open_session(a, b, true);
	at = w.sent;
	world_connect(&w, a, b, true);
	for (int i = 0; i < 2; i++) {
		world_deliver_one(&w); /* first, second */
		assert_int_equal(b->renewals + a->renewals, 0);
	}
	say(a, 5); /* under the old keys, before the third message arrives */
	assert_int_equal(w.sent, at + 4);
	w.delivered++; /* the third one is lost */
	world_deliver(&w);
	assert_int_equal(b->last.lifetime_s, 5);
	assert_int_equal(b->renewals, 0);
	assert_talk(b, a);
	world_pass(&w, 3 * PC_NS_PER_S);
	assert_int_equal(a->renewals, 1);
	assert_int_equal(b->renewals, 1);
}

static void test_hard_stop(void **state)
{
	struct pc_native_msg m = { .type = PC_NATIVE_REGISTER };
	struct frame kept;

	open_session(a, b, false);
	say(a, 1);
	kept = *world_last(&w);
	world_lose(&w);
	w.lose = ~0u;
	world_pass(&w, 179 * PC_NS_PER_S);
	assert_int_equal(a->downs + b->downs, 0);
	assert_int_equal(pc_native_send(b->n, b->link, &m, w.now), 0);
	world_pass(&w, 2 * PC_NS_PER_S);
	assert_int_equal(b->downs, 1);
	assert_int_equal(b->reason, PC_NATIVE_R_TIMEOUT);
	world_hand(&w, b, &kept.from, kept.data, kept.len);
	assert_int_equal(b->drops[PC_NATIVE_DROP_SESSION], 1);
	/* The initiator tries for a while. */
	world_pass(&w, 60 * PC_NS_PER_S);
	assert_int_equal(a->downs, 1);
	assert_int_equal(a->reason, PC_NATIVE_R_TIMEOUT);
}

/* Also when the timers are late. */
static void test_hard_stop_late(void **state)
{
	struct pc_native_msg m = { .type = PC_NATIVE_REGISTER };
	struct frame kept;

	open_session(a, b, false);
	say(a, 1);
	kept = *world_last(&w);
	world_lose(&w);
	w.now += PC_NATIVE_HARD_STOP;
	b->messages = 0;
	world_hand(&w, b, &kept.from, kept.data, kept.len);
	assert_int_equal(b->messages, 0);
	assert_int_equal(b->drops[PC_NATIVE_DROP_SESSION], 1);
	assert_int_equal(pc_native_send(b->n, b->link, &m, w.now), PC_ERR_STATE);
}

/* A responder that was restarted knows nothing, and says nothing; the heartbeats tell. */
static void test_responder_restarts(void **state)
{
	open_session(a, b, false);
	pc_native_free(b->n);
	b->link = NULL;
	node_start(b);
	world_pass(&w, 33 * PC_NS_PER_S);
	assert_int_equal(a->downs, 0);
	assert_int_equal(a->renewals, 1);
	assert_int_equal(b->ups, 2);
	assert_up(a, b);
}

/* A new static key: IK is not understood, XX finds out. */
static void test_static_key_changes(void **state)
{
	uint8_t old[32];

	memcpy(old, b->static_public, 32);
	pc_native_free(b->n);
	memset(b->config.static_secret, 99, 32);
	{
		struct pc_noise_keypair pair;

		pc_noise_keypair(b->config.static_secret, &pair);
		memcpy(b->static_public, pair.public_key, 32);
	}
	pc_statement_make(b->secret_key, b->static_public, 0, WORLD_FOREVER, b->config.statement);
	node_start(b);
	{
		struct pc_native_path path = { .local = a->addr, .remote = b->addr };
		struct pc_native_link *link;

		assert_int_equal(
			pc_native_connect(a->n, b->config.identity, old, &path, w.now, &link), 0);
	}
	world_pass(&w, 15 * PC_NS_PER_S);
	assert_up(a, b);
}

static void test_rebinding(void **state)
{
	struct pc_addr old = a->addr, fresh = world_address(77, 5555);
	struct frame kept;

	open_session(a, b, false);
	say(a, 1);
	kept = *world_last(&w);
	world_deliver(&w);
	/* The NAT gives another port: the first authenticated frame moves the session. */
	a->addr = fresh;
	say(a, 2);
	world_last(&w)->from = fresh;
	world_deliver(&w);
	assert_int_equal(b->moves, 1);
	assert_true(pc_addr_equal(&pc_native_path(b->link)->remote, &fresh));
	assert_talk(b, a);
	/* A repeated frame from elsewhere does not, */
	world_hand(&w, b, &old, kept.data, kept.len);
	/* nor a forged one, */
	kept.data[15] ^= 0x80;
	world_hand(&w, b, &old, kept.data, kept.len);
	/* nor a genuine one that comes late. */
	say(a, 3);
	kept = *world_last(&w);
	world_lose(&w);
	say(a, 4);
	world_deliver(&w);
	world_hand(&w, b, &old, kept.data, kept.len);
	assert_int_equal(b->last.lifetime_s, 3);
	assert_int_equal(b->moves, 1);
	assert_true(pc_addr_equal(&pc_native_path(b->link)->remote, &fresh));
}

static void test_reordering(void **state)
{
	unsigned int first, before;

	open_session(a, b, true);
	before = b->messages;
	first = w.sent;
	for (uint32_t i = 0; i < 200; i++)
		say(a, i);
	for (unsigned int i = 0; i < 200; i++) {
		struct frame f = w.wire[(first + 199 - i) % WORLD_FRAMES];

		world_hand(&w, b, &f.from, f.data, f.len);
		assert_int_equal(b->last.lifetime_s, 199 - i);
	}
	assert_int_equal(b->messages, before + 200);
	world_deliver(&w); /* all once more */
	assert_int_equal(b->messages, before + 200);
	assert_int_equal(b->drops[PC_NATIVE_DROP_REPLAY], 200);
}

/* Without a clock validity is not judged, everything else is. */
static void test_clock(void **state)
{
	pc_statement_make(b->secret_key, b->static_public, WORLD_NOW_S - 20, WORLD_NOW_S - 10,
			  b->config.statement);
	pc_native_set_statement(b->n, b->config.statement);
	world_connect(&w, a, b, false);
	world_deliver(&w);
	assert_int_equal(a->drops[PC_NATIVE_DROP_HANDSHAKE], 1);
	assert_int_equal(a->ups, 0);
	world_connect(&w, b, c, false);
	world_deliver(&w);
	assert_int_equal(c->drops[PC_NATIVE_DROP_HANDSHAKE], 1);
	assert_int_equal(c->ups, 0);
	w.realtime_s = 0;
	open_session(a, b, false);
}

/* Both at the same moment: one session or two, but they can talk, and go on to. */
static void test_at_once(void **state)
{
	for (int ik = 0; ik < 2; ik++) {
		tear_down(NULL);
		set_up(NULL);
		world_connect(&w, a, b, ik);
		world_connect(&w, b, a, ik);
		world_deliver(&w);
		assert_up(a, b);
		world_pass(&w, 400 * PC_NS_PER_S);
		assert_int_equal(a->downs + b->downs, 0);
		assert_up(a, b);
	}
}

static void test_close(void **state)
{
	open_session(a, b, false);
	pc_native_close(b->n, b->link, PC_NATIVE_R_SHUTDOWN, w.now);
	assert_int_equal(b->reason, PC_NATIVE_R_DONE);
	world_deliver(&w);
	assert_int_equal(a->reason, PC_NATIVE_R_SHUTDOWN);
	assert_int_equal(a->downs, 1);
	assert_int_equal(b->downs, 1);
	assert_true(pc_native_next_deadline(a->n) == UINT64_MAX);

	/* From inside a callback. */
	open_session(a, b, false);
	b->close_on_message = true;
	say(a, 1);
	world_deliver(&w);
	assert_int_equal(a->downs, 2);
	assert_int_equal(b->downs, 2);
}

static void test_full(void **state)
{
	struct pc_native_path path = { .local = b->addr, .remote = world_address(200, 1) };
	struct pc_native_link *link;

	pc_native_free(b->n);
	b->config.max_links = 1;
	node_start(b);
	open_session(a, b, false);
	world_connect(&w, c, b, false);
	world_deliver(&w);
	assert_int_equal(b->drops[PC_NATIVE_DROP_FULL], 1);
	assert_int_equal(c->ups, 0);
	assert_int_equal(pc_native_connect(b->n, c->config.identity, NULL, &path, w.now, &link),
			 PC_ERR_FULL);
	assert_up(a, b);
}

/* Raw plaintext under the session of a, by way of the messages it can send. */
static void test_unknown_messages(void **state)
{
	struct pc_native_msg m = { .type = 0x7000 };

	open_session(a, b, false);
	assert_int_equal(pc_native_send(a->n, a->link, &m, w.now), 0);
	world_deliver(&w);
	assert_int_equal(a->last.type, PC_NATIVE_ERROR);
	assert_int_equal(a->last.about, 0x7000);
	assert_int_equal(a->last.reason, PC_NATIVE_R_UNKNOWN_TYPE);
	/* Optional: skipped without a word. */
	a->messages = 0;
	m.type = 0x7000 | PC_NATIVE_OPTIONAL;
	assert_int_equal(pc_native_send(a->n, a->link, &m, w.now), 0);
	world_deliver(&w);
	assert_int_equal(a->messages, 0);
	/* A field is missing. */
	m.type = PC_NATIVE_CONNECT;
	assert_int_equal(pc_native_send(a->n, a->link, &m, w.now), 0);
	world_deliver(&w);
	assert_int_equal(a->last.about, PC_NATIVE_CONNECT);
	assert_int_equal(a->last.reason, PC_NATIVE_R_MALFORMED);
	/* No complaints about complaints. */
	a->messages = 0;
	m.type = PC_NATIVE_ERROR;
	assert_int_equal(pc_native_send(a->n, a->link, &m, w.now), 0);
	world_deliver(&w);
	assert_int_equal(a->messages, 0);
	assert_up(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(test_xx),
		TEST(test_ik),
		TEST(test_psk_first_contact),
		TEST(test_wrong_psk),
		TEST(test_losses),
		TEST(test_nobody_answers),
		TEST(test_wrong_key),
		TEST(test_stolen_statement),
		TEST(test_refused),
		TEST(test_rekey),
		TEST(test_rekey_in_flight),
		TEST(test_old_until_new),
		TEST(test_hard_stop),
		TEST(test_hard_stop_late),
		TEST(test_responder_restarts),
		TEST(test_static_key_changes),
		TEST(test_rebinding),
		TEST(test_reordering),
		TEST(test_clock),
		TEST(test_at_once),
		TEST(test_close),
		TEST(test_full),
		TEST(test_unknown_messages),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
