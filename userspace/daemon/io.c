/* SPDX-License-Identifier: MIT */
#include "daemon/io.h"

#include <errno.h>
#include <linux/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"
#include "daemon/io_int.h"

#define SERVICE_BUFFER (16 << 20)
#define PORT_BUFFER    (1 << 20)

static void set_int(int fd, int level, int name, int value)
{
	/* Options that only make the relay better: a kernel without one of them still works. */
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_buffers(int fd, int size)
{
	/* The forced forms need CAP_NET_ADMIN and go beyond the system's limit. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		set_int(fd, SOL_SOCKET, SO_RCVBUF, size);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		set_int(fd, SOL_SOCKET, SO_SNDBUF, size);
}

static void set_options4(int fd, bool service)
{
	set_int(fd, IPPROTO_IP, IP_RECVTTL, 1);
	set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set_int(fd, IPPROTO_IP, IP_TTL, IO_DEFAULT_TTL);
	set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	if (!service)
		set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
}

static void set_options6(int fd, bool service)
{
	set_int(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, IO_DEFAULT_TTL);
	set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
	if (!service)
		set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
}

static int open_socket(const struct pc_addr *local, bool service, int *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t len = pc_addr_to_sockaddr(local, &sa);
	_cleanup_close_ int fd = -1;
	int one = 1;

	fd = socket(local->ip.family == 6 ? AF_INET6 : AF_INET,
		    SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (fd < 0)
		return -errno;
	if (local->ip.family == 6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		return -errno;
	set_buffers(fd, service ? SERVICE_BUFFER : PORT_BUFFER);
	if (local->ip.family == 6)
		set_options6(fd, service);
	else
		set_options4(fd, service);
	/* Datagrams of one sender that came together are handed over in one message. */
	set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int bind_listener(struct pc_io *io, uint32_t i, const struct pc_addr *local, char *err,
			 size_t size)
{
	struct io_socket *s = &io->listen[i];
	char text[PC_IP_STRLEN];
	int r;

	s->io = io;
	s->service = true;
	s->listener = i;
	s->local = *local;
	s->family = local->ip.family;
	r = open_socket(local, true, &s->fd);
	if (r == 0) {
		ev_io_init(&s->watcher, io_readable, s->fd, EV_READ);
		return 0;
	}
	pc_ip_format(&local->ip, text);
	if (r == -EADDRINUSE)
		snprintf(err, size, "port %u in use on %s", local->port, text);
	else if (r == -EADDRNOTAVAIL)
		snprintf(err, size, "address %s is not on this host", text);
	else if (r == -EACCES)
		snprintf(err, size, "no right to open port %u on %s", local->port, text);
	else
		snprintf(err, size, "opening port %u on %s: %s", local->port, text, pc_strerror(r));
	return r;
}

PC_DEFINE_CLEANUP(io, struct pc_io, pc_io_free)

int pc_io_new(const struct pc_io_config *config, char *ret_error, size_t error_size,
	      struct pc_io **ret_io)
{
	PC_CLEANUP(pc_cleanup_io) struct pc_io *io = calloc(1, sizeof(*io));
	int r;

	snprintf(ret_error, error_size, "out of memory");
	if (!io)
		return -ENOMEM;
	io->loop = config->loop;
	io->rx.buffers = mmap(NULL, (size_t)IO_BATCH * IO_STRIDE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (io->rx.buffers == MAP_FAILED) {
		io->rx.buffers = NULL;
		return -ENOMEM;
	}
	io_rx_init(&io->rx);
	io->rx.apart = malloc(IO_APART);
	io->tx.arena = malloc(IO_ARENA);
	io->listen = calloc(config->n_listen, sizeof(*io->listen));
	if (!io->rx.apart || !io->tx.arena || !io->listen)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_listen; i++)
		io->listen[i].fd = -1;
	io->n_listen = config->n_listen;
	for (uint32_t i = 0; i < config->n_listen; i++) {
		r = bind_listener(io, i, &config->listen[i], ret_error, error_size);
		if (r)
			return r;
	}
	ret_error[0] = '\0';
	*ret_io = TAKE_PTR(io);
	return 0;
}

void pc_io_count_into(struct pc_io *io, uint64_t *reasons, struct pc_count *count, uint32_t n_count)
{
	io->reasons = reasons;
	io->count = count;
	io->n_count = n_count;
}

void pc_io_leave_too_big(struct pc_io *io)
{
	io->leave_too_big = true;
}

void pc_io_set_native(struct pc_io *io, pc_io_native_fn fn, void *ctx)
{
	io->native = fn;
	io->native_ctx = ctx;
}

void pc_io_start(struct pc_io *io, struct pc_turn *turn)
{
	io->turn = turn;
	for (size_t i = 0; i < io->n_listen; i++)
		ev_io_start(io->loop, &io->listen[i].watcher);
}

void pc_io_free(struct pc_io *io)
{
	if (!io)
		return;
	for (size_t i = 0; i < io->n_listen; i++) {
		if (io->listen[i].fd < 0)
			continue;
		ev_io_stop(io->loop, &io->listen[i].watcher);
		close(io->listen[i].fd);
	}
	if (io->rx.buffers)
		munmap(io->rx.buffers, (size_t)IO_BATCH * IO_STRIDE);
	free(io->rx.apart);
	free(io->tx.arena);
	free(io->listen);
	free(io);
}

int pc_io_listener(const struct pc_io *io, const struct pc_addr *server, uint32_t *ret_listener)
{
	for (size_t i = 0; i < io->n_listen; i++) {
		if (!pc_addr_equal(&io->listen[i].local, server))
			continue;
		*ret_listener = io->listen[i].listener;
		return 0;
	}
	return PC_ERR_NOT_FOUND;
}

int pc_io_port_open(struct pc_io *io, const struct pc_addr *local, struct pc_turn_socket *socket,
		    void **ret_port)
{
	struct io_socket *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->io = io;
	s->local = *local;
	s->family = local->ip.family;
	r = open_socket(local, false, &s->fd);
	if (r) {
		free(s);
		return r;
	}
	ev_io_init(&s->watcher, io_readable, s->fd, EV_READ);
	if (socket)
		pc_io_port_assign(io, s, socket);
	*ret_port = s;
	return 0;
}

void pc_io_port_assign(struct pc_io *io, void *port, struct pc_turn_socket *socket)
{
	struct io_socket *s = port;

	s->socket = socket;
	ev_io_start(io->loop, &s->watcher);
}

void pc_io_port_native(struct pc_io *io, void *port, uint32_t pipe)
{
	struct io_socket *s = port;

	s->native = true;
	s->pipe = pipe;
	s->listener = PC_IO_NO_LISTENER;
	ev_io_start(io->loop, &s->watcher);
}

const struct pc_addr *pc_io_port_local(const void *port)
{
	return &((const struct io_socket *)port)->local;
}

void pc_io_port_close(struct pc_io *io, void *port)
{
	struct io_socket *s = port;

	/* Queued datagrams name their socket. */
	pc_io_flush(io);
	if (io->receiving == s)
		io->receiving = NULL;
	ev_io_stop(io->loop, &s->watcher);
	close(s->fd);
	free(s);
}

/* What nobody may go beyond: fs.nr_open. */
static uint64_t most_descriptors(void)
{
	_cleanup_file_ FILE *f = fopen("/proc/sys/fs/nr_open", "re");
	char text[24] = "";
	uint64_t most;

	if (!f || !fgets(text, sizeof(text), f))
		return UINT64_MAX;
	text[strcspn(text, "\n")] = '\0';
	return pc_parse_u64(text, 1, UINT64_MAX, &most) ? UINT64_MAX : most;
}

uint64_t pc_io_raise_descriptors(uint64_t wanted)
{
	struct rlimit have, more;
	uint64_t most = most_descriptors();

	if (getrlimit(RLIMIT_NOFILE, &have) < 0)
		return 0;
	if (have.rlim_cur >= wanted)
		return have.rlim_cur;
	more = have;
	more.rlim_cur = wanted < most ? wanted : most;
	if (more.rlim_max < more.rlim_cur)
		more.rlim_max = more.rlim_cur; /* needs CAP_SYS_RESOURCE */
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return more.rlim_cur;
	have.rlim_cur = have.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &have) < 0)
		getrlimit(RLIMIT_NOFILE, &have);
	return have.rlim_cur;
}
