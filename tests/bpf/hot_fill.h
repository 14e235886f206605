/* SPDX-License-Identifier: MIT */
/* Copies of flows in pc4_hot4 and pc4_hot6, where the daemon would put them, for test rigs. */
#ifndef PC_TESTS_HOT_FILL_H
#define PC_TESTS_HOT_FILL_H

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/hot.h"

#define HOT_FILL_SHIFT pc_hot_shift_of(PC_HOT_SETS_MIN)

static inline int hot_fill4(int fd, const struct pc_flow4_key *key, const struct pc_flow *flow)
{
	struct pc_hot4 hot;
	uint64_t words[2];
	uint32_t set;

	memcpy(words, key, sizeof(words));
	set = (uint32_t)pc_hot_set(words[0], words[1], HOT_FILL_SHIFT);
	if (bpf_map_lookup_elem(fd, &set, &hot))
		return -errno;
	for (int way = 0; way < PC_HOT_WAYS; way++) {
		if (hot.key[way].saddr && memcmp(&hot.key[way], key, sizeof(*key)))
			continue;
		hot.key[way] = *key;
		hot.flow[way] = *flow;
		break;
	}
	return bpf_map_update_elem(fd, &set, &hot, BPF_ANY) ? -errno : 0;
}

static inline int hot_fill6(int fd, const struct pc_flow6_key *key, const struct pc_flow *flow)
{
	struct pc_hot6 hot;
	__u64 words[5];
	uint32_t set;

	memcpy(words, key, sizeof(words));
	set = (uint32_t)pc_hot_set6(words, words[4], HOT_FILL_SHIFT);
	if (bpf_map_lookup_elem(fd, &set, &hot))
		return -errno;
	for (int way = 0; way < PC_HOT_WAYS; way++) {
		if (hot.tail[way] && hot.tail[way] != PC_HOT_KNOWN &&
		    (hot.tail[way] != words[4] ||
		     memcmp(hot.addrs[way], key, sizeof(hot.addrs[way]))))
			continue;
		hot.tail[way] = words[4];
		memcpy(hot.addrs[way], key, sizeof(hot.addrs[way]));
		hot.flow[way] = *flow;
		break;
	}
	return bpf_map_update_elem(fd, &set, &hot, BPF_ANY) ? -errno : 0;
}

/* Permissions, which lie there as flows, if at all. */
static inline int hot_fill_perm4(int fd, const struct pc_perm4_key *key, const struct pc_perm *perm)
{
	struct pc_flow4_key at;
	struct pc_flow flow;

	return pc_hot_perm4(key, perm, &at, &flow) ? hot_fill4(fd, &at, &flow) : 0;
}

static inline int hot_fill_perm6(int fd, const struct pc_perm6_key *key, const struct pc_perm *perm)
{
	struct pc_flow6_key at;
	struct pc_flow flow;

	return pc_hot_perm6(key, perm, &at, &flow) ? hot_fill6(fd, &at, &flow) : 0;
}

/* Marks the free places of one set: all of its flows lie in it. */
static inline int hot_fill_known(int fd, uint32_t set, bool six)
{
	struct pc_hot4 hot4;
	struct pc_hot6 hot6;
	void *hot = six ? (void *)&hot6 : (void *)&hot4;
	uint64_t tail;

	if (bpf_map_lookup_elem(fd, &set, hot))
		return -errno;
	for (int way = 0; way < PC_HOT_WAYS; way++) {
		void *at = six ? (void *)&hot6.tail[way] : (void *)&hot4.key[way].sport;

		memcpy(&tail, at, sizeof(tail));
		if (!tail)
			memset(at, 0xff, sizeof(tail));
	}
	return bpf_map_update_elem(fd, &set, hot, BPF_ANY) ? -errno : 0;
}

#endif
