/* SPDX-License-Identifier: MIT */
/*
 * Each bucket is a GCRA (ITU-T I.371): one time stamp, the theoretical arrival time. A flood from
 * random sources pushes out the buckets with the most credit first, so a source that is being
 * reflected at keeps its debt.
 */
#include "relay/stranger.h"

#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/siphash.h"

#define BURST_NS (2 * PC_NS_PER_S)
/* The wider prefix may have as many answers as this many addresses. */
#define WIDE 16

struct charge {
	struct pc_stranger_bucket *bucket;
	uint64_t tag, at_ns;
};

/* False when the prefix of the first @len bytes of @ip is over @rate. Changes nothing. */
static bool weigh(struct pc_strangers *s, const struct pc_ip *ip, size_t len, uint32_t rate,
		  uint64_t now, struct charge *ret_charge)
{
	uint8_t key[10] = { ip->family, (uint8_t)len };
	struct pc_stranger_bucket *set, *b;
	uint64_t tag, at;

	memcpy(key + 2, ip->b, len);
	tag = pc_siphash24(s->hash_key, key, sizeof(key));
	set = s->buckets[tag % PC_STRANGER_SETS];
	b = &set[0];
	for (unsigned int i = 0; i < PC_STRANGER_WAYS; i++) {
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
	*ret_charge = (struct charge){ b, tag, at };
	return true;
}

static void take(const struct charge *c)
{
	c->bucket->tag = c->tag;
	c->bucket->at_ns = c->at_ns;
}

bool pc_stranger_admit(struct pc_strangers *s, const struct pc_ip *ip, uint32_t rate, uint64_t now)
{
	struct charge narrow, wide;

	if (rate == 0)
		return true;
	if (!weigh(s, ip, ip->family == 4 ? 4 : 8, rate, now, &narrow) ||
	    !weigh(s, ip, ip->family == 4 ? 3 : 6, WIDE * rate, now, &wide))
		return false;
	take(&wide);
	take(&narrow);
	return true;
}
