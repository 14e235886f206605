#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 150
#
# Where pcd cannot start as it was told: ports in use, no disk, another pcd, killed half-way: it ends
# with one line and leaves nothing behind. No rights, or a kernel that refuses the program: it says so
# and relays in user space.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_relay.sh
source "$(dirname "$0")/lib_relay.sh"
need_root
mount_bpffs
topo_star

# cannot_start NAME TEXT: exit 1 with that line last, and no program or pin of ours
cannot_start() {
	local got
	timeout 20 nsenter --net="/run/netns/$(ns relay)" "$PC_BIN/pcd" -c "$T/pcd.conf" \
		>"$T/err" 2>&1 </dev/null
	got=$?
	if [ "$got" = 1 ] && tail -n 1 "$T/err" | grep -qF -- "$2" &&
		[ "$(grep -c ^error "$T/err")" = 1 ]; then
		ok "$1"
	else
		not_ok "$1" "status $got, expected 1 and '$2': $(cat "$T/err")"
	fi
}

says() {
	pcstat health | grep -qF -- "$1"
}

pins() {
	find "$BPFFS" -name 'pc*_*' | wc -l
}

is_clean() {
	is "$1: no program, no pin" "$(xdp_mode relay c0) $(xdp_mode relay p0) $(pins)" "off off 0"
}

# The program as built, with a helper function that no kernel has yet: what an old kernel would meet.
patch_object() {
	python3 - "$PC_BUILD/bpf/relay.bpf.o" "$T/object.o" <<-'P'
		import sys
		code = open(sys.argv[1], "rb").read()
		call = bytes([0x85, 0, 0, 0, 1, 0, 0, 0])  # bpf_map_lookup_elem
		assert call in code
		open(sys.argv[2], "wb").write(code.replace(call, call[:4] + bytes([0xff, 0x0f, 0, 0])))
	P
}

start_sink

pcd_config "$T/pcd.conf" "relay max-sessions = 100"
spawn_in relay "$T/other.log" "$PC_HELPERS/udpsink" 198.18.1.1:3478 1 600000
wait_for 5 grep -qs ready "$T/other.log"
cannot_start "port in use" "port 3478 in use on 198.18.1.1"
is_clean "port in use"
end_pid "$SPAWNED"

mkdir "$T/control.sock"
cannot_start "control socket that cannot be made" \
	"control socket $T/control.sock: a file that is not a socket is there"
is_clean "control socket that cannot be made"
rmdir "$T/control.sock"

pcd_config "$T/pcd.conf" "relay max-sessions = 100" "node user = nobody-at-all"
cannot_start "user that does not exist" "user nobody-at-all does not exist; create it"
is_clean "user that does not exist"

# The more there is room for, the later it fails; what is left then is taken up.
mkdir "$T/small"
mount -t tmpfs -o size=4k pc-small "$T/small" && mounts+=("$T/small")
pcd_config "$T/pcd.conf" "relay max-sessions = 1000"
sed -i "s|^state-dir.*|state-dir = $T/small|" "$T/pcd.conf"
for size in 4k 16k 48k 100k; do
	mount -o remount,size=$size "$T/small"
	cannot_start "disk with $size" "No space left on device"
	is_clean "disk with $size"
done
mount -o remount,size=8m "$T/small"
check "with space it starts" start_pcd relay "$T/pcd.conf"
pcctl shutdown >"$T/out"

pcd_config "$T/pcd.conf" "relay max-sessions = 100"
for what in "object of something else" "object with a call this kernel has not"; do
	case $what in
	*else)
		cp "$PC_BUILD/bench/sink.bpf.o" "$T/object.o"
		text="cannot load the program: the object has not the maps"
		;;
	*call*)
		patch_object
		text="Linux $(uname -r) refuses to load the program (5.11 or newer is needed): "
		;;
	esac
	PCD_WRAP=(env "PCD_TEST_OBJECT=$T/object.o")
	log_new
	start_pcd relay "$T/pcd.conf" || exit 1
	[ "$what" != "object of something else" ] || tenant u p >"$T/out" || exit 1
	logged "$what: pcd says why it runs without XDP" "user space, no XDP: "
	logged "$what: with the cause" "$text"
	check "$what: health says it too" says "no kernel data plane: "
	relays "$what: relays in user space" user
	is_clean "$what"
	stop_pcd
done

# --- no rights ---
PCD_WRAP=(setpriv --inh-caps=-all --bounding-set=-all)
log_new
check "without any capability it starts" start_pcd relay "$T/pcd.conf"
logged "and says what it has no rights for" \
	"user space, no XDP: no rights to load the program: needs root, or CAP_BPF"
relays "without any capability it relays in user space" user
is_clean "without any capability"
stop_pcd
PCD_WRAP=()

# --- another pcd ---
log_new
start_pcd relay "$T/pcd.conf" || exit 1
first=$PCD_PID
hold long 6000 1000
go long
# second LINE SECTION...: a second pcd with those lines changed cannot start
second() {
	cp "$T/pcd.conf" "$T/first.conf"
	while [ $# -gt 1 ]; do
		sed -i "/^${1%% *} =/d" "$T/pcd.conf"
		sed -i "/^\[${2}\]/a $1" "$T/pcd.conf"
		shift 2
	done
	cannot_start "$name" "$text"
	mv "$T/first.conf" "$T/pcd.conf"
}
name="the same state" text="another pcd (pid $first) uses $T/state"
second "listen = 198.18.1.1:3479" relay "control-socket = $T/2.sock" node "bpffs = $BPFFS/2" node
name="the same state, other max-sessions" \
	second "listen = 198.18.1.1:3479" relay "max-sessions = 50" relay
name="the same state, xdp = off" second "listen = 198.18.1.1:3479" relay "xdp = off" relay
name="the same pins" text="another pcd uses $BPFFS/pcd"
second "listen = 198.18.1.1:3479" relay "state-dir = $T/2" node "control-socket = $T/2.sock" node \
	"max-sessions = 50" relay
name="the same control socket" text="another pcd answers on $SOCKET"
second "listen = 198.18.1.1:3479" relay "state-dir = $T/2" node "bpffs = $BPFFS/2" node "xdp = off" relay
held long
is "the first one relayed all along" "$HELD" "[true,6000]"
is "in the kernel" "$(health '[.kernel.ok, .turn.data_up]')" "[true,0]"
is "still attached" "$(xdp_mode relay c0) $(xdp_mode relay p0)" "native native"
relays "and the first one takes new allocations"

# --- killed while starting ---
pcctl shutdown >"$T/out"
began=${EPOCHREALTIME/./}
start_pcd relay "$T/pcd.conf" || exit 1
took=$((${EPOCHREALTIME/./} - began))
diag <<<"a start takes $((took / 1000)) ms"
failed=0
for i in {1..10}; do
	# Every other time from nothing, else with pins to adopt.
	if ((i % 2)); then pcctl shutdown >"$T/out"; else pcd_kill9; fi
	nsenter --net="/run/netns/$(ns relay)" "$PC_BIN/pcd" -c "$T/pcd.conf" >>"$T/pcd.log" 2>&1 &
	half=$!
	disown $half
	us=$((RANDOM * RANDOM % took))
	sleep "$((us / 1000000)).$(printf %06d $((us % 1000000)))"
	kill -KILL $half
	log_new
	start_pcd relay "$T/pcd.conf" || failed=$((failed + 1))
	grep -q ^error "$T/pcd.log" && failed=$((failed + 1))
done
is "killed ten times while starting, it starts each time" $failed 0
relays "and relays in the kernel"
pcctl shutdown >"$T/out"
is_clean "and shuts down"
finish
