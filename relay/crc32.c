/* SPDX-License-Identifier: MIT */
#include "relay/stun.h"

#include <string.h>

/*
 * CRC-32 is linear: the table entry of a byte is the XOR of the entries of its bits. So eight
 * numbers say all of a table, and the compiler writes out the rest. Table k is for bytes that are
 * followed by k more in the same step of four.
 */
#define BIT(i, n, v) (((i) >> (n)) & 1 ? (v) : 0u)
#define T0(i)                                                                       \
	(BIT(i, 0, 0x77073096u) ^ BIT(i, 1, 0xee0e612cu) ^ BIT(i, 2, 0x076dc419u) ^ \
	 BIT(i, 3, 0x0edb8832u) ^ BIT(i, 4, 0x1db71064u) ^ BIT(i, 5, 0x3b6e20c8u) ^ \
	 BIT(i, 6, 0x76dc4190u) ^ BIT(i, 7, 0xedb88320u))
#define T1(i)                                                                       \
	(BIT(i, 0, 0x191b3141u) ^ BIT(i, 1, 0x32366282u) ^ BIT(i, 2, 0x646cc504u) ^ \
	 BIT(i, 3, 0xc8d98a08u) ^ BIT(i, 4, 0x4ac21251u) ^ BIT(i, 5, 0x958424a2u) ^ \
	 BIT(i, 6, 0xf0794f05u) ^ BIT(i, 7, 0x3b83984bu))
#define T2(i)                                                                       \
	(BIT(i, 0, 0x01c26a37u) ^ BIT(i, 1, 0x0384d46eu) ^ BIT(i, 2, 0x0709a8dcu) ^ \
	 BIT(i, 3, 0x0e1351b8u) ^ BIT(i, 4, 0x1c26a370u) ^ BIT(i, 5, 0x384d46e0u) ^ \
	 BIT(i, 6, 0x709a8dc0u) ^ BIT(i, 7, 0xe1351b80u))
#define T3(i)                                                                       \
	(BIT(i, 0, 0xb8bc6765u) ^ BIT(i, 1, 0xaa09c88bu) ^ BIT(i, 2, 0x8f629757u) ^ \
	 BIT(i, 3, 0xc5b428efu) ^ BIT(i, 4, 0x5019579fu) ^ BIT(i, 5, 0xa032af3eu) ^ \
	 BIT(i, 6, 0x9b14583du) ^ BIT(i, 7, 0xed59b63bu))

#define FOUR(T, i)    T(i), T((i) + 1), T((i) + 2), T((i) + 3)
#define SIXTEEN(T, i) FOUR(T, i), FOUR(T, (i) + 4), FOUR(T, (i) + 8), FOUR(T, (i) + 12)
#define QUARTER(T, i) \
	SIXTEEN(T, i), SIXTEEN(T, (i) + 16), SIXTEEN(T, (i) + 32), SIXTEEN(T, (i) + 48)
#define TABLE(T)                                                                \
	{                                                                       \
		QUARTER(T, 0), QUARTER(T, 64), QUARTER(T, 128), QUARTER(T, 192) \
	}

static const uint32_t table[4][256] = { TABLE(T0), TABLE(T1), TABLE(T2), TABLE(T3) };

uint32_t pc_stun_crc32(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = 0xffffffffu;

	for (; len >= 4; p += 4, len -= 4) {
		crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		       (uint32_t)p[3] << 24;
		crc = table[3][crc & 0xff] ^ table[2][crc >> 8 & 0xff] ^
		      table[1][crc >> 16 & 0xff] ^ table[0][crc >> 24];
	}
	for (; len; p++, len--)
		crc = table[0][(crc ^ *p) & 0xff] ^ crc >> 8;
	return ~crc;
}
