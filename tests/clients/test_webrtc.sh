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

if [ -x /usr/bin/chromium ]; then
	run_client "Chromium: relay only, 1 MB" node "$CLIENTS/chromium.mjs"
else
	skip "Chromium: relay only, 1 MB" "chromium is not installed"
fi
if [ -x /usr/bin/firefox-esr ]; then
	run_client "Firefox: relay only, 1 MB" node "$CLIENTS/firefox.mjs"
else
	skip "Firefox: relay only, 1 MB" "firefox-esr is not installed"
fi
run_client "node-datachannel: relay only, 1 MB" node "$CLIENTS/datachannel.mjs"
run_client "werift: relay only, 200 kB" node "$CLIENTS/werift.mjs"
check "the daemon lives" pcd_lives
finish
