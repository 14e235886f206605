/* SPDX-License-Identifier: MIT */
/*
 * The TURN machine: from a datagram to the function that handles it.
 *
 *   first byte 0x40-0x7F   ChannelData
 *   first byte 0x00-0x03   STUN: requests are authenticated (but Binding), then given to their
 *                          method; of the indications only Send means anything to a server
 *   anything else          dropped
 */
#include "relay/turn_int.h"

#include <errno.h>
#include <string.h>

int pc_turn_attr_byte(const struct pc_stun_msg *msg, uint16_t type, size_t len)
{
	struct pc_stun_attr attr;
	struct pc_reader r;

	if (!pc_stun_find(msg, type, &attr))
		return -1;
	if (attr.len != len)
		return -2;
	pc_reader_init(&r, attr.value, attr.len);
	return pc_read_u8(&r);
}

bool pc_turn_lifetime(const struct pc_turn_request *req, uint32_t *ret_seconds)
{
	const struct pc_turn_config *c = &req->t->config;
	struct pc_stun_attr attr;
	struct pc_reader r;
	uint32_t seconds;

	*ret_seconds = c->default_lifetime_s;
	if (!pc_stun_find(req->msg, PC_ATTR_LIFETIME, &attr))
		return true;
	if (attr.len != 4)
		return false;
	pc_reader_init(&r, attr.value, attr.len);
	seconds = pc_read_u32(&r);
	if (seconds > c->max_lifetime_s)
		seconds = c->max_lifetime_s;
	if (seconds > c->default_lifetime_s)
		*ret_seconds = seconds;
	return true;
}

static void binding(struct pc_turn_request *req)
{
	struct pc_turn_reply r;

	if (!req->alloc && !pc_stranger_admit(&req->t->strangers, &req->path->client.ip,
					      req->t->config.stranger_replies_per_s, req->now)) {
		pc_turn_drop(req->t, PC_TURN_DROP_SOURCE_RATE);
		return;
	}
	if (req->msg->n_unknown) {
		pc_turn_reply_error(req, 420);
		return;
	}
	pc_turn_reply_begin(req, &r, PC_STUN_SUCCESS);
	pc_stun_put_xor_addr(&r.sw, PC_ATTR_XOR_MAPPED_ADDRESS, &req->path->client);
	pc_turn_reply_send(req, &r);
}

static const struct {
	void (*fn)(struct pc_turn_request *req);
	bool open; /* for everybody */
} methods[TURN_METHODS] = {
	[PC_STUN_BINDING] = { binding, true },
	[PC_STUN_ALLOCATE] = { pc_turn_allocate, false },
	[PC_STUN_REFRESH] = { pc_turn_refresh, false },
	[PC_STUN_CREATE_PERMISSION] = { pc_turn_create_permission, false },
	[PC_STUN_CHANNEL_BIND] = { pc_turn_channel_bind, false },
};

static void request(struct pc_turn *t, const struct pc_turn_path *path,
		    const struct pc_stun_msg *msg, uint64_t now, uint64_t realtime_s)
{
	struct pc_turn_request req = {
		.t = t,
		.path = path,
		.msg = msg,
		.now = now,
		.realtime_s = realtime_s,
	};

	if (msg->method >= TURN_METHODS || !methods[msg->method].fn) {
		pc_turn_drop(t, PC_TURN_DROP_MALFORMED);
		return;
	}
	t->stats.requests[msg->method]++;
	/* A bare header asks for nothing but a larger answer. */
	if (!methods[msg->method].open && msg->len == PC_STUN_HEADER_LEN) {
		pc_turn_drop(t, PC_TURN_DROP_UNAUTHENTICATED);
		return;
	}
	req.alloc = pc_turn_alloc_find(t, path, now);
	if (methods[msg->method].open) {
		methods[msg->method].fn(&req);
		return;
	}
	if (pc_turn_authenticate(&req)) {
		if (msg->n_unknown)
			pc_turn_reply_error(&req, 420);
		else
			methods[msg->method].fn(&req);
	}
	pc_auth_wipe(&req.key, sizeof(req.key));
	pc_auth_wipe(&req.user, sizeof(req.user));
}

static void stun_input(struct pc_turn *t, const struct pc_turn_path *path, struct pc_dgram *d,
		       uint64_t now, uint64_t realtime_s)
{
	struct pc_stun_msg msg;

	/*
	 * The FINGERPRINT of a Send indication is not looked at: the kernel cannot either, and what
	 * is data must not depend on the path.
	 */
	if (pc_stun_parse(d->data, d->len, &msg) < 0 ||
	    (msg.cls == PC_STUN_REQUEST && msg.fingerprint_off && !msg.fingerprint_ok)) {
		pc_turn_drop(t, PC_TURN_DROP_MALFORMED);
		return;
	}
	if (msg.cls == PC_STUN_REQUEST) {
		request(t, path, &msg, now, realtime_s);
	} else if (msg.cls == PC_STUN_INDICATION && msg.method == PC_STUN_SEND) {
		pc_turn_send_indication(t, path, &msg, d, now);
	} else if (msg.cls != PC_STUN_INDICATION || msg.method != PC_STUN_BINDING) {
		/* A Binding indication keeps a NAT binding alive and wants nothing. */
		pc_turn_drop(t, PC_TURN_DROP_MALFORMED);
	}
}

void pc_turn_input(struct pc_turn *t, const struct pc_turn_path *path, struct pc_dgram *d,
		   uint64_t now, uint64_t realtime_s)
{
	uint8_t first = d->len ? d->data[0] : 0xff;

	if (first >= 0x40 && first <= 0x7f)
		pc_turn_channel_data(t, path, d, now);
	else if (first <= 0x03)
		stun_input(t, path, d, now, realtime_s);
	else
		pc_turn_drop(t, PC_TURN_DROP_MALFORMED);
}

static bool config_valid(const struct pc_turn_config *c)
{
	if (c->n_relay_ips == 0 || c->n_relay_ips > PC_TURN_MAX_RELAY_IPS || !c->policy ||
	    c->port_low == 0 || c->port_low > c->port_high || c->default_lifetime_s == 0 ||
	    c->max_lifetime_s < c->default_lifetime_s || c->realm[0] == '\0' ||
	    !memchr(c->realm, 0, sizeof(c->realm)))
		return false;
	for (unsigned int i = 0; i < c->n_relay_ips; i++) {
		const struct pc_turn_relay_ip *ip = &c->relay_ips[i];

		if (pc_ip_len(&ip->local) == 0 || ip->local.family != ip->external.family)
			return false;
	}
	return true;
}

PC_DEFINE_CLEANUP(turn, struct pc_turn, pc_turn_free)

int pc_turn_new(const struct pc_turn_config *config, const struct pc_turn_ops *ops, void *ctx,
		uint64_t now, struct pc_turn **ret_turn)
{
	PC_CLEANUP(pc_cleanup_turn) struct pc_turn *t = NULL;
	int r;

	if (!config_valid(config))
		return PC_ERR_RANGE;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->config = *config;
	t->ops = ops;
	t->ctx = ctx;
	ops->random(ctx, t->hash_key, sizeof(t->hash_key));
	memcpy(t->strangers.hash_key, t->hash_key, sizeof(t->hash_key));
	ops->random(ctx, t->txid_key, sizeof(t->txid_key));
	if (pc_htab_init(&t->allocs, 64) < 0 || pc_htab_init(&t->sockets, 64) < 0 ||
	    pc_htab_init(&t->holders, 64) < 0 || pc_htab_init(&t->reservations, 8) < 0 ||
	    pc_htab_init(&t->tenants, 16) < 0)
		return -ENOMEM;
	r = pc_timers_new(now, &t->timers);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < config->n_relay_ips; i++) {
		r = pc_ports_new(config->port_low, config->port_high, &t->ports[i]);
		if (r < 0)
			return r;
	}
	*ret_turn = TAKE_PTR(t);
	return 0;
}

void pc_turn_free(struct pc_turn *t)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	pc_turn_reservations_free(t, UINT32_MAX, 0);
	while ((n = pc_htab_iterate(&t->allocs, &it))) {
		struct pc_turn_alloc *a = pc_container_of(n, struct pc_turn_alloc, node);

		pc_timer_cancel(&a->timer);
		pc_turn_alloc_free(a);
	}
	it = (struct pc_htab_iter){ 0 };
	while ((n = pc_htab_iterate(&t->sockets, &it))) {
		struct pc_turn_socket *s = pc_container_of(n, struct pc_turn_socket, node);

		t->ops->port_close(t->ctx, s->handle);
		free(s);
	}
	it = (struct pc_htab_iter){ 0 };
	while ((n = pc_htab_iterate(&t->tenants, &it)))
		free(pc_container_of(n, struct pc_turn_tenant, node));
	pc_htab_free(&t->allocs);
	pc_htab_free(&t->sockets);
	pc_htab_free(&t->holders);
	pc_htab_free(&t->reservations);
	pc_htab_free(&t->tenants);
	pc_timers_free(t->timers);
	for (unsigned int i = 0; i < PC_TURN_MAX_RELAY_IPS; i++)
		pc_ports_free(t->ports[i]);
	pc_auth_wipe(t, sizeof(*t));
	free(t);
}

static bool relay_ips_equal(const struct pc_turn_config *a, const struct pc_turn_config *b)
{
	if (a->n_relay_ips != b->n_relay_ips || a->port_low != b->port_low ||
	    a->port_high != b->port_high)
		return false;
	for (unsigned int i = 0; i < a->n_relay_ips; i++) {
		if (!pc_ip_equal(&a->relay_ips[i].local, &b->relay_ips[i].local) ||
		    !pc_ip_equal(&a->relay_ips[i].external, &b->relay_ips[i].external))
			return false;
	}
	return true;
}

static bool gone_forbidden(const struct pc_turn_alloc *a, const struct pc_addr *peer,
			   bool with_port, uint64_t expires_ns, uint64_t arg)
{
	return pc_turn_peer_check((struct pc_turn_alloc *)a, peer, with_port) != 0;
}

int pc_turn_reconfigure(struct pc_turn *t, const struct pc_turn_config *config, uint64_t now)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	if (!config_valid(config))
		return PC_ERR_RANGE;
	if (!relay_ips_equal(&t->config, config))
		return PC_ERR_STATE;
	t->config = *config;
	while ((n = pc_htab_iterate(&t->allocs, &it))) {
		struct pc_turn_alloc *a = pc_container_of(n, struct pc_turn_alloc, node);

		if (pc_turn_alloc_live(a, now) && pc_turn_bindings_cut(a, gone_forbidden, 0))
			pc_turn_save(a);
	}
	return 0;
}

void pc_turn_tick(struct pc_turn *t, uint64_t now)
{
	pc_timers_run(t->timers, now);
}

uint64_t pc_turn_next_deadline(const struct pc_turn *t)
{
	return pc_timers_next(t->timers);
}

void pc_turn_resync_flows(struct pc_turn *t, uint64_t now)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while ((n = pc_htab_iterate(&t->allocs, &it))) {
		struct pc_turn_alloc *a = pc_container_of(n, struct pc_turn_alloc, node);

		if (pc_turn_alloc_live(a, now))
			pc_turn_bindings_sync(a, NULL, true);
	}
}

unsigned int pc_turn_end_tenant(struct pc_turn *t, uint32_t tenant, uint64_t now)
{
	struct pc_htab_iter it = { 0 };
	unsigned int ended = 0;
	struct pc_hnode *n;

	while ((n = pc_htab_iterate(&t->allocs, &it))) {
		struct pc_turn_alloc *a = pc_container_of(n, struct pc_turn_alloc, node);

		if (tenant != UINT32_MAX && a->tenant->id != tenant)
			continue;
		pc_turn_alloc_end(a, now);
		ended++;
	}
	pc_turn_reservations_free(t, tenant, now);
	return ended;
}

void pc_turn_get_stats(const struct pc_turn *t, struct pc_turn_stats *ret_stats)
{
	*ret_stats = t->stats;
	ret_stats->allocations = (uint32_t)t->allocs.count;
	ret_stats->channels = t->n_channels;
	ret_stats->permissions = t->n_permissions;
	ret_stats->ports_in_use = ret_stats->ports_shared = ret_stats->port_sessions = 0;
	for (unsigned int i = 0; i < t->config.n_relay_ips; i++) {
		uint32_t most = pc_ports_most_users(t->ports[i]);

		ret_stats->ports_in_use += pc_ports_in_use(t->ports[i]);
		ret_stats->ports_shared += pc_ports_shared(t->ports[i]);
		if (most > ret_stats->port_sessions)
			ret_stats->port_sessions = most;
	}
}

int pc_turn_each(const struct pc_turn *t, int (*fn)(void *arg, const struct pc_turn_view *view),
		 void *arg)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *n;

	while ((n = pc_htab_iterate(&t->allocs, &it))) {
		struct pc_turn_alloc *a = pc_container_of(n, struct pc_turn_alloc, node);
		struct pc_turn_view view = {
			.id = a->id,
			.slot = a->slot,
			.tenant = a->tenant->id,
			.path = a->path,
			.expires_ns = pc_turn_alloc_expires(a),
			.created_ns = a->created_ns,
			.permissions = (uint32_t)a->n_permissions,
			.channels = (uint32_t)a->n_channels,
			.username = a->username,
		};
		int r;

		for (unsigned int i = 0, k = 0; i < PC_ARRAY_SIZE(a->ports); i++) {
			if (!a->ports[i].socket)
				continue;
			view.relayed[k] = a->ports[i].socket->local;
			pc_turn_to_external(t, &view.relayed[k++]);
		}
		r = fn(arg, &view);
		if (r)
			return r;
	}
	return 0;
}
