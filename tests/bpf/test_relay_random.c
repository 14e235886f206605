/* SPDX-License-Identifier: MIT */
/*
 * Random packets through the XDP relay and through the reference model: the same verdict, the same
 * bytes, the same counters. Packets come from a grammar that mostly makes relayed traffic; some are
 * then damaged. PC_TEST_SEED and PC_TEST_PACKETS change the run.
 */
#include "model.h"

#define DEFAULT_PACKETS 100000

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

#define N_TUPLES 8
static const uint16_t channels[N_TUPLES] = { 0x4000, 0x4001, 0x5abc, 0x60ff,
					     0x7ffe, 0x7fff, 0x6123, 0x4dcd };

/* Sessions in every mix of families. */
static struct endpoint client_of(unsigned int i)
{
	return (struct endpoint){ 0xc0000200 + 17 * i, (uint16_t)(40000 + 259 * i), i & 1 };
}

static struct endpoint peer_of(unsigned int i)
{
	return (struct endpoint){ 0xcb007100 + 13 * i, (uint16_t)(7000 + 515 * i), i & 2 };
}

/* Every session has a relayed address of both families. */
static struct endpoint relayed_of(unsigned int i, bool six)
{
	return (struct endpoint){ 0xc6336401, (uint16_t)(RIG_RELAY_LOW + 3 * i), six };
}

static struct endpoint server_of(unsigned int i)
{
	return scene_family(scene_server, client_of(i).six);
}

static uint16_t hairpin_channel(unsigned int to, bool six)
{
	return channels[to] ^ (six ? 0x0200 : 0x0100);
}

static uint32_t to_peer(unsigned int i)
{
	return 1 + i;
}

static uint32_t to_client(unsigned int i)
{
	return 1 + N_TUPLES + i;
}

/* Of sessions: nobody's, and tenants with every kind of limit. */
static uint32_t tenant_of(unsigned int i)
{
	return i < 5 ? i : 0;
}

/* 1: a rate that is not reached. 2, 3: DSCP. 4: over its rate, up. And a session without credit. */
static void add_limits(struct rig *rig)
{
	struct pc_rate rate = {
		.committed = pc_rate_word(400000000000),
		.depth = UINT32_MAX,
		.lease = pc_rate_lease_charge(400000000000),
	};

	for (uint32_t direction = PC_RATE_UP; direction <= PC_RATE_DOWN; direction++) {
		rate.flags = 0;
		rig_set_rate(rig, 1, direction, &rate, 0);
		rig_set_rate(rig, 4, direction, &rate,
			     direction == PC_RATE_UP ? UINT64_MAX / 2 : 0);
		rate.flags = PC_RATE_UNLIMITED | PC_RATE_SET_DSCP;
		for (uint32_t tenant = 2; tenant <= 3; tenant++) {
			rate.dscp = (uint8_t)(23 * tenant - direction);
			rig_set_rate(rig, tenant, direction, &rate, 0);
		}
	}
	rig_set_credit(rig, 5, 0);
}

static void add_pair(struct rig *rig, unsigned int i, uint64_t expires_ns)
{
	struct endpoint relayed = relayed_of(i, peer_of(i).six);
	struct scene_flow up = {
		.from = client_of(i),
		.to = server_of(i),
		.channel_in = channels[i],
		.new_from = relayed,
		.new_to = peer_of(i),
		.flags = PC_FLOW_UP,
		.slot = i,
		.tenant = tenant_of(i),
		.nexthop = to_peer(i),
		.expires_ns = expires_ns,
	};
	struct scene_flow down = {
		.from = peer_of(i),
		.to = relayed,
		.new_from = server_of(i),
		.new_to = client_of(i),
		.channel_out = channels[i],
		.slot = i,
		.tenant = tenant_of(i),
		.nexthop = to_client(i),
		.expires_ns = expires_ns,
	};
	struct scene_perm perm = {
		.client = client_of(i),
		.server = server_of(i),
		.relayed = relayed,
		.peer = peer_of(i),
		.slot = i,
		.tenant = tenant_of(i),
		.to_client = to_client(i),
		.to_peer = to_peer(i),
		.expires_ns = expires_ns,
	};

	scene_add(rig, &up);
	scene_add(rig, &down);
	scene_add_perm(rig, &perm);
}

/* Client i to client j; with only one half every fourth time: then by indication. */
static void add_hairpin(struct rig *rig, unsigned int i, unsigned int j, bool six)
{
	struct scene_flow up = {
		.from = client_of(i),
		.to = server_of(i),
		.channel_in = hairpin_channel(j, six),
		.new_from = relayed_of(i, six),
		.new_to = relayed_of(j, six),
		.flags = PC_FLOW_UP | PC_FLOW_HAIRPIN,
		.slot = i,
		.tenant = tenant_of(i),
	};
	struct scene_flow down = {
		.from = relayed_of(i, six),
		.to = relayed_of(j, six),
		.new_from = server_of(j),
		.new_to = client_of(j),
		.channel_out = hairpin_channel(i, six),
		.flags = PC_FLOW_HAIRPIN,
		.slot = j,
		.tenant = tenant_of(j),
		.nexthop = to_client(j),
	};

	scene_add(rig, &up);
	if ((i + j) % 4)
		scene_add(rig, &down);
}

/* Between any two clients, but to the last. */
static void add_inside(struct rig *rig, unsigned int i, bool six)
{
	struct scene_perm perm = {
		.client = client_of(i),
		.server = server_of(i),
		.relayed = relayed_of(i, six),
		.peer = scene_family(scene_relayed, six),
		.hairpin = true,
		.slot = i,
		.tenant = tenant_of(i),
		.to_client = to_client(i),
		.to_peer = to_peer(i),
	};

	if (i + 1 < N_TUPLES)
		scene_add_perm(rig, &perm);
	if (i % 3)
		scene_add_port(rig, relayed_of(i, six));
}

/* One session is over, one next hop is not resolved, some lead elsewhere or are tagged. */
static void make_world(struct rig *rig)
{
	static const uint16_t mtus[N_TUPLES] = { 1500, 1280, 576, 1500, 100, 9000, 1500, 1300 };

	rig_set_ctl(rig, (struct pc_ctl){ .heartbeat_ns = rig_now() + 3600 * NSEC });
	rig_set_txport(rig, RIG_LO);
	add_limits(rig);
	for (unsigned int i = 0; i < N_TUPLES; i++) {
		/* Sessions of one family go back where they came from, as the lean ways want it. */
		bool plain = client_of(i).six == peer_of(i).six;
		uint32_t ifindex = i == 1 ? 0 : i % 2 && !plain ? RIG_OTHER : RIG_LO;

		rig_set_nexthop6(rig, to_peer(i), ifindex, mtus[i], plain ? 0 : i % 3,
				 peer_of(i).six);
		rig_set_nexthop6(rig, to_client(i), i % 3 || plain ? RIG_LO : RIG_OTHER,
				 mtus[(i + 1) % N_TUPLES], plain ? 0 : (i + 1) % 3,
				 client_of(i).six);
		add_pair(rig, i, i == 4 ? 1 : 0);
		add_inside(rig, i, false);
		add_inside(rig, i, true);
		for (unsigned int j = 0; j < N_TUPLES; j++) {
			if (j == i)
				continue;
			add_hairpin(rig, i, j, false);
			add_hairpin(rig, i, j, true);
		}
	}
	rig_know(rig);
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

static size_t random_channel_data(uint8_t *payload, unsigned int i, unsigned int j,
				  const uint8_t *data, size_t len)
{
	uint16_t channel = i == j ? channels[i] : hairpin_channel(j, rnd(2));
	size_t pad = rnd(2) ? (4 - len % 4) % 4 : rnd((4 - (uint32_t)len % 4) % 4 + 1);

	return frame_channel_data(payload, channel, data, len, pad, rnd(2) ? (uint8_t)rnd(256) : 0);
}

static size_t random_send(uint8_t *payload, unsigned int i, unsigned int j, const uint8_t *data,
			  size_t len)
{
	static const uint16_t ports[] = { 0, 53, 443, 1023, 1024, 1900, 11211, 47808, 65535 };
	struct frame_indication ind = {
		.type = 0x0016,
		.peer = i == j ? peer_of(i) : relayed_of(j, rnd(2)),
		.data = data,
		.len = len,
		.data_first = !rnd(3),
		.fingerprint = !rnd(3),
		.pad_byte = rnd(2) ? (uint8_t)rnd(256) : 0,
		.reserved = rnd(4) ? 0 : (uint8_t)rnd(256),
	};

	frame_fill(ind.txid, sizeof(ind.txid), rnd(0x7fffffff));
	if (!rnd(4))
		ind.peer.port = ports[rnd(RIG_COUNT(ports))];
	return frame_indication(payload, &ind);
}

static void random_peer(struct frame_spec *spec, unsigned int i, unsigned int j)
{
	spec->from = i == j || rnd(4) ? peer_of(i) : peer_of(j);
	spec->to = relayed_of(i, spec->from.six);
	if (!rnd(3))
		spec->from.port = (uint16_t)rnd(65536);
	if (!rnd(12))
		spec->from = relayed_of(j, spec->from.six);
}

static void random_spec(struct frame_spec *spec, uint8_t *payload)
{
	static uint8_t data[FRAME_MAX];
	unsigned int i = rnd(N_TUPLES), j = rnd(2) ? i : rnd(N_TUPLES);
	size_t len = random_length();

	frame_fill(data, len, rnd(0x7fffffff));
	memset(spec, 0, sizeof(*spec));
	spec->link_seed = rnd(90);
	spec->vlans = rnd(3);
	spec->tos = (uint8_t)rnd(256);
	spec->ttl = (uint8_t)(rnd(10) ? 2 + rnd(254) : rnd(2));
	spec->id = (uint16_t)rnd(65536);
	spec->frag = rnd(2) ? FRAME_DF : 0;
	spec->flow_label = rnd(2) ? rnd(1 << 20) : 0;
	spec->no_checksum = !rnd(8);
	spec->payload = payload;
	spec->from = client_of(i);
	spec->to = server_of(i);
	switch (rnd(3)) {
	case 0:
		spec->len = random_channel_data(payload, i, j, data, len);
		break;
	case 1:
		spec->len = random_send(payload, i, j, data, len);
		break;
	default:
		random_peer(spec, i, j);
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
		frame->bytes[rnd(rnd(2) ? (uint32_t)frame->len : 120) % frame->len] ^=
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

/* Damage may make a frame of a pipe: the model knows none of those, test_relay_pipe does. */
static bool is_pipe(const struct rig *rig, const struct frame *frame)
{
	struct model_packet p = { 0 };
	struct model m = { 0 };

	return model_classify(rig, frame, &p, &m) == 0 && p.up && p.len &&
	       p.payload[0] == PC_PIPE_TYPE;
}

struct totals {
	uint64_t reasons[PC_REASON_SLOTS];
	struct pc_count counts[RIG_SESSIONS];
};

static void add_totals(struct totals *t, const struct model *m)
{
	if (m->reason != RIG_NO_REASON)
		t->reasons[m->reason]++;
	if (m->refused_slot >= 0 && m->reason == PC_REASON_DROP_CREDIT)
		t->counts[m->refused_slot].drops_credit++;
	else if (m->refused_slot >= 0)
		t->counts[m->refused_slot].drops_rate++;
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

/* A tenant is charged for what was sent and for nothing else: here each has one session. */
static void expect_charged(struct rig *rig, const struct totals *t)
{
	for (uint32_t i = 1; i < N_TUPLES; i++) {
		if (!tenant_of(i))
			continue;
		assert_int_equal(rig_lease(rig, tenant_of(i), PC_RATE_UP).bytes,
				 t->counts[i].up.wire_bytes);
		assert_int_equal(rig_lease(rig, tenant_of(i), PC_RATE_DOWN).bytes,
				 t->counts[i].down.wire_bytes);
	}
}

/* The grammar is worth something only if it gets everywhere. */
static void expect_coverage(const struct totals *t)
{
	static const int reached[] = {
		PC_REASON_TX,		PC_REASON_REDIRECT,	      PC_REASON_PASS_CONTROL,
		PC_REASON_PASS_NO_FLOW, PC_REASON_PASS_UNUSUAL,	      PC_REASON_PASS_EXPIRED,
		PC_REASON_PASS_NEXTHOP, PC_REASON_PASS_MTU,	      PC_REASON_DROP_LENGTH,
		PC_REASON_DROP_TTL,	PC_REASON_DROP_NO_PERMISSION, PC_REASON_PASS_CHECKSUM,
		PC_REASON_DROP_RATE,	PC_REASON_DROP_CREDIT,
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
	memset(&totals, 0, sizeof(totals));
	make_world(*state);
	for (uint64_t i = 0; i < packets; i++) {
		int verdict;

		do {
			random_frame(&in);
		} while (is_pipe(*state, &in));
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
	expect_charged(*state, &totals);
	if (packets >= DEFAULT_PACKETS)
		expect_coverage(&totals);
}

int main(void)
{
	const struct CMUnitTest tests[] = { rig_test(test_random) };

	rig_main(tests);
}
