/* SPDX-License-Identifier: MIT */
#include "daemon/priv.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"

struct account {
	uid_t uid;
	gid_t gid;
};

static void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int find_account(const char *user, struct account *ret, char *ret_error, size_t error_size)
{
	struct passwd pw, *found = NULL;
	char buf[4096];
	int err = getpwnam_r(user, &pw, buf, sizeof(buf), &found);

	if (!found) {
		if (err)
			snprintf(ret_error, error_size, "user %s: %s", user, pc_strerror(-err));
		else
			snprintf(ret_error, error_size,
				 "user %s does not exist; create it (useradd --system %s) or "
				 "change [node] user",
				 user, user);
		return err ? -err : PC_ERR_NOT_FOUND;
	}
	ret->uid = pw.pw_uid;
	ret->gid = pw.pw_gid;
	return 0;
}

static int give(int dir_fd, const struct account *a)
{
	_cleanup_close_ int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	PC_CLEANUP(cleanup_dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!d)
		return -errno;
	TAKE_FD(fd);
	while ((entry = readdir(d))) {
		if (strcmp(entry->d_name, "..") == 0)
			continue;
		if (fchownat(dirfd(d), entry->d_name, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) &&
		    errno != ENOENT)
			return -errno;
	}
	return 0;
}

int pc_priv_give(const char *user, const char *dir, char *ret_error, size_t error_size)
{
	_cleanup_close_ int fd = -1;
	struct account a;
	int err = find_account(user, &a, ret_error, error_size);

	if (err)
		return err;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = fd < 0 ? -errno : give(fd, &a);
	if (err)
		snprintf(ret_error, error_size, "cannot give %s to user %s: %s", dir, user,
			 pc_strerror(err));
	return err;
}

static const unsigned int KEEP[] = {
	CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_BPF, CAP_PERFMON,
};

static int change_user(const struct account *a)
{
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < PC_ARRAY_SIZE(KEEP); i++) {
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, KEEP[i]))
			return -EINVAL;
	}
	if (capng_change_id((int)a->uid, (int)a->gid, CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING))
		return -EPERM;
	return 0;
}

int pc_priv_drop(const char *user, const char *state_dir, char *ret_error, size_t error_size)
{
	struct account a;
	int err = find_account(user, &a, ret_error, error_size);

	if (err)
		return err;
	err = pc_priv_give(user, state_dir, ret_error, error_size);
	if (err)
		return err;
	err = change_user(&a);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	if (err)
		snprintf(ret_error, error_size, "cannot become user %s: %s", user,
			 pc_strerror(err));
	return err;
}
