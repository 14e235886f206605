/* SPDX-License-Identifier: MIT */
/*
 * What passed a point, in bins of 10 ms: one line "MS NAME PACKETS BYTES DROPS DROPPED_BYTES MARKS"
 * for each bin in which something happened. MS is real time, so that logs of several programs go
 * together. Times are the kernel's stamps where there are some: a reader that is late moves
 * nothing.
 */
#ifndef PC_TESTS_BINLOG_H
#define PC_TESTS_BINLOG_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#define BINLOG_NS UINT64_C(10000000)

struct binlog {
	FILE *file; /* NULL: nothing is written */
	const char *name;
	uint64_t bin, packets, bytes, drops, dropped_bytes, marks;
};

static inline void binlog_flush(struct binlog *l)
{
	if (l->file && (l->packets || l->drops))
		fprintf(l->file,
			"%" PRIu64 " %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
			"\n",
			l->bin * (BINLOG_NS / 1000000), l->name, l->packets, l->bytes, l->drops,
			l->dropped_bytes, l->marks);
	l->packets = l->bytes = l->drops = l->dropped_bytes = l->marks = 0;
}

/* @now never goes back by more than the reader's disorder: what is late counts in the open bin. */
static inline void binlog_turn(struct binlog *l, uint64_t now)
{
	if (now / BINLOG_NS <= l->bin)
		return;
	binlog_flush(l);
	l->bin = now / BINLOG_NS;
}

static inline void binlog_pass(struct binlog *l, uint64_t now, uint64_t bytes)
{
	binlog_turn(l, now);
	l->packets++;
	l->bytes += bytes;
}

static inline void binlog_drop(struct binlog *l, uint64_t now, uint64_t bytes)
{
	binlog_turn(l, now);
	l->drops++;
	l->dropped_bytes += bytes;
}

#endif
