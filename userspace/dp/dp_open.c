/* SPDX-License-Identifier: MIT */
/*
 * Opening: what is pinned is taken up, else made.
 *
 *   nothing pinned            load, pin maps and program, pc1_meta last: it says "complete"
 *   same layout, same build   take the pins
 *   same layout, other build  load the new program over the old maps, switch the links, then the
 *                             program's pin, then the build in pc1_meta; each step can be repeated
 *   other layout or size      touch nothing, say what to do
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
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
	for (int i = 0; i < PC_DP_MAPS; i++) {
		if (dp->map_fd[i] >= 0)
			close(TAKE_FD(dp->map_fd[i]));
	}
	if (dp->prog_fd >= 0)
		close(TAKE_FD(dp->prog_fd));
}

/* A map's pin, if it has the shape this build expects. */
static int get_map(const struct pc_dp *dp, enum pc_dp_map which, uint32_t value_size, int *ret_fd)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = dp->readonly ? BPF_F_RDONLY : 0);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	_cleanup_close_ int fd = -1;
	char path[PC_DP_PATH_MAX];

	pc_dp_pin_path(dp->bpffs, pc_dp_map_names[which], path);
	fd = bpf_obj_get_opts(path, &opts);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.value_size != value_size)
		return PC_ERR_VERSION;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int get_maps(struct pc_dp *dp)
{
	static const uint32_t sizes[PC_DP_MAPS] = {
		[PC_DP_META] = sizeof(struct pc_meta),
		[PC_DP_CTL] = sizeof(struct pc_ctl),
		[PC_DP_FLOW4] = sizeof(struct pc_flow4),
		[PC_DP_COUNT] = sizeof(struct pc_count),
		[PC_DP_REASON] = sizeof(uint64_t),
		[PC_DP_NEXTHOP] = sizeof(struct pc_nexthop_slot),
		[PC_DP_TXPORT] = sizeof(uint32_t),
	};

	for (int i = 0; i < PC_DP_MAPS; i++) {
		int err;

		if (dp->map_fd[i] >= 0)
			continue;
		err = get_map(dp, i, sizes[i], &dp->map_fd[i]);
		if (err)
			return err;
	}
	return 0;
}

static int read_meta(const struct pc_dp *dp, struct pc_meta *ret_meta)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(dp->map_fd[PC_DP_META], &zero, ret_meta) ? -errno : 0;
}

static int write_meta(const struct pc_dp *dp, const struct pc_meta *meta)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(dp->map_fd[PC_DP_META], &zero, meta, BPF_ANY) ? -errno : 0;
}

/*
 * A program that cannot be taken up may still be attached. It drops control packets when the
 * heartbeat stops, and then user space would be deaf: so keep the heartbeat, if nothing else.
 */
static void keep_heartbeat(struct pc_dp *dp)
{
	if (dp->readonly || dp->ctl)
		return;
	if (dp->map_fd[PC_DP_CTL] < 0 &&
	    get_map(dp, PC_DP_CTL, sizeof(struct pc_ctl), &dp->map_fd[PC_DP_CTL]))
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
	if (meta->max_sessions != dp->max_sessions || meta->flow_entries != dp->flow_entries)
		return pc_dp_fail(dp, PC_ERR_VERSION,
				  "%s holds maps for max-sessions = %u, not %u: keep that, or run "
				  "'pcctl shutdown' or 'pcctl datapath off' first",
				  dp->bpffs, meta->max_sessions, dp->max_sessions);
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

	/* pc1_meta is number 0 and goes last. */
	for (int i = PC_DP_MAPS - 1; i >= 0; i--) {
		if (i == PC_DP_META) {
			int err = pc_dp_pin_replace(dp->bpffs, PC_PROG_RELAY, dp->prog_fd);

			if (err)
				return err;
		}
		pc_dp_pin_path(dp->bpffs, pc_dp_map_names[i], path);
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
		.flow_entries = dp->flow_entries,
		.created_ns = pc_clock_realtime(),
	};
	int err;

	err = load(dp, config, false);
	if (err)
		return err;
	memcpy(meta.build, build, sizeof(meta.build));
	err = write_meta(dp, &meta);
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

static int adopt(struct pc_dp *dp, const struct pc_dp_config *config, const char *build)
{
	struct pc_meta meta;
	char path[PC_DP_PATH_MAX];
	int err;

	err = read_meta(dp, &meta);
	if (err)
		return pc_dp_fail_step(dp, err, "read the pinned maps", "");
	err = check_meta(dp, &meta);
	if (err)
		return err;
	err = get_maps(dp);
	if (err)
		return pc_dp_fail_step(dp, err, "take up the pinned maps", "");
	pc_dp_pin_path(dp->bpffs, PC_PROG_RELAY, path);
	if (!memcmp(meta.build, build, sizeof(meta.build)))
		dp->prog_fd = bpf_obj_get(path);
	if (dp->prog_fd < 0) {
		err = load(dp, config, true);
		if (err)
			return err;
	}
	err = pc_dp_links_adopt(dp);
	if (err)
		return pc_dp_fail_step(dp, err, "switch the program on its interfaces", "");
	err = pc_dp_pin_replace(dp->bpffs, PC_PROG_RELAY, dp->prog_fd);
	memcpy(meta.build, build, sizeof(meta.build));
	if (!err)
		err = write_meta(dp, &meta);
	if (err)
		return pc_dp_fail_step(dp, err, "pin the program", "");
	dp->status.adopted = true;
	dp->status.generation = meta.created_ns;
	return 0;
}

/* Everything but the pins: what is needed to run. */
static int map_shared(struct pc_dp *dp)
{
	int cpus = libbpf_num_possible_cpus();
	int err = 0;

	if (cpus < 1)
		return pc_dp_fail_step(dp, cpus, "count the processors", "");
	dp->n_cpus = (unsigned int)cpus;
	if (!dp->readonly) {
		err = map_ctl(dp);
		if (!err)
			err = pc_dp_nexthops_map(dp);
		if (!err)
			err = pc_dp_flow_count(dp->map_fd[PC_DP_FLOW4], &dp->flow_used);
	}
	return err ? pc_dp_fail_step(dp, err, "map the shared memory", "") : 0;
}

static int open_kernel(struct pc_dp *dp, const struct pc_dp_config *config)
{
	char build[40] = "";
	unsigned int foreign;
	int err;

	err = pc_dp_object_build(config, build);
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
	err = get_map(dp, PC_DP_META, sizeof(struct pc_meta), &dp->map_fd[PC_DP_META]);
	if (err && err != -ENOENT)
		return pc_dp_fail_step(dp, err, "open the pinned maps", "");
	err = err ? make_fresh(dp, config, build) : adopt(dp, config, build);
	if (err)
		return err;
	err = map_shared(dp);
	if (err)
		return err;
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

	if (!config->max_sessions || !config->bpffs || !config->state_dir ||
	    strlen(config->bpffs) >= sizeof(dp->bpffs))
		return PC_ERR_RANGE;
	err = dp_new(&dp);
	if (err)
		return err;
	snprintf(dp->bpffs, sizeof(dp->bpffs), "%s", config->bpffs);
	memcpy(dp->service_ports, config->service_ports, sizeof(dp->service_ports));
	dp->relay_low = config->relay_low;
	dp->relay_high = config->relay_high;
	dp->max_sessions = config->max_sessions;
	dp->flow_entries = pc_dp_flow_entries(config->max_sessions);
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
	*ret_dp = TAKE_PTR(dp);
	return 0;
}

static int open_kernel_readonly(struct pc_dp *dp)
{
	struct pc_meta meta;
	int err;

	err = get_map(dp, PC_DP_META, sizeof(struct pc_meta), &dp->map_fd[PC_DP_META]);
	if (err == -ENOENT)
		return pc_dp_fail(dp, err, "nothing is pinned in %s", dp->bpffs);
	if (!err)
		err = read_meta(dp, &meta);
	if (err)
		return pc_dp_fail_step(dp, err, "open the pinned maps", "");
	dp->max_sessions = meta.max_sessions;
	dp->flow_entries = meta.flow_entries;
	err = check_meta(dp, &meta);
	if (!err)
		err = get_maps(dp);
	if (!err)
		err = map_shared(dp);
	if (err && !dp->status.kernel_error)
		return pc_dp_fail_step(dp, err, "open the pinned maps", "");
	if (err)
		return err;
	dp->status.adopted = true;
	dp->status.generation = meta.created_ns;
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
