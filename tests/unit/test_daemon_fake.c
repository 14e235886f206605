/* SPDX-License-Identifier: MIT */
/*
 * The daemon as a whole in this process, over loopback and the fake data plane: what it says and
 * does when something is missing, in the way or full; restart; reload.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sodium.h>
#include <sqlite3.h>
#include <cmocka.h>

#include "daemon_bed.h"
#include "relay/stun.h"

/* --- a client --- */

struct client {
	int fd;
	char user[128], password[29];
	char nonce[128], realm[128];
	size_t nonce_len;
	struct pc_auth_key key;
};

static void client_open(struct client *c)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };

	memset(c, 0, sizeof(*c));
	c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(pc_users_credential(d.users, "t", 3600, pc_clock_realtime() / PC_NS_PER_S,
					     c->user, sizeof(c->user), c->password),
			 0);
}

/* Sends, lets the daemon work, and waits for the answer. */
static size_t exchange(struct client *c, const void *request, size_t len, uint8_t *reply,
		       size_t size)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	assert_int_equal(send(c->fd, request, len, 0), len);
	for (int i = 0; i < 2000; i++) {
		ev_run(d.loop, EVRUN_NOWAIT);
		if (poll(&p, 1, 1) == 1) {
			ssize_t n = recv(c->fd, reply, size, 0);

			assert_true(n > 0);
			return (size_t)n;
		}
	}
	fail_msg("no answer");
	return 0;
}

static void sign(const struct client *c, struct pc_stun_writer *w)
{
	if (!c->nonce_len)
		return;
	pc_stun_put(w, PC_ATTR_USERNAME, c->user, strlen(c->user));
	pc_stun_put(w, PC_ATTR_REALM, c->realm, strlen(c->realm));
	pc_stun_put(w, PC_ATTR_NONCE, c->nonce, c->nonce_len);
	pc_stun_put_integrity(w, c->key.b, c->key.len);
}

/* 0, or the error code of the answer; takes the challenge from it. */
static unsigned int judge(struct client *c, const uint8_t *reply, size_t len)
{
	struct pc_stun_attr a;
	struct pc_stun_msg m;

	assert_int_equal(pc_stun_parse(reply, len, &m), 0);
	if (m.cls == PC_STUN_SUCCESS)
		return 0;
	if (pc_stun_find(&m, PC_ATTR_NONCE, &a)) {
		memcpy(c->nonce, a.value, a.len);
		c->nonce_len = a.len;
		assert_true(pc_stun_find(&m, PC_ATTR_REALM, &a));
		snprintf(c->realm, sizeof(c->realm), "%.*s", a.len, (const char *)a.value);
		pc_auth_derive(PC_AUTH_MD5, c->user, strlen(c->user), c->realm, c->password,
			       strlen(c->password), &c->key);
	}
	assert_true(pc_stun_find(&m, PC_ATTR_ERROR_CODE, &a));
	return a.value[2] * 100u + a.value[3];
}

static unsigned int request(struct client *c, enum pc_stun_method method,
			    const struct pc_addr *peer)
{
	uint8_t txid[PC_STUN_TXID_LEN], out[512], in[1500];
	struct pc_stun_writer w;
	size_t n;

	randombytes_buf(txid, sizeof(txid));
	pc_stun_begin(&w, out, sizeof(out), method, PC_STUN_REQUEST, txid);
	if (method == PC_STUN_ALLOCATE)
		pc_stun_put_u32(&w, PC_ATTR_REQUESTED_TRANSPORT, 17u << 24);
	if (peer) {
		pc_stun_put_u32(&w, PC_ATTR_CHANNEL_NUMBER, 0x4001u << 16);
		pc_stun_put_xor_addr(&w, PC_ATTR_XOR_PEER_ADDRESS, peer);
	}
	sign(c, &w);
	n = exchange(c, out, pc_stun_end(&w), in, sizeof(in));
	return judge(c, in, n);
}

static unsigned int allocate(struct client *c)
{
	assert_int_equal(request(c, PC_STUN_ALLOCATE, NULL), 401);
	return request(c, PC_STUN_ALLOCATE, NULL);
}

/* The daemon, with one session of a tenant. */
static void start_with(struct client *c)
{
	assert_int_equal(start(), 0);
	add_tenant("t");
	client_open(c);
	assert_int_equal(allocate(c), 0);
}

/* --- starting --- */

static void test_first_start(void **state)
{
	struct stat st;

	assert_int_equal(start(), 0);
	assert_logged("new identity 12D3KooW");
	assert_int_equal(stat(in_dir("state"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(in_dir("state/identity.key"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	end(false);
	assert_int_equal(start(), 0);
	assert_null(strstr(logged(), "new identity"));
	end(false);
}

static void test_locked(void **state)
{
	char want[128];
	struct pc_daemon first;

	assert_int_equal(start(), 0);
	first = d;
	assert_int_equal(start(), PC_ERR_LOCKED);
	snprintf(want, sizeof(want), "error another pcd (pid %d) uses %s/state\n", getpid(), dir);
	assert_logged(want);
	end_failed();
	/* The first one's watchers point into `d`. */
	d = first;
	end(false);
}

static void test_port_in_use(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char want[64];

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(start(), -EADDRINUSE);
	snprintf(want, sizeof(want), "error port %u in use on 127.0.0.1\n", port);
	assert_logged(want);
	end_failed();
}

/* Pins are shared by path: a daemon with a state of its own must not take them over. */
static void test_pins_locked(void **state)
{
	_cleanup_close_ int fd = -1;
	char want[128];

	assert_int_equal(mkdir(in_dir("pins"), 0700), 0);
	fd = open(in_dir("pins"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(start(), PC_ERR_LOCKED);
	snprintf(want, sizeof(want), "error another pcd uses %s/pins\n", dir);
	assert_logged(want);
	end_failed();
	close(TAKE_FD(fd));
	assert_int_equal(start(), 0);
	end(false);
}

static void test_state_dir(void **state)
{
	char want[128];

	write_file(in_dir("state"), "");
	assert_int_equal(start(), -ENOTDIR);
	snprintf(want, sizeof(want), "error state-dir %s/state: Not a directory\n", dir);
	assert_logged(want);
	end_failed();
}

static void test_identity_refused(void **state)
{
	assert_int_equal(start(), 0);
	end(false);
	assert_int_equal(chmod(in_dir("state/identity.key"), 0644), 0);
	assert_int_equal(start(), PC_ERR_REFUSED);
	assert_logged("identity.key: others may read it, or it is somebody else's; "
		      "chmod 600 it\n");
	end_failed();
	write_file(in_dir("state/identity.key"), "nonsense\n");
	assert_int_equal(chmod(in_dir("state/identity.key"), 0600), 0);
	assert_true(start() < 0);
	assert_logged("identity.key: ");
	end_failed();
}

static void test_no_kernel(void **state)
{
	struct client c;

	pc_dp_fake_faults()->kernel = -EPERM;
	assert_int_equal(start(), 0);
	assert_logged("warning data plane: user space, no XDP: ");
	add_tenant("t");
	client_open(&c);
	assert_int_equal(allocate(&c), 0);
	close(c.fd);
	end(false);
}

static void test_disk_full_at_start(void **state)
{
	pc_dp_fake_faults()->open = -ENOSPC;
	assert_int_equal(start(), -ENOSPC);
	assert_logged("No space left on device\n");
	end_failed();
	pc_dp_fake_faults()->open = 0;
	assert_int_equal(start(), 0);
	end(false);
}

/* --- the store while running --- */

static void test_store_locked(void **state)
{
	struct client c, e;
	sqlite3 *db;

	start_with(&c);
	client_open(&e);
	assert_int_equal(sqlite3_open(in_dir("state/pcd.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	logged();
	assert_int_equal(allocate(&e), 508);
	assert_logged("relaying goes on, new allocations are refused\n");
	assert_int_equal(d.store_error, PC_ERR_LOCKED);
	/* What exists goes on. */
	assert_int_equal(request(&c, PC_STUN_REFRESH, NULL), 0);
	assert_true(pc_plane_fold(&d) < 0);
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(pc_plane_fold(&d), 0);
	assert_logged("store: works again\n");
	assert_int_equal(request(&e, PC_STUN_ALLOCATE, NULL), 0);
	close(c.fd);
	close(e.fd);
	end(false);
}

/* --- sessions over a restart --- */

static void test_restart(void **state)
{
	struct pc_addr peer = { .ip = pc_ip4(8, 8, 8, 8), .port = 40000 };
	struct pc_turn_stats stats;
	struct client c;

	start_with(&c);
	assert_int_equal(request(&c, PC_STUN_CHANNEL_BIND, &peer), 0);
	end(false);
	logged();
	assert_int_equal(start(), 0);
	assert_logged("adopted 1 sessions");
	pc_turn_get_stats(d.turn, &stats);
	assert_int_equal(stats.allocations, 1);
	assert_int_equal(stats.channels, 1);
	assert_int_equal(stats.permissions, 1);
	/* The same client, key and nonce go on. */
	assert_int_equal(request(&c, PC_STUN_REFRESH, NULL), 0);
	end(true); /* shutdown: nothing to adopt */
	logged();
	assert_int_equal(start(), 0);
	pc_turn_get_stats(d.turn, &stats);
	assert_int_equal(stats.allocations, 0);
	assert_null(strstr(logged(), "adopted"));
	close(c.fd);
	end(false);
}

static int first_relayed(void *arg, const struct pc_turn_view *view)
{
	*(struct pc_addr *)arg = view->relayed[0];
	return 1;
}

/* Somebody else has the port now: that session is over, and nothing else is wrong. */
static void test_port_lost(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pc_addr relayed;
	struct client c;

	start_with(&c);
	assert_int_equal(pc_turn_each(d.turn, first_relayed, &relayed), 1);
	end(false);
	sa.sin_port = htons(relayed.port);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	logged();
	assert_int_equal(start(), 0);
	assert_logged("adopted 0 sessions, 0 flows, 0 permissions; dropped 1 sessions");
	assert_int_equal(d.store_error, 0);
	assert_int_equal(request(&c, PC_STUN_ALLOCATE, NULL), 0);
	close(c.fd);
	end(false);
}

/* Loopback is not for the kernel to send, but what belongs to whom it is told. */
static void test_kernel_tables(void **state)
{
	struct pc_addr peer = { .ip = pc_ip4(8, 8, 8, 8), .port = 40000 };
	struct client c;

	start_with(&c);
	assert_int_equal(pc_dp_fake_ports(), 1);
	assert_int_equal(request(&c, PC_STUN_CHANNEL_BIND, &peer), 0);
	assert_int_equal(pc_dp_fake_perms(), 2);
	assert_int_equal(pc_dp_fake_flows(), 2);
	end(false);
	/* Its sockets are closed: the ports are the host's. */
	assert_int_equal(pc_dp_fake_ports(), 0);
	assert_int_equal(pc_dp_fake_perms(), 2);
	assert_int_equal(start(), 0);
	assert_logged("adopted 1 sessions, 1 flows, 1 permissions; dropped 0 sessions, 0 kernel");
	assert_int_equal(pc_dp_fake_ports(), 1);
	assert_int_equal(pc_turn_end_tenant(d.turn, UINT32_MAX, pc_clock_monotonic()), 1);
	assert_int_equal(pc_dp_fake_perms() + pc_dp_fake_flows() + pc_dp_fake_ports(), 0);
	assert_int_equal(request(&c, PC_STUN_ALLOCATE, NULL), 0);
	close(c.fd);
	end(true);
	assert_int_equal(pc_dp_fake_ports(), 0);
}

static void test_tenant_gone(void **state)
{
	struct pc_turn_stats stats;
	struct client c;

	start_with(&c);
	assert_int_equal(pc_users_del(d.users, pc_users_find(d.users, "t")->id), 0);
	end(false);
	assert_int_equal(start(), 0);
	assert_logged("adopted 0 sessions, 0 flows, 0 permissions; dropped 1 sessions");
	pc_turn_get_stats(d.turn, &stats);
	assert_int_equal(stats.allocations, 0);
	close(c.fd);
	end(false);
}

/* --- reload and drain --- */

static void reload_refused(const char *more, const char *message)
{
	char err[512] = "", want[256];

	write_config(more);
	assert_true(pc_daemon_reload(&d, err, sizeof(err)) < 0);
	snprintf(want, sizeof(want), message, conf);
	assert_string_equal(err, want);
	assert_string_equal(d.config.realm, "pc");
}

static void test_reload(void **state)
{
	char err[512] = "";
	struct client c;

	assert_int_equal(start(), 0);
	add_tenant("t");
	reload_refused("realm = a\nnonsense = 1", "%s:10: unknown key \"nonsense\" in [relay]");
	reload_refused("realm = a\nxdp = off", "%s: xdp changed, which needs a restart");
	reload_refused("realm = a\nlisten = 127.0.0.1:3479",
		       "%s: listen changed, which needs a restart");
	reload_refused("realm = a\nrelay-address = 127.0.0.1",
		       "%s: relay-address changed, which needs a restart");
	assert_int_equal(pc_dp_fake_limits()->host_per_s, 200);
	assert_int_equal(pc_dp_fake_limits()->net_per_s, 2000);
	write_config("realm = a\nsecret = s\ndeny-peer = 8.0.0.0/8\nstranger-replies = 5\n"
		     "stranger-rate = 7\nstranger-net-rate = 0");
	assert_int_equal(pc_daemon_reload(&d, err, sizeof(err)), 0);
	assert_int_equal(pc_dp_fake_limits()->host_per_s, 7);
	assert_int_equal(pc_dp_fake_limits()->host_burst, 14);
	assert_int_equal(pc_dp_fake_limits()->net_per_s, 0);
	assert_string_equal(d.config.realm, "a");
	assert_int_equal(d.config.n_listen, 1);
	assert_int_equal(d.reloads, 1);
	client_open(&c);
	assert_int_equal(allocate(&c), 0);
	assert_string_equal(c.realm, "a");
	close(c.fd);
	end(false);
}

static void test_reload_cuts(void **state)
{
	struct pc_addr peer = { .ip = pc_ip4(8, 8, 8, 8), .port = 40000 };
	struct pc_turn_stats stats;
	char err[512] = "";
	struct client c;

	start_with(&c);
	assert_int_equal(request(&c, PC_STUN_CHANNEL_BIND, &peer), 0);
	write_config("deny-peer = 8.0.0.0/8");
	assert_int_equal(pc_daemon_reload(&d, err, sizeof(err)), 0);
	pc_turn_get_stats(d.turn, &stats);
	assert_int_equal(stats.channels, 0);
	assert_int_equal(stats.permissions, 0);
	assert_int_equal(request(&c, PC_STUN_CHANNEL_BIND, &peer), 403);
	close(c.fd);
	end(false);
}

static void test_drain(void **state)
{
	struct client c, e;

	start_with(&c);
	client_open(&e);
	pc_daemon_drain(&d, true);
	assert_int_equal(allocate(&e), 508);
	assert_int_equal(request(&c, PC_STUN_REFRESH, NULL), 0);
	pc_daemon_drain(&d, false);
	assert_int_equal(request(&e, PC_STUN_ALLOCATE, NULL), 0);
	close(c.fd);
	close(e.fd);
	end(false);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_first_start),	 CASE(test_locked),
		CASE(test_port_in_use),	 CASE(test_pins_locked),
		CASE(test_state_dir),	 CASE(test_identity_refused),
		CASE(test_no_kernel),	 CASE(test_disk_full_at_start),
		CASE(test_store_locked), CASE(test_restart),
		CASE(test_port_lost),	 CASE(test_kernel_tables),
		CASE(test_tenant_gone),	 CASE(test_reload),
		CASE(test_reload_cuts),	 CASE(test_drain),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
