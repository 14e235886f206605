/* SPDX-License-Identifier: MIT */
/* The configuration while the daemon runs: a new one is built completely, then put in force. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/rates.h"

static bool same_ips(const struct pc_ip *a, size_t n, const struct pc_ip *b, size_t m)
{
	bool same = n == m;

	for (size_t i = 0; same && i < n; i++)
		same = pc_ip_equal(&a[i], &b[i]);
	return same;
}

static bool same_listen(const struct pc_config *a, const struct pc_config *b)
{
	bool same = a->n_listen == b->n_listen;

	for (size_t i = 0; same && i < a->n_listen; i++)
		same = pc_addr_equal(&a->listen[i], &b->listen[i]);
	return same;
}

static bool same_interfaces(const struct pc_config *a, const struct pc_config *b)
{
	bool same = a->n_interface == b->n_interface;

	for (size_t i = 0; same && i < a->n_interface; i++)
		same = strcmp(a->interface[i], b->interface[i]) == 0;
	return same;
}

/* The first key that differs and cannot change while sockets and maps depend on it. */
static const char *restart_key(const struct pc_config *a, const struct pc_config *b)
{
	const struct {
		const char *key;
		bool same;
	} checks[] = {
		{ "state-dir", strcmp(a->state_dir, b->state_dir) == 0 },
		{ "control-socket", strcmp(a->control_socket, b->control_socket) == 0 },
		{ "user", strcmp(a->user, b->user) == 0 },
		{ "bpffs", strcmp(a->bpffs, b->bpffs) == 0 },
		{ "identity-passphrase-file",
		  strcmp(a->identity_passphrase_file, b->identity_passphrase_file) == 0 },
		{ "listen", same_listen(a, b) },
		{ "relay-address", same_ips(a->relay_address, a->n_relay_address, b->relay_address,
					    b->n_relay_address) },
		{ "external-address", same_ips(a->external_address, a->n_external_address,
					       b->external_address, b->n_external_address) },
		{ "ports", a->port_low == b->port_low && a->port_high == b->port_high },
		{ "interface", same_interfaces(a, b) },
		{ "xdp", a->xdp == b->xdp },
		{ "xdp-dispatcher", a->xdp_dispatcher == b->xdp_dispatcher },
		{ "max-sessions", a->max_sessions == b->max_sessions },
		{ "max-tenants", a->max_tenants == b->max_tenants },
		{ "native", a->native == b->native },
		{ "native-peers", a->native_peers == b->native_peers },
		{ "max-pipes", a->max_pipes == b->max_pipes },
		{ "native-peer-pipes", a->native_peer_pipes == b->native_peer_pipes },
		{ "native-handshakes", a->native_handshakes == b->native_handshakes },
		{ "native-source-handshakes",
		  a->native_source_handshakes == b->native_source_handshakes },
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (!checks[i].same)
			return checks[i].key;
	return NULL;
}

/* What was found on the host at the start stays. */
static void keep_completed(struct pc_config *c, const struct pc_config *running)
{
	memcpy(c->listen, running->listen, sizeof(c->listen));
	c->n_listen = running->n_listen;
	memcpy(c->relay_address, running->relay_address, sizeof(c->relay_address));
	c->n_relay_address = running->n_relay_address;
	memcpy(c->interface, running->interface, sizeof(c->interface));
	c->n_interface = running->n_interface;
}

int pc_daemon_reload(struct pc_daemon *d, char *ret_error, size_t error_size)
{
	struct pc_config c;
	const char *key;
	int r;

	if (!d->config_path) {
		snprintf(ret_error, error_size, "started without a configuration file");
		return PC_ERR_STATE;
	}
	r = pc_config_load(d->config_path, &c, ret_error, error_size);
	if (r)
		return r;
	key = restart_key(&d->configured, &c);
	if (key) {
		snprintf(ret_error, error_size, "%s: %s changed, which needs a restart",
			 d->config_path, key);
		r = PC_ERR_STATE;
	} else {
		keep_completed(&c, &d->config);
		r = pc_daemon_turn_reconfigure(d, &c);
		if (r)
			snprintf(ret_error, error_size, "%s: %s", d->config_path, pc_strerror(r));
	}
	if (r) {
		pc_config_free(&c);
		return r;
	}
	if (strcmp(c.realm, d->config.realm) != 0)
		pc_users_set_realm(d->users, c.realm);
	pc_users_set_secrets(d->users, &c);
	pc_log_set_level(c.log_level);
	pc_config_free(&d->config);
	d->config = c;
	explicit_bzero(c.secret, sizeof(c.secret));
	pc_plane_limits(d);
	pc_rates_reconfigure(d->rates);
	d->reloads++;
	pc_info("configuration reloaded from %s", d->config_path);
	return 0;
}
