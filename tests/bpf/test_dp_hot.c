/* SPDX-License-Identifier: MIT */
/*
 * Permissions in the tables where the program looks first: what lies there, when it goes, and that
 * channels come before them. Channels themselves are in test_dp_table.c.
 */
#include "dp_env.h"
#include "lib/csum.h"

#define PLACES_MAX 64

struct place {
	uint64_t addrs[4], tail;
	struct pc_flow flow;
};

static struct place places[PLACES_MAX];

/* All that is taken, of one family. Returns how many. */
static size_t read_places(bool six)
{
	_cleanup_close_ int fd = env_pin(six ? PC_MAP_HOT6 : PC_MAP_HOT4);
	uint32_t sets = pc_hot_sets((six ? 2ull : 4ull) * ENV_SESSIONS);
	struct pc_hot4 hot4;
	struct pc_hot6 hot6;
	size_t n = 0;

	for (uint32_t set = 0; set < sets; set++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &set, six ? (void *)&hot6 : (void *)&hot4),
				 0);
		for (int way = 0; way < PC_HOT_WAYS; way++) {
			struct place *at = &places[n];

			memset(at, 0, sizeof(*at));
			if (six) {
				memcpy(at->addrs, hot6.addrs[way], sizeof(at->addrs));
				at->tail = hot6.tail[way];
				at->flow = hot6.flow[way];
			} else {
				memcpy(at->addrs, &hot4.key[way], 8);
				memcpy(&at->tail, &hot4.key[way].sport, 8);
				at->flow = hot4.flow[way];
			}
			n += at->tail && at->tail != PC_HOT_KNOWN;
			assert_true(n < PLACES_MAX);
		}
	}
	return n;
}

/* What is found for packets from @src to @dst, whatever else is in the key. */
static const struct place *find_place(size_t n, const struct pc_addr *src,
				      const struct pc_addr *dst)
{
	size_t len = pc_ip_len(&src->ip);
	uint16_t ports[2] = { htons(src->port), htons(dst->port) };
	uint8_t addrs[32];

	memcpy(addrs, src->ip.b, len);
	memcpy(addrs + len, dst->ip.b, len);
	for (size_t i = 0; i < n; i++)
		if (!memcmp(places[i].addrs, addrs, 2 * len) && !memcmp(&places[i].tail, ports, 4))
			return &places[i];
	fail_msg("no place for port %u", src->port);
	return NULL;
}

/* The difference of checksums, in full: the port of the peer is left out of it. */
static uint16_t l4_diff(const struct pc_addr *in, const struct pc_addr *out)
{
	uint32_t sum = 0;

	for (int i = 0; i < 2; i++) {
		for (size_t at = 0; at < pc_ip_len(&in[i].ip); at += 2) {
			uint16_t gone, come;

			memcpy(&gone, in[i].ip.b + at, 2);
			memcpy(&come, out[i].ip.b + at, 2);
			sum += pc_csum_diff16(gone, come);
		}
		sum += pc_csum_diff16(htons(in[i].port), htons(out[i].port));
	}
	return pc_csum_fold(sum);
}

static void expect_place(size_t n, const struct pc_addr in[2], const struct pc_addr out[2],
			 const struct pc_flow *rest)
{
	const struct place *place = find_place(n, &in[0], &in[1]);
	const struct pc_flow *flow = &place->flow;

	assert_memory_equal(flow->saddr, out[0].ip.b, pc_ip_len(&out[0].ip));
	assert_memory_equal(flow->daddr, out[1].ip.b, pc_ip_len(&out[1].ip));
	assert_int_equal(flow->sport, htons(out[0].port));
	assert_int_equal(flow->dport, htons(out[1].port));
	assert_int_equal(flow->l4_diff % 0xffff, l4_diff(in, out) % 0xffff);
	assert_int_equal(flow->channel, 0);
	assert_int_equal(flow->flags, rest->flags);
	assert_int_equal(flow->nexthop, rest->nexthop);
	assert_int_equal(flow->expires_ns, rest->expires_ns);
	assert_int_equal(flow->slot, 6);
	assert_int_equal(flow->tenant, 3);
	/* No key of a flow ends like that. */
	assert_int_not_equal(place->tail >> 48, 0);
}

static void expect_both(const struct pc_dp_perm *perm)
{
	bool six = perm->client.ip.family == 6;
	struct pc_addr peer = { .ip = perm->peer };
	struct pc_addr ends[3][2] = { { perm->client, perm->server },
				      { perm->relayed, peer },
				      { peer, perm->relayed } };
	struct pc_addr down[2] = { perm->server, perm->client };
	uint16_t flags = PC_FLOW_PERM | (six ? PC_FLOW_OUT6 : 0);
	struct pc_flow up_rest = { .flags = flags | PC_FLOW_UP,
				   .nexthop = 8,
				   .expires_ns = perm->expires_ns };
	struct pc_flow down_rest = { .flags = flags, .nexthop = 7, .expires_ns = perm->expires_ns };
	size_t n = read_places(six);

	assert_int_equal(n, 2);
	expect_place(n, ends[0], ends[1], &up_rest);
	expect_place(n, ends[2], down, &down_rest);
}

/* Written, renewed, taken up by the next daemon, deleted; nothing in the other family's table. */
static void test_perm(void **state)
{
	for (int six = 0; six < 2; six++) {
		struct pc_dp_perm perm = env_perm(six, six, 1000);
		struct pc_dp *dp = env_open();

		assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
		expect_both(&perm);
		perm.expires_ns = 999;
		assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
		expect_both(&perm);
		assert_int_equal(read_places(!six), 0);
		pc_dp_close(dp);
		dp = env_open();
		expect_both(&perm);
		assert_int_equal(pc_dp_perm_del(dp, &perm), 0);
		assert_int_equal(read_places(six), 0);
		pc_dp_close(dp);
	}
}

/* What the lean ways do not take has no place. */
static void test_none(void **state)
{
	struct pc_dp_perm perms[] = { env_perm(false, true, 1000), env_perm(true, false, 1001),
				      env_perm(false, false, 1002), env_perm(true, true, 1003) };
	struct pc_dp *dp = env_open();

	perms[2].hairpin = perms[3].hairpin = true;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pc_dp_perm_set(dp, &perms[i]), 0);
		assert_int_equal(read_places(false), 0);
		assert_int_equal(read_places(true), 0);
		assert_int_equal(pc_dp_perm_del(dp, &perms[i]), 0);
	}
	pc_dp_close(dp);
}

/* A peer's address that looks like a channel's number is not taken for one. */
static void test_likeness(void **state)
{
	struct pc_dp_perm perm = env_perm(false, false, 1000);
	struct pc_dp_flow flow = env_flow(1000);
	struct pc_dp *dp = env_open();

	perm.peer = pc_ip4(0x40, 0x01, 0, 0); /* in memory as channel 0x4001, and 0 */
	flow.peer.port = 7;
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
	assert_int_equal(read_places(false), 4);
	assert_int_equal(pc_dp_perm_del(dp, &perm), 0);
	assert_int_equal(read_places(false), 2);
	pc_dp_close(dp);
}

static uint32_t set_of_perm(const struct pc_perm4_key *key)
{
	struct pc_flow4_key found;

	assert_true(pc_hot_perm4(key, NULL, &found, NULL));
	return env_hot_set(&found);
}

/* Of the way up of what is used below: a permission, or a channel. */
static uint32_t set_up(uint16_t port, bool perm)
{
	struct pc_perm4_key key = { .saddr = htonl(0xc6336401),
				    .daddr = htonl(0xc6336402),
				    .peer = htonl(0xc6336403),
				    .sport = htons(port),
				    .dport = htons(ENV_PORT) };
	struct pc_flow4_key flow = { key.saddr, key.daddr, key.sport, key.dport, htons(0x4001), 0 };

	return perm ? set_of_perm(&key) : env_hot_set(&flow);
}

/* And of the way down: by the relayed port, or by the peer's. */
static uint32_t set_down(uint16_t port, bool perm)
{
	struct pc_perm4_key key = { .saddr = htonl(0xc6336403),
				    .daddr = htonl(0xc6336402),
				    .dport = htons(port) };
	struct pc_flow4_key flow = { key.saddr, key.daddr, htons(port), htons(50001), 0, 0 };

	return perm ? set_of_perm(&key) : env_hot_set(&flow);
}

/* The next port whose way up is in @set. */
static uint16_t port_in(uint32_t set, uint16_t port, bool perm)
{
	while (set_up(++port, perm) != set)
		assert_true(port < 60000);
	return port;
}

/* The next port whose way down is elsewhere. */
static uint16_t port_off(uint32_t set, uint16_t port, bool perm)
{
	while (set_down(++port, perm) == set)
		assert_true(port < 60000);
	return port;
}

/* How many places are taken by ways up: by permissions, or by channels. */
static size_t count_up(bool perm)
{
	size_t n = read_places(false), found = 0;

	for (size_t i = 0; i < n; i++) {
		uint16_t flags = places[i].flow.flags;

		found += flags & PC_FLOW_UP && !(flags & PC_FLOW_PERM) == !perm;
	}
	return found;
}

/* A full set: one permission more stays out, a channel takes the place of one, and keeps it. */
static void test_full(void **state)
{
	uint32_t set = set_up(1, true);
	struct pc_dp *dp = env_open();
	uint16_t port = 0, down = 50001;
	struct pc_dp_perm perm;
	struct pc_dp_flow flow;

	for (int i = 0; i <= PC_HOT_WAYS; i++) {
		port = port_in(set, port, true);
		perm = env_perm(false, false, port);
		down = perm.relayed.port = port_off(set, down, true);
		assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
		assert_int_equal(count_up(true), i < PC_HOT_WAYS ? i + 1 : PC_HOT_WAYS);
	}
	port = down = 0;
	for (int i = 0; i <= PC_HOT_WAYS; i++) {
		port = port_in(set, port, false);
		flow = env_flow(port);
		down = flow.peer.port = port_off(set, down, false);
		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
		assert_int_equal(count_up(false), i < PC_HOT_WAYS ? i + 1 : PC_HOT_WAYS);
		assert_int_equal(count_up(true), i < PC_HOT_WAYS ? PC_HOT_WAYS - i - 1 : 0);
	}
	perm.expires_ns++;
	assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
	assert_int_equal(count_up(true), 0);
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0); /* has no place */
	assert_int_equal(count_up(false), PC_HOT_WAYS);
	pc_dp_close(dp);
}

/* Free places of @set that say that it has all its flows, or do not. */
static size_t count_free(uint32_t set, bool known)
{
	_cleanup_close_ int fd = env_pin(PC_MAP_HOT4);
	struct pc_hot4 hot;
	uint64_t tail;
	size_t n = 0;

	assert_int_equal(bpf_map_lookup_elem(fd, &set, &hot), 0);
	for (int way = 0; way < PC_HOT_WAYS; way++) {
		memcpy(&tail, &hot.key[way].sport, sizeof(tail));
		n += tail == (known ? PC_HOT_KNOWN : 0);
	}
	return n;
}

/* A set says that it has all its flows, from the start; not once one found no room in it. */
static void test_known(void **state)
{
	struct pc_dp_flow flows[PC_HOT_WAYS + 1];
	uint32_t set = set_up(1, false);
	struct pc_dp *dp = env_open();
	uint16_t port = 0, down = 0;

	for (int i = 0; i <= PC_HOT_WAYS; i++) {
		assert_int_equal(count_free(set, true), PC_HOT_WAYS - i);
		port = port_in(set, port, false);
		flows[i] = env_flow(port);
		down = flows[i].peer.port = port_off(set, down, false);
		if (i == 1) {
			assert_int_equal(pc_dp_flow_del(dp, &flows[0]), 0);
			assert_int_equal(count_free(set, true), PC_HOT_WAYS);
			assert_int_equal(pc_dp_flow_set(dp, &flows[0]), 0);
		}
		assert_int_equal(pc_dp_flow_set(dp, &flows[i]), 0);
	}
	assert_int_equal(pc_dp_flow_del(dp, &flows[0]), 0);
	assert_int_equal(count_free(set, true), 0);
	assert_int_equal(count_free(set, false), 1);
	/* The next daemon finds room for all. */
	pc_dp_close(dp);
	dp = env_open();
	assert_int_equal(count_up(false), PC_HOT_WAYS);
	assert_int_equal(pc_dp_flow_del(dp, &flows[1]), 0);
	assert_int_equal(count_free(set, true), 1);
	assert_int_equal(count_free(set, false), 0);
	pc_dp_close(dp);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, env_fresh, env_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_perm), T(test_none), T(test_likeness), T(test_full), T(test_known),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!env_enter())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
