/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "daemon/config_int.h"

/* One place is kept for the built-in secret. */
#define PC_CONFIG_MAX_SECRETS (PC_TURN_MAX_SECRETS - 1)

int pc_config_fail(struct pc_config_parser *p, const char *fmt, ...)
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

static int set_path(struct pc_config_parser *p, const char *value, char *dst, size_t size)
{
	if (value[0] != '/')
		return pc_config_fail(p, "%s \"%s\": not an absolute path", p->key, value);
	if (strlen(value) >= size)
		return pc_config_fail(p, "%s \"%s\": longer than %zu characters", p->key, value,
				      size - 1);
	snprintf(dst, size, "%s", value);
	return 0;
}

static int set_state_dir(struct pc_config_parser *p, const char *value)
{
	return set_path(p, value, p->c->state_dir, sizeof(p->c->state_dir));
}

static int set_identity_passphrase_file(struct pc_config_parser *p, const char *value)
{
	return set_path(p, value, p->c->identity_passphrase_file,
			sizeof(p->c->identity_passphrase_file));
}

static int set_control_socket(struct pc_config_parser *p, const char *value)
{
	return set_path(p, value, p->c->control_socket, sizeof(p->c->control_socket));
}

static int set_bpffs(struct pc_config_parser *p, const char *value)
{
	return set_path(p, value, p->c->bpffs, sizeof(p->c->bpffs));
}

static int set_user(struct pc_config_parser *p, const char *value)
{
	if (strlen(value) >= sizeof(p->c->user))
		return pc_config_fail(p, "user \"%s\": longer than %zu characters", value,
				      sizeof(p->c->user) - 1);
	snprintf(p->c->user, sizeof(p->c->user), "%s", value);
	return 0;
}

static int set_log_level(struct pc_config_parser *p, const char *value)
{
	if (pc_log_parse_level(value, &p->c->log_level))
		return pc_config_fail(p, "log-level \"%s\": not one of error, warning, info, debug",
				      value);
	return 0;
}

static int set_listen(struct pc_config_parser *p, const char *value)
{
	struct pc_config *c = p->c;
	struct pc_addr a;

	if (pc_addr_parse(value, &a) || a.port == 0)
		return pc_config_fail(
			p,
			"listen \"%s\": not ADDR:PORT (1.2.3.4:3478, [2001:db8::1]:3478, "
			"0.0.0.0:3478, [::]:3478)",
			value);
	for (size_t i = 0; i < c->n_listen; i++)
		if (pc_addr_equal(&c->listen[i], &a))
			return pc_config_fail(p, "listen \"%s\": given twice", value);
	if (c->n_listen == PC_CONFIG_MAX_LISTEN)
		return pc_config_fail(p, "listen \"%s\": more than %d addresses", value,
				      PC_CONFIG_MAX_LISTEN);
	c->listen[c->n_listen++] = a;
	return 0;
}

static int parse_host(struct pc_config_parser *p, const char *value, struct pc_ip *ret_ip)
{
	if (pc_ip_parse(value, ret_ip))
		return pc_config_fail(p, "%s \"%s\": not an IPv4 or IPv6 address", p->key, value);
	if (pc_ip_is_any(ret_ip))
		return pc_config_fail(p, "%s \"%s\": a wildcard is no address", p->key, value);
	return 0;
}

static int set_relay_address(struct pc_config_parser *p, const char *value)
{
	struct pc_config *c = p->c;
	struct pc_ip ip;

	if (parse_host(p, value, &ip))
		return PC_ERR_MALFORMED;
	for (size_t i = 0; i < c->n_relay_address; i++)
		if (pc_ip_equal(&c->relay_address[i], &ip))
			return pc_config_fail(p, "relay-address \"%s\": given twice", value);
	if (c->n_relay_address == PC_TURN_MAX_RELAY_IPS)
		return pc_config_fail(p, "relay-address \"%s\": more than %d addresses", value,
				      PC_TURN_MAX_RELAY_IPS);
	c->relay_address[c->n_relay_address++] = ip;
	return 0;
}

static int set_external_address(struct pc_config_parser *p, const char *value)
{
	struct pc_config *c = p->c;
	struct pc_ip ip;

	if (parse_host(p, value, &ip))
		return PC_ERR_MALFORMED;
	for (size_t i = 0; i < c->n_external_address; i++)
		if (c->external_address[i].family == ip.family)
			return pc_config_fail(p, "external-address \"%s\": a second one for IPv%d",
					      value, ip.family);
	c->external_address[c->n_external_address++] = ip;
	return 0;
}

static int set_ports(struct pc_config_parser *p, const char *value)
{
	uint16_t low, high;

	if (pc_parse_port_range(value, &low, &high))
		return pc_config_fail(p, "ports \"%s\": not LOW-HIGH with LOW not above HIGH",
				      value);
	if (low < 1024)
		return pc_config_fail(p, "ports \"%s\": below 1024", value);
	p->c->port_low = low;
	p->c->port_high = high;
	return 0;
}

static int set_interface(struct pc_config_parser *p, const char *value)
{
	struct pc_config *c = p->c;

	if (strlen(value) >= IF_NAMESIZE || strchr(value, '/') || strchr(value, ' '))
		return pc_config_fail(p, "interface \"%s\": not the name of an interface", value);
	for (size_t i = 0; i < c->n_interface; i++)
		if (strcmp(c->interface[i], value) == 0)
			return pc_config_fail(p, "interface \"%s\": given twice", value);
	if (c->n_interface == PC_CONFIG_MAX_INTERFACES)
		return pc_config_fail(p, "interface \"%s\": more than %d interfaces", value,
				      PC_CONFIG_MAX_INTERFACES);
	snprintf(c->interface[c->n_interface++], IF_NAMESIZE, "%s", value);
	return 0;
}

/* Goes into STUN messages as a quoted string without escapes. */
static int set_realm(struct pc_config_parser *p, const char *value)
{
	if (strlen(value) >= sizeof(p->c->realm))
		return pc_config_fail(p, "realm \"%s\": longer than %zu characters", value,
				      sizeof(p->c->realm) - 1);
	for (const char *s = value; *s; s++)
		if (*s < 0x20 || *s > 0x7e || *s == '"' || *s == '\\')
			return pc_config_fail(
				p, "realm \"%s\": only printable ASCII without \" and \\", value);
	snprintf(p->c->realm, sizeof(p->c->realm), "%s", value);
	return 0;
}

static int set_xdp(struct pc_config_parser *p, const char *value)
{
	if (pc_dp_mode_parse(value, &p->c->xdp))
		return pc_config_fail(p, "xdp \"%s\": not one of auto, native, generic, off",
				      value);
	return 0;
}

static int set_xdp_dispatcher(struct pc_config_parser *p, const char *value)
{
	if (pc_dp_share_parse(value, &p->c->xdp_dispatcher))
		return pc_config_fail(p, "xdp-dispatcher \"%s\": not one of auto, always, off",
				      value);
	return 0;
}

static int set_number(struct pc_config_parser *p, const char *value, uint64_t min, uint64_t max,
		      uint32_t *dst)
{
	uint64_t v;

	if (pc_parse_u64(value, min, max, &v))
		return pc_config_fail(p, "%s \"%s\": not a number from %llu to %llu", p->key, value,
				      (unsigned long long)min, (unsigned long long)max);
	*dst = (uint32_t)v;
	return 0;
}

static int set_max_sessions(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 1, 4u << 20, &p->c->max_sessions);
}

static int set_max_tenants(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 1, 1u << 20, &p->c->max_tenants);
}

static int set_stranger_replies(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 1000000, &p->c->stranger_replies);
}

static int set_stranger_rate(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 1000000, &p->c->stranger_rate);
}

static int set_stranger_net_rate(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 1000000, &p->c->stranger_net_rate);
}

static int set_stranger_total_rate(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 10000000, &p->c->stranger_total_rate);
}

static int set_client_rate(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 10000000, &p->c->client_rate);
}

static int set_capacity(struct pc_config_parser *p, const char *value)
{
	uint64_t v;

	if (pc_parse_size(value, &v) || v < PC_PLAN_MIN_BPS || v > PC_PLAN_MAX_BPS)
		return pc_config_fail(p, "capacity \"%s\": not a rate from 8K to 400G bit/s",
				      value);
	p->c->capacity = v;
	return 0;
}

static int set_native(struct pc_config_parser *p, const char *value)
{
	if (pc_parse_bool(value, &p->c->native))
		return pc_config_fail(p, "native \"%s\": not yes or no", value);
	return 0;
}

static int set_native_peers(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 1, 1u << 20, &p->c->native_peers);
}

static int set_max_pipes(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 1, 1u << 20, &p->c->max_pipes);
}

static int set_native_peer_pipes(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 1u << 20, &p->c->native_peer_pipes);
}

static int set_native_handshakes(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 1000000, &p->c->native_handshakes);
}

static int set_native_source_handshakes(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 1, 1000000, &p->c->native_source_handshakes);
}

static int set_linger(struct pc_config_parser *p, const char *value)
{
	return set_number(p, value, 0, 86400, &p->c->linger_s);
}

/* The text is never repeated in an error: it is a secret. */
static int set_secret(struct pc_config_parser *p, const char *value)
{
	struct pc_config *c = p->c;

	if (strlen(value) >= PC_CONFIG_MAX_SECRET)
		return pc_config_fail(p, "secret: longer than %d characters",
				      PC_CONFIG_MAX_SECRET - 1);
	if (c->n_secret == PC_CONFIG_MAX_SECRETS)
		return pc_config_fail(p, "secret: more than %d", PC_CONFIG_MAX_SECRETS);
	for (size_t i = 0; i < c->n_secret; i++)
		if (strcmp(c->secret[i].text, value) == 0)
			return pc_config_fail(p, "secret: given twice");
	snprintf(c->secret[c->n_secret++].text, PC_CONFIG_MAX_SECRET, "%s", value);
	return 0;
}

static int add_rule(struct pc_config_parser *p, const char *value, bool allow)
{
	struct pc_config *c = p->c;
	struct pc_config_rule *grown;
	struct pc_prefix prefix;

	if (pc_prefix_parse(value, &prefix))
		return pc_config_fail(
			p, "%s \"%s\": not an address or prefix (192.0.2.0/24, 2001:db8::/32)",
			p->key, value);
	if (c->n_rule == PC_CONFIG_MAX_RULES)
		return pc_config_fail(p, "%s \"%s\": more than %d rules", p->key, value,
				      PC_CONFIG_MAX_RULES);
	grown = realloc(c->rule, (c->n_rule + 1) * sizeof(*grown));
	if (!grown)
		return pc_config_fail(p, "out of memory");
	c->rule = grown;
	c->rule[c->n_rule++] = (struct pc_config_rule){ .prefix = prefix, .allow = allow };
	return 0;
}

static int set_allow_peer(struct pc_config_parser *p, const char *value)
{
	return add_rule(p, value, true);
}

static int set_deny_peer(struct pc_config_parser *p, const char *value)
{
	return add_rule(p, value, false);
}

static int set_allow_all_peer_ports(struct pc_config_parser *p, const char *value)
{
	if (pc_parse_bool(value, &p->c->allow_all_peer_ports))
		return pc_config_fail(p, "allow-all-peer-ports \"%s\": not yes or no", value);
	return 0;
}

const struct pc_config_key pc_config_keys[] = {
	{ "node", "state-dir", false, set_state_dir },
	{ "node", "identity-passphrase-file", false, set_identity_passphrase_file },
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
	{ "relay", "xdp-dispatcher", false, set_xdp_dispatcher },
	{ "relay", "max-sessions", false, set_max_sessions },
	{ "relay", "max-tenants", false, set_max_tenants },
	{ "relay", "secret", true, set_secret },
	{ "relay", "allow-peer", true, set_allow_peer },
	{ "relay", "deny-peer", true, set_deny_peer },
	{ "relay", "allow-all-peer-ports", false, set_allow_all_peer_ports },
	{ "relay", "stranger-replies", false, set_stranger_replies },
	{ "relay", "stranger-rate", false, set_stranger_rate },
	{ "relay", "stranger-net-rate", false, set_stranger_net_rate },
	{ "relay", "stranger-total-rate", false, set_stranger_total_rate },
	{ "relay", "client-rate", false, set_client_rate },
	{ "relay", "capacity", false, set_capacity },
	{ "relay", "native", false, set_native },
	{ "relay", "native-peers", false, set_native_peers },
	{ "relay", "max-pipes", false, set_max_pipes },
	{ "relay", "native-peer-pipes", false, set_native_peer_pipes },
	{ "relay", "native-handshakes", false, set_native_handshakes },
	{ "relay", "native-source-handshakes", false, set_native_source_handshakes },
	{ "relay", "linger", false, set_linger },
};
_Static_assert(PC_ARRAY_SIZE(pc_config_keys) <= 64, "pc_config_parser.seen is a bit by key");
const size_t pc_config_n_keys = PC_ARRAY_SIZE(pc_config_keys);
