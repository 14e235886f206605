/* SPDX-License-Identifier: MIT */
/*
 * Seven levels of 64 slots hold every tick a 64-bit nanosecond clock can name. A timer lies at the
 * level of the highest six-bit digit in which its tick differs from the current one, in the slot of
 * that digit. Hence every timer of a lower level is due before any timer of a higher one, and the
 * next event is the first occupied slot of the lowest occupied level. Reaching a slot of a higher
 * level spreads its timers over the lower ones.
 *
 * Cancelling does not know the wheel, so a bit in `occupied` may outlive the timers of its slot.
 */
#include "base/timer.h"

#include <errno.h>
#include <stdlib.h>

#define TICK_NS	  16000000ull
#define LEVELS	  7
#define SLOT_BITS 6
#define SLOTS	  (1u << SLOT_BITS)
#define NO_EVENT  UINT64_MAX

_Static_assert(UINT64_MAX / TICK_NS < (1ull << (LEVELS * SLOT_BITS)) - 1,
	       "the levels hold every tick");

struct pc_timers {
	uint64_t tick;	/* every slot up to this one has been handled */
	uint64_t floor; /* nothing is armed for this tick or an earlier one */
	uint64_t occupied[LEVELS];
	struct pc_timer *slots[LEVELS][SLOTS];
};

int pc_timers_new(uint64_t now, struct pc_timers **ret_timers)
{
	struct pc_timers *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->tick = t->floor = now / TICK_NS;
	*ret_timers = t;
	return 0;
}

static void link_timer(struct pc_timer **head, struct pc_timer *timer)
{
	timer->next = *head;
	timer->pprev = head;
	if (timer->next)
		timer->next->pprev = &timer->next;
	*head = timer;
}

void pc_timer_cancel(struct pc_timer *timer)
{
	if (!timer->pprev)
		return;
	*timer->pprev = timer->next;
	if (timer->next)
		timer->next->pprev = timer->pprev;
	timer->next = NULL;
	timer->pprev = NULL;
}

void pc_timers_free(struct pc_timers *t)
{
	if (!t)
		return;
	for (unsigned int level = 0; level < LEVELS; level++)
		for (unsigned int i = 0; i < SLOTS; i++)
			while (t->slots[level][i])
				pc_timer_cancel(t->slots[level][i]);
	free(t);
}

/* The tick that begins at or after the deadline: never early. */
static uint64_t deadline_tick(const struct pc_timer *timer)
{
	return timer->deadline_ns / TICK_NS + (timer->deadline_ns % TICK_NS != 0);
}

static void place(struct pc_timers *t, struct pc_timer *timer, uint64_t tick)
{
	uint64_t differs = tick ^ t->tick;
	unsigned int level =
		differs ? (63 - (unsigned int)__builtin_clzll(differs)) / SLOT_BITS : 0;
	unsigned int i = (tick >> (level * SLOT_BITS)) % SLOTS;

	link_timer(&t->slots[level][i], timer);
	t->occupied[level] |= 1ull << i;
}

void pc_timer_set(struct pc_timers *t, struct pc_timer *timer, uint64_t deadline_ns)
{
	uint64_t earliest = (t->floor + 1) * TICK_NS;

	pc_timer_cancel(timer);
	timer->deadline_ns = deadline_ns > earliest ? deadline_ns : earliest;
	place(t, timer, deadline_tick(timer));
}

/* First tick of the next slot that holds a timer, and where that slot is. */
static uint64_t next_event(const struct pc_timers *t, unsigned int *ret_level, unsigned int *ret_i)
{
	for (unsigned int level = 0; level < LEVELS; level++) {
		unsigned int shift = level * SLOT_BITS;
		uint64_t bits = t->occupied[level];

		for (; bits; bits &= bits - 1) {
			unsigned int i = (unsigned int)__builtin_ctzll(bits);

			if (!t->slots[level][i])
				continue;
			*ret_level = level;
			*ret_i = i;
			return (t->tick >> shift >> SLOT_BITS << SLOT_BITS | i) << shift;
		}
	}
	return NO_EVENT;
}

/* Moves the list at @from to @to. */
static void take_list(struct pc_timer **from, struct pc_timer **to)
{
	*to = *from;
	if (*to)
		(*to)->pprev = to;
	*from = NULL;
}

static unsigned int handle_slot(struct pc_timers *t, unsigned int level, unsigned int i,
				uint64_t now)
{
	struct pc_timer *list, *timer;
	unsigned int fired = 0;

	take_list(&t->slots[level][i], &list);
	t->occupied[level] &= ~(1ull << i);
	/* A callback may cancel any timer that is still on the list. */
	while ((timer = list)) {
		pc_timer_cancel(timer);
		if (level == 0) {
			fired++;
			timer->fn(timer, now);
			continue;
		}
		place(t, timer, deadline_tick(timer));
	}
	return fired;
}

unsigned int pc_timers_run(struct pc_timers *t, uint64_t now)
{
	uint64_t target = now / TICK_NS, tick;
	unsigned int fired = 0, level, i;

	if (target <= t->floor)
		return 0;
	/* What callbacks arm for the past waits for the next tick, so that this loop ends. */
	t->floor = target;
	while ((tick = next_event(t, &level, &i)) <= target) {
		t->tick = tick;
		fired += handle_slot(t, level, i, now);
	}
	t->tick = target;
	return fired;
}

uint64_t pc_timers_next(const struct pc_timers *t)
{
	unsigned int level, i;
	uint64_t tick = next_event(t, &level, &i);

	/* The last tick of the clock may begin after the last nanosecond it can name. */
	return tick > UINT64_MAX / TICK_NS ? (tick == NO_EVENT ? UINT64_MAX : UINT64_MAX - 1)
					   : tick * TICK_NS;
}
