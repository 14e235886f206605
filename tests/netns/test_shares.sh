#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 100
#
# Tenants that all want more share a full uplink by weight and by tier; who is alone has all of it.
# How exactly and how fast is the benchmark's question (tools/bench/rates.sh): here the order must be
# right. In the kernel and in user space.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star
in_ns client tc qdisc add dev eth0 root pfifo limit 20000
xdp_pass client eth0
xdp_pass peer eth0

SIZE=1222 # 1250 bytes as sent on: 10 kbit
up() { pcstat -j tenant "$1" | jq '.tenants[0].up.wire_bytes'; }
drops() { pcstat -j tenant "$1" | jq '.tenants[0].drops.rate'; }
# blast NAME MBIT SECONDS: in the background; pids in $blasts
blast() {
	in_ns client timeout 60 "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user "$1" \
		--password p --peer 198.18.2.2:7000 --size $SIZE --rate $(($2 * 100)) \
		--count $(($2 * 100 * $3)) --release >"$T/$1.json" 2>"$T/$1.err" &
	blasts+=($!)
}
together() {
	wait "${blasts[@]}"
	blasts=()
}
# more NAME BYTES MORE
more() { [ $(($(up "$1") - $2)) -ge "$3" ]; }
# Until a tenant's first second and its rate are known.
settled() {
	wait_for 10 eval "[ \"\$(pcstat -j tenant $1 | jq '.tenants[0].rate.up.bps > 0')\" = true ]"
	local from
	from=$(up "$1")
	wait_for 10 more "$1" "$from" 500000
}
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }

for mode in native off; do
	blasts=()
	pcd_config "$T/pcd.conf" "relay xdp = $mode" "relay capacity = 20M"
	start_pcd relay "$T/pcd.conf" || exit 1
	tenant one p --weight 1 --tier paid && tenant three p --weight 3 --tier paid || exit 1
	tenant low p --tier free || exit 1

	blast one 40 7
	blast three 40 7
	settled one && settled three
	a=$(up one) b=$(up three)
	wait_for 20 more three "$b" 4000000
	a=$(($(up one) - a)) b=$(($(up three) - b))
	check "$mode: weights 1 and 3 share as 1 to 3 ($a, $b)" between $((100 * b / a)) 240 360
	together

	# Who is alone has what others leave, until one comes who may have more.
	blast low 40 10
	settled low
	a=$(up low)
	wait_for 20 more low "$a" 5000000
	ok "$mode: free alone is not held to its share"
	blast three 12 6
	settled three
	a=$(up low) b=$(up three) c=$(drops three)
	wait_for 20 more three "$b" 3000000
	a=$(($(up low) - a)) b=$(($(up three) - b))
	check "$mode: paid below its share loses next to nothing to free" \
		between $(($(drops three) - c)) 0 100
	check "$mode: free yields to it, and is not starved ($a, $b)" between "$a" 10000 $((2 * b))
	together
	check "$mode: its drops are counted" between "$(drops low)" 1000 40000
	pcstat tiers >"$T/tiers" && grep -q '^paid *paid *1 ' "$T/tiers"
	check "$mode: pcstat tiers shows them" test $? = 0

	pcctl shutdown >"$T/out"
	wait "$PCD_PID"
	rm -rf "$T/state"
done
finish
