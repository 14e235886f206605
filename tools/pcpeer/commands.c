/* SPDX-License-Identifier: MIT */
/* What pcpeer does: with its files, or by a word to the agent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "account/identity.h"
#include "agent.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "ctl/cli.h"
#include "ctl/ctl.h"
#include "pcpeer.h"

static const char *first(const struct invocation *in, enum option_id o)
{
	return in->n_option[o] ? in->option[o][0] : NULL;
}

/* --- files --- */

/* Without a file everything has its default, unless the file was named. */
static int load(const struct invocation *in, struct config *c)
{
	const char *given = first(in, OPT_CONFIG), *key = first(in, OPT_KEY_FILE);
	char path[CONFIG_PATH], error[1024];
	int rc = config_defaults(c);

	if (rc == 0)
		rc = config_default_file(path, sizeof(path));
	if (rc < 0 && !given)
		return fail(in, EXIT_FAILED, "where are this user's files? $HOME is not set");
	rc = config_load(given ? given : path, c, error, sizeof(error));
	if (rc < 0 && (given || rc != -ENOENT))
		return fail(in, EXIT_USAGE, "%s", error);
	if (key && strlen(key) >= sizeof(c->key_file))
		return fail(in, EXIT_USAGE, "--key-file is too long");
	if (key)
		snprintf(c->key_file, sizeof(c->key_file), "%s", key);
	if (in->given_socket)
		snprintf(c->socket, sizeof(c->socket), "%s", in->socket);
	return EXIT_DONE;
}

static const char *key_error(int rc)
{
	switch (rc) {
	case PC_ERR_REFUSED:
		return "others can read it, or it is somebody else's; its mode has to be 0600";
	case PC_ERR_MALFORMED:
		return "not a key file";
	case PC_ERR_LOCKED:
		return "it is sealed by a passphrase";
	case PC_ERR_UNSUPPORTED:
		return "a key of libp2p, but not Ed25519";
	default:
		return pc_strerror(rc);
	}
}

/* The identity; made where there is none. */
static int identity(const struct invocation *in, const struct config *c, struct pc_identity *ret_id)
{
	int rc = pc_identity_load(c->key_file, ret_id);

	if (rc == -ENOENT) {
		rc = config_make_folder(c->key_file);
		if (rc == 0)
			rc = pc_identity_generate(ret_id);
		if (rc == 0)
			rc = pc_identity_save(c->key_file, ret_id, 0);
	}
	if (rc < 0)
		return fail(in, EXIT_FAILED, "%s: %s", c->key_file, key_error(rc));
	return EXIT_DONE;
}

static int show(const struct invocation *in, const struct pc_identity *id)
{
	char peer_id[PC_PEER_ID_STRLEN], did[PC_DID_STRLEN], label[PC_LABEL_STRLEN];
	const uint8_t *key = id->public_key;

	pc_peer_id_format(key, peer_id);
	pc_did_format(key, did);
	pc_label_format(key, label);
	return done(in,
		    json_pack("{s:s, s:s, s:s}", "peer_id", peer_id, "did", did, "label", label),
		    "peer id  %s\ndid      %s\nlabel    %s", peer_id, did, label);
}

int run_identity_show(const struct invocation *in)
{
	struct pc_identity id;
	struct config c;
	int status = load(in, &c);

	if (status == EXIT_DONE)
		status = identity(in, &c, &id);
	if (status == EXIT_DONE)
		status = show(in, &id);
	pc_identity_wipe(&id);
	return status;
}

int run_identity_import(const struct invocation *in)
{
	struct pc_identity id;
	struct config c;
	int rc, status = load(in, &c);

	if (status)
		return status;
	rc = pc_identity_load_foreign(in->arg[0], NULL, &id);
	if (rc < 0)
		return fail(in, EXIT_USAGE, "%s: %s", in->arg[0], key_error(rc));
	rc = config_make_folder(c.key_file);
	if (rc == 0)
		rc = pc_identity_save(c.key_file, &id, in->n_option[OPT_REPLACE] != 0);
	if (rc == PC_ERR_EXISTS)
		status = fail(in, EXIT_FAILED,
			      "%s exists already; --replace gives up that identity", c.key_file);
	else if (rc < 0)
		status = fail(in, EXIT_FAILED, "%s: %s", c.key_file, pc_strerror(rc));
	else
		status = show(in, &id);
	pc_identity_wipe(&id);
	return status;
}

static int add_grant(const struct invocation *in, const char *path, const uint8_t *payer,
		     struct grants *all, struct grant *ret_grant)
{
	char error[256];

	if (grant_load(path, payer, agent_realtime_s(), ret_grant, error, sizeof(error)) < 0)
		return fail(in, EXIT_USAGE, "%s: %s", path, error);
	if (grants_add(all, ret_grant) < 0)
		return fail(in, EXIT_USAGE, "grants for more than %d relays", CONFIG_RELAYS);
	return EXIT_DONE;
}

static bool names_relay(const struct config *c, const uint8_t identity[static 32])
{
	size_t i = 0;

	while (i < c->n_relay && memcmp(c->relay[i].identity, identity, 32) != 0)
		i++;
	return i < c->n_relay;
}

/* Of the configuration, then of the command. */
static int up_grants(const struct invocation *in, const struct config *c,
		     const struct pc_identity *id, struct grants *all)
{
	int status = EXIT_DONE;

	for (size_t i = 0; !status && i < c->n_grant + in->n_option[OPT_GRANT]; i++) {
		const char *path =
			i < c->n_grant ? c->grant[i] : in->option[OPT_GRANT][i - c->n_grant];
		struct grant g;

		status = add_grant(in, path, id->public_key, all, &g);
		if (!status && !names_relay(c, g.relay))
			status = fail(in, EXIT_USAGE,
				      "%s: a grant for %s, which is none of the relays", path,
				      id_text(g.relay));
	}
	return status;
}

static int load_psk(const struct invocation *in, struct config *c, struct psk_spec *s)
{
	int rc = pc_psk_load(s->file, s->key);

	if (!names_relay(c, s->identity))
		return fail(in, EXIT_USAGE, "psk-file: %s is none of the relays",
			    id_text(s->identity));
	return rc < 0 ? fail(in, EXIT_USAGE, "%s: %s", s->file, pc_psk_error(rc)) : EXIT_DONE;
}

/* Of the configuration and of the command. */
static int load_psks(const struct invocation *in, struct config *c)
{
	int status = EXIT_DONE;

	for (unsigned int i = 0; i < in->n_option[OPT_PSK_FILE]; i++) {
		const char *text = in->option[OPT_PSK_FILE][i];

		if (c->n_psk == CONFIG_RELAYS)
			return fail(in, EXIT_USAGE, "more than %d pre-shared keys", CONFIG_RELAYS);
		if (psk_parse(text, &c->psk[c->n_psk++]) < 0)
			return fail(in, EXIT_USAGE, "psk-file \"%s\": not PEER=FILE", text);
	}
	for (size_t i = 0; !status && i < c->n_psk; i++)
		status = load_psk(in, c, &c->psk[i]);
	return status;
}

int run_up(const struct invocation *in)
{
	static struct config c;
	struct grants grants = { 0 };
	struct pc_identity id;
	int status = load(in, &c);

	for (unsigned int i = 0; status == EXIT_DONE && i < in->n_option[OPT_RELAY]; i++) {
		if (c.n_relay == CONFIG_RELAYS)
			return fail(in, EXIT_USAGE, "more than %d relays", CONFIG_RELAYS);
		if (relay_parse(in->option[OPT_RELAY][i], &c.relay[c.n_relay++]) < 0)
			return fail(in, EXIT_USAGE, "relay \"%s\": not ADDRESS:PORT/PEER",
				    in->option[OPT_RELAY][i]);
	}
	if (status == EXIT_DONE && !c.n_relay)
		return fail(in, EXIT_USAGE, "there is no relay: --relay ADDRESS:PORT/PEER");
	if (status == EXIT_DONE)
		status = identity(in, &c, &id);
	if (status)
		return status;
	pc_log_set_level(c.log_level);
	status = load_psks(in, &c);
	if (!status)
		status = up_grants(in, &c, &id, &grants);
	if (!status)
		status = agent_run(&c, &id, &grants) < 0 ? EXIT_FAILED : EXIT_DONE;
	explicit_bzero(c.psk, sizeof(c.psk));
	pc_identity_wipe(&id);
	return status;
}

/* --- words to the agent --- */

static int check_peer(const struct invocation *in, const char *text)
{
	uint8_t key[32];

	if (pc_peer_id_parse(text, key) < 0)
		return fail(in, EXIT_USAGE, "\"%s\" is neither peer id, did:key nor label", text);
	return EXIT_DONE;
}

static int check_service(const struct invocation *in, const char *text)
{
	uint16_t port;
	int rc = service_parse(text, &port);

	if (rc == PC_ERR_UNSUPPORTED)
		return fail(in, EXIT_USAGE, "\"%s\": only udp services are forwarded", text);
	if (rc < 0)
		return fail(in, EXIT_USAGE, "\"%s\": not udp:PORT", text);
	return EXIT_DONE;
}

static int check_address(const struct invocation *in, enum option_id o, const char *name)
{
	struct pc_addr addr;

	if (!first(in, o))
		return fail(in, EXIT_USAGE, "--%s ADDRESS:PORT is missing", name);
	if (pc_addr_parse(first(in, o), &addr) < 0)
		return fail(in, EXIT_USAGE, "--%s \"%s\": not ADDRESS:PORT", name, first(in, o));
	return EXIT_DONE;
}

/* The files are read here, for the agent may be another user's. */
static int connect_grant_args(const struct invocation *in, json_t *args)
{
	json_t *list = json_array();
	struct grants all = { 0 };
	int status = EXIT_DONE;

	for (unsigned int i = 0; !status && i < in->n_option[OPT_GRANT]; i++) {
		char text[GRANT_TEXT_LEN];
		struct grant g;

		status = add_grant(in, in->option[OPT_GRANT][i], NULL, &all, &g);
		if (status)
			break;
		grant_encode(g.bytes, text);
		json_array_append_new(list, json_string(text));
	}
	if (in->n_option[OPT_GRANT])
		json_object_set(args, "grants", list);
	json_decref(list);
	return status;
}

int run_connect(const struct invocation *in)
{
	bool off = in->n_option[OPT_OFF] != 0;
	bool later = in->n_option[OPT_GRANT] && !in->n_option[OPT_LISTEN];
	int status = check_peer(in, in->arg[0]);
	json_t *args, *reply;

	if (!status)
		status = check_service(in, in->arg[1]);
	if (!status && off && in->n_option[OPT_GRANT])
		status = fail(in, EXIT_USAGE, "--off takes no grant");
	if (!status && !off && !later)
		status = check_address(in, OPT_LISTEN, "listen");
	if (status)
		return status;
	args = json_pack("{s:s, s:s}", "peer", in->arg[0], "service", in->arg[1]);
	if (!off && !later)
		json_object_set_new(args, "listen", json_string(first(in, OPT_LISTEN)));
	status = connect_grant_args(in, args);
	if (status) {
		json_decref(args);
		return status;
	}
	status = call(in, off ? "disconnect" : "connect", args, &reply);
	if (status)
		return status;
	if (off)
		return done(in, reply, "%s is no longer connected", in->arg[1]);
	return done(in, reply, "%s of that peer is at %s", in->arg[1],
		    json_string_value(json_object_get(reply, "listen")));
}

int run_expose(const struct invocation *in)
{
	bool off = in->n_option[OPT_OFF] != 0;
	int status = check_service(in, in->arg[0]);
	json_t *args, *reply, *allow;

	if (!status && !off)
		status = check_address(in, OPT_TO, "to");
	for (unsigned int i = 0; !status && i < in->n_option[OPT_ALLOW]; i++)
		status = check_peer(in, in->option[OPT_ALLOW][i]);
	if (status)
		return status;
	args = json_pack("{s:s}", "service", in->arg[0]);
	if (!off) {
		json_object_set_new(args, "to", json_string(first(in, OPT_TO)));
		allow = json_array();
		for (unsigned int i = 0; i < in->n_option[OPT_ALLOW]; i++)
			json_array_append_new(allow, json_string(in->option[OPT_ALLOW][i]));
		json_object_set_new(args, "allow", allow);
	}
	status = call(in, off ? "unexpose" : "expose", args, &reply);
	if (status)
		return status;
	return done(in, reply, off ? "%s is no longer exposed" : "%s is exposed", in->arg[0]);
}

/* --- trust: the file decides, the agent is told when there is one --- */

static int tell_agent(const struct invocation *in, const struct config *c)
{
	json_t *reply = NULL;
	int rc = pc_ctl_call(c->socket, "trust", NULL, 10000, &reply);

	if (rc == 0 && pc_ctl_error(reply))
		rc = fail(in, EXIT_FAILED, "%s", pc_ctl_error(reply));
	else if (rc == 0 || pc_cli_no_daemon(rc))
		rc = EXIT_DONE;
	else
		rc = fail(in, EXIT_FAILED, "%s: %s", c->socket, pc_strerror(rc));
	json_decref(reply);
	return rc;
}

static int change_trust(const struct invocation *in, bool add)
{
	char error[1024];
	struct trust t;
	struct config c;
	uint8_t key[32];
	int rc, status = check_peer(in, in->arg[0]);

	if (!status)
		status = load(in, &c);
	if (status)
		return status;
	if (trust_load(c.trust_file, &t, error, sizeof(error)) < 0)
		return fail(in, EXIT_FAILED, "%s", error);
	rc = pc_peer_id_parse(in->arg[0], key);
	if (rc == 0)
		rc = add ? trust_add(&t, key) : trust_remove(&t, key);
	if (rc == 0)
		rc = trust_save(c.trust_file, &t);
	trust_free(&t);
	if (rc == PC_ERR_EXISTS || rc == PC_ERR_NOT_FOUND)
		return fail(in, EXIT_FAILED, "that peer is %s",
			    add ? "trusted already" : "not trusted");
	if (rc < 0)
		return fail(in, EXIT_FAILED, "%s: %s", c.trust_file, pc_strerror(rc));
	status = tell_agent(in, &c);
	return status ? status
		      : done(in, json_object(), "%s is %s", id_text(key),
			     add ? "trusted" : "no longer trusted");
}

int run_trust_add(const struct invocation *in)
{
	return change_trust(in, true);
}

int run_trust_remove(const struct invocation *in)
{
	return change_trust(in, false);
}

int run_trust_list(const struct invocation *in)
{
	json_t *list = json_array();
	char error[1024];
	struct config c;
	struct trust t;
	int status = load(in, &c);

	if (!status && trust_load(c.trust_file, &t, error, sizeof(error)) < 0)
		status = fail(in, EXIT_FAILED, "%s", error);
	if (status) {
		json_decref(list);
		return status;
	}
	for (size_t i = 0; i < t.n; i++) {
		json_array_append_new(list, json_string(id_text(t.peer[i])));
		if (!in->json)
			printf("%s\n", id_text(t.peer[i]));
	}
	trust_free(&t);
	return done(in, json_pack("{s:o}", "peers", list), NULL);
}
