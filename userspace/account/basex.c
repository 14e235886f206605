/* SPDX-License-Identifier: MIT */
#include "account/basex.h"

#include <string.h>

#include "base/err.h"

/* Enough digits for PC_BASEX_MAX bytes in the smallest base used: log(256) / log(36) < 1.6. */
#define MAX_DIGITS (PC_BASEX_MAX * 8 / 5 + 1)

const char pc_base58btc[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const char pc_base36[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/*
 * Multiplies the number in @digits (little-endian, base @to) by @mul and adds @add; @n digits are
 * in use. Returns how many are then, or SIZE_MAX when @max are not enough.
 */
static size_t mul_add(uint8_t *digits, size_t n, size_t max, unsigned int to, unsigned int mul,
		      unsigned int add)
{
	unsigned int carry = add;

	for (size_t i = 0; i < n; i++) {
		carry += digits[i] * mul;
		digits[i] = (uint8_t)(carry % to);
		carry /= to;
	}
	for (; carry; carry /= to) {
		if (n == max)
			return SIZE_MAX;
		digits[n++] = (uint8_t)(carry % to);
	}
	return n;
}

int pc_basex_encode(const char *alphabet, const void *data, size_t len, char *ret_text, size_t size)
{
	const unsigned int base = (unsigned int)strlen(alphabet);
	const uint8_t *bytes = data;
	uint8_t digits[MAX_DIGITS];
	size_t n = 0, zeros = 0;

	if (len > PC_BASEX_MAX)
		return PC_ERR_RANGE;
	while (zeros < len && bytes[zeros] == 0)
		zeros++;
	for (size_t i = zeros; i < len; i++) {
		n = mul_add(digits, n, sizeof(digits), base, 256, bytes[i]);
		if (n == SIZE_MAX)
			return PC_ERR_RANGE;
	}
	if (zeros + n + 1 > size)
		return PC_ERR_RANGE;
	memset(ret_text, alphabet[0], zeros);
	for (size_t i = 0; i < n; i++)
		ret_text[zeros + i] = alphabet[digits[n - 1 - i]];
	ret_text[zeros + n] = '\0';
	return 0;
}

int pc_basex_decode(const char *alphabet, const char *text, size_t text_len, void *ret_data,
		    size_t len)
{
	const unsigned int base = (unsigned int)strlen(alphabet);
	uint8_t digits[PC_BASEX_MAX];
	uint8_t *out = ret_data;
	size_t n = 0, zeros = 0;

	if (len > PC_BASEX_MAX)
		return PC_ERR_MALFORMED;
	while (zeros < text_len && text[zeros] == alphabet[0])
		zeros++;
	for (size_t i = zeros; i < text_len; i++) {
		const char *found = text[i] ? strchr(alphabet, text[i]) : NULL;

		if (!found)
			return PC_ERR_MALFORMED;
		n = mul_add(digits, n, len, 256, base, (unsigned int)(found - alphabet));
		if (n == SIZE_MAX)
			return PC_ERR_MALFORMED;
	}
	/* Exactly as many zero bytes as leading characters: one valid text for each value. */
	if (zeros > len || zeros + n != len)
		return PC_ERR_MALFORMED;
	memset(out, 0, zeros);
	for (size_t i = 0; i < n; i++)
		out[zeros + i] = digits[n - 1 - i];
	return 0;
}
