/* SPDX-License-Identifier: MIT */
/* Two native peers of the daemon of daemon_bed.h, on sockets of their own. */
#ifndef PC_TEST_NATIVE_BED_H
#define PC_TEST_NATIVE_BED_H

#include "daemon_bed.h"

#include <poll.h>

#include "daemon/native_glue_int.h"
#include "relay/native_agent.h"
#include "relay/noise.h"
#include "tests/helpers/native_quiet.h"

#define NOTHING 99

/* --- peers --- */

struct np {
	int fd;
	struct pc_identity id;
	uint8_t static_public[32];
	struct pc_native *n;
	struct pc_agent *agent;
	struct pc_agent_pipe *pipe;
	struct pc_native_link *relay;
	unsigned int registered, frames;
	uint16_t refused, down, lost; /* reasons; NOTHING: was not */
	uint64_t up_bytes;	      /* by METER */
	bool meter;
};

static struct np alice, bob;
static const uint8_t *show_grant; /* with calls */

static inline void np_send(void *ctx, const struct pc_native_path *path, const void *data,
			   size_t len)
{
	assert_int_equal(send(((struct np *)ctx)->fd, data, len, 0), len);
}

static inline void np_up(void *ctx, struct pc_native_link *link, bool renewed)
{
	struct np *p = ctx;

	p->relay = link;
	pc_agent_up(p->agent, link, renewed, pc_clock_monotonic());
}

static inline void np_down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
	struct np *p = ctx;

	p->relay = NULL;
	p->lost = reason;
	pc_agent_down(p->agent, reason, pc_clock_monotonic());
}

static inline void np_message(void *ctx, struct pc_native_link *link,
			      const struct pc_native_msg *msg)
{
	pc_agent_message(((struct np *)ctx)->agent, msg, pc_clock_monotonic());
}

static const struct pc_native_ops np_ops = {
	.send = np_send,
	.trusted = quiet_trusts_all,
	.up = np_up,
	.down = np_down,
	.moved = quiet_moved,
	.message = np_message,
	.drop = quiet_drop,
	.random = quiet_random,
};

static inline void np_registered(void *ctx, const struct pc_addr *observed, uint32_t lifetime_s)
{
	((struct np *)ctx)->registered++;
}

static inline bool np_allowed(void *ctx, const uint8_t peer[static 32], const char *service)
{
	return true;
}

static inline void np_pipe_up(void *ctx, struct pc_agent_pipe *pipe)
{
	((struct np *)ctx)->pipe = pipe;
}

static inline void np_pipe_down(void *ctx, struct pc_agent_pipe *pipe, uint16_t reason)
{
	((struct np *)ctx)->pipe = NULL;
	((struct np *)ctx)->down = reason;
}

static inline void np_refused(void *ctx, uint32_t call, uint16_t reason)
{
	((struct np *)ctx)->refused = reason;
}

static inline void np_candidates(void *ctx, struct pc_agent_pipe *pipe,
				 const struct pc_addr *observed, const struct pc_addr *candidates,
				 unsigned int n)
{
}

static inline void np_meter(void *ctx, struct pc_agent_pipe *pipe, uint64_t up, uint64_t down)
{
	((struct np *)ctx)->meter = true;
	((struct np *)ctx)->up_bytes = up;
}

static const struct pc_agent_ops agent_ops = {
	.registered = np_registered,
	.allowed = np_allowed,
	.pipe_up = np_pipe_up,
	.pipe_down = np_pipe_down,
	.refused = np_refused,
	.candidates = np_candidates,
	.meter = np_meter,
	.random = quiet_random,
};

static inline void np_socket(struct np *p)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };

	p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(p->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
}

static inline void np_open(struct np *p, uint8_t fill)
{
	struct pc_native_config config = { .max_links = 2, .handshakes_per_s = 100 };
	struct pc_agent_config agent = { .max_pipes = 8 };
	struct pc_noise_keypair pair;
	uint8_t seed[32];

	memset(p, 0, sizeof(*p));
	p->refused = p->down = p->lost = NOTHING;
	memset(seed, fill, sizeof(seed));
	assert_int_equal(pc_identity_from_seed(seed, &p->id), 0);
	memcpy(config.identity, p->id.public_key, 32);
	pc_identity_static_secret(&p->id, config.static_secret);
	pc_noise_keypair(config.static_secret, &pair);
	memcpy(p->static_public, pair.public_key, 32);
	pc_statement_make(p->id.secret_key, pair.public_key, 0,
			  pc_clock_realtime() / PC_NS_PER_S + 3600, config.statement);
	assert_int_equal(pc_native_new(&config, &np_ops, p, pc_clock_monotonic(), &p->n), 0);
	assert_int_equal(pc_agent_new(&agent, p->n, &agent_ops, p, pc_clock_monotonic(), &p->agent),
			 0);
	np_socket(p);
}

static inline void np_close(struct np *p)
{
	pc_agent_free(p->agent);
	pc_native_free(p->n);
	close(p->fd);
}

static inline void np_work(struct np *p)
{
	const struct pc_native_path path = { .remote = { .ip = pc_ip4(127, 0, 0, 1), port } };
	uint64_t now = pc_clock_monotonic();
	struct pc_agent_pipe *pipe;
	struct pc_pipe_frame f;
	uint8_t data[2048];
	ssize_t n;

	if (!p->n)
		return;
	while ((n = recv(p->fd, data, sizeof(data), 0)) > 0) {
		if (data[0] != PC_NATIVE_PIPE)
			pc_native_input(p->n, &path, data, (size_t)n, now,
					pc_clock_realtime() / PC_NS_PER_S);
		else if (pc_agent_frame(p->agent, data, (size_t)n, &f, &pipe) == 0)
			p->frames++;
	}
	pc_native_tick(p->n, now);
	pc_agent_tick(p->agent, now);
}

/* The daemon and both peers work until @x, for 5 s at most. */
#define until(x)                                             \
	do {                                                 \
		bool met_ = false;                           \
		for (int i_ = 0; i_ < 5000 && !met_; i_++) { \
			ev_run(d.loop, EVRUN_NOWAIT);        \
			np_work(&alice);                     \
			np_work(&bob);                       \
			met_ = (x);                          \
			if (!met_)                           \
				poll(NULL, 0, 1);            \
		}                                            \
		if (!met_)                                   \
			fail_msg("never: %s", #x);           \
	} while (0)

static inline void np_begin(struct np *p)
{
	const struct pc_native_path path = { .remote = { .ip = pc_ip4(127, 0, 0, 1), port } };
	struct pc_native_link *link;

	assert_int_equal(pc_native_connect(p->n, d.identity.public_key, NULL, &path,
					   pc_clock_monotonic(), &link),
			 0);
}

static inline void add_peer(const struct np *p, const char *name, const char *tenant)
{
	struct pc_store_peer peer = { .tenant = pc_users_find(d.users, tenant)->id,
				      .may_call = "*" };

	memcpy(peer.identity, p->id.public_key, 32);
	snprintf(peer.name, sizeof(peer.name), "%s", name);
	assert_int_equal(pc_peers_add(d.peers, &peer), 0);
}

static inline void call_bob(void)
{
	uint32_t call;

	alice.refused = NOTHING;
	assert_int_equal(pc_agent_connect(alice.agent, bob.id.public_key, NULL, show_grant,
					  pc_clock_monotonic(), &call),
			 0);
}

static inline void send_frame(struct np *p, size_t len)
{
	struct pc_pipe_frame f = { .pipe = p->pipe->out, .payload_len = len };
	uint8_t frame[1500] = { 0 };

	f.counter = ++p->pipe->counter;
	pc_pipe_write(frame, &f, p->pipe->out_key);
	assert_int_equal(send(p->fd, frame, PC_PIPE_HEADER + len, 0), PC_PIPE_HEADER + len);
}

/* Two peers of two tenants that are registered. */
static inline void start_all(void)
{
	assert_int_equal(start(), 0);
	add_tenant("one");
	add_tenant("two");
	np_open(&alice, 1);
	np_open(&bob, 2);
	add_peer(&alice, "alice", "one");
	add_peer(&bob, "bob", "two");
	np_begin(&alice);
	np_begin(&bob);
	until(alice.registered && bob.registered);
}

static inline void open_pipe(void)
{
	call_bob();
	until(alice.pipe && bob.pipe);
}

static inline void end_all(void)
{
	np_close(&alice);
	np_close(&bob);
	memset(&alice, 0, sizeof(alice));
	memset(&bob, 0, sizeof(bob));
	end(true);
}

#endif
