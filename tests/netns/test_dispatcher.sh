#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 120
#
# pcd beside another program behind libxdp's dispatcher: data stays in the kernel, restarts and
# kill -9 are survived, and the other program is left as it was. Where the kernel has no dispatcher
# pcd is alone, says so, and does not touch what is there.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_relay.sh
source "$(dirname "$0")/lib_relay.sh"
need_root
command -v xdp-loader >/dev/null || skip_all "xdp-loader is not installed"
[ -e "$PC_BUILD/bench/empty.bpf.o" ] || skip_all "not built: make helpers"
mount_bpffs
export LIBXDP_BPFFS=$BPFFS
topo_star
start_sink || skip_all "no native XDP on veth here"

loader() {
	in_ns relay xdp-loader "$@" 2>&1
}

# behind IF: the programs there, in their order; "-" without a dispatcher
behind() {
	loader status "$1" | awk '/xdp_dispatcher/ { found = 1 } $1 == "=>" { names = names " " $3 }
		END { print found ? substr(names, 2) : "-" }'
}

places() {
	health '[.xdp[] | .mode + " " + .place]'
}

# begin [LINE...]
begin() {
	pcd_config "$T/pcd.conf" "relay xdp = native" "$@"
	start_pcd relay "$T/pcd.conf"
}

test_alone() {
	begin "relay xdp-dispatcher = always" || exit 1
	tenant u p || exit 1
	is "without a dispatcher pcd is alone" "$(places)" '["native alone","native alone"]'
	is "and says why" "$(health '.xdp[0].reason')" '"alone: libxdp'"'"'s dispatcher cannot be loaded"'
	relays "data stays in the kernel"
	stop_pcd
	in_ns relay "$PC_BIN/pcctl" -s "$SOCKET" datapath off --bpffs "$BPFFS/pcd" >/dev/null
	loader load -m native c0 "$PC_BUILD/bench/empty.bpf.o" >"$T/loader.log" ||
		diag <"$T/loader.log"
	begin || exit 1
	is "a program of somebody else is left alone" "$(health '.xdp[0].mode')" '"off"'
	check "with a message" grep -q "another XDP program is attached to c0" "$T/pcd.log"
	relays "and relayed in user space" user
	skip "beside another program" "this kernel has no dispatcher"
	finish
}

test_join() {
	begin || exit 1
	tenant u p || exit 1
	is "joined where a dispatcher is, alone elsewhere" "$(places)" \
		'["native dispatcher","native alone"]'
	is "behind the other program" "$(behind c0)" "empty pc4_relay" || {
		health .xdp | diag
		exit 1
	}
	relays "data stays in the kernel"
	relays "again"
}

test_restart() {
	hold over 400 400
	go over
	pcd_kill9
	start_pcd relay "$T/pcd.conf" || exit 1
	held over
	is "a transfer outlives kill -9" "$HELD" "[true,400]"
	is "the program is adopted" "$(health '[.xdp[] | .adopted]') $(places)" \
		'[true,true] ["native dispatcher","native alone"]'
	relays "and goes on"
	hold over 400 400
	go over
	stop_pcd
	begin "relay ports = 50000-50100" || exit 1
	held over
	is "the program is exchanged" "$(behind c0)" "empty pc4_relay"
	relays "for one with other ports"
}

test_removal() {
	pcd_kill9
	is "without a daemon pcstat knows where it is" \
		"$(in_ns relay "$PC_BIN/pcstat" -j health --bpffs "$BPFFS/pcd" \
			--state-dir "$T/state" 2>/dev/null | jq -c '[.xdp[].place] | sort')" \
		'["alone","dispatcher"]'
	in_ns relay "$PC_BIN/pcctl" -s "$SOCKET" datapath off --bpffs "$BPFFS/pcd" \
		>"$T/off.log" 2>&1 || diag <"$T/off.log"
	is "pcctl datapath off leaves the other program" "$(behind c0) $(xdp_mode relay p0)" "empty off"
}

test_always() {
	loader unload c0 --all >/dev/null
	begin "relay xdp-dispatcher = always" || exit 1
	is "always: behind a dispatcher of its own" "$(places) $(behind p0)" \
		'["native dispatcher","native dispatcher"] pc4_relay'
	loader load -m native c0 "$PC_BUILD/bench/empty.bpf.o" >/dev/null
	is "another program can come" "$(behind c0)" "empty pc4_relay"
	relays "and data stays in the kernel"
	pcctl shutdown >/dev/null
	wait "$PCD_PID"
	is "pcctl shutdown leaves the other program" "$(behind c0) $(xdp_mode relay p0)" "empty off"
}

loader load -m native c0 "$PC_BUILD/bench/empty.bpf.o" >"$T/loader.log"
if [ "$(behind c0)" != empty ]; then
	diag <"$T/loader.log"
	loader unload c0 --all >/dev/null
	test_alone
fi
test_join
test_restart
test_removal
test_always
finish
