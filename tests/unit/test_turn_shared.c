/* SPDX-License-Identifier: MIT */
/*
 * A hundred thousand sessions on one relay address: more than it has ports. Each has a peer of its
 * own, and what is sent either way reaches its owner and nobody else.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "relay/stun.h"
#include "tests/scenario/fake.h"

#define SESSIONS   100000u
#define PORTS	   16384u
#define LOW	   49152
#define CHANNEL	   0x4000
#define MAX_LEN	   512
#define PEER_PORT  5000
#define NOBODY	   UINT32_MAX
#define LOAD_LIMIT 12 /* sessions on one port: 6.1 on average, two choices keep it near */

/* Who got a datagram last, and what. */
struct got {
	unsigned int n;
	uint32_t who;
	uint16_t port; /* relayed one, of what went to a peer */
	uint8_t bytes[MAX_LEN];
	size_t len;
};

static struct world {
	struct fake f;
	struct pc_turn_socket *sockets[65536];
	uint16_t relayed[SESSIONS]; /* as allocated */
	uint32_t holder[SESSIONS];  /* of a peer's permission: a slot, or NOBODY */
	uint16_t at[SESSIONS];	    /* the port it holds it on */
	struct got client, peer;
	unsigned int opened, open, slots, drops;
} w;

/* Session @i's client and peer: the number is in the address. */
static struct pc_addr numbered(uint8_t net, uint32_t i, uint16_t port)
{
	return (struct pc_addr){
		.ip = pc_ip4(net, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i),
		.port = port,
	};
}

static uint32_t number_of(const struct pc_ip *ip)
{
	return (uint32_t)ip->b[1] << 16 | (uint32_t)ip->b[2] << 8 | ip->b[3];
}

static struct pc_turn_path path_of(uint32_t i)
{
	return (struct pc_turn_path){
		.server = { .ip = pc_ip4(192, 0, 2, 1), .port = 3478 },
		.client = numbered(30, i, 4000),
	};
}

/* --- the world --- */

static void take(struct got *got, const struct pc_addr *to, const struct pc_dgram *d)
{
	got->n++;
	got->who = number_of(&to->ip);
	assert_true(d->len <= sizeof(got->bytes));
	memcpy(got->bytes, d->data, d->len);
	got->len = d->len;
}

static void send_client(void *ctx, const struct pc_turn_path *path, const struct pc_dgram *d)
{
	take(&w.client, &path->client, d);
}

static void send_peer(void *ctx, void *port, const struct pc_addr *peer, const struct pc_dgram *d)
{
	take(&w.peer, peer, d);
	w.peer.port = (uint16_t)((struct pc_turn_socket **)port - w.sockets);
}

static int port_open(void *ctx, const struct pc_addr *local, struct pc_turn_socket *socket,
		     void **ret_port)
{
	assert_null(w.sockets[local->port]);
	w.sockets[local->port] = socket;
	w.opened++;
	w.open++;
	*ret_port = &w.sockets[local->port];
	return 0;
}

static void port_close(void *ctx, void *port)
{
	struct pc_turn_socket **at = port;

	assert_non_null(*at);
	*at = NULL;
	w.open--;
}

static int slot_open(void *ctx, uint64_t id, uint32_t tenant, uint32_t *ret_slot)
{
	*ret_slot = w.slots++;
	return 0;
}

static void slot_close(void *ctx, uint32_t slot)
{
}

/* The key of the data plane: a peer's address on a relayed one has one holder. */
static int perm_set(void *ctx, const struct pc_turn_perm *perm)
{
	uint32_t i = number_of(&perm->peer);

	assert_true(w.holder[i] == NOBODY || w.at[i] != perm->relayed.port ||
		    w.holder[i] == perm->slot);
	assert_int_equal(perm->relayed.port, w.relayed[number_of(&perm->client.ip)]);
	w.holder[i] = perm->slot;
	w.at[i] = perm->relayed.port;
	return 0;
}

static void perm_del(void *ctx, const struct pc_turn_perm *perm)
{
	uint32_t i = number_of(&perm->peer);

	if (w.at[i] == perm->relayed.port) {
		assert_int_equal(w.holder[i], perm->slot);
		w.holder[i] = NOBODY;
	}
}

static void client_set(void *ctx, const struct pc_turn_path *path, uint32_t slot)
{
}

static void client_del(void *ctx, const struct pc_turn_path *path)
{
}

static int flow_set(void *ctx, const struct pc_turn_flow *flow)
{
	return 0;
}

static void flow_del(void *ctx, const struct pc_turn_flow *flow)
{
}

static bool admit(void *ctx, uint32_t slot, bool up, struct pc_dgram *d, uint32_t payload_bytes,
		  uint32_t wire_bytes)
{
	return true;
}

static void count(void *ctx, uint32_t slot, bool up, uint32_t payload, uint32_t wire)
{
}

static void drop(void *ctx, enum pc_turn_drop reason)
{
	w.drops++;
}

static int save(void *ctx, const struct pc_turn_record *record)
{
	return 0;
}

static void forget(void *ctx, uint64_t id)
{
}

static const struct pc_turn_ops ops = {
	.send_client = send_client,
	.send_peer = send_peer,
	.port_open = port_open,
	.port_close = port_close,
	.slot_open = slot_open,
	.slot_close = slot_close,
	.flow_set = flow_set,
	.flow_del = flow_del,
	.perm_set = perm_set,
	.perm_del = perm_del,
	.client_set = client_set,
	.client_del = client_del,
	.admit = admit,
	.count = count,
	.drop = drop,
	.save = save,
	.forget = forget,
	.lookup = fake_lookup,
	.random = fake_random,
};

static int set_up(void **state)
{
	struct fake_user *u = &w.f.users[0];

	memset(&w, 0, sizeof(w));
	memset(w.holder, 0xff, sizeof(w.holder));
	fake_init(&w.f);
	w.f.config.n_relay_ips = 1;
	w.f.config.relay_ips[0].local = pc_ip4(192, 0, 2, 10);
	w.f.config.relay_ips[0].external = pc_ip4(192, 0, 2, 10);
	w.f.config.port_low = LOW;
	w.f.config.port_high = LOW + PORTS - 1;
	w.f.config.max_allocations = SESSIONS;
	w.f.n_users = 1;
	snprintf(u->name, sizeof(u->name), "u");
	snprintf(u->password, sizeof(u->password), "p");
	u->user.tenant = 1;
	u->user.quota = (struct pc_turn_quota){ SESSIONS, 10, 10, 1000000000 };
	return pc_turn_new(&w.f.config, &ops, &w.f, w.f.now, &w.f.t);
}

static int tear_down(void **state)
{
	fake_free(&w.f);
	assert_int_equal(w.open, 0);
	return 0;
}

/* --- clients and peers --- */

static void input(uint32_t i, const void *data, size_t len, struct pc_turn_socket *socket)
{
	uint8_t buf[PC_TURN_HEADROOM + MAX_LEN + PC_TURN_TAILROOM];
	struct pc_dgram d = { .data = buf + PC_TURN_HEADROOM, .len = len, .ttl = 64 };
	struct pc_addr peer = numbered(20, i, PEER_PORT);
	struct pc_turn_path path = path_of(i);

	memcpy(d.data, data, len);
	if (socket)
		pc_turn_peer_input(w.f.t, socket, &peer, &d, w.f.now);
	else
		pc_turn_input(w.f.t, &path, &d, w.f.now, w.f.realtime_s);
}

/* What a request carries besides the credential. */
struct ask {
	uint16_t method;
	uint32_t peer; /* NOBODY: none */
	bool channel;
	bool end;
};

/* 0 or the error code; the answer is in w.client. */
static unsigned int request(uint32_t i, const struct ask *ask)
{
	struct pc_turn_path path = path_of(i);
	uint8_t buf[MAX_LEN], txid[PC_STUN_TXID_LEN] = { 0 };
	char nonce[PC_AUTH_NONCE_LEN];
	struct pc_auth_key key;
	struct pc_stun_writer sw;
	struct pc_stun_attr attr;
	struct pc_stun_msg msg;
	struct pc_addr peer;

	pc_stun_begin(&sw, buf, sizeof(buf), ask->method, PC_STUN_REQUEST, txid);
	if (ask->method == PC_STUN_ALLOCATE)
		pc_stun_put_u32(&sw, PC_ATTR_REQUESTED_TRANSPORT, 17u << 24);
	if (ask->end)
		pc_stun_put_u32(&sw, PC_ATTR_LIFETIME, 0);
	if (ask->channel)
		pc_stun_put_u32(&sw, PC_ATTR_CHANNEL_NUMBER, (uint32_t)CHANNEL << 16);
	if (ask->peer != NOBODY) {
		peer = numbered(20, ask->peer, PEER_PORT);
		pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_PEER_ADDRESS, &peer);
	}
	pc_nonce_make(&w.f.config.nonce_keys, &path.client, w.f.realtime_s, nonce);
	pc_stun_put(&sw, PC_ATTR_USERNAME, "u", 1);
	pc_stun_put(&sw, PC_ATTR_REALM, w.f.config.realm, strlen(w.f.config.realm));
	pc_stun_put(&sw, PC_ATTR_NONCE, nonce, sizeof(nonce));
	pc_auth_derive(PC_AUTH_MD5, "u", 1, w.f.config.realm, "p", 1, &key);
	pc_stun_put_integrity(&sw, key.b, key.len);
	w.client.n = 0;
	input(i, buf, pc_stun_end(&sw), NULL);
	assert_int_equal(w.client.n, 1);
	assert_int_equal(w.client.who, i);
	assert_int_equal(pc_stun_parse(w.client.bytes, w.client.len, &msg), 0);
	if (msg.cls == PC_STUN_SUCCESS)
		return 0;
	assert_true(pc_stun_find(&msg, PC_ATTR_ERROR_CODE, &attr) && attr.len >= 4);
	return attr.value[2] * 100u + attr.value[3];
}

static void allocate(uint32_t i)
{
	struct pc_stun_attr attr;
	struct pc_stun_msg msg;
	struct pc_addr relayed;

	assert_int_equal(request(i, &(struct ask){ PC_STUN_ALLOCATE, NOBODY, false, false }), 0);
	assert_int_equal(pc_stun_parse(w.client.bytes, w.client.len, &msg), 0);
	assert_true(pc_stun_find(&msg, PC_ATTR_XOR_RELAYED_ADDRESS, &attr));
	assert_int_equal(pc_stun_attr_xor_addr(&msg, &attr, &relayed), 0);
	w.relayed[i] = relayed.port;
}

/* One in two by a channel, the others by a permission. */
static unsigned int bind_peer(uint32_t i, uint32_t peer)
{
	bool channel = i % 2;

	return request(i, &(struct ask){ channel ? PC_STUN_CHANNEL_BIND : PC_STUN_CREATE_PERMISSION,
					 peer, channel, false });
}

static void end(uint32_t i)
{
	assert_int_equal(request(i, &(struct ask){ PC_STUN_REFRESH, NOBODY, false, true }), 0);
}

static void assert_payload(const uint8_t *data, size_t len, uint32_t i)
{
	assert_int_equal(len, sizeof(i));
	assert_memory_equal(data, &i, sizeof(i));
}

/* @i's peer sends to @i's relayed address: @i has it, and nobody else. */
static void check_down(uint32_t i)
{
	struct pc_stun_attr data;
	struct pc_stun_msg msg;

	w.client.n = 0;
	input(i, &i, sizeof(i), w.sockets[w.relayed[i]]);
	assert_int_equal(w.client.n, 1);
	assert_int_equal(w.client.who, i);
	if (i % 2) {
		assert_int_equal(w.client.bytes[0] << 8 | w.client.bytes[1], CHANNEL);
		assert_payload(w.client.bytes + 4, w.client.len - 4, i);
		return;
	}
	assert_int_equal(pc_stun_parse(w.client.bytes, w.client.len, &msg), 0);
	assert_true(pc_stun_find(&msg, PC_ATTR_DATA, &data));
	assert_payload(data.value, data.len, i);
}

static void check_up(uint32_t i)
{
	struct pc_addr peer = numbered(20, i, PEER_PORT);
	uint8_t buf[MAX_LEN], txid[PC_STUN_TXID_LEN] = { 0 };
	struct pc_stun_writer sw;
	struct pc_writer cw;

	w.peer.n = 0;
	if (i % 2) {
		pc_writer_init(&cw, buf, sizeof(buf));
		pc_write_u16(&cw, CHANNEL);
		pc_write_u16(&cw, sizeof(i));
		pc_write_bytes(&cw, &i, sizeof(i));
		input(i, buf, cw.len, NULL);
	} else {
		pc_stun_begin(&sw, buf, sizeof(buf), PC_STUN_SEND, PC_STUN_INDICATION, txid);
		pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_PEER_ADDRESS, &peer);
		pc_stun_put(&sw, PC_ATTR_DATA, &i, sizeof(i));
		input(i, buf, pc_stun_end(&sw), NULL);
	}
	assert_int_equal(w.peer.n, 1);
	assert_int_equal(w.peer.who, i);
	assert_int_equal(w.peer.port, w.relayed[i]);
	assert_payload(w.peer.bytes, w.peer.len, i);
}

/* On another port nobody has @i's peer. */
static void check_stray(uint32_t i, uint16_t port)
{
	unsigned int drops = w.drops;

	if (port == w.relayed[i])
		return;
	w.client.n = 0;
	input(i, &i, sizeof(i), w.sockets[port]);
	assert_int_equal(w.client.n, 0);
	assert_int_equal(w.drops, drops + 1);
}

/* --- tests --- */

static void test_each_its_own(void **state)
{
	size_t before = mallinfo2().uordblks;
	struct pc_turn_stats st;

	for (uint32_t i = 0; i < SESSIONS; i++)
		allocate(i);
	assert_int_equal(w.opened, PORTS);
	for (uint32_t i = 0; i < SESSIONS; i++)
		assert_int_equal(bind_peer(i, i), 0);
	print_message("# %zu bytes for a session with a permission, every second with a channel\n",
		      (mallinfo2().uordblks - before) / SESSIONS);
	pc_turn_get_stats(w.f.t, &st);
	assert_int_equal(st.allocations, SESSIONS);
	assert_int_equal(st.ports_in_use, PORTS);
	/* Each is looked at ten times on average: hardly one is never. */
	assert_in_range(st.ports_shared, PORTS - 16, PORTS);
	assert_in_range(st.port_sessions, SESSIONS / PORTS + 1, LOAD_LIMIT);
	for (uint32_t i = 0; i < SESSIONS; i++) {
		check_down(i);
		check_up(i);
		check_stray(i, w.relayed[(i + 1) % SESSIONS]);
	}
	/* Two in three go: the ports stay for the others. */
	for (uint32_t i = 0; i < SESSIONS; i++) {
		if (i % 3)
			end(i);
	}
	for (uint32_t i = 0; i < SESSIONS; i += 3) {
		check_down(i);
		check_up(i);
	}
	assert_int_equal(pc_turn_end_tenant(w.f.t, 1, w.f.now), SESSIONS / 3 + 1);
	pc_turn_get_stats(w.f.t, &st);
	assert_int_equal(st.ports_in_use + st.ports_shared + st.permissions + st.conflicts, 0);
	assert_int_equal(w.open, 0);
}

/* All want the same few peers: one on a port gets each, the others after at most one more try. */
static void test_few_peers(void **state)
{
	enum { N = 1000, FEW_PORTS = 200, PEERS = 10 };
	struct pc_turn_stats st;
	unsigned int again = 0;

	pc_turn_free(TAKE_PTR(w.f.t));
	w.f.config.port_high = LOW + FEW_PORTS - 1;
	assert_int_equal(pc_turn_new(&w.f.config, &ops, &w.f, w.f.now, &w.f.t), 0);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t peer = i % PEERS;
		unsigned int code;

		allocate(i);
		/* Many hold one peer, on ports of their own. */
		w.holder[peer] = NOBODY;
		code = bind_peer(i, peer);
		if (code == 0)
			continue;
		assert_int_equal(code, 508);
		again++;
		end(i);
		allocate(i);
		w.holder[peer] = NOBODY;
		assert_int_equal(bind_peer(i, peer), 0);
	}
	pc_turn_get_stats(w.f.t, &st);
	assert_int_equal(st.conflicts, again);
	assert_int_equal(st.permissions, N);
	assert_true(again > 0);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t peer = i % PEERS;

		w.client.n = 0;
		input(peer, &i, sizeof(i), w.sockets[w.relayed[i]]);
		assert_int_equal(w.client.n, 1);
		assert_int_equal(w.client.who, i);
	}
	memset(w.holder, 0xff, sizeof(w.holder));
	memset(w.at, 0, sizeof(w.at));
	pc_turn_end_tenant(w.f.t, 1, w.f.now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_its_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_few_peers, set_up, tear_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
