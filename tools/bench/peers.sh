#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Throughput of pcpeer: tools/bench/peers.sh [--quick] [--json]
#
# Two peers behind NATs, iperf3 over UDP with full datagrams as fast as it goes, through a relay in
# XDP and directly. What arrived is counted, and the CPU time of each peer beside it.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/netns/lib.sh
source tests/netns/lib.sh
# shellcheck source=tests/netns/lib_native.sh
source tests/netns/lib_native.sh
# shellcheck disable=SC2034 # there is no TAP to end
tap_finished=1

seconds=5 json=0
for option in "$@"; do
	case $option in
	--quick) seconds=1 ;;
	--json) json=1 ;;
	*)
		echo "usage: tools/bench/peers.sh [--quick] [--json]" >&2
		exit 2
		;;
	esac
done

die() {
	echo "peers: $*" >&2
	exit 1
}

for tool in iperf3 jq nft socat; do
	command -v $tool >/dev/null || die "$tool is not installed"
done
[ -x "$PC_BIN/pcpeer" ] || die "pcpeer is not built: make"

# Ticks of a process: user and system time.
ticks() {
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

# measure WAY RATE: a line of JSON
measure() {
	local a0 b0 a1 b1
	a0=$(ticks "${PEER_PID[a]}") b0=$(ticks "${PEER_PID[b]}")
	iperf "$2" $seconds 1400
	a1=$(ticks "${PEER_PID[a]}") b1=$(ticks "${PEER_PID[b]}")
	jq -c --arg way "$1" --argjson hz "$(getconf CLK_TCK)" --argjson a $((a1 - a0)) \
		--argjson b $((b1 - b0)) '.end.sum | (.packets - .lost_packets) as $n | {way: $way,
		mbit_per_second: (if $n > 0 then $n * 1400 * 8 / .seconds / 1e6 else 0 end),
		sent: .packets, lost: .lost_packets,
		sender_us_per_packet: (if .packets > 0 then $a / $hz / .packets * 1e6 else null end),
		receiver_us_per_packet: (if $n > 0 then $b / $hz / $n * 1e6 else null end)}' \
		"$T/iperf.json" || die "iperf3: $(head -n 3 "$T/iperf.err")"
}

# The fastest of some rates at which nothing, or next to nothing, is lost.
best() {
	local rate line kept=""
	for rate in 50M 100M 200M 400M 600M 800M 1000M 1400M 0; do
		line=$(measure "$1" $rate) || exit 1
		[ -n "$kept" ] || kept=$line
		[ "$(jq '.lost <= .sent / 1000' <<<"$line")" = true ] || break
		kept=$line
		[ $seconds -gt 1 ] || break
	done
	echo "$kept"
}

both() {
	wait_for 10 is_now a '.connects[0].ready' true || die "no session: $(status a .)"
	wait_for 10 is_now a '.peers[0].way' "$1" || die "not $1: $(status a .)"
	best "$1"
}

begin_native >&2 || die "no namespaces"
{
	start_relay 1 && know_peers 1 && start_peer a 1 && start_peer b 1 &&
		peer b trust add "$A" && peer b expose udp:5201 --to 127.0.0.1:5201 &&
		peer a connect "$B" udp:5201 --listen 127.0.0.1:5201
} >&2 || die "the peers do not come up"
both relay >"$T/results.jsonl" || exit 1
{
	nat_mode preserve
	end_pid "${PEER_PID[a]}"
	end_pid "${PEER_PID[b]}"
	start_peer b 1 && start_peer a 1 && peer b expose udp:5201 --to 127.0.0.1:5201 &&
		peer a connect "$B" udp:5201 --listen 127.0.0.1:5201
} >&2 || die "the peers do not come up again"
both direct >>"$T/results.jsonl" || exit 1
if [ $json = 1 ]; then
	jq -s . "$T/results.jsonl"
else
	jq -r '"pcpeer, \(.way): \(.mbit_per_second | round) Mbit/s, \(.lost) of \(.sent) lost, CPU per packet "
		+ "\(.sender_us_per_packet * 10 | round / 10) us sending, \(.receiver_us_per_packet * 10 | round / 10) us receiving"' \
		"$T/results.jsonl"
fi
