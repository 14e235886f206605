# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The sections of rates.sh: each puts lines of JSON with its name into $T/results.jsonl.

# Set by rates.sh: quick, out, xdp, pcd_limits.
# shellcheck disable=SC2154

RATE=100 POOL=200

# relay [LINE...]: a new pcd with these lines of configuration.
relay() {
	[ -z "${PCD_PID:-}" ] || {
		pcctl shutdown >"$T/out"
		wait "$PCD_PID"
		rm -rf "$T/state" "$T/password-"*
	}
	pcd_config "$T/pcd.conf" "relay xdp = $xdp" "$@"
	start_pcd relay "$T/pcd.conf"
}

result() {
	jq -c --arg section "$1" '{section: $section} + .' <<<"$2" >>"$T/results.jsonl"
}

# series NAME FILE TENANT FROM_MS TO_MS [OVERHEAD]: seconds and Mbit/s of 100 ms, for a plot.
series() {
	awk -v name="$3" -v from="$4" -v to="$5" -v overhead="${6:-0}" '
		$2 != name || $1 < from || $1 >= to { next }
		{ bytes[int(($1 - from) / 100)] += $4 + $3 * overhead }
		END {
			for (k = 0; k < (to - from) / 100; k++)
				printf "%.1f %.3f\n", k / 10, bytes[k] * 80 / 1e6
		}' "$2" >"$T/$1.dat"
}

# plot FILE TITLE NAME=LABEL...
plot() {
	local file=$1 title=$2 part plots=
	shift 2
	for part in "$@"; do
		plots+="${plots:+, }\"$T/${part%%=*}.dat\" using 1:2 with lines linewidth 1.5 title \"${part#*=}\""
	done
	gnuplot -e "out='$out/$file'; heading='$title'; plots='${plots//\'/}'" tools/bench/rates.gp
}

first_bin() {
	awk -v name="$2" '$2 == name { print $1; exit }' "$1"
}

# thrice COMMAND [ARGUMENT...]: sets MEASURED; again, three times at most, while the test bed failed.
thrice() {
	local try
	for try in 1 2 3; do
		"$@" || return 1
		[ "$(jq .clean <<<"$MEASURED")" = false ] || return 0
		say "try $try: the test bed lost packets or stood still"
	done
}

# --- flows ---

flow_once() {
	one_flow "$@" && MEASURED=$(jq -c ".clean = (.clean and $in_time)" <<<"$FLOW")
}

# flow LIMIT CC STREAMS RTT SECONDS
flow() {
	local start warm=10
	[ $quick = 0 ] || warm=5
	thrice flow_once "$1" $RATE "$2" "$3" "$4" $warm "$5" || return 1
	result flows "$MEASURED"
	say "$(jq -r '"\(.limit), \(.cc) x \(.streams), \(.rtt) ms: \(.mbit * 100 | round / 100) Mbit/s, "
		+ "\(.share * 1000 | round / 10) %, \(.retransmits) retransmissions, "
		+ "peak \(.peak * 100 | round / 100)\(if .clean then "" else ", DISTURBED" end)"' <<<"$MEASURED")"
	[ "$3 $4" = "1 40" ] || return 0
	start=$(first_bin "$T/flow.bins" t)
	series "flow-$1-$2" "$T/flow.bins" t "$start" $((start + 20000))
}

section_flows() {
	local rtt cc limit ours=clock seconds rtts=(40 5 20 100 200)
	[ "$pcd_limits" = false ] || ours=pcd
	[ $quick = 0 ] || rtts=(40)
	relay || return 1
	for rtt in "${rtts[@]}"; do
		seconds=15
		[ "$rtt" != 40 ] || seconds=25
		[ $quick = 0 ] || seconds=5
		for cc in cubic reno; do
			for limit in $ours bdp second; do
				flow $limit $cc 1 "$rtt" $seconds || return 1
			done
		done
	done
	for limit in $ours bdp second; do
		flow $limit cubic 8 40 $seconds || return 1
	done
	for cc in cubic reno; do
		plot "rates-$cc.svg" "One ${cc^^} flow, 100 Mbit/s, 40 ms" "flow-second-$cc=bucket of 1 s" \
			"flow-bdp-$cc=bucket of one BDP" "flow-$ours-$cc=dual clock" || return 1
	done
}

# --- several tenants ---

# share_tenant I WEIGHT: tenant wI in tunnel I.
share_tenant() {
	new_tenant "w$1" --weight "$2" && tunnel "$1" "w$1" && serve "v$1" "10.9.$1.2"
}

# mbit_of END FROM_MS TO_MS: what arrived at this end of a tunnel, uI or vI, as the relay counts.
mbit_of() {
	bins "$T/tun-$1.bins" "$1" "$2" "$3" $OUTER | jq .mbit
}

stop_tunnels() {
	local i bad=0
	for i in "$@"; do tunnel_stop "$i" || bad=1; done
	line_stop && holds ".pairs[0].up | $in_time" "$(cat "$T/line.json")" || bad=1
	for i in "$@"; do
		remove_namespace "$(ns "u$i")"
		remove_namespace "$(ns "v$i")"
	done
	return $bad
}

# Weighted Jain: of rate over weight.
jain() {
	jq -cn --argjson r "$1" --argjson w "$2" '
		[range($r | length) | $r[.] / $w[.]] as $x
		| ($x | add | . * .) / (($x | length) * ($x | map(. * .) | add))'
}

# One alone is watched for longer: what it has saved is up to a second's worth, and swings.
pool_once() {
	local i start seconds=25 alone=60 warm=5 clean=true rates got=() ccs=(cubic cubic bbr cubic) counts=(8 1 2 4)
	local weights=(1 1 2 4) running=() from to
	[ $quick = 0 ] || seconds=6 alone=3 warm=2
	relay "relay capacity = ${POOL}M" || return 1
	line_start 20000 l0,m0,t || return 1
	for i in 1 2 3 4; do share_tenant $i "${weights[i - 1]}" || return 1; done
	start=$(now_ms)
	for i in 1 2 3 4; do
		flows "$T/pool-$i.json" "u$i" "10.9.$i.2" "${ccs[i - 1]}" "${counts[i - 1]}" 0 $seconds &
		running+=($!)
	done
	wait "${running[@]}"
	from=$(($(now_ms) + 2 * warm * 1000))
	flows "$T/alone.json" u4 10.9.4.2 cubic 4 $((2 * warm)) $alone
	to=$(($(now_ms) - 500))
	stop_tunnels 1 2 3 4 || clean=false
	for i in 1 2 3 4; do
		got+=("$(mbit_of v$i $((start + warm * 1000)) $((start + seconds * 1000 - 500)))")
		series "pool-$i" "$T/tun-v$i.bins" "v$i" "$start" $((start + seconds * 1000)) $OUTER
	done
	rates=$(jq -cn '$ARGS.positional' --jsonargs "${got[@]}")
	MEASURED=$(jq -n --argjson rates "$rates" --argjson clean $clean --argjson pool $POOL \
		--argjson jain "$(jain "$rates" '[1, 1, 2, 4]')" --argjson alone "$(mbit_of v4 "$from" "$to")" \
		--argjson back "$(mbit_of u4 "$from" "$to")" \
		'{rates: $rates, weights: [1, 1, 2, 4], jain: $jain, sum: ($rates | add), pool: $pool,
		alone: $alone, back: $back, alone_share: (($alone + $back) / $pool), clean: $clean}')
}

section_pool() {
	thrice pool_once || return 1
	result pool "$MEASURED"
	plot rates-pool.svg "Weights 1, 1, 2, 4 in 200 Mbit/s, 40 ms" "pool-1=weight 1, 8 CUBIC" \
		"pool-2=weight 1, 1 CUBIC" "pool-3=weight 2, 2 BBR" "pool-4=weight 4, 4 CUBIC"
}

# send_udp I MBIT SECONDS: in the background; pid in $SENDER.
send_udp() {
	in_ns "u$1" "${AHEAD[@]}" timeout $(($3 + 10)) iperf3 -c "10.9.$1.2" -u -b "$2M" -l 1340 -t "$3" \
		>"$T/udp-$1.log" 2>&1 &
	SENDER=$!
	pids+=("$SENDER")
}

# settled I FROM_MS MBIT: ms from which on all windows of 300 ms, for 1.5 s, are within a tenth of it.
# Shorter ones show how processes of this machine wait for their turn.
settled() {
	awk -v from="$2" -v want="$3" -v overhead=$OUTER '
		$1 < from || $1 >= from + 2000 { next }
		{ bytes[($1 - from) / 10] += $4 + $3 * overhead }
		END {
			for (k = 0; k < 30; k++)
				window += bytes[k]
			for (k = 0; k < 170; k++) {
				mbit = window * 80 / 3e6
				if (mbit < want * 0.9 || mbit > want * 1.1)
					last = (k + 1) * 10
				window += bytes[k + 30] - bytes[k]
			}
			print last + 0
		}' "$T/tun-v$1.bins"
}

# Everybody sends one and a half of his share; the fourth, of half the pool, comes late, with a second
# saved up, and leaves.
join_once() {
	local i join leave clean=true joined=() left=() running=()
	relay "relay capacity = ${POOL}M" || return 1
	line_start 2500 l0,m0,t || return 1
	for i in 1 2 3 4; do share_tenant $i $((i < 3 ? 1 : 2 * i - 4)) || return 1; done
	for i in 1 2 3; do
		send_udp $i $((i < 3 ? 75 : 150)) 9
		running+=("$SENDER")
	done
	sleep 3
	send_udp 4 150 3
	wait_for 5 grep -qs . "$T/tun-v4.bins"
	wait "$SENDER"
	wait "${running[@]}"
	stop_tunnels 1 2 3 4 || clean=false
	join=$(awk '$4 > 10000 { print $1; exit }' "$T/tun-v4.bins")
	leave=$(awk '$4 > 10000 { last = $1 } END { print last }' "$T/tun-v4.bins")
	for i in 1 2 3 4; do
		joined+=("$(settled $i "$join" $((i < 3 ? 25 : i * 50 - 100)))")
		[ $i = 4 ] || left+=("$(settled $i "$leave" $((i < 3 ? 50 : 100)))")
		series "join-$i" "$T/tun-v$i.bins" "v$i" $((join - 2000)) $((join + 6000)) $OUTER
	done
	JOIN=$(jq -n --argjson clean $clean --argjson joined "[$(IFS=, && echo "${joined[*]}")]" \
		--argjson left "[$(IFS=, && echo "${left[*]}")]" \
		'{joined_ms: $joined, left_ms: $left, worst_ms: ($joined + $left | max), clean: $clean}')
}

section_join() {
	local try tries=5 runs=()
	[ $quick = 0 ] || tries=1
	for ((try = 1; try <= tries; try++)); do
		join_once || return 1
		say "settled after $(jq .worst_ms <<<"$JOIN") ms at worst"
		runs+=("$JOIN")
	done
	result join "$(jq -s 'sort_by(.worst_ms) | .[(length - 1) / 2 | floor]
		+ {all_ms: map(.worst_ms)}' <<<"${runs[*]}")"
	plot rates-join.svg "A tenant of weight 4 comes and goes, 200 Mbit/s" "join-1=weight 1" \
		"join-2=weight 1" "join-3=weight 2" "join-4=weight 4"
}

# free_tenants COUNT MBIT SECONDS: each sends all it can, without a tunnel.
free_tenants() {
	local i
	free_pids=()
	for ((i = 1; i <= $1; i++)); do
		new_tenant "free$i" --tier free || return 1
		in_ns client "${AHEAD[@]}" timeout $(($3 + 10)) "$PC_HELPERS/turnload" --server 198.18.1.1:3478 \
			--user "free$i" --password p --peer "198.18.2.2:$((42000 + i))" --size 1200 \
			--rate $(($2 * 1000 / 10)) --count $(($2 * 100 * $3)) >"$T/free$i.json" \
			2>"$T/free$i.log" &
		free_pids+=($!)
	done
}

# A minute each, as in pool_once.
tiers_once() {
	local start middle alone beside total clean=true seconds=60 warm=10
	[ $quick = 0 ] || seconds=4 warm=3
	relay "relay capacity = ${POOL}M" || return 1
	line_start 20000 l0,m0,t || return 1
	new_tenant paid --tier paid --rate 150M && tunnel 1 paid && serve v1 10.9.1.2 || return 1
	flows "$T/tiers.json" u1 10.9.1.2 cubic 4 0 $((warm + 2 * seconds)) &
	start=$!
	sleep $((warm + seconds))
	middle=$(now_ms)
	free_tenants 10 30 $seconds
	wait "$start" "${free_pids[@]}"
	stop_tunnels 1 || clean=false
	alone=$(mbit_of v1 $((middle - seconds * 1000 + 500)) "$middle")
	beside=$(mbit_of v1 $((middle + 500)) $((middle + seconds * 1000 - 500)))
	total=$(bins "$T/bins" t $((middle + 500)) $((middle + seconds * 1000 - 500)) | jq .mbit)
	series tiers-paid "$T/tun-v1.bins" v1 $((middle - seconds * 1000)) $((middle + seconds * 1000)) $OUTER
	series tiers-all "$T/bins" t $((middle - seconds * 1000)) $((middle + seconds * 1000))
	MEASURED=$(jq -n --argjson alone "$alone" --argjson beside "$beside" --argjson total "$total" \
		--argjson clean $clean --argjson pool $POOL '{alone: $alone, beside: $beside,
		kept: ($beside / $alone), free: ($total - $beside), total: $total, pool: $pool,
		clean: $clean}')
}

section_tiers() {
	thrice tiers_once || return 1
	result tiers "$MEASURED"
	plot rates-tiers.svg "Paid, 150 of 200 Mbit/s; ten free tenants come" "tiers-paid=paid" \
		"tiers-all=all together"
}

# --- one tenant, no TCP ---

# udp_at CPUS: 20 Mbit/s, offered 200; the mean of 10 s after the depth is used up.
udp_at() {
	local cpus=$1 start got clean=true
	new_tenant "udp${cpus/,/}" --rate 20M || return 1
	line_start 2500 l0,m0,t || return 1
	in_ns client "${AHEAD[@]}" timeout 40 "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user "udp${cpus/,/}" \
		--password p --peer 198.18.2.2:42000 --size 1200 --rate 20833 --count 333328 \
		--cpus "$cpus" >"$T/udp.json" 2>"$T/udp.log" || return 1
	line_stop || clean=false
	start=$(first_bin "$T/bins" t)
	got=$(bins "$T/bins" t $((start + 5000)) $((start + 15000)))
	result udp "$(jq -n --arg cpus "$cpus" --argjson got "$got" --argjson clean $clean \
		'{cpus: $cpus, mbit: $got.mbit, limit: 20, error: ($got.mbit / 20 - 1), clean: $clean}')"
}

section_udp() {
	relay && udp_at 0 && { [ "$(nproc)" -lt 2 ] || udp_at 0,1; }
}

# One of many sends far below its limit; those of all are changed twice meanwhile.
section_many() {
	local n=10000 cpu before took clean=true loader
	[ $quick = 0 ] || n=500
	relay "relay max-sessions = 20000" || return 1
	line_start 2500 l0,m0,t || return 1
	(umask 077 && echo p >"$T/password")
	tools/bench/tenants.py "$SOCKET" add $n >"$T/many-add.json" || return 1
	in_ns client "${AHEAD[@]}" timeout 60 "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user many7 \
		--password p --peer 198.18.2.2:42000 --size 400 --rate 5000 --count 50000 \
		>"$T/many.json" 2>"$T/many.log" &
	loader=$!
	wait_for 10 grep -q bound "$T/many.log"
	tools/bench/tenants.py "$SOCKET" set $n 50000000 >"$T/many-set.json" || return 1
	cpu=$(awk '{ print $14 + $15 }' "/proc/$PCD_PID/stat") before=$(now_ms)
	wait "$loader"
	cpu=$(($(awk '{ print $14 + $15 }' "/proc/$PCD_PID/stat") - cpu))
	took=$(($(now_ms) - before))
	line_stop || clean=false
	result many "$(jq -n --argjson n $n --argjson clean $clean --slurpfile set "$T/many-set.json" \
		--argjson sent "$(jq .sent "$T/many.json")" \
		--argjson passed "$(bins "$T/bins" t 0 9999999 | jq .packets)" \
		--argjson loop "$(awk -v c="$cpu" -v t="$took" 'BEGIN { print c * 10 / t }')" \
		'{tenants: $n, seconds: $set[0].seconds, sent: $sent, passed: $passed,
		loop_cpu: $loop, clean: $clean}')"
}
