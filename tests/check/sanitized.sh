#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 900
#
# Unit tests and scenarios under ASan and UBSan: each program must end well, and the sanitizers have
# nothing to say.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ -z "${SAN:-}" ] || { echo "1..0 # SKIP the build is sanitized already"; exit 0; }

n=0 failed=0
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

if ! make -j"$(nproc)" --no-print-directory SAN=address,undefined sanitized >"$log/make" 2>&1; then
	tail -n 20 "$log/make" | sed 's/^/# /'
	echo "not ok 1 - the sanitized build"
	exit 1
fi
export ASAN_OPTIONS=abort_on_error=0:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1:exitcode=99
for program in build/san/tests/unit/* build/san/tests/scenario/*; do
	[ -f "$program" ] && [ -x "$program" ] || continue
	n=$((n + 1))
	name=${program#build/san/tests/}
	timeout 300 "$program" </dev/null >"$log/out" 2>&1
	status=$?
	grep -qE '^not ok|runtime error:|AddressSanitizer|LeakSanitizer' "$log/out" && status=1
	if [ $status = 0 ]; then
		echo "ok $n - sanitized $name"
	elif [ $status = 77 ]; then
		echo "ok $n - sanitized $name # SKIP $(tail -n 1 "$log/out")"
	else
		echo "not ok $n - sanitized $name"
		failed=1
		grep -vE '^ok ' "$log/out" | tail -n 30 | sed 's/^/# /'
	fi
done
echo "1..$n"
[ $n -gt 0 ] && [ $failed = 0 ]
