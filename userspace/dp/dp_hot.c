/* SPDX-License-Identifier: MIT */
/*
 * pc3_hot4: copies of the flows in pc3_flow4, which is the truth; the program looks here first.
 * This process is the only writer. A place is emptied before it is written, so that a packet in
 * between finds the flow in pc3_flow4.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "dp/dp_int.h"
#include "lib/hot.h"

/* A key in the words that the program compares. */
union hot_key {
	struct pc_flow4_key key;
	uint64_t word[2];
};

int pc_dp_hot_map(struct pc_dp *dp)
{
	size_t sets = pc_dp_map_entries(PC_DP_HOT4, dp->table_sessions);
	void *at = mmap(NULL, sets * sizeof(*dp->hot), PROT_READ | PROT_WRITE, MAP_SHARED,
			dp->map_fd[PC_DP_HOT4], 0);

	if (at == MAP_FAILED)
		return -errno;
	dp->hot = at;
	dp->hot_size = sets * sizeof(*dp->hot);
	/* An earlier daemon may have died between the two tables. */
	for (size_t i = 0; i < sets; i++)
		memset(dp->hot[i].key, 0, sizeof(dp->hot[i].key));
	return 0;
}

void pc_dp_hot_unmap(struct pc_dp *dp)
{
	if (dp->hot)
		munmap(dp->hot, dp->hot_size);
	dp->hot = NULL;
}

static struct pc_hot4 *set_of(const struct pc_dp *dp, const union hot_key *key)
{
	uint32_t sets = pc_dp_map_entries(PC_DP_HOT4, dp->table_sessions);

	return &dp->hot[pc_hot_set(key->word[0], key->word[1], pc_hot_shift_of(sets))];
}

/* The second word of a key is never zero: ports are not. It goes first and comes last. */
static uint64_t *word_at(struct pc_hot4 *set, unsigned int way, unsigned int word)
{
	return (uint64_t *)&set->key[way] + word;
}

/* Where @key lies; PC_HOT_WAYS: nowhere. */
static unsigned int way_of(struct pc_hot4 *set, const union hot_key *key)
{
	unsigned int way = 0;

	while (way < PC_HOT_WAYS && memcmp(&set->key[way], key, sizeof(*key)))
		way++;
	return way;
}

void pc_dp_hot_del(struct pc_dp *dp, enum pc_dp_map map, const void *key)
{
	union hot_key want;
	struct pc_hot4 *set;
	unsigned int way;

	if (map != PC_DP_FLOW4 || !dp->hot)
		return;
	memcpy(&want, key, sizeof(want));
	set = set_of(dp, &want);
	way = way_of(set, &want);
	if (way < PC_HOT_WAYS)
		__atomic_store_n(word_at(set, way, 1), 0, __ATOMIC_SEQ_CST);
}

void pc_dp_hot_set(struct pc_dp *dp, enum pc_dp_map map, const void *key, const void *flow)
{
	union hot_key want;
	struct pc_hot4 *set;
	unsigned int way;

	if (map != PC_DP_FLOW4 || !dp->hot)
		return;
	memcpy(&want, key, sizeof(want));
	set = set_of(dp, &want);
	way = way_of(set, &want);
	if (way < PC_HOT_WAYS && !memcmp(&set->flow[way], flow, sizeof(set->flow[way])))
		return;
	for (unsigned int i = 0; way == PC_HOT_WAYS && i < PC_HOT_WAYS; i++) {
		if (!*word_at(set, i, 1))
			way = i;
	}
	if (way == PC_HOT_WAYS)
		return;
	__atomic_store_n(word_at(set, way, 1), 0, __ATOMIC_SEQ_CST);
	memcpy(&set->flow[way], flow, sizeof(set->flow[way]));
	__atomic_store_n(word_at(set, way, 0), want.word[0], __ATOMIC_RELEASE);
	__atomic_store_n(word_at(set, way, 1), want.word[1], __ATOMIC_RELEASE);
}
