/* SPDX-License-Identifier: MIT */
/*
 * What the files of the native glue share; nobody else includes this.
 *
 * native_glue.c       the machine: sockets, identity, trust, time
 * native_glue_pipe.c  what the hub needs: pipes, who pays for them, and what the data plane has
 * native_glue_grant.c grants, and when they run out
 * native_glue_known.c where peers are
 * native_glue_frame.c frames that user space forwards
 * native_glue_all.c   all pipes: adopted, written again, ended, listed
 */
#ifndef PC_DAEMON_NATIVE_GLUE_INT_H
#define PC_DAEMON_NATIVE_GLUE_INT_H

#include <ev.h>

#include "account/grant.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/native_glue.h"
#include "daemon/peers.h"

struct pc_native_glue {
	struct pc_daemon *d;
	struct pc_native *n;
	struct pc_hub *hub;
	uint64_t *reasons;
	uint8_t static_public[32];
	uint64_t statement_end_s; /* 0: made without a clock */
	uint64_t now;
	const struct pc_native_path *from; /* of the datagram that is being handled */
	const char *trusted;		   /* the peer that it turned out to be from */
	struct pc_htab known, known_paths; /* where peers are */
	uint8_t hash_key[16];
	struct ev_timer timer, meter_timer;
	struct ev_prepare prepare;
	uint64_t deadline; /* that the timer is set to */
	uint64_t limit_ns; /* no pipe in the data plane lives longer */
	bool leaving;	   /* the data plane keeps what it has */
	struct native_pipe *pipes;
	struct pc_htab tenants; /* how many pipes each pays for */
	struct pc_log_limit refused_log, full_log, grant_log;
	uint64_t grants[PC_GRANT_VERDICTS], grants_ended;
};

/* A session of one tenant that a pipe counts for. */
struct native_account {
	uint64_t id;
	uint32_t slot, tenant; /* of the store */
	bool open;
};

/* What the daemon keeps of a pipe. */
struct native_pipe {
	struct native_pipe *next, **pprev;
	struct pc_hub_pipe *pipe;
	/* By end. The second is there only when its peer is of another tenant. */
	struct native_account accounts[2];
	bool held[2]; /* references on the ways to both ends */
	struct pc_ip held_from[2], held_to[2];
	struct pc_turn_lent port;    /* socket NULL: none */
	bool counted;		     /* as one of its payer's */
	uint64_t told_up, told_down; /* by METER */
	uint64_t created_ns;
};

extern const struct pc_hub_ops pc_native_hub_ops; /* ctx: struct pc_native_glue */

/* --- native_glue.c --- */
uint64_t pc_native_clock_s(void); /* since 1970; 0: the clock was never set */
/* For the log: "?" where this node has no such peer. */
const char *pc_native_peer_name(const struct pc_native_glue *g, const uint8_t identity[static 32]);

/* --- native_glue_grant.c: for pc_hub_ops --- */
uint16_t pc_native_grant_judge(void *ctx, struct pc_native_link *link, const uint8_t *grant,
			       uint64_t *ret_until_ns);
void pc_native_grant_lapsed(void *ctx, const struct pc_hub_pipe *pipe);

/* --- native_glue_known.c --- */
int pc_native_known_init(struct pc_native_glue *g);
void pc_native_known_free(struct pc_native_glue *g);
/* The peer is where its session is now, or nowhere any more. */
void pc_native_known(struct pc_native_glue *g, const struct pc_native_link *link);
void pc_native_unknown(struct pc_native_glue *g, const struct pc_native_link *link);

/* --- native_glue_pipe.c --- */
/* For the pipe, not yet linked to one of the hub; or all of it away again. */
struct native_pipe *pc_native_pipe_new(struct pc_native_glue *g);
void pc_native_pipe_free(struct pc_native_glue *g, struct native_pipe *p);
/* Both directions into the data plane. 0, or a negative code and neither is there. */
int pc_native_pipe_write(struct pc_native_glue *g, struct native_pipe *p);
int pc_native_pipe_rewrite(struct pc_native_glue *g, struct native_pipe *p); /* logs, too */
/* One pipe more, or less, that @tenant pays for; false: it has as many as it may. */
bool pc_native_tenant_take(struct pc_native_glue *g, uint32_t tenant, bool force);
void pc_native_tenant_give(struct pc_native_glue *g, uint32_t tenant);
void pc_native_tenants_free(struct pc_native_glue *g);

/* --- native_glue_all.c --- */
/* Tells who pays what was counted since it was told last. */
void pc_native_pipes_meter(struct pc_native_glue *g);

/* --- native_glue_frame.c --- */
/* Of a peer of a relayed port. */
void pc_native_port_input(struct pc_native_glue *g, const struct pc_native_path *path,
			  struct pc_dgram *d);
/* A frame of a pipe that the kernel left to user space. */
void pc_native_pipe_input(struct pc_native_glue *g, const struct pc_native_path *path,
			  struct pc_dgram *d);

#endif
