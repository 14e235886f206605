# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For tests of what pcd does in trouble: sourced after lib.sh, used after topo_star.
#
#   start_sink                   198.18.2.2:7000 returns what it gets
#   relays NAME [kernel|user]    a new allocation carries 200 packets there and back on that path
#   refused NAME TEXT            a new allocation fails with that
#   hold NAME COUNT RATE [OPTION...]   a client that waits once its channel is bound
#   go NAME                      lets it go on: first the data, then (--after, --release) the rest
#   held NAME                    waits for its end; $HELD is [ok, packets that came back]
#   logged NAME TEXT | log_new   a line in the log since log_new
#   health FIELD                 of pcstat health
#
# User and password are $CLIENT_USER and $CLIENT_PASSWORD.

CLIENT_USER=u CLIENT_PASSWORD=p
declare -A held_pid held_fd

start_sink() {
	peer_sink 198.18.2.2:7000 1000000 600000 echo
	xdp_pass client eth0
	xdp_pass peer eth0
}

health() {
	pcstat -j health 2>/dev/null | jq -c "$1"
}

log_new() {
	: >"$T/pcd.log"
}

logged() {
	if wait_for 5 grep -qF -- "$2" "$T/pcd.log"; then
		ok "$1"
	else
		not_ok "$1" "no '$2' in: $(tail -n 8 "$T/pcd.log")"
	fi
}

turnload() {
	nsenter --net="/run/netns/$(ns client)" "$PC_HELPERS/turnload" --server 198.18.1.1:3478 \
		--user "$CLIENT_USER" --password "$CLIENT_PASSWORD" --idle-ms 2000 "$@"
}

relays() {
	local before after expected=0
	[ "${2:-kernel}" = kernel ] || expected=200
	before=$(health .turn.data_up)
	turnload --peer 198.18.2.2:7000 --count 200 --rate 4000 --echo --release \
		>"$T/load.json" 2>"$T/load.err"
	after=$(health .turn.data_up)
	is "$1" "$(jq -c '[.ok, .echoed_distinct]' "$T/load.json") $((after - before)) in user space" \
		"[true,200] $expected in user space" || diag <"$T/load.err"
}

refused() {
	turnload --peer 198.18.2.2:7000 --count 0 --release >/dev/null 2>"$T/load.err"
	is "$1" "$(sed -n 's/^turnload: //p' "$T/load.err")" "$2"
}

hold() {
	local name=$1 count=$2 rate=$3 fd
	shift 3
	# An earlier client of that name was bound, too.
	rm -f "$T/$name.fifo" "$T/$name.err"
	mkfifo "$T/$name.fifo"
	turnload --peer "${PEER:-198.18.2.2:7000}" --count "$count" --rate "$rate" --echo --hold \
		"$@" <"$T/$name.fifo" >"$T/$name.json" 2>"$T/$name.err" &
	held_pid[$name]=$!
	pids+=("$!")
	exec {fd}>"$T/$name.fifo"
	held_fd[$name]=$fd
	wait_for 10 grep -qsE "bound|turnload:" "$T/$name.err"
	grep -q bound "$T/$name.err"
}

# In a shell of its own, lest a client that is gone ends the test.
go() {
	(echo go >&"${held_fd[$1]}") 2>/dev/null
}

held() {
	local fd=${held_fd[$1]}
	wait "${held_pid[$1]}"
	exec {fd}>&-
	# shellcheck disable=SC2034 # for the caller
	HELD=$(jq -c '[.ok, .echoed_distinct]' "$T/$1.json")
	sed -n "s/^turnload: /# $1: /p" "$T/$1.err"
}
