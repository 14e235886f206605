/* SPDX-License-Identifier: MIT */
#include "base/parse.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits from *@p on; moves *@p behind them. */
static int parse_digits(const char **p, uint64_t *ret_value)
{
	uint64_t value = 0;
	bool overflow = false;

	if (!is_digit(**p))
		return PC_ERR_MALFORMED;
	for (; is_digit(**p); (*p)++) {
		overflow |= __builtin_mul_overflow(value, 10, &value);
		overflow |= __builtin_add_overflow(value, (uint64_t)(**p - '0'), &value);
	}
	if (overflow)
		return PC_ERR_RANGE;
	*ret_value = value;
	return 0;
}

int pc_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	int r;

	r = parse_digits(&text, &value);
	if (*text)
		return PC_ERR_MALFORMED;
	if (r < 0)
		return r;
	if (value < min || value > max)
		return PC_ERR_RANGE;
	*ret_value = value;
	return 0;
}

/* "", K, M, G, T and Ki, Mi, Gi, Ti; the text ends there. */
static int parse_unit(const char *text, uint64_t *ret_unit)
{
	static const char letters[] = "KMGT";
	const char *letter;
	uint64_t base = 1000, unit = 1;

	if (*text) {
		letter = strchr(letters, *text++);
		if (!letter)
			return PC_ERR_MALFORMED;
		if (*text == 'i') {
			base = 1024;
			text++;
		}
		for (ptrdiff_t i = 0; i <= letter - letters; i++)
			unit *= base;
	}
	if (*text)
		return PC_ERR_MALFORMED;
	*ret_unit = unit;
	return 0;
}

int pc_parse_size(const char *text, uint64_t *ret_value)
{
	uint64_t whole, unit, fraction = 0, scale = 1;
	unsigned __int128 value;
	bool has_fraction;
	int r;

	r = parse_digits(&text, &whole);
	if (r < 0)
		return r;
	has_fraction = *text == '.';
	if (has_fraction) {
		const char *start = ++text;

		r = parse_digits(&text, &fraction);
		if (r < 0)
			return r;
		/* 19 digits overflow no 64 bits, and their power of ten neither. */
		if (text - start > 19)
			return PC_ERR_RANGE;
		for (; start < text; start++)
			scale *= 10;
	}
	r = parse_unit(text, &unit);
	if (r < 0)
		return r;
	/* There is no half of a byte. */
	if (has_fraction && unit == 1)
		return PC_ERR_MALFORMED;
	value = (unsigned __int128)whole * unit + (unsigned __int128)fraction * unit / scale;
	if (value > UINT64_MAX)
		return PC_ERR_RANGE;
	*ret_value = (uint64_t)value;
	return 0;
}

int pc_parse_port_range(const char *text, uint16_t *ret_low, uint16_t *ret_high)
{
	uint64_t low, high;
	int r;

	r = parse_digits(&text, &low);
	if (r < 0)
		return r;
	if (*text++ != '-')
		return PC_ERR_MALFORMED;
	r = pc_parse_u64(text, 1, UINT16_MAX, &high);
	if (r < 0)
		return r;
	if (low < 1 || low > high)
		return PC_ERR_RANGE;
	*ret_low = (uint16_t)low;
	*ret_high = (uint16_t)high;
	return 0;
}

int pc_parse_bool(const char *text, bool *ret_value)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (size_t i = 0; i < PC_ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret_value = i % 2;
			return 0;
		}
	}
	return PC_ERR_MALFORMED;
}

bool pc_name_valid(const char *name)
{
	static const char first[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	static const char further[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		"._@-";
	size_t len = strspn(name, further);

	return len >= 1 && len <= 63 && name[len] == '\0' && strchr(first, name[0]);
}

/* Cuts the zeros (and the point) a fraction ends with. */
static void trim_fraction(char *text)
{
	size_t n = strlen(text);

	if (!strchr(text, '.'))
		return;
	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[n - 1] = '\0';
}

const char *pc_format_si(double value, char buf[static 16])
{
	static const char *const units[] = { "", " k", " M", " G", " T", " P", " E" };
	size_t unit = 0;
	double size = fabs(value);
	char digits[12];
	int decimals;

	/* 999.5 and more would round to four digits before the point. */
	while (size >= 999.5 && unit + 1 < PC_ARRAY_SIZE(units)) {
		size /= 1000;
		unit++;
	}
	if (!(size < 999.5)) {
		snprintf(buf, 16, "%.3g", value);
		return buf;
	}
	decimals = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
	snprintf(digits, sizeof(digits), "%.*f", decimals, size);
	trim_fraction(digits);
	snprintf(buf, 16, "%s%.9s%s", value < 0 ? "-" : "", digits, units[unit]);
	return buf;
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int pc_parse_hex(const char *text, void *ret, unsigned long n)
{
	uint8_t *out = ret;

	/* Checked before the first byte is written: untouched on failure. */
	for (unsigned long i = 0; i < 2 * n; i++)
		if (hex_value(text[i]) < 0)
			return PC_ERR_MALFORMED;
	if (text[2 * n])
		return PC_ERR_MALFORMED;
	for (unsigned long i = 0; i < n; i++)
		out[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
	return 0;
}

void pc_format_hex(const void *data, unsigned long n, char *ret)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (unsigned long i = 0; i < n; i++) {
		*ret++ = hex[p[i] >> 4];
		*ret++ = hex[p[i] & 15];
	}
	*ret = '\0';
}
