/* SPDX-License-Identifier: MIT */
/*
 * Control messages of native peers: type 2 | length 2 | fields, and a field is type 2 | length 2 |
 * value, big-endian. Types with the highest bit set are optional: who does not know one skips it.
 * An unknown field without that bit makes its message malformed; an unknown message without it is
 * answered with an error by whoever receives it. Of a field that may occur once the first counts.
 */
#ifndef PC_RELAY_NATIVE_MSG_H
#define PC_RELAY_NATIVE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/wire.h"

#define PC_NATIVE_OPTIONAL 0x8000

enum pc_native_type {
	PC_NATIVE_HELLO = 1,	   /* both: version, capabilities */
	PC_NATIVE_REGISTER = 2,	   /* peer: I can be reached here */
	PC_NATIVE_REGISTERED = 3,  /* relay: for how long, and where you are seen */
	PC_NATIVE_ALLOCATE = 4,	   /* peer: a pipe that ends in a relayed UDP port */
	PC_NATIVE_ALLOCATED = 5,   /* relay */
	PC_NATIVE_CONNECT = 6,	   /* peer: a pipe to another peer */
	PC_NATIVE_INCOMING = 7,	   /* relay to the other one: do you agree? */
	PC_NATIVE_ACCEPT = 8,	   /* it does */
	PC_NATIVE_REFUSE = 9,	   /* it does not */
	PC_NATIVE_OPENED = 10,	   /* relay to both: the pipe is there */
	PC_NATIVE_CLOSE = 11,	   /* of a pipe, or of the session when no pipe is named */
	PC_NATIVE_HEARTBEAT = 12,  /* wants an answer */
	PC_NATIVE_ALIVE = 13,	   /* is the answer */
	PC_NATIVE_RECEIPT = 14,	   /* payer */
	PC_NATIVE_METER = 15,	   /* relay: what it counted */
	PC_NATIVE_CANDIDATES = 16, /* where else a peer may be reached; relayed to the other end */
	PC_NATIVE_OBSERVED = 17,   /* where a peer is seen */
	PC_NATIVE_ERROR = 18,	   /* about a message */
	PC_NATIVE_KEEP = 19,	   /* peer: I still have this pipe */
	PC_NATIVE_TYPE_COUNT = 20,
};

enum pc_native_field {
	PC_NATIVE_F_PADDING = 0, /* zeros, any number of times */
	PC_NATIVE_F_STATEMENT = 1,
	PC_NATIVE_F_OBSERVED = 2,     /* address */
	PC_NATIVE_F_VERSION = 3,      /* 2 */
	PC_NATIVE_F_CAPABILITIES = 4, /* 8 */
	PC_NATIVE_F_TOKEN = 5,	      /* 8 */
	PC_NATIVE_F_REASON = 6,	      /* 2, enum pc_native_reason */
	PC_NATIVE_F_PEER = 7,	      /* identity key, 32 */
	PC_NATIVE_F_CALL = 8,	      /* 4, chosen by who asks; comes back in the answers */
	PC_NATIVE_F_PIPE = 9,	    /* 4, an index of the sender: frames to it carry it; never 0 */
	PC_NATIVE_F_PIPE_TO = 10,   /* 4, an index of the receiver: the pipe this is about */
	PC_NATIVE_F_RELAYED = 11,   /* address */
	PC_NATIVE_F_REMOTE = 12,    /* address: whom a relayed port talks to */
	PC_NATIVE_F_LIFETIME = 13,  /* 4, seconds */
	PC_NATIVE_F_SERVICE = 14,   /* text, 1 to 63 bytes: "udp:51820" */
	PC_NATIVE_F_GRANT = 15,	    /* 336: grant and two signatures */
	PC_NATIVE_F_RECEIPT = 16,   /* 136: receipt and signature */
	PC_NATIVE_F_UP = 17,	    /* 8, payload bytes */
	PC_NATIVE_F_DOWN = 18,	    /* 8 */
	PC_NATIVE_F_CANDIDATE = 19, /* address, up to 8 times */
	PC_NATIVE_F_TYPE = 20,	    /* 2, of the message an error is about */
	PC_NATIVE_F_MTU = 21,	    /* 2, largest pipe payload */
	PC_NATIVE_F_COUNT = 22,
};

enum pc_native_reason {
	PC_NATIVE_R_DONE = 0,	      /* no longer needed */
	PC_NATIVE_R_REFUSED = 1,      /* not trusted, or the allow-list says no */
	PC_NATIVE_R_UNKNOWN_PEER = 2, /* not registered here */
	PC_NATIVE_R_UNKNOWN_TYPE = 3, /* of a message */
	PC_NATIVE_R_MALFORMED = 4,
	PC_NATIVE_R_FULL = 5,	 /* quota, or no room */
	PC_NATIVE_R_EXPIRED = 6, /* the grant */
	PC_NATIVE_R_CREDIT = 7,
	PC_NATIVE_R_GONE = 8, /* the other end */
	PC_NATIVE_R_SHUTDOWN = 9,
	PC_NATIVE_R_TIMEOUT = 10,
	PC_NATIVE_R_BUSY = 11,	    /* the name or the port is taken */
	PC_NATIVE_R_WRONG_KEY = 12, /* who answers is not who was asked for; never sent */
	PC_NATIVE_R_GRANT = 13,	    /* it is not for this relay and this peer, or forged */
	PC_NATIVE_R_EARLY = 14,	    /* the grant is not valid yet */
	PC_NATIVE_R_NO_CLOCK = 15,  /* the relay cannot judge grants: it does not know the time */
};

#define PC_NATIVE_MAX_CANDIDATES 8
#define PC_NATIVE_MAX_SERVICE	 63
#define PC_NATIVE_GRANT_LEN	 336
#define PC_NATIVE_RECEIPT_LEN	 136
#define PC_NATIVE_MSG_HEADER	 4

/* One message, read or to be written. Pointers are into the input, or borrowed. */
struct pc_native_msg {
	uint16_t type;
	uint32_t has; /* bits of enum pc_native_field */
	uint16_t version, reason, about, mtu;
	uint32_t call, pipe, pipe_to, lifetime_s;
	uint64_t capabilities, token, up, down;
	struct pc_addr observed, relayed, remote;
	struct pc_addr candidates[PC_NATIVE_MAX_CANDIDATES];
	unsigned int n_candidates;
	const uint8_t *peer, *grant, *receipt, *statement;
	const uint8_t *service;
	size_t service_len;
};

#define PC_NATIVE_HAS(m, f) ((m)->has & 1u << (f))

/*
 * Reads the next message of @r. 0; PC_ERR_NOT_FOUND at the end; PC_ERR_UNKNOWN for a type that is
 * not known (its bit says whether it may be skipped; the reader is behind it); PC_ERR_MALFORMED
 * when the message breaks the format or lacks a field (behind it, too, unless r->failed).
 */
int pc_native_msg_read(struct pc_reader *r, struct pc_native_msg *ret_msg);
/* Only the fields: of a handshake's payload. 0 or PC_ERR_MALFORMED. */
int pc_native_fields_read(struct pc_reader *r, struct pc_native_msg *ret_msg);
/* Writes the fields that @m has, in ascending order; sticky error of the writer. */
void pc_native_msg_write(struct pc_writer *w, const struct pc_native_msg *m);
void pc_native_fields_write(struct pc_writer *w, const struct pc_native_msg *m);
const char *pc_native_reason_text(uint16_t reason);

#endif
