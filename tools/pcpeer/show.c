/* SPDX-License-Identifier: MIT */
/* `pcpeer status` for people. */
#include <stdio.h>

#include "grant.h"
#include "pcpeer.h"

static const char *text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "-";
}

static long long number(const json_t *o, const char *name)
{
	return (long long)json_integer_value(json_object_get(o, name));
}

static bool is(const json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}

static void problem(const json_t *o)
{
	if (json_object_get(o, "problem"))
		printf("             %s\n", text(o, "problem"));
}

static void grants(const json_t *connect)
{
	const json_t *g;
	size_t i;

	json_array_foreach (json_object_get(connect, "grants"), i, g) {
		char when[GRANT_TIME_STRLEN];

		printf("             grant for %s until %s: %s\n", text(g, "relay"),
		       grant_time((uint64_t)number(g, "not_after"), when), text(g, "state"));
	}
}

static void print_all(const json_t *r)
{
	const json_t *o;
	size_t i;

	printf("peer         %s, up %lld s\n", text(r, "peer_id"), number(r, "uptime_seconds"));
	json_array_foreach (json_object_get(r, "relays"), i, o) {
		printf("relay        %s  %s  seen as %s\n", text(o, "address"),
		       is(o, "registered")  ? "registered"
		       : is(o, "connected") ? "connected"
					    : "away",
		       text(o, "observed"));
		problem(o);
	}
	json_array_foreach (json_object_get(r, "peers"), i, o)
		printf("peer         %s  %s, %s %s\n", text(o, "peer_id"),
		       is(o, "ready") ? "ready" : "not ready", text(o, "way"), text(o, "address"));
	json_array_foreach (json_object_get(r, "connects"), i, o) {
		printf("connect      %s of %s at %s  %lld clients, %lld sent, %lld received, %lld "
		       "dropped\n",
		       text(o, "service"), text(o, "peer_id"), text(o, "listen"),
		       number(o, "clients"), number(o, "sent"), number(o, "received"),
		       number(o, "dropped"));
		grants(o);
		problem(o);
	}
	json_array_foreach (json_object_get(r, "exposes"), i, o)
		printf("expose       %s to %s  %lld flows, %lld received, %lld sent, %lld "
		       "dropped\n",
		       text(o, "service"), text(o, "to"), number(o, "flows"), number(o, "received"),
		       number(o, "sent"), number(o, "dropped"));
	json_array_foreach (json_object_get(r, "paths"), i, o)
		printf("path         to %s carries %lld bytes, datagrams of %lld at most\n",
		       text(o, "address"), number(o, "mtu"), number(o, "largest_datagram"));
	o = json_object_get(r, "frames");
	printf("frames       %lld sent (%lld directly), %lld received (%lld directly), %lld "
	       "refused, %lld sent again, %lld too large\n",
	       number(o, "sent"), number(o, "sent_direct"), number(o, "received"),
	       number(o, "received_direct"), number(o, "refused"), number(o, "resent"),
	       number(o, "too_large"));
}

int run_status(const struct invocation *in)
{
	json_t *reply;
	int status = call(in, "status", NULL, &reply);

	if (status)
		return status;
	if (!in->json)
		print_all(reply);
	return done(in, reply, NULL);
}
