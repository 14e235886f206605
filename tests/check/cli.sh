#!/bin/bash
# SPDX-License-Identifier: MIT
#
# pcctl, pcstat and pcpeer as scripts see them: exit status, one line, JSON; then against a pcd of our own
# that relays in user space; completion. Needs the programs, no privileges.
set -u
export LC_ALL=C
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
bin=${PC_BIN:-$top/build/bin}
number=0 pid=

for p in pcd pcctl pcstat pcpeer; do
	[ -x "$bin/$p" ] || {
		echo "build/bin/$p is not built"
		exit 77
	}
done
work=$(mktemp -d) || exit 1
clean_up() {
	[ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
socket=$work/run/control.sock

report() {
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		sed 's/^/# out: /' "$work/out"
		sed 's/^/# err: /' "$work/err"
	fi
}

# expect STATUS NAME COMMAND...: the exit status; an error is one line on stderr and nothing else.
expect() {
	local status=$1 name=$2 bad=0 got
	shift 2
	"$@" >"$work/out" 2>"$work/err" </dev/null
	got=$?
	[ "$got" = "$status" ] || bad=1
	if [ "$status" != 0 ]; then
		[ "$(wc -l <"$work/err")" = 1 ] && [ ! -s "$work/out" ] || bad=1
	fi
	report $bad "$name"
}

# says TEXT NAME: whether the last command printed it, on stdout or stderr.
says() {
	grep -qF -- "$1" "$work/out" "$work/err"
	report $? "$2"
}

# error_json NAME: stderr of the last command is exactly {"error": TEXT}.
error_json() {
	python3 -c 'import json,sys; o=json.load(sys.stdin); sys.exit(list(o) != ["error"])' \
		<"$work/err" 2>/dev/null
	report $? "$1"
}

pcctl=("$bin/pcctl" -s "$socket")
pcstat=("$bin/pcstat" -s "$socket" --state-dir "$work/state" --bpffs "$work/bpf")

# --- arguments ---
expect 2 "pcctl without a command" "$bin/pcctl"
expect 2 "pcctl: unknown object" "$bin/pcctl" nonsense
expect 2 "pcctl: ambiguous object" "$bin/pcctl" d
expect 2 "pcctl: object without verb" "$bin/pcctl" tenant
expect 2 "pcctl: unknown verb" "$bin/pcctl" tenant frobnicate
expect 2 "pcctl: missing name" "$bin/pcctl" tenant add
expect 2 "pcctl: superfluous word" "$bin/pcctl" reload now
expect 2 "pcctl: unknown option" "$bin/pcctl" tenant add alice --frob
expect 2 "pcctl: option of another command" "$bin/pcctl" tenant add alice --lifetime 5
expect 2 "pcctl: a rate of zero" "$bin/pcctl" tenant add alice --rate 0
expect 2 "pcctl: a rate with a wrong unit" "$bin/pcctl" tenant add alice --up 20m
expect 2 "pcctl: option without its value" "$bin/pcctl" tenant add alice --tier
expect 2 "pcctl: option twice" "$bin/pcctl" tenant add alice --tier a --tier b
expect 2 "pcctl: bad number" "$bin/pcctl" tenant add alice --max-channels 1x
expect 2 "pcctl: bad name" "$bin/pcctl" tenant add 'al ice'
expect 2 "pcctl: name with control characters" "$bin/pcctl" tenant add $'a\e[2J'
says '\x1b' "pcctl: control characters are escaped"
expect 2 "pcctl: password as an argument" "$bin/pcctl" tenant add alice --password secret extra
expect 2 "pcctl: bad lifetime" "$bin/pcctl" credential alice --lifetime 5y
expect 2 "pcctl: errors as JSON" "$bin/pcctl" tenant add -j
error_json "pcctl: shape of an error"
expect 2 "pcstat: unknown object" "$bin/pcstat" nonsense
expect 2 "pcstat: superfluous word" "$bin/pcstat" drops now
expect 2 "pcstat: bad interval" "$bin/pcstat" watch -i 0
expect 2 "pcstat: bad session id" "$bin/pcstat" session 12
expect 2 "pcstat: errors as JSON" "$bin/pcstat" --json --frob
error_json "pcstat: shape of an error"
expect 2 "pcd: unknown option" "$bin/pcd" --frob
expect 2 "pcd: configuration that is not there" "$bin/pcd" -c "$work/nothing"

# --- pcpeer's ---
pcpeer=(env "XDG_CONFIG_HOME=$work/peer" "XDG_RUNTIME_DIR=$work/peer" "$bin/pcpeer")
id=12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq
expect 2 "pcpeer without a command" "${pcpeer[@]}"
expect 2 "pcpeer: unknown object" "${pcpeer[@]}" nonsense
expect 2 "pcpeer: object without verb" "${pcpeer[@]}" trust
expect 2 "pcpeer: unknown verb" "${pcpeer[@]}" trust frobnicate
expect 2 "pcpeer: missing words" "${pcpeer[@]}" connect $id
expect 2 "pcpeer: superfluous word" "${pcpeer[@]}" status now
expect 2 "pcpeer: option of another command" "${pcpeer[@]}" status --listen 127.0.0.1:1
expect 2 "pcpeer: option twice" "${pcpeer[@]}" expose udp:1 --to 127.0.0.1:1 --to 127.0.0.1:2
expect 2 "pcpeer: not a peer" "${pcpeer[@]}" trust add 12D3KooW
expect 2 "pcpeer: not a service" "${pcpeer[@]}" connect $id udp:0 --listen 127.0.0.1:1
expect 2 "pcpeer: a service of another protocol" "${pcpeer[@]}" connect $id tcp:22 --listen 127.0.0.1:1
says "only udp services are forwarded" "and pcpeer says so"
expect 2 "pcpeer: no address" "${pcpeer[@]}" expose udp:1
expect 2 "pcpeer: not an address" "${pcpeer[@]}" expose udp:1 --to localhost:1
expect 2 "pcpeer: up without a relay" "${pcpeer[@]}" up
expect 2 "pcpeer: not a relay" "${pcpeer[@]}" up --relay 198.51.100.7:3478
expect 2 "pcpeer: a grant that is not there" "${pcpeer[@]}" connect $id udp:1 --grant "$work/nothing"
says "$work/nothing: No such file or directory" "and which"
expect 2 "pcpeer: a grant that is none" "${pcpeer[@]}" connect $id udp:1 --listen 127.0.0.1:1 --grant /dev/null
says "/dev/null: not a grant" "and why"
expect 2 "pcpeer: a grant for the end" "${pcpeer[@]}" connect $id udp:1 --off --grant /dev/null
expect 2 "pcpeer: a pre-shared key without a peer" "${pcpeer[@]}" up --relay 198.51.100.7:3478/$id --psk-file /dev/null
says "not PEER=FILE" "and why"
expect 2 "pcpeer: configuration that is not there" "${pcpeer[@]}" up --config "$work/nothing"
printf '[peer]\nrelay = 198.51.100.7:3478/%s\nfrob = 1\n' $id >"$work/peer.conf"
expect 2 "pcpeer: unknown key" "${pcpeer[@]}" up --config "$work/peer.conf"
says "$work/peer.conf:3: unknown key \"frob\"" "with file, line and text"
expect 2 "pcpeer: errors as JSON" "${pcpeer[@]}" -j trust add nobody
error_json "pcpeer: shape of an error"
expect 1 "pcpeer status without an agent" "${pcpeer[@]}" status
says "no pcpeer up answers on $work/peer/pcpeer/control.sock" "and it says where"
expect 0 "pcpeer identity show makes one" "${pcpeer[@]}" -j identity show
cp "$work/out" "$work/first"
expect 0 "pcpeer identity show again" "${pcpeer[@]}" -j identity show
cmp -s "$work/out" "$work/first"
report $? "the peer's identity stays"
chmod 644 "$work/peer/pcpeer/identity.key"
expect 1 "pcpeer: a key file that others can read" "${pcpeer[@]}" identity show
chmod 600 "$work/peer/pcpeer/identity.key"
expect 1 "pcpeer identity import keeps what is there" "${pcpeer[@]}" identity import "$work/peer/pcpeer/identity.key"
expect 0 "pcpeer trust add without an agent" "${pcpeer[@]}" trust add $id
expect 1 "pcpeer: trusted already" "${pcpeer[@]}" trust add $id
expect 0 "pcpeer trust list" "${pcpeer[@]}" trust list
says $id "the peer is on the list"
expect 0 "pcpeer trust remove" "${pcpeer[@]}" trust remove $id
expect 1 "pcpeer: not trusted" "${pcpeer[@]}" trust remove $id

# --- help ---
for words in help "help tenant" "tenant help" "tenant add help" "help tenant add" "-h" "drain help"; do
	# shellcheck disable=SC2086
	expect 0 "pcctl $words" "$bin/pcctl" $words
	says usage: "pcctl $words prints the usage"
done
expect 0 "pcctl tenant add help lists its options" "$bin/pcctl" tenant add help
says --password-file "pcctl tenant add help knows --password-file"
for words in help "help trust" "trust add help" "connect help" "-h"; do
	# shellcheck disable=SC2086
	expect 0 "pcpeer $words" "$bin/pcpeer" $words
	says usage: "pcpeer $words prints the usage"
done
expect 0 "pcstat help" "$bin/pcstat" help
says usage: "pcstat help prints the usage"
for p in pcd pcctl pcstat pcpeer; do
	expect 0 "$p -V" "$bin/$p" -V
	says "$p " "$p -V names itself"
done

# --- no daemon ---
for words in "tenant list" reload drain "credential alice" "tenant del alice"; do
	# shellcheck disable=SC2086
	expect 1 "pcctl $words without pcd" "${pcctl[@]}" $words
	says "no pcd answers on $socket" "pcctl $words says so"
done
expect 1 "pcctl -j without pcd" "${pcctl[@]}" -j reload
error_json "pcctl -j without pcd: shape of the error"
expect 1 "pcctl identity show without an identity" "${pcctl[@]}" identity show --state-dir "$work"
mkdir "$work/other"
expect 0 "pcctl identity init without pcd" "${pcctl[@]}" identity init --state-dir "$work/other"
cp "$work/out" "$work/first"
expect 1 "pcctl identity init keeps what is there" "${pcctl[@]}" identity init --state-dir "$work/other"
expect 0 "pcctl identity show without pcd" "${pcctl[@]}" identity show --state-dir "$work/other"
cmp -s "$work/out" "$work/first"
report $? "the identity is the one that was made"
expect 0 "pcctl identity init --replace" "${pcctl[@]}" ident init --repl --state-dir "$work/other"
! cmp -s "$work/out" "$work/first"
report $? "the identity is another one"
"${pcstat[@]}" >"$work/out" 2>"$work/err"
[ $? = 1 ]
report $? "pcstat where there is neither pcd nor state"

# --- identities, still without a daemon ---
peer_id=12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq
label=k51qzi5uqu5dgy8qsq67hbz73jqkw87l3fgf4a91qb0d9b5173tir7n4vxk1oe
identity=("${pcctl[@]}" identity --state-dir "$work/other")
expect 0 "identity show of a label" "${pcctl[@]}" identity show $label
says $peer_id "identity show prints its peer id"
expect 0 "identity show of a did:key" "${pcctl[@]}" identity show \
	did:key:z6MkgXZvRh65tcAdLJTKdEvyqEv7ZBhn9C5BM68jw4cESKtH
says $label "identity show prints its label"
expect 2 "identity show of nonsense" "${pcctl[@]}" identity show ${peer_id}x
(umask 077 && echo CAESQH4IMGF8Sn3oOSXfsmlFVrEpNsR3oOH+suFI7J2mD+59HtHo+uLEoUS4vo/UtHvz07NLhxw8rPYBDw5C1HT84n4= >"$work/libp2p")
expect 1 "identity import keeps what is there" "${identity[@]}" import "$work/libp2p"
cp "$work/other/identity.key" "$work/old.key"
expect 2 "identity --succession without --replace" \
	"${identity[@]}" import "$work/libp2p" --succession "$work/record"
expect 0 "identity import of a libp2p key" \
	"${identity[@]}" import "$work/libp2p" --replace --succession "$work/record"
says $peer_id "the imported identity is the published one"
expect 0 "identity verify" "${pcctl[@]}" identity verify "$work/record"
says "new  $peer_id" "identity verify prints both keys"
expect 1 "a record is not written over" \
	"${identity[@]}" init --replace --succession "$work/record"
expect 1 "there is no succession to the same key" \
	"${identity[@]}" import "$work/libp2p" --replace --succession "$work/same"
[ ! -e "$work/same" ]
report $? "and no record of it"
expect 2 "identity verify of something else" "${pcctl[@]}" identity verify "$work/libp2p"
printf x | dd of="$work/record" bs=1 seek=100 conv=notrunc 2>/dev/null
expect 1 "identity verify of a forged record" "${pcctl[@]}" identity verify "$work/record"
chmod 644 "$work/libp2p"
expect 2 "identity import of a file others can read" \
	"${identity[@]}" import "$work/libp2p" --replace
says 0600 "identity import says what is wrong"
echo 'open sesame' >"$work/passphrase"
chmod 600 "$work/passphrase"
expect 0 "identity init, sealed" \
	"${identity[@]}" init --replace --passphrase-file "$work/passphrase"
cp "$work/out" "$work/first"
expect 0 "identity show of a sealed identity" "${identity[@]}" show
cmp -s "$work/out" "$work/first"
report $? "identity show needs no passphrase"
expect 2 "identity import of a sealed file" \
	"${identity[@]}" import "$work/other/identity.key" --replace
says --passphrase-file "identity import says what it needs"
cp "$work/other/identity.key" "$work/sealed.key"

# --- a daemon ---
cat >"$work/pcd.conf" <<C
[node]
state-dir = $work/state
control-socket = $socket
bpffs = $work/bpf
[relay]
listen = 127.0.0.1:$((20000 + $$ % 10000))
relay-address = 127.0.0.1
ports = 50000-50099
max-sessions = 100
xdp = off
C
start() {
	"$bin/pcd" -c "$work/pcd.conf" >"$work/log" 2>&1 &
	pid=$!
	for _ in {1..100}; do
		"${pcctl[@]}" tenant list >/dev/null 2>&1 && return 0
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	cat "$work/log" >"$work/err"
	return 1
}
start
report $? "pcd starts"
[ "$(stat -c %a "$socket")" = 660 ]
report $? "the control socket has mode 0660"
"$bin/pcd" -c "$work/pcd.conf" >"$work/out" 2>"$work/err"
[ $? = 1 ]
report $? "a second pcd refuses to start"

printf 'secret\n' >"$work/password"
expect 0 "tenant add" "${pcctl[@]}" tenant add alice --password-file "$work/password" --tier paid
expect 1 "tenant add of a name that is taken" "${pcctl[@]}" tenant add alice
expect 2 "tenant add with a password file that is not there" \
	"${pcctl[@]}" tenant add bob --password-file "$work/nothing"
: >"$work/empty"
expect 2 "tenant add with an empty password" "${pcctl[@]}" tenant add bob --password-file "$work/empty"
expect 1 "tenant add with a limit out of range" "${pcctl[@]}" tenant add bob --max-channels 513
expect 1 "tenant set of nobody" "${pcctl[@]}" tenant set bob --tier paid
expect 2 "tenant set of nothing" "${pcctl[@]}" tenant set alice
expect 0 "tenant set, words shortened" "${pcctl[@]}" ten se alice --max-alloc 7
expect 1 "an unknown tier" "${pcctl[@]}" tenant set alice --tier gold
says 'unknown tier "gold": owner, paid, free' "it says which there are"
expect 1 "a rate that is too low" "${pcctl[@]}" tenant set alice --rate 7K
says 'from 8000 to 400000000000 bit/s' "it says which are allowed"
expect 1 "a guarantee without a capacity" "${pcctl[@]}" tenant set alice --guarantee 1M
says 'names no capacity' "it says why"
expect 0 "rates" "${pcctl[@]}" tenant set alice --rate 20M --down 40M --packets 5K --weight 3
expect 0 "a tenant's rates are shown" "${pcstat[@]}" tenant alice
says '20 Mbit/s up, 40 Mbit/s down, weight 3' "as they were set"
expect 0 "quotas" "${pcctl[@]}" tenant set alice --quota-day 1G --quota 20G
expect 0 "quotas are shown" "${pcstat[@]}" tenant alice
says '0 B of 20 GB used' "as they were set"
expect 1 "a quota of a day above that of the month" "${pcctl[@]}" tenant set alice --quota-day 21G
expect 0 "quotas lifted" "${pcctl[@]}" tenant set alice --quota none --quota-day none
expect 0 "rates lifted" "${pcctl[@]}" tenant set alice --rate none --packets none --weight 1
expect 0 "tenant list" "${pcctl[@]}" tenant list
says alice "tenant list has the tenant"
! grep -q bob "$work/out"
report $? "nothing was half done"
self=$("${pcctl[@]}" identity show | awk '/^peer id/ { print $3 }')
expect 0 "peer add" "${pcctl[@]}" peer add laptop $id --tenant alice
expect 1 "peer add of a name that is taken" "${pcctl[@]}" peer add laptop "$self" --tenant alice
says 'there is a peer "laptop" already' "it says which"
expect 1 "peer add of an identity that is taken" "${pcctl[@]}" peer add desktop $id --tenant alice
says 'that identity is peer "laptop" already' "it says whose"
expect 1 "peer add of the node itself" "${pcctl[@]}" peer add desktop "$self" --tenant alice
expect 1 "peer add without a tenant of that name" "${pcctl[@]}" peer add desktop $id --tenant bob
expect 1 "peer add of no identity" "${pcctl[@]}" peer add desktop 12D3KooW --tenant alice
expect 1 "peer add with a list that is none" \
	"${pcctl[@]}" peer add desktop $id --tenant alice --may-call a,,b
expect 2 "peer add without --tenant" "${pcctl[@]}" peer add desktop $id
expect 2 "peer add without an identity" "${pcctl[@]}" peer add desktop --tenant alice
expect 2 "peer add with a word too many" "${pcctl[@]}" peer add desktop $id now --tenant alice
expect 0 "peer list" "${pcctl[@]}" peer list
says laptop "peer list has the peer"
expect 0 "peer list of one, as JSON" "${pcctl[@]}" -j peer list laptop
says '"connected":false' "it is away"
expect 1 "peer list of nobody" "${pcctl[@]}" peer list desktop
expect 0 "peer remove by identity" "${pcctl[@]}" peer remove $id
expect 1 "peer remove of nobody" "${pcctl[@]}" peer remove laptop
expect 0 "peer add again" "${pcctl[@]}" peer add laptop $id --tenant alice --may-call '*'
expect 1 "credential of nobody" "${pcctl[@]}" credential bob
expect 0 "credential" "${pcctl[@]}" credential alice --lifetime 1h
says :alice "the credential names the tenant"
expect 0 "identity show" "${pcctl[@]}" identity show
says 12D3KooW "identity show prints the peer id"
expect 1 "identity init refuses to replace" "${pcctl[@]}" identity init
expect 0 "drain" "${pcctl[@]}" drain
expect 0 "drain --off" "${pcctl[@]}" drain --off
expect 0 "reload" "${pcctl[@]}" reload
echo 'frob = 1' >>"$work/pcd.conf"
expect 1 "reload of a broken configuration" "${pcctl[@]}" reload
says pcd.conf:11 "reload says where"
sed -i '$d' "$work/pcd.conf"
expect 0 "datapath off" "${pcctl[@]}" datapath off

zero='{"packets":0,"payload_bytes":0,"wire_bytes":0}'
tenant='{"tenants":[{"name":"alice","tier":"paid","up":'$zero',"down":'$zero
tenant+=',"kernel":{"packets":0},"user":{"packets":0},"drops":{"rate":0,"credit":0'
# Rates are what a daemon knows.
counters=$tenant'},"marks":0,"sessions":0}]}'
tenant+=',"capacity":0,"quota":0}'
tenant+=',"marks":0,"sessions":0,"plan":{"up_bps":0,"down_bps":0,"guarantee_bps":0'
tenant+=',"packets_per_second":0,"weight":1,"quota_day":0,"quota_month":0},"rate":{'
tenant+='"up":{"bps":0,"allowed_bps":0,"backlog_us":0}'
tenant+=',"down":{"bps":0,"allowed_bps":0,"backlog_us":0}},"quota":{"state":"none"}}]}'
# --- a sealed identity, and one that follows another ---
kill -TERM "$pid"
wait "$pid" 2>/dev/null
cp "$work/sealed.key" "$work/state/identity.key"
! start 2>/dev/null
report $? "pcd does not start without the passphrase"
grep -q identity-passphrase-file "$work/log"
report $? "and says what it needs"
sed -i "/^bpffs/a identity-passphrase-file = $work/passphrase" "$work/pcd.conf"
start
report $? "pcd starts with the passphrase"
"${pcctl[@]}" identity show >"$work/out" 2>"$work/err"
cmp -s "$work/out" "$work/first"
report $? "with the sealed identity"
expect 0 "identity init --replace --succession, with pcd" \
	"${pcctl[@]}" identity init --replace --succession "$work/record2"
new=$(awk '/^peer id/ { print $3 }' "$work/out")
expect 0 "identity verify of the record" "${pcctl[@]}" identity verify "$work/record2"
says "new  $new" "the record names the new identity"
says "old  $(awk '/^peer id/ { print $3 }' "$work/first")" "and the old one"
grep -q '^pcloud-ed25519-sealed-v1 ' "$work/state/identity.key"
report $? "the new identity is sealed, too"

for words in "" tenant "tenant alice" session tiers drops health "tenant alice --plot"; do
	# shellcheck disable=SC2086
	expect 0 "pcstat $words" "${pcstat[@]}" $words
	# shellcheck disable=SC2086
	expect 0 "pcstat -j $words" "${pcstat[@]}" -j $words
	python3 -m json.tool <"$work/out" >/dev/null 2>"$work/err"
	report $? "pcstat -j $words is JSON"
done
expect 0 "pcstat -j tenant" "${pcstat[@]}" -j tenant
[ "$(cat "$work/out")" = "$tenant" ]
report $? "the shape of pcstat -j tenant"
expect 1 "pcstat tenant nobody" "${pcstat[@]}" tenant nobody
expect 1 "pcstat session of nobody" "${pcstat[@]}" session 0123456789abcdef
"$bin/pcstat" -s "$socket" watch -i 0.1 >"$work/out" 2>"$work/err" &
watcher=$!
for _ in {1..100}; do
	[ "$(grep -c ^node "$work/out")" -ge 3 ] && break
	sleep 0.05
done
kill -TERM $watcher
wait $watcher
report $? "pcstat watch ends when told"
[ "$(grep -c ^node "$work/out")" -ge 3 ] && ! grep -q $'\e' "$work/out"
report $? "pcstat watch, piped, prints screen after screen without escapes"

# --- completion ---
# complete PROGRAM WORDS...: what the shell offers for the last word.
complete_words() (
	# shellcheck disable=SC1090
	. "$top/tools/completion/$1.bash"
	shift
	COMP_WORDS=("$bin/$program" "$@") COMP_CWORD=$#
	COMPREPLY=()
	"_$program" 2>/dev/null
	echo "${COMPREPLY[*]}"
)
offers() {
	local wanted=$1 got
	program=$2
	shift 2
	got=$(complete_words "$program" "$@")
	echo "$got" >"$work/out"
	[ "$got" = "$wanted" ]
	report $? "completion: $program $*"
}
offers "tenant" pcctl te
offers "add" pcctl tenant a
offers "alice" pcctl -s "$socket" tenant set ""
offers "--max-allocations" pcctl tenant add x --max-a
offers "" pcctl reload --max-a
offers "alice" pcctl -s "$socket" credential a
offers "laptop" pcctl -s "$socket" peer remove ""
offers "--may-call" pcctl peer add x y --may
offers "drops" pcstat d
offers "alice" pcstat -s "$socket" tenant ""
offers "--check" pcd --ch
offers "connect" pcpeer c
offers "--allow" pcpeer expose udp:1 --al

# --- after the daemon ---
kill -KILL "$pid"
wait "$pid" 2>/dev/null
pid=
expect_note() {
	"${pcstat[@]}" "$@" >"$work/out" 2>"$work/err"
}
expect_note -j tenant && [ "$(cat "$work/out")" = "$counters" ]
report $? "pcstat -j tenant prints the same counters after kill -9"
says "no pcd answers" "and says that no pcd answers"
expect_note tenant alice
report $? "pcstat tenant alice without pcd"
expect_note drops
report $? "pcstat drops without pcd"
expect_note health
[ $? = 1 ]
report $? "pcstat health without pcd is a failure"
start
report $? "pcd replaces the socket that was left"
expect 0 "shutdown" "${pcctl[@]}" shutdown
! kill -0 "$pid" 2>/dev/null
report $? "after shutdown the process is gone"
pid=
[ ! -e "$socket" ]
report $? "and so is the socket"
expect 0 "shutdown without pcd" \
	"${pcctl[@]}" shutdown --state-dir "$work/state" --bpffs "$work/bpf"
echo "1..$number"
