/* SPDX-License-Identifier: MIT */
/*
 * Opening: what is pinned is taken up, else made.
 *
 *   nothing pinned            load, pin maps and program, pc4_meta last: it says "complete"
 *   same layout, same build   take the pins
 *   same layout, other build  load the new program over the old maps, switch the links, then the
 *                             program's pin, then the build in pc4_meta; each step can be repeated
 *   other layout or size      touch nothing, say what to do
 *
 * A read-only view of an older layout has the counters only: what the daemon folds into the store
 * before it takes the old one down.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/err.h"
#include "dp/dp_int.h"

PC_DEFINE_CLEANUP(object, struct bpf_object, bpf_object__close)
#define _cleanup_object_ PC_CLEANUP(pc_cleanup_object)
PC_DEFINE_CLEANUP(dp, struct pc_dp, pc_dp_close)
#define _cleanup_dp_ PC_CLEANUP(pc_cleanup_dp)

static int dp_new(struct pc_dp **ret_dp)
{
	struct pc_dp *dp = calloc(1, sizeof(*dp));

	if (!dp)
		return -ENOMEM;
	for (int i = 0; i < PC_DP_MAPS; i++)
		dp->map_fd[i] = -1;
	dp->prog_fd = -1;
	dp->user = (struct pc_dp_user_file){ .base = MAP_FAILED, .lock_fd = -1 };
	*ret_dp = dp;
	return 0;
}

static void unmap_ctl(struct pc_dp *dp)
{
	if (dp->ctl)
		munmap(dp->ctl, dp->ctl_size);
	dp->ctl = NULL;
}

static int map_ctl(struct pc_dp *dp)
{
	void *at;

	dp->ctl_size = sizeof(struct pc_ctl);
	at = mmap(NULL, dp->ctl_size, PROT_READ | PROT_WRITE, MAP_SHARED, dp->map_fd[PC_DP_CTL], 0);
	if (at == MAP_FAILED)
		return -errno;
	dp->ctl = at;
	return 0;
}

/* Gives up the kernel half. */
static void drop_kernel(struct pc_dp *dp)
{
	pc_dp_links_close(dp);
	pc_dp_nexthops_unmap(dp);
	pc_dp_counts_unmap(dp);
	pc_dp_rates_unmap(dp);
	pc_dp_hot_unmap(dp);
	pc_dp_pipes_unmap(dp);
	for (int i = 0; i < PC_DP_MAPS; i++) {
		if (dp->map_fd[i] >= 0)
			close(TAKE_FD(dp->map_fd[i]));
	}
	if (dp->prog_fd >= 0)
		close(TAKE_FD(dp->prog_fd));
}

/*
 * A program that cannot be taken up may still be attached. It drops control packets when the
 * heartbeat stops, and then user space would be deaf: so keep the heartbeat, if nothing else.
 */
static void keep_heartbeat(struct pc_dp *dp)
{
	if (dp->readonly || dp->ctl)
		return;
	if (dp->map_fd[PC_DP_CTL] < 0 && pc_dp_map_get(dp, PC_DP_CTL))
		return;
	if (!map_ctl(dp))
		pc_dp_heartbeat(dp, pc_clock_monotonic());
}

/* Whether what is pinned fits this build and configuration. */
static int check_meta(struct pc_dp *dp, const struct pc_meta *meta)
{
	if (meta->magic != PC_ABI_MAGIC || meta->abi_version != PC_ABI_VERSION)
		return pc_dp_fail(dp, PC_ERR_VERSION,
				  "%s holds maps of layout %u, this build has %u: run 'pcctl "
				  "shutdown' or 'pcctl datapath off' first",
				  dp->bpffs, meta->abi_version, PC_ABI_VERSION);
	if (meta->max_sessions != dp->max_sessions)
		return pc_dp_fail(dp, PC_ERR_VERSION,
				  "%s holds maps for max-sessions = %u, not %u: keep that, or run "
				  "'pcctl shutdown' or 'pcctl datapath off' first",
				  dp->bpffs, meta->max_sessions, dp->max_sessions);
	if (meta->max_tenants != dp->max_tenants)
		return pc_dp_fail(dp, PC_ERR_VERSION,
				  "%s holds maps for max-tenants = %u, not %u: keep that, or run "
				  "'pcctl shutdown' or 'pcctl datapath off' first",
				  dp->bpffs, meta->max_tenants, dp->max_tenants);
	return 0;
}

/* Opens and loads @config's object; a failure gets its reason. */
static int load(struct pc_dp *dp, const struct pc_dp_config *config, bool reuse)
{
	_cleanup_object_ struct bpf_object *object = NULL;
	const char *said;
	int err;

	pc_dp_capture_begin();
	err = pc_dp_object_open(dp, config, &object);
	if (!err)
		err = pc_dp_object_load(dp, object, reuse);
	said = pc_dp_capture_end();
	return err ? pc_dp_fail_step(dp, err, "load the program", said) : 0;
}

static int pin_fresh(struct pc_dp *dp)
{
	char path[PC_DP_PATH_MAX];

	/* pc4_meta is number 0 and goes last. */
	for (int i = PC_DP_MAPS - 1; i >= 0; i--) {
		if (i == PC_DP_META) {
			int err = pc_dp_pin_replace(dp->bpffs, PC_PROG_RELAY, dp->prog_fd);

			if (err)
				return err;
		}
		pc_dp_pin_path(dp->bpffs, pc_dp_maps[i].name, path);
		if (bpf_obj_pin(dp->map_fd[i], path))
			return -errno;
	}
	return 0;
}

static int make_fresh(struct pc_dp *dp, const struct pc_dp_config *config, const char *build)
{
	struct pc_meta meta = {
		.magic = PC_ABI_MAGIC,
		.abi_version = PC_ABI_VERSION,
		.max_sessions = dp->max_sessions,
		.max_tenants = dp->max_tenants,
		.created_ns = pc_clock_realtime(),
	};
	int err;

	err = load(dp, config, false);
	if (err)
		return err;
	memcpy(meta.build, build, sizeof(meta.build));
	err = pc_dp_meta_write(dp, &meta);
	pc_dp_pin_clean(dp->bpffs);
	if (!err)
		err = pin_fresh(dp);
	if (err) {
		pc_dp_pin_clean(dp->bpffs);
		return pc_dp_fail_step(dp, err, "pin the maps", "");
	}
	dp->status.generation = meta.created_ns;
	return 0;
}

/* Where there are any: an older build of this layout made none. */
static int check_pipes(struct pc_dp *dp)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (dp->map_fd[PC_DP_PIPE] < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(dp->map_fd[PC_DP_PIPE], &info, &len))
		return pc_dp_fail_step(dp, -errno, "take up the pinned maps", "");
	if (info.max_entries != 2 * dp->max_pipes)
		return pc_dp_fail(dp, PC_ERR_VERSION,
				  "%s holds maps for max-pipes = %u, not %u: keep that, or run "
				  "'pcctl shutdown' or 'pcctl datapath off' first",
				  dp->bpffs, info.max_entries / 2, dp->max_pipes);
	return 0;
}

/* Maps that were missing were made with the program. */
static int pin_missing(struct pc_dp *dp, const bool missing[static PC_DP_MAPS])
{
	int err = 0;

	for (int i = 0; i < PC_DP_MAPS && !err; i++) {
		if (missing[i])
			err = pc_dp_pin_replace(dp->bpffs, pc_dp_maps[i].name, dp->map_fd[i]);
	}
	return err;
}

static int adopt(struct pc_dp *dp, const struct pc_dp_config *config, const char *build)
{
	bool missing[PC_DP_MAPS], all = true;
	struct pc_meta meta;
	char path[PC_DP_PATH_MAX];
	int err;

	err = pc_dp_meta_read(dp, &meta);
	if (err)
		return pc_dp_fail_step(dp, err, "read the pinned maps", "");
	err = check_meta(dp, &meta);
	if (err)
		return err;
	err = pc_dp_maps_get(dp);
	if (err)
		return pc_dp_fail_step(dp, err, "take up the pinned maps", "");
	err = check_pipes(dp);
	if (err)
		return err;
	for (int i = 0; i < PC_DP_MAPS; i++) {
		missing[i] = dp->map_fd[i] < 0;
		all = all && !missing[i];
	}
	pc_dp_pin_path(dp->bpffs, PC_PROG_RELAY, path);
	if (all && !memcmp(meta.build, build, sizeof(meta.build)))
		dp->prog_fd = bpf_obj_get(path);
	if (dp->prog_fd < 0) {
		dp->reloaded = true;
		err = load(dp, config, true);
		if (err)
			return err;
	}
	err = pin_missing(dp, missing);
	if (err)
		return pc_dp_fail_step(dp, err, "pin the maps", "");
	err = pc_dp_links_adopt(dp);
	if (err)
		return pc_dp_fail_step(dp, err, "switch the program on its interfaces", "");
	err = pc_dp_pin_replace(dp->bpffs, PC_PROG_RELAY, dp->prog_fd);
	memcpy(meta.build, build, sizeof(meta.build));
	if (!err)
		err = pc_dp_meta_write(dp, &meta);
	if (err)
		return pc_dp_fail_step(dp, err, "pin the program", "");
	dp->status.adopted = true;
	dp->status.generation = meta.created_ns;
	return 0;
}

static int count_cpus(struct pc_dp *dp)
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 1)
		return pc_dp_fail_step(dp, cpus, "count the processors", "");
	dp->n_cpus = (unsigned int)cpus;
	return 0;
}

/* Everything but the pins: what is needed to run. */
static int map_shared(struct pc_dp *dp)
{
	int err = pc_dp_counts_map(dp);

	if (!err && !dp->readonly) {
		err = map_ctl(dp);
		if (!err)
			err = pc_dp_nexthops_map(dp);
		if (!err)
			err = pc_dp_rates_map(dp, true);
		if (!err)
			err = pc_dp_hot_map(dp);
		/* Those of an earlier daemon have to be counted. */
		dp->counted = !dp->status.adopted;
		if (!err && !dp->counted) {
			pc_dp_found_new(dp);
			err = pc_dp_tables_count(dp);
		}
		if (!err)
			pc_dp_hot_known(dp);
	}
	if (!err && dp->map_fd[PC_DP_WINDOW] >= 0)
		err = pc_dp_pipes_map(dp);
	return err && !dp->status.kernel_error
		       ? pc_dp_fail_step(dp, err, "map the shared memory", "")
		       : err;
}

static int open_kernel(struct pc_dp *dp, const struct pc_dp_config *config)
{
	char build[40] = "";
	unsigned int foreign;
	int err;

	err = count_cpus(dp);
	if (err)
		return err;
	err = pc_dp_object_build(dp, config, build);
	if (err)
		return pc_dp_fail(dp, err, "cannot read %s: %s", config->object, pc_strerror(err));
	err = pc_dp_pin_prepare(dp->bpffs);
	if (err == -ENOTEMPTY)
		return pc_dp_fail(dp, err, "%s is not in a bpf file system", dp->bpffs);
	if (err)
		return pc_dp_fail_step(dp, err, "make the directory for pins", "");
	foreign = pc_dp_pin_foreign(dp->bpffs);
	if (foreign) {
		struct pc_meta meta = { .abi_version = foreign };

		return check_meta(dp, &meta);
	}
	err = pc_dp_map_get(dp, PC_DP_META);
	if (err && err != -ENOENT)
		return pc_dp_fail_step(dp, err, "open the pinned maps", "");
	err = err ? make_fresh(dp, config, build) : adopt(dp, config, build);
	if (err)
		return err;
	dp->table_sessions = dp->max_sessions;
	err = map_shared(dp);
	if (err)
		return err;
	dp->status.layout = PC_ABI_VERSION;
	dp->status.memory = pc_dp_maps_memory(dp);
	/* A trial ends with the process that was holding it, and so does its guard. */
	__atomic_store_n(&dp->ctl->guard_ifindex, 0, __ATOMIC_RELEASE);
	pc_dp_heartbeat(dp, pc_clock_monotonic());
	pc_dp_nexthops_refresh(dp);
	return 0;
}

int pc_dp_open(const struct pc_dp_config *config, struct pc_dp **ret_dp)
{
	_cleanup_dp_ struct pc_dp *dp = NULL;
	int err;

	if (!config->max_sessions || !config->max_tenants || !config->bpffs || !config->state_dir ||
	    strlen(config->bpffs) >= sizeof(dp->bpffs))
		return PC_ERR_RANGE;
	err = dp_new(&dp);
	if (err)
		return err;
	snprintf(dp->bpffs, sizeof(dp->bpffs), "%s", config->bpffs);
	memcpy(dp->service_ports, config->service_ports, sizeof(dp->service_ports));
	for (size_t i = 0; i < PC_MAX_SERVICE_ADDRS && config->service_addrs[i].family; i++)
		pc_dp_encode_mapped(&config->service_addrs[i], dp->service_addrs[i]);
	dp->share = config->share;
	snprintf(dp->object, sizeof(dp->object), "%s", config->object ? config->object : "");
	dp->relay_low = config->relay_low;
	dp->relay_high = config->relay_high;
	dp->max_sessions = config->max_sessions;
	dp->max_tenants = config->max_tenants;
	dp->max_pipes = pc_dp_pipes_default(config);
	err = pc_dp_user_open(config->state_dir, config->max_sessions, &dp->user);
	if (err)
		return err;
	dp->status.user_counters_new = dp->user.fresh;
	if (config->kernel) {
		if (open_kernel(dp, config)) {
			unmap_ctl(dp);
			keep_heartbeat(dp);
			drop_kernel(dp);
		} else {
			dp->status.kernel = true;
		}
	}
	err = dp->status.kernel ? 0 : pc_dp_rates_map(dp, false);
	if (!err && !dp->pipes)
		err = pc_dp_pipes_new(dp, NULL);
	if (err)
		return err;
	*ret_dp = TAKE_PTR(dp);
	return 0;
}

/* Counters of an older layout; what it counted drops in may be a map of its own or not. */
static int open_old_readonly(struct pc_dp *dp, unsigned int layout)
{
	static const enum pc_dp_map kept[] = { PC_DP_META, PC_DP_COUNT, PC_DP_REASON, PC_DP_DROPS };
	struct pc_meta meta = { .abi_version = layout };
	char name[64];
	int err = 0;

	for (size_t i = 0; i < PC_ARRAY_SIZE(kept) && !err; i++) {
		const struct pc_dp_map_info *info = &pc_dp_maps[kept[i]];

		snprintf(name, sizeof(name), "pc%u%s", layout, strchr(info->name, '_'));
		err = pc_dp_map_pinned(dp, name, info, &dp->map_fd[kept[i]]);
		if (err == -ENOENT && kept[i] == PC_DP_DROPS)
			err = 0;
	}
	if (!err)
		err = pc_dp_meta_read(dp, &meta);
	if (!err && (meta.magic != PC_ABI_MAGIC || meta.abi_version != layout))
		err = PC_ERR_VERSION;
	if (err) {
		meta.abi_version = layout;
		return check_meta(dp, &meta);
	}
	dp->max_sessions = dp->table_sessions = meta.max_sessions;
	err = pc_dp_counts_map(dp);
	if (err)
		return pc_dp_fail_step(dp, err, "map the counters", "");
	dp->status.adopted = true;
	dp->status.generation = meta.created_ns;
	dp->status.layout = layout;
	return 0;
}

static int open_kernel_readonly(struct pc_dp *dp)
{
	unsigned int foreign;
	struct pc_meta meta;
	int err;

	err = count_cpus(dp);
	if (err)
		return err;
	err = pc_dp_map_get(dp, PC_DP_META);
	if (err == -ENOENT) {
		foreign = pc_dp_pin_foreign(dp->bpffs);
		if (foreign && foreign < PC_ABI_VERSION)
			return open_old_readonly(dp, foreign);
		return pc_dp_fail(dp, err, "nothing is pinned in %s", dp->bpffs);
	}
	if (!err)
		err = pc_dp_meta_read(dp, &meta);
	if (err)
		return pc_dp_fail_step(dp, err, "open the pinned maps", "");
	dp->max_sessions = dp->table_sessions = meta.max_sessions;
	dp->max_tenants = meta.max_tenants;
	err = check_meta(dp, &meta);
	if (!err)
		err = pc_dp_maps_get(dp);
	if (!err)
		err = map_shared(dp);
	if (err && !dp->status.kernel_error)
		return pc_dp_fail_step(dp, err, "open the pinned maps", "");
	if (err)
		return err;
	dp->status.adopted = true;
	dp->status.generation = meta.created_ns;
	dp->status.layout = PC_ABI_VERSION;
	dp->status.memory = pc_dp_maps_memory(dp);
	pc_dp_links_adopt(dp);
	return 0;
}

int pc_dp_open_readonly(const char *bpffs, const char *state_dir, struct pc_dp **ret_dp)
{
	_cleanup_dp_ struct pc_dp *dp = NULL;
	int err;

	if (strlen(bpffs) >= sizeof(dp->bpffs))
		return PC_ERR_RANGE;
	err = dp_new(&dp);
	if (err)
		return err;
	snprintf(dp->bpffs, sizeof(dp->bpffs), "%s", bpffs);
	dp->readonly = true;
	if (open_kernel_readonly(dp))
		drop_kernel(dp);
	else
		dp->status.kernel = true;
	err = pc_dp_user_open_readonly(state_dir, &dp->user);
	if (err == PC_ERR_NOT_FOUND || err == PC_ERR_VERSION)
		err = pc_dp_user_blank(dp->max_sessions, &dp->user);
	if (err)
		return err;
	dp->status.user_counters_new = dp->user.fresh;
	/* Both halves of one daemon agree; after a change of size the smaller is safe. */
	if (!dp->status.kernel || dp->user.max_sessions < dp->max_sessions)
		dp->max_sessions = dp->user.max_sessions;
	*ret_dp = TAKE_PTR(dp);
	return 0;
}

void pc_dp_close(struct pc_dp *dp)
{
	if (!dp)
		return;
	unmap_ctl(dp);
	drop_kernel(dp);
	pc_dp_found_free(dp);
	pc_dp_user_close(&dp->user);
	free(dp);
}

void pc_dp_get_status(const struct pc_dp *dp, struct pc_dp_status *ret_status)
{
	*ret_status = dp->status;
}

void pc_dp_heartbeat(struct pc_dp *dp, uint64_t now)
{
	if (dp->ctl)
		__atomic_store_n(&dp->ctl->heartbeat_ns, now, __ATOMIC_RELAXED);
}

/* Both of one limit: the time between two messages, and how far a burst may run ahead. */
static void set_limit(uint32_t per_s, uint32_t burst, __u32 *interval_ns, __u32 *burst_ns)
{
	uint64_t interval = per_s ? PC_NS_PER_S / per_s : 0, ahead;

	if (per_s && !interval)
		interval = 1;
	ahead = interval * burst;
	if (ahead > UINT32_MAX)
		ahead = UINT32_MAX;
	/* No limit while the two do not belong together. */
	__atomic_store_n(interval_ns, 0, __ATOMIC_RELEASE);
	__atomic_store_n(burst_ns, (uint32_t)ahead, __ATOMIC_RELEASE);
	__atomic_store_n(interval_ns, (uint32_t)interval, __ATOMIC_RELEASE);
}

void pc_dp_limits_set(struct pc_dp *dp, const struct pc_dp_limits *limits)
{
	struct pc_ctl *ctl = dp->ctl;

	if (!ctl || !dp->status.kernel)
		return;
	set_limit(limits->host_per_s, limits->host_burst, &ctl->limit_host_interval_ns,
		  &ctl->limit_host_burst_ns);
	set_limit(limits->net_per_s, limits->net_burst, &ctl->limit_net_interval_ns,
		  &ctl->limit_net_burst_ns);
	set_limit(limits->all_per_s, limits->all_burst, &ctl->limit_all_interval_ns,
		  &ctl->limit_all_burst_ns);
	set_limit(limits->client_per_s, limits->client_burst, &ctl->limit_client_interval_ns,
		  &ctl->limit_client_burst_ns);
}
