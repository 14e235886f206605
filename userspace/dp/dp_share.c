/* SPDX-License-Identifier: MIT */
/*
 * Behind libxdp's dispatcher: a small program with functions to be replaced by the programs that
 * share an interface. A program is loaded for it as a replacement, so each interface has a copy of
 * its own over the same maps; ours are told from others by the map with the heartbeat.
 *
 * libxdp keeps its own pins (below LIBXDP_BPFFS, else /sys/fs/bpf) and exchanges a whole dispatcher
 * for every change, in one step. The interface holds it, not a process.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <xdp/libxdp.h>

#include "base/err.h"
#include "dp/dp_int.h"

#define MAX_MAPS 64 /* that a program uses */
#define MAX_OWN	 16 /* of our programs behind one dispatcher */

PC_DEFINE_CLEANUP(object, struct bpf_object, bpf_object__close)
#define _cleanup_object_ PC_CLEANUP(pc_cleanup_object)

static int quiet(enum libxdp_print_level level, const char *fmt, va_list args)
{
	return 0;
}

/* What libxdp says goes nowhere, what libbpf says is kept: both print on their own. */
static void begin(void)
{
	libxdp_set_print(quiet);
	pc_dp_capture_begin();
}

static void end(void)
{
	pc_dp_capture_end();
}

static enum pc_dp_mode mode_of(const struct xdp_multiprog *mp)
{
	return xdp_multiprog__attach_mode(mp) == XDP_MODE_SKB ? PC_DP_GENERIC : PC_DP_NATIVE;
}

static enum xdp_attach_mode mode_to(enum pc_dp_mode mode)
{
	return mode == PC_DP_GENERIC ? XDP_MODE_SKB : XDP_MODE_NATIVE;
}

/* The dispatcher of @ifindex; NULL: none, or a program that is alone there. */
static struct xdp_multiprog *get_dispatcher(uint32_t ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex((int)ifindex);

	if (libxdp_get_error(mp))
		return NULL;
	if (!xdp_multiprog__is_legacy(mp) && xdp_multiprog__main_prog(mp))
		return mp;
	xdp_multiprog__close(mp);
	return NULL;
}

static int map_id(int fd, uint32_t *ret_id)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*ret_id = info.id;
	return 0;
}

static bool uses_map(int prog_fd, uint32_t map)
{
	uint32_t ids[MAX_MAPS] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = MAX_MAPS, .map_ids = (uintptr_t)ids };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog_fd, &info, &len))
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < MAX_MAPS; i++) {
		if (ids[i] == map)
			return true;
	}
	return false;
}

/* Ids of the programs over @map behind the dispatcher of @ifindex. How many. */
static size_t find_own(uint32_t ifindex, uint32_t map, uint32_t ids[static MAX_OWN])
{
	struct xdp_multiprog *mp = get_dispatcher(ifindex);
	struct xdp_program *p = NULL;
	size_t n = 0;

	if (!mp)
		return 0;
	while (n < MAX_OWN && (p = xdp_multiprog__next_prog(p, mp))) {
		if (uses_map(xdp_program__fd(p), map))
			ids[n++] = xdp_program__id(p);
	}
	xdp_multiprog__close(mp);
	return n;
}

static int detach_id(uint32_t ifindex, uint32_t id)
{
	struct xdp_multiprog *mp = get_dispatcher(ifindex);
	struct xdp_program *p;
	int err = -ENOENT;

	if (!mp)
		return 0;
	p = xdp_program__from_id(id);
	if (!libxdp_get_error(p)) {
		err = xdp_program__detach(p, (int)ifindex, xdp_multiprog__attach_mode(mp), 0);
		xdp_program__close(p);
	} else {
		err = (int)libxdp_get_error(p);
	}
	xdp_multiprog__close(mp);
	return err;
}

bool pc_dp_share_wanted(const struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode *ret_mode)
{
	struct xdp_multiprog *mp;
	__u32 there = 0;

	*ret_mode = PC_DP_OFF;
	if (dp->share == PC_DP_SHARE_OFF)
		return false;
	begin();
	/* Most interfaces have nothing on them. */
	mp = bpf_xdp_query_id((int)ifindex, 0, &there) == 0 && there ? get_dispatcher(ifindex)
								     : NULL;
	if (mp) {
		*ret_mode = mode_of(mp);
		xdp_multiprog__close(mp);
	}
	end();
	return mp || (dp->share == PC_DP_SHARE_ALWAYS && !there);
}

bool pc_dp_share_present(uint32_t ifindex, uint32_t id, enum pc_dp_mode *ret_mode)
{
	struct xdp_program *p = NULL;
	struct xdp_multiprog *mp;
	bool found = false;

	begin();
	mp = get_dispatcher(ifindex);
	while (mp && !found && (p = xdp_multiprog__next_prog(p, mp)))
		found = xdp_program__id(p) == id;
	if (found)
		*ret_mode = mode_of(mp);
	if (mp)
		xdp_multiprog__close(mp);
	end();
	return found;
}

/* An empty interface, and a kernel that has no dispatcher: libxdp attached the program alone. */
static bool became_alone(struct xdp_program *p, uint32_t ifindex, enum pc_dp_mode mode)
{
	struct xdp_multiprog *mp = get_dispatcher(ifindex);

	if (mp) {
		xdp_multiprog__close(mp);
		return false;
	}
	xdp_program__detach(p, (int)ifindex, mode_to(mode), 0);
	return true;
}

static int attach(struct bpf_object *object, uint32_t ifindex, enum pc_dp_mode mode,
		  int *ret_prog_fd)
{
	struct xdp_program *p = xdp_program__from_bpf_obj(object, "xdp");
	int err = (int)libxdp_get_error(p), fd;

	if (err)
		return err;
	err = xdp_program__attach(p, (int)ifindex, mode_to(mode), 0);
	if (!err && became_alone(p, ifindex, mode))
		err = -ENOTSUP;
	if (!err) {
		fd = fcntl(xdp_program__fd(p), F_DUPFD_CLOEXEC, 3);
		err = fd < 0 ? -errno : 0;
		if (!err)
			*ret_prog_fd = fd;
		else
			xdp_program__detach(p, (int)ifindex, mode_to(mode), 0);
	}
	xdp_program__close(p);
	return err;
}

int pc_dp_share_attach(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode, int *ret_prog_fd)
{
	const struct pc_dp_config config = { .object = dp->object[0] ? dp->object : NULL };
	_cleanup_object_ struct bpf_object *object = NULL;
	int err;

	begin();
	err = pc_dp_object_open(dp, &config, &object);
	if (!err)
		err = pc_dp_object_reuse(dp, object);
	if (!err)
		err = attach(object, ifindex, mode, ret_prog_fd);
	end();
	return err;
}

static int detach_own(uint32_t map, uint32_t ifindex, uint32_t keep_id)
{
	uint32_t ids[MAX_OWN];
	size_t n = find_own(ifindex, map, ids);
	int err, done = 0;

	for (size_t i = 0; i < n; i++) {
		if (ids[i] == keep_id)
			continue;
		err = detach_id(ifindex, ids[i]);
		if (err)
			return err;
		done++;
	}
	return done;
}

int pc_dp_share_detach(int ctl_fd, uint32_t ifindex, uint32_t keep_id)
{
	uint32_t map = 0;
	int r = map_id(ctl_fd, &map);

	if (r)
		return r;
	begin();
	r = detach_own(map, ifindex, keep_id);
	end();
	return r;
}

int pc_dp_share_detach_all(int ctl_fd, bool (*skip)(void *arg, uint32_t ifindex), void *arg)
{
	struct if_nameindex *all;
	uint32_t map = 0;
	int r = map_id(ctl_fd, &map), done = 0;

	if (r)
		return r;
	all = if_nameindex();
	if (!all)
		return -errno;
	begin();
	for (size_t i = 0; all[i].if_index && r >= 0; i++) {
		__u32 there = 0;

		if ((skip && skip(arg, all[i].if_index)) ||
		    bpf_xdp_query_id((int)all[i].if_index, 0, &there) || !there)
			continue;
		r = detach_own(map, all[i].if_index, 0);
		done += r > 0 ? r : 0;
	}
	end();
	if_freenameindex(all);
	return r < 0 ? r : done;
}
