/* SPDX-License-Identifier: MIT */
/*
 * The way through: datagrams that come alone and several in one message (UDP_GRO), to a peer and
 * back, through a TURN machine with one allocation. Over loopback, where what was sent in one
 * message (UDP_SEGMENT) arrives in one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "daemon/io.h"

#define SLOT	1
#define SLOTS	2
#define CHANNEL 0x4abc
#define ROOM	65536

static struct ev_loop *loop;
static struct pc_io *io;
static struct pc_turn *turn;
static struct pc_policy *policy;
static uint64_t reasons[PC_REASON_SLOTS];
static uint64_t drops[PC_TURN_DROP_COUNT];
static struct pc_count count[SLOTS];
static uint8_t data[4 * ROOM];
/* One at each end of the relay; the peer with a channel, and one with a permission only. */
static int client, peer, other;
static struct pc_addr client_addr, peer_addr, other_addr, server, relayed;

/* --- what the machine asks for --- */

static void op_send_client(void *ctx, const struct pc_turn_path *path, const struct pc_dgram *d)
{
	pc_io_send_client(io, path, d);
}

static void op_send_peer(void *ctx, void *port, const struct pc_addr *to, const struct pc_dgram *d)
{
	pc_io_send_peer(io, port, to, d);
}

static int op_port_open(void *ctx, const struct pc_addr *local, struct pc_turn_socket *socket,
			void **ret_port)
{
	return pc_io_port_open(io, local, socket, ret_port);
}

static void op_port_close(void *ctx, void *port)
{
	pc_io_port_close(io, port);
}

static void op_slot_close(void *ctx, uint32_t slot)
{
}

static int op_flow_set(void *ctx, const struct pc_turn_flow *flow)
{
	return 0;
}

static void op_flow_del(void *ctx, const struct pc_turn_flow *flow)
{
}

static int op_perm_set(void *ctx, const struct pc_turn_perm *perm)
{
	return 0;
}

static void op_perm_del(void *ctx, const struct pc_turn_perm *perm)
{
}

static void op_client_set(void *ctx, const struct pc_turn_path *path, uint32_t slot)
{
}

static void op_client_del(void *ctx, const struct pc_turn_path *path)
{
}

static bool op_admit(void *ctx, uint32_t slot, bool up, struct pc_dgram *d, uint32_t payload_bytes,
		     uint32_t wire_bytes)
{
	return true;
}

static void op_count(void *ctx, uint32_t slot, bool up, uint32_t payload_bytes, uint32_t wire_bytes)
{
	pc_io_count(io, slot, up, payload_bytes, wire_bytes);
}

static void op_drop(void *ctx, enum pc_turn_drop reason)
{
	drops[reason]++;
}

static void op_forget(void *ctx, uint64_t id)
{
}

static void op_random(void *ctx, void *buf, size_t len)
{
	memset(buf, 7, len);
}

static const struct pc_turn_ops ops = {
	.send_client = op_send_client,
	.send_peer = op_send_peer,
	.port_open = op_port_open,
	.port_close = op_port_close,
	.slot_close = op_slot_close,
	.flow_set = op_flow_set,
	.flow_del = op_flow_del,
	.perm_set = op_perm_set,
	.perm_del = op_perm_del,
	.client_set = op_client_set,
	.client_del = op_client_del,
	.admit = op_admit,
	.count = op_count,
	.drop = op_drop,
	.forget = op_forget,
	.random = op_random,
};

/* --- both ends --- */

/* A socket on 127.0.0.@host and a port of its own. */
static int open_end(uint8_t host, int *ret_fd, struct pc_addr *ret_addr)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK + host - 1u) } };
	socklen_t len = sizeof(sa);
	int one = 1, big = 8 << 20;

	*ret_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (*ret_fd < 0 || bind(*ret_fd, (struct sockaddr *)&sa, len) < 0 ||
	    getsockname(*ret_fd, (struct sockaddr *)&sa, &len) < 0)
		return -1;
	setsockopt(*ret_fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	setsockopt(*ret_fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one));
	return pc_addr_from_sockaddr((struct sockaddr *)&sa, len, ret_addr);
}

/* A port nobody had a moment ago. */
static int free_addr(uint8_t host, struct pc_addr *ret_addr)
{
	int fd, r = open_end(host, &fd, ret_addr);

	close(fd);
	return r;
}

static int start_turn(void)
{
	struct pc_turn_config config = {
		.realm = "test",
		.n_relay_ips = 1,
		.relay_ips = { { relayed.ip, relayed.ip } },
		.port_low = relayed.port,
		.port_high = relayed.port,
		.max_allocations = 1,
		.default_lifetime_s = 600,
		.max_lifetime_s = 3600,
	};
	struct pc_prefix loopback = { .ip = pc_ip4(127, 0, 0, 0), .len = 8 };
	uint64_t now = pc_clock_monotonic(), expires = now + 300 * PC_NS_PER_S;
	struct pc_turn_saved_permission perm = { peer_addr.ip, expires };
	struct pc_turn_saved_channel channel = { CHANNEL, peer_addr, expires };
	struct pc_turn_record record = {
		.id = 1,
		.slot = SLOT,
		.path = { .server = server, .client = client_addr },
		.relayed = { relayed },
		.expires_ns = expires,
		.created_ns = now,
		.quota = { 1, 1, 1, 1 },
		.permissions = &perm,
		.n_permissions = 1,
		.channels = &channel,
		.n_channels = 1,
	};

	if (pc_policy_new(&policy) || pc_policy_add(policy, &loopback, true))
		return -1;
	pc_policy_allow_all_ports(policy);
	config.policy = policy;
	return pc_turn_new(&config, &ops, NULL, now, &turn) || pc_turn_restore(turn, &record, now);
}

static int setup(void **state)
{
	struct pc_io_config config = { .listen = &server, .n_listen = 1 };
	char err[256];

	memset(reasons, 0, sizeof(reasons));
	memset(drops, 0, sizeof(drops));
	memset(count, 0, sizeof(count));
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	loop = config.loop = ev_loop_new(0);
	if (!loop || open_end(1, &client, &client_addr) || open_end(1, &peer, &peer_addr) ||
	    open_end(1, &other, &other_addr) || free_addr(2, &server) || free_addr(3, &relayed) ||
	    pc_io_new(&config, err, sizeof(err), &io))
		return -1;
	pc_io_count_into(io, reasons, count, SLOTS);
	if (start_turn())
		return -1;
	pc_io_start(io, turn);
	return 0;
}

static int teardown(void **state)
{
	pc_turn_free(turn);
	pc_io_free(io);
	pc_policy_free(policy);
	ev_loop_destroy(loop);
	close(client);
	close(peer);
	close(other);
	return 0;
}

/* @len bytes in one message, to arrive as datagrams of @segment (0: as one). */
static void send_message(int fd, const struct pc_addr *to, const void *bytes, size_t len,
			 uint16_t segment)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(segment))] = { 0 };
	struct iovec iov = { (void *)bytes, len };
	struct sockaddr_storage sa;
	struct msghdr h = {
		.msg_name = &sa,
		.msg_namelen = pc_addr_to_sockaddr(to, &sa),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	struct cmsghdr *c = (struct cmsghdr *)control;

	if (segment) {
		h.msg_control = control;
		h.msg_controllen = sizeof(control);
		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(c), &segment, sizeof(segment));
	}
	assert_int_equal(sendmsg(fd, &h, 0), len);
}

/* The loop, until both ends of the relay have nothing left to read. */
static void relay(void)
{
	for (int i = 0; i < 20; i++)
		ev_run(loop, EVRUN_NOWAIT);
}

/* The next datagram at @fd into @buf, with its TTL. */
static size_t receive(int fd, uint8_t *buf, int *ret_ttl)
{
	_Alignas(struct cmsghdr) uint8_t control[64];
	struct iovec iov = { buf, ROOM };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&pfd, 1, 1000), 1);
	n = recvmsg(fd, &h, 0);
	assert_true(n >= 0);
	*ret_ttl = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_type == IP_TTL)
			memcpy(ret_ttl, CMSG_DATA(c), sizeof(*ret_ttl));
	}
	return (size_t)n;
}

static void expect_nothing(int fd)
{
	uint8_t byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void expect_at_peer(const uint8_t *bytes, size_t len)
{
	static uint8_t buf[ROOM];
	int ttl;

	assert_int_equal(receive(peer, buf, &ttl), len);
	assert_memory_equal(buf, bytes, len);
	assert_int_equal(ttl, 63);
}

static void expect_channel(const uint8_t *bytes, size_t len)
{
	static uint8_t buf[ROOM];
	int ttl;

	assert_int_equal(receive(client, buf, &ttl), 4 + len);
	assert_int_equal(buf[0] << 8 | buf[1], CHANNEL);
	assert_int_equal(buf[2] << 8 | buf[3], len);
	assert_memory_equal(buf + 4, bytes, len);
	assert_int_equal(ttl, 63);
}

/* A Data indication from a peer over IPv4: header, XOR-PEER-ADDRESS, DATA, padding of zeros. */
static void expect_indication(const uint8_t *bytes, size_t len)
{
	static uint8_t buf[ROOM];
	size_t pad = -len & 3;
	int ttl;

	assert_int_equal(receive(client, buf, &ttl), 36 + len + pad);
	assert_int_equal(buf[0] << 8 | buf[1], 0x0017);
	assert_int_equal(buf[2] << 8 | buf[3], 16 + len + pad);
	assert_int_equal(buf[20] << 8 | buf[21], 0x0012);
	assert_int_equal((buf[26] << 8 | buf[27]) ^ 0x2112, other_addr.port);
	assert_int_equal(buf[32] << 8 | buf[33], 0x0013);
	assert_int_equal(buf[34] << 8 | buf[35], len);
	assert_memory_equal(buf + 36, bytes, len);
	assert_memory_equal(buf + 36 + len, "\0\0\0", pad);
	assert_int_equal(ttl, 63);
}

/* ChannelData of @len bytes of @bytes at @at. Returns its length. */
static size_t put_channel(uint8_t *at, const uint8_t *bytes, size_t len)
{
	at[0] = CHANNEL >> 8;
	at[1] = CHANNEL & 0xff;
	at[2] = (uint8_t)(len >> 8);
	at[3] = (uint8_t)len;
	memcpy(at + 4, bytes, len);
	return 4 + len;
}

/* --- cases --- */

/* Lengths that are no multiple of anything, a last one that is shorter, and of length zero. */
static void test_up(void **state)
{
	static const struct {
		size_t n, len, last;
	} runs[] = { { 5, 101, 7 }, { 63, 1, 0 }, { 40, 1399, 1398 }, { 2, 3, 3 }, { 1, 0, 0 } };
	static uint8_t buf[ROOM];
	uint64_t packets = 0, bytes = 0;

	for (size_t i = 0; i < PC_ARRAY_SIZE(runs); i++) {
		size_t used = 0;

		for (size_t k = 0; k < runs[i].n; k++)
			used += put_channel(buf + used, data + k * 13, runs[i].len);
		used += put_channel(buf + used, data, runs[i].last);
		send_message(client, &server, buf, used, (uint16_t)(runs[i].len + 4));
	}
	relay();
	for (size_t i = 0; i < PC_ARRAY_SIZE(runs); i++) {
		for (size_t k = 0; k < runs[i].n; k++)
			expect_at_peer(data + k * 13, runs[i].len);
		expect_at_peer(data, runs[i].last);
		packets += runs[i].n + 1;
		bytes += runs[i].n * runs[i].len + runs[i].last;
	}
	expect_nothing(peer);
	assert_int_equal(count[SLOT].up.packets, packets);
	assert_int_equal(count[SLOT].up.payload_bytes, bytes);
	assert_int_equal(count[SLOT].up.wire_bytes, bytes + 28 * packets);
	assert_int_equal(reasons[PC_REASON_USER_FORWARD], packets);
}

/* The header of a channel goes where the datagram before ends; so does that of an indication. */
static void down(int from, void (*expect)(const uint8_t *bytes, size_t len))
{
	static const size_t len[] = { 101, 1, 2, 3, 1200 };
	uint64_t packets = 0, bytes = 0;

	for (size_t i = 0; i < PC_ARRAY_SIZE(len); i++)
		send_message(from, &relayed, data + i, 10 * len[i] + len[i] / 2, (uint16_t)len[i]);
	send_message(from, &relayed, data, 0, 0);
	send_message(from, &relayed, data + 9, 33, 0);
	relay();
	for (size_t i = 0; i < PC_ARRAY_SIZE(len); i++) {
		for (size_t k = 0; k < 10; k++)
			expect(data + i + k * len[i], len[i]);
		if (len[i] / 2)
			expect(data + i + 10 * len[i], len[i] / 2);
		packets += 10 + (len[i] / 2 > 0);
		bytes += 10 * len[i] + len[i] / 2;
	}
	expect(data, 0);
	expect(data + 9, 33);
	expect_nothing(client);
	assert_int_equal(count[SLOT].down.packets, packets + 2);
	assert_int_equal(count[SLOT].down.payload_bytes, bytes + 33);
}

static void test_down_channel(void **state)
{
	down(peer, expect_channel);
}

static void test_down_indication(void **state)
{
	down(other, expect_indication);
}

/* More in one batch than is kept apart: what is queued leaves before its place is used again. */
static void test_much(void **state)
{
	int room;
	socklen_t size = sizeof(room);

	assert_int_equal(getsockopt(client, SOL_SOCKET, SO_RCVBUF, &room, &size), 0);
	if (room < 8 << 20) {
		print_message("# needs CAP_NET_ADMIN for a large receive buffer\n");
		skip();
	}
	for (size_t i = 0; i < 10; i++)
		send_message(peer, &relayed, data + i * 1001, 10 * 6000, 6000);
	relay();
	for (size_t i = 0; i < 10; i++) {
		for (size_t k = 0; k < 10; k++)
			expect_channel(data + i * 1001 + k * 6000, 6000);
	}
	expect_nothing(client);
	assert_int_equal(count[SLOT].down.packets, 100);
}

/* Each datagram of a message is judged by itself. */
static void test_mixed(void **state)
{
	uint8_t buf[6 * 20];

	for (size_t i = 0; i < 6; i++)
		put_channel(buf + i * 20, data + i * 16, 16);
	buf[1 * 20 + 1] ^= 1;  /* another channel */
	buf[3 * 20] = 0xff;    /* nothing we know */
	buf[4 * 20 + 3] += 14; /* longer than it is */
	send_message(client, &server, buf, sizeof(buf), 20);
	send_message(client, &server, buf, 0, 0);
	relay();
	expect_at_peer(data, 16);
	expect_at_peer(data + 2 * 16, 16);
	expect_at_peer(data + 5 * 16, 16);
	expect_nothing(peer);
	assert_int_equal(count[SLOT].up.packets, 3);
	assert_int_equal(drops[PC_TURN_DROP_NO_CHANNEL], 1);
	assert_int_equal(drops[PC_TURN_DROP_MALFORMED], 2);
	assert_int_equal(drops[PC_TURN_DROP_LENGTH], 1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_up),	 CASE(test_down_channel), CASE(test_down_indication),
		CASE(test_much), CASE(test_mixed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
