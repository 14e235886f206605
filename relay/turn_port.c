/* SPDX-License-Identifier: MIT */
/* Relayed transport addresses: opening, closing, and pairs held for a RESERVATION-TOKEN. */
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

/* Binds a port that is already taken in the bookkeeping; gives it back on failure. */
static int port_bind(struct pc_turn *t, unsigned int ip, uint16_t port, struct pc_turn_alloc *a,
		     uint64_t now, struct pc_turn_port *ret_port)
{
	struct pc_addr local = { .ip = t->config.relay_ips[ip].local, .port = port };
	void *handle = NULL;
	int r = t->ops->port_open(t->ctx, &local, a, &handle);

	if (r < 0) {
		pc_ports_release(t->ports[ip], port, now);
		if (r == -EADDRINUSE)
			pc_ports_block(t->ports[ip], port, now + PORT_BLOCK_NS);
		return r;
	}
	*ret_port = (struct pc_turn_port){
		.alloc = a,
		.handle = handle,
		.local = local,
		.ip = ip,
		.open = true,
	};
	return 0;
}

/* The successor of @first, held for nobody yet. */
static int port_hold_next(struct pc_turn *t, const struct pc_turn_port *first, uint64_t now,
			  struct pc_turn_port *ret_next)
{
	uint16_t next = first->local.port + 1;
	int r = pc_ports_take_exact(t->ports[first->ip], next);

	return r < 0 ? r : port_bind(t, first->ip, next, NULL, now, ret_next);
}

static int port_open_on(struct pc_turn *t, unsigned int ip, bool even, struct pc_turn_alloc *a,
			uint64_t now, struct pc_turn_port *ret_port, struct pc_turn_port *ret_next)
{
	for (unsigned int i = 0; i < PORT_TRIES; i++) {
		struct pc_turn_port first;
		uint32_t random;
		uint16_t port;
		int r;

		t->ops->random(t->ctx, &random, sizeof(random));
		r = pc_ports_take(t->ports[ip], now, random, even, ret_next != NULL, &port);
		if (r < 0)
			return r;
		r = port_bind(t, ip, port, a, now, &first);
		if (r == 0 && ret_next) {
			r = port_hold_next(t, &first, now, ret_next);
			if (r < 0)
				pc_turn_port_close(t, &first, now);
		}
		if (r == 0) {
			*ret_port = first;
			return 0;
		}
		if (r != -EADDRINUSE)
			return r;
	}
	return PC_ERR_FULL;
}

int pc_turn_port_open(struct pc_turn *t, uint8_t family, bool even, struct pc_turn_alloc *a,
		      uint64_t now, struct pc_turn_port *ret_port, struct pc_turn_port *ret_next)
{
	unsigned int n = t->config.n_relay_ips;
	uint32_t start;

	t->ops->random(t->ctx, &start, sizeof(start));
	for (unsigned int i = 0; i < n; i++) {
		unsigned int ip = (start % n + i) % n;

		if (t->config.relay_ips[ip].local.family == family &&
		    port_open_on(t, ip, even, a, now, ret_port, ret_next) == 0)
			return 0;
	}
	return PC_ERR_FULL;
}

int pc_turn_port_open_exact(struct pc_turn *t, const struct pc_addr *local, struct pc_turn_alloc *a,
			    uint64_t now, struct pc_turn_port *ret_port)
{
	for (unsigned int i = 0; i < t->config.n_relay_ips; i++) {
		int r;

		if (!pc_ip_equal(&t->config.relay_ips[i].local, &local->ip))
			continue;
		r = pc_ports_take_exact(t->ports[i], local->port);
		return r < 0 ? r : port_bind(t, i, local->port, a, now, ret_port);
	}
	return PC_ERR_RANGE;
}

void pc_turn_port_close(struct pc_turn *t, struct pc_turn_port *p, uint64_t now)
{
	t->ops->port_close(t->ctx, p->handle);
	pc_ports_release(t->ports[p->ip], p->local.port, now);
	p->open = false;
	p->handle = NULL;
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
	pc_turn_port_close(res->t, &res->port, now);
	reservation_free(res);
}

static void reservation_expired(struct pc_timer *timer, uint64_t now)
{
	reservation_end(pc_container_of(timer, struct pc_turn_reservation, timer), now);
}

int pc_turn_reserve(struct pc_turn *t, struct pc_turn_tenant *tenant, struct pc_turn_port *port,
		    uint64_t now, uint8_t ret_token[static TURN_TOKEN_LEN])
{
	struct pc_turn_reservation *res = calloc(1, sizeof(*res));

	if (!res)
		return -ENOMEM;
	res->t = t;
	res->tenant = tenant;
	res->port = *port;
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
	*ret_port = res->port;
	ret_port->alloc = a;
	t->ops->port_assign(t->ctx, ret_port->handle, a);
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
