#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Rates of real TCP under the limiter: tools/bench/rates.sh [--quick] [--out DIR] [--xdp MODE] [SECTION...]
#                                      tools/bench/rates.sh --guest
#   --quick    short runs of few cases: whether it works
#   --out      where rates.json, rates.txt and the plots go (build/bench)
#   --xdp      native or off: the kernel's limiter or that of user space (native)
#   --guest    instead of all this: flows over netem, in Debian's kernel in QEMU, whose time follows
#              its instructions, so that nothing disturbs them (tests/kernels/test_netem.sh). Three
#              quarters of an hour; with --quick, 20 minutes, only those over 40 ms
#   SECTION    flows, pool, join, tiers, udp, many: those alone
# Takes about 25 minutes.
#
# The way: TCP - TUN - client --- relay --- delay line - peer - TUN - TCP, all on this machine. Bytes
# are IP packets as the relay sends them. Rates against time are counted by the kernel's stamps where
# the delay line gets them from the relay, or for several tenants where they arrive.
#
#  flows  one tenant of 100 Mbit/s, one and eight flows, CUBIC and Reno, five round-trip times; beside
#         it, in the same line, single token buckets of one bandwidth-delay product and of a second.
#  pool   four tenants of weights 1, 1, 2, 4 with 8 CUBIC, 1 CUBIC, 2 BBR and 4 CUBIC flows share
#         200 Mbit/s; and one alone, with what comes back to it, which the uplink sends too.
#  join   the same tenants with UDP: one leaves and comes back; when everybody has his new share.
#  tiers  paid at full load, alone and beside ten free tenants that send all they can.
#  udp    ten times the limit, from one CPU and from two.
#  many   rates of 10 000 tenants changed while one of them sends.
# Without limits in pcd only the buckets, and the kernel's limiter in the delay line, are measured.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/netns/lib.sh
. tests/netns/lib_rates.sh
. tools/bench/lib_rates.sh
# What is here reports for itself.
# shellcheck disable=SC2034
tap_finished=1

guest=0 quick=0 out=$PC_BUILD/bench xdp=native sections=()

usage() {
	echo "usage: tools/bench/rates.sh --guest | [--quick] [--out DIR] [--xdp native|off] [flows|pool|join|tiers|udp|many...]" >&2
	exit 2
}

parse_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--quick) quick=1 ;;
		--guest) guest=1 ;;
		--out)
			[ $# -ge 2 ] || usage
			shift
			out=$1
			;;
		--xdp)
			[[ ${2:-} =~ ^(native|off)$ ]] || usage
			shift
			xdp=$1
			;;
		flows | pool | join | tiers | udp | many) sections+=("$1") ;;
		*) usage ;;
		esac
		shift
	done
	[ ${#sections[@]} -gt 0 ] || sections=(flows pool join tiers udp many)
}

die() {
	echo "rates: $*" >&2
	exit 1
}

say() {
	printf 'rates %4d s: %s\n' "$SECONDS" "$*"
}

check_machine() {
	local tool
	[ "$(id -u)" = 0 ] || die "needs root for network namespaces"
	for tool in iperf3 jq gnuplot ethtool python3; do
		command -v $tool >/dev/null || die "$tool is not installed"
	done
	for tool in "$PC_BIN/pcd" "$PC_HELPERS/turntun" "$PC_HELPERS/delayline"; do
		[ -x "$tool" ] || die "$tool is not built: make benches"
	done
	[ -c /dev/net/tun ] || die "no TUN devices on this kernel"
	mkdir -p "$out" || die "cannot make $out"
}

conditions() {
	jq -n --arg date "$(date -u +%Y-%m-%dT%H:%MZ)" --arg kernel "$(uname -r)" \
		--arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		--argjson cpus "$(nproc --all)" --arg pcd "$("$PC_BIN/pcd" -V | head -n 1)" \
		--argjson quick $quick --argjson limited "$pcd_limits" --arg xdp "$xdp" \
		'{date: $date, kernel: $kernel, cpu: $cpu, cpus: $cpus, pcd: $pcd,
		quick: ($quick == 1), pcd_limits: $limited, xdp: $xdp}'
}

report() {
	conditions >"$T/conditions.json" &&
		jq -s --slurpfile c "$T/conditions.json" '{conditions: $c[0]} + (map({section, data: del(.section)})
			| group_by(.section) | map({key: .[0].section, value: map(.data)}) | from_entries)' \
			"$T/results.jsonl" >"$out/rates.json" &&
		jq -r -f tools/bench/rates_text.jq "$out/rates.json" >"$out/rates.txt"
}

# The figures are in the log of the test that the guest ran.
in_guest() {
	local logs=$PC_BUILD/test-logs rtt flows=cubic:1:40,reno:1:40,cubic:8:40
	rm -rf "$logs"/kernel-*-counted
	[ $quick = 1 ] || for rtt in 5 20 100 200; do flows+=,cubic:1:$rtt,reno:1:$rtt; done
	PC_KERNELS_CLOCK=counted PC_KERNELS_SECONDS=7200 PC_NETEM_FLOWS=$flows \
		tests/kernels/run.sh kernels/test_netem ||
		echo "rates: the guest's test failed" >&2
	cat "$logs"/kernel-*-counted/kernels*test_netem* | sed -n 's/^# flow //p' >"$T/guest.jsonl"
	[ -s "$T/guest.jsonl" ] || die "the guest measured nothing: see $logs"
	jq -s . "$T/guest.jsonl" >"$out/rates-guest.json"
	jq -r -f tools/bench/rates_guest.jq "$out/rates-guest.json"
}

parse_options "$@"
[ $guest = 0 ] || {
	mkdir -p "$out" "$T"
	in_guest
	exit
}
check_machine
need_root
: >"$T/results.jsonl"
mount_bpffs
relayed || die "no namespaces"
pcd_limits=false
limited "$xdp" && pcd_limits=true
for section in "${sections[@]}"; do
	[ "$section" = flows ] || [ $pcd_limits = true ] || {
		say "$section: pcd does not limit"
		continue
	}
	say "$section"
	"section_$section" || die "section $section failed: see the log above"
done
report || die "cannot write the report"
echo
cat "$out/rates.txt"
echo
ls "$out"/rates*
