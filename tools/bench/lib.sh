#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Relays side by side, for run.sh: each has a star of its own (client, relay, peer), all are up at
# once, and only the one that is measured gets traffic. So runs can be interleaved.
#
#   relays_up             builds everything; RELAYS are those that came up
#   bind_all              a new allocation, permission and channel at every relay
#   end_clients           ends the clients that hold them
#   measure RELAY PAYLOAD COUNT [RATE [together]]
#                         one line of JSON of relay_load in $LINE; RELAY "direct": without one
#   measure_quiet ...     waits until other processes leave the CPUs alone, measures, and does so
#                         again, up to three times, if they did not; keeps the quietest run and
#                         counts those it threw away in $REPEATED
#
# CPUs: generator, and with live frames all that follows, on GEN_CPU; user-space relays on RELAY_CPU.
# shellcheck source=tests/netns/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tests/netns/lib.sh"
# What is here reports for itself.
# shellcheck disable=SC2034
tap_finished=1

SERVICE=198.18.1.1:3478
PEER_PORT=40000
RELAYS=()
REPEATED=0
# Share of a CPU that others may use: with live frames the difference of two runs is small, and
# with a relay in user space some of its own work belongs to no process.
LOUD_LIVE=0.04 LOUD_PACED=0.1
PATIENCE=60 # seconds of waiting in all
declare -A relay_pid port_of load_pid bound_at
BINDING_AGE=150 # seconds; a permission ends after 300

die() {
	echo "bench: $*" >&2
	exit 1
}

# The CPUs this process may use: first, and second if there is one.
pick_cpus() {
	local list=() part
	for part in $(taskset -cp $$ | sed 's/.*: //; s/,/ /g'); do
		mapfile -t -O "${#list[@]}" list < <(seq "${part%-*}" "${part#*-}")
	done
	GEN_CPU=${list[0]}
	RELAY_CPU=${list[1]:-${list[0]}}
}

# star NAME: as topo_star, with namespaces NAMEc, NAMEr and NAMEp.
star() {
	ns_add "$1"r "$1"c "$1"p
	veth "$1"r c0 "$1"c eth0
	veth "$1"r p0 "$1"p eth0
	addr "$1"r c0 198.18.1.1/24
	addr "$1"c eth0 198.18.1.2/24
	addr "$1"r p0 198.18.2.1/24
	addr "$1"p eth0 198.18.2.2/24
	route "$1"c add default via 198.18.1.1
	route "$1"p add default via 198.18.2.1
	in_ns "$1"c ping -c 1 -W 2 198.18.1.1 >/dev/null
	in_ns "$1"p ping -c 1 -W 2 198.18.2.1 >/dev/null
}

# The cable alone: what generator and sink cost.
direct_up() {
	ns_add directc directp
	veth directc eth0 directp eth0
	addr directc eth0 198.18.1.2/24
	addr directp eth0 198.18.1.1/24
}

# coturn without log, database server or limits, one thread for the one CPU it gets.
coturn_up() {
	star coturn
	spawn_in coturnr "$T/coturn.log" taskset -c "$RELAY_CPU" \
		turnserver -n -L 198.18.1.1 -E 198.18.2.1 -p 3478 -m 1 -a -u u:p -r bench \
		--no-cli --no-tls --no-dtls --no-tcp --log-file=/dev/null --no-stdout-log \
		--simple-log --pidfile "$T/coturn.pid" --userdb "$T/coturn.db"
	relay_pid[coturn]=$SPAWNED
	wait_for 10 listens coturn
}

listens() {
	[ -n "$(in_ns "$1"r ss -Hunl 'sport = :3478')" ]
}

# pcd_up NAME MODE
pcd_up() {
	local name=$1 mode=$2 dev got
	star "$name"
	mkdir -p "$T/$name" "$BPFFS/$name"
	# shellcheck disable=SC2034
	SOCKET=$T/$name/control.sock
	(
		BPFFS=$BPFFS/$name
		T=$T/$name
		pcd_config "$T/pcd.conf" "relay xdp = $mode"
	)
	start_pcd "$name"r "$T/$name/pcd.conf" || return 1
	relay_pid[$name]=$PCD_PID
	taskset -acp "$RELAY_CPU" "$PCD_PID" >/dev/null
	tenant u p --max-allocations 100 >/dev/null || return 1
	for dev in c0 p0; do
		got=$(xdp_mode "$name"r $dev)
		[ "$got" = "$mode" ] && continue
		echo "bench: $name: XDP on $dev is $got, not $mode" >&2
		return 1
	done
}

# The client waits for a line and would not hear a politer signal.
end_client() {
	[ -z "${load_pid[$1]:-}" ] || end_pid "${load_pid[$1]}" KILL 2>/dev/null
	unset "load_pid[$1]"
}

end_clients() {
	local name
	for name in "${!load_pid[@]}"; do end_client "$name"; done
}

# Allocates with a client that waits, and learns its port.
bind_one() {
	local name=$1 dir=$T/$1-load
	end_client "$name"
	mkdir -p "$dir"
	rm -f "$dir/in"
	: >"$dir/err"
	mkfifo "$dir/in" || return 1
	nsenter --net="/run/netns/$(ns "$name"c)" "$PC_HELPERS/turnload" --server $SERVICE \
		--user u --password p --peer 198.18.2.2:$PEER_PORT --hold --count 0 \
		<>"$dir/in" >"$dir/out" 2>"$dir/err" &
	load_pid[$name]=$!
	pids+=($!)
	if ! wait_for 10 grep -q bound "$dir/err"; then
		sed "s/^/bench: $name: /" "$dir/err" >&2
		return 1
	fi
	port_of[$name]=$(in_ns "$name"c ss -Hunp "dport = :3478" |
		sed -n "s/.*198\.18\.1\.2:\([0-9]*\) .*pid=${load_pid[$name]},.*/\1/p")
	bound_at[$name]=$SECONDS
	[ -n "${port_of[$name]}" ]
}

bind_all() {
	local name
	for name in "${RELAYS[@]}"; do
		bind_one "$name" || die "$name does not relay"
	done
}

relays_up() {
	local name
	pick_cpus
	mount_bpffs
	direct_up
	coturn_up && RELAYS+=(coturn)
	pcd_up user off && RELAYS+=(user)
	pcd_up native native && RELAYS+=(native)
	pcd_up generic generic && RELAYS+=(generic)
	for name in coturn user native; do
		[[ " ${RELAYS[*]} " = *" $name "* ]] || die "$name does not start"
	done
}

# measure RELAY PAYLOAD COUNT [RATE [together]]
measure() {
	local name=$1 sink=$PEER_PORT mac options=()
	[ -z "${4:-}" ] || options+=(--rate "$4")
	[ -z "${5:-}" ] || options+=(--together)
	if [ "$name" = direct ]; then
		sink=3478
		mac=$(mac_of directp eth0)
	else
		mac=$(mac_of "$name"r c0)
		[ $((SECONDS - bound_at[$name])) -lt $BINDING_AGE ] || bind_one "$name" ||
			die "$name does not relay"
		options+=(--pid "${relay_pid[$name]}")
	fi
	LINE=$(timeout 60 "$PC_BUILD/bench/relay_load" --from "$(ns "$name"c):eth0" \
		--to "$(ns "$name"p):eth0" --src "198.18.1.2:${port_of[$name]:-40000}" \
		--dst $SERVICE --dst-mac "$mac" --sink-port $sink --count "$3" --payload "$2" \
		--cpu "$GEN_CPU" "${options[@]}") || die "no measurement of $name"
	LINE=$(jq -c --arg relay "$name" --argjson live $LOUD_LIVE --argjson paced $LOUD_PACED '
		((.busy - .self - .process) / .seconds) as $other
		| . + {relay: $relay, other: $other,
			loud: ($other > (if .rate > 0 then $paced else $live end))}' <<<"$LINE")
}

# Idle and busy time of all CPUs, in ticks: $IDLE, $BUSY.
read_ticks() {
	local user nice system idle wait irq soft steal _
	read -r _ user nice system idle wait irq soft steal _ </proc/stat
	IDLE=$((idle + wait + steal)) BUSY=$((user + nice + system + irq + soft))
}

# other_busy SECONDS: percent of all CPUs that were busy meanwhile, in $OTHER.
other_busy() {
	local idle busy
	read_ticks
	idle=$IDLE busy=$BUSY
	sleep "$1"
	read_ticks
	busy=$((BUSY - busy)) idle=$((IDLE - idle))
	OTHER=$((busy * 100 / (busy + idle > 0 ? busy + idle : 1)))
}

wait_quiet() {
	local start
	while [ $PATIENCE -gt 0 ]; do
		start=$SECONDS
		other_busy 0.2
		[ $OTHER -ge 5 ] || return 0
		sleep 0.3
		PATIENCE=$((PATIENCE - (SECONDS - start)))
	done
}

# is_quieter LINE: than $LINE
is_quieter() {
	jq -e -n --argjson a "$1" --argjson b "$LINE" '$a.other < $b.other' >/dev/null
}

measure_quiet() {
	local tries best=
	for tries in 1 2 3; do
		wait_quiet
		measure "$@"
		[ $tries = 1 ] || REPEATED=$((REPEATED + 1))
		[ -z "$best" ] || ! is_quieter "$best" || LINE=$best
		best=$LINE
		[ "$(jq .loud <<<"$LINE")" = true ] && [ $PATIENCE -gt 0 ] || return 0
	done
}
