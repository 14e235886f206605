#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 180
#
# Guarded attach: a server whose only way in is the interface stays reachable, whatever the program
# does and whenever the process dies. tests/helpers/guard.c is the attach without the daemon.
. "$(dirname "$0")/lib.sh"

need_root
mount_bpffs
topo_server
mkdir -p "$T/state"
GUARD=$PC_HELPERS/guard
DROPALL=$PC_BUILD/bpf/relay_dropall.bpf.o
STUN_ADDR=198.18.1.2
[ -x "$GUARD" ] && [ -e "$DROPALL" ] || skip_all "not built: make tests"

reachable() {
	in_ns outside ping -c 1 -W 1 "$STUN_ADDR" >/dev/null 2>&1
}

unreachable() {
	! reachable
}

# attach [OPTION...] IF MODE: the line of the result in $line. Each has pins of its own.
attach_n=0
attach() {
	attach_n=$((attach_n + 1))
	line=$(in_ns server "$GUARD" "${@:1:$#-2}" "$BPFFS/g$attach_n" "$T/state" "${@: -2}" \
		2>"$T/guard.log")
	status=$?
	[ $status != 77 ] || skip_all "no XDP here: $(tail -n 1 "$T/guard.log")"
}

detach() {
	rm -f "$BPFFS/g$attach_n"/pc4_link_*
}

# has NAME TEXT...: all texts are in $line
has() {
	local name=$1 text
	shift
	for text in "$@"; do
		[[ $line == *"$text"* ]] || {
			not_ok "$name" "no '$text' in: $line"
			return
		}
	done
	ok "$name"
}

# Pings from outside five times a second; the longest silence in ms then.
watch_reach() {
	spawn_in outside "$T/ping.log" ping -D -i 0.2 -W 1 "$STUN_ADDR"
	PING=$SPAWNED
	wait_for 5 grep -qs 'bytes from' "$T/ping.log"
}

answers() {
	[ "$(grep -c 'bytes from' "$T/ping.log")" -gt "$1" ]
}

longest_silence() {
	# A silence counts when it is over.
	wait_for 15 answers "$(grep -c 'bytes from' "$T/ping.log")"
	end_pid "$PING" INT
	sed -n 's/^\[\([0-9.]*\)\] .* bytes from.*/\1/p' "$T/ping.log" |
		awk 'NR > 1 && $1 - last > max { max = $1 - last } { last = $1 }
			END { printf "%d\n", max * 1000 }'
}

test_normal() {
	attach eth0 auto
	has "attaches in native mode, verified" "mode=native" "verified=1" "error=0"
	is "the program is on the interface" "$(xdp_mode server eth0)" native
	check "the server stays reachable" reachable
	line=$(in_ns server "$GUARD" "$BPFFS/g$attach_n" "$T/state" eth0 auto)
	has "a pinned link is adopted" "mode=native" "adopted=1"
	line=$(in_ns server "$GUARD" "$BPFFS/g$attach_n" "$T/state" eth0 generic)
	has "a mode that is wanted now replaces it" "mode=generic" "adopted=0" "verified=1"
	is "the program is there in generic mode" "$(xdp_mode server eth0)" generic
	detach
}

test_selftest() {
	attach -O "$DROPALL" eth0 auto
	has "a program that drops all fails its self-test" "mode=off" "self-test"
	is "nothing is attached" "$(xdp_mode server eth0)" off
}

test_drop_all() {
	local silence
	watch_reach
	attach -s -O "$DROPALL" eth0 auto
	has "a program that cuts the host off is taken off" "mode=off" "native mode: taken off" \
		"generic mode: taken off" "198.18.1.1"
	is "nothing is left attached" "$(xdp_mode server eth0)" off
	check "the server is reachable at once" wait_for 2 reachable
	silence=$(longest_silence)
	check "it was out of reach for at most 5 s ($silence ms)" [ "$silence" -le 5000 ]
	check "the trial did cut it off" [ "$silence" -ge 1000 ]
}

# The process stops or dies while the program is on trial.
test_death() {
	local start took
	spawn_in server "$T/trial.log" "$GUARD" -t -s -O "$DROPALL" "$BPFFS/t1" "$T/state" eth0 native
	wait_for 5 grep -qs TRIAL "$T/trial.log"
	is "on trial in native mode" "$(xdp_mode server eth0)" native
	check "the program drops everything" unreachable
	start=$(date +%s%N)
	check "a process that hangs: the guard lets everything pass" wait_for 6 reachable
	took=$((($(date +%s%N) - start) / 1000000))
	check "within 5 s ($took ms)" [ $took -le 5000 ]
	is "though the program is still attached" "$(xdp_mode server eth0)" native
	end_pid "$SPAWNED" KILL
	check "its death takes the program off" wait_for 2 has_xdp server eth0 off

	spawn_in server "$T/trial2.log" "$GUARD" -t -s -O "$DROPALL" "$BPFFS/t2" "$T/state" eth0 native
	wait_for 5 grep -qs TRIAL "$T/trial2.log"
	end_pid "$SPAWNED" KILL
	check "killed in the middle of attaching: reachable" wait_for 2 reachable
	is "and nothing attached" "$(xdp_mode server eth0)" off
	check "nothing was pinned" [ -z "$(find "$BPFFS/t2" -name 'pc4_link_*')" ]
}

has_xdp() {
	[ "$(xdp_mode "$1" "$2")" = "$3" ]
}

test_neighbours() {
	# In the table as reachable, but silent: what was known before must not count.
	ip -n "$(ns server)" neigh replace 198.18.1.1 lladdr "$(mac_of gateway s0)" nud permanent \
		dev eth0
	ip -n "$(ns server)" -6 route del default
	ip -n "$(ns gateway)" link set s0 arp off
	attach eth0 auto
	has "a neighbour known from before proves nothing" "mode=native" "verified=0" \
		"could not be verified"
	detach
	ip -n "$(ns gateway)" link set s0 arp on
	ip -n "$(ns server)" neigh del 198.18.1.1 dev eth0

	ip -n "$(ns server)" route del default
	in_ns server ping -c 1 -W 1 198.18.1.1 >/dev/null
	attach eth0 auto
	has "without a gateway a recent neighbour is asked" "mode=native" "verified=1"
	detach
	route server add default via 198.18.1.1
	route server add default via fd18:1::1

	ip -n "$(ns server)" addr del 198.18.1.2/24 dev eth0
	attach eth0 auto
	has "an IPv6 gateway alone is enough" "mode=native" "verified=1"
	detach
	attach -s -O "$DROPALL" eth0 generic
	has "and its silence is noticed" "mode=off" "generic mode: taken off" "fd18:1::1"
	addr server eth0 198.18.1.2/24
	route server add default via 198.18.1.1
}

test_vlan() {
	ip -n "$(ns gateway)" link add link s0 name s0.7 type vlan id 7 2>/dev/null || {
		skip "a gateway behind a VLAN sub-interface" "this kernel has no 802.1Q"
		return
	}
	ip -n "$(ns server)" addr flush dev eth0
	ip -n "$(ns server)" link add link eth0 name eth0.7 type vlan id 7
	ip -n "$(ns server)" link set eth0.7 up
	ip -n "$(ns gateway)" link set s0.7 up
	addr server eth0.7 198.18.7.2/24
	addr gateway s0.7 198.18.7.1/24
	route server add default via 198.18.7.1
	attach eth0 auto
	has "a gateway behind a VLAN sub-interface counts" "mode=native" "verified=1"
	detach
	attach -s -O "$DROPALL" eth0 generic
	has "and is protected" "mode=off" "198.18.7.1"
	ip -n "$(ns server)" link del eth0.7
	ip -n "$(ns gateway)" link del s0.7
	addr server eth0 198.18.1.2/24 fd18:1::2/64
	route server add default via 198.18.1.1
}

test_refusals() {
	xdp_pass server eth0
	attach eth0 auto
	has "another program's interface is left alone" "mode=off" "another XDP program"
	end_pid "$SPAWNED"
	attach nosuch0 auto
	has "an interface that does not exist is named" "mode=off" "nosuch0 does not exist"
	ip -n "$(ns server)" link add down0 type veth peer name down1
	attach down0 auto
	has "an interface that is down is named" "mode=off" "down0 is down"
	attach lo native
	has "a driver that cannot do it is named" "mode=off" "native mode: the driver cannot do it"
}

test_watch() {
	spawn_in server "$T/watch.log" "$GUARD" -k "$BPFFS/w" "$T/state" eth0 auto
	wait_for 10 grep -q 'mode=native' "$T/watch.log"
	ip -n "$(ns server)" link del eth0
	check "an interface that goes away is noticed" \
		wait_for 5 grep -q 'mode=off.*eth0 is gone' "$T/watch.log"
	check "its pin goes too" [ -z "$(find "$BPFFS/w" -name 'pc4_link_*')" ]
	veth server eth0 gateway s0
	addr gateway s0 198.18.1.1/24
	addr server eth0 198.18.1.2/24
	route server add default via 198.18.1.1
	check "when it is back the program is attached again" wait_for 10 has_xdp server eth0 native
	check "verified" wait_for 10 eval 'tail -n 1 "$T/watch.log" | grep -q "mode=native verified=1"'
	check "and the server is reachable" wait_for 2 reachable
	end_pid "$SPAWNED"
	rm -f "$BPFFS"/w/pc4_link_*
}

# The daemon itself.
test_daemon() {
	pcd_config "$T/pcd.conf" "relay listen = 198.18.1.2:3478" "relay interface = eth0"
	export PCD_TEST_OBJECT=$DROPALL
	watch_reach
	start_pcd server "$T/pcd.conf"
	check "pcd with a program that drops all runs" pcd_lives
	is "without the program" "$(xdp_mode server eth0)" off
	line=$(grep 'eth0' "$T/pcd.log")
	has "and says why" "self-test"
	stop_pcd
	line=$(longest_silence)
	check "the server stayed reachable ($line ms)" [ "$line" -le 2000 ]
	unset PCD_TEST_OBJECT
	rm -rf "$BPFFS/pcd"

	for ms in 0 30 60 90 120 150; do
		spawn_in server "$T/early.log" "$PC_BIN/pcd" -c "$T/pcd.conf"
		sleep "0.$(printf %03d $ms)"
		end_pid "$SPAWNED" KILL
		reachable || not_ok "pcd killed $ms ms after its start: reachable"
	done
	ok "pcd killed in the middle of its start: reachable"

	start_pcd server "$T/pcd.conf"
	is "pcd attaches its own program" "$(xdp_mode server eth0)" native
	pcd_kill9
	is "which outlives it" "$(xdp_mode server eth0)" native
	check "pcctl takes it off without a daemon" \
		in_ns server "$PC_BIN/pcctl" -s "$SOCKET" datapath off --bpffs "$BPFFS/pcd"
	is "at once" "$(xdp_mode server eth0)" off
	check "and the server is reachable" reachable
}

test_normal
test_selftest
test_drop_all
test_death
test_neighbours
test_vlan
test_refusals
test_watch
if [ -x "$PC_BIN/pcd" ]; then
	test_daemon
else
	skip "the daemon" "not built"
fi
finish
