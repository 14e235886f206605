/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/config_int.h"

#define PC_CONFIG_MAX_FILE (1u << 20)

static bool section_known(const char *name, size_t len)
{
	for (size_t i = 0; i < pc_config_n_keys; i++)
		if (strlen(pc_config_keys[i].section) == len &&
		    memcmp(pc_config_keys[i].section, name, len) == 0)
			return true;
	return false;
}

/* --- reading --- */

/* inih says nothing of sections without keys, nor of what follows the bracket. */
static bool section_line_ok(struct pc_config_parser *p, const char *line, size_t len)
{
	const char *close = memchr(line, ']', len);
	const char *rest;

	if (!close)
		return true; /* inih refuses the line */
	for (rest = close + 1; rest < line + len && isspace((unsigned char)*rest); rest++)
		;
	if (rest < line + len && *rest != ';' && *rest != '#') {
		pc_config_fail(p, "\"%.*s\": text after the section's name", (int)len, line);
		return false;
	}
	if (pc_config_tier_section(line + 1, (size_t)(close - line - 1)))
		return pc_config_tier_begin(p, line + 1, (size_t)(close - line - 1)) == 0;
	if (!section_known(line + 1, (size_t)(close - line - 1))) {
		pc_config_fail(
			p, "unknown section \"%.*s\"; there are [node], [relay] and [tier NAME]",
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
	struct pc_config_parser *p = stream;
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
			pc_config_fail(p, "control character 0x%02x", (unsigned char)start[i]);
			return NULL;
		}
	}
	if (len + 2 > (size_t)num) {
		pc_config_fail(p, "line longer than %d characters", num - 2);
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
	struct pc_config_parser *p = user;

	if (p->failed)
		return 0;
	if (section[0] == '\0')
		return !pc_config_fail(p, "key \"%s\" before the first section", name);
	if (pc_config_tier_section(section, strlen(section))) {
		if (value[0] == '\0')
			return !pc_config_fail(p, "key \"%s\" has no value", name);
		return pc_config_tier_key(p, name, value) == 0;
	}
	for (size_t i = 0; i < pc_config_n_keys; i++) {
		if (strcmp(pc_config_keys[i].section, section) != 0 ||
		    strcmp(pc_config_keys[i].name, name) != 0)
			continue;
		if (!pc_config_keys[i].repeatable && (p->seen & (1ull << i)))
			return !pc_config_fail(p, "key \"%s\" given twice", name);
		if (value[0] == '\0')
			return !pc_config_fail(p, "key \"%s\" has no value", name);
		p->seen |= 1ull << i;
		p->key = pc_config_keys[i].name;
		return pc_config_keys[i].set(p, value) == 0;
	}
	return !pc_config_fail(p, "unknown key \"%s\" in [%s]", name, section);
}

/* --- what holds between keys --- */

static int check_ports(struct pc_config_parser *p)
{
	const struct pc_config *c = p->c;
	uint16_t port[PC_CONFIG_MAX_LISTEN];
	size_t n = 0, j;

	for (size_t i = 0; i < c->n_listen; i++) {
		uint16_t have = c->listen[i].port;

		if (have >= c->port_low && have <= c->port_high)
			return pc_config_fail(p, "listen port %u lies inside ports %u-%u", have,
					      c->port_low, c->port_high);
		for (j = 0; j < n && port[j] != have; j++)
			;
		if (j == n)
			port[n++] = have;
	}
	if (n == 0 && PC_CONFIG_DEFAULT_PORT >= c->port_low &&
	    PC_CONFIG_DEFAULT_PORT <= c->port_high)
		return pc_config_fail(p, "listen port %u (default) lies inside ports %u-%u",
				      PC_CONFIG_DEFAULT_PORT, c->port_low, c->port_high);
	if (n > PC_MAX_SERVICE_PORTS)
		return pc_config_fail(p, "listen has %zu different ports; at most %d", n,
				      PC_MAX_SERVICE_PORTS);
	return 0;
}

static void bad_line(struct pc_config_parser *p, unsigned int line)
{
	const char *start = p->text, *end;

	for (unsigned int i = 1; i < line; i++) {
		end = memchr(start, '\n', p->len - (size_t)(start - p->text));
		if (!end)
			break;
		start = end + 1;
	}
	while (start < p->text + p->len && (*start == ' ' || *start == '\t'))
		start++;
	end = start;
	while (end < p->text + p->len && *end != '\n' && *end != '\r')
		end++;
	p->line = line;
	/* A line without "=" may still be half of a secret. */
	if (end - start >= 6 && strncasecmp(start, "secret", 6) == 0)
		end = start + 6;
	pc_config_fail(p, "\"%.*s\": neither [section] nor key = value", (int)(end - start), start);
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
		.xdp_dispatcher = PC_DP_SHARE_AUTO,
		.max_sessions = 65536,
		.max_tenants = 16384,
		.stranger_replies = 20,
		.stranger_rate = 200,
		.stranger_net_rate = 2000,
		.stranger_total_rate = 5000,
		.client_rate = 10000,
		.native = true,
		.native_peers = 4096,
		.max_pipes = PC_DP_DEFAULT_PIPES,
		.native_peer_pipes = 64,
		.native_handshakes = 200,
		.native_source_handshakes = 10,
		.linger_s = 300,
	};
	pc_config_tier_defaults(c);
}

int pc_config_parse(const char *text, size_t len, const char *name, struct pc_config *ret_config,
		    char *ret_error, size_t error_size)
{
	struct pc_config c;
	struct pc_config_parser p = {
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
	/* inih goes on after a line it does not understand; the first mistake is told. */
	if (r > 0 && (!p.failed || (unsigned int)r < p.line)) {
		p.failed = false;
		bad_line(&p, (unsigned int)r);
	}
	if (r < 0)
		pc_config_fail(&p, "out of memory");
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
