/* SPDX-License-Identifier: MIT */
/*
 * Replay window of 8192 counters, for the kernel programs and for user space: no I/O, no lock. Two
 * CPUs on one window need a lock of the caller's around pc_replay_accept.
 *
 * A ring of bits, one for each counter of (last - 8192, last]. When the window moves, the bits it
 * comes to cover are cleared one by one, so it is exactly as wide as it says.
 */
#ifndef PC_LIB_REPLAY_H
#define PC_LIB_REPLAY_H

#include <linux/types.h>
#include <stdbool.h>

#define PC_REPLAY_WINDOW 8192
#define PC_REPLAY_WORDS	 (PC_REPLAY_WINDOW / 64)

#define pc_replay_inline static inline __attribute__((always_inline, unused))

/* Zeroed: nothing was received; counters begin at 0. */
struct pc_replay {
	__u64 last; /* the highest counter so far */
	__u64 bits[PC_REPLAY_WORDS];
};

/* Whether @counter is neither behind the window nor seen. Changes nothing. */
pc_replay_inline bool pc_replay_fresh(const struct pc_replay *r, __u64 counter)
{
	if (counter > r->last)
		return true;
	if (r->last - counter >= PC_REPLAY_WINDOW)
		return false;
	return !(r->bits[counter / 64 % PC_REPLAY_WORDS] >> (counter % 64) & 1);
}

/* Clears the bits of the counters from last + 1 to @counter. */
pc_replay_inline void pc_replay_move(struct pc_replay *r, __u64 counter)
{
	__u64 first = (r->last + 1) / 64, end = counter / 64;
	__u64 from = ~0ull << ((r->last + 1) % 64), to = ~0ull >> (63 - counter % 64);
	__u64 words = end - first;

	if (counter - r->last >= PC_REPLAY_WINDOW) {
		for (__u32 i = 0; i < PC_REPLAY_WORDS; i++)
			r->bits[i] = 0;
	} else if (words == 0) {
		r->bits[first % PC_REPLAY_WORDS] &= ~(from & to);
	} else {
		r->bits[first % PC_REPLAY_WORDS] &= ~from;
		for (__u32 i = 1; i < PC_REPLAY_WORDS; i++) {
			if (i >= words)
				break;
			r->bits[(first + i) % PC_REPLAY_WORDS] = 0;
		}
		r->bits[end % PC_REPLAY_WORDS] &= ~to;
	}
	r->last = counter;
}

/*
 * Takes @counter into the window. False: it is behind it or was seen. To be called only after the
 * frame has proved to be genuine.
 */
pc_replay_inline bool pc_replay_accept(struct pc_replay *r, __u64 counter)
{
	if (!pc_replay_fresh(r, counter))
		return false;
	if (counter > r->last)
		pc_replay_move(r, counter);
	r->bits[counter / 64 % PC_REPLAY_WORDS] |= 1ull << (counter % 64);
	return true;
}

#endif
