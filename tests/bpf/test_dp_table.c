/* SPDX-License-Identifier: MIT */
/* Flows, permissions and ports in the real kernel's tables, of every mix of families. */
#include "dp_env.h"

static void test_flow_entries(void **state)
{
	struct pc_dp_flow flow = env_flow(1000);
	struct pc_dp *dp = env_open();
	_cleanup_close_ int fd = env_pin(PC_MAP_FLOW4);
	struct pc_flow4_key up_key = {
		.saddr = htonl(0xc6336401),
		.daddr = htonl(0xc6336402),
		.sport = htons(1000),
		.dport = htons(ENV_PORT),
		.channel = htons(0x4001),
	};
	struct pc_flow4_key down_key = {
		.saddr = htonl(0xc6336403),
		.daddr = htonl(0xc6336402),
		.sport = htons(1000),
		.dport = htons(50001),
	};
	struct pc_flow up, down;
	uint32_t used, size;

	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &up_key, &up), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &down_key, &down), 0);
	assert_int_equal(up.saddr[0], htonl(0xc6336402));
	assert_int_equal(up.daddr[0], htonl(0xc6336403));
	assert_int_equal(up.sport, htons(50001));
	assert_int_equal(up.dport, htons(1000));
	assert_int_equal(up.channel, 0);
	assert_int_equal(up.flags, PC_FLOW_UP);
	assert_int_equal(up.nexthop, 8);
	assert_int_equal(up.slot, 5);
	assert_int_equal(up.expires_ns, 12345678);
	assert_int_equal(down.saddr[0], htonl(0xc6336402));
	assert_int_equal(down.daddr[0], htonl(0xc6336401));
	assert_int_equal(down.sport, htons(ENV_PORT));
	assert_int_equal(down.dport, htons(1000));
	assert_int_equal(down.channel, htons(0x4001));
	assert_int_equal(down.flags, 0);
	assert_int_equal(down.nexthop, 7);

	/* Replaced whole, not added. */
	flow.expires_ns++;
	flow.hairpin = true;
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &up_key, &up), 0);
	assert_int_equal(up.flags, PC_FLOW_UP | PC_FLOW_HAIRPIN);
	assert_int_equal(bpf_map_lookup_elem(fd, &down_key, &down), 0);
	assert_int_equal(down.flags, PC_FLOW_HAIRPIN);
	assert_int_equal(up.expires_ns, 12345679);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2);

	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &up_key, &up), -ENOENT);
	assert_int_equal(bpf_map_lookup_elem(fd, &down_key, &down), -ENOENT);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 0);

	flow.slot = ENV_SESSIONS;
	assert_int_equal(pc_dp_flow_set(dp, &flow), PC_ERR_RANGE);
	flow.slot = 0;
	flow.tenant = pc_dp_max_tenants(dp) + 1;
	assert_int_equal(pc_dp_flow_set(dp, &flow), PC_ERR_RANGE);
	flow.tenant--;
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	/* Both ends of one side are of one family. */
	flow.peer.ip.family = 6;
	assert_int_equal(pc_dp_flow_set(dp, &flow), PC_ERR_RANGE);
	pc_dp_close(dp);
}

/* The entry of a way with these ends; in the value what lies at @at is expected. */
static struct pc_flow find_flow(const struct pc_addr *src, const struct pc_addr *dst,
				uint16_t channel)
{
	bool six = src->ip.family == 6;
	_cleanup_close_ int fd = env_pin(six ? PC_MAP_FLOW6 : PC_MAP_FLOW4);
	struct pc_flow6_key key6 = { .sport = htons(src->port), .dport = htons(dst->port) };
	struct pc_flow4_key key4 = { .sport = htons(src->port), .dport = htons(dst->port) };
	struct pc_flow flow;

	key4.channel = key6.channel = htons(channel);
	memcpy(key6.saddr, src->ip.b, 16);
	memcpy(key6.daddr, dst->ip.b, 16);
	memcpy(&key4.saddr, src->ip.b, 4);
	memcpy(&key4.daddr, dst->ip.b, 4);
	assert_int_equal(bpf_map_lookup_elem(fd, six ? (void *)&key6 : (void *)&key4, &flow), 0);
	return flow;
}

static void expect_sent(const __be32 words[4], const struct pc_addr *want)
{
	uint8_t zero[16] = { 0 };
	size_t len = pc_ip_len(&want->ip);

	assert_memory_equal(words, want->ip.b, len);
	assert_memory_equal((const uint8_t *)words + len, zero, 16 - len);
}

/* Every mix of families, straight and inside. */
static void test_flow_families(void **state)
{
	struct pc_dp *dp = env_open();
	uint32_t used, size;

	for (int mix = 0; mix < 8; mix++) {
		bool client6 = mix & 1, peer6 = mix & 2, hairpin = mix & 4;
		uint16_t inside = hairpin ? PC_FLOW_HAIRPIN : 0;
		struct pc_dp_flow flow = env_flow(1000);
		struct pc_flow up, down;

		flow.client = env_addr_of(client6, 1, 1000);
		flow.server = env_addr_of(client6, 2, ENV_PORT);
		flow.relayed = env_addr_of(peer6, 2, 50001);
		flow.peer = env_addr_of(peer6, 3, 1000);
		flow.hairpin = hairpin;
		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
		up = find_flow(&flow.client, &flow.server, 0x4001);
		down = find_flow(&flow.peer, &flow.relayed, 0);
		expect_sent(up.saddr, &flow.relayed);
		expect_sent(up.daddr, &flow.peer);
		expect_sent(down.saddr, &flow.server);
		expect_sent(down.daddr, &flow.client);
		assert_int_equal(up.flags, PC_FLOW_UP | inside | (peer6 ? PC_FLOW_OUT6 : 0));
		assert_int_equal(down.flags, inside | (client6 ? PC_FLOW_OUT6 : 0));
		assert_int_equal(up.nexthop, hairpin ? 0 : 8);
		assert_int_equal(down.nexthop, 7);
		assert_true((up.l3_diff != 0) == !mix || mix == 4);
		assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
		assert_int_equal(used, 2);
		assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
		assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
		assert_int_equal(used, 0);
	}
	pc_dp_close(dp);
}

/* --- permissions and ports --- */

static void map_ip(const struct pc_ip *ip, uint8_t at[16])
{
	memset(at, 0, 16);
	memcpy(ip->family == 6 ? at : at + 12, ip->b, pc_ip_len(ip));
	if (ip->family == 4)
		at[10] = at[11] = 0xff;
}

static void expect_perm(const struct pc_perm *perm, const struct pc_addr *from,
			const struct pc_addr *to, uint16_t flags, uint32_t nexthop)
{
	assert_int_equal(perm->sport, htons(from->port));
	assert_int_equal(perm->dport, htons(to->port));
	assert_int_equal(perm->flags, flags);
	assert_int_equal(perm->slot, 6);
	assert_int_equal(perm->tenant, 3);
	assert_int_equal(perm->nexthop, nexthop);
	assert_int_equal(perm->expires_ns, 777);
}

static void test_perm_four(void **state)
{
	struct pc_dp_perm perm = env_perm(false, false, 1000);
	struct pc_addr peer = { .ip = perm.peer };
	struct pc_dp *dp = env_open();
	_cleanup_close_ int fd = env_pin(PC_MAP_PERM4);
	struct pc_perm4_key up_key = {
		.saddr = htonl(0xc6336401),
		.daddr = htonl(0xc6336402),
		.peer = htonl(0xc6336403),
		.sport = htons(1000),
		.dport = htons(ENV_PORT),
	};
	struct pc_perm4_key down_key = {
		.saddr = htonl(0xc6336403),
		.daddr = htonl(0xc6336402),
		.dport = htons(50001),
	};
	struct pc_perm up, down;

	assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &up_key, &up), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &down_key, &down), 0);
	expect_perm(&up, &perm.relayed, &peer, PC_FLOW_UP, 8);
	expect_perm(&down, &perm.server, &perm.client, 0, 7);
	expect_sent(up.saddr, &perm.relayed);
	expect_sent(up.daddr, &peer);
	expect_sent(down.saddr, &perm.server);
	expect_sent(down.daddr, &perm.client);
	/* Replaced whole. */
	perm.hairpin = true;
	assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &up_key, &up), 0);
	expect_perm(&up, &perm.relayed, &peer, PC_FLOW_UP | PC_FLOW_HAIRPIN, 0);
	assert_int_equal(pc_dp_perm_del(dp, &perm), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &up_key, &up), -ENOENT);
	assert_int_equal(bpf_map_lookup_elem(fd, &down_key, &down), -ENOENT);
	assert_int_equal(pc_dp_perm_del(dp, &perm), 0);
	perm.slot = ENV_SESSIONS;
	assert_int_equal(pc_dp_perm_set(dp, &perm), PC_ERR_RANGE);
	pc_dp_close(dp);
}

/* As soon as one side is IPv6, all addresses are written as such. */
static void test_perm_mixed(void **state)
{
	struct pc_dp *dp = env_open();
	_cleanup_close_ int fd = env_pin(PC_MAP_PERM6);
	uint32_t used, size;

	for (int mix = 1; mix < 4; mix++) {
		struct pc_dp_perm perm = env_perm(mix & 1, mix & 2, 1000);
		struct pc_perm6_key up_key = { .sport = htons(1000), .dport = htons(ENV_PORT) };
		struct pc_perm6_key down_key = { .dport = htons(50001) };
		struct pc_addr peer = { .ip = perm.peer };
		struct pc_perm up, down;
		uint8_t mapped[16];

		map_ip(&perm.client.ip, (uint8_t *)up_key.saddr);
		map_ip(&perm.server.ip, (uint8_t *)up_key.daddr);
		map_ip(&perm.peer, (uint8_t *)up_key.peer);
		map_ip(&perm.peer, (uint8_t *)down_key.saddr);
		map_ip(&perm.relayed.ip, (uint8_t *)down_key.daddr);
		assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
		assert_int_equal(bpf_map_lookup_elem(fd, &up_key, &up), 0);
		assert_int_equal(bpf_map_lookup_elem(fd, &down_key, &down), 0);
		expect_perm(&up, &perm.relayed, &peer, PC_FLOW_UP | (mix & 2 ? PC_FLOW_OUT6 : 0),
			    8);
		expect_perm(&down, &perm.server, &perm.client, mix & 1 ? PC_FLOW_OUT6 : 0, 7);
		map_ip(&perm.peer, mapped);
		assert_memory_equal(up.daddr, mapped, 16);
		map_ip(&perm.relayed.ip, mapped);
		assert_memory_equal(up.saddr, mapped, 16);
		map_ip(&perm.client.ip, mapped);
		assert_memory_equal(down.daddr, mapped, 16);
		map_ip(&perm.server.ip, mapped);
		assert_memory_equal(down.saddr, mapped, 16);
		assert_int_equal(pc_dp_perm_usage(dp, &used, &size), 0);
		assert_int_equal(used, 2);
		assert_int_equal(pc_dp_perm_del(dp, &perm), 0);
	}
	pc_dp_close(dp);
}

static void test_perm_full(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_perm perm = env_perm(true, false, 1000);
	const char *name;
	uint32_t used, size;
	struct pc_dp *dp;

	config.max_sessions = 8;
	dp = env_open_with(&config);
	for (uint8_t i = 0; i < 32; i++) {
		perm.peer.b[3] = (uint8_t)(100 + i);
		assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
	}
	perm.peer.b[3] = 99;
	assert_int_equal(pc_dp_perm_set(dp, &perm), PC_ERR_FULL);
	assert_int_equal(pc_dp_fullest(dp, &name, &used, &size), 0);
	assert_string_equal(name, "perm6");
	assert_int_equal(used, 64);
	assert_int_equal(size, 64);
	assert_int_equal(pc_dp_perm_usage(dp, &used, &size), 0);
	assert_int_equal(used, 64);
	assert_int_equal(size, 128);
	pc_dp_close(dp);
}

static void test_ports(void **state)
{
	struct pc_addr six = env_addr6(2, 50001), four = env_addr(2, 50001);
	struct pc_dp *dp = env_open();
	_cleanup_close_ int fd = env_pin(PC_MAP_PORT);
	struct pc_port_key key6 = { .port = htons(50001) }, key4 = key6;
	uint32_t value;

	map_ip(&six.ip, (uint8_t *)key6.addr);
	map_ip(&four.ip, (uint8_t *)key4.addr);
	assert_int_equal(pc_dp_port_set(dp, &six, true), 0);
	assert_int_equal(pc_dp_port_set(dp, &four, true), 0);
	assert_int_equal(pc_dp_port_set(dp, &four, true), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key6, &value), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key4, &value), 0);
	assert_int_equal(pc_dp_port_set(dp, &six, false), 0);
	assert_int_equal(pc_dp_port_set(dp, &six, false), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key6, &value), -ENOENT);
	assert_int_equal(bpf_map_lookup_elem(fd, &key4, &value), 0);
	pc_dp_close(dp);
}

static bool keep_slot_5(void *arg, const struct pc_dp_entry *e)
{
	const struct pc_addr *client = arg;

	assert_int_equal(e->kind, PC_DP_CLIENT);
	return e->slot == 5 && pc_addr_equal(&e->src, client);
}

static void test_clients(void **state)
{
	struct pc_addr six = env_addr6(1, 1000), four = env_addr(1, 1000),
		       server6 = env_addr6(2, ENV_PORT), server4 = env_addr(2, ENV_PORT);
	struct pc_dp *dp = env_open();
	_cleanup_close_ int fd = env_pin(PC_MAP_CLIENT);
	struct pc_client_key key6 = { .sport = htons(1000), .dport = htons(ENV_PORT) }, key4 = key6;
	struct pc_client value;

	map_ip(&six.ip, (uint8_t *)key6.saddr);
	map_ip(&server6.ip, (uint8_t *)key6.daddr);
	map_ip(&four.ip, (uint8_t *)key4.saddr);
	map_ip(&server4.ip, (uint8_t *)key4.daddr);
	assert_int_equal(pc_dp_client_set(dp, &six, &server4, 5), PC_ERR_RANGE);
	assert_int_equal(pc_dp_client_set(dp, &six, &server6, 5), 0);
	assert_int_equal(pc_dp_client_set(dp, &four, &server4, 5), 0);
	assert_int_equal(pc_dp_client_set(dp, &four, &server4, 6), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key6, &value), 0);
	assert_int_equal(value.slot, 5);
	assert_int_equal(bpf_map_lookup_elem(fd, &key4, &value), 0);
	assert_int_equal(value.slot, 6);
	assert_int_equal(pc_dp_sweep(dp, keep_slot_5, &six), 1);
	assert_int_equal(bpf_map_lookup_elem(fd, &key4, &value), -ENOENT);
	assert_int_equal(pc_dp_client_del(dp, &six, &server6), 0);
	assert_int_equal(pc_dp_client_del(dp, &six, &server6), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key6, &value), -ENOENT);
	pc_dp_close(dp);
}

/* Many at once: what is new, what was there, what is taken away meanwhile, and too many. */
static void test_batch(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_flow flow = env_flow(1);
	const uint32_t n = 1500;
	struct pc_flow4_key key = {
		.saddr = htonl(0xc6336401),
		.daddr = htonl(0xc6336402),
		.sport = htons(1),
		.dport = htons(ENV_PORT),
		.channel = htons(0x4001),
	};
	_cleanup_close_ int fd = -1;
	uint32_t used, size;
	struct pc_flow value;
	struct pc_dp *dp;

	config.max_sessions = 800;
	dp = env_open_with(&config);
	fd = env_pin(PC_MAP_FLOW4);
	flow.expires_ns++;
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	pc_dp_batch_begin(dp);
	for (uint32_t port = 1; port <= n; port++) {
		flow = env_flow((uint16_t)port);
		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	}
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_int_equal(pc_dp_batch_end(dp), 0);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2 * (n - 1));
	pc_dp_close(dp);

	/* The first of them was written over; those of an earlier daemon are counted. */
	dp = env_open_with(&config);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
	assert_int_equal(value.expires_ns, env_flow(1).expires_ns);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2 * (n - 1));
	pc_dp_batch_begin(dp);
	for (uint32_t port = 1; port <= 2 * n; port++) {
		flow = env_flow((uint16_t)port);
		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	}
	assert_int_equal(pc_dp_batch_end(dp), PC_ERR_FULL);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 3200);
	pc_dp_close(dp);
}

/* What an earlier daemon left, set again: all of it, or all but one, or more. */
static void test_batch_again(void **state)
{
	const struct pc_addr client = env_addr(1, 5), server = env_addr(2, ENV_PORT);
	const uint32_t n = 1500;
	uint32_t used, size;
	struct pc_dp_config config = env_config();
	struct pc_dp *dp;

	config.max_sessions = 1000;
	dp = env_open_with(&config);
	for (uint32_t port = 1; port <= n; port++) {
		struct pc_dp_flow flow = env_flow((uint16_t)port);

		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	}
	assert_int_equal(pc_dp_client_set(dp, &client, &server, 5), 0);
	for (uint32_t more = 0; more < 3; more++) {
		pc_dp_close(dp);
		dp = env_open_with(&config);
		assert_true(pc_dp_nexthop_named(dp, 7) && pc_dp_nexthop_named(dp, 8));
		assert_false(pc_dp_nexthop_named(dp, 0) || pc_dp_nexthop_named(dp, 6));
		assert_false(pc_dp_none_stale(dp));
		pc_dp_batch_begin(dp);
		for (uint32_t port = 1; port < n + more; port++) {
			struct pc_dp_flow flow = env_flow((uint16_t)port);

			assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
			assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
		}
		assert_int_equal(pc_dp_client_set(dp, &client, &server, 5), 0);
		assert_int_equal(pc_dp_batch_end(dp), 0);
		assert_int_equal(pc_dp_none_stale(dp), more > 0);
		assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
		assert_int_equal(used, more < 2 ? 2 * n : 2 * (n + 1));
	}
	pc_dp_close(dp);
}

/* What was there, set, deleted and set again is there. */
static void test_batch_delete(void **state)
{
	struct pc_dp_flow flow = env_flow(1), other = env_flow(2);
	struct pc_dp *dp = env_open();
	uint32_t used, size;

	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	assert_int_equal(pc_dp_flow_set(dp, &other), 0);
	pc_dp_close(dp);
	dp = env_open();
	pc_dp_batch_begin(dp);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	assert_int_equal(pc_dp_batch_end(dp), 0);
	assert_false(pc_dp_none_stale(dp));
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 4);
	pc_dp_close(dp);
}

static void test_flow_full(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_flow flow, extra = env_flow(9999);
	uint32_t used, size;
	struct pc_dp *dp;
	_cleanup_close_ int fd = -1;
	/* One entry of somebody else leaves room for half a binding at the end. */
	struct pc_flow4_key key = { .sport = 1 };
	struct pc_flow value = { 0 };

	config.max_sessions = 16;
	dp = env_open_with(&config);
	pc_dp_close(dp);
	fd = env_pin(PC_MAP_FLOW4);
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	dp = env_open_with(&config);
	for (uint16_t port = 1; port <= 31; port++) {
		flow = env_flow(port);
		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	}
	assert_int_equal(pc_dp_flow_set(dp, &extra), PC_ERR_FULL);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(size, 128); /* of both families */
	assert_int_equal(used, 63);
	/* What is there can still be changed. */
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_int_equal(pc_dp_flow_set(dp, &extra), 0);
	pc_dp_close(dp);
}

struct seen {
	int kinds[3];
};

static bool keep_even(void *arg, const struct pc_dp_entry *entry)
{
	((struct seen *)arg)->kinds[entry->kind]++;
	return entry->kind == PC_DP_PORT ? entry->dst.port % 2 == 0 : entry->slot % 2 == 0;
}

static void test_sweep(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_perm perm;
	struct pc_dp_flow flow;
	struct seen seen = { 0 };
	uint32_t used, size;
	struct pc_dp *dp;

	config.max_sessions = 4096;
	dp = env_open_with(&config);
	for (uint16_t i = 0; i < 4000; i++) {
		struct pc_addr port = env_addr_of(i % 4 < 2, 2, 1 + i);

		flow = env_flow((uint16_t)(i + 1));
		flow.peer = env_addr_of(i % 3, 3, i);
		flow.relayed = env_addr_of(i % 3, 2, 50001);
		flow.slot = i;
		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
		perm = env_perm(i % 3, i % 2, 1000);
		perm.client.port = perm.relayed.port = 1 + i;
		perm.slot = i;
		assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
		assert_int_equal(pc_dp_port_set(dp, &port, true), 0);
	}
	assert_int_equal(pc_dp_sweep(dp, keep_even, &seen), 4000 + 4000 + 2000);
	assert_int_equal(seen.kinds[PC_DP_FLOW], 8000);
	assert_int_equal(seen.kinds[PC_DP_PERM], 8000);
	assert_int_equal(seen.kinds[PC_DP_PORT], 4000);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 4000);
	assert_int_equal(pc_dp_perm_usage(dp, &used, &size), 0);
	assert_int_equal(used, 4000);
	assert_int_equal(pc_dp_sweep(dp, keep_even, &seen), 0);
	assert_int_equal(seen.kinds[PC_DP_FLOW], 12000);
	pc_dp_close(dp);
}

static bool keep_one(void *arg, const struct pc_dp_entry *entry)
{
	struct pc_dp_entry **at = arg;

	*(*at)++ = *entry;
	return true;
}

static const struct pc_dp_entry *find_entry(const struct pc_dp_entry *all, size_t n,
					    enum pc_dp_kind kind, bool up)
{
	for (size_t i = 0; i < n; i++) {
		if (all[i].kind == kind && !!(all[i].flags & PC_FLOW_UP) == up)
			return &all[i];
	}
	fail_msg("no entry of kind %d", kind);
	return NULL;
}

/* What is shown is what was written. */
static void test_decode(void **state)
{
	struct pc_dp *dp = env_open();

	for (int mix = 0; mix < 4; mix++) {
		struct pc_dp_perm perm = env_perm(mix & 1, mix & 2, 1000);
		struct pc_dp_entry all[8], *at = all;
		const struct pc_dp_entry *e;
		struct pc_dp_flow flow = {
			.slot = 5,
			.channel = 0x4001,
			.client = perm.client,
			.server = perm.server,
			.relayed = perm.relayed,
			.peer = env_addr_of(mix & 2, 3, 9),
			.nexthop_client = 7,
			.nexthop_peer = 8,
		};

		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
		assert_int_equal(pc_dp_perm_set(dp, &perm), 0);
		assert_int_equal(pc_dp_port_set(dp, &perm.relayed, true), 0);
		assert_int_equal(pc_dp_sweep(dp, keep_one, &at), 0);
		assert_int_equal(at - all, 5);
		e = find_entry(all, 5, PC_DP_FLOW, true);
		assert_true(pc_addr_equal(&e->src, &flow.client) &&
			    pc_addr_equal(&e->dst, &flow.server));
		assert_true(e->channel == 0x4001 && e->slot == 5 && e->nexthop == 8);
		e = find_entry(all, 5, PC_DP_FLOW, false);
		assert_true(pc_addr_equal(&e->src, &flow.peer) &&
			    pc_addr_equal(&e->dst, &flow.relayed));
		assert_true(e->channel == 0x4001 && e->slot == 5 && e->nexthop == 7);
		e = find_entry(all, 5, PC_DP_PERM, true);
		assert_true(pc_addr_equal(&e->src, &perm.client) &&
			    pc_addr_equal(&e->dst, &perm.server) &&
			    pc_ip_equal(&e->peer, &perm.peer));
		assert_true(e->slot == 6 && e->nexthop == 8 && e->expires_ns == 777);
		e = find_entry(all, 5, PC_DP_PERM, false);
		assert_true(pc_ip_equal(&e->src.ip, &perm.peer) && e->src.port == 0 &&
			    pc_addr_equal(&e->dst, &perm.relayed) && e->peer.family == 0);
		assert_true(e->slot == 6 && e->nexthop == 7);
		e = find_entry(all, 5, PC_DP_PORT, false);
		assert_true(pc_addr_equal(&e->dst, &perm.relayed));
		assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
		assert_int_equal(pc_dp_perm_del(dp, &perm), 0);
		assert_int_equal(pc_dp_port_set(dp, &perm.relayed, false), 0);
	}
	pc_dp_close(dp);
}

/* --- the faster table --- */

/* What the program finds for @key. False: nothing. */
static bool find_hot(const struct pc_flow4_key *key, struct pc_flow *ret_flow)
{
	_cleanup_close_ int fd = env_pin(PC_MAP_HOT4);
	uint32_t set = env_hot_set(key);
	struct pc_hot4 hot;

	assert_int_equal(bpf_map_lookup_elem(fd, &set, &hot), 0);
	for (int i = 0; i < PC_HOT_WAYS; i++) {
		if (!memcmp(&hot.key[i], key, sizeof(*key))) {
			*ret_flow = hot.flow[i];
			return true;
		}
	}
	return false;
}

static struct pc_flow4_key key_up(uint16_t port)
{
	return (struct pc_flow4_key){
		.saddr = htonl(0xc6336401),
		.daddr = htonl(0xc6336402),
		.sport = htons(port),
		.dport = htons(ENV_PORT),
		.channel = htons(0x4001),
	};
}

static void expect_hot(uint16_t port, uint64_t expires_ns)
{
	struct pc_flow4_key key = key_up(port);
	_cleanup_close_ int fd = env_pin(PC_MAP_FLOW4);
	struct pc_flow flow, hot;

	assert_int_equal(bpf_map_lookup_elem(fd, &key, &flow), 0);
	assert_true(find_hot(&key, &hot));
	assert_memory_equal(&flow, &hot, sizeof(flow));
	assert_int_equal(hot.expires_ns, expires_ns);
}

static void test_hot(void **state)
{
	struct pc_dp_flow flow = env_flow(1000), other = env_flow(1001);
	struct pc_dp *dp = env_open();
	struct pc_flow4_key key = key_up(1000), gone = key_up(1001);
	struct pc_flow hot;
	int fd;

	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	expect_hot(1000, 12345678);
	flow.expires_ns = 99;
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	expect_hot(1000, 99);
	assert_int_equal(pc_dp_flow_set(dp, &other), 0);

	/* What another daemon deleted from one table only is not found by the next. */
	fd = env_pin(PC_MAP_FLOW4);
	assert_int_equal(bpf_map_delete_elem(fd, &gone), 0);
	close(fd);
	assert_true(find_hot(&gone, &hot));
	pc_dp_close(dp);
	dp = env_open();
	assert_false(find_hot(&gone, &hot));
	expect_hot(1000, 99);

	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_false(find_hot(&key, &hot));
	pc_dp_close(dp);
}

/* The same of IPv6. */
static bool find_hot6(const struct pc_addr *src, const struct pc_addr *dst, uint16_t channel,
		      struct pc_flow *ret_flow)
{
	struct pc_flow6_key key = { .sport = htons(src->port),
				    .dport = htons(dst->port),
				    .channel = htons(channel) };
	_cleanup_close_ int fd = env_pin(PC_MAP_HOT6);
	struct pc_hot6 hot;
	__u64 words[5];
	uint32_t set;

	memcpy(key.saddr, src->ip.b, 16);
	memcpy(key.daddr, dst->ip.b, 16);
	memcpy(words, &key, sizeof(words));
	set = (uint32_t)pc_hot_set6(words, words[4],
				    pc_hot_shift_of(pc_hot_sets(2 * ENV_SESSIONS)));
	assert_int_equal(bpf_map_lookup_elem(fd, &set, &hot), 0);
	for (int i = 0; i < PC_HOT_WAYS; i++) {
		if (hot.tail[i] == words[4] && !memcmp(hot.addrs[i], words, 32)) {
			*ret_flow = hot.flow[i];
			return true;
		}
	}
	return false;
}

static void expect_hot6(const struct pc_addr *src, const struct pc_addr *dst, uint16_t channel,
			uint64_t expires_ns)
{
	struct pc_flow flow = find_flow(src, dst, channel), hot;

	assert_true(find_hot6(src, dst, channel, &hot));
	assert_memory_equal(&flow, &hot, sizeof(flow));
	assert_int_equal(hot.expires_ns, expires_ns);
}

static void test_hot6(void **state)
{
	struct pc_dp_flow flow = env_flow(1000);
	struct pc_dp *dp = env_open();
	struct pc_flow hot;

	flow.client = env_addr6(1, 1000);
	flow.server = env_addr6(2, ENV_PORT);
	flow.relayed = env_addr6(2, 50001);
	flow.peer = env_addr6(3, 1000);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	flow.expires_ns = 99;
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	pc_dp_close(dp);
	dp = env_open();
	expect_hot6(&flow.client, &flow.server, 0x4001, 99);
	expect_hot6(&flow.peer, &flow.relayed, 0, 99);
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	assert_false(find_hot6(&flow.client, &flow.server, 0x4001, &hot));
	assert_false(find_hot6(&flow.peer, &flow.relayed, 0, &hot));
	pc_dp_close(dp);
}

/* One more than fit a set: the last is in the hash map alone, until there is room. */
static void test_hot_full(void **state)
{
	struct pc_flow4_key first = key_up(1);
	uint32_t set = env_hot_set(&first);
	struct pc_dp *dp = env_open();
	uint16_t ports[PC_HOT_WAYS + 1];
	struct pc_dp_flow flow;
	struct pc_flow hot;
	uint16_t port = 1;

	for (int i = 0; i <= PC_HOT_WAYS; port++) {
		struct pc_flow4_key key = key_up(port);

		assert_true(port < 60000);
		if (env_hot_set(&key) == set)
			ports[i++] = port;
	}
	for (int i = 0; i <= PC_HOT_WAYS; i++) {
		struct pc_flow4_key key = key_up(ports[i]);

		flow = env_flow(ports[i]);
		flow.peer.port = 7; /* in another set, the way down */
		assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
		assert_int_equal(find_hot(&key, &hot), i < PC_HOT_WAYS);
	}
	flow = env_flow(ports[0]);
	assert_int_equal(pc_dp_flow_del(dp, &flow), 0);
	flow = env_flow(ports[PC_HOT_WAYS]);
	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	expect_hot(ports[PC_HOT_WAYS], flow.expires_ns);
	pc_dp_close(dp);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, env_fresh, env_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_hot),	       T(test_hot_full),     T(test_hot6),
		T(test_flow_families), T(test_flow_entries), T(test_flow_full),
		T(test_perm_four),     T(test_perm_mixed),   T(test_perm_full),
		T(test_ports),	       T(test_clients),	     T(test_batch),
		T(test_batch_again),   T(test_batch_delete), T(test_sweep),
		T(test_decode),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!env_enter())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
