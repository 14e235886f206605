/* SPDX-License-Identifier: MIT */
/*
 * Pipes of native peers: whoever asked for one pays for both directions, out of the counters and
 * the limits of its tenant, as for an allocation.
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
#include "lib/replay.h"

#define UDP_HEADER 8

/* What the daemon keeps of a pipe. */
struct pipe {
	uint64_t id; /* of its session */
	uint32_t slot;
	struct pc_replay replay[2]; /* of what comes from each end */
};

static bool may_connect(void *ctx, const uint8_t caller[static 32], const uint8_t callee[static 32])
{
	return pc_peers_may_call(((struct pc_native_glue *)ctx)->d->peers, caller, callee);
}

/* --- sessions of pipes --- */

static int open_slot(struct pc_native_glue *g, uint32_t tenant, struct pipe *p)
{
	struct pc_daemon *d = g->d;
	int r;

	if (!pc_daemon_store_usable(d))
		return PC_ERR_STORE;
	randombytes_buf(&p->id, sizeof(p->id));
	r = pc_usage_open(d->usage, p->id, tenant, &p->slot);
	if (r != PC_ERR_FULL && r != -ENOMEM)
		pc_daemon_store_result(d, r, "opening a session");
	if (r == 0)
		pc_glue_limits_set(d->glue, p->slot);
	return r;
}

static int pipe_new(struct pc_native_glue *g, struct pc_hub_pipe *pipe)
{
	const uint8_t *payer = pc_native_identity(pipe->ends[0].link);
	const struct pc_store_peer *peer = pc_peers_find(g->d->peers, payer);
	struct pipe *p;
	int r;

	if (!peer)
		return PC_ERR_REFUSED;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	r = open_slot(g, peer->tenant, p);
	if (r) {
		pc_log_limited(&g->full_log, g->now, PC_LOG_WARNING, "no pipe for peer %s: %s",
			       peer->name, pc_strerror(r));
		free(p);
		return r;
	}
	pipe->user = p;
	pc_debug("pipe %016" PRIx64 " of peer %s: slot %u", p->id, peer->name, p->slot);
	return 0;
}

static int pipe_set(void *ctx, struct pc_hub_pipe *pipe, bool again)
{
	return again ? 0 : pipe_new(ctx, pipe);
}

static void pipe_del(void *ctx, struct pc_hub_pipe *pipe)
{
	struct pc_native_glue *g = ctx;
	struct pipe *p = pipe->user;

	if (!p)
		return;
	pc_debug("pipe %016" PRIx64 " ended", p->id);
	pc_glue_limits_clear(g->d->glue, p->slot);
	pc_usage_close(g->d->usage, p->slot, g->now);
	free(p);
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
	.random = fill_random,
};

/* --- frames --- */

static bool next_ttl(struct pc_dgram *d)
{
	if (d->ttl == 1)
		return false;
	d->ttl--;
	return true;
}

static bool same_path(const struct pc_native_path *a, const struct pc_native_path *b)
{
	return pc_addr_equal(&a->remote, &b->remote) && pc_addr_equal(&a->local, &b->local);
}

/* 0, or why it goes no further. */
static enum pc_reason check(struct pc_native_glue *g, const struct pc_native_path *path,
			    const struct pc_dgram *d, struct pc_hub_pipe **ret_pipe,
			    unsigned int *ret_end)
{
	struct pc_pipe_frame f;
	struct pc_hub_pipe *pipe;
	struct pipe *p;

	if (pc_pipe_read(d->data, d->len, &f) < 0)
		return PC_REASON_DROP_MALFORMED;
	pipe = pc_hub_pipe_find(g->hub, f.pipe, ret_end);
	if (!pipe || !pipe->user)
		return PC_REASON_DROP_NO_ALLOCATION;
	/* Only transport frames move a session: a tag alone does not. */
	if (!same_path(path, &pipe->ends[*ret_end].path) ||
	    !pc_pipe_check(d->data, d->len, pipe->ends[*ret_end].in_key))
		return PC_REASON_DROP_UNAUTHENTICATED;
	p = pipe->user;
	if (!pc_replay_accept(&p->replay[*ret_end], f.counter))
		return PC_REASON_DROP_UNAUTHENTICATED;
	*ret_pipe = pipe;
	return 0;
}

void pc_native_pipe_input(struct pc_native_glue *g, const struct pc_native_path *path,
			  struct pc_dgram *d)
{
	struct pc_hub_pipe *pipe = NULL;
	const struct pc_hub_end *to;
	struct pc_turn_path out;
	const struct pipe *p;
	uint32_t payload, wire;
	unsigned int end;
	enum pc_reason reason = check(g, path, d, &pipe, &end);

	if (!reason && !next_ttl(d))
		reason = PC_REASON_DROP_TTL;
	if (reason) {
		g->reasons[reason]++;
		return;
	}
	p = pipe->user;
	to = &pipe->ends[!end];
	payload = (uint32_t)(d->len - PC_PIPE_HEADER);
	wire = (to->path.remote.ip.family == 4 ? 20 : 40) + UDP_HEADER + (uint32_t)d->len;
	/* End 0 asked for it, and is the tenant. */
	if (!pc_glue_admit(g->d->glue, p->slot, end == 0, d, payload, wire))
		return;
	pc_pipe_forward(d->data, d->len, to->out, to->out_key);
	out = (struct pc_turn_path){ .listener = to->path.listener,
				     .server = to->path.local,
				     .client = to->path.remote };
	pc_io_send_client(g->d->io, &out, d);
	pc_io_count(g->d->io, p->slot, end == 0, payload, wire);
}
