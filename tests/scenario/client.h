/* SPDX-License-Identifier: MIT */
/*
 * A TURN client of a scenario: builds requests from words such as `peer=192.0.2.1:9` and judges
 * answers by words of the same kind. Every answer is also checked for what always holds: zero
 * padding, matching transaction, integrity of the kind the request used.
 */
#ifndef PC_TESTS_SCENARIO_CLIENT_H
#define PC_TESTS_SCENARIO_CLIENT_H

#include "base/parse.h"
#include "base/wire.h"
#include "relay/auth.h"
#include "relay/stun.h"
#include "tests/scenario/fake.h"

#define CLIENT_MAX_MESSAGE 4096
#define TURN_SCENARIO_TTL  57

struct client {
	char name[32];
	struct pc_turn_path path;
	char user[64], password[64];
	char realm[128];
	char nonce[256];
	size_t nonce_len;
	int algorithm; /* 0: MD5 without saying so */
	bool hash;
	bool integrity256;
	bool odd; /* datagrams begin at odd addresses */
	uint8_t ttl, tos;
	/* The last request. */
	uint8_t txid[PC_STUN_TXID_LEN];
	uint16_t method;
	bool fingerprint, authenticated;
	uint32_t next_txid;
	struct fake_dgram *last; /* answer taken last */
};

/* "text" or bare text stays, x:HEX is decoded. Returns the length or -1. */
static inline int client_bytes(const char *word, uint8_t *buf, size_t size)
{
	size_t n = strlen(word);

	if (strncmp(word, "x:", 2) == 0) {
		n = (n - 2) / 2;
		return n <= size && pc_parse_hex(word + 2, buf, n) == 0 ? (int)n : -1;
	}
	if (strncmp(word, "fill:", 5) == 0) {
		n = strtoul(word + 5, NULL, 10);
		if (n > size)
			return -1;
		for (size_t i = 0; i < n; i++)
			buf[i] = (uint8_t)('a' + i % 26);
		return (int)n;
	}
	if (n > size)
		return -1;
	memcpy(buf, word, n);
	return (int)n;
}

static const struct {
	const char *name;
	uint16_t method;
} client_methods[] = {
	{ "binding", PC_STUN_BINDING },	  { "allocate", PC_STUN_ALLOCATE },
	{ "refresh", PC_STUN_REFRESH },	  { "send", PC_STUN_SEND },
	{ "data", PC_STUN_DATA },	  { "permission", PC_STUN_CREATE_PERMISSION },
	{ "bind", PC_STUN_CHANNEL_BIND }, { "connect", 0x00A },
};

static inline int client_method(const char *name)
{
	for (size_t i = 0; i < sizeof(client_methods) / sizeof(client_methods[0]); i++) {
		if (strcmp(client_methods[i].name, name) == 0)
			return client_methods[i].method;
	}
	return -1;
}

static inline bool client_key(const struct client *c, struct pc_auth_key *ret_key)
{
	if (!c->user[0])
		return false;
	pc_auth_derive(c->algorithm ? (enum pc_auth_algorithm)c->algorithm : PC_AUTH_MD5, c->user,
		       strlen(c->user), c->realm, c->password, strlen(c->password), ret_key);
	return true;
}

static inline void client_put_algorithms(struct pc_stun_writer *sw, int algorithm)
{
	static const uint8_t all[8] = { 0, 2, 0, 0, 0, 1, 0, 0 };
	uint8_t one[4] = { 0, (uint8_t)algorithm, 0, 0 };

	pc_stun_put(sw, PC_ATTR_PASSWORD_ALGORITHMS, all, sizeof(all));
	pc_stun_put(sw, PC_ATTR_PASSWORD_ALGORITHM, one, sizeof(one));
}

static inline void client_put_identity(const struct client *c, struct pc_stun_writer *sw)
{
	uint8_t hash[PC_AUTH_USERHASH_LEN];

	if (c->hash) {
		pc_auth_userhash(c->user, strlen(c->user), c->realm, hash);
		pc_stun_put(sw, PC_ATTR_USERHASH, hash, sizeof(hash));
	} else {
		pc_stun_put(sw, PC_ATTR_USERNAME, c->user, strlen(c->user));
	}
	pc_stun_put(sw, PC_ATTR_REALM, c->realm, strlen(c->realm));
	pc_stun_put(sw, PC_ATTR_NONCE, c->nonce, c->nonce_len);
	if (c->algorithm)
		client_put_algorithms(sw, c->algorithm);
}

/* `name=value` with a number: the attribute's type and how it is written. */
static const struct {
	const char *name;
	uint16_t type;
	uint8_t len; /* 4: 32 bits; 1: one byte; 3: one byte and three of zero; 2: 16 bits and 16 of
			0 */
} client_numbers[] = {
	{ "transport", PC_ATTR_REQUESTED_TRANSPORT, 3 },
	{ "family", PC_ATTR_REQUESTED_ADDRESS_FAMILY, 3 },
	{ "additional", PC_ATTR_ADDITIONAL_ADDRESS_FAMILY, 3 },
	{ "even", PC_ATTR_EVEN_PORT, 1 },
	{ "lifetime", PC_ATTR_LIFETIME, 4 },
	{ "channel", PC_ATTR_CHANNEL_NUMBER, 2 },
};

static inline bool client_put_number(struct pc_stun_writer *sw, const char *name, const char *value)
{
	unsigned long v = strtoul(value, NULL, 0);
	uint8_t b = (uint8_t)v;

	for (size_t i = 0; i < sizeof(client_numbers) / sizeof(client_numbers[0]); i++) {
		uint16_t type = client_numbers[i].type;

		if (strcmp(client_numbers[i].name, name) != 0)
			continue;
		switch (client_numbers[i].len) {
		case 1:
			pc_stun_put(sw, type, &b, 1);
			break;
		case 2:
			pc_stun_put_u32(sw, type, (uint32_t)v << 16);
			break;
		case 3:
			pc_stun_put_u32(sw, type, (uint32_t)v << 24);
			break;
		default:
			pc_stun_put_u32(sw, type, (uint32_t)v);
		}
		return true;
	}
	return false;
}

/* One word of a request. False: not understood. */
static inline bool client_put_word(struct client *c, struct pc_stun_writer *sw, char *word)
{
	char *value = strchr(word, '=');
	uint8_t bytes[2048];
	struct pc_addr addr;
	struct pc_auth_key key;
	int n;

	if (strcmp(word, "df") == 0) {
		pc_stun_put(sw, PC_ATTR_DONT_FRAGMENT, NULL, 0);
		return true;
	}
	if (strcmp(word, "identity") == 0) {
		client_put_identity(c, sw);
		return true;
	}
	if (strcmp(word, "mi") == 0 || strcmp(word, "mi256") == 0) {
		if (!client_key(c, &key))
			return false;
		if (word[2])
			pc_stun_put_integrity256(sw, key.b, key.len);
		else
			pc_stun_put_integrity(sw, key.b, key.len);
		c->authenticated = true;
		return true;
	}
	if (strcmp(word, "fingerprint") == 0) {
		pc_stun_put_fingerprint(sw);
		c->fingerprint = true;
		return true;
	}
	if (!value)
		return false;
	*value++ = '\0';
	if (client_put_number(sw, word, value))
		return true;
	if (strcmp(word, "peer") == 0) {
		if (pc_addr_parse(value, &addr) < 0)
			return false;
		pc_stun_put_xor_addr(sw, PC_ATTR_XOR_PEER_ADDRESS, &addr);
		return true;
	}
	n = client_bytes(value, bytes, sizeof(bytes));
	if (n < 0)
		return false;
	if (strcmp(word, "data") == 0)
		pc_stun_put(sw, PC_ATTR_DATA, bytes, (size_t)n);
	else if (strcmp(word, "token") == 0)
		pc_stun_put(sw, PC_ATTR_RESERVATION_TOKEN, bytes, (size_t)n);
	else if (word[0] == '0') /* any attribute: 0xTYPE=value */
		pc_stun_put(sw, (uint16_t)strtoul(word, NULL, 16), bytes, (size_t)n);
	else
		return false;
	return true;
}

/* Hands a datagram over in a buffer of exactly the promised size, so that tools see overruns. */
static inline void client_input(struct fake *f, const struct client *c, const void *data,
				size_t len, struct pc_turn_socket *socket,
				const struct pc_addr *peer)
{
	size_t odd = c->odd ? 1 : 0;
	uint8_t *buf = malloc(odd + PC_TURN_HEADROOM + len + PC_TURN_TAILROOM);
	struct pc_dgram d = {
		.data = buf + odd + PC_TURN_HEADROOM,
		.len = len,
		.ttl = c->ttl,
		.tos = c->tos,
	};

	memset(buf, 0xee, odd + PC_TURN_HEADROOM + len + PC_TURN_TAILROOM);
	memcpy(d.data, data, len);
	if (peer)
		pc_turn_peer_input(f->t, socket, peer, &d, f->now);
	else
		pc_turn_input(f->t, &c->path, &d, f->now, f->realtime_s);
	free(buf);
}

/*
 * words[0] is the method; `indication` makes it one; `auth` at the end adds identity and integrity;
 * `txid=HEX` fixes the transaction, `again` repeats the last one's. Returns NULL or the bad word.
 */
static inline const char *client_send(struct fake *f, struct client *c, char **words, int n)
{
	uint8_t buf[CLIENT_MAX_MESSAGE];
	enum pc_stun_class cls = PC_STUN_REQUEST;
	struct pc_stun_writer sw;
	int method = client_method(words[0]);
	int first = 1;

	if (method < 0)
		return words[0];
	for (size_t i = 0; i < sizeof(c->txid); i++)
		c->txid[i] = i < 8 ? (uint8_t)c->name[0] : (uint8_t)(c->next_txid >> 8 * (11 - i));
	c->next_txid++;
	for (; first < n; first++) {
		if (strcmp(words[first], "indication") == 0)
			cls = PC_STUN_INDICATION;
		else if (strcmp(words[first], "response") == 0)
			cls = PC_STUN_SUCCESS;
		else if (strncmp(words[first], "txid=", 5) == 0)
			pc_parse_hex(words[first] + 5, c->txid, sizeof(c->txid));
		else
			break;
	}
	c->method = (uint16_t)method;
	c->fingerprint = c->authenticated = false;
	pc_stun_begin(&sw, buf, sizeof(buf), c->method, cls, c->txid);
	for (int i = first; i < n; i++) {
		char identity[] = "identity", mi[] = "mi", mi256[] = "mi256";

		if (strcmp(words[i], "auth") != 0) {
			if (!client_put_word(c, &sw, words[i]))
				return words[i];
			continue;
		}
		client_put_word(c, &sw, identity);
		if (!client_put_word(c, &sw, c->integrity256 ? mi256 : mi))
			return "auth without credentials";
	}
	n = (int)pc_stun_end(&sw);
	if (n == 0)
		return "message too long";
	client_input(f, c, buf, (size_t)n, NULL, NULL);
	return NULL;
}

/* --- answers --- */

static inline const char *client_check_padding(const struct pc_stun_msg *msg)
{
	struct pc_reader r;

	pc_reader_init(&r, msg->data, msg->len);
	pc_read_skip(&r, PC_STUN_HEADER_LEN);
	while (pc_reader_left(&r) > 0) {
		uint16_t len;

		pc_read_u16(&r);
		len = pc_read_u16(&r);
		pc_read_skip(&r, len);
		for (int pad = -len & 3; pad > 0; pad--) {
			if (pc_read_u8(&r) != 0)
				return "padding is not zero";
		}
	}
	return r.failed ? "attributes do not fill the message" : NULL;
}

static inline const char *client_check_response(const struct client *c,
						const struct pc_stun_msg *msg, unsigned int code)
{
	bool must = c->authenticated && code != 401 && code != 438 && c->method != PC_STUN_BINDING;
	struct pc_auth_key key;

	if (msg->method != c->method || memcmp(msg->txid, c->txid, sizeof(c->txid)) != 0)
		return "answer to another request";
	if (!!msg->fingerprint_off != c->fingerprint || (c->fingerprint && !msg->fingerprint_ok))
		return "fingerprint missing, bad or not asked for";
	if (!msg->integrity_off && !msg->integrity256_off)
		return must && code != 400 ? "answer without integrity" : NULL;
	if (!client_key(c, &key))
		return "integrity without a key";
	if (msg->integrity256_off && (!c->integrity256 || msg->integrity_off ||
				      pc_stun_check_integrity256(msg, key.b, key.len) != 0))
		return "wrong SHA-256 integrity";
	if (msg->integrity_off &&
	    (c->integrity256 || pc_stun_check_integrity(msg, key.b, key.len) != 0))
		return "wrong integrity";
	return NULL;
}

/* Takes over realm and nonce of a challenge. */
static inline void client_learn(struct client *c, const struct pc_stun_msg *msg)
{
	struct pc_stun_attr attr;

	if (pc_stun_find(msg, PC_ATTR_REALM, &attr) && attr.len < sizeof(c->realm)) {
		memcpy(c->realm, attr.value, attr.len);
		c->realm[attr.len] = '\0';
	}
	if (pc_stun_find(msg, PC_ATTR_NONCE, &attr) && attr.len <= sizeof(c->nonce)) {
		memcpy(c->nonce, attr.value, attr.len);
		c->nonce_len = attr.len;
	}
}

static inline unsigned int client_error_code(const struct pc_stun_msg *msg)
{
	struct pc_stun_attr attr;

	if (msg->cls != PC_STUN_ERROR || !pc_stun_find(msg, PC_ATTR_ERROR_CODE, &attr) ||
	    attr.len < 4)
		return 0;
	return (attr.value[2] & 7) * 100u + attr.value[3];
}

#endif
