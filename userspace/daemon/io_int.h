/* SPDX-License-Identifier: MIT */
/*
 * What the files of io share; nobody else includes this.
 *
 * io.c       sockets, their life, watchers
 * io_recv.c  batches in, ICMP errors
 * io_send.c  the queue out
 */
#ifndef PC_DAEMON_IO_INT_H
#define PC_DAEMON_IO_INT_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/io.h"

#define IO_BATCH 64
#define IO_QUEUE 128
/* A busy service socket serves many ports: more of its batches before the others get a turn. */
#define IO_SERVICE_BATCHES 8
#define IO_MAX_DATAGRAM	   65535
/* Room for one, not a multiple of a page: the starts of buffers spread over the cache. */
#define IO_STRIDE (PC_TURN_HEADROOM + IO_MAX_DATAGRAM + PC_TURN_TAILROOM + 125)
_Static_assert(IO_STRIDE % 64 == 0, "buffers start on cache lines");
#define IO_CONTROL     (2 * CMSG_SPACE(sizeof(int)))
#define IO_DEFAULT_TTL 64

union io_sockaddr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct io_socket {
	int fd;
	uint8_t family; /* 4, 6 */
	bool df;	/* packets leave with Don't Fragment */
	bool service;
	bool errors; /* its error queue has something */
	struct ev_io watcher;
	struct pc_io *io;
	struct pc_addr local;
	uint32_t listener;	     /* of a service socket */
	struct pc_turn_alloc *alloc; /* of a relay port */
};

struct io_rx {
	uint8_t *buffers; /* IO_BATCH of IO_STRIDE, mapped */
	struct mmsghdr msg[IO_BATCH];
	struct iovec iov[IO_BATCH];
	union io_sockaddr name[IO_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[IO_BATCH][IO_CONTROL];
};

/* A forwarded datagram may count for two tenants: from one and to the other. */
struct io_tag {
	uint32_t slot;
	uint32_t payload_bytes, wire_bytes;
	bool up;
};

struct io_entry {
	struct io_socket *socket;
	bool df;
	uint8_t n_tags;
	struct io_tag tag[2];
};

struct io_tx {
	unsigned int n;
	size_t arena_used;
	uint8_t *arena; /* IO_ARENA bytes for datagrams that are not in place */
	struct mmsghdr msg[IO_QUEUE];
	struct iovec iov[IO_QUEUE];
	union io_sockaddr name[IO_QUEUE];
	_Alignas(struct cmsghdr) uint8_t control[IO_QUEUE][IO_CONTROL];
	struct io_entry entry[IO_QUEUE];
	/* One socket's share of the queue, put together for sendmmsg. */
	struct mmsghdr group[IO_QUEUE];
	uint8_t group_entry[IO_QUEUE];
};
#define IO_ARENA (2 * IO_MAX_DATAGRAM)

struct pc_io {
	struct ev_loop *loop;
	struct pc_turn *turn;
	uint64_t *reasons;
	struct pc_count *count;
	uint32_t n_count;
	size_t n_listen;
	struct io_socket *listen;
	struct io_socket *receiving; /* whose batch is being handled; NULL when it was closed */
	struct io_rx rx;
	struct io_tx tx;
};

/* --- io_recv.c --- */
void io_rx_init(struct io_rx *rx);
void io_readable(struct ev_loop *loop, struct ev_io *w, int events);

#endif
