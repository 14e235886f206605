/* SPDX-License-Identifier: MIT */
#include "qos/meter.h"
#include "qos/share.h"

#define MS	1000000ull
#define TIME_NS (40 * MS)
/*
 * For how long who met its limit may go on without doing so, and with less than half of it. A TCP
 * sender halves its rate and comes back; what it saves meanwhile serves it when it does.
 */
#define HUNGRY_NS (1000 * MS)
#define HALF_NS	  (300 * MS)
#define IDLE_BPS  1000u
#define TALK_BPS  64000u /* the least demand of who says anything */
#define KEEP_MOST UINT64_C(400000000000)

uint64_t pc_meter_tick(struct pc_meter *meter, const struct pc_meter_sample *sample, uint64_t now)
{
	uint64_t elapsed = sample->elapsed_ns ? sample->elapsed_ns : 1;
	double bps = (double)sample->bytes * 8e9 / (double)elapsed;
	double part = (double)elapsed / (double)(elapsed + TIME_NS);
	double ceiling = (double)sample->ceiling_bps;

	bps = (double)meter->bps + (bps - (double)meter->bps) * part;
	meter->bps = bps > (double)KEEP_MOST ? KEEP_MOST : (uint64_t)bps;
	if (sample->limited || (ceiling > 0 && bps > ceiling * 0.9))
		meter->hungry_until = now + HUNGRY_NS;
	else if (bps < ceiling * 0.25)
		meter->hungry_until = 0;
	else if (bps < ceiling * 0.5 && meter->hungry_until > now + HALF_NS)
		meter->hungry_until = now + HALF_NS;
	if (now < meter->hungry_until)
		meter->demand_bps = PC_SHARE_HUNGRY;
	else if (meter->bps < IDLE_BPS)
		meter->demand_bps = 0;
	else
		meter->demand_bps = meter->bps + meter->bps / 4 + TALK_BPS;
	return meter->demand_bps;
}
