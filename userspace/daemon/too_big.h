/* SPDX-License-Identifier: MIT */
/*
 * Hears what routers say about datagrams of this host that were too large for the way (ICMP
 * "fragmentation needed", ICMPv6 "packet too big"), whoever sent them: sockets are not told of
 * those that the kernel's program sent, nor, over IPv4, of those that they sent themselves while
 * they allowed fragments.
 */
#ifndef PC_DAEMON_TOO_BIG_H
#define PC_DAEMON_TOO_BIG_H

#include <ev.h>
#include <stdint.h>

#include "base/addr.h"

struct pc_too_big_report {
	struct pc_addr local, remote; /* of the UDP datagram that was too large */
	uint8_t type, code;	      /* of the ICMP message */
	uint32_t mtu;		      /* as the router gave it; 0: it is an old one */
};

/* Anybody can forge one: to be believed only if @local and @remote are known to talk. */
typedef void pc_too_big_fn(void *arg, const struct pc_too_big_report *report);

struct pc_too_big;

/* Needs CAP_NET_RAW. 0 or -errno. One family will do. */
int pc_too_big_new(struct ev_loop *loop, pc_too_big_fn *fn, void *arg,
		   struct pc_too_big **ret_too_big);
void pc_too_big_free(struct pc_too_big *t);

/* What came on a raw socket of @family. 0 or PC_ERR_MALFORMED: nothing about a UDP datagram. */
int pc_too_big_parse(uint8_t family, const uint8_t *message, size_t len,
		     struct pc_too_big_report *ret_report);

#endif
