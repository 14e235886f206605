/* SPDX-License-Identifier: MIT */
/*
 * The daemon's end of a control connection. The input is what a client sends; its bytes also decide
 * in what pieces it arrives and how much of an answer is taken at a time.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *cmd_echo(void *ctx, json_t *args)
{
	return json_pack("{s:O}", "args", args);
}

static json_t *cmd_fail(void *ctx, json_t *args)
{
	const char *text = json_string_value(json_object_get(args, "text"));

	return pc_ctl_fail("refused: %s", text ? text : "");
}

static const struct pc_ctl_command commands[] = {
	{ "echo", cmd_echo },
	{ "tenant add", cmd_fail },
};

/* Whatever the request was, what comes back is lines of JSON objects. */
static void check_reply(const char *out, size_t len)
{
	json_t *reply;

	if (out[len - 1] != '\n' || memchr(out, '\n', len - 1))
		abort();
	reply = json_loadb(out, len - 1, 0, NULL);
	if (!json_is_object(reply))
		abort();
	json_decref(reply);
}

static int drain(struct pc_ctl_conn *c, size_t piece)
{
	const void *out;
	size_t len, rest = 0;
	int rc = 0;

	while (rc == 0 && (out = pc_ctl_conn_output(c, &len)) && len) {
		if (rest == 0) {
			check_reply(out, len);
			rest = len;
		}
		if (piece > rest)
			piece = rest;
		rest -= piece;
		rc = pc_ctl_conn_sent(c, piece);
	}
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pc_ctl_conn *c;
	size_t pos = 0;

	if (pc_ctl_conn_new(commands, 2, NULL, &c) < 0)
		return 0;
	while (pos < size) {
		size_t piece = 1 + data[pos] % 61;

		if (piece > size - pos)
			piece = size - pos;
		if (pc_ctl_conn_input(c, data + pos, piece) < 0)
			break;
		/* Now and then the client does not read for a while. */
		if (data[pos] % 7 && drain(c, 1 + data[pos] % 97) < 0)
			break;
		pos += piece;
	}
	pc_ctl_conn_free(c);
	return 0;
}
