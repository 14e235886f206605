/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"

/* --- where things are --- */

static int join(char *ret, size_t size, const char *variable, const char *fallback,
		const char *name)
{
	const char *base = getenv(variable), *home = getenv("HOME");
	int n;

	if (base && base[0] == '/')
		n = snprintf(ret, size, "%s/%s", base, name);
	else if (home && home[0] == '/' && fallback)
		n = snprintf(ret, size, "%s/%s/%s", home, fallback, name);
	else
		return PC_ERR_NOT_FOUND;
	return n < 0 || (size_t)n >= size ? PC_ERR_RANGE : 0;
}

int config_default_file(char *ret_path, size_t size)
{
	return join(ret_path, size, "XDG_CONFIG_HOME", ".config", "pcpeer/pcpeer.conf");
}

/* Without a runtime directory beside the configuration: it is the user's own, too. */
int config_default_socket(char *ret_path, size_t size)
{
	if (join(ret_path, size, "XDG_RUNTIME_DIR", NULL, "pcpeer/control.sock") == 0)
		return 0;
	return join(ret_path, size, "XDG_CONFIG_HOME", ".config", "pcpeer/control.sock");
}

int config_defaults(struct config *c)
{
	int rc;

	memset(c, 0, sizeof(*c));
	c->direct = true;
	c->log_level = PC_LOG_INFO;
	c->bind.ip = pc_ip4(0, 0, 0, 0);
	rc = join(c->key_file, sizeof(c->key_file), "XDG_CONFIG_HOME", ".config",
		  "pcpeer/identity.key");
	if (rc == 0)
		rc = join(c->trust_file, sizeof(c->trust_file), "XDG_CONFIG_HOME", ".config",
			  "pcpeer/trust");
	return rc ? rc : config_default_socket(c->socket, sizeof(c->socket));
}

int config_make_folder(const char *path)
{
	char part[CONFIG_PATH];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i < len; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0700) < 0 && errno != EEXIST && errno != EROFS)
			return -errno;
	}
	return 0;
}

/* --- words --- */

int relay_parse(const char *text, struct relay_spec *ret)
{
	const char *slash = strchr(text, '/');
	struct relay_spec spec;
	char addr[64];
	int rc;

	if (!slash || (size_t)(slash - text) >= sizeof(addr))
		return PC_ERR_MALFORMED;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = 0;
	rc = pc_addr_parse(addr, &spec.addr);
	if (rc == 0)
		rc = pc_peer_id_parse(slash + 1, spec.identity);
	if (rc == 0 && (spec.addr.port == 0 || pc_ip_is_any(&spec.addr.ip)))
		rc = PC_ERR_MALFORMED;
	if (rc == 0)
		*ret = spec;
	return rc;
}

int psk_parse(const char *text, struct psk_spec *ret)
{
	const char *sign = strchr(text, '=');
	struct psk_spec spec = { 0 };
	char peer[128];

	if (!sign || (size_t)(sign - text) >= sizeof(peer) || strlen(sign + 1) >= CONFIG_PATH)
		return PC_ERR_MALFORMED;
	memcpy(peer, text, (size_t)(sign - text));
	peer[sign - text] = 0;
	if (pc_peer_id_parse(peer, spec.identity) < 0)
		return PC_ERR_MALFORMED;
	snprintf(spec.file, sizeof(spec.file), "%s", sign + 1);
	*ret = spec;
	return 0;
}

int service_parse(const char *text, uint16_t *ret_port)
{
	const char *colon = strchr(text, ':');
	uint64_t port;

	if (!colon || colon == text)
		return PC_ERR_MALFORMED;
	if (strncmp(text, "udp:", 4) != 0)
		return PC_ERR_UNSUPPORTED;
	if (pc_parse_u64(colon + 1, 1, 65535, &port) < 0)
		return PC_ERR_MALFORMED;
	*ret_port = (uint16_t)port;
	return 0;
}

const char *service_format(uint16_t port, char buf[static SERVICE_STRLEN])
{
	snprintf(buf, SERVICE_STRLEN, "udp:%u", port);
	return buf;
}

/* --- the file --- */

struct parser {
	struct config *c;
	const char *path;
	char *error;
	size_t size;
	bool failed;
};

static int fail(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	if (!p->failed) {
		va_start(ap, fmt);
		vsnprintf(p->error, p->size, fmt, ap);
		va_end(ap);
	}
	p->failed = true;
	return 0;
}

static int set_relay(struct parser *p, char *value)
{
	struct config *c = p->c;

	if (c->n_relay == CONFIG_RELAYS)
		return fail(p, "more than %d relays", CONFIG_RELAYS);
	if (relay_parse(value, &c->relay[c->n_relay]) < 0)
		return fail(p, "relay \"%s\": not ADDRESS:PORT/PEER", value);
	for (size_t i = 0; i < c->n_relay; i++) {
		if (memcmp(c->relay[i].identity, c->relay[c->n_relay].identity, 32) == 0 ||
		    pc_addr_equal(&c->relay[i].addr, &c->relay[c->n_relay].addr))
			return fail(p, "relay \"%s\" is there twice", value);
	}
	c->n_relay++;
	return 1;
}

static int bad_service(struct parser *p, const char *text, int rc)
{
	return fail(p,
		    rc == PC_ERR_UNSUPPORTED ? "\"%s\": only udp services are forwarded"
					     : "\"%s\": not udp:PORT",
		    text);
}

static int set_connect(struct parser *p, char *value)
{
	char *save = NULL, *peer = strtok_r(value, " \t", &save);
	char *service = strtok_r(NULL, " \t", &save), *listen = strtok_r(NULL, " \t", &save);
	struct connect_spec *s = &p->c->connect[p->c->n_connect];
	int rc;

	if (p->c->n_connect == CONFIG_SERVICES)
		return fail(p, "more than %d connects", CONFIG_SERVICES);
	if (!listen || strtok_r(NULL, " \t", &save))
		return fail(p, "connect is PEER udp:PORT ADDRESS:PORT");
	if (pc_peer_id_parse(peer, s->peer) < 0)
		return fail(p, "\"%s\" is not the id of a peer", peer);
	rc = service_parse(service, &s->port);
	if (rc < 0)
		return bad_service(p, service, rc);
	if (pc_addr_parse(listen, &s->listen) < 0)
		return fail(p, "\"%s\": not ADDRESS:PORT", listen);
	p->c->n_connect++;
	return 1;
}

static int set_expose(struct parser *p, char *value)
{
	char *save = NULL, *service = strtok_r(value, " \t", &save);
	char *to = strtok_r(NULL, " \t", &save), *peer;
	struct expose_spec *s = &p->c->expose[p->c->n_expose];
	int rc;

	if (p->c->n_expose == CONFIG_SERVICES)
		return fail(p, "more than %d exposes", CONFIG_SERVICES);
	if (!to)
		return fail(p, "expose is udp:PORT ADDRESS:PORT [PEER...]");
	rc = service_parse(service, &s->port);
	if (rc < 0)
		return bad_service(p, service, rc);
	if (pc_addr_parse(to, &s->to) < 0)
		return fail(p, "\"%s\": not ADDRESS:PORT", to);
	for (size_t i = 0; i < p->c->n_expose; i++) {
		if (p->c->expose[i].port == s->port)
			return fail(p, "%s is exposed twice", service);
	}
	while ((peer = strtok_r(NULL, " \t", &save))) {
		if (s->n_allow == CONFIG_ALLOW)
			return fail(p, "more than %d peers for %s", CONFIG_ALLOW, service);
		if (pc_peer_id_parse(peer, s->allow[s->n_allow++]) < 0)
			return fail(p, "\"%s\" is not the id of a peer", peer);
	}
	p->c->n_expose++;
	return 1;
}

static int set_text(struct parser *p, char *dst, const char *value)
{
	if (value[0] != '/' || strlen(value) >= CONFIG_PATH)
		return fail(p, "\"%s\": not an absolute path", value);
	snprintf(dst, CONFIG_PATH, "%s", value);
	return 1;
}

static int set_peer_key(struct parser *p, const char *name, char *value)
{
	struct config *c = p->c;

	if (strcmp(name, "relay") == 0)
		return set_relay(p, value);
	if (strcmp(name, "key-file") == 0)
		return set_text(p, c->key_file, value);
	if (strcmp(name, "grant") == 0 && c->n_grant == CONFIG_RELAYS)
		return fail(p, "more than %d grants", CONFIG_RELAYS);
	if (strcmp(name, "grant") == 0)
		return set_text(p, c->grant[c->n_grant++], value);
	if (strcmp(name, "psk-file") == 0 && c->n_psk == CONFIG_RELAYS)
		return fail(p, "more than %d pre-shared keys", CONFIG_RELAYS);
	if (strcmp(name, "psk-file") == 0)
		return psk_parse(value, &c->psk[c->n_psk++]) == 0
			       ? 1
			       : fail(p, "psk-file \"%s\": not PEER=FILE", value);
	if (strcmp(name, "trust-file") == 0)
		return set_text(p, c->trust_file, value);
	if (strcmp(name, "control-socket") == 0)
		return set_text(p, c->socket, value);
	if (strcmp(name, "bind") == 0)
		return pc_addr_parse(value, &c->bind) == 0
			       ? 1
			       : fail(p, "bind \"%s\": not ADDRESS:PORT", value);
	if (strcmp(name, "direct") == 0)
		return pc_parse_bool(value, &c->direct) == 0
			       ? 1
			       : fail(p, "direct \"%s\": not yes or no", value);
	if (strcmp(name, "log-level") == 0)
		return pc_log_parse_level(value, &c->log_level) == 0
			       ? 1
			       : fail(p, "log-level \"%s\": not error, warning, info or debug",
				      value);
	return fail(p, "unknown key \"%s\"", name);
}

/* For inih: non-zero is success. */
static int set_key(void *ctx, const char *section, const char *name, const char *value)
{
	struct parser *p = ctx;
	char copy[8192];

	if (snprintf(copy, sizeof(copy), "%s", value) >= (int)sizeof(copy))
		return fail(p, "%s: too long", name);
	if (strcmp(section, "peer") == 0)
		return set_peer_key(p, name, copy);
	if (strcmp(section, "services") == 0 && strcmp(name, "connect") == 0)
		return set_connect(p, copy);
	if (strcmp(section, "services") == 0 && strcmp(name, "expose") == 0)
		return set_expose(p, copy);
	return fail(p, "unknown key \"%s\" in section [%s]", name, section);
}

int config_load(const char *path, struct config *c, char *ret_error, size_t size)
{
	char what[512] = "not KEY = VALUE";
	struct parser p = { .c = c, .path = path, .error = what, .size = sizeof(what) };
	_cleanup_file_ FILE *f = fopen(path, "re");
	int line;

	if (!f) {
		snprintf(ret_error, size, "%s: %s", path, pc_strerror(-errno));
		return -errno;
	}
	line = ini_parse_file(f, set_key, &p);
	if (line == 0)
		return 0;
	snprintf(ret_error, size, "%s:%d: %s", path, line, what);
	return PC_ERR_MALFORMED;
}
