/* SPDX-License-Identifier: MIT */
/* pcstat: shows metering, from the daemon, or from what it left behind when it is down. */
#ifndef PC_PCSTAT_PCSTAT_H
#define PC_PCSTAT_PCSTAT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <jansson.h>

#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_USAGE  2

struct pcstat {
	const char *socket;
	const char *bpffs;
	const char *state_dir;
	bool json;
	uint64_t interval_ns; /* of watch */
	bool plot;
	bool noted; /* that the daemon is down was said */
};

/* Prints one line and returns EXIT_FAILED, or EXIT_USAGE. */
int fail(const struct pcstat *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int usage_error(const struct pcstat *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- source.c --- */

/*
 * The reply to @command, from the daemon or, when none answers, from pins and store, in the same
 * shape. Consumes @args. Returns an exit status; a failure was printed.
 */
int source_get(struct pcstat *p, const char *command, json_t *args, json_t **ret_reply);

/* --- offline.c --- */

/* Reply for @command without a daemon, or an {"error"}; NULL when out of memory. */
json_t *offline_get(const struct pcstat *p, const char *command, const json_t *args);

/* --- show.c, show_rates.c: text for people; @width of the terminal in columns, 0: unlimited --- */

/* @before and @seconds: an earlier reply to take rates from; NULL: totals only. */
void show_status(FILE *f, const json_t *status, const json_t *before, double seconds,
		 unsigned int width, unsigned int height);
void show_tenants(FILE *f, const json_t *tenants, unsigned int width);
void show_tenant(FILE *f, const json_t *tenant);
/* What a tenant may use and how it stands; nothing when only counters are known. */
void show_plan(FILE *f, const json_t *tenant);
/* Rate of one tenant against time. */
void show_history(FILE *f, const json_t *history, unsigned int width);
/* What each tier may use and uses. */
void show_tiers(FILE *f, const json_t *tiers, unsigned int width);
void show_sessions(FILE *f, const json_t *sessions, unsigned int width);
void show_session(FILE *f, const json_t *session);
/* @all: also reasons that never happened. */
void show_drops(FILE *f, const json_t *drops, bool all, unsigned int width);
void show_health(FILE *f, const json_t *health);

/* --- watch.c --- */

/* Until interrupted. On a terminal in place, else one screen after the other. */
int watch(struct pcstat *p);
/* Size of the terminal on stdout; zeroes when it is none. */
void terminal_size(unsigned int *ret_width, unsigned int *ret_height);

#endif
