/* SPDX-License-Identifier: MIT */
/*
 * IP addresses, transport addresses and prefixes. Bytes in network order, ports in host order.
 * Unused bytes are zero, so that values of one family compare with memcmp.
 */
#ifndef PC_BASE_ADDR_H
#define PC_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct pc_ip {
	uint8_t family; /* 0: none, 4, 6 */
	uint8_t b[16];	/* IPv4 in the first four */
};

struct pc_addr {
	struct pc_ip ip;
	uint8_t zero; /* the padding, named: initialisers clear it, so memcmp and hashes work */
	uint16_t port;
};

struct pc_prefix {
	struct pc_ip ip; /* host bits are zero */
	uint8_t len;
};

/* Longest texts with the final NUL: "[v6]:65535", "v6", "v6/128". */
#define PC_IP_STRLEN	 46
#define PC_ADDR_STRLEN	 54
#define PC_PREFIX_STRLEN 50

static inline size_t pc_ip_len(const struct pc_ip *ip)
{
	return ip->family == 4 ? 4 : ip->family == 6 ? 16 : 0;
}

struct pc_ip pc_ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
bool pc_ip_equal(const struct pc_ip *a, const struct pc_ip *b);
bool pc_addr_equal(const struct pc_addr *a, const struct pc_addr *b);
bool pc_ip_is_any(const struct pc_ip *ip); /* 0.0.0.0 or :: */
bool pc_prefix_contains(const struct pc_prefix *p, const struct pc_ip *ip);

/* Strict numeric forms only. IPv6 with a port is "[::1]:53". Return 0 or PC_ERR_MALFORMED. */
int pc_ip_parse(const char *text, struct pc_ip *ret_ip);
int pc_addr_parse(const char *text, struct pc_addr *ret_addr); /* the port is required */
/* No "/len": one host. Host bits are cleared. */
int pc_prefix_parse(const char *text, struct pc_prefix *ret_prefix);

/* Write the canonical text to @buf of the length above; return @buf. */
const char *pc_ip_format(const struct pc_ip *ip, char buf[static PC_IP_STRLEN]);
const char *pc_addr_format(const struct pc_addr *addr, char buf[static PC_ADDR_STRLEN]);
const char *pc_prefix_format(const struct pc_prefix *p, char buf[static PC_PREFIX_STRLEN]);

/* IPv4-mapped IPv6 becomes IPv4. Other families: PC_ERR_MALFORMED. */
int pc_addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct pc_addr *ret_addr);
/* Returns the length to pass to the kernel. */
socklen_t pc_addr_to_sockaddr(const struct pc_addr *addr, struct sockaddr_storage *ret_sa);

#endif
