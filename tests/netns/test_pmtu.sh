#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
#
# Datagrams that are too large for the way behind the relay, through the kernel path and through user
# space, IPv4 and IPv6: where the relay's own interface is narrow, and where a router further on is.
# Every byte arrives, in fragments, unless they were forbidden; then the client is told by an ICMP
# attribute. What a router refuses is counted as lost, and what follows goes in fragments.
#
#   client eth0 -- c2 near c1 -- c0 relay p0 -- p1 far p2 -- eth0 peer
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs

SIZE=1400 # with all headers it fits 1500 bytes, and not NARROW
NARROW=1300

# router NAME IF1 ADDRESS1 IF2 ADDRESS2 N: forwards, and tells of every packet that is too large
router() {
	addr "$1" "$2" "198.18.$3/24" "fd18:${3%.*}::${3#*.}/64"
	addr "$1" "$4" "198.18.$5/24" "fd18:${5%.*}::${5#*.}/64"
	in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
		net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 || exit 1
}

topology() {
	ns_add client near relay far peer
	veth client eth0 near c2
	veth near c1 relay c0
	veth relay p0 far p1
	veth far p2 peer eth0
	router near c2 3.1 c1 1.2
	router far p1 2.2 p2 4.1
	addr client eth0 198.18.3.2/24 fd18:3::2/64
	addr peer eth0 198.18.4.2/24 fd18:4::2/64
	addr relay c0 198.18.1.1/24 fd18:1::1/64
	addr relay p0 198.18.2.1/24 fd18:2::1/64
	local name gateway
	for name in client:3 peer:4; do
		gateway=${name#*:}
		route "${name%:*}" add default via "198.18.$gateway.1"
		route "${name%:*}" add default via "fd18:$gateway::1"
	done
	route relay add 198.18.3.0/24 via 198.18.1.2
	route relay add fd18:3::/64 via fd18:1::2
	route relay add 198.18.4.0/24 via 198.18.2.2
	route relay add fd18:4::/64 via fd18:2::2
	for name in "near 198.18.1.1" "near fd18:1::1" "far 198.18.2.1" "far fd18:2::1"; do
		wait_for 5 in_ns "${name% *}" ping -c 1 -W 1 "${name#* }" >/dev/null
	done
	xdp_pass near c1 2>/dev/null || skip_all "no native XDP on veth here"
	xdp_pass far p1 2>/dev/null
}

# Of the relay's own interfaces pcd has heard, and acted, before it answers the next question.
mtu() {
	ip -n "$(ns "$1")" link set "$2" mtu "$3"
	[ "$1" != relay ] || pcstat -j health >"$T/heard.json"
}

# All links wide again, and nothing remembered of narrow ones.
widen() {
	mtu near c2 1500
	mtu relay c0 1500
	mtu relay p0 1500
	mtu far p2 1500
	ip -n "$(ns relay)" route flush cache
	ip -n "$(ns relay)" -6 route flush cache
}

# --- a pcd, two clients and a peer ---

# begin MODE FAMILY
begin() {
	MODE=$1 FAMILY=$2 SENT_UP=0 SENT_DOWN=0 LOST=0
	local server=198.18.1.1:3478 client=198.18.3.2 peer=198.18.4.2
	[ "$FAMILY" = 4 ] || server="[fd18:1::1]:3478" client=fd18:3::2 peer=fd18:4::2
	rm -rf "$T/state" "$BPFFS/pcd"
	pcd_config "$T/pcd.conf" "relay xdp = $MODE" "relay listen = 198.18.1.1:3478" \
		"relay listen = [fd18:1::1]:3478" "relay relay-address = 198.18.2.1" \
		"relay relay-address = fd18:2::1" "relay interface = c0" "relay interface = p0" \
		"relay allow-peer = fd18::/16"
	start_pcd relay "$T/pcd.conf" || exit 1
	tenant u p || exit 1
	rm -f "$T/in" "$T/out"
	mkfifo "$T/in" "$T/out"
	"$PC_HELPERS/pmtu" "/run/netns/$(ns client)" "/run/netns/$(ns peer)" "$server" "$client" \
		"$peer" u p <"$T/in" >"$T/out" 2>"$T/pmtu.log" &
	HELPER=$!
	pids+=("$HELPER")
	exec {to}>"$T/in" {from}<"$T/out"
	read -rt 20 -u "$from" line
	is "xdp = $MODE, IPv$FAMILY: clients and peer are there" "$line" ready || exit 1
}

finish_run() {
	exec {to}>&- {from}<&-
	wait "$HELPER"
	stop_pcd || not_ok "pcd ends well" "exit status $ENDED"
}

# try COMMAND...: what came of it in $line, and what is to be counted for it
try() {
	line=
	echo "$*" >&"$to"
	read -rt 5 -u "$from" line
	case $line in
	icmp* | lost) LOST=$((LOST + 1)) ;;
	esac
	# What the relay itself would not send is nobody's traffic.
	[[ $line = icmp* && $2 = dont-fragment && $KNOWN = yes ]] && return
	[[ $line != icmp* ]] || KNOWN=yes
	if [ "$1" = up ]; then SENT_UP=$((SENT_UP + $3)); else SENT_DOWN=$((SENT_DOWN + $3)); fi
}

# gives RESULT COMMAND...
gives() {
	local want=$1
	shift
	try "$@"
	is "xdp = $MODE, IPv$FAMILY, narrow $WHERE: $* is $want" "$line" "$want"
}

# first RESULT COMMAND...: and in the end, when the router's message was heeded, it arrives
first() {
	local want=$1 end=$((SECONDS + 15))
	shift
	try "$@"
	is "xdp = $MODE, IPv$FAMILY, narrow $WHERE: $* is $want at first" "$line" "$want"
	while [ "$line" = "$want" ] && [ $SECONDS -lt $end ]; do try "$@"; done
	is "xdp = $MODE, IPv$FAMILY, narrow $WHERE: $* arrives in the end" "$line" delivered
}

counted() {
	is "xdp = $MODE, IPv$FAMILY: all that was sent is counted, to the byte" \
		"$(pcstat -j tenant u | jq -c '.tenants[0] | [.up.payload_bytes, .down.payload_bytes]')" \
		"[$SENT_UP,$SENT_DOWN]"
	is "xdp = $MODE, IPv$FAMILY: and all that was lost, and why" "$(pcstat -j drops | jq -c \
		'[.drops[] | select(.kind == "drop" and .kernel + .user > 0) | [.name, .kernel + .user]]')" \
		"[[\"too_large\",$LOST]]"
}

test_wide() {
	WHERE=nowhere KNOWN=no
	local kind
	for kind in channel channel+ send send+ dont-fragment; do
		gives delivered up $kind $SIZE
	done
	for kind in channel channel+ data data+; do gives delivered down $kind $SIZE; done
}

# The relay's own interfaces.
test_relay() {
	WHERE=relay KNOWN=yes
	local kind told="icmp 3 4 $NARROW"
	[ "$FAMILY" = 4 ] || told="icmp 2 0 $NARROW"
	mtu relay p0 $NARROW
	for kind in channel channel+ send send+; do gives delivered up $kind $SIZE; done
	gives "$told" up dont-fragment $SIZE
	gives delivered up dont-fragment 1000
	gives delivered up send $SIZE
	mtu relay p0 1500
	mtu relay c0 $NARROW
	for kind in channel channel+ data data+; do gives delivered down $kind $SIZE; done
	widen
}

# A router's, which fragments where it may and tells the relay where not. Flows follow soon after.
test_router() {
	WHERE=router KNOWN=no # by the relay's host: how narrow it is
	local kind told="icmp 3 4 $NARROW"
	[ "$FAMILY" = 4 ] || told="icmp 2 0 $NARROW"
	mtu far p2 $NARROW
	if [ "$FAMILY" = 4 ]; then
		gives delivered up channel $SIZE
		gives delivered up send $SIZE
	fi
	# Without the kernel path nothing leaves with DF over IPv4 unless it was asked for.
	if [ "$FAMILY$MODE" = 4off ]; then
		gives delivered up channel+ $SIZE
	else
		first "$told" up channel+ $SIZE
	fi
	gives "$told" up dont-fragment $SIZE
	gives delivered up dont-fragment 1000
	gives "$told" up dont-fragment $SIZE
	for kind in channel channel+ send send+; do gives delivered up $kind $SIZE; done
	mtu far p2 1500
	mtu near c2 $NARROW
	if [ "$FAMILY" = 4 ]; then
		gives delivered down channel $SIZE
		gives delivered down data $SIZE
	fi
	[ "$FAMILY$MODE" = 4off ] || first lost down channel+ $SIZE
	for kind in channel channel+ data data+; do gives delivered down $kind $SIZE; done
	widen
}

topology
for mode in native off; do
	for family in 4 6; do
		begin $mode $family
		test_wide
		test_relay
		test_router
		counted
		finish_run
	done
done
finish
