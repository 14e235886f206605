/* SPDX-License-Identifier: MIT */
/*
 * The two ends of pipes (docs/protocol/native.md, 6.3): a session of their own with each peer, the
 * epochs of its keys, data frames sealed and opened, and the ways on which all that travels. A
 * machine without I/O. There is one session with a peer, whatever ways lead to it: pipes of
 * several relays and services, and addresses that answer directly.
 *
 * Data takes one way at a time: a direct one that answers both ways, else a pipe. While data flows
 * the way in use is asked again and again; when it falls silent, another one takes over, and what
 * was sent directly since the last answer goes once more, through the pipe: the receiver's window
 * knows what it has already. Memory: about 5 KiB per peer, and 12 MiB while one is reached
 * directly.
 */
#ifndef PC_RELAY_NATIVE_E2E_H
#define PC_RELAY_NATIVE_E2E_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay/native.h"
#include "relay/native_agent.h"
#include "relay/native_pipe.h"

struct pc_e2e;
struct pc_e2e_peer;

#define PC_E2E_MAX_WAYS 16 /* of one peer */
#define PC_E2E_TOKENS	8  /* probes of a way whose answers are still known */

/* A way to a peer. Owners read the first part. */
struct pc_e2e_way {
	struct pc_e2e_peer *peer;
	struct pc_agent_pipe *pipe; /* NULL: direct */
	void *user;		    /* of the pipe's owner */
	uint32_t listener;	    /* of a direct one */
	struct pc_addr remote;
	bool good; /* direct: answers both ways; pipe: not known to be dead */
	uint64_t rtt_ns;

	bool used;
	bool was_good;	    /* direct: it answered some time */
	uint64_t heard_ns;  /* something genuine came on it */
	uint64_t asked_ns;  /* the first probe without an answer; 0: none */
	uint64_t probe_ns;  /* the next one */
	uint64_t proven_ns; /* when the last answered probe was sent */
	unsigned int tries, answers;
	uint64_t tokens[PC_E2E_TOKENS], sent_ns[PC_E2E_TOKENS];
	unsigned int n_tokens;
};

struct pc_e2e_ops {
	/* A whole datagram for @way. */
	void (*send)(void *ctx, struct pc_e2e_way *way, const void *data, size_t len);
	/* Whether the peer, which has proven its identity, is welcome. */
	bool (*trusted)(void *ctx, const uint8_t identity[static 32]);
	void (*ready)(void *ctx, struct pc_e2e_peer *peer); /* data can be sealed from now on */
	/* The session is over, or could not be made. */
	void (*down)(void *ctx, struct pc_e2e_peer *peer, uint16_t reason);
	void (*moved)(void *ctx, struct pc_e2e_peer *peer); /* data takes another way */
	/* A pipe that data takes does not answer. The owner may look for another one. */
	void (*silent)(void *ctx, struct pc_e2e_way *way);
	void (*gone)(void *ctx, struct pc_e2e_peer *peer); /* freed after the call */
	void (*random)(void *ctx, void *buf, size_t len);
};

/* @config: of the sessions; its heartbeat is not used. 0, -ENOMEM, PC_ERR_UNSUPPORTED. */
int pc_e2e_new(const struct pc_native_config *config, const struct pc_e2e_ops *ops, void *ctx,
	       uint64_t now, struct pc_e2e **ret_e2e);
void pc_e2e_free(struct pc_e2e *e); /* calls nothing */
void pc_e2e_set_statement(struct pc_e2e *e, const uint8_t statement[static PC_STATEMENT_LEN]);
void pc_e2e_tick(struct pc_e2e *e, uint64_t now);
uint64_t pc_e2e_next_deadline(const struct pc_e2e *e);

struct pc_e2e_peer *pc_e2e_find(const struct pc_e2e *e, const uint8_t identity[static 32]);
/* Peers one by one: NULL first. */
struct pc_e2e_peer *pc_e2e_next(const struct pc_e2e *e, const struct pc_e2e_peer *last);
const uint8_t *pc_e2e_identity(const struct pc_e2e_peer *peer);
bool pc_e2e_is_ready(const struct pc_e2e_peer *peer, uint64_t now);
/* Where data goes now; NULL: nowhere. */
const struct pc_e2e_way *pc_e2e_way(const struct pc_e2e_peer *peer);
/* Ends the session, and tells the peer; what leads to it stays. No op is called. */
void pc_e2e_end(struct pc_e2e_peer *peer, uint16_t reason, uint64_t now);
/* Ends the session and forgets the peer; pipes are the owner's to close. ops->gone is called. */
void pc_e2e_close(struct pc_e2e_peer *peer, uint16_t reason, uint64_t now);

/*
 * A pipe that is up; @pipe stays the owner's and has to last until pc_e2e_remove. Who asked for it
 * begins the session where there is none. 0, PC_ERR_FULL or -ENOMEM.
 */
int pc_e2e_add_pipe(struct pc_e2e *e, struct pc_agent_pipe *pipe, void *user, uint64_t now,
		    struct pc_e2e_way **ret_way);
void pc_e2e_remove(struct pc_e2e_way *way, uint64_t now);
/* Addresses where the peer may be reached directly; they are tried for some seconds. */
void pc_e2e_candidates(struct pc_e2e_peer *peer, uint32_t listener, const struct pc_addr *list,
		       unsigned int n, uint64_t now);

/* Payload of a frame of @way's pipe with the flag INNER. */
void pc_e2e_inner(struct pc_e2e *e, struct pc_e2e_way *way, const void *data, size_t len,
		  uint64_t now, uint64_t realtime_s);
/*
 * Opens a data frame of @way's pipe, which pc_agent_frame took; @ret_plain may be in the frame. 0,
 * PC_ERR_STATE (no keys of that epoch), PC_ERR_AUTH, PC_ERR_EXISTS (it came already),
 * PC_ERR_MALFORMED.
 */
int pc_e2e_open(struct pc_e2e *e, struct pc_e2e_way *way, const struct pc_pipe_frame *f,
		const void *frame, uint64_t now, void *ret_plain);
/* What comes from an address that is not a relay's: a session frame. */
void pc_e2e_direct(struct pc_e2e *e, uint32_t listener, const struct pc_addr *from,
		   const void *data, size_t len, uint64_t now, uint64_t realtime_s);
/* The same for a pipe frame: data. Like pc_e2e_open; PC_ERR_NOT_FOUND: of nobody we know. */
int pc_e2e_open_direct(struct pc_e2e *e, uint32_t listener, const struct pc_addr *from,
		       const void *frame, size_t len, uint64_t now, struct pc_e2e_peer **ret_peer,
		       void *ret_plain, size_t *ret_len);
/*
 * Seals the @len bytes at @frame + PC_PIPE_HEADER, where they are; 16 more follow. The frame, which
 * is PC_PIPE_OVERHEAD + @len, goes on *ret_way. 0, PC_ERR_STATE (no session, no way) or
 * PC_ERR_RANGE (too long for the way).
 */
int pc_e2e_seal(struct pc_e2e_peer *peer, uint8_t *frame, size_t len, uint64_t now,
		struct pc_e2e_way **ret_way);
/* Largest plaintext that pc_e2e_seal takes now; 0: none. */
size_t pc_e2e_room(const struct pc_e2e_peer *peer);

struct pc_e2e_stats {
	uint64_t sealed, opened;
	uint64_t opened_direct, sealed_direct;
	uint64_t refused; /* did not open: no key, forged, seen before */
	uint64_t resent;  /* through a pipe, after a direct way fell silent */
	uint64_t moves;	  /* of data to another way */
};
void pc_e2e_get_stats(const struct pc_e2e *e, struct pc_e2e_stats *ret_stats);
void *pc_e2e_user(const struct pc_e2e_peer *peer);
void pc_e2e_set_user(struct pc_e2e_peer *peer, void *user);

#endif
