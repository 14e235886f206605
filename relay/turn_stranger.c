/* SPDX-License-Identifier: MIT */
/*
 * A limit on answers to sources that proved nothing, per /32 or /64, in fixed memory. Each bucket
 * is a GCRA (ITU-T I.371): one time stamp. A flood from random sources pushes out the buckets with
 * the most credit first, so a source that is being reflected at keeps its debt.
 */
#include "relay/turn_int.h"

#include <string.h>

#include "base/siphash.h"

#define BURST_NS (2 * PC_NS_PER_S)

bool pc_turn_stranger_admit(struct pc_turn *t, const struct pc_ip *ip, uint64_t now)
{
	uint32_t rate = t->config.stranger_replies_per_s;
	struct pc_turn_stranger *set, *b;
	uint8_t key[9] = { ip->family };
	uint64_t tag, at;

	if (rate == 0)
		return true;
	memcpy(key + 1, ip->b, ip->family == 4 ? 4 : 8);
	tag = pc_siphash24(t->hash_key, key, sizeof(key));
	set = t->strangers[tag % TURN_STRANGER_SETS];
	b = &set[0];
	for (unsigned int i = 0; i < TURN_STRANGER_WAYS; i++) {
		if (set[i].tag == tag) {
			b = &set[i];
			break;
		}
		if (set[i].at_ns < b->at_ns)
			b = &set[i];
	}
	at = b->tag == tag && b->at_ns > now ? b->at_ns : now;
	at += PC_NS_PER_S / rate;
	if (at - now > BURST_NS)
		return false;
	b->tag = tag;
	b->at_ns = at;
	return true;
}
