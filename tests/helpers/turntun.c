/* SPDX-License-Identifier: MIT */
/*
 * turntun: carries the IP packets of a TUN device through a TURN allocation, so that ordinary
 * programs (TCP above all) run through a relay.
 *
 *   turntun client --server A:P --user U --password P --peer A:P [COMMON]
 *   turntun peer --bind A:P [COMMON]
 *   COMMON: --tun NAME [--netns PATH] [--mtu N] [--ecn] [--log FILE] [--name TEXT]
 *
 * The client binds a channel to the peer's address; packets travel as ChannelData, one in each, and
 * between relay and peer as the payload of a datagram. The peer learns the relayed address from a
 * greeting, a datagram of one zero byte, and greets back: then both say "ready" on stderr.
 * --netns: where the device goes; sockets are those of the namespace we started in. --ecn: the ECN
 * field is copied outward, and CE is brought back into the packet inside (RFC 6040, normal mode).
 * --log: what arrives, by the kernel's stamps (see binlog.h). One line of JSON on SIGTERM.
 *
 * Two threads, one each way, move packets in batches; nothing is dropped here but what is counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/parse.h"

#include "binlog.h"
#include "ecn.h"
#include "turn_client.h"

#define BATCH		32
#define BUF_SIZE	2048
#define CONTROL_SIZE	128
#define CHANNEL		0x4abc
#define HEADER		4 /* of ChannelData */
#define TUN_QUEUE	100000
#define TUN_QUEUE_LEAST 2000
#define GREET_NS	(100 * PC_NS_PER_MS)
#define RENEW_NS	(120 * PC_NS_PER_S) /* a permission ends after 300 s */
#define GIVE_UP_NS	(20 * PC_NS_PER_S)

struct tunnel {
	bool client, ecn;
	struct turn_client turn; /* its socket is used for both roles */
	struct pc_addr server, peer, bind;
	const char *tun_name, *netns;
	uint64_t mtu;
	int tun;
	bool ready; /* set by the inward thread; the peer's socket is connected then */
	uint64_t started, next_greet, next_renew;
	uint8_t txid[2][PC_STUN_TXID_LEN]; /* of the Refresh and the ChannelBind under way */
	uint64_t out_packets, out_bytes, out_lost, out_early;
	uint64_t in_packets, in_bytes, in_lost, in_foreign, in_ce, in_ce_lost;
	uint32_t overflow; /* of the socket's queue, as the kernel counts */
	uint64_t refused;
	struct binlog log;
};

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/* --- from the device to the relay --- */

struct batch {
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint8_t bufs[BATCH][BUF_SIZE];
	_Alignas(struct cmsghdr) uint8_t control[BATCH][CONTROL_SIZE];
};

static void batch_init(struct batch *b)
{
	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){ b->bufs[i], BUF_SIZE };
		b->msgs[i].msg_hdr = (struct msghdr){ .msg_iov = &b->iov[i], .msg_iovlen = 1 };
	}
}

static void put_ecn(struct batch *b, int i, uint8_t ecn)
{
	struct msghdr *h = &b->msgs[i].msg_hdr;
	struct cmsghdr *c;
	int tos = ecn;

	h->msg_control = b->control[i];
	h->msg_controllen = CMSG_SPACE(sizeof(tos));
	c = CMSG_FIRSTHDR(h);
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_TOS;
	c->cmsg_len = CMSG_LEN(sizeof(tos));
	memcpy(CMSG_DATA(c), &tos, sizeof(tos));
}

static void put_header(uint8_t *buf, size_t len)
{
	buf[0] = CHANNEL >> 8;
	buf[1] = CHANNEL & 255;
	buf[2] = (uint8_t)(len >> 8);
	buf[3] = (uint8_t)len;
}

static int take_from_tun(struct tunnel *t, struct batch *b)
{
	size_t head = t->client ? HEADER : 0;
	int n = 0;

	for (; n < BATCH; n++) {
		ssize_t len = read(t->tun, b->bufs[n] + head, BUF_SIZE - head);

		if (len <= 0)
			break;
		if (head)
			put_header(b->bufs[n], (size_t)len);
		b->iov[n].iov_len = head + (size_t)len;
		if (t->ecn)
			put_ecn(b, n, ecn_of(b->bufs[n] + head, (size_t)len));
		t->out_bytes += (uint64_t)len;
	}
	t->out_packets += (uint64_t)n;
	return n;
}

static void send_out(struct tunnel *t, struct batch *b, int n)
{
	for (int sent = 0; sent < n && !stop;) {
		int k = sendmmsg(t->turn.fd, b->msgs + sent, (unsigned int)(n - sent), 0);

		if (k > 0) {
			sent += k;
		} else if (errno == EAGAIN) {
			struct pollfd p = { .fd = t->turn.fd, .events = POLLOUT };

			poll(&p, 1, 100);
		} else if (errno != EINTR && errno != ECONNREFUSED) {
			t->out_lost++;
			sent++;
		}
	}
}

static void *outward(void *arg)
{
	static struct batch b;
	struct tunnel *t = arg;

	batch_init(&b);
	while (!stop) {
		struct pollfd p = { .fd = t->tun, .events = POLLIN };
		int n;

		if (poll(&p, 1, 100) <= 0)
			continue;
		n = take_from_tun(t, &b);
		if (__atomic_load_n(&t->ready, __ATOMIC_ACQUIRE))
			send_out(t, &b, n);
		else
			t->out_early += (uint64_t)n;
	}
	return NULL;
}

/* --- from the relay to the device --- */

struct arrival {
	uint64_t when;
	uint8_t ecn;
};

static void read_control(struct tunnel *t, struct msghdr *h, struct arrival *ret_a)
{
	struct timespec ts;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			ret_a->ecn = *CMSG_DATA(c) & ECN_MASK;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&ts, CMSG_DATA(c), sizeof(ts));
			ret_a->when = (uint64_t)ts.tv_sec * PC_NS_PER_S + (uint64_t)ts.tv_nsec;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&t->overflow, CMSG_DATA(c), sizeof(t->overflow));
		}
	}
}

/* RFC 6040 section 4.2, for what is inside. False: it has to be dropped. */
static bool bring_ce_in(struct tunnel *t, uint8_t *ip, size_t len, uint8_t outer)
{
	if (!t->ecn || outer != ECN_CE)
		return true;
	if (!ecn_of(ip, len)) {
		t->in_ce_lost++;
		return false;
	}
	ecn_set_ce(ip);
	t->in_ce++;
	return true;
}

static void take_packet(struct tunnel *t, uint8_t *ip, size_t len, const struct arrival *a)
{
	if (!bring_ce_in(t, ip, len, a->ecn))
		return;
	if (write(t->tun, ip, len) != (ssize_t)len)
		t->in_lost++;
	t->in_packets++;
	t->in_bytes += len;
	if (a->ecn == ECN_CE)
		t->log.marks++;
	binlog_pass(&t->log, a->when, len);
}

static void greet(struct tunnel *t)
{
	uint8_t buf[HEADER + 1] = { 0 };

	put_header(buf, 1);
	if (t->client)
		send(t->turn.fd, buf, sizeof(buf), 0);
	else
		send(t->turn.fd, buf + HEADER, 1, 0);
}

/* The other end is there. The peer now knows where to send, and says so. */
static void greeted(struct tunnel *t, const struct msghdr *from)
{
	if (!t->client) {
		if (!t->ready && connect(t->turn.fd, from->msg_name, from->msg_namelen) < 0)
			return;
		greet(t);
	}
	if (t->ready)
		return;
	__atomic_store_n(&t->ready, true, __ATOMIC_RELEASE);
	fprintf(stderr, "ready\n");
}

static void post_renewal(struct tunnel *t, int which)
{
	struct turn_request rq[2] = {
		{ .method = PC_STUN_REFRESH, .has_lifetime = true, .lifetime = 600 },
		{ .method = PC_STUN_CHANNEL_BIND, .channel = CHANNEL, .peer = &t->peer },
	};

	tc_post(&t->turn, &rq[which], t->txid[which]);
}

static void take_answer(struct tunnel *t, const uint8_t *data, size_t len)
{
	struct pc_stun_msg m;

	if (pc_stun_parse(data, len, &m) < 0 || m.cls == PC_STUN_INDICATION) {
		t->in_foreign++;
		return;
	}
	for (int i = 0; i < 2; i++) {
		int r;

		if (memcmp(m.txid, t->txid[i], PC_STUN_TXID_LEN) != 0)
			continue;
		r = tc_verdict(&t->turn, &m);
		if (r == -EAGAIN)
			post_renewal(t, i);
		else if (r)
			t->refused++;
	}
}

static void take_datagram(struct tunnel *t, uint8_t *data, size_t len, struct msghdr *h)
{
	struct arrival a = { .when = pc_clock_realtime() };

	read_control(t, h, &a);
	if (t->client) {
		size_t inside = len < HEADER ? 0 : (size_t)(data[2] << 8 | data[3]);

		if (len && data[0] < 0x40) {
			take_answer(t, data, len);
			return;
		}
		data += HEADER;
		len = inside && inside <= len - HEADER ? inside : 0;
	}
	if (len == 1 && data[0] == 0)
		greeted(t, h);
	else if (len >= 20)
		take_packet(t, data, len, &a);
	else
		t->in_foreign++;
}

static void do_timers(struct tunnel *t)
{
	uint64_t now = pc_clock_monotonic();

	if (!t->client)
		return;
	if (!t->ready && now >= t->next_greet) {
		greet(t);
		t->next_greet = now + GREET_NS;
	}
	if (now >= t->next_renew) {
		post_renewal(t, 0);
		post_renewal(t, 1);
		t->next_renew = now + RENEW_NS;
	}
	if (!t->ready && now > t->started + GIVE_UP_NS) {
		fprintf(stderr, "turntun: the other end does not answer\n");
		stop = 1;
	}
}

static void inward(struct tunnel *t)
{
	static struct sockaddr_storage names[BATCH];
	static struct batch b;

	batch_init(&b);
	while (!stop) {
		struct pollfd p = { .fd = t->turn.fd, .events = POLLIN };
		int n;

		do_timers(t);
		if (poll(&p, 1, 50) <= 0)
			continue;
		for (int i = 0; i < BATCH; i++) {
			b.msgs[i].msg_hdr.msg_control = b.control[i];
			b.msgs[i].msg_hdr.msg_controllen = CONTROL_SIZE;
			b.msgs[i].msg_hdr.msg_name = &names[i];
			b.msgs[i].msg_hdr.msg_namelen = sizeof(names[i]);
		}
		n = recvmmsg(t->turn.fd, b.msgs, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++)
			take_datagram(t, b.bufs[i], b.msgs[i].msg_len, &b.msgs[i].msg_hdr);
	}
}

/* --- setting up --- */

static int enter(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

/* Sockets have been opened: from here on we are where the device belongs. */
static int open_tun(struct tunnel *t)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	_cleanup_close_ int fd = -1, control = -1;

	if (t->netns && enter(t->netns) < 0)
		return -errno;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", t->tun_name);
	if (fd < 0 || control < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	/* Flows fill their windows at once: the queue must hold them all. */
	ifr.ifr_qlen = TUN_QUEUE;
	/* Older kernels have less. */
	while (ioctl(control, SIOCSIFTXQLEN, &ifr) < 0) {
		if (errno != ERANGE || ifr.ifr_qlen < TUN_QUEUE_LEAST)
			return -errno;
		ifr.ifr_qlen /= 2;
	}
	ifr.ifr_mtu = (int)t->mtu;
	if (ioctl(control, SIOCSIFMTU, &ifr) < 0)
		return -errno;
	t->tun = TAKE_FD(fd);
	return 0;
}

static int open_udp(struct tunnel *t)
{
	int big = 64 << 20, queue = 4 << 20, one = 1, r;
	struct sockaddr_storage ss;
	socklen_t len;

	if (t->client) {
		r = tc_open(&t->turn, &t->bind, &t->server);
		if (r)
			return r;
	} else {
		len = pc_addr_to_sockaddr(&t->bind, &ss);
		t->turn.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (t->turn.fd < 0 || bind(t->turn.fd, (struct sockaddr *)&ss, len) < 0)
			return -errno;
	}
	/* What is to be sent is fewer packets than the interface's queue holds: we wait, and lose
	 * nothing.
	 */
	if (setsockopt(t->turn.fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)) < 0 ||
	    setsockopt(t->turn.fd, SOL_SOCKET, SO_SNDBUFFORCE, &queue, sizeof(queue)) < 0 ||
	    setsockopt(t->turn.fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) < 0 ||
	    setsockopt(t->turn.fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one)) < 0 ||
	    setsockopt(t->turn.fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

static int allocate(struct tunnel *t)
{
	int r = tc_allocate(&t->turn);

	if (!r)
		r = tc_bind(&t->turn, CHANNEL, &t->peer);
	if (r)
		fprintf(stderr, "turntun: no channel: %s%d\n", r > 0 ? "error " : "", r);
	t->started = pc_clock_monotonic();
	t->next_renew = t->started + RENEW_NS;
	return r;
}

static void report(struct tunnel *t)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	printf("{\"out\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"lost\":%" PRIu64
	       ",\"early\":%" PRIu64 "},\"in\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"lost\":%" PRIu64 ",\"foreign\":%" PRIu64 ",\"ce\":%" PRIu64
	       ",\"ce_lost\":%" PRIu64 "},\"refused\":%" PRIu64 ",\"cpu_ms\":%ld}\n",
	       t->out_packets, t->out_bytes, t->out_lost, t->out_early, t->in_packets, t->in_bytes,
	       t->in_lost + t->overflow, t->in_foreign, t->in_ce, t->in_ce_lost, t->refused,
	       (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
		       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000);
}

static int parse_option(struct tunnel *t, int c)
{
	switch (c) {
	case 's':
		return pc_addr_parse(optarg, &t->server);
	case 'p':
		return pc_addr_parse(optarg, &t->peer);
	case 'b':
		return pc_addr_parse(optarg, &t->bind);
	case 'm':
		return pc_parse_u64(optarg, 576, BUF_SIZE - HEADER, &t->mtu);
	case 'u':
		t->turn.user = optarg;
		return 0;
	case 'w':
		t->turn.password = optarg;
		return 0;
	case 't':
		t->tun_name = optarg;
		return 0;
	case 'n':
		t->netns = optarg;
		return 0;
	case 'e':
		t->ecn = true;
		return 0;
	case 'N':
		t->log.name = optarg;
		return 0;
	case 'l':
		t->log.file = fopen(optarg, "we");
		if (!t->log.file)
			return -errno;
		setlinebuf(t->log.file);
		return 0;
	}
	return -EINVAL;
}

static int parse_args(struct tunnel *t, int argc, char **argv)
{
	static const struct option opts[] = {
		{ "server", 1, 0, 's' }, { "user", 1, 0, 'u' }, { "password", 1, 0, 'w' },
		{ "peer", 1, 0, 'p' },	 { "bind", 1, 0, 'b' }, { "tun", 1, 0, 't' },
		{ "netns", 1, 0, 'n' },	 { "mtu", 1, 0, 'm' },	{ "ecn", 0, 0, 'e' },
		{ "log", 1, 0, 'l' },	 { "name", 1, 0, 'N' }, { 0 },
	};
	int c;

	if (argc < 2)
		return -EINVAL;
	t->client = !strcmp(argv[1], "client");
	if (!t->client && strcmp(argv[1], "peer") != 0)
		return -EINVAL;
	while ((c = getopt_long(argc - 1, argv + 1, "", opts, NULL)) != -1)
		if (parse_option(t, c) < 0)
			return -EINVAL;
	if (!t->tun_name)
		return -EINVAL;
	return t->client ? (t->server.port && t->peer.port && t->turn.user && t->turn.password
				    ? 0
				    : -EINVAL)
			 : (t->bind.port ? 0 : -EINVAL);
}

int main(int argc, char **argv)
{
	static struct tunnel t = { .mtu = 1400, .log = { .name = "tun" }, .tun = -1 };
	pthread_t thread;
	int r;

	t.bind.ip.family = 4;
	if (parse_args(&t, argc, argv) < 0 || sodium_init() < 0) {
		fprintf(stderr,
			"usage: turntun client --server A:P --user U --password P --peer A:P |\n"
			"       turntun peer --bind A:P\n"
			"       --tun NAME [--netns PATH] [--mtu N] [--ecn] [--log FILE] [--name "
			"T]\n");
		return 2;
	}
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	r = open_udp(&t);
	if (!r && t.client && allocate(&t))
		return 1;
	r = r ? r : open_tun(&t);
	if (!r)
		r = -pthread_create(&thread, NULL, outward, &t);
	if (r) {
		fprintf(stderr, "turntun: %s\n", strerror(-r));
		return 1;
	}
	fprintf(stderr, "bound\n");
	inward(&t);
	pthread_join(thread, NULL);
	binlog_flush(&t.log);
	if (t.log.file)
		fclose(t.log.file);
	report(&t);
	return t.ready ? 0 : 1;
}
