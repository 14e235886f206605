/* SPDX-License-Identifier: MIT */
/*
 * What the files of the daemon's frame share.
 *
 * daemon.c          start, stop, timers, signals
 * daemon_state.c    state directory, lock, identity, store and what is kept in it
 * daemon_plane.c    data plane: open, take over, attach, retire
 * daemon_turn.c     the TURN machine: policy, configuration, restored sessions, drain
 * reload.c          a new configuration while the daemon runs
 */
#ifndef PC_DAEMON_INT_H
#define PC_DAEMON_INT_H

#include "daemon/daemon.h"
#include "daemon/too_big.h"

/* --- daemon_state.c: each logs its failure --- */
int pc_state_open(struct pc_daemon *d); /* directory, lock, identity, store */
void pc_state_close(struct pc_daemon *d);
/* Writes the key file, sealed where a passphrase is configured. Does not log. */
int pc_state_save_identity(const struct pc_daemon *d, const struct pc_identity *id, bool replace);
/* Nonce keys as stored; new ones when there are none or they are a day old. */
void pc_state_nonce_keys(struct pc_daemon *d);
/* Whether the host was booted since the sessions were stored; they are cleared then. */
bool pc_state_rebooted(struct pc_daemon *d);
uint64_t pc_state_generation(struct pc_daemon *d); /* 0: none yet */
void pc_state_set_generation(struct pc_daemon *d, uint64_t generation);

/*
 * After a failure the store is left alone until the next fold tries it: a time-out for every
 * packet would stop the relay.
 */
bool pc_daemon_store_usable(const struct pc_daemon *d);
/* Keeps store_error; logs when it changes, and once a minute while it stays. */
void pc_daemon_store_result(struct pc_daemon *d, int result, const char *doing);

/* Waits up to 2 s for an exclusive lock on @fd. 0, PC_ERR_LOCKED or -errno. */
int pc_state_lock(int fd);
/* Writes a little: whether the store takes it. */
int pc_state_probe(struct pc_daemon *d);

/* --- daemon_plane.c --- */
int pc_plane_open(struct pc_daemon *d); /* dp and usage */
/* Whether there is a kernel half, and none was there before this process. */
bool pc_plane_made(const struct pc_daemon *d);
void pc_plane_attach(struct pc_daemon *d);
void pc_plane_limits(struct pc_daemon *d); /* those of the configuration, at once */
void pc_plane_follow(struct pc_daemon *d); /* interfaces that come and go */
void pc_plane_detach(struct pc_daemon *d); /* takes the program off the interfaces */
/* @teardown: removes the maps with every flow too. */
void pc_plane_close(struct pc_daemon *d, bool teardown);
int pc_plane_fold(struct pc_daemon *d);
bool pc_plane_fold_some(struct pc_daemon *d); /* part of it; whether there is more */

/* --- daemon_turn.c --- */
int pc_daemon_turn_new(struct pc_daemon *d);
/* Sessions of the store into the machine; expired and foreign ones are closed. */
void pc_daemon_turn_restore(struct pc_daemon *d);
/* After the configuration, the nonce keys or the host's addresses changed. */
int pc_daemon_turn_reconfigure(struct pc_daemon *d, const struct pc_config *c);
/* Told by pc_too_big: @arg is the daemon. */
void pc_daemon_turn_too_big(void *arg, const struct pc_too_big_report *report);
/* Hash of all addresses of the host. */
uint64_t pc_daemon_own_addresses(void);

#endif
