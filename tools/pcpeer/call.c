/* SPDX-License-Identifier: MIT */
/*
 * What listeners ask relays for: each has one pipe; when that falls silent it asks another relay
 * for the next, and keeps the old one until then. By grants, where it has some.
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"

#define RETRY_NS     PC_NS_PER_S
#define RETRY_MAX_NS (30 * PC_NS_PER_S)
#define GRANT_WAIT_S 3600

static void say(struct connect *c, const char *text)
{
	char service[SERVICE_STRLEN];

	/* The same again is no news. */
	if (strcmp(c->problem, text) != 0)
		pc_warning("%s of %s: %s", service_format(c->spec.port, service),
			   id_text(c->spec.peer), text);
	snprintf(c->problem, sizeof(c->problem), "%s", text);
}

static void later(struct connect *c)
{
	c->wait_ns = c->wait_ns ? c->wait_ns * 2 : RETRY_NS;
	if (c->wait_ns > RETRY_MAX_NS)
		c->wait_ns = RETRY_MAX_NS;
	c->retry_ns = c->a->now + c->wait_ns;
	c->refusals = 0;
	agent_arm(c->a);
}

static bool needs_pipe(const struct connect *c)
{
	return !c->held || !c->held->way->good;
}

/* A listener with grants asks only relays that it has one for. */
static bool may_ask(struct connect *c, const struct relay *r, const uint8_t **ret_grant)
{
	struct grant *g;

	*ret_grant = NULL;
	if (!c->grants.n)
		return r->up;
	g = grants_find(&c->grants, r->spec.identity);
	if (!r->up || !g || grant_state(g, c->a->realtime_s) != GRANT_USABLE)
		return false;
	*ret_grant = g->bytes;
	return true;
}

static unsigned int relays_to_ask(struct connect *c)
{
	const uint8_t *grant;
	unsigned int n = 0;

	for (size_t i = 0; i < c->a->config.n_relay; i++)
		n += may_ask(c, &c->a->relay[i], &grant);
	return n;
}

/* Until there is another grant, or one of these becomes valid. False: it is not for that. */
static bool wait_for_grant(struct connect *c)
{
	char service[SERVICE_STRLEN], text[PROBLEM_STRLEN], when[GRANT_TIME_STRLEN];
	uint64_t from_s = UINT64_MAX;

	for (size_t i = 0; i < c->grants.n; i++) {
		const struct grant *g = &c->grants.list[i];
		enum grant_state state = grant_state(g, c->a->realtime_s);

		if (state == GRANT_USABLE)
			return false;
		if (state == GRANT_EARLY && g->not_before_s < from_s)
			from_s = g->not_before_s;
	}
	if (!c->grants.n)
		return false;
	c->wait_ns = c->retry_ns = 0;
	if (from_s < UINT64_MAX) {
		uint64_t wait_s = from_s - c->a->realtime_s;

		/* Clocks are set: not for years at once. */
		wait_s = wait_s < GRANT_WAIT_S ? wait_s : GRANT_WAIT_S;
		c->retry_ns = c->a->now + wait_s * PC_NS_PER_S;
		snprintf(text, sizeof(text), "its grant is valid from %s on",
			 grant_time(from_s, when));
	} else {
		snprintf(text, sizeof(text),
			 "no grant is left, so no relay is asked any more: pcpeer connect PEER %s "
			 "--grant FILE brings another one",
			 service_format(c->spec.port, service));
	}
	say(c, text);
	agent_arm(c->a);
	return true;
}

/* The relay has said that a grant of ours is no good, and it will not become better. */
static void grant_spent(struct connect *c, const struct relay *r, uint16_t reason)
{
	struct grant *g = grants_find(&c->grants, r->spec.identity);
	char service[SERVICE_STRLEN];

	g->ended |= reason == PC_NATIVE_R_EXPIRED;
	g->refused |= reason == PC_NATIVE_R_GRANT;
	pc_warning("%s of %s: relay %s: %s", service_format(c->spec.port, service),
		   id_text(c->spec.peer), addr_text(&r->spec.addr), pc_native_reason_text(reason));
}

static bool is_grant_spent(struct connect *c, const struct relay *r, uint16_t reason)
{
	return r && (reason == PC_NATIVE_R_EXPIRED || reason == PC_NATIVE_R_GRANT) &&
	       grants_find(&c->grants, r->spec.identity);
}

void connect_call(struct connect *c)
{
	struct agent *a = c->a;
	char service[SERVICE_STRLEN];

	service_format(c->spec.port, service);
	for (size_t i = 0; i < a->config.n_relay; i++) {
		struct relay *r = &a->relay[(c->next_relay + i) % a->config.n_relay];
		const uint8_t *grant;

		if (!may_ask(c, r, &grant) ||
		    pc_agent_connect(r->agent, c->spec.peer, service, grant, a->now, &c->call) < 0)
			continue;
		c->calling = r;
		c->call_ns = a->now;
		c->next_relay = r->number + 1;
		agent_arm(a);
		return;
	}
	c->call = 0;
	if (wait_for_grant(c))
		return;
	/* The relay's own line says more. */
	snprintf(c->problem, sizeof(c->problem), "no relay has a session with this peer");
	later(c);
}

static const char *why_refused(uint16_t reason)
{
	switch (reason) {
	case PC_NATIVE_R_REFUSED:
		return "refused: it does not trust this peer, or does not expose that; or the "
		       "relay "
		       "lets neither call the other";
	case PC_NATIVE_R_UNKNOWN_PEER:
		return "it is not registered at our relays";
	default:
		return pc_native_reason_text(reason);
	}
}

/* The next relay at once, until all were asked. */
void connect_refused(struct connect *c, uint16_t reason)
{
	const struct relay *r = c->calling;

	c->call = 0;
	c->calling = NULL;
	if (is_grant_spent(c, r, reason)) {
		grant_spent(c, r, reason);
		connect_call(c);
		return;
	}
	if (++c->refusals < relays_to_ask(c)) {
		connect_call(c);
		return;
	}
	say(c, why_refused(reason));
	later(c);
}

struct connect *connect_by_call(struct agent *a, const struct relay *r, uint32_t call)
{
	struct connect *c = a->connects;

	while (c && (!c->call || c->call != call || c->calling != r))
		c = c->next;
	return c;
}

void connect_opened(struct connect *c, struct held *h)
{
	struct held *old = c->held;

	c->held = h;
	c->call = 0;
	c->calling = NULL;
	c->refusals = 0;
	c->wait_ns = c->retry_ns = 0;
	if (old) {
		old->connect = NULL;
		held_close(old, PC_NATIVE_R_DONE);
	}
}

void connect_pipe_down(struct connect *c, const struct relay *r, uint16_t reason)
{
	if (is_grant_spent(c, r, reason))
		grant_spent(c, r, reason);
	pc_info("the pipe to %s ended: %s", id_text(c->spec.peer), pc_native_reason_text(reason));
	if (!c->call)
		connect_call(c);
}

void connect_grants(struct connect *c, const struct grants *more)
{
	struct held *h = c->held;

	for (size_t i = 0; i < more->n; i++) {
		const struct grant *g = &more->list[i];

		/* There is one for each relay at most, so there is room. */
		(void)grants_add(&c->grants, g);
		if (h && memcmp(g->relay, h->relay->spec.identity, sizeof(g->relay)) == 0)
			pc_agent_grant(h->relay->agent, h->pipe, g->bytes, c->a->now);
	}
	c->problem[0] = 0;
	if (!c->call && needs_pipe(c))
		connect_call(c);
}

void connect_silent(struct connect *c)
{
	if (c->call)
		return;
	if (c->held)
		c->next_relay = c->held->relay->number + 1;
	connect_call(c);
}

void connect_down(struct agent *a, struct pc_e2e_peer *peer, uint16_t reason)
{
	for (struct connect *c = a->connects; c; c = c->next) {
		if (memcmp(c->spec.peer, pc_e2e_identity(peer), 32) == 0)
			say(c, reason == PC_NATIVE_R_REFUSED ? why_refused(reason)
							     : pc_native_reason_text(reason));
	}
}

void connect_relay_up(struct agent *a)
{
	for (struct connect *c = a->connects; c; c = c->next) {
		if (!c->call && needs_pipe(c))
			connect_call(c);
	}
}

void connects_tick(struct agent *a)
{
	for (struct connect *c = a->connects; c; c = c->next) {
		if (c->call && a->now - c->call_ns >= CALL_NS) {
			relay_suspect(c->calling);
			connect_refused(c, PC_NATIVE_R_TIMEOUT);
		} else if (!c->call && c->retry_ns && a->now >= c->retry_ns) {
			c->retry_ns = 0;
			if (needs_pipe(c))
				connect_call(c);
		}
	}
}

uint64_t connects_deadline(const struct agent *a)
{
	uint64_t at = UINT64_MAX;

	for (const struct connect *c = a->connects; c; c = c->next) {
		uint64_t t = c->call	   ? c->call_ns + CALL_NS
			     : c->retry_ns ? c->retry_ns
					   : UINT64_MAX;

		at = t < at ? t : at;
	}
	return at;
}
