/* SPDX-License-Identifier: MIT */
/* Channel bindings in the flow map. */
#include <bpf/bpf.h>
#include <errno.h>

#include "base/err.h"
#include "dp/dp_int.h"

/* Entries read at a time. */
#define PC_FLOW_CHUNK 1024

struct flow_chunk {
	struct pc_flow4_key keys[PC_FLOW_CHUNK];
	struct pc_flow4 flows[PC_FLOW_CHUNK];
	uint32_t n;
};

/* Whole map, in chunks; @fn may delete what it is shown. */
static int walk(int fd, int (*fn)(void *arg, const struct flow_chunk *chunk), void *arg)
{
	_cleanup_free_ struct flow_chunk *chunk = malloc(sizeof(*chunk));
	uint32_t batch[4]; /* the kernel's position; room for a key */
	void *in = NULL;
	bool more = true;
	int err;

	if (!chunk)
		return -ENOMEM;
	while (more) {
		chunk->n = PC_FLOW_CHUNK;
		if (bpf_map_lookup_batch(fd, in, batch, chunk->keys, chunk->flows, &chunk->n,
					 NULL)) {
			if (errno != ENOENT)
				return -errno;
			more = false;
		}
		in = batch;
		err = chunk->n ? fn(arg, chunk) : 0;
		if (err)
			return err;
	}
	return 0;
}

static int add_up(void *arg, const struct flow_chunk *chunk)
{
	*(uint32_t *)arg += chunk->n;
	return 0;
}

int pc_dp_flow_count(int map_fd, uint32_t *ret_used)
{
	uint32_t used = 0;
	int err = walk(map_fd, add_up, &used);

	if (!err)
		*ret_used = used;
	return err;
}

static int write_entry(struct pc_dp *dp, const struct pc_flow4_key *key,
		       const struct pc_flow4 *flow, bool *ret_added)
{
	int fd = dp->map_fd[PC_DP_FLOW4];

	*ret_added = false;
	if (!bpf_map_update_elem(fd, key, flow, BPF_NOEXIST)) {
		dp->flow_used++;
		*ret_added = true;
		return 0;
	}
	if (errno == EEXIST && !bpf_map_update_elem(fd, key, flow, BPF_ANY))
		return 0;
	return errno == E2BIG ? PC_ERR_FULL : -errno;
}

static int delete_entry(struct pc_dp *dp, const struct pc_flow4_key *key)
{
	if (bpf_map_delete_elem(dp->map_fd[PC_DP_FLOW4], key))
		return errno == ENOENT ? 0 : -errno;
	if (dp->flow_used)
		dp->flow_used--;
	return 0;
}

static bool writable(const struct pc_dp *dp)
{
	return dp->status.kernel && !dp->readonly;
}

int pc_dp_flow_set(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_flow4_key keys[2];
	struct pc_flow4 values[2];
	bool added_down, added_up;
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_flow_encode(flow, keys, values);
	if (err)
		return err;
	if (flow->slot >= dp->max_sessions)
		return PC_ERR_RANGE;
	/* Down first: once the tenant's packets take the fast path, so can the answers. */
	err = write_entry(dp, &keys[1], &values[1], &added_down);
	if (err)
		return err;
	err = write_entry(dp, &keys[0], &values[0], &added_up);
	if (err && added_down)
		delete_entry(dp, &keys[1]);
	return err;
}

int pc_dp_flow_del(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_flow4_key keys[2];
	struct pc_flow4 values[2];
	int err, err_down;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_flow_encode(flow, keys, values);
	if (err)
		return err;
	err = delete_entry(dp, &keys[0]);
	err_down = delete_entry(dp, &keys[1]);
	return err ? err : err_down;
}

struct sweep {
	struct pc_dp *dp;
	bool (*keep)(void *arg, const struct pc_flow4_key *key, const struct pc_flow4 *flow);
	void *arg;
	int deleted;
};

static int sweep_chunk(void *arg, const struct flow_chunk *chunk)
{
	struct sweep *s = arg;

	for (uint32_t i = 0; i < chunk->n; i++) {
		int err;

		if (s->keep(s->arg, &chunk->keys[i], &chunk->flows[i]))
			continue;
		err = delete_entry(s->dp, &chunk->keys[i]);
		if (err)
			return err;
		s->deleted++;
	}
	return 0;
}

int pc_dp_flow_sweep(struct pc_dp *dp,
		     bool (*keep)(void *arg, const struct pc_flow4_key *key,
				  const struct pc_flow4 *flow),
		     void *arg)
{
	struct sweep s = { .dp = dp, .keep = keep, .arg = arg };
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = walk(dp->map_fd[PC_DP_FLOW4], sweep_chunk, &s);
	return err ? err : s.deleted;
}

int pc_dp_flow_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size)
{
	int err;

	if (!dp->status.kernel)
		return PC_ERR_STATE;
	if (dp->readonly) {
		err = pc_dp_flow_count(dp->map_fd[PC_DP_FLOW4], &dp->flow_used);
		if (err)
			return err;
	}
	*ret_used = dp->flow_used;
	*ret_size = dp->flow_entries;
	return 0;
}
