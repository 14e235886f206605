/* SPDX-License-Identifier: MIT */
/* Identity: through the daemon when it runs, else in the state directory. */
#include "pcctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/parse.h"
#include "ctl/cli.h"
#include "tools/offline.h"

struct path {
	const char *dir;
	char file[512];
};

/* The one of --passphrase-file; @given is NULL without. */
struct secret {
	char text[PASSWORD_MAX + 2];
	struct pc_passphrase passphrase;
	const struct pc_passphrase *given;
};

static void fill_path(const struct invocation *in, struct path *ret_path)
{
	ret_path->dir =
		in->option[OPT_STATE_DIR] ? in->option[OPT_STATE_DIR] : PC_DEFAULT_STATE_DIR;
	snprintf(ret_path->file, sizeof(ret_path->file), "%s/%s", ret_path->dir, PC_IDENTITY_FILE);
}

static int read_secret(const struct invocation *in, struct secret *ret)
{
	const char *file = in->option[OPT_PASSPHRASE_FILE];
	int status = EXIT_DONE;

	ret->given = NULL;
	if (!file)
		return EXIT_DONE;
	status = read_password(in, file, ret->text);
	if (status)
		return status;
	ret->passphrase = (struct pc_passphrase){ ret->text, strlen(ret->text) };
	ret->given = &ret->passphrase;
	return EXIT_DONE;
}

/* Consumes @reply. */
static int show(const struct invocation *in, json_t *reply)
{
	const char *peer_id = json_string_value(json_object_get(reply, "peer_id"));
	const char *did = json_string_value(json_object_get(reply, "did"));
	const char *label = json_string_value(json_object_get(reply, "label"));

	return done(in, reply, "peer id  %s\ndid      %s\nlabel    %s", peer_id ? peer_id : "?",
		    did ? did : "?", label ? label : "?");
}

static json_t *key_report(const uint8_t key[static 32])
{
	char peer_id[PC_PEER_ID_STRLEN], did[PC_DID_STRLEN], label[PC_LABEL_STRLEN];

	return json_pack("{s:s, s:s, s:s}", "peer_id", pc_peer_id_format(key, peer_id), "did",
			 pc_did_format(key, did), "label", pc_label_format(key, label));
}

static const char *load_error(int rc)
{
	if (rc == PC_ERR_REFUSED)
		return "others can read it, or it is somebody else's; its mode has to be 0600";
	if (rc == PC_ERR_MALFORMED)
		return "not a key file (pcloud-ed25519-v1 HEX, or an Ed25519 key of libp2p)";
	if (rc == PC_ERR_UNSUPPORTED)
		return "a key of libp2p, but not Ed25519";
	if (rc == PC_ERR_LOCKED)
		return "sealed; --passphrase-file opens it";
	if (rc == PC_ERR_AUTH)
		return "the passphrase is wrong";
	return pc_strerror(rc);
}

/* --- the record of succession --- */

/* Before anything is changed: that the file can be made. */
static int open_record(const struct invocation *in, int *ret_fd)
{
	const char *file = in->option[OPT_SUCCESSION];

	*ret_fd = -1;
	if (!file)
		return EXIT_DONE;
	if (!in->option[OPT_REPLACE])
		return usage_error(in, "--succession goes with --replace");
	*ret_fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (*ret_fd < 0)
		return fail(in, "%s: %s", file, pc_strerror(-errno));
	return EXIT_DONE;
}

static int write_record(const struct invocation *in, int fd, const uint8_t *record)
{
	ssize_t n = write(fd, record, PC_SUCCESSION_LEN);

	if (n == PC_SUCCESSION_LEN && fsync(fd) == 0)
		return EXIT_DONE;
	return fail(in, "%s: %s", in->option[OPT_SUCCESSION],
		    pc_strerror(n < 0 ? -errno : -ENOSPC));
}

/* The daemon's answer has it in hexadecimal. Consumes @reply. */
static int take_reply(const struct invocation *in, int fd, json_t *reply)
{
	const char *hex = json_string_value(json_object_get(reply, "succession"));
	uint8_t record[PC_SUCCESSION_LEN];
	int status = EXIT_DONE;

	if (fd >= 0 && (!hex || pc_parse_hex(hex, record, sizeof(record)) < 0))
		status = fail(in, "there is no succession: the identity is the same");
	else if (fd >= 0 && write_record(in, fd, record) != EXIT_DONE)
		/* The old key is gone: nobody can make this record again. */
		status = fail(in, "the record of succession is %s", hex);
	if (status) {
		json_decref(reply);
		return status;
	}
	if (in->option[OPT_PASSPHRASE_FILE])
		pc_cli_warning("pcctl", in->json,
			       "pcd seals its identity by its own identity-passphrase-file");
	json_object_del(reply, "succession");
	return show(in, reply);
}

int run_identity_verify(const struct invocation *in)
{
	char old_id[PC_PEER_ID_STRLEN], new_id[PC_PEER_ID_STRLEN];
	_cleanup_close_ int fd = open(in->arg, O_RDONLY | O_CLOEXEC);
	uint8_t record[PC_SUCCESSION_LEN + 1];
	struct pc_succession s;
	ssize_t n;
	int rc;

	n = fd < 0 ? -1 : read(fd, record, sizeof(record));
	if (n < 0)
		return bad_file(in, "%s: %s", in->arg, pc_strerror(-errno));
	rc = pc_succession_check(record, (size_t)n, &s);
	if (rc == PC_ERR_AUTH)
		return fail(in, "%s: a signature is wrong", in->arg);
	if (rc < 0)
		return bad_file(in, "%s: not a record of succession: %s", in->arg, pc_strerror(rc));
	pc_peer_id_format(s.old_key, old_id);
	pc_peer_id_format(s.new_key, new_id);
	return done(in,
		    json_pack("{s:s, s:s, s:I}", "old", old_id, "new", new_id, "time_ms",
			      (json_int_t)s.time_ms),
		    "old  %s\nnew  %s", old_id, new_id);
}

/* --- without the daemon --- */

/* The old key has to sign, so it has to be there and open. */
static int make_record(const struct invocation *in, const struct path *path,
		       const struct secret *secret, const struct pc_identity *id,
		       uint8_t ret_record[static PC_SUCCESSION_LEN])
{
	struct pc_identity old;
	int rc = pc_identity_load_sealed(path->file, secret->given, &old);

	if (rc < 0)
		return fail(in, "%s: %s", path->file, load_error(rc));
	rc = pc_succession_make(&old, id, pc_clock_realtime() / PC_NS_PER_MS, ret_record);
	pc_identity_wipe(&old);
	if (rc < 0)
		return fail(in, "there is no succession: the identity is the same");
	return EXIT_DONE;
}

/* The daemon may run as another user: the file belongs to whoever owns the directory. */
static int save(const struct invocation *in, const struct secret *secret,
		const struct pc_identity *id, int record_fd)
{
	bool replace = in->option[OPT_REPLACE] != NULL;
	uint8_t record[PC_SUCCESSION_LEN];
	int rc, status = EXIT_DONE;
	struct path path;
	struct stat st;

	fill_path(in, &path);
	if (record_fd >= 0)
		status = make_record(in, &path, secret, id, record);
	if (status == EXIT_DONE && record_fd >= 0)
		status = write_record(in, record_fd, record);
	if (status)
		return status;
	rc = secret->given ? pc_identity_save_sealed(path.file, id, secret->given, replace)
			   : pc_identity_save(path.file, id, replace);
	if (rc == PC_ERR_EXISTS)
		return fail(in, "%s exists already; --replace gives up that identity", path.file);
	if (rc < 0)
		return fail(in, "%s: %s", path.file, pc_strerror(rc));
	if (geteuid() == 0 && stat(path.dir, &st) == 0 && st.st_uid != 0 &&
	    lchown(path.file, st.st_uid, st.st_gid) < 0)
		return fail(in, "%s: cannot give it to the owner of its directory: %s", path.file,
			    pc_strerror(-errno));
	return show(in, key_report(id->public_key));
}

/* Consumes @args. The daemon seals by itself; @id is for the way without it. */
static int change(const struct invocation *in, const char *command, json_t *args,
		  const struct secret *secret, const struct pc_identity *id)
{
	_cleanup_close_ int fd = -1;
	json_t *reply = NULL;
	int status = open_record(in, &fd);

	if (status) {
		json_decref(args);
		return status;
	}
	json_object_set_new(args, "replace", json_boolean(in->option[OPT_REPLACE] != NULL));
	status = call_or_none(in, command, args, &reply);
	if (status == EXIT_DONE)
		status = reply ? take_reply(in, fd, reply) : save(in, secret, id, fd);
	if (status && fd >= 0)
		unlink(in->option[OPT_SUCCESSION]);
	return status;
}

/* --- commands --- */

int run_identity_show(const struct invocation *in)
{
	struct path path;
	json_t *reply;
	uint8_t key[32];
	int status, rc;

	if (in->arg && pc_peer_id_parse(in->arg, key) < 0)
		return usage_error(in, "\"%s\" is neither peer id, did:key nor label", in->arg);
	if (in->arg)
		return show(in, key_report(key));
	status = call_or_none(in, "identity show", NULL, &reply);
	if (status || reply)
		return status ? status : show(in, reply);
	fill_path(in, &path);
	rc = pc_identity_load_public(path.file, key);
	if (rc < 0)
		return fail(in, "%s: %s", path.file, load_error(rc));
	return show(in, key_report(key));
}

int run_identity_init(const struct invocation *in)
{
	struct pc_identity id;
	struct secret secret;
	int status = read_secret(in, &secret);
	int rc;

	if (status)
		return status;
	rc = pc_identity_generate(&id);
	status = rc < 0 ? fail(in, "identity: %s", pc_strerror(rc))
			: change(in, "identity init", json_object(), &secret, &id);
	pc_identity_wipe(&id);
	explicit_bzero(&secret, sizeof(secret));
	return status;
}

int run_identity_import(const struct invocation *in)
{
	struct pc_identity id;
	struct secret secret;
	char seed[2 * 32 + 1];
	json_t *args;
	int status = read_secret(in, &secret);
	int rc;

	if (status)
		return status;
	rc = pc_identity_load_foreign(in->arg, secret.given, &id);
	if (rc < 0) {
		status = bad_file(in, "%s: %s", in->arg, load_error(rc));
	} else {
		pc_format_hex(id.secret_key, 32, seed);
		args = json_pack("{s:s}", "seed", seed);
		explicit_bzero(seed, sizeof(seed));
		status = change(in, "identity import", args, &secret, &id);
		pc_identity_wipe(&id);
	}
	explicit_bzero(&secret, sizeof(secret));
	return status;
}
