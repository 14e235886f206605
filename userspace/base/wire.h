/* SPDX-License-Identifier: MIT */
/*
 * Bounded reader and writer for wire formats. Big-endian. After the first access outside the
 * buffer every further one fails too (sticky error): check once at the end.
 */
#ifndef PC_BASE_WIRE_H
#define PC_BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_reader {
	const uint8_t *data;
	size_t len;
	size_t pos;
	bool failed;
};

void pc_reader_init(struct pc_reader *r, const void *data, size_t len);
size_t pc_reader_left(const struct pc_reader *r); /* 0 after a failure */
/* Each returns 0 or NULL and sets `failed` when too little is left. */
uint8_t pc_read_u8(struct pc_reader *r);
uint16_t pc_read_u16(struct pc_reader *r);
uint32_t pc_read_u32(struct pc_reader *r);
uint64_t pc_read_u64(struct pc_reader *r);
const uint8_t *pc_read_bytes(struct pc_reader *r, size_t n); /* points into the input */
void pc_read_copy(struct pc_reader *r, void *dst, size_t n); /* zeroes dst on failure */
void pc_read_skip(struct pc_reader *r, size_t n);

struct pc_writer {
	uint8_t *data;
	size_t size;
	size_t len;
	bool failed;
};

void pc_writer_init(struct pc_writer *w, void *data, size_t size);
void pc_write_u8(struct pc_writer *w, uint8_t v);
void pc_write_u16(struct pc_writer *w, uint16_t v);
void pc_write_u32(struct pc_writer *w, uint32_t v);
void pc_write_u64(struct pc_writer *w, uint64_t v);
void pc_write_bytes(struct pc_writer *w, const void *src, size_t n);
void pc_write_zero(struct pc_writer *w, size_t n);
/* Overwrites two bytes already written at @pos (for lengths); fails when pos + 2 > len. */
void pc_write_patch_u16(struct pc_writer *w, size_t pos, uint16_t v);

#endif
