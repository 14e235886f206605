#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 100
#
# A tenant's quota ends while it sends: no byte more passes, what does not is counted, a larger quota
# holds at once, and neither kill -9 nor a restart gives anything twice. In the kernel and in user
# space.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star_native

QUOTA=2000000
SIZE=1000
WIRE=$((SIZE + 28))
# What leases of CPUs and of user space may hold back at the end.
HELD=$((65536 * ($(nproc) + 1)))
# 82 per cent and what is held are between the two warnings.

usage() { pcstat -j tenant u | jq -c ".tenants[0]$1"; }
wire() { usage ' | .up.wire_bytes + .down.wire_bytes'; }
# send COUNT
send() {
	in_ns client timeout 60 "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user u --password p \
		--peer 198.18.2.2:7000 --size $SIZE --rate 5000 --count "$1" --release \
		>"$T/load.json" 2>"$T/load.err"
}
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }
state() { [ "$(usage .quota.state)" = "\"$1\"" ]; }
# The limits' own counters are read once a second.
told_apart() {
	[ "$(usage ' | .drops | .rate == 0 and .capacity == 0 and .quota > 0 and .quota == .credit')" = true ]
}
logged() { wait_for 5 grep -q -- "$1" "$T/pcd.log"; }

for mode in native off; do
	pcd_config "$T/pcd.conf" "relay xdp = $mode"
	start_pcd relay "$T/pcd.conf" || exit 1
	tenant u p --quota-day $QUOTA || exit 1
	send $((QUOTA / WIRE * 82 / 100))
	is "$mode: below the quota all pass" "$(wire)" $((QUOTA / WIRE * 82 / 100 * WIRE))
	check "$mode: the log warns at 80 per cent" logged 'tenant u: 80 per cent of the quota of the day'
	send 1000
	check "$mode: no byte more than the quota passes" between "$(wire)" $((QUOTA - HELD)) $QUOTA
	is "$mode: the rest is counted as drops" "$(usage ' | .up.packets + .drops.credit')" \
		$((QUOTA / WIRE * 82 / 100 + 1000))
	passed=$(wire)
	check "$mode: pcstat says that it is reached, or nearly" wait_for 5 \
		eval 'state reached || state last'
	for i in 1 2 3; do
		check "$mode: drops of the quota are told apart" wait_for 5 told_apart
		drops=$(usage .drops)
		pcd_kill9
		start_pcd relay "$T/pcd.conf" || exit 1
		is "$mode: kill -9 loses no count of them" "$(usage .drops)" "$drops"
		send 500
		check "$mode: restart $i gives nothing twice" between "$(wire)" "$passed" $QUOTA
	done
	pcctl tenant set u --quota-day $((2 * QUOTA)) >"$T/out"
	before=$(wire)
	send 500
	is "$mode: a larger quota holds at once" $(($(wire) - before)) $((500 * WIRE))
	pcctl tenant set u --quota-day none >"$T/out"
	send 3000
	is "$mode: and none" $(($(wire) - before)) $((3500 * WIRE))
	pcctl shutdown >"$T/out"
	wait "$PCD_PID"
	rm -rf "$T/state"
done
finish
