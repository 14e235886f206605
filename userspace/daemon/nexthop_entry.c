/* SPDX-License-Identifier: MIT */
#include "daemon/nexthop_entry.h"

#include <errno.h>
#include <net/if_arp.h>
#include <linux/neighbour.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/siphash.h"

#define NO_SLOT	   UINT32_MAX
#define IDLE_NS	   (10 * PC_NS_PER_S)
#define PROBE_NS   (30 * PC_NS_PER_S)
#define USE_MIN_NS PC_NS_PER_S
#define USE_MAX_NS (30 * PC_NS_PER_S)

/*
 * Packets sent by the data plane confirm no neighbour to the kernel, so its entries grow stale
 * while they are in use. They stay usable; pc_nexthop_table_tick asks them now and then.
 */
#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT)

static uint64_t neigh_hash(const struct pc_nexthop_table *t, uint32_t oif, const struct pc_ip *via)
{
	uint8_t key[4 + sizeof(*via)];

	memcpy(key, &oif, 4);
	memcpy(key + 4, via, sizeof(*via));
	return pc_siphash24(t->hash_key, key, sizeof(key));
}

int pc_nexthop_table_init(struct pc_nexthop_table *t, struct pc_dp *dp, struct pc_rtnl *rtnl,
			  const uint8_t hash_key[static 16])
{
	*t = (struct pc_nexthop_table){
		.dp = dp,
		.rtnl = rtnl,
		.hash_key = hash_key,
		.probe_ns = PROBE_NS,
	};
	t->slots = calloc(PC_MAX_NEXTHOPS, sizeof(struct pc_nexthop_entry *));
	if (!t->slots)
		return -ENOMEM;
	return pc_htab_init(&t->by_neigh, 64);
}

void pc_nexthop_table_free(struct pc_nexthop_table *t)
{
	for (uint32_t i = 0; t->slots && i < PC_MAX_NEXTHOPS; i++)
		free(t->slots[i]);
	free(t->slots);
	free(t->reserved);
	pc_htab_free(&t->by_neigh);
}

void pc_nexthop_table_reserve(struct pc_nexthop_table *t, uint32_t index)
{
	if (index >= PC_MAX_NEXTHOPS)
		return;
	if (!t->reserved)
		t->reserved = calloc(PC_MAX_NEXTHOPS / 8, 1);
	if (t->reserved)
		t->reserved[index / 8] |= (uint8_t)(1u << (index % 8));
}

void pc_nexthop_table_unreserve(struct pc_nexthop_table *t)
{
	free(t->reserved);
	t->reserved = NULL;
}

/* --- what the data plane is told --- */

static void write_hop(struct pc_nexthop_entry *e, const struct pc_dp_nexthop *hop)
{
	if (memcmp(hop, &e->hop, sizeof(*hop)) == 0)
		return;
	e->hop = *hop;
	/* Without a kernel half there is nobody to tell. */
	if (e->index != NO_SLOT)
		pc_dp_nexthop_set(e->table->dp, e->index, &e->hop);
}

static void update(struct pc_nexthop_entry *e, const struct pc_dp_nexthop *link, const uint8_t *mac,
		   uint64_t now)
{
	struct pc_dp_nexthop hop;
	bool was = e->hop.resolved;

	memset(&hop, 0, sizeof(hop));
	hop.ifindex = link->ifindex;
	hop.mtu = link->mtu;
	hop.family = e->key.family;
	memcpy(hop.src_mac, link->src_mac, sizeof(hop.src_mac));
	hop.n_vlans = link->n_vlans;
	memcpy(hop.vlan, link->vlan, sizeof(hop.vlan));
	hop.resolved = e->link_ok && e->neigh_ok;
	if (hop.resolved)
		memcpy(hop.dst_mac, mac, sizeof(hop.dst_mac));
	write_hop(e, &hop);
	if (hop.resolved && !was)
		e->next_probe_ns = now + e->table->probe_ns;
	if (!hop.resolved && was)
		e->use_interval_ns = USE_MIN_NS;
}

/* Follows VLAN sub-interfaces down to the interface that packets leave by. */
static void read_link(struct pc_nexthop_entry *e, struct pc_dp_nexthop *hop)
{
	struct pc_rtnl_link link;
	uint32_t ifindex = e->key.oif, mtu = 0;

	e->link_ok = false;
	memset(hop, 0, sizeof(*hop));
	memset(e->chain, 0, sizeof(e->chain));
	e->chain[0] = ifindex;
	for (unsigned int level = 0; level < PC_NEXTHOP_MAX_CHAIN; level++) {
		e->chain[level] = ifindex;
		if (pc_rtnl_link_get(e->table->rtnl, ifindex, &link) ||
		    !pc_rtnl_link_running(&link))
			return;
		if (level == 0) {
			if (link.type != ARPHRD_ETHER || !link.has_mac || (link.flags & IFF_NOARP))
				return;
			memcpy(hop->src_mac, link.mac, sizeof(hop->src_mac));
			mtu = link.mtu;
		}
		if (!link.vlan)
			break;
		if (link.vlan_foreign || level == 2)
			return;
		/* The tag of the lowest sub-interface is the outermost. */
		hop->vlan[1] = hop->vlan[0];
		hop->vlan[0] = link.vlan_id;
		hop->n_vlans++;
		ifindex = link.vlan_lower;
	}
	if (e->key.mtu && e->key.mtu < mtu)
		mtu = e->key.mtu;
	hop->ifindex = ifindex;
	hop->mtu = mtu < UINT16_MAX ? (uint16_t)mtu : UINT16_MAX;
	e->link_ok = true;
}

static void take_neigh(struct pc_nexthop_entry *e, const struct pc_rtnl_neigh *neigh)
{
	e->neigh_ok = neigh && (neigh->state & NUD_USABLE) && neigh->has_mac;
	e->permanent = neigh && (neigh->state & NUD_PERMANENT);
}

static void ask_to_resolve(struct pc_nexthop_entry *e, uint64_t now)
{
	if (now < e->next_use_ns)
		return;
	e->next_use_ns = now + e->use_interval_ns;
	if (e->use_interval_ns < USE_MAX_NS)
		e->use_interval_ns *= 2;
	/* What fails here is tried again later, and packets that pass make the kernel try too. */
	pc_rtnl_neigh_use(e->table->rtnl, e->key.oif, &e->key.via);
}

static void refresh(struct pc_nexthop_entry *e, uint64_t now)
{
	struct pc_rtnl_neigh neigh;
	struct pc_dp_nexthop link;

	read_link(e, &link);
	if (pc_rtnl_neigh_get(e->table->rtnl, e->key.oif, &e->key.via, &neigh) == 0)
		take_neigh(e, &neigh);
	else
		take_neigh(e, NULL);
	update(e, &link, neigh.mac, now);
	if (e->link_ok && !e->neigh_ok && e->refs)
		ask_to_resolve(e, now);
}

/* --- entries --- */

static void entry_free(struct pc_nexthop_entry *e)
{
	struct pc_nexthop_table *t = e->table;
	struct pc_dp_nexthop none;

	memset(&none, 0, sizeof(none));
	write_hop(e, &none);
	t->slots[e->index] = NULL;
	t->used--;
	pc_htab_remove(&t->by_neigh, &e->node);
	free(e);
}

/* One of an earlier daemon that leads the same way: flows that name it need not be written. */
static bool find_same(struct pc_nexthop_table *t, const struct pc_dp_nexthop *hop,
		      uint32_t *ret_index)
{
	for (uint32_t i = 0; t->reserved && i < PC_MAX_NEXTHOPS; i++) {
		if (!t->slots[i] && (t->reserved[i / 8] & (1u << (i % 8))) &&
		    pc_dp_nexthop_is(t->dp, i, hop)) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

/* Next-fit, so that a slot that was freed rests for as long as possible. */
static int find_slot(struct pc_nexthop_table *t, const struct pc_dp_nexthop *hop,
		     uint32_t *ret_index)
{
	if (find_same(t, hop, ret_index))
		return 0;
	for (uint32_t n = 0; n < PC_MAX_NEXTHOPS; n++) {
		uint32_t i = (t->cursor + n) % PC_MAX_NEXTHOPS;

		if (t->slots[i] || (t->reserved && (t->reserved[i / 8] & (1u << (i % 8)))))
			continue;
		t->cursor = i + 1;
		*ret_index = i;
		return 0;
	}
	return PC_ERR_FULL;
}

static struct pc_nexthop_entry *find(struct pc_nexthop_table *t, const struct pc_nexthop_key *key,
				     uint64_t hash)
{
	struct pc_hnode *h = pc_htab_first(&t->by_neigh, hash);

	for (; h; h = pc_htab_next(h)) {
		struct pc_nexthop_entry *e = pc_container_of(h, struct pc_nexthop_entry, node);

		if (memcmp(&e->key, key, sizeof(*key)) == 0)
			return e;
	}
	return NULL;
}

int pc_nexthop_entry_get(struct pc_nexthop_table *t, const struct pc_nexthop_key *key, uint64_t now,
			 struct pc_nexthop_entry **ret_entry)
{
	uint64_t hash = neigh_hash(t, key->oif, &key->via);
	struct pc_nexthop_entry *e = find(t, key, hash);
	int err;

	if (e) {
		e->refs++;
		*ret_entry = e;
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->key = *key;
	e->table = t;
	e->index = NO_SLOT;
	e->refs = 1;
	e->use_interval_ns = USE_MIN_NS;
	refresh(e, now);
	err = find_slot(t, &e->hop, &e->index);
	if (err) {
		free(e);
		return err;
	}
	t->slots[e->index] = e;
	t->used++;
	pc_htab_insert(&t->by_neigh, &e->node, hash);
	/* Whatever an earlier daemon left in the slot goes, also when nothing is known yet. */
	pc_dp_nexthop_set(t->dp, e->index, &e->hop);
	*ret_entry = e;
	return 0;
}

void pc_nexthop_entry_put(struct pc_nexthop_entry *e, uint64_t now)
{
	if (--e->refs == 0)
		e->idle_ns = now;
}

/* --- changes --- */

void pc_nexthop_table_link(struct pc_nexthop_table *t, uint32_t ifindex, uint64_t now)
{
	for (uint32_t i = 0; i < PC_MAX_NEXTHOPS; i++) {
		struct pc_nexthop_entry *e = t->slots[i];

		for (unsigned int k = 0; e && k < PC_NEXTHOP_MAX_CHAIN; k++) {
			if (e->chain[k] == ifindex) {
				e->next_use_ns = 0;
				refresh(e, now);
				break;
			}
		}
	}
}

void pc_nexthop_table_neigh(struct pc_nexthop_table *t, const struct pc_rtnl_neigh *neigh,
			    bool gone, uint64_t now)
{
	struct pc_hnode *h = pc_htab_first(&t->by_neigh, neigh_hash(t, neigh->ifindex, &neigh->ip));

	for (; h; h = pc_htab_next(h)) {
		struct pc_nexthop_entry *e = pc_container_of(h, struct pc_nexthop_entry, node);
		struct pc_dp_nexthop link = e->hop;

		if (e->key.oif != neigh->ifindex || !pc_ip_equal(&e->key.via, &neigh->ip))
			continue;
		take_neigh(e, gone ? NULL : neigh);
		update(e, &link, neigh->mac, now);
		if (e->link_ok && !e->neigh_ok && e->refs && !(neigh->state & NUD_INCOMPLETE))
			ask_to_resolve(e, now);
	}
}

void pc_nexthop_table_refresh(struct pc_nexthop_table *t, uint64_t now)
{
	for (uint32_t i = 0; i < PC_MAX_NEXTHOPS; i++) {
		if (t->slots[i])
			refresh(t->slots[i], now);
	}
}

void pc_nexthop_table_tick(struct pc_nexthop_table *t, uint64_t now, bool may_free)
{
	for (uint32_t i = 0; i < PC_MAX_NEXTHOPS; i++) {
		struct pc_nexthop_entry *e = t->slots[i];

		if (!e)
			continue;
		if (!e->refs) {
			if (may_free && now - e->idle_ns >= IDLE_NS)
				entry_free(e);
			continue;
		}
		if (!e->link_ok)
			continue;
		if (!e->neigh_ok) {
			ask_to_resolve(e, now);
		} else if (!e->permanent && now >= e->next_probe_ns) {
			e->next_probe_ns = now + t->probe_ns;
			pc_rtnl_neigh_probe(t->rtnl, e->key.oif, &e->key.via);
		}
	}
}

unsigned int pc_nexthop_table_unresolved(const struct pc_nexthop_table *t)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < PC_MAX_NEXTHOPS; i++) {
		const struct pc_nexthop_entry *e = t->slots[i];

		n += e && e->refs && !e->hop.resolved;
	}
	return n;
}
