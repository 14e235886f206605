#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The fuzzers' runner, given two fuzzers: one that never fails and one that cannot bear "B".
set -u
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
number=0
mkdir -p "$tree/build/fuzz" "$tree/tests/fuzz/corpus/frail" "$tree/tests/fuzz/corpus/sturdy"

if ! clang -fsanitize=fuzzer,address -o "$tree/build/fuzz/sturdy" -x c - >/dev/null 2>&1 <<'C'
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return 0;
}
C
then
	echo "clang cannot build fuzzers here"
	exit 77
fi
frail() {
	clang -fsanitize=fuzzer,address -o "$tree/build/fuzz/frail" -x c - <<'C'
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == 'B')
		__builtin_trap();
	return 0;
}
C
}

# expect NAME STATUS TEXT ARGS...
expect() {
	local name=$1 want=$2 text=$3 output status
	shift 3
	number=$((number + 1))
	output=$(PC_TEST_ROOT=$tree "$top/tests/fuzz/run.sh" "$@" 2>&1)
	status=$?
	if [ $status = "$want" ] && [[ $output == *"$text"* ]]; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		printf '%s\n' "status $status" "$output" | sed 's/^/#   /'
	fi
}

expect "a corpus that is missing is a skip" 0 "ok 1 - sturdy # SKIP it has no corpus" replay
printf A >"$tree/tests/fuzz/corpus/sturdy/a"
expect "a clean fuzzer has no finding" 0 "executions in 1 s, no finding" 1
expect "replay passes" 0 "ok 1 - sturdy over 1 inputs" replay
frail
printf A >"$tree/tests/fuzz/corpus/frail/a"
expect "a finding fails" 1 "frail: FINDING" 3 frail
expect "replay without the crash passes" 0 "ok 1 - frail over 1 inputs" replay
printf B >"$tree/tests/fuzz/corpus/frail/crash"
expect "replay of a crash fails" 1 "not ok 1 - frail over 2 inputs" replay
expect "an unknown fuzzer fails" 1 "no fuzzer is built" 1 nothing
expect "no time is a usage error" 2 "usage" 0
echo "1..$number"
