/* SPDX-License-Identifier: MIT */
/*
 * Counters of the user-space path: STATE_DIR/count.v1, mapped shared, so they survive kill -9.
 *
 *   page 0         header: magic, version, sessions, boot id
 *   PC_USER_DATA   PC_REASON_SLOTS counters of reasons
 *   then           one struct pc_count per session slot
 *
 * They count from zero after every boot, as the kernel's do; what was folded into the store before
 * stays there. A file that does not fit is replaced, never edited: readers keep a whole one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "dp/dp_int.h"

#define PC_USER_NAME	 "count.v1"
#define PC_USER_NEW	 "count.v1.new"
#define PC_USER_MAGIC	 0x3154435543504350ull
#define PC_USER_VERSION	 1
#define PC_USER_DATA	 4096
#define PC_USER_COUNTS	 (PC_USER_DATA + PC_REASON_SLOTS * sizeof(uint64_t))
#define PC_BOOT_ID_FILE	 "/proc/sys/kernel/random/boot_id"
#define PC_LOCK_TRIES	 50
#define PC_LOCK_PAUSE_NS (20 * PC_NS_PER_MS)

struct user_header {
	uint64_t magic;
	uint32_t version;
	uint32_t max_sessions;
	char boot_id[40];
};

static size_t file_size(uint32_t max_sessions)
{
	return PC_USER_COUNTS + (size_t)max_sessions * sizeof(struct pc_count);
}

static int read_boot_id(char ret_id[static 40])
{
	_cleanup_close_ int fd = open(PC_BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	memset(ret_id, 0, 40);
	if (fd < 0)
		return -errno;
	n = read(fd, ret_id, 39);
	return n < 0 ? -errno : n == 0 ? PC_ERR_SHORT : 0;
}

static int map_file(int fd, uint32_t max_sessions, int prot, struct pc_dp_user_file *file)
{
	size_t size = file_size(max_sessions);
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *base = mmap(NULL, size, prot, flags, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	file->base = base;
	file->size = size;
	file->max_sessions = max_sessions;
	file->reasons = (uint64_t *)((uint8_t *)base + PC_USER_DATA);
	file->counts = (struct pc_count *)((uint8_t *)base + PC_USER_COUNTS);
	return 0;
}

/* Header of an existing file of this boot whose size agrees. 0 or PC_ERR_VERSION. */
static int read_header(int fd, struct user_header *ret_header)
{
	struct user_header header = { 0 };
	char boot_id[40];
	struct stat st;
	int err;

	err = read_boot_id(boot_id);
	if (err)
		return err;
	if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) || fstat(fd, &st) ||
	    header.magic != PC_USER_MAGIC || header.version != PC_USER_VERSION ||
	    memcmp(header.boot_id, boot_id, sizeof(boot_id)) ||
	    st.st_size != (off_t)file_size(header.max_sessions))
		return PC_ERR_VERSION;
	*ret_header = header;
	return 0;
}

/* Every block is allocated here: a full disk is an error now, never SIGBUS while counting. */
static int create_file(int dir_fd, uint32_t max_sessions, int *ret_fd)
{
	struct user_header header = {
		.magic = PC_USER_MAGIC,
		.version = PC_USER_VERSION,
		.max_sessions = max_sessions,
	};
	_cleanup_close_ int fd = -1;
	int err;

	err = read_boot_id(header.boot_id);
	if (err)
		return err;
	fd = openat(dir_fd, PC_USER_NEW, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = -posix_fallocate(fd, 0, (off_t)file_size(max_sessions));
	if (!err && pwrite(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		err = errno ? -errno : -ENOSPC;
	if (!err && renameat(dir_fd, PC_USER_NEW, dir_fd, PC_USER_NAME))
		err = -errno;
	if (err) {
		unlinkat(dir_fd, PC_USER_NEW, 0);
		return err;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Two daemons must not count into one file. A predecessor that is just ending gets a second. */
static int lock_dir(const char *state_dir, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	if (mkdir(state_dir, 0700) && errno != EEXIST)
		return -errno;
	fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		struct timespec pause = { .tv_nsec = PC_LOCK_PAUSE_NS };

		if (errno != EWOULDBLOCK)
			return -errno;
		if (i == PC_LOCK_TRIES)
			return PC_ERR_LOCKED;
		nanosleep(&pause, NULL);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int pc_dp_user_open(const char *state_dir, uint32_t max_sessions, struct pc_dp_user_file *ret_file)
{
	struct pc_dp_user_file file = { .base = MAP_FAILED };
	_cleanup_close_ int lock = -1;
	_cleanup_close_ int fd = -1;
	struct user_header header;
	int err;

	err = lock_dir(state_dir, &lock);
	if (err)
		return err;
	fd = openat(lock, PC_USER_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd < 0 || read_header(fd, &header) || header.max_sessions != max_sessions) {
		if (fd >= 0)
			close(TAKE_FD(fd));
		err = create_file(lock, max_sessions, &fd);
		file.fresh = true;
	} else {
		/* Somebody may have copied it with holes. */
		err = -posix_fallocate(fd, 0, (off_t)file_size(max_sessions));
	}
	if (!err)
		err = map_file(fd, max_sessions, PROT_READ | PROT_WRITE, &file);
	if (err)
		return err;
	file.lock_fd = TAKE_FD(lock);
	*ret_file = file;
	return 0;
}

int pc_dp_user_open_readonly(const char *state_dir, struct pc_dp_user_file *ret_file)
{
	struct pc_dp_user_file file = { .base = MAP_FAILED, .lock_fd = -1 };
	_cleanup_close_ int fd = -1;
	char path[PC_DP_PATH_MAX];
	struct user_header header;
	int err;

	snprintf(path, sizeof(path), "%s/%s", state_dir, PC_USER_NAME);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? PC_ERR_NOT_FOUND : -errno;
	err = read_header(fd, &header);
	if (!err)
		err = map_file(fd, header.max_sessions, PROT_READ, &file);
	if (err)
		return err;
	*ret_file = file;
	return 0;
}

int pc_dp_user_blank(uint32_t max_sessions, struct pc_dp_user_file *ret_file)
{
	struct pc_dp_user_file file = { .base = MAP_FAILED, .lock_fd = -1, .fresh = true };
	int err = map_file(-1, max_sessions, PROT_READ | PROT_WRITE, &file);

	if (!err)
		*ret_file = file;
	return err;
}

void pc_dp_user_close(struct pc_dp_user_file *file)
{
	if (file->base && file->base != MAP_FAILED)
		munmap(file->base, file->size);
	if (file->lock_fd >= 0)
		close(file->lock_fd);
	*file = (struct pc_dp_user_file){ .base = MAP_FAILED, .lock_fd = -1 };
}
