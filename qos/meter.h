/* SPDX-License-Identifier: MIT */
/*
 * What a tenant wants, estimated from what it sent. Bytes that were offered alone do not tell: a
 * TCP sender offers what it was last given. So who meets its limit is hungry, and is given its
 * share until it uses but a part of it; others want a quarter more than they use, which their
 * savings let them exceed at once. Who pauses is not taken for one who left.
 */
#ifndef PC_QOS_METER_H
#define PC_QOS_METER_H

#include <stdbool.h>
#include <stdint.h>

struct pc_meter {
	uint64_t bps;	       /* passed, mean of the last 40 ms or so */
	uint64_t top_bps;      /* the highest, until they were an eighth less for 150 ms */
	uint64_t top_age_ns;   /* for how long they have */
	uint64_t hungry_until; /* ns */
};

/* What happened since the last time. */
struct pc_meter_sample {
	uint64_t bytes;	      /* passed */
	bool limited;	      /* something was dropped or marked */
	uint64_t ceiling_bps; /* that held; 0: none */
	uint64_t elapsed_ns;
};

/* Returns the demand, bit/s; 0: idle; PC_SHARE_HUNGRY. @now: monotonic, ns. */
uint64_t pc_meter_tick(struct pc_meter *meter, const struct pc_meter_sample *sample, uint64_t now);

#endif
