/* SPDX-License-Identifier: MIT */
#include "relay/native_msg.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "relay/native_statement.h"

#define BIT(f) (1u << PC_NATIVE_F_##f)

/* What a message must have; everything else that is known may be there. */
static const uint32_t required[PC_NATIVE_TYPE_COUNT] = {
	[PC_NATIVE_HELLO] = BIT(VERSION),
	[PC_NATIVE_REGISTERED] = BIT(LIFETIME) | BIT(OBSERVED),
	[PC_NATIVE_ALLOCATE] = BIT(CALL) | BIT(REMOTE) | BIT(PIPE),
	[PC_NATIVE_ALLOCATED] = BIT(CALL) | BIT(PIPE_TO) | BIT(PIPE) | BIT(RELAYED) | BIT(LIFETIME),
	[PC_NATIVE_CONNECT] = BIT(CALL) | BIT(PEER) | BIT(PIPE),
	[PC_NATIVE_INCOMING] = BIT(CALL) | BIT(PEER),
	[PC_NATIVE_ACCEPT] = BIT(CALL) | BIT(PIPE),
	[PC_NATIVE_REFUSE] = BIT(CALL) | BIT(REASON),
	[PC_NATIVE_OPENED] = BIT(CALL) | BIT(PIPE) | BIT(PIPE_TO) | BIT(PEER) | BIT(MTU),
	[PC_NATIVE_CLOSE] = BIT(REASON),
	[PC_NATIVE_HEARTBEAT] = BIT(TOKEN),
	[PC_NATIVE_ALIVE] = BIT(TOKEN) | BIT(OBSERVED),
	[PC_NATIVE_RECEIPT] = BIT(RECEIPT),
	[PC_NATIVE_METER] = BIT(UP) | BIT(DOWN),
	[PC_NATIVE_CANDIDATES] = BIT(PIPE_TO),
	[PC_NATIVE_OBSERVED] = BIT(OBSERVED),
	[PC_NATIVE_ERROR] = BIT(TYPE) | BIT(REASON),
	[PC_NATIVE_KEEP] = BIT(PIPE) | BIT(PIPE_TO),
};

enum shape { BYTES, U16, U32, U64, ADDRESS };

/* Where each field goes. */
static const struct {
	uint8_t shape;
	uint16_t min, max; /* of BYTES */
	size_t offset;
} fields[PC_NATIVE_F_COUNT] = {
#define FIELD(f, s, m) [PC_NATIVE_F_##f] = { s, 0, 0, offsetof(struct pc_native_msg, m) }
#define BLOB(f, n, m)  [PC_NATIVE_F_##f] = { BYTES, n, n, offsetof(struct pc_native_msg, m) }
	BLOB(STATEMENT, PC_STATEMENT_LEN, statement),
	FIELD(OBSERVED, ADDRESS, observed),
	FIELD(VERSION, U16, version),
	FIELD(CAPABILITIES, U64, capabilities),
	FIELD(TOKEN, U64, token),
	FIELD(REASON, U16, reason),
	BLOB(PEER, 32, peer),
	FIELD(CALL, U32, call),
	FIELD(PIPE, U32, pipe),
	FIELD(PIPE_TO, U32, pipe_to),
	FIELD(RELAYED, ADDRESS, relayed),
	FIELD(REMOTE, ADDRESS, remote),
	FIELD(LIFETIME, U32, lifetime_s),
	[PC_NATIVE_F_SERVICE] = { BYTES, 1, PC_NATIVE_MAX_SERVICE,
				  offsetof(struct pc_native_msg, service) },
	BLOB(GRANT, PC_NATIVE_GRANT_LEN, grant),
	BLOB(RECEIPT, PC_NATIVE_RECEIPT_LEN, receipt),
	FIELD(UP, U64, up),
	FIELD(DOWN, U64, down),
	FIELD(CANDIDATE, ADDRESS, candidates),
	FIELD(TYPE, U16, about),
	FIELD(MTU, U16, mtu),
#undef FIELD
#undef BLOB
};

/* --- reading --- */

/* family 1 (4 or 6) | 0 1 | port 2 | address */
static void read_address(struct pc_reader *r, struct pc_addr *ret)
{
	struct pc_addr a = { .ip.family = pc_read_u8(r) };
	size_t len = pc_ip_len(&a.ip);

	if (len == 0 || pc_read_u8(r) != 0)
		r->failed = true;
	a.port = pc_read_u16(r);
	pc_read_copy(r, a.ip.b, len);
	if (!r->failed)
		*ret = a;
}

static void read_bytes(struct pc_reader *r, uint16_t type, struct pc_native_msg *m)
{
	size_t len = pc_reader_left(r);
	const uint8_t *value = pc_read_bytes(r, len);

	if (len < fields[type].min || len > fields[type].max) {
		r->failed = true;
		return;
	}
	memcpy((char *)m + fields[type].offset, &value, sizeof(value));
	if (type == PC_NATIVE_F_SERVICE)
		m->service_len = len;
}

static void read_value(struct pc_reader *r, uint16_t type, struct pc_native_msg *m)
{
	char *at = (char *)m + fields[type].offset;
	struct pc_addr *addr = (struct pc_addr *)(void *)at;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (fields[type].shape) {
	case BYTES:
		read_bytes(r, type, m);
		break;
	case U16:
		v16 = pc_read_u16(r);
		memcpy(at, &v16, sizeof(v16));
		break;
	case U32:
		v32 = pc_read_u32(r);
		memcpy(at, &v32, sizeof(v32));
		break;
	case U64:
		v64 = pc_read_u64(r);
		memcpy(at, &v64, sizeof(v64));
		break;
	case ADDRESS:
		read_address(r, type == PC_NATIVE_F_CANDIDATE ? addr + m->n_candidates : addr);
		m->n_candidates += type == PC_NATIVE_F_CANDIDATE;
		break;
	}
}

static void read_field(struct pc_reader *r, struct pc_native_msg *m)
{
	uint16_t type = pc_read_u16(r), len = pc_read_u16(r);
	const uint8_t *value = pc_read_bytes(r, len);
	struct pc_reader inner;

	if (!value || type == PC_NATIVE_F_PADDING)
		return;
	if (type >= PC_NATIVE_F_COUNT) {
		/* Unknown. The rest of the message would not mean what its sender thinks. */
		if (!(type & PC_NATIVE_OPTIONAL))
			r->failed = true;
		return;
	}
	if (type == PC_NATIVE_F_CANDIDATE ? m->n_candidates == PC_NATIVE_MAX_CANDIDATES
					  : m->has & 1u << type)
		return;
	pc_reader_init(&inner, value, len);
	read_value(&inner, type, m);
	if (inner.failed || pc_reader_left(&inner))
		r->failed = true;
	m->has |= 1u << type;
}

int pc_native_fields_read(struct pc_reader *r, struct pc_native_msg *ret_msg)
{
	struct pc_native_msg m = { .type = ret_msg->type };

	while (pc_reader_left(r))
		read_field(r, &m);
	if (r->failed)
		return PC_ERR_MALFORMED;
	*ret_msg = m;
	return 0;
}

int pc_native_msg_read(struct pc_reader *r, struct pc_native_msg *ret_msg)
{
	struct pc_native_msg m = { 0 };
	struct pc_reader inner;
	const uint8_t *body;
	uint16_t len;

	if (!r->failed && pc_reader_left(r) == 0)
		return PC_ERR_NOT_FOUND;
	m.type = pc_read_u16(r);
	len = pc_read_u16(r);
	body = pc_read_bytes(r, len);
	if (!body)
		return PC_ERR_MALFORMED;
	if (m.type == 0 || m.type >= PC_NATIVE_TYPE_COUNT) {
		*ret_msg = m;
		return PC_ERR_UNKNOWN;
	}
	pc_reader_init(&inner, body, len);
	ret_msg->type = m.type;
	if (pc_native_fields_read(&inner, &m) < 0 || required[m.type] & ~m.has)
		return PC_ERR_MALFORMED;
	/* 0 is no pipe. */
	if ((PC_NATIVE_HAS(&m, PC_NATIVE_F_PIPE) && m.pipe == 0) ||
	    (PC_NATIVE_HAS(&m, PC_NATIVE_F_PIPE_TO) && m.pipe_to == 0))
		return PC_ERR_MALFORMED;
	*ret_msg = m;
	return 0;
}

/* --- writing --- */

static void write_address(struct pc_writer *w, const struct pc_addr *a)
{
	pc_write_u8(w, a->ip.family);
	pc_write_u8(w, 0);
	pc_write_u16(w, a->port);
	pc_write_bytes(w, a->ip.b, pc_ip_len(&a->ip));
}

static void write_value(struct pc_writer *w, unsigned int type, const struct pc_native_msg *m,
			unsigned int index)
{
	const char *at = (const char *)m + fields[type].offset;
	const uint8_t *bytes;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (fields[type].shape) {
	case BYTES:
		memcpy(&bytes, at, sizeof(bytes));
		pc_write_bytes(w, bytes,
			       type == PC_NATIVE_F_SERVICE ? m->service_len : fields[type].max);
		break;
	case U16:
		memcpy(&v16, at, sizeof(v16));
		pc_write_u16(w, v16);
		break;
	case U32:
		memcpy(&v32, at, sizeof(v32));
		pc_write_u32(w, v32);
		break;
	case U64:
		memcpy(&v64, at, sizeof(v64));
		pc_write_u64(w, v64);
		break;
	case ADDRESS:
		write_address(w, (const struct pc_addr *)(const void *)at + index);
		break;
	}
}

static void write_field(struct pc_writer *w, unsigned int type, const struct pc_native_msg *m,
			unsigned int index)
{
	size_t start;

	pc_write_u16(w, (uint16_t)type);
	start = w->len;
	pc_write_u16(w, 0);
	write_value(w, type, m, index);
	pc_write_patch_u16(w, start, (uint16_t)(w->len - start - 2));
}

void pc_native_fields_write(struct pc_writer *w, const struct pc_native_msg *m)
{
	for (unsigned int type = 1; type < PC_NATIVE_F_COUNT; type++) {
		unsigned int n = m->has & 1u << type ? 1 : 0;

		if (type == PC_NATIVE_F_CANDIDATE)
			n = m->n_candidates;
		for (unsigned int i = 0; i < n; i++)
			write_field(w, type, m, i);
	}
}

void pc_native_msg_write(struct pc_writer *w, const struct pc_native_msg *m)
{
	size_t start;

	pc_write_u16(w, m->type);
	start = w->len;
	pc_write_u16(w, 0);
	pc_native_fields_write(w, m);
	pc_write_patch_u16(w, start, (uint16_t)(w->len - start - 2));
}

const char *pc_native_reason_text(uint16_t reason)
{
	static const char *const texts[] = {
		[PC_NATIVE_R_DONE] = "no longer needed",
		[PC_NATIVE_R_REFUSED] = "not trusted by the other side",
		[PC_NATIVE_R_UNKNOWN_PEER] = "the peer is not registered",
		[PC_NATIVE_R_UNKNOWN_TYPE] = "the other side does not know this message",
		[PC_NATIVE_R_MALFORMED] = "malformed message",
		[PC_NATIVE_R_FULL] = "no room left",
		[PC_NATIVE_R_EXPIRED] = "the grant has run out",
		[PC_NATIVE_R_CREDIT] = "no credit left",
		[PC_NATIVE_R_GONE] = "the other end is gone",
		[PC_NATIVE_R_SHUTDOWN] = "the other side is shutting down",
		[PC_NATIVE_R_TIMEOUT] = "no answer",
		[PC_NATIVE_R_WRONG_KEY] = "who answers is not who was asked for",
		[PC_NATIVE_R_BUSY] = "the name or port is taken",
		[PC_NATIVE_R_GRANT] = "the grant is not for this relay and this peer, or forged",
		[PC_NATIVE_R_EARLY] = "the grant is not valid yet",
		[PC_NATIVE_R_NO_CLOCK] = "the relay does not know the time and takes no grants",
	};

	return reason < PC_ARRAY_SIZE(texts) ? texts[reason] : "unknown reason";
}
