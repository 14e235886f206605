/* SPDX-License-Identifier: MIT */
/* Words of a scenario about everything but clients: peers, time, effects, failures. For run.c. */
#ifndef PC_TESTS_SCENARIO_WORLD_H
#define PC_TESTS_SCENARIO_WORLD_H

#include <malloc.h>

#include "base/cleanup.h"
#include "tests/scenario/scenario.h"

/* The port whose address clients see as @text. */
static inline struct fake_port *find_port(struct scenario *s, const char *text)
{
	struct pc_addr addr;

	if (pc_addr_parse(text, &addr) < 0)
		return NULL;
	for (unsigned int i = 0; i < s->f.config.n_relay_ips; i++) {
		if (pc_ip_equal(&addr.ip, &s->f.config.relay_ips[i].external))
			addr.ip = s->f.config.relay_ips[i].local;
	}
	for (struct fake_port *p = s->f.ports; p; p = p->next) {
		if (pc_addr_equal(&p->local, &addr))
			return p;
	}
	return NULL;
}

/* `peer ADDR sends RELAYED VALUE [ttl=] [tos=]` */
static inline int peer_sends(struct scenario *s, const struct pc_addr *peer, char **w, int n)
{
	struct fake_port *port = n >= 5 ? find_port(s, w[3]) : NULL;
	int len = n >= 5 ? client_bytes(w[4], s->raw, sizeof(s->raw)) : -1;
	struct client from = { .ttl = TURN_SCENARIO_TTL };

	if (!port || len < 0)
		return wrong(s, "no such port");
	for (int i = 5; i < n; i++) {
		if (strncmp(w[i], "ttl=", 4) == 0)
			from.ttl = (uint8_t)strtoul(w[i] + 4, NULL, 10);
		if (strncmp(w[i], "tos=", 4) == 0)
			from.tos = (uint8_t)strtoul(w[i] + 4, NULL, 10);
	}
	client_input(&s->f, &from, s->raw, (size_t)len, port->socket, peer);
	return 0;
}

/* `peer ADDR gets VALUE [from=LOCAL] [ttl=] [tos=] [df] [no-df]`, `peer ADDR gets nothing` */
static inline int peer_gets(struct scenario *s, const struct pc_addr *peer, char **w, int n)
{
	struct fake_dgram *d = fake_take_dgram(&s->f, peer);
	int len = client_bytes(w[3], s->raw, sizeof(s->raw));
	const char *bad = NULL;

	if (strcmp(w[3], "nothing") == 0) {
		if (d)
			wrong(s, "something came");
	} else if (!d) {
		wrong(s, "nothing came");
	} else if ((int)d->d.len != len || memcmp(d->d.data, s->raw, (size_t)len) != 0) {
		wrong(s, "other data of %zu bytes", d->d.len);
	}
	for (int i = 4; d && i < n; i++) {
		if (strncmp(w[i], "from=", 5) == 0 ? answer_addr_matches(&d->from, w[i] + 5)
		    : strcmp(w[i], "df") == 0	   ? d->d.dont_fragment
		    : strcmp(w[i], "no-df") == 0   ? !d->d.dont_fragment
						   : answer_check_word(NULL, &d->d, w[i]))
			continue;
		bad = w[i];
	}
	if (bad)
		wrong(s, "does not hold: %s", bad);
	fake_dgram_free(d);
	return s->error[0] ? -1 : 0;
}

static inline int cmd_peer(struct scenario *s, char **w, int n)
{
	struct pc_addr peer;

	if (n < 4 || pc_addr_parse(w[1], &peer) < 0)
		return wrong(s, "peer ADDR sends|gets ...");
	return strcmp(w[2], "sends") == 0 ? peer_sends(s, &peer, w, n) : peer_gets(s, &peer, w, n);
}

/* `icmp PEER RELAYED TYPE CODE DATA` */
static inline int cmd_icmp(struct scenario *s, char **w, int n)
{
	struct fake_port *port = n == 6 ? find_port(s, w[2]) : NULL;
	struct pc_addr peer;

	if (!port || pc_addr_parse(w[1], &peer) < 0)
		return wrong(s, "icmp PEER RELAYED TYPE CODE DATA");
	pc_turn_peer_icmp(s->f.t, port->socket, &peer, (uint8_t)strtoul(w[3], NULL, 10),
			  (uint8_t)strtoul(w[4], NULL, 10), (uint32_t)strtoul(w[5], NULL, 10),
			  s->f.now);
	return 0;
}

/* --- effects --- */

static inline bool event_is(const char *event, const char *kind)
{
	size_t n = strlen(kind);

	return strncmp(event, kind, n) == 0 && (event[n] == ' ' || event[n] == '\0');
}

static inline bool event_has(const char *event, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = event; (p = strstr(p, word)); p++) {
		if (p > event && p[-1] == ' ' && (p[n] == ' ' || p[n] == '\0'))
			return true;
	}
	return false;
}

static inline void event_remove(struct scenario *s, size_t i)
{
	free(s->f.events[i]);
	memmove(&s->f.events[i], &s->f.events[i + 1],
		(s->f.n_events - i - 1) * sizeof(s->f.events[0]));
	s->f.n_events--;
}

/* `effect KIND WORDS...`: the first one of its kind not asked for yet. */
static inline int cmd_effect(struct scenario *s, char **w, int n)
{
	for (size_t i = 0; n >= 2 && i < s->f.n_events; i++) {
		if (!event_is(s->f.events[i], w[1]))
			continue;
		for (int k = 2; k < n; k++) {
			if (!event_has(s->f.events[i], w[k]))
				return wrong(s, "no %s in: %s", w[k], s->f.events[i]);
		}
		event_remove(s, i);
		return 0;
	}
	return wrong(s, "no such effect");
}

static inline int cmd_none(struct scenario *s, char **w, int n)
{
	for (size_t i = 0; i < s->f.n_events; i++) {
		for (int k = 1; k < n; k++) {
			if (event_is(s->f.events[i], w[k]))
				return wrong(s, "there is: %s", s->f.events[i]);
		}
	}
	return 0;
}

/* `order KIND...`: all effects since the last `clear`, in this order. */
static inline int cmd_order(struct scenario *s, char **w, int n)
{
	for (size_t i = 0; i < s->f.n_events; i++) {
		if ((int)i + 1 >= n || !event_is(s->f.events[i], w[i + 1]))
			return wrong(s, "effect %zu is: %s", i + 1, s->f.events[i]);
	}
	if ((int)s->f.n_events != n - 1)
		return wrong(s, "only %zu effects", s->f.n_events);
	fake_clear_events(&s->f);
	return 0;
}

static inline int cmd_clear(struct scenario *s, char **w, int n)
{
	fake_clear_events(&s->f);
	return 0;
}

/* `fail save|slot|flow|port|perm CODE COUNT [SKIP]`: COUNT of them, after SKIP that work */
static inline int cmd_fail(struct scenario *s, char **w, int n)
{
	static const char *const ops[FAKE_OPS] = { "save", "slot", "flow", "port", "perm" };

	for (int i = 0; (n == 4 || n == 5) && i < FAKE_OPS; i++) {
		if (strcmp(ops[i], w[1]) != 0)
			continue;
		s->f.fail_code[i] = (int)strtol(w[2], NULL, 10);
		s->f.fail_count[i] = (unsigned int)strtoul(w[3], NULL, 10);
		s->f.fail_skip[i] = n == 5 ? (unsigned int)strtoul(w[4], NULL, 10) : 0;
		return 0;
	}
	return wrong(s, "fail save|slot|flow|port|perm CODE COUNT [SKIP]");
}

/* `limit refuse|mark up|down N`: what happens to the next N datagrams of the direction */
static inline int cmd_limit(struct scenario *s, char **w, int n)
{
	unsigned int *at;

	if (n != 4)
		return wrong(s, "limit refuse|mark up|down N");
	at = strcmp(w[1], "refuse") == 0 ? s->f.refuse : s->f.mark;
	at[strcmp(w[2], "down") == 0] = (unsigned int)strtoul(w[3], NULL, 10);
	return 0;
}

/* `occupy LOCAL`: another program holds that port. `occupy LOCAL end` */
static inline int cmd_occupy(struct scenario *s, char **w, int n)
{
	struct pc_addr local;
	void *port;
	int r;

	if (n < 2 || pc_addr_parse(w[1], &local) < 0)
		return wrong(s, "occupy LOCAL [end]");
	if (n > 2) {
		port = find_port(s, w[1]);
		if (!port)
			return wrong(s, "no such port");
		fake_port_close(&s->f, port);
		return 0;
	}
	r = fake_port_open(&s->f, &local, NULL, &port);
	return r < 0 ? wrong(s, "%s", pc_strerror(r)) : 0;
}

/* --- time and life --- */

/* `advance S` runs the timers, `later S` does not: expiry must not depend on them. */
static inline int cmd_advance(struct scenario *s, char **w, int n)
{
	double seconds = n == 2 ? strtod(w[1], NULL) : -1;

	if (seconds < 0)
		return wrong(s, "%s SECONDS", w[0]);
	s->f.now += (uint64_t)(seconds * PC_NS_PER_S);
	s->f.realtime_s += (uint64_t)seconds;
	if (s->f.t && w[0][0] == 'a')
		pc_turn_tick(s->f.t, s->f.now);
	return 0;
}

/* `deadline S|never`: the machine wants to be called within S seconds. */
static inline int cmd_deadline(struct scenario *s, char **w, int n)
{
	uint64_t next = pc_turn_next_deadline(s->f.t);

	if (n < 2 || strcmp(w[1], "never") == 0)
		return next == UINT64_MAX ? 0 : wrong(s, "something waits");
	if (next > s->f.now + strtoul(w[1], NULL, 10) * PC_NS_PER_S)
		return wrong(s, "next deadline is too late");
	return 0;
}

/* A new machine takes up what the old one saved. `restart N`: N of them could not be. */
static inline int cmd_restart(struct scenario *s, char **w, int n)
{
	unsigned long want = n > 1 ? strtoul(w[1], NULL, 10) : 0, failures = 0;

	pc_turn_free(TAKE_PTR(s->f.t));
	/* What is not announced again is swept. */
	fake_perms_clear(&s->f);
	fake_clients_clear(&s->f);
	if (start(s) < 0)
		return -1;
	for (size_t i = 0; i < FAKE_RECORDS; i++) {
		struct fake_record copy = s->f.records[i];

		if (!copy.used)
			continue;
		/* The record must outlive a forget() during the call. */
		memset(&s->f.records[i], 0, sizeof(s->f.records[i]));
		if (pc_turn_restore(s->f.t, &copy.r, s->f.now) < 0) {
			failures++;
			fake_record_clear(&copy);
		} else {
			s->f.records[i] = copy;
		}
	}
	return failures == want ? 0 : wrong(s, "%lu were not restored", failures);
}

static inline int cmd_stats(struct scenario *s, char **w, int n)
{
	struct pc_turn_stats st;

	pc_turn_get_stats(s->f.t, &st);
	for (int i = 1; i < n; i++) {
		char *value = strchr(w[i], '=');
		unsigned long v = value ? strtoul(value + 1, NULL, 10) : 0;
		unsigned long is = !value			       ? v + 1
				   : !strncmp(w[i], "allocations", 11) ? st.allocations
				   : !strncmp(w[i], "channels", 8)     ? st.channels
				   : !strncmp(w[i], "permissions", 11) ? st.permissions
				   : !strncmp(w[i], "ports=", 6)       ? st.ports_in_use
				   : !strncmp(w[i], "shared", 6)       ? st.ports_shared
				   : !strncmp(w[i], "most", 4)	       ? st.port_sessions
				   : !strncmp(w[i], "conflicts", 9)    ? st.conflicts
				   : !strncmp(w[i], "refused", 7)      ? s->f.refused
				   : !strncmp(w[i], "challenges", 10)  ? st.challenges
				   : !strncmp(w[i], "up", 2)	       ? st.data_up
				   : !strncmp(w[i], "down", 4)	       ? st.data_down
								       : v + 1;

		if (is != v)
			return wrong(s, "%s is %lu", w[i], is);
	}
	return 0;
}

static inline int cmd_end_tenant(struct scenario *s, char **w, int n)
{
	unsigned int ended = pc_turn_end_tenant(
		s->f.t, n > 1 ? (uint32_t)strtoul(w[1], NULL, 10) : UINT32_MAX, s->f.now);

	return n < 3 || ended == strtoul(w[2], NULL, 10) ? 0 : wrong(s, "ended %u", ended);
}

static inline int cmd_resync(struct scenario *s, char **w, int n)
{
	pc_turn_resync_flows(s->f.t, s->f.now);
	return 0;
}

static inline int count_view(void *arg, const struct pc_turn_view *view)
{
	char text[PC_ADDR_STRLEN];

	fake_event(arg, "view user=%s relayed=%s permissions=%u channels=%u", view->username,
		   pc_addr_format(&view->relayed[0], text), view->permissions, view->channels);
	return 0;
}

static inline int cmd_each(struct scenario *s, char **w, int n)
{
	return pc_turn_each(s->f.t, count_view, &s->f);
}

/* `flood N [A.B.C.0]`: N Allocates of 28 bytes, each from another source, or from those 256. */
static inline int cmd_flood(struct scenario *s, char **w, int n)
{
	unsigned long count = n > 1 ? strtoul(w[1], NULL, 10) : 0;
	struct client c = { .ttl = TURN_SCENARIO_TTL };

	if (!s->n_clients)
		return wrong(s, "no client to take the server's address from");
	c.path = s->clients[0].path;
	c.name[0] = 'f';
	s->f.quiet = true;
	for (unsigned long i = 0; i < count; i++) {
		char transport[] = "transport=17";
		char *words[] = { "allocate", transport };

		fake_random(&s->f, &c.path.client.ip.b, 4);
		if (n > 2 && pc_ip_parse(w[2], &c.path.client.ip) < 0)
			return wrong(s, "no address '%s'", w[2]);
		if (n > 2)
			c.path.client.ip.b[3] = (uint8_t)i;
		c.path.client.port = (uint16_t)(i | 1);
		client_send(&s->f, &c, words, 2);
	}
	s->f.quiet = false;
	return 0;
}

/* `memory mark`, then `memory same`. Says nothing under sanitizers, which bring their own malloc.
 */
static inline int cmd_memory(struct scenario *s, char **w, int n)
{
	size_t now = mallinfo2().uordblks;

	if (n > 1 && strcmp(w[1], "mark") == 0)
		s->memory = now;
	else if (now > s->memory)
		return wrong(s, "%zu bytes more", now - s->memory);
	return 0;
}

static inline int cmd_same(struct scenario *s, char **w, int n)
{
	if (n != 3)
		return wrong(s, "%s VALUE VALUE", w[0]);
	if ((strcmp(w[1], w[2]) == 0) != (w[0][0] == 's'))
		return wrong(s, "%s / %s", w[1], w[2]);
	return 0;
}

/* What always holds at the end: no unread datagram, and nothing is left when all is ended. */
static inline int finish(struct scenario *s)
{
	struct pc_turn_stats st;

	if (s->f.sent) {
		printf("# a datagram of %zu bytes was not asked for\n", s->f.sent->d.len);
		return -1;
	}
	if (!s->f.t)
		return 0;
	pc_turn_end_tenant(s->f.t, UINT32_MAX, s->f.now);
	pc_turn_get_stats(s->f.t, &st);
	for (size_t i = 0; i < FAKE_RECORDS; i++) {
		if (s->f.records[i].used) {
			printf("# a record is left\n");
			return -1;
		}
	}
	if (st.allocations || st.channels || st.permissions || st.ports_in_use || s->f.open_slots ||
	    s->f.ports || s->f.perms) {
		printf("# left: %u allocations, %u channels, %u permissions, %u ports, %u "
		       "slots%s\n",
		       st.allocations, st.channels, st.permissions, st.ports_in_use,
		       s->f.open_slots, s->f.perms ? ", permissions of the data plane" : "");
		return -1;
	}
	return 0;
}

#endif
