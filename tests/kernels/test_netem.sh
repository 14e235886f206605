#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 900
#
# Real TCP through a tenant's limit of 100 Mbit/s with netem as the line, where instructions are the
# clock (see run.sh): nothing disturbs the flows, so what they reach is asserted, with a margin. The
# figures themselves are printed, for rates.sh --guest.
# PC_NETEM_FLOWS: which, CC:STREAMS:RTT_MS separated by commas, by default one of CUBIC and of Reno
# and eight of CUBIC over 40 ms. Others are measured and held to no bounds.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../netns/lib.sh"
# shellcheck source=tests/netns/lib_rates.sh
source "$(dirname "$0")/../netns/lib_rates.sh"
need_root
[ "${PC_GUEST_CLOCK:-}" = counted ] || skip_all "this machine's time does not follow its instructions"
for tool in iperf3 jq ethtool; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
for module in tun sch_netem; do
	modprobe $module 2>/dev/null
done
[ -c /dev/net/tun ] || skip_all "no TUN devices on this kernel"
mount_bpffs
relayed_netem || exit 1
netem_start 1000 2>"$T/netem.err" || skip_all "no netem on this kernel"

pcd_config "$T/pcd.conf" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
# While a program comes from the host's disk the guest is idle, and its time flies: all of them once.
one_flow pcd 100 cubic 1 40 1 1 || exit 1

flows=${PC_NETEM_FLOWS:-cubic:1:40,reno:1:40,cubic:8:40}
for which in ${flows//,/ }; do
	IFS=: read -r cc streams rtt <<<"$which"
	# One alone goes up and down every ten seconds and with it three quarters of a second's savings:
	# three per cent of 25 s, by the moment when they begin. So it is watched for longer.
	seconds=25
	[ "$streams $rtt" != "1 40" ] || seconds=75
	# Bursts of hundreds of packets find a veth's ring full now and then.
	again 3 .clean one_flow pcd 100 "$cc" "$streams" "$rtt" 10 $seconds
	echo "# flow $(jq -c 'del(.late_us)' <<<"$FLOW")"
	name="$cc x $streams, $rtt ms"
	check "$name: the limiter drops, and nobody else" holds '.clean and .drops > 0' "$FLOW"
	check "$name: the guest's processor is not the limit" holds '.idle > 0.05' "$FLOW"
	[ "$rtt" = 40 ] || continue
	check "$name: never more than the peak" holds '.peak <= 1.9' "$FLOW"
	check "$name: the rate is used" holds '.share >= 0.9' "$FLOW"
	[ "$streams" != 1 ] ||
		check "$name: few losses" holds '.retransmits <= 100' "$FLOW"
done
finish
