/* SPDX-License-Identifier: MIT */
#include "ctl/report.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* Length of the UTF-8 sequence at @s (at most @left bytes), 0 when it is not one. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : 4;
	uint32_t code = len == 1 ? s[0] : s[0] & (0x7fu >> len);

	if (len > left || (len == 4 && s[0] >> 3 != 30))
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (len > 1 && (code < lowest[len] || code > 0x10ffff || code >> 11 == 0x1b))
		return 0;
	/* Control characters, C1 and bidirectional ones included: they could fake a screen. */
	if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
	    (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x2069) ||
	    code == 0xfeff)
		return 0;
	return len;
}

size_t pc_report_escape(const char *text, char *buf, size_t size)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t left = strlen(text);
	size_t n = 0;

	if (size == 0)
		return 0;
	while (left) {
		size_t len = utf8_len(s, left);

		if (n + (len ? len : 4) >= size)
			break;
		if (len) {
			memcpy(buf + n, s, len);
			n += len;
		} else {
			n += (size_t)snprintf(buf + n, size - n, "\\x%02x", s[0]);
			len = 1;
		}
		s += len;
		left -= len;
	}
	buf[n] = '\0';
	return n;
}

/* A string that a stranger chose: JSON has to be UTF-8 and people have to be able to read it. */
static json_t *foreign_string(const char *text)
{
	_cleanup_free_ char *buf = NULL;
	size_t size = text ? 4 * strlen(text) + 1 : 0;

	if (!text)
		return json_null();
	buf = malloc(size);
	if (!buf)
		return NULL;
	pc_report_escape(text, buf, size);
	return json_string(buf);
}

void pc_report_count_add(struct pc_report_count *c, const struct pc_report_dir *up,
			 const struct pc_report_dir *down, uint64_t *packets)
{
	c->up.packets += up->packets;
	c->up.payload_bytes += up->payload_bytes;
	c->up.wire_bytes += up->wire_bytes;
	c->down.packets += down->packets;
	c->down.payload_bytes += down->payload_bytes;
	c->down.wire_bytes += down->wire_bytes;
	*packets += up->packets + down->packets;
}

static json_t *dir(const struct pc_report_dir *d)
{
	return json_pack("{s:I, s:I, s:I}", "packets", (json_int_t)d->packets, "payload_bytes",
			 (json_int_t)d->payload_bytes, "wire_bytes", (json_int_t)d->wire_bytes);
}

/* Adds the counters to @object; consumes and returns it, NULL when out of memory. */
static json_t *with_counts(json_t *object, const struct pc_report_count *c)
{
	json_t *counts =
		json_pack("{s:o, s:o, s:{s:I}, s:{s:I}, s:{s:I, s:I}, s:I}", "up", dir(&c->up),
			  "down", dir(&c->down), "kernel", "packets", (json_int_t)c->kernel_packets,
			  "user", "packets", (json_int_t)c->user_packets, "drops", "rate",
			  (json_int_t)c->drops_rate, "credit", (json_int_t)c->drops_credit, "marks",
			  (json_int_t)c->marks);

	if (!object || !counts || json_object_update(object, counts) < 0) {
		json_decref(object);
		object = NULL;
	}
	json_decref(counts);
	return object;
}

json_t *pc_report_tenant(const char *name, const char *tier, const struct pc_report_count *c,
			 uint64_t sessions)
{
	json_t *t =
		json_pack("{s:o, s:o}", "name", foreign_string(name), "tier", foreign_string(tier));

	t = with_counts(t, c);
	if (t && json_object_set_new(t, "sessions", json_integer((json_int_t)sessions)) < 0) {
		json_decref(t);
		return NULL;
	}
	return t;
}

json_t *pc_report_session(const struct pc_report_session *s, const struct pc_report_count *c)
{
	json_t *relayed = json_array();
	json_t *o;

	if (s->relayed)
		json_array_append_new(relayed, json_string(s->relayed));
	if (s->relayed2)
		json_array_append_new(relayed, json_string(s->relayed2));
	/* As text: JavaScript and jq round integers above 2^53. */
	o = json_pack("{s:o, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "id",
		      json_sprintf("%016llx", (unsigned long long)s->id), "kind", s->kind, "tenant",
		      foreign_string(s->tenant), "username", foreign_string(s->username), "peer",
		      foreign_string(s->peer), "client", foreign_string(s->client), "server",
		      foreign_string(s->server), "relayed", relayed, "age_seconds",
		      (json_int_t)s->age_seconds, "expires_seconds", (json_int_t)s->expires_seconds,
		      "permissions", (json_int_t)s->permissions, "channels",
		      (json_int_t)s->channels);
	return with_counts(o, c);
}

json_t *pc_report_reason(const char *name, const char *kind, const char *text, uint64_t kernel,
			 uint64_t user)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", name, "kind", kind, "text", text,
			 "kernel", (json_int_t)kernel, "user", (json_int_t)user);
}
