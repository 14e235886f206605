#!/bin/bash
# SPDX-License-Identifier: MIT
#
# For the tests in network namespaces: source it first, end with `finish`.
#
#   need_root                    skips the whole test without the rights for namespaces
#   ok NAME | not_ok NAME [WHY] | skip NAME REASON | check NAME COMMAND...
#   wait_for SECONDS COMMAND...  until it succeeds; 1 when it did not in time
#   ns_add NAME...               namespaces; $(ns NAME) is the full name
#   in_ns NAME COMMAND...        in the network of NAME; mounts stay, so pins are visible
#   spawn LOG COMMAND...         in the background, ended with the test; pid in $SPAWNED
#   spawn_in NAME LOG COMMAND... the same in a namespace
#   end_pid PID [SIGNAL]         ends one of those and waits for it; sets $ENDED to its status
#   veth NS1 IF1 NS2 IF2         a cable; XDP on either end can be given or take packets
#   topo_star, topo_star_native, topo_server  see there
#   long_queue NAME...           room for what eth0 of NAME sends in a burst
#   peer_sink ADDR:PORT COUNT IDLE_MS [echo]   a ready udpsink in peer; its log is $T/sink.log
#   xdp_pass NAME IF...          a program that passes everything (receivers of XDP_TX need one)
#   mount_bpffs                  a bpffs of the test's own, in $BPFFS
#   pcd_config FILE [LINE...]    configuration for the namespace of topo_star
#   start_pcd NAME CONFIG        PCD_WRAP: a command to run it by (setpriv ...)
#   stop_pcd | pcd_kill9 | pcctl ARGS | pcstat ARGS
#   tenant NAME PASSWORD [OPTION...]
#   link_count NAME IF rx|tx packets|bytes|dropped...
#
# $T is a directory of the test's own; everything goes when the test ends, however it ends.
# What a killed test left is removed by the next one.
set -u
export LC_ALL=C

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PC_BUILD=${PC_BUILD:-build}
case $PC_BUILD in
/*) ;;
*) PC_BUILD=$TOP/$PC_BUILD ;;
esac
PC_BIN=${PC_BIN:-$PC_BUILD/bin}
PC_HELPERS=$PC_BUILD/tests/helpers

# --- TAP ---

tap_n=0 tap_failed=0 tap_finished=0

ok() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1"
}

not_ok() {
	tap_n=$((tap_n + 1))
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_n - $1"
	[ -z "${2:-}" ] || sed 's/^/# /' <<<"$2"
}

skip() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

check() {
	local name=$1
	shift
	if "$@"; then ok "$name"; else not_ok "$name" "failed: $*"; fi
}

# is NAME GOT EXPECTED
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "got '$2', expected '$3'"
		return 1
	fi
}

skip_all() {
	echo "1..0 # SKIP $1"
	tap_finished=1
	exit 0
}

diag() {
	sed 's/^/# /'
}

finish() {
	echo "1..$tap_n"
	tap_finished=1
	exit $((tap_failed > 0))
}

# --- what the test owns ---

T=/tmp/pc-netns.$$
pids=() namespaces=() mounts=()

ns() {
	echo "pc$$-$1"
}

# Ends processes by pid: first asked, then made to.
end_all() {
	local p
	for p in "$@"; do kill -TERM "$p" 2>/dev/null; done
	for _ in {1..40}; do
		local alive=0
		for p in "$@"; do kill -0 "$p" 2>/dev/null && alive=1; done
		[ $alive = 1 ] || return 0
		sleep 0.05
	done
	for p in "$@"; do kill -KILL "$p" 2>/dev/null; done
	return 0
}

remove_namespace() {
	local left
	left=$(ip netns pids "$1" 2>/dev/null)
	# shellcheck disable=SC2086
	[ -z "$left" ] || end_all $left
	ip netns del "$1" 2>/dev/null
}

cleanup() {
	local status=$? n m
	trap - EXIT INT TERM HUP
	[ ${#pids[@]} = 0 ] || end_all "${pids[@]}" 2>/dev/null
	for n in "${namespaces[@]}"; do remove_namespace "$n"; done
	for m in "${mounts[@]}"; do umount -l "$m" 2>/dev/null; done
	if [ $tap_finished = 0 ]; then
		not_ok "the test came to its end" "exit status $status"
		[ $status != 0 ] || status=1
		for n in "$T"/*.log; do
			[ -s "$n" ] && { echo "--- ${n##*/}"; tail -n 20 "$n"; } | diag
		done
	fi
	rm -rf --one-file-system "$T"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Namespaces and mounts carry the pid of their test; those of the dead are nobody's.
sweep() {
	local n pid
	for n in $(ip netns list 2>/dev/null | sed -n 's/^\(pc[0-9][0-9]*-[a-z0-9]*\).*/\1/p'); do
		pid=${n#pc}
		pid=${pid%%-*}
		kill -0 "$pid" 2>/dev/null || remove_namespace "$n"
	done
	for n in /tmp/pc-netns.[0-9]*; do
		pid=${n##*.}
		[ -d "$n" ] && ! kill -0 "$pid" 2>/dev/null || continue
		awk -v d="$n/" 'index($2, d) == 1 { print $2 }' /proc/mounts | while read -r m; do
			umount -l "$m"
		done
		rm -rf --one-file-system "$n"
	done
}

need_root() {
	[ "$(id -u)" = 0 ] || skip_all "needs root for network namespaces"
	mkdir -p "$T" || exit 1
	sweep
	ip netns add "$(ns probe)" 2>/dev/null || skip_all "cannot make network namespaces here"
	ip netns del "$(ns probe)"
}

# --- waiting ---

wait_for() {
	local end=$(($(date +%s%N) + ${1}000000000 * ${PC_TIME_FACTOR:-1}))
	shift
	until "$@"; do
		[ "$(date +%s%N)" -lt $end ] || return 1
		sleep 0.05
	done
}

# --- processes ---

spawn() {
	local log=$1
	shift
	# Now, not when it runs: an earlier one may have been ready, too.
	: >"$log"
	"$@" >"$log" 2>&1 </dev/null &
	SPAWNED=$!
	pids+=("$SPAWNED")
}

spawn_in() {
	local name=$1 log=$2
	shift 2
	spawn "$log" nsenter --net="/run/netns/$(ns "$name")" "$@"
}

end_pid() {
	local p rest=()
	kill "-${2:-TERM}" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	ENDED=$?
	for p in "${pids[@]}"; do [ "$p" = "$1" ] || rest+=("$p"); done
	pids=("${rest[@]}")
}

# --- networks ---

ns_add() {
	local n
	for n in "$@"; do
		namespaces+=("$(ns "$n")")
		ip netns add "$(ns "$n")" || exit 1
		ip -n "$(ns "$n")" link set lo up
	done
}

in_ns() {
	local name=$1
	shift
	nsenter --net="/run/netns/$(ns "$name")" "$@"
}

# A ring for each CPU: what one CPU redirects is not lost because another one is busy elsewhere.
# Checksums are complete in every frame (the program at the other end reads them), and GRO turns on
# the receive path that frames redirected by XDP need.
veth() {
	local queues
	queues="numtxqueues $(nproc) numrxqueues $(nproc)"
	# shellcheck disable=SC2086
	ip link add "$2" netns "$(ns "$1")" $queues type veth \
		peer name "$4" netns "$(ns "$3")" $queues || exit 1
	in_ns "$1" ethtool -K "$2" tx off gro on >/dev/null 2>&1
	in_ns "$3" ethtool -K "$4" tx off gro on >/dev/null 2>&1
	ip -n "$(ns "$1")" link set "$2" up
	ip -n "$(ns "$3")" link set "$4" up
}

# addr NAME IF ADDRESS/LEN...
addr() {
	local name=$1 dev=$2 a
	shift 2
	for a in "$@"; do
		case $a in
		*:*) ip -n "$(ns "$name")" addr add "$a" dev "$dev" nodad ;;
		*) ip -n "$(ns "$name")" addr add "$a" dev "$dev" ;;
		esac
	done
}

# route NAME ARGS
route() {
	local name=$1
	shift
	case $* in
	*:*) ip -6 -n "$(ns "$name")" route "$@" ;;
	*) ip -n "$(ns "$name")" route "$@" ;;
	esac
}

#   client eth0 198.18.1.2 --- 198.18.1.1 c0 relay p0 198.18.2.1 --- 198.18.2.2 eth0 peer
#   client eth0 fd18:1::2  --- fd18:1::1                fd18:2::1 --- fd18:2::2
# The relay does not forward: client and peer reach each other only through pcd.
topo_star() {
	ns_add relay client peer
	veth relay c0 client eth0
	veth relay p0 peer eth0
	addr relay c0 198.18.1.1/24 fd18:1::1/64
	addr client eth0 198.18.1.2/24 fd18:1::2/64
	addr relay p0 198.18.2.1/24 fd18:2::1/64
	addr peer eth0 198.18.2.2/24 fd18:2::2/64
	route client add default via 198.18.1.1
	route peer add default via 198.18.2.1
	in_ns client ping -c 1 -W 2 198.18.1.1 >/dev/null
	in_ns peer ping -c 1 -W 2 198.18.2.1 >/dev/null
}

# The same, and both ends take what native XDP sends them.
topo_star_native() {
	topo_star
	xdp_pass client eth0
	xdp_pass peer eth0
}

# A veth whose ring is full drops; with a queue in front of it newer kernels push back instead.
long_queue() {
	local name
	for name in "$@"; do
		in_ns "$name" tc qdisc add dev eth0 root pfifo limit 20000
	done
}

# A rented server: all it has is eth0 and the gateway behind it.
#   server eth0 198.18.1.2 --- 198.18.1.1 s0 gateway o0 198.18.9.1 --- 198.18.9.2 eth0 outside
topo_server() {
	ns_add server gateway outside
	veth server eth0 gateway s0
	veth outside eth0 gateway o0
	addr server eth0 198.18.1.2/24 fd18:1::2/64
	addr gateway s0 198.18.1.1/24 fd18:1::1/64
	addr gateway o0 198.18.9.1/24 fd18:9::1/64
	addr outside eth0 198.18.9.2/24 fd18:9::2/64
	route server add default via 198.18.1.1
	route server add default via fd18:1::1
	route outside add default via 198.18.9.1
	route outside add default via fd18:9::1
	in_ns gateway sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	wait_for 5 in_ns outside ping -c 1 -W 1 198.18.1.2 >/dev/null
}

xdp_pass() {
	local name=$1 log
	shift
	log=$T/xdp-pass-$name-$1.log
	spawn_in "$name" "$log" "$PC_HELPERS/xdp_pass" "$@"
	wait_for 5 grep -qs ready "$log" || {
		diag <"$log"
		return 1
	}
}

peer_sink() {
	spawn_in peer "$T/sink.log" "$PC_HELPERS/udpsink" "$@"
	wait_for 5 grep -qs ready "$T/sink.log"
}

# xdp_mode NAME IF: native, generic or off
xdp_mode() {
	case $(ip -n "$(ns "$1")" link show "$2") in
	*xdpgeneric*) echo generic ;;
	*xdp*) echo native ;;
	*) echo off ;;
	esac
}

# link_count NAME IF rx|tx FIELD
link_count() {
	ip -n "$(ns "$1")" -j -s link show "$2" |
		sed -n "s/.*\"stats64\":{.*\"$3\":{\\([^}]*\\)}.*/\\1/p" | tr , '\n' |
		sed -n "s/^ *\"$4\": *\\([0-9]*\\).*/\\1/p"
}

# Packets on topo_star's way from client to peer that the links themselves lost.
link_drops() {
	local n sum=0 i
	for n in "client eth0" "relay c0" "relay p0" "peer eth0"; do
		for i in $(in_ns "${n% *}" ethtool -S "${n#* }" |
			awk '/drops|errors/ { print $2 }') \
			$(link_count ${n% *} ${n#* } rx dropped) $(link_count ${n% *} ${n#* } tx dropped); do
			sum=$((sum + i))
		done
	done
	echo $sum
}

mac_of() {
	ip -n "$(ns "$1")" link show "$2" | awk '$1 == "link/ether" { print $2 }'
}

# --- pins and the daemon ---

mount_bpffs() {
	BPFFS=$T/bpffs
	mkdir -p "$BPFFS"
	mount -t bpf pc-test "$BPFFS" || skip_all "cannot mount a bpf file system here"
	mounts+=("$BPFFS")
}

SOCKET=$T/control.sock

# Extra lines are "SECTION KEY = VALUE". The default policy denies the addresses used here.
pcd_config() {
	local file=$1 line
	shift
	{
		echo "[node]"
		echo "state-dir = $T/state"
		echo "control-socket = $SOCKET"
		echo "bpffs = ${BPFFS:-$T/bpffs}/pcd"
		for line in "$@"; do
			[ "${line%% *}" = node ] && echo "${line#* }"
		done
		echo "[relay]"
		case " $* " in
		*"relay listen"*) ;;
		*)
			echo "listen = 198.18.1.1:3478"
			echo "relay-address = 198.18.2.1"
			echo "interface = c0"
			echo "interface = p0"
			;;
		esac
		echo "allow-peer = 198.18.0.0/15"
		for line in "$@"; do
			[ "${line%% *}" = relay ] && echo "${line#* }"
		done
	} >"$file"
	mkdir -p "$T/state"
}

# A command that only a daemon answers: identities are read without one.
pcd_listens() {
	pcctl tenant list >/dev/null 2>&1
}

pcd_lives() {
	kill -0 "$PCD_PID" 2>/dev/null
}

PCD_WRAP=()

# The log of all starts is $T/pcd.log.
start_pcd() {
	local name=$1 config=$2 end
	nsenter --net="/run/netns/$(ns "$name")" "${PCD_WRAP[@]}" "$PC_BIN/pcd" -c "$config" \
		>>"$T/pcd.log" 2>&1 </dev/null &
	PCD_PID=$!
	pids+=("$PCD_PID")
	end=$(($(date +%s) + 40))
	until pcd_listens; do
		if ! pcd_lives || [ "$(date +%s)" -ge $end ]; then
			tail -n 20 "$T/pcd.log" | diag
			return 1
		fi
		sleep 0.05
	done
}

stop_pcd() {
	end_pid "$PCD_PID" TERM
	return "$ENDED"
}

pcd_kill9() {
	end_pid "$PCD_PID" KILL
}

pcctl() {
	"$PC_BIN/pcctl" -s "$SOCKET" "$@"
}

pcstat() {
	"$PC_BIN/pcstat" -s "$SOCKET" "$@"
}

# tenant NAME PASSWORD [OPTION...]
tenant() {
	local name=$1
	(umask 077 && printf '%s\n' "$2" >"$T/password-$name")
	shift 2
	pcctl tenant add "$name" --password-file "$T/password-$name" "$@"
}
