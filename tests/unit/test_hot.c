/* SPDX-License-Identifier: MIT */
/* Where flows lie in the faster tables: neighbours do not crowd into few sets. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/hot.h"

#define SESSIONS 16384
#define FLOWS	 (2 * SESSIONS)
#define SERVER	 0xc6336401u

static uint8_t taken[FLOWS / 2];

static uint64_t pair(uint32_t low, uint32_t high)
{
	return (uint64_t)high << 32 | low;
}

/* As they lie in a packet: source and destination port, channel. */
static uint64_t tail(uint16_t sport, uint16_t dport, uint16_t channel)
{
	return htons(sport) | (uint64_t)htons(dport) << 16 | (uint64_t)htons(channel) << 32;
}

/* Whether set @set had room. */
static bool take(uint64_t set, uint32_t sets)
{
	assert_true(set < sets);
	return taken[set]++ < PC_HOT_WAYS;
}

/*
 * How many of a thousand flows found no place in a table that they fill by half. Chance alone: 36.
 * @step: from one client's address to the next.
 */
static unsigned int homeless(uint32_t step, bool six)
{
	uint32_t sets = pc_hot_sets(2 * FLOWS), shift = pc_hot_shift_of(sets), none = 0;

	assert_true(sets * PC_HOT_WAYS == 2 * FLOWS && sets <= sizeof(taken));
	memset(taken, 0, sizeof(taken));
	for (uint32_t i = 0; i < SESSIONS; i++) {
		uint32_t client = htonl(0x0a000000 + i * step), peer = htonl(0x0b000000 + i * step);
		uint64_t up = tail(40000, 3478, 0x4abc);
		uint64_t down = tail(7000, (uint16_t)(4000 + i), 0);
		uint64_t site = htonl(0x20010db8);
		uint64_t out[4] = { site, pair(0, client), site, pair(0, htonl(SERVER)) };
		uint64_t back[4] = { site, pair(peer, 0), site, pair(0, htonl(SERVER)) };

		if (six) {
			none += !take(pc_hot_set6((const __u64 *)out, up, shift), sets);
			none += !take(pc_hot_set6((const __u64 *)back, down, shift), sets);
		} else {
			none += !take(pc_hot_set(pair(client, htonl(SERVER)), up, shift), sets);
			none += !take(pc_hot_set(pair(peer, htonl(SERVER)), down, shift), sets);
		}
	}
	return none * 1000 / FLOWS;
}

static void test_neighbours(void **state)
{
	static const uint32_t steps[] = { 1, 2, 3, 16, 64, 256, 257, 1024 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		for (int six = 0; six < 2; six++) {
			unsigned int none = homeless(steps[i], six);

			if (none > 50)
				fail_msg("IPv%d, every %u. address: %u of 1000 flows without a "
					 "place",
					 six ? 6 : 4, steps[i], none);
		}
	}
}

/* One client, every port and every channel. */
static void test_one_client(void **state)
{
	uint32_t sets = pc_hot_sets(2 * FLOWS), shift = pc_hot_shift_of(sets), none = 0;
	uint64_t addrs = pair(htonl(0x0a000001), htonl(SERVER));

	memset(taken, 0, sizeof(taken));
	for (uint32_t i = 0; i < SESSIONS; i++) {
		none += !take(pc_hot_set(addrs, tail(40000, 3478, (uint16_t)(0x4000 + i)), shift),
			      sets);
		none += !take(pc_hot_set(addrs, tail((uint16_t)(1024 + i), 3478, 0x4000), shift),
			      sets);
	}
	assert_in_range(none, 0, FLOWS / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_one_client),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
