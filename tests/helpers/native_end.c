/* SPDX-License-Identifier: MIT */
/*
 * One end of a pipe on standard input and output, for the other implementation of the protocol. The
 * pipe: frames to this end have index 11, frames from it index 22; hop keys are 16 times the index.
 * Commands as those of native_machine:
 *   seed HEX32          answers "self IDENTITY STATIC"
 *   open IDENTITY BOOL  the pipe, with that peer; 1: this end asked for it
 *   frame HEX           through the pipe
 *   direct HEX          from 192.0.2.2:5000
 *   try                 that address is a candidate
 *   data HEX            is sent to the peer
 *   time MILLISECONDS   passes
 * Lines in between: "send HEX" (through the pipe), "send-direct HEX", "ready", "plain HEX", "no
 * NUMBER" (what was received or sent could not be), "moved pipe" or "moved direct".
 */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "lines.h"
#include "relay/native_e2e.h"

#define NOW_S 1700000000

static struct {
	struct pc_e2e *e;
	struct pc_agent_pipe pipe;
	struct pc_e2e_way *way;
	struct pc_native_config config;
	uint64_t now;
} me = { .config.max_links = 8, .config.handshakes_per_s = 1000, .now = 1000 * PC_NS_PER_S };

static const struct pc_addr there = { .ip = { .family = 4, .b = { 192, 0, 2, 2 } }, .port = 5000 };

static void say(const char *what, const void *data, size_t len)
{
	static char text[2 * PC_PIPE_MAX_FRAME + 1];

	pc_format_hex(data, len, text);
	printf("%s %s\n", what, text);
}

static void on_send(void *ctx, struct pc_e2e_way *way, const void *data, size_t len)
{
	say(way->pipe ? "send" : "send-direct", data, len);
}

static bool on_trusted(void *ctx, const uint8_t identity[static 32])
{
	return true;
}

static void on_ready(void *ctx, struct pc_e2e_peer *peer)
{
	printf("ready\n");
}

static void on_down(void *ctx, struct pc_e2e_peer *peer, uint16_t reason)
{
	printf("down %s\n", pc_native_reason_text(reason));
}

static void on_moved(void *ctx, struct pc_e2e_peer *peer)
{
	printf("moved %s\n", pc_e2e_way(peer)->pipe ? "pipe" : "direct");
}

static void on_silent(void *ctx, struct pc_e2e_way *way)
{
}

static void on_gone(void *ctx, struct pc_e2e_peer *peer)
{
}

static void on_random(void *ctx, void *buf, size_t len)
{
	randombytes_buf(buf, len);
}

static const struct pc_e2e_ops ops = {
	.send = on_send,
	.trusted = on_trusted,
	.ready = on_ready,
	.down = on_down,
	.moved = on_moved,
	.silent = on_silent,
	.gone = on_gone,
	.random = on_random,
};

static bool do_seed(char **words)
{
	struct pc_noise_keypair pair;

	if (me.e || !line_seed(words[1], &me.config, &pair) ||
	    pc_e2e_new(&me.config, &ops, NULL, me.now, &me.e) < 0)
		return false;
	say("self", me.config.identity, 32);
	say("static", pair.public_key, 32);
	return true;
}

static bool do_open(char **words)
{
	if (!me.e || me.way || !words[2] || line_bytes(words[1], me.pipe.peer, 32) != 32)
		return false;
	me.pipe.in = 11;
	me.pipe.out = 22;
	memset(me.pipe.in_key, 11, sizeof(me.pipe.in_key));
	memset(me.pipe.out_key, 22, sizeof(me.pipe.out_key));
	me.pipe.mtu = 1400;
	me.pipe.call = strcmp(words[2], "1") == 0;
	return pc_e2e_add_pipe(me.e, &me.pipe, NULL, me.now, &me.way) == 0;
}

static void answer(int rc, const uint8_t *plain, size_t len)
{
	if (rc == 0)
		say("plain", plain, len);
	else
		printf("no %d\n", rc);
}

static bool do_frame(char **words)
{
	uint8_t frame[PC_PIPE_MAX_FRAME], plain[PC_PIPE_MAX_FRAME];
	ssize_t len = line_bytes(words[1], frame, sizeof(frame));
	struct pc_pipe_frame f;

	if (len < 0 || !me.way)
		return false;
	if (pc_pipe_read(frame, (size_t)len, &f) < 0 || f.pipe != 11 ||
	    !pc_pipe_check(frame, (size_t)len, me.pipe.in_key))
		printf("no 0\n");
	else if (f.flags & PC_PIPE_INNER)
		pc_e2e_inner(me.e, me.way, frame + PC_PIPE_HEADER, f.payload_len, me.now, NOW_S);
	else
		answer(pc_e2e_open(me.e, me.way, &f, frame, me.now, plain), plain,
		       f.payload_len - PC_NOISE_TAGLEN);
	return true;
}

static bool do_direct(char **words)
{
	uint8_t frame[PC_PIPE_MAX_FRAME], plain[PC_PIPE_MAX_FRAME];
	ssize_t len = line_bytes(words[1], frame, sizeof(frame));
	struct pc_e2e_peer *peer;
	size_t plain_len = 0;
	int rc;

	if (len <= 0 || !me.e)
		return false;
	if (frame[0] != PC_NATIVE_PIPE) {
		pc_e2e_direct(me.e, 0, &there, frame, (size_t)len, me.now, NOW_S);
		return true;
	}
	rc = pc_e2e_open_direct(me.e, 0, &there, frame, (size_t)len, me.now, &peer, plain,
				&plain_len);
	answer(rc, plain, plain_len);
	return true;
}

static bool do_try(char **words)
{
	if (!me.way)
		return false;
	pc_e2e_candidates(me.way->peer, 0, &there, 1, me.now);
	return true;
}

static bool do_data(char **words)
{
	uint8_t frame[PC_PIPE_MAX_FRAME];
	ssize_t len = line_bytes(words[1], frame + PC_PIPE_HEADER, 1024);
	struct pc_e2e_way *way;
	int rc;

	if (len < 0 || !me.way)
		return false;
	rc = pc_e2e_seal(me.way->peer, frame, (size_t)len, me.now, &way);
	if (rc < 0)
		printf("no %d\n", rc);
	else
		on_send(NULL, way, frame, PC_PIPE_OVERHEAD + (size_t)len);
	return true;
}

static bool do_time(char **words)
{
	uint64_t ms;

	if (!me.e || !words[1] || pc_parse_u64(words[1], 0, 200000, &ms) < 0)
		return false;
	for (uint64_t i = 0; i < ms; i += 20) {
		me.now += 20 * PC_NS_PER_MS;
		pc_e2e_tick(me.e, me.now);
	}
	return true;
}

static const struct line_command commands[] = {
	{ "seed", do_seed }, { "open", do_open }, { "frame", do_frame }, { "direct", do_direct },
	{ "try", do_try },   { "data", do_data }, { "time", do_time },
};

int main(void)
{
	int status = lines_serve(commands, PC_ARRAY_SIZE(commands));

	pc_e2e_free(me.e);
	return status;
}
