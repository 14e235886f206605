/* SPDX-License-Identifier: MIT */
/*
 * turnload: a TURN client that loads a relay and counts exactly.
 *
 *   turnload --server ADDR:PORT --user U --password P --peer ADDR:PORT
 *            [--count N] [--size BYTES] [--rate PPS] [--cpus A[,B]] [--echo] [--send]
 *            [--window N] [--idle-ms MS] [--hold] [--after] [--serve] [--channels N] [--release]
 *            [--six] [--from ADDR:PORT]
 *
 * Allocates, installs a permission, binds a channel, sends COUNT numbered datagrams as ChannelData
 * (--send: as Send indications), from one thread per CPU of --cpus, all on one socket. --echo also
 * receives what comes back, and has at most --window N datagrams under way (128; 0: any number):
 * the ring of a veth, which holds 256, loses none of them however long the machine stands still.
 * Those of which nothing comes back for half a second are taken for lost. --after: when done,
 * refreshes, binds a second channel and installs a second permission, to show that the allocation
 * is alive. --hold: after "bound" waits for a line on stdin before sending, and again before
 * --after. --peer -: prints "relayed ADDR:PORT" on stderr and reads the peer from stdin. --serve:
 * sends nothing, returns all data it receives until SIGTERM. --six: asks for an IPv6 relayed
 * address (as an IPv6 peer does). --from: its own address. --channels: binds N channels in all, to
 * ports from the peer's up, until one is refused; says how many. --release: ends the allocation
 * when done. Prints one JSON line; progress words on stderr: "bound", "sent". Exit 0 when every
 * transaction succeeded.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/parse.h"
#include "base/wire.h"
#include "relay/auth.h"
#include "relay/stun.h"

#define BATCH	    32
#define BUF_SIZE    2048
#define MAGIC	    0x70635f6c6f616421ull
#define CHANNEL	    0x4abc
#define MAX_THREADS 2
#define TRIES	    40
#define TRY_MS	    500
#define WINDOW	    128
#define LOST_MS	    500

struct load {
	int fd;
	struct pc_addr server, peer, relayed, from;
	const char *user, *password;
	uint64_t count, size, rate, window, idle_ms, channels;
	int cpus[MAX_THREADS];
	int n_threads;
	bool echo, send, hold, after, serve, release, six, ask_peer;
	/* from the server's challenge */
	char realm[128];
	uint8_t nonce[128];
	size_t nonce_len;
	struct pc_auth_key key;
	/* results */
	uint8_t *seen;
	uint64_t echoed, echoed_distinct, echoed_bytes, foreign, retries, send_errors;
	volatile bool sending;
	/* of all threads */
	pthread_mutex_t lock;
	pthread_cond_t came_back;
	uint64_t under_way;
};

struct sender {
	struct load *l;
	pthread_t thread;
	int cpu;
	uint64_t first, n, errors;
};

/* A request of one transaction: what to put in after the header. */
struct request {
	uint16_t method;
	void (*fill)(struct load *l, struct pc_stun_writer *w, const void *arg);
	const void *arg;
};

static size_t build(struct load *l, const struct request *rq, const uint8_t *txid, uint8_t *buf)
{
	struct pc_stun_writer w;

	pc_stun_begin(&w, buf, BUF_SIZE, rq->method, PC_STUN_REQUEST, txid);
	rq->fill(l, &w, rq->arg);
	if (l->nonce_len) {
		pc_stun_put(&w, PC_ATTR_USERNAME, l->user, strlen(l->user));
		pc_stun_put(&w, PC_ATTR_REALM, l->realm, strlen(l->realm));
		pc_stun_put(&w, PC_ATTR_NONCE, l->nonce, l->nonce_len);
		pc_stun_put_integrity(&w, l->key.b, l->key.len);
	}
	return pc_stun_end(&w);
}

static void take_data(struct load *l, const uint8_t *data, size_t len);

/* Waits for the answer to @txid; hands data to take_data meanwhile. Returns its length or 0. */
static size_t await(struct load *l, const uint8_t *txid, uint8_t *buf)
{
	uint64_t end = pc_clock_monotonic() + TRY_MS * PC_NS_PER_MS;

	while (pc_clock_monotonic() < end) {
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		struct pc_stun_msg m;
		ssize_t n;

		if (poll(&p, 1, 20) <= 0)
			continue;
		n = recv(l->fd, buf, BUF_SIZE, MSG_DONTWAIT);
		if (n <= 0)
			continue;
		if (buf[0] >= 0x40) {
			take_data(l, buf, (size_t)n);
			continue;
		}
		if (pc_stun_parse(buf, (size_t)n, &m) < 0)
			continue;
		if (m.cls == PC_STUN_INDICATION)
			take_data(l, buf, (size_t)n);
		else if (!memcmp(m.txid, txid, PC_STUN_TXID_LEN))
			return (size_t)n;
	}
	return 0;
}

static void take_challenge(struct load *l, const struct pc_stun_msg *m)
{
	struct pc_stun_attr a;

	if (pc_stun_find(m, PC_ATTR_REALM, &a) && a.len < sizeof(l->realm)) {
		memcpy(l->realm, a.value, a.len);
		l->realm[a.len] = '\0';
	}
	if (pc_stun_find(m, PC_ATTR_NONCE, &a) && a.len <= sizeof(l->nonce)) {
		/* This client knows MD5 only and says so by leaving the feature bits' offer. */
		memcpy(l->nonce, a.value, a.len);
		l->nonce_len = a.len;
	}
	pc_auth_derive(PC_AUTH_MD5, l->user, strlen(l->user), l->realm, l->password,
		       strlen(l->password), &l->key);
}

/* One transaction with retransmissions and challenges. 0, or the STUN error code, or -ETIMEDOUT. */
static int transact(struct load *l, const struct request *rq, struct pc_stun_msg *ret_msg,
		    uint8_t *buf)
{
	uint8_t txid[PC_STUN_TXID_LEN], out[BUF_SIZE];
	size_t out_len = 0;

	for (int tries = 0; tries < TRIES; tries++) {
		struct pc_stun_attr a;
		size_t len;
		int code;

		if (!out_len) {
			randombytes_buf(txid, sizeof(txid));
			out_len = build(l, rq, txid, out);
		}
		if (!out_len)
			return -EMSGSIZE;
		if (send(l->fd, out, out_len, 0) < 0 && errno != ECONNREFUSED)
			return -errno;
		len = await(l, txid, buf);
		if (!len) {
			l->retries++;
			continue;
		}
		if (pc_stun_parse(buf, len, ret_msg) < 0)
			return -EBADMSG;
		if (ret_msg->cls == PC_STUN_SUCCESS)
			return 0;
		if (!pc_stun_find(ret_msg, PC_ATTR_ERROR_CODE, &a) || a.len < 4)
			return -EBADMSG;
		code = a.value[2] * 100 + a.value[3];
		if ((code != 401 || l->nonce_len) && code != 438)
			return code;
		take_challenge(l, ret_msg);
		out_len = 0;
	}
	return -ETIMEDOUT;
}

static void fill_allocate(struct load *l, struct pc_stun_writer *w, const void *arg)
{
	pc_stun_put_u32(w, PC_ATTR_REQUESTED_TRANSPORT, 17u << 24);
	if (l->six || l->peer.ip.family == 6)
		pc_stun_put_u32(w, PC_ATTR_REQUESTED_ADDRESS_FAMILY, 2u << 24);
}

static void fill_refresh(struct load *l, struct pc_stun_writer *w, const void *arg)
{
	pc_stun_put_u32(w, PC_ATTR_LIFETIME, 600);
}

static void fill_release(struct load *l, struct pc_stun_writer *w, const void *arg)
{
	pc_stun_put_u32(w, PC_ATTR_LIFETIME, 0);
}

static void fill_permission(struct load *l, struct pc_stun_writer *w, const void *arg)
{
	pc_stun_put_xor_addr(w, PC_ATTR_XOR_PEER_ADDRESS, arg);
}

struct binding {
	uint16_t number;
	struct pc_addr peer;
};

static void fill_bind(struct load *l, struct pc_stun_writer *w, const void *arg)
{
	const struct binding *b = arg;

	pc_stun_put_u32(w, PC_ATTR_CHANNEL_NUMBER, (uint32_t)b->number << 16);
	pc_stun_put_xor_addr(w, PC_ATTR_XOR_PEER_ADDRESS, &b->peer);
}

static int step(struct load *l, const char *what, uint16_t method,
		void (*fill)(struct load *, struct pc_stun_writer *, const void *), const void *arg)
{
	struct request rq = { method, fill, arg };
	uint8_t buf[BUF_SIZE];
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	int r = transact(l, &rq, &m, buf);

	if (r) {
		fprintf(stderr, "turnload: %s: %s%d\n", what, r > 0 ? "error " : "failed ", r);
		return -1;
	}
	if (method == PC_STUN_ALLOCATE && pc_stun_find(&m, PC_ATTR_XOR_RELAYED_ADDRESS, &a))
		return pc_stun_attr_xor_addr(&m, &a, &l->relayed);
	return 0;
}

/* --- data --- */

static void take_data(struct load *l, const uint8_t *data, size_t len)
{
	struct pc_stun_msg m;
	struct pc_stun_attr a;
	struct pc_reader r;
	uint64_t magic, seq;

	pc_reader_init(&r, data, len);
	if (data[0] >= 0x40) {
		pc_read_skip(&r, 2);
		len = pc_read_u16(&r);
	} else if (!pc_stun_parse(data, len, &m) && pc_stun_find(&m, PC_ATTR_DATA, &a)) {
		len = a.len;
		pc_reader_init(&r, a.value, a.len);
	}
	magic = pc_read_u64(&r);
	seq = pc_read_u64(&r);
	l->echoed++;
	l->echoed_bytes += len;
	if (r.failed || magic != MAGIC || seq >= l->count) {
		l->foreign++;
		return;
	}
	if (l->seen[seq / 8] & (1u << (seq % 8)))
		return;
	l->seen[seq / 8] |= 1u << (seq % 8);
	l->echoed_distinct++;
	pthread_mutex_lock(&l->lock);
	l->under_way -= l->under_way > 0; /* one that was taken for lost */
	pthread_cond_signal(&l->came_back);
	pthread_mutex_unlock(&l->lock);
}

static size_t build_data(const struct load *l, uint64_t seq, uint8_t *buf)
{
	uint8_t payload[BUF_SIZE] = { 0 }, txid[PC_STUN_TXID_LEN] = { 0 };
	struct pc_stun_writer sw;
	struct pc_writer w;

	pc_writer_init(&w, payload, sizeof(payload));
	pc_write_u64(&w, MAGIC);
	pc_write_u64(&w, seq);
	if (l->send) {
		pc_stun_begin(&sw, buf, BUF_SIZE, PC_STUN_SEND, PC_STUN_INDICATION, txid);
		pc_stun_put_xor_addr(&sw, PC_ATTR_XOR_PEER_ADDRESS, &l->peer);
		pc_stun_put(&sw, PC_ATTR_DATA, payload, l->size);
		return pc_stun_end(&sw);
	}
	pc_writer_init(&w, buf, BUF_SIZE);
	pc_write_u16(&w, CHANNEL);
	pc_write_u16(&w, (uint16_t)l->size);
	pc_write_bytes(&w, payload, l->size);
	return w.len;
}

static void pace(const struct load *l, uint64_t start, uint64_t done)
{
	uint64_t due, now;

	if (!l->rate)
		return;
	due = start + done * PC_NS_PER_S * (uint64_t)l->n_threads / l->rate;
	now = pc_clock_monotonic();
	if (due > now) {
		struct timespec ts = { (time_t)((due - now) / PC_NS_PER_S),
				       (long)((due - now) % PC_NS_PER_S) };

		nanosleep(&ts, NULL);
	}
}

/* Waits until @n more may be under way. */
static void make_way(struct load *l, uint64_t n)
{
	if (!l->echo || !l->window)
		return;
	pthread_mutex_lock(&l->lock);
	while (l->under_way + n > l->window) {
		uint64_t until = pc_clock_realtime() + LOST_MS * PC_NS_PER_MS;
		struct timespec ts = { (time_t)(until / PC_NS_PER_S), (long)(until % PC_NS_PER_S) };

		if (pthread_cond_timedwait(&l->came_back, &l->lock, &ts) == ETIMEDOUT)
			l->under_way = 0;
	}
	l->under_way += n;
	pthread_mutex_unlock(&l->lock);
}

static void *send_all(void *arg)
{
	struct sender *s = arg;
	struct load *l = s->l;
	static __thread uint8_t bufs[BATCH][BUF_SIZE];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint64_t start = pc_clock_monotonic();

	if (s->cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(s->cpu, &set);
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	memset(msgs, 0, sizeof(msgs));
	for (uint64_t done = 0; done < s->n;) {
		unsigned int n = s->n - done < BATCH ? (unsigned int)(s->n - done) : BATCH,
			     sent = 0;

		for (unsigned int i = 0; i < n; i++) {
			iov[i].iov_base = bufs[i];
			iov[i].iov_len = build_data(l, s->first + done + i, bufs[i]);
			msgs[i].msg_hdr.msg_iov = &iov[i];
			msgs[i].msg_hdr.msg_iovlen = 1;
		}
		make_way(l, n);
		while (sent < n) {
			int k = sendmmsg(l->fd, msgs + sent, n - sent, 0);

			if (k > 0)
				sent += (unsigned int)k;
			else
				s->errors++; /* pending ICMP error or full queue: same packet again
					      */
		}
		done += n;
		pace(l, start, done);
	}
	return NULL;
}

static void receive_echoes(struct load *l)
{
	static uint8_t buf[BUF_SIZE];
	uint64_t last = pc_clock_monotonic();

	while (l->echoed_distinct < l->count) {
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, 50) <= 0) {
			if (l->sending)
				last = pc_clock_monotonic();
			else if (pc_clock_monotonic() - last > l->idle_ms * PC_NS_PER_MS)
				break;
			continue;
		}
		while ((n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
			last = pc_clock_monotonic();
			take_data(l, buf, (size_t)n);
		}
	}
}

static void *echo_thread(void *arg)
{
	receive_echoes(arg);
	return NULL;
}

static void transfer(struct load *l)
{
	struct sender senders[MAX_THREADS];
	pthread_t echo;

	l->sending = true;
	if (l->echo)
		pthread_create(&echo, NULL, echo_thread, l);
	for (int i = 0; i < l->n_threads; i++) {
		uint64_t share = l->count / (uint64_t)l->n_threads;

		senders[i] = (struct sender){ .l = l, .cpu = l->cpus[i], .first = share * i };
		senders[i].n = i == l->n_threads - 1 ? l->count - senders[i].first : share;
		pthread_create(&senders[i].thread, NULL, send_all, &senders[i]);
	}
	for (int i = 0; i < l->n_threads; i++) {
		pthread_join(senders[i].thread, NULL);
		l->send_errors += senders[i].errors;
	}
	l->sending = false;
	fprintf(stderr, "sent\n");
	if (l->echo)
		pthread_join(echo, NULL);
}

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	stop = 1;
}

/* A Data indication becomes the Send indication that goes back. Its length, or 0: not one. */
static size_t turn_back(const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t txid[PC_STUN_TXID_LEN] = { 0 };
	struct pc_stun_attr data, attr;
	struct pc_stun_writer w;
	struct pc_stun_msg m;
	struct pc_addr peer;

	if (pc_stun_parse(in, len, &m) < 0 || m.cls != PC_STUN_INDICATION ||
	    !pc_stun_find(&m, PC_ATTR_DATA, &data) ||
	    !pc_stun_find(&m, PC_ATTR_XOR_PEER_ADDRESS, &attr) ||
	    pc_stun_attr_xor_addr(&m, &attr, &peer) < 0)
		return 0;
	pc_stun_begin(&w, out, BUF_SIZE, PC_STUN_SEND, PC_STUN_INDICATION, txid);
	pc_stun_put_xor_addr(&w, PC_ATTR_XOR_PEER_ADDRESS, &peer);
	pc_stun_put(&w, PC_ATTR_DATA, data.value, data.len);
	return pc_stun_end(&w);
}

/* Returns all data: the far end of a conversation. */
static void serve(struct load *l)
{
	uint8_t buf[BUF_SIZE], back[BUF_SIZE];

	while (!stop) {
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, 100) <= 0)
			continue;
		while ((n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
			const uint8_t *reply = buf[0] < 0x40 ? back : buf;

			if (buf[0] < 0x40)
				n = (ssize_t)turn_back(buf, (size_t)n, back);
			if (!n)
				continue;
			l->echoed++;
			if (send(l->fd, reply, (size_t)n, 0) < 0)
				l->send_errors++;
		}
	}
}

/* The peer is known only after the allocation: tell ours, be told the other. */
static int ask_peer(struct load *l)
{
	char line[64], text[PC_ADDR_STRLEN];

	fprintf(stderr, "relayed %s\n", pc_addr_format(&l->relayed, text));
	if (!fgets(line, sizeof(line), stdin))
		return -1;
	line[strcspn(line, "\n")] = '\0';
	return pc_addr_parse(line, &l->peer);
}

static void wait_line(void)
{
	char line[64];

	if (!fgets(line, sizeof(line), stdin))
		return;
}

/* Beside the first one. A refusal is a result here, not a failure. */
static void bind_more(struct load *l)
{
	struct binding b = { .number = CHANNEL, .peer = l->peer };
	uint64_t n = 1;

	for (; n < l->channels; n++) {
		b.number++;
		b.peer.port++;
		if (step(l, "ChannelBind", PC_STUN_CHANNEL_BIND, fill_bind, &b))
			break;
	}
	fprintf(stderr, "channels %llu\n", (unsigned long long)n);
}

static int finish(struct load *l, const struct binding *second)
{
	if (l->after && l->hold)
		wait_line();
	if (l->after &&
	    (step(l, "Refresh", PC_STUN_REFRESH, fill_refresh, NULL) ||
	     step(l, "CreatePermission", PC_STUN_CREATE_PERMISSION, fill_permission, &l->peer) ||
	     step(l, "ChannelBind", PC_STUN_CHANNEL_BIND, fill_bind, second)))
		return -1;
	return l->release ? step(l, "Refresh", PC_STUN_REFRESH, fill_release, NULL) : 0;
}

static int run(struct load *l)
{
	struct binding first = { .number = CHANNEL }, second = { .number = CHANNEL + 1 };

	if (step(l, "Allocate", PC_STUN_ALLOCATE, fill_allocate, NULL) ||
	    (l->ask_peer && ask_peer(l)))
		return -1;
	first.peer = second.peer = l->peer;
	second.peer.port++;
	if (step(l, "CreatePermission", PC_STUN_CREATE_PERMISSION, fill_permission, &l->peer) ||
	    (!l->send && step(l, "ChannelBind", PC_STUN_CHANNEL_BIND, fill_bind, &first)))
		return -1;
	if (l->channels)
		bind_more(l);
	fprintf(stderr, "bound\n");
	if (l->hold)
		wait_line();
	if (l->serve)
		serve(l);
	else if (l->count)
		transfer(l);
	return finish(l, &second);
}

static int open_socket(struct load *l)
{
	struct sockaddr_storage ss;
	socklen_t len = pc_addr_to_sockaddr(&l->server, &ss);
	int big = 256 << 20, queue = 1 << 20;

	l->fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	setsockopt(l->fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	/* Smaller than the queue of the interface: a full queue makes us wait, and drops nothing.
	 */
	setsockopt(l->fd, SOL_SOCKET, SO_SNDBUFFORCE, &queue, sizeof(queue));
	if (l->from.ip.family) {
		struct sockaddr_storage from;
		socklen_t from_len = pc_addr_to_sockaddr(&l->from, &from);

		if (bind(l->fd, (struct sockaddr *)&from, from_len) < 0)
			return -errno;
	}
	return connect(l->fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: turnload --server A:P --user U --password P --peer A:P [--count N]\n"
		"       [--size N] [--rate PPS] [--cpus A[,B]] [--echo] [--window N] [--send]\n"
		"       [--idle-ms N] [--hold] [--after] [--serve] [--channels N] [--release]\n"
		"       [--six] [--from A:P]\n");
	return 2;
}

static int parse_cpus(struct load *l, const char *text)
{
	if (sscanf(text, "%d,%d", &l->cpus[0], &l->cpus[1]) == 2)
		l->n_threads = 2;
	return 0;
}

static bool *flag_of(struct load *l, int c)
{
	switch (c) {
	case 'e':
		return &l->echo;
	case 'S':
		return &l->send;
	case 'H':
		return &l->hold;
	case 'a':
		return &l->after;
	case 'v':
		return &l->serve;
	case 'R':
		return &l->release;
	case '6':
		return &l->six;
	}
	return NULL;
}

static int parse_args(struct load *l, int argc, char **argv)
{
	static const struct option opts[] = {
		{ "server", 1, 0, 's' },   { "user", 1, 0, 'u' },
		{ "password", 1, 0, 'w' }, { "peer", 1, 0, 'p' },
		{ "count", 1, 0, 'n' },	   { "size", 1, 0, 'l' },
		{ "rate", 1, 0, 'r' },	   { "cpus", 1, 0, 'c' },
		{ "echo", 0, 0, 'e' },	   { "send", 0, 0, 'S' },
		{ "window", 1, 0, 'W' },   { "idle-ms", 1, 0, 'i' },
		{ "hold", 0, 0, 'H' },	   { "after", 0, 0, 'a' },
		{ "serve", 0, 0, 'v' },	   { "channels", 1, 0, 'C' },
		{ "release", 0, 0, 'R' },  { "six", 0, 0, '6' },
		{ "from", 1, 0, 'f' },	   { 0 },
	};
	int c, bad = 0;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		bool *flag = flag_of(l, c);

		if (flag) {
			*flag = true;
			continue;
		}
		switch (c) {
		case 's':
			bad |= pc_addr_parse(optarg, &l->server);
			break;
		case 'p':
			l->ask_peer = !strcmp(optarg, "-");
			bad |= !l->ask_peer && pc_addr_parse(optarg, &l->peer);
			break;
		case 'f':
			bad |= pc_addr_parse(optarg, &l->from);
			break;
		case 'u':
			l->user = optarg;
			break;
		case 'w':
			l->password = optarg;
			break;
		case 'n':
			bad |= pc_parse_u64(optarg, 0, 1ull << 32, &l->count);
			break;
		case 'l':
			bad |= pc_parse_u64(optarg, 16, 1400, &l->size);
			break;
		case 'r':
			bad |= pc_parse_u64(optarg, 0, 100000000, &l->rate);
			break;
		case 'W':
			bad |= pc_parse_u64(optarg, 0, 1ull << 32, &l->window) ||
			       (l->window && l->window < BATCH);
			break;
		case 'i':
			bad |= pc_parse_u64(optarg, 1, 600000, &l->idle_ms);
			break;
		case 'c':
			bad |= parse_cpus(l, optarg);
			break;
		case 'C':
			bad |= pc_parse_u64(optarg, 1, 1000, &l->channels);
			break;
		default:
			bad = 1;
		}
	}
	return bad || !l->user || !l->password || !l->server.port ||
	       (!l->peer.port && !l->ask_peer);
}

int main(int argc, char **argv)
{
	struct load l = { .fd = -1,
			  .count = 1000,
			  .size = 160,
			  .window = WINDOW,
			  .idle_ms = 1000,
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .came_back = PTHREAD_COND_INITIALIZER,
			  .n_threads = 1,
			  .cpus = { -1, -1 } };
	char relayed[PC_ADDR_STRLEN];
	int r;

	if (parse_args(&l, argc, argv) || sodium_init() < 0)
		return usage();
	signal(SIGTERM, on_term);
	l.seen = calloc(1, l.count / 8 + 1);
	if (!l.seen || open_socket(&l) < 0) {
		fprintf(stderr, "turnload: cannot reach the server: %s\n", strerror(errno));
		return 1;
	}
	r = run(&l);
	printf("{\"ok\":%s,\"sent\":%" PRIu64 ",\"sent_bytes\":%" PRIu64 ",\"echoed\":%" PRIu64
	       ",\"echoed_distinct\":%" PRIu64 ",\"echoed_bytes\":%" PRIu64 ",\"foreign\":%" PRIu64
	       ",\"retries\":%" PRIu64 ",\"send_errors\":%" PRIu64 ",\"relayed\":\"%s\"}\n",
	       r ? "false" : "true", l.count, l.count * l.size, l.echoed, l.echoed_distinct,
	       l.echoed_bytes, l.foreign, l.retries, l.send_errors,
	       l.relayed.port ? pc_addr_format(&l.relayed, relayed) : "");
	free(l.seen);
	return r ? 1 : 0;
}
