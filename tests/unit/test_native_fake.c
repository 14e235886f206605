/* SPDX-License-Identifier: MIT */
/*
 * Native peers of the whole daemon, over loopback and the fake data plane: what the data plane is
 * told of a pipe, who pays, what is refused, and what is left after a restart.
 */
#include "native_bed.h"

/* --- what the data plane is told --- */

static const struct pc_store_count *counts(const char *tenant)
{
	static struct pc_store_count c[PC_STORE_PATHS];

	assert_int_equal(pc_usage_refresh(d.usage), 0);
	assert_int_equal(pc_usage_tenant(d.usage, pc_users_find(d.users, tenant)->id, c), 0);
	return &c[PC_STORE_USER];
}

static const struct pc_addr *where(const struct np *p)
{
	return &pc_native_path(pc_native_find(d.native->n, p->id.public_key))->remote;
}

static void test_pipe(void **state)
{
	const struct pc_pipe *up, *down;
	uint64_t end_ns;

	start_all();
	open_pipe();
	assert_int_equal(pc_dp_fake_pipes(), 2);
	up = pc_dp_fake_pipe(alice.pipe->out);
	down = pc_dp_fake_pipe(bob.pipe->out);
	assert_non_null(up);
	assert_non_null(down);
	assert_int_equal(ntohl(up->out), bob.pipe->in);
	/* A router on the way to it is believed, and the kernel lets it send as much as it needs.
	 */
	assert_true(pc_native_glue_talks(d.native, &d.config.listen[0], where(&alice)));
	assert_true(pc_dp_fake_client(where(&alice), &d.config.listen[0]));
	assert_int_equal(ntohl(down->out), alice.pipe->in);
	/* Whoever asked pays both ways; the other one is of another tenant, and counts as well. */
	assert_int_equal(up->flow.slot, down->flow.slot);
	assert_int_equal(up->other_slot, down->other_slot);
	assert_int_not_equal(up->flow.slot, up->other_slot);
	assert_true(up->flow.flags & PC_FLOW_UP);
	assert_false(down->flow.flags & PC_FLOW_UP);
	assert_int_equal(up->flow.tenant, pc_users_find(d.users, "one")->limits);
	assert_int_equal(up->other_tenant, pc_users_find(d.users, "two")->limits);
	assert_memory_equal(up->in_peer, alice.id.public_key, 32);
	assert_memory_equal(up->out_peer, bob.id.public_key, 32);
	/* Its end is ahead, and moves on. */
	end_ns = up->flow.expires_ns;
	assert_true(end_ns > pc_clock_monotonic() + 300 * PC_NS_PER_S);
	poll(NULL, 0, 2);
	pc_native_glue_minute(d.native);
	assert_true(up->flow.expires_ns > end_ns);
	send_frame(&alice, 100);
	send_frame(&bob, 30);
	until(alice.frames == 1 && bob.frames == 1);
	assert_int_equal(counts("one")->up_payload_bytes, 100);
	assert_int_equal(counts("one")->down_payload_bytes, 30);
	assert_int_equal(counts("two")->down_payload_bytes, 100);
	assert_int_equal(counts("two")->up_payload_bytes, 30);
	d.native->now = pc_clock_monotonic();
	pc_native_pipes_meter(d.native);
	until(alice.meter);
	assert_int_equal(alice.up_bytes, 100);
	pc_agent_close(alice.agent, alice.pipe, PC_NATIVE_R_DONE, pc_clock_monotonic());
	until(bob.down == PC_NATIVE_R_DONE);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	end_all();
}

/* An address that changes is written at once; until then nothing comes from there. */
static void test_moved(void **state)
{
	const struct pc_pipe *up;
	struct pc_addr list[1] = { { .ip = pc_ip4(192, 0, 2, 1), .port = 1 } };
	struct pc_addr old;
	__be16 before;

	start_all();
	open_pipe();
	up = pc_dp_fake_pipe(alice.pipe->out);
	before = up->sport;
	old = *where(&alice);
	close(alice.fd);
	np_socket(&alice);
	send_frame(&alice, 10);
	until(pc_dp_reasons_user(d.dp)[PC_REASON_DROP_PIPE_SOURCE] == 1);
	assert_int_equal(up->sport, before);
	assert_int_equal(pc_agent_send_candidates(alice.agent, alice.pipe, list, 1,
						  pc_clock_monotonic()),
			 0);
	until(up->sport != before);
	assert_false(pc_native_glue_talks(d.native, &d.config.listen[0], &old));
	assert_false(pc_dp_fake_client(&old, &d.config.listen[0]));
	assert_true(pc_dp_fake_client(where(&alice), &d.config.listen[0]));
	send_frame(&alice, 10);
	send_frame(&bob, 10);
	until(alice.frames == 1 && bob.frames == 1);
	end_all();
}

/* --- what is refused --- */

static void test_refused(void **state)
{
	struct pc_store_tenant t;
	uint32_t open;

	start_all();
	open = pc_usage_open_slots(d.usage);
	pc_dp_fake_faults()->pipe_set = PC_ERR_FULL;
	call_bob();
	until(alice.refused != NOTHING);
	assert_int_equal(alice.refused, PC_NATIVE_R_FULL);
	assert_logged("no pipe for peer alice");
	pc_dp_fake_faults()->pipe_set = 0;
	/* No session stays behind, and the tenant may try again. */
	assert_int_equal(pc_dp_fake_pipes(), 0);
	assert_int_equal(pc_native_glue_pipes(d.native), 0);
	t = *pc_users_find(d.users, "one");
	t.max_allocations = 1;
	assert_int_equal(pc_users_update(d.users, &t, NULL), 0);
	open_pipe();
	call_bob();
	until(alice.refused != NOTHING);
	assert_int_equal(alice.refused, PC_NATIVE_R_FULL);
	pc_agent_close(alice.agent, TAKE_PTR(alice.pipe), PC_NATIVE_R_DONE, pc_clock_monotonic());
	until(bob.down == PC_NATIVE_R_DONE);
	pc_daemon_drain(&d, true);
	call_bob();
	until(alice.refused == PC_NATIVE_R_FULL);
	pc_daemon_drain(&d, false);
	d.store_error = PC_ERR_STORE;
	call_bob();
	until(alice.refused == PC_NATIVE_R_FULL);
	d.store_error = 0;
	open_pipe();
	assert_true(pc_usage_open_slots(d.usage) >= open + 2);
	end_all();
}

static bool dropped(enum pc_native_drop reason)
{
	struct pc_native_glue_stats s;

	pc_native_glue_get_stats(d.native, &s);
	return s.native.drops[reason] > 0;
}

static void test_unknown(void **state)
{
	uint8_t statement[PC_STATEMENT_LEN];
	char id[PC_PEER_ID_STRLEN];

	assert_int_equal(start(), 0);
	np_open(&alice, 1);
	np_begin(&alice);
	until(alice.lost == PC_NATIVE_R_REFUSED);
	assert_logged(pc_peer_id_format(alice.id.public_key, id));
	/* A peer whose tenant is gone is as unknown. */
	add_tenant("one");
	add_peer(&alice, "alice", "one");
	assert_int_equal(pc_users_del(d.users, pc_users_find(d.users, "one")->id), 0);
	alice.lost = NOTHING;
	np_begin(&alice);
	until(alice.lost == PC_NATIVE_R_REFUSED);
	/* Whose statement is not valid now: the node has a clock, and judges. */
	np_open(&bob, 2);
	add_tenant("two");
	add_peer(&bob, "bob", "two");
	pc_statement_make(bob.id.secret_key, bob.static_public, 0, 1000, statement);
	pc_native_set_statement(bob.n, statement);
	logged();
	np_begin(&bob);
	until(dropped(PC_NATIVE_DROP_HANDSHAKE));
	assert_logged("wrong key, or a statement that is not valid now");
	end_all();
}

/* As many as there may be; the next one is told nothing, and the operator is. */
static void test_too_many(void **state)
{
	write_config("native-peers = 1");
	assert_int_equal(start(), 0);
	add_tenant("one");
	np_open(&alice, 1);
	np_open(&bob, 2);
	add_peer(&alice, "alice", "one");
	add_peer(&bob, "bob", "one");
	np_begin(&alice);
	until(alice.registered);
	np_begin(&bob);
	until(dropped(PC_NATIVE_DROP_FULL));
	assert_logged("no room for another peer (native-peers)");
	assert_int_equal(bob.registered, 0);
	/* The other one is none the worse for it. */
	pc_native_close(alice.n, alice.relay, PC_NATIVE_R_DONE, pc_clock_monotonic());
	until(bob.registered);
	end_all();
}

static void test_port(void **state)
{
	struct pc_addr remote = { .ip = pc_ip4(8, 8, 8, 8), .port = 40000 };
	uint64_t policy;
	char err[512];
	uint32_t call;

	start_all();
	policy = pc_dp_reasons_user(d.dp)[PC_REASON_DROP_PEER_POLICY];
	remote.ip = pc_ip4(10, 0, 0, 1);
	assert_int_equal(pc_agent_allocate(alice.agent, &remote, NULL, pc_clock_monotonic(), &call),
			 0);
	until(alice.refused == PC_NATIVE_R_REFUSED);
	assert_int_equal(pc_dp_reasons_user(d.dp)[PC_REASON_DROP_PEER_POLICY], policy + 1);
	remote.ip = pc_ip4(8, 8, 8, 8);
	assert_int_equal(pc_agent_allocate(alice.agent, &remote, NULL, pc_clock_monotonic(), &call),
			 0);
	until(alice.pipe);
	assert_in_range(alice.pipe->relayed.port, 61000, 61999);
	assert_int_equal(pc_dp_fake_pipes(), 2);
	assert_false(pc_dp_fake_pipe(alice.pipe->out)->flags & PC_PIPE_IN_PLAIN);
	assert_true(pc_dp_fake_pipe(alice.pipe->out)->flags & PC_PIPE_OUT_PLAIN);
	assert_true(pc_native_glue_talks(d.native, &d.native->pipes->port.local, &remote));
	/* What the policy does not allow any more ends. */
	write_config("deny-peer = 8.0.0.0/8");
	assert_int_equal(pc_daemon_reload(&d, err, sizeof(err)), 0);
	until(alice.down == PC_NATIVE_R_REFUSED);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	end_all();
}

/* --- grants --- */

/* Of alice, valid from @from_s to @until_s seconds from now. Shown with calls from then on. */
static void show(int64_t from_s, int64_t until_s)
{
	static uint8_t bytes[PC_GRANT_LEN];
	uint64_t now_s = pc_clock_realtime() / PC_NS_PER_S;
	struct pc_grant g = { .not_before_s = now_s + (uint64_t)from_s,
			      .not_after_s = now_s + (uint64_t)until_s };

	memcpy(g.issuer, bob.id.public_key, 32);
	memcpy(g.payer, alice.id.public_key, 32);
	memcpy(g.relay, d.identity.public_key, 32);
	assert_int_equal(pc_grant_make(&g, &bob.id, &alice.id, bytes), 0);
	show_grant = bytes;
}

static void test_grant(void **state)
{
	struct pc_native_glue_stats s;
	const struct pc_pipe *up;
	uint8_t forged[PC_GRANT_LEN];
	uint64_t end_ns;

	start_all();
	show(-10, 1);
	open_pipe();
	up = pc_dp_fake_pipe(alice.pipe->out);
	assert_true(up->flags & PC_PIPE_GRANTED);
	assert_true(up->flow.expires_ns <= pc_clock_monotonic() + 2 * PC_NS_PER_S);
	assert_true(pc_dp_fake_pipe(bob.pipe->out)->flow.expires_ns == up->flow.expires_ns);
	/* Nobody lets it live longer by the way. */
	end_ns = up->flow.expires_ns;
	pc_native_glue_minute(d.native);
	assert_true(up->flow.expires_ns == end_ns);
	until(alice.down != NOTHING && bob.down != NOTHING);
	assert_int_equal(alice.down, PC_NATIVE_R_EXPIRED);
	assert_int_equal(bob.down, PC_NATIVE_R_EXPIRED);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	assert_logged("a grant of peer alice has run out: its pipe ends");
	show(-10, -1);
	call_bob();
	until(alice.refused == PC_NATIVE_R_EXPIRED);
	assert_logged("a grant of peer alice is refused: it has run out");
	show(100, 200);
	call_bob();
	until(alice.refused == PC_NATIVE_R_EARLY);
	show(-10, 100);
	memcpy(forged, show_grant, sizeof(forged));
	forged[300] ^= 1;
	show_grant = forged;
	call_bob();
	until(alice.refused == PC_NATIVE_R_GRANT);
	assert_logged("a grant of peer alice is refused: a signature is wrong");
	pc_native_glue_get_stats(d.native, &s);
	assert_int_equal(s.grants[PC_GRANT_GOOD], 1);
	assert_int_equal(s.grants[PC_GRANT_EXPIRED], 1);
	assert_int_equal(s.grants[PC_GRANT_EARLY], 1);
	assert_int_equal(s.grants[PC_GRANT_FORGED], 1);
	assert_int_equal(s.grants_ended, 1);
	show_grant = NULL;
	end_all();
}

/* --- restart --- */

/* @lost: a direction that is gone from the data plane meanwhile; 0: none. */
static void restart(const char *more, uint32_t lost)
{
	struct pc_dp_config c = { .max_sessions = d.config.max_sessions,
				  .max_tenants = d.config.max_tenants,
				  .max_pipes = d.config.max_pipes,
				  .kernel = true };
	struct pc_dp *dp;

	end(false);
	assert_int_equal(pc_dp_open(&c, &dp), 0);
	if (lost)
		assert_int_equal(pc_dp_pipe_del(dp, lost), 0);
	pc_dp_close(dp);
	logged();
	write_config(more);
	assert_int_equal(start(), 0);
}

static void test_adopted(void **state)
{
	struct pc_addr remote = { .ip = pc_ip4(8, 8, 8, 8), .port = 40000 };
	uint64_t id;
	uint32_t call;

	start_all();
	open_pipe();
	assert_int_equal(pc_agent_allocate(alice.agent, &remote, NULL, pc_clock_monotonic(), &call),
			 0);
	until(pc_native_glue_pipes(d.native) == 2);
	send_frame(&bob, 30);
	until(alice.frames == 1);
	id = d.native->pipes->accounts[0].id;
	restart("", 0);
	assert_logged("adopted 2 pipes, dropped 0");
	assert_int_equal(pc_dp_fake_pipes(), 4);
	assert_true(d.native->pipes->accounts[0].id == id ||
		    d.native->pipes->next->accounts[0].id == id);
	/* Frames go on before anybody has a session. */
	send_frame(&bob, 30);
	until(alice.frames == 2);
	assert_int_equal(counts("one")->down_payload_bytes, 60);
	/* A new session, as after heartbeats without an answer. */
	np_begin(&alice);
	np_begin(&bob);
	alice.registered = bob.registered = 0;
	until(alice.registered && bob.registered);
	for (const struct native_pipe *p = d.native->pipes; p; p = p->next)
		until(p->pipe->ends[0].link && (p->port.socket || p->pipe->ends[1].link));
	assert_int_equal(alice.down, NOTHING);
	end_all();
}

/* What is left of its grant is known to the data plane alone until it is shown again. */
static void test_adopted_grant(void **state)
{
	const struct pc_pipe *up;
	uint64_t end_ns;

	start_all();
	show(-10, 300);
	open_pipe();
	up = pc_dp_fake_pipe(alice.pipe->out);
	end_ns = up->flow.expires_ns;
	restart("", 0);
	assert_logged("adopted 1 pipes, dropped 0");
	pc_native_glue_minute(d.native);
	up = pc_dp_fake_pipe(alice.pipe->out);
	assert_true(up->flags & PC_PIPE_GRANTED);
	assert_true(up->flow.expires_ns <= end_ns);
	/* Shown a later one. */
	show(-10, 400);
	memcpy(alice.pipe->grant, show_grant, sizeof(alice.pipe->grant));
	np_begin(&alice);
	np_begin(&bob);
	until(pc_dp_fake_pipe(alice.pipe->out)->flow.expires_ns > end_ns + 90 * PC_NS_PER_S);
	assert_int_equal(alice.down, NOTHING);
	show_grant = NULL;
	end_all();
}

/* One half alone, peers that are no more, a daemon that serves none: nothing of it stays. */
static void test_not_adopted(void **state)
{
	start_all();
	open_pipe();
	restart("", bob.pipe->out);
	assert_logged("adopted 0 pipes, dropped 1");
	assert_int_equal(pc_dp_fake_pipes(), 0);
	/* Whoever comes back to such a pipe is told. */
	np_begin(&alice);
	np_begin(&bob);
	until(alice.down == PC_NATIVE_R_GONE && bob.down == PC_NATIVE_R_GONE);
	open_pipe();
	assert_int_equal(pc_store_peer_del(d.store, bob.id.public_key), 0);
	restart("", 0);
	assert_logged("adopted 0 pipes, dropped 2");
	add_peer(&bob, "bob2", "two");
	alice.registered = bob.registered = 0;
	np_begin(&alice);
	np_begin(&bob);
	until(alice.down == PC_NATIVE_R_GONE && bob.registered);
	open_pipe();
	restart("native = no", 0);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	assert_null(d.native);
	end_all();
}

/* The node gets another identity: the old one's sessions end, and the new one answers. */
static void test_identity(void **state)
{
	uint8_t seed[32] = { 7 };

	start_all();
	open_pipe();
	assert_int_equal(pc_identity_from_seed(seed, &d.identity), 0);
	assert_int_equal(pc_native_glue_identity(d.native), 0);
	until(alice.lost != NOTHING && bob.lost != NOTHING);
	assert_int_equal(alice.down, PC_NATIVE_R_GONE);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	alice.registered = bob.registered = 0;
	np_begin(&alice);
	np_begin(&bob);
	until(alice.registered && bob.registered);
	open_pipe();
	end_all();
}

/* Told at once that the node ends, so that they look for another. */
static void test_shutdown(void **state)
{
	start_all();
	open_pipe();
	pc_native_glue_shutdown(d.native);
	until(alice.lost == PC_NATIVE_R_SHUTDOWN && bob.lost == PC_NATIVE_R_SHUTDOWN);
	assert_int_equal(pc_dp_fake_pipes(), 0);
	end_all();
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_pipe),     CASE(test_moved),	     CASE(test_refused),
		CASE(test_unknown),  CASE(test_port),	     CASE(test_adopted),
		CASE(test_too_many), CASE(test_not_adopted), CASE(test_identity),
		CASE(test_shutdown), CASE(test_grant),	     CASE(test_adopted_grant),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
