/* SPDX-License-Identifier: MIT */
/*
 * guard [-t] [-s] [-k] [-O OBJECT] BPFFS STATE_DIR IFACE auto|native|generic
 * The guarded attach without the daemon around it. Prints one line
 * "RESULT mode=M verified=B adopted=B error=N reason=TEXT".
 *   -s  without the self-test in memory, to see the checks behind it at work
 *   -t  stops itself (SIGSTOP) while on trial, having printed "TRIAL": to be killed or looked at
 *   -k  keeps running afterwards with the watch, until it is ended; prints "RESULT" at changes
 */
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "daemon/attach.h"
#include "daemon/attach_trial.h"
#include "dp/dp.h"

struct options {
	bool stop_on_trial;
	bool skip_selftest;
	bool keep;
	const char *object;
};

static struct pc_attach_result result;

static void print_result(int err)
{
	printf("RESULT mode=%s verified=%d adopted=%d error=%d reason=%s\n",
	       pc_dp_mode_name(result.mode), result.verified, result.adopted, err, result.reason);
	fflush(stdout);
}

static int attach(struct pc_dp *dp, const char *interface, enum pc_dp_mode wanted,
		  const struct options *o)
{
	struct pc_attach_trial t = { .dp = dp, .result = &result };
	uint64_t now;
	int err;

	if (!o->stop_on_trial && !o->skip_selftest)
		return pc_attach_guarded(dp, interface, wanted, &result);
	err = pc_attach_look_up(interface, &result);
	if (err)
		return err;
	t.skip_selftest = o->skip_selftest;
	t.n_modes = pc_attach_modes(wanted, t.modes);
	if (!o->stop_on_trial)
		return pc_attach_trial_run(&t);
	now = pc_clock_monotonic();
	pc_attach_trial_start(&t, now);
	while (pc_attach_trial_step(&t, now) != PC_ATTACH_DONE && t.state != PC_ATTACH_VERIFY) {
		if (t.state == PC_ATTACH_BEFORE)
			pc_probe_wait(t.probe, now, t.deadline);
		now = pc_clock_monotonic();
	}
	puts(t.state == PC_ATTACH_VERIFY ? "TRIAL" : "NO TRIAL");
	fflush(stdout);
	raise(SIGSTOP);
	pc_attach_trial_end(&t);
	return t.error;
}

static void on_check(struct ev_loop *loop, ev_timer *timer, int revents)
{
	static struct pc_attach_result last;

	pc_dp_heartbeat(timer->data, pc_clock_monotonic());
	if (memcmp(&last, &result, sizeof(last)))
		print_result(0);
	last = result;
}

static int watch(struct pc_dp *dp, enum pc_dp_mode wanted)
{
	struct ev_loop *loop = ev_default_loop(0);
	struct pc_attach_watch *w;
	ev_timer timer;
	int err = pc_attach_watch_new(loop, dp, wanted, &result, 1, &w);

	if (err)
		return err;
	ev_timer_init(&timer, on_check, 0.1, 0.1);
	timer.data = dp;
	ev_timer_start(loop, &timer);
	ev_run(loop, 0);
	pc_attach_watch_free(w);
	return 0;
}

int main(int argc, char **argv)
{
	struct pc_dp_config config = {
		.max_sessions = 64,
		.max_tenants = 16,
		.service_ports = { 3478 },
		.relay_low = 49152,
		.relay_high = 65535,
		.kernel = true,
	};
	struct options o = { 0 };
	struct pc_dp_status status;
	enum pc_dp_mode wanted;
	struct pc_dp *dp;
	int opt, err;

	while ((opt = getopt(argc, argv, "tskO:")) != -1) {
		o.stop_on_trial |= opt == 't';
		o.skip_selftest |= opt == 's';
		o.keep |= opt == 'k';
		if (opt == 'O')
			config.object = optarg;
	}
	if (argc - optind != 4 || pc_dp_mode_parse(argv[optind + 3], &wanted)) {
		fprintf(stderr, "usage: guard [-tsk] [-O OBJECT] BPFFS STATE_DIR IFACE MODE\n");
		return 2;
	}
	config.bpffs = argv[optind];
	config.state_dir = argv[optind + 1];
	err = pc_dp_open(&config, &dp);
	if (err) {
		fprintf(stderr, "guard: %s\n", pc_strerror(err));
		return 1;
	}
	pc_dp_get_status(dp, &status);
	if (!status.kernel) {
		fprintf(stderr, "guard: no kernel half: %s\n", status.reason);
		return 77;
	}
	err = attach(dp, argv[optind + 2], wanted, &o);
	print_result(err);
	if (o.keep)
		err = watch(dp, wanted);
	pc_dp_close(dp);
	return err ? 1 : 0;
}
