#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The benchmark: tools/bench/run.sh [--quick] [--patience SECONDS] [--out DIR]
#   --quick      one short repetition: whether it works, not how fast it is
#   --patience   how long, in all, to wait for other processes to leave the CPUs alone (60)
#   --out        where report.json, report.txt and relay.svg go (build/bench)
# Takes up to five minutes and the patience.
#
# What is measured, in one run on one machine, so that ratios can be compared:
#  1. the XDP program beside an empty one (prog_cost), by number of sessions (scale_cost), and the
#     limiter alone, from one CPU and from two, beside a bucket under a spin lock (limit_cost);
#     what handshakes of native peers cost (handshake_cost);
#  2. packets relayed per CPU-second, from end to end over veth, through coturn, through pcd in user
#     space, and through pcd in XDP, generic and native;
#  3. what pcpeer carries, through a relay and directly (peers.sh).
#
# The definition, the same for all: N delivered packets (counted by an XDP program at the peer)
# divided by (CPU-seconds the whole machine was busy - CPU-seconds the same generator needs to send
# the same frames straight to the same sink). So the relay's side of the kernel, the second cable and
# whatever is moved to other threads or soft interrupts counts as the relay's cost.
#
# Two generators, because a relay in user space cannot take what XDP takes. User space gets its
# frames from a packet socket, at a rate it sustains without loss, in bursts that let it work in
# batches; the buffers it receives are allocated by the generator, so that cost is not the relay's.
# It gets them in two ways: one by one, so that the kernel cannot put any together, and a burst at
# once ("together"), as a driver's poll hands over what came in.
# XDP gets live frames, as from a driver, as fast as one CPU can: generator, relay and sink share it,
# with at most 176 frames under way, so that no queue of the test bed overflows when the kernel moves
# one to another CPU.
#
# The baseline is taken anew in each repetition, just before what it is subtracted from. Other
# processes spoil the figures: runs wait for a quiet moment, are repeated when it was none, and are
# left out where that did not help. The report says which.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tools/bench/lib.sh

quick=0 out=$PC_BUILD/bench
repetitions=9 cost_rounds=2000 scale_args=60 limit_rounds=400 live=2000000 paced=50000 rate=50000
sizes=(160 20 1200)

usage() {
	echo "usage: tools/bench/run.sh [--quick] [--patience SECONDS] [--out DIR]" >&2
	exit 2
}

parse_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--quick) quick=1 ;;
		--patience)
			[[ ${2:-} =~ ^[0-9]{1,5}$ ]] || usage
			shift
			PATIENCE=$1
			;;
		--out)
			[ $# -ge 2 ] || usage
			shift
			out=$1
			;;
		*) usage ;;
		esac
		shift
	done
	[ $quick = 0 ] || {
		repetitions=1 cost_rounds=50 scale_args="10 65536" limit_rounds=20 live=200000 paced=10000 PATIENCE=0
	}
}

say() {
	printf 'bench %3d s: %s\n' "$SECONDS" "$*"
}

check_machine() {
	local tool
	[ "$(id -u)" = 0 ] || die "needs root for network namespaces"
	for tool in turnserver jq gnuplot ethtool taskset; do
		command -v $tool >/dev/null || die "$tool is not installed"
	done
	for tool in "$PC_BIN/pcd" "$PC_BUILD/bench/relay_load" "$PC_BUILD/bench/prog_cost" \
		"$PC_BUILD/bench/scale_cost" "$PC_BUILD/bench/handshake_cost" \
		"$PC_BUILD/bench/limit_cost"; do
		[ -x "$tool" ] || die "$tool is not built: make benches"
	done
	mkdir -p "$out" || die "cannot make $out"
}

# Lowers the rate until both relays in user space lose nothing.
find_rate() {
	local name lost _
	for _ in 1 2 3 4 5; do
		lost=0
		for name in coturn user; do
			wait_quiet
			measure $name 160 $((rate / 5)) $rate
			lost=$((lost + $(jq '.sent - .delivered' <<<"$LINE")))
		done
		[ $lost != 0 ] || return 0
		rate=$((rate * 6 / 10))
	done
	say "relays in user space lose packets even at $rate/s"
}

# one REP RELAY PAYLOAD COUNT [RATE [together]]
one() {
	local rep=$1
	shift
	if [ $quick = 1 ]; then measure "$@"; else measure_quiet "$@"; fi
	jq -c --argjson rep "$rep" '. + {rep: $rep}' <<<"$LINE" >>"$T/runs.jsonl"
	say "$(jq -r --arg rep "$rep/$repetitions" '"\($rep) \(.relay)"
		+ "\(if .together then " together" else "" end), \(.payload) B: \(.busy / .sent * 1e9 | round) ns busy a packet, "
		+ "\(.sent - .delivered) of \(.sent) lost\(if .loud then ", disturbed" else "" end)"
		' <<<"$LINE")"
}

repetition() {
	local rep=$1 size name how
	for how in '' together; do
		for name in direct coturn user; do
			one "$rep" $name 160 $paced $rate $how
		done
	done
	for size in "${sizes[@]}"; do
		one "$rep" direct "$size" $live
		for name in native generic; do
			[[ " ${RELAYS[*]} " != *" $name "* ]] || one "$rep" $name "$size" $live
		done
	done
}

conditions() {
	other_busy 1
	jq -n --arg date "$(date -u +%Y-%m-%dT%H:%MZ)" --arg kernel "$(uname -r)" \
		--arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		--argjson cpus "$(nproc --all)" --arg pcd "$("$PC_BIN/pcd" -V | head -n 1)" \
		--arg coturn "$(dpkg-query -W -f='${Version}' coturn 2>/dev/null || echo unknown)" \
		--arg clang "$(clang --version 2>/dev/null | head -n 1)" \
		--argjson before "$before" --argjson after "$OTHER" \
		--argjson rate $rate --argjson repetitions "$done_repetitions" \
		--argjson repeated $REPEATED --argjson gen "$GEN_CPU" --argjson relay "$RELAY_CPU" \
		--argjson quick $quick \
		'{date: $date, kernel: $kernel, cpu: $cpu, cpus: $cpus, pcd: $pcd, coturn: $coturn,
		clang: $clang, other_before: $before, other_after: $after, rate: $rate,
		repetitions: $repetitions, repeated: $repeated, generator_cpu: $gen,
		relay_cpu: $relay, quick: ($quick == 1)}'
}

plot() {
	jq -r '.relays | map(select(.payload == 160 and .packets_per_cpu_second.median
		and .generator != "together"))
		| sort_by({coturn: 0, user: 1, generic: 2, native: 3}[.relay])
		| to_entries[] | [.key, "\"" + {coturn: "coturn", user: "pcd, user space",
		generic: "pcd, XDP generic", native: "pcd, XDP native"}[.value.relay] + "\"",
		(.value.packets_per_cpu_second
		| .median, (.min // .median), (.max // .median))] | join(" ")' \
		"$T/report.json" >"$T/relay.dat" || return 1
	rm -f "$out/relay.svg"
	if [ ! -s "$T/relay.dat" ]; then
		say "no plot: other processes spoiled every figure"
		return
	fi
	gnuplot -e "data='$T/relay.dat'; out='$out/relay.svg'" tools/bench/relay.gp
}

plot_scale() {
	jq -r '.scale.points[] | "\(.sessions) \(.ns) \(.one_ns)"' "$T/scale.json" >"$T/scale.dat" &&
		gnuplot -e "data='$T/scale.dat'; out='$out/scale.svg'" tools/bench/scale.gp
}

report() {
	conditions >"$T/conditions.json" || return 1
	jq -s --slurpfile c "$T/conditions.json" --slurpfile p "$T/prog_cost.json" \
		--slurpfile s "$T/scale.json" --slurpfile h "$T/handshake.json" \
		--slurpfile l "$T/limit.json" --slurpfile peers "$T/peers.json" \
		"(\$h[0]) as \$handshake | (\$l[0].limit_cost) as \$limit_cost | (\$s[0].scale.points) as \$scale | (\$c[0]) as \$conditions | (\$p[0].prog_cost.cases) as \$prog_cost |
		$(cat tools/bench/report.jq) + {peers: \$peers[0]}" "$T/runs.jsonl" >"$T/report.json" &&
		jq -r -f tools/bench/report_text.jq "$T/report.json" >"$T/report.txt" || return 1
	cp "$T/report.json" "$T/report.txt" "$out"/ && plot_scale && plot
}

parse_options "$@"
# No repetition begins later than this.
last_start=$((180 + PATIENCE))
check_machine
need_root
other_busy 1
before=$OTHER
say "other processes use $before % of the CPUs"
say "XDP program beside an empty one"
"$PC_BUILD/bench/prog_cost" -j $cost_rounds >"$T/prog_cost.json" || die "prog_cost failed"
say "the same by number of sessions"
# shellcheck disable=SC2086
"$PC_BUILD/bench/scale_cost" -j $scale_args >"$T/scale.json" || die "scale_cost failed"
say "handshakes of native peers"
"$PC_BUILD/bench/handshake_cost" -j >"$T/handshake.json" || die "handshake_cost failed"
say "limiters alone"
"$PC_BUILD/bench/limit_cost" -j $limit_rounds >"$T/limit.json" || die "limit_cost failed"
relays_up
say "up: ${RELAYS[*]}"
bind_all
find_rate
done_repetitions=0
for ((rep = 1; rep <= repetitions && SECONDS < last_start; rep++)); do
	repetition "$rep"
	done_repetitions=$rep
done
end_clients
say "pcpeer"
peers_args=(--json)
[ $quick = 0 ] || peers_args+=(--quick)
tools/bench/peers.sh "${peers_args[@]}" >"$T/peers.json" 2>"$T/peers.err" || {
	say "no figures of pcpeer: $(tail -n 1 "$T/peers.err")"
	echo '[]' >"$T/peers.json"
}
report || die "cannot write the report"
echo
cat "$out/report.txt"
echo
ls "$out"/report.json "$out"/report.txt "$out"/relay.svg 2>/dev/null
