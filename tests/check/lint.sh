#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
#
# Form of the sources, as TAP: one test per rule. PC_LINT_ROOT: another tree to look at.
set -u
export LC_ALL=C
cd "${PC_LINT_ROOT:-$(dirname "$0")/../..}" || exit 1

function_max=100
file_max=1000
number=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Tracked files, or all where there is no repository.
list_files() {
	git ls-files 2>/dev/null | grep . ||
		find . -type f -not -path './build/*' -not -path './.git/*' -not -path '*/node_modules/*' |
		sed 's,^\./,,'
}

# report NAME FINDINGS_FILE: a failure when the file has lines.
report() {
	number=$((number + 1))
	if [ -s "$2" ]; then
		echo "not ok $number - $1"
		sed 's/^/# /' "$2" | head -n 50
		failed=1
	else
		echo "ok $number - $1"
	fi
}

skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

have() {
	command -v "$1" >/dev/null
}

failed=0
mapfile -t all < <(list_files | while IFS= read -r f; do [ -f "$f" ] && echo "$f"; done)
c_files=() headers=() scripts=() sources=() manuals=()
for f in "${all[@]}"; do
	case $f in
	tests/fuzz/corpus/* | LICENSE | *.md | *.json | *.txt | .gitignore) continue ;;
	esac
	sources+=("$f")
	case $f in
	*.c) c_files+=("$f") ;;
	*.h)
		c_files+=("$f")
		headers+=("$f")
		;;
	*.sh) scripts+=("$f") ;;
	docs/man/*.[1-8]) manuals+=("$f") ;;
	*) head -c 64 "$f" | head -n 1 | grep -aqE '^#!.*\b(ba)?sh\b' && scripts+=("$f") ;;
	esac
done
[ ${#all[@]} -gt 0 ] || {
	echo "not ok 1 - there are files"
	exit 1
}

# Binary files have no form.
text_sources() {
	grep -lI '' "${sources[@]}"
}

check_format() {
	have clang-format || { skip "clang-format" "clang-format is not installed" && return; }
	[ ${#c_files[@]} = 0 ] || printf '%s\0' "${c_files[@]}" |
		xargs -0 -n 16 -P 2 clang-format --dry-run 2>&1 |
		sed -nE 's/^([^:]+):[0-9]+:[0-9]+: (warning|error):.*/\1/p' | sort | uniq -c |
		awk '{ print $2 ": " $1 " places" }' >"$work/format"
	touch "$work/format"
	report "clang-format" "$work/format"
}

check_license() {
	text_sources | while IFS= read -r f; do
		head -n 3 "$f" | grep -q 'SPDX-License-Identifier: MIT' || echo "$f"
	done >"$work/license"
	report "every file names its license" "$work/license"
}

# Outside comments and strings; // is part of many strings, but comments here are /* */.
strip_comments() {
	sed -e 's/"\([^"\\]\|\\.\)*"/""/g' -e 's,/\*.*\*/,,g' -e 's,^[[:space:]]*\*.*,,' -e 's,/\*.*,,' "$1"
}

check_banned() {
	local f
	local banned='atoi|atol|atoll|strtok|v?sprintf|strcpy|strcat|system|popen|gets'

	for f in "${c_files[@]}"; do
		strip_comments "$f" | grep -nE "(^|[^A-Za-z0-9_.>])($banned)[[:space:]]*\(" |
			sed "s,^,$f:,"
	done >"$work/banned"
	report "no banned function" "$work/banned"
}

# A function's body lies between a brace in the first column and the next one.
check_lengths() {
	[ ${#c_files[@]} = 0 ] || awk -v max=$function_max '
		/^\{/ { start = FNR }
		/^\}/ && start {
			if (FNR - start - 1 > max)
				print FILENAME ":" start ": function of " FNR - start - 1 " lines"
			start = 0
		}' "${c_files[@]}" >"$work/functions"
	report "no function above $function_max lines" "$work/functions"
	for f in "${c_files[@]}" "${scripts[@]}"; do
		echo "$(wc -l <"$f") $f"
	done | awk -v max=$file_max '$1 > max { print $2 ": " $1 " lines" }' >"$work/files"
	report "no file above $file_max lines" "$work/files"
}

# The patterns are put together here, so that this file does not hold what it looks for.
check_words() {
	local words paths

	words='TO''DO|FIX''ME|HA''CK'
	paths='(^|[^A-Za-z0-9_.)}-])/(wo''rk|fa''rm)/|/tmp/bash''_jobs'
	grep -nIwE "$words" "${all[@]}" >"$work/words"
	report "nothing is left for later" "$work/words"
	grep -nIE "$paths" "${all[@]}" >"$work/paths"
	report "no path of somebody's machine" "$work/paths"
}

check_scripts() {
	have shellcheck || { skip "shellcheck" "shellcheck is not installed" && return; }
	[ ${#scripts[@]} = 0 ] ||
		shellcheck -f gcc -S warning "${scripts[@]}" >"$work/shellcheck" 2>&1
	touch "$work/shellcheck"
	report "shellcheck" "$work/shellcheck"
	# lib.sh is read by others, not run.
	for f in "${scripts[@]}"; do
		[[ ${f##*/} == lib*.sh ]] || [ -x "$f" ] || echo "$f"
	done >"$work/modes"
	report "scripts can be executed" "$work/modes"
}

compile_header() {
	local source=$work/header.c

	echo "#include \"$1\"" >"$source"
	case $1 in
	bpf/lib/*)
		clang -target bpf -O2 -mcpu=v3 -fsyntax-only -Wall -Wextra -Werror \
			-Wno-unused-parameter -Wno-unused-function -Wno-address-of-packed-member \
			-I. -Ibpf "-I/usr/include/$(gcc -print-multiarch)" "$source"
		;;
	*)
		gcc -fsyntax-only -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes \
			-Wmissing-prototypes -Wno-unused-parameter -Wno-unused-function -Werror \
			-I. -Iuserspace -Ibpf -Ibuild/gen "$source"
		;;
	esac
}

check_headers() {
	if ! have gcc || ! have clang; then
		skip "every header compiles alone" "gcc or clang is not installed"
		return
	fi
	for f in "${headers[@]}"; do
		compile_header "$f" >"$work/compiler" 2>&1 || {
			echo "$f"
			head -n 5 "$work/compiler"
		}
	done >"$work/headers"
	report "every header compiles alone" "$work/headers"
}

check_manuals() {
	[ ${#manuals[@]} = 0 ] && return
	have mandoc || { skip "mandoc" "mandoc is not installed" && return; }
	mandoc -Tlint -Wwarning "${manuals[@]}" >"$work/manuals" 2>&1
	report "mandoc" "$work/manuals"
}

check_format
check_license
check_banned
check_lengths
check_words
check_scripts
check_headers
check_manuals
echo "1..$number"
exit $failed
