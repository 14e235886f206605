/* SPDX-License-Identifier: MIT */
/*
 * `pcpeer up`: sessions with relays, sessions and pipes with peers, and the datagrams of services
 * through them.
 *
 * up.c      life: files, loop, signals, time
 * keys.c    what sessions begin with
 * relay.c   sessions with relays, calls, pipes
 * peer.c    the other ends: what comes from the network and goes to it
 * connect.c listeners for services of peers: a flow for each local client
 * call.c    their pipes: calls, by grants where there are some
 * grant.c   grants, and their files
 * expose.c  services for peers: a socket for each of their flows
 * path.c    what paths carry
 * control.c the control socket
 * net.c     datagrams in batches
 */
#ifndef PC_PCPEER_AGENT_H
#define PC_PCPEER_AGENT_H

#include <ev.h>
#include <jansson.h>

#include "account/identity.h"
#include "base/clock.h"
#include "base/htab.h"
#include "config.h"
#include "grant.h"
#include "net.h"
#include "relay/native_e2e.h"

#define PLAIN_HEADER   6 /* kind 1 | zero 1 | port 2 | flow 2 */
#define PLAIN_TO       1 /* to the service */
#define PLAIN_FROM     2
#define FLOW_IDLE_NS   (180 * PC_NS_PER_S)
#define MAX_CLIENTS    4096 /* flows of one listener */
#define MAX_FLOWS      4096 /* of all exposed services */
#define MAX_PEERS      256
#define MAX_PIPES      256		 /* of one relay */
#define MAX_PATHS      16		 /* that carry less than a frame */
#define CALL_NS	       (2 * PC_NS_PER_S) /* for the answer to a call, before another relay */
#define WAITING_FRAMES 16		 /* datagrams that wait for the peer */
#define PROBLEM_STRLEN 160

struct agent;
struct connect;

struct relay {
	struct agent *a;
	unsigned int number;
	struct relay_spec spec;
	struct pc_agent *agent;
	struct pc_native_link *link; /* NULL: no session, nor one that is being made */
	bool up, registered;
	struct pc_addr observed;
	uint64_t retry_ns, wait_ns; /* 0: nothing to retry */
	uint64_t tried_ns, hint_ns; /* when to say that nobody answers; 0: never */
	char problem[PROBLEM_STRLEN];
};

/* A pipe that is up, and whose call it was. */
struct held {
	struct relay *relay;
	struct pc_agent_pipe *pipe;
	struct pc_e2e_way *way;
	struct connect *connect; /* NULL: theirs */
	bool told;		 /* they know our candidates */
	struct held *next, **pprev;
};

struct client {
	struct pc_hnode by_addr;
	struct pc_addr addr;
	uint16_t flow;
	uint64_t used_ns;
};

struct connect {
	struct agent *a;
	struct connect *next;
	struct connect_spec spec;
	struct grants grants; /* empty: it asks without */
	int fd;
	ev_io io;
	struct pc_htab by_addr;
	struct client **by_flow; /* 65536 */
	uint16_t last_flow;
	unsigned int n_clients;
	struct held *held; /* the pipe */
	struct relay *calling;
	uint32_t call;
	uint64_t call_ns, retry_ns, wait_ns;
	unsigned int next_relay, refusals;
	struct {
		uint8_t *plain;
		size_t len;
	} waiting[WAITING_FRAMES];
	unsigned int n_waiting;
	uint64_t sent, received, dropped;
	char problem[PROBLEM_STRLEN];
};

struct expose {
	struct agent *a;
	struct expose *next;
	struct expose_spec spec;
	uint64_t sent, received, dropped;
	unsigned int n_flows;
};

/* What one client of a peer has with a service of ours. */
struct flow {
	struct agent *a;
	struct pc_hnode by_key;
	struct flow *next, **pprev;
	uint8_t peer[32];
	struct expose *expose;
	uint16_t number;
	int fd;
	ev_io io;
	uint64_t used_ns;
};

struct path {
	struct pc_addr to;
	unsigned int mtu;
	uint64_t until_ns; /* then what is too large is tried again */
};

struct agent {
	struct ev_loop *loop;
	struct config config;
	struct pc_identity id;
	struct trust trust;
	struct grants grants;	  /* of listeners without their own */
	struct pc_native *native; /* sessions with relays */
	struct pc_e2e *e2e;
	struct relay relay[CONFIG_RELAYS];
	int wan[2]; /* sockets, IPv4 and IPv6; -1: none */
	ev_io wan_io[2];
	struct net_out out[2], local;
	struct path paths[MAX_PATHS];
	unsigned int n_paths;
	uint64_t too_large; /* frames that a path did not carry */
	struct held *helds;
	struct connect *connects;
	struct expose *exposes;
	struct pc_htab flows;
	struct flow *all_flows;
	unsigned int n_flows;
	uint8_t hash_key[16];
	ev_timer timer, slow;
	ev_prepare prepare;
	ev_signal signals[3];
	struct control *control;
	uint64_t now, realtime_s, statement_end_s;
	unsigned int wan_current; /* the socket that is read */
	uint64_t started_ns, no_room;
	struct pc_log_limit log;
	bool ending;
};

/* --- up.c --- */
int agent_run(const struct config *c, const struct pc_identity *id, const struct grants *grants);
uint64_t agent_realtime_s(void);		   /* since 1970; 0: there is no clock */
void agent_clock(struct agent *a);		   /* sets now */
void agent_arm(struct agent *a);		   /* something may be due earlier */
const char *id_text(const uint8_t key[static 32]); /* static storage, a few at a time */
const char *addr_text(const struct pc_addr *addr); /* the same */

/* --- keys.c --- */
/* To be wiped. 0 or PC_ERR_UNSUPPORTED. */
int native_config(struct agent *a, struct pc_native_config *ret_config);
void statements_renew(struct agent *a); /* before they end */

/* --- relay.c --- */
int relays_new(struct agent *a);
void relays_free(struct agent *a);
void relays_begin(struct agent *a);
void relays_tick(struct agent *a);
uint64_t relays_deadline(const struct agent *a);
struct relay *relay_at(struct agent *a, const struct pc_addr *addr);
struct relay *relay_named(struct agent *a, const uint8_t identity[static 32]);
void relay_frame(struct relay *r, uint8_t *data, size_t len);
void relay_suspect(struct relay *r); /* a pipe of it does not answer */
void held_close(struct held *h, uint16_t reason);
void candidates_send(struct held *h);

/* --- peer.c --- */
int peers_new(struct agent *a);
void peers_free(struct agent *a);
int wan_open(struct agent *a);
void wan_send(struct agent *a, unsigned int family, const struct pc_addr *to, const void *data,
	      size_t len);
unsigned int wan_of(const struct pc_addr *addr); /* index of the socket for it */
/* @plain: PLAIN_HEADER and a datagram. 0, or as pc_e2e_seal. */
int peer_send(struct agent *a, struct pc_e2e_peer *peer, const uint8_t *head, const uint8_t *data,
	      size_t len);
void peer_take(struct agent *a, struct pc_e2e_peer *peer, uint8_t *plain, size_t len);
/* Its session and its pipes end. */
void peer_dismiss(struct agent *a, struct pc_e2e_peer *peer);
void write_head(uint8_t head[static PLAIN_HEADER], uint8_t kind, uint16_t port, uint16_t flow);

/* --- path.c --- */
/* Largest frame on the way to @to, as far as we know. */
size_t path_room(struct agent *a, const struct pc_addr *to);
size_t path_payload(const struct path *p);
size_t path_datagram(const struct path *p); /* largest one of a service */
/* For struct net_out. */
void path_too_large(void *ctx, int fd, const struct pc_addr *to, const uint8_t *data, size_t len);

/* --- connect.c --- */
/* @grants empty: those of the agent. 0 with @ret_connect, -EADDRINUSE and others. */
int connect_new(struct agent *a, const struct connect_spec *spec, const struct grants *grants,
		struct connect **ret_connect);
void connect_free(struct connect *c);
struct connect *connect_find(struct agent *a, const uint8_t peer[static 32], uint16_t port);
void connect_ready(struct agent *a, struct pc_e2e_peer *peer);
void connects_expire(struct agent *a);
/* A datagram from the service, for one of our clients. */
void connect_take(struct agent *a, struct pc_e2e_peer *peer, uint16_t port, uint16_t flow,
		  uint8_t *data, size_t len);

/* --- call.c --- */
void connect_call(struct connect *c); /* asks the next relay */
struct connect *connect_by_call(struct agent *a, const struct relay *r, uint32_t call);
void connect_opened(struct connect *c, struct held *h);
void connect_refused(struct connect *c, uint16_t reason);
void connect_pipe_down(struct connect *c, const struct relay *r, uint16_t reason);
void connect_silent(struct connect *c);
void connect_down(struct agent *a, struct pc_e2e_peer *peer, uint16_t reason);
void connect_relay_up(struct agent *a);
/* Later grants, for a pipe that there is, or for the next one. */
void connect_grants(struct connect *c, const struct grants *more);
void connects_tick(struct agent *a);
uint64_t connects_deadline(const struct agent *a);

/* --- expose.c --- */
int expose_new(struct agent *a, const struct expose_spec *spec, struct expose **ret_expose);
void expose_free(struct expose *x);
struct expose *expose_find(struct agent *a, uint16_t port);
bool expose_allows(struct agent *a, const struct expose *x, const uint8_t peer[static 32]);
/* Whether @peer may have a session with us at all. */
bool expose_welcome(struct agent *a, const uint8_t peer[static 32]);
void expose_take(struct agent *a, struct pc_e2e_peer *peer, uint16_t port, uint16_t flow,
		 uint8_t *data, size_t len);
void flows_expire(struct agent *a);
/* Flows of peers that are not welcome any more end. */
void flows_check(struct agent *a);

/* --- control.c --- */
int control_new(struct agent *a, struct control **ret_control);
void control_free(struct control *c);
/* --- status.c --- */
json_t *status_report(struct agent *a);

#endif
