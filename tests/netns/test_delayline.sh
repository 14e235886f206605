#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The delay line that rates are measured with: nothing arrives early, nothing is lost or changes
# places, and its policer lets through what its text says. How late it is depends on the machine and
# is printed only.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_rates.sh
source "$(dirname "$0")/lib_rates.sh"
need_root
command -v iperf3 >/dev/null || skip_all "iperf3 is not installed"
direct 1

# Two of the round trips' ends may be 30 us early by design.
for ms in 5 40 200; do
	line_start $((ms * 500)) l1,m1 || exit 1
	in_ns a1 ping -c 1 -W 2 198.18.1.2 >/dev/null # ARP
	in_ns a1 ping -c 100 -i 0.01 198.18.1.2 >"$T/ping.out"
	least=$(sed -n 's,^rtt [^=]*= \([0-9.]*\)/.*,\1,p' "$T/ping.out")
	check "$ms ms: no answer is early ($least)" \
		awk -v a="${least:-0}" -v b=$ms 'BEGIN { exit !(a >= b - 0.06) }'
	is "$ms ms: all come back in order" \
		"$(sed -n 's/.*icmp_seq=\([0-9]*\).*/\1/p' "$T/ping.out" | tr '\n' ' ')" \
		"$(seq -s ' ' 100) "
	check "$ms ms: the line lost nothing" line_stop
	jq -c '.pairs[0].up.late_us' "$T/line.json" | diag
done

overflows() { in_ns b1 nstat -asz UdpRcvbufErrors | awk '/^Udp/ { print $2 }'; }

line_start 20000 l1,m1 || exit 1
serve b1 198.18.1.2
in_ns a1 timeout 20 iperf3 -c 198.18.1.2 -u -l 1400 -b 200M -t 2 -J >"$T/udp.json"
# A receiver that is late loses some itself, and counts them.
got=$(jq -c '.end.streams[0].udp | [.lost_packets, .out_of_order]' "$T/udp.json")
check "200 Mbit/s: none lost, none out of order" holds ".[0] <= $(overflows) and .[1] == 0" "$got"
check "200 Mbit/s: the line lost nothing" line_stop
jq -c '.pairs[0].up.late_us' "$T/line.json" | diag

# limited_by PAIR FROM_MS TO_MS: datagrams at four times the rate. What no try may do is kept of all:
# how often the line lost something in $lost, the highest of each in $peaks.
limited_by() {
	line_start 2500 "$1" || return 1
	serve b1 198.18.1.2
	in_ns a1 timeout 20 iperf3 -c 198.18.1.2 -u -l 1400 -b 40M -t 3 -J >"$T/udp.json"
	line_stop || lost=$((lost + 1))
	FLOW=$(bins "$T/bins" t "$2" "$3")
	peaks=$(jq -c ". + [$(bins "$T/bins" t 0 99999 | jq .peak)]" <<<"$peaks")
}

# A sender that stalls makes it less, and lets a depth more through afterwards.
lost=0 peaks=[]
again 5 ".mbit > 8" limited_by l1,m1,t,bucket:10M:50000 500 2500
is "policed: what is dropped is not lost" $lost 0
check "policed: 10 Mbit/s pass" holds '.mbit > 8 and .mbit < 10.25 and .drops > 1000' "$FLOW"
check "policed: no more than rate and depth at any time" holds 'max <= 14.01' "$peaks"

lost=0 peaks=[]
again 5 ".mbit > 8" limited_by l1,m1,t,clock:10M:125:100:50 1000 2900
is "clock: nothing is lost" $lost 0
check "clock: 10 Mbit/s pass" holds '.mbit > 8 and .mbit < 10.6' "$FLOW"
check "clock: no more than the peak at any time" holds 'max <= 19' "$peaks"
finish
