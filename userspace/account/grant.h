/* SPDX-License-Identifier: MIT */
/*
 * A grant: what an issuer and a payer agree on that the payer may use of one relay, and for how
 * long. A statement of 208 bytes, then both signatures. Big-endian, one valid encoding:
 *
 * magic "PCG1" 4 | version 1 (1) | tier 1 | flags 2 (0) | issuer key 32 | relay key 32 | payer key
 * 32 | receipt key 32 | allocation id 16 | not before 8 | not after 8 | limit of bytes 8 | window
 * floor KiB 4 | window max KiB 4 | price in 1e-9 units per GiB 8 | currency 8 | weight up 2 |
 * weight down 2 (per mille) | free rate KiB/s 4 | signature of the issuer 64 | of the payer 64
 *
 * Both sign "pcloud/grant/1" and the statement. Times are seconds since 1970, both inclusive.
 */
#ifndef PC_ACCOUNT_GRANT_H
#define PC_ACCOUNT_GRANT_H

#include <stddef.h>
#include <stdint.h>

#include "account/identity.h"

#define PC_GRANT_STATEMENT_LEN 208
#define PC_GRANT_LEN	       336
#define PC_GRANT_CURRENCY_LEN  8
#define PC_GRANT_ALLOCATION    16

enum pc_grant_tier { PC_GRANT_FREE = 0, PC_GRANT_PAID = 1, PC_GRANT_TIERS };

struct pc_grant {
	enum pc_grant_tier tier;
	uint8_t issuer[32], relay[32], payer[32], receipt[32]; /* Ed25519 keys */
	uint8_t allocation[PC_GRANT_ALLOCATION];
	uint64_t not_before_s, not_after_s; /* in this order */
	uint64_t limit_bytes;
	uint32_t window_floor_kib, window_max_kib; /* in this order */
	uint64_t price;				   /* 1e-9 units of the currency per GiB */
	char currency[PC_GRANT_CURRENCY_LEN + 1];  /* of A-Z and 0-9; empty only without a price */
	uint16_t weight_up, weight_down;	   /* per mille */
	uint32_t free_rate_kib;
};

/* The statement alone, to be signed elsewhere. 0 or PC_ERR_RANGE: not one that could be read. */
int pc_grant_write(const struct pc_grant *g, uint8_t ret_statement[static PC_GRANT_STATEMENT_LEN]);
/* Signs for both. Both are named in it. 0, PC_ERR_RANGE or PC_ERR_UNSUPPORTED. */
int pc_grant_make(const struct pc_grant *g, const struct pc_identity *issuer,
		  const struct pc_identity *payer, uint8_t ret_grant[static PC_GRANT_LEN]);
/* The statement; signatures are not looked at. 0, PC_ERR_MALFORMED or PC_ERR_VERSION. */
int pc_grant_parse(const void *data, size_t len, struct pc_grant *ret_grant);
/* The signatures of what pc_grant_parse took. 0, PC_ERR_AUTH or PC_ERR_UNSUPPORTED. */
int pc_grant_verify(const uint8_t data[static PC_GRANT_LEN]);

enum pc_grant_verdict {
	PC_GRANT_GOOD,
	PC_GRANT_MALFORMED, /* or of a version that is not known */
	PC_GRANT_FOREIGN,   /* for another relay, or of another payer */
	PC_GRANT_NO_CLOCK,  /* the time is not known, so nobody can tell */
	PC_GRANT_EARLY,	    /* not valid yet */
	PC_GRANT_EXPIRED,
	PC_GRANT_FORGED, /* a signature is wrong */
	PC_GRANT_VERDICTS
};

/*
 * What the relay @relay makes of a grant that @payer shows at @now_s (0: there is no clock). The
 * curve comes last: it is the dear part. @ret_grant only with PC_GRANT_GOOD.
 */
enum pc_grant_verdict pc_grant_judge(const void *data, size_t len, const uint8_t relay[static 32],
				     const uint8_t payer[static 32], uint64_t now_s,
				     struct pc_grant *ret_grant);
/* As counters call it: "good", "malformed"... */
const char *pc_grant_verdict_name(enum pc_grant_verdict verdict);

#endif
