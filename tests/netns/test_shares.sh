#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 200
#
# Tenants that all want more share a full uplink by weight and by tier; who is alone has all of it; who
# comes gets his share, and who goes leaves it to others. How exactly and how fast is the question of
# the benchmark (tools/bench/rates.sh) and of tests/unit/test_rate_pool: here the order must be right.
# In the kernel and in user space.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star_native
long_queue client

SIZE=1222 # 1250 bytes as sent on: 10 kbit

# blast NAME MBIT SECONDS: in the background; pid in $BLAST
blast() {
	spawn_in client "$T/$1.log" "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user "$1" \
		--password p --peer 198.18.2.2:7000 --size $SIZE --rate "$(($2 * 100))" \
		--count $(($2 * 100 * $3))
	BLAST=$SPAWNED
	blasts+=("$BLAST")
}

# Those that send, as they are.
silence() {
	local pid
	for pid in "${blasts[@]}"; do end_pid "$pid" KILL; done
	blasts=()
}

# All tenants at one moment: bytes, drops and rate by name.
snapshot() {
	pcstat -j tenant | jq -c '.tenants | map({key: .name, value: {bytes: .up.wire_bytes,
		drops: (.drops.rate + .drops.capacity), bps: .rate.up.bps}}) | from_entries'
}

# moved NAME BYTES SNAPSHOT: whether that many more have passed since; all together then are in $NOW
moved() {
	NOW=$(snapshot)
	jq -e --argjson was "$3" ".$1.bytes - \$was.$1.bytes >= $2" <<<"$NOW" >/dev/null
}

# What was saved up is spent, and the loop has had time to share.
settled() {
	wait_for 10 moved "$1" 1000000 "$(snapshot)"
}

# during NAME BYTES: what every tenant moved and lost while NAME moved that much, in $MOVED
during() {
	local was
	was=$(snapshot)
	wait_for 20 moved "$1" "$2" "$was" || diag <<<"$1 stood still"
	MOVED=$(jq -c --argjson was "$was" 'with_entries(.key as $k
		| .value = {bytes: (.value.bytes - $was[$k].bytes), drops: (.value.drops - $was[$k].drops)})' \
		<<<"$NOW")
}

# says FILTER JSON
says() {
	jq -e "$1" <<<"$2" >/dev/null
}

# Three times at most, where the machine did something else meanwhile: then senders stand still.
# measured NAME FILTER COMMAND...: COMMAND leaves $MOVED
measured() {
	local name=$1 filter=$2 try
	shift 2
	for try in 1 2 3; do
		"$@"
		silence
		says "$filter" "$MOVED" && break
		diag <<<"$name, try $try: $MOVED"
	done
	check "$name" says "$filter" "$MOVED"
}

together() {
	blast one 40 30
	blast three 40 30
	settled one && settled three
	during three 4000000
}

# One has had the uplink for itself, the other was silent and has a second saved up.
joining() {
	blast one 40 30
	settled one
	blast three 40 30
	settled three
	during three 3000000
}

leaving() {
	blast one 40 30
	blast three 40 30
	settled one && settled three
	end_pid "$BLAST" KILL
	wait_for 10 eval "snapshot | jq -e '.three.bps == 0' >/dev/null"
	during one 3000000
}

alone() {
	blast low 40 30
	settled low
	during low 5000000
}

# Who is alone has what others leave, until one comes who may have more.
yielding() {
	blast low 40 30
	settled low
	blast three 12 30
	settled three
	during three 3000000
}

kept() {
	pcstat -j tenant | jq -c '.tenants | map([.name, .drops, .marks])'
}

# Whether what was sent has been counted.
still() {
	local was
	was=$(kept)
	sleep 0.3
	[ "$(kept)" = "$was" ]
}

for mode in native off; do
	blasts=()
	pcd_config "$T/pcd.conf" "relay xdp = $mode" "relay capacity = 20M"
	start_pcd relay "$T/pcd.conf" || exit 1
	tenant one p --weight 1 --tier paid && tenant three p --weight 3 --tier paid || exit 1
	tenant low p --tier free || exit 1

	measured "$mode: weights 1 and 3 share as 1 to 3" \
		'.three.bytes / .one.bytes | . > 2.4 and . < 3.6' together
	measured "$mode: and so when one joins the other" \
		'.three.bytes / .one.bytes | . > 2.4 and . < 3.6' joining
	measured "$mode: when it leaves, the other has its part" '.one.bytes >= 3000000' leaving
	measured "$mode: free alone is not held to its share" '.low.bytes >= 5000000' alone
	measured "$mode: paid below its share loses next to nothing to free, which yields but is not starved" \
		'.three.drops <= 100 and .low.bytes > 10000 and .low.bytes < 2 * .three.bytes' yielding
	check "$mode: drops are counted" says '.low.drops > 1000' "$(snapshot)"
	pcstat tiers >"$T/tiers" && grep -q '^paid *paid *1 ' "$T/tiers"
	check "$mode: pcstat tiers shows them" test $? = 0

	wait_for 10 still
	was=$(kept)
	pcd_kill9
	start_pcd relay "$T/pcd.conf" || exit 1
	diag <<<"$was"
	is "$mode: kill -9 loses no count of what was refused" "$(kept)" "$was"
	pcctl shutdown >"$T/out"
	wait "$PCD_PID"
	rm -rf "$T/state"
done
finish
