# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For tests of native peers: sourced after lib.sh.
#
#   begin_native                 what nearly every test begins with: root or skipped, a bpffs,
#                                topo_nats behind symmetric NATs, homes of both peers; $A and $B
#                                are their ids
#   topo_nats                    two peers behind NATs, two relays
#   nat_mode MODE                of both: preserve | symmetric; forgets what was there
#   start_relay N                pcd on relayN; its id is ${RELAY_ID[N]}, its pid ${RELAY_PID[N]}
#   relay_ctl N pcctl|pcstat ... says something to it
#   peer_id SIDE                 a or b
#   know_peers N                 both peers may use relayN
#   start_peer SIDE N...         pcpeer up with these relays; pid in ${PEER_PID[SIDE]}
#   peer SIDE ...                pcpeer as that peer
#   status SIDE JQ               of pcpeer status -j
#
#   a 192.168.1.2 -- nata 203.0.113.11 --+
#                                        +-- inet, a bridge -- relay1 203.0.113.101
#   b 192.168.2.2 -- natb 203.0.113.12 --+                  -- relay2 203.0.113.102

declare -A PEER_PID RELAY_PID RELAY_ID

nat_lan() { # SIDE LAN PUBLIC
	veth "$1" eth0 "nat$1" in
	addr "$1" eth0 "$2.2/24"
	addr "nat$1" in "$2.1/24"
	route "$1" add default via "$2.1"
	in_ns "nat$1" sysctl -qw net.ipv4.ip_forward=1
	veth "nat$1" out inet "p$1"
	ip -n "$(ns inet)" link set "p$1" master br0
	addr "nat$1" out "$3/24"
}

topo_nats() {
	local n
	ns_add a b nata natb inet relay1 relay2
	ip -n "$(ns inet)" link add br0 type bridge stp_state 0
	ip -n "$(ns inet)" link set br0 up
	nat_lan a 192.168.1 203.0.113.11
	nat_lan b 192.168.2 203.0.113.12
	for n in 1 2; do
		veth "relay$n" wan inet "prelay$n"
		ip -n "$(ns inet)" link set "prelay$n" master br0
		addr "relay$n" wan "203.0.113.10$n/24"
		# The receiver of XDP_TX needs a program of its own.
		xdp_pass inet "prelay$n" || return 1
	done
}

# What comes uninvited is dropped, not refused: an answer, and the entry that goes with it, would
# cost the later, invited packet its port.
nat_rules() { # NAT MODE
	local how=masquerade
	[ "$2" = preserve ] || how="masquerade random,fully-random"
	in_ns "$1" nft -f - <<-N
		table ip nat
		delete table ip nat
		table ip nat {
			chain post {
				type nat hook postrouting priority srcnat;
				oifname "out" $how;
			}
		}
		table ip fw
		delete table ip fw
		table ip fw {
			chain forward {
				type filter hook forward priority filter; policy drop;
				ct state established,related accept;
				iifname "in" oifname "out" accept;
			}
			chain input {
				type filter hook input priority filter; policy accept;
				iifname "out" meta l4proto udp ct state new drop;
			}
		}
	N
}

nat_mode() {
	local side
	for side in a b; do
		nat_rules nat$side "$1" || return 1
		in_ns nat$side conntrack -F >/dev/null 2>&1
	done
}

begin_native() {
	need_root
	mount_bpffs
	topo_nats || return 1
	nat_mode symmetric || return 1
	mkdir -p "$T/home-a" "$T/home-b"
	# shellcheck disable=SC2034
	A=$(peer_id a) B=$(peer_id b)
}

relay_ctl() {
	local n=$1 program=$2
	shift 2
	"$PC_BIN/$program" -s "$T/relay$n.sock" "$@"
}

start_relay() {
	local n=$1
	shift
	mkdir -p "$T/state$n"
	cat >"$T/relay$n.conf" <<-C
		[node]
		state-dir = $T/state$n
		control-socket = $T/relay$n.sock
		bpffs = $BPFFS/pcd$n
		[relay]
		listen = 203.0.113.10$n:3478
		interface = wan
		$(printf '%s\n' "$@")
	C
	spawn_in "relay$n" "$T/pcd$n.log" "$PC_BIN/pcd" -c "$T/relay$n.conf"
	# shellcheck disable=SC2034
	RELAY_PID[$n]=$SPAWNED
	wait_for 40 relay_answers "$n" || {
		diag <"$T/pcd$n.log"
		return 1
	}
	RELAY_ID[$n]=$(relay_ctl "$n" pcctl -j identity show | jq -r .peer_id)
}

relay_answers() {
	relay_ctl "$1" pcctl tenant list >/dev/null 2>&1
}

peer() {
	local side=$1
	shift
	XDG_CONFIG_HOME=$T/home-$side XDG_RUNTIME_DIR=$T/home-$side in_ns "$side" "$PC_BIN/pcpeer" "$@"
}

peer_id() {
	peer "$1" -j identity show | jq -r .peer_id
}

know_peers() {
	relay_ctl "$1" pcctl tenant add mesh >/dev/null &&
		relay_ctl "$1" pcctl peer add a "$(peer_id a)" --tenant mesh >/dev/null &&
		relay_ctl "$1" pcctl peer add b "$(peer_id b)" --tenant mesh >/dev/null
}

status() {
	peer "$1" -j status 2>/dev/null | jq -r "$2"
}

# overflows SIDE: datagrams that sockets had no room for; drops SIDE: those of pcpeer's sockets
overflows() { in_ns "$1" awk '/^Udp:/ && $6 ~ /^[0-9]/ { print $6 }' /proc/net/snmp; }
drops() {
	in_ns "$1" ss -Huanmp | grep -A 1 pcpeer | grep -o ',d[0-9]*)' | tr -dc '0-9\n' |
		awk '{ n += $1 } END { print n + 0 }'
}

# is_now SIDE JQ TEXT
is_now() {
	[ "$(status "$1" "$2")" = "$3" ]
}

launch_peer() {
	local side=$1 n relays=()
	shift
	for n in "$@"; do relays+=(--relay "203.0.113.10$n:3478/${RELAY_ID[$n]}"); done
	mkdir -p "$T/home-$side"
	XDG_CONFIG_HOME=$T/home-$side XDG_RUNTIME_DIR=$T/home-$side \
		spawn_in "$side" "$T/peer-$side.log" "$PC_BIN/pcpeer" up "${relays[@]}"
	# shellcheck disable=SC2034
	PEER_PID[$side]=$SPAWNED
}

start_peer() {
	local side=$1
	launch_peer "$@"
	wait_for 10 is_now "$side" '[.relays[].registered] | all' true || {
		diag <"$T/peer-$side.log"
		return 1
	}
}

# What b offers at 127.0.0.1:7000: all that comes goes back.
echo_service() {
	spawn_in b "$T/sink.log" "$PC_HELPERS/udpsink" 127.0.0.1:7000 1000000000 600000 echo
	wait_for 5 grep -qs ready "$T/sink.log"
}

# talk RATE SECONDS [SIZE]: from a's listener on 127.0.0.1:7000 to b and back; JSON in $TALK
talk() {
	TALK=$(in_ns a timeout 60 python3 "$TOP/tests/helpers/udptalk.py" 127.0.0.1 7000 "$@")
}

# The same in the background, into $T/talk.json; talked waits for it.
talk_in_background() {
	spawn_in a "$T/talk.json" timeout 60 python3 "$TOP/tests/helpers/udptalk.py" 127.0.0.1 7000 "$@"
	talk_pid=$SPAWNED
}

talked() {
	wait "$talk_pid"
	TALK=$(cat "$T/talk.json")
}

# all_back NAME: nothing was lost and nothing came twice
all_back() {
	is "$1" "$(jq -c '[.sent - .back, .twice]' <<<"$TALK")" '[0,0]' || diag <<<"$TALK"
}

# iperf RATE SECONDS [SIZE]: UDP from a's listener on 127.0.0.1:5201 to iperf3 in b. Its control
# connection is TCP: that goes beside the peers, through a Unix socket. JSON in $T/iperf.json
iperf() {
	local control
	spawn_in b "$T/iperf-server.log" iperf3 -s -1 -B 127.0.0.1 -p 5201
	control=$SPAWNED
	spawn_in b "$T/iperf-b.log" socat "UNIX-LISTEN:$T/iperf.sock,fork,unlink-early" TCP:127.0.0.1:5201
	spawn_in a "$T/iperf-a.log" socat TCP-LISTEN:5201,bind=127.0.0.1,fork,reuseaddr "UNIX:$T/iperf.sock"
	wait_for 5 in_ns b bash -c 'ss -Hltn sport = :5201 | grep -q .'
	wait_for 5 in_ns a bash -c 'ss -Hltn sport = :5201 | grep -q .'
	wait_for 5 test -S "$T/iperf.sock"
	in_ns a timeout 60 iperf3 -u -c 127.0.0.1 -p 5201 -b "$1" -t "$2" -l "${3:-1400}" \
		--pacing-timer 500 -J >"$T/iperf.json" 2>"$T/iperf.err"
	end_pid "$control"
}
