/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"

#define PC_CONFIG_MAX_FILE (1u << 20)
/* One place is kept for the built-in secret. */
#define PC_CONFIG_MAX_SECRETS (PC_TURN_MAX_SECRETS - 1)

struct parser {
	struct pc_config *c;
	const char *name; /* of the file */
	const char *text;
	size_t len, pos;
	unsigned int line;
	const char *key; /* being set */
	uint64_t seen;	 /* bit by index into keys[] */
	bool failed;
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct parser *p, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	if (p->failed)
		return PC_ERR_MALFORMED;
	p->failed = true;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (p->line)
		snprintf(p->error, p->error_size, "%s:%u: %s", p->name, p->line, what);
	else
		snprintf(p->error, p->error_size, "%s: %s", p->name, what);
	return PC_ERR_MALFORMED;
}

/* --- values --- */

static int set_path(struct parser *p, const char *value, char *dst, size_t size)
{
	if (value[0] != '/')
		return fail(p, "%s \"%s\": not an absolute path", p->key, value);
	if (strlen(value) >= size)
		return fail(p, "%s \"%s\": longer than %zu characters", p->key, value, size - 1);
	snprintf(dst, size, "%s", value);
	return 0;
}

static int set_state_dir(struct parser *p, const char *value)
{
	return set_path(p, value, p->c->state_dir, sizeof(p->c->state_dir));
}

static int set_control_socket(struct parser *p, const char *value)
{
	return set_path(p, value, p->c->control_socket, sizeof(p->c->control_socket));
}

static int set_bpffs(struct parser *p, const char *value)
{
	return set_path(p, value, p->c->bpffs, sizeof(p->c->bpffs));
}

static int set_user(struct parser *p, const char *value)
{
	if (strlen(value) >= sizeof(p->c->user))
		return fail(p, "user \"%s\": longer than %zu characters", value,
			    sizeof(p->c->user) - 1);
	snprintf(p->c->user, sizeof(p->c->user), "%s", value);
	return 0;
}

static int set_log_level(struct parser *p, const char *value)
{
	if (pc_log_parse_level(value, &p->c->log_level))
		return fail(p, "log-level \"%s\": not one of error, warning, info, debug", value);
	return 0;
}

static int set_listen(struct parser *p, const char *value)
{
	struct pc_config *c = p->c;
	struct pc_addr a;

	if (pc_addr_parse(value, &a) || a.port == 0)
		return fail(p,
			    "listen \"%s\": not ADDR:PORT (1.2.3.4:3478, [2001:db8::1]:3478, "
			    "0.0.0.0:3478, [::]:3478)",
			    value);
	for (size_t i = 0; i < c->n_listen; i++)
		if (pc_addr_equal(&c->listen[i], &a))
			return fail(p, "listen \"%s\": given twice", value);
	if (c->n_listen == PC_CONFIG_MAX_LISTEN)
		return fail(p, "listen \"%s\": more than %d addresses", value,
			    PC_CONFIG_MAX_LISTEN);
	c->listen[c->n_listen++] = a;
	return 0;
}

static int parse_host(struct parser *p, const char *value, struct pc_ip *ret_ip)
{
	if (pc_ip_parse(value, ret_ip))
		return fail(p, "%s \"%s\": not an IPv4 or IPv6 address", p->key, value);
	if (pc_ip_is_any(ret_ip))
		return fail(p, "%s \"%s\": a wildcard is no address", p->key, value);
	return 0;
}

static int set_relay_address(struct parser *p, const char *value)
{
	struct pc_config *c = p->c;
	struct pc_ip ip;

	if (parse_host(p, value, &ip))
		return PC_ERR_MALFORMED;
	for (size_t i = 0; i < c->n_relay_address; i++)
		if (pc_ip_equal(&c->relay_address[i], &ip))
			return fail(p, "relay-address \"%s\": given twice", value);
	if (c->n_relay_address == PC_TURN_MAX_RELAY_IPS)
		return fail(p, "relay-address \"%s\": more than %d addresses", value,
			    PC_TURN_MAX_RELAY_IPS);
	c->relay_address[c->n_relay_address++] = ip;
	return 0;
}

static int set_external_address(struct parser *p, const char *value)
{
	struct pc_config *c = p->c;
	struct pc_ip ip;

	if (parse_host(p, value, &ip))
		return PC_ERR_MALFORMED;
	for (size_t i = 0; i < c->n_external_address; i++)
		if (c->external_address[i].family == ip.family)
			return fail(p, "external-address \"%s\": a second one for IPv%d", value,
				    ip.family);
	c->external_address[c->n_external_address++] = ip;
	return 0;
}

static int set_ports(struct parser *p, const char *value)
{
	uint16_t low, high;

	if (pc_parse_port_range(value, &low, &high))
		return fail(p, "ports \"%s\": not LOW-HIGH with LOW not above HIGH", value);
	if (low < 1024)
		return fail(p, "ports \"%s\": below 1024", value);
	p->c->port_low = low;
	p->c->port_high = high;
	return 0;
}

static int set_interface(struct parser *p, const char *value)
{
	struct pc_config *c = p->c;

	if (strlen(value) >= IF_NAMESIZE || strchr(value, '/') || strchr(value, ' '))
		return fail(p, "interface \"%s\": not the name of an interface", value);
	for (size_t i = 0; i < c->n_interface; i++)
		if (strcmp(c->interface[i], value) == 0)
			return fail(p, "interface \"%s\": given twice", value);
	if (c->n_interface == PC_CONFIG_MAX_INTERFACES)
		return fail(p, "interface \"%s\": more than %d interfaces", value,
			    PC_CONFIG_MAX_INTERFACES);
	snprintf(c->interface[c->n_interface++], IF_NAMESIZE, "%s", value);
	return 0;
}

/* Goes into STUN messages as a quoted string without escapes. */
static int set_realm(struct parser *p, const char *value)
{
	if (strlen(value) >= sizeof(p->c->realm))
		return fail(p, "realm \"%s\": longer than %zu characters", value,
			    sizeof(p->c->realm) - 1);
	for (const char *s = value; *s; s++)
		if (*s < 0x20 || *s > 0x7e || *s == '"' || *s == '\\')
			return fail(p, "realm \"%s\": only printable ASCII without \" and \\",
				    value);
	snprintf(p->c->realm, sizeof(p->c->realm), "%s", value);
	return 0;
}

static int set_xdp(struct parser *p, const char *value)
{
	if (pc_dp_mode_parse(value, &p->c->xdp))
		return fail(p, "xdp \"%s\": not one of auto, native, generic, off", value);
	return 0;
}

static int set_number(struct parser *p, const char *value, uint64_t min, uint64_t max,
		      uint32_t *dst)
{
	uint64_t v;

	if (pc_parse_u64(value, min, max, &v))
		return fail(p, "%s \"%s\": not a number from %llu to %llu", p->key, value,
			    (unsigned long long)min, (unsigned long long)max);
	*dst = (uint32_t)v;
	return 0;
}

static int set_max_sessions(struct parser *p, const char *value)
{
	return set_number(p, value, 1, 4u << 20, &p->c->max_sessions);
}

static int set_stranger_replies(struct parser *p, const char *value)
{
	return set_number(p, value, 0, 1000000, &p->c->stranger_replies);
}

static int set_linger(struct parser *p, const char *value)
{
	return set_number(p, value, 0, 86400, &p->c->linger_s);
}

/* The text is never repeated in an error: it is a secret. */
static int set_secret(struct parser *p, const char *value)
{
	struct pc_config *c = p->c;

	if (strlen(value) >= PC_CONFIG_MAX_SECRET)
		return fail(p, "secret: longer than %d characters", PC_CONFIG_MAX_SECRET - 1);
	if (c->n_secret == PC_CONFIG_MAX_SECRETS)
		return fail(p, "secret: more than %d", PC_CONFIG_MAX_SECRETS);
	for (size_t i = 0; i < c->n_secret; i++)
		if (strcmp(c->secret[i].text, value) == 0)
			return fail(p, "secret: given twice");
	snprintf(c->secret[c->n_secret++].text, PC_CONFIG_MAX_SECRET, "%s", value);
	return 0;
}

static int add_rule(struct parser *p, const char *value, bool allow)
{
	struct pc_config *c = p->c;
	struct pc_config_rule *grown;
	struct pc_prefix prefix;

	if (pc_prefix_parse(value, &prefix))
		return fail(p, "%s \"%s\": not an address or prefix (192.0.2.0/24, 2001:db8::/32)",
			    p->key, value);
	if (c->n_rule == PC_CONFIG_MAX_RULES)
		return fail(p, "%s \"%s\": more than %d rules", p->key, value, PC_CONFIG_MAX_RULES);
	grown = realloc(c->rule, (c->n_rule + 1) * sizeof(*grown));
	if (!grown)
		return fail(p, "out of memory");
	c->rule = grown;
	c->rule[c->n_rule++] = (struct pc_config_rule){ .prefix = prefix, .allow = allow };
	return 0;
}

static int set_allow_peer(struct parser *p, const char *value)
{
	return add_rule(p, value, true);
}

static int set_deny_peer(struct parser *p, const char *value)
{
	return add_rule(p, value, false);
}

static int set_allow_all_peer_ports(struct parser *p, const char *value)
{
	if (pc_parse_bool(value, &p->c->allow_all_peer_ports))
		return fail(p, "allow-all-peer-ports \"%s\": not yes or no", value);
	return 0;
}

static const struct key {
	const char *section, *name;
	bool repeatable;
	int (*set)(struct parser *p, const char *value);
} keys[] = {
	{ "node", "state-dir", false, set_state_dir },
	{ "node", "control-socket", false, set_control_socket },
	{ "node", "user", false, set_user },
	{ "node", "log-level", false, set_log_level },
	{ "node", "bpffs", false, set_bpffs },
	{ "relay", "listen", true, set_listen },
	{ "relay", "relay-address", true, set_relay_address },
	{ "relay", "external-address", true, set_external_address },
	{ "relay", "ports", false, set_ports },
	{ "relay", "interface", true, set_interface },
	{ "relay", "realm", false, set_realm },
	{ "relay", "xdp", false, set_xdp },
	{ "relay", "max-sessions", false, set_max_sessions },
	{ "relay", "secret", true, set_secret },
	{ "relay", "allow-peer", true, set_allow_peer },
	{ "relay", "deny-peer", true, set_deny_peer },
	{ "relay", "allow-all-peer-ports", false, set_allow_all_peer_ports },
	{ "relay", "stranger-replies", false, set_stranger_replies },
	{ "relay", "linger", false, set_linger },
};
_Static_assert(PC_ARRAY_SIZE(keys) <= 64, "parser.seen is a bit by key");

static bool section_known(const char *name, size_t len)
{
	for (size_t i = 0; i < PC_ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].section) == len && memcmp(keys[i].section, name, len) == 0)
			return true;
	return false;
}

/* --- reading --- */

/* inih says nothing of sections without keys, nor of what follows the bracket. */
static bool section_line_ok(struct parser *p, const char *line, size_t len)
{
	const char *close = memchr(line, ']', len);
	const char *rest;

	if (!close)
		return true; /* inih refuses the line */
	for (rest = close + 1; rest < line + len && isspace((unsigned char)*rest); rest++)
		;
	if (rest < line + len && *rest != ';' && *rest != '#') {
		fail(p, "\"%.*s\": text after the section's name", (int)len, line);
		return false;
	}
	if (!section_known(line + 1, (size_t)(close - line - 1))) {
		fail(p, "unknown section \"%.*s\"; there are [node] and [relay]",
		     (int)(close - line + 1), line);
		return false;
	}
	return true;
}

/*
 * One line for inih: counted, without the indentation that would make it a continuation, and
 * whole, because inih would take the rest of a long line for another one.
 */
static char *read_line(char *str, int num, void *stream)
{
	struct parser *p = stream;
	const char *start = p->text + p->pos, *end;
	size_t left = p->len - p->pos, len;

	if (p->failed || left == 0)
		return NULL;
	p->line++;
	end = memchr(start, '\n', left);
	len = end ? (size_t)(end - start) : left;
	p->pos += len + (end ? 1 : 0);
	if (len && start[len - 1] == '\r')
		len--;
	if (p->line == 1 && len >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0) {
		start += 3;
		len -= 3;
	}
	for (; len && (*start == ' ' || *start == '\t'); len--)
		start++;
	for (size_t i = 0; i < len; i++) {
		if (((unsigned char)start[i] < 0x20 && start[i] != '\t') || start[i] == 0x7f) {
			fail(p, "control character 0x%02x", (unsigned char)start[i]);
			return NULL;
		}
	}
	if (len + 2 > (size_t)num) {
		fail(p, "line longer than %d characters", num - 2);
		return NULL;
	}
	if (len && start[0] == '[' && !section_line_ok(p, start, len))
		return NULL;
	memcpy(str, start, len);
	str[len] = '\n';
	str[len + 1] = '\0';
	return str;
}

/* For inih: non-zero is success. */
static int set_key(void *user, const char *section, const char *name, const char *value)
{
	struct parser *p = user;

	if (p->failed)
		return 0;
	if (section[0] == '\0')
		return !fail(p, "key \"%s\" before the first section", name);
	for (size_t i = 0; i < PC_ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].name, name) != 0)
			continue;
		if (!keys[i].repeatable && (p->seen & (1ull << i)))
			return !fail(p, "key \"%s\" given twice", name);
		if (value[0] == '\0')
			return !fail(p, "key \"%s\" has no value", name);
		p->seen |= 1ull << i;
		p->key = keys[i].name;
		return keys[i].set(p, value) == 0;
	}
	return !fail(p, "unknown key \"%s\" in [%s]", name, section);
}

/* --- what holds between keys --- */

static int check_ports(struct parser *p)
{
	const struct pc_config *c = p->c;
	uint16_t port[PC_CONFIG_MAX_LISTEN];
	size_t n = 0, j;

	for (size_t i = 0; i < c->n_listen; i++) {
		uint16_t have = c->listen[i].port;

		if (have >= c->port_low && have <= c->port_high)
			return fail(p, "listen port %u lies inside ports %u-%u", have, c->port_low,
				    c->port_high);
		for (j = 0; j < n && port[j] != have; j++)
			;
		if (j == n)
			port[n++] = have;
	}
	if (n == 0 && PC_CONFIG_DEFAULT_PORT >= c->port_low &&
	    PC_CONFIG_DEFAULT_PORT <= c->port_high)
		return fail(p, "listen port %u (default) lies inside ports %u-%u",
			    PC_CONFIG_DEFAULT_PORT, c->port_low, c->port_high);
	if (n > PC_MAX_SERVICE_PORTS)
		return fail(p, "listen has %zu different ports; at most %d", n,
			    PC_MAX_SERVICE_PORTS);
	return 0;
}

static void bad_line(struct parser *p, unsigned int line)
{
	const char *start = p->text, *end;

	for (unsigned int i = 1; i < line; i++) {
		end = memchr(start, '\n', p->len - (size_t)(start - p->text));
		if (!end)
			break;
		start = end + 1;
	}
	end = start;
	while (end < p->text + p->len && *end != '\n' && *end != '\r')
		end++;
	p->line = line;
	/* A line without "=" may still be half of a secret. */
	if (end - start >= 6 && strncasecmp(start, "secret", 6) == 0)
		end = start + 6;
	fail(p, "\"%.*s\": neither [section] nor key = value", (int)(end - start), start);
}

void pc_config_defaults(struct pc_config *c)
{
	*c = (struct pc_config){
		.state_dir = "/var/lib/pcd",
		.control_socket = "/run/pcd/control.sock",
		.bpffs = "/sys/fs/bpf/pcd",
		.log_level = PC_LOG_INFO,
		.port_low = 49152,
		.port_high = 65535,
		.realm = "pc",
		.xdp = PC_DP_AUTO,
		.max_sessions = 65536,
		.stranger_replies = 20,
		.linger_s = 300,
	};
}

int pc_config_parse(const char *text, size_t len, const char *name, struct pc_config *ret_config,
		    char *ret_error, size_t error_size)
{
	struct pc_config c;
	struct parser p = {
		.c = &c,
		.name = name,
		.text = text,
		.len = len,
		.error = ret_error,
		.error_size = error_size,
	};
	int r;

	pc_config_defaults(&c);
	r = ini_parse_stream(read_line, &p, set_key, &p);
	if (r > 0 && !p.failed)
		bad_line(&p, (unsigned int)r);
	else if (r < 0 && !p.failed)
		fail(&p, "out of memory");
	p.line = 0;
	if (!p.failed)
		check_ports(&p);
	if (p.failed) {
		pc_config_free(&c);
		return PC_ERR_MALFORMED;
	}
	*ret_config = c;
	explicit_bzero(c.secret, sizeof(c.secret));
	return 0;
}

int pc_config_load(const char *path, struct pc_config *ret_config, char *ret_error,
		   size_t error_size)
{
	_cleanup_file_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = -errno;

	if (!f) {
		snprintf(ret_error, error_size, "%s: %s", path, pc_strerror(r));
		return r;
	}
	text = malloc(PC_CONFIG_MAX_FILE + 1);
	if (!text) {
		snprintf(ret_error, error_size, "%s: out of memory", path);
		return -ENOMEM;
	}
	errno = 0;
	len = fread(text, 1, PC_CONFIG_MAX_FILE + 1, f);
	if (ferror(f)) {
		r = errno ? -errno : -EIO;
		snprintf(ret_error, error_size, "%s: %s", path, pc_strerror(r));
	} else if (len > PC_CONFIG_MAX_FILE) {
		r = PC_ERR_RANGE;
		snprintf(ret_error, error_size, "%s: larger than 1 MiB", path);
	} else {
		r = pc_config_parse(text, len, path, ret_config, ret_error, error_size);
	}
	explicit_bzero(text, len);
	return r;
}

void pc_config_free(struct pc_config *c)
{
	free(c->rule);
	c->rule = NULL;
	c->n_rule = 0;
	explicit_bzero(c->secret, sizeof(c->secret));
	c->n_secret = 0;
}
