/* SPDX-License-Identifier: MIT */
/*
 * udpsink ADDR:PORT COUNT IDLE_MS [echo]
 *
 * Receives numbered datagrams (as turnload sends them), optionally sends each one back, and prints
 * one JSON line: packets, bytes, distinct, duplicates, foreign. Ends after COUNT distinct
 * datagrams, after IDLE_MS without one (counted from the first), or on SIGTERM. "ready" on stderr
 * tells that the socket is bound.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/parse.h"
#include "base/wire.h"

#define BATCH	 64
#define BUF_SIZE 2048
#define MAGIC	 0x70635f6c6f616421ull

static volatile sig_atomic_t stop;

struct sink {
	int fd;
	bool echo;
	uint64_t count;
	uint8_t *seen; /* one bit per sequence number below count */
	uint64_t packets, bytes, distinct, duplicates, foreign;
};

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void account(struct sink *s, const uint8_t *data, size_t len)
{
	struct pc_reader r;
	uint64_t magic, seq;

	pc_reader_init(&r, data, len);
	magic = pc_read_u64(&r);
	seq = pc_read_u64(&r);
	s->packets++;
	s->bytes += len;
	if (r.failed || magic != MAGIC || seq >= s->count) {
		s->foreign++;
		return;
	}
	if (s->seen[seq / 8] & (1u << (seq % 8))) {
		s->duplicates++;
		return;
	}
	s->seen[seq / 8] |= 1u << (seq % 8);
	s->distinct++;
}

static int receive(struct sink *s)
{
	static uint8_t bufs[BATCH][BUF_SIZE];
	static struct sockaddr_storage names[BATCH];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int n, sent = 0;

	memset(msgs, 0, sizeof(msgs));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bufs[i], BUF_SIZE };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		msgs[i].msg_hdr.msg_name = &names[i];
		msgs[i].msg_hdr.msg_namelen = sizeof(names[i]);
	}
	n = recvmmsg(s->fd, msgs, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		account(s, bufs[i], msgs[i].msg_len);
		iov[i].iov_len = msgs[i].msg_len;
	}
	while (s->echo && sent < n) {
		int k = sendmmsg(s->fd, msgs + sent, n - sent, 0);

		if (k < 0 && errno != ECONNREFUSED && errno != ENOBUFS && errno != EINTR)
			return -errno;
		sent += k > 0 ? k : 1;
	}
	return n;
}

static int open_socket(const char *text)
{
	struct sockaddr_storage ss;
	struct pc_addr addr;
	socklen_t len;
	int fd, big = 256 << 20;

	if (pc_addr_parse(text, &addr) < 0)
		return -EINVAL;
	len = pc_addr_to_sockaddr(&addr, &ss);
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	return fd;
}

int main(int argc, char **argv)
{
	struct sink s = { 0 };
	uint64_t idle_ms, last = 0;

	if (argc < 4 || pc_parse_u64(argv[2], 1, 1ull << 32, &s.count) < 0 ||
	    pc_parse_u64(argv[3], 1, 600000, &idle_ms) < 0) {
		fprintf(stderr, "usage: udpsink ADDR:PORT COUNT IDLE_MS [echo]\n");
		return 2;
	}
	s.echo = argc > 4 && !strcmp(argv[4], "echo");
	s.seen = calloc(1, s.count / 8 + 1);
	s.fd = open_socket(argv[1]);
	if (s.fd < 0 || !s.seen) {
		fprintf(stderr, "udpsink: %s: %s\n", argv[1], strerror(-s.fd));
		return 1;
	}
	signal(SIGTERM, on_term);
	fprintf(stderr, "ready\n");
	while (!stop && s.distinct < s.count) {
		struct pollfd p = { .fd = s.fd, .events = POLLIN };

		poll(&p, 1, 50);
		if (receive(&s) > 0)
			last = pc_clock_monotonic();
		if (last && pc_clock_monotonic() - last > idle_ms * PC_NS_PER_MS)
			break;
	}
	printf("{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"distinct\":%" PRIu64
	       ",\"duplicates\":%" PRIu64 ",\"foreign\":%" PRIu64 "}\n",
	       s.packets, s.bytes, s.distinct, s.duplicates, s.foreign);
	free(s.seen);
	return 0;
}
