#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 100
#
# A daemon finds the data plane of an earlier version, attached, forwarding and with counts that
# nobody has folded yet: it folds them, takes the old one off, and the session goes on in the new.
# The old one is this version's, under the names and with the number of the first layout.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
need_root
BPFTOOL=$(command -v bpftool || echo /usr/sbin/bpftool)
[ -x "$BPFTOOL" ] || skip_all "needs bpftool"
mount_bpffs
topo_star_native
pcd_config "$T/pcd.conf" "relay xdp = native" "relay max-sessions = 1024"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p || exit 1

counted() { pcstat -j tenant u | jq ".tenants[0].$1"; }

turnload() {
	nsenter --net="/run/netns/$(ns client)" timeout 60 "$PC_HELPERS/turnload" \
		--server 198.18.1.1:3478 --user u --password p --peer 198.18.2.2:7000 "$@"
}

# as_layout NUMBER: what is pinned becomes a data plane of that layout
as_layout() {
	local pin meta
	for pin in "$BPFFS"/pcd/pc4_*; do
		mv "$pin" "${pin%/*}/pc$1_${pin##*/pc4_}" || return 1
	done
	meta=$("$BPFTOOL" -j map lookup pinned "$BPFFS/pcd/pc$1_meta" key 0 0 0 0 |
		jq -r '.value | join(" ")' | sed 's/0x//g')
	# shellcheck disable=SC2086
	set -- "$1" $meta
	# magic, then the version in the byte order of this machine
	if [ "$6" != 00 ]; then set -- "$1" "$2" "$3" "$4" "$5" "0$1" "${@:7}"; else
		set -- "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "0$1" "${@:10}"
	fi
	"$BPFTOOL" map update pinned "$BPFFS/pcd/pc$1_meta" key 0 0 0 0 value hex "${@:2}"
}

COUNT=20000
peer_sink 198.18.2.2:7000 $COUNT 4000 echo
SINK=$SPAWNED
mkfifo "$T/go"
turnload --count $COUNT --rate 20000 --echo --hold --after <"$T/go" >"$T/load.json" 2>"$T/load.err" &
LOAD=$!
pids+=("$LOAD")
exec 9>"$T/go"
wait_for 10 grep -q bound "$T/load.err"
pcd_kill9
echo go >&9
wait_for 20 grep -q sent "$T/load.err"
wait_for 10 grep -q packets "$T/sink.log"
end_pid "$SINK"
is "the kernel forwarded alone" "$(grep packets "$T/sink.log" | jq .distinct)" $COUNT

check "it is made an older one" as_layout 1
before=$("$PC_BIN/pcstat" -s "$SOCKET" --bpffs "$BPFFS/pcd" --state-dir "$T/state" -j tenant u \
	2>/dev/null | jq '.tenants[0].up.packets')
is "pcstat reads the counters of an older layout" "$before" $COUNT

start_pcd relay "$T/pcd.conf" || exit 1
check "the new daemon says so" grep -q "is of layout 1, this pcd has 4" "$T/pcd.log"
is "what was counted is in the totals, once" "$(counted up.packets)" $COUNT
is "no old pin is left" "$(find "$BPFFS" -name 'pc1_*' | wc -l)" 0
is "the new program is attached" "$(xdp_mode relay c0) $(xdp_mode relay p0)" "native native"
check "the session goes on" grep -q "adopted 1 sessions, 1 flows, 1 permissions" "$T/pcd.log"
is "with entries in the new maps" \
	"$(pcstat -j health | jq -c '[.kernel.flows.used, .kernel.permissions.used]')" "[2,2]"
echo after >&9
wait "$LOAD"
is "and can be refreshed and bound" $? 0

peer_sink 198.18.2.2:7000 1000 4000 echo
SINK=$SPAWNED
turnload --count 1000 --rate 10000 --echo >/dev/null 2>"$T/load.err"
wait_for 10 grep -q packets "$T/sink.log"
end_pid "$SINK"
is "the new data plane forwards" "$(grep packets "$T/sink.log" | jq .distinct)" 1000
is "in the kernel" "$(pcstat -j health | jq '.turn.data_up')" 0
is "and counts on top" "$(counted up.packets)" $((COUNT + 1000))

# One that a newer version made is not touched.
pcd_kill9
as_layout 9
start_pcd relay "$T/pcd.conf" || exit 1
check "a newer layout is left alone, and said so" \
	grep -q "holds maps of layout 9, this build has 4" "$T/pcd.log"
check "its pins stay" [ -e "$BPFFS/pcd/pc9_meta" ]
is "and its program" "$(xdp_mode relay c0)" native
finish
