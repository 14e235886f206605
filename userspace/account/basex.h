/* SPDX-License-Identifier: MIT */
/*
 * Numbers in another base, as multibase writes them: base58btc (Bitcoin's alphabet) and base36.
 * Each zero byte in front is one first character of the alphabet.
 */
#ifndef PC_ACCOUNT_BASEX_H
#define PC_ACCOUNT_BASEX_H

#include <stddef.h>
#include <stdint.h>

extern const char pc_base58btc[]; /* alphabets */
extern const char pc_base36[];	  /* lower case */

#define PC_BASEX_MAX 64 /* bytes of data */

/* Text with its NUL in @ret_text. Returns 0 or PC_ERR_RANGE (data or text too long). */
int pc_basex_encode(const char *alphabet, const void *data, size_t len, char *ret_text,
		    size_t size);
/*
 * The whole @text (of @text_len characters) must decode to exactly @len bytes. Returns 0 or
 * PC_ERR_MALFORMED.
 */
int pc_basex_decode(const char *alphabet, const char *text, size_t text_len, void *ret_data,
		    size_t len);

#endif
