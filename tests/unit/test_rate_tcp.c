/* SPDX-License-Identifier: MIT */
/*
 * A model of TCP through the limiter: Reno and CUBIC (RFC 5681, RFC 9438) over 40 ms, window bursts
 * on a line of 1 Gbit/s, no queue anywhere, losses seen after a round trip. It shows that the early
 * signal keeps the rate without losses in bulk; real stacks are measured elsewhere.
 */
#include <math.h>
#include <stdlib.h>

#include "rate_bed.h"

#define PACKET 1500
#define RTT    (40 * MS)
#define RATE   100000000ull
#define WARM   (T0 + 10 * SEC)
#define END    (T0 + 60 * SEC)
#define RING   (1u << 14)
#define FLOWS  8

struct flow {
	bool cubic;
	double cwnd, ssthresh, w_max, k;
	uint64_t epoch;
	long inflight, next, recover;
	bool recovering;
};

struct answer {
	uint64_t at;
	unsigned int flow;
	long number;
	bool lost;
};

struct sim {
	struct bed bed;
	struct flow flow[FLOWS];
	unsigned int flows;
	struct answer ring[RING];
	unsigned int head, tail;
	uint64_t line_free, bytes, losses;
	uint64_t window[10], most, slot; /* what passed in each of the last ten 10 ms */
};

static void passed(struct sim *s, uint64_t at)
{
	for (; s->slot < at / (10 * MS); s->slot++) {
		uint64_t sum = 0;

		for (int i = 0; i < 10; i++)
			sum += s->window[i];
		if (sum > s->most && at > WARM)
			s->most = sum;
		s->window[(s->slot + 1) % 10] = 0;
	}
	s->window[s->slot % 10] += PACKET;
	if (at > WARM)
		s->bytes += PACKET;
}

static void send_packet(struct sim *s, unsigned int i, uint64_t now)
{
	struct flow *f = &s->flow[i];
	uint64_t at = s->line_free > now ? s->line_free : now;
	bool lost = offer(&s->bed, 0, at, PACKET, 0) > PC_RATE_MARK;

	s->line_free = at + PACKET * 8;
	if (!lost)
		passed(s, at);
	else if (at > WARM)
		s->losses++;
	assert_true(s->tail - s->head < RING);
	s->ring[s->tail++ % RING] = (struct answer){ now + RTT, i, f->next++, lost };
	f->inflight++;
}

static void grow(struct flow *f, uint64_t now)
{
	double t, target;

	if (f->cwnd < f->ssthresh) {
		f->cwnd += 1;
		return;
	}
	if (!f->cubic) {
		f->cwnd += 1 / f->cwnd;
		return;
	}
	if (!f->epoch) {
		f->epoch = now;
		f->w_max = f->w_max > f->cwnd ? f->w_max : f->cwnd;
		f->k = cbrt((f->w_max - f->cwnd) / 0.4);
	}
	t = (double)(now + RTT - f->epoch) / 1e9 - f->k;
	target = f->w_max + 0.4 * t * t * t;
	if (target > f->cwnd)
		f->cwnd += fmin((target - f->cwnd) / f->cwnd, 0.5);
}

static void shrink(struct flow *f)
{
	f->w_max = f->cwnd < f->w_max ? f->cwnd * 0.85 : f->cwnd;
	f->cwnd = fmax(f->cwnd * (f->cubic ? 0.7 : 0.5), 2);
	f->ssthresh = f->cwnd;
	f->epoch = 0;
}

static void answered(struct sim *s, const struct answer *a)
{
	struct flow *f = &s->flow[a->flow];

	f->inflight--;
	if (f->recovering && a->number >= f->recover)
		f->recovering = false;
	if (a->lost && !f->recovering) {
		shrink(f);
		f->recovering = true;
		f->recover = f->next;
	} else if (!a->lost && !f->recovering) {
		grow(f, a->at);
	}
	while (f->inflight < (long)f->cwnd)
		send_packet(s, a->flow, a->at);
}

/* At least @least of the rate, at most @losses in 25 s, and no 100 ms above 1.9 times the rate. */
static void check(bool cubic, unsigned int flows, double least, uint64_t losses)
{
	struct sim *s = calloc(1, sizeof(*s));
	double share;

	assert_non_null(s);
	bed_init(&s->bed, RATE);
	/* Alone on an uplink that is no faster: as qos/plan.h tells the limiter. */
	s->bed.rate.tier = PC_RATE_CLASS_PAID;
	s->bed.rate.entitled = pc_rate_word(RATE / 3 * 4);
	s->bed.root.rate = pc_rate_word(RATE / 3 * 4);
	for (int i = 0; i < PC_RATE_CLASSES; i++)
		s->bed.root.limit_ns[i] =
			(i ? i == PC_RATE_CLASS_PAID ? 20 : 50 : 5) * (uint32_t)MS;
	s->flows = flows;
	s->slot = T0 / (10 * MS);
	for (unsigned int i = 0; i < flows; i++) {
		s->flow[i] = (struct flow){ .cubic = cubic, .cwnd = 10, .ssthresh = 1e9 };
		for (int n = 0; n < 10; n++)
			send_packet(s, i, T0);
	}
	while (s->ring[s->head % RING].at < END) {
		const struct answer a = s->ring[s->head++ % RING];

		answered(s, &a);
	}
	share = (double)s->bytes * 8e9 / (double)(END - WARM) / (double)RATE;
	print_message("# %s, %u flows: %.2f %%, %.1f losses in 25 s, most in 100 ms %.2f\n",
		      cubic ? "CUBIC" : "Reno", flows, share * 100, (double)s->losses / 2,
		      (double)s->most * 80 / (double)RATE);
	assert_true(share > least && share < 1.02);
	assert_in_range(s->losses, 1, 2 * losses);
	assert_true((double)s->most * 80 / (double)RATE < 1.9);
	free(s);
}

static void test_cubic(void **state)
{
	check(true, 1, 0.98, 10);
}

static void test_reno(void **state)
{
	check(false, 1, 0.98, 10);
}

static void test_eight(void **state)
{
	check(true, 8, 0.98, 5000);
	check(false, 8, 0.98, 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cubic),
		cmocka_unit_test(test_reno),
		cmocka_unit_test(test_eight),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
