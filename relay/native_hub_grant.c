/* SPDX-License-Identifier: MIT */
/* Grants that peers show for the pipes they ask for: judged by the owner, ended here. */
#include "relay/native_hub_int.h"

/*
 * Judging one costs curve operations, so a peer may show so many only: two a second, or for each
 * pipe that it may have two a minute, which is what KEEP needs; a minute's worth at once.
 */
#define GRANT_NS  (PC_NS_PER_S / 2)
#define WINDOW_NS (60 * PC_NS_PER_S)

static bool too_many(struct pc_hub *h, struct hub_peer *peer)
{
	uint64_t from = peer->grants_ns > h->now ? peer->grants_ns : h->now;
	uint64_t each = WINDOW_NS / 2 / (h->config.max_pipes_per_peer + 1);

	if (from - h->now > WINDOW_NS)
		return true;
	peer->grants_ns = from + (each < GRANT_NS ? each : GRANT_NS);
	return false;
}

uint16_t pc_hub_grant_judge(struct pc_hub *h, struct hub_peer *peer,
			    const struct pc_native_msg *msg, uint64_t *ret_until_ns)
{
	if (!PC_NATIVE_HAS(msg, PC_NATIVE_F_GRANT) || !h->ops->grant)
		return 0;
	if (too_many(h, peer))
		return PC_NATIVE_R_FULL;
	return h->ops->grant(h->ctx, peer->link, msg->grant, ret_until_ns);
}

static void on_run_out(struct pc_timer *timer, uint64_t now)
{
	struct hub_pipe *p = pc_container_of(timer, struct hub_pipe, grant_timer);
	struct pc_hub *h = p->hub;

	h->now = now;
	if (h->ops->lapsed)
		h->ops->lapsed(h->ctx, &p->pipe);
	pc_hub_pipe_end(h, p, NULL, PC_NATIVE_R_EXPIRED);
}

void pc_hub_grant_watch(struct pc_hub *h, struct hub_pipe *p)
{
	if (!p->pipe.until_ns)
		return;
	p->grant_timer.fn = on_run_out;
	pc_timer_set(h->timers, &p->grant_timer, p->pipe.until_ns);
}
