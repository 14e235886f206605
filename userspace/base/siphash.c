/* SPDX-License-Identifier: MIT */
#include "base/siphash.h"

#include "lib/siphash.h"

static uint64_t load_le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint64_t pc_siphash24(const uint8_t key[static 16], const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t left = len;
	struct pc_sip s;

	pc_sip_init(&s, load_le(key, 8), load_le(key + 8, 8));
	for (; left >= 8; left -= 8, p += 8)
		pc_sip_word(&s, load_le(p, 8));
	return pc_sip_end(&s, load_le(p, left), len);
}
