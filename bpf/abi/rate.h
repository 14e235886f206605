/* SPDX-License-Identifier: MIT */
/*
 * Limits of tenants, as the kernel program and user space share them: rates, clocks, leases,
 * credit. The arithmetic is in lib/rate.h and lib/credit.h.
 *
 * A tenant has two of each but the quota, by pc_rate_index(): up (from it) and down (to it). Tenant
 * 0 is nobody's: its packets are not limited and none of this is looked up.
 *
 * Units. Bytes are IP total length as sent on. A charge is 1/256 byte. A rate is a word:
 * nanoseconds per charge as a 32-bit factor (low half) and a right shift (high half); 0 costs
 * nothing. Clocks are nanoseconds of CLOCK_MONOTONIC: the theoretical arrival time of GCRA (ITU-T
 * I.371).
 */
#ifndef PC_ABI_RATE_H
#define PC_ABI_RATE_H

#include <linux/types.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#define PC_RATE_UP	      0
#define PC_RATE_DOWN	      1

#define PC_RATE_CLASS_FREE    0
#define PC_RATE_CLASS_PAID    1
#define PC_RATE_CLASS_OWNER   2
#define PC_RATE_CLASS_CONTROL 3
#define PC_RATE_CLASSES	      4

#define PC_RATE_CHARGE_SHIFT  8	 /* charges per byte */
#define PC_RATE_DEPTH_SHIFT   10 /* nanoseconds of a depth */

#define PC_RATE_UNLIMITED                                                                       \
	0x0001			/* its own clocks are not asked; the uplink's and the quota are \
				 */
#define PC_RATE_SET_DSCP 0x0002 /* dscp goes on what is sent */
#define PC_RATE_QUOTA	 0x0004 /* the tenant's struct pc_credit is asked */

/*
 * pc_rate, ARRAY, BPF_F_MMAPABLE, read-mostly. The writer stores each aligned 64-bit word at once
 * and in any order (pc_rate_store): every field is valid beside any other, so a reader that sees
 * some old and some new ones applies a rate between the two, for one lease at most.
 */
struct pc_rate {
	__u32 version; /* counts the writes */
	__u16 flags;   /* PC_RATE_* */
	__u8 tier;     /* PC_RATE_CLASS_* */
	__u8 dscp;     /* 0 to 63 */
	__u64 committed;
	__u64 peak;
	__u64 entitled;	  /* faster than this is borrowed; 0: nothing is */
	__u64 fallback;	  /* committed after epoch_end_ns; 0: committed stands */
	__u32 depth;	  /* of the committed clock, in 1024 ns */
	__u32 peak_depth; /* of the peak and the entitlement clock */
	__u32 charge_min; /* of a packet: makes packets/s out of bits/s */
	__u32 lease;	  /* charge */
	__u64 epoch_end_ns;
};

/*
 * pc_rate_clock, ARRAY, BPF_F_MMAPABLE: written by all CPUs and by the user-space path. All zeroes
 * is a new tenant.
 */
struct pc_rate_clock {
	__u64 committed_ns;
	__u64 peak_ns;
	__u64 entitled_ns;
	__u64 signal_next_ns; /* no early signal before */
	__u32 signal_level;   /* backlog at the last one, in 1024 ns */
	__u32 signal_count;   /* of signals in a row, each at a higher level */
	__u64 reserved[3];
};

/*
 * pc_rate_lease, PERCPU_ARRAY; the user-space path has its own. What a CPU took from the clocks and
 * may spend alone, and what it counted. All zeroes is an empty lease.
 */
struct pc_rate_lease {
	__u32 left;	  /* charge */
	__u32 charge_min; /* this and the next four: copies of the configuration */
	__u16 flags;
	__u8 tier;
	__u8 dscp;
	__u16 carry;	     /* fraction of a nanosecond that is owed to the committed clock, */
	__u16 root_carry;    /* and to the root's, in 2^-16 */
	__u64 until_ns;	     /* the configuration is read again after this */
	__u64 bytes;	     /* passed */
	__u64 prepaid;	     /* bytes the root's clock and the quota were charged with */
	__u64 dropped_bytes; /* with bytes: the demand */
	__u32 drops_rate;    /* packets, with those of the early signal */
	__u32 drops_root;
	__u32 drops_quota;
	__u32 marks;
};

/* pc_rate_root, ARRAY, BPF_F_MMAPABLE: an uplink. */
struct pc_rate_root {
	__u64 clock_ns;
	__u64 rate;			 /* 0: not limited */
	__u32 limit_ns[PC_RATE_CLASSES]; /* virtual backlog at which a class is refused */
	__u64 reserved[4];
};

/*
 * pc_credit, ARRAY of sessions, and another of tenants for their quotas; BPF_F_MMAPABLE. A
 * session's is of payload bytes, which both ends can count; a quota is of bytes as above. Only the
 * daemon writes authorised, and never lowers it below used.
 */
struct pc_credit {
	__u64 authorised; /* bytes; PC_CREDIT_UNLIMITED: used is not kept */
	__u64 used;
};

#define PC_PURSE_BYTES		 32768u
#define PC_CREDIT_UNLIMITED	 (~0ull)

#define PC_RATE_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " changed its size")
PC_RATE_SIZE(struct pc_rate, 64);
PC_RATE_SIZE(struct pc_rate_clock, 64);
PC_RATE_SIZE(struct pc_rate_lease, 64);
PC_RATE_SIZE(struct pc_rate_root, 64);
PC_RATE_SIZE(struct pc_credit, 16);

#pragma GCC diagnostic pop

#endif
