#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Each rule of lint.sh is broken once, in a tree of its own, and must be the one that fails.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
license='/* SPDX-License-Identifier: MIT */'
number=0

new_tree() {
	rm -rf "$tree/t"
	mkdir -p "$tree/t/docs/man"
	cp "$here/../../.clang-format" "$tree/t/"
	printf '%s\nint good;\n' "$license" >"$tree/t/good.c"
	printf '#!/bin/sh\n# SPDX-License-Identifier: MIT\necho good\n' >"$tree/t/good.sh"
	chmod +x "$tree/t/good.sh"
}

# breaks RULE [TOOL]: exactly the test of that name must fail, and the exit status with it.
breaks() {
	local output status failing
	number=$((number + 1))
	if [ -n "${2:-}" ] && ! command -v "$2" >/dev/null; then
		echo "ok $number - breaking: $1 # SKIP $2 is not installed"
		return
	fi
	output=$(PC_LINT_ROOT="$tree/t" "$here/lint.sh" 2>&1)
	status=$?
	failing=$(sed -nE 's/^not ok [0-9]+ - //p' <<<"$output")
	if [ "$failing" = "$1" ] && [ "$status" != "$([ -n "$1" ] && echo 0 || echo 1)" ]; then
		echo "ok $number - breaking: ${1:-nothing}"
	else
		echo "not ok $number - breaking: ${1:-nothing}"
		printf '%s\n' "status $status" "$output" | sed 's/^/#   /'
	fi
}

new_tree
breaks ""

new_tree
printf '%s\nint  bad;\n' "$license" >"$tree/t/bad.c"
breaks "clang-format" clang-format

new_tree
echo "int bad;" >"$tree/t/bad.c"
breaks "every file names its license"

new_tree
printf '%s\nint bad(const char *s)\n{\n\treturn ato''i(s);\n}\n' "$license" >"$tree/t/bad.c"
breaks "no banned function"

new_tree
# The names may stand in comments, strings and other names.
printf '%s\n/* ato''i(s) */\nconst char *s = "ato''i(s)";\nint my_ato''i(int);\n' "$license" \
	>"$tree/t/bad.c"
breaks ""

new_tree
{
	printf '%s\nvoid bad(int *x)\n{\n' "$license"
	for _ in {1..101}; do printf '\t(*x)++;\n'; done
	echo "}"
} >"$tree/t/bad.c"
breaks "no function above 100 lines"

new_tree
{
	echo "$license"
	for i in {1..1000}; do echo "extern int x$i;"; done
} >"$tree/t/bad.c"
breaks "no file above 1000 lines"

new_tree
printf '%s\n/* TO''DO: more */\nint bad;\n' "$license" >"$tree/t/bad.c"
breaks "nothing is left for later"

new_tree
printf 'See /wo''rk/main.\n' >"$tree/t/bad.md"
breaks "no path of somebody's machine"

new_tree
printf '#!/bin/bash\n# SPDX-License-Identifier: MIT\ncd /; x=1\n' >"$tree/t/good.sh"
breaks "shellcheck" shellcheck

new_tree
chmod -x "$tree/t/good.sh"
breaks "scripts can be executed"

new_tree
printf '%s\nint bad(size_t n);\n' "$license" >"$tree/t/bad.h"
breaks "every header compiles alone" clang

new_tree
printf '.\\" SPDX-License-Identifier: MIT\n.Dd x\n.Dt BAD 1\n.Sh WRONG\n.Xx\n' >"$tree/t/docs/man/bad.1"
breaks "mandoc" mandoc
echo "1..$number"
