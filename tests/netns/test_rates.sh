#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 150
#
# A tenant gets his rate and not more, at any time, by UDP that sends too much and by real TCP, up and
# down; what is refused is counted; a new rate holds at once. How close TCP comes to the rate is the
# benchmark's question (tools/bench/rates.sh): here it must only not be starved.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_rates.sh
source "$(dirname "$0")/lib_rates.sh"
need_root
command -v iperf3 >/dev/null || skip_all "iperf3 is not installed"
[ -c /dev/net/tun ] || skip_all "no TUN devices on this kernel"
mount_bpffs
relayed || exit 1
pcd_config "$T/pcd.conf" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1

# The limiter in the line is the relay's own, in user space.
limits=(clock)
if limited; then limits+=(pcd); else skip "pcd" "it does not limit tenants"; fi

for limit in "${limits[@]}"; do
	for cc in cubic reno; do
		one_flow "$limit" 50 $cc 1 20 3 5 || exit 1
		check "$limit, $cc: the test bed lost nothing" holds .clean "$FLOW"
		check "$limit, $cc: never more than its peak" holds '.peak < 1.9' "$FLOW"
		check "$limit, $cc: not starved" holds '.share > 0.5' "$FLOW"
		check "$limit, $cc: drops are counted" holds '.drops > 0' "$FLOW"
	done
done
limited || finish

# blast NAME COUNT: 100 Mbit/s of datagrams, 1228 bytes as the relay sends them.
blast() {
	in_ns client "$PC_HELPERS/turnload" --server 198.18.1.1:3478 --user "$1" --password p \
		--peer 198.18.2.2:42000 --size 1200 --rate 10000 --count "$2" >"$T/blast.json"
}
usage() { pcstat -j tenant "$1" | jq -c '.tenants[0]'; }

# bounded MBIT FROM_MS TO_MS: not more than the rate and 50 ms of it, not much less either.
bounded() {
	local got
	got=$(bins "$T/bins" t "$2" "$3")
	holds ".mbit <= $1 * (1 + 60 / ($3 - $2)) and .mbit > $1 * 0.8" "$got"
}

line_start 2500 l0,m0,t || exit 1
new_tenant u --rate 20M || exit 1
blast u 40000
check "UDP: the line lost nothing" line_stop
u=$(usage u)
is "UDP: what did not pass is a drop of the rate" \
	"$(jq '.up.packets + .drops.rate' <<<"$u")" "$(jq .sent "$T/blast.json")"
is "UDP: what passed arrived" "$(bins "$T/bins" t 0 99999 | jq .packets)" "$(jq .up.packets <<<"$u")"
# A new tenant has a tenth of a second saved up, and spends it at 1.25 times the rate.
check "UDP: the rate, when what was saved is spent" bounded 20 1500 3900

line_start 2500 l0,m0,t || exit 1
blast u 60000 &
sender=$!
wait_for 10 eval '[ -s "$T/bins" ] && [ "$(wc -l <"$T/bins")" -gt 250 ]'
changed=$(now_ms)
pcctl tenant set u --rate 40M >"$T/out"
wait $sender
check "changed: the line lost nothing" line_stop
check "changed: the new rate holds" bounded 40 $((changed + 300)) $((changed + 2300))
finish
