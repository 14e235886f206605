#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 120
#
# WireGuard between two peers behind symmetric NATs, in user space, with datagrams as large as the
# way takes: what goes through the tunnel arrives, and the relay forwards it in the kernel.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_native.sh
source "$(dirname "$0")/lib_native.sh"
for tool in wireguard-go wg iperf3; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
[ -c /dev/net/tun ] || skip_all "there is no /dev/net/tun here"
begin_native || exit 1
start_relay 1 "xdp = native" || exit 1
know_peers 1 || exit 1
start_peer a 1 || exit 1
start_peer b 1 || exit 1
peer b expose udp:51820 --to 127.0.0.1:51820 --allow "$A" >/dev/null
peer a connect "$B" udp:51820 --listen 127.0.0.1:51820 >/dev/null
check "a session end to end" wait_for 10 is_now a '.connects[0].ready' true

# The name of the device is also that of a socket of the host: one of this test's own.
dev() { echo "wg$1$$"; }
for side in a b; do
	(umask 077 && wg genkey >"$T/wg-$side.key")
	spawn_in $side "$T/wg-$side.log" env WG_PROCESS_FOREGROUND=1 wireguard-go -f "$(dev $side)"
	wait_for 10 test -S "/var/run/wireguard/$(dev $side).sock"
done
in_ns b wg set "$(dev b)" private-key "$T/wg-b.key" listen-port 51820 \
	peer "$(wg pubkey <"$T/wg-a.key")" allowed-ips 10.9.0.1/32
in_ns a wg set "$(dev a)" private-key "$T/wg-a.key" \
	peer "$(wg pubkey <"$T/wg-b.key")" allowed-ips 10.9.0.2/32 endpoint 127.0.0.1:51820
addr a "$(dev a)" 10.9.0.1/24
addr b "$(dev b)" 10.9.0.2/24
for side in a b; do ip -n "$(ns $side)" link set "$(dev $side)" mtu 1360 up; done

pings() { in_ns a ping -c 1 -W 1 10.9.0.2 >/dev/null; }
check "ping through the tunnel" wait_for 10 pings
lost=$(in_ns a ping -q -c 200 -i 0.005 -s 1332 -M 'do' 10.9.0.2 | sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p')
is "the largest packets, 200 of them: none lost" "$lost" 0
spawn_in b "$T/iperf-b.log" iperf3 -s -B 10.9.0.2
wait_for 5 in_ns b bash -c 'ss -Hltn sport = :5201 | grep -q .'
in_ns a timeout 30 iperf3 -c 10.9.0.2 -t 4 -J >"$T/tcp.json" 2>"$T/iperf.err"
check "TCP through the tunnel" [ "$(jq '.end.sum_received.bytes // 0' "$T/tcp.json")" -gt 1000000 ]
echo "# $(jq -c '.end.sum_received.bits_per_second / 1e6 | round' "$T/tcp.json") Mbit/s"
# WireGuard's socket has room for 50 ms of this: where the machine stands still it is full, and this is
# measured again, three times at most.
for try in 1 2 3; do
	before=$(overflows b)
	in_ns a timeout 30 iperf3 -u -c 10.9.0.2 -b 20M -l 1332 -t 3 -J >"$T/udp.json" 2>>"$T/iperf.err"
	[ "$(overflows b)" != "$before" ] || break
	diag <<<"try $try: a socket was full"
done
is "UDP through the tunnel: nothing lost" "$(jq '.end.sum.lost_packets' "$T/udp.json")" 0 ||
	diag <"$T/iperf.err"
is "it stayed on the relay" "$(status a '.peers[0].way')" relay
relay_ctl 1 pcstat -j tenant mesh | jq -c '.tenants[0] | {up, down, kernel, user, drops}' | diag
is "no data in the relay's user space" "$(relay_ctl 1 pcstat -j tenant mesh | jq '.tenants[0].user.packets')" 0
finish
