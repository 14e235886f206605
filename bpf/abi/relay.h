/* SPDX-License-Identifier: MIT */
/*
 * What the XDP relay program and user space share: map keys and values, their names, limits.
 *
 * Rules: fixed-width types, no implicit padding, every size asserted. Keys are compared as raw
 * memory, so their reserved fields are zero. What is pinned carries PC_ABI_VERSION in its name;
 * a change of any layout here raises it.
 */
#ifndef PC_ABI_RELAY_H
#define PC_ABI_RELAY_H

#include <linux/types.h>

#include "abi/rate.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#define PC_ABI_MAGIC   0x50434450u /* "PCDP" */
#define PC_ABI_VERSION 4

/* Names of maps, programs and links, in the object file and under the bpffs directory. */
#define PC_MAP_META    "pc4_meta"
#define PC_MAP_CTL     "pc4_ctl"
#define PC_MAP_FLOW4   "pc4_flow4"
#define PC_MAP_FLOW6   "pc4_flow6"
#define PC_MAP_HOT4    "pc4_hot4"
#define PC_MAP_HOT6    "pc4_hot6"
#define PC_MAP_PERM4   "pc4_perm4"
#define PC_MAP_PERM6   "pc4_perm6"
#define PC_MAP_PORT    "pc4_port"
#define PC_MAP_CLIENT  "pc4_client"
#define PC_MAP_LIMIT   "pc4_limit"
#define PC_MAP_COUNT   "pc4_count"
#define PC_MAP_DROPS   "pc4_drops"
#define PC_MAP_REASON  "pc4_reason"
#define PC_MAP_NEXTHOP "pc4_nexthop"
#define PC_MAP_TXPORT  "pc4_txport"
/* Limits of tenants: see abi/rate.h. */
#define PC_MAP_RATE   "pc4_rate"
#define PC_MAP_CLOCK  "pc4_clock"
#define PC_MAP_LEASE  "pc4_lease"
#define PC_MAP_ROOT   "pc4_root"
#define PC_MAP_QUOTA  "pc4_quota"
#define PC_MAP_CREDIT "pc4_credit"
#define PC_PROG_RELAY "pc4_relay"
/* Pinned link of one interface: PC_LINK_PREFIX "IFINDEX". */
#define PC_LINK_PREFIX	     "pc4_link_"

#define PC_MAX_SERVICE_PORTS 4
#define PC_MAX_SERVICE_ADDRS 4
#define PC_MAX_NEXTHOPS	     4096
#define PC_MAX_TXPORTS	     64
#define PC_L2_MAX	     24
#define PC_HOT_WAYS	     4
/* Control packets are dropped when the heartbeat is older than this. */
#define PC_HEARTBEAT_STALE_NS 3000000000ull

enum pc_reason {
#define PC_REASON(sym, kind, name, text) PC_REASON_##sym,
#include "reasons.def"
#undef PC_REASON
	PC_REASON_COUNT
};
/* Size of the reason map: room to append without a new layout. */
#define PC_REASON_SLOTS 64

/* pc4_meta, ARRAY of 1: who made these maps. */
struct pc_meta {
	__u32 magic;
	__u32 abi_version;
	__u32 max_sessions;
	__u32 max_tenants;
	__u64 created_ns; /* CLOCK_REALTIME: tells one generation of counters from the next */
	char build[40];	  /* version of the program that is loaded */
};

/*
 * pc4_ctl, ARRAY of 1, BPF_F_MMAPABLE: what the daemon tells the program while it runs.
 * Each field is written alone with one aligned store.
 */
struct pc_ctl {
	__u64 heartbeat_ns;	 /* CLOCK_MONOTONIC of the daemon's last sign of life */
	__u64 guard_deadline_ns; /* on guard_ifindex everything passes after this time */
	__u32 guard_ifindex;	 /* interface on trial; 0: none */
	/*
	 * Limits on messages that are not data of a known flow: nanoseconds between two of one
	 * source address (/32, /64) and of one network (/24, /48), and how far ahead a burst may
	 * run. interval 0: no limit.
	 */
	__u32 limit_host_interval_ns;
	__u32 limit_net_interval_ns;
	__u32 limit_host_burst_ns;
	__u32 limit_net_burst_ns;
	/* The same of what the daemon gets of all strangers, and of one client it knows. */
	__u32 limit_all_interval_ns;
	__u32 limit_all_burst_ns;
	__u32 limit_client_interval_ns;
	__u32 limit_client_burst_ns;
	__u32 reserved;
};

/*
 * pc4_flow4 and pc4_flow6, HASH: what arrives -> what is sent. One entry per direction.
 *   up:   client -> service address, channel number  => relayed address -> peer, plain UDP
 *   down: peer -> relayed address, channel 0         => service address -> client, ChannelData
 * The key has the family of what arrives, the value that of what is sent: they may differ.
 */
struct pc_flow4_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__be16 channel; /* as on the wire; 0 where there is none */
	__u16 reserved;
};

struct pc_flow6_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__be16 channel;
	__u16 reserved;
};

#define PC_FLOW_UP	0x0001 /* from the tenant: a header is stripped, counted as up */
#define PC_FLOW_HAIRPIN 0x0002 /* the peer is another relayed address of this node */
#define PC_FLOW_OUT6	0x0004 /* what is sent is IPv6 */
#define PC_FLOW_PIPE	0x0008 /* see pc4_pipe in abi/pipe.h */
#define PC_FLOW_PERM	0x0010 /* in pc4_hot4 and pc4_hot6 alone: made of a permission */

struct pc_flow {
	__u64 expires_ns; /* CLOCK_MONOTONIC */
	__be32 saddr[4];  /* of the packet that is sent; IPv4 in the first */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__be16 channel; /* header to add; 0: none */
	__u16 flags;	/* PC_FLOW_* */
	__u32 slot;	/* counters of the session */
	__u32 nexthop;	/* index into pc4_nexthop; unused with PC_FLOW_HAIRPIN */
	/*
	 * One's complement sums of (new - old), folded to 16 bits, in the byte order of the packet
	 * (as if loaded by plain 16-bit loads). l3_diff: addresses, IPv4 to IPv4 only (0 elsewhere:
	 * the header is made anew). l4_diff: addresses and ports, in whatever families, and the
	 * channel number: up taken out, down put in. Lengths and TTL are added by the program.
	 */
	__u16 l3_diff;
	__u16 l4_diff;
	__u32 tenant; /* index of the tenant's limits; 0: none */
};

/*
 * pc4_hot4, ARRAY, BPF_F_MMAPABLE: copies of entries of pc4_flow4, found faster (lib/hot.h). A
 * place is free when the second word of its key is zero; or all ones, if all flows of pc4_flow4
 * that belong to this set lie in it. The writer clears that word, copies the flow, then writes the
 * key with it last. A flow whose set is full is in pc4_flow4 alone. Permissions of one family that
 * are no hairpins take places that are left, as flows with PC_FLOW_PERM.
 */
struct pc_hot4 {
	struct pc_flow4_key key[PC_HOT_WAYS]; /* one cache line */
	struct pc_flow flow[PC_HOT_WAYS];
};

/* pc4_hot6: the same for pc4_flow6. A key's last word is apart, to be compared first. */
struct pc_hot6 {
	__u64 tail[PC_HOT_WAYS]; /* ports, channel; 0 or all ones: free */
	__u64 addrs[PC_HOT_WAYS][4];
	__u64 reserved[4]; /* flows begin at a cache line */
	struct pc_flow flow[PC_HOT_WAYS];
};

/*
 * pc4_perm4 and pc4_perm6, HASH: permissions, for Send and Data indications. Two entries each.
 *   up:   client -> service address, and the peer's address out of XOR-PEER-ADDRESS
 *         => from the relayed address to that peer, the port out of the attribute
 *   down: peer's address -> relayed address and port, peer 0, sport 0
 *         => Data indication from the service address to the client
 * pc4_perm4 when all addresses of both the key and the value are IPv4; else pc4_perm6, where IPv4
 * addresses are written as ::ffff:a.b.c.d, in the key and in the value.
 */
struct pc_perm4_key {
	__be32 saddr;
	__be32 daddr;
	__be32 peer;
	__be16 sport;
	__be16 dport;
};

struct pc_perm6_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be32 peer[4];
	__be16 sport;
	__be16 dport;
};

struct pc_perm {
	__u64 expires_ns;
	/* up: relayed address; with PC_FLOW_HAIRPIN daddr is the peer's local address, else the
	 * peer's. down: service address, client. */
	__be32 saddr[4]; /* IPv4 in the first in pc4_perm4, mapped in pc4_perm6 */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport; /* up: 0 */
	__u16 flags;  /* PC_FLOW_* */
	__u16 reserved;
	__u32 slot;
	__u32 nexthop;
	__u32 tenant; /* as in struct pc_flow */
	__u32 reserved2;
};

/*
 * pc4_port, HASH: relayed ports that are allocated. What no flow and no permission covers is
 * dropped on them; a port that is not here belongs to the host and passes.
 */
struct pc_port_key {
	__be32 addr[4]; /* IPv4 mapped */
	__be16 port;
	__u16 reserved;
};

/* State of a rate limit. */
struct pc_limit {
	__u64 tat_ns; /* theoretical arrival time (GCRA): when the bucket is full again */
};

/*
 * pc4_client, HASH: clients with an allocation, whose messages reach the daemon beside the limits
 * of strangers, up to one of their own, which the program keeps in the value.
 */
struct pc_client_key {
	__be32 saddr[4]; /* IPv4 mapped */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
};

struct pc_client {
	struct pc_limit limit;
	__u32 slot;
	__u32 reserved;
};

/*
 * pc4_limit, LRU_HASH: token buckets of strangers, by source prefix: /32 and /24, /64 and /48. Its
 * key is the prefix, IPv4 mapped, and its length in the last field; its value struct pc_limit.
 */
struct pc_limit_key {
	__be32 addr[4];
	__u32 len;
};

struct pc_dir_count {
	__u64 packets;
	__u64 payload_bytes; /* what the application sent: UDP payload without TURN headers */
	__u64 wire_bytes;    /* IP total length as sent on */
};

/*
 * A session's counters in user space: sums of the kernel's, and those of its own path in a file. Up
 * to layout 3 the kernel's were the same, in a PERCPU_ARRAY by slot.
 */
struct pc_count {
	struct pc_dir_count up;	  /* from the tenant */
	struct pc_dir_count down; /* to the tenant */
	__u64 drops_rate;
	__u64 drops_credit;
};

/*
 * pc4_count, ARRAY, BPF_F_MMAPABLE, by pc_tally_index(): what every packet of a session writes, in
 * one cache line. In a per-CPU map it would lie behind a pointer, which is one more.
 */
struct pc_tally {
	struct pc_dir_count up, down;
	__u64 purse; /* bytes of credit that this CPU has taken and not spent */
	__u64 reserved;
};

/* pc4_drops, by the same index: packets that the session's limits refused. */
struct pc_drops {
	__u64 rate;
	__u64 credit;
};

/* CPUs lie apart, so that no line is beside one that another CPU writes. */
#define pc_tally_index(cpu, sessions, slot) ((cpu) * (sessions) + (slot))

/*
 * pc4_nexthop, ARRAY, BPF_F_MMAPABLE. The writer fills the copy that is not active and then
 * stores `active`, so a reader never sees half an entry.
 */
struct pc_nexthop {
	__u32 ifindex;	    /* 0: not resolved */
	__u32 txport;	    /* index into pc4_txport */
	__u16 mtu;	    /* largest IP packet */
	__u16 l2_len;	    /* 14, 18 or 22 */
	__u8 l2[PC_L2_MAX]; /* the link header as sent, VLAN tags and EtherType included, then 0 */
};

struct pc_nexthop_slot {
	__u32 active; /* 0 or 1 */
	struct pc_nexthop copy[2];
};

#define PC_ABI_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " changed its size")
PC_ABI_SIZE(struct pc_meta, 64);
PC_ABI_SIZE(struct pc_ctl, 56);
PC_ABI_SIZE(struct pc_flow4_key, 16);
PC_ABI_SIZE(struct pc_flow6_key, 40);
PC_ABI_SIZE(struct pc_flow, 64);
PC_ABI_SIZE(struct pc_hot4, 320);
PC_ABI_SIZE(struct pc_hot6, 448);
PC_ABI_SIZE(struct pc_perm4_key, 16);
PC_ABI_SIZE(struct pc_perm6_key, 52);
PC_ABI_SIZE(struct pc_perm, 64);
PC_ABI_SIZE(struct pc_port_key, 20);
PC_ABI_SIZE(struct pc_client_key, 36);
PC_ABI_SIZE(struct pc_client, 16);
PC_ABI_SIZE(struct pc_limit_key, 20);
PC_ABI_SIZE(struct pc_limit, 8);
PC_ABI_SIZE(struct pc_dir_count, 24);
PC_ABI_SIZE(struct pc_count, 64);
PC_ABI_SIZE(struct pc_tally, 64);
PC_ABI_SIZE(struct pc_drops, 16);
PC_ABI_SIZE(struct pc_nexthop, 36);
PC_ABI_SIZE(struct pc_nexthop_slot, 76);

#pragma GCC diagnostic pop

#endif
