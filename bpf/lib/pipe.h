/* SPDX-License-Identifier: MIT */
/*
 * Frames of pipes, as a relay looks at them, for the kernel program and for user space. No I/O,
 * time is passed in.
 */
#ifndef PC_LIB_PIPE_H
#define PC_LIB_PIPE_H

#include <linux/types.h>
#include <stdbool.h>

#include "abi/pipe.h"
#include "lib/siphash.h"

#define PC_PIPE_INLINE static inline __attribute__((always_inline, unused))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define pc_pipe_le64(x) (x)
#define pc_pipe_be64(x) __builtin_bswap64(x)
#define pc_pipe_be32(x) __builtin_bswap32(x)
#define pc_pipe_le32(x) (x)
#else
#define pc_pipe_le64(x) __builtin_bswap64(x)
#define pc_pipe_be64(x) (x)
#define pc_pipe_be32(x) (x)
#define pc_pipe_le32(x) __builtin_bswap32(x)
#endif

/* The header, as it lies in the packet. */
struct pc_pipe_head {
	union {
		__u64 first;
		struct {
			__u8 type, flags;
			__be16 zero;
			__be32 pipe;
		};
	};
	__u64 counter; /* big-endian */
	__u64 tag;
};

/*
 * In the kernel program a function of its own: it is needed in many places, and with all registers
 * to itself it spills nothing.
 */
#ifdef __bpf__
__attribute__((noinline)) __u64 pc_pipe_sip(__u64 k0, __u64 k1, __u64 first, __u64 second,
					    __u32 third)
{
	return pc_siphash24_20(k0, k1, first, second, third);
}
#else
#define pc_pipe_sip pc_siphash24_20
#endif

PC_PIPE_INLINE __u64 pc_pipe_tag_of(const __u64 key[2], const struct pc_pipe_head *head,
				    __u32 payload)
{
	return pc_pipe_le64(pc_pipe_sip(key[0], key[1], pc_pipe_le64(head->first),
					pc_pipe_le64(head->counter),
					pc_pipe_le32(pc_pipe_be32(payload))));
}

/* Whether any peer sends such a frame. */
PC_PIPE_INLINE bool pc_pipe_well_formed(const struct pc_pipe_head *head)
{
	return head->type == PC_PIPE_TYPE && !(head->flags & ~PC_PIPE_MAY_SET) && !head->zero &&
	       head->pipe && head->counter;
}

/*
 * Whether a frame that came from where it should may go on: PC_REASON_TX. The window is asked
 * after this, the limits after the window: nobody pays for what is forged or was seen.
 */
PC_PIPE_INLINE enum pc_reason pc_pipe_judge(const struct pc_pipe *pipe,
					    const struct pc_pipe_head *head, __u32 payload,
					    __u8 ttl, __u64 now)
{
	if (now >= pipe->flow.expires_ns)
		return PC_REASON_DROP_PIPE_EXPIRED;
	if (ttl <= 1)
		return PC_REASON_DROP_TTL;
	return pc_pipe_tag_of(pipe->in_key, head, payload) == head->tag ? PC_REASON_TX
									: PC_REASON_DROP_PIPE_TAG;
}

/* The header for the next hop, in place of @head. */
PC_PIPE_INLINE void pc_pipe_next_hop(const struct pc_pipe *pipe, struct pc_pipe_head *head,
				     __u32 payload)
{
	head->pipe = pipe->out;
	head->tag = pc_pipe_tag_of(pipe->out_key, head, payload);
}

/* The same for what came as plain UDP, under a counter of our own. */
PC_PIPE_INLINE void pc_pipe_first_hop(const struct pc_pipe *pipe, struct pc_pipe_head *head,
				      __u64 counter, __u32 payload)
{
	head->first = 0;
	head->type = PC_PIPE_TYPE;
	head->counter = pc_pipe_be64(counter);
	pc_pipe_next_hop(pipe, head, payload);
}

#endif
