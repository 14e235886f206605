#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
#
# Two peers behind NATs, and relays between them: through a relay where both NATs are symmetric,
# directly where they keep ports, and from one relay to another when the first one is gone.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_native.sh
source "$(dirname "$0")/lib_native.sh"
begin_native || exit 1
check "a key file is the user's alone" [ "$(stat -c %a "$T/home-a/pcpeer/identity.key")" = 600 ]
start_relay 1 || exit 1
launch_peer a 1
check "a relay that does not know the peer: one line" \
	wait_for 10 grep -q "it does not know this peer" "$T/peer-a.log"
know_peers 1 || exit 1
check "and once it does, the peer registers by itself" wait_for 10 is_now a '.relays[0].registered' true
start_peer b 1 || exit 1
ok "both peers register with the relay"
check "the peers cannot reach each other" bash -c "! nsenter --net=/run/netns/$(ns a) ping -c 1 -W 1 192.168.2.2 >/dev/null"
echo_service

# --- consent ---
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
check "connect says where it listens" [ "$(peer a connect "$B" udp:7000 --listen 127.0.0.1:7000)" = \
	"udp:7000 of that peer is at 127.0.0.1:7000" ]
wait_for 10 grep -q "udp:7000 of $B: refused" "$T/peer-a.log"
check "who is not trusted is refused, and told so" [ $? = 0 ]
check "and the other side says whom" grep -q "$A asks for udp:7000: refused, it is not trusted" "$T/peer-b.log"
peer b trust add "$A" >/dev/null
check "once trusted, there is a session" wait_for 10 is_now a '.connects[0].ready' true
peer a connect "$B" udp:7000 --listen 127.0.0.1:7001 >/dev/null 2>"$T/err"
check "the same service twice: one line" grep -qx "pcpeer: udp:7000 of that peer is connected already" "$T/err"
peer a connect "$B" udp:7009 --listen 127.0.0.1:7000 >/dev/null 2>"$T/err"
check "a port in use: one line" grep -qx "pcpeer: 127.0.0.1:7000: the port is in use" "$T/err"
peer b expose udp:7000 --to 127.0.0.1:7 >/dev/null 2>"$T/err"
check "a service exposed twice: one line" grep -qx "pcpeer: udp:7000 is exposed already" "$T/err"

# --- symmetric NATs: through the relay ---
talk 1000 3
all_back "datagrams there and back through the relay"
is "it stays on the relay" "$(status a '.peers[0].way')" relay
talk 100 0.2 1406
all_back "the largest datagrams"
talk 100 0.2 1407
check "larger ones are dropped, and the log says what fits" grep -q "does not fit .* 1406 bytes" "$T/peer-a.log"

# --- kill -9 of pcd ---
talk_in_background 500 4
sleep 1
kill -KILL "${RELAY_PID[1]}"
talked
is "with pcd killed, datagrams go on" "$(jq -c '.sent - .back' <<<"$TALK")" 0
diag <<<"$TALK"
start_relay 1
talk 500 2
all_back "and when it is back"

# --- iperf3, full size ---
peer b expose udp:5201 --to 127.0.0.1:5201 >/dev/null
peer a connect "$B" udp:5201 --listen 127.0.0.1:5201 >/dev/null
# Its server has a small buffer, which overflows behind the peers when the machine is busy.
before=$(overflows b)
iperf 30M 4 1400
lost=$(jq '.end.sum.lost_packets' "$T/iperf.json")
check "iperf3, datagrams of full size: lost only where its own buffer was full" \
	[ "$lost" -le $(($(overflows b) - before)) ]
is "the peers' sockets dropped nothing" "$(drops a) $(drops b)" "0 0"
jq -c '.end.sum | {bits_per_second, packets, lost_packets}' "$T/iperf.json" | diag

# --- NATs that keep ports: directly ---
nat_mode preserve
end_pid "${PEER_PID[a]}"
end_pid "${PEER_PID[b]}"
start_relay 2 || exit 1
know_peers 2 || exit 1
start_peer b 1 2 || exit 1
start_peer a 1 2 || exit 1
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
began=$(date +%s%N)
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 >/dev/null
# What is sent before there is any way waits, but not for long.
wait_for 5 is_now a '.connects[0].ready' true
talk_in_background 150 6
check "NATs that keep ports: directly" wait_for 5 is_now a '.peers[0].way' direct
echo "# after $((($(date +%s%N) - began) / 1000000)) ms"
check "both ways" wait_for 2 is_now b '.peers[0].way' direct
talked
all_back "and no datagram is lost on the way there"

# wire_bytes N: what relayN has counted for the peers
counted() {
	relay_ctl "$1" pcstat -j tenant mesh | jq '.tenants[0] | .up.packets + .down.packets'
}
before=$(counted 1)
talk 1000 3
all_back "there and back directly"
is "the relay counts none of it" "$(($(counted 1) - before))" 0

# --- the direct way falls silent, one way, then comes back ---
# block on|off: nata lets nothing of natb in
block() {
	if [ "$1" = on ]; then
		in_ns nata nft insert rule ip fw forward iifname out ip saddr 203.0.113.12 drop
		in_ns nata nft add chain ip fw raw '{ type filter hook prerouting priority raw; }'
		in_ns nata nft add rule ip fw raw iifname out ip saddr 203.0.113.12 drop
	else
		nat_rules nata preserve
	fi
}
talk_in_background 500 8
sleep 1
block on
check "a direct way that falls silent is left for the relay" wait_for 5 is_now b '.peers[0].way' relay
sleep 1
block off
check "and taken again when it answers" wait_for 5 is_now b '.peers[0].way' direct
talked
all_back "without losing or doubling a datagram"
check "by sending some of them again" [ "$(status b .frames.resent)" -gt 0 ]

# --- the relay's host is gone ---
nat_mode symmetric
end_pid "${PEER_PID[a]}"
end_pid "${PEER_PID[b]}"
start_peer b 1 2 || exit 1
start_peer a 1 2 || exit 1
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 >/dev/null
wait_for 10 is_now a '.connects[0].ready' true
is "symmetric NATs: through the first relay" "$(status a '.peers[0].address')" 203.0.113.101:3478
talk_in_background 500 8
sleep 1
end_pid "${RELAY_PID[1]}" KILL
remove_namespace "$(ns relay1)"
talked
diag <<<"$TALK"
check "the peers meet on the other relay within 3 s" [ "$(jq .gap_ms <<<"$TALK")" -le 3000 ]
check "and datagrams flow there" [ "$(jq .back <<<"$TALK")" -ge 2000 ]
is "through the second relay" "$(status a '.peers[0].address')" 203.0.113.102:3478
is "as both say" "$(status b '.peers[0].address')" 203.0.113.102:3478

# --- a NAT forgets, and gives other ports from then on ---
for side in a b; do
	in_ns nat$side conntrack -F >/dev/null 2>&1
	talk_in_background 200 16
	talked
	check "the NAT of $side forgets: datagrams go on" [ "$(jq .back <<<"$TALK")" -ge 400 ]
	diag <<<"$TALK"
	talk 500 1
	all_back "and nothing is lost then"
done

# --- a peer is started again ---
for side in b a; do
	end_pid "${PEER_PID[$side]}" KILL
	start_peer $side 2 || exit 1
	[ $side = b ] && peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
	[ $side = a ] && peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 >/dev/null
	talk 100 6
	check "peer $side is killed and started again" [ "$(jq .back <<<"$TALK")" -ge 200 ]
	diag <<<"$TALK"
	talk 500 1
	all_back "and nothing is lost then"
done

# --- trust ends ---
peer b trust remove "$A" >/dev/null
talk 100 1
is "who is no longer trusted gets nothing" "$(jq .back <<<"$TALK")" 0
peer b trust add "$A" >/dev/null
check "and is served again later" wait_for 20 is_now a '.connects[0].ready' true

# --- another key than the relay's ---
end_pid "${PEER_PID[a]}"
# shellcheck disable=SC2034 # start_peer reads it
RELAY_ID[2]=$A
launch_peer a 2
check "a relay with another key: one line" wait_for 10 grep -q "no answer: .* is $A its own" "$T/peer-a.log"
is "and the status says so" "$(status a '.relays[0].problem' | cut -c 1-9)" "no answer"
finish
