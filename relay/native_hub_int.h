/* SPDX-License-Identifier: MIT */
/* What the files of the hub share; nobody else includes this. */
#ifndef PC_RELAY_NATIVE_HUB_INT_H
#define PC_RELAY_NATIVE_HUB_INT_H

#include "base/clock.h"
#include "base/err.h"
#include "base/cleanup.h"
#include "base/htab.h"
#include "base/timer.h"
#include "relay/native_hub.h"

struct hub_pipe;
struct hub_call;

/* What the hub knows about a link; lives as long as the link. */
struct hub_peer {
	struct pc_native_link *link;
	struct hub_peer *next, **pprev;
	bool registered;
	bool greeted;
	struct pc_timer timer; /* registration runs out */
	struct pc_hub *hub;
	uint32_t n_held;    /* pipes and calls it asked for */
	uint64_t grants_ns; /* when it has shown none for long enough */
};

/* A request that the other one has not answered yet. */
struct hub_call {
	struct hub_call *next, **pprev;
	struct pc_hub *hub;
	uint32_t id; /* as the callee knows it */
	struct hub_peer *caller, *callee;
	uint32_t caller_call, caller_pipe;
	uint64_t until_ns; /* of the grant; 0: without */
	struct pc_timer timer;
};

/* An end, by the index we gave it. */
struct hub_side {
	struct pc_hnode by_in;
	struct hub_pipe *p;
	uint32_t in;
	struct pc_timer timer; /* its peer does not keep the pipe any more */
};

struct hub_pipe {
	struct pc_hub_pipe pipe;
	struct pc_hub *hub;
	struct hub_pipe *next, **pprev;
	struct hub_peer *owner; /* who asked for it; NULL: did not come back yet */
	struct hub_side sides[2];
	struct pc_timer grant_timer;
};

struct pc_hub {
	struct pc_hub_config config;
	struct pc_native *n;
	const struct pc_hub_ops *ops;
	void *ctx;
	uint64_t now;
	struct hub_peer *peers;
	struct hub_call *calls;
	struct hub_pipe *pipes;
	struct pc_htab by_in;
	uint8_t hash_key[16];
	struct pc_timers *timers;
	struct pc_hub_stats stats;
};

/* --- native_hub.c --- */
struct hub_peer *pc_hub_peer_of(struct pc_hub *h, struct pc_native_link *link); /* or NULL */
void pc_hub_call_end(struct hub_call *call, uint16_t reason);
void pc_hub_send(struct pc_hub *h, struct pc_native_link *link, const struct pc_native_msg *msg);
void pc_hub_refuse(struct pc_hub *h, struct pc_native_link *link, uint32_t call, uint16_t reason);

/* Every pipe of a peer that is gone, or that begins anew. */
void pc_hub_peer_pipes_end(struct pc_hub *h, const struct pc_native_link *link);

/* --- native_hub_pipe.c --- */
/*
 * Makes the pipe and tells those who wait for it; @callee NULL: to a relayed port. 0 or a negative
 * code.
 */
int pc_hub_pipe_open(struct pc_hub *h, const struct hub_call *call, uint32_t callee_pipe);
int pc_hub_port_open(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg,
		     uint64_t until_ns);
/* Tells each end but the link @not. */
void pc_hub_pipe_end(struct pc_hub *h, struct hub_pipe *p, const struct pc_native_link *not_to,
		     uint16_t reason);
/* It still has this pipe: the end is its own from now on, wherever it is. */
void pc_hub_take_keep(struct pc_hub *h, struct hub_peer *peer, const struct pc_native_msg *msg);
struct hub_pipe *pc_hub_pipe_of(const struct pc_hub *h, const struct pc_native_link *link,
				uint32_t in, unsigned int *ret_end);

/* --- native_hub_grant.c --- */
/* Of the grant in @msg. 0, *ret_until_ns only if there is one; or the reason to refuse it. */
uint16_t pc_hub_grant_judge(struct pc_hub *h, struct hub_peer *peer,
			    const struct pc_native_msg *msg, uint64_t *ret_until_ns);
/* The pipe ends at its until_ns. */
void pc_hub_grant_watch(struct pc_hub *h, struct hub_pipe *p);

#endif
