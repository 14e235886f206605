/* SPDX-License-Identifier: MIT */
/* All pipes: those that an earlier daemon left, written again, ended, listed, told about. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/io.h"
#include "daemon/native_glue_int.h"
#include "daemon/turn_glue_int.h"

/* --- adoption --- */

struct found {
	struct pc_dp_pipe *dir;
	size_t n, room;
};

static int collect(void *arg, const struct pc_dp_pipe *pipe)
{
	struct found *f = arg;

	if (f->n == f->room) {
		size_t room = f->room ? 2 * f->room : 64;
		struct pc_dp_pipe *more = reallocarray(f->dir, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->dir = more;
		f->room = room;
	}
	f->dir[f->n++] = *pipe;
	return 0;
}

/* Both directions of a pipe one after the other, the payer's first: the slot is its alone. */
static int by_slot(const void *a, const void *b)
{
	const struct pc_dp_pipe *x = a, *y = b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return (int)y->up - (int)x->up;
}

/* Whether @up and @down are two halves of one whole. */
static bool belong(const struct pc_dp_pipe *up, const struct pc_dp_pipe *down)
{
	return up->slot == down->slot && up->up && !down->up && !up->in_plain && !down->out_plain &&
	       up->granted == down->granted && up->out_plain == down->in_plain &&
	       up->shared == down->shared && up->other_slot == down->other_slot &&
	       pc_addr_equal(&up->in_local, &down->out_local) &&
	       pc_addr_equal(&up->out_local, &down->in_local) &&
	       memcmp(up->in_peer, down->out_peer, sizeof(up->in_peer)) == 0 &&
	       memcmp(up->out_peer, down->in_peer, sizeof(up->out_peer)) == 0;
}

static void fill_end(struct pc_hub_end *end, const struct pc_dp_pipe *from,
		     const struct pc_dp_pipe *to)
{
	*end = (struct pc_hub_end){
		.in = from->in,
		.out = to->out,
		.path = { .local = from->in_local, .remote = from->in_remote },
	};
	memcpy(end->peer, from->in_peer, sizeof(end->peer));
	memcpy(end->in_key, from->in_key, sizeof(end->in_key));
	memcpy(end->out_key, to->out_key, sizeof(end->out_key));
	if (from->in_plain)
		end->remote = from->in_remote;
}

/* The session is still open, and its tenant's that the peer is on the account of. */
static bool adopt_account(struct pc_native_glue *g, struct native_account *a, uint32_t slot,
			  const uint8_t identity[static 32])
{
	const struct pc_store_peer *peer = pc_peers_find(g->d->peers, identity);
	uint32_t tenant;

	if (!peer || !pc_users_by_id(g->d->users, peer->tenant) ||
	    !pc_usage_slot(g->d->usage, slot, &a->id, &tenant) || tenant != peer->tenant)
		return false;
	a->slot = slot;
	a->tenant = tenant;
	a->open = true;
	pc_glue_limits_set(g->d->glue, slot);
	return true;
}

static int adopt_port(struct pc_native_glue *g, struct native_pipe *p, struct pc_hub_end *end)
{
	int r;

	if (!pc_policy_allows(g->d->policy, &end->remote))
		return PC_ERR_REFUSED;
	r = pc_turn_port_lend(g->d->turn, end->path.local.ip.family, &end->path.local, g->now,
			      &p->port);
	if (r)
		return r;
	end->path.listener = PC_IO_NO_LISTENER;
	end->relayed = p->port.relayed;
	pc_io_port_native(g->d->io, p->port.handle, end->in);
	return 0;
}

/* What is known of it to the hub, and what we keep. */
static int adopt_one(struct pc_native_glue *g, struct native_pipe *p, const struct pc_dp_pipe *up,
		     const struct pc_dp_pipe *down)
{
	/* Its grant is not known here: no longer than it has now, unless it is shown again. */
	struct pc_hub_pipe pipe = { .user = p, .until_ns = up->granted ? up->expires_ns : 0 };
	int r = 0;

	fill_end(&pipe.ends[0], up, down);
	fill_end(&pipe.ends[1], down, up);
	if (!adopt_account(g, &p->accounts[0], up->slot, up->in_peer) ||
	    (up->shared && !adopt_account(g, &p->accounts[1], up->other_slot, up->out_peer)))
		return PC_ERR_STATE;
	if (!pc_native_tenant_take(g, p->accounts[0].tenant, true))
		return -ENOMEM;
	p->counted = true;
	p->created_ns = g->now;
	for (unsigned int i = 0; r == 0 && i < (up->out_plain ? 1 : 2); i++)
		r = pc_io_listener(g->d->io, &pipe.ends[i].path.local, &pipe.ends[i].path.listener);
	if (r == 0 && up->out_plain)
		r = adopt_port(g, p, &pipe.ends[1]);
	if (r == 0)
		r = pc_hub_adopt(g->hub, &pipe, g->now, &p->pipe);
	explicit_bzero(&pipe, sizeof(pipe));
	return r ? r : pc_native_pipe_write(g, p);
}

static bool adopt_pair(struct pc_native_glue *g, const struct pc_dp_pipe *up,
		       const struct pc_dp_pipe *down, uint64_t *taken)
{
	struct native_pipe *p;
	int r;

	if (!belong(up, down))
		return false;
	p = pc_native_pipe_new(g);
	if (!p)
		return false;
	r = adopt_one(g, p, up, down);
	if (r) {
		pc_debug("a pipe is not taken up: %s", pc_strerror(r));
		/* Through the hub where that has it already. */
		if (p->pipe)
			pc_hub_pipe_close(g->hub, p->pipe, PC_NATIVE_R_GONE, g->now);
		else
			pc_native_pipe_free(g, p);
		return false;
	}
	for (unsigned int i = 0; i < 2; i++) {
		if (p->accounts[i].open)
			taken[p->accounts[i].slot / 64] |= 1ull << (p->accounts[i].slot % 64);
	}
	return true;
}

void pc_native_glue_adopt(struct pc_daemon *d, struct pc_native_glue *g, uint64_t *taken)
{
	struct found f = { 0 };
	size_t adopted = 0, dropped = 0;

	if (pc_dp_pipe_each(d->dp, collect, &f))
		pc_error("pipes are not taken up again: out of memory");
	if (f.n)
		qsort(f.dir, f.n, sizeof(*f.dir), by_slot);
	if (g)
		g->now = pc_clock_monotonic();
	for (size_t i = 0; i < f.n;) {
		if (g && i + 1 < f.n && adopt_pair(g, &f.dir[i], &f.dir[i + 1], taken)) {
			adopted++;
			i += 2;
			continue;
		}
		pc_dp_pipe_del(d->dp, f.dir[i++].in);
		dropped++;
	}
	if (f.n)
		pc_info("adopted %zu pipes, dropped %zu directions of others", adopted, dropped);
	if (f.dir)
		explicit_bzero(f.dir, f.n * sizeof(*f.dir));
	free(f.dir);
}

/* --- all of them --- */

void pc_native_glue_resync(struct pc_native_glue *g)
{
	struct native_pipe *p, *next;

	g->now = pc_clock_monotonic();
	for (p = g->pipes; p; p = next) {
		next = p->next;
		if (p->pipe && pc_native_pipe_rewrite(g, p) < 0)
			pc_hub_pipe_close(g->hub, p->pipe, PC_NATIVE_R_FULL, g->now);
	}
}

void pc_native_glue_limit(struct pc_native_glue *g, uint64_t until)
{
	g->limit_ns = until;
	pc_native_glue_resync(g);
}

void pc_native_glue_policy(struct pc_native_glue *g)
{
	struct native_pipe *p, *next;

	g->now = pc_clock_monotonic();
	for (p = g->pipes; p; p = next) {
		next = p->next;
		if (p->pipe && p->port.socket &&
		    !pc_policy_allows(g->d->policy, &p->pipe->ends[1].remote))
			pc_hub_pipe_close(g->hub, p->pipe, PC_NATIVE_R_REFUSED, g->now);
	}
}

unsigned int pc_native_glue_end_tenant(struct pc_native_glue *g, uint32_t tenant)
{
	struct native_pipe *p, *next;
	unsigned int n = 0;

	g->now = pc_clock_monotonic();
	for (p = g->pipes; p; p = next) {
		next = p->next;
		if (!p->pipe || (p->accounts[0].tenant != tenant &&
				 (!p->accounts[1].open || p->accounts[1].tenant != tenant)))
			continue;
		pc_hub_pipe_close(g->hub, p->pipe, PC_NATIVE_R_REFUSED, g->now);
		n++;
	}
	return n;
}

unsigned int pc_native_glue_forget(struct pc_native_glue *g, const uint8_t identity[static 32])
{
	struct pc_native_link *link = pc_native_find(g->n, identity);
	bool was_up = link && pc_native_is_up(link);
	struct native_pipe *p, *next;

	g->now = pc_clock_monotonic();
	if (link)
		pc_native_close(g->n, link, PC_NATIVE_R_REFUSED, g->now);
	/* Those that it had before a restart and did not come back for. */
	for (p = g->pipes; p; p = next) {
		next = p->next;
		if (p->pipe && (memcmp(p->pipe->ends[0].peer, identity, 32) == 0 ||
				memcmp(p->pipe->ends[1].peer, identity, 32) == 0))
			pc_hub_pipe_close(g->hub, p->pipe, PC_NATIVE_R_GONE, g->now);
	}
	return was_up;
}

void pc_native_pipes_meter(struct pc_native_glue *g)
{
	for (struct native_pipe *p = g->pipes; p; p = p->next) {
		struct pc_store_count c[PC_STORE_PATHS];
		uint64_t up = 0, down = 0;

		if (!p->pipe || pc_usage_session(g->d->usage, p->accounts[0].slot, c) < 0)
			continue;
		for (int path = 0; path < PC_STORE_PATHS; path++) {
			up += c[path].up_payload_bytes;
			down += c[path].down_payload_bytes;
		}
		if (up == p->told_up && down == p->told_down)
			continue;
		if (pc_hub_meter(g->hub, p->pipe, 0, up, down, g->now) < 0)
			continue;
		p->told_up = up;
		p->told_down = down;
	}
}

static struct pc_native_pipe_view view_of(const struct pc_native_glue *g,
					  const struct native_pipe *p, unsigned int i)
{
	const struct pc_hub_end *end = &p->pipe->ends[i], *far = &p->pipe->ends[!i];
	const struct pc_store_peer *peer = pc_peers_find(g->d->peers, end->peer);
	const struct pc_store_peer *other = pc_peers_find(g->d->peers, far->peer);

	return (struct pc_native_pipe_view){
		.id = p->accounts[i].id,
		.slot = p->accounts[i].slot,
		.tenant = p->accounts[i].tenant,
		.peer = peer ? peer->name : NULL,
		.other = other ? other->name : NULL,
		.remote = end->path.remote,
		.server = end->path.local,
		.relayed = far->relayed,
		.created_ns = p->created_ns,
	};
}

int pc_native_glue_each(const struct pc_native_glue *g,
			int (*fn)(void *arg, const struct pc_native_pipe_view *view), void *arg)
{
	int r = 0;

	for (const struct native_pipe *p = g ? g->pipes : NULL; p && r == 0; p = p->next) {
		for (unsigned int i = 0; p->pipe && i < 2 && r == 0; i++) {
			struct pc_native_pipe_view view;

			if (!p->accounts[i].open)
				continue;
			view = view_of(g, p, i);
			r = fn(arg, &view);
		}
	}
	return r;
}

size_t pc_native_glue_pipes(const struct pc_native_glue *g)
{
	size_t n = 0;

	for (const struct native_pipe *p = g ? g->pipes : NULL; p; p = p->next)
		n += p->pipe != NULL;
	return n;
}
