/* SPDX-License-Identifier: MIT */
/*
 * Ways out. A packet leaves where it came in by XDP_TX; elsewhere it is redirected, and that must
 * not be tried where it would be lost without a trace. With the program attached:
 *
 *   everywhere in generic mode   any interface can be redirected to
 *   anywhere in native mode      only interfaces that have the program in native mode themselves,
 *                                for drivers set up what they need for it together with a program
 *
 * Other next hops get PC_TXPORT_NONE: they work for packets that came in there, the rest passes to
 * user space. An interface without the program therefore costs speed in native mode, not packets.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "dp/dp_int.h"

/* The program finds nothing there, and leaves the packet alone before it wrote to it. */
#define PC_TXPORT_NONE UINT32_MAX

static struct pc_nexthop_slot *slot_at(const struct pc_dp *dp, uint32_t index)
{
	return (struct pc_nexthop_slot *)(dp->nexthops + index * PC_DP_NEXTHOP_STRIDE);
}

static const struct pc_nexthop *active_copy(const struct pc_nexthop_slot *slot)
{
	return &slot->copy[slot->active & 1];
}

/*
 * Fills the copy nobody reads, then turns to it. A program run lasts microseconds, two changes of
 * one next hop are a netlink message apart: the other copy has no reader left.
 */
static void write_slot(struct pc_nexthop_slot *slot, const struct pc_nexthop *nexthop)
{
	uint32_t next = !(slot->active & 1);

	if (!memcmp(active_copy(slot), nexthop, sizeof(*nexthop)))
		return;
	slot->copy[next] = *nexthop;
	__atomic_store_n(&slot->active, next, __ATOMIC_RELEASE);
}

int pc_dp_nexthops_map(struct pc_dp *dp)
{
	size_t size = PC_MAX_NEXTHOPS * PC_DP_NEXTHOP_STRIDE;
	void *at =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dp->map_fd[PC_DP_NEXTHOP], 0);

	if (at == MAP_FAILED)
		return -errno;
	dp->nexthops = at;
	dp->nexthops_size = size;
	for (uint32_t i = 0; i < PC_MAX_TXPORTS; i++) {
		if (bpf_map_lookup_elem(dp->map_fd[PC_DP_TXPORT], &i, &dp->txport[i]))
			dp->txport[i] = 0;
	}
	return 0;
}

void pc_dp_nexthops_unmap(struct pc_dp *dp)
{
	if (dp->nexthops)
		munmap(dp->nexthops, dp->nexthops_size);
	dp->nexthops = NULL;
}

static bool redirectable(const struct pc_dp *dp, uint32_t ifindex)
{
	bool native = false;

	for (size_t i = 0; i < dp->n_links; i++) {
		const struct pc_dp_attached *link = &dp->links[i];

		/* A trial may end with the process, which nobody would be there to notice. */
		if (link->link.ifindex == ifindex && link->link.mode == PC_DP_NATIVE &&
		    link->pinned)
			return true;
		native = native || link->link.mode == PC_DP_NATIVE;
	}
	return !native;
}

static bool in_use(const struct pc_dp *dp, uint32_t ifindex)
{
	for (uint32_t i = 0; i < PC_MAX_NEXTHOPS; i++) {
		if (active_copy(slot_at(dp, i))->ifindex == ifindex)
			return true;
	}
	return false;
}

/* An entry of the device map that is free, or that no next hop leads to any more. */
static bool find_txport(const struct pc_dp *dp, uint32_t *ret_txport)
{
	for (uint32_t i = 0; i < PC_MAX_TXPORTS; i++) {
		if (!dp->txport[i]) {
			*ret_txport = i;
			return true;
		}
	}
	for (uint32_t i = 0; i < PC_MAX_TXPORTS; i++) {
		if (!in_use(dp, dp->txport[i])) {
			*ret_txport = i;
			return true;
		}
	}
	return false;
}

/* The entry of @ifindex, made when there is none. PC_TXPORT_NONE is an answer too. */
static int get_txport(struct pc_dp *dp, uint32_t ifindex, uint32_t *ret_txport)
{
	int fd = dp->map_fd[PC_DP_TXPORT];
	uint32_t at = PC_TXPORT_NONE, there = 0;

	if (!redirectable(dp, ifindex)) {
		*ret_txport = PC_TXPORT_NONE;
		return 0;
	}
	for (uint32_t i = 0; i < PC_MAX_TXPORTS; i++) {
		if (dp->txport[i] == ifindex)
			at = i;
	}
	/* The kernel empties the entry of an interface that goes away; its index may come back. */
	if (at != PC_TXPORT_NONE && !bpf_map_lookup_elem(fd, &at, &there) && there == ifindex) {
		*ret_txport = at;
		return 0;
	}
	if (at == PC_TXPORT_NONE) {
		/* Full: like an interface that cannot be redirected to. */
		if (!find_txport(dp, &at)) {
			*ret_txport = PC_TXPORT_NONE;
			return 0;
		}
	}
	dp->txport[at] = 0;
	if (bpf_map_update_elem(fd, &at, &ifindex, BPF_ANY))
		return errno == EINVAL ? -ENODEV : -errno;
	dp->txport[at] = ifindex;
	*ret_txport = at;
	return 0;
}

int pc_dp_nexthop_set(struct pc_dp *dp, uint32_t index, const struct pc_dp_nexthop *nh)
{
	struct pc_nexthop nexthop;
	int err;

	if (!dp->status.kernel || dp->readonly)
		return PC_ERR_STATE;
	if (index >= PC_MAX_NEXTHOPS)
		return PC_ERR_RANGE;
	err = pc_dp_nexthop_encode(nh, &nexthop);
	if (err)
		return err;
	if (nexthop.ifindex)
		err = get_txport(dp, nexthop.ifindex, &nexthop.txport);
	/* A way out that cannot be had is one that is not resolved. */
	if (err)
		nexthop = (struct pc_nexthop){ 0 };
	write_slot(slot_at(dp, index), &nexthop);
	return err;
}

bool pc_dp_nexthop_is(struct pc_dp *dp, uint32_t index, const struct pc_dp_nexthop *nh)
{
	struct pc_nexthop nexthop;

	if (!dp->nexthops || index >= PC_MAX_NEXTHOPS || pc_dp_nexthop_encode(nh, &nexthop))
		return false;
	nexthop.txport = active_copy(slot_at(dp, index))->txport;
	return nexthop.ifindex &&
	       !memcmp(&nexthop, active_copy(slot_at(dp, index)), sizeof(nexthop));
}

void pc_dp_nexthops_refresh(struct pc_dp *dp)
{
	if (!dp->nexthops)
		return;
	for (uint32_t i = 0; i < PC_MAX_NEXTHOPS; i++) {
		struct pc_nexthop_slot *slot = slot_at(dp, i);
		struct pc_nexthop nexthop = *active_copy(slot);

		if (!nexthop.ifindex)
			continue;
		if (get_txport(dp, nexthop.ifindex, &nexthop.txport))
			nexthop = (struct pc_nexthop){ 0 };
		write_slot(slot, &nexthop);
	}
}
