/* SPDX-License-Identifier: MIT */
/* Grants that pcpeer shows to relays when it asks for pipes. */
#ifndef PC_PCPEER_GRANT_H
#define PC_PCPEER_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account/grant.h"
#include "config.h"

#define GRANT_TEXT_LEN	  449 /* base64url of one, with its end */
#define GRANT_TIME_STRLEN 32

struct grant {
	uint8_t bytes[PC_GRANT_LEN];
	uint8_t relay[32]; /* whom it is for */
	uint64_t not_before_s, not_after_s;
	bool ended, refused; /* the relay says so: it is not shown again */
};

struct grants {
	struct grant list[CONFIG_RELAYS]; /* at most one for each relay */
	size_t n;
};

enum grant_state { GRANT_USABLE, GRANT_EARLY, GRANT_ENDED, GRANT_REFUSED };

/*
 * 336 bytes, or their base64url in text. With signatures checked, and that it has not run out at
 * @now_s (0: the time is not known) and is of @payer (NULL: of anybody). 0, or a negative code with
 * what is wrong in @ret_error.
 */
int grant_load(const char *path, const uint8_t *payer, uint64_t now_s, struct grant *ret,
	       char *ret_error, size_t size);
int grant_take(const uint8_t bytes[static PC_GRANT_LEN], const uint8_t *payer, uint64_t now_s,
	       struct grant *ret, char *ret_error, size_t size);
int grant_decode(const char *text, size_t len, uint8_t ret[static PC_GRANT_LEN]);
void grant_encode(const uint8_t grant[static PC_GRANT_LEN], char ret[static GRANT_TEXT_LEN]);
const char *grant_time(uint64_t seconds, char buf[static GRANT_TIME_STRLEN]);

/* In place of one for the same relay. 0 or PC_ERR_FULL. */
int grants_add(struct grants *all, const struct grant *g);
struct grant *grants_find(struct grants *all, const uint8_t relay[static 32]);
enum grant_state grant_state(const struct grant *g, uint64_t now_s);
const char *grant_state_name(enum grant_state state);

#endif
