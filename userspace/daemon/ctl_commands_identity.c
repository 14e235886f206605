/* SPDX-License-Identifier: MIT */
/* Identity of the running node. A new one is in the file before it is in force. */
#include "daemon/ctl_commands.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"
#include "daemon/daemon_int.h"
#include "daemon/native_glue.h"

static json_t *identity_report(const struct pc_daemon *d)
{
	const uint8_t *key = d->identity.public_key;
	char peer_id[PC_PEER_ID_STRLEN], did[PC_DID_STRLEN], label[PC_LABEL_STRLEN];

	return json_pack("{s:s, s:s, s:s}", "peer_id", pc_peer_id_format(key, peer_id), "did",
			 pc_did_format(key, did), "label", pc_label_format(key, label));
}

static json_t *take_identity(struct pc_daemon *d, const struct pc_identity *id, bool replace)
{
	char record_hex[2 * PC_SUCCESSION_LEN + 1];
	uint8_t record[PC_SUCCESSION_LEN];
	char peer_id[PC_PEER_ID_STRLEN];
	const char *dir = d->config.state_dir;
	json_t *reply;
	int rc = pc_state_save_identity(d, id, replace);
	bool succession;

	if (rc == PC_ERR_EXISTS)
		return pc_ctl_fail("%s/%s exists already; --replace gives up that identity", dir,
				   PC_DAEMON_IDENTITY_FILE);
	if (rc < 0)
		return pc_ctl_fail("%s/%s: %s", dir, PC_DAEMON_IDENTITY_FILE, pc_strerror(rc));
	/* The same key again is no succession. */
	succession = pc_succession_make(&d->identity, id, pc_clock_realtime() / PC_NS_PER_MS,
					record) == 0;
	d->identity = *id;
	rc = d->native ? pc_native_glue_identity(d->native) : 0;
	if (rc < 0)
		pc_error("native peers are served under the old identity until a restart: %s",
			 pc_strerror(rc));
	pc_info("identity is now %s", pc_peer_id_format(id->public_key, peer_id));
	reply = identity_report(d);
	if (succession) {
		pc_format_hex(record, sizeof(record), record_hex);
		json_object_set_new(reply, "succession", json_string(record_hex));
	}
	return reply;
}

json_t *pc_cmd_identity_show(void *ctx, json_t *args)
{
	json_t *reply = pc_ctl_args(args, NULL, 0);

	return reply ? reply : identity_report(ctx);
}

json_t *pc_cmd_identity_init(void *ctx, json_t *args)
{
	bool replace = false;
	const struct pc_ctl_arg spec[] = { { "replace", PC_CTL_ARG_BOOL, false, &replace } };
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	struct pc_identity id;
	int rc;

	if (reply)
		return reply;
	rc = pc_identity_generate(&id);
	reply = rc < 0 ? pc_ctl_fail("identity: %s", pc_strerror(rc))
		       : take_identity(ctx, &id, replace);
	pc_identity_wipe(&id);
	return reply;
}

json_t *pc_cmd_identity_import(void *ctx, json_t *args)
{
	const char *seed_hex = NULL;
	bool replace = false;
	const struct pc_ctl_arg spec[] = {
		{ "seed", PC_CTL_ARG_STRING, true, &seed_hex },
		{ "replace", PC_CTL_ARG_BOOL, false, &replace },
	};
	json_t *reply = pc_ctl_args(args, spec, PC_ARRAY_SIZE(spec));
	struct pc_identity id = { 0 };
	uint8_t seed[32];
	int rc;

	if (reply)
		return reply;
	rc = pc_parse_hex(seed_hex, seed, sizeof(seed));
	if (rc == 0)
		rc = pc_identity_from_seed(seed, &id);
	explicit_bzero(seed, sizeof(seed));
	reply = rc < 0 ? pc_ctl_fail("argument \"seed\": %s", pc_strerror(rc))
		       : take_identity(ctx, &id, replace);
	pc_identity_wipe(&id);
	return reply;
}
