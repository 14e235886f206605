/* SPDX-License-Identifier: MIT */
/* One request over the control socket, one answer. */
#include "ctl/ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

static int wait_for(int fd, short events, uint64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now = pc_clock_monotonic();
		int n;

		if (now >= deadline)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)((deadline - now) / PC_NS_PER_MS) + 1);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int connect_to(const char *path, uint64_t deadline, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;
	int rc;

	if (fd < 0)
		return -errno;
	rc = pc_ctl_address(path, &sa);
	if (rc < 0)
		return rc;
	/* A Unix socket connects at once or says EAGAIN while the daemon's queue is full. */
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (pc_clock_monotonic() >= deadline)
			return -ETIMEDOUT;
		rc = poll(NULL, 0, 10);
		if (rc < 0 && errno != EINTR)
			return -errno;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int send_all(int fd, const char *data, size_t len, uint64_t deadline)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		int rc;

		if (n > 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		rc = wait_for(fd, POLLOUT, deadline);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Reads one line, without its newline, into *ret_line (owned by the caller). */
static int read_line(int fd, uint64_t deadline, char **ret_line, size_t *ret_len)
{
	_cleanup_free_ char *line = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		char *end;
		ssize_t n;
		int rc;

		if (len == size) {
			char *larger;

			if (size >= PC_CTL_MAX_REPLY)
				return PC_ERR_MALFORMED;
			size = size ? 2 * size : 4096;
			larger = realloc(line, size);
			if (!larger)
				return -ENOMEM;
			line = larger;
		}
		n = recv(fd, line + len, size - len, 0);
		if (n == 0)
			return PC_ERR_MALFORMED; /* closed in the middle of a line */
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				return -errno;
			rc = wait_for(fd, POLLIN, deadline);
			if (rc < 0)
				return rc;
			continue;
		}
		end = memchr(line + len, '\n', (size_t)n);
		len += (size_t)n;
		if (end) {
			*ret_len = (size_t)(end - line);
			*ret_line = TAKE_PTR(line);
			return 0;
		}
	}
}

static char *make_request(const char *command, json_t *args)
{
	char *text = NULL;
	json_t *request = args ? json_pack("{s:s, s:O}", "command", command, "args", args)
			       : json_pack("{s:s}", "command", command);

	if (request)
		text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	return text;
}

int pc_ctl_call(const char *socket_path, const char *command, json_t *args, int timeout_ms,
		json_t **ret_reply)
{
	uint64_t deadline = pc_clock_monotonic() + (uint64_t)timeout_ms * PC_NS_PER_MS;
	_cleanup_free_ char *request = make_request(command, args);
	_cleanup_free_ char *line = NULL;
	_cleanup_close_ int fd = -1;
	json_t *reply;
	size_t len = 0;
	int rc;

	if (!request)
		return PC_ERR_MALFORMED;
	if (strlen(request) >= PC_CTL_MAX_REQUEST)
		return -EMSGSIZE;
	rc = connect_to(socket_path, deadline, &fd);
	if (rc == 0)
		rc = send_all(fd, request, strlen(request), deadline);
	if (rc == 0)
		rc = send_all(fd, "\n", 1, deadline);
	if (rc == 0)
		rc = read_line(fd, deadline, &line, &len);
	/* The request may have carried a password. */
	explicit_bzero(request, strlen(request));
	if (rc < 0)
		return rc;
	reply = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(reply)) {
		json_decref(reply);
		return PC_ERR_MALFORMED;
	}
	*ret_reply = reply;
	return 0;
}

const char *pc_ctl_error(const json_t *reply)
{
	return json_string_value(json_object_get(reply, "error"));
}
