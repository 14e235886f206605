#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A mesh in network namespaces: two peers behind symmetric NATs, one relay. The peers cannot reach
# each other; the relay carries what they say, in the kernel. Everything is removed at the end.
#
#   peer A 192.168.1.2 -- NAT 203.0.113.11 --+
#                                            +-- 203.0.113.0/24 -- relay 203.0.113.100
#   peer B 192.168.2.2 -- NAT 203.0.113.12 --+
set -euo pipefail
cd "$(dirname "$0")/../.."

SECONDS_TO_RUN=${DEMO_SECONDS:-12}
RATE=${DEMO_RATE:-4000}
P=pcdemo$$
W=$(mktemp -d "/tmp/$P.XXXX")
PIDS=()

say() { printf '\n== %s\n' "$*"; }

cleanup() {
	local pid ns
	for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
	sleep 0.3
	for pid in "${PIDS[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	build/bin/pcctl datapath off --bpffs "$W/bpf/pcd" >/dev/null 2>&1 || true
	for ns in A natA inet natB B relay; do ip netns del "$P$ns" 2>/dev/null || true; done
	umount "$W/bpf" 2>/dev/null || true
	rm -rf "$W"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

in_ns() {
	local ns=$1
	shift
	nsenter --net="/run/netns/$P$ns" "$@"
}

# In the background; exec, so that the pid to end is the program's.
spawn_in() { # NS LOG COMMAND...
	local ns=$1 log=$2
	shift 2
	(exec nsenter --net="/run/netns/$P$ns" "$@" 2>"$log") <&0 &
	PIDS+=($!)
}

# link NS DEV NS DEV: a veth pair, no offloads that leave checksums undone.
link() {
	ip link add "$2" netns "$P$1" type veth peer name "$4" netns "$P$3"
	in_ns "$1" ip link set "$2" up
	in_ns "$3" ip link set "$4" up
	in_ns "$1" ethtool -K "$2" tx off >/dev/null
	in_ns "$3" ethtool -K "$4" tx off >/dev/null
}

behind_nat() { # SIDE LAN PUBLIC
	local side=$1 lan=$2 public=$3
	link "$side" lan "nat$side" in
	in_ns "$side" ip addr add "$lan.2/24" dev lan
	in_ns "nat$side" ip addr add "$lan.1/24" dev in
	in_ns "$side" ip route add default via "$lan.1"
	link "nat$side" out inet "p$side"
	in_ns inet ip link set "p$side" master br0
	in_ns "nat$side" ip addr add "$public/24" dev out
	in_ns "nat$side" sysctl -qw net.ipv4.ip_forward=1
	in_ns "nat$side" nft -f - <<-N
		table ip nat {
			chain post {
				type nat hook postrouting priority srcnat;
				oifname "out" masquerade random,fully-random;
			}
		}
	N
}

wait_for() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

say "building two NATs and a relay in network namespaces"
mkdir "$W/bpf"
mount -t bpf bpf "$W/bpf"
for ns in A natA inet natB B relay; do
	ip netns add "$P$ns"
	in_ns "$ns" ip link set lo up
done
in_ns inet ip link add br0 type bridge stp_state 0
in_ns inet ip link set br0 up
behind_nat A 192.168.1 203.0.113.11
behind_nat B 192.168.2 203.0.113.12
link relay wan inet prelay
in_ns inet ip link set prelay master br0
in_ns relay ip addr add 203.0.113.100/24 dev wan
# A veth end takes frames from a native program only when it has one itself.
in_ns inet ip link set dev prelay xdp obj build/bench/empty.bpf.o sec xdp
if in_ns A ping -c1 -W1 192.168.2.2 >/dev/null 2>&1; then
	echo "the peers reach each other without a relay: the demo proves nothing" >&2
	exit 1
fi
echo "peer A and peer B cannot reach each other"

say "starting the relay"
cat >"$W/pcd.conf" <<C
[node]
state-dir = $W/state
control-socket = $W/control.sock
bpffs = $W/bpf/pcd
[relay]
listen = 203.0.113.100:3478
interface = wan
secret = $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
C
spawn_in relay "$W/pcd.log" build/bin/pcd -c "$W/pcd.conf"
if ! wait_for 20 build/bin/pcctl -s "$W/control.sock" tenant add alice; then
	cat "$W/pcd.log" >&2
	exit 1
fi
build/bin/pcctl -s "$W/control.sock" tenant add bob >/dev/null
cat "$W/pcd.log"

credential() { build/bin/pcctl -s "$W/control.sock" -j credential "$1"; }
field() { jq -r ".$1"; }

# client SIDE TENANT ARGS...: its standard input is a pipe, its JSON goes to $W/SIDE.json
client() {
	local side=$1 cred
	cred=$(credential "$2")
	shift 2
	mkfifo "$W/to$side"
	spawn_in "$side" "$W/$side.err" build/tests/helpers/turnload --server 203.0.113.100:3478 \
		--user "$(field username <<<"$cred")" --password "$(field password <<<"$cred")" \
		--peer - "$@" <>"$W/to$side" >"$W/$side.json"
}

say "each peer takes an address on the relay, and is told the other's"
client B bob --serve
client A alice --echo --size 1000 --rate "$RATE" --count $((SECONDS_TO_RUN * RATE))
A=${PIDS[-1]}
if ! wait_for 10 grep -q relayed "$W/A.err" || ! wait_for 10 grep -q relayed "$W/B.err"; then
	cat "$W/A.err" "$W/B.err" "$W/pcd.log" >&2
	exit 1
fi
relayed_a=$(sed -n 's/^relayed //p' "$W/A.err")
relayed_b=$(sed -n 's/^relayed //p' "$W/B.err")
echo "peer A is $relayed_a, peer B is $relayed_b"
echo "$relayed_a" >"$W/toB"
if ! wait_for 10 grep -q bound "$W/B.err"; then
	cat "$W/B.err" "$W/pcd.log" >&2
	exit 1
fi
echo "$relayed_b" >"$W/toA"

say "peer A sends $RATE packets/s of 1000 bytes for $SECONDS_TO_RUN s, peer B returns them"
while kill -0 "$A" 2>/dev/null; do
	sleep 2
	[ -t 1 ] && clear
	build/bin/pcstat -s "$W/control.sock"
done
wait "$A" && rc=0 || rc=$?

say "what peer A sent and got back"
jq . "$W/A.json"
say "what the relay counted"
build/bin/pcstat -s "$W/control.sock" tenant
build/bin/pcstat -s "$W/control.sock" drops
[ "$rc" = 0 ] && [ "$(jq .sent "$W/A.json")" = "$(jq .echoed_distinct "$W/A.json")" ] || {
	echo "the demo lost packets" >&2
	exit 1
}

say "now by keys instead of credentials: peer B offers a service, peer A reaches it with pcpeer"
relay_id=$(build/bin/pcctl -s "$W/control.sock" -j identity show | field peer_id)

peer() { # SIDE ARGS...
	local side=$1
	shift
	XDG_CONFIG_HOME=$W/home$side XDG_RUNTIME_DIR=$W/home$side in_ns "$side" build/bin/pcpeer "$@"
}

for side in A B; do
	build/bin/pcctl -s "$W/control.sock" peer add "$side" "$(peer $side -j identity show | field peer_id)" \
		--tenant alice
	XDG_CONFIG_HOME=$W/home$side XDG_RUNTIME_DIR=$W/home$side \
		spawn_in $side "$W/pcpeer$side.log" build/bin/pcpeer up --relay "203.0.113.100:3478/$relay_id"
	wait_for 10 peer $side status
done
spawn_in B "$W/echo.log" build/tests/helpers/udpsink 127.0.0.1:7000 1000000000 600000 echo >/dev/null
peer B trust add "$(peer A -j identity show | field peer_id)"
peer B expose udp:7000 --to 127.0.0.1:7000
peer A connect "$(peer B -j identity show | field peer_id)" udp:7000 --listen 127.0.0.1:7000
ready() { [ "$(peer A -j status | field 'connects[0].ready')" = true ]; }
if ! wait_for 15 ready; then
	cat "$W"/pcpeer?.log "$W/pcd.log" >&2
	exit 1
fi
talk=$(in_ns A python3 tests/helpers/udptalk.py 127.0.0.1 7000 1000 4 1000)
echo "$talk"
peer A status
build/bin/pcstat -s "$W/control.sock" tenant
[ "$(jq '.sent == .back' <<<"$talk")" = true ] || {
	echo "the demo lost datagrams" >&2
	exit 1
}
say "every packet came back; removing the namespaces"
