/* SPDX-License-Identifier: MIT */
/*
 * The socket's address; of who answers: the socket's file, and connections that are not waited for.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"

int pc_ctl_address(const char *path, struct sockaddr_un *ret_sa)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	*ret_sa = sa;
	return 0;
}

/* Whether somebody accepts connections on @sa; a socket file whose owner died is removed. */
static int clear_stale(const struct sockaddr_un *sa)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED && errno != ENOENT)
		return -errno;
	return unlink(sa->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

int pc_ctl_listen(const char *path, mode_t mask, int backlog, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;
	mode_t before;
	int rc;

	if (fd < 0)
		return -errno;
	rc = pc_ctl_address(path, &sa);
	if (rc == 0)
		rc = clear_stale(&sa);
	if (rc < 0)
		return rc;
	before = umask(mask);
	rc = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	umask(before);
	if (rc < 0)
		return rc;
	if (listen(fd, backlog) < 0) {
		rc = -errno;
		unlink(path);
		return rc;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool pc_ctl_conn_flush(struct pc_ctl_conn *c, int fd)
{
	const void *data;
	size_t len;

	while ((data = pc_ctl_conn_output(c, &len)) && len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (pc_ctl_conn_sent(c, (size_t)n) < 0)
			return false;
	}
	return true;
}

bool pc_ctl_conn_read(struct pc_ctl_conn *c, int fd)
{
	char buf[16384];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	int rc;

	if (n == 0)
		return false;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	rc = pc_ctl_conn_input(c, buf, (size_t)n);
	explicit_bzero(buf, (size_t)n);
	if (rc < 0)
		pc_ctl_conn_flush(c, fd); /* the reason, as far as it can be sent */
	return rc == 0;
}
