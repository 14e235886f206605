#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
#
# Native peers of pcd: who may have a session, who may call whom, pipes with every frame counted for
# whoever asked, addresses that change, and what is forged.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star
xdp_pass client eth0
xdp_pass peer eth0
pcd_config "$T/pcd.conf" "relay listen = 198.18.1.1:3478" "relay listen = 198.18.2.1:3478" \
	"relay listen = [fd18:1::1]:3478" "relay relay-address = 198.18.2.1" "relay interface = c0" "relay interface = p0" \
	"relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
tenant acme p || exit 1
tenant other p || exit 1
NODE=$(pcctl -j identity show | jq -r .peer_id)

declare -A np_in np_pid

# np NAME NAMESPACE RELAY [LOCAL]: a native peer; its identity comes of its name
np() {
	local name=$1 ns=$2 relay=$3 seed fd
	shift 3
	seed=$(printf '%s' "$name" | sha256sum | cut -c 1-64)
	rm -f "$T/np-$name.in"
	mkfifo "$T/np-$name.in"
	nsenter --net="/run/netns/$(ns "$ns")" "$PC_HELPERS/nativepeer" "$relay" "$NODE" "$seed" "$@" \
		<"$T/np-$name.in" >>"$T/np-$name.log" 2>&1 &
	np_pid[$name]=$!
	pids+=("$!")
	exec {fd}>"$T/np-$name.in"
	np_in[$name]=$fd
}

tell() {
	local name=$1
	shift
	echo "$*" >&"${np_in[$name]}"
}

# heard NAME PATTERN: within 10 s
heard() { wait_for 10 grep -qE -- "$2" "$T/np-$1.log"; }
# once NAME COMMAND PATTERN: the first line of the answer
once() {
	local name=$1
	: >"$T/np-$name.log"
	tell "$name" "$2"
	heard "$name" "$3"
	grep -m 1 -E -- "$3" "$T/np-$name.log"
}
np_count() { once "$1" count '^count '; }
has_received() { [ "$(np_count "$1" | cut -d ' ' -f 3)" = "$2" ]; }
peer_id() {
	"$PC_HELPERS/nativepeer" --identity "$(printf '%s' "$1" | sha256sum | cut -c 1-64)"
}
counted() { pcstat -j tenant "$1" | jq -c ".tenants[0] | [.up.packets, .up.payload_bytes, .down.packets, .down.payload_bytes]"; }
in_user() { pcstat -j tenant "$1" | jq '.tenants[0].user.packets'; }
state_of() { pcctl -j peer list "$1" | jq -r '.peers[0] | [.connected, .registered, .address] | join(" ")'; }
has_state() { [ "$(state_of "$1")" = "$2" ]; }

ALICE=$(peer_id alice) BOB=$(peer_id bob) CAROL=$(peer_id carol)

# --- who may have a session ---
np alice client 198.18.1.1:3478
check "an unknown peer is refused" heard alice '^lost not trusted'
check "and that is said" wait_for 5 grep -q "native peer $ALICE at 198.18.1.2:.* refused" "$T/pcd.log"
end_pid "${np_pid[alice]}"
check "peers are added" pcctl peer add alice "$ALICE" --tenant acme
check "by did:key, too" pcctl peer add bob "$(pcctl -j identity show "$BOB" | jq -r .did)" --tenant acme
pcctl peer add carol "$CAROL" --tenant other >/dev/null
np alice client 198.18.1.1:3478
np bob peer 198.18.2.1:3478
np carol peer 198.18.2.1:3478
check "a known one is registered" heard alice '^registered 198.18.1.2:'
heard bob '^registered' && heard carol '^registered'
check "and shown" wait_for 5 has_state alice "$(state_of alice | grep -o '^true true 198.18.1.2:[0-9]*$')"

# --- who may call whom ---
is "another tenant's peer may not be called" "$(once alice "call $CAROL" '^(refused|up)')" \
	"refused not trusted by the other side"
tell bob deny
np_count bob >/dev/null # it has heard it
is "nor one that does not agree" "$(once alice "call $BOB" '^(refused|up)')" \
	"refused not trusted by the other side"
tell bob allow
np_count bob >/dev/null
is "nobody is nobody" "$(once alice "call $(peer_id nobody)" '^(refused|up)')" \
	"refused the peer is not registered"
is "no pipe so far" "$(counted acme) $(pcstat -j session | jq '.sessions | length')" "[0,0,0,0] 0"

# --- a pipe ---
open_pipe() {
	: >"$T/np-bob.log"
	once alice "call $BOB udp:51820" '^(refused|up)' >"$T/up"
	heard bob '^up'
}
check "a pipe" open_pipe
: >"$T/np-alice.log"
tell alice "send 1000 1000 5000"
check "its frames arrive" wait_for 10 has_received bob 1000
tell bob "send 500 200 5000"
check "both ways" wait_for 10 has_received alice 500
is "and are counted for whoever asked" "$(counted acme)" "[1000,1000000,500,100000]"
session() { pcstat -j session | jq -c "[.sessions[] | $1]"; }
is "it is a session" "$(session '[.kind, .tenant, .username, .peer, .up.packets, .down.packets]')" \
	'[["pipe","acme","alice","bob",1000,500]]'
is "of health, too" "$(pcstat -j health | jq -c '.native | [.on, .peers, .connected, .registered, .pipes]')" \
	"[true,3,3,3,1]"
heard alice '^meter'
check "whoever asked is told what was counted" heard alice '^meter 1000000 100000'
is "user space saw none of them" "$(in_user acme)" 0
is "no other pays" "$(counted other)" "[0,0,0,0]"

# --- what is forged ---
drops() { pcstat -j drops | jq "[.drops[] | select(.name == \"$1\") | .kernel + .user] | add"; }
has_drops() { [ "$(drops "$1")" -ge "$2" ]; }
most_of() { [ "$(drops "$1")" -gt 450000 ]; }
# What the link loses is not the relay's to drop.
tell alice "replay 500000"
tell alice "forge 500000"
check "half a million repeated frames are dropped" wait_for 30 most_of replay
check "and as many forged ones" wait_for 30 most_of pipe_tag
is "none arrived" "$(np_count bob)" "count 500 1000 0 1000000"
is "none was charged" "$(counted acme)" "[1000,1000000,500,100000]"

# --- an address that changes ---
tell alice "move 198.18.1.2:40404"
tell alice "send 10 100 1000"
check "frames alone do not move a session" wait_for 5 has_drops pipe_source 10
tell alice beat
check "a message does" wait_for 5 has_state alice "true true 198.18.1.2:40404"
tell alice "send 10 100 1000"
check "then its frames arrive" wait_for 5 has_received bob 1010
tell bob "send 10 100 1000"
check "and it gets those of others" wait_for 5 has_received alice 510

native_drops() { pcstat -j health | jq ".native.drops.$1"; }
has_native_drops() { [ "$(native_drops "$1")" -ge "$2" ]; }
replays=$(native_drops replay) forgeries=$(native_drops auth)
tell alice beat
tell alice "spoof 198.18.1.2:50505"
check "another source with what the peer said" wait_for 5 has_native_drops replay $((replays + 1))
check "or something like it" wait_for 5 has_native_drops auth $((forgeries + 1))
is "does not move its session" "$(state_of alice)" "true true 198.18.1.2:40404"

# --- ends ---
: >"$T/np-bob.log"
tell alice close
check "the other end hears of the end" heard bob '^down'
is "and its session is over" "$(pcstat -j session | jq '.sessions | length')" 0
open_pipe
: >"$T/np-alice.log"
is "a peer is removed" "$(pcctl peer remove bob)" "peer bob removed, 1 sessions ended"
check "it is told" heard bob '^lost not trusted'
check "and the others" heard alice '^down the other end is gone'
is "what was counted stays" "$(counted acme)" "[1010,1001000,510,101000]"

# --- of two tenants ---
pcctl peer add bob "$BOB" --tenant acme >/dev/null
pcctl peer remove carol >/dev/null
pcctl peer add carol "$CAROL" --tenant other --may-call alice,bob >/dev/null
end_pid "${np_pid[bob]}"
end_pid "${np_pid[carol]}"
np bob peer 198.18.2.1:3478
np carol client "[fd18:1::1]:3478"
: >"$T/np-bob.log"
: >"$T/np-carol.log"
heard bob '^registered' && heard carol '^registered'
check "a list of names is permission, IPv6 to IPv4 a way" once carol "call $BOB" '^up'
heard bob '^up'
tell carol "send 100 50 5000"
wait_for 5 has_received bob 100
is "up for one tenant" "$(counted other)" "[100,5000,0,0]"
is "is down for the other" "$(counted acme)" "[1010,1001000,610,106000]"
is "each has a session" "$(session '[.tenant, .username, .peer]' | jq -c sort)" \
	'[["acme","bob","carol"],["other","carol","bob"]]'
pcctl tenant set other --max-allocations 1 >/dev/null
is "a tenant has as many as it may" "$(once carol "call $BOB" '^(refused|up)')" "refused no room left"
: >"$T/np-bob.log"
is "a tenant that goes" "$(pcctl tenant del other)" "tenant other deleted, 1 sessions ended"
check "takes its peers along" heard carol '^lost not trusted'
check "and its pipes" heard bob '^down'
is "carol is no peer any more" "$(pcctl -j peer list | jq -c '[.peers[].name]')" '["alice","bob"]'

# --- a port ---
spawn_in peer "$T/sink.log" "$PC_HELPERS/udpsink" 198.18.2.2:7000 1000000 600000 echo
wait_for 5 grep -qs ready "$T/sink.log"
is "a port for an address that is denied" "$(once alice "allocate 127.0.0.1:7000" '^(refused|up)')" \
	"refused not trusted by the other side"
is "or a port number" "$(once alice "allocate 198.18.2.2:53" '^(refused|up)')" \
	"refused not trusted by the other side"
check "a port for one that is not" once alice "allocate 198.18.2.2:7000" '^up .* 198.18.2.1:[0-9]+$'
before=$(np_count alice | cut -d ' ' -f 3)
tell alice "send 200 300 2000"
check "plain datagrams go there and back" wait_for 5 has_received alice $((before + 200))
is "and are counted" "$(counted acme)" "[1210,1061000,810,166000]"
tell alice close
wait_for 5 test "$(session .id)" = '[]'

# --- killed ---
open_pipe
user=$(in_user acme)
before=$(np_count bob | cut -d ' ' -f 3)
: >"$T/np-alice.log"
: >"$T/np-bob.log"
tell alice "send 20000 100 5000"
wait_for 5 test "$(np_count bob | cut -d ' ' -f 3)" -gt "$before"
pcd_kill9
: >"$T/pcd.log"
start_pcd relay "$T/pcd.conf" || exit 1
check "pcd that was killed takes the pipe up" grep -q "adopted 1 pipes" "$T/pcd.log"
is "with its session" "$(session '[.kind, .tenant, .username, .peer]')" '[["pipe","acme","alice","bob"]]'
check "no frame was lost" wait_for 20 has_received bob $((before + 20000))
is "nor one not counted" "$(counted acme)" "[21210,3061000,810,166000]"
is "user space saw none" "$(in_user acme)" "$user"
check "its peers notice, and come back" wait_for 40 has_state alice "true true 198.18.1.2:40404"
wait_for 40 test "$(state_of bob | cut -d ' ' -f 2)" = true
is "the pipe stays" "$(grep -cE '^(down|lost)' "$T/np-alice.log") $(session .username)" '0 ["alice"]'
before=$(np_count alice | cut -d ' ' -f 3)
tell bob "send 100 100 1000"
check "and carries frames" wait_for 5 has_received alice $((before + 100))
: >"$T/np-bob.log"
tell alice close
check "until its end" heard bob '^down no longer needed'

# --- stopped, with a pipe whose peer is gone when pcd comes back ---
open_pipe
stop_pcd
end_pid "${np_pid[bob]}"
: >"$T/np-alice.log"
start_pcd relay "$T/pcd.conf" || exit 1
is "a pipe of a stopped pcd is taken up" "$(session .username)" '["alice"]'
is "a peer that is removed before it came back" "$(pcctl peer remove bob)" \
	"peer bob removed, 0 sessions ended"
is "has no pipe any more" "$(session .username)" '[]'
check "and its other end hears of it, once it is back" \
	wait_for 40 grep -q '^down the other end is gone' "$T/np-alice.log"

# --- without XDP ---
stop_pcd
pcd_config "$T/pcd.conf" "relay listen = 198.18.1.1:3478" "relay listen = 198.18.2.1:3478" \
	"relay relay-address = 198.18.2.1" "relay xdp = off"
start_pcd relay "$T/pcd.conf" || exit 1
pcctl peer add bob "$BOB" --tenant acme >/dev/null
end_pid "${np_pid[alice]}"
np alice client 198.18.1.1:3478
np bob peer 198.18.2.1:3478
: >"$T/np-alice.log"
: >"$T/np-bob.log"
heard alice '^registered' && heard bob '^registered'
open_pipe
user=$(in_user acme)
counted acme >"$T/before"
tell alice "send 1000 1400 2000"
check "user space forwards as the kernel does" wait_for 10 has_received bob 1000
is "and counts the same" "$(in_user acme) $(counted acme)" \
	"$((user + 1000)) $(jq -c '.[0] += 1000 | .[1] += 1400000' "$T/before")"
finish
