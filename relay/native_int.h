/* SPDX-License-Identifier: MIT */
/*
 * What the files of the machine share; nobody else includes this.
 *
 * native.c           life of the machine and of links, tables, timers
 * native_mac.c       mac1, mac2, cookies, load; tickets
 * native_respond.c   first and third messages: the responder
 * native_initiate.c  attempts, second messages and cookies: the initiator
 * native_session.c   transport, heartbeats, roaming, what is sent
 */
#ifndef PC_RELAY_NATIVE_INT_H
#define PC_RELAY_NATIVE_INT_H

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/timer.h"
#include "lib/replay.h"
#include "relay/native.h"
#include "relay/noise.h"
#include "relay/stranger.h"

#define NATIVE_MAC_LEN	      16
#define NATIVE_COOKIE_LEN     16
#define NATIVE_XNONCE_LEN     24
#define NATIVE_TAG_LEN	      16
#define NATIVE_COOKIE_FRAME   64
#define NATIVE_MAX_TICKET     256
#define NATIVE_SECRET_NS      (120 * PC_NS_PER_S) /* cookie and ticket keys; one more as previous */
#define NATIVE_TICKET_NS      (10 * PC_NS_PER_S)
#define NATIVE_HEADER	      16 /* of a transport frame */
#define NATIVE_RETRY_NS	      PC_NS_PER_S
#define NATIVE_RETRY_MAX_NS   (8 * PC_NS_PER_S)
#define NATIVE_IK_TRIES	      3			/* then the static key may be another one: XX */
#define NATIVE_PROBE_NS	      (2 * PC_NS_PER_S) /* between heartbeats that go unanswered */
#define NATIVE_MAX_UNANSWERED 3
#define NATIVE_REKEY_MESSAGES (1ull << 60)
#define NATIVE_FINISH_NS      (8 * PC_NS_PER_S) /* the ticket is good for little more */
#define NATIVE_PROLOGUE_LEN   (8 + 32)

/* The keys of one session, known by our index. */
struct pc_native_keys {
	struct pc_hnode by_index;
	struct pc_native_link *link; /* NULL: an index that may not be used again yet */
	uint32_t index, remote_index;
	uint8_t send[32], receive[32], export[32];
	uint64_t send_counter;
	struct pc_replay replay;
	uint64_t created_ns;
	uint64_t ticket_ns; /* when our ticket was made; 0: we are the initiator */
	struct pc_native_keys *next_dead;
};

/* A handshake that we began. */
struct pc_native_attempt {
	struct pc_hnode by_index;
	struct pc_native_link *link;
	uint32_t index;
	struct pc_noise_handshake hs;
	struct pc_native_path path;
	uint64_t started_ns, retry_ns, wait_ns, finishing_ns;
	unsigned int tries;
	bool ik;
	bool finishing; /* the second message was good: `next` waits for the other side */
	bool has_cookie;
	uint64_t cookie_ns;
	uint8_t cookie[NATIVE_COOKIE_LEN];
	uint8_t mac1[NATIVE_MAC_LEN]; /* of what was sent last */
	bool cookie_used; /* for what is being sent: one immediate repetition, no more */
	uint8_t message[PC_NATIVE_MAX_FRAME]; /* without the macs */
	size_t len;
};

struct pc_native_link {
	struct pc_native *n;
	struct pc_hnode by_identity;
	uint8_t identity[32];
	uint8_t static_key[32];
	bool has_static;
	struct pc_native_path path;
	struct pc_native_keys *current, *previous, *next;
	struct pc_native_attempt *attempt;
	struct pc_timer timer;
	bool initiator; /* of `current` */
	bool closing;
	bool suspect;	       /* somebody answered, but not who was expected */
	uint64_t heartbeat_ns; /* when the next one is due */
	unsigned int unanswered;
	uint64_t token;
	void *user;
};

struct pc_native {
	struct pc_native_config config;
	const struct pc_native_ops *ops;
	void *ctx;
	struct pc_noise_keypair s;
	uint8_t hash_key[16];
	struct pc_htab links;	 /* by identity */
	struct pc_htab keys;	 /* by our index */
	struct pc_htab attempts; /* by our index */
	struct pc_timers *timers;
	struct pc_native_keys *dead, **dead_end; /* oldest first */
	/* Current and previous; made anew from time to time. */
	uint8_t cookie_secret[2][32], ticket_key[2][32];
	uint64_t secrets_ns;
	uint8_t mac_key[32]; /* of messages to us */
	/* Handshake messages that cost something: GCRA. */
	uint64_t load_ns;
	struct pc_strangers strangers;
	uint64_t now, realtime_s;	      /* of the input being handled */
	const struct pc_native_keys *carrier; /* of the message being handed up */
	struct pc_native_stats stats;
	uint32_t n_links;
};

/* --- native.c --- */
void pc_native_dropped(struct pc_native *n, enum pc_native_drop reason);
uint64_t pc_native_index_hash(const struct pc_native *n, uint32_t index);
uint32_t pc_native_new_index(struct pc_native *n); /* neither in use nor 0 */
struct pc_native_keys *pc_native_keys_find(const struct pc_native *n, uint32_t index);
struct pc_native_attempt *pc_native_attempt_find(const struct pc_native *n, uint32_t index);
/* NULL when there is no memory. */
struct pc_native_keys *pc_native_keys_new(struct pc_native *n, struct pc_native_link *link,
					  uint32_t index, uint32_t remote_index);
void pc_native_keys_free(struct pc_native *n, struct pc_native_keys *k);
/* Finds or makes. 0, PC_ERR_FULL or -ENOMEM. */
int pc_native_link_get(struct pc_native *n, const uint8_t identity[static 32],
		       const struct pc_native_path *path, struct pc_native_link **ret_link);
void pc_native_attempt_free(struct pc_native *n, struct pc_native_attempt *a);
/* ops->down, then everything of it is gone. */
void pc_native_link_end(struct pc_native_link *link, uint16_t reason);
/* Frees a link that has neither keys nor an attempt, without a word. */
void pc_native_link_drop_if_empty(struct pc_native_link *link);
void pc_native_link_arm(struct pc_native_link *link); /* sets its timer */
/* False: there is none, and @ret_psk is zeros. */
bool pc_native_psk(struct pc_native *n, const uint8_t identity[static 32],
		   uint8_t ret_psk[static 32]);
bool pc_native_usable(const struct pc_native_keys *k, uint64_t now);
void pc_native_prologue(const uint8_t responder[static 32],
			uint8_t ret[static NATIVE_PROLOGUE_LEN]);
/* After the last message of @hs; the transport keys of this side. */
int pc_native_keys_derive(struct pc_native_keys *k, const struct pc_noise_handshake *hs);
void pc_native_export_secret(const struct pc_noise_handshake *hs, uint8_t ret[static 32]);

/* --- native_mac.c --- */
void pc_native_mac_key(const uint8_t key[static 32], uint8_t ret[static 32]);
void pc_native_mac(const uint8_t *key, size_t key_len, const void *data, size_t len,
		   uint8_t ret[static NATIVE_MAC_LEN]);
void pc_native_cookie_key(const uint8_t identity[static 32], uint8_t ret[static 32]);
/* Whether mac1 and, under load, mac2 are in order; sends a cookie, counts drops. */
bool pc_native_admit(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		     size_t len);
/* A cookie's frame, opened with the mac1 it answers. */
int pc_native_cookie_open(const uint8_t responder[static 32], const uint8_t *data, size_t len,
			  const uint8_t mac1[static NATIVE_MAC_LEN],
			  uint8_t ret_cookie[static NATIVE_COOKIE_LEN]);
void pc_native_rotate(struct pc_native *n);

/* What the responder has to know again when the third message comes. */
struct pc_native_ticket {
	uint8_t type; /* PC_NATIVE_XX1 or PC_NATIVE_IK1 */
	uint32_t initiator_index, responder_index;
	uint64_t made_ns;
	union {
		struct {
			uint8_t ck[32], h[32], k[32], e[32];
		} xx;
		struct {
			uint8_t send[32], receive[32], export[32], identity[32], static_key[32];
		} ik;
	};
};
void pc_native_ticket_seal(struct pc_native *n, const struct pc_native_path *path,
			   const struct pc_native_ticket *t, struct pc_writer *w);
/* @t: type and indices are set. 0, PC_ERR_AUTH or PC_ERR_RANGE (too old). */
int pc_native_ticket_open(const struct pc_native *n, const struct pc_native_path *path,
			  const uint8_t *data, size_t len, struct pc_native_ticket *t);

/* --- native_respond.c --- */
void pc_native_first(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		     size_t len);
void pc_native_third(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		     size_t len);

/* --- native_initiate.c --- */
int pc_native_attempt_start(struct pc_native_link *link, const struct pc_native_path *path,
			    bool ik);
void pc_native_attempt_due(struct pc_native_link *link);
void pc_native_second(struct pc_native *n, const struct pc_native_path *path, const uint8_t *data,
		      size_t len);
void pc_native_cookie_input(struct pc_native *n, const uint8_t *data, size_t len);
/* The other side has the keys, too: the first transport frame under `next` came. */
void pc_native_attempt_done(struct pc_native_link *link);

/* --- native_session.c --- */
void pc_native_transport(struct pc_native *n, const struct pc_native_path *path,
			 const uint8_t *data, size_t len);
/* One frame under @k. */
int pc_native_send_plain(struct pc_native *n, struct pc_native_keys *k,
			 const struct pc_native_path *path, const void *plain, size_t len);
int pc_native_send_msg(struct pc_native *n, struct pc_native_keys *k,
		       const struct pc_native_path *path, const struct pc_native_msg *msg);
void pc_native_send_observed(struct pc_native_link *link, struct pc_native_keys *k);
void pc_native_heartbeat_due(struct pc_native_link *link);

#endif
