/* SPDX-License-Identifier: MIT */
/*
 * The peer's side of native peers above sessions: registers with a relay, asks for pipes to other
 * peers, answers those who ask, by an allow-list. A machine without I/O; its owner hands it what
 * pc_native_ops bring. One agent for one relay.
 */
#ifndef PC_RELAY_NATIVE_AGENT_H
#define PC_RELAY_NATIVE_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/replay.h"
#include "relay/native.h"
#include "relay/native_pipe.h"

struct pc_agent;

#define PC_AGENT_CALL_NS (30ull * 1000000000) /* longer than the relay waits */

/* A pipe as its end sees it. */
struct pc_agent_pipe {
	uint8_t peer[32]; /* zeros: a relayed port */
	uint32_t call;	  /* of pc_agent_connect; 0: the peer asked */
	uint32_t in, out; /* our index, the relay's */
	uint8_t in_key[PC_PIPE_KEY_LEN], out_key[PC_PIPE_KEY_LEN];
	uint64_t counter; /* of the last frame sent */
	struct pc_replay replay;
	uint16_t mtu;
	struct pc_addr relayed, remote; /* of a relayed port */
	bool granted;
	uint8_t grant[PC_NATIVE_GRANT_LEN]; /* of a call of ours */
	void *user;			    /* of the owner */
};

struct pc_agent_ops {
	void (*registered)(void *ctx, const struct pc_addr *observed, uint32_t lifetime_s);
	/* Consent: whether @peer may have @service (NULL: none was named). Default is no. */
	bool (*allowed)(void *ctx, const uint8_t peer[static 32], const char *service);
	void (*pipe_up)(void *ctx, struct pc_agent_pipe *pipe);
	void (*pipe_down)(void *ctx, struct pc_agent_pipe *pipe, uint16_t reason);
	/* A call of ours was not answered with a pipe. */
	void (*refused)(void *ctx, uint32_t call, uint16_t reason);
	void (*candidates)(void *ctx, struct pc_agent_pipe *pipe, const struct pc_addr *observed,
			   const struct pc_addr *candidates, unsigned int n);
	void (*meter)(void *ctx, struct pc_agent_pipe *pipe, uint64_t up, uint64_t down);
	void (*random)(void *ctx, void *buf, size_t len);
};

struct pc_agent_config {
	uint32_t max_pipes; /* and calls that wait */
	uint64_t capabilities;
};

int pc_agent_new(const struct pc_agent_config *config, struct pc_native *n,
		 const struct pc_agent_ops *ops, void *ctx, uint64_t now,
		 struct pc_agent **ret_agent);
void pc_agent_free(struct pc_agent *a); /* calls nothing */

/* From pc_native_ops of the same name, for the link with the relay. */
void pc_agent_up(struct pc_agent *a, struct pc_native_link *relay, bool renewed, uint64_t now);
/* Every pipe and call ends with @reason. */
void pc_agent_down(struct pc_agent *a, uint16_t reason, uint64_t now);
/*
 * The session has ended without a word, as when the relay's daemon died: calls end, pipes do not,
 * for the relay may still carry what goes through them.
 */
void pc_agent_lost(struct pc_agent *a, uint64_t now);
void pc_agent_message(struct pc_agent *a, const struct pc_native_msg *msg, uint64_t now);

void pc_agent_tick(struct pc_agent *a, uint64_t now);
uint64_t pc_agent_next_deadline(const struct pc_agent *a);

/*
 * Asks for a pipe to @peer, or to the relayed port for @remote, by @grant (PC_NATIVE_GRANT_LEN
 * bytes; NULL: without). The answer is ops->pipe_up or ops->refused with *ret_call. 0, PC_ERR_STATE
 * (no relay), PC_ERR_FULL, PC_ERR_RANGE, -ENOMEM.
 */
int pc_agent_connect(struct pc_agent *a, const uint8_t peer[static 32], const char *service,
		     const uint8_t *grant, uint64_t now, uint32_t *ret_call);
int pc_agent_allocate(struct pc_agent *a, const struct pc_addr *remote, const uint8_t *grant,
		      uint64_t now, uint32_t *ret_call);
/* A later grant for a pipe that we asked for. The relay ends the pipe if it does not take it. */
void pc_agent_grant(struct pc_agent *a, struct pc_agent_pipe *pipe,
		    const uint8_t grant[static PC_NATIVE_GRANT_LEN], uint64_t now);
/* Tells the relay; ops->pipe_down is not called. */
void pc_agent_close(struct pc_agent *a, struct pc_agent_pipe *pipe, uint16_t reason, uint64_t now);
int pc_agent_send_candidates(struct pc_agent *a, const struct pc_agent_pipe *pipe,
			     const struct pc_addr *candidates, unsigned int n, uint64_t now);
int pc_agent_send_receipt(struct pc_agent *a, const uint8_t receipt[static PC_NATIVE_RECEIPT_LEN],
			  uint64_t now);

/*
 * A frame for us: its pipe, with tag and replay window checked. 0, PC_ERR_MALFORMED,
 * PC_ERR_NOT_FOUND, PC_ERR_AUTH (tag) or PC_ERR_EXISTS (replay). The window moves, so open it.
 */
int pc_agent_frame(struct pc_agent *a, const void *frame, size_t len,
		   struct pc_pipe_frame *ret_frame, struct pc_agent_pipe **ret_pipe);

#endif
