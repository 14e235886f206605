/* SPDX-License-Identifier: MIT */
/*
 * What the files of the glue share; nobody else includes this.
 *
 * turn_glue.c         the table of effects; sockets, slots, records, users
 * turn_glue_tables.c  what the kernel is told: flows, permissions, ports
 * turn_glue_rate.c    limits of tenants on what user space relays
 */
#ifndef PC_DAEMON_TURN_GLUE_INT_H
#define PC_DAEMON_TURN_GLUE_INT_H

#include "base/htab.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/record.h"
#include "daemon/turn_glue.h"

struct pc_glue {
	struct pc_daemon *d;
	uint64_t *reasons;
	uint64_t limit_ns; /* nothing in the kernel lives longer */
	uint8_t hash_key[16];
	struct pc_htab flows, perms, ports;
	size_t n_perms_in_kernel;
	struct pc_log_limit log, port_log;
	uint32_t n_limits;
	uint32_t *limits; /* by slot: the index of its tenant's limits; 0: none */
	uint8_t record[PC_RECORD_MAX];
};

int pc_glue_limits_init(struct pc_glue *g);
void pc_glue_limits_set(struct pc_glue *g, uint32_t slot); /* of an open slot */
void pc_glue_limits_clear(struct pc_glue *g, uint32_t slot);
uint32_t pc_glue_limits(const struct pc_glue *g, uint32_t slot);
bool pc_glue_admit(void *ctx, uint32_t slot, bool up, struct pc_dgram *d, uint32_t payload_bytes,
		   uint32_t wire_bytes);

/* Beyond the array: packets pass. */
#define PC_GLUE_NO_HOP PC_MAX_NEXTHOPS
/*
 * The way as it is now, held from the first time on; what there is none to may get one, and then
 * this is called again.
 */
uint32_t pc_glue_hop(struct pc_nexthops *hops, const struct pc_ip *src, const struct pc_ip *dst,
		     bool *held);

int pc_glue_tables_init(struct pc_glue *g);
void pc_glue_tables_free(struct pc_glue *g);

int pc_glue_flow_set(void *ctx, const struct pc_turn_flow *flow);
void pc_glue_flow_del(void *ctx, const struct pc_turn_flow *flow);
int pc_glue_perm_set(void *ctx, const struct pc_turn_perm *perm);
void pc_glue_perm_del(void *ctx, const struct pc_turn_perm *perm);
void pc_glue_port_opened(struct pc_glue *g, const struct pc_addr *local);
void pc_glue_port_closing(struct pc_glue *g, const struct pc_addr *local);

#endif
