/* SPDX-License-Identifier: MIT */
/* pcd(8): arguments, then the loop. Exit 0 ended as told, 1 failed, 2 arguments or configuration.
 */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/quickstart.h"
#include "version.h"

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
	const char *config;
	bool check, quickstart;
};

static const char usage[] =
	"usage: pcd [-c FILE] [-n] [-q]\n"
	"\n"
	"  -c, --config FILE   read FILE (pcd.conf(5)); without it, embedded defaults\n"
	"  -n, --check         check the configuration and exit\n"
	"  -q, --quickstart    make a tenant and a credential to try, and print them\n"
	"  -V, --version       print the version\n"
	"  -h, --help          print this\n";

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 'n' },
	{ "quickstart", no_argument, NULL, 'q' },   { "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },	    { 0 },
};

static int bad_usage(const char *what, const char *text)
{
	pc_error("%s%s; see pcd --help", what, text);
	return EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":c:nqVh", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'n':
			o->check = true;
			break;
		case 'q':
			o->quickstart = true;
			break;
		case 'V':
			printf("pcd %s\n", PC_VERSION);
			return EXIT_DONE;
		case 'h':
			fputs(usage, stdout);
			return EXIT_DONE;
		case ':':
			return bad_usage("an argument is missing after ", argv[optind - 1]);
		default:
			return bad_usage("unknown option ", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return bad_usage("unexpected argument ", argv[optind]);
	return -1;
}

static int load_config(struct pc_daemon *d)
{
	char err[512];
	int r = 0;

	if (d->config_path)
		r = pc_config_load(d->config_path, &d->config, err, sizeof(err));
	else
		pc_config_defaults(&d->config);
	if (r) {
		pc_error("%s", err);
		return r;
	}
	d->configured = d->config;
	d->configured.rule = NULL;
	d->configured.n_rule = 0;
	explicit_bzero(d->configured.secret, sizeof(d->configured.secret));
	d->configured.n_secret = 0;
	r = pc_config_complete(&d->config, err, sizeof(err));
	if (r) {
		if (d->config_path)
			pc_error("%s: %s", d->config_path, err);
		else
			pc_error("%s", err);
		pc_config_free(&d->config);
	}
	return r;
}

static int run(struct pc_daemon *d, bool quickstart)
{
	d->loop = ev_loop_new(EVFLAG_AUTO);
	if (!d->loop) {
		pc_error("no event loop");
		return EXIT_FAILED;
	}
	if (pc_daemon_start(d))
		return EXIT_FAILED;
	if (quickstart && pc_quickstart(d)) {
		pc_daemon_stop(d, false);
		return EXIT_FAILED;
	}
	ev_run(d->loop, 0);
	pc_daemon_stop(d, d->stop_datapath);
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	static struct pc_daemon d;
	struct options o = { 0 };
	int code = parse_options(argc, argv, &o);

	if (code >= 0)
		return code;
	if (sodium_init() < 0) {
		pc_error("no system randomness");
		return EXIT_FAILED;
	}
	d.config_path = o.config;
	if (load_config(&d))
		return EXIT_USAGE;
	if (o.check) {
		printf("%s: valid\n", o.config ? o.config : "embedded defaults");
		code = EXIT_DONE;
	} else {
		code = run(&d, o.quickstart);
	}
	if (d.loop)
		ev_loop_destroy(d.loop);
	pc_config_free(&d.config);
	return code;
}
