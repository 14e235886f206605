/* SPDX-License-Identifier: MIT */
/* pcctl: changes things. One request to the daemon a run; a few things work without it. */
#ifndef PC_PCCTL_PCCTL_H
#define PC_PCCTL_PCCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

#include <stdio.h>

#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_USAGE  2

/* Options by what they say, in the order of the table in main.c. */
enum option_id {
	OPT_REPLACE,
	OPT_STATE_DIR,
	OPT_PASSWORD_FILE,
	OPT_TIER,
	OPT_MAX_ALLOCATIONS,
	OPT_MAX_PERMISSIONS,
	OPT_MAX_CHANNELS,
	OPT_MAX_NEW_PEERS,
	OPT_RATE,
	OPT_UP,
	OPT_DOWN,
	OPT_GUARANTEE,
	OPT_PACKETS,
	OPT_WEIGHT,
	OPT_QUOTA_DAY,
	OPT_QUOTA,
	OPT_LIFETIME,
	OPT_OFF,
	OPT_BPFFS,
	OPT_PASSPHRASE_FILE,
	OPT_SUCCESSION,
	OPT_TENANT,
	OPT_MAY_CALL,
	OPT_PSK_FILE,
	OPT_COUNT
};

struct invocation {
	const char *socket;
	bool json;
	const char *arg;	       /* the word after object and verb; NULL: none */
	const char *arg2;	       /* the one after that */
	const char *option[OPT_COUNT]; /* value, "" where there is none; NULL: not given */
};

struct command {
	const char *object;
	const char *verb; /* NULL: the object alone */
	/* Name of its word, NULL: none; in brackets: optional. Two with a blank: both needed. */
	const char *arg;
	unsigned int options; /* bits of enum option_id */
	const char *help;
	int (*run)(const struct invocation *in); /* an exit status */
};

extern const struct command commands[];
extern const size_t n_commands;

/* Prints one line and returns EXIT_FAILED. */
int fail(const struct invocation *in, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a file of credentials that is no good: EXIT_USAGE. */
int bad_file(const struct invocation *in, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for what the user typed: EXIT_USAGE. */
int usage_error(const struct invocation *in, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Sends a command; consumes @args. Returns EXIT_DONE with *ret_reply, or prints and returns
 * EXIT_FAILED.
 */
int call(const struct invocation *in, const char *command, json_t *args, json_t **ret_reply);
/* The same; where no daemon listens: EXIT_DONE with *ret_reply NULL. */
int call_or_none(const struct invocation *in, const char *command, json_t *args,
		 json_t **ret_reply);
/* Prints @reply as JSON when asked to, else the text; consumes @reply. Returns EXIT_DONE. */
int done(const struct invocation *in, json_t *reply, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define PASSWORD_MAX 512
/*
 * One line of @file ("-": standard input) without its end. Never from the command line: others
 * could read it there. Returns EXIT_DONE, or prints and returns EXIT_USAGE.
 */
int read_password(const struct invocation *in, const char *file,
		  char ret_password[static PASSWORD_MAX + 2]);

int run_identity_show(const struct invocation *in);
int run_identity_init(const struct invocation *in);
int run_identity_import(const struct invocation *in);
int run_identity_verify(const struct invocation *in);

int run_tenant_add(const struct invocation *in);
int run_tenant_set(const struct invocation *in);
int run_tenant_del(const struct invocation *in);
int run_tenant_list(const struct invocation *in);

int run_peer_add(const struct invocation *in);
int run_peer_remove(const struct invocation *in);
int run_peer_list(const struct invocation *in);

int run_credential(const struct invocation *in);
int run_reload(const struct invocation *in);
int run_drain(const struct invocation *in);
int run_shutdown(const struct invocation *in);
int run_datapath_off(const struct invocation *in);

#endif
