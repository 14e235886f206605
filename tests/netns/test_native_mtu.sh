#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 180
#
# Paths of native peers that carry less than a full frame, on the peer's own link and behind its
# router; and peers that reach their relay over IPv6.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_native.sh
source "$(dirname "$0")/lib_native.sh"
begin_native || exit 1

addr relay1 wan fd00:5::101/64
for side in a b; do
	n=1
	[ $side = b ] && n=2
	addr $side eth0 fd00:$n::2/64
	addr nat$side in fd00:$n::1/64
	addr nat$side out fd00:5::1$n/64
	route $side add default via fd00:$n::1
	route relay1 add fd00:$n::/64 via fd00:5::1$n
	in_ns nat$side sysctl -qw net.ipv6.conf.all.forwarding=1
	# Nothing between the two but what the relay brings.
	in_ns nat$side nft add table ip6 fw
	in_ns nat$side nft add chain ip6 fw forward '{ type filter hook forward priority 0; }'
	in_ns nat$side nft add rule ip6 fw forward ip6 saddr fd00:$((3 - n))::/64 drop
done
wait_for 10 in_ns a ping -6 -c 1 -W 1 fd00:5::101 >/dev/null
wait_for 10 in_ns b ping -6 -c 1 -W 1 fd00:5::101 >/dev/null

start_relay 1 "listen = [fd00:5::101]:3478" || exit 1
know_peers 1 || exit 1
start_peer b 1 || exit 1
echo_service
peer b trust add "$A" >/dev/null
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null

# both ends of a's link
link_mtu() {
	ip -n "$(ns a)" link set eth0 mtu "$1" && ip -n "$(ns nata)" link set in mtu "$1"
}
said() { grep -c "the path to .* carries" "$T/peer-a.log"; }
begin() {
	start_peer a 1 || exit 1
	peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 >/dev/null
	wait_for 10 is_now a '.connects[0].ready' true
}

# --- the peer's own link ---
link_mtu 1300
begin
talk 200 1 1226
all_back "1226 bytes pass a link of 1300"
is "of which nobody speaks" "$(said) $(status a '[.frames.too_large, (.paths | length)] | join(" ")')" "0 0 0"
talk 200 1 1227
is "1227 bytes do not" "$(jq .back <<<"$TALK")" 0
is "one line says so, and what fits" \
	"$(grep -o 'the path to .*' "$T/peer-a.log")" \
	"the path to relay 203.0.113.101:3478 carries packets of 1300 bytes: datagrams above 1226 bytes are dropped, so lower the MTU of what sends them"
is "each is counted" "$(status a .frames.too_large)" "$(jq .sent <<<"$TALK")"
is "and with the listener, all but the one that found out" "$(status a '.connects[0].dropped')" \
	"$(jq '.sent - 1' <<<"$TALK")"
is "the path is shown" "$(status a '.paths[0] | [.address, .mtu, .largest_datagram] | join(" ")')" \
	"203.0.113.101:3478 1300 1226"
check "also to people" grep -q "to 203.0.113.101:3478 carries 1300 bytes, datagrams of 1226 at most" <(peer a status)
talk 500 1 1226
all_back "smaller ones pass as before"
is "nothing was sent in fragments" "$(in_ns a awk '/^Ip:/ && $19 ~ /^[0-9]/ { print $19 }' /proc/net/snmp)" 0

# --- behind its router ---
end_pid "${PEER_PID[a]}"
link_mtu 1500
ip -n "$(ns nata)" link set out mtu 1400
begin
talk 200 1 1326
all_back "1326 bytes pass a router whose way has 1400"
talk 200 1 1406
is "what is larger does not" "$(jq '.back < .sent' <<<"$TALK")" true
is "the router says it, and the peer does" "$(grep -o 'carries packets of .* bytes are' "$T/peer-a.log")" \
	"carries packets of 1400 bytes: datagrams above 1326 bytes are"
check "and counts" [ "$(status a .frames.too_large)" -gt 100 ]
talk 500 1 1326
all_back "what fits passes"
ip -n "$(ns nata)" link set out mtu 1500

# --- IPv6 ---
end_pid "${PEER_PID[a]}"
end_pid "${PEER_PID[b]}"
for side in b a; do
	XDG_CONFIG_HOME=$T/home-$side XDG_RUNTIME_DIR=$T/home-$side spawn_in $side "$T/peer-$side.log" \
		"$PC_BIN/pcpeer" up --relay "[fd00:5::101]:3478/${RELAY_ID[1]}"
	PEER_PID[$side]=$SPAWNED
	check "peer $side registers over IPv6" wait_for 10 is_now $side '[.relays[].registered] | all' true
done
is "as whom it is seen" "$(status a '.relays[0].observed' | cut -d ']' -f 1)" "[fd00:1::2"
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 >/dev/null
check "a service over IPv6" wait_for 10 is_now a '.connects[0].ready' true
talk 500 2 1406
all_back "full datagrams there and back"
is "through the relay" "$(status a '.peers[0] | [.way, .address] | join(" ")')" "relay [fd00:5::101]:3478"
ip -n "$(ns a)" -6 route replace default via fd00:1::1 mtu 1350
talk 200 1 1257
is "a route of 1350 carries 1256 bytes" "$(jq .back <<<"$TALK") $(status a '.paths[0] | [.address, .mtu, .largest_datagram] | join(" ")')" \
	"0 [fd00:5::101]:3478 1350 1256"
talk 200 1 1256
all_back "and no more"

# --- links that carry hardly anything, and no IPv6 ---
end_pid "${PEER_PID[a]}"
end_pid "${PEER_PID[b]}"
start_peer b 1 || exit 1
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
link_mtu 576
begin
talk 100 1 502
all_back "a link of 576 bytes carries 502"
end_pid "${PEER_PID[a]}"
link_mtu 500
launch_peer a 1
check "a peer registers over a link of 500, in fragments" wait_for 10 is_now a '.relays[0].registered' true
finish
