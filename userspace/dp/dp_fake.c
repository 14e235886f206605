/* SPDX-License-Identifier: MIT */
/* A data plane in memory, for tests: same functions, same order of effects, no kernel. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "dp/dp_fake.h"
#include "dp/dp_int.h"

/* What outlives a handle. */
static struct {
	bool pinned;
	struct pc_meta meta;
	struct pc_ctl ctl;
	uint32_t max_sessions, max_tenants;
	struct pc_count *kernel;
	struct pc_count *user;
	uint64_t reasons_kernel[PC_REASON_SLOTS];
	uint64_t reasons_user[PC_REASON_SLOTS];
	struct pc_nexthop nexthops[PC_MAX_NEXTHOPS];
	struct pc_dp_link links[PC_MAX_TXPORTS]; /* adopted: pinned */
	size_t n_links;

	struct pc_dp_limits limits;

	struct pc_dp_fake_faults faults;
} world;

static void unpin(void)
{
	pc_dp_fake_tables_clear();
	pc_dp_fake_pipes_clear();
	free(world.kernel);
	world.kernel = NULL;
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
	if (!world.kernel || pc_dp_fake_tables_init(max_sessions)) {
		unpin();
		return -ENOMEM;
	}
	world.meta = (struct pc_meta){
		.magic = PC_ABI_MAGIC,
		.abi_version = PC_ABI_VERSION,
		.max_sessions = max_sessions,
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
	st->layout = PC_ABI_VERSION;
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
	world.max_tenants = dp->max_tenants = config->max_tenants;
	dp->max_pipes = pc_dp_pipes_default(config);
	err = pc_dp_rates_map(dp, false);
	if (!err)
		err = pc_dp_fake_pipes_open(dp);
	if (err)
		return err;
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
	dp->max_tenants = world.max_tenants;
	dp->user.counts = world.user;
	dp->user.reasons = world.reasons_user;
	dp->status.kernel = dp->status.adopted = world.pinned;
	dp->status.kernel_error = world.pinned ? 0 : -ENOENT;
	dp->status.generation = world.pinned ? world.meta.created_ns : 0;
	dp->status.layout = world.pinned ? PC_ABI_VERSION : 0;
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
	if (dp) {
		pc_dp_rates_unmap(dp);
		pc_dp_pipes_free(dp);
	}
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

void pc_dp_guard(struct pc_dp *dp, uint64_t guard_deadline)
{
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

void pc_dp_limits_set(struct pc_dp *dp, const struct pc_dp_limits *limits)
{
	if (dp->status.kernel)
		world.limits = *limits;
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

int pc_dp_rate_counts(struct pc_dp *dp, uint32_t first, uint32_t n,
		      struct pc_dp_rate_count *ret_counts)
{
	static const struct pc_rate_lease none;

	if (first > 2 * (dp->max_tenants + 1) || n > 2 * (dp->max_tenants + 1) - first)
		return PC_ERR_RANGE;
	for (uint32_t i = 0; i < n; i++)
		pc_dp_rate_add(&dp->rates.lease[first + i], &none, 1, &ret_counts[i]);
	return 0;
}

uint32_t pc_dp_max_tenants(const struct pc_dp *dp)
{
	return dp->max_tenants;
}

uint32_t pc_dp_max_sessions(const struct pc_dp *dp)
{
	return dp->max_sessions;
}

struct pc_dp_fake_faults *pc_dp_fake_faults(void)
{
	return &world.faults;
}

const struct pc_dp_limits *pc_dp_fake_limits(void)
{
	return &world.limits;
}

bool pc_dp_nexthop_is(struct pc_dp *dp, uint32_t index, const struct pc_dp_nexthop *nh)
{
	return false;
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
