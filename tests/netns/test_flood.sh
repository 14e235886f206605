#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 110
#
# A million packets from random sources leave nothing behind in pcd: no memory, no descriptor, no
# session. What is answered at all gets little, and less when much comes from one place: of that, most
# is dropped in the kernel and costs pcd nothing. A tenant's transfer beside it loses nothing, and
# afterwards there is room for new ones.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_flood.sh
source "$(dirname "$0")/lib_flood.sh"
need_root
mount_bpffs

PACKETS=1000000
CHUNK=10000	   # small enough for the buffer of the service socket: pcd gets to see them
RSS_TOLERANCE=1024 # KiB: a byte per packet; pages that are touched for the first time
RATE=20		   # stranger-replies, bursts of twice that; a /24 has 16 times as many
HOST_RATE=200	   # stranger-rate: what the kernel lets through or answers, bursts of twice that
NET_RATE=2000	   # stranger-net-rate: likewise, of a /24
NETWORK=500000	   # packets of the flood from one network
CPU_SHARE=5	   # percent of a CPU that pcd may use meanwhile

topo_flood
for i in 11 12 13 14 15 16 17 18; do addr client eth0 198.18.1.$i/24; done
# The limit on all of them together would leave too little to see.
start_flooded "relay stranger-replies = $RATE" "relay stranger-rate = $HOST_RATE" \
	"relay stranger-net-rate = $NET_RATE" "relay stranger-total-rate = 0"

# ask [HEX]: as a stranger; see tests/helpers/stranger.c. Each time from another of 8 addresses.
asked=0
ask() {
	asked=$((asked + 1))
	in_ns client "$PC_HELPERS/stranger" "$SERVER" \
		"198.18.1.$((11 + asked % 8)):$((20000 + asked))" "$@"
}

# Until pcd has handled what it received.
settle() {
	ask >/dev/null || not_ok "pcd answers"
}

# replies: packets and IP bytes that left for the strangers so far
replies() {
	local lines
	lines=$(grep -c packets "$T/replies.log")
	kill -USR1 "$REPLIES"
	wait_for 5 eval "[ \$(grep -c packets '$T/replies.log') -gt $lines ]" || return 1
	tail -n 1 "$T/replies.log" | jq -r '"\(.packets) \(.bytes - 14 * .packets)"'
}

# What the buffer of the service socket had no room for: how fast pcd gets a CPU is the machine's
# affair.
unread() {
	in_ns relay awk '$2 ~ /:0D96$/ { n += $NF } END { print n + 0 }' /proc/net/udp
}

SERVICE_KINDS=("$ALLOCATE" "$BINDING" "$BARE" "$NO_COOKIE" "$GARBAGE" "$CHANNEL_DATA")

# --- what a stranger gets, byte by byte ---

one_reply() {
	local got
	got=$(ask "$2")
	if [ "$(jq .replies <<<"$got")" = 1 ] && [ "$(jq .largest <<<"$got")" -le "$3" ]; then
		ok "$1: one answer of at most $3 bytes ($(jq .largest <<<"$got"))"
	else
		not_ok "$1: one answer of at most $3 bytes" "$got"
	fi
}

no_reply() {
	is "$1: no answer" "$(ask "$2" | jq .replies)" 0
}

rules() {
	local got method
	one_reply "Allocate of 28 bytes" $ALLOCATE 84
	one_reply "Binding" $BINDING 40
	between "Binding that the kernel leaves to pcd: an answer of at most 40 bytes" \
		"$(ask | jq .binding)" 20 40
	for method in 0003 0004 0006 0008 0009 000a 0fff; do
		no_reply "bare request of method $method" ${method}0000$COOKIE$TXID
	done
	no_reply "Allocate without the magic cookie" $NO_COOKIE
	no_reply "Binding without the magic cookie" 0001000000000000$TXID
	no_reply "a response" 01010000$COOKIE$TXID
	no_reply "an indication" 00110000$COOKIE$TXID
	no_reply "DTLS" $GARBAGE
	no_reply "ChannelData" $CHANNEL_DATA
	no_reply "nothing" ""
}

# --- what many strangers get ---

# flood_kind NAME PAYLOAD LARGEST: a chunk from random sources; LARGEST payload of an answer, or 0
flood_kind() {
	local name=$1 request=$((28 + ${#2} / 2)) before after lost n bytes
	before=$(replies) lost=$(unread)
	send "$(frame 203.0.113.1 198.18.1.1 3478 "$2")" $CHUNK random
	settle
	after=$(replies)
	lost=$(($(unread) - lost))
	n=$((${after% *} - ${before% *}))
	bytes=$((${after#* } - ${before#* }))
	if [ "$3" = 0 ]; then
		is "$name from $CHUNK sources: no answer" "$n" 0
		return
	fi
	between "$name from $CHUNK sources: at most one answer each, $lost unread" $n \
		$(((CHUNK - lost) / 10)) $CHUNK
	check "of $3 bytes at most" [ $bytes -le $((n * (28 + $3))) ]
	check "and twice the request at IP level at most" [ $bytes -le $((n * 2 * request)) ]
}

# limit_of RATE MS: what a limit of RATE a second lets through, its burst of twice that included
limit_of() {
	echo $((2 * $1 + $1 * $2 / 1000 + 1))
}

# limited NAME SOURCE HOW PAYLOAD RATE KERNEL_RATE: 5 chunks from one place. At most RATE answers a
# second; all but KERNEL_RATE a second is dropped in the kernel.
limited() {
	local name=$1 rate=$5 before after n start spent drops most
	before=$(replies) drops=$(counted source_rate kernel)
	start=$(date +%s%N)
	for _ in 1 2 3 4 5; do
		send "$(frame "$2" 198.18.1.1 3478 "$4")" $CHUNK $3
		settle
	done
	after=$(replies)
	drops=$(($(counted source_rate kernel) - drops))
	spent=$((($(date +%s%N) - start) / 1000000))
	n=$((${after% *} - ${before% *}))
	most=$(limit_of "$rate" $spent)
	between "$name: few of $((5 * CHUNK)) answered, at most $most in $spent ms" $n \
		$((2 * rate)) "$most"
	between "$name: the kernel drops all that is over its limit" $drops \
		$((5 * CHUNK - $(limit_of "$6" $spent))) $((5 * CHUNK - 2 * $6))
}

# --- what is left of them ---

rss() {
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$PCD_PID/status"
}

descriptors() {
	ls "/proc/$PCD_PID/fd" | wc -l
}

sessions() {
	pcstat -j health | jq -c '[.sessions.used, .turn.channels, .turn.permissions, .turn.ports]'
}

dropped() {
	pcstat -j drops | jq '[.drops[] | select(.kind == "drop") | .kernel + .user] | add'
}

# A flood of all kinds from one network: hardly anything of it gets as far as pcd.
network() {
	local kinds=("$@") i start spent drops cpu
	drops=$(counted source_rate kernel) cpu=$(cpu_time)
	start=$(date +%s%N)
	for ((i = 0; i < NETWORK / CHUNK; i++)); do
		send "$(frame 203.0.117.1 198.18.1.1 3478 "${kinds[i % ${#kinds[@]}]}")" $CHUNK random24
	done
	settle
	spent=$((($(date +%s%N) - start) / 1000000))
	cpu=$(($(cpu_time) - cpu))
	drops=$(($(counted source_rate kernel) - drops))
	check "one network: of $NETWORK packets in $spent ms the kernel drops 95 % ($drops)" \
		[ $drops -ge $((NETWORK / 100 * 95)) ]
	# Ticks of 10 ms: two of them are no measure.
	check "and pcd hardly works meanwhile ($cpu ms)" [ $cpu -le $((spent * CPU_SHARE / 100 + 20)) ]
}

million() {
	local kinds=() k no_permission binding round rounds before_rss before_fd before_sessions before after relayed n out lost
	relayed=$(pcstat -j session | jq -r '.sessions[0].relayed[0]')
	for k in "${SERVICE_KINDS[@]}"; do
		kinds+=("$(frame 203.0.113.1 198.18.1.1 3478 "$k")")
	done
	kinds+=("$(frame 203.0.113.1 198.18.2.1 "${relayed#*:}" 00112233445566778899)")
	kinds+=("$(frame 203.0.113.1 198.18.2.1 "$((${relayed#*:} ^ 1))" 00112233445566778899)")
	rounds=$((PACKETS / CHUNK / ${#kinds[@]} + 1))
	before_rss=$(rss) before_fd=$(descriptors) before_sessions=$(sessions)
	before=$(replies) n=$(dropped) lost=$(unread)
	no_permission=$(counted no_permission kernel) binding=$(counted binding kernel)
	for ((round = 0; round < rounds; round++)); do
		for k in "${kinds[@]}"; do
			send "$k" $CHUNK random
			settle
		done
		[ $round != $((rounds / 3)) ] ||
			check "the transfer runs beside the flood" kill -0 "$LOAD"
	done
	after=$(replies)
	n=$(($(dropped) - n)) lost=$(($(unread) - lost))
	out=$((${after% *} - ${before% *}))
	diag <<<"$((rounds * CHUNK * ${#kinds[@]})) packets: $out answered, $n dropped with a reason, $lost unread"
	# Bare requests, without cookie, garbage, ChannelData, to an allocated port.
	check "most of them got there" [ $((n + lost)) -ge $((rounds * CHUNK * 4)) ]
	# A link may lose a few.
	between "the kernel drops what is for an allocated port" \
		$(($(counted no_permission kernel) - no_permission)) \
		$((rounds * CHUNK / 100 * 99)) $((rounds * CHUNK))
	between "and answers Binding" $(($(counted binding kernel) - binding)) \
		$((rounds * CHUNK / 100 * 99)) $((rounds * CHUNK))
	between "answers to Allocate and Binding only" $out $((rounds * CHUNK / 100 * 99)) \
		$((2 * rounds * CHUNK))
	check "memory is where it was (VmRSS $before_rss, now $(rss) KiB)" \
		[ "$(rss)" -le $((before_rss + RSS_TOLERANCE)) ]
	is "so are descriptors" "$(descriptors)" "$before_fd"
	is "so are sessions, channels, permissions, ports" "$(sessions)" "$before_sessions"
}

rules
flood_kind "Allocate" $ALLOCATE 84
flood_kind "Binding" $BINDING 40
flood_kind "bare Allocate" $BARE 0
flood_kind "Allocate without cookie" $NO_COOKIE 0
flood_kind "garbage" $GARBAGE 0
flood_kind "ChannelData" $CHANNEL_DATA 0
limited "one address, Allocate" 203.0.113.77 "" $ALLOCATE $RATE $HOST_RATE
limited "one /24, Allocate" 203.0.114.77 random24 $ALLOCATE $((16 * RATE)) $NET_RATE
limited "one address, Binding" 203.0.115.77 "" $BINDING $HOST_RATE $HOST_RATE
limited "one /24, Binding" 203.0.116.77 random24 $BINDING $NET_RATE $NET_RATE
# shellcheck disable=SC2034 # for end_transfer
LINK_DROPS=$(link_drops)
start_transfer 60000
network "${SERVICE_KINDS[@]}"
million
end_transfer
peer_sink 198.18.2.2:7001 100 2000 echo
is "a new session works" "$(in_ns client timeout 20 "$PC_HELPERS/turnload" --server $SERVER --user u \
	--password p --peer 198.18.2.2:7001 --count 100 --rate 1000 --echo 2>/dev/null |
	jq .echoed_distinct)" 100
stop_pcd
is "pcd ends well" "$ENDED" 0
finish
