#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 280
#
# A hundred thousand live sessions, each from an address and port of its own, on some thousand relay
# ports. pcd is killed while some of them send, and started again: it takes up all of them, nothing
# that was sent is lost or counted twice, and every session can be refreshed afterwards.
# PC_SESSIONS: another number. Prints how long it took: until the first answer, and in all.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs

SESSIONS=${PC_SESSIONS:-100000}
PORTS=4096	# relay ports, each with a socket of its own
ADDRESSES=250	# of clients; each has SESSIONS / ADDRESSES ports
ACTIVE=200	# sessions that send
RATE=2000	# packets a second, all together
SERVER=198.18.1.1:3478

topo_star
# All addresses of these are theirs.
ip -n "$(ns client)" route add local 198.18.64.0/18 dev lo
ip -n "$(ns peer)" route add local 11.0.0.0/12 dev lo
route relay add 198.18.64.0/18 via 198.18.1.2
route relay add 11.0.0.0/12 via 198.18.2.2
xdp_pass client eth0 2>/dev/null || skip_all "no native XDP on veth here"
xdp_pass peer eth0
long_queue client
pcd_config "$T/pcd.conf" "relay xdp = native" "relay ports = 30000-$((30000 + PORTS - 1))" \
	"relay max-sessions = $((SESSIONS + SESSIONS / 8))" "relay stranger-rate = 0" \
	"relay stranger-net-rate = 0" "relay stranger-total-rate = 0" \
	"relay stranger-replies = 0"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p --max-allocations "$SESSIONS" --max-new-peers 1000000 >/dev/null || exit 1

health() { pcstat -j health | jq -c "$1"; }
counted() { pcstat -j tenant u | jq ".tenants[0].$1"; }
# answer WORD: the JSON line of turnmany that has it
answer() { grep "\"$1\"" "$T/many.log" | tail -n 1; }
# ask COMMAND WORD: and waits for its line
ask() {
	echo "$1" >&9
	wait_for 120 grep -qs "\"$2\"" "$T/many.log"
}

spawn_in peer "$T/echo.log" "$PC_HELPERS/turnmany" --echo 7000
ECHO=$SPAWNED
wait_for 5 grep -qs ready "$T/echo.log"
mkfifo "$T/commands"
nsenter --net="/run/netns/$(ns client)" "$PC_HELPERS/turnmany" --server $SERVER --user u \
	--password p --from 198.18.64.1 --addresses $ADDRESSES --sessions "$SESSIONS" \
	--peer 11.0.0.1 --peers 1000000 --active $ACTIVE --rate $RATE <"$T/commands" \
	>"$T/many.log" 2>"$T/many.err" &
pids+=("$!")
exec 9>"$T/commands"
wait_for 180 grep -qs '"sessions"' "$T/many.log"
is "all sessions are there" "$(answer sessions | jq -c '[.sessions, .failed]')" "[$SESSIONS,0]" ||
	diag <"$T/many.err"
is "and pcd says so" "$(health .sessions.used)" "$SESSIONS"
is "on as many relay ports as there are" "$(health '.turn.ports > 0')" true
diag <<<"set up in $(answer sessions | jq .seconds) s; $(grep -o '[0-9]* MiB of kernel.*' "$T/pcd.log" | tail -n 1)"
diag <<<"pcd takes $(awk '$1 == "VmRSS:" { print int($2 / 1024) }' "/proc/$PCD_PID/status") MiB"

echo traffic >&9
counting() { [ "$(counted up.packets)" -gt "$1" ]; }
wait_for 20 counting 1000
pcd_kill9
start=$(date +%s%N)
echo first >&9
start_pcd relay "$T/pcd.conf" || exit 1
wait_for 60 grep -qs '"first"' "$T/many.log"
diag <<<"first answer after $(answer first | jq '.seconds * 1000 | floor') ms, control after \
$((($(date +%s%N) - start) / 1000000)) ms"
grep adopted "$T/pcd.log" | diag
check "all are taken up again, and nothing else is left" grep -q "adopted $SESSIONS sessions, \
$SESSIONS flows, $SESSIONS permissions; dropped 0 sessions, 0 kernel entries" "$T/pcd.log"
before=$(counted up.packets)
wait_for 20 counting "$before"
ask stop echoed
sent=$(answer echoed | jq .sent)
is "what was sent meanwhile came back" "$(answer echoed | jq .echoed)" "$sent"
is "every packet was counted once" "$(counted up.packets) $(counted down.packets)" "$sent $sent"
is "and every byte" "$(counted up.payload_bytes)" "$(answer echoed | jq .payload)"
is "user space saw none of them" "$(health '.turn.data_up + .turn.data_down')" 0
ask refresh refreshed
is "every session can be refreshed" "$(answer refreshed | jq -c '[.refreshed, .failed]')" \
	"[$SESSIONS,0]"
diag <<<"refreshed in $(answer refreshed | jq .seconds) s"
ask end ended
is "and ended" "$(answer ended | jq -c '[.ended, .failed]')" "[$SESSIONS,0]"
is "then nothing is left of them" \
	"$(health '[.sessions.used, .turn.channels, .turn.permissions, .turn.ports]')" "[0,0,0,0]"
end_pid "$ECHO"
is "the peers got what was sent" "$(grep packets "$T/echo.log" | jq .packets)" "$sent"
stop_pcd
is "pcd ends well" "$ENDED" 0
finish
