/* SPDX-License-Identifier: MIT */
/* The grammar: pcstat [OBJECT [NAME]] [--options], everything exact or unambiguous. */
#include "pcstat.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl/cli.h"
#include "ctl/ctl.h"
#include "tools/offline.h"
#include "version.h"

#define DEFAULT_INTERVAL_NS (2 * PC_NS_PER_S)

int fail(const struct pcstat *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pc_cli_verror("pcstat", p->json, "", fmt, ap);
	va_end(ap);
	return EXIT_FAILED;
}

int usage_error(const struct pcstat *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pc_cli_verror("pcstat", p->json, "; see pcstat help", fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

static int help(void)
{
	printf("usage: pcstat [-j] [-s SOCKET] [OBJECT [NAME]] [--options]\n\n"
	       "  (nothing)      one screen: node, tenants by traffic, drops, health\n"
	       "  watch          the same, live\n"
	       "  tenant [NAME]  traffic of tenants; --plot: the last minutes of one\n"
	       "  session [ID]   allocations\n"
	       "  tiers          how the uplink is shared\n"
	       "  drops          what became of packets, by reason\n"
	       "  health         what works and what does not\n"
	       "\n"
	       "  -j, --json        JSON on stdout, errors as {\"error\": TEXT} on stderr\n"
	       "  -s, --socket      control socket (%s)\n"
	       "  -i, --interval    seconds between two views of watch (2)\n"
	       "      --plot        rate of a tenant against time\n"
	       "      --bpffs       pins, read when pcd is down (%s)\n"
	       "      --state-dir   store, read when pcd is down (%s)\n"
	       "  -V, --version     print the version\n"
	       "Words and options may be shortened as long as they are unambiguous.\n",
	       PC_CTL_DEFAULT_SOCKET, PC_DEFAULT_BPFFS, PC_DEFAULT_STATE_DIR);
	return EXIT_DONE;
}

/* --- objects; @name is NULL or the word that follows --- */

static int show_reply(const struct pcstat *p, json_t *reply,
		      void (*show)(const json_t *reply, const char *name, unsigned int width),
		      const char *name)
{
	unsigned int width, height;

	terminal_size(&width, &height);
	if (p->json)
		pc_cli_print_json(reply, true);
	else
		show(reply, name, width);
	json_decref(reply);
	return EXIT_DONE;
}

static void print_status(const json_t *reply, const char *name, unsigned int width)
{
	show_status(stdout, reply, NULL, 0, width, 0);
}

static int run_status(struct pcstat *p, const char *name)
{
	json_t *reply;
	int status = source_get(p, "status", NULL, &reply);

	return status ? status : show_reply(p, reply, print_status, NULL);
}

static int run_watch(struct pcstat *p, const char *name)
{
	return watch(p);
}

static void print_tenants(const json_t *reply, const char *name, unsigned int width)
{
	const json_t *tenants = json_object_get(reply, "tenants");

	if (name)
		show_tenant(stdout, json_array_get(tenants, 0));
	else
		show_tenants(stdout, tenants, width);
}

static void print_history(const json_t *reply, const char *name, unsigned int width)
{
	show_history(stdout, reply, width);
}

static int run_tenant(struct pcstat *p, const char *name)
{
	json_t *reply;
	int status;

	if (name && !pc_name_valid(name))
		return usage_error(p, "\"%s\" is no tenant name", name);
	if (p->plot && !name)
		return usage_error(p, "--plot needs the name of a tenant");
	if (p->plot) {
		status = source_get(p, "tenant history", json_pack("{s:s}", "name", name), &reply);
		return status ? status : show_reply(p, reply, print_history, name);
	}
	status = source_get(p, "tenant list", name ? json_pack("{s:s}", "name", name) : NULL,
			    &reply);
	return status ? status : show_reply(p, reply, print_tenants, name);
}

static void print_sessions(const json_t *reply, const char *name, unsigned int width)
{
	const json_t *sessions = json_object_get(reply, "sessions");

	if (name)
		show_session(stdout, json_array_get(sessions, 0));
	else
		show_sessions(stdout, sessions, width);
}

static int run_session(struct pcstat *p, const char *name)
{
	uint8_t id[8];
	json_t *reply;
	int status;

	if (name && pc_parse_hex(name, id, sizeof(id)) < 0)
		return usage_error(p, "\"%s\" is no session id: 16 hex digits", name);
	status =
		source_get(p, "session list", name ? json_pack("{s:s}", "id", name) : NULL, &reply);
	return status ? status : show_reply(p, reply, print_sessions, name);
}

static void print_tiers(const json_t *reply, const char *name, unsigned int width)
{
	show_tiers(stdout, reply, width);
}

static int run_tiers(struct pcstat *p, const char *name)
{
	json_t *reply;
	int status = source_get(p, "tiers", NULL, &reply);

	return status ? status : show_reply(p, reply, print_tiers, NULL);
}

static void print_drops(const json_t *reply, const char *name, unsigned int width)
{
	show_drops(stdout, json_object_get(reply, "drops"), true, width);
}

static int run_drops(struct pcstat *p, const char *name)
{
	json_t *reply;
	int status = source_get(p, "drops", NULL, &reply);

	return status ? status : show_reply(p, reply, print_drops, NULL);
}

static void print_health(const json_t *reply, const char *name, unsigned int width)
{
	show_health(stdout, reply);
}

static int run_health(struct pcstat *p, const char *name)
{
	json_t *reply;
	bool ok;
	int status = source_get(p, "health", NULL, &reply);

	if (status)
		return status;
	ok = json_is_true(json_object_get(reply, "ok"));
	show_reply(p, reply, print_health, NULL);
	return ok ? EXIT_DONE : EXIT_FAILED; /* for scripts that watch a node */
}

static int run_help(struct pcstat *p, const char *name)
{
	return help();
}

static const char *const words[] = { "tenant", "session", "tiers", "drops",
				     "health", "watch",	  "help" };
static const struct {
	bool takes_name;
	int (*run)(struct pcstat *p, const char *name);
} objects[] = {
	{ true, run_tenant },  { true, run_session }, { false, run_tiers }, { false, run_drops },
	{ false, run_health }, { false, run_watch },  { true, run_help },
};

static int run(struct pcstat *p, char **argv, int n)
{
	const char *name = n > 1 ? argv[1] : NULL;
	int status, i;

	if (n == 0) {
		status = run_status(p, NULL);
	} else {
		i = pc_cli_match(words, PC_ARRAY_SIZE(words), argv[0]);
		if (i < 0)
			return usage_error(p, "%s \"%s\"",
					   i == PC_ERR_UNKNOWN ? "ambiguous" : "unknown object",
					   argv[0]);
		if (name && strcmp(name, "help") == 0)
			return help();
		if (n > (objects[i].takes_name ? 2 : 1))
			return usage_error(p, "unexpected \"%s\"",
					   argv[objects[i].takes_name ? 2 : 1]);
		status = objects[i].run(p, name);
	}
	if (status == EXIT_DONE && (fflush(stdout) != 0 || ferror(stdout)))
		return fail(p, "cannot write to standard output");
	return status;
}

/* "2", "0.5": 0.1 s to a day. */
static bool parse_interval(const char *text, uint64_t *ret_ns)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s >= 0.1 && s <= 86400))
		return false;
	*ret_ns = (uint64_t)(s * PC_NS_PER_S);
	return true;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "socket", required_argument, NULL, 's' },
		{ "interval", required_argument, NULL, 'i' },
		{ "plot", no_argument, NULL, 'p' },
		{ "bpffs", required_argument, NULL, 'b' },
		{ "state-dir", required_argument, NULL, 'd' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct pcstat p = {
		.socket = PC_CTL_DEFAULT_SOCKET,
		.bpffs = PC_DEFAULT_BPFFS,
		.state_dir = PC_DEFAULT_STATE_DIR,
		.json = pc_cli_wants_json(argc, argv),
		.interval_ns = DEFAULT_INTERVAL_NS,
	};
	int o;

	while ((o = getopt_long(argc, argv, ":js:i:Vh", longs, NULL)) != -1) {
		switch (o) {
		case 'j':
			p.json = true;
			break;
		case 's':
			p.socket = optarg;
			break;
		case 'i':
			if (!parse_interval(optarg, &p.interval_ns))
				return usage_error(&p, "--interval %s: 0.1 to 86400 seconds",
						   optarg);
			break;
		case 'p':
			p.plot = true;
			break;
		case 'b':
			p.bpffs = optarg;
			break;
		case 'd':
			p.state_dir = optarg;
			break;
		case 'V':
			printf("pcstat %s\n", PC_VERSION);
			return EXIT_DONE;
		case 'h':
			return help();
		case ':':
			return usage_error(&p, "%s needs a value", argv[optind - 1]);
		default:
			return usage_error(&p, "unknown or ambiguous option %s", argv[optind - 1]);
		}
	}
	return run(&p, argv + optind, argc - optind);
}
