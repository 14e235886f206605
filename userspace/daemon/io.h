/* SPDX-License-Identifier: MIT */
/*
 * Datagrams between sockets and the TURN machine, in batches (recvmmsg, sendmmsg), several of one
 * sender in one message and several for one destination (UDP_GRO, UDP_SEGMENT, where the kernel has
 * them), and without allocation per packet. One socket per service address and one per relay port.
 * What the machine sends while a batch is handled is queued and leaves at the end of the batch;
 * counters of a forwarded datagram move when the socket took it.
 */
#ifndef PC_DAEMON_IO_H
#define PC_DAEMON_IO_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/relay.h"
#include "base/addr.h"
#include "relay/native.h"
#include "relay/turn.h"

struct pc_io;

/*
 * A datagram to a service socket that begins like a frame of native peers, or any to a port of
 * theirs, whose listener is PC_IO_NO_LISTENER.
 */
#define PC_IO_NO_LISTENER UINT32_MAX
typedef void (*pc_io_native_fn)(void *ctx, const struct pc_native_path *path, struct pc_dgram *d,
				uint64_t now, uint64_t realtime_s);

struct pc_io_config {
	struct ev_loop *loop;
	const struct pc_addr *listen; /* used by pc_io_new only */
	size_t n_listen;
};

/*
 * Binds the service sockets. 0, or a negative code with one line in @ret_error. Nothing is read
 * before pc_io_start().
 */
int pc_io_new(const struct pc_io_config *config, char *ret_error, size_t error_size,
	      struct pc_io **ret_io);
/* Before anything is sent: PC_REASON_SLOTS counters, and @n_count by slot, to add to. */
void pc_io_count_into(struct pc_io *io, uint64_t *reasons, struct pc_count *count,
		      uint32_t n_count);
/* Somebody else hears of datagrams that were too large for a router on their way. */
void pc_io_leave_too_big(struct pc_io *io);
/* To whom frames of native peers go; without, they are the TURN machine's to refuse. */
void pc_io_set_native(struct pc_io *io, pc_io_native_fn fn, void *ctx);
void pc_io_start(struct pc_io *io, struct pc_turn *turn);
void pc_io_free(struct pc_io *io); /* every port must have been closed */

/* Index of the service socket bound to @server. 0 or PC_ERR_NOT_FOUND. */
int pc_io_listener(const struct pc_io *io, const struct pc_addr *server, uint32_t *ret_listener);

/* What struct pc_turn_ops asks for. */
void pc_io_send_client(struct pc_io *io, const struct pc_turn_path *path, const struct pc_dgram *d);
void pc_io_send_peer(struct pc_io *io, void *port, const struct pc_addr *peer,
		     const struct pc_dgram *d);
int pc_io_port_open(struct pc_io *io, const struct pc_addr *local, struct pc_turn_socket *socket,
		    void **ret_port);
void pc_io_port_assign(struct pc_io *io, void *port, struct pc_turn_socket *socket);
/* The port, opened without a socket, is of native peers: its datagrams have @pipe in their path. */
void pc_io_port_native(struct pc_io *io, void *port, uint32_t pipe);
const struct pc_addr *pc_io_port_local(const void *port);
void pc_io_port_close(struct pc_io *io, void *port);
/* The datagram queued last was forwarded for @slot: counted when it is sent. */
void pc_io_count(struct pc_io *io, uint32_t slot, bool up, uint32_t payload_bytes,
		 uint32_t wire_bytes);

/* Sends what is queued. After anything that made the machine send outside of a batch. */
void pc_io_flush(struct pc_io *io);

/*
 * Room for @wanted descriptors. Returns how many there will be, which is less when the hard limit
 * does not allow them.
 */
uint64_t pc_io_raise_descriptors(uint64_t wanted);

#endif
