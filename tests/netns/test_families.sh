#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 200
#
# Every mix of families, by ChannelData and by Send and Data indications, there and back: what was
# sent, received and counted is equal, to the packet and the byte, and user space sees none of it.
# Then the same between two clients of the relay, who reach each other inside.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star_native
in_ns client ping -c 1 -W 2 fd18:1::1 >/dev/null
in_ns peer ping -c 1 -W 2 fd18:2::1 >/dev/null
long_queue client peer
pcd_config "$T/pcd.conf" "relay xdp = native" "relay listen = 198.18.1.1:3478" \
	"relay listen = [fd18:1::1]:3478" "relay relay-address = 198.18.2.1" \
	"relay relay-address = fd18:2::1" "relay interface = c0" "relay interface = p0" \
	"relay allow-peer = fd18::/16"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p || exit 1
tenant v p || exit 1

SIZE=160
COUNT=100000
RATE=20000
data_in_user_space() { pcstat -j health | jq '.turn.data_up + .turn.data_down'; }

# IP and UDP; the header of ChannelData; that of an indication with a peer of family $1
udp_bytes() { if [ "$1" = 6 ]; then echo 48; else echo 28; fi; }
data_bytes() { if [ "$1" = 6 ]; then echo 48; else echo 36; fi; }
server_of() { if [ "$1" = 6 ]; then echo "[fd18:1::1]:3478"; else echo 198.18.1.1:3478; fi; }
peer_of() { if [ "$1" = 6 ]; then echo "[fd18:2::2]:7000"; else echo 198.18.2.2:7000; fi; }

# snapshot TENANT: packets, payload and wire bytes up, the same down, what user space forwarded
snapshot() {
	pcstat -j tenant "$1" | jq -c '.tenants[0] | [.up.packets, .up.payload_bytes, .up.wire_bytes,
		.down.packets, .down.payload_bytes, .down.wire_bytes, .user.packets]'
}
# since BEFORE AFTER
since() { jq -cn "[$2, $1] | transpose | map(.[0] - .[1])"; }

# transfer CLIENT-FAMILY PEER-FAMILY channel|send
transfer() {
	local cf=$1 pf=$2 how=$3 name="IPv$1 to IPv$2, $3" before data0 sink head=4 send=
	[ "$how" = channel ] || { send=--send head=$(data_bytes "$pf"); }
	peer_sink "$(peer_of "$pf")" $COUNT 3000 echo
	sink=$SPAWNED
	before=$(snapshot u)
	data0=$(data_in_user_space)
	in_ns client timeout 60 "$PC_HELPERS/turnload" --server "$(server_of "$cf")" --user u \
		--password p --peer "$(peer_of "$pf")" --count $COUNT --size $SIZE --rate $RATE \
		--echo --idle-ms 2000 --release $send >"$T/load.json" 2>"$T/load.err" ||
		diag <"$T/load.err"
	wait_for 10 grep -q packets "$T/sink.log"
	end_pid "$sink"
	is "$name: sent, received, came back" \
		"$(jq -c '[.sent, .echoed_distinct, .echoed, .echoed_bytes]' "$T/load.json") $(
			grep packets "$T/sink.log" | jq -c '[.distinct, .bytes]')" \
		"[$COUNT,$COUNT,$COUNT,$((COUNT * SIZE))] [$COUNT,$((COUNT * SIZE))]"
	is "$name: packets, payload and wire bytes counted both ways" \
		"$(since "$before" "$(snapshot u)")" "[$COUNT,$((COUNT * SIZE)),$((COUNT * (SIZE + \
			$(udp_bytes "$pf")))),$COUNT,$((COUNT * SIZE)),$((COUNT * (SIZE + head + \
			$(udp_bytes "$cf")))),0]"
	is "$name: data packets in user space" "$(($(data_in_user_space) - data0))" 0
}

for how in channel send; do
	for families in "4 4" "6 6" "4 6" "6 4"; do
		# shellcheck disable=SC2086
		transfer $families $how
	done
done

# --- between two clients ---

# client_wait SIDE TENANT FAMILY ARG...: it waits for the other's address
client_wait() {
	local side=$1 user=$2 family=$3
	shift 3
	rm -f "$T/to$side" "$T/$side.err"
	mkfifo "$T/to$side"
	nsenter --net="/run/netns/$(ns client)" timeout 60 "$PC_HELPERS/turnload" \
		--server "$(server_of "$family")" --user "$user" --password p --peer - \
		--idle-ms 2000 "$@" <>"$T/to$side" >"$T/$side.json" 2>"$T/$side.err" &
	SPAWNED=$!
	pids+=("$SPAWNED")
	wait_for 10 grep -qs relayed "$T/$side.err"
}
relayed_of() { sed -n 's/^relayed //p' "$T/$1.err"; }

INSIDE=20000
# hairpin A-FAMILY RELAY-FAMILY B-FAMILY A-HOW B-HOW
hairpin() {
	local af=$1 rf=$2 bf=$3 ahow=$4 bhow=$5 a b before_a before_b data0
	local name="IPv$1 by $4 through IPv$2 to IPv$3 by $5" ahead=4 bhead=4 six=() asend=() bsend=()
	[ "$rf" = 4 ] || six=(--six)
	[ "$ahow" = channel ] || { asend=(--send) ahead=$(data_bytes "$rf"); }
	[ "$bhow" = channel ] || { bsend=(--send) bhead=$(data_bytes "$rf"); }
	client_wait b v "$bf" "${six[@]}" "${bsend[@]}" --serve --release
	b=$SPAWNED
	client_wait a u "$af" "${six[@]}" "${asend[@]}" --count $INSIDE --size $SIZE --rate 20000 \
		--echo --release
	a=$SPAWNED
	before_a=$(snapshot u) before_b=$(snapshot v) data0=$(data_in_user_space)
	relayed_of a >"$T/tob"
	wait_for 10 grep -q bound "$T/b.err"
	relayed_of b >"$T/toa"
	wait "$a"
	is "$name: all came back" \
		"$(jq -c '[.echoed_distinct, .echoed, .echoed_bytes]' "$T/a.json")" \
		"[$INSIDE,$INSIDE,$((INSIDE * SIZE))]"
	local up=$((INSIDE * (SIZE + $(udp_bytes "$rf")))) payload=$((INSIDE * SIZE))
	local down_a=$((INSIDE * (SIZE + ahead + $(udp_bytes "$af"))))
	local down_b=$((INSIDE * (SIZE + bhead + $(udp_bytes "$bf"))))
	is "$name: counted for both, up and down" \
		"$(since "$before_a" "$(snapshot u)") $(since "$before_b" "$(snapshot v)")" \
		"[$INSIDE,$payload,$up,$INSIDE,$payload,$down_a,0] $(
			)[$INSIDE,$payload,$up,$INSIDE,$payload,$down_b,0]"
	is "$name: data packets in user space" "$(($(data_in_user_space) - data0))" 0
	kill -TERM "$b" 2>/dev/null
	wait "$b" 2>/dev/null
}

hairpin 4 4 4 channel channel
hairpin 4 4 4 send send
hairpin 4 6 4 send send
hairpin 6 6 6 channel channel
hairpin 6 6 6 send send
hairpin 4 6 6 channel send
hairpin 6 4 4 send channel
hairpin 6 4 6 channel send

is "nothing was dropped" \
	"$(pcstat -j drops | jq -c '[.drops[] | select(.kind == "drop" and .kernel + .user > 0) | .name]')" \
	"[]"
# Permissions and flows are gone with their sessions.
is "no flow and no permission is left" \
	"$(pcstat -j health | jq -c '[.kernel.flows.used, .kernel.permissions.used]')" "[0,0]"
finish
