/* SPDX-License-Identifier: MIT */
/* pcpeer: the agent of a peer (`up`), and what is said to it. */
#ifndef PC_PCPEER_PCPEER_H
#define PC_PCPEER_PCPEER_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

#include "config.h"

#define EXIT_DONE   0
#define EXIT_FAILED 1
#define EXIT_USAGE  2
#define MAX_REPEAT  CONFIG_ALLOW

/* Options by what they say, in the order of the table in main.c. */
enum option_id {
	OPT_CONFIG,
	OPT_RELAY,
	OPT_LISTEN,
	OPT_TO,
	OPT_ALLOW,
	OPT_OFF,
	OPT_REPLACE,
	OPT_KEY_FILE,
	OPT_GRANT,
	OPT_PSK_FILE,
	OPT_COUNT
};

struct invocation {
	char socket[CONFIG_PATH];
	bool given_socket;
	bool json;
	const char *arg[2];
	const char *option[OPT_COUNT][MAX_REPEAT];
	unsigned int n_option[OPT_COUNT];
};

struct command {
	const char *object;
	const char *verb; /* NULL: the object alone */
	int least, most;  /* words behind it */
	const char *args; /* their names */
	unsigned int options;
	const char *help;
	int (*run)(const struct invocation *in); /* an exit status */
};

/* Prints one line and returns @status. */
int fail(const struct invocation *in, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Consumes @args. EXIT_DONE with *ret_reply, or prints and returns EXIT_FAILED. */
int call(const struct invocation *in, const char *command, json_t *args, json_t **ret_reply);
/* Prints @reply as JSON when asked to, else the text; consumes @reply. Returns EXIT_DONE. */
int done(const struct invocation *in, json_t *reply, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

int run_identity_show(const struct invocation *in);
int run_identity_import(const struct invocation *in);
int run_up(const struct invocation *in);
int run_connect(const struct invocation *in);
int run_expose(const struct invocation *in);
int run_trust_add(const struct invocation *in);
int run_trust_remove(const struct invocation *in);
int run_trust_list(const struct invocation *in);
int run_status(const struct invocation *in);

#endif
