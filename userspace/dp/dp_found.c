/* SPDX-License-Identifier: MIT */
/*
 * What an earlier daemon left in the tables: a hash of every entry, and the next hops they name. So
 * that a daemon that sets all of it again writes only what is another now, and need not walk the
 * tables once more to find what is stale.
 *
 * There may be millions of entries, each looked at twice while nobody is answered. So the hash is
 * NH (Black, Halevi, Krawczyk, Krovetz, Rogaway 1999), a multiplication for 16 bytes, and places
 * are fetched for several entries before the first of them is looked at.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dp/dp_int.h"

#define HASH_WORDS 8
#define ROUND	   16u

_Static_assert(sizeof(((struct pc_dp_item *)0)->key) <= HASH_WORDS * sizeof(uint64_t) &&
		       sizeof(((struct pc_dp_item *)0)->value) <= HASH_WORDS * sizeof(uint64_t),
	       "a word of the key for each that is hashed");

/* Of a key with its lowest bit clear, set once the key was set again; 0: a free place. */
struct found {
	uint64_t key, value;
};

struct pc_dp_found {
	uint64_t hash_key[HASH_WORDS];
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
	/* For four entries of each session: memory comes with use, and it can grow. */
	while (f->mask < 8ull * dp->max_sessions)
		f->mask = 2 * f->mask + 1;
	f->places = calloc(f->mask + 1, sizeof(*f->places));
	if (!f->places || getrandom(f->hash_key, sizeof(f->hash_key), 0) != sizeof(f->hash_key))
		pc_dp_found_free(dp);
}

/* Two words of @size bytes at @p; what is not there is 0. */
static void load_pair(const uint8_t *p, size_t size, uint64_t ret_words[static 2])
{
	ret_words[0] = ret_words[1] = 0;
	memcpy(ret_words, p, size < 16 ? size : 16);
}

static uint64_t hash_bytes(const struct pc_dp_found *f, const void *data, size_t size)
{
	const uint64_t *k = f->hash_key;
	unsigned __int128 sum = 0;
	const uint8_t *p = data;
	uint64_t w[2], hash;

	for (; size >= 16; size -= 16, p += 16, k += 2) {
		load_pair(p, 16, w);
		sum += (unsigned __int128)(w[0] + k[0]) * (w[1] + k[1]);
	}
	if (size) {
		load_pair(p, size, w);
		sum += (unsigned __int128)(w[0] + k[0]) * (w[1] + k[1]);
	}
	hash = ((uint64_t)sum ^ (uint64_t)(sum >> 64)) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

static uint64_t hash_key(const struct pc_dp_found *f, enum pc_dp_map map, const void *key)
{
	uint64_t hash = hash_bytes(f, key, pc_dp_maps[map].key_size) + 2 * map;

	return (hash & ~1ull) ? hash & ~1ull : 2;
}

/* What the program writes does not count. */
static uint64_t hash_value(const struct pc_dp_found *f, enum pc_dp_map map, const void *value)
{
	if (map == PC_DP_CLIENTS)
		return ((const struct pc_client *)value)->slot;
	return hash_bytes(f, value, pc_dp_maps[map].value_size);
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

/* For @n more. False: nothing is known from here on. */
static bool make_room(struct pc_dp *dp, uint32_t n)
{
	struct pc_dp_found *f = dp->found;

	while (2 * (f->taken + n) > f->mask) {
		if (grow(f))
			continue;
		pc_dp_found_free(dp);
		return false;
	}
	return true;
}

/* The next hop of what arrives; that of a hairpin is another session's. */
static void note_hop(struct pc_dp_found *f, uint16_t flags, uint32_t nexthop)
{
	const uint16_t inside = PC_FLOW_UP | PC_FLOW_HAIRPIN;

	if ((flags & inside) != inside && nexthop < PC_MAX_NEXTHOPS)
		f->hops[nexthop / 8] |= (uint8_t)(1u << (nexthop % 8));
}

static void note_value(struct pc_dp_found *f, enum pc_dp_map map, const void *value)
{
	const struct pc_flow *flow = value;
	const struct pc_perm *perm = value;

	if (map == PC_DP_FLOW4 || map == PC_DP_FLOW6)
		note_hop(f, flow->flags, flow->nexthop);
	if (map == PC_DP_PERM4 || map == PC_DP_PERM6)
		note_hop(f, perm->flags, perm->nexthop);
}

/* At most ROUND entries as they are remembered; their places are on the way to the cache then. */
static void hash_round(const struct pc_dp_found *f, enum pc_dp_map map, const uint8_t *keys,
		       const uint8_t *values, uint32_t n, struct found ret_hashes[static ROUND])
{
	const struct pc_dp_map_info *info = &pc_dp_maps[map];

	for (uint32_t i = 0; i < n; i++) {
		ret_hashes[i].key = hash_key(f, map, keys + i * info->key_size);
		ret_hashes[i].value = hash_value(f, map, values + i * info->value_size);
		__builtin_prefetch(&f->places[ret_hashes[i].key >> 8 & f->mask], 1);
	}
}

void pc_dp_found_add(struct pc_dp *dp, enum pc_dp_map map, const uint8_t *keys,
		     const uint8_t *values, uint32_t n)
{
	const struct pc_dp_map_info *info = &pc_dp_maps[map];
	struct pc_dp_found *f = dp->found;
	struct found hashes[ROUND];

	if (!f)
		return;
	for (uint32_t i = 0; i < n; i++)
		note_value(f, map, values + i * info->value_size);
	if (!make_room(dp, n))
		return;
	for (uint32_t i = 0; i < n; i += ROUND) {
		uint32_t some = n - i < ROUND ? n - i : ROUND;

		hash_round(f, map, keys + i * info->key_size, values + i * info->value_size, some,
			   hashes);
		for (uint32_t k = 0; k < some; k++)
			*place_of(f->places, f->mask, hashes[k].key) = hashes[k];
	}
	f->taken += n;
	f->n += n;
}

/* Whether an entry is there just as it is to be. */
static bool take_again(struct pc_dp *dp, enum pc_dp_map map, const struct found *hashes)
{
	struct pc_dp_found *f = dp->found;
	struct found *place = place_of(f->places, f->mask, hashes->key);
	bool same = place->key && place->value == hashes->value;

	if (!place->key) { /* a new one */
		dp->used[map]++;
		f->taken++;
	} else if (!(place->key & 1)) {
		f->again++;
	}
	*place = (struct found){ .key = hashes->key | 1, .value = hashes->value };
	return same;
}

void pc_dp_found_again(struct pc_dp *dp, enum pc_dp_map map, const uint8_t *keys,
		       const uint8_t *values, uint32_t n, bool *ret_same)
{
	const struct pc_dp_map_info *info = &pc_dp_maps[map];
	struct found hashes[ROUND];

	memset(ret_same, 0, n * sizeof(*ret_same));
	if (!dp->found || !make_room(dp, n))
		return;
	for (uint32_t i = 0; i < n; i += ROUND) {
		uint32_t some = n - i < ROUND ? n - i : ROUND;

		hash_round(dp->found, map, keys + i * info->key_size, values + i * info->value_size,
			   some, hashes);
		for (uint32_t k = 0; k < some; k++)
			ret_same[i + k] = take_again(dp, map, &hashes[k]);
	}
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
