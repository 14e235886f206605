/* SPDX-License-Identifier: MIT */
#include "daemon/rtnl.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>

#include "base/err.h"

#define MSG_SIZE     512
#define DUMP_RETRIES 4
/* Datagrams read in one go, so that a storm of notifications cannot hold the loop. */
#define EVENTS_BATCH  256
#define EVENTS_RCVBUF (1 << 20)
/* Room for the answers of PC_RTNL_MANY questions. */
#define ANSWERS_RCVBUF (1 << 18)

struct pc_rtnl {
	struct nl_sock *sk;
	int error; /* what the kernel answered to the question under way */
	int (*on_message)(struct nlmsghdr *h, void *arg);
	void *arg;
	bool answered;
	uint32_t raw_seq; /* of questions that do not go through libnl */
};

struct pc_rtnl_events {
	struct nl_sock *sk;
	struct pc_rtnl_event_ops ops;
	void *arg;
	bool lost; /* some were, and nobody has been told yet */
};

static void cleanup_msg(struct nl_msg **m)
{
	if (*m)
		nlmsg_free(*m);
}
#define _cleanup_msg_ PC_CLEANUP(cleanup_msg)

bool pc_rtnl_link_running(const struct pc_rtnl_link *link)
{
	return (link->flags & IFF_UP) && (link->flags & IFF_RUNNING);
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct pc_rtnl *r = arg;

	r->answered = true;
	if (r->on_message)
		r->on_message(nlmsg_hdr(msg), r->arg);
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	struct pc_rtnl *r = arg;

	r->error = e->error;
	return NL_STOP;
}

int pc_rtnl_open(struct pc_rtnl **ret_rtnl)
{
	_cleanup_rtnl_ struct pc_rtnl *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->sk = nl_socket_alloc();
	if (!r->sk)
		return -ENOMEM;
	nl_socket_disable_auto_ack(r->sk);
	nl_socket_modify_cb(r->sk, NL_CB_VALID, NL_CB_CUSTOM, on_valid, r);
	nl_socket_modify_err_cb(r->sk, NL_CB_CUSTOM, on_error, r);
	err = nl_connect(r->sk, NETLINK_ROUTE);
	if (err >= 0)
		nl_socket_set_buffer_size(r->sk, ANSWERS_RCVBUF, 0);
	/* An answer is there when the question was sent; what is not there will never come. */
	if (err >= 0)
		err = nl_socket_set_nonblocking(r->sk);
	if (err < 0)
		return err == -NLE_NOMEM ? -ENOMEM : -EIO;
	*ret_rtnl = TAKE_PTR(r);
	return 0;
}

int pc_rtnl_raw(struct pc_rtnl *r, uint32_t n, uint32_t *ret_first)
{
	*ret_first = r->raw_seq;
	r->raw_seq += n;
	return nl_socket_get_fd(r->sk);
}

void pc_rtnl_close(struct pc_rtnl *r)
{
	if (!r)
		return;
	if (r->sk)
		nl_socket_free(r->sk);
	free(r);
}

/* One question, one answer (or a dump's many). */
static int ask(struct pc_rtnl *r, struct nl_msg *msg, int (*fn)(struct nlmsghdr *h, void *arg),
	       void *arg)
{
	int err;

	r->error = 0;
	r->answered = false;
	r->on_message = fn;
	r->arg = arg;
	err = nl_send_auto(r->sk, msg);
	if (err >= 0)
		err = nl_recvmsgs_default(r->sk);
	if (r->error)
		return r->error;
	if (err < 0)
		return err == -NLE_DUMP_INTR ? -EAGAIN : -EIO;
	return 0;
}

static struct nl_msg *new_msg(int type, int flags, const void *header, size_t len)
{
	_cleanup_msg_ struct nl_msg *msg = nlmsg_alloc_size(MSG_SIZE);

	if (!msg || !nlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, type, 0, NLM_F_REQUEST | flags))
		return NULL;
	if (nlmsg_append(msg, (void *)header, len, NLMSG_ALIGNTO) < 0)
		return NULL;
	return TAKE_PTR(msg);
}

static uint8_t af_of(const struct pc_ip *ip)
{
	return ip->family == 4 ? AF_INET : AF_INET6;
}

static int put_ip(struct nl_msg *msg, int attr, const struct pc_ip *ip)
{
	return nla_put(msg, attr, (int)pc_ip_len(ip), ip->b);
}

/* --- routes --- */

static int take_route(struct nlmsghdr *h, void *arg)
{
	return h->nlmsg_type == RTM_NEWROUTE ? pc_rtnl_parse_route(h, arg) : 0;
}

int pc_rtnl_route_get(struct pc_rtnl *r, const struct pc_ip *src, const struct pc_ip *dst,
		      uint32_t oif, struct pc_rtnl_route *ret_route)
{
	struct rtmsg rtm = { .rtm_family = af_of(dst),
			     .rtm_dst_len = (uint8_t)(pc_ip_len(dst) * 8) };
	struct pc_rtnl_route route = { 0 };
	_cleanup_msg_ struct nl_msg *msg = NULL;
	int err;

	if (src)
		rtm.rtm_src_len = (uint8_t)(pc_ip_len(src) * 8);
	msg = new_msg(RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	if (!msg || put_ip(msg, RTA_DST, dst) || (src && put_ip(msg, RTA_SRC, src)) ||
	    (oif && nla_put_u32(msg, RTA_OIF, oif)))
		return -ENOMEM;
	err = ask(r, msg, take_route, &route);
	if (err)
		return err;
	if (!r->answered)
		return -EIO;
	*ret_route = route;
	return 0;
}

struct route_walk {
	void (*fn)(void *arg, const struct pc_rtnl_route *route);
	void *arg;
};

static int walk_route(struct nlmsghdr *h, void *arg)
{
	struct route_walk *w = arg;
	struct pc_rtnl_route route;

	if (h->nlmsg_type == RTM_NEWROUTE && pc_rtnl_parse_route(h, &route) == 0 &&
	    route.dst_len == 0 && route.type == RTN_UNICAST)
		pc_rtnl_route_hops(h, &route, w->fn, w->arg);
	return 0;
}

/* A dump that was interrupted by a change is asked again; entries may be seen twice. */
static int dump(struct pc_rtnl *r, int type, const void *header, size_t len,
		int (*fn)(struct nlmsghdr *h, void *arg), void *arg)
{
	int err = -EAGAIN;

	for (int i = 0; i < DUMP_RETRIES && err == -EAGAIN; i++) {
		_cleanup_msg_ struct nl_msg *msg = new_msg(type, NLM_F_DUMP, header, len);

		if (!msg)
			return -ENOMEM;
		err = ask(r, msg, fn, arg);
	}
	return err;
}

int pc_rtnl_default_routes(struct pc_rtnl *r, uint8_t family,
			   void (*fn)(void *arg, const struct pc_rtnl_route *route), void *arg)
{
	struct rtmsg rtm = { .rtm_family = family == 4 ? AF_INET : AF_INET6 };
	struct route_walk w = { .fn = fn, .arg = arg };

	return dump(r, RTM_GETROUTE, &rtm, sizeof(rtm), walk_route, &w);
}

/* --- neighbours --- */

static int take_neigh(struct nlmsghdr *h, void *arg)
{
	return h->nlmsg_type == RTM_NEWNEIGH ? pc_rtnl_parse_neigh(h, arg) : 0;
}

int pc_rtnl_neigh_get(struct pc_rtnl *r, uint32_t ifindex, const struct pc_ip *ip,
		      struct pc_rtnl_neigh *ret_neigh)
{
	struct ndmsg ndm = { .ndm_family = af_of(ip), .ndm_ifindex = (int)ifindex };
	_cleanup_msg_ struct nl_msg *msg = new_msg(RTM_GETNEIGH, 0, &ndm, sizeof(ndm));
	struct pc_rtnl_neigh neigh = { 0 };
	int err;

	if (!msg || put_ip(msg, NDA_DST, ip))
		return -ENOMEM;
	err = ask(r, msg, take_neigh, &neigh);
	if (err)
		return err;
	if (!r->answered)
		return -ENOENT;
	*ret_neigh = neigh;
	return 0;
}

struct neigh_walk {
	void (*fn)(void *arg, const struct pc_rtnl_neigh *neigh);
	void *arg;
};

static int walk_neigh(struct nlmsghdr *h, void *arg)
{
	struct neigh_walk *w = arg;
	struct pc_rtnl_neigh neigh;

	if (h->nlmsg_type == RTM_NEWNEIGH && pc_rtnl_parse_neigh(h, &neigh) == 0 && neigh.ip.family)
		w->fn(w->arg, &neigh);
	return 0;
}

int pc_rtnl_neigh_each(struct pc_rtnl *r, uint8_t family,
		       void (*fn)(void *arg, const struct pc_rtnl_neigh *neigh), void *arg)
{
	struct ndmsg ndm = { .ndm_family = family == 4 ? AF_INET : AF_INET6 };
	struct neigh_walk w = { .fn = fn, .arg = arg };

	return dump(r, RTM_GETNEIGH, &ndm, sizeof(ndm), walk_neigh, &w);
}

static int set_neigh(struct pc_rtnl *r, int flags, const struct ndmsg *ndm, const struct pc_ip *ip)
{
	_cleanup_msg_ struct nl_msg *msg =
		new_msg(RTM_NEWNEIGH, NLM_F_ACK | flags, ndm, sizeof(*ndm));

	if (!msg || put_ip(msg, NDA_DST, ip))
		return -ENOMEM;
	return ask(r, msg, NULL, NULL);
}

int pc_rtnl_neigh_use(struct pc_rtnl *r, uint32_t ifindex, const struct pc_ip *ip)
{
	struct ndmsg ndm = {
		.ndm_family = af_of(ip),
		.ndm_ifindex = (int)ifindex,
		.ndm_state = NUD_NONE,
		.ndm_flags = NTF_USE,
	};

	return set_neigh(r, NLM_F_CREATE, &ndm, ip);
}

int pc_rtnl_neigh_probe(struct pc_rtnl *r, uint32_t ifindex, const struct pc_ip *ip)
{
	struct ndmsg ndm = {
		.ndm_family = af_of(ip),
		.ndm_ifindex = (int)ifindex,
		.ndm_state = NUD_PROBE,
	};

	return set_neigh(r, NLM_F_REPLACE, &ndm, ip);
}

/* --- links --- */

static int take_link(struct nlmsghdr *h, void *arg)
{
	return h->nlmsg_type == RTM_NEWLINK ? pc_rtnl_parse_link(h, arg) : 0;
}

int pc_rtnl_link_get(struct pc_rtnl *r, uint32_t ifindex, struct pc_rtnl_link *ret_link)
{
	struct ifinfomsg ifi = { .ifi_index = (int)ifindex };
	_cleanup_msg_ struct nl_msg *msg = new_msg(RTM_GETLINK, 0, &ifi, sizeof(ifi));
	struct pc_rtnl_link link = { 0 };
	int err;

	if (!ifindex)
		return -ENODEV;
	if (!msg)
		return -ENOMEM;
	err = ask(r, msg, take_link, &link);
	if (err)
		return err;
	if (!r->answered)
		return -ENODEV;
	*ret_link = link;
	return 0;
}

struct link_walk {
	void (*fn)(void *arg, const struct pc_rtnl_link *link);
	void *arg;
};

static int walk_link(struct nlmsghdr *h, void *arg)
{
	struct link_walk *w = arg;
	struct pc_rtnl_link link;

	if (h->nlmsg_type == RTM_NEWLINK && pc_rtnl_parse_link(h, &link) == 0)
		w->fn(w->arg, &link);
	return 0;
}

int pc_rtnl_link_each(struct pc_rtnl *r, void (*fn)(void *arg, const struct pc_rtnl_link *link),
		      void *arg)
{
	struct ifinfomsg ifi = { 0 };
	struct link_walk w = { .fn = fn, .arg = arg };

	return dump(r, RTM_GETLINK, &ifi, sizeof(ifi), walk_link, &w);
}

/* --- notifications --- */

static int on_event(struct nl_msg *msg, void *arg)
{
	struct pc_rtnl_events *e = arg;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct pc_rtnl_neigh neigh;
	struct pc_rtnl_link link;

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		/* A port leaving its bridge is a DELLINK of family AF_BRIDGE: the link stays. */
		if (((struct ifinfomsg *)nlmsg_data(h))->ifi_family != AF_UNSPEC)
			break;
		if (e->ops.link && pc_rtnl_parse_link(h, &link) == 0)
			e->ops.link(e->arg, &link, h->nlmsg_type == RTM_DELLINK);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (e->ops.neigh && pc_rtnl_parse_neigh(h, &neigh) == 0 && neigh.ip.family)
			e->ops.neigh(e->arg, &neigh, h->nlmsg_type == RTM_DELNEIGH);
		break;
	default:
		if (e->ops.route)
			e->ops.route(e->arg);
	}
	return NL_OK;
}

static int join_groups(struct pc_rtnl_events *e)
{
	struct nl_sock *sk = e->sk;

	if (e->ops.link && nl_socket_add_memberships(sk, RTNLGRP_LINK, 0) < 0)
		return -EIO;
	if (e->ops.neigh && nl_socket_add_memberships(sk, RTNLGRP_NEIGH, 0) < 0)
		return -EIO;
	if (e->ops.route && nl_socket_add_memberships(sk, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
						      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
						      RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, 0) < 0)
		return -EIO;
	return 0;
}

int pc_rtnl_events_open(const struct pc_rtnl_event_ops *ops, void *arg,
			struct pc_rtnl_events **ret_events)
{
	struct pc_rtnl_events *e = calloc(1, sizeof(*e));
	int err = -ENOMEM;

	if (!e)
		return -ENOMEM;
	e->ops = *ops;
	e->arg = arg;
	e->sk = nl_socket_alloc();
	if (!e->sk)
		goto fail;
	nl_socket_disable_seq_check(e->sk);
	nl_socket_modify_cb(e->sk, NL_CB_VALID, NL_CB_CUSTOM, on_event, e);
	err = -EIO;
	if (nl_connect(e->sk, NETLINK_ROUTE) < 0 || nl_socket_set_nonblocking(e->sk) < 0)
		goto fail;
	nl_socket_set_buffer_size(e->sk, EVENTS_RCVBUF, 0);
	err = join_groups(e);
	if (err)
		goto fail;
	*ret_events = e;
	return 0;
fail:
	pc_rtnl_events_close(e);
	return err;
}

void pc_rtnl_events_close(struct pc_rtnl_events *e)
{
	if (!e)
		return;
	if (e->sk)
		nl_socket_free(e->sk);
	free(e);
}

int pc_rtnl_events_fd(const struct pc_rtnl_events *e)
{
	return nl_socket_get_fd(e->sk);
}

int pc_rtnl_events_read(struct pc_rtnl_events *e)
{
	for (int i = 0; i < EVENTS_BATCH; i++) {
		int err = nl_recvmsgs_default(e->sk);

		/*
		 * Lost ones are told of when the queue is empty: what is still in it is older than
		 * what would be read again now, and until then the kernel drops more in silence.
		 */
		if (err == -NLE_AGAIN) {
			bool lost = e->lost;

			e->lost = false;
			return lost ? -ENOBUFS : 0;
		}
		/* The kernel says ENOBUFS when it had to drop some; any other failure may have. */
		if (err < 0)
			e->lost = true;
	}
	return 0;
}
