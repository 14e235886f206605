/* SPDX-License-Identifier: MIT */
/*
 * delayline [--log FILE] [--pool RATE] DELAY_US IF_A,IF_B[,NAME[,POLICER]]...
 *
 * A line of fixed delay each way between two interfaces, or several pairs of them. What goes from
 * A to B first meets the policer (see policer.h), at the time it arrived. "ready" on stderr; ends
 * on SIGTERM with one JSON line. --log: what left the policer, by pair (see binlog.h).
 * --pool: the policers that are clocks share a root clock of this rate.
 *
 * 1. The kernel puts a frame with its time of arrival into a ring (TPACKET_V2) that both sides map.
 * 2. The frame stays there until arrival plus delay: the ring is the line, so its memory is bounded
 *    and nothing is copied; what finds the ring full is counted as lost by the kernel.
 * 3. Of all heads of rings the one due first is sent from where it lies, then its place is free.
 * While frames wait we sleep until the first is due and never longer than the delay: what arrives
 * meanwhile is due later. Only with empty rings do we wait for arrivals.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "binlog.h"
#include "ecn.h"
#include "policer.h"

#define MAX_PAIRS   12
#define FRAME_SIZE  2048
#define FRAMES	    16384 /* 32 MiB each way; 100 ms of 160 000 packets/s */
#define BLOCK_SIZE  (1u << 20)
#define AHEAD_NS    30000 /* a frame due this soon is sent now: fewer wake-ups */
#define LATE_BINS   200
#define LATE_BIN_NS 50000
#define DRAIN_NS    (100 * PC_NS_PER_MS)
#define NEVER	    UINT64_MAX

struct end {
	int fd;
	uint8_t *ring;
	unsigned int head;
};

struct direction {
	struct end *in, *out;
	struct policer *policer; /* NULL: none this way */
	struct pc_rate_root *root;
	struct binlog log;
	uint64_t packets, bytes, dropped, marked, lost;
	uint64_t late[LATE_BINS], late_max;
};

struct pair {
	char name_a[IF_NAMESIZE], name_b[IF_NAMESIZE], name[32];
	struct end a, b;
	struct policer policer;
	struct direction up, down;
};

struct line {
	struct pair pairs[MAX_PAIRS];
	unsigned int n;
	uint64_t delay;
	FILE *log;
	struct pc_rate_root root;
};

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static int end_open(struct end *e, const char *ifname)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct tpacket_req req = { .tp_block_size = BLOCK_SIZE,
				   .tp_frame_size = FRAME_SIZE,
				   .tp_block_nr = FRAMES / (BLOCK_SIZE / FRAME_SIZE),
				   .tp_frame_nr = FRAMES };
	int one = 1, version = TPACKET_V2, big = 64 << 20;

	sll.sll_ifindex = (int)if_nametoindex(ifname);
	if (!sll.sll_ifindex)
		return -ENODEV;
	e->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (e->fd < 0 ||
	    setsockopt(e->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
	    setsockopt(e->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
	    setsockopt(e->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0 ||
	    setsockopt(e->fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)) < 0)
		return -errno;
	e->ring = mmap(NULL, (size_t)FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_LOCKED | MAP_POPULATE, e->fd, 0);
	if (e->ring == MAP_FAILED || bind(e->fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		return -errno;
	return 0;
}

/* The oldest frame that waits, or NULL. */
static struct tpacket2_hdr *end_head(const struct end *e)
{
	struct tpacket2_hdr *h = (void *)(e->ring + (size_t)e->head * FRAME_SIZE);

	return __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER ? h : NULL;
}

static void end_release(struct end *e, struct tpacket2_hdr *h)
{
	__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	e->head = (e->head + 1) % FRAMES;
}

static uint64_t arrival(const struct tpacket2_hdr *h)
{
	return h->tp_sec * PC_NS_PER_S + h->tp_nsec;
}

/* The IP packet in the frame, or NULL: neighbour discovery has no rate. */
static uint8_t *packet_of(struct tpacket2_hdr *h)
{
	uint8_t *frame = (uint8_t *)h + h->tp_mac;
	unsigned int type = h->tp_snaplen < ETH_HLEN + 20 ? 0 : frame[12] << 8 | frame[13];

	return type == ETH_P_IP || type == ETH_P_IPV6 ? frame + ETH_HLEN : NULL;
}

/* Whether the frame may go on. */
static bool police(struct direction *d, struct tpacket2_hdr *h)
{
	uint8_t *ip = packet_of(h);
	uint32_t bytes = h->tp_len - ETH_HLEN;
	enum policer_verdict v = POLICER_PASS;

	if (d->policer && ip)
		v = policer_admit(d->policer, d->root, arrival(h), bytes, ecn_of(ip, bytes));
	if (v == POLICER_DROP) {
		d->dropped++;
		binlog_drop(&d->log, arrival(h), bytes);
		return false;
	}
	if (v == POLICER_MARK) {
		ecn_set_ce(ip);
		d->marked++;
		d->log.marks++;
	}
	if (ip)
		binlog_pass(&d->log, arrival(h), bytes);
	return true;
}

static void note_late(struct direction *d, uint64_t late)
{
	uint64_t bin = late / LATE_BIN_NS;

	d->late[bin < LATE_BINS ? bin : LATE_BINS - 1]++;
	if (late > d->late_max)
		d->late_max = late;
}

static void forward(struct direction *d, struct tpacket2_hdr *h, uint64_t due)
{
	uint64_t now;

	/* A frame that was cut, or whose checksum is for a device to fill in, is none we can send.
	 */
	if (h->tp_snaplen < h->tp_len || (h->tp_status & TP_STATUS_CSUMNOTREADY)) {
		d->lost++;
	} else if (police(d, h)) {
		if (send(d->out->fd, (uint8_t *)h + h->tp_mac, h->tp_len, 0) != (ssize_t)h->tp_len)
			d->lost++;
		now = pc_clock_realtime();
		note_late(d, now > due ? now - due : 0);
		d->packets++;
		d->bytes += h->tp_len - ETH_HLEN;
	}
	end_release(d->in, h);
}

/* The direction whose head is due first; its time in @ret_due. NULL: all rings are empty. */
static struct direction *first(struct line *l, struct tpacket2_hdr **ret_head, uint64_t *ret_due)
{
	struct direction *found = NULL;

	*ret_due = NEVER;
	for (unsigned int i = 0; i < 2 * l->n; i++) {
		struct pair *p = &l->pairs[i / 2];
		struct direction *d = i & 1 ? &p->down : &p->up;
		struct tpacket2_hdr *h = end_head(d->in);

		if (!h || arrival(h) + l->delay >= *ret_due)
			continue;
		found = d;
		*ret_head = h;
		*ret_due = arrival(h) + l->delay;
	}
	return found;
}

static void wait_arrival(struct line *l)
{
	struct pollfd p[2 * MAX_PAIRS];

	for (unsigned int i = 0; i < 2 * l->n; i++) {
		struct pair *pair = &l->pairs[i / 2];

		p[i] = (struct pollfd){ .fd = i & 1 ? pair->a.fd : pair->b.fd, .events = POLLIN };
	}
	poll(p, 2 * l->n, 100);
}

/* What is under way when we are told to stop still gets there. */
static void run(struct line *l)
{
	uint64_t end = NEVER;

	for (;;) {
		struct tpacket2_hdr *h = NULL;
		uint64_t due, now = pc_clock_realtime();
		struct direction *d = first(l, &h, &due);

		if (stop && end == NEVER)
			end = now + l->delay + DRAIN_NS;
		if (stop && (!d || now >= end))
			return;
		if (!d) {
			wait_arrival(l);
		} else if (due <= now + AHEAD_NS) {
			forward(d, h, due);
		} else {
			uint64_t ns = due - now < l->delay ? due - now : l->delay;
			struct timespec ts = { (time_t)(ns / PC_NS_PER_S),
					       (long)(ns % PC_NS_PER_S) };

			nanosleep(&ts, NULL);
		}
	}
}

/* What the kernel could not put into the ring. */
static uint64_t ring_losses(const struct end *e)
{
	struct tpacket_stats st = { 0 };
	socklen_t len = sizeof(st);

	getsockopt(e->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len);
	return st.tp_drops;
}

/* Microseconds that @share of the packets were not later than, up to the width of a bin. */
static uint64_t late_us(const struct direction *d, double share)
{
	uint64_t sum = 0, total = 0;
	unsigned int i = 0;

	for (i = 0; i < LATE_BINS; i++)
		total += d->late[i];
	for (i = 0; i < LATE_BINS - 1; i++) {
		sum += d->late[i];
		if ((double)sum >= share * (double)total)
			break;
	}
	return (i + 1) * LATE_BIN_NS / 1000;
}

static void report_direction(const char *name, struct direction *d)
{
	binlog_flush(&d->log);
	printf("\"%s\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"dropped\":%" PRIu64
	       ",\"marked\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"waiting\":%d"
	       ",\"late_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"p999\":%" PRIu64
	       ",\"max\":%" PRIu64 "}}",
	       name, d->packets, d->bytes, d->dropped, d->marked, d->lost + ring_losses(d->in),
	       end_head(d->in) != NULL, late_us(d, 0.5), late_us(d, 0.99), late_us(d, 0.999),
	       d->late_max / 1000);
}

static void report(struct line *l)
{
	printf("{\"pairs\":[");
	for (unsigned int i = 0; i < l->n; i++) {
		struct pair *p = &l->pairs[i];

		printf("%s{\"name\":\"%s\",", i ? "," : "", p->name);
		report_direction("up", &p->up);
		printf(",");
		report_direction("down", &p->down);
		printf("}");
	}
	printf("]}\n");
	if (l->log)
		fclose(l->log);
}

static int parse_pair(struct line *l, const char *text)
{
	struct pair *p = &l->pairs[l->n];
	char policer[128] = "none";
	int n;

	if (l->n == MAX_PAIRS)
		return -E2BIG;
	n = sscanf(text, "%15[^,],%15[^,],%31[^,],%127s", p->name_a, p->name_b, p->name, policer);
	if (n < 2 || policer_parse(policer, &p->policer) < 0)
		return -EINVAL;
	if (n < 3)
		snprintf(p->name, sizeof(p->name), "line%u", l->n);
	l->n++;
	return 0;
}

static int open_pair(struct line *l, struct pair *p)
{
	int r = end_open(&p->a, p->name_a);

	r = r ? r : end_open(&p->b, p->name_b);
	p->up = (struct direction){
		.in = &p->a, .out = &p->b, .policer = &p->policer, .root = &l->root
	};
	p->up.log = (struct binlog){ .file = l->log, .name = p->name };
	p->down = (struct direction){ .in = &p->b, .out = &p->a };
	if (r)
		fprintf(stderr, "delayline: %s, %s: %s\n", p->name_a, p->name_b, strerror(-r));
	return r;
}

/* Ahead of what it delays; without the right to be, it is only less exact. */
static void be_exact(void)
{
	struct sched_param sp = { .sched_priority = 1 };

	prctl(PR_SET_TIMERSLACK, 1);
	if (sched_setscheduler(0, SCHED_FIFO, &sp) < 0)
		fprintf(stderr, "delayline: no real-time priority: %s\n", strerror(errno));
}

static int parse_args(struct line *l, int argc, char **argv)
{
	static const struct option opts[] = { { "log", 1, 0, 'l' }, { "pool", 1, 0, 'p' }, { 0 } };
	uint64_t us, pool;
	int c;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		if (c == 'l')
			l->log = fopen(optarg, "we");
		else if (c == 'p' && pc_parse_size(optarg, &pool) == 0)
			l->root.rate = pc_rate_word(pool);
		else
			return -EINVAL;
		if (c == 'l' && !l->log)
			return -errno;
		if (c == 'l')
			setlinebuf(l->log);
	}
	if (optind + 2 > argc || pc_parse_u64(argv[optind], 0, 1000000, &us) < 0)
		return -EINVAL;
	l->delay = us * 1000;
	for (int i = optind + 1; i < argc; i++)
		if (parse_pair(l, argv[i]) < 0)
			return -EINVAL;
	return 0;
}

int main(int argc, char **argv)
{
	/* How long the uplink may be behind, by class: free, paid, owner, control. */
	static struct line l = { .root.limit_ns = { 5000000, 20000000, 50000000, 50000000 } };

	if (parse_args(&l, argc, argv) < 0) {
		fprintf(stderr, "usage: delayline [--log FILE] [--pool RATE] DELAY_US "
				"IF_A,IF_B[,NAME[,POLICER]]...\n");
		return 2;
	}
	for (unsigned int i = 0; i < l.n; i++)
		if (open_pair(&l, &l.pairs[i]) < 0)
			return 1;
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	be_exact();
	fprintf(stderr, "ready\n");
	run(&l);
	report(&l);
	return 0;
}
