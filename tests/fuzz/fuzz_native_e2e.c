/* SPDX-License-Identifier: MIT */
/*
 * Two ends of pipes. The input is a script: what they send is delivered, lost, changed, repeated,
 * turned to another way; pipes come and go; time passes; an end starts again. What is opened was
 * sealed by the other end, in its present life, and is opened once.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/wire.h"
#include "relay/native_e2e.h"
#include "relay/noise.h"

#define MAX_STEPS 200
#define PIPES	  3
#define MAILS	  64
#define NUMBERS	  512
#define NOW_S	  1700000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct mail {
	unsigned int to;
	int pipe; /* -1: direct */
	size_t len;
	uint8_t data[PC_PIPE_MAX_FRAME];
};

struct end {
	struct pc_e2e *e;
	uint8_t identity[32], seed;
	struct pc_addr addr;
	struct pc_agent_pipe pipes[PIPES];
	struct pc_e2e_way *ways[PIPES];
	uint16_t sent;
	bool got[NUMBERS];
};

static struct {
	struct end ends[2];
	struct mail mails[MAILS];
	unsigned int n_mails;
	uint64_t now, random;
} run;

static void op_random(void *ctx, void *buf, size_t len)
{
	uint8_t seed[32] = { 1 };

	memcpy(seed + 8, &run.random, sizeof(run.random));
	run.random++;
	randombytes_buf_deterministic(buf, len, seed);
}

static void op_send(void *ctx, struct pc_e2e_way *way, const void *data, size_t len)
{
	struct end *end = ctx;
	struct mail *m = &run.mails[run.n_mails % MAILS];

	if (len > sizeof(m->data))
		abort();
	m->to = end == &run.ends[0];
	m->pipe = -1;
	for (int i = 0; i < PIPES; i++)
		m->pipe = way->pipe == &end->pipes[i] ? i : m->pipe;
	m->len = len;
	memcpy(m->data, data, len);
	run.n_mails++;
}

static bool op_trusted(void *ctx, const uint8_t identity[static 32])
{
	return true;
}

static void op_peer(void *ctx, struct pc_e2e_peer *peer)
{
}

static void op_down(void *ctx, struct pc_e2e_peer *peer, uint16_t reason)
{
}

static void op_silent(void *ctx, struct pc_e2e_way *way)
{
}

static const struct pc_e2e_ops ops = {
	.send = op_send,
	.trusted = op_trusted,
	.ready = op_peer,
	.down = op_down,
	.moved = op_peer,
	.silent = op_silent,
	.gone = op_peer,
	.random = op_random,
};

static void start(struct end *end)
{
	struct pc_native_config c = { .max_links = 3, .handshakes_per_s = 100 };
	struct pc_noise_keypair pair;
	uint8_t seed[32], secret[64];

	memset(seed, end->seed, sizeof(seed));
	crypto_sign_seed_keypair(c.identity, secret, seed);
	memset(c.static_secret, end->seed + 100, sizeof(c.static_secret));
	pc_noise_keypair(c.static_secret, &pair);
	pc_statement_make(secret, pair.public_key, 0, 4000000000, c.statement);
	memcpy(end->identity, c.identity, 32);
	if (pc_e2e_new(&c, &ops, end, run.now, &end->e) < 0)
		abort();
	memset(end->ways, 0, sizeof(end->ways));
}

/* --- what happens --- */

static void took(struct end *end, const uint8_t *plain, size_t len)
{
	uint16_t number;

	if (len != 32)
		abort();
	memcpy(&number, plain, sizeof(number));
	if (number >= run.ends[end == &run.ends[0]].sent || end->got[number])
		abort();
	end->got[number] = true;
}

static void hand(const struct mail *m)
{
	struct end *end = &run.ends[m->to], *from = &run.ends[!m->to];
	uint8_t *copy = malloc(m->len ? m->len : 1), plain[PC_PIPE_MAX_FRAME];
	struct pc_e2e_peer *peer;
	struct pc_pipe_frame f;
	size_t len;

	if (!copy)
		abort();
	memcpy(copy, m->data, m->len);
	if (m->pipe < 0 && m->len && copy[0] == PC_NATIVE_PIPE) {
		if (pc_e2e_open_direct(end->e, 0, &from->addr, copy, m->len, run.now, &peer, plain,
				       &len) == 0)
			took(end, plain, len);
	} else if (m->pipe < 0) {
		pc_e2e_direct(end->e, 0, &from->addr, copy, m->len, run.now, NOW_S);
	} else if (end->ways[m->pipe] && pc_pipe_read(copy, m->len, &f) == 0) {
		if (f.flags & PC_PIPE_INNER)
			pc_e2e_inner(end->e, end->ways[m->pipe], copy + PC_PIPE_HEADER,
				     f.payload_len, run.now, NOW_S);
		else if (pc_e2e_open(end->e, end->ways[m->pipe], &f, copy, run.now, plain) == 0)
			took(end, plain, f.payload_len - PC_NOISE_TAGLEN);
	}
	free(copy);
}

static void change(struct mail *m, struct pc_reader *in)
{
	size_t at = pc_read_u16(in);

	switch (pc_read_u8(in) % 4) {
	case 0:
		if (m->len)
			m->data[at % m->len] ^= pc_read_u8(in);
		break;
	case 1:
		m->len = m->len ? at % m->len : 0;
		break;
	case 2:
		m->pipe = (int)(at % (PIPES + 1)) - 1;
		break;
	default:
		/* What was in a pipe comes directly, without its frame. */
		if (m->len > PC_PIPE_HEADER) {
			m->len -= PC_PIPE_HEADER;
			memmove(m->data, m->data + PC_PIPE_HEADER, m->len);
			m->pipe = -1;
		}
	}
}

static void toggle(struct end *end, unsigned int i, bool call)
{
	struct pc_agent_pipe *pipe = &end->pipes[i];
	struct end *other = &run.ends[end == &run.ends[0]];

	if (end->ways[i]) {
		pc_e2e_remove(end->ways[i], run.now);
		end->ways[i] = NULL;
		return;
	}
	memset(pipe, 0, sizeof(*pipe));
	memcpy(pipe->peer, other->identity, 32);
	pipe->call = call;
	pipe->in = 2 * i + 1 + (end == &run.ends[0]);
	pipe->out = 2 * i + 1 + (end != &run.ends[0]);
	pipe->mtu = i == 2 ? 60 : 1400;
	if (pc_e2e_add_pipe(end->e, pipe, NULL, run.now, &end->ways[i]) < 0)
		end->ways[i] = NULL;
}

static void send_number(struct end *end)
{
	struct end *other = &run.ends[end == &run.ends[0]];
	struct pc_e2e_peer *peer = pc_e2e_find(end->e, other->identity);
	uint8_t frame[PC_PIPE_OVERHEAD + 32] = { 0 };
	struct pc_e2e_way *way;

	if (!peer || end->sent == NUMBERS)
		return;
	memcpy(frame + PC_PIPE_HEADER, &end->sent, sizeof(end->sent));
	if (pc_e2e_seal(peer, frame, 32, run.now, &way) < 0)
		return;
	end->sent++;
	op_send(end, way, frame, sizeof(frame));
}

static void restart(struct end *end)
{
	pc_e2e_free(end->e);
	start(end);
}

static void pass(uint64_t ns)
{
	run.now += ns;
	for (unsigned int i = 0; i < 2; i++) {
		if (pc_e2e_next_deadline(run.ends[i].e) <= run.now)
			pc_e2e_tick(run.ends[i].e, run.now);
	}
}

static void step(struct pc_reader *in)
{
	uint8_t what = pc_read_u8(in), arg = pc_read_u8(in);
	struct end *end = &run.ends[arg & 1];
	struct mail *m = &run.mails[arg / 2 % MAILS];
	struct pc_e2e_peer *peer;

	switch (what % 9) {
	case 0:
		toggle(end, arg / 2 % PIPES, arg & 0x80);
		break;
	case 1: /* all that waits, in order */
		for (unsigned int i = run.n_mails > 8 ? run.n_mails - 8 : 0; i < run.n_mails; i++)
			hand(&run.mails[i % MAILS]);
		break;
	case 2:
		hand(m);
		break;
	case 3:
		change(m, in);
		hand(m);
		break;
	case 4:
		send_number(end);
		break;
	case 5:
		pass((uint64_t)arg * arg * 4 * PC_NS_PER_MS);
		break;
	case 6:
		peer = pc_e2e_find(end->e, run.ends[!(arg & 1)].identity);
		if (peer)
			pc_e2e_candidates(peer, 0, &run.ends[!(arg & 1)].addr, 1, run.now);
		break;
	case 7:
		peer = pc_e2e_find(end->e, run.ends[!(arg & 1)].identity);
		if (peer && arg & 0x40)
			pc_e2e_end(peer, PC_NATIVE_R_DONE, run.now);
		break;
	default:
		if (arg > 0xf0)
			restart(end);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pc_reader in;

	if (sodium_init() < 0)
		abort();
	memset(&run, 0, sizeof(run));
	run.now = 1000 * PC_NS_PER_S;
	for (unsigned int i = 0; i < 2; i++) {
		run.ends[i].seed = (uint8_t)(i + 1);
		run.ends[i].addr =
			(struct pc_addr){ .ip = pc_ip4(192, 0, 2, (uint8_t)(i + 1)), .port = 9 };
		start(&run.ends[i]);
	}
	pc_reader_init(&in, data, size);
	for (unsigned int i = 0; i < MAX_STEPS && !in.failed && pc_reader_left(&in); i++)
		step(&in);
	for (unsigned int i = 0; i < 2; i++)
		pc_e2e_free(run.ends[i].e);
	return 0;
}
