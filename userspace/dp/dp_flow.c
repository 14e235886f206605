/* SPDX-License-Identifier: MIT */
/* What is written entry by entry: channel bindings, permissions, allocated ports, clients. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "dp/dp_int.h"

/* Entries read at a time. */
#define PC_TABLE_CHUNK 1024

struct table_chunk {
	uint8_t keys[PC_TABLE_CHUNK * sizeof(((struct pc_dp_item *)0)->key)];
	uint8_t values[PC_TABLE_CHUNK * sizeof(((struct pc_dp_item *)0)->value)];
	uint32_t n;
};

/* Whole table, in chunks; @fn may delete what it is shown. */
static int walk(struct pc_dp *dp, enum pc_dp_map map,
		int (*fn)(void *arg, enum pc_dp_map map, const struct table_chunk *chunk),
		void *arg)
{
	_cleanup_free_ struct table_chunk *chunk = malloc(sizeof(*chunk));
	uint8_t batch[sizeof(((struct pc_dp_item *)0)->key)]; /* the kernel's position */
	void *in = NULL;
	bool more = true;
	int err;

	if (!chunk)
		return -ENOMEM;
	while (more) {
		chunk->n = PC_TABLE_CHUNK;
		if (bpf_map_lookup_batch(dp->map_fd[map], in, batch, chunk->keys, chunk->values,
					 &chunk->n, NULL)) {
			if (errno != ENOENT)
				return -errno;
			more = false;
		}
		in = batch;
		err = chunk->n ? fn(arg, map, chunk) : 0;
		if (err)
			return err;
	}
	return 0;
}

static int add_up(void *arg, enum pc_dp_map map, const struct table_chunk *chunk)
{
	struct pc_dp *dp = arg;

	dp->used[map] += chunk->n;
	pc_dp_hot_set_many(dp, map, chunk->keys, chunk->values, chunk->n);
	pc_dp_found_add(dp, map, chunk->keys, chunk->values, chunk->n);
	return 0;
}

int pc_dp_tables_count(struct pc_dp *dp)
{
	for (enum pc_dp_map map = PC_DP_FIRST_TABLE; map <= PC_DP_LAST_TABLE; map++) {
		int err;

		dp->used[map] = 0;
		err = walk(dp, map, add_up, dp);
		if (err)
			return err;
	}
	dp->counted = true;
	return 0;
}

static int write_item(struct pc_dp *dp, const struct pc_dp_item *item, bool *ret_added)
{
	int fd = dp->map_fd[item->map];

	*ret_added = false;
	if (dp->batch) {
		pc_dp_batch_add(dp, item);
		return 0;
	}
	if (!bpf_map_update_elem(fd, &item->key, &item->value, BPF_NOEXIST)) {
		dp->used[item->map]++;
		*ret_added = true;
	} else if (errno != EEXIST || bpf_map_update_elem(fd, &item->key, &item->value, BPF_ANY)) {
		return errno == E2BIG ? PC_ERR_FULL : -errno;
	}
	pc_dp_hot_set(dp, item->map, &item->key, &item->value);
	return 0;
}

static int delete_key(struct pc_dp *dp, enum pc_dp_map map, const void *key)
{
	if (dp->batch)
		pc_dp_batch_flush(dp, map);
	/* Seldom, and then what was found is no longer what is there. */
	pc_dp_found_free(dp);
	pc_dp_hot_del(dp, map, key);
	if (bpf_map_delete_elem(dp->map_fd[map], key))
		return errno == ENOENT ? 0 : -errno;
	if (dp->used[map])
		dp->used[map]--;
	return 0;
}

static bool writable(const struct pc_dp *dp)
{
	return dp->status.kernel && !dp->readonly;
}

/* Both directions, or none when there is no room. */
static int write_pair(struct pc_dp *dp, const struct pc_dp_item items[static 2])
{
	bool added_down, added_up;
	int err;

	/* Down first: once the tenant's packets take the fast path, so can the answers. */
	err = write_item(dp, &items[1], &added_down);
	if (err)
		return err;
	err = write_item(dp, &items[0], &added_up);
	if (err && added_down)
		delete_key(dp, items[1].map, &items[1].key);
	return err;
}

static int delete_pair(struct pc_dp *dp, const struct pc_dp_item items[static 2])
{
	int err = delete_key(dp, items[0].map, &items[0].key);
	int err_down = delete_key(dp, items[1].map, &items[1].key);

	return err ? err : err_down;
}

int pc_dp_flow_write(struct pc_dp *dp, enum pc_dp_map map, const void *key,
		     const struct pc_flow *flow)
{
	struct pc_dp_item item = { .map = map, .value.flow = *flow };
	bool added;

	memcpy(&item.key, key, pc_dp_maps[map].key_size);
	return write_item(dp, &item, &added);
}

void pc_dp_flow_erase(struct pc_dp *dp, enum pc_dp_map map, const void *key)
{
	delete_key(dp, map, key);
}

int pc_dp_flow_set(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_dp_item items[2];
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_flow_encode(flow, items);
	if (err)
		return err;
	if (flow->slot >= dp->max_sessions || flow->tenant > dp->max_tenants)
		return PC_ERR_RANGE;
	return write_pair(dp, items);
}

int pc_dp_flow_del(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_dp_item items[2];
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_flow_encode(flow, items);
	return err ? err : delete_pair(dp, items);
}

int pc_dp_perm_set(struct pc_dp *dp, const struct pc_dp_perm *perm)
{
	struct pc_dp_item items[2];
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_perm_encode(perm, items);
	if (err)
		return err;
	if (perm->slot >= dp->max_sessions || perm->tenant > dp->max_tenants)
		return PC_ERR_RANGE;
	return write_pair(dp, items);
}

int pc_dp_perm_del(struct pc_dp *dp, const struct pc_dp_perm *perm)
{
	struct pc_dp_item items[2];
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_perm_encode(perm, items);
	return err ? err : delete_pair(dp, items);
}

int pc_dp_port_set(struct pc_dp *dp, const struct pc_addr *relayed, bool allocated)
{
	struct pc_dp_item item;
	bool added;
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_port_encode(relayed, &item);
	if (err)
		return err;
	return allocated ? write_item(dp, &item, &added) : delete_key(dp, item.map, &item.key);
}

int pc_dp_client_set(struct pc_dp *dp, const struct pc_addr *client, const struct pc_addr *server,
		     uint32_t slot)
{
	struct pc_dp_item item;
	bool added;
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_client_encode(client, server, slot, &item);
	return err ? err : write_item(dp, &item, &added);
}

int pc_dp_client_del(struct pc_dp *dp, const struct pc_addr *client, const struct pc_addr *server)
{
	struct pc_dp_item item;
	int err;

	if (!writable(dp))
		return PC_ERR_STATE;
	err = pc_dp_client_encode(client, server, 0, &item);
	return err ? err : delete_key(dp, item.map, &item.key);
}

struct sweep {
	struct pc_dp *dp;
	bool (*keep)(void *arg, const struct pc_dp_entry *entry);
	void *arg;
	int deleted;
	uint32_t seen;
};

static int sweep_chunk(void *arg, enum pc_dp_map map, const struct table_chunk *chunk)
{
	const struct pc_dp_map_info *info = &pc_dp_maps[map];
	struct sweep *s = arg;

	s->seen += chunk->n;
	for (uint32_t i = 0; i < chunk->n; i++) {
		const void *key = chunk->keys + i * info->key_size;
		const void *value = chunk->values + i * info->value_size;
		struct pc_dp_entry entry;
		int err;

		if (pc_dp_pipe_owns(s->dp, map, value))
			continue;
		pc_dp_decode(map, key, value, &entry);
		if (s->keep(s->arg, &entry))
			continue;
		err = delete_key(s->dp, map, key);
		if (err)
			return err;
		s->deleted++;
	}
	return 0;
}

int pc_dp_sweep(struct pc_dp *dp, bool (*keep)(void *arg, const struct pc_dp_entry *entry),
		void *arg)
{
	struct sweep s = { .dp = dp, .keep = keep, .arg = arg };

	if (!writable(dp))
		return PC_ERR_STATE;
	for (enum pc_dp_map map = PC_DP_FIRST_TABLE; map <= PC_DP_LAST_TABLE; map++) {
		int before = s.deleted, err;

		if (dp->counted && !dp->used[map])
			continue;
		s.seen = 0;
		err = walk(dp, map, sweep_chunk, &s);
		if (err)
			return err;
		dp->used[map] = s.seen - (uint32_t)(s.deleted - before);
	}
	dp->counted = true;
	pc_dp_found_free(dp);
	return s.deleted;
}

/* --- how full --- */

/* What another process writes has to be counted; our own we know. */
static int look(struct pc_dp *dp)
{
	if (!dp->status.kernel || dp->status.layout != PC_ABI_VERSION)
		return PC_ERR_STATE;
	return dp->readonly || !dp->counted ? pc_dp_tables_count(dp) : 0;
}

static int usage_of(struct pc_dp *dp, enum pc_dp_map a, enum pc_dp_map b, uint32_t *ret_used,
		    uint32_t *ret_size)
{
	int err = look(dp);

	if (err)
		return err;
	*ret_used = dp->used[a] + dp->used[b];
	*ret_size =
		pc_dp_map_entries(a, dp->table_sessions) + pc_dp_map_entries(b, dp->table_sessions);
	return 0;
}

int pc_dp_flow_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size)
{
	return usage_of(dp, PC_DP_FLOW4, PC_DP_FLOW6, ret_used, ret_size);
}

int pc_dp_perm_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size)
{
	return usage_of(dp, PC_DP_PERM4, PC_DP_PERM6, ret_used, ret_size);
}

int pc_dp_fullest(struct pc_dp *dp, const char **ret_name, uint32_t *ret_used, uint32_t *ret_size)
{
	enum pc_dp_map fullest = PC_DP_FIRST_TABLE;
	int err = look(dp);

	if (err)
		return err;
	for (enum pc_dp_map map = PC_DP_FIRST_TABLE; map <= PC_DP_LAST_TABLE; map++) {
		if ((uint64_t)dp->used[map] * pc_dp_map_entries(fullest, dp->table_sessions) >
		    (uint64_t)dp->used[fullest] * pc_dp_map_entries(map, dp->table_sessions))
			fullest = map;
	}
	*ret_name = strchr(pc_dp_maps[fullest].name, '_') + 1;
	*ret_used = dp->used[fullest];
	*ret_size = pc_dp_map_entries(fullest, dp->table_sessions);
	return 0;
}
