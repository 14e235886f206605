/* SPDX-License-Identifier: MIT */
/*
 * Privileges: the daemon starts as root and goes on as its own user with the few capabilities that
 * following the network and the data plane need.
 */
#ifndef PC_DAEMON_PRIV_H
#define PC_DAEMON_PRIV_H

#include <stddef.h>

/*
 * Gives @state_dir (and the files in it) to @user, becomes @user with its groups, keeps
 * CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_BPF and CAP_PERFMON, and sets no_new_privs.
 * All or nothing is not possible here: after a failure the process should end. Returns 0,
 * PC_ERR_NOT_FOUND (no such user) or a negative code, with one line in @ret_error.
 */
int pc_priv_drop(const char *user, const char *state_dir, char *ret_error, size_t error_size);

/*
 * Gives the directory and the entries directly in it (symbolic links are not followed) to @user:
 * for what else the daemon must write to later, like its pins. Call before pc_priv_drop.
 */
int pc_priv_give(const char *user, const char *dir, char *ret_error, size_t error_size);

#endif
