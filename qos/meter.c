/* SPDX-License-Identifier: MIT */
#include "qos/meter.h"
#include "qos/share.h"

#define MS	1000000ull
#define TIME_NS (40 * MS)
/*
 * Who sends nothing for so long has stopped; until then it may be a window that waits for its
 * answers, or a machine or link that stands still. A look that comes late counts for half of it at
 * most: then it may have been our own.
 */
#define STOP_NS (150 * MS)
/*
 * For how long who met its limit may go on without doing so, and with less than half of it. A TCP
 * sender halves its rate and comes back; what it saves meanwhile serves it when it does.
 */
#define HUNGRY_NS (1000 * MS)
#define HALF_NS	  (300 * MS)
#define IDLE_BPS  1000u
#define TALK_BPS  64000u /* the least demand of who says anything */
#define KEEP_MOST UINT64_C(400000000000)

static void update(struct pc_meter *meter, const struct pc_meter_sample *sample)
{
	uint64_t elapsed = sample->elapsed_ns ? sample->elapsed_ns : 1;
	double bps = (double)sample->bytes * 8e9 / (double)elapsed;
	double part = (double)elapsed / (double)(elapsed + TIME_NS);

	bps = (double)meter->bps + (bps - (double)meter->bps) * part;
	meter->bps = bps > (double)KEEP_MOST ? KEEP_MOST : (uint64_t)bps;
	if (meter->bps >= meter->top_bps - meter->top_bps / 8)
		meter->top_age_ns = 0;
	else
		meter->top_age_ns += elapsed < STOP_NS / 2 ? elapsed : STOP_NS / 2;
	if (meter->bps > meter->top_bps || meter->top_age_ns >= STOP_NS)
		meter->top_bps = meter->bps;
}

uint64_t pc_meter_tick(struct pc_meter *meter, const struct pc_meter_sample *sample, uint64_t now)
{
	double ceiling = (double)sample->ceiling_bps, top;

	update(meter, sample);
	top = (double)meter->top_bps;
	if (sample->limited)
		meter->hungry_until = now + HUNGRY_NS;
	else if (top < ceiling * 0.25)
		meter->hungry_until = 0;
	else if (top < ceiling * 0.5 && meter->hungry_until > now + HALF_NS)
		meter->hungry_until = now + HALF_NS;
	if (now < meter->hungry_until)
		return PC_SHARE_HUNGRY;
	return top < IDLE_BPS ? 0 : meter->top_bps + meter->top_bps / 4 + TALK_BPS;
}
