/* SPDX-License-Identifier: MIT */
/* Counters: the kernel's, per CPU, summed here; and where user space keeps its own. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "dp/dp_int.h"

/* Memory for values read at a time. */
#define PC_COUNT_CHUNK_BYTES (256 << 10)

/* @n values of @words 64-bit words for each CPU, added up into @sums. */
typedef void (*add_fn)(const struct pc_dp *dp, const uint64_t *values, uint32_t n, size_t words,
		       uint64_t *sums);

/* The same where each word is a counter. */
static void add_cpus(const struct pc_dp *dp, const uint64_t *values, uint32_t n, size_t words,
		     uint64_t *sums)
{
	for (uint32_t i = 0; i < n; i++, sums += words) {
		memset(sums, 0, words * sizeof(*sums));
		for (unsigned int cpu = 0; cpu < dp->n_cpus; cpu++, values += words) {
			for (size_t w = 0; w < words; w++)
				sums[w] += values[w];
		}
	}
}

/* What leases counted; the rest of them means nothing in a sum. */
static void add_leases(const struct pc_dp *dp, const uint64_t *values, uint32_t n, size_t words,
		       uint64_t *sums)
{
	const struct pc_rate_lease *lease = (const struct pc_rate_lease *)values;
	struct pc_rate_lease *sum = (struct pc_rate_lease *)sums;

	for (uint32_t i = 0; i < n; i++, sum++) {
		memset(sum, 0, sizeof(*sum));
		for (unsigned int cpu = 0; cpu < dp->n_cpus; cpu++, lease++) {
			sum->bytes += lease->bytes;
			sum->dropped_bytes += lease->dropped_bytes;
			sum->drops_rate += lease->drops_rate;
			sum->drops_root += lease->drops_root;
			sum->drops_quota += lease->drops_quota;
			sum->marks += lease->marks;
		}
	}
}

/* Linux before 5.13 has no batches for such maps. */
static int read_single(const struct pc_dp *dp, int fd, uint32_t first, uint32_t n, size_t words,
		       add_fn add, uint64_t *values, uint64_t *sums)
{
	for (uint32_t i = 0; i < n; i++, sums += words) {
		uint32_t key = first + i;

		if (bpf_map_lookup_elem(fd, &key, values))
			return -errno;
		add(dp, values, 1, words, sums);
	}
	return 0;
}

/* Keys [first, first + n) of a per-CPU array. */
static int read_cpus(const struct pc_dp *dp, int fd, uint32_t first, uint32_t n, size_t words,
		     add_fn add, uint64_t *sums)
{
	size_t value_size = words * sizeof(uint64_t) * dp->n_cpus;
	uint32_t chunk = (uint32_t)(PC_COUNT_CHUNK_BYTES / value_size);
	_cleanup_free_ uint64_t *values = NULL;
	_cleanup_free_ uint32_t *keys = NULL;

	chunk = chunk ? chunk : 1;
	chunk = chunk < n ? chunk : n;
	values = malloc(chunk * value_size);
	keys = malloc(chunk * sizeof(*keys));
	if (!values || !keys)
		return -ENOMEM;
	while (n) {
		uint32_t before = first - 1, last, got = chunk < n ? chunk : n;

		/* The position is the key before; at the end of the map -ENOENT comes with the
		 * rest. */
		if (bpf_map_lookup_batch(fd, first ? &before : NULL, &last, keys, values, &got,
					 NULL) &&
		    (errno != ENOENT || !got)) {
			if (errno == ENOTSUP || errno == EINVAL)
				return read_single(dp, fd, first, n, words, add, values, sums);
			return -errno;
		}
		if (!got || got > n || keys[0] != first)
			return -EIO;
		add(dp, values, got, words, sums);
		sums += got * words;
		first += got;
		n -= got;
	}
	return 0;
}

/* --- counters of sessions --- */

static size_t tallies_size(const struct pc_dp *dp)
{
	return (size_t)dp->n_cpus * dp->table_sessions * sizeof(struct pc_tally);
}

static size_t drops_size(const struct pc_dp *dp)
{
	return (size_t)dp->n_cpus * dp->table_sessions * sizeof(struct pc_drops);
}

int pc_dp_counts_map(struct pc_dp *dp)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	void *tallies, *drops;
	int err;

	if (bpf_obj_get_info_by_fd(dp->map_fd[PC_DP_COUNT], &info, &len))
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY)
		return 0;
	tallies = mmap(NULL, tallies_size(dp), PROT_READ, MAP_SHARED, dp->map_fd[PC_DP_COUNT], 0);
	if (tallies == MAP_FAILED)
		return -errno;
	drops = mmap(NULL, drops_size(dp), PROT_READ, MAP_SHARED, dp->map_fd[PC_DP_DROPS], 0);
	if (drops == MAP_FAILED) {
		err = -errno;
		munmap(tallies, tallies_size(dp));
		return err;
	}
	dp->tallies = tallies;
	dp->drops = drops;
	return 0;
}

void pc_dp_counts_unmap(struct pc_dp *dp)
{
	if (!dp->tallies)
		return;
	munmap((void *)dp->tallies, tallies_size(dp));
	munmap((void *)dp->drops, drops_size(dp));
	dp->tallies = NULL;
	dp->drops = NULL;
}

static uint64_t now_of(const __u64 *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void add_dir(struct pc_dir_count *sum, const struct pc_dir_count *add)
{
	sum->packets += now_of(&add->packets);
	sum->payload_bytes += now_of(&add->payload_bytes);
	sum->wire_bytes += now_of(&add->wire_bytes);
}

static void add_tallies(const struct pc_dp *dp, uint32_t first, uint32_t n, struct pc_count *sums)
{
	memset(sums, 0, n * sizeof(*sums));
	for (size_t cpu = 0; cpu < dp->n_cpus; cpu++) {
		size_t at = pc_tally_index(cpu, dp->table_sessions, (size_t)first);

		for (uint32_t i = 0; i < n; i++) {
			add_dir(&sums[i].up, &dp->tallies[at + i].up);
			add_dir(&sums[i].down, &dp->tallies[at + i].down);
			sums[i].drops_rate += now_of(&dp->drops[at + i].rate);
			sums[i].drops_credit += now_of(&dp->drops[at + i].credit);
		}
	}
}

int pc_dp_count_kernel(struct pc_dp *dp, uint32_t first, uint32_t n, struct pc_count *ret_counts)
{
	if (first > dp->max_sessions || n > dp->max_sessions - first)
		return PC_ERR_RANGE;
	if (!n)
		return 0;
	if (!dp->status.kernel) {
		memset(ret_counts, 0, n * sizeof(*ret_counts));
		return 0;
	}
	if (dp->tallies) {
		add_tallies(dp, first, n, ret_counts);
		return 0;
	}
	return read_cpus(dp, dp->map_fd[PC_DP_COUNT], first, n,
			 sizeof(*ret_counts) / sizeof(uint64_t), add_cpus, (uint64_t *)ret_counts);
}

int pc_dp_reasons_kernel(struct pc_dp *dp, uint64_t ret_counts[static PC_REASON_COUNT])
{
	if (!dp->status.kernel) {
		memset(ret_counts, 0, PC_REASON_COUNT * sizeof(*ret_counts));
		return 0;
	}
	return read_cpus(dp, dp->map_fd[PC_DP_REASON], 0, PC_REASON_COUNT, 1, add_cpus, ret_counts);
}

/* How many leases are summed at a time. */
#define PC_LEASES 128

int pc_dp_rate_counts(struct pc_dp *dp, uint32_t first, uint32_t n,
		      struct pc_dp_rate_count *ret_counts)
{
	uint32_t size = 2 * (dp->max_tenants + 1);
	struct pc_rate_lease sums[PC_LEASES];

	if (first > size || n > size - first || !dp->rates.rate)
		return PC_ERR_RANGE;
	while (n) {
		uint32_t some = n < PC_LEASES ? n : PC_LEASES;
		int err = 0;

		memset(sums, 0, sizeof(sums));
		if (dp->status.kernel)
			err = read_cpus(dp, dp->map_fd[PC_DP_LEASE], first, some,
					sizeof(*sums) / sizeof(uint64_t), add_leases,
					(uint64_t *)sums);
		if (err)
			return err;
		pc_dp_rate_add(&dp->rates.lease[first], sums, some, ret_counts);
		first += some;
		n -= some;
		ret_counts += some;
	}
	return 0;
}

struct pc_count *pc_dp_count_user(struct pc_dp *dp)
{
	return dp->user.counts;
}

uint64_t *pc_dp_reasons_user(struct pc_dp *dp)
{
	return dp->user.reasons;
}

uint32_t pc_dp_max_tenants(const struct pc_dp *dp)
{
	return dp->max_tenants;
}

uint32_t pc_dp_max_sessions(const struct pc_dp *dp)
{
	return dp->max_sessions;
}
