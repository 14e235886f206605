/* SPDX-License-Identifier: MIT */
/*
 * Log lines on stderr: "LEVEL text\n", with a time stamp on a terminal and a <N> priority prefix
 * when $JOURNAL_STREAM is set. Control characters and bytes above 0x7e in the text are escaped
 * (\xNN), so input cannot forge a line. Only the daemon and the tools log.
 */
#ifndef PC_BASE_LOG_H
#define PC_BASE_LOG_H

#include <stdint.h>

enum pc_log_level { PC_LOG_ERROR, PC_LOG_WARNING, PC_LOG_INFO, PC_LOG_DEBUG };

void pc_log_set_level(enum pc_log_level level);
enum pc_log_level pc_log_get_level(void);
/* "error", "warning", "info", "debug". Returns 0 or PC_ERR_UNKNOWN. */
int pc_log_parse_level(const char *text, enum pc_log_level *ret_level);

void pc_log(enum pc_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define pc_error(...)	pc_log(PC_LOG_ERROR, __VA_ARGS__)
#define pc_warning(...) pc_log(PC_LOG_WARNING, __VA_ARGS__)
#define pc_info(...)	pc_log(PC_LOG_INFO, __VA_ARGS__)
#define pc_debug(...)	pc_log(PC_LOG_DEBUG, __VA_ARGS__)

/* Allows @burst lines per @interval_ns; the first line after tells how many were left out. */
struct pc_log_limit {
	uint64_t interval_ns;
	uint32_t burst;
	uint64_t window_start;
	uint32_t used;
	uint32_t suppressed;
};
#define PC_LOG_LIMIT_INIT(per_second)                               \
	{                                                           \
		.interval_ns = 1000000000ull, .burst = (per_second) \
	}
void pc_log_limited(struct pc_log_limit *limit, uint64_t now, enum pc_log_level level,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
