/* SPDX-License-Identifier: MIT */
/*
 * turnmany: many sessions of one TURN user, from many addresses and ports, over few sockets.
 *
 *   turnmany --server ADDR:PORT --user U --password P --from ADDR --addresses N --sessions N
 *            --peer ADDR --peers N [--window N] [--active N] [--rate PPS]
 *       Allocates and binds one channel for each session: from ADDR + i % addresses, port 20000 +
 *       i / addresses, to peer + i % peers, port 7000. Then it reads commands, a line each:
 *         traffic  sends on the first --active sessions, all together --rate packets a second
 *         stop     ends that, waits until nothing comes back for a second
 *         first    asks for a Refresh of the first session, every 10 ms, until it is answered
 *         refresh  Refreshes all, says how many were
 *         end      ends all sessions
 *       Each prints one JSON line when done.
 *   turnmany --echo PORT
 *       Sends back what comes to that port of any address, until SIGTERM; prints how much.
 *
 * The addresses have to be local ones ("ip route add local PREFIX dev lo").
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/wire.h"
#include "turn_client.h"

#define FIRST_PORT 20000
#define CHANNEL	   0x4001
#define PEER_PORT  7000
#define PAYLOAD	   160
#define RTO_NS	   (500 * PC_NS_PER_MS)
#define FIRST_NS   (10 * PC_NS_PER_MS)
#define MAX_TRIES  40
#define MAX_WINDOW 4096
#define BURST	   64

enum step { STEP_ALLOCATE, STEP_BIND, STEP_READY, STEP_REFRESH, STEP_FAILED };

struct session {
	uint8_t step, nonce_len;
	bool waiting;
	uint16_t tries;
	uint32_t serial; /* of the transaction */
	uint64_t due_ns;
	uint8_t nonce[40];
};

struct many {
	struct pc_addr server;
	uint32_t from, peer; /* host byte order */
	uint64_t n, addresses, peers, window, active, rate;
	struct turn_client auth; /* realm and key */
	struct session *sessions;
	int *fds;
	uint64_t n_fds;
	int epoll;
	/* the round under way */
	uint64_t round, next, waiting, done, failed, retries;
	uint64_t out[MAX_WINDOW];
	uint32_t lifetime;
	bool refreshing, has_lifetime;
	uint64_t rto_ns;
	/* data */
	bool traffic;
	uint64_t sent, echoed, traffic_from, traffic_base, last_echo_ns;
};

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/* --- sockets that stand for many addresses --- */

static int open_any(uint16_t port, int *ret_fd)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, size = 16 << 20;

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int send_from(int fd, uint32_t from, const struct sockaddr_in *to, const void *data,
		     size_t len)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in_pktinfo))] = { 0 };
	struct in_pktinfo info = { .ipi_spec_dst.s_addr = htonl(from) };
	struct iovec iov = { (void *)data, len };
	struct msghdr h = { .msg_name = (void *)to,
			    .msg_namelen = sizeof(*to),
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	return sendmsg(fd, &h, 0) < 0 ? -errno : 0;
}

/* Returns its length, or -1; @ret_to: the address it came to. */
static ssize_t receive_at(int fd, uint8_t *buf, struct sockaddr_in *from, uint32_t *ret_to)
{
	_Alignas(struct cmsghdr) uint8_t control[128];
	struct iovec iov = { buf, TC_BUF };
	struct msghdr h = { .msg_name = from,
			    .msg_namelen = sizeof(*from),
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &h, 0);
	struct in_pktinfo info;

	for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		*ret_to = ntohl(info.ipi_addr.s_addr);
	}
	return n;
}

static int send_as(struct many *m, uint64_t i, const void *data, size_t len)
{
	struct sockaddr_storage ss;

	pc_addr_to_sockaddr(&m->server, &ss);
	return send_from(m->fds[i / m->addresses], m->from + (uint32_t)(i % m->addresses),
			 (struct sockaddr_in *)&ss, data, len);
}

/* --- transactions --- */

static void make_txid(uint64_t i, uint32_t serial, uint8_t txid[static PC_STUN_TXID_LEN])
{
	struct pc_writer w;

	pc_writer_init(&w, txid, PC_STUN_TXID_LEN);
	pc_write_u64(&w, i);
	pc_write_u32(&w, serial);
}

static void send_request(struct many *m, uint64_t i)
{
	static const uint16_t method[] = {
		[STEP_ALLOCATE] = PC_STUN_ALLOCATE,
		[STEP_BIND] = PC_STUN_CHANNEL_BIND,
		[STEP_REFRESH] = PC_STUN_REFRESH,
	};
	struct session *s = &m->sessions[i];
	struct turn_request rq = { .method = method[s->step] };
	uint8_t txid[PC_STUN_TXID_LEN], buf[TC_BUF];
	struct pc_addr peer = { .port = PEER_PORT };

	rq.transport = s->step == STEP_ALLOCATE;
	if (s->step == STEP_REFRESH || s->step == STEP_ALLOCATE) {
		rq.has_lifetime = m->has_lifetime || s->step == STEP_ALLOCATE;
		rq.lifetime = m->lifetime;
	}
	if (s->step == STEP_BIND) {
		uint32_t ip = htonl(m->peer + (uint32_t)(i % m->peers));

		peer.ip.family = 4;
		memcpy(peer.ip.b, &ip, sizeof(ip));
		rq.channel = CHANNEL;
		rq.peer = &peer;
	}
	memcpy(m->auth.nonce, s->nonce, s->nonce_len);
	m->auth.nonce_len = s->nonce_len;
	make_txid(i, s->serial, txid);
	send_as(m, i, buf, tc_build(&m->auth, &rq, txid, buf));
	s->due_ns = pc_clock_monotonic() + m->rto_ns;
}

static void finish(struct many *m, uint64_t i, enum step step)
{
	struct session *s = &m->sessions[i];

	if (s->waiting)
		m->waiting--;
	s->waiting = false;
	s->step = step;
	m->done++;
	m->failed += step == STEP_FAILED;
}

static void next_request(struct many *m, uint64_t i, enum step step)
{
	struct session *s = &m->sessions[i];

	s->step = step;
	s->serial++;
	s->tries = 0;
	send_request(m, i);
}

/* 401 and 438. */
static bool take_nonce(struct many *m, struct session *s, const struct pc_stun_msg *msg)
{
	struct pc_stun_attr a;

	if (!m->auth.realm[0])
		tc_take_challenge(&m->auth, msg);
	if (!pc_stun_find(msg, PC_ATTR_NONCE, &a) || a.len > sizeof(s->nonce))
		return false;
	memcpy(s->nonce, a.value, a.len);
	s->nonce_len = (uint8_t)a.len;
	return true;
}

static void take_answer(struct many *m, uint64_t i, const struct pc_stun_msg *msg)
{
	struct session *s = &m->sessions[i];
	struct pc_stun_attr a;
	int code;

	if (msg->cls == PC_STUN_SUCCESS) {
		if (s->step == STEP_ALLOCATE)
			next_request(m, i, STEP_BIND);
		else
			finish(m, i, STEP_READY);
		return;
	}
	if (!pc_stun_find(msg, PC_ATTR_ERROR_CODE, &a) || a.len < 4) {
		finish(m, i, STEP_FAILED);
		return;
	}
	code = a.value[2] * 100 + a.value[3];
	if (((code == 401 && !s->nonce_len) || code == 438) && take_nonce(m, s, msg)) {
		next_request(m, i, s->step);
		return;
	}
	if (m->failed < 5)
		fprintf(stderr, "turnmany: session %" PRIu64 ", step %u: %d\n", i, s->step, code);
	finish(m, i, STEP_FAILED);
}

static void take_datagram(struct many *m, uint64_t port, uint32_t to, const uint8_t *buf, size_t n)
{
	uint64_t i = port * m->addresses + (to - m->from);
	uint8_t txid[PC_STUN_TXID_LEN];
	struct pc_stun_msg msg;

	if (to < m->from || to - m->from >= m->addresses || i >= m->n)
		return;
	if (n && buf[0] >= 0x40) {
		m->echoed++;
		m->last_echo_ns = pc_clock_monotonic();
		return;
	}
	if (!m->sessions[i].waiting || pc_stun_parse(buf, n, &msg) < 0)
		return;
	make_txid(i, m->sessions[i].serial, txid);
	if (!memcmp(txid, msg.txid, sizeof(txid)))
		take_answer(m, i, &msg);
}

/* Fills the window, and sends again what was not answered. */
static void push(struct many *m)
{
	uint64_t now = pc_clock_monotonic();

	for (uint64_t k = 0; k < m->window; k++) {
		uint64_t i = m->out[k];

		if (i == UINT64_MAX || !m->sessions[i].waiting) {
			if (m->next == m->round) {
				m->out[k] = UINT64_MAX;
				continue;
			}
			i = m->out[k] = m->next++;
			m->sessions[i].waiting = true;
			m->waiting++;
			next_request(m, i, m->refreshing ? STEP_REFRESH : STEP_ALLOCATE);
		} else if (now >= m->sessions[i].due_ns) {
			if (++m->sessions[i].tries == MAX_TRIES && m->round > 1) {
				finish(m, i, STEP_FAILED);
				continue;
			}
			m->retries++;
			send_request(m, i);
		}
	}
}

/* --- data --- */

static void send_data(struct many *m)
{
	uint64_t due = (pc_clock_monotonic() - m->traffic_from) * m->rate / PC_NS_PER_S;

	for (int k = 0; k < BURST && m->sent - m->traffic_base < due; k++) {
		uint8_t buf[4 + PAYLOAD] = { 0 };
		struct pc_writer w;

		pc_writer_init(&w, buf, sizeof(buf));
		pc_write_u16(&w, CHANNEL);
		pc_write_u16(&w, PAYLOAD);
		pc_write_u64(&w, m->sent);
		if (send_as(m, m->sent % m->active, buf, sizeof(buf)))
			return; /* a full queue: later */
		m->sent++;
	}
}

static void work(struct many *m, int timeout_ms)
{
	struct epoll_event events[64];
	int n = epoll_wait(m->epoll, events, 64, timeout_ms);

	for (int k = 0; k < n; k++) {
		uint64_t port = events[k].data.u64;
		struct sockaddr_in from;
		uint8_t buf[TC_BUF];
		uint32_t to = 0;

		for (int b = 0; b < BURST; b++) {
			ssize_t len = receive_at(m->fds[port], buf, &from, &to);

			if (len < 0)
				break;
			take_datagram(m, port, to, buf, (size_t)len);
		}
	}
	if (m->traffic)
		send_data(m);
}

/* --- commands --- */

/* Of the first @n sessions. One alone never gives up. */
static void run_round(struct many *m, uint64_t n, const char *what)
{
	uint64_t start = pc_clock_monotonic();

	m->round = n;
	m->rto_ns = n == 1 ? FIRST_NS : RTO_NS;
	m->next = m->waiting = m->done = m->failed = m->retries = 0;
	for (uint64_t k = 0; k < m->window; k++)
		m->out[k] = UINT64_MAX;
	while (m->done < n && !stop) {
		push(m);
		work(m, 1);
	}
	printf("{\"%s\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"retries\":%" PRIu64
	       ",\"seconds\":%.3f}\n",
	       what, m->done - m->failed, m->failed, m->retries,
	       (double)(pc_clock_monotonic() - start) / 1e9);
	fflush(stdout);
}

static void refresh(struct many *m, uint64_t n, const char *what, bool end)
{
	m->refreshing = true;
	m->has_lifetime = end;
	if (end)
		m->lifetime = 0;
	run_round(m, n, what);
}

static void end_traffic(struct many *m)
{
	uint64_t quiet = pc_clock_monotonic();

	m->traffic = false;
	while (!stop && pc_clock_monotonic() - quiet < PC_NS_PER_S) {
		work(m, 20);
		if (m->last_echo_ns > quiet)
			quiet = m->last_echo_ns;
	}
	printf("{\"sent\":%" PRIu64 ",\"payload\":%" PRIu64 ",\"echoed\":%" PRIu64 "}\n", m->sent,
	       m->sent * PAYLOAD, m->echoed);
	fflush(stdout);
}

static bool command(struct many *m, const char *line)
{
	if (!strcmp(line, "traffic\n")) {
		m->traffic = true;
		m->traffic_from = pc_clock_monotonic();
		m->traffic_base = m->sent;
	} else if (!strcmp(line, "stop\n")) {
		end_traffic(m);
	} else if (!strcmp(line, "first\n")) {
		refresh(m, 1, "first", false);
	} else if (!strcmp(line, "refresh\n")) {
		refresh(m, m->n, "refreshed", false);
	} else if (!strcmp(line, "end\n")) {
		refresh(m, m->n, "ended", true);
	} else {
		return false;
	}
	return true;
}

static int serve(struct many *m)
{
	char line[64];

	m->lifetime = 3600;
	run_round(m, m->n, "sessions");
	if (m->failed)
		return -EIO;
	while (!stop) {
		struct pollfd p = { .fd = 0, .events = POLLIN };

		/* A line at a time: the buffer of stdio must not hide the next one. */
		if (poll(&p, 1, 0) <= 0) {
			work(m, 1);
			continue;
		}
		for (size_t len = 0;; len++) {
			if (len == sizeof(line) - 1 || read(0, line + len, 1) != 1)
				return 0;
			if (line[len] == '\n') {
				line[len + 1] = '\0';
				break;
			}
		}
		if (!command(m, line))
			return -EINVAL;
	}
	return 0;
}

static int start(struct many *m)
{
	int r = 0;

	m->n_fds = (m->n + m->addresses - 1) / m->addresses;
	m->sessions = calloc(m->n, sizeof(*m->sessions));
	m->fds = calloc(m->n_fds, sizeof(*m->fds));
	m->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!m->sessions || !m->fds || m->epoll < 0)
		return -ENOMEM;
	for (uint64_t i = 0; i < m->n_fds && !r; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u64 = i };

		r = open_any((uint16_t)(FIRST_PORT + i), &m->fds[i]);
		if (!r && epoll_ctl(m->epoll, EPOLL_CTL_ADD, m->fds[i], &e) < 0)
			r = -errno;
	}
	return r ? r : serve(m);
}

static int echo(uint16_t port)
{
	uint64_t packets = 0, bytes = 0;
	_cleanup_close_ int fd = -1;
	int r = open_any(port, &fd);

	if (r)
		return r;
	fprintf(stderr, "ready\n");
	while (!stop) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct sockaddr_in from;
		uint8_t buf[TC_BUF];
		uint32_t to = 0;
		ssize_t n;

		if (poll(&p, 1, 100) <= 0)
			continue;
		while ((n = receive_at(fd, buf, &from, &to)) >= 0) {
			packets++;
			bytes += (uint64_t)n;
			send_from(fd, to, &from, buf, (size_t)n);
		}
	}
	printf("{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n", packets, bytes);
	return 0;
}

static int parse_ip(const char *text, uint32_t *ret_ip)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return -EINVAL;
	*ret_ip = ntohl(in.s_addr);
	return 0;
}

static int parse_args(struct many *m, int argc, char **argv, uint64_t *ret_echo)
{
	static const struct option opts[] = {
		{ "server", 1, 0, 's' },
		{ "user", 1, 0, 'u' },
		{ "password", 1, 0, 'w' },
		{ "from", 1, 0, 'f' },
		{ "addresses", 1, 0, 'a' },
		{ "sessions", 1, 0, 'n' },
		{ "peer", 1, 0, 'p' },
		{ "peers", 1, 0, 'P' },
		{ "window", 1, 0, 'W' },
		{ "active", 1, 0, 'A' },
		{ "rate", 1, 0, 'r' },
		{ "echo", 1, 0, 'e' },
		{ 0 },
	};
	uint64_t *number[128] = {
		['a'] = &m->addresses, ['n'] = &m->n,	 ['P'] = &m->peers, ['W'] = &m->window,
		['A'] = &m->active,    ['r'] = &m->rate, ['e'] = ret_echo,
	};
	int c, bad = 0;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		if (c == 's')
			bad |= pc_addr_parse(optarg, &m->server);
		else if (c == 'u')
			m->auth.user = optarg;
		else if (c == 'w')
			m->auth.password = optarg;
		else if (c == 'f')
			bad |= parse_ip(optarg, &m->from);
		else if (c == 'p')
			bad |= parse_ip(optarg, &m->peer);
		else if (c < 128 && number[c])
			bad |= pc_parse_u64(optarg, 1, 10000000, number[c]);
		else
			bad = 1;
	}
	if (m->active > m->n)
		m->active = m->n;
	return bad || m->window > MAX_WINDOW ||
	       (!*ret_echo && (!m->server.port || !m->auth.user || !m->auth.password || !m->from ||
			       !m->peer || !m->n || m->n / m->addresses > 40000));
}

int main(int argc, char **argv)
{
	struct many m = { .addresses = 1, .peers = 1, .window = 256, .active = 100, .rate = 1000 };
	uint64_t echo_port = 0;
	int r;

	if (parse_args(&m, argc, argv, &echo_port) || sodium_init() < 0) {
		fprintf(stderr, "turnmany: bad arguments\n");
		return 2;
	}
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	r = echo_port ? echo((uint16_t)echo_port) : start(&m);
	if (r)
		fprintf(stderr, "turnmany: %s\n", strerror(-r));
	return r ? 1 : 0;
}
