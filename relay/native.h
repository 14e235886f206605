/* SPDX-License-Identifier: MIT */
/*
 * Sessions between native peers (docs/protocol/native.md) as a machine without I/O: datagrams and
 * the time come in through functions, effects go out through struct pc_native_ops. One machine is
 * responder and initiator at once. Not thread-safe.
 *
 * A responder keeps nothing for a first message: what it needs to go on travels to the initiator
 * and back, sealed. A link is what lasts: the relation to one identity, over rekeying and changes
 * of address. Memory: about 1.2 KiB per session key pair, at most three of them per link.
 */
#ifndef PC_RELAY_NATIVE_H
#define PC_RELAY_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "relay/native_msg.h"
#include "relay/native_statement.h"

struct pc_native;
struct pc_native_link;

/* First bytes of native frames: 4 to 15 are free of STUN, DTLS, RTP, QUIC and channels. */
enum pc_native_frame {
	PC_NATIVE_XX1 = 0x04,
	PC_NATIVE_XX2 = 0x05,
	PC_NATIVE_XX3 = 0x06,
	PC_NATIVE_IK1 = 0x07,
	PC_NATIVE_IK2 = 0x08,
	PC_NATIVE_IK3 = 0x09,
	PC_NATIVE_COOKIE = 0x0a,
	PC_NATIVE_TRANSPORT = 0x0b,
	PC_NATIVE_PIPE = 0x0c, /* not for this machine: relay/native_pipe.h */
};

#define PC_NATIVE_FIRST_BYTE   0x04
#define PC_NATIVE_LAST_BYTE    0x0f /* those after the last type are reserved */

#define PC_NATIVE_PROTOCOL     1
#define PC_NATIVE_FIRST_LEN    512  /* a first message has at least as many bytes */
#define PC_NATIVE_MAX_FRAME    1232 /* fits 1280 with IPv6 and UDP */
#define PC_NATIVE_MAX_PLAIN    (PC_NATIVE_MAX_FRAME - 32)
#define PC_NATIVE_MAX_MESSAGES 8		    /* in one frame; what follows is ignored */
#define PC_NATIVE_TIMEOUT      (90ull * 1000000000) /* of a handshake */
#define PC_NATIVE_REKEY	       (120ull * 1000000000)
#define PC_NATIVE_HARD_STOP    (180ull * 1000000000)

/* Where a datagram came in, or goes out: which socket, and both ends. */
struct pc_native_path {
	uint32_t listener; /* index given by the caller */
	uint32_t pipe;	   /* through this pipe of the caller; 0: directly */
	struct pc_addr local;
	struct pc_addr remote;
};

enum pc_native_drop {
	PC_NATIVE_DROP_MALFORMED, /* length, version, type */
	PC_NATIVE_DROP_MAC1,	  /* not for us */
	PC_NATIVE_DROP_COOKIE,	  /* under load, without one: a cookie was sent */
	PC_NATIVE_DROP_RATE,	  /* under load: too many from this source */
	PC_NATIVE_DROP_TICKET,	  /* old, forged, or from another address */
	PC_NATIVE_DROP_HANDSHAKE, /* Noise refuses it, or the statement */
	PC_NATIVE_DROP_UNTRUSTED, /* the identity is proven, but not welcome */
	PC_NATIVE_DROP_SESSION,	  /* no such session */
	PC_NATIVE_DROP_REPLAY,
	PC_NATIVE_DROP_AUTH, /* transport that does not authenticate */
	PC_NATIVE_DROP_FULL,
	PC_NATIVE_DROP_COUNT
};

struct pc_native_ops {
	/* Must not fail visibly. @data is valid during the call only. */
	void (*send)(void *ctx, const struct pc_native_path *path, const void *data, size_t len);
	/* Whether sessions with @identity are welcome. Asked before each one is made. */
	bool (*trusted)(void *ctx, const uint8_t identity[static 32]);
	/*
	 * The pre-shared key with @identity; zeros when there is none. NULL: there are none. Where
	 * there is one only IKpsk2 will do; an initiator learns the static key by XX, if need be.
	 */
	void (*psk)(void *ctx, const uint8_t identity[static 32], uint8_t ret_psk[static 32]);
	/* A session is up; @renewed: in place of one that was. */
	void (*up)(void *ctx, struct pc_native_link *link, bool renewed);
	/*
	 * The link is over and freed after the call. @reason: enum pc_native_reason; REFUSED and
	 * others as the other side said, TIMEOUT, DONE after pc_native_close.
	 */
	void (*down)(void *ctx, struct pc_native_link *link, uint16_t reason);
	/* The other side's address is another one now; proven by an authenticated frame. */
	void (*moved)(void *ctx, struct pc_native_link *link);
	/*
	 * An authenticated message, but those the machine answers itself (HEARTBEAT, ALIVE, CLOSE
	 * of the session). May call anything but pc_native_free.
	 */
	void (*message)(void *ctx, struct pc_native_link *link, const struct pc_native_msg *msg);
	/* A frame of @link was genuine; before its messages. NULL: nobody wants to know. */
	void (*heard)(void *ctx, struct pc_native_link *link);
	void (*drop)(void *ctx, enum pc_native_drop reason);
	/* System randomness. */
	void (*random)(void *ctx, void *buf, size_t len);
};

struct pc_native_config {
	uint8_t identity[32];	   /* Ed25519 */
	uint8_t static_secret[32]; /* X25519 */
	uint8_t statement[PC_STATEMENT_LEN];
	uint32_t max_links;
	/* Handshake messages per second before cookies are asked for; 0: always. */
	uint32_t handshakes_per_s;
	/* And of those, per source with a cookie. 0: unlimited. */
	uint32_t source_handshakes_per_s;
	uint64_t heartbeat_ns; /* of initiators; 0: none */
};

/* @config is copied, @ops and @ctx borrowed. 0, -ENOMEM or PC_ERR_UNSUPPORTED. */
int pc_native_new(const struct pc_native_config *config, const struct pc_native_ops *ops, void *ctx,
		  uint64_t now, struct pc_native **ret_native);
/* Says nothing to anybody, calls no op. */
void pc_native_free(struct pc_native *n);
/* A new statement, before the old one expires. */
void pc_native_set_statement(struct pc_native *n, const uint8_t statement[static PC_STATEMENT_LEN]);

/* A datagram whose first byte is that of a native frame. @realtime_s 0: there is no clock. */
void pc_native_input(struct pc_native *n, const struct pc_native_path *path, const void *data,
		     size_t len, uint64_t now, uint64_t realtime_s);
void pc_native_tick(struct pc_native *n, uint64_t now);
uint64_t pc_native_next_deadline(const struct pc_native *n); /* UINT64_MAX: nothing waits */

/*
 * Begins a session with @identity at @path: IKpsk2 when @static_key is known, else XX. What there
 * is already is renewed. The answer is ops->up or ops->down. 0, PC_ERR_FULL or -ENOMEM.
 */
int pc_native_connect(struct pc_native *n, const uint8_t identity[static 32],
		      const uint8_t *static_key, const struct pc_native_path *path, uint64_t now,
		      struct pc_native_link **ret_link);
/* 0, PC_ERR_STATE (no session, or too old) or PC_ERR_RANGE (too long). */
int pc_native_send(struct pc_native *n, struct pc_native_link *link,
		   const struct pc_native_msg *msg, uint64_t now);
/* Tells the other side, ends and frees the link; ops->down is called with DONE. */
void pc_native_close(struct pc_native *n, struct pc_native_link *link, uint16_t reason,
		     uint64_t now);
/* The same to all that are up, the others just end. */
void pc_native_close_all(struct pc_native *n, uint16_t reason, uint64_t now);

const uint8_t *pc_native_identity(const struct pc_native_link *link);
/* The other side's static key, to keep for the next IKpsk2. NULL before the first session. */
const uint8_t *pc_native_static_key(const struct pc_native_link *link);
const struct pc_native_path *pc_native_path(const struct pc_native_link *link);
bool pc_native_is_up(const struct pc_native_link *link);
/* Whether this side began the session that is up, or, inside ops->message, that one's. */
bool pc_native_is_initiator(const struct pc_native_link *link);
void *pc_native_user(const struct pc_native_link *link);
void pc_native_set_user(struct pc_native_link *link, void *user);
/*
 * Both indices of the session that is up, or, inside ops->message, of the one that carried the
 * message. 0 or PC_ERR_STATE.
 */
int pc_native_session(const struct pc_native_link *link, uint32_t *ret_ours, uint32_t *ret_theirs);
/* pc_native_send in the session with our index @ours. PC_ERR_STATE, too, when it is gone. */
int pc_native_send_in(struct pc_native *n, struct pc_native_link *link, uint32_t ours,
		      const struct pc_native_msg *msg, uint64_t now);
/* Whose session a datagram claims to belong to, by its index alone; NULL: nobody's. */
struct pc_native_link *pc_native_peek(const struct pc_native *n, const void *data, size_t len);
/* The link with @identity, or NULL. */
struct pc_native_link *pc_native_find(const struct pc_native *n, const uint8_t identity[static 32]);
/*
 * A key that both sides, and nobody else, can derive from a session: HMAC-SHA256 of @label and
 * @context under its export secret. Of the session that is up, or, inside ops->message, of the one
 * that carried the message. 0 or PC_ERR_STATE.
 */
int pc_native_export(const struct pc_native_link *link, const char *label, const void *context,
		     size_t context_len, uint8_t ret_key[static 32]);
/* The same, but always of the session that pc_native_send takes now. */
int pc_native_export_sending(const struct pc_native_link *link, const char *label,
			     const void *context, size_t context_len, uint8_t ret_key[static 32]);

struct pc_native_stats {
	uint32_t links;
	uint32_t up;
	uint64_t handshakes;	   /* completed */
	uint64_t curve_operations; /* handshake messages that cost any */
	uint64_t cookies_sent;
	uint64_t drops[PC_NATIVE_DROP_COUNT];
};
void pc_native_get_stats(const struct pc_native *n, struct pc_native_stats *ret_stats);

#endif
