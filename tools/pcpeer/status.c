/* SPDX-License-Identifier: MIT */
/* What `pcpeer status` shows. */
#include <string.h>

#include "agent.h"
#include "base/err.h"

static json_t *relays(struct agent *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->config.n_relay; i++) {
		struct relay *r = &a->relay[i];
		json_t *o = json_pack("{s:s, s:s, s:b, s:b}", "address", addr_text(&r->spec.addr),
				      "peer_id", id_text(r->spec.identity), "connected", r->up,
				      "registered", r->registered);

		if (r->registered)
			json_object_set_new(o, "observed", json_string(addr_text(&r->observed)));
		if (!r->up && r->problem[0])
			json_object_set_new(o, "problem", json_string(r->problem));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *peers(struct agent *a)
{
	json_t *list = json_array();
	struct pc_e2e_peer *p = NULL;

	while ((p = pc_e2e_next(a->e2e, p))) {
		const struct pc_e2e_way *way = pc_e2e_way(p);
		const struct held *h = way ? way->user : NULL;
		bool ready = pc_e2e_is_ready(p, a->now);
		json_t *o = json_pack("{s:s, s:b, s:s}", "peer_id", id_text(pc_e2e_identity(p)),
				      "ready", ready, "way",
				      !way	  ? "none"
				      : way->pipe ? "relay"
						  : "direct");

		if (way)
			json_object_set_new(o, "address",
					    json_string(addr_text(way->pipe ? &h->relay->spec.addr
									    : &way->remote)));
		if (way && way->rtt_ns)
			json_object_set_new(o, "rtt_ms", json_real((double)way->rtt_ns / 1e6));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *grants_report(struct agent *a, const struct grants *all)
{
	json_t *list = json_array();

	for (size_t i = 0; i < all->n; i++) {
		const struct grant *g = &all->list[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:I, s:s}", "relay", id_text(g->relay),
						"not_before", (json_int_t)g->not_before_s,
						"not_after", (json_int_t)g->not_after_s, "state",
						grant_state_name(grant_state(g, a->realtime_s))));
	}
	return list;
}

static json_t *connects(struct agent *a)
{
	json_t *list = json_array();
	char service[SERVICE_STRLEN];

	for (struct connect *c = a->connects; c; c = c->next) {
		struct pc_e2e_peer *p = pc_e2e_find(a->e2e, c->spec.peer);
		json_t *o =
			json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "peer_id",
				  id_text(c->spec.peer), "service",
				  service_format(c->spec.port, service), "listen",
				  addr_text(&c->spec.listen), "ready",
				  p && pc_e2e_is_ready(p, a->now), "clients",
				  (json_int_t)c->n_clients, "sent", (json_int_t)c->sent, "received",
				  (json_int_t)c->received, "dropped", (json_int_t)c->dropped);

		if (c->grants.n)
			json_object_set_new(o, "grants", grants_report(a, &c->grants));
		if (c->problem[0])
			json_object_set_new(o, "problem", json_string(c->problem));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *exposes(struct agent *a)
{
	json_t *list = json_array();
	char service[SERVICE_STRLEN];

	for (struct expose *x = a->exposes; x; x = x->next) {
		json_t *allow = json_array();

		for (size_t i = 0; i < x->spec.n_allow; i++)
			json_array_append_new(allow, json_string(id_text(x->spec.allow[i])));
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I}", "service",
						service_format(x->spec.port, service), "to",
						addr_text(&x->spec.to), "allow", allow, "flows",
						(json_int_t)x->n_flows, "sent", (json_int_t)x->sent,
						"received", (json_int_t)x->received, "dropped",
						(json_int_t)x->dropped));
	}
	return list;
}

/* Those that do not carry a full frame. */
static json_t *paths(struct agent *a)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < a->n_paths; i++) {
		const struct path *p = &a->paths[i];

		if (a->now < p->until_ns)
			json_array_append_new(
				list, json_pack("{s:s, s:I, s:I}", "address", addr_text(&p->to),
						"mtu", (json_int_t)p->mtu, "largest_datagram",
						(json_int_t)path_datagram(p)));
	}
	return list;
}

json_t *status_report(struct agent *a)
{
	struct pc_e2e_stats s;
	uint64_t failed = a->out[0].failed + a->out[1].failed + a->local.failed;

	agent_clock(a);
	pc_e2e_get_stats(a->e2e, &s);
	return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:I, s:I, s:I}}",
			 "peer_id", id_text(a->id.public_key), "uptime_seconds",
			 (json_int_t)((a->now - a->started_ns) / PC_NS_PER_S), "relays", relays(a),
			 "peers", peers(a), "connects", connects(a), "exposes", exposes(a), "paths",
			 paths(a), "frames", "sent", (json_int_t)s.sealed, "received",
			 (json_int_t)s.opened, "sent_direct", (json_int_t)s.sealed_direct,
			 "received_direct", (json_int_t)s.opened_direct, "refused",
			 (json_int_t)s.refused, "resent", (json_int_t)s.resent, "moves",
			 (json_int_t)s.moves, "not_sent", (json_int_t)failed, "too_large",
			 (json_int_t)a->too_large);
}
