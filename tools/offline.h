/* SPDX-License-Identifier: MIT */
/*
 * Counters without a daemon: from the pinned maps and the counter file, judged as the daemon would
 * when it starts. For pcstat (read-only) and for `pcctl shutdown`.
 */
#ifndef PC_TOOLS_OFFLINE_H
#define PC_TOOLS_OFFLINE_H

#include <string.h>

#include "account/usage.h"
#include "base/err.h"
#include "dp/dp.h"
#include "store/store.h"

#define PC_DEFAULT_BPFFS     "/sys/fs/bpf/pcd"
#define PC_DEFAULT_STATE_DIR "/var/lib/pcd"
#define PC_STORE_FILE	     "pcd.db"
#define PC_IDENTITY_FILE     "identity.key"

_Static_assert(sizeof(struct pc_count) == sizeof(struct pc_store_count), "counters differ");

/* Reader for pc_usage_new(); @ctx is the struct pc_dp. */
static inline int pc_offline_read(void *ctx, enum pc_store_path path, uint32_t first, uint32_t n,
				  struct pc_store_count *ret_counts)
{
	const struct pc_count *user = pc_dp_count_user(ctx);
	struct pc_dp_status status;

	if (path == PC_STORE_USER) {
		if (!user)
			return PC_ERR_STATE;
		memcpy(ret_counts, user + first, n * sizeof(*user));
		return 0;
	}
	pc_dp_get_status(ctx, &status);
	if (!status.kernel)
		return PC_ERR_STATE;
	return pc_dp_count_kernel(ctx, first, n, (struct pc_count *)ret_counts);
}

/* Which counters began at 0 since the last fold. */
static inline void pc_offline_resets(struct pc_dp *dp, struct pc_store *store,
				     bool ret_reset[static PC_STORE_PATHS])
{
	struct pc_dp_status status;
	uint64_t generation = 0;
	size_t len = 0;
	int rc = pc_store_get(store, "dp_generation", &generation, sizeof(generation), &len);

	pc_dp_get_status(dp, &status);
	if (rc < 0 || len != sizeof(generation))
		generation = 0;
	ret_reset[PC_STORE_KERNEL] = status.kernel && generation != status.generation;
	ret_reset[PC_STORE_USER] = status.user_counters_new;
}

#endif
