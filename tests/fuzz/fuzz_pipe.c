/* SPDX-License-Identifier: MIT */
/*
 * Frames of pipes in user space. Each step is a byte that says what is done, and what it takes: a
 * frame as it is, a frame made genuine, a datagram on a relayed port, time. What is forwarded must
 * be genuine for the next hop, new, of a pipe that lives, and no longer than it came.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "dp/dp_fake.h"
#include "relay/native_pipe.h"

#define PIPES	    3u
#define COUNTERS    4096u
#define MAX_PAYLOAD 1500
#define END	    1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t keys[2 * PIPES][16];
static bool seen[PIPES + 1][COUNTERS];
static uint64_t started; /* frames that began at a port */

static struct pc_addr addr(uint8_t last, uint16_t port)
{
	return (struct pc_addr){ .ip = pc_ip4(198, 51, 100, last), .port = port };
}

/* 1: from peer to peer, 2: to a port, 3: from a port. */
static void set(struct pc_dp *dp, uint32_t in)
{
	struct pc_dp_pipe pipe = {
		.in = in,
		.out = 100 + in,
		.in_plain = in == 3,
		.out_plain = in == 2,
		.in_local = addr(1, in == 3 ? 50001 : 3478),
		.in_remote = addr(2, (uint16_t)in),
		.out_local = addr(1, in == 2 ? 50001 : 3478),
		.out_remote = addr(3, (uint16_t)in),
		.expires_ns = END,
		.slot = in,
		.up = in != 3,
	};

	memcpy(pipe.in_key, keys[in - 1], 16);
	memcpy(pipe.out_key, keys[PIPES + in - 1], 16);
	if (pc_dp_pipe_set(dp, &pipe))
		abort();
}

static void check_header(const struct pc_dp_dgram *d, uint32_t in, struct pc_pipe_frame *ret_f)
{
	if (pc_pipe_read(d->data, d->len, ret_f) || ret_f->pipe != 100 + in ||
	    !pc_pipe_check(d->data, d->len, keys[PIPES + in - 1]))
		abort();
}

static void take(uint32_t in, uint64_t counter)
{
	if (counter < COUNTERS && seen[in][counter])
		abort();
	if (counter < COUNTERS)
		seen[in][counter] = true;
}

/* Whether the peer itself sent it, and to us. */
static bool genuine(const struct pc_dp_dgram *d, struct pc_pipe_frame *ret_f)
{
	return !pc_pipe_read(d->data, d->len, ret_f) && (ret_f->pipe == 1 || ret_f->pipe == 2) &&
	       d->remote.ip.b[3] == 2 && d->remote.port == ret_f->pipe && d->ttl > 1 &&
	       pc_pipe_check(d->data, d->len, keys[ret_f->pipe - 1]);
}

static void frame(struct pc_dp *dp, uint64_t now, struct pc_dp_dgram *d)
{
	struct pc_pipe_frame in, out;
	bool good = genuine(d, &in);
	size_t len = d->len;

	if (pc_dp_user_pipe(dp, now, d) != PC_REASON_USER_FORWARD)
		return;
	if (!good || now >= END)
		abort();
	take(in.pipe, in.counter);
	if (in.pipe == 1) {
		check_header(d, 1, &out);
		if (out.counter != in.counter || d->len != len)
			abort();
	} else if (!d->plain || d->len != len - PC_PIPE_HEADER) {
		abort();
	}
	pc_dp_user_sent(dp, d);
}

static void port(struct pc_dp *dp, uint64_t now, struct pc_dp_dgram *d)
{
	struct pc_pipe_frame f;
	size_t len = d->len;

	d->local = addr(1, 50001);
	if (pc_dp_user_pipe_port(dp, now, d) != PC_REASON_USER_FORWARD)
		return;
	check_header(d, 3, &f);
	if (now >= END || f.counter != ++started || d->len != len + PC_PIPE_HEADER)
		abort();
}

/* The tag that the peer would have written. */
static void make_genuine(struct pc_dp_dgram *d)
{
	struct pc_pipe_frame f;

	d->data[0] = PC_NATIVE_PIPE;
	d->data[1] &= PC_PIPE_FLAGS;
	memset(d->data + 2, 0, 5);
	d->data[7] = d->data[7] % PIPES + 1;
	memset(d->data + 8, 0, 5);
	if (!pc_pipe_read(d->data, d->len, &f))
		pc_pipe_write(d->data, &f, keys[d->data[7] - 1]);
}

static void step(struct pc_dp *dp, struct pc_reader *r, uint64_t *now)
{
	static uint8_t bytes[PC_DP_PIPE_HEADER + MAX_PAYLOAD];
	uint8_t what = pc_read_u8(r), from = pc_read_u8(r);
	size_t len = what & 0x40 ? pc_read_u16(r) % MAX_PAYLOAD : what % 64u;
	const void *at = pc_read_bytes(r, len);
	struct pc_dp_dgram d = {
		.local = addr(1, 3478),
		.remote = addr(from & 0x80 ? 4 : 2, from % 4),
		.data = bytes + PC_DP_PIPE_HEADER,
		.len = len,
		.ttl = from & 0x40 ? 1 : 64,
	};

	if (r->failed)
		return;
	if (len)
		memcpy(d.data, at, len);
	if (from & 0x20)
		*now += from;
	if (what & 0x80 && len >= PC_PIPE_HEADER)
		make_genuine(&d);
	if (from & 0x10)
		port(dp, *now, &d);
	else
		frame(dp, *now, &d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pc_dp_config config = { .max_sessions = 8, .max_tenants = 2, .kernel = true };
	struct pc_reader r;
	struct pc_dp *dp;
	uint64_t now = 1;

	pc_dp_fake_reset();
	memset(seen, 0, sizeof(seen));
	started = 0;
	if (pc_dp_open(&config, &dp))
		abort();
	for (uint32_t in = 1; in <= PIPES; in++) {
		memset(keys[in - 1], (int)in, 16);
		memset(keys[PIPES + in - 1], (int)(0x80 | in), 16);
		set(dp, in);
	}
	pc_reader_init(&r, data, size);
	while (!r.failed && pc_reader_left(&r))
		step(dp, &r, &now);
	pc_dp_close(dp);
	pc_dp_fake_reset();
	return 0;
}
