/* SPDX-License-Identifier: MIT */
/*
 * From an object file, built in or given, to a loaded program. Both go the same way: symbols are
 * found by BTF, so a test variant needs no skeleton of its own.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/siphash.h"
#include "dp/dp_int.h"
#include "lib/hot.h"
#include "relay.skel.h"
#include "version.h"

#define PC_OBJECT_MAX (16 << 20)

PC_DEFINE_CLEANUP(object, struct bpf_object, bpf_object__close)
#define _cleanup_object_ PC_CLEANUP(pc_cleanup_object)

/* The whole file, owned by the caller. */
static int read_file(const char *path, void **ret_data, size_t *ret_size)
{
	_cleanup_file_ FILE *file = fopen(path, "re");
	_cleanup_free_ void *data = NULL;
	size_t n;

	if (!file)
		return -errno;
	data = malloc(PC_OBJECT_MAX);
	if (!data)
		return -ENOMEM;
	n = fread(data, 1, PC_OBJECT_MAX, file);
	if (ferror(file))
		return -EIO;
	if (n == PC_OBJECT_MAX)
		return -EFBIG;
	*ret_data = TAKE_PTR(data);
	*ret_size = n;
	return 0;
}

/* The object's bytes; *ret_owned is to be freed, NULL for the built-in ones. */
static int object_bytes(const struct pc_dp_config *config, const void **ret_data, size_t *ret_size,
			void **ret_owned)
{
	void *data;
	int err;

	if (!config->object) {
		*ret_data = relay_bpf__elf_bytes(ret_size);
		*ret_owned = NULL;
		return 0;
	}
	err = read_file(config->object, &data, ret_size);
	if (err)
		return err;
	*ret_data = *ret_owned = data;
	return 0;
}

int pc_dp_object_build(const struct pc_dp *dp, const struct pc_dp_config *config,
		       char ret_build[static 40])
{
	/* Not a secret: only tells objects and constants apart. */
	static const uint8_t key[16] = "pcd-relay-object";
	struct {
		uint64_t object;
		__be32 service_addrs[PC_MAX_SERVICE_ADDRS][4];
		uint16_t service_ports[PC_MAX_SERVICE_PORTS];
		uint16_t relay_low, relay_high;
		uint32_t zero;
	} all = { .relay_low = config->relay_low, .relay_high = config->relay_high };
	_cleanup_free_ void *owned = NULL;
	const void *data;
	size_t size;
	int err;

	err = object_bytes(config, &data, &size, &owned);
	if (err)
		return err;
	all.object = pc_siphash24(key, data, size);
	memcpy(all.service_ports, config->service_ports, sizeof(all.service_ports));
	memcpy(all.service_addrs, dp->service_addrs, sizeof(all.service_addrs));
	snprintf(ret_build, 40, "%.22s %016llx", PC_VERSION,
		 (unsigned long long)pc_siphash24(key, &all, sizeof(all)));
	return 0;
}

/* Where @name lies in .rodata. */
static int find_constant(const struct btf *btf, const char *name, size_t size, size_t *ret_offset)
{
	int sec = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_var_secinfo *vars;
	const struct btf_type *type;

	if (sec < 0)
		return PC_ERR_NOT_FOUND;
	type = btf__type_by_id(btf, (__u32)sec);
	vars = btf_var_secinfos(type);
	for (int i = 0; i < btf_vlen(type); i++) {
		const struct btf_type *var = btf__type_by_id(btf, vars[i].type);

		if (strcmp(btf__name_by_offset(btf, var->name_off), name))
			continue;
		if (vars[i].size != size)
			return PC_ERR_VERSION;
		*ret_offset = vars[i].offset;
		return 0;
	}
	return PC_ERR_NOT_FOUND;
}

static int set_constant(struct bpf_object *object, const char *name, const void *value, size_t size)
{
	struct bpf_map *map;
	size_t offset, total;
	uint8_t *data = NULL;
	int err;

	err = find_constant(bpf_object__btf(object), name, size, &offset);
	if (err)
		return err;
	bpf_object__for_each_map(map, object)
	{
		/* Its name is cut to what the kernel takes, and begins with the object's. */
		const char *dot = strrchr(bpf_map__name(map), '.');

		if (bpf_map__is_internal(map) && dot && !strcmp(dot, ".rodata")) {
			data = (uint8_t *)bpf_map__initial_value(map, &total);
			break;
		}
	}
	if (!data || offset + size > total)
		return PC_ERR_NOT_FOUND;
	memcpy(data + offset, value, size);
	return 0;
}

static int set_constants(const struct pc_dp *dp, struct bpf_object *object)
{
	uint32_t hot_shift = pc_hot_shift_of(pc_dp_map_entries(PC_DP_HOT4, dp->max_sessions));
	uint32_t hot6_shift = pc_hot_shift_of(pc_dp_map_entries(PC_DP_HOT6, dp->max_sessions));
	int err;

	err = set_constant(object, "pc_service_ports", dp->service_ports,
			   sizeof(dp->service_ports));
	if (!err)
		err = set_constant(object, "pc_service_addrs", dp->service_addrs,
				   sizeof(dp->service_addrs));
	if (!err)
		err = set_constant(object, "pc_relay_low", &dp->relay_low, sizeof(dp->relay_low));
	if (!err)
		err = set_constant(object, "pc_relay_high", &dp->relay_high,
				   sizeof(dp->relay_high));
	if (!err)
		err = set_constant(object, "pc_sessions", &dp->max_sessions,
				   sizeof(dp->max_sessions));
	if (!err)
		err = set_constant(object, "pc_hot_shift", &hot_shift, sizeof(hot_shift));
	if (!err)
		err = set_constant(object, "pc_hot6_shift", &hot6_shift, sizeof(hot6_shift));
	return err;
}

static int set_sizes(const struct pc_dp *dp, struct bpf_object *object)
{
	for (enum pc_dp_map i = 0; i < PC_DP_MAPS; i++) {
		const struct pc_dp_map_info *info = &pc_dp_maps[i];
		struct bpf_map *map = bpf_object__find_map_by_name(object, info->name);
		uint32_t n = info->per_tenant ? info->per_tenant * (dp->max_tenants + 1)
			     : info->per_pipe ? info->per_pipe * dp->max_pipes
					      : pc_dp_map_entries(i, dp->max_sessions);

		if (info->per_cpu && __builtin_mul_overflow(n, dp->n_cpus, &n))
			return PC_ERR_RANGE;
		if (!map)
			return PC_ERR_NOT_FOUND;
		if (n && bpf_map__set_max_entries(map, n))
			return -errno;
		if (info->on_demand &&
		    bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_NO_PREALLOC))
			return -errno;
	}
	return 0;
}

int pc_dp_object_open(struct pc_dp *dp, const struct pc_dp_config *config,
		      struct bpf_object **ret_object)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "pc2");
	_cleanup_object_ struct bpf_object *object = NULL;
	_cleanup_free_ void *owned = NULL;
	const void *data;
	size_t size;
	int err;

	err = object_bytes(config, &data, &size, &owned);
	if (err)
		return err;
	object = bpf_object__open_mem(data, size, &opts);
	if (!object)
		return -errno;
	err = set_constants(dp, object);
	if (!err)
		err = set_sizes(dp, object);
	if (err)
		return err;
	*ret_object = TAKE_PTR(object);
	return 0;
}

int pc_dp_object_reuse(const struct pc_dp *dp, struct bpf_object *object)
{
	for (int i = 0; i < PC_DP_MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, pc_dp_maps[i].name);

		if (!map)
			return PC_ERR_NOT_FOUND;
		if (dp->map_fd[i] >= 0 && bpf_map__reuse_fd(map, dp->map_fd[i]))
			return -errno;
	}
	return 0;
}

static int take_fd(int fd, int *ret_fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return -errno;
	*ret_fd = copy;
	return 0;
}

int pc_dp_object_load(struct pc_dp *dp, struct bpf_object *object, bool reuse)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct bpf_program *prog = bpf_object__find_program_by_name(object, PC_PROG_RELAY);
	int err = 0;

	if (!prog)
		return PC_ERR_NOT_FOUND;
	if (reuse)
		err = pc_dp_object_reuse(dp, object);
	if (err)
		return err;
	/* Kernels before 5.11 charge maps to it; without the right to, the load says so. */
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	err = bpf_object__load(object);
	if (err)
		return err;
	for (int i = 0; i < PC_DP_MAPS && !err; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, pc_dp_maps[i].name);

		if (dp->map_fd[i] >= 0)
			continue;
		err = map ? take_fd(bpf_map__fd(map), &dp->map_fd[i]) : PC_ERR_NOT_FOUND;
	}
	return err ? err : take_fd(bpf_program__fd(prog), &dp->prog_fd);
}
