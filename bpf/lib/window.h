/* SPDX-License-Identifier: MIT */
/*
 * Replay window that several CPUs and user space share without a lock. No I/O.
 *
 * A ring of words, each for 32 counters: which lap around the ring they are of (upper half), and
 * which of them came (lower half). A word changes by compare-and-swap alone, so each counter is
 * accepted once. A word of a later lap says that the counter is behind the window: a new one is
 * never refused when it is less than 8192 - 32 behind the highest.
 */
#ifndef PC_LIB_WINDOW_H
#define PC_LIB_WINDOW_H

#include <linux/types.h>
#include <stdbool.h>

#include "abi/pipe.h"

#define PC_WINDOW_INLINE   static inline __attribute__((always_inline, unused))
#define PC_WINDOW_READ(at) (*(const volatile __u64 *)(at))
/* Each try that fails means that another's frame of the same word came through. */
#define PC_WINDOW_TRIES 34
/* For measurements, which show the program one frame many times. */
#ifdef PC_TEST_WINDOW_OPEN
#define PC_WINDOW_OPEN 1
#else
#define PC_WINDOW_OPEN 0
#endif
/* Laps are counted in 32 bits. */
#define PC_WINDOW_END (1ull << 45)

/* The word of @counter, so that the index is within bounds for all to see. */
PC_WINDOW_INLINE __u64 *pc_window_word(struct pc_window *w, __u64 counter)
{
	return &w->words[counter / PC_WINDOW_BITS & (PC_WINDOW_WORDS - 1)];
}

PC_WINDOW_INLINE __u64 pc_window_bit(__u64 counter)
{
	return 1ull << (counter & (PC_WINDOW_BITS - 1));
}

/* What the word becomes with @counter in it; 0: it was seen, or is behind. */
PC_WINDOW_INLINE __u64 pc_window_with(__u64 word, __u64 counter)
{
	__u64 lap = counter / PC_WINDOW_COUNTER, bit = pc_window_bit(counter), old = word >> 32;

	if (old > lap || (old == lap && word & bit && !PC_WINDOW_OPEN))
		return 0;
	return (old == lap ? word : lap << 32) | bit;
}

/* Takes @counter. Only for frames that proved to be genuine. False: seen, or behind. */
PC_WINDOW_INLINE bool pc_window_take(struct pc_window *w, __u64 counter)
{
	__u64 *at = pc_window_word(w, counter), old, new;

	if (counter >= PC_WINDOW_END)
		return false;
#pragma GCC unroll 1
	for (int i = 0; i < PC_WINDOW_TRIES; i++) {
		old = PC_WINDOW_READ(at);
		new = pc_window_with(old, counter);
		if (!new)
			return false;
		if (__sync_val_compare_and_swap(at, old, new) == old)
			return true;
	}
	return false;
}

/* Gives back what was taken: the frame goes another way, which asks again. */
PC_WINDOW_INLINE void pc_window_give_back(struct pc_window *w, __u64 counter)
{
	__u64 *at = pc_window_word(w, counter), old;

#pragma GCC unroll 1
	for (int i = 0; i < PC_WINDOW_TRIES; i++) {
		old = PC_WINDOW_READ(at);
		if (old >> 32 != counter / PC_WINDOW_COUNTER ||
		    __sync_val_compare_and_swap(at, old, old & ~pc_window_bit(counter)) == old)
			return;
	}
}

/* The next counter to be sent, from 1 on. */
PC_WINDOW_INLINE __u64 pc_window_next(struct pc_window *w)
{
	return __sync_fetch_and_add(&w->words[0], 1) + 1;
}

#endif
