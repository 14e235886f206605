/* SPDX-License-Identifier: MIT */
#include "daemon/rtnl.h"

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

#include "base/err.h"

static struct pc_ip ip_from(uint8_t family, const void *bytes, size_t len)
{
	struct pc_ip ip = { 0 };
	size_t want = family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;

	if (!want || len < want)
		return ip;
	ip.family = family == AF_INET ? 4 : 6;
	memcpy(ip.b, bytes, want);
	return ip;
}

static struct pc_ip ip_attr(uint8_t family, struct nlattr *a)
{
	if (!a)
		return (struct pc_ip){ 0 };
	return ip_from(family, nla_data(a), (size_t)nla_len(a));
}

static struct pc_ip ip_via(struct nlattr *a)
{
	const struct rtvia *via = nla_data(a);

	if ((size_t)nla_len(a) < sizeof(*via))
		return (struct pc_ip){ 0 };
	return ip_from((uint8_t)via->rtvia_family, via->rtvia_addr,
		       (size_t)nla_len(a) - sizeof(*via));
}

static uint32_t u32_attr(struct nlattr *a)
{
	return a && nla_len(a) >= 4 ? nla_get_u32(a) : 0;
}

static uint32_t route_mtu(struct nlattr *metrics)
{
	struct nlattr *tb[RTAX_MAX + 1];

	if (!metrics || nla_parse_nested(tb, RTAX_MAX, metrics, NULL) < 0)
		return 0;
	return u32_attr(tb[RTAX_MTU]);
}

int pc_rtnl_parse_route(struct nlmsghdr *h, struct pc_rtnl_route *ret_route)
{
	struct nlattr *tb[RTA_MAX + 1];
	const struct rtmsg *rtm = nlmsg_data(h);

	if (!nlmsg_valid_hdr(h, sizeof(*rtm)) || nlmsg_parse(h, sizeof(*rtm), tb, RTA_MAX, NULL))
		return PC_ERR_MALFORMED;
	*ret_route = (struct pc_rtnl_route){
		.type = rtm->rtm_type,
		.dst_len = rtm->rtm_dst_len,
		.oif = u32_attr(tb[RTA_OIF]),
		.mtu = route_mtu(tb[RTA_METRICS]),
		.gateway = ip_attr(rtm->rtm_family, tb[RTA_GATEWAY]),
		.prefsrc = ip_attr(rtm->rtm_family, tb[RTA_PREFSRC]),
		.encap = tb[RTA_ENCAP] != NULL,
	};
	if (tb[RTA_VIA])
		ret_route->gateway = ip_via(tb[RTA_VIA]);
	return 0;
}

void pc_rtnl_route_hops(struct nlmsghdr *h, const struct pc_rtnl_route *route,
			void (*fn)(void *arg, const struct pc_rtnl_route *route), void *arg)
{
	const struct rtmsg *rtm = nlmsg_data(h);
	struct nlattr *multi = nlmsg_find_attr(h, sizeof(*rtm), RTA_MULTIPATH);
	struct rtnexthop *nh;
	int left;

	if (!multi) {
		fn(arg, route);
		return;
	}
	nh = nla_data(multi);
	left = nla_len(multi);
	while (RTNH_OK(nh, left)) {
		struct pc_rtnl_route hop = *route;
		struct nlattr *tb[RTA_MAX + 1];

		if (nla_parse(tb, RTA_MAX, (struct nlattr *)RTNH_DATA(nh),
			      nh->rtnh_len - (int)sizeof(*nh), NULL) == 0) {
			hop.oif = (uint32_t)nh->rtnh_ifindex;
			hop.gateway = tb[RTA_VIA] ? ip_via(tb[RTA_VIA])
						  : ip_attr(rtm->rtm_family, tb[RTA_GATEWAY]);
			hop.encap = tb[RTA_ENCAP] != NULL;
			fn(arg, &hop);
		}
		left -= (int)RTNH_ALIGN(nh->rtnh_len);
		nh = RTNH_NEXT(nh);
	}
}

int pc_rtnl_parse_neigh(struct nlmsghdr *h, struct pc_rtnl_neigh *ret_neigh)
{
	struct nlattr *tb[NDA_MAX + 1];
	const struct ndmsg *ndm = nlmsg_data(h);

	if (!nlmsg_valid_hdr(h, sizeof(*ndm)) || nlmsg_parse(h, sizeof(*ndm), tb, NDA_MAX, NULL))
		return PC_ERR_MALFORMED;
	*ret_neigh = (struct pc_rtnl_neigh){
		.ifindex = (uint32_t)ndm->ndm_ifindex,
		.ip = ip_attr(ndm->ndm_family, tb[NDA_DST]),
		.state = ndm->ndm_state,
	};
	if (tb[NDA_LLADDR] && nla_len(tb[NDA_LLADDR]) == ETH_ALEN) {
		ret_neigh->has_mac = true;
		memcpy(ret_neigh->mac, nla_data(tb[NDA_LLADDR]), ETH_ALEN);
	}
	if (tb[NDA_CACHEINFO] && nla_len(tb[NDA_CACHEINFO]) >= (int)sizeof(struct nda_cacheinfo)) {
		const struct nda_cacheinfo *info = nla_data(tb[NDA_CACHEINFO]);

		ret_neigh->confirmed = info->ndm_confirmed;
	}
	return 0;
}

static void parse_vlan(struct nlattr *const *tb, struct pc_rtnl_link *link)
{
	struct nlattr *info[IFLA_INFO_MAX + 1], *vlan[IFLA_VLAN_MAX + 1];
	uint16_t protocol = ETH_P_8021Q;

	if (!tb[IFLA_LINKINFO] ||
	    nla_parse_nested(info, IFLA_INFO_MAX, tb[IFLA_LINKINFO], NULL) < 0)
		return;
	if (!info[IFLA_INFO_KIND] || nla_strcmp(info[IFLA_INFO_KIND], "vlan") != 0)
		return;
	link->vlan = true;
	link->vlan_foreign = true;
	if (!info[IFLA_INFO_DATA] ||
	    nla_parse_nested(vlan, IFLA_VLAN_MAX, info[IFLA_INFO_DATA], NULL) < 0 ||
	    !vlan[IFLA_VLAN_ID])
		return;
	link->vlan_id = nla_get_u16(vlan[IFLA_VLAN_ID]);
	link->vlan_lower = u32_attr(tb[IFLA_LINK]);
	if (vlan[IFLA_VLAN_PROTOCOL])
		protocol = __builtin_bswap16(nla_get_u16(vlan[IFLA_VLAN_PROTOCOL]));
	link->vlan_foreign = protocol != ETH_P_8021Q || !link->vlan_lower || tb[IFLA_LINK_NETNSID];
}

int pc_rtnl_parse_link(struct nlmsghdr *h, struct pc_rtnl_link *ret_link)
{
	struct nlattr *tb[IFLA_MAX + 1];
	const struct ifinfomsg *ifi = nlmsg_data(h);

	if (!nlmsg_valid_hdr(h, sizeof(*ifi)) || nlmsg_parse(h, sizeof(*ifi), tb, IFLA_MAX, NULL))
		return PC_ERR_MALFORMED;
	*ret_link = (struct pc_rtnl_link){
		.ifindex = (uint32_t)ifi->ifi_index,
		.flags = ifi->ifi_flags,
		.type = ifi->ifi_type,
		.mtu = u32_attr(tb[IFLA_MTU]),
		.master = u32_attr(tb[IFLA_MASTER]),
	};
	if (tb[IFLA_IFNAME])
		nla_strlcpy(ret_link->name, tb[IFLA_IFNAME], sizeof(ret_link->name));
	if (tb[IFLA_ADDRESS] && nla_len(tb[IFLA_ADDRESS]) == ETH_ALEN) {
		ret_link->has_mac = true;
		memcpy(ret_link->mac, nla_data(tb[IFLA_ADDRESS]), ETH_ALEN);
	}
	parse_vlan(tb, ret_link);
	return 0;
}
