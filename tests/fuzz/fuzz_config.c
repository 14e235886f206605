/* SPDX-License-Identifier: MIT */
/* The configuration file: any bytes are refused with one line, or make a valid configuration. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pc_config c;
	char err[512] = "";
	int r = pc_config_parse((const char *)data, size, "f", &c, err, sizeof(err));

	if (r) {
		check(err[0] != '\0' && !strchr(err, '\n'));
		return 0;
	}
	check(c.port_low >= 1024 && c.port_low <= c.port_high);
	check(c.max_sessions > 0 && c.state_dir[0] == '/' && c.realm[0]);
	for (size_t i = 0; i < c.n_listen; i++)
		check(c.listen[i].port &&
		      (c.listen[i].port < c.port_low || c.listen[i].port > c.port_high));
	pc_config_free(&c);
	return 0;
}
