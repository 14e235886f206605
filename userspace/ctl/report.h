/* SPDX-License-Identifier: MIT */
/*
 * The JSON shapes that scripts depend on (pcstat -j, the control socket), in one place: the daemon
 * fills them from memory, pcstat from pins and store when the daemon is down.
 */
#ifndef PC_CTL_REPORT_H
#define PC_CTL_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

/*
 * Writes @text to @buf of @size so that it is valid UTF-8 without control characters: other bytes
 * become \xNN; cut where it does not fit. Returns its length. 4 * strlen(text) + 1 always fits.
 */
size_t pc_report_escape(const char *text, char *buf, size_t size);

struct pc_report_dir {
	uint64_t packets, payload_bytes, wire_bytes;
};

struct pc_report_count {
	struct pc_report_dir up, down;
	uint64_t kernel_packets, user_packets;
	uint64_t drops_rate, drops_credit;
	uint64_t marks;
};

/* Adds the counters of one path; @packets is the path's kernel_packets or user_packets. */
void pc_report_count_add(struct pc_report_count *c, const struct pc_report_dir *up,
			 const struct pc_report_dir *down, uint64_t *packets);

/* {"name","tier","up":{...},"down":{...},"kernel":{"packets"},"user":{"packets"},
 *  "drops":{"rate","credit"},"marks","sessions"} */
json_t *pc_report_tenant(const char *name, const char *tier, const struct pc_report_count *c,
			 uint64_t sessions);

struct pc_report_session {
	uint64_t id;
	const char *kind;	       /* "allocation", "pipe"; NULL: not known */
	const char *tenant, *username; /* of a pipe: the name of the tenant's peer */
	const char *peer;	       /* the other one's name; NULL: no native peer */
	const char *client, *server, *relayed, *relayed2; /* "ADDR:PORT"; NULL: absent */
	uint64_t age_seconds, expires_seconds;
	uint64_t permissions, channels;
};
/* {"id" (16 hex
 * digits),"kind","tenant","username","peer","client","server","relayed":[...],"age_seconds","expires_seconds",
 *  "permissions","channels", and the counters as above} */
json_t *pc_report_session(const struct pc_report_session *s, const struct pc_report_count *c);

/* {"name","kind","text","kernel","user"} */
json_t *pc_report_reason(const char *name, const char *kind, const char *text, uint64_t kernel,
			 uint64_t user);

#endif
