/* SPDX-License-Identifier: MIT */
/* What rtnetlink says about links, routes and neighbours, and the frames that ask neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/probe.h"
#include "daemon/rtnl.h"

static const uint8_t MAC[6] = { 2, 0, 0, 0, 0, 1 };
static const uint8_t OTHER_MAC[6] = { 2, 0, 0, 0, 0, 2 };

static struct nl_msg *begin(int type, const void *header, size_t len)
{
	struct nl_msg *m = nlmsg_alloc_simple(type, 0);

	assert_non_null(m);
	assert_int_equal(nlmsg_append(m, (void *)header, len, NLMSG_ALIGNTO), 0);
	return m;
}

static struct nl_msg *vlan_link(uint16_t id, uint16_t protocol, bool elsewhere)
{
	struct ifinfomsg ifi = { .ifi_index = 9, .ifi_flags = IFF_UP | IFF_RUNNING, .ifi_type = 1 };
	struct nl_msg *m = begin(RTM_NEWLINK, &ifi, sizeof(ifi));
	struct nlattr *info, *data;

	nla_put_string(m, IFLA_IFNAME, "e0.7");
	nla_put_u32(m, IFLA_MTU, 1496);
	nla_put_u32(m, IFLA_LINK, 3);
	nla_put(m, IFLA_ADDRESS, 6, MAC);
	if (elsewhere)
		nla_put_u32(m, IFLA_LINK_NETNSID, 0);
	info = nla_nest_start(m, IFLA_LINKINFO);
	nla_put_string(m, IFLA_INFO_KIND, "vlan");
	data = nla_nest_start(m, IFLA_INFO_DATA);
	nla_put_u16(m, IFLA_VLAN_ID, id);
	nla_put_u16(m, IFLA_VLAN_PROTOCOL, __builtin_bswap16(protocol));
	nla_nest_end(m, data);
	nla_nest_end(m, info);
	return m;
}

static void test_vlan_link(void **state)
{
	struct nl_msg *m = vlan_link(7, ETH_P_8021Q, false);
	struct pc_rtnl_link link;

	assert_int_equal(pc_rtnl_parse_link(nlmsg_hdr(m), &link), 0);
	assert_int_equal(link.ifindex, 9);
	assert_string_equal(link.name, "e0.7");
	assert_int_equal(link.mtu, 1496);
	assert_true(link.has_mac && memcmp(link.mac, MAC, 6) == 0);
	assert_true(link.vlan);
	assert_false(link.vlan_foreign);
	assert_int_equal(link.vlan_id, 7);
	assert_int_equal(link.vlan_lower, 3);
	assert_true(pc_rtnl_link_running(&link));
	nlmsg_free(m);
}

/* Tags and lower devices that the program could not use must not look usable. */
static void test_foreign_vlan(void **state)
{
	struct nl_msg *m = vlan_link(7, ETH_P_8021AD, false);
	struct pc_rtnl_link link;

	assert_int_equal(pc_rtnl_parse_link(nlmsg_hdr(m), &link), 0);
	assert_true(link.vlan && link.vlan_foreign);
	nlmsg_free(m);
	m = vlan_link(7, ETH_P_8021Q, true);
	assert_int_equal(pc_rtnl_parse_link(nlmsg_hdr(m), &link), 0);
	assert_true(link.vlan && link.vlan_foreign);
	nlmsg_free(m);
}

static void test_plain_link(void **state)
{
	struct ifinfomsg ifi = { .ifi_index = 2, .ifi_flags = IFF_UP };
	struct nl_msg *m = begin(RTM_NEWLINK, &ifi, sizeof(ifi));
	struct pc_rtnl_link link;

	/* The lower device of a veth is its peer: not a VLAN. */
	nla_put_u32(m, IFLA_LINK, 3);
	assert_int_equal(pc_rtnl_parse_link(nlmsg_hdr(m), &link), 0);
	assert_false(link.vlan);
	assert_int_equal(link.vlan_lower, 0);
	assert_false(link.has_mac);
	assert_false(pc_rtnl_link_running(&link));
	nlmsg_free(m);
}

static void test_route(void **state)
{
	static const uint8_t gateway6[16] = { 0xfe, 0x80, [15] = 1 };
	struct rtmsg rtm = { .rtm_family = AF_INET, .rtm_dst_len = 32, .rtm_type = RTN_UNICAST };
	struct nl_msg *m = begin(RTM_NEWROUTE, &rtm, sizeof(rtm));
	uint8_t via[sizeof(struct rtvia) + 16] = { 0 };
	struct pc_rtnl_route route;
	struct nlattr *metrics;

	nla_put_u32(m, RTA_OIF, 4);
	((struct rtvia *)via)->rtvia_family = AF_INET6;
	memcpy(via + sizeof(struct rtvia), gateway6, 16);
	nla_put(m, RTA_VIA, (int)sizeof(struct rtvia) + 16, via);
	metrics = nla_nest_start(m, RTA_METRICS);
	nla_put_u32(m, RTAX_MTU, 1400);
	nla_nest_end(m, metrics);
	assert_int_equal(pc_rtnl_parse_route(nlmsg_hdr(m), &route), 0);
	assert_int_equal(route.oif, 4);
	assert_int_equal(route.mtu, 1400);
	assert_int_equal(route.gateway.family, 6);
	assert_memory_equal(route.gateway.b, gateway6, 16);
	assert_false(route.encap);
	nla_put_u16(m, RTA_ENCAP_TYPE, 1);
	nla_put(m, RTA_ENCAP, 0, NULL);
	assert_int_equal(pc_rtnl_parse_route(nlmsg_hdr(m), &route), 0);
	assert_true(route.encap);
	nlmsg_free(m);
}

static void collect(void *arg, const struct pc_rtnl_route *route)
{
	struct pc_rtnl_route **at = arg;

	*(*at)++ = *route;
}

static void test_multipath(void **state)
{
	static const uint8_t gw[2][4] = { { 192, 0, 2, 1 }, { 192, 0, 2, 2 } };
	struct rtmsg rtm = { .rtm_family = AF_INET, .rtm_type = RTN_UNICAST };
	struct nl_msg *m = begin(RTM_NEWROUTE, &rtm, sizeof(rtm));
	struct pc_rtnl_route route, got[4] = { 0 }, *end = got;
	struct nlattr *multi = nla_nest_start(m, RTA_MULTIPATH);

	for (int i = 0; i < 2; i++) {
		struct rtnexthop *nh = nlmsg_reserve(m, sizeof(*nh), NLMSG_ALIGNTO);
		size_t before = nlmsg_hdr(m)->nlmsg_len;

		memset(nh, 0, sizeof(*nh));
		nh->rtnh_ifindex = 5 + i;
		nla_put(m, RTA_GATEWAY, 4, gw[i]);
		nh->rtnh_len = (uint16_t)(sizeof(*nh) + nlmsg_hdr(m)->nlmsg_len - before);
	}
	nla_nest_end(m, multi);
	assert_int_equal(pc_rtnl_parse_route(nlmsg_hdr(m), &route), 0);
	pc_rtnl_route_hops(nlmsg_hdr(m), &route, collect, &end);
	assert_int_equal(end - got, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(got[i].oif, 5 + i);
		assert_int_equal(got[i].gateway.family, 4);
		assert_memory_equal(got[i].gateway.b, gw[i], 4);
	}
	nlmsg_free(m);
}

static void test_short_message(void **state)
{
	struct ndmsg ndm = { .ndm_family = AF_INET, .ndm_ifindex = 3, .ndm_state = NUD_STALE };
	struct nl_msg *m = begin(RTM_NEWNEIGH, &ndm, 4);
	struct pc_rtnl_neigh neigh;

	assert_int_equal(pc_rtnl_parse_neigh(nlmsg_hdr(m), &neigh), PC_ERR_MALFORMED);
	nlmsg_free(m);
	m = begin(RTM_NEWNEIGH, &ndm, sizeof(ndm));
	nla_put(m, NDA_DST, 3, MAC); /* an address cut short is none */
	nla_put(m, NDA_LLADDR, 6, MAC);
	assert_int_equal(pc_rtnl_parse_neigh(nlmsg_hdr(m), &neigh), 0);
	assert_int_equal(neigh.ip.family, 0);
	assert_int_equal(neigh.state, NUD_STALE);
	assert_true(neigh.has_mac);
	nlmsg_free(m);
}

static void question(const char *target, const char *source, struct pc_probe_question *q)
{
	memset(q, 0, sizeof(*q));
	assert_int_equal(pc_ip_parse(target, &q->target), 0);
	assert_int_equal(pc_ip_parse(source, &q->source), 0);
	memcpy(q->mac, MAC, 6);
}

static void test_arp(void **state)
{
	static const uint8_t want[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff,		  /* everyone */
		2,    0,    0,	  0,	0,    1,    8,	 6,	  /* Ethernet: our MAC, ARP */
		0,    1,    8,	  0,	6,    4,    0,	 1,	  /* request */
		2,    0,    0,	  0,	0,    1,    192, 0, 2, 9, /* from */
		0,    0,    0,	  0,	0,    0,    192, 0, 2, 1, /* about */
	};
	uint8_t frame[PC_PROBE_FRAME_MAX], reply[42];
	struct pc_probe_question q;

	question("192.0.2.1", "192.0.2.9", &q);
	assert_int_equal(pc_probe_frame(&q, frame), sizeof(want));
	assert_memory_equal(frame, want, sizeof(want));
	assert_false(pc_probe_is_answer(&q, frame, 42));

	memcpy(reply, MAC, 6);
	memcpy(reply + 6, OTHER_MAC, 6);
	memcpy(reply + 12, frame + 12, 8);
	reply[20] = 0;
	reply[21] = 2;
	memcpy(reply + 22, OTHER_MAC, 6);
	memcpy(reply + 28, q.target.b, 4);
	memcpy(reply + 32, MAC, 6);
	memcpy(reply + 38, q.source.b, 4);
	assert_true(pc_probe_is_answer(&q, reply, 42));
	for (size_t len = 0; len < 38; len++)
		assert_false(pc_probe_is_answer(&q, reply, len));
	reply[31]++; /* somebody else answers */
	assert_false(pc_probe_is_answer(&q, reply, 42));
	reply[31]--;
	reply[5]++; /* to somebody else */
	assert_false(pc_probe_is_answer(&q, reply, 42));
}

static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void test_neighbour_discovery(void **state)
{
	static const uint8_t mac[6] = { 0x33, 0x33, 0xff, 0, 0, 1 };
	uint8_t frame[PC_PROBE_FRAME_MAX], reply[78] = { 0 };
	struct pc_probe_question q;

	question("2001:db8::1", "2001:db8::9", &q);
	assert_int_equal(pc_probe_frame(&q, frame), 14 + 40 + 32);
	assert_memory_equal(frame, mac, 6);
	assert_int_equal(frame[14 + 7], 255);
	/* To the solicited-node group of the target; the checksum sums up with the pseudo header.
	 */
	assert_int_equal(frame[14 + 24], 0xff);
	assert_memory_equal(frame + 14 + 37, q.target.b + 13, 3);
	assert_int_equal(sum16(32 + 58, frame + 14 + 8, 32 + 32), 0xffff);
	assert_false(pc_probe_is_answer(&q, frame, 86));

	memcpy(reply, MAC, 6);
	reply[12] = 0x86;
	reply[13] = 0xdd;
	reply[14 + 6] = 58;
	reply[14 + 7] = 255;
	reply[54] = 136;
	memcpy(reply + 62, q.target.b, 16);
	assert_true(pc_probe_is_answer(&q, reply, sizeof(reply)));
	for (size_t len = 0; len < sizeof(reply); len++)
		assert_false(pc_probe_is_answer(&q, reply, len));
	reply[14 + 7] = 64; /* from beyond the link */
	assert_false(pc_probe_is_answer(&q, reply, sizeof(reply)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vlan_link),  cmocka_unit_test(test_foreign_vlan),
		cmocka_unit_test(test_plain_link), cmocka_unit_test(test_route),
		cmocka_unit_test(test_multipath),  cmocka_unit_test(test_short_message),
		cmocka_unit_test(test_arp),	   cmocka_unit_test(test_neighbour_discovery),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
