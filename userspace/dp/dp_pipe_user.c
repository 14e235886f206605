/* SPDX-License-Identifier: MIT */
/*
 * Frames of pipes in user space: what the program passed, and all of them where there is none. In
 * the program's order: the frame, its pipe, where it came from, its tag, the window, the limits.
 */
#include <string.h>

#include "base/wire.h"
#include "dp/dp_int.h"
#include "lib/pipe.h"
#include "lib/window.h"

#define IP4_HEADER 20
#define IP6_HEADER 40
#define UDP_HEADER 8

_Static_assert(PC_DP_PIPE_HEADER == PC_PIPE_HEADER, "one header");

static enum pc_reason drop(struct pc_dp *dp, enum pc_reason reason)
{
	pc_dp_reasons_user(dp)[reason]++;
	return reason;
}

static bool from_there(const struct pc_dp_pipe *pipe, const struct pc_dp_dgram *d)
{
	return pc_addr_equal(&pipe->in_remote, &d->remote) &&
	       pc_addr_equal(&pipe->in_local, &d->local);
}

/* Charges who pays, then the other end if it is a tenant. Counts a refusal. */
static enum pc_reason charge(struct pc_dp *dp, const struct pc_dp_pipe *pipe, uint32_t payload,
			     struct pc_dp_dgram *d)
{
	uint32_t len = payload + (pipe->out_plain ? 0 : PC_PIPE_HEADER);
	uint32_t wire =
		len + UDP_HEADER + (pipe->out_remote.ip.family == 6 ? IP6_HEADER : IP4_HEADER);
	enum pc_reason reason = PC_REASON_TX;

	d->charges[0] = (struct pc_dp_charge){ pipe->slot, pipe->tenant, pipe->up, payload, wire };
	d->charges[1] = (struct pc_dp_charge){ pipe->other_slot, pipe->other_tenant, !pipe->up,
					       payload, wire };
	d->n_charges = pipe->shared ? 2 : 1;
	/* The sender's side first, as in the program. */
	if (pipe->shared && !pipe->up) {
		struct pc_dp_charge swap = d->charges[0];

		d->charges[0] = d->charges[1];
		d->charges[1] = swap;
	}
	for (unsigned int i = 0; i < d->n_charges && reason == PC_REASON_TX; i++) {
		reason = pc_dp_charge(dp, &d->charges[i], &d->tos);
		if (reason != PC_REASON_TX && i > 0)
			pc_dp_charge_undo(dp, &d->charges[0]);
	}
	return reason;
}

/* What is to be sent, from @data on. */
static enum pc_reason leave(const struct pc_dp_pipe *pipe, uint8_t *data, size_t len,
			    struct pc_dp_dgram *d)
{
	d->local = pipe->out_local;
	d->remote = pipe->out_remote;
	d->plain = pipe->out_plain;
	d->data = data;
	d->len = len;
	d->ttl--;
	return PC_REASON_USER_FORWARD;
}

enum pc_reason pc_dp_user_pipe(struct pc_dp *dp, uint64_t now, struct pc_dp_dgram *d)
{
	const struct pc_dp_pipe_node *node;
	struct pc_pipe_head head;
	enum pc_reason reason;
	uint32_t payload;

	if (d->len < sizeof(head))
		return drop(dp, PC_REASON_DROP_LENGTH);
	memcpy(&head, d->data, sizeof(head));
	payload = (uint32_t)(d->len - sizeof(head));
	if (!pc_pipe_well_formed(&head))
		return drop(dp, PC_REASON_DROP_MALFORMED);
	node = pc_dp_pipe_find(dp, pc_pipe_be32(head.pipe));
	if (!node || node->pipe.in_plain)
		return drop(dp, PC_REASON_DROP_NO_PIPE);
	if (!from_there(&node->pipe, d))
		return drop(dp, PC_REASON_DROP_PIPE_SOURCE);
	reason = pc_pipe_judge(&node->item, &head, payload, d->ttl, now);
	if (reason != PC_REASON_TX)
		return drop(dp, reason);
	if (!pc_window_take(pc_dp_pipe_window(dp, node), pc_pipe_be64(head.counter)))
		return drop(dp, PC_REASON_DROP_REPLAY);
	reason = charge(dp, &node->pipe, payload, d);
	if (reason != PC_REASON_TX)
		return reason;
	if (node->pipe.out_plain)
		return leave(&node->pipe, d->data + sizeof(head), payload, d);
	pc_pipe_next_hop(&node->item, &head, payload);
	memcpy(d->data, &head, sizeof(head));
	return leave(&node->pipe, d->data, d->len, d);
}

enum pc_reason pc_dp_user_pipe_port(struct pc_dp *dp, uint64_t now, struct pc_dp_dgram *d)
{
	const struct pc_dp_pipe_node *node = pc_dp_pipe_find_port(dp, &d->local, &d->remote);
	uint32_t payload = (uint32_t)d->len;
	struct pc_pipe_head head;
	enum pc_reason reason;

	if (!node)
		return drop(dp, PC_REASON_DROP_NO_PERMISSION);
	if (now >= node->item.flow.expires_ns)
		return drop(dp, PC_REASON_DROP_PIPE_EXPIRED);
	if (d->ttl <= 1)
		return drop(dp, PC_REASON_DROP_TTL);
	if (d->len > UINT16_MAX - PC_PIPE_HEADER - UDP_HEADER - IP4_HEADER)
		return drop(dp, PC_REASON_DROP_LENGTH);
	reason = charge(dp, &node->pipe, payload, d);
	if (reason != PC_REASON_TX)
		return reason;
	pc_pipe_first_hop(&node->item, &head, pc_window_next(pc_dp_pipe_window(dp, node)), payload);
	memcpy(d->data - sizeof(head), &head, sizeof(head));
	return leave(&node->pipe, d->data - sizeof(head), d->len + sizeof(head), d);
}

void pc_dp_user_sent(struct pc_dp *dp, const struct pc_dp_dgram *d)
{
	pc_dp_reasons_user(dp)[PC_REASON_USER_FORWARD]++;
	for (unsigned int i = 0; i < d->n_charges; i++) {
		const struct pc_dp_charge *c = &d->charges[i];
		struct pc_count *count = &pc_dp_count_user(dp)[c->slot];
		struct pc_dir_count *dir = c->up ? &count->up : &count->down;

		dir->packets++;
		dir->payload_bytes += c->payload_bytes;
		dir->wire_bytes += c->wire_bytes;
	}
}
