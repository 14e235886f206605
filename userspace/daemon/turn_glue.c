/* SPDX-License-Identifier: MIT */
#include "daemon/turn_glue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/htab.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/io.h"
#include "daemon/record.h"

/* A channel binding that the kernel forwards; it holds references on two next hops. */
struct flow {
	struct pc_hnode node;
	uint32_t slot;
	uint16_t channel;
	bool hairpin;
	struct pc_addr client, server, relayed, peer;
};

struct pc_glue {
	struct pc_daemon *d;
	uint64_t *reasons;
	uint64_t flow_limit_ns;
	struct pc_htab flows;
	struct pc_log_limit flow_log, port_log;
	uint8_t record[PC_RECORD_MAX];
};

static const uint8_t reason_of[] = {
	[PC_TURN_DROP_MALFORMED] = PC_REASON_DROP_MALFORMED,
	[PC_TURN_DROP_LENGTH] = PC_REASON_DROP_LENGTH,
	[PC_TURN_DROP_TTL] = PC_REASON_DROP_TTL,
	[PC_TURN_DROP_UNAUTHENTICATED] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_TURN_DROP_SOURCE_RATE] = PC_REASON_DROP_SOURCE_RATE,
	[PC_TURN_DROP_NO_ALLOCATION] = PC_REASON_DROP_NO_ALLOCATION,
	[PC_TURN_DROP_NO_CHANNEL] = PC_REASON_DROP_NO_CHANNEL,
	[PC_TURN_DROP_NO_PERMISSION] = PC_REASON_DROP_NO_PERMISSION,
	[PC_TURN_DROP_PEER_POLICY] = PC_REASON_DROP_PEER_POLICY,
	[PC_TURN_DROP_QUOTA] = PC_REASON_DROP_QUOTA,
};
_Static_assert(PC_ARRAY_SIZE(reason_of) == PC_TURN_DROP_COUNT, "every drop has its reason");

/* --- flows --- */

/* Slots are ours and channels few: nobody can choose colliding keys. */
static uint64_t flow_hash(uint32_t slot, uint16_t channel)
{
	return ((uint64_t)slot << 16 | channel) * 0x9e3779b97f4a7c15ull;
}

static struct flow *flow_find(const struct pc_glue *g, uint32_t slot, uint16_t channel)
{
	uint64_t h = flow_hash(slot, channel);

	for (struct pc_hnode *n = pc_htab_first(&g->flows, h); n; n = pc_htab_next(n)) {
		struct flow *f = pc_container_of(n, struct flow, node);

		if (f->slot == slot && f->channel == channel)
			return f;
	}
	return NULL;
}

static bool flow_same(const struct flow *f, const struct pc_turn_flow *want)
{
	return f->hairpin == want->hairpin && pc_addr_equal(&f->client, &want->client) &&
	       pc_addr_equal(&f->server, &want->server) &&
	       pc_addr_equal(&f->relayed, &want->relayed) && pc_addr_equal(&f->peer, &want->peer);
}

/* Out of the table and the kernel. */
static void flow_drop(struct pc_glue *g, struct flow *f)
{
	struct pc_nexthops *hops = g->d->nexthops;
	struct pc_dp_flow flow = {
		.slot = f->slot,
		.channel = f->channel,
		.client = f->client,
		.server = f->server,
		.relayed = f->relayed,
		.peer = f->peer,
		.hairpin = f->hairpin,
	};

	pc_dp_flow_del(g->d->dp, &flow);
	pc_nexthops_put(hops, &f->server.ip, &f->client.ip);
	if (!f->hairpin)
		pc_nexthops_put(hops, &f->relayed.ip, &f->peer.ip);
	pc_htab_remove(&g->flows, &f->node);
	free(f);
}

/* A new entry with its references; NULL: user space carries the channel. */
static struct flow *flow_add(struct pc_glue *g, const struct pc_turn_flow *want,
			     struct pc_dp_flow *out)
{
	_cleanup_free_ struct flow *f = calloc(1, sizeof(*f));
	struct pc_nexthops *hops = g->d->nexthops;

	if (!f)
		return NULL;
	if (pc_nexthops_get(hops, &want->server.ip, &want->client.ip, &out->nexthop_client))
		return NULL;
	if (!want->hairpin &&
	    pc_nexthops_get(hops, &want->relayed.ip, &want->peer.ip, &out->nexthop_peer)) {
		pc_nexthops_put(hops, &want->server.ip, &want->client.ip);
		return NULL;
	}
	f->slot = want->slot;
	f->channel = want->channel;
	f->hairpin = want->hairpin;
	f->client = want->client;
	f->server = want->server;
	f->relayed = want->relayed;
	f->peer = want->peer;
	pc_htab_insert(&g->flows, &f->node, flow_hash(f->slot, f->channel));
	return TAKE_PTR(f);
}

static bool flow_hops(struct pc_glue *g, const struct flow *f, struct pc_dp_flow *out)
{
	struct pc_nexthops *hops = g->d->nexthops;

	if (pc_nexthops_find(hops, &f->server.ip, &f->client.ip, &out->nexthop_client))
		return false;
	return f->hairpin ||
	       pc_nexthops_find(hops, &f->relayed.ip, &f->peer.ip, &out->nexthop_peer) == 0;
}

static bool is_ipv4(const struct pc_turn_flow *f)
{
	return f->client.ip.family == 4 && f->server.ip.family == 4 && f->relayed.ip.family == 4 &&
	       f->peer.ip.family == 4;
}

static int flow_set(void *ctx, const struct pc_turn_flow *want)
{
	struct pc_glue *g = ctx;
	struct pc_dp_flow out = {
		.slot = want->slot,
		.channel = want->channel,
		.client = want->client,
		.server = want->server,
		.relayed = want->relayed,
		.peer = want->peer,
		.hairpin = want->hairpin,
		.expires_ns = want->expires_ns,
	};
	struct flow *f;
	int r;

	if (!g->d->nexthops || !is_ipv4(want))
		return 0;
	f = flow_find(g, want->slot, want->channel);
	if (f && (!flow_same(f, want) || !flow_hops(g, f, &out))) {
		flow_drop(g, f);
		f = NULL;
	}
	if (!f)
		f = flow_add(g, want, &out);
	if (!f)
		return 0;
	if (out.expires_ns > g->flow_limit_ns)
		out.expires_ns = g->flow_limit_ns;
	r = pc_dp_flow_set(g->d->dp, &out);
	if (r == 0)
		return 0;
	flow_drop(g, f);
	if (r == PC_ERR_FULL || r == -E2BIG) {
		pc_log_limited(&g->flow_log, pc_clock_monotonic(), PC_LOG_WARNING,
			       "flow map full: new channels are refused");
		return PC_ERR_FULL;
	}
	if (r != PC_ERR_UNSUPPORTED && r != PC_ERR_STATE)
		pc_log_limited(&g->flow_log, pc_clock_monotonic(), PC_LOG_WARNING,
			       "kernel flow not written, user space relays it: %s", pc_strerror(r));
	return 0;
}

static void flow_del(void *ctx, const struct pc_turn_flow *flow)
{
	struct pc_glue *g = ctx;
	struct flow *f = flow_find(g, flow->slot, flow->channel);

	if (f)
		flow_drop(g, f);
}

static bool is_v4(const struct pc_addr *a, __be32 ip, __be16 port)
{
	return memcmp(a->ip.b, &ip, sizeof(ip)) == 0 && a->port == ntohs(port);
}

/* Whether a flow of the kernel is one that a restored session has. */
static bool sweep_keep(void *arg, const struct pc_flow4_key *key, const struct pc_flow4 *flow)
{
	const struct pc_glue *g = arg;
	bool up = flow->flags & PC_FLOW_UP;
	const struct flow *f = flow_find(g, flow->slot, ntohs(up ? key->channel : flow->channel));

	if (!f)
		return false;
	return up ? is_v4(&f->client, key->saddr, key->sport) &&
			       is_v4(&f->server, key->daddr, key->dport)
		  : is_v4(&f->peer, key->saddr, key->sport) &&
			       is_v4(&f->relayed, key->daddr, key->dport);
}

int pc_glue_sweep(struct pc_glue *g)
{
	return pc_dp_flow_sweep(g->d->dp, sweep_keep, g);
}

void pc_glue_limit_flows(struct pc_glue *g, uint64_t until)
{
	g->flow_limit_ns = until;
}

size_t pc_glue_flows(const struct pc_glue *g)
{
	return g->flows.count;
}

/* --- sockets --- */

static void send_client(void *ctx, const struct pc_turn_path *path, const struct pc_dgram *d)
{
	pc_io_send_client(((struct pc_glue *)ctx)->d->io, path, d);
}

static void send_peer(void *ctx, void *port, const struct pc_addr *peer, const struct pc_dgram *d)
{
	pc_io_send_peer(((struct pc_glue *)ctx)->d->io, port, peer, d);
}

static int port_open(void *ctx, const struct pc_addr *local, struct pc_turn_alloc *alloc,
		     void **ret_port)
{
	struct pc_glue *g = ctx;
	int r = pc_io_port_open(g->d->io, local, alloc, ret_port);

	if (r == -EMFILE || r == -ENFILE)
		pc_log_limited(&g->port_log, pc_clock_monotonic(), PC_LOG_WARNING,
			       "no relay port, new allocations are refused: %s", pc_strerror(r));
	return r;
}

static void port_assign(void *ctx, void *port, struct pc_turn_alloc *alloc)
{
	pc_io_port_assign(((struct pc_glue *)ctx)->d->io, port, alloc);
}

static void port_close(void *ctx, void *port)
{
	pc_io_port_close(((struct pc_glue *)ctx)->d->io, port);
}

static void count(void *ctx, uint32_t slot, bool up, uint32_t payload_bytes, uint32_t wire_bytes)
{
	pc_io_count(((struct pc_glue *)ctx)->d->io, slot, up, payload_bytes, wire_bytes);
}

static void drop(void *ctx, enum pc_turn_drop reason)
{
	((struct pc_glue *)ctx)->reasons[reason_of[reason]]++;
}

/* --- account and store --- */

static int slot_open(void *ctx, uint64_t id, uint32_t tenant, uint32_t *ret_slot)
{
	struct pc_glue *g = ctx;
	struct pc_daemon *d = g->d;
	int r;

	if (!pc_daemon_store_usable(d))
		return PC_ERR_STORE;
	r = pc_usage_open(d->usage, id, tenant, ret_slot);
	if (r != PC_ERR_FULL && r != -ENOMEM)
		pc_daemon_store_result(d, r, "opening a session");
	if (r == 0)
		pc_debug("session %016" PRIx64 " of tenant %u: slot %u", id, tenant, *ret_slot);
	return r;
}

static void slot_close(void *ctx, uint32_t slot)
{
	struct pc_glue *g = ctx;

	pc_usage_close(g->d->usage, slot, pc_clock_monotonic());
}

static int save(void *ctx, const struct pc_turn_record *record)
{
	struct pc_glue *g = ctx;
	size_t len;
	int r;

	if (!pc_daemon_store_usable(g->d))
		return PC_ERR_STORE;
	len = pc_record_encode(record, g->record, sizeof(g->record));
	if (len == 0)
		return PC_ERR_RANGE;
	r = pc_store_session_put(g->d->store, record->id, g->record, len);
	pc_auth_wipe(g->record, len);
	pc_daemon_store_result(g->d, r, "saving a session");
	return r;
}

static void forget(void *ctx, uint64_t id)
{
	struct pc_glue *g = ctx;
	int r;

	pc_debug("session %016" PRIx64 " ended", id);
	/* A record that stays behind is harmless: its slot is marked as ended, so nobody restores
	 * it. */
	if (!pc_daemon_store_usable(g->d))
		return;
	r = pc_store_session_del(g->d->store, id);
	if (r != PC_ERR_NOT_FOUND)
		pc_daemon_store_result(g->d, r, "forgetting a session");
}

static int lookup(void *ctx, const char *name, size_t name_len, const uint8_t *userhash,
		  enum pc_auth_algorithm algorithm, uint64_t realtime_s,
		  struct pc_turn_user *ret_user)
{
	return pc_users_lookup(((struct pc_glue *)ctx)->d->users, name, name_len, userhash,
			       algorithm, realtime_s, ret_user);
}

static void fill_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	randombytes_buf(buf, len);
}

const struct pc_turn_ops pc_glue_ops = {
	.send_client = send_client,
	.send_peer = send_peer,
	.port_open = port_open,
	.port_assign = port_assign,
	.port_close = port_close,
	.slot_open = slot_open,
	.slot_close = slot_close,
	.flow_set = flow_set,
	.flow_del = flow_del,
	.count = count,
	.drop = drop,
	.save = save,
	.forget = forget,
	.lookup = lookup,
	.random = fill_random,
};

int pc_glue_new(struct pc_daemon *d, struct pc_glue **ret_glue)
{
	_cleanup_free_ struct pc_glue *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->d = d;
	g->reasons = pc_dp_reasons_user(d->dp);
	g->flow_limit_ns = UINT64_MAX;
	g->flow_log = (struct pc_log_limit)PC_LOG_LIMIT_INIT(1);
	g->port_log = (struct pc_log_limit){ .interval_ns = 60 * PC_NS_PER_S, .burst = 1 };
	r = pc_htab_init(&g->flows, 1024);
	if (r)
		return r;
	*ret_glue = TAKE_PTR(g);
	return 0;
}

void pc_glue_free(struct pc_glue *g)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	if (!g)
		return;
	while ((n = pc_htab_iterate(&g->flows, &it))) {
		pc_htab_remove(&g->flows, n);
		free(pc_container_of(n, struct flow, node));
	}
	pc_htab_free(&g->flows);
	free(g);
}
