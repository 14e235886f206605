/* SPDX-License-Identifier: MIT */
/*
 * Next hops over netlink (libnl-route): which interface, link header and MTU reach an address.
 * Follows route, neighbour, link and address changes; writes the data plane's next-hop array.
 */
#ifndef PC_DAEMON_NEXTHOP_H
#define PC_DAEMON_NEXTHOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "dp/dp.h"

struct pc_nexthops;

/*
 * @changed is called (debounced, from the loop) when a route change gave some destination another
 * next hop, so that flows have to be written again. Returns 0 or a negative code.
 */
int pc_nexthops_new(struct ev_loop *loop, struct pc_dp *dp, void (*changed)(void *arg), void *arg,
		    struct pc_nexthops **ret_nexthops);
void pc_nexthops_free(struct pc_nexthops *n);

/*
 * Index for packets from @src (an address of this host) to @dst; takes a reference on the
 * destination. Unresolved neighbours get an entry all the same (packets pass, which makes the
 * kernel resolve them; a probe is started too). Returns 0, -ENETUNREACH, or PC_ERR_FULL.
 */
int pc_nexthops_get(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
		    uint32_t *ret_index);
void pc_nexthops_put(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst);
/* Index without taking a reference: for writing flows again. Same returns, and PC_ERR_NOT_FOUND. */
int pc_nexthops_find(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
		     uint32_t *ret_index);
/*
 * Ways that are about to be asked for one by one: all that are not known are found out together.
 * So many are to be expected.
 * pc_nexthops_ahead_end() forgets those that nobody took.
 */
struct pc_nexthops_way {
	struct pc_ip src, dst;
};
void pc_nexthops_expect(struct pc_nexthops *n, size_t ways);
void pc_nexthops_ahead(struct pc_nexthops *n, const struct pc_nexthops_way *ways, size_t count);
void pc_nexthops_ahead_end(struct pc_nexthops *n);
/*
 * A router on the way from @src to @dst forwards no more than @mtu bytes. What is larger is left to
 * user space, which may fragment it, for ten minutes: then the way may have become another.
 * Destinations that nobody holds are none of ours: false.
 */
bool pc_nexthops_path_mtu(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
			  uint32_t mtu);
unsigned int pc_nexthops_count(const struct pc_nexthops *n);
unsigned int pc_nexthops_unresolved(const struct pc_nexthops *n);
/* How often neighbours in use are asked whether they are still there (30 s); tests shorten it. */
void pc_nexthops_set_probe_interval(struct pc_nexthops *n, uint64_t ns);

#endif
