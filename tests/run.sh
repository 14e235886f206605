#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Runs the test programs that are built and sums up their TAP: tests/run.sh all|check|guest [FILTER...]
#   check     what needs no privileges: unit, scenario, check, replay of the fuzzers' corpora
#   guest     what tests/kernels runs under another kernel: unit, bpf, netns, kernels
#   FILTER    only programs whose KIND/NAME contains this text, or one of several
# A program has 120 s, or N where a line "timeout: N" is among the first 20 of its source.
# Exit status 77 without TAP is a skip, its last line of output the reason.
# PC_TEST_ROOT: another tree to run the tests of. PC_TEST_LOGS: another place for the logs.
# PC_TIME_FACTOR: longer limits on a slow machine.
#
# Programs of netns and clients need a machine that gives them its processors in time: one that stands
# still, or has other work, loses packets of its own. So where one fails it is run again, TRIES times in
# all (PC_TRIES; 1: never), and for AGAIN_SECONDS of the whole. What failed before it passed is listed at
# the end: a failure that is always there fails, one that comes and goes is seen.
set -u
export LC_ALL=C

cd "${PC_TEST_ROOT:-$(dirname "$0")/..}" || exit 1
build=build${SAN:+/san}${COV:+/cov}
logs=${PC_TEST_LOGS:-$build/test-logs}
default_timeout=120
tail_lines=40
TRIES=${PC_TRIES:-3}
AGAIN_SECONDS=480

passed=0 failed=0 skipped=0 ran=0
failures=()
came_and_went=()
again_ms=0
group=

usage() {
	echo "usage: tests/run.sh all|check|guest [FILTER...]" >&2
	exit 2
}

# Whether a process of the group lives; a zombie nobody has waited for does not.
group_lives() {
	cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' |
		awk -v group="$group" '$3 == group && $1 != "Z" { found = 1 } END { exit !found }'
}

# Ends what a program left in its process group. Says whether there was anything.
end_group() {
	[ -n "$group" ] && group_lives || return 1
	kill -TERM -- "-$group" 2>/dev/null
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		group_lives || return 0
		sleep 0.1
	done
	kill -KILL -- "-$group" 2>/dev/null
	return 0
}

interrupted() {
	end_group
	echo "interrupted" >&2
	exit 130
}
trap interrupted INT TERM HUP

# The source a program was built from, or the script itself.
source_of() {
	local c=tests/$1/$2.c
	[ -e "$c" ] && echo "$c" || echo "$3"
}

time_limit() {
	local n
	n=$(head -n 20 "$1" | tr -d '\0' | sed -n 's/.*\btimeout: *\([0-9][0-9]*\).*/\1/p' | head -n 1)
	n=${n:-$default_timeout}
	# Sanitizers and coverage make everything slower.
	[ "$build" = build ] || n=$((n * 3))
	echo $((n * ${PC_TIME_FACTOR:-1}))
}

# Reads TAP; prints one line "TAG text" per finding:
# P passed, F failed (with the first line of why), S skipped (with the reason), N the number of tests
# seen.
parse_tap() {
	awk '
	function name(line) {
		sub(/^(not )?ok */, "", line)
		sub(/^[0-9]+ */, "", line)
		sub(/^- */, "", line)
		return line
	}
	# The line behind a failure, if it is a comment, says why.
	failure != "" {
		why = /^# ./ ? ": " substr($0, 3, 160) : ""
		print failure why
		failure = ""
		if (why != "")
			next
	}
	/^not ok([ \t]|$)/ { failure = "F " name($0); n++; next }
	/^ok([ \t]|$)/ {
		n++
		at = match($0, /# *[Ss][Kk][Ii][Pp]/)
		if (!at) {
			print "P", name($0)
			next
		}
		reason = substr($0, at + RLENGTH)
		sub(/^[ \t]*/, "", reason)
		title = name(substr($0, 1, at - 1))
		sub(/[ \t]*$/, "", title)
		print "S", (title == "" ? reason : reason == "" ? title : title ": " reason)
		next
	}
	/^Bail out!/ { print "F", $0; n++; next }
	/^1\.\.0([ \t]|$)/ {
		reason = $0
		if (sub(/^1\.\.0[ \t]*# *[Ss][Kk][Ii][Pp][^ \t]*[ \t]*/, "", reason)) {
			print "S", reason
			n++
			planned++
		}
		next
	}
	/^1\.\.[0-9]+/ { split($1, a, /\.\./); planned += a[2]; has_plan = 1; next }
	END {
		if (failure != "")
			print failure
		if (has_plan && planned != n)
			print "F planned " planned " tests, ran " n + 0
		print "N", n + 0
	}'
}

# add_result KIND/NAME LINE: counts one line of parse_tap.
add_result() {
	local text=${2#? }
	case $2 in
	P*) passed=$((passed + 1)) ;;
	F*)
		failed=$((failed + 1))
		failures+=("$1: $text")
		echo "      failed: $text"
		;;
	S*)
		skipped=$((skipped + 1))
		echo "      skipped: ${text:-no reason given}"
		;;
	esac
}

# Whether KIND/NAME is among those wanted.
wanted() {
	local f
	for f in "${filters[@]}"; do
		[[ $1 == *"$f"* ]] && return
	done
	[ ${#filters[@]} = 0 ]
}

# Hundredths of a second that the processors were somebody else's, where this is a guest.
stolen() {
	awk '$1 == "cpu" { print $9 }' /proc/stat
}

# run_program KIND/NAME LIMIT PROGRAM [ARGS]: sets $results to what parse_tap says of it, $took to ms;
# its output is in $log. $machine says how the machine was meanwhile.
run_program() {
	local name=$1 limit=$2 program=$3 start rc tap seen stolen_before
	shift 3
	stolen_before=$(stolen)
	log=$logs/${name/\//-}.log
	tap=${log%.log}.tap
	: >"$log"
	start=${EPOCHREALTIME/./}
	# timeout(1) leads a process group of its own. Standard error goes to a file of its own, lest
	# it cuts a line of TAP in two.
	PC_BUILD=$build timeout -k 10 "$limit" "$program" "$@" </dev/null >"$tap" 2>"$log.err" &
	group=$!
	wait "$group"
	rc=$?
	took=$(((${EPOCHREALTIME/./} - start) / 1000))
	end_group && echo "# ended processes it left behind" >>"$log.err"
	group=
	{
		cat "$tap"
		[ -s "$log.err" ] && echo "--- standard error" && cat "$log.err"
	} >"$log"

	results=$(parse_tap <"$tap")
	seen=${results##*N }
	results=${results%N *}
	if [ "$rc" = 124 ] || { [ "$rc" = 137 ] && [ $took -ge $((limit * 1000)) ]; }; then
		results+="F timed out after $limit s"$'\n'
	elif [ "$rc" = 77 ] && [ "$seen" = 0 ]; then
		results="S $(grep -hv '^[[:space:]]*$' "$tap" "$log.err" | tail -n 1)"
	elif [ "$rc" != 0 ] && ! grep -q '^F' <<<"$results"; then
		results+="F exit status $rc"$'\n'
	elif [ "$rc" = 0 ] && [ "$seen" = 0 ]; then
		results+="F printed no TAP"$'\n'
	fi
	machine="$((took / 1000)) s, load $(cut -d ' ' -f 1 /proc/loadavg), $((($(stolen) - stolen_before) * 10)) ms stolen"
	rm -f "$tap" "$log.err"
}

# May the program of KIND, which took $took, be run once more after TRY?
may_try_again() {
	case $1 in
	netns | clients) ;;
	*) return 1 ;;
	esac
	[ "$2" -lt "$TRIES" ] && [ $((again_ms + took)) -le $((AGAIN_SECONDS * 1000)) ]
}

show_time() {
	printf '%s  %d.%d s\n' "$1" $((took / 1000)) $((took % 1000 / 100))
}

show_log() {
	tail -n "$tail_lines" "$log" | sed 's/^/      | /'
}

# run_one KIND NAME PROGRAM [ARGS]
run_one() {
	local kind=$1 name=$1/$2 program=$3 limit try line before tried=()
	local results took log machine # of run_program
	limit=$(time_limit "$(source_of "$1" "$2" "$3")")
	shift 3
	wanted "$name" || return 0
	ran=$((ran + 1))
	for ((try = 1; ; try++)); do
		run_program "$name" "$limit" "$program" "$@"
		[ $try = 1 ] || again_ms=$((again_ms + took))
		if ! grep -q '^F' <<<"$results" || ! may_try_again "$kind" $try; then
			break
		fi
		show_time "$name"
		while IFS= read -r line; do
			tried+=("$name: $line")
			echo "      failed, run again: $line"
		done < <(sed -n 's/^F //p' <<<"$results")
		tried+=("$name: $machine")
		show_log
		mv "$log" "${log%.log}.$try.log"
	done
	show_time "$name"
	before=$failed
	while IFS= read -r line; do
		[ -z "$line" ] || add_result "$name" "$line"
	done <<<"$results"
	if [ "$failed" != "$before" ]; then
		failures+=("$name: $machine")
		show_log
	else
		came_and_went+=("${tried[@]}")
	fi
}

run_built() {
	local p
	for p in "$build/tests/$1"/*; do
		[ -f "$p" ] && [ -x "$p" ] && run_one "$1" "$(basename "$p")" "$p"
	done
}

# run_scripts KIND PATTERN
run_scripts() {
	local p
	for p in tests/"$1"/$2; do
		[ -f "$p" ] || continue
		case ${p##*/} in
		lib*) continue ;;
		esac
		run_one "$1" "$(basename "$p" .sh)" "$p"
	done
}

run_replay() {
	local p
	for p in build/fuzz/*; do
		if [ -f "$p" ] && [ -x "$p" ]; then
			run_one fuzz replay tests/fuzz/run.sh replay
			return
		fi
	done
}

[ $# -ge 1 ] || usage
filters=("${@:2}")
mkdir -p "$logs" || exit 1
case $1 in
all | check | guest) ;;
*) usage ;;
esac
run_built unit
if [ "$1" != guest ]; then
	run_built scenario
	run_scripts check '*.sh'
	run_replay
fi
if [ "$1" != check ]; then
	run_built bpf
	run_scripts netns 'test_*.sh'
fi
[ "$1" != all ] || run_scripts clients 'test_*.sh'
[ "$1" != guest ] || run_scripts kernels 'test_*.sh'

if [ ${#came_and_went[@]} -gt 0 ]; then
	echo
	echo "Failed, but passed when run again (logs in $logs):"
	printf '  %s\n' "${came_and_went[@]}"
fi
if [ ${#failures[@]} -gt 0 ]; then
	echo
	echo "Failed (logs in $logs):"
	printf '  %s\n' "${failures[@]}"
fi
[ "$ran" -gt 0 ] || echo "no test program found${filters[*]:+ for \"${filters[*]}\"}"
echo "$passed passed, $failed failed, $skipped skipped" | tee "$logs/summary"
[ "$failed" = 0 ] && [ "$ran" -gt 0 ]
