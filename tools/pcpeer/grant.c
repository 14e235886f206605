/* SPDX-License-Identifier: MIT */
/* Grants: files of them, and which one goes with a call. Each is for one relay. */
#include "grant.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "base/err.h"

#define GRANT_FILE_MAX 1024 /* base64 with some white space */

/* --- files --- */

const char *grant_time(uint64_t seconds, char buf[static GRANT_TIME_STRLEN])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	/* Beyond what anybody can print. */
	if (seconds > 253402300799ull || !gmtime_r(&t, &tm) ||
	    !strftime(buf, GRANT_TIME_STRLEN, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(buf, GRANT_TIME_STRLEN, "%" PRIu64, seconds);
	return buf;
}

int grant_decode(const char *text, size_t len, uint8_t ret[static PC_GRANT_LEN])
{
	uint8_t bytes[PC_GRANT_LEN];
	const char *end;
	size_t n;

	if (sodium_base642bin(bytes, sizeof(bytes), text, len, "\r\n", &n, &end,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING) < 0)
		return PC_ERR_MALFORMED;
	while (end < text + len && (*end == '=' || *end == '\r' || *end == '\n'))
		end++;
	if (end != text + len || n != sizeof(bytes))
		return PC_ERR_MALFORMED;
	memcpy(ret, bytes, sizeof(bytes));
	return 0;
}

void grant_encode(const uint8_t grant[static PC_GRANT_LEN], char ret[static GRANT_TEXT_LEN])
{
	sodium_bin2base64(ret, GRANT_TEXT_LEN, grant, PC_GRANT_LEN,
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static int read_file(const char *path, char *buf, size_t size, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size);

	if (n < 0)
		return -errno;
	*ret_len = (size_t)n;
	return 0;
}

int grant_take(const uint8_t bytes[static PC_GRANT_LEN], const uint8_t *payer, uint64_t now_s,
	       struct grant *ret, char *ret_error, size_t size)
{
	char peer[PC_PEER_ID_STRLEN], when[GRANT_TIME_STRLEN];
	struct pc_grant terms;
	int rc = pc_grant_parse(bytes, PC_GRANT_LEN, &terms);

	if (rc == 0)
		rc = pc_grant_verify(bytes);
	if (rc < 0) {
		snprintf(ret_error, size, "%s",
			 rc == PC_ERR_AUTH	? "a signature of this grant is wrong"
			 : rc == PC_ERR_VERSION ? "a grant of a version that is not known here"
						: "not a grant");
		return PC_ERR_MALFORMED;
	}
	if (payer && memcmp(terms.payer, payer, sizeof(terms.payer)) != 0) {
		snprintf(ret_error, size, "a grant of another payer: %s",
			 pc_peer_id_format(terms.payer, peer));
		return PC_ERR_REFUSED;
	}
	if (now_s && now_s > terms.not_after_s) {
		snprintf(ret_error, size, "this grant has run out, on %s",
			 grant_time(terms.not_after_s, when));
		return PC_ERR_RANGE;
	}
	*ret = (struct grant){ .not_before_s = terms.not_before_s,
			       .not_after_s = terms.not_after_s };
	memcpy(ret->bytes, bytes, sizeof(ret->bytes));
	memcpy(ret->relay, terms.relay, sizeof(ret->relay));
	return 0;
}

int grant_load(const char *path, const uint8_t *payer, uint64_t now_s, struct grant *ret,
	       char *ret_error, size_t size)
{
	char text[GRANT_FILE_MAX];
	uint8_t bytes[PC_GRANT_LEN];
	size_t len = 0;
	int rc = read_file(path, text, sizeof(text), &len);

	if (rc < 0) {
		snprintf(ret_error, size, "%s", pc_strerror(rc));
		return rc;
	}
	if (len == PC_GRANT_LEN)
		memcpy(bytes, text, sizeof(bytes));
	else if (len == sizeof(text) || grant_decode(text, len, bytes) < 0)
		memset(bytes, 0, sizeof(bytes)); /* not a grant, as grant_take will say */
	return grant_take(bytes, payer, now_s, ret, ret_error, size);
}

/* --- lists --- */

int grants_add(struct grants *all, const struct grant *g)
{
	size_t i = 0;

	while (i < all->n && memcmp(all->list[i].relay, g->relay, sizeof(g->relay)) != 0)
		i++;
	if (i == CONFIG_RELAYS)
		return PC_ERR_FULL;
	all->list[i] = *g;
	if (i == all->n)
		all->n++;
	return 0;
}

struct grant *grants_find(struct grants *all, const uint8_t relay[static 32])
{
	for (size_t i = 0; i < all->n; i++) {
		if (memcmp(all->list[i].relay, relay, 32) == 0)
			return &all->list[i];
	}
	return NULL;
}

enum grant_state grant_state(const struct grant *g, uint64_t now_s)
{
	if (g->refused)
		return GRANT_REFUSED;
	if (g->ended || (now_s && now_s > g->not_after_s))
		return GRANT_ENDED;
	return now_s && now_s < g->not_before_s ? GRANT_EARLY : GRANT_USABLE;
}

const char *grant_state_name(enum grant_state state)
{
	static const char *const names[] = { [GRANT_USABLE] = "usable",
					     [GRANT_EARLY] = "early",
					     [GRANT_ENDED] = "ended",
					     [GRANT_REFUSED] = "refused" };

	return names[state];
}
