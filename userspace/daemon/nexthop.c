/* SPDX-License-Identifier: MIT */
/*
 * Destinations (source, address) point to entries (way out); an entry is one slot of the data
 * plane's next-hop array. Order that keeps packets right: an entry no destination uses any more
 * keeps its slot until the flows that named it were written again (changed) and some time passed,
 * so a slot never means another way out while a flow still names it.
 */
#include "daemon/nexthop.h"

#include <errno.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/siphash.h"
#include "daemon/nexthop_entry.h"

#define HOUSEKEEPING_S 1.0
/* A route change is acted on this much later, together with those that follow it. */
#define DEBOUNCE_S 0.1
/* Destinations looked up again per slice, and the pause between slices: about 10 % of a CPU. */
#define SLICE	      256
#define SLICE_PAUSE_S 0.02
/* Slots that flows of an earlier daemon named are left alone until those are surely rewritten. */
#define RESERVED_NS (60 * PC_NS_PER_S)
/*
 * A path MTU that a router told of (RFC 1191 section 6.3). Every MTU of a gateway takes a slot and
 * anybody may forge the message: so few different ones, and flows are not written again for each.
 */
#define PATH_MTU_NS	(610 * PC_NS_PER_S) /* longer than the host remembers its own */
#define PATH_MTU_PAUSE	(5 * PC_NS_PER_S)
#define PATH_MTU_STEP	16
#define PATH_MTU_LEAST4 68
#define PATH_MTU_LEAST6 1280

struct dest {
	struct pc_hnode node;
	TAILQ_ENTRY(dest) link;
	TAILQ_ENTRY(dest) narrow_link;
	struct pc_ip src, dst;
	uint32_t refs;
	uint32_t round;	   /* of the last look-up */
	uint32_t path_mtu; /* told by a router; 0: none */
	uint64_t path_mtu_until_ns;
	struct pc_nexthop_entry *entry; /* NULL: unreachable */
};
TAILQ_HEAD(dest_list, dest);

struct pc_nexthops {
	struct ev_loop *loop;
	void (*changed)(void *arg);
	void *arg;
	struct pc_rtnl *rtnl;
	struct pc_rtnl_events *events;
	struct pc_nexthop_table table;
	ev_io io;
	ev_timer housekeeping;
	ev_timer resolve;
	struct pc_htab dests;
	struct dest_list order;	 /* those of older rounds come first */
	struct dest_list narrow; /* those with a path MTU, the oldest first */
	uint64_t narrow_pause_ns;
	uint8_t hash_key[16];
	uint32_t round;
	bool dirty;	  /* routes changed since the round began */
	bool moved;	  /* some destination got another entry in this round */
	bool unreachable; /* someone was told so: a new route is news for them */
	uint64_t started_ns;
	size_t n_ahead; /* destinations that nobody holds yet */
};

static uint64_t dest_hash(const struct pc_nexthops *n, const struct pc_ip *src,
			  const struct pc_ip *dst)
{
	struct pc_ip both[2] = { *src, *dst };

	return pc_siphash24(n->hash_key, both, sizeof(both));
}

static struct dest *dest_find(const struct pc_nexthops *n, const struct pc_ip *src,
			      const struct pc_ip *dst)
{
	struct pc_hnode *h = pc_htab_first(&n->dests, dest_hash(n, src, dst));

	for (; h; h = pc_htab_next(h)) {
		struct dest *d = pc_container_of(h, struct dest, node);

		if (pc_ip_equal(&d->src, src) && pc_ip_equal(&d->dst, dst))
			return d;
	}
	return NULL;
}

static void dest_free(struct pc_nexthops *n, struct dest *d)
{
	pc_htab_remove(&n->dests, &d->node);
	TAILQ_REMOVE(&n->order, d, link);
	if (d->path_mtu)
		TAILQ_REMOVE(&n->narrow, d, narrow_link);
	if (d->entry)
		pc_nexthop_entry_put(d->entry, pc_clock_monotonic());
	free(d);
}

/*
 * Takes a reference on the entry of the way that @route is to @dst. @mtu: of the path, 0 if it is
 * that of the route.
 */
static int entry_of(struct pc_nexthops *n, const struct pc_rtnl_route *route,
		    const struct pc_ip *dst, uint32_t mtu, struct pc_nexthop_entry **ret_entry)
{
	struct pc_nexthop_key key = { .family = dst->family };

	/* Local, broadcast and multicast destinations, tunnels: not for the data plane. */
	if (route->type != RTN_UNICAST || !route->oif || route->encap)
		return -ENETUNREACH;
	key.oif = route->oif;
	key.mtu = mtu && (!route->mtu || mtu < route->mtu) ? mtu : route->mtu;
	key.via = route->gateway.family ? route->gateway : *dst;
	return pc_nexthop_entry_get(&n->table, &key, pc_clock_monotonic(), ret_entry);
}

/* Asks the kernel which way @dst is. */
static int look_up(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
		   uint32_t mtu, struct pc_nexthop_entry **ret_entry)
{
	struct pc_rtnl_route route;

	if (pc_rtnl_route_get(n->rtnl, src, dst, 0, &route))
		return -ENETUNREACH;
	return entry_of(n, &route, dst, mtu, ret_entry);
}

/* @entry: one that is referred to, or NULL: there is none. */
static struct dest *dest_new(struct pc_nexthops *n, const struct pc_ip *src,
			     const struct pc_ip *dst, struct pc_nexthop_entry *entry)
{
	struct dest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	*d = (struct dest){ .src = *src, .dst = *dst, .round = n->round, .entry = entry };
	pc_htab_insert(&n->dests, &d->node, dest_hash(n, src, dst));
	TAILQ_INSERT_TAIL(&n->order, d, link);
	return d;
}

static int dest_resolve(struct pc_nexthops *n, struct dest *d)
{
	struct pc_nexthop_entry *entry = NULL;
	int err = look_up(n, &d->src, &d->dst, d->path_mtu, &entry);

	if (entry != d->entry)
		n->moved = true;
	if (d->entry)
		pc_nexthop_entry_put(d->entry, pc_clock_monotonic());
	d->entry = entry;
	return err;
}

int pc_nexthops_get(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
		    uint32_t *ret_index)
{
	struct dest *d = dest_find(n, src, dst);
	bool known = d;
	int err = 0;

	if (src->family != dst->family || !pc_ip_len(dst))
		return -ENETUNREACH;
	if (d && !d->entry)
		err = dest_resolve(n, d);
	if (!d) {
		struct pc_nexthop_entry *entry;

		err = look_up(n, src, dst, 0, &entry);
		if (!err) {
			d = dest_new(n, src, dst, entry);
			if (!d) {
				pc_nexthop_entry_put(entry, pc_clock_monotonic());
				return -ENOMEM;
			}
		}
	}
	if (err) {
		n->unreachable = true;
		return err;
	}
	if (!d->refs++ && known)
		n->n_ahead--;
	*ret_index = d->entry->index;
	return 0;
}

void pc_nexthops_put(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst)
{
	struct dest *d = dest_find(n, src, dst);

	if (d && --d->refs == 0)
		dest_free(n, d);
}

int pc_nexthops_find(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
		     uint32_t *ret_index)
{
	const struct dest *d = dest_find(n, src, dst);

	if (!d)
		return PC_ERR_NOT_FOUND;
	if (!d->entry)
		return -ENETUNREACH;
	*ret_index = d->entry->index;
	return 0;
}

/* --- many at once --- */

/* New ones only; what goes wrong with one is found out again by who wants it. */
static void resolve_new(struct pc_nexthops *n, struct dest *const *dests, size_t count)
{
	struct pc_rtnl_ask asks[PC_RTNL_MANY];

	for (size_t i = 0; i < count; i++)
		asks[i] = (struct pc_rtnl_ask){ .src = dests[i]->src, .dst = dests[i]->dst };
	pc_rtnl_routes_get(n->rtnl, asks, count);
	for (size_t i = 0; i < count; i++) {
		if (asks[i].err == 0)
			entry_of(n, &asks[i].route, &asks[i].dst, 0, &dests[i]->entry);
	}
}

void pc_nexthops_expect(struct pc_nexthops *n, size_t ways)
{
	pc_htab_reserve(&n->dests, 2 * ways);
}

void pc_nexthops_ahead(struct pc_nexthops *n, const struct pc_nexthops_way *ways, size_t count)
{
	struct dest *dests[PC_RTNL_MANY];
	size_t n_dests = 0;

	for (size_t i = 0; i < count; i++) {
		const struct pc_ip *src = &ways[i].src, *dst = &ways[i].dst;
		struct dest *d = NULL;

		if (src->family == dst->family && pc_ip_len(dst) && !dest_find(n, src, dst))
			d = dest_new(n, src, dst, NULL);
		if (d) {
			dests[n_dests++] = d;
			n->n_ahead++;
		}
		if (n_dests == PC_RTNL_MANY || (n_dests && i + 1 == count)) {
			resolve_new(n, dests, n_dests);
			n_dests = 0;
		}
	}
}

void pc_nexthops_ahead_end(struct pc_nexthops *n)
{
	struct dest *d, *next;

	for (d = TAILQ_FIRST(&n->order); d && n->n_ahead; d = next) {
		next = TAILQ_NEXT(d, link);
		if (d->refs)
			continue;
		n->n_ahead--;
		dest_free(n, d);
	}
}

unsigned int pc_nexthops_count(const struct pc_nexthops *n)
{
	return n->table.used;
}

unsigned int pc_nexthops_unresolved(const struct pc_nexthops *n)
{
	return pc_nexthop_table_unresolved(&n->table);
}

/* In @seconds, if not sooner. */
static void arm(struct pc_nexthops *n, double seconds)
{
	if (ev_is_active(&n->resolve) && ev_timer_remaining(n->loop, &n->resolve) <= seconds)
		return;
	ev_timer_stop(n->loop, &n->resolve);
	ev_timer_set(&n->resolve, seconds, 0.);
	ev_timer_start(n->loop, &n->resolve);
}

/* --- path MTUs --- */

/* Flows are written again if this destination has moved, soon the first time, then not so soon. */
static void narrow_resolve(struct pc_nexthops *n, struct dest *d)
{
	uint64_t now = pc_clock_monotonic();
	double wait = DEBOUNCE_S;

	dest_resolve(n, d);
	if (!n->moved || ev_is_active(&n->resolve))
		return; /* nothing to do, or about to be done */
	if (now < n->narrow_pause_ns)
		wait += (double)(n->narrow_pause_ns - now) / PC_NS_PER_S;
	n->narrow_pause_ns = now + PATH_MTU_PAUSE;
	arm(n, wait);
}

bool pc_nexthops_path_mtu(struct pc_nexthops *n, const struct pc_ip *src, const struct pc_ip *dst,
			  uint32_t mtu)
{
	uint32_t least = dst->family == 6 ? PATH_MTU_LEAST6 : PATH_MTU_LEAST4;
	struct dest *d = dest_find(n, src, dst);

	if (!d)
		return false;
	mtu -= mtu % PATH_MTU_STEP;
	if (mtu < least)
		mtu = least;
	/* It may not be raised before its time: whoever forges messages could do that too. */
	if (d->path_mtu && d->path_mtu <= mtu)
		return true;
	if (d->path_mtu)
		TAILQ_REMOVE(&n->narrow, d, narrow_link);
	d->path_mtu = mtu;
	d->path_mtu_until_ns = pc_clock_monotonic() + PATH_MTU_NS;
	TAILQ_INSERT_TAIL(&n->narrow, d, narrow_link);
	narrow_resolve(n, d);
	return true;
}

/* Time is up: larger packets are tried again. */
static void narrow_expire(struct pc_nexthops *n, uint64_t now)
{
	struct dest *d;

	for (unsigned int i = 0; i < SLICE; i++) {
		d = TAILQ_FIRST(&n->narrow);
		if (!d || now < d->path_mtu_until_ns)
			return;
		TAILQ_REMOVE(&n->narrow, d, narrow_link);
		d->path_mtu = 0;
		narrow_resolve(n, d);
	}
}

/* --- following the kernel --- */

static void schedule(struct pc_nexthops *n)
{
	n->dirty = true;
	arm(n, DEBOUNCE_S);
}

static void on_resolve(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct pc_nexthops *n = timer->data;
	struct dest *d = TAILQ_FIRST(&n->order);
	unsigned int done = 0;

	/* A round that is under way is finished first: changes that never end must not starve it.
	 */
	if (n->dirty && (!d || d->round == n->round)) {
		n->dirty = false;
		n->round++;
	}
	while ((d = TAILQ_FIRST(&n->order)) && d->round != n->round && done++ < SLICE) {
		d->round = n->round;
		TAILQ_REMOVE(&n->order, d, link);
		TAILQ_INSERT_TAIL(&n->order, d, link);
		dest_resolve(n, d);
	}
	if (d && d->round != n->round) {
		ev_timer_set(&n->resolve, SLICE_PAUSE_S, 0.);
		ev_timer_start(loop, &n->resolve);
		return;
	}
	if (n->moved || n->unreachable) {
		n->moved = false;
		n->unreachable = false;
		n->changed(n->arg);
	}
	if (n->dirty)
		schedule(n);
}

static void on_link(void *arg, const struct pc_rtnl_link *link, bool gone)
{
	struct pc_nexthops *n = arg;

	/* Routes go with their interface, some of them without a notification of their own. */
	pc_nexthop_table_link(&n->table, link->ifindex, pc_clock_monotonic());
	schedule(n);
}

static void on_neigh(void *arg, const struct pc_rtnl_neigh *neigh, bool gone)
{
	struct pc_nexthops *n = arg;

	pc_nexthop_table_neigh(&n->table, neigh, gone, pc_clock_monotonic());
}

static void on_route(void *arg)
{
	schedule(arg);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct pc_nexthops *n = io->data;

	if (pc_rtnl_events_read(n->events) == 0)
		return;
	pc_info("next hops: netlink notifications were lost, reading everything again");
	pc_nexthop_table_refresh(&n->table, pc_clock_monotonic());
	schedule(n);
}

static void on_housekeeping(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct pc_nexthops *n = timer->data;
	uint64_t now = pc_clock_monotonic();

	if (n->table.reserved && now - n->started_ns > RESERVED_NS)
		pc_nexthop_table_unreserve(&n->table);
	narrow_expire(n, now);
	/* While a round is under way flows may still name the entries that it left. */
	pc_nexthop_table_tick(&n->table, now, !ev_is_active(&n->resolve));
}

void pc_nexthops_set_probe_interval(struct pc_nexthops *n, uint64_t ns)
{
	n->table.probe_ns = ns;
}

static int init(struct pc_nexthops *n, struct pc_dp *dp)
{
	static const struct pc_rtnl_event_ops ops = {
		.link = on_link,
		.neigh = on_neigh,
		.route = on_route,
	};
	int err;

	if (getrandom(n->hash_key, sizeof(n->hash_key), 0) != sizeof(n->hash_key))
		return -EIO;
	err = pc_htab_init(&n->dests, 64);
	if (!err)
		err = pc_rtnl_open(&n->rtnl);
	if (!err)
		err = pc_rtnl_events_open(&ops, n, &n->events);
	if (!err)
		err = pc_nexthop_table_init(&n->table, dp, n->rtnl, n->hash_key);
	if (err)
		return err;
	/* Flows of an earlier daemon go on naming their slots until they are written again. */
	for (uint32_t i = 0; i < PC_MAX_NEXTHOPS; i++) {
		if (pc_dp_nexthop_named(dp, i))
			pc_nexthop_table_reserve(&n->table, i);
	}
	return 0;
}

int pc_nexthops_new(struct ev_loop *loop, struct pc_dp *dp, void (*changed)(void *arg), void *arg,
		    struct pc_nexthops **ret_nexthops)
{
	struct pc_nexthops *n = calloc(1, sizeof(*n));
	int err;

	if (!n)
		return -ENOMEM;
	n->loop = loop;
	n->changed = changed;
	n->arg = arg;
	n->started_ns = pc_clock_monotonic();
	TAILQ_INIT(&n->order);
	TAILQ_INIT(&n->narrow);
	ev_timer_init(&n->resolve, on_resolve, DEBOUNCE_S, 0.);
	ev_timer_init(&n->housekeeping, on_housekeeping, HOUSEKEEPING_S, HOUSEKEEPING_S);
	n->resolve.data = n;
	n->housekeeping.data = n;
	err = init(n, dp);
	if (err) {
		pc_nexthops_free(n);
		return err;
	}
	ev_io_init(&n->io, on_readable, pc_rtnl_events_fd(n->events), EV_READ);
	n->io.data = n;
	ev_io_start(loop, &n->io);
	ev_timer_start(loop, &n->housekeeping);
	*ret_nexthops = n;
	return 0;
}

void pc_nexthops_free(struct pc_nexthops *n)
{
	struct dest *d;

	if (!n)
		return;
	if (ev_is_active(&n->io))
		ev_io_stop(n->loop, &n->io);
	ev_timer_stop(n->loop, &n->housekeeping);
	ev_timer_stop(n->loop, &n->resolve);
	while ((d = TAILQ_FIRST(&n->order))) {
		TAILQ_REMOVE(&n->order, d, link);
		free(d);
	}
	pc_nexthop_table_free(&n->table);
	pc_rtnl_events_close(n->events);
	pc_rtnl_close(n->rtnl);
	pc_htab_free(&n->dests);
	free(n);
}
