/* SPDX-License-Identifier: MIT */
/*
 * What the files of the end-to-end machine share; nobody else includes this.
 *
 * native_e2e.c       life of the machine and of peers, sessions, what arrives
 * native_e2e_epoch.c keys: offered, agreed, forgotten
 * native_e2e_data.c  sealing, opening, what is sent again
 * native_e2e_way.c   ways: probes, choice, silence
 */
#ifndef PC_RELAY_NATIVE_E2E_INT_H
#define PC_RELAY_NATIVE_E2E_INT_H

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/timer.h"
#include "lib/replay.h"
#include "relay/native_e2e.h"
#include "relay/noise.h"

#define E2E_EPOCHS	  4
#define E2E_KEEP_NS	  (10 * PC_NS_PER_S)   /* keys after a later epoch was used */
#define E2E_OFFER_NS	  (250 * PC_NS_PER_MS) /* an offer is repeated, twice as late each time */
#define E2E_OFFER_MAX_NS  (4 * PC_NS_PER_S)
#define E2E_FLOWING_NS	  PC_NS_PER_S	       /* data was sent so recently: the way is watched */
#define E2E_PROBE_NS	  (100 * PC_NS_PER_MS) /* of a direct way that data takes */
#define E2E_PIPE_PROBE_NS (250 * PC_NS_PER_MS) /* of a pipe that says nothing */
#define E2E_QUIET_NS	  (500 * PC_NS_PER_MS) /* a pipe is asked when it said nothing so long */
#define E2E_LOST_NS \
	(300 * PC_NS_PER_MS)	     /* direct: first probe without an answer; and 2 round trips */
#define E2E_PIPE_LOST_NS PC_NS_PER_S /* pipe: the same */
#define E2E_KEEPALIVE_NS (15 * PC_NS_PER_S) /* a direct way that data does not take */
#define E2E_TRIES	 24		    /* probes of a candidate */
#define E2E_RETURN	 2		    /* answers before a way that was lost is good again */
#define E2E_RETRY_NS	 PC_NS_PER_S	    /* a session that could not be made */
#define E2E_RETRY_MAX_NS (30 * PC_NS_PER_S)
#define E2E_STALE_NS	 PC_NS_PER_S /* silent for so long: a new pipe brings a new session */
#define E2E_RING	 8192	     /* the receiver's window */

struct e2e_epoch {
	bool valid;
	uint8_t send[32], receive[32]; /* of data */
	/* Direct frames: the indices of the session, and hop keys as if each end were the relay. */
	uint32_t in, out;
	uint8_t in_key[PC_PIPE_KEY_LEN], out_key[PC_PIPE_KEY_LEN];
	struct pc_replay replay;
	uint64_t made_ns, drop_ns, order;
	struct pc_hnode by_in;
	struct pc_e2e_peer *peer;
};

/* What was sent directly, in case nobody got it. */
struct e2e_sent {
	uint64_t at_ns;
	uint16_t len;
	uint8_t frame[PC_PIPE_MAX_FRAME];
};

struct pc_e2e_peer {
	struct pc_e2e *e;
	struct pc_e2e_peer *next, **pprev;
	uint8_t identity[32];
	uint32_t number; /* in paths of the session machine */
	struct pc_native_link *link;
	struct e2e_epoch epochs[E2E_EPOCHS];
	struct e2e_epoch *sealing; /* NULL: none was agreed */
	uint64_t orders;
	unsigned int offers; /* made so far */
	struct {
		bool open;
		uint8_t epoch;
		uint32_t session;
		uint64_t retry_ns, wait_ns;
	} offer;
	uint64_t counter, newest; /* of frames sent; of data received */
	uint64_t sent_ns, heard_ns;
	uint64_t retry_ns, wait_ns; /* of the session; 0: not wanted */
	struct pc_e2e_way ways[PC_E2E_MAX_WAYS];
	struct pc_e2e_way *way; /* of data */
	struct e2e_sent *ring;
	uint64_t ring_end; /* how many were written */
	struct pc_timer timer;
	bool in_work; /* not to be freed */
	void *user;
};

struct pc_e2e {
	struct pc_native *n;
	const struct pc_e2e_ops *ops;
	void *ctx;
	uint8_t identity[32];
	struct pc_e2e_peer *peers;
	uint32_t n_peers, max_peers, last_number;
	struct pc_htab by_in; /* epochs */
	uint8_t hash_key[16];
	struct pc_timers *timers;
	struct pc_e2e_stats stats;
	uint64_t now;
	/* While a datagram is handled: whose it is, and on which way it came. */
	struct pc_e2e_peer *from;
	struct pc_e2e_way *came;    /* may be one that is not the peer's yet */
	struct pc_e2e_way *probing; /* while a probe is sent */
};

/* --- native_e2e.c --- */
int pc_e2e_peer_get(struct pc_e2e *e, const uint8_t identity[static 32],
		    struct pc_e2e_peer **ret_peer);
/* When it has neither ways nor a session. True: it is gone. */
bool pc_e2e_drop_if_idle(struct pc_e2e_peer *p);
void pc_e2e_begin(struct pc_e2e_peer *p); /* a session, or its renewal */
void pc_e2e_arm(struct pc_e2e_peer *p);

/* --- native_e2e_epoch.c --- */
void pc_e2e_epoch_offer(struct pc_e2e_peer *p);
void pc_e2e_epoch_repeat(struct pc_e2e_peer *p); /* when it is due */
void pc_e2e_epoch_hello(struct pc_e2e_peer *p, const struct pc_native_msg *msg);
void pc_e2e_epoch_forget(struct e2e_epoch *ep);
void pc_e2e_epoch_expire(struct pc_e2e_peer *p, uint64_t now);
bool pc_e2e_epoch_usable(const struct e2e_epoch *ep, uint64_t now);
uint64_t pc_e2e_epoch_deadline(const struct pc_e2e_peer *p);
struct e2e_epoch *pc_e2e_epoch_find(const struct pc_e2e *e, uint32_t in);

/* --- native_e2e_data.c --- */
/* What was sent directly since @since goes through @way. */
void pc_e2e_resend(struct pc_e2e_peer *p, struct pc_e2e_way *way, uint64_t since);
/* A session frame, as it is or in a pipe frame. */
void pc_e2e_send_inner(struct pc_e2e_peer *p, struct pc_e2e_way *way, const void *data, size_t len);

/* --- native_e2e_way.c --- */
struct pc_e2e_way *pc_e2e_way_add(struct pc_e2e_peer *p);
struct pc_e2e_way *pc_e2e_way_at(struct pc_e2e_peer *p, uint32_t listener,
				 const struct pc_addr *remote);
/* Something genuine came on @way. */
void pc_e2e_way_heard(struct pc_e2e_way *way);
/* Data of the highest counter so far came on @way. */
void pc_e2e_way_follow(struct pc_e2e_way *way);
void pc_e2e_way_alive(struct pc_e2e_way *way, uint64_t token);
void pc_e2e_way_probe(struct pc_e2e_way *way);
void pc_e2e_way_start(struct pc_e2e_peer *p); /* there is a session: candidates are tried */
void pc_e2e_way_choose(struct pc_e2e_peer *p);
void pc_e2e_way_work(struct pc_e2e_peer *p);
uint64_t pc_e2e_way_deadline(const struct pc_e2e_peer *p);
/* Any that a session frame may take; NULL: none. */
struct pc_e2e_way *pc_e2e_way_any(struct pc_e2e_peer *p);

#endif
