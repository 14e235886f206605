# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For tests and benchmarks of rates: sourced after lib.sh. Real TCP over a line with delay.
#
#   cable NS1 IF1 NS2 IF2        a veth without offloads: a frame is a packet, in one piece
#   direct N                     N cables with the line between: aI 198.18.I.1 --- 198.18.I.2 bI
#   relayed                      client --- relay --- line --- peer; the line's pair is l0,m0
#   relayed_netem                client --- relay --- peer, and netem at both ends in place of the line;
#                                10.9.0.1 and 10.9.0.2 are the ends of its tunnels
#   wrap_start USER | wrap_stop  a tunnel there, in the kernel (see tests/helpers/turnwrap.c); what
#                                arrives at the peer is in $T/wrap.bins; fails on a loss
#   tunnel I USER [OPTION...]    a TUN through USER's allocation: 10.9.I.1 in uI --- 10.9.I.2 in vI;
#                                what arrives there is in $T/tun-uI.bins and $T/tun-vI.bins, by name
#                                uI and vI; options for both ends (see tests/helpers/turntun.c)
#   tunnel_stop I                reports in $T/tun-uI.json, $T/tun-vI.json; fails on a loss in them
#   line_start DELAY_US PAIR...  the delay line (see tests/helpers/delayline.c), log in $T/bins
#   line_stop                    its report in $T/line.json; fails when a packet was lost
#   serve NAME ADDRESS           a new iperf3 server there
#   flows OUT NAME ADDRESS CC STREAMS WARM SECONDS [OPTION...]
#                                TCP from NAME, not counting the first WARM seconds; JSON in OUT
#   bins FILE NAME FROM_MS TO_MS [OVERHEAD]
#                                what passed: JSON with mbit (mean), peak (highest 100 ms),
#                                packets, drops, dropped_bytes, marks; times count from the first bin
#                                (beyond 10^12 of the clock itself); bytes are those of the log,
#                                or with OVERHEAD more for each packet
#   now_ms                       the clock of those logs
#   possible MBIT                highest payload rate of TCP in a tunnel under a limit of that rate
#   limited native|off           whether pcd limits tenants, in the kernel or in user space
#   new_tenant NAME [OPTION...]  with password p; options of tenant set
#   one_flow LIMIT MBIT CC STREAMS RTT_MS WARM SECONDS
#                                in a new tunnel of a new tenant, in $FLOW as JSON; its log in
#                                $T/flow.bins; idle: share of the processors' time that was left.
#                                LIMIT: none, pcd, bdp and second (single buckets of one
#                                bandwidth-delay product and of 1 s), clock (the kernel's, in the line);
#                                with netem only the first two
#   in_time                      a jq filter of $FLOW: the line had its packets in time. Where one in
#                                a hundred was 10 ms late (the log says no more), the machine stood
#                                still, and how fast a flow was says nothing of its limit
#   again TRIES FILTER COMMAND...
#                                COMMAND, which leaves its figures in $FLOW, so many times at most until
#                                the jq filter holds for them: where the machine did something else
#                                meanwhile, packets are lost by the test bed or senders stand still
#   holds FILTER JSON            whether the jq filter says so; if not, prints the JSON

# Ahead of other processes of the machine, whose work would look like the line's.
AHEAD=(nice -n -15)

# shellcheck disable=SC2034 # for those who source this
in_time='.late_us.p99 < 10000'

now_ms() {
	echo $((${EPOCHREALTIME/./} / 1000))
}

holds() {
	jq -e "$1" <<<"$2" >/dev/null || {
		diag <<<"$2"
		return 1
	}
}

again() {
	local tries=$1 filter=$2 try
	shift 2
	for ((try = 1; try <= tries; try++)); do
		"$@" || exit 1
		! jq -e "$filter" <<<"$FLOW" >/dev/null || return 0
		diag <<<"try $try: $FLOW"
	done
}

# Room for the flows' windows at 200 ms; nothing learnt from the flow before.
tcp_settings() {
	in_ns "$1" sysctl -qw net.ipv4.tcp_no_metrics_save=1 \
		net.ipv4.tcp_rmem="4096 131072 67108864" net.ipv4.tcp_wmem="4096 65536 16777216"
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

relayed() {
	local name
	ns_add relay client peer line
	# Nothing but what is measured: no solicitations.
	for name in relay client peer line; do
		in_ns $name sysctl -qw net.ipv6.conf.default.disable_ipv6=1
	done
	veth relay c0 client eth0
	veth relay p0 line l0
	cable line m0 peer eth0
	# What XDP sends needs a receiver with GRO; there is none for UDP nobody asked it for.
	plain client eth0 on
	plain line l0 on
	addr relay c0 198.18.1.1/24
	addr client eth0 198.18.1.2/24
	addr relay p0 198.18.2.1/24
	addr peer eth0 198.18.2.2/24
	route client add default via 198.18.1.1
	route peer add default via 198.18.2.1
	xdp_pass client eth0 && xdp_pass line l0
}

NETEM='' RATES_MTU=1400

relayed_netem() {
	local name
	NETEM=1
	ns_add relay client peer
	for name in relay client peer; do
		in_ns $name sysctl -qw net.ipv6.conf.default.disable_ipv6=1
	done
	veth relay c0 client eth0
	veth relay p0 peer eth0
	plain client eth0 on
	plain peer eth0 on
	addr relay c0 198.18.1.1/24
	addr client eth0 198.18.1.2/24
	addr relay p0 198.18.2.1/24
	addr peer eth0 198.18.2.2/24
	route client add default via 198.18.1.1
	route peer add default via 198.18.2.1
	addr client eth0 10.9.0.1/32
	addr peer eth0 10.9.0.2/32
	route client add 10.9.0.2 via 198.18.1.1 src 10.9.0.1 mtu lock $RATES_MTU
	route peer add 10.9.0.1 via 198.18.2.1 src 10.9.0.2 mtu lock $RATES_MTU
	tcp_settings client
	tcp_settings peer
	# TCP makes packets that are cut only behind the program that wraps them: one at a time.
	ip -n "$(ns client)" link set eth0 gso_max_segs 1
	ip -n "$(ns peer)" link set eth0 gso_max_segs 1
}

wrap_start() {
	rm -f "$T/wrap.bins"
	spawn_in client "$T/wrap.log" "$PC_HELPERS/turnwrap" --server 198.18.1.1:3478 --user "$1" \
		--password p --peer 198.18.2.2:41000 --netns "/run/netns/$(ns peer)" --dev eth0 \
		--log "$T/wrap.bins"
	WRAP_PID=$SPAWNED
	wait_for 10 grep -qE 'ready|turnwrap:' "$T/wrap.log" && grep -q ready "$T/wrap.log" || {
		diag <"$T/wrap.log"
		return 1
	}
}

# wrap_stop DROPS: how many packets the limiter refused
wrap_stop() {
	end_pid "$WRAP_PID"
	grep '^{' "$T/wrap.log" >"$T/wrap.json"
	holds "(.client.out + .peer.out) - (.client.in + .peer.in) == $1 and .client.lost + .peer.lost == 0" \
		"$(cat "$T/wrap.json")"
}

tunnel_end() {
	local name=$1 log=$T/tun-$1.log
	ns_add "$name"
	tcp_settings "$name"
	# No greetings to neighbours before the other end is up: the device would refuse them.
	in_ns "$name" sysctl -qw net.ipv6.conf.default.disable_ipv6=1
	spawn_in "$2" "$log" "${AHEAD[@]}" "$PC_HELPERS/turntun" "${@:3}" --tun t0 --netns "/run/netns/$(ns "$name")" \
		--mtu $RATES_MTU --log "$T/tun-$name.bins" --name "$name"
	tunnel_pid[$name]=$SPAWNED
	wait_for 10 grep -qsE 'bound|turntun:' "$log" && grep -q bound "$log"
}

declare -A tunnel_pid

tunnel() {
	local i=$1 user=$2
	shift 2
	tunnel_end "v$i" peer peer --bind "198.18.2.2:$((41000 + i))" "$@" &&
		tunnel_end "u$i" client client --server 198.18.1.1:3478 --user "$user" \
			--password p --peer "198.18.2.2:$((41000 + i))" "$@" &&
		wait_for 10 grep -q ready "$T/tun-u$i.log" || {
		diag <"$T/tun-u$i.log"
		return 1
	}
	ip -n "$(ns "u$i")" addr add "10.9.$i.1" peer "10.9.$i.2" dev t0
	ip -n "$(ns "v$i")" addr add "10.9.$i.2" peer "10.9.$i.1" dev t0
	ip -n "$(ns "u$i")" link set t0 up
	ip -n "$(ns "v$i")" link set t0 up
}

# What the device's queue had no room for; the device goes with its process.
tunnel_stop() {
	local name bad=0 dropped
	for name in "u$1" "v$1"; do
		dropped=$(link_count "$name" t0 tx dropped)
		end_pid "${tunnel_pid[$name]}"
		grep '^{' "$T/tun-$name.log" >"$T/tun-$name.json"
		[ "$dropped" = 0 ] || diag <<<"$name: its queue dropped '$dropped'"
		holds '.out.lost + .out.early + .in.lost == 0' "$(cat "$T/tun-$name.json")" &&
			[ "$dropped" = 0 ] || bad=1
	done
	return $bad
}

# What leaves either end waits; what XDP sends from the relay would not pass a queue there.
# The rate is of lines, and lower than what a guest forwards: a veth's ring has 256 places.
netem_start() {
	local name
	for name in client peer; do
		in_ns $name tc qdisc replace dev eth0 root netem delay "${1}us" rate 400mbit \
			limit 20000 || return 1
	done
}

netem_stop() {
	local name dropped
	echo '{"pairs":[{"up":{"late_us":null}}]}' >"$T/line.json"
	for name in client peer; do
		dropped=$(in_ns $name tc -s -j qdisc show dev eth0 | jq '.[0].drops')
		[ "$dropped" = 0 ] || return 1
	done
}

line_start() {
	rm -f "$T/bins"
	[ -z "$NETEM" ] || {
		netem_start "$1"
		return
	}
	spawn_in line "$T/line.log" "$PC_HELPERS/delayline" --log "$T/bins" "$@"
	LINE_PID=$SPAWNED
	wait_for 5 grep -qs ready "$T/line.log" || {
		diag <"$T/line.log"
		return 1
	}
}

line_stop() {
	[ -z "$NETEM" ] || {
		netem_stop
		return
	}
	end_pid "$LINE_PID"
	grep '^{' "$T/line.log" >"$T/line.json"
	jq -e '[.pairs[] | .up.lost + .down.lost] | add == 0' "$T/line.json" >/dev/null
}

declare -A server_pid

# One that was in the middle of something refuses the next: it has no part in this.
serve() {
	[ -z "${server_pid[$1]:-}" ] || end_pid "${server_pid[$1]}"
	spawn_in "$1" "$T/iperf-$1.log" "${AHEAD[@]}" iperf3 -s -B "$2" --forceflush
	server_pid[$1]=$SPAWNED
	wait_for 5 grep -qs listening "$T/iperf-$1.log"
}

flows() {
	local out=$1 name=$2 address=$3 cc=$4 streams=$5 warm=$6 seconds=$7
	shift 7
	in_ns "$name" "${AHEAD[@]}" timeout $((warm + seconds + 20)) iperf3 -c "$address" -C "$cc" -P "$streams" \
		-O "$warm" -t "$seconds" -i 1 -J "$@" >"$out"
}

bins() {
	awk -v name="$2" -v from="$3" -v to="$4" -v overhead="${5:-0}" '
		BEGIN { absolute = from > 1e12 }
		$2 != name { next }
		!start && !absolute { start = $1 }
		{
			t = $1 - start
			if (t < from || t >= to)
				next
			k = (t - from) / 10
			bytes[k] = $4 + $3 * overhead
			packets += $3
			sum += bytes[k]
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
			span = absolute ? to - from : (last + 1) * 10
			printf "{\"mbit\":%.4f,\"peak\":%.2f,\"ms\":%d,\"packets\":%d,\"bytes\":%.0f,", \
				sum * 8 / span / 1000, peak * 80 / 1e6, span, packets, sum
			printf "\"drops\":%d,\"dropped_bytes\":%.0f,\"marks\":%d}\n", drops, dropped, marks
		}' "$1"
}

# 12 bytes of TCP options; a datagram carries 28 bytes more than the packet inside.
OUTER=28

possible() {
	awk -v r="$1" -v m=$RATES_MTU -v o=$OUTER 'BEGIN { printf "%.3f\n", r * (m - 52) / (m + o) }'
}

limited() {
	"$PC_BIN/pcctl" tenant set help 2>&1 | grep -q -e --rate &&
		{ [ "$1" = off ] || grep -q PC_RATE_DROP_RATE "$PC_BUILD/bpf/relay.bpf.o"; }
}

new_tenant() {
	local name=$1
	shift
	tenant "$name" p >"$T/out" && { [ $# = 0 ] || pcctl tenant set "$name" "$@" >"$T/out"; }
}

policer_of() {
	case $1 in
	bdp) echo "bucket:$2M:$(($2 * $3 * 125))" ;;
	second) echo "bucket:$2M:$(($2 * 125000))" ;;
	clock) echo "clock:$2M" ;;
	*) echo none ;;
	esac
}

# Of all processors since boot: idle time and all time.
cpu_time() {
	awk '$1 == "cpu" { for (i = 2; i <= 9; i++) sum += $i; print $5 + $6, sum }' /proc/stat
}

flow_n=0

one_flow() {
	local limit=$1 mbit=$2 cc=$3 streams=$4 rtt=$5 warm=$6 seconds=$7 clean=true options=()
	local before idle from to address
	flow_n=$((flow_n + 1))
	[ "$limit" != pcd ] || options=(--rate "${mbit}M")
	new_tenant "flow$flow_n" "${options[@]}" || return 1
	line_start $((rtt * 500)) "l0,m0,t,$(policer_of "$limit" "$mbit" "$rtt")" || return 1
	if [ -n "$NETEM" ]; then
		wrap_start "flow$flow_n" || return 1
		from=client to=peer address=10.9.0.2
	else
		tunnel $flow_n "flow$flow_n" || return 1
		from=u$flow_n to=v$flow_n address=10.9.$flow_n.2
	fi
	serve "$to" "$address"
	before=$(cpu_time)
	flows "$T/flow.json" "$from" "$address" "$cc" "$streams" "$warm" "$seconds"
	idle=$(cpu_time | awk -v b="$before" '{ split(b, a); printf "%.3f", ($1 - a[1]) / ($2 - a[2]) }')
	if [ -n "$NETEM" ]; then
		wrap_stop "$(pcstat -j tenant "flow$flow_n" | jq '.tenants[0].drops.rate')" || clean=false
		# Counted where it arrives, in the size that the relay sent.
		awk -v o=$OUTER '{ $2 = "t"; $4 += $3 * o; print }' "$T/wrap.bins" >"$T/flow.bins"
	else
		tunnel_stop $flow_n || clean=false
		remove_namespace "$(ns "$from")"
		remove_namespace "$(ns "$to")"
	fi
	line_stop || clean=false
	[ -n "$NETEM" ] || mv "$T/bins" "$T/flow.bins"
	# shellcheck disable=SC2034 # for the caller
	FLOW=$(jq -c --arg limit "$limit" --argjson rate "$mbit" --arg cc "$cc" \
		--argjson streams "$streams" --argjson rtt "$rtt" --argjson seconds "$seconds" \
		--argjson possible "$(possible "$mbit")" --argjson clean $clean --argjson idle "$idle" \
		--argjson bins "$(bins "$T/flow.bins" t 0 9999999)" \
		--argjson late "$(jq .pairs[0].up.late_us "$T/line.json")" \
		--argjson tenant "$(pcstat -j tenant "flow$flow_n" | jq -c '.tenants[0]')" '
		(.end.sum_received.bits_per_second // 0 | . / 1e6) as $mbit
		| {limit: $limit, rate: $rate, cc: $cc, streams: $streams, rtt: $rtt,
		seconds: $seconds, mbit: $mbit, share: ($mbit / $possible),
		retransmits: ([.intervals[] | select(.sum.omitted | not) | .sum.retransmits] | add),
		peak: ($bins.peak / $rate), drops: ($bins.drops + $tenant.drops.rate),
		marks: $tenant.marks, clean: $clean, idle: $idle, late_us: $late, error: .error}
		' "$T/flow.json")
}
