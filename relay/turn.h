/* SPDX-License-Identifier: MIT */
/*
 * A STUN and TURN server over UDP (RFC 8489, RFC 8656) as a machine without I/O: datagrams and the
 * time come in through functions, effects go out through struct pc_turn_ops. Not thread-safe.
 */
#ifndef PC_RELAY_TURN_H
#define PC_RELAY_TURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "relay/auth.h"
#include "relay/policy.h"

struct pc_turn;
struct pc_turn_socket; /* a relayed port, of one allocation or of several */

#define PC_TURN_MAX_RELAY_IPS 8
#define PC_TURN_MAX_SECRETS   8
#define PC_TURN_NO_SLOT	      UINT32_MAX
/* Writable bytes in front of and behind every datagram handed in: headers are built in place. */
#define PC_TURN_HEADROOM 64
#define PC_TURN_TAILROOM 4
/* Largest control message sent by the server. */
#define PC_TURN_MAX_REPLY 1280

/* One datagram. ttl and tos are those it arrived with, or is to be sent with. */
struct pc_dgram {
	uint8_t *data;
	size_t len;
	uint8_t ttl;
	uint8_t tos;
	bool dont_fragment;
	/*
	 * For ops: true when @data points into the datagram that was handed in (which stays valid
	 * until the caller reuses its buffer), false when it is valid only during the call.
	 */
	bool in_place;
};

/* Where a client's datagram came in: which service socket, and both ends. */
struct pc_turn_path {
	uint32_t listener; /* index given by the caller */
	struct pc_addr server;
	struct pc_addr client;
};

/* Why user space dropped a datagram; the daemon maps these onto the reasons of the data plane. */
enum pc_turn_drop {
	PC_TURN_DROP_MALFORMED,
	PC_TURN_DROP_LENGTH,
	PC_TURN_DROP_TTL,
	PC_TURN_DROP_UNAUTHENTICATED,
	PC_TURN_DROP_SOURCE_RATE,
	PC_TURN_DROP_NO_ALLOCATION,
	PC_TURN_DROP_NO_CHANNEL,
	PC_TURN_DROP_NO_PERMISSION,
	PC_TURN_DROP_PEER_POLICY,
	PC_TURN_DROP_COUNT
};

/* A channel binding as the data plane needs it. Addresses are local ones (not external). */
struct pc_turn_flow {
	uint32_t slot;
	uint16_t channel;
	struct pc_addr client;
	struct pc_addr server;
	struct pc_addr relayed;
	struct pc_addr peer;
	bool hairpin;	     /* peer is a relayed address of this node */
	uint64_t expires_ns; /* monotonic; the earliest of allocation, permission and channel */
};

/*
 * A permission as the data plane needs it, for Send and Data indications. Addresses are local ones,
 * but the peer's, which is as clients name it.
 */
struct pc_turn_perm {
	uint32_t slot;
	struct pc_addr client;
	struct pc_addr server;
	struct pc_addr relayed; /* of the peer's family */
	struct pc_ip peer;
	bool hairpin; /* peer is a relay address of this node */
	/*
	 * User space has to relay it: the peer is a relay address behind NAT, in its external form,
	 * and a packet between two sessions shows the local one.
	 */
	bool user_space;
	uint64_t expires_ns; /* monotonic; the earlier of allocation and permission */
};

/* What one tenant may hold at a time; 0 means none at all. */
struct pc_turn_quota {
	uint32_t allocations;
	uint32_t permissions; /* per allocation */
	uint32_t channels;    /* per allocation */
	uint32_t peers_per_s; /* new peer addresses per second */
};

/* Answer of ops->lookup. */
struct pc_turn_user {
	uint32_t tenant;
	struct pc_turn_quota quota;
	/* The name that belongs to the hash, when looked up by hash; otherwise left alone. */
	uint16_t name_len;
	char name[PC_AUTH_NAME_MAX + 1];
	/* Keys to try, in order (several live secrets give several). */
	struct pc_auth_key keys[PC_TURN_MAX_SECRETS];
	unsigned int n_keys;
};

#define PC_TURN_MAX_PERMISSIONS 512 /* hard bound per allocation, whatever the quota */
#define PC_TURN_MAX_CHANNELS	512

struct pc_turn_saved_permission {
	struct pc_ip peer;
	uint64_t expires_ns;
};

struct pc_turn_saved_channel {
	uint16_t number;
	struct pc_addr peer;
	uint64_t expires_ns;
};

/*
 * An allocation as the store keeps it: all that is needed to go on after a restart. The arrays are
 * owned by whoever filled the record. Times are monotonic of the running host.
 */
struct pc_turn_record {
	uint64_t id;
	uint32_t slot;
	uint32_t tenant;
	struct pc_turn_path path;
	struct pc_addr relayed[2]; /* local addresses; [1].ip.family 0 when there is one only */
	uint64_t expires_ns;
	uint64_t relayed_expires_ns[2]; /* each address of its own; 0: as expires_ns */
	bool relayed_shared[2];		/* other allocations may have the same address */
	uint64_t created_ns;
	uint8_t txid[12]; /* of the Allocate request, to answer its retransmissions */
	bool integrity256;
	enum pc_auth_algorithm algorithm;
	struct pc_auth_key key;
	struct pc_turn_quota quota;
	uint16_t username_len;
	char username[PC_AUTH_NAME_MAX + 1];
	const struct pc_turn_saved_permission *permissions;
	size_t n_permissions;
	const struct pc_turn_saved_channel *channels;
	size_t n_channels;
};

struct pc_turn_ops {
	/* Sends to a client from the service socket it talked to. Must not fail visibly. */
	void (*send_client)(void *ctx, const struct pc_turn_path *path, const struct pc_dgram *d);
	/* Sends from an open relay port. Counted by the machine through `count`. */
	void (*send_peer)(void *ctx, void *port, const struct pc_addr *peer,
			  const struct pc_dgram *d);
	/*
	 * Opens (binds) @local: datagrams that arrive there are to be handed to pc_turn_peer_input
	 * with @socket. @socket NULL: only hold the port (reservation); the machine later calls
	 * port_assign. A port is opened once, for its first allocation, and closed after its last.
	 * Returns 0 or -errno (-EADDRINUSE: another port is tried).
	 */
	int (*port_open)(void *ctx, const struct pc_addr *local, struct pc_turn_socket *socket,
			 void **ret_port);
	void (*port_assign)(void *ctx, void *port, struct pc_turn_socket *socket);
	void (*port_close)(void *ctx, void *port);
	/* Counter slot for a new allocation. Returns 0 or PC_ERR_FULL. */
	int (*slot_open)(void *ctx, uint64_t id, uint32_t tenant, uint32_t *ret_slot);
	void (*slot_close)(void *ctx, uint32_t slot);
	/* Adds or replaces. Returns 0 or PC_ERR_FULL; other failures leave it to user space (0). */
	int (*flow_set)(void *ctx, const struct pc_turn_flow *flow);
	void (*flow_del)(void *ctx, const struct pc_turn_flow *flow);
	/* The same for permissions. */
	int (*perm_set)(void *ctx, const struct pc_turn_perm *perm);
	void (*perm_del)(void *ctx, const struct pc_turn_perm *perm);
	/* A client has an allocation from now on (also restored ones), or has it no longer. */
	void (*client_set)(void *ctx, const struct pc_turn_path *path, uint32_t slot);
	void (*client_del)(void *ctx, const struct pc_turn_path *path);
	/*
	 * Whether a datagram of the session may be sent on now, as the limits of its tenant have
	 * it: asked last, when nothing else stands against it. @d is what is to be sent; its tos
	 * may be changed (CE, DSCP). @wire_bytes: IP total length. One between two tenants is asked
	 * for twice: up for the sender, then down for the receiver, who may refuse what the first
	 * has paid for. Who says no counts the drop: it alone knows which limit it was.
	 */
	bool (*admit)(void *ctx, uint32_t slot, bool up, struct pc_dgram *d, uint32_t payload_bytes,
		      uint32_t wire_bytes);
	/*
	 * A datagram was forwarded by user space. @up: from the tenant. Called right after the send
	 * it is about (twice for a datagram between two tenants): what a socket refuses when the
	 * batch is sent is taken back from this count.
	 */
	void (*count)(void *ctx, uint32_t slot, bool up, uint32_t payload_bytes,
		      uint32_t wire_bytes);
	void (*drop)(void *ctx, enum pc_turn_drop reason);
	/*
	 * Makes the allocation durable before its answer is sent. Returns 0 or a negative code, on
	 * which a new allocation is refused with 508.
	 */
	int (*save)(void *ctx, const struct pc_turn_record *record);
	void (*forget)(void *ctx, uint64_t id);
	/*
	 * Finds a user by name (@userhash NULL) or by hash (@name NULL) and derives the keys of
	 * @algorithm. @realtime_s judges time-limited names. Returns 0 or PC_ERR_NOT_FOUND.
	 */
	int (*lookup)(void *ctx, const char *name, size_t name_len, const uint8_t *userhash,
		      enum pc_auth_algorithm algorithm, uint64_t realtime_s,
		      struct pc_turn_user *ret_user);
	/* System randomness. */
	void (*random)(void *ctx, void *buf, size_t len);
};

struct pc_turn_relay_ip {
	struct pc_ip local;
	struct pc_ip external; /* what clients are told; same as local without NAT */
};

struct pc_turn_config {
	char realm[128];
	struct pc_turn_relay_ip relay_ips[PC_TURN_MAX_RELAY_IPS];
	unsigned int n_relay_ips;
	uint16_t port_low, port_high;
	uint32_t max_allocations;
	uint32_t default_lifetime_s; /* 600 */
	uint32_t max_lifetime_s;     /* 3600 */
	struct pc_addr alternate;    /* set: new Allocates are answered 300 with it (drain) */
	bool draining;		     /* no new allocations: 508, or 300 when alternate is set */
	/*
	 * Replies to sources that proved nothing: per second and /32 or /64, bursts of twice that;
	 * to a /24 or /48 16 times as many.
	 */
	uint32_t stranger_replies_per_s; /* 0: unlimited */
	struct pc_nonce_keys nonce_keys;
	const struct pc_policy *policy; /* borrowed; must outlive its replacement */
};

/* @config is copied, @ops and @ctx borrowed. Returns 0, -ENOMEM or PC_ERR_RANGE. */
int pc_turn_new(const struct pc_turn_config *config, const struct pc_turn_ops *ops, void *ctx,
		uint64_t now, struct pc_turn **ret_turn);
/* Closes ports but neither flows, slots nor records: the data plane goes on, the store keeps all.
 */
void pc_turn_free(struct pc_turn *t);
/*
 * Swaps configuration: realm, lifetimes, limits, keys, policy (channels and permissions that no
 * longer comply are cut). Relay addresses and ports may not change: PC_ERR_STATE.
 */
int pc_turn_reconfigure(struct pc_turn *t, const struct pc_turn_config *config, uint64_t now);

/* A datagram from a client. @d needs PC_TURN_HEADROOM and PC_TURN_TAILROOM around it. */
void pc_turn_input(struct pc_turn *t, const struct pc_turn_path *path, struct pc_dgram *d,
		   uint64_t now, uint64_t realtime_s);
/*
 * A datagram from @peer on a relay port (NULL: the port is only held). @socket may end during this
 * call and those below: then port_close was called.
 */
void pc_turn_peer_input(struct pc_turn *t, struct pc_turn_socket *socket,
			const struct pc_addr *peer, struct pc_dgram *d, uint64_t now);
/*
 * An ICMP error about a datagram sent to @peer (RFC 8656 section 11.5). @data: 4 bytes (MTU). True:
 * the client was told.
 */
bool pc_turn_peer_icmp(struct pc_turn *t, struct pc_turn_socket *socket, const struct pc_addr *peer,
		       uint8_t type, uint8_t code, uint32_t data, uint64_t now);
/* The same when only the address of the port it was sent from is known. */
bool pc_turn_relayed_icmp(struct pc_turn *t, const struct pc_addr *local,
			  const struct pc_addr *peer, uint8_t type, uint8_t code, uint32_t data,
			  uint64_t now);
/* Whether the client of @path has an allocation. */
bool pc_turn_serves(struct pc_turn *t, const struct pc_turn_path *path, uint64_t now);

/*
 * A relayed port for another use than an allocation's: of the same range, and with the same care
 * for ports that end. Opened by ops->port_open without a socket; nobody shares it.
 */
struct pc_turn_lent {
	struct pc_turn_socket *socket;
	void *handle;		/* of ops->port_open */
	struct pc_addr local;	/* bound */
	struct pc_addr relayed; /* as others see it */
};
/* @exact: that port, NULL: any of @family. 0, PC_ERR_FULL, PC_ERR_EXISTS, PC_ERR_RANGE, -errno. */
int pc_turn_port_lend(struct pc_turn *t, uint8_t family, const struct pc_addr *exact, uint64_t now,
		      struct pc_turn_lent *ret_lent);
void pc_turn_port_return(struct pc_turn *t, struct pc_turn_lent *lent, uint64_t now);

/* Expires what is due. pc_turn_next_deadline: monotonic ns, UINT64_MAX when nothing waits. */
void pc_turn_tick(struct pc_turn *t, uint64_t now);
uint64_t pc_turn_next_deadline(const struct pc_turn *t);

/* So many sessions are about to be restored: makes room for them at once. */
void pc_turn_expect(struct pc_turn *t, size_t sessions);
/*
 * Takes an allocation up again after a restart; its slot is already open. Returns 0 or a negative
 * code: PC_ERR_NOT_FOUND when it has expired, -errno when its port cannot be opened again. Then it
 * is over: slot_close and forget were called.
 */
int pc_turn_restore(struct pc_turn *t, const struct pc_turn_record *record, uint64_t now);
/* Calls ops->flow_set and perm_set again for every binding (after routes changed). */
void pc_turn_resync_flows(struct pc_turn *t, uint64_t now);
/* Ends every allocation of @tenant (deleted tenant), or all with UINT32_MAX. Returns how many. */
unsigned int pc_turn_end_tenant(struct pc_turn *t, uint32_t tenant, uint64_t now);

struct pc_turn_stats {
	uint32_t allocations;
	uint32_t channels;
	uint32_t permissions;
	uint32_t ports_in_use;
	uint32_t ports_shared;	/* with several allocations */
	uint32_t port_sessions; /* most allocations on one port */
	uint64_t conflicts;	/* peers refused because another allocation on the port has them */
	uint64_t requests[16];	/* by STUN method */
	uint64_t errors[8];	/* by hundreds: [4] is 4xx */
	uint64_t challenges;	/* 401 and 438 sent */
	/* Datagrams of data that user space relayed or looked at. */
	uint64_t data_up;
	uint64_t data_down;
};
void pc_turn_get_stats(const struct pc_turn *t, struct pc_turn_stats *ret_stats);

struct pc_turn_view {
	uint64_t id;
	uint32_t slot;
	uint32_t tenant;
	struct pc_turn_path path;
	struct pc_addr relayed[2]; /* external addresses */
	uint64_t expires_ns;
	uint64_t created_ns;
	uint32_t permissions;
	uint32_t channels;
	const char
		*username; /* not NUL-terminated by peers: it is here, escaped by whoever prints */
};
/* Calls @fn for each allocation until it returns non-zero, and returns that. */
int pc_turn_each(const struct pc_turn *t, int (*fn)(void *arg, const struct pc_turn_view *view),
		 void *arg);

#endif
