/* SPDX-License-Identifier: MIT */
/*
 * The daemon as a whole in the process of a test, over loopback and the fake data plane.
 */
#ifndef PC_TEST_DAEMON_BED_H
#define PC_TEST_DAEMON_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "daemon/daemon.h"
#include "daemon/daemon_int.h"
#include "dp/dp_fake.h"

static char dir[64], conf[96];
static char log_path[96];
static uint16_t port;
static struct pc_daemon d;
static int saved_stderr;

static inline const char *in_dir(const char *file)
{
	static char path[4][160];
	static unsigned int turn;
	char *p = path[turn++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, file);
	return p;
}

static inline void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline void write_config(const char *more)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "[node]\nstate-dir = %s/state\ncontrol-socket = %s/ctl\nbpffs = %s/pins\n"
		 "[relay]\nlisten = 127.0.0.1:%u\nports = 61000-61999\nmax-sessions = 64\n%s\n",
		 dir, dir, dir, port, more);
	write_file(conf, text);
}

/* What was logged since the last call. */
static inline const char *logged(void)
{
	static char text[8192];
	FILE *f = fopen(log_path, "r");
	size_t n;

	fflush(stderr);
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	assert_int_equal(truncate(log_path, 0), 0);
	return text;
}

static inline void assert_logged(const char *what)
{
	const char *text = logged();

	if (!strstr(text, what))
		fail_msg("log has no \"%s\": %s", what, text);
}

static inline int start(void)
{
	char err[512];

	memset(&d, 0, sizeof(d));
	d.config_path = conf;
	assert_int_equal(pc_config_load(conf, &d.config, err, sizeof(err)), 0);
	d.configured = d.config;
	d.configured.rule = NULL;
	d.configured.n_rule = 0;
	assert_int_equal(pc_config_complete(&d.config, err, sizeof(err)), 0);
	d.loop = ev_loop_new(0);
	assert_non_null(d.loop);
	return pc_daemon_start(&d);
}

static inline void end(bool shutdown)
{
	pc_daemon_stop(&d, shutdown);
	ev_loop_destroy(d.loop);
	pc_config_free(&d.config);
}

static inline void end_failed(void)
{
	ev_loop_destroy(d.loop);
	pc_config_free(&d.config);
}

/* A port that was free a moment ago, outside of the relay range. */
static inline int free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -1;
	close(fd);
	port = ntohs(sa.sin_port);
	return port >= 61000 && port <= 61999 ? -1 : 0;
}

static inline int bed_setup(void **state)
{
	int fd;

	snprintf(dir, sizeof(dir), "/tmp/pc-test-daemon-XXXXXX");
	if (sodium_init() < 0 || !mkdtemp(dir) || free_port())
		return -1;
	snprintf(conf, sizeof(conf), "%s/conf", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	saved_stderr = dup(STDERR_FILENO);
	fd = open(log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		return -1;
	close(fd);
	pc_dp_fake_reset();
	write_config("");
	return 0;
}

static inline int bed_teardown(void **state)
{
	static const char *const files[] = {
		"state/pcd.db",
		"state/pcd.db-wal",
		"state/pcd.db-shm",
		"state/identity.key",
		"state/pcd.lock",
		"state/count.v1",
		"state",
		"ctl",
		"conf",
		"pins",
		"log",
	};

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	for (size_t i = 0; i < PC_ARRAY_SIZE(files); i++)
		remove(in_dir(files[i]));
	return rmdir(dir);
}

static inline void add_tenant(const char *name)
{
	struct pc_store_tenant t = {
		.tier = "free",
		.max_allocations = 64,
		.max_permissions = 8,
		.max_channels = 8,
		.max_peers_per_s = 100,
	};

	snprintf(t.name, sizeof(t.name), "%s", name);
	assert_int_equal(pc_users_add(d.users, &t, NULL), 0);
}

#endif
