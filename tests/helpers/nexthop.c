/* SPDX-License-Identifier: MIT */
/*
 * nexthop [-a] [-p PROBE_MS] [-m N] BPFFS STATE_DIR SRC DST...
 * Holds next hops for the destinations and shows what the program sees of them. Lines:
 *   HOP DST index=I dev=NAME mtu=M l2=HEX   | HOP DST index=I unresolved | HOP DST unreachable
 *   CHANGED moved=N same=N                  after routes changed, over all destinations
 * -m N: besides, N addresses from 198.19.0.0 on; HOP lines are not printed for them.
 * -a: all are asked for ahead, the last one of them is not taken then.
 *   AHEAD found=N forgotten=N             how many had a way before they were taken, and after
 */
#include <bpf/bpf.h>
#include <ev.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/parse.h"
#include "daemon/nexthop.h"
#include "dp/dp.h"

#define MAX_DESTS 20000

struct dest {
	struct pc_ip ip;
	uint32_t index; /* UINT32_MAX: unreachable */
	char line[160];
};

static struct pc_nexthops *hops;
static struct pc_ip src;
static struct dest *dests;
static unsigned int n_dests, n_shown;
static int map_fd;

static void look(struct dest *d)
{
	struct pc_nexthop_slot slot;
	const struct pc_nexthop *nh;
	char line[sizeof(d->line)], ip[PC_IP_STRLEN], dev[IF_NAMESIZE], l2[2 * PC_L2_MAX + 1];
	uint32_t index;

	pc_ip_format(&d->ip, ip);
	if (pc_nexthops_find(hops, &src, &d->ip, &index)) {
		snprintf(line, sizeof(line), "HOP %s unreachable", ip);
	} else if (bpf_map_lookup_elem(map_fd, &index, &slot)) {
		snprintf(line, sizeof(line), "HOP %s index=%u unreadable", ip, index);
	} else {
		nh = &slot.copy[slot.active & 1];
		pc_format_hex(nh->l2, nh->l2_len, l2);
		if (!nh->ifindex)
			snprintf(line, sizeof(line), "HOP %s index=%u unresolved", ip, index);
		else
			snprintf(line, sizeof(line), "HOP %s index=%u dev=%s mtu=%u l2=%s", ip,
				 index, if_indextoname(nh->ifindex, dev) ? dev : "?", nh->mtu, l2);
	}
	if (strcmp(line, d->line) == 0)
		return;
	snprintf(d->line, sizeof(d->line), "%s", line);
	puts(line);
	fflush(stdout);
}

static void on_changed(void *arg)
{
	unsigned int moved = 0;

	for (unsigned int i = 0; i < n_dests; i++) {
		uint32_t index;

		if (pc_nexthops_find(hops, &src, &dests[i].ip, &index) == PC_ERR_NOT_FOUND)
			pc_nexthops_get(hops, &src, &dests[i].ip, &index);
		if (pc_nexthops_find(hops, &src, &dests[i].ip, &index))
			index = UINT32_MAX;
		moved += index != dests[i].index;
		dests[i].index = index;
	}
	printf("CHANGED moved=%u same=%u\n", moved, n_dests - moved);
	fflush(stdout);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	for (unsigned int i = 0; i < n_shown; i++)
		look(&dests[i]);
}

static void add(const struct pc_ip *ip)
{
	struct dest *d = &dests[n_dests++];

	d->ip = *ip;
	d->index = UINT32_MAX;
}

static void take(struct dest *d)
{
	if (pc_nexthops_get(hops, &src, &d->ip, &d->index))
		d->index = UINT32_MAX;
}

static unsigned int count_found(void)
{
	unsigned int found = 0;
	uint32_t index;

	for (unsigned int i = 0; i < n_dests; i++)
		found += pc_nexthops_find(hops, &src, &dests[i].ip, &index) == 0;
	return found;
}

static int take_all(bool ahead)
{
	struct pc_nexthops_way *ways = calloc(n_dests, sizeof(*ways));
	unsigned int found = 0;

	if (!ways)
		return 1;
	for (unsigned int i = 0; i < n_dests; i++)
		ways[i] = (struct pc_nexthops_way){ src, dests[i].ip };
	if (ahead) {
		pc_nexthops_ahead(hops, ways, n_dests);
		found = count_found();
	}
	free(ways);
	for (unsigned int i = 0; i < n_dests - ahead; i++)
		take(&dests[i]);
	if (ahead) {
		pc_nexthops_ahead_end(hops);
		printf("AHEAD found=%u forgotten=%u\n", found, found - count_found());
		n_dests--;
	}
	return 0;
}

static int open_all(const char *bpffs, const char *state_dir, struct pc_dp **ret_dp)
{
	struct pc_dp_config config = {
		.bpffs = bpffs,
		.state_dir = state_dir,
		.max_sessions = 64,
		.max_tenants = 16,
		.service_ports = { 3478 },
		.relay_low = 49152,
		.relay_high = 65535,
		.kernel = true,
	};
	struct pc_dp_status status;
	char path[512];

	if (pc_dp_open(&config, ret_dp))
		return 1;
	pc_dp_get_status(*ret_dp, &status);
	snprintf(path, sizeof(path), "%s/%s", bpffs, PC_MAP_NEXTHOP);
	map_fd = status.kernel ? bpf_obj_get(path) : -1;
	if (map_fd >= 0)
		return 0;
	fprintf(stderr, "nexthop: no kernel half: %s\n", status.reason);
	return 77;
}

static int run(struct pc_dp *dp, char **names, int n, uint64_t probe_ms, uint64_t many, bool ahead)
{
	struct ev_loop *loop = ev_default_loop(0);
	ev_timer tick;
	int err = pc_nexthops_new(loop, dp, on_changed, NULL, &hops);

	if (err) {
		fprintf(stderr, "nexthop: %s\n", pc_strerror(err));
		return 1;
	}
	if (probe_ms)
		pc_nexthops_set_probe_interval(hops, probe_ms * 1000000);
	for (int i = 0; i < n; i++) {
		struct pc_ip ip;

		if (pc_ip_parse(names[i], &ip))
			return 2;
		add(&ip);
	}
	n_shown = n_dests;
	for (uint64_t i = 0; i < many; i++) {
		struct pc_ip ip = pc_ip4(198, 19, (uint8_t)(i >> 8), (uint8_t)i);

		add(&ip);
	}
	if (take_all(ahead))
		return 1;
	printf("READY entries=%u unresolved=%u\n", pc_nexthops_count(hops),
	       pc_nexthops_unresolved(hops));
	ev_timer_init(&tick, on_tick, 0., 0.05);
	ev_timer_start(loop, &tick);
	ev_run(loop, 0);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t probe_ms = 0, many = 0;
	bool ahead = false;
	struct pc_dp *dp;
	int opt, err;

	while ((opt = getopt(argc, argv, "ap:m:")) != -1) {
		if (opt == 'a')
			ahead = true;
		else if (opt == 'p' ? pc_parse_u64(optarg, 1, 1000000, &probe_ms)
				    : opt != 'm' || pc_parse_u64(optarg, 0, MAX_DESTS, &many))
			return 2;
	}
	dests = calloc((size_t)many + (size_t)argc, sizeof(*dests));
	if (!dests || argc - optind < 4 || pc_ip_parse(argv[optind + 2], &src)) {
		fprintf(stderr,
			"usage: nexthop [-a] [-p PROBE_MS] [-m N] BPFFS STATE_DIR SRC DST...\n");
		return 2;
	}
	err = open_all(argv[optind], argv[optind + 1], &dp);
	return err ? err : run(dp, argv + optind + 3, argc - optind - 3, probe_ms, many, ahead);
}
