/* SPDX-License-Identifier: MIT */
/* Pipes as the program sees them. */
#include "dp/dp_int.h"

int pc_dp_pipe_store(struct pc_dp *dp, const struct pc_pipe *item, const struct pc_pipe *before)
{
	return 0;
}

void pc_dp_pipe_erase(struct pc_dp *dp, const struct pc_pipe *item)
{
}
