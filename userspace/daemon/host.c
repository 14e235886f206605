/* SPDX-License-Identifier: MIT */
#include "daemon/host.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HOST_ADDRESSES 1024

void pc_host_free(struct pc_host *h)
{
	free(h->address);
}

static bool is_link_local(const struct pc_ip *ip)
{
	if (ip->family == 4)
		return ip->b[0] == 169 && ip->b[1] == 254;
	return ip->b[0] == 0xfe && (ip->b[1] & 0xc0) == 0x80;
}

static bool is_loopback(const struct pc_ip *ip)
{
	static const struct pc_ip v6 = { .family = 6, .b = { [15] = 1 } };

	return ip->family == 4 ? ip->b[0] == 127 : pc_ip_equal(ip, &v6);
}

int pc_host_read(struct pc_host *h)
{
	struct ifaddrs *list;

	h->address = calloc(MAX_HOST_ADDRESSES, sizeof(*h->address));
	if (!h->address)
		return -ENOMEM;
	if (getifaddrs(&list) < 0)
		return -errno;
	for (const struct ifaddrs *i = list; i && h->n < MAX_HOST_ADDRESSES; i = i->ifa_next) {
		struct pc_host_address *a = &h->address[h->n];
		struct pc_addr addr;
		socklen_t len;

		if (!i->ifa_addr)
			continue;
		len = i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
							: sizeof(struct sockaddr_in6);
		if (pc_addr_from_sockaddr(i->ifa_addr, len, &addr))
			continue;
		a->ip = addr.ip;
		a->loopback = (i->ifa_flags & IFF_LOOPBACK) || is_loopback(&a->ip);
		a->link_local = is_link_local(&a->ip);
		snprintf(a->interface, sizeof(a->interface), "%s", i->ifa_name);
		h->n++;
	}
	freeifaddrs(list);
	return 0;
}

const struct pc_host_address *pc_host_find(const struct pc_host *h, const struct pc_ip *ip)
{
	for (size_t i = 0; i < h->n; i++)
		if (pc_ip_equal(&h->address[i].ip, ip))
			return &h->address[i];
	return NULL;
}
