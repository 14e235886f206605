/* SPDX-License-Identifier: MIT */
/*
 * pmtu CLIENT_NETNS PEER_NETNS SERVER:PORT CLIENT PEER USER PASSWORD
 *
 * Two clients of a relay, one with a channel and one with a permission only, and a peer, each in
 * its namespace; a port of its own on PEER belongs to each of them. Reads commands:
 *   up KIND SIZE     from a client to its peer: channel, send, or dont-fragment (a Send indication
 *                    with DONT-FRAGMENT)
 *   down KIND SIZE   back: channel, or data (to the client without a channel)
 * A + behind KIND: the datagram to the relay carries DF (IPv4). Answers each with one line:
 *   delivered            every byte of it, and as one datagram
 *   icmp TYPE CODE MTU   the client was told by a Data indication instead
 *   lost                 nothing came of it within half a second
 *   WRONG                something else arrived
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/helpers/turn_client.h"

#define WAIT_MS	 500
#define DATA_MAX 4096
#define CHANNEL	 0x4001

struct pair {
	struct turn_client c;
	int peer_fd;
	struct pc_addr peer;
	bool channel, six; /* six: the client's family */
};

static struct pair pairs[2] = { { .channel = true }, { .channel = false } };
static uint8_t data[DATA_MAX];

static void die(const char *what, int r)
{
	fprintf(stderr, "pmtu: %s: %d\n", what, r);
	exit(1);
}

static void check(const char *what, int r)
{
	if (r)
		die(what, r);
}

static void enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		die(netns, -errno);
	close(fd);
}

static void set_df(int fd, bool six, bool df)
{
	int v4 = df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT, v6 = IPV6_PMTUDISC_PROBE;

	/* What is sent to the relay always fits its link: only the bit is wanted. */
	if (six ? setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof(v6))
		: setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof(v4)))
		die("MTU_DISCOVER", -errno);
}

static void open_peer(struct pair *p, const char *ip, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len;

	check("peer", pc_ip_parse(ip, &p->peer.ip));
	p->peer.port = port;
	len = pc_addr_to_sockaddr(&p->peer, &ss);
	p->peer_fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->peer_fd < 0 || bind(p->peer_fd, (struct sockaddr *)&ss, len) < 0)
		die("peer socket", -errno);
}

static void open_client(struct pair *p, const char *ip, const struct pc_addr *server)
{
	struct turn_request allocate = { .method = PC_STUN_ALLOCATE,
					 .transport = true,
					 .six = p->peer.ip.family == 6 };
	struct pc_addr local = { 0 };

	check("client", pc_ip_parse(ip, &local.ip));
	p->six = local.ip.family == 6;
	check("client socket", tc_open(&p->c, &local, server));
	check("Allocate", tc_request(&p->c, &allocate));
	if (p->channel)
		check("ChannelBind", tc_bind(&p->c, CHANNEL, &p->peer));
	else
		check("CreatePermission", tc_permit(&p->c, &p->peer));
}

/* --- what arrives --- */

/* "delivered" if @p holds the datagram of @size bytes. */
static const char *compare(const uint8_t *got, size_t len, size_t size)
{
	return len == size && memcmp(got, data, size) == 0 ? "delivered" : "WRONG";
}

static const char *read_indication(const struct pair *p, const uint8_t *buf, size_t len,
				   size_t size)
{
	static char line[64];
	struct pc_stun_attr a;
	struct pc_stun_msg m;
	struct pc_addr from;

	if (pc_stun_parse(buf, len, &m) < 0 || m.method != PC_STUN_DATA ||
	    m.cls != PC_STUN_INDICATION || !pc_stun_find(&m, PC_ATTR_XOR_PEER_ADDRESS, &a) ||
	    pc_stun_attr_xor_addr(&m, &a, &from) || !pc_addr_equal(&from, &p->peer))
		return "WRONG";
	if (pc_stun_find(&m, PC_ATTR_DATA, &a))
		return compare(a.value, a.len, size);
	if (!pc_stun_find(&m, PC_ATTR_ICMP, &a) || a.len != 8)
		return "WRONG";
	/* 7 bits of type, 9 of code. */
	snprintf(line, sizeof(line), "icmp %u %u %u", a.value[2] >> 1,
		 (unsigned)(a.value[2] & 1) << 8 | a.value[3],
		 (unsigned)a.value[4] << 24 | (unsigned)a.value[5] << 16 |
			 (unsigned)a.value[6] << 8 | a.value[7]);
	return line;
}

static const char *read_client(const struct pair *p, const uint8_t *buf, size_t len, size_t size)
{
	if (len >= 4 && buf[0] >= 0x40) {
		if ((buf[0] << 8 | buf[1]) != CHANNEL || (size_t)(buf[2] << 8 | buf[3]) > len - 4)
			return "WRONG";
		return compare(buf + 4, (size_t)(buf[2] << 8 | buf[3]), size);
	}
	return read_indication(p, buf, len, size);
}

static const char *await(const struct pair *p, bool up, size_t size)
{
	uint64_t end = pc_clock_monotonic() + WAIT_MS * PC_NS_PER_MS;
	static uint8_t buf[65536];

	while (pc_clock_monotonic() < end) {
		struct pollfd fds[] = { { .fd = p->c.fd, .events = POLLIN },
					{ .fd = p->peer_fd, .events = POLLIN } };
		ssize_t n;

		poll(fds, 2, 50);
		n = recv(p->peer_fd, buf, sizeof(buf), 0);
		if (n >= 0)
			return up ? compare(buf, (size_t)n, size) : "WRONG";
		n = recv(p->c.fd, buf, sizeof(buf), 0);
		if (n >= 0) {
			const char *what = read_client(p, buf, (size_t)n, size);

			/* Coming up, the client gets nothing but messages of routers. */
			return up && what[0] != 'i' ? "WRONG" : what;
		}
	}
	return "lost";
}

/* --- what is sent --- */

static size_t wrap(const struct pair *p, uint8_t *buf, size_t size, size_t len, bool dont_fragment)
{
	uint8_t txid[PC_STUN_TXID_LEN];
	struct pc_stun_writer w;

	if (p->channel) {
		struct pc_writer c;

		pc_writer_init(&c, buf, size);
		pc_write_u16(&c, CHANNEL);
		pc_write_u16(&c, (uint16_t)len);
		pc_write_bytes(&c, data, len);
		return c.failed ? 0 : c.len;
	}
	randombytes_buf(txid, sizeof(txid));
	pc_stun_begin(&w, buf, size, PC_STUN_SEND, PC_STUN_INDICATION, txid);
	pc_stun_put_xor_addr(&w, PC_ATTR_XOR_PEER_ADDRESS, &p->peer);
	if (dont_fragment)
		pc_stun_put(&w, PC_ATTR_DONT_FRAGMENT, NULL, 0);
	pc_stun_put(&w, PC_ATTR_DATA, data, len);
	return pc_stun_end(&w);
}

static void discard(int fd)
{
	uint8_t byte;

	while (recv(fd, &byte, 1, 0) >= 0 || errno == ECONNREFUSED)
		;
}

static const char *transfer(struct pair *p, bool up, bool df, bool dont_fragment, size_t size)
{
	static uint8_t buf[DATA_MAX + 64];
	struct sockaddr_storage ss;
	socklen_t to;
	ssize_t n;

	randombytes_buf(data, size);
	discard(p->c.fd);
	discard(p->peer_fd);
	set_df(up ? p->c.fd : p->peer_fd, up ? p->six : p->peer.ip.family == 6, df);
	if (up) {
		size_t len = wrap(p, buf, sizeof(buf), size, dont_fragment);

		n = send(p->c.fd, buf, len, 0);
	} else {
		to = pc_addr_to_sockaddr(&p->c.relayed, &ss);
		n = sendto(p->peer_fd, data, size, 0, (struct sockaddr *)&ss, to);
	}
	return n < 0 ? "WRONG" : await(p, up, size);
}

static const char *command(const char *line)
{
	char direction[8], kind[24];
	unsigned int size;
	size_t len;
	bool df;

	if (sscanf(line, "%7s %23s %u", direction, kind, &size) != 3 || size > DATA_MAX)
		return "WRONG command";
	len = strlen(kind);
	df = kind[len - 1] == '+';
	if (df)
		kind[len - 1] = '\0';
	return transfer(&pairs[strcmp(kind, "channel") != 0], strcmp(direction, "up") == 0, df,
			strcmp(kind, "dont-fragment") == 0, size);
}

int main(int argc, char **argv)
{
	struct pc_addr server;
	char line[128];

	if (argc != 8 || sodium_init() < 0 || pc_addr_parse(argv[3], &server))
		die("usage", argc);
	for (int i = 0; i < 2; i++) {
		pairs[i].c.user = argv[6];
		pairs[i].c.password = argv[7];
		enter(argv[2]);
		open_peer(&pairs[i], argv[5], (uint16_t)(7000 + i));
		enter(argv[1]);
		open_client(&pairs[i], argv[4], &server);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin))
		puts(command(line));
	return 0;
}
