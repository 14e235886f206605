/* SPDX-License-Identifier: MIT */
/* The grammar: pcctl OBJECT VERB [ARG] [--options], everything exact or unambiguous. */
#include "pcctl.h"

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

#define MAX_WORDS 4

static const struct {
	const char *name;
	const char *value; /* NULL: takes none */
	const char *help;
} options[OPT_COUNT] = {
	[OPT_REPLACE] = { "replace", NULL, "give up the identity that is there" },
	[OPT_STATE_DIR] = { "state-dir", "DIR", "state of a stopped pcd (/var/lib/pcd)" },
	[OPT_PASSWORD_FILE] = { "password-file", "FILE", "password in the first line; -: stdin" },
	[OPT_TIER] = { "tier", "NAME", "owner, paid, free or one of the configuration (paid)" },
	[OPT_MAX_ALLOCATIONS] = { "max-allocations", "N", "sessions at a time (1024)" },
	[OPT_MAX_PERMISSIONS] = { "max-permissions", "N", "permissions per session (128)" },
	[OPT_MAX_CHANNELS] = { "max-channels", "N", "channels per session (128)" },
	[OPT_MAX_NEW_PEERS] = { "max-new-peers", "N", "new peer addresses per second (100)" },
	[OPT_RATE] = { "rate", "RATE", "bit/s each way; 20M, none (none)" },
	[OPT_UP] = { "up", "RATE", "bit/s from the tenant alone" },
	[OPT_DOWN] = { "down", "RATE", "bit/s to the tenant alone" },
	[OPT_GUARANTEE] = { "guarantee", "RATE", "bit/s each way that others cannot take (none)" },
	[OPT_PACKETS] = { "packets", "N", "packets per second each way (none)" },
	[OPT_WEIGHT] = { "weight", "N", "share among tenants of its tier, 1 to 1000 (1)" },
	[OPT_QUOTA_DAY] = { "quota-day", "SIZE", "bytes a day, UTC; 10G, none (none)" },
	[OPT_QUOTA] = { "quota", "SIZE", "bytes a month, UTC (none)" },
	[OPT_LIFETIME] = { "lifetime", "TIME", "seconds, or 90s 30m 12h 7d (24h)" },
	[OPT_OFF] = { "off", NULL, "take new sessions again" },
	[OPT_PASSPHRASE_FILE] = { "passphrase-file", "FILE",
				  "the key file is sealed; passphrase in the first line; -: "
				  "stdin" },
	[OPT_SUCCESSION] = { "succession", "FILE",
			     "with --replace: write a record that the new key follows the old" },
	[OPT_TENANT] = { "tenant", "NAME", "whose account the peer is on" },
	[OPT_MAY_CALL] = { "may-call", "NAMES",
			   "peers of other tenants it may ask for; a,b or * (none)" },
	[OPT_PSK_FILE] = { "psk-file", "FILE", "pre-shared key of its sessions (none)" },
	[OPT_BPFFS] = { "bpffs", "DIR", "pins of a stopped pcd (/sys/fs/bpf/pcd)" },
};

#define BIT(o) (1u << (o))
#define IDENTITY_OPTIONS \
	(BIT(OPT_STATE_DIR) | BIT(OPT_REPLACE) | BIT(OPT_PASSPHRASE_FILE) | BIT(OPT_SUCCESSION))
#define TENANT_OPTIONS                                                                         \
	(BIT(OPT_PASSWORD_FILE) | BIT(OPT_TIER) | BIT(OPT_MAX_ALLOCATIONS) |                   \
	 BIT(OPT_MAX_PERMISSIONS) | BIT(OPT_MAX_CHANNELS) | BIT(OPT_MAX_NEW_PEERS) |           \
	 BIT(OPT_RATE) | BIT(OPT_UP) | BIT(OPT_DOWN) | BIT(OPT_GUARANTEE) | BIT(OPT_PACKETS) | \
	 BIT(OPT_WEIGHT) | BIT(OPT_QUOTA_DAY) | BIT(OPT_QUOTA))

const struct command commands[] = {
	{ "identity", "show", "[ID]", BIT(OPT_STATE_DIR), "print peer id, did:key and DNS label",
	  run_identity_show },
	{ "identity", "init", NULL, IDENTITY_OPTIONS, "make a new identity", run_identity_init },
	{ "identity", "import", "FILE", IDENTITY_OPTIONS,
	  "take the identity of a key file, also of libp2p", run_identity_import },
	{ "identity", "verify", "FILE", 0, "check a record of succession", run_identity_verify },
	{ "tenant", "add", "NAME", TENANT_OPTIONS, "add a tenant", run_tenant_add },
	{ "tenant", "set", "NAME", TENANT_OPTIONS, "change a tenant", run_tenant_set },
	{ "tenant", "del", "NAME", 0, "delete a tenant and end its sessions", run_tenant_del },
	{ "tenant", "list", "[NAME]", 0, "show tenants and their traffic", run_tenant_list },
	{ "peer", "add", "NAME IDENTITY", BIT(OPT_TENANT) | BIT(OPT_MAY_CALL) | BIT(OPT_PSK_FILE),
	  "let a native peer have sessions here", run_peer_add },
	{ "peer", "remove", "NAME", 0, "end its session and its pipes, and refuse it",
	  run_peer_remove },
	{ "peer", "list", "[NAME]", 0, "show native peers and where they are", run_peer_list },
	{ "credential", NULL, "NAME", BIT(OPT_LIFETIME),
	  "print a time-limited TURN credential of a tenant", run_credential },
	{ "reload", NULL, NULL, 0, "read the configuration again", run_reload },
	{ "drain", NULL, NULL, BIT(OPT_OFF), "refuse new sessions, keep those that are there",
	  run_drain },
	{ "shutdown", NULL, NULL, BIT(OPT_STATE_DIR) | BIT(OPT_BPFFS),
	  "stop pcd and take the data path down", run_shutdown },
	{ "datapath", "off", NULL, BIT(OPT_BPFFS),
	  "take the kernel program off every interface at once", run_datapath_off },
};
const size_t n_commands = PC_ARRAY_SIZE(commands);

/* --- messages --- */

int fail(const struct invocation *in, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pc_cli_verror("pcctl", in->json, "", fmt, ap);
	va_end(ap);
	return EXIT_FAILED;
}

int bad_file(const struct invocation *in, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pc_cli_verror("pcctl", in->json, "", fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

int usage_error(const struct invocation *in, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pc_cli_verror("pcctl", in->json, "; see pcctl help", fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

int call_or_none(const struct invocation *in, const char *command, json_t *args, json_t **ret_reply)
{
	json_t *reply = NULL;
	char text[512];
	int rc = pc_ctl_call(in->socket, command, args, 15000, &reply);

	json_decref(args);
	*ret_reply = NULL;
	if (pc_cli_no_daemon(rc))
		return EXIT_DONE;
	if (rc < 0)
		return fail(in, "%s", pc_cli_call_error(rc, in->socket, text, sizeof(text)));
	if (pc_ctl_error(reply)) {
		rc = fail(in, "%s", pc_ctl_error(reply));
		json_decref(reply);
		return rc;
	}
	*ret_reply = reply;
	return EXIT_DONE;
}

int call(const struct invocation *in, const char *command, json_t *args, json_t **ret_reply)
{
	int status = call_or_none(in, command, args, ret_reply);

	if (status == EXIT_DONE && !*ret_reply)
		return fail(in, "no pcd answers on %s", in->socket);
	return status;
}

int done(const struct invocation *in, json_t *reply, const char *fmt, ...)
{
	va_list ap;

	if (in->json) {
		pc_cli_print_json(reply, true);
	} else {
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
		 c->verb ? c->verb : "", c->arg ? " " : "", c->arg ? c->arg : "");
	printf("  %-22s %s\n", line, c->help);
	for (int i = 0; details && i < OPT_COUNT; i++) {
		if (!(c->options & BIT(i)))
			continue;
		snprintf(line, sizeof(line), "--%s%s%s", options[i].name,
			 options[i].value ? " " : "", options[i].value ? options[i].value : "");
		printf("      %-22s %s\n", line, options[i].help);
	}
}

/* All commands, or those of one object, or one of them. */
static int help(const char *object, const char *verb)
{
	printf("usage: pcctl [-j] [-s SOCKET] OBJECT VERB [ARG] [--options]\n\n");
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		if (object && strcmp(c->object, object) != 0)
			continue;
		if (verb && (!c->verb || strcmp(c->verb, verb) != 0))
			continue;
		help_command(c, object != NULL);
	}
	printf("\n  -j, --json    JSON on stdout, errors as {\"error\": TEXT} on stderr\n"
	       "  -s, --socket  control socket (%s)\n"
	       "  -V, --version print the version\n"
	       "Words and options may be shortened as long as they are unambiguous; \"help\" works "
	       "after any of them.\n",
	       PC_CTL_DEFAULT_SOCKET);
	return EXIT_DONE;
}

/* --- words --- */

/* Distinct objects, or verbs of @object (NULL for none), in the order of the table. */
static size_t list_words(const char *object, const char *words[static PC_ARRAY_SIZE(commands)])
{
	size_t n = 0;

	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];
		const char *word = object ? c->verb : c->object;

		if (!word || (object && strcmp(c->object, object) != 0))
			continue;
		if (n && strcmp(words[n - 1], word) == 0)
			continue;
		words[n++] = word;
	}
	return n;
}

static const struct command *find_command(const char *object, const char *verb)
{
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->object, object) == 0 &&
		    (verb ? c->verb && strcmp(c->verb, verb) == 0 : !c->verb))
			return c;
	}
	return NULL;
}

static int match_word(const struct invocation *in, const char *object, const char *text,
		      const char **ret_word)
{
	const char *words[PC_ARRAY_SIZE(commands)];
	size_t n = list_words(object, words);
	int i = pc_cli_match(words, n, text);

	if (i == PC_ERR_UNKNOWN)
		return usage_error(in, "\"%s\" is ambiguous", text);
	if (i < 0 && object)
		return usage_error(in, "%s has no verb \"%s\"", object, text);
	if (i < 0)
		return usage_error(in, "unknown object \"%s\"", text);
	*ret_word = words[i];
	return EXIT_DONE;
}

static bool is_help(const char *word)
{
	return strcmp(word, "help") == 0;
}

static int check_options(const struct invocation *in, const struct command *c)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		if (in->option[i] && !(c->options & BIT(i)))
			return usage_error(in, "%s%s%s has no option --%s", c->object,
					   c->verb ? " " : "", c->verb ? c->verb : "",
					   options[i].name);
	}
	return EXIT_DONE;
}

/* What follows object and verb, then the command itself. */
static int run_command(struct invocation *in, const struct command *c, char **words, int n,
		       bool want_help)
{
	int status, most;

	if (want_help || (n == 1 && is_help(words[0])))
		return help(c->object, c->verb);
	status = check_options(in, c);
	if (status)
		return status;
	most = !c->arg ? 0 : strchr(c->arg, ' ') ? 2 : 1;
	if (n > most)
		return usage_error(in, "unexpected \"%s\"", words[most]);
	if (n < most && c->arg[0] != '[')
		return usage_error(in, "%s%s%s needs %s", c->object, c->verb ? " " : "",
				   c->verb ? c->verb : "", c->arg);
	in->arg = n ? words[0] : NULL;
	in->arg2 = n > 1 ? words[1] : NULL;
	status = c->run(in);
	if (status == EXIT_DONE && (fflush(stdout) != 0 || ferror(stdout)))
		return fail(in, "cannot write to standard output");
	return status;
}

static int run(struct invocation *in, char **words, int n, bool want_help)
{
	const struct command *c;
	const char *object = NULL, *verb = NULL;
	int status;

	if (n == 0 && !want_help)
		return usage_error(in, "no command");
	if (n && is_help(words[0])) {
		want_help = true;
		words++;
		n--;
	}
	if (n == 0)
		return help(NULL, NULL);
	status = match_word(in, NULL, words[0], &object);
	if (status)
		return status;
	c = find_command(object, NULL);
	if (c)
		return run_command(in, c, words + 1, n - 1, want_help);
	if (n == 1 && !want_help)
		return usage_error(in, "%s needs a verb", object);
	if (n == 1 || is_help(words[1]))
		return help(object, NULL);
	status = match_word(in, object, words[1], &verb);
	if (status)
		return status;
	return run_command(in, find_command(object, verb), words + 2, n - 2, want_help);
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
	struct invocation in = { .socket = PC_CTL_DEFAULT_SOCKET,
				 .json = pc_cli_wants_json(argc, argv) };
	struct option longs[OPT_COUNT + 5] = { 0 };
	bool want_help = false;
	int o;

	fill_long(longs);
	while ((o = getopt_long(argc, argv, ":js:Vh", longs, NULL)) != -1) {
		if (o >= LONG_FIRST) {
			if (in.option[o - LONG_FIRST])
				return usage_error(&in, "--%s is given twice",
						   options[o - LONG_FIRST].name);
			in.option[o - LONG_FIRST] = optarg ? optarg : "";
			continue;
		}
		switch (o) {
		case 'j':
			in.json = true;
			break;
		case 's':
			in.socket = optarg;
			break;
		case 'V':
			printf("pcctl %s\n", PC_VERSION);
			return EXIT_DONE;
		case 'h':
			want_help = true;
			break;
		case ':':
			return usage_error(&in, "%s needs a value", argv[optind - 1]);
		default:
			return usage_error(&in, "unknown or ambiguous option %s", argv[optind - 1]);
		}
	}
	return run(&in, argv + optind, argc - optind, want_help);
}
