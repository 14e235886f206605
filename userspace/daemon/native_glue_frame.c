/* SPDX-License-Identifier: MIT */
/* Frames of pipes in user space: decided by the data plane, sent by the sockets. */
#include "daemon/io.h"
#include "daemon/native_glue_int.h"
#include "relay/native_pipe.h"

_Static_assert(PC_TURN_HEADROOM >= PC_DP_PIPE_HEADER, "room for a header");

static void forward(struct pc_native_glue *g, const struct native_pipe *p, unsigned int to,
		    const struct pc_dp_dgram *out)
{
	const struct pc_native_path *path = &p->pipe->ends[to].path;
	const struct pc_turn_path client = { .listener = path->listener,
					     .server = path->local,
					     .client = path->remote };
	const struct pc_dgram d = { .data = out->data,
				    .len = out->len,
				    .ttl = out->ttl,
				    .tos = out->tos,
				    .in_place = true };

	if (out->plain)
		pc_io_send_peer(g->d->io, p->port.handle, &out->remote, &d);
	else
		pc_io_send_client(g->d->io, &client, &d);
	for (unsigned int i = 0; i < out->n_charges; i++) {
		const struct pc_dp_charge *c = &out->charges[i];

		pc_io_count(g->d->io, c->slot, c->up, c->payload_bytes, c->wire_bytes);
	}
}

static struct pc_dp_dgram dgram(const struct pc_native_path *path, const struct pc_dgram *d)
{
	return (struct pc_dp_dgram){ .local = path->local,
				     .remote = path->remote,
				     .data = d->data,
				     .len = d->len,
				     .ttl = d->ttl,
				     .tos = d->tos };
}

void pc_native_pipe_input(struct pc_native_glue *g, const struct pc_native_path *path,
			  struct pc_dgram *d)
{
	const struct pc_hub_pipe *pipe = NULL;
	struct pc_dp_dgram out = dgram(path, d);
	struct pc_pipe_frame f;
	unsigned int end;

	/* The index is written over when the frame goes on. */
	if (pc_pipe_read(d->data, d->len, &f) == 0)
		pipe = pc_hub_pipe_find(g->hub, f.pipe, &end);
	if (pc_dp_user_pipe(g->d->dp, g->now, &out) != PC_REASON_USER_FORWARD)
		return;
	if (pipe && pipe->user)
		forward(g, pipe->user, !end, &out);
}

void pc_native_port_input(struct pc_native_glue *g, const struct pc_native_path *path,
			  struct pc_dgram *d)
{
	struct pc_dp_dgram out = dgram(path, d);
	const struct pc_hub_pipe *pipe;
	unsigned int end;

	if (pc_dp_user_pipe_port(g->d->dp, g->now, &out) != PC_REASON_USER_FORWARD)
		return;
	pipe = pc_hub_pipe_find(g->hub, path->pipe, &end);
	if (pipe && pipe->user)
		forward(g, pipe->user, !end, &out);
}
