/* SPDX-License-Identifier: MIT */
/*
 * The data plane seen from user space: load or adopt the pinned XDP program and maps, attach,
 * flows, next hops, counters. Counters of the user-space path live here too, in a mapped file, so
 * that both survive the daemon. Without BPF rights everything works but the kernel half.
 *
 * A fake for tests has the same functions (dp_fake.c, library dp_fake).
 */
#ifndef PC_DP_DP_H
#define PC_DP_DP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/relay.h"
#include "base/addr.h"

struct pc_dp;

enum pc_dp_mode { PC_DP_AUTO, PC_DP_NATIVE, PC_DP_GENERIC, PC_DP_OFF };
const char *pc_dp_mode_name(enum pc_dp_mode mode); /* "auto", "native", "generic", "off" */
int pc_dp_mode_parse(const char *text, enum pc_dp_mode *ret_mode);

/* Whether the program sits behind libxdp's dispatcher, which several programs can share. */
enum pc_dp_share {
	PC_DP_SHARE_AUTO,   /* where there is one already, else alone */
	PC_DP_SHARE_ALWAYS, /* made where there is none and the kernel can, else alone */
	PC_DP_SHARE_OFF,    /* alone, or not at all */
};
int pc_dp_share_parse(const char *text, enum pc_dp_share *ret_share); /* "auto"... */

struct pc_dp_config {
	const char *bpffs; /* directory for pins, e.g. /sys/fs/bpf/pcd; its bpffs is mounted when
			    * missing */
	const char *state_dir; /* counters of the user-space path: STATE_DIR/count.v1 */
	uint32_t max_sessions;
	uint32_t max_tenants;
	uint32_t max_pipes; /* 0: as many as sessions, at most PC_DP_DEFAULT_PIPES */
	uint16_t service_ports[PC_MAX_SERVICE_PORTS]; /* 0 ends the list */
	/* Where they are served, so that nobody is answered in another's name; none: everywhere. */
	struct pc_ip service_addrs[PC_MAX_SERVICE_ADDRS];
	uint16_t relay_low, relay_high;
	bool kernel; /* false: never touch BPF (xdp = off) */
	enum pc_dp_share share;
	const char *object; /* NULL: the built-in program; else a BPF object file (tests) */
};

/* What became of the kernel half, for logs and `pcstat health`. */
struct pc_dp_status {
	bool kernel;		/* program and maps are there */
	bool adopted;		/* they were, before this process */
	int kernel_error;	/* why not: 0 when kernel or not wanted */
	char reason[160];	/* one line for people, "" when kernel */
	uint64_t generation;	/* pc_meta.created_ns: changes when kernel counters start at 0 */
	bool user_counters_new; /* the file was created or reset (host rebooted) */
	/*
	 * Layout of the maps (PC_ABI_VERSION). An older one is only ever seen through
	 * pc_dp_open_readonly, and only its counters can be read then.
	 */
	uint32_t layout;
	uint64_t memory; /* bytes of kernel memory that the maps take now; 0: the kernel does not
			    say */
};

/*
 * Opens. Never fails for want of BPF (see status); returns a negative code when the counter file
 * cannot be made (-ENOSPC, -EACCES...). Adopts pinned state of the same layout; when only the
 * program's build or constants (ports) differ, loads the new program over the old maps and switches
 * the links atomically. Another layout or size: PC_ERR_VERSION in kernel_error, nothing touched.
 */
int pc_dp_open(const struct pc_dp_config *config, struct pc_dp **ret_dp);
/*
 * Read-only view of what is pinned and of the counter file, for pcstat without a daemon, and for
 * the daemon that takes over from an older one (status.layout).
 */
int pc_dp_open_readonly(const char *bpffs, const char *state_dir, struct pc_dp **ret_dp);
/* Closes descriptors. Pins, links and forwarding stay. */
void pc_dp_close(struct pc_dp *dp);
void pc_dp_get_status(const struct pc_dp *dp, struct pc_dp_status *ret_status);

/* --- attaching: steps of the guarded transaction, driven by the daemon --- */

struct pc_dp_link {
	uint32_t ifindex;
	enum pc_dp_mode mode; /* NATIVE or GENERIC */
	bool adopted;	      /* pinned by an earlier daemon */
	bool shared;	      /* behind libxdp's dispatcher */
};
/*
 * Attaches on trial: from guard_deadline (monotonic ns) on the program passes everything on this
 * interface, and the link is not pinned, so it goes with the process; behind a dispatcher it stays,
 * passing everything, until it is opened again. Returns 0, -EBUSY (another
 * program is there), -EOPNOTSUPP (mode not possible) or another negative code. An interface whose
 * link is pinned already is adopted, at once and without trial (link.adopted).
 */
int pc_dp_attach(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode, uint64_t guard_deadline,
		 struct pc_dp_link *ret_link);
/* Another deadline for the trial that is under way. */
void pc_dp_guard(struct pc_dp *dp, uint64_t guard_deadline);
/* Ends the trial: pins the link and lifts the guard. */
int pc_dp_confirm(struct pc_dp *dp, uint32_t ifindex);
/* Takes the program off the interface, on trial or pinned. 0 or -ENOENT. */
int pc_dp_detach(struct pc_dp *dp, uint32_t ifindex);
size_t pc_dp_links(const struct pc_dp *dp, struct pc_dp_link *links, size_t max);
/* Runs the loaded program on ARP, TCP and unrelated UDP frames in memory: 0 when all pass. */
int pc_dp_selftest(struct pc_dp *dp);
/* Without a daemon: unpins and detaches every link, then all maps below @bpffs. How many links. */
int pc_dp_teardown(const char *bpffs, bool keep_maps);

/* --- running --- */

void pc_dp_heartbeat(struct pc_dp *dp, uint64_t now);

/* A channel binding: both directions, in any mix of families. */
struct pc_dp_flow {
	uint32_t slot;
	uint32_t tenant; /* index of its limits; 0: none */
	uint16_t channel;
	struct pc_addr client, server, relayed, peer;
	bool hairpin;
	uint64_t expires_ns;
	uint32_t nexthop_client, nexthop_peer; /* PC_MAX_NEXTHOPS: no way, packets pass */
};
/* 0, PC_ERR_FULL, PC_ERR_STATE (no kernel half) or -errno. */
int pc_dp_flow_set(struct pc_dp *dp, const struct pc_dp_flow *flow);
int pc_dp_flow_del(struct pc_dp *dp, const struct pc_dp_flow *flow);

/* A permission: Send indications to any port of a peer's address, Data indications from it. */
struct pc_dp_perm {
	uint32_t slot;
	uint32_t tenant; /* as above */
	struct pc_addr client, server, relayed;
	struct pc_ip peer;
	bool hairpin;
	uint64_t expires_ns;
	uint32_t nexthop_client, nexthop_peer;
};
/* As above. */
int pc_dp_perm_set(struct pc_dp *dp, const struct pc_dp_perm *perm);
int pc_dp_perm_del(struct pc_dp *dp, const struct pc_dp_perm *perm);

/* A relayed port that is allocated (or no longer): what nothing covers is dropped on it. */
int pc_dp_port_set(struct pc_dp *dp, const struct pc_addr *relayed, bool allocated);

/* A client with an allocation (or no longer): what it sends is no stranger's. 0 or as above. */
int pc_dp_client_set(struct pc_dp *dp, const struct pc_addr *client, const struct pc_addr *server,
		     uint32_t slot);
int pc_dp_client_del(struct pc_dp *dp, const struct pc_addr *client, const struct pc_addr *server);

/*
 * Limits on messages of strangers, per second and burst: by source address (/32, /64), by network
 * (/24, /48), and of all that is left to the daemon. The last is that of a client it knows, beside
 * them. 0 per second: no limit. At once, without a reload.
 */
struct pc_dp_limits {
	uint32_t host_per_s, host_burst;
	uint32_t net_per_s, net_burst;
	uint32_t all_per_s, all_burst;
	uint32_t client_per_s, client_burst;
};
void pc_dp_limits_set(struct pc_dp *dp, const struct pc_dp_limits *limits);

/*
 * What is set from _begin on is collected and written many at a time, for the sessions of an
 * earlier daemon, whose entries are there already. _end writes the rest; a negative code says that
 * not all could be written, and then everything is to be set again, without.
 */
void pc_dp_batch_begin(struct pc_dp *dp);
int pc_dp_batch_end(struct pc_dp *dp);
/* Whether everything that was there at pc_dp_open was set again in batches: no need to sweep. */
bool pc_dp_none_stale(struct pc_dp *dp);
/* Whether an entry that was there at pc_dp_open names this next hop. */
bool pc_dp_nexthop_named(struct pc_dp *dp, uint32_t index);

enum pc_dp_kind { PC_DP_FLOW, PC_DP_PERM, PC_DP_PORT, PC_DP_CLIENT };
/* An entry of the kernel's maps, one direction of a binding or a permission. */
struct pc_dp_entry {
	enum pc_dp_kind kind;
	uint16_t flags;	  /* PC_FLOW_* */
	uint16_t channel; /* flows: as it arrives, or is added */
	struct pc_addr src,
		dst;	   /* of what arrives; a permission's peer has port 0; ports: dst only */
	struct pc_ip peer; /* permissions, up: address in the indication */
	uint32_t slot, nexthop, tenant;
	uint64_t expires_ns;
};
/*
 * Deletes every entry @keep says no to (adoption), flows, permissions, ports and clients. Returns
 * how many, or a negative code.
 */
int pc_dp_sweep(struct pc_dp *dp, bool (*keep)(void *arg, const struct pc_dp_entry *entry),
		void *arg);
/* Number of kernel flow entries of both families, two per binding, and room for them. */
int pc_dp_flow_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size);
/* The same of permissions. */
int pc_dp_perm_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size);
/* The map that is closest to being full ("flow4", "perm6"...): its use, for warnings. */
int pc_dp_fullest(struct pc_dp *dp, const char **ret_name, uint32_t *ret_used, uint32_t *ret_size);

/*
 * One interface or way out: builds the link header. @vlan: 0 to 2 tags, outermost first, as TCI.
 * dst_mac NULL: unresolved, packets pass.
 */
struct pc_dp_nexthop {
	uint32_t ifindex; /* interface the program is attached to (the lower one of a VLAN) */
	uint16_t mtu;
	uint8_t family; /* of the packets: 6, else IPv4 */
	uint8_t src_mac[6];
	uint8_t dst_mac[6];
	bool resolved;
	unsigned int n_vlans;
	uint16_t vlan[2];
};
int pc_dp_nexthop_set(struct pc_dp *dp, uint32_t index, const struct pc_dp_nexthop *nh);
/* Whether that is what is written there, and leads somewhere. */
bool pc_dp_nexthop_is(struct pc_dp *dp, uint32_t index, const struct pc_dp_nexthop *nh);

/* --- pipes of native peers: docs/protocol/native.md, section 6 --- */

#define PC_DP_DEFAULT_PIPES 4096
#define PC_DP_PIPE_HEADER   24

/*
 * One direction of a pipe: what comes with index @in, or to a relayed port, goes on to out_remote.
 * A side that is plain is a relayed UDP port that talks to one remote address only: no header, no
 * index on the wire, no key. Its direction still has an @in of its own, to be named by.
 */
struct pc_dp_pipe {
	uint32_t in; /* never 0 */
	uint32_t out;
	bool in_plain, out_plain;
	struct pc_addr in_local, in_remote;
	struct pc_addr out_local, out_remote;
	uint8_t in_key[16], out_key[16];
	uint32_t nexthop; /* to out_remote; PC_MAX_NEXTHOPS: no way, frames pass to user space */
	uint64_t expires_ns;
	bool granted; /* only another grant lets it live longer; kept for adoption */
	/* Who pays and is counted, and whether it is up or down for him. */
	uint32_t slot;
	uint32_t tenant; /* index of his limits; 0: none */
	bool up;
	/* The other end is a tenant as well: for him it is the other direction. */
	bool shared;
	uint32_t other_slot, other_tenant;
	uint8_t in_peer[32], out_peer[32]; /* identities, for adoption; zero at a relayed port */
};
/*
 * Adds, or replaces whole; a replay window stays with its index as long as that is set. With and
 * without a kernel half. 0, PC_ERR_FULL, PC_ERR_RANGE or -errno: then nothing changed.
 */
int pc_dp_pipe_set(struct pc_dp *dp, const struct pc_dp_pipe *pipe);
int pc_dp_pipe_del(struct pc_dp *dp, uint32_t in); /* 0 or PC_ERR_NOT_FOUND */
/*
 * All of them, those of an earlier daemon too, until @fn returns non-zero; returns that. @fn may
 * delete the one it is shown, but must not set any.
 */
int pc_dp_pipe_each(struct pc_dp *dp, int (*fn)(void *arg, const struct pc_dp_pipe *pipe),
		    void *arg);
/* Directions in use, and room for them. */
void pc_dp_pipe_usage(const struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size);

/* What somebody pays for, or is to be counted for. */
struct pc_dp_charge {
	uint32_t slot;
	uint32_t tenant;
	bool up;
	uint32_t payload_bytes, wire_bytes;
};
/*
 * The limits of the tenant, then the credit of the session, as the program asks them. PC_REASON_TX,
 * and @tos is as it is to be sent; or the reason why not, which was counted.
 */
enum pc_reason pc_dp_charge(struct pc_dp *dp, const struct pc_dp_charge *charge, uint8_t *tos);
/* Takes back what was charged. */
void pc_dp_charge_undo(struct pc_dp *dp, const struct pc_dp_charge *charge);

/* A datagram on its way through user space. */
struct pc_dp_dgram {
	struct pc_addr local,
		remote; /* in: where it came to, from whom; out: from where, to whom */
	uint8_t *data;	/* UDP payload, with PC_DP_PIPE_HEADER bytes of room in front */
	size_t len;
	uint8_t ttl, tos; /* as it came; as it is to be sent */
	bool plain;	  /* out: leaves from a relayed port, local */
	unsigned int n_charges;
	struct pc_dp_charge charges[2]; /* out: whom to count it for, once it is sent */
};
/*
 * User space's share of the pipes: the same decision as the program's, by the same windows and
 * limits. @d: any datagram to a service port whose first byte is 0x0c. PC_REASON_USER_FORWARD: it
 * was charged, and @d is what is to be sent and then counted; else it is to be dropped, which was
 * counted. @now: monotonic ns.
 */
enum pc_reason pc_dp_user_pipe(struct pc_dp *dp, uint64_t now, struct pc_dp_dgram *d);
/* The same for a datagram on a relayed port; DROP_NO_PERMISSION: no pipe begins there for it. */
enum pc_reason pc_dp_user_pipe_port(struct pc_dp *dp, uint64_t now, struct pc_dp_dgram *d);
/* Counts what was sent, for those who do it one by one. */
void pc_dp_user_sent(struct pc_dp *dp, const struct pc_dp_dgram *d);

/* --- limits of tenants: abi/rate.h, lib/rate.h --- */

/*
 * Shared with the program, so that both paths draw on the same clocks; memory of the process alone
 * without a kernel half. Numbers are those of struct pc_dp_flow.
 */
struct pc_dp_rates {
	uint32_t max_tenants;
	/* By pc_rate_index(), 2 * (max_tenants + 1) of them; those of tenant 0 are not used. */
	struct pc_rate *rate;	     /* written with pc_rate_store() */
	struct pc_rate_clock *clock; /* all zeroes: a new tenant */
	struct pc_rate_lease *lease; /* the user-space path's own */
	struct pc_rate_root *root;   /* one uplink */
	struct pc_credit *quota;     /* by tenant */
	struct pc_credit *credit;    /* by slot; unlimited at first */
};
/* Valid until the data plane is closed. NULL in a read-only view. */
const struct pc_dp_rates *pc_dp_rates(const struct pc_dp *dp);

/* Why limits refused or marked packets. */
enum pc_dp_refused {
	PC_DP_REFUSED_RATE,
	PC_DP_REFUSED_ROOT,
	PC_DP_REFUSED_QUOTA,
	PC_DP_MARKED,
	PC_DP_REFUSED,
};
/*
 * What passed and what did not, both paths together, since the kernel's maps were made. The
 * user-space path's part of the refused is kept in the state directory, as the kernel's is in maps.
 */
struct pc_dp_rate_count {
	uint64_t bytes, dropped_bytes;
	uint32_t drops_rate, drops_root, drops_quota, marks; /* packets, modulo 2^32 */
	uint32_t user[PC_DP_REFUSED];			     /* of the last four */
};
/* By pc_rate_index(), [first, first + n). PC_ERR_RANGE or -errno. */
int pc_dp_rate_counts(struct pc_dp *dp, uint32_t first, uint32_t n,
		      struct pc_dp_rate_count *ret_counts);
uint32_t pc_dp_max_tenants(const struct pc_dp *dp);

/* --- counters --- */

/* Kernel counters of slots [first, first + n), summed over CPUs. Zeroes without a kernel half. */
int pc_dp_count_kernel(struct pc_dp *dp, uint32_t first, uint32_t n, struct pc_count *ret_counts);
/* Counters of the user-space path, max_sessions entries, mapped; the daemon adds to them. */
struct pc_count *pc_dp_count_user(struct pc_dp *dp);
uint32_t pc_dp_max_sessions(const struct pc_dp *dp);
/* By reason: the kernel's, summed over CPUs, and the user-space path's (mapped, to add to). */
int pc_dp_reasons_kernel(struct pc_dp *dp, uint64_t ret_counts[static PC_REASON_COUNT]);
uint64_t *pc_dp_reasons_user(struct pc_dp *dp); /* PC_REASON_SLOTS entries */

struct pc_reason_info {
	const char *name;
	const char *kind; /* "forward", "pass", "drop" */
	const char *text;
};
const struct pc_reason_info *pc_dp_reason_info(enum pc_reason reason);

#endif
