/* SPDX-License-Identifier: MIT */
/*
 * What the kernel is told: flows, permissions, allocated ports; each holds references on the next
 * hops it names. It is told also of what it cannot send, by a next hop that there is not: those
 * packets pass, but not as a stranger's, who may send few.
 *
 * On a port that the kernel knows it drops what nothing covers. So it may know a port only as long
 * as it knows every permission of it: what it could not be told must pass.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/siphash.h"
#include "daemon/turn_glue_int.h"

/* Both sides of a binding; of the peer only the address counts here. */
struct ends {
	struct pc_addr client, server, relayed;
	struct pc_ip peer;
	bool hairpin;
	bool user_space; /* relays it, whatever the ways */
};

/* References on the ways of both sides: those that there are. */
struct holds {
	bool client, peer;
};

struct flow {
	struct pc_hnode node;
	uint32_t slot;
	uint16_t channel;
	uint16_t peer_port;
	struct ends ends;
	struct holds holds;
};

struct perm {
	struct pc_hnode node;
	uint32_t slot;
	bool in_kernel;
	bool missed; /* counted in `missing` of its port */
	struct ends ends;
	struct holds holds;
};

struct port {
	struct pc_hnode node;
	struct pc_addr local;
	uint32_t missing; /* permissions that the kernel was not told of */
	bool in_kernel;
};

/* --- next hops --- */

static bool ends_equal(const struct ends *a, const struct ends *b)
{
	return a->hairpin == b->hairpin && a->user_space == b->user_space &&
	       pc_addr_equal(&a->client, &b->client) && pc_addr_equal(&a->server, &b->server) &&
	       pc_addr_equal(&a->relayed, &b->relayed) && pc_ip_equal(&a->peer, &b->peer);
}

uint32_t pc_glue_hop(struct pc_nexthops *hops, const struct pc_ip *src, const struct pc_ip *dst,
		     bool *held)
{
	uint32_t index = PC_GLUE_NO_HOP;

	if (*held)
		return pc_nexthops_find(hops, src, dst, &index) ? PC_GLUE_NO_HOP : index;
	*held = pc_nexthops_get(hops, src, dst, &index) == 0;
	return *held ? index : PC_GLUE_NO_HOP;
}

/* Inside the node the other session's flow says how its client is reached. */
static void hops_get(struct pc_nexthops *hops, const struct ends *e, struct holds *holds,
		     uint32_t *ret_client, uint32_t *ret_peer)
{
	*ret_client = *ret_peer = PC_GLUE_NO_HOP;
	if (e->user_space)
		return;
	*ret_client = pc_glue_hop(hops, &e->server.ip, &e->client.ip, &holds->client);
	if (!e->hairpin)
		*ret_peer = pc_glue_hop(hops, &e->relayed.ip, &e->peer, &holds->peer);
}

static void hops_put(struct pc_nexthops *hops, const struct ends *e, struct holds *holds)
{
	if (holds->client)
		pc_nexthops_put(hops, &e->server.ip, &e->client.ip);
	if (holds->peer)
		pc_nexthops_put(hops, &e->relayed.ip, &e->peer);
	*holds = (struct holds){ 0 };
}

/* What a failed write means to the machine: PC_ERR_FULL, or that user space does it. */
static int write_failed(struct pc_glue *g, int err, const char *what)
{
	if (err == PC_ERR_FULL)
		pc_log_limited(&g->log, pc_clock_monotonic(), PC_LOG_WARNING,
			       "no room for %s in the kernel: new ones are refused", what);
	else if (err != PC_ERR_STATE)
		pc_log_limited(&g->log, pc_clock_monotonic(), PC_LOG_WARNING,
			       "%s not written, user space relays: %s", what, pc_strerror(err));
	return err == PC_ERR_FULL ? err : 0;
}

/* --- flows --- */

/*
 * Slots are ours and channels few: nobody can choose colliding keys. A bucket is told by the low
 * bits, and of a product those know nothing of the slot: most clients have the same first channel.
 */
static uint64_t flow_hash(uint32_t slot, uint16_t channel)
{
	uint64_t hash = ((uint64_t)slot << 16 | channel) * 0x9e3779b97f4a7c15ull;

	return hash ^ hash >> 32;
}

static struct flow *flow_find(const struct pc_glue *g, uint32_t slot, uint16_t channel)
{
	struct pc_hnode *n = pc_htab_first(&g->flows, flow_hash(slot, channel));

	for (; n; n = pc_htab_next(n)) {
		struct flow *f = pc_container_of(n, struct flow, node);

		if (f->slot == slot && f->channel == channel)
			return f;
	}
	return NULL;
}

static struct pc_dp_flow flow_to_dp(const struct pc_glue *g, const struct flow *f)
{
	return (struct pc_dp_flow){
		.slot = f->slot,
		.tenant = pc_glue_limits(g, f->slot),
		.channel = f->channel,
		.client = f->ends.client,
		.server = f->ends.server,
		.relayed = f->ends.relayed,
		.peer = { .ip = f->ends.peer, .port = f->peer_port },
		.hairpin = f->ends.hairpin,
	};
}

/* Out of the table and the kernel. */
static void flow_drop(struct pc_glue *g, struct flow *f)
{
	struct pc_dp_flow flow = flow_to_dp(g, f);

	pc_dp_flow_del(g->d->dp, &flow);
	hops_put(g->d->nexthops, &f->ends, &f->holds);
	pc_htab_remove(&g->flows, &f->node);
	free(f);
}

/* The entry for @want, an old one that differs dropped. NULL: no memory. */
static struct flow *flow_get(struct pc_glue *g, const struct flow *want)
{
	struct flow *f = flow_find(g, want->slot, want->channel);

	if (f && ends_equal(&f->ends, &want->ends) && f->peer_port == want->peer_port)
		return f;
	if (f)
		flow_drop(g, f);
	f = malloc(sizeof(*f));
	if (!f)
		return NULL;
	*f = *want;
	pc_htab_insert(&g->flows, &f->node, flow_hash(f->slot, f->channel));
	return f;
}

int pc_glue_flow_set(void *ctx, const struct pc_turn_flow *flow)
{
	struct pc_glue *g = ctx;
	struct flow *f, want = {
		.slot = flow->slot,
		.channel = flow->channel,
		.peer_port = flow->peer.port,
		.ends = { flow->client, flow->server, flow->relayed, flow->peer.ip, flow->hairpin,
			  false },
	};
	struct pc_dp_flow out = flow_to_dp(g, &want);
	int r;

	if (!g->d->nexthops)
		return 0;
	f = flow_get(g, &want);
	if (!f)
		return PC_ERR_FULL;
	hops_get(g->d->nexthops, &f->ends, &f->holds, &out.nexthop_client, &out.nexthop_peer);
	out.expires_ns = flow->expires_ns < g->limit_ns ? flow->expires_ns : g->limit_ns;
	r = pc_dp_flow_set(g->d->dp, &out);
	if (r == 0)
		return 0;
	flow_drop(g, f);
	return write_failed(g, r, "a channel");
}

void pc_glue_flow_del(void *ctx, const struct pc_turn_flow *flow)
{
	struct pc_glue *g = ctx;
	struct flow *f = flow_find(g, flow->slot, flow->channel);

	if (f)
		flow_drop(g, f);
}

/* --- ports --- */

static uint64_t port_hash(const struct pc_glue *g, const struct pc_addr *local)
{
	uint8_t key[sizeof(local->ip) + sizeof(local->port)];

	memcpy(key, &local->ip, sizeof(local->ip));
	memcpy(key + sizeof(local->ip), &local->port, sizeof(local->port));
	return pc_siphash24(g->hash_key, key, sizeof(key));
}

static struct port *port_find(const struct pc_glue *g, const struct pc_addr *local)
{
	struct pc_hnode *n = pc_htab_first(&g->ports, port_hash(g, local));

	for (; n; n = pc_htab_next(n)) {
		struct port *p = pc_container_of(n, struct port, node);

		if (pc_addr_equal(&p->local, local))
			return p;
	}
	return NULL;
}

/* A port the kernel does not know passes everything: that is always right, only slower. */
static void port_sync(struct pc_glue *g, struct port *p)
{
	bool want = p->missing == 0;

	if (p->in_kernel != want && pc_dp_port_set(g->d->dp, &p->local, want) == 0)
		p->in_kernel = want;
}

/* Whether permissions are tracked at all decides whether the kernel may judge. */
void pc_glue_port_opened(struct pc_glue *g, const struct pc_addr *local)
{
	struct port *p;

	if (!g->d->nexthops)
		return;
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->local = *local;
	pc_htab_insert(&g->ports, &p->node, port_hash(g, local));
	port_sync(g, p);
}

void pc_glue_port_closing(struct pc_glue *g, const struct pc_addr *local)
{
	struct port *p = port_find(g, local);

	if (!p)
		return;
	if (p->in_kernel)
		pc_dp_port_set(g->d->dp, local, false);
	pc_htab_remove(&g->ports, &p->node);
	free(p);
}

/* --- permissions --- */

static uint64_t perm_hash(const struct pc_glue *g, uint32_t slot, const struct pc_ip *peer)
{
	uint8_t key[sizeof(slot) + sizeof(*peer)];

	memcpy(key, &slot, sizeof(slot));
	memcpy(key + sizeof(slot), peer, sizeof(*peer));
	return pc_siphash24(g->hash_key, key, sizeof(key));
}

static struct perm *perm_by_hash(const struct pc_glue *g, uint64_t hash, uint32_t slot,
				 const struct pc_ip *peer)
{
	struct pc_hnode *n = pc_htab_first(&g->perms, hash);

	for (; n; n = pc_htab_next(n)) {
		struct perm *p = pc_container_of(n, struct perm, node);

		if (p->slot == slot && pc_ip_equal(&p->ends.peer, peer))
			return p;
	}
	return NULL;
}

static struct perm *perm_find(const struct pc_glue *g, uint32_t slot, const struct pc_ip *peer)
{
	return perm_by_hash(g, perm_hash(g, slot, peer), slot, peer);
}

static struct pc_dp_perm perm_to_dp(const struct pc_glue *g, const struct perm *p)
{
	return (struct pc_dp_perm){
		.slot = p->slot,
		.tenant = pc_glue_limits(g, p->slot),
		.client = p->ends.client,
		.server = p->ends.server,
		.relayed = p->ends.relayed,
		.peer = p->ends.peer,
		.hairpin = p->ends.hairpin && !p->ends.user_space,
	};
}

/* Whether packets of the peer have to reach user space. */
static void perm_miss(struct pc_glue *g, struct perm *p, bool missed)
{
	struct port *port;

	if (p->missed == missed)
		return;
	port = port_find(g, &p->ends.relayed);
	if (!port)
		return;
	p->missed = missed;
	port->missing += missed ? 1 : -1u;
	port_sync(g, port);
}

static void perm_withdraw(struct pc_glue *g, struct perm *p)
{
	struct pc_dp_perm perm = perm_to_dp(g, p);

	if (!p->in_kernel)
		return;
	pc_dp_perm_del(g->d->dp, &perm);
	hops_put(g->d->nexthops, &p->ends, &p->holds);
	p->in_kernel = false;
	g->n_perms_in_kernel--;
}

static void perm_free(struct pc_glue *g, struct perm *p)
{
	perm_withdraw(g, p);
	perm_miss(g, p, false);
	pc_htab_remove(&g->perms, &p->node);
	free(p);
}

/*
 * The entry for these ends, not in the kernel when it is new. @ret_known: there was one for this
 * peer. NULL: no memory.
 */
static struct perm *perm_get(struct pc_glue *g, uint32_t slot, const struct ends *ends,
			     bool *ret_known)
{
	uint64_t hash = perm_hash(g, slot, &ends->peer);
	struct perm *p = perm_by_hash(g, hash, slot, &ends->peer);

	*ret_known = p;
	if (p && ends_equal(&p->ends, ends))
		return p;
	if (p)
		perm_free(g, p);
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->slot = slot;
	p->ends = *ends;
	pc_htab_insert(&g->perms, &p->node, hash);
	return p;
}

static int perm_write(struct pc_glue *g, struct perm *p, uint64_t expires_ns)
{
	struct pc_dp_perm out = perm_to_dp(g, p);
	int r;

	hops_get(g->d->nexthops, &p->ends, &p->holds, &out.nexthop_client, &out.nexthop_peer);
	out.expires_ns = expires_ns < g->limit_ns ? expires_ns : g->limit_ns;
	if (!p->in_kernel)
		g->n_perms_in_kernel++;
	p->in_kernel = true;
	r = pc_dp_perm_set(g->d->dp, &out);
	if (r == 0)
		return 0;
	perm_withdraw(g, p);
	return write_failed(g, r, "a permission");
}

int pc_glue_perm_set(void *ctx, const struct pc_turn_perm *perm)
{
	const struct ends ends = { perm->client, perm->server,	perm->relayed,
				   perm->peer,	 perm->hairpin, perm->user_space };
	struct pc_glue *g = ctx;
	bool known;
	struct perm *p;
	int r;

	if (!g->d->nexthops)
		return 0;
	p = perm_get(g, perm->slot, &ends, &known);
	if (!p)
		return PC_ERR_FULL;
	r = perm_write(g, p, perm->expires_ns);
	/* A new one is refused; one that was granted stays, in user space. */
	if (r && !known)
		perm_free(g, p);
	else
		perm_miss(g, p, !p->in_kernel);
	return r;
}

void pc_glue_perm_del(void *ctx, const struct pc_turn_perm *perm)
{
	struct pc_glue *g = ctx;
	struct perm *p = perm_find(g, perm->slot, &perm->peer);

	if (p)
		perm_free(g, p);
}

/* --- what an earlier daemon left --- */

void pc_glue_expect(struct pc_glue *g, size_t sessions)
{
	pc_htab_reserve(&g->flows, 2 * sessions);
	pc_htab_reserve(&g->perms, 2 * sessions);
}

static bool keep_flow(const struct pc_glue *g, const struct pc_dp_entry *e)
{
	const struct flow *f = flow_find(g, e->slot, e->channel);
	struct pc_addr peer;

	if (!f)
		return false;
	peer = (struct pc_addr){ .ip = f->ends.peer, .port = f->peer_port };
	return e->flags & PC_FLOW_UP
		       ? pc_addr_equal(&f->ends.client, &e->src) &&
				 pc_addr_equal(&f->ends.server, &e->dst)
		       : pc_addr_equal(&peer, &e->src) && pc_addr_equal(&f->ends.relayed, &e->dst);
}

static bool keep_perm(const struct pc_glue *g, const struct pc_dp_entry *e)
{
	bool up = e->flags & PC_FLOW_UP;
	const struct perm *p = perm_find(g, e->slot, up ? &e->peer : &e->src.ip);

	if (!p || !p->in_kernel)
		return false;
	return up ? pc_addr_equal(&p->ends.client, &e->src) &&
			       pc_addr_equal(&p->ends.server, &e->dst)
		  : pc_addr_equal(&p->ends.relayed, &e->dst);
}

/* Whether an entry of the kernel is one that a restored session has. */
static bool keep(void *arg, const struct pc_dp_entry *e)
{
	const struct pc_glue *g = arg;
	const struct port *port;
	uint64_t session;
	uint32_t tenant;

	switch (e->kind) {
	case PC_DP_FLOW:
		return keep_flow(g, e);
	case PC_DP_PERM:
		return keep_perm(g, e);
	case PC_DP_PORT:
		port = port_find(g, &e->dst);
		return port && port->in_kernel;
	case PC_DP_CLIENT:
		return pc_usage_slot(g->d->usage, e->slot, &session, &tenant);
	}
	return false;
}

int pc_glue_sweep(struct pc_glue *g)
{
	return pc_dp_none_stale(g->d->dp) ? 0 : pc_dp_sweep(g->d->dp, keep, g);
}

void pc_glue_limit_flows(struct pc_glue *g, uint64_t until)
{
	g->limit_ns = until;
}

size_t pc_glue_flows(const struct pc_glue *g)
{
	return g->flows.count;
}

size_t pc_glue_perms(const struct pc_glue *g)
{
	return g->n_perms_in_kernel;
}

/* --- life --- */

int pc_glue_tables_init(struct pc_glue *g)
{
	int r;

	randombytes_buf(g->hash_key, sizeof(g->hash_key));
	g->limit_ns = UINT64_MAX;
	g->log = (struct pc_log_limit)PC_LOG_LIMIT_INIT(1);
	r = pc_htab_init(&g->flows, 1024);
	if (!r)
		r = pc_htab_init(&g->perms, 1024);
	return r ? r : pc_htab_init(&g->ports, 1024);
}

void pc_glue_tables_free(struct pc_glue *g)
{
	struct pc_htab *tables[] = { &g->flows, &g->perms, &g->ports };
	struct pc_hnode *n;

	for (size_t i = 0; i < PC_ARRAY_SIZE(tables); i++) {
		struct pc_htab_iter it = { 0 };

		if (!tables[i]->buckets)
			continue;
		while ((n = pc_htab_iterate(tables[i], &it))) {
			pc_htab_remove(tables[i], n);
			/* Each begins with its node. */
			free(n);
		}
		pc_htab_free(tables[i]);
	}
}
