#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 150
#
# What pcd does when something runs out while it relays: sessions, quota, flow map, disk, the store's
# lock; drained; without privileges; without an interface. New allocations are refused with 508 (486
# where it is the tenant's own limit), what is there goes on, and afterwards all is as before.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_relay.sh
source "$(dirname "$0")/lib_relay.sh"
need_root
mount_bpffs
topo_star
start_sink
mkdir "$T/state"
mount -t tmpfs -o size=1m pc-state "$T/state" && mounts+=("$T/state")
pcd_config "$T/pcd.conf" "relay max-sessions = 3" "relay max-tenants = 100" \
	"relay stranger-replies = 0"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p --max-channels 512 >"$T/out" && tenant v p --max-allocations 1 >"$T/out" || exit 1

allocates() {
	turnload --peer 198.18.2.2:7000 --count 0 --release >/dev/null 2>&1
}

# --- sessions ---
CLIENT_USER=v
hold q 0 0 --release
refused "beyond the tenant's quota" "Allocate: error 486"
CLIENT_USER=u
hold a 0 0 --release
hold b 2000 1000 --release
refused "beyond max-sessions" "Allocate: error 508"
check "health warns" eval "health .warnings | grep -q 'sessions: 3 of 3 used'"
go b
held b
is "what is there goes on" "$HELD" "[true,2000]"
go q
held q
CLIENT_USER=v
# Counters are taken up once more before another session gets them.
check "one more of the tenant after the other ended" wait_for 5 allocates
CLIENT_USER=u
go a
held a
check "and of others" wait_for 5 allocates

# --- flows ---
pcctl shutdown >"$T/out"
sed -i 's/^max-sessions.*/max-sessions = 20/' "$T/pcd.conf"
start_pcd relay "$T/pcd.conf" || exit 1
log_new
# Half of the room is IPv4's; a channel takes an entry for each direction.
size=$(($(health .kernel.flows.size) / 2))
hold f 2000 1000 --channels 500 --release
is "channels are bound until the flow map is full" "$(sed -n 's/^channels //p' "$T/f.err")" $((size / 2))
is "the next is refused" "$(sed -n 's/^turnload: //p' "$T/f.err")" "ChannelBind: error 508"
logged "the log says so" "no room for a channel in the kernel: new ones are refused"
check "health warns" eval "health .warnings | grep -q 'kernel table .*: $size of $size used'"
go f
held f
is "those that are bound relay, then make room" "$HELD" "[true,2000]"
is "in the kernel" "$(health '[.turn.data_up, .kernel.flows.used]')" "[0,0]"
relays "and there is room again"

# --- file descriptors: those that are needed, and a few ---
files=$(($(find "/proc/$PCD_PID/fd" -mindepth 1 | wc -l) + 10))
stop_pcd
PCD_WRAP=(prlimit "--nofile=$files:$files" setpriv --inh-caps=-sys_resource --bounding-set=-sys_resource)
log_new
start_pcd relay "$T/pcd.conf" || exit 1
PCD_WRAP=()
logged "open files limited: pcd warns" "max-sessions 20 needs 532 open files, the limit is $files"
hold a 2000 1000 --release
open=()
for n in {1..20}; do
	hold "n$n" 0 0 --release || break
	open+=("n$n")
done
is "open files used up: ports are shared, not the peer" \
	"$(sed -n 's/^turnload: //p' "$T/n$n.err")" "CreatePermission: error 508"
logged "open files used up: the log says so" \
	"no further relay port, new allocations share those there are: Too many open files"
go a
held a
is "open files used up: what is there goes on" "$HELD" "[true,2000]"
for n in "${open[@]}"; do
	go "$n"
	held "$n"
done
relays "open files free again: new allocations"
stop_pcd
start_pcd relay "$T/pcd.conf" || exit 1

# --- disk ---
is_ok() { [ "$(health .ok)" = true ]; }
not_ok_yet() { [ "$(health .ok)" = false ]; }

log_new
hold kernel 4000 1000
hold user 4000 1000 --send
go kernel
go user
cat /dev/zero >"$T/state/filler" 2>/dev/null
check "disk full: health says so" wait_for 5 not_ok_yet
is "disk full: and why" "$(health .store)" '{"ok":false,"reason":"No space left on device"}'
check "disk full: pcstat health fails" eval '! pcstat health >"$T/out"'
logged "disk full: the log says so" \
	"No space left on device; relaying goes on, new allocations are refused"
refused "disk full: no new allocation" "Allocate: error 508"
held kernel
is "disk full: the kernel goes on" "$HELD" "[true,4000]"
held user
is "disk full: user space goes on" "$HELD" "[true,4000]"
rm "$T/state/filler"
check "space again: health is well" wait_for 5 is_ok
logged "space again: the log says so" "store: works again"
relays "space again: new allocations"
hold kernel 4000 1000
go kernel
cat /dev/zero >"$T/state/filler" 2>/dev/null
pcd_kill9
check "disk full: pcd can be killed and started" start_pcd relay "$T/pcd.conf"
held kernel
is "disk full: the kernel went on meanwhile" "$HELD" "[true,4000]"
rm "$T/state/filler"
check "space again: health is well" wait_for 5 is_ok
relays "space again: new allocations"

# --- lock ---
log_new
hold kernel 4000 1000
hold user 4000 1000 --send
go kernel
go user
mkfifo "$T/sql"
spawn "$T/sqlite.log" sh -c 'sqlite3 "$0" <"$1"' "$T/state/pcd.db" "$T/sql"
exec 8>"$T/sql"
echo "BEGIN EXCLUSIVE; SELECT 'locked';" >&8
wait_for 5 grep -qs locked "$T/sqlite.log"
check "store locked: health says so" wait_for 5 not_ok_yet
is "store locked: and why" "$(health .store)" '{"ok":false,"reason":"held by someone else"}'
refused "store locked: no new allocation" "Allocate: error 508"
logged "store locked: the log says so" \
	"held by someone else; relaying goes on, new allocations are refused"
held kernel
is "store locked: the kernel goes on" "$HELD" "[true,4000]"
held user
is "store locked: user space goes on" "$HELD" "[true,4000]"
exec 8>&-
check "unlocked: health is well" wait_for 5 is_ok
relays "unlocked: new allocations"
# --- drain ---
hold a 2000 1000
pcctl drain >"$T/out"
refused "drained: no new allocation" "Allocate: error 508"
check "drained: health says so" eval "health .warnings | grep -q 'draining: no new sessions'"
go a
held a
is "drained: what is there goes on" "$HELD" "[true,2000]"
pcctl drain --off >"$T/out"
relays "drained no more: new allocations"
pcctl shutdown >"$T/out"

# --- another user ---
# Three interfaces; the relay address is that of the one which stays.
ns_add peer2
veth relay q0 peer2 eth0
addr relay q0 198.18.3.1/24
addr peer2 eth0 198.18.3.2/24
route peer2 add default via 198.18.3.1
in_ns peer2 ping -c 1 -W 2 198.18.3.1 >/dev/null
xdp_pass peer2 eth0
spawn_in peer2 "$T/sink2.log" "$PC_HELPERS/udpsink" 198.18.3.2:7000 1000000 600000 echo
wait_for 5 grep -qs ready "$T/sink2.log"
pcd_config "$T/pcd.conf" "node user = nobody" "relay max-sessions = 20" \
	"relay max-tenants = 100" "relay interface = q0" \
	"relay stranger-replies = 0"
sed -i 's/^relay-address.*/relay-address = 198.18.1.1/' "$T/pcd.conf"
log_new
start_pcd relay "$T/pcd.conf" || exit 1
is "as another user: it is that user" "$(stat -c %U "/proc/$PCD_PID")" nobody
# net_bind_service, net_admin, net_raw, perfmon, bpf
is "as another user: with these capabilities only" \
	"$(sed -n 's/^CapEff:\t//p' "/proc/$PCD_PID/status")" 000000c000003400
relays "as another user: new flows go into the kernel"
kill -HUP "$PCD_PID"
logged "as another user: it reads the configuration again" "configuration reloaded"
chmod 600 "$T/pcd.conf"
log_new
kill -HUP "$PCD_PID"
logged "as another user: one it may not read is refused" "Permission denied; the old configuration stays"
chmod 644 "$T/pcd.conf"

# --- an interface goes and comes ---
PEER=198.18.3.2:7000 hold other 12000 1500
go other
ip -n "$(ns relay)" link del p0
logged "interface gone: pcd says which" "p0: interface is gone, XDP off until it is back"
check "interface gone: health says so" eval "health .warnings | grep -q 'p0: XDP off: interface p0 is gone'"
veth relay p0 peer eth0
addr relay p0 198.18.2.1/24
addr peer eth0 198.18.2.2/24
route peer add default via 198.18.2.1
in_ns peer ping -c 1 -W 2 198.18.2.1 >/dev/null
logged "interface back: pcd attaches again" "p0: XDP native again"
xdp_pass peer eth0
held other
is "the other interface relayed all along" "$HELD" "[true,12000]"
is "in the kernel" "$(health .turn.data_up)" 0
relays "interface back: relayed in the kernel"
pcd_kill9
start_pcd relay "$T/pcd.conf" || exit 1
relays "killed and started: relayed in the kernel"
stop_pcd
check "and it ends in order" [ "$ENDED" = 0 ]
finish
