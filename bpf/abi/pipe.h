/* SPDX-License-Identifier: MIT */
/*
 * Pipes of native peers (docs/protocol/native.md, section 6), as the kernel program and user space
 * share them: frames of one hop, and what becomes of them. The rules of abi/relay.h hold here.
 */
#ifndef PC_ABI_PIPE_H
#define PC_ABI_PIPE_H

#include "abi/relay.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

#define PC_MAP_PIPE    "pc4_pipe"
#define PC_MAP_WINDOW  "pc4_window"

#define PC_PIPE_TYPE   0x0c
#define PC_PIPE_HEADER 24
/* Flags of a frame that may be set, as bits of its second byte. */
#define PC_PIPE_MAY_SET	  0x07

#define PC_PIPE_IN6	  0x0001 /* what arrives is IPv6 */
#define PC_PIPE_IN_PLAIN  0x0002 /* what arrives is plain UDP on a relayed port */
#define PC_PIPE_OUT_PLAIN 0x0004 /* what is sent is plain UDP from a relayed port */
#define PC_PIPE_GRANTED	  0x0008 /* it ends with a grant: for a daemon that takes over */

/*
 * pc4_pipe, HASH: one direction of a pipe. The key is the index in frames that arrive, as it lies
 * in the packet; a direction that begins at a relayed port has one too, and an entry of pc4_flow4
 * or pc4_flow6 with PC_FLOW_PIPE whose first word of saddr is that index.
 */
struct pc_pipe {
	/*
	 * What is sent. channel is 0; flags: PC_FLOW_UP for whom it is charged, PC_FLOW_OUT6.
	 * l4_diff has the two indices in it, when both sides have one.
	 */
	struct pc_flow flow;
	/* What arrives, and from nowhere else. IPv4 in the first. */
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__be32 in;
	__be32 out;
	__u32 flags; /* PC_PIPE_* */
	/* The two little-endian words of SipHash's key. */
	__u64 in_key[2];
	__u64 out_key[2];
	__u32 window; /* index into pc4_window */
	/* The tenant at the other end, charged in the other direction. PC_PIPE_NOBODY: none. */
	__u32 other_slot;
	__u32 other_tenant;
	__u32 reserved;
	/* Identities of both ends, for a daemon that takes over; zero at a relayed port. */
	__u8 in_peer[32];
	__u8 out_peer[32];
};

#define PC_PIPE_NOBODY	  0xffffffffu

#define PC_WINDOW_WORDS	  256
#define PC_WINDOW_BITS	  32
#define PC_WINDOW_COUNTER 8192u

/*
 * pc4_window, ARRAY, BPF_F_MMAPABLE: which counters of a direction came already, as lib/window.h
 * keeps them. A direction that begins at a relayed port has its last counter in the first word.
 */
struct pc_window {
	__u64 words[PC_WINDOW_WORDS];
};

PC_ABI_SIZE(struct pc_pipe, 224);
PC_ABI_SIZE(struct pc_window, 2048);

#pragma GCC diagnostic pop

#endif
