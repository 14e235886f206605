# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For tests of what strangers do to a relay: sourced after lib.sh.
#
#   topo_flood                   topo_star, strangers and a relay configured by start_flooded
#   start_flooded [LINE...]      pcd with a tenant u, more lines of its configuration
#   frame SOURCE DESTINATION PORT PAYLOAD
#   send FRAME COUNT [random|random24] [noise OFFSET]
#   counted REASON kernel|user | cpu_time | between NAME GOT LOW HIGH
#   start_transfer COUNT | end_transfer      a tenant's, beside it

GEN=$PC_BUILD/bench/gen.bpf.o
SINK=$PC_BUILD/bench/sink.bpf.o
SERVER=198.18.1.1:3478

# The flood on one CPU, the transfer on another, where there are two.
FLOOD_CPU=() LOAD_CPU=()
if [ "$(nproc)" -ge 2 ]; then
	FLOOD_CPU=(taskset -c 1)
	LOAD_CPU=(taskset -c 0)
fi

#   strangers eth0 198.18.3.2 --- 198.18.3.1 s0 relay, beside what topo_star has
topo_flood() {
	topo_star
	ns_add strangers
	veth relay s0 strangers eth0
	addr relay s0 198.18.3.1/24
	addr strangers eth0 198.18.3.2/24
	route relay add default via 198.18.3.2
	S0_MAC=$(mac_of relay s0 | tr -d :)
	xdp_pass client eth0 2>/dev/null || skip_all "no native XDP on veth here"
	xdp_pass peer eth0
	spawn_in strangers "$T/replies.log" "$PC_HELPERS/xdpgen" sink "$SINK" eth0 0
	# shellcheck disable=SC2034 # for the caller
	REPLIES=$SPAWNED
	wait_for 5 grep -qs ready "$T/replies.log" || exit 1
}

start_flooded() {
	pcd_config "$T/pcd.conf" "relay listen = $SERVER" "relay relay-address = 198.18.2.1" \
		"relay interface = c0" "relay interface = p0" "relay interface = s0" \
		"relay xdp = native" "$@"
	start_pcd relay "$T/pcd.conf" || exit 1
	tenant u p --max-allocations 100 >/dev/null || exit 1
}

# Payloads.
# shellcheck disable=SC2034
{
	COOKIE=2112a442
	TXID=0102030405060708090a0b0c
	ALLOCATE=00030008$COOKIE${TXID}0019000411000000
	BINDING=00010000$COOKIE$TXID
	BARE=00030000$COOKIE$TXID
	NO_COOKIE=0003000800000000${TXID}0019000411000000
	GARBAGE=16fefd0000000000000000003c0100003000000000000000
	CHANNEL_DATA=4abc001000112233445566778899aabbccddeeff
}

# between NAME GOT LOW HIGH
between() {
	if [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]; then
		ok "$1 ($2)"
	else
		not_ok "$1" "$2 is not in $3 to $4"
	fi
}

# frame SOURCE DESTINATION PORT PAYLOAD: in hex; without UDP checksum, as sources change later.
frame() {
	local len=$((${#4} / 2)) ip sum=0 i
	ip=$(printf '4500%04x000000004011%s%02x%02x%02x%02x%02x%02x%02x%02x' $((28 + len)) 0000 \
		${1//./ } ${2//./ })
	for ((i = 0; i < 40; i += 4)); do sum=$((sum + 0x${ip:i:4})); done
	sum=$(((sum & 0xffff) + (sum >> 16)))
	sum=$((((sum & 0xffff) + (sum >> 16)) ^ 0xffff))
	printf '%s0200000000010800%s%04x%s3039%04x%04x0000%s' "$S0_MAC" "${ip:0:20}" $sum \
		"${ip:24}" "$3" $((8 + len)) "$4"
}

# send FRAME COUNT [random|random24] [noise OFFSET]
send() {
	in_ns strangers "${FLOOD_CPU[@]}" "$PC_HELPERS/xdpgen" send "$GEN" eth0 "$2" 96 "$1" "${@:3}" \
		>>"$T/sent.log" || not_ok "frames are sent" "$(tail -n 1 "$T/sent.log")"
}

# counted REASON kernel|user
counted() {
	pcstat -j drops | jq --arg name "$1" ".drops[] | select(.name == \$name) | .$2"
}

# CPU time of pcd so far, in ms: user and system
cpu_time() {
	awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000 / tick }' \
		"/proc/$PCD_PID/stat"
}

# start_transfer COUNT: from client to peer and back, 4000 a second
start_transfer() {
	COUNT=$1
	spawn_in peer "$T/sink.log" "${LOAD_CPU[@]}" "$PC_HELPERS/udpsink" 198.18.2.2:7000 $COUNT 5000 echo
	UDPSINK=$SPAWNED
	wait_for 5 grep -qs ready "$T/sink.log"
	spawn_in client "$T/load.log" "${LOAD_CPU[@]}" "$PC_HELPERS/turnload" --server $SERVER --user u \
		--password p --peer 198.18.2.2:7000 --count $COUNT --rate 4000 --echo --idle-ms 2000
	LOAD=$SPAWNED
	wait_for 10 grep -qs bound "$T/load.log"
}

end_transfer() {
	local lost drops
	wait_for 100 grep -qs '"ok"' "$T/load.log"
	wait_for 10 grep -qs '"packets"' "$T/sink.log"
	wait "$LOAD" "$UDPSINK"
	grep '"ok"' "$T/load.log" >"$T/load.json"
	lost=$((COUNT - $(jq .echoed_distinct "$T/load.json")))
	drops=$(($(link_drops) - LINK_DROPS))
	if [ $lost -le $drops ] && [ $lost -le $((COUNT / 1000)) ]; then
		ok "the transfer lost nothing that the links did not lose ($lost, $drops)"
	else
		not_ok "the transfer lost nothing that the links did not lose" \
			"lost $lost, links $drops: $(cat "$T/load.json" "$T/sink.log")"
	fi
	is "nothing of it was refused by a socket" \
		"$(pcstat -j drops | jq '.drops[] | select(.name == "send") | .user')" 0
	is "and it went through the kernel" \
		"$(pcstat -j tenant u | jq '.tenants[0].user.packets')" 0
}
