/* SPDX-License-Identifier: MIT */
#include "ctl/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "ctl/report.h"

int pc_cli_match(const char *const *words, size_t n, const char *text)
{
	size_t len = strlen(text);
	int found = PC_ERR_NOT_FOUND;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], text) == 0)
			return (int)i;
		if (len && strncmp(words[i], text, len) == 0)
			found = found == PC_ERR_NOT_FOUND ? (int)i : PC_ERR_UNKNOWN;
	}
	return found;
}

bool pc_cli_no_daemon(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ENOTDIR;
}

const char *pc_cli_call_error(int rc, const char *socket_path, char *buf, size_t size)
{
	if (pc_cli_no_daemon(rc))
		snprintf(buf, size, "no pcd answers on %s", socket_path);
	else if (rc == -ETIMEDOUT)
		snprintf(buf, size, "pcd did not answer in time on %s", socket_path);
	else if (rc == PC_ERR_MALFORMED)
		snprintf(buf, size, "what answers on %s does not speak pcd's protocol",
			 socket_path);
	else
		snprintf(buf, size, "%s: %s", socket_path, pc_strerror(rc));
	return buf;
}

const char *pc_cli_quantity(double value, const char *unit, char buf[static 24])
{
	char si[16];
	size_t len = strlen(pc_format_si(value, si));

	/* "1.5 M" ends in its prefix, "12" in a digit. */
	snprintf(buf, 24, "%s%s%s", si, si[len - 1] <= '9' ? " " : "", unit);
	return buf;
}

static void say(const char *program, bool json, const char *key, const char *text)
{
	size_t size = 4 * strlen(text) + 1;
	_cleanup_free_ char *line = malloc(size);
	json_t *object;

	if (!line)
		return;
	pc_report_escape(text, line, size);
	if (!json) {
		fprintf(stderr, "%s: %s\n", program, line);
		return;
	}
	object = json_pack("{s:s}", key, line);
	if (object) {
		json_dumpf(object, stderr, 0);
		fputc('\n', stderr);
	}
	json_decref(object);
}

void pc_cli_error(const char *program, bool json, const char *text)
{
	say(program, json, "error", text);
}

void pc_cli_verror(const char *program, bool json, const char *tail, const char *fmt, va_list ap)
{
	char text[1024];
	size_t n;

	vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	snprintf(text + n, sizeof(text) - n, "%s", tail);
	pc_cli_error(program, json, text);
}

bool pc_cli_wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0)
			return true;
	}
	return false;
}

void pc_cli_warning(const char *program, bool json, const char *text)
{
	say(program, json, "warning", text);
}

void pc_cli_print_json(const json_t *object, bool compact)
{
	json_dumpf(object, stdout, compact ? JSON_COMPACT : JSON_INDENT(2));
	putchar('\n');
}
