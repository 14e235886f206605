/* SPDX-License-Identifier: MIT */
/*
 * Pipes of native peers in the data plane. Whoever asked for one pays for both directions, out of
 * the counters and limits of its tenant, as for an allocation. Where the other end is of another
 * tenant the frames count for that one too, the other way round: what is up for one is down for the
 * other.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "daemon/io.h"
#include "daemon/native_glue_int.h"
#include "daemon/turn_glue_int.h"

/* Written again each minute: a daemon that died has this long to come back. */
#define PIPE_LIFE_NS (600 * PC_NS_PER_S)

/* --- how many pipes a tenant pays for --- */

struct tenant {
	struct pc_hnode node;
	uint32_t id, n;
};

/* Numbers of the store: nobody chooses them. */
static struct tenant *tenant_find(const struct pc_native_glue *g, uint32_t id)
{
	struct pc_hnode *n = pc_htab_first(&g->tenants, id);

	return n ? pc_container_of(n, struct tenant, node) : NULL;
}

bool pc_native_tenant_take(struct pc_native_glue *g, uint32_t id, bool force)
{
	const struct pc_store_tenant *t = pc_users_by_id(g->d->users, id);
	struct tenant *tenant = tenant_find(g, id);

	if (!t || (!force && (tenant ? tenant->n : 0) >= t->max_allocations))
		return false;
	if (!tenant) {
		tenant = calloc(1, sizeof(*tenant));
		if (!tenant)
			return false;
		tenant->id = id;
		pc_htab_insert(&g->tenants, &tenant->node, id);
	}
	tenant->n++;
	return true;
}

void pc_native_tenant_give(struct pc_native_glue *g, uint32_t id)
{
	struct tenant *tenant = tenant_find(g, id);

	if (!tenant || --tenant->n)
		return;
	pc_htab_remove(&g->tenants, &tenant->node);
	free(tenant);
}

void pc_native_tenants_free(struct pc_native_glue *g)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while (g->tenants.buckets && (n = pc_htab_iterate(&g->tenants, &it))) {
		pc_htab_remove(&g->tenants, n);
		free(pc_container_of(n, struct tenant, node));
	}
	pc_htab_free(&g->tenants);
}

/* --- accounts --- */

static int account_open(struct pc_native_glue *g, struct native_account *a, uint32_t tenant)
{
	struct pc_daemon *d = g->d;
	int r;

	a->tenant = tenant;
	if (!pc_daemon_store_usable(d))
		return PC_ERR_STORE;
	randombytes_buf(&a->id, sizeof(a->id));
	r = pc_usage_open(d->usage, a->id, tenant, &a->slot);
	if (r != PC_ERR_FULL && r != -ENOMEM)
		pc_daemon_store_result(d, r, "opening a session");
	if (r)
		return r;
	a->open = true;
	pc_glue_limits_set(d->glue, a->slot);
	return 0;
}

static void account_close(struct pc_native_glue *g, struct native_account *a)
{
	if (!a->open)
		return;
	a->open = false;
	if (g->leaving)
		return;
	pc_glue_limits_clear(g->d->glue, a->slot);
	pc_usage_close(g->d->usage, a->slot, g->now);
}

/* The peer's tenant; 0: nobody's. */
static uint32_t tenant_of(const struct pc_native_glue *g, const uint8_t identity[static 32])
{
	const struct pc_store_peer *peer = pc_peers_find(g->d->peers, identity);

	return peer ? peer->tenant : 0;
}

/* --- the data plane --- */

static void put_way(struct pc_native_glue *g, struct native_pipe *p, unsigned int end)
{
	if (p->held[end])
		pc_nexthops_put(g->d->nexthops, &p->held_from[end], &p->held_to[end]);
	p->held[end] = false;
}

/* The way to an end, held as long as it is the same. */
static uint32_t get_way(struct pc_native_glue *g, struct native_pipe *p, unsigned int end,
			const struct pc_ip *from, const struct pc_ip *to)
{
	if (!g->d->nexthops)
		return PC_GLUE_NO_HOP;
	if (p->held[end] &&
	    (!pc_ip_equal(&p->held_from[end], from) || !pc_ip_equal(&p->held_to[end], to)))
		put_way(g, p, end);
	p->held_from[end] = *from;
	p->held_to[end] = *to;
	return pc_glue_hop(g->d->nexthops, from, to, &p->held[end]);
}

/* Of frames that come from end @from and go to the other one. */
static void fill(struct pc_native_glue *g, struct native_pipe *p, unsigned int from,
		 struct pc_dp_pipe *ret)
{
	const struct pc_hub_end *in = &p->pipe->ends[from], *out = &p->pipe->ends[!from];
	const struct native_account *payer = &p->accounts[0], *other = &p->accounts[1];
	uint64_t until = g->now + PIPE_LIFE_NS, granted = p->pipe->until_ns;

	if (granted && granted < until)
		until = granted;
	*ret = (struct pc_dp_pipe){
		.in = in->in,
		.out = out->out,
		.in_plain = p->port.socket && from == 1,
		.out_plain = p->port.socket && from == 0,
		.in_local = in->path.local,
		.in_remote = in->path.remote,
		.out_local = out->path.local,
		.out_remote = out->path.remote,
		.expires_ns = until < g->limit_ns ? until : g->limit_ns,
		.granted = granted != 0,
		.slot = payer->slot,
		.tenant = pc_glue_limits(g->d->glue, payer->slot),
		.up = from == 0,
		.shared = other->open,
		.other_slot = other->open ? other->slot : 0,
		.other_tenant = other->open ? pc_glue_limits(g->d->glue, other->slot) : 0,
	};
	memcpy(ret->in_key, in->in_key, sizeof(ret->in_key));
	memcpy(ret->out_key, out->out_key, sizeof(ret->out_key));
	memcpy(ret->in_peer, in->peer, sizeof(ret->in_peer));
	memcpy(ret->out_peer, out->peer, sizeof(ret->out_peer));
	ret->nexthop = get_way(g, p, !from, &ret->out_local.ip, &ret->out_remote.ip);
}

int pc_native_pipe_write(struct pc_native_glue *g, struct native_pipe *p)
{
	struct pc_dp_pipe d;
	int r = 0;

	for (unsigned int from = 0; r == 0 && from < 2; from++) {
		fill(g, p, from, &d);
		r = pc_dp_pipe_set(g->d->dp, &d);
	}
	explicit_bzero(&d, sizeof(d));
	if (r == 0)
		return 0;
	for (unsigned int from = 0; from < 2; from++)
		pc_dp_pipe_del(g->d->dp, p->pipe->ends[from].in);
	return r;
}

int pc_native_pipe_rewrite(struct pc_native_glue *g, struct native_pipe *p)
{
	int r = pc_native_pipe_write(g, p);

	if (r)
		pc_log_limited(&g->full_log, g->now, PC_LOG_WARNING, "a pipe ends, not written: %s",
			       pc_strerror(r));
	return r;
}

struct native_pipe *pc_native_pipe_new(struct pc_native_glue *g)
{
	struct native_pipe *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->next = g->pipes;
	p->pprev = &g->pipes;
	if (p->next)
		p->next->pprev = &p->next;
	g->pipes = p;
	return p;
}

void pc_native_pipe_free(struct pc_native_glue *g, struct native_pipe *p)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (p->pipe && !g->leaving)
			pc_dp_pipe_del(g->d->dp, p->pipe->ends[i].in);
		put_way(g, p, i);
		account_close(g, &p->accounts[i]);
	}
	if (p->port.socket)
		pc_turn_port_return(g->d->turn, &p->port, g->now);
	if (p->counted)
		pc_native_tenant_give(g, p->accounts[0].tenant);
	*p->pprev = p->next;
	if (p->next)
		p->next->pprev = p->pprev;
	free(p);
}

/* --- what the hub asks for --- */

static bool may_connect(void *ctx, const uint8_t caller[static 32], const uint8_t callee[static 32])
{
	return pc_peers_may_call(((struct pc_native_glue *)ctx)->d->peers, caller, callee);
}

/* Whoever asked pays: counters, and the number of pipes that its tenant may have. */
static int open_accounts(struct pc_native_glue *g, struct native_pipe *p,
			 const struct pc_hub_pipe *pipe)
{
	uint32_t payer = tenant_of(g, pipe->ends[0].peer), other;
	int r;

	if (!payer || !pc_native_tenant_take(g, payer, false))
		return payer ? PC_ERR_FULL : PC_ERR_REFUSED;
	p->counted = true;
	r = account_open(g, &p->accounts[0], payer);
	if (r || p->port.socket)
		return r;
	other = tenant_of(g, pipe->ends[1].peer);
	if (!other)
		return PC_ERR_REFUSED;
	return other == payer ? 0 : account_open(g, &p->accounts[1], other);
}

/* The way of datagrams at the port: they have no path of a session. */
static void port_path(const struct native_pipe *p, struct pc_hub_end *end)
{
	end->path = (struct pc_native_path){ .listener = PC_IO_NO_LISTENER,
					     .local = p->port.local,
					     .remote = end->remote };
}

static int pipe_new(struct pc_native_glue *g, struct pc_hub_pipe *pipe)
{
	struct native_pipe *p = pipe->user ? pipe->user : pc_native_pipe_new(g);
	const char *name = pc_native_peer_name(g, pipe->ends[0].peer);
	int r;

	if (!p)
		return -ENOMEM;
	p->created_ns = g->now;
	if (p->port.socket)
		port_path(p, &pipe->ends[1]);
	r = g->d->draining ? PC_ERR_FULL : open_accounts(g, p, pipe);
	p->pipe = pipe;
	if (r == 0)
		r = pc_native_pipe_write(g, p);
	if (r) {
		pc_log_limited(&g->full_log, g->now, PC_LOG_WARNING, "no pipe for peer %s: %s",
			       name, pc_strerror(r));
		pipe->user = NULL;
		pc_native_pipe_free(g, p);
		return r;
	}
	pipe->user = p;
	pc_debug("pipe %016" PRIx64 " of peer %s: slot %u", p->accounts[0].id, name,
		 p->accounts[0].slot);
	return 0;
}

static int pipe_set(void *ctx, struct pc_hub_pipe *pipe, bool again)
{
	struct pc_native_glue *g = ctx;

	return again ? pc_native_pipe_rewrite(g, pipe->user) : pipe_new(g, pipe);
}

static void pipe_del(void *ctx, struct pc_hub_pipe *pipe)
{
	struct pc_native_glue *g = ctx;
	struct native_pipe *p = pipe->user;

	if (!p)
		return;
	if (!g->leaving)
		pc_debug("pipe %016" PRIx64 " ended", p->accounts[0].id);
	pipe->user = NULL;
	pc_native_pipe_free(g, p);
}

static int port_open(void *ctx, struct pc_hub_pipe *pipe, const struct pc_addr *remote,
		     struct pc_addr *ret_relayed)
{
	struct pc_native_glue *g = ctx;
	char addr[PC_ADDR_STRLEN];
	struct native_pipe *p;
	int r;

	if (!pc_policy_allows(g->d->policy, remote)) {
		g->reasons[PC_REASON_DROP_PEER_POLICY]++;
		pc_debug("a relayed port for %s is refused by the policy",
			 pc_addr_format(remote, addr));
		return PC_ERR_REFUSED;
	}
	p = pc_native_pipe_new(g);
	if (!p)
		return -ENOMEM;
	r = pc_turn_port_lend(g->d->turn, remote->ip.family, NULL, g->now, &p->port);
	if (r) {
		pc_native_pipe_free(g, p);
		return r;
	}
	pc_io_port_native(g->d->io, p->port.handle, pipe->ends[1].in);
	pipe->user = p;
	*ret_relayed = p->port.relayed;
	return 0;
}

static void fill_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	randombytes_buf(buf, len);
}

const struct pc_hub_ops pc_native_hub_ops = {
	.may_connect = may_connect,
	.pipe_set = pipe_set,
	.pipe_del = pipe_del,
	.port_open = port_open,
	.grant = pc_native_grant_judge,
	.lapsed = pc_native_grant_lapsed,
	.random = fill_random,
};
