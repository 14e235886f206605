#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 400
#
# Browsers and WebRTC libraries that may only use the relay move a data channel's bytes through it.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "$0")/lib.sh"
command -v node >/dev/null || skip_all "node is not installed"
npm_modules || skip_all "the npm packages could not be installed"
clients_up

forwarded() { pcstat -j tenant u | jq -r '.tenants[0] | "\(.kernel.packets) \(.user.packets)"'; }

# How many packets the kernel and user space forwarded, in between.
# shellcheck disable=SC2317
watch_paths() {
	while :; do
		forwarded
		sleep 0.05
	done
}

# run_client_fast NAME COMMAND...: and the kernel carries all of its data. What a client sends before
# the answer to its CreatePermission may still be in the daemon's queue when the permission exists;
# once the kernel forwards, user space forwards nothing more.
run_client_fast() {
	local name=$1 kernel0 user0 watcher kernel user
	read -r kernel0 user0 < <(forwarded)
	spawn "$T/paths" watch_paths
	watcher=$SPAWNED
	run_client "$@"
	end_pid "$watcher"
	read -r kernel user < <(forwarded)
	kernel=$((kernel - kernel0)) user=$((user - user0))
	if [ $kernel -ge 1000 ] && [ $user -le 20 ]; then
		ok "$name: in the kernel ($kernel packets, $user in user space)"
	else
		not_ok "$name: in the kernel" "$kernel packets in the kernel, $user in user space"
	fi
	is "$name: none in user space after the permissions exist" \
		"$(awk -v k="$kernel0" -v last="$((user + user0))" '
			NF == 2 && $1 > k + 100 && $2 != last { n++ } END { print n + 0 }' "$T/paths")" 0
}

if [ -x /usr/bin/chromium ]; then
	run_client_fast "Chromium: relay only, 1 MB" node "$CLIENTS/chromium.mjs"
else
	skip "Chromium: relay only, 1 MB" "chromium is not installed"
fi
if [ -x /usr/bin/firefox-esr ]; then
	run_client_fast "Firefox: relay only, 1 MB" node "$CLIENTS/firefox.mjs"
else
	skip "Firefox: relay only, 1 MB" "firefox-esr is not installed"
fi
run_client_fast "node-datachannel: relay only, 1 MB" node "$CLIENTS/datachannel.mjs"
run_client "werift: relay only, 200 kB" node "$CLIENTS/werift.mjs"
check "the daemon lives" pcd_lives
finish
