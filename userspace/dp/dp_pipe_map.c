/* SPDX-License-Identifier: MIT */
/*
 * Pipes as the program sees them: pc4_pipe, the windows, and for what begins at a relayed port an
 * entry among the flows that leads there.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "dp/dp_int.h"

/* Entries read at a time. */
#define CHUNK 256

static bool in_kernel(const struct pc_dp *dp)
{
	return dp->windows && !dp->readonly;
}

/* The flow of what arrives on a relayed port: its key, and where it leads. */
static enum pc_dp_map port_flow(const struct pc_pipe *item, void *ret_key, struct pc_flow *ret_flow)
{
	struct pc_flow4_key *key4 = ret_key;
	struct pc_flow6_key *key6 = ret_key;

	*ret_flow = (struct pc_flow){
		.expires_ns = item->flow.expires_ns,
		.saddr = { item->in },
		.flags = PC_FLOW_PIPE,
		.slot = item->flow.slot,
		.nexthop = item->flow.nexthop,
		.tenant = item->flow.tenant,
	};
	if (item->flags & PC_PIPE_IN6) {
		*key6 = (struct pc_flow6_key){ .sport = item->sport, .dport = item->dport };
		memcpy(key6->saddr, item->saddr, sizeof(key6->saddr));
		memcpy(key6->daddr, item->daddr, sizeof(key6->daddr));
		return PC_DP_FLOW6;
	}
	*key4 = (struct pc_flow4_key){
		.saddr = item->saddr[0],
		.daddr = item->daddr[0],
		.sport = item->sport,
		.dport = item->dport,
	};
	return PC_DP_FLOW4;
}

static bool same_port(const struct pc_pipe *a, const struct pc_pipe *b)
{
	return (a->flags & PC_PIPE_IN6) == (b->flags & PC_PIPE_IN6) &&
	       !memcmp(a->saddr, b->saddr, sizeof(a->saddr)) &&
	       !memcmp(a->daddr, b->daddr, sizeof(a->daddr)) && a->sport == b->sport &&
	       a->dport == b->dport;
}

static int store_port(struct pc_dp *dp, const struct pc_pipe *item)
{
	struct pc_flow6_key key;
	struct pc_flow flow;
	enum pc_dp_map map = port_flow(item, &key, &flow);

	return pc_dp_flow_write(dp, map, &key, &flow);
}

static void erase_port(struct pc_dp *dp, const struct pc_pipe *item)
{
	struct pc_flow6_key key;
	struct pc_flow flow;
	enum pc_dp_map map = port_flow(item, &key, &flow);

	pc_dp_flow_erase(dp, map, &key);
}

int pc_dp_pipe_store(struct pc_dp *dp, const struct pc_pipe *item, const struct pc_pipe *before)
{
	int fd = dp->map_fd[PC_DP_PIPE], err;

	if (!in_kernel(dp))
		return 0;
	/* The pipe first: a flow must not lead to nothing. */
	if (bpf_map_update_elem(fd, &item->in, item, BPF_ANY))
		return errno == E2BIG ? PC_ERR_FULL : -errno;
	if (!(item->flags & PC_PIPE_IN_PLAIN))
		return 0;
	err = store_port(dp, item);
	if (err && before)
		bpf_map_update_elem(fd, &item->in, before, BPF_ANY);
	else if (err)
		bpf_map_delete_elem(fd, &item->in);
	else if (before && !same_port(item, before))
		erase_port(dp, before);
	return err;
}

void pc_dp_pipe_erase(struct pc_dp *dp, const struct pc_pipe *item)
{
	if (!in_kernel(dp))
		return;
	if (item->flags & PC_PIPE_IN_PLAIN)
		erase_port(dp, item);
	bpf_map_delete_elem(dp->map_fd[PC_DP_PIPE], &item->in);
}

bool pc_dp_pipe_owns(const struct pc_dp *dp, enum pc_dp_map map, const struct pc_flow *flow)
{
	const struct pc_dp_pipe_node *node;

	if ((map != PC_DP_FLOW4 && map != PC_DP_FLOW6) || !(flow->flags & PC_FLOW_PIPE))
		return false;
	node = pc_dp_pipe_find(dp, ntohl(flow->saddr[0]));
	return node && node->pipe.in_plain;
}

/* Each entry that is there. */
static int load(struct pc_dp *dp)
{
	_cleanup_free_ struct pc_pipe *items = calloc(CHUNK, sizeof(*items));
	__be32 keys[CHUNK], batch;
	void *in = NULL;
	bool more = true;

	if (!items)
		return -ENOMEM;
	while (more) {
		uint32_t n = CHUNK;

		if (bpf_map_lookup_batch(dp->map_fd[PC_DP_PIPE], in, &batch, keys, items, &n,
					 NULL)) {
			if (errno != ENOENT)
				return -errno;
			more = false;
		}
		in = &batch;
		for (uint32_t i = 0; i < n; i++) {
			int err = pc_dp_pipes_add(dp, &items[i]);

			/* Two owners of one window: the entry is of no use. */
			if (err == PC_ERR_RANGE && !dp->readonly)
				bpf_map_delete_elem(dp->map_fd[PC_DP_PIPE], &keys[i]);
			else if (err && err != PC_ERR_RANGE)
				return err;
		}
	}
	return 0;
}

int pc_dp_pipes_map(struct pc_dp *dp)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	void *at;
	int err;

	if (bpf_obj_get_info_by_fd(dp->map_fd[PC_DP_WINDOW], &info, &len))
		return -errno;
	if (dp->readonly) {
		dp->max_pipes = info.max_entries / 2;
		err = pc_dp_pipes_new(dp, NULL);
		return err ? err : load(dp);
	}
	if (info.max_entries != 2 * dp->max_pipes)
		return PC_ERR_VERSION;
	dp->windows_size = (size_t)info.max_entries * sizeof(struct pc_window);
	at = mmap(NULL, dp->windows_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		  dp->map_fd[PC_DP_WINDOW], 0);
	if (at == MAP_FAILED)
		return -errno;
	dp->windows = at;
	err = pc_dp_pipes_new(dp, dp->windows);
	return err ? err : load(dp);
}

void pc_dp_pipes_unmap(struct pc_dp *dp)
{
	pc_dp_pipes_free(dp);
	if (dp->windows)
		munmap(dp->windows, dp->windows_size);
	dp->windows = NULL;
}
