/* SPDX-License-Identifier: MIT */
/*
 * Frames in and out of an interface of some network namespace: injects them as they are, sees what
 * arrives, puts fragments together and checks every checksum. Shares no code with what is tested.
 */
#ifndef PC_TESTS_WIRE_TAP_H
#define PC_TESTS_WIRE_TAP_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bpf/frame.h"

#define TAP_MAX 8192

/* A whole IP packet; fragments are together again. */
struct tap_packet {
	uint16_t vlan; /* 0: no tag */
	uint8_t ttl, tos, protocol;
	bool ip_ok, whole; /* checksums of all IP headers; all fragments are there */
	bool trailer;	   /* there is something behind the IP packet */
	uint32_t from, to;
	uint16_t id;
	uint8_t data[TAP_MAX]; /* behind the IP header */
	size_t len, total;
};

struct tap {
	int fd;
	unsigned int ifindex;
	uint8_t mac[6];
	struct tap_packet packet; /* the last one, or the one that is being put together */
};

static inline int tap_enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* In the namespace that the thread is in. */
static inline int tap_open(struct tap *t, const char *ifname)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1, big = 16 << 20;

	t->ifindex = if_nametoindex(ifname);
	sll.sll_ifindex = (int)t->ifindex;
	t->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->fd < 0 || !t->ifindex ||
	    setsockopt(t->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
	    setsockopt(t->fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) < 0 ||
	    setsockopt(t->fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)) < 0 ||
	    bind(t->fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		return -errno;
	return 0;
}

static inline int tap_send(const struct tap *t, const struct frame *frame)
{
	return send(t->fd, frame->bytes, frame->len, 0) == (ssize_t)frame->len ? 0 : -errno;
}

/* The tag, which the kernel has taken out of the frame. */
static inline uint16_t tap_vlan(struct msghdr *h)
{
	struct tpacket_auxdata aux;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		return aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci & 0xfff : 0;
	}
	return 0;
}

/* One IPv4 packet or fragment of @len bytes into @p. True when it is complete. */
static inline bool tap_take(struct tap_packet *p, const uint8_t *ip, size_t len, uint16_t vlan)
{
	size_t head = (ip[0] & 15) * 4u, total = get16(ip + 2);
	size_t offset = (get16(ip + 6) & 0x1fff) * 8u;
	bool more = get16(ip + 6) & FRAME_MF;

	if (ip[0] >> 4 != 4 || head < 20 || total < head || total > len ||
	    offset + total - head > sizeof(p->data))
		return false;
	if (p->whole || p->id != get16(ip + 4) || p->from != get32(ip + 12) ||
	    p->to != get32(ip + 16))
		memset(p, 0, sizeof(*p));
	if (!p->len) {
		p->ip_ok = true;
		p->ttl = ip[8];
	}
	p->trailer = p->trailer || len > total;
	p->vlan = vlan;
	p->tos = ip[1];
	p->protocol = ip[9];
	p->id = get16(ip + 4);
	p->from = get32(ip + 12);
	p->to = get32(ip + 16);
	p->ip_ok = p->ip_ok && frame_sum(ip, head, 0) == 0xffff;
	memcpy(p->data + offset, ip + head, total - head);
	p->len += total - head;
	if (!more)
		p->total = offset + total - head;
	p->whole = p->total && p->len == p->total;
	return p->whole;
}

/* The next packet that is complete, in t->packet. False when there is none at the moment. */
static inline bool tap_receive(struct tap *t)
{
	static uint8_t bytes[TAP_MAX];
	_Alignas(struct cmsghdr) uint8_t control[256];

	for (;;) {
		struct iovec iov = { bytes, sizeof(bytes) };
		struct msghdr h = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(t->fd, &h, MSG_DONTWAIT);

		if (n < 0)
			return false;
		if (n < 14 + 20 || get16(bytes + 12) != ETH_P_IP)
			continue;
		if (tap_take(&t->packet, bytes + 14, (size_t)n - 14, tap_vlan(&h)))
			return true;
	}
}

/* Whether a receiver would take the datagram: lengths agree, checksum right or absent. */
static inline bool tap_udp_ok(const struct tap_packet *p)
{
	uint8_t ip[20] = { 0x45 };

	if (p->len < 8 || get16(p->data + 4) != p->len)
		return false;
	put32(ip + 12, p->from);
	put32(ip + 16, p->to);
	return !get16(p->data + 6) || frame_udp_sum(ip, p->data, p->len) == 0xffff;
}

#endif
