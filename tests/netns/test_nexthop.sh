#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 180
#
# Next hops follow routes, neighbours and interfaces; what the program would send is read from its
# map. tests/helpers/nexthop.c holds the destinations.
#
#   host e0 198.18.1.2 --- 198.18.1.1 g0 one     behind both: 198.18.9.0/24
#   host e1 198.18.3.2 --- 198.18.3.1 g0 two
. "$(dirname "$0")/lib.sh"

need_root
mount_bpffs
ns_add host one two
veth host e0 one g0
veth host e1 two g0
mkdir -p "$T/state"
NEXTHOP=$PC_HELPERS/nexthop
[ -x "$NEXTHOP" ] || skip_all "not built: make tests"
FAR=198.18.9.2
LOG=$T/hops.log

addr one g0 198.18.1.1/24 fd18:1::1/64
addr two g0 198.18.3.1/24
addr host e0 198.18.1.2/24 fd18:1::2/64
addr host e1 198.18.3.2/24
route host add 198.18.9.0/24 via 198.18.1.1
route host add 198.19.0.0/16 via 198.18.1.1

# start [OPTION...] DST...
start() {
	: >"$LOG"
	spawn_in host "$LOG" "$NEXTHOP" "${@:1:$#-1}" "${@: -1}"
	HOPS=$SPAWNED
	wait_for 10 grep -qs READY "$LOG" && return
	grep -q 'no kernel half' "$LOG" && skip_all "$(tail -n 1 "$LOG")"
	diag <"$LOG"
	return 1
}

# The last that was said about DST.
last() {
	grep "^HOP $1 " "$LOG" | tail -n 1
}

# now_is DST TEXT...: the last line about DST has all texts
now_is() {
	local line text
	line=$(last "$1")
	shift
	for text in "$@"; do
		[[ $line == *"$text"* ]] || return 1
	done
}

# becomes NAME SECONDS DST TEXT...
becomes() {
	local name=$1 seconds=$2
	shift 2
	if wait_for "$seconds" now_is "$@"; then
		ok "$name"
	else
		not_ok "$name" "expected ${*:2}, last was: $(last "$1")"
	fi
}

mac_hex() {
	mac_of "$1" "$2" | tr -d :
}

# The link header for packets from IF of the host to NAME.
l2() {
	echo "l2=$(mac_hex "$2" g0)$(mac_hex host "$1")0800"
}

index_of() {
	last "$1" | sed -n 's/.*index=\([0-9]*\).*/\1/p'
}

changed() {
	grep -c CHANGED "$LOG"
}

test_resolve() {
	ip -n "$(ns host)" neigh flush all
	start -p 1000 "$BPFFS/pcd" "$T/state" 198.18.1.2 "$FAR" 198.18.1.1 198.18.1.77 198.18.1.2 \
		203.0.113.1
	becomes "a missing neighbour is resolved" 5 "$FAR" dev=e0 mtu=1500 "$(l2 e0 one)"
	becomes "the gateway itself has the same way" 1 198.18.1.1 "index=$(index_of "$FAR") "
	becomes "a neighbour that is not there stays unresolved" 1 198.18.1.77 unresolved
	becomes "an address of this host has no way" 1 198.18.1.2 unreachable
	becomes "nor has one without a route" 1 203.0.113.1 unreachable
}

test_mac() {
	local index
	index=$(index_of "$FAR")
	ip -n "$(ns one)" link set g0 address 02:00:00:00:00:11
	in_ns one ping -c 1 -W 1 198.18.1.2 >/dev/null
	becomes "a neighbour's new MAC is followed" 5 "$FAR" "$(l2 e0 one)" l2=020000000011
	is "in the same slot" "$(index_of "$FAR")" "$index"
	ip -n "$(ns one)" link set g0 address 02:00:00:00:00:22
	becomes "also when it says nothing" 20 "$FAR" l2=020000000022
	ip -n "$(ns host)" link set e0 address 02:00:00:00:00:33
	becomes "our own new MAC is used" 10 "$FAR" l2=0200000000220200000000330800
}

test_silence() {
	ip -n "$(ns one)" link set g0 arp off
	becomes "a neighbour that stops answering becomes unresolved" 20 "$FAR" unresolved
	ip -n "$(ns one)" link set g0 arp on
	becomes "and resolved when it is back" 40 "$FAR" "$(l2 e0 one)"
	ip -n "$(ns host)" neigh del 198.18.1.1 dev e0
	becomes "a deleted entry is asked for again" 5 "$FAR" "$(l2 e0 one)"
}

test_routes() {
	local index n
	index=$(index_of "$FAR")
	n=$(changed)
	route host replace 198.18.9.0/24 via 198.18.3.1
	becomes "another gateway is another way" 5 "$FAR" dev=e1
	becomes "which is resolved" 5 "$FAR" "$(l2 e1 two)"
	check "in another slot" [ "$(index_of "$FAR")" != "$index" ]
	check "and flows have to be written again" wait_for 5 [ "$(changed)" -gt "$n" ]
	route host replace 198.18.9.0/24 via 198.18.1.1 mtu 1400
	becomes "the MTU of the route counts" 5 "$FAR" dev=e0 mtu=1400
	route host del 198.18.9.0/24
	becomes "no route, no way" 5 "$FAR" unreachable
	route host add 198.18.9.0/24 via 198.18.1.1
	becomes "until there is one again" 5 "$FAR" dev=e0 mtu=1500
	n=$(changed)
	route host add 203.0.113.0/24 via 198.18.3.1
	check "who was told no is told of a new route" wait_for 5 eval '[ "$(changed)" -gt '"$n ]"
	becomes "which it then has" 5 203.0.113.1 "$(l2 e1 two)"
}

test_links() {
	ip -n "$(ns host)" link set e0 mtu 1300
	becomes "the interface's new MTU is followed" 5 "$FAR" mtu=1300
	ip -n "$(ns host)" link set e0 mtu 1500
	ip -n "$(ns one)" link set g0 down
	becomes "without a carrier nothing is sent" 5 198.18.1.1 unre
	ip -n "$(ns one)" link set g0 up
	becomes "with one again it is" 10 198.18.1.1 "$(l2 e0 one)"
	ip -n "$(ns host)" link set e0 down
	becomes "an interface that is down has no way" 5 198.18.1.1 unre
	ip -n "$(ns host)" link set e0 up
	becomes "up again it has" 10 198.18.1.1 "$(l2 e0 one)"
	# What the kernel took away with the interface.
	route host replace 198.18.9.0/24 via 198.18.1.1
	route host replace 198.19.0.0/16 via 198.18.1.1
	addr host e0 fd18:1::2/64
	addr one g0 fd18:1::1/64
	becomes "and the gateway behind it too" 10 "$FAR" "$(l2 e0 one)"
	end_pid "$HOPS"
}

# More notifications than the socket holds while the process does not read.
test_lost() {
	local batch=$T/batch i
	start -p 1000000 "$BPFFS/pcd" "$T/state" 198.18.1.2 "$FAR"
	becomes "resolved before" 5 "$FAR" "$(l2 e0 one)"
	kill -STOP "$HOPS"
	# Older news that still fit into the queue, and are read after the loss was noticed.
	ip -n "$(ns host)" neigh replace 198.18.1.1 lladdr 02:00:00:00:00:22 nud stale dev e0
	for ((i = 0; i < 12000; i++)); do
		printf 'neigh replace 198.18.1.%d lladdr 02:00:00:01:%02x:%02x dev e1\n' \
			$((100 + i % 100)) $((i / 256)) $((i % 256))
	done >"$batch"
	in_ns host ip -batch "$batch"
	ip -n "$(ns host)" neigh replace 198.18.1.1 lladdr 02:00:00:00:00:44 nud reachable dev e0
	kill -CONT "$HOPS"
	becomes "lost notifications are made up for" 10 "$FAR" l2=020000000044
	check "and were lost" grep -q 'notifications were lost' "$LOG"
	ip -n "$(ns host)" neigh flush dev e1
	ip -n "$(ns host)" neigh del 198.18.1.1 dev e0
	end_pid "$HOPS"
}

test_many() {
	start -m 3000 "$BPFFS/pcd" "$T/state" 198.18.1.2 "$FAR"
	check "3001 destinations behind a gateway are one entry" grep -q 'READY entries=1 ' "$LOG"
	route host replace 198.19.0.0/16 via 198.18.3.1
	check "they move together" wait_for 10 grep -q 'CHANGED moved=3000 same=1' "$LOG"
	route host replace 198.19.0.0/16 via 198.18.1.1
	check "and back" wait_for 10 eval '[ "$(grep -c "moved=3000" "$LOG")" = 2 ]'
	end_pid "$HOPS"
}

# The same ways when they are asked for together, as those of the sessions of an earlier daemon.
test_ahead() {
	start -a -m 3000 "$BPFFS/pcd" "$T/state" 198.18.1.2 "$FAR" 198.18.1.2 198.18.3.1 192.0.2.9 \
		"$FAR" 198.18.3.99
	check "all that have a way are known ahead, and what nobody took is forgotten" \
		grep -q 'AHEAD found=3004 forgotten=1$' "$LOG" || diag <"$LOG"
	check "behind two gateways and a neighbour" grep -q 'READY entries=3 ' "$LOG" || diag <"$LOG"
	becomes "the way is that of one asked alone" 5 "$FAR" dev=e0 mtu=1500 "$(l2 e0 one)"
	becomes "also through the other interface" 5 198.18.3.1 "$(l2 e1 two)"
	becomes "an address of this host has no way" 1 198.18.1.2 unreachable
	becomes "nor has one without a route" 1 192.0.2.9 unreachable
	route host add 192.0.2.0/24 via 198.18.3.1
	becomes "until there is one" 5 192.0.2.9 "$(l2 e1 two)"
	route host del 192.0.2.0/24
	becomes "and then none again" 5 192.0.2.9 unreachable
	route host replace 198.19.0.0/16 via 198.18.3.1
	check "and all follow their route" wait_for 10 grep -q 'CHANGED moved=2999' "$LOG"
	route host replace 198.19.0.0/16 via 198.18.1.1
	end_pid "$HOPS"
}

test_ipv6() {
	start "$BPFFS/pcd" "$T/state" fd18:1::2 fd18:1::1
	becomes "an IPv6 neighbour is resolved" 5 fd18:1::1 dev=e0 \
		"l2=$(mac_hex one g0)$(mac_hex host e0)86dd"
	ip -n "$(ns one)" link set g0 address 02:00:00:00:00:55
	ip -n "$(ns host)" neigh flush dev e0
	becomes "and followed" 20 fd18:1::1 "l2=020000000055$(mac_hex host e0)86dd"
	end_pid "$HOPS"
	# Behind a gateway of its own family.
	route one add fd18:9::/64 dev lo
	route host add fd18:9::/64 via fd18:1::1
	start "$BPFFS/pcd" "$T/state" fd18:1::2 fd18:9::2
	becomes "an IPv6 gateway is used" 10 fd18:9::2 dev=e0 \
		"l2=020000000055$(mac_hex host e0)86dd"
	end_pid "$HOPS"
}

test_vlan() {
	ip -n "$(ns host)" link add link e0 name e0.7 type vlan id 7 2>/dev/null || {
		skip "a VLAN sub-interface" "this kernel has no 802.1Q"
		return
	}
	ip -n "$(ns host)" link add link e0.7 name e0.7.9 type vlan id 9
	ip -n "$(ns one)" link add link g0 name g7 type vlan id 7
	ip -n "$(ns one)" link add link g7 name g79 type vlan id 9
	for i in host:e0.7 host:e0.7.9 one:g7 one:g79; do
		ip -n "$(ns "${i%:*}")" link set "${i#*:}" up
	done
	addr host e0.7 198.18.7.2/24
	addr one g7 198.18.7.1/24
	addr host e0.7.9 198.18.79.2/24
	addr one g79 198.18.79.1/24
	start "$BPFFS/pcd" "$T/state" 198.18.7.2 198.18.7.1 198.18.79.1
	becomes "a VLAN sub-interface: lower device and tag" 5 198.18.7.1 dev=e0 \
		"l2=$(mac_hex one g0)$(mac_hex host e0)810000070800"
	becomes "two tags, outermost first" 5 198.18.79.1 dev=e0 \
		"l2=$(mac_hex one g0)$(mac_hex host e0)81000007810000090800"
	end_pid "$HOPS"
}

test_resolve
test_mac
test_silence
test_routes
test_links
test_lost
test_many
test_ahead
test_ipv6
test_vlan
finish
