/* SPDX-License-Identifier: MIT */
/*
 * The order of a guarded attach:
 *   1. adopt a link that an earlier daemon pinned: it passed its trial then;
 *   2. ask the neighbours that matter; those that answer must answer later too;
 *   3. run the program on frames in memory;
 *   4. attach on trial: the kernel program passes everything after the deadline, and the link dies
 *      with this process, so neither a hang nor a crash here cuts the host off;
 *   5. ask again; all answered: confirm. Else take it off and try the next mode.
 */
#include "daemon/attach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "daemon/attach_trial.h"
#include "daemon/rtnl.h"

/* Adds one clause to the line for people. */
static void explain(struct pc_attach_result *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void explain(struct pc_attach_result *r, const char *fmt, ...)
{
	size_t len = strlen(r->reason);
	va_list args;

	if (len && len + 2 < sizeof(r->reason)) {
		memcpy(r->reason + len, "; ", 3);
		len += 2;
	}
	va_start(args, fmt);
	vsnprintf(r->reason + len, sizeof(r->reason) - len, fmt, args);
	va_end(args);
}

int pc_attach_look_up(const char *interface, struct pc_attach_result *ret_result)
{
	struct pc_attach_result *r = ret_result;
	_cleanup_rtnl_ struct pc_rtnl *rtnl = NULL;
	struct pc_rtnl_link link;
	int err;

	memset(r, 0, sizeof(*r));
	r->mode = PC_DP_OFF;
	snprintf(r->interface, sizeof(r->interface), "%s", interface);
	r->ifindex = if_nametoindex(interface);
	if (!r->ifindex) {
		explain(r, "interface %s does not exist", interface);
		return -ENODEV;
	}
	err = pc_rtnl_open(&rtnl);
	if (!err)
		err = pc_rtnl_link_get(rtnl, r->ifindex, &link);
	if (err) {
		explain(r, "cannot read the state of %s: %s", interface, pc_strerror(err));
		return err;
	}
	if (!(link.flags & IFF_UP)) {
		explain(r, "interface %s is down", interface);
		return -ENETDOWN;
	}
	return 0;
}

unsigned int pc_attach_modes(enum pc_dp_mode wanted, enum pc_dp_mode ret_modes[static 2])
{
	unsigned int n = 0;

	if (wanted == PC_DP_AUTO || wanted == PC_DP_NATIVE)
		ret_modes[n++] = PC_DP_NATIVE;
	if (wanted == PC_DP_AUTO || wanted == PC_DP_GENERIC)
		ret_modes[n++] = PC_DP_GENERIC;
	return n;
}

static bool allowed(const struct pc_attach_trial *t, enum pc_dp_mode mode)
{
	for (unsigned int i = 0; i < t->n_modes; i++) {
		if (t->modes[i] == mode)
			return true;
	}
	return false;
}

/* Whether an earlier daemon's link is there, in a mode that is wanted now. */
static bool adopted(struct pc_attach_trial *t)
{
	struct pc_dp_link links[PC_MAX_TXPORTS], link;
	size_t n = pc_dp_links(t->dp, links, PC_MAX_TXPORTS);

	for (size_t i = 0; i < n; i++) {
		if (links[i].ifindex != t->result->ifindex || !links[i].adopted)
			continue;
		if (!allowed(t, links[i].mode)) {
			explain(t->result, "was attached in %s mode, which is not wanted any more",
				pc_dp_mode_name(links[i].mode));
			pc_dp_detach(t->dp, t->result->ifindex);
			return false;
		}
		if (pc_dp_attach(t->dp, links[i].ifindex, links[i].mode, 0, &link) == 0 &&
		    link.adopted) {
			t->result->mode = link.mode;
			t->result->shared = link.shared;
			t->result->adopted = true;
			t->result->verified = true;
			return true;
		}
	}
	return false;
}

static enum pc_attach_state done(struct pc_attach_trial *t, int error)
{
	t->error = error;
	t->state = PC_ATTACH_DONE;
	return t->state;
}

void pc_attach_trial_start(struct pc_attach_trial *t, uint64_t now)
{
	int err;

	t->error = -ENOTSUP;
	if (adopted(t)) {
		done(t, 0);
		return;
	}
	t->state = PC_ATTACH_BEFORE;
	t->deadline = now + PC_ATTACH_BEFORE_NS;
	err = pc_probe_new(t->result->ifindex, &t->probe);
	if (!err)
		err = pc_probe_begin(t->probe);
	if (err && err != -ENOENT)
		explain(t->result, "cannot ask the neighbours: %s", pc_strerror(err));
	if (err) {
		pc_probe_free(t->probe);
		t->probe = NULL;
	}
}

/* In memory, before any packet meets the program. */
static enum pc_attach_state test_program(struct pc_attach_trial *t)
{
	int err = t->skip_selftest ? 0 : pc_dp_selftest(t->dp);

	if (err) {
		explain(t->result, "self-test: %s",
			err == PC_ERR_REFUSED ? "the program stops traffic that is not ours"
					      : pc_strerror(err));
		return done(t, err);
	}
	t->state = PC_ATTACH_TRYING;
	return t->state;
}

static enum pc_attach_state before(struct pc_attach_trial *t, uint64_t now)
{
	char silent[96];

	if (t->probe && pc_probe_step(t->probe, now) && now < t->deadline)
		return t->state;
	if (t->probe && t->mode > 0) {
		/* After a mode that failed they must be back, or there is no telling modes apart.
		 */
		pc_probe_silent(t->probe, silent, sizeof(silent));
		if (!silent[0]) {
			t->state = PC_ATTACH_TRYING;
			return t->state;
		}
		explain(t->result, "%s does not answer without the program either", silent);
		return done(t, -ETIMEDOUT);
	}
	if (t->probe && pc_probe_answered(t->probe)) {
		pc_probe_narrow(t->probe);
	} else {
		/* It did not work before: there is nothing that could be compared. */
		pc_probe_free(t->probe);
		t->probe = NULL;
	}
	return test_program(t);
}

/* Confirms what is attached; takes it off again when that fails. */
static enum pc_attach_state confirm(struct pc_attach_trial *t)
{
	struct pc_attach_result *r = t->result;
	int err = pc_dp_confirm(t->dp, r->ifindex);

	if (err) {
		pc_dp_detach(t->dp, r->ifindex);
		explain(r, "cannot make the attachment last: %s", pc_strerror(err));
		return done(t, err);
	}
	r->mode = t->modes[t->mode];
	r->verified = t->probe != NULL;
	if (!r->verified)
		explain(r, "nothing on %s answers, so the attachment could not be verified",
			r->interface);
	return done(t, 0);
}

static void next_mode(struct pc_attach_trial *t, int error)
{
	t->error = error;
	t->mode++;
	t->state = PC_ATTACH_TRYING;
}

/* Only native attaching resets a driver: what fails in generic mode after it fails at once. */
static uint64_t verify_ns(const struct pc_attach_trial *t)
{
	return t->mode == 0 ? PC_ATTACH_VERIFY_NS : PC_ATTACH_VERIFY_NS / 2;
}

static enum pc_attach_state try_mode(struct pc_attach_trial *t, uint64_t now)
{
	struct pc_attach_result *r = t->result;
	const char *mode;
	struct pc_dp_link link;
	int err;

	if (t->mode == t->n_modes)
		return done(t, t->error);
	mode = pc_dp_mode_name(t->modes[t->mode]);
	t->deadline = now + verify_ns(t);
	err = pc_dp_attach(t->dp, r->ifindex, t->modes[t->mode], t->deadline + PC_ATTACH_MARGIN_NS,
			   &link);
	if (err == -EBUSY) {
		explain(r,
			"another XDP program is attached to %s (ip link show %s); take it off to "
			"use this one",
			r->interface, r->interface);
		return done(t, err);
	}
	if (err == -ENODEV || err == -ENETDOWN) {
		explain(r, "interface %s went away", r->interface);
		return done(t, err);
	}
	if (err) {
		explain(r, "%s mode: %s", mode,
			err == -EOPNOTSUPP ? "the driver cannot do it" : pc_strerror(err));
		next_mode(t, err);
		return t->state;
	}
	r->shared = link.shared;
	if (link.adopted) {
		r->mode = link.mode;
		r->adopted = true;
		r->verified = true;
		return done(t, 0);
	}
	if (!t->probe)
		return confirm(t);
	if (link.shared) {
		/* Most of the time went into loading it once more, with the interface working. */
		t->deadline = pc_clock_monotonic() + verify_ns(t);
		pc_dp_guard(t->dp, t->deadline + PC_ATTACH_MARGIN_NS);
	}
	/* The sockets are new: an answer from before the attach cannot be in them. */
	err = pc_probe_begin(t->probe);
	if (err) {
		pc_dp_detach(t->dp, r->ifindex);
		explain(r, "%s mode: cannot ask the neighbours: %s", mode, pc_strerror(err));
		return done(t, err);
	}
	t->state = PC_ATTACH_VERIFY;
	return t->state;
}

static enum pc_attach_state verify(struct pc_attach_trial *t, uint64_t now)
{
	struct pc_attach_result *r = t->result;
	char silent[96];

	/*
	 * The deadline was set before attaching, which may take a driver long. Behind the guard the
	 * program passes everything: an answer from then would prove nothing.
	 */
	if (now < t->deadline) {
		if (pc_probe_step(t->probe, now) == 0)
			return confirm(t);
		return t->state;
	}
	pc_dp_detach(t->dp, r->ifindex);
	explain(r, "%s mode: taken off again, %s answered before and not through the program",
		pc_dp_mode_name(t->modes[t->mode]),
		pc_probe_silent(t->probe, silent, sizeof(silent)));
	next_mode(t, -ETIMEDOUT);
	if (t->mode < t->n_modes && pc_probe_begin(t->probe) == 0) {
		t->state = PC_ATTACH_BEFORE;
		t->deadline = now + PC_ATTACH_VERIFY_NS;
	}
	return t->state;
}

enum pc_attach_state pc_attach_trial_step(struct pc_attach_trial *t, uint64_t now)
{
	switch (t->state) {
	case PC_ATTACH_BEFORE:
		return before(t, now);
	case PC_ATTACH_TRYING:
		return try_mode(t, now);
	case PC_ATTACH_VERIFY:
		return verify(t, now);
	case PC_ATTACH_DONE:
		break;
	}
	return t->state;
}

void pc_attach_trial_end(struct pc_attach_trial *t)
{
	if (t->state == PC_ATTACH_VERIFY)
		pc_dp_detach(t->dp, t->result->ifindex);
	pc_probe_free(t->probe);
	t->probe = NULL;
	t->state = PC_ATTACH_DONE;
}

int pc_attach_trial_run(struct pc_attach_trial *t)
{
	uint64_t now = pc_clock_monotonic();

	pc_attach_trial_start(t, now);
	while (pc_attach_trial_step(t, now) != PC_ATTACH_DONE) {
		if (t->probe && t->state != PC_ATTACH_TRYING)
			pc_probe_wait(t->probe, now, t->deadline);
		now = pc_clock_monotonic();
	}
	pc_attach_trial_end(t);
	return t->error;
}

int pc_attach_guarded(struct pc_dp *dp, const char *interface, enum pc_dp_mode wanted,
		      struct pc_attach_result *ret_result)
{
	struct pc_attach_trial t = { .dp = dp, .result = ret_result };
	int err = pc_attach_look_up(interface, ret_result);

	if (err)
		return err;
	t.n_modes = pc_attach_modes(wanted, t.modes);
	return pc_attach_trial_run(&t);
}

int pc_attach_neighbour_answers(unsigned int ifindex, int timeout_ms)
{
	_cleanup_probe_ struct pc_probe *p = NULL;
	uint64_t now = pc_clock_monotonic(), end = now + (uint64_t)timeout_ms * PC_NS_PER_MS;
	int err = pc_probe_new(ifindex, &p);

	if (!err)
		err = pc_probe_begin(p);
	if (err)
		return err;
	while (pc_probe_step(p, now), !pc_probe_answered(p) && now < end) {
		pc_probe_wait(p, now, end);
		now = pc_clock_monotonic();
	}
	return pc_probe_answered(p) > 0;
}
