/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/wire.h"

static void test_reads_big_endian(void **state)
{
	static const uint8_t in[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
				      0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0xff };
	struct pc_reader r;

	pc_reader_init(&r, in, sizeof(in));
	assert_int_equal(pc_read_u8(&r), 0x01);
	assert_int_equal(pc_read_u16(&r), 0x0203);
	assert_int_equal(pc_read_u32(&r), 0x04050607);
	assert_true(pc_read_u64(&r) == 0x08090a0b0c0d0e0full);
	assert_int_equal(pc_reader_left(&r), 1);
	assert_int_equal(pc_read_u8(&r), 0xff);
	assert_int_equal(pc_reader_left(&r), 0);
	assert_false(r.failed);
}

static void test_reader_error_sticks(void **state)
{
	static const uint8_t in[] = { 1, 2, 3 };
	uint8_t copy[2] = { 0xaa, 0xaa };
	struct pc_reader r;

	pc_reader_init(&r, in, sizeof(in));
	assert_int_equal(pc_read_u32(&r), 0);
	assert_true(r.failed);
	assert_int_equal(pc_reader_left(&r), 0);
	/* One byte would fit, yet nothing is read any more. */
	assert_int_equal(pc_read_u8(&r), 0);
	assert_null(pc_read_bytes(&r, 1));
	assert_null(pc_read_bytes(&r, 0));
	pc_read_copy(&r, copy, sizeof(copy));
	assert_int_equal(copy[0] | copy[1], 0);
}

static void test_reader_bounds(void **state)
{
	static const uint8_t in[] = { 1, 2, 3, 4 };
	uint8_t copy[2];
	struct pc_reader r;

	pc_reader_init(&r, in, sizeof(in));
	assert_ptr_equal(pc_read_bytes(&r, 0), in);
	pc_read_skip(&r, 1);
	pc_read_copy(&r, copy, 2);
	assert_memory_equal(copy, in + 1, 2);
	assert_ptr_equal(pc_read_bytes(&r, 1), in + 3);
	assert_false(r.failed);
	/* A length near SIZE_MAX must not wrap around. */
	pc_read_skip(&r, SIZE_MAX);
	assert_true(r.failed);

	pc_reader_init(&r, NULL, 0);
	assert_int_equal(pc_reader_left(&r), 0);
	pc_read_skip(&r, 0);
	assert_false(r.failed);
	assert_int_equal(pc_read_u8(&r), 0);
	assert_true(r.failed);
}

static void test_writes_big_endian(void **state)
{
	static const uint8_t want[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
					0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x61, 0x62, 0x00 };
	uint8_t out[sizeof(want) + 1];
	struct pc_writer w;

	memset(out, 0xee, sizeof(out));
	pc_writer_init(&w, out, sizeof(want));
	pc_write_u8(&w, 0x01);
	pc_write_u16(&w, 0x0203);
	pc_write_u32(&w, 0x04050607);
	pc_write_u64(&w, 0x08090a0b0c0d0e0full);
	pc_write_bytes(&w, "ab", 2);
	pc_write_zero(&w, 1);
	assert_false(w.failed);
	assert_int_equal(w.len, sizeof(want));
	assert_memory_equal(out, want, sizeof(want));

	pc_write_u8(&w, 0x77);
	assert_true(w.failed);
	assert_int_equal(w.len, sizeof(want));
	assert_int_equal(out[sizeof(want)], 0xee);
}

static void test_writer_error_sticks(void **state)
{
	uint8_t out[3] = { 9, 9, 9 };
	struct pc_writer w;

	pc_writer_init(&w, out, sizeof(out));
	pc_write_u32(&w, 0x01020304);
	assert_true(w.failed);
	pc_write_u8(&w, 1);
	pc_write_bytes(&w, "a", 1);
	pc_write_zero(&w, 1);
	assert_int_equal(w.len, 0);
	assert_int_equal(out[0], 9);

	pc_writer_init(&w, out, sizeof(out));
	pc_write_u8(&w, 1);
	pc_write_zero(&w, SIZE_MAX);
	assert_true(w.failed);
	assert_int_equal(out[1], 9);
}

static void test_patch(void **state)
{
	static const uint8_t want[] = { 1, 0xab, 0xcd, 4 };
	uint8_t out[8] = { 0 };
	struct pc_writer w;

	pc_writer_init(&w, out, sizeof(out));
	pc_write_u32(&w, 0x01020304);
	pc_write_patch_u16(&w, 1, 0xabcd);
	assert_false(w.failed);
	assert_int_equal(w.len, 4);
	assert_memory_equal(out, want, sizeof(want));
	pc_write_patch_u16(&w, 2, 0xabcd);
	assert_false(w.failed);
	/* Only what was written may be patched. */
	pc_write_patch_u16(&w, 3, 0x1111);
	assert_true(w.failed);
	assert_int_equal(out[4], 0);

	w.failed = false;
	pc_write_patch_u16(&w, SIZE_MAX, 0x1111);
	assert_true(w.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_big_endian),
		cmocka_unit_test(test_reader_error_sticks),
		cmocka_unit_test(test_reader_bounds),
		cmocka_unit_test(test_writes_big_endian),
		cmocka_unit_test(test_writer_error_sticks),
		cmocka_unit_test(test_patch),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
