/* SPDX-License-Identifier: MIT */
/* A data plane in memory, for tests: same functions, same order of effects, no kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/siphash.h"
#include "dp/dp_fake.h"
#include "dp/dp_int.h"

struct fake_flow {
	struct pc_hnode node;
	struct pc_flow4_key key;
	struct pc_flow4 flow;
};

/* What outlives a handle. */
static struct {
	bool pinned;
	struct pc_meta meta;
	struct pc_ctl ctl;
	struct pc_htab flows;
	uint32_t max_sessions;
	struct pc_count *kernel;
	struct pc_count *user;
	uint64_t reasons_kernel[PC_REASON_SLOTS];
	uint64_t reasons_user[PC_REASON_SLOTS];
	struct pc_nexthop nexthops[PC_MAX_NEXTHOPS];
	struct pc_dp_link links[PC_MAX_TXPORTS]; /* adopted: pinned */
	size_t n_links;

	struct pc_dp_fake_faults faults;
} world;

static uint64_t hash_key(const struct pc_flow4_key *key)
{
	static const uint8_t secret[16] = "fake data plane";

	return pc_siphash24(secret, key, sizeof(*key));
}

static struct fake_flow *find_flow(const struct pc_flow4_key *key)
{
	struct pc_hnode *node;

	if (!world.flows.buckets)
		return NULL;
	for (node = pc_htab_first(&world.flows, hash_key(key)); node; node = pc_htab_next(node)) {
		struct fake_flow *flow = pc_container_of(node, struct fake_flow, node);

		if (!memcmp(&flow->key, key, sizeof(*key)))
			return flow;
	}
	return NULL;
}

static void remove_flow(struct fake_flow *flow)
{
	pc_htab_remove(&world.flows, &flow->node);
	free(flow);
}

static void clear_flows(void)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;

	if (!world.flows.buckets)
		return;
	while ((node = pc_htab_iterate(&world.flows, &it)))
		remove_flow(pc_container_of(node, struct fake_flow, node));
	pc_htab_free(&world.flows);
}

static void unpin(void)
{
	clear_flows();
	free(world.kernel);
	world.kernel = NULL;
	world.flows = (struct pc_htab){ 0 };
	memset(world.reasons_kernel, 0, sizeof(world.reasons_kernel));
	memset(world.nexthops, 0, sizeof(world.nexthops));
	world.ctl = (struct pc_ctl){ 0 };
	world.pinned = false;
}

void pc_dp_fake_reset(void)
{
	unpin();
	free(world.user);
	memset(&world, 0, sizeof(world));
}

static int open_user(struct pc_dp *dp, uint32_t max_sessions)
{
	if (!world.user || world.max_sessions != max_sessions) {
		free(world.user);
		world.user = calloc(max_sessions, sizeof(*world.user));
		if (!world.user)
			return -ENOMEM;
		world.max_sessions = max_sessions;
		memset(world.reasons_user, 0, sizeof(world.reasons_user));
		dp->status.user_counters_new = true;
	}
	dp->max_sessions = max_sessions;
	dp->user.counts = world.user;
	dp->user.reasons = world.reasons_user;
	return 0;
}

static int make_kernel(uint32_t max_sessions)
{
	world.kernel = calloc(max_sessions, sizeof(*world.kernel));
	if (!world.kernel || pc_htab_init(&world.flows, 64)) {
		unpin();
		return -ENOMEM;
	}
	world.meta = (struct pc_meta){
		.magic = PC_ABI_MAGIC,
		.abi_version = PC_ABI_VERSION,
		.max_sessions = max_sessions,
		.flow_entries = pc_dp_flow_entries(max_sessions),
		.created_ns = pc_clock_realtime(),
	};
	world.pinned = true;
	return 0;
}

static void open_kernel(struct pc_dp *dp)
{
	struct pc_dp_status *st = &dp->status;

	st->kernel_error = world.faults.kernel;
	if (!st->kernel_error && world.pinned && world.meta.max_sessions != dp->max_sessions)
		st->kernel_error = PC_ERR_VERSION;
	st->adopted = world.pinned && !st->kernel_error;
	if (!st->kernel_error && !world.pinned)
		st->kernel_error = make_kernel(dp->max_sessions);
	if (st->kernel_error) {
		snprintf(st->reason, sizeof(st->reason), "fake kernel: %s",
			 pc_strerror(st->kernel_error));
		return;
	}
	st->kernel = true;
	st->generation = world.meta.created_ns;
	world.ctl.guard_ifindex = 0;
}

int pc_dp_open(const struct pc_dp_config *config, struct pc_dp **ret_dp)
{
	_cleanup_free_ struct pc_dp *dp = NULL;
	int err;

	if (world.faults.open)
		return world.faults.open;
	if (!config->max_sessions)
		return PC_ERR_RANGE;
	dp = calloc(1, sizeof(*dp));
	if (!dp)
		return -ENOMEM;
	err = open_user(dp, config->max_sessions);
	if (err)
		return err;
	if (config->kernel)
		open_kernel(dp);
	*ret_dp = TAKE_PTR(dp);
	return 0;
}

int pc_dp_open_readonly(const char *bpffs, const char *state_dir, struct pc_dp **ret_dp)
{
	struct pc_dp *dp = calloc(1, sizeof(*dp));

	if (!dp)
		return -ENOMEM;
	dp->readonly = true;
	dp->max_sessions = world.max_sessions;
	dp->user.counts = world.user;
	dp->user.reasons = world.reasons_user;
	dp->status.kernel = dp->status.adopted = world.pinned;
	dp->status.kernel_error = world.pinned ? 0 : -ENOENT;
	dp->status.generation = world.pinned ? world.meta.created_ns : 0;
	*ret_dp = dp;
	return 0;
}

static void drop_trials(void)
{
	for (size_t i = world.n_links; i-- > 0;) {
		if (!world.links[i].adopted)
			world.links[i] = world.links[--world.n_links];
	}
}

void pc_dp_close(struct pc_dp *dp)
{
	if (dp && !dp->readonly)
		drop_trials();
	free(dp);
}

void pc_dp_fake_kill(struct pc_dp *dp)
{
	pc_dp_close(dp);
}

void pc_dp_get_status(const struct pc_dp *dp, struct pc_dp_status *ret_status)
{
	*ret_status = dp->status;
}

static struct pc_dp_link *find_link(uint32_t ifindex)
{
	for (size_t i = 0; i < world.n_links; i++) {
		if (world.links[i].ifindex == ifindex)
			return &world.links[i];
	}
	return NULL;
}

int pc_dp_attach(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode, uint64_t guard_deadline,
		 struct pc_dp_link *ret_link)
{
	struct pc_dp_link *link = find_link(ifindex);

	if (!dp->status.kernel)
		return PC_ERR_STATE;
	if (!ifindex || (mode != PC_DP_NATIVE && mode != PC_DP_GENERIC))
		return -EINVAL;
	if (link && link->adopted) {
		*ret_link = *link;
		return 0;
	}
	if (world.ctl.guard_ifindex)
		return PC_ERR_STATE;
	if (world.faults.attach[mode])
		return world.faults.attach[mode];
	if (world.n_links == PC_ARRAY_SIZE(world.links))
		return PC_ERR_FULL;
	world.ctl.guard_deadline_ns = guard_deadline;
	world.ctl.guard_ifindex = ifindex;
	link = &world.links[world.n_links++];
	*link = (struct pc_dp_link){ .ifindex = ifindex, .mode = mode };
	*ret_link = *link;
	return 0;
}

int pc_dp_confirm(struct pc_dp *dp, uint32_t ifindex)
{
	struct pc_dp_link *link = find_link(ifindex);

	if (!link)
		return -ENOENT;
	link->adopted = true;
	world.ctl.guard_ifindex = 0;
	return 0;
}

int pc_dp_detach(struct pc_dp *dp, uint32_t ifindex)
{
	struct pc_dp_link *link = find_link(ifindex);

	if (!link)
		return -ENOENT;
	if (!link->adopted)
		world.ctl.guard_ifindex = 0;
	*link = world.links[--world.n_links];
	return 0;
}

size_t pc_dp_links(const struct pc_dp *dp, struct pc_dp_link *links, size_t max)
{
	for (size_t i = 0; i < world.n_links && i < max; i++)
		links[i] = world.links[i];
	return world.n_links;
}

int pc_dp_selftest(struct pc_dp *dp)
{
	return dp->status.kernel ? world.faults.selftest : PC_ERR_STATE;
}

int pc_dp_teardown(const char *bpffs, bool keep_maps)
{
	int n = (int)world.n_links;

	world.n_links = 0;
	if (!keep_maps)
		unpin();
	return n;
}

void pc_dp_heartbeat(struct pc_dp *dp, uint64_t now)
{
	if (dp->status.kernel)
		world.ctl.heartbeat_ns = now;
}

static uint32_t flow_size(void)
{
	return world.faults.flow_room ? world.faults.flow_room : world.meta.flow_entries;
}

static int put_flow(const struct pc_flow4_key *key, const struct pc_flow4 *value, bool *ret_added)
{
	struct fake_flow *flow = find_flow(key);

	*ret_added = false;
	if (flow) {
		flow->flow = *value;
		return 0;
	}
	if (world.flows.count >= flow_size())
		return PC_ERR_FULL;
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return -ENOMEM;
	flow->key = *key;
	flow->flow = *value;
	pc_htab_insert(&world.flows, &flow->node, hash_key(key));
	*ret_added = true;
	return 0;
}

int pc_dp_flow_set(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_flow4_key keys[2];
	struct pc_flow4 values[2];
	bool added_down, added_up;
	int err;

	if (!dp->status.kernel)
		return PC_ERR_STATE;
	err = pc_dp_flow_encode(flow, keys, values);
	if (err)
		return err;
	if (flow->slot >= dp->max_sessions)
		return PC_ERR_RANGE;
	err = put_flow(&keys[1], &values[1], &added_down);
	if (err)
		return err;
	err = put_flow(&keys[0], &values[0], &added_up);
	if (err && added_down)
		remove_flow(find_flow(&keys[1]));
	return err;
}

int pc_dp_flow_del(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_flow4_key keys[2];
	struct pc_flow4 values[2];
	int err;

	if (!dp->status.kernel)
		return PC_ERR_STATE;
	err = pc_dp_flow_encode(flow, keys, values);
	for (int i = 0; i < 2 && !err; i++) {
		struct fake_flow *found = find_flow(&keys[i]);

		if (found)
			remove_flow(found);
	}
	return err;
}

int pc_dp_flow_sweep(struct pc_dp *dp,
		     bool (*keep)(void *arg, const struct pc_flow4_key *key,
				  const struct pc_flow4 *flow),
		     void *arg)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;
	int deleted = 0;

	if (!dp->status.kernel)
		return PC_ERR_STATE;
	while ((node = pc_htab_iterate(&world.flows, &it))) {
		struct fake_flow *flow = pc_container_of(node, struct fake_flow, node);

		if (keep(arg, &flow->key, &flow->flow))
			continue;
		remove_flow(flow);
		deleted++;
	}
	return deleted;
}

int pc_dp_flow_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size)
{
	if (!dp->status.kernel)
		return PC_ERR_STATE;
	*ret_used = (uint32_t)world.flows.count;
	*ret_size = flow_size();
	return 0;
}

int pc_dp_nexthop_set(struct pc_dp *dp, uint32_t index, const struct pc_dp_nexthop *nh)
{
	if (!dp->status.kernel)
		return PC_ERR_STATE;
	if (index >= PC_MAX_NEXTHOPS)
		return PC_ERR_RANGE;
	return pc_dp_nexthop_encode(nh, &world.nexthops[index]);
}

int pc_dp_count_kernel(struct pc_dp *dp, uint32_t first, uint32_t n, struct pc_count *ret_counts)
{
	if (first > dp->max_sessions || n > dp->max_sessions - first)
		return PC_ERR_RANGE;
	if (dp->status.kernel)
		memcpy(ret_counts, world.kernel + first, n * sizeof(*ret_counts));
	else
		memset(ret_counts, 0, n * sizeof(*ret_counts));
	return 0;
}

int pc_dp_reasons_kernel(struct pc_dp *dp, uint64_t ret_counts[static PC_REASON_COUNT])
{
	memset(ret_counts, 0, PC_REASON_COUNT * sizeof(*ret_counts));
	if (dp->status.kernel)
		memcpy(ret_counts, world.reasons_kernel, PC_REASON_COUNT * sizeof(*ret_counts));
	return 0;
}

struct pc_count *pc_dp_count_user(struct pc_dp *dp)
{
	return dp->user.counts;
}

uint64_t *pc_dp_reasons_user(struct pc_dp *dp)
{
	return dp->user.reasons;
}

uint32_t pc_dp_max_sessions(const struct pc_dp *dp)
{
	return dp->max_sessions;
}

struct pc_dp_fake_faults *pc_dp_fake_faults(void)
{
	return &world.faults;
}

const struct pc_flow4 *pc_dp_fake_find(const struct pc_addr *src, const struct pc_addr *dst,
				       uint16_t channel)
{
	struct pc_flow4_key key = {
		.sport = htons(src->port),
		.dport = htons(dst->port),
		.channel = htons(channel),
	};
	const struct fake_flow *flow;

	if (src->ip.family != 4 || dst->ip.family != 4)
		return NULL;
	memcpy(&key.saddr, src->ip.b, sizeof(key.saddr));
	memcpy(&key.daddr, dst->ip.b, sizeof(key.daddr));
	flow = find_flow(&key);
	return flow ? &flow->flow : NULL;
}

size_t pc_dp_fake_flows(void)
{
	return world.flows.count;
}

const struct pc_nexthop *pc_dp_fake_nexthop(uint32_t index)
{
	return &world.nexthops[index];
}

const struct pc_ctl *pc_dp_fake_ctl(void)
{
	return &world.ctl;
}

void pc_dp_fake_count(uint32_t slot, bool up, uint64_t packets, uint64_t payload_bytes,
		      uint64_t wire_bytes)
{
	struct pc_dir_count *dir = up ? &world.kernel[slot].up : &world.kernel[slot].down;

	dir->packets += packets;
	dir->payload_bytes += payload_bytes;
	dir->wire_bytes += wire_bytes;
}

void pc_dp_fake_reason(enum pc_reason reason, uint64_t packets)
{
	world.reasons_kernel[reason] += packets;
}
