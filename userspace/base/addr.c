/* SPDX-License-Identifier: MIT */
#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/parse.h"

struct pc_ip pc_ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct pc_ip){ .family = 4, .b = { a, b, c, d } };
}

bool pc_ip_equal(const struct pc_ip *a, const struct pc_ip *b)
{
	return a->family == b->family && memcmp(a->b, b->b, pc_ip_len(a)) == 0;
}

bool pc_addr_equal(const struct pc_addr *a, const struct pc_addr *b)
{
	return a->port == b->port && pc_ip_equal(&a->ip, &b->ip);
}

bool pc_ip_is_any(const struct pc_ip *ip)
{
	static const uint8_t zero[16];

	return pc_ip_len(ip) > 0 && memcmp(ip->b, zero, pc_ip_len(ip)) == 0;
}

/* Zeroes everything after the first @len bits. */
static void mask_host_bits(struct pc_ip *ip, unsigned int len)
{
	for (unsigned int i = 0; i < sizeof(ip->b); i++) {
		if (len >= 8 * (i + 1))
			continue;
		if (len <= 8 * i)
			ip->b[i] = 0;
		else
			ip->b[i] &= (uint8_t)(0xff00 >> (len - 8 * i));
	}
}

bool pc_prefix_contains(const struct pc_prefix *p, const struct pc_ip *ip)
{
	struct pc_ip masked = *ip;

	if (p->ip.family == 0 || p->ip.family != ip->family)
		return false;
	mask_host_bits(&masked, p->len);
	return memcmp(masked.b, p->ip.b, pc_ip_len(ip)) == 0;
}

int pc_ip_parse(const char *text, struct pc_ip *ret_ip)
{
	struct pc_ip ip = { .family = 4 };

	if (inet_pton(AF_INET, text, ip.b) != 1) {
		ip = (struct pc_ip){ .family = 6 };
		if (inet_pton(AF_INET6, text, ip.b) != 1)
			return PC_ERR_MALFORMED;
	}
	*ret_ip = ip;
	return 0;
}

/* Parses the @len characters at @text. */
static int parse_part(const char *text, size_t len, struct pc_ip *ret_ip)
{
	char buf[PC_IP_STRLEN];

	if (len >= sizeof(buf))
		return PC_ERR_MALFORMED;
	memcpy(buf, text, len);
	buf[len] = '\0';
	return pc_ip_parse(buf, ret_ip);
}

int pc_addr_parse(const char *text, struct pc_addr *ret_addr)
{
	const char *start = text, *end, *colon;
	struct pc_addr addr = { 0 };
	uint64_t port;
	bool v6 = *text == '[';

	if (v6) {
		start++;
		end = strchr(start, ']');
		colon = end ? end + 1 : NULL;
	} else {
		end = colon = strchr(start, ':');
	}
	if (!colon || *colon != ':')
		return PC_ERR_MALFORMED;
	if (parse_part(start, (size_t)(end - start), &addr.ip) < 0)
		return PC_ERR_MALFORMED;
	if (v6 != (addr.ip.family == 6))
		return PC_ERR_MALFORMED;
	if (pc_parse_u64(colon + 1, 0, UINT16_MAX, &port) < 0)
		return PC_ERR_MALFORMED;
	addr.port = (uint16_t)port;
	*ret_addr = addr;
	return 0;
}

int pc_prefix_parse(const char *text, struct pc_prefix *ret_prefix)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	struct pc_prefix p;
	uint64_t len;
	int r;

	r = parse_part(text, n, &p.ip);
	if (r < 0)
		return r;
	len = 8 * pc_ip_len(&p.ip);
	if (slash && pc_parse_u64(slash + 1, 0, len, &len) < 0)
		return PC_ERR_MALFORMED;
	p.len = (uint8_t)len;
	mask_host_bits(&p.ip, p.len);
	*ret_prefix = p;
	return 0;
}

const char *pc_ip_format(const struct pc_ip *ip, char buf[static PC_IP_STRLEN])
{
	int family = ip->family == 6 ? AF_INET6 : AF_INET;

	if (ip->family == 0 || !inet_ntop(family, ip->b, buf, PC_IP_STRLEN))
		snprintf(buf, PC_IP_STRLEN, "none");
	return buf;
}

const char *pc_addr_format(const struct pc_addr *addr, char buf[static PC_ADDR_STRLEN])
{
	const char *fmt = addr->ip.family == 6 ? "[%s]:%u" : "%s:%u";
	char ip[PC_IP_STRLEN];

	snprintf(buf, PC_ADDR_STRLEN, fmt, pc_ip_format(&addr->ip, ip), addr->port);
	return buf;
}

const char *pc_prefix_format(const struct pc_prefix *p, char buf[static PC_PREFIX_STRLEN])
{
	char ip[PC_IP_STRLEN];

	snprintf(buf, PC_PREFIX_STRLEN, "%s/%u", pc_ip_format(&p->ip, ip), p->len);
	return buf;
}

static void from_in6(const struct sockaddr_in6 *in6, struct pc_addr *ret_addr)
{
	struct pc_addr addr = { .ip = { .family = 6 }, .port = ntohs(in6->sin6_port) };

	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		addr.ip.family = 4;
		memcpy(addr.ip.b, in6->sin6_addr.s6_addr + 12, 4);
	} else {
		memcpy(addr.ip.b, in6->sin6_addr.s6_addr, 16);
	}
	*ret_addr = addr;
}

int pc_addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct pc_addr *ret_addr)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (len < offsetof(struct sockaddr, sa_data))
		return PC_ERR_MALFORMED;
	if (sa->sa_family == AF_INET && len >= sizeof(in)) {
		memcpy(&in, sa, sizeof(in));
		*ret_addr = (struct pc_addr){ .ip = { .family = 4 }, .port = ntohs(in.sin_port) };
		memcpy(ret_addr->ip.b, &in.sin_addr, 4);
		return 0;
	}
	if (sa->sa_family == AF_INET6 && len >= sizeof(in6)) {
		memcpy(&in6, sa, sizeof(in6));
		from_in6(&in6, ret_addr);
		return 0;
	}
	return PC_ERR_MALFORMED;
}

socklen_t pc_addr_to_sockaddr(const struct pc_addr *addr, struct sockaddr_storage *ret_sa)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(addr->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(addr->port) };

	memset(ret_sa, 0, sizeof(*ret_sa));
	if (addr->ip.family == 4) {
		memcpy(&in.sin_addr, addr->ip.b, 4);
		memcpy(ret_sa, &in, sizeof(in));
		return sizeof(in);
	}
	if (addr->ip.family == 6) {
		memcpy(&in6.sin6_addr, addr->ip.b, 16);
		memcpy(ret_sa, &in6, sizeof(in6));
		return sizeof(in6);
	}
	return 0;
}
