/* SPDX-License-Identifier: MIT */
/* The addresses of this host. */
#ifndef PC_DAEMON_HOST_H
#define PC_DAEMON_HOST_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

struct pc_host_address {
	struct pc_ip ip;
	char interface[IF_NAMESIZE];
	bool loopback, link_local;
};

struct pc_host {
	struct pc_host_address *address;
	size_t n;
};

/* Returns 0 or -errno. pc_host_free() in both cases; for use with PC_CLEANUP. */
int pc_host_read(struct pc_host *h);
void pc_host_free(struct pc_host *h);
const struct pc_host_address *pc_host_find(const struct pc_host *h, const struct pc_ip *ip);

#endif
