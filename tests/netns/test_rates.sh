#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 150
#
# A tenant gets his rate and not more, at any time, by UDP that sends too much and by real TCP, up and
# down; what is refused is counted; a new rate holds at once. How close TCP comes to the rate is the
# benchmark's question (tools/bench/rates.sh): here it must only not be starved.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_rates.sh
source "$(dirname "$0")/lib_rates.sh"
need_root
command -v iperf3 >/dev/null || skip_all "iperf3 is not installed"
[ -c /dev/net/tun ] || skip_all "no TUN devices on this kernel"
mount_bpffs
relayed || exit 1

# tcp LIMIT NAME
tcp() {
	local cc
	for cc in cubic reno; do
		one_flow "$1" 50 $cc 1 20 3 4 || exit 1
		check "$2, $cc: the test bed lost nothing" holds .clean "$FLOW"
		check "$2, $cc: never more than its peak" holds '.peak < 1.9' "$FLOW"
		check "$2, $cc: not starved" holds '.share > 0.5' "$FLOW"
		check "$2, $cc: drops are counted" holds '.drops > 0' "$FLOW"
	done
}

# blast NAME COUNT: 100 Mbit/s of datagrams, 1228 bytes as the relay sends them.
blast() {
	in_ns client "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user "$1" --password p \
		--peer 198.18.2.2:42000 --size 1200 --rate 10000 --count "$2" >"$T/blast.json" 2>"$T/blast.log"
}

usage() {
	pcstat -j tenant "$1" | jq -c '.tenants[0]'
}

# bounded MOST LEAST FROM_MS TO_MS: Mbit/s, and 60 ms of them at once.
bounded() {
	holds ".mbit <= $1 * (1 + 60 / ($4 - $3)) and .mbit > $2" "$(bins "$T/bins" t "$3" "$4")"
}

udp() {
	local u sender changed
	line_start 2500 l0,m0,t || exit 1
	new_tenant u --rate 20M || exit 1
	blast u 30000
	check "$1, UDP: the line lost nothing" line_stop
	u=$(usage u)
	is "$1, UDP: what did not pass is a drop of the rate" \
		"$(jq '.up.packets + .drops.rate' <<<"$u")" "$(jq .sent "$T/blast.json")"
	is "$1, UDP: what passed arrived" "$(bins "$T/bins" t 0 99999 | jq .packets)" \
		"$(jq .up.packets <<<"$u")"
	# A new tenant has a tenth of a second saved up, and spends it at its peak.
	check "$1, UDP: the rate, when what was saved is spent" bounded 20 16 1000 2900
	line_start 2500 l0,m0,t || exit 1
	blast u 45000 &
	sender=$!
	wait_for 10 eval '[ -s "$T/bins" ] && [ "$(wc -l <"$T/bins")" -gt 150 ]'
	pcctl tenant set u --rate 40M >"$T/out"
	changed=$(now_ms)
	wait $sender
	check "$1, changed: the line lost nothing" line_stop
	# What was used up at the old rate is less time at the new one: up to the peak.
	check "$1, changed: the new rate holds" bounded 54 32 $((changed + 200)) $((changed + 2200))
	pcctl tenant del u >"$T/out"
}

# The limiter in the line is the relay's own.
pcd_config "$T/pcd.conf" "relay xdp = off"
start_pcd relay "$T/pcd.conf" || exit 1
tcp clock "in the line"
for mode in off native; do
	limited $mode || {
		skip "xdp = $mode" "pcd does not limit tenants there"
		continue
	}
	pcctl shutdown >"$T/out"
	wait "$PCD_PID"
	rm -rf "$T/state"
	pcd_config "$T/pcd.conf" "relay xdp = $mode"
	start_pcd relay "$T/pcd.conf" || exit 1
	[ $mode = off ] || tcp pcd "xdp = $mode"
	udp "xdp = $mode"
done
finish
