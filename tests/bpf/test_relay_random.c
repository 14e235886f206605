/* SPDX-License-Identifier: MIT */
/*
 * Random packets through the XDP relay and through the reference model: the same verdict, the same
 * bytes, the same counters. Packets come from a grammar that mostly makes relayed traffic; some are
 * then damaged. PC_TEST_SEED and PC_TEST_PACKETS change the run.
 */
#include "model.h"

#define DEFAULT_PACKETS 60000

static uint64_t seed;

/* xorshift64 */
static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 32) % below);
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

#define N_TUPLES 6
static const uint16_t channels[N_TUPLES] = { 0x4000, 0x4001, 0x5abc, 0x60ff, 0x7ffe, 0x7fff };

static struct endpoint client_of(unsigned int i)
{
	return (struct endpoint){ 0xc0000200 + 17 * i, (uint16_t)(40000 + 259 * i) };
}

static struct endpoint peer_of(unsigned int i)
{
	return (struct endpoint){ 0xcb007100 + 13 * i, (uint16_t)(7000 + 515 * i) };
}

static struct endpoint relayed_of(unsigned int i)
{
	return (struct endpoint){ 0xc6336401, (uint16_t)(RIG_RELAY_LOW + 3 * i) };
}

static void add_pair(struct rig *rig, unsigned int i, uint64_t expires_ns)
{
	struct scene_flow up = {
		.from = client_of(i),
		.to = scene_server,
		.channel_in = channels[i],
		.new_from = relayed_of(i),
		.new_to = peer_of(i),
		.flags = PC_FLOW_UP,
		.slot = i,
		.nexthop = 1 + i,
		.expires_ns = expires_ns,
	};
	struct scene_flow down = {
		.from = peer_of(i),
		.to = relayed_of(i),
		.new_from = scene_server,
		.new_to = client_of(i),
		.channel_out = channels[i],
		.slot = i,
		.nexthop = 1 + (i + 1) % N_TUPLES,
		.expires_ns = expires_ns,
	};

	scene_add(rig, &up);
	scene_add(rig, &down);
}

/* Client i to client j; with only one half every fourth time. */
static void add_hairpin(struct rig *rig, unsigned int i, unsigned int j)
{
	struct scene_flow up = {
		.from = client_of(i),
		.to = scene_server,
		.channel_in = channels[j] ^ 0x0100,
		.new_from = relayed_of(i),
		.new_to = relayed_of(j),
		.flags = PC_FLOW_UP | PC_FLOW_HAIRPIN,
		.slot = i,
	};
	struct scene_flow down = {
		.from = relayed_of(i),
		.to = relayed_of(j),
		.new_from = scene_server,
		.new_to = client_of(j),
		.channel_out = channels[i] ^ 0x0100,
		.flags = PC_FLOW_HAIRPIN,
		.slot = j,
		.nexthop = 1 + j,
	};

	scene_add(rig, &up);
	if ((i + j) % 4)
		scene_add(rig, &down);
}

/* Six sessions; one is over, one next hop is not resolved, some lead elsewhere or are tagged. */
static void make_world(struct rig *rig)
{
	static const uint16_t mtus[N_TUPLES] = { 1500, 1280, 576, 1500, 100, 9000 };

	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = rig_now() + 3600 * NSEC });
	rig_set_txport(rig, RIG_LO);
	for (unsigned int i = 0; i < N_TUPLES; i++) {
		uint32_t ifindex = i == 3 ? 0 : i % 2 ? RIG_OTHER : RIG_LO;

		rig_set_nexthop(rig, 1 + i, ifindex, mtus[i], i % 3);
		add_pair(rig, i, i == 4 ? 1 : 0);
		for (unsigned int j = 0; j < N_TUPLES; j++)
			if (j != i)
				add_hairpin(rig, i, j);
	}
}

static size_t random_length(void)
{
	switch (rnd(8)) {
	case 0:
		return 0;
	case 1:
		return rnd(4);
	case 2:
		return 1200 + rnd(300);
	case 3:
		return 60 + rnd(16);
	default:
		return rnd(200);
	}
}

static void random_spec(struct frame_spec *spec, uint8_t *payload)
{
	static uint8_t data[FRAME_MAX];
	unsigned int i = rnd(N_TUPLES), j = rnd(N_TUPLES);
	size_t len = random_length();

	frame_fill(data, len, rnd(0x7fffffff));
	memset(spec, 0, sizeof(*spec));
	spec->link_seed = rnd(90);
	spec->vlans = rnd(3);
	spec->tos = (uint8_t)rnd(256);
	spec->ttl = (uint8_t)(rnd(10) ? 2 + rnd(254) : rnd(2));
	spec->id = (uint16_t)rnd(65536);
	spec->frag = rnd(2) ? FRAME_DF : 0;
	spec->no_checksum = !rnd(5);
	spec->payload = payload;
	if (rnd(3)) {
		uint16_t channel = i == j ? channels[i] : channels[j] ^ 0x0100;
		size_t pad = rnd(2) ? (4 - len % 4) % 4 : rnd((4 - (uint32_t)len % 4) % 4 + 1);

		spec->from = client_of(i);
		spec->to = scene_server;
		spec->len = frame_channel_data(payload, channel, data, len, pad,
					       rnd(2) ? (uint8_t)rnd(256) : 0);
	} else {
		spec->from = i == j || rnd(4) ? peer_of(i) : peer_of(j);
		spec->to = relayed_of(i);
		spec->len = len;
		memcpy(payload, data, len);
	}
	if (spec->len < 18 && rnd(4))
		spec->trailer = 18 - spec->len;
}

/* Departs from the grammar. */
static void spoil_spec(struct frame_spec *spec)
{
	switch (rnd(8)) {
	case 0:
		spec->option_words = 1 + rnd(10);
		break;
	case 1:
		spec->frag = (uint16_t)rnd(65536);
		break;
	case 2:
		spec->ip_len_off = (int)rnd(20) - 10;
		break;
	case 3:
		spec->udp_len_off = (int)rnd(20) - 10;
		break;
	case 4:
		spec->ip_len_off = spec->udp_len_off = (int)rnd(40) - 20;
		break;
	case 5:
		spec->to.port = (uint16_t)rnd(65536);
		break;
	case 6:
		spec->from.port ^= (uint16_t)(1u << rnd(16));
		break;
	default:
		spec->trailer = rnd(200);
	}
}

static void damage(struct frame *frame)
{
	unsigned int n = 1 + rnd(3);

	while (n--)
		frame->bytes[rnd(rnd(2) ? (uint32_t)frame->len : 60) % frame->len] ^=
			(uint8_t)(1 + rnd(255));
	if (!rnd(4) && frame->len > 60)
		frame->len -= rnd((uint32_t)frame->len - 60);
}

static void random_frame(struct frame *frame)
{
	static uint8_t payload[FRAME_MAX];
	struct frame_spec spec;

	random_spec(&spec, payload);
	if (!rnd(6))
		spoil_spec(&spec);
	frame_build(frame, &spec);
	if (!rnd(6))
		damage(frame);
}

struct totals {
	uint64_t reasons[PC_REASON_SLOTS];
	struct pc_count counts[RIG_SESSIONS];
};

static void add_totals(struct totals *t, const struct model *m)
{
	if (m->reason != RIG_NO_REASON)
		t->reasons[m->reason]++;
	if (m->up_slot >= 0)
		rig_add_dir(&t->counts[m->up_slot].up,
			    &(struct pc_dir_count){ 1, m->payload, m->up_wire });
	if (m->down_slot >= 0)
		rig_add_dir(&t->counts[m->down_slot].down,
			    &(struct pc_dir_count){ 1, m->payload, m->down_wire });
}

static void expect_totals(struct rig *rig, const struct totals *t)
{
	for (uint32_t i = 0; i < PC_REASON_SLOTS; i++)
		assert_int_equal(rig_reason(rig, i), t->reasons[i]);
	for (uint32_t i = 0; i < RIG_SESSIONS; i++) {
		struct pc_count got = rig_count(rig, i);

		assert_memory_equal(&got, &t->counts[i], sizeof(got));
	}
}

/* The grammar is worth something only if it gets everywhere. */
static void expect_coverage(const struct totals *t)
{
	static const int reached[] = {
		PC_REASON_TX,		PC_REASON_REDIRECT,	PC_REASON_PASS_CONTROL,
		PC_REASON_PASS_NO_FLOW, PC_REASON_PASS_UNUSUAL, PC_REASON_PASS_EXPIRED,
		PC_REASON_PASS_NEXTHOP, PC_REASON_PASS_MTU,	PC_REASON_DROP_LENGTH,
		PC_REASON_DROP_TTL,
	};

	for (size_t i = 0; i < RIG_COUNT(reached); i++)
		if (t->reasons[reached[i]] < 20)
			fail_msg("reason %d only %llu times", reached[i],
				 (unsigned long long)t->reasons[reached[i]]);
}

static void test_random(void **state)
{
	uint64_t first = env_number("PC_TEST_SEED", 88172645463325252ull);
	uint64_t packets = env_number("PC_TEST_PACKETS", DEFAULT_PACKETS);
	static struct totals totals;
	static struct frame in, got;
	static struct model m;

	seed = first ? first : 1;
	make_world(*state);
	for (uint64_t i = 0; i < packets; i++) {
		int verdict;

		random_frame(&in);
		model_run(*state, &in, rig_now(), &m);
		verdict = rig_run(*state, &in, &got);
		if (verdict != m.verdict || !model_same(&m, &got))
			fail_msg("seed %llu packet %llu: verdict %d, expected %d (reason %d), "
				 "%zu bytes, expected %zu",
				 (unsigned long long)first, (unsigned long long)i, verdict,
				 m.verdict, m.reason, got.len, m.out.len);
		add_totals(&totals, &m);
	}
	expect_totals(*state, &totals);
	if (packets >= DEFAULT_PACKETS)
		expect_coverage(&totals);
}

int main(void)
{
	const struct CMUnitTest tests[] = { rig_test(test_random) };

	rig_main(tests);
}
