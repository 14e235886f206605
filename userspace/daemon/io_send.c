/* SPDX-License-Identifier: MIT */
#include <errno.h>
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

/* @msgs[i] is the entry @index[i] (or i itself when NULL), all of one socket. */
static void send_group(struct pc_io *io, struct io_socket *s, struct mmsghdr *msgs,
		       const uint8_t *index, unsigned int n)
{
	unsigned int done = 0;
	int retries = 0, r;

	while (done < n) {
		r = sendmmsg(s->fd, msgs + done, n - done, MSG_NOSIGNAL);
		if (r > 0) {
			for (unsigned int i = done; i < done + (unsigned int)r; i++)
				count_sent(io, &io->tx.entry[index ? index[i] : i]);
			done += (unsigned int)r;
			retries = 0;
			continue;
		}
		s->errors = true;
		if (r < 0 && is_earlier_error(errno) && retries++ < 2)
			continue;
		retries = 0;
		/* A full socket takes none of the rest either. */
		if (errno == EAGAIN || errno == ENOBUFS) {
			io->reasons[PC_REASON_DROP_SEND] += n - done;
			return;
		}
		io->reasons[PC_REASON_DROP_SEND]++;
		done++;
	}
}

/* Whether all that is queued leaves through one socket in one way. */
static bool is_uniform(const struct io_tx *tx)
{
	for (unsigned int i = 1; i < tx->n; i++)
		if (tx->entry[i].socket != tx->entry[0].socket ||
		    tx->entry[i].df != tx->entry[0].df)
			return false;
	return true;
}

void pc_io_flush(struct pc_io *io)
{
	struct io_tx *tx = &io->tx;
	uint64_t sent[IO_QUEUE / 64] = { 0 };

	if (tx->n == 0)
		return;
	if (is_uniform(tx)) {
		set_df(tx->entry[0].socket, tx->entry[0].df);
		send_group(io, tx->entry[0].socket, tx->msg, NULL, tx->n);
		goto out;
	}
	for (unsigned int i = 0; i < tx->n; i++) {
		const struct io_entry *first = &tx->entry[i];
		unsigned int n = 0;

		if (sent[i / 64] & (1ull << (i % 64)))
			continue;
		for (unsigned int j = i; j < tx->n; j++) {
			if (tx->entry[j].socket != first->socket || tx->entry[j].df != first->df)
				continue;
			sent[j / 64] |= 1ull << (j % 64);
			tx->group[n] = tx->msg[j];
			tx->group_entry[n++] = (uint8_t)j;
		}
		set_df(first->socket, first->df);
		send_group(io, first->socket, tx->group, tx->group_entry, n);
	}
out:
	tx->n = 0;
	tx->arena_used = 0;
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

static void put_control(struct msghdr *h, int level, int type, int value)
{
	struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(sizeof(value));
	memcpy(CMSG_DATA(c), &value, sizeof(value));
	h->msg_controllen += CMSG_SPACE(sizeof(value));
}

static void enqueue(struct pc_io *io, struct io_socket *s, const struct pc_addr *to,
		    const struct pc_dgram *d)
{
	struct io_tx *tx = &io->tx;
	struct msghdr *h;
	unsigned int i;

	if (d->len > IO_MAX_DATAGRAM) {
		io->reasons[PC_REASON_DROP_SEND]++;
		return;
	}
	if (tx->n == IO_QUEUE || (!d->in_place && tx->arena_used + d->len > IO_ARENA))
		pc_io_flush(io);
	i = tx->n++;
	tx->entry[i].socket = s;
	tx->entry[i].df = d->dont_fragment;
	tx->entry[i].n_tags = 0;
	tx->iov[i].iov_base = d->data;
	tx->iov[i].iov_len = d->len;
	if (!d->in_place) {
		tx->iov[i].iov_base = tx->arena + tx->arena_used;
		memcpy(tx->iov[i].iov_base, d->data, d->len);
		tx->arena_used += d->len;
	}
	h = &tx->msg[i].msg_hdr;
	h->msg_iov = &tx->iov[i];
	h->msg_iovlen = 1;
	h->msg_name = &tx->name[i];
	h->msg_namelen = to_sockaddr(to, &tx->name[i]);
	h->msg_control = tx->control[i];
	h->msg_controllen = 0;
	h->msg_flags = 0;
	/* Control data costs time in the kernel: only what differs from the socket's settings. */
	if (d->ttl && d->ttl != IO_DEFAULT_TTL)
		put_control(h, s->family == 6 ? IPPROTO_IPV6 : IPPROTO_IP,
			    s->family == 6 ? IPV6_HOPLIMIT : IP_TTL, d->ttl);
	if (d->tos)
		put_control(h, s->family == 6 ? IPPROTO_IPV6 : IPPROTO_IP,
			    s->family == 6 ? IPV6_TCLASS : IP_TOS, d->tos);
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
