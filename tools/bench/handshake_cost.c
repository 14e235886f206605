/* SPDX-License-Identifier: MIT */
/*
 * What native handshakes cost a relay: handshake_cost [-j] [ROUNDS]
 *
 * A responder and an initiator in one process, without sockets; only the CPU time that the
 * responder takes is counted. Beside it the time of one X25519 operation, of which a handshake has
 * several: the ratio is what compares between machines.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "relay/native.h"
#include "relay/noise.h"
#include "tests/helpers/native_quiet.h"

#define ROUNDS	    2000
#define KEPT	    8
#define STATEMENT_S 4000000000ull
#define REALTIME_S  1700000000ull

struct datagram {
	size_t len;
	uint8_t data[PC_NATIVE_MAX_FRAME];
};

struct side {
	struct pc_native *n;
	struct pc_native_config config;
	uint8_t static_public[32];
	struct pc_native_path path; /* to the other one */
	struct datagram out[KEPT];
	unsigned int n_out;
	unsigned int ups;
};

static struct side relay, peer;
static uint64_t now = 1000 * PC_NS_PER_S;
static uint64_t spent_ns; /* by the responder */

static void on_send(void *ctx, const struct pc_native_path *path, const void *data, size_t len)
{
	struct side *s = ctx;
	struct datagram *d = &s->out[s->n_out];

	if (s->n_out == KEPT)
		return;
	d->len = len;
	memcpy(d->data, data, len);
	s->n_out++;
}

static void on_up(void *ctx, struct pc_native_link *link, bool renewed)
{
	((struct side *)ctx)->ups++;
}

static const struct pc_native_ops ops = {
	.send = on_send,
	.trusted = quiet_trusts_all,
	.up = on_up,
	.down = quiet_down,
	.moved = quiet_moved,
	.message = quiet_message,
	.drop = quiet_drop,
	.random = quiet_random,
};

static int side_start(struct side *s, uint32_t handshakes_per_s, uint8_t host)
{
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	struct pc_noise_keypair pair;

	memset(s, 0, sizeof(*s));
	crypto_sign_keypair(s->config.identity, secret);
	randombytes_buf(s->config.static_secret, sizeof(s->config.static_secret));
	pc_noise_keypair(s->config.static_secret, &pair);
	memcpy(s->static_public, pair.public_key, sizeof(s->static_public));
	pc_statement_make(secret, pair.public_key, 0, STATEMENT_S, s->config.statement);
	s->config.max_links = 16;
	s->config.handshakes_per_s = handshakes_per_s;
	s->path.local = (struct pc_addr){ .ip = pc_ip4(192, 0, 2, host), .port = 1000 };
	s->path.remote = (struct pc_addr){ .ip = pc_ip4(192, 0, 2, host ^ 3), .port = 1000 };
	return pc_native_new(&s->config, &ops, s, now, &s->n);
}

static void side_stop(struct side *s)
{
	pc_native_free(s->n);
	memset(s, 0, sizeof(*s));
}

static void to_relay(const struct datagram *d)
{
	uint64_t before = pc_clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	pc_native_input(relay.n, &relay.path, d->data, d->len, now, REALTIME_S);
	spent_ns += pc_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
}

/* Until nobody has anything to say. */
static void talk(void)
{
	for (int i = 0; i < 8 && (peer.n_out || relay.n_out); i++) {
		struct datagram batch[KEPT];
		unsigned int n = peer.n_out;

		memcpy(batch, peer.out, n * sizeof(*batch));
		peer.n_out = 0;
		for (unsigned int j = 0; j < n; j++)
			to_relay(&batch[j]);
		n = relay.n_out;
		memcpy(batch, relay.out, n * sizeof(*batch));
		relay.n_out = 0;
		for (unsigned int j = 0; j < n; j++)
			pc_native_input(peer.n, &peer.path, batch[j].data, batch[j].len, now,
					REALTIME_S);
	}
}

static bool begin(bool ik)
{
	struct pc_native_link *link;

	now += 10 * PC_NS_PER_MS;
	return pc_native_connect(peer.n, relay.config.identity, ik ? relay.static_public : NULL,
				 &peer.path, now, &link) == 0;
}

/* A link keeps the key it learnt: each XX is another initiator's. */
static bool handshakes(unsigned int rounds, bool ik)
{
	for (unsigned int i = 0; i < rounds; i++) {
		if (!ik) {
			pc_native_free(peer.n);
			peer.n = NULL;
			if (pc_native_new(&peer.config, &ops, &peer, now, &peer.n))
				return false;
			peer.ups = 0;
		}
		relay.ups = 0;
		if (!begin(ik))
			return false;
		talk();
		if (relay.ups != 1)
			return false;
	}
	return true;
}

enum what { FIRST, WRONG_MAC, COOKIE };

/* One first message again and again, whose third never comes. */
static bool first_messages(unsigned int rounds, enum what what)
{
	struct datagram first;

	peer.n_out = 0;
	if (!begin(false) || peer.n_out != 1)
		return false;
	first = peer.out[0];
	peer.n_out = 0;
	if (what == WRONG_MAC)
		first.data[first.len - 20] ^= 1;
	for (unsigned int i = 0; i < rounds; i++) {
		now += 10 * PC_NS_PER_MS;
		relay.n_out = 0;
		to_relay(&first);
		if (relay.n_out != (what == WRONG_MAC ? 0u : 1u))
			return false;
	}
	return true;
}

static double curve_ns(unsigned int rounds)
{
	uint8_t point[32], secret[32];
	uint64_t before;

	randombytes_buf(secret, sizeof(secret));
	crypto_scalarmult_base(point, secret);
	before = pc_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned int i = 0; i < rounds; i++) {
		if (crypto_scalarmult(point, secret, point))
			return 0;
	}
	return (double)(pc_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before) / rounds;
}

/* Its nanoseconds, or a negative number when it did not do what it should. */
static double measure(unsigned int rounds, int which)
{
	bool ok = side_start(&relay, which == 4 ? 0 : 1000000, 1) == 0 &&
		  side_start(&peer, 1000000, 2) == 0;

	spent_ns = 0;
	if (ok && which < 2)
		ok = handshakes(rounds, which == 1);
	else if (ok)
		ok = first_messages(rounds, which == 2 ? FIRST : which == 3 ? WRONG_MAC : COOKIE);
	side_stop(&peer);
	side_stop(&relay);
	return ok ? (double)spent_ns / rounds : -1;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "XX", "IKpsk2", "first message alone",
					     "wrong mac1, dropped", "asked for a cookie" };
	bool json = argc > 1 && strcmp(argv[1], "-j") == 0;
	uint64_t rounds = ROUNDS;
	double curve;

	if (argc > 2 + json ||
	    (argc == 2 + json && pc_parse_u64(argv[1 + json], 1, 1000000, &rounds))) {
		fprintf(stderr, "usage: handshake_cost [-j] [ROUNDS]\n");
		return 2;
	}
	if (sodium_init() < 0)
		return 1;
	curve = curve_ns((unsigned int)rounds);
	if (json)
		printf("{\"curve_ns\": %.1f, \"cases\": [", curve);
	else
		printf("one X25519 operation: %.1f us\n", curve / 1000);
	for (size_t i = 0; i < PC_ARRAY_SIZE(names); i++) {
		double ns = measure((unsigned int)rounds, (int)i);

		if (ns < 0) {
			fprintf(stderr, "%s: did not come about\n", names[i]);
			return 1;
		}
		if (json)
			printf("%s{\"name\": \"%s\", \"ns\": %.1f, \"per_cpu_second\": %.0f, "
			       "\"curves\": %.2f}",
			       i ? ", " : "", names[i], ns, 1e9 / ns, ns / curve);
		else
			printf("%-22s %9.2f us %9.0f per CPU-second %7.2f X25519\n", names[i],
			       ns / 1000, 1e9 / ns, ns / curve);
	}
	if (json)
		printf("]}\n");
	return 0;
}
