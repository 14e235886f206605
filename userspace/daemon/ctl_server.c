/* SPDX-License-Identifier: MIT */
/* The control socket on the loop: a Unix stream socket, few clients, each with a time limit. */
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "ctl/ctl.h"
#include "daemon/ctl_commands.h"
#include "daemon/daemon.h"

#define MAX_CONNECTIONS 32
#define IDLE_SECONDS	60.0
#define PAUSE_SECONDS	1.0 /* before accepting again after descriptors ran out */

struct conn {
	struct pc_ctl_server *server;
	struct pc_ctl_conn *framing;
	struct ev_io io;
	struct ev_timer idle;
	int fd; /* -1: free */
};

struct pc_ctl_server {
	struct pc_daemon *d;
	struct ev_io accept_io;
	struct ev_timer pause;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	dev_t dev; /* of the socket file we made: another daemon's is not ours to remove */
	ino_t ino;
	int fd;
	struct conn conns[MAX_CONNECTIONS];
};

/* --- connections --- */

static void conn_close(struct conn *c)
{
	struct ev_loop *loop = c->server->d->loop;

	if (c->fd < 0)
		return;
	ev_io_stop(loop, &c->io);
	ev_timer_stop(loop, &c->idle);
	close(c->fd);
	c->fd = -1;
	pc_ctl_conn_free(c->framing);
	c->framing = NULL;
}

static void conn_wait_for(struct conn *c, int events)
{
	struct ev_loop *loop = c->server->d->loop;

	if ((c->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(loop, &c->io);
	ev_io_set(&c->io, c->fd, events);
	ev_io_start(loop, &c->io);
}

static void on_conn(struct ev_loop *loop, struct ev_io *io, int revents)
{
	struct conn *c = io->data;
	bool alive = true;
	size_t len;

	ev_timer_again(loop, &c->idle);
	if (revents & EV_READ)
		alive = pc_ctl_conn_read(c->framing, c->fd);
	if (alive)
		alive = pc_ctl_conn_flush(c->framing, c->fd);
	if (!alive) {
		conn_close(c);
		return;
	}
	pc_ctl_conn_output(c->framing, &len);
	conn_wait_for(c, len ? EV_WRITE : EV_READ);
}

static void on_idle(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
	conn_close(timer->data);
}

static void refuse(int fd)
{
	static const char text[] = "{\"error\":\"too many control connections\"}\n";
	ssize_t n = send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)n; /* a courtesy */
}

static void conn_open(struct pc_ctl_server *s, int fd)
{
	_cleanup_close_ int owned = fd;
	struct conn *c = NULL;

	for (size_t i = 0; i < MAX_CONNECTIONS && !c; i++) {
		if (s->conns[i].fd < 0)
			c = &s->conns[i];
	}
	if (!c || pc_ctl_conn_new(pc_ctl_commands, pc_ctl_commands_count, s->d, &c->framing) < 0) {
		refuse(owned);
		return;
	}
	c->fd = TAKE_FD(owned);
	ev_io_init(&c->io, on_conn, c->fd, EV_READ);
	c->io.data = c;
	ev_io_start(s->d->loop, &c->io);
	ev_timer_init(&c->idle, on_idle, 0.0, IDLE_SECONDS);
	c->idle.data = c;
	ev_timer_again(s->d->loop, &c->idle);
}

static void on_accept(struct ev_loop *loop, struct ev_io *io, int revents)
{
	struct pc_ctl_server *s = io->data;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		conn_open(s, fd);
		return;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		/* The socket stays readable: without a pause this would spin. */
		pc_warning("control socket: %s", pc_strerror(-errno));
		ev_io_stop(loop, &s->accept_io);
		ev_timer_set(&s->pause, PAUSE_SECONDS, 0.0);
		ev_timer_start(loop, &s->pause);
	}
}

static void on_pause_over(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
	struct pc_ctl_server *s = timer->data;

	ev_io_start(loop, &s->accept_io);
}

/* --- the socket --- */

static int make_directory(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	return mkdir(dirname(copy), 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_socket(struct pc_ctl_server *s)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int rc = make_directory(s->path);

	if (rc == 0)
		rc = pc_ctl_listen(s->path, 0117, MAX_CONNECTIONS, &fd); /* 0660 */
	if (rc < 0)
		return rc;
	if (stat(s->path, &st) < 0) {
		rc = -errno;
		unlink(s->path);
		return rc;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->fd = TAKE_FD(fd);
	return 0;
}

int pc_ctl_server_new(struct pc_daemon *d, struct pc_ctl_server **ret_server)
{
	_cleanup_free_ struct pc_ctl_server *s = calloc(1, sizeof(*s));
	size_t len = strlen(d->config.control_socket);
	int rc;

	if (!s)
		return -ENOMEM;
	if (len >= sizeof(s->path))
		return -ENAMETOOLONG;
	memcpy(s->path, d->config.control_socket, len + 1);
	s->d = d;
	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		s->conns[i].server = s;
		s->conns[i].fd = -1;
	}
	rc = open_socket(s);
	if (rc < 0)
		return rc;
	ev_io_init(&s->accept_io, on_accept, s->fd, EV_READ);
	s->accept_io.data = s;
	ev_io_start(d->loop, &s->accept_io);
	ev_timer_init(&s->pause, on_pause_over, PAUSE_SECONDS, 0.0);
	s->pause.data = s;
	*ret_server = TAKE_PTR(s);
	return 0;
}

void pc_ctl_server_free(struct pc_ctl_server *s)
{
	struct stat st;

	if (!s)
		return;
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		conn_close(&s->conns[i]);
	ev_io_stop(s->d->loop, &s->accept_io);
	ev_timer_stop(s->d->loop, &s->pause);
	if (stat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->fd);
	free(s);
}
