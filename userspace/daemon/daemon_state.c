/* SPDX-License-Identifier: MIT */
/* What the daemon keeps on disk: the state directory with its lock, the identity, the store. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/wire.h"
#include "daemon/daemon_int.h"

#define KEY_BOOT_ID    "boot_id"
#define KEY_NONCE_KEYS "nonce_keys"
#define KEY_GENERATION "dp_generation"
#define KEY_PROBE      "probe"

/* A predecessor that was just killed may take a moment to let go. */
#define LOCK_TRIES    100
#define LOCK_PAUSE_NS (20 * PC_NS_PER_MS)

#define BOOT_ID_FILE  "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN   36
/* current, previous, seconds since 1970 when `current` was made */
#define NONCE_KEYS_LEN	 40
#define NONCE_ROTATION_S 86400

static void state_path(const struct pc_daemon *d, const char *file, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s", d->config.state_dir, file);
}

/* --- directory and lock --- */

/* Makes what is missing of the path; only the last part is ours alone. */
static int make_directory(const char *path)
{
	char part[sizeof(((struct pc_config *)0)->state_dir)];
	size_t len = strlen(path);

	for (size_t i = 1; i < len; i++) {
		if (path[i] != '/')
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)i, path);
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int open_directory(struct pc_daemon *d)
{
	struct stat st;
	int r = make_directory(d->config.state_dir);

	if (r == 0 && stat(d->config.state_dir, &st) < 0)
		r = -errno;
	if (r == 0 && !S_ISDIR(st.st_mode))
		r = -ENOTDIR;
	if (r)
		pc_error("state-dir %s: %s", d->config.state_dir, pc_strerror(r));
	return r;
}

int pc_state_lock(int fd)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (i == LOCK_TRIES)
			return PC_ERR_LOCKED;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int take_lock(struct pc_daemon *d)
{
	char path[320], text[24] = "";
	_cleanup_close_ int fd = -1;
	uint64_t pid;
	ssize_t n;

	state_path(d, PC_DAEMON_LOCK_FILE, path, sizeof(path));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int r = -errno;

		pc_error("%s: %s", path, pc_strerror(r));
		return r;
	}
	if (pc_state_lock(fd)) {
		n = read(fd, text, sizeof(text) - 1);
		text[n > 0 ? n - 1 : 0] = '\0'; /* without the newline */
		if (pc_parse_u64(text, 1, INT32_MAX, &pid))
			pc_error("another pcd uses %s", d->config.state_dir);
		else
			pc_error("another pcd (pid %llu) uses %s", (unsigned long long)pid,
				 d->config.state_dir);
		return PC_ERR_LOCKED;
	}
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	/* The number is for people only; the lock itself is what counts. */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		pc_debug("%s: could not be written", path);
	d->lock_fd = TAKE_FD(fd);
	return 0;
}

/* --- identity and store --- */

/* *ret_passphrase is NULL where none is configured, else @storage over @buf. */
static int load_passphrase(const struct pc_daemon *d, char buf[static PC_PASSPHRASE_MAX + 2],
			   struct pc_passphrase *storage, const struct pc_passphrase **ret)
{
	int r = 0;

	if (d->config.identity_passphrase_file[0])
		r = pc_passphrase_load(d->config.identity_passphrase_file, buf, storage);
	if (r == 0)
		*ret = d->config.identity_passphrase_file[0] ? storage : NULL;
	return r;
}

int pc_state_save_identity(const struct pc_daemon *d, const struct pc_identity *id, bool replace)
{
	char path[320], buf[PC_PASSPHRASE_MAX + 2];
	const struct pc_passphrase *passphrase = NULL;
	struct pc_passphrase storage;
	int r = load_passphrase(d, buf, &storage, &passphrase);

	state_path(d, PC_DAEMON_IDENTITY_FILE, path, sizeof(path));
	if (r == 0 && passphrase)
		r = pc_identity_save_sealed(path, id, passphrase, replace);
	else if (r == 0)
		r = pc_identity_save(path, id, replace);
	explicit_bzero(buf, sizeof(buf));
	return r;
}

static int load_identity(struct pc_daemon *d, const char *path)
{
	const struct pc_passphrase *passphrase = NULL;
	char buf[PC_PASSPHRASE_MAX + 2];
	struct pc_passphrase storage;
	int r = load_passphrase(d, buf, &storage, &passphrase);

	if (r) {
		pc_error("%s: %s", d->config.identity_passphrase_file,
			 r == PC_ERR_REFUSED ? "others may read it, or it is somebody else's"
					     : pc_strerror(r));
		return r;
	}
	r = pc_identity_load_sealed(path, passphrase, &d->identity);
	explicit_bzero(buf, sizeof(buf));
	if (r == PC_ERR_REFUSED)
		pc_error("%s: others may read it, or it is somebody else's; chmod 600 it", path);
	else if (r == PC_ERR_LOCKED)
		pc_error("%s: sealed, and there is no identity-passphrase-file", path);
	else if (r == PC_ERR_AUTH)
		pc_error("%s: the passphrase is wrong", path);
	else if (r && r != -ENOENT)
		pc_error("%s: %s", path, pc_strerror(r));
	return r;
}

static int open_identity(struct pc_daemon *d)
{
	char path[320], peer_id[PC_PEER_ID_STRLEN];
	int r;

	state_path(d, PC_DAEMON_IDENTITY_FILE, path, sizeof(path));
	r = load_identity(d, path);
	if (r != -ENOENT)
		return r;
	r = pc_identity_generate(&d->identity);
	if (r == 0)
		r = pc_state_save_identity(d, &d->identity, false);
	if (r)
		pc_error("%s: making an identity: %s", path, pc_strerror(r));
	else
		pc_info("new identity %s in %s", pc_peer_id_format(d->identity.public_key, peer_id),
			path);
	return r;
}

static int open_store(struct pc_daemon *d)
{
	char path[320];
	int r;

	state_path(d, PC_DAEMON_STORE_FILE, path, sizeof(path));
	r = pc_store_open(path, false, &d->store);
	if (r == PC_ERR_LOCKED)
		pc_error("%s: locked by another process", path);
	else if (r == PC_ERR_VERSION)
		pc_error("%s: written by a newer pcd", path);
	else if (r)
		pc_error("%s: %s", path, pc_strerror(r));
	return r;
}

int pc_state_open(struct pc_daemon *d)
{
	int r = open_directory(d);

	if (!r)
		r = take_lock(d);
	if (!r)
		r = open_identity(d);
	return r ? r : open_store(d);
}

void pc_state_close(struct pc_daemon *d)
{
	pc_store_close(d->store);
	d->store = NULL;
	pc_identity_wipe(&d->identity);
	pc_auth_wipe(&d->nonce_keys, sizeof(d->nonce_keys));
	if (d->lock_fd >= 0)
		close(TAKE_FD(d->lock_fd));
}

/* --- whether the store works --- */

bool pc_daemon_store_usable(const struct pc_daemon *d)
{
	return d->store_error == 0;
}

static const char *store_reason(const struct pc_daemon *d, int result)
{
	return result == PC_ERR_STORE ? pc_store_error(d->store) : pc_strerror(result);
}

void pc_daemon_store_result(struct pc_daemon *d, int result, const char *doing)
{
	static struct pc_log_limit changes = { .interval_ns = 60 * PC_NS_PER_S, .burst = 6 };
	static struct pc_log_limit same = { .interval_ns = 60 * PC_NS_PER_S, .burst = 1 };
	uint64_t now = pc_clock_monotonic();
	bool change = result != d->store_error;

	d->store_error = result;
	if (result) {
		pc_log_limited(change ? &changes : &same, now, PC_LOG_ERROR,
			       "store: %s: %s; relaying goes on, new allocations are refused",
			       doing, store_reason(d, result));
	} else if (change) {
		pc_log_limited(&changes, now, PC_LOG_INFO, "store: works again");
	}
	if (change) { /* said now: again in a minute */
		same.window_start = now;
		same.used = same.burst;
	}
}

int pc_state_probe(struct pc_daemon *d)
{
	uint64_t now = pc_clock_realtime();
	int r;

	/* Every second while it fails: waiting each time would make packets wait. */
	pc_store_wait(d->store, false);
	/* An empty transaction succeeds on a full disk: write something. */
	r = pc_store_put(d->store, KEY_PROBE, &now, sizeof(now));
	pc_store_wait(d->store, true);
	return r;
}

/* --- values --- */

void pc_state_nonce_keys(struct pc_daemon *d)
{
	uint64_t now = pc_clock_realtime() / PC_NS_PER_S, made = 0;
	uint8_t buf[NONCE_KEYS_LEN];
	struct pc_nonce_keys *k = &d->nonce_keys;
	struct pc_reader r;
	struct pc_writer w;
	size_t len = 0;
	int err = pc_store_get(d->store, KEY_NONCE_KEYS, buf, sizeof(buf), &len);

	if (err == 0 && len == sizeof(buf)) {
		pc_reader_init(&r, buf, len);
		pc_read_copy(&r, k->current, sizeof(k->current));
		pc_read_copy(&r, k->previous, sizeof(k->previous));
		made = pc_read_u64(&r);
	} else {
		randombytes_buf(k->current, sizeof(k->current));
	}
	if (made == 0 || made > now || now - made >= NONCE_ROTATION_S) {
		memcpy(k->previous, k->current, sizeof(k->previous));
		randombytes_buf(k->current, sizeof(k->current));
		pc_writer_init(&w, buf, sizeof(buf));
		pc_write_bytes(&w, k->current, sizeof(k->current));
		pc_write_bytes(&w, k->previous, sizeof(k->previous));
		pc_write_u64(&w, now);
		err = pc_store_put(d->store, KEY_NONCE_KEYS, buf, w.len);
		if (err)
			pc_daemon_store_result(d, err, "keeping the nonce keys");
	}
	pc_auth_wipe(buf, sizeof(buf));
}

static int read_boot_id(char id[static BOOT_ID_LEN])
{
	_cleanup_file_ FILE *f = fopen(BOOT_ID_FILE, "re");

	return f && fread(id, 1, BOOT_ID_LEN, f) == BOOT_ID_LEN ? 0 : -EIO;
}

bool pc_state_rebooted(struct pc_daemon *d)
{
	char now[BOOT_ID_LEN], then[BOOT_ID_LEN];
	size_t len = 0;
	int r;

	if (read_boot_id(now))
		return false;
	r = pc_store_get(d->store, KEY_BOOT_ID, then, sizeof(then), &len);
	if (r == 0 && len == sizeof(now) && memcmp(now, then, sizeof(now)) == 0)
		return false;
	/* The times in the records are of the boot that ended. */
	r = pc_store_begin(d->store);
	if (r == 0) {
		r = pc_store_session_clear(d->store);
		if (r == 0)
			r = pc_store_put(d->store, KEY_BOOT_ID, now, sizeof(now));
		if (r == 0)
			r = pc_store_commit(d->store);
		else
			pc_store_rollback(d->store);
	}
	if (r)
		pc_daemon_store_result(d, r, "noting that the host was booted");
	return true;
}

uint64_t pc_state_generation(struct pc_daemon *d)
{
	uint64_t generation = 0;
	size_t len = 0;

	if (pc_store_get(d->store, KEY_GENERATION, &generation, sizeof(generation), &len) ||
	    len != sizeof(generation))
		return 0;
	return generation;
}

void pc_state_set_generation(struct pc_daemon *d, uint64_t generation)
{
	int r = pc_store_put(d->store, KEY_GENERATION, &generation, sizeof(generation));

	if (r)
		pc_daemon_store_result(d, r, "noting the generation of the counters");
}
