/* SPDX-License-Identifier: MIT */
/*
 * What the files of the TURN machine share; nobody else includes this.
 *
 * turn.c             dispatch of datagrams, creation, configuration, statistics
 * turn_auth.c        who sends a request (RFC 8489 section 9.2.4)
 * turn_reply.c       answers
 * turn_alloc.c       life of an allocation: tables, expiry, teardown
 * turn_record.c      allocations to and from the store
 * turn_port.c        relayed transport addresses and reservations
 * turn_share.c       who has a peer on a port of several allocations, and what was refused there
 * turn_bind.c        permissions, channels and the flows that follow from them
 * turn_allocate.c turn_refresh.c turn_permission.c turn_channel.c    one method each
 * turn_data.c        application data in both directions
 */
#ifndef PC_RELAY_TURN_INT_H
#define PC_RELAY_TURN_INT_H

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/timer.h"
#include "relay/ports.h"
#include "relay/stranger.h"
#include "relay/stun.h"
#include "relay/turn.h"

#define TURN_PERMISSION_NS  (300 * PC_NS_PER_S) /* RFC 8656 section 9 */
#define TURN_CHANNEL_NS	    (600 * PC_NS_PER_S) /* RFC 8656 section 12 */
#define TURN_RESERVATION_NS (30 * PC_NS_PER_S)	/* RFC 8656 section 7.2 */
#define TURN_CHANNEL_MIN    0x4000
#define TURN_CHANNEL_MAX    0x7FFF /* RFC 5766's range: clients in the field use all of it */
#define TURN_TOKEN_LEN	    8
#define TURN_DEFAULT_TTL    64
#define TURN_UDP_HEADER	    8
#define TURN_UDP_MAX	    65507 /* payload of the largest UDP datagram over IPv4 */
#define TURN_CHANNEL_HEADER 4
#define TURN_METHODS	    16

/* A relayed port, bound while anybody has it. */
struct pc_turn_socket {
	struct pc_hnode node; /* in pc_turn.sockets */
	void *handle;	      /* of the caller */
	struct pc_addr local;
	unsigned int ip; /* index of its relay address in the configuration */
	uint32_t users;	 /* allocations; a reservation is one */
	bool shared;	 /* others may join */
	bool held;	 /* by a reservation: no allocation has it yet */
};

/* One relayed transport address of an allocation. */
struct pc_turn_port {
	struct pc_turn_socket *socket; /* NULL: there is none */
	uint64_t expires_ns;
};

/* On one socket one allocation at a time has a permission for an address. */
struct pc_turn_permission {
	struct pc_hnode node; /* in pc_turn.holders, by socket and peer */
	struct pc_turn_alloc *alloc;
	struct pc_ip peer;	  /* external address of a relay address */
	bool installed;		  /* the data plane knows it */
	uint64_t expires_ns;	  /* 0: being created by the request at hand */
	uint64_t told_expires_ns; /* as last told to the data plane */
};

struct pc_turn_channel {
	struct pc_addr peer; /* as clients see it: external address of a relayed peer */
	uint16_t number;
	bool installed; /* the data plane has a flow for it */
	uint64_t expires_ns;
	uint64_t flow_expires_ns; /* as last told to the data plane */
};

/* Kept while the machine lives: a tenant cannot refill its budget by starting over. */
struct pc_turn_tenant {
	struct pc_hnode node;
	uint32_t id;
	uint32_t held;	      /* allocations and reservations */
	uint64_t peers_at_ns; /* theoretical arrival time of the next new peer address (GCRA) */
};

struct pc_turn_reservation {
	struct pc_hnode node;
	struct pc_turn *t;
	struct pc_timer timer;
	struct pc_turn_tenant *tenant;
	struct pc_turn_socket *socket;
	uint8_t token[TURN_TOKEN_LEN];
};

struct pc_turn_alloc {
	struct pc_hnode node; /* in pc_turn.allocs, by 5-tuple */
	struct pc_turn *t;
	struct pc_timer timer;
	struct pc_turn_tenant *tenant;
	uint64_t id;
	uint32_t slot;
	struct pc_turn_path path;
	struct pc_turn_port ports[2]; /* by position in the answer; [1] may be closed */
	uint64_t created_ns;
	uint64_t deadline_ns; /* nothing of it expires before */

	/* What its Allocate was answered, for retransmissions. */
	uint8_t txid[PC_STUN_TXID_LEN];
	uint32_t lifetime_s;
	bool has_token;
	uint8_t token[TURN_TOKEN_LEN];
	uint8_t failed_family; /* 4 or 6: refused with failed_code; 0: none */
	uint16_t failed_code;

	bool integrity256;
	enum pc_auth_algorithm algorithm;
	struct pc_auth_key key;
	struct pc_turn_quota quota;

	struct pc_turn_permission **permissions; /* sorted by peer */
	size_t n_permissions, cap_permissions;
	struct pc_turn_channel **channels; /* sorted by number */
	struct pc_turn_channel **by_peer;  /* the same, sorted by peer */
	size_t n_channels, cap_channels;

	/* As long as it has to be, with a zero: most are short, and allocations many. */
	uint16_t username_len;
	char username[];
};

/*
 * Peers that a client of a tenant was refused because another allocation on its port has them: its
 * next port is one where nobody does. In sets; a new one takes the place of the oldest.
 */
#define TURN_REFUSED_SETS 256
#define TURN_REFUSED_WAYS 8
#define TURN_REFUSED_NS	  (60 * PC_NS_PER_S)
struct pc_turn_refused {
	uint64_t tag;
	uint64_t until_ns;
	struct pc_ip peer;
};

struct pc_turn {
	struct pc_turn_config config;
	const struct pc_turn_ops *ops;
	void *ctx;
	uint8_t hash_key[16];
	uint8_t txid_key[16];
	uint64_t txid_counter;
	struct pc_htab allocs;	/* by 5-tuple */
	struct pc_htab sockets; /* by local address */
	struct pc_htab holders; /* pc_turn_permission by socket and peer */
	struct pc_htab reservations;
	struct pc_htab tenants;
	struct pc_timers *timers;
	struct pc_ports *ports[PC_TURN_MAX_RELAY_IPS];
	struct pc_strangers strangers; /* answers to sources that proved nothing */
	struct pc_turn_refused refused[TURN_REFUSED_SETS][TURN_REFUSED_WAYS];
	struct pc_turn_stats stats; /* counters; gauges are filled when asked */
	uint32_t n_permissions, n_channels;
};

/* A request while it is handled. */
struct pc_turn_request {
	struct pc_turn *t;
	const struct pc_turn_path *path;
	const struct pc_stun_msg *msg;
	uint64_t now;
	uint64_t realtime_s;
	struct pc_turn_alloc *alloc; /* of the 5-tuple, or NULL */
	/* Set by pc_turn_authenticate: */
	bool authenticated;
	bool integrity256;
	enum pc_auth_algorithm algorithm;
	struct pc_auth_key key;
	struct pc_turn_user user; /* filled when `looked_up` */
	bool looked_up;
	const char *username; /* points into the message or the allocation; NULL: by hash only */
	size_t username_len;
};

struct pc_turn_reply {
	struct pc_stun_writer sw;
	uint8_t buf[PC_TURN_MAX_REPLY];
};

/* Value of PASSWORD-ALGORITHMS in every challenge. */
#define TURN_PASSWORD_ALGORITHMS_LEN 8
extern const uint8_t pc_turn_password_algorithms[TURN_PASSWORD_ALGORITHMS_LEN];

/* --- turn_auth.c --- */
/* True: go on, req->authenticated. False: an answer was sent, or none is owed. */
bool pc_turn_authenticate(struct pc_turn_request *req);

/* --- turn_reply.c --- */
void pc_turn_reply_begin(const struct pc_turn_request *req, struct pc_turn_reply *r,
			 enum pc_stun_class cls);
void pc_turn_reply_send(const struct pc_turn_request *req, struct pc_turn_reply *r);
void pc_turn_reply_success(const struct pc_turn_request *req); /* without attributes */
void pc_turn_reply_error(const struct pc_turn_request *req, unsigned int code);
/* 401 or 438 with what the client needs to try again. */
void pc_turn_reply_challenge(const struct pc_turn_request *req, unsigned int code);
const char *pc_turn_reason(unsigned int code);

/* --- turn_alloc.c --- */
int pc_turn_ip_compare(const struct pc_ip *a, const struct pc_ip *b);
int pc_turn_addr_compare(const struct pc_addr *a, const struct pc_addr *b);
uint64_t pc_turn_hash_addr(const struct pc_turn *t, const struct pc_addr *addr);
void pc_turn_drop(const struct pc_turn *t, enum pc_turn_drop reason);
struct pc_turn_tenant *pc_turn_tenant_get(struct pc_turn *t, uint32_t id); /* NULL: no memory */
/* The live allocation of a 5-tuple, what has expired already removed; NULL when there is none. */
struct pc_turn_alloc *pc_turn_alloc_find(struct pc_turn *t, const struct pc_turn_path *path,
					 uint64_t now);
/* Removes what has expired. False: the whole allocation had, and is gone. */
bool pc_turn_alloc_live(struct pc_turn_alloc *a, uint64_t now);
/* Empty, in no table, holding nothing but its memory. NULL: no memory. */
struct pc_turn_alloc *pc_turn_alloc_new(struct pc_turn *t, const struct pc_turn_path *path,
					struct pc_turn_tenant *tenant, const char *username,
					size_t username_len);
void pc_turn_alloc_free(struct pc_turn_alloc *a); /* counterpart of pc_turn_alloc_new */
void pc_turn_alloc_publish(
	struct pc_turn_alloc *a); /* into the tables; takes its place in quotas */
/* Flows, ports, slot, record, quota, memory: in this order. */
void pc_turn_alloc_end(struct pc_turn_alloc *a, uint64_t now);
/* Ends one of two relayed addresses with what hangs on it. */
void pc_turn_alloc_end_port(struct pc_turn_alloc *a, struct pc_turn_port *p, uint64_t now);
void pc_turn_alloc_due(struct pc_turn_alloc *a, uint64_t at_ns); /* something expires then */
uint64_t pc_turn_alloc_expires(const struct pc_turn_alloc *a);
/* The open relayed address of @family (4, 6) or NULL. */
struct pc_turn_port *pc_turn_alloc_port(struct pc_turn_alloc *a, uint8_t family);
void pc_turn_alloc_timer(struct pc_timer *timer, uint64_t now);

/* --- turn_record.c --- */
int pc_turn_save(struct pc_turn_alloc *a);

/* --- turn_port.c --- */
/* Index of the relay address whose local or external form is @ip, or -1. */
int pc_turn_relay_ip(const struct pc_turn *t, const struct pc_ip *ip);
/* Local form of a relay address becomes the external one, and back. Others stay. */
void pc_turn_to_external(const struct pc_turn *t, struct pc_addr *addr);
void pc_turn_to_local(const struct pc_turn *t, struct pc_addr *addr);
bool pc_turn_has_family(const struct pc_turn *t, uint8_t family);
/* The socket of a relayed address (local form), or NULL. */
struct pc_turn_socket *pc_turn_socket_find(const struct pc_turn *t, const struct pc_addr *local);
/* One user less; closed after the last one. */
void pc_turn_socket_put(struct pc_turn *t, struct pc_turn_socket *s, uint64_t now);
/*
 * A random port of @family for @a in @ret_port: a free one, or where there is none one that others
 * have too. @even: even and never shared; with @ret_next its successor is held too. Returns 0 or
 * PC_ERR_FULL.
 */
int pc_turn_port_open(struct pc_turn *t, uint8_t family, bool even, const struct pc_turn_alloc *a,
		      uint64_t now, struct pc_turn_port *ret_port,
		      struct pc_turn_socket **ret_next);
/* That very address (restart); others may have it too when @shared. 0 or a negative code. */
int pc_turn_port_open_exact(struct pc_turn *t, const struct pc_addr *local, bool shared,
			    uint64_t now, struct pc_turn_port *ret_port);
void pc_turn_port_close(struct pc_turn *t, struct pc_turn_port *p, uint64_t now);
/* Takes over @held into a reservation that ends by itself. 0 or -ENOMEM. */
int pc_turn_reserve(struct pc_turn *t, struct pc_turn_tenant *tenant, struct pc_turn_socket *held,
		    uint64_t now, uint8_t ret_token[static TURN_TOKEN_LEN]);
/* Gives the reserved port to @a. Returns 0 or PC_ERR_NOT_FOUND. */
int pc_turn_reservation_take(struct pc_turn *t, const uint8_t *token, struct pc_turn_alloc *a,
			     struct pc_turn_port *ret_port);
void pc_turn_reservation_cancel(struct pc_turn *t, const uint8_t *token, uint64_t now);
void pc_turn_reservations_free(struct pc_turn *t, uint32_t tenant, uint64_t now);

/* --- turn_share.c --- */
void pc_turn_holder_add(struct pc_turn *t, struct pc_turn_permission *p);
void pc_turn_holder_remove(struct pc_turn *t, struct pc_turn_permission *p);
/* Who has a permission for @peer on @s, alive or not; NULL: nobody. */
struct pc_turn_permission *pc_turn_holder_find(const struct pc_turn *t,
					       const struct pc_turn_socket *s,
					       const struct pc_ip *peer);
/* The same without what has expired, which is removed; @s may end with it. */
struct pc_turn_permission *pc_turn_holder_live(struct pc_turn *t, const struct pc_turn_socket *s,
					       const struct pc_ip *peer, uint64_t now);
/* Whether another allocation on @a's port has @peer, of whose family @a has an address. */
bool pc_turn_peer_taken(struct pc_turn_alloc *a, const struct pc_ip *peer, uint64_t now);
/* Remembers that @a was refused @peer. */
void pc_turn_refused_add(struct pc_turn_alloc *a, const struct pc_ip *peer, uint64_t now);
/* What @a's client was refused lately. Returns how many. */
unsigned int pc_turn_refused_get(const struct pc_turn *t, const struct pc_turn_alloc *a,
				 uint64_t now, struct pc_ip ret_peers[static TURN_REFUSED_WAYS]);

/* --- turn_bind.c --- */
/* Decodes an XOR-PEER-ADDRESS of a client; relay addresses come out in external form. */
int pc_turn_peer_addr(const struct pc_turn_request *req, const struct pc_stun_attr *attr,
		      struct pc_addr *ret_peer);
/* 0, or 443 or 403. @with_port: the port is judged too. */
unsigned int pc_turn_peer_check(struct pc_turn_alloc *a, const struct pc_addr *peer,
				bool with_port);
struct pc_turn_permission *pc_turn_permission_find(const struct pc_turn_alloc *a,
						   const struct pc_ip *peer);
/* Existing or new (expires_ns 0). NULL: quota, memory, or another allocation on the port has it. */
struct pc_turn_permission *pc_turn_permission_add(struct pc_turn_alloc *a,
						  const struct pc_ip *peer);
void pc_turn_permission_remove(struct pc_turn_alloc *a, struct pc_turn_permission *p);
/*
 * Tells the data plane of a permission that ends at @expires or with its relayed address. @force:
 * even if nothing changed. 0 or PC_ERR_FULL.
 */
int pc_turn_permission_tell(struct pc_turn_alloc *a, struct pc_turn_permission *p,
			    uint64_t expires_ns, bool force);
/* Whether the tenant may name @n more peers now; takes them from its budget. */
bool pc_turn_peers_admit(struct pc_turn_alloc *a, unsigned int n, uint64_t now);
struct pc_turn_channel *pc_turn_channel_find(const struct pc_turn_alloc *a, uint16_t number);
struct pc_turn_channel *pc_turn_channel_by_peer(const struct pc_turn_alloc *a,
						const struct pc_addr *peer);
struct pc_turn_channel *pc_turn_channel_add(struct pc_turn_alloc *a, uint16_t number,
					    const struct pc_addr *peer);
void pc_turn_channel_remove(struct pc_turn_alloc *a, struct pc_turn_channel *ch);
/* Makes the data plane's flow match the binding. @force: even if nothing changed. */
int pc_turn_channel_sync(struct pc_turn_alloc *a, struct pc_turn_channel *ch, bool force);
/* The same for the permission for @peer and the channels to it; NULL: for all. */
void pc_turn_bindings_sync(struct pc_turn_alloc *a, const struct pc_ip *peer, bool force);
/* Removes what @gone says yes to, channels first. Returns whether anything was. */
bool pc_turn_bindings_cut(struct pc_turn_alloc *a,
			  bool (*gone)(const struct pc_turn_alloc *a, const struct pc_addr *peer,
				       bool with_port, uint64_t expires_ns, uint64_t arg),
			  uint64_t arg);

/* --- methods --- */
void pc_turn_allocate(struct pc_turn_request *req);
void pc_turn_refresh(struct pc_turn_request *req);
void pc_turn_create_permission(struct pc_turn_request *req);
void pc_turn_channel_bind(struct pc_turn_request *req);

/* --- turn_data.c --- */
void pc_turn_send_indication(struct pc_turn *t, const struct pc_turn_path *path,
			     const struct pc_stun_msg *msg, struct pc_dgram *d, uint64_t now);
void pc_turn_channel_data(struct pc_turn *t, const struct pc_turn_path *path, struct pc_dgram *d,
			  uint64_t now);

/* Lifetime granted for a LIFETIME attribute, RFC 8656 section 7.2. False: malformed. */
bool pc_turn_lifetime(const struct pc_turn_request *req, uint32_t *ret_seconds);
/* Value of a four-byte attribute whose first byte counts. Returns -1: absent, -2: malformed. */
int pc_turn_attr_byte(const struct pc_stun_msg *msg, uint16_t type, size_t len);

#endif
