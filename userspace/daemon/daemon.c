/* SPDX-License-Identifier: MIT */
#include "daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/rates.h"
#include "daemon/io.h"
#include "daemon/native_glue.h"
#include "daemon/peers.h"
#include "daemon/priv.h"
#include "daemon/turn_glue.h"

#define HEARTBEAT_S  0.5
#define FOLD_S	     1.0
#define FOLD_PAUSE_S 0.01
#define RATES_S	     1.0
#define SHARES_S     0.01 /* at first; then as pc_rates_loop says */
#define MINUTE_S     60.0
/* Beside the relay ports: service sockets, store, maps, netlink, control connections. */
#define DESCRIPTORS 512

/* --- timers --- */

static void on_heartbeat(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_daemon *d = w->data;

	(void)loop;
	(void)events;
	pc_dp_heartbeat(d->dp, pc_clock_monotonic());
}

/* In parts, with pauses between them for everybody else. */
static void on_fold(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_daemon *d = w->data;

	(void)events;
	if (w == &d->fold_timer && ev_is_active(&d->fold_more_timer))
		return;
	if (!pc_plane_fold_some(d))
		return;
	ev_now_update(loop);
	ev_timer_set(&d->fold_more_timer, FOLD_PAUSE_S, 0.);
	ev_timer_start(loop, &d->fold_more_timer);
}

static void on_rates(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_daemon *d = w->data;

	(void)loop;
	(void)events;
	pc_rates_tick(d->rates, pc_clock_monotonic());
}

static void on_shares(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_daemon *d = w->data;

	(void)events;
	ev_timer_set(w, (double)pc_rates_loop(d->rates, pc_clock_monotonic()) / PC_NS_PER_S, 0.);
	ev_timer_start(loop, w);
}

static void on_turn(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_daemon *d = w->data;

	(void)loop;
	(void)events;
	d->turn_deadline = UINT64_MAX;
	pc_turn_tick(d->turn, pc_clock_monotonic());
}

/* Before the loop sleeps: nothing stays queued, and the machine is woken when it wants to be. */
static void on_prepare(struct ev_loop *loop, struct ev_prepare *w, int events)
{
	struct pc_daemon *d = w->data;
	uint64_t deadline, now;

	(void)events;
	pc_io_flush(d->io);
	deadline = pc_turn_next_deadline(d->turn);
	if (deadline == d->turn_deadline)
		return;
	d->turn_deadline = deadline;
	ev_timer_stop(loop, &d->turn_timer);
	if (deadline == UINT64_MAX)
		return;
	now = pc_clock_monotonic();
	ev_now_update(loop);
	ev_timer_set(&d->turn_timer,
		     deadline > now ? (double)(deadline - now) / (double)PC_NS_PER_S : 0., 0.);
	ev_timer_start(loop, &d->turn_timer);
}

/* What changes slowly: nonce keys, addresses of the host. */
static void on_minute(struct ev_loop *loop, struct ev_timer *w, int events)
{
	struct pc_daemon *d = w->data;
	struct pc_nonce_keys before = d->nonce_keys;
	uint64_t own = pc_daemon_own_addresses();
	int r;

	(void)loop;
	(void)events;
	if (pc_daemon_store_usable(d))
		pc_state_nonce_keys(d);
	if (d->native)
		pc_native_glue_minute(d->native);
	if (own == d->own_addresses && memcmp(&before, &d->nonce_keys, sizeof(before)) == 0)
		return;
	r = pc_daemon_turn_reconfigure(d, &d->config);
	if (r)
		pc_error("following the host's addresses: %s", pc_strerror(r));
	else
		d->own_addresses = own;
	pc_auth_wipe(&before, sizeof(before));
}

static void start_timer(struct pc_daemon *d, struct ev_timer *w,
			void (*fn)(struct ev_loop *, struct ev_timer *, int), double every)
{
	ev_timer_init(w, fn, every, every);
	w->data = d;
	ev_timer_start(d->loop, w);
}

/* --- signals --- */

static void on_end(struct ev_loop *loop, struct ev_signal *w, int events)
{
	(void)loop;
	(void)events;
	pc_info("%s: ending", strsignal(w->signum));
	pc_daemon_request_stop(w->data, false);
}

static void on_hup(struct ev_loop *loop, struct ev_signal *w, int events)
{
	char err[512];

	(void)loop;
	(void)events;
	if (pc_daemon_reload(w->data, err, sizeof(err)))
		pc_error("reload: %s; the old configuration stays", err);
}

static void start_signal(struct pc_daemon *d, struct ev_signal *w,
			 void (*fn)(struct ev_loop *, struct ev_signal *, int), int number)
{
	ev_signal_init(w, fn, number);
	w->data = d;
	ev_signal_start(d->loop, w);
}

void pc_daemon_request_stop(struct pc_daemon *d, bool shutdown_datapath)
{
	d->stop_datapath |= shutdown_datapath;
	ev_break(d->loop, EVBREAK_ALL);
}

/* --- start --- */

static void routes_changed(void *arg)
{
	struct pc_daemon *d = arg;

	if (d->turn)
		pc_turn_resync_flows(d->turn, pc_clock_monotonic());
	if (d->native)
		pc_native_glue_resync(d->native);
}

static void raise_descriptors(const struct pc_daemon *d)
{
	uint64_t ports = (uint64_t)(d->config.port_high - d->config.port_low + 1) *
			 d->config.n_relay_address;
	/* A session has a port of its own as long as there are any. */
	uint64_t want = d->config.max_sessions < ports ? d->config.max_sessions : ports;
	uint64_t have;

	want += DESCRIPTORS;
	have = pc_io_raise_descriptors(want);

	if (have < want)
		pc_warning("max-sessions %u needs %llu open files, the limit is %llu: raise it "
			   "(LimitNOFILE) or sessions share relay ports",
			   d->config.max_sessions, (unsigned long long)want,
			   (unsigned long long)have);
}

static int open_sockets(struct pc_daemon *d)
{
	struct pc_io_config config = {
		.loop = d->loop,
		.listen = d->config.listen,
		.n_listen = d->config.n_listen,
	};
	char err[256];
	int r = pc_io_new(&config, err, sizeof(err), &d->io);

	if (r)
		pc_error("%s", err);
	return r;
}

static int open_users(struct pc_daemon *d)
{
	int r = pc_users_new(d->store, d->config.max_tenants, &d->users);

	if (r == PC_ERR_FULL) {
		pc_error("%s/%s has more tenants than max-tenants allows (%u)", d->config.state_dir,
			 PC_DAEMON_STORE_FILE, d->config.max_tenants);
		return r;
	}
	if (r) {
		pc_error("loading the tenants from %s/%s: %s", d->config.state_dir,
			 PC_DAEMON_STORE_FILE, pc_strerror(r));
		return r;
	}
	pc_users_set_realm(d->users, d->config.realm);
	pc_users_set_secrets(d->users, &d->config);
	return 0;
}

static int open_peers(struct pc_daemon *d)
{
	int r = pc_peers_new(d->store, &d->peers);

	if (r)
		pc_error("loading the peers from %s/%s: %s", d->config.state_dir,
			 PC_DAEMON_STORE_FILE, pc_strerror(r));
	return r;
}

static int open_native(struct pc_daemon *d)
{
	int r = d->config.native ? pc_native_glue_new(d, &d->native) : 0;

	if (r)
		pc_error("starting the relay of native peers: %s", pc_strerror(r));
	else if (d->native)
		pc_io_set_native(d->io, pc_native_glue_input, d->native);
	return r;
}

static int open_nexthops(struct pc_daemon *d)
{
	struct pc_dp_status status;
	int r;

	pc_dp_get_status(d->dp, &status);
	if (!status.kernel)
		return 0;
	r = pc_nexthops_new(d->loop, d->dp, routes_changed, d, &d->nexthops);
	if (r) /* user space needs none of them */
		pc_error("routes cannot be followed, relaying in user space: %s", pc_strerror(r));
	return 0;
}

/* Without the right to, sockets of relay ports still hear of most of what they sent themselves. */
static void hear_too_big(struct pc_daemon *d)
{
	int r = pc_too_big_new(d->loop, pc_daemon_turn_too_big, d, &d->too_big);

	if (r == 0)
		pc_io_leave_too_big(d->io);
	else
		pc_debug("routers are not heard: %s", pc_strerror(r));
}

static int open_control(struct pc_daemon *d)
{
	const char *path = d->config.control_socket;
	int r = pc_ctl_server_new(d, &d->ctl);

	if (r == -EADDRINUSE)
		pc_error("another pcd answers on %s", path);
	else if (r == -EEXIST)
		pc_error("control socket %s: a file that is not a socket is there", path);
	else if (r)
		pc_error("control socket %s: %s", path, pc_strerror(r));
	return r;
}

static int drop_privileges(struct pc_daemon *d)
{
	char err[256];
	int r;

	if (d->config.user[0] == '\0')
		return 0;
	/* The control socket is removed, and pins are made, after the privileges are gone. */
	r = pc_priv_give(d->config.user, d->config.bpffs, err, sizeof(err));
	if (r == -ENOENT) /* no kernel half, no pins */
		r = 0;
	if (r == 0)
		r = pc_priv_drop(d->config.user, d->config.state_dir, err, sizeof(err));
	if (r)
		pc_error("%s", err);
	return r;
}

static void start_watchers(struct pc_daemon *d)
{
	start_timer(d, &d->heartbeat_timer, on_heartbeat, HEARTBEAT_S);
	start_timer(d, &d->fold_timer, on_fold, FOLD_S);
	ev_timer_init(&d->fold_more_timer, on_fold, FOLD_PAUSE_S, 0.);
	d->fold_more_timer.data = d;
	start_timer(d, &d->rates_timer, on_rates, RATES_S);
	/* Each time it says itself when it is to run again. */
	ev_timer_init(&d->shares_timer, on_shares, SHARES_S, 0.);
	d->shares_timer.data = d;
	ev_timer_start(d->loop, &d->shares_timer);
	start_timer(d, &d->minute_timer, on_minute, MINUTE_S);
	ev_timer_init(&d->turn_timer, on_turn, 0., 0.);
	d->turn_timer.data = d;
	d->turn_deadline = UINT64_MAX;
	ev_prepare_init(&d->on_prepare, on_prepare);
	d->on_prepare.data = d;
	ev_prepare_start(d->loop, &d->on_prepare);
	start_signal(d, &d->on_term, on_end, SIGTERM);
	start_signal(d, &d->on_int, on_end, SIGINT);
	start_signal(d, &d->on_hup, on_hup, SIGHUP);
}

static int start(struct pc_daemon *d)
{
	int r = pc_state_open(d);

	if (r)
		return r;
	raise_descriptors(d);
	/* First of all: where the ports are in use, another relay runs that must not be touched. */
	r = open_sockets(d);
	if (!r)
		r = pc_plane_open(d);
	if (r)
		return r;
	pc_io_count_into(d->io, pc_dp_reasons_user(d->dp), pc_dp_count_user(d->dp),
			 pc_dp_max_sessions(d->dp));
	r = open_users(d);
	if (!r)
		r = open_peers(d);
	if (!r)
		r = pc_rates_new(d, &d->rates);
	if (r)
		return r;
	/* A store that cannot be written stops nothing from here on. */
	pc_state_rebooted(d);
	pc_state_nonce_keys(d);
	r = pc_daemon_turn_new(d);
	if (!r)
		r = open_nexthops(d);
	if (!r)
		r = open_native(d);
	if (r)
		return r;
	pc_daemon_turn_restore(d);
	pc_plane_attach(d);
	pc_plane_follow(d);
	r = open_control(d);
	if (!r)
		r = drop_privileges(d);
	if (r)
		return r;
	start_watchers(d);
	hear_too_big(d);
	pc_io_start(d->io, d->turn);
	return 0;
}

/* --- stop --- */

static void stop_watchers(struct pc_daemon *d)
{
	struct ev_timer *timers[] = { &d->heartbeat_timer, &d->fold_timer,   &d->fold_more_timer,
				      &d->rates_timer,	   &d->shares_timer, &d->minute_timer,
				      &d->turn_timer };
	struct ev_signal *signals[] = { &d->on_term, &d->on_int, &d->on_hup };

	for (size_t i = 0; i < PC_ARRAY_SIZE(timers); i++)
		ev_timer_stop(d->loop, timers[i]);
	for (size_t i = 0; i < PC_ARRAY_SIZE(signals); i++)
		ev_signal_stop(d->loop, signals[i]);
	ev_prepare_stop(d->loop, &d->on_prepare);
}

/* What the kernel does while nobody is there: nothing, or what it did, for as long as told. */
static void leave_plane(struct pc_daemon *d, bool shutdown_datapath)
{
	size_t pipes = pc_native_glue_pipes(d->native);
	uint64_t now = pc_clock_monotonic();

	if (shutdown_datapath || d->config.linger_s == 0) {
		pc_plane_detach(d);
	} else if (pc_glue_flows(d->glue) || pc_glue_perms(d->glue) || pipes) {
		pc_info("the kernel goes on forwarding %zu flows, %zu permissions, %zu pipes for "
			"at most %u s",
			pc_glue_flows(d->glue), pc_glue_perms(d->glue), pipes, d->config.linger_s);
		pc_glue_limit_flows(d->glue, now + d->config.linger_s * PC_NS_PER_S);
		pc_turn_resync_flows(d->turn, now);
		if (d->native)
			pc_native_glue_limit(d->native, now + d->config.linger_s * PC_NS_PER_S);
	}
	if (shutdown_datapath && d->native)
		pc_native_glue_shutdown(d->native);
	if (shutdown_datapath)
		pc_info("shutdown: %u sessions ended",
			pc_turn_end_tenant(d->turn, UINT32_MAX, now));
	pc_io_flush(d->io);
	pc_plane_fold(d);
}

/* @teardown: the maps and pins too. */
static void take_down(struct pc_daemon *d, bool teardown)
{
	pc_ctl_server_free(d->ctl);
	d->ctl = NULL;
	pc_too_big_free(d->too_big);
	d->too_big = NULL;
	pc_attach_watch_free(d->attach_watch);
	d->attach_watch = NULL;
	pc_native_glue_free(d->native);
	d->native = NULL;
	if (d->turn)
		pc_turn_free(d->turn);
	d->turn = NULL;
	pc_io_free(d->io);
	d->io = NULL;
	pc_glue_free(d->glue);
	d->glue = NULL;
	if (d->nexthops)
		pc_nexthops_free(d->nexthops);
	d->nexthops = NULL;
	if (d->policy)
		pc_policy_free(d->policy);
	d->policy = NULL;
	pc_rates_free(d->rates);
	d->rates = NULL;
	pc_peers_free(d->peers);
	d->peers = NULL;
	pc_users_free(d->users);
	d->users = NULL;
	pc_plane_close(d, teardown);
	pc_state_close(d);
}

void pc_daemon_stop(struct pc_daemon *d, bool shutdown_datapath)
{
	stop_watchers(d);
	leave_plane(d, shutdown_datapath);
	take_down(d, shutdown_datapath);
}

/* A start that fails leaves the kernel as it was found. */
int pc_daemon_start(struct pc_daemon *d)
{
	char text[PC_ADDR_STRLEN];
	int r;

	d->started_ns = pc_clock_monotonic();
	d->lock_fd = -1;
	d->pins_fd = -1;
	pc_log_set_level(d->config.log_level);
	signal(SIGPIPE, SIG_IGN);
	r = start(d);
	if (r) {
		take_down(d, pc_plane_made(d));
		return r;
	}
	for (size_t i = 0; i < d->config.n_listen; i++)
		pc_info("listening on %s", pc_addr_format(&d->config.listen[i], text));
	return 0;
}
