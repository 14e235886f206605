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
/*
 * Messages before the others get their turn. A service socket serves many ports. One message may
 * be many datagrams (UDP_GRO): of those, too, not many more than IO_DATAGRAMS.
 */
#define IO_SERVICE_BATCHES 8
#define IO_DATAGRAMS	   512
#define IO_MAX_DATAGRAM	   65535
/* Room for one, not a multiple of a page: the starts of buffers spread over the cache. */
#define IO_STRIDE (PC_TURN_HEADROOM + IO_MAX_DATAGRAM + PC_TURN_TAILROOM + 125)
_Static_assert(IO_STRIDE % 64 == 0, "buffers start on cache lines");
#define IO_CONTROL	(3 * CMSG_SPACE(sizeof(int)))
#define IO_SEND_CONTROL (2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t)))
#define IO_DEFAULT_TTL	64
#define IO_RECENT	256
_Static_assert(IO_QUEUE < 256, "entries and runs are counted in a byte");
/* What the kernel takes in one message, and datagrams that fit any usual path. */
#define IO_RUN_MAX	 64
#define IO_RUN_BYTES	 65000
#define IO_SEGMENT_MAX	 1472
#define IO_SEGMENT_PAUSE 1000 /* batches without UDP_SEGMENT after the kernel refused it */

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
	bool errors;		  /* its error queue has something */
	struct pc_addr too_large; /* where the last datagram was for that was too large to leave */
	uint16_t segment_pause;
	struct ev_io watcher;
	struct pc_io *io;
	struct pc_addr local;
	bool native; /* a port of native peers, of this pipe */
	uint32_t pipe;
	uint32_t listener;	       /* of a service socket */
	struct pc_turn_socket *socket; /* of a relay port */
};

struct io_rx {
	uint8_t *buffers; /* IO_BATCH of IO_STRIDE, mapped */
	/* IO_APART bytes: where segments of one message get the room that every datagram has */
	uint8_t *apart;
	size_t apart_used;
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
	uint8_t next; /* of the same run */
	uint8_t n_tags;
	struct io_tag tag[2];
};

/*
 * Datagrams for one destination that differ in content only, all of one length but the last, which
 * may be shorter: one message to the kernel, cut into datagrams there (UDP_SEGMENT).
 */
struct io_run {
	struct io_socket *socket;
	union io_sockaddr name;
	socklen_t name_len;
	uint8_t ttl, tos;
	bool df;
	bool closed; /* a shorter one came: nothing may follow */
	uint8_t n, first, last;
	uint16_t segment;
	uint32_t bytes;
};

struct io_tx {
	unsigned int n, n_runs;
	size_t arena_used;
	uint8_t *arena; /* IO_ARENA bytes for datagrams that are not in place */
	struct iovec iov[IO_QUEUE];
	struct io_entry entry[IO_QUEUE];
	struct io_run run[IO_QUEUE];
	/* The run that a destination had last, by hash: index + 1, 0 for none. */
	uint8_t recent[IO_RECENT];
	/* One socket's share, put together for sendmmsg. */
	uint8_t group_run[IO_QUEUE];
	struct mmsghdr group[IO_QUEUE];
	struct iovec group_iov[IO_QUEUE];
	_Alignas(struct cmsghdr) uint8_t group_control[IO_QUEUE][IO_SEND_CONTROL];
};
#define IO_ARENA (2 * IO_MAX_DATAGRAM)
/* A full queue of datagrams that fit any usual path, or any one datagram. */
#define IO_APART (IO_QUEUE * 1600)
_Static_assert(IO_APART >= IO_STRIDE, "a datagram of any size has room");

struct pc_io {
	struct ev_loop *loop;
	struct pc_turn *turn;
	pc_io_native_fn native; /* NULL: nobody takes them */
	void *native_ctx;
	uint64_t *reasons;
	struct pc_count *count;
	uint32_t n_count;
	bool leave_too_big;
	size_t n_listen;
	struct io_socket *listen;
	struct io_socket *receiving; /* whose batch is being handled; NULL when it was closed */
	struct io_rx rx;
	struct io_tx tx;
};

/* --- io_recv.c --- */
void io_rx_init(struct io_rx *rx);
void io_from_sockaddr(const union io_sockaddr *sa, struct pc_addr *a);
void io_readable(struct ev_loop *loop, struct ev_io *w, int events);

#endif
