/* SPDX-License-Identifier: MIT */
/* Services for peers: each flow of one has a socket of its own, so that answers find their way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/siphash.h"

/* --- who may --- */

bool expose_allows(struct agent *a, const struct expose *x, const uint8_t peer[static 32])
{
	if (!x->spec.n_allow)
		return trust_has(&a->trust, peer);
	for (size_t i = 0; i < x->spec.n_allow; i++) {
		if (memcmp(x->spec.allow[i], peer, 32) == 0)
			return true;
	}
	return false;
}

bool expose_welcome(struct agent *a, const uint8_t peer[static 32])
{
	for (const struct connect *c = a->connects; c; c = c->next) {
		if (memcmp(c->spec.peer, peer, 32) == 0)
			return true;
	}
	for (const struct expose *x = a->exposes; x; x = x->next) {
		if (expose_allows(a, x, peer))
			return true;
	}
	return trust_has(&a->trust, peer);
}

/* --- flows --- */

struct key {
	uint8_t peer[32];
	uint16_t port, number;
};

static uint64_t hash_of(const struct agent *a, const uint8_t *peer, uint16_t port, uint16_t number)
{
	struct key k = { .port = port, .number = number };

	memcpy(k.peer, peer, sizeof(k.peer));
	return pc_siphash24(a->hash_key, &k, sizeof(k));
}

static struct flow *flow_find(const struct agent *a, const uint8_t *peer, uint16_t port,
			      uint16_t number)
{
	struct pc_hnode *node = pc_htab_first(&a->flows, hash_of(a, peer, port, number));

	for (; node; node = pc_htab_next(node)) {
		struct flow *f = pc_container_of(node, struct flow, by_key);

		if (f->number == number && f->expose->spec.port == port &&
		    memcmp(f->peer, peer, 32) == 0)
			return f;
	}
	return NULL;
}

static void flow_free(struct flow *f)
{
	struct agent *a = f->a;

	/* What waits for this socket must not go to the next one with its number. */
	net_flush(&a->local);
	pc_htab_remove(&a->flows, &f->by_key);
	*f->pprev = f->next;
	if (f->next)
		f->next->pprev = f->pprev;
	a->n_flows--;
	f->expose->n_flows--;
	ev_io_stop(a->loop, &f->io);
	close(f->fd);
	free(f);
}

static void take_answer(void *ctx, uint8_t *data, size_t len, const struct pc_addr *from)
{
	struct flow *f = ctx;
	struct agent *a = f->a;
	struct pc_e2e_peer *peer = pc_e2e_find(a->e2e, f->peer);
	uint8_t head[PLAIN_HEADER];

	f->used_ns = a->now;
	write_head(head, PLAIN_FROM, f->expose->spec.port, f->number);
	if (peer && peer_send(a, peer, head, data, len) == 0)
		f->expose->sent++;
	else
		f->expose->dropped++;
}

static void on_answer(struct ev_loop *loop, ev_io *io, int revents)
{
	struct flow *f = io->data;
	struct agent *a = f->a;
	char service[SERVICE_STRLEN];
	int rc;

	agent_clock(a);
	rc = net_receive(f->fd, take_answer, f);
	if (rc == -ECONNREFUSED)
		pc_log_limited(&a->log, a->now, PC_LOG_WARNING, "nothing listens on %s for %s",
			       addr_text(&f->expose->spec.to),
			       service_format(f->expose->spec.port, service));
	net_flush(&a->out[0]);
	net_flush(&a->out[1]);
	agent_arm(a);
}

static int open_to(const struct pc_addr *to, int *ret_fd)
{
	struct pc_addr any = { .ip.family = to->ip.family };
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage sa;
	socklen_t len = pc_addr_to_sockaddr(to, &sa);
	int rc = net_open(&any, &fd);

	if (rc < 0)
		return rc;
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static struct flow *flow_new(struct expose *x, const uint8_t *peer, uint16_t number)
{
	struct agent *a = x->a;
	struct flow *f;
	int fd = -1, rc;

	if (a->n_flows >= MAX_FLOWS)
		return NULL;
	rc = open_to(&x->spec.to, &fd);
	if (rc < 0) {
		pc_log_limited(&a->log, a->now, PC_LOG_WARNING, "%s: %s", addr_text(&x->spec.to),
			       pc_strerror(rc));
		return NULL;
	}
	f = calloc(1, sizeof(*f));
	if (!f) {
		close(fd);
		return NULL;
	}
	f->a = a;
	f->expose = x;
	f->number = number;
	f->fd = fd;
	memcpy(f->peer, peer, 32);
	pc_htab_insert(&a->flows, &f->by_key, hash_of(a, peer, x->spec.port, number));
	f->next = a->all_flows;
	f->pprev = &a->all_flows;
	if (f->next)
		f->next->pprev = &f->next;
	a->all_flows = f;
	a->n_flows++;
	x->n_flows++;
	ev_io_init(&f->io, on_answer, fd, EV_READ);
	f->io.data = f;
	ev_io_start(a->loop, &f->io);
	return f;
}

void expose_take(struct agent *a, struct pc_e2e_peer *peer, uint16_t port, uint16_t flow,
		 uint8_t *data, size_t len)
{
	const uint8_t *identity = pc_e2e_identity(peer);
	struct flow *f = flow_find(a, identity, port, flow);
	struct expose *x;

	if (!f) {
		/* The pipe says who it is, the frame what it wants: both have to be allowed. */
		x = expose_find(a, port);
		if (!x || !expose_allows(a, x, identity))
			return;
		f = flow_new(x, identity, flow);
		if (!f) {
			x->dropped++;
			return;
		}
	}
	f->used_ns = a->now;
	f->expose->received++;
	net_send(&a->local, f->fd, data, len, NULL);
}

static void flows_end(struct agent *a, const struct expose *of, bool idle)
{
	struct flow *f = a->all_flows, *next;

	for (; f; f = next) {
		next = f->next;
		if (of	   ? f->expose == of
		    : idle ? a->now - f->used_ns >= FLOW_IDLE_NS
			   : !expose_allows(a, f->expose, f->peer))
			flow_free(f);
	}
}

void flows_expire(struct agent *a)
{
	flows_end(a, NULL, true);
}

void flows_check(struct agent *a)
{
	flows_end(a, NULL, false);
}

/* --- life --- */

struct expose *expose_find(struct agent *a, uint16_t port)
{
	struct expose *x = a->exposes;

	while (x && x->spec.port != port)
		x = x->next;
	return x;
}

int expose_new(struct agent *a, const struct expose_spec *spec, struct expose **ret_expose)
{
	struct expose *x;

	if (expose_find(a, spec->port))
		return PC_ERR_EXISTS;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->a = a;
	x->spec = *spec;
	x->next = a->exposes;
	a->exposes = x;
	*ret_expose = x;
	return 0;
}

void expose_free(struct expose *x)
{
	struct expose **link = &x->a->exposes;

	flows_end(x->a, x, false);
	while (*link != x)
		link = &(*link)->next;
	*link = x->next;
	free(x);
}
