/* SPDX-License-Identifier: MIT */
/*
 * A limit on what is done for sources that proved nothing, in fixed memory: per /32 or /64, and a
 * wider one per /24 or /48, since who is reflected at often is a network. Time is passed in.
 */
#ifndef PC_RELAY_STRANGER_H
#define PC_RELAY_STRANGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/* Buckets in sets; a new source takes the one with the most credit. */
#define PC_STRANGER_SETS 1024
#define PC_STRANGER_WAYS 4

struct pc_stranger_bucket {
	uint64_t tag;
	uint64_t at_ns;
};

struct pc_strangers {
	uint8_t hash_key[16]; /* random */
	struct pc_stranger_bucket buckets[PC_STRANGER_SETS][PC_STRANGER_WAYS];
};

/*
 * Whether one more for @ip is within @rate per second, with bursts of two seconds; to its network
 * 16 times as many. Charges it then. @rate 0: always.
 */
bool pc_stranger_admit(struct pc_strangers *s, const struct pc_ip *ip, uint32_t rate, uint64_t now);

#endif
