#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 180
#
# Pre-shared keys between a relay and a peer: the right one, another one, none; files of them.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_native.sh
source "$(dirname "$0")/lib_native.sh"
begin_native || exit 1
start_relay 1 || exit 1
relay_ctl 1 pcctl tenant add mesh >/dev/null
umask 077
head -c 32 /dev/urandom | base64 >"$T/psk"
head -c 32 /dev/urandom | base64 >"$T/other"
head -c 31 /dev/urandom | base64 >"$T/short"
cp "$T/psk" "$T/open"
chmod 644 "$T/open"

relay_state() { relay_ctl 1 pcctl -j peer list "$1" | jq .peers[0].connected; }
is_connected() { [ "$(relay_state "$1")" = "$2" ]; }

# --- files ---
# add_says TEXT FILE: pcctl, exit 2, one line; up_says: pcpeer, the same
add_says() {
	relay_ctl 1 pcctl peer add a "$A" --tenant mesh --psk-file "$2" 2>"$T/err" >/dev/null
	[ $? = 2 ] && [ "$(wc -l <"$T/err")" = 1 ] && grep -qF "$1" "$T/err"
}
up_says() {
	peer a up --relay "203.0.113.101:3478/${RELAY_ID[1]}" --psk-file "$2" 2>"$T/err" >/dev/null
	[ $? = 2 ] && [ "$(wc -l <"$T/err")" = 1 ] && grep -qF "$1" "$T/err"
}
check "pcctl: a key that is not there" add_says "$T/none: No such file" "$T/none"
check "of another size" add_says "$T/short: a pre-shared key is 32 bytes" "$T/short"
check "that others can read" add_says "$T/open: others can read it" "$T/open"
is "nothing was added" "$(relay_ctl 1 pcctl -j peer list | jq '.peers | length')" 0
check "pcpeer: a key that is not there" up_says "$T/none: No such file" "${RELAY_ID[1]}=$T/none"
check "of another size" up_says "$T/short: a pre-shared key is 32 bytes" "${RELAY_ID[1]}=$T/short"
check "that others can read" up_says "$T/open: others can read it" "${RELAY_ID[1]}=$T/open"
check "of no relay" up_says "$B is none of the relays" "$B=$T/psk"
check "without one" up_says "not PEER=FILE" "$T/psk"

# --- the same on both sides ---
check "a peer with a key is added" relay_ctl 1 pcctl peer add a "$A" --tenant mesh --psk-file "$T/psk"
relay_ctl 1 pcctl peer add b "$B" --tenant mesh >/dev/null
is "which is said, but not what it is" "$(relay_ctl 1 pcctl -j peer list a | jq -c '.peers[0].psk')" true
up() {
	local n="203.0.113.101:3478/${RELAY_ID[1]}"
	[ -z "${PEER_PID[a]:-}" ] || end_pid "${PEER_PID[a]}"
	XDG_CONFIG_HOME=$T/home-a XDG_RUNTIME_DIR=$T/home-a \
		spawn_in a "$T/peer-a.log" "$PC_BIN/pcpeer" up --relay "$n" "$@"
	PEER_PID[a]=$SPAWNED
}
up --psk-file "${RELAY_ID[1]}=$T/psk"
check "with the key it registers" wait_for 10 is_now a '.relays[0].registered' true
start_peer b 1 || exit 1
echo_service
peer b trust add "$A" >/dev/null
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 >/dev/null
check "and reaches one that has none" wait_for 10 is_now a '.connects[0].ready' true
talk 200 1
all_back "datagrams pass"

# --- killed: the key is in the store ---
end_pid "${RELAY_PID[1]}" KILL
start_relay 1 || exit 1
check "a pcd that was killed still knows it" wait_for 60 is_connected a true
talk 200 1
all_back "and datagrams pass"

# --- not the same ---
up --psk-file "${RELAY_ID[1]}=$T/other"
check "another key: one line says what may be wrong" \
	wait_for 15 grep -q "no answer: .* is its pre-shared key the same" "$T/peer-a.log"
is "and there is no session" "$(status a '.relays[0].connected') $(relay_state a)" "false false"
up
check "none: refused, and told why" wait_for 15 grep -q "or wants a pre-shared key" "$T/peer-a.log"
check "the relay says so, too" wait_for 5 grep -q "native peer a at .* refused: it came without its pre-shared key" "$T/pcd1.log"
is "there is no session" "$(relay_state a)" false
relay_ctl 1 pcctl peer remove a >/dev/null
relay_ctl 1 pcctl peer add a "$A" --tenant mesh >/dev/null
check "until the relay wants none" wait_for 60 is_now a '.relays[0].registered' true
finish
