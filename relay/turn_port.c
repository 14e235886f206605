/* SPDX-License-Identifier: MIT */
/* Relayed transport addresses: opening, sharing, closing, and pairs held for a RESERVATION-TOKEN.
 */
#include "relay/turn_int.h"

#include <errno.h>
#include <string.h>

#include "base/siphash.h"

/* Ports tried on one relay address before it counts as full: others on the host may hold some. */
#define PORT_TRIES    64
#define PORT_BLOCK_NS (60 * PC_NS_PER_S)

int pc_turn_relay_ip(const struct pc_turn *t, const struct pc_ip *ip)
{
	for (unsigned int i = 0; i < t->config.n_relay_ips; i++) {
		if (pc_ip_equal(ip, &t->config.relay_ips[i].external) ||
		    pc_ip_equal(ip, &t->config.relay_ips[i].local))
			return (int)i;
	}
	return -1;
}

void pc_turn_to_external(const struct pc_turn *t, struct pc_addr *addr)
{
	for (unsigned int i = 0; i < t->config.n_relay_ips; i++) {
		if (pc_ip_equal(&addr->ip, &t->config.relay_ips[i].local)) {
			addr->ip = t->config.relay_ips[i].external;
			return;
		}
	}
}

void pc_turn_to_local(const struct pc_turn *t, struct pc_addr *addr)
{
	for (unsigned int i = 0; i < t->config.n_relay_ips; i++) {
		if (pc_ip_equal(&addr->ip, &t->config.relay_ips[i].external)) {
			addr->ip = t->config.relay_ips[i].local;
			return;
		}
	}
}

bool pc_turn_has_family(const struct pc_turn *t, uint8_t family)
{
	for (unsigned int i = 0; i < t->config.n_relay_ips; i++) {
		if (t->config.relay_ips[i].local.family == family)
			return true;
	}
	return false;
}

struct pc_turn_socket *pc_turn_socket_find(const struct pc_turn *t, const struct pc_addr *local)
{
	struct pc_hnode *n = pc_htab_first(&t->sockets, pc_turn_hash_addr(t, local));

	for (; n; n = pc_htab_next(n)) {
		struct pc_turn_socket *s = pc_container_of(n, struct pc_turn_socket, node);

		if (pc_addr_equal(&s->local, local))
			return s;
	}
	return NULL;
}

/* Binds a port that is already taken in the bookkeeping; gives it back on failure. */
static int socket_open(struct pc_turn *t, unsigned int ip, uint16_t port, bool held, bool shared,
		       uint64_t now, struct pc_turn_socket **ret_socket)
{
	struct pc_turn_socket *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (s) {
		s->local = (struct pc_addr){ .ip = t->config.relay_ips[ip].local, .port = port };
		s->ip = ip;
		s->users = 1;
		s->held = held;
		s->shared = shared;
		r = t->ops->port_open(t->ctx, &s->local, held ? NULL : s, &s->handle);
	}
	if (r < 0) {
		free(s);
		pc_ports_release(t->ports[ip], port, now);
		if (r == -EADDRINUSE)
			pc_ports_block(t->ports[ip], port, now + PORT_BLOCK_NS);
		return r;
	}
	pc_htab_insert(&t->sockets, &s->node, pc_turn_hash_addr(t, &s->local));
	*ret_socket = s;
	return 0;
}

void pc_turn_socket_put(struct pc_turn *t, struct pc_turn_socket *s, uint64_t now)
{
	if (--s->users == 0)
		t->ops->port_close(t->ctx, s->handle);
	pc_ports_release(t->ports[s->ip], s->local.port, now);
	if (s->users)
		return;
	pc_htab_remove(&t->sockets, &s->node);
	free(s);
}

/* The successor of @first, held for nobody yet. */
static int socket_hold_next(struct pc_turn *t, const struct pc_turn_socket *first, uint64_t now,
			    struct pc_turn_socket **ret_next)
{
	uint16_t next = first->local.port + 1;
	int r = pc_ports_take_exact(t->ports[first->ip], next, false);

	return r < 0 ? r : socket_open(t, first->ip, next, true, false, now, ret_next);
}

static int open_on(struct pc_turn *t, unsigned int ip, bool even, uint64_t now,
		   struct pc_turn_socket **ret_socket, struct pc_turn_socket **ret_next)
{
	for (unsigned int i = 0; i < PORT_TRIES; i++) {
		struct pc_turn_socket *first;
		uint32_t random;
		uint16_t port;
		int r;

		t->ops->random(t->ctx, &random, sizeof(random));
		r = pc_ports_take(t->ports[ip], now, random, even, ret_next != NULL, &port);
		if (r < 0)
			return r;
		r = socket_open(t, ip, port, false, !even, now, &first);
		if (r == 0 && ret_next) {
			r = socket_hold_next(t, first, now, ret_next);
			if (r < 0)
				pc_turn_socket_put(t, first, now);
		}
		if (r == 0) {
			*ret_socket = first;
			return 0;
		}
		if (r != -EADDRINUSE)
			return r;
	}
	return PC_ERR_FULL;
}

struct share {
	struct pc_turn *t;
	unsigned int ip;
	struct pc_ip avoid[TURN_REFUSED_WAYS];
	unsigned int n_avoid;
};

static bool share_fits(void *arg, uint16_t port)
{
	const struct share *sh = arg;
	const struct pc_addr local = { .ip = sh->t->config.relay_ips[sh->ip].local, .port = port };
	const struct pc_turn_socket *s = sh->n_avoid ? pc_turn_socket_find(sh->t, &local) : NULL;

	for (unsigned int i = 0; i < sh->n_avoid; i++) {
		if (pc_turn_holder_find(sh->t, s, &sh->avoid[i]))
			return false;
	}
	return true;
}

/* A port of others on relay address @sh->ip. */
static int share_on(struct share *sh, struct pc_turn_socket **ret_socket)
{
	struct pc_turn *t = sh->t;
	struct pc_addr local = { .ip = t->config.relay_ips[sh->ip].local };
	uint64_t random;
	int r;

	t->ops->random(t->ctx, &random, sizeof(random));
	r = pc_ports_share(t->ports[sh->ip], random, share_fits, sh, &local.port);
	if (r < 0)
		return r;
	*ret_socket = pc_turn_socket_find(t, &local);
	(*ret_socket)->users++;
	return 0;
}

static int open_shared(struct share *sh, uint8_t family, uint32_t start,
		       struct pc_turn_socket **ret_socket)
{
	const struct pc_turn_config *c = &sh->t->config;

	for (unsigned int i = 0; i < c->n_relay_ips; i++) {
		sh->ip = (start + i) % c->n_relay_ips;
		if (c->relay_ips[sh->ip].local.family == family && share_on(sh, ret_socket) == 0)
			return 0;
	}
	return PC_ERR_FULL;
}

int pc_turn_port_open(struct pc_turn *t, uint8_t family, bool even, const struct pc_turn_alloc *a,
		      uint64_t now, struct pc_turn_port *ret_port, struct pc_turn_socket **ret_next)
{
	unsigned int n = t->config.n_relay_ips;
	struct share sh = { .t = t };
	uint32_t start;

	t->ops->random(t->ctx, &start, sizeof(start));
	start %= n;
	for (unsigned int i = 0; i < n; i++) {
		unsigned int ip = (start + i) % n;

		if (t->config.relay_ips[ip].local.family == family &&
		    open_on(t, ip, even, now, &ret_port->socket, ret_next) == 0)
			return 0;
	}
	if (even)
		return PC_ERR_FULL;
	/*
	 * None is free. What this client was refused lately decides between ports, never whether it
	 * gets one: it may want other peers now.
	 */
	sh.n_avoid = pc_turn_refused_get(t, a, now, sh.avoid);
	if (open_shared(&sh, family, start, &ret_port->socket) == 0)
		return 0;
	if (!sh.n_avoid)
		return PC_ERR_FULL;
	sh.n_avoid = 0;
	return open_shared(&sh, family, start, &ret_port->socket);
}

int pc_turn_port_open_exact(struct pc_turn *t, const struct pc_addr *local, bool shared,
			    uint64_t now, struct pc_turn_port *ret_port)
{
	struct pc_turn_socket *s;

	for (unsigned int i = 0; i < t->config.n_relay_ips; i++) {
		int r;

		if (!pc_ip_equal(&t->config.relay_ips[i].local, &local->ip))
			continue;
		r = pc_ports_take_exact(t->ports[i], local->port, shared);
		if (r < 0)
			return r;
		s = pc_turn_socket_find(t, local);
		if (!s)
			return socket_open(t, i, local->port, false, shared, now,
					   &ret_port->socket);
		s->users++;
		ret_port->socket = s;
		return 0;
	}
	return PC_ERR_RANGE;
}

void pc_turn_port_close(struct pc_turn *t, struct pc_turn_port *p, uint64_t now)
{
	pc_turn_socket_put(t, TAKE_PTR(p->socket), now);
}

/* --- lent to others --- */

static int lend_any(struct pc_turn *t, unsigned int ip, uint64_t now,
		    struct pc_turn_socket **ret_socket)
{
	for (unsigned int i = 0; i < PORT_TRIES; i++) {
		uint32_t random;
		uint16_t port;
		int r;

		t->ops->random(t->ctx, &random, sizeof(random));
		r = pc_ports_take(t->ports[ip], now, random, false, false, &port);
		if (r < 0)
			return r;
		r = socket_open(t, ip, port, true, false, now, ret_socket);
		if (r != -EADDRINUSE)
			return r;
	}
	return PC_ERR_FULL;
}

static int lend_exact(struct pc_turn *t, unsigned int ip, uint16_t port, uint64_t now,
		      struct pc_turn_socket **ret_socket)
{
	int r = pc_ports_take_exact(t->ports[ip], port, false);

	return r < 0 ? r : socket_open(t, ip, port, true, false, now, ret_socket);
}

int pc_turn_port_lend(struct pc_turn *t, uint8_t family, const struct pc_addr *exact, uint64_t now,
		      struct pc_turn_lent *ret_lent)
{
	struct pc_turn_socket *s = NULL;
	int r = PC_ERR_RANGE;

	for (unsigned int i = 0; r < 0 && i < t->config.n_relay_ips; i++) {
		const struct pc_ip *ip = &t->config.relay_ips[i].local;

		if (exact && pc_ip_equal(ip, &exact->ip))
			r = lend_exact(t, i, exact->port, now, &s);
		else if (!exact && ip->family == family)
			r = lend_any(t, i, now, &s);
	}
	if (r < 0)
		return r;
	*ret_lent = (struct pc_turn_lent){ s, s->handle, s->local, s->local };
	pc_turn_to_external(t, &ret_lent->relayed);
	return 0;
}

void pc_turn_port_return(struct pc_turn *t, struct pc_turn_lent *lent, uint64_t now)
{
	pc_turn_socket_put(t, TAKE_PTR(lent->socket), now);
}

static uint64_t hash_token(const struct pc_turn *t, const uint8_t *token)
{
	return pc_siphash24(t->hash_key, token, TURN_TOKEN_LEN);
}

static struct pc_turn_reservation *reservation_find(struct pc_turn *t, const uint8_t *token)
{
	struct pc_hnode *n = pc_htab_first(&t->reservations, hash_token(t, token));

	for (; n; n = pc_htab_next(n)) {
		struct pc_turn_reservation *res =
			pc_container_of(n, struct pc_turn_reservation, node);

		if (memcmp(res->token, token, TURN_TOKEN_LEN) == 0)
			return res;
	}
	return NULL;
}

/* Forgets the reservation, not its port. */
static void reservation_free(struct pc_turn_reservation *res)
{
	pc_timer_cancel(&res->timer);
	pc_htab_remove(&res->t->reservations, &res->node);
	res->tenant->held--;
	free(res);
}

static void reservation_end(struct pc_turn_reservation *res, uint64_t now)
{
	pc_turn_socket_put(res->t, res->socket, now);
	reservation_free(res);
}

static void reservation_expired(struct pc_timer *timer, uint64_t now)
{
	reservation_end(pc_container_of(timer, struct pc_turn_reservation, timer), now);
}

int pc_turn_reserve(struct pc_turn *t, struct pc_turn_tenant *tenant, struct pc_turn_socket *held,
		    uint64_t now, uint8_t ret_token[static TURN_TOKEN_LEN])
{
	struct pc_turn_reservation *res = calloc(1, sizeof(*res));

	if (!res)
		return -ENOMEM;
	res->t = t;
	res->tenant = tenant;
	res->socket = held;
	res->timer.fn = reservation_expired;
	t->ops->random(t->ctx, res->token, sizeof(res->token));
	memcpy(ret_token, res->token, TURN_TOKEN_LEN);
	tenant->held++;
	pc_htab_insert(&t->reservations, &res->node, hash_token(t, res->token));
	pc_timer_set(t->timers, &res->timer, now + TURN_RESERVATION_NS);
	return 0;
}

int pc_turn_reservation_take(struct pc_turn *t, const uint8_t *token, struct pc_turn_alloc *a,
			     struct pc_turn_port *ret_port)
{
	struct pc_turn_reservation *res = reservation_find(t, token);

	/* A token works for the account it was given to only. */
	if (!res || res->tenant != a->tenant)
		return PC_ERR_NOT_FOUND;
	ret_port->socket = res->socket;
	res->socket->held = false;
	t->ops->port_assign(t->ctx, res->socket->handle, res->socket);
	reservation_free(res);
	return 0;
}

void pc_turn_reservation_cancel(struct pc_turn *t, const uint8_t *token, uint64_t now)
{
	struct pc_turn_reservation *res = reservation_find(t, token);

	if (res)
		reservation_end(res, now);
}

void pc_turn_reservations_free(struct pc_turn *t, uint32_t tenant, uint64_t now)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while ((n = pc_htab_iterate(&t->reservations, &it))) {
		struct pc_turn_reservation *res =
			pc_container_of(n, struct pc_turn_reservation, node);

		if (tenant == UINT32_MAX || res->tenant->id == tenant)
			reservation_end(res, now);
	}
}
