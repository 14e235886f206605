/* SPDX-License-Identifier: MIT */
/*
 * The fake data plane: what a test can see and break. What a real one pins lives in one place
 * behind all handles and survives pc_dp_close(), so a restart can be played; at most one handle is
 * open at a time. Nothing is on disk.
 */
#ifndef PC_DP_DP_FAKE_H
#define PC_DP_DP_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/pipe.h"
#include "dp/dp.h"

/* As after a reboot: no pins, no counters, nothing set to fail. Call it before each test. */
void pc_dp_fake_reset(void);
/* As after kill -9: what was on trial is gone, the open handle is freed. */
void pc_dp_fake_kill(struct pc_dp *dp);

/* --- to break it: the error each step returns; 0: it works --- */
struct pc_dp_fake_faults {
	int open;		   /* opening altogether, as with a full disk */
	int kernel;		   /* only the kernel half of it */
	int attach[PC_DP_OFF + 1]; /* by mode */
	int selftest;
	int perm_set; /* no matter how much room there is */
	int pipe_set;
	/* Entries of each family, two per binding or permission; 0: what max_sessions gives. */
	uint32_t flow_room;
	uint32_t perm_room;
};
struct pc_dp_fake_faults *pc_dp_fake_faults(void);

/* --- to look into it --- */
/* What a packet with these headers would meet: NULL when there is no flow. Host byte order. */
const struct pc_flow *pc_dp_fake_find(const struct pc_addr *src, const struct pc_addr *dst,
				      uint16_t channel);
/* An entry of the permission with these addresses; NULL: none. */
const struct pc_perm *pc_dp_fake_find_perm(const struct pc_dp_perm *perm, bool up);
bool pc_dp_fake_port(const struct pc_addr *relayed);
size_t pc_dp_fake_flows(void); /* entries of both families */
size_t pc_dp_fake_perms(void);
size_t pc_dp_fake_ports(void);
bool pc_dp_fake_client(const struct pc_addr *client, const struct pc_addr *server);
size_t pc_dp_fake_clients(void);
/* A direction of a pipe, as the program would see it; NULL: none. */
const struct pc_pipe *pc_dp_fake_pipe(uint32_t in);
size_t pc_dp_fake_pipes(void); /* directions */
const struct pc_dp_limits *pc_dp_fake_limits(void);
const struct pc_nexthop *pc_dp_fake_nexthop(uint32_t index);
const struct pc_ctl *pc_dp_fake_ctl(void);

/* --- to be the kernel --- */
/* Counts @packets of the given sizes, as the program does where it forwards. */
void pc_dp_fake_count(uint32_t slot, bool up, uint64_t packets, uint64_t payload_bytes,
		      uint64_t wire_bytes);
void pc_dp_fake_reason(enum pc_reason reason, uint64_t packets);

#endif
