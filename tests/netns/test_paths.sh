#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 100
#
# The same packets through the kernel path and the user-space path: the same datagrams come out, the
# same is counted, and the same is dropped for the same reason. tests/helpers/paths.c fires at a pcd
# with XDP and at one without, on plain links and on VLAN sub-interfaces.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
mount_bpffs
topo_star
xdp_pass client eth0 2>/dev/null || skip_all "no native XDP on veth here"
xdp_pass peer eth0 2>/dev/null

# The other ends have several addresses; the way to two of them is narrow.
add_addresses() {
	addr client "$1" 198.18.1.9/24
	addr peer "$1" 198.18.2.9/24 198.18.2.66/24 198.18.2.77/24
	route relay add 198.18.1.9/32 dev "$2" mtu 1200
	route relay add 198.18.2.9/32 dev "$3" mtu 1200
}

# Moves all IPv4 addresses to VLAN 7 of the same links.
to_vlan() {
	local n dev
	for n in "client eth0" "relay c0" "relay p0" "peer eth0"; do
		dev=${n#* } n=${n% *}
		ip -n "$(ns "$n")" link add link "$dev" name "$dev.7" type vlan id 7 2>/dev/null ||
			return 1
		ip -n "$(ns "$n")" -4 addr flush dev "$dev"
		ip -n "$(ns "$n")" link set "$dev.7" up
	done
	addr relay c0.7 198.18.1.1/24
	addr relay p0.7 198.18.2.1/24
	addr client eth0.7 198.18.1.2/24
	addr peer eth0.7 198.18.2.2/24
	route client add default via 198.18.1.1
	route peer add default via 198.18.2.1
	add_addresses eth0.7 c0.7 p0.7
}

# fire MODE VLAN: all shots at a fresh pcd. Results in $T/MODE-VLAN.*
fire() {
	local mode=$1 vlan=$2 out=$T/$1-$2
	rm -rf "$T/state" "$BPFFS/pcd"
	pcd_config "$T/pcd.conf" "relay xdp = $mode" "relay stranger-rate = 0" \
		"relay stranger-net-rate = 0"
	start_pcd relay "$T/pcd.conf" || exit 1
	tenant u p --max-allocations 10 >/dev/null || exit 1
	is "xdp = $mode: so it is" "$(xdp_mode relay c0) $(xdp_mode relay p0)" "$mode $mode"
	# Read when the helper asks for it.
	echo "deny-peer = 198.18.2.66/32" >>"$T/pcd.conf"
	if timeout 60 "$PC_HELPERS/paths" "$SOCKET" "/run/netns/$(ns client)" \
		"/run/netns/$(ns peer)" "$(mac_of relay c0)" "$(mac_of relay p0)" "$vlan" \
		>"$out.out" 2>"$out.log"; then
		ok "xdp = $mode: all frames were fired"
	else
		not_ok "xdp = $mode: all frames were fired" "$(tail -n 5 "$out.log" "$out.out")"
	fi
	[ ! -s "$out.log" ] || diag <"$out.log"
	pcstat -j tenant u | jq -cS '.tenants[0] | {up, down}' >"$out.totals"
	pcstat -j drops | jq -cS '[.drops[] | select(.kind == "drop") |
		{(.name): (.kernel + .user)}] | add' >"$out.drops"
	pcstat -j tenant u | jq '.tenants[0].kernel.packets' >"$out.kernel"
	stop_pcd || not_ok "pcd ends well" "exit status $ENDED"
}

# What is wrong with the frames of one group. Columns: name; what came of it, path taken and path
# wanted with XDP; what came of it and path taken without.
differences() {
	awk -F '\t' -v group="$1" '
		{ g = $1; sub(/\/.*/, "", g) }
		g != group { next }
		$4 == "shut" {
			if ($2 != "[drop no_permission 1]" || $3 != "kernel" || $5 != "")
				print $1 ": not dropped, or for both: " $2 " " $5
			next
		}
		$2 != $5 { print $1 ": kernel path: " $2; print $1 ": user path: " $5 }
		$3 != $4 { print $1 ": went through " $3 ", not " $4 }
		$6 == "kernel" || $6 == "both" { print $1 ": the kernel dealt with it without XDP" }
		/WRONG/ { print $1 ": wrong: " $2 }
	' "$2" | head -n 40
}

# compare NAME VLAN: one test per group of frames.
compare() {
	local name=$1 native=$T/native-$2 off=$T/off-$2 both=$T/both-$2 group wrong shut
	if [ "$(wc -l <"$native.out")" -lt 300 ] ||
		! cmp -s <(cut -f 1 "$native.out") <(cut -f 1 "$off.out"); then
		not_ok "$name: both paths got the same frames"
		return
	fi
	paste "$native.out" <(cut -f 2,3 "$off.out") >"$both"
	while read -r group; do
		wrong=$(differences "$group" "$both")
		is "$name, $group: the same through both paths" "$wrong" ""
	done < <(cut -f 1 "$both" | sed 's,/.*,,' | awk '!seen[$0]++')
	is "$name: the same packets and bytes in all" "$(cat "$native.totals")" "$(cat "$off.totals")"
	shut=$(awk -F '\t' '$4 == "shut"' "$native.out" | wc -l)
	is "$name: the same drops in all, but $shut that the host sees without XDP" \
		"$(jq -cS ".no_permission -= $shut" "$native.drops")" "$(cat "$off.drops")"
	check "$name: the kernel forwarded with XDP" [ "$(cat "$native.kernel")" -ge 150 ]
	is "$name: and nothing without" "$(cat "$off.kernel")" 0
}

add_addresses eth0 c0 p0
fire native 0
fire off 0
compare "plain links" 0
if to_vlan; then
	fire native 7
	fire off 7
	compare "VLAN" 7
else
	skip "VLAN" "this kernel has no 802.1Q"
fi
finish
