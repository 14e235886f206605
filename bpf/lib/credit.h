/* SPDX-License-Identifier: MIT */
/*
 * Bytes that may be forwarded, of a session or of a tenant's quota: spent by the data plane,
 * granted by the daemon. Forwarded bytes never exceed `authorised`, also when the daemon is dead.
 * No I/O.
 */
#ifndef PC_LIB_CREDIT_H
#define PC_LIB_CREDIT_H

#include <linux/types.h>
#include <stdbool.h>

#include "abi/rate.h"

#define PC_CREDIT_INLINE      static inline __attribute__((always_inline, unused))
#define PC_CREDIT_READ(x)     (*(const volatile __typeof__(x) *)&(x))
#define PC_CREDIT_WRITE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* 64-bit fetch-add; one writer at a time where the target has none that returns. */
#ifdef PC_RATE_SINGLE_WRITER
PC_CREDIT_INLINE __u64 pc_credit_fetch_add(__u64 *at, __u64 n)
{
	__u64 old = PC_CREDIT_READ(*at);

	PC_CREDIT_WRITE(*at, old + n);
	return old;
}
#else
PC_CREDIT_INLINE __u64 pc_credit_fetch_add(__u64 *at, __u64 n)
{
	return __sync_fetch_and_add(at, n);
}
#endif

/* Whether @bytes would fit now; changes nothing. */
PC_CREDIT_INLINE bool pc_credit_fits(const struct pc_credit *credit, __u64 bytes)
{
	__u64 authorised = PC_CREDIT_READ(credit->authorised);
	__u64 used = PC_CREDIT_READ(credit->used);

	return authorised == PC_CREDIT_UNLIMITED ||
	       (used <= authorised && bytes <= authorised - used);
}

/*
 * Spends @bytes, all or nothing. Two that do not both fit may both be refused when they come at the
 * same moment; more than authorised is never spent.
 */
PC_CREDIT_INLINE bool pc_credit_spend(struct pc_credit *credit, __u64 bytes)
{
	__u64 authorised = PC_CREDIT_READ(credit->authorised);
	__u64 used;

	if (authorised == PC_CREDIT_UNLIMITED)
		return true;
	/* A flood over its limit does not fight for the line. */
	if (!pc_credit_fits(credit, bytes))
		return false;
	used = pc_credit_fetch_add(&credit->used, bytes);
	if (used <= authorised && bytes <= authorised - used)
		return true;
	pc_credit_fetch_add(&credit->used, -bytes);
	return false;
}

/*
 * Spends @bytes out of a purse that this CPU alone takes from; refills it, with more if there is
 * enough, so that atomics are rare, and with what is needed where there is not.
 */
PC_CREDIT_INLINE bool pc_credit_refill(struct pc_credit *credit, __u64 *purse, __u64 bytes)
{
	__u64 need = bytes - *purse, more = PC_PURSE_BYTES;
	__u64 authorised = PC_CREDIT_READ(credit->authorised);
	__u64 used = PC_CREDIT_READ(credit->used);

	/* Near the end less is taken, so that little is left with those who do not need it. */
	if (authorised != PC_CREDIT_UNLIMITED && authorised - used < 4 * PC_PURSE_BYTES)
		more = 0;
	if (!pc_credit_spend(credit, need + more)) {
		more = 0;
		if (!pc_credit_spend(credit, need))
			return false;
	}
	*purse = more;
	return true;
}

/*
 * Gives back what was spent and not sent. What was spent while nothing was counted is not there,
 * and used never goes below 0.
 */
PC_CREDIT_INLINE void pc_credit_undo(struct pc_credit *credit, __u64 bytes)
{
	if (PC_CREDIT_READ(credit->authorised) != PC_CREDIT_UNLIMITED &&
	    PC_CREDIT_READ(credit->used) >= bytes)
		pc_credit_fetch_add(&credit->used, -bytes);
}

#endif
