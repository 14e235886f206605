/* SPDX-License-Identifier: MIT */
/*
 * Interfaces that come and go. A trial runs on the loop in small steps, one interface at a time:
 * the data plane has one guard. What failed its trial is not tried again until the interface was
 * down or gone, so a driver that takes its link down while it attaches cannot make us try for ever.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/attach.h"
#include "daemon/attach_trial.h"
#include "daemon/rtnl.h"

/* Addresses and routes come after the interface; without them there is nobody to ask. */
#define SETTLE_S 2.0
#define STEP_S	 0.02

struct item {
	struct pc_attach_result *result; /* the daemon's */
	bool due;			 /* to be attached when it is up */
	bool queued;
};

struct pc_attach_watch {
	struct ev_loop *loop;
	struct pc_dp *dp;
	enum pc_dp_mode wanted;
	struct pc_rtnl_events *events;
	ev_io io;
	ev_timer timer;
	struct item *items;
	size_t n;
	struct item *current; /* on trial; NULL: none */
	struct pc_attach_trial trial;
	struct pc_attach_result pending; /* of the trial */
};

static void arm(struct pc_attach_watch *w, double seconds)
{
	ev_timer_stop(w->loop, &w->timer);
	ev_timer_set(&w->timer, seconds, 0.);
	ev_timer_start(w->loop, &w->timer);
}

static void finish(struct pc_attach_watch *w)
{
	struct item *item = w->current;

	pc_attach_trial_end(&w->trial);
	w->current = NULL;
	*item->result = w->pending;
	item->due = w->trial.error == -ENODEV || w->trial.error == -ENETDOWN;
	if (w->trial.error)
		pc_warning("%s: XDP off: %s", w->pending.interface, w->pending.reason);
	else
		pc_info("%s: XDP %s again%s%s", w->pending.interface,
			pc_dp_mode_name(w->pending.mode), w->pending.reason[0] ? ": " : "",
			w->pending.reason);
}

static void start(struct pc_attach_watch *w, struct item *item)
{
	char name[IF_NAMESIZE];

	item->queued = false;
	snprintf(name, sizeof(name), "%s", item->result->interface);
	/* Down or gone again: it stays due. */
	if (!item->due || pc_attach_look_up(name, &w->pending))
		return;
	w->current = item;
	w->trial = (struct pc_attach_trial){ .dp = w->dp, .result = &w->pending };
	w->trial.n_modes = pc_attach_modes(w->wanted, w->trial.modes);
	pc_attach_trial_start(&w->trial, pc_clock_monotonic());
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct pc_attach_watch *w = timer->data;

	if (w->current && pc_attach_trial_step(&w->trial, pc_clock_monotonic()) == PC_ATTACH_DONE)
		finish(w);
	for (size_t i = 0; i < w->n && !w->current; i++) {
		if (w->items[i].queued)
			start(w, &w->items[i]);
	}
	if (w->current)
		arm(w, STEP_S);
}

static void queue(struct pc_attach_watch *w, struct item *item)
{
	item->queued = true;
	if (!w->current)
		arm(w, SETTLE_S);
}

static void gone(struct pc_attach_watch *w, struct item *item)
{
	struct pc_attach_result *r = item->result;

	if (w->current == item) {
		/* Its trial ends with it. */
		pc_attach_trial_end(&w->trial);
		w->current = NULL;
	}
	/* The kernel took the program off; this forgets the link and its pin. */
	pc_dp_detach(w->dp, r->ifindex);
	if (r->mode != PC_DP_OFF)
		pc_warning("%s: interface is gone, XDP off until it is back", r->interface);
	r->mode = PC_DP_OFF;
	r->adopted = false;
	r->verified = false;
	r->ifindex = 0;
	snprintf(r->reason, sizeof(r->reason), "interface %s is gone", r->interface);
	item->due = true;
}

static void on_link(void *arg, const struct pc_rtnl_link *link, bool deleted)
{
	struct pc_attach_watch *w = arg;

	for (size_t i = 0; i < w->n; i++) {
		struct item *item = &w->items[i];
		bool named = strcmp(item->result->interface, link->name) == 0;

		if (link->ifindex == item->result->ifindex && deleted) {
			gone(w, item);
			continue;
		}
		if (!named || deleted)
			continue;
		if (item->result->ifindex && link->ifindex != item->result->ifindex)
			gone(w, item);
		if (!(link->flags & IFF_UP) && item->result->mode == PC_DP_OFF)
			item->due = true;
		if ((link->flags & IFF_UP) && item->due && w->current != item)
			queue(w, item);
	}
}

static void check_item(struct pc_attach_watch *w, struct item *item)
{
	struct pc_attach_result now;
	int err = pc_attach_look_up(item->result->interface, &now);

	if (item->result->ifindex && item->result->ifindex != now.ifindex)
		gone(w, item);
	if (err && item->result->mode == PC_DP_OFF)
		item->due = true;
	if (!err && item->due)
		queue(w, item);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct pc_attach_watch *w = io->data;

	if (pc_rtnl_events_read(w->events) == 0)
		return;
	for (size_t i = 0; i < w->n; i++)
		check_item(w, &w->items[i]);
}

int pc_attach_watch_new(struct ev_loop *loop, struct pc_dp *dp, enum pc_dp_mode wanted,
			struct pc_attach_result *results, size_t n,
			struct pc_attach_watch **ret_watch)
{
	static const struct pc_rtnl_event_ops ops = { .link = on_link };
	struct pc_attach_watch *w = calloc(1, sizeof(*w));
	int err = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->dp = dp;
	w->wanted = wanted;
	w->n = n;
	ev_timer_init(&w->timer, on_timer, SETTLE_S, 0.);
	w->timer.data = w;
	w->items = calloc(n ? n : 1, sizeof(struct item));
	if (w->items)
		err = pc_rtnl_events_open(&ops, w, &w->events);
	if (err) {
		pc_attach_watch_free(w);
		return err;
	}
	ev_io_init(&w->io, on_readable, pc_rtnl_events_fd(w->events), EV_READ);
	w->io.data = w;
	ev_io_start(loop, &w->io);
	for (size_t i = 0; i < n; i++) {
		w->items[i].result = &results[i];
		check_item(w, &w->items[i]);
	}
	*ret_watch = w;
	return 0;
}

void pc_attach_watch_free(struct pc_attach_watch *w)
{
	if (!w)
		return;
	if (w->current)
		pc_attach_trial_end(&w->trial);
	if (ev_is_active(&w->io))
		ev_io_stop(w->loop, &w->io);
	ev_timer_stop(w->loop, &w->timer);
	pc_rtnl_events_close(w->events);
	free(w->items);
	free(w);
}
