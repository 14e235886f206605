#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The guest's kernel: what of it the data path could use, and whether it complained about the tests.
# Run after the others, so that it sees what they left in its log.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../netns/lib.sh"
need_root
mount_bpffs

# libxdp puts several programs on an interface behind a dispatcher whose functions they replace
# (freplace). Where it does not work ours attaches alone: told, not demanded.
test_dispatcher() {
	local log=$T/dispatcher.log name="the relay behind libxdp's dispatcher"
	command -v xdp-loader >/dev/null || {
		skip "$name" "xdp-loader is not installed"
		return
	}
	ns_add one two
	veth one v0 two v0
	if LIBXDP_BPFFS=$BPFFS in_ns one xdp-loader load -m native v0 "$PC_BUILD/bpf/relay.bpf.o" \
		>"$log" 2>&1 &&
		LIBXDP_BPFFS=$BPFFS in_ns one xdp-loader status v0 >>"$log" 2>&1 &&
		grep -q xdp_dispatcher "$log" && grep -qE "pc[0-9]+_relay" "$log"; then
		ok "$name: available"
	else
		skip "$name" "not available: $(grep -m 1 . "$log")"
	fi
	diag <"$log"
}

test_log() {
	local complaints
	complaints=$(dmesg | grep -E 'BUG:|WARNING:|Oops|Call Trace|Out of memory|hung task|soft lockup')
	is "the kernel has nothing to complain about" "$complaints" ""
}

test_dispatcher
test_log
finish
