#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 200
#
# A million packets through channels: what was sent, received, counted by pcstat and counted by the
# interfaces is equal, to the packet and the byte; user space sees none of them. On one CPU and on
# two at once, up alone and both ways. PC_COUNT and PC_RATE: other numbers of packets, in all and per
# second.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star
# A veth whose ring is full drops; with a queue in front of it newer kernels push back instead.
in_ns client tc qdisc add dev eth0 root pfifo limit 20000
xdp_pass client eth0
xdp_pass peer eth0
pcd_config "$T/pcd.conf" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p || exit 1

COUNT=${PC_COUNT:-1000000}
RATE=${PC_RATE:-120000}
SIZE=160
OVERHEAD=28 # IP and UDP
usage() { pcstat -j tenant u | jq ".tenants[0]$1"; }
data_in_user_space() { pcstat -j health | jq '.turn.data_up + .turn.data_down'; }

# equal NAME EXPECTED WHAT VALUE [WHAT VALUE]...
equal() {
	local name=$1 expected=$2 wrong=""
	shift 2
	while [ $# -gt 1 ]; do
		[ "$2" = "$expected" ] || wrong+="$1 is $2, not $expected; "
		shift 2
	done
	if [ -z "$wrong" ]; then ok "$name"; else not_ok "$name" "$wrong"; fi
}

# transfer NAME COUNT CPUS RATE [echo]
transfer() {
	local name=$1 count=$2 cpus=$3 rate=$4 echo=${5:-}
	local up0 up_bytes0 up_wire0 down0 down_bytes0 down_wire0 user0 tx0 rx0 sink
	spawn_in peer "$T/sink.log" "$PC_HELPERS/udpsink" 198.18.2.2:7000 "$count" 3000 $echo
	sink=$SPAWNED
	wait_for 5 grep -q ready "$T/sink.log"
	up0=$(usage .up.packets) up_bytes0=$(usage .up.payload_bytes) up_wire0=$(usage .up.wire_bytes)
	down0=$(usage .down.packets) down_bytes0=$(usage .down.payload_bytes)
	down_wire0=$(usage .down.wire_bytes)
	user0=$(data_in_user_space)
	tx0=$(link_count peer eth0 rx packets)
	rx0=$(link_count client eth0 tx packets)
	in_ns client timeout 120 "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user u --password p \
		--peer 198.18.2.2:7000 --count "$count" --size $SIZE --rate "$rate" --cpus "$cpus" \
		${echo:+--echo} --idle-ms 3000 >"$T/load.json" 2>"$T/load.err"
	wait_for 10 grep -q packets "$T/sink.log"
	end_pid "$sink"
	local sent received bytes
	sent=$(jq .sent "$T/load.json")
	received=$(grep packets "$T/sink.log" | jq .distinct)
	bytes=$(grep packets "$T/sink.log" | jq .bytes)
	equal "$name: packets sent, received and counted" "$count" sent "$sent" received "$received" \
		"counted up" "$(($(usage .up.packets) - up0))"
	equal "$name: payload bytes received and counted" $((count * SIZE)) received "$bytes" \
		"counted up" "$(($(usage .up.payload_bytes) - up_bytes0))"
	equal "$name: wire bytes counted" $((count * (SIZE + OVERHEAD))) \
		"counted up" "$(($(usage .up.wire_bytes) - up_wire0))"
	if [ -n "$echo" ]; then
		equal "$name: packets on the way back" "$count" \
			"came back" "$(jq .echoed_distinct "$T/load.json")" \
			"in all" "$(jq .echoed "$T/load.json")" \
			"counted down" "$(($(usage .down.packets) - down0))"
		equal "$name: payload bytes on the way back" $((count * SIZE)) \
			"came back" "$(jq .echoed_bytes "$T/load.json")" \
			"counted down" "$(($(usage .down.payload_bytes) - down_bytes0))"
		equal "$name: wire bytes on the way back" $((count * (SIZE + OVERHEAD + 4))) \
			"counted down" "$(($(usage .down.wire_bytes) - down_wire0))"
	fi
	equal "$name: data packets in user space" 0 "seen" "$(($(data_in_user_space) - user0))"
	# The interfaces also carry a few control packets and neighbour discovery: at least, and
	# never more than that much more.
	local out=$(($(link_count peer eth0 rx packets) - tx0))
	local in=$(($(link_count client eth0 tx packets) - rx0))
	if [ "$out" -ge "$count" ] && [ "$out" -le $((count + 20)) ] &&
		[ "$in" -ge "$count" ] && [ "$in" -le $((count + 40)) ]; then
		ok "$name: the interfaces counted the same"
	else
		not_ok "$name: the interfaces counted the same" "client sent $in, peer received $out"
	fi
}

transfer "one CPU" "$COUNT" 0 "$RATE"
if [ "$(nproc)" -ge 2 ]; then
	transfer "two CPUs" "$COUNT" 0,1 "$RATE"
else
	skip "two CPUs" "this machine has one"
fi
transfer "both ways" $((COUNT / 5)) 0 $((RATE / 3)) echo

sum=$(pcstat -j tenant u | jq '.tenants[0] | .up.packets + .down.packets - .kernel.packets - .user.packets')
is "the kernel's and user space's packets are the sum" "$sum" 0
is "nothing was dropped" "$(pcstat -j drops | jq '[.drops[] | select(.kind == "drop") | .kernel + .user] | add')" 0

# The figures stay when the daemon is gone, and when it is back.
before=$(pcstat -j tenant u | jq -S '.tenants[0] | {up, down}')
stop_pcd
check "SIGTERM ends the daemon well" [ "$ENDED" = 0 ]
after=$("$PC_BIN/pcstat" -s "$SOCKET" --bpffs "$BPFFS/pcd" --state-dir "$T/state" -j tenant u \
	2>"$T/offline.err" | jq -S '.tenants[0] | {up, down}')
is "pcstat shows the same without the daemon" "$after" "$before"
check "and says that it is down" grep -q . "$T/offline.err"
start_pcd relay "$T/pcd.conf" || exit 1
is "and the same after a restart" "$(pcstat -j tenant u | jq -S '.tenants[0] | {up, down}')" "$before"
finish
