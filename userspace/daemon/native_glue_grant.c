/* SPDX-License-Identifier: MIT */
/* Grants that peers show for their pipes: whether they are good here and now, and for how long. */
#include "account/grant.h"
#include "daemon/native_glue_int.h"

_Static_assert(PC_GRANT_LEN == PC_NATIVE_GRANT_LEN, "a message carries a whole grant");

static const uint16_t reason_of[PC_GRANT_VERDICTS] = {
	[PC_GRANT_MALFORMED] = PC_NATIVE_R_GRANT,   [PC_GRANT_FOREIGN] = PC_NATIVE_R_GRANT,
	[PC_GRANT_NO_CLOCK] = PC_NATIVE_R_NO_CLOCK, [PC_GRANT_EARLY] = PC_NATIVE_R_EARLY,
	[PC_GRANT_EXPIRED] = PC_NATIVE_R_EXPIRED,   [PC_GRANT_FORGED] = PC_NATIVE_R_GRANT,
};

static const char *text_of(enum pc_grant_verdict verdict)
{
	static const char *const texts[PC_GRANT_VERDICTS] = {
		[PC_GRANT_MALFORMED] = "malformed, or of an unknown version",
		[PC_GRANT_FOREIGN] = "it is for another relay, or of another payer",
		[PC_GRANT_NO_CLOCK] = "the clock of this host was never set, so grants cannot be "
				      "judged",
		[PC_GRANT_EARLY] = "it is not valid yet",
		[PC_GRANT_EXPIRED] = "it has run out",
		[PC_GRANT_FORGED] = "a signature is wrong",
	};

	return texts[verdict];
}

/* Seconds since 1970 as our own time; a grant without an end has one that is never reached. */
static uint64_t end_of(const struct pc_native_glue *g, uint64_t not_after_s)
{
	uint64_t realtime = pc_clock_realtime(), end;

	if (not_after_s >= UINT64_MAX / PC_NS_PER_S - 1)
		return UINT64_MAX;
	end = (not_after_s + 1) * PC_NS_PER_S;
	if (end <= realtime)
		return g->now;
	return end - realtime < UINT64_MAX - g->now ? g->now + (end - realtime) : UINT64_MAX;
}

uint16_t pc_native_grant_judge(void *ctx, struct pc_native_link *link, const uint8_t *grant,
			       uint64_t *ret_until_ns)
{
	struct pc_native_glue *g = ctx;
	const uint8_t *payer = pc_native_identity(link);
	enum pc_grant_verdict verdict;
	struct pc_grant terms;

	verdict = pc_grant_judge(grant, PC_NATIVE_GRANT_LEN, g->d->identity.public_key, payer,
				 pc_native_clock_s(), &terms);
	g->grants[verdict]++;
	if (verdict == PC_GRANT_GOOD) {
		*ret_until_ns = end_of(g, terms.not_after_s);
		return 0;
	}
	pc_log_limited(&g->grant_log, g->now, PC_LOG_WARNING, "a grant of peer %s is refused: %s",
		       pc_native_peer_name(g, payer), text_of(verdict));
	return reason_of[verdict];
}

void pc_native_grant_lapsed(void *ctx, const struct pc_hub_pipe *pipe)
{
	struct pc_native_glue *g = ctx;

	g->grants_ended++;
	pc_log_limited(&g->grant_log, g->now, PC_LOG_WARNING,
		       "a grant of peer %s has run out: its pipe ends",
		       pc_native_peer_name(g, pipe->ends[0].peer));
}
