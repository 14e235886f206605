/* SPDX-License-Identifier: MIT */
/* Failures of the kernel half in one line for people. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/err.h"
#include "dp/dp_int.h"

#define PC_LIBBPF_PREFIX "libbpf: "

static __thread bool capturing;
static __thread bool captured_log; /* the verifier's own words beat what libbpf says about them */
static __thread char captured[120];

static bool has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* The verifier's last line before its statistics says what it did not like. */
static void keep_log_line(const char *log)
{
	while (*log) {
		int len = (int)strcspn(log, "\n");

		if (len && !has_prefix(log, "processed ") &&
		    !has_prefix(log, "verification time") && !has_prefix(log, "stack depth") &&
		    !has_prefix(log, "-- END") &&
		    !memmem(log, (size_t)len, "-- BEGIN", strlen("-- BEGIN"))) {
			snprintf(captured, sizeof(captured), "%.*s", len, log);
			captured_log = true;
		}
		log += len;
		log += *log == '\n';
	}
}

static int capture_line(enum libbpf_print_level level, const char *fmt, va_list args)
{
	_cleanup_free_ char *text = NULL;
	const char *line;

	if (!capturing || level != LIBBPF_WARN || vasprintf(&text, fmt, args) < 0)
		return 0;
	if (strstr(text, "BEGIN PROG LOAD LOG")) {
		keep_log_line(text);
		return 0;
	}
	line = has_prefix(text, PC_LIBBPF_PREFIX) ? text + strlen(PC_LIBBPF_PREFIX) : text;
	if (captured_log || has_prefix(line, "failed to load object") ||
	    (captured[0] && has_prefix(line, "failed to")))
		return 0;
	snprintf(captured, sizeof(captured), "%.*s", (int)strcspn(line, "\n"), line);
	return 0;
}

void pc_dp_capture_begin(void)
{
	captured[0] = 0;
	captured_log = false;
	capturing = true;
	libbpf_set_print(capture_line);
}

const char *pc_dp_capture_end(void)
{
	capturing = false;
	return captured;
}

int pc_dp_fail(struct pc_dp *dp, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(dp->status.reason, sizeof(dp->status.reason), fmt, args);
	va_end(args);
	dp->status.kernel = false;
	dp->status.kernel_error = err;
	return err;
}

static const char *kernel_release(char *buf, size_t size)
{
	struct utsname uts;

	snprintf(buf, size, "%.*s", (int)size - 1, uname(&uts) ? "unknown" : uts.release);
	return buf;
}

int pc_dp_fail_step(struct pc_dp *dp, int err, const char *step, const char *detail)
{
	char release[32];
	const char *sep = detail[0] ? ": " : "";

	switch (err) {
	case -EPERM:
	case -EACCES:
		/* -EACCES is also how the verifier refuses; then it left a line. */
		if (err == -EACCES && captured_log)
			break;
		return pc_dp_fail(dp, err,
				  "no rights to %s: needs root, or CAP_BPF, CAP_NET_ADMIN and "
				  "CAP_SYS_ADMIN",
				  step);
	case -ENOSYS:
		return pc_dp_fail(dp, err, "this kernel is built without BPF (CONFIG_BPF_SYSCALL)");
	case -ENODEV:
		return pc_dp_fail(dp, err, "this kernel has no bpf file system to %s", step);
	case PC_ERR_NOT_FOUND:
		return pc_dp_fail(dp, err,
				  "cannot %s: the object has not the maps, program and "
				  "constants of this build",
				  step);
	case -ENOMEM:
	case -E2BIG:
		if (err == -E2BIG && captured_log)
			break;
		return pc_dp_fail(dp, err, "cannot %s for %u sessions (%s): lower max-sessions",
				  step, dp->max_sessions, pc_strerror(err));
	case -EINVAL:
	case -ENOTSUP:
		break;
	default:
		return pc_dp_fail(dp, err, "cannot %s: %s%s%s", step, pc_strerror(err), sep,
				  detail);
	}
	return pc_dp_fail(dp, err, "Linux %s refuses to %s (5.11 or newer is needed)%s%s",
			  kernel_release(release, sizeof(release)), step, sep, detail);
}
