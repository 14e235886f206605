#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 150
#
# Real TCP through a tenant's limit with netem as the line, on kernels that have it: 40 ms, CUBIC and
# Reno. What holds on any machine is asserted; the figures are printed, for rates.sh --guest.
# PC_NETEM_MBIT: the tenant's rate (5): an emulated machine does not reach 100 Mbit/s.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../netns/lib.sh"
# shellcheck source=tests/netns/lib_rates.sh
source "$(dirname "$0")/../netns/lib_rates.sh"
need_root
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

mbit=${PC_NETEM_MBIT:-5}
pcd_config "$T/pcd.conf" "relay xdp = native"
start_pcd relay "$T/pcd.conf" || exit 1
for cc in cubic reno; do
	one_flow pcd "$mbit" $cc 1 40 10 25 || exit 1
	echo "# flow $(jq -c 'del(.late_us)' <<<"$FLOW")"
	check "$cc: the limiter drops, and nobody else" holds '.clean and .drops > 0' "$FLOW"
done
finish
