/* SPDX-License-Identifier: MIT */
/*
 * One measurement of a relay: frames go in at one end, are counted at the other, and the CPU time
 * the whole machine was busy meanwhile is taken.
 *
 *   relay_load --from NETNS:IF --to NETNS:IF --src ADDR:PORT --dst ADDR:PORT --dst-mac MAC
 *              --sink-port PORT [--count N] [--payload BYTES] [--rate PPS] [--together]
 *              [--cpu N] [--pid PID]
 *
 * Sends COUNT frames of ChannelData (channel 0x4abc, valid UDP checksum) out of --from and counts
 * UDP to --sink-port in an XDP program on --to, which drops it. A second run of the same against a
 * sink at the other end of the cable tells what generator and sink cost by themselves.
 *
 * Without --rate: live frames of BPF_PROG_TEST_RUN as fast as they go. They reach the relay as a
 * driver's frames would, and all that follows happens on the CPU of the generator.
 * With --rate: a packet socket, in bursts of BURST, which the receiver gets as socket buffers: what
 * a relay in user space would have to allocate is then the generator's cost, not the relay's.
 * A packet socket hands over its frames one by one; with --together a burst is one frame that is
 * cut into its packets on the way out, and they reach the other end of the cable together, as from
 * a driver's poll: there the kernel may put them together again (GRO).
 *
 * Prints one JSON line. "busy": CPU seconds not idle (and not stolen) on all CPUs, from the idle
 * time of /proc/stat, which is exact where the tick stops in idle. "self", "process": CPU time of
 * this process and of --pid.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "bench_frames.skel.h"
#include "tests/bpf/frame.h"

#define CHANNEL	    0x4abc
#define LINE	    8  /* words a CPU has in pc_frames_got: packets, bytes */
#define HEAD	    64 /* the generator writes this much of every frame anew */
#define LINK_HEAD   14
#define OVERHEAD    (LINK_HEAD + 20 + 8 + 4)
#define MIN_PAYLOAD (HEAD - OVERHEAD)
#define MAX_PAYLOAD 1400
/* Since Linux 6.2, younger than the headers of Debian 12. */
#define GSO_UDP_L4  5
#define BATCH	    64 /* live frames */
#define BURST	    32 /* of the packet socket */
#define WARM_FRAMES 64
#define WARM_MS	    2000
#define QUIET_MS    150 /* nothing more arrived for so long: what is missing is lost */

struct end {
	char netns[64];
	char dev[IF_NAMESIZE];
};

struct bench {
	struct end from, to;
	struct pc_addr src, dst;
	uint8_t dst_mac[6];
	uint64_t sink_port, count, payload, rate;
	bool together;
	int cpu, pid;
	/* at work */
	struct frame frame;
	struct bench_frames *bpf;
	struct bpf_link *link;
	int socket;
	struct sockaddr_ll to_dev;
};

struct sample {
	uint64_t ns, delivered, bytes, self_ns, process_ns;
	double idle; /* or stolen: seconds on all CPUs */
};

static int enter(const struct end *end)
{
	char path[96];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/run/netns/%s", end->netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
		fprintf(stderr, "relay_load: namespace %s: %s\n", end->netns, strerror(errno));
		return -1;
	}
	if (!if_nametoindex(end->dev)) {
		fprintf(stderr, "relay_load: no interface %s in %s\n", end->dev, end->netns);
		return -1;
	}
	return (int)if_nametoindex(end->dev);
}

/* --- both ends --- */

/* Attaches to @ifindex in the namespace we are in. */
static int start_sink(struct bench *b, int ifindex)
{
	b->link = bpf_program__attach_xdp(b->bpf->progs.pc_frames_sink, ifindex);
	if (b->link)
		return 0;
	fprintf(stderr, "relay_load: cannot attach to %s: %s\n", b->to.dev, strerror(errno));
	return -1;
}

static int build_frame(struct bench *b)
{
	uint8_t data[MAX_PAYLOAD], wrapped[MAX_PAYLOAD + 4];
	struct frame_spec spec = {
		.link_seed = 1,
		.ttl = 64,
		.from = { get32(b->src.ip.b), b->src.port },
		.to = { get32(b->dst.ip.b), b->dst.port },
		.payload = wrapped,
	};

	frame_fill(data, b->payload, 1);
	spec.len = frame_channel_data(wrapped, CHANNEL, data, b->payload, 0, 0);
	frame_build(&b->frame, &spec);
	memcpy(b->frame.bytes, b->dst_mac, sizeof(b->dst_mac));
	return 0;
}

static int open_socket(struct bench *b, int ifindex)
{
	int big = 8 << 20, one = 1;

	b->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (b->socket < 0)
		return -1;
	setsockopt(b->socket, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	if (b->together &&
	    setsockopt(b->socket, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0)
		return -1;
	b->to_dev = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = ifindex,
		.sll_halen = ETH_ALEN,
	};
	memcpy(b->to_dev.sll_addr, b->dst_mac, ETH_ALEN);
	return 0;
}

static int load(struct bench *b, int ifindex)
{
	int cpus = libbpf_num_possible_cpus();

	b->bpf = bench_frames__open();
	if (!b->bpf || cpus < 1 || (size_t)cpus * LINE > PC_ARRAY_SIZE(b->bpf->bss->pc_frames_got))
		return -1;
	memcpy((void *)b->bpf->rodata->pc_frames_head, b->frame.bytes, HEAD);
	b->bpf->rodata->pc_frames_ifindex = (uint32_t)ifindex;
	b->bpf->rodata->pc_frames_port = (uint32_t)b->sink_port;
	b->bpf->rodata->pc_frames_cpus = (uint32_t)cpus;
	return bench_frames__load(b->bpf);
}

/* Ends in the namespace of the client: live frames belong to the one of who runs the program. */
static int start(struct bench *b)
{
	int to = enter(&b->to), from = to < 0 ? -1 : enter(&b->from);

	if (from < 0 || build_frame(b) || load(b, from) || open_socket(b, from) ||
	    enter(&b->to) < 0 || start_sink(b, to))
		return -1;
	return enter(&b->from) < 0 ? -1 : 0;
}

/* --- sending --- */

static uint64_t sum_of(const struct bench *b, unsigned int word)
{
	const volatile __u64 *got = b->bpf->bss->pc_frames_got;
	uint64_t sum = 0;

	for (; word < PC_ARRAY_SIZE(b->bpf->bss->pc_frames_got); word += LINE)
		sum += got[word];
	return sum;
}

static uint64_t delivered(const struct bench *b)
{
	return sum_of(b, 0);
}

static int run_live(struct bench *b, uint64_t count)
{
	struct xdp_md ctx = { .data_end = (uint32_t)b->frame.len };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = b->frame.bytes,
		    .data_size_in = (uint32_t)b->frame.len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = (int)count,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);

	return bpf_prog_test_run_opts(bpf_program__fd(b->bpf->progs.pc_frames), &opts);
}

/*
 * The program sends nothing while its window is full, so a run may end with frames to go. What did
 * not arrive in a whole run and QUIET_MS is lost, and no longer holds up the rest.
 */
static int send_live(struct bench *b, uint64_t count)
{
	volatile __u64 *sent = &b->bpf->bss->pc_frames_sent;
	uint64_t last = 0, since = pc_clock_monotonic(), got, now;
	int err = 0;

	*sent = delivered(b);
	b->bpf->bss->pc_frames_end = *sent + count;
	b->bpf->bss->pc_frames_lost = 0;
	while (!err && *sent < b->bpf->bss->pc_frames_end) {
		got = delivered(b);
		now = pc_clock_monotonic();
		if (got != last)
			since = now;
		else if (now - since > QUIET_MS * PC_NS_PER_MS)
			b->bpf->bss->pc_frames_lost = *sent - got;
		last = got;
		err = run_live(b, b->bpf->bss->pc_frames_end - *sent);
	}
	return err;
}

static void sleep_until(uint64_t ns)
{
	struct timespec at = { (time_t)(ns / PC_NS_PER_S), (long)(ns % PC_NS_PER_S) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int send_burst(struct bench *b, unsigned int n)
{
	struct iovec iov = { b->frame.bytes, b->frame.len };
	struct mmsghdr msgs[BURST] = { 0 };
	unsigned int sent = 0;
	int tries = 0;

	for (unsigned int i = 0; i < n; i++)
		msgs[i].msg_hdr = (struct msghdr){
			.msg_name = &b->to_dev,
			.msg_namelen = sizeof(b->to_dev),
			.msg_iov = &iov,
			.msg_iovlen = 1,
		};
	while (sent < n) {
		int k = sendmmsg(b->socket, msgs + sent, n - sent, 0);

		if (k > 0)
			sent += (unsigned int)k;
		else if (++tries > 1000)
			return -errno;
	}
	return 0;
}

/* Sum of 16-bit words, as far as the kernel wants it: it adds the rest and complements. */
static uint16_t pseudo_sum(const uint8_t *ip, size_t udp_len)
{
	uint32_t sum = IPPROTO_UDP + (uint32_t)udp_len;

	for (int i = 12; i < 20; i += 2)
		sum += get16(ip + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* One frame, to be cut into @n. */
static int send_together(struct bench *b, unsigned int n)
{
	static uint8_t big[LINK_HEAD + 28 + BURST * (MAX_PAYLOAD + 4)];
	size_t head = LINK_HEAD + 28, each = b->frame.len - head, len = n * each;
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = n > 1 ? GSO_UDP_L4 : VIRTIO_NET_HDR_GSO_NONE,
		.hdr_len = (uint16_t)head,
		.gso_size = n > 1 ? (uint16_t)each : 0,
		.csum_start = LINK_HEAD + 20,
		.csum_offset = 6,
	};
	struct iovec iov[] = { { &vnet, sizeof(vnet) }, { big, head + len } };
	struct msghdr h = {
		.msg_name = &b->to_dev,
		.msg_namelen = sizeof(b->to_dev),
		.msg_iov = iov,
		.msg_iovlen = PC_ARRAY_SIZE(iov),
	};
	uint8_t *ip = big + LINK_HEAD;

	memcpy(big, b->frame.bytes, head);
	for (unsigned int i = 0; i < n; i++)
		memcpy(big + head + i * each, b->frame.bytes + head, each);
	put16(ip + 2, (uint16_t)(28 + len));
	put16(ip + 24, (uint16_t)(8 + len));
	put16(ip + 26, pseudo_sum(ip, 8 + len));
	frame_check_ip(ip);
	return sendmsg(b->socket, &h, 0) < 0 ? -errno : 0;
}

static int send_paced(struct bench *b, uint64_t count, uint64_t rate)
{
	uint64_t start = pc_clock_monotonic();
	unsigned int n;
	int err = 0;

	for (uint64_t done = 0; done < count && !err; done += BURST) {
		sleep_until(start + done * PC_NS_PER_S / rate);
		n = count - done < BURST ? (unsigned int)(count - done) : BURST;
		err = b->together ? send_together(b, n) : send_burst(b, n);
	}
	return err;
}

/* --- measuring --- */

/* Waits until @count more have arrived than at @from, or no more come. */
static void drain(struct bench *b, const struct sample *from, uint64_t count, uint64_t quiet_ms)
{
	uint64_t last = 0, since = pc_clock_monotonic(), now, got;

	while ((got = delivered(b)) - from->delivered < count) {
		now = pc_clock_monotonic();
		if (got != last)
			since = now;
		else if (now - since > quiet_ms * PC_NS_PER_MS)
			break;
		last = got;
		sleep_until(now + 2 * PC_NS_PER_MS);
	}
}

static uint64_t cpu_time(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * PC_NS_PER_S + (uint64_t)t.tv_nsec;
}

static double read_idle(void)
{
	_cleanup_file_ FILE *f = fopen("/proc/stat", "re");
	unsigned long long v[8] = { 0 };

	if (!f || fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2],
			 &v[3], &v[4], &v[5], &v[6], &v[7]) != 8)
		return 0;
	return (double)(v[3] + v[4] + v[7]) / (double)sysconf(_SC_CLK_TCK);
}

static struct sample take_sample(struct bench *b)
{
	struct sample s = { .delivered = delivered(b), .bytes = sum_of(b, 1) };
	clockid_t clock;

	if (b->pid && !clock_getcpuclockid(b->pid, &clock))
		s.process_ns = cpu_time(clock);
	s.self_ns = cpu_time(CLOCK_PROCESS_CPUTIME_ID);
	s.idle = read_idle();
	s.ns = pc_clock_monotonic();
	return s;
}

static void print_result(const struct bench *b, const struct sample *from, uint64_t sent_ns,
			 const struct sample *to)
{
	double seconds = (double)(to->ns - from->ns) / 1e9;
	double cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);

	printf("{\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"delivered_bytes\":%" PRIu64
	       ",\"payload\":%" PRIu64 ",\"rate\":%" PRIu64
	       ",\"seconds\":%.6f,\"send_seconds\":%.6f,\"busy\":%.6f,\"self\":%.6f"
	       ",\"process\":%.6f,\"together\":%s}\n",
	       b->count, to->delivered - from->delivered, to->bytes - from->bytes, b->payload,
	       b->rate, seconds, (double)(sent_ns - from->ns) / 1e9,
	       seconds * cpus - (to->idle - from->idle),
	       (double)(to->self_ns - from->self_ns) / 1e9,
	       (double)(to->process_ns - from->process_ns) / 1e9, b->together ? "true" : "false");
}

static int measure(struct bench *b)
{
	struct sample from, to;
	uint64_t sent_ns;
	int err;

	/* The relay resolves its neighbours with the first packets. */
	from = take_sample(b);
	err = send_paced(b, WARM_FRAMES, 10000);
	if (err)
		return err;
	drain(b, &from, WARM_FRAMES, WARM_MS);
	if (delivered(b) == from.delivered) {
		fprintf(stderr, "relay_load: nothing arrives\n");
		return -ENODATA;
	}
	from = take_sample(b);
	err = b->rate ? send_paced(b, b->count, b->rate) : send_live(b, b->count);
	sent_ns = pc_clock_monotonic();
	if (err)
		return err;
	drain(b, &from, b->count, QUIET_MS);
	to = take_sample(b);
	print_result(b, &from, sent_ns, &to);
	return 0;
}

/* --- arguments --- */

static int parse_end(const char *text, struct end *ret)
{
	const char *colon = strchr(text, ':');

	if (!colon || (size_t)(colon - text) >= sizeof(ret->netns) ||
	    strlen(colon + 1) >= sizeof(ret->dev))
		return -1;
	snprintf(ret->netns, sizeof(ret->netns), "%.*s", (int)(colon - text), text);
	snprintf(ret->dev, sizeof(ret->dev), "%s", colon + 1);
	return 0;
}

static int parse_mac(const char *text, uint8_t mac[static 6])
{
	char end;

	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
		      &mac[3], &mac[4], &mac[5], &end) == 6
		       ? 0
		       : -1;
}

static int parse_number(const char *text, uint64_t min, uint64_t max, int *ret)
{
	uint64_t value;

	if (pc_parse_u64(text, min, max, &value))
		return -1;
	*ret = (int)value;
	return 0;
}

static int parse_one(struct bench *b, int c)
{
	switch (c) {
	case 'f':
		return parse_end(optarg, &b->from);
	case 't':
		return parse_end(optarg, &b->to);
	case 's':
		return pc_addr_parse(optarg, &b->src);
	case 'd':
		return pc_addr_parse(optarg, &b->dst);
	case 'm':
		return parse_mac(optarg, b->dst_mac);
	case 'k':
		return pc_parse_u64(optarg, 1, 65535, &b->sink_port);
	case 'n':
		return pc_parse_u64(optarg, 1, 1000000000, &b->count);
	case 'l':
		return pc_parse_u64(optarg, MIN_PAYLOAD, MAX_PAYLOAD, &b->payload);
	case 'r':
		return pc_parse_u64(optarg, 100, 10000000, &b->rate);
	case 'c':
		return parse_number(optarg, 0, CPU_SETSIZE - 1, &b->cpu);
	case 'g':
		b->together = true;
		return 0;
	case 'p':
		return parse_number(optarg, 1, INT32_MAX, &b->pid);
	default:
		return -1;
	}
}

static int parse_args(struct bench *b, int argc, char **argv)
{
	static const struct option opts[] = {
		{ "from", 1, 0, 'f' },
		{ "to", 1, 0, 't' },
		{ "src", 1, 0, 's' },
		{ "dst", 1, 0, 'd' },
		{ "dst-mac", 1, 0, 'm' },
		{ "sink-port", 1, 0, 'k' },
		{ "count", 1, 0, 'n' },
		{ "payload", 1, 0, 'l' },
		{ "rate", 1, 0, 'r' },
		{ "cpu", 1, 0, 'c' },
		{ "pid", 1, 0, 'p' },
		{ "together", 0, 0, 'g' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1)
		if (parse_one(b, c))
			return -1;
	return optind < argc || !b->from.dev[0] || !b->to.dev[0] || b->src.ip.family != 4 ||
	       b->dst.ip.family != 4 || !b->sink_port;
}

static int pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((unsigned int)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	struct bench b = { .count = 100000, .payload = 160, .cpu = -1, .socket = -1 };
	int err = -1;

	if (parse_args(&b, argc, argv)) {
		fprintf(stderr, "usage: relay_load --from NETNS:IF --to NETNS:IF --src A:P "
				"--dst A:P --dst-mac MAC\n       --sink-port N [--count N] "
				"[--payload N] [--rate N] [--together] [--cpu N] [--pid N]\n");
		return 2;
	}
	libbpf_set_print(NULL);
	if (!pin(b.cpu) && !start(&b))
		err = measure(&b);
	if (err)
		fprintf(stderr, "relay_load: failed (%d)\n", err);
	bpf_link__destroy(b.link);
	bench_frames__destroy(b.bpf);
	return err ? 1 : 0;
}
