#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 200
#
# aioice and aiortc (Python), libnice (C) through the relay.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "$0")/lib.sh"
clients_up

# python_client NAME MODULE FILE
python_client() {
	if /usr/bin/python3 -c "import $2" 2>/dev/null; then
		run_client "$1" /usr/bin/python3 "$CLIENTS/$3"
	else
		skip "$1" "the Python module $2 is not installed"
	fi
}

python_client "aioice: 500 datagrams, none lost" aioice aioice_turn.py
python_client "aiortc: data channel, 200 kB" aiortc aiortc_relay.py
if pkg-config --exists nice gio-2.0; then
	# shellcheck disable=SC2046
	cc -O1 -o "$T/nice_relay" "$CLIENTS/nice_relay.c" $(pkg-config --cflags --libs nice gio-2.0) ||
		exit 1
	run_client "libnice: relay only, 300 datagrams" "$T/nice_relay" 198.18.1.1 3478 u p
else
	skip "libnice: relay only, 300 datagrams" "libnice is not installed"
fi
check "the daemon lives" pcd_lives
finish
