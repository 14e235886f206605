/* SPDX-License-Identifier: MIT */
#include "daemon/quickstart.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "ctl/ctl.h"

#define CREDENTIAL_S 86400

static int make_tenant(struct pc_daemon *d)
{
	struct pc_store_tenant t = {
		.name = PC_QUICKSTART_TENANT,
		.tier = "free",
		.max_allocations = 1000,
		.max_permissions = 256,
		.max_channels = 256,
		.max_peers_per_s = 256,
		.created_s = pc_clock_realtime() / PC_NS_PER_S,
	};

	if (pc_users_find(d->users, t.name))
		return 0;
	return pc_users_add(d->users, &t, NULL);
}

static void print_uris(const struct pc_daemon *d)
{
	const struct pc_config *c = &d->config;
	char uri[128], text[PC_ADDR_STRLEN];

	if (c->n_external_address) {
		printf("TURN URI:  %s\n", pc_daemon_turn_uri(d, uri, sizeof(uri)));
		return;
	}
	for (size_t i = 0; i < c->n_listen; i++)
		printf("TURN URI:  turn:%s?transport=udp\n", pc_addr_format(&c->listen[i], text));
}

/* Whether the shell that started us would run the pcctl of @dir. */
static bool on_path(const char *dir)
{
	const char *path = getenv("PATH");
	char program[PATH_MAX];

	for (size_t len; path && *path; path += len + (path[len] == ':')) {
		len = strcspn(path, ":");
		snprintf(program, sizeof(program), "%.*s/pcctl", (int)len, path);
		if (access(program, X_OK) == 0)
			return strlen(dir) == len && memcmp(path, dir, len) == 0;
	}
	return false;
}

/* What to type in front of the other programs, which lie beside this one: "" or "DIR/". */
static void program_dir(char *ret_dir, size_t size)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	ret_dir[0] = '\0';
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return;
	*slash = '\0';
	if (!on_path(self))
		snprintf(ret_dir, size, "%s/", self);
}

static void print_next(const struct pc_daemon *d)
{
	const char *path = d->config.control_socket;
	char dir[PATH_MAX + 1], socket[sizeof(d->config.control_socket) + 8] = "";

	program_dir(dir, sizeof(dir));
	if (strcmp(path, PC_CTL_DEFAULT_SOCKET) != 0)
		snprintf(socket, sizeof(socket), " -s %s", path);
	printf("watch it:  %spcstat%s watch\n", dir, socket);
	printf("next:      %spcctl%s tenant add alice --password-file FILE\n", dir, socket);
	printf("           %spcctl%s credential %s\n", dir, socket, PC_QUICKSTART_TENANT);
	printf("stop it:   Ctrl-C; '%spcctl%s shutdown' takes the data plane down too\n\n", dir,
	       socket);
}

int pc_quickstart(struct pc_daemon *d)
{
	const struct pc_addr *listen = &d->config.listen[0];
	char peer_id[PC_PEER_ID_STRLEN], user[PC_TENANT_NAME_MAX + 32], password[29];
	char ip[PC_IP_STRLEN], port[16] = "";
	int r = make_tenant(d);

	if (r == 0)
		r = pc_users_credential(d->users, PC_QUICKSTART_TENANT, CREDENTIAL_S,
					pc_clock_realtime() / PC_NS_PER_S, user, sizeof(user),
					password);
	if (r) {
		pc_error("quickstart: %s", pc_strerror(r));
		return r;
	}
	if (listen->port != PC_CONFIG_DEFAULT_PORT)
		snprintf(port, sizeof(port), "-p %u ", listen->port);
	pc_ip_format(&listen->ip, ip);
	printf("\npeer id:   %s\n", pc_peer_id_format(d->identity.public_key, peer_id));
	print_uris(d);
	printf("user:      %s\npassword:  %s\n           (valid for 24 hours)\n\n", user, password);
	printf("try it:    turnutils_uclient -y -u '%s' -w '%s' %s%s\n", user, password, port, ip);
	print_next(d);
	fflush(stdout);
	explicit_bzero(password, sizeof(password));
	return 0;
}
