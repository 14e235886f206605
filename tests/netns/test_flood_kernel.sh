#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 110
#
# Five million packets of all kinds from random sources, with the limits as they are by default: pcd
# gets what the limit on all strangers together lets through, and has next to nothing to do. A
# tenant's transfer beside it loses nothing that the links did not lose, requests of clients with an
# allocation are not held up, and new clients get in.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_flood.sh
source "$(dirname "$0")/lib_flood.sh"
# shellcheck source=tests/netns/lib_relay.sh
source "$(dirname "$0")/lib_relay.sh"
need_root
mount_bpffs

PACKETS=5000000
CHUNK=100000
TOTAL_RATE=5000 # stranger-total-rate
CPU_SHARE=10	# percent of a CPU that pcd may use meanwhile
RETRIES=8	# of a new client, on average: each waits half a second

topo_flood
for i in {10..209}; do addr client eth0 198.18.1.$i/24; done
start_flooded

kinds() {
	local relayed=$1 payload
	# Answered in the kernel; the same with an attribute that the kernel leaves to pcd.
	KINDS=("$(frame 203.0.113.1 198.18.1.1 3478 "$BINDING")"
		"$(frame 203.0.113.1 198.18.1.1 3478 "00010004$COOKIE${TXID}ffee0000")")
	for payload in "$ALLOCATE" "$CHANNEL_DATA" \
		"00160014$COOKIE${TXID}001200080001b00ce12b14c600130004aabbccdd"; do
		KINDS+=("$(frame 203.0.113.1 198.18.1.1 3478 "$payload")")
	done
	KINDS+=("$(frame 203.0.113.1 198.18.2.1 "$relayed" 00112233445566778899)")
	KINDS+=("$(frame 203.0.113.1 198.18.1.1 3478 000000000000000000000000000000000000000000000000)")
}

flood() {
	local i n=${#KINDS[@]} kind
	for ((i = 0; i < PACKETS / CHUNK; i++)); do
		kind=${KINDS[i % n]}
		# The last one ends in random bytes.
		if ((i % n == n - 1)); then
			send "$kind" $CHUNK random noise 44
		else
			send "$kind" $CHUNK random
		fi
	done
	echo "done" >"$T/flood.done"
}

# What the kernel left to pcd of what may be a stranger's.
passed() {
	pcstat -j drops | jq '[.drops[] | select(.name == ("pass_control", "pass_no_flow", "pass_unusual",
		"pass_tailroom")) | .kernel] | add'
}

# Each with an address that was never seen before.
new_clients() {
	local n=0 bad=0 retries=0 r
	until [ -s "$T/flood.done" ] || [ $n = 200 ]; do
		turnload --from 198.18.1.$((10 + n)):40000 --peer 198.18.2.2:7001 --count 20 --rate 1000 --echo --release \
			>"$T/new.json" 2>>"$T/new.err" || bad=$((bad + 1))
		r=$(jq .retries "$T/new.json")
		n=$((n + 1)) retries=$((retries + ${r:-0}))
	done
	diag <<<"$n new clients, $retries retransmissions"
	check "there are new clients during the flood" [ $n -ge 3 ]
	is "all of them get in" "$bad" 0
	check "with at most $RETRIES retransmissions each" [ $retries -le $((RETRIES * n)) ]
}

LINK_DROPS=$(link_drops)
start_transfer 80000
spawn_in peer "$T/sink2.log" "$PC_HELPERS/udpsink" 198.18.2.2:7001 1000000 600000 echo
wait_for 5 grep -qs ready "$T/sink2.log"
PEER=198.18.2.2:7001 hold early 200 1000 --after
kinds "$(pcstat -j session | jq -r '.sessions[0].relayed[0]' | sed 's/.*://')"
passed_before=$(passed) cpu=$(cpu_time) start=$(date +%s%N)
dropped=$(counted strangers kernel)
: >"$T/flood.done"
flood &
FLOOD=$!
pids+=("$FLOOD")
wait_for 20 eval "[ \$(counted strangers kernel) -gt $((dropped + 10000)) ]"
go early
wait_for 10 grep -qs sent "$T/early.err"
go early
held early
is "a client's data and requests go on" "$HELD" "[true,200]"
is "and none of its requests is sent twice" "$(jq .retries "$T/early.json")" 0
new_clients
wait "$FLOOD"
spent=$((($(date +%s%N) - start) / 1000000))
cpu=$(($(cpu_time) - cpu)) passed=$(($(passed) - passed_before))
diag <<<"$PACKETS packets in $spent ms, $passed of them left to pcd, which worked $cpu ms"
check "the kernel drops most" [ $(($(counted strangers kernel) - dropped)) -ge $((PACKETS / 3)) ]
check "and leaves to pcd what it may" [ $passed -le $((2 * (TOTAL_RATE + TOTAL_RATE * spent / 1000))) ]
check "which hardly works meanwhile" [ $cpu -le $((spent * CPU_SHARE / 100 + 20)) ]
end_transfer
stop_pcd
is "pcd ends well" "$ENDED" 0
finish
