/* SPDX-License-Identifier: MIT */
/*
 * turnwrap: TCP between two hosts through a TURN allocation, like turntun, but in the kernel:
 * programs on the hosts' interfaces put packets into datagrams and take them out (wrap.bpf.c).
 *
 *   turnwrap --server A:P --user U --password P --peer A:P --netns PATH --dev NAME [--log FILE]
 *
 * It is started where the client is and has the allocation with a channel to the peer's address;
 * PATH is the peer's namespace; both call their interface NAME. All TCP that leaves by one of the
 * two goes to the other. Says "ready"; on SIGTERM everything is gone again, with a line of JSON.
 * --log: what arrived at the peer, by the clock of its kernel (see binlog.h). Ends within 5 minutes
 * of what it allocated: nothing is renewed.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "lib/csum.h"

#include "binlog.h"
#include "turn_client.h"

#define CHANNEL 0x4abc
#define BINS	16384u
#define TTL	64

/* The same layout as in wrap.bpf.c. */
struct header {
	struct {
		uint8_t version, tos;
		uint16_t length, id, fragment;
		uint8_t ttl, protocol;
		uint16_t check;
		uint8_t from[4], to[4];
	} ip;
	struct {
		uint16_t from, to, length, check;
	} udp;
	uint16_t channel, length;
} __attribute__((packed));

struct bin {
	uint64_t number, packets, bytes;
};

/* Knows struct header by its name alone. */
#include "bench_wrap.skel.h"

struct end {
	struct bench_wrap *skel;
	struct bpf_link *link;
	struct bpf_tc_hook hook;
};

struct wrap {
	struct turn_client turn;
	struct pc_addr server, peer;
	const char *netns, *dev, *log;
	struct end client, far;
};

static struct sockaddr_in in_of(const struct pc_addr *a)
{
	struct sockaddr_storage ss;
	struct sockaddr_in in;

	pc_addr_to_sockaddr(a, &ss);
	memcpy(&in, &ss, sizeof(in));
	return in;
}

static struct header header_of(const struct sockaddr_in *from, const struct sockaddr_in *to)
{
	struct header h = {
		.ip = { .version = 0x45,
			.fragment = htons(0x4000),
			.ttl = TTL,
			.protocol = IPPROTO_UDP },
		.udp = { .from = from->sin_port, .to = to->sin_port },
		.channel = htons(CHANNEL),
	};
	uint32_t words[5];

	memcpy(h.ip.from, &from->sin_addr, sizeof(h.ip.from));
	memcpy(h.ip.to, &to->sin_addr, sizeof(h.ip.to));
	memcpy(words, &h.ip, sizeof(words));
	h.ip.check = (uint16_t)~pc_csum_fold(pc_csum_words(words, 5));
	return h;
}

/* In the namespace we are in. */
static int attach(struct end *e, const char *dev, const struct header *h, bool channel)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
	int ifindex = (int)if_nametoindex(dev), r;

	e->skel = bench_wrap__open();
	if (!ifindex || !e->skel)
		return -ENODEV;
	memcpy((void *)&e->skel->rodata->wrap_header, h, sizeof(*h));
	e->skel->rodata->wrap_channel = channel;
	r = bench_wrap__load(e->skel);
	if (r)
		return r;
	e->link = bpf_program__attach_xdp(e->skel->progs.unwrap, ifindex);
	if (!e->link)
		return -errno;
	e->hook = (struct bpf_tc_hook){ .sz = sizeof(e->hook),
					.ifindex = ifindex,
					.attach_point = BPF_TC_EGRESS };
	r = bpf_tc_hook_create(&e->hook);
	if (r && r != -EEXIST)
		return r;
	opts.prog_fd = bpf_program__fd(e->skel->progs.wrap);
	return bpf_tc_attach(&e->hook, &opts);
}

static int enter(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

static int start(struct wrap *w)
{
	const struct pc_addr any = { .ip.family = 4 };
	struct sockaddr_in local, server = in_of(&w->server), peer = in_of(&w->peer), relayed;
	socklen_t len = sizeof(local);
	struct header h;
	int r;

	r = tc_open(&w->turn, &any, &w->server);
	if (!r)
		r = tc_allocate(&w->turn);
	if (!r)
		r = tc_bind(&w->turn, CHANNEL, &w->peer);
	if (r || getsockname(w->turn.fd, (struct sockaddr *)&local, &len) < 0)
		return r ? r : -errno;
	relayed = in_of(&w->turn.relayed);
	h = header_of(&local, &server);
	r = attach(&w->client, w->dev, &h, true);
	if (!r)
		r = enter(w->netns);
	h = header_of(&peer, &relayed);
	return r ? r : attach(&w->far, w->dev, &h, false);
}

/* The bins of the peer, in order, in real time. */
static int write_log(const struct wrap *w)
{
	uint64_t shift = (pc_clock_realtime() - pc_clock_monotonic()) / BINLOG_NS;
	uint64_t last = pc_clock_monotonic() / BINLOG_NS;
	_cleanup_file_ FILE *f = fopen(w->log, "we");
	struct binlog log = { .file = f, .name = "peer" };

	if (!f)
		return -errno;
	for (uint64_t n = last > BINS ? last - BINS + 1 : 0; n <= last; n++) {
		uint32_t key = (uint32_t)(n % BINS);
		struct bin b;

		if (bpf_map__lookup_elem(w->far.skel->maps.wrap_bins, &key, sizeof(key), &b,
					 sizeof(b), 0))
			return -errno;
		if (b.number != n)
			continue;
		log.bin = n + shift;
		log.packets = b.packets;
		log.bytes = b.bytes;
		binlog_flush(&log);
	}
	return 0;
}

static void print_end(const char *name, const struct end *e)
{
	printf("\"%s\":{\"out\":%" PRIu64 ",\"in\":%" PRIu64 ",\"lost\":%" PRIu64 "}", name,
	       (uint64_t)e->skel->bss->wrap_out, (uint64_t)e->skel->bss->wrap_in,
	       (uint64_t)e->skel->bss->wrap_lost);
}

/* In the namespace it was attached in. */
static void detach(struct end *e)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);

	bpf_tc_detach(&e->hook, &opts);
	bpf_link__destroy(e->link);
}

static int parse_option(struct wrap *w, int c)
{
	switch (c) {
	case 's':
		return pc_addr_parse(optarg, &w->server);
	case 'p':
		return pc_addr_parse(optarg, &w->peer);
	case 'u':
		w->turn.user = optarg;
		return 0;
	case 'w':
		w->turn.password = optarg;
		return 0;
	case 'n':
		w->netns = optarg;
		return 0;
	case 'd':
		w->dev = optarg;
		return 0;
	case 'l':
		w->log = optarg;
		return 0;
	}
	return -EINVAL;
}

static int parse_args(struct wrap *w, int argc, char **argv)
{
	static const struct option opts[] = {
		{ "server", 1, 0, 's' },   { "user", 1, 0, 'u' },
		{ "password", 1, 0, 'w' }, { "peer", 1, 0, 'p' },
		{ "netns", 1, 0, 'n' },	   { "dev", 1, 0, 'd' },
		{ "log", 1, 0, 'l' },	   { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1)
		if (parse_option(w, c) < 0)
			return -EINVAL;
	return w->server.port && w->peer.port && w->turn.user && w->turn.password && w->netns &&
			       w->dev
		       ? 0
		       : -EINVAL;
}

int main(int argc, char **argv)
{
	static struct wrap w;
	_cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	sigset_t ends;
	int sig, r;

	if (parse_args(&w, argc, argv) < 0 || sodium_init() < 0) {
		fprintf(stderr, "usage: turnwrap --server A:P --user U --password P --peer A:P "
				"--netns PATH --dev NAME [--log FILE]\n");
		return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	r = start(&w);
	if (r) {
		fprintf(stderr, "turnwrap: %d\n", r);
		return 1;
	}
	fprintf(stderr, "ready\n");
	sigwait(&ends, &sig);
	detach(&w.far);
	if (setns(home, CLONE_NEWNET) == 0)
		detach(&w.client);
	printf("{");
	print_end("client", &w.client);
	printf(",");
	print_end("peer", &w.far);
	printf("}\n");
	return w.log && write_log(&w) < 0;
}
