#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 200
#
# The benchmark comes to its end and reports; how fast things are is not asked here.
. "$(dirname "$0")/lib.sh"

need_root
for tool in turnserver jq gnuplot ethtool; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
for tool in relay_load prog_cost scale_cost handshake_cost limit_cost; do
	[ -x "$PC_BUILD/bench/$tool" ] || skip_all "not built: make benches"
done

report() {
	jq -e "$1" "$T/out/report.json" >/dev/null
}

# Another benchmark may be at work; those of the dead are left over.
no_namespace_left() {
	local pid
	for pid in $(ip netns list | sed -n 's/^pc\([0-9]*\)-\(coturn[crp]\|direct[cp]\).*/\1/p'); do
		kill -0 "$pid" 2>/dev/null || return 1
	done
}

timeout -k 10 170 "$TOP/tools/bench/run.sh" --quick --out "$T/out" >"$T/bench.log" 2>&1 &
bench_pid=$!
pids+=("$bench_pid")
wait $bench_pid
is "exit status" $? 0
check "the report is complete" report '.conditions.kernel and (.prog_cost | length) >= 8
	and (.goals | length) >= 8'
check "cost by number of sessions" report '.scale | length >= 7 and all(.[]; .ns > 0 and .one_ns > 0
	and .memory_bytes > 0)'
check "handshakes of native peers" report '.handshake.cases | length == 5 and all(.[]; .ns > 0)'
check "limiters alone" report '(.limit_cost.cases | length) == 4
	and all(.limit_cost.cases[]; .one != null)'
check "and its plot" grep -q '<svg' "$T/out/scale.svg"
for relay in coturn user native; do
	check "$relay delivered" report ".relays[] | select(.relay == \"$relay\" and .payload == 160)
		| .delivered > 0"
done
check "process time of the relays in user space" report '[.relays[]
	| select(.relay == "coturn" or .relay == "user") | .process_us_per_packet.median > 0]
	| length == 4 and all'
if command -v iperf3 >/dev/null && command -v nft >/dev/null && command -v socat >/dev/null; then
	check "pcpeer through a relay and directly" report '[.peers[] | select(.mbit_per_second > 0) | .way]
		== ["relay", "direct"]'
else
	skip "pcpeer through a relay and directly" "iperf3, nft or socat is not installed"
fi
check "every run has a baseline" report '[.relays[] | .ns_per_packet.median] | all(. != null)'
check "the text has the goals" grep -q '^Goals' "$T/out/report.txt"
if report '[.relays[] | select(.payload == 160) | .packets_per_cpu_second.median // empty] != []'; then
	check "the plot is SVG" grep -q '<svg' "$T/out/relay.svg"
else
	skip "the plot is SVG" "other processes spoiled every figure"
fi
check "no namespace is left" no_namespace_left
"$TOP/tools/bench/run.sh" --fast >/dev/null 2>&1
is "an unknown option is a usage error" $? 2
tail -n 20 "$T/bench.log" | diag
finish
