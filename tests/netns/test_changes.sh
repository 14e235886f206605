#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 120
#
# While a tenant sends, the network around the relay changes: a neighbour goes missing and gets
# another address, the route to the peer moves to another interface and back, an interface goes down
# and up, its MTU shrinks. Every byte of every frame that reaches the peer is looked at
# (tests/helpers/wirecheck.c); after each change they come by the new way, and through the kernel.
#
#   client eth0 --- c0 relay p0 198.18.2.1 --- 198.18.2.2 eth0 peer 198.18.9.9
#                            p1 198.18.4.1 --- 198.18.4.2 eth1
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_relay.sh
source "$(dirname "$0")/lib_relay.sh"
need_root
mount_bpffs
topo_star
veth relay p1 peer eth1
addr relay p1 198.18.4.1/24
addr peer eth1 198.18.4.2/24
addr peer lo 198.18.9.9/32
route relay add 198.18.9.9/32 via 198.18.2.2
xdp_pass client eth0 2>/dev/null || skip_all "no native XDP on veth here"
xdp_pass peer eth0 eth1
in_ns peer sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 \
	net.ipv4.conf.eth1.rp_filter=0
pcd_config "$T/pcd.conf" "relay listen = 198.18.1.1:3478" "relay relay-address = 198.18.2.1" \
	"relay interface = c0" "relay interface = p0" "relay interface = p1" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p >/dev/null || exit 1

wires=()
for dev in eth0 eth1; do
	spawn_in peer "$T/$dev.wire" "$PC_HELPERS/wirecheck" $dev 198.18.2.1 198.18.9.9:7000 160
	wait_for 5 grep -qs ready "$T/$dev.wire"
	wires+=("$SPAWNED")
done
peer_sink 198.18.9.9:7000 10000000 600000
PEER=198.18.9.9:7000 hold sender 60000 1000 || exit 1
go sender

kernel() { pcstat -j tenant u | jq '.tenants[0].kernel.packets'; }
user() { pcstat -j tenant u | jq '.tenants[0].user.packets'; }

last_macs() { grep MACS "$T/$1.wire" | tail -n 1; }
arrives_by() { [ "$(last_macs "$1")" = "MACS $(mac_of peer "$1") $(mac_of relay "$2")" ]; }
flowing() { [ "$(kernel)" -ge $((counted + 200)) ] && [ "$(user)" = "$relayed" ]; }
# In the kernel: 200 more there, and none in user space meanwhile.
in_kernel() {
	counted=$(kernel) relayed=$(user)
	wait_for 2 flowing
}

# comes NAME PEER_IF RELAY_IF: with that link header, through the kernel
comes() {
	if wait_for 20 arrives_by "$2" "$3"; then
		ok "$1: frames come from $3 to $2"
	else
		not_ok "$1: frames come from $3 to $2" "$(last_macs "$2"), not $(mac_of peer "$2") $(mac_of relay "$3")"
	fi
	check "$1: through the kernel" wait_for 30 in_kernel
}

comes "at first" eth0 p0

ip -n "$(ns relay)" neigh del 198.18.2.2 dev p0
comes "neighbour missing" eth0 p0

ip -n "$(ns peer)" link set eth0 address 02:00:00:00:00:66
in_ns peer ping -c 1 -W 1 198.18.2.1 >/dev/null
comes "neighbour changed" eth0 p0
is "neighbour changed: to its new address" "$(last_macs eth0 | cut -d ' ' -f 2)" 02:00:00:00:00:66

in_ns relay ping -c 1 -W 1 198.18.4.2 >/dev/null
route relay replace 198.18.9.9/32 via 198.18.4.2
comes "route changed" eth1 p1
route relay replace 198.18.9.9/32 via 198.18.2.2
comes "route changed back" eth0 p0

ip -n "$(ns relay)" link set p0 down
gone() { counted=$(kernel) && sleep 0.3 && [ "$(kernel)" = "$counted" ]; }
check "interface down: the kernel forwards nothing" wait_for 10 gone
ip -n "$(ns relay)" link set p0 up
route relay replace 198.18.9.9/32 via 198.18.2.2
comes "interface up" eth0 p0

ip -n "$(ns relay)" link set p0 mtu 150
smaller() { relayed=$(user) && sleep 0.3 && [ "$(user)" -gt "$relayed" ]; }
check "MTU too small: user space has it" wait_for 10 smaller
ip -n "$(ns relay)" link set p0 mtu 1500
comes "MTU as before" eth0 p0

end_pid "${held_pid[sender]}"
end_pid "${wires[0]}"
end_pid "${wires[1]}"
for dev in eth0 eth1; do
	line=$(tail -n 1 "$T/$dev.wire")
	check "$dev: frames were looked at ($(jq .frames <<<"$line"))" [ "$(jq .frames <<<"$line")" -ge 200 ]
	is "$dev: every byte of them was right" "$(jq .wrong <<<"$line")" 0 || grep WRONG "$T/$dev.wire" | diag
done
stop_pcd
is "pcd ends well" "$ENDED" 0
finish
