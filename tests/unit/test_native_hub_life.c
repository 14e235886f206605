/* SPDX-License-Identifier: MIT */
/* What the pipes of a hub outlive, and what ends them: restarts of either side, and grants. */
#include "native_hub_bed.h"

/* --- after a restart --- */

/* The relay forgets everything, but for what its data plane has. */
static struct pc_hub_pipe restart_relay(void)
{
	struct pc_hub_pipe pipe = *relay.last;

	pipe.ends[0].link = pipe.ends[1].link = NULL;
	pc_hub_free(hub);
	pc_native_free(r->n);
	node_start(r);
	start_hub();
	memset(&relay, 0, sizeof(relay));
	return pipe;
}

static void adopt(const struct pc_hub_pipe *pipe)
{
	assert_int_equal(pc_hub_adopt(hub, pipe, w.now, &relay.last), 0);
	relay.pipes++;
}

/* The pipe is over, and its caller was told so. */
static void assert_gone(void)
{
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
}

static void test_relay_restarts(void **state)
{
	struct pc_hub_pipe pipe;

	open_pipe();
	pipe = restart_relay();
	adopt(&pipe);
	assert_int_equal(pc_hub_adopt(hub, &pipe, w.now, &relay.last), PC_ERR_EXISTS);
	/* Nobody noticed so far. */
	assert_passes(&pa, &pc, "hello");
	assert_passes(&pc, &pa, "there");
	assert_null(relay.last->ends[0].link);
	world_pass(&w, 60 * PC_NS_PER_S);
	assert_true(pc_hub_registered(hub, a->config.identity));
	assert_ptr_equal(relay.last->ends[0].link, pc_native_find(r->n, a->config.identity));
	assert_ptr_equal(relay.last->ends[1].link, pc_native_find(r->n, c->config.identity));
	assert_int_equal(relay.again, 2);
	/* And it goes on as if nothing had been. */
	world_pass(&w, 1000 * PC_NS_PER_S);
	assert_int_equal(pa.downs + pc.downs, 0);
	assert_passes(&pa, &pc, "still");
	assert_passes(&pc, &pa, "here");
	pc_agent_close(pc.agent, pc.pipe, PC_NATIVE_R_DONE, w.now);
	world_deliver(&w);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(relay.pipes, 0);
}

/* Its data plane is gone as well: who has a pipe of it hears that it is no more. */
static void test_relay_forgets(void **state)
{
	open_pipe();
	restart_relay();
	world_pass(&w, 60 * PC_NS_PER_S);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pc.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GONE);
	open_pipe();
	assert_passes(&pa, &pc, "again");
}

/* A pipe is no one's but of those that had it, and nobody gets it by knowing its index. */
static void test_not_ones_own_to_keep(void **state)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_KEEP,
				     .has = 1u << PC_NATIVE_F_PIPE | 1u << PC_NATIVE_F_PIPE_TO };
	struct pc_hub_pipe pipe;

	open_pipe();
	pipe = restart_relay();
	adopt(&pipe);
	c->on_up = NULL;
	c->on_tick = NULL;
	world_pass(&w, 60 * PC_NS_PER_S);
	/* The other end's, and its own with a wrong index of its own. */
	for (int i = 0; i < 2; i++) {
		msg.pipe_to = i ? pa.pipe->out : pc.pipe->out;
		msg.pipe = i ? pa.pipe->in + 1 : pc.pipe->in;
		assert_int_equal(pc_native_send(a->n, a->link, &msg, w.now), 0);
		world_deliver(&w);
		assert_int_equal(a->last.type, PC_NATIVE_CLOSE);
		assert_int_equal(a->last.pipe_to, msg.pipe);
	}
	assert_int_equal(pa.downs, 0);
	assert_null(relay.last->ends[1].link);
	/* The other one does not come back. */
	world_pass(&w, 61 * PC_NS_PER_S);
	assert_gone();
}

/* A peer that forgot its pipe, though its session goes on. */
static void test_not_kept(void **state)
{
	open_pipe();
	c->on_up = NULL;
	c->on_tick = NULL;
	world_pass(&w, 200 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 1);
	world_pass(&w, 50 * PC_NS_PER_S);
	assert_gone();
}

/* It has none of the pipes that its earlier self had, and says so by beginning. */
static void test_peer_restarts(void **state)
{
	open_pipe();
	pc_agent_free(pc.agent);
	pc_native_free(c->n);
	node_start(c);
	start_peer(&pc, c);
	assert_gone();
	assert_int_equal(r->downs, 0);
	open_pipe();
}

/* --- grants --- */

/* @reason: the relay will refuse it for; else it is good for @seconds from when it is shown. */
static const uint8_t *grant(uint8_t reason, uint8_t seconds)
{
	static uint8_t bytes[PC_NATIVE_GRANT_LEN];

	bytes[0] = reason;
	bytes[1] = seconds;
	bytes[sizeof(bytes) - 1] = 77;
	return bytes;
}

static void test_grant_runs_out(void **state)
{
	struct pc_addr remote = world_address(200, 53);

	shown = grant(0, 30);
	open_pipe();
	assert_int_equal(relay.grants, 1);
	assert_true(relay.last->until_ns == w.now + 30 * PC_NS_PER_S);
	world_pass(&w, 29 * PC_NS_PER_S);
	assert_passes(&pa, &pc, "yet");
	world_pass(&w, 2 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 1);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(pc.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(pa.downs + pc.downs, 2);
	/* A port ends the same, once it has been shown with a registration. */
	assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
	world_deliver(&w);
	assert_int_equal(pa.ups, 2);
	world_pass(&w, 62 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 2);
	assert_int_equal(pa.downs, 2);
	/* While the other one is being asked. */
	shown = grant(0, 5);
	c->on_message = NULL;
	call(&pa, NULL);
	c->on_message = agent_message;
	w.now += 6 * PC_NS_PER_S;
	pc_agent_message(pc.agent, &c->last, w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.refusals, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
}

static void test_grant_refused(void **state)
{
	static const uint8_t reasons[] = { PC_NATIVE_R_EXPIRED, PC_NATIVE_R_GRANT,
					   PC_NATIVE_R_EARLY, PC_NATIVE_R_NO_CLOCK };
	struct pc_addr remote = world_address(200, 53);

	for (size_t i = 0; i < PC_ARRAY_SIZE(reasons); i++) {
		shown = grant(reasons[i], 30);
		call(&pa, NULL);
		assert_int_equal(pa.reason, reasons[i]);
		pa.reason = 0;
		assert_int_equal(pc_agent_allocate(pa.agent, &remote, shown, w.now, &pa.call), 0);
		world_deliver(&w);
		assert_int_equal(pa.reason, reasons[i]);
	}
	assert_int_equal(pa.refusals, 2 * PC_ARRAY_SIZE(reasons));
	/* The other one was not even asked; what the relay says no to anyway is not judged. */
	assert_int_equal(pc.ups, 0);
	relay.denies = true;
	call(&pa, NULL);
	assert_int_equal(pa.reason, PC_NATIVE_R_REFUSED);
	assert_int_equal(relay.grants, 2 * PC_ARRAY_SIZE(reasons));
}

/* In place of the one that a pipe has, or of none. Only from who asked for the pipe. */
static void test_later_grant(void **state)
{
	shown = grant(0, 30);
	open_pipe();
	world_pass(&w, 20 * PC_NS_PER_S);
	pc_agent_grant(pa.agent, pa.pipe, grant(0, 100), w.now);
	world_deliver(&w);
	assert_true(relay.last->until_ns > w.now + 99 * PC_NS_PER_S);
	assert_int_equal(relay.again, 1);
	/* It is shown again with each registration, or the pipe would end now. */
	world_pass(&w, 200 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 1);
	assert_passes(&pa, &pc, "still");
	pc_agent_grant(pc.agent, pc.pipe, grant(PC_NATIVE_R_GRANT, 0), w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 1);
	pc_agent_grant(pa.agent, pa.pipe, grant(PC_NATIVE_R_EXPIRED, 0), w.now);
	world_deliver(&w);
	assert_int_equal(relay.pipes, 0);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
	assert_int_equal(pc.reason, PC_NATIVE_R_EXPIRED);
	shown = NULL;
	open_pipe();
	assert_true(relay.last->until_ns == 0);
	pc_agent_grant(pa.agent, pa.pipe, grant(0, 9), w.now);
	world_deliver(&w);
	world_pass(&w, 10 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 1);
}

/* A relay that took a pipe up knows no grant: what it knows is how long the pipe may live. */
static void test_grant_after_restart(void **state)
{
	struct pc_hub_pipe pipe;

	shown = grant(0, 200);
	open_pipe();
	pipe = restart_relay();
	pipe.until_ns = w.now + 70 * PC_NS_PER_S;
	adopt(&pipe);
	world_pass(&w, 65 * PC_NS_PER_S);
	assert_non_null(relay.last->ends[0].link);
	assert_true(relay.last->until_ns > w.now + 130 * PC_NS_PER_S);
	pipe = restart_relay();
	pipe.until_ns = w.now + 90 * PC_NS_PER_S;
	adopt(&pipe);
	grant(PC_NATIVE_R_GRANT, 0); /* the relay has another identity, say */
	memcpy(pa.pipe->grant, shown, sizeof(pa.pipe->grant));
	world_pass(&w, 65 * PC_NS_PER_S);
	assert_int_equal(pa.downs, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_GRANT);
	/* Not shown at all. */
	shown = grant(0, 200);
	open_pipe();
	pipe = restart_relay();
	pipe.until_ns = w.now + 90 * PC_NS_PER_S;
	adopt(&pipe);
	pa.pipe->granted = false;
	world_pass(&w, 88 * PC_NS_PER_S);
	assert_int_equal(relay.pipes, 1);
	world_pass(&w, 4 * PC_NS_PER_S);
	assert_int_equal(relay.lapsed, 1);
	assert_int_equal(pa.reason, PC_NATIVE_R_EXPIRED);
}

/* Judging costs: so many a minute for each peer. */
static void test_too_many_grants(void **state)
{
	shown = grant(PC_NATIVE_R_GRANT, 0);
	for (int i = 0; i < 500; i++)
		call(&pa, NULL);
	assert_in_range(relay.grants, 100, 140);
	assert_int_equal(pa.reason, PC_NATIVE_R_FULL);
	/* Another peer is none the worse for it. */
	call(&pc, NULL);
	assert_int_equal(pc.reason, PC_NATIVE_R_GRANT);
	world_pass(&w, 10 * PC_NS_PER_S);
	call(&pa, NULL);
	assert_int_equal(pa.reason, PC_NATIVE_R_GRANT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(test_relay_restarts),	 TEST(test_relay_forgets),
		TEST(test_not_ones_own_to_keep), TEST(test_not_kept),
		TEST(test_peer_restarts),	 TEST(test_grant_runs_out),
		TEST(test_grant_refused),	 TEST(test_later_grant),
		TEST(test_grant_after_restart),	 TEST(test_too_many_grants),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
