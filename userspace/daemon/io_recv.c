/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <linux/udp.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon/io_int.h"

#define ERRORS_PER_WAKE 16

void io_rx_init(struct io_rx *rx)
{
	for (unsigned int i = 0; i < IO_BATCH; i++) {
		struct msghdr *h = &rx->msg[i].msg_hdr;

		rx->iov[i].iov_base = rx->buffers + (size_t)i * IO_STRIDE + PC_TURN_HEADROOM;
		rx->iov[i].iov_len = IO_MAX_DATAGRAM;
		h->msg_iov = &rx->iov[i];
		h->msg_iovlen = 1;
		h->msg_name = &rx->name[i];
		h->msg_namelen = sizeof(rx->name[i]);
		h->msg_control = rx->control[i];
		h->msg_controllen = IO_CONTROL;
	}
}

/* @ret_segment: length of each datagram but the last, where a message is several. */
static void parse_control(struct msghdr *h, struct pc_dgram *d, size_t *ret_segment)
{
	int value;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			d->tos = *CMSG_DATA(c);
			continue;
		}
		if (c->cmsg_len < CMSG_LEN(sizeof(value)))
			continue;
		memcpy(&value, CMSG_DATA(c), sizeof(value));
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
			d->ttl = value ? (uint8_t)value : 1; /* used up; 0 is nobody's TTL */
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			d->tos = (uint8_t)value;
		else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO && value > 0)
			*ret_segment = (size_t)value;
	}
}

void io_from_sockaddr(const union io_sockaddr *sa, struct pc_addr *a)
{
	*a = (struct pc_addr){ 0 };
	if (sa->sa.sa_family == AF_INET6) {
		a->ip.family = 6;
		memcpy(a->ip.b, &sa->in6.sin6_addr, 16);
		a->port = ntohs(sa->in6.sin6_port);
	} else {
		a->ip.family = 4;
		memcpy(a->ip.b, &sa->in.sin_addr, 4);
		a->port = ntohs(sa->in.sin_port);
	}
}

/* Who sent a message, and when it was taken. */
struct origin {
	struct pc_addr from;
	uint64_t now, realtime_s;
};

static void deliver_native(struct pc_io *io, const struct io_socket *s, const struct origin *o,
			   struct pc_dgram *d)
{
	const struct pc_native_path path = {
		.listener = s->listener,
		.pipe = s->pipe,
		.local = s->local,
		.remote = o->from,
	};

	io->native(io->native_ctx, &path, d, o->now, o->realtime_s);
}

/* One datagram to the machine. */
static void deliver(struct pc_io *io, struct io_socket *s, const struct origin *o,
		    struct pc_dgram d)
{
	struct pc_turn_path path;

	if (s->native) {
		if (io->native)
			deliver_native(io, s, o, &d);
		return;
	}
	if (!s->service) {
		pc_turn_peer_input(io->turn, s->socket, &o->from, &d, o->now);
		return;
	}
	if (io->native && d.len && d.data[0] >= PC_NATIVE_FIRST_BYTE &&
	    d.data[0] <= PC_NATIVE_LAST_BYTE) {
		deliver_native(io, s, o, &d);
		return;
	}
	path = (struct pc_turn_path){
		.listener = s->listener,
		.server = s->local,
		.client = o->from,
	};
	pc_turn_input(io->turn, &path, &d, o->now, o->realtime_s);
}

/* @d, which has neighbours, to where it has room around it. */
static void set_apart(struct pc_io *io, struct pc_dgram *d)
{
	struct io_rx *rx = &io->rx;
	size_t room = PC_TURN_HEADROOM + d->len + PC_TURN_TAILROOM;
	uint8_t *to;

	if (room > IO_APART - rx->apart_used) {
		pc_io_flush(io); /* what is queued points there */
		rx->apart_used = 0;
	}
	to = rx->apart + rx->apart_used + PC_TURN_HEADROOM;
	rx->apart_used += room;
	memcpy(to, d->data, d->len);
	d->data = to;
}

/* Message @i of the batch: one datagram, or several of one sender (UDP_GRO). Returns how many. */
static unsigned int deliver_message(struct pc_io *io, struct io_socket *s, unsigned int i,
				    struct origin *o)
{
	uint8_t *data = io->rx.iov[i].iov_base;
	size_t len = io->rx.msg[i].msg_len, segment = 0;
	struct pc_dgram d = { .ttl = IO_DEFAULT_TTL, .in_place = true };
	unsigned int n = 0;

	parse_control(&io->rx.msg[i].msg_hdr, &d, &segment);
	if (segment == 0 || segment > len)
		segment = len;
	io_from_sockaddr(&io->rx.name[i], &o->from);
	do {
		d.data = data;
		d.len = segment < len ? segment : len;
		data += d.len;
		len -= d.len;
		n++;
		if (o->from.port == 0) { /* nobody can be answered there */
			io->reasons[PC_REASON_DROP_MALFORMED]++;
			continue;
		}
		if (n > 1 || len)
			set_apart(io, &d);
		deliver(io, s, o, d);
	} while (len && io->receiving);
	return n;
}

static void reset_batch(struct io_rx *rx, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		rx->msg[i].msg_hdr.msg_namelen = sizeof(rx->name[i]);
		rx->msg[i].msg_hdr.msg_controllen = IO_CONTROL;
	}
	rx->apart_used = 0;
}

/*
 * Returns how many messages came, 0 for none, or -1 when handling them closed the socket. Adds the
 * datagrams to @datagrams.
 */
static int receive_batch(struct pc_io *io, struct io_socket *s, unsigned int *datagrams)
{
	struct origin o;
	int n;

	do {
		n = recvmmsg(s->fd, io->rx.msg, IO_BATCH, 0, NULL);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	o.now = pc_clock_monotonic();
	o.realtime_s = pc_clock_realtime() / PC_NS_PER_S;
	io->receiving = s;
	for (int i = 0; i < n && io->receiving; i++)
		*datagrams += deliver_message(io, s, (unsigned int)i, &o);
	pc_io_flush(io);
	reset_batch(&io->rx, (unsigned int)n);
	if (!io->receiving)
		return -1;
	io->receiving = NULL;
	return n;
}

static void report_error(struct io_socket *s, const struct sock_extended_err *e,
			 const struct pc_addr *peer)
{
	uint8_t type = e->ee_type, code = e->ee_code;
	uint32_t data = 0;

	if (e->ee_origin == SO_EE_ORIGIN_LOCAL && e->ee_errno == EMSGSIZE) {
		/* Larger than the path's MTU: what a router on it would have said. */
		type = s->family == 6 ? ICMP6_PACKET_TOO_BIG : ICMP_DEST_UNREACH;
		code = s->family == 6 ? 0 : ICMP_FRAG_NEEDED;
		data = e->ee_info;
		if (peer->port == 0 && pc_ip_equal(&peer->ip, &s->too_large.ip))
			peer = &s->too_large;
	} else if (e->ee_origin == SO_EE_ORIGIN_ICMP || e->ee_origin == SO_EE_ORIGIN_ICMP6) {
		bool too_big = s->family == 6
				       ? type == ICMP6_PACKET_TOO_BIG
				       : type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED;

		if (too_big && s->io->leave_too_big)
			return;
		if (too_big)
			data = e->ee_info;
	} else {
		return;
	}
	/* Nobody waits for such news of a pipe: its ends know by themselves. */
	if (s->native)
		return;
	pc_turn_peer_icmp(s->io->turn, s->socket, peer, type, code, data, pc_clock_monotonic());
}

/* ICMP errors about what was sent from a relay port. */
static void receive_errors(struct io_socket *s)
{
	_Alignas(struct cmsghdr) uint8_t control[512];
	struct sock_extended_err e;
	struct pc_io *io = s->io;
	union io_sockaddr name;
	struct pc_addr peer;
	uint8_t start[64];

	io->receiving = s;
	for (int i = 0; i < ERRORS_PER_WAKE && io->receiving; i++) {
		struct iovec iov = { start, sizeof(start) };
		struct msghdr h = {
			.msg_name = &name,
			.msg_namelen = sizeof(name),
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};

		if (recvmsg(s->fd, &h, MSG_ERRQUEUE) < 0) {
			s->errors = false;
			break;
		}
		if (h.msg_namelen < sizeof(name.in))
			continue;
		io_from_sockaddr(&name, &peer);
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c && io->receiving;
		     c = CMSG_NXTHDR(&h, c)) {
			if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
			    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
				continue;
			if (c->cmsg_len < CMSG_LEN(sizeof(e)))
				continue;
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			report_error(s, &e, &peer);
		}
	}
	io->receiving = NULL;
	pc_io_flush(io);
}

/* Bounded work: whoever is still readable afterwards gets its turn after the others. */
void io_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
	struct io_socket *s = pc_container_of(w, struct io_socket, watcher);
	unsigned int batches = s->service ? IO_SERVICE_BATCHES : 1, datagrams = 0;
	int n;

	(void)loop;
	(void)events;
	do {
		n = receive_batch(s->io, s, &datagrams);
	} while (n == IO_BATCH && --batches && datagrams < IO_DATAGRAMS);
	if (n < 0 || s->service)
		return;
	/* An error wakes the loop again and again until it is taken out of its queue. */
	if (n == 0 || s->errors)
		receive_errors(s);
}
