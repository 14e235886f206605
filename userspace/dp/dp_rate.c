/* SPDX-License-Identifier: MIT */
/* Limits of tenants: memory that is shared with the program, or of our own without one. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "dp/dp_int.h"

/* One array: its map, what one element takes, how many. */
struct part {
	enum pc_dp_map map;
	size_t size;
	uint64_t n;
	void **at;
};

#define PARTS	      6
#define PC_LEASE_NAME "lease.v1"

static void list_parts(struct pc_dp *dp, struct part parts[static PARTS])
{
	struct pc_dp_rates *r = &dp->rates;
	uint64_t tenants = (uint64_t)dp->max_tenants + 1;

	parts[0] = (struct part){ PC_DP_RATE, sizeof(*r->rate), 2 * tenants, (void **)&r->rate };
	parts[1] = (struct part){ PC_DP_CLOCK, sizeof(*r->clock), 2 * tenants, (void **)&r->clock };
	parts[2] = (struct part){ PC_DP_ROOT, sizeof(*r->root), 1, (void **)&r->root };
	parts[3] = (struct part){ PC_DP_QUOTA, sizeof(*r->quota), tenants, (void **)&r->quota };
	parts[4] = (struct part){ PC_DP_CREDIT, sizeof(*r->credit), dp->max_sessions,
				  (void **)&r->credit };
	/* The program has a lease for each CPU; this one is the user-space path's. */
	parts[5] = (struct part){ PC_DP_MAPS, sizeof(*r->lease), 2 * tenants, (void **)&r->lease };
}

static int map_part(struct pc_dp *dp, const struct part *part, bool kernel)
{
	bool shared = kernel && part->map != PC_DP_MAPS;
	int flags = shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	int fd = shared ? dp->map_fd[part->map] : -1;
	void *at = mmap(NULL, part->size * part->n, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	*part->at = at;
	return 0;
}

/*
 * The user-space path's leases lie in a file, for what they counted. The rest of them was of the
 * process that took it, or of another boot. A file of another size is made anew.
 */
static int map_leases(struct pc_dp *dp, const struct part *part)
{
	off_t size = (off_t)(part->size * part->n);
	_cleanup_close_ int fd = -1;
	struct stat st;
	void *at;
	int err;

	fd = openat(dp->user.lock_fd, PC_LEASE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (st.st_size != size && ftruncate(fd, 0))
		return -errno;
	err = -posix_fallocate(fd, 0, size);
	if (err)
		return err;
	at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	*part->at = at;
	for (uint64_t i = 0; i < part->n; i++) {
		struct pc_rate_lease *lease = &dp->rates.lease[i];

		*lease = (struct pc_rate_lease){
			.drops_rate = lease->drops_rate,
			.drops_root = lease->drops_root,
			.drops_quota = lease->drops_quota,
			.marks = lease->marks,
		};
	}
	return 0;
}

void pc_dp_rates_unmap(struct pc_dp *dp)
{
	struct part parts[PARTS];

	list_parts(dp, parts);
	for (int i = 0; i < PARTS; i++) {
		if (*parts[i].at)
			munmap(*parts[i].at, parts[i].size * parts[i].n);
		*parts[i].at = NULL;
	}
}

int pc_dp_rates_map(struct pc_dp *dp, bool kernel)
{
	struct part parts[PARTS];

	list_parts(dp, parts);
	for (int i = 0; i < PARTS; i++) {
		/* The fake one has no directory. */
		bool kept = parts[i].map == PC_DP_MAPS && dp->user.lock_fd > 0;
		int err = kept ? map_leases(dp, &parts[i]) : map_part(dp, &parts[i], kernel);

		if (err) {
			pc_dp_rates_unmap(dp);
			return err;
		}
	}
	dp->rates.max_tenants = dp->max_tenants;
	/* A session has no limit until one is set; new maps are zeroes. */
	for (uint32_t i = 0; i < dp->max_sessions; i++) {
		struct pc_credit *credit = &dp->rates.credit[i];

		if (!credit->authorised && !credit->used)
			credit->authorised = PC_CREDIT_UNLIMITED;
	}
	return 0;
}

const struct pc_dp_rates *pc_dp_rates(const struct pc_dp *dp)
{
	return dp->rates.rate ? &dp->rates : NULL;
}

void pc_dp_rate_add(const struct pc_rate_lease *user, const struct pc_rate_lease *kernel,
		    uint32_t n, struct pc_dp_rate_count *ret_counts)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct pc_rate_lease *a = &user[i], *b = &kernel[i];

		ret_counts[i] = (struct pc_dp_rate_count){
			.bytes = a->bytes + b->bytes,
			.dropped_bytes = a->dropped_bytes + b->dropped_bytes,
			.drops_rate = a->drops_rate + b->drops_rate,
			.drops_root = a->drops_root + b->drops_root,
			.drops_quota = a->drops_quota + b->drops_quota,
			.marks = a->marks + b->marks,
			.user = { a->drops_rate, a->drops_root, a->drops_quota, a->marks },
		};
	}
}
