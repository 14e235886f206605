/* SPDX-License-Identifier: MIT */
/*
 * What the paths to relays and peers carry. Frames of pipes are never cut into fragments: many
 * networks lose those, and a relay takes them one by one. So the kernel refuses what is too large,
 * and tells the size; from then on such datagrams are dropped before anything is done for them.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "agent.h"
#include "base/cleanup.h"

/* The kernel forgets what routers said as soon: a path may have become wider. */
#define PATH_NS (600 * PC_NS_PER_S)

static struct path *find(struct agent *a, const struct pc_addr *to)
{
	for (unsigned int i = 0; i < a->n_paths; i++) {
		if (pc_addr_equal(&a->paths[i].to, to))
			return &a->paths[i];
	}
	return NULL;
}

/* A new one takes the place of the one that was learned first. */
static struct path *make(struct agent *a, const struct pc_addr *to)
{
	struct path *p = &a->paths[0];

	if (a->n_paths < MAX_PATHS)
		p = &a->paths[a->n_paths++];
	for (unsigned int i = 0; a->n_paths == MAX_PATHS && i < MAX_PATHS; i++) {
		if (a->paths[i].until_ns < p->until_ns)
			p = &a->paths[i];
	}
	*p = (struct path){ .to = *to };
	return p;
}

size_t path_payload(const struct path *p)
{
	size_t headers = p->to.ip.family == 6 ? 48 : 28;

	return p->mtu > headers ? p->mtu - headers : 0;
}

size_t path_datagram(const struct path *p)
{
	size_t payload = path_payload(p);

	return payload > PC_PIPE_OVERHEAD + PLAIN_HEADER ? payload - PC_PIPE_OVERHEAD - PLAIN_HEADER
							 : 0;
}

size_t path_room(struct agent *a, const struct pc_addr *to)
{
	const struct path *p = a->n_paths ? find(a, to) : NULL;

	return p && a->now < p->until_ns ? path_payload(p) : SIZE_MAX;
}

/* What the kernel believes, from its routes and from routers; 0: it does not say. */
static unsigned int ask_kernel(const struct pc_addr *to)
{
	struct sockaddr_storage sa;
	socklen_t len = pc_addr_to_sockaddr(to, &sa), size = sizeof(int);
	_cleanup_close_ int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool six = sa.ss_family == AF_INET6;
	int mtu = 0;

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) < 0 ||
	    getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU : IP_MTU, &mtu, &size) <
		    0)
		return 0;
	return mtu > 0 ? (unsigned int)mtu : 0;
}

static void learn(struct agent *a, const struct pc_addr *to)
{
	unsigned int mtu = ask_kernel(to);
	struct path *p = find(a, to);
	bool news;

	if (!mtu)
		return;
	if (!p)
		p = make(a, to);
	news = p->mtu != mtu;
	p->mtu = mtu;
	p->until_ns = a->now + PATH_NS;
	if (news)
		pc_warning("the path to %s%s carries packets of %u bytes: datagrams above %zu "
			   "bytes are dropped, so lower the MTU of what sends them",
			   relay_at(a, to) ? "relay " : "", addr_text(to), mtu, path_datagram(p));
}

/* Sessions are made on any path: their messages may become fragments. */
static void send_in_parts(int fd, const struct pc_addr *to, const uint8_t *data, size_t len)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = pc_addr_to_sockaddr(to, &sa);

	if (net_fragments(fd, sa.ss_family, true) == 0)
		(void)sendto(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&sa,
			     sa_len);
	(void)net_fragments(fd, sa.ss_family, false);
}

void path_too_large(void *ctx, int fd, const struct pc_addr *to, const uint8_t *data, size_t len)
{
	struct agent *a = ctx;

	if (len && data[0] != PC_NATIVE_PIPE) {
		send_in_parts(fd, to, data, len);
		return;
	}
	a->too_large++;
	learn(a, to);
}
