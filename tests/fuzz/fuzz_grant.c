/* SPDX-License-Identifier: MIT */
/* A grant: what is read has one encoding, and no input is signed by keys nobody has. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "account/grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[PC_GRANT_STATEMENT_LEN], relay[32] = { 0 }, payer[32] = { 0 };
	struct pc_grant g, judged;
	enum pc_grant_verdict verdict;
	uint64_t now = size;

	if (pc_grant_parse(data, size, &g) == 0) {
		if (size != PC_GRANT_LEN || pc_grant_write(&g, again) < 0 ||
		    memcmp(again, data, sizeof(again)) != 0)
			abort();
		memcpy(relay, g.relay, sizeof(relay));
		memcpy(payer, g.payer, sizeof(payer));
		now = g.not_after_s;
	}
	verdict = pc_grant_judge(data, size, relay, payer, now, &judged);
	if (verdict == PC_GRANT_GOOD && pc_grant_verify(data) < 0)
		abort();
	return 0;
}
