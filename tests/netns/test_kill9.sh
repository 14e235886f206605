#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 200
#
# pcd is killed ten times while a million packets go through: none is lost, none is counted twice,
# and the allocation can be used afterwards. Then SIGTERM: the data plane goes on forwarding.
# PC_COUNT and PC_RATE: other numbers of packets, in all and per second; PC_KILLS: of kills.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star_native
long_queue client
pcd_config "$T/pcd.conf" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p || exit 1

COUNT=${PC_COUNT:-1000000}
RATE=${PC_RATE:-80000}
KILLS=${PC_KILLS:-10}
IDLE_COUNT=$((COUNT / 10))
SIZE=160

# start_load COUNT RATE [OPTION...]: sets $LOAD; its standard input is descriptor 9
start_load() {
	local count=$1 rate=$2
	shift 2
	rm -f "$T/go" "$T/load.err"
	mkfifo "$T/go"
	nsenter --net="/run/netns/$(ns client)" "$PC_HELPERS/turnload" --server 198.18.1.1:3478 \
		--user u --password p --peer 198.18.2.2:7000 --count "$count" --size $SIZE \
		--rate "$rate" --echo --hold "$@" <"$T/go" >"$T/load.json" 2>"$T/load.err" &
	LOAD=$!
	pids+=("$LOAD")
	exec 9>"$T/go"
	wait_for 10 grep -q bound "$T/load.err"
}

counted() { pcstat -j tenant u | jq ".tenants[0].$1"; }
sending() { kill -0 "$LOAD" 2>/dev/null && ! grep -q sent "$T/load.err"; }

peer_sink 198.18.2.2:7000 "$COUNT" 4000 echo
SINK=$SPAWNED
start_load "$COUNT" "$RATE" --after
echo go >&9
kills=0 backwards=0 last=0
for ((i = 0; i < KILLS; i++)); do
	sending || break
	pcd_kill9
	kills=$((kills + 1))
	start_pcd relay "$T/pcd.conf" || exit 1
	now=$(counted up.packets)
	[ "$now" -ge "$last" ] || backwards=$((backwards + 1))
	last=$now
done
is "times it was killed while packets were sent" "$kills" "$KILLS"
is "counters never went back" "$backwards" 0
wait_for 60 grep -q sent "$T/load.err"
wait_for 20 grep -q packets "$T/sink.log"
# What a cable loses on its way here is not the relay's: rings of veth are short.
is "the client's interface dropped none" "$(link_count client eth0 tx dropped)" 0
is "every packet arrived once" "$(grep packets "$T/sink.log" | jq -c '[.distinct, .duplicates]')" \
	"[$COUNT,0]"
is "every packet was counted once" "$(counted up.packets)" "$COUNT"
is "every byte was counted once" "$(counted up.payload_bytes)" $((COUNT * SIZE))
is "user space saw none since the last start" \
	"$(pcstat -j health | jq '.turn.data_up + .turn.data_down')" 0
check "the last start took the session over" grep -q "adopted 1 session" "$T/pcd.log"
echo after >&9
wait "$LOAD"
check "the allocation can be refreshed and bound afterwards" [ $? = 0 ]
end_pid "$SINK"

# A session that is idle while the daemon dies, and one that is used while nobody is there.
peer_sink 198.18.2.2:7000 $IDLE_COUNT 4000 echo
start_load $IDLE_COUNT $((RATE * 5 / 8)) --after
stop_pcd
echo go >&9
wait_for 30 grep -q sent "$T/load.err"
wait_for 20 grep -q packets "$T/sink.log"
is "without a daemon every packet arrives" "$(grep packets "$T/sink.log" | jq .distinct)" \
	$IDLE_COUNT
start_pcd relay "$T/pcd.conf" || exit 1
is "what passed meanwhile is counted" "$(counted up.packets)" $((COUNT + IDLE_COUNT))
echo after >&9
wait "$LOAD"
check "and the session goes on" [ $? = 0 ]
is "its end is in the store too" "$(sqlite3 -readonly "$T/state/pcd.db" 'PRAGMA integrity_check')" ok

# pcctl shutdown takes everything down.
pcctl shutdown
wait_for 10 eval '! pcd_lives'
is "after shutdown no program is left on c0" "$(xdp_mode relay c0)" off
is "nor on p0" "$(xdp_mode relay p0)" off
is "and no pin" "$(find "$BPFFS" -name 'pc[0-9]*' | wc -l)" 0
finish
