/* SPDX-License-Identifier: MIT */
/*
 * Frames of pipes, the fast path between native peers: 24 bytes of header and end-to-end
 * ciphertext. Big-endian: type 1 (0x0c) | flags 1 | reserved 2 (0) | pipe 4 | counter 8 | tag 8.
 *
 * `pipe` is the receiver's index, `counter` begins at 1 for each direction of a pipe and never
 * repeats. The tag is SipHash-2-4, its eight bytes as SipHash writes them (little-endian), under
 * the hop key of sender and receiver, over the first 16 bytes and the length of the payload as 4
 * bytes. A relay checks the tag and the replay window, then writes the next hop's pipe and tag;
 * nothing else changes. The replay window is the receiver's (bpf/lib/replay.h).
 */
#ifndef PC_RELAY_NATIVE_PIPE_H
#define PC_RELAY_NATIVE_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay/native.h"

#define PC_PIPE_HEADER	  24
#define PC_PIPE_TAG_OFF	  16
#define PC_PIPE_KEY_LEN	  16
#define PC_PIPE_EPOCH	  0x03 /* flags: number of the end-to-end session, modulo 4 */
#define PC_PIPE_INNER	  0x04 /* flags: the payload is a native frame of the end-to-end session */
#define PC_PIPE_FLAGS	  (PC_PIPE_EPOCH | PC_PIPE_INNER) /* others are 0 */
#define PC_PIPE_OVERHEAD  (PC_PIPE_HEADER + 16)		  /* with the tag of the ciphertext */
#define PC_PIPE_MAX_FRAME 1452				  /* 1500 with IPv6 and UDP */

struct pc_pipe_frame {
	uint8_t flags;
	uint32_t pipe;
	uint64_t counter;
	size_t payload_len;
};

/*
 * Hop key for frames with index @pipe at their receiver: the first 16 bytes of pc_native_export
 * with label "pcloud/1 hop" and the index in 4 bytes, of the session that carries the message that
 * opens the pipe: @sending, it is the next to be sent; else it is the one being received. 0 or
 * PC_ERR_STATE.
 */
int pc_pipe_hop_key(const struct pc_native_link *link, uint32_t pipe, bool sending,
		    uint8_t ret_key[static PC_PIPE_KEY_LEN]);
/* Writes header and tag in front of @payload_len bytes that are, or will be, at @frame + 24. */
void pc_pipe_write(uint8_t *frame, const struct pc_pipe_frame *f,
		   const uint8_t key[static PC_PIPE_KEY_LEN]);
/* 0 or PC_ERR_MALFORMED. Does not look at the tag. */
int pc_pipe_read(const void *frame, size_t len, struct pc_pipe_frame *ret_frame);
/* Whether the tag of a frame that was read is right. */
bool pc_pipe_check(const void *frame, size_t len, const uint8_t key[static PC_PIPE_KEY_LEN]);
/* What a relay does to a frame that passed: the next hop's index and tag. */
void pc_pipe_forward(void *frame, size_t len, uint32_t pipe,
		     const uint8_t key[static PC_PIPE_KEY_LEN]);

/*
 * End-to-end data of a pipe, under keys of the session between both ends: pc_native_export with
 * "pcloud/1 pipe" and the direction, 1 for data of the session's initiator, 2 for the other. The
 * nonce is the counter, associated data is the flags' byte.
 */
int pc_pipe_data_keys(const struct pc_native_link *link, uint8_t ret_send[static 32],
		      uint8_t ret_receive[static 32]);
/* @frame: PC_PIPE_HEADER + @len + 16 bytes of room. Returns 0 or PC_ERR_RANGE (counter). */
int pc_pipe_seal(uint8_t *frame, const struct pc_pipe_frame *f, const uint8_t data_key[static 32],
		 const uint8_t hop_key[static PC_PIPE_KEY_LEN], const void *plain, size_t len);
/* A frame that was read and checked. 0 or PC_ERR_AUTH; @ret_plain: f->payload_len - 16. */
int pc_pipe_open(const void *frame, const struct pc_pipe_frame *f,
		 const uint8_t data_key[static 32], void *ret_plain);

#endif
