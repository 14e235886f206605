#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The runner itself: it is given trees of fake tests and must count them right, and above all fail.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
runner=$top/tests/run.sh
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
number=0
unset PC_TRIES # of who runs this

# A tree of its own for each case.
new_tree() {
	rm -rf "$tree/t"
	mkdir -p "$tree/t"
}

# fake PATH: a test program from standard input.
fake() {
	mkdir -p "$tree/t/$(dirname "$1")"
	{
		echo '#!/bin/bash'
		cat
	} >"$tree/t/$1"
	chmod +x "$tree/t/$1"
}

run() {
	output=$(env -u SAN -u COV PC_TEST_ROOT="$tree/t" "$runner" "$@" 2>&1)
	status=$?
}

# Whether the process a fake test left behind lives (a zombie does not).
sleeper_state() {
	status=0
	output="ended"
	case $(sed 's/.*) //' "/proc/$(cat "$tree/t/sleeper")/stat" 2>/dev/null) in
	"" | Z*) ;;
	*) output="still running" ;;
	esac
}

# expect NAME STATUS LAST_LINE [TEXT]...: what the last run did.
expect() {
	local name=$1 want=$2 last=$3 why=
	shift 3
	number=$((number + 1))
	[ "$status" = "$want" ] || why="exit status $status, not $want"
	[ "${output##*$'\n'}" = "$last" ] || why="last line \"${output##*$'\n'}\", not \"$last\""
	for text in "$@"; do
		[[ $output == *"$text"* ]] || why="\"$text\" is missing"
	done
	if [ -z "$why" ]; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		echo "# $why"
		printf '%s\n' "$output" | sed 's/^/#   /'
	fi
}

new_tree
run all
expect "an empty tree fails" 1 "0 passed, 0 failed, 0 skipped" "no test program found"

fake build/tests/unit/good <<<'printf "1..2\nok 1 - a\nok 2 - b\n"'
run all
expect "passing tests pass" 0 "2 passed, 0 failed, 0 skipped" "unit/good"
run all nothing-has-this-name
expect "a filter that matches nothing fails" 1 "0 passed, 0 failed, 0 skipped"

fake build/tests/unit/bad <<<'printf "1..2\nok 1 - a\nnot ok 2 - broken thing\n"; echo detail >&2'
run all
expect "not ok fails, even with exit status 0" 1 "3 passed, 1 failed, 0 skipped" \
	"unit/bad: broken thing" "| detail"
run all good
expect "the filter leaves it out" 0 "2 passed, 0 failed, 0 skipped"
run all nothing-has-this-name good
expect "one of several filters is enough" 0 "2 passed, 0 failed, 0 skipped" "unit/good"

new_tree
fake build/tests/unit/crash <<<'echo "ok 1 - a"; exit 3'
run check
expect "a non-zero exit status fails" 1 "1 passed, 1 failed, 0 skipped" "exit status 3"

new_tree
fake build/tests/unit/abort <<<'echo "ok 1 - a"; kill -SEGV $$'
run check
expect "dying by a signal fails" 1 "1 passed, 1 failed, 0 skipped" "exit status 139"

new_tree
fake build/tests/unit/both <<<'echo "not ok 1 - a"; exit 1'
run check
expect "a failure is counted once" 1 "0 passed, 1 failed, 0 skipped"

new_tree
fake build/tests/unit/mute <<<'echo hello'
run check
expect "no TAP fails" 1 "0 passed, 1 failed, 0 skipped" "printed no TAP"

new_tree
fake build/tests/unit/short <<<'printf "1..3\nok 1 - a\nok 2 - b\n"'
run check
expect "fewer tests than planned fail" 1 "2 passed, 1 failed, 0 skipped" "planned 3 tests, ran 2"

new_tree
fake build/tests/unit/bail <<<'printf "ok 1 - a\nBail out! no memory\n"'
run check
expect "bailing out fails" 1 "1 passed, 1 failed, 0 skipped" "Bail out! no memory"

new_tree
fake tests/netns/test_slow.sh <<'SLOW'
# timeout: 1
echo "ok 1 - a"
sleep 60 &
echo $! >sleeper
wait
SLOW
run all
expect "a time-out fails" 1 "1 passed, 1 failed, 0 skipped" "timed out after 1 s"
sleeper_state
expect "its children are ended" 0 "ended"
sed -i 's/^sleep 60/sleep 1.5/; s/^wait/& \&\& echo "ok 2 - b"/' "$tree/t/tests/netns/test_slow.sh"
export PC_TIME_FACTOR=5
run all
expect "a slow machine gets more time" 0 "2 passed, 0 failed, 0 skipped"
unset PC_TIME_FACTOR

new_tree
fake tests/netns/test_daemon.sh <<'DAEMON'
echo "ok 1 - a"
sleep 60 &
echo $! >sleeper
DAEMON
run all
expect "processes left behind do not hold the runner up" 0 "1 passed, 0 failed, 0 skipped"
sleeper_state
expect "and are ended" 0 "ended"

new_tree
fake tests/netns/test_skip.sh <<<'echo "needs root"; exit 77'
fake tests/clients/test_skips.sh <<'SKIPS'
echo "1..3"
echo "ok 1 - a # SKIP no browser"
echo "ok 2 # SKIP b"
echo "ok 3 - c"
SKIPS
fake tests/clients/test_plan.sh <<<'echo "1..0 # SKIP nothing to do"'
run all
expect "skips are counted with their reasons" 0 "1 passed, 0 failed, 4 skipped" \
	"skipped: needs root" "skipped: a: no browser" "skipped: b" "skipped: nothing to do"

new_tree
# Counts its runs and passes in the third.
fake tests/netns/test_third.sh <<'THIRD'
echo >>runs
if [ "$(wc -l <runs)" -lt 3 ]; then
	printf "1..2\nok 1 - a\nnot ok 2 - b\n# lost 3 of 4\n"
else
	printf "1..2\nok 1 - a\nok 2 - b\n"
fi
THIRD
run all
expect "what the machine may have broken is run again" 0 "2 passed, 0 failed, 0 skipped" \
	"Failed, but passed when run again" "  netns/test_third: b: lost 3 of 4"
rm "$tree/t/runs"
PC_TRIES=2 run all
expect "but not for ever: what fails every time fails" 1 "1 passed, 1 failed, 0 skipped" \
	"  netns/test_third: b: lost 3 of 4"
rm "$tree/t/runs"
PC_TRIES=1 run all
expect "nor at all if that is not wanted" 1 "1 passed, 1 failed, 0 skipped"
mkdir -p "$tree/t/build/tests/unit"
mv "$tree/t/tests/netns/test_third.sh" "$tree/t/build/tests/unit/third"
rm "$tree/t/runs"
run all
expect "nor what needs no time of the machine" 1 "1 passed, 1 failed, 0 skipped"

new_tree
fake tests/netns/test_half.sh <<<'echo "ok 1 - a"; exit 77'
run all
expect "status 77 after TAP is a failure" 1 "1 passed, 1 failed, 0 skipped" "exit status 77"

new_tree
fake build/tests/unit/u <<<'echo "ok 1"'
fake build/tests/scenario/s <<<'echo "ok 1"'
fake build/tests/bpf/b <<<'echo "ok 1"'
fake tests/check/c.sh <<<'echo "ok 1"'
fake tests/check/lib_c.sh <<<'echo "not ok 1"'
fake tests/netns/test_n.sh <<<'echo "ok 1"'
fake tests/netns/lib.sh <<<'echo "not ok 1"'
fake tests/clients/test_c.sh <<<'echo "ok 1"'
fake tests/fuzz/run.sh <<<'[ "$1" = replay ] && echo "ok 1"'
run check
expect "check runs what needs no privileges" 0 "3 passed, 0 failed, 0 skipped" \
	unit/u scenario/s check/c
fake build/fuzz/f <<<'exit 1'
run check
expect "and the fuzzers' corpora when they are built" 0 "4 passed, 0 failed, 0 skipped" fuzz/replay
run all
expect "all runs everything" 0 "7 passed, 0 failed, 0 skipped" bpf/b netns/test_n clients/test_c
fake tests/kernels/test_k.sh <<<'echo "ok 1"'
fake tests/kernels/run.sh <<<'echo "not ok 1"'
run all
expect "but what is for other kernels" 0 "7 passed, 0 failed, 0 skipped"
run guest
expect "guest runs what talks to the kernel" 0 "4 passed, 0 failed, 0 skipped" \
	unit/u bpf/b netns/test_n kernels/test_k

run
expect "no argument is a usage error" 2 "usage: tests/run.sh all|check|guest [FILTER...]"
run some
expect "an unknown set is a usage error" 2 "usage: tests/run.sh all|check|guest [FILTER...]"
echo "1..$number"
