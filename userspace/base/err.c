/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define ERRNO_MAX 999
#define OWN_FIRST (-1001)

static const char *const own_texts[] = {
	[OWN_FIRST - PC_ERR_SHORT] = "ends too early",
	[OWN_FIRST - PC_ERR_MALFORMED] = "malformed",
	[OWN_FIRST - PC_ERR_RANGE] = "out of range",
	[OWN_FIRST - PC_ERR_UNKNOWN] = "unknown name",
	[OWN_FIRST - PC_ERR_EXISTS] = "exists already",
	[OWN_FIRST - PC_ERR_NOT_FOUND] = "not found",
	[OWN_FIRST - PC_ERR_FULL] = "no room left",
	[OWN_FIRST - PC_ERR_AUTH] = "authentication failed",
	[OWN_FIRST - PC_ERR_STORE] = "the store failed",
	[OWN_FIRST - PC_ERR_LOCKED] = "held by someone else",
	[OWN_FIRST - PC_ERR_VERSION] = "made by another version",
	[OWN_FIRST - PC_ERR_UNSUPPORTED] = "not supported here",
	[OWN_FIRST - PC_ERR_REFUSED] = "refused by policy",
	[OWN_FIRST - PC_ERR_STATE] = "not possible in this state",
};

const char *pc_strerror(int err)
{
	static __thread char buf[64];

	if (err == 0)
		return "success";
	if (err < 0 && err >= -ERRNO_MAX)
		return strerror_r(-err, buf, sizeof(buf));
	if (err <= OWN_FIRST && err > OWN_FIRST - (int)PC_ARRAY_SIZE(own_texts))
		return own_texts[OWN_FIRST - err];
	snprintf(buf, sizeof(buf), "error %d", err);
	return buf;
}
