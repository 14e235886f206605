/* SPDX-License-Identifier: MIT */
/* The pinned maps: taking them up, what they say about themselves, what they cost. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>

#include "base/err.h"
#include "dp/dp_int.h"

int pc_dp_map_pinned(const struct pc_dp *dp, const char *name, const struct pc_dp_map_info *shape,
		     int *ret_fd)
{
	/* A descriptor for reading alone cannot be mapped, and counters are. */
	LIBBPF_OPTS(bpf_obj_get_opts, opts,
		    .file_flags = dp->readonly && !shape->per_cpu ? BPF_F_RDONLY : 0);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	_cleanup_close_ int fd = -1;
	char path[PC_DP_PATH_MAX];

	pc_dp_pin_path(dp->bpffs, name, path);
	fd = bpf_obj_get_opts(path, &opts);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.value_size != shape->value_size)
		return PC_ERR_VERSION;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int pc_dp_map_get(struct pc_dp *dp, enum pc_dp_map which)
{
	return pc_dp_map_pinned(dp, pc_dp_maps[which].name, &pc_dp_maps[which], &dp->map_fd[which]);
}

int pc_dp_maps_get(struct pc_dp *dp)
{
	for (enum pc_dp_map i = 0; i < PC_DP_MAPS; i++) {
		int err = dp->map_fd[i] < 0 ? pc_dp_map_get(dp, i) : 0;

		if (err && (err != -ENOENT || !pc_dp_maps[i].per_pipe))
			return err;
	}
	return 0;
}

int pc_dp_meta_read(const struct pc_dp *dp, struct pc_meta *ret_meta)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(dp->map_fd[PC_DP_META], &zero, ret_meta) ? -errno : 0;
}

int pc_dp_meta_write(const struct pc_dp *dp, const struct pc_meta *meta)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(dp->map_fd[PC_DP_META], &zero, meta, BPF_ANY) ? -errno : 0;
}

uint64_t pc_dp_maps_memory(const struct pc_dp *dp)
{
	uint64_t sum = 0;

	for (int i = 0; i < PC_DP_MAPS; i++) {
		_cleanup_file_ FILE *file = NULL;
		unsigned long long bytes;
		char path[64], line[128];

		if (dp->map_fd[i] < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", dp->map_fd[i]);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file)) {
			if (sscanf(line, "memlock: %llu", &bytes) == 1)
				sum += bytes;
		}
	}
	return sum;
}
