#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 400
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
		again 5 ".clean and .peak < 1.9 and .share > 0.5 and .drops > 0" one_flow "$1" 50 $cc 1 20 3 4
		check "$2, $cc: the test bed lost nothing" holds .clean "$FLOW"
		check "$2, $cc: never more than its peak" holds '.peak < 1.9' "$FLOW"
		if holds "$in_time or (.share > 0.5 and .drops > 0)" "$FLOW"; then
			check "$2, $cc: not starved" holds '.share > 0.5' "$FLOW"
			check "$2, $cc: drops are counted" holds '.drops > 0' "$FLOW"
		else
			skip "$2, $cc: not starved" "the machine stood still, five times"
			skip "$2, $cc: drops are counted" "the machine stood still, five times"
		fi
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

# figures CLEAN NAME FROM_MS TO_MS: what passed in that time, and all that was counted
figures() {
	# shellcheck disable=SC2034 # for holds
	FLOW=$(jq -cn --argjson clean "$1" --argjson u "$(usage "$2")" --argjson ms $(($4 - $3)) \
		--argjson sent "$(jq .sent "$T/blast.json")" --argjson bins "$(bins "$T/bins" t "$3" "$4")" \
		--argjson arrived "$(bins "$T/bins" t 0 99999 | jq .packets)" \
		'{clean: $clean, mbit: $bins.mbit, ms: $ms, sent: $sent, arrived: $arrived,
		passed: $u.up.packets, dropped: $u.drops.rate}')
}

# A new tenant has a tenth of a second saved up, and spends it at its peak: not looked at.
steady() {
	local clean=true
	udp_n=$((udp_n + 1))
	line_start 2500 l0,m0,t || return 1
	new_tenant u$udp_n --rate 20M || return 1
	blast u$udp_n 30000
	line_stop || clean=false
	figures $clean u$udp_n 1000 2900
}

# What was used up at the old rate is less time at the new one: up to the peak.
changed() {
	local sender at clean=true
	udp_n=$((udp_n + 1))
	line_start 2500 l0,m0,t || return 1
	new_tenant u$udp_n --rate 20M || return 1
	blast u$udp_n 45000 &
	sender=$!
	wait_for 10 eval '[ -s "$T/bins" ] && [ "$(wc -l <"$T/bins")" -gt 150 ]'
	pcctl tenant set u$udp_n --rate 40M >"$T/out"
	at=$(now_ms)
	wait $sender
	line_stop || clean=false
	figures $clean u$udp_n $((at + 200)) $((at + 2200))
}

# bounded MOST LEAST: a filter; Mbit/s, and 60 ms of them at once
bounded() {
	echo ".mbit <= $1 * (1 + 60 / .ms) and .mbit > $2"
}

udp_n=0

udp() {
	again 5 ".clean and $(bounded 20 12)" steady
	check "$1, UDP: the line lost nothing" holds .clean "$FLOW"
	check "$1, UDP: what did not pass is a drop of the rate" holds '.passed + .dropped == .sent' "$FLOW"
	check "$1, UDP: what passed arrived" holds '.arrived == .passed' "$FLOW"
	check "$1, UDP: the rate, when what was saved is spent" holds "$(bounded 20 12)" "$FLOW"
	again 5 ".clean and $(bounded 54 26)" changed
	check "$1, changed: the line lost nothing" holds .clean "$FLOW"
	check "$1, changed: no packet is lost but by the rate" \
		holds '.passed + .dropped == .sent and .arrived == .passed' "$FLOW"
	check "$1, changed: the new rate holds" holds "$(bounded 54 26)" "$FLOW"
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
