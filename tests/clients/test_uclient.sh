#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
#
# turnutils_uclient of coturn: channels, Send and Data, client to client, padding, IPv6 relayed
# addresses, extra requests, negative tests, broken messages, random disconnects. Nothing may be
# lost.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "$0")/lib.sh"
command -v turnutils_uclient >/dev/null || skip_all "turnutils_uclient is not installed"
clients_up
spawn_in peer "$T/peer.log" turnutils_peer -L 198.18.2.2 -L fd18:2::2
peer_listens() { [ -n "$(in_ns peer ss -Hlun "sport = :3480")" ]; }
wait_for 5 peer_listens

# Passes when the client ended well, sent something, and got everything back.
uclient() {
	local name=$1 out=$T/uclient.out
	shift
	in_ns client timeout 80 turnutils_uclient -u u -w p -n 60 -z 5 "$@" >"$out" 2>&1
	local status=$? sent
	sent=$(sed -n 's/.*tot_send_msgs=\([0-9]*\), tot_recv_msgs=\([0-9]*\)$/\1 \2/p' "$out" | tail -1)
	if [ $status = 0 ] && grep -q 'Total lost packets 0 (' "$out" &&
		[ "${sent% *}" = "${sent#* }" ] && [ "${sent% *}" -gt 0 ]; then
		ok "uclient $name"
	else
		not_ok "uclient $name" "status $status, sent and received $sent
$(tail -n 12 "$out")"
	fi
}

uclient "channels" -m 2 -e 198.18.2.2 198.18.1.1
uclient "-s: Send and Data" -m 2 -s -e 198.18.2.2 198.18.1.1
uclient "-y: client to client" -m 2 -y 198.18.1.1
uclient "-y -s: client to client by Send and Data" -m 2 -y -s 198.18.1.1
uclient "-D: padded ChannelData" -m 2 -D -l 101 -e 198.18.2.2 198.18.1.1
uclient "-x: IPv6 relayed address" -m 2 -x -e fd18:2::2 198.18.1.1
uclient "-x over IPv6" -m 2 -x -e fd18:2::2 fd18:1::1
uclient "-X over IPv6" -m 2 -X -e 198.18.2.2 fd18:1::1
uclient "-g: DONT-FRAGMENT" -m 2 -g -e 198.18.2.2 198.18.1.1
uclient "-G: extra requests" -m 2 -G -e 198.18.2.2 198.18.1.1
uclient "-N: negative tests" -m 1 -c -N -y 198.18.1.1

# captured FILTER COUNT ARGUMENTS...: so many clients at once; what captures of both sides say has to
# pass the jq filter.
# Each message that was well formed has to arrive at the peer, once, and each answer at the client's
# host: what the client itself counts says less when it loses on purpose.
captured() {
	local filter=$1 count=$2 i running=() captures=()
	shift 2
	for i in client peer; do
		spawn_in $i "$T/tcpdump.$i" tcpdump -U -n -i eth0 -B 16384 -w "$T/$i.pcap" udp
		captures+=("$SPAWNED")
		wait_for 5 grep -qs 'listening on' "$T/tcpdump.$i"
	done
	for ((i = 1; i <= count; i++)); do
		in_ns client timeout 25 turnutils_uclient -u u -w p -c "$@" -e 198.18.2.2 198.18.1.1 \
			>"$T/captured.$i" 2>&1 &
		running+=($!)
	done
	wait "${running[@]}"
	for i in "${captures[@]}"; do end_pid "$i" INT; done
	/usr/bin/python3 "$CLIENTS/relayed.py" "$T/client.pcap" "$T/peer.pcap" 3478 >"$T/relayed"
	lossy=$(grep -L 'Total lost packets 0 (' "$T"/captured.* | wc -l)
	rm "$T"/captured.*
	echo "# $lossy of $count clients counted a loss: $(cat "$T/relayed")"
	jq -e "$filter and .up.missing + .up.extra + .down.missing + .down.extra == 0" \
		<"$T/relayed" >/dev/null
}

# -R overwrites random bytes of one message in ten, headers, channel numbers and its own sequence
# numbers included.
broken() {
	captured '.broken > 0 and .up.sent > 40 and .down.sent > 40' 20 -n 20 -z 5 -m 1 -R
}
check "uclient -R: what is not broken arrives, and its answer, once" broken

# -B closes all sockets right after a burst of more than five messages: their answers meet closed
# ports.
disconnected() {
	captured '.up.sent > 20 and .down.sent > 20' 3 -n 60 -z 1 -m 20 -B && [ "$lossy" -gt 0 ]
}
check "uclient -B: all arrives and is answered until the client is gone" disconnected
uclient "channels, after the broken messages and clients" -m 1 -e 198.18.2.2 198.18.1.1

cred=$(pcctl -j credential u)
out=$T/timed.out
in_ns client timeout 60 turnutils_uclient -y -n 20 -z 5 -u "$(jq -r .username <<<"$cred")" \
	-w "$(jq -r .password <<<"$cred")" 198.18.1.1 >"$out" 2>&1
check "a time-limited credential of pcctl works" grep -q 'Total lost packets 0 (' "$out"

in_ns client timeout 30 turnutils_uclient -n 1 -c -u u -w wrong -e 198.18.2.2 198.18.1.1 \
	>"$T/wrong.out" 2>&1
check "a wrong password is refused" [ $? != 0 ]
check "the daemon lives" pcd_lives
finish
