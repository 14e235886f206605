/* SPDX-License-Identifier: MIT */
/* Texts people write: numbers, sizes, rates, names. Strict: the whole text must be consumed. */
#ifndef PC_BASE_PARSE_H
#define PC_BASE_PARSE_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal in [min, max]. Returns 0, PC_ERR_MALFORMED or PC_ERR_RANGE. */
int pc_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);
/* Decimal (fraction allowed) with an optional K, M, G, T (1000) or Ki, Mi, Gi, Ti (1024). */
int pc_parse_size(const char *text, uint64_t *ret_value);
/* "49152-65535"; low <= high. */
int pc_parse_port_range(const char *text, uint16_t *ret_low, uint16_t *ret_high);
/* yes/no, true/false, on/off, 1/0. */
int pc_parse_bool(const char *text, bool *ret_value);
/* Names of tenants: 1 to 63 of [A-Za-z0-9._@-], starting with a letter or digit. */
bool pc_name_valid(const char *name);
/* "1.5 M", "12 k": four significant characters, base 1000. @buf of 16. Returns @buf. */
const char *pc_format_si(double value, char buf[static 16]);
/* Hex; @ret of n bytes. Returns 0 or PC_ERR_MALFORMED. */
int pc_parse_hex(const char *text, void *ret, unsigned long n);
void pc_format_hex(const void *data, unsigned long n, char *ret /* 2n + 1 */);

#endif
