/* SPDX-License-Identifier: MIT */
/* `NAME gets ...` of a scenario: what a client received, judged by words such as `lifetime=600`. */
#ifndef PC_TESTS_SCENARIO_ANSWERS_H
#define PC_TESTS_SCENARIO_ANSWERS_H

#include "tests/scenario/client.h"

#define ANSWER_VARS 64

struct answer_var {
	char name[48];
	char value[4096];
};

/* Variables: $NAME in later words. */
struct answer_vars {
	struct answer_var v[ANSWER_VARS];
	size_t n;
};

static inline void __attribute__((format(printf, 3, 4)))
answer_set(struct answer_vars *vars, const char *name, const char *fmt, ...)
{
	size_t i = 0;
	va_list ap;

	while (i < vars->n && strcmp(vars->v[i].name, name) != 0)
		i++;
	if (i == ANSWER_VARS)
		return;
	if (i == vars->n)
		vars->n++;
	snprintf(vars->v[i].name, sizeof(vars->v[i].name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(vars->v[i].value, sizeof(vars->v[i].value), fmt, ap);
	va_end(ap);
}

static inline const char *answer_get(const struct answer_vars *vars, const char *name)
{
	for (size_t i = 0; i < vars->n; i++) {
		if (strcmp(vars->v[i].name, name) == 0)
			return vars->v[i].value;
	}
	return NULL;
}

static inline void answer_set_addr(struct answer_vars *vars, const char *client, const char *what,
				   const struct pc_addr *addr)
{
	char name[48], text[PC_ADDR_STRLEN], ip[PC_IP_STRLEN];
	struct pc_addr next = *addr;

	snprintf(name, sizeof(name), "%s.%s", client, what);
	answer_set(vars, name, "%s", pc_addr_format(addr, text));
	next.port++;
	snprintf(name, sizeof(name), "%s.%s.next", client, what);
	answer_set(vars, name, "%s", pc_addr_format(&next, text));
	snprintf(name, sizeof(name), "%s.%s.port", client, what);
	answer_set(vars, name, "%u", addr->port);
	snprintf(name, sizeof(name), "%s.%s.ip", client, what);
	answer_set(vars, name, "%s", pc_ip_format(&addr->ip, ip));
}

/* The n-th attribute of @type. */
static inline bool answer_attr(const struct pc_stun_msg *msg, uint16_t type, unsigned int n,
			       struct pc_stun_attr *ret_attr)
{
	size_t pos;

	pc_stun_for_each (msg, pos, *ret_attr) {
		if (ret_attr->type == type && n-- == 0)
			return true;
	}
	return false;
}

/* Remembers the nonce, and what a successful Allocate gave. */
static inline void answer_learn(struct answer_vars *vars, const struct client *c,
				const struct pc_stun_msg *msg)
{
	struct pc_stun_attr attr;
	struct pc_addr addr;
	char name[48], hex[2 * 256 + 1];

	pc_format_hex(c->nonce, c->nonce_len, hex);
	snprintf(name, sizeof(name), "%s.nonce", c->name);
	answer_set(vars, name, "x:%s", hex);

	for (unsigned int i = 0; answer_attr(msg, PC_ATTR_XOR_RELAYED_ADDRESS, i, &attr); i++) {
		if (pc_stun_attr_xor_addr(msg, &attr, &addr) == 0)
			answer_set_addr(vars, c->name, i ? "relayed2" : "relayed", &addr);
	}
	if (pc_stun_find(msg, PC_ATTR_RESERVATION_TOKEN, &attr) && attr.len == 8) {
		pc_format_hex(attr.value, 8, hex);
		snprintf(name, sizeof(name), "%s.token", c->name);
		answer_set(vars, name, "x:%s", hex);
	}
}

/* `192.0.2.1:*` leaves the port open. */
static inline bool answer_addr_matches(const struct pc_addr *addr, const char *want)
{
	char text[PC_ADDR_STRLEN];
	size_t n = strlen(want);

	pc_addr_format(addr, text);
	if (n && want[n - 1] == '*')
		return strncmp(text, want, n - 1) == 0;
	return strcmp(text, want) == 0;
}

static inline bool answer_has_addr(const struct pc_stun_msg *msg, uint16_t type, unsigned int n,
				   const char *want)
{
	struct pc_stun_attr attr;
	struct pc_addr addr;

	return answer_attr(msg, type, n, &attr) && pc_stun_attr_xor_addr(msg, &attr, &addr) == 0 &&
	       answer_addr_matches(&addr, want);
}

/* Value of the attribute equals the bytes of @want. */
static inline bool answer_has_bytes(const struct pc_stun_msg *msg, uint16_t type, const char *want)
{
	struct pc_stun_attr attr;
	uint8_t bytes[2048];
	int n = client_bytes(want, bytes, sizeof(bytes));

	return n >= 0 && pc_stun_find(msg, type, &attr) && attr.len == n &&
	       memcmp(attr.value, bytes, (size_t)n) == 0;
}

static const struct {
	const char *name;
	uint16_t type;
	uint8_t nth;
	char kind; /* a: xor address, b: bytes, n: absent */
} answer_words[] = {
	{ "relayed", PC_ATTR_XOR_RELAYED_ADDRESS, 0, 'a' },
	{ "relayed2", PC_ATTR_XOR_RELAYED_ADDRESS, 1, 'a' },
	{ "mapped", PC_ATTR_XOR_MAPPED_ADDRESS, 0, 'a' },
	{ "peer", PC_ATTR_XOR_PEER_ADDRESS, 0, 'a' },
	{ "data", PC_ATTR_DATA, 0, 'b' },
	{ "icmp", PC_ATTR_ICMP, 0, 'b' },
	{ "realm", PC_ATTR_REALM, 0, 'b' },
	{ "unknown", PC_ATTR_UNKNOWN_ATTRIBUTES, 0, 'b' },
	{ "algorithms", PC_ATTR_PASSWORD_ALGORITHMS, 0, 'b' },
	{ "address-error", PC_ATTR_ADDRESS_ERROR_CODE, 0, 'b' },
	{ "alternate", PC_ATTR_ALTERNATE_SERVER, 0, 'b' },
	{ "error", PC_ATTR_ERROR_CODE, 0, 'b' },
	{ "no-address-error", PC_ATTR_ADDRESS_ERROR_CODE, 0, 'n' },
	{ "no-token", PC_ATTR_RESERVATION_TOKEN, 0, 'n' },
	{ "no-relayed2", PC_ATTR_XOR_RELAYED_ADDRESS, 1, 'n' },
	{ "no-software", PC_ATTR_SOFTWARE, 0, 'n' },
	{ "no-data", PC_ATTR_DATA, 0, 'n' },
};

/* One word after `gets success` and the like. */
static inline bool answer_check_word(const struct pc_stun_msg *msg, const struct pc_dgram *d,
				     const char *word)
{
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : strlen(word);
	struct pc_stun_attr attr;
	char expect[16];

	if (value)
		value++;
	for (size_t i = 0; i < sizeof(answer_words) / sizeof(answer_words[0]); i++) {
		uint16_t type = answer_words[i].type;

		if (strlen(answer_words[i].name) != len ||
		    memcmp(answer_words[i].name, word, len) != 0)
			continue;
		if (answer_words[i].kind == 'n')
			return !answer_attr(msg, type, answer_words[i].nth, &attr);
		if (answer_words[i].kind == 'a')
			return value && answer_has_addr(msg, type, answer_words[i].nth, value);
		return value && answer_has_bytes(msg, type, value);
	}
	if (!value)
		return strcmp(word, "token") == 0 &&
		       pc_stun_find(msg, PC_ATTR_RESERVATION_TOKEN, &attr) && attr.len == 8;
	if (strncmp(word, "lifetime=", 9) == 0) {
		snprintf(expect, sizeof(expect), "x:%08lx", strtoul(value, NULL, 10));
		return answer_has_bytes(msg, PC_ATTR_LIFETIME, expect);
	}
	if (strncmp(word, "max=", 4) == 0)
		return d->len <= strtoul(value, NULL, 10);
	if (strncmp(word, "size=", 5) == 0)
		return d->len == strtoul(value, NULL, 10);
	if (strncmp(word, "ttl=", 4) == 0)
		return d->ttl == strtoul(value, NULL, 10);
	if (strncmp(word, "tos=", 4) == 0)
		return d->tos == strtoul(value, NULL, 10);
	return false;
}

static inline const char *answer_check_words(const struct pc_stun_msg *msg,
					     const struct pc_dgram *d, char **words, int n)
{
	for (int i = 0; i < n; i++) {
		if (!answer_check_word(msg, d, words[i]))
			return words[i];
	}
	return NULL;
}

/* `gets success|error CODE|data WORDS...`. Returns NULL or what was wrong. */
static inline const char *answer_stun(struct answer_vars *vars, struct client *c, char **words,
				      int n)
{
	const struct pc_dgram *d = &c->last->d;
	struct pc_stun_msg msg;
	const char *wrong;
	unsigned int code;
	int first = 1;

	if (pc_stun_parse(d->data, d->len, &msg) < 0)
		return "not a STUN message";
	wrong = client_check_padding(&msg);
	if (wrong)
		return wrong;
	if (strcmp(words[0], "data") == 0) {
		if (msg.method != PC_STUN_DATA || msg.cls != PC_STUN_INDICATION)
			return "not a Data indication";
		return answer_check_words(&msg, d, words + 1, n - 1);
	}
	code = client_error_code(&msg);
	wrong = client_check_response(c, &msg, code);
	if (wrong)
		return wrong;
	if (strcmp(words[0], "error") == 0) {
		static char text[64];

		snprintf(text, sizeof(text), "the error code is %u", code);
		if (n < 2 || code != strtoul(words[1], NULL, 10))
			return text;
		first = 2;
	} else if (msg.cls != PC_STUN_SUCCESS) {
		static char text[64];

		snprintf(text, sizeof(text), "not a success, but %u", code);
		return text;
	}
	client_learn(c, &msg);
	answer_learn(vars, c, &msg);
	return answer_check_words(&msg, d, words + first, n - first);
}

/* `gets channel NUMBER VALUE [ttl=] [tos=]`: exactly header and payload, no padding. */
static inline const char *answer_channel(const struct client *c, char **words, int n)
{
	const struct pc_dgram *d = &c->last->d;
	uint8_t bytes[CLIENT_MAX_MESSAGE];
	int len = n >= 3 ? client_bytes(words[2], bytes, sizeof(bytes)) : -1;
	struct pc_reader r;
	uint16_t number;

	if (len < 0)
		return "needs a number and a value";
	pc_reader_init(&r, d->data, d->len);
	number = pc_read_u16(&r);
	if (number != strtoul(words[1], NULL, 0))
		return "another channel, or none";
	if (pc_read_u16(&r) != len || pc_reader_left(&r) != (size_t)len ||
	    memcmp(d->data + 4, bytes, (size_t)len) != 0)
		return "other data";
	for (int i = 3; i < n; i++) {
		if (!answer_check_word(NULL, d, words[i]))
			return words[i];
	}
	return NULL;
}

#endif
