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

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#define PC_ABI_MAGIC   0x50434450u /* "PCDP" */
#define PC_ABI_VERSION 1

/* Names of maps, programs and links, in the object file and under the bpffs directory. */
#define PC_MAP_META    "pc1_meta"
#define PC_MAP_CTL     "pc1_ctl"
#define PC_MAP_FLOW4   "pc1_flow4"
#define PC_MAP_COUNT   "pc1_count"
#define PC_MAP_REASON  "pc1_reason"
#define PC_MAP_NEXTHOP "pc1_nexthop"
#define PC_MAP_TXPORT  "pc1_txport"
#define PC_PROG_RELAY  "pc1_relay"
/* Pinned link of one interface: PC_LINK_PREFIX "IFINDEX". */
#define PC_LINK_PREFIX	     "pc1_link_"

#define PC_MAX_SERVICE_PORTS 4
#define PC_MAX_NEXTHOPS	     4096
#define PC_MAX_TXPORTS	     64
#define PC_L2_MAX	     24
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

/* pc1_meta, ARRAY of 1: who made these maps. */
struct pc_meta {
	__u32 magic;
	__u32 abi_version;
	__u32 max_sessions;
	__u32 flow_entries;
	__u64 created_ns; /* CLOCK_REALTIME: tells one generation of counters from the next */
	char build[40];	  /* version of the program that is loaded */
};

/*
 * pc1_ctl, ARRAY of 1, BPF_F_MMAPABLE: what the daemon tells the program while it runs.
 * Each field is written alone with one aligned store.
 */
struct pc_ctl {
	__u64 heartbeat_ns;	 /* CLOCK_MONOTONIC of the daemon's last sign of life */
	__u64 guard_deadline_ns; /* on guard_ifindex everything passes after this time */
	__u32 guard_ifindex;	 /* interface on trial; 0: none */
	__u32 reserved;
};

/*
 * pc1_flow4, HASH: what arrives -> what is sent. One entry per direction.
 *   up:   client -> service address, channel number  => relayed address -> peer, plain UDP
 *   down: peer -> relayed address, channel 0         => service address -> client, ChannelData
 */
struct pc_flow4_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__be16 channel; /* as on the wire; 0 where there is none */
	__u16 reserved;
};

#define PC_FLOW_UP	0x0001 /* from the tenant: strip a ChannelData header, count as up */
#define PC_FLOW_HAIRPIN 0x0002 /* the peer is another relayed address of this node; both ways */

struct pc_flow4 {
	__u64 expires_ns; /* CLOCK_MONOTONIC */
	__be32 saddr;	  /* of the packet that is sent */
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__be16 channel; /* header to add; 0: none */
	__u16 flags;	/* PC_FLOW_* */
	__u32 slot;	/* counters of the session */
	__u32 nexthop;	/* index into pc1_nexthop; unused going up with PC_FLOW_HAIRPIN */
	/*
	 * One's complement sums of (new - old), folded to 16 bits, in the byte order of the packet
	 * (as if loaded by plain 16-bit loads): addresses; addresses and ports, and on the way down
	 * the channel number. Lengths and TTL are per packet and added by the program.
	 */
	__u16 l3_diff;
	__u16 l4_diff;
	__u32 reserved;
};

struct pc_dir_count {
	__u64 packets;
	__u64 payload_bytes; /* what the application sent: UDP payload without TURN headers */
	__u64 wire_bytes;    /* IP total length as sent on */
};

/* pc1_count, PERCPU_ARRAY by slot; the user-space path keeps the same struct in a file. */
struct pc_count {
	struct pc_dir_count up;	  /* from the tenant */
	struct pc_dir_count down; /* to the tenant */
	__u64 drops_rate;
	__u64 drops_credit;
};

/*
 * pc1_nexthop, ARRAY, BPF_F_MMAPABLE. The writer fills the copy that is not active and then
 * stores `active`, so a reader never sees half an entry.
 */
struct pc_nexthop {
	__u32 ifindex;	    /* 0: not resolved */
	__u32 txport;	    /* index into pc1_txport */
	__u16 mtu;	    /* largest IP packet */
	__u16 l2_len;	    /* 14, 18 or 22 */
	__u8 l2[PC_L2_MAX]; /* the link header as sent, VLAN tags and EtherType 0x0800 included */
};

struct pc_nexthop_slot {
	__u32 active; /* 0 or 1 */
	struct pc_nexthop copy[2];
};

#define PC_ABI_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " changed its size")
PC_ABI_SIZE(struct pc_meta, 64);
PC_ABI_SIZE(struct pc_ctl, 24);
PC_ABI_SIZE(struct pc_flow4_key, 16);
PC_ABI_SIZE(struct pc_flow4, 40);
PC_ABI_SIZE(struct pc_dir_count, 24);
PC_ABI_SIZE(struct pc_count, 64);
PC_ABI_SIZE(struct pc_nexthop, 36);
PC_ABI_SIZE(struct pc_nexthop_slot, 76);

#pragma GCC diagnostic pop

#endif
