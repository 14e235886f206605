/* SPDX-License-Identifier: MIT */
/* The data plane as the daemon uses it: take it up or make it, count, attach, give it up. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/rates.h"

/* Folding copies readings of the data plane as they are. */
_Static_assert(sizeof(struct pc_store_count) == sizeof(struct pc_count), "counters agree");
_Static_assert(offsetof(struct pc_store_count, down_packets) == offsetof(struct pc_count, down),
	       "counters agree");
_Static_assert(offsetof(struct pc_store_count, drops_rate) == offsetof(struct pc_count, drops_rate),
	       "counters agree");

/* That are folded at a time: some milliseconds, in which nobody is answered. */
#define FOLD_SLOTS 4096

static int read_counts(void *ctx, enum pc_store_path path, uint32_t first, uint32_t n,
		       struct pc_store_count *ret_counts)
{
	struct pc_dp *dp = ctx;
	struct pc_dp_status status;

	if (path == PC_STORE_USER) {
		if (first + n > pc_dp_max_sessions(dp))
			return PC_ERR_RANGE;
		memcpy(ret_counts, pc_dp_count_user(dp) + first, n * sizeof(*ret_counts));
		return 0;
	}
	pc_dp_get_status(dp, &status);
	if (!status.kernel)
		return PC_ERR_STATE; /* out of reach, not zero */
	return pc_dp_count_kernel(dp, first, n, (struct pc_count *)ret_counts);
}

static int usage_of(struct pc_daemon *d, struct pc_dp *dp, struct pc_usage **ret_usage)
{
	struct pc_dp_status status;
	bool reset[PC_STORE_PATHS];

	pc_dp_get_status(dp, &status);
	reset[PC_STORE_KERNEL] = status.kernel && status.generation != pc_state_generation(d);
	reset[PC_STORE_USER] = status.user_counters_new;
	return pc_usage_new(d->store, pc_dp_max_sessions(dp), read_counts, dp, reset, ret_usage);
}

/* --- what an earlier daemon left, and this configuration cannot use --- */

static bool fits(const struct pc_daemon *d, struct pc_dp *old)
{
	struct pc_dp_status status;
	uint32_t used, size;

	pc_dp_get_status(old, &status);
	if (status.kernel && (d->config.xdp == PC_DP_OFF || status.layout != PC_ABI_VERSION))
		return false;
	if (status.kernel && pc_dp_max_tenants(old) != d->config.max_tenants)
		return false;
	pc_dp_pipe_usage(old, &used, &size);
	if (size && size != 2 * d->config.max_pipes)
		return false;
	return (!status.kernel && status.user_counters_new) ||
	       pc_dp_max_sessions(old) == d->config.max_sessions;
}

static void fold_last(struct pc_daemon *d, struct pc_dp *old)
{
	struct pc_usage *usage = NULL;
	int r = usage_of(d, old, &usage);

	if (r == 0)
		r = pc_usage_fold(usage, pc_clock_monotonic());
	if (r)
		pc_error("the last counts of the old data plane are lost: %s", pc_strerror(r));
	pc_usage_free(usage);
}

/*
 * First off the interfaces, then the counts (which now stand still) into the store, then the maps.
 * The sessions themselves are in the store and get flows in the new maps.
 */
static void retire(struct pc_daemon *d)
{
	struct pc_dp_status status;
	struct pc_dp *old;
	int r;

	if (pc_dp_open_readonly(d->config.bpffs, d->config.state_dir, &old))
		return;
	if (fits(d, old)) {
		pc_dp_close(old);
		return;
	}
	pc_dp_get_status(old, &status);
	if (status.kernel && status.layout != PC_ABI_VERSION)
		pc_info("the data plane in %s is of layout %u, this pcd has %u: taking it down; "
			"its "
			"counts are kept, sessions get new flows, packets until then are lost",
			d->config.bpffs, status.layout, PC_ABI_VERSION);
	else
		pc_info("the data plane in %s was made for other settings: taking it down",
			d->config.bpffs);
	r = pc_dp_teardown(d->config.bpffs, true);
	fold_last(d, old);
	pc_dp_close(old);
	if (r >= 0)
		r = pc_dp_teardown(d->config.bpffs, false);
	if (r < 0)
		pc_error("taking down the data plane in %s: %s", d->config.bpffs, pc_strerror(r));
}

/* --- opening --- */

static void service_ports(const struct pc_config *c, uint16_t ports[static PC_MAX_SERVICE_PORTS])
{
	size_t n = 0, j;

	for (size_t i = 0; i < c->n_listen; i++) {
		for (j = 0; j < n && ports[j] != c->listen[i].port; j++)
			;
		if (j == n && n < PC_MAX_SERVICE_PORTS)
			ports[n++] = c->listen[i].port;
	}
}

/* More than fit: the program takes any address for ours, as it did without. */
static void service_addrs(const struct pc_config *c,
			  struct pc_ip addrs[static PC_MAX_SERVICE_ADDRS])
{
	size_t n = 0, j;

	for (size_t i = 0; i < c->n_listen; i++) {
		for (j = 0; j < n && !pc_ip_equal(&addrs[j], &c->listen[i].ip); j++)
			;
		if (j < n)
			continue;
		if (n == PC_MAX_SERVICE_ADDRS) {
			memset(addrs, 0, n * sizeof(*addrs));
			return;
		}
		addrs[n++] = c->listen[i].ip;
	}
}

static void log_status(const struct pc_daemon *d, const struct pc_dp_status *s, uint64_t took_ns)
{
	if (s->kernel && s->memory)
		pc_info("data plane: %s in %s, %llu MiB of kernel memory for %u sessions, "
			"loaded in %llu ms",
			s->adopted ? "adopted" : "new", d->config.bpffs,
			(unsigned long long)(s->memory >> 20), d->config.max_sessions,
			(unsigned long long)(took_ns / PC_NS_PER_MS));
	else if (s->kernel)
		pc_info("data plane: %s in %s", s->adopted ? "adopted" : "new", d->config.bpffs);
	else if (d->config.xdp == PC_DP_OFF)
		pc_info("data plane: user space (xdp = off)");
	else
		pc_warning("data plane: user space, no XDP: %s", s->reason);
}

/*
 * Two daemons with states of their own may still name the same pins: only one may have them. There
 * is nothing to lock as long as there is no directory.
 */
static int lock_pins(struct pc_daemon *d)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (d->pins_fd >= 0)
		close(TAKE_FD(d->pins_fd)); /* the directory may be a new one */
	fd = open(d->config.bpffs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	r = pc_state_lock(fd);
	if (r == PC_ERR_LOCKED) {
		pc_error("another pcd uses %s", d->config.bpffs);
		return r;
	}
	if (r == 0)
		d->pins_fd = TAKE_FD(fd);
	return 0;
}

void pc_plane_limits(struct pc_daemon *d)
{
	const struct pc_config *c = &d->config;
	/* Two seconds' worth at once: clients of one network come together. */
	const struct pc_dp_limits limits = {
		.host_per_s = c->stranger_rate,
		.host_burst = 2 * c->stranger_rate,
		.net_per_s = c->stranger_net_rate,
		.net_burst = 2 * c->stranger_net_rate,
		.all_per_s = c->stranger_total_rate,
		.all_burst = c->stranger_total_rate,
		.client_per_s = c->client_rate,
		.client_burst = c->client_rate,
	};

	pc_dp_limits_set(d->dp, &limits);
}

int pc_plane_open(struct pc_daemon *d)
{
	const struct pc_config *c = &d->config;
	struct pc_dp_config config = {
		.bpffs = c->bpffs,
		.state_dir = c->state_dir,
		.max_sessions = c->max_sessions,
		.max_tenants = c->max_tenants,
		.max_pipes = c->max_pipes,
		.relay_low = c->port_low,
		.relay_high = c->port_high,
		.kernel = c->xdp != PC_DP_OFF,
		.share = c->xdp_dispatcher,
		/* Tests of the guarded attach bring a program that breaks the interface. */
		.object = secure_getenv("PCD_TEST_OBJECT"),
	};
	struct pc_dp_status status;
	uint64_t start;
	int r;

	service_ports(c, config.service_ports);
	service_addrs(c, config.service_addrs);
	r = lock_pins(d);
	if (r)
		return r;
	retire(d);
	start = pc_clock_monotonic();
	r = pc_dp_open(&config, &d->dp);
	if (r == 0)
		r = lock_pins(d);
	else
		pc_error("counters in %s: %s", c->state_dir, pc_strerror(r));
	if (r)
		return r;
	pc_dp_get_status(d->dp, &status);
	log_status(d, &status, pc_clock_monotonic() - start);
	pc_plane_limits(d);
	r = usage_of(d, d->dp, &d->usage);
	if (r) {
		pc_error("loading the counters: %s", pc_strerror(r));
		return r;
	}
	if (status.kernel && status.generation != pc_state_generation(d))
		pc_state_set_generation(d, status.generation);
	return 0;
}

bool pc_plane_made(const struct pc_daemon *d)
{
	struct pc_dp_status status;

	if (!d->dp)
		return false;
	pc_dp_get_status(d->dp, &status);
	return status.kernel && !status.adopted;
}

/* --- interfaces --- */

static void log_attach(const struct pc_attach_result *a)
{
	const char *state = a->adopted ? ", adopted" : a->verified ? ", still reachable" : "";
	const char *sep = a->reason[0] ? ": " : "";

	if (a->mode == PC_DP_OFF)
		pc_warning("%s: no XDP, relaying in user space%s%s", a->interface, sep, a->reason);
	else
		pc_info("%s: XDP %s%s%s%s%s", a->interface, pc_dp_mode_name(a->mode),
			a->shared ? " behind libxdp's dispatcher" : ", alone", state, sep,
			a->reason);
}

void pc_plane_attach(struct pc_daemon *d)
{
	const struct pc_config *c = &d->config;
	struct pc_dp_status status;

	pc_dp_get_status(d->dp, &status);
	d->n_attach = c->n_interface;
	for (size_t i = 0; i < c->n_interface; i++) {
		struct pc_attach_result *a = &d->attach[i];

		if (status.kernel) {
			pc_attach_guarded(d->dp, c->interface[i], c->xdp, a);
			if (c->xdp_dispatcher == PC_DP_SHARE_ALWAYS && a->mode != PC_DP_OFF &&
			    !a->shared && !a->reason[0])
				snprintf(a->reason, sizeof(a->reason), "%s",
					 a->adopted
						 ? "alone as before: pcctl datapath off frees it "
						   "for libxdp's dispatcher"
						 : "alone: libxdp's dispatcher cannot be loaded");
			log_attach(a);
			continue;
		}
		*a = (struct pc_attach_result){
			.mode = PC_DP_OFF,
			.ifindex = if_nametoindex(c->interface[i]),
		};
		snprintf(a->interface, sizeof(a->interface), "%s", c->interface[i]);
		snprintf(a->reason, sizeof(a->reason), "%s",
			 c->xdp == PC_DP_OFF ? "xdp = off" : status.reason);
	}
	if (c->n_interface == 0)
		pc_info("no interface to attach to: relaying in user space");
}

void pc_plane_follow(struct pc_daemon *d)
{
	struct pc_dp_status status;
	int r;

	pc_dp_get_status(d->dp, &status);
	if (!status.kernel || d->n_attach == 0)
		return;
	r = pc_attach_watch_new(d->loop, d->dp, d->config.xdp, d->attach, d->n_attach,
				&d->attach_watch);
	if (r)
		pc_warning("interfaces are not watched: %s", pc_strerror(r));
}

void pc_plane_detach(struct pc_daemon *d)
{
	struct pc_dp_link links[PC_CONFIG_MAX_INTERFACES];
	size_t n = pc_dp_links(d->dp, links, PC_ARRAY_SIZE(links));

	for (size_t i = 0; i < n; i++)
		pc_dp_detach(d->dp, links[i].ifindex);
}

void pc_plane_close(struct pc_daemon *d, bool teardown)
{
	int r;

	pc_usage_free(d->usage);
	d->usage = NULL;
	pc_dp_close(d->dp);
	d->dp = NULL;
	if (teardown) {
		r = pc_dp_teardown(d->config.bpffs, false);
		if (r < 0)
			pc_error("taking down the data plane in %s: %s", d->config.bpffs,
				 pc_strerror(r));
	}
	if (d->pins_fd >= 0)
		close(TAKE_FD(d->pins_fd));
}

static int fold(struct pc_daemon *d, uint32_t n_slots, bool *ret_more)
{
	bool more = false;
	int r = 0;

	if (d->store_error)
		r = pc_state_probe(d);
	if (r == 0)
		r = n_slots ? pc_usage_fold_some(d->usage, n_slots, pc_clock_monotonic(), &more)
			    : pc_usage_fold(d->usage, pc_clock_monotonic());
	if (r == 0 && !more && d->rates)
		r = pc_rates_fold(d->rates);
	d->folds += r == 0 && !more;
	d->fold_failures += r != 0;
	pc_daemon_store_result(d, r, "adding up the counters");
	*ret_more = more;
	return r;
}

int pc_plane_fold(struct pc_daemon *d)
{
	bool more;

	return fold(d, 0, &more);
}

bool pc_plane_fold_some(struct pc_daemon *d)
{
	bool more = false;

	fold(d, FOLD_SLOTS, &more);
	return more;
}
