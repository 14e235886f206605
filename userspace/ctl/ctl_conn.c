/* SPDX-License-Identifier: MIT */
/* The daemon's end of a control connection: framing and dispatch, no I/O. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

struct pc_ctl_conn {
	const struct pc_ctl_command *commands;
	size_t n_commands;
	void *ctx;
	char *in; /* bytes not dispatched yet */
	size_t in_len, in_size;
	char *out; /* one reply, being sent */
	size_t out_len, out_sent;
};

json_t *pc_ctl_fail(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* An excerpt of what a client sent may be cut within a character. */
	return json_pack("{s:o}", "error",
			 json_string(text) ?: json_string("request is not valid UTF-8"));
}

int pc_ctl_conn_new(const struct pc_ctl_command *commands, size_t n_commands, void *ctx,
		    struct pc_ctl_conn **ret_conn)
{
	struct pc_ctl_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->commands = commands;
	c->n_commands = n_commands;
	c->ctx = ctx;
	*ret_conn = c;
	return 0;
}

void pc_ctl_conn_free(struct pc_ctl_conn *c)
{
	if (!c)
		return;
	/* Requests carry passwords, replies credentials. */
	if (c->in)
		explicit_bzero(c->in, c->in_size);
	if (c->out)
		explicit_bzero(c->out, c->out_len);
	free(c->in);
	free(c->out);
	free(c);
}

static json_t *dispatch(struct pc_ctl_conn *c, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "command"));
	json_t *args = json_object_get(request, "args");
	json_t *none, *reply;
	const char *key;
	json_t *value;

	if (!json_is_object(request) || !name)
		return pc_ctl_fail("a request is {\"command\": NAME, \"args\": {...}}");
	json_object_foreach (request, key, value) {
		if (strcmp(key, "command") != 0 && strcmp(key, "args") != 0)
			return pc_ctl_fail("unknown member \"%s\" of the request", key);
	}
	if (args && !json_is_object(args))
		return pc_ctl_fail("\"args\" is an object");
	for (size_t i = 0; i < c->n_commands; i++) {
		if (strcmp(c->commands[i].name, name) != 0)
			continue;
		none = args ? json_incref(args) : json_object();
		reply = none ? c->commands[i].fn(c->ctx, none) : NULL;
		json_decref(none);
		return reply;
	}
	return pc_ctl_fail("unknown command \"%s\"", name);
}

static int set_output(struct pc_ctl_conn *c, json_t *reply)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	char *line;

	if (reply)
		text = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	if (!text)
		return -ENOMEM;
	len = strlen(text);
	if (len >= PC_CTL_MAX_REPLY)
		return -EMSGSIZE;
	line = realloc(text, len + 1);
	if (!line)
		return -ENOMEM;
	text = NULL;
	line[len] = '\n'; /* in the place of the NUL */
	free(c->out);
	c->out = line;
	c->out_len = len + 1;
	c->out_sent = 0;
	return 0;
}

static int answer(struct pc_ctl_conn *c, const char *line, size_t len)
{
	json_error_t error;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	json_t *reply =
		request ? dispatch(c, request) : pc_ctl_fail("request is not JSON: %s", error.text);

	json_decref(request);
	return set_output(c, reply);
}

/*
 * Answers buffered lines until there is output. The next line waits until that is sent, so a
 * client that only asks and never reads costs one reply of memory.
 */
static int advance(struct pc_ctl_conn *c)
{
	while (!c->out && c->in_len) {
		char *end = memchr(c->in, '\n', c->in_len);
		size_t len;
		int rc;

		if (!end && c->in_len <= PC_CTL_MAX_REQUEST)
			return 0;
		len = end ? (size_t)(end - c->in) : c->in_len;
		if (len > PC_CTL_MAX_REQUEST) {
			set_output(c,
				   pc_ctl_fail("request longer than %u bytes", PC_CTL_MAX_REQUEST));
			return -EMSGSIZE;
		}
		rc = answer(c, c->in, len);
		c->in_len -= len + 1;
		memmove(c->in, end + 1, c->in_len);
		explicit_bzero(c->in + c->in_len, len + 1);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int pc_ctl_conn_input(struct pc_ctl_conn *c, const void *data, size_t len)
{
	if (c->in_len + len > c->in_size) {
		size_t size = c->in_len + len + 1024;
		char *larger;

		/* Only when fed although output was waiting, or by pieces far beyond a line. */
		if (c->in_len + len > 4 * PC_CTL_MAX_REQUEST)
			return -EMSGSIZE;
		larger = malloc(size);
		if (!larger)
			return -ENOMEM;
		if (c->in_len)
			memcpy(larger, c->in, c->in_len);
		if (c->in)
			explicit_bzero(c->in, c->in_size);
		free(c->in);
		c->in = larger;
		c->in_size = size;
	}
	if (len)
		memcpy(c->in + c->in_len, data, len);
	c->in_len += len;
	return advance(c);
}

const void *pc_ctl_conn_output(struct pc_ctl_conn *c, size_t *ret_len)
{
	*ret_len = c->out ? c->out_len - c->out_sent : 0;
	return c->out ? c->out + c->out_sent : NULL;
}

int pc_ctl_conn_sent(struct pc_ctl_conn *c, size_t len)
{
	c->out_sent += len;
	if (c->out_sent < c->out_len)
		return 0;
	if (c->out)
		explicit_bzero(c->out, c->out_len);
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_sent = 0;
	return advance(c);
}
