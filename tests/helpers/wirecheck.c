/* SPDX-License-Identifier: MIT */
/*
 * wirecheck IFNAME SOURCE DESTINATION:PORT LENGTH
 *
 * Looks at every byte of the frames that arrive at IFNAME for that address and port: link header,
 * IPv4 header and checksum, UDP header and checksum, LENGTH bytes of payload as turnload makes
 * them, nothing behind. Prints "ready", a line "MACS destination source" whenever the link header
 * is another than that of the frame before, "WRONG what" for the first few that are not as they
 * should be, and on SIGTERM {"frames","fragments","wrong"}; fragments are only counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "base/wire.h"

#define MAGIC  0x70635f6c6f616421ull
#define LINK   14
#define IP_LEN 20
#define UDP    8
#define BUF    4096

static volatile sig_atomic_t stop;

struct check {
	uint32_t from, to; /* network byte order */
	uint16_t port;
	uint64_t len, frames, fragments, wrong;
	uint8_t macs[12];
};

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/* One's complement sum of big-endian words. */
static uint32_t add_words(uint32_t sum, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	if (len & 1)
		sum += (uint32_t)at[len - 1] << 8;
	return sum;
}

static bool sums_up(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* NULL when all of it is as it should be. */
static const char *judge(const struct check *c, const uint8_t *frame, size_t n)
{
	const uint8_t *ip = frame + LINK, *udp = ip + IP_LEN, *data = udp + UDP;
	size_t udp_len = UDP + c->len;
	struct pc_reader r;

	if (n != LINK + IP_LEN + udp_len)
		return "length of the frame";
	if (ip[0] != 0x45 || ip[9] != IPPROTO_UDP || ((ip[6] & 0x3f) | ip[7]))
		return "IP header";
	if ((size_t)(ip[2] << 8 | ip[3]) != IP_LEN + udp_len)
		return "IP length";
	if (ip[8] != 63)
		return "TTL";
	if (!sums_up(add_words(0, ip, IP_LEN)))
		return "IP checksum";
	if (memcmp(ip + 12, &c->from, 4))
		return "source address";
	if ((size_t)(udp[4] << 8 | udp[5]) != udp_len)
		return "UDP length";
	if (!(udp[6] | udp[7]) ||
	    !sums_up(add_words(add_words(IPPROTO_UDP + (uint32_t)udp_len, ip + 12, 8), udp,
			       udp_len)))
		return "UDP checksum";
	pc_reader_init(&r, data, c->len);
	if (pc_read_u64(&r) != MAGIC)
		return "payload";
	for (size_t i = 16; i < c->len; i++) {
		if (data[i])
			return "payload";
	}
	return NULL;
}

static bool concerns(const struct check *c, const uint8_t *frame, size_t n)
{
	const uint8_t *ip = frame + LINK;

	return n >= LINK + IP_LEN + UDP && frame[12] == 8 && !frame[13] && ip[9] == IPPROTO_UDP &&
	       !memcmp(ip + 16, &c->to, 4) && (ip[IP_LEN + 2] << 8 | ip[IP_LEN + 3]) == c->port;
}

static void take(struct check *c, const uint8_t *frame, size_t n)
{
	const char *what;

	if (!concerns(c, frame, n))
		return;
	/* Which the relay makes only in user space; their rest has no ports. */
	if ((frame[LINK + 6] & 0x3f) | frame[LINK + 7]) {
		c->fragments++;
		return;
	}
	c->frames++;
	if (memcmp(c->macs, frame, sizeof(c->macs))) {
		memcpy(c->macs, frame, sizeof(c->macs));
		printf("MACS %02x:%02x:%02x:%02x:%02x:%02x %02x:%02x:%02x:%02x:%02x:%02x\n",
		       frame[0], frame[1], frame[2], frame[3], frame[4], frame[5], frame[6],
		       frame[7], frame[8], frame[9], frame[10], frame[11]);
	}
	what = judge(c, frame, n);
	if (what && ++c->wrong <= 10)
		printf("WRONG %s\n", what);
	fflush(stdout);
}

static int watch(struct check *c, unsigned int ifindex)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = (int)ifindex };
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_IP));
	uint8_t frame[BUF];
	ssize_t n;

	if (fd < 0 || bind(fd, (struct sockaddr *)&ll, sizeof(ll)) < 0)
		return -errno;
	printf("ready\n");
	fflush(stdout);
	while (!stop) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		socklen_t len = sizeof(ll);

		if (poll(&p, 1, 100) <= 0)
			continue;
		n = recvfrom(fd, frame, sizeof(frame), MSG_DONTWAIT, (struct sockaddr *)&ll, &len);
		if (n > 0 && ll.sll_pkttype != PACKET_OUTGOING)
			take(c, frame, (size_t)n);
	}
	printf("{\"frames\":%" PRIu64 ",\"fragments\":%" PRIu64 ",\"wrong\":%" PRIu64 "}\n",
	       c->frames, c->fragments, c->wrong);
	return 0;
}

int main(int argc, char **argv)
{
	struct pc_addr to = { 0 };
	struct pc_ip from = { 0 };
	struct check c = { 0 };
	int r;

	if (argc != 5 || !if_nametoindex(argv[1]) || pc_ip_parse(argv[2], &from) ||
	    pc_addr_parse(argv[3], &to) || pc_parse_u64(argv[4], 16, 1400, &c.len)) {
		fprintf(stderr, "usage: wirecheck IFNAME SOURCE DESTINATION:PORT LENGTH\n");
		return 2;
	}
	memcpy(&c.from, from.b, 4);
	memcpy(&c.to, to.ip.b, 4);
	c.port = to.port;
	signal(SIGTERM, on_term);
	r = watch(&c, if_nametoindex(argv[1]));
	if (r)
		fprintf(stderr, "wirecheck: %s\n", strerror(-r));
	return r ? 1 : 0;
}
