/* SPDX-License-Identifier: MIT */
/*
 * stranger SERVER:PORT LOCAL:PORT [HEX]
 *
 * Sends a datagram as one who proved nothing, then a Binding request, and waits for the answer to
 * that: answers come in order, so what came before it is all that the datagram got. The request has
 * an attribute nobody knows, with which the XDP program leaves it to pcd. Prints
 * {"replies","largest","binding"}: how many answers to HEX, bytes of the largest, bytes of the
 * Binding response. Without HEX it just tells when pcd is done with what it has received.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/parse.h"
#include "relay/stun.h"

#define BUF   2048
#define TRIES 40
/* Comprehension-optional, of the range for designated experts; unassigned. */
#define ATTR_UNKNOWN 0xffee

struct answers {
	unsigned int replies;
	size_t largest, binding;
};

static int open_socket(const char *local, const char *server)
{
	struct sockaddr_storage ss;
	struct pc_addr addr;
	socklen_t len;
	int fd;

	if (pc_addr_parse(local, &addr) < 0)
		return -EINVAL;
	len = pc_addr_to_sockaddr(&addr, &ss);
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	if (pc_addr_parse(server, &addr) < 0)
		return -EINVAL;
	len = pc_addr_to_sockaddr(&addr, &ss);
	return connect(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : fd;
}

/* Collects until the answer to @txid came. False after 250 ms. */
static bool collect(int fd, const uint8_t *txid, struct answers *a)
{
	uint64_t end = pc_clock_monotonic() + 250 * PC_NS_PER_MS;

	while (pc_clock_monotonic() < end) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint8_t buf[BUF];
		ssize_t n;

		if (poll(&p, 1, 50) <= 0)
			continue;
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n >= PC_STUN_HEADER_LEN && !memcmp(buf + 8, txid, PC_STUN_TXID_LEN)) {
			a->binding = (size_t)n;
			return true;
		}
		if (n < 0)
			continue;
		a->replies++;
		if ((size_t)n > a->largest)
			a->largest = (size_t)n;
	}
	return false;
}

/* All tries have one transaction: a late answer is an answer. */
static bool ask_binding(int fd, struct answers *a)
{
	uint8_t txid[PC_STUN_TXID_LEN], buf[64];
	struct pc_stun_writer w;
	size_t len;

	randombytes_buf(txid, sizeof(txid));
	pc_stun_begin(&w, buf, sizeof(buf), PC_STUN_BINDING, PC_STUN_REQUEST, txid);
	pc_stun_put(&w, ATTR_UNKNOWN, NULL, 0);
	len = pc_stun_end(&w);
	for (int i = 0; i < TRIES; i++) {
		if (send(fd, buf, len, 0) < 0 && errno != ECONNREFUSED)
			return false;
		if (collect(fd, txid, a))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct answers a = { 0 };
	uint8_t data[BUF];
	size_t len = argc > 3 ? strlen(argv[3]) / 2 : 0;
	int fd;

	if (argc < 3 || argc > 4 || len > sizeof(data) || sodium_init() < 0 ||
	    (argc > 3 && pc_parse_hex(argv[3], data, len) < 0)) {
		fprintf(stderr, "usage: stranger SERVER:PORT LOCAL:PORT [HEX]\n");
		return 2;
	}
	fd = open_socket(argv[2], argv[1]);
	if (fd < 0 || (argc > 3 && send(fd, data, len, 0) < 0)) {
		fprintf(stderr, "stranger: %s\n", strerror(fd < 0 ? -fd : errno));
		return 1;
	}
	if (!ask_binding(fd, &a)) {
		fprintf(stderr, "stranger: no answer to Binding\n");
		return 1;
	}
	printf("{\"replies\":%u,\"largest\":%zu,\"binding\":%zu}\n", a.replies, a.largest,
	       a.binding);
	return 0;
}
