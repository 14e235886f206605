/* SPDX-License-Identifier: MIT */
#include "pcctl.h"

#include <stdio.h>
#include <string.h>

#include "account/identity.h"
#include "base/parse.h"

static int add_psk(const struct invocation *in, const char *file, json_t *args)
{
	char hex[2 * PC_PSK_LEN + 1];
	uint8_t psk[PC_PSK_LEN];
	int rc = pc_psk_load(file, psk);

	if (rc < 0)
		return usage_error(in, "%s: %s", file, pc_psk_error(rc));
	pc_format_hex(psk, sizeof(psk), hex);
	json_object_set_new(args, "psk", json_string(hex));
	explicit_bzero(psk, sizeof(psk));
	explicit_bzero(hex, sizeof(hex));
	return 0;
}

int run_peer_add(const struct invocation *in)
{
	const char *may_call = in->option[OPT_MAY_CALL];
	json_t *args, *reply;
	int status;

	if (!pc_name_valid(in->arg))
		return usage_error(in,
				   "\"%s\" is no peer name: 1 to 63 of A-Z a-z 0-9 . _ @ -, a "
				   "letter or digit first",
				   in->arg);
	if (!in->option[OPT_TENANT])
		return usage_error(in, "peer add needs --tenant");
	args = json_pack("{s:s, s:s, s:s}", "name", in->arg, "identity", in->arg2, "tenant",
			 in->option[OPT_TENANT]);
	if (may_call)
		json_object_set_new(args, "may_call", json_string(may_call));
	status = in->option[OPT_PSK_FILE] ? add_psk(in, in->option[OPT_PSK_FILE], args) : 0;
	if (status) {
		json_decref(args);
		return status;
	}
	status = call(in, "peer add", args, &reply);
	return status ? status : done(in, reply, "peer %s added", in->arg);
}

int run_peer_remove(const struct invocation *in)
{
	json_t *reply;
	int status = call(in, "peer remove", json_pack("{s:s}", "name", in->arg), &reply);

	if (status)
		return status;
	return done(in, reply, "peer %s removed, %lld sessions ended", in->arg,
		    (long long)json_integer_value(json_object_get(reply, "sessions_ended")));
}

static const char *text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s && s[0] ? s : "-";
}

static void print_peer(const json_t *p)
{
	const char *state = json_is_true(json_object_get(p, "registered"))  ? "registered"
			    : json_is_true(json_object_get(p, "connected")) ? "connected"
									    : "away";

	printf("%-16s %-16s %-10s %-24s %-12s %s\n", text(p, "name"), text(p, "tenant"), state,
	       text(p, "address"), text(p, "may_call"), text(p, "peer_id"));
}

int run_peer_list(const struct invocation *in)
{
	json_t *args = in->arg ? json_pack("{s:s}", "name", in->arg) : NULL;
	const json_t *p;
	json_t *reply;
	size_t i;
	int status = call(in, "peer list", args, &reply);

	if (status)
		return status;
	if (in->json)
		return done(in, reply, "%s", "");
	printf("%-16s %-16s %-10s %-24s %-12s %s\n", "PEER", "TENANT", "STATE", "ADDRESS",
	       "MAY CALL", "IDENTITY");
	json_array_foreach (json_object_get(reply, "peers"), i, p)
		print_peer(p);
	json_decref(reply);
	return EXIT_DONE;
}
