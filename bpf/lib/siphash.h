/* SPDX-License-Identifier: MIT */
/*
 * SipHash-2-4 (Aumasson, Bernstein 2012) in pieces, for the kernel programs and for user space: the
 * one implementation. Whoever uses it loads the words, in little-endian.
 */
#ifndef PC_LIB_SIPHASH_H
#define PC_LIB_SIPHASH_H

#include <linux/types.h>

#define pc_sip_inline static inline __attribute__((always_inline, unused))

struct pc_sip {
	__u64 v0, v1, v2, v3;
};

pc_sip_inline __u64 pc_sip_rotl(__u64 x, int n)
{
	return x << n | x >> (64 - n);
}

pc_sip_inline void pc_sip_round(struct pc_sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = pc_sip_rotl(s->v1, 13) ^ s->v0;
	s->v3 = pc_sip_rotl(s->v3, 16) ^ s->v2;
	s->v0 = pc_sip_rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = pc_sip_rotl(s->v1, 17) ^ s->v2;
	s->v3 = pc_sip_rotl(s->v3, 21) ^ s->v0;
	s->v2 = pc_sip_rotl(s->v2, 32);
}

/* @k0, @k1: the key as two little-endian words. */
pc_sip_inline void pc_sip_init(struct pc_sip *s, __u64 k0, __u64 k1)
{
	s->v0 = k0 ^ 0x736f6d6570736575ull;
	s->v1 = k1 ^ 0x646f72616e646f6dull;
	s->v2 = k0 ^ 0x6c7967656e657261ull;
	s->v3 = k1 ^ 0x7465646279746573ull;
}

pc_sip_inline void pc_sip_word(struct pc_sip *s, __u64 word)
{
	s->v3 ^= word;
	pc_sip_round(s);
	pc_sip_round(s);
	s->v0 ^= word;
}

/* @tail: what is left of the input, at most 7 bytes; @len: of all the input. */
pc_sip_inline __u64 pc_sip_end(struct pc_sip *s, __u64 tail, __u64 len)
{
	pc_sip_word(s, len << 56 | tail);
	s->v2 ^= 0xff;
	pc_sip_round(s);
	pc_sip_round(s);
	pc_sip_round(s);
	pc_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* Of 20 bytes: two words and the next four bytes. The tag of a pipe frame is one. */
pc_sip_inline __u64 pc_siphash24_20(__u64 k0, __u64 k1, __u64 first, __u64 second, __u32 third)
{
	struct pc_sip s;

	pc_sip_init(&s, k0, k1);
	pc_sip_word(&s, first);
	pc_sip_word(&s, second);
	return pc_sip_end(&s, third, 20);
}

#endif
