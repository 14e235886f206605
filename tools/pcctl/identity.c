/* SPDX-License-Identifier: MIT */
/* Identity: through the daemon when it runs, else in the state directory. */
#include "pcctl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "tools/offline.h"

struct path {
	const char *dir;
	char file[512];
};

static void fill_path(const struct invocation *in, struct path *ret_path)
{
	ret_path->dir =
		in->option[OPT_STATE_DIR] ? in->option[OPT_STATE_DIR] : PC_DEFAULT_STATE_DIR;
	snprintf(ret_path->file, sizeof(ret_path->file), "%s/%s", ret_path->dir, PC_IDENTITY_FILE);
}

static int show(const struct invocation *in, json_t *reply)
{
	const char *peer_id = json_string_value(json_object_get(reply, "peer_id"));
	const char *did = json_string_value(json_object_get(reply, "did"));
	const char *label = json_string_value(json_object_get(reply, "label"));

	return done(in, reply, "peer id  %s\ndid      %s\nlabel    %s", peer_id ? peer_id : "?",
		    did ? did : "?", label ? label : "?");
}

static int show_key(const struct invocation *in, const struct pc_identity *id)
{
	char peer_id[PC_PEER_ID_STRLEN], did[PC_DID_STRLEN], label[PC_LABEL_STRLEN];

	return show(in, json_pack("{s:s, s:s, s:s}", "peer_id",
				  pc_peer_id_format(id->public_key, peer_id), "did",
				  pc_did_format(id->public_key, did), "label",
				  pc_label_format(id->public_key, label)));
}

static const char *load_error(int rc)
{
	if (rc == PC_ERR_REFUSED)
		return "others can read it; its mode has to be 0600";
	if (rc == PC_ERR_MALFORMED)
		return "not a key file (pcloud-ed25519-v1 HEX)";
	return pc_strerror(rc);
}

/* The daemon may run as another user: the file belongs to whoever owns the directory. */
static int save(const struct invocation *in, const struct pc_identity *id)
{
	struct path path;
	struct stat st;
	int rc;

	fill_path(in, &path);
	rc = pc_identity_save(path.file, id, in->option[OPT_REPLACE] != NULL);
	if (rc == PC_ERR_EXISTS)
		return fail(in, "%s exists already; --replace gives up that identity", path.file);
	if (rc < 0)
		return fail(in, "%s: %s", path.file, pc_strerror(rc));
	if (geteuid() == 0 && stat(path.dir, &st) == 0 && st.st_uid != 0 &&
	    lchown(path.file, st.st_uid, st.st_gid) < 0)
		return fail(in, "%s: cannot give it to the owner of its directory: %s", path.file,
			    pc_strerror(-errno));
	return show_key(in, id);
}

int run_identity_show(const struct invocation *in)
{
	struct pc_identity id;
	struct path path;
	json_t *reply;
	int status = call_or_none(in, "identity show", NULL, &reply);
	int rc;

	if (status || reply)
		return status ? status : show(in, reply);
	fill_path(in, &path);
	rc = pc_identity_load(path.file, &id);
	if (rc < 0)
		return fail(in, "%s: %s", path.file, load_error(rc));
	status = show_key(in, &id);
	pc_identity_wipe(&id);
	return status;
}

int run_identity_init(const struct invocation *in)
{
	struct pc_identity id;
	json_t *reply;
	int status = call_or_none(in, "identity init",
				  json_pack("{s:b}", "replace", in->option[OPT_REPLACE] != NULL),
				  &reply);
	int rc;

	if (status || reply)
		return status ? status : show(in, reply);
	rc = pc_identity_generate(&id);
	if (rc < 0)
		return fail(in, "identity: %s", pc_strerror(rc));
	status = save(in, &id);
	pc_identity_wipe(&id);
	return status;
}

int run_identity_import(const struct invocation *in)
{
	struct pc_identity id;
	char seed[2 * 32 + 1];
	json_t *reply, *args;
	int rc = pc_identity_load(in->arg, &id);
	int status;

	if (rc < 0)
		return bad_file(in, "%s: %s", in->arg, load_error(rc));
	pc_format_hex(id.secret_key, 32, seed);
	args = json_pack("{s:s, s:b}", "seed", seed, "replace", in->option[OPT_REPLACE] != NULL);
	explicit_bzero(seed, sizeof(seed));
	status = call_or_none(in, "identity import", args, &reply);
	if (status == EXIT_DONE)
		status = reply ? show(in, reply) : save(in, &id);
	pc_identity_wipe(&id);
	return status;
}
