#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Inside the guest, as root, in the repository (read-only): the data path's tests on this kernel.
# run.sh passes PC_GUEST_FILTERS (separated by commas) to run others than those below, and
# PC_GUEST_CLOCK: real or counted.
set -u

# What talks to the kernel about the data path: programs, maps, links, netlink.
tests=(
	bpf/
	unit/test_csum unit/test_dp_user unit/test_rtnl
	netns/test_nexthop netns/test_guard netns/test_exact netns/test_kill9
	netns/test_dispatcher
	kernels/test_kernel
)
[ -z "${PC_GUEST_FILTERS:-}" ] || IFS=, read -ra tests <<<"$PC_GUEST_FILTERS"

# Emulation is an order of magnitude slower than the machine: fewer packets, at a lower rate.
export PC_COUNT=30000 PC_RATE=1500 PC_KILLS=3 PC_TIME_FACTOR=4

# Those that nothing asks the kernel for by name.
for module in veth 8021q nf_tables sch_fq sch_fq_codel sch_netem tun; do
	modprobe "$module" || echo "# no module $module"
done
# In older kernels a veth whose ring of 256 packets is full drops. While a processor waits for its
# turn on the host that is soon; so receiving goes first.
for pid in $(pgrep '^ksoftirqd'); do
	chrt -f -p 1 "$pid" || echo "# ksoftirqd stays an ordinary process"
done
tests/run.sh guest "${tests[@]}"
