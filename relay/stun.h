/* SPDX-License-Identifier: MIT */
/*
 * STUN message codec (RFC 8489 sections 5, 14, 15; TURN attributes of RFC 8656 section 18).
 * Pure: parses in place, writes into the caller's buffer, knows nothing of transactions or users.
 */
#ifndef PC_RELAY_STUN_H
#define PC_RELAY_STUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/wire.h"

#define PC_STUN_COOKIE	    0x2112A442u
#define PC_STUN_HEADER_LEN  20
#define PC_STUN_TXID_LEN    12
#define PC_STUN_MAX_UNKNOWN 16

enum pc_stun_class {
	PC_STUN_REQUEST = 0,
	PC_STUN_INDICATION = 1,
	PC_STUN_SUCCESS = 2,
	PC_STUN_ERROR = 3,
};

enum pc_stun_method {
	PC_STUN_BINDING = 0x001,
	PC_STUN_ALLOCATE = 0x003,
	PC_STUN_REFRESH = 0x004,
	PC_STUN_SEND = 0x006,
	PC_STUN_DATA = 0x007,
	PC_STUN_CREATE_PERMISSION = 0x008,
	PC_STUN_CHANNEL_BIND = 0x009,
};

enum pc_stun_attr_type {
	PC_ATTR_MAPPED_ADDRESS = 0x0001,
	PC_ATTR_USERNAME = 0x0006,
	PC_ATTR_MESSAGE_INTEGRITY = 0x0008,
	PC_ATTR_ERROR_CODE = 0x0009,
	PC_ATTR_UNKNOWN_ATTRIBUTES = 0x000A,
	PC_ATTR_CHANNEL_NUMBER = 0x000C,
	PC_ATTR_LIFETIME = 0x000D,
	PC_ATTR_XOR_PEER_ADDRESS = 0x0012,
	PC_ATTR_DATA = 0x0013,
	PC_ATTR_REALM = 0x0014,
	PC_ATTR_NONCE = 0x0015,
	PC_ATTR_XOR_RELAYED_ADDRESS = 0x0016,
	PC_ATTR_REQUESTED_ADDRESS_FAMILY = 0x0017,
	PC_ATTR_EVEN_PORT = 0x0018,
	PC_ATTR_REQUESTED_TRANSPORT = 0x0019,
	PC_ATTR_DONT_FRAGMENT = 0x001A,
	PC_ATTR_MESSAGE_INTEGRITY_SHA256 = 0x001C,
	PC_ATTR_PASSWORD_ALGORITHM = 0x001D,
	PC_ATTR_USERHASH = 0x001E,
	PC_ATTR_XOR_MAPPED_ADDRESS = 0x0020,
	PC_ATTR_RESERVATION_TOKEN = 0x0022,
	PC_ATTR_ADDITIONAL_ADDRESS_FAMILY = 0x8000,
	PC_ATTR_ADDRESS_ERROR_CODE = 0x8001,
	PC_ATTR_PASSWORD_ALGORITHMS = 0x8002,
	PC_ATTR_ICMP = 0x8004,
	PC_ATTR_SOFTWARE = 0x8022,
	PC_ATTR_ALTERNATE_SERVER = 0x8023,
	PC_ATTR_FINGERPRINT = 0x8028,
};

struct pc_stun_attr {
	uint16_t type;
	uint16_t len;
	const uint8_t *value;
};

/* A parsed message. Points into the datagram, which must outlive it. */
struct pc_stun_msg {
	const uint8_t *data;
	size_t len; /* whole message, header included */
	uint16_t method;
	enum pc_stun_class cls;
	const uint8_t *txid;
	/* Offsets of these attributes' headers from the start of the message; 0: absent. */
	uint16_t integrity_off;
	uint16_t integrity256_off;
	uint16_t fingerprint_off;
	bool fingerprint_ok; /* meaningful when fingerprint_off != 0 */
	/* Comprehension-required types that this code does not know, in order of appearance. */
	uint16_t unknown[PC_STUN_MAX_UNKNOWN];
	unsigned int n_unknown;
};

/*
 * Checks the header, the cookie, the length and every attribute's bounds; ignores all attributes
 * after MESSAGE-INTEGRITY except MESSAGE-INTEGRITY-SHA256 and FINGERPRINT, all after
 * MESSAGE-INTEGRITY-SHA256 except FINGERPRINT, and everything after FINGERPRINT.
 * Returns 0, PC_ERR_SHORT or PC_ERR_MALFORMED. @data may be unaligned.
 */
int pc_stun_parse(const void *data, size_t len, struct pc_stun_msg *ret_msg);

/* First attribute of @type among those not ignored. Returns false when there is none. */
bool pc_stun_find(const struct pc_stun_msg *msg, uint16_t type, struct pc_stun_attr *ret_attr);

/* Iterates over the attributes not ignored; *pos starts at 0. Returns false at the end. */
bool pc_stun_next(const struct pc_stun_msg *msg, size_t *pos, struct pc_stun_attr *ret_attr);
#define pc_stun_for_each(msg, pos, attr) for ((pos) = 0; pc_stun_next(msg, &(pos), &(attr));)

/* Decodes an XOR-*-ADDRESS. Returns 0 or PC_ERR_MALFORMED (length or family wrong). */
int pc_stun_attr_xor_addr(const struct pc_stun_msg *msg, const struct pc_stun_attr *attr,
			  struct pc_addr *ret_addr);

/*
 * MESSAGE-INTEGRITY (HMAC-SHA1, 20 bytes) or MESSAGE-INTEGRITY-SHA256 (16 to 32 bytes, multiple
 * of 4) against @key, in constant time. Returns 0, PC_ERR_NOT_FOUND (attribute absent),
 * PC_ERR_MALFORMED (its length) or PC_ERR_AUTH.
 */
int pc_stun_check_integrity(const struct pc_stun_msg *msg, const void *key, size_t key_len);
int pc_stun_check_integrity256(const struct pc_stun_msg *msg, const void *key, size_t key_len);

/* Writer. Errors are sticky in w.failed; the length field follows every attribute. */
struct pc_stun_writer {
	struct pc_writer w;
};
void pc_stun_begin(struct pc_stun_writer *sw, void *buf, size_t size, uint16_t method,
		   enum pc_stun_class cls, const uint8_t txid[static PC_STUN_TXID_LEN]);
void pc_stun_put(struct pc_stun_writer *sw, uint16_t type, const void *value, size_t len);
void pc_stun_put_u32(struct pc_stun_writer *sw, uint16_t type, uint32_t value);
void pc_stun_put_xor_addr(struct pc_stun_writer *sw, uint16_t type, const struct pc_addr *addr);
void pc_stun_put_addr(struct pc_stun_writer *sw, uint16_t type, const struct pc_addr *addr);
/* ERROR-CODE with @reason, or none when NULL. */
void pc_stun_put_error(struct pc_stun_writer *sw, unsigned int code, const char *reason);
void pc_stun_put_integrity(struct pc_stun_writer *sw, const void *key, size_t key_len);
void pc_stun_put_integrity256(struct pc_stun_writer *sw, const void *key, size_t key_len);
void pc_stun_put_fingerprint(struct pc_stun_writer *sw);
/* Length of the message, or 0 when it did not fit. */
size_t pc_stun_end(struct pc_stun_writer *sw);

/* CRC-32 of ISO 3309 over @data, as FINGERPRINT uses it (before its XOR). */
uint32_t pc_stun_crc32(const void *data, size_t len);

#endif
