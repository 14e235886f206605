/* SPDX-License-Identifier: MIT */
/*
 * pc4_hot4 and pc4_hot6: copies of the flows in pc4_flow4 and pc4_flow6, which are the truth; the
 * program looks here first. This process is the only writer. A place is emptied before it is
 * written, so that a packet in between finds the flow in the hash map.
 *
 * Permissions of pc4_perm4 and pc4_perm6 are copied, too, where there is room: a channel, of which
 * more packets are to be expected, takes their place.
 */
#include <errno.h>
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

/* Where one flow may lie. tail: 0: it is free. */
struct place {
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
	dp->hot[table] = (struct pc_dp_hot){ at, sets * info->value_size };
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

static struct place place_of(const struct pc_dp *dp, unsigned int table, const struct hot_key *key,
			     unsigned int way)
{
	uint32_t sets = pc_dp_map_entries(tables[table], dp->table_sessions);
	uint32_t shift = pc_hot_shift_of(sets);

	if (table) {
		struct pc_hot6 *set = (struct pc_hot6 *)dp->hot[table].sets +
				      pc_hot_set6(key->addrs, key->tail, shift);

		return (struct place){ set->addrs[way], &set->tail[way], &set->flow[way] };
	}
	struct pc_hot4 *set =
		(struct pc_hot4 *)dp->hot[table].sets + pc_hot_set(key->addrs[0], key->tail, shift);

	return (struct place){ &set->key[way], (__u64 *)&set->key[way] + 1, &set->flow[way] };
}

static bool holds(const struct place *place, const struct hot_key *key)
{
	return *place->tail == key->tail && !memcmp(place->addrs, key->addrs, key->addrs_len);
}

void pc_dp_hot_del(struct pc_dp *dp, enum pc_dp_map map, const void *key)
{
	struct hot_key want;

	if (!read_entry(dp, map, key, NULL, &want, NULL))
		return;
	for (unsigned int way = 0; way < PC_HOT_WAYS; way++) {
		struct place place = place_of(dp, table_of(dp, map), &want, way);

		if (holds(&place, &want))
			__atomic_store_n(place.tail, 0, __ATOMIC_SEQ_CST);
	}
}

static void write_place(const struct place *place, const struct hot_key *key, const void *flow)
{
	__atomic_store_n(place->tail, 0, __ATOMIC_SEQ_CST);
	memcpy(place->flow, flow, sizeof(*place->flow));
	memcpy(place->addrs, key->addrs, key->addrs_len);
	__atomic_store_n(place->tail, key->tail, __ATOMIC_RELEASE);
}

/* A free place for @key; else, if it may @take one, that of a permission. */
static struct place room_for(const struct pc_dp *dp, unsigned int table, const struct hot_key *key,
			     bool take)
{
	struct place found = { 0 };

	for (unsigned int way = 0; way < PC_HOT_WAYS; way++) {
		struct place place = place_of(dp, table, key, way);

		if (!*place.tail)
			return place;
		if (take && place.flow->flags & PC_FLOW_PERM)
			found = place;
	}
	return found;
}

void pc_dp_hot_set(struct pc_dp *dp, enum pc_dp_map map, const void *key, const void *value)
{
	unsigned int table = table_of(dp, map);
	struct place old = { 0 }, room;
	struct hot_key want;
	struct pc_flow flow;

	if (!read_entry(dp, map, key, value, &want, &flow))
		return;
	for (unsigned int way = 0; way < PC_HOT_WAYS; way++) {
		struct place place = place_of(dp, table, &want, way);

		if (holds(&place, &want))
			old = place;
	}
	if (old.tail && !memcmp(old.flow, &flow, sizeof(flow)))
		return;
	/* Elsewhere, if there is room: a packet may be reading the old one. */
	room = room_for(dp, table, &want, !old.tail && !(flow.flags & PC_FLOW_PERM));
	if (room.tail)
		write_place(&room, &want, &flow);
	else if (old.tail)
		write_place(&old, &want, &flow);
	if (room.tail && old.tail)
		__atomic_store_n(old.tail, 0, __ATOMIC_SEQ_CST);
}
