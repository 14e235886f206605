/* SPDX-License-Identifier: MIT */
/*
 * A native machine on standard input and output, for the other implementation of the protocol. One
 * command a line, hexadecimal without spaces:
 *   seed HEX32          identity and static key, first of all; answers "self IDENTITY STATIC"
 *   psk HEX32           with everybody; before "seed"
 *   load                cookies are asked for from now on; before "seed"
 *   frame HEX           a datagram arrives
 *   connect IDENTITY STATIC|-
 *   time SECONDS        passes
 *   heartbeat TOKEN     is sent as a message (16 digits)
 *   export LABEL HEX    of the session: answers "export HEX"
 *   pipe INDEX COUNTER HEX   a pipe frame of these ciphertext bytes: answers "pipe HEX"
 *   check HEX           a pipe frame: answers "check ok" or "check bad"
 * Each command ends with a line "done". Lines in between: "send HEX", "up IDENTITY", "renewed
 * IDENTITY", "down TEXT", "message TYPE TOKEN", "drop NUMBER".
 */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "lines.h"
#include "native_quiet.h"
#include "relay/native.h"
#include "relay/native_pipe.h"

static struct {
	struct pc_native *n;
	struct pc_native_config config;
	struct pc_native_link *link;
	uint8_t psk[32];
	uint64_t now;
} me = { .config.max_links = 8, .config.handshakes_per_s = 1000, .now = 1000 * PC_NS_PER_S };

static const char *hex(const void *data, size_t len)
{
	static char text[2 * PC_PIPE_MAX_FRAME + 1];

	pc_format_hex(data, len, text);
	return text;
}

static void on_send(void *ctx, const struct pc_native_path *path, const void *data, size_t len)
{
	printf("send %s\n", hex(data, len));
}

static void on_psk(void *ctx, const uint8_t identity[static 32], uint8_t ret_psk[static 32])
{
	memcpy(ret_psk, me.psk, 32);
}

static void on_up(void *ctx, struct pc_native_link *link, bool renewed)
{
	me.link = link;
	printf("%s %s\n", renewed ? "renewed" : "up", hex(pc_native_identity(link), 32));
}

static void on_down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
	if (me.link == link)
		me.link = NULL;
	printf("down %s\n", pc_native_reason_text(reason));
}

static void on_message(void *ctx, struct pc_native_link *link, const struct pc_native_msg *msg)
{
	printf("message %u %016llx\n", msg->type, (unsigned long long)msg->token);
}

static void on_drop(void *ctx, enum pc_native_drop reason)
{
	printf("drop %u\n", reason);
}

static const struct pc_native_ops ops = {
	.send = on_send,
	.trusted = quiet_trusts_all,
	.psk = on_psk,
	.up = on_up,
	.down = on_down,
	.moved = quiet_moved,
	.message = on_message,
	.drop = on_drop,
	.random = quiet_random,
};

static struct pc_native_path path(void)
{
	return (struct pc_native_path){ .local = { .ip = pc_ip4(192, 0, 2, 1), .port = 3478 },
					.remote = { .ip = pc_ip4(192, 0, 2, 2), .port = 5000 } };
}

static bool do_seed(char **words)
{
	struct pc_noise_keypair pair;

	if (me.n || !line_seed(words[1], &me.config, &pair) ||
	    pc_native_new(&me.config, &ops, NULL, me.now, &me.n) < 0)
		return false;
	printf("self %s", hex(me.config.identity, 32));
	printf(" %s\n", hex(pair.public_key, 32));
	return true;
}

static bool do_psk(char **words)
{
	return line_bytes(words[1], me.psk, 32) == 32;
}

static bool do_load(char **words)
{
	me.config.handshakes_per_s = 0;
	return true;
}

static bool do_frame(char **words)
{
	uint8_t frame[PC_PIPE_MAX_FRAME];
	ssize_t len = line_bytes(words[1], frame, sizeof(frame));
	struct pc_native_path from = path();

	if (len < 0 || !me.n)
		return false;
	pc_native_input(me.n, &from, frame, (size_t)len, me.now, 1700000000);
	return true;
}

static bool do_connect(char **words)
{
	uint8_t identity[32], static_key[32];
	struct pc_native_path to = path();
	struct pc_native_link *link;
	bool known = words[2] && strcmp(words[2], "-") != 0;

	if (!me.n || line_bytes(words[1], identity, 32) != 32 ||
	    (known && line_bytes(words[2], static_key, 32) != 32))
		return false;
	return pc_native_connect(me.n, identity, known ? static_key : NULL, &to, me.now, &link) ==
	       0;
}

static bool do_time(char **words)
{
	uint64_t seconds;

	if (!me.n || !words[1] || pc_parse_u64(words[1], 0, 1000, &seconds) < 0)
		return false;
	for (uint64_t i = 0; i < seconds; i++) {
		me.now += PC_NS_PER_S;
		pc_native_tick(me.n, me.now);
	}
	return true;
}

static bool do_heartbeat(char **words)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_HEARTBEAT, .has = 1u << PC_NATIVE_F_TOKEN };
	uint8_t token[8];

	if (!me.link || line_bytes(words[1], token, 8) != 8)
		return false;
	for (unsigned int i = 0; i < 8; i++)
		msg.token = msg.token << 8 | token[i];
	return pc_native_send(me.n, me.link, &msg, me.now) == 0;
}

static bool do_export(char **words)
{
	uint8_t context[64], key[32];
	char label[64];
	ssize_t len = line_bytes(words[2], context, sizeof(context));

	if (!me.link || !words[1] || len < 0)
		return false;
	/* Labels have spaces; commands have not. */
	snprintf(label, sizeof(label), "pcloud/1 %s", words[1]);
	if (pc_native_export(me.link, label, context, (size_t)len, key) < 0)
		return false;
	printf("export %s\n", hex(key, 32));
	return true;
}

static bool do_pipe(char **words)
{
	uint8_t frame[PC_PIPE_MAX_FRAME], key[PC_PIPE_KEY_LEN];
	struct pc_pipe_frame f = { .flags = 1 };
	uint64_t index;
	ssize_t len;

	if (!me.link || !words[1] || !words[2] ||
	    pc_parse_u64(words[1], 1, UINT32_MAX, &index) < 0 ||
	    pc_parse_u64(words[2], 1, UINT64_MAX, &f.counter) < 0)
		return false;
	len = line_bytes(words[3], frame + PC_PIPE_HEADER, sizeof(frame) - PC_PIPE_HEADER);
	if (len < 0 || pc_pipe_hop_key(me.link, (uint32_t)index, true, key) < 0)
		return false;
	f.pipe = (uint32_t)index;
	f.payload_len = (size_t)len;
	pc_pipe_write(frame, &f, key);
	printf("pipe %s\n", hex(frame, PC_PIPE_HEADER + f.payload_len));
	return true;
}

static bool do_check(char **words)
{
	uint8_t frame[PC_PIPE_MAX_FRAME], key[PC_PIPE_KEY_LEN];
	ssize_t len = line_bytes(words[1], frame, sizeof(frame));
	struct pc_pipe_frame f;
	bool ok;

	if (!me.link || len < 0)
		return false;
	ok = pc_pipe_read(frame, (size_t)len, &f) == 0 &&
	     pc_pipe_hop_key(me.link, f.pipe, true, key) == 0 &&
	     pc_pipe_check(frame, (size_t)len, key);
	printf("check %s\n", ok ? "ok" : "bad");
	return true;
}

static const struct line_command commands[] = {
	{ "seed", do_seed },	       { "psk", do_psk },	  { "load", do_load },
	{ "frame", do_frame },	       { "connect", do_connect }, { "time", do_time },
	{ "heartbeat", do_heartbeat }, { "export", do_export },	  { "pipe", do_pipe },
	{ "check", do_check },
};

int main(void)
{
	int status = lines_serve(commands, PC_ARRAY_SIZE(commands));

	pc_native_free(me.n);
	return status;
}
