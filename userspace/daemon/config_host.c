/* SPDX-License-Identifier: MIT */
/* The half of the configuration that depends on the host: its addresses and interfaces. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/config.h"
#include "daemon/host.h"

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
static int listen_add_all(struct pc_config *c, const struct pc_host *h, uint8_t family,
			  bool loopback, uint16_t port, size_t *ret_n, char *err, size_t size)
{
	size_t n = 0;
	int r;

	for (size_t i = 0; i < h->n; i++) {
		const struct pc_host_address *a = &h->address[i];
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

static int complete_listen(struct pc_config *c, const struct pc_host *h, char *err, size_t size)
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
			if (r == 0 && !pc_host_find(h, &wanted[i].ip)) {
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

static int complete_relay(struct pc_config *c, const struct pc_host *h, char *err, size_t size)
{
	char text[PC_IP_STRLEN];
	size_t j;

	for (size_t i = 0; i < c->n_relay_address; i++) {
		if (pc_host_find(h, &c->relay_address[i]))
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

static void interface_of(struct pc_config *c, const struct pc_host *h, const struct pc_ip *ip)
{
	const struct pc_host_address *a = pc_host_find(h, ip);

	if (!a || a->loopback || c->n_interface == PC_CONFIG_MAX_INTERFACES)
		return;
	for (size_t i = 0; i < c->n_interface; i++)
		if (strcmp(c->interface[i], a->interface) == 0)
			return;
	memcpy(c->interface[c->n_interface++], a->interface, IF_NAMESIZE);
}

static int complete_interfaces(struct pc_config *c, const struct pc_host *h, char *err, size_t size)
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
	PC_CLEANUP(pc_host_free) struct pc_host h = { 0 };
	int r = pc_host_read(&h);

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
