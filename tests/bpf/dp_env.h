/* SPDX-License-Identifier: MIT */
/*
 * A world of its own for tests of the data plane library: network and mount namespaces, a tmpfs
 * with a bpffs in it, a veth pair. All of it goes with the process, however that ends.
 */
#ifndef PC_TESTS_BPF_DP_ENV_H
#define PC_TESTS_BPF_DP_ENV_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "dp/dp.h"
#include "lib/hot.h"

#define ENV_ROOT     "/mnt"
#define ENV_BPFFS    ENV_ROOT "/bpf/pcd"
#define ENV_STATE    ENV_ROOT "/state"
#define ENV_DROPALL  "relay_dropall.bpf.o"

#define ENV_PORT     3478
#define ENV_SESSIONS 64
#define ENV_WAIT_MS  3000 /* for what must happen */
#define ENV_QUIET_MS 150  /* for what must not */

struct env {
	char object[64];  /* of the variant that drops everything */
	uint32_t inside;  /* veth interface that gets programs */
	uint32_t outside; /* its other end */
};
static struct env env;

static inline void env_run(const char *const argv[])
{
	pid_t pid = fork();
	int status = -1;

	assert_true(pid >= 0);
	if (!pid) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("%s %s %s: status %d", argv[0], argv[1], argv[2], status);
}
#define env_ip(...) env_run((const char *const[]){ "ip", __VA_ARGS__, NULL })

static inline void env_add_veth(void)
{
	env_ip("link", "add", "pc-e-in", "type", "veth", "peer", "name", "pc-e-out");
	env_ip("link", "set", "pc-e-in", "up");
	env_ip("link", "set", "pc-e-out", "up");
	env.inside = if_nametoindex("pc-e-in");
	env.outside = if_nametoindex("pc-e-out");
	assert_true(env.inside && env.outside);
}

/* True in a new world; false, after a plan that says so, where that is not allowed. */
static inline bool env_enter(void)
{
	const char *dir = getenv("PC_BPF_DIR");
	char relative[300];
	int fd; /* stays open */

	snprintf(relative, sizeof(relative), "%s/" ENV_DROPALL, dir ? dir : "build/bpf");
	/* The library is given a path that holds under the new /mnt too. */
	fd = open(relative, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		snprintf(env.object, sizeof(env.object), "/proc/self/fd/%d", fd);
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", ENV_ROOT, "tmpfs", 0, "mode=0755")) {
		printf("1..1\nok 1 - data plane # SKIP needs root: %s\n", strerror(errno));
		return false;
	}
	return true;
}

static inline int env_fresh(void **state)
{
	(void)state;
	mkdir(ENV_ROOT "/bpf", 0755);
	env_add_veth();
	return 0;
}

static inline int env_clean(void **state)
{
	(void)state;
	pc_dp_teardown(ENV_BPFFS, false);
	unlink(ENV_STATE "/count.v1");
	rmdir(ENV_STATE);
	if (if_nametoindex("pc-e-in"))
		env_ip("link", "del", "pc-e-in");
	return 0;
}

static inline struct pc_addr env_addr(uint8_t last, uint16_t port)
{
	return (struct pc_addr){ .ip = pc_ip4(198, 51, 100, last), .port = port };
}

static inline struct pc_addr env_addr6(uint8_t last, uint16_t port)
{
	return (struct pc_addr){ .ip = { .family = 6, .b = { 0x20, 1, 0xd, 0xb8, [15] = last } },
				 .port = port };
}

static inline struct pc_addr env_addr_of(bool six, uint8_t last, uint16_t port)
{
	return six ? env_addr6(last, port) : env_addr(last, port);
}

static inline struct pc_dp_flow env_flow(uint16_t client_port)
{
	return (struct pc_dp_flow){
		.slot = 5,
		.channel = 0x4001,
		.client = env_addr(1, client_port),
		.server = env_addr(2, ENV_PORT),
		.relayed = env_addr(2, 50001),
		.peer = env_addr(3, client_port),
		.expires_ns = 12345678,
		.nexthop_client = 7,
		.nexthop_peer = 8,
	};
}

static inline struct pc_dp_perm env_perm(bool client6, bool peer6, uint16_t client_port)
{
	return (struct pc_dp_perm){
		.slot = 6,
		.client = env_addr_of(client6, 1, client_port),
		.server = env_addr_of(client6, 2, ENV_PORT),
		.relayed = env_addr_of(peer6, 2, 50001),
		.peer = env_addr_of(peer6, 3, 0).ip,
		.tenant = 3,
		.expires_ns = 777,
		.nexthop_client = 7,
		.nexthop_peer = 8,
	};
}

/* Where an IPv4 flow lies in the faster table of env_config(). */
static inline uint32_t env_hot_set(const struct pc_flow4_key *key)
{
	uint64_t words[2];

	memcpy(words, key, sizeof(words));
	return (uint32_t)pc_hot_set(words[0], words[1],
				    pc_hot_shift_of(pc_hot_sets(4ull * ENV_SESSIONS)));
}

static inline struct pc_dp_config env_config(void)
{
	return (struct pc_dp_config){
		.bpffs = ENV_BPFFS,
		.state_dir = ENV_STATE,
		.max_sessions = ENV_SESSIONS,
		.max_tenants = 16,
		.service_ports = { ENV_PORT },
		.relay_low = 50000,
		.relay_high = 50999,
		.kernel = true,
	};
}

static inline struct pc_dp *env_open_with(const struct pc_dp_config *config)
{
	struct pc_dp_status status;
	struct pc_dp *dp = NULL;

	assert_int_equal(pc_dp_open(config, &dp), 0);
	pc_dp_get_status(dp, &status);
	if (!status.kernel)
		fail_msg("no kernel half: %d %s", status.kernel_error, status.reason);
	assert_string_equal(status.reason, "");
	return dp;
}

static inline struct pc_dp *env_open(void)
{
	struct pc_dp_config config = env_config();

	return env_open_with(&config);
}

/* Attached and confirmed. */
static inline void env_attach(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode)
{
	struct pc_dp_link link;

	assert_int_equal(pc_dp_attach(dp, ifindex, mode, UINT64_MAX, &link), 0);
	assert_int_equal(pc_dp_confirm(dp, ifindex), 0);
}

/* Program on an interface; 0: none. */
static inline uint32_t env_prog_on(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	assert_int_equal(bpf_xdp_query((int)ifindex, 0, &query), 0);
	return query.prog_id | query.drv_prog_id | query.skb_prog_id;
}

static inline int env_pin(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), ENV_BPFFS "/%s", name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return fd;
}

static inline bool env_pinned(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), ENV_BPFFS "/%s", name);
	return !access(path, F_OK);
}

static inline bool env_link_pinned(uint32_t ifindex)
{
	char name[32];

	snprintf(name, sizeof(name), PC_LINK_PREFIX "%u", ifindex);
	return env_pinned(name);
}

static inline uint32_t env_prog_id(void)
{
	_cleanup_close_ int fd = env_pin(PC_PROG_RELAY);
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static inline uint32_t env_map_id(const char *name)
{
	_cleanup_close_ int fd = env_pin(name);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static inline struct pc_ctl env_ctl(void)
{
	_cleanup_close_ int fd = env_pin(PC_MAP_CTL);
	struct pc_ctl ctl;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &ctl), 0);
	return ctl;
}

/* Whether a frame sent from the outside gets past the program on the inside. */
static inline bool env_passes(void)
{
	struct sockaddr_ll in = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	_cleanup_close_ int rx = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
	_cleanup_close_ int tx = socket(AF_PACKET, SOCK_RAW, 0);
	struct sockaddr_ll out = in;
	struct pollfd poll_rx = { .fd = rx, .events = POLLIN };
	uint64_t end = pc_clock_monotonic() + ENV_QUIET_MS * PC_NS_PER_MS;
	static uint32_t serial;
	uint8_t frame[60] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };
	uint8_t got[60];

	in.sll_ifindex = (int)env.inside;
	out.sll_ifindex = (int)env.outside;
	assert_int_equal(bind(rx, (struct sockaddr *)&in, sizeof(in)), 0);
	serial++;
	memcpy(frame + 14, &serial, sizeof(serial));
	assert_int_equal(sendto(tx, frame, sizeof(frame), 0, (struct sockaddr *)&out, sizeof(out)),
			 sizeof(frame));
	while (pc_clock_monotonic() < end) {
		if (poll(&poll_rx, 1, 10) > 0 && recv(rx, got, sizeof(got), 0) == sizeof(got) &&
		    !memcmp(got, frame, sizeof(frame)))
			return true;
	}
	return false;
}

/* Runs @fn in a child that ends by SIGKILL afterwards: no destructor, no handler. */
static inline void env_in_killed_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		fn();
		kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#endif
