/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/siphash.h"
#include "lib/siphash.h"

static uint8_t key[16];
static uint8_t input[64];

static int set_up(void **state)
{
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (uint8_t)i;
	return 0;
}

/* Aumasson and Bernstein 2012, appendix A: key 00..0f, message 00..0e. */
static void test_published_vector(void **state)
{
	assert_true(pc_siphash24(key, input, 15) == 0xa129ca6149be45e5ull);
}

static void test_alignment_does_not_matter(void **state)
{
	uint8_t shifted[sizeof(input) + 1];

	memcpy(shifted + 1, input, sizeof(input));
	for (size_t len = 0; len <= sizeof(input); len++)
		assert_true(pc_siphash24(key, input, len) == pc_siphash24(key, shifted + 1, len));
}

static void test_every_bit_counts(void **state)
{
	uint8_t changed_key[16], changed[sizeof(input)];

	for (size_t len = 0; len <= sizeof(input); len++) {
		uint64_t h = pc_siphash24(key, input, len);

		for (size_t bit = 0; bit < 8 * len; bit++) {
			memcpy(changed, input, sizeof(input));
			changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_true(pc_siphash24(key, changed, len) != h);
		}
		for (size_t bit = 0; bit < 8 * sizeof(key); bit++) {
			memcpy(changed_key, key, sizeof(key));
			changed_key[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_true(pc_siphash24(changed_key, input, len) != h);
		}
	}
}

static void test_length_counts(void **state)
{
	static const uint8_t zeros[64];

	for (size_t a = 0; a < sizeof(zeros); a++)
		for (size_t b = a + 1; b < sizeof(zeros); b++)
			assert_true(pc_siphash24(key, zeros, a) != pc_siphash24(key, zeros, b));
}

/* The form for the kernel gives what the bytes give. */
static void test_words(void **state)
{
	uint64_t words[5];
	uint32_t third;

	memcpy(words, key, 16);
	memcpy(words + 2, input, 16);
	memcpy(&third, input + 16, 4);
	assert_true(pc_siphash24_20(words[0], words[1], words[2], words[3], third) ==
		    pc_siphash24(key, input, 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_vector),
		cmocka_unit_test(test_alignment_does_not_matter),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_length_counts),
		cmocka_unit_test(test_words),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
