/* SPDX-License-Identifier: MIT */
/* Pins: what the kernel keeps for us under a directory of a bpffs. Names must not hold dots. */
#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/err.h"
#include "base/parse.h"
#include "dp/dp_int.h"

#define PC_DEFAULT_BPFFS "/sys/fs/bpf"

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}
#define _cleanup_dir_ PC_CLEANUP(cleanup_dir)

void pc_dp_pin_path(const char *bpffs, const char *name, char ret_path[static PC_DP_PATH_MAX])
{
	snprintf(ret_path, PC_DP_PATH_MAX, "%s/%s", bpffs, name);
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static bool is_empty(const char *path)
{
	_cleanup_dir_ DIR *dir = opendir(path);
	const struct dirent *entry;

	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			return false;
	}
	return true;
}

static int make_dir(const char *path, mode_t mode)
{
	return mkdir(path, mode) && errno != EEXIST ? -errno : 0;
}

int pc_dp_pin_prepare(const char *bpffs)
{
	char parent[PC_DP_PATH_MAX];
	char *slash;
	int err;

	if (is_bpffs(bpffs))
		return 0;
	snprintf(parent, sizeof(parent), "%s", bpffs);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return -EINVAL;
	*slash = 0;
	if (!is_bpffs(parent)) {
		err = make_dir(parent, 0755);
		if (err)
			return err;
		/* Never hide what somebody else keeps there. */
		if (strcmp(parent, PC_DEFAULT_BPFFS) && !is_empty(parent))
			return -ENOTEMPTY;
		if (mount("bpf", parent, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
			return -errno;
	}
	return make_dir(bpffs, 0700);
}

/* Splits "pc12_meta" into 12 and "meta". NULL when it is not one of our names. */
static const char *split_name(const char *name, unsigned int *ret_version)
{
	unsigned int version = 0;
	const char *at = name + 2;

	if (strncmp(name, "pc", 2) || !isdigit((unsigned char)*at))
		return NULL;
	for (; isdigit((unsigned char)*at); at++) {
		if (version > 100000)
			return NULL;
		version = version * 10 + (unsigned int)(*at - '0');
	}
	if (*at != '_')
		return NULL;
	*ret_version = version;
	return at + 1;
}

/* @kind: "link_", "share_". */
static bool is_link_name(const char *name, const char *kind, uint32_t *ret_ifindex)
{
	size_t len = strlen(kind);
	uint64_t value;

	if (strncmp(name, kind, len) || pc_parse_u64(name + len, 1, UINT32_MAX, &value))
		return false;
	*ret_ifindex = (uint32_t)value;
	return true;
}

unsigned int pc_dp_pin_foreign(const char *bpffs)
{
	_cleanup_dir_ DIR *dir = opendir(bpffs);
	const struct dirent *entry;
	unsigned int version;
	const char *rest;

	while (dir && (entry = readdir(dir))) {
		rest = split_name(entry->d_name, &version);
		if (rest && version != PC_ABI_VERSION && !strcmp(rest, "meta"))
			return version;
	}
	return 0;
}

/* Removes our pins of @version (0: any): maps, programs, and links without detaching them. */
static int unpin_all(const char *bpffs, unsigned int version)
{
	_cleanup_dir_ DIR *dir = opendir(bpffs);
	char path[PC_DP_PATH_MAX];
	const struct dirent *entry;
	unsigned int found;
	int err = 0;

	while (dir && (entry = readdir(dir))) {
		if (!split_name(entry->d_name, &found) || (version && found != version))
			continue;
		pc_dp_pin_path(bpffs, entry->d_name, path);
		if (unlink(path) && errno != ENOENT)
			err = -errno;
	}
	return err;
}

void pc_dp_pin_clean(const char *bpffs)
{
	unpin_all(bpffs, PC_ABI_VERSION);
}

int pc_dp_pin_replace(const char *bpffs, const char *name, int fd)
{
	char path[PC_DP_PATH_MAX], next[PC_DP_PATH_MAX], next_name[64];

	snprintf(next_name, sizeof(next_name), "%s_new", name);
	pc_dp_pin_path(bpffs, name, path);
	pc_dp_pin_path(bpffs, next_name, next);
	unlink(next);
	if (bpf_obj_pin(fd, next))
		return -errno;
	if (rename(next, path)) {
		int err = -errno;

		unlink(next);
		return err;
	}
	return 0;
}

static int each_link(const char *bpffs, unsigned int version, const char *kind,
		     int (*fn)(void *arg, const char *path, uint32_t ifindex), void *arg)
{
	_cleanup_dir_ DIR *dir = opendir(bpffs);
	char path[PC_DP_PATH_MAX];
	const struct dirent *entry;
	unsigned int found;
	uint32_t ifindex;
	const char *rest;
	int ret;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		rest = split_name(entry->d_name, &found);
		if (!rest || (version && found != version) || !is_link_name(rest, kind, &ifindex))
			continue;
		pc_dp_pin_path(bpffs, entry->d_name, path);
		ret = fn(arg, path, ifindex);
		if (ret)
			return ret;
	}
	return 0;
}

int pc_dp_pin_each_link(const char *bpffs, int (*fn)(void *arg, const char *path, uint32_t ifindex),
			void *arg)
{
	return each_link(bpffs, PC_ABI_VERSION, "link_", fn, arg);
}

int pc_dp_pin_each_share(const char *bpffs,
			 int (*fn)(void *arg, const char *path, uint32_t ifindex), void *arg)
{
	return each_link(bpffs, PC_ABI_VERSION, "share_", fn, arg);
}

struct teardown {
	int n;
	int err;
};

static int teardown_link(void *arg, const char *path, uint32_t ifindex)
{
	struct teardown *t = arg;
	_cleanup_close_ int fd = bpf_obj_get(path);

	/* Without detaching, the program would stay for as long as a daemon holds the link too. */
	if (fd < 0 || (bpf_link_detach(fd) && errno != ENOLINK)) {
		t->err = -errno;
		return 0;
	}
	if (unlink(path) && errno != ENOENT)
		t->err = -errno;
	t->n++;
	return 0;
}

/* Behind dispatchers, those of every layout are told by the map that all of them use. */
static void teardown_shared(const char *bpffs, struct teardown *t)
{
	_cleanup_dir_ DIR *dir = opendir(bpffs);
	char path[PC_DP_PATH_MAX];
	const struct dirent *entry;
	unsigned int version;
	const char *rest;

	while (dir && (entry = readdir(dir))) {
		_cleanup_close_ int fd = -1;
		int n;

		rest = split_name(entry->d_name, &version);
		if (!rest || strcmp(rest, "ctl"))
			continue;
		pc_dp_pin_path(bpffs, entry->d_name, path);
		fd = bpf_obj_get(path);
		n = fd < 0 ? -errno : pc_dp_share_detach_all(fd, NULL, NULL);
		if (n < 0)
			t->err = n;
		else
			t->n += n;
	}
}

static int unpin_share(void *arg, const char *path, uint32_t ifindex)
{
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

int pc_dp_teardown(const char *bpffs, bool keep_maps)
{
	struct teardown t = { 0 };
	int err;

	if (!is_bpffs(bpffs))
		return 0;
	/* Links of every layout: a newer build must be able to free the interfaces of an older. */
	err = each_link(bpffs, 0, "link_", teardown_link, &t);
	if (!err)
		teardown_shared(bpffs, &t);
	if (!err && !t.err)
		err = each_link(bpffs, 0, "share_", unpin_share, NULL);
	if (err || t.err)
		return err ? err : t.err;
	if (!keep_maps) {
		err = unpin_all(bpffs, 0);
		if (err)
			return err;
		/* Stays when it holds anything that is not ours. */
		rmdir(bpffs);
	}
	return t.n;
}
