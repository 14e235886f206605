/* SPDX-License-Identifier: MIT */
/* Effects of a native machine (relay/native.h) for an owner who has nothing to do there. */
#ifndef PC_TEST_NATIVE_QUIET_H
#define PC_TEST_NATIVE_QUIET_H

#include <sodium.h>

#include "relay/native.h"

static inline bool quiet_trusts_all(void *ctx, const uint8_t identity[static 32])
{
	return true;
}

static inline void quiet_down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
}

static inline void quiet_moved(void *ctx, struct pc_native_link *link)
{
}

static inline void quiet_message(void *ctx, struct pc_native_link *link,
				 const struct pc_native_msg *msg)
{
}

static inline void quiet_drop(void *ctx, enum pc_native_drop reason)
{
}

/* Of the system; agents and hubs have the same effect. */
static inline void quiet_random(void *ctx, void *buf, size_t len)
{
	randombytes_buf(buf, len);
}

#endif
