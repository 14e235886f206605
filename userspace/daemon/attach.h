/* SPDX-License-Identifier: MIT */
/*
 * Guarded attach: an interface keeps working, or the program goes. Verify (the gateway's neighbour
 * answers), attach on trial, verify again within 3 s, confirm; else detach and fall back from
 * native to generic to none, and say which check failed.
 */
#ifndef PC_DAEMON_ATTACH_H
#define PC_DAEMON_ATTACH_H

#include <ev.h>
#include <net/if.h>
#include <stddef.h>

#include "dp/dp.h"

#define PC_ATTACH_VERIFY_NS 3000000000ull

struct pc_attach_result {
	char interface[IF_NAMESIZE];
	uint32_t ifindex;
	enum pc_dp_mode mode; /* what was got: NATIVE, GENERIC or OFF */
	bool adopted;
	bool shared;	  /* behind libxdp's dispatcher, else alone */
	bool verified;	  /* false: nothing on the interface answered before, so nothing to check */
	char reason[200]; /* one line for people: why not native, which check failed; "" if none */
};

/*
 * Blocks for at most about 10 s per interface, before the loop runs. @wanted AUTO, NATIVE or
 * GENERIC. Always fills *ret_result; returns 0 when attached, else the code of the last failure.
 */
int pc_attach_guarded(struct pc_dp *dp, const char *interface, enum pc_dp_mode wanted,
		      struct pc_attach_result *ret_result);

/*
 * Whether the neighbour that matters on @ifindex (default gateway of either family, else the most
 * recently confirmed neighbour) answers ARP or neighbour discovery within @timeout_ms. Returns 1
 * yes, 0 no, -ENOENT when there is nothing to ask.
 */
int pc_attach_neighbour_answers(unsigned int ifindex, int timeout_ms);

/* Follows the interfaces: one that comes back after it went away is attached again. */
struct pc_attach_watch;
int pc_attach_watch_new(struct ev_loop *loop, struct pc_dp *dp, enum pc_dp_mode wanted,
			struct pc_attach_result *results, size_t n,
			struct pc_attach_watch **ret_watch);
void pc_attach_watch_free(struct pc_attach_watch *w);

#endif
