/* SPDX-License-Identifier: MIT */
/* The control socket: for the user alone, few clients, each with a time limit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "ctl/ctl.h"

#define MAX_CLIENTS_CTL 8
#define IDLE_S		30.0

struct client_ctl {
	struct control *c;
	struct pc_ctl_conn *framing;
	ev_io io;
	ev_timer idle;
	int fd; /* -1: free */
};

struct control {
	struct agent *a;
	ev_io io;
	int fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct client_ctl clients[MAX_CLIENTS_CTL];
};

/* --- commands --- */

static json_t *do_status(void *ctx, json_t *args)
{
	return status_report(ctx);
}

static const char *text_of(json_t *args, const char *name)
{
	const char *text = json_string_value(json_object_get(args, name));

	return text ? text : "";
}

/* Those in @args, for one of our relays each. NULL with @ret_grants, or what is wrong. */
static json_t *grants_of(struct agent *a, json_t *args, struct grants *ret_grants)
{
	char error[256] = "not a grant";
	json_t *text;
	size_t i;

	json_array_foreach (json_object_get(args, "grants"), i, text) {
		const char *s = json_string_value(text);
		uint8_t bytes[PC_GRANT_LEN];
		struct grant g;

		if (!s || grant_decode(s, strlen(s), bytes) < 0 ||
		    grant_take(bytes, a->id.public_key, a->realtime_s, &g, error, sizeof(error)) <
			    0)
			return pc_ctl_fail("%s", error);
		if (!relay_named(a, g.relay))
			return pc_ctl_fail("a grant for %s, which is none of our relays",
					   id_text(g.relay));
		if (grants_add(ret_grants, &g) < 0)
			return pc_ctl_fail("more than %d grants", CONFIG_RELAYS);
	}
	return NULL;
}

static json_t *new_connect(struct agent *a, const struct connect_spec *spec,
			   const struct grants *grants)
{
	char service[SERVICE_STRLEN];
	struct connect *c;
	int rc = connect_new(a, spec, grants, &c);

	if (rc == -EADDRINUSE)
		return pc_ctl_fail("%s: the port is in use", addr_text(&spec->listen));
	if (rc == PC_ERR_EXISTS)
		return pc_ctl_fail("%s of that peer is connected already",
				   service_format(spec->port, service));
	if (rc < 0)
		return pc_ctl_fail("%s: %s", addr_text(&spec->listen), pc_strerror(rc));
	return json_pack("{s:s}", "listen", addr_text(&c->spec.listen));
}

/* With grants and without an address: for one that there is. */
static json_t *do_connect(void *ctx, json_t *args)
{
	bool later = !json_object_get(args, "listen") && json_object_get(args, "grants");
	struct connect_spec spec = { 0 };
	struct grants grants = { 0 };
	struct agent *a = ctx;
	struct connect *c;
	json_t *wrong;

	if (pc_peer_id_parse(text_of(args, "peer"), spec.peer) < 0 ||
	    service_parse(text_of(args, "service"), &spec.port) < 0 ||
	    (!later && pc_addr_parse(text_of(args, "listen"), &spec.listen) < 0))
		return pc_ctl_fail("connect needs peer, service and listen");
	if (memcmp(spec.peer, a->id.public_key, 32) == 0)
		return pc_ctl_fail("that is this peer itself");
	agent_clock(a);
	wrong = grants_of(a, args, &grants);
	if (wrong)
		return wrong;
	if (!later)
		return new_connect(a, &spec, &grants);
	c = connect_find(a, spec.peer, spec.port);
	if (!c)
		return pc_ctl_fail("%s of that peer is not connected: --listen says where",
				   text_of(args, "service"));
	connect_grants(c, &grants);
	return json_pack("{s:s}", "listen", addr_text(&c->spec.listen));
}

static json_t *do_disconnect(void *ctx, json_t *args)
{
	struct agent *a = ctx;
	struct connect *c;
	uint8_t peer[32];
	uint16_t port;

	if (pc_peer_id_parse(text_of(args, "peer"), peer) < 0 ||
	    service_parse(text_of(args, "service"), &port) < 0)
		return pc_ctl_fail("disconnect needs peer and service");
	agent_clock(a);
	c = connect_find(a, peer, port);
	if (!c)
		return pc_ctl_fail("%s of that peer is not connected", text_of(args, "service"));
	connect_free(c);
	return json_object();
}

static json_t *do_expose(void *ctx, json_t *args)
{
	struct agent *a = ctx;
	struct expose_spec spec = { 0 };
	struct expose *x;
	json_t *peer;
	size_t i;
	int rc;

	if (service_parse(text_of(args, "service"), &spec.port) < 0 ||
	    pc_addr_parse(text_of(args, "to"), &spec.to) < 0)
		return pc_ctl_fail("expose needs service and to");
	json_array_foreach (json_object_get(args, "allow"), i, peer) {
		if (i >= CONFIG_ALLOW || !json_is_string(peer) ||
		    pc_peer_id_parse(json_string_value(peer), spec.allow[i]) < 0)
			return pc_ctl_fail("allow: ids of at most %d peers", CONFIG_ALLOW);
		spec.n_allow++;
	}
	rc = expose_new(a, &spec, &x);
	if (rc == PC_ERR_EXISTS)
		return pc_ctl_fail("%s is exposed already", text_of(args, "service"));
	if (rc < 0)
		return pc_ctl_fail("%s", pc_strerror(rc));
	return json_object();
}

static json_t *do_unexpose(void *ctx, json_t *args)
{
	struct agent *a = ctx;
	struct expose *x;
	uint16_t port;

	if (service_parse(text_of(args, "service"), &port) < 0)
		return pc_ctl_fail("unexpose needs a service");
	x = expose_find(a, port);
	if (!x)
		return pc_ctl_fail("%s is not exposed", text_of(args, "service"));
	agent_clock(a);
	expose_free(x);
	return json_object();
}

/* The file has changed: who is not in it any more is not heard any more. */
static json_t *do_trust(void *ctx, json_t *args)
{
	struct agent *a = ctx;
	struct pc_e2e_peer *peer = NULL, *next;
	char error[512];
	struct trust t;

	if (trust_load(a->config.trust_file, &t, error, sizeof(error)) < 0)
		return pc_ctl_fail("%s", error);
	trust_free(&a->trust);
	a->trust = t;
	agent_clock(a);
	flows_check(a);
	for (peer = pc_e2e_next(a->e2e, NULL); peer; peer = next) {
		next = pc_e2e_next(a->e2e, peer);
		if (!expose_welcome(a, pc_e2e_identity(peer)))
			peer_dismiss(a, peer);
	}
	return json_pack("{s:I}", "peers", (json_int_t)a->trust.n);
}

static const struct pc_ctl_command commands[] = {
	{ "status", do_status }, { "connect", do_connect },   { "disconnect", do_disconnect },
	{ "expose", do_expose }, { "unexpose", do_unexpose }, { "trust", do_trust },
};

/* --- clients --- */

static void client_close(struct client_ctl *k)
{
	if (k->fd < 0)
		return;
	ev_io_stop(k->c->a->loop, &k->io);
	ev_timer_stop(k->c->a->loop, &k->idle);
	close(k->fd);
	k->fd = -1;
	pc_ctl_conn_free(k->framing);
	k->framing = NULL;
}

static void on_client(struct ev_loop *loop, ev_io *io, int revents)
{
	struct client_ctl *k = io->data;
	bool alive = true;
	size_t len;

	ev_timer_again(loop, &k->idle);
	if (revents & EV_READ)
		alive = pc_ctl_conn_read(k->framing, k->fd);
	if (!pc_ctl_conn_flush(k->framing, k->fd) || !alive) {
		client_close(k);
		return;
	}
	pc_ctl_conn_output(k->framing, &len);
	ev_io_stop(loop, io);
	ev_io_set(io, k->fd, len ? EV_WRITE : EV_READ);
	ev_io_start(loop, io);
	agent_arm(k->c->a);
}

static void on_idle(struct ev_loop *loop, ev_timer *timer, int revents)
{
	client_close(timer->data);
}

static void on_accept(struct ev_loop *loop, ev_io *io, int revents)
{
	struct control *c = io->data;
	_cleanup_close_ int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (unsigned int i = 0; fd >= 0 && i < MAX_CLIENTS_CTL; i++) {
		struct client_ctl *k = &c->clients[i];

		if (k->fd >= 0 ||
		    pc_ctl_conn_new(commands, PC_ARRAY_SIZE(commands), c->a, &k->framing) < 0)
			continue;
		k->fd = TAKE_FD(fd);
		ev_io_init(&k->io, on_client, k->fd, EV_READ);
		k->io.data = k;
		ev_io_start(loop, &k->io);
		ev_timer_init(&k->idle, on_idle, 0.0, IDLE_S);
		k->idle.data = k;
		ev_timer_again(loop, &k->idle);
	}
}

/* --- the socket --- */

static int open_socket(struct control *c)
{
	int rc = config_make_folder(c->path);

	return rc < 0 ? rc : pc_ctl_listen(c->path, 0177, MAX_CLIENTS_CTL, &c->fd); /* 0600 */
}

int control_new(struct agent *a, struct control **ret_control)
{
	_cleanup_free_ struct control *c = calloc(1, sizeof(*c));
	int rc = -ENAMETOOLONG;

	if (!c)
		return -ENOMEM;
	c->a = a;
	for (unsigned int i = 0; i < MAX_CLIENTS_CTL; i++) {
		c->clients[i].c = c;
		c->clients[i].fd = -1;
	}
	if (strlen(a->config.socket) < sizeof(c->path)) {
		memcpy(c->path, a->config.socket, strlen(a->config.socket) + 1);
		rc = open_socket(c);
	}
	if (rc < 0) {
		pc_error("%s: %s", a->config.socket,
			 rc == -EADDRINUSE ? "another pcpeer up answers there" : pc_strerror(rc));
		return rc;
	}
	ev_io_init(&c->io, on_accept, c->fd, EV_READ);
	c->io.data = c;
	ev_io_start(a->loop, &c->io);
	*ret_control = TAKE_PTR(c);
	return 0;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	for (unsigned int i = 0; i < MAX_CLIENTS_CTL; i++)
		client_close(&c->clients[i]);
	ev_io_stop(c->a->loop, &c->io);
	unlink(c->path);
	close(c->fd);
	free(c);
}
