/* SPDX-License-Identifier: MIT */
/* pcpeer OBJECT [VERB] [ARGS] [--options], everything exact or unambiguous. */
#include "pcpeer.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "ctl/cli.h"
#include "ctl/ctl.h"
#include "version.h"

static const struct {
	const char *name;
	const char *value; /* NULL: takes none */
	const char *help;
} options[OPT_COUNT] = {
	[OPT_CONFIG] = { "config", "FILE", "configuration (~/.config/pcpeer/pcpeer.conf)" },
	[OPT_RELAY] = { "relay", "ADDR:PORT/PEER", "a relay, beside those of the configuration" },
	[OPT_LISTEN] = { "listen", "ADDR:PORT", "where local clients send their datagrams" },
	[OPT_TO] = { "to", "ADDR:PORT", "where the service is" },
	[OPT_ALLOW] = { "allow", "PEER", "only this peer, instead of all that are trusted" },
	[OPT_OFF] = { "off", NULL, "end it" },
	[OPT_REPLACE] = { "replace", NULL, "give up the identity that is there" },
	[OPT_KEY_FILE] = { "key-file", "FILE", "the identity (~/.config/pcpeer/identity.key)" },
	[OPT_PSK_FILE] = { "psk-file", "PEER=FILE", "a relay's pre-shared key with this peer" },
	[OPT_GRANT] = { "grant", "FILE", "what a relay is shown with calls; one for each relay" },
};

#define BIT(o) (1u << (o))

static const struct command commands[] = {
	{ "identity", "show", 0, 0, "", BIT(OPT_CONFIG) | BIT(OPT_KEY_FILE),
	  "print peer id, did:key and DNS label; makes the key where there is none",
	  run_identity_show },
	{ "identity", "import", 1, 1, "FILE",
	  BIT(OPT_CONFIG) | BIT(OPT_KEY_FILE) | BIT(OPT_REPLACE),
	  "take the identity of a key file, also of libp2p", run_identity_import },
	{ "up", NULL, 0, 0, "",
	  BIT(OPT_CONFIG) | BIT(OPT_KEY_FILE) | BIT(OPT_RELAY) | BIT(OPT_GRANT) | BIT(OPT_PSK_FILE),
	  "run: keep sessions with the relays, forward", run_up },
	{ "connect", NULL, 2, 2, "PEER udp:PORT", BIT(OPT_LISTEN) | BIT(OPT_OFF) | BIT(OPT_GRANT),
	  "bring a service of a peer to a local address", run_connect },
	{ "expose", NULL, 1, 1, "udp:PORT", BIT(OPT_TO) | BIT(OPT_ALLOW) | BIT(OPT_OFF),
	  "let peers reach a local service", run_expose },
	{ "trust", "add", 1, 1, "PEER", BIT(OPT_CONFIG), "let a peer reach what is exposed",
	  run_trust_add },
	{ "trust", "remove", 1, 1, "PEER", BIT(OPT_CONFIG), "no longer; its flows end",
	  run_trust_remove },
	{ "trust", "list", 0, 0, "", BIT(OPT_CONFIG), "who is trusted", run_trust_list },
	{ "status", NULL, 0, 0, "", 0, "relays, peers, services", run_status },
};
#define N_COMMANDS PC_ARRAY_SIZE(commands)

/* --- messages --- */

int fail(const struct invocation *in, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pc_cli_verror("pcpeer", in->json, status == EXIT_USAGE ? "; see pcpeer help" : "", fmt, ap);
	va_end(ap);
	return status;
}

int call(const struct invocation *in, const char *command, json_t *args, json_t **ret_reply)
{
	json_t *reply = NULL;
	int rc = pc_ctl_call(in->socket, command, args, 10000, &reply);

	json_decref(args);
	if (pc_cli_no_daemon(rc))
		return fail(in, EXIT_FAILED, "no pcpeer up answers on %s", in->socket);
	if (rc < 0)
		return fail(in, EXIT_FAILED, "%s: %s", in->socket, pc_strerror(rc));
	if (pc_ctl_error(reply)) {
		fail(in, EXIT_FAILED, "%s", pc_ctl_error(reply));
		json_decref(reply);
		return EXIT_FAILED;
	}
	*ret_reply = reply;
	return EXIT_DONE;
}

int done(const struct invocation *in, json_t *reply, const char *fmt, ...)
{
	va_list ap;

	if (in->json) {
		pc_cli_print_json(reply, true);
	} else if (fmt) {
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		putchar('\n');
	}
	json_decref(reply);
	return EXIT_DONE;
}

/* --- help --- */

static void help_command(const struct command *c, bool details)
{
	char line[128];

	snprintf(line, sizeof(line), "%s%s%s%s%s", c->object, c->verb ? " " : "",
		 c->verb ? c->verb : "", c->args[0] ? " " : "", c->args);
	printf("  %-22s %s\n", line, c->help);
	for (int i = 0; details && i < OPT_COUNT; i++) {
		if (!(c->options & BIT(i)))
			continue;
		snprintf(line, sizeof(line), "--%s%s%s", options[i].name,
			 options[i].value ? " " : "", options[i].value ? options[i].value : "");
		printf("      %-24s %s\n", line, options[i].help);
	}
}

static int help(const char *object, const char *verb)
{
	printf("usage: pcpeer [-j] [-s SOCKET] OBJECT [VERB] [ARGS] [--options]\n\n");
	for (size_t i = 0; i < N_COMMANDS; i++) {
		const struct command *c = &commands[i];

		if ((object && strcmp(c->object, object) != 0) ||
		    (verb && (!c->verb || strcmp(c->verb, verb) != 0)))
			continue;
		help_command(c, object != NULL);
	}
	printf("\n  -j, --json    JSON on stdout, errors as {\"error\": TEXT} on stderr\n"
	       "  -s, --socket  control socket ($XDG_RUNTIME_DIR/pcpeer/control.sock)\n"
	       "  -V, --version print the version\n"
	       "Words and options may be shortened as long as they are unambiguous; \"help\" works "
	       "after any of them.\n");
	return EXIT_DONE;
}

/* --- words --- */

static bool is_help(const char *word)
{
	return strcmp(word, "help") == 0;
}

/* The object or, with @object, its verb that @text stands for. */
static int match(const struct invocation *in, const char *object, const char *text,
		 const char **ret_word)
{
	const char *words[N_COMMANDS];
	size_t n = 0;
	int i;

	for (size_t k = 0; k < N_COMMANDS; k++) {
		const char *word = object ? commands[k].verb : commands[k].object;

		if (!word || (object && strcmp(commands[k].object, object) != 0) ||
		    (n && strcmp(words[n - 1], word) == 0))
			continue;
		words[n++] = word;
	}
	i = pc_cli_match(words, n, text);
	if (i == PC_ERR_UNKNOWN)
		return fail(in, EXIT_USAGE, "\"%s\" is ambiguous", text);
	if (i < 0 && object)
		return fail(in, EXIT_USAGE, "%s has no verb \"%s\"", object, text);
	if (i < 0)
		return fail(in, EXIT_USAGE, "unknown object \"%s\"", text);
	*ret_word = words[i];
	return EXIT_DONE;
}

static const struct command *find(const char *object, const char *verb)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->object, object) == 0 &&
		    (verb ? c->verb && strcmp(c->verb, verb) == 0 : !c->verb))
			return c;
	}
	return NULL;
}

static int run_command(struct invocation *in, const struct command *c, char **words, int n,
		       bool want_help)
{
	int status;

	if (want_help || (n == 1 && is_help(words[0])))
		return help(c->object, c->verb);
	for (int i = 0; i < OPT_COUNT; i++) {
		if (in->n_option[i] && !(c->options & BIT(i)))
			return fail(in, EXIT_USAGE, "%s has no option --%s", c->object,
				    options[i].name);
		if (in->n_option[i] > 1 && i != OPT_RELAY && i != OPT_ALLOW && i != OPT_GRANT &&
		    i != OPT_PSK_FILE)
			return fail(in, EXIT_USAGE, "--%s is given twice", options[i].name);
	}
	if (n > c->most)
		return fail(in, EXIT_USAGE, "unexpected \"%s\"", words[c->most]);
	if (n < c->least)
		return fail(in, EXIT_USAGE, "%s%s%s needs %s", c->object, c->verb ? " " : "",
			    c->verb ? c->verb : "", c->args);
	for (int i = 0; i < n; i++)
		in->arg[i] = words[i];
	status = c->run(in);
	if (status == EXIT_DONE && (fflush(stdout) != 0 || ferror(stdout)))
		return fail(in, EXIT_FAILED, "cannot write to standard output");
	return status;
}

static int run(struct invocation *in, char **words, int n, bool want_help)
{
	const char *object, *verb;
	const struct command *c;
	int status;

	if (n == 0 && !want_help)
		return fail(in, EXIT_USAGE, "no command");
	if (n && is_help(words[0])) {
		want_help = true;
		words++;
		n--;
	}
	if (n == 0)
		return help(NULL, NULL);
	status = match(in, NULL, words[0], &object);
	if (status)
		return status;
	c = find(object, NULL);
	if (c)
		return run_command(in, c, words + 1, n - 1, want_help);
	if (n == 1 && !want_help)
		return fail(in, EXIT_USAGE, "%s needs a verb", object);
	if (n == 1 || is_help(words[1]))
		return help(object, NULL);
	status = match(in, object, words[1], &verb);
	if (status)
		return status;
	return run_command(in, find(object, verb), words + 2, n - 2, want_help);
}

/* --- options --- */

#define LONG_FIRST 256

static void fill_long(struct option *longs)
{
	for (int i = 0; i < OPT_COUNT; i++)
		longs[i] = (struct option){ options[i].name,
					    options[i].value ? required_argument : no_argument,
					    NULL, LONG_FIRST + i };
	longs[OPT_COUNT] = (struct option){ "json", no_argument, NULL, 'j' };
	longs[OPT_COUNT + 1] = (struct option){ "socket", required_argument, NULL, 's' };
	longs[OPT_COUNT + 2] = (struct option){ "version", no_argument, NULL, 'V' };
	longs[OPT_COUNT + 3] = (struct option){ "help", no_argument, NULL, 'h' };
}

int main(int argc, char **argv)
{
	struct invocation in = { .json = pc_cli_wants_json(argc, argv) };
	struct option longs[OPT_COUNT + 5] = { 0 };
	bool want_help = false;
	int o;

	if (config_default_socket(in.socket, sizeof(in.socket)) < 0)
		in.socket[0] = 0;
	fill_long(longs);
	while ((o = getopt_long(argc, argv, ":js:Vh", longs, NULL)) != -1) {
		int i = o - LONG_FIRST;

		if (i >= 0 && in.n_option[i] >= MAX_REPEAT)
			return fail(&in, EXIT_USAGE, "--%s is given too often", options[i].name);
		if (i >= 0) {
			in.option[i][in.n_option[i]++] = optarg ? optarg : "";
		} else if (o == 's') {
			in.given_socket = true;
			snprintf(in.socket, sizeof(in.socket), "%s", optarg);
		} else if (o == 'V') {
			printf("pcpeer %s\n", PC_VERSION);
			return EXIT_DONE;
		} else if (o == 'h') {
			want_help = true;
		} else if (o == ':') {
			return fail(&in, EXIT_USAGE, "%s needs a value", argv[optind - 1]);
		} else if (o == '?') {
			return fail(&in, EXIT_USAGE, "unknown or ambiguous option %s",
				    argv[optind - 1]);
		}
	}
	return run(&in, argv + optind, argc - optind, want_help);
}
