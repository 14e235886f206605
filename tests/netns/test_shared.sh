#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 400
#
# Four relay ports for 64 sessions, each with a peer of its own and payload of a length of its own:
# what comes back to a session is what it sent, with pcd killed between. In the kernel no data packet
# goes through user space; then the same in user space alone. A peer that all want is had by one
# session on each port: who is refused gets a port where it is free.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_relay.sh
source "$(dirname "$0")/lib_relay.sh"
need_root
mount_bpffs
topo_star
SESSIONS=64 PORTS=4 COUNT=200
start_sink
for ((i = 0; i < SESSIONS; i++)); do
	addr peer eth0 198.18.2.$((100 + i))/24
	spawn_in peer "$T/sink$i.log" "$PC_HELPERS/udpsink" 198.18.2.$((100 + i)):7000 1000000 600000 \
		echo
done
for ((i = 0; i < SESSIONS; i++)); do
	wait_for 5 grep -qs ready "$T/sink$i.log"
	in_ns relay ping -c 1 -W 2 198.18.2.$((100 + i)) >/dev/null
done

begin() {
	pcd_config "$T/pcd.conf" "relay ports = 50000-5000$((PORTS - 1))" "relay xdp = $1" \
		"relay stranger-rate = 0"
	start_pcd relay "$T/pcd.conf" || exit 1
}

# Half of them with Send indications, of lengths that need no padding: veth has no room for it.
hold_all() {
	local i bound=0 send
	for ((i = 0; i < SESSIONS; i++)); do
		send=()
		[ $((i % 2)) = 0 ] || send=(--send)
		PEER=198.18.2.$((100 + i)):7000 hold "s$i" $COUNT 1000 --size $((100 + 4 * i)) \
			--after --release "${send[@]}" && bound=$((bound + 1))
	done
	is "$1: sessions that have a permission" $bound $SESSIONS
}

# Each gets back its own, all of it, nothing else; and is alive.
all_get_their_own() {
	local i good=0
	for ((i = 0; i < SESSIONS; i++)); do
		go "s$i"
	done
	for ((i = 0; i < SESSIONS; i++)); do
		wait_for 20 grep -qs sent "$T/s$i.err"
		go "s$i"
	done
	for ((i = 0; i < SESSIONS; i++)); do
		held "s$i"
		[ "$(jq -c '[.ok, .echoed, .echoed_distinct, .echoed_bytes]' "$T/s$i.json")" = \
			"[true,$COUNT,$COUNT,$((COUNT * (100 + 4 * i)))]" ] && good=$((good + 1))
	done
	is "$1: sessions that got back what they sent, and nothing else" $good $SESSIONS
}

transfer() {
	local used=$2
	hold_all "$1"
	is "$1: all ports are in use, and shared" \
		"$(health '[.sessions.used, .turn.ports, .turn.ports_shared]')" \
		"[$SESSIONS,$PORTS,$PORTS]"
	check "$1: evenly" [ "$(health .turn.port_sessions)" -le $((SESSIONS / PORTS + 4)) ]
	check "$1: health warns" eval \
		"health .warnings | grep -q 'none was free, $PORTS have several sessions'"
	pcd_kill9
	start_pcd relay "$T/pcd.conf" || exit 1
	check "$1: all are taken up" grep -q "adopted $SESSIONS sessions" "$T/pcd.log"
	is "$1: with their ports" "$(health '[.turn.ports, .turn.ports_shared]')" "[$PORTS,$PORTS]"
	all_get_their_own "$1"
	is "$1: data packets in user space" "$(health '[.turn.data_up, .turn.data_down]')" \
		"[$used,$used]"
	is "$1: all is given back" "$(health '[.sessions.used, .turn.ports, .kernel.flows.used]')" \
		"[0,0,0]"
}

begin native
tenant u p --max-allocations 200 --max-new-peers 1000 || exit 1
transfer kernel 0

# --- a peer that everybody wants ---
for ((i = 0; i < SESSIONS / 8; i++)); do
	PEER=198.18.2.$((100 + i)):7000 hold "fill$i" 0 0 --release
done
have=0 twice=0
for ((i = 0; have < PORTS && i < 2 * PORTS; i++)); do
	if hold "same$have" 10 1000 --release; then
		have=$((have + 1)) last=$i
	else
		[ "${last:-$((i - 1))}" = $((i - 1)) ] || twice=$((twice + 1))
	fi
done
is "one peer: as many sessions have it as there are ports" $have $PORTS
is "one peer: nobody was refused twice" $twice 0
before=$(health .turn.conflicts)
refused "one peer: there is no further port with room for it" "CreatePermission: error 508"
refused "one peer: nor the next time" "CreatePermission: error 508"
is "one peer: both were counted" "$(health .turn.conflicts)" $((before + 2))
go same0
held same0
is "one peer: the one that goes had it" "$HELD" "[true,10]"
check "one peer: then there is room on that port" hold next 10 1000 --release
for name in same1 same2 same3 next; do
	go $name
	held $name
	is "one peer: $name has its own" "$HELD" "[true,10]"
done
for ((i = 0; i < SESSIONS / 8; i++)); do
	go "fill$i"
	held "fill$i"
done
is "nothing of it went through user space" "$(health '[.turn.data_up, .turn.data_down]')" \
	"[0,0]"
pcctl shutdown
wait_for 10 eval '! pcd_lives'

: >"$T/pcd.log"
rm -rf "$T/state"
begin off
tenant u p --max-allocations 200 --max-new-peers 1000 || exit 1
transfer "user space" $((SESSIONS * COUNT))
stop_pcd
finish
