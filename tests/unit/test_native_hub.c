/* SPDX-License-Identifier: MIT */
/* Two agents and a hub: registration, consent, pipes with frames through them end to end. */
#include "native_hub_bed.h"

static void test_pipe(void **state)
{
	open_pipe();
	assert_string_equal(pc.service, "udp:51820");
	assert_memory_equal(pa.pipe->peer, c->config.identity, 32);
	assert_memory_equal(pc.pipe->peer, a->config.identity, 32);
	assert_int_equal(pa.pipe->mtu, 1400);
	assert_int_equal(relay.pipes, 1);
	for (int i = 0; i < 20; i++) {
		assert_passes(&pa, &pc, "hello");
		assert_passes(&pc, &pa, "hello yourself, at some more length");
	}
	/* Pipes outlive the keys of the sessions they were made in. */
	world_pass(&w, 1000 * PC_NS_PER_S);
	assert_true(a->renewals > 5);
	assert_passes(&pa, &pc, "still");
	assert_passes(&pc, &pa, "here");
	pc_agent_close(pa.agent, pa.pipe, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pc.downs, 1);
	assert_int_equal(pa.downs, 0);
}

static void test_forged_frames(void **state)
{
	uint8_t frame[256], copy[256];
	struct pc_agent_pipe *pipe;
	struct pc_pipe_frame f;
	size_t len;

	open_pipe();
	len = write_frame(pa.pipe, frame, "hello");
	for (size_t i = 0; i < PC_PIPE_HEADER; i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, frame, len);
			copy[i] ^= (uint8_t)(1 << bit);
			assert_true(forward(copy, len) < 0);
		}
	}
	/* The length is under the tag as well. */
	assert_int_equal(forward(frame, len - 1), PC_ERR_AUTH);
	memcpy(copy, frame, len);
	assert_int_equal(forward(copy, len + 1), PC_ERR_AUTH);
	for (size_t i = 0; i < PC_PIPE_HEADER; i++)
		assert_int_equal(forward(frame, i), PC_ERR_MALFORMED);
	/* Past the relay, without its tag for this hop. */
	assert_int_equal(pc_agent_frame(pc.agent, frame, len, &f, &pipe), PC_ERR_NOT_FOUND);
	memcpy(copy, frame, len);
	pc_pipe_forward(copy, len, pc.pipe->in, pa.pipe->out_key);
	assert_int_equal(pc_agent_frame(pc.agent, copy, len, &f, &pipe), PC_ERR_AUTH);
	/* The other direction has other keys. */
	memcpy(copy, frame, len);
	pc_pipe_forward(copy, len, pc.pipe->out, pa.pipe->out_key);
	assert_int_equal(forward(copy, len), PC_ERR_AUTH);
	assert_int_equal(forward(frame, len), 0);
	assert_int_equal(pc_agent_frame(pc.agent, frame, len, &f, &pipe), 0);
}

static void test_no_consent(void **state)
{
	pc.allows = false;
	call(&pa, NULL);
	assert_string_equal(pc.service, "(none)");
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
	assert_int_equal(relay.pipes + pa.ups + pc.ups, 0);
	/* The relay's own policy; the other one is not even asked. */
	pc.service[0] = '\0';
	pc.allows = relay.denies = true;
	call(&pa, "x");
	assert_int_equal(pa.refusals, 2);
	assert_string_equal(pc.service, "");
	relay.denies = false;
	relay.full = true;
	call(&pa, "x");
	assert_int_equal(pa.refusals, 3);
	assert_int_equal(pa.reason, PC_NATIVE_R_FULL);
	relay.full = false;
	open_pipe();
}

static void test_unknown_peer(void **state)
{
	uint8_t nobody[32] = { 9 };

	assert_int_equal(pc_agent_connect(pa.agent, nobody, NULL, NULL, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_UNKNOWN_PEER);
	/* To oneself. */
	assert_int_equal(
		pc_agent_connect(pa.agent, a->config.identity, NULL, NULL, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
	assert_int_equal(pa.refusals, 2);
	assert_int_equal(pc_agent_connect(pa.agent, nobody, "", NULL, w.now, &pa.call),
			 PC_ERR_RANGE);
}

/* The callee is there but says nothing. */
static void test_no_answer(void **state)
{
	struct pc_hub_stats st;

	c->on_message = NULL;
	call(&pa, NULL);
	pc_hub_get_stats(hub, &st);
	assert_int_equal(st.calls, 1);
	world_pass(&w, 21 * PC_NS_PER_S);
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_TIMEOUT);
	pc_hub_get_stats(hub, &st);
	assert_int_equal(st.calls, 0);
	/* The relay is silent, too. */
	r->on_message = NULL;
	call(&pa, NULL);
	world_pass(&w, 31 * PC_NS_PER_S);
	assert_int_equal(pa.refusals, 2);
}

static void test_quota(void **state)
{
	for (int i = 0; i < 3; i++)
		call(&pa, NULL);
	assert_int_equal(pa.ups, 3);
	call(&pa, NULL);
	assert_int_equal(pa.reason, PC_NATIVE_R_FULL);
	assert_int_equal(pa.refusals, 1);
	/* What is held counts for who asked for it, not for who was asked. */
	call(&pc, NULL);
	assert_int_equal(pc.ups, 4);
	assert_int_equal(pc_agent_connect(pc.agent, a->config.identity, NULL, NULL, w.now,
					  &pc.call),
			 PC_ERR_FULL);
}

static void test_other_end_goes(void **state)
{
	open_pipe();
	pc_native_close(c->n, c->link, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(pc.downs, 1);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
	assert_int_equal(relay.pipes, 0);
	assert_false(pc_hub_registered(hub, c->config.identity));
	/* While a call waits. */
	world_connect(&w, c, r, false);
	world_deliver(&w);
	c->on_message = NULL;
	call(&pa, NULL);
	pc_native_close(c->n, c->link, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
}

/* One peer cannot close, or listen to, what belongs to others. */
static void test_not_ones_own(void **state)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_CLOSE,
				     .has = 1u << PC_NATIVE_F_PIPE_TO | 1u << PC_NATIVE_F_REASON };
	struct pc_native_msg accept = { .type = PC_NATIVE_ACCEPT,
					.has = 1u << PC_NATIVE_F_CALL | 1u << PC_NATIVE_F_PIPE,
					.pipe = 77 };

	open_pipe();
	msg.pipe_to = pc.pipe->out; /* the relay's index of the other end */
	assert_int_equal(pc_native_send(a->n, a->link, &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 1);
	assert_int_equal(pa.downs + pc.downs, 0);
	/* The caller cannot accept its own call, whatever its number. */
	c->on_message = NULL;
	call(&pa, NULL);
	accept.call = c->last.call;
	assert_int_equal(pc_native_send(a->n, a->link, &accept, w.now), 0);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 1);
	assert_int_equal(pa.ups, 1);
}

/* The relay cannot push pipes on a peer, nor another peer than was asked for. */
static void test_pushed_pipe(void **state)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_OPENED,
				     .has = 1u << PC_NATIVE_F_CALL | 1u << PC_NATIVE_F_PIPE |
					    1u << PC_NATIVE_F_PIPE_TO | 1u << PC_NATIVE_F_PEER |
					    1u << PC_NATIVE_F_MTU,
				     .call = 1,
				     .pipe = 5,
				     .pipe_to = 6,
				     .peer = a->config.identity,
				     .mtu = 100 };

	assert_int_equal(
		pc_native_send(r->n, pc_native_find(r->n, a->config.identity), &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 0);
	r->on_message = NULL;
	call(&pa, NULL);
	msg.call = pa.call;
	msg.pipe_to = r->last.pipe;
	assert_int_equal(
		pc_native_send(r->n, pc_native_find(r->n, a->config.identity), &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 0);
	msg.peer = c->config.identity;
	assert_int_equal(
		pc_native_send(r->n, pc_native_find(r->n, a->config.identity), &msg, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 1);
}

static void test_port(void **state)
{
	struct pc_addr remote = world_address(200, 53);

	assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 1);
	assert_int_equal(pa.pipe->relayed.port, 50000);
	assert_true(pc_addr_equal(&relay.last->ends[1].remote, &remote));
	assert_true(pc_addr_equal(&pa.pipe->remote, &remote));
	assert_null(relay.last->ends[1].link);
	pc_hub_pipe_close(hub, relay.last, PC_NATIVE_R_EXPIRED, w.now);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(relay.pipes, 0);
	relay.no_ports = true;
	assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
}

static void test_candidates_and_receipts(void **state)
{
	struct pc_addr list[2] = { world_address(1, 1), world_address(2, 2) };
	uint8_t receipt[PC_NATIVE_RECEIPT_LEN] = { [135] = 35 };

	open_pipe();
	assert_int_equal(pc_agent_send_candidates(pa.agent, pa.pipe, list, 2, w.now), 0);
	world_deliver(&w);
	assert_int_equal(pc.n_candidates, 2);
	assert_true(pc_addr_equal(&pc.candidates[1], &list[1]));
	assert_true(pc_addr_equal(&pc.observed, &a->addr));
	assert_int_equal(pc_agent_send_receipt(pa.agent, receipt, w.now), 0);
	assert_int_equal(pc_hub_meter(hub, relay.last, 0, 1ull << 40, 7, w.now), 0);
	world_deliver(&w);
	assert_int_equal(relay.receipts, 1);
	assert_int_equal(pa.meters, 1);
}

static void test_moved(void **state)
{
	open_pipe();
	a->addr.port = 4999;
	assert_int_equal(pc_agent_send_candidates(pa.agent, pa.pipe, NULL, 0, w.now), 0);
	world_last(&w)->from = a->addr;
	world_deliver(&w);
	assert_int_equal(relay.again, 1);
	assert_int_equal(relay.last->ends[0].path.remote.port, 4999);
	assert_passes(&pa, &pc, "x");
}

/* Registrations run out when a peer falls silent, before its session does. */
static void test_registration_lapses(void **state)
{
	struct pc_hub_stats st;

	world_pass(&w, 500 * PC_NS_PER_S);
	assert_true(pa.registrations > 6);
	a->on_tick = NULL;
	a->on_up = NULL;
	world_pass(&w, 130 * PC_NS_PER_S);
	assert_false(pc_hub_registered(hub, a->config.identity));
	pc_hub_get_stats(hub, &st);
	assert_int_equal(st.registered, 1);
	assert_int_equal(r->downs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(test_pipe),
		TEST(test_forged_frames),
		TEST(test_no_consent),
		TEST(test_unknown_peer),
		TEST(test_no_answer),
		TEST(test_quota),
		TEST(test_other_end_goes),
		TEST(test_not_ones_own),
		TEST(test_pushed_pipe),
		TEST(test_port),
		TEST(test_candidates_and_receipts),
		TEST(test_moved),
		TEST(test_registration_lapses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
