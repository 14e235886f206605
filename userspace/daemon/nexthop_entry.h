/* SPDX-License-Identifier: MIT */
/*
 * Ways out: one entry per (interface, neighbour, path MTU), each one slot of the data plane's
 * next-hop array. Part of nexthop.c; nothing else uses it.
 */
#ifndef PC_DAEMON_NEXTHOP_ENTRY_H
#define PC_DAEMON_NEXTHOP_ENTRY_H

#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/relay.h"
#include "base/htab.h"
#include "daemon/rtnl.h"
#include "dp/dp.h"

#define PC_NEXTHOP_MAX_CHAIN 3 /* interface, below two VLAN sub-interfaces at most */

struct pc_nexthop_key {
	uint32_t oif;
	uint32_t mtu;	  /* of the route; 0: of the interface */
	struct pc_ip via; /* gateway, or the destination itself when on link */
	uint8_t family;	  /* of the packets */
	uint8_t reserved[2];
};

struct pc_nexthop_entry {
	struct pc_hnode node;
	struct pc_nexthop_key key;
	struct pc_nexthop_table *table;
	uint32_t index;
	uint32_t refs;
	uint64_t idle_ns; /* since when nobody refers to it */
	uint64_t next_probe_ns;
	uint64_t next_use_ns;
	uint64_t use_interval_ns;
	uint32_t chain[PC_NEXTHOP_MAX_CHAIN]; /* interfaces it depends on, top to bottom */
	bool link_ok;
	bool neigh_ok;
	bool permanent;		  /* set by hand: not to be asked again */
	struct pc_dp_nexthop hop; /* as last written */
};

struct pc_nexthop_table {
	struct pc_dp *dp;
	struct pc_rtnl *rtnl;
	const uint8_t *hash_key;
	struct pc_htab by_neigh;	 /* by interface and neighbour */
	struct pc_nexthop_entry **slots; /* PC_MAX_NEXTHOPS */
	uint8_t *reserved;		 /* PC_MAX_NEXTHOPS bits; NULL: none */
	uint32_t cursor;
	unsigned int used;
	uint64_t probe_ns;
};

int pc_nexthop_table_init(struct pc_nexthop_table *t, struct pc_dp *dp, struct pc_rtnl *rtnl,
			  const uint8_t hash_key[static 16]);
void pc_nexthop_table_free(struct pc_nexthop_table *t);
/* Slots that must not be given out yet. */
void pc_nexthop_table_reserve(struct pc_nexthop_table *t, uint32_t index);
void pc_nexthop_table_unreserve(struct pc_nexthop_table *t);

/* Finds or makes the entry and takes a reference. 0, PC_ERR_FULL or -ENOMEM. */
int pc_nexthop_entry_get(struct pc_nexthop_table *t, const struct pc_nexthop_key *key, uint64_t now,
			 struct pc_nexthop_entry **ret_entry);
void pc_nexthop_entry_put(struct pc_nexthop_entry *e, uint64_t now);

/* The interface changed; a neighbour did; everything may have. */
void pc_nexthop_table_link(struct pc_nexthop_table *t, uint32_t ifindex, uint64_t now);
void pc_nexthop_table_neigh(struct pc_nexthop_table *t, const struct pc_rtnl_neigh *neigh,
			    bool gone, uint64_t now);
void pc_nexthop_table_refresh(struct pc_nexthop_table *t, uint64_t now);
/* Once a second: asks neighbours, and frees what was idle for long when @may_free. */
void pc_nexthop_table_tick(struct pc_nexthop_table *t, uint64_t now, bool may_free);
unsigned int pc_nexthop_table_unresolved(const struct pc_nexthop_table *t);

#endif
