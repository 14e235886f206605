/* SPDX-License-Identifier: MIT */
/* The life of `pcpeer up`: one loop, one timer for everything that is due. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <sodium.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/err.h"

#define SLOW_S	      10.0
#define FIRST_CLOCK_S 1600000000ull /* earlier: the device has no clock */
#define TEXTS	      4

const char *id_text(const uint8_t key[static 32])
{
	static char buf[TEXTS][PC_PEER_ID_STRLEN];
	static unsigned int i;

	return pc_peer_id_format(key, buf[i++ % TEXTS]);
}

const char *addr_text(const struct pc_addr *addr)
{
	static char buf[TEXTS][PC_ADDR_STRLEN];
	static unsigned int i;

	return addr->ip.family ? pc_addr_format(addr, buf[i++ % TEXTS]) : "nowhere";
}

/* --- time --- */

uint64_t agent_realtime_s(void)
{
	uint64_t s = pc_clock_realtime() / PC_NS_PER_S;

	return s < FIRST_CLOCK_S ? 0 : s;
}

void agent_clock(struct agent *a)
{
	a->now = pc_clock_monotonic();
	a->realtime_s = agent_realtime_s();
}

void agent_arm(struct agent *a)
{
	uint64_t at = relays_deadline(a), t = pc_e2e_next_deadline(a->e2e);

	at = t < at ? t : at;
	t = connects_deadline(a);
	at = t < at ? t : at;
	if (at == UINT64_MAX || a->ending) {
		ev_timer_stop(a->loop, &a->timer);
		return;
	}
	t = at > a->now ? at - a->now : 0;
	/* The loop's own clock may be old by as long as a callback took. */
	ev_now_update(a->loop);
	ev_timer_stop(a->loop, &a->timer);
	ev_timer_set(&a->timer, (double)t / 1e9 + 0.0005, 0.0);
	ev_timer_start(a->loop, &a->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct agent *a = timer->data;

	agent_clock(a);
	relays_tick(a);
	pc_e2e_tick(a->e2e, a->now);
	connects_tick(a);
	agent_arm(a);
}

static void on_slow(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct agent *a = timer->data;

	agent_clock(a);
	connects_expire(a);
	flows_expire(a);
	statements_renew(a);
}

/* Nothing waits while the loop sleeps. */
static void on_prepare(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct agent *a = p->data;

	net_flush(&a->out[0]);
	net_flush(&a->out[1]);
	net_flush(&a->local);
}

static void on_signal(struct ev_loop *loop, ev_signal *s, int revents)
{
	ev_break(loop, EVBREAK_ALL);
}

/* --- start and end --- */

/* A socket for each flow. */
static void raise_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

static void watch(struct agent *a)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP };

	for (size_t i = 0; i < PC_ARRAY_SIZE(ends); i++) {
		ev_signal_init(&a->signals[i], on_signal, ends[i]);
		a->signals[i].data = a;
		ev_signal_start(a->loop, &a->signals[i]);
	}
	ev_init(&a->timer, on_timer);
	a->timer.data = a;
	ev_timer_init(&a->slow, on_slow, SLOW_S, SLOW_S);
	a->slow.data = a;
	ev_timer_start(a->loop, &a->slow);
	ev_prepare_init(&a->prepare, on_prepare);
	a->prepare.data = a;
	ev_prepare_start(a->loop, &a->prepare);
}

static int open_services(struct agent *a)
{
	struct connect *c;
	struct expose *x;

	for (size_t i = 0; i < a->config.n_expose; i++) {
		int rc = expose_new(a, &a->config.expose[i], &x);

		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < a->config.n_connect; i++) {
		const struct connect_spec *s = &a->config.connect[i];
		int rc = connect_new(a, s, &a->grants, &c);

		if (rc < 0) {
			pc_error("listen %s: %s", addr_text(&s->listen),
				 rc == -EADDRINUSE ? "the port is in use" : pc_strerror(rc));
			return rc;
		}
	}
	return 0;
}

static int begin(struct agent *a)
{
	char error[512];
	int rc;

	agent_clock(a);
	a->started_ns = a->now;
	a->log = (struct pc_log_limit)PC_LOG_LIMIT_INIT(5);
	randombytes_buf(a->hash_key, sizeof(a->hash_key));
	rc = trust_load(a->config.trust_file, &a->trust, error, sizeof(error));
	if (rc < 0) {
		pc_error("%s", error);
		return rc;
	}
	rc = pc_htab_init(&a->flows, 64);
	if (rc == 0)
		rc = net_out_init(&a->out[0], true);
	if (rc == 0)
		rc = net_out_init(&a->out[1], true);
	if (rc == 0)
		rc = net_out_init(&a->local, false);
	if (rc == 0)
		rc = relays_new(a);
	if (rc == 0)
		rc = peers_new(a);
	if (rc == 0)
		rc = control_new(a, &a->control);
	if (rc == 0)
		rc = wan_open(a);
	if (rc == 0)
		rc = open_services(a);
	return rc;
}

static void end(struct agent *a)
{
	a->ending = true;
	agent_clock(a);
	if (a->e2e)
		peers_free(a);
	while (a->connects)
		connect_free(a->connects);
	while (a->exposes)
		expose_free(a->exposes);
	if (a->native)
		relays_free(a);
	for (unsigned int w = 0; w < 2; w++) {
		if (a->wan[w] < 0)
			continue;
		net_flush(&a->out[w]);
		ev_io_stop(a->loop, &a->wan_io[w]);
		close(a->wan[w]);
	}
	control_free(a->control);
	for (unsigned int w = 0; w < 2; w++)
		net_out_free(&a->out[w]);
	pc_htab_free(&a->flows);
	trust_free(&a->trust);
	pc_identity_wipe(&a->id);
	explicit_bzero(a->config.psk, sizeof(a->config.psk));
}

int agent_run(const struct config *c, const struct pc_identity *id, const struct grants *grants)
{
	struct agent *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return -ENOMEM;
	a->config = *c;
	a->id = *id;
	a->grants = *grants;
	a->wan[0] = a->wan[1] = -1;
	a->loop = ev_default_loop(0);
	signal(SIGPIPE, SIG_IGN);
	raise_files();
	watch(a);
	rc = begin(a);
	if (rc == 0) {
		pc_info("peer %s", id_text(a->id.public_key));
		relays_begin(a);
		agent_arm(a);
		ev_run(a->loop, 0);
		pc_info("ends");
	}
	end(a);
	free(a);
	return rc;
}
