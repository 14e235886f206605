#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 150
#
# Bad configurations, arguments and credentials: one line, what and where, exit 2, nothing half done.
# A configuration that is read again: what can change does, what cannot is named, a bad one changes
# nothing.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_relay.sh
source "$(dirname "$0")/lib_relay.sh"
need_root
mount_bpffs
topo_star

# A configuration of the relay on standard output; extra lines go to [relay].
config() {
	printf '%s\n' "[node]" "state-dir = $T/none/state" "control-socket = $T/none/run/control.sock" \
		"bpffs = $BPFFS/none" "[relay]" "listen = 198.18.1.1:3478" "$@"
}

untouched() {
	[ ! -e "$T/none" ] && [ ! -e "$BPFFS/none" ]
}

# fails STATUS NAME TEXT COMMAND...: exit status, one line on standard error that has TEXT, nothing
# on standard output, nothing made.
fails() {
	local status=$1 name=$2 text=$3 got
	shift 3
	timeout 20 nsenter --net="/run/netns/$(ns relay)" "$@" >"$T/out" 2>"$T/err" </dev/null
	got=$?
	if [ "$got" = "$status" ] && [ "$(wc -l <"$T/err")" = 1 ] && grep -qF -- "$text" "$T/err" &&
		[ ! -s "$T/out" ] && untouched; then
		ok "$name"
	else
		not_ok "$name" "status $got, expected $status and '$text': $(cat "$T/out" "$T/err" |
			head -n 5)$(untouched || echo "; left something behind")"
	fi
}

# bad NAME TEXT: the configuration $T/c, for real and with -n
bad() {
	fails 2 "$1" "$2" "$PC_BIN/pcd" -c "$T/c"
	fails 2 "$1, checked" "$2" "$PC_BIN/pcd" -n -c "$T/c"
}

# --- configuration ---
config "frob = 1" >"$T/c" && bad "unknown key" "$T/c:7: unknown key \"frob\" in [relay]"
config "[frob]" >"$T/c" && bad "unknown section" "$T/c:7: unknown section \"[frob]\""
config "xdp = fast" >"$T/c" && bad "bad value" "$T/c:7: xdp \"fast\": not one of auto"
config "max-sessions = 0" >"$T/c" && bad "number out of range" "$T/c:7: max-sessions \"0\""
config "realm = a" "realm = b" >"$T/c" && bad "key twice" "$T/c:8: key \"realm\" given twice"
config "realm =" >"$T/c" && bad "key without a value" "$T/c:7: key \"realm\" has no value"
config "frob" >"$T/c" && bad "line without a key" "$T/c:7: \"frob\": neither"
config "secret correct horse" >"$T/c" && bad "broken secret" "$T/c:7: \"secret\": neither"
is "a secret is not repeated" "$(grep -c horse "$T/err")" 0
config "interface = eth9" >"$T/c" &&
	bad "interface that is not there" "$T/c: interface \"eth9\": no such interface"
config "relay-address = 198.18.9.9" >"$T/c" &&
	bad "address that is not there" "$T/c: relay-address \"198.18.9.9\": this host does not"
head -c 4096 "$PC_BIN/pcd" >"$T/c" && bad "a program as configuration" "$T/c:1: control character"
printf '[relay]\nrealm = a\0b\n' >"$T/c" && bad "NUL" "$T/c:2: control character 0x00"
{ config && head -c 1100000 /dev/zero | tr '\0' '#'; } >"$T/c" && bad "too large" "$T/c: larger"
fails 2 "missing file" "$T/nothing: No such file" "$PC_BIN/pcd" -c "$T/nothing"
fails 2 "directory" "$T: Is a directory" "$PC_BIN/pcd" -c "$T"
config >"$T/c" && chmod 0 "$T/c"
fails 2 "file that may not be read" "$T/c: Permission denied" \
	setpriv --inh-caps=-all --bounding-set=-all "$PC_BIN/pcd" -c "$T/c"
for words in --frob "-c" "frob" "-n -c $T/c frob"; do
	# shellcheck disable=SC2086
	fails 2 "pcd $words" "see pcd --help" "$PC_BIN/pcd" $words
done
for c in crlf bom; do
	rm -f "$T/c"
	case $c in
	crlf) config "realm = x" | sed 's/$/\r/' >"$T/c" ;;
	bom) { printf '\xef\xbb\xbf' && config "realm = x"; } >"$T/c" ;;
	esac
	in_ns relay "$PC_BIN/pcd" -n -c "$T/c" >"$T/out" 2>&1
	is "a file with $c is valid" "$? $(cat "$T/out")" "0 $T/c: valid"
done
check "checking makes nothing" untouched

# --- credentials ---
start_sink
pcd_config "$T/pcd.conf" "relay max-sessions = 100" "relay secret = first secret" \
	"relay stranger-replies = 0"
start_pcd relay "$T/pcd.conf" || exit 1
tenant u p >"$T/out" || exit 1
umask 077

untouched() {
	[ "$(pcstat -j tenant | jq -c '[.tenants[].name]')" = '["u"]' ]
}

# bad_password NAME TEXT: what is in $T/bad
bad_password() {
	fails 2 "password file: $1" "pcctl: $T/bad: $2" "$PC_BIN/pcctl" -s "$SOCKET" tenant add bob \
		--password-file "$T/bad"
}
bad_password "missing" "No such file or directory"
: >"$T/bad" && bad_password "empty" "a password has 1 to 512 bytes"
echo >"$T/bad" && bad_password "one empty line" "a password has 1 to 512 bytes"
head -c 513 /dev/zero | tr '\0' x >"$T/bad" && bad_password "too long" "a password has 1 to 512"
printf 'a\0b\n' >"$T/bad" && bad_password "with NUL" "a password is one line of text"
printf 'a\nb\n' >"$T/bad" && bad_password "two lines" "a password is one line of text"
printf 'a\r\n' >"$T/bad" && bad_password "CRLF" "a password is one line of text"
printf 'a\xff\n' >"$T/bad" && bad_password "not UTF-8" "not UTF-8 text"
rm "$T/bad" && mkdir "$T/bad" && bad_password "directory" "Is a directory"
rmdir "$T/bad"
echo p >"$T/bad" && chmod 0 "$T/bad"
PCD=("$PC_BIN/pcctl" -s "$SOCKET" tenant add bob --password-file "$T/bad")
fails 2 "password file: may not be read" "pcctl: $T/bad: Permission denied" \
	setpriv --inh-caps=-all --bounding-set=-all "${PCD[@]}"
fails 2 "argument: bad limit" "--max-channels 1x: a number" "${PCD[@]}" --max-channels 1x
fails 2 "argument: bad name" '"b b" is no tenant name' \
	"$PC_BIN/pcctl" -s "$SOCKET" tenant add "b b"
fails 2 "argument: unknown" "; see pcstat help" "$PC_BIN/pcstat" -s "$SOCKET" --frob
fails 2 "argument: bad session" "is no session id" "$PC_BIN/pcstat" -s "$SOCKET" session 12
head -c 33 /dev/urandom >"$T/key" && fails 2 "key file: random bytes" "$T/key: not a key file" \
	"$PC_BIN/pcctl" -s "$SOCKET" identity import "$T/key" --replace
cp "$T/state/identity.key" "$T/key" && chmod 644 "$T/key" &&
	fails 2 "key file: others can read it" "$T/key: others can read it, or it is somebody else's; its mode has to be 0600" \
		"$PC_BIN/pcctl" -s "$SOCKET" identity import "$T/key" --replace
chmod 644 "$T/bad"
pcctl tenant add bob --password-file "$T/bad" >"$T/out" 2>"$T/err"
is "a password that others can read is taken, with a warning" "$? $(cat "$T/out" "$T/err")" \
	"0 tenant bob added
pcctl: $T/bad: others can read this password; chmod 600 it"
pcctl tenant del bob >"$T/out"

# --- reading the configuration again ---
# timed SECRET: CLIENT_USER and CLIENT_PASSWORD as a web application makes them
timed() {
	CLIENT_USER=$(($(date +%s) + 600)):u
	CLIENT_PASSWORD=$(printf %s "$CLIENT_USER" | openssl dgst -sha1 -hmac "$1" -binary | base64)
}

# keeps NAME TEXT: a reload is refused with that, and everything goes on as it was
keeps() {
	log_new
	kill -HUP "$PCD_PID"
	logged "reload: $1" "error reload: $T/pcd.conf$2; the old configuration stays"
	is "reload: $1: counted as none" "$(health .reloads)" "$reloads"
	relays "reload: $1: the old one works"
}

reload() {
	log_new
	kill -HUP "$PCD_PID"
	logged "reload: $1" "configuration reloaded from $T/pcd.conf"
	reloads=$((reloads + 1))
}

reloads=0
timed "first secret"
relays "a credential of the first secret works"
cp "$T/pcd.conf" "$T/good"
echo "frob = 1" >>"$T/pcd.conf"
keeps "bad file" ":$(wc -l <"$T/pcd.conf"): unknown key \"frob\" in [relay]"
for change in "listen = 198.18.1.1:3479" "relay-address = 198.18.1.1" "ports = 50000-50100" \
	"interface = c0" "max-sessions = 101" "xdp = off" "state-dir = $T/2" "user = nobody"; do
	key=${change%% *}
	sed "/^$key =/d; /^\[relay\]/a $change" "$T/good" >"$T/pcd.conf"
	case $key in
	state-dir | user) sed "/^$key =/d; /^\[node\]/a $change" "$T/good" >"$T/pcd.conf" ;;
	esac
	fails 1 "reload: another $key is refused by name" \
		"pcctl: $T/pcd.conf: $key changed, which needs a restart" "$PC_BIN/pcctl" -s "$SOCKET" reload
done
keeps "a key that needs a restart" ": user changed, which needs a restart"
rm "$T/pcd.conf"
keeps "file gone" ": No such file or directory"

sed 's/first secret/second secret/' "$T/good" >"$T/pcd.conf"
reload "another secret"
refused "a credential of the old secret is refused" "Allocate: error 401"
timed "second secret"
relays "a credential of the new one works"

sed -i '/^\[relay\]/a realm = elsewhere' "$T/pcd.conf"
reload "another realm"
relays "a time-limited credential works in it"
CLIENT_USER=u CLIENT_PASSWORD=p
refused "a password set for the old one does not" "Allocate: error 401"
logged "and the log says so" "passwords of 1 tenants were set for another realm"
pcctl tenant set u --password-file "$T/password-u" >"$T/out"
relays "set again it does"

# The peer is denied while a channel to it is in use.
hold cut 100000 1000
go cut
busy() { [ "$(pcstat -j tenant u | jq .tenants[0].down.packets)" -gt 2000 ]; }
wait_for 5 busy
echo "deny-peer = 198.18.2.2" >>"$T/pcd.conf"
reload "a peer is denied"
before=$(link_count peer eth0 rx packets)
up=$(pcstat -j tenant u | jq .tenants[0].up.packets)
is "its channel is gone" "$(pcstat -j session | jq -c '[.sessions[] | .channels]')" "[0]"
sleep 1
is "nothing is relayed to it any more" "$(pcstat -j tenant u | jq .tenants[0].up.packets)" "$up"
check "its interface saw nothing" [ $(($(link_count peer eth0 rx packets) - before)) -lt 20 ]
is "nor in the kernel" "$(health .kernel.flows.used)" 0
kill "${held_pid[cut]}"
refused "a new permission for it is refused" "CreatePermission: error 403"
sed -i '/^deny-peer/d' "$T/pcd.conf"
reload "it is allowed again"
relays "and relayed to"
finish
