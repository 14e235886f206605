/* SPDX-License-Identifier: MIT */
/*
 * Sessions with the relays of the list, with all of them at once, so that callers reach us at each;
 * and the pipes that they open. A pipe outlives the session with its relay as long as it carries.
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/err.h"

#define RETRY_NS     (1 * PC_NS_PER_S)
#define RETRY_MAX_NS (60 * PC_NS_PER_S)
#define HINT_NS	     (4 * PC_NS_PER_S)
#define SUSPECT_NS   (3 * PC_NS_PER_S) /* between handshakes because of silent pipes */

static void random_bytes(void *ctx, void *buf, size_t len)
{
	randombytes_buf(buf, len);
}

/* --- sessions --- */

struct relay *relay_named(struct agent *a, const uint8_t identity[static 32])
{
	for (size_t i = 0; i < a->config.n_relay; i++) {
		if (memcmp(a->relay[i].spec.identity, identity, 32) == 0)
			return &a->relay[i];
	}
	return NULL;
}

static struct relay *relay_of(struct agent *a, const struct pc_native_link *link)
{
	return relay_named(a, pc_native_identity(link));
}

struct relay *relay_at(struct agent *a, const struct pc_addr *addr)
{
	for (size_t i = 0; i < a->config.n_relay; i++) {
		if (pc_addr_equal(&a->relay[i].spec.addr, addr))
			return &a->relay[i];
	}
	return NULL;
}

static void try_relay(struct relay *r)
{
	struct agent *a = r->a;
	struct pc_native_path path = { .listener = wan_of(&r->spec.addr), .remote = r->spec.addr };
	int rc;

	r->retry_ns = 0;
	r->tried_ns = a->now;
	if (!r->up && !r->problem[0])
		r->hint_ns = a->now + HINT_NS;
	rc = pc_native_connect(a->native, r->spec.identity, NULL, &path, a->now, &r->link);
	if (rc < 0) {
		pc_warning("relay %s: %s", addr_text(&r->spec.addr), pc_strerror(rc));
		r->retry_ns = a->now + RETRY_MAX_NS;
	}
}

void relay_suspect(struct relay *r)
{
	if (r->a->now - r->tried_ns >= SUSPECT_NS)
		try_relay(r);
}

static void on_send(void *ctx, const struct pc_native_path *path, const void *data, size_t len)
{
	wan_send(ctx, path->listener, &path->remote, data, len);
}

/* Relays are asked by us; nobody else has a session here. */
static bool on_trusted(void *ctx, const uint8_t identity[static 32])
{
	return false;
}

static const struct psk_spec *psk_of(const struct agent *a, const uint8_t identity[static 32])
{
	for (size_t i = 0; i < a->config.n_psk; i++) {
		if (memcmp(a->config.psk[i].identity, identity, 32) == 0)
			return &a->config.psk[i];
	}
	return NULL;
}

static void on_psk(void *ctx, const uint8_t identity[static 32], uint8_t ret_psk[static 32])
{
	const struct psk_spec *s = psk_of(ctx, identity);

	if (s)
		memcpy(ret_psk, s->key, sizeof(s->key));
}

static void on_up(void *ctx, struct pc_native_link *link, bool renewed)
{
	struct agent *a = ctx;
	struct relay *r = relay_of(a, link);

	if (!r)
		return;
	if (!r->up)
		pc_info("relay %s: session with %s", addr_text(&r->spec.addr),
			id_text(r->spec.identity));
	r->link = link;
	r->up = true;
	r->wait_ns = r->hint_ns = 0;
	r->problem[0] = 0;
	pc_agent_up(r->agent, link, renewed, a->now);
}

static const char *why_down(const struct relay *r, uint16_t reason)
{
	bool psk = psk_of(r->a, r->spec.identity);

	switch (reason) {
	case PC_NATIVE_R_REFUSED:
		return psk ? "it does not know this peer (pcctl peer add, on the relay)"
			   : "it does not know this peer (pcctl peer add, on the relay), or wants "
			     "a pre-shared key of it (--psk-file)";
	case PC_NATIVE_R_WRONG_KEY:
		return psk ? "who answers there has another key, or another pre-shared key, than "
			     "those that are configured"
			   : "who answers there has another key than the one that is configured";
	case PC_NATIVE_R_TIMEOUT:
		return "no answer";
	default:
		return pc_native_reason_text(reason);
	}
}

static void on_down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
	struct agent *a = ctx;
	struct relay *r = relay_of(a, link);

	if (!r || a->ending)
		return;
	pc_warning("relay %s: %s", addr_text(&r->spec.addr), why_down(r, reason));
	snprintf(r->problem, sizeof(r->problem), "%s", why_down(r, reason));
	r->link = NULL;
	r->up = r->registered = false;
	r->hint_ns = 0;
	r->wait_ns = r->wait_ns ? r->wait_ns * 2 : RETRY_NS;
	if (r->wait_ns > RETRY_MAX_NS)
		r->wait_ns = RETRY_MAX_NS;
	r->retry_ns = a->now + r->wait_ns;
	/* Its pipes may still carry: only a relay that says so ends them. */
	if (reason == PC_NATIVE_R_TIMEOUT)
		pc_agent_lost(r->agent, a->now);
	else
		pc_agent_down(r->agent, reason, a->now);
	agent_arm(a);
}

static void on_moved(void *ctx, struct pc_native_link *link)
{
}

static void on_message(void *ctx, struct pc_native_link *link, const struct pc_native_msg *msg)
{
	struct agent *a = ctx;
	struct relay *r = relay_of(a, link);

	if (r)
		pc_agent_message(r->agent, msg, a->now);
}

static void on_drop(void *ctx, enum pc_native_drop reason)
{
}

static const struct pc_native_ops native_ops = {
	.send = on_send,
	.trusted = on_trusted,
	.psk = on_psk,
	.up = on_up,
	.down = on_down,
	.moved = on_moved,
	.message = on_message,
	.drop = on_drop,
	.random = random_bytes,
};

/* --- pipes --- */

/* Addresses of this host at which a peer of the same network reaches us. */
static unsigned int own_addresses(struct agent *a, unsigned int w, struct pc_addr *list,
				  unsigned int max)
{
	struct ifaddrs *all, *i;
	struct pc_addr self, bound;
	unsigned int n = 0;

	if (a->wan[w] < 0 || net_local(a->wan[w], &bound) < 0 || getifaddrs(&all) < 0)
		return 0;
	for (i = all; i && n < max; i = i->ifa_next) {
		socklen_t len = w ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

		if (!i->ifa_addr || i->ifa_addr->sa_family != (w ? AF_INET6 : AF_INET) ||
		    !(i->ifa_flags & IFF_UP) || i->ifa_flags & IFF_LOOPBACK ||
		    pc_addr_from_sockaddr(i->ifa_addr, len, &self) < 0)
			continue;
		/* Link-local addresses mean nothing elsewhere. */
		if (w && self.ip.b[0] == 0xfe && (self.ip.b[1] & 0xc0) == 0x80)
			continue;
		if (!pc_ip_is_any(&bound.ip) && !pc_ip_equal(&bound.ip, &self.ip))
			continue;
		self.port = bound.port;
		list[n++] = self;
	}
	freeifaddrs(all);
	return n;
}

/* What each relay sees, then what the host has. */
void candidates_send(struct held *h)
{
	struct pc_addr list[PC_NATIVE_MAX_CANDIDATES];
	struct agent *a = h->relay->a;
	unsigned int n = 0;

	if (!a->config.direct)
		return;
	for (size_t i = 0; i < a->config.n_relay && n < 4; i++) {
		bool there = !a->relay[i].registered;

		for (unsigned int k = 0; k < n; k++)
			there |= pc_addr_equal(&list[k], &a->relay[i].observed);
		if (!there)
			list[n++] = a->relay[i].observed;
	}
	for (unsigned int w = 0; w < 2; w++)
		n += own_addresses(a, w, list + n, PC_NATIVE_MAX_CANDIDATES - n);
	pc_agent_send_candidates(h->relay->agent, h->pipe, list, n, a->now);
	h->told = true;
}

static void op_registered(void *ctx, const struct pc_addr *observed, uint32_t lifetime_s)
{
	struct relay *r = ctx;

	if (!r->registered)
		pc_info("relay %s: registered, seen as %s", addr_text(&r->spec.addr),
			addr_text(observed));
	r->observed = *observed;
	r->registered = true;
	connect_relay_up(r->a);
}

static bool op_allowed(void *ctx, const uint8_t peer[static 32], const char *service)
{
	struct relay *r = ctx;
	uint16_t port = 0;
	struct expose *x =
		service && service_parse(service, &port) == 0 ? expose_find(r->a, port) : NULL;

	if (x && expose_allows(r->a, x, peer))
		return true;
	pc_log_limited(&r->a->log, r->a->now, PC_LOG_WARNING, "%s asks for %s: %s", id_text(peer),
		       service ? service : "nothing",
		       x ? "refused, it is not trusted" : "refused, it is not exposed");
	return false;
}

static void op_pipe_up(void *ctx, struct pc_agent_pipe *pipe)
{
	struct relay *r = ctx;
	struct agent *a = r->a;
	struct connect *c = pipe->call ? connect_by_call(a, r, pipe->call) : NULL;
	struct held *h = calloc(1, sizeof(*h));

	/* Nobody waits for it any more. */
	if (!h || (pipe->call && !c)) {
		free(h);
		pc_agent_close(r->agent, pipe, PC_NATIVE_R_DONE, a->now);
		return;
	}
	h->relay = r;
	h->pipe = pipe;
	h->connect = c;
	pipe->user = h;
	if (pc_e2e_add_pipe(a->e2e, pipe, h, a->now, &h->way) < 0) {
		pipe->user = NULL;
		free(h);
		pc_agent_close(r->agent, pipe, PC_NATIVE_R_FULL, a->now);
		return;
	}
	h->next = a->helds;
	h->pprev = &a->helds;
	if (h->next)
		h->next->pprev = &h->next;
	a->helds = h;
	pc_debug("pipe with %s at relay %s", id_text(pipe->peer), addr_text(&r->spec.addr));
	if (c)
		connect_opened(c, h);
	candidates_send(h);
	agent_arm(a);
}

/* Out of everything but the relay's agent. */
static struct connect *held_forget(struct held *h)
{
	struct connect *c = h->connect;

	h->pipe->user = NULL;
	*h->pprev = h->next;
	if (h->next)
		h->next->pprev = h->pprev;
	pc_e2e_remove(h->way, h->relay->a->now);
	if (c && c->held == h)
		c->held = NULL;
	else
		c = NULL;
	free(h);
	return c;
}

void held_close(struct held *h, uint16_t reason)
{
	struct pc_agent_pipe *pipe = h->pipe;
	struct relay *r = h->relay;

	held_forget(h);
	pc_agent_close(r->agent, pipe, reason, r->a->now);
}

static void op_pipe_down(void *ctx, struct pc_agent_pipe *pipe, uint16_t reason)
{
	struct relay *r = ctx;
	struct held *h = pipe->user;
	struct connect *c;

	/* Its own end the one that asked will tell. */
	if (h && !h->connect && reason == PC_NATIVE_R_EXPIRED)
		pc_info("the pipe of %s through relay %s ended: %s", id_text(pipe->peer),
			addr_text(&r->spec.addr), pc_native_reason_text(reason));
	c = h ? held_forget(h) : NULL;
	if (c)
		connect_pipe_down(c, r, reason);
}

static void op_refused(void *ctx, uint32_t call, uint16_t reason)
{
	struct relay *r = ctx;
	struct connect *c = connect_by_call(r->a, r, call);

	if (c)
		connect_refused(c, reason);
}

static void op_candidates(void *ctx, struct pc_agent_pipe *pipe, const struct pc_addr *observed,
			  const struct pc_addr *list, unsigned int n)
{
	struct relay *r = ctx;
	struct held *h = pipe->user;
	struct agent *a = r->a;

	if (!h || !a->config.direct)
		return;
	if (!h->told)
		candidates_send(h);
	if (observed && a->wan[wan_of(observed)] >= 0 && !relay_at(a, observed))
		pc_e2e_candidates(h->way->peer, wan_of(observed), observed, 1, a->now);
	for (unsigned int i = 0; i < n; i++) {
		if (a->wan[wan_of(&list[i])] >= 0 && !relay_at(a, &list[i]))
			pc_e2e_candidates(h->way->peer, wan_of(&list[i]), &list[i], 1, a->now);
	}
	agent_arm(a);
}

static void op_meter(void *ctx, struct pc_agent_pipe *pipe, uint64_t up, uint64_t down)
{
}

static const struct pc_agent_ops agent_ops = {
	.registered = op_registered,
	.allowed = op_allowed,
	.pipe_up = op_pipe_up,
	.pipe_down = op_pipe_down,
	.refused = op_refused,
	.candidates = op_candidates,
	.meter = op_meter,
	.random = random_bytes,
};

void relay_frame(struct relay *r, uint8_t *data, size_t len)
{
	struct agent *a = r->a;
	struct pc_agent_pipe *pipe;
	struct pc_e2e_peer *peer;
	struct pc_pipe_frame f;
	struct held *h;

	if (pc_agent_frame(r->agent, data, len, &f, &pipe) < 0)
		return;
	h = pipe->user;
	if (!h)
		return;
	peer = h->way->peer;
	if (f.flags & PC_PIPE_INNER)
		pc_e2e_inner(a->e2e, h->way, data + PC_PIPE_HEADER, f.payload_len, a->now,
			     a->realtime_s);
	else if (pc_e2e_open(a->e2e, h->way, &f, data, a->now, data + PC_PIPE_HEADER) == 0)
		peer_take(a, peer, data + PC_PIPE_HEADER, f.payload_len - 16);
}

/* --- life --- */

int relays_new(struct agent *a)
{
	struct pc_agent_config config = { .max_pipes = MAX_PIPES };
	struct pc_native_config native;
	int rc = native_config(a, &native);

	if (rc == 0)
		rc = pc_native_new(&native, &native_ops, a, a->now, &a->native);
	explicit_bzero(&native, sizeof(native));
	for (size_t i = 0; rc == 0 && i < a->config.n_relay; i++) {
		struct relay *r = &a->relay[i];

		r->a = a;
		r->number = (unsigned int)i;
		r->spec = a->config.relay[i];
		rc = pc_agent_new(&config, a->native, &agent_ops, r, a->now, &r->agent);
	}
	return rc;
}

void relays_begin(struct agent *a)
{
	for (size_t i = 0; i < a->config.n_relay; i++)
		try_relay(&a->relay[i]);
}

void relays_free(struct agent *a)
{
	if (a->native)
		pc_native_close_all(a->native, PC_NATIVE_R_SHUTDOWN, a->now);
	for (size_t i = 0; i < a->config.n_relay; i++)
		pc_agent_free(a->relay[i].agent);
	pc_native_free(a->native);
}

/* A relay does not answer those who expect another key of it, so nobody can tell this apart. */
static void hint(struct relay *r)
{
	r->hint_ns = 0;
	snprintf(r->problem, sizeof(r->problem),
		 psk_of(r->a, r->spec.identity)
			 ? "no answer: is it running, is %s its own peer id, and is its pre-shared "
			   "key the same?"
			 : "no answer: is it running, and is %s its own peer id?",
		 id_text(r->spec.identity));
	pc_warning("relay %s: %s", addr_text(&r->spec.addr), r->problem);
}

void relays_tick(struct agent *a)
{
	pc_native_tick(a->native, a->now);
	for (size_t i = 0; i < a->config.n_relay; i++) {
		struct relay *r = &a->relay[i];

		if (r->retry_ns && a->now >= r->retry_ns)
			try_relay(r);
		if (r->hint_ns && a->now >= r->hint_ns)
			hint(r);
		pc_agent_tick(r->agent, a->now);
	}
}

uint64_t relays_deadline(const struct agent *a)
{
	uint64_t at = pc_native_next_deadline(a->native);

	for (size_t i = 0; i < a->config.n_relay; i++) {
		const struct relay *r = &a->relay[i];
		uint64_t t = pc_agent_next_deadline(r->agent);

		at = t < at ? t : at;
		if (r->retry_ns && r->retry_ns < at)
			at = r->retry_ns;
		if (r->hint_ns && r->hint_ns < at)
			at = r->hint_ns;
	}
	return at;
}
