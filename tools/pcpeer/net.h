/* SPDX-License-Identifier: MIT */
/*
 * UDP in batches: many datagrams with one system call each way, and those of one size to one place
 * as one piece that the kernel cuts (UDP_SEGMENT), where it can.
 */
#ifndef PC_PCPEER_NET_H
#define PC_PCPEER_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define NET_BATCH 64   /* datagrams that go out together */
#define NET_SLOT  1536 /* more than a frame */

/* @data may be written to; it lasts until the next call of net_receive. */
typedef void (*net_fn)(void *ctx, uint8_t *data, size_t len, const struct pc_addr *from);

struct net_out {
	int fd; /* -1: nothing waits */
	unsigned int n;
	struct {
		const uint8_t *data;
		size_t len;
		struct pc_addr to; /* family 0: of a connected socket */
	} entry[NET_BATCH];
	uint8_t (*slots)[NET_SLOT]; /* NULL: the data is elsewhere */
	bool whole;		    /* the kernel does not cut: one by one */
	uint64_t sent, failed;
	int error; /* the last one */
	/* A datagram that the path does not carry in one piece. NULL: nobody wants to know. */
	void (*too_large)(void *ctx, int fd, const struct pc_addr *to, const uint8_t *data,
			  size_t len);
	void *ctx;
};

/* Nonblocking, with large buffers. 0 with the socket, bound to @local, or -errno. */
int net_open(const struct pc_addr *local, int *ret_fd);
/* Whether what is too large may be sent in fragments; it may, at first. 0 or -errno. */
int net_fragments(int fd, int family, bool allowed);
/* The address that @fd has. */
int net_local(int fd, struct pc_addr *ret_addr);
/* Takes what waits, up to a bound. How many datagrams, or -errno. */
int net_receive(int fd, net_fn fn, void *ctx);

int net_out_init(struct net_out *o, bool slots); /* 0 or -ENOMEM */
void net_out_free(struct net_out *o);
/* Room for one frame, to be given to net_send. */
uint8_t *net_slot(struct net_out *o);
/* @data has to last until net_flush; @to NULL: the socket is connected. */
void net_send(struct net_out *o, int fd, const uint8_t *data, size_t len, const struct pc_addr *to);
void net_flush(struct net_out *o);

#endif
