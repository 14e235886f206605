/* SPDX-License-Identifier: MIT */
/*
 * Pipes of native peers. All directions are known here, by index, and those that begin at a relayed
 * port by its addresses too: that is what user space forwards by. The program's maps hold the same.
 *
 * Each direction has a replay window, in memory that is shared with the program. A window that was
 * given back is used again as late as can be: the program may be looking at a frame of its last
 * owner, and would mark it there.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/siphash.h"
#include "dp/dp_int.h"

struct pc_dp_pipes {
	struct pc_htab by_in, by_ports;
	struct pc_window *windows;
	bool own_windows;
	uint32_t size; /* directions */
	/* Windows that are free, in the order in which they became so. */
	uint32_t *ring;
	uint32_t ring_first, n_free;
};

/* Indices are ours; addresses of remotes are not, but a port is for one of them. */
static uint64_t hash_in(uint32_t in)
{
	return in * 0x9e3779b97f4a7c15ull;
}

static uint64_t hash_ports(const struct pc_addr *local, const struct pc_addr *remote)
{
	static const uint8_t secret[16] = "pipes of a port";
	struct pc_addr both[2] = { *local, *remote };

	return pc_siphash24(secret, both, sizeof(both));
}

uint32_t pc_dp_pipes_default(const struct pc_dp_config *config)
{
	if (config->max_pipes)
		return config->max_pipes;
	return config->max_sessions < PC_DP_DEFAULT_PIPES ? config->max_sessions
							  : PC_DP_DEFAULT_PIPES;
}

static struct pc_window *own_windows(uint32_t n)
{
	void *at = mmap(NULL, (size_t)n * sizeof(struct pc_window), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

int pc_dp_pipes_new(struct pc_dp *dp, struct pc_window *windows)
{
	struct pc_dp_pipes *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	dp->pipes = p;
	p->size = 2 * dp->max_pipes;
	p->own_windows = !windows;
	p->windows = windows ? windows : own_windows(p->size);
	p->ring = calloc(p->size, sizeof(*p->ring));
	if (!p->windows || !p->ring || pc_htab_init(&p->by_in, 64) ||
	    pc_htab_init(&p->by_ports, 16)) {
		pc_dp_pipes_free(dp);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < p->size; i++)
		p->ring[i] = i;
	p->n_free = p->size;
	return 0;
}

void pc_dp_pipes_free(struct pc_dp *dp)
{
	struct pc_dp_pipes *p = dp->pipes;
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;

	if (!p)
		return;
	while (p->by_in.buckets && (node = pc_htab_iterate(&p->by_in, &it))) {
		struct pc_dp_pipe_node *pipe = pc_container_of(node, struct pc_dp_pipe_node, by_in);

		pc_htab_remove(&p->by_in, node);
		explicit_bzero(pipe, sizeof(*pipe));
		free(pipe);
	}
	pc_htab_free(&p->by_in);
	pc_htab_free(&p->by_ports);
	if (p->own_windows && p->windows)
		munmap(p->windows, (size_t)p->size * sizeof(*p->windows));
	free(p->ring);
	free(p);
	dp->pipes = NULL;
}

/* --- windows --- */

static int window_get(struct pc_dp_pipes *p, uint32_t *ret_window)
{
	if (!p->n_free)
		return PC_ERR_FULL;
	*ret_window = p->ring[p->ring_first];
	p->ring_first = (p->ring_first + 1) % p->size;
	p->n_free--;
	memset(&p->windows[*ret_window], 0, sizeof(*p->windows));
	return 0;
}

static void window_put(struct pc_dp_pipes *p, uint32_t window)
{
	p->ring[(p->ring_first + p->n_free++) % p->size] = window;
}

/* Of an entry that an earlier daemon left. */
static int window_claim(struct pc_dp_pipes *p, uint32_t window)
{
	for (uint32_t i = 0; i < p->n_free; i++) {
		uint32_t *at = &p->ring[(p->ring_first + i) % p->size];

		if (*at != window)
			continue;
		*at = p->ring[p->ring_first];
		p->ring_first = (p->ring_first + 1) % p->size;
		p->n_free--;
		return 0;
	}
	return PC_ERR_RANGE;
}

struct pc_window *pc_dp_pipe_window(const struct pc_dp *dp, const struct pc_dp_pipe_node *node)
{
	return &dp->pipes->windows[node->item.window];
}

/* --- finding --- */

static struct pc_dp_pipe_node *find(const struct pc_dp *dp, uint32_t in)
{
	struct pc_hnode *node = dp->pipes ? pc_htab_first(&dp->pipes->by_in, hash_in(in)) : NULL;

	for (; node; node = pc_htab_next(node)) {
		struct pc_dp_pipe_node *pipe = pc_container_of(node, struct pc_dp_pipe_node, by_in);

		if (pipe->pipe.in == in)
			return pipe;
	}
	return NULL;
}

const struct pc_dp_pipe_node *pc_dp_pipe_find(const struct pc_dp *dp, uint32_t in)
{
	return find(dp, in);
}

const struct pc_dp_pipe_node *pc_dp_pipe_find_port(const struct pc_dp *dp,
						   const struct pc_addr *local,
						   const struct pc_addr *remote)
{
	struct pc_hnode *node =
		dp->pipes ? pc_htab_first(&dp->pipes->by_ports, hash_ports(local, remote)) : NULL;

	for (; node; node = pc_htab_next(node)) {
		struct pc_dp_pipe_node *pipe =
			pc_container_of(node, struct pc_dp_pipe_node, by_ports);

		if (pc_addr_equal(&pipe->pipe.in_local, local) &&
		    pc_addr_equal(&pipe->pipe.in_remote, remote))
			return pipe;
	}
	return NULL;
}

/* --- setting --- */

static void link_node(struct pc_dp_pipes *p, struct pc_dp_pipe_node *node)
{
	const struct pc_dp_pipe *pipe = &node->pipe;

	if (pipe->in_plain)
		pc_htab_insert(&p->by_ports, &node->by_ports,
			       hash_ports(&pipe->in_local, &pipe->in_remote));
}

static void unlink_node(struct pc_dp_pipes *p, struct pc_dp_pipe_node *node)
{
	if (node->pipe.in_plain)
		pc_htab_remove(&p->by_ports, &node->by_ports);
}

static int replace(struct pc_dp *dp, struct pc_dp_pipe_node *node, const struct pc_dp_pipe *pipe,
		   struct pc_pipe *item)
{
	int err;

	/* The first word of a window and the window are two things. */
	if (pipe->in_plain != node->pipe.in_plain)
		return PC_ERR_RANGE;
	item->window = node->item.window;
	err = pc_dp_pipe_store(dp, item, &node->item);
	if (err)
		return err;
	unlink_node(dp->pipes, node);
	node->pipe = *pipe;
	node->item = *item;
	link_node(dp->pipes, node);
	return 0;
}

static int add(struct pc_dp *dp, const struct pc_dp_pipe *pipe, struct pc_pipe *item)
{
	_cleanup_free_ struct pc_dp_pipe_node *node = calloc(1, sizeof(*node));
	int err;

	if (!node)
		return -ENOMEM;
	err = window_get(dp->pipes, &item->window);
	if (err)
		return err;
	err = pc_dp_pipe_store(dp, item, NULL);
	if (err) {
		window_put(dp->pipes, item->window);
		return err;
	}
	node->pipe = *pipe;
	node->item = *item;
	pc_htab_insert(&dp->pipes->by_in, &node->by_in, hash_in(pipe->in));
	link_node(dp->pipes, TAKE_PTR(node));
	return 0;
}

int pc_dp_pipe_set(struct pc_dp *dp, const struct pc_dp_pipe *pipe)
{
	struct pc_dp_pipe_node *node = find(dp, pipe->in);
	const struct pc_dp_pipe_node *same_port;
	struct pc_pipe item;
	int err = pc_dp_pipe_encode(pipe, &item);

	if (err)
		return err;
	if (!dp->pipes || dp->readonly)
		return PC_ERR_STATE;
	if (pipe->slot >= dp->max_sessions || pipe->tenant > dp->max_tenants ||
	    (pipe->shared &&
	     (pipe->other_slot >= dp->max_sessions || pipe->other_tenant > dp->max_tenants)))
		return PC_ERR_RANGE;
	same_port =
		pipe->in_plain ? pc_dp_pipe_find_port(dp, &pipe->in_local, &pipe->in_remote) : NULL;
	if (same_port && same_port != node)
		return PC_ERR_EXISTS;
	return node ? replace(dp, node, pipe, &item) : add(dp, pipe, &item);
}

int pc_dp_pipes_add(struct pc_dp *dp, const struct pc_pipe *item)
{
	_cleanup_free_ struct pc_dp_pipe_node *node = calloc(1, sizeof(*node));
	int err;

	if (!node)
		return -ENOMEM;
	err = window_claim(dp->pipes, item->window);
	if (err)
		return err;
	node->item = *item;
	pc_dp_pipe_decode(item, &node->pipe);
	pc_htab_insert(&dp->pipes->by_in, &node->by_in, hash_in(node->pipe.in));
	link_node(dp->pipes, TAKE_PTR(node));
	return 0;
}

int pc_dp_pipe_del(struct pc_dp *dp, uint32_t in)
{
	struct pc_dp_pipe_node *node = find(dp, in);

	if (dp->readonly)
		return PC_ERR_STATE;
	if (!node)
		return PC_ERR_NOT_FOUND;
	pc_dp_pipe_erase(dp, &node->item);
	pc_htab_remove(&dp->pipes->by_in, &node->by_in);
	unlink_node(dp->pipes, node);
	window_put(dp->pipes, node->item.window);
	explicit_bzero(node, sizeof(*node));
	free(node);
	return 0;
}

int pc_dp_pipe_each(struct pc_dp *dp, int (*fn)(void *arg, const struct pc_dp_pipe *pipe),
		    void *arg)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;
	int rc = 0;

	while (!rc && dp->pipes && (node = pc_htab_iterate(&dp->pipes->by_in, &it))) {
		struct pc_dp_pipe pipe = pc_container_of(node, struct pc_dp_pipe_node, by_in)->pipe;

		rc = fn(arg, &pipe);
	}
	return rc;
}

void pc_dp_pipe_usage(const struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size)
{
	*ret_size = dp->pipes ? dp->pipes->size : 0;
	*ret_used = dp->pipes ? dp->pipes->size - dp->pipes->n_free : 0;
}
