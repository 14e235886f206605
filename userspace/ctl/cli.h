/* SPDX-License-Identifier: MIT */
/* What the command line tools share: the grammar of words, and what failed calls are called. */
#ifndef PC_CTL_CLI_H
#define PC_CTL_CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

/*
 * Index of the word @text stands for: exactly one of @words, or the beginning of only one. Returns
 * PC_ERR_NOT_FOUND or PC_ERR_UNKNOWN (ambiguous).
 */
int pc_cli_match(const char *const *words, size_t n, const char *text);

/* Whether @rc of pc_ctl_call() means that no daemon listens. */
bool pc_cli_no_daemon(int rc);

/* One line about a failed pc_ctl_call(), in @buf of @size. Returns @buf. */
const char *pc_cli_call_error(int rc, const char *socket_path, char *buf, size_t size);

/* "1.5 MB", "0 bit/s": @value with its prefix and @unit. Returns @buf. */
const char *pc_cli_quantity(double value, const char *unit, char buf[static 24]);

/* One line on stderr: "PROGRAM: TEXT", or {"error": TEXT} with @json; escaped. */
void pc_cli_error(const char *program, bool json, const char *text);
/* The same of a format, @tail behind it. */
void pc_cli_verror(const char *program, bool json, const char *tail, const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));
/* The same for what is no error: {"warning": TEXT}. */
void pc_cli_warning(const char *program, bool json, const char *text);

/* Whether -j or --json is among the options: errors about options have to know, wherever it stands.
 */
bool pc_cli_wants_json(int argc, char **argv);

/* @object on stdout: one line with @compact, indented otherwise. */
void pc_cli_print_json(const json_t *object, bool compact);

#endif
