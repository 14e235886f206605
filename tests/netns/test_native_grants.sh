#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
#
# Grants of native peers: files that are no good, grants that run out, that are followed by others,
# that a relay refuses; a relay that was restarted, or that does not know the time.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_native.sh
source "$(dirname "$0")/lib_native.sh"
python3 -c 'import cryptography' 2>/dev/null || skip_all "python3-cryptography is not installed"
begin_native || exit 1
start_relay 1 || exit 1
know_peers 1 || exit 1
relay="203.0.113.101:3478/${RELAY_ID[1]}"

# grant FILE KEYFILE FROM UNTIL [RELAY]: seconds from now; of the other implementation
grant() {
	python3 "$TOP/tests/helpers/grant.py" "$2" "${5:-${RELAY_ID[1]}}" "$3" "$4" >"$T/$1"
}
keys="$T/home-a/pcpeer/identity.key"
counter() { relay_ctl 1 pcstat -j health | jq ".native.grants.$1"; }
has_counter() { [ "$(counter "$1")" -ge "$2" ]; }

# --- files ---
# up_says TEXT OPTION...: exit 2, with one line
up_says() {
	local text=$1
	shift
	peer a up --relay "$relay" "$@" >"$T/out" 2>"$T/err"
	[ $? = 2 ] && [ "$(wc -l <"$T/err")" = 1 ] && grep -qF "$text" "$T/err" || {
		diag <"$T/err"
		return 1
	}
}
check "a grant that is not there: exit 2" up_says "$T/none: No such file" --grant "$T/none"
head -c 300 /dev/urandom >"$T/noise"
check "that is none" up_says "$T/noise: not a grant" --grant "$T/noise"
grant old "$keys" -20 -10
check "that has run out" up_says "this grant has run out, on $(date -u +%Y-)" --grant "$T/old"
grant other "$T/home-b/pcpeer/identity.key" -10 60
check "of another payer" up_says "a grant of another payer: $B" --grant "$T/other"
grant elsewhere "$keys" -10 60 "$B"
check "for another relay" up_says "a grant for $B, which is none of the relays" --grant "$T/elsewhere"
grant short "$keys" -10 4
python3 - "$T/short" "$T/forged" <<-'P'
	import base64, sys
	grant = bytearray(base64.urlsafe_b64decode(open(sys.argv[1]).read()))
	grant[150] ^= 1
	open(sys.argv[2], 'wb').write(grant)
P
check "that somebody has changed" up_says "a signature of this grant is wrong" --grant "$T/forged"
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 --grant "$T/old" 2>"$T/err"
is "connect says the same" "$? $(grep -c 'has run out' "$T/err")" "2 1"

# --- one that runs out ---
start_peer b 1 || exit 1
start_peer a 1 || exit 1
echo_service
peer b trust add "$A" >/dev/null
peer b expose udp:7000 --to 127.0.0.1:7000 >/dev/null
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 --grant "$T/elsewhere" 2>"$T/err"
is "for a relay that is none of ours, the agent says" "$? $(grep -c "none of our relays" "$T/err")" "1 1"
grant first "$keys" -10 8
tr _- /+ <"$T/first" | base64 -d >"$T/plain"
is "a grant is 336 bytes" "$(stat -c %s "$T/plain")" 336
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 --grant "$T/plain" >/dev/null
check "with a grant there is a session" wait_for 5 is_now a '.connects[0].ready' true
is "and it is shown" "$(status a '.connects[0].grants | map(.state) | join(" ")')" usable
talk 200 1
all_back "datagrams pass"
check "it runs out: the payer hears of it" \
	wait_for 15 grep -q "relay 203.0.113.101:3478: the grant has run out" "$T/peer-a.log"
check "and says what comes next" wait_for 5 grep -q "no grant is left, so no relay is asked any more" "$T/peer-a.log"
check "so does the other peer" wait_for 5 grep -q "the pipe of $A .* ended: the grant has run out" "$T/peer-b.log"
check "and the relay" wait_for 5 grep -q "a grant of peer a has run out: its pipe ends" "$T/pcd1.log"
is "which counts it" "$(counter ended) $(counter good)" "1 1"
is "its pipe is over" "$(relay_ctl 1 pcstat -j session | jq '.sessions | length')" 0
is "the peer keeps it in mind" "$(status a '.connects[0].grants[0].state')" ended
check "there is no way any more" wait_for 5 is_now a '.peers[0].way // "none"' none
talk 50 2
is "nothing passes" "$(jq .back <<<"$TALK")" 0
is "nor is anybody asked again" "$(counter expired)" 0

# --- another one ---
has_pipe() { is_now a '[.connects[0].ready, .peers[0].way] | join(" ")' "true relay"; }
grant second "$keys" -10 6
peer a connect "$B" udp:7000 --grant "$T/second" >/dev/null
check "a later grant brings a pipe again" wait_for 5 has_pipe
talk_in_background 200 10
grant third "$keys" -10 3600
peer a connect "$B" udp:7000 --grant "$T/third" >"$T/out"
is "one more while it is up" "$(cat "$T/out")" "udp:7000 of that peer is at 127.0.0.1:7000"
talked
all_back "lets the pipe go on beyond the end of the one before"
is "no other pipe was needed" "$(counter ended)" 1

# --- not valid yet ---
peer a connect "$B" udp:7000 --off >/dev/null
grant soon "$keys" 3 3600
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 --grant "$T/soon" >/dev/null
check "one for later is kept until then" grep -q "its grant is valid from .* UTC on" "$T/peer-a.log"
check "and used then" wait_for 15 has_pipe
is "the relay was not asked before" "$(counter early)" 0

# --- the daemon dies ---
peer a connect "$B" udp:7000 --off >/dev/null
grant brief "$keys" -10 5
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 --grant "$T/brief" >/dev/null
wait_for 5 has_pipe
end_pid "${RELAY_PID[1]}" KILL
talk 100 9
diag <<<"$TALK"
check "with pcd killed a pipe ends on time" [ "$(jq .back <<<"$TALK")" -lt 600 ]
grant next "$keys" -10 3600
peer a connect "$B" udp:7000 --grant "$T/next" >/dev/null
start_relay 1 || exit 1
# What it has is not what it thinks it has, so ask those who know.
passes() { talk 20 0.2 && [ "$(jq '.sent - .back' <<<"$TALK")" = 0 ]; }
check "and there is another once it is back" wait_for 60 passes
end_pid "${RELAY_PID[1]}" KILL
start_relay 1 || exit 1
check "a pipe with a grant is taken up" grep -q "adopted 1 pipes" "$T/pcd1.log"
check "and its grant shown again" wait_for 60 has_counter good 1
talk 200 1
all_back "it carries on"

# --- the relay judges for itself ---
seed=$(printf c | sha256sum | cut -c 1-64)
C=$("$PC_HELPERS/nativepeer" --identity "$seed")
printf 'pcloud-ed25519-v1 %s\n' "$seed" >"$T/c.key"
relay_ctl 1 pcctl peer add c "$C" --tenant mesh >/dev/null
mkfifo "$T/c.in"
nsenter --net="/run/netns/$(ns a)" "$PC_HELPERS/nativepeer" 203.0.113.101:3478 "${RELAY_ID[1]}" "$seed" \
	<"$T/c.in" >>"$T/c.log" 2>&1 &
pids+=("$!")
exec 7>"$T/c.in"
wait_for 10 grep -q '^registered' "$T/c.log"
# Whom it calls has to be back.
b_is_back() { [ "$(relay_ctl 1 pcctl -j peer list b | jq .peers[0].registered)" = true ]; }
wait_for 60 b_is_back
# refused GRANT TEXT: when c calls b with it
refused() {
	: >"$T/c.log"
	printf 'grant %s\ncall %s\n' "$(tr -d '\n' <"$T/$1")" "$B" >&7
	wait_for 10 grep -qxF "refused $2" "$T/c.log"
}
grant c-old "$T/c.key" -20 -10
check "an expired one is refused" refused c-old "the grant has run out"
check "and the relay says so" grep -q "a grant of peer c is refused: it has run out" "$T/pcd1.log"
grant c-early "$T/c.key" 100 200
check "one that is not valid yet" refused c-early "the grant is not valid yet"
grant c-other "$T/c.key" -10 100 "$B"
check "one for another relay" refused c-other "the grant is not for this relay and this peer, or forged"
check "one of another payer" refused third "the grant is not for this relay and this peer, or forged"
is "each has its counter" "$(relay_ctl 1 pcstat -j health | jq -c '.native.grants | [.expired, .early, .foreign]')" "[1,1,2]"

# --- no clock ---
cat >"$T/noclock.c" <<-'C'
	#define _GNU_SOURCE
	#include <sys/syscall.h>
	#include <time.h>
	#include <unistd.h>
	int clock_gettime(clockid_t id, struct timespec *t)
	{
		long r = syscall(SYS_clock_gettime, id == CLOCK_REALTIME ? CLOCK_MONOTONIC : id, t);
		return (int)r;
	}
C
"${CC:-gcc}" -shared -fPIC -o "$T/noclock.so" "$T/noclock.c" || exit 1
end_pid "${RELAY_PID[1]}"
: >"$T/pcd1.log"
LD_PRELOAD=$T/noclock.so start_relay 1 || exit 1
check "a relay that does not know the time says so" grep -q "clock was never set.* grants are refused" "$T/pcd1.log"
check "it refuses grants" wait_for 60 has_counter no_clock 1
check "and says why" grep -q "a grant of peer a is refused: the clock of this host was never set" "$T/pcd1.log"
check "so does the peer" wait_for 10 grep -q "the relay does not know the time and takes no grants" "$T/peer-a.log"
peer a connect "$B" udp:7000 --off >/dev/null
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 >/dev/null
check "who has none is served as ever" wait_for 30 passes
peer a connect "$B" udp:7000 --off >/dev/null
peer a connect "$B" udp:7000 --listen 127.0.0.1:7000 --grant "$T/third" >/dev/null
end_pid "${RELAY_PID[1]}"
start_relay 1 || exit 1
check "once it knows the time, it takes them" wait_for 60 has_counter good 1
check "and datagrams pass" wait_for 30 passes
finish
