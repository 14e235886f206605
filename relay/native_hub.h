/* SPDX-License-Identifier: MIT */
/*
 * The relay's side of native peers above sessions: who is registered, who asks for whom, and the
 * pipes between those that agreed. A machine without I/O; its owner hands it what pc_native_ops
 * bring. A pipe lives as long as both its sessions, and as both ends say that
 * they keep it. A hub that comes after another one adopts its pipes.
 */
#ifndef PC_RELAY_NATIVE_HUB_H
#define PC_RELAY_NATIVE_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/native.h"
#include "relay/native_pipe.h"

struct pc_hub;

#define PC_HUB_CALL_NS (20ull * 1000000000) /* for the other one to answer */
/* Lifetimes of a registration without KEEP after which a pipe ends; peers say it twice in each. */
#define PC_HUB_KEEPS 2

/* One end of a pipe: a peer, or a relayed UDP port (peer zeros). */
struct pc_hub_end {
	struct pc_native_link *link; /* NULL: a port, or one that did not come back yet */
	uint8_t peer[32];
	struct pc_native_path path;
	uint32_t in;  /* our index: frames from the peer carry it */
	uint32_t out; /* the peer's: frames to it carry it */
	uint8_t in_key[PC_PIPE_KEY_LEN], out_key[PC_PIPE_KEY_LEN];
	struct pc_addr relayed, remote; /* of a relayed port */
};

/* What the data plane needs. Frames of end 0 go to end 1, and the other way. */
struct pc_hub_pipe {
	struct pc_hub_end ends[2];
	uint64_t until_ns; /* when its grant runs out; 0: it has none */
	void *user;	   /* of the owner */
};

struct pc_hub_ops {
	/* Whether @caller may reach @callee through this relay. */
	bool (*may_connect)(void *ctx, const uint8_t caller[static 32],
			    const uint8_t callee[static 32]);
	/*
	 * A pipe is to be forwarded from now on, or (@again) an end of it has moved. Returns 0, or
	 * PC_ERR_FULL and others: then there is no pipe.
	 */
	int (*pipe_set)(void *ctx, struct pc_hub_pipe *pipe, bool again);
	void (*pipe_del)(void *ctx, struct pc_hub_pipe *pipe);
	/*
	 * Opens a relayed port, end 1 of @pipe, that talks to @remote only. 0 or PC_ERR_FULL,
	 * PC_ERR_REFUSED (policy). NULL: there are none. It ends with pipe_del.
	 */
	int (*port_open)(void *ctx, struct pc_hub_pipe *pipe, const struct pc_addr *remote,
			 struct pc_addr *ret_relayed);
	/*
	 * Judges the grant that a peer shows for what it asks for. 0 with the time at which it runs
	 * out, or the enum pc_native_reason it is refused for. NULL: nobody looks at them.
	 */
	uint16_t (*grant)(void *ctx, struct pc_native_link *link, const uint8_t *grant,
			  uint64_t *ret_until_ns);
	/* The grant of @pipe has run out; pipe_del follows. NULL: nobody wants to know. */
	void (*lapsed)(void *ctx, const struct pc_hub_pipe *pipe);
	/* For the ledger; NULL: nobody wants them. */
	void (*receipt)(void *ctx, struct pc_native_link *link, const uint8_t *receipt);
	void (*random)(void *ctx, void *buf, size_t len);
};

struct pc_hub_config {
	uint32_t max_pipes;	     /* of all */
	uint32_t max_pipes_per_peer; /* and calls that wait */
	uint32_t register_lifetime_s;
	uint16_t mtu;	       /* largest payload of a pipe frame */
	uint64_t capabilities; /* for HELLO */
};

int pc_hub_new(const struct pc_hub_config *config, struct pc_native *n,
	       const struct pc_hub_ops *ops, void *ctx, uint64_t now, struct pc_hub **ret_hub);
/* Before the pc_native; says nothing, but calls pipe_del. */
void pc_hub_free(struct pc_hub *h);

/* From pc_native_ops of the same name. */
void pc_hub_down(struct pc_hub *h, struct pc_native_link *link, uint64_t now);
void pc_hub_moved(struct pc_hub *h, struct pc_native_link *link, uint64_t now);
void pc_hub_message(struct pc_hub *h, struct pc_native_link *link, const struct pc_native_msg *msg,
		    uint64_t now);

void pc_hub_tick(struct pc_hub *h, uint64_t now);
uint64_t pc_hub_next_deadline(const struct pc_hub *h);

/*
 * A pipe that the data plane forwards for an earlier hub, as @pipe says: indices, keys, paths,
 * peers; links are NULL. It ends when not both peers say within the lifetime of a registration that
 * they keep it, and at its until_ns if the peer that asked for it shows no other grant. 0,
 * PC_ERR_EXISTS, PC_ERR_FULL or -ENOMEM.
 */
int pc_hub_adopt(struct pc_hub *h, const struct pc_hub_pipe *pipe, uint64_t now,
		 struct pc_hub_pipe **ret_pipe);
/* The data plane gives a pipe up (credit, expiry): both ends are told. */
void pc_hub_pipe_close(struct pc_hub *h, struct pc_hub_pipe *pipe, uint16_t reason, uint64_t now);
/* The pipe whose end has our index @in, and which end. NULL: none. */
struct pc_hub_pipe *pc_hub_pipe_find(const struct pc_hub *h, uint32_t in, unsigned int *ret_end);
/* What was counted, to whoever pays. */
int pc_hub_meter(struct pc_hub *h, const struct pc_hub_pipe *pipe, unsigned int end, uint64_t up,
		 uint64_t down, uint64_t now);
bool pc_hub_registered(const struct pc_hub *h, const uint8_t identity[static 32]);

struct pc_hub_stats {
	uint32_t registered, calls, pipes;
};
void pc_hub_get_stats(const struct pc_hub *h, struct pc_hub_stats *ret_stats);

#endif
