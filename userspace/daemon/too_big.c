/* SPDX-License-Identifier: MIT */
#include "daemon/too_big.h"

#include <errno.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/wire.h"

#define MESSAGES_PER_WAKE 64
/* IP header with options, ICMP header, and the start of what was too large. */
#define MESSAGE_MAX	 256
#define FRAGMENT_OFFSET	 0x1fff
#define FRAGMENT6_OFFSET 0xfff8

struct raw {
	struct ev_io watcher;
	int fd;
	uint8_t family;
};

struct pc_too_big {
	struct ev_loop *loop;
	pc_too_big_fn *fn;
	void *arg;
	struct raw raw[2];
};

static void read_ip(struct pc_reader *r, uint8_t family, struct pc_addr *a)
{
	a->ip = (struct pc_ip){ .family = family };
	pc_read_copy(r, a->ip.b, family == 4 ? 4 : 16);
}

static void read_ports(struct pc_reader *r, struct pc_too_big_report *report)
{
	report->local.port = pc_read_u16(r);
	report->remote.port = pc_read_u16(r);
}

/* An IPv4 header. Returns its protocol; -1: no header, or that of a later fragment. */
static int read_header4(struct pc_reader *r, struct pc_addr *src, struct pc_addr *dst)
{
	uint8_t version = pc_read_u8(r), protocol;
	uint16_t offset;

	pc_read_skip(r, 5);
	offset = pc_read_u16(r) & FRAGMENT_OFFSET;
	pc_read_skip(r, 1);
	protocol = pc_read_u8(r);
	pc_read_skip(r, 2);
	read_ip(r, 4, src);
	read_ip(r, 4, dst);
	if (r->failed || version >> 4 != 4 || (version & 15) < 5 || offset)
		return -1;
	pc_read_skip(r, (size_t)((version & 15) - 5) * 4);
	return protocol;
}

static int parse4(struct pc_reader *r, struct pc_too_big_report *report)
{
	struct pc_addr from, to;

	if (read_header4(r, &from, &to) != IPPROTO_ICMP)
		return PC_ERR_MALFORMED;
	report->type = pc_read_u8(r);
	report->code = pc_read_u8(r);
	pc_read_skip(r, 4);
	report->mtu = pc_read_u16(r);
	if (report->type != ICMP_DEST_UNREACH || report->code != ICMP_FRAG_NEEDED ||
	    read_header4(r, &report->local, &report->remote) != IPPROTO_UDP)
		return PC_ERR_MALFORMED;
	read_ports(r, report);
	return r->failed ? PC_ERR_MALFORMED : 0;
}

static int parse6(struct pc_reader *r, struct pc_too_big_report *report)
{
	uint8_t next;

	report->type = pc_read_u8(r);
	report->code = pc_read_u8(r);
	pc_read_skip(r, 2);
	report->mtu = pc_read_u32(r);
	pc_read_skip(r, 6);
	next = pc_read_u8(r);
	pc_read_skip(r, 1);
	read_ip(r, 6, &report->local);
	read_ip(r, 6, &report->remote);
	if (next == IPPROTO_FRAGMENT) {
		next = pc_read_u8(r);
		pc_read_skip(r, 1);
		if (pc_read_u16(r) & FRAGMENT6_OFFSET)
			return PC_ERR_MALFORMED;
		pc_read_skip(r, 4);
	}
	read_ports(r, report);
	if (r->failed || report->type != ICMP6_PACKET_TOO_BIG || next != IPPROTO_UDP)
		return PC_ERR_MALFORMED;
	return 0;
}

int pc_too_big_parse(uint8_t family, const uint8_t *message, size_t len,
		     struct pc_too_big_report *ret_report)
{
	struct pc_too_big_report report = { 0 };
	struct pc_reader r;
	int err;

	pc_reader_init(&r, message, len);
	err = family == 4 ? parse4(&r, &report) : parse6(&r, &report);
	if (err)
		return err;
	*ret_report = report;
	return 0;
}

static void on_readable(struct ev_loop *loop, struct ev_io *w, int events)
{
	struct raw *raw = pc_container_of(w, struct raw, watcher);
	struct pc_too_big *t = w->data;
	uint8_t message[MESSAGE_MAX];

	(void)loop;
	(void)events;
	for (int i = 0; i < MESSAGES_PER_WAKE; i++) {
		ssize_t n = recv(raw->fd, message, sizeof(message), 0);
		struct pc_too_big_report report;

		if (n < 0)
			return;
		if (!pc_too_big_parse(raw->family, message, (size_t)n, &report))
			t->fn(t->arg, &report);
	}
}

/* The kernel keeps all other messages away. */
static int set_filter(const struct raw *raw)
{
	struct icmp_filter only4 = { .data = ~(1u << ICMP_DEST_UNREACH) };
	struct icmp6_filter only6;
	int r;

	if (raw->family == 4) {
		r = setsockopt(raw->fd, SOL_RAW, ICMP_FILTER, &only4, sizeof(only4));
	} else {
		ICMP6_FILTER_SETBLOCKALL(&only6);
		ICMP6_FILTER_SETPASS(ICMP6_PACKET_TOO_BIG, &only6);
		r = setsockopt(raw->fd, IPPROTO_ICMPV6, ICMP6_FILTER, &only6, sizeof(only6));
	}
	return r < 0 ? -errno : 0;
}

static int open_raw(struct pc_too_big *t, struct raw *raw, uint8_t family)
{
	int r;

	raw->family = family;
	raw->fd = socket(family == 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
			 family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (raw->fd < 0)
		return -errno;
	r = set_filter(raw);
	if (r) {
		close(TAKE_FD(raw->fd));
		return r;
	}
	ev_io_init(&raw->watcher, on_readable, raw->fd, EV_READ);
	raw->watcher.data = t;
	ev_io_start(t->loop, &raw->watcher);
	return 0;
}

int pc_too_big_new(struct ev_loop *loop, pc_too_big_fn *fn, void *arg,
		   struct pc_too_big **ret_too_big)
{
	struct pc_too_big *t = calloc(1, sizeof(*t));
	int err4, err6;

	if (!t)
		return -ENOMEM;
	*t = (struct pc_too_big){ .loop = loop, .fn = fn, .arg = arg };
	err4 = open_raw(t, &t->raw[0], 4);
	err6 = open_raw(t, &t->raw[1], 6);
	if (err4 && err6) {
		pc_too_big_free(t);
		return err4;
	}
	*ret_too_big = t;
	return 0;
}

void pc_too_big_free(struct pc_too_big *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < PC_ARRAY_SIZE(t->raw); i++) {
		if (t->raw[i].fd < 0)
			continue;
		ev_io_stop(t->loop, &t->raw[i].watcher);
		close(t->raw[i].fd);
	}
	free(t);
}
