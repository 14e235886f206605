/* SPDX-License-Identifier: MIT */
/* The half of the configuration that depends on the host: its addresses and interfaces. */
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/config.h"

#define MAX_HOST_ADDRESSES 1024

struct host_address {
	struct pc_ip ip;
	char interface[IF_NAMESIZE];
	bool loopback, link_local;
};

struct host {
	struct host_address *address;
	size_t n;
};

static void host_free(struct host *h)
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

static int host_read(struct host *h)
{
	struct ifaddrs *list;

	h->address = calloc(MAX_HOST_ADDRESSES, sizeof(*h->address));
	if (!h->address)
		return -ENOMEM;
	if (getifaddrs(&list) < 0)
		return -errno;
	for (const struct ifaddrs *i = list; i && h->n < MAX_HOST_ADDRESSES; i = i->ifa_next) {
		struct host_address *a = &h->address[h->n];
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

static const struct host_address *host_find(const struct host *h, const struct pc_ip *ip)
{
	for (size_t i = 0; i < h->n; i++)
		if (pc_ip_equal(&h->address[i].ip, ip))
			return &h->address[i];
	return NULL;
}

static int listen_add(struct pc_config *c, const struct pc_addr *a, char *err, size_t size)
{
	char text[PC_ADDR_STRLEN];

	for (size_t i = 0; i < c->n_listen; i++) {
		if (!pc_addr_equal(&c->listen[i], a))
			continue;
		snprintf(err, size, "listen \"%s\": given twice (a wildcard includes it)",
			 pc_addr_format(a, text));
		return PC_ERR_EXISTS;
	}
	if (c->n_listen == PC_CONFIG_MAX_LISTEN) {
		snprintf(err, size, "this host has more than %d addresses to listen on; name some",
			 PC_CONFIG_MAX_LISTEN);
		return PC_ERR_RANGE;
	}
	c->listen[c->n_listen++] = *a;
	return 0;
}

/* Every address of @family (0: both) that others can reach; how many in *ret_n. */
static int listen_add_all(struct pc_config *c, const struct host *h, uint8_t family, bool loopback,
			  uint16_t port, size_t *ret_n, char *err, size_t size)
{
	size_t n = 0;
	int r;

	for (size_t i = 0; i < h->n; i++) {
		const struct host_address *a = &h->address[i];
		struct pc_addr addr = { .ip = a->ip, .port = port };
		bool again = false;

		if (a->link_local || a->loopback != loopback || (family && a->ip.family != family))
			continue;
		for (size_t j = 0; j < i; j++) /* the same address on two interfaces */
			again |= pc_ip_equal(&h->address[j].ip, &a->ip);
		if (again)
			continue;
		r = listen_add(c, &addr, err, size);
		if (r)
			return r;
		n++;
	}
	*ret_n = n;
	return 0;
}

static int complete_listen(struct pc_config *c, const struct host *h, char *err, size_t size)
{
	struct pc_addr wanted[PC_CONFIG_MAX_LISTEN];
	size_t n = c->n_listen, added = 0;
	char text[PC_ADDR_STRLEN];
	int r = 0;

	memcpy(wanted, c->listen, sizeof(wanted));
	c->n_listen = 0;
	if (n == 0) {
		r = listen_add_all(c, h, 0, false, PC_CONFIG_DEFAULT_PORT, &added, err, size);
		if (r == 0 && added == 0)
			r = listen_add_all(c, h, 0, true, PC_CONFIG_DEFAULT_PORT, &added, err,
					   size);
		if (r == 0 && added == 0) {
			snprintf(err, size, "no interface of this host has an address");
			r = -EADDRNOTAVAIL;
		}
		return r;
	}
	for (size_t i = 0; i < n && r == 0; i++) {
		pc_addr_format(&wanted[i], text);
		if (!pc_ip_is_any(&wanted[i].ip)) {
			r = listen_add(c, &wanted[i], err, size);
			if (r == 0 && !host_find(h, &wanted[i].ip)) {
				snprintf(err, size,
					 "listen \"%s\": this host does not have that address",
					 text);
				r = -EADDRNOTAVAIL;
			}
			continue;
		}
		r = listen_add_all(c, h, wanted[i].ip.family, false, wanted[i].port, &added, err,
				   size);
		if (r == 0 && added == 0) {
			snprintf(err, size, "listen \"%s\": this host has no IPv%d address for it",
				 text, wanted[i].ip.family);
			r = -EADDRNOTAVAIL;
		}
	}
	return r;
}

static int complete_relay(struct pc_config *c, const struct host *h, char *err, size_t size)
{
	char text[PC_IP_STRLEN];
	size_t j;

	for (size_t i = 0; i < c->n_relay_address; i++) {
		if (host_find(h, &c->relay_address[i]))
			continue;
		snprintf(err, size, "relay-address \"%s\": this host does not have that address",
			 pc_ip_format(&c->relay_address[i], text));
		return -EADDRNOTAVAIL;
	}
	if (c->n_relay_address)
		return 0;
	for (size_t i = 0; i < c->n_listen; i++) {
		for (j = 0; j < c->n_relay_address; j++)
			if (pc_ip_equal(&c->relay_address[j], &c->listen[i].ip))
				break;
		if (j == c->n_relay_address && j < PC_TURN_MAX_RELAY_IPS)
			c->relay_address[c->n_relay_address++] = c->listen[i].ip;
	}
	return 0;
}

static void interface_of(struct pc_config *c, const struct host *h, const struct pc_ip *ip)
{
	const struct host_address *a = host_find(h, ip);

	if (!a || a->loopback || c->n_interface == PC_CONFIG_MAX_INTERFACES)
		return;
	for (size_t i = 0; i < c->n_interface; i++)
		if (strcmp(c->interface[i], a->interface) == 0)
			return;
	memcpy(c->interface[c->n_interface++], a->interface, IF_NAMESIZE);
}

static int complete_interfaces(struct pc_config *c, const struct host *h, char *err, size_t size)
{
	for (size_t i = 0; i < c->n_interface; i++) {
		if (if_nametoindex(c->interface[i]))
			continue;
		snprintf(err, size, "interface \"%s\": no such interface on this host",
			 c->interface[i]);
		return -ENODEV;
	}
	if (c->n_interface)
		return 0;
	for (size_t i = 0; i < c->n_listen; i++)
		interface_of(c, h, &c->listen[i].ip);
	for (size_t i = 0; i < c->n_relay_address; i++)
		interface_of(c, h, &c->relay_address[i]);
	return 0;
}

static int check_external(const struct pc_config *c, char *err, size_t size)
{
	char text[PC_IP_STRLEN];

	for (size_t i = 0; i < c->n_external_address; i++) {
		bool used = false;

		for (size_t j = 0; j < c->n_relay_address; j++)
			used |= c->relay_address[j].family == c->external_address[i].family;
		if (used)
			continue;
		snprintf(err, size, "external-address \"%s\": no relay address of IPv%d",
			 pc_ip_format(&c->external_address[i], text),
			 c->external_address[i].family);
		return PC_ERR_RANGE;
	}
	return 0;
}

int pc_config_complete(struct pc_config *c, char *ret_error, size_t error_size)
{
	PC_CLEANUP(host_free) struct host h = { 0 };
	int r = host_read(&h);

	if (r) {
		snprintf(ret_error, error_size, "reading the addresses of this host: %s",
			 pc_strerror(r));
		return r;
	}
	r = complete_listen(c, &h, ret_error, error_size);
	if (!r)
		r = complete_relay(c, &h, ret_error, error_size);
	if (!r)
		r = complete_interfaces(c, &h, ret_error, error_size);
	return r ? r : check_external(c, ret_error, error_size);
}
