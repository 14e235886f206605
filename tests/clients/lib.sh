#!/bin/bash
# SPDX-License-Identifier: MIT
#
# For the tests with clients: source it. Clients run in the namespace `client` of topo_star and use
# the relay at 198.18.1.1 with tenant u, password p.
#
#   clients_up                 the topology, pcd, the tenant; environment for the programs here
#   run_client NAME COMMAND... one test: the command succeeds and printed {"ok":true...}; its
#                              temporary files go with $T
#   npm_modules                installs the packages of package.json once; sets PC_NODE_MODULES
#   relayed_nothing_lost NAME  no packet was dropped by the relay for want of anything
# shellcheck source=tests/netns/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../netns/lib.sh"

CLIENTS=$TOP/tests/clients
export TURN_HOST=198.18.1.1 TURN_PORT=3478 TURN_USER=u TURN_PASS=p

clients_up() {
	need_root
	mount_bpffs
	topo_star_native
	pcd_config "$T/pcd.conf" \
		"relay listen = 198.18.1.1:3478" "relay listen = [fd18:1::1]:3478" \
		"relay relay-address = 198.18.2.1" "relay relay-address = fd18:2::1" \
		"relay interface = c0" "relay interface = p0" \
		"relay allow-peer = fd18::/16" "relay xdp = ${XDP:-native}"
	start_pcd relay "$T/pcd.conf" || exit 1
	tenant u p --max-allocations 300 || exit 1
}

run_client() {
	local name=$1 out=$T/client.out status
	shift
	TMPDIR=$T in_ns client timeout 90 "$@" >"$out" 2>&1
	status=$?
	if [ $status = 0 ] && grep -q '"ok": \?true' "$out"; then
		ok "$name"
	else
		not_ok "$name" "status $status
$(tail -n 15 "$out" | cut -c1-400)
$(pcstat session)"
	fi
}

# The download is kept under build/; without a registry every such test is a skip.
npm_modules() {
	local dir=$PC_BUILD/npm
	command -v npm >/dev/null || return 1
	mkdir -p "$dir"
	if ! cmp -s "$CLIENTS/package.json" "$dir/installed.json"; then
		cp "$CLIENTS/package.json" "$dir/package.json"
		(cd "$dir" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 PUPPETEER_SKIP_DOWNLOAD=1 \
			timeout 300 npm install --no-audit --no-fund --no-package-lock \
			>"$dir/npm.log" 2>&1) || return 1
		cp "$CLIENTS/package.json" "$dir/installed.json"
	fi
	export PC_NODE_MODULES=$dir
}
