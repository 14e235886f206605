/* SPDX-License-Identifier: MIT */
#include "net.h"

#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"

#define BUFFER	  (4 << 20) /* of sockets, as far as the system allows */
#define IN_BATCH  16
#define IN_SIZE	  65536 /* datagrams that the kernel joined */
#define RUN_BYTES 64000
#define FULL_MS	  20 /* how long to wait for room in a full socket */

/* --- in --- */

static uint8_t in_data[IN_BATCH][IN_SIZE];

int net_open(const struct pc_addr *local, int *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t len = pc_addr_to_sockaddr(local, &sa);
	_cleanup_close_ int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, size = BUFFER;

	if (fd < 0)
		return -errno;
	if (sa.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* For root, beyond what the system allows others. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int net_fragments(int fd, int family, bool allowed)
{
	int how = allowed ? IP_PMTUDISC_WANT : IP_PMTUDISC_DO;
	int how6 = allowed ? IPV6_PMTUDISC_WANT : IPV6_PMTUDISC_DO;
	int rc;

	if (family == AF_INET6)
		rc = setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &how6, sizeof(how6));
	else
		rc = setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &how, sizeof(how));
	return rc < 0 ? -errno : 0;
}

int net_local(int fd, struct pc_addr *ret_addr)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return pc_addr_from_sockaddr((struct sockaddr *)&sa, len, ret_addr);
}

/* Size of the datagrams that were joined; 0: it is one. */
static size_t segment_of(struct msghdr *h)
{
	int size = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&size, CMSG_DATA(c), sizeof(size));
	}
	return size > 0 ? (size_t)size : 0;
}

/* How many datagrams there were in the message. */
static int hand_up(struct mmsghdr *m, uint8_t *data, net_fn fn, void *ctx)
{
	size_t left = m->msg_len, segment = segment_of(&m->msg_hdr);
	struct pc_addr from = { 0 };
	int n = 0;

	if (m->msg_hdr.msg_flags & MSG_TRUNC)
		return 0;
	if (m->msg_hdr.msg_namelen &&
	    pc_addr_from_sockaddr(m->msg_hdr.msg_name, m->msg_hdr.msg_namelen, &from) < 0)
		return 0;
	do {
		size_t len = segment && segment < left ? segment : left;

		fn(ctx, data, len, &from);
		data += len;
		left -= len;
		n++;
	} while (left);
	return n;
}

int net_receive(int fd, net_fn fn, void *ctx)
{
	struct sockaddr_storage names[IN_BATCH];
	struct mmsghdr msgs[IN_BATCH];
	struct iovec iov[IN_BATCH];
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control[IN_BATCH];
	int total = 0, n;

	for (unsigned int i = 0; i < IN_BATCH; i++) {
		iov[i] = (struct iovec){ in_data[i], IN_SIZE };
		memset(&msgs[i], 0, sizeof(msgs[i]));
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		msgs[i].msg_hdr.msg_name = &names[i];
		msgs[i].msg_hdr.msg_namelen = sizeof(names[i]);
		msgs[i].msg_hdr.msg_control = &control[i];
		msgs[i].msg_hdr.msg_controllen = sizeof(control[i]);
	}
	n = recvmmsg(fd, msgs, IN_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		total += hand_up(&msgs[i], in_data[i], fn, ctx);
	return total;
}

/* --- out --- */

int net_out_init(struct net_out *o, bool slots)
{
	memset(o, 0, sizeof(*o));
	o->fd = -1;
	if (slots) {
		o->slots = calloc(NET_BATCH, sizeof(*o->slots));
		if (!o->slots)
			return -ENOMEM;
	}
	return 0;
}

void net_out_free(struct net_out *o)
{
	free(o->slots);
	o->slots = NULL;
}

uint8_t *net_slot(struct net_out *o)
{
	if (o->n == NET_BATCH)
		net_flush(o);
	return o->slots[o->n];
}

void net_send(struct net_out *o, int fd, const uint8_t *data, size_t len, const struct pc_addr *to)
{
	if (o->n && (o->n == NET_BATCH || o->fd != fd)) {
		/* What is in a slot has to stay behind what goes now. */
		if (o->slots && data == o->slots[o->n]) {
			unsigned int from = o->n;

			net_flush(o);
			memcpy(o->slots[0], o->slots[from], len);
			data = o->slots[0];
		} else {
			net_flush(o);
		}
	}
	o->fd = fd;
	o->entry[o->n].data = data;
	o->entry[o->n].len = len;
	memset(&o->entry[o->n].to, 0, sizeof(o->entry[o->n].to));
	if (to)
		o->entry[o->n].to = *to;
	o->n++;
}

/* How many entries from @first on the kernel can take as one piece. */
static unsigned int run_length(const struct net_out *o, unsigned int first)
{
	size_t len = o->entry[first].len, total = len;
	unsigned int n = 1;

	while (!o->whole && len && first + n < o->n && o->entry[first + n].len <= len &&
	       total + o->entry[first + n].len <= RUN_BYTES &&
	       pc_addr_equal(&o->entry[first].to, &o->entry[first + n].to)) {
		total += o->entry[first + n].len;
		n++;
		/* A shorter one ends it. */
		if (o->entry[first + n - 1].len < len)
			break;
	}
	return n;
}

struct batch {
	struct mmsghdr msgs[NET_BATCH];
	struct iovec iov[NET_BATCH];
	struct sockaddr_storage names[NET_BATCH];
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control[NET_BATCH];
	unsigned int first[NET_BATCH]; /* entry */
	unsigned int n;
};

static void build(struct net_out *o, unsigned int start, struct batch *b)
{
	b->n = 0;
	for (unsigned int i = start; i < o->n;) {
		struct msghdr *h = &b->msgs[b->n].msg_hdr;
		unsigned int run = run_length(o, i);
		uint16_t segment = (uint16_t)o->entry[i].len;

		memset(&b->msgs[b->n], 0, sizeof(b->msgs[b->n]));
		for (unsigned int k = i; k < i + run; k++)
			b->iov[k] = (struct iovec){ (void *)o->entry[k].data, o->entry[k].len };
		h->msg_iov = &b->iov[i];
		h->msg_iovlen = run;
		if (o->entry[i].to.ip.family) {
			h->msg_name = &b->names[b->n];
			h->msg_namelen = pc_addr_to_sockaddr(&o->entry[i].to, &b->names[b->n]);
		}
		if (run > 1) {
			struct cmsghdr *c = &b->control[b->n].align;

			c->cmsg_level = IPPROTO_UDP;
			c->cmsg_type = UDP_SEGMENT;
			c->cmsg_len = CMSG_LEN(sizeof(segment));
			memcpy(CMSG_DATA(c), &segment, sizeof(segment));
			h->msg_control = c;
			h->msg_controllen = sizeof(b->control[b->n]);
		}
		b->first[b->n++] = i;
		i += run;
	}
}

/* Errors about earlier datagrams (ICMP) fail the next one, which is to be sent again. */
static bool is_earlier_error(int err)
{
	return err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH || err == EINTR;
}

/*
 * What @err means for the message at hand. True: the same again, changed or not; false: it is lost.
 */
static bool again(struct net_out *o, const struct msghdr *h, int err, unsigned int *retries)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };

	o->error = err;
	if ((*retries)++ >= 3)
		return false;
	if (err == EAGAIN || err == ENOBUFS)
		return poll(&p, 1, FULL_MS) >= 0;
	/* A device without checksums, an old kernel, a path that takes less. */
	if (h->msg_iovlen > 1 && (err == EIO || err == EINVAL || err == EMSGSIZE)) {
		o->whole = true;
		return true;
	}
	return is_earlier_error(err);
}

/* The first message of @b is lost. */
static void lose(struct net_out *o, const struct batch *b, unsigned int start, int err)
{
	const struct msghdr *h = &b->msgs[0].msg_hdr;

	o->failed += h->msg_iovlen;
	if (err != EMSGSIZE || h->msg_iovlen != 1 || !o->too_large)
		return;
	/* It was the path that took no piece, not the kernel. */
	o->whole = false;
	o->too_large(o->ctx, o->fd, &o->entry[start].to, o->entry[start].data, o->entry[start].len);
}

void net_flush(struct net_out *o)
{
	unsigned int start = 0, retries = 0;
	static struct batch b;

	while (start < o->n) {
		unsigned int done;
		int r;

		build(o, start, &b);
		r = sendmmsg(o->fd, b.msgs, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		done = r > 0 ? (unsigned int)r : 0;
		for (unsigned int i = 0; i < done; i++)
			o->sent += b.msgs[i].msg_hdr.msg_iovlen;
		if (done) {
			start = done < b.n ? b.first[done] : o->n;
			retries = 0;
		} else if (!again(o, &b.msgs[0].msg_hdr, errno, &retries)) {
			lose(o, &b, start, o->error);
			start += b.msgs[0].msg_hdr.msg_iovlen;
			retries = 0;
		}
	}
	o->n = 0;
	o->fd = -1;
}
