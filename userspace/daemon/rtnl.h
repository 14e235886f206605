/* SPDX-License-Identifier: MIT */
/*
 * The few rtnetlink questions and notifications the daemon needs, over libnl sockets: which route
 * reaches an address, what the neighbour table says, what an interface is. Questions are answered
 * by the kernel before the call that asks returns, so they do not block. A function that is called
 * for each of many must not ask on the same socket.
 */
#ifndef PC_DAEMON_RTNL_H
#define PC_DAEMON_RTNL_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/cleanup.h"

struct nlmsghdr;
struct pc_rtnl;

struct pc_rtnl_route {
	uint8_t type; /* RTN_* */
	uint8_t dst_len;
	uint32_t oif;
	uint32_t mtu;	      /* metric; 0: that of the interface */
	struct pc_ip gateway; /* family 0: on link; may be IPv6 for an IPv4 destination */
	struct pc_ip prefsrc;
	bool encap; /* the kernel would wrap the packet: nobody else can send it */
};

struct pc_rtnl_neigh {
	uint32_t ifindex;
	struct pc_ip ip;
	uint16_t state; /* NUD_* */
	bool has_mac;
	uint8_t mac[6];
	uint32_t confirmed; /* clock ticks (sysconf(_SC_CLK_TCK)) since it last answered */
};

struct pc_rtnl_link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	uint32_t flags; /* IFF_* */
	uint16_t type;	/* ARPHRD_* */
	uint32_t mtu;
	bool has_mac;
	uint8_t mac[6];
	uint32_t master;   /* bridge or bond it belongs to; 0: none */
	bool vlan;	   /* a VLAN sub-interface */
	bool vlan_foreign; /* ... with another tag than 802.1Q, or a lower device elsewhere */
	uint16_t vlan_id;
	uint32_t vlan_lower; /* interface below */
};

/* Up, and something is plugged in. */
bool pc_rtnl_link_running(const struct pc_rtnl_link *link);

int pc_rtnl_open(struct pc_rtnl **ret_rtnl);
void pc_rtnl_close(struct pc_rtnl *r);
PC_DEFINE_CLEANUP(rtnl, struct pc_rtnl, pc_rtnl_close)
#define _cleanup_rtnl_ PC_CLEANUP(pc_cleanup_rtnl)

/*
 * The route the kernel takes to @dst. @src NULL: any; @oif 0: any. Returns 0 or -errno (of the
 * lookup: -ENETUNREACH, -EHOSTUNREACH, -EINVAL when @src is not an address of this host...).
 */
int pc_rtnl_route_get(struct pc_rtnl *r, const struct pc_ip *src, const struct pc_ip *dst,
		      uint32_t oif, struct pc_rtnl_route *ret_route);
/* A question like that, of any interface, and what came of it. */
struct pc_rtnl_ask {
	struct pc_ip src, dst; /* of one family */
	int err;
	struct pc_rtnl_route route;
};
/* That many are asked with two system calls. */
#define PC_RTNL_MANY 64
/* Answers all of them. */
void pc_rtnl_routes_get(struct pc_rtnl *r, struct pc_rtnl_ask *asks, size_t n);
/* Calls @fn for every next hop of every default route. */
int pc_rtnl_default_routes(struct pc_rtnl *r, uint8_t family,
			   void (*fn)(void *arg, const struct pc_rtnl_route *route), void *arg);

/* 0, -ENOENT, or another -errno. */
int pc_rtnl_neigh_get(struct pc_rtnl *r, uint32_t ifindex, const struct pc_ip *ip,
		      struct pc_rtnl_neigh *ret_neigh);
int pc_rtnl_neigh_each(struct pc_rtnl *r, uint8_t family,
		       void (*fn)(void *arg, const struct pc_rtnl_neigh *neigh), void *arg);
/* Makes the kernel resolve @ip (NTF_USE), or ask again whether it is still there (NUD_PROBE). */
int pc_rtnl_neigh_use(struct pc_rtnl *r, uint32_t ifindex, const struct pc_ip *ip);
int pc_rtnl_neigh_probe(struct pc_rtnl *r, uint32_t ifindex, const struct pc_ip *ip);

/* 0, -ENODEV, or another -errno. */
int pc_rtnl_link_get(struct pc_rtnl *r, uint32_t ifindex, struct pc_rtnl_link *ret_link);
int pc_rtnl_link_each(struct pc_rtnl *r, void (*fn)(void *arg, const struct pc_rtnl_link *link),
		      void *arg);

/* --- notifications --- */

struct pc_rtnl_events;

/* NULL: not interested; only the groups that are needed are joined. */
struct pc_rtnl_event_ops {
	void (*link)(void *arg, const struct pc_rtnl_link *link, bool gone);
	void (*neigh)(void *arg, const struct pc_rtnl_neigh *neigh, bool gone);
	void (*route)(void *arg); /* routes or addresses changed */
};

int pc_rtnl_events_open(const struct pc_rtnl_event_ops *ops, void *arg,
			struct pc_rtnl_events **ret_events);
void pc_rtnl_events_close(struct pc_rtnl_events *e);
int pc_rtnl_events_fd(const struct pc_rtnl_events *e); /* readable when something happened */
/* Delivers what is there, boundedly. 0, or -ENOBUFS when notifications were lost. */
int pc_rtnl_events_read(struct pc_rtnl_events *e);

/* --- for rtnl_many.c --- */

/* The socket, and the first of @n sequence numbers that no earlier question had. */
int pc_rtnl_raw(struct pc_rtnl *r, uint32_t n, uint32_t *ret_first);

/* --- parsing (rtnl_parse.c) --- */

/* Each returns 0 or PC_ERR_MALFORMED; what is absent is zero. */
int pc_rtnl_parse_route(struct nlmsghdr *h, struct pc_rtnl_route *ret_route);
int pc_rtnl_parse_neigh(struct nlmsghdr *h, struct pc_rtnl_neigh *ret_neigh);
int pc_rtnl_parse_link(struct nlmsghdr *h, struct pc_rtnl_link *ret_link);
/* Calls @fn for the next hops of a multipath route, or once for @route itself. */
void pc_rtnl_route_hops(struct nlmsghdr *h, const struct pc_rtnl_route *route,
			void (*fn)(void *arg, const struct pc_rtnl_route *route), void *arg);

#endif
