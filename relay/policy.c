/* SPDX-License-Identifier: MIT */
#include "relay/policy.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Rules at one node of a trie, that is about one prefix. */
enum {
	DEFAULT_DENY = 1 << 0,
	OPERATOR_DENY = 1 << 1,
	OPERATOR_ALLOW = 1 << 2,
	OWN = 1 << 3,
};

/* A node per bit of prefix. Indices instead of pointers: the array moves when it grows. */
struct node {
	uint32_t child[2]; /* 0: none; the root is nobody's child */
	uint8_t rules;
};

struct trie {
	struct node *nodes;
	uint32_t count;
	uint32_t size;
};

struct pc_policy {
	struct trie v4;
	struct trie v6;
	bool all_ports;
};

static const char *const default_rules[] = {
#define PC_POLICY_DENY(prefix, source) prefix,
#define PC_POLICY_DENY_PORT(port, service)
#include "relay/policy_rules.def"
#undef PC_POLICY_DENY
#undef PC_POLICY_DENY_PORT
};

static const uint16_t denied_ports[] = {
#define PC_POLICY_DENY(prefix, source)
#define PC_POLICY_DENY_PORT(port, service) port,
#include "relay/policy_rules.def"
#undef PC_POLICY_DENY
#undef PC_POLICY_DENY_PORT
};

#define LOWEST_PORT 1024
#define HTTPS_PORT  443 /* QUIC, and relays that listen where firewalls are open */

/*
 * IPv6 addresses that lead to IPv4 ones. Every row that matches is judged: at @offset of the
 * address lie the four bytes, complemented where @inverted, provided that all from
 * @zero_from on is zero.
 */
struct embedding {
	struct pc_prefix prefix;
	uint8_t offset;
	uint8_t zero_from; /* 16: no condition */
	bool inverted;
};

#define V6(...)                                   \
	{                                         \
		.family = 6, .b = { __VA_ARGS__ } \
	}
static const struct embedding embeddings[] = {
	/* IPv4-compatible, RFC 4291 section 2.5.5.1; not :: and ::1, see embedded(). */
	{ { V6(0), 96 }, 12, 16, false },
	/* IPv4-mapped, RFC 4291 section 2.5.5.2. */
	{ { V6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 96 }, 12, 16, false },
	/* IPv4-translated, RFC 2765. */
	{ { V6(0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 96 }, 12, 16, false },
	/* NAT64, RFC 6052. */
	{ { V6(0, 0x64, 0xff, 0x9b), 96 }, 12, 16, false },
	/*
	 * Local NAT64, RFC 8215: a translator's prefix is /96 there, or /64 with the address split
	 * off byte 8. The layouts of /48 and /56 end in zeros, which the first row takes for
	 * 0.0.0.0: denied.
	 */
	{ { V6(0, 0x64, 0xff, 0x9b, 0, 1), 48 }, 12, 16, false },
	{ { V6(0, 0x64, 0xff, 0x9b, 0, 1), 48 }, 9, 13, false },
	/* Teredo, RFC 4380 section 4: the server, and the client's address complemented. */
	{ { V6(0x20, 0x01, 0, 0), 32 }, 4, 16, false },
	{ { V6(0x20, 0x01, 0, 0), 32 }, 12, 16, true },
	/* 6to4, RFC 3056. */
	{ { V6(0x20, 0x02), 16 }, 2, 16, false },
};

static bool all_zero(const uint8_t *b, size_t from, size_t to)
{
	uint8_t bits = 0;

	for (size_t i = from; i < to; i++)
		bits |= b[i];
	return !bits;
}

/* Whether @e applies to @ip, and the IPv4 address that it gives. */
static bool embedded(const struct embedding *e, const struct pc_ip *ip, struct pc_ip *ret_v4)
{
	struct pc_ip v4 = { .family = 4 };

	if (ip->family != 6 || !pc_prefix_contains(&e->prefix, ip) ||
	    !all_zero(ip->b, e->zero_from, sizeof(ip->b)))
		return false;
	if (all_zero(ip->b, 0, 15) && ip->b[15] < 2)
		return false; /* unspecified and loopback are no IPv4 addresses */
	for (size_t i = 0; i < 4; i++)
		v4.b[i] = ip->b[e->offset + i] ^ (e->inverted ? 0xff : 0);
	*ret_v4 = v4;
	return true;
}

static unsigned int bit_at(const uint8_t *b, unsigned int i)
{
	return b[i / 8] >> (7 - i % 8) & 1;
}

/* Makes room for @more nodes, so that what follows cannot fail halfway. */
static int trie_reserve(struct trie *t, uint32_t more)
{
	uint32_t size = t->size ? t->size : 256;
	struct node *nodes;

	while (size < t->count + more)
		size *= 2;
	if (size == t->size)
		return 0;
	nodes = realloc(t->nodes, size * sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	t->nodes = nodes;
	t->size = size;
	if (!t->count)
		t->nodes[t->count++] = (struct node){ .rules = 0 };
	return 0;
}

static int trie_add(struct trie *t, const uint8_t *bits, unsigned int len, uint8_t rule)
{
	uint32_t at = 0;
	int err = trie_reserve(t, len + 1);

	if (err)
		return err;
	for (unsigned int i = 0; i < len; i++) {
		unsigned int bit = bit_at(bits, i);

		if (!t->nodes[at].child[bit]) {
			t->nodes[t->count] = (struct node){ .rules = 0 };
			t->nodes[at].child[bit] = t->count++;
		}
		at = t->nodes[at].child[bit];
	}
	t->nodes[at].rules |= rule;
	return 0;
}

/* What one prefix says; @before: what the shorter ones said. */
static bool verdict(uint8_t rules, bool before)
{
	if (rules & (OWN | OPERATOR_DENY))
		return false;
	if (rules & OPERATOR_ALLOW)
		return true;
	return rules & DEFAULT_DENY ? false : before;
}

static bool trie_allows(const struct trie *t, const struct pc_ip *ip)
{
	unsigned int len = (unsigned int)pc_ip_len(ip) * 8;
	bool allowed = true;
	uint32_t at = 0;

	if (!len || !t->count)
		return false;
	/* An own address is a rule of full length, so it is judged last. */
	for (unsigned int i = 0;; i++) {
		allowed = verdict(t->nodes[at].rules, allowed);
		if (i == len)
			break;
		at = t->nodes[at].child[bit_at(ip->b, i)];
		if (!at)
			break;
	}
	return allowed;
}

static int add_rule(struct pc_policy *p, const struct pc_prefix *prefix, uint8_t rule)
{
	if (prefix->len > pc_ip_len(&prefix->ip) * 8 || !prefix->ip.family)
		return PC_ERR_RANGE;
	return trie_add(prefix->ip.family == 4 ? &p->v4 : &p->v6, prefix->ip.b, prefix->len, rule);
}

PC_DEFINE_CLEANUP(policy, struct pc_policy, pc_policy_free)

int pc_policy_new(struct pc_policy **ret_policy)
{
	struct pc_policy *p PC_CLEANUP(pc_cleanup_policy) = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < PC_ARRAY_SIZE(default_rules); i++) {
		struct pc_prefix prefix;
		int err = pc_prefix_parse(default_rules[i], &prefix);

		assert(!err); /* a mistake in the table */
		if (!err)
			err = add_rule(p, &prefix, DEFAULT_DENY);
		if (err)
			return err;
	}
	*ret_policy = TAKE_PTR(p);
	return 0;
}

void pc_policy_free(struct pc_policy *p)
{
	if (!p)
		return;
	free(p->v4.nodes);
	free(p->v6.nodes);
	free(p);
}

int pc_policy_add(struct pc_policy *p, const struct pc_prefix *prefix, bool allow)
{
	return add_rule(p, prefix, allow ? OPERATOR_ALLOW : OPERATOR_DENY);
}

int pc_policy_add_own(struct pc_policy *p, const struct pc_ip *ip)
{
	struct pc_prefix host = { .ip = *ip, .len = (uint8_t)(pc_ip_len(ip) * 8) };

	return add_rule(p, &host, OWN);
}

bool pc_policy_allows_ip(const struct pc_policy *p, const struct pc_ip *ip)
{
	if (!trie_allows(ip->family == 4 ? &p->v4 : &p->v6, ip))
		return false;
	if (ip->family == 4)
		return true;
	for (size_t i = 0; i < PC_ARRAY_SIZE(embeddings); i++) {
		struct pc_ip v4;

		if (embedded(&embeddings[i], ip, &v4) && !trie_allows(&p->v4, &v4))
			return false;
	}
	return true;
}

static bool port_allowed(uint16_t port)
{
	if (port < LOWEST_PORT)
		return port == HTTPS_PORT;
	for (size_t i = 0; i < PC_ARRAY_SIZE(denied_ports); i++) {
		if (denied_ports[i] == port)
			return false;
	}
	return true;
}

bool pc_policy_allows(const struct pc_policy *p, const struct pc_addr *peer)
{
	if (!peer->port || (!p->all_ports && !port_allowed(peer->port)))
		return false;
	return pc_policy_allows_ip(p, &peer->ip);
}

void pc_policy_allow_all_ports(struct pc_policy *p)
{
	p->all_ports = true;
}
