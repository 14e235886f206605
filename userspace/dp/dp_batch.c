/* SPDX-License-Identifier: MIT */
/*
 * Entries of the tables written many at a time: a system call for a thousand instead of one or two
 * for each. For the start of a daemon, which writes what is there already.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "dp/dp_int.h"

#define PC_BATCH 1024

struct pc_dp_batch {
	int err; /* first failure */
	bool same[PC_BATCH];
	struct {
		uint32_t n;
		_Alignas(8) uint8_t keys[PC_BATCH * sizeof(((struct pc_dp_item *)0)->key)];
		_Alignas(8) uint8_t values[PC_BATCH * sizeof(((struct pc_dp_item *)0)->value)];
	} map[PC_DP_LAST_TABLE - PC_DP_FIRST_TABLE + 1];
};

/* As much as goes; entry by entry where one of them fails. */
static void write_all(struct pc_dp *dp, enum pc_dp_map map, const uint8_t *keys,
		      const uint8_t *values, uint32_t n)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = BPF_ANY);
	const struct pc_dp_map_info *info = &pc_dp_maps[map];
	uint32_t done;

	for (uint32_t i = 0; i < n; i += done + 1) {
		uint32_t want = n - i;
		int err;

		done = want;
		err = bpf_map_update_batch(dp->map_fd[map], keys + i * info->key_size,
					   values + i * info->value_size, &done, &opts)
			      ? -errno
			      : 0;
		if (done > want)
			done = 0;
		pc_dp_hot_set_many(dp, map, keys + i * info->key_size,
				   values + i * info->value_size, done);
		if (err && !dp->batch->err)
			dp->batch->err = err == -E2BIG ? PC_ERR_FULL : err;
	}
}

/* What is there already goes from @keys and @values. Returns how many are left. */
static uint32_t drop_same(struct pc_dp *dp, enum pc_dp_map map, uint8_t *keys, uint8_t *values,
			  uint32_t n)
{
	const struct pc_dp_map_info *info = &pc_dp_maps[map];
	bool *same = dp->batch->same;
	uint32_t left = 0;

	pc_dp_found_again(dp, map, keys, values, n, same);
	for (uint32_t i = 0; i < n; i++) {
		if (same[i])
			continue;
		if (left < i) {
			memcpy(keys + left * info->key_size, keys + i * info->key_size,
			       info->key_size);
			memcpy(values + left * info->value_size, values + i * info->value_size,
			       info->value_size);
		}
		left++;
	}
	return left;
}

void pc_dp_batch_flush(struct pc_dp *dp, enum pc_dp_map map)
{
	unsigned int i = map - PC_DP_FIRST_TABLE;
	uint8_t *keys = dp->batch->map[i].keys, *values = dp->batch->map[i].values;
	uint32_t n = drop_same(dp, map, keys, values, dp->batch->map[i].n);

	write_all(dp, map, keys, values, n);
	dp->batch->map[i].n = 0;
}

void pc_dp_batch_add(struct pc_dp *dp, const struct pc_dp_item *item)
{
	const struct pc_dp_map_info *info = &pc_dp_maps[item->map];
	unsigned int i = item->map - PC_DP_FIRST_TABLE;
	uint32_t at = dp->batch->map[i].n;

	memcpy(dp->batch->map[i].keys + at * info->key_size, &item->key, info->key_size);
	memcpy(dp->batch->map[i].values + at * info->value_size, &item->value, info->value_size);
	dp->batch->map[i].n = at + 1;
	if (at + 1 == PC_BATCH)
		pc_dp_batch_flush(dp, item->map);
}

void pc_dp_batch_begin(struct pc_dp *dp)
{
	/* Without memory entries are written one by one: slower, that is all. */
	if (dp->status.kernel && !dp->readonly && !dp->batch)
		dp->batch = calloc(1, sizeof(*dp->batch));
}

int pc_dp_batch_end(struct pc_dp *dp)
{
	int err;

	if (!dp->batch)
		return 0;
	for (enum pc_dp_map map = PC_DP_FIRST_TABLE; map <= PC_DP_LAST_TABLE; map++)
		pc_dp_batch_flush(dp, map);
	err = dp->batch->err;
	free(dp->batch);
	dp->batch = NULL;
	/* How many are there now is not known. */
	if (err || !dp->found)
		dp->counted = false;
	dp->none_stale = !err && pc_dp_found_all_again(dp);
	pc_dp_found_free(dp);
	return err;
}
