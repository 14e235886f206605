/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"

static int saved_stderr, read_end;
static char got[8192];

/* Between these two, lines for stderr go to a pipe. */
static void capture_start(void)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	close(fds[1]);
	read_end = fds[0];
}

static const char *capture_end(void)
{
	size_t len = 0;
	ssize_t n;

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	while ((n = read(read_end, got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	close(read_end);
	return got;
}

static int set_up(void **state)
{
	unsetenv("JOURNAL_STREAM");
	pc_log_set_level(PC_LOG_INFO);
	return 0;
}

static void test_plain_line(void **state)
{
	capture_start();
	pc_warning("port %d in use", 3478);
	pc_error("50%% %s", "done");
	assert_string_equal(capture_end(), "warning port 3478 in use\nerror 50% done\n");
}

static void test_input_cannot_forge_a_line(void **state)
{
	capture_start();
	pc_info("user %s", "bob\nerror all is lost\r\x1b[31m\x7f\xc3\xa4\ttab~");
	assert_string_equal(
		capture_end(),
		"info user bob\\x0aerror all is lost\\x0d\\x1b[31m\\x7f\\xc3\\xa4\\x09tab~\n");
}

static void test_long_line_stays_one_line(void **state)
{
	static char text[5000];
	const char *out;
	size_t len;

	memset(text, '\n', sizeof(text) - 1);
	capture_start();
	pc_info("%s", text);
	out = capture_end();
	len = strlen(out);
	assert_ptr_equal(strchr(out, '\n'), out + len - 1);
	assert_true(len > 1000);
}

static void test_levels(void **state)
{
	enum pc_log_level level = PC_LOG_INFO;

	assert_int_equal(pc_log_parse_level("debug", &level), 0);
	assert_int_equal(level, PC_LOG_DEBUG);
	assert_int_equal(pc_log_parse_level("loud", &level), PC_ERR_UNKNOWN);
	assert_int_equal(level, PC_LOG_DEBUG);
	capture_start();
	pc_debug("hidden");
	pc_log_set_level(PC_LOG_DEBUG);
	pc_debug("shown");
	pc_log_set_level(PC_LOG_ERROR);
	pc_warning("hidden");
	assert_string_equal(capture_end(), "debug shown\n");
	assert_int_equal(pc_log_get_level(), PC_LOG_ERROR);
}

static void test_journal_prefix(void **state)
{
	setenv("JOURNAL_STREAM", "8:1", 1);
	capture_start();
	pc_error("a");
	pc_info("b");
	assert_string_equal(capture_end(), "<3>error a\n<6>info b\n");
}

static void test_keeps_errno(void **state)
{
	capture_start();
	errno = ENOENT;
	pc_info("text");
	assert_int_equal(errno, ENOENT);
	capture_end();
}

static void test_limit(void **state)
{
	struct pc_log_limit limit = PC_LOG_LIMIT_INIT(2);
	const uint64_t second = 1000000000ull, start = 50 * second;

	capture_start();
	for (int i = 0; i < 10; i++)
		pc_log_limited(&limit, start + i, PC_LOG_INFO, "n %d", i);
	pc_log_limited(&limit, start + second - 1, PC_LOG_INFO, "still too soon");
	pc_log_limited(&limit, start + second, PC_LOG_INFO, "later");
	pc_log_limited(&limit, start + second, PC_LOG_INFO, "again");
	assert_string_equal(capture_end(), "info n 0\ninfo n 1\n"
					   "info later (9 similar lines left out)\ninfo again\n");
}

static void test_error_texts(void **state)
{
	assert_string_equal(pc_strerror(0), "success");
	assert_string_equal(pc_strerror(-ENOENT), "No such file or directory");
	for (int err = PC_ERR_SHORT; err >= PC_ERR_STATE; err--) {
		assert_non_null(pc_strerror(err));
		assert_true(strncmp(pc_strerror(err), "error ", 6) != 0);
	}
	assert_string_equal(pc_strerror(PC_ERR_MALFORMED), "malformed");
	assert_string_equal(pc_strerror(PC_ERR_STATE), "not possible in this state");
	assert_string_equal(pc_strerror(PC_ERR_STATE - 1), "error -1015");
	assert_string_equal(pc_strerror(-1000), "error -1000");
	assert_string_equal(pc_strerror(3), "error 3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_plain_line, set_up),
		cmocka_unit_test_setup(test_input_cannot_forge_a_line, set_up),
		cmocka_unit_test_setup(test_long_line_stays_one_line, set_up),
		cmocka_unit_test_setup(test_levels, set_up),
		cmocka_unit_test_setup(test_journal_prefix, set_up),
		cmocka_unit_test_setup(test_keeps_errno, set_up),
		cmocka_unit_test_setup(test_limit, set_up),
		cmocka_unit_test_setup(test_error_texts, set_up),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
