/* SPDX-License-Identifier: MIT */
/* What the scenarios cannot say about the TURN machine: its arguments, its limits, its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/scenario/client.h"

struct setup {
	struct fake f;
	struct client c;
};

static void set_up(struct setup *s)
{
	struct fake_user *u = &s->f.users[0];

	memset(s, 0, sizeof(*s));
	fake_init(&s->f);
	s->f.config.n_relay_ips = 1;
	s->f.config.relay_ips[0].local = pc_ip4(192, 0, 2, 10);
	s->f.config.relay_ips[0].external = pc_ip4(192, 0, 2, 10);
	s->f.n_users = 1;
	snprintf(u->name, sizeof(u->name), "alice");
	snprintf(u->password, sizeof(u->password), "secret");
	u->user.tenant = 1;
	u->user.quota = (struct pc_turn_quota){ 10, 600, 600, 10000 };
	snprintf(s->c.name, sizeof(s->c.name), "c");
	snprintf(s->c.user, sizeof(s->c.user), "alice");
	snprintf(s->c.password, sizeof(s->c.password), "secret");
	s->c.path.client = (struct pc_addr){ .ip = pc_ip4(198, 51, 100, 7), .port = 4000 };
	s->c.path.server = (struct pc_addr){ .ip = pc_ip4(192, 0, 2, 1), .port = 3478 };
	s->c.ttl = TURN_SCENARIO_TTL;
	assert_int_equal(pc_turn_new(&s->f.config, &fake_ops, &s->f, s->f.now, &s->f.t), 0);
}

/* Sends and returns the error code of the answer; 0: success, -1: no answer. */
static int ask(struct setup *s, const char *const *words, int n)
{
	char copy[8][64];
	char *w[8];
	struct pc_stun_msg msg;
	int code;

	for (int i = 0; i < n; i++) {
		snprintf(copy[i], sizeof(copy[i]), "%s", words[i]);
		w[i] = copy[i];
	}
	assert_null(client_send(&s->f, &s->c, w, n));
	fake_dgram_free(s->c.last);
	s->c.last = fake_take_dgram(&s->f, &s->c.path.client);
	if (!s->c.last)
		return -1;
	assert_int_equal(pc_stun_parse(s->c.last->d.data, s->c.last->d.len, &msg), 0);
	client_learn(&s->c, &msg);
	code = (int)client_error_code(&msg);
	return code;
}

#define ASK(s, ...)                                  \
	ask(s, (const char *const[]){ __VA_ARGS__ }, \
	    (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *)))

static void allocate(struct setup *s)
{
	assert_int_equal(ASK(s, "allocate", "transport=17"), 401);
	assert_int_equal(ASK(s, "allocate", "transport=17", "auth"), 0);
}

static void tear_down(struct setup *s)
{
	fake_dgram_free(s->c.last);
	fake_free(&s->f);
}

static void test_refuses_bad_config(void **state)
{
	struct setup s;
	struct pc_turn_config good, c;
	struct pc_turn *t = NULL;

	set_up(&s);
	good = s.f.config;
#define REFUSED(change)                                                                  \
	do {                                                                             \
		c = good;                                                                \
		change;                                                                  \
		assert_int_equal(pc_turn_new(&c, &fake_ops, &s.f, 0, &t), PC_ERR_RANGE); \
		assert_null(t);                                                          \
	} while (0)
	REFUSED(c.n_relay_ips = 0);
	REFUSED(c.n_relay_ips = PC_TURN_MAX_RELAY_IPS + 1);
	REFUSED(c.relay_ips[0].external.family = 6);
	REFUSED(c.relay_ips[0].local.family = 0);
	REFUSED(c.port_low = 0);
	REFUSED(c.port_low = c.port_high + 1);
	REFUSED(c.default_lifetime_s = 0);
	REFUSED(c.max_lifetime_s = c.default_lifetime_s - 1);
	REFUSED(c.realm[0] = '\0');
	REFUSED(memset(c.realm, 'x', sizeof(c.realm)));
	REFUSED(c.policy = NULL);
	tear_down(&s);
}

/* Freeing the machine leaves data plane, counters and store as they are: traffic goes on. */
static void test_free_keeps_traffic(void **state)
{
	struct setup s;

	set_up(&s);
	allocate(&s);
	assert_int_equal(ASK(&s, "bind", "channel=0x4000", "peer=20.1.1.1:5000", "auth"), 0);
	fake_clear_events(&s.f);
	pc_turn_free(s.f.t);
	s.f.t = NULL;
	assert_int_equal(s.f.n_events, 1);
	assert_memory_equal(s.f.events[0], "port_close", 10);
	assert_null(s.f.ports);
	assert_true(s.f.records[0].used);
	tear_down(&s);
}

static void test_restore_refuses(void **state)
{
	struct setup s;
	struct pc_turn_record r;

	set_up(&s);
	allocate(&s);
	r = s.f.records[0].r;
	/* The same 5-tuple again. */
	r.id++;
	assert_int_equal(pc_turn_restore(s.f.t, &r, s.f.now), PC_ERR_EXISTS);
	/* The same port for another client, which wants it for itself. */
	r.path.client.port++;
	r.relayed_shared[0] = false;
	assert_int_equal(pc_turn_restore(s.f.t, &r, s.f.now), PC_ERR_EXISTS);
	r.relayed[0].port = s.f.config.port_high + 1;
	assert_int_equal(pc_turn_restore(s.f.t, &r, s.f.now), PC_ERR_RANGE);
	r.relayed[0].ip = pc_ip4(192, 0, 2, 11);
	assert_int_equal(pc_turn_restore(s.f.t, &r, s.f.now), PC_ERR_RANGE);
	r.username_len = PC_AUTH_NAME_MAX + 1;
	assert_int_equal(pc_turn_restore(s.f.t, &r, s.f.now), PC_ERR_MALFORMED);
	assert_int_equal((int)s.f.open_slots, 1 - 5);
	s.f.open_slots = 1;
	tear_down(&s);
}

/* A datagram that its header would make too large for UDP is dropped. */
static void test_largest(void **state)
{
	static uint8_t big[65507];
	const struct pc_addr peer = { .ip = pc_ip4(20, 1, 1, 1), .port = 5000 };
	const struct pc_addr other = { .ip = pc_ip4(20, 1, 1, 1), .port = 5001 };
	struct fake_port *port;
	struct setup s;

	set_up(&s);
	allocate(&s);
	assert_int_equal(ASK(&s, "bind", "channel=0x4000", "peer=20.1.1.1:5000", "auth"), 0);
	port = s.f.ports;
	client_input(&s.f, &s.c, big, 65507 - 4, port->socket, &peer);
	fake_dgram_free(s.c.last);
	s.c.last = fake_take_dgram(&s.f, &s.c.path.client);
	assert_non_null(s.c.last);
	assert_int_equal(s.c.last->d.len, 65507);
	client_input(&s.f, &s.c, big, 65507 - 3, port->socket, &peer);
	assert_null(fake_take_dgram(&s.f, NULL));
	client_input(&s.f, &s.c, big, sizeof(big), port->socket, &other);
	assert_null(fake_take_dgram(&s.f, NULL));
	assert_string_equal(s.f.events[s.f.n_events - 1], "drop reason=length");
	tear_down(&s);
}

/* Quotas above the hard bound change nothing: memory per allocation is bounded. */
static void test_hard_bounds(void **state)
{
	struct pc_turn_stats st;
	struct setup s;

	set_up(&s);
	allocate(&s);
	for (unsigned int i = 0; i <= PC_TURN_MAX_CHANNELS; i++) {
		char channel[32], peer[32];
		bool fits = i < PC_TURN_MAX_CHANNELS;

		snprintf(channel, sizeof(channel), "channel=0x%x", 0x4000 + (i * 37) % 1024);
		snprintf(peer, sizeof(peer), "peer=20.1.%u.%u:5000", (i * 7) % 256, i / 256);
		assert_int_equal(ASK(&s, "bind", channel, peer, "auth"), fits ? 0 : 508);
	}
	pc_turn_get_stats(s.f.t, &st);
	assert_int_equal(st.channels, PC_TURN_MAX_CHANNELS);
	assert_int_equal(st.permissions, PC_TURN_MAX_PERMISSIONS);
	/* Each is found again, both ways. */
	for (unsigned int i = 0; i < PC_TURN_MAX_CHANNELS; i++) {
		struct pc_addr peer = { .ip = pc_ip4(20, 1, (i * 7) % 256, i / 256), .port = 5000 };
		uint16_t number = 0x4000 + (i * 37) % 1024;
		uint8_t data[8] = { number >> 8, number & 0xff, 0, 4, 1, 2, 3, 4 };

		client_input(&s.f, &s.c, data, sizeof(data), NULL, NULL);
		fake_dgram_free(fake_take_dgram(&s.f, &peer));
		assert_null(s.f.sent);
		client_input(&s.f, &s.c, data + 4, 4, s.f.ports->socket, &peer);
		fake_dgram_free(s.c.last);
		s.c.last = fake_take_dgram(&s.f, &s.c.path.client);
		assert_memory_equal(s.c.last->d.data, data, sizeof(data));
	}
	tear_down(&s);
}

static void test_statistics(void **state)
{
	struct pc_turn_stats st;
	struct setup s;

	set_up(&s);
	allocate(&s);
	assert_int_equal(ASK(&s, "binding"), 0);
	assert_int_equal(ASK(&s, "permission", "auth"), 400);
	assert_int_equal(ASK(&s, "permission", "peer=127.0.0.1:1", "auth"), 403);
	pc_turn_get_stats(s.f.t, &st);
	assert_int_equal(st.allocations, 1);
	assert_int_equal(st.ports_in_use, 1);
	assert_int_equal(st.requests[PC_STUN_ALLOCATE], 2);
	assert_int_equal(st.requests[PC_STUN_BINDING], 1);
	assert_int_equal(st.requests[PC_STUN_CREATE_PERMISSION], 2);
	assert_int_equal(st.challenges, 1);
	assert_int_equal(st.errors[4], 3);
	tear_down(&s);
}

static int stop_at_once(void *arg, const struct pc_turn_view *view)
{
	assert_string_equal(view->username, "alice");
	assert_int_equal(view->tenant, 1);
	(*(int *)arg)++;
	return 7;
}

static void test_each_stops(void **state)
{
	struct setup s;
	int calls = 0;

	set_up(&s);
	allocate(&s);
	s.c.path.client.port++;
	allocate(&s);
	assert_int_equal(pc_turn_each(s.f.t, stop_at_once, &calls), 7);
	assert_int_equal(calls, 1);
	tear_down(&s);
}

static int lookup_without_name(void *ctx, const char *name, size_t name_len,
			       const uint8_t *userhash, enum pc_auth_algorithm algorithm,
			       uint64_t realtime_s, struct pc_turn_user *ret_user)
{
	int r = fake_lookup(ctx, name, name_len, userhash, algorithm, realtime_s, ret_user);

	ret_user->name_len = 0;
	return r;
}

/* A lookup by hash that does not tell the name: the account is known by its tenant. */
static void test_hash_without_name(void **state)
{
	struct pc_turn_ops ops = fake_ops;
	struct setup s;

	set_up(&s);
	pc_turn_free(s.f.t);
	ops.lookup = lookup_without_name;
	assert_int_equal(pc_turn_new(&s.f.config, &ops, &s.f, s.f.now, &s.f.t), 0);
	s.c.hash = true;
	allocate(&s);
	assert_int_equal(ASK(&s, "refresh", "auth"), 0);
	s.c.hash = false;
	assert_int_equal(ASK(&s, "refresh", "auth"), 441);
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refuses_bad_config),
		cmocka_unit_test(test_free_keeps_traffic),
		cmocka_unit_test(test_restore_refuses),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_hard_bounds),
		cmocka_unit_test(test_statistics),
		cmocka_unit_test(test_each_stops),
		cmocka_unit_test(test_hash_without_name),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
