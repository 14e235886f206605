/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 (Aumasson, Bernstein 2012): keyed 64-bit hash for tables keyed by strangers. */
#ifndef PC_BASE_SIPHASH_H
#define PC_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t pc_siphash24(const uint8_t key[static 16], const void *data, size_t len);

#endif
