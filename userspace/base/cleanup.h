/* SPDX-License-Identifier: MIT */
/*
 * Ownership by scope: a local that owns something carries a cleanup attribute, and gives it away
 * only through TAKE_PTR or TAKE_FD.
 */
#ifndef PC_BASE_CLEANUP_H
#define PC_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PC_CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void pc_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void pc_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void pc_cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_	PC_CLEANUP(pc_cleanup_free)
#define _cleanup_close_ PC_CLEANUP(pc_cleanup_close)
#define _cleanup_file_	PC_CLEANUP(pc_cleanup_file)

/* Defines pc_cleanup_NAME(type **) that calls fn(type *) when not NULL. */
#define PC_DEFINE_CLEANUP(name, type, fn)              \
	static inline void pc_cleanup_##name(type **p) \
	{                                              \
		if (*p)                                \
			fn(*p);                        \
	}

#define TAKE_PTR(p)                         \
	({                                  \
		__typeof__(p) _taken = (p); \
		(p) = NULL;                 \
		_taken;                     \
	})

#define TAKE_FD(fd)                \
	({                         \
		int _taken = (fd); \
		(fd) = -1;         \
		_taken;            \
	})

#define PC_ARRAY_SIZE(a)		   (sizeof(a) / sizeof((a)[0]))

#define pc_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
