/* SPDX-License-Identifier: MIT */
/* The queue out: order, batches, segments, counters. Datagrams really leave, over loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/io.h"

#define SLOTS 4

static struct ev_loop *loop;
static struct pc_io *io;
static uint64_t reasons[PC_REASON_SLOTS];
static struct pc_count count[SLOTS];
static void *port;
static uint8_t data[65536];

struct peer {
	int fd;
	struct pc_addr addr;
};
static struct peer peers[2];

static struct pc_addr any_port(void)
{
	return (struct pc_addr){ .ip = pc_ip4(127, 0, 0, 1) };
}

static int open_peer(struct peer *p)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int one = 1;

	p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&sa, len) < 0 ||
	    getsockname(p->fd, (struct sockaddr *)&sa, &len) < 0)
		return -1;
	setsockopt(p->fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one));
	setsockopt(p->fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one));
	return pc_addr_from_sockaddr((struct sockaddr *)&sa, len, &p->addr);
}

static int setup(void **state)
{
	struct pc_addr local = any_port();
	struct pc_io_config config = {
		.loop = ev_loop_new(0),
		.listen = &local,
		.n_listen = 1,
	};
	char err[256];

	memset(reasons, 0, sizeof(reasons));
	memset(count, 0, sizeof(count));
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	loop = config.loop;
	if (!loop || pc_io_new(&config, err, sizeof(err), &io))
		return -1;
	pc_io_count_into(io, reasons, count, SLOTS);
	if (pc_io_port_open(io, &local, NULL, &port))
		return -1;
	return open_peer(&peers[0]) || open_peer(&peers[1]) ? -1 : 0;
}

static int teardown(void **state)
{
	pc_io_port_close(io, port);
	pc_io_free(io);
	ev_loop_destroy(loop);
	close(peers[0].fd);
	close(peers[1].fd);
	return 0;
}

static void send_to(const struct peer *p, size_t offset, size_t len, uint8_t ttl, uint8_t tos)
{
	struct pc_dgram d = {
		.data = data + offset,
		.len = len,
		.ttl = ttl,
		.tos = tos,
		.in_place = true,
	};

	pc_io_send_peer(io, port, &p->addr, &d);
	pc_io_count(io, 1, true, (uint32_t)len, (uint32_t)len + 28);
}

/* The next datagram at @p; -1 when none comes within a second. */
static ssize_t receive(const struct peer *p, uint8_t *buf, size_t size, int *ret_ttl, int *ret_tos)
{
	_Alignas(struct cmsghdr) uint8_t control[128];
	struct iovec iov = { buf, size };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
	ssize_t n;

	if (poll(&pfd, 1, 1000) != 1)
		return -1;
	n = recvmsg(p->fd, &h, 0);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_type == IP_TTL)
			memcpy(ret_ttl, CMSG_DATA(c), sizeof(*ret_ttl));
		if (c->cmsg_type == IP_TOS)
			*ret_tos = *CMSG_DATA(c);
	}
	return n;
}

static void expect(const struct peer *p, size_t offset, size_t len, int ttl, int tos)
{
	static uint8_t buf[65536];
	int got_ttl = -1, got_tos = -1;

	assert_int_equal(receive(p, buf, sizeof(buf), &got_ttl, &got_tos), len);
	assert_memory_equal(buf, data + offset, len);
	assert_int_equal(got_ttl, ttl);
	assert_int_equal(got_tos, tos);
}

static void expect_nothing(const struct peer *p)
{
	uint8_t byte;

	assert_int_equal(recv(p->fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_nothing_before_flush(void **state)
{
	send_to(&peers[0], 0, 10, 64, 0);
	expect_nothing(&peers[0]);
	assert_int_equal(count[1].up.packets, 0);
	pc_io_flush(io);
	expect(&peers[0], 0, 10, 64, 0);
	assert_int_equal(count[1].up.packets, 1);
	assert_int_equal(count[1].up.payload_bytes, 10);
	assert_int_equal(count[1].up.wire_bytes, 38);
	assert_int_equal(reasons[PC_REASON_USER_FORWARD], 1);
	pc_io_flush(io);
	expect_nothing(&peers[0]);
}

/* Every length after every other, two destinations in turn: each keeps its order and its bounds. */
static void test_runs(void **state)
{
	static const size_t len[] = {
		100, 100, 100, 40, 100, 100, 0, 100, 200, 200, 1, 1, 0, 0, 5
	};
	const size_t n = PC_ARRAY_SIZE(len);

	for (size_t i = 0; i < n; i++) {
		send_to(&peers[0], i * 300, len[i], 64, 0);
		send_to(&peers[1], i * 300 + 7, len[n - 1 - i], 64, 0);
	}
	pc_io_flush(io);
	for (size_t i = 0; i < n; i++) {
		expect(&peers[0], i * 300, len[i], 64, 0);
		expect(&peers[1], i * 300 + 7, len[n - 1 - i], 64, 0);
	}
	expect_nothing(&peers[0]);
	expect_nothing(&peers[1]);
	assert_int_equal(count[1].up.packets, 2 * n);
	assert_int_equal(reasons[PC_REASON_DROP_SEND], 0);
}

/* More than a message may hold, and more than the queue does. */
static void test_many(void **state)
{
	for (size_t i = 0; i < 200; i++)
		send_to(&peers[0], i * 100, 100, 64, 0);
	for (size_t i = 0; i < 60; i++) /* 64 KiB are full before 64 segments are */
		send_to(&peers[1], i, 1472, 64, 0);
	pc_io_flush(io);
	for (size_t i = 0; i < 200; i++)
		expect(&peers[0], i * 100, 100, 64, 0);
	for (size_t i = 0; i < 60; i++)
		expect(&peers[1], i, 1472, 64, 0);
	assert_int_equal(count[1].up.packets, 260);
}

static void test_ttl_tos(void **state)
{
	send_to(&peers[0], 0, 10, 64, 0);
	send_to(&peers[0], 10, 10, 63, 0);
	send_to(&peers[0], 20, 10, 63, 0xb8);
	send_to(&peers[0], 30, 10, 63, 0xb9); /* ECN stays */
	send_to(&peers[0], 40, 10, 0, 0);     /* nobody knows: the default */
	pc_io_flush(io);
	expect(&peers[0], 0, 10, 64, 0);
	expect(&peers[0], 10, 10, 63, 0);
	expect(&peers[0], 20, 10, 63, 0xb8);
	expect(&peers[0], 30, 10, 63, 0xb9);
	expect(&peers[0], 40, 10, 64, 0);
}

/* What is not in place may change as soon as the call returns. */
static void test_copied(void **state)
{
	uint8_t scratch[16] = "abc";
	struct pc_dgram d = { .data = scratch, .len = 3 };
	uint8_t buf[16];
	int ttl, tos;

	pc_io_send_peer(io, port, &peers[0].addr, &d);
	memset(scratch, 'x', sizeof(scratch));
	pc_io_flush(io);
	assert_int_equal(receive(&peers[0], buf, sizeof(buf), &ttl, &tos), 3);
	assert_memory_equal(buf, "abc", 3);
	assert_int_equal(reasons[PC_REASON_USER_FORWARD], 0); /* not data: not counted */
	d.data = data;
	d.len = 65000;
	for (int i = 0; i < 5; i++) /* more than is kept: sent in between */
		pc_io_send_peer(io, port, &peers[1].addr, &d);
	pc_io_flush(io);
	for (int i = 0; i < 3; i++)
		expect(&peers[1], 0, 65000, 64, 0);
}

/* Between two tenants: one datagram, counted for both. */
static void test_two_tags(void **state)
{
	send_to(&peers[0], 0, 10, 64, 0);
	pc_io_count(io, 2, false, 10, 42);
	pc_io_count(io, SLOTS, false, 10, 42); /* no such slot */
	pc_io_flush(io);
	assert_int_equal(count[1].up.packets, 1);
	assert_int_equal(count[2].down.packets, 1);
	assert_int_equal(count[2].down.wire_bytes, 42);
	assert_int_equal(reasons[PC_REASON_USER_FORWARD], 1);
}

/* Refused by the socket: a drop, not billed, and the others still leave. */
static void test_refused(void **state)
{
	struct peer nowhere = { .addr = { .ip = pc_ip4(255, 255, 255, 255), .port = 9 } };

	send_to(&peers[0], 0, 10, 64, 0);
	send_to(&nowhere, 0, 10, 64, 0);
	send_to(&nowhere, 0, 10, 64, 0);
	send_to(&peers[0], 10, 10, 64, 0);
	pc_io_flush(io);
	expect(&peers[0], 0, 10, 64, 0);
	expect(&peers[0], 10, 10, 64, 0);
	assert_int_equal(count[1].up.packets, 2);
	assert_int_equal(reasons[PC_REASON_DROP_SEND], 2);
}

/* "Connection refused" is about an earlier datagram: the one at hand leaves all the same. */
static void test_earlier_error(void **state)
{
	struct peer closed = peers[1];

	close(peers[1].fd);
	peers[1].fd = -1;
	for (int i = 0; i < 3; i++) {
		send_to(&closed, 0, 10, 64, 0);
		pc_io_flush(io);
		send_to(&peers[0], 0, 10, 64, 0);
		pc_io_flush(io);
		expect(&peers[0], 0, 10, 64, 0);
	}
	assert_int_equal(reasons[PC_REASON_DROP_SEND], 0);
}

static int set_loopback(int mtu)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo" };

	r.ifr_mtu = mtu;
	if (fd < 0 || ioctl(fd, SIOCSIFMTU, &r) < 0)
		return -1;
	r.ifr_flags = IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &r);
}

/* A path narrower than the segments: one by one, fragmented, still in order. */
static void test_narrow(void **state)
{
	if (unshare(CLONE_NEWNET) < 0 || set_loopback(1000) < 0) {
		print_message("# needs a network namespace of its own\n");
		skip();
	}
	assert_int_equal(setup(state), 0);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 5; i++)
			send_to(&peers[0], i, 1200, 64, 0);
		pc_io_flush(io);
		for (size_t i = 0; i < 5; i++)
			expect(&peers[0], i, 1200, 64, 0);
	}
	assert_int_equal(count[1].up.packets, 10);
	assert_int_equal(reasons[PC_REASON_DROP_SEND], 0);
	teardown(state);
}

static void test_bind_errors(void **state)
{
	struct pc_addr local = peers[0].addr;
	struct pc_io_config config = {
		.loop = loop,
		.listen = &local,
		.n_listen = 1,
	};
	struct pc_io *other = NULL;
	char err[256], want[256];
	uint32_t listener;
	void *p = NULL;

	assert_int_equal(pc_io_new(&config, err, sizeof(err), &other), -EADDRINUSE);
	snprintf(want, sizeof(want), "port %u in use on 127.0.0.1", local.port);
	assert_string_equal(err, want);
	local.ip = pc_ip4(192, 0, 2, 1);
	assert_int_equal(pc_io_new(&config, err, sizeof(err), &other), -EADDRNOTAVAIL);
	assert_string_equal(err, "address 192.0.2.1 is not on this host");
	assert_int_equal(pc_io_port_open(io, &peers[0].addr, NULL, &p), -EADDRINUSE);
	assert_null(p);
	assert_int_equal(pc_io_listener(io, &local, &listener), PC_ERR_NOT_FOUND);
	local = any_port();
	assert_int_equal(pc_io_listener(io, &local, &listener), 0);
	assert_int_equal(listener, 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_nothing_before_flush),
		CASE(test_runs),
		CASE(test_many),
		CASE(test_ttl_tos),
		CASE(test_copied),
		CASE(test_two_tags),
		CASE(test_refused),
		CASE(test_earlier_error),
		CASE(test_bind_errors),
		cmocka_unit_test(test_narrow),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
