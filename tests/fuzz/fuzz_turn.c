/* SPDX-License-Identifier: MIT */
/*
 * The whole TURN machine. The input is a script: each step is an operation and its bytes. Steps
 * with a valid credential reach what lies behind authentication; the attributes stay the fuzzer's.
 * After each input everything is ended, and nothing may be left.
 */
#include <stdint.h>

#include "base/cleanup.h"
#include "base/wire.h"
#include "relay/stun.h"
#include "tests/scenario/fake.h"

#define MAX_STEPS   96
#define MAX_PAYLOAD 600
#define CLIENTS	    3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct fake f;
	struct pc_reader in;
	uint32_t txid;
	uint8_t token[8]; /* of the last reservation */
};

static struct pc_addr address(struct run *r, uint8_t pick)
{
	static const uint8_t v6[16] = { 0x26, 0, 0, 1 };
	struct pc_addr a = { .port = (uint16_t)(5000 + (pick >> 4 & 1)) };

	/* A relayed address of this node, to send inside. */
	if ((pick & 3) == 3 && r->f.ports)
		return r->f.ports->local;
	if (pick & 1) {
		a.ip.family = 6;
		memcpy(a.ip.b, v6, sizeof(v6));
		a.ip.b[15] = pick & 0xc;
	} else {
		a.ip = pc_ip4(20, 1, 1, pick & 0xc);
	}
	return a;
}

static struct pc_turn_path path(uint8_t pick)
{
	struct pc_turn_path p = {
		.listener = pick % CLIENTS,
		.server = { .ip = pc_ip4(192, 0, 2, 1), .port = 3478 },
		.client = { .ip = pc_ip4(198, 51, 100, 7),
			    .port = (uint16_t)(4000 + pick % CLIENTS) },
	};

	return p;
}

/* In a buffer of exactly the promised size. */
static void deliver(struct run *r, uint8_t pick, const void *bytes, size_t len,
		    struct fake_port *port)
{
	struct pc_turn_path from = path(pick);
	struct pc_addr peer = address(r, pick);
	uint8_t *buf = malloc(PC_TURN_HEADROOM + len + PC_TURN_TAILROOM);
	struct pc_dgram d = { .data = buf + PC_TURN_HEADROOM, .len = len, .ttl = pick >> 4 };

	if (len)
		memcpy(d.data, bytes, len);
	if (port)
		pc_turn_peer_input(r->f.t, port->socket, &peer, &d, r->f.now);
	else
		pc_turn_input(r->f.t, &from, &d, r->f.now, r->f.realtime_s);
	free(buf);
}

/* Up to @max bytes of the input: a length byte times four, then the bytes. */
static const uint8_t *take(struct run *r, size_t max, size_t *ret_len)
{
	size_t len = pc_read_u8(&r->in) * 4u;

	if (len > max)
		len = max;
	if (len > pc_reader_left(&r->in))
		len = pc_reader_left(&r->in);
	*ret_len = len;
	return pc_read_bytes(&r->in, len);
}

static void step_raw(struct run *r, uint8_t pick)
{
	size_t len;
	const uint8_t *bytes = take(r, MAX_PAYLOAD, &len);

	deliver(r, pick, bytes, len, NULL);
}

static void step_channel(struct run *r, uint8_t pick)
{
	uint8_t buf[4 + MAX_PAYLOAD];
	size_t len;
	const uint8_t *bytes = take(r, MAX_PAYLOAD, &len);
	struct pc_writer w;

	pc_writer_init(&w, buf, sizeof(buf));
	pc_write_u16(&w, 0x4000 + (pick & 3));
	pc_write_u16(&w, (uint16_t)(len - (pick >> 6 < len ? pick >> 6 : 0)));
	if (len)
		pc_write_bytes(&w, bytes, len);
	deliver(r, pick, buf, w.len, NULL);
}

static void put_credential(struct run *r, uint8_t pick, struct pc_stun_writer *sw)
{
	static const uint8_t algorithms[8] = { 0, 2, 0, 0, 0, 1, 0, 0 };
	struct pc_turn_path from = path(pick);
	char nonce[PC_AUTH_NONCE_LEN];
	struct pc_auth_key key;
	bool sha256 = pick & 0x40;

	pc_nonce_make(&r->f.config.nonce_keys, &from.client, r->f.realtime_s, nonce);
	if (pick & 0x20) {
		uint8_t hash[PC_AUTH_USERHASH_LEN];

		pc_auth_userhash("u", 1, r->f.config.realm, hash);
		pc_stun_put(sw, PC_ATTR_USERHASH, hash, sizeof(hash));
	} else {
		pc_stun_put(sw, PC_ATTR_USERNAME, "u", 1);
	}
	pc_stun_put(sw, PC_ATTR_REALM, r->f.config.realm, strlen(r->f.config.realm));
	pc_stun_put(sw, PC_ATTR_NONCE, nonce, sizeof(nonce));
	if (sha256) {
		pc_stun_put(sw, PC_ATTR_PASSWORD_ALGORITHMS, algorithms, sizeof(algorithms));
		pc_stun_put(sw, PC_ATTR_PASSWORD_ALGORITHM, algorithms, 4);
	}
	pc_auth_derive(sha256 ? PC_AUTH_SHA256 : PC_AUTH_MD5, "u", 1, r->f.config.realm, "p", 1,
		       &key);
	if (sha256)
		pc_stun_put_integrity256(sw, key.b, key.len);
	else
		pc_stun_put_integrity(sw, key.b, key.len);
	if (pick & 0x80)
		pc_stun_put_fingerprint(sw);
}

/* Attributes that are right more often than chance would have it. */
static void put_attributes(struct run *r, struct pc_stun_writer *sw)
{
	unsigned int n = pc_read_u8(&r->in) & 7;

	for (unsigned int i = 0; i < n; i++) {
		uint8_t what = pc_read_u8(&r->in), v = pc_read_u8(&r->in);
		struct pc_addr addr = address(r, v);
		const uint8_t *bytes;
		size_t len;

		switch (what & 15) {
		case 0:
		case 1:
			pc_stun_put_u32(sw, PC_ATTR_REQUESTED_TRANSPORT, 17u << 24);
			break;
		case 2:
		case 3:
		case 4:
			pc_stun_put_xor_addr(sw, PC_ATTR_XOR_PEER_ADDRESS, &addr);
			break;
		case 5:
			pc_stun_put_u32(sw, PC_ATTR_CHANNEL_NUMBER, (0x4000u + (v & 3)) << 16);
			break;
		case 6:
			pc_stun_put_u32(sw, PC_ATTR_LIFETIME, v * 16u);
			break;
		case 7:
			pc_stun_put_u32(sw, PC_ATTR_REQUESTED_ADDRESS_FAMILY, (v & 3u) << 24);
			break;
		case 8:
			pc_stun_put_u32(sw, PC_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
			break;
		case 9:
			pc_stun_put(sw, PC_ATTR_EVEN_PORT, &v, 1);
			break;
		case 10:
			pc_stun_put(sw, PC_ATTR_RESERVATION_TOKEN, r->token, sizeof(r->token));
			break;
		default:
			bytes = take(r, MAX_PAYLOAD, &len);
			pc_stun_put(sw,
				    what & 16 ? PC_ATTR_DATA : (uint16_t)(v | (what & 32) << 10),
				    bytes, len);
		}
	}
}

static void step_message(struct run *r, uint8_t pick, bool authenticated)
{
	uint8_t what = pc_read_u8(&r->in);
	uint8_t buf[2048], txid[PC_STUN_TXID_LEN] = { 0 };
	struct pc_stun_writer sw;
	size_t len;

	r->txid += what & 0x40 ? 1 : 0;
	memcpy(txid, &r->txid, sizeof(r->txid));
	pc_stun_begin(&sw, buf, sizeof(buf), what & 15,
		      what & 0x30 ? PC_STUN_REQUEST : PC_STUN_INDICATION, txid);
	put_attributes(r, &sw);
	if (authenticated)
		put_credential(r, pick, &sw);
	len = pc_stun_end(&sw);
	deliver(r, pick, buf, len, NULL);
}

/* Allocation, permission and channel for one client at once: what comes next has data to move. */
static void step_ready(struct run *r, uint8_t pick)
{
	static const uint16_t methods[] = { PC_STUN_ALLOCATE, PC_STUN_CREATE_PERMISSION,
					    PC_STUN_CHANNEL_BIND };

	for (unsigned int i = 0; i < 3; i++) {
		struct pc_addr peer = address(r, pick);
		uint8_t buf[512], txid[PC_STUN_TXID_LEN] = { 1, (uint8_t)i, pick };
		struct pc_stun_writer sw;
		size_t len;

		pc_stun_begin(&sw, buf, sizeof(buf), methods[i], PC_STUN_REQUEST, txid);
		if (i == 0) {
			pc_stun_put_u32(&sw, PC_ATTR_REQUESTED_TRANSPORT, 17u << 24);
			pc_stun_put_u32(&sw, PC_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
		} else {
			pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_PEER_ADDRESS, &peer);
		}
		if (i == 2)
			pc_stun_put_u32(&sw, PC_ATTR_CHANNEL_NUMBER, (0x4000u + (pick & 3)) << 16);
		put_credential(r, pick, &sw);
		len = pc_stun_end(&sw);
		deliver(r, pick, buf, len, NULL);
	}
}

static struct fake_port *some_port(struct run *r, uint8_t pick)
{
	struct fake_port *p = r->f.ports;

	while (p && (!p->socket || pick-- % 4 != 0))
		p = p->next;
	return p;
}

static void step_peer(struct run *r, uint8_t pick)
{
	struct fake_port *port = some_port(r, pick);
	size_t len;
	const uint8_t *bytes = take(r, MAX_PAYLOAD, &len);

	if (port)
		deliver(r, pick, bytes, len, port);
}

static void step_icmp(struct run *r, uint8_t pick)
{
	struct fake_port *port = some_port(r, pick);
	struct pc_addr peer = address(r, pick);

	if (port)
		pc_turn_peer_icmp(r->f.t, port->socket, &peer, pc_read_u8(&r->in),
				  pc_read_u8(&r->in), 1400, r->f.now);
}

static void restart(struct run *r)
{
	pc_turn_free(r->f.t);
	fake_perms_clear(&r->f);
	fake_clients_clear(&r->f);
	if (pc_turn_new(&r->f.config, &fake_ops, &r->f, r->f.now, &r->f.t) < 0)
		abort();
	for (size_t i = 0; i < FAKE_RECORDS; i++) {
		struct fake_record copy = r->f.records[i];

		if (!copy.used)
			continue;
		memset(&r->f.records[i], 0, sizeof(r->f.records[i]));
		if (pc_turn_restore(r->f.t, &copy.r, r->f.now) < 0)
			fake_record_clear(&copy);
		else
			r->f.records[i] = copy;
	}
}

static void step_world(struct run *r, uint8_t pick)
{
	switch (pick & 7) {
	case 0:
		restart(r);
		break;
	case 1:
		pc_turn_resync_flows(r->f.t, r->f.now);
		break;
	case 2:
		pc_turn_end_tenant(r->f.t, 1, r->f.now);
		break;
	case 3:
		r->f.config.draining = !r->f.config.draining;
		pc_turn_reconfigure(r->f.t, &r->f.config, r->f.now);
		break;
	case 4:
		r->f.fail_code[pick >> 6] = pick & 8 ? PC_ERR_FULL : -EADDRINUSE;
		r->f.fail_count[pick >> 6] = 1 + (pick >> 4 & 3);
		break;
	default:
		r->f.now += (uint64_t)pick * PC_NS_PER_S;
		r->f.realtime_s += pick;
		if (pick & 8)
			pc_turn_tick(r->f.t, r->f.now);
	}
}

/* What leaves is well-formed, and goes to a client or to where the policy allows. */
static void check(struct fake *f, const struct pc_addr *to, const struct pc_dgram *d)
{
	struct run *r = pc_container_of(f, struct run, f);
	struct pc_turn_path client = path(0);
	struct pc_stun_attr token;
	struct pc_stun_msg msg;

	if (!pc_ip_equal(&to->ip, &client.client.ip)) {
		if (!pc_policy_allows(f->policy, to) || d->ttl == 0)
			abort();
		return;
	}
	if (d->len && d->data[0] >= 0x40) {
		if (d->len < 4 || d->len != 4u + (d->data[2] << 8 | d->data[3]))
			abort();
	} else if (pc_stun_parse(d->data, d->len, &msg) < 0 ||
		   (msg.fingerprint_off && !msg.fingerprint_ok)) {
		abort();
	} else if (pc_stun_find(&msg, PC_ATTR_RESERVATION_TOKEN, &token) && token.len == 8) {
		memcpy(r->token, token.value, sizeof(r->token));
	}
}

static void finish(struct run *r)
{
	struct pc_turn_stats st;

	pc_turn_end_tenant(r->f.t, UINT32_MAX, r->f.now);
	pc_turn_get_stats(r->f.t, &st);
	if (st.allocations || st.channels || st.permissions || st.ports_in_use || r->f.open_slots ||
	    r->f.ports || r->f.perms || pc_turn_next_deadline(r->f.t) != UINT64_MAX)
		abort();
	fake_free(&r->f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	struct run *r = &run;
	struct fake_user *u = &r->f.users[0];

	memset(r, 0, sizeof(*r));
	fake_init(&r->f);
	r->f.quiet = true;
	r->f.check = check;
	r->f.config.n_relay_ips = 2;
	r->f.config.relay_ips[0].local = pc_ip4(172, 31, 0, 10);
	r->f.config.relay_ips[0].external = pc_ip4(192, 0, 2, 10);
	r->f.config.relay_ips[1].local.family = r->f.config.relay_ips[1].external.family = 6;
	r->f.config.relay_ips[1].local.b[0] = r->f.config.relay_ips[1].external.b[0] = 0x26;
	r->f.config.port_low = 50000;
	/* One in four runs has so few ports that clients have to share them. */
	r->f.config.port_high = size % 4 ? 50015 : 50001;
	r->f.config.stranger_replies_per_s = 50;
	r->f.n_users = 1;
	memcpy(u->name, "u", 2);
	memcpy(u->password, "p", 2);
	u->user.tenant = 1;
	u->user.quota = (struct pc_turn_quota){ 5, 6, 4, 50 };
	if (pc_turn_new(&r->f.config, &fake_ops, &r->f, r->f.now, &r->f.t) < 0)
		abort();
	pc_reader_init(&r->in, data, size);
	for (unsigned int i = 0; i < MAX_STEPS && pc_reader_left(&r->in) > 1; i++) {
		uint8_t op = pc_read_u8(&r->in), pick = pc_read_u8(&r->in);

		switch (op & 7) {
		case 0:
			step_raw(r, pick);
			break;
		case 1:
			step_message(r, pick, false);
			break;
		case 2:
			step_channel(r, pick);
			break;
		case 3:
			step_peer(r, pick);
			break;
		case 4:
			step_icmp(r, pick);
			break;
		case 5:
			step_world(r, pick);
			break;
		case 6:
			step_message(r, pick, true);
			break;
		default:
			step_ready(r, pick);
		}
	}
	finish(r);
	return 0;
}
