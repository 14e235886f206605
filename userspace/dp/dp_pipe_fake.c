/* SPDX-License-Identifier: MIT */
/* Pipes of the fake data plane: what is stored outlives a handle, as pinned maps do. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "dp/dp_fake.h"
#include "dp/dp_int.h"

static struct {
	struct pc_pipe *items;
	size_t n, room;
	struct pc_window *windows;
	uint32_t n_windows;
} stored;

void pc_dp_fake_pipes_clear(void)
{
	free(stored.items);
	free(stored.windows);
	memset(&stored, 0, sizeof(stored));
}

static struct pc_pipe *find(__be32 in)
{
	for (size_t i = 0; i < stored.n; i++) {
		if (stored.items[i].in == in)
			return &stored.items[i];
	}
	return NULL;
}

int pc_dp_fake_pipes_open(struct pc_dp *dp)
{
	int err;

	if (dp->status.kernel && stored.n_windows != 2 * dp->max_pipes) {
		pc_dp_fake_pipes_clear();
		stored.n_windows = 2 * dp->max_pipes;
		stored.windows = calloc(stored.n_windows, sizeof(*stored.windows));
		if (!stored.windows)
			return -ENOMEM;
	}
	err = pc_dp_pipes_new(dp, dp->status.kernel ? stored.windows : NULL);
	for (size_t i = 0; i < stored.n && dp->status.kernel && !err; i++)
		err = pc_dp_pipes_add(dp, &stored.items[i]);
	return err;
}

int pc_dp_pipe_store(struct pc_dp *dp, const struct pc_pipe *item, const struct pc_pipe *before)
{
	struct pc_pipe *at = find(item->in);

	if (pc_dp_fake_faults()->pipe_set)
		return pc_dp_fake_faults()->pipe_set;
	if (!dp->status.kernel)
		return 0;
	if (!at) {
		if (stored.n == stored.room) {
			size_t room = stored.room ? 2 * stored.room : 16;
			struct pc_pipe *more = realloc(stored.items, room * sizeof(*more));

			if (!more)
				return -ENOMEM;
			stored.items = more;
			stored.room = room;
		}
		at = &stored.items[stored.n++];
	}
	*at = *item;
	return 0;
}

void pc_dp_pipe_erase(struct pc_dp *dp, const struct pc_pipe *item)
{
	struct pc_pipe *at = dp->status.kernel ? find(item->in) : NULL;

	if (at)
		*at = stored.items[--stored.n];
}

const struct pc_pipe *pc_dp_fake_pipe(uint32_t in)
{
	return find(htonl(in));
}

size_t pc_dp_fake_pipes(void)
{
	return stored.n;
}
