/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"

#define TEXT_MAX   1024
#define PREFIX_MAX 64

static enum pc_log_level threshold = PC_LOG_INFO;

static const struct {
	const char *name;
	int priority; /* of syslog(3), as the journal reads it */
} levels[] = {
	[PC_LOG_ERROR] = { "error", 3 },
	[PC_LOG_WARNING] = { "warning", 4 },
	[PC_LOG_INFO] = { "info", 6 },
	[PC_LOG_DEBUG] = { "debug", 7 },
};

void pc_log_set_level(enum pc_log_level level)
{
	threshold = level;
}

enum pc_log_level pc_log_get_level(void)
{
	return threshold;
}

int pc_log_parse_level(const char *text, enum pc_log_level *ret_level)
{
	for (size_t i = 0; i < PC_ARRAY_SIZE(levels); i++) {
		if (strcmp(text, levels[i].name) == 0) {
			*ret_level = (enum pc_log_level)i;
			return 0;
		}
	}
	return PC_ERR_UNKNOWN;
}

/* @out has room for four bytes per byte of @text. Returns the length written. */
static size_t escape(char *out, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c >= 0x20 && *c <= 0x7e) {
			out[n++] = (char)*c;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = hex[*c >> 4];
		out[n++] = hex[*c & 15];
	}
	return n;
}

static size_t write_prefix(char *out, size_t size, enum pc_log_level level)
{
	const char *journal = getenv("JOURNAL_STREAM");
	char stamp[32] = "";
	char priority[8] = "";
	struct tm tm;
	time_t now;
	int n;

	if (journal && *journal) {
		snprintf(priority, sizeof(priority), "<%d>", levels[level].priority);
	} else if (isatty(STDERR_FILENO)) {
		now = time(NULL);
		if (localtime_r(&now, &tm))
			strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S ", &tm);
	}
	n = snprintf(out, size, "%s%s%s ", priority, stamp, levels[level].name);
	return n < 0 ? 0 : (size_t)n;
}

/* One write per line, so that lines of several processes do not mix. */
static void emit(enum pc_log_level level, const char *text)
{
	char line[PREFIX_MAX + 4 * TEXT_MAX + 1];
	size_t len, done = 0;
	ssize_t n;

	len = write_prefix(line, PREFIX_MAX, level);
	len += escape(line + len, text);
	line[len++] = '\n';
	while (done < len) {
		n = write(STDERR_FILENO, line + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

void pc_log(enum pc_log_level level, const char *fmt, ...)
{
	char text[TEXT_MAX];
	int saved = errno;
	va_list ap;

	if (level > threshold)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	emit(level, text);
	errno = saved;
}

/* Returns whether a line may be written now. */
static bool limit_pass(struct pc_log_limit *limit, uint64_t now)
{
	if (now - limit->window_start >= limit->interval_ns) {
		limit->window_start = now;
		limit->used = 0;
	}
	if (limit->used >= limit->burst) {
		limit->suppressed++;
		return false;
	}
	limit->used++;
	return true;
}

void pc_log_limited(struct pc_log_limit *limit, uint64_t now, enum pc_log_level level,
		    const char *fmt, ...)
{
	char text[TEXT_MAX];
	int saved = errno;
	size_t len;
	va_list ap;

	if (level > threshold || !limit_pass(limit, now))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (limit->suppressed) {
		len = strlen(text);
		snprintf(text + len, sizeof(text) - len, " (%u similar lines left out)",
			 limit->suppressed);
		limit->suppressed = 0;
	}
	emit(level, text);
	errno = saved;
}
