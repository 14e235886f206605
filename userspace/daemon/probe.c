/* SPDX-License-Identifier: MIT */
#include "daemon/probe.h"

#include <errno.h>
#include <linux/filter.h>
#include <net/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "daemon/rtnl.h"

#define ASK_NS	    (250 * PC_NS_PER_MS)
#define MAX_DEVICES 64
/* Frames read in one step from one socket. */
#define READ_BATCH 64
#define MAX_RECENT 4

struct target {
	struct pc_probe_question question;
	uint32_t ifindex; /* where it is asked: the interface, or one on top of it */
	int fd;
	bool wanted;
	bool answered;
};

struct pc_probe {
	struct target targets[PC_PROBE_MAX];
	unsigned int n;
	uint64_t next_ask_ns;
};

/* The interface and what is stacked on it. */
struct search {
	struct pc_rtnl *rtnl;
	struct pc_rtnl_link devices[MAX_DEVICES];
	unsigned int n_devices;
	bool grew;
	struct pc_probe *probe;
	struct pc_rtnl_route gateways[PC_PROBE_MAX];
	unsigned int n_gateways;
	struct pc_rtnl_neigh recent[MAX_RECENT]; /* most recently confirmed first */
	unsigned int n_recent;
};

static const struct pc_rtnl_link *device(const struct search *s, uint32_t ifindex)
{
	for (unsigned int i = 0; i < s->n_devices; i++) {
		if (s->devices[i].ifindex == ifindex)
			return &s->devices[i];
	}
	return NULL;
}

static void add_if_stacked(void *arg, const struct pc_rtnl_link *link)
{
	struct search *s = arg;
	bool above = link->vlan && !link->vlan_foreign && device(s, link->vlan_lower);

	for (unsigned int i = 0; i < s->n_devices && !above; i++)
		above = s->devices[i].master == link->ifindex;
	if (!above || device(s, link->ifindex) || s->n_devices == MAX_DEVICES)
		return;
	s->devices[s->n_devices++] = *link;
	s->grew = true;
}

static int find_devices(struct search *s, uint32_t ifindex)
{
	int err = pc_rtnl_link_get(s->rtnl, ifindex, &s->devices[0]);

	if (err)
		return err;
	s->n_devices = 1;
	/* Each pass finds the next storey: bond, bridge, VLAN, VLAN in VLAN. */
	for (int storey = 0; storey < 4; storey++) {
		s->grew = false;
		err = pc_rtnl_link_each(s->rtnl, add_if_stacked, s);
		if (err || !s->grew)
			return err;
	}
	return 0;
}

static void add_target(struct search *s, uint32_t ifindex, const struct pc_ip *ip)
{
	const struct pc_rtnl_link *link = device(s, ifindex);
	struct pc_probe *p = s->probe;
	struct pc_rtnl_route route;
	struct target *t;

	if (!link || link->type != ARPHRD_ETHER || !link->has_mac || (link->flags & IFF_NOARP))
		return;
	for (unsigned int i = 0; i < p->n; i++) {
		if (p->targets[i].ifindex == ifindex &&
		    pc_ip_equal(&p->targets[i].question.target, ip))
			return;
	}
	if (p->n == PC_PROBE_MAX)
		return;
	/* Our address towards it: some do not answer an ARP probe without one. */
	if (pc_rtnl_route_get(s->rtnl, NULL, ip, ifindex, &route))
		route.prefsrc.family = 0;
	if (route.prefsrc.family != ip->family) {
		if (ip->family == 6)
			return;
		route.prefsrc = (struct pc_ip){ 0 };
	}
	t = &p->targets[p->n++];
	*t = (struct target){
		.question = { .target = *ip, .source = route.prefsrc },
		.ifindex = ifindex,
		.fd = -1,
		.wanted = true,
	};
	memcpy(t->question.mac, link->mac, sizeof(t->question.mac));
}

static void add_gateway(void *arg, const struct pc_rtnl_route *route)
{
	struct search *s = arg;

	if (route->gateway.family && device(s, route->oif) && s->n_gateways < PC_PROBE_MAX)
		s->gateways[s->n_gateways++] = *route;
}

static void add_recent(void *arg, const struct pc_rtnl_neigh *neigh)
{
	struct search *s = arg;
	unsigned int at = s->n_recent;

	if (!neigh->has_mac || !device(s, neigh->ifindex) ||
	    !(neigh->state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT)))
		return;
	while (at > 0 && s->recent[at - 1].confirmed > neigh->confirmed)
		at--;
	if (at == MAX_RECENT)
		return;
	if (s->n_recent < MAX_RECENT)
		s->n_recent++;
	memmove(&s->recent[at + 1], &s->recent[at], (s->n_recent - 1 - at) * sizeof(s->recent[0]));
	s->recent[at] = *neigh;
}

static int find_targets(struct search *s)
{
	int err = pc_rtnl_default_routes(s->rtnl, 4, add_gateway, s);

	if (!err)
		err = pc_rtnl_default_routes(s->rtnl, 6, add_gateway, s);
	for (unsigned int i = 0; i < s->n_gateways; i++)
		add_target(s, s->gateways[i].oif, &s->gateways[i].gateway);
	if (err || s->probe->n)
		return err;
	err = pc_rtnl_neigh_each(s->rtnl, 4, add_recent, s);
	if (!err)
		err = pc_rtnl_neigh_each(s->rtnl, 6, add_recent, s);
	for (unsigned int i = 0; i < s->n_recent; i++)
		add_target(s, s->recent[i].ifindex, &s->recent[i].ip);
	return err;
}

int pc_probe_new(uint32_t ifindex, struct pc_probe **ret_probe)
{
	_cleanup_rtnl_ struct pc_rtnl *rtnl = NULL;
	_cleanup_probe_ struct pc_probe *p = calloc(1, sizeof(*p));
	_cleanup_free_ struct search *s = calloc(1, sizeof(*s));
	int err;

	if (!p || !s)
		return -ENOMEM;
	err = pc_rtnl_open(&rtnl);
	if (err)
		return err;
	s->rtnl = rtnl;
	s->probe = p;
	err = find_devices(s, ifindex);
	if (!err)
		err = find_targets(s);
	if (err)
		return err;
	if (!p->n)
		return -ENOENT;
	*ret_probe = TAKE_PTR(p);
	return 0;
}

static void close_sockets(struct pc_probe *p)
{
	for (unsigned int i = 0; i < p->n; i++) {
		if (p->targets[i].fd >= 0)
			close(p->targets[i].fd);
		p->targets[i].fd = -1;
	}
}

void pc_probe_free(struct pc_probe *p)
{
	if (!p)
		return;
	close_sockets(p);
	free(p);
}

/* Only neighbour advertisements, so that busy IPv6 traffic does not fill the socket. */
static int filter_advertisements(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 40),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 256),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { .len = PC_ARRAY_SIZE(code), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

static int open_socket(struct target *t)
{
	bool v6 = t->question.target.family == 6;
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(v6 ? ETH_P_IPV6 : ETH_P_ARP),
		.sll_ifindex = (int)t->ifindex,
	};
	/* Protocol 0: nothing arrives before the filter is there and the interface is chosen. */
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = v6 ? filter_advertisements(fd) : 0;
	if (err)
		return err;
	if (bind(fd, (struct sockaddr *)&ll, sizeof(ll)))
		return -errno;
	t->fd = TAKE_FD(fd);
	return 0;
}

void pc_probe_narrow(struct pc_probe *p)
{
	for (unsigned int i = 0; i < p->n; i++)
		p->targets[i].wanted = p->targets[i].answered;
}

int pc_probe_begin(struct pc_probe *p)
{
	close_sockets(p);
	p->next_ask_ns = 0;
	for (unsigned int i = 0; i < p->n; i++) {
		struct target *t = &p->targets[i];
		int err;

		t->answered = false;
		err = t->wanted ? open_socket(t) : 0;
		if (err)
			return err;
	}
	return 0;
}

static void ask(const struct target *t)
{
	uint8_t frame[PC_PROBE_FRAME_MAX];
	size_t len = pc_probe_frame(&t->question, frame);

	/* A frame that could not be sent now is sent again: only the answer counts. */
	if (send(t->fd, frame, len, MSG_DONTWAIT) < 0)
		return;
}

static bool read_answer(const struct target *t)
{
	uint8_t frame[256];

	for (int i = 0; i < READ_BATCH; i++) {
		ssize_t n = recv(t->fd, frame, sizeof(frame), MSG_DONTWAIT);

		/* An error (interface down) is reported once and may pass. */
		if (n < 0)
			return false;
		if (pc_probe_is_answer(&t->question, frame, (size_t)n))
			return true;
	}
	return false;
}

unsigned int pc_probe_step(struct pc_probe *p, uint64_t now)
{
	bool due = now >= p->next_ask_ns;
	unsigned int left = 0;

	for (unsigned int i = 0; i < p->n; i++) {
		struct target *t = &p->targets[i];

		if (!t->wanted || t->answered)
			continue;
		t->answered = read_answer(t);
		if (t->answered)
			continue;
		left++;
		if (due)
			ask(t);
	}
	if (due)
		p->next_ask_ns = now + ASK_NS;
	return left;
}

void pc_probe_wait(const struct pc_probe *p, uint64_t now, uint64_t until)
{
	struct pollfd fds[PC_PROBE_MAX];
	struct timespec ts;
	nfds_t n = 0;

	if (p->next_ask_ns < until)
		until = p->next_ask_ns;
	if (now >= until)
		return;
	for (unsigned int i = 0; i < p->n; i++) {
		if (p->targets[i].wanted && !p->targets[i].answered)
			fds[n++] = (struct pollfd){ .fd = p->targets[i].fd, .events = POLLIN };
	}
	ts.tv_sec = (time_t)((until - now) / PC_NS_PER_S);
	ts.tv_nsec = (long)((until - now) % PC_NS_PER_S);
	ppoll(fds, n, &ts, NULL);
}

unsigned int pc_probe_answered(const struct pc_probe *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < p->n; i++)
		n += p->targets[i].wanted && p->targets[i].answered;
	return n;
}

const char *pc_probe_silent(const struct pc_probe *p, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = 0;
	for (unsigned int i = 0; i < p->n && len < size; i++) {
		const struct target *t = &p->targets[i];
		char ip[PC_IP_STRLEN];

		if (!t->wanted || t->answered)
			continue;
		len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? ", " : "",
					pc_ip_format(&t->question.target, ip));
	}
	return buf;
}
