/* SPDX-License-Identifier: MIT */
/*
 * What an earlier daemon left in the tables: a hash of every entry, and the next hops they name. So
 * that a daemon that sets all of it again writes only what is another now, and need not walk the
 * tables once more to find what is stale.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/siphash.h"
#include "dp/dp_int.h"

/* Of a key with its lowest bit clear, set once the key was set again; 0: a free place. */
struct found {
	uint64_t key, value;
};

struct pc_dp_found {
	uint8_t hash_key[16];
	uint8_t hops[PC_MAX_NEXTHOPS / 8];
	struct found *places;
	size_t mask, taken;
	uint32_t n, again; /* found, and of those set again */
};

void pc_dp_found_free(struct pc_dp *dp)
{
	if (dp->found)
		free(dp->found->places);
	free(dp->found);
	dp->found = NULL;
}

void pc_dp_found_new(struct pc_dp *dp)
{
	struct pc_dp_found *f = calloc(1, sizeof(*f));

	if (!f)
		return;
	dp->found = f;
	f->mask = 1023;
	f->places = calloc(f->mask + 1, sizeof(*f->places));
	if (!f->places || getrandom(f->hash_key, sizeof(f->hash_key), 0) != sizeof(f->hash_key))
		pc_dp_found_free(dp);
}

static uint64_t hash_of(const struct pc_dp_found *f, enum pc_dp_map map, const void *key)
{
	uint64_t hash = pc_siphash24(f->hash_key, key, pc_dp_maps[map].key_size) + map;

	return (hash & ~1ull) ? hash & ~1ull : 2;
}

/* What the program writes does not count. */
static uint64_t hash_value(const struct pc_dp_found *f, enum pc_dp_map map, const void *value)
{
	if (map == PC_DP_CLIENTS)
		return ((const struct pc_client *)value)->slot;
	return pc_siphash24(f->hash_key, value, pc_dp_maps[map].value_size);
}

static struct found *place_of(struct found *places, size_t mask, uint64_t hash)
{
	size_t i = hash >> 8 & mask;

	while (places[i].key && (places[i].key & ~1ull) != hash)
		i = (i + 1) & mask;
	return &places[i];
}

static bool grow(struct pc_dp_found *f)
{
	size_t mask = 2 * f->mask + 1;
	struct found *places = calloc(mask + 1, sizeof(*places));

	if (!places)
		return false;
	for (size_t i = 0; i <= f->mask; i++) {
		if (f->places[i].key)
			*place_of(places, mask, f->places[i].key & ~1ull) = f->places[i];
	}
	free(f->places);
	f->places = places;
	f->mask = mask;
	return true;
}

/* For one more. False: nothing is known from here on. */
static bool make_room(struct pc_dp *dp)
{
	struct pc_dp_found *f = dp->found;

	if (2 * f->taken <= f->mask || grow(f))
		return true;
	pc_dp_found_free(dp);
	return false;
}

/* The next hop of what arrives; that of a hairpin is another session's. */
static void note_hop(struct pc_dp_found *f, uint16_t flags, uint32_t nexthop)
{
	const uint16_t inside = PC_FLOW_UP | PC_FLOW_HAIRPIN;

	if ((flags & inside) != inside && nexthop < PC_MAX_NEXTHOPS)
		f->hops[nexthop / 8] |= (uint8_t)(1u << (nexthop % 8));
}

void pc_dp_found_add(struct pc_dp *dp, enum pc_dp_map map, const void *key, const void *value)
{
	struct pc_dp_found *f = dp->found;
	const struct pc_flow *flow = value;
	const struct pc_perm *perm = value;
	uint64_t hash;

	if (!f)
		return;
	if (map == PC_DP_FLOW4 || map == PC_DP_FLOW6)
		note_hop(f, flow->flags, flow->nexthop);
	if (map == PC_DP_PERM4 || map == PC_DP_PERM6)
		note_hop(f, perm->flags, perm->nexthop);
	if (!make_room(dp))
		return;
	hash = hash_of(f, map, key);
	*place_of(f->places, f->mask, hash) =
		(struct found){ .key = hash, .value = hash_value(f, map, value) };
	f->taken++;
	f->n++;
}

bool pc_dp_found_again(struct pc_dp *dp, enum pc_dp_map map, const void *key, const void *value)
{
	struct pc_dp_found *f = dp->found;
	struct found *place;
	uint64_t key_hash, hash;
	bool same;

	if (!f || !make_room(dp))
		return false;
	key_hash = hash_of(f, map, key);
	hash = hash_value(f, map, value);
	place = place_of(f->places, f->mask, key_hash);
	same = place->key && place->value == hash;
	if (!place->key) { /* a new one */
		dp->used[map]++;
		f->taken++;
	} else if (!(place->key & 1)) {
		f->again++;
	}
	*place = (struct found){ .key = key_hash | 1, .value = hash };
	return same;
}

bool pc_dp_nexthop_named(struct pc_dp *dp, uint32_t index)
{
	return dp->found && index < PC_MAX_NEXTHOPS &&
	       (dp->found->hops[index / 8] & (1u << (index % 8)));
}

bool pc_dp_found_all_again(const struct pc_dp *dp)
{
	return dp->found && dp->found->again == dp->found->n;
}

bool pc_dp_none_stale(struct pc_dp *dp)
{
	return dp->none_stale;
}
