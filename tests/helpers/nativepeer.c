/* SPDX-License-Identifier: MIT */
/*
 * A native peer on the agent of the project, led by lines on standard input.
 *   nativepeer RELAY RELAY_ID SEED_HEX [LOCAL]   session with RELAY (ADDR:PORT) from LOCAL
 *   nativepeer --identity SEED_HEX               prints the peer id
 * Lines:
 *   call ID [SERVICE]      a pipe to another peer
 *   grant BASE64URL|-      goes with calls and allocate from then on
 *   allow | deny           what it answers to those who ask; at first everybody may
 *   allocate ADDR:PORT     a pipe to a relayed port
 *   send N SIZE RATE       N frames of SIZE payload bytes through the last pipe, RATE a second
 *   forge N                frames with a wrong tag
 *   replay N               the last frame that was sent, again
 *   move [LOCAL]           another socket, as behind a NAT that forgot; tells nobody until beat
 *   beat                   a message to the relay now
 *   spoof LOCAL            what it said last to the relay, from another socket: as it was, then
 *                          with a higher counter
 *   close                  of the last pipe
 *   count                  answers "count SENT RECEIVED BAD BYTES"
 *   quit
 * Answers: "registered ADDR", "up IN OUT MTU [RELAYED]", "down REASON", "refused REASON",
 * "lost REASON", "meter UP DOWN", "done". Payloads are not sealed: 8 bytes of a number, then its
 * lowest byte.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/parse.h"
#include "native_quiet.h"
#include "relay/native_agent.h"
#include "relay/noise.h"

#define STATEMENT_S 86400
#define BATCH	    64

static struct {
	int fd;
	struct pc_addr relay;
	uint8_t relay_id[32];
	struct pc_native *n;
	struct pc_agent *agent;
	struct pc_agent_pipe *pipe;
	bool deny, again, granted;
	uint8_t grant[PC_NATIVE_GRANT_LEN];
	uint64_t now;
	/* What is to be sent, and when the next frame is due. */
	uint64_t left, interval_ns, due_ns;
	size_t size;
	uint8_t last[PC_PIPE_MAX_FRAME];
	size_t last_len;
	uint8_t said[PC_NATIVE_MAX_FRAME]; /* to the relay, last */
	size_t said_len;
	bool silent; /* to the relay: what is due is lost */
	uint64_t sent, received, bad, bytes;
} me = { .fd = -1 };

/* --- effects --- */

static void send_datagram(const void *data, size_t len)
{
	/* A full buffer loses it, as a network would. */
	if (send(me.fd, data, len, 0) < 0 && errno != EAGAIN && errno != ECONNREFUSED)
		fprintf(stderr, "send: %s\n", strerror(errno));
}

static void on_send(void *ctx, const struct pc_native_path *path, const void *data, size_t len)
{
	if (me.silent)
		return;
	memcpy(me.said, data, len);
	me.said_len = len;
	send_datagram(data, len);
}

static bool on_trusted(void *ctx, const uint8_t identity[static 32])
{
	return memcmp(identity, me.relay_id, 32) == 0;
}

static void on_up(void *ctx, struct pc_native_link *link, bool renewed)
{
	pc_agent_up(me.agent, link, renewed, me.now);
}

static void on_down(void *ctx, struct pc_native_link *link, uint16_t reason)
{
	printf("lost %s\n", pc_native_reason_text(reason));
	pc_agent_down(me.agent, reason, me.now);
	me.again = reason != PC_NATIVE_R_REFUSED;
}

static void on_message(void *ctx, struct pc_native_link *link, const struct pc_native_msg *msg)
{
	pc_agent_message(me.agent, msg, me.now);
}

static const struct pc_native_ops native_ops = {
	.send = on_send,
	.trusted = on_trusted,
	.up = on_up,
	.down = on_down,
	.moved = quiet_moved,
	.message = on_message,
	.drop = quiet_drop,
	.random = quiet_random,
};

static void on_registered(void *ctx, const struct pc_addr *observed, uint32_t lifetime_s)
{
	char text[PC_ADDR_STRLEN];

	printf("registered %s\n", pc_addr_format(observed, text));
}

static bool on_allowed(void *ctx, const uint8_t peer[static 32], const char *service)
{
	return !me.deny;
}

static void on_pipe_up(void *ctx, struct pc_agent_pipe *pipe)
{
	char text[PC_ADDR_STRLEN];

	me.pipe = pipe;
	printf("up %" PRIu32 " %" PRIu32 " %u%s%s\n", pipe->in, pipe->out, pipe->mtu,
	       pipe->relayed.ip.family ? " " : "",
	       pipe->relayed.ip.family ? pc_addr_format(&pipe->relayed, text) : "");
}

static void on_pipe_down(void *ctx, struct pc_agent_pipe *pipe, uint16_t reason)
{
	if (me.pipe == pipe) {
		me.pipe = NULL;
		me.left = 0;
	}
	printf("down %s\n", pc_native_reason_text(reason));
}

static void on_refused(void *ctx, uint32_t call, uint16_t reason)
{
	printf("refused %s\n", pc_native_reason_text(reason));
}

static void on_candidates(void *ctx, struct pc_agent_pipe *pipe, const struct pc_addr *observed,
			  const struct pc_addr *candidates, unsigned int n)
{
}

static void on_meter(void *ctx, struct pc_agent_pipe *pipe, uint64_t up, uint64_t down)
{
	printf("meter %" PRIu64 " %" PRIu64 "\n", up, down);
}

static const struct pc_agent_ops agent_ops = {
	.registered = on_registered,
	.allowed = on_allowed,
	.pipe_up = on_pipe_up,
	.pipe_down = on_pipe_down,
	.refused = on_refused,
	.candidates = on_candidates,
	.meter = on_meter,
	.random = quiet_random,
};

/* --- frames --- */

static void send_frame(bool forged)
{
	struct pc_pipe_frame f = { .pipe = me.pipe->out, .payload_len = me.size };
	uint64_t number = me.pipe->counter;

	f.counter = ++me.pipe->counter;
	memset(me.last + PC_PIPE_HEADER, (int)(number & 0xff), me.size);
	memcpy(me.last + PC_PIPE_HEADER, &number, sizeof(number));
	pc_pipe_write(me.last, &f, me.pipe->out_key);
	if (forged)
		me.last[PC_PIPE_TAG_OFF] ^= 1;
	me.last_len = PC_PIPE_HEADER + me.size;
	send_datagram(me.last, me.last_len);
}

static void send_due(void)
{
	for (int i = 0; i < BATCH && me.left && me.pipe && me.due_ns <= me.now; i++) {
		send_frame(false);
		me.sent++;
		me.left--;
		me.due_ns += me.interval_ns;
	}
}

static void take_frame(uint8_t *data, size_t len)
{
	struct pc_agent_pipe *pipe;
	struct pc_pipe_frame f;
	uint64_t number = 0;

	if (pc_agent_frame(me.agent, data, len, &f, &pipe) < 0) {
		me.bad++;
		return;
	}
	if (f.payload_len >= sizeof(number))
		memcpy(&number, data + PC_PIPE_HEADER, sizeof(number));
	for (size_t i = sizeof(number); i < f.payload_len; i++) {
		if (data[PC_PIPE_HEADER + i] != (uint8_t)number) {
			me.bad++;
			return;
		}
	}
	me.received++;
	me.bytes += f.payload_len;
}

static void receive(void)
{
	const struct pc_native_path path = { .remote = me.relay };
	uint8_t data[2048];
	ssize_t len;

	for (int i = 0; i < BATCH; i++) {
		len = recv(me.fd, data, sizeof(data), MSG_DONTWAIT);
		if (len <= 0)
			return;
		if (data[0] == PC_NATIVE_PIPE)
			take_frame(data, (size_t)len);
		else
			pc_native_input(me.n, &path, data, (size_t)len, me.now,
					pc_clock_realtime() / PC_NS_PER_S);
	}
}

/* --- commands --- */

static int open_socket(const char *local)
{
	struct sockaddr_storage sa;
	_cleanup_close_ int fd = -1;
	struct pc_addr addr;
	int size = 4 << 20;
	socklen_t len;

	fd = socket(me.relay.ip.family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (local && pc_addr_parse(local, &addr) == 0) {
		len = pc_addr_to_sockaddr(&addr, &sa);
		if (bind(fd, (struct sockaddr *)&sa, len) < 0)
			return -errno;
	}
	len = pc_addr_to_sockaddr(&me.relay, &sa);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	if (me.fd >= 0)
		close(me.fd);
	me.fd = TAKE_FD(fd);
	return 0;
}

static bool do_call(const char *peer, const char *service)
{
	uint8_t id[32];
	uint32_t call;

	return pc_peer_id_parse(peer, id) == 0 &&
	       pc_agent_connect(me.agent, id, service[0] ? service : NULL,
				me.granted ? me.grant : NULL, me.now, &call) == 0;
}

/* Of a line, for it is longer than a word. */
static bool do_grant(const char *text)
{
	size_t n;

	me.granted = strcmp(text, "-") != 0;
	return !me.granted ||
	       (sodium_base642bin(me.grant, sizeof(me.grant), text, strlen(text), NULL, &n, NULL,
				  sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
		n == sizeof(me.grant));
}

static bool do_allocate(const char *text)
{
	struct pc_addr addr;
	uint32_t call;

	return pc_addr_parse(text, &addr) == 0 &&
	       pc_agent_allocate(me.agent, &addr, me.granted ? me.grant : NULL, me.now, &call) == 0;
}

static bool do_send(const char *count, const char *size, const char *rate)
{
	uint64_t n, bytes, per_s;

	if (!me.pipe || pc_parse_u64(count, 1, UINT32_MAX, &n) ||
	    pc_parse_u64(size, 8, PC_PIPE_MAX_FRAME - PC_PIPE_HEADER, &bytes) ||
	    pc_parse_u64(rate, 1, 10000000, &per_s))
		return false;
	me.left = n;
	me.size = (size_t)bytes;
	me.interval_ns = PC_NS_PER_S / per_s;
	me.due_ns = me.now;
	return true;
}

static bool do_bad(const char *count, bool replay)
{
	uint64_t n;

	if (!me.pipe || pc_parse_u64(count, 1, UINT32_MAX, &n) || (replay && !me.last_len))
		return false;
	if (!replay && !me.size)
		me.size = 100;
	for (uint64_t i = 0; i < n; i++) {
		if (replay)
			send_datagram(me.last, me.last_len);
		else
			send_frame(true);
	}
	printf("done\n");
	return true;
}

static bool do_spoof(const char *local)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage from, to;
	struct pc_addr addr;
	socklen_t len;

	if (fd < 0 || pc_addr_parse(local, &addr) || me.said_len < 32)
		return false;
	len = pc_addr_to_sockaddr(&addr, &from);
	if (bind(fd, (struct sockaddr *)&from, len) < 0)
		return false;
	len = pc_addr_to_sockaddr(&me.relay, &to);
	for (int i = 0; i < 2; i++) {
		/* The counter of a transport frame, big-endian, ends here. */
		me.said[15] += i ? 100 : 0;
		if (sendto(fd, me.said, me.said_len, 0, (struct sockaddr *)&to, len) < 0)
			return false;
	}
	return true;
}

static bool do_beat(void)
{
	me.silent = false;
	return me.pipe && pc_agent_send_candidates(me.agent, me.pipe, NULL, 0, me.now) == 0;
}

/* False: not understood, or not possible now. */
static bool command(const char *line)
{
	char verb[16] = "", a[128] = "", b[128] = "", c[128] = "";

	if (sscanf(line, "%15s %127s %127s %127s", verb, a, b, c) < 1)
		return false;
	if (strcmp(verb, "grant") == 0)
		return do_grant(line + strlen("grant "));
	if (strcmp(verb, "call") == 0)
		return do_call(a, b);
	if (strcmp(verb, "allocate") == 0)
		return do_allocate(a);
	if (strcmp(verb, "send") == 0)
		return do_send(a, b, c);
	if (strcmp(verb, "forge") == 0 || strcmp(verb, "replay") == 0)
		return do_bad(a, verb[0] == 'r');
	if (strcmp(verb, "move") == 0) {
		me.silent = true;
		return open_socket(a[0] ? a : NULL) == 0;
	}
	if (strcmp(verb, "beat") == 0)
		return do_beat();
	if (strcmp(verb, "spoof") == 0)
		return do_spoof(a);
	if (strcmp(verb, "close") == 0 && me.pipe) {
		pc_agent_close(me.agent, TAKE_PTR(me.pipe), PC_NATIVE_R_DONE, me.now);
		return true;
	}
	if (strcmp(verb, "deny") == 0 || strcmp(verb, "allow") == 0) {
		me.deny = verb[0] == 'd';
		return true;
	}
	if (strcmp(verb, "count") == 0)
		return printf("count %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", me.sent,
			      me.received, me.bad, me.bytes) > 0;
	return false;
}

/* False: the end. */
static bool read_commands(void)
{
	static char buf[1024];
	static size_t used;
	ssize_t n = read(STDIN_FILENO, buf + used, sizeof(buf) - 1 - used);
	char *line = buf, *end;

	if (n <= 0)
		return false;
	used += (size_t)n;
	buf[used] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		if (strcmp(line, "quit") == 0)
			return false;
		if (!command(line))
			printf("no %s\n", line);
		line = end + 1;
	}
	used = (size_t)(buf + used - line);
	memmove(buf, line, used);
	return used < sizeof(buf) - 1;
}

/* --- life --- */

static int start(const uint8_t seed[static 32])
{
	struct pc_native_config config = { .max_links = 4,
					   .handshakes_per_s = 1000,
					   .heartbeat_ns = 2 * PC_NS_PER_S };
	const struct pc_agent_config agent = { .max_pipes = 256 };
	struct pc_noise_keypair pair;
	struct pc_identity id;
	int r = pc_identity_from_seed(seed, &id);

	if (r)
		return r;
	memcpy(config.identity, id.public_key, 32);
	pc_identity_static_secret(&id, config.static_secret);
	pc_noise_keypair(config.static_secret, &pair);
	pc_statement_make(id.secret_key, pair.public_key, 0,
			  pc_clock_realtime() / PC_NS_PER_S + STATEMENT_S, config.statement);
	r = pc_native_new(&config, &native_ops, NULL, me.now, &me.n);
	return r ? r : pc_agent_new(&agent, me.n, &agent_ops, NULL, me.now, &me.agent);
}

static int begin(void)
{
	const struct pc_native_path path = { .remote = me.relay };
	struct pc_native_link *link;

	return pc_native_connect(me.n, me.relay_id, NULL, &path, me.now, &link);
}

static int wait_ms(void)
{
	uint64_t at = pc_native_next_deadline(me.n), agent = pc_agent_next_deadline(me.agent);

	at = agent < at ? agent : at;
	if (me.left && me.due_ns < at)
		at = me.due_ns;
	if (at == UINT64_MAX)
		return 1000;
	me.now = pc_clock_monotonic();
	at = at > me.now ? (at - me.now) / PC_NS_PER_MS : 0;
	return at > 1000 ? 1000 : (int)at;
}

static void run(void)
{
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };

	for (;;) {
		fflush(stdout);
		fds[1].fd = me.fd;
		if (poll(fds, 2, wait_ms()) < 0 && errno != EINTR)
			return;
		me.now = pc_clock_monotonic();
		if (fds[1].revents)
			receive();
		if (fds[0].revents && !read_commands())
			return;
		pc_native_tick(me.n, me.now);
		pc_agent_tick(me.agent, me.now);
		if (me.again && begin() == 0)
			me.again = false;
		send_due();
	}
}

static int print_identity(const char *text)
{
	char id[PC_PEER_ID_STRLEN];
	struct pc_identity identity;
	uint8_t seed[32];

	if (pc_parse_hex(text, seed, sizeof(seed)) || pc_identity_from_seed(seed, &identity))
		return 2;
	printf("%s\n", pc_peer_id_format(identity.public_key, id));
	return 0;
}

int main(int argc, char **argv)
{
	uint8_t seed[32];

	if (argc == 3 && strcmp(argv[1], "--identity") == 0)
		return print_identity(argv[2]);
	me.now = pc_clock_monotonic();
	if (argc < 4 || argc > 5 || pc_addr_parse(argv[1], &me.relay) ||
	    pc_peer_id_parse(argv[2], me.relay_id) || pc_parse_hex(argv[3], seed, 32)) {
		fprintf(stderr, "usage: nativepeer RELAY RELAY_ID SEED_HEX [LOCAL]\n");
		return 2;
	}
	if (open_socket(argc > 4 ? argv[4] : NULL) || start(seed) || begin()) {
		fprintf(stderr, "cannot start\n");
		return 1;
	}
	run();
	pc_agent_free(me.agent);
	pc_native_free(me.n);
	close(me.fd);
	return 0;
}
