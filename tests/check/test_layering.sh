#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The layering check is given trees that break it, one way each.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
number=0

if ! command -v gcc >/dev/null || ! command -v ar >/dev/null; then
	echo "gcc or ar is not installed"
	exit 77
fi

# source PATH: a source file from standard input.
source_file() {
	mkdir -p "$tree/$(dirname "$1")"
	cat >"$tree/$1"
}

# library NAME OBJECT: a static library from C on standard input.
library() {
	mkdir -p "$tree/build/lib"
	gcc -w -O0 -x c -c -o "$tree/$2.o" - && ar rcs "$tree/build/lib/libpc_$1.a" "$tree/$2.o"
}

# verdict NAME [TEXT]: nothing may fail, or the one test whose finding is TEXT.
verdict() {
	local output status bad findings
	number=$((number + 1))
	output=$(PC_LAYER_ROOT="$tree" PC_BUILD=build "$here/layering.sh" 2>&1)
	status=$?
	bad=$(grep -c '^not ok' <<<"$output")
	findings=$(sed -n 's/^# //p' <<<"$output")
	if [ "$findings" = "${2:-}" ] && [ "$bad" = "$status" ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		printf '%s\n' "status $status" "$output" | sed 's/^/#   /'
	fi
	rm -rf "${tree:?}"/*
}

source_file relay/a.c <<<'#include "base/wire.h"'
source_file relay/b.h <<<'#include <sodium.h>'
source_file bpf/abi/a.h <<<'#include <linux/types.h>'
source_file userspace/dp/a.c <<<'#include "relay.skel.h"'
source_file userspace/account/a.c <<<'#include "store/store.h"'
library base wire <<<'int pc_wire(void) { return 1; }'
library relay turn <<<'int pc_wire(void); int pc_turn(void) { return pc_wire(); }'
library daemon io <<<'int pc_turn(void), socket(), ev_run(); int pc_io(void) { return pc_turn() + socket() + ev_run(); }'
verdict "what is allowed passes"

source_file relay/a.c <<<'#include "dp/dp.h"'
verdict "a folder that is not allowed" 'relay/a.c: "dp/dp.h"'

source_file relay/a.c <<<'#include "../userspace/dp/dp.h"'
verdict "going around by the parent folder" 'relay/a.c: "../userspace/dp/dp.h"'

source_file relay/a.c <<<'#include "userspace/dp/dp.h"'
verdict "going around by the whole path" 'relay/a.c: "userspace/dp/dp.h"'

source_file relay/a.h <<<'#  include <sys/socket.h>'
verdict "sockets in a core" 'relay/a.h: <sys/socket.h>'

source_file userspace/base/a.c <<<'#include <sodium.h>'
verdict "a library under base" 'userspace/base/a.c: <sodium.h>'

source_file bpf/abi/a.h <<<'#include <stdint.h>'
verdict "another header in the shared ABI" 'bpf/abi/a.h: <stdint.h>'

source_file userspace/account/a.c <<<'#include "store/store_internal.h"'
verdict "the inside of the store" 'userspace/account/a.c: "store/store_internal.h"'

source_file userspace/daemon/a.c <<<'#include "relay.skel.h"'
verdict "a skeleton in the daemon" 'userspace/daemon/a.c: "relay.skel.h"'

source_file tools/pcstat/a.c <<<'#include "daemon/daemon.h"'
verdict "the daemon in a tool" 'tools/pcstat/a.c: "daemon/daemon.h"'

source_file userspace/a.c <<<'int x;'
verdict "a source directly in userspace" 'userspace/a.c'

library relay turn <<<'int socket(); int pc_turn(void) { return socket(); }'
verdict "a core that opens a socket" 'turn.o: socket (socket)'

library relay turn <<<'int clock_gettime(); int pc_turn(void) { return clock_gettime(); }'
verdict "a core that reads the clock" 'turn.o: clock_gettime (clock)'

library relay turn <<<'int ev_run(), bpf_prog_load(); int pc_turn(void) { return ev_run() + bpf_prog_load(); }'
verdict "a core with an event loop and BPF" 'turn.o: bpf_prog_load (bpf)
turn.o: ev_run (ev)'

library relay turn <<<'int __printf_chk(); int pc_turn(void) { return __printf_chk(); }'
verdict "a library that prints" 'turn.o: printf (print)'

library account usage <<<'int pc_log(); int pc_usage(void) { return pc_log(); }'
verdict "a library that logs" 'usage.o: pc_log (log)'

library base log <<<'int pc_log(void) { return 0; }'
library daemon main <<<'int pc_log(); int pc_main(void) { return pc_log(); }'
verdict "the daemon logs"

library dp load <<<'int pc_dp_open(void) { return 0; }'
library relay turn <<<'int pc_dp_open(); int pc_turn(void) { return pc_dp_open(); }'
verdict "a core that calls the data plane" 'turn.o: pc_dp_open of dp'

library base log <<<'int time(), clock_gettime(); int f(void) { return time() + clock_gettime(); }'
verdict "an exception is for one symbol only" 'log.o: clock_gettime (clock)'
echo "1..$number"
