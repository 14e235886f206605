#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 60
#
# Strangers are limited in the kernel, as configured and at once after SIGHUP; data of a session from
# the same address is not.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star_native
in_ns client ping -c 1 -W 2 fd18:1::1 >/dev/null

configure() {
	pcd_config "$T/pcd.conf" "relay xdp = native" "relay listen = 198.18.1.1:3478" \
		"relay listen = [fd18:1::1]:3478" "relay relay-address = 198.18.2.1" \
		"relay interface = c0" "relay interface = p0" "$@"
}
configure "relay stranger-rate = 20" "relay stranger-net-rate = 0"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p || exit 1

dropped() { pcstat -j drops | jq '.drops[] | select(.name == "source_rate") | .kernel'; }

# indications ADDRESS PORT N: Binding indications, which nobody answers
indications() {
	# shellcheck disable=SC2016
	in_ns client bash -c '
		exec 3>"/dev/udp/$1/$2"
		for ((i = 0; i < $3; i++)); do
			printf "\0\21\0\0\41\22\244\102abcdefghijkl" >&3
		done' indications "$@"
}

# Bursts of 40, and whatever 20 a second add meanwhile.
indications 198.18.1.1 3478 400
n=$(dropped)
check "over the limit they are dropped ($n of 400)" [ "$n" -ge 200 ]
check "and those under it are not" [ "$n" -le 360 ]
indications fd18:1::1 3478 400
check "of both families" [ "$(dropped)" -ge $((n + 200)) ]
check "pcstat shows them by name" grep -q source_rate <(pcstat drops)

# The same address has a session: its data is no stranger's.
peer_sink 198.18.2.2:7000 2000 3000 echo
n=$(dropped)
in_ns client timeout 30 "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user u --password p \
	--peer 198.18.2.2:7000 --count 2000 --rate 10000 --echo --send >"$T/load.json" 2>"$T/load.err"
is "data of a session is not limited" "$(jq -c '[.ok, .echoed_distinct]' "$T/load.json")" "[true,2000]"
# Its first requests may have been, and were sent again.
check "and none of it counted as a stranger's" [ "$(dropped)" -le $((n + 10)) ]

configure "relay stranger-rate = 0" "relay stranger-net-rate = 0"
kill -HUP "$PCD_PID"
wait_for 5 grep -q "configuration reloaded" "$T/pcd.log"
n=$(dropped)
indications 198.18.1.1 3478 1000
is "without a limit nothing is dropped" "$(dropped)" "$n"
configure "relay stranger-rate = 0" "relay stranger-net-rate = 30"
kill -HUP "$PCD_PID"
wait_for 5 grep -qz "configuration reloaded.*configuration reloaded" "$T/pcd.log"
indications 198.18.1.1 3478 400
check "a network has its own limit" [ "$(dropped)" -ge $((n + 200)) ]
finish
