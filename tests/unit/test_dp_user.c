/* SPDX-License-Identifier: MIT */
/* Counters of the user-space path: the file that outlives the daemon. No kernel half here. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "dp/dp.h"

#define SESSIONS   100
#define PAGE	   4096
#define FILE_SIZE  (PAGE + PC_REASON_SLOTS * 8 + SESSIONS * sizeof(struct pc_count))
#define BOOT_ID_AT 16

static char dir[64];
static char state[80];
static char file[96];

static int setup(void **ctx)
{
	snprintf(dir, sizeof(dir), "/tmp/pc-dp-user-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(state, sizeof(state), "%s/state", dir);
	snprintf(file, sizeof(file), "%s/count.v1", state);
	return 0;
}

static int teardown(void **ctx)
{
	char leases[sizeof(state) + 16];

	snprintf(leases, sizeof(leases), "%s/lease.v1", state);
	unlink(leases);
	unlink(file);
	rmdir(state);
	return rmdir(dir);
}

static int try_open(uint32_t sessions, struct pc_dp **ret_dp)
{
	struct pc_dp_config config = {
		.bpffs = "/nonexistent/bpf/pcd",
		.state_dir = state,
		.max_sessions = sessions,
		.max_tenants = 16,
	};

	return pc_dp_open(&config, ret_dp);
}

static struct pc_dp *open_dp(uint32_t sessions, bool expect_new)
{
	struct pc_dp_status status;
	struct pc_dp *dp = NULL;

	assert_int_equal(try_open(sessions, &dp), 0);
	pc_dp_get_status(dp, &status);
	assert_int_equal(status.user_counters_new, expect_new);
	assert_false(status.kernel);
	assert_int_equal(status.kernel_error, 0);
	return dp;
}

/* A file with 7 packets in the first and last slot and 9 for a reason. */
static void make_counts(void)
{
	struct pc_dp *dp = open_dp(SESSIONS, true);

	pc_dp_count_user(dp)[0].up.packets = 7;
	pc_dp_count_user(dp)[SESSIONS - 1].drops_credit = 7;
	pc_dp_reasons_user(dp)[PC_REASON_SLOTS - 1] = 9;
	pc_dp_close(dp);
}

static void expect_zero(struct pc_dp *dp)
{
	for (uint32_t i = 0; i < pc_dp_max_sessions(dp); i++) {
		assert_int_equal(pc_dp_count_user(dp)[i].up.packets, 0);
		assert_int_equal(pc_dp_count_user(dp)[i].drops_credit, 0);
	}
	for (uint32_t i = 0; i < PC_REASON_SLOTS; i++)
		assert_int_equal(pc_dp_reasons_user(dp)[i], 0);
	pc_dp_close(dp);
}

static void test_survives(void **ctx)
{
	struct stat st;
	struct pc_dp *dp;

	make_counts();
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, FILE_SIZE);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* No holes: nothing is left to be allocated while counting. */
	assert_true((uint64_t)st.st_blocks * 512 >= FILE_SIZE);
	dp = open_dp(SESSIONS, false);
	assert_int_equal(pc_dp_count_user(dp)[0].up.packets, 7);
	assert_int_equal(pc_dp_count_user(dp)[SESSIONS - 1].drops_credit, 7);
	assert_int_equal(pc_dp_reasons_user(dp)[PC_REASON_SLOTS - 1], 9);
	pc_dp_close(dp);
}

static void test_survives_kill(void **ctx)
{
	pid_t pid = fork();
	struct pc_dp *dp;
	int status;

	if (!pid) {
		if (try_open(SESSIONS, &dp))
			_exit(1);
		for (int i = 0; i < 1000; i++)
			pc_dp_count_user(dp)[3].down.wire_bytes += 10;
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	dp = open_dp(SESSIONS, false);
	assert_int_equal(pc_dp_count_user(dp)[3].down.wire_bytes, 10000);
	pc_dp_close(dp);
}

static void test_other_boot(void **ctx)
{
	_cleanup_close_ int fd = -1;

	make_counts();
	fd = open(file, O_RDWR);
	assert_int_equal(pwrite(fd, "x", 1, BOOT_ID_AT), 1);
	expect_zero(open_dp(SESSIONS, true));
	expect_zero(open_dp(SESSIONS, false));
}

static void test_other_size(void **ctx)
{
	make_counts();
	expect_zero(open_dp(SESSIONS + 1, true));
	expect_zero(open_dp(SESSIONS, true));
}

static void test_truncated(void **ctx)
{
	static const off_t sizes[] = { 0, 10, PAGE, PAGE + 100, FILE_SIZE - 1, FILE_SIZE + 1 };

	for (size_t i = 0; i < PC_ARRAY_SIZE(sizes); i++) {
		if (i == 0)
			make_counts();
		assert_int_equal(truncate(file, sizes[i]), 0);
		expect_zero(open_dp(SESSIONS, true));
	}
}

static void test_locked(void **ctx)
{
	struct pc_dp *first = open_dp(SESSIONS, true), *second;

	assert_int_equal(try_open(SESSIONS, &second), PC_ERR_LOCKED);
	pc_dp_close(first);
	pc_dp_close(open_dp(SESSIONS, false));
}

/* A limit stands for a full disk: what does not fit is an error at once, and leaves nothing. */
static void test_no_room(void **ctx)
{
	struct rlimit before, small;
	struct stat st;
	struct pc_dp *dp;

	make_counts();
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){ FILE_SIZE + 100, before.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(try_open(100 * SESSIONS, &dp), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, FILE_SIZE);
	dp = open_dp(SESSIONS, false);
	assert_int_equal(pc_dp_count_user(dp)[0].up.packets, 7);
	pc_dp_close(dp);
}

static void test_bad_place(void **ctx)
{
	struct pc_dp *dp;

	assert_int_equal(symlink("/dev/null", state), 0);
	assert_int_equal(try_open(SESSIONS, &dp), -ENOTDIR);
	unlink(state);
	assert_int_equal(try_open(0, &dp), PC_ERR_RANGE);
	/* Never through a link somebody else made. */
	pc_dp_close(open_dp(SESSIONS, true));
	unlink(file);
	assert_int_equal(symlink("/etc/passwd", file), 0);
	assert_int_equal(try_open(SESSIONS, &dp), -ELOOP);
}

static void test_readonly(void **ctx)
{
	struct pc_dp_status status;
	struct pc_dp *dp;

	make_counts();
	assert_int_equal(pc_dp_open_readonly("/nonexistent/pcd", state, &dp), 0);
	pc_dp_get_status(dp, &status);
	assert_false(status.kernel);
	assert_false(status.user_counters_new);
	assert_int_equal(pc_dp_max_sessions(dp), SESSIONS);
	assert_int_equal(pc_dp_count_user(dp)[0].up.packets, 7);
	pc_dp_close(dp);
	unlink(file);
	assert_int_equal(pc_dp_open_readonly("/nonexistent/pcd", state, &dp), 0);
	assert_int_equal(pc_dp_max_sessions(dp), 0);
	assert_non_null(pc_dp_count_user(dp));
	assert_int_equal(pc_dp_reasons_user(dp)[0], 0);
	pc_dp_close(dp);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_survives),   T(test_survives_kill), T(test_other_boot),
		T(test_other_size), T(test_truncated),	   T(test_locked),
		T(test_no_room),    T(test_bad_place),	   T(test_readonly),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
