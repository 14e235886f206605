# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For tests and benchmarks of rates: sourced after lib.sh. Real TCP over a line with delay.
#
#   cable NS1 IF1 NS2 IF2        a veth without offloads: a frame is a packet, in one piece
#   direct N                     N cables with the line between: aI 198.18.I.1 --- 198.18.I.2 bI
#   line_start DELAY_US PAIR...  the delay line (see tests/helpers/delayline.c), log in $T/bins
#   line_stop                    its report in $T/line.json; fails when a packet was lost
#   serve NAME ADDRESS           an iperf3 server there
#   flows OUT NAME ADDRESS CC STREAMS WARM SECONDS [OPTION...]
#                                TCP from NAME, not counting the first WARM seconds; JSON in OUT
#   bins FILE NAME FROM_MS TO_MS what passed: JSON with mbit (mean), peak (highest 100 ms),
#                                packets, drops, dropped_bytes, marks; times count from the first bin
#   now_ms                       the clock of those logs
#   holds FILTER JSON            whether the jq filter says so; if not, prints the JSON

now_ms() {
	echo $((${EPOCHREALTIME/./} / 1000))
}

holds() {
	jq -e "$1" <<<"$2" >/dev/null || {
		diag <<<"$2"
		return 1
	}
}

# Room for the flows' windows at 200 ms; nothing learnt from the flow before.
tcp_settings() {
	in_ns "$1" sysctl -qw net.ipv4.tcp_no_metrics_save=1 \
		net.ipv4.tcp_rmem="4096 131072 67108864" net.ipv4.tcp_wmem="4096 65536 67108864"
}

# Frames in one piece have one time of arrival, and a limiter sees what a wire would carry.
plain() {
	in_ns "$1" ethtool -K "$2" tx off tso off gso off gro "${3:-off}" >/dev/null 2>&1
	in_ns "$1" tc qdisc replace dev "$2" root pfifo limit 20000
}

cable() {
	veth "$@"
	plain "$1" "$2"
	plain "$3" "$4"
}

direct() {
	local i
	ns_add line
	for ((i = 1; i <= $1; i++)); do
		ns_add "a$i" "b$i"
		cable "a$i" eth0 line "l$i"
		cable "b$i" eth0 line "m$i"
		addr "a$i" eth0 "198.18.$i.1/24"
		addr "b$i" eth0 "198.18.$i.2/24"
		tcp_settings "a$i"
		tcp_settings "b$i"
	done
}

line_start() {
	rm -f "$T/line.log" "$T/bins"
	spawn_in line "$T/line.log" "$PC_HELPERS/delayline" --log "$T/bins" "$@"
	LINE_PID=$SPAWNED
	wait_for 5 grep -qs ready "$T/line.log" || {
		diag <"$T/line.log"
		return 1
	}
}

line_stop() {
	end_pid "$LINE_PID"
	grep '^{' "$T/line.log" >"$T/line.json"
	jq -e '[.pairs[] | .up.lost + .down.lost] | add == 0' "$T/line.json" >/dev/null
}

serve() {
	spawn_in "$1" "$T/iperf-$1.log" iperf3 -s -B "$2" --forceflush
	wait_for 5 grep -qs listening "$T/iperf-$1.log"
}

flows() {
	local out=$1 name=$2 address=$3 cc=$4 streams=$5 warm=$6 seconds=$7
	shift 7
	in_ns "$name" timeout $((warm + seconds + 20)) iperf3 -c "$address" -C "$cc" -P "$streams" \
		-O "$warm" -t "$seconds" -i 1 -J "$@" >"$out"
}

bins() {
	awk -v name="$2" -v from="$3" -v to="$4" '
		$2 != name { next }
		!start { start = $1 }
		{
			t = $1 - start
			if (t < from || t >= to)
				next
			k = (t - from) / 10
			bytes[k] = $4
			packets += $3
			sum += $4
			drops += $5
			dropped += $6
			marks += $7
			if (k > last)
				last = k
		}
		END {
			for (k = 0; k <= last; k++) {
				window += bytes[k] - bytes[k - 10]
				if (window > peak)
					peak = window
			}
			span = (last + 1) * 10
			printf "{\"mbit\":%.4f,\"peak\":%.2f,\"ms\":%d,\"packets\":%d,\"bytes\":%.0f,", \
				sum * 8 / span / 1000, peak * 80 / 1e6, span, packets, sum
			printf "\"drops\":%d,\"dropped_bytes\":%.0f,\"marks\":%d}\n", drops, dropped, marks
		}' "$1"
}
