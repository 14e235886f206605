/* SPDX-License-Identifier: MIT */
/*
 * Ports of peers that Send indications may go to without asking user space. The list is that of the
 * policy there, which judges, and counts, all others; a unit test compares the two.
 */
#ifndef PC_LIB_PORTS_H
#define PC_LIB_PORTS_H

#include <linux/types.h>
#include <stdbool.h>

#define PC_PORT_HTTPS  443
#define PC_PORT_LOWEST 1024

/* Services that answer a small forged request with much. @port: host byte order. */
static inline __attribute__((always_inline, unused)) bool pc_port_amplifies(__u16 port)
{
	switch (port) {
	case 1434:  /* Microsoft SQL Server resolution */
	case 1604:  /* Citrix ICA browser */
	case 1900:  /* SSDP */
	case 2362:  /* Digi ADDP */
	case 3283:  /* Apple Remote Desktop */
	case 3389:  /* Remote Desktop over UDP */
	case 3702:  /* WS-Discovery */
	case 5093:  /* Sentinel license manager */
	case 5351:  /* NAT-PMP and PCP */
	case 5353:  /* multicast DNS */
	case 5683:  /* CoAP */
	case 6881:  /* BitTorrent DHT */
	case 10001: /* Ubiquiti discovery */
	case 10074: /* Mitel TP-240 driver */
	case 11211: /* memcached */
	case 17185: /* VxWorks WDB debugger */
	case 20811: /* Powerhouse VPN management */
	case 27015: /* Source engine game servers */
	case 27960: /* Quake 3 engine game servers */
	case 30718: /* Lantronix setup */
	case 32414: /* Plex discovery */
	case 33848: /* Jenkins discovery */
	case 37810: /* video recorder discovery (DHDiscover) */
	case 41794: /* Crestron CIP */
	case 47808: /* BACnet */
		return true;
	default:
		return false;
	}
}

static inline __attribute__((always_inline, unused)) bool pc_port_allowed(__u16 port)
{
	if (port < PC_PORT_LOWEST)
		return port == PC_PORT_HTTPS;
	return !pc_port_amplifies(port);
}

#endif
