/* SPDX-License-Identifier: MIT */
/*
 * The program on interfaces: BPF links, on trial until they are pinned. Behind a dispatcher there
 * is no link of ours: a pin of the program says that it was confirmed.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "dp/dp_int.h"

#define PC_FRAME_LEN 60 /* shortest Ethernet frame, without its checksum */

static struct pc_dp_attached *find_link(struct pc_dp *dp, uint32_t ifindex)
{
	for (size_t i = 0; i < dp->n_links; i++) {
		if (dp->links[i].link.ifindex == ifindex)
			return &dp->links[i];
	}
	return NULL;
}

static void forget_link(struct pc_dp *dp, struct pc_dp_attached *link)
{
	if (link->fd >= 0)
		close(link->fd);
	*link = dp->links[--dp->n_links];
}

static void link_path(const struct pc_dp *dp, const struct pc_dp_link *link,
		      char path[static PC_DP_PATH_MAX])
{
	char name[32];

	snprintf(name, sizeof(name), "%s%u", link->shared ? PC_SHARE_PREFIX : PC_LINK_PREFIX,
		 link->ifindex);
	pc_dp_pin_path(dp->bpffs, name, path);
}

/* Interface (0: it is gone) and program of a link. */
static int link_info(int fd, uint32_t *ret_ifindex, uint32_t *ret_prog_id)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*ret_ifindex = info.xdp.ifindex;
	*ret_prog_id = info.prog_id;
	return 0;
}

static int prog_id(int fd, uint32_t *ret_id)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*ret_id = info.id;
	return 0;
}

/* How a program sits on an interface; links do not tell. */
static enum pc_dp_mode attached_mode(uint32_t ifindex, uint32_t id)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	pc_dp_capture_begin();
	if (bpf_xdp_query((int)ifindex, 0, &query))
		query.drv_prog_id = 0;
	pc_dp_capture_end();
	return query.drv_prog_id == id || query.hw_prog_id == id ? PC_DP_NATIVE : PC_DP_GENERIC;
}

static bool shared_there(const struct pc_dp_attached *link, uint32_t id)
{
	enum pc_dp_mode mode;

	return pc_dp_share_present(link->link.ifindex, id, &mode);
}

/* A link whose interface went away holds nothing. */
static void prune_links(struct pc_dp *dp)
{
	char path[PC_DP_PATH_MAX];
	uint32_t ifindex = 0, id = 0;

	for (size_t i = dp->n_links; i-- > 0;) {
		struct pc_dp_attached *link = &dp->links[i];

		if (link->link.shared
			    ? prog_id(link->fd, &id) || shared_there(link, id)
			    : link_info(link->fd, &ifindex, &id) || ifindex == link->link.ifindex)
			continue;
		if (link->pinned && !dp->readonly) {
			link_path(dp, &link->link, path);
			unlink(path);
		}
		forget_link(dp, link);
	}
}

struct adoption {
	struct pc_dp *dp;
	uint32_t prog_id; /* what the links get; 0: leave them */
	int old_prog_fd;
	/* Pins of interfaces that are gone; removed after the walk through the directory. */
	struct pc_dp_link gone[PC_MAX_TXPORTS];
	size_t n_gone;
};

static void adopt_gone(struct adoption *a, uint32_t ifindex, bool shared)
{
	if (a->n_gone < PC_ARRAY_SIZE(a->gone))
		a->gone[a->n_gone++] = (struct pc_dp_link){ .ifindex = ifindex, .shared = shared };
}

static int adopt_link(void *arg, const char *path, uint32_t named)
{
	struct adoption *a = arg;
	struct pc_dp *dp = a->dp;
	_cleanup_close_ int fd = -1;
	uint32_t ifindex = 0, id = 0;
	int err;

	if (dp->n_links == PC_ARRAY_SIZE(dp->links))
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	err = link_info(fd, &ifindex, &id);
	if (err)
		return err;
	if (ifindex != named) {
		adopt_gone(a, named, false);
		return 0;
	}
	if (a->prog_id && id != a->prog_id) {
		if (a->old_prog_fd < 0)
			a->old_prog_fd = bpf_prog_get_fd_by_id(id);
		if (bpf_link_update(fd, dp->prog_fd, NULL))
			return errno == ENOLINK ? 0 : -errno;
		id = a->prog_id;
	}
	dp->links[dp->n_links++] = (struct pc_dp_attached){
		.link = { ifindex, attached_mode(ifindex, id), true, false },
		.fd = TAKE_FD(fd),
		.pinned = true,
	};
	return 0;
}

/*
 * A new program joins the old one before that leaves: for a moment what the first passes meets the
 * second, which does the same. Every step can be repeated by the next daemon.
 */
static int renew_shared(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode, int *fd)
{
	char name[32];
	uint32_t id = 0;
	int err, new_fd = -1;

	if (dp->reloaded) {
		err = pc_dp_share_attach(dp, ifindex, mode, &new_fd);
		if (err)
			return err;
		close(*fd);
		*fd = new_fd;
		snprintf(name, sizeof(name), PC_SHARE_PREFIX "%u", ifindex);
		err = pc_dp_pin_replace(dp->bpffs, name, *fd);
		if (err)
			return err;
	}
	err = prog_id(*fd, &id);
	if (err)
		return err;
	err = pc_dp_share_detach(dp->map_fd[PC_DP_CTL], ifindex, id);
	return err < 0 ? err : 0;
}

static int adopt_share(void *arg, const char *path, uint32_t ifindex)
{
	struct adoption *a = arg;
	struct pc_dp *dp = a->dp;
	_cleanup_close_ int fd = -1;
	enum pc_dp_mode mode;
	uint32_t id = 0;
	int err;

	if (dp->n_links == PC_ARRAY_SIZE(dp->links))
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	err = prog_id(fd, &id);
	if (err)
		return err;
	if (!dp->readonly && dp->share == PC_DP_SHARE_OFF)
		pc_dp_share_detach(dp->map_fd[PC_DP_CTL], ifindex, 0);
	if (!pc_dp_share_present(ifindex, id, &mode)) {
		adopt_gone(a, ifindex, true);
		return 0;
	}
	if (!dp->readonly) {
		err = renew_shared(dp, ifindex, mode, &fd);
		if (err)
			return err;
	}
	dp->links[dp->n_links++] = (struct pc_dp_attached){
		.link = { ifindex, mode, true, true },
		.fd = TAKE_FD(fd),
		.pinned = true,
	};
	return 0;
}

static bool is_shared(void *arg, uint32_t ifindex)
{
	const struct pc_dp_attached *link = find_link(arg, ifindex);

	return link && link->link.shared;
}

int pc_dp_links_adopt(struct pc_dp *dp)
{
	struct adoption a = { .dp = dp, .old_prog_fd = -1 };
	_cleanup_close_ int old = -1;
	char path[PC_DP_PATH_MAX];
	int err = 0;

	if (!dp->readonly)
		err = prog_id(dp->prog_fd, &a.prog_id);
	if (err)
		return err;
	err = pc_dp_pin_each_link(dp->bpffs, adopt_link, &a);
	if (!err)
		err = pc_dp_pin_each_share(dp->bpffs, adopt_share, &a);
	old = a.old_prog_fd;
	/* All or none: one program must not run here and another there. */
	for (size_t i = 0; err && old >= 0 && i < dp->n_links; i++) {
		if (!dp->links[i].link.shared)
			bpf_link_update(dp->links[i].fd, old, NULL);
	}
	if (err) {
		pc_dp_links_close(dp);
		return err;
	}
	for (size_t i = 0; !dp->readonly && i < a.n_gone; i++) {
		link_path(dp, &a.gone[i], path);
		unlink(path);
	}
	/* Behind a dispatcher a trial outlives the daemon that was making it. */
	if (!dp->readonly)
		pc_dp_share_detach_all(dp->map_fd[PC_DP_CTL], is_shared, dp);
	return 0;
}

void pc_dp_links_close(struct pc_dp *dp)
{
	while (dp->n_links)
		forget_link(dp, &dp->links[dp->n_links - 1]);
}

static int create_link(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode, int *ret_fd)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = mode == PC_DP_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int fd = bpf_link_create(dp->prog_fd, (int)ifindex, BPF_XDP, &opts);
	char name[IF_NAMESIZE];
	int err = fd < 0 ? errno : 0;

	if (!err) {
		*ret_fd = fd;
		return 0;
	}
	/* -EINVAL stands for several things. */
	if (!if_indextoname(ifindex, name))
		return -ENODEV;
	switch (err) {
	case EEXIST: /* a program in the other mode */
		return -EBUSY;
	case EINVAL: /* drivers refuse an MTU or an offload with one of these */
	case ERANGE:
		return mode == PC_DP_NATIVE ? -EOPNOTSUPP : -err;
	default:
		return -err;
	}
}

/* Behind a dispatcher where that is wanted and possible, else alone. */
static int put_program(struct pc_dp *dp, struct pc_dp_link *link, int *ret_fd)
{
	enum pc_dp_mode there;
	int err;

	if (!pc_dp_share_wanted(dp, link->ifindex, &there))
		return create_link(dp, link->ifindex, link->mode, ret_fd);
	if (there != PC_DP_OFF && there != link->mode)
		return -EOPNOTSUPP;
	/* What a trial left that was killed before it was over. */
	pc_dp_share_detach(dp->map_fd[PC_DP_CTL], link->ifindex, 0);
	err = pc_dp_share_attach(dp, link->ifindex, link->mode, ret_fd);
	if (!err)
		link->shared = true;
	if (!err || there != PC_DP_OFF)
		return err;
	return create_link(dp, link->ifindex, link->mode, ret_fd);
}

static bool on_trial(const struct pc_dp *dp)
{
	for (size_t i = 0; i < dp->n_links; i++) {
		if (!dp->links[i].pinned)
			return true;
	}
	return false;
}

int pc_dp_attach(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode, uint64_t guard_deadline,
		 struct pc_dp_link *ret_link)
{
	struct pc_dp_link put = { .ifindex = ifindex, .mode = mode };
	struct pc_dp_attached *link;
	int fd = -1, err;

	if (!dp->status.kernel || dp->readonly)
		return PC_ERR_STATE;
	if (!ifindex || (mode != PC_DP_NATIVE && mode != PC_DP_GENERIC))
		return -EINVAL;
	prune_links(dp);
	link = find_link(dp, ifindex);
	if (link && link->pinned) {
		*ret_link = link->link;
		return 0;
	}
	/* There is one guard. */
	if (on_trial(dp))
		return PC_ERR_STATE;
	if (dp->n_links == PC_ARRAY_SIZE(dp->links))
		return PC_ERR_FULL;
	/* The guard stands before the first packet meets the program. */
	__atomic_store_n(&dp->ctl->guard_deadline_ns, guard_deadline, __ATOMIC_RELEASE);
	__atomic_store_n(&dp->ctl->guard_ifindex, ifindex, __ATOMIC_RELEASE);
	pc_dp_heartbeat(dp, pc_clock_monotonic());
	err = put_program(dp, &put, &fd);
	if (err) {
		__atomic_store_n(&dp->ctl->guard_ifindex, 0, __ATOMIC_RELEASE);
		return err;
	}
	link = &dp->links[dp->n_links++];
	*link = (struct pc_dp_attached){ .link = put, .fd = fd };
	pc_dp_nexthops_refresh(dp);
	*ret_link = link->link;
	return 0;
}

void pc_dp_guard(struct pc_dp *dp, uint64_t guard_deadline)
{
	if (dp->ctl)
		__atomic_store_n(&dp->ctl->guard_deadline_ns, guard_deadline, __ATOMIC_RELEASE);
}

int pc_dp_confirm(struct pc_dp *dp, uint32_t ifindex)
{
	struct pc_dp_attached *link = find_link(dp, ifindex);
	char path[PC_DP_PATH_MAX];

	if (!link)
		return -ENOENT;
	if (link->pinned)
		return 0;
	link_path(dp, &link->link, path);
	/* A pin left by an interface that had this index before. */
	unlink(path);
	if (bpf_obj_pin(link->fd, path))
		return -errno;
	link->pinned = true;
	__atomic_store_n(&dp->ctl->guard_ifindex, 0, __ATOMIC_RELEASE);
	pc_dp_nexthops_refresh(dp);
	return 0;
}

/* Where it is not allowed to take the program off (any more), it passes everything from now on. */
static int detach_shared(struct pc_dp *dp, uint32_t ifindex)
{
	int r = pc_dp_share_detach(dp->map_fd[PC_DP_CTL], ifindex, 0);

	if (r >= 0)
		return 0;
	__atomic_store_n(&dp->ctl->guard_deadline_ns, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&dp->ctl->guard_ifindex, ifindex, __ATOMIC_RELEASE);
	return r;
}

int pc_dp_detach(struct pc_dp *dp, uint32_t ifindex)
{
	struct pc_dp_attached *link = find_link(dp, ifindex);
	char path[PC_DP_PATH_MAX];
	int err = 0;

	if (!link)
		return -ENOENT;
	/* Another process may hold the link too: closing it is not enough. */
	if (link->link.shared)
		err = detach_shared(dp, ifindex);
	else if (bpf_link_detach(link->fd) && errno != ENOLINK)
		err = -errno;
	if (err && link->link.shared)
		return err;
	if (link->pinned) {
		link_path(dp, &link->link, path);
		if (unlink(path) && errno != ENOENT)
			err = -errno;
	} else {
		__atomic_store_n(&dp->ctl->guard_ifindex, 0, __ATOMIC_RELEASE);
	}
	if (err)
		return err;
	forget_link(dp, link);
	pc_dp_nexthops_refresh(dp);
	return 0;
}

size_t pc_dp_links(const struct pc_dp *dp, struct pc_dp_link *links, size_t max)
{
	for (size_t i = 0; i < dp->n_links && i < max; i++)
		links[i] = dp->links[i].link;
	return dp->n_links;
}

/* A port that is none of ours; 0 when all are. */
static uint16_t unrelated_port(const struct pc_dp *dp)
{
	for (uint32_t port = 9; port < 65536; port++) {
		bool ours = dp->relay_high && port >= dp->relay_low && port <= dp->relay_high;

		for (int i = 0; i < PC_MAX_SERVICE_PORTS; i++)
			ours = ours || dp->service_ports[i] == port;
		if (!ours)
			return (uint16_t)port;
	}
	return 0;
}

static void make_frame(uint8_t frame[static PC_FRAME_LEN], uint16_t ethertype, uint8_t protocol,
		       uint16_t port)
{
	struct ethhdr eth = { .h_proto = htons(ethertype) };
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(PC_FRAME_LEN - sizeof(eth)),
		.ttl = 64,
		.protocol = protocol,
		.saddr = htonl(0xc0000201), /* 192.0.2.0/24 is for documentation (RFC 5737) */
		.daddr = htonl(0xc0000202),
	};
	struct udphdr udp = {
		.source = htons(port),
		.dest = htons(port),
		.len = htons(PC_FRAME_LEN - sizeof(eth) - sizeof(ip)),
	};

	memset(frame, 0, PC_FRAME_LEN);
	memset(eth.h_dest, 0xff, sizeof(eth.h_dest));
	memcpy(frame, &eth, sizeof(eth));
	if (ethertype != ETH_P_IP)
		return;
	memcpy(frame + sizeof(eth), &ip, sizeof(ip));
	memcpy(frame + sizeof(eth) + sizeof(ip), &udp, sizeof(udp));
}

static int run_frame(int prog_fd, const uint8_t frame[static PC_FRAME_LEN])
{
	uint8_t out[PC_FRAME_LEN + 64];
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = PC_FRAME_LEN,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);

	if (bpf_prog_test_run_opts(prog_fd, &run))
		return -errno;
	if (run.retval != XDP_PASS || run.data_size_out != PC_FRAME_LEN ||
	    memcmp(out, frame, PC_FRAME_LEN))
		return PC_ERR_REFUSED;
	return 0;
}

int pc_dp_selftest(struct pc_dp *dp)
{
	uint16_t port = unrelated_port(dp);
	uint8_t frame[PC_FRAME_LEN];
	int err;

	if (!dp->status.kernel || dp->readonly)
		return PC_ERR_STATE;
	make_frame(frame, ETH_P_ARP, 0, 0);
	err = run_frame(dp->prog_fd, frame);
	if (err)
		return err;
	make_frame(frame, ETH_P_IP, IPPROTO_TCP, 22);
	err = run_frame(dp->prog_fd, frame);
	if (err || !port)
		return err;
	make_frame(frame, ETH_P_IP, IPPROTO_UDP, port);
	return run_frame(dp->prog_fd, frame);
}
