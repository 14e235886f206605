/* SPDX-License-Identifier: MIT */
#include "base/wire.h"

#include <string.h>

void pc_reader_init(struct pc_reader *r, const void *data, size_t len)
{
	*r = (struct pc_reader){ .data = data, .len = len };
}

size_t pc_reader_left(const struct pc_reader *r)
{
	return r->failed ? 0 : r->len - r->pos;
}

const uint8_t *pc_read_bytes(struct pc_reader *r, size_t n)
{
	const uint8_t *p;

	if (r->failed || n > r->len - r->pos) {
		r->failed = true;
		return NULL;
	}
	p = r->data + r->pos;
	r->pos += n;
	return p;
}

static uint64_t read_be(struct pc_reader *r, size_t n)
{
	const uint8_t *p = pc_read_bytes(r, n);
	uint64_t v = 0;

	if (!p)
		return 0;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

uint8_t pc_read_u8(struct pc_reader *r)
{
	return (uint8_t)read_be(r, 1);
}

uint16_t pc_read_u16(struct pc_reader *r)
{
	return (uint16_t)read_be(r, 2);
}

uint32_t pc_read_u32(struct pc_reader *r)
{
	return (uint32_t)read_be(r, 4);
}

uint64_t pc_read_u64(struct pc_reader *r)
{
	return read_be(r, 8);
}

void pc_read_copy(struct pc_reader *r, void *dst, size_t n)
{
	const uint8_t *p = pc_read_bytes(r, n);

	if (n == 0)
		return;
	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

void pc_read_skip(struct pc_reader *r, size_t n)
{
	pc_read_bytes(r, n);
}

void pc_writer_init(struct pc_writer *w, void *data, size_t size)
{
	*w = (struct pc_writer){ .data = data, .size = size };
}

/* Room for @n bytes, or NULL and the sticky error. */
static uint8_t *reserve(struct pc_writer *w, size_t n)
{
	uint8_t *p;

	if (w->failed || n > w->size - w->len) {
		w->failed = true;
		return NULL;
	}
	p = w->data + w->len;
	w->len += n;
	return p;
}

static void put_be(uint8_t *p, uint64_t v, size_t n)
{
	while (n > 0) {
		p[--n] = (uint8_t)v;
		v >>= 8;
	}
}

static void write_be(struct pc_writer *w, uint64_t v, size_t n)
{
	uint8_t *p = reserve(w, n);

	if (p)
		put_be(p, v, n);
}

void pc_write_u8(struct pc_writer *w, uint8_t v)
{
	write_be(w, v, 1);
}

void pc_write_u16(struct pc_writer *w, uint16_t v)
{
	write_be(w, v, 2);
}

void pc_write_u32(struct pc_writer *w, uint32_t v)
{
	write_be(w, v, 4);
}

void pc_write_u64(struct pc_writer *w, uint64_t v)
{
	write_be(w, v, 8);
}

void pc_write_bytes(struct pc_writer *w, const void *src, size_t n)
{
	uint8_t *p = reserve(w, n);

	if (p && n > 0)
		memcpy(p, src, n);
}

void pc_write_zero(struct pc_writer *w, size_t n)
{
	uint8_t *p = reserve(w, n);

	if (p && n > 0)
		memset(p, 0, n);
}

void pc_write_patch_u16(struct pc_writer *w, size_t pos, uint16_t v)
{
	if (w->failed || pos > w->len || w->len - pos < 2) {
		w->failed = true;
		return;
	}
	put_be(w->data + pos, v, 2);
}
