/* SPDX-License-Identifier: MIT */
/* pcd: what its parts share. One thread, one libev loop. */
#ifndef PC_DAEMON_DAEMON_H
#define PC_DAEMON_DAEMON_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "account/identity.h"
#include "account/usage.h"
#include "daemon/attach.h"
#include "daemon/config.h"
#include "daemon/nexthop.h"
#include "dp/dp.h"
#include "relay/turn.h"
#include "store/store.h"

/* Below the state directory. */
#define PC_DAEMON_STORE_FILE	"pcd.db"
#define PC_DAEMON_IDENTITY_FILE "identity.key"
#define PC_DAEMON_LOCK_FILE	"pcd.lock"

struct pc_users;       /* users.c: tenants in memory, by name and userhash; shared secrets */
struct pc_io;	       /* io.c: service and relay sockets, batches */
struct pc_too_big;     /* too_big.c: what routers say about datagrams that were too large */
struct pc_rates;       /* rates.c: plans of tenants in the limiter */
struct pc_glue;	       /* turn_glue.c: effects of the TURN machine */
struct pc_peers;       /* peers.c: native peers in memory, by identity and name */
struct pc_native_glue; /* native_glue.c: the machine of native peers */
struct pc_ctl_server;  /* ctl_server.c: control socket on the loop */

struct pc_daemon {
	struct ev_loop *loop;
	const char *config_path;     /* NULL: embedded defaults */
	struct pc_config config;     /* complete */
	struct pc_config configured; /* as it was written, without rules: what a reload compares */
	uint64_t started_ns;	     /* monotonic */
	struct pc_identity identity;

	struct pc_store *store;
	struct pc_usage *usage;
	struct pc_users *users;
	struct pc_peers *peers;
	struct pc_rates *rates;
	struct pc_dp *dp;
	struct pc_nexthops *nexthops; /* NULL without a kernel data plane */
	struct pc_attach_result attach[PC_CONFIG_MAX_INTERFACES];
	size_t n_attach;
	struct pc_attach_watch *attach_watch;
	struct pc_policy *policy;
	struct pc_nonce_keys nonce_keys;
	struct pc_turn *turn;
	struct pc_glue *glue;
	struct pc_native_glue *native; /* NULL: native = no */
	struct pc_io *io;
	struct pc_too_big *too_big; /* NULL: not allowed to hear it */
	struct pc_ctl_server *ctl;

	bool draining;
	int store_error; /* last failure of the store; 0 when it works */
	uint64_t folds, fold_failures;
	uint64_t reloads;
	bool stop_datapath; /* the loop was ended by `pcctl shutdown` */

	int lock_fd;
	int pins_fd;		/* the directory of the pins, locked */
	uint64_t own_addresses; /* hash of the host's addresses that the policy knows */
	struct ev_timer heartbeat_timer, fold_timer, fold_more_timer, rates_timer, shares_timer,
		turn_timer, minute_timer;
	struct ev_prepare on_prepare;
	uint64_t turn_deadline; /* that turn_timer is set to */
	struct ev_signal on_term, on_int, on_hup;
};

/* --- users.c --- */
/*
 * Loads all tenants. Each has an index for its limits, 1 to @max. PC_ERR_FULL: there are more.
 */
int pc_users_new(struct pc_store *store, uint32_t max, struct pc_users **ret_users);
void pc_users_free(struct pc_users *u);
/* Time-limited secrets: those of the configuration, then the built-in one. Copied. */
void pc_users_set_secrets(struct pc_users *u, const struct pc_config *c);
void pc_users_set_realm(struct pc_users *u, const char *realm);
/* ops->lookup of the TURN machine. */
int pc_users_lookup(struct pc_users *u, const char *name, size_t name_len, const uint8_t *userhash,
		    enum pc_auth_algorithm algorithm, uint64_t realtime_s,
		    struct pc_turn_user *ret_user);
const struct pc_store_tenant *pc_users_find(const struct pc_users *u, const char *name);
const struct pc_store_tenant *pc_users_by_id(const struct pc_users *u, uint32_t id);
const struct pc_store_tenant *pc_users_by_limits(const struct pc_users *u, uint32_t limits);
int pc_users_each(const struct pc_users *u, int (*fn)(void *arg, const struct pc_store_tenant *t),
		  void *arg);
/* Store and memory. @password NULL: time-limited credentials only. 0 or a negative code:
 * PC_ERR_FULL when there are as many tenants as may be. */
int pc_users_add(struct pc_users *u, struct pc_store_tenant *t, const char *password);
int pc_users_update(struct pc_users *u, const struct pc_store_tenant *t, const char *password);
int pc_users_del(struct pc_users *u, uint32_t id);
/* The windows of its quota, store and memory. */
int pc_users_quota(struct pc_users *u, uint32_t id, const struct pc_store_quota *quota);
/* "TIMESTAMP:NAME" and its password, valid for @lifetime_s. */
int pc_users_credential(struct pc_users *u, const char *name, uint64_t lifetime_s,
			uint64_t realtime_s, char *ret_user, size_t user_size,
			char ret_password[static 29]);

/* --- daemon.c --- */
/* Everything up, in order; on failure one line was logged and all is down again. */
int pc_daemon_start(struct pc_daemon *d);
void pc_daemon_stop(struct pc_daemon *d, bool shutdown_datapath);
/*
 * Ends the loop; main() then calls pc_daemon_stop(). This is what the command `shutdown` uses: it
 * may not stop the daemon from inside a callback of that daemon.
 */
void pc_daemon_request_stop(struct pc_daemon *d, bool shutdown_datapath);
/* SIGHUP, `pcctl reload`: 0, or a negative code with the old configuration kept and @ret_error. */
int pc_daemon_reload(struct pc_daemon *d, char *ret_error, size_t error_size);
void pc_daemon_drain(struct pc_daemon *d, bool on);
/* One line a state: what `pcstat health` shows. */
const char *pc_daemon_turn_uri(const struct pc_daemon *d, char *buf, size_t size);

/* --- ctl_server.c, ctl_commands.c --- */
/* -EADDRINUSE: another pcd answers there. -EEXIST: it is no socket, and stays. */
int pc_ctl_server_new(struct pc_daemon *d, struct pc_ctl_server **ret_server);
void pc_ctl_server_free(struct pc_ctl_server *s);

#endif
