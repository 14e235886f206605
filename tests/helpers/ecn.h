/* SPDX-License-Identifier: MIT */
/* The ECN field of an IP packet (RFC 3168), IPv4 and IPv6. */
#ifndef PC_TESTS_ECN_H
#define PC_TESTS_ECN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ECN_MASK 3
#define ECN_CE	 3

/* 0 (not capable) for what is no IP packet. */
static inline uint8_t ecn_of(const uint8_t *ip, size_t len)
{
	if (len >= 20 && ip[0] >> 4 == 4)
		return ip[1] & ECN_MASK;
	if (len >= 40 && ip[0] >> 4 == 6)
		return (ip[1] >> 4) & ECN_MASK;
	return 0;
}

/* Says CE in a packet that is capable; RFC 1624: the sum loses what the word gains. */
static inline void ecn_set_ce(uint8_t *ip)
{
	uint32_t sum;

	if (ip[0] >> 4 == 6) {
		ip[1] |= ECN_CE << 4;
		return;
	}
	sum = (uint32_t)(ip[10] << 8 | ip[11]) + (ECN_CE - (ip[1] & ECN_MASK)) * 0xfffeu;
	ip[1] |= ECN_CE;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
}

#endif
