#!/bin/bash
# SPDX-License-Identifier: MIT
#
# setup.sh on a machine that is made of shell scripts: which packages it asks for, and what it
# makes of failures. Nothing is installed.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
export T=$tree
number=0

mkdir "$tree/bin"
fake() {
	{
		echo '#!/bin/bash'
		cat
	} >"$tree/bin/$1"
	chmod +x "$tree/bin/$1"
}

# Everything is installed but what the file "missing" lists.
fake dpkg-query <<'F'
for p in "${@:3}"; do
	grep -qx -- "$p" "$T/missing" && echo "$p not-installed" || echo "$p installed"
done
F
# Packages in the file "broken" cannot be installed.
fake apt-get <<'F'
echo "$*" >>"$T/calls"
[ -e "$T/policy" ] && cat "$T/policy" >>"$T/policy-seen"
if [ "$1" = update ]; then
	[ ! -e "$T/offline" ] || { echo "E: no network"; exit 100; }
	exit 0
fi
for p in "$@"; do
	if grep -qx -- "$p" "$T/broken"; then
		echo "E: Unable to locate package $p"
		exit 100
	fi
done
F
fake id <<<'echo "${UID_OF_TEST:-0}"'
fake node <<<''
fake npm <<<''

reset() {
	rm -f "$tree"/{calls,offline,policy,policy-seen}
	: >"$tree/calls"
	: >"$tree/broken"
	printf '%s\n' "$@" >"$tree/missing"
}

run() {
	output=$(PATH=$tree/bin:$PATH PC_SETUP_POLICY=$tree/policy "$top/tools/build/setup.sh" "$@" 2>&1)
	status=$?
}

# check NAME CONDITION...: each an argument of test(1).
check() {
	number=$((number + 1))
	if "${@:2}"; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		printf '%s\n' "status $status" "$output" "$(cat "$tree/calls")" | sed 's/^/#   /'
	fi
}

# did STATUS OUTPUT: what the last run said.
did() {
	[ "$status" = "$1" ] && [ "$output" = "$2" ]
}

installed() {
	[ "$(sed -n 's/^install .*Timeout=300 //p' "$tree/calls")" = "$1" ]
}

reset
run build test clients kernels
check "nothing missing: silent" did 0 ""
check "nothing missing: apt is left alone" test ! -s "$tree/calls"

reset clang coturn libnice-dev cpio
run build
check "says what it installs" did 0 $'setup: reading package lists\nsetup: installing clang'
check "only what is missing, only of the group" installed clang

reset gcc jq
echo jq >"$tree/broken"
run build test
check "a required package that fails is fatal" test "$status" = 1
check "and has one clear line" test "${output##*$'\n'}" = \
	"setup: cannot install gcc jq: E: Unable to locate package jq"

reset gcc
touch "$tree/offline"
run build
check "no network is fatal for a required package" did 1 \
	$'setup: reading package lists\nsetup: apt-get update failed: E: no network'

reset chromium firefox-esr libnice-dev
echo chromium >"$tree/broken"
run clients
check "a client that fails is not" test "$status" = 0
check "but is named" test "${output##*$'\n'}" = \
	"setup: left out chromium: E: Unable to locate package chromium"
check "and the others are installed" installed \
	$'chromium firefox-esr libnice-dev\nchromium\nfirefox-esr\nlibnice-dev'

reset busybox-static qemu-system-x86
echo qemu-system-x86 >"$tree/broken"
run test kernels
check "nor is an emulator that fails" did 0 "setup: reading package lists
setup: installing busybox-static qemu-system-x86
setup: left out qemu-system-x86: E: Unable to locate package qemu-system-x86"

reset nodejs npm
run clients
check "Node.js from elsewhere will do" did 0 ""

reset gcc
run build
check "no service is started meanwhile" grep -q "exit 101" "$tree/policy-seen"
check "and the policy goes again" test ! -e "$tree/policy"

reset gcc
echo "exit 0 # the host's own" >"$tree/policy"
run build
check "a policy of the host's own stays" grep -q "the host's own" "$tree/policy"

reset gcc
UID_OF_TEST=1000 run build
check "needs root to install" did 1 "setup: must be root to install: gcc"
reset
UID_OF_TEST=1000 run build
check "but not to find nothing missing" did 0 ""

run build nonsense
check "an unknown group is refused" test "$status" = 1
run
check "no group is refused" test "$status" = 1
echo "1..$number"
