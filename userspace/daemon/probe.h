/* SPDX-License-Identifier: MIT */
/*
 * Whether the neighbours that matter on an interface answer: the default gateways of both families
 * behind it (also through VLAN sub-interfaces, or the bridge or bond it belongs to), else those
 * that answered most recently. Asks by ARP and neighbour discovery over packet sockets, not through
 * the kernel's neighbour table: an answer proves that this question went out and that its answer
 * came in through whatever XDP program is attached, in native and in generic mode (both run before
 * packet sockets). What the table knows from before proves nothing.
 */
#ifndef PC_DAEMON_PROBE_H
#define PC_DAEMON_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/cleanup.h"

#define PC_PROBE_MAX 8

struct pc_probe;

/* Finds whom to ask. 0, -ENOENT when there is nobody, or another negative code. */
int pc_probe_new(uint32_t ifindex, struct pc_probe **ret_probe);
void pc_probe_free(struct pc_probe *p);
PC_DEFINE_CLEANUP(probe, struct pc_probe, pc_probe_free)
#define _cleanup_probe_ PC_CLEANUP(pc_cleanup_probe)

/* Starts asking, with new sockets: nothing that arrived earlier counts. 0 or a negative code. */
int pc_probe_begin(struct pc_probe *p);
/* From now on only those that have answered matter. */
void pc_probe_narrow(struct pc_probe *p);
/* Sends what is due, reads what came. Returns how many have yet to answer. Never blocks. */
unsigned int pc_probe_step(struct pc_probe *p, uint64_t now);
/* Waits until something may have come, at most until @until (monotonic ns). */
void pc_probe_wait(const struct pc_probe *p, uint64_t now, uint64_t until);
unsigned int pc_probe_answered(const struct pc_probe *p);
/* Addresses of those asked that have not answered, "a, b". Returns @buf. */
const char *pc_probe_silent(const struct pc_probe *p, char *buf, size_t size);

/* --- frames (probe_frame.c) --- */

#define PC_PROBE_FRAME_MAX 96

struct pc_probe_question {
	struct pc_ip target;
	struct pc_ip source; /* family 0: an address-less ARP probe */
	uint8_t mac[6];	     /* of the interface */
};

/* The frame that asks. Returns its length. */
size_t pc_probe_frame(const struct pc_probe_question *q, uint8_t buf[static PC_PROBE_FRAME_MAX]);
/* Whether @frame is an answer to @q. */
bool pc_probe_is_answer(const struct pc_probe_question *q, const uint8_t *frame, size_t len);

#endif
