/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/udp.h>
#include <string.h>

#include "daemon/io_int.h"

static void set_df(struct io_socket *s, bool df)
{
	int v4 = df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT;
	int v6 = df;

	if (s->df == df)
		return;
	s->df = df;
	if (s->family == 6)
		(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_DONTFRAG, &v6, sizeof(v6));
	else
		(void)setsockopt(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof(v4));
}

static void count_sent(struct pc_io *io, const struct io_entry *e)
{
	for (unsigned int i = 0; i < e->n_tags; i++) {
		const struct io_tag *t = &e->tag[i];
		struct pc_dir_count *c = t->up ? &io->count[t->slot].up : &io->count[t->slot].down;

		c->packets++;
		c->payload_bytes += t->payload_bytes;
		c->wire_bytes += t->wire_bytes;
	}
	if (e->n_tags)
		io->reasons[PC_REASON_USER_FORWARD]++;
}

/*
 * An ICMP error that came for an earlier datagram fails the next send, whatever that one was
 * about: it says nothing about the datagram at hand, which is to be sent again.
 */
static bool is_earlier_error(int err)
{
	switch (err) {
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENOPROTOOPT:
	case EPROTO:
	case EINTR:
		return true;
	default:
		return false;
	}
}

static void put_control(struct msghdr *h, int level, int type, const void *value, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	h->msg_controllen += CMSG_SPACE(len);
}

/* Control data costs time in the kernel: only what differs from the socket's settings. */
static void run_control(const struct io_run *run, struct msghdr *h)
{
	int level = run->socket->family == 6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int ttl = run->ttl, tos = run->tos;

	if (ttl)
		put_control(h, level, level == IPPROTO_IPV6 ? IPV6_HOPLIMIT : IP_TTL, &ttl,
			    sizeof(ttl));
	if (tos)
		put_control(h, level, level == IPPROTO_IPV6 ? IPV6_TCLASS : IP_TOS, &tos,
			    sizeof(tos));
	if (run->n > 1)
		put_control(h, IPPROTO_UDP, UDP_SEGMENT, &run->segment, sizeof(run->segment));
}

static void count_run(struct pc_io *io, const struct io_run *run)
{
	unsigned int e = run->first;

	for (unsigned int i = 0; i < run->n; i++) {
		count_sent(io, &io->tx.entry[e]);
		e = io->tx.entry[e].next;
	}
}

/* How often a message is tried again because of errors about earlier ones. */
#define RETRIES 2

static int send_messages(struct io_socket *s, struct mmsghdr *msgs, unsigned int n)
{
	int r, retries = 0;

	do {
		r = sendmmsg(s->fd, msgs, n, MSG_NOSIGNAL);
		if (r < 0)
			s->errors = true;
	} while (r < 0 && is_earlier_error(errno) && retries++ < RETRIES);
	return r < 0 ? -errno : r;
}

/* The error queue will say that something was too large, but over IPv4 not at which port. */
static void count_refused(struct pc_io *io, const struct io_run *run, int err)
{
	io->reasons[err == -EMSGSIZE ? PC_REASON_DROP_TOO_LARGE : PC_REASON_DROP_SEND]++;
	if (err == -EMSGSIZE)
		io_from_sockaddr(&run->name, &run->socket->too_large);
}

/* A run that the kernel would not take whole: its datagrams one by one. */
static void send_singly(struct pc_io *io, const struct io_run *run, const struct mmsghdr *whole)
{
	struct io_tx *tx = &io->tx;
	unsigned int e = run->first;

	for (unsigned int i = 0; i < run->n; i++, e = tx->entry[e].next) {
		struct mmsghdr m = *whole;
		int r;

		m.msg_hdr.msg_iov = &tx->iov[e];
		m.msg_hdr.msg_iovlen = 1;
		if (run->n > 1) /* the last control message is the one about segments */
			m.msg_hdr.msg_controllen -= CMSG_SPACE(sizeof(run->segment));
		r = send_messages(run->socket, &m, 1);
		if (r == 1)
			count_sent(io, &tx->entry[e]);
		else
			count_refused(io, run, r);
	}
}

/* Sends the first @n messages of the group, all of one socket. */
static void send_group(struct pc_io *io, struct io_socket *s, unsigned int n)
{
	struct io_tx *tx = &io->tx;
	unsigned int done = 0;

	while (done < n) {
		const struct io_run *run = &tx->run[tx->group_run[done]];
		int r = send_messages(s, tx->group + done, n - done);

		for (int i = 0; i < r; i++)
			count_run(io, &tx->run[tx->group_run[done + (unsigned int)i]]);
		if (r > 0) {
			done += (unsigned int)r;
		} else if (r == -EAGAIN || r == -ENOBUFS) {
			/* A full socket takes none of the rest either. */
			for (; done < n; done++)
				io->reasons[PC_REASON_DROP_SEND] += tx->run[tx->group_run[done]].n;
		} else if (run->n > 1) {
			s->segment_pause = IO_SEGMENT_PAUSE;
			send_singly(io, run, &tx->group[done++]);
		} else {
			count_refused(io, run, r);
			done++;
		}
	}
}

/* Appends run @index to the group of @n messages and @n_iov pieces. */
static void group_add(struct io_tx *tx, unsigned int index, unsigned int n, unsigned int *n_iov)
{
	struct io_run *run = &tx->run[index];
	struct msghdr *h = &tx->group[n].msg_hdr;
	unsigned int e = run->first;

	h->msg_name = &run->name;
	h->msg_namelen = run->name_len;
	h->msg_iov = &tx->group_iov[*n_iov];
	h->msg_iovlen = run->n;
	for (unsigned int i = 0; i < run->n; i++, e = tx->entry[e].next)
		tx->group_iov[(*n_iov)++] = tx->iov[e];
	h->msg_control = tx->group_control[n];
	h->msg_controllen = 0;
	h->msg_flags = 0;
	run_control(run, h);
	tx->group_run[n] = (uint8_t)index;
}

/* Datagrams of one socket, and of one destination, leave in the order in which they came. */
void pc_io_flush(struct pc_io *io)
{
	struct io_tx *tx = &io->tx;
	uint64_t taken[IO_QUEUE / 64] = { 0 };

	if (tx->n == 0)
		return;
	for (unsigned int i = 0; i < tx->n_runs; i++) {
		const struct io_run *first = &tx->run[i];
		unsigned int n = 0, n_iov = 0;

		if (taken[i / 64] & (1ull << (i % 64)))
			continue;
		for (unsigned int j = i; j < tx->n_runs; j++) {
			if (tx->run[j].socket != first->socket || tx->run[j].df != first->df)
				continue;
			taken[j / 64] |= 1ull << (j % 64);
			group_add(tx, j, n++, &n_iov);
		}
		set_df(first->socket, first->df);
		send_group(io, first->socket, n);
		if (first->socket->segment_pause)
			first->socket->segment_pause--;
	}
	tx->n = 0;
	tx->n_runs = 0;
	tx->arena_used = 0;
	memset(tx->recent, 0, sizeof(tx->recent));
}

static socklen_t to_sockaddr(const struct pc_addr *a, union io_sockaddr *sa)
{
	if (a->ip.family == 6) {
		sa->in6 = (struct sockaddr_in6){
			.sin6_family = AF_INET6,
			.sin6_port = htons(a->port),
		};
		memcpy(&sa->in6.sin6_addr, a->ip.b, 16);
		return sizeof(sa->in6);
	}
	sa->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(a->port) };
	memcpy(&sa->in.sin_addr, a->ip.b, 4);
	return sizeof(sa->in);
}

static unsigned int recent_hash(const struct io_socket *s, const struct pc_addr *to)
{
	uint32_t ip[4];
	uint64_t h = (uintptr_t)s >> 6;

	memcpy(ip, to->ip.b, sizeof(ip));
	h = (h ^ ip[0] ^ ((uint64_t)ip[3] << 16) ^ ((uint64_t)to->port << 32)) *
	    0x9e3779b97f4a7c15ull;
	return (unsigned int)(h >> 56);
}
_Static_assert(IO_RECENT == 256, "recent_hash gives a byte");

static bool run_takes(const struct io_run *run, const struct io_run *like, size_t len)
{
	return !run->closed && run->socket == like->socket && run->ttl == like->ttl &&
	       run->tos == like->tos && run->df == like->df && run->n < IO_RUN_MAX && len > 0 &&
	       len <= run->segment && run->bytes + len <= IO_RUN_BYTES &&
	       run->name_len == like->name_len &&
	       memcmp(&run->name, &like->name, run->name_len) == 0;
}

/* Entry @e to the run its destination had last, or to a new one. */
static void join_run(struct io_tx *tx, unsigned int e, const struct io_run *like,
		     const struct pc_addr *to)
{
	uint8_t *recent = &tx->recent[recent_hash(like->socket, to)];
	size_t len = tx->iov[e].iov_len;
	struct io_run *run;

	if (*recent && run_takes(&tx->run[*recent - 1], like, len)) {
		run = &tx->run[*recent - 1];
		tx->entry[run->last].next = (uint8_t)e;
		run->closed = len < run->segment;
	} else {
		run = &tx->run[tx->n_runs++];
		*run = *like;
		run->first = (uint8_t)e;
		run->segment = (uint16_t)len;
		run->closed = len == 0 || len > IO_SEGMENT_MAX || like->socket->segment_pause;
		*recent = (uint8_t)tx->n_runs;
	}
	run->last = (uint8_t)e;
	run->n++;
	run->bytes += (uint32_t)len;
}

static void enqueue(struct pc_io *io, struct io_socket *s, const struct pc_addr *to,
		    const struct pc_dgram *d)
{
	struct io_tx *tx = &io->tx;
	struct io_run like = {
		.socket = s,
		.ttl = d->ttl == IO_DEFAULT_TTL ? 0 : d->ttl,
		.tos = d->tos,
		.df = d->dont_fragment,
	};
	unsigned int e;

	if (d->len > IO_MAX_DATAGRAM) {
		io->reasons[PC_REASON_DROP_SEND]++;
		return;
	}
	if (tx->n == IO_QUEUE || (!d->in_place && tx->arena_used + d->len > IO_ARENA))
		pc_io_flush(io);
	e = tx->n++;
	tx->entry[e].n_tags = 0;
	tx->iov[e].iov_base = d->data;
	tx->iov[e].iov_len = d->len;
	if (!d->in_place) {
		tx->iov[e].iov_base = tx->arena + tx->arena_used;
		memcpy(tx->iov[e].iov_base, d->data, d->len);
		tx->arena_used += d->len;
	}
	like.name_len = to_sockaddr(to, &like.name);
	join_run(tx, e, &like, to);
}

void pc_io_send_client(struct pc_io *io, const struct pc_turn_path *path, const struct pc_dgram *d)
{
	if (path->listener < io->n_listen)
		enqueue(io, &io->listen[path->listener], &path->client, d);
}

void pc_io_send_peer(struct pc_io *io, void *port, const struct pc_addr *peer,
		     const struct pc_dgram *d)
{
	enqueue(io, port, peer, d);
}

void pc_io_count(struct pc_io *io, uint32_t slot, bool up, uint32_t payload_bytes,
		 uint32_t wire_bytes)
{
	struct io_entry *e;

	if (io->tx.n == 0 || slot >= io->n_count)
		return;
	e = &io->tx.entry[io->tx.n - 1];
	if (e->n_tags == sizeof(e->tag) / sizeof(e->tag[0]))
		return;
	e->tag[e->n_tags++] = (struct io_tag){
		.slot = slot,
		.payload_bytes = payload_bytes,
		.wire_bytes = wire_bytes,
		.up = up,
	};
}
