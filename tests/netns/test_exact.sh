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
topo_star_native
long_queue client
pcd_config "$T/pcd.conf" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p || exit 1

COUNT=${PC_COUNT:-1000000}
RATE=${PC_RATE:-120000}
SIZE=160
OVERHEAD=28 # IP and UDP
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

# send COUNT CPUS RATE [echo]
send() {
	local sink
	peer_sink 198.18.2.2:7000 "$1" 3000 ${4:-}
	sink=$SPAWNED
	in_ns client timeout 120 "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user u --password p \
		--peer 198.18.2.2:7000 --count "$1" --size $SIZE --rate "$3" --cpus "$2" \
		${4:+--echo} --idle-ms 3000 >"$T/load.json" 2>"$T/load.err"
	wait_for 10 grep -q packets "$T/sink.log"
	end_pid "$sink"
}

# snapshot NAME: what pcstat and the interfaces say now, into an array of that name
# shellcheck disable=SC2034,SC2154 # fields of that array, not variables
snapshot() {
	local -n into=$1
	local count
	count=$(pcstat -j tenant u | jq -r '.tenants[0] | "\(.up.packets) \(.up.payload_bytes) \(
		.up.wire_bytes) \(.down.packets) \(.down.payload_bytes) \(.down.wire_bytes)"')
	read -r 'into[up]' 'into[up_bytes]' 'into[up_wire]' 'into[down]' 'into[down_bytes]' \
		'into[down_wire]' <<<"$count"
	into[user]=$(data_in_user_space)
	into[out]=$(link_count peer eth0 rx packets)
	into[in]=$(link_count client eth0 tx packets)
	into[lost]=$(link_drops)
}

# transfer NAME COUNT CPUS RATE [echo]
transfer() {
	local name=$1 count=$2 echo=${5:-} try sent received back
	local -A was now
	# What a veth had no room for while the machine did something else is not the relay's: then
	# once more.
	for try in 1 2 3; do
		snapshot was
		send "$2" "$3" "$4" $echo
		snapshot now
		sent=$(jq .sent "$T/load.json")
		received=$(grep packets "$T/sink.log" | jq .distinct)
		back=$(jq .echoed_distinct "$T/load.json")
		[ $((now[lost] - was[lost])) != 0 ] || break
		diag <<<"$name, try $try: links lost $((now[lost] - was[lost])), received $received"
	done
	local k
	for k in up up_bytes up_wire down down_bytes down_wire user out in; do
		now[$k]=$((now[$k] - was[$k]))
	done
	equal "$name: packets sent, received and counted" "$count" sent "$sent" received "$received" \
		"counted up" "${now[up]}"
	equal "$name: payload bytes received and counted" $((count * SIZE)) \
		received "$(grep packets "$T/sink.log" | jq .bytes)" "counted up" "${now[up_bytes]}"
	equal "$name: wire bytes counted" $((count * (SIZE + OVERHEAD))) "counted up" "${now[up_wire]}"
	if [ -n "$echo" ]; then
		equal "$name: packets on the way back" "$count" "came back" "$back" \
			"in all" "$(jq .echoed "$T/load.json")" "counted down" "${now[down]}"
		equal "$name: payload bytes on the way back" $((count * SIZE)) \
			"came back" "$(jq .echoed_bytes "$T/load.json")" "counted down" "${now[down_bytes]}"
		equal "$name: wire bytes on the way back" $((count * (SIZE + OVERHEAD + 4))) \
			"counted down" "${now[down_wire]}"
	fi
	equal "$name: data packets in user space" 0 "seen" "${now[user]}"
	# The interfaces also carry a few control packets and neighbour discovery: at least, and
	# never more than that much more.
	if [ "${now[out]}" -ge "$count" ] && [ "${now[out]}" -le $((count + 20)) ] &&
		[ "${now[in]}" -ge "$count" ] && [ "${now[in]}" -le $((count + 40)) ]; then
		ok "$name: the interfaces counted the same"
	else
		not_ok "$name: the interfaces counted the same" "client sent ${now[in]}, peer received ${now[out]}"
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
