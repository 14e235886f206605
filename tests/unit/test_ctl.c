/* SPDX-License-Identifier: MIT */
/* The control protocol: framing from any pieces, dispatch, bounds; and the client against it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "ctl/cli.h"
#include "ctl/ctl.h"

static int calls;

static json_t *cmd_echo(void *ctx, json_t *args)
{
	calls++;
	assert_ptr_equal(ctx, &calls);
	return json_pack("{s:O}", "args", args);
}

static json_t *cmd_fail(void *ctx, json_t *args)
{
	calls++;
	return pc_ctl_fail("no %s", "luck");
}

static json_t *cmd_big(void *ctx, json_t *args)
{
	static char text[100000];

	calls++;
	memset(text, 'x', sizeof(text) - 1);
	return json_pack("{s:s}", "text", text);
}

static json_t *cmd_null(void *ctx, json_t *args)
{
	return NULL;
}

static const struct pc_ctl_command commands[] = {
	{ "echo", cmd_echo },
	{ "fail now", cmd_fail },
	{ "big", cmd_big },
	{ "null", cmd_null },
};

static struct pc_ctl_conn *c;

static int setup(void **state)
{
	calls = 0;
	return pc_ctl_conn_new(commands, 4, &calls, &c);
}

static int teardown(void **state)
{
	pc_ctl_conn_free(c);
	return 0;
}

/* The next line of output, without its newline; "" when there is none. */
static const char *take_line(void)
{
	static char line[200000];
	size_t len;
	const void *out = pc_ctl_conn_output(c, &len);

	assert_true(len < sizeof(line));
	if (len == 0)
		return "";
	memcpy(line, out, len);
	assert_int_equal(line[len - 1], '\n');
	line[len - 1] = '\0';
	assert_int_equal(pc_ctl_conn_sent(c, len), 0);
	return line;
}

static const char *ask(const char *text)
{
	assert_int_equal(pc_ctl_conn_input(c, text, strlen(text)), 0);
	return take_line();
}

static void test_answers(void **state)
{
	assert_string_equal(ask("{\"command\":\"echo\"}\n"), "{\"args\":{}}");
	assert_string_equal(ask("{\"command\":\"echo\",\"args\":{\"a\":[1,\"x\"]}}\n"),
			    "{\"args\":{\"a\":[1,\"x\"]}}");
	assert_string_equal(ask("{\"args\":{},\"command\":\"fail now\"}\r\n"),
			    "{\"error\":\"no luck\"}");
	assert_int_equal(calls, 3);
}

static void test_refusals(void **state)
{
	static const char *const cases[][2] = {
		{ "\n", "request is not JSON" },
		{ "x\n", "request is not JSON" },
		{ "[]\n", "a request is" },
		{ "{}\n", "a request is" },
		{ "\"echo\"\n", "request is not JSON" },
		{ "{\"command\":5}\n", "a request is" },
		{ "{\"command\":\"ech\"}\n", "unknown command \\\"ech\\\"" },
		{ "{\"command\":\"echo\",\"args\":[]}\n", "\\\"args\\\" is an object" },
		{ "{\"command\":\"echo\",\"args\":null}\n", "\\\"args\\\" is an object" },
		{ "{\"command\":\"echo\",\"arg\":{}}\n", "unknown member \\\"arg\\\"" },
		{ "{\"command\":\"echo\",\"command\":\"echo\"}\n", "request is not JSON" },
		{ "{\"command\":\"echo\"} {}\n", "request is not JSON" },
		{ "{\"command\":\"\xff\"}\n", "request is not JSON" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *line = ask(cases[i][0]);

		assert_memory_equal(line, "{\"error\":\"", 10);
		if (!strstr(line, cases[i][1]))
			fail_msg("%s -> %s", cases[i][0], line);
	}
	assert_int_equal(calls, 0);
	/* An error ends nothing. */
	assert_string_equal(ask("{\"command\":\"echo\"}\n"), "{\"args\":{}}");
}

static void test_byte_by_byte(void **state)
{
	static const char text[] = "{\"command\":\"echo\",\"args\":{\"k\":1}}\n"
				   "{\"command\":\"fail now\"}\n";

	for (size_t i = 0; i + 1 < sizeof(text); i++) {
		const char *line;

		assert_int_equal(pc_ctl_conn_input(c, text + i, 1), 0);
		line = take_line();
		if (text[i] != '\n')
			assert_string_equal(line, "");
		else
			assert_string_not_equal(line, "");
	}
	assert_int_equal(calls, 2);
}

/* However many requests come at once, only one answer is in memory. */
static void test_one_at_a_time(void **state)
{
	static const char text[] = "{\"command\":\"big\"}\n";
	char many[50 * sizeof(text)] = "";
	size_t len;

	for (size_t i = 0; i < 50; i++)
		memcpy(many + i * (sizeof(text) - 1), text, sizeof(text));
	assert_int_equal(pc_ctl_conn_input(c, many, strlen(many)), 0);
	for (int i = 1; i <= 50; i++) {
		assert_int_equal(calls, i);
		assert_non_null(pc_ctl_conn_output(c, &len));
		assert_true(len > 90000 && len < 110000);
		assert_int_equal(pc_ctl_conn_sent(c, 10), 0);
		assert_int_equal(calls, i);
		assert_int_equal(pc_ctl_conn_sent(c, len - 10), 0);
	}
	assert_null(pc_ctl_conn_output(c, &len));
	assert_int_equal(len, 0);
}

static void test_longest_request(void **state)
{
	static char text[PC_CTL_MAX_REQUEST + 2];
	const void *out;
	size_t len;

	memset(text, ' ', sizeof(text));
	memcpy(text, "{\"command\":\"echo\"}", 18);
	text[PC_CTL_MAX_REQUEST] = '\n';
	assert_int_equal(pc_ctl_conn_input(c, text, PC_CTL_MAX_REQUEST + 1), 0);
	assert_string_equal(take_line(), "{\"args\":{}}");
	text[PC_CTL_MAX_REQUEST] = ' ';
	assert_int_equal(pc_ctl_conn_input(c, text, PC_CTL_MAX_REQUEST), 0);
	assert_true(pc_ctl_conn_input(c, text, 1) < 0);
	out = pc_ctl_conn_output(c, &len); /* the reason, before the end */
	assert_non_null(out);
	assert_memory_equal(out, "{\"error\":\"request longer", 24);
}

static void test_out_of_memory_closes(void **state)
{
	assert_true(pc_ctl_conn_input(c, "{\"command\":\"null\"}\n", 19) < 0);
}

/* --- the client --- */

static char path[64];

/* A daemon for one connection, in a child: @serve gets the accepted socket. */
static pid_t start_server(void (*serve)(int fd))
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/pc-ctl-test.%d", (int)getpid());
	unlink(path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	pid = fork();
	if (pid == 0) {
		int client = accept(fd, NULL, NULL);

		serve(client);
		close(client);
		_exit(0);
	}
	close(fd);
	return pid;
}

static void stop_server(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(path);
}

static void serve_framing(int fd)
{
	char buf[100];
	const void *out;
	size_t len;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		pc_ctl_conn_input(c, buf, (size_t)n);
		while ((out = pc_ctl_conn_output(c, &len)) && len) {
			n = write(fd, out, len > 777 ? 777 : len);
			if (n <= 0)
				return;
			pc_ctl_conn_sent(c, (size_t)n);
		}
	}
}

static void serve_silence(int fd)
{
	pause();
}

static void serve_close(int fd)
{
	char buf[100];

	(void)!read(fd, buf, sizeof(buf));
	(void)!write(fd, "{\"half", 6);
}

static void serve_junk(int fd)
{
	char buf[100];

	(void)!read(fd, buf, sizeof(buf));
	(void)!write(fd, "[1]\n", 4);
}

static int call_server(void (*serve)(int fd), const char *command, json_t *args, int timeout_ms,
		       json_t **ret_reply)
{
	pid_t pid = start_server(serve);
	int rc = pc_ctl_call(path, command, args, timeout_ms, ret_reply);

	stop_server(pid);
	json_decref(args);
	return rc;
}

static void test_client(void **state)
{
	json_t *reply = NULL;

	assert_int_equal(
		call_server(serve_framing, "echo", json_pack("{s:i}", "a", 5), 5000, &reply), 0);
	assert_null(pc_ctl_error(reply));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(reply, "args"), "a")),
			 5);
	json_decref(reply);
	assert_int_equal(call_server(serve_framing, "fail now", NULL, 5000, &reply), 0);
	assert_string_equal(pc_ctl_error(reply), "no luck");
	json_decref(reply);
	assert_int_equal(call_server(serve_framing, "big", NULL, 5000, &reply), 0);
	assert_int_equal(json_string_length(json_object_get(reply, "text")), 99999);
	json_decref(reply);
}

static void test_client_failures(void **state)
{
	json_t *reply = NULL;
	char long_path[200];
	pid_t pid;

	assert_int_equal(pc_ctl_call("/nonexistent/socket", "x", NULL, 100, &reply), -ENOENT);
	assert_int_equal(call_server(serve_silence, "x", NULL, 50, &reply), -ETIMEDOUT);
	assert_int_equal(call_server(serve_close, "x", NULL, 5000, &reply), PC_ERR_MALFORMED);
	assert_int_equal(call_server(serve_junk, "x", NULL, 5000, &reply), PC_ERR_MALFORMED);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(pc_ctl_call(long_path, "x", NULL, 100, &reply), -ENAMETOOLONG);
	/* A socket whose daemon was killed. */
	pid = start_server(serve_silence);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(pc_ctl_call(path, "x", NULL, 100, &reply), -ECONNREFUSED);
	assert_true(pc_cli_no_daemon(-ECONNREFUSED));
	assert_false(pc_cli_no_daemon(-EACCES));
	unlink(path);
	assert_null(reply);
}

static void test_words(void **state)
{
	static const char *const words[] = { "reload", "receipts", "tenant", "ten" };

	assert_int_equal(pc_cli_match(words, 4, "rel"), 0);
	assert_int_equal(pc_cli_match(words, 4, "re"), PC_ERR_UNKNOWN);
	assert_int_equal(pc_cli_match(words, 4, "ten"), 3);
	assert_int_equal(pc_cli_match(words, 4, "te"), PC_ERR_UNKNOWN);
	assert_int_equal(pc_cli_match(words, 4, "tena"), 2);
	assert_int_equal(pc_cli_match(words, 4, "x"), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_cli_match(words, 4, ""), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_cli_match(words, 4, "reloads"), PC_ERR_NOT_FOUND);
}

static void test_quantities(void **state)
{
	char buf[24];

	assert_string_equal(pc_cli_quantity(0, "B", buf), "0 B");
	assert_string_equal(pc_cli_quantity(999, "B", buf), "999 B");
	assert_string_equal(pc_cli_quantity(1.5e6, "bit/s", buf), "1.5 Mbit/s");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_answers),       T(test_refusals),	T(test_byte_by_byte),
		T(test_one_at_a_time), T(test_longest_request), T(test_out_of_memory_closes),
		T(test_client),	       T(test_client_failures), T(test_words),
		T(test_quantities),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
