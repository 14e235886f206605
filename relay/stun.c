/* SPDX-License-Identifier: MIT */
#include "relay/stun.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "relay/digest.h"

#define ATTR_HEADER_LEN 4
#define SHA1_ATTR_LEN	20
#define SHA256_MIN_LEN	16
#define SHA256_ATTR_LEN 32
#define FINGERPRINT_LEN 4
/* "STUN" in ASCII, so that a CRC-32 of another protocol in the same packet differs. */
#define FINGERPRINT_XOR 0x5354554eu
#define MAX_BODY	0xfffcu

/* Comprehension-required attributes (below 0x8000) that this server understands. */
static const uint16_t known_required[] = {
	PC_ATTR_MAPPED_ADDRESS,
	PC_ATTR_USERNAME,
	PC_ATTR_MESSAGE_INTEGRITY,
	PC_ATTR_ERROR_CODE,
	PC_ATTR_UNKNOWN_ATTRIBUTES,
	PC_ATTR_CHANNEL_NUMBER,
	PC_ATTR_LIFETIME,
	PC_ATTR_XOR_PEER_ADDRESS,
	PC_ATTR_DATA,
	PC_ATTR_REALM,
	PC_ATTR_NONCE,
	PC_ATTR_XOR_RELAYED_ADDRESS,
	PC_ATTR_REQUESTED_ADDRESS_FAMILY,
	PC_ATTR_EVEN_PORT,
	PC_ATTR_REQUESTED_TRANSPORT,
	PC_ATTR_DONT_FRAGMENT,
	PC_ATTR_MESSAGE_INTEGRITY_SHA256,
	PC_ATTR_PASSWORD_ALGORITHM,
	PC_ATTR_USERHASH,
	PC_ATTR_XOR_MAPPED_ADDRESS,
	PC_ATTR_RESERVATION_TOKEN,
};

static bool is_known(uint16_t type)
{
	if (type >= 0x8000)
		return true; /* comprehension-optional: skipping it is knowing enough */
	for (size_t i = 0; i < PC_ARRAY_SIZE(known_required); i++) {
		if (known_required[i] == type)
			return true;
	}
	return false;
}

static size_t padded(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

/* The header with its length as if the message ended at @end: what integrity and CRC cover. */
static void adjusted_header(const uint8_t *data, size_t end, uint8_t ret[static PC_STUN_HEADER_LEN])
{
	struct pc_writer w;

	pc_writer_init(&w, ret, PC_STUN_HEADER_LEN);
	pc_write_bytes(&w, data, PC_STUN_HEADER_LEN);
	pc_write_patch_u16(&w, 2, (uint16_t)(end - PC_STUN_HEADER_LEN));
	assert(!w.failed);
}

/* Reads one attribute; its padding may be anything (RFC 8489 section 14). */
static bool read_attr(struct pc_reader *r, struct pc_stun_attr *ret_attr)
{
	struct pc_stun_attr a;

	a.type = pc_read_u16(r);
	a.len = pc_read_u16(r);
	a.value = pc_read_bytes(r, a.len);
	pc_read_skip(r, padded(a.len) - a.len);
	if (r->failed)
		return false;
	*ret_attr = a;
	return true;
}

/* Takes note of an attribute at @off in message order; those to be ignored change nothing. */
static void note_attr(struct pc_stun_msg *m, const struct pc_stun_attr *a, uint16_t off)
{
	if (m->fingerprint_off)
		return;
	if (a->type == PC_ATTR_FINGERPRINT) {
		m->fingerprint_off = off;
	} else if (m->integrity256_off) {
		return;
	} else if (a->type == PC_ATTR_MESSAGE_INTEGRITY_SHA256) {
		m->integrity256_off = off;
	} else if (m->integrity_off) {
		return;
	} else if (a->type == PC_ATTR_MESSAGE_INTEGRITY) {
		m->integrity_off = off;
	} else if (!is_known(a->type) && m->n_unknown < PC_STUN_MAX_UNKNOWN) {
		m->unknown[m->n_unknown++] = a->type;
	}
}

static bool check_fingerprint(const struct pc_stun_msg *m)
{
	struct pc_reader r;
	struct pc_stun_attr a;

	pc_reader_init(&r, m->data, m->len);
	pc_read_skip(&r, m->fingerprint_off);
	if (!read_attr(&r, &a) || a.len != FINGERPRINT_LEN || pc_reader_left(&r))
		return false; /* it has to be the last attribute */
	pc_reader_init(&r, a.value, a.len);
	return pc_read_u32(&r) == (pc_stun_crc32(m->data, m->fingerprint_off) ^ FINGERPRINT_XOR);
}

int pc_stun_parse(const void *data, size_t len, struct pc_stun_msg *ret_msg)
{
	struct pc_stun_msg m = { .data = data, .len = len };
	struct pc_reader r;
	uint16_t type, body;

	pc_reader_init(&r, data, len);
	type = pc_read_u16(&r);
	body = pc_read_u16(&r);
	if (pc_read_u32(&r) != PC_STUN_COOKIE && !r.failed)
		return PC_ERR_MALFORMED;
	m.txid = pc_read_bytes(&r, PC_STUN_TXID_LEN);
	if (r.failed)
		return PC_ERR_SHORT;
	if (type & 0xc000 || body & 3 || len > UINT16_MAX)
		return PC_ERR_MALFORMED;
	if (pc_reader_left(&r) != body)
		return pc_reader_left(&r) < body ? PC_ERR_SHORT : PC_ERR_MALFORMED;

	/* Class bits lie at 4 and 8, the method around them (RFC 8489 figure 3). */
	m.cls = (enum pc_stun_class)((type >> 4 & 1) | (type >> 7 & 2));
	m.method = (type & 0x000f) | (type >> 1 & 0x0070) | (type >> 2 & 0x0f80);

	while (pc_reader_left(&r)) {
		struct pc_stun_attr a;
		uint16_t off = (uint16_t)r.pos;

		if (!read_attr(&r, &a))
			return PC_ERR_MALFORMED;
		note_attr(&m, &a, off);
	}
	if (m.fingerprint_off)
		m.fingerprint_ok = check_fingerprint(&m);
	*ret_msg = m;
	return 0;
}

static bool is_ignored(const struct pc_stun_msg *m, size_t off)
{
	size_t last = m->integrity_off ? m->integrity_off : m->integrity256_off;

	if (off == m->integrity256_off || off == m->fingerprint_off)
		return false;
	return (last && off > last) || (m->fingerprint_off && off > m->fingerprint_off);
}

bool pc_stun_next(const struct pc_stun_msg *msg, size_t *pos, struct pc_stun_attr *ret_attr)
{
	struct pc_reader r;

	pc_reader_init(&r, msg->data, msg->len);
	pc_read_skip(&r, *pos ? *pos : PC_STUN_HEADER_LEN);
	while (pc_reader_left(&r)) {
		struct pc_stun_attr a;
		size_t off = r.pos;

		if (!read_attr(&r, &a))
			break;
		if (is_ignored(msg, off))
			continue;
		*pos = r.pos;
		*ret_attr = a;
		return true;
	}
	*pos = msg->len;
	return false;
}

bool pc_stun_find(const struct pc_stun_msg *msg, uint16_t type, struct pc_stun_attr *ret_attr)
{
	struct pc_stun_attr a;
	size_t pos = 0;

	pc_stun_for_each (msg, pos, a) {
		if (a.type == type) {
			*ret_attr = a;
			return true;
		}
	}
	return false;
}

/* XORs an address with the cookie and, beyond four bytes, the transaction id. */
static void xor_ip(struct pc_ip *ip, const uint8_t *txid)
{
	uint8_t mask[4 + PC_STUN_TXID_LEN];
	struct pc_writer w;

	pc_writer_init(&w, mask, sizeof(mask));
	pc_write_u32(&w, PC_STUN_COOKIE);
	pc_write_bytes(&w, txid, PC_STUN_TXID_LEN);
	for (size_t i = 0; i < pc_ip_len(ip); i++)
		ip->b[i] ^= mask[i];
}

int pc_stun_attr_xor_addr(const struct pc_stun_msg *msg, const struct pc_stun_attr *attr,
			  struct pc_addr *ret_addr)
{
	struct pc_addr a = { 0 };
	struct pc_reader r;
	uint8_t family;

	pc_reader_init(&r, attr->value, attr->len);
	pc_read_skip(&r, 1); /* reserved, to be ignored */
	family = pc_read_u8(&r);
	a.port = pc_read_u16(&r) ^ (uint16_t)(PC_STUN_COOKIE >> 16);
	a.ip.family = family == 1 ? 4 : family == 2 ? 6 : 0;
	pc_read_copy(&r, a.ip.b, pc_ip_len(&a.ip));
	if (r.failed || !a.ip.family || pc_reader_left(&r))
		return PC_ERR_MALFORMED;
	xor_ip(&a.ip, msg->txid);
	*ret_addr = a;
	return 0;
}

/* Finds the attribute at @off, and the parts that its HMAC covers. */
static bool covered(const struct pc_stun_msg *m, uint16_t off, struct pc_stun_attr *ret_attr,
		    uint8_t header[static PC_STUN_HEADER_LEN], struct pc_digest_part ret_parts[2])
{
	struct pc_reader r;

	pc_reader_init(&r, m->data, m->len);
	pc_read_skip(&r, PC_STUN_HEADER_LEN);
	ret_parts[1].data = pc_read_bytes(&r, off - PC_STUN_HEADER_LEN);
	ret_parts[1].len = off - PC_STUN_HEADER_LEN;
	if (!read_attr(&r, ret_attr))
		return false;
	adjusted_header(m->data, r.pos, header);
	ret_parts[0].data = header;
	ret_parts[0].len = PC_STUN_HEADER_LEN;
	return true;
}

int pc_stun_check_integrity(const struct pc_stun_msg *msg, const void *key, size_t key_len)
{
	uint8_t header[PC_STUN_HEADER_LEN], mac[PC_DIGEST_SHA1_LEN];
	struct pc_digest_part parts[2];
	struct pc_stun_attr a;

	if (!msg->integrity_off)
		return PC_ERR_NOT_FOUND;
	if (!covered(msg, msg->integrity_off, &a, header, parts) || a.len != SHA1_ATTR_LEN)
		return PC_ERR_MALFORMED;
	if (!pc_digest_hmac_sha1(key, key_len, parts, 2, mac))
		return PC_ERR_AUTH;
	return sodium_memcmp(mac, a.value, sizeof(mac)) ? PC_ERR_AUTH : 0;
}

int pc_stun_check_integrity256(const struct pc_stun_msg *msg, const void *key, size_t key_len)
{
	uint8_t header[PC_STUN_HEADER_LEN], mac[PC_DIGEST_SHA256_LEN];
	struct pc_digest_part parts[2];
	struct pc_stun_attr a;

	if (!msg->integrity256_off)
		return PC_ERR_NOT_FOUND;
	if (!covered(msg, msg->integrity256_off, &a, header, parts) || a.len < SHA256_MIN_LEN ||
	    a.len > SHA256_ATTR_LEN || a.len & 3)
		return PC_ERR_MALFORMED;
	if (!pc_digest_hmac_sha256(key, key_len, parts, 2, mac))
		return PC_ERR_AUTH;
	return sodium_memcmp(mac, a.value, a.len) ? PC_ERR_AUTH : 0;
}

/* Writes the length of all that follows the header, and @more bytes to come. */
static void patch_length(struct pc_stun_writer *sw, size_t more)
{
	size_t body = sw->w.len + more - PC_STUN_HEADER_LEN;

	if (sw->w.failed)
		return;
	if (body > MAX_BODY)
		sw->w.failed = true;
	else
		pc_write_patch_u16(&sw->w, 2, (uint16_t)body);
}

void pc_stun_begin(struct pc_stun_writer *sw, void *buf, size_t size, uint16_t method,
		   enum pc_stun_class cls, const uint8_t txid[static PC_STUN_TXID_LEN])
{
	uint16_t type = (uint16_t)((method & 0x000f) | (method & 0x0070) << 1 |
				   (method & 0x0f80) << 2 | (cls & 1) << 4 | (cls & 2) << 7);

	pc_writer_init(&sw->w, buf, size);
	pc_write_u16(&sw->w, type);
	pc_write_u16(&sw->w, 0);
	pc_write_u32(&sw->w, PC_STUN_COOKIE);
	pc_write_bytes(&sw->w, txid, PC_STUN_TXID_LEN);
}

void pc_stun_put(struct pc_stun_writer *sw, uint16_t type, const void *value, size_t len)
{
	if (len > UINT16_MAX) {
		sw->w.failed = true;
		return;
	}
	pc_write_u16(&sw->w, type);
	pc_write_u16(&sw->w, (uint16_t)len);
	if (len)
		pc_write_bytes(&sw->w, value, len);
	pc_write_zero(&sw->w, padded(len) - len);
	patch_length(sw, 0);
}

void pc_stun_put_u32(struct pc_stun_writer *sw, uint16_t type, uint32_t value)
{
	uint8_t b[4];
	struct pc_writer w;

	pc_writer_init(&w, b, sizeof(b));
	pc_write_u32(&w, value);
	pc_stun_put(sw, type, b, sizeof(b));
}

void pc_stun_put_addr(struct pc_stun_writer *sw, uint16_t type, const struct pc_addr *addr)
{
	uint8_t b[4 + 16];
	struct pc_writer w;

	if (!pc_ip_len(&addr->ip)) {
		sw->w.failed = true;
		return;
	}
	pc_writer_init(&w, b, sizeof(b));
	pc_write_u8(&w, 0);
	pc_write_u8(&w, addr->ip.family == 4 ? 1 : 2);
	pc_write_u16(&w, addr->port);
	pc_write_bytes(&w, addr->ip.b, pc_ip_len(&addr->ip));
	pc_stun_put(sw, type, b, w.len);
}

void pc_stun_put_xor_addr(struct pc_stun_writer *sw, uint16_t type, const struct pc_addr *addr)
{
	struct pc_addr masked = *addr;
	struct pc_reader r;
	const uint8_t *txid;

	pc_reader_init(&r, sw->w.data, sw->w.len);
	pc_read_skip(&r, PC_STUN_HEADER_LEN - PC_STUN_TXID_LEN);
	txid = pc_read_bytes(&r, PC_STUN_TXID_LEN);
	if (!txid) {
		sw->w.failed = true; /* not even the header fitted */
		return;
	}
	masked.port ^= (uint16_t)(PC_STUN_COOKIE >> 16);
	xor_ip(&masked.ip, txid);
	pc_stun_put_addr(sw, type, &masked);
}

void pc_stun_put_error(struct pc_stun_writer *sw, unsigned int code, const char *reason)
{
	size_t len = reason ? strlen(reason) : 0;
	uint8_t b[4 + 128];
	struct pc_writer w;

	pc_writer_init(&w, b, sizeof(b));
	pc_write_u16(&w, 0);
	pc_write_u8(&w, (uint8_t)(code / 100 & 7));
	pc_write_u8(&w, (uint8_t)(code % 100));
	if (len)
		pc_write_bytes(&w, reason, len);
	if (w.failed)
		sw->w.failed = true; /* RFC 8489 section 14.8: fewer than 128 characters */
	else
		pc_stun_put(sw, PC_ATTR_ERROR_CODE, b, w.len);
}

/* Sets the length as it will be with the attribute, and names what its HMAC covers. */
static bool begin_integrity(struct pc_stun_writer *sw, size_t attr_len,
			    struct pc_digest_part *ret_part)
{
	patch_length(sw, ATTR_HEADER_LEN + attr_len);
	if (sw->w.failed)
		return false;
	ret_part->data = sw->w.data;
	ret_part->len = sw->w.len;
	return true;
}

void pc_stun_put_integrity(struct pc_stun_writer *sw, const void *key, size_t key_len)
{
	uint8_t mac[PC_DIGEST_SHA1_LEN];
	struct pc_digest_part part;

	if (!begin_integrity(sw, sizeof(mac), &part))
		return;
	if (!pc_digest_hmac_sha1(key, key_len, &part, 1, mac))
		sw->w.failed = true;
	else
		pc_stun_put(sw, PC_ATTR_MESSAGE_INTEGRITY, mac, sizeof(mac));
}

void pc_stun_put_integrity256(struct pc_stun_writer *sw, const void *key, size_t key_len)
{
	uint8_t mac[PC_DIGEST_SHA256_LEN];
	struct pc_digest_part part;

	if (!begin_integrity(sw, sizeof(mac), &part))
		return;
	if (!pc_digest_hmac_sha256(key, key_len, &part, 1, mac))
		sw->w.failed = true;
	else
		pc_stun_put(sw, PC_ATTR_MESSAGE_INTEGRITY_SHA256, mac, sizeof(mac));
}

void pc_stun_put_fingerprint(struct pc_stun_writer *sw)
{
	struct pc_digest_part part;

	if (begin_integrity(sw, FINGERPRINT_LEN, &part))
		pc_stun_put_u32(sw, PC_ATTR_FINGERPRINT,
				pc_stun_crc32(part.data, part.len) ^ FINGERPRINT_XOR);
}

size_t pc_stun_end(struct pc_stun_writer *sw)
{
	return sw->w.failed ? 0 : sw->w.len;
}
