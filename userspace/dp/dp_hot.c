/* SPDX-License-Identifier: MIT */
/*
 * pc4_hot4 and pc4_hot6: copies of the flows in pc4_flow4 and pc4_flow6, which are the truth; the
 * program looks here first. This process is the only writer. A place is emptied before another flow
 * is written there, so that a packet in between finds its flow in the hash map.
 *
 * Permissions of pc4_perm4 and pc4_perm6 are copied, too, where there is room: a channel, of which
 * more packets are to be expected, takes their place.
 *
 * For a packet of a peer without a channel the program has to know that there is none. It need not
 * ask the hash map where all flows of a set lie in it, which the set's free places say
 * (PC_HOT_KNOWN): never before all flows of an earlier daemon have been seen, nor of a set that a
 * flow once found no room in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dp/dp_int.h"
#include "lib/hot.h"

#define ADDRS_MAX sizeof(((struct pc_hot6 *)0)->addrs[0])

/* A key in the words that the program compares. The tail is never zero: ports are not. */
struct hot_key {
	__u64 addrs[ADDRS_MAX / sizeof(__u64)];
	size_t addrs_len;
	__u64 tail;
};

/* Where one flow may lie. tail: 0, PC_HOT_KNOWN: it is free. */
struct place {
	uint64_t set;
	void *addrs;
	__u64 *tail;
	struct pc_flow *flow;
};

static const enum pc_dp_map tables[PC_DP_HOTS] = { PC_DP_HOT4, PC_DP_HOT6 };

/* Which table has copies of entries of @map. PC_DP_HOTS: none. */
static unsigned int table_of(const struct pc_dp *dp, enum pc_dp_map map)
{
	unsigned int table = PC_DP_HOTS;

	if (map == PC_DP_FLOW4 || map == PC_DP_PERM4)
		table = 0;
	else if (map == PC_DP_FLOW6 || map == PC_DP_PERM6)
		table = 1;

	return table < PC_DP_HOTS && dp->hot[table].sets ? table : PC_DP_HOTS;
}

static int map_table(struct pc_dp *dp, unsigned int table)
{
	const struct pc_dp_map_info *info = &pc_dp_maps[tables[table]];
	size_t sets = pc_dp_map_entries(tables[table], dp->table_sessions);
	uint8_t *at = mmap(NULL, sets * info->value_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			   dp->map_fd[tables[table]], 0);

	if (at == MAP_FAILED)
		return -errno;
	dp->hot[table] = (struct pc_dp_hot){
		.sets = at,
		.size = sets * info->value_size,
		.shift = pc_hot_shift_of((uint32_t)sets),
	};
	dp->hot[table].spilt = calloc(sets / 8 + 1, 1);
	if (!dp->hot[table].spilt)
		return -ENOMEM;
	/* An earlier daemon may have died between the two tables. Tails are in the keys. */
	for (size_t i = 0; i < sets; i++)
		memset(at + i * info->value_size, 0,
		       table ? offsetof(struct pc_hot6, addrs) : offsetof(struct pc_hot4, flow));
	return 0;
}

int pc_dp_hot_map(struct pc_dp *dp)
{
	int err = 0;

	for (unsigned int i = 0; !err && i < PC_DP_HOTS; i++)
		err = map_table(dp, i);
	return err;
}

void pc_dp_hot_unmap(struct pc_dp *dp)
{
	for (unsigned int i = 0; i < PC_DP_HOTS; i++) {
		if (dp->hot[i].sets)
			munmap(dp->hot[i].sets, dp->hot[i].size);
		free(dp->hot[i].spilt);
		dp->hot[i] = (struct pc_dp_hot){ 0 };
	}
}

static struct hot_key read_key(const void *key, unsigned int table)
{
	struct hot_key k = { .addrs_len = table ? ADDRS_MAX : sizeof(__u64) };

	memcpy(k.addrs, key, k.addrs_len);
	memcpy(&k.tail, (const uint8_t *)key + k.addrs_len, sizeof(k.tail));
	return k;
}

/*
 * An entry of @map as it lies in a table; @value NULL: only where. False: it has no place there.
 */
static bool read_entry(const struct pc_dp *dp, enum pc_dp_map map, const void *key,
		       const void *value, struct hot_key *ret_key, struct pc_flow *ret_flow)
{
	unsigned int table = table_of(dp, map);
	struct pc_flow4_key key4;
	struct pc_flow6_key key6;

	if (table == PC_DP_HOTS)
		return false;
	if (map == PC_DP_PERM4) {
		if (!pc_hot_perm4(key, value, &key4, ret_flow))
			return false;
		key = &key4;
	} else if (map == PC_DP_PERM6) {
		if (!pc_hot_perm6(key, value, &key6, ret_flow))
			return false;
		key = &key6;
	} else if (value) {
		memcpy(ret_flow, value, sizeof(*ret_flow));
	}
	*ret_key = read_key(key, table);
	return true;
}

static struct place place_at(const struct pc_dp *dp, unsigned int table, uint64_t at,
			     unsigned int way)
{
	struct pc_hot6 *set6 = (struct pc_hot6 *)dp->hot[table].sets + at;
	struct pc_hot4 *set4 = (struct pc_hot4 *)dp->hot[table].sets + at;

	if (table)
		return (struct place){ at, set6->addrs[way], &set6->tail[way], &set6->flow[way] };
	return (struct place){ at, &set4->key[way], (__u64 *)&set4->key[way] + 1,
			       &set4->flow[way] };
}

static uint64_t set_of(const struct pc_dp *dp, unsigned int table, const struct hot_key *key)
{
	uint32_t shift = dp->hot[table].shift;

	return table ? pc_hot_set6(key->addrs, key->tail, shift)
		     : pc_hot_set(key->addrs[0], key->tail, shift);
}

static bool is_free(const struct place *place)
{
	return !*place->tail || *place->tail == PC_HOT_KNOWN;
}

/* What it says depends on what may belong to the set and lie elsewhere. */
static void set_free(const struct pc_dp *dp, unsigned int table, const struct place *place)
{
	const struct pc_dp_hot *hot = &dp->hot[table];
	bool spilt = hot->spilt[place->set / 8] >> place->set % 8 & 1;

	__atomic_store_n(place->tail, hot->known && !spilt ? PC_HOT_KNOWN : 0, __ATOMIC_RELEASE);
}

void pc_dp_hot_known(struct pc_dp *dp)
{
	for (unsigned int table = 0; table < PC_DP_HOTS; table++) {
		uint32_t sets = pc_dp_map_entries(tables[table], dp->table_sessions);

		dp->hot[table].known = true;
		for (uint64_t i = 0; i < (uint64_t)sets * PC_HOT_WAYS; i++) {
			struct place place = place_at(dp, table, i / PC_HOT_WAYS, i % PC_HOT_WAYS);

			if (is_free(&place))
				set_free(dp, table, &place);
		}
	}
}

static bool holds(const struct place *place, const struct hot_key *key)
{
	return *place->tail == key->tail && !memcmp(place->addrs, key->addrs, key->addrs_len);
}

void pc_dp_hot_del(struct pc_dp *dp, enum pc_dp_map map, const void *key)
{
	unsigned int table = table_of(dp, map);
	struct hot_key want;
	uint64_t set;

	if (!read_entry(dp, map, key, NULL, &want, NULL))
		return;
	set = set_of(dp, table, &want);
	for (unsigned int way = 0; way < PC_HOT_WAYS; way++) {
		struct place place = place_at(dp, table, set, way);

		if (holds(&place, &want))
			set_free(dp, table, &place);
	}
}

static void write_place(const struct place *place, const struct hot_key *key, const void *flow)
{
	/* What is free is not read. */
	if (!is_free(place))
		__atomic_store_n(place->tail, 0, __ATOMIC_SEQ_CST);
	memcpy(place->flow, flow, sizeof(*place->flow));
	memcpy(place->addrs, key->addrs, key->addrs_len);
	__atomic_store_n(place->tail, key->tail, __ATOMIC_RELEASE);
}

/* A free place in @set; else, if it may @take one, that of a permission. */
static struct place room_in(const struct pc_dp *dp, unsigned int table, uint64_t set, bool take)
{
	struct place found = { 0 };

	for (unsigned int way = 0; way < PC_HOT_WAYS; way++) {
		struct place place = place_at(dp, table, set, way);

		if (is_free(&place))
			return place;
		if (take && place.flow->flags & PC_FLOW_PERM)
			found = place;
	}
	return found;
}

/* A flow has no place: the set is full of others. */
static void spill(struct pc_dp *dp, unsigned int table, uint64_t set)
{
	dp->hot[table].spilt[set / 8] |= (uint8_t)(1u << set % 8);
}

static void set_entry(struct pc_dp *dp, unsigned int table, uint64_t set,
		      const struct hot_key *want, const struct pc_flow *flow)
{
	struct place old = { 0 }, room;

	for (unsigned int way = 0; way < PC_HOT_WAYS; way++) {
		struct place place = place_at(dp, table, set, way);

		if (holds(&place, want))
			old = place;
	}
	if (old.tail && !memcmp(old.flow, flow, sizeof(*flow)))
		return;
	/* Elsewhere, if there is room: a packet may be reading the old one. */
	room = room_in(dp, table, set, !old.tail && !(flow->flags & PC_FLOW_PERM));
	if (room.tail)
		write_place(&room, want, flow);
	else if (old.tail)
		write_place(&old, want, flow);
	else if (!(flow->flags & PC_FLOW_PERM))
		spill(dp, table, set);
	if (room.tail && old.tail)
		set_free(dp, table, &old);
}

void pc_dp_hot_set(struct pc_dp *dp, enum pc_dp_map map, const void *key, const void *value)
{
	unsigned int table = table_of(dp, map);
	struct hot_key want;
	struct pc_flow flow;

	if (read_entry(dp, map, key, value, &want, &flow))
		set_entry(dp, table, set_of(dp, table, &want), &want, &flow);
}

/* Each set is somewhere else: all of a round are fetched before the first is looked at. */
#define ROUND 16u

void pc_dp_hot_set_many(struct pc_dp *dp, enum pc_dp_map map, const uint8_t *keys,
			const uint8_t *values, uint32_t n)
{
	const struct pc_dp_map_info *info = &pc_dp_maps[map];
	unsigned int table = table_of(dp, map);
	struct hot_key want[ROUND];
	struct pc_flow flow[ROUND];
	uint64_t set[ROUND];

	if (table == PC_DP_HOTS)
		return;
	for (uint32_t i = 0, some; i < n; i += some) {
		uint32_t kept = 0;

		some = n - i < ROUND ? n - i : ROUND;
		for (uint32_t k = i; k < i + some; k++) {
			if (!read_entry(dp, map, keys + k * info->key_size,
					values + k * info->value_size, &want[kept], &flow[kept]))
				continue;
			set[kept] = set_of(dp, table, &want[kept]);
			__builtin_prefetch(place_at(dp, table, set[kept], 0).tail, 1);
			kept++;
		}
		for (uint32_t k = 0; k < kept; k++)
			set_entry(dp, table, set[k], &want[k], &flow[k]);
	}
}
