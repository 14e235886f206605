/* SPDX-License-Identifier: MIT */
/*
 * Control socket: a Unix stream socket, mode 0660. One JSON object per line each way; requests are
 * answered in order: {"command": "tenant add", "args": {...}} -> {...} or {"error": "..."}.
 * Lines up to 64 KiB to the daemon, 64 MiB from it.
 */
#ifndef PC_CTL_CTL_H
#define PC_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <jansson.h>

#define PC_CTL_DEFAULT_SOCKET "/run/pcd/control.sock"
#define PC_CTL_MAX_REQUEST    65536u
#define PC_CTL_MAX_REPLY      (64u << 20)

struct sockaddr_un;
/* The socket at @path. 0 or -ENAMETOOLONG. */
int pc_ctl_address(const char *path, struct sockaddr_un *ret_sa);

/* --- client --- */

/*
 * Sends one request and waits at most @timeout_ms for the answer. @args may be NULL; borrowed.
 * Returns 0 with *ret_reply (new reference, also when it is an {"error"}), -ENOENT or -ECONNREFUSED
 * when no daemon listens, -EACCES, -ETIMEDOUT, PC_ERR_MALFORMED.
 */
int pc_ctl_call(const char *socket_path, const char *command, json_t *args, int timeout_ms,
		json_t **ret_reply);
/* Text of {"error": TEXT}, or NULL when @reply is a success. Borrowed. */
const char *pc_ctl_error(const json_t *reply);

/* --- server: framing and dispatch without a loop --- */

struct pc_ctl_command {
	const char *name;
	/*
	 * Returns the reply (new reference); never NULL except on out of memory. Errors through
	 * pc_ctl_fail(). @args is an object, borrowed.
	 */
	json_t *(*fn)(void *ctx, json_t *args);
};
json_t *pc_ctl_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

struct pc_ctl_conn;
int pc_ctl_conn_new(const struct pc_ctl_command *commands, size_t n_commands, void *ctx,
		    struct pc_ctl_conn **ret_conn);
void pc_ctl_conn_free(struct pc_ctl_conn *c);
/*
 * Bytes from the client. One request is answered at a time: while there is output, further ones
 * wait, and the caller should not read on. Returns 0, or a negative code when the connection must
 * be closed; output that is there is the reason and worth sending first.
 */
int pc_ctl_conn_input(struct pc_ctl_conn *c, const void *data, size_t len);
/*
 * Bytes to send; call pc_ctl_conn_sent() with how many went out. It answers the next request that
 * waits, so there may be output again; returns like pc_ctl_conn_input().
 */
const void *pc_ctl_conn_output(struct pc_ctl_conn *c, size_t *ret_len);
int pc_ctl_conn_sent(struct pc_ctl_conn *c, size_t len);

/* Sends what there is, without waiting. False: the connection is over. */
bool pc_ctl_conn_flush(struct pc_ctl_conn *c, int fd);
/* Takes what has come, without waiting; what was read is wiped. False: the connection is over. */
bool pc_ctl_conn_read(struct pc_ctl_conn *c, int fd);
/*
 * A socket that listens at @path, with the permissions that umask @mask leaves from the first
 * moment on. The file of one whose owner died is replaced. 0, -EADDRINUSE (somebody answers there),
 * -EEXIST (it is no socket), -ENAMETOOLONG and others.
 */
int pc_ctl_listen(const char *path, mode_t mask, int backlog, int *ret_fd);

#endif
