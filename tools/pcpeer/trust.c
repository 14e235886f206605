/* SPDX-License-Identifier: MIT */
/* Whom the peer trusts: one peer id per line; empty lines and those with # do not count. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account/identity.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "config.h"

bool trust_has(const struct trust *t, const uint8_t peer[static 32])
{
	for (size_t i = 0; i < t->n; i++) {
		if (memcmp(t->peer[i], peer, 32) == 0)
			return true;
	}
	return false;
}

int trust_add(struct trust *t, const uint8_t peer[static 32])
{
	uint8_t(*larger)[32];

	if (trust_has(t, peer))
		return PC_ERR_EXISTS;
	if (t->n >= CONFIG_TRUST_MAX)
		return PC_ERR_FULL;
	larger = realloc(t->peer, (t->n + 1) * sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	t->peer = larger;
	memcpy(t->peer[t->n++], peer, 32);
	return 0;
}

int trust_remove(struct trust *t, const uint8_t peer[static 32])
{
	for (size_t i = 0; i < t->n; i++) {
		if (memcmp(t->peer[i], peer, 32) != 0)
			continue;
		t->n--;
		memmove(t->peer[i], t->peer[i + 1], (t->n - i) * sizeof(*t->peer));
		return 0;
	}
	return PC_ERR_NOT_FOUND;
}

void trust_free(struct trust *t)
{
	free(t->peer);
	memset(t, 0, sizeof(*t));
}

int trust_load(const char *path, struct trust *ret_trust, char *ret_error, size_t size)
{
	_cleanup_file_ FILE *f = fopen(path, "re");
	struct trust t = { 0 };
	unsigned int number = 0;
	char line[256];
	int rc = 0;

	if (!f && errno != ENOENT) {
		snprintf(ret_error, size, "%s: %s", path, pc_strerror(-errno));
		return -errno;
	}
	while (f && rc == 0 && fgets(line, sizeof(line), f)) {
		uint8_t key[32];

		number++;
		line[strcspn(line, "# \t\r\n")] = 0;
		if (!line[0])
			continue;
		if (pc_peer_id_parse(line, key) < 0)
			rc = PC_ERR_MALFORMED;
		else
			rc = trust_add(&t, key) == -ENOMEM ? -ENOMEM : 0;
	}
	if (rc < 0) {
		snprintf(ret_error, size, "%s:%u: not the id of a peer", path, number);
		trust_free(&t);
		return rc;
	}
	*ret_trust = t;
	return 0;
}

int trust_save(const char *path, const struct trust *t)
{
	char tmp[CONFIG_PATH + 8], id[PC_PEER_ID_STRLEN];
	_cleanup_file_ FILE *f = NULL;
	int fd, rc = config_make_folder(path);

	if (rc < 0)
		return rc;
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return -errno;
	for (size_t i = 0; i < t->n; i++)
		fprintf(f, "%s\n", pc_peer_id_format(t->peer[i], id));
	if (fflush(f) != 0 || ferror(f) || fsync(fileno(f)) < 0 || rename(tmp, path) < 0) {
		rc = errno ? -errno : -EIO;
		unlink(tmp);
		return rc;
	}
	return 0;
}
