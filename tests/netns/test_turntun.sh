#!/bin/bash
# SPDX-License-Identifier: MIT
#
# TCP through a relay: a TUN device at each end of an allocation. What the relay, the tunnel and the
# line count is equal; a file arrives as it was; ECN goes through the relay and comes back as CE.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_rates.sh
source "$(dirname "$0")/lib_rates.sh"
need_root
for tool in iperf3 socat; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
[ -c /dev/net/tun ] || skip_all "no TUN devices on this kernel"
mount_bpffs
relayed || exit 1
pcd_config "$T/pcd.conf" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p >"$T/out" || exit 1

tunnel_field() { jq ".$2" "$T/tun-$1.json"; }

line_start 5000 l0,m0,t || exit 1
tunnel 1 u || exit 1
head -c 8000000 /dev/urandom >"$T/sent"
spawn_in v1 "$T/socat.log" socat -u TCP4-LISTEN:7000,bind=10.9.1.2 "CREATE:$T/got"
reader=$SPAWNED
wait_for 5 eval 'in_ns v1 ss -Htln | grep -q :7000'
in_ns u1 timeout 30 socat -u "FILE:$T/sent" TCP4:10.9.1.2:7000
wait "$reader"
check "a file of 8 MB arrives as it was" cmp "$T/sent" "$T/got"
check "no loss in the tunnel" tunnel_stop 1
check "none in the line" line_stop
usage=$(pcstat -j tenant u | jq -c '.tenants[0]')
# The greeting is one datagram of one byte each way at least: it is repeated until answered.
is "up: the relay counts what the tunnel sent and received" \
	"$(jq '.up | [.packets, .payload_bytes] | map(. - 1) == $t' --argjson t \
		"[$(tunnel_field v1 in.packets),$(tunnel_field v1 in.bytes)]" <<<"$usage")" true
is "down: too" \
	"$(jq '.down | [.packets, .payload_bytes] | map(. - 1) == $t' --argjson t \
		"[$(tunnel_field u1 in.packets),$(tunnel_field u1 in.bytes)]" <<<"$usage")" true
is "none was lost on the way" "$(tunnel_field u1 out.packets) $(tunnel_field v1 out.packets)" \
	"$(tunnel_field v1 in.packets) $(tunnel_field u1 in.packets)"
# The greeting may come before the relay knows its neighbours.
check "all but greetings in the kernel" \
	holds '.turn.data_up + .turn.data_down <= 2' "$(pcstat -j health)"

# Marks of the line between relay and peer go up; those of a relay would take the same way.
line_start 5000 l0,m0,t,mark:20M:100000 || exit 1
tunnel 2 u --ecn || exit 1
in_ns u2 sysctl -qw net.ipv4.tcp_ecn=1
in_ns v2 sysctl -qw net.ipv4.tcp_ecn=1
serve v2 10.9.2.2
flows "$T/ecn.json" u2 10.9.2.2 reno 1 0 3
check "ECN: no loss in the tunnel" tunnel_stop 2
check "ECN: none in the line" line_stop
marked=$(jq '.pairs[0].up.marked' "$T/line.json")
check "ECN: the line marked ($marked)" [ "$marked" -gt 5 ]
is "ECN: and each mark came to the receiver" "$(tunnel_field v2 in.ce)" "$marked"
is "ECN: which told the sender: nothing was dropped" \
	"$(jq '.pairs[0].up.dropped' "$T/line.json") $(jq .end.sum_sent.retransmits "$T/ecn.json")" "0 0"
rate=$(jq '.end.sum_received.bits_per_second / 1e6 | round' "$T/ecn.json")
check "ECN: who slowed down ($rate Mbit/s)" [ "$rate" -lt 60 ]
finish
