#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
#
# tests/fuzz/run.sh SECONDS [NAME]   runs each fuzzer that is built, or one, for SECONDS
# tests/fuzz/run.sh replay           runs each over its corpus once; prints TAP
#
# tests/fuzz/corpus/NAME holds the inputs worth keeping, past crashes among them. What a run adds
# stays below build/fuzz-corpus; findings go to build/fuzz-findings.
# PC_TEST_ROOT: another tree.
set -u
export LC_ALL=C
cd "${PC_TEST_ROOT:-$(dirname "$0")/../..}" || exit 1
findings=build/fuzz-findings
limits=(-timeout=10 -rss_limit_mb=2048)
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

usage() {
	echo "usage: tests/fuzz/run.sh SECONDS [NAME] | replay" >&2
	exit 2
}

# Names of the fuzzers that are built.
built() {
	local p
	for p in build/fuzz/*; do
		[ -f "$p" ] && [ -x "$p" ] && echo "${p##*/}"
	done
}

replay() {
	local name number=0 log status=0
	log=$(mktemp) || exit 1
	for name in $(built); do
		number=$((number + 1))
		mapfile -t inputs < <(find "tests/fuzz/corpus/$name" -type f 2>/dev/null | sort)
		if [ ${#inputs[@]} = 0 ]; then
			echo "ok $number - $name # SKIP it has no corpus"
		elif printf '%s\0' "${inputs[@]}" |
			xargs -0 -n 500 "build/fuzz/$name" "${limits[@]}" >"$log" 2>&1; then
			echo "ok $number - $name over ${#inputs[@]} inputs"
		else
			echo "not ok $number - $name over ${#inputs[@]} inputs"
			tail -n 30 "$log" | sed 's/^/# /'
			status=1
		fi
	done
	rm -f "$log"
	echo "1..$number"
	exit $status
}

# fuzz NAME SECONDS
fuzz() {
	local name=$1 work=build/fuzz-corpus/$1 log=$findings/$1.log seed=tests/fuzz/corpus/$1 execs
	local args=("${limits[@]}" "-max_total_time=$2" -print_final_stats=1
		"-artifact_prefix=$findings/$1-")

	mkdir -p "$work" "$findings"
	[ -e "tests/fuzz/$name.dict" ] && args+=("-dict=tests/fuzz/$name.dict")
	args+=("$work")
	[ -d "$seed" ] && args+=("$seed")
	# Beyond its own limit only when it hangs.
	timeout -k 10 $(($2 + 60)) "build/fuzz/$name" "${args[@]}" >"$log" 2>&1 </dev/null
	local status=$?
	execs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
	if [ $status = 0 ]; then
		echo "$name: ${execs:-0} executions in $2 s, no finding"
		return 0
	fi
	echo "$name: FINDING (exit status $status, ${execs:-unknown} executions), log $log"
	grep -aE 'ERROR: |runtime error|SUMMARY: |Test unit written' "$log" | head -n 10 | sed 's/^/  /'
	return 1
}

[ $# -ge 1 ] && [ $# -le 2 ] || usage
[ "$1" = replay ] && replay
[[ $1 =~ ^[1-9][0-9]*$ ]] || usage
failed=0
ran=0
for name in $(built); do
	[ -z "${2:-}" ] || [ "$2" = "$name" ] || continue
	ran=$((ran + 1))
	fuzz "$name" "$1" || failed=$((failed + 1))
done
[ $ran -gt 0 ] || echo "no fuzzer is built${2:+ of the name $2}"
echo "$ran fuzzers, $failed with findings"
[ $ran -gt 0 ] && [ $failed = 0 ]
